/* SPDX-License-Identifier: MIT
 *
 * Problem: vfio and mdev must be tested, by programs and by guests, where there is no device to mediate.
 *
 * Idea: a PCI function with a page of registers that do one thing each, a page of memory that can be mapped, and two
 * interrupt vectors. Off unless the kernel's command line says mdev_sample=1.
 *
 *      BAR 0   0x0000 registers (below)   0x1000 memory, can be mapped        BAR 1   MSI-X table and pending bits
 *      00 magic   04 rings of the doorbell   08 doorbell   0c interrupt: vector   10 line: 0 or 1
 *      14 address, low   18 address, high   1c command   20 result: 0 or an errno   24 pages pinned
 *
 * Contract: mdev.h. Types sample-1 (one vector, INTx) and sample-2 (also MSI-X, two vectors); four units in all, which
 * type 1 takes one of and type 2 two.
 *
 * Locks: s->lock (RANK_VFIO_DEVICE) for a device; mdev's lock for `units`.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/pci_regs.h>
#include <mm/mm.h>
#include <task/mutex.h>
#include <task/task.h>
#include <virt/mdev.h>
#include <virt/vpci.h>

#define UNITS  4
#define MAGIC  0x4c504d53 /* "SMPL" */
#define PINS   16
#define MEMORY PAGE_SIZE /* where in BAR 0 */

enum {
	REG_MAGIC,
	REG_RINGS,
	REG_BELL,
	REG_INTERRUPT,
	REG_LINE,
	REG_LOW,
	REG_HIGH,
	REG_COMMAND,
	REG_RESULT,
	REG_PINNED
};
enum { CMD_READ = 1, CMD_WRITE, CMD_PIN, CMD_UNPIN };

struct sample {
	struct mdev *m;
	struct mutex lock;
	struct vpci pci;
	u8 table[PAGE_SIZE]; /* of MSI-X, remembered */
	struct page *memory;
	u32 rings, result;
	u64 address;
	struct page *pins[PINS];
	u64 pinned_at[PINS];
	unsigned nr_pins;
};

static unsigned units = UNITS;
static const struct vfio_area memory_area = { MEMORY, PAGE_SIZE };

/* ---- registers ---- */

static void unpin_all(struct sample *s)
{
	vfio_unpin(&s->m->vfio, s->pins, s->nr_pins);
	s->nr_pins = 0;
}

static int pin(struct sample *s)
{
	int err = s->nr_pins < PINS ? vfio_pin(&s->m->vfio, s->address, 1, true, &s->pins[s->nr_pins]) : -ENOSPC;

	if (!err)
		s->pinned_at[s->nr_pins++] = s->address;
	return err;
}

static int command(struct sample *s, u32 what)
{
	void *memory = page_virt(s->memory);

	switch (what) {
	case CMD_READ: return vfio_dma_read(&s->m->vfio, s->address, memory, PAGE_SIZE);
	case CMD_WRITE: return vfio_dma_write(&s->m->vfio, s->address, memory, PAGE_SIZE);
	case CMD_PIN: return pin(s);
	case CMD_UNPIN: unpin_all(s); return 0;
	default: return -EINVAL;
	}
}

static u32 get_register(struct sample *s, u64 n)
{
	switch (n) {
	case REG_MAGIC: return MAGIC;
	case REG_RINGS: return s->rings;
	case REG_LOW: return (u32)s->address;
	case REG_HIGH: return (u32)(s->address >> 32);
	case REG_RESULT: return s->result;
	case REG_PINNED: return s->nr_pins;
	default: return 0;
	}
}

static void set_register(struct sample *s, u64 n, u32 v)
{
	switch (n) {
	case REG_BELL: s->rings++; break;
	case REG_INTERRUPT: vfio_signal(&s->m->vfio, VFIO_PCI_MSIX_IRQ_INDEX, v); break;
	case REG_LINE: vfio_set_line(&s->m->vfio, v & 1); break;
	case REG_LOW: s->address = (s->address & ~0xffffffffULL) | v; break;
	case REG_HIGH: s->address = (s->address & 0xffffffff) | (u64)v << 32; break;
	case REG_COMMAND: s->result = (u32)-command(s, v); break;
	default: break;
	}
}

/* ---- regions ---- */

static void *plain_memory(struct sample *s, unsigned region, u64 offset)
{
	if (region == 0 && offset >= MEMORY)
		return (char *)page_virt(s->memory) + (offset - MEMORY);
	return region == 1 ? s->table + offset : NULL;
}

static int read(struct vfio_device *d, unsigned region, u64 offset, void *buf, size_t n)
{
	struct sample *s = d->owner;
	void *at = plain_memory(s, region, offset);
	u32 v;

	mutex_lock(&s->lock);
	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		vpci_read(&s->pci, offset, buf, n);
	} else if (at) {
		memcpy(buf, at, n);
	} else {
		v = get_register(s, offset / 4);
		memset(buf, 0, n);
		memcpy(buf, &v, min(n, sizeof(v)));
	}
	mutex_unlock(&s->lock);
	return 0;
}

static int write(struct vfio_device *d, unsigned region, u64 offset, const void *buf, size_t n)
{
	struct sample *s = d->owner;
	void *at = plain_memory(s, region, offset);
	u32 v = 0;

	mutex_lock(&s->lock);
	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		vpci_write(&s->pci, offset, buf, n);
	} else if (at) {
		memcpy(at, buf, n);
	} else {
		memcpy(&v, buf, min(n, sizeof(v)));
		set_register(s, offset / 4, v);
	}
	mutex_unlock(&s->lock);
	return 0;
}

static int page(struct vfio_device *d, unsigned region, u64 index, struct page **out)
{
	struct sample *s = d->owner;

	if (region || index != MEMORY >> PAGE_SHIFT)
		return -EFAULT;
	page_get(s->memory);
	*out = s->memory;
	return 0;
}

static int reset(struct vfio_device *d)
{
	struct sample *s = d->owner;

	mutex_lock(&s->lock);
	vpci_reset(&s->pci);
	unpin_all(s);
	s->rings = s->result = 0;
	s->address = 0;
	mutex_unlock(&s->lock);
	vfio_set_line(d, false);
	return 0;
}

static int open(struct vfio_device *d)
{
	struct sample *s = d->owner;

	s->memory = page_alloc(0, ALLOC_ZERO, current->tenant);
	if (!s->memory)
		return -ENOMEM;
	s->memory->owner = &d->mapping;
	return reset(d);
}

static void close(struct vfio_device *d)
{
	struct sample *s = d->owner;

	(void)reset(d);
	s->memory->owner = NULL;
	page_put(s->memory);
	s->memory = NULL;
}

static void unmap(struct vfio_device *d, u64 iova, u64 bytes)
{
	struct sample *s = d->owner;

	mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->nr_pins;) {
		if (s->pinned_at[i] - iova >= bytes) {
			i++;
			continue;
		}
		vfio_unpin(d, &s->pins[i], 1);
		s->nr_pins--;
		s->pins[i] = s->pins[s->nr_pins];
		s->pinned_at[i] = s->pinned_at[s->nr_pins];
	}
	mutex_unlock(&s->lock);
}

static const struct vfio_device_ops device_ops = {
	.open = open, .close = close, .reset = reset, .read = read, .write = write, .page = page, .unmap = unmap
};

/* ---- the parent ---- */

static void set_up(struct sample *s, struct vfio_device *d, unsigned vectors)
{
	struct vpci_id id = { .vendor = 0x1234, .device = 0x4f53, .class = 0xff0000, .revision = 1, .has_intx = true };
	u32 rw = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

	vpci_init(&s->pci, &id);
	vpci_bar(&s->pci, 0, 2 * PAGE_SIZE, 0);
	d->ops = &device_ops;
	d->owner = s;
	d->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	d->nr_regions = VFIO_PCI_NUM_REGIONS;
	d->region[0] = (struct vfio_region){
		.bytes = 2 * PAGE_SIZE, .flags = rw | VFIO_REGION_INFO_FLAG_MMAP, .area = &memory_area, .nr_areas = 1
	};
	d->region[VFIO_PCI_CONFIG_REGION_INDEX] = (struct vfio_region){ .bytes = VPCI_BYTES, .flags = rw };
	d->irq[VFIO_PCI_INTX_IRQ_INDEX] =
		(struct vfio_irq){ .count = 1,
				   .flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED };
	d->irq[VFIO_PCI_REQ_IRQ_INDEX] = (struct vfio_irq){ .count = 1, .flags = VFIO_IRQ_INFO_EVENTFD };
	if (vectors < 2)
		return;
	vpci_bar(&s->pci, 1, PAGE_SIZE, 0);
	vpci_msix(&s->pci, vectors, 1, 0, PAGE_SIZE / 2);
	d->region[1] = (struct vfio_region){ .bytes = PAGE_SIZE, .flags = rw };
	d->irq[VFIO_PCI_MSIX_IRQ_INDEX] =
		(struct vfio_irq){ .count = vectors, .flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE };
}

static int create(struct mdev *m)
{
	struct sample *s;

	if (units < m->type->data)
		return -ENOSPC;
	s = kzalloc(sizeof(*s), 0);
	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock, RANK_VFIO_DEVICE);
	s->m = m;
	m->priv = s;
	units -= m->type->data;
	set_up(s, &m->vfio, (unsigned)m->type->data);
	return 0;
}

static void remove(struct mdev *m)
{
	units += m->type->data;
}

static unsigned available(struct mdev_parent *p, const struct mdev_type *t)
{
	return units / t->data;
}

static const struct mdev_ops parent_ops = { .create = create, .remove = remove, .available = available };
static struct mdev_type types[] = {
	{ .name = "1", .pretty = "registers, memory, INTx", .description = "units: 1", .data = 1 },
	{ .name = "2", .pretty = "registers, memory, INTx, MSI-X", .description = "units: 2", .data = 2 },
};
static struct mdev_parent parent = {
	.driver = "sample", .name = "sample0", .ops = &parent_ops, .types = types, .nr_types = ARRAY_SIZE(types)
};

static void sample_init(void)
{
	char word[4];

	if (!boot_param("mdev_sample", word, sizeof(word)))
		return;
	if (mdev_register(&parent))
		log_warn("mdev_sample: cannot register");
}
PART_INIT(driver, sample_init);
