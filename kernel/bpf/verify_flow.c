/* SPDX-License-Identifier: MIT
 *
 * Problem: before walking paths the verifier must know that the instructions are well formed, that control stays
 * inside and ends, and, to end most paths early, which facts about registers the rest of a program cannot depend on.
 *
 * Idea: (1) find subprograms and check that jumps stay in them; (2) a depth-first walk finds unreachable code and,
 * for those who may not loop, back edges; (3) three data-flow passes to a fixed point: which registers may point to
 * a stack (forward); which are read later (live, backward); whose numeric value may decide a branch, an offset or a
 * size later (precise, backward, stack slots addressed through r10 included). A value that is not precise may differ
 * between two paths that are otherwise the same. Linux finds precision by walking each path's history back; ours
 * costs one pass a program and is a superset of it.
 *
 * Contract: verify_priv.h. Messages and errors as Linux 6.1. Summaries of subprograms are joined over all callers.
 *
 * Locks: none (one load, one thread).
 */
#include <alloc/slab.h>
#include "verify_priv.h"

int vflow_find_sub(const struct venv *env, u32 insn)
{
	for (u32 i = 0; i < env->nr_subs; i++)
		if (env->subs[i].start == insn)
			return (int)i;
	return -1;
}

static int add_sub(struct venv *env, s64 insn)
{
	u32 i;

	if (insn < 0 || insn >= env->len) {
		vlog(env, "call to invalid destination\n");
		return -EINVAL;
	}
	if (vflow_find_sub(env, (u32)insn) >= 0)
		return 0;
	if (env->nr_subs >= BPF_MAX_SUBPROGS) {
		vlog(env, "too many subprograms\n");
		return -E2BIG;
	}
	for (i = env->nr_subs++; i && env->subs[i - 1].start > insn; i--)
		env->subs[i] = env->subs[i - 1];
	env->subs[i] = (struct vsub){ .start = (u32)insn };
	return 0;
}

static int find_subs(struct venv *env)
{
	int err = add_sub(env, 0);

	for (u32 i = 0; !err && i < env->len; i++) {
		const struct bpf_insn *insn = &env->insns[i];
		bool kfunc = insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_KFUNC_CALL;

		if (!is_subprog_call(insn) && !is_func_pointer(insn) && !kfunc)
			continue;
		if (!env->bpf_capable) {
			vlog(env, "loading/calling other bpf or kernel functions are allowed for CAP_BPF and "
				  "CAP_SYS_ADMIN\n");
			return -EPERM;
		}
		if (kfunc) {
			vlog(env, "calling kernel function is not supported without CONFIG_DEBUG_INFO_BTF\n");
			return -ENOTSUPP;
		}
		err = add_sub(env, (s64)i + insn->imm + 1);
		if (is_func_pointer(insn) && i + 1 < env->len)
			i++;
	}
	env->subs[env->nr_subs].start = env->len;
	return err;
}

static bool is_jump(const struct bpf_insn *insn)
{
	u8 class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);

	return (class == BPF_JMP || class == BPF_JMP32) && op != BPF_CALL && op != BPF_EXIT;
}

static int check_sub_bounds(struct venv *env)
{
	u32 sub = 0;

	for (u32 i = 0; i < env->len; i++) {
		const struct bpf_insn *insn = &env->insns[i];
		u32 start = env->subs[sub].start, end = env->subs[sub + 1].start;

		if (insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == 0 && insn->imm == BPF_FUNC_tail_call)
			env->subs[sub].has_tail_call = env->has_tail_call = true;
		if (BPF_CLASS(insn->code) == BPF_LD &&
		    (BPF_MODE(insn->code) == BPF_ABS || BPF_MODE(insn->code) == BPF_IND))
			env->subs[sub].has_ld_abs = true;
		if (is_jump(insn)) {
			s64 to = (s64)i + insn->off + 1;

			if (to < start || to >= end) {
				vlog(env, "jump out of range from insn %u to %d\n", i, (int)to);
				return -EINVAL;
			}
		}
		if (i + 1 == end) {
			if (insn->code != (BPF_JMP | BPF_EXIT) && insn->code != (BPF_JMP | BPF_JA)) {
				vlog(env, "last insn is not an exit or jmp\n");
				return -EINVAL;
			}
			sub++;
		}
	}
	return 0;
}

int vflow_next(const struct venv *env, u32 i, u32 next[2])
{
	const struct bpf_insn *insn = &env->insns[i];

	if (insn->code == (BPF_JMP | BPF_EXIT))
		return 0;
	if (is_jump(insn)) {
		next[0] = i + 1 + insn->off;
		if (BPF_OP(insn->code) == BPF_JA)
			return 1;
		next[1] = i + 1;
		return 2;
	}
	next[0] = i + (is_ld_imm64(insn) ? 2 : 1);
	return 1;
}

struct walk {
	u8 *color; /* 0 new, 1 on the path, 2 done */
	u32 *stack, *edge;
	u32 depth;
};

static void enter(struct walk *w, u32 i)
{
	w->color[i] = 1;
	w->stack[w->depth] = i;
	w->edge[w->depth++] = 0;
}

/* Edges in the order fall through, jump; a call has its callee as second edge. */
static int edge_of(struct venv *env, u32 i, u32 n, s64 *to, bool *may_loop)
{
	const struct bpf_insn *insn = &env->insns[i];
	u32 next[2];
	int count = vflow_next(env, i, next);

	*may_loop = env->bpf_capable && is_jump(insn); /* no falling into a loop */
	if (n < (u32)count) {
		*to = count == 2 ? next[1 - n] : next[0];
		return 1;
	}
	if (n == (u32)count && (is_subprog_call(insn) || is_func_pointer(insn))) {
		*to = (s64)i + insn->imm + 1;
		*may_loop = false; /* recursion */
		env->aux[*to].join = true;
		return 1;
	}
	return 0;
}

static int take_edge(struct venv *env, struct walk *w, u32 from, s64 to, bool may_loop)
{
	const struct bpf_insn *insn = &env->insns[from];

	if (to < 0 || to >= env->len) {
		vlog_line(env, from);
		vlog(env, "jump out of range from insn %u to %d\n", from, (int)to);
		return -EINVAL;
	}
	if (is_jump(insn)) {
		if (BPF_OP(insn->code) != BPF_JA)
			env->aux[from].join = true;
		if (to != from + 1 || BPF_OP(insn->code) == BPF_JA)
			env->aux[to].join = true;
	} else if (insn->code == (BPF_JMP | BPF_CALL)) {
		env->aux[to].join = true;
		env->aux[from].calls_back =
			is_helper_call(insn) && (insn->imm == BPF_FUNC_loop || insn->imm == BPF_FUNC_for_each_map_elem);
		env->aux[from].join |= env->aux[from].calls_back;
	}
	if (w->color[to] == 0) {
		enter(w, (u32)to);
	} else if (w->color[to] == 1 && !may_loop) {
		vlog_line(env, from);
		vlog_line(env, (u32)to);
		vlog(env, "back-edge from insn %u to %u\n", from, (u32)to);
		return -EINVAL;
	}
	return 0;
}

static int walk_from(struct venv *env, struct walk *w, u32 start)
{
	if (w->color[start])
		return 0;
	enter(w, start);
	while (w->depth) {
		u32 i = w->stack[w->depth - 1], n = w->edge[w->depth - 1]++;
		bool may_loop;
		s64 to;
		int err;

		if (!edge_of(env, i, n, &to, &may_loop)) {
			w->color[i] = 2;
			w->depth--;
			continue;
		}
		err = take_edge(env, w, i, to, may_loop);
		if (err)
			return err;
	}
	return 0;
}

static int check_reach(struct venv *env, const u8 *color)
{
	for (u32 i = 0; i < env->len; i++) {
		if (color[i] != 2) {
			vlog(env, "unreachable insn %u\n", i);
			return -EINVAL;
		}
		if (!is_ld_imm64(&env->insns[i]))
			continue;
		if (color[i + 1]) {
			vlog(env, "jump into the middle of ldimm64 insn %u\n", i);
			return -EINVAL;
		}
		i++;
	}
	return 0;
}

static int check_flow(struct venv *env)
{
	struct walk w = { .color = big_alloc(env->len, 1),
			  .stack = big_alloc(env->len, 4),
			  .edge = big_alloc(env->len, 4) };
	int err = -ENOMEM;

	if (w.color && w.stack && w.edge) {
		err = walk_from(env, &w, 0);
		if (!err)
			err = check_reach(env, w.color);
	}
	big_free(w.color);
	big_free(w.stack);
	big_free(w.edge);
	return err;
}

/* ---- maps and 64-bit immediates ------------------------------------------------------------------ */

static int map_fits_program(struct venv *env, const struct bpf_map *map)
{
	u32 type = env->load->type;
	bool tracing = type == BPF_PROG_TYPE_KPROBE || type == BPF_PROG_TYPE_TRACEPOINT ||
		       type == BPF_PROG_TYPE_PERF_EVENT || type == BPF_PROG_TYPE_RAW_TRACEPOINT ||
		       type == BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE;
	const char *what = map->spin_lock_off >= 0 ? "bpf_spin_lock" : map->timer_off >= 0 ? "bpf_timer" : NULL;

	if (!what)
		return 0;
	if (map->spin_lock_off >= 0 && type == BPF_PROG_TYPE_SOCKET_FILTER) {
		vlog(env, "socket filter progs cannot use bpf_spin_lock yet\n");
		return -EINVAL;
	}
	if (tracing) {
		vlog(env, "tracing progs cannot use %s yet\n", what);
		return -EINVAL;
	}
	return 0;
}

static bool is_storage(const struct bpf_map *map)
{
	return map->type == BPF_MAP_TYPE_CGROUP_STORAGE || map->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static int use_map(struct venv *env, struct bpf_map *map)
{
	for (u32 i = 0; i < env->nr_maps; i++)
		if (env->maps[i] == map) {
			return 0;
		} else if (env->maps[i]->type == map->type && is_storage(map)) {
			vlog(env, "only one cgroup storage of each type is allowed\n");
			return -EBUSY;
		}
	if (env->nr_maps >= BPF_MAX_MAPS)
		return -E2BIG;
	env->maps[env->nr_maps++] = map;
	return 0;
}

static int resolve_value(struct venv *env, struct bpf_map *map, u32 off)
{
	u64 addr;

	if (off >= MAX_OFFSET) {
		vlog(env, "direct value offset of %u is not allowed\n", off);
		return -EINVAL;
	}
	if (!map->ops->value_addr) {
		vlog(env, "no direct value access support for this map type\n");
		return -EINVAL;
	}
	if (map->ops->value_addr(map, off, &addr)) {
		vlog(env, "invalid access to map value pointer, value_size=%u off=%u\n", map->value_size, off);
		return -EINVAL;
	}
	return 0;
}

static int resolve_imm64(struct venv *env, u32 i)
{
	const struct bpf_insn *insn = &env->insns[i], *second = insn + 1;
	u8 src = insn->src_reg;
	bool value = src == BPF_PSEUDO_MAP_VALUE || src == BPF_PSEUDO_MAP_IDX_VALUE;
	struct bpf_map *map = NULL;
	int err;

	if (i + 1 >= env->len || second->code || second->dst_reg || second->src_reg || second->off) {
		vlog(env, "invalid bpf_ld_imm64 insn\n");
		return -EINVAL;
	}
	env->aux[i + 1].second_slot = true;
	if (src == 0 || src == BPF_PSEUDO_FUNC)
		return 0;
	if (src == BPF_PSEUDO_BTF_ID) {
		vlog(env, "kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.\n");
		return -EINVAL;
	}
	if (src > BPF_PSEUDO_MAP_IDX_VALUE || (!value && second->imm)) {
		vlog(env, "unrecognized bpf_ld_imm64 insn\n");
		return -EINVAL;
	}
	if (env->load->find_map)
		map = env->load->find_map(env->load->arg, insn->imm, src >= BPF_PSEUDO_MAP_IDX);
	if (!map) {
		vlog(env, "fd %d is not pointing to valid bpf_map\n", insn->imm);
		return -EBADF;
	}
	err = map_fits_program(env, map);
	if (!err && value)
		err = resolve_value(env, map, (u32)second->imm);
	env->aux[i].map = map;
	env->aux[i].map_off = value ? (u32)second->imm : 0;
	return err ? err : use_map(env, map);
}

static bool opcode_exists(u8 code)
{
	u8 class = BPF_CLASS(code), op = BPF_OP(code) >> 4, mode = BPF_MODE(code), size = BPF_SIZE(code);
	bool x = BPF_SRC(code) == BPF_X;

	switch (class) {
	case BPF_ALU: return op <= 0xd && !(op == 8 && x);
	case BPF_ALU64: return op <= 0xc && !(op == 8 && x);
	case BPF_JMP: return op <= 0xd && !((op == 0 || op == 8 || op == 9) && x);
	case BPF_JMP32: return op >= 1 && op <= 0xd && op != 8 && op != 9;
	case BPF_LD:
		return code == (BPF_LD | BPF_IMM | BPF_DW) || ((mode == BPF_ABS || mode == BPF_IND) && size != BPF_DW);
	case BPF_LDX:
	case BPF_ST: return mode == BPF_MEM;
	case BPF_STX: return mode == BPF_MEM || (mode == BPF_ATOMIC && (size == BPF_W || size == BPF_DW));
	}
	return false;
}

static int resolve(struct venv *env)
{
	for (u32 i = 0; i < env->len; i++) {
		const struct bpf_insn *insn = &env->insns[i];
		int err;

		if (BPF_CLASS(insn->code) == BPF_LDX && (BPF_MODE(insn->code) != BPF_MEM || insn->imm)) {
			vlog(env, "BPF_LDX uses reserved fields\n");
			return -EINVAL;
		}
		if (is_ld_imm64(insn)) {
			err = resolve_imm64(env, i);
			if (err)
				return err;
			i++;
		} else if (!opcode_exists(insn->code)) {
			vlog(env, "unknown opcode %02x\n", insn->code);
			return -EINVAL;
		}
	}
	return 0;
}

int vflow_check(struct venv *env)
{
	int err = find_subs(env);

	err = err ? err : check_sub_bounds(env);
	err = err ? err : resolve(env);
	return err ? err : check_flow(env);
}

/* ---- data flow ----------------------------------------------------------------------------------- */

static u32 sub_of(const struct venv *env, u32 insn)
{
	u32 lo = 0, hi = env->nr_subs;

	while (hi - lo > 1) {
		u32 mid = (lo + hi) / 2;

		if (env->subs[mid].start <= insn)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* Registers that may hold a pointer to a stack, after an instruction. */
static u16 stack_ptrs_after(struct venv *env, const struct bpf_insn *insn, u16 in)
{
	u16 dst = 1 << insn->dst_reg, from_src = in >> insn->src_reg & 1 ? dst : 0;
	u8 class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);

	switch (class) {
	case BPF_ALU64:
		if (op == BPF_MOV)
			return (in & ~dst) | (BPF_SRC(insn->code) == BPF_X ? from_src : 0);
		return BPF_SRC(insn->code) == BPF_X ? in | from_src : in;
	case BPF_ALU: return in & ~dst;
	case BPF_LD:
		if (is_ld_imm64(insn))
			return in & ~dst;
		return in & ~0x3f;
	case BPF_LDX: return (in & ~dst) | (env->stack_escapes ? dst : 0);
	case BPF_STX:
		if (from_src)
			env->stack_escapes = true;
		return in;
	case BPF_JMP:
		if (op == BPF_CALL)
			return in & ~0x3f;
	}
	return in;
}

static bool widen16(u16 *set, u16 more)
{
	if (!(more & ~*set))
		return false;
	*set |= more;
	return true;
}

static void find_stack_pointers(struct venv *env)
{
	bool again = true;

	for (u32 s = 0; s < env->nr_subs; s++)
		env->subs[s].entry_stack_ptrs = (1 << FP) | (env->subs[s].is_callback ? 0x3e : 0);
	while (again) {
		bool escaped = env->stack_escapes;

		again = false;
		for (u32 s = 0; s < env->nr_subs; s++)
			again |= widen16(&env->aux[env->subs[s].start].stack_ptrs, env->subs[s].entry_stack_ptrs);
		for (u32 i = 0; i < env->len; i++) {
			const struct bpf_insn *insn = &env->insns[i];
			u16 in = env->aux[i].stack_ptrs, out = stack_ptrs_after(env, insn, in);
			u32 next[2];
			int n = vflow_next(env, i, next);

			while (n--)
				again |= widen16(&env->aux[next[n]].stack_ptrs, out);
			if (is_subprog_call(insn)) {
				struct vsub *callee = &env->subs[vflow_find_sub(env, i + 1 + insn->imm)];

				again |= widen16(&callee->entry_stack_ptrs, in & 0x3e);
			}
			i += is_ld_imm64(insn);
		}
		again |= escaped != env->stack_escapes;
	}
}

struct needs {
	u16 live, precise;
	u64 slots;
};

static u64 slots_of_access(const struct bpf_insn *insn)
{
	s32 off = insn->off, bytes = (s32)insn_bytes(insn->code);
	u64 set = 0;

	for (s32 b = off; b < off + bytes; b++)
		if (b < 0 && b >= -BPF_STACK_BYTES)
			set |= 1ULL << ((-b - 1) / 8);
	return set;
}

static void need_alu(struct needs *n, const struct bpf_insn *insn)
{
	u16 dst = 1 << insn->dst_reg, src = BPF_SRC(insn->code) == BPF_X ? 1 << insn->src_reg : 0;
	bool precise = n->precise & dst;

	if (BPF_OP(insn->code) == BPF_END || BPF_OP(insn->code) == BPF_NEG)
		src = 0;
	if (BPF_OP(insn->code) == BPF_MOV) {
		n->live &= ~dst;
		n->precise &= ~dst;
	}
	/* A dead result is computed all the same, and the computation may be refused. */
	n->live |= src | (BPF_OP(insn->code) == BPF_MOV ? 0 : dst);
	if (precise)
		n->precise |= src;
}

/* A precise value comes from memory: if that may be a stack, the slots are precise. */
static void need_slots(struct venv *env, struct needs *n, const struct bpf_insn *insn, u32 base, u32 i, u32 sub)
{
	if (base == FP) {
		n->slots |= slots_of_access(insn);
	} else if (env->aux[i].stack_ptrs >> base & 1) {
		n->slots = ~0ULL;
		if (sub)
			env->all_slots_precise = true; /* it may be a caller's stack */
	}
}

static void need_load(struct venv *env, struct needs *n, const struct bpf_insn *insn, u32 i, u32 sub)
{
	u16 dst = 1 << insn->dst_reg, base = 1 << insn->src_reg;
	bool precise = n->precise & dst;

	n->live = (n->live & ~dst) | base;
	n->precise = (n->precise & ~dst) | base;
	if (precise)
		need_slots(env, n, insn, insn->src_reg, i, sub);
}

static void need_store(struct venv *env, struct needs *n, const struct bpf_insn *insn, u32 i, u32 sub)
{
	u16 base = 1 << insn->dst_reg, src = BPF_CLASS(insn->code) == BPF_STX ? 1 << insn->src_reg : 0;
	u64 slots = insn->dst_reg == FP ? slots_of_access(insn) : 0;

	if (slots ? n->slots & slots : env->aux[i].stack_ptrs & base && (n->slots || sub))
		n->precise |= src;
	if (slots && insn_bytes(insn->code) == 8 && BPF_MODE(insn->code) == BPF_MEM && insn->off % 8 == 0)
		n->slots &= ~slots;
	n->live |= base | src;
	n->precise |= base;
}

static void need_atomic(struct venv *env, struct needs *n, const struct bpf_insn *insn, u32 i, u32 sub)
{
	bool cmpxchg = insn->imm == BPF_CMPXCHG;
	u16 loads = insn->imm & BPF_FETCH ? 1 << (cmpxchg ? 0 : insn->src_reg) : 0;

	bool precise = n->precise & loads;

	n->live &= ~loads;
	n->precise &= ~loads;
	need_store(env, n, insn, i, sub);
	n->live |= cmpxchg;
	if (precise) /* what comes back may be a spilled number */
		need_slots(env, n, insn, insn->dst_reg, i, sub);
}

static void need_call(struct venv *env, struct needs *n, const struct bpf_insn *insn, u32 i)
{
	const struct bpf_helper *h;

	if (is_subprog_call(insn)) {
		struct vsub *callee = &env->subs[vflow_find_sub(env, i + 1 + insn->imm)];

		callee->ret_precise |= n->precise & 1;
		n->live = (n->live & ~0x3f) | (callee->entry_live & 0x3e);
		n->precise = (n->precise & ~0x3f) | (callee->entry_precise & 0x3e);
		return;
	}
	h = bpf_helper_get(insn->imm);
	n->live &= ~0x3f;
	n->precise &= ~0x3f;
	for (int a = 0; h && a < 5 && h->args[a]; a++) {
		n->live |= 2 << a;
		if (h->args[a] != ARG_ANY || insn->imm == BPF_FUNC_get_local_storage)
			n->precise |= 2 << a;
	}
}

static void need_jump(struct venv *env, struct needs *n, const struct bpf_insn *insn, u32 i, u32 sub)
{
	u16 used = 1 << insn->dst_reg | (BPF_SRC(insn->code) == BPF_X ? 1 << insn->src_reg : 0);

	switch (BPF_OP(insn->code)) {
	case BPF_JA: return;
	case BPF_CALL: need_call(env, n, insn, i); return;
	case BPF_EXIT:
		n->live = 1; /* the caller's own registers are in its frame */
		n->precise = !sub || env->subs[sub].ret_precise || env->subs[sub].is_callback;
		return;
	}
	n->live |= used;
	n->precise |= used;
}

/* What is needed before instruction i, from what is needed after it. */
static void need_before(struct venv *env, struct needs *n, u32 i, u32 sub)
{
	const struct bpf_insn *insn = &env->insns[i];

	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64: need_alu(n, insn); break;
	case BPF_JMP:
	case BPF_JMP32: need_jump(env, n, insn, i, sub); break;
	case BPF_LDX: need_load(env, n, insn, i, sub); break;
	case BPF_ST: need_store(env, n, insn, i, sub); break;
	case BPF_STX:
		if (BPF_MODE(insn->code) == BPF_ATOMIC)
			need_atomic(env, n, insn, i, sub);
		else
			need_store(env, n, insn, i, sub);
		break;
	case BPF_LD:
		if (is_ld_imm64(insn)) {
			n->live &= ~(1 << insn->dst_reg);
			n->precise &= ~(1 << insn->dst_reg);
		} else {
			u16 index = BPF_MODE(insn->code) == BPF_IND ? 1 << insn->src_reg : 0;

			n->live = (n->live & ~0x3f) | 1 << 6 | index;
			n->precise = (n->precise & ~0x3f) | 1 << 6;
		}
	}
}

static bool flow_back(struct venv *env, u32 i, u32 sub)
{
	struct vinsn *aux = &env->aux[i];
	struct needs n = { 0 };
	bool changed;
	u32 next[2];
	int count = vflow_next(env, i, next);

	while (count--) {
		n.live |= env->aux[next[count]].live;
		n.precise |= env->aux[next[count]].precise;
		n.slots |= env->aux[next[count]].precise_slots;
	}
	need_before(env, &n, i, sub);
	changed = widen16(&aux->live, n.live);
	changed |= widen16(&aux->precise, n.precise);
	if (n.slots & ~aux->precise_slots) {
		aux->precise_slots |= n.slots;
		changed = true;
	}
	return changed;
}

int vflow_analyse(struct venv *env)
{
	bool again = true;

	for (u32 i = 0; i < env->len; i++)
		if (is_func_pointer(&env->insns[i]))
			env->subs[vflow_find_sub(env, i + 1 + env->insns[i].imm)].is_callback = true;
	find_stack_pointers(env);
	while (again) {
		bool all = env->all_slots_precise;

		again = false;
		for (u32 i = env->len; i--;) {
			u32 sub;

			if (env->aux[i].second_slot)
				continue;
			sub = sub_of(env, i);
			again |= flow_back(env, i, sub);
			if (i != env->subs[sub].start)
				continue;
			again |= widen16(&env->subs[sub].entry_live, env->aux[i].live);
			again |= widen16(&env->subs[sub].entry_precise, env->aux[i].precise);
		}
		again |= all != env->all_slots_precise;
	}
	return 0;
}

/* ---- stack depth over chains of calls -------------------------------------------------------------- */

static int walk_depth(struct venv *env, u32 sub, u32 frame, u32 bytes)
{
	struct vsub *s = &env->subs[sub];
	int err = 0;

	if (s->walked && bytes <= s->walked_bytes && frame <= s->walked_frame)
		return 0; /* nothing that a walk from here did not see already */
	s->walked = true;
	s->walked_bytes = bytes;
	s->walked_frame = frame;
	if (sub && s->has_tail_call && bytes >= 256) {
		vlog(env, "tail_calls are not allowed when call stack of previous frames is %u bytes. Too large\n",
		     bytes);
		return -EACCES;
	}
	bytes += ALIGN_UP(max((u32)s->stack, 1U), 32U);
	if (bytes > BPF_STACK_BYTES) {
		vlog(env, "combined stack size of %u calls is %u. Too large\n", frame + 1, bytes);
		return -EACCES;
	}
	for (u32 i = s->start; !err && i < env->subs[sub + 1].start; i++) {
		const struct bpf_insn *insn = &env->insns[i];

		if (!is_subprog_call(insn) && !is_func_pointer(insn))
			continue;
		if (frame + 1 >= BPF_MAX_FRAMES) {
			vlog(env, "the call stack of %u frames is too deep !\n", frame + 1);
			return -E2BIG;
		}
		err = walk_depth(env, (u32)vflow_find_sub(env, i + 1 + insn->imm), frame + 1, bytes);
	}
	return err;
}

int vflow_stack_depth(struct venv *env)
{
	return walk_depth(env, 0, 0, 0);
}
