/* SPDX-License-Identifier: MIT
 *
 * Problem: charge every page, task and byte to somebody, to all of his ancestors, and refuse what a limit forbids,
 * without a shared counter on every page fault.
 *
 * Idea: a charge walks up the tree and adds at each level; where a limit would be passed it takes everything back.
 * Memory goes through a stock: a CPU charges 64 pages at once for one tenant and serves single pages from them. A
 * tenant's 16-bit id stands in each page descriptor, so that freeing finds who paid.
 *
 * Contract: task/tenant.h, and the page upcalls of alloc/page.h. A tenant lives until its last page is given back.
 *
 * Locks: counters are atomic; ids_lock (RANK_TENANT) for the table of ids; the stock belongs to its CPU, IRQs off.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/tenant.h>

#include "task_priv.h"

#define STOCK_PAGES 64
#define ID_BLOCK    256

struct tenant tenant_root;
static struct tenant **ids[65536 / ID_BLOCK]; /* two levels; slots are RCU pointers */
static struct spinlock ids_lock = SPIN_INIT(RANK_TENANT);
static u16 last_id;

struct stock {
	struct tenant *tenant;
	u64 pages;
};
static DEFINE_PER_CPU(struct stock, stock);

static void init(struct tenant *t, struct tenant *parent, u16 id)
{
	t->parent = parent;
	t->id = id;
	refcount_set(&t->refs, 1);
	list_init(&t->children);
	list_init(&t->tasks);
	for (unsigned r = 0; r < RES_NR; r++) {
		t->share[r].limit = ~0ULL;
		t->share[r].weight = 100;
	}
}

struct tenant *tenant_by_id(u16 id)
{
	struct tenant **block = rcu_deref(ids[id / ID_BLOCK]);

	return block ? rcu_deref(block[id % ID_BLOCK]) : NULL;
}

/* A free id, its slot's block made if needed; 0: none left or out of memory. */
static u16 take_id(struct tenant *t)
{
	struct tenant **spare = kcalloc(ID_BLOCK, sizeof(*spare), ALLOC_KERNEL);
	ulong irq = spin_lock_irqsave(&ids_lock);
	u16 found = 0;

	for (unsigned n = 1; n < 65536 && !found; n++) {
		u16 id = last_id + n;

		if (!id)
			continue;
		if (!ids[id / ID_BLOCK] && spare) {
			rcu_assign(ids[id / ID_BLOCK], spare);
			spare = NULL;
		}
		if (ids[id / ID_BLOCK] && !ids[id / ID_BLOCK][id % ID_BLOCK])
			found = id;
	}
	if (found) {
		last_id = found;
		rcu_assign(ids[found / ID_BLOCK][found % ID_BLOCK], t);
	}
	spin_unlock_irqrestore(&ids_lock, irq);
	kfree(spare);
	return found;
}

int tenant_create(struct tenant *parent, struct tenant **out)
{
	struct tenant *t = kzalloc(sizeof(*t), ALLOC_KERNEL);
	u16 id;

	if (!t)
		return -ENOMEM;
	id = take_id(t);
	if (!id) {
		kfree(t);
		return -EAGAIN;
	}
	init(t, parent, id);
	tenant_get(parent);
	*out = t;
	return 0;
}

void tenant_get(struct tenant *t)
{
	refcount_inc(&t->refs);
}

static void free_tenant(struct rcu_head *head)
{
	kfree(container_of(head, struct tenant, rcu));
}

void tenant_put(struct tenant *t)
{
	while (t && refcount_dec_and_test(&t->refs)) {
		struct tenant *parent = t->parent;
		ulong irq = spin_lock_irqsave(&ids_lock);

		rcu_assign(ids[t->id / ID_BLOCK][t->id % ID_BLOCK], NULL);
		spin_unlock_irqrestore(&ids_lock, irq);
		rcu_call(&t->rcu, free_tenant);
		t = parent;
	}
}

static void note_peak(struct share *s, s64 use)
{
	s64 peak = atomic_read(&s->peak);

	while (use > peak && !atomic_try_cmpxchg(&s->peak, &peak, use))
		;
}

int tenant_charge(struct tenant *t, enum resource r, u64 n, int err)
{
	struct tenant *at, *undo;

	for (at = t; at; at = at->parent) {
		struct share *s = &at->share[r];
		u64 use = atomic_add_return(&s->use, (s64)n);

		if (unlikely(use > READ_ONCE(s->limit))) {
			atomic_sub(&s->use, (s64)n);
			atomic_inc(&s->failures);
			break;
		}
		note_peak(s, use);
	}
	if (!at)
		return 0;
	for (undo = t; undo != at; undo = undo->parent)
		atomic_sub(&undo->share[r].use, (s64)n);
	return -err;
}

void tenant_uncharge(struct tenant *t, enum resource r, u64 n)
{
	for (; t; t = t->parent)
		atomic_sub(&t->share[r].use, (s64)n);
}

/* ---- pages -------------------------------------------------------------------------------------- */

/* IRQs off. Pages in use hold one reference to their tenant each batch: the stock's count stands for it. */
static void drain(struct stock *s)
{
	if (!s->tenant)
		return;
	tenant_uncharge(s->tenant, RES_MEMORY, s->pages);
	tenant_put(s->tenant);
	*s = (struct stock){ NULL, 0 };
}

static bool refill(struct stock *s, struct tenant *t, u64 pages)
{
	u64 batch = pages + STOCK_PAGES;

	if (tenant_charge(t, RES_MEMORY, batch, ENOMEM)) {
		batch = pages;
		if (tenant_charge(t, RES_MEMORY, batch, ENOMEM))
			return false;
	}
	if (s->tenant != t) {
		drain(s);
		tenant_get(t);
		s->tenant = t;
	}
	s->pages += batch;
	return true;
}

int upcall_page_charge(struct tenant *t, u64 pages)
{
	ulong irq = irq_save();
	struct stock *s = this_cpu_ptr(&stock);
	int result = -ENOMEM;

	if ((s->tenant == t && s->pages >= pages) || refill(s, t, pages)) {
		s->pages -= pages;
		tenant_get(t); /* the block's own reference, dropped by uncharge */
		result = t->id;
	}
	irq_restore(irq);
	return result;
}

void upcall_page_uncharge(u16 id, u64 pages)
{
	ulong irq = irq_save();
	struct stock *s = this_cpu_ptr(&stock);
	struct tenant *t = tenant_by_id(id);

	ensure(t);
	if (s->tenant == t && s->pages + pages <= 2 * STOCK_PAGES)
		s->pages += pages;
	else
		tenant_uncharge(t, RES_MEMORY, pages);
	tenant_put(t);
	irq_restore(irq);
}

void tenant_boot(void)
{
	u16 id = take_id(&tenant_root);

	ensure(id == 1);
	init(&tenant_root, NULL, id);
}
