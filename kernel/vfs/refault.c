/* SPDX-License-Identifier: MIT
 *
 * Problem: whoever divides memory asks whether a tenant's page cache is too small: were pages taken from it that it
 * needed again?
 *
 * Idea: a table of marks, two bytes for every four pages of the machine. A page that reclaim takes leaves its mark
 * where its file and place hash to; a page that comes into a cache and finds its mark there was here before. A later
 * mark may lie on top of an earlier one, and one in 65,535 may be somebody else's: it is a count for people, and costs
 * the cache no entry of its own.
 *
 * Contract: vfs_priv.h. Counts workingset_refault_file of memory.stat.
 *
 * Locks: none; single words.
 */
#include <alloc/kmap.h>
#include <lib/err.h>
#include <task/tenant.h>
#include <vfs/cache.h>
#include "vfs_priv.h"

#define PAGES_A_MARK 4

static u16 *marks; /* NULL: there was no memory for them */
static u64 nr_marks;

void refault_init(u64 pages)
{
	big_free(marks);
	nr_marks = pages / PAGES_A_MARK;
	marks = nr_marks ? big_alloc(nr_marks, sizeof(*marks)) : NULL;
}

/* The mark of a page, never 0; *at is its place. */
static u16 mark_of(const struct page_cache *c, u64 index, u16 **at)
{
	u64 h = (c->host->ino ^ (ulong)c->host->super) * 0x9e3779b97f4a7c15ULL;

	h = ((h ^ h >> 32) + index) * 0xbf58476d1ce4e5b9ULL;
	h ^= h >> 29;
	*at = &marks[h % nr_marks];
	return (u16)((h >> 48) | 1);
}

void refault_gone(const struct page_cache *c, u64 index)
{
	u16 *at, mark;

	if (!marks)
		return;
	mark = mark_of(c, index, &at);
	WRITE_ONCE(*at, mark);
}

void refault_came(const struct page_cache *c, u64 index, u16 payer)
{
	u16 *at, mark;

	if (!marks)
		return;
	mark = mark_of(c, index, &at);
	if (READ_ONCE(*at) != mark)
		return;
	WRITE_ONCE(*at, 0);
	tenant_memory_count(payer, MEMORY_REFAULT_FILE, 1);
}
