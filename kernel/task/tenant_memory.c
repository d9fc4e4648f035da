/* SPDX-License-Identifier: MIT
 *
 * Problem: every page of a program, of the page cache, of stacks and page tables is charged to a tenant and all above
 * it, in a few dozen instructions; and where a limit is reached, that tenant's own pages go first, then one of its
 * processes, and never a neighbour's.
 *
 * Idea: a stock a CPU holds one tenant's prepaid pages, taken 64 at a time, so most charges touch one per-CPU word. A
 * charge that a limit refuses reclaims within that limit, then kills within it, then fails. memory.high only marks the
 * task: it reclaims, or pauses, before it returns to user mode, where it holds nothing that others wait for; there it
 * also makes up for objects that went above memory.max because nobody could wait.
 *
 *      charge --> stock --> tree --limit of A--> reclaim below A --nothing--> kill below A --nobody--> -ENOMEM
 *
 * A tenant keeps a reference of itself while pages of its own are charged, so a removed one lives until the last page
 * goes.
 *
 * Contract: task/tenant.h; upcall_page_charge of alloc/page.h. The stock is given back when the CPU charges another
 * tenant, or by tenant_drain (a limit that seems reached may only be stocked elsewhere). Protection: a tenant's pages
 * are spared while it uses no more than what it keeps of its memory.min (or low): what siblings claim, each as far as
 * it uses it, is cut in proportion to what their parent keeps.
 *
 * Locks: none; IRQs off for the stock.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/clock.h>
#include <core/irq.h>
#include <lib/err.h>
#include <task/sched.h>
#include <task/task.h>
#include <task/tenant.h>
#include "tenant_priv.h"

#define STOCK         64
#define TRIES         16 /* rounds of reclaim that brought something, before somebody is killed */
#define KILLS         8
#define PAUSE_MAX_NS  (2 * NSEC_PER_SEC)
#define RECLAIM_BATCH 32UL

struct stock {
	struct tenant *tenant; /* counted */
	u64 pages;
};
static DEFINE_PER_CPU(struct stock, stock);

/* ---- pages in the tree ------------------------------------------------------------------------------------ */

static void own_add(struct tenant *t, u64 n)
{
	if (atomic_add_return(&t->own_pages, (s64)n) == (s64)n)
		tenant_get(t);
}

static void give_back(struct tenant *t, u64 n)
{
	tenant_take_back(t, NULL, RES_MEMORY, n);
	if (atomic_sub_return(&t->own_pages, (s64)n) == 0)
		tenant_put(t);
}

/* -ENOMEM: *full has no room. */
static int take_from(struct tenant *t, u64 n, struct tenant **full)
{
	for (struct tenant *a = t; a; a = a->parent) {
		struct share *s = &a->share[RES_MEMORY];
		s64 use = atomic_add_return(&s->use, (s64)n);

		if (unlikely((u64)use > READ_ONCE(s->limit))) {
			tenant_take_back(t, a->parent, RES_MEMORY, n);
			*full = a;
			return -ENOMEM;
		}
		tenant_note_peak(s, use);
	}
	own_add(t, n);
	return 0;
}

static void take_anyway(struct tenant *t, u64 n)
{
	for (struct tenant *a = t; a; a = a->parent)
		tenant_note_peak(&a->share[RES_MEMORY], atomic_add_return(&a->share[RES_MEMORY].use, (s64)n));
	own_add(t, n);
}

static bool is_over(const struct tenant *t, u64 limit)
{
	return (u64)atomic_read(&t->share[RES_MEMORY].use) > limit;
}

/* ---- the stock ---------------------------------------------------------------------------------------------- */

/* IRQs off. */
static void stock_drop(struct stock *s)
{
	struct tenant *t = s->tenant;

	if (!t)
		return;
	if (s->pages)
		give_back(t, s->pages);
	s->tenant = NULL;
	s->pages = 0;
	tenant_put(t);
}

static void stock_drop_call(void *arg)
{
	stock_drop(this_cpu_ptr(&stock));
}

void tenant_drain(void)
{
	cpu_call(cpu_online_mask(), stock_drop_call, NULL);
}

/* Something to do before current returns to user mode: tenant_high_point. Also from a deferred job: what it delivers is
 * often what current has sent. */
static void mark_high(struct tenant *t)
{
	if (!current->process)
		return;
	for (; t; t = t->parent)
		if (unlikely(is_over(t, min(READ_ONCE(t->memory.high), READ_ONCE(t->share[RES_MEMORY].limit))) ||
			     (u64)atomic_read(&t->share[RES_SWAP].use) > READ_ONCE(t->memory.swap_high))) {
			__atomic_fetch_or(&current->work, WORK_MEMORY, __ATOMIC_SEQ_CST);
			return;
		}
}

/* Takes pages and a new stock, or just the pages. */
static int charge_now(struct tenant *t, u64 pages, struct tenant **full)
{
	ulong flags = irq_save();
	struct stock *s = this_cpu_ptr(&stock);
	int err;

	if (pages <= STOCK && !take_from(t, pages + STOCK, full)) {
		if (s->tenant != t) {
			stock_drop(s);
			tenant_get(t);
			s->tenant = t;
		}
		s->pages += STOCK;
		err = 0;
	} else {
		err = take_from(t, pages, full);
	}
	irq_restore(flags);
	return err;
}

/* A limit was in the way, and the caller may wait. */
static int make_room(struct tenant *t, u64 pages, struct tenant *full)
{
	int tries = 0, kills = 0;

	tenant_drain();
	while (charge_now(t, pages, &full)) {
		u64 freed;

		if (upcall_alloc_is_dying()) {
			take_anyway(t, pages);
			return 0;
		}
		tenant_memory_event(full, MEMORY_MAX);
		freed = upcall_reclaim(full, max(pages, RECLAIM_BATCH));
		if (freed && tries++ < TRIES && !upcall_reclaim_is_vain(full))
			continue;
		tenant_memory_event(full, MEMORY_OOM);
		if (kills++ == KILLS || !upcall_out_of_memory(full))
			return -ENOMEM;
		tries = 0;
	}
	return 0;
}

static int charge_hard(struct tenant *t, u64 pages, unsigned flags, struct tenant *full)
{
	int err;

	if (upcall_alloc_in_reclaim()) { /* it takes a little to give much back */
		take_anyway(t, pages);
		return 0;
	}
	if (flags & (ALLOC_TRY | ALLOC_ATOMIC) || !upcall_alloc_may_sleep())
		return -ENOMEM;
	psi_stall_begin();
	err = make_room(t, pages, full);
	psi_stall_end();
	return err;
}

int upcall_page_charge(struct tenant *t, u64 pages, unsigned flags)
{
	ulong irq = irq_save();
	struct stock *s = this_cpu_ptr(&stock);
	struct tenant *full = NULL;
	int err = 0;

	if (likely(s->tenant == t && s->pages >= pages)) {
		s->pages -= pages;
		irq_restore(irq);
		return t->id;
	}
	irq_restore(irq);
	if (unlikely(charge_now(t, pages, &full)))
		err = charge_hard(t, pages, flags, full);
	mark_high(t);
	return err ? err : t->id;
}

void upcall_page_uncharge(u16 id, u64 pages)
{
	ulong flags = irq_save();
	struct stock *s = this_cpu_ptr(&stock);

	if (s->tenant && s->tenant->id == id) {
		s->pages += pages;
		if (s->pages > 2 * STOCK) { /* at once, and not page by page from now on */
			give_back(s->tenant, s->pages - STOCK);
			s->pages = STOCK;
		}
	} else {
		struct tenant *t = tenant_by_id(id);

		if (t)
			give_back(t, pages);
	}
	irq_restore(flags);
}

/* ---- the kernel's objects ---------------------------------------------------------------------------------- */

/* Whole pages for n more bytes than `before`. */
static u64 more_pages(s64 before, u64 n)
{
	return DIV_ROUND_UP((u64)before + n, PAGE_SIZE) - DIV_ROUND_UP((u64)before, PAGE_SIZE);
}

static int charge_pages(struct tenant *t, u64 pages, unsigned flags)
{
	int err = t->id;

	if (flags & ALLOC_ATOMIC) {
		take_anyway(t, pages);
		mark_high(t);
	} else {
		err = upcall_page_charge(t, pages, flags);
	}
	return err;
}

/* Under RCU, which it leaves. t has a reference that lasts until then: a task's, or that of the pages it pays for. */
static int charge_object(struct tenant *t, u64 bytes, unsigned flags)
{
	u64 pages;
	int id;

	if (!t || !t->parent) {
		rcu_read_unlock();
		return 0;
	}
	pages = more_pages(atomic_fetch_add(&t->object_bytes, (s64)bytes), bytes);
	if (pages)
		tenant_get(t); /* it may move, or go, in what follows */
	id = t->id;
	rcu_read_unlock();
	if (!pages)
		return id;
	id = charge_pages(t, pages, flags);
	if (id < 0)
		atomic_sub(&t->object_bytes, (s64)bytes);
	tenant_put(t);
	return id;
}

int upcall_object_charge(u64 bytes, unsigned flags)
{
	if (in_irq())
		return 0;
	rcu_read_lock();
	return charge_object(rcu_deref(current->tenant), bytes, flags);
}

int upcall_object_charge_to(u16 id, u64 bytes, unsigned flags)
{
	rcu_read_lock();
	return charge_object(tenant_by_id(id), bytes, flags);
}

struct tenant *upcall_page_payer(void)
{
	return in_irq() ? NULL : current->tenant;
}

void upcall_object_uncharge(u16 id, u64 bytes)
{
	struct tenant *t;
	u64 pages = 0;

	rcu_read_lock();
	t = tenant_by_id(id);
	if (t)
		pages = more_pages(atomic_sub_return(&t->object_bytes, (s64)bytes), bytes);
	rcu_read_unlock();
	if (pages)
		upcall_page_uncharge(id, pages);
}

/* ---- whose pages -------------------------------------------------------------------------------------------- */

bool tenant_page_is_below(u16 id, const struct tenant *top)
{
	bool below;

	if (!top || !top->parent)
		return true;
	if (!id)
		return false;
	rcu_read_lock();
	below = tenant_is_below(tenant_by_id(id), top);
	rcu_read_unlock();
	return below;
}

static bool is_protected(const struct tenant *t, const struct tenant *top, bool low)
{
	u64 spared = max(READ_ONCE(t->memory.kept_min), low ? READ_ONCE(t->memory.kept_low) : 0);

	return spared && t != top && !is_over(t, spared);
}

static u64 use_of(const struct tenant *t)
{
	return (u64)max((s64)atomic_read(&t->share[RES_MEMORY].use), (s64)0);
}

/* A child claims what it uses of its protection; claims above what the parent keeps are cut in proportion. */
static u64 part_of_claim(u64 claim, u64 claims, u64 kept)
{
	return claims > kept ? kept * claim / claims : claim;
}

void tenant_protect_children(struct tenant *t, bool is_top)
{
	u64 mins = 0, lows = 0;
	struct tenant *c;

	list_for_each_entry (c, &t->children, sibling) {
		mins += min(READ_ONCE(c->memory.min), use_of(c));
		lows += min(READ_ONCE(c->memory.low), use_of(c));
	}
	list_for_each_entry (c, &t->children, sibling) {
		u64 use = use_of(c), claim_min = min(READ_ONCE(c->memory.min), use),
		    claim_low = min(READ_ONCE(c->memory.low), use);

		WRITE_ONCE(c->memory.kept_min, is_top ? claim_min : part_of_claim(claim_min, mins, t->memory.kept_min));
		WRITE_ONCE(c->memory.kept_low, is_top ? claim_low : part_of_claim(claim_low, lows, t->memory.kept_low));
	}
}

bool tenant_may_reclaim(u16 id, const struct tenant *top, bool low)
{
	const struct tenant *t;
	bool may = true;

	if (!id)
		return !top || !top->parent;
	rcu_read_lock();
	t = tenant_by_id(id);
	if (top && top->parent)
		may = tenant_is_below(t, top);
	may = may && !is_protected(t, top, low);
	rcu_read_unlock();
	return may;
}

/* ---- counting ------------------------------------------------------------------------------------------------- */

void tenant_memory_event(struct tenant *t, enum memory_event e)
{
	atomic_inc(&t->memory.local[e]);
	for (struct tenant *a = t; a; a = a->parent) {
		atomic_inc(&a->memory.events[e]);
		__atomic_fetch_add(&a->memory.version, 1, __ATOMIC_RELEASE);
	}
	if (tenant_changed_hook)
		tenant_changed_hook();
}

void tenant_memory_count(u16 id, enum memory_count c, u64 pages)
{
	if (!id || !pages)
		return;
	rcu_read_lock();
	for (struct tenant *t = tenant_by_id(id); t; t = t->parent)
		atomic_add(&t->memory.count[c], (s64)pages);
	rcu_read_unlock();
}

void tenant_memory_kind(u16 id, enum memory_kind k, s64 pages)
{
	struct tenant *t;

	if (!id)
		return;
	rcu_read_lock();
	t = tenant_by_id(id);
	if (t)
		atomic_add(&t->memory.kind[k], pages);
	rcu_read_unlock();
}

/* ---- above memory.high, or a lowered limit ---------------------------------------------------------------------- */

static u64 excess(const struct tenant *t, u64 limit)
{
	u64 use = (u64)max((s64)atomic_read(&t->share[RES_MEMORY].use), (s64)0);

	return use > limit ? use - limit : 0;
}

/* The further above, the longer, so that whoever runs away is caught. */
static void pause_above(u64 over, u64 high)
{
	u64 ns = min(PAUSE_MAX_NS, over * 8 * PAUSE_MAX_NS / max(high, 1UL));

	sched_set_state(TASK_KILLABLE);
	(void)!sched_sleep_until(clock_ns() + ns);
}

static void pause_for_swap(struct tenant *t)
{
	for (; t; t = t->parent) {
		u64 high = READ_ONCE(t->memory.swap_high),
		    use = (u64)max((s64)atomic_read(&t->share[RES_SWAP].use), (s64)0);

		if (use <= high || upcall_alloc_is_dying())
			continue;
		tenant_memory_event(t, MEMORY_SWAP_HIGH);
		pause_above(use - high, high);
	}
}

void tenant_high_point(void)
{
	struct tenant *t;

	psi_stall_begin();
	task_clear_work(current, WORK_MEMORY);
	rcu_read_lock();
	t = rcu_deref(current->tenant);
	tenant_get(t); /* current holds it: it cannot be at zero */
	rcu_read_unlock();
	for (struct tenant *g = t; g; g = g->parent) {
		u64 high = READ_ONCE(g->memory.high), over = excess(g, high);

		if (unlikely(excess(g, READ_ONCE(g->share[RES_MEMORY].limit))))
			tenant_shrink_to(g, READ_ONCE(g->share[RES_MEMORY].limit), true);

		if (!over)
			continue;
		tenant_memory_event(g, MEMORY_HIGH);
		for (int i = 0; i < TRIES && over; i++) {
			if (!upcall_reclaim(g, min(over, 4 * RECLAIM_BATCH)))
				break;
			over = excess(g, high);
		}
		if (over > STOCK && !upcall_alloc_is_dying())
			pause_above(over, high);
	}
	pause_for_swap(t);
	tenant_put(t);
	psi_stall_end();
}

void tenant_shrink_to(struct tenant *t, u64 pages, bool kill)
{
	int kills = 0;

	if (excess(t, pages))
		tenant_drain();
	for (int i = 0; excess(t, pages) && !upcall_alloc_is_dying(); i++) {
		if (upcall_reclaim(t, max(excess(t, pages), RECLAIM_BATCH)) && i < 64 * TRIES &&
		    !(kill && upcall_reclaim_is_vain(t)))
			continue;
		if (!kill || kills++ == 64)
			break;
		tenant_memory_event(t, MEMORY_OOM);
		if (!upcall_out_of_memory(t))
			break;
	}
}
