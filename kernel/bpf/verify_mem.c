/* SPDX-License-Identifier: MIT
 *
 * Problem: every load and store must hit an object that the program may touch, inside its bounds, for all values
 * that the offset can have.
 *
 * Idea: one dispatcher by kind of pointer. Objects of known size (map values and keys, ring buffer memory) are checked
 * at the smallest and the largest offset; packets against the number of bytes that a comparison with data_end has
 * proven; contexts and sockets against the tables of prog_types.c; the stack in verify_stack.c.
 *
 * Contract: verify_priv.h. 0 or -errno with a reason; messages as Linux 6.1. A load leaves what is known of the value
 * in the register.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

static int check_alignment(struct venv *env, const struct vreg *reg, s32 off, u32 bytes)
{
	static const char *const names[V_KINDS] = {
		[V_FLOW_KEYS] = "flow keys ",
		[V_MAP_KEY] = "key ",
		[V_MAP_VALUE] = "value ",
		[V_CTX] = "context ",
		[V_STACK] = "stack ",
		[V_SOCK] = "sock ",
		[V_SOCK_COMMON] = "sock_common ",
		[V_TCP_SOCK] = "tcp_sock ",
		[V_XDP_SOCK] = "xdp_sock ",
	};
	bool packet = vreg_is_packet(reg);
	struct tnum at = tnum_add(reg->v.bits, tnum_const((u64)(s64)(reg->off + off + (packet ? 2 : 0))));
	char text[48];

	if (!(env->strict || reg->kind == V_STACK) || bytes == 1 || tnum_aligned(at, bytes))
		return 0;
	tnum_text(text, sizeof(text), reg->v.bits);
	if (packet) /* an Ethernet header ends two bytes off a multiple of four */
		vlog(env, "misaligned packet access off %d+%s+%d+%d size %u\n", 2, text, reg->off, off, bytes);
	else
		vlog(env, "misaligned %saccess off %s+%d+%d size %u\n", names[reg->kind] ? names[reg->kind] : "", text,
		     reg->off, off, bytes);
	return -EACCES;
}

static int outside(struct venv *env, u32 regno, s32 off, s32 size, u32 limit, bool zero_ok)
{
	const struct vreg *reg = &vregs(env)[regno];

	if (off >= 0 && (size > 0 || (size == 0 && zero_ok)) && (u64)off + size <= limit)
		return 0;
	switch (reg->kind) {
	case V_MAP_KEY: vlog(env, "invalid access to map key, key_size=%u off=%d size=%d\n", limit, off, size); break;
	case V_MAP_VALUE:
		vlog(env, "invalid access to map value, value_size=%u off=%d size=%d\n", limit, off, size);
		break;
	case V_PKT:
	case V_PKT_META:
	case V_PKT_END:
		vlog(env, "invalid access to packet, off=%d size=%d, R%u(id=%u,off=%d,r=%d)\n", off, size, regno,
		     reg->id, off, (s32)limit);
		break;
	default: vlog(env, "invalid access to memory, mem_size=%u off=%d size=%d\n", limit, off, size);
	}
	return -EACCES;
}

int vmem_region(struct venv *env, u32 regno, s32 off, s32 size, u32 limit, bool zero_ok)
{
	const struct vreg *reg = &vregs(env)[regno];

	if (reg->v.w.smin < 0 && (reg->v.w.smin == INT64_MIN ||
				  off + reg->v.w.smin != (s64)(s32)(off + reg->v.w.smin) || reg->v.w.smin + off < 0)) {
		vlog(env, "R%u min value is negative, either use unsigned index or do a if (index >=0) check.\n",
		     regno);
		return -EACCES;
	}
	if (outside(env, regno, (s32)reg->v.w.smin + off, size, limit, zero_ok)) {
		vlog(env, "R%u min value is outside of the allowed memory range\n", regno);
		return -EACCES;
	}
	if (reg->v.w.umax >= MAX_OFFSET) {
		vlog(env, "R%u unbounded memory access, make sure to bounds check any such access\n", regno);
		return -EACCES;
	}
	if (outside(env, regno, (s32)reg->v.w.umax + off, size, limit, zero_ok)) {
		vlog(env, "R%u max value is outside of the allowed memory range\n", regno);
		return -EACCES;
	}
	return 0;
}

/* The bytes [first, last) of a map value that must not be touched directly. */
static bool touches(const struct vreg *reg, s32 off, s32 size, s32 at, s32 bytes)
{
	return at >= 0 && off + reg->v.w.smin < at + bytes && at < (s64)(off + size + reg->v.w.umax);
}

int vmem_map_value(struct venv *env, u32 regno, s32 off, s32 size, bool zero_ok)
{
	const struct vreg *reg = &vregs(env)[regno];
	int err = vmem_region(env, regno, off, size, reg->map->value_size, zero_ok);

	if (err)
		return err;
	if (touches(reg, off, size, reg->map->spin_lock_off, 4)) {
		vlog(env, "bpf_spin_lock cannot be accessed directly by load/store\n");
		return -EACCES;
	}
	if (touches(reg, off, size, reg->map->timer_off, 16)) {
		vlog(env, "bpf_timer cannot be accessed directly by load/store\n");
		return -EACCES;
	}
	return 0;
}

static int map_flags_allow(struct venv *env, u32 regno, s32 off, s32 size, enum vaccess a)
{
	const struct bpf_map *map = vregs(env)[regno].map;

	if (a == A_WRITE && map->flags & BPF_F_RDONLY_PROG) {
		vlog(env, "write into map forbidden, value_size=%u off=%d size=%d\n", map->value_size, off, size);
		return -EACCES;
	}
	if (a == A_READ && map->flags & BPF_F_WRONLY_PROG) {
		vlog(env, "read from map forbidden, value_size=%u off=%d size=%d\n", map->value_size, off, size);
		return -EACCES;
	}
	return 0;
}

int vmem_packet(struct venv *env, u32 regno, s32 off, s32 size, bool zero_ok)
{
	const struct vreg *reg = &vregs(env)[regno];
	int err;

	if (reg->v.w.smin < 0) {
		vlog(env, "R%u min value is negative, either use unsigned index or do a if (index >=0) check.\n",
		     regno);
		return -EACCES;
	}
	err = reg->range < 0 ? -EINVAL : outside(env, regno, off, size, reg->range, zero_ok);
	if (err) {
		vlog(env, "R%u offset is outside of the packet\n", regno);
		return err;
	}
	env->max_pkt_off = max(env->max_pkt_off, (u32)(off + reg->v.w.umax + size - 1));
	return 0;
}

bool vmem_packet_allowed(struct venv *env, enum vaccess a)
{
	return a == A_WRITE ? env->rules->packet_write : env->rules->packet_read;
}

int vmem_fixed_offset(struct venv *env, u32 regno, bool fixed_ok)
{
	const struct vreg *reg = &vregs(env)[regno];
	char text[48], type[40];

	if (reg->off < 0) {
		vlog(env, "negative offset %s ptr R%u off=%d disallowed\n", vreg_type_text(reg, type), regno, reg->off);
		return -EACCES;
	}
	if (!fixed_ok && reg->off) {
		vlog(env, "dereference of modified %s ptr R%u off=%d disallowed\n", vreg_type_text(reg, type), regno,
		     reg->off);
		return -EACCES;
	}
	if (!scalar_is_const(&reg->v) || reg->v.bits.value) {
		tnum_text(text, sizeof(text), reg->v.bits);
		vlog(env, "variable %s access var_off=%s disallowed\n", vreg_type_text(reg, type), text);
		return -EACCES;
	}
	return 0;
}

static int no_leak(struct venv *env, enum vaccess a, int value_reg, const char *where)
{
	if (a != A_WRITE || value_reg < 0 || !vreg_is_secret(env, &vregs(env)[value_reg]))
		return 0;
	vlog(env, "R%d leaks addr into %s\n", value_reg, where);
	return -EACCES;
}

static void loaded(struct venv *env, enum vaccess a, int value_reg)
{
	if (a == A_READ && value_reg >= 0)
		vreg_set_unknown(&vregs(env)[value_reg]);
}

/* A map that nobody can change any more: its contents are constants. */
static bool read_constant(struct venv *env, const struct vreg *reg, s32 off, u32 bytes, u64 *value)
{
	struct bpf_map *map = reg->map;
	u64 addr;

	if (!(map->flags & BPF_F_RDONLY_PROG) || !READ_ONCE(map->frozen) || atomic_read(&map->writers) ||
	    !map->ops->value_addr || !scalar_is_const(&reg->v))
		return false;
	off += (s32)reg->v.bits.value;
	if (map->ops->value_addr(map, 0, &addr))
		return false;
	*value = 0;
	memcpy(value, (void *)(addr + off), bytes);
	return true;
}

static int access_map_value(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	struct vreg *reg = &vregs(env)[regno];
	u64 value;
	int err = no_leak(env, a, value_reg, "map");

	err = err ? err : map_flags_allow(env, regno, off, (s32)bytes, a);
	err = err ? err : vmem_map_value(env, regno, off, (s32)bytes, false);
	if (err)
		return err;
	if (a == A_READ && value_reg >= 0 && read_constant(env, reg, off, bytes, &value))
		vreg_set_const(&vregs(env)[value_reg], value);
	else
		loaded(env, a, value_reg);
	return 0;
}

static int access_memory(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	struct vreg *reg = &vregs(env)[regno];
	char type[40];
	int err;

	if (a == A_WRITE && reg->rdonly) {
		vlog(env, "R%u cannot write into %s\n", regno, vreg_type_text(reg, type));
		return -EACCES;
	}
	err = no_leak(env, a, value_reg, "mem");
	err = err ? err : vmem_region(env, regno, off, (s32)bytes, reg->mem_size, false);
	if (!err)
		loaded(env, a, value_reg);
	return err;
}

static int access_ctx(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	struct vreg out;
	int err = no_leak(env, a, value_reg, "ctx");

	err = err ? err : vmem_fixed_offset(env, regno, false);
	if (err)
		return err;
	vreg_set_unknown(&out);
	err = bpf_ctx_access(env, off, bytes, a, &out);
	if (err) {
		vlog_line(env, env->insn);
		vlog(env, "invalid bpf_context access off=%d size=%u\n", off, bytes);
		return -EACCES;
	}
	if (a == A_READ && value_reg >= 0)
		vregs(env)[value_reg] = out;
	return 0;
}

static int access_packet(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	int err;

	if (a == A_WRITE && !vmem_packet_allowed(env, a)) {
		vlog(env, "cannot write into packet\n");
		return -EACCES;
	}
	err = no_leak(env, a, value_reg, "packet");
	err = err ? err : vmem_packet(env, regno, off, (s32)bytes, false);
	if (!err)
		loaded(env, a, value_reg);
	return err;
}

static int access_sock(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	struct vreg *reg = &vregs(env)[regno];
	char type[40];

	if (a == A_WRITE) {
		vlog(env, "R%u cannot write into %s\n", regno, vreg_type_text(reg, type));
		return -EACCES;
	}
	if (reg->v.w.smin < 0) {
		vlog(env, "R%u min value is negative, either use unsigned index or do a if (index >=0) check.\n",
		     regno);
		return -EACCES;
	}
	if (!scalar_is_const(&reg->v) || bpf_sock_access(env, reg->kind, off, bytes)) {
		vlog(env, "R%u invalid %s access off=%d size=%u\n", regno, vreg_type_text(reg, type), off, bytes);
		return -EACCES;
	}
	loaded(env, a, value_reg);
	return 0;
}

static int access_buffer(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	const struct vreg *reg = &vregs(env)[regno];
	char text[48];

	if (off < 0) {
		vlog(env, "R%u invalid %s buffer access: off=%d, size=%u\n", regno, "tracepoint", off, bytes);
		return -EACCES;
	}
	if (!scalar_is_const(&reg->v) || reg->v.bits.value) {
		tnum_text(text, sizeof(text), reg->v.bits);
		vlog(env, "R%u invalid variable buffer offset: off=%d, var_off=%s\n", regno, off, text);
		return -EACCES;
	}
	loaded(env, a, value_reg);
	return 0;
}

static int access_key(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	int err;

	if (a == A_WRITE) {
		vlog(env, "write to change key R%u not allowed\n", regno);
		return -EACCES;
	}
	err = vmem_region(env, regno, off, (s32)bytes, vregs(env)[regno].map->key_size, false);
	if (!err)
		loaded(env, a, value_reg);
	return err;
}

static int access_flow_keys(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	int err = no_leak(env, a, value_reg, "flow keys");

	if (err)
		return err;
	if (off < 0 || (u64)off + bytes > sizeof(struct bpf_flow_keys)) {
		vlog(env, "invalid access to flow keys off=%d size=%u\n", off, bytes);
		return -EACCES;
	}
	loaded(env, a, value_reg);
	return 0;
}

static int access_kind(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	const struct vreg *reg = &vregs(env)[regno];
	char type[40];

	if (!reg->null_ok) {
		switch (reg->kind) {
		case V_MAP_KEY: return access_key(env, regno, off, bytes, a, value_reg);
		case V_MAP_VALUE: return access_map_value(env, regno, off, bytes, a, value_reg);
		case V_MEM: return access_memory(env, regno, off, bytes, a, value_reg);
		case V_CTX: return access_ctx(env, regno, off, bytes, a, value_reg);
		case V_STACK: return vstack_access(env, regno, off, (s32)bytes, a, value_reg);
		case V_PKT:
		case V_PKT_META: return access_packet(env, regno, off, bytes, a, value_reg);
		case V_FLOW_KEYS: return access_flow_keys(env, regno, off, bytes, a, value_reg);
		case V_SOCK:
		case V_SOCK_COMMON:
		case V_TCP_SOCK:
		case V_XDP_SOCK: return access_sock(env, regno, off, bytes, a, value_reg);
		case V_TP_BUFFER: return access_buffer(env, regno, off, bytes, a, value_reg);
		}
	}
	if (reg->kind == V_MAP_PTR) {
		vlog(env, env->allow_leaks ? "map_ptr access not supported without CONFIG_DEBUG_INFO_BTF\n"
					   : "bpf_array access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN\n");
		return env->allow_leaks ? -ENOTSUPP : -EPERM;
	}
	vlog(env, "R%u invalid mem access '%s'\n", regno, vreg_type_text(reg, type));
	return -EACCES;
}

int vmem_access(struct venv *env, u32 regno, s32 off, u32 bytes, enum vaccess a, int value_reg)
{
	const struct vreg *reg = &vregs(env)[regno];
	int err = check_alignment(env, reg, off, bytes);

	if (err)
		return err;
	err = access_kind(env, regno, off + reg->off, bytes, a, value_reg);
	if (err)
		return err;
	if (bytes < 8 && a == A_READ && value_reg >= 0 && vregs(env)[value_reg].kind == V_SCALAR)
		scalar_truncate(&vregs(env)[value_reg].v, bytes);
	return 0;
}

int vmem_helper(struct venv *env, u32 regno, s32 size, bool zero_ok, bool writes)
{
	struct vreg *reg = &vregs(env)[regno];
	enum vaccess a = writes ? A_WRITE : A_READ;
	char type[40];
	int err;

	switch (reg->kind) {
	case V_PKT:
	case V_PKT_META: return vmem_packet(env, regno, reg->off, size, zero_ok);
	case V_MAP_KEY:
		if (writes) {
			vlog(env, "R%u cannot write into %s\n", regno, vreg_type_text(reg, type));
			return -EACCES;
		}
		return vmem_region(env, regno, reg->off, size, reg->map->key_size, zero_ok);
	case V_MAP_VALUE:
		err = map_flags_allow(env, regno, reg->off, size, a);
		return err ? err : vmem_map_value(env, regno, reg->off, size, zero_ok);
	case V_MEM:
		if (writes && reg->rdonly) {
			vlog(env, "R%u cannot write into %s\n", regno, vreg_type_text(reg, type));
			return -EACCES;
		}
		return vmem_region(env, regno, reg->off, size, reg->mem_size, zero_ok);
	case V_STACK: return vstack_helper(env, regno, size, zero_ok, writes);
	}
	if (zero_ok && size == 0 && vreg_is_zero(reg))
		return 0;
	vlog(env, "R%u type=%s expected=fp\n", regno, vreg_type_text(reg, type));
	return -EACCES;
}
