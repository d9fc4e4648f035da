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

/* Kept, and given back: they say what is the case here anyway (no fragments, no errors queued, no options). */
enum inet_flag { FLAG_MTU_DISCOVER, FLAG_FREEBIND, FLAG_TRANSPARENT, FLAG_V6_MTU_DISCOVER };

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

void inet_fill_name(const struct socket *s, struct sock_addr *a, const struct ip_addr *addr, u16 port)
{
	if (s->family == PF_INET) {
		struct sockaddr_in in = { .sin_family = PF_INET, .sin_port = port, .sin_addr.s_addr = addr->w[3] };

		memcpy(a->bytes, &in, sizeof(in));
		a->len = sizeof(in);
	} else {
		struct sockaddr_in6 in = { .sin6_family = PF_INET6, .sin6_port = port };

		memcpy(&in.sin6_addr, addr, sizeof(*addr));
		memcpy(a->bytes, &in, sizeof(in));
		a->len = sizeof(in);
	}
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
	*c = (struct inet_common){ .ttl = 64, .hop_limit = 64 };
}

/* ---- options
 * --------------------------------------------------------------------------------------------------------- */

static u8 *byte_of(struct inet_common *c, int level, int name)
{
	if (level == IPPROTO_IP)
		return name == IP_TTL ? &c->ttl : name == IP_TOS ? &c->tos : NULL;
	return name == IPV6_UNICAST_HOPS ? &c->hop_limit : name == IPV6_TCLASS ? &c->tclass : NULL;
}

static int flag_of(int level, int name)
{
	if (level == IPPROTO_IP)
		return name == IP_MTU_DISCOVER  ? FLAG_MTU_DISCOVER
		       : name == IP_FREEBIND    ? FLAG_FREEBIND
		       : name == IP_TRANSPARENT ? FLAG_TRANSPARENT
						: -1;
	return name == IPV6_MTU_DISCOVER ? FLAG_V6_MTU_DISCOVER : -1;
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

static int set_byte(u8 *at, bool is_hops, int v)
{
	if (v < -1 || v > 255 || (is_hops && !v))
		return -EINVAL;
	*at = v == -1 ? (is_hops ? 64 : 0) : (u8)v;
	return 0;
}

int inet_set_option(struct socket *s, struct inet_common *c, int level, int name, const void *value, int len)
{
	u8 *byte = byte_of(c, level, name);
	int flag = flag_of(level, name), v = 0;

	if (level == IPPROTO_IPV6 && s->family != PF_INET6)
		return -ENOPROTOOPT;
	if (len >= (int)sizeof(v))
		memcpy(&v, value, sizeof(v));
	else if (len >= 1 && level == IPPROTO_IP)
		v = *(const u8 *)value;
	else
		return -EINVAL;
	if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		return set_only_v6(s, c, v);
	if (byte)
		return set_byte(byte, name == (level == IPPROTO_IP ? IP_TTL : IPV6_UNICAST_HOPS), v);
	if (flag < 0)
		return -ENOPROTOOPT;
	c->flags = (c->flags & ~(3U << 2 * flag)) | ((u32)v & 3) << 2 * flag;
	return 0;
}

int inet_get_option(struct socket *s, struct inet_common *c, int level, int name, void *value, int *len)
{
	u8 *byte = byte_of(c, level, name);
	int flag = flag_of(level, name), v;

	if (level == IPPROTO_IPV6 && s->family != PF_INET6)
		return -ENOPROTOOPT;
	if (byte)
		v = *byte;
	else if (level == IPPROTO_IPV6 && name == IPV6_V6ONLY)
		v = c->only_v6;
	else if (flag >= 0)
		v = c->flags >> 2 * flag & 3;
	else
		return -ENOPROTOOPT;
	*len = min(*len, (int)sizeof(v));
	memcpy(value, &v, *len);
	return 0;
}
