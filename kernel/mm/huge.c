/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask whether memory comes in large pages, and some are told by their administrator to do without.
 *
 * Idea: one mode that the fault looks at before it takes a large page. What else Linux has here is a file that says
 * what is true of us: nothing is compacted or collapsed for a large page, shared memory and the page of zeros have
 * small ones.
 *
 * Contract: /sys/kernel/mm/transparent_hugepage of admin-guide/mm/transhuge.rst; -EINVAL for a mode that is not here.
 *
 * Locks: none; the mode is one word.
 */
#include <arch/mmu.h>
#include <core/attr.h>
#include <core/init.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include "mm_priv.h"

enum mode { ALWAYS, MADVISE, NEVER };
static const char *const names[] = { "always", "madvise", "never" };
static enum mode mode;

bool mm_wants_huge(const struct vma *v)
{
	enum mode m = READ_ONCE(mode);

	return !(v->flags & VMA_NOHUGE) && (m == ALWAYS || (m == MADVISE && (v->flags & VMA_HUGE)));
}

static int show_mode(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	enum mode m = READ_ONCE(mode);

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		strbuf_add(out, i == m ? "%s[%s]" : "%s%s", i ? " " : "", names[i]);
	strbuf_add(out, "\n");
	return 0;
}

static int set_mode(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	size_t n = len && text[len - 1] == '\n' ? len - 1 : len;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (n != strlen(names[i]) || memcmp(text, names[i], n))
			continue;
		WRITE_ONCE(mode, i);
		return 0;
	}
	return -EINVAL;
}

static int show_text(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", (const char *)a->data);
	return 0;
}

static int show_bytes(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", (ulong)HUGE_SIZE);
	return 0;
}

static const struct attr enabled = { .name = "enabled", .mode = 0644, .show = show_mode, .set = set_mode };
static const struct attr bytes = { .name = "hpage_pmd_size", .mode = 0444, .show = show_bytes };
static const struct attr defrag = {
	.name = "defrag", .mode = 0444, .show = show_text, .data = (ulong) "always defer defer+madvise madvise [never]"
};
static const struct attr shared = { .name = "shmem_enabled",
				    .mode = 0444,
				    .show = show_text,
				    .data = (ulong) "always within_size advise [never] deny force" };
static const struct attr zero = { .name = "use_zero_page", .mode = 0444, .show = show_text, .data = (ulong) "0" };
static const struct attr *const attrs[] = { &enabled, &bytes, &defrag, &shared, &zero, NULL };

static void huge_init(void)
{
	ensure(!attr_folder_add(&attr_sys_root, "kernel/mm/transparent_hugepage", attrs));
}
PART_INIT(late, huge_init);
