/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's unmodified driver wants a virtio-gpu on its PCI bus; every register, address and queue of it is in
 * the hands of somebody hostile.
 *
 * Idea: four pages of registers as the capabilities say, and one thread a device, which a doorbell wakes and which
 * serves the queues one request after the other. The doorbell costs the guest one exit, the answer one interrupt; the
 * VMM takes part in neither.
 *
 *      BAR 0   0x0000 common   0x1000 interrupt status   0x2000 device   0x3000 doorbells, four bytes a queue
 *      BAR 1   MSI-X table and pending bits (the VMM keeps the real ones)
 *      region 9   the picture
 *
 *      write of a doorbell --> kicked --> thread: virtq_next --> vgpu_take ... vgpu_complete --> vfio_signal
 *
 * Contract: vgpu.h, vfio.h. A queue that makes no sense stops the device until its driver resets it.
 * Source: VIRTIO 1.2, 4.1 (PCI), 5.7 (GPU).
 *
 * Locks: g->lock; kicked and stop are atomic. reset_lock makes resets one at a time.
 */
#include <alloc/kmap.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <task/sched.h>
#include <task/task.h>
#include <task/tenant.h>
#include "vgpu.h"

#define REGISTERS (VDEV_PAGES * PAGE_SIZE)

#define ISR_QUEUE 1 /* VIRTIO 1.2, 4.1.4.5 */

enum { PAGE_COMMON, PAGE_ISR, PAGE_DEVICE, PAGE_BELLS };

/* ---- memory of the guest ---- */

static int mem_read(void *ctx, u64 address, void *buf, size_t n)
{
	return vfio_dma_read(ctx, address, buf, n);
}

static int mem_write(void *ctx, u64 address, const void *buf, size_t n)
{
	return vfio_dma_write(ctx, address, buf, n);
}

struct virtq_mem vgpu_mem(struct vgpu *g)
{
	return (struct virtq_mem){ mem_read, mem_write, &g->m->vfio };
}

/* ---- the queues ---- */

static void interrupt(struct vgpu *g, u16 vector, u8 isr)
{
	g->virtio.isr |= isr;
	if (vector == VIRTQ_NONE)
		return;
	g->counts.interrupts++;
	vfio_signal(&g->m->vfio, VFIO_PCI_MSIX_IRQ_INDEX, vector);
}

static void broken(struct vgpu *g)
{
	g->counts.refused++;
	g->virtio.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	interrupt(g, g->virtio.config_vector, VIRTIO_PCI_ISR_CONFIG);
}

static bool is_serving(const struct vgpu *g, unsigned n)
{
	return vdev_is_running(&g->virtio) && g->virtio.queue[n].enabled && !g->resetting;
}

void vgpu_complete(struct vgpu *g, unsigned queue, u16 head, u32 written)
{
	struct virtq *q = &g->virtio.queue[queue];
	struct virtq_mem mem = vgpu_mem(g);
	bool tell = false;

	if (!is_serving(g, queue))
		return;
	if (virtq_done(q, &mem, head, written, &tell))
		broken(g);
	else if (tell)
		interrupt(g, q->vector, ISR_QUEUE);
}

/* One request. False: there is none, or none can be taken now. */
static bool serve_one(struct vgpu *g, unsigned n)
{
	struct virtq_mem mem = vgpu_mem(g);
	int got;

	if (!is_serving(g, n) || READ_ONCE(g->stop) || g->nr_jobs >= VGPU_PENDING)
		return false;
	got = virtq_next(&g->virtio.queue[n], &mem, &g->chain);
	if (got > 0) {
		g->counts.requests++;
		if (!vgpu_take(g, n))
			got = -ENOMEM;
	}
	if (got < 0)
		broken(g);
	return got > 0;
}

static void serve(struct vgpu *g, ulong queues)
{
	for (unsigned n = 0; n < VDEV_QUEUES; n++) {
		bool more = queues & BIT(n);

		while (more) {
			mutex_lock(&g->lock);
			more = serve_one(g, n);
			mutex_unlock(&g->lock);
			resched_point();
		}
	}
}

static void thread_main(void *arg)
{
	struct vgpu *g = arg;

	for (;;) {
		wait_event(&g->wait, READ_ONCE(g->stop) || READ_ONCE(g->kicked));
		if (READ_ONCE(g->stop))
			break;
		serve(g, __atomic_exchange_n(&g->kicked, 0, __ATOMIC_SEQ_CST));
	}
}

/* Any context, also a waker's: the thread is woken itself, its wait queue is not touched. */
static void kick(struct vgpu *g, u64 queue)
{
	if (queue >= VDEV_QUEUES)
		return;
	__atomic_fetch_or(&g->kicked, BIT(queue), __ATOMIC_SEQ_CST);
	g->counts.doorbells++;
	task_wake(g->thread);
}

/* ---- registers ---- */

/* Everything of the guest's goes, at the GPU too. The client tells of what it drops, so g->lock is free meanwhile. */
static void reset_all(struct vgpu *g)
{
	mutex_lock_nested(&g->reset_lock);
	mutex_lock(&g->lock);
	g->resetting = true;
	vgpu_abandon(g);
	mutex_unlock(&g->lock);
	gpu_client_reset(g->client);
	mutex_lock(&g->lock);
	vgpu_forget(g);
	g->resetting = false;
	mutex_unlock(&g->lock);
	mutex_unlock(&g->reset_lock);
}

static void write_common(struct vgpu *g, u32 offset, const void *buf, size_t n)
{
	enum vdev_event e;

	mutex_lock(&g->lock);
	e = vdev_write_common(&g->virtio, offset, buf, n);
	mutex_unlock(&g->lock);
	if (e == VDEV_RESET)
		reset_all(g);
	else if (e == VDEV_READY)
		kick(g, 0); /* what was queued before */
}

static int write_registers(struct vgpu *g, u64 offset, const void *buf, size_t n)
{
	u32 in_page = offset % PAGE_SIZE, events;

	switch (offset / PAGE_SIZE) {
	case PAGE_COMMON: write_common(g, in_page, buf, n); break;
	case PAGE_DEVICE:
		if (in_page != offsetof(struct virtio_gpu_config, events_clear) || n != sizeof(events))
			break;
		memcpy(&events, buf, sizeof(events));
		mutex_lock(&g->lock);
		g->config.events_read &= ~events;
		mutex_unlock(&g->lock);
		break;
	case PAGE_BELLS: kick(g, in_page / 4); break;
	default: break;
	}
	return 0;
}

static int read_registers(struct vgpu *g, u64 offset, void *buf, size_t n)
{
	u32 in_page = offset % PAGE_SIZE;

	memset(buf, 0, n);
	mutex_lock(&g->lock);
	switch (offset / PAGE_SIZE) {
	case PAGE_COMMON: vdev_read_common(&g->virtio, in_page, buf, n); break;
	case PAGE_ISR:
		*(u8 *)buf = g->virtio.isr;
		g->virtio.isr = 0;
		break;
	case PAGE_DEVICE:
		if (in_page < sizeof(g->config))
			memcpy(buf, (char *)&g->config + in_page, min(n, sizeof(g->config) - in_page));
		break;
	default: break;
	}
	mutex_unlock(&g->lock);
	return 0;
}

static int read(struct vfio_device *d, unsigned region, u64 offset, void *buf, size_t n)
{
	struct vgpu *g = d->owner;

	if (region == VGPU_BAR)
		return read_registers(g, offset, buf, n);
	if (region == VGPU_PLANE)
		return vgpu_plane_read(g, offset, buf, n);
	mutex_lock(&g->lock);
	if (region == VGPU_MSIX_BAR)
		memcpy(buf, g->msix_table + offset, n);
	else
		vpci_read(&g->pci, offset, buf, n);
	mutex_unlock(&g->lock);
	return 0;
}

static int write(struct vfio_device *d, unsigned region, u64 offset, const void *buf, size_t n)
{
	struct vgpu *g = d->owner;

	if (region == VGPU_BAR)
		return write_registers(g, offset, buf, n);
	mutex_lock(&g->lock);
	if (region == VGPU_MSIX_BAR)
		memcpy(g->msix_table + offset, buf, n);
	else
		vpci_write(&g->pci, offset, buf, n);
	mutex_unlock(&g->lock);
	return 0;
}

static bool doorbell(struct vfio_device *d, unsigned region, u64 offset, u64 value)
{
	if (region != VGPU_BAR || offset / PAGE_SIZE != PAGE_BELLS)
		return false;
	kick(d->owner, offset % PAGE_SIZE / 4);
	return true;
}

/* ---- the picture in a program's memory ---- */

static int map(struct vfio_device *d, unsigned region)
{
	return region == VGPU_PLANE ? vgpu_plane_map(d->owner) : -EINVAL;
}

static int page(struct vfio_device *d, unsigned region, u64 index, struct page **out)
{
	return vgpu_plane_page(d->owner, index, out);
}

/* ---- life ---- */

static int reset(struct vfio_device *d)
{
	struct vgpu *g = d->owner;

	mutex_lock(&g->lock);
	vpci_reset(&g->pci);
	vdev_reset(&g->virtio);
	mutex_unlock(&g->lock);
	reset_all(g);
	return 0;
}

/* A guarantee is part of what the tenant's cgroup has been guaranteed; where that is not enough, the weight remains. */
static int open_client(struct vgpu *g)
{
	struct vgpu_share share = g->share;
	int err = gpu_client_open(g->gpu, g->tenant, &g->limits, &share, g->m->uuid, &g->client);

	if (err != -ENOSPC)
		return err;
	share.min = 0;
	return gpu_client_open(g->gpu, g->tenant, &g->limits, &share, g->m->uuid, &g->client);
}

static int open(struct vfio_device *d)
{
	struct vgpu *g = d->owner;
	int err;

	g->request = vmem_alloc(g->request_bytes);
	if (!g->request)
		return -ENOMEM;
	g->tenant = current->tenant;
	g->counts = (struct vgpu_counts){ 0 };
	g->stop = g->resetting = false;
	g->kicked = 0;
	vpci_reset(&g->pci);
	vdev_reset(&g->virtio);
	err = open_client(g);
	if (!err) {
		err = kthread_run(&g->thread, thread_main, g, "vgpu");
		if (err)
			gpu_client_close(g->client);
	}
	if (err)
		vmem_free(g->request);
	else
		tenant_get(g->tenant);
	return err;
}

static void close(struct vfio_device *d)
{
	struct vgpu *g = d->owner;

	mutex_lock(&g->lock);
	g->resetting = true;
	vgpu_abandon(g); /* so that what ends at the GPU does not wake the thread any more */
	mutex_unlock(&g->lock);
	WRITE_ONCE(g->stop, true);
	waitq_wake_all(&g->wait);
	kthread_join(&g->thread);
	gpu_client_close(g->client);
	g->client = NULL;
	vgpu_forget(g);
	vgpu_plane_close(g);
	vmem_free(g->request);
	tenant_put(g->tenant);
}

/* A copy that is under way ends before the memory goes. If some of it is pinned, the guest loses all that it has: its
 * monitor has taken away memory that the GPU is using. */
static void unmap(struct vfio_device *d, u64 iova, u64 bytes)
{
	struct vgpu *g = d->owner;
	bool pinned;

	mutex_lock(&g->lock);
	pinned = vgpu_memory_in(g, iova, bytes);
	if (pinned)
		broken(g);
	mutex_unlock(&g->lock);
	if (pinned)
		reset_all(g);
}

static long ioctl(struct vfio_device *d, unsigned cmd, void __user *arg)
{
	return vgpu_plane_ioctl(d->owner, cmd, arg);
}

const struct vfio_device_ops vgpu_device_ops = { .open = open,
						 .close = close,
						 .reset = reset,
						 .read = read,
						 .write = write,
						 .doorbell = doorbell,
						 .map = map,
						 .page = page,
						 .unmap = unmap,
						 .ioctl = ioctl };

/* ---- what the guest finds ---- */

static void add_cap(struct vgpu *g, u8 type, unsigned page, u32 bytes, bool notify)
{
	struct virtio_pci_notify_cap c = { .cap = { .cap_len = notify ? sizeof(c) : sizeof(c.cap),
						    .cfg_type = type,
						    .bar = VGPU_BAR,
						    .offset = page * (u32)PAGE_SIZE,
						    .length = bytes },
					   .notify_off_multiplier = 4 };

	(void)vpci_cap(&g->pci, PCI_CAP_ID_VNDR, (u8 *)&c + 2, NULL, c.cap.cap_len);
}

static void set_up_pci(struct vgpu *g)
{
	struct vpci_id id = { .vendor = 0x1af4,
			      .device = 0x1040 + VIRTIO_ID_GPU,
			      .subsystem_vendor = 0x1af4,
			      .subsystem = 0x1100,
			      .class = 0x038000,
			      .revision = 1 };

	vpci_init(&g->pci, &id);
	vpci_bar(&g->pci, VGPU_BAR, REGISTERS, 0);
	vpci_bar(&g->pci, VGPU_MSIX_BAR, PAGE_SIZE, 0);
	vpci_msix(&g->pci, VGPU_VECTORS, VGPU_MSIX_BAR, 0, PAGE_SIZE / 2);
	add_cap(g, VIRTIO_PCI_CAP_COMMON_CFG, PAGE_COMMON, sizeof(struct virtio_pci_common_cfg), false);
	add_cap(g, VIRTIO_PCI_CAP_ISR_CFG, PAGE_ISR, 1, false);
	add_cap(g, VIRTIO_PCI_CAP_DEVICE_CFG, PAGE_DEVICE, sizeof(struct virtio_gpu_config), false);
	add_cap(g, VIRTIO_PCI_CAP_NOTIFY_CFG, PAGE_BELLS, 4 * VDEV_QUEUES, true);
}

void vgpu_set_up(struct vgpu *g)
{
	u32 rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	struct vfio_device *d = &g->m->vfio;

	mutex_init(&g->lock, RANK_VFIO_DEVICE);
	waitq_init(&g->wait);
	set_up_pci(g);
	vdev_init(&g->virtio, 1ULL << VIRTIO_F_VERSION_1 | 1ULL << VIRTIO_RING_F_INDIRECT_DESC |
				      1ULL << VIRTIO_GPU_F_EDID | (u64)g->gpu->has_3d << VIRTIO_GPU_F_VIRGL);
	g->config.num_scanouts = 1;
	for (unsigned i = 0; i < GPU_CAPSETS; i++)
		g->config.num_capsets += g->gpu->capset[i].id != 0;
	g->request_bytes = max(sizeof(struct virtio_gpu_resource_attach_backing) +
				       VGPU_BACKING_MAX * sizeof(struct virtio_gpu_mem_entry),
			       sizeof(struct virtio_gpu_cmd_submit) + g->limits.submit_bytes);
	vgpu_map_init(&g->objects, random_u64());
	list_init(&g->jobs);
	list_init(&g->memories);
	spin_init(&g->memory_lock, RANK_DRIVER);
	mutex_init(&g->reset_lock, RANK_SUBSYS);
	d->ops = &vgpu_device_ops;
	d->owner = g;
	d->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	d->nr_regions = VGPU_PLANE + 1;
	d->region[VGPU_BAR] = (struct vfio_region){ .bytes = REGISTERS, .flags = rw };
	d->region[VGPU_MSIX_BAR] = (struct vfio_region){ .bytes = PAGE_SIZE, .flags = rw };
	d->region[VFIO_PCI_CONFIG_REGION_INDEX] = (struct vfio_region){ .bytes = VPCI_BYTES, .flags = rw };
	d->region[VGPU_PLANE] = (struct vfio_region){ .bytes = ALIGN_UP(4ULL * g->max_width * g->max_height, PAGE_SIZE),
						      .flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP,
						      .is_bulk = true };
	d->irq[VFIO_PCI_MSIX_IRQ_INDEX] =
		(struct vfio_irq){ .count = VGPU_VECTORS, .flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE };
	d->irq[VFIO_PCI_REQ_IRQ_INDEX] = (struct vfio_irq){ .count = 1, .flags = VFIO_IRQ_INFO_EVENTFD };
}
