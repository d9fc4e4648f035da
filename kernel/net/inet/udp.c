/* SPDX-License-Identifier: MIT
 *
 * Problem: datagrams between sockets, whole or not at all, with the address they came from.
 *
 * Idea: a packet carries headers and payload in one block from send to receive; the receiver's queue holds it with
 * `data` at the payload, headers just before it. A queue that is full drops, as UDP may, and counts. What is sent to
 * many is copied to each socket that listens. UDP-Lite is the same with a checksum that may leave the end of the
 * payload out: the length field says how much it covers, and 0 means all.
 *
 * Contract: socket_ops of net/socket.h for SOCK_DGRAM. Formats: RFC 768, RFC 3828. Behaviour: udp(7), udplite(7),
 * ip(7).
 *
 * Locks: inet_net.lock for finding a socket by port; queue_lock for a queue. The finder puts the packet in with the
 * first held, so that release cannot free the socket in between.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/udp.h>
#include <net/hooks.h>

#include "inet_priv.h"

#define OPT_SEND_COVERS    10 /* of udplite(7) */
#define OPT_RECEIVE_COVERS 11

static struct inet_socket *of(struct socket *s)
{
	return s->proto;
}

/* ---- in --------------------------------------------------------------------------------------------------- */

/* Of UDP-Lite. note[0]: the bytes covered. */
static bool is_sound_lite(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination)
{
	const struct udphdr *u = (const struct udphdr *)p->data;
	u32 len = (u32)packet_len(p), covered;

	if (len < sizeof(*u) || !u->check)
		return false;
	covered = u->len ? host16(u->len) : len;
	if (covered < sizeof(*u) || covered > len)
		return false;
	p->note[0] = covered;
	return !ip_checksum(u, covered, ip_pseudo_sum(source, destination, IPPROTO_UDPLITE, len));
}

static bool is_sound(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination)
{
	const struct udphdr *u = (const struct udphdr *)p->data;
	size_t len = packet_len(p);

	if (len < sizeof(*u) || host16(u->len) < sizeof(*u) || host16(u->len) > len)
		return false;
	p->tail = p->data + host16(u->len);
	if (p->sum_ok || (!u->check && ip_addr_is_v4(source)))
		return true;
	return u->check &&
	       !ip_checksum(u, packet_len(p), ip_pseudo_sum(source, destination, IPPROTO_UDP, host16(u->len)));
}

/* UDPLITE_RECV_CSCOV: what is covered in part alone must be so at least that far; 0: not at all. */
static bool covers_enough(const struct inet_socket *i, const struct packet *p)
{
	if (i->socket->protocol != IPPROTO_UDPLITE || !i->lite_asks || p->note[0] == packet_len(p))
		return true;
	return i->lite_least && p->note[0] >= i->lite_least;
}

/* True: p is the socket's now. */
static bool give(struct inet_socket *i, struct packet *p)
{
	bool kept = covers_enough(i, p) && inet_allows(i->socket, p) && inet_passes_filter(i->socket, p, UDP_BYTES) &&
		    inet_queue(i, p, UDP_BYTES);

	inet_count(inet_of(i->socket->net), kept ? COUNT_UDP_IN : COUNT_UDP_NO_ROOM);
	return kept;
}

static bool listens_to(const struct inet_socket *i, const struct packet *p, u8 protocol, const struct ip_addr *to,
		       u16 port, const struct ip_addr *from, u16 from_port)
{
	const struct inet_membership *m;

	if (i->local_port != port || i->socket->protocol != protocol ||
	    !ip_addr_overlap(&i->local, i->common.only_v6, to, false) ||
	    !packet_reaches(p->ifindex, p->vrf, i->socket->bound_ifindex))
		return false;
	if (i->remote_port && (i->remote_port != from_port || !ip_addr_equal(&i->remote, from)))
		return false;
	if (!addr_is_multicast(to))
		return true;
	list_for_each_entry (m, &i->groups, link)
		if (ip_addr_equal(&m->group, to) &&
		    (!m->ifindex || m->ifindex == p->ifindex || p->dev == p->net->loopback))
			return true;
	return false;
}

/* To all that listen. */
static void spread(struct inet_net *n, struct packet *p, u8 protocol, const struct ip_addr *from,
		   const struct ip_addr *to)
{
	const struct udphdr *u = (const struct udphdr *)p->data;
	struct inet_socket *i;
	ulong irq = spin_lock_irqsave(&n->lock);

	list_for_each_entry (i, &n->ports[host16(u->dest) % INET_BUCKETS], port_link) {
		struct packet *copy;

		if (!listens_to(i, p, protocol, to, u->dest, from, u->source))
			continue;
		copy = packet_copy(p, ALLOC_ATOMIC);
		if (copy && !give(i, copy))
			packet_free(copy);
	}
	spin_unlock_irqrestore(&n->lock, irq);
	packet_free(p);
}

void udp_input(struct packet *p, u8 protocol, const struct ip_addr *source, const struct ip_addr *destination)
{
	const struct udphdr *u = (const struct udphdr *)p->data;
	struct inet_net *n = inet_of(p->net);
	struct inet_socket *i;
	bool kept = false;
	ulong irq;

	if (protocol == IPPROTO_UDP ? !is_sound(p, source, destination) : !is_sound_lite(p, source, destination)) {
		inet_count(n, COUNT_UDP_IN_ERRORS);
		packet_free(p);
		return;
	}
	if (p->kind == PACKET_BROADCAST || addr_is_multicast(destination)) {
		spread(n, p, protocol, source, destination);
		return;
	}
	irq = spin_lock_irqsave(&n->lock);
	i = inet_find(n, protocol, destination, u->dest, source, u->source, p->ifindex, p->vrf);
	if (i)
		kept = give(i, p);
	spin_unlock_irqrestore(&n->lock, irq);
	if (!i) {
		inet_count(n, COUNT_UDP_NO_PORT);
		icmp_complain(p->net, p, WHY_NO_PORT, 0);
	}
	if (!kept)
		packet_free(p);
}

void udp_error(struct inet_net *n, u8 protocol, const struct icmp_error *e)
{
	struct udphdr u;
	struct inet_socket *i;
	ulong irq;

	memcpy(&u, e->transport, sizeof(u));
	irq = spin_lock_irqsave(&n->lock);
	i = inet_find(n, protocol, &e->source, u.source, &e->destination, u.dest, e->ifindex, e->vrf);
	if (i)
		inet_queue_error(i, e, UDP_BYTES);
	spin_unlock_irqrestore(&n->lock, irq);
}

/* Where a packet came from, by its own headers. */
static void fill_source(const struct socket *s, const struct packet *p, struct sock_addr *a)
{
	const struct udphdr *u = (const struct udphdr *)(p->data - UDP_BYTES);
	struct ip_addr from;

	inet_packet_source(p, &from);
	inet_fill_name(s, a, &from, u->source, p->ifindex);
}

static ssize_t receive(struct socket *s, struct sock_msg *m)
{
	return inet_receive(s, m, fill_source);
}

/* ---- out ---------------------------------------------------------------------------------------------------- */

static int destination(struct inet_socket *i, const struct sock_msg *m, struct inet_name *to)
{
	struct socket *s = i->socket;
	int err;

	if (!m->addr || !m->addr->len) {
		*to = (struct inet_name){ .addr = i->remote, .port = i->remote_port };
		return i->remote_port ? 0 : -EDESTADDRREQ;
	}
	err = inet_parse_name(s, &i->common, m->addr, true, to);
	if (!err && !to->port)
		err = -EINVAL;
	if (!err)
		to->addr = inet_loopback_if_any(&to->addr, s->family == PF_INET6);
	return err;
}

static int ensure_port(struct inet_socket *i)
{
	struct ip_addr any = addr_any(i->socket);

	return i->local_port ? 0 : inet_bind_port(i, &any, 0);
}

static int make_packet(struct inet_socket *i, struct sock_msg *m, u16 port, struct packet **out)
{
	size_t len = m->iter.count;
	struct packet *p = packet_alloc(len, ALLOC_KERNEL);
	struct udphdr *u;

	if (!p)
		return -ENOBUFS;
	if (iter_copy_in(packet_put(p, len), len, &m->iter) < len) {
		packet_free(p);
		return -EFAULT;
	}
	u = packet_push(p, sizeof(*u));
	*u = (struct udphdr){ .source = i->local_port, .dest = port, .len = host16(len + UDP_BYTES) };
	p->sum_later = i->socket->protocol == IPPROTO_UDP;
	*out = p;
	return 0;
}

static void sum_lite(const struct inet_socket *i, struct packet *p, const struct ip_addr *source,
		     const struct ip_addr *destination)
{
	struct udphdr *u = (struct udphdr *)p->data;
	u32 len = (u32)packet_len(p), covered = i->lite_covers && i->lite_covers < len ? i->lite_covers : len;

	if (i->lite_limits && i->lite_covers < len)
		u->len = host16(i->lite_covers);
	u->check = ip_checksum(u, covered, ip_pseudo_sum(source, destination, IPPROTO_UDPLITE, len));
	if (!u->check)
		u->check = 0xffff;
}

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
	if (!err && i->shut_write)
		err = -EPIPE;
	if (!err && len > UDP_PAYLOAD_MAX)
		err = -EMSGSIZE;
	if (!err)
		err = inet_parse_control(s, m, &once);
	if (!err)
		err = inet_origin(i, &to, &once, &source, &ifindex);
	if (!err)
		err = ensure_port(i);
	if (!err)
		err = make_packet(i, m, to.port, &p);
	if (err)
		return err;
	if (s->protocol == IPPROTO_UDPLITE)
		sum_lite(i, p, &source, &to.addr);
	rcu_read_lock();
	err = ip_route(s->net, &to.addr, ifindex, &r);
	if (err)
		packet_free(p);
	else
		err = ip_output_by(s->net, s, &once.common, p, (u8)s->protocol, &source, &to.addr, &r);
	rcu_read_unlock();
	inet_count(inet_of(s->net), COUNT_UDP_OUT);
	return err ? err : (ssize_t)len;
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

static int bind(struct socket *s, const struct sock_addr *a)
{
	struct inet_socket *i = of(s);
	struct inet_name in;
	int err = inet_parse_name(s, &i->common, a, false, &in);

	if (err)
		return err;
	if (!inet_may_name(s, &in))
		return -EADDRNOTAVAIL;
	err = i->local_port ? -EINVAL : inet_bind_port(i, &in.addr, in.port);
	if (!err) {
		if (in.ifindex && addr_is_link_local(&in.addr))
			s->bound_ifindex = in.ifindex;
		err = net_hook_bound(s);
		if (err) {
			inet_unbind_port(i);
			i->local = addr_any(s);
			i->local_port = 0;
		}
	}
	return err;
}

static int connect(struct socket *s, const struct sock_addr *a, bool nonblock)
{
	return inet_datagram_connect(s, a, ensure_port);
}

static int name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct inet_socket *i = of(s);

	if (peer && !i->remote_port)
		return -ENOTCONN;
	inet_fill_name(s, out, peer ? &i->remote : &i->local, peer ? i->remote_port : i->local_port, s->bound_ifindex);
	return 0;
}

static int setsockopt(struct socket *s, int level, int opt, const void *value, int len)
{
	struct inet_socket *i = of(s);
	int v;

	if (level != IPPROTO_UDPLITE || s->protocol != IPPROTO_UDPLITE)
		return inet_setsockopt(s, level, opt, value, len);
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	v = v ? clamp(v, UDP_BYTES, 0xffff) : 0;
	if (opt == OPT_SEND_COVERS) {
		i->lite_covers = (u16)v;
		i->lite_limits = true;
	} else if (opt == OPT_RECEIVE_COVERS) {
		i->lite_least = (u16)v;
		i->lite_asks = true;
	} else {
		return -ENOPROTOOPT;
	}
	return 0;
}

static int getsockopt(struct socket *s, int level, int opt, void *value, int *len)
{
	struct inet_socket *i = of(s);
	int v = opt == OPT_SEND_COVERS ? i->lite_covers : i->lite_least;

	if (level != IPPROTO_UDPLITE || s->protocol != IPPROTO_UDPLITE)
		return inet_getsockopt(s, level, opt, value, len);
	if (opt != OPT_SEND_COVERS && opt != OPT_RECEIVE_COVERS)
		return -ENOPROTOOPT;
	*len = min(*len, (int)sizeof(v));
	memcpy(value, &v, (size_t)*len);
	return 0;
}

static void release(struct socket *s)
{
	inet_unbind_port(of(s));
	inet_socket_free(of(s));
}

const struct socket_ops udp_ops = {
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

int udp_create(struct socket *s)
{
	s->proto = inet_socket_new(s);
	if (!s->proto)
		return -ENOMEM;
	s->ops = &udp_ops;
	return 0;
}
