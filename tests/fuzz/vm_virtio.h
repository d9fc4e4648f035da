/* SPDX-License-Identifier: MIT
 *
 * What the fuzzers of the monitor's virtio devices share: a guest that writes registers and memory.
 *
 * The input is a list of steps, a byte each with what follows: a register, bytes into the guest's memory, an access of
 * any size anywhere in the registers, a notification, an event of the device's own. The rings are set up before the
 * first step, so that chains are reached soon; memory is small, so that rings, tables and pieces overlap and addresses
 * often run out of it. It is a block of malloc's: ASan sees what lies beside it.
 */
#ifndef FUZZ_VM_VIRTIO_H
#define FUZZ_VM_VIRTIO_H

#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include "ostrom.h"
#include "vm/virtio.h"

#define BYTES 8192
#define RINGS 8 /* entries of each */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vm machine = { .fd = -1, .nr_cpus = 2, .lock = PTHREAD_MUTEX_INITIALIZER };
static struct vm_range registers;
static uint8_t *memory;

void *vm_memory(struct vm *vm, uint64_t gpa, uint64_t bytes)
{
	return gpa <= BYTES && bytes <= BYTES - gpa ? memory + gpa : NULL;
}

struct vm_range *vm_add_mmio(struct vm *vm, struct vm_range r)
{
	registers = r;
	return &registers;
}

void vm_irq(struct vm *vm, unsigned pin, bool high)
{
}

void vm_wake(struct vm *vm)
{
}

void vm_stop(struct vm *vm, int exit_code)
{
}

void say_error(const char *fmt, ...)
{
}

struct input {
	const uint8_t *at;
	size_t left;
};

static uint32_t take(struct input *in, size_t n)
{
	uint32_t v = 0;

	n = n < in->left ? n : in->left;
	memcpy(&v, in->at, n);
	in->at += n;
	in->left -= n;
	return v;
}

static void reg(uint64_t offset, uint32_t v)
{
	registers.access(registers.dev, offset, &v, 4, true);
}

static void set_up(const struct virtio_device *d)
{
	memset(memory, 0, BYTES);
	reg(VIRTIO_MMIO_STATUS, 0);
	for (uint32_t q = 0; q < d->nr_queues; q++) {
		reg(VIRTIO_MMIO_QUEUE_SEL, q);
		reg(VIRTIO_MMIO_QUEUE_NUM, RINGS);
		reg(VIRTIO_MMIO_QUEUE_DESC_LOW, q * 1024);
		reg(VIRTIO_MMIO_QUEUE_AVAIL_LOW, q * 1024 + 512);
		reg(VIRTIO_MMIO_QUEUE_USED_LOW, q * 1024 + 768);
		reg(VIRTIO_MMIO_QUEUE_READY, 1);
	}
	reg(VIRTIO_MMIO_STATUS, 15);
}

/* event: the device's own, given up to 255 bytes. */
static void play(struct virtio_device *d, const uint8_t *data, size_t size,
		 void (*event)(const uint8_t *bytes, size_t n))
{
	struct input in = { data, size };

	pthread_mutex_lock(&machine.lock);
	set_up(d);
	while (in.left) {
		uint8_t step = (uint8_t)take(&in, 1), any[8] = { 0 };
		uint32_t at, n;

		switch (step % 5) {
		case 0:
			at = take(&in, 1) * 4;
			reg(at, take(&in, step & 0x80 ? 4 : 2));
			break;
		case 1:
			at = take(&in, 2) % BYTES;
			n = take(&in, 1);
			n = n < in.left ? n : (uint32_t)in.left;
			n = n < BYTES - at ? n : BYTES - at;
			memcpy(memory + at, in.at, n);
			in.at += n;
			in.left -= n;
			break;
		case 2:
			at = take(&in, 2) % VIRTIO_STEP;
			registers.access(registers.dev, at, any, 1U << (step >> 4 & 3), step & 0x80);
			break;
		case 3: d->kind->kick(d, (step >> 4) % d->nr_queues); break;
		default:
			n = take(&in, 1);
			n = n < in.left ? n : (uint32_t)in.left;
			pthread_mutex_unlock(&machine.lock); /* some come from threads that do not hold it */
			event(in.at, n);
			pthread_mutex_lock(&machine.lock);
			in.at += n;
			in.left -= n;
		}
	}
	pthread_mutex_unlock(&machine.lock);
}

#endif
