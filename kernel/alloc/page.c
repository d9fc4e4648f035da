/* SPDX-License-Identifier: MIT
 *
 * Problem: hand out physical pages in blocks of 2^n, quickly on every CPU, on machines from 16 MiB
 * to 64 GiB.
 *
 * Idea: a buddy system a node (buddy.c), filled chunk by chunk (chunks.c), and a list of single pages a CPU in front
 * of it. On a machine of one node without page colouring nothing is chosen: single pages come from the CPU's list.
 * Behind one static branch, page_placed, are colours and several nodes (nodes.c): then a list holds pages of its CPU's
 * own node only, and the others' come from the shared lists.
 *
 *   free block   head: PAGE_FREE | order, on its list; the others: flags 0
 *   used block   head: order, refs >= 1; tails: PAGE_TAIL, owner = head
 *
 * Contract: alloc/page.h. The last `reserve` pages of a node are for ALLOC_ATOMIC and for reclaim itself. Nodes are
 * asked by distance; memory is reclaimed when none of those that are allowed has any.
 *
 * Locks: node->lock (RANK_PAGES, irqsave) guards free lists; a CPU's list is used with IRQs off.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "alloc_priv.h"
#include "page_priv.h"
#include "trace.h"

#define CPU_BATCH 32
#define CPU_HIGH  128

struct node nodes[MAX_NODES];
DEFINE_PER_CPU(struct cpu_list, cpu_list);
DEFINE_STATIC_KEY(page_placed);
static const struct page_place anywhere = { .only = ~0ULL };

void make_block(struct page *p, unsigned order)
{
	p->flags = (u16)order;
	atomic_set(&p->mapcount, 0);
	p->index = 0;
	p->owner = NULL;
	p->next = p->prev = 0;
	atomic_set(&p->refs, 1);
	for (unsigned i = 1; i < 1U << order; i++) {
		p[i].flags = PAGE_TAIL;
		p[i].owner = p;
		atomic_set(&p[i].mapcount, 0);
		atomic_set(&p[i].refs, 0);
	}
}

/* ---- allocation ------------------------------------------------------------------------------------------ */

static void cpu_refill(struct cpu_list *l, struct node *n)
{
	spin_lock(&n->lock);
	while (l->count < CPU_BATCH && n->b.free > n->reserve) {
		u32 pfn = buddy_take(&n->b, 0);

		if (!pfn)
			break;
		pages[pfn].next = l->head;
		l->head = pfn;
		l->count++;
	}
	n->refilled += l->count;
	spin_unlock(&n->lock);
}

static void cpu_drain(struct cpu_list *l, u32 keep)
{
	struct node *locked = NULL;

	while (l->count > keep) {
		u32 pfn = l->head;
		struct node *n = node_of(pfn);

		l->head = pages[pfn].next;
		l->count--;
		if (n != locked) {
			if (locked)
				spin_unlock(&locked->lock);
			spin_lock(&n->lock);
			locked = n;
		}
		buddy_free(&n->b, pfn, 0);
	}
	if (locked)
		spin_unlock(&locked->lock);
}

static u32 take_single(struct node *n)
{
	ulong flags = irq_save();
	struct cpu_list *l = this_cpu_ptr(&cpu_list);
	u32 pfn;

	if (unlikely(!l->count))
		cpu_refill(l, n);
	pfn = l->head;
	if (l->count) {
		l->head = pages[pfn].next;
		l->count--;
	} else {
		pfn = 0;
	}
	irq_restore(flags);
	return pfn;
}

static u32 take_shared(struct node *n, unsigned order, bool all)
{
	u32 pfn = 0;

	do {
		ulong flags = spin_lock_irqsave(&n->lock);

		if (all || n->b.free > n->reserve + (1UL << order))
			pfn = buddy_take(&n->b, order);
		spin_unlock_irqrestore(&n->lock, flags);
	} while (!pfn && node_grow(n));
	return pfn;
}

/* By distance. */
static u32 take_near(unsigned near, nodemask_t only, unsigned order, bool all)
{
	const struct node *to = &nodes[near];
	u32 pfn = 0;

	for (unsigned i = 0; !pfn && i < to->nr_nearest; i++)
		if (node_has(only, to->nearest[i]))
			pfn = take_shared(&nodes[to->nearest[i]], order, all);
	return pfn;
}

/* ---- colouring: all of it behind the static branch ------------------------------------------------------- */

static struct {
	u64 all;                  /* every colour */
	u64 kernel;               /* where the kernel's own pages and the page cache go as long as there is room */
	u64 user[COLOUR_CLASSES]; /* by class; never 0 */
	unsigned (*user_class)(void);
	u32 next[COLOUR_MAX]; /* spreads pages evenly over a mask; by its lowest colour, so that masks apart spread
				 apart */
} colouring;

static u32 take_coloured_from(struct node *n, u64 mask, bool urgent)
{
	u32 pfn = 0, first = __atomic_fetch_add(&colouring.next[__builtin_ctzll(mask)], 1, __ATOMIC_RELAXED);

	do {
		ulong flags = spin_lock_irqsave(&n->lock);

		if (urgent || n->b.free > n->reserve + 1)
			pfn = buddy_take_coloured(&n->b, mask, first);
		spin_unlock_irqrestore(&n->lock, flags);
	} while (!pfn && node_grow(n));
	return pfn;
}

static u32 take_colours(const struct page_place *w, u64 mask, bool urgent)
{
	const struct node *near = &nodes[w->near];
	u32 pfn = 0;

	for (unsigned i = 0; !pfn && i < near->nr_nearest; i++)
		if (node_has(w->only, near->nearest[i]))
			pfn = take_coloured_from(&nodes[near->nearest[i]], mask, urgent);
	return pfn;
}

/* A user's mask is a limit: when its colours are used up, others do not help. */
static u32 take_limited(const struct page_place *w, u64 mask, unsigned flags)
{
	bool urgent = (flags & ALLOC_ATOMIC) || upcall_alloc_in_reclaim();
	u32 pfn = take_colours(w, mask, urgent);

	for (int tries = 0; !pfn && !urgent && upcall_alloc_may_sleep() && tries < 8; tries++) {
		u64 freed = upcall_reclaim(NULL, 64);

		pfn = take_colours(w, mask, false);
		if (!freed && !pfn)
			break;
	}
	return pfn;
}

static u64 user_mask(void)
{
	return READ_ONCE(colouring.user[colouring.user_class() % COLOUR_CLASSES]);
}

/* Single pages by colour. 0: none, or a request that colours say nothing about. */
static u32 take_by_colour(const struct page_place *w, unsigned flags)
{
	u64 mask = flags & ALLOC_USER ? user_mask() : READ_ONCE(colouring.kernel);

	if ((flags & ALLOC_USER) && mask != colouring.all)
		return take_limited(w, mask, flags);
	return take_colours(w, mask, false);
}

/* A user's class whose mask is not full gets its colours or nothing: no blocks that hold them all. */
static bool colour_limited(unsigned flags)
{
	return (flags & ALLOC_USER) && user_mask() != colouring.all;
}

/* ---- the way around the CPU's list, and what to do when there is little ------------------------------------- */

#define RECLAIM_TRIES 64
#define KILLS         8 /* processes that may die for one allocation */
#define COSTLY_ORDER  3 /* nobody dies for a larger block: it is the neighbourhood that is missing, not memory */

/* Memory is short: reclaims, and kills when that brings nothing, or nothing that lasts. Where only some nodes are
 * allowed nobody dies for it: most that could be killed are elsewhere. */
static u32 take_reclaiming(const struct page_place *w, unsigned order)
{
	bool anybody = !(node_memory_mask() & ~w->only);
	u32 pfn = 0;

	for (int tries = 0, kills = 0; !pfn; tries++) {
		u64 freed = upcall_reclaim(NULL, max(32UL, 2UL << order));
		bool vain = upcall_reclaim_is_vain(NULL);

		page_drain_cpu();
		pfn = take_near(w->near, w->only, order, upcall_alloc_is_dying());
		if (!vain && (pfn || (freed && tries < RECLAIM_TRIES)))
			continue;
		if (order > COSTLY_ORDER || kills++ == KILLS || !anybody || !upcall_out_of_memory(NULL))
			break;
		tries = 0;
	}
	return pfn;
}

/* From the shared lists. */
static __noinline u32 take_slowly(const struct page_place *w, unsigned order, unsigned flags)
{
	bool urgent = (flags & ALLOC_ATOMIC) || upcall_alloc_in_reclaim();
	u32 pfn = 0;

	if (w->wish)
		pfn = take_near(w->near, w->wish & w->only, order, false);
	if (!pfn)
		pfn = take_near(w->near, w->only, order, false);
	if (!pfn && urgent)
		pfn = take_near(w->near, w->only, order, true);
	if (pfn || urgent || (flags & ALLOC_TRY) || !upcall_alloc_may_sleep())
		return pfn;
	upcall_memory_stall(true);
	pfn = take_reclaiming(w, order);
	upcall_memory_stall(false);
	return pfn;
}

static u32 take_placed(const struct page_place *w, unsigned order, unsigned flags)
{
	u32 pfn = 0;

	if (static_branch(&page_colouring)) {
		if (!order)
			pfn = take_by_colour(w, flags);
		if (!pfn && colour_limited(flags))
			return 0;
	} else if (!order) {
		struct node *n = node_nearest(w->near, w->wish ? w->wish & w->only : w->only);

		if (n == &nodes[node_of_cpu(cpu_id())])
			pfn = take_single(n);
	}
	if (!pfn)
		pfn = take_slowly(w, order, flags);
	if (pfn && node_count() > 1)
		nodes_count(w, pfn);
	return pfn;
}

/* Colours, or several nodes. where NULL: as current's policy has it. */
static __noinline u32 take_chosen(const struct page_place *where, unsigned order, unsigned flags, struct tenant *tenant)
{
	struct page_place own = anywhere;

	if (!where && node_count() > 1)
		upcall_alloc_place(tenant, order, &own);
	return take_placed(where ? where : &own, order, flags);
}

static __always_inline u32 take(const struct page_place *where, unsigned order, unsigned flags, struct tenant *tenant)
{
	u32 pfn;

	if (static_branch(&page_placed))
		return take_chosen(where, order, flags, tenant);
	pfn = order ? 0 : take_single(&nodes[0]);
	return pfn ? pfn : take_slowly(&anywhere, order, flags);
}

/* pfn 0: nothing was found, the charge goes back. */
static struct page *make_used(u32 pfn, unsigned order, unsigned flags, int id)
{
	struct page *p = pfn ? &pages[pfn] : NULL;

	if (trace_on(mm_page_alloc))
		alloc_trace_page(p, order, flags);
	if (!p) {
		if (id)
			upcall_page_uncharge((u16)id, 1UL << order);
		return NULL;
	}
	page_poison_check(p, order);
	make_block(p, order);
	p->tenant = (u16)id;
	if (flags & ALLOC_ZERO)
		memset(page_virt(p), 0, PAGE_SIZE << order);
	return p;
}

static __always_inline struct page *alloc(const struct page_place *where, unsigned order, unsigned flags,
					  struct tenant *tenant)
{
	int id = 0;

	if (order > PAGE_MAX_ORDER)
		return NULL;
	if (tenant && (id = upcall_page_charge(tenant, 1UL << order, flags)) < 0)
		return NULL;
	return make_used(take(where, order, flags, tenant), order, flags, id);
}

struct page *page_alloc_placed(const struct page_place *where, unsigned order, unsigned flags, struct tenant *tenant)
{
	return alloc(where, order, flags, tenant);
}

struct page *page_alloc_node(unsigned node, unsigned order, unsigned flags, struct tenant *tenant)
{
	struct page_place where = { .near = (u8)node, .only = ~0ULL };

	return page_alloc_placed(&where, order, flags, tenant);
}

struct page *page_alloc_coloured(u64 mask, unsigned flags, unsigned node)
{
	struct page_place near = { .near = (u8)node, .only = ~0ULL };
	u32 pfn = static_branch(&page_colouring) ? take_limited(&near, mask, flags) : take(&near, 0, flags, NULL);

	return make_used(pfn, 0, flags, 0);
}

struct page *page_alloc(unsigned order, unsigned flags, struct tenant *tenant)
{
	return alloc(NULL, order, flags, tenant);
}

/* Does a single page go to this CPU's list? */
static bool fits_list(u32 pfn)
{
	if (!static_branch(&page_placed))
		return true;
	return !static_branch(&page_colouring) && node_of(pfn) == &nodes[node_of_cpu(cpu_id())];
}

static void page_free(struct page *p)
{
	unsigned order = page_order(p);
	u32 pfn = (u32)page_to_pfn(p);
	ulong flags;

	ensure(!(p->flags & (PAGE_RESERVED | PAGE_FREE | PAGE_TAIL)));
	if (trace_on(mm_page_free))
		alloc_trace_page_free(p, order);
	if (p->flags & PAGE_ANON)
		page_stat_add(PAGE_STAT_ANON, -(1L << order));
	if (p->tenant)
		upcall_page_uncharge(p->tenant, 1UL << order);
	p->tenant = 0;
	for (unsigned i = 0; i < 1U << order; i++)
		p[i].flags = 0;
	page_poison(p, order);
	flags = irq_save();
	if (order == 0 && fits_list(pfn)) {
		struct cpu_list *l = this_cpu_ptr(&cpu_list);

		p->next = l->head;
		l->head = pfn;
		if (++l->count > CPU_HIGH)
			cpu_drain(l, CPU_HIGH - CPU_BATCH);
	} else {
		struct node *n = node_of(pfn);

		spin_lock(&n->lock);
		buddy_free(&n->b, pfn, order);
		spin_unlock(&n->lock);
	}
	irq_restore(flags);
}

void page_put(struct page *p)
{
	assert(atomic_read(&p->refs) > 0);
	if (atomic_dec_and_test(&p->refs))
		page_free(p);
}

void page_split(struct page *p)
{
	unsigned n = 1U << page_order(p);

	p->flags &= (u16)~PAGE_ORDER_MASK;
	for (unsigned i = 1; i < n; i++) {
		p[i].owner = NULL;
		p[i].tenant = p->tenant;
		p[i].index = p[i].next = p[i].prev = 0;
		p[i].flags = 0;
		atomic_set(&p[i].refs, 1);
	}
}

bool page_test_set_flag(struct page *p, u16 flag)
{
	return __atomic_fetch_or(&p->flags, flag, __ATOMIC_SEQ_CST) & flag;
}

bool page_test_clear_flag(struct page *p, u16 flag)
{
	return __atomic_fetch_and(&p->flags, (u16)~flag, __ATOMIC_SEQ_CST) & flag;
}

void page_drain_cpu(void)
{
	ulong flags = irq_save();

	cpu_drain(this_cpu_ptr(&cpu_list), 0);
	irq_restore(flags);
}

/* ---- colouring on and off ---------------------------------------------------------------------------------- */

static void drain_here(void *unused)
{
	cpu_drain(this_cpu_ptr(&cpu_list), 0);
}

static void sort_by_colours(unsigned bits)
{
	for (int n = 0; n < MAX_NODES; n++) {
		ulong flags = spin_lock_irqsave(&nodes[n].lock);

		buddy_set_colours(&nodes[n].b, bits);
		spin_unlock_irqrestore(&nodes[n].lock, flags);
	}
}

void page_colouring_start(unsigned nr_colours, unsigned (*user_class)(void))
{
	ensure(nr_colours >= 2 && nr_colours <= COLOUR_MAX && !(nr_colours & (nr_colours - 1)));
	colouring.all = nr_colours == 64 ? ~0ULL : BIT(nr_colours) - 1;
	colouring.kernel = colouring.all;
	for (unsigned c = 0; c < COLOUR_CLASSES; c++)
		colouring.user[c] = colouring.all;
	colouring.user_class = user_class;
	static_key_inc(&page_colouring); /* first: lists of colours are read and written behind it only */
	static_key_inc(&page_placed);
	sort_by_colours((unsigned)__builtin_ctz(nr_colours));
	cpu_call(cpu_online_mask(), drain_here, NULL); /* pages in front of the lists have no colour order */
}

void page_colouring_set(unsigned cls, u64 mask)
{
	ensure(mask & colouring.all);
	if (cls == COLOUR_KERNEL)
		WRITE_ONCE(colouring.kernel, mask & colouring.all);
	else
		WRITE_ONCE(colouring.user[cls % COLOUR_CLASSES], mask & colouring.all);
}

void page_colouring_stop(void)
{
	colouring.kernel = colouring.all;
	for (unsigned c = 0; c < COLOUR_CLASSES; c++)
		colouring.user[c] = colouring.all;
	sort_by_colours(0);
	static_key_dec(&page_placed);
	static_key_dec(&page_colouring);
}

bool page_colouring_count(unsigned portion, unsigned nr_colours, bool (*is_counted)(u16 tenant, const void *arg),
			  const void *arg, u64 *count)
{
	pfn_t pfn, end;

	if (!chunk_bounds(portion, &pfn, &end))
		return false;
	for (; pfn < end; pfn++) {
		const struct page *p = pfn_to_page(pfn);

		if (p && atomic_read(&p->refs) && is_counted(READ_ONCE(p->tenant), arg))
			count[page_colour(pfn, nr_colours)]++;
	}
	return true;
}

/* ---- statistics, boot -------------------------------------------------------------------------------------- */

void page_stat_add(enum page_stat s, s64 n)
{
	this_cpu_add(cpu_list.stat[s], n);
}

void page_stats(struct page_stats *out)
{
	s64 stat[PAGE_STAT_NR] = { 0 };

	*out = (struct page_stats){ .reserved = reserved_pages };
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct cpu_list *l = per_cpu_ptr(&cpu_list, cpu);

		out->free += l->count;
		for (int s = 0; s < PAGE_STAT_NR; s++)
			stat[s] += l->stat[s];
	}
	for (unsigned n = 0; n < node_count(); n++) {
		out->total += nodes[n].total;
		out->free += nodes[n].b.free + nodes[n].waiting;
	}
	out->slab = max(stat[PAGE_STAT_SLAB], (s64)0);
	out->tables = max(stat[PAGE_STAT_TABLES], (s64)0);
	out->cached = max(stat[PAGE_STAT_CACHED], (s64)0);
	out->anon = max(stat[PAGE_STAT_ANON], (s64)0);
	out->shmem = max(stat[PAGE_STAT_SHMEM], (s64)0);
	out->mapped = max(stat[PAGE_STAT_MAPPED], (s64)0);
	out->stacks = max(stat[PAGE_STAT_STACKS], (s64)0);
	out->committed = max(stat[PAGE_STAT_COMMITTED], (s64)0);
	for (int e = PAGE_STAT_EVENTS; e < PAGE_STAT_NR; e++)
		out->events[e - PAGE_STAT_EVENTS] = (u64)stat[e];
}

void alloc_init(void)
{
	nodes_init();
	slab_init();
	nodes_apart();
}
