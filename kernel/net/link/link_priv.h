/* SPDX-License-Identifier: MIT
 *
 * Between the files of AF_PACKET.
 */
#ifndef LINK_PRIV_H
#define LINK_PRIV_H

#include <core/spin.h>
#include <linux/if_packet.h>
#include <mm/mapping.h>
#include <net/device.h>
#include <net/net.h>
#include <net/socket.h>

struct link_ring { /* memory shared with the program: frames of one size, in blocks of pages */
	refcount_t refs;
	struct mapping map;
	u32 block_bytes, nr_blocks, frame_bytes, nr_frames, frames_a_block;
	u32 head; /* socket's queue_lock: the next frame to fill */
	u32 reserve;
	bool network_only; /* of SOCK_DGRAM: no link headers */
	u8 *base;          /* all blocks, one behind the other */
};

struct link_socket {
	struct net_tap tap;
	struct socket *socket;
	struct list all_link;
	u16 protocol; /* host order; 0: none yet */
	u32 ifindex;  /* 0: all devices */
	struct spinlock queue_lock;
	struct list queue;       /* packets, data where the program's bytes begin */
	u32 queued_bytes;        /* queue_lock */
	u32 seen, dropped;       /* queue_lock; since they were last asked for */
	bool auxdata;            /* PACKET_AUXDATA */
	u32 version, reserve;    /* of the ring */
	struct link_ring *ring;  /* queue_lock to change */
	int promiscuous_ifindex; /* PACKET_ADD_MEMBERSHIP; 0: none */
	struct rcu_head rcu;
};

/* ring.c */
/* -EINVAL: the sizes do not fit together; -ENOMEM. */
int __must_check link_ring_create(const struct tpacket_req *req, u32 reserve, bool network_only,
				  struct link_ring **out);
void link_ring_put(struct link_ring *r);
/* Puts a frame in, its first snap bytes; queue_lock held. False: the ring is full. */
bool link_ring_put_frame(struct link_ring *r, const struct packet *p, u32 snap, const struct sockaddr_ll *from);
bool link_ring_readable(struct link_ring *r); /* the program has a frame that it has not given back */

#endif
