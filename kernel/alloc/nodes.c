/* SPDX-License-Identifier: MIT
 *
 * Problem: on a machine of several nodes each page has a place, near to some CPUs; who asks for one cares which, and
 * who administers the machine wants to know how often the wish was granted.
 *
 * Idea: each node knows all nodes with memory by distance, itself first, so that a wish is a node to be near to and a
 * set (struct page_place). What is in use where is not counted as it changes: it is read from the descriptors when
 * somebody looks, so that it costs nothing else.
 *
 * Contract: page_priv.h, alloc/page.h. Counters as Linux's numastat: hit, the page came from the node that was wanted;
 * miss, another one was wanted; foreign, it was wanted from here, but came from elsewhere; local, a CPU of the node
 * asked. A machine of one node counts what goes to CPUs' lists, by the batch, as hits.
 *
 * Locks: none of its own; a CPU adds to its own counters with IRQs off.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <lib/string.h>
#include "alloc_priv.h"
#include "page_priv.h"

/* ---- order of nodes ------------------------------------------------------------------------------------- */

/* Is a to be asked before b, from n? Of two equally near ones the next in turn after n, so that full nodes spill to
 * different ones. */
static bool is_nearer(unsigned n, unsigned a, unsigned b)
{
	unsigned da = a == n ? 0 : node_distance(n, a), db = b == n ? 0 : node_distance(n, b);

	return da != db ? da < db : (a - n) % MAX_NODES < (b - n) % MAX_NODES;
}

static void sort_nearest(unsigned n)
{
	struct node *to = &nodes[n];
	unsigned other;

	for_each_numa_node(other, node_memory_mask())
	{
		unsigned at = to->nr_nearest++;

		for (; at && is_nearer(n, other, to->nearest[at - 1]); at--)
			to->nearest[at] = to->nearest[at - 1];
		to->nearest[at] = (u8)other;
	}
}

struct node *node_nearest(unsigned near, nodemask_t only)
{
	const struct node *to = &nodes[near];

	for (unsigned i = 0; i < to->nr_nearest; i++)
		if (node_has(only, to->nearest[i]))
			return &nodes[to->nearest[i]];
	return NULL;
}

void nodes_init(void)
{
	bool any = false;

	for (unsigned n = 0; n < MAX_NODES; n++) {
		spin_init(&nodes[n].lock, RANK_PAGES);
		nodes[n].b.pages = pages;
	}
	chunks_init();
	for (unsigned n = 0; n < node_count(); n++) {
		sort_nearest(n);
		any |= node_grow(&nodes[n]);
	}
	if (!any)
		panic("no usable memory");
	mmu_alloc_ready();
	for (unsigned n = 0; n < node_count(); n++)
		nodes[n].reserve = clamp(nodes[n].total / 256, 64UL, 4096UL);
}

void nodes_apart(void)
{
	if (node_count() == 1)
		return;
	static_key_inc(&page_placed);
	page_drain_cpu(); /* what it took from where it was */
}

/* ---- counters ------------------------------------------------------------------------------------------- */

void nodes_count(const struct page_place *w, u32 pfn)
{
	ulong flags = irq_save();
	struct node_counts *c = this_cpu_ptr(&cpu_list)->numa;
	struct node *got = node_of(pfn), *wanted = node_nearest(w->near, w->wish ? w->wish & w->only : w->only);

	if (got == wanted) {
		c[got - nodes].hit++;
		c[got - nodes].interleave += w->interleaved;
	} else {
		c[got - nodes].miss++;
		if (wanted)
			c[wanted - nodes].foreign++;
	}
	c[got - nodes].local += got == &nodes[node_of_cpu(cpu_id())];
	irq_restore(flags);
}

unsigned page_node(const struct page *p)
{
	return (unsigned)(node_of((u32)page_to_pfn(p)) - nodes);
}

void page_node_stats(unsigned node, struct page_node_stats *out)
{
	struct node *n = &nodes[node];

	*out = (struct page_node_stats){ .total = n->total, .free = n->b.free + n->waiting };
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		const struct cpu_list *l = per_cpu_ptr(&cpu_list, cpu);

		out->free += node_of_cpu(cpu) == node ? l->count : 0;
		out->hit += l->numa[node].hit;
		out->miss += l->numa[node].miss;
		out->foreign += l->numa[node].foreign;
		out->interleave += l->numa[node].interleave;
		out->local += l->numa[node].local;
	}
	if (node_count() == 1)
		out->hit = out->local = n->refilled;
	out->other = out->hit + out->miss - out->local;
}

/* ---- what is in use ------------------------------------------------------------------------------------- */

static void add_use(struct page_node_use *u, const struct page *p)
{
	u16 flags = READ_ONCE(p->flags);
	u64 n = 1UL << (flags & PAGE_ORDER_MASK);

	if (flags & (PAGE_SLAB | PAGE_TABLE)) {
		*(flags & PAGE_SLAB ? &u->slab : &u->tables) += n;
	} else if (flags & PAGE_ANON) {
		u->anon += n;
		u->huge += n == 512 ? n : 0;
	} else if (flags & PAGE_UPTODATE) {
		u->cached += n;
		u->dirty += flags & PAGE_DIRTY ? n : 0;
		u->mapped += atomic_read(&p->mapcount) > 0 ? n : 0;
	}
}

bool page_node_use(unsigned portion, unsigned node, bool (*is_counted)(u16 tenant, const void *arg), const void *arg,
		   struct page_node_use *out)
{
	pfn_t pfn, end;

	if (!chunk_bounds(portion, &pfn, &end))
		return false;
	for (; pfn < end; pfn++) {
		const struct page *p = pfn_to_page(pfn);

		if (p && !(p->flags & (PAGE_TAIL | PAGE_FREE | PAGE_RESERVED)) && atomic_read(&p->refs) > 0 &&
		    node_of((u32)pfn) == &nodes[node] && (!is_counted || is_counted(READ_ONCE(p->tenant), arg)))
			add_use(out, p);
	}
	return true;
}
