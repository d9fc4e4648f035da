/* SPDX-License-Identifier: MIT
 *
 * Problem: routes are listed, asked for ("how would you reach this?"), added and removed by messages.
 *
 * Idea: struct inet_route (net/inet.h) to message and back.
 *
 * Contract: rtnetlink(7), RTM_*ROUTE. One next hop a route. A gateway may be of the route's own family alone.
 *
 * Locks: net_config_lock is held.
 */
#include <core/clock.h>
#include <linux/if.h>
#include <linux/route.h>

#include "netlink_priv.h"

static void put_details(struct nl_reply *r, const struct inet_route *route)
{
	u32 nest;

	if (route->priority)
		nl_put_u32(r, RTA_PRIORITY, route->priority);
	if (route->mtu) {
		nest = nl_nest(r, RTA_METRICS);
		nl_put_u32(r, RTAX_MTU, route->mtu);
		nl_nest_end(r, nest);
	}
	if (!ip_addr_is_v4(&route->prefix)) {
		struct rta_cacheinfo c = { .rta_expires = 0 };

		if (route->expires_ns)
			c.rta_expires = (u32)((s64)(route->expires_ns - clock_ns()) / 10000000);
		nl_put(r, RTA_CACHEINFO, &c, sizeof(c));
		nl_put_u8(r, RTA_PREF, 0);
	}
}

static void fill(struct nl_reply *r, const struct inet_route *route, const struct ip_addr *source, u16 type, u16 flags,
		 u32 route_flags)
{
	bool v4 = ip_addr_is_v4(&route->prefix);
	struct rtmsg *m = nl_begin(r, type, flags, sizeof(*m));

	*m = (struct rtmsg){ .rtm_family = v4 ? PF_INET : PF_INET6,
			     .rtm_dst_len = route->length,
			     .rtm_table = route->table < 256 ? (u8)route->table : RT_TABLE_COMPAT,
			     .rtm_protocol = route->protocol,
			     .rtm_scope = route->scope,
			     .rtm_type = route->type,
			     .rtm_flags = route_flags | route->flags };
	nl_put_u32(r, RTA_TABLE, route->table);
	if (route->length)
		nl_put_addr(r, RTA_DST, &route->prefix);
	if (source)
		nl_put_addr(r, RTA_PREFSRC, source);
	else if (route->has_source)
		nl_put_addr(r, RTA_PREFSRC, &route->source);
	if (route->has_gateway)
		nl_put_addr(r, RTA_GATEWAY, &route->gateway);
	if (route->dev)
		nl_put_u32(r, RTA_OIF, route->dev->ifindex);
	put_details(r, route);
	nl_end(r);
}

void rt_fill_route(struct nl_reply *r, const struct inet_route *route, u16 type, u16 flags)
{
	fill(r, route, NULL, type, flags, 0);
}

static int parse(const struct nl_request *q, struct rtmsg *m, struct inet_route *out)
{
	struct nl_attrs attrs, metrics;
	u32 oif;
	int err;

	if (q->len < sizeof(*m))
		return -EINVAL;
	memcpy(m, q->body, sizeof(*m));
	if (m->rtm_family != PF_INET && m->rtm_family != PF_INET6)
		return -EAFNOSUPPORT;
	err = nl_parse((const u8 *)q->body + sizeof(*m), q->len - sizeof(*m), RTA_MAX, &attrs);
	if (err)
		return err;
	if (attrs.of[RTA_MULTIPATH] || attrs.of[RTA_VIA] || attrs.of[RTA_NH_ID])
		return fail(EOPNOTSUPP, "route with several next hops");
	*out = (struct inet_route){ .length = m->rtm_dst_len,
				    .type = m->rtm_type,
				    .protocol = m->rtm_protocol,
				    .scope = m->rtm_scope,
				    .table = nl_u32(attrs.of[RTA_TABLE],
						    m->rtm_table ? m->rtm_table : (u32)RT_TABLE_MAIN),
				    .priority = nl_u32(attrs.of[RTA_PRIORITY], 0),
				    .flags = m->rtm_flags & RTNH_F_ONLINK };
	if (!nl_addr(attrs.of[RTA_DST], m->rtm_family, &out->prefix))
		out->prefix = (struct ip_addr){ { 0, 0, m->rtm_family == PF_INET ? IP_V4_MARK : 0, 0 } };
	out->has_gateway =
		nl_addr(attrs.of[RTA_GATEWAY], m->rtm_family, &out->gateway) && !ip_addr_is_any(&out->gateway);
	out->has_source = nl_addr(attrs.of[RTA_PREFSRC], m->rtm_family, &out->source);
	if (attrs.of[RTA_METRICS]) {
		err = nl_parse(nl_data(attrs.of[RTA_METRICS]), nl_len(attrs.of[RTA_METRICS]), RTAX_MAX, &metrics);
		out->mtu = err ? 0 : nl_u32(metrics.of[RTAX_MTU], 0);
	}
	oif = nl_u32(attrs.of[RTA_OIF], 0);
	out->dev = oif ? net_device_find(q->net, oif) : NULL;
	return err ? err : oif && !out->dev ? -ENODEV : 0;
}

static int answer(const struct nl_request *q, struct nl_reply *r, const struct inet_route *asked)
{
	struct inet_route found;
	struct ip_addr source;
	int err = inet_route_find(q->net, &asked->prefix, asked->dev ? asked->dev->ifindex : 0, &found, &source);

	if (err)
		return err;
	found.scope = RT_SCOPE_UNIVERSE;
	found.protocol = 0;
	found.priority = 0;
	fill(r, &found, &source, RTM_NEWROUTE, 0, RTM_F_CLONED);
	return 0;
}

static void dump(const struct nl_request *q, struct nl_reply *r)
{
	const struct rtmsg *m = q->body;
	u8 family = *(const u8 *)q->body;
	bool cloned = q->len >= sizeof(*m) && m->rtm_flags & RTM_F_CLONED;

	for (int v6 = 0; v6 < 2 && !cloned; v6++)
		if (!family || family == (v6 ? PF_INET6 : PF_INET))
			for (struct list *l = inet_routes(q->net, v6)->prev; l != inet_routes(q->net, v6); l = l->prev)
				rt_fill_route(r, list_entry(l, struct inet_route, link), RTM_NEWROUTE, NLM_F_MULTI);
}

int rt_route(const struct nl_request *q, struct nl_reply *r)
{
	struct inet_route route;
	struct rtmsg m;
	int err;

	if (q->h->nlmsg_type == RTM_GETROUTE && q->h->nlmsg_flags & NLM_F_DUMP) {
		dump(q, r);
		return 0;
	}
	err = parse(q, &m, &route);
	if (err)
		return err;
	if (q->h->nlmsg_type == RTM_GETROUTE)
		return answer(q, r, &route);
	if (q->h->nlmsg_type == RTM_DELROUTE)
		return inet_route_remove(q->net, &route, m.rtm_family == PF_INET6);
	if (!(q->h->nlmsg_flags & (NLM_F_CREATE | NLM_F_REPLACE)))
		return -ENOENT;
	return inet_route_add(q->net, &route, q->h->nlmsg_flags & NLM_F_REPLACE, q->h->nlmsg_flags & NLM_F_APPEND);
}
