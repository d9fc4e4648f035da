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

void packet_free(struct packet *p)
{
	kfree(p);
}
