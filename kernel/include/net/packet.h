/* SPDX-License-Identifier: MIT
 *
 * A packet: one block of bytes with room in front for headers. Layers push and pull at `data`; nothing is copied on the
 * way.
 *
 *      head ...room... data [network header][transport header][payload] tail ...room... end
 *
 * Ownership: one owner at a time; packet_free, or handing it on. A packet on a socket's queue is charged to its receive
 * buffer.
 */
#ifndef NET_PACKET_H
#define NET_PACKET_H

#include <lib/list.h>
#include <lib/types.h>

struct net;
struct net_device;
struct socket;

struct packet {
	struct list link;
	u8 *head, *data, *tail, *end;
	u8 *link_header;        /* where the link's header begins; NULL: not yet known */
	u8 *network;            /* on the way in: the network header */
	struct net_device *dev; /* where it came in, or goes out; lives as long as the packet is under way (RCU) */
	struct net *net;
	struct socket *socket; /* sender's, while it goes out; NULL on the way in */
	u32 ifindex;
	u32 vrf;         /* number of the VRF's device that it came through, or that an answer belongs to; 0: none */
	u32 own_ifindex; /* out, over loopback: the device whose address it goes to, where it will count as come in */
	u16 protocol;    /* of the network header, ETH_P_*, host order */
	u32 mark, priority;
	u64 stamp_ns;
	bool sum_ok; /* in: the transport's checksum needs no look: it never left the machine, or the device judged it
		      */
	bool sum_later; /* out: the transport's checksum is 0 and due when it leaves the machine; data at its header
			   then */
	u8 kind;        /* PACKET_HOST, PACKET_OTHERHOST ... of linux/if_packet.h */
	u64 note[2];    /* of the layer that holds the packet */
};

#define PACKET_HEADROOM 128

/* data = tail = head + PACKET_HEADROOM; NULL: no memory. flags: ALLOC_*. */
struct packet *__must_check packet_alloc(size_t payload, unsigned flags);
void packet_free(struct packet *p);
/* Another packet with the bytes from p->link_header (or data) to tail, and the same marks. NULL: no memory. */
struct packet *__must_check packet_copy(const struct packet *p, unsigned flags);

/* Whether a socket that is bound to the device `bound` (0: to none) may have what came in there. In a VRF only those
 * hear it that are bound to it or to its device. */
static inline bool packet_reaches(u32 ifindex, u32 vrf, u32 bound)
{
	return bound ? bound == ifindex || bound == vrf : !vrf;
}

/* Bytes that a packet counts for among what a socket may hold. */
static inline u32 packet_cost(const struct packet *p)
{
	return (u32)(p->end - p->head + sizeof(*p));
}
/* Its memory comes to, or leaves, the payer of `owner`: a slab object with a queue that p is on. */
void packet_hold(const void *owner, const struct packet *p, bool keeps);

static inline size_t packet_len(const struct packet *p)
{
	return p->tail - p->data;
}
static inline void *packet_push(struct packet *p, size_t n)
{
	return p->data - p->head >= (ssize_t)n ? (p->data -= n) : NULL;
}
static inline void *packet_pull(struct packet *p, size_t n) /* what was at data; NULL: too short */
{
	u8 *at = p->data;

	if (packet_len(p) < n)
		return NULL;
	p->data += n;
	return at;
}
static inline void *packet_put(struct packet *p, size_t n)
{
	u8 *at = p->tail;

	if (p->end - p->tail < (ssize_t)n)
		return NULL;
	p->tail += n;
	return at;
}

#endif
