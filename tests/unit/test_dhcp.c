/* SPDX-License-Identifier: MIT
 *
 * Problem: an address is taken from bytes that anybody on the network may send.
 *
 * Idea: a server's answer is built by hand; then each rule is broken alone, and every length is cut.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../../kernel/net/inet/dhcp.h"

#define ID 0x12345678

static const u8 mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

static size_t offer(u8 *m)
{
	static const u8 options[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, DHCP_OFFER, 0,   1,   4,   255, 255, 255, 0,
				      3,    4,    10,   0,    2,  2, 6,          8,   10,  0,   2,   3,   9,   9,
				      9,    9,    51,   4,    0,  0, 14,         16,  54,  4,   10,  0,   2,   2,
				      26,   2,    5,    120,  12, 5, 'a',        '/', 'b', '.', 'c', 255 };

	memset(m, 0, 400);
	m[0] = 2;
	m[1] = 1;
	m[2] = 6;
	memcpy(m + 4, (u8[]){ 0x12, 0x34, 0x56, 0x78 }, 4);
	memcpy(m + 16, (u8[]){ 10, 0, 2, 15 }, 4);
	memcpy(m + 28, mac, 6);
	memcpy(m + 236, options, sizeof(options));
	return 236 + sizeof(options);
}

static void reads_an_offer(void **state)
{
	struct dhcp_lease l;
	u8 m[400];
	size_t len = offer(m);

	assert_true(dhcp_parse(m, len, ID, mac, &l));
	assert_int_equal(l.kind, DHCP_OFFER);
	assert_memory_equal(&l.address, ((u8[]){ 10, 0, 2, 15 }), 4);
	assert_memory_equal(&l.mask, ((u8[]){ 255, 255, 255, 0 }), 4);
	assert_memory_equal(&l.gateway, ((u8[]){ 10, 0, 2, 2 }), 4);
	assert_memory_equal(&l.server, ((u8[]){ 10, 0, 2, 2 }), 4);
	assert_memory_equal(&l.dns[1], ((u8[]){ 9, 9, 9, 9 }), 4);
	assert_int_equal(l.dns[2], 0);
	assert_int_equal(l.seconds, 3600);
	assert_int_equal(l.mtu, 1400);
	assert_string_equal(l.host, "ab.c"); /* a slash is no part of a name */
}

static void refuses_what_is_not_for_us(void **state)
{
	static const size_t places[] = { 0, 1, 2, 4, 28, 33, 236, 239 };
	struct dhcp_lease l;
	u8 m[400];
	size_t len = offer(m);

	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		m[places[i]] ^= 1;
		assert_false(dhcp_parse(m, len, ID, mac, &l));
		m[places[i]] ^= 1;
	}
	assert_false(dhcp_parse(m, len, ID + 1, mac, &l));
	m[242] = DHCP_REQUEST; /* no server says that */
	assert_false(dhcp_parse(m, len, ID, mac, &l));
}

static void refuses_options_beyond_the_end(void **state)
{
	struct dhcp_lease l;
	u8 m[400];
	size_t len = offer(m);

	for (size_t cut = 0; cut < len; cut++) {
		u8 *copy = malloc(cut + !cut);

		memcpy(copy, m, cut);
		(void)!dhcp_parse(copy, cut, ID, mac, &l); /* ASan judges */
		free(copy);
	}
	assert_false(dhcp_parse(m, 239, ID, mac, &l));
	assert_false(dhcp_parse(m, 248, ID, mac, &l)); /* inside the mask */
}

static void asks_in_the_right_form(void **state)
{
	struct dhcp_lease want = { .address = 0x0f02000a, .server = 0x0202000a };
	u8 m[DHCP_LEAST];

	dhcp_build(m, DHCP_REQUEST, ID, mac, &want);
	assert_int_equal(m[0], 1);
	assert_int_equal(m[10], 0x80);
	assert_memory_equal(m + 4, ((u8[]){ 0x12, 0x34, 0x56, 0x78 }), 4);
	assert_memory_equal(m + 28, mac, 6);
	assert_memory_equal(m + 236,
			    ((u8[]){ 0x63, 0x82, 0x53, 0x63, 53, 1, 3, 50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 2 }), 19);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reads_an_offer),
					    cmocka_unit_test(refuses_what_is_not_for_us),
					    cmocka_unit_test(refuses_options_beyond_the_end),
					    cmocka_unit_test(asks_in_the_right_form) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
