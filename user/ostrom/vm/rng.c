/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest that has just begun has nothing random.
 *
 * Idea: virtio-rng: each piece of memory that the guest offers is filled by getrandom, at most a page a request, so
 * that a guest cannot keep the monitor busy with one.
 *
 * Contract: vm.h. Source: VIRTIO 1.2, 5.4.
 *
 * Locks: vm->lock, held by every caller.
 */
#include <sys/random.h>
#include "virtio.h"

#define MOST 4096

static void kick(struct virtio_device *d, unsigned queue)
{
	struct virtio_chain c;
	bool any = false;

	while (virtio_take(d, queue, &c)) {
		uint8_t bytes[MOST];
		size_t n = virtio_bytes(c.in, c.nr_in);
		ssize_t got = getrandom(bytes, n < MOST ? n : MOST, GRND_NONBLOCK);

		virtio_give(d, queue, &c, (uint32_t)virtio_copy_in(&c, 0, bytes, got > 0 ? (size_t)got : 0));
		any = true;
	}
	if (any)
		virtio_tell(d, queue);
}

static const struct virtio_kind kind = { .name = "rng", .id = 4, .kick = kick };

int vm_rng(struct vm *vm)
{
	return virtio_add(vm, &kind, NULL, 1) ? 0 : -1;
}
