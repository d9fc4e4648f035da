/* SPDX-License-Identifier: MIT
 *
 * Problem: whoever starts programs parses files that anybody may have written.
 *
 * Idea: Any bytes as an executable: refused, or described by numbers that cannot mislead the loader.
 *
 * Contract: libFuzzer target under ASan and UBSan; any input must be refused or described, never crash.
 *
 * Locks: none.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <arch/mmu.h>
#include <lib/types.h>
#include "../../kernel/process/elf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(int ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct elf_image i;
	u64 end = 0;

	if (elf_parse_header(data, n, &i.header) || i.header.ph_offset > n ||
	    i.header.ph_count * ELF_PHDR_BYTES > n - i.header.ph_offset ||
	    elf_parse_segments(data + i.header.ph_offset, &i))
		return 0;
	check(i.nr >= 1 && i.nr <= ELF_MAX_SEGMENTS && i.interp_bytes <= 4096);
	check(!(i.low % PAGE_SIZE) && !(i.high % PAGE_SIZE) && i.low < i.high && i.high <= USER_END + PAGE_SIZE);
	check(!(i.align & (i.align - 1)) && i.align >= PAGE_SIZE);
	for (unsigned k = 0; k < i.nr; k++) {
		const struct elf_segment *s = &i.segments[k];

		check(s->vaddr >= end && s->file_bytes <= s->mem_bytes && s->mem_bytes);
		check(s->offset + s->file_bytes >= s->offset && s->prot <= 7);
		end = s->vaddr + s->mem_bytes;
		check(end > s->vaddr && end <= USER_END && end <= i.high);
	}
	return 0;
}
