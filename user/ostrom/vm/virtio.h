/* SPDX-License-Identifier: MIT
 *
 * What the monitor's virtio devices share: registers (virtio-mmio, version 2), split rings and chains.
 *
 * Threading: vm->lock is held by every caller. A device's kick runs in the device thread, or, if its kind says so, in a
 * thread of the queue's own (machine.c), woken by the queue's event descriptor, so that a notification does not bring
 * the CPU to the monitor; `ready` likewise, when the device's own descriptor has something to read. A kick may let go
 * of the lock between virtio_begin and virtio_end; a reset waits for that.
 */
#ifndef OSTROM_VM_VIRTIO_H
#define OSTROM_VM_VIRTIO_H

#include <sys/uio.h>
#include "vm.h"

#define VIRTIO_QUEUES 8
#define VIRTIO_CHAIN  64

/* A chain of the guest's: pieces to read, then pieces to write. Every piece lies in the guest's memory. */
struct virtio_chain {
	struct iovec out[VIRTIO_CHAIN], in[VIRTIO_CHAIN];
	unsigned nr_out, nr_in;
	uint16_t head;
};

struct virtio_queue {
	struct virtio_device *device;
	uint64_t desc, avail, used;
	uint32_t size, ready;
	uint16_t next;
	int kick;         /* an eventfd, -1: notifications come by exits */
	pthread_t thread; /* where the kind wants one */
	bool has_thread;
};

struct virtio_device;
struct virtio_kind {
	const char *name;
	uint32_t id;
	bool threads;      /* one a queue */
	uint64_t features; /* besides VIRTIO_F_VERSION_1 */
	void (*kick)(struct virtio_device *d, unsigned queue);
	void (*ready)(struct virtio_device *d);
	void (*reset)(struct virtio_device *d);
};

struct virtio_device {
	struct vm *vm;
	const struct virtio_kind *kind;
	void *own; /* the kind's */
	int fd;    /* whose input `ready` takes, -1: none */
	bool full; /* the guest has no room: fd is not looked at */
	unsigned irq;
	uint8_t config[64];
	uint64_t features; /* the driver's */
	uint32_t feature_page, driver_page, status, interrupt, queue_index;
	unsigned nr_queues;
	unsigned busy;  /* kicks that have let go of the lock */
	bool resetting; /* and somebody waits for them: nobody else touches the registers */
	struct virtio_queue queue[VIRTIO_QUEUES];
	uint64_t requests, interrupts, exits; /* since the start; exits: accesses that came to us */
};

/* The next device of the machine; NULL with a message if there are too many. */
struct virtio_device *virtio_add(struct vm *vm, const struct virtio_kind *k, void *own, unsigned queues);
struct virtio_device *virtio_nth(unsigned n);  /* NULL behind the last */
static inline uint64_t virtio_base(unsigned n) /* its registers */
{
	return VIRTIO_BASE + n * VIRTIO_STEP;
}
/* The next chain that the guest offers. False: none. A chain that makes no sense is given back by itself. */
bool virtio_take(struct virtio_device *d, unsigned queue, struct virtio_chain *c);
/* Done with a chain: so many bytes were written to it. */
void virtio_give(struct virtio_device *d, unsigned queue, const struct virtio_chain *c, uint32_t written);
void virtio_begin(struct virtio_device *d); /* lets go of vm->lock; a chain that was taken stays the caller's */
void virtio_end(struct virtio_device *d);
/* After the last of a batch: an interrupt, if the guest wants one. */
void virtio_tell(struct virtio_device *d, unsigned queue);
size_t virtio_bytes(const struct iovec *v, unsigned nr);
/* Copies between pieces and a buffer, from `at` on; how many bytes were there. */
size_t virtio_copy_out(const struct virtio_chain *c, size_t at, void *to, size_t n);
size_t virtio_copy_in(const struct virtio_chain *c, size_t at, const void *from, size_t n);

#endif
