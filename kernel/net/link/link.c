/* SPDX-License-Identifier: MIT
 *
 * Problem: tcpdump, DHCP clients and network tools see and send frames as they are on the wire.
 *
 * Idea: a socket is a tap on the devices (net/device.h) with a filter by protocol, device and program. What passes is
 * copied, after the filter, into the socket's queue or the ring that it shares with the program. Sending is a frame
 * handed to the device; SOCK_DGRAM leaves the link header to us.
 *
 * Contract: packet(7). Not built: fanout, transmit rings, TPACKET_V1 and V3, statistics beyond received and dropped.
 *
 * Locks: queue_lock (RANK_SOCKET_QUEUE): the tap runs wherever frames move; all_lock for /proc/net/packet.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <asm/ioctls.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <net/hooks.h>
#include <task/user_ns.h>
#include <vfs/poll.h>
#include <vfs/vfs.h>

#include "link_priv.h"

#define FRAME_MOST 65550
#define LL_BYTES   offsetof(struct sockaddr_ll, sll_addr)

static LIST(all);
static struct spinlock all_lock = SPIN_INIT(RANK_SOCKET);
static const struct socket_ops link_ops;

static struct link_socket *of(struct socket *s)
{
	return s->proto;
}

static u16 swap16(u16 v)
{
	return __builtin_bswap16(v);
}

/* ---- in
 * -------------------------------------------------------------------------------------------------------------- */

static void fill_name(const struct packet *p, struct sockaddr_ll *a)
{
	const struct ethhdr *h = (const struct ethhdr *)p->link_header;

	*a = (struct sockaddr_ll){ .sll_family = PF_PACKET,
				   .sll_protocol = swap16(p->protocol),
				   .sll_ifindex = (int)p->ifindex,
				   .sll_hatype = p->dev->type,
				   .sll_pkttype = p->kind,
				   .sll_halen = ETHERNET_ADDRESS };
	memcpy(a->sll_addr, h->h_source, ETHERNET_ADDRESS);
}

struct note {       /* in packet->note of a queued packet */
	u32 length; /* before the filter cut it */
	u16 type;   /* ARPHRD_* */
};

static bool queue(struct link_socket *l, const struct packet *p, u32 snap)
{
	struct packet *copy;
	struct note n = { .type = p->dev->type };

	if (!list_empty(&l->queue) && l->queued_bytes + (p->end - p->head) > l->socket->receive_buffer)
		return false;
	copy = packet_copy(p, ALLOC_ATOMIC);
	if (!copy)
		return false;
	copy->data = l->socket->type == SOCK_RAW ? copy->link_header : copy->network;
	n.length = (u32)packet_len(copy);
	if (snap < packet_len(copy))
		copy->tail = copy->data + snap;
	memcpy(copy->note, &n, sizeof(n));
	list_add_tail(&copy->link, &l->queue);
	l->queued_bytes += (u32)(copy->end - copy->head);
	packet_hold(l, copy, true);
	return true;
}

static void on_frame(struct net_tap *t, const struct packet *p)
{
	struct link_socket *l = container_of(t, struct link_socket, tap);
	struct packet view = *p;
	struct sockaddr_ll from;
	u32 snap = ~0U;
	bool kept;
	ulong irq;

	if ((l->protocol != ETH_P_ALL && (l->protocol != p->protocol || p->kind == PACKET_OUTGOING)) ||
	    (l->ifindex && l->ifindex != p->ifindex))
		return;
	view.data = l->socket->type == SOCK_RAW ? p->link_header : p->network;
	if (READ_ONCE(l->socket->filter))
		snap = net_hooks->filter(l->socket, &view);
	if (!snap)
		return;
	irq = spin_lock_irqsave(&l->queue_lock);
	fill_name(p, &from);
	kept = l->ring ? link_ring_put_frame(l->ring, p, snap, &from) : queue(l, p, snap);
	l->seen++;
	l->dropped += !kept;
	spin_unlock_irqrestore(&l->queue_lock, irq);
	if (kept)
		waitq_wake(&l->socket->wait, 1, EPOLLIN | EPOLLRDNORM);
}

static struct packet *take(struct link_socket *l, bool peek)
{
	ulong irq = spin_lock_irqsave(&l->queue_lock);
	struct packet *p = list_first_or_null(&l->queue, struct packet, link);

	if (p && !peek) {
		list_del_init(&p->link);
		l->queued_bytes -= (u32)(p->end - p->head);
		packet_hold(l, p, false);
	}
	spin_unlock_irqrestore(&l->queue_lock, irq);
	return p;
}

static void give_auxdata(const struct packet *p, const struct note *n, struct sock_msg *m)
{
	struct tpacket_auxdata a = { .tp_status = TP_STATUS_USER | (p->sum_later ? TP_STATUS_CSUMNOTREADY : 0),
				     .tp_len = n->length,
				     .tp_snaplen = (u32)packet_len(p),
				     .tp_net = (u16)(p->network - p->data) };

	socket_put_control(m, SOL_PACKET, PACKET_AUXDATA, &a, sizeof(a));
}

static ssize_t receive(struct socket *s, struct sock_msg *m)
{
	struct link_socket *l = of(s);
	struct sockaddr_ll from;
	struct packet *p;
	struct note n;
	size_t len, got;
	int err;

	if (m->flags & (MSG_OOB | MSG_ERRQUEUE))
		return m->flags & MSG_OOB ? -EINVAL : -EAGAIN;
	do {
		err = socket_wait(s, !list_empty(&l->queue) || READ_ONCE(s->error), m->flags & MSG_DONTWAIT,
				  s->receive_timeout_ns);
		if (!err)
			err = socket_take_error(s);
		if (err)
			return err;
		p = take(l, m->flags & MSG_PEEK);
	} while (!p);
	memcpy(&n, p->note, sizeof(n));
	len = packet_len(p);
	got = iter_copy_out(p->data, min(len, m->iter.count), &m->iter);
	if (got < len)
		m->out_flags |= MSG_TRUNC;
	if (m->addr) {
		const struct ethhdr *h = (const struct ethhdr *)p->link_header;

		from = (struct sockaddr_ll){ .sll_family = PF_PACKET,
					     .sll_protocol = swap16(p->protocol),
					     .sll_ifindex = (int)p->ifindex,
					     .sll_hatype = n.type,
					     .sll_pkttype = p->kind,
					     .sll_halen = ETHERNET_ADDRESS };
		memcpy(from.sll_addr, h->h_source, ETHERNET_ADDRESS);
		memcpy(m->addr->bytes, &from, sizeof(from));
		m->addr->len = LL_BYTES + ETHERNET_ADDRESS;
	}
	s->last_stamp_ns = p->stamp_ns;
	socket_put_stamp(s, m, p->stamp_ns);
	if (l->auxdata)
		give_auxdata(p, &n, m);
	if (!(m->flags & MSG_PEEK))
		packet_free(p);
	return m->flags & MSG_TRUNC ? (ssize_t)len : (ssize_t)got;
}

/* ---- out
 * ------------------------------------------------------------------------------------------------------------- */

static int destination(struct link_socket *l, const struct sock_msg *m, struct sockaddr_ll *to)
{
	if (!m->addr || !m->addr->len) {
		if (l->socket->type != SOCK_RAW || !l->ifindex)
			return l->ifindex ? -EDESTADDRREQ : -ENXIO;
		*to = (struct sockaddr_ll){ .sll_ifindex = (int)l->ifindex, .sll_protocol = swap16(l->protocol) };
		return 0;
	}
	if (m->addr->len < (int)LL_BYTES)
		return -EINVAL;
	memset(to, 0, sizeof(*to));
	memcpy(to, m->addr->bytes, min((size_t)m->addr->len, sizeof(*to)));
	if (to->sll_family != PF_PACKET)
		return -EINVAL;
	return l->socket->type == SOCK_DGRAM && m->addr->len < (int)LL_BYTES + ETHERNET_ADDRESS ? -EINVAL : 0;
}

static ssize_t send(struct socket *s, struct sock_msg *m)
{
	struct link_socket *l = of(s);
	size_t len = m->iter.count, least = s->type == SOCK_RAW ? ETHERNET_HEADER : 0;
	struct net_device *d;
	struct sockaddr_ll to;
	struct packet *p;
	int err = destination(l, m, &to);

	if (err)
		return err;
	if (len < least)
		return -EINVAL;
	p = len > FRAME_MOST ? NULL : packet_alloc(len, ALLOC_KERNEL);
	if (!p)
		return len > FRAME_MOST ? -EMSGSIZE : -ENOBUFS;
	if (iter_copy_in(packet_put(p, len), len, &m->iter) < len) {
		packet_free(p);
		return -EFAULT;
	}
	p->protocol = swap16(to.sll_protocol);
	rcu_read_lock();
	d = net_device_find(s->net, (u32)to.sll_ifindex);
	err = !d ? -ENXIO : !net_device_is_up(d) ? -ENETDOWN : len > d->mtu + least + 4 ? -EMSGSIZE : 0;
	if (err) {
		packet_free(p);
	} else if (s->type == SOCK_RAW) {
		p->protocol = swap16(((const struct ethhdr *)p->data)->h_proto);
		net_device_send_frame(d, p);
	} else {
		net_device_send(d, p, to.sll_addr);
	}
	rcu_read_unlock();
	return err ? err : (ssize_t)len;
}

/* ---- names and options
 * ------------------------------------------------------------------------------------------------- */

static void listen_to(struct link_socket *l, u16 protocol, u32 ifindex)
{
	net_tap_remove(&l->tap);
	rcu_synchronize();
	l->protocol = protocol;
	l->ifindex = ifindex;
	if (protocol)
		net_tap_add(&l->tap);
}

static int bind(struct socket *s, const struct sock_addr *a)
{
	struct link_socket *l = of(s);
	struct net_device *d = NULL;
	struct sockaddr_ll ll;
	bool up = true;

	if (a->len < (int)LL_BYTES)
		return -EINVAL;
	memset(&ll, 0, sizeof(ll));
	memcpy(&ll, a->bytes, min((size_t)a->len, sizeof(ll)));
	if (ll.sll_family != PF_PACKET)
		return -EINVAL;
	rcu_read_lock();
	if (ll.sll_ifindex) {
		d = net_device_find(s->net, (u32)ll.sll_ifindex);
		up = d && net_device_is_up(d);
	}
	rcu_read_unlock();
	if (ll.sll_ifindex && !d)
		return -ENODEV;
	listen_to(l, ll.sll_protocol ? swap16(ll.sll_protocol) : l->protocol, (u32)ll.sll_ifindex);
	if (!up)
		s->error = ENETDOWN;
	return 0;
}

static int name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct link_socket *l = of(s);
	struct sockaddr_ll ll = { .sll_family = PF_PACKET,
				  .sll_protocol = swap16(l->protocol),
				  .sll_ifindex = (int)l->ifindex };
	struct net_device *d;

	if (peer)
		return -EOPNOTSUPP;
	rcu_read_lock();
	d = l->ifindex ? net_device_find(s->net, l->ifindex) : NULL;
	if (d) {
		ll.sll_hatype = d->type;
		ll.sll_halen = ETHERNET_ADDRESS;
		memcpy(ll.sll_addr, d->address, ETHERNET_ADDRESS);
	}
	rcu_read_unlock();
	memcpy(out->bytes, &ll, sizeof(ll));
	out->len = (int)LL_BYTES + ll.sll_halen;
	return 0;
}

static int set_ring(struct link_socket *l, const void *value, int len)
{
	struct tpacket_req q;
	struct link_ring *fresh = NULL, *old;
	int err = 0;
	ulong irq;

	if (len < (int)sizeof(q))
		return -EINVAL;
	memcpy(&q, value, sizeof(q));
	if (l->ring && refcount_is_shared(&l->ring->refs))
		return -EBUSY;
	if (q.tp_block_nr && l->version != TPACKET_V2)
		return fail(EINVAL, "ring of version %u", l->version);
	if (q.tp_block_nr && l->ring)
		return -EBUSY;
	if (q.tp_block_nr)
		err = link_ring_create(&q, l->reserve, l->socket->type == SOCK_DGRAM, &fresh);
	if (err)
		return err;
	irq = spin_lock_irqsave(&l->queue_lock);
	old = l->ring;
	l->ring = fresh;
	spin_unlock_irqrestore(&l->queue_lock, irq);
	link_ring_put(old);
	return 0;
}

/* A device that shows every frame, and other wishes that our devices fulfil anyhow. */
static int set_membership(struct socket *s, bool add, const void *value, int len)
{
	struct link_socket *l = of(s);
	struct packet_mreq m;
	struct net_device *d;
	int err = 0;

	if (len < (int)sizeof(m))
		return -EINVAL;
	memcpy(&m, value, sizeof(m));
	mutex_lock(&net_config_lock);
	d = net_device_find(s->net, (u32)m.mr_ifindex);
	if (!d) {
		err = -ENODEV;
	} else if (m.mr_type == PACKET_MR_PROMISC && add != (l->promiscuous_ifindex != 0)) {
		d->promiscuous += add ? 1 : -1;
		l->promiscuous_ifindex = add ? m.mr_ifindex : 0;
		err = net_device_set_flags(d, d->promiscuous ? IFF_PROMISC : 0, IFF_PROMISC);
	}
	mutex_unlock(&net_config_lock);
	return err;
}

static int setsockopt(struct socket *s, int level, int opt, const void *value, int len)
{
	struct link_socket *l = of(s);
	int v = 0;

	if (level != SOL_PACKET)
		return -ENOPROTOOPT;
	if (opt == PACKET_RX_RING)
		return set_ring(l, value, len);
	if (opt == PACKET_ADD_MEMBERSHIP || opt == PACKET_DROP_MEMBERSHIP)
		return set_membership(s, opt == PACKET_ADD_MEMBERSHIP, value, len);
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	switch (opt) {
	case PACKET_AUXDATA: l->auxdata = v != 0; return 0;
	case PACKET_VERSION:
		if (v != TPACKET_V2 && v != TPACKET_V1)
			return fail(EINVAL, "packet version %d", v);
		if (l->ring)
			return -EBUSY;
		l->version = (u32)v;
		return 0;
	case PACKET_RESERVE:
		if (l->ring)
			return -EBUSY;
		if (v < 0 || v > 4096)
			return -EINVAL;
		l->reserve = (u32)v;
		return 0;
	}
	return -ENOPROTOOPT;
}

static int take_statistics(struct link_socket *l, void *value, int *len)
{
	struct tpacket_stats st;
	ulong irq = spin_lock_irqsave(&l->queue_lock);

	st = (struct tpacket_stats){ .tp_packets = l->seen, .tp_drops = l->dropped };
	l->seen = l->dropped = 0;
	spin_unlock_irqrestore(&l->queue_lock, irq);
	*len = min(*len, (int)sizeof(st));
	memcpy(value, &st, *len);
	return 0;
}

static int getsockopt(struct socket *s, int level, int opt, void *value, int *len)
{
	struct link_socket *l = of(s);
	int v;

	if (level != SOL_PACKET)
		return -ENOPROTOOPT;
	switch (opt) {
	case PACKET_STATISTICS: return take_statistics(l, value, len);
	case PACKET_AUXDATA: v = l->auxdata; break;
	case PACKET_VERSION: v = (int)l->version; break;
	case PACKET_RESERVE: v = (int)l->reserve; break;
	case PACKET_HDRLEN:
		if (*len < (int)sizeof(v))
			return -EINVAL;
		memcpy(&v, value, sizeof(v));
		if (v != TPACKET_V2)
			return fail(EINVAL, "packet version %d", v);
		v = sizeof(struct tpacket2_hdr);
		break;
	default: return -ENOPROTOOPT;
	}
	*len = min(*len, (int)sizeof(v));
	memcpy(value, &v, *len);
	return 0;
}

static unsigned poll(struct socket *s, struct poll_table *pt)
{
	struct link_socket *l = of(s);
	unsigned mask = EPOLLOUT | EPOLLWRNORM;
	ulong irq = spin_lock_irqsave(&l->queue_lock);

	if (!list_empty(&l->queue) || (l->ring && link_ring_readable(l->ring)))
		mask |= EPOLLIN | EPOLLRDNORM;
	spin_unlock_irqrestore(&l->queue_lock, irq);
	return mask;
}

static long ioctl(struct socket *s, unsigned cmd, ulong arg)
{
	struct packet *p = cmd == FIONREAD ? take(of(s), true) : NULL;
	int n = p ? (int)packet_len(p) : 0;

	return cmd == FIONREAD ? user_put((void __user *)arg, &n, sizeof(n)) : -ENOTTY;
}

static int map(struct socket *s, u64 *index, size_t bytes, struct mapping **out)
{
	struct link_ring *r = of(s)->ring;

	if (!r || *index || bytes != (size_t)r->block_bytes * r->nr_blocks)
		return -EINVAL;
	*out = &r->map;
	return 0;
}

/* ---- life
 * --------------------------------------------------------------------------------------------------------------- */

static void free_later(struct rcu_head *h)
{
	kfree(container_of(h, struct link_socket, rcu));
}

static void release(struct socket *s)
{
	struct link_socket *l = of(s);
	struct packet_mreq m = { .mr_ifindex = l->promiscuous_ifindex, .mr_type = PACKET_MR_PROMISC };
	struct packet *p;
	ulong irq;

	net_tap_remove(&l->tap);
	if (l->promiscuous_ifindex)
		(void)!set_membership(s, false, &m, sizeof(m));
	irq = spin_lock_irqsave(&all_lock);
	list_del(&l->all_link);
	spin_unlock_irqrestore(&all_lock, irq);
	rcu_synchronize(); /* no frame is on its way into it */
	while ((p = take(l, false)))
		packet_free(p);
	link_ring_put(l->ring);
	rcu_call(&l->rcu, free_later);
}

static const struct socket_ops link_ops = { .release = release,
					    .bind = bind,
					    .name = name,
					    .send = send,
					    .receive = receive,
					    .poll = poll,
					    .ioctl = ioctl,
					    .map = map,
					    .setsockopt = setsockopt,
					    .getsockopt = getsockopt };

static int create(struct socket *s)
{
	struct link_socket *l;
	ulong irq;

	if (s->type != SOCK_RAW && s->type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (!ns_capable(s->net->ns.owner, CAP_NET_RAW))
		return -EPERM;
	l = kzalloc(sizeof(*l), ALLOC_CHARGED);
	if (!l)
		return -ENOMEM;
	l->socket = s;
	l->tap = (struct net_tap){ .net = s->net, .frame = on_frame };
	spin_init(&l->queue_lock, RANK_SOCKET_QUEUE);
	list_init(&l->queue);
	l->protocol = swap16((u16)s->protocol);
	s->proto = l;
	s->ops = &link_ops;
	irq = spin_lock_irqsave(&all_lock);
	list_add_tail(&l->all_link, &all);
	spin_unlock_irqrestore(&all_lock, irq);
	if (l->protocol)
		net_tap_add(&l->tap);
	return 0;
}

static int show(struct net *n, struct strbuf *out)
{
	struct link_socket *l;
	ulong irq;

	strbuf_add(out, "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n");
	irq = spin_lock_irqsave(&all_lock);
	list_for_each_entry (l, &all, all_link)
		if (l->socket->net == n && l->socket->file)
			strbuf_add(out, "%016llx 3      %u    %04x   %-5u %d %-6u %-6u %llu\n",
				   (unsigned long long)(ulong)l, (unsigned)l->socket->type, l->protocol, l->ifindex,
				   l->tap.on, l->queued_bytes, l->socket->file->inode->uid.v,
				   (unsigned long long)l->socket->file->inode->ino);
	spin_unlock_irqrestore(&all_lock, irq);
	return 0;
}

static struct socket_family family = { .family = PF_PACKET, .create = create };
static struct net_file packet_file = { .name = "packet", .show = show };

static void link_init(void)
{
	socket_family_register(&family);
	net_file_register(&packet_file);
}
PART_INIT(core, link_init);
