/* SPDX-License-Identifier: MIT
 *
 * Problem: a reader that goes on waits for the disk once a page, unless pages come before they are asked for; one that
 * jumps about pays for what it never reads.
 *
 * Idea: a page that is missing brings those behind it in one transfer. How many: at least what the call that missed it
 * still wants; more and more (4, 8, ... up to queue/read_ahead_kb) where a reader goes on from its last miss, which a
 * few streams a file remember; none for who is at random. POSIX_FADV_RANDOM and SEQUENTIAL say so for the file
 * beforehand.
 *
 *      miss --block_fill_window--> n --block_fill_run--> p and n - 1 pages that the cache lacks: one bio
 *
 * Contract: block.h.
 *
 * Locks: none; streams are hints that readers on two CPUs may spoil for each other.
 */
#include <alloc/page.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/fadvise.h>
#include <task/task.h>
#include <vfs/cache.h>

#include "block_priv.h"

#define AHEAD_FIRST 4
#define AHEAD_MOST  256U /* vectors of one bio */

unsigned block_fill_window(struct page_cache *c, struct block_dev *d, u64 index, unsigned want, u64 there)
{
	unsigned most = clamp(d->whole->read_ahead_bytes / (u32)PAGE_SIZE, 1U, AHEAD_MOST);
	unsigned n = index ? 1 : AHEAD_FIRST, i;
	u8 advice = READ_ONCE(c->advice);

	want = min(want, AHEAD_MOST);
	if (advice == POSIX_FADV_RANDOM)
		return min((u64)want, there);
	if (advice == POSIX_FADV_SEQUENTIAL)
		n = most = min(most * 2, AHEAD_MOST);
	for (i = 0; i < ARRAY_SIZE(c->streams); i++)
		if (c->streams[i].next == index && c->streams[i].pages)
			break;
	if (i < ARRAY_SIZE(c->streams))
		n = max(c->streams[i].pages * 2, (u32)AHEAD_FIRST);
	else
		i = c->next_stream++ % ARRAY_SIZE(c->streams);
	n = max(min(n, most), want);
	c->streams[i].pages = n;
	n = min((u64)n, there);
	c->streams[i].next = index + n;
	return n;
}

/* p and those behind it that the cache lacks. vecs[0] is p. */
static unsigned gather(struct page_cache *c, struct page *p, unsigned want, struct bio_vec *vecs)
{
	unsigned n = 1;

	vecs[0] = (struct bio_vec){ p, 0, PAGE_SIZE };
	for (; n < want; n++) {
		struct page *there = cache_find(c, (u64)p->index + n);

		if (there) {
			page_put(there);
			break;
		}
		vecs[n] = (struct bio_vec){ page_alloc(0, 0, current->tenant), 0, PAGE_SIZE };
		if (!vecs[n].page)
			break;
		vecs[n].page->index = p->index + n;
	}
	return n;
}

/* A page that came along: it joins the cache, unless somebody was faster or it may be old already. */
static void keep(struct page_cache *c, struct page *p, u64 removals, u64 size, bool good)
{
	u64 at = (u64)p->index * PAGE_SIZE;

	if (good && at < size) {
		if (at + PAGE_SIZE > size)
			memset((char *)page_virt(p) + (size - at), 0, at + PAGE_SIZE - size);
		(void)page_test_set_flag(p, PAGE_UPTODATE);
		if (!cache_insert_ahead(c, p->index, p, removals))
			return;
	}
	page_put(p);
}

static int transfer(struct block_dev *d, u64 sector, struct bio_vec *vecs, unsigned n)
{
	struct bio b;

	bio_init(&b, d, BLOCK_READ, sector, vecs, n);
	b.flags = BIO_SYNC;
	b.done = block_done_wake;
	block_submit(&b);
	return block_wait(&b);
}

int block_fill_run(struct page_cache *c, struct page *p, struct block_dev *d, u64 sector, unsigned n, u64 size)
{
	struct bio_vec *vecs = n > 1 ? kmalloc(n * sizeof(*vecs), ALLOC_KERNEL) : NULL;
	struct bio_vec one = { p, 0, PAGE_SIZE };
	u64 removals = READ_ONCE(c->removals);
	int err = -EAGAIN;

	if (vecs) {
		n = gather(c, p, n, vecs);
		err = transfer(d, sector, vecs, n);
		for (unsigned i = 1; i < n; i++)
			keep(c, vecs[i].page, removals, size, !err);
		kfree(vecs);
	}
	/* Alone: nothing behind it, no memory for more, or something in the window cannot be read. */
	return err ? transfer(d, sector, &one, 1) : 0;
}
