/* SPDX-License-Identifier: MIT
 *
 * Which memory did this x86-64 instruction touch? Given its bytes and the registers, the addresses, sizes and kinds of
 * its explicit memory operands. The decoder behind it (Zydis) is seen by operand.c only.
 *
 * Registers are indexed as perf numbers them (<asm/perf_regs.h>, PERF_REG_X86_*). Operands through FS or GS and the
 * implicit stack of push, pop, call and ret are left out: they are private to a thread or of no interest.
 * Pure; any context; no allocation.
 */
#ifndef PERF_OPERAND_H
#define PERF_OPERAND_H

#include <lib/types.h>

#define OPERAND_MAX  2
#define OPERAND_REGS 24

struct operand {
	u64 addr;
	u64 regs_used; /* mask: addr is right only if these hold what the instruction saw */
	s64 disp;
	u16 bytes;
	s8 base; /* register number, -1 none or RIP */
	bool is_read, is_write, has_index;
};

struct operand_insn {
	u8 length;
	u8 nr;
	bool is_locked;
	bool is_branch; /* any jump, call or return */
	bool ends_flow; /* unconditional jump, return: the next one in memory does not follow it */
	u64 regs_written;
	struct operand op[OPERAND_MAX];
};

/* Length of the instruction, or -EINVAL if the bytes are none. regs may be NULL: then addresses are not computed. */
int operand_decode(const u8 *code, size_t bytes, u64 ip, const u64 *regs, struct operand_insn *out);

/* The instruction before ip in memory: code holds the bytes from start to ip at least. If exact, start is an
 * instruction boundary (a function's start); otherwise the boundary is found by vote over possible starts.
 * 0 and *before, or -ENOENT. */
int operand_previous(const u8 *code, size_t bytes, u64 start, u64 ip, bool exact, u64 *before);

#endif
