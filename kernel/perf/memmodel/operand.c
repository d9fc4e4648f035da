/* SPDX-License-Identifier: MIT
 *
 * Problem: a clock sample gives an address of code and the registers; contention shows as time spent at the instruction
 * that waits for a cache line, so the line must be worked out from the instruction.
 *
 * Idea: decode, then compute base + index * scale + displacement from the registers of the sample. The interrupt comes
 * after the waiting instruction, so its predecessor is asked too; since it has run already, the caller must check
 * that it did not write the registers of its own address (regs_written against regs_used). x86 cannot be decoded
 * backwards: start from a known boundary, or from each of 16 offsets and take the predecessor that most of them reach
 * (streams of x86 code fall into step after a few instructions).
 *
 * Contract: perf/operand.h. Locks: none.
 */
#include <asm/perf_regs.h>
#include <Zydis/Zydis.h>
#include <lib/err.h>
#include <lib/string.h>
#include <perf/operand.h>

#define VOTE_BYTES 64

/* perf's number of a general register's 64-bit form, -1 if it has none. */
static int perf_reg(ZydisRegister r)
{
	static const s8 low[] = { PERF_REG_X86_AX, PERF_REG_X86_CX, PERF_REG_X86_DX, PERF_REG_X86_BX,
				  PERF_REG_X86_SP, PERF_REG_X86_BP, PERF_REG_X86_SI, PERF_REG_X86_DI };
	ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

	if (full >= ZYDIS_REGISTER_RAX && full <= ZYDIS_REGISTER_RDI)
		return low[full - ZYDIS_REGISTER_RAX];
	if (full >= ZYDIS_REGISTER_R8 && full <= ZYDIS_REGISTER_R15)
		return PERF_REG_X86_R8 + (full - ZYDIS_REGISTER_R8);
	return -1;
}

static bool add_reg(ZydisRegister r, const u64 *regs, u64 scale, struct operand *o)
{
	int n;

	if (r == ZYDIS_REGISTER_NONE)
		return true;
	n = perf_reg(r);
	if (n < 0)
		return false; /* vector index: gathers are left out */
	o->regs_used |= 1ull << n;
	if (regs)
		o->addr += regs[n] * scale;
	return true;
}

/* False if the operand is of no interest or cannot be computed. */
static bool take_operand(const ZydisDecodedOperand *z, u64 next_ip, const u64 *regs, struct operand *o)
{
	const ZydisDecodedOperandMem *m = &z->mem;

	memset(o, 0, sizeof(*o));
	if (m->type != ZYDIS_MEMOP_TYPE_MEM || m->segment == ZYDIS_REGISTER_FS || m->segment == ZYDIS_REGISTER_GS)
		return false;
	o->disp = m->disp.has_displacement ? m->disp.value : 0;
	o->addr = o->disp;
	o->base = -1;
	if (m->base == ZYDIS_REGISTER_RIP) {
		o->addr += next_ip;
	} else {
		if (!add_reg(m->base, regs, 1, o))
			return false;
		if (m->base != ZYDIS_REGISTER_NONE)
			o->base = perf_reg(m->base);
	}
	if (!add_reg(m->index, regs, m->scale, o))
		return false;
	o->has_index = m->index != ZYDIS_REGISTER_NONE;
	o->bytes = z->size / 8;
	o->is_read = z->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	o->is_write = z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	return o->bytes && (o->is_read || o->is_write);
}

static bool ends_flow(const ZydisDecodedInstruction *i)
{
	return i->meta.category == ZYDIS_CATEGORY_UNCOND_BR || i->meta.category == ZYDIS_CATEGORY_RET ||
	       i->mnemonic == ZYDIS_MNEMONIC_UD2 || i->mnemonic == ZYDIS_MNEMONIC_HLT;
}

static bool is_branch(const ZydisDecodedInstruction *i)
{
	return ends_flow(i) || i->meta.category == ZYDIS_CATEGORY_COND_BR || i->meta.category == ZYDIS_CATEGORY_CALL ||
	       i->meta.category == ZYDIS_CATEGORY_SYSCALL || i->meta.category == ZYDIS_CATEGORY_INTERRUPT;
}

static void setup(ZydisDecoder *d)
{
	ZydisDecoderInit(d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
}

int operand_decode(const u8 *code, size_t bytes, u64 ip, const u64 *regs, struct operand_insn *out)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisDecoder d;

	memset(out, 0, sizeof(*out));
	setup(&d);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code, bytes, &insn, ops)))
		return -EINVAL;
	out->length = insn.length;
	out->is_locked = insn.attributes & ZYDIS_ATTRIB_HAS_LOCK;
	out->ends_flow = ends_flow(&insn);
	out->is_branch = is_branch(&insn);
	for (unsigned i = 0; i < insn.operand_count; i++) {
		const ZydisDecodedOperand *z = &ops[i];
		int n;

		if (z->type == ZYDIS_OPERAND_TYPE_REGISTER && (z->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)) {
			n = perf_reg(z->reg.value);
			if (n >= 0)
				out->regs_written |= 1ull << n;
		}
		if (z->type != ZYDIS_OPERAND_TYPE_MEMORY || z->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		if (out->nr < OPERAND_MAX && take_operand(z, ip + insn.length, regs, &out->op[out->nr]))
			out->nr++;
	}
	if (insn.mnemonic == ZYDIS_MNEMONIC_XCHG && out->nr)
		out->is_locked = true;
	return insn.length;
}

/* Decodes from at; true if a boundary falls on ip, with the instruction before it. */
static bool reaches(const ZydisDecoder *d, const u8 *code, u64 start, u64 at, u64 ip, u64 *before)
{
	ZydisDecodedInstruction insn;
	u64 last = 0;

	while (at < ip) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(d, NULL, code + (at - start), ip + 15 - at, &insn)))
			return false;
		last = at;
		at += insn.length;
	}
	*before = last;
	return at == ip && last;
}

int operand_previous(const u8 *code, size_t bytes, u64 start, u64 ip, bool exact, u64 *before)
{
	u64 candidate[16] = { 0 }, at;
	unsigned best = 0, votes[16] = { 0 };
	ZydisDecoder d;

	if (ip <= start || ip - start + 15 > bytes)
		return -ENOENT;
	setup(&d);
	if (exact)
		return reaches(&d, code, start, start, ip, before) ? 0 : -ENOENT;
	at = ip - start > VOTE_BYTES ? ip - VOTE_BYTES : start;
	for (unsigned i = 0; i < 16 && at + i < ip; i++) {
		u64 found;
		unsigned k;

		if (!reaches(&d, code, start, at + i, ip, &found))
			continue;
		for (k = 0; votes[k] && candidate[k] != found; k++)
			;
		candidate[k] = found;
		if (++votes[k] > votes[best])
			best = k;
	}
	*before = candidate[best];
	return votes[best] ? 0 : -ENOENT;
}
