/* SPDX-License-Identifier: MIT
 *
 * Problem: tools want to know afterwards what was loaded: a program's code in three forms, its lines and functions, a
 * map's shape, what a link attaches.
 *
 * Idea: information is filled into a kernel copy of the caller's structure, which goes out as far as the caller has
 * room; arrays go where the structure points, as many records as fit, and the structure says how many there are.
 *
 * Contract: BPF_OBJ_GET_INFO_BY_FD of Linux 6.1. Addresses and code are for who has CAP_PERFMON.
 *
 * Locks: none; programs do not change.
 */
#include "sys_priv.h"

/* Code as shown: addresses of maps become their ids again. */
static int copy_code(const struct sys *s, const struct bpf_prog *prog, u64 user, u32 room)
{
	u32 bytes = min(room, prog->len * (u32)sizeof(struct bpf_insn)) & ~7U;
	struct bpf_insn *copy = big_alloc(bytes ? bytes : 8, 1);
	int err;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, prog->insns, bytes);
	for (u32 i = 0; i + 1 < bytes / 8; i++) {
		if (copy[i].code != (BPF_LD | BPF_IMM | BPF_DW))
			continue;
		for (u32 m = 0; m < prog->nr_maps && copy[i].src_reg == BPF_PSEUDO_MAP_FD; m++)
			if (((u64)(u32)copy[i + 1].imm << 32 | (u32)copy[i].imm) == (u64)(ulong)prog->maps[m]) {
				copy[i].imm = (s32)prog->maps[m]->id;
				copy[i + 1].imm = 0;
			}
		i++;
	}
	err = s->ops->copy_out(user, copy, bytes);
	big_free(copy);
	return err;
}

/* An array for the caller: as many of n records as there is room for; *count becomes n. */
static int give(const struct sys *s, u64 user, u32 *count, const void *from, u32 n, u32 bytes)
{
	u32 room = *count;

	*count = n;
	return room && n && user ? s->ops->copy_out(user, from, (size_t)min(room, n) * bytes) : 0;
}

/* Where functions and lines are in the compiled code. */
static int code_info(const struct sys *s, const struct bpf_prog *prog, struct bpf_prog_info *info)
{
	u32 n = prog->jited ? prog->nr_subs : 0, lines = prog->jited ? prog->nr_lines : 0;
	u64 *places = big_alloc(max(n, lines) + 1, sizeof(*places));
	u32 *sizes = big_alloc(n + 1, sizeof(*sizes));
	int err = places && sizes ? 0 : -ENOMEM;

	for (u32 i = 0; !err && i < n; i++) {
		places[i] = (u64)(ulong)prog->image + prog->subs[i].code;
		sizes[i] = (i + 1 < n ? prog->subs[i + 1].code : prog->jited_bytes) - prog->subs[i].code;
	}
	err = err ? err : give(s, info->jited_ksyms, &info->nr_jited_ksyms, places, n, sizeof(*places));
	err = err ? err : give(s, info->jited_func_lens, &info->nr_jited_func_lens, sizes, n, sizeof(*sizes));
	for (u32 i = 0; !err && i < lines; i++)
		places[i] = (u64)(ulong)prog->image + prog->line_code[i];
	err = err ? err : give(s, info->jited_line_info, &info->nr_jited_line_info, places, lines, sizeof(*places));
	big_free(places);
	big_free(sizes);
	return err;
}

static int records_info(const struct sys *s, const struct bpf_prog *prog, struct bpf_prog_info *info)
{
	bool may = s->rights.perfmon;
	int err = give(s, info->func_info, &info->nr_func_info, prog->funcs, may ? prog->nr_funcs : 0,
		       sizeof(*prog->funcs));

	err = err ? err
		  : give(s, info->line_info, &info->nr_line_info, prog->lines, may ? prog->nr_lines : 0,
			 sizeof(*prog->lines));
	err = err ? err : give(s, info->prog_tags, &info->nr_prog_tags, prog->tag, may ? 1 : 0, BPF_TAG_SIZE);
	info->func_info_rec_size = sizeof(*prog->funcs);
	info->line_info_rec_size = sizeof(*prog->lines);
	info->jited_line_info_rec_size = sizeof(u64);
	if (may)
		return err ? err : code_info(s, prog, info);
	info->nr_jited_ksyms = info->nr_jited_func_lens = info->nr_jited_line_info = 0;
	return err;
}

static int prog_info(const struct sys *s, struct bpf_prog *prog, struct bpf_prog_info *info)
{
	u32 room = info->nr_map_ids, n = prog->nr_maps;
	int err = 0;

	for (u32 i = 0; !err && i < min(room, n); i++)
		err = s->ops->copy_out(info->map_ids + 4ULL * i, &prog->maps[i]->id, 4);
	if (!err && info->xlated_prog_len && info->xlated_prog_insns && s->rights.perfmon)
		err = copy_code(s, prog, info->xlated_prog_insns, info->xlated_prog_len);
	if (!err && info->jited_prog_len && info->jited_prog_insns && prog->jited && s->rights.perfmon)
		err = s->ops->copy_out(info->jited_prog_insns, prog->image,
				       min(info->jited_prog_len, prog->jited_bytes));
	if (err)
		return err;
	info->type = prog->type;
	info->id = prog->id;
	memcpy(info->tag, prog->tag, sizeof(info->tag));
	info->jited_prog_len = s->rights.perfmon ? prog->jited_bytes : 0;
	info->xlated_prog_len = s->rights.perfmon ? prog->len * sizeof(struct bpf_insn) : 0;
	info->load_time = prog->load_ns;
	info->created_by_uid = prog->uid;
	info->nr_map_ids = n;
	memcpy(info->name, prog->name, sizeof(info->name));
	info->gpl_compatible = prog->gpl;
	info->btf_id = prog->btf ? bpf_btf_id(prog->btf) : 0;
	info->run_time_ns = prog->stats.ns;
	info->run_cnt = prog->stats.runs;
	info->recursion_misses = prog->stats.misses;
	info->verified_insns = prog->verified_insns;
	return records_info(s, prog, info);
}

static void map_info(const struct bpf_map *map, struct bpf_map_info *info)
{
	*info = (struct bpf_map_info){ .type = map->type,
				       .id = map->id,
				       .key_size = map->key_size,
				       .value_size = map->value_size,
				       .max_entries = map->max_entries,
				       .map_flags = map->flags,
				       .map_extra = map->extra,
				       .btf_id = map->btf ? bpf_btf_id(map->btf) : 0,
				       .btf_key_type_id = map->btf_key_id,
				       .btf_value_type_id = map->btf_value_id };
	memcpy(info->name, map->name, sizeof(info->name));
}

static int btf_info(const struct sys *s, struct bpf_btf *btf, struct bpf_btf_info *info)
{
	const void *data;
	u32 size;
	int err = 0;

	data = bpf_btf_data(btf, &size);
	if (info->btf)
		err = s->ops->copy_out(info->btf, data, min(size, info->btf_size));
	info->btf_size = size;
	info->id = bpf_btf_id(btf);
	info->kernel_btf = 0;
	info->name_len = 0;
	return err;
}

static void link_info(const struct bpf_link *l, struct bpf_link_info *info)
{
	info->type = l->type;
	info->id = l->id;
	info->prog_id = l->prog ? l->prog->id : 0;
	l->ops->info(l, info);
}

int bpf_sys_info(const struct sys *s, union bpf_attr *a)
{
	union {
		struct bpf_prog_info prog;
		struct bpf_map_info map;
		struct bpf_btf_info btf;
		struct bpf_link_info link;
		u8 bytes[512];
	} info = { .bytes = { 0 } };
	static const u32 sizes[BPF_OBJ_KINDS] = { [BPF_OBJ_PROG] = sizeof(info.prog),
						  [BPF_OBJ_MAP] = sizeof(info.map),
						  [BPF_OBJ_BTF] = sizeof(info.btf),
						  [BPF_OBJ_LINK] = sizeof(info.link) };
	u32 room = a->info.info_len, ours, flags;
	enum bpf_object kind = BPF_OBJ_KINDS;
	void *obj;
	int err;

	if (!rest_is_zero(a, info.info))
		return -EINVAL;
	obj = s->ops->resolve(s->caller, (s32)a->info.bpf_fd, &kind, &flags);
	if (!obj)
		return -EBADF;
	if (kind >= BPF_OBJ_KINDS)
		return -EINVAL;
	ours = sizes[kind];
	if (room > sizeof(info))
		return -E2BIG;
	err = s->ops->copy_in(&info, a->info.info, room);
	if (!err && room > ours && !bytes_are_zero(info.bytes + ours, room - ours))
		err = -E2BIG;
	if (err)
		return err;
	if (kind == BPF_OBJ_PROG)
		err = prog_info(s, obj, &info.prog);
	else if (kind == BPF_OBJ_MAP)
		map_info(obj, &info.map);
	else if (kind == BPF_OBJ_LINK)
		link_info(obj, &info.link);
	else
		err = btf_info(s, obj, &info.btf);
	ours = min(ours, room);
	err = err ? err : s->ops->copy_out(a->info.info, &info, ours);
	return err ? err : s->ops->copy_out(s->uattr + offsetof(union bpf_attr, info.info_len), &ours, 4);
}
