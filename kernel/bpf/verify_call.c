/* SPDX-License-Identifier: MIT
 *
 * Problem: helpers are trusted code that believes its arguments; a wrong one is a hole in the kernel. Subprograms
 * take and return anything.
 *
 * Idea: a helper's prototype (bpf/helper.h) says what each argument must be; a table gives the kinds of pointers that
 * fit. What the helper returns, acquires and releases follows from the same table. Subprograms are walked at each
 * call, in a frame of their own. A helper that calls back (bpf_loop) is a branch: either it is done, or the callback
 * runs and control is back at the call; after a few rounds scalars on the stack are forgotten, so that it converges.
 *
 * Contract: verify_priv.h. 0 or -errno with a reason; messages as Linux 6.1.
 *
 * Locks: none (one load, one thread).
 */
#include "helper_priv.h"
#include "verify_priv.h"

#define K(kind) (1U << (kind))
#define ROUNDS  3 /* of a callback that are walked with all facts */

struct call {
	const struct bpf_helper *h;
	u32 id;
	struct bpf_map *map;
	u32 map_uid;
	bool map_known;
	u32 ref_id; /* of the one referenced argument */
	u32 release_reg;
	s32 raw_reg; /* memory that the helper fills */
	u32 raw_bytes;
	u32 alloc_bytes;
	u32 callback; /* subprogram + 1 */
	u64 max_bytes;
};

static const struct {
	u8 arg;
	u32 kinds;
	const char *expected;
} arg_kinds[] = {
	{ ARG_CTX, K(V_CTX), "ctx" },
	{ ARG_MAP, K(V_MAP_PTR), "map_ptr" },
	{ ARG_KEY, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE),
	  "fp, pkt, pkt_meta, map_key, map_value" },
	{ ARG_VALUE, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE),
	  "fp, pkt, pkt_meta, map_key, map_value" },
	{ ARG_UNINIT_VALUE, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE),
	  "fp, pkt, pkt_meta, map_key, map_value" },
	{ ARG_MEM, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE) | K(V_MEM) | K(V_BUF),
	  "fp, pkt, pkt_meta, map_key, map_value, mem, alloc_mem, buf" },
	{ ARG_UNINIT_MEM, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE) | K(V_MEM) | K(V_BUF),
	  "fp, pkt, pkt_meta, map_key, map_value, mem, alloc_mem, buf" },
	{ ARG_SIZE, K(V_SCALAR), "scalar" },
	{ ARG_SIZE0, K(V_SCALAR), "scalar" },
	{ ARG_ALLOC_SIZE, K(V_SCALAR), "scalar" },
	{ ARG_SPIN_LOCK, K(V_MAP_VALUE), "map_value" },
	{ ARG_TIMER, K(V_MAP_VALUE), "map_value" },
	{ ARG_SOCK_COMMON, K(V_SOCK_COMMON) | K(V_SOCK) | K(V_TCP_SOCK) | K(V_XDP_SOCK),
	  "sock_common, sock, tcp_sock, xdp_sock" },
	{ ARG_SOCK, K(V_SOCK), "sock" },
	{ ARG_INT, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE),
	  "fp, pkt, pkt_meta, map_key, map_value" },
	{ ARG_LONG, K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE),
	  "fp, pkt, pkt_meta, map_key, map_value" },
	{ ARG_RINGBUF_MEM, K(V_MEM), "alloc_mem" },
	{ ARG_FUNC, K(V_FUNC), "func" },
	{ ARG_STACK, K(V_STACK), "fp" },
	{ ARG_CONST_STR, K(V_MAP_VALUE), "map_value" },
	{ ARG_BTF_ID, K(V_BTF_ID), "ptr_" },
};

static int check_kind(struct venv *env, u32 regno, u8 arg)
{
	const struct vreg *reg = &vregs(env)[regno];
	char type[40];

	for (u32 i = 0; i < ARRAY_SIZE(arg_kinds); i++) {
		bool wrong_mem = arg == ARG_RINGBUF_MEM && !reg->alloc;

		if (arg_kinds[i].arg != arg)
			continue;
		if (arg_kinds[i].kinds & K(reg->kind) && !reg->null_ok && !wrong_mem)
			return 0;
		vlog(env, "R%u type=%s expected=%s\n", regno, vreg_type_text(reg, type), arg_kinds[i].expected);
		return -EACCES;
	}
	return -EFAULT;
}

/* Pointers to objects (not to bytes) must point to their start. */
static int check_offset(struct venv *env, u32 regno, u8 arg, bool release)
{
	const struct vreg *reg = &vregs(env)[regno];
	u32 bytes = K(V_STACK) | K(V_PKT) | K(V_PKT_META) | K(V_MAP_KEY) | K(V_MAP_VALUE) | K(V_MEM) | K(V_BUF) |
		    K(V_SCALAR);

	if (release && reg->off && arg != ARG_RINGBUF_MEM) {
		vlog(env, "R%u must have zero offset when passed to release func\n", regno);
		return -EINVAL;
	}
	if (K(reg->kind) & bytes && arg != ARG_RINGBUF_MEM)
		return 0;
	return vmem_fixed_offset(env, regno, false);
}

int vcall_check_offset(struct venv *env, u32 regno)
{
	return check_offset(env, regno, ARG_ANY, false);
}

static int check_size_arg(struct venv *env, struct call *c, u32 regno, bool zero_ok, bool raw)
{
	const struct vreg *reg = &vregs(env)[regno];
	bool known = scalar_is_const(&reg->v);
	int err;

	c->max_bytes = reg->v.w.umax;
	if (reg->v.w.smin < 0) {
		vlog(env, "R%u min value is negative, either use unsigned or 'var &= const'\n", regno);
		return -EACCES;
	}
	if (reg->v.w.umin == 0) {
		err = vmem_helper(env, regno - 1, 0, zero_ok, raw && known);
		if (err)
			return err;
	}
	if (reg->v.w.umax >= MAX_OFFSET) {
		vlog(env, "R%u unbounded memory access, use 'var &= const' or 'if (var < const)'\n", regno);
		return -EACCES;
	}
	return vmem_helper(env, regno - 1, (s32)reg->v.w.umax, zero_ok, raw && known);
}

static int check_lock(struct venv *env, u32 regno, bool lock)
{
	struct vreg *reg = &vregs(env)[regno];
	struct bpf_map *map = reg->map;
	s64 at = (s64)reg->v.bits.value + reg->off;

	if (!scalar_is_const(&reg->v)) {
		vlog(env, "R%u doesn't have constant offset. bpf_spin_lock has to be at the constant offset\n", regno);
		return -EINVAL;
	}
	if (!map->btf) {
		vlog(env, "map '%s' has to have BTF in order to use bpf_spin_lock\n", map->name);
		return -EINVAL;
	}
	if (map->spin_lock_off < 0) {
		vlog(env, "map '%s' doesn't have 'struct bpf_spin_lock'\n", map->name);
		return -EINVAL;
	}
	if (map->spin_lock_off != at) {
		vlog(env, "off %lld doesn't point to 'struct bpf_spin_lock'\n", (long long)at);
		return -EINVAL;
	}
	if (lock && env->cur->lock_id) {
		vlog(env, "Locking two bpf_spin_locks are not allowed\n");
		return -EINVAL;
	}
	if (!lock && !env->cur->lock_id) {
		vlog(env, "bpf_spin_unlock without taking a lock\n");
		return -EINVAL;
	}
	if (!lock && env->cur->lock_id != reg->id) {
		vlog(env, "bpf_spin_unlock of different lock\n");
		return -EINVAL;
	}
	env->cur->lock_id = lock ? reg->id : 0;
	return 0;
}

static int check_const_string(struct venv *env, u32 regno)
{
	const struct vreg *reg = &vregs(env)[regno];
	u64 addr;
	int err;

	if (!(reg->map->flags & BPF_F_RDONLY_PROG) || !reg->map->frozen) {
		vlog(env, "R%u does not point to a readonly map'\n", regno);
		return -EACCES;
	}
	if (!scalar_is_const(&reg->v)) {
		vlog(env, "R%u is not a constant address'\n", regno);
		return -EACCES;
	}
	if (!reg->map->ops->value_addr) {
		vlog(env, "no direct value access support for this map type\n");
		return -EACCES;
	}
	err = vmem_map_value(env, regno, reg->off, (s32)reg->map->value_size - reg->off, false);
	err = err ? err : reg->map->ops->value_addr(reg->map, 0, &addr);
	if (err)
		return err;
	addr += reg->off + reg->v.bits.value;
	if (!memchr((void *)addr, 0, reg->map->value_size - reg->off - reg->v.bits.value)) {
		vlog(env, "string is not zero-terminated\n");
		return -EINVAL;
	}
	return 0;
}

static int check_map_arg(struct venv *env, struct call *c, u32 regno)
{
	const struct vreg *reg = &vregs(env)[regno];

	c->map = reg->map;
	c->map_uid = reg->map_uid;
	return 0;
}

/* What an argument of the right kind has to fulfil. */
static int check_meaning(struct venv *env, struct call *c, u32 regno, u8 arg)
{
	struct vreg *reg = &vregs(env)[regno];
	u8 before = regno > 1 ? c->h->args[regno - 2] & ARG_KIND : 0;
	int err;

	switch (arg) {
	case ARG_MAP: return check_map_arg(env, c, regno);
	case ARG_KEY:
		if (c->map)
			return vmem_helper(env, regno, (s32)c->map->key_size, false, false);
		vlog(env, "invalid map_ptr to access map->key\n");
		return -EACCES;
	case ARG_VALUE:
	case ARG_UNINIT_VALUE:
		if (c->map)
			return vmem_helper(env, regno, (s32)c->map->value_size, false,
					   arg == ARG_UNINIT_VALUE && c->map->type != BPF_MAP_TYPE_BLOOM_FILTER);
		vlog(env, "invalid map_ptr to access map->value\n");
		return -EACCES;
	case ARG_SIZE:
	case ARG_SIZE0: return check_size_arg(env, c, regno, arg == ARG_SIZE0, before == ARG_UNINIT_MEM);
	case ARG_ALLOC_SIZE:
		if (!scalar_is_const(&reg->v)) {
			vlog(env, "R%u is not a known constant'\n", regno);
			return -EACCES;
		}
		c->alloc_bytes = (u32)reg->v.bits.value;
		return 0;
	case ARG_SPIN_LOCK: return check_lock(env, regno, c->id == BPF_FUNC_spin_lock);
	case ARG_INT:
	case ARG_LONG:
		err = vmem_helper(env, regno, arg == ARG_INT ? 4 : 8, false, true);
		if (!err && (reg->off + (s64)reg->v.bits.value) & (arg == ARG_INT ? 3 : 7)) {
			vlog(env, "misaligned stack access off (0x0; 0x0)+%d+0 size %d\n", reg->off,
			     arg == ARG_INT ? 4 : 8);
			return -EACCES;
		}
		return err;
	case ARG_FUNC: c->callback = reg->subprog + 1; return 0;
	case ARG_CONST_STR: return check_const_string(env, regno);
	}
	return 0;
}

/* Programs of socket options name the socket, where others name their context; those whose context is a socket name
 * that where others name one. */
static u8 argument(const struct venv *env, const struct call *c, u32 n)
{
	bool option = c->id == BPF_FUNC_setsockopt || c->id == BPF_FUNC_getsockopt;

	if (option && !n && env->load->type == BPF_PROG_TYPE_CGROUP_SOCKOPT)
		return ARG_SOCK_COMMON;
	if (c->id == BPF_FUNC_sk_storage_get && n == 1 && env->load->type == BPF_PROG_TYPE_CGROUP_SOCK)
		return ARG_CTX;
	return c->h->args[n];
}

static int check_arg(struct venv *env, struct call *c, u32 n)
{
	u32 regno = n + 1;
	struct vreg *reg = &vregs(env)[regno];
	u8 full = argument(env, c, n), arg = full & ARG_KIND;
	int err = vreg_use(env, regno);

	if (err)
		return err;
	if (arg == ARG_ANY) {
		if (!vreg_is_secret(env, reg))
			return 0;
		vlog(env, "R%u leaks addr into helper function\n", regno);
		return -EACCES;
	}
	if (vreg_is_packet(reg) && !(vmem_packet_allowed(env, A_READ) && c->h->packet_access)) {
		vlog(env, "helper access to the packet is not allowed\n");
		return -EACCES;
	}
	if (full & ARG_NULL_OK && vreg_is_zero(reg))
		return 0;
	if (arg == ARG_MEM && vreg_is_zero(reg) && n < 4 && (c->h->args[n + 1] & ARG_KIND) == ARG_SIZE0 &&
	    full & ARG_NULL_OK)
		return 0;
	err = check_kind(env, regno, arg);
	err = err ? err : check_offset(env, regno, arg, full & ARG_RELEASE);
	if (err)
		return err;
	if (full & ARG_RELEASE) {
		if (!reg->ref_id) {
			vlog(env, "R%u must be referenced when passed to release function\n", regno);
			return -EINVAL;
		}
		c->release_reg = regno;
	}
	if (reg->ref_id)
		c->ref_id = reg->ref_id;
	return check_meaning(env, c, regno, arg);
}

/* ---- which maps go with which helpers ------------------------------------------------------------- */

#define M(t) (1ULL << BPF_MAP_TYPE_##t)

static u64 maps_of_helper(u32 id)
{
	u64 plain =
		M(HASH) | M(ARRAY) | M(PERCPU_HASH) | M(PERCPU_ARRAY) | M(LRU_HASH) | M(LRU_PERCPU_HASH) | M(LPM_TRIE);

	switch (id) {
	case BPF_FUNC_map_lookup_elem:
		return plain | M(ARRAY_OF_MAPS) | M(HASH_OF_MAPS) | M(XSKMAP) | M(SOCKMAP) | M(SOCKHASH);
	case BPF_FUNC_map_update_elem: return plain | M(SOCKMAP) | M(SOCKHASH);
	case BPF_FUNC_map_delete_elem: return plain | M(SOCKMAP) | M(SOCKHASH);
	case BPF_FUNC_for_each_map_elem: return plain & ~M(LPM_TRIE);
	case BPF_FUNC_map_lookup_percpu_elem: return M(PERCPU_ARRAY) | M(PERCPU_HASH) | M(LRU_PERCPU_HASH);
	case BPF_FUNC_tail_call: return M(PROG_ARRAY);
	case BPF_FUNC_perf_event_read:
	case BPF_FUNC_perf_event_output:
	case BPF_FUNC_perf_event_read_value: return M(PERF_EVENT_ARRAY);
	case BPF_FUNC_ringbuf_output:
	case BPF_FUNC_ringbuf_reserve:
	case BPF_FUNC_ringbuf_query: return M(RINGBUF);
	case BPF_FUNC_get_stackid: return M(STACK_TRACE);
	case BPF_FUNC_current_task_under_cgroup:
	case BPF_FUNC_skb_under_cgroup: return M(CGROUP_ARRAY);
	case BPF_FUNC_redirect_map: return M(DEVMAP) | M(DEVMAP_HASH) | M(CPUMAP) | M(XSKMAP);
	case BPF_FUNC_sk_redirect_map:
	case BPF_FUNC_msg_redirect_map:
	case BPF_FUNC_sock_map_update: return M(SOCKMAP);
	case BPF_FUNC_sk_redirect_hash:
	case BPF_FUNC_msg_redirect_hash:
	case BPF_FUNC_sock_hash_update: return M(SOCKHASH);
	case BPF_FUNC_get_local_storage: return M(CGROUP_STORAGE) | M(PERCPU_CGROUP_STORAGE);
	case BPF_FUNC_sk_select_reuseport: return M(REUSEPORT_SOCKARRAY) | M(SOCKMAP) | M(SOCKHASH);
	case BPF_FUNC_map_peek_elem: return M(QUEUE) | M(STACK) | M(BLOOM_FILTER);
	case BPF_FUNC_map_push_elem: return M(QUEUE) | M(STACK) | M(BLOOM_FILTER);
	case BPF_FUNC_map_pop_elem: return M(QUEUE) | M(STACK);
	case BPF_FUNC_sk_storage_get:
	case BPF_FUNC_sk_storage_delete: return M(SK_STORAGE);
	}
	return 0;
}

static int check_map_type(struct venv *env, const struct call *c)
{
	if (!c->map || maps_of_helper(c->id) >> c->map->type & 1 || c->id == BPF_FUNC_timer_init)
		return 0;
	vlog(env, "cannot pass map_type %u into func bpf_%s#%u\n", c->map->type, c->h->name, c->id);
	return -EINVAL;
}

/* ---- effects --------------------------------------------------------------------------------------- */

static void forget(const struct venv *env, struct vreg *reg)
{
	if (env->allow_leaks)
		vreg_set_unknown(reg);
	else
		*reg = (struct vreg){ 0 };
}

/* Every register and spilled register that `match` selects loses what it stood for. */
static void forget_all(struct venv *env, bool (*match)(const struct vreg *, u32), u32 arg)
{
	for (u32 f = 0; f <= env->cur->cur; f++) {
		struct vframe *fr = env->cur->frames[f];

		for (u32 r = 0; r < FP; r++)
			if (match(&fr->regs[r], arg))
				forget(env, &fr->regs[r]);
		for (u32 s = 0; s < fr->nslots; s++)
			if (fr->slots[s].byte[0] == B_SPILL && match(&fr->slots[s].reg, arg))
				forget(env, &fr->slots[s].reg);
	}
}

static bool is_any_packet(const struct vreg *reg, u32 arg)
{
	return vreg_is_packet(reg) || reg->kind == V_PKT_END;
}

static bool stands_on(const struct vreg *reg, u32 ref_id)
{
	return reg->ref_id == ref_id && reg->kind != V_NONE;
}

static int release(struct venv *env, const struct call *c)
{
	u32 id = vregs(env)[c->release_reg].ref_id;

	if (!c->release_reg)
		return 0;
	if (vstate_release(env, id)) {
		vlog(env, "func bpf_%s#%u reference has not been acquired before\n", c->h->name, c->id);
		return -EINVAL;
	}
	forget_all(env, stands_on, id);
	return 0;
}

int vcall_check_refs(struct venv *env)
{
	if (env->cur->cur)
		return 0; /* a callee's references go on to its caller */
	for (u32 i = 0; i < env->cur->nrefs; i++)
		vlog(env, "Unreleased reference id=%u alloc_insn=%u\n", env->cur->refs[i].id, env->cur->refs[i].insn);
	return env->cur->nrefs ? -EINVAL : 0;
}

static bool acquires(const struct call *c)
{
	switch (c->id) {
	case BPF_FUNC_sk_lookup_tcp:
	case BPF_FUNC_sk_lookup_udp:
	case BPF_FUNC_skc_lookup_tcp:
	case BPF_FUNC_ringbuf_reserve: return true;
	case BPF_FUNC_map_lookup_elem:
		return c->map->type == BPF_MAP_TYPE_SOCKMAP || c->map->type == BPF_MAP_TYPE_SOCKHASH;
	}
	return false;
}

static bool casts(u32 id)
{
	return id == BPF_FUNC_tcp_sock || id == BPF_FUNC_sk_fullsock ||
	       (id >= BPF_FUNC_skc_to_tcp6_sock && id <= BPF_FUNC_skc_to_udp6_sock);
}

static int set_result_kind(struct venv *env, const struct call *c, struct vreg *r0)
{
	switch (c->h->ret) {
	case RET_INT: vreg_set_unknown(r0); return 0;
	case RET_VOID: *r0 = (struct vreg){ 0 }; return 0;
	case RET_MAP_VALUE:
	case RET_MAP_VALUE_NULL:
		if (!c->map)
			return -EINVAL;
		vreg_set_pointer(r0, V_MAP_VALUE);
		r0->map = c->map;
		r0->map_uid = c->map_uid;
		r0->null_ok = c->h->ret == RET_MAP_VALUE_NULL;
		if (!r0->null_ok && c->map->spin_lock_off >= 0)
			r0->id = ++env->ids;
		return 0;
	case RET_SOCK_NULL: vreg_set_pointer(r0, V_SOCK); break;
	case RET_SOCK_COMMON_NULL: vreg_set_pointer(r0, V_SOCK_COMMON); break;
	case RET_TCP_SOCK_NULL: vreg_set_pointer(r0, V_TCP_SOCK); break;
	case RET_RINGBUF_MEM_NULL:
		vreg_set_pointer(r0, V_MEM);
		r0->mem_size = c->alloc_bytes;
		r0->alloc = true;
		break;
	case RET_BTF_ID: vreg_set_pointer(r0, V_BTF_ID); break;
	}
	r0->null_ok = true;
	return 0;
}

static int set_result(struct venv *env, const struct call *c)
{
	struct vreg *r0 = &vregs(env)[0];
	int err = set_result_kind(env, c, r0), id;

	if (err)
		return err;
	if (r0->null_ok)
		r0->id = ++env->ids;
	if (casts(c->id)) {
		r0->ref_id = c->ref_id;
	} else if (acquires(c)) {
		id = vstate_acquire(env);
		if (id < 0)
			return id;
		r0->id = r0->ref_id = (u32)id;
	}
	switch (c->id) { /* these return a length of at most the buffer, or an error */
	case BPF_FUNC_get_stack:
	case BPF_FUNC_get_task_stack:
	case BPF_FUNC_probe_read_str:
	case BPF_FUNC_probe_read_kernel_str:
	case BPF_FUNC_probe_read_user_str:
		r0->v.w.smax = (s64)c->max_bytes;
		r0->v.w.smin = -4095;
		r0->v.h.smax = (s64)c->max_bytes;
		r0->v.h.smin = -4095;
		scalar_sync(&r0->v);
	}
	return 0;
}

static void clobber(struct venv *env)
{
	for (u32 r = 0; r <= 5; r++)
		vregs(env)[r] = (struct vreg){ 0 };
	env->scratched_regs |= 1;
}

/* ---- callbacks -------------------------------------------------------------------------------------- */

static void forget_scalars(struct venv *env)
{
	for (u32 f = 0; f <= env->cur->cur; f++) {
		struct vframe *fr = env->cur->frames[f];

		for (u32 s = 0; s < fr->nslots; s++)
			for (u32 b = 0; b < 8; b++) {
				struct vslot *slot = &fr->slots[s];

				if (slot->byte[b] == B_ZERO || (slot->byte[b] == B_SPILL && slot->reg.kind == V_SCALAR))
					slot->byte[b] = B_MISC;
			}
	}
}

static int check_room(struct venv *env)
{
	if (env->cur->cur + 1 < BPF_MAX_FRAMES)
		return 0;
	vlog(env, "the call stack of %u frames is too deep\n", env->cur->cur + 2);
	return -E2BIG;
}

static int enter_frame(struct venv *env, u32 subprog, struct vframe **out)
{
	struct vstate *st = env->cur;
	struct vframe *f;

	if (check_room(env))
		return -E2BIG;
	f = vframe_new(st->cur + 1, subprog, env->insn);
	if (!f)
		return -ENOMEM;
	st->frames[++st->cur] = f;
	st->wrote[st->cur] = ~0ULL; /* nothing of this frame existed before */
	*out = f;
	return 0;
}

static int enter_callback(struct venv *env, const struct call *c)
{
	const struct vreg *caller = vregs(env);
	struct vreg ctx = caller[3];
	struct vframe *f;
	int err;

	if (c->id == BPF_FUNC_for_each_map_elem && (maps_of_helper(c->id) >> c->map->type & 1) == 0) {
		vlog(env, "callback function not allowed for map\n");
		return -EINVAL;
	}
	err = enter_frame(env, c->callback - 1, &f);
	if (err)
		return err;
	f->callback = true;
	f->cb_max = 1;
	if (c->id == BPF_FUNC_loop) { /* fn(u32 index, ctx) */
		vreg_set_unknown(&f->regs[1]);
		f->regs[2] = ctx;
	} else { /* fn(map, key, value, ctx) */
		vreg_set_pointer(&f->regs[1], V_MAP_PTR);
		vreg_set_pointer(&f->regs[2], V_MAP_KEY);
		vreg_set_pointer(&f->regs[3], V_MAP_VALUE);
		for (u32 r = 1; r <= 3; r++) {
			f->regs[r].map = c->map;
			f->regs[r].map_uid = c->map_uid;
		}
		if (c->map->spin_lock_off >= 0)
			f->regs[3].id = ++env->ids;
		f->regs[4] = ctx;
	}
	env->insn = env->subs[c->callback - 1].start;
	return 0;
}

/* The helper is done (after any number of rounds), or it runs the callback once more. */
static int call_back(struct venv *env, const struct call *c)
{
	struct vstate *round;
	int err;

	if (env->cur->rounds >= ROUNDS)
		forget_scalars(env);
	err = vstate_push(env, env->insn, env->prev, &round);
	if (err)
		return err;
	round->in_round = true;
	env->cur->rounds = 0;
	clobber(env);
	vreg_set_unknown(&vregs(env)[0]);
	env->insn++;
	return 0;
}

/* ---- the call --------------------------------------------------------------------------------------- */

/* The format is a constant: it must fit the number of arguments. */
static int check_format(struct venv *env)
{
	const struct vreg *fmt = &vregs(env)[3];
	u64 bytes = vregs(env)[5].v.bits.value, at;
	int err;

	if (bytes % 8)
		return -EINVAL;
	err = fmt->map->ops->value_addr(fmt->map, 0, &at);
	if (err)
		return err;
	err = bpf_format_check((const char *)(at + fmt->off + fmt->v.bits.value), (u32)(bytes / 8));
	if (err)
		vlog(env, "Invalid format string\n");
	return err;
}

static int check_special(struct venv *env, const struct call *c)
{
	const struct vreg *regs = vregs(env);

	switch (c->id) {
	case BPF_FUNC_snprintf: return check_format(env);
	case BPF_FUNC_tail_call:
		if (env->cur->nrefs) {
			vlog(env, "tail_call would lead to reference leak\n");
			return -EINVAL;
		}
		return 0;
	case BPF_FUNC_get_local_storage:
		if (!vreg_is_zero(&regs[2])) {
			vlog(env, "get_local_storage() doesn't support non-zero flags\n");
			return -EINVAL;
		}
		return 0;
	}
	return 0;
}

static int find_helper(struct venv *env, const struct bpf_insn *insn, struct call *c)
{
	const struct bpf_load *l = env->load;

	c->id = (u32)insn->imm;
	c->h = bpf_helper_get(c->id);
	if (!c->h || !c->id) {
		vlog(env, "invalid func %s#%d\n", c->h ? "unspec" : "unknown", insn->imm);
		return -EINVAL;
	}
	if (!bpf_helper_allowed(c->id, l->type, l->attach_type, l->rights.perfmon, l->rights.bpf)) {
		vlog(env, "unknown func bpf_%s#%u\n", c->h->name, c->id);
		return -EINVAL;
	}
	if (c->h->gpl_only && !l->gpl) {
		vlog(env, "cannot call GPL-restricted function from non-GPL compatible program\n");
		return -EINVAL;
	}
	return 0;
}

/* The compiler may specialise a call that always sees the same map. */
static void note_map(struct venv *env, const struct call *c)
{
	struct vinsn *aux = &env->aux[env->insn];

	if (!c->map)
		return;
	if (aux->map_conflict || (aux->map && aux->map != c->map) || c->map_uid) {
		aux->map_conflict = true;
		aux->map = NULL;
		return;
	}
	aux->map = c->map;
}

int vcall_helper(struct venv *env, const struct bpf_insn *insn)
{
	struct call c = { 0 };
	int err = find_helper(env, insn, &c);

	for (u32 n = 0; !err && n < 5 && c.h->args[n]; n++)
		err = check_arg(env, &c, n);
	if (err)
		return err;
	if (c.map && c.map->flags & BPF_F_RDONLY_PROG &&
	    (c.id == BPF_FUNC_map_update_elem || c.id == BPF_FUNC_map_delete_elem || c.id == BPF_FUNC_map_push_elem ||
	     c.id == BPF_FUNC_map_pop_elem)) {
		vlog(env, "write into map forbidden\n");
		return -EACCES;
	}
	err = check_map_type(env, &c);
	err = err ? err : check_special(env, &c);
	if (err)
		return err;
	if (c.id == BPF_FUNC_tail_call && c.map_uid) {
		vlog(env, "tail_call abusing map_ptr\n");
		return -EINVAL;
	}
	note_map(env, &c);
	if (c.id == BPF_FUNC_tail_call && env->aux[env->insn].map_conflict && !env->allow_leaks) {
		vlog(env, "tail_call abusing map_ptr\n");
		return -EINVAL;
	}
	if (c.callback) {
		if (!env->cur->in_round)
			return call_back(env, &c);
		env->cur->in_round = false;
		env->cur->rounds++;
		return enter_callback(env, &c);
	}
	err = release(env, &c);
	if (err)
		return err;
	clobber(env);
	if (c.h->changes_packet) {
		forget_all(env, is_any_packet, 0);
		env->changes_packet = true;
	}
	err = set_result(env, &c);
	env->insn++;
	return err;
}

/* It has been verified, or will be: what is known of the result is that it is a number. */
static int call_global(struct venv *env, u32 sub)
{
	int err = check_room(env);

	err = err ? err : vfunc_call(env, sub);
	if (err)
		return err;
	clobber(env);
	if (env->subs[sub].moves_packet)
		forget_all(env, is_any_packet, 0);
	vreg_set_unknown(&vregs(env)[0]);
	env->insn++;
	return 0;
}

int vcall_subprog(struct venv *env, const struct bpf_insn *insn)
{
	u32 subprog = (u32)vflow_find_sub(env, env->insn + 1 + insn->imm);
	struct vreg *caller = vregs(env);
	struct vframe *f;
	int err;

	if (env->subs[subprog].is_global)
		return call_global(env, subprog);
	err = enter_frame(env, subprog, &f);
	if (err)
		return err;
	for (u32 r = 1; r <= 5; r++)
		f->regs[r] = caller[r];
	for (u32 r = 0; r <= 5; r++)
		caller[r] = (struct vreg){ 0 };
	env->insn += insn->imm + 1;
	if (env->log_level & 3) {
		vlog(env, "caller:\n");
		vlog_state(env, env->cur->frames[env->cur->cur - 1], true);
		vlog(env, "callee:\n");
		vlog_state(env, f, true);
	}
	return 0;
}

static int check_callback_result(struct venv *env, const struct vframe *f)
{
	const struct vreg *r0 = &f->regs[0];
	char text[48];

	if (r0->kind != V_SCALAR) {
		vlog(env, "R0 not a scalar value\n");
		return -EACCES;
	}
	if (r0->v.bits.mask ? r0->v.w.umax <= f->cb_max : r0->v.bits.value <= f->cb_max)
		return 0;
	tnum_text(text, sizeof(text), r0->v.bits);
	vlog(env, "At callback return the register R0 has %s%s should have been in (0x0; 0x%llx)\n",
	     r0->v.bits.mask == ~0ULL ? "unknown scalar value" : "value ", r0->v.bits.mask == ~0ULL ? "" : text,
	     (unsigned long long)f->cb_max);
	return -EINVAL;
}

/* Exit of a frame that is not the first. */
int vcall_return(struct venv *env)
{
	struct vstate *st = env->cur;
	struct vframe *f = vcur(env), *caller = st->frames[st->cur - 1];
	int err;

	if (f->regs[0].kind == V_STACK) {
		vlog(env, "cannot return stack pointer to the caller\n");
		return -EINVAL;
	}
	if (f->callback) {
		err = check_callback_result(env, f);
		if (err)
			return err;
		env->insn = f->callsite; /* once more, or done */
	} else {
		caller->regs[0] = f->regs[0];
		env->insn = f->callsite + 1;
	}
	if (env->log_level & 3) {
		vlog(env, "returning from callee:\n");
		vlog_state(env, f, true);
		vlog(env, "to caller at %u:\n", env->insn);
		vlog_state(env, caller, true);
	}
	st->frames[st->cur--] = NULL;
	vframe_free(f);
	return 0;
}
