/* SPDX-License-Identifier: MIT
 *
 * Problem: datagrams between sockets, whole or not at all, with the address they came from.
 *
 * Idea: a packet carries headers and payload in one block from send to receive; the receiver's queue holds it with
 * `data` at the payload, headers just before it. A queue that is full drops, as UDP may, and counts.
 *
 * Contract: socket_ops of net/socket.h for SOCK_DGRAM. Format: RFC 768. Behaviour: udp(7), ip(7).
 *
 * Locks: inet_lock for finding a socket by port; queue_lock for a queue. The finder puts the packet in with inet_lock
 * held, so that release cannot free the socket in between.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/ioctl.h>
#include <linux/udp.h>
#include <arch/user.h>
#include <asm/ioctls.h>
#include <net/hooks.h>

#include "inet_priv.h"

static struct inet_socket *of(struct socket *s)
{
	return s->proto;
}

/* ---- in --------------------------------------------------------------------------------------------------- */

/* Puts the packet into the queue; false: no room. data is at the UDP header. */
static bool deliver(struct inet_socket *i, struct packet *p)
{
	ulong irq = spin_lock_irqsave(&i->queue_lock);
	size_t cost = packet_len(p) + sizeof(*p);
	bool room = i->queued_bytes + cost <= i->socket->receive_buffer && !i->shut_read;

	if (room) {
		packet_pull(p, sizeof(struct udphdr));
		list_add_tail(&p->link, &i->queue);
		i->queued_bytes += cost;
	} else {
		i->dropped++;
	}
	spin_unlock_irqrestore(&i->queue_lock, irq);
	if (room)
		waitq_wake(&i->socket->wait, 1, EPOLLIN | EPOLLRDNORM);
	return room;
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

/* The socket's own filter: it sees the transport header first, and may cut the payload. */
bool inet_passes_filter(struct socket *s, struct packet *p, u32 least)
{
	u32 keep = READ_ONCE(s->filter) ? net_hooks->filter(s, p) : ~0U;

	if (!keep)
		return false;
	keep = max(keep, least);
	if (keep < packet_len(p))
		p->tail = p->data + keep;
	return true;
}

/* Programs see the network header. */
bool inet_allows(struct socket *s, struct packet *p)
{
	u8 *transport = p->data;
	bool ok;

	p->data = p->network;
	ok = !net_hook_ingress(s, p);
	p->data = transport;
	return ok;
}

void udp_input(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination)
{
	const struct udphdr *u = (const struct udphdr *)p->data;
	struct inet_socket *i;
	bool kept = false;
	ulong irq;

	if (!is_sound(p, source, destination)) {
		packet_free(p);
		return;
	}
	irq = spin_lock_irqsave(&inet_lock);
	i = inet_find(destination, u->dest, source, u->source);
	if (i)
		kept = inet_allows(i->socket, p) && inet_passes_filter(i->socket, p, UDP_BYTES) && deliver(i, p);
	spin_unlock_irqrestore(&inet_lock, irq);
	if (!kept)
		packet_free(p);
}

static struct packet *take(struct inet_socket *i, bool peek)
{
	ulong irq = spin_lock_irqsave(&i->queue_lock);
	struct packet *p = list_first_or_null(&i->queue, struct packet, link);

	if (p && !peek) {
		list_del_init(&p->link);
		i->queued_bytes -= packet_len(p) + UDP_BYTES + sizeof(*p);
	}
	spin_unlock_irqrestore(&i->queue_lock, irq);
	return p;
}

static bool readable(struct inet_socket *i)
{
	return !list_empty(&i->queue) || i->shut_read || READ_ONCE(i->socket->error);
}

/* Where a packet came from, by its own headers. */
static void fill_source(const struct socket *s, const struct packet *p, struct sock_addr *a)
{
	const struct udphdr *u = (const struct udphdr *)(p->data - UDP_BYTES);
	struct ip_addr from;

	if (*p->network >> 4 == 4)
		from = ip_addr_v4(((const struct iphdr *)p->network)->saddr);
	else
		memcpy(&from, &((const struct ipv6hdr *)p->network)->saddr, sizeof(from));
	inet_fill_name(s, a, &from, u->source);
}

static ssize_t receive(struct socket *s, struct sock_msg *m)
{
	struct inet_socket *i = of(s);
	struct packet *p;
	size_t n, len;
	int err;

	do {
		err = socket_wait(s, readable(i), m->flags & MSG_DONTWAIT, s->receive_timeout_ns);
		if (!err)
			err = socket_take_error(s);
		if (err)
			return err;
		p = take(i, m->flags & MSG_PEEK);
	} while (!p && !i->shut_read);
	if (!p)
		return 0;
	len = packet_len(p);
	n = iter_copy_out(p->data, min(len, m->iter.count), &m->iter);
	if (m->addr)
		fill_source(s, p, m->addr);
	if (n < len)
		m->out_flags |= MSG_TRUNC;
	if (!(m->flags & MSG_PEEK))
		packet_free(p);
	return m->flags & MSG_TRUNC ? (ssize_t)len : (ssize_t)n;
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

/* A port and the address to send from. */
static int origin(struct inet_socket *i, const struct inet_name *to, struct ip_addr *source)
{
	struct ip_addr any = addr_any(i->socket);
	struct ip_route r;
	int err = ip_route(&to->addr, i->socket->bound_ifindex, &r);

	if (!err && !i->local_port)
		err = inet_bind_port(i, &any, 0);
	if (err)
		return err;
	*source = ip_addr_is_any(&i->local) ? r.source : i->local;
	return ip_addr_is_v4(source) == ip_addr_is_v4(&to->addr) ? 0 : -ENETUNREACH;
}

static ssize_t send(struct socket *s, struct sock_msg *m)
{
	struct inet_socket *i = of(s);
	size_t len = m->iter.count;
	struct ip_addr source;
	struct inet_name to;
	struct udphdr *u;
	struct packet *p;
	int err = destination(i, m, &to);

	if (!err && i->shut_write)
		err = -EPIPE;
	if (!err && len > UDP_PAYLOAD_MAX)
		err = -EMSGSIZE;
	if (!err)
		err = origin(i, &to, &source);
	if (err)
		return err;
	p = packet_alloc(len, ALLOC_KERNEL);
	if (!p)
		return -ENOBUFS;
	if (iter_copy_in(packet_put(p, len), len, &m->iter) < len) {
		packet_free(p);
		return -EFAULT;
	}
	u = packet_push(p, sizeof(*u));
	*u = (struct udphdr){ .source = i->local_port, .dest = to.port, .len = host16(len + UDP_BYTES) };
	u->check = ip_checksum(u, packet_len(p), ip_pseudo_sum(&source, &to.addr, IPPROTO_UDP, len + UDP_BYTES));
	if (!u->check)
		u->check = 0xffff;
	err = ip_output(s, &i->common, p, IPPROTO_UDP, &source, &to.addr);
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
	if (!ip_addr_is_any(&in.addr) && !ip_is_local(&in.addr))
		return -EADDRNOTAVAIL;
	err = i->local_port ? -EINVAL : inet_bind_port(i, &in.addr, in.port);
	if (!err) {
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
	struct inet_socket *i = of(s);
	struct ip_addr source;
	struct inet_name in;
	u16 family;
	int err;

	if (a->len < (int)sizeof(family))
		return -EINVAL;
	memcpy(&family, a->bytes, sizeof(family));
	if (!family) { /* AF_UNSPEC dissolves the association */
		i->remote = addr_any(s);
		i->remote_port = 0;
		return 0;
	}
	err = inet_parse_name(s, &i->common, a, true, &in);
	if (err)
		return err;
	in.addr = inet_loopback_if_any(&in.addr, s->family == PF_INET6);
	err = origin(i, &in, &source);
	if (err)
		return err;
	i->remote = in.addr;
	i->remote_port = in.port;
	i->local = source;
	return 0;
}

static int name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct inet_socket *i = of(s);

	if (peer && !i->remote_port)
		return -ENOTCONN;
	inet_fill_name(s, out, peer ? &i->remote : &i->local, peer ? i->remote_port : i->local_port);
	return 0;
}

static int shut(struct socket *s, int how)
{
	struct inet_socket *i = of(s);

	if (!i->remote_port)
		return -ENOTCONN;
	i->shut_read |= how != SHUT_WR;
	i->shut_write |= how != SHUT_RD;
	waitq_wake_all(&s->wait);
	return 0;
}

static unsigned poll(struct socket *s, struct poll_table *pt)
{
	struct inet_socket *i = of(s);
	unsigned mask = EPOLLOUT | EPOLLWRNORM;

	if (!list_empty(&i->queue) || i->shut_read)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (i->shut_read)
		mask |= EPOLLRDHUP;
	return i->shut_read && i->shut_write ? mask | EPOLLHUP : mask;
}

static long ioctl(struct socket *s, unsigned cmd, ulong arg)
{
	struct packet *p = cmd == FIONREAD ? take(of(s), true) : NULL;
	int n = p ? (int)packet_len(p) : 0;

	return cmd == FIONREAD ? user_put((void __user *)arg, &n, sizeof(n)) : -ENOTTY;
}

static int setsockopt(struct socket *s, int level, int opt, const void *value, int len)
{
	if (level != IPPROTO_IP && level != IPPROTO_IPV6)
		return -ENOPROTOOPT;
	return inet_set_option(s, &of(s)->common, level, opt, value, len);
}

static int getsockopt(struct socket *s, int level, int opt, void *value, int *len)
{
	if (level != IPPROTO_IP && level != IPPROTO_IPV6)
		return -ENOPROTOOPT;
	return inet_get_option(s, &of(s)->common, level, opt, value, len);
}

static void release(struct socket *s)
{
	struct inet_socket *i = of(s);
	struct packet *p;

	inet_unbind_port(i);
	while ((p = take(i, false)))
		packet_free(p);
	kfree(i);
}

const struct socket_ops udp_ops = {
	.release = release,
	.bind = bind,
	.connect = connect,
	.name = name,
	.send = send,
	.receive = receive,
	.shutdown = shut,
	.poll = poll,
	.ioctl = ioctl,
	.setsockopt = setsockopt,
	.getsockopt = getsockopt,
};

int udp_create(struct socket *s)
{
	struct inet_socket *i = kzalloc(sizeof(*i), ALLOC_KERNEL);

	if (!i)
		return -ENOMEM;
	i->socket = s;
	i->local = i->remote = addr_any(s);
	inet_common_init(&i->common);
	list_init(&i->port_link);
	list_init(&i->queue);
	spin_init(&i->queue_lock, RANK_SOCKET_QUEUE);
	s->proto = i;
	s->ops = &udp_ops;
	return 0;
}
