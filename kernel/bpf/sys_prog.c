/* SPDX-License-Identifier: MIT
 *
 * Problem: loading a program through bpf(2) means gathering instructions, licence, BTF records and a log from the
 * caller's memory.
 *
 * Idea: parse everything into struct bpf_load, load, then number and install.
 *
 * Contract: sys_priv.h; error numbers and defaults as in Linux 6.1 (attach type of CGROUP_SOCK, alignment).
 *
 * Locks: none.
 */
#include "helper_priv.h"
#include "sys_priv.h"

#define LOG_WINDOW 16384U

struct request {
	const struct sys *s;
	struct bpf_load load;
	const union bpf_attr *attr;
	void *insns, *funcs, *lines;
	char *log;
	char license[128];
};

static struct bpf_map *find_map(void *arg, s32 idx, bool by_index)
{
	struct request *r = arg;
	s32 fd = idx;

	if (by_index && (!r->attr->fd_array || idx < 0 || r->s->ops->copy_in(&fd, r->attr->fd_array + 4ULL * idx, 4)))
		return NULL;
	return bpf_sys_object(r->s, fd, BPF_OBJ_MAP);
}

/* Which types go with which attach types, after the defaults for old clients. */
static int check_attach(struct bpf_load *l)
{
	u32 a = l->attach_type;

	switch (l->type) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
		if (!a)
			a = l->attach_type = BPF_CGROUP_INET_SOCK_CREATE;
		return a == BPF_CGROUP_INET_SOCK_CREATE || a == BPF_CGROUP_INET_SOCK_RELEASE ||
				       a == BPF_CGROUP_INET4_POST_BIND || a == BPF_CGROUP_INET6_POST_BIND
			       ? 0
			       : -EINVAL;
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
		switch (a) {
		case BPF_CGROUP_INET4_BIND:
		case BPF_CGROUP_INET6_BIND:
		case BPF_CGROUP_INET4_CONNECT:
		case BPF_CGROUP_INET6_CONNECT:
		case BPF_CGROUP_INET4_GETPEERNAME:
		case BPF_CGROUP_INET6_GETPEERNAME:
		case BPF_CGROUP_INET4_GETSOCKNAME:
		case BPF_CGROUP_INET6_GETSOCKNAME:
		case BPF_CGROUP_UDP4_SENDMSG:
		case BPF_CGROUP_UDP6_SENDMSG:
		case BPF_CGROUP_UDP4_RECVMSG:
		case BPF_CGROUP_UDP6_RECVMSG: return 0;
		}
		return -EINVAL;
	case BPF_PROG_TYPE_CGROUP_SKB: return a == BPF_CGROUP_INET_INGRESS || a == BPF_CGROUP_INET_EGRESS ? 0 : -EINVAL;
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
		return a == BPF_CGROUP_SETSOCKOPT || a == BPF_CGROUP_GETSOCKOPT ? 0 : -EINVAL;
	case BPF_PROG_TYPE_SK_LOOKUP: return a == BPF_SK_LOOKUP ? 0 : -EINVAL;
	case BPF_PROG_TYPE_SK_REUSEPORT:
		if (!a)
			a = l->attach_type = BPF_SK_REUSEPORT_SELECT;
		return a == BPF_SK_REUSEPORT_SELECT || a == BPF_SK_REUSEPORT_SELECT_OR_MIGRATE ? 0 : -EINVAL;
	case BPF_PROG_TYPE_SYSCALL:
	case BPF_PROG_TYPE_EXT: return a ? -EINVAL : 0;
	}
	return 0;
}

static bool is_net(u32 type)
{
	switch (type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_KPROBE:
	case BPF_PROG_TYPE_TRACEPOINT:
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: return false;
	}
	return true;
}

static bool is_tracing(u32 type)
{
	return !is_net(type) && type != BPF_PROG_TYPE_SOCKET_FILTER;
}

static int check_rights(const struct bpf_load *l, const struct bpf_rights *r)
{
	bool for_all = l->type == BPF_PROG_TYPE_SOCKET_FILTER || l->type == BPF_PROG_TYPE_CGROUP_SKB;

	if (!for_all && !r->bpf)
		return -EPERM;
	if (is_net(l->type) && !for_all && !r->net_admin && !r->sys_admin)
		return -EPERM;
	if (is_tracing(l->type) && !r->perfmon)
		return -EPERM;
	return 0;
}

static int read_license(struct request *r)
{
	static const char *const gpl[] = { "GPL",          "GPL v2",       "GPL and additional rights",
					   "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL" };
	u32 n = 0;

	for (; n < sizeof(r->license) - 1; n++) {
		if (r->s->ops->copy_in(&r->license[n], r->attr->license + n, 1))
			return -EFAULT;
		if (!r->license[n])
			break;
	}
	for (u32 i = 0; i < ARRAY_SIZE(gpl); i++)
		r->load.gpl |= !strcmp(r->license, gpl[i]);
	return 0;
}

/* BTF records come in the caller's size: longer ones must end in zeros, shorter ones are refused. */
static int read_records(struct request *r, u64 user, u32 count, u32 record, u32 ours, void **out)
{
	u8 *to, *from = NULL;
	int err;

	if (!count)
		return 0;
	if (record < ours || record > 252 || record % 4 || count > BPF_MAX_INSNS)
		return fail(EINVAL, "%u BTF records of %u bytes", count, record);
	err = bpf_sys_read(r->s, user, (size_t)count * record, (void **)&from);
	to = err ? NULL : big_alloc(count, ours);
	if (!err && !to)
		err = -ENOMEM;
	for (u32 i = 0; !err && i < count; i++) {
		if (!bytes_are_zero(from + (size_t)i * record + ours, record - ours))
			err = -E2BIG;
		memcpy(to + (size_t)i * ours, from + (size_t)i * record, ours);
	}
	big_free(from);
	*out = to;
	return err;
}

static int check_lines(const struct bpf_load *l)
{
	for (u32 i = 0; i < l->nr_lines; i++) {
		const struct bpf_line_info *line = &l->lines[i];

		if (line->insn_off >= l->len || (i && line->insn_off <= l->lines[i - 1].insn_off))
			return fail(EINVAL, "line record %u: instruction %u", i, line->insn_off);
		if (!bpf_btf_string(l->btf, line->line_off) || !bpf_btf_string(l->btf, line->file_name_off))
			return fail(EINVAL, "line record %u: no such string", i);
	}
	return 0;
}

static int read_btf(struct request *r)
{
	const union bpf_attr *a = r->attr;
	int err;

	if (!a->func_info_cnt && !a->line_info_cnt)
		return 0;
	r->load.btf = bpf_sys_object(r->s, (s32)a->prog_btf_fd, BPF_OBJ_BTF);
	if (!r->load.btf)
		return fail(EBADF, "no BTF behind descriptor %u", a->prog_btf_fd);
	err = read_records(r, a->func_info, a->func_info_cnt, a->func_info_rec_size, sizeof(struct bpf_func_info),
			   &r->funcs);
	err = err ? err
		  : read_records(r, a->line_info, a->line_info_cnt, a->line_info_rec_size, sizeof(struct bpf_line_info),
				 &r->lines);
	r->load.funcs = r->funcs;
	r->load.nr_funcs = a->func_info_cnt;
	r->load.lines = r->lines;
	r->load.nr_lines = a->line_info_cnt;
	return err ? err : check_lines(&r->load);
}

static int drain(void *arg, u32 at, const char *text, u32 len)
{
	struct request *r = arg;

	return r->s->ops->copy_out(r->attr->log_buf + at, text, len + 1) ? -EFAULT : 0;
}

static int parse(struct request *r)
{
	const union bpf_attr *a = r->attr;
	struct bpf_load *l = &r->load;
	int err;

	if (!rest_is_zero(a, core_relo_rec_size))
		return fail(EINVAL, "unknown fields are not zero");
	if (a->prog_flags & ~(u32)BPF_LOAD_FLAGS || a->prog_ifindex || a->attach_btf_id || a->attach_prog_fd ||
	    a->core_relo_cnt)
		return fail(EINVAL, "flags %#x, device, attach target or core relocations", a->prog_flags);
	l->type = a->prog_type;
	l->attach_type = a->expected_attach_type;
	l->flags = a->prog_flags;
	l->len = a->insn_cnt;
	l->rights = r->s->rights;
	if (l->type == BPF_PROG_TYPE_UNSPEC)
		return fail(EINVAL, "program type 0");
	err = read_license(r);
	if (err)
		return err;
	if (l->len == 0 || l->len > (l->rights.bpf ? BPF_MAX_INSNS : BPF_MAXINSNS))
		return -E2BIG;
	err = check_rights(l, &l->rights);
	err = err ? err : check_attach(l);
	err = err ? err : bpf_sys_name(a->prog_name);
	err = err ? err : bpf_sys_read(r->s, a->insns, (size_t)l->len * sizeof(struct bpf_insn), &r->insns);
	l->insns = r->insns;
	err = err ? err : read_btf(r);
	if (err || (!a->log_level && !a->log_buf && !a->log_size))
		return err;
	if (!a->log_level || !a->log_buf || a->log_size < 128 || a->log_size > UINT32_MAX >> 2 || a->log_level & ~7U)
		return fail(EINVAL, "log level %u, size %u", a->log_level, a->log_size);
	l->log_size = a->log_size;
	l->log_window = min(a->log_size, LOG_WINDOW);
	r->log = kmalloc(l->log_window, 0);
	l->log = r->log;
	l->drain = drain;
	l->log_level = a->log_level;
	return r->log ? 0 : -ENOMEM;
}

/* The tag is over the instructions as given, descriptors left out. */
static int set_tag(struct bpf_prog *prog, const struct bpf_load *l)
{
	struct bpf_insn *copy = big_alloc(l->len, sizeof(*copy));
	u8 digest[20];

	if (!copy)
		return -ENOMEM;
	memcpy(copy, l->insns, (size_t)l->len * sizeof(*copy));
	for (u32 i = 0; i + 1 < l->len; i++)
		if (copy[i].code == (BPF_LD | BPF_IMM | BPF_DW)) {
			if (copy[i].src_reg == BPF_PSEUDO_MAP_FD || copy[i].src_reg == BPF_PSEUDO_MAP_VALUE)
				copy[i].imm = copy[i + 1].imm = 0;
			i++;
		}
	bpf_sha1((const u8 *)copy, (size_t)l->len * sizeof(*copy), digest);
	memcpy(prog->tag, digest, sizeof(prog->tag));
	big_free(copy);
	return 0;
}

/* The BTF records stay with the program, for who asks what it is. Instructions never moved, so they still fit. */
static int keep_records(struct request *r, struct bpf_prog *prog)
{
	prog->funcs = r->funcs;
	prog->nr_funcs = r->funcs ? r->load.nr_funcs : 0;
	prog->lines = r->lines;
	prog->nr_lines = r->lines ? r->load.nr_lines : 0;
	r->funcs = r->lines = NULL;
	prog->line_code = prog->nr_lines ? big_alloc(prog->nr_lines, sizeof(*prog->line_code)) : NULL;
	return prog->nr_lines && !prog->line_code ? -ENOMEM : 0;
}

static int finish(struct request *r, struct bpf_prog *prog)
{
	int err;

	memcpy(prog->name, r->attr->prog_name, sizeof(prog->name) - 1);
	prog->uid = (u32)bpf_env.uid_gid();
	err = set_tag(prog, &r->load);
	err = err ? err : keep_records(r, prog);
	if (!err && r->s->ops->compile)
		r->s->ops->compile(prog);
	for (u32 i = 0; !err && i < prog->nr_maps; i++)
		if (prog->maps[i]->type == BPF_MAP_TYPE_PROG_ARRAY)
			err = bpf_tail_admit(prog->maps[i], prog);
	err = err ? err : bpf_object_add(BPF_OBJ_PROG, prog, &prog->id);
	if (err) {
		bpf_prog_put(prog);
		return err;
	}
	return bpf_sys_install(r->s, BPF_OBJ_PROG, prog, 0);
}

int bpf_sys_prog_load(const struct sys *s, const union bpf_attr *a)
{
	struct request *r = kzalloc(sizeof(*r), 0);
	struct bpf_prog *prog = NULL;
	int err;

	if (!r)
		return -ENOMEM;
	r->s = s;
	r->attr = a;
	r->load.find_map = find_map;
	r->load.arg = r;
	err = parse(r);
	err = err ? err : bpf_prog_new(&r->load, &prog);
	if (!err)
		err = finish(r, prog);
	big_free(r->insns);
	big_free(r->funcs);
	big_free(r->lines);
	kfree(r->log);
	kfree(r);
	return err;
}

int bpf_sys_btf_load(const struct sys *s, const union bpf_attr *a)
{
	struct bpf_btf *btf;
	char why[128] = "";
	void *data;
	u32 id;
	int err;

	if (!rest_is_zero(a, btf_log_level))
		return -EINVAL;
	if (!s->rights.bpf)
		return -EPERM;
	if (a->btf_size > 16U << 20)
		return -E2BIG;
	err = bpf_sys_read(s, a->btf, a->btf_size, &data);
	if (err)
		return err;
	err = bpf_btf_new(data, a->btf_size, &btf, why, sizeof(why));
	big_free(data);
	if (err) {
		if (a->btf_log_level && a->btf_log_size > strlen(why))
			if (s->ops->copy_out(a->btf_log_buf, why, strlen(why) + 1))
				err = -EFAULT;
		return err;
	}
	err = bpf_object_add(BPF_OBJ_BTF, btf, &id);
	if (err) {
		bpf_btf_put(btf);
		return err;
	}
	bpf_btf_set_id(btf, id);
	return bpf_sys_install(s, BPF_OBJ_BTF, btf, 0);
}

/* ---- links ------------------------------------------------------------------------------------------------------ */

int bpf_sys_link_update(const struct sys *s, const union bpf_attr *a)
{
	struct bpf_prog *prog, *old = NULL;
	struct bpf_link *l;

	if (!rest_is_zero(a, link_update.old_prog_fd) || a->link_update.flags & ~(u32)BPF_F_REPLACE)
		return -EINVAL;
	l = bpf_sys_object(s, (s32)a->link_update.link_fd, BPF_OBJ_LINK);
	prog = bpf_sys_object(s, (s32)a->link_update.new_prog_fd, BPF_OBJ_PROG);
	if (!l || !prog)
		return -EBADF;
	if (a->link_update.flags & BPF_F_REPLACE) {
		old = bpf_sys_object(s, (s32)a->link_update.old_prog_fd, BPF_OBJ_PROG);
		if (!old)
			return -EBADF;
	} else if (a->link_update.old_prog_fd) {
		return -EINVAL;
	}
	return l->ops->update ? l->ops->update(l, prog, old) : -EINVAL;
}

int bpf_sys_link_detach(const struct sys *s, const union bpf_attr *a)
{
	struct bpf_link *l;

	if (!rest_is_zero(a, link_detach.link_fd))
		return -EINVAL;
	l = bpf_sys_object(s, (s32)a->link_detach.link_fd, BPF_OBJ_LINK);
	if (!l)
		return -EBADF;
	return l->ops->detach ? l->ops->detach(l) : -EOPNOTSUPP;
}
