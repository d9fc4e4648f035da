/* SPDX-License-Identifier: MIT
 *
 * Problem: decide, before it ever runs, that a program from user space ends, touches only what it may, leaks
 * nothing, and gives back what it took.
 *
 * Idea: symbolic execution of every path, one instruction at a time, on states that stand for many (verify_state.c
 * prunes). This file is the loop and the small instructions; the rest is by subject:
 *
 *      verify_flow.c   shape, control flow, static facts        verify_alu.c   arithmetic (scalar.c)
 *      verify_state.c  paths, checkpoints, pruning              verify_jmp.c   branches
 *      verify_mem.c    memory (verify_stack.c: the stack)       verify_call.c  helpers, subprograms, callbacks
 *      verify_func.c   functions that are verified once         verify_log.c   the log
 *      prog_types.c    what a program type may see
 *
 * Contract: bpf_verify() returns 0 or -errno; verdicts, messages and limits are Linux 6.1's. After success aux[] says
 * which instructions are reached and how accesses are to be rewritten (fixup.c).
 *
 * Locks: none (one load, one thread).
 */
#include <alloc/slab.h>
#include "verify_priv.h"

int vreg_use(struct venv *env, u32 regno)
{
	if (regno >= NR_REGS) {
		vlog(env, "R%u is invalid\n", regno);
		return -EINVAL;
	}
	env->scratched_regs |= 1U << regno;
	if (vregs(env)[regno].kind == V_NONE) {
		vlog(env, "R%u !read_ok\n", regno);
		return -EACCES;
	}
	return 0;
}

int vreg_def(struct venv *env, u32 regno, bool forget)
{
	if (regno >= NR_REGS) {
		vlog(env, "R%u is invalid\n", regno);
		return -EINVAL;
	}
	if (regno == FP) {
		vlog(env, "frame pointer is read only\n");
		return -EACCES;
	}
	env->scratched_regs |= 1U << regno;
	env->cur->regs_wrote |= 1U << regno;
	if (forget)
		vreg_set_unknown(&vregs(env)[regno]);
	return 0;
}

/* Accesses through these pointers are rewritten by kind, so an instruction may not see different ones. */
static bool is_rewritten(u8 kind)
{
	return kind == V_CTX || vkind_is_sock(kind) || kind == V_BTF_ID;
}

static int one_kind(struct venv *env, u8 kind)
{
	u8 *before = &env->aux[env->insn].kind;

	if (*before == V_NONE)
		*before = kind;
	if (*before != kind && (is_rewritten(*before) || is_rewritten(kind))) {
		vlog(env, "same insn cannot be used with different pointers\n");
		return -EINVAL;
	}
	return 0;
}

static int check_load(struct venv *env, const struct bpf_insn *insn)
{
	u8 kind;
	int err = vreg_use(env, insn->src_reg);

	err = err ? err : vreg_def(env, insn->dst_reg, false);
	if (err)
		return err;
	kind = vregs(env)[insn->src_reg].kind;
	err = vmem_access(env, insn->src_reg, insn->off, insn_bytes(insn->code), A_READ, insn->dst_reg);
	return err ? err : one_kind(env, kind);
}

static int check_store(struct venv *env, const struct bpf_insn *insn)
{
	u8 kind;
	int err;

	if (insn->imm) {
		vlog(env, "BPF_STX uses reserved fields\n");
		return -EINVAL;
	}
	err = vreg_use(env, insn->src_reg);
	err = err ? err : vreg_use(env, insn->dst_reg);
	if (err)
		return err;
	kind = vregs(env)[insn->dst_reg].kind;
	err = vmem_access(env, insn->dst_reg, insn->off, insn_bytes(insn->code), A_WRITE, insn->src_reg);
	return err ? err : one_kind(env, kind);
}

static int check_store_imm(struct venv *env, const struct bpf_insn *insn)
{
	char type[40];
	int err;

	if (insn->src_reg) {
		vlog(env, "BPF_ST uses reserved fields\n");
		return -EINVAL;
	}
	err = vreg_use(env, insn->dst_reg);
	if (err)
		return err;
	if (vregs(env)[insn->dst_reg].kind == V_CTX) {
		vlog(env, "BPF_ST stores into R%u %s is not allowed\n", insn->dst_reg,
		     vreg_type_text(&vregs(env)[insn->dst_reg], type));
		return -EACCES;
	}
	return vmem_access(env, insn->dst_reg, insn->off, insn_bytes(insn->code), A_WRITE, -1);
}

static bool atomic_exists(s32 imm)
{
	switch (imm) {
	case BPF_ADD:
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
	case BPF_ADD | BPF_FETCH:
	case BPF_AND | BPF_FETCH:
	case BPF_OR | BPF_FETCH:
	case BPF_XOR | BPF_FETCH:
	case BPF_XCHG:
	case BPF_CMPXCHG: return true;
	}
	return false;
}

static int atomic_operands(struct venv *env, const struct bpf_insn *insn)
{
	const struct vreg *regs = vregs(env);
	const struct vreg *dst = &regs[insn->dst_reg];
	char type[40];
	int err;

	if (!atomic_exists(insn->imm)) {
		vlog(env, "BPF_ATOMIC uses invalid atomic opcode %02x\n", insn->imm);
		return -EINVAL;
	}
	err = vreg_use(env, insn->src_reg);
	err = err ? err : vreg_use(env, insn->dst_reg);
	if (!err && insn->imm == BPF_CMPXCHG) {
		err = vreg_use(env, 0);
		if (!err && vreg_is_secret(env, &regs[0])) {
			vlog(env, "R0 leaks addr into mem\n");
			return -EACCES;
		}
	}
	if (err)
		return err;
	if (vreg_is_secret(env, &regs[insn->src_reg])) {
		vlog(env, "R%u leaks addr into mem\n", insn->src_reg);
		return -EACCES;
	}
	if (dst->kind == V_CTX || vreg_is_packet(dst) || dst->kind == V_FLOW_KEYS || vkind_is_sock(dst->kind)) {
		vlog(env, "BPF_ATOMIC stores into R%u %s is not allowed\n", insn->dst_reg, vreg_type_text(dst, type));
		return -EACCES;
	}
	return 0;
}

static int check_atomic(struct venv *env, const struct bpf_insn *insn)
{
	u32 bytes = insn_bytes(insn->code);
	int load = -1, err = atomic_operands(env, insn);
	bool strict = env->strict;

	if (err)
		return err;
	if (insn->imm & BPF_FETCH) {
		load = insn->imm == BPF_CMPXCHG ? 0 : insn->src_reg;
		err = vreg_def(env, (u32)load, false);
		if (err)
			return err;
	}
	/* The load must see memory as it was; a plain read of a spilled register may not be taken as a number. */
	env->strict = true; /* atomics are aligned everywhere */
	err = vmem_access(env, insn->dst_reg, insn->off, bytes, A_READ, -1);
	if (!err && load >= 0)
		err = vmem_access(env, insn->dst_reg, insn->off, bytes, A_READ, load);
	err = err ? err : vmem_access(env, insn->dst_reg, insn->off, bytes, A_WRITE, -1);
	env->strict = strict;
	return err;
}

static int check_ld_imm64(struct venv *env, const struct bpf_insn *insn)
{
	const struct vinsn *aux = &env->aux[env->insn];
	struct vreg *dst;
	int err;

	if (insn->off) {
		vlog(env, "BPF_LD_IMM64 uses reserved fields\n");
		return -EINVAL;
	}
	err = vreg_def(env, insn->dst_reg, false);
	if (err)
		return err;
	dst = &vregs(env)[insn->dst_reg];
	switch (insn->src_reg) {
	case 0: vreg_set_const(dst, (u64)(u32)insn[1].imm << 32 | (u32)insn->imm); return 0;
	case BPF_PSEUDO_FUNC:
		if (vflow_find_sub(env, env->insn + 1 + insn->imm) == 0) {
			vlog(env, "callback function cannot be the main program\n");
			return -EINVAL;
		}
		vreg_set_pointer(dst, V_FUNC);
		dst->subprog = (u32)vflow_find_sub(env, env->insn + 1 + insn->imm);
		return 0;
	case BPF_PSEUDO_MAP_FD:
	case BPF_PSEUDO_MAP_IDX:
		vreg_set_pointer(dst, V_MAP_PTR);
		dst->map = aux->map;
		return 0;
	}
	vreg_set_pointer(dst, V_MAP_VALUE);
	dst->map = aux->map;
	dst->off = (s32)aux->map_off;
	if (aux->map->spin_lock_off >= 0)
		dst->id = ++env->ids;
	return 0;
}

static int check_ld_packet(struct venv *env, const struct bpf_insn *insn)
{
	bool indirect = BPF_MODE(insn->code) == BPF_IND;
	int err;

	if (!env->rules->ld_abs) {
		vlog(env, "BPF_LD_[ABS|IND] instructions not allowed for this program type\n");
		return -EINVAL;
	}
	if (insn->dst_reg || insn->off || (!indirect && insn->src_reg)) {
		vlog(env, "BPF_LD_[ABS|IND] uses reserved fields\n");
		return -EINVAL;
	}
	err = vreg_use(env, 6);
	if (err)
		return err;
	if (env->cur->nrefs) {
		for (u32 i = 0; i < env->cur->nrefs; i++)
			vlog(env, "Unreleased reference id=%u alloc_insn=%u\n", env->cur->refs[i].id,
			     env->cur->refs[i].insn);
		vlog(env, "BPF_LD_[ABS|IND] cannot be mixed with socket references\n");
		return -EINVAL;
	}
	if (env->cur->lock_id) {
		vlog(env, "BPF_LD_[ABS|IND] cannot be used inside bpf_spin_lock-ed region\n");
		return -EINVAL;
	}
	if (vregs(env)[6].kind != V_CTX) {
		vlog(env, "at the time of BPF_LD_ABS|IND R6 != pointer to skb\n");
		return -EINVAL;
	}
	if (indirect) {
		err = vreg_use(env, insn->src_reg);
		if (err)
			return err;
	}
	err = vmem_fixed_offset(env, 6, false);
	if (err)
		return err;
	for (u32 r = 1; r <= 5; r++)
		vregs(env)[r] = (struct vreg){ 0 };
	env->scratched_regs |= 1;
	vreg_set_unknown(&vregs(env)[0]);
	scalar_zero_extend(&vregs(env)[0].v);
	return 0;
}

static int check_call(struct venv *env, const struct bpf_insn *insn)
{
	if (insn->off || insn->src_reg > BPF_PSEUDO_CALL || insn->dst_reg) {
		vlog(env, "BPF_CALL uses reserved fields\n");
		return -EINVAL;
	}
	if (env->cur->lock_id && (insn->src_reg || insn->imm != BPF_FUNC_spin_unlock)) {
		vlog(env, "function calls are not allowed while holding a lock\n");
		return -EINVAL;
	}
	return insn->src_reg ? vcall_subprog(env, insn) : vcall_helper(env, insn);
}

static int check_result(struct venv *env)
{
	const struct vreg *r0 = &vregs(env)[0];
	char text[48];
	s64 lo, hi;
	int err = vreg_use(env, 0);

	if (err)
		return err;
	if (vreg_is_secret(env, r0)) {
		vlog(env, "R0 leaks addr as return value\n");
		return -EACCES;
	}
	if (vcur(env)->subprog)
		return vfunc_result(env);
	bpf_return_range(env, &lo, &hi);
	if (lo > hi)
		return 0;
	if (r0->kind != V_SCALAR) {
		vlog(env, "At program exit the register R0 is not a known value (%s)\n", vreg_type_text(r0, text));
		return -EINVAL;
	}
	if (tnum_subset(tnum_range((u64)lo, (u64)hi), r0->v.bits)) {
		env->hook_only |= hi == 3 && env->load->type == BPF_PROG_TYPE_CGROUP_SKB &&
				  tnum_subset(tnum_range(2, 3), r0->v.bits);
		return 0;
	}
	vlog(env, "At program exit the register R0 ");
	if (r0->v.bits.mask == ~0ULL) {
		vlog(env, "has unknown scalar value");
	} else {
		tnum_text(text, sizeof(text), r0->v.bits);
		vlog(env, "has value %s", text);
	}
	tnum_text(text, sizeof(text), tnum_range((u64)lo, (u64)hi));
	vlog(env, " should have been in %s\n", text);
	return -EINVAL;
}

/* 1: the program is over on this path. */
static int check_exit(struct venv *env, const struct bpf_insn *insn)
{
	int err;

	if (insn->imm || insn->src_reg || insn->dst_reg) {
		vlog(env, "BPF_EXIT uses reserved fields\n");
		return -EINVAL;
	}
	if (env->cur->lock_id) {
		vlog(env, "bpf_spin_unlock is missing\n");
		return -EINVAL;
	}
	err = vcall_check_refs(env);
	if (err)
		return err;
	if (env->cur->cur)
		return vcall_return(env);
	err = check_result(env);
	return err ? err : 1;
}

static int check_jump(struct venv *env, const struct bpf_insn *insn)
{
	env->jumps++;
	switch (BPF_OP(insn->code)) {
	case BPF_CALL: return check_call(env, insn);
	case BPF_EXIT: return check_exit(env, insn);
	case BPF_JA:
		if (insn->imm || insn->src_reg || insn->dst_reg) {
			vlog(env, "BPF_JA uses reserved fields\n");
			return -EINVAL;
		}
		env->insn += insn->off + 1;
		return 0;
	}
	return vjmp_check(env, insn);
}

/* Checks one instruction and moves on. 1: this path ended. */
static int step(struct venv *env)
{
	const struct bpf_insn *insn = &env->insns[env->insn];
	u32 width = 1;
	int err;

	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64: err = valu_check(env, insn); break;
	case BPF_LDX: err = check_load(env, insn); break;
	case BPF_STX:
		err = BPF_MODE(insn->code) == BPF_ATOMIC ? check_atomic(env, insn) : check_store(env, insn);
		break;
	case BPF_ST: err = check_store_imm(env, insn); break;
	case BPF_LD:
		width = is_ld_imm64(insn) ? 2 : 1;
		err = width == 2 ? check_ld_imm64(env, insn) : check_ld_packet(env, insn);
		break;
	default: return check_jump(env, insn);
	}
	env->insn += width;
	return err;
}

static const char *how(const struct venv *env)
{
	return env->cur->speculative ? " (speculative execution)" : "";
}

static int walk(struct venv *env)
{
	u32 budget = env->load->budget ? env->load->budget : BPF_MAX_INSNS;
	bool resumed = false;

	for (;;) {
		int r;

		if (env->insn >= env->len) {
			vlog(env, "invalid insn idx %u insn_cnt %u\n", env->insn, env->len);
			return -EFAULT;
		}
		if (++env->processed > budget) {
			vlog(env, "BPF program is too large. Processed %u insn\n", env->processed);
			return -E2BIG;
		}
		if (env->processed % 256 == 0)
			bpf_env.relax();
		r = env->cur->in_round ? 0 : vstate_visit(env);
		if (r < 0)
			return r;
		if (r) {
			if (resumed)
				vlog(env, "\nfrom %u to %u%s: safe\n", env->prev, env->insn, how(env));
			else
				vlog(env, "%u: safe\n", env->insn);
		} else {
			u32 at = env->insn;

			if (resumed && env->log_level & 2) {
				vlog(env, "\nfrom %u to %u%s:", env->prev, env->insn, how(env));
				vlog_state(env, vcur(env), true);
			}
			resumed = false;
			vlog_insn(env);
			env->aux[at].seen |= !env->cur->speculative;
			r = step(env);
			env->prev = at;
			if (r < 0)
				return r;
		}
		if (r) {
			env->scratched_regs = ~0U;
			env->scratched_slots = ~0ULL;
			if (!vstate_pop(env))
				return 0;
			resumed = true;
		}
	}
}

static int start(struct venv *env, u32 sub)
{
	env->table = big_alloc(env->len, sizeof(*env->table));
	env->cur = kzalloc(sizeof(*env->cur), 0);
	if (!env->table || !env->cur)
		return -ENOMEM;
	env->cur->frames[0] = vframe_new(0, sub, 0);
	if (!env->cur->frames[0])
		return -ENOMEM;
	env->insn = env->subs[sub].start;
	env->prev = 0;
	env->last_line = -1;
	env->scratched_regs = ~0U;
	env->scratched_slots = 0;
	if (sub)
		return vfunc_begin(env, sub);
	vreg_set_pointer(&vregs(env)[1], V_CTX);
	return 0;
}

/* All paths of the program, or of a function that is verified by itself. */
static int check_function(struct venv *env, u32 sub)
{
	int err = start(env, sub);

	err = err ? err : walk(env);
	vstate_free_all(env);
	if (!err && !(env->log_level & 2) && !env->log_full) /* what was too long is told by ENOSPC */
		vlog_rewind(env, 0);
	if (!err && sub && env->log_level & 3)
		vlog(env, "Func#%u is safe for any args that match its prototype\n", sub);
	return err;
}

int bpf_verify(struct venv *env)
{
	int err = vflow_check(env);

	err = err ? err : vfunc_check(env);
	err = err ? err : vflow_analyse(env);
	if (!err && env->log_level & 2)
		for (u32 i = 0; i < env->nr_subs; i++)
			vlog(env, "func#%u @%u\n", i, env->subs[i].start);
	for (u32 i = 1; !err && i < env->nr_subs; i++)
		if (env->subs[i].is_global)
			err = check_function(env, i);
	err = err ? err : check_function(env, 0);
	if (!err && env->nr_subs > 1)
		err = vflow_stack_depth(env);
	if (env->processed)
		vlog_stats(env);
	return err;
}
