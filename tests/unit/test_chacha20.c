/* SPDX-License-Identifier: MIT
 *
 * Problem: code that everything stands on must be right at its borders before it ever boots.
 *
 * Idea: ChaCha20 against RFC 8439's vector, and the properties that the generator promises.
 *
 * Contract: cmocka, under ASan and UBSan; one case a property.
 *
 * Locks: none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <lib/chacha20.h>

/* RFC 8439, section 2.3.2. */
static void test_vector(void **state)
{
	static const u8 want[64] = {
		0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3, 0x20, 0x71, 0xc4,
		0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22, 0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e,
		0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa, 0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2,
		0xb5, 0x12, 0x9c, 0xd1, 0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e,
	};
	static const u8 nonce_bytes[12] = { 0, 0, 0, 9, 0, 0, 0, 0x4a };
	u32 key[8], nonce[3];
	u8 k[32], out[64];

	for (int i = 0; i < 32; i++)
		k[i] = i;
	memcpy(key, k, 32);
	memcpy(nonce, nonce_bytes, 12);
	chacha20_block(key, 1, nonce, out);
	assert_memory_equal(out, want, 64);
}

static void test_key_is_erased(void **state)
{
	struct keystream a = { { 0 } }, b;
	u8 one[100], two[100];

	keystream_mix(&a, "seed", 4);
	b = a;
	keystream_read(&a, one, sizeof(one));
	assert_memory_not_equal(&a, &b, sizeof(a));
	keystream_read(&b, two, sizeof(two));
	assert_memory_equal(one, two, sizeof(one)); /* the same state gives the same bytes */
	keystream_read(&a, two, sizeof(two));
	assert_memory_not_equal(one, two, sizeof(one));
}

static void test_every_seed_byte_counts(void **state)
{
	u8 seed[70] = { 0 }, base[32], other[32];
	struct keystream k = { { 0 } };

	keystream_mix(&k, seed, sizeof(seed));
	keystream_read(&k, base, sizeof(base));
	for (unsigned i = 0; i < sizeof(seed); i++) {
		memset(&k, 0, sizeof(k));
		seed[i] ^= 1;
		keystream_mix(&k, seed, sizeof(seed));
		seed[i] ^= 1;
		keystream_read(&k, other, sizeof(other));
		assert_memory_not_equal(base, other, sizeof(base));
	}
}

/* Reading 200 bytes at once gives no run of zeros and no repetition at block edges. */
static void test_long_reads(void **state)
{
	struct keystream k = { { 1, 2, 3 } };
	u8 out[200];

	keystream_read(&k, out, sizeof(out));
	for (unsigned i = 0; i + 64 <= sizeof(out) - 32; i += 32)
		assert_memory_not_equal(out + i, out + i + 32, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vector),
		cmocka_unit_test(test_key_is_erased),
		cmocka_unit_test(test_every_seed_byte_counts),
		cmocka_unit_test(test_long_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
