/* SPDX-License-Identifier: MIT
 *
 * Problem: which memory does this instruction touch, and where does the next one begin? Encodings have grown for 45
 * years, but the questions need no meanings, only shapes.
 *
 * Idea: one word of shape for each opcode of the first two maps (ModRM, immediates, direction, width); the other maps
 * are regular. Groups whose direction depends on ModRM have a small function each (x86_access.c).
 *
 *   prefixes, REX --> VEX or EVEX, or escape bytes --> opcode: shape --> ModRM, SIB, displacement --> immediate
 *
 * Contract: lib/x86_insn.h. No byte beyond n is read. Undefined opcodes inside a map of defined ones are not told apart
 * where nobody needs it. The oracle is Zydis, in tests/unit/test_x86_insn.c, over whole libraries.
 *
 * Locks: none.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "x86_insn_priv.h"

struct cursor {
	const u8 *p, *end;
	enum x86_mode mode;
	bool operand16, address_short;
};

static int next(struct cursor *c)
{
	return c->p < c->end ? *c->p++ : -ENODATA;
}

/* ---- shapes -------------------------------------------------------------------------------------------------- */

/* Arithmetic in eight rows of eight: Eb,Gb Ev,Gv Gb,Eb Gv,Ev AL,Ib eAX,Iz and two old ones. */
#define ARITH(at)                                                                                                      \
	[at] = M | R | W | B, [at + 1] = M | R | W, [at + 2] = M | R | B, [at + 3] = M | R, [at + 4] = I1, [at + 5] = IZ

static const u16 one_byte[256] = {
	ARITH(0x00),
	[0x06] = OLD,
	[0x07] = OLD,
	ARITH(0x08),
	[0x0e] = OLD,
	ARITH(0x10),
	[0x16] = OLD,
	[0x17] = OLD,
	ARITH(0x18),
	[0x1e] = OLD,
	[0x1f] = OLD,
	ARITH(0x20),
	[0x27] = OLD,
	ARITH(0x28),
	[0x2f] = OLD,
	ARITH(0x30),
	[0x37] = OLD,
	[0x38] = M | R | B,
	[0x39] = M | R,
	[0x3a] = M | R | B,
	[0x3b] = M | R,
	[0x3c] = I1,
	[0x3d] = IZ,
	[0x3f] = OLD,
	[0x60 ... 0x61] = OLD,
	[0x62] = M | R | OLD,
	[0x63] = M | R,
	[0x68] = IZ,
	[0x69] = M | R | IZ,
	[0x6a] = I1,
	[0x6b] = M | R | I1,
	[0x70 ... 0x7f] = I1,
	[0x80] = M | R | W | B | I1,
	[0x81] = M | R | W | IZ,
	[0x82] = M | R | W | B | I1 | OLD,
	[0x83] = M | R | W | I1,
	[0x84] = M | R | B,
	[0x85] = M | R,
	[0x86] = M | R | W | B,
	[0x87] = M | R | W,
	[0x88] = M | W | B,
	[0x89] = M | W,
	[0x8a] = M | R | B,
	[0x8b] = M | R,
	[0x8c] = M | W | H,
	[0x8d] = M,
	[0x8e] = M | R | H,
	[0x8f] = M | W | Q,
	[0x9a] = FAR_PTR | OLD,
	[0xa0] = OFFS | R | B,
	[0xa1] = OFFS | R,
	[0xa2] = OFFS | W | B,
	[0xa3] = OFFS | W,
	[0xa8] = I1,
	[0xa9] = IZ,
	[0xb0 ... 0xb7] = I1,
	[0xb8 ... 0xbf] = IV,
	[0xc0] = M | R | W | B | I1,
	[0xc1] = M | R | W | I1,
	[0xc2] = I2,
	[0xc4 ... 0xc5] = M | R | OLD,
	[0xc6] = M | W | B | I1,
	[0xc7] = M | W | IZ,
	[0xc8] = I2 | I1,
	[0xca] = I2,
	[0xcd] = I1,
	[0xce] = OLD,
	[0xd0] = M | R | W | B,
	[0xd1] = M | R | W,
	[0xd2] = M | R | W | B,
	[0xd3] = M | R | W,
	[0xd4 ... 0xd5] = I1 | OLD,
	[0xd6] = OLD,
	[0xd8 ... 0xdf] = M,
	[0xe0 ... 0xe7] = I1,
	[0xe8 ... 0xe9] = IJ,
	[0xea] = FAR_PTR | OLD,
	[0xeb] = I1,
	[0xf6] = M | R | B,
	[0xf7] = M | R,
	[0xfe] = M | R | W | B,
	[0xff] = M | R | W,
};

static const u16 two_byte[256] = {
	[0x00 ... 0x01] = M,
	[0x02 ... 0x03] = M | R | H,
	[0x04] = NONE,
	[0x0a] = NONE,
	[0x0c] = NONE,
	[0x0d] = M,
	[0x0f] = M | R | I1,
	[0x10 ... 0x17] = M,
	[0x18 ... 0x1f] = M,
	[0x20 ... 0x23] = M,
	[0x24 ... 0x27] = NONE,
	[0x28 ... 0x2f] = M,
	[0x36] = NONE,
	[0x39] = NONE,
	[0x3b ... 0x3f] = NONE,
	[0x40 ... 0x4f] = M | R,
	[0x50 ... 0x6f] = M,
	[0x70 ... 0x73] = M | I1,
	[0x74 ... 0x76] = M,
	[0x78] = M | W | Q,
	[0x79] = M | R | Q,
	[0x7a ... 0x7b] = M,
	[0x7c ... 0x7f] = M,
	[0x80 ... 0x8f] = IJ,
	[0x90 ... 0x9f] = M | W | B,
	[0xa3] = M | R,
	[0xa4] = M | R | W | I1,
	[0xa5] = M | R | W,
	[0xa6 ... 0xa7] = M,
	[0xab] = M | R | W,
	[0xac] = M | R | W | I1,
	[0xad] = M | R | W,
	[0xae] = M,
	[0xaf] = M | R,
	[0xb0] = M | R | W | B,
	[0xb1] = M | R | W,
	[0xb2] = M | R,
	[0xb3] = M | R | W,
	[0xb4 ... 0xb5] = M | R,
	[0xb6] = M | R | B,
	[0xb7] = M | R | H,
	[0xb8] = M | R,
	[0xb9] = M | R,
	[0xba] = M | R | W | I1,
	[0xbb] = M | R | W,
	[0xbc ... 0xbd] = M | R,
	[0xbe] = M | R | B,
	[0xbf] = M | R | H,
	[0xc0] = M | R | W | B,
	[0xc1] = M | R | W,
	[0xc2] = M | I1,
	[0xc3] = M | W,
	[0xc4 ... 0xc6] = M | I1,
	[0xc7] = M,
	[0xd0 ... 0xff] = M,
};

static u16 shape_of(const struct x86_insn *i)
{
	switch (i->map) {
	case X86_MAP_ONE: return one_byte[i->opcode];
	case X86_MAP_0F:
		if (i->opcode == 0x78 && i->prefix && i->encoding == X86_LEGACY) /* SSE4a's extrq and insertq */
			return M | I1 | I1_TWICE;
		return two_byte[i->opcode];
	case X86_MAP_0F38: return M;
	default: return M | I1;
	}
}

/* ---- prefixes ------------------------------------------------------------------------------------------------ */

/* Most bytes are none: told by a bit each. */
static bool is_legacy_prefix(u8 b)
{
	static const u32 bits[8] = { [1] = 0x40404040, [3] = 0xf0, [7] = 0xd0000 };

	return bits[b >> 5] >> (b & 31) & 1;
}

static bool legacy_prefix(struct cursor *c, struct x86_insn *i, u8 b)
{
	static const u8 segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };

	if (!is_legacy_prefix(b))
		return false;
	for (unsigned s = 0; s < ARRAY_SIZE(segments); s++)
		if (b == segments[s]) {
			/* In 64-bit code only FS and GS have a base, and the others do not undo them. */
			if (c->mode != X86_CODE_64 || s >= 4)
				i->segment = (u8)s;
			return true;
		}
	switch (b) {
	case 0x66: c->operand16 = true; return true;
	case 0x67: c->address_short = true; return true;
	case 0xf2: i->prefix = X86_PREFIX_F2; return true;
	case 0xf3: i->prefix = X86_PREFIX_F3; return true;
	case 0xf0: i->is_locked = true; return true;
	default: return false;
	}
}

static void take_prefixes(struct cursor *c, struct x86_insn *i)
{
	const u8 *start = c->p;

	i->segment = 0xff;
	for (; c->p < c->end; c->p++) {
		if (legacy_prefix(c, i, *c->p)) {
			i->has_rex = false; /* a REX that is not the last prefix is ignored */
			i->rex = 0;
		} else if (c->mode == X86_CODE_64 && (*c->p & 0xf0) == 0x40) {
			i->has_rex = true;
			i->rex = *c->p & 15;
		} else {
			break;
		}
	}
	if (!i->prefix && c->operand16)
		i->prefix = X86_PREFIX_66;
	i->prefix_bytes = (u8)(c->p - start);
}

/* C5, C4: R, X, B are stored inverted. */
static int take_vex(struct cursor *c, struct x86_insn *i, u8 first)
{
	int a = next(c), b;

	if (a < 0)
		return a;
	i->encoding = X86_VEX;
	i->map = X86_MAP_0F;
	i->rex = ~a >> 5 & 4;
	if (first == 0xc4) {
		b = next(c);
		if (b < 0)
			return b;
		if ((a & 31) < 1 || (a & 31) > 3)
			return -EINVAL;
		i->map = a & 31;
		i->rex = (~a >> 5 & 7) | (b >> 4 & 8);
		a = b;
	}
	i->prefix = a & 3;
	i->vector_bytes = a & 4 ? 32 : 16;
	return 0;
}

static int take_evex(struct cursor *c, struct x86_insn *i)
{
	int a = next(c), b = a < 0 ? a : next(c), d = b < 0 ? b : next(c);

	if (d < 0)
		return d;
	if ((a & 8) || !(b & 4) || (a & 7) < 1 || (a & 7) > 3 || (d & 0x60) == 0x60)
		return -EINVAL;
	i->encoding = X86_EVEX;
	i->map = a & 3;
	i->rex = (~a >> 5 & 7) | (b >> 4 & 8);
	i->prefix = b & 3;
	i->vector_bytes = (u8)(16 << (d >> 5 & 3));
	return 0;
}

/* In 16- and 32-bit code these bytes are old instructions if what follows is a memory operand. */
static bool is_vector_prefix(const struct cursor *c, u8 b)
{
	if (b != 0xc4 && b != 0xc5 && b != 0x62)
		return false;
	return c->mode == X86_CODE_64 || (c->p < c->end && *c->p >= 0xc0);
}

static int take_opcode(struct cursor *c, struct x86_insn *i)
{
	int b = next(c), err = 0;

	if (b < 0)
		return b;
	if (is_vector_prefix(c, (u8)b)) {
		if (i->has_rex || i->is_locked || i->prefix)
			return -EINVAL;
		err = b == 0x62 ? take_evex(c, i) : take_vex(c, i, (u8)b);
		b = err ? err : next(c);
	} else if (b == 0x0f) {
		b = next(c);
		i->map = b == 0x38 ? X86_MAP_0F38 : b == 0x3a ? X86_MAP_0F3A : X86_MAP_0F;
		if (i->map != X86_MAP_0F)
			b = next(c);
	}
	if (b < 0)
		return b;
	i->opcode = (u8)b;
	return 0;
}

/* ---- operands ------------------------------------------------------------------------------------------------ */

static void set_widths(const struct cursor *c, struct x86_insn *i)
{
	bool narrow = c->operand16 != (c->mode == X86_CODE_16);

	i->operand_bytes = i->rex & 8 ? 8 : narrow ? 2 : 4;
	if (i->encoding != X86_LEGACY)
		i->operand_bytes = i->rex & 8 ? 8 : 4;
	else
		i->vector_bytes = 16;
	if (c->mode == X86_CODE_64)
		i->address_bytes = c->address_short ? 4 : 8;
	else
		i->address_bytes = c->address_short != (c->mode == X86_CODE_16) ? 2 : 4;
}

static int take_number(struct cursor *c, unsigned bytes, u64 *out)
{
	u64 v = 0;

	*out = 0;
	if (!bytes)
		return 0;
	if (c->end - c->p < (long)bytes)
		return -ENODATA;
	for (unsigned b = 0; b < bytes; b++)
		v |= (u64)c->p[b] << b * 8;
	c->p += bytes;
	v <<= 64 - bytes * 8; /* up and down again: the sign */
	*out = (u64)((s64)v >> (64 - bytes * 8));
	return 0;
}

static int take_sib(struct cursor *c, struct x86_insn *i, unsigned mod, unsigned *disp)
{
	int sib = next(c);

	if (sib < 0)
		return sib;
	i->scale = (u8)(1 << (sib >> 6));
	i->index = (s8)((sib >> 3 & 7) | ((i->rex & 2) << 2));
	if (i->index == 4)
		i->index = -1;
	i->base = (s8)((sib & 7) | ((i->rex & 1) << 3));
	if (!mod && (sib & 7) == 5) {
		i->base = -1;
		*disp = 4;
	}
	return 0;
}

static int take_modrm(struct cursor *c, struct x86_insn *i)
{
	int b = next(c), err = 0;
	unsigned mod, rm, disp;
	u64 v = 0;

	if (b < 0)
		return b;
	i->has_modrm = true;
	i->modrm = (u8)b;
	mod = i->modrm >> 6;
	rm = i->modrm & 7;
	if (mod == 3 || (i->map == X86_MAP_0F && i->opcode >= 0x20 && i->opcode <= 0x23)) /* mov cr, dr: registers */
		return 0;
	i->has_memory = true;
	if (i->address_bytes == 2) {
		disp = mod == 1 ? 1 : mod == 2 || (!mod && rm == 6) ? 2 : 0;
		err = take_number(c, disp, &v);
		i->disp = (s64)v;
		return err;
	}
	disp = mod == 1 ? 1 : mod == 2 || (!mod && rm == 5) ? 4 : 0;
	if (rm == 4)
		err = take_sib(c, i, mod, &disp);
	else if (!mod && rm == 5)
		i->is_rip_relative = c->mode == X86_CODE_64;
	else
		i->base = (s8)(rm | ((i->rex & 1) << 3));
	if (!err)
		err = take_number(c, disp, &v);
	i->disp = (s64)v;
	i->has_no_address = i->encoding == X86_EVEX && mod == 1 && v;
	return err;
}

static int take_immediates(struct cursor *c, struct x86_insn *i, u16 shape)
{
	unsigned z = i->operand_bytes == 2 ? 2 : 4, first = 0, second = 0;
	u64 unused;
	int err;

	if (!(shape & (I1 | I2 | I1_TWICE | IZ | IJ | IV | FAR_PTR)) && (i->opcode & 0xfe) != 0xf6)
		return 0;
	if (shape & I1)
		first = 1;
	if (shape & I2) {
		second = first;
		first = 2;
	}
	if (shape & I1_TWICE)
		second = 1;
	if ((shape & IZ) || (i->map == X86_MAP_ONE && i->opcode == 0xf7 && x86_insn_sub(i) < 2))
		first = z;
	if (shape & IJ)
		first = c->mode == X86_CODE_64 ? 4 : z;
	if (shape & IV)
		first = i->operand_bytes;
	if (i->map == X86_MAP_ONE && i->opcode == 0xf6 && x86_insn_sub(i) < 2)
		first = 1;
	if (shape & FAR_PTR) {
		first = z;
		second = 2;
	}
	err = take_number(c, first, &i->imm);
	i->imm_bytes = (u8)first;
	return err ? err : take_number(c, second, &unused);
}

static int take_offset(struct cursor *c, struct x86_insn *i)
{
	u64 v;
	int err = take_number(c, i->address_bytes, &v);

	if (err)
		return err;
	i->has_memory = true;
	i->disp = i->address_bytes == 4 ? (s64)(u32)v : (s64)v;
	return 0;
}

int x86_insn_decode(const u8 *bytes, unsigned n, enum x86_mode mode, struct x86_insn *i)
{
	struct cursor c = { .p = bytes, .end = bytes + min(n, (unsigned)X86_INSN_MOST), .mode = mode };
	u16 shape;
	int err;

	*i = (struct x86_insn){ .base = -1, .index = -1 };
	take_prefixes(&c, i);
	err = take_opcode(&c, i);
	if (err)
		goto out;
	set_widths(&c, i);
	shape = shape_of(i);
	if ((shape & NONE) || ((shape & OLD) && mode == X86_CODE_64))
		return -EINVAL;
	if (shape & M)
		err = take_modrm(&c, i);
	else if (shape & OFFS)
		err = take_offset(&c, i);
	if (!err)
		err = take_immediates(&c, i, shape);
	i->length = (u8)(c.p - bytes);
	if (!err && i->has_memory)
		x86_insn_access(i, shape);
out:
	return err == -ENODATA && n >= X86_INSN_MOST ? -EINVAL : err;
}

u64 x86_insn_address(const struct x86_insn *i, u64 ip, const u64 gpr[16])
{
	u64 a = (u64)i->disp;

	if (i->is_rip_relative)
		a += ip + i->length;
	if (i->base >= 0)
		a += gpr[i->base];
	if (i->index >= 0)
		a += gpr[i->index] * i->scale;
	return i->address_bytes == 4 ? (u32)a : a;
}
