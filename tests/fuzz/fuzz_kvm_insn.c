/* SPDX-License-Identifier: MIT
 *
 * Problem: the bytes of an instruction are the guest's.
 *
 * Idea: any bytes in any mode. What is accepted has the length that another decoder (Zydis) gives it, is cut short with
 * -ENODATA everywhere before its end, and its effect writes nothing but registers, flags and a value.
 *
 * Contract: libFuzzer entry; aborts on a broken property. Locks: none.
 */
// libs: -lZydis -lZycore
#include <Zydis/Zydis.h>
#include <stdlib.h>
#include <lib/err.h>
#include <lib/string.h>
#include "../../kernel/virt/kvm/insn.h"

#define ensure(c) ((c) ? (void)0 : abort())

static unsigned other_length(const u8 *bytes, unsigned n, enum x86_mode mode)
{
	static const ZydisMachineMode modes[] = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
						  ZYDIS_MACHINE_MODE_LONG_64 };
	static const ZydisStackWidth widths[] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };
	ZydisDecoder d;
	ZydisDecodedInstruction i;

	ZydisDecoderInit(&d, modes[mode], widths[mode]);
	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, bytes, n, &i)) ? i.length : 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	u64 gpr[16], flags = 2;
	struct insn i, again;
	unsigned n, theirs;
	int err;

	if (size < 2)
		return 0;
	n = (unsigned)min(size - 1, (size_t)15);
	err = insn_decode(data + 1, n, data[0] % 3, &i);
	if (err) {
		ensure(err == -EINVAL || err == -ENODATA);
		return 0;
	}
	ensure(i.length <= n && (i.bytes == 1 || i.bytes == 2 || i.bytes == 4 || i.bytes == 8) && i.reg < 16);
	for (unsigned k = 0; k < i.length; k++)
		ensure(insn_decode(data + 1, k, data[0] % 3, &again) == -ENODATA);
	theirs = other_length(data + 1, n, data[0] % 3);
	ensure(!theirs || theirs == i.length);
	for (unsigned k = 0; k < 16; k++)
		gpr[k] = k * 0x0101010101010101ULL;
	if (i.op != INSN_MOVS)
		(void)insn_apply(&i, gpr, &flags, ~0ULL);
	return 0;
}
