/* SPDX-License-Identifier: MIT
 *
 * Messages of DHCP: made and read. Addresses in network order. Formats: RFC 2131 (message), RFC 2132 (options). Pure.
 */
#ifndef DHCP_H
#define DHCP_H

#include <lib/types.h>

#define DHCP_DISCOVER 1
#define DHCP_OFFER    2
#define DHCP_REQUEST  3
#define DHCP_ACK      5
#define DHCP_NAK      6
#define DHCP_LEAST    300 /* bytes of a message: what old relays want */
#define DHCP_SERVERS  3

struct dhcp_lease {
	u8 kind; /* DHCP_* */
	u32 address, mask, gateway, server;
	u32 dns[DHCP_SERVERS];
	u32 seconds;
	u16 mtu; /* 0: not told */
	char host[64], domain[64];
};

/* A message of DHCP_LEAST bytes at out. lease: what is asked for (of DHCP_REQUEST). */
void dhcp_build(u8 *out, u8 kind, u32 transaction, const u8 *mac, const struct dhcp_lease *lease);
/* A server's message for this client and transaction. False: it is none, or malformed. */
bool __must_check dhcp_parse(const u8 *message, size_t len, u32 transaction, const u8 *mac, struct dhcp_lease *out);

#endif
