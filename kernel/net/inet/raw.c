/* SPDX-License-Identifier: MIT
 *
 * Problem: ping, traceroute and routing daemons speak protocols below UDP and TCP.
 *
 * Idea: two kinds of sockets on one list. A raw socket names a protocol and gets a copy of each of its packets (IPv4's
 * with the IP header, IPv6's without). A ping socket (SOCK_DGRAM, IPPROTO_ICMP) may send echo requests only, with an
 * identifier of its own as port, and gets the replies to it; it needs no privilege.
 *
 * Contract: raw(7), icmp(7), ipv6(7) (IPV6_CHECKSUM, ICMP6_FILTER); the group range of ping sockets is everyone.
 *
 * Locks: inet_net.lock for the list.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/hooks.h>
#include <task/task.h>
#include <task/user_ns.h>

#include "inet_priv.h"

#define ICMP_BYTES 8
#define SOL_RAW_V4 255
#define SOL_ICMPV6 58
#define ECHO_V6    128

static struct inet_socket *of(struct socket *s)
{
	return s->proto;
}

static bool is_ping(const struct socket *s)
{
	return s->type == SOCK_DGRAM;
}

/* ---- in ------------------------------------------------------------------------------------------------------------
 */

static bool is_filtered(const struct inet_socket *i, const struct packet *p, u8 protocol)
{
	u8 type = packet_len(p) ? p->data[0] : 0;

	if (protocol == IPPROTO_ICMP)
		return type < 32 && i->icmp_filter >> type & 1;
	return protocol == IPPROTO_ICMPV6 && i->icmp6_filter[type / 32] >> type % 32 & 1;
}

static bool fits(const struct inet_socket *i, const struct packet *p, const struct ip_addr *from,
		 const struct ip_addr *to)
{
	const struct socket *s = i->socket;

	return (s->family == PF_INET) == ip_addr_is_v4(from) &&
	       (!s->bound_ifindex || packet_reaches(p->ifindex, p->vrf, s->bound_ifindex)) &&
	       (ip_addr_is_any(&i->local) || ip_addr_equal(&i->local, to)) &&
	       (ip_addr_is_any(&i->remote) || ip_addr_equal(&i->remote, from));
}

static void give(struct inet_socket *i, const struct packet *p)
{
	struct packet *copy = packet_copy(p, ALLOC_ATOMIC);

	if (!copy)
		return;
	if (i->socket->family == PF_INET && !is_ping(i->socket))
		copy->data = copy->network;
	if (!inet_allows(i->socket, copy) || !inet_passes_filter(i->socket, copy, 0) || !inet_queue(i, copy, 0))
		packet_free(copy);
}

bool raw_input(struct packet *p, u8 protocol, const struct ip_addr *from, const struct ip_addr *to)
{
	struct inet_net *n = inet_of(p->net);
	struct inet_socket *i;
	bool any = false;
	ulong irq;

	if (list_empty(&n->raw))
		return false;
	irq = spin_lock_irqsave(&n->lock);
	list_for_each_entry (i, &n->raw, port_link)
		if (!is_ping(i->socket) && i->socket->protocol == protocol && fits(i, p, from, to)) {
			any = true;
			if (!is_filtered(i, p, protocol))
				give(i, p);
		}
	spin_unlock_irqrestore(&n->lock, irq);
	return any;
}

static struct inet_socket *find_ping(struct inet_net *n, u16 id, bool v4)
{
	struct inet_socket *i;

	list_for_each_entry (i, &n->raw, port_link)
		if (is_ping(i->socket) && i->local_port == id && (i->socket->family == PF_INET) == v4)
			return i;
	return NULL;
}

void ping_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to)
{
	struct inet_net *n = inet_of(p->net);
	const struct icmphdr *h = (const struct icmphdr *)p->data;
	struct inet_socket *i;
	ulong irq = spin_lock_irqsave(&n->lock);

	i = find_ping(n, h->un.echo.id, ip_addr_is_v4(from));
	if (i && fits(i, p, from, to))
		give(i, p);
	spin_unlock_irqrestore(&n->lock, irq);
}

void raw_error(struct inet_net *n, u8 protocol, const struct icmp_error *e)
{
	bool v4 = ip_addr_is_v4(&e->destination);
	const struct icmphdr *h = (const struct icmphdr *)e->transport;
	struct inet_socket *i;
	ulong irq;

	if (list_empty(&n->raw))
		return;
	irq = spin_lock_irqsave(&n->lock);
	list_for_each_entry (i, &n->raw, port_link) {
		bool same = is_ping(i->socket) ? (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6) &&
							 i->local_port == h->un.echo.id
					       : i->socket->protocol == protocol;

		if (same && (i->socket->family == PF_INET) == v4 &&
		    (ip_addr_is_any(&i->remote) || ip_addr_equal(&i->remote, &e->destination)))
			inet_queue_error(i, e, 0);
	}
	spin_unlock_irqrestore(&n->lock, irq);
}

static void fill_source(const struct socket *s, const struct packet *p, struct sock_addr *a)
{
	struct ip_addr from;

	inet_packet_source(p, &from);
	inet_fill_name(s, a, &from, 0, p->ifindex);
}

static ssize_t receive(struct socket *s, struct sock_msg *m)
{
	return inet_receive(s, m, fill_source);
}

/* ---- out ------------------------------------------------------------------------------------------------------------
 */

static int destination(struct inet_socket *i, const struct sock_msg *m, struct inet_name *to)
{
	int err;

	if (!m->addr || !m->addr->len) {
		*to = (struct inet_name){ .addr = i->remote };
		return ip_addr_is_any(&i->remote) ? -EDESTADDRREQ : 0;
	}
	err = inet_parse_name(i->socket, &i->common, m->addr, true, to);
	if (!err)
		to->addr = inet_loopback_if_any(&to->addr, i->socket->family == PF_INET6);
	return err;
}

/* An echo request gets our identifier and its checksum. */
static int finish_ping(struct inet_socket *i, struct packet *p, const struct ip_addr *from, const struct ip_addr *to)
{
	struct icmphdr *h = (struct icmphdr *)p->data;
	bool v4 = i->socket->family == PF_INET;

	if (packet_len(p) < sizeof(*h))
		return -EINVAL;
	if (h->type != (v4 ? ICMP_ECHO : ECHO_V6) || h->code)
		return -EINVAL;
	h->un.echo.id = i->local_port;
	h->checksum = 0;
	h->checksum =
		ip_checksum(h, packet_len(p), v4 ? 0 : ip_pseudo_sum(from, to, IPPROTO_ICMPV6, (u32)packet_len(p)));
	return 0;
}

/* The user wrote the IP header (IP_HDRINCL): what Linux fills in is filled in. */
static int send_with_header(struct socket *s, struct packet *p, const struct ip_addr *source, const struct ip_route *r)
{
	struct iphdr *h = (struct iphdr *)p->data;
	size_t header = packet_len(p) < sizeof(*h) ? 0 : h->ihl * 4U;

	if (header < sizeof(*h) || header > packet_len(p)) {
		packet_free(p);
		return -EINVAL;
	}
	h->tot_len = host16((u16)packet_len(p));
	if (!h->saddr)
		h->saddr = source->w[3];
	if (!h->id)
		h->id = (u16)__atomic_fetch_add(&inet_of(s->net)->ident, 1, __ATOMIC_RELAXED);
	h->check = 0;
	h->check = ip_checksum(h, header, 0);
	p->protocol = 0x0800;
	p->network = p->data;
	return ip_send_ready(s, p, r, false);
}

static void finish_v6(struct packet *p, const struct socket *s, const struct ip_addr *from, const struct ip_addr *to)
{
	u16 sum = 0;

	if (s->family != PF_INET6 || s->protocol != IPPROTO_ICMPV6 || packet_len(p) < 4)
		return;
	memcpy(p->data + 2, &sum, sizeof(sum));
	sum = ip_checksum(p->data, packet_len(p), ip_pseudo_sum(from, to, IPPROTO_ICMPV6, (u32)packet_len(p)));
	memcpy(p->data + 2, &sum, sizeof(sum));
}

static int ensure_identifier(struct inet_socket *i);

static ssize_t send(struct socket *s, struct sock_msg *m)
{
	struct inet_socket *i = of(s);
	size_t len = m->iter.count;
	struct inet_once once;
	struct ip_addr source;
	struct inet_name to;
	struct packet *p;
	struct ip_route r;
	u32 ifindex;
	int err = destination(i, m, &to);

	if (!err && m->flags & MSG_OOB)
		err = -EOPNOTSUPP;
	if (!err && len > 65535)
		err = -EMSGSIZE;
	if (!err)
		err = inet_parse_control(s, m, &once);
	if (!err)
		err = inet_origin(i, &to, &once, &source, &ifindex);
	if (!err && is_ping(s))
		err = ensure_identifier(i);
	if (err)
		return err;
	p = packet_alloc(len, ALLOC_KERNEL);
	if (!p)
		return -ENOBUFS;
	if (iter_copy_in(packet_put(p, len), len, &m->iter) < len)
		err = -EFAULT;
	if (!err && is_ping(s))
		err = finish_ping(i, p, &source, &to.addr);
	if (err) {
		packet_free(p);
		return err;
	}
	rcu_read_lock();
	err = ip_route(s->net, &to.addr, ifindex, &r);
	if (err) {
		packet_free(p);
	} else if (i->common.own_header) {
		err = send_with_header(s, p, &source, &r);
	} else {
		finish_v6(p, s, &source, &to.addr);
		err = ip_output_by(s->net, s, &once.common, p, (u8)s->protocol, &source, &to.addr, &r);
	}
	rcu_read_unlock();
	return err ? err : (ssize_t)len;
}

/* ---- the rest
 * -------------------------------------------------------------------------------------------------------- */

/* A free identifier, or the one that bind named. */
static int take_identifier(struct inet_socket *i, u16 id)
{
	struct inet_net *n = inet_of(i->socket->net);
	bool v4 = i->socket->family == PF_INET;
	int err = -EADDRINUSE;
	ulong irq = spin_lock_irqsave(&n->lock);

	if (id) {
		err = find_ping(n, id, v4) ? -EADDRINUSE : 0;
	} else {
		for (u32 k = 0; err && k < 65535; k++) {
			id = host16(++n->next_ping);
			err = !id || find_ping(n, id, v4) ? -EADDRINUSE : 0;
		}
	}
	if (!err)
		i->local_port = id;
	spin_unlock_irqrestore(&n->lock, irq);
	return err;
}

static int ensure_identifier(struct inet_socket *i)
{
	return i->local_port ? 0 : take_identifier(i, 0);
}

static int bind(struct socket *s, const struct sock_addr *a)
{
	struct inet_socket *i = of(s);
	struct inet_name in;
	int err = inet_parse_name(s, &i->common, a, false, &in);

	if (err)
		return err;
	if (!inet_may_name(s, &in))
		return -EADDRNOTAVAIL;
	if (is_ping(s))
		err = i->local_port ? -EINVAL : take_identifier(i, in.port);
	if (!err) {
		i->local = in.addr;
		i->bound_addr = !ip_addr_is_any(&in.addr);
	}
	return err;
}

static int no_port(struct inet_socket *i)
{
	return 0;
}

static int connect(struct socket *s, const struct sock_addr *a, bool nonblock)
{
	struct inet_socket *i = of(s);
	int err = inet_datagram_connect(s, a, is_ping(s) ? ensure_identifier : no_port);

	if (!err && !ip_addr_is_any(&i->remote) && !i->remote_port)
		i->remote_port = host16(1); /* it has a peer */
	return err;
}

static int name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct inet_socket *i = of(s);

	if (peer && ip_addr_is_any(&i->remote))
		return -ENOTCONN;
	inet_fill_name(s, out, peer ? &i->remote : &i->local,
		       peer         ? 0
		       : is_ping(s) ? i->local_port
				    : 0,
		       s->bound_ifindex);
	return 0;
}

static int setsockopt(struct socket *s, int level, int opt, const void *value, int len)
{
	struct inet_socket *i = of(s);

	if (level == SOL_RAW_V4 && opt == ICMP_FILTER && s->protocol == IPPROTO_ICMP) {
		memcpy(&i->icmp_filter, value, min((size_t)len, sizeof(i->icmp_filter)));
		return 0;
	}
	if (level == SOL_ICMPV6 && opt == ICMPV6_FILTER && s->protocol == IPPROTO_ICMPV6) {
		memcpy(i->icmp6_filter, value, min((size_t)len, sizeof(i->icmp6_filter)));
		return 0;
	}
	if ((level == SOL_RAW_V4 || level == IPPROTO_IPV6) && opt == IPV6_CHECKSUM && s->protocol == IPPROTO_ICMPV6)
		return 0; /* it is always done */
	return inet_setsockopt(s, level, opt, value, len);
}

static int getsockopt(struct socket *s, int level, int opt, void *value, int *len)
{
	struct inet_socket *i = of(s);

	if (level == SOL_RAW_V4 && opt == ICMP_FILTER && s->protocol == IPPROTO_ICMP) {
		*len = min(*len, (int)sizeof(i->icmp_filter));
		memcpy(value, &i->icmp_filter, *len);
		return 0;
	}
	return inet_getsockopt(s, level, opt, value, len);
}

static void release(struct socket *s)
{
	inet_unbind_port(of(s));
	inet_socket_free(of(s));
}

static const struct socket_ops raw_ops = {
	.release = release,
	.bind = bind,
	.connect = connect,
	.name = name,
	.send = send,
	.receive = receive,
	.shutdown = inet_shut,
	.poll = inet_poll,
	.ioctl = inet_ioctl,
	.setsockopt = setsockopt,
	.getsockopt = getsockopt,
};

static int create(struct socket *s)
{
	struct inet_net *n = inet_of(s->net);
	struct inet_socket *i = inet_socket_new(s);
	ulong irq;

	if (!i)
		return -ENOMEM;
	s->proto = i;
	s->ops = &raw_ops;
	i->common.own_header = s->protocol == IPPROTO_RAW && s->family == PF_INET;
	irq = spin_lock_irqsave(&n->lock);
	list_add_tail(&i->port_link, &n->raw);
	spin_unlock_irqrestore(&n->lock, irq);
	return 0;
}

int raw_create(struct socket *s)
{
	if (!ns_capable(s->net->ns.owner, CAP_NET_RAW))
		return -EPERM;
	if (!s->protocol || s->protocol > 255)
		return -EPROTONOSUPPORT;
	return create(s);
}

int ping_create(struct socket *s)
{
	return create(s);
}
