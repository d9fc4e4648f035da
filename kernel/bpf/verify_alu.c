/* SPDX-License-Identifier: MIT
 *
 * Problem: arithmetic makes pointers into other pointers and addresses into numbers; both can escape every check
 * that follows.
 *
 * Idea: scalars go through scalar.c. A pointer may only be moved by an offset: a constant goes into its fixed part, a
 * variable into its ranges, and no offset may leave +-2^29, so that sums never wrap. Subtracting two pointers gives a
 * number (for those who may see addresses). Who may not (the unprivileged) also has to stay inside the object.
 *
 * Contract: valu_check returns 0, -EACCES or -EINVAL with a reason in the log; messages as Linux 6.1.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

static const char *op_text(u8 op)
{
	static const char *const ops[16] = { "+=",  "-=",  "*=", "/=", "|=", "&=",  "<<=",
					     ">>=", "neg", "%=", "^=", "=",  "s>>=" };

	return ops[op >> 4] ? ops[op >> 4] : "?";
}

/* Offsets that could make sums of fixed and variable parts wrap are refused. */
static bool offset_sane(struct venv *env, const struct vreg *reg, u8 kind)
{
	bool known = scalar_is_const(&reg->v);
	s64 value = (s64)reg->v.bits.value, smin = reg->v.w.smin;
	struct vreg named = { .kind = kind };
	char text[40];

	vreg_type_text(&named, text);
	if (known && (value >= MAX_OFFSET || value <= -MAX_OFFSET)) {
		vlog(env, "math between %s pointer and %lld is not allowed\n", text, (long long)value);
		return false;
	}
	if (reg->off >= MAX_OFFSET || reg->off <= -MAX_OFFSET) {
		vlog(env, "%s pointer offset %d is not allowed\n", text, reg->off);
		return false;
	}
	if (smin == INT64_MIN) {
		vlog(env, "math between %s pointer and register with unbounded min value is not allowed\n", text);
		return false;
	}
	if (smin >= MAX_OFFSET || smin <= -MAX_OFFSET) {
		vlog(env, "value %lld makes %s pointer be out of bounds\n", (long long)smin, text);
		return false;
	}
	return true;
}

static int may_move(struct venv *env, const struct vreg *ptr, const struct vreg *by, u32 dst, u8 op)
{
	char text[40];

	if (ptr->null_ok) {
		vlog(env, "R%u pointer arithmetic on %s prohibited, null-check it first\n", dst,
		     vreg_type_text(ptr, text));
		return -EACCES;
	}
	switch (ptr->kind) {
	case V_MAP_PTR:
		if (vreg_is_zero(by) && op == BPF_ADD)
			return 0;
		break;
	case V_PKT_END:
	case V_SOCK:
	case V_SOCK_COMMON:
	case V_TCP_SOCK:
	case V_XDP_SOCK: break;
	default: return 0;
	}
	vlog(env, "R%u pointer arithmetic on %s prohibited\n", dst, vreg_type_text(ptr, text));
	return -EACCES;
}

/* A pointer into a packet with a new variable offset: what was known of data_end does not carry over. */
static void forget_range(struct venv *env, struct vreg *dst)
{
	if (vreg_is_packet(dst)) {
		dst->id = ++env->ids;
		dst->range = 0;
	}
}

static void move_up(struct venv *env, struct vreg *dst, const struct vreg *ptr, const struct vreg *by)
{
	s64 sum = (s64)ptr->off + (s64)by->v.bits.value;

	*dst = *ptr;
	if (scalar_is_const(&by->v) && sum == (s32)sum) {
		dst->off = (s32)sum;
		return;
	}
	scalar_offset(&dst->v, &ptr->v, &by->v, false);
	forget_range(env, dst);
}

static void move_down(struct venv *env, struct vreg *dst, const struct vreg *ptr, const struct vreg *by)
{
	s64 diff = (s64)ptr->off - (s64)by->v.bits.value;
	s32 range = ptr->range;

	*dst = *ptr;
	if (scalar_is_const(&by->v) && diff == (s32)diff) {
		dst->off = (s32)diff;
		return;
	}
	scalar_offset(&dst->v, &ptr->v, &by->v, true);
	if (!vreg_is_packet(dst))
		return;
	dst->id = ++env->ids;
	dst->range = by->v.w.smin < 0 ? 0 : range;
}

static int check_moved(struct venv *env, const struct vreg *dst, u32 regno)
{
	if (env->allow_leaks)
		return 0;
	if (dst->kind == V_MAP_VALUE && vmem_map_value(env, regno, dst->off, 1, false)) {
		vlog(env, "R%u pointer arithmetic of map value goes out of range, prohibited for !root\n", regno);
		return -EACCES;
	}
	if (dst->kind == V_STACK)
		return vstack_pointer_ok(env, regno, dst, dst->off + (s32)dst->v.bits.value);
	return 0;
}

static int pointer_alu(struct venv *env, const struct bpf_insn *insn, const struct vreg *ptr, const struct vreg *by)
{
	struct vreg *dst = &vregs(env)[insn->dst_reg], moved;
	struct vspec spec = { 0 };
	u8 op = BPF_OP(insn->code);
	u32 d = insn->dst_reg;
	int err;

	if (scalar_contradicts(&by->v)) {
		vreg_set_unknown(dst);
		return 0;
	}
	if (BPF_CLASS(insn->code) != BPF_ALU64) {
		if (op == BPF_SUB && env->allow_leaks) {
			vreg_set_unknown(dst);
			scalar_zero_extend(&dst->v);
			return 0;
		}
		vlog(env, "R%u 32-bit pointer arithmetic prohibited\n", d);
		return -EACCES;
	}
	err = may_move(env, ptr, by, d, op);
	if (err)
		return err;
	if (!offset_sane(env, by, ptr->kind) || !offset_sane(env, ptr, ptr->kind))
		return -EINVAL;
	err = vspec_before(env, insn, ptr, by, &spec);
	if (err)
		return err;
	if (op == BPF_SUB && ptr != dst) {
		vlog(env, "R%u tried to subtract pointer from scalar\n", d);
		return -EACCES;
	}
	switch (op) {
	case BPF_ADD: move_up(env, &moved, ptr, by); break;
	case BPF_SUB:
		if (ptr->kind == V_STACK) {
			vlog(env, "R%u subtraction from stack pointer prohibited\n", d);
			return -EACCES;
		}
		move_down(env, &moved, ptr, by);
		break;
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR: vlog(env, "R%u bitwise operator %s on pointer prohibited\n", d, op_text(op)); return -EACCES;
	default: vlog(env, "R%u pointer arithmetic with %s operator prohibited\n", d, op_text(op)); return -EACCES;
	}
	if (!offset_sane(env, &moved, ptr->kind))
		return -EINVAL;
	*dst = moved;
	err = check_moved(env, dst, d);
	return err ? err : vspec_after(env, insn, dst, &spec);
}

static int two_operands(struct venv *env, const struct bpf_insn *insn)
{
	struct vreg *regs = vregs(env), *dst = &regs[insn->dst_reg], *src = NULL, imm, by;
	u8 op = BPF_OP(insn->code);
	bool is64 = BPF_CLASS(insn->code) == BPF_ALU64;

	if (BPF_SRC(insn->code) == BPF_X) {
		src = &regs[insn->src_reg];
		if (src->kind != V_SCALAR) {
			if (dst->kind != V_SCALAR) {
				if (op == BPF_SUB && env->allow_leaks) {
					vreg_set_unknown(dst);
					if (!is64)
						scalar_zero_extend(&dst->v);
					return 0;
				}
				vlog(env, "R%u pointer %s pointer prohibited\n", insn->dst_reg, op_text(op));
				return -EACCES;
			}
			by = *dst; /* scalar += pointer */
			return pointer_alu(env, insn, src, &by);
		}
	} else {
		vreg_set_const(&imm, (u64)(s64)insn->imm);
		src = &imm;
	}
	if (dst->kind != V_SCALAR) {
		by = *src;
		return pointer_alu(env, insn, dst, &by);
	}
	if (op == BPF_ADD || op == BPF_SUB) {
		int err = vspec_scalar(env, insn);

		if (err)
			return err;
	}
	by = *src;
	dst->id = 0;
	scalar_alu(&dst->v, &by.v, op, is64);
	return 0;
}

static int check_move(struct venv *env, const struct bpf_insn *insn)
{
	struct vreg *regs = vregs(env), *dst = &regs[insn->dst_reg], *src = &regs[insn->src_reg];
	bool is64 = BPF_CLASS(insn->code) == BPF_ALU64;
	int err;

	if (insn->off || (BPF_SRC(insn->code) == BPF_X ? insn->imm != 0 : insn->src_reg != 0)) {
		vlog(env, "BPF_MOV uses reserved fields\n");
		return -EINVAL;
	}
	if (BPF_SRC(insn->code) == BPF_X) {
		err = vreg_use(env, insn->src_reg);
		if (err)
			return err;
	}
	err = vreg_def(env, insn->dst_reg, false);
	if (err)
		return err;
	if (BPF_SRC(insn->code) == BPF_K) {
		vreg_set_const(dst, is64 ? (u64)(s64)insn->imm : (u32)insn->imm);
		return 0;
	}
	if (is64) {
		if (src->kind == V_SCALAR && !src->id && !scalar_is_const(&src->v))
			src->id = ++env->ids; /* from here on the same value */
		*dst = *src;
		return 0;
	}
	if (vreg_is_secret(env, src)) {
		vlog(env, "R%u partial copy of pointer\n", insn->src_reg);
		return -EACCES;
	}
	if (src->kind != V_SCALAR) {
		vreg_set_unknown(dst);
		scalar_zero_extend(&dst->v);
		return 0;
	}
	*dst = *src;
	if (src->v.w.umax > UINT32_MAX)
		dst->id = 0; /* not the same value any more */
	scalar_zero_extend(&dst->v);
	return 0;
}

static int check_unary(struct venv *env, const struct bpf_insn *insn)
{
	bool end = BPF_OP(insn->code) == BPF_END;
	int err;

	if (end ? insn->src_reg || insn->off || (insn->imm != 16 && insn->imm != 32 && insn->imm != 64) ||
			    BPF_CLASS(insn->code) == BPF_ALU64
		: BPF_SRC(insn->code) != BPF_K || insn->src_reg || insn->off || insn->imm) {
		vlog(env, end ? "BPF_END uses reserved fields\n" : "BPF_NEG uses reserved fields\n");
		return -EINVAL;
	}
	err = vreg_use(env, insn->dst_reg);
	if (err)
		return err;
	if (vreg_is_secret(env, &vregs(env)[insn->dst_reg])) {
		vlog(env, "R%u pointer arithmetic prohibited\n", insn->dst_reg);
		return -EACCES;
	}
	return vreg_def(env, insn->dst_reg, true);
}

static int check_binary(struct venv *env, const struct bpf_insn *insn)
{
	u8 op = BPF_OP(insn->code);
	int width = BPF_CLASS(insn->code) == BPF_ALU64 ? 64 : 32, err;

	if (insn->off || (BPF_SRC(insn->code) == BPF_X ? insn->imm != 0 : insn->src_reg != 0)) {
		vlog(env, "BPF_ALU uses reserved fields\n");
		return -EINVAL;
	}
	if (BPF_SRC(insn->code) == BPF_X) {
		err = vreg_use(env, insn->src_reg);
		if (err)
			return err;
	}
	err = vreg_use(env, insn->dst_reg);
	if (err)
		return err;
	if ((op == BPF_MOD || op == BPF_DIV) && BPF_SRC(insn->code) == BPF_K && insn->imm == 0) {
		vlog(env, "div by zero\n");
		return -EINVAL;
	}
	if ((op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) && BPF_SRC(insn->code) == BPF_K &&
	    (insn->imm < 0 || insn->imm >= width)) {
		vlog(env, "invalid shift %d\n", insn->imm);
		return -EINVAL;
	}
	err = vreg_def(env, insn->dst_reg, false);
	return err ? err : two_operands(env, insn);
}

int valu_check(struct venv *env, const struct bpf_insn *insn)
{
	u8 op = BPF_OP(insn->code);

	if (op == BPF_END || op == BPF_NEG)
		return check_unary(env, insn);
	if (op == BPF_MOV)
		return check_move(env, insn);
	return check_binary(env, insn);
}
