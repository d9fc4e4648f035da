/* SPDX-License-Identifier: MIT
 *
 * Problem: anybody on a network may answer a DHCP client.
 *
 * Idea: the fixed part is made right on demand, so that the fuzzer gets behind it; texts that are read end and hold
 * only what names may hold.
 *
 * Contract: libFuzzer entry; aborts on a broken property. Locks: none.
 */
#include <core/log.h>
#include <lib/string.h>

#include "../../kernel/net/inet/dhcp.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u8 mac[6] = { 1, 2, 3, 4, 5, 6 };
	u8 m[1500];
	struct dhcp_lease l;

	if (size < 1 || size > sizeof(m))
		return 0;
	memcpy(m, data, size);
	if (size >= 240 && m[0] & 1) {
		memcpy(m, (u8[]){ 2, 1, 6, 0, 0, 0, 0, 7 }, 8);
		memcpy(m + 28, mac, 6);
		memcpy(m + 236, (u8[]){ 0x63, 0x82, 0x53, 0x63 }, 4);
	}
	if (!dhcp_parse(m, size, 7, mac, &l))
		return 0;
	ensure(l.kind == DHCP_OFFER || l.kind == DHCP_ACK || l.kind == DHCP_NAK);
	ensure(strnlen(l.host, sizeof(l.host)) < sizeof(l.host) && !strchr(l.host, '\n'));
	ensure(strnlen(l.domain, sizeof(l.domain)) < sizeof(l.domain) && !strchr(l.domain, '\n'));
	return 0;
}
