/* SPDX-License-Identifier: MIT
 *
 * Instructions with one memory operand, as far as device drivers use them on registers of devices: decoding, and what
 * they do once the operand's value is known. Pure.
 * Source: AMD64 Architecture Programmer's Manual volume 3 (encodings, effects on flags).
 */
#ifndef KVM_INSN_H
#define KVM_INSN_H

#include <lib/x86_insn.h>

enum insn_op {
	INSN_LOAD,  /* register = memory, zero- or sign-extended */
	INSN_STORE, /* memory = register or immediate */
	INSN_ALU,   /* add or adc sbb and sub xor cmp: sub-operation in `alu`, direction in `to_register` */
	INSN_TEST,
	INSN_INC,
	INSN_DEC,
	INSN_NOT,
	INSN_NEG,
	INSN_XCHG,
	INSN_BIT,  /* bt bts btr btc: sub-operation in `alu`, immediate bit only */
	INSN_MOVS, /* memory to memory: the caller copies and steps rsi, rdi, rcx */
	INSN_STOS,
	INSN_LODS,
};

struct insn {
	u8 length; /* bytes, prefixes included */
	u8 op, alu;
	u8 bytes;     /* of the memory operand: 1, 2, 4, 8 */
	u8 reg_bytes; /* of the register operand (movzx, movsx) */
	u8 reg;       /* 0..15 */
	u8 address_bytes;
	u8 segment;     /* override for the source: 0 es 1 cs 2 ss 3 ds 4 fs 5 gs, 0xff none */
	bool high_byte; /* AH, CH, DH, BH: register reg - 4, bits 8..15 */
	bool sign_extend, to_register, immediate, rep;
	u64 imm;
};

/* 0; -ENODATA: more bytes are needed (n < 15); -EINVAL: not one of these. */
int __must_check insn_decode(const u8 *bytes, unsigned n, enum x86_mode mode, struct insn *out);
bool insn_reads(const struct insn *i);
bool insn_writes(const struct insn *i);
/* Not for MOVS. gpr[16] in encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8..). memory: the operand's value, if it is
 * read; returned: what is to be written, if insn_writes. Registers and flags are changed. */
u64 insn_apply(const struct insn *i, u64 gpr[16], u64 *flags, u64 memory);
/* Length of the prefixes before the opcode; for instructions whose opcode the processor has told. */
unsigned insn_prefixes(const u8 *bytes, unsigned n, enum x86_mode mode);

#endif
