/* SPDX-License-Identifier: MIT
 *
 * Problem: branches are where programs prove things: "this index is below 16", "these 14 bytes of the packet exist",
 * "the look-up found something".
 *
 * Idea: a branch whose outcome is known is followed one way only. Otherwise both ways are walked, each with what it
 * teaches: ranges for scalars (and their copies, by id), existing bytes for packet pointers against data_end, not
 * NULL for the result of a look-up (and its copies).
 *
 * Contract: vjmp_check updates env->insn or env->cur and pushes the other path. 0 or -errno with a reason.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

/* Applies fn to every register and spilled register of a state. */
static void for_each_reg(struct vstate *st, void (*fn)(struct vreg *reg, void *arg), void *arg)
{
	for (u32 f = 0; f <= st->cur; f++) {
		struct vframe *fr = st->frames[f];

		for (u32 r = 0; r < NR_REGS; r++)
			fn(&fr->regs[r], arg);
		for (u32 s = 0; s < fr->nslots; s++)
			if (fr->slots[s].byte[0] == B_SPILL)
				fn(&fr->slots[s].reg, arg);
	}
}

struct packet_fact {
	u8 kind;
	u32 id;
	s32 range;
};

static void learn_range(struct vreg *reg, void *arg)
{
	const struct packet_fact *p = arg;

	if (reg->kind == p->kind && reg->id == p->id && reg->range >= 0)
		reg->range = max(reg->range, p->range);
}

/* `ptr + something` is known to be at most data_end (open: equal allowed): the bytes before it exist. */
static void packet_exists(struct vstate *st, const struct vreg *ptr, bool beyond)
{
	struct packet_fact p = { .kind = ptr->kind, .id = ptr->id };
	s32 range = ptr->off + (beyond ? 1 : 0);

	if (ptr->off < 0 || (ptr->off == 0 && beyond) || ptr->v.w.umax > MAX_PKT_OFF ||
	    ptr->v.w.umax + ptr->off > MAX_PKT_OFF)
		return;
	p.range = range;
	for_each_reg(st, learn_range, &p);
}

/* In `st` register n is at data_end or behind it: all that matters is that a look with more range finds out. */
static void packet_ends(struct vstate *st, u32 regno, bool beyond)
{
	struct vreg *reg = &st->frames[st->cur]->regs[regno];

	if (reg->kind == V_PKT)
		reg->range = beyond ? PKT_BEYOND_END : PKT_AT_END;
}

/* The comparison read as `packet OP end`; swapped operands turn the operator around. */
static u8 mirrored(u8 op)
{
	switch (op) {
	case BPF_JGT: return BPF_JLT;
	case BPF_JLT: return BPF_JGT;
	case BPF_JGE: return BPF_JLE;
	case BPF_JLE: return BPF_JGE;
	}
	return op;
}

static bool is_pair(const struct vreg *a, const struct vreg *b)
{
	return (a->kind == V_PKT && b->kind == V_PKT_END) ||
	       (a->kind == V_PKT_META && b->kind == V_PKT && !b->off && vreg_is_packet(b) && scalar_is_const(&b->v) &&
		b->v.bits.value == 0 && !b->id);
}

static bool compare_packet(const struct bpf_insn *insn, struct vstate *fall, struct vstate *jump)
{
	struct vreg *regs = fall->frames[fall->cur]->regs;
	struct vreg *a = &regs[insn->dst_reg], *b = &regs[insn->src_reg], ptr;
	u8 op = BPF_OP(insn->code);
	u32 regno = insn->dst_reg;

	if (BPF_SRC(insn->code) != BPF_X || BPF_CLASS(insn->code) == BPF_JMP32)
		return false;
	if (!is_pair(a, b)) {
		if (!is_pair(b, a))
			return false;
		swap(a, b);
		op = mirrored(op);
		regno = insn->src_reg;
	}
	ptr = *a;
	switch (op) {
	case BPF_JGT: /* ptr > end: jumps if too short */
		packet_exists(fall, &ptr, false);
		packet_ends(jump, regno, true);
		return true;
	case BPF_JLT: /* ptr < end: jumps if one more byte exists */
		packet_exists(jump, &ptr, true);
		packet_ends(fall, regno, false);
		return true;
	case BPF_JGE:
		packet_exists(fall, &ptr, true);
		packet_ends(jump, regno, false);
		return true;
	case BPF_JLE:
		packet_exists(jump, &ptr, false);
		packet_ends(fall, regno, true);
		return true;
	}
	return false;
}

/* A packet pointer that is known to be behind data_end compares in one way only. */
static int packet_outcome(const struct vreg *dst, const struct vreg *src, u8 op)
{
	const struct vreg *pkt = dst;

	if (src->kind == V_PKT && dst->kind == V_PKT_END) {
		pkt = src;
		op = mirrored(op);
	} else if (dst->kind != V_PKT || src->kind != V_PKT_END) {
		return -1;
	}
	if (pkt->range >= 0)
		return -1;
	switch (op) {
	case BPF_JLE: return pkt->range == PKT_BEYOND_END ? 0 : -1;
	case BPF_JGT: return pkt->range == PKT_BEYOND_END ? 1 : -1;
	case BPF_JLT: return 0;
	case BPF_JGE: return 1;
	}
	return -1;
}

struct null_fact {
	u32 id;
	bool null;
};

static void learn_null(struct vreg *reg, void *arg)
{
	const struct null_fact *n = arg;

	if (!reg->null_ok || reg->id != n->id)
		return;
	if (n->null) {
		vreg_set_const(reg, 0);
		return;
	}
	reg->null_ok = false;
	/* A map value with a lock keeps its id: it tells which lock is held. */
	if (!(reg->map && reg->map->spin_lock_off >= 0))
		reg->id = 0;
	/* A value of a map of maps is a map. */
	if (reg->kind == V_MAP_VALUE && reg->map->inner) {
		struct bpf_map *inner = reg->map->inner;

		vreg_set_pointer(reg, V_MAP_PTR);
		reg->map = inner;
		reg->map_uid = n->id; /* which inner map differs by look-up */
	} else if (reg->kind == V_MAP_VALUE && reg->map->type == BPF_MAP_TYPE_XSKMAP) {
		vreg_set_pointer(reg, V_XDP_SOCK);
	} else if (reg->kind == V_MAP_VALUE &&
		   (reg->map->type == BPF_MAP_TYPE_SOCKMAP || reg->map->type == BPF_MAP_TYPE_SOCKHASH)) {
		u32 ref = reg->ref_id;

		vreg_set_pointer(reg, V_SOCK);
		reg->ref_id = ref;
	}
}

static void learn_null_in(struct vstate *st, u32 id, u32 ref, bool null)
{
	struct null_fact n = { .id = id, .null = null };

	for (u32 i = 0; null && ref == id && i < st->nrefs; i++)
		if (st->refs[i].id == ref) {
			st->refs[i] = st->refs[--st->nrefs];
			break;
		}
	for_each_reg(st, learn_null, &n);
}

static void learn_copy(struct vreg *reg, void *arg)
{
	const struct vreg *of = arg;

	if (reg->kind == V_SCALAR && reg->id == of->id && reg != of)
		*reg = *of;
}

static void learn_scalar(struct vstate *st, u32 regno, u64 imm, u8 op, bool is64, bool taken)
{
	struct vreg *reg = &st->frames[st->cur]->regs[regno];
	struct vreg copy;

	scalar_learn(&reg->v, imm, op, is64, taken);
	copy = *reg;
	if (reg->id)
		for_each_reg(st, learn_copy, &copy);
}

/* Two variable scalars found equal have the facts of both. */
static void learn_equal(struct vstate *st, u32 a, u32 b)
{
	struct vreg *ra = &st->frames[st->cur]->regs[a], *rb = &st->frames[st->cur]->regs[b];
	struct scalar both = ra->v;

	both.bits = tnum_and_both(ra->v.bits, rb->v.bits);
	both.w.umin = max(ra->v.w.umin, rb->v.w.umin);
	both.w.umax = min(ra->v.w.umax, rb->v.w.umax);
	both.w.smin = max(ra->v.w.smin, rb->v.w.smin);
	both.w.smax = min(ra->v.w.smax, rb->v.w.smax);
	scalar_sync(&both);
	if (scalar_contradicts(&both))
		return;
	ra->v = rb->v = both;
}

/* Constant operand of a comparison, from the immediate or a register. */
static bool constant_of(const struct bpf_insn *insn, const struct vreg *src, bool is64, u64 *out)
{
	if (BPF_SRC(insn->code) == BPF_K) {
		*out = (u64)(s64)insn->imm;
		return true;
	}
	if (src->kind != V_SCALAR)
		return false;
	*out = src->v.bits.value;
	return is64 ? scalar_is_const(&src->v) : tnum_is_const(tnum_low(src->v.bits, 4));
}

static u8 swapped(u8 op)
{
	switch (op) {
	case BPF_JSGT: return BPF_JSLT;
	case BPF_JSLT: return BPF_JSGT;
	case BPF_JSGE: return BPF_JSLE;
	case BPF_JSLE: return BPF_JSGE;
	}
	return mirrored(op);
}

static int outcome(struct venv *env, const struct bpf_insn *insn)
{
	const struct vreg *regs = vregs(env), *dst = &regs[insn->dst_reg], *src = &regs[insn->src_reg];
	bool x = BPF_SRC(insn->code) == BPF_X, is64 = BPF_CLASS(insn->code) == BPF_JMP;
	u8 op = BPF_OP(insn->code);
	u64 imm;

	if (x && is64 && dst->kind != V_SCALAR && src->kind != V_SCALAR)
		return packet_outcome(dst, src, op);
	if (!constant_of(insn, src, is64, &imm))
		return -1;
	if (dst->kind == V_SCALAR)
		return scalar_decide(&dst->v, imm, op, is64);
	/* A pointer that is not NULL is not 0. */
	if (!is64 || imm || dst->null_ok || (op != BPF_JEQ && op != BPF_JNE))
		return -1;
	if (!vkind_is_sock(dst->kind) && dst->kind != V_MAP_VALUE && dst->kind != V_MAP_KEY && dst->kind != V_MEM)
		return -1;
	return op == BPF_JNE;
}

static void learn(struct venv *env, const struct bpf_insn *insn, struct vstate *fall, struct vstate *jump)
{
	struct vreg *regs = fall->frames[fall->cur]->regs, dst = regs[insn->dst_reg], src = regs[insn->src_reg];
	bool is64 = BPF_CLASS(insn->code) == BPF_JMP, x = BPF_SRC(insn->code) == BPF_X;
	u8 op = BPF_OP(insn->code);
	u64 imm;

	if (x && (dst.kind != V_SCALAR || src.kind != V_SCALAR))
		return;
	if (dst.kind != V_SCALAR)
		return;
	if (constant_of(insn, &src, is64, &imm)) {
		learn_scalar(jump, insn->dst_reg, imm, op, is64, true);
		learn_scalar(fall, insn->dst_reg, imm, op, is64, false);
	} else if (is64 ? scalar_is_const(&dst.v) : tnum_is_const(tnum_low(dst.v.bits, 4))) {
		learn_scalar(jump, insn->src_reg, dst.v.bits.value, swapped(op), is64, true);
		learn_scalar(fall, insn->src_reg, dst.v.bits.value, swapped(op), is64, false);
	} else if (is64 && op == BPF_JEQ) {
		learn_equal(jump, insn->dst_reg, insn->src_reg);
	} else if (is64 && op == BPF_JNE) {
		learn_equal(fall, insn->dst_reg, insn->src_reg);
	}
}

static int check_operands(struct venv *env, const struct bpf_insn *insn)
{
	int err;

	if (BPF_SRC(insn->code) == BPF_X ? insn->imm != 0 : insn->src_reg != 0) {
		vlog(env, "BPF_JMP/JMP32 uses reserved fields\n");
		return -EINVAL;
	}
	if (BPF_SRC(insn->code) == BPF_X) {
		err = vreg_use(env, insn->src_reg);
		if (err)
			return err;
		if (vreg_is_secret(env, &vregs(env)[insn->src_reg])) {
			const struct vreg *d = &vregs(env)[insn->dst_reg], *s = &vregs(env)[insn->src_reg];

			if (!is_pair(d, s) && !is_pair(s, d)) {
				vlog(env, "R%u pointer comparison prohibited\n", insn->src_reg);
				return -EACCES;
			}
		}
	}
	return vreg_use(env, insn->dst_reg);
}

static int follow(struct venv *env, const struct bpf_insn *insn, int taken)
{
	int err = vspec_branch(env, env->insn + 1 + (taken ? 0 : insn->off));

	if (err)
		return err;
	if (!env->cur->speculative)
		env->aux[env->insn].branch_seen |= taken ? 2 : 1;
	env->insn += taken ? insn->off + 1 : 1;
	return 0;
}

int vjmp_check(struct venv *env, const struct bpf_insn *insn)
{
	struct vreg *dst;
	struct vstate *jump;
	u8 op = BPF_OP(insn->code);
	bool zero_test = BPF_SRC(insn->code) == BPF_K && !insn->imm && (op == BPF_JEQ || op == BPF_JNE) &&
			 BPF_CLASS(insn->code) == BPF_JMP;
	int err = check_operands(env, insn), known;

	if (err)
		return err;
	known = outcome(env, insn);
	if (known >= 0)
		return follow(env, insn, known);
	err = vstate_push(env, env->insn + 1 + insn->off, env->insn, &jump);
	if (err)
		return err;
	if (!env->cur->speculative)
		env->aux[env->insn].branch_seen = 3;
	learn(env, insn, env->cur, jump);
	dst = &vregs(env)[insn->dst_reg];
	if (zero_test && dst->null_ok) {
		u32 id = dst->id, ref = dst->ref_id;

		learn_null_in(env->cur, id, ref, op == BPF_JNE);
		learn_null_in(jump, id, ref, op == BPF_JEQ);
	} else if (!compare_packet(insn, env->cur, jump) && vreg_is_secret(env, dst)) {
		vlog(env, "R%u pointer comparison prohibited\n", insn->dst_reg);
		return -EACCES;
	}
	if (env->log_level & 3)
		vlog_changes(env);
	env->insn++;
	return 0;
}
