/* SPDX-License-Identifier: MIT
 *
 * Problem: a function that is given to a guest shall reach the guest's memory and nothing else, while all others go on
 * as if there were no IOMMU.
 *
 * Idea: the unit looks a request's source up in a root table by bus, then in a context table by slot and number. At
 * boot all buses share one context table, whose entries all say "pass through"; so translation can be turned on under
 * working devices. A bus gets a table of its own, a copy, when the first of its functions is attached.
 *
 *      off --tables, queue, TE=1--> all pass --attach--> the domain's, or shut out --bypass--> passes
 *
 * Contract: device/iommu.h. A unit that cannot pass requests through, has no queue, caches what is not there (so, one
 * that another hypervisor makes with caching mode) or wants to be told of each map (old ones, whose write buffers are
 * to be flushed) is left off. Regions that firmware reserves for a device (RMRR) are not looked at. Specification: see
 * vtd_priv.h.
 *
 * Locks: vtd.lock for contexts and the queue.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <device/pci.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/pci_regs.h>

#include "vtd_priv.h"

#define REGISTERS       PAGE_SIZE
#define SOURCES         65536
#define SCOPE_BYTES     8 /* of an entry with one step */
#define SCOPE_ENDPOINT  1
#define SCOPE_BRIDGE    2
#define COMMAND_NS      NSEC_PER_SEC
#define CAP_WRITE_FLUSH BIT(4)
#define CAP_CACHING     BIT(7)
#define CAP_3_LEVELS    BIT(9)
#define CAP_4_LEVELS    BIT(10)
#define ECAP_COHERENT   BIT(0)
#define ECAP_QUEUE      BIT(1)
#define ECAP_PASS       BIT(6)

struct vtd vtd = { .lock = SPIN_INIT(RANK_DRIVER) };

void vtd_publish(const void *p, size_t bytes)
{
	if (!(vtd.ecap & ECAP_COHERENT))
		cache_write_back(p, bytes);
}

/* Whether an entry of the unit's list names p, or a bridge that p is or is behind. Only paths of one step from a bus.
 */
static bool names(const u8 *entry, const struct pci_dev *p)
{
	struct pci_dev named = { .bus = entry[5], .slot = entry[6], .function = entry[7] };

	if (entry[1] != SCOPE_BYTES || (entry[0] != SCOPE_ENDPOINT && entry[0] != SCOPE_BRIDGE))
		return false;
	if (named.bus == p->bus && named.slot == p->slot && named.function == p->function)
		return true;
	return entry[0] == SCOPE_BRIDGE && p->bus >= pci_read8(&named, PCI_SECONDARY_BUS) &&
	       p->bus <= pci_read8(&named, PCI_SUBORDINATE_BUS);
}

/* Its requests come to the unit. */
static bool covers(const struct pci_dev *p)
{
	const struct boot_info *info = boot_info();
	const u8 *list = info->dmar_scope;

	for (u32 at = 0; list && at + SCOPE_BYTES <= info->dmar_scope_bytes && list[at + 1]; at += list[at + 1])
		if (names(list + at, p))
			return true;
	return !list;
}

static unsigned source_of(const struct pci_dev *p)
{
	return (unsigned)p->bus << 8 | p->slot << 3 | p->function;
}

/* ---- contexts ---- */

static void *new_page(void)
{
	struct page *p = page_alloc(0, ALLOC_ZERO, NULL);

	return p ? page_virt(p) : NULL;
}

static void free_page(void *p)
{
	if (p)
		page_put(virt_to_page(p));
}

static void point_bus(unsigned bus, const struct vtd_entry *table)
{
	vtd.root[bus].low = virt_to_phys(table) | ROOT_PRESENT;
	vtd_publish(&vtd.root[bus], sizeof(vtd.root[bus]));
}

/* The bus has contexts of its own from now on. */
static int make_own(unsigned bus)
{
	struct vtd_entry *table;
	ulong irq;

	if (READ_ONCE(vtd.own[bus]))
		return 0;
	table = new_page();
	if (!table)
		return -ENOMEM;
	memcpy(table, vtd.bypass, PAGE_SIZE);
	vtd_publish(table, PAGE_SIZE);
	irq = spin_lock_irqsave(&vtd.lock);
	if (!vtd.own[bus]) { /* else somebody was faster */
		WRITE_ONCE(vtd.own[bus], table);
		point_bus(bus, table);
		vtd_forget_contexts();
		table = NULL;
	}
	spin_unlock_irqrestore(&vtd.lock, irq);
	free_page(table);
	return 0;
}

/* Of a function whose bus has its own. Never half of an old one and half of a new one: between them there is none. */
static void set_context(unsigned source, u64 low, u64 high)
{
	struct vtd_entry *e = &vtd.own[source >> 8][source & 255];
	ulong irq = spin_lock_irqsave(&vtd.lock);

	vtd.reports[source] = 0;
	WRITE_ONCE(e->low, 0);
	vtd_publish(e, sizeof(*e));
	vtd_forget_contexts();
	WRITE_ONCE(e->high, high);
	WRITE_ONCE(e->low, low);
	vtd_publish(e, sizeof(*e));
	vtd_forget_contexts();
	spin_unlock_irqrestore(&vtd.lock, irq);
}

static int attach(const struct pci_dev *p, struct iommu_domain *d)
{
	int err = covers(p) ? make_own(p->bus) : -ENODEV;

	if (err)
		return err;
	if (d)
		set_context(source_of(p), virt_to_phys(d->root) | CONTEXT_PRESENT,
			    (u64)d->id << 8 | (d->levels - 2)); /* address width: 1 is three levels, 2 four */
	else
		set_context(source_of(p), 0, 0);
	return 0;
}

static void bypass(const struct pci_dev *p)
{
	const struct vtd_entry *e = &vtd.bypass[source_of(p) & 255];

	set_context(source_of(p), e->low, e->high);
}

void vtd_silence(unsigned source)
{
	ulong irq = spin_lock_irqsave(&vtd.lock);
	struct vtd_entry *e = vtd.own[source >> 8] ? &vtd.own[source >> 8][source & 255] : NULL;

	if (e) { /* else it passes through, and what it did is not a guest's doing */
		WRITE_ONCE(e->low, e->low | CONTEXT_SILENT);
		vtd_publish(e, sizeof(*e));
		vtd_forget_contexts();
	}
	spin_unlock_irqrestore(&vtd.lock, irq);
}

/* ---- files ---- */

static int show_hex(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lx\n", *(const u64 *)a->data);
	return 0;
}

static int show_used(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(vtd.ids); i++)
		n += __builtin_popcountl(READ_ONCE(vtd.ids[i]));
	strbuf_add(out, "%u\n", n);
	return 0;
}

static int show_faults(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", READ_ONCE(vtd.faults));
	return 0;
}

static const struct attr cap_file = { .name = "cap", .mode = 0444, .show = show_hex, .data = (ulong)&vtd.cap };
static const struct attr ecap_file = { .name = "ecap", .mode = 0444, .show = show_hex, .data = (ulong)&vtd.ecap };
static const struct attr used_file = { .name = "domains_used", .mode = 0444, .show = show_used };
static const struct attr faults_file = { .name = "faults", .mode = 0444, .show = show_faults };
static const struct attr *const files[] = { &cap_file, &ecap_file, &used_file, &faults_file, NULL };

/* ---- the start ---- */

static int command(u32 bit)
{
	u64 deadline = clock_ns() + COMMAND_NS;
	u32 keep = mmio_read32(vtd.regs + REG_STATUS) & GCMD_KEPT;

	mmio_write32(vtd.regs + REG_COMMAND, keep | bit);
	while (!(mmio_read32(vtd.regs + REG_STATUS) & bit)) {
		if (clock_ns() > deadline)
			return -ETIMEDOUT;
		cpu_relax();
	}
	return 0;
}

static int make_tables(void)
{
	vtd.root = new_page();
	vtd.bypass = new_page();
	vtd.queue = new_page();
	vtd.done = new_page();
	vtd.reports = big_alloc(SOURCES, 1);
	if (!vtd.root || !vtd.bypass || !vtd.queue || !vtd.done || !vtd.reports)
		return -ENOMEM;
	for (unsigned i = 0; i < 256; i++)
		vtd.bypass[i] =
			(struct vtd_entry){ CONTEXT_PRESENT | CONTEXT_PASS, VTD_BYPASS_ID << 8 | (vtd.levels - 2) };
	vtd_publish(vtd.bypass, PAGE_SIZE);
	for (unsigned bus = 0; bus < 256; bus++)
		point_bus(bus, vtd.bypass);
	return 0;
}

static int start(void)
{
	ulong irq;
	int err = make_tables();

	if (err)
		return err;
	mmio_write64(vtd.regs + REG_ROOT, virt_to_phys(vtd.root));
	err = command(GCMD_SET_ROOT);
	if (err)
		return err;
	vtd_queue_start();
	err = command(GCMD_QUEUE);
	if (err)
		return err;
	irq = spin_lock_irqsave(&vtd.lock);
	vtd_forget_contexts();
	spin_unlock_irqrestore(&vtd.lock, irq);
	err = vtd_faults_start();
	return err ? err : command(GCMD_TRANSLATE);
}

static struct iommu_ops ops = { .create = vtd_domain_create,
				.destroy = vtd_domain_destroy,
				.map = vtd_map,
				.unmap = vtd_unmap,
				.find = vtd_find,
				.attach = attach,
				.bypass = bypass };

static bool is_fit(void)
{
	vtd.cap = mmio_read64(vtd.regs + REG_CAP);
	vtd.ecap = mmio_read64(vtd.regs + REG_ECAP);
	vtd.levels = vtd.cap & CAP_4_LEVELS ? 4 : vtd.cap & CAP_3_LEVELS ? 3 : 0;
	return vtd.levels && (vtd.cap >> 24 & 0x3ff) * 16 + 16 * ((vtd.cap >> 40 & 255) + 1) <= REGISTERS &&
	       !(vtd.cap & (CAP_CACHING | CAP_WRITE_FLUSH)) && vtd.ecap & ECAP_QUEUE && vtd.ecap & ECAP_PASS &&
	       !(mmio_read32(vtd.regs + REG_STATUS) & GCMD_TRANSLATE);
}

static void vtd_init(void)
{
	paddr_t base = boot_info()->dmar_base;
	int err;

	if (!base)
		return;
	vtd.regs = io_map(base, REGISTERS);
	if (!vtd.regs || !is_fit()) {
		log_warn("iommu: this VT-d is not of a kind that is used: cap %#lx, ecap %#lx", vtd.cap, vtd.ecap);
		return;
	}
	err = start();
	if (err) { /* what the unit may know of is kept */
		log_err("iommu: does not start: error %d", -err);
		return;
	}
	ops.address_bits = min(12 + 9 * vtd.levels, ((unsigned)(vtd.cap >> 16) & 63) + 1);
	iommu_register(&ops);
	if (attr_folder_add(&attr_sys_root, "class/iommu/dmar0/intel-iommu", files))
		log_warn("iommu: no files in /sys");
	log_info("iommu: VT-d, %u levels", vtd.levels);
}
PART_INIT(core, vtd_init);
