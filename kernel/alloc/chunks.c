/* SPDX-License-Identifier: MIT
 *
 * Problem: every page of RAM has a descriptor, but boot must not spend time on memory that nobody has asked for yet,
 * and memory has holes and belongs to nodes.
 *
 * Idea: descriptors are one array in virtual memory, indexed by page number. Memory is taken in chunks of 64 MiB: a
 * chunk's descriptors are made, in its own first pages, when a node's free lists run low. Only heads of free blocks are
 * touched then, so a chunk costs little more than clearing its descriptors. A chunk on a border gives to two nodes.
 *
 *   chunk_node[]   the node, or CHUNK_MIXED: then the ranges of boot_info() tell (borders are multiples of a block)
 *
 * Contract: page_priv.h; page_donate and page_adopt of alloc/page.h.
 *
 * Locks: grow_lock (RANK_CHUNKS, irqsave) around making chunks and what was reserved at boot; the node's lock inside.
 */
#include <alloc/page.h>
#include <arch/boot.h>
#include <core/log.h>
#include <lib/string.h>
#include "alloc_priv.h"
#include "page_priv.h"

#define CHUNK_PAGES (1UL << CHUNK_SHIFT)
#define BLOCK_PAGES (1UL << PAGE_MAX_ORDER)
_Static_assert(BLOCK_PAGES << PAGE_SHIFT == NODE_BORDER, "a block lies in one node");
#define HOLE (~0U) /* page->index of a descriptor without RAM */

static struct spinlock grow_lock = SPIN_INIT(RANK_CHUNKS);
u8 chunk_node[MAX_CHUNKS];
static struct {
	u32 lo, hi; /* page numbers with descriptors; 0: not made */
} chunks[MAX_CHUNKS];
static unsigned nr_chunks;
u64 reserved_pages;

struct page *pfn_to_page(pfn_t pfn)
{
	u64 c = pfn >> CHUNK_SHIFT;

	if (c >= MAX_CHUNKS || pfn < chunks[c].lo || pfn >= chunks[c].hi || pages[pfn].index == HOLE)
		return NULL;
	return &pages[pfn];
}

size_t slab_room(const void *p)
{
	ulong a = (ulong)p - DIRECT_MAP_BASE;
	pfn_t pfn = a >> PAGE_SHIFT;
	u64 c = pfn >> CHUNK_SHIFT;
	struct page *pg = &pages[pfn];

	if (c >= MAX_CHUNKS || pfn < chunks[c].lo || pfn >= chunks[c].hi)
		return SIZE_MAX;
	if (likely(!(pg->flags & (PAGE_TAIL | PAGE_FREE | PAGE_SLAB | PAGE_ORDER_MASK))))
		return PAGE_SIZE - a % PAGE_SIZE;
	pg = page_head(pg);
	a -= (ulong)(pg - pages) << PAGE_SHIFT;
	if (pg->flags & PAGE_SLAB)
		return slab_room_at(pg, (u32)a);
	return pg->flags & PAGE_FREE ? 0 : (PAGE_SIZE << page_order(pg)) - a;
}

/* The node of a page of a chunk that several have a part of. */
unsigned node_of_mixed(u32 pfn)
{
	const struct boot_info *b = boot_info();

	for (unsigned i = 0; i < b->nr_ram_all; i++)
		if (pfn < ALIGN_UP((b->ram_all[i].base + b->ram_all[i].bytes) >> PAGE_SHIFT, BLOCK_PAGES))
			return b->ram_all[i].node;
	return 0;
}

/* ---- chunks ---------------------------------------------------------------------------------------------- */

static void give(struct node *n, u32 pfn, unsigned order)
{
	spin_lock(&n->lock);
	buddy_free(&n->b, pfn, order);
	spin_unlock(&n->lock);
}

static void free_range(pfn_t from, pfn_t to)
{
	while (from < to) {
		unsigned order = min((unsigned)__builtin_ctzll(from), (unsigned)PAGE_MAX_ORDER);

		while (from + (1UL << order) > to)
			order--;
		give(node_of((u32)from), (u32)from, order);
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

static bool grow(struct node *n);

/* A chunk that the initrd fills has no room for its own descriptors: a block of an earlier chunk takes them. */
static pfn_t borrow_descriptors(struct node *n, ulong need)
{
	unsigned order = 0;
	u32 pfn;

	while (1UL << order < need)
		order++;
	do {
		spin_lock(&n->lock);
		pfn = buddy_take(&n->b, order);
		spin_unlock(&n->lock);
	} while (!pfn && grow(n));
	if (pfn)
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
		best = borrow_descriptors(node_of((u32)lo), need);
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
			node_of((u32)a)->waiting -= b - a;
			free_range(a == uf ? ut : a, b);
		}
	reserved_pages += ut - uf;
	return true;
}

/* The node's next chunk with memory, in address order. grow_lock held. */
static bool grow(struct node *n)
{
	while (n->next_chunk < nr_chunks) {
		unsigned c = n->next_chunk++;

		if ((chunk_node[c] == n - nodes || chunk_node[c] == CHUNK_MIXED) && chunk_make(c))
			return true;
	}
	return false;
}

bool node_grow(struct node *n)
{
	ulong flags;
	bool done;

	if (READ_ONCE(n->next_chunk) >= nr_chunks)
		return false;
	flags = spin_lock_irqsave(&grow_lock);
	done = grow(n);
	spin_unlock_irqrestore(&grow_lock, flags);
	return done;
}

bool chunk_bounds(unsigned c, pfn_t *lo, pfn_t *hi)
{
	if (c >= nr_chunks)
		return false;
	*hi = READ_ONCE(chunks[c].hi); /* last to be set */
	*lo = *hi ? chunks[c].lo : 0;
	return true;
}

/* ---- boot memory ------------------------------------------------------------------------------------------ */

void page_donate(paddr_t base, u64 bytes)
{
	pfn_t from = DIV_ROUND_UP(base, PAGE_SIZE), to = (base + bytes) >> PAGE_SHIFT;
	ulong flags = spin_lock_irqsave(&grow_lock);

	for (; from < to; from++) {
		if (!chunk_make((unsigned)(from >> CHUNK_SHIFT)) || !(pages[from].flags & PAGE_RESERVED))
			continue;
		pages[from].flags = 0;
		atomic_set(&pages[from].refs, 0);
		reserved_pages--;
		give(node_of((u32)from), (u32)from, 0);
	}
	spin_unlock_irqrestore(&grow_lock, flags);
}

struct page *page_adopt(paddr_t base)
{
	pfn_t pfn = base >> PAGE_SHIFT;
	ulong flags = spin_lock_irqsave(&grow_lock);
	struct page *p = NULL;

	if (chunk_make((unsigned)(pfn >> CHUNK_SHIFT)) && (pages[pfn].flags & PAGE_RESERVED)) {
		p = &pages[pfn];
		make_block(p, 0);
		reserved_pages--;
	}
	spin_unlock_irqrestore(&grow_lock, flags);
	return p;
}

static void note_range(const struct boot_range *r)
{
	unsigned first = (unsigned)(r->base >> (PAGE_SHIFT + CHUNK_SHIFT));
	unsigned last = (unsigned)((r->base + r->bytes - 1) >> (PAGE_SHIFT + CHUNK_SHIFT));

	for (unsigned c = first; c <= last && c < MAX_CHUNKS; c++)
		chunk_node[c] = c < nr_chunks && chunk_node[c] != r->node ? CHUNK_MIXED : (u8)r->node;
	nr_chunks = max(nr_chunks, min(last + 1, (unsigned)MAX_CHUNKS));
	nodes[r->node].total += r->bytes >> PAGE_SHIFT;
}

void chunks_init(void)
{
	const struct boot_info *b = boot_info();
	u64 total = 0, usable = 0;

	for (unsigned i = 0; i < b->nr_ram_all; i++) {
		note_range(&b->ram_all[i]);
		total += b->ram_all[i].bytes >> PAGE_SHIFT;
	}
	for (unsigned i = 0; i < b->nr_ram; i++) {
		nodes[b->ram[i].node].waiting += b->ram[i].bytes >> PAGE_SHIFT;
		usable += b->ram[i].bytes >> PAGE_SHIFT;
	}
	reserved_pages = total - usable;
}
