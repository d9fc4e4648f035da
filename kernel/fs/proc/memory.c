/* SPDX-License-Identifier: MIT
 *
 * Problem: debuggers read and write another process's memory as a file, and ask where its pages are.
 *
 * Idea: /proc/PID/mem keeps the address space that the process had when the file was opened; each piece goes through
 * mm_access in parts of a page, so nothing is mapped and nothing is pinned. pagemap likewise. smaps and numa_maps count
 * page table entries VMA by VMA.
 *
 * Contract: proc(5). mem: the right to trace the task at open; writes reach read-only memory, as a debugger's
 * breakpoints need.
 *
 * Locks: mm->lock for reading in smaps and numa_maps; none held while copying.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <mm/mm.h>
#include <task/sched.h>
#include <vfs/uapi.h>

#include "proc_priv.h"

/* ---- mem -------------------------------------------------------------------------------------------------- */

static int mem_open(struct inode *i, struct file *f)
{
	struct task *t = proc_task_of(i);
	struct mm *m;

	if (!t)
		return -ESRCH;
	m = process_may_look(t) ? mm_of_task(t) : NULL;
	f->priv = m;
	if (m) {
		mm_hold(m); /* the struct only: an open file keeps no memory alive */
		mm_put(m);
	}
	if (!m && !process_may_look(t)) {
		task_put(t);
		return -EACCES;
	}
	task_put(t);
	return 0;
}

static void mem_release(struct file *f)
{
	if (f->priv)
		mm_drop(f->priv);
}

static ssize_t mem_move(struct io *io, bool write)
{
	struct mm *m = io->file->priv;
	ssize_t done = 0, n = 0;
	char *page;

	if (!m || !mm_get_live(m))
		return 0;
	page = kmalloc(PAGE_SIZE, ALLOC_KERNEL);
	while (page && io->iter.count) {
		size_t part = min(io->iter.count, PAGE_SIZE - io->pos % PAGE_SIZE), moved;

		if (write && iter_copy_in(page, part, &io->iter) != part) {
			n = -EFAULT;
			break;
		}
		n = mm_access(m, io->pos, page, part, write, true);
		if (n <= 0)
			break;
		moved = write ? (size_t)n : iter_copy_out(page, n, &io->iter);
		io->pos += moved;
		done += moved;
		if (moved < part) {
			n = moved ? n : -EFAULT;
			break;
		}
	}
	kfree(page);
	mm_put(m);
	if (!page)
		return -ENOMEM;
	return done || n >= 0 ? done : n == -EFAULT ? -EIO : n;
}

static ssize_t mem_read(struct io *io)
{
	return mem_move(io, false);
}

static ssize_t mem_write(struct io *io)
{
	return mem_move(io, true);
}

static s64 mem_llseek(struct file *f, s64 off, int whence)
{
	if (whence != SEEK_SET && whence != SEEK_CUR)
		return -EINVAL;
	f->pos = whence == SEEK_CUR ? f->pos + off : off; /* addresses of the upper half are negative */
	return f->pos;
}

const struct file_ops proc_mem_ops = {
	.open = mem_open, .release = mem_release, .read = mem_read, .write = mem_write, .llseek = mem_llseek
};

/* ---- pagemap: a word a page of the address space ------------------------------------------------------------------
 */

#define WORDS_A_TURN 64

/* Documentation/admin-guide/mm/pagemap.rst. */
static u64 pagemap_word(const struct mm_page_state *s, bool may_see_frames)
{
	u64 where = may_see_frames || s->swapped ? s->where & (BIT(55) - 1) : 0;

	return (s->present || s->swapped ? where : 0) | (s->alone ? BIT(56) : 0) | (s->file ? BIT(61) : 0) |
	       (s->swapped ? BIT(62) : 0) | (s->present ? BIT(63) : 0);
}

static ssize_t pagemap_read(struct io *io)
{
	struct mm *m = io->file->priv;
	bool frames = capable(CAP_SYS_ADMIN);
	struct mm_page_state state[WORDS_A_TURN];
	u64 word[WORDS_A_TURN], end = USER_END / PAGE_SIZE * sizeof(u64);
	ssize_t done = 0;

	if (io->pos % sizeof(u64) || io->iter.count % sizeof(u64))
		return -EINVAL;
	if (!m || !mm_get_live(m))
		return 0;
	while (io->iter.count && (u64)io->pos < end) {
		u64 n = min(min(io->iter.count, end - io->pos) / sizeof(u64), (u64)WORDS_A_TURN), copied;

		mm_page_states(m, io->pos / sizeof(u64) * PAGE_SIZE, n, state);
		for (u64 i = 0; i < n; i++)
			word[i] = pagemap_word(&state[i], frames);
		copied = iter_copy_out(word, n * sizeof(u64), &io->iter);
		io->pos += copied;
		done += copied;
		if (copied < n * sizeof(u64)) {
			done = done ? done : -EFAULT;
			break;
		}
		resched_point();
	}
	mm_put(m);
	return done;
}

const struct file_ops proc_pagemap_ops = {
	.open = mem_open, .release = mem_release, .read = pagemap_read, .llseek = mem_llseek
};

/* ---- auxv, smaps ------------------------------------------------------------------------------------------------ */

int proc_show_auxv(struct task *t, struct strbuf *out)
{
	struct mm *m = process_may_look(t) ? mm_of_task(t) : NULL;

	if (!m)
		return process_may_look(t) ? 0 : -EACCES;
	strbuf_put(out, (const char *)m->auxv, m->auxv_words * sizeof(ulong));
	mm_put(m);
	return 0;
}

static void add_sizes(struct strbuf *out, u64 pages, const struct mm_map_stats *s, u64 locked)
{
	u64 resident = s->anon_pages + s->file_pages;

	strbuf_add(
		out,
		"Size:           %8llu kB\nKernelPageSize: %8u kB\nMMUPageSize:    %8u kB\nRss:            %8llu kB\n"
		"Pss:            %8llu kB\n",
		KIB(pages), 4, 4, KIB(resident), KIB(resident));
	strbuf_add(out,
		   "Private_Dirty:  %8llu kB\nReferenced:     %8llu kB\nAnonymous:      %8llu kB\nAnonHugePages:  "
		   "%8llu kB\n"
		   "Swap:           %8u kB\nLocked:         %8llu kB\n",
		   KIB(s->dirty_pages), KIB(s->young_pages), KIB(s->anon_pages), KIB(s->huge_pages), 0, KIB(locked));
}

/* maps' line of each VMA and its sizes, or the sums of all. */
static int show_sizes(struct task *t, struct strbuf *out, bool rollup)
{
	struct mapping_name *name = kmalloc(sizeof(*name), ALLOC_KERNEL);
	struct mm_map_stats s, sum = { 0 };
	struct mm *m = name && process_may_look(t) ? mm_of_task(t) : NULL;
	u64 pages = 0, locked = 0;

	if (!m) {
		bool no_memory = !name;

		kfree(name);
		return no_memory ? -ENOMEM : process_may_look(t) ? 0 : -EACCES;
	}
	read_lock(&m->lock);
	for (struct vma *v = mm_find_vma(m, 0); v; v = mm_next_vma(v)) {
		u64 here;

		mm_range_stats(m, v->start, v->end, &s);
		here = v->flags & VMA_LOCKED ? s.anon_pages + s.file_pages : 0;
		if (!rollup) {
			proc_add_vma(out, v, name);
			add_sizes(out, (v->end - v->start) / PAGE_SIZE, &s, here);
		}
		locked += here;
		pages += (v->end - v->start) / PAGE_SIZE;
		sum.anon_pages += s.anon_pages;
		sum.file_pages += s.file_pages;
		sum.dirty_pages += s.dirty_pages;
		sum.young_pages += s.young_pages;
		sum.huge_pages += s.huge_pages;
	}
	read_unlock(&m->lock);
	if (rollup) {
		strbuf_add(out, "%016x-%016lx ---p 00000000 00:00 0                          [rollup]\n", 0, USER_END);
		add_sizes(out, pages, &sum, locked);
	}
	mm_put(m);
	kfree(name);
	return 0;
}

int proc_show_smaps(struct task *t, struct strbuf *out)
{
	return show_sizes(t, out, false);
}

int proc_show_smaps_rollup(struct task *t, struct strbuf *out)
{
	return show_sizes(t, out, true);
}

/* ---- numa_maps --------------------------------------------------------------------------------------------------- */

static void add_label(struct strbuf *out, const char *label)
{
	if (label && label[0] == '/')
		strbuf_add(out, " file=%s", label);
	else if (label && !strcmp(label, "[heap]"))
		strbuf_add(out, " heap");
	else if (label && !strcmp(label, "[stack]"))
		strbuf_add(out, " stack");
}

static void add_places(struct strbuf *out, const struct mm_map_stats *s)
{
	u64 pages = s->anon_pages + s->file_pages;

	if (!pages)
		return;
	if (s->anon_pages)
		strbuf_add(out, " anon=%llu", (unsigned long long)s->anon_pages);
	if (s->dirty_pages)
		strbuf_add(out, " dirty=%llu", (unsigned long long)s->dirty_pages);
	if (pages != s->anon_pages && pages != s->dirty_pages)
		strbuf_add(out, " mapped=%llu", (unsigned long long)pages);
	if (s->most_users > 1)
		strbuf_add(out, " mapmax=%u", s->most_users);
	if (s->young_pages < pages)
		strbuf_add(out, " active=%llu", (unsigned long long)s->young_pages);
	for (unsigned n = 0; n < MAX_NODES; n++)
		if (s->node_pages[n])
			strbuf_add(out, " N%u=%llu", n, (unsigned long long)s->node_pages[n]);
	strbuf_add(out, " kernelpagesize_kB=4");
}

int proc_show_numa_maps(struct task *t, struct strbuf *out)
{
	struct mm *m = process_may_look(t) ? mm_of_task(t) : NULL;
	struct mempolicy *own = task_mempolicy_get(t);
	nodemask_t allowed = task_mems(t);
	struct mapping_name *name = m ? kmalloc(sizeof(*name), ALLOC_KERNEL) : NULL;
	struct mm_map_stats s;

	if (name) {
		read_lock(&m->lock);
		for (struct vma *v = mm_find_vma(m, 0); v; v = mm_next_vma(v)) {
			strbuf_add(out, "%08lx ", v->start);
			mempolicy_describe(v->policy ? v->policy : own, allowed, out);
			add_label(out, proc_vma_label(v, name));
			mm_range_stats(m, v->start, v->end, &s);
			add_places(out, &s);
			strbuf_add(out, "\n");
		}
		read_unlock(&m->lock);
	}
	if (m)
		mm_put(m);
	kfree(name);
	mempolicy_put(own);
	return m && !name ? -ENOMEM : m || process_may_look(t) ? 0 : -EACCES;
}
