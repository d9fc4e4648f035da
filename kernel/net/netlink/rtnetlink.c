/* SPDX-License-Identifier: MIT
 *
 * Problem: ip(8), network managers and C libraries (getifaddrs) read and change the network's configuration by some
 * forty message types.
 *
 * Idea: the type says the family (link, address, route, neighbour) and the verb; rights and the configuration's lock
 * are the same for all of them. What changes is told to those who listen by the functions that answer requests.
 *
 * Contract: rtnetlink(7). Rules: the three that there always are and that of VRFs, shown only. Not built: traffic
 * control, next-hop objects, multicast routes, labels.
 *
 * Locks: net_config_lock around each request and notification.
 */
#include <core/init.h>
#include <linux/capability.h>
#include <linux/fib_rules.h>
#include <linux/in.h>
#include <linux/neighbour.h>
#include <linux/net_namespace.h>
#include <linux/netconf.h>

#include "netlink_priv.h"

#define VERB(type) ((type)&3) /* 0 new, 1 delete, 2 get, 3 set */

/* Of table 0: the VRF's that the packet belongs to. */
static void put_rule(struct nl_reply *r, u8 family, u32 priority, u8 table)
{
	struct fib_rule_hdr *h = nl_begin(r, RTM_NEWRULE, NLM_F_MULTI, sizeof(*h));

	*h = (struct fib_rule_hdr){ .family = family, .table = table, .action = FR_ACT_TO_TBL };
	nl_put_u32(r, FRA_TABLE, table);
	if (!table)
		nl_put_u8(r, FRA_L3MDEV, 1);
	nl_put_u32(r, FRA_SUPPRESS_PREFIXLEN, ~0U);
	nl_put_u8(r, FRA_PROTOCOL, RTPROT_KERNEL);
	if (priority)
		nl_put_u32(r, FRA_PRIORITY, priority);
	nl_end(r);
}

static int rules(const struct nl_request *q, struct nl_reply *r)
{
	u8 family = q->len ? *(const u8 *)q->body : 0;

	if (q->h->nlmsg_type != RTM_GETRULE)
		return -EOPNOTSUPP;
	for (int k = 0; k < 2; k++) {
		u8 f = k ? PF_INET6 : PF_INET;

		if (family && family != f)
			continue;
		put_rule(r, f, 0, RT_TABLE_LOCAL);
		if (q->net->has_vrf)
			put_rule(r, f, 1000, RT_TABLE_UNSPEC);
		put_rule(r, f, 32766, RT_TABLE_MAIN);
		if (!k)
			put_rule(r, f, 32767, RT_TABLE_DEFAULT);
	}
	return 0;
}

/* Nobody has given our neighbours' namespaces numbers. */
static int ns_number(const struct nl_request *q, struct nl_reply *r)
{
	struct rtgenmsg *g;
	s32 none = NETNSA_NSID_NOT_ASSIGNED;

	if (q->h->nlmsg_flags & NLM_F_DUMP)
		return 0;
	g = nl_begin(r, RTM_NEWNSID, 0, sizeof(*g));
	*g = (struct rtgenmsg){ .rtgen_family = 0 };
	nl_put(r, NETNSA_NSID, &none, sizeof(none));
	nl_end(r);
	return 0;
}

static int dispatch(const struct nl_request *q, struct nl_reply *r)
{
	switch (q->h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
	case RTM_GETLINK:
	case RTM_SETLINK: return rt_link(q, r);
	case RTM_NEWADDR:
	case RTM_DELADDR:
	case RTM_GETADDR: return rt_address(q, r);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
	case RTM_GETROUTE: return rt_route(q, r);
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
	case RTM_GETNEIGH: return rt_neighbour(q, r);
	case RTM_GETRULE: return rules(q, r);
	case RTM_GETNSID: return ns_number(q, r);
	}
	return fail(EOPNOTSUPP, "rtnetlink message %u", q->h->nlmsg_type);
}

int rt_request(const struct nl_request *q, struct nl_reply *r)
{
	int err;

	if (q->len < sizeof(struct rtgenmsg))
		return q->h->nlmsg_type == RTM_GETLINK || VERB(q->h->nlmsg_type) == 2 ? -EINVAL : 0;
	if (VERB(q->h->nlmsg_type) != 2 && !ns_capable(q->net->ns.owner, CAP_NET_ADMIN))
		return -EPERM;
	mutex_lock(&net_config_lock);
	err = dispatch(q, r);
	mutex_unlock(&net_config_lock);
	return err;
}

/* ---- telling
 * ------------------------------------------------------------------------------------------------------------- */

static void on_device(struct net_device *d, enum net_event e)
{
	struct nl_reply r;

	if (!nl_is_heard(d->net, RTNLGRP_LINK) || nl_reply_begin(&r, NULL))
		return;
	rt_fill_link(&r, d, e == NET_DEVICE_GONE ? RTM_DELLINK : RTM_NEWLINK, 0);
	nl_notify(d->net, RTNLGRP_LINK, &r);
	nl_reply_end(&r, false, 0);
}

static void on_inet(struct net *n, enum inet_event e, const void *what)
{
	const struct inet_address *a = what;
	const struct inet_route *route = what;
	bool is_address = e == INET_ADDRESS_NEW || e == INET_ADDRESS_GONE;
	bool v4 = ip_addr_is_v4(is_address ? &a->addr : &route->prefix);
	u32 group = is_address ? v4 ? RTNLGRP_IPV4_IFADDR : RTNLGRP_IPV6_IFADDR
		    : v4       ? RTNLGRP_IPV4_ROUTE
			       : RTNLGRP_IPV6_ROUTE;
	struct nl_reply r;

	if (!nl_is_heard(n, group) || nl_reply_begin(&r, NULL))
		return;
	if (is_address)
		rt_fill_address(&r, a, e == INET_ADDRESS_NEW ? RTM_NEWADDR : RTM_DELADDR, 0);
	else
		rt_fill_route(&r, route, e == INET_ROUTE_NEW ? RTM_NEWROUTE : RTM_DELROUTE, 0);
	nl_notify(n, group, &r);
	nl_reply_end(&r, false, 0);
}

static struct net_watcher watcher = { .event = on_device };

static void rtnetlink_init(void)
{
	net_watcher_register(&watcher);
	inet_event_hook = on_inet;
}
PART_INIT(core, rtnetlink_init);
