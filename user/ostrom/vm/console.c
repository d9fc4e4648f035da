/* SPDX-License-Identifier: MIT
 *
 * Problem: a serial port costs the guest an exit a byte.
 *
 * Idea: virtio-console: whole lines in one request, on our standard input and output. Input that comes before the guest
 * has given room for it waits here.
 *
 * Contract: vm.h. One port, no control queue. Source: VIRTIO 1.2, 5.3.
 *
 * Locks: vm->lock, held by every caller but vm_console_input, which takes it.
 */
#include <string.h>
#include <unistd.h>
#include "virtio.h"

#define RING 4096
enum { RX, TX };

static struct console {
	struct virtio_device *dev;
	uint8_t bytes[RING];
	size_t head, tail;
} con;

static void feed(struct virtio_device *d)
{
	struct virtio_chain c;
	bool any = false;

	while (con.head != con.tail && virtio_take(d, RX, &c)) {
		size_t n = 0, room = virtio_bytes(c.in, c.nr_in);

		for (; n < room && con.head != con.tail; n++)
			virtio_copy_in(&c, n, &con.bytes[con.tail++ % RING], 1);
		virtio_give(d, RX, &c, (uint32_t)n);
		any = true;
	}
	if (any)
		virtio_tell(d, RX);
}

static bool show(const struct virtio_chain *c)
{
	for (unsigned i = 0; i < c->nr_out; i++) {
		const uint8_t *at = c->out[i].iov_base;
		size_t left = c->out[i].iov_len;

		while (left) {
			ssize_t n = write(1, at, left);

			if (n <= 0)
				return false;
			at += n;
			left -= (size_t)n;
		}
	}
	return true;
}

static void kick(struct virtio_device *d, unsigned queue)
{
	struct virtio_chain c;
	bool any = false;

	if (queue == RX) {
		feed(d);
		return;
	}
	while (virtio_take(d, TX, &c)) {
		if (!show(&c))
			vm_stop(d->vm, 1); /* nobody reads our output any more */
		virtio_give(d, TX, &c, 0);
		any = true;
	}
	if (any)
		virtio_tell(d, TX);
}

static const struct virtio_kind kind = { .name = "console", .id = 3, .kick = kick };

int vm_console(struct vm *vm)
{
	con = (struct console){ .dev = virtio_add(vm, &kind, NULL, 2) };
	return con.dev ? 0 : -1;
}

bool vm_console_input(struct vm *vm, const uint8_t *bytes, size_t n)
{
	if (!con.dev)
		return false;
	pthread_mutex_lock(&vm->lock);
	for (size_t i = 0; i < n && con.head - con.tail < RING; i++)
		con.bytes[con.head++ % RING] = bytes[i];
	feed(con.dev);
	pthread_mutex_unlock(&vm->lock);
	return true;
}
