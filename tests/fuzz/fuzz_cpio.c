/* SPDX-License-Identifier: MIT
 *
 * Problem: an initrd may be anything; the reader of archives must stay inside it.
 *
 * Idea: libFuzzer's bytes as an archive; every member's name and data are read to their ends.
 *
 * Contract: no read outside the input (ASan), no endless loop.
 *
 * Locks: none.
 */
#include <stdlib.h>
#include <lib/cpio.h>
#include <lib/string.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct cpio_member m;
	struct cpio c;
	unsigned n = 0;

	cpio_begin(&c, data, size);
	while (cpio_next(&c, &m) > 0) {
		for (size_t i = 0; i < m.size; i++)
			n += m.data[i];
		if (strlen(m.name) != m.name_len)
			abort();
	}
	return n == ~0U; /* keeps the reads */
}
