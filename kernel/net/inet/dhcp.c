/* SPDX-License-Identifier: MIT
 *
 * Problem: a machine asks the network for an address, and anybody may answer with any bytes.
 *
 * Idea: a fixed part and a list of options, each with its length. Reading believes no length: an option that ends
 * behind the message makes it malformed; strings keep only letters, digits, dots and hyphens.
 *
 * Contract: dhcp.h. The unit test holds both sides of each rule, a fuzzer feeds the parser.
 *
 * Locks: none.
 */
#include <lib/string.h>

#include "dhcp.h"

#define FIXED       236
#define COOKIE      0x63825363U
#define FLAGS_AT    10
#define YOURS_AT    16
#define HARDWARE_AT 28
#define BROADCAST   0x80 /* of the flags' first byte: we have no address yet */
#define CLASS_NAME  "ostrom"

enum option {
	PAD = 0,
	MASK = 1,
	ROUTER = 3,
	DNS = 6,
	HOST = 12,
	DOMAIN = 15,
	MTU = 26,
	REQUESTED = 50,
	LEASE = 51,
	KIND = 53,
	SERVER = 54,
	WANTED = 55,
	CLASS = 60,
	END = 255
};

static void put32(u8 *at, u32 v)
{
	u32 be = __builtin_bswap32(v);

	memcpy(at, &be, sizeof(be));
}

static u8 *put_option(u8 *at, u8 code, const void *data, u8 len)
{
	at[0] = code;
	at[1] = len;
	memcpy(at + 2, data, len);
	return at + 2 + len;
}

void dhcp_build(u8 *out, u8 kind, u32 transaction, const u8 *mac, const struct dhcp_lease *lease)
{
	static const u8 wanted[] = { MASK, ROUTER, DNS, HOST, DOMAIN, MTU, LEASE };
	u8 *at = out + FIXED + 4;

	memset(out, 0, DHCP_LEAST);
	out[0] = 1; /* a request */
	out[1] = 1; /* Ethernet */
	out[2] = 6;
	put32(out + 4, transaction);
	out[FLAGS_AT] = BROADCAST;
	memcpy(out + HARDWARE_AT, mac, 6);
	put32(out + FIXED, COOKIE);
	at = put_option(at, KIND, &kind, 1);
	if (kind == DHCP_REQUEST) {
		at = put_option(at, REQUESTED, &lease->address, 4);
		at = put_option(at, SERVER, &lease->server, 4);
	}
	at = put_option(at, WANTED, wanted, sizeof(wanted));
	at = put_option(at, CLASS, CLASS_NAME, sizeof(CLASS_NAME) - 1);
	*at = END;
}

static void take_text(char *out, size_t room, const u8 *from, u8 len)
{
	size_t n = 0;

	for (u8 i = 0; i < len && n < room - 1; i++) {
		u8 c = from[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-')
			out[n++] = (char)c;
	}
	out[n] = '\0';
}

static void take_option(struct dhcp_lease *l, u8 code, const u8 *data, u8 len)
{
	u32 word = 0;

	if (len >= 4)
		memcpy(&word, data, 4);
	switch (code) {
	case MASK: l->mask = word; break;
	case ROUTER: l->gateway = word; break;
	case SERVER: l->server = word; break;
	case LEASE: l->seconds = __builtin_bswap32(word); break;
	case KIND: l->kind = len ? data[0] : 0; break;
	case DNS: memcpy(l->dns, data, min((size_t)len & ~3UL, sizeof(l->dns))); break;
	case MTU: l->mtu = len >= 2 ? (u16)(data[0] << 8 | data[1]) : 0; break;
	case HOST: take_text(l->host, sizeof(l->host), data, len); break;
	case DOMAIN: take_text(l->domain, sizeof(l->domain), data, len); break;
	}
}

bool dhcp_parse(const u8 *m, size_t len, u32 transaction, const u8 *mac, struct dhcp_lease *out)
{
	u8 id[4], cookie[4];
	size_t at = FIXED + 4;

	*out = (struct dhcp_lease){ .kind = 0 };
	put32(id, transaction);
	put32(cookie, COOKIE);
	if (len < FIXED + 4 || m[0] != 2 || m[1] != 1 || m[2] != 6 || memcmp(m + 4, id, 4) ||
	    memcmp(m + HARDWARE_AT, mac, 6) || memcmp(m + FIXED, cookie, 4))
		return false;
	memcpy(&out->address, m + YOURS_AT, 4);
	while (at < len && m[at] != END) {
		if (m[at] == PAD) {
			at++;
			continue;
		}
		if (at + 2 > len || m[at + 1] > len - at - 2)
			return false;
		take_option(out, m[at], m + at + 2, m[at + 1]);
		at += 2U + m[at + 1];
	}
	return out->kind == DHCP_OFFER || out->kind == DHCP_ACK || out->kind == DHCP_NAK;
}
