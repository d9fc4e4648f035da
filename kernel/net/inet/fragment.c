/* SPDX-License-Identifier: MIT
 *
 * Problem: a packet may be bigger than what a network carries, and arrives in pieces, in any order, or not at all, or
 * made by somebody who wants our memory.
 *
 * Idea: out: pieces are copies of header and a stretch of payload. In: a list of incomplete packets, each a sorted list
 * of its pieces; a piece that overlaps another ends the whole (RFC 5722, and for IPv4 alike). Memory and time are
 * limited, the oldest goes first.
 *
 * Contract: inet_priv.h. Formats: RFC 791, 2.3 and 3.2; RFC 8200, 4.5.
 *
 * Locks: neighbour_lock for the list; a packet that has come together is handled outside.
 */
#include <core/clock.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "inet_priv.h"

#define WAIT_NS        (30 * NSEC_PER_SEC)
#define BYTES_MOST     (4UL << 20)
#define DONT_FRAGMENT  0x4000
#define MORE_FRAGMENTS 0x2000
#define OFFSET_MASK    0x1fff
#define FRAGMENT_BYTES 8

struct incomplete {
	struct list link;
	struct ip_addr from, to;
	u32 ident, vrf;
	u8 protocol;
	const struct net_device *dev;
	struct list pieces; /* packets by offset, data at the payload, note[0] the offset */
	u32 total;          /* 0: not known yet */
	u32 have;
	size_t bytes;
	u64 until;
};

static void drop(struct inet_net *i, struct incomplete *q)
{
	struct packet *p, *next;

	list_for_each_entry_safe (p, next, &q->pieces, link)
		packet_free(p);
	list_del(&q->link);
	i->fragment_bytes -= q->bytes;
	kfree(q);
}

static struct incomplete *find(struct inet_net *i, const struct packet *p, const struct ip_addr *from,
			       const struct ip_addr *to, u8 protocol, u32 ident)
{
	struct incomplete *q;

	list_for_each_entry (q, &i->fragments, link)
		if (q->ident == ident && q->protocol == protocol && q->vrf == p->vrf && ip_addr_equal(&q->from, from) &&
		    ip_addr_equal(&q->to, to))
			return q;
	q = kzalloc(sizeof(*q), ALLOC_ATOMIC);
	if (!q)
		return NULL;
	*q = (struct incomplete){ .from = *from,
				  .to = *to,
				  .ident = ident,
				  .protocol = protocol,
				  .dev = p->dev,
				  .vrf = p->vrf,
				  .until = clock_ns() + WAIT_NS };
	list_init(&q->pieces);
	list_add_tail(&q->link, &i->fragments);
	return q;
}

/* False: it contradicts what is there. A piece that is there already counts as done. */
static bool put(struct inet_net *i, struct incomplete *q, struct packet *p, u32 offset, bool more)
{
	u32 len = (u32)packet_len(p), end = offset + len;
	struct list *where = &q->pieces;
	struct packet *at;

	if ((more && len % 8) || !len || end > 65535 || (q->total && end > q->total) ||
	    (!more && q->total && end != q->total))
		return false;
	list_for_each_entry (at, &q->pieces, link) {
		u32 first = (u32)at->note[0], last = first + (u32)packet_len(at);

		if (offset < last && first < end)
			return false;
		if (!more && last > end)
			return false;
		if (first >= end) {
			where = &at->link;
			break;
		}
	}
	if (!more)
		q->total = end;
	p->note[0] = offset;
	list_add_tail(&p->link, where);
	q->have += len;
	q->bytes += len + sizeof(*p) + PACKET_HEADROOM;
	i->fragment_bytes += len + sizeof(*p) + PACKET_HEADROOM;
	return true;
}

/* One packet of all pieces, with the header of the first. */
static struct packet *join(struct incomplete *q)
{
	struct packet *first = list_first_entry(&q->pieces, struct packet, link), *p, *whole;
	size_t header = first->data - first->network;

	whole = packet_alloc(header + q->total, ALLOC_ATOMIC);
	if (!whole)
		return NULL;
	memcpy(packet_put(whole, header), first->network, header);
	list_for_each_entry (p, &q->pieces, link)
		memcpy(packet_put(whole, packet_len(p)), p->data, packet_len(p));
	whole->network = whole->data;
	whole->data += header;
	whole->net = first->net;
	whole->dev = first->dev;
	whole->ifindex = first->ifindex;
	whole->vrf = first->vrf;
	whole->protocol = first->protocol;
	whole->stamp_ns = first->stamp_ns;
	whole->kind = first->kind;
	if (first->protocol == ETH_P_IP) {
		struct iphdr *h = (struct iphdr *)whole->network;

		h->tot_len = host16((u16)min(header + q->total, 65535UL));
		h->frag_off = 0;
		h->check = 0;
		h->check = ip_checksum(h, header, 0);
	}
	return whole;
}

struct packet *ip_reassemble(struct inet_net *i, struct packet *p, const struct ip_addr *from, const struct ip_addr *to,
			     u8 protocol, u32 ident, u32 offset, bool more)
{
	struct packet *whole = NULL;
	struct incomplete *q;
	ulong irq;

	inet_count(i, COUNT_IP_REASSEMBLY);
	irq = spin_lock_irqsave(&i->neighbour_lock);
	q = find(i, p, from, to, protocol, ident);
	if (!q || !put(i, q, p, offset, more)) {
		packet_free(p);
		if (q)
			drop(i, q);
		inet_count(i, COUNT_IP_REASSEMBLY_FAILED);
	} else if (q->total && q->have == q->total) {
		whole = join(q);
		inet_count(i, whole ? COUNT_IP_REASSEMBLED : COUNT_IP_REASSEMBLY_FAILED);
		drop(i, q);
	}
	while (i->fragment_bytes > BYTES_MOST)
		drop(i, list_first_entry(&i->fragments, struct incomplete, link));
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	inet_tick_soon(i);
	return whole;
}

bool ip_fragments_expire(struct inet_net *i, u64 now)
{
	struct incomplete *q, *next;
	bool left;
	ulong irq = spin_lock_irqsave(&i->neighbour_lock);

	list_for_each_entry_safe (q, next, &i->fragments, link)
		if (q->until <= now) {
			inet_count(i, COUNT_IP_REASSEMBLY_FAILED);
			drop(i, q);
		}
	left = !list_empty(&i->fragments);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	return left;
}

void ip_fragments_drop(struct inet_net *i, const struct net_device *d)
{
	struct incomplete *q, *next;
	ulong irq = spin_lock_irqsave(&i->neighbour_lock);

	list_for_each_entry_safe (q, next, &i->fragments, link)
		if (!d || q->dev == d)
			drop(i, q);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
}

/* ---- out ------------------------------------------------------------------------------------------------------------
 */

static struct packet *piece(const struct packet *p, size_t header, size_t extra, size_t at, size_t len)
{
	struct packet *f = packet_alloc(header + extra + len, ALLOC_ATOMIC);

	if (!f)
		return NULL;
	memcpy(packet_put(f, header), p->data, header);
	memset(packet_put(f, extra), 0, extra);
	memcpy(packet_put(f, len), p->data + header + at, len);
	f->protocol = p->protocol;
	f->mark = p->mark;
	f->priority = p->priority;
	return f;
}

static void finish_v4(struct packet *f, size_t header, size_t at, bool more)
{
	struct iphdr *h = (struct iphdr *)f->data;
	u16 old = host16(h->frag_off);

	h->tot_len = host16((u16)packet_len(f));
	h->frag_off = host16((u16)(((old & OFFSET_MASK) + at / 8) | (more ? MORE_FRAGMENTS : old & MORE_FRAGMENTS)));
	h->check = 0;
	h->check = ip_checksum(h, header, 0);
}

static void finish_v6(struct packet *f, u8 next, u32 ident, size_t at, bool more)
{
	struct ipv6hdr *h = (struct ipv6hdr *)f->data;
	u8 *x = f->data + sizeof(*h);
	u16 offset = host16((u16)(at | more));

	h->nexthdr = IPPROTO_FRAGMENT;
	h->payload_len = host16((u16)(packet_len(f) - sizeof(*h)));
	x[0] = next;
	memcpy(x + 2, &offset, sizeof(offset));
	memcpy(x + 4, &ident, sizeof(ident));
}

int ip_fragment(struct packet *p, struct net_device *d, u32 mtu, const struct ip_addr *next_hop)
{
	bool v4 = *p->data >> 4 == 4;
	size_t header = v4 ? ((const struct iphdr *)p->data)->ihl * 4U : IP6_BYTES, extra = v4 ? 0 : FRAGMENT_BYTES;
	size_t total = packet_len(p) - header, most;
	u8 next = v4 ? 0 : ((const struct ipv6hdr *)p->data)->nexthdr;
	u32 ident = (u32)random_u64();
	int err = 0;

	if (mtu < header + extra + 8 || (v4 && host16(((const struct iphdr *)p->data)->frag_off) & DONT_FRAGMENT)) {
		packet_free(p);
		return -EMSGSIZE;
	}
	most = (mtu - header - extra) & ~7UL;
	inet_count(inet_of(d->net), COUNT_IP_FRAGMENTED);
	for (size_t at = 0; at < total && !err; at += most) {
		size_t len = min(most, total - at);
		struct packet *f = piece(p, header, extra, at, len);

		if (!f) {
			err = -ENOBUFS;
			break;
		}
		if (v4)
			finish_v4(f, header, at, at + len < total);
		else
			finish_v6(f, next, ident, at, at + len < total);
		inet_count(inet_of(d->net), COUNT_IP_FRAGMENTS);
		neighbour_send(d, next_hop, f);
	}
	packet_free(p);
	return err;
}
