/* SPDX-License-Identifier: MIT
 *
 * Problem: registers are spilled to the stack and come back, helpers read and fill buffers there; the verifier must
 * know each byte: never written, part of a spilled register, zero, or anything.
 *
 * Idea: a slot of eight bytes has a kind for each byte and one register state. Whole spills keep what is known of the
 * register; anything else makes bytes "anything" (or zero). An access at a variable offset touches every byte that it
 * may touch. The unprivileged may not read what they did not write, nor overwrite part of a spilled pointer.
 *
 * Contract: verify_priv.h; offsets are from the frame pointer, negative. 0 or -errno with a reason in the log.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

static u32 slot_of(s32 off)
{
	return (u32)(-off - 1) / 8;
}

static u64 slots_between(s32 lo, s32 hi)
{
	u64 set = 0;

	for (s32 o = lo; o < hi; o++)
		set |= 1ULL << slot_of(o);
	return set;
}

static struct vframe *frame_of(struct venv *env, const struct vreg *reg)
{
	return env->cur->frames[reg->frame];
}

static u8 *byte_at(struct vframe *f, s32 off)
{
	return &f->slots[slot_of(off)].byte[off & 7];
}

static void use_depth(struct venv *env, const struct vframe *f, s32 off)
{
	struct vsub *sub = &env->subs[f->subprog];

	if (sub->stack < -off)
		sub->stack = (u16)ALIGN_UP(-off, 8);
}

int vstack_pointer_ok(struct venv *env, u32 regno, const struct vreg *reg, s32 off)
{
	char text[48];

	if (!scalar_is_const(&reg->v)) {
		tnum_text(text, sizeof(text), reg->v.bits);
		vlog(env, "R%u variable stack access prohibited for !root, var_off=%s off=%d\n", regno, text, off);
		return -EACCES;
	}
	if (off >= 0 || off < -BPF_STACK_BYTES) {
		vlog(env, "R%u stack pointer arithmetic goes out of range, prohibited for !root; off=%d\n", regno, off);
		return -EACCES;
	}
	return 0;
}

/* -EACCES if it begins outside the frame, -EINVAL if it runs over the frame's end, as Linux says it. */
static int placed(s64 lo, s64 hi)
{
	if (lo < -BPF_STACK_BYTES || lo >= 0)
		return -EACCES;
	return hi > 0 ? -EINVAL : 0;
}

/* The whole range that an access may touch lies in the frame; lo and hi get it. */
static int bounds(struct venv *env, u32 regno, s32 off, s32 size, const char *what, s32 *lo, s32 *hi)
{
	const struct vreg *reg = &vregs(env)[regno];
	char text[48];
	int err;

	if (scalar_is_const(&reg->v)) {
		s64 at = (s64)reg->v.bits.value + off;

		*lo = (s32)at;
		*hi = (s32)at + max(size, 0);
		err = size < 0 ? -EACCES : placed(at, at + size);
		if (err)
			vlog(env, "invalid%s stack R%u off=%d size=%d\n", what, regno, (s32)at, size);
		return err;
	}
	if (reg->v.w.smax >= MAX_OFFSET || reg->v.w.smin <= -MAX_OFFSET) {
		vlog(env, "invalid unbounded variable-offset%s stack R%u\n", what, regno);
		return -EACCES;
	}
	*lo = (s32)reg->v.w.smin + off;
	*hi = (s32)reg->v.w.smax + off + size;
	err = placed(*lo, *hi);
	if (!err)
		return 0;
	tnum_text(text, sizeof(text), reg->v.bits);
	vlog(env, "invalid variable-offset%s stack R%u var_off=%s size=%d\n", what, regno, text, size);
	return err;
}

/* ---- writing --------------------------------------------------------------------------------------- */

static void save_register(struct venv *env, struct vframe *f, const struct vreg *reg, s32 off, s32 size)
{
	struct vslot *slot = &f->slots[slot_of(off)];

	slot->reg = *reg;
	if (size == 8)
		env->cur->wrote[f->no] |= 1ULL << slot_of(off);
	/* An aligned spill starts at byte 0 of the slot; bytes above a narrow one lose what they were part of. */
	for (s32 b = 0; b < 8; b++) {
		if (b < size)
			slot->byte[b] = B_SPILL;
		else if (slot->byte[b] == B_SPILL)
			slot->byte[b] = B_MISC;
	}
}

static void write_bytes(struct venv *env, struct vframe *f, s32 off, s32 size, u8 kind)
{
	struct vslot *slot = &f->slots[slot_of(off)];

	for (int b = 0; b < 8; b++)
		if (slot->byte[b] == B_SPILL)
			slot->byte[b] = B_MISC;
	slot->reg = (struct vreg){ 0 };
	if (size == 8)
		env->cur->wrote[f->no] |= 1ULL << slot_of(off);
	for (s32 o = off; o < off + size; o++)
		*byte_at(f, o) = kind;
}

static bool is_spilled(const struct vslot *s)
{
	return s->byte[0] == B_SPILL;
}

static int write_fixed(struct venv *env, struct vframe *f, s32 off, s32 size, int value_reg)
{
	const struct bpf_insn *insn = &env->insns[env->insn];
	const struct vreg *reg = value_reg >= 0 ? &vregs(env)[value_reg] : NULL;
	bool immediate = value_reg < 0 && BPF_CLASS(insn->code) == BPF_ST, whole = off % 8 == 0;
	struct vreg value;

	env->scratched_slots |= 1ULL << slot_of(off);
	if (!env->allow_leaks && is_spilled(&f->slots[slot_of(off)]) && size != 8) {
		vlog(env, "attempt to corrupt spilled pointer on stack\n");
		return -EACCES;
	}
	if (reg && reg->kind != V_SCALAR && reg->kind != V_NONE) {
		if (size != 8) {
			vlog_line(env, env->insn);
			vlog(env, "invalid size of register spill\n");
			return -EACCES;
		}
		if (f != vcur(env) && reg->kind == V_STACK) {
			vlog(env, "cannot spill pointers to stack into stack frame of the caller\n");
			return -EINVAL;
		}
		save_register(env, f, reg, off, size);
		return 0;
	}
	if (immediate && whole && insn->imm && env->bpf_capable) {
		vreg_set_const(&value, (u64)(s64)insn->imm);
		save_register(env, f, &value, off, size);
		return 0;
	}
	if (reg && whole && env->bpf_capable && !vreg_is_zero(reg) &&
	    (reg->v.bits.mask != ~0ULL || reg->v.w.umin || reg->v.w.umax != UINT64_MAX || reg->v.w.smin != INT64_MIN ||
	     reg->v.w.smax != INT64_MAX)) {
		value = *reg;
		if (size < 8 && reg->v.w.umax >> (size * 8))
			value.id = 0; /* narrowed: not the same value any more */
		save_register(env, f, &value, off, size);
		return 0;
	}
	write_bytes(env, f, off, size, (reg && vreg_is_zero(reg)) || (immediate && !insn->imm) ? B_ZERO : B_MISC);
	return 0;
}

static int write_variable(struct venv *env, struct vframe *f, s32 lo, s32 hi, int value_reg)
{
	bool zero = value_reg >= 0 && vreg_is_zero(&vregs(env)[value_reg]);

	for (s32 o = lo; o < hi; o++) {
		struct vslot *slot = &f->slots[slot_of(o)];
		u8 *b = byte_at(f, o);

		env->scratched_slots |= 1ULL << slot_of(o);
		if (!env->allow_leaks && *b != B_MISC && *b != B_ZERO) {
			if (*b == B_NONE)
				vlog(env,
				     "uninit stack in range of var-offset write prohibited for !root; insn %u, off: %d",
				     env->insn, o);
			else
				vlog(env, "spilled ptr in range of var-offset stack write; insn %u, ptr off: %d",
				     env->insn, o);
			return -EINVAL;
		}
		for (int i = 0; i < 8; i++)
			if (slot->byte[i] == B_SPILL)
				slot->byte[i] = B_MISC;
		slot->reg = (struct vreg){ 0 };
		*b = zero && *b == B_ZERO ? B_ZERO : B_MISC;
	}
	return 0;
}

/* ---- reading --------------------------------------------------------------------------------------- */

static int read_plain(struct venv *env, struct vframe *f, s32 off, s32 lo, s32 hi, int dst)
{
	bool zeros = true;

	for (s32 o = lo; o < hi; o++) {
		u8 b = *byte_at(f, o);

		zeros &= b == B_ZERO;
		if (b != B_NONE || env->allow_leaks)
			continue;
		vlog(env, "invalid read from stack off %d+%d size %d\n", off, o - lo, hi - lo);
		return -EACCES;
	}
	if (dst < 0)
		return 0;
	if (zeros)
		vreg_set_const(&vregs(env)[dst], 0);
	else
		vreg_set_unknown(&vregs(env)[dst]);
	return 0;
}

static int read_fixed(struct venv *env, struct vframe *f, s32 off, s32 size, int dst)
{
	struct vslot *slot = &f->slots[slot_of(off)];
	s32 spilled = 0;
	int err;

	vstate_mark_read(env, f->no, 1ULL << slot_of(off));
	if (!is_spilled(slot))
		return read_plain(env, f, off, off, off + size, dst);
	while (spilled < 8 && slot->byte[spilled] == B_SPILL)
		spilled++;
	if (size == 8 && spilled == 8) {
		if (dst >= 0) {
			vregs(env)[dst] = slot->reg;
		} else if (vreg_is_secret(env, &slot->reg)) {
			vlog(env, "leaking pointer from stack off %d\n", off);
			return -EACCES;
		}
		return 0;
	}
	if (slot->reg.kind != V_SCALAR) {
		vlog_line(env, env->insn);
		vlog(env, "invalid size of register fill\n");
		return -EACCES;
	}
	if (off % 8 == 0 && size == spilled) {
		if (dst >= 0)
			vregs(env)[dst] = slot->reg;
		return 0;
	}
	err = read_plain(env, f, off, off, off + size, dst);
	if (!err && dst >= 0)
		vreg_set_unknown(&vregs(env)[dst]);
	return err;
}

/* Bytes that somebody else reads; a helper may write them too (clobber). */
static int read_range(struct venv *env, struct vframe *f, u32 regno, s32 lo, s32 hi, bool clobber)
{
	bool variable = !scalar_is_const(&vregs(env)[regno].v);
	const char *what = clobber ? " indirect" : "";

	for (s32 o = lo; o < hi; o++) {
		struct vslot *slot = &f->slots[slot_of(o)];
		u8 *b = byte_at(f, o);
		char text[48];

		if (*b == B_MISC || *b == B_ZERO || (*b == B_NONE && env->allow_leaks)) {
			if (clobber)
				*b = B_MISC;
			continue;
		}
		if (*b == B_SPILL && (slot->reg.kind == V_SCALAR || env->allow_leaks)) {
			if (!clobber)
				continue;
			for (int i = 0; i < 8; i++)
				if (slot->byte[i] == B_SPILL)
					slot->byte[i] = B_MISC;
			slot->reg = (struct vreg){ 0 };
			continue;
		}
		tnum_text(text, sizeof(text), vregs(env)[regno].v.bits);
		if (variable)
			vlog(env, "invalid%s read from stack R%u var_off %s+%d size %d\n", what, regno, text, o - lo,
			     hi - lo);
		else
			vlog(env, "invalid%s read from stack R%u off %d+%d size %d\n", what, regno, lo, o - lo,
			     hi - lo);
		return -EACCES;
	}
	return 0;
}

int vstack_access(struct venv *env, u32 regno, s32 off, s32 size, enum vaccess a, int value_reg)
{
	const struct vreg *reg = &vregs(env)[regno];
	struct vframe *f = frame_of(env, reg);
	bool variable = !scalar_is_const(&reg->v);
	char text[48];
	s32 lo, hi;
	int err;

	err = bounds(env, regno, off, size, a == A_READ ? " read from" : " write to", &lo, &hi);
	if (err)
		return err;
	if (variable && a == A_READ && value_reg < 0) {
		tnum_text(text, sizeof(text), reg->v.bits);
		vlog(env,
		     "variable offset stack pointer cannot be passed into helper function; var_off=%s off=%d size=%d\n",
		     text, off, size);
		return -EACCES;
	}
	if (variable && !env->allow_leaks) {
		tnum_text(text, sizeof(text), reg->v.bits);
		vlog(env, "R%u variable stack access prohibited for !root, var_off=%s off=%d\n", regno, text, off);
		return -EACCES;
	}
	use_depth(env, f, lo);
	if (!vframe_slots(f, slot_of(lo) + 1))
		return -ENOMEM;
	if (!variable)
		return a == A_READ ? read_fixed(env, f, lo, size, value_reg) : write_fixed(env, f, lo, size, value_reg);
	if (a == A_WRITE)
		return write_variable(env, f, lo, hi, value_reg);
	vstate_mark_read(env, f->no, slots_between(lo, hi));
	err = read_range(env, f, regno, lo, hi, false);
	return err ? err : read_plain(env, f, off, lo, hi, value_reg);
}

int vstack_helper(struct venv *env, u32 regno, s32 size, bool zero_ok, bool writes)
{
	const struct vreg *reg = &vregs(env)[regno];
	struct vframe *f = frame_of(env, reg);
	bool variable = !scalar_is_const(&reg->v);
	char text[48];
	s32 lo, hi;
	int err;

	if (!size && !zero_ok) {
		vlog(env, "invalid zero-sized read\n");
		return -EACCES;
	}
	err = bounds(env, regno, reg->off, size, " indirect access to", &lo, &hi);
	if (err)
		return err;
	if (variable && !env->allow_leaks) {
		tnum_text(text, sizeof(text), reg->v.bits);
		vlog(env, "R%u indirect variable offset stack access prohibited for !root, var_off=%s\n", regno, text);
		return -EACCES;
	}
	use_depth(env, f, lo);
	if (!vframe_slots(f, slot_of(lo) + 1))
		return -ENOMEM;
	if (writes && !variable) {
		for (s32 o = lo; o < hi; o++) { /* what a helper writes is anything */
			struct vslot *slot = &f->slots[slot_of(o)];

			if (is_spilled(slot) && !env->allow_leaks) {
				vlog(env, "attempt to corrupt spilled pointer on stack\n");
				return -EACCES;
			}
			write_bytes(env, f, o, 1, B_MISC);
			env->scratched_slots |= 1ULL << slot_of(o);
		}
		return 0;
	}
	vstate_mark_read(env, f->no, slots_between(lo, hi));
	return read_range(env, f, regno, lo, hi, true);
}
