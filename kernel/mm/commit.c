/* SPDX-License-Identifier: MIT
 *
 * Problem: memory is promised at mmap and taken at the first touch. A program that is refused can say so; one that
 * finds nothing left when it touches is killed. Some want every promise to be kept, most want more promises than
 * memory.
 *
 * Idea: pages of writable private ranges are promises (VMA_COMMITTED, counted with the other page counts).
 * vm.overcommit_ memory says what is refused: 0: only a single request above all memory and swap; 1: nothing; 2: what
 * would lift the sum above the limit (a share of memory, or a number, and all swap), less reserves that let root, and
 * the owner of a huge program, still do something about it.
 *
 * Contract: mm/commit.h; proc(5), overcommit_memory and its neighbours. Pages of shared memory count once they are
 * there.
 *
 * Locks: none; the settings are single words, and two requests at once may together pass the limit by their size.
 */
#include <core/attr.h>
#include <core/init.h>
#include <linux/capability.h>
#include <mm/commit.h>
#include <mm/swap.h>
#include <task/cred.h>
#include "mm_priv.h"

#define KIB_TO_PAGES(kib) ((u64)(kib) >> (PAGE_SHIFT - 10))

enum { GUESS, ALWAYS, NEVER };

static u32 overcommit = GUESS, ratio = 50, kbytes, admin_reserve_kbytes = 8192, user_reserve_kbytes = 131072;
static u64 memory_pages = ~0ULL; /* all that the machine has; known after boot */

u32 commit_flags(u32 flags)
{
	if (READ_ONCE(overcommit) == NEVER)
		flags &= ~(u32)VMA_NORESERVE;
	if ((flags & (VMA_WRITE | VMA_SHARED | VMA_NORESERVE | VMA_SPECIAL)) == VMA_WRITE)
		flags |= VMA_COMMITTED;
	return flags;
}

static u64 limit_of(const struct page_stats *s, const struct swap_totals *swap)
{
	u64 pages = kbytes ? KIB_TO_PAGES(kbytes) : s->total / 100 * ratio + s->total % 100 * ratio / 100;

	return pages + swap->total;
}

void commit_totals(u64 *limit, u64 *used)
{
	struct swap_totals swap;
	struct page_stats s;

	page_stats(&s);
	swap_totals(&swap);
	*limit = limit_of(&s, &swap);
	*used = s.committed + s.shmem;
}

bool commit_allows(const struct mm *m, u64 pages)
{
	struct swap_totals swap;
	struct page_stats s;
	u64 left, keep = 0;

	if (READ_ONCE(overcommit) == ALWAYS || (READ_ONCE(overcommit) == GUESS && pages <= memory_pages))
		return true;
	swap_totals(&swap);
	if (READ_ONCE(overcommit) == GUESS)
		return pages <= memory_pages + swap.total;
	page_stats(&s);
	left = limit_of(&s, &swap);
	if (!capable(CAP_SYS_ADMIN))
		keep += KIB_TO_PAGES(admin_reserve_kbytes);
	if (m)
		keep += min(m->total_pages / 32, KIB_TO_PAGES(user_reserve_kbytes));
	left -= min(left, keep + s.committed + s.shmem);
	return pages <= left;
}

/* ---- /proc/sys/vm ----------------------------------------------------------------------------------------------- */

static int set_mode(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, NEVER, &v);

	if (!err)
		WRITE_ONCE(overcommit, v);
	return err;
}

/* The limit is a ratio or a number: who sets one takes back the other. */
static int set_ratio(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	int err = attr_set_u32(dir, a, text, len);

	if (!err)
		WRITE_ONCE(*(&ratio == (u32 *)a->data ? &kbytes : &ratio), 0);
	return err;
}

static const struct attr mode_attr = { "overcommit_memory", 0644, attr_show_u32, set_mode, NULL, (ulong)&overcommit };
static const struct attr ratio_attr = { "overcommit_ratio", 0644, attr_show_u32, set_ratio, NULL, (ulong)&ratio };
static const struct attr kbytes_attr = { "overcommit_kbytes", 0644, attr_show_u32, set_ratio, NULL, (ulong)&kbytes };
static const struct attr admin_attr = { "admin_reserve_kbytes", 0644, attr_show_u32,
					attr_set_u32,           NULL, (ulong)&admin_reserve_kbytes };
static const struct attr user_attr = { "user_reserve_kbytes", 0644, attr_show_u32,
				       attr_set_u32,          NULL, (ulong)&user_reserve_kbytes };
static const struct attr *const attrs[] = { &mode_attr, &ratio_attr, &kbytes_attr, &admin_attr, &user_attr, NULL };

/* The reserves of a small machine are a small part of it. */
static void commit_init(void)
{
	struct page_stats s;
	u32 part;

	page_stats(&s);
	memory_pages = s.total;
	part = (s.free << (PAGE_SHIFT - 10)) / 32;
	admin_reserve_kbytes = min(admin_reserve_kbytes, part);
	user_reserve_kbytes = min(user_reserve_kbytes, part);
	ensure(!attr_folder_add(&attr_sysctl_root, "vm", attrs));
}
PART_INIT(late, commit_init);
