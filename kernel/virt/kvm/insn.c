/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest touches a device's register by any instruction that has a memory operand; the processor says only
 * that an address faulted, not what was to be read or written.
 *
 * Idea: the address is known from the fault, and lib/x86_insn.h gives length and fields; here an opcode becomes an
 * operation on a register and the operand's value, and the caller does the access itself, in the kernel or by a trip
 * to the VMM.
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

/* ---- operations ---- */

static int with_register(const struct x86_insn *d, struct insn *i, enum insn_op op)
{
	i->op = op;
	i->bytes = i->reg_bytes = (d->opcode & 1) ? d->operand_bytes : 1;
	i->high_byte = i->bytes == 1 && !d->has_rex && i->reg >= 4 && i->reg < 8;
	return 0;
}

/* 80, 81, 83: arithmetic with an immediate; C6, C7: mov; F6, F7: test, not, neg; FE, FF: inc, dec. */
static int group(const struct x86_insn *d, struct insn *i)
{
	unsigned sub = x86_insn_sub(d);

	i->bytes = i->reg_bytes = d->opcode & 1 ? d->operand_bytes : 1;
	i->alu = (u8)sub;
	i->immediate = d->imm_bytes;
	switch (d->opcode & 0xfe) {
	case 0x80:
	case 0x82: i->op = INSN_ALU; return 0;
	case 0xc6: i->op = INSN_STORE; return sub ? -EINVAL : 0;
	case 0xf6: i->op = sub == 2 ? INSN_NOT : sub == 3 ? INSN_NEG : INSN_TEST; return sub >= 4 ? -EINVAL : 0;
	default: i->op = sub ? INSN_DEC : INSN_INC; return sub > 1 ? -EINVAL : 0;
	}
}

static int two_byte(const struct x86_insn *d, struct insn *i)
{
	i->bytes = i->reg_bytes = d->operand_bytes;
	switch (d->opcode) {
	case 0xb6:
	case 0xb7:
	case 0xbe:
	case 0xbf:
		i->op = INSN_LOAD;
		i->bytes = d->opcode & 1 ? 2 : 1;
		i->sign_extend = d->opcode >= 0xbe;
		return 0;
	case 0xba:
		i->op = INSN_BIT;
		i->alu = (u8)x86_insn_sub(d);
		i->immediate = true;
		return i->alu < 4 ? -EINVAL : 0;
	default: return -EINVAL;
	}
}

static int string_op(const struct x86_insn *d, struct insn *i)
{
	i->op = d->opcode < 0xa6 ? INSN_MOVS : d->opcode < 0xac ? INSN_STOS : INSN_LODS;
	i->bytes = i->reg_bytes = d->opcode & 1 ? d->operand_bytes : 1;
	i->rep = d->prefix >= X86_PREFIX_F3;
	return 0;
}

static int one_byte(const struct x86_insn *d, struct insn *i)
{
	u8 b = d->opcode;

	if (b < 0x40 && (b & 7) < 4) { /* arithmetic, both directions */
		i->alu = b >> 3;
		i->to_register = b & 2;
		return with_register(d, i, INSN_ALU);
	}
	switch (b) {
	case 0x63:
		i->op = INSN_LOAD;
		i->bytes = 4;
		i->reg_bytes = d->operand_bytes;
		i->sign_extend = true;
		return 0;
	case 0x80:
	case 0x81:
	case 0x83:
	case 0xc6:
	case 0xc7:
	case 0xf6:
	case 0xf7:
	case 0xfe:
	case 0xff: return group(d, i);
	case 0x84:
	case 0x85: return with_register(d, i, INSN_TEST);
	case 0x86:
	case 0x87: return with_register(d, i, INSN_XCHG);
	case 0x88:
	case 0x89: return with_register(d, i, INSN_STORE);
	case 0x8a:
	case 0x8b: return with_register(d, i, INSN_LOAD);
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa3:
		i->op = b < 0xa2 ? INSN_LOAD : INSN_STORE;
		i->bytes = i->reg_bytes = b & 1 ? d->operand_bytes : 1;
		return 0;
	default: return -EINVAL;
	}
}

static bool is_string_op(const struct x86_insn *d)
{
	u8 b = d->opcode;

	return d->map == X86_MAP_ONE && (b == 0xa4 || b == 0xa5 || (b >= 0xaa && b <= 0xad));
}

int insn_decode(const u8 *bytes, unsigned n, enum x86_mode mode, struct insn *out)
{
	struct x86_insn d;
	int err = x86_insn_decode(bytes, n, mode, &d);

	memset(out, 0, sizeof(*out));
	if (err)
		return err;
	out->length = d.length;
	out->address_bytes = d.address_bytes;
	out->segment = d.segment;
	out->reg = (u8)(x86_insn_sub(&d) | (d.rex & 4) << 1);
	out->imm = d.imm;
	if (is_string_op(&d))
		return string_op(&d, out);
	if (!d.has_memory || d.encoding != X86_LEGACY)
		return -EINVAL;
	if (!d.has_modrm)
		out->reg = 0; /* moffs: the accumulator */
	return d.map == X86_MAP_ONE ? one_byte(&d, out) : d.map == X86_MAP_0F ? two_byte(&d, out) : -EINVAL;
}

unsigned insn_prefixes(const u8 *bytes, unsigned n, enum x86_mode mode)
{
	struct x86_insn d;

	(void)!x86_insn_decode(bytes, n, mode, &d);
	return d.prefix_bytes;
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
