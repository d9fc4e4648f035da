/* SPDX-License-Identifier: MIT
 *
 * Problem: a compressed initrd must come out byte for byte, and a damaged one must not write outside its buffer.
 *
 * Idea: zlib packs at every level and strategy (stored, fixed and dynamic blocks), we unpack; then every byte of a
 * small member is changed in turn and the member is cut at every length.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
// libs: -lz
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <zlib.h>
#include <lib/err.h>
#include <lib/inflate.h>
#include <lib/string.h>

static size_t pack(u8 *out, size_t room, const u8 *in, size_t n, int level, int strategy)
{
	z_stream z = { .next_in = (u8 *)in, .avail_in = n, .next_out = out, .avail_out = room };

	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, strategy), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static u8 *sample(size_t n, unsigned alphabet)
{
	u8 *p = malloc(n);
	u32 r = 12345;

	for (size_t i = 0; i < n; i++) {
		r = r * 1103515245 + 12345;
		p[i] = i > 300 && r >> 28 ? p[i - 1 - (r >> 8) % 300] : (r >> 16) % alphabet;
	}
	return p;
}

static void every_kind(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 65535, 200000 };

	for (unsigned s = 0; s < 5; s++) {
		u8 *in = sample(sizes[s] + 1, s % 2 ? 256 : 7), *packed = malloc(300000), *out = malloc(sizes[s] + 1);

		for (int level = 0; level <= 9; level += 3) {
			for (int strategy = 0; strategy <= Z_FIXED; strategy++) {
				size_t n = pack(packed, 300000, in, sizes[s], level, strategy), used, made;

				assert_int_equal(gzip_unpack(packed, n, out, sizes[s], &used, &made), 0);
				assert_int_equal(used, n);
				assert_int_equal(made, sizes[s]);
				assert_memory_equal(in, out, made);
				if (sizes[s])
					assert_int_equal(gzip_unpack(packed, n, out, sizes[s] - 1, &used, &made),
							 -ENOSPC);
			}
		}
		free(in);
		free(packed);
		free(out);
	}
}

static void damaged(void **state)
{
	u8 *in = sample(3000, 40), packed[4000], out[3000];
	size_t n = pack(packed, sizeof(packed), in, 3000, 9, 0), used, made;

	for (size_t cut = 0; cut < n; cut++) {
		u8 *copy = malloc(cut ? cut : 1);

		memcpy(copy, packed, cut);
		assert_int_not_equal(gzip_unpack(copy, cut, out, sizeof(out), &used, &made), 0);
		free(copy);
	}
	for (size_t at = 10; at < n; at++) {
		packed[at] ^= 0x55;
		assert_int_not_equal(gzip_unpack(packed, n, out, sizeof(out), &used, &made), 0);
		packed[at] ^= 0x55;
	}
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_kind), cmocka_unit_test(damaged) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
