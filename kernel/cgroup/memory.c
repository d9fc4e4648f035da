/* SPDX-License-Identifier: MIT
 *
 * Problem: people see and bound what memory a tenant uses, protect it, hear when it is short, and ask to take some
 * back.
 *
 * Idea: the numbers are task's (tenant_memory.c) and mm's (what is anonymous, mapped, on swap); here are the texts. A
 * limit that is lowered first stands, then pages are reclaimed, and below memory.max processes killed, until it holds.
 *
 * Contract: cgroup-v2.rst, "Memory". memory.stat: what is not page cache, stacks or tables counts as anonymous, up to
 * what address spaces show. Pages of files that are mapped count as active, the others as inactive: there are no lists.
 * memory.events and its kin change their version when an event happens (poll, inotify).
 *
 * Locks: fields are single words; sums over the tree take cgroup_lock.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <task/sched.h>
#include <task/wait.h>
#include "cgroup_priv.h"

#define RECLAIM_ROUNDS 16
#define ULL(v)         ((unsigned long long)(v))

static struct share *share_of(struct attr_dir *d, const struct attr *a)
{
	return &cgroup_tenant(d)->share[a->data];
}

static u64 positive(s64 n)
{
	return n > 0 ? (u64)n : 0;
}

static int show_use(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", ULL(positive(atomic_read(&share_of(d, a)->use)) * PAGE_SIZE));
	return 0;
}

static int show_peak(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", ULL(positive(atomic_read(&share_of(d, a)->peak)) * PAGE_SIZE));
	return 0;
}

/* ---- limits and protection ---- */

static u64 *word_of(struct attr_dir *d, const struct attr *a)
{
	return (u64 *)((char *)cgroup_tenant(d) + a->data);
}

static int show_word(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	cgroup_show_limit(out, READ_ONCE(*word_of(d, a)), PAGE_SIZE);
	return 0;
}

static int set_word(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = cgroup_parse_limit(text, PAGE_SIZE, &v);

	if (err)
		return err;
	WRITE_ONCE(*word_of(d, a), v);
	return 0;
}

static int set_protection(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	int err = set_word(d, a, text, len);

	if (!err)
		tenant_use_protection();
	return err;
}

static int set_max(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	int err = set_word(d, a, text, len);

	if (!err)
		tenant_shrink_to(cgroup_tenant(d), READ_ONCE(*word_of(d, a)), true);
	return err;
}

static int set_high(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	int err = set_word(d, a, text, len);

	if (!err)
		tenant_shrink_to(cgroup_tenant(d), READ_ONCE(*word_of(d, a)), false);
	return err;
}

static int show_group(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", READ_ONCE(cgroup_tenant(d)->memory.oom_group));
	return 0;
}

static int set_group(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	s64 v;
	int err = str_to_s64(str_trim(text), 0, &v);

	if (err)
		return err;
	if (v != (int)v)
		return -ERANGE;
	if (v != 0 && v != 1)
		return -EINVAL;
	WRITE_ONCE(cgroup_tenant(d)->memory.oom_group, v);
	return 0;
}

/* As many pages as it says, or -EAGAIN. */
static int set_reclaim(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 pages, freed = 0;
	int err = cgroup_parse_limit(text, PAGE_SIZE, &pages);

	text = str_trim(text);
	if (err || !strcmp(text, "max"))
		return -EINVAL;
	if (!*text)
		pages = ~0ULL; /* Linux' word for everything, here */
	for (int idle = 0; freed < pages;) {
		u64 n = upcall_reclaim(cgroup_tenant(d), min(pages - freed, 1024UL));

		if (signal_pending(current))
			return -EINTR;
		if (!n && idle++ == RECLAIM_ROUNDS)
			return -EAGAIN;
		freed += n;
	}
	return 0;
}

/* ---- what happened ---- */

static int show_events(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	static const char *const names[] = { "low", "high", "max", "oom", "oom_kill", "oom_group_kill" };
	const struct tenant_memory *m = &cgroup_tenant(d)->memory;
	const atomic64_t *n = a->data ? m->local : m->events;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		strbuf_add(out, "%s %llu\n", names[i], ULL(atomic_read(&n[i])));
	return 0;
}

static int show_swap_events(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	const struct tenant_memory *m = &cgroup_tenant(d)->memory;

	strbuf_add(out, "high %llu\nmax %llu\nfail %llu\n", ULL(atomic_read(&m->events[MEMORY_SWAP_HIGH])),
		   ULL(atomic_read(&m->events[MEMORY_SWAP_MAX])), ULL(atomic_read(&m->events[MEMORY_SWAP_FAIL])));
	return 0;
}

/* sum[MEMORY_KINDS]: bytes of objects. */
static void add_kinds(struct tenant *t, u64 *sum)
{
	struct attr_dir *child;

	for (unsigned k = 0; k < MEMORY_KINDS; k++)
		sum[k] += positive(atomic_read(&t->memory.kind[k]));
	sum[MEMORY_KINDS] += positive(atomic_read(&t->object_bytes));
	for_each_child_dir(child, cgroup_of(t)) add_kinds(child->owner, sum);
}

static void show_counts(const struct tenant *t, const struct tenant_use *tasks, struct strbuf *out)
{
	const atomic64_t *n = t->memory.count;

	strbuf_add(out, "workingset_refault_anon %llu\nworkingset_refault_file %llu\npgscan %llu\npgsteal %llu\n",
		   ULL(atomic_read(&n[MEMORY_REFAULT_ANON])), ULL(atomic_read(&n[MEMORY_REFAULT_FILE])),
		   ULL(atomic_read(&n[MEMORY_SCANNED])), ULL(atomic_read(&n[MEMORY_STOLEN])));
	strbuf_add(out, "pgfault %llu\npgmajfault %llu\n", ULL(tasks->faults), ULL(tasks->major_faults));
}

static int show_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct tenant *t = cgroup_tenant(d);
	u64 kind[MEMORY_KINDS + 1] = { 0 }, kernel, known, use, files;
	struct tenant_use tasks = { 0 };
	struct mm_usage u;

	mutex_lock(&cgroup_lock);
	add_kinds(t, kind);
	cgroup_add_use(t, &tasks);
	mutex_unlock(&cgroup_lock);
	mm_usage_below(t, &u);
	use = positive(atomic_read(&t->share[RES_MEMORY].use));
	kernel = kind[MEMORY_STACKS] + u.tables + kind[MEMORY_KINDS] / PAGE_SIZE;
	known = kind[MEMORY_FILE] + kernel;
	files = kind[MEMORY_FILE] - min(kind[MEMORY_SHMEM], kind[MEMORY_FILE]);
	const struct {
		const char *name;
		u64 pages;
	} rows[] = {
		{ "anon", min(u.anon, use > known ? use - known : 0) },
		{ "file", kind[MEMORY_FILE] },
		{ "kernel", kernel },
		{ "kernel_stack", kind[MEMORY_STACKS] },
		{ "pagetables", u.tables },
		{ "shmem", kind[MEMORY_SHMEM] },
		{ "file_mapped", min(u.file, kind[MEMORY_FILE]) },
		{ "file_dirty", kind[MEMORY_DIRTY] },
		{ "file_writeback", kind[MEMORY_WRITEBACK] },
		{ "inactive_file", files - min(u.file, files) },
		{ "active_file", min(u.file, files) },
		{ "slab", kind[MEMORY_KINDS] / PAGE_SIZE },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		strbuf_add(out, "%s %llu\n", rows[i].name, ULL(rows[i].pages * PAGE_SIZE));
	show_counts(t, &tasks, out);
	return 0;
}

static bool is_below(u16 payer, const void *top)
{
	return tenant_page_is_below(payer, top);
}

/* What it pays for, by node: read from the descriptors of all pages. */
static int show_numa_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	static const struct {
		const char *name;
		size_t at;
	} rows[] = {
		{ "anon", offsetof(struct page_node_use, anon) },
		{ "file", offsetof(struct page_node_use, cached) },
		{ "pagetables", offsetof(struct page_node_use, tables) },
		{ "file_mapped", offsetof(struct page_node_use, mapped) },
		{ "file_dirty", offsetof(struct page_node_use, dirty) },
		{ "anon_thp", offsetof(struct page_node_use, huge) },
	};
	struct page_node_use *use = kcalloc(node_count(), sizeof(*use), 0);

	if (!use)
		return -ENOMEM;
	for (unsigned n = 0; n < node_count(); n++)
		for (unsigned i = 0; page_node_use(i, n, is_below, cgroup_tenant(d), &use[n]); i++)
			resched_point();
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		strbuf_add(out, "%s", rows[i].name);
		for (unsigned n = 0; n < node_count(); n++)
			strbuf_add(out, " N%u=%llu", n, ULL(*(u64 *)((char *)&use[n] + rows[i].at) * PAGE_SIZE));
		strbuf_add(out, "\n");
	}
	kfree(use);
	return 0;
}

#define FILE(id, text, bits, get, put, value) static CGROUP_FILE(file_##id, text, bits, get, put, value)
#define WORD(field)                           offsetof(struct tenant, field)

FILE(current, "memory.current", 0444, show_use, NULL, RES_MEMORY);
FILE(peak, "memory.peak", 0444, show_peak, NULL, RES_MEMORY);
FILE(min, "memory.min", 0644, show_word, set_protection, WORD(memory.min));
FILE(low, "memory.low", 0644, show_word, set_protection, WORD(memory.low));
FILE(high, "memory.high", 0644, show_word, set_high, WORD(memory.high));
FILE(max, "memory.max", 0644, show_word, set_max, WORD(share[RES_MEMORY].limit));
FILE(events, "memory.events", 0444, show_events, NULL, 0);
FILE(events_local, "memory.events.local", 0444, show_events, NULL, 1);
FILE(stat, "memory.stat", 0444, show_stat, NULL, 0);
FILE(numa_stat, "memory.numa_stat", 0444, show_numa_stat, NULL, 0);
FILE(group, "memory.oom.group", 0644, show_group, set_group, 0);
FILE(reclaim, "memory.reclaim", 0200, NULL, set_reclaim, 0);
FILE(swap_current, "memory.swap.current", 0444, show_use, NULL, RES_SWAP);
FILE(swap_high, "memory.swap.high", 0644, show_word, set_word, WORD(memory.swap_high));
FILE(swap_max, "memory.swap.max", 0644, show_word, set_word, WORD(share[RES_SWAP].limit));
FILE(swap_events, "memory.swap.events", 0444, show_swap_events, NULL, 0);

u64 cgroup_memory_version(struct attr_dir *d, const struct attr *a)
{
	if (a != &file_events && a != &file_events_local && a != &file_swap_events)
		return 0;
	return READ_ONCE(cgroup_tenant(d)->memory.version) + 1ULL;
}

static void reset(struct tenant *t)
{
	WRITE_ONCE(t->share[RES_MEMORY].limit, ~0ULL);
	WRITE_ONCE(t->share[RES_SWAP].limit, ~0ULL);
	WRITE_ONCE(t->memory.high, ~0ULL);
	WRITE_ONCE(t->memory.swap_high, ~0ULL);
	WRITE_ONCE(t->memory.min, 0);
	WRITE_ONCE(t->memory.low, 0);
	WRITE_ONCE(t->memory.oom_group, false);
}

static const struct attr *const files[] = {
	&file_current,   &file_peak,         &file_min,         &file_low,       &file_high,    &file_max,
	&file_events,    &file_events_local, &file_stat,        &file_group,     &file_reclaim, &file_swap_current,
	&file_swap_high, &file_swap_max,     &file_swap_events, &file_numa_stat, NULL
};
static const struct attr *const root_files[] = { &file_stat, &file_numa_stat, &file_reclaim, NULL };
struct cgroup_controller cgroup_memory = {
	.name = "memory", .files = files, .root_files = root_files, .disabled = reset
};
