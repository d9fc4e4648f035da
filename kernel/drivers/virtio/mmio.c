/* SPDX-License-Identifier: MIT
 *
 * Problem: machines without PCI (QEMU's microvm, Firecracker) put virtio devices at fixed addresses and name them on
 * the kernel's command line only: virtio_mmio.device=SIZE@ADDRESS:IRQ[:ID].
 *
 * Idea: parse those words, look at the magic, and drive the register block of VIRTIO 1.2, section 4.2. All queues of a
 * device share one interrupt; its handler acknowledges and calls every queue.
 *
 * Contract: the virtio_transport of device/virtio.h, version 2 registers only.
 *
 * Locks: none; see drivers/virtio/pci.c.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/io.h>
#include <arch/mmu.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <device/virtio.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/virtio_mmio.h>

#define MAGIC      0x74726976 /* "virt" */
#define MAX_QUEUES 16
#define PARAMETER  "virtio_mmio.device="

struct virtio_mmio {
	struct virtio_dev dev;
	void *regs;
	unsigned gsi;
	int vector; /* 0: not requested yet */
	struct virtqueue *queues[MAX_QUEUES];
};

static struct virtio_mmio *of(struct virtio_dev *d)
{
	return d->transport;
}

static u32 get(struct virtio_dev *d, unsigned reg)
{
	return mmio_read32(of(d)->regs + reg);
}

static void put(struct virtio_dev *d, unsigned reg, u32 value)
{
	mmio_write32(of(d)->regs + reg, value);
}

static u64 features(struct virtio_dev *d)
{
	u64 low;

	put(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	low = get(d, VIRTIO_MMIO_DEVICE_FEATURES);
	put(d, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return low | (u64)get(d, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}

static void set_features(struct virtio_dev *d, u64 f)
{
	put(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	put(d, VIRTIO_MMIO_DRIVER_FEATURES, (u32)f);
	put(d, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	put(d, VIRTIO_MMIO_DRIVER_FEATURES, f >> 32);
}

static u8 status(struct virtio_dev *d)
{
	return get(d, VIRTIO_MMIO_STATUS);
}

static void set_status(struct virtio_dev *d, u8 s)
{
	put(d, VIRTIO_MMIO_STATUS, s);
}

static void config(struct virtio_dev *d, unsigned offset, void *out, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		((u8 *)out)[i] = mmio_read8(of(d)->regs + VIRTIO_MMIO_CONFIG + offset + i);
}

static u16 queue_size(struct virtio_dev *d, u16 index)
{
	put(d, VIRTIO_MMIO_QUEUE_SEL, index);
	return min(get(d, VIRTIO_MMIO_QUEUE_NUM_MAX), 32768U);
}

static void on_interrupt(void *arg)
{
	struct virtio_mmio *v = arg;

	put(&v->dev, VIRTIO_MMIO_INTERRUPT_ACK, get(&v->dev, VIRTIO_MMIO_INTERRUPT_STATUS));
	for (unsigned i = 0; i < MAX_QUEUES; i++)
		if (v->queues[i] && v->queues[i]->callback)
			v->queues[i]->callback(v->queues[i]);
}

static int request_interrupt(struct virtio_mmio *v, unsigned cpu)
{
	int vector = irq_alloc(on_interrupt, v, cpu, v->dev.name), err;

	if (vector < 0)
		return vector;
	err = irq_route_gsi(v->gsi, vector, false, false);
	if (err) {
		irq_free(vector);
		return err;
	}
	v->vector = vector;
	return 0;
}

static void write_address(struct virtio_dev *d, unsigned reg, const void *va)
{
	paddr_t pa = virt_to_phys(va);

	put(d, reg, (u32)pa);
	put(d, reg + 4, pa >> 32);
}

static int queue_start(struct virtqueue *vq, unsigned cpu)
{
	struct virtio_mmio *v = of(vq->dev);
	int err;

	if (vq->index >= MAX_QUEUES)
		return -ENOSPC;
	err = v->vector ? 0 : request_interrupt(v, cpu);
	if (err)
		return err;
	v->queues[vq->index] = vq;
	put(vq->dev, VIRTIO_MMIO_QUEUE_SEL, vq->index);
	put(vq->dev, VIRTIO_MMIO_QUEUE_NUM, vq->size);
	write_address(vq->dev, VIRTIO_MMIO_QUEUE_DESC_LOW, vq->desc);
	write_address(vq->dev, VIRTIO_MMIO_QUEUE_AVAIL_LOW, vq->avail);
	write_address(vq->dev, VIRTIO_MMIO_QUEUE_USED_LOW, vq->used);
	put(vq->dev, VIRTIO_MMIO_QUEUE_READY, 1);
	return 0;
}

static void notify(struct virtqueue *vq)
{
	put(vq->dev, VIRTIO_MMIO_QUEUE_NOTIFY, vq->index);
}

static const struct virtio_transport ops = {
	.features = features,
	.set_features = set_features,
	.status = status,
	.set_status = set_status,
	.config = config,
	.queue_size = queue_size,
	.queue_start = queue_start,
	.notify = notify,
};

static void add(paddr_t base, u64 bytes, unsigned gsi)
{
	struct virtio_mmio *v = kzalloc(sizeof(*v), ALLOC_KERNEL);

	if (!v)
		return;
	v->gsi = gsi;
	v->regs = io_map(base, bytes);
	if (!v->regs || mmio_read32(v->regs + VIRTIO_MMIO_MAGIC_VALUE) != MAGIC ||
	    mmio_read32(v->regs + VIRTIO_MMIO_VERSION) != 2 || !mmio_read32(v->regs + VIRTIO_MMIO_DEVICE_ID))
		goto absent; /* QEMU names empty slots too */
	v->dev = (struct virtio_dev){ .id = mmio_read32(v->regs + VIRTIO_MMIO_DEVICE_ID), .ops = &ops, .transport = v };
	if (virtio_add_device(&v->dev) == 0)
		return;
absent:
	if (v->regs)
		io_unmap(v->regs);
	kfree(v);
}

/* Copies digits up to a separator; returns the text behind it, or NULL. */
static const char *number(const char *s, char separator, u64 *out)
{
	char digits[24];
	unsigned n = 0;

	while (*s && *s != separator && *s != ' ' && *s != ':' && n < sizeof(digits) - 1)
		digits[n++] = *s++;
	digits[n] = '\0';
	if (str_to_u64(digits, 0, out))
		return NULL;
	return *s == separator ? s + 1 : separator ? NULL : s;
}

static void parse(const char *word)
{
	u64 bytes, base, gsi;

	word = number(word, '@', &bytes);
	word = word ? number(word, ':', &base) : NULL;
	word = word ? number(word, '\0', &gsi) : NULL;
	if (word && bytes >= VIRTIO_MMIO_CONFIG && bytes <= 65536)
		add(base, bytes, gsi);
	else
		log_warn("virtio_mmio.device: expected SIZE@ADDRESS:IRQ");
}

static void virtio_mmio_scan(void)
{
	const char *at = boot_info()->cmdline;

	while (at && (at = strstr(at, PARAMETER))) {
		at += strlen(PARAMETER);
		parse(at);
	}
}
PART_INIT(bus, virtio_mmio_scan);
