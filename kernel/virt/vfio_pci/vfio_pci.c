/* SPDX-License-Identifier: MIT
 *
 * Problem: a whole PCI function shall be a program's, and through it a guest's, without the kernel in between, and
 * without the program being able to reach what is not its own through it.
 *
 * Idea: a PCI driver that takes only what it is told to (driver_override, new_id, vfio-pci.ids=VENDOR:DEVICE,...). The
 * function is reset, shut out by the IOMMU and registered with VFIO, which attaches it to the container's domain while
 * its file is open. Registers are mapped into the program as they are, but for the pages that hold the MSI-X table: the
 * messages in it are ours. Configuration space is a copy (config.c). Between two owners there is a reset.
 *
 *      free --bind--> shut out --open: reset, attached--> in use --close: reset--> shut out --unbind: passes--> free
 *
 * Contract: the pci_driver of device/pci.h and the ops of virt/vfio.h; linux/vfio.h as vfio-pci has it. Interrupts are
 * MSI-X and MSI (one message). -EPERM: there is no IOMMU, the function is not alone in its eyes, or it is a bridge:
 * what is behind it is others'.
 *
 * Locks: vfio's for opening and closing; p->lock for the configuration space, the function's own, and its messages.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/io.h>
#include <core/init.h>
#include <core/log.h>
#include <device/iommu.h>
#include <device/pci.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/pci_regs.h>

#include "vfio_pci_priv.h"

static struct vfio_pci *of(struct vfio_device *d)
{
	return container_of(d, struct vfio_pci, vfio);
}

/* ---- interrupts ---- */

static void on_interrupt(void *arg)
{
	struct vector *v = arg;

	vfio_signal(&v->owner->vfio, v->index, v->n);
}

static int listen_msix(struct vfio_pci *p, unsigned n, bool on)
{
	int err = on && !p->nr_listened ? pci_msix_enable(p->pci) : 0;

	if (err)
		return err;
	if (on) {
		err = pci_msix_request(p->pci, n, on_interrupt, &p->vector[n], 0, "vfio-msix");
		p->nr_listened += err >= 0;
	} else {
		pci_msix_release(p->pci, n);
		p->nr_listened--;
	}
	if (!p->nr_listened)
		pci_msix_disable(p->pci);
	return min(err, 0);
}

static int listen_msi(struct vfio_pci *p, bool on)
{
	if (on)
		return min(pci_msi_request(p->pci, on_interrupt, &p->message, 0, "vfio-msi"), 0);
	pci_msi_disable(p->pci);
	return 0;
}

/* Not beside a reset that the program asks for by writing the configuration space. */
static int listen(struct vfio_device *d, unsigned index, unsigned n, bool on)
{
	struct vfio_pci *p = of(d);
	int err = 0;

	mutex_lock(&p->lock);
	if (index == VFIO_PCI_MSIX_IRQ_INDEX)
		err = listen_msix(p, n, on);
	else if (index == VFIO_PCI_MSI_IRQ_INDEX)
		err = listen_msi(p, on);
	mutex_unlock(&p->lock);
	return err;
}

/* ---- registers ---- */

/* Memory decoding stays on while it is open, at the addresses that the machine knows. */
static void set_master(struct vfio_pci *p, bool on)
{
	u16 command = pci_read16(p->pci, PCI_COMMAND) & ~(PCI_COMMAND_MASTER | PCI_COMMAND_IO);

	pci_write16(p->pci, PCI_COMMAND,
		    command | PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE | (on ? PCI_COMMAND_MASTER : 0));
}

static bool is_table(const struct vfio_pci *p, unsigned region, u64 offset, size_t n)
{
	return region == p->table_bar && offset < p->table_end && offset + n > p->table_first;
}

static void read_register(const void *at, void *buf, size_t n)
{
	u64 v = n == 1 ? mmio_read8(at) : n == 2 ? mmio_read16(at) : mmio_read32(at);

	if (n == 8)
		v |= (u64)mmio_read32((const u8 *)at + 4) << 32;
	memcpy(buf, &v, n);
}

static void write_register(void *at, const void *buf, size_t n)
{
	u64 v = 0;

	memcpy(&v, buf, n);
	if (n == 1)
		mmio_write8(at, (u8)v);
	else if (n == 2)
		mmio_write16(at, (u16)v);
	else
		mmio_write32(at, (u32)v);
	if (n == 8)
		mmio_write32((u8 *)at + 4, v >> 32);
}

static int read(struct vfio_device *d, unsigned region, u64 offset, void *buf, size_t n)
{
	struct vfio_pci *p = of(d);

	if (region == VFIO_PCI_CONFIG_REGION_INDEX) {
		mutex_lock(&p->lock);
		vpci_read(&p->config, offset, buf, n);
		mutex_unlock(&p->lock);
	} else if (is_table(p, region, offset, n)) {
		memset(buf, 0xff, n);
	} else {
		read_register((u8 *)p->bar[region] + offset, buf, n);
	}
	return 0;
}

static int write_config(struct vfio_pci *p, unsigned at, const void *buf, size_t n)
{
	int err = 0;

	mutex_lock(&p->lock);
	vpci_write(&p->config, at, buf, n);
	if (config_wants_reset(&p->config, at, n)) {
		vpci_reset(&p->config);
		err = pci_reset(p->pci);
	}
	set_master(p, config_is_master(&p->config));
	mutex_unlock(&p->lock);
	return err;
}

static int write(struct vfio_device *d, unsigned region, u64 offset, const void *buf, size_t n)
{
	struct vfio_pci *p = of(d);

	if (region == VFIO_PCI_CONFIG_REGION_INDEX)
		return write_config(p, offset, buf, n);
	if (!is_table(p, region, offset, n))
		write_register((u8 *)p->bar[region] + offset, buf, n);
	return 0;
}

static int frame(struct vfio_device *d, unsigned region, u64 index, pfn_t *out)
{
	if (region >= ARRAY_SIZE(of(d)->bar))
		return -EFAULT;
	*out = (of(d)->pci->bar[region].base >> PAGE_SHIFT) + index;
	return 0;
}

/* ---- an owner ---- */

static int reset(struct vfio_device *d)
{
	struct vfio_pci *p = of(d);
	int err;

	mutex_lock(&p->lock);
	vpci_reset(&p->config);
	err = pci_reset(p->pci);
	set_master(p, false);
	mutex_unlock(&p->lock);
	return err;
}

/* One that cannot be reset is at least silent. */
static void quieten(struct vfio_pci *p)
{
	set_master(p, false);
	if (pci_can_reset(p->pci) && pci_reset(p->pci))
		log_warn("vfio-pci %s: no reset", p->pci->name);
}

static void unmap_registers(struct vfio_pci *p)
{
	for (unsigned i = 0; i < ARRAY_SIZE(p->bar); i++) {
		if (p->bar[i])
			io_unmap(p->bar[i]);
		p->bar[i] = NULL;
	}
}

static void make_config(struct vfio_pci *p)
{
	struct shown s = { .bar = p->pci->bar,
			   .has_msi = p->vfio.irq[VFIO_PCI_MSI_IRQ_INDEX].count,
			   .has_msix = p->vfio.irq[VFIO_PCI_MSIX_IRQ_INDEX].count };

	for (unsigned i = 0; i < VPCI_BYTES; i += 4) {
		u32 v = pci_read32(p->pci, i);

		memcpy(s.real + i, &v, sizeof(v));
	}
	config_make(&p->config, &s);
}

static int open(struct vfio_device *d)
{
	struct vfio_pci *p = of(d);

	quieten(p);
	for (unsigned i = 0; i < ARRAY_SIZE(p->bar); i++) {
		if (!d->region[i].bytes)
			continue;
		p->bar[i] = pci_map_bar(p->pci, i, 0, 0);
		if (!p->bar[i]) {
			unmap_registers(p);
			return -ENOMEM;
		}
	}
	make_config(p);
	return 0;
}

static void close(struct vfio_device *d)
{
	quieten(of(d));
	unmap_registers(of(d));
}

static const struct vfio_device_ops ops = {
	.open = open, .close = close, .reset = reset, .read = read, .write = write, .frame = frame, .listen = listen
};

/* ---- what there is ---- */

static void describe_vectors(struct vfio_pci *p)
{
	struct vfio_irq *msix = &p->vfio.irq[VFIO_PCI_MSIX_IRQ_INDEX], *msi = &p->vfio.irq[VFIO_PCI_MSI_IRQ_INDEX];
	u8 cap = p->pci->msix_cap;

	p->table_bar = VFIO_REGIONS; /* none */
	if (cap) {
		unsigned n = (pci_read16(p->pci, cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1U;
		u32 table = pci_read32(p->pci, cap + PCI_MSIX_TABLE);

		p->table_bar = table & PCI_MSIX_TABLE_BIR;
		p->table_first = table & PCI_MSIX_TABLE_OFFSET;
		p->table_end = p->table_first + n * (u64)PCI_MSIX_ENTRY_SIZE;
		*msix = (struct vfio_irq){ .count = min(n, (unsigned)VFIO_VECTORS), .flags = VFIO_IRQ_INFO_EVENTFD };
	}
	if (pci_find_cap(p->pci, PCI_CAP_ID_MSI, 0))
		*msi = (struct vfio_irq){ .count = 1, .flags = VFIO_IRQ_INFO_EVENTFD };
	for (unsigned i = 0; i < VFIO_VECTORS; i++)
		p->vector[i] = (struct vector){ p, VFIO_PCI_MSIX_IRQ_INDEX, i };
	p->message = (struct vector){ p, VFIO_PCI_MSI_IRQ_INDEX, 0 };
}

/* All of it can be mapped but the pages of the table. */
static void describe_areas(struct vfio_pci *p, unsigned n)
{
	struct vfio_region *r = &p->vfio.region[n];
	u64 first = ALIGN_DOWN(p->table_first, PAGE_SIZE), end = ALIGN_UP(p->table_end, PAGE_SIZE);

	if (n != p->table_bar)
		return;
	r->area = p->area[n];
	if (first)
		p->area[n][r->nr_areas++] = (struct vfio_area){ 0, first };
	if (end < r->bytes)
		p->area[n][r->nr_areas++] = (struct vfio_area){ end, r->bytes - end };
	if (!r->nr_areas) {
		r->area = NULL;
		r->flags &= ~(u32)VFIO_REGION_INFO_FLAG_MMAP;
	}
}

static void describe_regions(struct vfio_pci *p)
{
	u32 access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;

	for (unsigned i = 0; i < ARRAY_SIZE(p->bar); i++) {
		const struct pci_bar *b = &p->pci->bar[i];

		if (b->is_port || !b->base || !b->bytes)
			continue;
		p->vfio.region[i] = (struct vfio_region){ .bytes = b->bytes, .flags = access };
		if (b->base % PAGE_SIZE || b->bytes % PAGE_SIZE)
			continue; /* others may be in the same page */
		p->vfio.region[i].flags |= VFIO_REGION_INFO_FLAG_MMAP;
		describe_areas(p, i);
	}
	p->vfio.region[VFIO_PCI_CONFIG_REGION_INDEX] = (struct vfio_region){ .bytes = VPCI_BYTES, .flags = access };
	p->vfio.nr_regions = VFIO_PCI_NUM_REGIONS;
}

/* ---- bind and unbind ---- */

static int give(struct vfio_pci *p)
{
	int err = iommu()->attach(p->pci, NULL);

	if (err)
		return err;
	err = vfio_register(&p->vfio, pci_dir(p->pci));
	if (err)
		iommu()->bypass(p->pci);
	return err;
}

/* Why it cannot be given; NULL: it can. */
static const char *obstacle(const struct pci_dev *d)
{
	if ((pci_read8(d, PCI_HEADER_TYPE) & 0x7f) != PCI_HEADER_TYPE_NORMAL)
		return "it is a bridge";
	if (!iommu())
		return "there is no IOMMU";
	return iommu_is_alone(d) ? NULL : "not alone in its slot, or behind a switch or a bridge";
}

static int probe(struct pci_dev *d)
{
	const char *why_not = obstacle(d);
	struct vfio_pci *p;
	int err;

	if (why_not) {
		log_warn("vfio-pci %s: %s", d->name, why_not);
		return -EPERM;
	}
	p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	if (!p)
		return -ENOMEM;
	p->pci = d;
	mutex_init(&p->lock, RANK_VFIO_DEVICE);
	p->vfio.ops = &ops;
	p->vfio.name = d->name;
	p->vfio.function = d;
	p->vfio.flags = VFIO_DEVICE_FLAGS_PCI | (pci_can_reset(d) ? VFIO_DEVICE_FLAGS_RESET : 0);
	describe_vectors(p);
	describe_regions(p);
	quieten(p);
	err = give(p);
	if (err)
		kfree(p);
	else
		d->priv = p;
	return err;
}

static int let_go(struct pci_dev *d)
{
	struct vfio_pci *p = d->priv;
	int err = vfio_unregister(&p->vfio);

	if (err)
		return err;
	iommu()->bypass(d);
	kfree(p);
	return 0;
}

static struct pci_driver driver = { .name = "vfio-pci", .probe = probe, .remove = let_go };

/* vfio-pci.ids=VENDOR:DEVICE[:SUBVENDOR:SUBDEVICE],... */
static void add_ids(char *text)
{
	char *id;

	while ((id = str_next(&text, ','))) {
		for (char *c = id; (c = strchr(c, ':'));)
			*c = ' ';
		if (pci_add_id(&driver, id))
			log_warn("vfio-pci.ids: what is '%s'?", id);
	}
}

static void vfio_pci_init(void)
{
	char ids[256];

	pci_register(&driver);
	if (boot_param("vfio-pci.ids", ids, sizeof(ids)))
		add_ids(ids);
}
PART_INIT(core, vfio_pci_init);
