/* SPDX-License-Identifier: MIT
 *
 * Problem: the code that a sample points at may be anything: data, the middle of an instruction, a cut file.
 *
 * Idea: decode any bytes with any registers, look for a predecessor at every offset, feed the accesses to the ownership
 * model.
 *
 * Contract: no crash; a predecessor lies before its address and within an instruction's length. Locks: none.
 */
// libs: -lZydis
#include <stdlib.h>
#include <string.h>
#include <perf/lines.h>
#include <perf/operand.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void feed(struct lines *m, const struct operand_insn *insn, u64 ip, u32 cpu)
{
	for (u32 i = 0; i < insn->nr; i++) {
		struct line_access a = { .addr = insn->op[i].addr,
					 .ip = ip,
					 .tid = cpu,
					 .cpu = cpu,
					 .bytes = insn->op[i].bytes,
					 .is_write = insn->op[i].is_write };

		if (lines_add(m, &a) < 0)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u64 regs[OPERAND_REGS] = { 0 }, start = 0x400000, before;
	struct operand_insn insn;
	struct line **ranked;
	struct lines m;
	u32 nr;

	if (size < sizeof(regs) || lines_init(&m))
		return 0;
	memcpy(regs, data, sizeof(regs));
	data += sizeof(regs);
	size -= sizeof(regs);
	for (size_t i = 0; i < size && i < 512; i++) {
		u64 ip = start + i;
		int n = operand_decode(data + i, size - i, ip, regs, &insn);

		if (n > 15 || (n > 0 && (size_t)n > size - i))
			abort();
		if (n > 0)
			feed(&m, &insn, ip, i & 3);
		for (int exact = 0; exact < 2; exact++)
			if (!operand_previous(data, size, start, ip, exact, &before) &&
			    (before >= ip || ip - before > 15 || before < start))
				abort();
	}
	if (!lines_ranked(&m, 1, &ranked, &nr)) {
		for (u32 i = 1; i < nr; i++)
			if (ranked[i - 1]->travels < ranked[i]->travels)
				abort();
		free(ranked);
	}
	lines_free(&m);
	return 0;
}
