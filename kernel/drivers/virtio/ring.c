/* SPDX-License-Identifier: MIT
 *
 * Problem: hand buffers to a device and get them back, in any order, without a lock between the two sides.
 *
 * Idea: the split ring. A table of descriptors holds chains; `avail` is written by us and `used` by the device, each a
 * ring with a free-running index. Free descriptors form a list through `next`. Everything that the device may see is
 * stored before the index that shows it (release), everything it wrote is read after its index (acquire).
 *
 *      desc:  [addr len flags next] ...      chain = head -> next -> ... (flag NEXT ends it)
 *      avail: flags idx ring[size]           ours:  ring[idx % size] = head, then idx++
 *      used:  flags idx ring[size]{id,len}   the device's
 *
 * A device that offers it gets the packed ring instead (packed.c).
 *
 * Contract: device/virtio.h. Sizes are powers of two. All memory of a ring lies in one block of pages.
 *
 * Locks: the driver's; see device/virtio.h.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <device/virtio.h>
#include <lib/atomic.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "ring_priv.h"

/* Whatever the driver is. Behind an IOMMU the addresses of memory are the same: our own devices pass through it. */
#define ALWAYS (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_RING_PACKED))

static LIST(drivers);
static unsigned nr_devices;

void virtio_register(struct virtio_driver *drv)
{
	list_add_tail(&drv->link, &drivers);
}

static struct virtio_driver *find_driver(u32 id)
{
	struct virtio_driver *drv;

	list_for_each_entry (drv, &drivers, link)
		if (drv->id == id)
			return drv;
	return NULL;
}

/* The order of the steps is chapter 3.1.1's. */
static int negotiate(struct virtio_dev *d, u64 understood)
{
	u64 offered = d->ops->features(d);

	if (!(offered & BIT(VIRTIO_F_VERSION_1)))
		return fail(ENODEV, "%s: legacy device", d->name);
	d->features = offered & (understood | ALWAYS);
	d->ops->set_features(d, d->features);
	d->ops->set_status(d, d->ops->status(d) | VIRTIO_CONFIG_S_FEATURES_OK);
	if (!(d->ops->status(d) & VIRTIO_CONFIG_S_FEATURES_OK))
		return fail(ENODEV, "%s: features refused", d->name);
	return 0;
}

int virtio_add_device(struct virtio_dev *d)
{
	struct virtio_driver *drv = find_driver(d->id);
	int err;

	str_format(d->name, sizeof(d->name), "virtio%u", nr_devices++);
	if (!drv)
		return -ENODEV;
	d->ops->set_status(d, 0);
	d->ops->set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	d->ops->set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	err = negotiate(d, drv->features);
	if (!err)
		err = drv->probe(d);
	d->driver = drv;
	if (err)
		d->ops->set_status(d, d->ops->status(d) | VIRTIO_CONFIG_S_FAILED);
	return err;
}

void virtio_ready(struct virtio_dev *d)
{
	d->ops->set_status(d, d->ops->status(d) | VIRTIO_CONFIG_S_DRIVER_OK);
}

void virtio_reset(struct virtio_dev *d)
{
	d->ops->set_status(d, 0);
}

void virtio_shut_down(struct virtio_dev *d)
{
	virtio_reset(d);
	d->ops->interrupts_off(d);
}

int virtio_remove_device(struct virtio_dev *d)
{
	if (!d->driver->remove)
		return -EBUSY;
	d->driver->remove(d);
	return 0;
}

static unsigned order_for(size_t bytes)
{
	unsigned order = 0;

	while ((PAGE_SIZE << order) < bytes)
		order++;
	return order;
}

static int allocate_ring(struct virtqueue *vq)
{
	size_t desc = vq->size * sizeof(struct vring_desc);
	size_t avail = ALIGN_UP(sizeof(struct vring_avail) + 2 * (vq->size + 1UL), 64);
	size_t used = sizeof(struct vring_used) + sizeof(struct vring_used_elem) * vq->size + 2;
	struct page *p = page_alloc(order_for(desc + avail + used), ALLOC_ZERO, NULL);

	if (!p)
		return -ENOMEM;
	vq->cookies = kcalloc(vq->size, sizeof(*vq->cookies), ALLOC_KERNEL);
	if (!vq->cookies) {
		page_put(p);
		return -ENOMEM;
	}
	vq->desc = page_virt(p);
	vq->avail = page_virt(p) + desc;
	vq->used = page_virt(p) + desc + avail;
	vq->nr_free = vq->size;
	if (vq->packed)
		return virtio_packed_init(vq);
	for (u16 i = 0; i < vq->size; i++)
		vq->desc[i].next = i + 1;
	return 0;
}

void virtqueue_free(struct virtqueue *vq)
{
	if (vq->desc)
		page_put(virt_to_page(vq->desc));
	kfree(vq->cookies);
	kfree(vq->chains);
	kfree(vq);
}

int virtqueue_create(struct virtio_dev *d, u16 index, u16 max, unsigned cpu, void (*callback)(struct virtqueue *),
		     struct virtqueue **out)
{
	struct virtqueue *vq = kzalloc(sizeof(*vq), ALLOC_KERNEL);
	int err;

	if (!vq)
		return -ENOMEM;
	vq->dev = d;
	vq->index = index;
	vq->callback = callback;
	vq->packed = virtio_has(d, VIRTIO_F_RING_PACKED);
	vq->size = d->ops->queue_size(d, index);
	while (vq->size > max)
		vq->size /= 2;
	err = vq->size ? allocate_ring(vq) : -ENOENT;
	if (!err)
		err = d->ops->queue_start(vq, cpu);
	if (err) {
		virtqueue_free(vq);
		return err;
	}
	*out = vq;
	return 0;
}

static void fill_table(struct vring_desc *t, const struct virtio_buf *bufs, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vring_desc){ .addr = bufs[i].addr,
					    .len = bufs[i].len,
					    .flags = (bufs[i].device_writes ? VRING_DESC_F_WRITE : 0) |
						     (i + 1 < n ? VRING_DESC_F_NEXT : 0),
					    .next = (u16)(i + 1) };
}

/* Stores a chain; the first free descriptor behind it. */
static u16 put_chain(struct virtqueue *vq, const struct virtio_buf *bufs, unsigned n)
{
	u16 at = vq->free_head;

	for (unsigned i = 0; i < n; i++) {
		struct vring_desc *desc = &vq->desc[at];

		desc->addr = bufs[i].addr;
		desc->len = bufs[i].len;
		desc->flags = (bufs[i].device_writes ? VRING_DESC_F_WRITE : 0) | (i + 1 < n ? VRING_DESC_F_NEXT : 0);
		at = desc->next;
	}
	return at;
}

int virtqueue_add_table(struct virtqueue *vq, const struct virtio_buf *bufs, unsigned n, void *table, void *cookie)
{
	u16 head = vq->free_head;

	if (vq->packed)
		return virtio_packed_add(vq, bufs, n, table, cookie);
	if ((table ? 1 : n) > vq->nr_free)
		return -ENOSPC;
	if (table) {
		struct virtio_buf whole = { virt_to_phys(table), n * VIRTIO_TABLE_ENTRY, false };

		fill_table(table, bufs, n);
		vq->free_head = put_chain(vq, &whole, 1);
		vq->desc[head].flags = VRING_DESC_F_INDIRECT;
		n = 1;
	} else {
		vq->free_head = put_chain(vq, bufs, n);
	}
	vq->nr_free -= n;
	vq->cookies[head] = cookie;
	vq->avail->ring[vq->next_avail++ & (vq->size - 1)] = head;
	smp_store_release(&vq->avail->idx, vq->next_avail);
	return 0;
}

void virtqueue_kick(struct virtqueue *vq)
{
	smp_mb(); /* the index must be visible before the device's wish is read */
	if (vq->packed ? virtio_packed_wants_kick(vq) : !(READ_ONCE(vq->used->flags) & VRING_USED_F_NO_NOTIFY))
		vq->dev->ops->notify(vq);
}

void *virtqueue_get(struct virtqueue *vq, u32 *len)
{
	const struct vring_used_elem *e;
	u16 head, at;
	void *cookie;

	if (vq->packed)
		return virtio_packed_get(vq, len);
	if (smp_load_acquire(&vq->used->idx) == vq->last_used)
		return NULL;
	e = &vq->used->ring[vq->last_used++ & (vq->size - 1)];
	head = at = e->id & (vq->size - 1);
	if (len)
		*len = e->len;
	vq->nr_free++;
	while (vq->desc[at].flags & VRING_DESC_F_NEXT) {
		at = vq->desc[at].next;
		vq->nr_free++;
	}
	vq->desc[at].next = vq->free_head;
	vq->free_head = head;
	cookie = vq->cookies[head];
	vq->cookies[head] = NULL;
	return cookie;
}

void virtqueue_irq_off(struct virtqueue *vq)
{
	if (vq->packed)
		virtio_packed_irq(vq, false);
	else
		WRITE_ONCE(vq->avail->flags, VRING_AVAIL_F_NO_INTERRUPT);
}

bool virtqueue_irq_on(struct virtqueue *vq)
{
	if (vq->packed)
		virtio_packed_irq(vq, true);
	else
		WRITE_ONCE(vq->avail->flags, 0);
	smp_mb();
	if (vq->packed)
		return virtio_packed_is_idle(vq);
	return READ_ONCE(vq->used->idx) == vq->last_used;
}
