/* SPDX-License-Identifier: MIT
 *
 * Problem: a split ring costs a device three places in memory for each chain; devices in hardware want one.
 *
 * Idea: one ring of descriptors that both sides write. A chain lies in slots that follow each other; two bits in a
 * descriptor's flags say whose it is, compared with a bit of each side's that turns over at the ring's end. A chain
 * carries a number (id), by which we find its cookie and how many slots it took; free numbers form a list.
 *
 *      AVAIL = ours, USED = not ours: the device's turn      AVAIL = USED = the bit of this round: finished
 *      slot of the first descriptor gets its flags last (release); the device answers in its own next slot
 *
 * Contract: ring_priv.h. VIRTIO 1.2, section 2.8.
 *
 * Locks: the driver's; see device/virtio.h.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <lib/atomic.h>
#include <lib/err.h>
#include <linux/virtio_ring.h>

#include "ring_priv.h"

#define FLAG_AVAIL BIT(VRING_PACKED_DESC_F_AVAIL)
#define FLAG_USED  BIT(VRING_PACKED_DESC_F_USED)

static struct vring_packed_desc *slot(struct virtqueue *vq, u16 at)
{
	return (struct vring_packed_desc *)vq->desc + at;
}

int virtio_packed_init(struct virtqueue *vq)
{
	vq->chains = kcalloc(vq->size, sizeof(*vq->chains), ALLOC_KERNEL);
	if (!vq->chains)
		return -ENOMEM;
	for (u16 i = 0; i < vq->size; i++)
		vq->chains[i] = i + 1;
	vq->our_round = vq->device_round = true;
	return 0;
}

static u16 flags_of(const struct virtqueue *vq, bool device_writes, bool more)
{
	return (device_writes ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0) |
	       (vq->our_round ? FLAG_AVAIL : FLAG_USED);
}

static void next_slot(struct virtqueue *vq)
{
	if (++vq->next_avail == vq->size) {
		vq->next_avail = 0;
		vq->our_round = !vq->our_round;
	}
}

static void fill_table(struct vring_packed_desc *t, const struct virtio_buf *bufs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vring_packed_desc){ .addr = bufs[i].addr,
						   .len = bufs[i].len,
						   .flags = bufs[i].device_writes ? VRING_DESC_F_WRITE : 0 };
}

int virtio_packed_add(struct virtqueue *vq, const struct virtio_buf *bufs, unsigned n, void *table, void *cookie)
{
	struct virtio_buf whole = { table ? virt_to_phys(table) : 0, n * sizeof(struct vring_packed_desc), false };
	struct vring_packed_desc *first = slot(vq, vq->next_avail);
	unsigned slots = table ? 1 : n;
	u16 id = vq->free_head, first_flags = 0;

	if (slots > vq->nr_free)
		return -ENOSPC;
	if (table)
		fill_table(table, bufs, n);
	vq->free_head = vq->chains[id];
	vq->chains[id] = (u16)slots;
	vq->cookies[id] = cookie;
	vq->nr_free -= slots;
	for (unsigned i = 0; i < slots; i++) {
		const struct virtio_buf *b = table ? &whole : &bufs[i];
		struct vring_packed_desc *d = slot(vq, vq->next_avail);
		u16 flags = flags_of(vq, b->device_writes, i + 1 < slots) | (table ? VRING_DESC_F_INDIRECT : 0);

		d->addr = b->addr;
		d->len = b->len;
		d->id = id;
		if (d == first)
			first_flags = flags;
		else
			WRITE_ONCE(d->flags, flags);
		next_slot(vq);
	}
	smp_store_release(&first->flags, first_flags);
	return 0;
}

static struct vring_packed_desc_event *event(void *area)
{
	return area;
}

bool virtio_packed_wants_kick(struct virtqueue *vq)
{
	return READ_ONCE(event(vq->used)->flags) != VRING_PACKED_EVENT_FLAG_DISABLE;
}

void virtio_packed_irq(struct virtqueue *vq, bool on)
{
	WRITE_ONCE(event(vq->avail)->flags, on ? VRING_PACKED_EVENT_FLAG_ENABLE : VRING_PACKED_EVENT_FLAG_DISABLE);
}

bool virtio_packed_is_idle(struct virtqueue *vq)
{
	u16 flags = smp_load_acquire(&slot(vq, vq->last_used)->flags);

	return !(flags & FLAG_AVAIL) != !(flags & FLAG_USED) || !(flags & FLAG_USED) == vq->device_round;
}

void *virtio_packed_get(struct virtqueue *vq, u32 *len)
{
	struct vring_packed_desc *d = slot(vq, vq->last_used);
	void *cookie;
	u16 id, slots;

	if (virtio_packed_is_idle(vq))
		return NULL;
	id = d->id % vq->size; /* the device's word is not trusted for more */
	if (len)
		*len = d->len;
	cookie = vq->cookies[id];
	if (!cookie)
		return NULL;
	slots = vq->chains[id];
	vq->cookies[id] = NULL;
	vq->chains[id] = vq->free_head;
	vq->free_head = id;
	vq->nr_free += slots;
	vq->last_used += slots;
	if (vq->last_used >= vq->size) {
		vq->last_used -= vq->size;
		vq->device_round = !vq->device_round;
	}
	return cookie;
}
