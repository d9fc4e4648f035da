/* SPDX-License-Identifier: MIT
 *
 * Problem: ports are names that sockets compete for, and each packet must find its socket quickly.
 *
 * Idea: a hash of lists by local port. A socket that named its peer is preferred to one that did not, one bound to an
 * address to one bound to any. Port 0 takes a free one of the local range, beginning at a random place.
 *
 * Contract: inet_priv.h. SO_REUSEADDR lets UDP sockets share a port, as ip(7) has it.
 *
 * Locks: inet_net.lock (RANK_SOCKET, irqsave).
 */
#include <core/init.h>
#include <core/random.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <net/hooks.h>
#include <task/task.h>
#include <task/user_ns.h>
#include <vfs/vfs.h>

#include "inet_priv.h"

#define FIRST_FREE 32768
#define LAST_FREE  60999
#define PRIVILEGED 1024

static struct list *bucket(struct inet_net *n, u16 port)
{
	return &n->ports[host16(port) % INET_BUCKETS];
}

/* How well a socket matches; 0: not at all. */
static int score(const struct inet_socket *i, u8 protocol, const struct ip_addr *dest, u16 dest_port,
		 const struct ip_addr *source, u16 source_port, u32 ifindex, u32 vrf)
{
	int points = 1 + (i->socket->family == PF_INET);

	if (i->local_port != dest_port || i->socket->protocol != protocol ||
	    !ip_addr_overlap(&i->local, i->common.only_v6, dest, false))
		return 0;
	if (!packet_reaches(ifindex, vrf, i->socket->bound_ifindex))
		return 0;
	if (i->socket->bound_ifindex)
		points += 8;
	points += 2 * !ip_addr_is_any(&i->local);
	if (!i->remote_port)
		return points;
	return ip_addr_equal(&i->remote, source) && i->remote_port == source_port ? points + 4 : 0;
}

struct inet_socket *inet_find(struct inet_net *n, u8 protocol, const struct ip_addr *dest, u16 dest_port,
			      const struct ip_addr *source, u16 source_port, u32 ifindex, u32 vrf)
{
	struct inet_socket *i, *best;
	struct list_walk w;
	int most;

	do {
		w = list_walk(n->ports, INET_BUCKETS, bucket(n, dest_port));
		best = NULL;
		most = 0;
		while ((i = list_walk_next(&w, struct inet_socket, port_link))) {
			int points = score(i, protocol, dest, dest_port, source, source_port, ifindex, vrf);

			if (points > most) {
				most = points;
				best = i;
			}
		}
	} while (w.lost);
	return best;
}

static bool bear(const struct socket *a, const struct socket *b)
{
	return (a->reuse_addr && b->reuse_addr) || (a->reuse_port && b->reuse_port);
}

static bool taken(struct inet_net *n, const struct inet_socket *want, const struct ip_addr *addr, u16 port)
{
	struct inet_socket *i;

	list_for_each_entry (i, bucket(n, port), port_link)
		if (i->local_port == port && i->socket->protocol == want->socket->protocol &&
		    (!i->socket->bound_ifindex || !want->socket->bound_ifindex ||
		     i->socket->bound_ifindex == want->socket->bound_ifindex) &&
		    ip_addr_overlap(&i->local, i->common.only_v6, addr, want->common.only_v6) &&
		    !bear(want->socket, i->socket))
			return true;
	return false;
}

static u16 free_port(struct inet_net *n, const struct inet_socket *i, const struct ip_addr *addr)
{
	for (unsigned k = FIRST_FREE; k <= LAST_FREE; k++) {
		u16 port = host16(n->next_port);

		n->next_port = n->next_port == LAST_FREE ? FIRST_FREE : n->next_port + 1;
		if (!taken(n, i, addr, port))
			return port;
	}
	return 0;
}

bool inet_may_bind(const struct socket *s, u16 port)
{
	return !port || host16(port) >= inet_of(s->net)->unprivileged_from || s->any_port ||
	       ns_capable(s->net->ns.owner, CAP_NET_BIND_SERVICE);
}

int inet_bind_port(struct inet_socket *i, const struct ip_addr *addr, u16 port)
{
	struct inet_net *n = inet_of(i->socket->net);
	int err = 0;
	ulong irq;

	if (!inet_may_bind(i->socket, port))
		return -EACCES;
	irq = spin_lock_irqsave(&n->lock);
	if (!port) {
		port = free_port(n, i, addr);
		err = port ? 0 : -EADDRINUSE;
	} else if (taken(n, i, addr, port)) {
		err = -EADDRINUSE;
	}
	if (!err) {
		i->local = *addr;
		i->local_port = port;
		i->bound_addr = !ip_addr_is_any(addr);
		list_add(&i->port_link, bucket(n, port));
	}
	spin_unlock_irqrestore(&n->lock, irq);
	return err;
}

void inet_unbind_port(struct inet_socket *i)
{
	struct inet_net *n = inet_of(i->socket->net);
	ulong irq = spin_lock_irqsave(&n->lock);

	list_del_init(&i->port_link);
	spin_unlock_irqrestore(&n->lock, irq);
}

/* ---- groups -------------------------------------------------------------------------------------------------------
 */

u32 inet_device_with(struct net *n, const struct ip_addr *addr)
{
	const struct inet_address *a;
	u32 found = 0;

	rcu_read_lock();
	list_for_each_entry (a, inet_addresses(n), link)
		if (ip_addr_equal(&a->addr, addr))
			found = a->dev->ifindex;
	rcu_read_unlock();
	return found;
}

static struct inet_membership *find_group(struct inet_socket *i, const struct ip_addr *group, u32 ifindex)
{
	struct inet_membership *m;

	list_for_each_entry (m, &i->groups, link)
		if (ip_addr_equal(&m->group, group) && (!ifindex || m->ifindex == ifindex))
			return m;
	return NULL;
}

int inet_join(struct inet_socket *i, const struct ip_addr *group, u32 ifindex, bool join)
{
	struct inet_net *n = inet_of(i->socket->net);
	struct inet_membership *m, *fresh = NULL;
	struct ip_route r;
	int err = 0;
	ulong irq;

	if (!addr_is_multicast(group))
		return -EINVAL;
	if (join && !ifindex) {
		rcu_read_lock();
		err = ip_route(i->socket->net, group, 0, &r);
		rcu_read_unlock();
		ifindex = err ? 0 : r.ifindex;
	}
	if (join && (err || !ifindex))
		return -ENODEV;
	if (join) {
		fresh = kzalloc(sizeof(*fresh), ALLOC_CHARGED);
		if (!fresh)
			return -ENOBUFS;
		*fresh = (struct inet_membership){ .group = *group, .ifindex = ifindex };
	}
	irq = spin_lock_irqsave(&n->lock);
	m = find_group(i, group, ifindex);
	if (join && !m) {
		list_add(&fresh->link, &i->groups);
		fresh = NULL;
	} else if (join || !m) {
		err = -EADDRINUSE;
	} else {
		list_del(&m->link);
		fresh = m;
	}
	spin_unlock_irqrestore(&n->lock, irq);
	kfree(fresh);
	return err && !join ? -EADDRNOTAVAIL : err;
}

int inet_path_mtu(struct socket *s)
{
	struct inet_name in;
	struct sock_addr a;
	struct ip_route r;
	int err = s->ops->name(s, true, &a);

	if (!err)
		err = inet_parse_name(s, s->proto, &a, true, &in);
	if (err)
		return err;
	rcu_read_lock();
	err = ip_route(s->net, &in.addr, s->bound_ifindex, &r);
	rcu_read_unlock();
	return err ? err : (int)r.mtu;
}

/* ---- sockets ------------------------------------------------------------------------------------------------------
 */

static u32 uid_of(const struct socket *s)
{
	return s->file ? s->file->inode->uid.v : 0;
}

static int show_datagrams(struct inet_net *n, struct list *l, int protocol,
			  int (*fn)(const struct inet_socket_view *v, void *arg), void *arg)
{
	struct inet_socket *i;
	int stop = 0;

	list_for_each_entry (i, l, port_link) {
		const struct socket *s = i->socket;
		struct inet_socket_view v = { .local = i->local,
					      .remote = i->remote,
					      .local_port = i->local_port,
					      .remote_port = i->remote_port,
					      .family = s->family,
					      .type = s->type,
					      .protocol = s->protocol,
					      .state = i->remote_port ? TS_ESTABLISHED : TS_CLOSE,
					      .uid = uid_of(s),
					      .receive_bytes = i->queued_bytes,
					      .ifindex = s->bound_ifindex,
					      .inode = s->file ? s->file->inode->ino : 0,
					      .drops = i->dropped,
					      .cookie = s };

		if (protocol == IPPROTO_RAW ? s->type == SOCK_RAW : s->type == SOCK_DGRAM && s->protocol == protocol)
			stop = fn(&v, arg);
		if (stop)
			return stop;
	}
	return 0;
}

void inet_sockets_show(struct net *net, int protocol, int (*fn)(const struct inet_socket_view *v, void *arg), void *arg)
{
	struct inet_net *n = inet_of(net);
	ulong irq;

	if (protocol == IPPROTO_TCP) {
		stream_show(n, fn, arg);
		return;
	}
	irq = spin_lock_irqsave(&n->lock);
	if (protocol != IPPROTO_UDP) {
		(void)show_datagrams(n, &n->raw, protocol, fn, arg);
	} else {
		for (unsigned b = 0; b < INET_BUCKETS && !show_datagrams(n, &n->ports[b], protocol, fn, arg); b++)
			;
	}
	spin_unlock_irqrestore(&n->lock, irq);
}

static int check_protocol(const struct socket *s)
{
	int icmp = s->family == PF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	if (s->protocol < 0 || s->protocol > 255)
		return -EINVAL;
	if (s->type == SOCK_RAW)
		return 0;
	if (s->type == SOCK_STREAM)
		return s->protocol && s->protocol != IPPROTO_TCP ? -EPROTONOSUPPORT : 0;
	if (s->type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	return s->protocol && s->protocol != IPPROTO_UDP && s->protocol != IPPROTO_UDPLITE && s->protocol != icmp
		       ? -EPROTONOSUPPORT
		       : 0;
}

static int create(struct socket *s)
{
	int err = check_protocol(s);

	if (err)
		return err;
	if (s->type == SOCK_STREAM) {
		s->protocol = IPPROTO_TCP;
		err = stream_create(s);
	} else if (s->type == SOCK_RAW) {
		err = raw_create(s);
	} else if (s->protocol == IPPROTO_ICMP || s->protocol == IPPROTO_ICMPV6) {
		err = ping_create(s);
	} else {
		if (!s->protocol)
			s->protocol = IPPROTO_UDP;
		err = udp_create(s);
	}
	if (!err) {
		err = net_hook_create(s);
		if (err)
			s->ops->release(s);
	}
	return err;
}

/* ---- a namespace begins and ends -----------------------------------------------------------------------------------
 */

static int start(struct net *net)
{
	struct inet_net *n = kzalloc(sizeof(*n), ALLOC_CHARGED);

	if (!n)
		return -ENOMEM;
	n->net = net;
	spin_init(&n->lock, RANK_SOCKET);
	for (unsigned b = 0; b < INET_BUCKETS; b++)
		list_init(&n->ports[b]);
	list_init(&n->raw);
	n->next_port = FIRST_FREE;
	n->unprivileged_from = PRIVILEGED;
	n->ident = (u32)random_u64();
	neighbours_init(n);
	inet_routes_init(n);
	stream_start(n);
	net->inet = n;
	return 0;
}

static void stop(struct net *net)
{
	struct inet_net *n = inet_of(net);

	stream_stop(n);
	timer_cancel(&n->tick);
	neighbours_drop(n, NULL);
	ip_fragments_drop(n, NULL);
	rcu_synchronize(); /* jobs that the timers had queued have run */
	inet_routes_stop(n);
	kfree(n);
}

static struct net_user user = { .start = start, .stop = stop };
static struct socket_family v4 = { .family = PF_INET, .create = create };
static struct socket_family v6 = { .family = PF_INET6, .create = create };
static struct net_protocol protocols[] = { { .type = ETH_P_IP, .input = ip_input },
					   { .type = ETH_P_IPV6, .input = ip_input },
					   { .type = ETH_P_ARP, .input = arp_input } };

static void inet_init(void)
{
	ndisc_init();
	inet_files_init();
	socket_interface_ioctl = inet_interface_ioctl;
	net_user_register(&user);
	for (unsigned i = 0; i < ARRAY_SIZE(protocols); i++)
		net_protocol_register(&protocols[i]);
	socket_family_register(&v4);
	socket_family_register(&v6);
}
PART_INIT(core, inet_init);
