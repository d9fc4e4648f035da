/* SPDX-License-Identifier: MIT
 *
 * The smallest driver of a virtio-gpu PCI function, for guests without a kernel: one request at a time at the control
 * queue, answered by an interrupt. Source: VIRTIO 1.2, 2.7, 4.1, 5.7.
 */
#ifndef TESTS_VM_VIRTIO_GPU_H
#define TESTS_VM_VIRTIO_GPU_H

#include <linux/virtio_config.h>
#include <linux/virtio_gpu.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include "bare.h"

#define GPU_ID  0x10501af4
#define QUEUE   64
#define RINGS   (HEAP + 0x1000)
#define ANSWER  (HEAP + 0x4000)
#define REQUEST (HEAP + 0x8000) /* up to 1 MiB */
#define PIXELS  (HEAP + 0x200000)

static struct {
	unsigned slot;
	volatile struct virtio_pci_common_cfg *common;
	volatile struct virtio_gpu_config *config;
	volatile uint16_t *bell;
	struct vring_desc *desc;
	volatile struct vring_avail *avail;
	volatile struct vring_used *used;
	uint16_t next;
	unsigned interrupts, requests;
} gpu;

static inline void *cap_place(unsigned cap)
{
	return (void *)(pci_bar(gpu.slot, pci_get(gpu.slot, cap + 4) & 0xff) + pci_get(gpu.slot, cap + 8));
}

static inline void gpu_find(unsigned n)
{
	gpu.slot = pci_find(GPU_ID, n);
	check(gpu.slot, "a GPU on the bus");
	pci_put(gpu.slot, 4, 6);
	for (unsigned cap = 0; (cap = pci_cap(gpu.slot, cap, 9));) {
		unsigned type = pci_get(gpu.slot, cap + 3) & 0xff;

		if (type == VIRTIO_PCI_CAP_COMMON_CFG)
			gpu.common = cap_place(cap);
		else if (type == VIRTIO_PCI_CAP_DEVICE_CFG)
			gpu.config = cap_place(cap);
		else if (type == VIRTIO_PCI_CAP_NOTIFY_CFG)
			gpu.bell = cap_place(cap);
	}
	check(gpu.common && gpu.config && gpu.bell, "capabilities");
}

/* 0 if the device takes the features. */
static inline int gpu_start(uint64_t features)
{
	gpu.common->device_status = 0;
	gpu.common->device_status = 3;
	gpu.common->device_feature_select = 1; /* behind an IOMMU: addresses are ours all the same */
	features |= (uint64_t)(gpu.common->device_feature & 1U << (VIRTIO_F_ACCESS_PLATFORM - 32)) << 32;
	for (unsigned i = 0; i < 2; i++) {
		gpu.common->guest_feature_select = i;
		gpu.common->guest_feature = (uint32_t)(features >> 32 * i);
	}
	gpu.common->device_status = 11;
	if (!(gpu.common->device_status & 8))
		return -1;
	memset((void *)RINGS, 0, 0x3000);
	gpu.desc = (void *)RINGS;
	gpu.avail = (void *)(RINGS + 0x1000);
	gpu.used = (void *)(RINGS + 0x2000);
	gpu.next = 0;
	gpu.interrupts = bare_count[1];
	msix_on(gpu.slot, 0, 0);
	msix_on(gpu.slot, 1, 1);
	gpu.common->msix_config = 0;
	gpu.common->queue_select = 0;
	gpu.common->queue_size = QUEUE;
	gpu.common->queue_msix_vector = 1;
	gpu.common->queue_desc_lo = (uint32_t)(uintptr_t)gpu.desc;
	gpu.common->queue_desc_hi = 0;
	gpu.common->queue_avail_lo = (uint32_t)(uintptr_t)gpu.avail;
	gpu.common->queue_avail_hi = 0;
	gpu.common->queue_used_lo = (uint32_t)(uintptr_t)gpu.used;
	gpu.common->queue_used_hi = 0;
	gpu.common->queue_enable = 1;
	gpu.common->device_status = 15;
	return 0;
}

static inline void gpu_ring(uint16_t head)
{
	gpu.avail->ring[gpu.next % QUEUE] = head;
	__asm__ volatile("" ::: "memory");
	gpu.avail->idx = ++gpu.next;
	*gpu.bell = 0;
}

static inline bool gpu_stopped(void)
{
	return gpu.common->device_status & 0x40;
}

/* Sends n bytes at REQUEST, waits, and gives the answer's type. */
static inline unsigned gpu_send(uint32_t n)
{
	gpu.desc[0] = (struct vring_desc){ REQUEST, n, VRING_DESC_F_NEXT, 1 };
	gpu.desc[1] = (struct vring_desc){ ANSWER, 4096, VRING_DESC_F_WRITE, 0 };
	memset((void *)ANSWER, 0, 64);
	gpu_ring(0);
	gpu.requests++;
	wait_interrupt(1, ++gpu.interrupts);
	check(gpu.used->idx == gpu.next, "the used ring follows");
	return ((struct virtio_gpu_ctrl_hdr *)ANSWER)->type;
}

#define gpu_do(type_, ...)                                                                                             \
	({                                                                                                             \
		type_ r_ = { __VA_ARGS__ };                                                                            \
		memcpy((void *)REQUEST, &r_, sizeof(r_));                                                              \
		gpu_send(sizeof(r_));                                                                                  \
	})
#define HDR(t) .hdr = { .type = (t) }

static inline unsigned gpu_create(uint32_t id, uint32_t format, uint32_t w, uint32_t h)
{
	return gpu_do(struct virtio_gpu_resource_create_2d, HDR(VIRTIO_GPU_CMD_RESOURCE_CREATE_2D), .resource_id = id,
		      .format = format, .width = w, .height = h);
}

static inline unsigned gpu_unref(uint32_t id)
{
	return gpu_do(struct virtio_gpu_resource_unref, HDR(VIRTIO_GPU_CMD_RESOURCE_UNREF), .resource_id = id);
}

/* In pieces of `piece` bytes, backwards in memory, so that nothing works by accident. */
static inline unsigned gpu_attach(uint32_t id, uintptr_t at, uint32_t bytes, uint32_t piece)
{
	struct virtio_gpu_resource_attach_backing *a = (void *)REQUEST;
	struct virtio_gpu_mem_entry *e = (void *)(a + 1);
	uint32_t n = bytes / piece;

	*a = (struct virtio_gpu_resource_attach_backing){ HDR(VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING),
							  .resource_id = id, .nr_entries = n };
	for (uint32_t i = 0; i < n; i++)
		e[i] = (struct virtio_gpu_mem_entry){ .addr = at + (uintptr_t)(n - 1 - i) * piece, .length = piece };
	return gpu_send((uint32_t)(sizeof(*a) + n * sizeof(*e)));
}

static inline unsigned gpu_transfer(uint32_t id, uint32_t x, uint32_t y, uint32_t w, uint32_t h, uint64_t offset)
{
	return gpu_do(struct virtio_gpu_transfer_to_host_2d, HDR(VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D),
		      .r = { x, y, w, h }, .offset = offset, .resource_id = id);
}

static inline unsigned gpu_scanout(uint32_t id, uint32_t w, uint32_t h)
{
	return gpu_do(struct virtio_gpu_set_scanout, HDR(VIRTIO_GPU_CMD_SET_SCANOUT), .r = { 0, 0, w, h },
		      .resource_id = id);
}

static inline unsigned gpu_flush(uint32_t id, uint32_t w, uint32_t h)
{
	return gpu_do(struct virtio_gpu_resource_flush, HDR(VIRTIO_GPU_CMD_RESOURCE_FLUSH), .r = { 0, 0, w, h },
		      .resource_id = id);
}

#endif
