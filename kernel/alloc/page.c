/* SPDX-License-Identifier: MIT
 *
 * Problem: hand out physical pages in blocks of 2^n, quickly on every CPU, on machines from 16 MiB
 * to 64 GiB, without spending boot time on memory that nobody has asked for yet.
 *
 * Idea: a buddy system a node (buddy.c) and a list of single pages a CPU in front of it. Descriptors are one array in
 * virtual memory, indexed by page number; memory is taken in chunks of 64 MiB: a chunk's
 * descriptors are made, in its own first pages, when the free lists run low. Only heads of free
 * blocks are touched then, so a chunk costs little more than clearing its descriptors.
 *
 *   free block   head: PAGE_FREE | order, on its list; the others: flags 0
 *   used block   head: order, refs >= 1; tails: PAGE_TAIL, owner = head
 *
 * Contract: alloc/page.h. The last `reserve` pages are for ALLOC_ATOMIC and for reclaim itself.
 *
 * Locks: node->lock (RANK_PAGES, irqsave) guards free lists and chunks; a CPU's list is used with
 * IRQs off.
 */
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include "alloc_priv.h"
#include "trace.h"
#include "buddy.h"

#define CHUNK_SHIFT 14 /* pages: 64 MiB */
#define CHUNK_PAGES (1UL << CHUNK_SHIFT)
#define MAX_CHUNKS  4096
#define BLOCK_PAGES (1UL << PAGE_MAX_ORDER)
#define MAX_NODES   8
#define CPU_BATCH   32
#define CPU_HIGH    128
#define HOLE        (~0U) /* page->index of a descriptor without RAM */

struct node {
	struct spinlock lock;
	struct buddy b;
};

struct cpu_list {
	u32 head, count;
	s64 stat[PAGE_STAT_NR];
};

static struct page *const pages = (struct page *)0xffffea0000000000UL;
static struct node nodes[MAX_NODES];
static u8 chunk_node[MAX_CHUNKS];
static struct {
	u32 lo, hi; /* page numbers with descriptors; 0: not made */
} chunks[MAX_CHUNKS];
static unsigned next_chunk, nr_chunks;
static u64 total_pages, waiting_pages, reserved_pages, reserve;
static DEFINE_PER_CPU(struct cpu_list, cpu_list);

struct page *pfn_to_page(pfn_t pfn)
{
	u64 c = pfn >> CHUNK_SHIFT;

	if (c >= MAX_CHUNKS || pfn < chunks[c].lo || pfn >= chunks[c].hi || pages[pfn].index == HOLE)
		return NULL;
	return &pages[pfn];
}

pfn_t page_to_pfn(const struct page *p)
{
	return (pfn_t)(p - pages);
}

static struct node *node_of(u32 pfn)
{
	return &nodes[chunk_node[pfn >> CHUNK_SHIFT]];
}

static void make_block(struct page *p, unsigned order)
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

/* ---- chunks ---------------------------------------------------------------------------------------------- */

static void free_range(pfn_t from, pfn_t to)
{
	while (from < to) {
		unsigned order = min((unsigned)__builtin_ctzll(from), (unsigned)PAGE_MAX_ORDER);

		while (from + (1UL << order) > to)
			order--;
		buddy_free(&node_of((u32)from)->b, (u32)from, order);
		from += 1UL << order;
	}
}

/* Usable part i of boot memory, clipped to [lo, hi). False: nothing of it. */
static bool clip(unsigned i, pfn_t lo, pfn_t hi, pfn_t *a, pfn_t *b)
{
	const struct boot_range *r = &boot_info()->ram[i];

	*a = max(r->base >> PAGE_SHIFT, lo);
	*b = min((r->base + r->bytes) >> PAGE_SHIFT, hi);
	return *a < *b;
}

static bool all_clip(unsigned i, pfn_t lo, pfn_t hi, pfn_t *a, pfn_t *b)
{
	const struct boot_range *r = &boot_info()->ram_all[i];

	*a = max(r->base >> PAGE_SHIFT, lo);
	*b = min((r->base + r->bytes) >> PAGE_SHIFT, hi);
	return *a < *b;
}

static bool grow(void);

/* A chunk that the initrd fills has no room for its own descriptors: a block of an earlier chunk takes them. */
static pfn_t borrow_descriptors(ulong need)
{
	unsigned order = 0;
	u32 pfn;

	while (1UL << order < need)
		order++;
	while (!(pfn = buddy_take(&nodes[0].b, order)))
		if (!grow())
			return 0;
	make_block(&pages[pfn], order);
	return pfn;
}

/* Pages for the descriptors: the start of the largest usable part. They stay reserved. */
static bool map_descriptors(unsigned chunk, pfn_t lo, pfn_t hi, pfn_t *used_from, pfn_t *used_to)
{
	ulong va = (ulong)&pages[lo], need = (hi - lo) * sizeof(struct page) / PAGE_SIZE;
	pfn_t a, b, best = 0, size = 0;

	for (unsigned i = 0; i < boot_info()->nr_ram; i++)
		if (clip(i, (pfn_t)chunk << CHUNK_SHIFT, ((pfn_t)chunk + 1) << CHUNK_SHIFT, &a, &b) && b - a > size) {
			best = a;
			size = b - a;
		}
	*used_from = *used_to = 0;
	if (size < need) {
		best = borrow_descriptors(need);
		if (!best)
			return false;
	} else {
		*used_from = best;
		*used_to = best + need;
	}
	memset(phys_to_virt(best << PAGE_SHIFT), 0, need * PAGE_SIZE);
	memmap_map((void *)va, best << PAGE_SHIFT, need * PAGE_SIZE);
	return true;
}

static void mark_unusable(pfn_t lo, pfn_t hi)
{
	for (pfn_t pfn = lo; pfn < hi; pfn++) {
		pages[pfn].flags = PAGE_RESERVED;
		pages[pfn].index = HOLE;
		atomic_set(&pages[pfn].refs, 1);
	}
}

/* Every descriptor of the chunk starts as a hole or as reserved RAM unless it is usable. */
static void mark_all(pfn_t lo, pfn_t hi)
{
	pfn_t a, b, at = lo;

	for (unsigned i = 0; i < boot_info()->nr_ram; i++)
		if (clip(i, lo, hi, &a, &b)) {
			mark_unusable(at, a);
			at = b;
		}
	mark_unusable(at, hi);
	for (unsigned i = 0; i < boot_info()->nr_ram_all; i++)
		if (all_clip(i, lo, hi, &a, &b))
			for (; a < b; a++)
				pages[a].index = 0;
}

static bool chunk_make(unsigned c)
{
	pfn_t lo = (pfn_t)c << CHUNK_SHIFT, hi = lo + CHUNK_PAGES, a, b, first = ~0ULL, last = 0, uf, ut;

	if (chunks[c].hi)
		return true;
	for (unsigned i = 0; i < boot_info()->nr_ram_all; i++)
		if (all_clip(i, lo, hi, &a, &b)) {
			first = min(first, a);
			last = max(last, b);
		}
	if (first >= last)
		return false;
	first = ALIGN_DOWN(first, BLOCK_PAGES);
	last = ALIGN_UP(last, BLOCK_PAGES);
	if (!map_descriptors(c, first, last, &uf, &ut))
		return false;
	chunks[c].lo = (u32)first;
	mark_all(first, last);
	chunks[c].hi = (u32)last;
	mark_unusable(uf, ut);
	for (pfn_t p = uf; p < ut; p++)
		pages[p].index = 0;
	for (unsigned i = 0; i < boot_info()->nr_ram; i++)
		if (clip(i, lo, hi, &a, &b)) {
			waiting_pages -= min(waiting_pages, b - a);
			free_range(a == uf ? ut : a, b);
		}
	reserved_pages += ut - uf;
	return true;
}

/* The next chunk with memory, in address order. Node lock held. */
static bool grow(void)
{
	while (next_chunk < nr_chunks)
		if (chunk_make(next_chunk++))
			return true;
	return false;
}

/* ---- allocation ------------------------------------------------------------------------------------------ */

static void cpu_refill(struct cpu_list *l, struct node *n)
{
	spin_lock(&n->lock);
	while (l->count < CPU_BATCH && n->b.free > reserve) {
		u32 pfn = buddy_take(&n->b, 0);

		if (!pfn)
			break;
		pages[pfn].next = l->head;
		l->head = pfn;
		l->count++;
	}
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
	ulong flags = spin_lock_irqsave(&n->lock);
	u32 pfn = 0;

	if (all || n->b.free > reserve + (1UL << order))
		pfn = buddy_take(&n->b, order);
	while (!pfn && grow())
		pfn = buddy_take(&n->b, order);
	spin_unlock_irqrestore(&n->lock, flags);
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
	ulong flags = spin_lock_irqsave(&n->lock);
	u32 pfn = 0, first = __atomic_fetch_add(&colouring.next[__builtin_ctzll(mask)], 1, __ATOMIC_RELAXED);

	if (urgent || n->b.free > reserve + 1)
		pfn = buddy_take_coloured(&n->b, mask, first);
	while (!pfn && grow())
		pfn = buddy_take_coloured(&n->b, mask, first);
	spin_unlock_irqrestore(&n->lock, flags);
	return pfn;
}

static u32 take_colours(unsigned node, u64 mask, bool urgent)
{
	u32 pfn = take_coloured_from(&nodes[node], mask, false);

	for (unsigned n = 0; !pfn && n < MAX_NODES; n++)
		if (nodes[n].b.free)
			pfn = take_coloured_from(&nodes[n], mask, urgent);
	return pfn;
}

/* A user's mask is a limit: when its colours are used up, others do not help. */
static u32 take_limited(unsigned node, u64 mask, unsigned flags)
{
	bool urgent = (flags & ALLOC_ATOMIC) || upcall_alloc_in_reclaim();
	u32 pfn = take_colours(node, mask, urgent);

	for (int tries = 0; !pfn && !urgent && upcall_alloc_may_sleep() && tries < 8; tries++) {
		u64 freed = upcall_reclaim(NULL, 64);

		pfn = take_colours(node, mask, false);
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
static u32 take_by_colour(unsigned node, unsigned flags)
{
	u64 mask = flags & ALLOC_USER ? user_mask() : READ_ONCE(colouring.kernel);

	if ((flags & ALLOC_USER) && mask != colouring.all)
		return take_limited(node, mask, flags);
	return take_colours(node, mask, false);
}

/* A user's class whose mask is not full gets its colours or nothing: no blocks that hold them all. */
static bool colour_limited(unsigned flags)
{
	return (flags & ALLOC_USER) && user_mask() != colouring.all;
}

#define RECLAIM_TRIES 64
#define KILLS         8 /* processes that may die for one allocation */
#define COSTLY_ORDER  3 /* nobody dies for a larger block: it is the neighbourhood that is missing, not memory */

/* Memory is short: reclaims, and kills when that does not help. */
static u32 take_reclaiming(unsigned node, unsigned order)
{
	u32 pfn = 0;

	for (int tries = 0, kills = 0; !pfn; tries++) {
		u64 freed = upcall_reclaim(NULL, max(32UL, 2UL << order));

		page_drain_cpu();
		pfn = take_shared(&nodes[node], order, upcall_alloc_is_dying());
		if (pfn || (freed && tries < RECLAIM_TRIES))
			continue;
		if (order > COSTLY_ORDER || kills++ == KILLS || !upcall_out_of_memory(NULL))
			break;
		tries = 0;
	}
	return pfn;
}

static u32 take(unsigned node, unsigned order, unsigned flags)
{
	bool urgent = (flags & ALLOC_ATOMIC) || upcall_alloc_in_reclaim();
	u32 pfn = 0;

	if (static_branch(&page_colouring)) {
		if (!order)
			pfn = take_by_colour(node, flags);
		if (pfn || colour_limited(flags))
			return pfn;
	} else if (!order) {
		pfn = take_single(&nodes[node]);
	}
	if (!pfn)
		pfn = take_shared(&nodes[node], order, false);
	for (unsigned n = 0; !pfn && n < MAX_NODES; n++)
		if (nodes[n].b.free)
			pfn = take_shared(&nodes[n], order, urgent);
	if (pfn || urgent || (flags & ALLOC_TRY) || !upcall_alloc_may_sleep())
		return pfn;
	upcall_memory_stall(true);
	pfn = take_reclaiming(node, order);
	upcall_memory_stall(false);
	return pfn;
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

struct page *page_alloc_node(unsigned node, unsigned order, unsigned flags, struct tenant *tenant)
{
	int id = 0;

	if (order > PAGE_MAX_ORDER)
		return NULL;
	if (tenant && (id = upcall_page_charge(tenant, 1UL << order, flags)) < 0)
		return NULL;
	return make_used(take(node, order, flags), order, flags, id);
}

struct page *page_alloc_coloured(u64 mask, unsigned flags, struct tenant *tenant)
{
	int id = 0;

	if (tenant && (id = upcall_page_charge(tenant, 1, flags)) < 0)
		return NULL;
	return make_used(static_branch(&page_colouring) ? take_limited(0, mask, flags) : take(0, 0, flags), 0, flags,
			 id);
}

struct page *page_alloc(unsigned order, unsigned flags, struct tenant *tenant)
{
	return page_alloc_node(0, order, flags, tenant);
}

static void page_free(struct page *p)
{
	unsigned order = page_order(p);
	u32 pfn = (u32)page_to_pfn(p);
	struct node *n = node_of(pfn);
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
	if (order == 0 && !static_branch(&page_colouring)) {
		struct cpu_list *l = this_cpu_ptr(&cpu_list);

		p->next = l->head;
		l->head = pfn;
		if (++l->count > CPU_HIGH)
			cpu_drain(l, CPU_HIGH - CPU_BATCH);
	} else {
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
	static_key_dec(&page_colouring);
}

bool page_colouring_count(unsigned portion, unsigned nr_colours, bool (*is_counted)(u16 tenant, const void *arg),
			  const void *arg, u64 *count)
{
	if (portion >= MAX_CHUNKS)
		return false;
	for (pfn_t pfn = chunks[portion].lo; pfn < chunks[portion].hi; pfn++) {
		const struct page *p = pfn_to_page(pfn);

		if (p && atomic_read(&p->refs) && is_counted(READ_ONCE(p->tenant), arg))
			count[page_colour(pfn, nr_colours)]++;
	}
	return true;
}

/* ---- boot memory, statistics ----------------------------------------------------------------------------- */

void page_donate(paddr_t base, u64 bytes)
{
	pfn_t from = DIV_ROUND_UP(base, PAGE_SIZE), to = (base + bytes) >> PAGE_SHIFT;
	ulong flags = spin_lock_irqsave(&nodes[0].lock);

	for (; from < to; from++) {
		if (!chunk_make((unsigned)(from >> CHUNK_SHIFT)) || !(pages[from].flags & PAGE_RESERVED))
			continue;
		pages[from].flags = 0;
		atomic_set(&pages[from].refs, 0);
		reserved_pages--;
		buddy_free(&node_of((u32)from)->b, (u32)from, 0);
	}
	spin_unlock_irqrestore(&nodes[0].lock, flags);
}

struct page *page_adopt(paddr_t base)
{
	pfn_t pfn = base >> PAGE_SHIFT;
	ulong flags = spin_lock_irqsave(&nodes[0].lock);
	struct page *p = NULL;

	if (chunk_make((unsigned)(pfn >> CHUNK_SHIFT)) && (pages[pfn].flags & PAGE_RESERVED)) {
		p = &pages[pfn];
		make_block(p, 0);
		reserved_pages--;
	}
	spin_unlock_irqrestore(&nodes[0].lock, flags);
	return p;
}

void page_stat_add(enum page_stat s, s64 n)
{
	this_cpu_add(cpu_list.stat[s], n);
}

void page_stats(struct page_stats *out)
{
	s64 stat[PAGE_STAT_NR] = { 0 };

	*out = (struct page_stats){ .total = total_pages, .reserved = reserved_pages, .free = waiting_pages };
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct cpu_list *l = per_cpu_ptr(&cpu_list, cpu);

		out->free += l->count;
		for (int s = 0; s < PAGE_STAT_NR; s++)
			stat[s] += l->stat[s];
	}
	for (int n = 0; n < MAX_NODES; n++)
		out->free += nodes[n].b.free;
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

static void page_init(void)
{
	const struct boot_info *b = boot_info();

	for (int n = 0; n < MAX_NODES; n++) {
		spin_init(&nodes[n].lock, RANK_PAGES);
		nodes[n].b.pages = pages;
	}
	for (unsigned i = 0; i < b->nr_ram_all; i++) {
		total_pages += b->ram_all[i].bytes >> PAGE_SHIFT;
		nr_chunks = max(
			nr_chunks,
			(unsigned)(((b->ram_all[i].base + b->ram_all[i].bytes - 1) >> (PAGE_SHIFT + CHUNK_SHIFT)) + 1));
	}
	nr_chunks = min(nr_chunks, (unsigned)MAX_CHUNKS);
	for (unsigned i = 0; i < b->nr_ram; i++)
		waiting_pages += b->ram[i].bytes >> PAGE_SHIFT;
	reserved_pages = total_pages - waiting_pages;
	if (!grow())
		panic("no usable memory");
	mmu_alloc_ready();
	reserve = clamp(total_pages / 256, 64UL, 4096UL);
}

void alloc_init(void)
{
	page_init();
	slab_init();
}
