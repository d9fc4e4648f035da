/* SPDX-License-Identifier: MIT
 *
 * Problem: bytes go down and up through layers that each add or take a header.
 *
 * Idea: one block of memory a packet, its descriptor in front, room for headers before the payload.
 *
 * Contract: net/packet.h. Pure: the same on the host.
 *
 * Locks: none; a packet has one owner.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include <net/packet.h>

struct packet *packet_alloc(size_t payload, unsigned flags)
{
	size_t room = PACKET_HEADROOM + payload;
	struct packet *p = kmalloc(sizeof(*p) + room, flags);

	if (!p)
		return NULL;
	*p = (struct packet){ .head = (u8 *)(p + 1) };
	list_init(&p->link);
	p->data = p->tail = p->head + PACKET_HEADROOM;
	p->end = p->head + room;
	return p;
}

struct packet *packet_copy(const struct packet *p, unsigned flags)
{
	const u8 *from = p->link_header && p->link_header <= p->data ? p->link_header : p->data;
	struct packet *c = packet_alloc(p->tail - from, flags);

	if (!c)
		return NULL;
	memcpy(c->data, from, p->tail - from);
	c->tail += p->tail - from;
	if (p->link_header)
		c->link_header = c->data + (p->link_header - from);
	if (p->network)
		c->network = c->data + (p->network - from);
	c->data += p->data - from;
	c->net = p->net;
	c->dev = p->dev;
	c->ifindex = p->ifindex;
	c->vrf = p->vrf;
	c->protocol = p->protocol;
	c->mark = p->mark;
	c->priority = p->priority;
	c->stamp_ns = p->stamp_ns;
	c->sum_ok = p->sum_ok;
	c->sum_later = p->sum_later;
	c->kind = p->kind;
	return c;
}

void packet_free(struct packet *p)
{
	kfree(p);
}

void packet_hold(const void *owner, const struct packet *p, bool keeps)
{
	s64 bytes = (s64)ksize(p);

	kmalloc_hold(owner, keeps ? bytes : -bytes);
}
