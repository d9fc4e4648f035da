/* SPDX-License-Identifier: MIT
 *
 * Problem: devices are listed, found by name, made in pairs, raised, renamed and moved between namespaces by messages.
 *
 * Idea: one message form for all of it: attributes that are present are what shall change. Everything is parsed and
 * looked up first, then changed in an order in which later steps can still name the device.
 *
 * Contract: rtnetlink(7), RTM_*LINK; linux/if_link.h. Kinds of devices: those of net_kind_register (veth, vrf).
 *
 * Locks: net_config_lock is held.
 */
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/veth.h>
#include <process/namespaces.h>
#include <process/process.h>
#include <vfs/vfs.h>

#include "netlink_priv.h"

struct wish { /* parsed */
	struct ifinfomsg info;
	struct nl_attrs attrs;
	char name[NET_NAME_MAX], kind[16];
	bool has_name;
	struct nl_attrs linkinfo;
};

static void put_statistics(struct nl_reply *r, const struct net_device *d)
{
	struct rtnl_link_stats64 s = { .rx_packets = d->in.packets,
				       .tx_packets = d->out.packets,
				       .rx_bytes = d->in.bytes,
				       .tx_bytes = d->out.bytes,
				       .rx_errors = d->in.errors,
				       .tx_errors = d->out.errors,
				       .rx_dropped = d->in.dropped,
				       .tx_dropped = d->out.dropped };
	struct rtnl_link_stats old = { .rx_packets = (u32)s.rx_packets,
				       .tx_packets = (u32)s.tx_packets,
				       .rx_bytes = (u32)s.rx_bytes,
				       .tx_bytes = (u32)s.tx_bytes,
				       .rx_errors = (u32)s.rx_errors,
				       .tx_errors = (u32)s.tx_errors,
				       .rx_dropped = (u32)s.rx_dropped,
				       .tx_dropped = (u32)s.tx_dropped };

	nl_put(r, IFLA_STATS64, &s, sizeof(s));
	nl_put(r, IFLA_STATS, &old, sizeof(old));
}

static u8 operational(const struct net_device *d)
{
	if (d->flags & IFF_LOOPBACK)
		return 0;                      /* unknown */
	return d->flags & IFF_RUNNING ? 6 : 2; /* up, down: RFC 2863 */
}

static void put_kind(struct nl_reply *r, const struct net_device *d)
{
	u32 nest, inside;

	if (!d->ops->kind && !d->master)
		return;
	nest = nl_nest(r, IFLA_LINKINFO);
	if (d->ops->kind)
		nl_put_text(r, IFLA_INFO_KIND, d->ops->kind);
	if (d->vrf_table) {
		inside = nl_nest(r, IFLA_INFO_DATA);
		nl_put_u32(r, IFLA_VRF_TABLE, d->vrf_table);
		nl_nest_end(r, inside);
	}
	if (d->master) {
		nl_put_text(r, IFLA_INFO_SLAVE_KIND, d->master->ops->kind);
		inside = nl_nest(r, IFLA_INFO_SLAVE_DATA);
		nl_put_u32(r, IFLA_VRF_PORT_TABLE, d->master->vrf_table);
		nl_nest_end(r, inside);
	}
	nl_nest_end(r, nest);
}

void rt_fill_link(struct nl_reply *r, const struct net_device *d, u16 type, u16 flags)
{
	struct ifinfomsg *i = nl_begin(r, type, flags, sizeof(*i));

	*i = (struct ifinfomsg){ .ifi_type = d->type, .ifi_index = (int)d->ifindex, .ifi_flags = d->flags };
	if (d->flags & IFF_RUNNING)
		i->ifi_flags |= IFF_LOWER_UP;
	nl_put_text(r, IFLA_IFNAME, d->name);
	nl_put_u32(r, IFLA_TXQLEN, d->queue_length);
	nl_put_u8(r, IFLA_OPERSTATE, operational(d));
	nl_put_u8(r, IFLA_LINKMODE, 0);
	nl_put_u32(r, IFLA_MTU, d->mtu);
	nl_put_u32(r, IFLA_MIN_MTU, d->least_mtu);
	nl_put_u32(r, IFLA_MAX_MTU, d->most_mtu);
	nl_put_u32(r, IFLA_GROUP, 0);
	nl_put_u32(r, IFLA_PROMISCUITY, (u32)d->promiscuous);
	nl_put_u32(r, IFLA_NUM_TX_QUEUES, 1);
	nl_put_u32(r, IFLA_NUM_RX_QUEUES, 1);
	nl_put_u8(r, IFLA_CARRIER, (d->flags & IFF_RUNNING) != 0);
	nl_put_text(r, IFLA_QDISC, "noqueue");
	nl_put(r, IFLA_ADDRESS, d->address, ETHERNET_ADDRESS);
	nl_put(r, IFLA_BROADCAST, d->broadcast, ETHERNET_ADDRESS);
	if (d->peer_ifindex)
		nl_put_u32(r, IFLA_LINK, d->peer_ifindex);
	put_statistics(r, d);
	if (d->master)
		nl_put_u32(r, IFLA_MASTER, d->master->ifindex);
	put_kind(r, d);
	nl_end(r);
}

/* ---- reading a request
 * ------------------------------------------------------------------------------------------------------ */

static int parse(const void *body, size_t len, struct wish *w)
{
	int err;

	memset(w, 0, sizeof(*w));
	if (len < sizeof(w->info)) {
		w->info.ifi_family = len ? *(const u8 *)body : 0; /* rtgenmsg: an old form of a dump */
		return 0;
	}
	memcpy(&w->info, body, sizeof(w->info));
	err = nl_parse((const u8 *)body + sizeof(w->info), len - sizeof(w->info), NL_ATTRS - 1, &w->attrs);
	if (err)
		return err;
	w->has_name = nl_text(w->attrs.of[IFLA_IFNAME], w->name, sizeof(w->name));
	if (w->attrs.of[IFLA_IFNAME] && !w->has_name)
		return -EINVAL;
	if (w->attrs.of[IFLA_LINKINFO]) {
		const struct nlattr *a = w->attrs.of[IFLA_LINKINFO];

		err = nl_parse(nl_data(a), nl_len(a), IFLA_INFO_SLAVE_DATA, &w->linkinfo);
		if (!err && w->linkinfo.of[IFLA_INFO_KIND] &&
		    !nl_text(w->linkinfo.of[IFLA_INFO_KIND], w->kind, sizeof(w->kind)))
			err = -EINVAL;
	}
	return err;
}

static struct net_device *find(struct net *n, const struct wish *w)
{
	if (w->info.ifi_index)
		return net_device_find(n, (u32)w->info.ifi_index);
	return w->has_name ? net_device_by_name(n, w->name) : NULL;
}

/* The namespace that the message names, counted. out stays NULL if it names none. */
static int other_net(const struct nl_attrs *attrs, struct net **out)
{
	const struct nlattr *by_fd = attrs->of[IFLA_NET_NS_FD], *by_pid = attrs->of[IFLA_NET_NS_PID];
	struct ns *ns = NULL;

	*out = NULL;
	if (by_fd) {
		struct fd_ref f = fd_get((int)nl_u32(by_fd, ~0U));

		ns = f.file ? ns_of_file(f.file) : NULL;
		if (ns && ns->kind == NS_NET)
			ns_get(ns);
		else
			ns = NULL;
		if (f.file)
			fd_put(f);
	} else if (by_pid) {
		struct task *t = task_find_get((int)nl_u32(by_pid, 0));

		if (t) {
			ns = ns_of_task(t, NS_NET);
			task_put(t);
		}
	} else {
		return 0;
	}
	if (!ns)
		return by_fd ? -EINVAL : -ESRCH;
	*out = container_of(ns, struct net, ns);
	return 0;
}

/* ---- making and changing
 * ---------------------------------------------------------------------------------------------------- */

static int create(struct net *here, struct net *there, const struct wish *w)
{
	const struct nlattr *data = w->linkinfo.of[IFLA_INFO_DATA];
	struct net_kind *k = net_kind_find(w->kind);
	struct net_link_wish wish = { .name = w->has_name ? w->name : NULL, .peer_net = here };
	struct net *peer_net = NULL;
	struct wish peer = { .has_name = false };
	struct nl_attrs inside;
	bool pair;
	int err = 0;

	if (!w->kind[0])
		return -EOPNOTSUPP;
	if (!k)
		return fail(EOPNOTSUPP, "devices of kind %s", w->kind);
	pair = !strcmp(w->kind, "veth"); /* the kinds number their attributes each for itself */
	if (data)
		err = nl_parse(nl_data(data), nl_len(data), pair ? VETH_INFO_PEER : IFLA_VRF_TABLE, &inside);
	if (!err && data && !pair)
		wish.table = nl_u32(inside.of[IFLA_VRF_TABLE], 0);
	if (!err && data && pair && inside.of[VETH_INFO_PEER])
		err = parse(nl_data(inside.of[VETH_INFO_PEER]), nl_len(inside.of[VETH_INFO_PEER]), &peer);
	if (!err)
		err = other_net(&peer.attrs, &peer_net);
	if (!err) {
		wish.peer_net = peer_net ? peer_net : here;
		wish.peer_name = peer.has_name ? peer.name : NULL;
		err = k->create(there ? there : here, &wish);
	}
	if (peer_net)
		ns_put(&peer_net->ns);
	return err;
}

static int set_address(struct net_device *d, const struct nlattr *a)
{
	if (nl_len(a) < ETHERNET_ADDRESS || d->flags & IFF_LOOPBACK)
		return nl_len(a) < ETHERNET_ADDRESS ? -EINVAL : -EOPNOTSUPP;
	if (*(const u8 *)nl_data(a) & 1)
		return -EADDRNOTAVAIL;
	memcpy(d->address, nl_data(a), ETHERNET_ADDRESS);
	return 0;
}

static int set_master(struct net_device *d, u32 ifindex)
{
	struct net_device *vrf = ifindex ? net_device_find(d->net, ifindex) : NULL;

	if (ifindex && !vrf)
		return -EINVAL;
	if (vrf && !vrf->vrf_table)
		return fail(EOPNOTSUPP, "%s takes no devices", vrf->name);
	return net_device_set_master(d, vrf);
}

static int change(struct net_device *d, const struct wish *w, struct net *to)
{
	const struct nl_attrs *a = &w->attrs;
	u32 mask = w->info.ifi_change ? w->info.ifi_change : w->info.ifi_flags ? ~0U : 0;
	int err = 0;

	if (to)
		err = net_device_move(d, to);
	if (!err && a->of[IFLA_ADDRESS])
		err = set_address(d, a->of[IFLA_ADDRESS]);
	if (!err && a->of[IFLA_MTU])
		err = net_device_set_mtu(d, nl_u32(a->of[IFLA_MTU], 0));
	if (!err && w->info.ifi_index && w->has_name)
		err = net_device_rename(d, w->name);
	if (!err && a->of[IFLA_TXQLEN])
		d->queue_length = nl_u32(a->of[IFLA_TXQLEN], 0);
	if (!err && a->of[IFLA_MASTER])
		err = set_master(d, nl_u32(a->of[IFLA_MASTER], 0));
	if (!err)
		err = net_device_set_flags(d, w->info.ifi_flags,
					   mask & (IFF_UP | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST));
	return err;
}

static int new_link(const struct nl_request *q, const struct wish *w)
{
	struct net_device *d = find(q->net, w);
	struct net *to;
	int err = other_net(&w->attrs, &to);

	if (err)
		return err;
	if (to && !ns_capable(to->ns.owner, CAP_NET_ADMIN))
		err = -EPERM;
	else if (d && q->h->nlmsg_flags & NLM_F_EXCL)
		err = -EEXIST;
	else if (d)
		err = change(d, w, to);
	else if (!(q->h->nlmsg_flags & NLM_F_CREATE))
		err = -ENODEV;
	else
		err = create(q->net, to, w);
	if (to)
		ns_put(&to->ns);
	return err;
}

static int delete_link(const struct nl_request *q, const struct wish *w)
{
	struct net_device *d = find(q->net, w);

	if (!d)
		return -ENODEV;
	if (!d->ops->kind)
		return -EOPNOTSUPP;
	net_device_unregister(d);
	return 0;
}

/* A list may be of one kind, or of a master's devices. */
static bool is_asked(const struct net_device *d, const struct wish *w)
{
	u32 master = nl_u32(w->attrs.of[IFLA_MASTER], 0);

	if (w->kind[0] && (!d->ops->kind || strcmp(w->kind, d->ops->kind) != 0))
		return false;
	return !master || (d->master && d->master->ifindex == master);
}

int rt_link(const struct nl_request *q, struct nl_reply *r)
{
	struct net_device *d;
	struct wish *w = kmalloc(sizeof(*w), ALLOC_KERNEL);
	int err = w ? parse(q->body, q->len, w) : -ENOMEM;

	if (!err && q->h->nlmsg_type == RTM_DELLINK) {
		err = delete_link(q, w);
	} else if (!err && q->h->nlmsg_type != RTM_GETLINK) {
		err = new_link(q, w);
	} else if (!err && q->h->nlmsg_flags & NLM_F_DUMP) {
		list_for_each_entry (d, &q->net->devices, link)
			if (is_asked(d, w))
				rt_fill_link(r, d, RTM_NEWLINK, NLM_F_MULTI);
	} else if (!err) {
		d = find(q->net, w);
		if (d)
			rt_fill_link(r, d, RTM_NEWLINK, 0);
		else
			err = -ENODEV;
	}
	kfree(w);
	return err;
}
