/* SPDX-License-Identifier: MIT
 *
 * The kernel's one x86 decoder: length, fields and memory operand of any instruction, in 16-, 32- and 64-bit code. Who
 * needs what an instruction computes builds on it (virt/kvm/insn.c); who needs the address that it touches has it
 * here (perf's memory sampler). Pure; any context; no allocation.
 * Source: AMD64 Architecture Programmer's Manual volumes 3 and 4; Intel SDM volume 2, chapter 2 (EVEX).
 */
#ifndef LIB_X86_INSN_H
#define LIB_X86_INSN_H

#include <lib/types.h>

#define X86_INSN_MOST 15 /* bytes of the longest instruction */

enum x86_mode { X86_CODE_16, X86_CODE_32, X86_CODE_64 };
enum x86_encoding { X86_LEGACY, X86_VEX, X86_EVEX };
enum x86_map { X86_MAP_ONE, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A };
enum x86_prefix { X86_NO_PREFIX, X86_PREFIX_66, X86_PREFIX_F3, X86_PREFIX_F2 }; /* as VEX's pp counts */

struct x86_insn {
	u8 length, prefix_bytes; /* legacy and REX prefixes */
	u8 map, opcode, encoding;
	u8 prefix;  /* the one that may select the operation: the last of F2 and F3, else 66 */
	u8 rex;     /* W 8, R 4, X 2, B 1, from whatever prefix holds them */
	u8 segment; /* 0 es 1 cs 2 ss 3 ds 4 fs 5 gs, 0xff none */
	bool has_rex, is_locked, has_modrm;
	u8 operand_bytes, address_bytes, vector_bytes;
	u8 modrm;
	u8 imm_bytes;
	u64 imm; /* the first one, sign-extended from 1, 2 and 4 bytes */

	/* The explicit memory operand. base, index: 0 to 15, -1 none; for 32- and 64-bit addressing only. */
	bool has_memory, is_rip_relative;
	bool has_no_address; /* it has several (gather), or EVEX scales its displacement */
	s8 base, index;
	u8 scale;
	s64 disp;
	bool reads, writes; /* neither: an address only (lea, prefetch) */
	u16 access_bytes;   /* 0: depends on the state of the processor (xsave) */
};

/* 0; -ENODATA: more bytes are needed (n < 15); -EINVAL: no instruction. prefix_bytes is right even then. */
int __must_check x86_insn_decode(const u8 *bytes, unsigned n, enum x86_mode mode, struct x86_insn *out);
/* The address of the memory operand in 64-bit code, without its segment's base; ip: of this instruction; gpr in
 * encoding order (rax rcx rdx rbx rsp rbp rsi rdi r8..). */
u64 x86_insn_address(const struct x86_insn *i, u64 ip, const u64 gpr[16]);

static inline unsigned x86_insn_sub(const struct x86_insn *i) /* the opcode extension in ModRM */
{
	return i->modrm >> 3 & 7;
}

#endif
