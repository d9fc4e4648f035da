/* SPDX-License-Identifier: MIT
 *
 * Problem: programs write faster than disks. Without limits memory fills with dirty pages and everybody then waits for
 * all of them; with hard stops a writer alternates between full speed and seconds of silence.
 *
 * Idea: each cache keeps its dirty pages in a tree of their own, each device a list of dirty caches and a flusher. The
 * flusher writes runs of neighbouring pages when too much is dirty, when data grow old, or when asked. A writer asks
 * the arithmetic of vfs/dirty.h, after every few pages, how long to sleep so that it goes as fast as its device cleans.
 *
 * Contract: vfs/writeback.h.
 *
 * Locks: cache->lock for the dirty tree and the flags' transitions; wb->lock for the list and the rate. Never both. A
 * page that leaves the dirty tree gets WRITEBACK under cache->lock, so that a waiter sees it in one place or the other.
 */
#include <alloc/slab.h>
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/plug.h>
#include <task/psi.h>
#include <task/sched.h>
#include <task/tenant.h>
#include <vfs/writeback.h>

#include "trace.h"
#include "vfs_priv.h"

#define RUN_PAGES       64
#define RECLAIM_WAIT_NS (5 * NSEC_PER_MSEC)
#define TENANT_PAUSE_NS (10 * NSEC_PER_MSEC)

static struct dirty_controls controls = { .background_ratio = 10, .ratio = 20 };
static u64 periodic_centisecs = 500, expire_centisecs = 3000;
static LIST(all);
static struct spinlock all_lock = SPIN_INIT(RANK_DIRTY); /* the list and walkers; no wb->lock inside */

/* ---- pages -------------------------------------------------------------------------------------- */

/* Puts a cache on its device's list if it is not there; `dirtied_ns` is when its oldest dirty page became so. */
static void list_cache(struct page_cache *c)
{
	struct writeback *wb = c->wb;
	ulong irq = spin_lock_irqsave(&wb->lock);

	if (list_empty(&c->dirty_link)) {
		c->dirtied_ns = clock_ns();
		inode_get(c->host); /* the list's reference */
		list_add_tail(&c->dirty_link, &wb->dirty);
	}
	spin_unlock_irqrestore(&wb->lock, irq);
}

void cache_mark_dirty(struct page_cache *c, struct page *p)
{
	bool fresh;

	if (p->flags & PAGE_DIRTY)
		return;
	spin_lock(&c->lock);
	fresh = !page_test_set_flag(p, PAGE_DIRTY);
	if (fresh && xa_store(&c->dirty, p->index, p, NULL)) {
		/* No memory for the tree's node: the page stays dirty by flag, and is found again by track_again. */
		c->dirty_untracked = true;
	}
	c->nr_dirty += fresh;
	spin_unlock(&c->lock);
	if (!fresh)
		return;
	tenant_memory_kind(p->tenant, MEMORY_DIRTY, 1);
	atomic_inc(&c->wb->nr_dirty);
	atomic_inc(&c->wb->nr_dirtied);
	if (trace_on(writeback_dirty_folio))
		writeback_trace_dirty(c, p);
	list_cache(c);
}

/* The window in which all pages under writeback lie begins anew when there were none. c->lock is held. */
static void note_writing(struct page_cache *c, u64 index)
{
	if (!atomic_read(&c->nr_writing)) {
		c->writing_first = index;
		c->writing_last = index;
	}
	c->writing_first = min(c->writing_first, index);
	c->writing_last = max(c->writing_last, index);
	atomic_inc(&c->nr_writing);
}

/* Takes the next dirty page at or above *index, now under writeback and referenced. busy: it is under writeback from
 * before. like: only one of the same tenant, who is to pay for the transfer; NULL: of any. */
static struct page *take_dirty(struct page_cache *c, u64 *index, u64 last, const struct page *like, bool *busy)
{
	struct page *p;

	spin_lock(&c->lock);
	p = xa_find(&c->dirty, index, last);
	if (p && like && p->tenant != like->tenant)
		p = NULL;
	*busy = p && p->flags & PAGE_WRITEBACK;
	if (p && !*busy) {
		page_get(p);
		xa_erase(&c->dirty, *index);
		c->nr_dirty--;
		note_writing(c, *index);
		(void)page_test_set_flag(p, PAGE_WRITEBACK);
		(void)page_test_clear_flag(p, PAGE_DIRTY);
	}
	spin_unlock(&c->lock);
	if (p && !*busy) {
		tenant_memory_kind(p->tenant, MEMORY_DIRTY, -1);
		tenant_memory_kind(p->tenant, MEMORY_WRITEBACK, 1);
		atomic_dec(&c->wb->nr_dirty);
		atomic_inc(&c->wb->nr_writeback);
	}
	return p;
}

void cache_write_done(struct page_cache *c, struct page *p, int error)
{
	struct writeback *wb = c->wb;
	ulong irq;

	if (error) {
		WRITE_ONCE(c->wb_err, ALIGN_DOWN(c->wb_err, WB_EPOCH) + WB_EPOCH + (u32)-error);
		(void)fail(-error, "writeback of page %u of inode %llu", p->index, (unsigned long long)c->host->ino);
	}
	tenant_memory_kind(p->tenant, MEMORY_WRITEBACK, -1);
	atomic_dec(&c->nr_writing); /* before the flag: who waits for that may drop the cache */
	(void)page_test_clear_flag(p, PAGE_WRITEBACK);
	page_put(p);
	atomic_dec(&wb->nr_writeback);
	atomic_inc(&wb->nr_written);
	irq = spin_lock_irqsave(&wb->lock);
	dirty_account_written(&wb->rate, 1);
	spin_unlock_irqrestore(&wb->lock, irq);
	waitq_wake_all(&wb->progress);
}

static void wait_page(struct page_cache *c, struct page *p)
{
	wait_event(&c->wb->progress, !(READ_ONCE(p->flags) & PAGE_WRITEBACK));
}

/* Collects a run of neighbouring dirty pages from *index on. */
static unsigned take_run(struct page_cache *c, u64 *index, u64 last, u64 max, unsigned flags, struct page **run)
{
	unsigned n = 0;
	u64 at = *index;

	while (n < min(max, (u64)RUN_PAGES)) {
		bool busy;
		struct page *p = take_dirty(c, &at, n ? at : last, n ? run[0] : NULL, &busy);

		if (!p)
			break;
		if (busy && n)
			break; /* ends this run; the next one deals with it */
		if (busy && flags & WRITE_SYNC) {
			wait_page(c, p);
			continue;
		}
		if (busy) {
			*index = ++at;
			continue;
		}
		mapping_clean_page(&c->map, p);
		if (!n)
			*index = at;
		run[n++] = p;
		at++;
	}
	return n;
}

/* Dirty pages that the tree had no memory for join it now, or at the next try. */
static void track_again(struct page_cache *c)
{
	struct page *p;
	u64 index;

	spin_lock(&c->lock);
	c->dirty_untracked = false;
	xa_for_each (&c->pages, index, p)
		if (p->flags & PAGE_DIRTY && !xa_load(&c->dirty, index) && xa_store(&c->dirty, index, p, NULL))
			c->dirty_untracked = true;
	spin_unlock(&c->lock);
}

s64 cache_write_range(struct page_cache *c, u64 first, u64 last, u64 max, unsigned flags)
{
	struct page *run[RUN_PAGES];
	u64 index = first, written = 0;
	struct plug plug;
	int err = 0;

	if (unlikely(c->dirty_untracked))
		track_again(c);
	plug_start(&plug);
	while (written < max && !err) {
		unsigned n = take_run(c, &index, last, max - written, flags, run);

		if (!n)
			break;
		err = c->ops->write(c, index, run, n, flags); /* has told cache_write_done of each page if it failed */
		written += n;
		index += n;
		resched_point();
	}
	plug_finish(&plug);
	return err ? err : (s64)written;
}

void cache_wait_range(struct page_cache *c, u64 first, u64 last)
{
	struct page *p;
	u64 index;

	if (!atomic_read(&c->nr_writing))
		return;
	spin_lock(&c->lock);
	first = max(first, c->writing_first);
	last = min(last, c->writing_last);
	spin_unlock(&c->lock);
	for (index = first; index <= last; index++) {
		rcu_read_lock();
		p = xa_find(&c->pages, &index, last);
		if (p && !refcount_inc_not_zero((refcount_t *)&p->refs))
			p = NULL;
		rcu_read_unlock();
		if (!p)
			return;
		if (p->flags & PAGE_WRITEBACK)
			wait_page(c, p);
		page_put(p);
	}
}

void cache_wait_writing(struct page_cache *c)
{
	wait_event(&c->wb->progress, !atomic_read(&c->nr_writing));
}

void cache_forget(struct page_cache *c, u64 pos, u64 bytes)
{
	if (READ_ONCE(c->nr_pages))
		cache_remove(c, ALIGN_DOWN(pos, PAGE_SIZE), ALIGN_UP(pos + bytes, PAGE_SIZE));
}

int cache_step_aside(struct page_cache *c, u64 pos, u64 bytes, bool write, bool nowait)
{
	u64 first = pos / PAGE_SIZE, last = (pos + bytes - 1) / PAGE_SIZE;

	if (!READ_ONCE(c->nr_pages) || !bytes)
		return 0;
	if (READ_ONCE(c->nr_dirty) || atomic_read(&c->nr_writing)) {
		if (nowait)
			return -EAGAIN;
		(void)!cache_write_range(c, first, last, ~0ULL, WRITE_SYNC); /* fsync tells what failed */
		cache_wait_range(c, first, last);
	}
	if (write)
		cache_forget(c, pos, bytes);
	return 0;
}

int cache_sync_file(struct file *f, u64 first, u64 last)
{
	return cache_sync_for(f->inode->cache, f, first, last);
}

int cache_sync_all(struct file *f)
{
	struct page_cache *c = f->inode->cache;

	return c && c->wb ? cache_sync_file(f, 0, ~0ULL) : 0;
}

int cache_sync_for(struct page_cache *c, struct file *f, u64 first, u64 last)
{
	s64 n = cache_write_range(c, first, last, ~0ULL, WRITE_SYNC);
	u32 seen;

	cache_wait_range(c, first, last);
	seen = __atomic_or_fetch(&c->wb_err, WB_SEEN, __ATOMIC_RELAXED);
	if (seen != (f->wb_err | WB_SEEN)) {
		f->wb_err = seen;
		return -(int)(seen & (WB_SEEN - 1));
	}
	return n < 0 ? (int)n : 0;
}

/* ---- limits ------------------------------------------------------------------------------------------ */

static struct dirty_limits limits_now(void)
{
	struct page_stats s;

	page_stats(&s);
	return dirty_limits(&controls, s.free + s.cached);
}

void writeback_counts(struct writeback_counts *out)
{
	struct dirty_limits l = limits_now();
	struct writeback *wb;

	*out = (struct writeback_counts){ .background_limit = l.background_pages, .limit = l.limit_pages };
	spin_lock(&all_lock);
	list_for_each_entry (wb, &all, link) {
		out->dirty += atomic_read(&wb->nr_dirty);
		out->under_writeback += atomic_read(&wb->nr_writeback);
		out->written += atomic_read(&wb->nr_written);
		out->dirtied += atomic_read(&wb->nr_dirtied);
	}
	spin_unlock(&all_lock);
}

static void kick(struct writeback *wb)
{
	WRITE_ONCE(wb->flush_now, true);
	waitq_wake_all(&wb->work);
}

static struct dirty_verdict judge(struct writeback *wb, u64 pages)
{
	struct writeback_counts total;
	struct dirty_limits l;
	struct dirty_verdict v;
	struct dirty_state s;
	ulong irq;

	writeback_counts(&total);
	l = (struct dirty_limits){ total.background_limit, total.limit };
	s = (struct dirty_state){ total.dirty + total.under_writeback,
				  atomic_read(&wb->nr_dirty) + atomic_read(&wb->nr_writeback) };
	irq = spin_lock_irqsave(&wb->lock);
	dirty_account_dirtied(&wb->rate, pages);
	v = dirty_balance(&wb->rate, &l, &s, pages, clock_ns());
	spin_unlock_irqrestore(&wb->lock, irq);
	if (trace_on(balance_dirty_pages))
		writeback_trace_pause(wb, &total, pages, v.pause_ns);
	return v;
}

/* -EINTR: the writer is to die. */
static int pause_writer(struct writeback *wb, u64 ns)
{
	if (wb->throttled)
		wb->throttled(wb);
	psi_io_begin();
	sched_set_state(TASK_KILLABLE);
	sched_sleep_until(clock_ns() + ns);
	psi_io_end();
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static u64 dirty_of_tenant(void)
{
	s64 pages;

	rcu_read_lock();
	pages = atomic_read(&rcu_deref(current->tenant)->memory.kind[MEMORY_DIRTY]) +
		atomic_read(&rcu_deref(current->tenant)->memory.kind[MEMORY_WRITEBACK]);
	rcu_read_unlock();
	return (u64)max(pages, (s64)0);
}

/* A tenant whose writes are limited waits for itself, long before it has filled what all may have dirty. */
static int balance_tenant(struct writeback *wb)
{
	u64 budget;

	while (wb->budget && (budget = wb->budget(wb)) != ~0ULL) {
		current->dirty_pause_pages = min(current->dirty_pause_pages, max(budget / 4, 1ULL));
		if (dirty_of_tenant() <= budget)
			return 0;
		kick(wb);
		if (pause_writer(wb, TENANT_PAUSE_NS))
			return -EINTR;
	}
	return 0;
}

int cache_balance_dirty(struct page_cache *c, u64 pages)
{
	struct writeback *wb = c->wb;
	struct task *t = current;

	t->dirtied_pages += pages;
	if (t->dirtied_pages < t->dirty_pause_pages)
		return 0;
	for (pages = t->dirtied_pages, t->dirtied_pages = 0;; pages = 0) {
		struct dirty_verdict v = judge(wb, pages);

		t->dirty_pause_pages = v.next_pages;
		if (v.start_flusher)
			kick(wb);
		if (!v.pause_ns)
			return balance_tenant(wb);
		if (pause_writer(wb, v.pause_ns))
			return -EINTR;
	}
}

/* ---- the flusher --------------------------------------------------------------------------------------- */

/* The first cache of the list, off it; old_only: if its data have expired. Its inode's reference becomes ours. */
static struct page_cache *take_cache(struct writeback *wb, bool old_only)
{
	ulong irq = spin_lock_irqsave(&wb->lock);
	struct page_cache *c = list_first_or_null(&wb->dirty, struct page_cache, dirty_link);

	if (c && old_only && clock_ns() - c->dirtied_ns < expire_centisecs * 10 * NSEC_PER_MSEC)
		c = NULL;
	if (c)
		list_del_init(&c->dirty_link);
	spin_unlock_irqrestore(&wb->lock, irq);
	return c;
}

/* One round on one cache; what stays dirty goes to the list's end. Returns pages written. */
static s64 flush_one(struct writeback *wb, bool old_only, unsigned flags)
{
	struct page_cache *c = take_cache(wb, old_only);
	struct inode *host;
	s64 n;

	if (!c)
		return -ENOENT;
	host = c->host;
	if (trace_on(writeback_start))
		writeback_trace_round(TRACE_writeback_start, c, READ_ONCE(c->nr_dirty), flags);
	n = cache_write_range(c, 0, ~0ULL, dirty_chunk_pages(&wb->rate), flags);
	if (trace_on(writeback_written))
		writeback_trace_round(TRACE_writeback_written, c, max(n, (s64)0), flags);
	if (READ_ONCE(c->nr_dirty))
		list_cache(c);
	inode_put(host);
	return max(n, (s64)0);
}

static bool over_background(struct writeback *wb)
{
	return (u64)atomic_read(&wb->nr_dirty) > limits_now().background_pages;
}

static void flush_round(struct writeback *wb, bool everything)
{
	while (flush_one(wb, !everything && !over_background(wb), WRITE_BACKGROUND) >= 0)
		resched_point();
}

static void flusher(void *arg)
{
	struct writeback *wb = arg;

	while (!READ_ONCE(wb->stopping)) {
		u64 period = periodic_centisecs ? periodic_centisecs * 10 * NSEC_PER_MSEC : ~0ULL;
		u64 until = period == ~0ULL ? ~0ULL : clock_ns() + period;
		bool asked = !wait_event_until(
			&wb->work, READ_ONCE(wb->flush_now) || READ_ONCE(wb->flush_all) || READ_ONCE(wb->stopping),
			until);
		bool all_of_it = READ_ONCE(wb->flush_all);

		WRITE_ONCE(wb->flush_now, false);
		WRITE_ONCE(wb->flush_all, false);
		if (asked && !over_background(wb))
			flush_one(wb, false, WRITE_BACKGROUND); /* a writer was over its device's own budget */
		flush_round(wb, all_of_it);
	}
	flush_round(wb, true);
}

static void abandon(struct page_cache *c)
{
	struct writeback *wb = c->wb;
	ulong irq = spin_lock_irqsave(&wb->lock);
	bool alone = !list_empty(&c->dirty_link) && atomic_read(&c->host->refs.n) == 2;

	if (alone)
		list_del_init(&c->dirty_link);
	spin_unlock_irqrestore(&wb->lock, irq);
	if (alone)
		inode_put(c->host); /* the list's; not the last */
}

int writeback_start(struct writeback *wb, const char *name)
{
	*wb = (struct writeback){ .throttled = wb->throttled,
				  .budget = wb->budget,
				  .owner = wb->owner,
				  .mark_dirty = cache_mark_dirty,
				  .abandon = abandon,
				  .balance = cache_balance_dirty };
	str_copy(wb->name, name, sizeof(wb->name));
	spin_init(&wb->lock, RANK_DIRTY);
	list_init(&wb->dirty);
	waitq_init(&wb->work);
	waitq_init(&wb->progress);
	dirty_device_init(&wb->rate, clock_ns());
	spin_lock(&all_lock);
	list_add_tail(&wb->link, &all);
	spin_unlock(&all_lock);
	return kthread_run(&wb->flusher, flusher, wb, "flush-%s", name);
}

/* Out of the list, unless somebody who walks it stands here. */
static bool leave(struct writeback *wb)
{
	bool free;

	spin_lock(&all_lock);
	free = !wb->walkers;
	if (free)
		list_del(&wb->link);
	spin_unlock(&all_lock);
	return free;
}

void writeback_stop(struct writeback *wb)
{
	wb->stopping = true;
	kick(wb);
	kthread_join(&wb->flusher);
	wait_event(&wb->progress, leave(wb));
}

/* For reclaim. */
static bool wait_for_clean(void)
{
	struct writeback *wb;
	bool busy = false;

	spin_lock(&all_lock);
	list_for_each_entry (wb, &all, link) {
		busy |= atomic_read(&wb->nr_dirty) || atomic_read(&wb->nr_writeback);
		WRITE_ONCE(wb->flush_all, true);
		waitq_wake_all(&wb->work);
	}
	spin_unlock(&all_lock);
	if (busy)
		sched_nap(RECLAIM_WAIT_NS);
	return busy;
}

void writeback_sync(struct writeback *wb, bool wait)
{
	while (flush_one(wb, false, wait ? WRITE_SYNC : 0) >= 0)
		resched_point();
	if (wait)
		wait_event(&wb->progress, !atomic_read(&wb->nr_writeback));
}

void writeback_sync_all(bool wait)
{
	struct writeback *wb;

	spin_lock(&all_lock);
	list_for_each_entry (wb, &all, link) {
		wb->walkers++; /* keeps it in the list while we look elsewhere */
		spin_unlock(&all_lock);
		writeback_sync(wb, wait);
		spin_lock(&all_lock);
		if (!--wb->walkers && READ_ONCE(wb->stopping))
			waitq_wake_all(&wb->progress);
	}
	spin_unlock(&all_lock);
}

/* ---- /proc/sys/vm --------------------------------------------------------------------------------------- */

static int show_u64(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)*(u64 *)a->data);
	return 0;
}

static int set_ratio(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err || v > 100)
		return err ? err : -EINVAL;
	*(u32 *)a->data = v;
	if (a->data == (ulong)&controls.ratio)
		controls.bytes = 0;
	else
		controls.background_bytes = 0;
	return 0;
}

static int set_bytes(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	bool hard = a->data == (ulong)&controls.bytes;
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err || (hard && v < 2 * PAGE_SIZE))
		return err ? err : -EINVAL;
	*(u64 *)a->data = v;
	if (hard)
		controls.ratio = 0;
	else
		controls.background_ratio = 0;
	return 0;
}

static int set_time(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (err || v > 100 * 86400 * 365ULL)
		return err ? err : -EINVAL;
	*(u64 *)a->data = v;
	return 0;
}

static const struct attr ratio = { "dirty_ratio", 0644, attr_show_u32, set_ratio, NULL, (ulong)&controls.ratio };
static const struct attr background_ratio = { "dirty_background_ratio",         0644, attr_show_u32, set_ratio, NULL,
					      (ulong)&controls.background_ratio };
static const struct attr bytes = { "dirty_bytes", 0644, show_u64, set_bytes, NULL, (ulong)&controls.bytes };
static const struct attr background_bytes = { "dirty_background_bytes",         0644, show_u64, set_bytes, NULL,
					      (ulong)&controls.background_bytes };
static const struct attr periodic = { "dirty_writeback_centisecs", 0644, show_u64, set_time, NULL,
				      (ulong)&periodic_centisecs };
static const struct attr expire = {
	"dirty_expire_centisecs", 0644, show_u64, set_time, NULL, (ulong)&expire_centisecs
};
static const struct attr *const vm_attrs[] = { &ratio,    &background_ratio, &bytes, &background_bytes,
					       &periodic, &expire,           NULL };

static void writeback_init(void)
{
	reclaim_wait_for_clean = wait_for_clean;
	ensure(!attr_folder_add(&attr_sysctl_root, "vm", vm_attrs));
}
PART_INIT(core, writeback_init);
