/* SPDX-License-Identifier: MIT
 *
 * Problem: whether an instruction reads or writes its memory operand, and how much of it, depends on the opcode, for
 * groups on ModRM, for vector instructions on prefixes and vector length.
 *
 * Idea: integer opcodes say it in their shape, their groups are corrected here; the x87 has a table of eight by eight;
 * vector instructions read a whole vector unless listed.
 *
 * Contract: x86_insn_priv.h. Sizes of vector operands with EVEX broadcast or with masks are those of the whole.
 *
 * Locks: none.
 */
#include "x86_insn_priv.h"

static void set(struct x86_insn *i, bool reads, bool writes, unsigned bytes)
{
	i->reads = reads;
	i->writes = writes;
	i->access_bytes = (u16)bytes;
}

/* ---- groups of the first map ----------------------------------------------------------------------------------- */

/* D8 to DF by ModRM's sub-opcode: lower case reads, upper case writes; the letters are sizes: w 2, d 4, q 8, t 10,
 * e 28, s 108; a dot is undefined. */
static const char x87[8][9] = { "dddddddd", "d.DDewEW", "dddddddd", "dDDD.t.T",
				"qqqqqqqq", "qQQQs.SW", "wwwwwwww", "wWWWtqTQ" };

static void access_x87(struct x86_insn *i)
{
	static const char letters[] = "wdqtes";
	static const u8 bytes[] = { 2, 4, 8, 10, 28, 108 };
	char what = x87[i->opcode & 7][x86_insn_sub(i)];

	for (unsigned n = 0; n < sizeof(bytes); n++)
		if ((what | 0x20) == letters[n])
			set(i, what & 0x20, !(what & 0x20), bytes[n]);
	if (i->access_bytes > 10 && i->operand_bytes == 2)
		i->access_bytes -= 14; /* the environment of 16-bit code */
}

static void access_one_byte(struct x86_insn *i)
{
	unsigned sub = x86_insn_sub(i), wide = i->opcode & 1 ? i->operand_bytes : 1;
	unsigned slot = i->address_bytes == 2 ? 2 : i->operand_bytes == 2 ? 2 : 8;

	switch (i->opcode) {
	case 0x63: i->access_bytes = 4; break;
	case 0x80:
	case 0x81:
	case 0x83: i->writes = sub != 7; break;
	case 0xf6:
	case 0xf7: set(i, true, sub == 2 || sub == 3, wide); break;
	case 0xff:
		if (sub == 3 || sub == 5) /* far: selector and offset */
			set(i, true, false, i->operand_bytes + 2u);
		else if (sub >= 2)
			set(i, true, false, sub == 6 ? slot : 8);
		break;
	case 0xc4:
	case 0xc5: i->access_bytes = (u16)(i->operand_bytes + 2); break;
	case 0xd8 ... 0xdf: access_x87(i); break;
	default: break;
	}
}

/* ---- the second map: system and integer groups --------------------------------------------------------------------
 */

static void access_ae(struct x86_insn *i)
{
	switch (x86_insn_sub(i)) {
	case 0: set(i, false, true, 512); break;
	case 1: set(i, true, false, 512); break;
	case 2: set(i, true, false, 4); break;
	case 3: set(i, false, true, 4); break;
	case 4: set(i, true, true, 0); break;
	case 5: set(i, true, false, 0); break;
	case 6:
		if (i->prefix == X86_NO_PREFIX)
			set(i, true, true, 0);
		break;
	default: break; /* clflush */
	}
}

static void access_c7(struct x86_insn *i)
{
	switch (x86_insn_sub(i)) {
	case 1: set(i, true, true, i->rex & 8 ? 16 : 8); break;
	case 3: set(i, true, false, 0); break;
	case 4:
	case 5: set(i, false, true, 0); break;
	case 6: set(i, true, false, 8); break;
	case 7: set(i, false, true, 8); break;
	default: break;
	}
}

static void access_system(struct x86_insn *i)
{
	unsigned sub = x86_insn_sub(i);

	if (!i->opcode)
		set(i, sub >= 2, sub < 2, 2);
	else if (sub < 4)
		set(i, sub >= 2, sub < 2, 10);
	else if (sub == 4 || sub == 6)
		set(i, sub == 6, sub == 4, 2);
}

/* ---- vectors ------------------------------------------------------------------------------------------------------
 */

/* An instruction of SSE on a scalar, a double of it, or a whole vector, as its prefix says. */
static unsigned scalar_or(const struct x86_insn *i, unsigned whole)
{
	return i->prefix == X86_PREFIX_F3 ? 4 : i->prefix == X86_PREFIX_F2 ? 8 : whole;
}

/* The original MMX registers have eight bytes. */
static unsigned whole_vector(const struct x86_insn *i)
{
	bool mmx = i->encoding == X86_LEGACY && !i->prefix && i->map == X86_MAP_0F && i->opcode >= 0x60 &&
		   i->opcode != 0xc2 && i->opcode != 0xc6;

	if (i->map == X86_MAP_0F38 && i->encoding == X86_LEGACY && !i->prefix && i->opcode < 0x20)
		mmx = true;
	if (i->map == X86_MAP_0F3A && i->encoding == X86_LEGACY && !i->prefix && i->opcode == 0x0f)
		mmx = true;
	return mmx ? 8 : i->vector_bytes;
}

static void access_moves(struct x86_insn *i, unsigned whole)
{
	bool store = i->opcode & 1;

	switch (i->opcode) {
	case 0x10:
	case 0x11: set(i, !store, store, scalar_or(i, whole)); break;
	case 0x12:
		if (i->prefix == X86_PREFIX_F3 || (i->prefix == X86_PREFIX_F2 && i->vector_bytes > 16))
			set(i, true, false, whole);
		else
			set(i, true, false, 8);
		break;
	case 0x13:
	case 0x17: set(i, false, true, 8); break;
	case 0x16: set(i, true, false, i->prefix == X86_PREFIX_F3 ? whole : 8); break;
	case 0x2b: set(i, false, true, scalar_or(i, whole)); break;
	default: set(i, !store, store, whole); break; /* 28, 29 and the unpacks 14, 15 */
	}
	if (i->opcode == 0x15)
		set(i, true, false, whole);
}

static unsigned converted_bytes(const struct x86_insn *i, unsigned whole)
{
	bool scalar = i->prefix >= X86_PREFIX_F3;

	switch (i->opcode) {
	case 0x2a: return scalar ? min(max(i->operand_bytes, (u8)4), (u8)8) : 8;
	case 0x2c:
	case 0x2d: return scalar_or(i, i->prefix ? whole : 8);
	case 0x2e:
	case 0x2f: return i->prefix ? 8 : 4;
	case 0x5a: return scalar_or(i, i->prefix ? whole : whole / 2);
	default: return i->prefix == X86_PREFIX_F3 ? whole / 2 : whole; /* e6 */
	}
}

static void access_mask(struct x86_insn *i)
{
	unsigned wide = i->rex & 8 ? (i->prefix ? 4 : 8) : i->prefix ? 1 : 2;

	set(i, i->opcode == 0x90, i->opcode == 0x91, wide);
}

static void access_0f_vector(struct x86_insn *i)
{
	unsigned whole = whole_vector(i), general = i->rex & 8 ? 8 : 4;

	switch (i->opcode) {
	case 0x10 ... 0x17:
	case 0x28 ... 0x29:
	case 0x2b: access_moves(i, whole); break;
	case 0x2a:
	case 0x2c ... 0x2f:
	case 0x5a:
	case 0xe6: set(i, true, false, converted_bytes(i, whole)); break;
	case 0x51 ... 0x53:
	case 0x58 ... 0x59:
	case 0x5c ... 0x5f:
	case 0xc2: set(i, true, false, scalar_or(i, whole)); break;
	case 0x60 ... 0x62: set(i, true, false, whole == 8 ? 4 : whole); break;
	case 0x6e: set(i, true, false, general); break;
	case 0x7e:
		if (i->prefix == X86_PREFIX_F3)
			set(i, true, false, 8);
		else
			set(i, false, true, general);
		break;
	case 0x7f:
	case 0xe7: set(i, false, true, whole); break;
	case 0xd6: set(i, false, true, 8); break;
	case 0xc4: set(i, true, false, 2); break;
	case 0xd1 ... 0xd3: /* shifts by a whole register's count */
	case 0xe1 ... 0xe2:
	case 0xf1 ... 0xf3: set(i, true, false, whole == 8 ? 8 : 16); break;
	default: set(i, true, false, whole); break;
	}
}

static bool is_0f_vector(const struct x86_insn *i)
{
	u8 o = i->opcode;

	return (o >= 0x10 && o <= 0x17) || (o >= 0x28 && o <= 0x2f) || (o >= 0x50 && o <= 0x77) ||
	       (o >= 0x7a && o <= 0x7f) || o == 0xc2 || (o >= 0xc4 && o <= 0xc6) || o >= 0xd0;
}

static void access_0f(struct x86_insn *i)
{
	if (i->encoding != X86_LEGACY && (i->opcode == 0x90 || i->opcode == 0x91)) {
		access_mask(i);
		return;
	}
	if (is_0f_vector(i)) {
		access_0f_vector(i);
		return;
	}
	switch (i->opcode) {
	case 0x00:
	case 0x01: access_system(i); break;
	case 0x0f: i->access_bytes = 8; break;
	case 0xae: access_ae(i); break;
	case 0xb2:
	case 0xb4:
	case 0xb5: i->access_bytes = (u16)(i->operand_bytes + 2); break;
	case 0xba: i->writes = x86_insn_sub(i) != 4; break;
	case 0xc7: access_c7(i); break;
	default: break;
	}
}

/* ---- 0F 38 and 0F 3A ----------------------------------------------------------------------------------------------
 */

static void access_0f38_integer(struct x86_insn *i)
{
	bool crc = i->prefix == X86_PREFIX_F2 && i->encoding == X86_LEGACY;

	switch (i->opcode) {
	case 0xf0: set(i, true, false, crc ? 1 : i->operand_bytes); break;
	case 0xf1: set(i, crc, !crc, i->operand_bytes); break;
	case 0xf8: set(i, true, false, 64); break;
	case 0xf9: set(i, false, true, i->operand_bytes); break;
	default: set(i, true, false, max(i->operand_bytes, (u8)4)); break;
	}
	if (i->encoding == X86_LEGACY &&
	    ((i->opcode == 0xf5 && i->prefix) || (i->opcode == 0xf6 && i->prefix == X86_NO_PREFIX)))
		set(i, false, true, max(i->operand_bytes, (u8)4)); /* wruss, wrss */
}

static void access_0f38(struct x86_insn *i)
{
	static const u8 narrowing[] = { 2, 4, 8, 2, 4, 2 };
	unsigned whole = whole_vector(i), o = i->opcode;
	bool fma = o >= 0x96 && o <= 0xbf && (o & 15) >= 6;

	set(i, true, false, whole);
	if ((o >= 0x20 && o <= 0x25) || (o >= 0x30 && o <= 0x35))
		i->access_bytes = (u16)(whole / narrowing[o & 7]);
	if (i->encoding == X86_EVEX && i->prefix == X86_PREFIX_F3 && o >= 0x10 && o <= 0x35 && (o & 7) < 6)
		set(i, false, true, whole / narrowing[o & 7]);
	if (fma && (o & 15) >= 9 && (o & 1))
		i->access_bytes = i->rex & 8 ? 8 : 4;
	if (o >= 0x90 && o <= 0x93)
		i->has_no_address = true; /* a gather */
	if (o >= 0xa0 && o <= 0xa3) {
		set(i, false, true, whole);
		i->has_no_address = true;
	}
	switch (o) {
	case 0x18:
	case 0x58: i->access_bytes = 4; break;
	case 0x19:
	case 0x59: i->access_bytes = 8; break;
	case 0x1a:
	case 0x5a: i->access_bytes = 16; break;
	case 0x78: i->access_bytes = 1; break;
	case 0x79: i->access_bytes = 2; break;
	case 0x2e:
	case 0x2f:
	case 0x63:
	case 0x8a:
	case 0x8b:
	case 0x8e: set(i, false, true, whole); break;
	case 0x80 ... 0x82: i->access_bytes = 16; break;
	case 0xf0 ... 0xf9: access_0f38_integer(i); break;
	default: break;
	}
}

static void access_0f3a(struct x86_insn *i)
{
	unsigned whole = whole_vector(i), general = i->rex & 8 ? 8 : 4;

	switch (i->opcode) {
	case 0x0a: set(i, true, false, 4); break;
	case 0x0b: set(i, true, false, 8); break;
	case 0x14: set(i, false, true, 1); break;
	case 0x15: set(i, false, true, 2); break;
	case 0x16: set(i, false, true, general); break;
	case 0x17: set(i, false, true, 4); break;
	case 0x18:
	case 0x38: set(i, true, false, 16); break;
	case 0x19:
	case 0x39: set(i, false, true, 16); break;
	case 0x1a:
	case 0x3a: set(i, true, false, 32); break;
	case 0x1b:
	case 0x3b: set(i, false, true, 32); break;
	case 0x1d: set(i, false, true, whole / 2); break;
	case 0x20: set(i, true, false, 1); break;
	case 0x21: set(i, true, false, 4); break;
	case 0x22:
	case 0xf0: set(i, true, false, general); break;
	case 0x6a: /* FMA4 on scalars */
	case 0x6e:
	case 0x7a:
	case 0x7e: set(i, true, false, 4); break;
	case 0x6b:
	case 0x6f:
	case 0x7b:
	case 0x7f: set(i, true, false, 8); break;
	default: set(i, true, false, whole); break;
	}
}

void x86_insn_access(struct x86_insn *i, u16 shape)
{
	unsigned slot = i->operand_bytes == 2 ? 2 : 8;

	set(i, shape & R, shape & W, shape & B ? 1 : shape & H ? 2 : shape & Q ? slot : i->operand_bytes);
	switch (i->map) {
	case X86_MAP_ONE: access_one_byte(i); break;
	case X86_MAP_0F: access_0f(i); break;
	case X86_MAP_0F38: access_0f38(i); break;
	default: access_0f3a(i); break;
	}
	if (!i->reads && !i->writes)
		i->access_bytes = 0;
}
