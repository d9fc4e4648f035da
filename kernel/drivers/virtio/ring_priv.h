/* SPDX-License-Identifier: MIT
 *
 * The packed ring (packed.c), called by the functions of device/virtio.h (ring.c) when it was negotiated.
 */
#ifndef VIRTIO_RING_PRIV_H
#define VIRTIO_RING_PRIV_H

#include <device/virtio.h>

int __must_check virtio_packed_init(struct virtqueue *vq);
int __must_check virtio_packed_add(struct virtqueue *vq, const struct virtio_buf *bufs, unsigned n, void *table,
				   void *cookie);
bool virtio_packed_wants_kick(struct virtqueue *vq);
void *virtio_packed_get(struct virtqueue *vq, u32 *len);
void virtio_packed_irq(struct virtqueue *vq, bool on);
bool virtio_packed_is_idle(struct virtqueue *vq); /* nothing finished that was not fetched */

#endif
