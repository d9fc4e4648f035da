/* SPDX-License-Identifier: MIT
 *
 * The device's side of virtio: registers of a modern PCI device, and split queues in memory that belongs to somebody
 * who may change it at any moment. Everything read from there is copied once and checked.
 *
 * Threading: none inside, the owner serialises. Pure: memory is reached through struct virtq_mem.
 * Source: VIRTIO 1.2, 2.7 (split virtqueues), 4.1.4 (PCI capabilities and their registers).
 */
#ifndef VIRT_VGPU_VIRTQ_H
#define VIRT_VGPU_VIRTQ_H

#include <lib/types.h>

#define VIRTQ_SIZE  256  /* descriptors of a queue, at most */
#define VIRTQ_CHAIN 1024 /* pieces of a request, through an indirect table */
#define VIRTQ_NONE  0xffff
#define VDEV_PAGES  4 /* of registers: common, interrupt status, device, doorbells; one each */
#define VDEV_QUEUES 2

/* 0 or -errno: not memory. */
struct virtq_mem {
	int (*read)(void *ctx, u64 address, void *buf, size_t n);
	int (*write)(void *ctx, u64 address, const void *buf, size_t n);
	void *ctx;
};

struct virtq {
	u64 desc, avail, used; /* addresses */
	u16 size, vector;
	bool enabled;
	u16 next;      /* of the available ring */
	u16 used_next; /* of the used ring */
};

struct virtq_piece {
	u64 address;
	u32 bytes;
};

struct virtq_chain {
	u16 head;
	u32 nr_in, nr_out; /* pieces to read, then pieces to write */
	u64 in_bytes, out_bytes;
	struct virtq_piece piece[VIRTQ_CHAIN];
};

struct vdev {
	u64 offered, features; /* what we have; what the driver took */
	u32 device_select, driver_select;
	u8 status, isr;
	u8 generation;
	u16 config_vector, queue_select;
	struct virtq queue[VDEV_QUEUES];
};

/* What a write asks of the device besides changing registers. */
enum vdev_event { VDEV_NOTHING, VDEV_RESET, VDEV_READY };

void vdev_init(struct vdev *v, u64 offered);
void vdev_reset(struct vdev *v);
/* The common page: offset and length within 64 bytes, naturally aligned. */
void vdev_read_common(struct vdev *v, u32 offset, void *buf, size_t n);
enum vdev_event vdev_write_common(struct vdev *v, u32 offset, const void *buf, size_t n);
static inline bool vdev_is_running(const struct vdev *v)
{
	return (v->status & 0xc4) == 4; /* DRIVER_OK, and neither NEEDS_RESET nor FAILED */
}

/* The next request: 1; 0: none; -EINVAL: the queue makes no sense, the device needs a reset. */
int __must_check virtq_next(struct virtq *q, const struct virtq_mem *mem, struct virtq_chain *c);
/* Hands it back with the number of bytes written. *interrupt: the driver wants to hear of it. */
int __must_check virtq_done(struct virtq *q, const struct virtq_mem *mem, u16 head, u32 written, bool *interrupt);
/* Copies the first n bytes of what is to be read; -EFAULT, or -EINVAL: there are fewer. */
int __must_check virtq_read(const struct virtq_chain *c, const struct virtq_mem *mem, void *buf, size_t n);
/* Copies to what is to be written, from its byte `from` on; returns how many bytes went there. */
u32 virtq_write(const struct virtq_chain *c, const struct virtq_mem *mem, u64 from, const void *buf, size_t n);

#endif
