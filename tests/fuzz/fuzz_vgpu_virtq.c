/* SPDX-License-Identifier: MIT
 *
 * Problem: the registers, the configuration space and the queues of a virtual GPU are written by guests.
 *
 * Idea: the input is a list of steps: a write to the common registers or to configuration space, bytes put into the
 * guest's memory, a queue served. Memory is small, so that rings, tables and pieces overlap and addresses often run out
 * of it. What is taken must keep its promises.
 *
 * Contract: libFuzzer's. Locks: none.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vpci.h>
#include <virt/vgpu/virtq.h>

#define BYTES 4096

static u8 memory[BYTES], copy[1 << 16];
static struct virtq_chain chain;

static int mem_read(void *ctx, u64 address, void *buf, size_t n)
{
	if (address > BYTES || n > BYTES - address)
		return -EFAULT;
	memcpy(buf, memory + address, n);
	return 0;
}

static int mem_write(void *ctx, u64 address, const void *buf, size_t n)
{
	if (address > BYTES || n > BYTES - address)
		return -EFAULT;
	memcpy(memory + address, buf, n);
	return 0;
}

static const struct virtq_mem mem = { mem_read, mem_write, NULL };

static void check(bool good)
{
	if (!good)
		abort();
}

static void serve(struct vdev *v, unsigned n)
{
	struct virtq *q = &v->queue[n];
	bool tell;

	for (unsigned i = 0; i < 4 && vdev_is_running(v) && q->enabled; i++) {
		int got = virtq_next(q, &mem, &chain);
		u64 in = 0, out = 0;

		if (got <= 0)
			return;
		check(chain.head < q->size && chain.nr_in + chain.nr_out <= VIRTQ_CHAIN);
		for (u32 k = 0; k < chain.nr_in + chain.nr_out; k++)
			*(k < chain.nr_in ? &in : &out) += chain.piece[k].bytes;
		check(in == chain.in_bytes && out == chain.out_bytes);
		if (in <= sizeof(copy))
			(void)!virtq_read(&chain, &mem, copy, in);
		check(virtq_write(&chain, &mem, i, copy, 64) <= min(64ULL, out));
		if (virtq_done(q, &mem, chain.head, 7, &tell))
			return;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct vpci_id id = { 0x1af4, 0x1050, 0x1af4, 0x1100, 0x038000, 1, false };
	struct vdev v = { 0 };
	struct vpci p;
	u8 out[16];

	memset(memory, 0, sizeof(memory));
	vdev_init(&v, 1ULL << 32 | 1);
	vpci_init(&p, &id);
	vpci_bar(&p, 0, 0x4000, 0);
	vpci_msix(&p, 3, 1, 0, 0x800);
	while (size >= 12) {
		size_t n = 1U << (data[1] & 3);
		u32 at = (u32)data[2] | (u32)data[3] << 8;

		switch (data[0] & 7) {
		case 0: vdev_write_common(&v, at % 64 & ~(u32)(n - 1), data + 4, n); break;
		case 1: vdev_read_common(&v, at % 80 & ~(u32)(n - 1), out, n); break;
		case 2: vpci_write(&p, at, data + 4, n); break;
		case 3: vpci_read(&p, at, out, n); break;
		case 4: serve(&v, at & 1); break;
		default: memcpy(memory + at % (BYTES - 8), data + 4, 8);
		}
		data += 12;
		size -= 12;
	}
	return 0;
}
