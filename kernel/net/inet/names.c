/* SPDX-License-Identifier: MIT
 *
 * Problem: two address families with structures of different sizes, one of which can also name the other's addresses;
 * and a dozen options that every internet socket has.
 *
 * Idea: parse either structure into one form at the border and fill it at the way back. Options are a table of bytes in
 * struct inet_common, and flags that are kept.
 *
 * Contract: ip(7), ipv6(7); RFC 3493 (mapped addresses). An option that would change what is sent or received and is
 * not built is refused with -ENOPROTOOPT.
 *
 * Locks: none; each option is a single store.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/in.h>
#include <linux/in6.h>

#include "inet_priv.h"

#define IN6_OLD_BYTES 24 /* struct sockaddr_in6 without the scope (RFC 2133) */

/* Kept, and given back. */
enum inet_flag { FLAG_FREEBIND, FLAG_TRANSPARENT };

static int parse_v4(const struct sock_addr *a, struct inet_name *out)
{
	struct sockaddr_in in;

	if (a->len < (int)sizeof(in))
		return -EINVAL;
	memcpy(&in, a->bytes, sizeof(in));
	*out = (struct inet_name){ .addr = ip_addr_v4(in.sin_addr.s_addr), .port = in.sin_port };
	return 0;
}

static int parse_v6(const struct sock_addr *a, struct inet_name *out)
{
	struct sockaddr_in6 in = { 0 };

	if (a->len < IN6_OLD_BYTES)
		return -EINVAL;
	memcpy(&in, a->bytes, min((size_t)a->len, sizeof(in)));
	*out = (struct inet_name){ .port = in.sin6_port, .ifindex = in.sin6_scope_id };
	memcpy(&out->addr, &in.sin6_addr, sizeof(out->addr));
	return 0;
}

int inet_parse_name(const struct socket *s, const struct inet_common *c, const struct sock_addr *a, bool any_family,
		    struct inet_name *out)
{
	u16 family;
	int err;

	if (a->len < (int)sizeof(family))
		return -EINVAL;
	memcpy(&family, a->bytes, sizeof(family));
	if (s->family == PF_INET) {
		err = parse_v4(a, out);
		if (!err && family != PF_INET)
			err = family || any_family || !ip_addr_is_any(&out->addr) ? -EAFNOSUPPORT : 0;
		return err;
	}
	if (family == PF_INET && any_family && !c->only_v6)
		return parse_v4(a, out);
	if (family != PF_INET6)
		return a->len < IN6_OLD_BYTES && !any_family ? -EINVAL : -EAFNOSUPPORT;
	err = parse_v6(a, out);
	if (!err && c->only_v6 && ip_addr_is_v4(&out->addr))
		err = any_family ? -ENETUNREACH : -EINVAL;
	return err;
}

void inet_fill_name(const struct socket *s, struct sock_addr *a, const struct ip_addr *addr, u16 port, u32 ifindex)
{
	if (s->family == PF_INET) {
		struct sockaddr_in in = { .sin_family = PF_INET, .sin_port = port, .sin_addr.s_addr = addr->w[3] };

		memcpy(a->bytes, &in, sizeof(in));
		a->len = sizeof(in);
	} else {
		struct sockaddr_in6 in = { .sin6_family = PF_INET6, .sin6_port = port };

		memcpy(&in.sin6_addr, addr, sizeof(*addr));
		if (!ip_addr_is_v4(addr) && addr_is_link_local(addr))
			in.sin6_scope_id = ifindex;
		memcpy(a->bytes, &in, sizeof(in));
		a->len = sizeof(in);
	}
}

bool inet_may_name(const struct socket *s, const struct inet_name *in)
{
	const struct inet_common *c = s->proto;

	if (ip_addr_is_any(&in->addr) || ip_is_local(s->net, &in->addr, s->bound_ifindex))
		return true;
	if (c->flags >> 2 * FLAG_FREEBIND & 1 || c->flags >> 2 * FLAG_TRANSPARENT & 1)
		return true;
	return s->type != SOCK_STREAM && (addr_is_multicast(&in->addr) || in->addr.w[3] == ~0U);
}

struct ip_addr inet_loopback_if_any(const struct ip_addr *a, bool v6_socket)
{
	if (!ip_addr_is_any(a))
		return *a;
	if (ip_addr_is_v4(a) || !v6_socket)
		return ip_addr_v4(host32(INADDR_LOOPBACK));
	return (struct ip_addr){ { 0, 0, 0, host32(1) } };
}

void inet_common_init(struct inet_common *c)
{
	*c = (struct inet_common){
		.ttl = 64, .hop_limit = 64, .multicast_ttl = 1, .multicast_hops = 1, .path_mtu = IP_PMTUDISC_WANT
	};
}

/* ---- options
 * --------------------------------------------------------------------------------------------------------- */

static const struct {
	int level, name;
	size_t field; /* of struct inet_common, u8 */
	int least, normal;
} bytes[] = {
	{ IPPROTO_IP, IP_TTL, offsetof(struct inet_common, ttl), 1, 64 },
	{ IPPROTO_IP, IP_TOS, offsetof(struct inet_common, tos), 0, 0 },
	{ IPPROTO_IP, IP_MULTICAST_TTL, offsetof(struct inet_common, multicast_ttl), 0, 1 },
	{ IPPROTO_IP, IP_MTU_DISCOVER, offsetof(struct inet_common, path_mtu), 0, IP_PMTUDISC_WANT },
	{ IPPROTO_IPV6, IPV6_UNICAST_HOPS, offsetof(struct inet_common, hop_limit), 1, 64 },
	{ IPPROTO_IPV6, IPV6_MULTICAST_HOPS, offsetof(struct inet_common, multicast_hops), 0, 1 },
	{ IPPROTO_IPV6, IPV6_TCLASS, offsetof(struct inet_common, tclass), 0, 0 },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, offsetof(struct inet_common, path_mtu), 0, IP_PMTUDISC_WANT },
};

static const struct {
	int level, name;
	enum inet_want want;
} wants[] = {
	{ IPPROTO_IP, IP_PKTINFO, WANT_INFO },          { IPPROTO_IP, IP_RECVTTL, WANT_TTL },
	{ IPPROTO_IP, IP_RECVTOS, WANT_TOS },           { IPPROTO_IP, IP_RECVERR, WANT_ERRORS },
	{ IPPROTO_IP, IP_RETOPTS, WANT_OPTIONS },       { IPPROTO_IP, IP_RECVOPTS, WANT_OPTIONS },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, WANT_INFO6 }, { IPPROTO_IPV6, IPV6_RECVHOPLIMIT, WANT_HOPS },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, WANT_TCLASS }, { IPPROTO_IPV6, IPV6_RECVERR, WANT_ERRORS6 },
};

static u8 *byte_of(struct inet_common *c, int level, int name, int *least, int *normal)
{
	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		if (bytes[i].level == level && bytes[i].name == name) {
			*least = bytes[i].least;
			*normal = bytes[i].normal;
			return (u8 *)c + bytes[i].field;
		}
	*least = *normal = 0;
	return NULL;
}

static int want_of(int level, int name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(wants); i++)
		if (wants[i].level == level && wants[i].name == name)
			return (int)wants[i].want;
	return -1;
}

static int flag_of(int level, int name)
{
	if (level != IPPROTO_IP)
		return -1;
	return name == IP_FREEBIND ? FLAG_FREEBIND : name == IP_TRANSPARENT ? FLAG_TRANSPARENT : -1;
}

static int set_only_v6(struct socket *s, struct inet_common *c, int v)
{
	struct sock_addr a;

	if (s->family != PF_INET6)
		return -ENOPROTOOPT;
	if (!s->ops->name(s, false, &a)) {
		struct sockaddr_in6 in;

		memcpy(&in, a.bytes, sizeof(in));
		if (in.sin6_port)
			return -EINVAL; /* it has its name already */
	}
	c->only_v6 = v != 0;
	return 0;
}

/* Of datagram sockets: groups, and the device for what goes to them. */
static int set_multicast(struct socket *s, struct inet_common *c, int level, int name, const void *value, int len)
{
	bool join = level == IPPROTO_IP ? name == IP_ADD_MEMBERSHIP : name == IPV6_ADD_MEMBERSHIP;
	struct ipv6_mreq six;
	struct ip_mreqn four = { .imr_ifindex = 0 };
	struct ip_addr group;
	u32 ifindex;

	if (s->type == SOCK_STREAM)
		return -EPROTO;
	if (level == IPPROTO_IPV6) {
		if (len < (int)sizeof(six))
			return -EINVAL;
		memcpy(&six, value, sizeof(six));
		memcpy(&group, &six.ipv6mr_multiaddr, sizeof(group));
		return inet_join(s->proto, &group, (u32)six.ipv6mr_ifindex, join);
	}
	if (len < (int)sizeof(struct ip_mreq) && !(name == IP_MULTICAST_IF && len >= 4))
		return -EINVAL;
	if (len < (int)sizeof(struct ip_mreq))
		memcpy(&four.imr_address, value, 4);
	else
		memcpy(&four, value, min((size_t)len, sizeof(four)));
	ifindex = (u32)four.imr_ifindex;
	if (!ifindex && four.imr_address.s_addr) {
		group = ip_addr_v4(four.imr_address.s_addr);
		ifindex = inet_device_with(s->net, &group);
		if (!ifindex)
			return name == IP_MULTICAST_IF ? -EADDRNOTAVAIL : -ENODEV;
	}
	if (name == IP_MULTICAST_IF) {
		c->multicast_ifindex = ifindex;
		return 0;
	}
	group = ip_addr_v4(four.imr_multiaddr.s_addr);
	return inet_join(s->proto, &group, ifindex, join);
}

static bool is_multicast_option(int level, int name)
{
	if (level == IPPROTO_IP)
		return name == IP_ADD_MEMBERSHIP || name == IP_DROP_MEMBERSHIP || name == IP_MULTICAST_IF;
	return name == IPV6_ADD_MEMBERSHIP || name == IPV6_DROP_MEMBERSHIP;
}

static int set_byte(u8 *at, int least, int normal, int v)
{
	if (v < -1 || v > 255 || (v >= 0 && v < least))
		return -EINVAL;
	*at = v == -1 ? (u8)normal : (u8)v;
	return 0;
}

int inet_set_option(struct socket *s, struct inet_common *c, int level, int name, const void *value, int len)
{
	int flag = flag_of(level, name), want = want_of(level, name), v = 0, least, normal;
	u8 *byte = byte_of(c, level, name, &least, &normal);

	if (level == IPPROTO_IPV6 && s->family != PF_INET6)
		return -ENOPROTOOPT;
	if (is_multicast_option(level, name))
		return set_multicast(s, c, level, name, value, len);
	if (len >= (int)sizeof(v))
		memcpy(&v, value, sizeof(v));
	else if (len >= 1 && level == IPPROTO_IP)
		v = *(const u8 *)value;
	else
		return -EINVAL;
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		return set_only_v6(s, c, v);
	if (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_IF) {
		c->multicast_ifindex = (u32)v;
		return 0;
	}
	if (byte)
		return set_byte(byte, least, normal, v);
	if (want >= 0) {
		c->wants = (u16)((c->wants & ~(1U << want)) | (v ? 1U << want : 0));
		return 0;
	}
	if (level == IPPROTO_IP && name == IP_HDRINCL && s->type == SOCK_RAW) {
		c->own_header = v != 0;
		return 0;
	}
	if ((level == IPPROTO_IP && name == IP_MULTICAST_LOOP) ||
	    (level == IPPROTO_IPV6 && name == IPV6_MULTICAST_LOOP)) {
		c->no_loop = !v;
		return 0;
	}
	if (flag < 0)
		return -ENOPROTOOPT;
	c->flags = (c->flags & ~(3U << 2 * flag)) | ((u32)v & 3) << 2 * flag;
	return 0;
}

int inet_get_option(struct socket *s, struct inet_common *c, int level, int name, void *value, int *len)
{
	int flag = flag_of(level, name), want = want_of(level, name), v, least, normal;
	u8 *byte = byte_of(c, level, name, &least, &normal);

	if (level == IPPROTO_IPV6 && s->family != PF_INET6)
		return -ENOPROTOOPT;
	if (byte)
		v = *byte;
	else if (want >= 0)
		v = c->wants >> want & 1;
	else if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		v = c->only_v6;
	else if (level == IPPROTO_IP && name == IP_HDRINCL)
		v = c->own_header;
	else if (name == (level == IPPROTO_IP ? IP_MULTICAST_LOOP : IPV6_MULTICAST_LOOP))
		v = !c->no_loop;
	else if (level == IPPROTO_IP && name == IP_MTU)
		v = inet_path_mtu(s);
	else if (flag >= 0)
		v = c->flags >> 2 * flag & 3;
	else
		return -ENOPROTOOPT;
	if (v < 0)
		return v;
	*len = min(*len, (int)sizeof(v));
	memcpy(value, &v, *len);
	return 0;
}
