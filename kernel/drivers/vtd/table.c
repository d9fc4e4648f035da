/* SPDX-License-Identifier: MIT
 *
 * Problem: a device shall reach some pages, at addresses that somebody else chose.
 *
 * Idea: page tables of their own, four levels (three where the unit has no more), 4 KiB a leaf, made as they are
 * needed. Upper levels only grow; they go with the domain. The unit caches no entry that is not there, so mapping needs
 * no message to it, and unmapping one for all.
 *
 *      iova --> [39] --> [30] --> [21] --> [12] --> page
 *
 * Contract: device/iommu.h. Source: VT-d 3.3, sections 3.7 and 9.8.
 *
 * Locks: the caller's for a domain; vtd.lock around its number and the queue.
 */
#include <alloc/page.h>
#include <arch/io.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/tenant.h>

#include "vtd_priv.h"

#define E_READ  BIT(0)
#define E_WRITE BIT(1)
#define E_ADDR  0x000ffffffffff000ULL

static u64 *new_table(struct tenant *t)
{
	struct page *p = page_alloc(0, ALLOC_ZERO, t);

	if (!p)
		return NULL;
	vtd_publish(page_virt(p), PAGE_SIZE);
	return page_virt(p);
}

static unsigned index(u64 iova, unsigned level)
{
	return iova >> (12 + 9 * level) & 511;
}

static u64 *below(u64 entry)
{
	return phys_to_virt(entry & E_ADDR);
}

static void set(u64 *e, u64 value)
{
	WRITE_ONCE(*e, value);
	vtd_publish(e, sizeof(*e));
}

/* The leaf table of iova. NULL: none, and without alloc *skip says how far it would reach; or no memory. */
static u64 *leaf_table(struct iommu_domain *d, u64 iova, bool alloc, u64 *skip)
{
	u64 *table = d->root;

	for (unsigned level = d->levels - 1; level; level--) {
		u64 *e = &table[index(iova, level)];

		if (!*e) {
			u64 *fresh = alloc ? new_table(d->tenant) : NULL;

			*skip = 1ULL << (12 + 9 * level);
			if (!fresh)
				return NULL;
			set(e, virt_to_phys(fresh) | E_READ | E_WRITE);
		}
		table = below(*e);
	}
	return table;
}

int vtd_map(struct iommu_domain *d, u64 iova, paddr_t pa, unsigned rights)
{
	u64 skip, *table;

	if (iova >> (12 + 9 * d->levels))
		return -ERANGE;
	table = leaf_table(d, iova, true, &skip);
	if (!table)
		return -ENOMEM;
	set(&table[index(iova, 0)], pa | (rights & IOMMU_READ ? E_READ : 0) | (rights & IOMMU_WRITE ? E_WRITE : 0));
	return 0;
}

void vtd_unmap(struct iommu_domain *d, u64 iova, u64 bytes)
{
	u64 end = iova + bytes, skip;
	ulong irq;

	while (iova < end) {
		u64 *table = leaf_table(d, iova, false, &skip);

		if (!table) {
			iova = (iova & ~(skip - 1)) + skip;
			continue;
		}
		do {
			set(&table[index(iova, 0)], 0);
			iova += PAGE_SIZE;
		} while (iova < end && index(iova, 0));
	}
	irq = spin_lock_irqsave(&vtd.lock);
	vtd_forget_domain(d->id);
	spin_unlock_irqrestore(&vtd.lock, irq);
}

paddr_t vtd_find(struct iommu_domain *d, u64 iova)
{
	u64 skip, *table = iova >> (12 + 9 * d->levels) ? NULL : leaf_table(d, iova, false, &skip);

	return table ? table[index(iova, 0)] & E_ADDR : 0;
}

/* ---- domains ---- */

static int take_id(u16 *out)
{
	unsigned most = min(1U << (4 + 2 * (vtd.cap & 7)), (unsigned)VTD_DOMAINS);
	ulong irq = spin_lock_irqsave(&vtd.lock);
	int err = -ENOSPC;

	for (unsigned id = VTD_FIRST_ID; id < most && err; id++)
		if (!(vtd.ids[id / 64] >> id % 64 & 1)) {
			vtd.ids[id / 64] |= 1UL << id % 64;
			*out = (u16)id;
			err = 0;
		}
	spin_unlock_irqrestore(&vtd.lock, irq);
	return err;
}

static void free_table(u64 *table, unsigned level)
{
	for (unsigned i = 0; level && i < 512; i++)
		if (table[i])
			free_table(below(table[i]), level - 1);
	page_put(virt_to_page(table));
}

void vtd_domain_destroy(struct iommu_domain *d)
{
	ulong irq = spin_lock_irqsave(&vtd.lock);

	vtd_forget_domain(d->id); /* the next with this number finds nothing of ours */
	vtd.ids[d->id / 64] &= ~(1UL << d->id % 64);
	spin_unlock_irqrestore(&vtd.lock, irq);
	free_table(d->root, d->levels - 1);
	if (d->tenant)
		tenant_put(d->tenant);
	kfree(d);
}

int vtd_domain_create(struct tenant *t, struct iommu_domain **out)
{
	struct iommu_domain *d = kzalloc(sizeof(*d), ALLOC_CHARGED);
	int err = d ? 0 : -ENOMEM;

	if (err)
		return err;
	d->levels = vtd.levels;
	d->root = new_table(t);
	err = d->root ? take_id(&d->id) : -ENOMEM;
	if (err) {
		if (d->root)
			free_table(d->root, 0);
		kfree(d);
		return err;
	}
	d->tenant = t;
	if (t)
		tenant_get(t);
	*out = d;
	return 0;
}
