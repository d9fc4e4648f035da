/* SPDX-License-Identifier: MIT
 *
 * Problem: a CPU runs ahead past a branch that it guesses wrong; an access that is safe on every real path may then
 * read out of bounds and leave traces. Programs of the unprivileged must be safe there too.
 *
 * Idea: as Linux 6.1: the side of a branch that cannot be taken is walked all the same, as a *speculative* path, and
 * must be safe. Each pointer arithmetic with a variable gets a limit: the compiler masks the operand to 0 when it
 * exceeds what the object allows, and the effect of that masking is walked as a speculative path as well. An
 * instruction that would need different limits on different paths, or on kinds of pointers without a limit, is refused.
 *
 * Contract: verify_priv.h. Does nothing for those who have CAP_PERFMON. The limits end in struct bpf_prog (alu_limits);
 * the compiler applies them, the interpreter needs none: its loads are not steered by the program's branches.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

enum reason { OK, BOUNDS, TYPE, PATHS, LIMIT };

static int refuse(struct venv *env, const struct bpf_insn *insn, enum reason why, bool off_is_dst)
{
	static const char err[] = "pointer arithmetic with it prohibited for !root";
	const char *op = BPF_OP(insn->code) == BPF_ADD ? "add" : "sub";

	switch (why) {
	case OK: return 0;
	case BOUNDS:
		vlog(env, "R%d has unknown scalar with mixed signed bounds, %s\n",
		     off_is_dst ? insn->dst_reg : insn->src_reg, err);
		break;
	case TYPE:
		vlog(env, "R%d has pointer with unsupported alu operation, %s\n",
		     off_is_dst ? insn->src_reg : insn->dst_reg, err);
		break;
	case PATHS:
		vlog(env, "R%d tried to %s from different maps, paths or scalars, %s\n", insn->dst_reg, op, err);
		break;
	case LIMIT: vlog(env, "R%d tried to %s beyond pointer bounds, %s\n", insn->dst_reg, op, err); break;
	}
	return -EACCES;
}

/* How far the pointer may move in the masked direction. */
static enum reason limit_of(const struct vreg *ptr, bool to_left, u32 *limit)
{
	u32 max;

	switch (ptr->kind) {
	case V_STACK:
		max = BPF_STACK_BYTES + to_left;
		*limit = (u32) - (s32)((s64)ptr->v.bits.value + ptr->off);
		break;
	case V_MAP_VALUE:
		max = ptr->map->value_size;
		*limit = (u32)((to_left ? ptr->v.w.smin : (s64)ptr->v.w.umax) + ptr->off);
		break;
	default: return TYPE;
	}
	return *limit >= max ? LIMIT : OK;
}

static enum reason note(struct venv *env, u8 state, u32 limit)
{
	struct vinsn *aux = &env->aux[env->insn];

	if (aux->alu_state && (aux->alu_state != state || aux->alu_limit != limit))
		return PATHS;
	aux->alu_state = state;
	aux->alu_limit = limit;
	return OK;
}

int vspec_scalar(struct venv *env, const struct bpf_insn *insn)
{
	if (env->allow_leaks || BPF_SRC(insn->code) == BPF_K)
		return 0;
	return refuse(env, insn, note(env, ALU_PLAIN, 0), false);
}

int vspec_branch(struct venv *env, u32 insn)
{
	struct vstate *st;
	int err;

	if (env->allow_leaks)
		return 0;
	err = vstate_push(env, insn, env->insn, &st);
	if (!err)
		st->speculative = true;
	return err;
}

/* The operand masked to 0: the pointer stays where it was. */
static int walk_masked(struct venv *env, const struct vreg *ptr, u32 dst)
{
	struct vreg before = vregs(env)[dst];
	int err;

	vregs(env)[dst] = *ptr;
	err = vspec_branch(env, env->insn + 1);
	vregs(env)[dst] = before;
	return err;
}

int vspec_before(struct venv *env, const struct bpf_insn *insn, const struct vreg *ptr, const struct vreg *off,
		 struct vspec *spec)
{
	u8 op = BPF_OP(insn->code);
	bool negative = off->v.w.smin < 0, off_is_dst = ptr != &vregs(env)[insn->dst_reg];
	struct vreg copy = *ptr;
	enum reason why;

	spec->active = !env->allow_leaks && BPF_SRC(insn->code) == BPF_X && (op == BPF_ADD || op == BPF_SUB);
	if (!spec->active)
		return 0;
	spec->off_is_dst = off_is_dst;
	if (!env->cur->speculative) {
		if (!scalar_is_const(&off->v) && negative != (off->v.w.smax < 0))
			return refuse(env, insn, BOUNDS, off_is_dst);
		spec->to_left = op == BPF_ADD ? negative : !negative;
		why = limit_of(ptr, spec->to_left, &spec->limit);
		if (why)
			return refuse(env, insn, why, off_is_dst);
		spec->state = (negative ? ALU_NEGATIVE : 0) | (off_is_dst ? ALU_MASK_DST : ALU_MASK_SRC) |
			      (scalar_is_const(&off->v) ? ALU_CONSTANT : 0);
		env->explore_limits |= !scalar_is_const(&off->v);
	}
	return scalar_is_const(&off->v) ? 0 : walk_masked(env, &copy, insn->dst_reg);
}

int vspec_after(struct venv *env, const struct bpf_insn *insn, const struct vreg *moved, const struct vspec *spec)
{
	enum reason why;
	u32 limit;

	if (!spec->active || env->cur->speculative)
		return 0;
	why = limit_of(moved, spec->to_left, &limit);
	if (why)
		return refuse(env, insn, why, spec->off_is_dst);
	/* The operand may do what the walk saw it do, and no more. */
	limit = limit > spec->limit ? limit - spec->limit : spec->limit - limit;
	return refuse(env, insn, note(env, spec->state, limit), spec->off_is_dst);
}
