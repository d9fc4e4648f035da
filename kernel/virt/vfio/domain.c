/* SPDX-License-Identifier: MIT
 *
 * Problem: a function that reaches memory by itself cannot ask at each access; what it may touch must be laid down
 * before, and must not move or go while it is.
 *
 * Idea: a container with such a device has an IOMMU domain that holds all its maps. A page that is mapped is pinned,
 * and the domain's own tables are the only record of the pins: unmapping looks up what was there, makes the IOMMU
 * forget it, and only then gives it back. Pins count against the limit of who mapped; the pages are charged to whom
 * they belong.
 *
 *      MAP_DMA --> pin, enter, page by page        UNMAP_DMA --> look up, clear, IOMMU forgets --> unpin
 *      a function's file: open --> attached;       closed --> shut out
 *
 * A function can also raise interrupts that are not its own, by writing messages; nothing here prevents that. So none
 * is attached unless the administrator says vfio_iommu_type1.allow_unsafe_interrupts=1, as Linux wants it in this case.
 *
 * Contract: vfio_priv.h. The addresses at which messages of interrupts are written are no memory: they cannot be
 * mapped.
 *
 * Locks: vfio_lock held by every caller.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <core/log.h>
#include <device/iommu.h>
#include <lib/err.h>
#include <linux/stat.h>
#include <mm/mm.h>
#include <task/sched.h>
#include <task/task.h>
#include "vfio_priv.h"

#define BATCH           (PAGE_SIZE / sizeof(paddr_t))
#define PINS            32
#define MESSAGES        0xfee00000ULL
#define BEHIND_MESSAGES 0xfef00000ULL

static u64 last_address(void)
{
	return (1ULL << iommu()->address_bits) - 1;
}

unsigned domain_ranges(const struct vfio_container *c, struct vfio_iova_range out[DOMAIN_RANGES])
{
	if (!c->domain) {
		out[0] = (struct vfio_iova_range){ 0, ~0ULL };
		return 1;
	}
	out[0] = (struct vfio_iova_range){ 0, MESSAGES - 1 };
	out[1] = (struct vfio_iova_range){ BEHIND_MESSAGES, last_address() };
	return 2;
}

bool domain_reaches(const struct vfio_container *c, u64 first, u64 last)
{
	return last <= last_address() && (last < MESSAGES || first >= BEHIND_MESSAGES);
}

/* ---- maps ---- */

/* Memory that is only read is pinned for writing if it can be: else what the program writes later would go to a copy.
 */
static int pin(const struct dma_map *m, ulong address, unsigned n, struct page **pages)
{
	int got = mm_pin_user(m->mm, address, n, true, pages);

	return got > 0 || m->write ? got : mm_pin_user(m->mm, address, n, false, pages);
}

/* Of n pinned pages; *entered counts those that are in. The others are given back. */
static int enter_pages(struct vfio_container *c, u64 iova, struct page **pages, unsigned n, unsigned rights,
		       u64 *entered)
{
	int err = 0;

	for (unsigned i = 0; i < n; i++) {
		if (!err)
			err = iommu()->map(c->domain, iova + i * PAGE_SIZE, page_phys(pages[i]), rights);
		if (err) {
			page_put(page_head(pages[i]));
			continue;
		}
		atomic_inc(&c->pinned);
		(*entered)++;
	}
	return err;
}

/* How many pages are in is in *entered, also on failure. */
static int enter(struct vfio_container *c, const struct dma_map *m, u64 *entered)
{
	unsigned rights = (m->read ? IOMMU_READ : 0) | (m->write ? IOMMU_WRITE : 0);
	u64 all = m->bytes >> PAGE_SHIFT;
	struct page *pages[PINS];
	int err = 0;

	*entered = 0;
	while (*entered < all && !err) {
		u64 at = *entered << PAGE_SHIFT;
		unsigned n = min((u64)PINS, all - *entered);
		int got;

		if (fatal_signal_pending(current))
			return -EINTR;
		if ((u64)atomic_read(&c->pinned) + n > m->limit_pages)
			return -ENOMEM;
		got = pin(m, m->address + at, n, pages);
		if (got <= 0)
			return got ? got : -EFAULT;
		err = enter_pages(c, m->iova + at, pages, (unsigned)got, rights, entered);
		resched_point();
	}
	return err;
}

static void leave(struct vfio_container *c, u64 iova, u64 bytes)
{
	for (u64 done = 0; done < bytes;) {
		unsigned n = min((u64)BATCH, (bytes - done) >> PAGE_SHIFT);

		for (unsigned i = 0; i < n; i++)
			c->batch[i] = iommu()->find(c->domain, iova + done + i * PAGE_SIZE);
		iommu()->unmap(c->domain, iova + done, n * PAGE_SIZE);
		for (unsigned i = 0; i < n; i++)
			page_put(page_head(pfn_to_page(c->batch[i] >> PAGE_SHIFT)));
		atomic_sub(&c->pinned, n);
		done += n * PAGE_SIZE;
		resched_point();
	}
}

int domain_map(struct vfio_container *c, const struct dma_map *m)
{
	u64 entered;
	int err = enter(c, m, &entered);

	if (err)
		leave(c, m->iova, entered << PAGE_SHIFT);
	return err;
}

void domain_unmap(struct vfio_container *c, const struct dma_map *m)
{
	leave(c, m->iova, m->bytes);
}

/* ---- the domain ---- */

static int create(struct vfio_container *c)
{
	int err;

	c->batch = kmalloc(PAGE_SIZE, ALLOC_CHARGED);
	if (!c->batch)
		return -ENOMEM;
	err = iommu()->create(current->tenant, &c->domain);
	if (err) {
		kfree(c->batch);
		c->batch = NULL;
	}
	return err;
}

/* Maps that were made before there was a domain. */
static int enter_all(struct vfio_container *c)
{
	struct rb_node *n, *last = NULL;
	int err = 0;

	for (n = rb_first(&c->maps); n && !err; n = rb_next(n)) {
		struct dma_map *m = rb_entry(n, struct dma_map, node);

		err = domain_reaches(c, m->iova, m->iova + (m->bytes - 1)) ? domain_map(c, m) : -EINVAL;
		if (!err)
			last = n;
	}
	for (n = last; err && n; n = rb_prev(n))
		domain_unmap(c, rb_entry(n, struct dma_map, node));
	return err;
}

static bool is_needed(const struct vfio_container *c)
{
	struct vfio_group *g;

	list_for_each_entry (g, &c->groups, link)
		if (g->device && g->device->function)
			return true;
	return false;
}

static bool is_allowed(void)
{
	if (boot_param_u64("vfio_iommu_type1.allow_unsafe_interrupts", 1, 0))
		return true;
	log_warn("vfio: devices can raise any interrupt: vfio_iommu_type1.allow_unsafe_interrupts=1 accepts that");
	return false;
}

int domain_need(struct vfio_container *c)
{
	int err;

	assert(mutex_is_held(&vfio_lock));
	if (c->domain || !is_needed(c))
		return 0;
	err = is_allowed() ? create(c) : -EPERM;
	if (err)
		return err;
	err = enter_all(c);
	if (err)
		domain_drop(c);
	return err;
}

void domain_drop(struct vfio_container *c)
{
	if (!c->domain)
		return;
	iommu()->destroy(c->domain);
	kfree(c->batch);
	c->domain = NULL;
	c->batch = NULL;
}

int domain_attach(struct vfio_device *d)
{
	return d->function ? iommu()->attach(d->function, d->group->container->domain) : 0;
}

void domain_detach(struct vfio_device *d)
{
	if (d->function)
		ensure(!iommu()->attach(d->function, NULL)); /* its bus has a table of its own already */
}
