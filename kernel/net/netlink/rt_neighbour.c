/* SPDX-License-Identifier: MIT
 *
 * Problem: neighbours are listed, pinned and forgotten by messages.
 *
 * Idea: the table shows copies (net/inet.h); each becomes a message.
 *
 * Contract: rtnetlink(7), RTM_*NEIGH; linux/neighbour.h. No proxies.
 *
 * Locks: net_config_lock is held.
 */
#include <core/clock.h>
#include <linux/neighbour.h>

#include "netlink_priv.h"

static u32 ago(u64 ns)
{
	u64 now = clock_ns();

	return ns && ns < now ? (u32)((now - ns) / 10000000) : 0;
}

struct listing {
	struct nl_reply *r;
	u8 family;
};

static int show(const struct neighbour_view *v, void *arg)
{
	struct listing *l = arg;
	u8 family = ip_addr_is_v4(&v->addr) ? PF_INET : PF_INET6;
	struct nda_cacheinfo c = { .ndm_confirmed = ago(v->confirmed_ns),
				   .ndm_used = ago(v->used_ns),
				   .ndm_updated = ago(v->updated_ns) };
	struct ndmsg *m;

	if (l->family && l->family != family)
		return 0;
	m = nl_begin(l->r, RTM_NEWNEIGH, NLM_F_MULTI, sizeof(*m));
	*m = (struct ndmsg){ .ndm_family = family,
			     .ndm_ifindex = (int)v->dev->ifindex,
			     .ndm_state = v->state,
			     .ndm_type = RTN_UNICAST };
	nl_put_addr(l->r, NDA_DST, &v->addr);
	if (!(v->state & (NUD_INCOMPLETE | NUD_FAILED)))
		nl_put(l->r, NDA_LLADDR, v->mac, sizeof(v->mac));
	nl_put(l->r, NDA_CACHEINFO, &c, sizeof(c));
	nl_put_u32(l->r, NDA_PROBES, v->probes);
	nl_end(l->r);
	return 0;
}

int rt_neighbour(const struct nl_request *q, struct nl_reply *r)
{
	struct nl_attrs attrs;
	struct net_device *d;
	struct ip_addr addr;
	struct ndmsg m;
	int err;

	if (q->h->nlmsg_type == RTM_GETNEIGH) {
		if (!(q->h->nlmsg_flags & NLM_F_DUMP))
			return -EOPNOTSUPP;
		neighbours_show(q->net, show, &(struct listing){ r, *(const u8 *)q->body });
		return 0;
	}
	if (q->len < sizeof(m))
		return -EINVAL;
	memcpy(&m, q->body, sizeof(m));
	err = nl_parse((const u8 *)q->body + sizeof(m), q->len - sizeof(m), NDA_MAX, &attrs);
	if (err)
		return err;
	d = net_device_find(q->net, (u32)m.ndm_ifindex);
	if (!d)
		return -ENODEV;
	if ((m.ndm_family != PF_INET && m.ndm_family != PF_INET6) || m.ndm_flags & NTF_PROXY)
		return -EOPNOTSUPP;
	if (!nl_addr(attrs.of[NDA_DST], m.ndm_family, &addr))
		return -EINVAL;
	if (q->h->nlmsg_type == RTM_DELNEIGH)
		return neighbour_forget(d, &addr);
	if (!attrs.of[NDA_LLADDR] || nl_len(attrs.of[NDA_LLADDR]) < ETHERNET_ADDRESS)
		return -EINVAL;
	return neighbour_set(d, &addr, nl_data(attrs.of[NDA_LLADDR]), m.ndm_state);
}
