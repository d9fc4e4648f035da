/* SPDX-License-Identifier: MIT
 *
 * Problem: the page cache keeps every page it has read, so memory fills up; then programs must get pages at the cost of
 * copies that can be read again.
 *
 * Idea: caches that can fill a page again are listed. Reclaim goes round the list, a few pages from each; a page that
 * was used since the last round (ACTIVE) loses that mark and stays, a clean one that nobody holds goes. When that
 * brings too little, address spaces unmap cold pages of files and write private ones to swap (mm/reclaim.c). When
 * nothing can go, flushers are woken and the caller waits a moment for pages to become clean. Where pages come back as
 * fast as they are taken (task/thrash.c), private pages go first; if that does not help, reclaim is in vain, and the
 * caller kills somebody although it got pages. For a tenant's sake only
 * pages that it and those below pay for are taken; caches remember who paid, so that others are passed by.
 *
 *      candidate: reference count 1 (the cache's), not mapped, not dirty, not under writeback
 *      taken out by: count 1 -> 0 under cache->lock, so that look-ups under RCU fail and look again
 *
 * Contract: upcall_reclaim of alloc/page.h. Called without locks that rank above LEAF_SLEEP; not from atomic
 * allocations. /proc/sys/vm/drop_caches (Documentation/admin-guide/sysctl/vm.rst) drops what is clean and unused: 1
 * pages, 2 names, 3 both; 4 stops the messages about that.
 *
 * Locks: caches_lock (RANK_LEAF_SPIN) for the list; cache->lock for the tree. Never both. thrash_lock
 * (RANK_SUBSYS_SPIN), the tree of tenants inside.
 */
#include <alloc/page.h>
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <mm/mm.h>
#include <task/sched.h>
#include <task/tenant.h>
#include <vfs/cache.h>

#include "vfs_priv.h"

#define PAGES_A_TURN 256
#define ROUNDS       4

bool (*reclaim_wait_for_clean)(void);
static LIST(caches);
static struct spinlock caches_lock = SPIN_INIT(RANK_LEAF_SPIN);
static u64 nr_caches;                                             /* caches_lock */
static struct spinlock thrash_lock = SPIN_INIT(RANK_SUBSYS_SPIN); /* every tenant's memory.thrash */

void reclaim_add(struct page_cache *c)
{
	spin_lock(&caches_lock);
	list_add_tail(&c->reclaim_link, &caches);
	nr_caches++;
	spin_unlock(&caches_lock);
}

void reclaim_remove(struct page_cache *c)
{
	spin_lock(&caches_lock);
	list_del_init(&c->reclaim_link);
	nr_caches--;
	spin_unlock(&caches_lock);
}

/* The next cache in turn that may have pages of top's, its inode counted; NULL: none. *left counts down the list. */
static struct page_cache *next_cache(const struct tenant *top, u64 *left)
{
	struct page_cache *c, *found = NULL;

	spin_lock(&caches_lock);
	*left = min(*left, nr_caches);
	while (*left && !found) {
		--*left;
		c = list_first_entry(&caches, struct page_cache, reclaim_link);
		list_move_tail(&c->reclaim_link, &caches);
		if (READ_ONCE(c->nr_pages) && (c->many_payers || tenant_page_is_below(c->payer, top)) &&
		    refcount_inc_not_zero(&c->host->refs))
			found = c;
	}
	spin_unlock(&caches_lock);
	return found;
}

struct shrink {
	struct tenant *top;
	bool low, hard;     /* spare what memory.low protects; spare not even what was used lately */
	bool private_first; /* the cache is needed */
	u64 want, freed;
	u16 payer; /* of the last pages looked at, that are not told yet: scanned, and of them stolen */
	u64 scanned, stolen;
};

static void tell_counts(struct shrink *s)
{
	tenant_memory_count(s->payer, MEMORY_SCANNED, s->scanned);
	tenant_memory_count(s->payer, MEMORY_STOLEN, s->stolen);
	s->scanned = s->stolen = 0;
}

static void count_page(struct shrink *s, u16 payer, bool taken)
{
	if (payer != s->payer)
		tell_counts(s);
	s->payer = payer;
	s->scanned++;
	s->stolen += taken;
}

static bool is_candidate(struct page *p, const struct shrink *s)
{
	if (p->flags & (PAGE_DIRTY | PAGE_WRITEBACK | PAGE_LOCKED) || atomic_read(&p->mapcount))
		return false;
	if (!tenant_may_reclaim(p->tenant, s->top, s->low))
		return false;
	return !page_test_clear_flag(p, PAGE_ACTIVE) || s->hard;
}

/* Under c->lock: takes p out if nobody uses it. */
static bool take_unused(struct page_cache *c, u64 index, struct page *p)
{
	int one = 1;

	if (!atomic_try_cmpxchg(&p->refs, &one, 0))
		return false;
	xa_erase(&c->pages, index);
	p->owner = NULL;
	c->nr_pages--;
	c->removals++;
	atomic_set(&p->refs, 1);
	return true;
}

static void free_taken(struct page_cache *c, struct page *p)
{
	cache_count(c, p, -1);
	page_put(p);
}

void cache_drop_clean(struct page_cache *c, u64 first, u64 last)
{
	struct page *p;

	if (!c->ops->fill)
		return; /* what is there is nowhere else */
	for (u64 index = first; index <= last; index++) {
		bool taken;

		spin_lock(&c->lock);
		p = xa_find(&c->pages, &index, last);
		taken = p && !(p->flags & (PAGE_DIRTY | PAGE_WRITEBACK | PAGE_LOCKED)) && !atomic_read(&p->mapcount) &&
			take_unused(c, index, p);
		spin_unlock(&c->lock);
		if (!p)
			return;
		if (taken)
			free_taken(c, p);
		resched_point();
	}
}

/* Takes pages out of one cache, from where the last turn ended. */
static void shrink(struct page_cache *c, struct shrink *s, unsigned turn)
{
	u64 index = c->reclaim_next;
	struct page *p;

	turn = min((u64)turn, READ_ONCE(c->nr_pages) + 1); /* once around, its end counts as one */
	for (unsigned seen = 0; seen < turn && s->freed < s->want; seen++, index++) {
		bool taken;
		u16 payer;

		spin_lock(&c->lock);
		p = xa_find(&c->pages, &index, ~0ULL >> PAGE_SHIFT);
		payer = p ? p->tenant : 0;
		taken = p && is_candidate(p, s) && take_unused(c, index, p);
		spin_unlock(&c->lock);
		if (!p)
			index = ~0ULL;
		count_page(s, payer, taken);
		if (!taken)
			continue;
		refault_gone(c, index);
		free_taken(c, p);
		s->freed++;
	}
	tell_counts(s);
	c->reclaim_next = index;
}

static u64 shrink_caches(struct shrink *s, unsigned turn)
{
	u64 before = s->freed, left = ~0ULL;
	struct page_cache *c;

	while (s->freed < s->want && (c = next_cache(s->top, &left))) {
		shrink(c, s, turn);
		inode_put(c->host);
	}
	return s->freed - before;
}

/* One round over everything; the later, the less is spared. */
static void round_of(struct shrink *s, unsigned round)
{
	unsigned turn = PAGES_A_TURN << min(2 * round, 12U);
	u64 unmapped;

	s->hard = round > 1;
	if (s->private_first)
		s->freed += mm_reclaim(s->top, s->want - s->freed, min(round, 1U), &unmapped);
	(void)shrink_caches(s, turn);
	if (s->freed >= s->want || (s->freed && !round))
		return;
	s->freed += mm_reclaim(s->top, s->want - s->freed, s->low ? min(round, 1U) : 2, &unmapped);
	if (unmapped && s->freed < s->want)
		(void)shrink_caches(s, turn);
}

/* Who is to die gets what it asks of its tenant, and gives back more when it ends. */
static bool gives_up(const struct tenant *top)
{
	return top && top->parent && upcall_alloc_is_dying();
}

static u64 memory_of(const struct tenant *t)
{
	struct page_stats s;

	page_stats(&s);
	return min(s.total, READ_ONCE(t->share[RES_MEMORY].limit));
}

bool upcall_reclaim_is_vain(struct tenant *top)
{
	struct tenant *t = top ? top : &tenant_root;
	struct thrash *state = &t->memory.thrash;
	struct thrash_sample s;
	bool vain = false;

	spin_lock(&thrash_lock);
	s = (struct thrash_sample){ .now_ns = clock_ns(),
				    .stolen = (u64)atomic_read(&t->memory.count[MEMORY_STOLEN]),
				    .back = (u64)atomic_read(&t->memory.count[MEMORY_REFAULT_FILE]) };
	if (thrash_suspects(state, &s)) {
		s.cache = tenant_file_pages(t);
		s.limit = memory_of(t);
		vain = thrash_is_vain(state, &s);
	}
	spin_unlock(&thrash_lock);
	return vain;
}

u64 upcall_reclaim(struct tenant *top, u64 pages)
{
	struct shrink s = { .top = top,
			    .low = true,
			    .want = pages,
			    .private_first = READ_ONCE((top ? top : &tenant_root)->memory.thrash.private_first) };

	tenant_protect(top);
	for (unsigned round = 0; round < ROUNDS && s.freed < s.want && !gives_up(top); round++)
		round_of(&s, round);
	if (!s.freed && !gives_up(top)) {
		s.low = false; /* memory.low gives way before anybody is killed */
		round_of(&s, ROUNDS);
		if (s.freed && top)
			tenant_memory_event(top, MEMORY_LOW);
	}
	page_stat_add(PAGE_EVENT_STOLEN, (s64)s.freed);
	if (s.freed < pages || !top || !top->parent)
		s.freed += dentry_shrink(top, pages);
	if (!s.freed && !gives_up(top) && reclaim_wait_for_clean && reclaim_wait_for_clean())
		return 1; /* try again: something is being cleaned */
	return s.freed;
}

/* ---- /proc/sys/vm/drop_caches --------------------------------------------------------------------------------- */

static int drop_caches(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	static bool quiet;
	struct page_cache *c;
	u64 left = ~0ULL;
	u32 what;
	int err = attr_parse_u32(text, len, 1, 4, &what);

	if (err)
		return err;
	while (what & 1 && (c = next_cache(NULL, &left))) {
		cache_drop_clean(c, 0, ~0ULL >> PAGE_SHIFT);
		inode_put(c->host);
	}
	while (what & 2 && dentry_shrink(NULL, ~0ULL))
		resched_point(); /* folders are idle when what was in them has gone */
	quiet |= what == 4;
	if (!quiet)
		log_info("%s (%d): drop_caches: %u", current->comm, current->tid, what);
	return 0;
}

static void reclaim_init(void)
{
	static const struct attr drop = { .name = "drop_caches", .mode = 0200, .set = drop_caches };
	static const struct attr *const attrs[] = { &drop, NULL };

	ensure(!attr_folder_add(&attr_sysctl_root, "vm", attrs));
}
PART_INIT(core, reclaim_init);
