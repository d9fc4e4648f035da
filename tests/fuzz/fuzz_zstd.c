/* SPDX-License-Identifier: MIT
 *
 * Problem: a zstd-packed initrd may be damaged anywhere.
 *
 * Idea: libFuzzer's bytes are the blocks behind a right frame header without size and checksum, so that the decoders
 * themselves are reached; what unpacks is compared with libzstd's answer.
 *
 * Contract: no write outside the buffer (ASan), no endless loop; where we succeed libzstd gives the same bytes.
 *
 * Locks: none.
 */
// libs: -lzstd
#include <stdlib.h>
#include <zstd.h>
#include <lib/string.h>
#include <lib/zstd.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u8 header[6] = { 0x28, 0xb5, 0x2f, 0xfd, 0, 0x58 }; /* a window of 2 MiB */
	static u8 in[8192], out[1 << 19], other[1 << 19];
	static void *work;
	size_t n = min(size, sizeof(in) - sizeof(header)), used, made;

	work = work ? work : malloc(zstd_work_bytes());
	memcpy(in, header, sizeof(header));
	memcpy(in + sizeof(header), data, n);
	if (zstd_unpack(in, n + sizeof(header), out, sizeof(out), work, &used, &made))
		return 0;
	size = ZSTD_decompress(other, sizeof(other), in, used);
	if (!ZSTD_isError(size) && (size != made || memcmp(out, other, made)))
		abort();
	return used > n + sizeof(header);
}
