/* SPDX-License-Identifier: MIT
 *
 * Problem: reach a virtio device that sits behind a PCI function.
 *
 * Idea: vendor capabilities say in which BAR, at which offset, each of the structures lies: common configuration, queue
 * notification, device configuration. Each queue gets an MSI-X entry of its own, so that its interrupt goes to the CPU
 * that uses the queue and needs no status read. Configuration-change interrupts are not used.
 *
 * Contract: the virtio_transport of device/virtio.h, modern devices only (VIRTIO 1.2, section 4.1).
 *
 * Locks: none; queues are started at probe, notification is one store.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/io.h>
#include <arch/mmu.h>
#include <core/init.h>
#include <core/log.h>
#include <device/pci.h>
#include <device/virtio.h>
#include <lib/err.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#define VENDOR_VIRTIO      0x1af4
#define FIRST_MODERN       0x1040
#define LAST_MODERN        0x107f
#define FIRST_TRANSITIONAL 0x1000
#define LAST_TRANSITIONAL  0x103f

struct virtio_pci {
	struct virtio_dev dev;
	struct pci_dev *pci;
	struct virtio_pci_common_cfg *common;
	void *notify, *device;
	u32 notify_multiplier, notify_bytes, device_bytes;
};

static struct virtio_pci *of(struct virtio_dev *d)
{
	return d->transport;
}

static u64 features(struct virtio_dev *d)
{
	struct virtio_pci_common_cfg *c = of(d)->common;
	u64 low;

	mmio_write32(&c->device_feature_select, 0);
	low = mmio_read32(&c->device_feature);
	mmio_write32(&c->device_feature_select, 1);
	return low | (u64)mmio_read32(&c->device_feature) << 32;
}

static void set_features(struct virtio_dev *d, u64 f)
{
	struct virtio_pci_common_cfg *c = of(d)->common;

	mmio_write32(&c->guest_feature_select, 0);
	mmio_write32(&c->guest_feature, (u32)f);
	mmio_write32(&c->guest_feature_select, 1);
	mmio_write32(&c->guest_feature, f >> 32);
}

static u8 status(struct virtio_dev *d)
{
	return mmio_read8(&of(d)->common->device_status);
}

static void set_status(struct virtio_dev *d, u8 s)
{
	mmio_write8(&of(d)->common->device_status, s);
	/* A reset is complete when 0 reads back; of a device that is gone all is ones. */
	while (!s) {
		u8 now = status(d);

		if (!now || now == 0xff)
			break;
		__builtin_ia32_pause();
	}
}

static void config(struct virtio_dev *d, unsigned offset, void *out, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		((u8 *)out)[i] = offset + i < of(d)->device_bytes ? mmio_read8(of(d)->device + offset + i) : 0;
}

static u16 queue_size(struct virtio_dev *d, u16 index)
{
	struct virtio_pci_common_cfg *c = of(d)->common;

	if (index >= mmio_read16(&c->num_queues))
		return 0;
	mmio_write16(&c->queue_select, index);
	return mmio_read16(&c->queue_size);
}

static void write_address(void *low, paddr_t pa)
{
	mmio_write32(low, (u32)pa);
	mmio_write32(low + 4, pa >> 32);
}

static void on_interrupt(void *arg)
{
	struct virtqueue *vq = arg;

	vq->callback(vq);
}

static int queue_start(struct virtqueue *vq, unsigned cpu)
{
	struct virtio_pci *v = of(vq->dev);
	struct virtio_pci_common_cfg *c = v->common;
	u32 offset;
	int vector;

	mmio_write16(&c->queue_select, vq->index);
	mmio_write16(&c->queue_size, vq->size);
	if (vq->callback) {
		vector = pci_msix_request(v->pci, vq->index, on_interrupt, vq, cpu, vq->dev->name);
		if (vector < 0)
			return vector;
		mmio_write16(&c->queue_msix_vector, vq->index);
		if (mmio_read16(&c->queue_msix_vector) != vq->index)
			return -ENOSPC;
	}
	write_address(&c->queue_desc_lo, virt_to_phys(vq->desc));
	write_address(&c->queue_avail_lo, virt_to_phys(vq->avail));
	write_address(&c->queue_used_lo, virt_to_phys(vq->used));
	offset = mmio_read16(&c->queue_notify_off) * v->notify_multiplier;
	if (offset + 2 > v->notify_bytes)
		return fail(ENODEV, "%s: notification outside its region", vq->dev->name);
	vq->notify = v->notify + offset;
	mmio_write16(&c->queue_enable, 1);
	return 0;
}

static void notify(struct virtqueue *vq)
{
	mmio_write16(vq->notify, vq->index);
}

static void interrupts_off(struct virtio_dev *d)
{
	pci_msix_disable(of(d)->pci);
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
	.interrupts_off = interrupts_off,
};

/* Maps the structure of one type that a vendor capability describes. */
static void *map_structure(struct pci_dev *d, u8 type, u32 *bytes, u8 *cap_out)
{
	for (u8 cap = 0; (cap = pci_find_cap(d, PCI_CAP_ID_VNDR, cap));) {
		u32 offset, length;

		if (pci_read8(d, cap + offsetof(struct virtio_pci_cap, cfg_type)) != type)
			continue;
		offset = pci_read32(d, cap + offsetof(struct virtio_pci_cap, offset));
		length = pci_read32(d, cap + offsetof(struct virtio_pci_cap, length));
		*bytes = length;
		*cap_out = cap;
		return pci_map_bar(d, pci_read8(d, cap + offsetof(struct virtio_pci_cap, bar)), offset, length);
	}
	return NULL;
}

static bool match(const struct pci_dev *d)
{
	return d->vendor == VENDOR_VIRTIO && d->device >= FIRST_TRANSITIONAL && d->device <= LAST_MODERN;
}

static u32 device_type(const struct pci_dev *d)
{
	return d->device >= FIRST_MODERN ? d->device - FIRST_MODERN : d->subsystem;
}

static int probe(struct pci_dev *d)
{
	struct virtio_pci *v = kzalloc(sizeof(*v), ALLOC_KERNEL);
	u32 common_bytes = 0;
	u8 cap;
	int err;

	if (!v)
		return -ENOMEM;
	pci_enable(d);
	v->pci = d;
	d->priv = v;
	v->common = map_structure(d, VIRTIO_PCI_CAP_COMMON_CFG, &common_bytes, &cap);
	v->device = map_structure(d, VIRTIO_PCI_CAP_DEVICE_CFG, &v->device_bytes, &cap);
	v->notify = map_structure(d, VIRTIO_PCI_CAP_NOTIFY_CFG, &v->notify_bytes, &cap);
	err = v->common && v->notify && common_bytes >= sizeof(*v->common) ? pci_msix_enable(d) : -ENODEV;
	if (!err) {
		v->notify_multiplier = pci_read32(d, cap + sizeof(struct virtio_pci_cap));
		v->dev = (struct virtio_dev){ .id = device_type(d), .ops = &ops, .transport = v, .pci = d };
		err = virtio_add_device(&v->dev);
	}
	if (err) { /* registers stay mapped: a failed device is rare and the map small */
		pci_msix_disable(d);
		kfree(v);
	}
	return err;
}

static int let_go(struct pci_dev *d)
{
	struct virtio_pci *v = d->priv;
	int err = virtio_remove_device(&v->dev);

	if (err)
		return err;
	io_unmap(v->common);
	io_unmap(v->notify);
	io_unmap(v->device);
	kfree(v);
	return 0;
}

static struct pci_driver driver = { .name = "virtio-pci", .match = match, .probe = probe, .remove = let_go };

static void virtio_pci_register(void)
{
	pci_register(&driver);
}
PART_INIT(core, virtio_pci_register);
