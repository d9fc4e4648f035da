/* SPDX-License-Identifier: MIT
 *
 * Problem: the page cache keeps every page it has read, so memory fills up; then programs must get pages at the cost of
 * copies that can be read again.
 *
 * Idea: caches that can fill a page again are listed. Reclaim goes round the list, a few pages from each; a page that
 * was used since the last round (ACTIVE) loses that mark and stays, a clean one that nobody holds goes. When nothing
 * can go, flushers are woken and the caller waits a moment for pages to become clean.
 *
 *      candidate: reference count 1 (the cache's), not mapped, not dirty, not under writeback
 *      taken out by: count 1 -> 0 under cache->lock, so that look-ups under RCU fail and look again
 *
 * Contract: upcall_reclaim of alloc/page.h. Called without locks that rank above LEAF_SLEEP; not from atomic
 * allocations.
 *
 * Locks: caches_lock (RANK_LEAF_SPIN) for the list; cache->lock for the tree. Never both.
 */
#include <alloc/page.h>
#include <core/log.h>
#include <vfs/cache.h>

#include "vfs_priv.h"

#define PAGES_A_TURN 256

bool (*reclaim_wait_for_clean)(void);
static LIST(caches);
static struct spinlock caches_lock = SPIN_INIT(RANK_LEAF_SPIN);

void reclaim_add(struct page_cache *c)
{
	spin_lock(&caches_lock);
	list_add_tail(&c->reclaim_link, &caches);
	spin_unlock(&caches_lock);
}

void reclaim_remove(struct page_cache *c)
{
	spin_lock(&caches_lock);
	list_del_init(&c->reclaim_link);
	spin_unlock(&caches_lock);
}

/* The next cache in turn, its inode counted; NULL: none that lives. */
static struct page_cache *next_cache(void)
{
	struct page_cache *c, *found = NULL;

	spin_lock(&caches_lock);
	list_for_each_entry (c, &caches, reclaim_link) {
		if (!refcount_inc_not_zero(&c->host->refs))
			continue;
		list_move_tail(&c->reclaim_link, &caches);
		found = c;
		break;
	}
	spin_unlock(&caches_lock);
	return found;
}

static bool is_candidate(struct page *p)
{
	if (p->flags & (PAGE_DIRTY | PAGE_WRITEBACK | PAGE_LOCKED) || atomic_read(&p->mapcount))
		return false;
	return !page_test_clear_flag(p, PAGE_ACTIVE);
}

/* Takes up to `want` pages out of one cache, from where the last turn ended. */
static u64 shrink(struct page_cache *c, u64 want)
{
	u64 index = c->reclaim_next, freed = 0;
	struct page *p;

	for (unsigned seen = 0; seen < PAGES_A_TURN && freed < want; seen++, index++) {
		int one = 1;

		spin_lock(&c->lock);
		p = xa_find(&c->pages, &index, ~0ULL >> PAGE_SHIFT);
		if (p && is_candidate(p) && atomic_try_cmpxchg(&p->refs, &one, 0)) {
			xa_erase(&c->pages, index);
			p->owner = NULL;
			c->nr_pages--;
			c->removals++;
			atomic_set(&p->refs, 1);
		} else if (p) {
			spin_unlock(&c->lock);
			continue;
		}
		spin_unlock(&c->lock);
		if (!p) {
			index = ~0ULL;
			continue;
		}
		page_stat_add(PAGE_STAT_CACHED, -1);
		page_put(p);
		freed++;
	}
	c->reclaim_next = index;
	return freed;
}

u64 upcall_reclaim(u64 pages)
{
	u64 freed = 0;

	for (unsigned turn = 0; turn < 64 && freed < pages; turn++) {
		struct page_cache *c = next_cache();

		if (!c)
			break;
		freed += shrink(c, pages - freed);
		inode_put(c->host);
	}
	if (!freed && reclaim_wait_for_clean && reclaim_wait_for_clean())
		freed = 1; /* try again: something is being cleaned */
	return freed + dentry_shrink(pages);
}
