/* SPDX-License-Identifier: MIT
 *
 * Problem: a compressed initrd may be damaged anywhere.
 *
 * Idea: libFuzzer's bytes behind a right gzip header, so that the decoder itself is reached.
 *
 * Contract: no write outside the buffer (ASan), no endless loop.
 *
 * Locks: none.
 */
#include <lib/inflate.h>
#include <lib/string.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u8 header[10] = { 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3 };
	static u8 in[8192], out[65536];
	size_t n = min(size, sizeof(in) - sizeof(header)), used, made;

	memcpy(in, header, sizeof(header));
	memcpy(in + sizeof(header), data, n);
	return gzip_unpack(in, n + sizeof(header), out, sizeof(out), &used, &made) == 0 && used > n + sizeof(header);
}
