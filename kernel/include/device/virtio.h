/* SPDX-License-Identifier: MIT
 *
 * Virtio devices and their queues, independent of the transport.
 * Source: Virtual I/O Device (VIRTIO) Version 1.2, OASIS, chapters 2 (queues), 3 (initialisation), 4 (transports).
 *
 * Threading: a driver serialises the calls on one queue by a lock of its own (rank RANK_DRIVER, irqsave if its callback
 * touches the queue). The callback runs in the interrupt, IRQs off: it queues a deferred job and returns.
 */
#ifndef DEVICE_VIRTIO_H
#define DEVICE_VIRTIO_H

#include <lib/list.h>
#include <lib/types.h>

struct virtio_dev;
struct vring_desc;
struct vring_avail;
struct vring_used;

struct virtqueue {
	struct virtio_dev *dev;
	u16 index, size;
	u16 free_head, nr_free; /* descriptor chains */
	u16 next_avail, last_used;
	struct vring_desc *desc;
	struct vring_avail *avail;
	struct vring_used *used;
	void **cookies; /* by head descriptor; packed: by the chain's number */
	bool packed, our_round, device_round;
	u16 *chains; /* packed, by number: its slots; of a free one, the next */
	void (*callback)(struct virtqueue *vq);
	void *notify;
	void *priv; /* the driver's */
};

struct virtio_buf {
	paddr_t addr;
	u32 len;
	bool device_writes; /* all readable buffers come before the first writable one */
};

struct virtio_transport {
	u64 (*features)(struct virtio_dev *d);
	void (*set_features)(struct virtio_dev *d, u64 features);
	u8 (*status)(struct virtio_dev *d);
	void (*set_status)(struct virtio_dev *d, u8 status);
	void (*config)(struct virtio_dev *d, unsigned offset, void *out, unsigned len);
	u16 (*queue_size)(struct virtio_dev *d, u16 index); /* 0: no such queue */
	int (*queue_start)(struct virtqueue *vq, unsigned cpu);
	void (*notify)(struct virtqueue *vq);
	void (*interrupts_off)(struct virtio_dev *d); /* for good; NULL: devices of this transport never go */
};

struct virtio_dev {
	u32 id;       /* device type, linux/virtio_ids.h */
	u64 features; /* negotiated */
	const struct virtio_transport *ops;
	void *transport, *priv;
	const struct virtio_driver *driver;
	const void *pci; /* its struct pci_dev; NULL: not on PCI */
	char name[16];   /* virtio0 ... */
};

struct virtio_driver {
	const char *name;
	u32 id;
	u64 features; /* what the driver understands, VIRTIO_F_VERSION_1 is added */
	int (*probe)(struct virtio_dev *d);
	void (*remove)(struct virtio_dev *d); /* d is gone afterwards. NULL: it cannot be let go */
	struct list link;
};

void virtio_register(struct virtio_driver *drv); /* at init level core */
/* Called by transports: negotiates and probes. -ENODEV: no driver. */
int __must_check virtio_add_device(struct virtio_dev *d);
int __must_check virtio_remove_device(struct virtio_dev *d); /* -EBUSY: its driver cannot let go */

static inline bool virtio_has(const struct virtio_dev *d, unsigned bit)
{
	return d->features >> bit & 1;
}
static inline void virtio_config(struct virtio_dev *d, unsigned offset, void *out, unsigned len)
{
	d->ops->config(d, offset, out, len);
}

/* Makes queue `index` (size at most max) with interrupts on `cpu`; before virtio_ready. */
int __must_check virtqueue_create(struct virtio_dev *d, u16 index, u16 max, unsigned cpu,
				  void (*callback)(struct virtqueue *), struct virtqueue **out);
void virtio_ready(struct virtio_dev *d); /* DRIVER_OK: the device may use the queues */
/* Stops the device for good: queues are dead afterwards; it touches no memory. */
void virtio_reset(struct virtio_dev *d);
/* The same for a device that goes: no callback runs, or will. */
void virtio_shut_down(struct virtio_dev *d);
void virtqueue_free(struct virtqueue *vq); /* of a device that was reset */

/* One chain. -ENOSPC: no room now. The device sees it at the next virtqueue_kick. table, if VIRTIO_RING_F_INDIRECT_DESC
 * was negotiated: VIRTIO_TABLE_ENTRY bytes for each buffer, contiguous, until the chain is finished; then it takes one
 * place. */
#define VIRTIO_TABLE_ENTRY 16
int __must_check virtqueue_add_table(struct virtqueue *vq, const struct virtio_buf *bufs, unsigned n, void *table,
				     void *cookie);
static inline int __must_check virtqueue_add(struct virtqueue *vq, const struct virtio_buf *bufs, unsigned n,
					     void *cookie)
{
	return virtqueue_add_table(vq, bufs, n, NULL, cookie);
}
void virtqueue_kick(struct virtqueue *vq);
/* The cookie of the next chain that the device has finished (len: bytes it wrote), or NULL. */
void *virtqueue_get(struct virtqueue *vq, u32 *len);
void virtqueue_irq_off(struct virtqueue *vq);
/* False: chains finished in between, look again before waiting. */
bool __must_check virtqueue_irq_on(struct virtqueue *vq);

#endif
