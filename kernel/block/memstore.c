/* SPDX-License-Identifier: MIT
 *
 * Problem: more than one driver makes disks of memory: as fast as memory, or with a service time of their own.
 *
 * Idea: an xarray from page number to page, filled as sectors are written; what was never written reads as zeros.
 * Discarded pages go back to the allocator.
 *
 * Contract: block/memstore.h.
 *
 * Locks: store->lock (RANK_DRIVER, irqsave) covers changes of the tree; look-ups run under RCU, and pages that leave
 * are freed after a grace period.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <block/memstore.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/cache.h>

struct leaving { /* pages that readers may still be copying from */
	struct rcu_head rcu;
	unsigned nr;
	struct page *pages[62];
};

/* The page for what was never written. NULL: no memory. */
static struct page *make_page(struct memstore *d, u64 index)
{
	struct page *fresh = page_alloc(0, ALLOC_ZERO | ALLOC_ATOMIC, NULL), *p;
	ulong irq;

	if (!fresh)
		return NULL;
	irq = spin_lock_irqsave(&d->lock);
	p = xa_load(&d->pages, index);
	if (!p && !xa_store(&d->pages, index, fresh, NULL)) {
		p = fresh;
		fresh = NULL;
	}
	spin_unlock_irqrestore(&d->lock, irq);
	if (fresh)
		page_put(fresh);
	return p;
}

/* Within one page of the disk. Inline, for the usual whole page needs no look at lengths. */
static __always_inline int move_part(struct memstore *d, u64 index, u32 offset, u8 *mem, u32 bytes, bool write)
{
	struct page *p;

	rcu_read_lock();
	p = xa_load(&d->pages, index);
	if (!p && write)
		p = make_page(d, index);
	if (p && write)
		memcpy((u8 *)page_virt(p) + offset, mem, bytes);
	else if (p)
		memcpy(mem, (u8 *)page_virt(p) + offset, bytes);
	else if (!write)
		memset(mem, 0, bytes);
	rcu_read_unlock();
	return p || !write ? 0 : -ENOSPC;
}

static int move_page(struct memstore *d, u64 index, u8 *mem, bool write)
{
	return move_part(d, index, 0, mem, PAGE_SIZE, write);
}

/* One vector, from byte `at` of the disk on. */
static int move(struct memstore *d, u64 at, u8 *mem, u32 bytes, bool write)
{
	int err = 0;

	while (bytes && !err) {
		u32 offset = at % PAGE_SIZE, n = min(bytes, (u32)PAGE_SIZE - offset);

		err = move_part(d, at / PAGE_SIZE, offset, mem, n, write);
		at += n;
		mem += n;
		bytes -= n;
	}
	return err;
}

static void free_leaving(struct rcu_head *head)
{
	struct leaving *l = container_of(head, struct leaving, rcu);

	for (unsigned i = 0; i < l->nr; i++)
		page_put(l->pages[i]);
	kfree(l);
}

/* Takes out the next pages of [*index, end). False: none is left, or no memory to remember them. */
static bool take_out(struct memstore *d, u64 *index, u64 end)
{
	struct leaving *l = kmalloc(sizeof(*l), ALLOC_ATOMIC);
	struct page *p;
	ulong irq;

	if (!l)
		return false;
	l->nr = 0;
	irq = spin_lock_irqsave(&d->lock);
	while (l->nr < ARRAY_SIZE(l->pages) && *index < end && (p = xa_find(&d->pages, index, end - 1))) {
		xa_erase(&d->pages, (*index)++);
		l->pages[l->nr++] = p;
	}
	spin_unlock_irqrestore(&d->lock, irq);
	if (!l->nr) {
		kfree(l);
		return false;
	}
	rcu_call(&l->rcu, free_leaving);
	return true;
}

static int zero_part(struct memstore *d, u64 at, u64 end)
{
	struct page *p;

	rcu_read_lock();
	p = at < end ? xa_load(&d->pages, at / PAGE_SIZE) : NULL;
	if (p)
		memset((u8 *)page_virt(p) + at % PAGE_SIZE, 0, end - at);
	rcu_read_unlock();
	return 0;
}

/* Whole pages go; the parts of pages at the ends are cleared. */
static int erase(struct memstore *d, u64 at, u64 bytes)
{
	u64 end = at + bytes, first = ALIGN_UP(at, PAGE_SIZE), last = ALIGN_DOWN(end, PAGE_SIZE), index;

	if (first > last)
		return zero_part(d, at, end);
	zero_part(d, at, first);
	zero_part(d, last, end);
	index = first / PAGE_SIZE;
	while (take_out(d, &index, last / PAGE_SIZE))
		;
	rcu_read_lock();
	for (; index < last / PAGE_SIZE; index++) { /* memory was short: cleared at least */
		struct page *p = xa_find(&d->pages, &index, last / PAGE_SIZE - 1);

		if (!p)
			break;
		memset(page_virt(p), 0, PAGE_SIZE);
	}
	rcu_read_unlock();
	return 0;
}

void memstore_init(struct memstore *d)
{
	spin_init(&d->lock, RANK_DRIVER);
	xa_init(&d->pages, &vfs_xa_mem);
}

int memstore_do(struct memstore *d, const struct bio *b)
{
	u64 at = b->sector << SECTOR_SHIFT;
	int err = 0;

	if (b->op == BLOCK_FLUSH)
		return 0;
	if (b->op != BLOCK_READ && b->op != BLOCK_WRITE)
		return erase(d, at, b->bytes);
	for (unsigned i = 0; i < b->nr_vecs && !err; i++) {
		const struct bio_vec *v = &b->vecs[i];
		u8 *mem = (u8 *)page_virt(v->page) + v->offset;

		if (v->bytes == PAGE_SIZE && at % PAGE_SIZE == 0)
			err = move_page(d, at / PAGE_SIZE, mem, b->op == BLOCK_WRITE);
		else
			err = move(d, at, mem, v->bytes, b->op == BLOCK_WRITE);
		at += v->bytes;
	}
	return err;
}
