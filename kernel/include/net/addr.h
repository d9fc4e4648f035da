/* SPDX-License-Identifier: MIT
 *
 * An internet address of either family in one form: 16 bytes in network order, IPv4 as ::ffff:a.b.c.d (RFC 4291,
 * 2.5.5.2), so that ports, connections and look-ups need one code for both. The unspecified address of IPv4 is
 * ::ffff:0.0.0.0, that of IPv6 (and of dual-stack sockets) ::.
 */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <lib/types.h>

struct ip_addr {
	u32 w[4];
};

#define IP_V4_MARK __builtin_bswap32(0xffffU)

static inline u16 net_host16(u16 v)
{
	return __builtin_bswap16(v);
}
static inline u32 net_host32(u32 v)
{
	return __builtin_bswap32(v);
}
static inline struct ip_addr ip_addr_v4(u32 addr) /* network order */
{
	return (struct ip_addr){ { 0, 0, IP_V4_MARK, addr } };
}
static inline bool ip_addr_is_v4(const struct ip_addr *a)
{
	return !a->w[0] && !a->w[1] && a->w[2] == IP_V4_MARK;
}
static inline bool ip_addr_is_any(const struct ip_addr *a)
{
	return !a->w[0] && !a->w[1] && !a->w[3] && (!a->w[2] || a->w[2] == IP_V4_MARK);
}
static inline bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}
/* Whether two names of sockets have an address in common. only_v6 counts for :: alone. */
static inline bool ip_addr_overlap(const struct ip_addr *a, bool a_only_v6, const struct ip_addr *b, bool b_only_v6)
{
	bool a4 = ip_addr_is_v4(a), b4 = ip_addr_is_v4(b), a_any = ip_addr_is_any(a), b_any = ip_addr_is_any(b);

	if (!a_any && !b_any)
		return ip_addr_equal(a, b);
	if (a4 == b4)
		return true;
	return a4 ? b_any && !b_only_v6 : a_any && !a_only_v6;
}

#endif
