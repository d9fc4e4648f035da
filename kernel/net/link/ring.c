/* SPDX-License-Identifier: MIT
 *
 * Problem: a call a frame is too slow for who watches a network.
 *
 * Idea: frames are written into memory that the program has mapped. Each slot says whose it is: ours until it is
 * filled, then the program's until it gives it back. A full ring drops and says so in the next frame.
 *
 *      slot: [tpacket2_hdr][sockaddr_ll] ... [link header][packet]       status is written last (release)
 *
 * Contract: packet(7), PACKET_RX_RING with TPACKET_V2; the layout is that of linux/if_packet.h. The other versions are
 * refused, and libpcap falls back to this one.
 *
 * Locks: the socket's queue_lock while a slot is filled. The ring is counted: socket and each mapping hold it.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/atomic.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>

#include "link_priv.h"

#define BYTES_MOST (64UL << 20)
#define LINK_ROOM  16 /* in front of the network header, at least */

static size_t bytes_of(const struct link_ring *r)
{
	return (size_t)r->block_bytes * r->nr_blocks;
}

static struct page *page_at(const struct link_ring *r, u64 index)
{
	return pfn_to_page(kernel_phys((ulong)r->base + index * PAGE_SIZE) >> PAGE_SHIFT);
}

static void own_pages(struct link_ring *r, struct mapping *m)
{
	for (u64 i = 0; i < bytes_of(r) / PAGE_SIZE; i++) {
		page_at(r, i)->owner = m;
		page_at(r, i)->index = i;
	}
}

static void free_ring(struct link_ring *r)
{
	own_pages(r, NULL);
	vmem_free(r->base);
	kfree(r);
}

void link_ring_put(struct link_ring *r)
{
	if (r && refcount_dec_and_test(&r->refs))
		free_ring(r);
}

static struct link_ring *ring_of(const struct mapping *m)
{
	return m->owner;
}

static int fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct link_ring *r = ring_of(m);

	if (index >= bytes_of(r) / PAGE_SIZE)
		return -EFAULT;
	*out = page_at(r, index);
	page_get(*out);
	return 0;
}

static void get(struct mapping *m)
{
	refcount_inc(&ring_of(m)->refs);
}

static void put(struct mapping *m)
{
	link_ring_put(ring_of(m));
}

static const struct mapping_ops mapping_ops = { .fill = fill, .get = get, .put = put };

static bool fits_together(const struct tpacket_req *q, u32 reserve)
{
	u64 bytes = (u64)q->tp_block_size * q->tp_block_nr;

	return q->tp_block_size && IS_ALIGNED(q->tp_block_size, PAGE_SIZE) &&
	       q->tp_frame_size >= TPACKET2_HDRLEN + reserve && IS_ALIGNED(q->tp_frame_size, TPACKET_ALIGNMENT) &&
	       q->tp_frame_size <= q->tp_block_size && bytes <= BYTES_MOST && q->tp_block_size <= (4U << 20) &&
	       q->tp_block_size / q->tp_frame_size * q->tp_block_nr == q->tp_frame_nr;
}

int link_ring_create(const struct tpacket_req *q, u32 reserve, bool network_only, struct link_ring **out)
{
	struct link_ring *r;

	if (!fits_together(q, reserve))
		return fail(EINVAL, "ring of %u blocks of %u bytes, %u frames of %u", q->tp_block_nr, q->tp_block_size,
			    q->tp_frame_nr, q->tp_frame_size);
	r = kzalloc(sizeof(*r), ALLOC_CHARGED);
	if (!r)
		return -ENOMEM;
	*r = (struct link_ring){ .block_bytes = q->tp_block_size,
				 .nr_blocks = q->tp_block_nr,
				 .frame_bytes = q->tp_frame_size,
				 .nr_frames = q->tp_frame_nr,
				 .frames_a_block = q->tp_block_size / q->tp_frame_size,
				 .reserve = reserve,
				 .network_only = network_only };
	refcount_set(&r->refs, 1);
	mapping_init(&r->map, &mapping_ops, r);
	r->base = vmem_alloc(bytes_of(r));
	if (!r->base) {
		kfree(r);
		return -ENOMEM;
	}
	own_pages(r, &r->map);
	*out = r;
	return 0;
}

static struct tpacket2_hdr *slot(const struct link_ring *r, u32 n)
{
	return (struct tpacket2_hdr *)(r->base + (size_t)(n / r->frames_a_block) * r->block_bytes +
				       (size_t)(n % r->frames_a_block) * r->frame_bytes);
}

bool link_ring_readable(struct link_ring *r)
{
	u32 last = (r->head ? r->head : r->nr_frames) - 1;

	return smp_load_acquire(&slot(r, last)->tp_status) & TP_STATUS_USER;
}

bool link_ring_put_frame(struct link_ring *r, const struct packet *p, u32 snap, const struct sockaddr_ll *from)
{
	struct tpacket2_hdr *h = slot(r, r->head);
	const u8 *start = r->network_only ? p->network : p->link_header;
	u32 link = r->network_only ? 0 : (u32)(p->network - p->link_header);
	u32 net = TPACKET_ALIGN(TPACKET2_HDRLEN + max(link, (u32)LINK_ROOM)) + r->reserve, len = (u32)(p->tail - start);
	u32 status = TP_STATUS_USER | (p->sum_later ? TP_STATUS_CSUMNOTREADY : 0);

	if (smp_load_acquire(&h->tp_status) & TP_STATUS_USER || net > r->frame_bytes)
		return false;
	snap = min(min(snap, len), r->frame_bytes - (net - link));
	h->tp_len = len;
	h->tp_snaplen = snap;
	h->tp_mac = (u16)(net - link);
	h->tp_net = (u16)net;
	h->tp_sec = (u32)(p->stamp_ns / NSEC_PER_SEC);
	h->tp_nsec = (u32)(p->stamp_ns % NSEC_PER_SEC);
	h->tp_vlan_tci = h->tp_vlan_tpid = 0;
	memcpy((u8 *)h + TPACKET_ALIGN(sizeof(*h)), from, sizeof(*from));
	memcpy((u8 *)h + h->tp_mac, start, snap);
	smp_store_release(&h->tp_status, status);
	r->head = r->head + 1 == r->nr_frames ? 0 : r->head + 1;
	return true;
}
