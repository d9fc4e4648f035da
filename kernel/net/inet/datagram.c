/* SPDX-License-Identifier: MIT
 *
 * Problem: UDP, raw and ping sockets queue packets, judge them by programs, answer poll and carry control messages, all
 * in the same way.
 *
 * Idea: one state (struct inet_socket) and one receive; the protocol says only how much of a packet is header and whom
 * it names as sender. Errors that ICMP reports stand in a queue of their own, with what had been sent.
 *
 * Contract: inet_priv.h; ip(7), ipv6(7) (IP_PKTINFO, IP_RECVERR and their kin), socket(7) (SO_TIMESTAMP).
 *
 * Locks: queue_lock (RANK_SOCKET_QUEUE); inet_net.lock may be held around inet_queue.
 */
#include <arch/user.h>
#include <asm/ioctls.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <net/hooks.h>

#include "inet_priv.h"

#define ERRORS_MOST 32

struct queued_error { /* at the head of a packet in the queue of errors */
	struct sock_extended_err error;
	struct ip_addr offender, destination;
	u16 port;
};

struct inet_socket *inet_socket_new(struct socket *s)
{
	struct inet_socket *i = kzalloc(sizeof(*i), ALLOC_CHARGED);

	if (!i)
		return NULL;
	i->socket = s;
	i->local = i->remote = addr_any(s);
	inet_common_init(&i->common);
	list_init(&i->port_link);
	list_init(&i->queue);
	list_init(&i->errors);
	list_init(&i->groups);
	spin_init(&i->queue_lock, RANK_SOCKET_QUEUE);
	return i;
}

/* The queues' memory is its payer's. */
static void keep(struct inet_socket *i, const struct packet *p, bool keeps)
{
	i->queued_bytes += keeps ? packet_cost(p) : -packet_cost(p);
	packet_hold(i, p, keeps);
}

static void drop_all(struct inet_socket *i, struct list *queue)
{
	struct packet *p, *next;

	list_for_each_entry_safe (p, next, queue, link) {
		keep(i, p, false);
		packet_free(p);
	}
}

static void free_now(struct rcu_head *h)
{
	kfree(container_of(h, struct inet_socket, rcu));
}

void inet_socket_free(struct inet_socket *i)
{
	struct inet_membership *m, *after;

	drop_all(i, &i->queue);
	drop_all(i, &i->errors);
	list_for_each_entry_safe (m, after, &i->groups, link)
		kfree(m);
	rcu_call(&i->rcu, free_now);
}

/* ---- in --------------------------------------------------------------------------------------------------------- */

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

bool inet_queue(struct inet_socket *i, struct packet *p, size_t skip)
{
	ulong irq = spin_lock_irqsave(&i->queue_lock);
	bool room = (list_empty(&i->queue) || i->queued_bytes + (u64)packet_cost(p) <= i->socket->receive_buffer) &&
		    !i->shut_read;

	if (room) {
		packet_pull(p, skip);
		list_add_tail(&p->link, &i->queue);
		keep(i, p, true);
	} else {
		i->dropped++;
	}
	spin_unlock_irqrestore(&i->queue_lock, irq);
	if (room)
		waitq_wake(&i->socket->wait, 1, EPOLLIN | EPOLLRDNORM);
	return room;
}

static bool wants_errors(const struct inet_socket *i, const struct icmp_error *e)
{
	return i->common.wants >> (e->origin == SO_EE_ORIGIN_ICMP6 ? WANT_ERRORS6 : WANT_ERRORS) & 1;
}

/* skip: bytes of transport header before what the user had sent. */
void inet_queue_error(struct inet_socket *i, const struct icmp_error *e, size_t skip)
{
	struct queued_error q = { .error = { .ee_errno = (u32)e->error,
					     .ee_origin = e->origin,
					     .ee_type = e->type,
					     .ee_code = e->code,
					     .ee_info = e->info },
				  .offender = e->offender,
				  .destination = e->destination };
	size_t len = e->len > skip ? e->len - skip : 0;
	struct packet *p;
	ulong irq;

	if (!wants_errors(i, e)) {
		if (e->hard && i->remote_port) {
			i->socket->error = e->error;
			waitq_wake(&i->socket->wait, -1, EPOLLIN | EPOLLOUT | EPOLLERR);
		}
		return;
	}
	p = packet_alloc(sizeof(q) + len, ALLOC_ATOMIC);
	if (!p)
		return;
	if (skip == UDP_BYTES && e->len >= 4)
		memcpy(&q.port, e->transport + 2, sizeof(q.port));
	memcpy(packet_put(p, sizeof(q)), &q, sizeof(q));
	if (len)
		memcpy(packet_put(p, len), e->transport + skip, len);
	irq = spin_lock_irqsave(&i->queue_lock);
	if (i->queued_bytes < i->socket->receive_buffer) {
		list_add_tail(&p->link, &i->errors);
		keep(i, p, true);
		p = NULL;
	}
	spin_unlock_irqrestore(&i->queue_lock, irq);
	if (p)
		packet_free(p);
	i->socket->error = e->error;
	waitq_wake(&i->socket->wait, -1, EPOLLIN | EPOLLOUT | EPOLLERR);
}

static struct packet *take(struct inet_socket *i, struct list *from, bool peek)
{
	ulong irq = spin_lock_irqsave(&i->queue_lock);
	struct packet *p = list_first_or_null(from, struct packet, link);

	if (p && !peek) {
		list_del_init(&p->link);
		keep(i, p, false);
	}
	spin_unlock_irqrestore(&i->queue_lock, irq);
	return p;
}

static bool readable(struct inet_socket *i)
{
	return !list_empty(&i->queue) || i->shut_read || READ_ONCE(i->socket->error);
}

void inet_packet_source(const struct packet *p, struct ip_addr *out)
{
	if (*p->network >> 4 == 4)
		*out = ip_addr_v4(((const struct iphdr *)p->network)->saddr);
	else
		memcpy(out, &((const struct ipv6hdr *)p->network)->saddr, sizeof(*out));
}

/* ---- control messages ---------------------------------------------------------------------------------------------
 */

static bool wants(const struct inet_socket *i, enum inet_want w)
{
	return i->common.wants >> w & 1;
}

static void give_v4(const struct inet_socket *i, const struct packet *p, struct sock_msg *m)
{
	const struct iphdr *h = (const struct iphdr *)p->network;
	struct in_pktinfo info = { .ipi_ifindex = (int)p->ifindex };
	int ttl = h->ttl;

	info.ipi_spec_dst.s_addr = info.ipi_addr.s_addr = h->daddr;
	if (wants(i, WANT_INFO))
		socket_put_control(m, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	if (wants(i, WANT_TTL))
		socket_put_control(m, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (wants(i, WANT_OPTIONS) && h->ihl > 5)
		socket_put_control(m, IPPROTO_IP, IP_RECVOPTS, h + 1, h->ihl * 4U - sizeof(*h));
	if (wants(i, WANT_TOS))
		socket_put_control(m, IPPROTO_IP, IP_TOS, &h->tos, sizeof(h->tos));
}

static void give_v6(const struct inet_socket *i, const struct packet *p, struct sock_msg *m)
{
	const struct ipv6hdr *h = (const struct ipv6hdr *)p->network;
	bool v4 = *p->network >> 4 == 4;
	struct in6_pktinfo info = { .ipi6_ifindex = (int)p->ifindex };
	struct ip_addr to;
	int hops, tclass;

	if (v4) {
		const struct iphdr *h4 = (const struct iphdr *)p->network;

		to = ip_addr_v4(h4->daddr);
		hops = h4->ttl;
		tclass = h4->tos;
	} else {
		memcpy(&to, &h->daddr, sizeof(to));
		hops = h->hop_limit;
		tclass = h->priority << 4 | h->flow_lbl[0] >> 4;
	}
	memcpy(&info.ipi6_addr, &to, sizeof(to));
	if (wants(i, WANT_INFO6))
		socket_put_control(m, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	if (wants(i, WANT_HOPS))
		socket_put_control(m, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
	if (wants(i, WANT_TCLASS))
		socket_put_control(m, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
}

static ssize_t receive_error(struct socket *s, struct sock_msg *m)
{
	struct inet_socket *i = s->proto;
	struct packet *p = take(i, &i->errors, false);
	struct queued_error q;
	struct {
		struct sock_extended_err error;
		u8 offender[28]; /* a sockaddr_in or sockaddr_in6 */
	} control = { 0 };
	struct sock_addr offender = { .len = 0 };
	struct socket as = { .family = s->family };
	ssize_t n;

	if (!p)
		return -EAGAIN;
	memcpy(&q, packet_pull(p, sizeof(q)), sizeof(q));
	n = (ssize_t)iter_copy_out(p->data, min(packet_len(p), m->iter.count), &m->iter);
	if ((size_t)n < packet_len(p))
		m->out_flags |= MSG_TRUNC;
	if (m->addr)
		inet_fill_name(s, m->addr, &q.destination, q.port, 0);
	as.family = q.error.ee_origin == SO_EE_ORIGIN_ICMP6 ? PF_INET6 : PF_INET;
	inet_fill_name(&as, &offender, &q.offender, 0, 0);
	control.error = q.error;
	memcpy(control.offender, offender.bytes, min(offender.len, (int)sizeof(control.offender)));
	if (s->family == PF_INET)
		socket_put_control(m, IPPROTO_IP, IP_RECVERR, &control, sizeof(control.error) + 16);
	else
		socket_put_control(m, IPPROTO_IPV6, IPV6_RECVERR, &control, sizeof(control));
	m->out_flags |= MSG_ERRQUEUE;
	packet_free(p);
	/* The next one shows as the socket's error. */
	p = take(i, &i->errors, true);
	s->error = p ? (int)((struct queued_error *)p->data)->error.ee_errno : 0;
	return n;
}

ssize_t inet_receive(struct socket *s, struct sock_msg *m,
		     void (*fill)(const struct socket *s, const struct packet *p, struct sock_addr *a))
{
	struct inet_socket *i = s->proto;
	struct packet *p;
	size_t n, len;
	int err;

	if (m->flags & MSG_ERRQUEUE)
		return receive_error(s, m);
	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	do {
		err = socket_wait(s, readable(i), m->flags & MSG_DONTWAIT, s->receive_timeout_ns);
		if (!err)
			err = socket_take_error(s);
		if (err)
			return err;
		p = take(i, &i->queue, m->flags & MSG_PEEK);
		if (!p && m->flags & MSG_DONTWAIT && !i->shut_read)
			return -EAGAIN;
	} while (!p && !i->shut_read);
	if (!p)
		return 0;
	len = packet_len(p);
	n = iter_copy_out(p->data, min(len, m->iter.count), &m->iter);
	if (m->addr)
		fill(s, p, m->addr);
	if (n < len)
		m->out_flags |= MSG_TRUNC;
	s->last_stamp_ns = p->stamp_ns;
	if (m->control) {
		socket_put_stamp(s, m, p->stamp_ns);
		if (s->family == PF_INET)
			give_v4(i, p, m);
		else
			give_v6(i, p, m);
	}
	if (!(m->flags & MSG_PEEK))
		packet_free(p);
	return m->flags & MSG_TRUNC ? (ssize_t)len : (ssize_t)n;
}

/* ---- out ------------------------------------------------------------------------------------------------------------
 */

struct control_header { /* struct cmsghdr of cmsg(3) */
	size_t len;
	int level, type;
	u8 data[];
};

static int parse_one(const struct socket *s, const struct control_header *c, size_t len, struct inet_once *out)
{
	struct in6_pktinfo six;
	struct in_pktinfo four;
	int v = 0;

	memcpy(&v, c->data, min(len, sizeof(v)));
	if (c->level == IPPROTO_IP && c->type == IP_PKTINFO && len >= sizeof(four)) {
		memcpy(&four, c->data, sizeof(four));
		out->ifindex = (u32)four.ipi_ifindex;
		out->has_source = four.ipi_spec_dst.s_addr != 0;
		out->source = ip_addr_v4(four.ipi_spec_dst.s_addr);
	} else if (c->level == IPPROTO_IPV6 && c->type == IPV6_PKTINFO && len >= sizeof(six)) {
		memcpy(&six, c->data, sizeof(six));
		out->ifindex = (u32)six.ipi6_ifindex;
		memcpy(&out->source, &six.ipi6_addr, sizeof(out->source));
		out->has_source = !ip_addr_is_any(&out->source);
	} else if (c->level == IPPROTO_IP && c->type == IP_TTL && v > 0 && v < 256) {
		out->common.ttl = (u8)v;
	} else if (c->level == IPPROTO_IP && c->type == IP_TOS && v >= 0 && v < 256) {
		out->common.tos = (u8)v;
	} else if (c->level == IPPROTO_IPV6 && c->type == IPV6_HOPLIMIT && v >= -1 && v < 256) {
		if (v >= 0)
			out->common.hop_limit = out->common.multicast_hops = (u8)v;
	} else if (c->level == IPPROTO_IPV6 && c->type == IPV6_TCLASS && v >= -1 && v < 256) {
		if (v >= 0)
			out->common.tclass = (u8)v;
	} else {
		return c->level == IPPROTO_IP || c->level == IPPROTO_IPV6 ? -EINVAL : 0;
	}
	return 0;
}

int inet_parse_control(const struct socket *s, const struct sock_msg *m, struct inet_once *out)
{
	const struct inet_socket *i = s->proto;
	size_t at = 0;

	*out = (struct inet_once){ .common = i->common };
	while (m->control && m->control_len - at >= sizeof(struct control_header)) {
		const struct control_header *c = (const void *)((const u8 *)m->control + at);
		int err;

		if (c->len < sizeof(*c) || c->len > m->control_len - at)
			return -EINVAL;
		err = parse_one(s, c, c->len - sizeof(*c), out);
		if (err)
			return err;
		at += min(ALIGN_UP(c->len, sizeof(size_t)), m->control_len - at);
	}
	return 0;
}

int inet_origin(struct inet_socket *i, const struct inet_name *to, const struct inet_once *once, struct ip_addr *source,
		u32 *ifindex)
{
	struct net *n = i->socket->net;
	struct ip_route r;
	int err;

	*ifindex = once->ifindex ? once->ifindex : to->ifindex ? to->ifindex : i->socket->bound_ifindex;
	if (!*ifindex && addr_is_multicast(&to->addr))
		*ifindex = i->common.multicast_ifindex;
	rcu_read_lock();
	err = ip_route(n, &to->addr, *ifindex, &r);
	rcu_read_unlock();
	if (err)
		return err;
	if (r.type == RTN_BROADCAST && !i->socket->broadcast)
		return -EACCES;
	if (once->has_source && !ip_is_local(n, &once->source, *ifindex))
		return -EINVAL;
	*source = once->has_source                                            ? once->source
		  : ip_addr_is_any(&i->local) || addr_is_multicast(&i->local) ? r.source
									      : i->local;
	return ip_addr_is_v4(source) == ip_addr_is_v4(&to->addr) ? 0 : -ENETUNREACH;
}

/* ---- the rest
 * -------------------------------------------------------------------------------------------------------- */

unsigned inet_poll(struct socket *s, struct poll_table *pt)
{
	struct inet_socket *i = s->proto;
	unsigned mask = EPOLLOUT | EPOLLWRNORM;

	if (!list_empty(&i->queue) || i->shut_read)
		mask |= EPOLLIN | EPOLLRDNORM;
	if (!list_empty(&i->errors))
		mask |= EPOLLERR;
	if (i->shut_read)
		mask |= EPOLLRDHUP;
	return i->shut_read && i->shut_write ? mask | EPOLLHUP : mask;
}

long inet_ioctl(struct socket *s, unsigned cmd, ulong arg)
{
	struct inet_socket *i = s->proto;
	struct packet *p;
	int n = 0;

	if (cmd != FIONREAD && cmd != SIOCOUTQ)
		return -ENOTTY;
	if (cmd == FIONREAD) {
		ulong irq = spin_lock_irqsave(&i->queue_lock);

		p = list_first_or_null(&i->queue, struct packet, link);
		n = p ? (int)packet_len(p) : 0;
		spin_unlock_irqrestore(&i->queue_lock, irq);
	}
	return user_put((void __user *)arg, &n, sizeof(n));
}

int inet_shut(struct socket *s, int how)
{
	struct inet_socket *i = s->proto;

	if (!i->remote_port)
		return -ENOTCONN;
	i->shut_read |= how != SHUT_WR;
	i->shut_write |= how != SHUT_RD;
	waitq_wake_all(&s->wait);
	return 0;
}

int inet_setsockopt(struct socket *s, int level, int opt, const void *value, int len)
{
	struct inet_socket *i = s->proto;

	if (level != IPPROTO_IP && level != IPPROTO_IPV6)
		return -ENOPROTOOPT;
	return inet_set_option(s, &i->common, level, opt, value, len);
}

int inet_getsockopt(struct socket *s, int level, int opt, void *value, int *len)
{
	struct inet_socket *i = s->proto;

	if (level != IPPROTO_IP && level != IPPROTO_IPV6)
		return -ENOPROTOOPT;
	return inet_get_option(s, &i->common, level, opt, value, len);
}

int inet_datagram_connect(struct socket *s, const struct sock_addr *a, int (*take_port)(struct inet_socket *i))
{
	struct inet_socket *i = s->proto;
	struct inet_once once = { .common = i->common };
	struct ip_addr source;
	struct inet_name in;
	u16 family;
	u32 ifindex;
	int err;

	if (a->len < (int)sizeof(family))
		return -EINVAL;
	memcpy(&family, a->bytes, sizeof(family));
	if (!family) { /* AF_UNSPEC dissolves the association */
		i->remote = addr_any(s);
		i->remote_port = 0;
		if (!i->bound_addr)
			i->local = addr_any(s);
		return 0;
	}
	err = inet_parse_name(s, &i->common, a, true, &in);
	if (err)
		return err;
	in.addr = inet_loopback_if_any(&in.addr, s->family == PF_INET6);
	err = inet_origin(i, &in, &once, &source, &ifindex);
	err = err ? err : take_port(i);
	if (err)
		return err;
	if (in.ifindex && addr_is_link_local(&in.addr))
		s->bound_ifindex = in.ifindex;
	i->remote = in.addr;
	i->remote_port = in.port;
	i->local = source;
	return 0;
}
