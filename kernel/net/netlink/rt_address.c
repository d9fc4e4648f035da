/* SPDX-License-Identifier: MIT
 *
 * Problem: addresses of both families are listed, added and removed by messages.
 *
 * Idea: struct inet_address (net/inet.h) to message and back.
 *
 * Contract: rtnetlink(7), RTM_*ADDR; linux/if_addr.h. IFA_LOCAL is ours, IFA_ADDRESS the peer's or the same.
 *
 * Locks: net_config_lock is held.
 */
#include <core/clock.h>
#include <linux/if.h>
#include <linux/if_addr.h>

#include "netlink_priv.h"

static u32 left(u32 given_s, u64 made_ns)
{
	u64 gone_s = (clock_ns() - made_ns) / NSEC_PER_SEC;

	return given_s == ~0U ? ~0U : given_s > gone_s ? given_s - (u32)gone_s : 0;
}

void rt_fill_address(struct nl_reply *r, const struct inet_address *a, u16 type, u16 flags)
{
	bool v4 = ip_addr_is_v4(&a->addr);
	struct ifaddrmsg *m = nl_begin(r, type, flags, sizeof(*m));
	struct ifa_cacheinfo times = { .ifa_prefered = left(a->preferred_s, a->made_ns),
				       .ifa_valid = left(a->valid_s, a->made_ns),
				       .cstamp = (u32)(a->made_ns / 10000000),
				       .tstamp = (u32)(a->made_ns / 10000000) };

	*m = (struct ifaddrmsg){ .ifa_family = v4 ? PF_INET : PF_INET6,
				 .ifa_prefixlen = a->prefix,
				 .ifa_flags = (u8)a->flags,
				 .ifa_scope = a->scope,
				 .ifa_index = a->dev->ifindex };
	nl_put_addr(r, IFA_ADDRESS, &a->peer);
	if (v4 || !ip_addr_equal(&a->peer, &a->addr))
		nl_put_addr(r, IFA_LOCAL, &a->addr);
	if (v4 && !ip_addr_is_any(&a->broadcast))
		nl_put_addr(r, IFA_BROADCAST, &a->broadcast);
	if (v4)
		nl_put_text(r, IFA_LABEL, a->label);
	nl_put_u32(r, IFA_FLAGS, a->flags);
	nl_put(r, IFA_CACHEINFO, &times, sizeof(times));
	nl_end(r);
}

static int parse(const struct nl_request *q, struct inet_address *a)
{
	struct ifa_cacheinfo times;
	struct ifaddrmsg m;
	struct nl_attrs attrs;
	struct ip_addr peer;
	bool has_local, has_peer;
	int err;

	if (q->len < sizeof(m))
		return -EINVAL;
	memcpy(&m, q->body, sizeof(m));
	if (m.ifa_family != PF_INET && m.ifa_family != PF_INET6)
		return -EAFNOSUPPORT;
	err = nl_parse((const u8 *)q->body + sizeof(m), q->len - sizeof(m), IFA_MAX, &attrs);
	if (err)
		return err;
	*a = (struct inet_address){ .dev = net_device_find(q->net, m.ifa_index),
				    .prefix = m.ifa_prefixlen,
				    .scope = m.ifa_scope,
				    .flags = nl_u32(attrs.of[IFA_FLAGS], m.ifa_flags) | IFA_F_PERMANENT,
				    .broadcast = ip_addr_v4(0),
				    .valid_s = ~0U,
				    .preferred_s = ~0U };
	if (!a->dev)
		return -ENODEV;
	has_local = nl_addr(attrs.of[IFA_LOCAL], m.ifa_family, &a->addr);
	has_peer = nl_addr(attrs.of[IFA_ADDRESS], m.ifa_family, &peer);
	if (!has_local && !has_peer)
		return -EINVAL;
	if (!has_local)
		a->addr = peer;
	a->peer = has_peer ? peer : a->addr;
	(void)!nl_addr(attrs.of[IFA_BROADCAST], m.ifa_family, &a->broadcast);
	(void)!nl_text(attrs.of[IFA_LABEL], a->label, sizeof(a->label));
	if (attrs.of[IFA_CACHEINFO] && nl_len(attrs.of[IFA_CACHEINFO]) >= sizeof(times)) {
		memcpy(&times, nl_data(attrs.of[IFA_CACHEINFO]), sizeof(times));
		a->valid_s = times.ifa_valid;
		a->preferred_s = times.ifa_prefered;
		if (a->valid_s != ~0U)
			a->flags &= ~(u32)IFA_F_PERMANENT;
	}
	if (m.ifa_family == PF_INET6 && (net_host32(a->addr.w[0]) >> 22) == 0x3fa) /* fe80::/10 */
		a->scope = RT_SCOPE_LINK;
	return 0;
}

static int add(const struct nl_request *q, struct inet_address *a)
{
	int err = inet_address_add(a);

	if (err != -EEXIST || !(q->h->nlmsg_flags & NLM_F_REPLACE))
		return err;
	err = inet_address_remove(a->dev, &a->addr, a->prefix);
	return err ? err : inet_address_add(a);
}

int rt_address(const struct nl_request *q, struct nl_reply *r)
{
	u8 family = *(const u8 *)q->body;
	struct inet_address a, *at;
	int err;

	if (q->h->nlmsg_type == RTM_GETADDR) {
		if (!(q->h->nlmsg_flags & NLM_F_DUMP))
			return -EOPNOTSUPP;
		list_for_each_entry (at, inet_addresses(q->net), link)
			if (!family || (family == PF_INET) == ip_addr_is_v4(&at->addr))
				rt_fill_address(r, at, RTM_NEWADDR, NLM_F_MULTI);
		return 0;
	}
	err = parse(q, &a);
	if (err)
		return err;
	return q->h->nlmsg_type == RTM_NEWADDR ? add(q, &a) : inet_address_remove(a.dev, &a.addr, a.prefix);
}
