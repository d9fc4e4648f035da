/* SPDX-License-Identifier: MIT
 *
 * Problem: a zstd-packed initrd must come out byte for byte, and a damaged one must not write outside its buffer.
 *
 * Idea: libzstd packs at many levels data of many kinds (literals raw, of one byte and by Huffman; sequences by all
 * tables), with and without size and checksum, in several frames, with a skippable one; we unpack. Then every byte of a
 * small frame is changed in turn and the frame is cut at every length.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
// libs: -lzstd
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <zstd.h>
#include <lib/err.h>
#include <lib/string.h>
#include <lib/zstd.h>

static void *work;

static int begin(void **state)
{
	work = malloc(zstd_work_bytes());
	return !work;
}

static int end(void **state)
{
	free(work);
	return 0;
}

static size_t pack(u8 *out, size_t room, const u8 *in, size_t n, int level, bool sum, bool sized)
{
	ZSTD_CCtx *c = ZSTD_createCCtx();
	size_t r;

	ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
	ZSTD_CCtx_setParameter(c, ZSTD_c_checksumFlag, sum);
	ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, sized);
	r = ZSTD_compress2(c, out, room, in, n);
	assert_false(ZSTD_isError(r));
	ZSTD_freeCCtx(c);
	return r;
}

/* Random bytes of an alphabet with repetitions at near and far distances. */
static u8 *sample(size_t n, unsigned alphabet, unsigned repeat)
{
	u8 *p = malloc(n + 1);
	u32 r = 12345 + alphabet;

	for (size_t i = 0; i < n;) {
		r = r * 1103515245 + 12345;
		if (i > 300 && (r >> 16) % 100 < repeat) {
			size_t back = 1 + (r >> 8) % (r & 1 ? 50 : i), len = 3 + (r >> 4) % 200;

			for (; len-- && i < n; i++)
				p[i] = p[i - min(back, i)];
		} else {
			p[i++] = (u8)((r >> 16) % alphabet * (r >> 24 & 3) / 3);
		}
	}
	return p;
}

static void round_trip(const u8 *in, size_t n, int level, bool sum, bool sized)
{
	size_t room = ZSTD_compressBound(n), size, used, made;
	u8 *packed = malloc(room), *out = malloc(n + 1);

	size = pack(packed, room, in, n, level, sum, sized);
	assert_true(zstd_begins(packed, size));
	assert_int_equal(zstd_unpack(packed, size, out, n, work, &used, &made), 0);
	assert_int_equal(used, size);
	assert_int_equal(made, n);
	assert_memory_equal(in, out, n);
	if (n)
		assert_int_equal(zstd_unpack(packed, size, out, n - 1, work, &used, &made), -ENOSPC);
	free(packed);
	free(out);
}

static void every_kind(void **state)
{
	static const size_t sizes[] = { 0, 1, 5, 100, 300, 4000, 70000, 400000 };
	static const int levels[] = { -5, 1, 3, 9, 19 };

	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (unsigned kind = 0; kind < 9; kind++) {
			static const unsigned alphabet[] = { 1, 7, 256 }, repeat[] = { 0, 2, 60 };
			u8 *in = sample(sizes[s], alphabet[kind % 3], repeat[kind / 3]);

			for (unsigned l = 0; l < ARRAY_SIZE(levels); l++)
				round_trip(in, sizes[s], levels[l], l & 1, kind & 1);
			free(in);
		}
	}
}

static void frames_in_a_row(void **state)
{
	u8 *in = sample(30000, 20, 30), *packed = malloc(80000), *out = malloc(60000);
	static const u8 skipped[] = { 0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 'a', 'b', 'c' };
	size_t n = pack(packed, 40000, in, 30000, 3, true, true), used, made;

	memcpy(packed + n, skipped, sizeof(skipped));
	n += sizeof(skipped);
	n += pack(packed + n, 40000, in, 30000, 19, false, false);
	memset(packed + n, 0, 100); /* padding is not ours */
	assert_int_equal(zstd_unpack(packed, n + 100, out, 60000, work, &used, &made), 0);
	assert_int_equal(used, n);
	assert_int_equal(made, 60000);
	assert_memory_equal(out, in, 30000);
	assert_memory_equal(out + 30000, in, 30000);
	free(in);
	free(packed);
	free(out);
}

static void damaged(void **state)
{
	u8 *in = sample(3000, 40, 20), packed[4000], out[3000];
	size_t n = pack(packed, sizeof(packed), in, 3000, 19, true, true), used, made;

	for (size_t cut = 0; cut < n; cut++) {
		u8 *copy = malloc(cut ? cut : 1);

		memcpy(copy, packed, cut);
		assert_int_not_equal(zstd_unpack(copy, cut, out, sizeof(out), work, &used, &made), 0);
		free(copy);
	}
	for (size_t at = 0; at < n; at++) {
		for (int bit = 0; bit < 8; bit++) {
			packed[at] ^= (u8)(1 << bit);
			if (!zstd_unpack(packed, n, out, sizeof(out), work, &used,
					 &made)) /* bits that do not matter: the window, say */
				assert_memory_equal(out, in, made);
			packed[at] ^= (u8)(1 << bit);
		}
	}
	free(in);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_kind), cmocka_unit_test(frames_in_a_row),
					    cmocka_unit_test(damaged) };

	return cmocka_run_group_tests(tests, begin, end);
}
