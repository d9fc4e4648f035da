/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest touches a device's register by any instruction that has a memory operand; the processor says only
 * that an address faulted, not what was to be read or written.
 *
 * Idea: the address is known from the fault, so an instruction is decoded only as far as its length, its operation, its
 * width and its register. What it computes is then one function of registers, flags and the operand's value, and the
 * caller does the access itself, in the kernel or by a trip to the VMM.
 *
 *      bytes --> prefixes --> opcode row --> ModRM, SIB, displacement (skipped) --> immediate
 *
 * Contract: insn.h. No memory is read beyond n bytes; whatever is unknown is refused.
 *
 * Locks: none.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "insn.h"

#define F_CF        0x001ULL
#define F_PF        0x004ULL
#define F_AF        0x010ULL
#define F_ZF        0x040ULL
#define F_SF        0x080ULL
#define F_DF        0x400ULL
#define F_OF        0x800ULL
#define ARITH_FLAGS (F_CF | F_PF | F_AF | F_ZF | F_SF | F_OF)

struct cursor {
	const u8 *p, *end;
	enum insn_mode mode;
	bool operand16, address_short, rep;
	u8 rex, segment;
};

static int next(struct cursor *c)
{
	return c->p < c->end ? *c->p++ : -ENODATA;
}

/* ---- prefixes ---- */

static bool legacy_prefix(struct cursor *c, u8 b)
{
	static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

	for (unsigned s = 0; s < ARRAY_SIZE(segments); s++) {
		if (b == segments[s]) {
			c->segment = (u8)s;
			return true;
		}
	}
	switch (b) {
	case 0x66: c->operand16 = true; return true;
	case 0x67: c->address_short = true; return true;
	case 0xf2:
	case 0xf3: c->rep = true; return true;
	case 0xf0: return true;
	default: return false;
	}
}

static void take_prefixes(struct cursor *c)
{
	while (c->p < c->end && legacy_prefix(c, *c->p))
		c->p++;
	if (c->mode == INSN_64 && c->p < c->end && (*c->p & 0xf0) == 0x40)
		c->rex = *c->p++;
}

unsigned insn_prefixes(const u8 *bytes, unsigned n, enum insn_mode mode)
{
	struct cursor c = { .p = bytes, .end = bytes + n, .mode = mode };

	take_prefixes(&c);
	return (unsigned)(c.p - bytes);
}

/* ---- operands ---- */

static u8 operand_bytes(const struct cursor *c)
{
	bool narrow = c->operand16 != (c->mode == INSN_16);

	return (c->rex & 8) ? 8 : narrow ? 2 : 4;
}

static u8 address_bytes(const struct cursor *c)
{
	if (c->mode == INSN_64)
		return c->address_short ? 4 : 8;
	return c->address_short != (c->mode == INSN_16) ? 2 : 4;
}

static int skip(struct cursor *c, unsigned n)
{
	if (c->end - c->p < (long)n)
		return -ENODATA;
	c->p += n;
	return 0;
}

/* ModRM of a memory operand: register number and sub-opcode come out, the address is skipped. */
static int take_modrm(struct cursor *c, struct insn *i, unsigned *sub)
{
	int b = next(c), mod, rm, disp;

	if (b < 0)
		return b;
	mod = b >> 6;
	rm = b & 7;
	*sub = (unsigned)(b >> 3) & 7;
	i->reg = (u8)(*sub | ((c->rex & 4) ? 8 : 0));
	if (mod == 3)
		return -EINVAL;
	if (address_bytes(c) == 2)
		return skip(c, mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 6) ? 2 : 0);
	disp = mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == 5) ? 4 : 0;
	if (rm == 4) {
		int sib = next(c);

		if (sib < 0)
			return sib;
		if (mod == 0 && (sib & 7) == 5)
			disp = 4;
	}
	return skip(c, (unsigned)disp);
}

static int take_imm(struct cursor *c, unsigned bytes, u64 *out)
{
	u64 v = 0;

	if (c->end - c->p < (long)bytes)
		return -ENODATA;
	memcpy(&v, c->p, bytes);
	c->p += bytes;
	*out = bytes == 1 ? (u64)(s64)(s8)v : bytes == 2 ? (u64)(s64)(s16)v : bytes == 4 ? (u64)(s64)(s32)v : v;
	return 0;
}

static void byte_register(const struct cursor *c, struct insn *i)
{
	i->high_byte = !c->rex && i->reg >= 4 && i->reg < 8;
}

/* ---- opcodes ---- */

static int with_modrm(struct cursor *c, struct insn *i, enum insn_op op, bool byte)
{
	unsigned sub;
	int err = take_modrm(c, i, &sub);

	if (err)
		return err;
	i->op = op;
	i->bytes = byte ? 1 : operand_bytes(c);
	i->reg_bytes = i->bytes;
	if (byte)
		byte_register(c, i);
	return 0;
}

static int with_imm(struct cursor *c, struct insn *i, unsigned imm_bytes)
{
	i->immediate = true;
	return take_imm(c, imm_bytes, &i->imm);
}

/* 80, 81, 83: arithmetic with an immediate; C6, C7: mov; F6, F7: test, not, neg; FE, FF: inc, dec. */
static int group(struct cursor *c, struct insn *i, u8 opcode)
{
	bool byte = !(opcode & 1);
	unsigned sub;
	int err = take_modrm(c, i, &sub);

	if (err)
		return err;
	i->bytes = i->reg_bytes = byte ? 1 : operand_bytes(c);
	i->alu = (u8)sub;
	switch (opcode & 0xfe) {
	case 0x80:
	case 0x82: i->op = INSN_ALU; return with_imm(c, i, opcode == 0x81 ? min(i->bytes, (u8)4) : 1);
	case 0xc6: i->op = INSN_STORE; return sub ? -EINVAL : with_imm(c, i, min(i->bytes, (u8)4));
	case 0xf6:
		i->op = sub == 2 ? INSN_NOT : sub == 3 ? INSN_NEG : INSN_TEST;
		return sub >= 4 ? -EINVAL : sub < 2 ? with_imm(c, i, min(i->bytes, (u8)4)) : 0;
	default: i->op = sub ? INSN_DEC : INSN_INC; return sub > 1 ? -EINVAL : 0;
	}
}

static int two_byte(struct cursor *c, struct insn *i)
{
	int b = next(c), err;
	unsigned sub;

	switch (b) {
	case 0xb6:
	case 0xb7:
	case 0xbe:
	case 0xbf:
		err = with_modrm(c, i, INSN_LOAD, false);
		i->bytes = b & 1 ? 2 : 1;
		i->sign_extend = b >= 0xbe;
		return err;
	case 0xba:
		err = take_modrm(c, i, &sub);
		if (err || sub < 4)
			return err ? err : -EINVAL;
		i->op = INSN_BIT;
		i->alu = (u8)sub;
		i->bytes = i->reg_bytes = operand_bytes(c);
		return with_imm(c, i, 1);
	default: return b < 0 ? b : -EINVAL;
	}
}

static int string_op(struct cursor *c, struct insn *i, u8 opcode)
{
	i->op = opcode < 0xa6 ? INSN_MOVS : opcode < 0xac ? INSN_STOS : INSN_LODS;
	i->bytes = i->reg_bytes = opcode & 1 ? operand_bytes(c) : 1;
	i->rep = c->rep;
	return 0;
}

static int one_byte(struct cursor *c, struct insn *i, u8 b)
{
	int err;

	if (b < 0x40 && (b & 7) < 4) { /* arithmetic, both directions */
		err = with_modrm(c, i, INSN_ALU, !(b & 1));
		i->alu = b >> 3;
		i->to_register = b & 2;
		return err;
	}
	switch (b) {
	case 0x63:
		if (c->mode != INSN_64)
			return -EINVAL;
		err = with_modrm(c, i, INSN_LOAD, false);
		i->bytes = 4;
		i->sign_extend = true;
		return err;
	case 0x80:
	case 0x81:
	case 0x83:
	case 0xc6:
	case 0xc7:
	case 0xf6:
	case 0xf7:
	case 0xfe:
	case 0xff: return group(c, i, b);
	case 0x84:
	case 0x85: return with_modrm(c, i, INSN_TEST, b == 0x84);
	case 0x86:
	case 0x87: return with_modrm(c, i, INSN_XCHG, b == 0x86);
	case 0x88:
	case 0x89: return with_modrm(c, i, INSN_STORE, b == 0x88);
	case 0x8a:
	case 0x8b: return with_modrm(c, i, INSN_LOAD, b == 0x8a);
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa3:
		i->op = b < 0xa2 ? INSN_LOAD : INSN_STORE;
		i->bytes = i->reg_bytes = b & 1 ? operand_bytes(c) : 1;
		return skip(c, address_bytes(c));
	case 0xa4:
	case 0xa5:
	case 0xaa:
	case 0xab:
	case 0xac:
	case 0xad: return string_op(c, i, b);
	default: return -EINVAL;
	}
}

int insn_decode(const u8 *bytes, unsigned n, enum insn_mode mode, struct insn *out)
{
	struct cursor c = { .p = bytes, .end = bytes + n, .mode = mode, .segment = 0xff };
	int b, err;

	memset(out, 0, sizeof(*out));
	take_prefixes(&c);
	b = next(&c);
	if (b < 0)
		return b;
	err = b == 0x0f ? two_byte(&c, out) : one_byte(&c, out, (u8)b);
	if (err)
		return err;
	out->length = (u8)(c.p - bytes);
	out->address_bytes = address_bytes(&c);
	out->segment = c.segment;
	return out->length > 15 ? -EINVAL : 0;
}

/* ---- effects ---- */

bool insn_reads(const struct insn *i)
{
	return i->op != INSN_STORE && i->op != INSN_STOS;
}

bool insn_writes(const struct insn *i)
{
	switch (i->op) {
	case INSN_LOAD:
	case INSN_TEST:
	case INSN_LODS: return false;
	case INSN_ALU: return !i->to_register && i->alu != 7;
	case INSN_BIT: return i->alu != 4;
	default: return true;
	}
}

static u64 mask_of(unsigned bytes)
{
	return bytes == 8 ? ~0ULL : (1ULL << bytes * 8) - 1;
}

static u64 get_register(const struct insn *i, const u64 gpr[16])
{
	return (i->high_byte ? gpr[i->reg - 4] >> 8 : gpr[i->reg]) & mask_of(i->reg_bytes);
}

static void set_register(const struct insn *i, u64 gpr[16], u64 v)
{
	u64 mask = mask_of(i->reg_bytes);

	if (i->high_byte)
		gpr[i->reg - 4] = (gpr[i->reg - 4] & ~0xff00ULL) | (v & 0xff) << 8;
	else if (i->reg_bytes >= 4)
		gpr[i->reg] = v & mask;
	else
		gpr[i->reg] = (gpr[i->reg] & ~mask) | (v & mask);
}

static u64 result_flags(u64 r, unsigned bytes)
{
	u64 sign = 1ULL << (bytes * 8 - 1);

	return (r & sign ? F_SF : 0) | (r & mask_of(bytes) ? 0 : F_ZF) | (__builtin_parity(r & 0xff) ? 0 : F_PF);
}

static u64 add(u64 a, u64 b, u64 carry, unsigned bytes, u64 *f)
{
	u64 mask = mask_of(bytes), r = (a + b + carry) & mask, sign = 1ULL << (bytes * 8 - 1);
	bool out = r < a || (carry && r == a);

	*f = (*f & ~ARITH_FLAGS) | result_flags(r, bytes) | (out ? F_CF : 0) | ((a ^ b ^ r) & F_AF) |
	     ((a ^ r) & (b ^ r) & sign ? F_OF : 0);
	return r;
}

static u64 subtract(u64 a, u64 b, u64 borrow, unsigned bytes, u64 *f)
{
	u64 mask = mask_of(bytes), r = (a - b - borrow) & mask, sign = 1ULL << (bytes * 8 - 1);
	bool out = a < b || (borrow && a == b);

	*f = (*f & ~ARITH_FLAGS) | result_flags(r, bytes) | (out ? F_CF : 0) | ((a ^ b ^ r) & F_AF) |
	     ((a ^ b) & (a ^ r) & sign ? F_OF : 0);
	return r;
}

static u64 logic(u64 r, unsigned bytes, u64 *f)
{
	*f = (*f & ~ARITH_FLAGS) | result_flags(r, bytes);
	return r & mask_of(bytes);
}

static u64 alu(unsigned op, u64 a, u64 b, unsigned bytes, u64 *f)
{
	switch (op) {
	case 0: return add(a, b, 0, bytes, f);
	case 1: return logic(a | b, bytes, f);
	case 2: return add(a, b, *f & F_CF, bytes, f);
	case 3: return subtract(a, b, *f & F_CF, bytes, f);
	case 4: return logic(a & b, bytes, f);
	case 6: return logic(a ^ b, bytes, f);
	default: return subtract(a, b, 0, bytes, f); /* sub, cmp */
	}
}

static u64 bit(const struct insn *i, u64 memory, u64 *flags)
{
	u64 m = 1ULL << (i->imm & (i->bytes * 8 - 1U));

	*flags = (*flags & ~F_CF) | (memory & m ? F_CF : 0);
	return i->alu == 5 ? memory | m : i->alu == 6 ? memory & ~m : i->alu == 7 ? memory ^ m : memory;
}

static u64 inc_dec(const struct insn *i, u64 memory, u64 *flags)
{
	u64 carry = *flags & F_CF;
	u64 r = i->op == INSN_INC ? add(memory, 1, 0, i->bytes, flags) : subtract(memory, 1, 0, i->bytes, flags);

	*flags = (*flags & ~F_CF) | carry;
	return r;
}

static void step_string(const struct insn *i, u64 *index, u64 flags)
{
	u64 mask = mask_of(i->address_bytes);

	*index = (*index & ~mask) | ((*index + (flags & F_DF ? -(u64)i->bytes : i->bytes)) & mask);
	if (i->address_bytes == 4)
		*index &= mask;
}

u64 insn_apply(const struct insn *i, u64 gpr[16], u64 *flags, u64 memory)
{
	u64 mask = mask_of(i->bytes), other = i->immediate ? i->imm & mask : get_register(i, gpr) & mask;

	memory &= mask;
	switch (i->op) {
	case INSN_LOAD:
		if (i->sign_extend)
			memory = (u64)((s64)(memory << (64 - i->bytes * 8)) >> (64 - i->bytes * 8));
		set_register(i, gpr, memory);
		return 0;
	case INSN_STORE: return other;
	case INSN_ALU:
		if (i->to_register) {
			u64 r = alu(i->alu, other, memory, i->bytes, flags);

			if (i->alu != 7)
				set_register(i, gpr, r);
			return 0;
		}
		return alu(i->alu, memory, other, i->bytes, flags);
	case INSN_TEST: logic(memory & other, i->bytes, flags); return 0;
	case INSN_INC:
	case INSN_DEC: return inc_dec(i, memory, flags);
	case INSN_NOT: return ~memory & mask;
	case INSN_NEG: return subtract(0, memory, 0, i->bytes, flags);
	case INSN_XCHG: set_register(i, gpr, memory); return other;
	case INSN_BIT: return bit(i, memory, flags);
	case INSN_STOS: step_string(i, &gpr[7], *flags); return gpr[0] & mask;
	default: /* LODS */
		set_register(i, gpr, memory);
		step_string(i, &gpr[6], *flags);
		return 0;
	}
}
