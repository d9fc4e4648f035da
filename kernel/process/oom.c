/* SPDX-License-Identifier: MIT
 *
 * Problem: memory is used up, in the machine or within a tenant's limit, and somebody must die so that the others go
 * on: the right one, at once, whatever locks the one who ran into it holds.
 *
 * Idea: the process with the most memory (resident, on swap, page tables), corrected by its oom_score_adj, of those
 * that pay within the limit. Its death is not waited for: the killer itself takes the victim's private pages (mm_reap),
 * which needs no more than a look at its address space. While a victim still has memory nobody else is chosen. A tenant
 * with memory.oom.group dies as a whole.
 *
 * Contract: upcall_out_of_memory of alloc/page.h; proc(5), oom_score and oom_score_adj. Never chosen: the first
 * process, kernel threads, oom_score_adj -1000.
 *
 * Locks: `busy` lets one choose at a time; whoever finds it taken waits a moment and tries its allocation again.
 */
#include <alloc/page.h>
#include <core/clock.h>
#include <core/log.h>
#include <mm/mm.h>
#include <mm/swap.h>
#include <process/oom.h>
#include <task/sched.h>
#include <task/tenant.h>
#include "process_priv.h"

#define MOMENT_NS (2 * NSEC_PER_MSEC)

static u32 busy;

static void wait_a_moment(void)
{
	sched_set_state(TASK_KILLABLE);
	(void)!sched_sleep_until(clock_ns() + MOMENT_NS);
}

/* The address space of any thread that still has one, held. */
static int find_mm(struct task *t, void *out)
{
	struct mm *m = mm_hold_of_task(t);

	*(struct mm **)out = m;
	return m != NULL;
}

static struct mm *mm_of(struct process *p)
{
	struct mm *m = NULL;

	(void)process_for_each_thread(p, find_mm, &m);
	return m;
}

static u64 total_pages(const struct tenant *t)
{
	struct swap_totals swap;
	struct page_stats s;
	u64 limit = t ? READ_ONCE(t->share[RES_MEMORY].limit) : ~0ULL;

	page_stats(&s);
	swap_totals(&swap);
	return min(limit, s.total) + swap.total;
}

/* 0: not to be killed. */
static u64 points_of(struct process *p, struct mm *m, u64 total)
{
	struct mm_usage u;
	s64 n;

	if (READ_ONCE(p->oom_score_adj) == -1000 || pid_nr_global(p->pid) == 1)
		return 0;
	mm_usage(m, &u);
	n = (s64)(u.anon + u.file + u.swap + u.tables) + p->oom_score_adj * (s64)(total / 1000);
	return (u64)max(n, (s64)1);
}

u64 oom_score(struct process *p)
{
	u64 total = total_pages(NULL), points;
	struct mm *m = mm_of(p);

	if (!m)
		return 0;
	points = points_of(p, m, total);
	mm_drop(m);
	return total ? points * 1000 / total : 0;
}

static bool is_dying(struct process *p)
{
	bool dying;

	rcu_read_lock();
	dying = fatal_signal_pending(p->leader);
	rcu_read_unlock();
	return dying;
}

struct choice {
	struct tenant *top;
	u64 total, points;
	struct process *p; /* counted */
	struct mm *m;      /* held */
	bool dying;        /* it is being killed already */
};

static void choose(struct choice *c, struct process *p, struct mm *m, u64 points, bool dying)
{
	if (c->p) {
		process_put(c->p);
		mm_drop(c->m);
	}
	process_get(p);
	mm_hold(m);
	c->p = p;
	c->m = m;
	c->points = points;
	c->dying = dying;
}

static void weigh(struct choice *c, struct process *p)
{
	struct mm *m = mm_of(p);
	bool below;
	u64 points;

	if (!m)
		return;
	rcu_read_lock();
	below = tenant_is_below(READ_ONCE(m->tenant), c->top);
	rcu_read_unlock();
	if (below && !READ_ONCE(m->reaped)) {
		points = points_of(p, m, c->total);
		if (points && is_dying(p))
			choose(c, p, m, points, true);
		else if (points > c->points && !c->dying)
			choose(c, p, m, points, false);
	}
	mm_drop(m);
}

static void for_each_process(void (*fn)(struct choice *c, struct process *p), struct choice *c)
{
	for (int nr = 1;; nr++) {
		struct process *p = process_next_in(&nr, &pid_ns_first);

		if (!p)
			return;
		fn(c, p);
		process_put(p);
	}
}

/* ---- killing ------------------------------------------------------------------------------------------------------
 */

static void kill_one(struct process *p)
{
	struct tenant *t;

	(void)signal_send_process(SIGKILL, NULL, p);
	rcu_read_lock();
	t = rcu_deref(p->leader->tenant);
	tenant_memory_event(t, MEMORY_OOM_KILL);
	rcu_read_unlock();
	page_stat_add(PAGE_EVENT_OOM_KILL, 1);
}

/* All that use the victim's memory: it is not free before they are gone. */
static void kill_sharer(struct choice *c, struct process *p)
{
	struct mm *m = p == c->p ? NULL : mm_of(p);

	if (!m)
		return;
	if (m == c->m && pid_nr_global(p->pid) != 1)
		kill_one(p);
	mm_drop(m);
}

/* All of the tenant c->top, as far as memory.oom.group goes. */
static void kill_member(struct choice *c, struct process *p)
{
	struct tenant *t;
	bool below;

	if (p == c->p || pid_nr_global(p->pid) == 1 || READ_ONCE(p->oom_score_adj) == -1000)
		return;
	rcu_read_lock();
	t = rcu_deref(p->leader->tenant);
	below = tenant_is_below(t, c->top);
	rcu_read_unlock();
	if (below)
		kill_one(p);
}

/* The highest tenant from the victim's up to `top` that dies as a whole; counted. */
static struct tenant *group_of(struct process *p, const struct tenant *top)
{
	struct tenant *found = NULL, *t;

	rcu_read_lock();
	for (t = rcu_deref(p->leader->tenant); t && t->parent; t = t->parent) {
		if (READ_ONCE(t->memory.oom_group))
			found = t;
		if (t == top)
			break;
	}
	if (found)
		tenant_get(found);
	rcu_read_unlock();
	return found;
}

static void report(const struct choice *c)
{
	struct mm_usage u;

	mm_usage(c->m, &u);
	log_warn("Out of memory%s: Killed process %d (%s) total-vm:%llukB, anon-rss:%llukB, file-rss:%llukB, "
		 "swap:%llukB, oom_score_adj:%d",
		 c->top ? " in a tenant" : "", pid_nr_global(c->p->pid), c->p->leader->comm,
		 (unsigned long long)c->m->total_pages * 4, (unsigned long long)u.anon * 4,
		 (unsigned long long)u.file * 4, (unsigned long long)u.swap * 4, c->p->oom_score_adj);
}

static void kill_choice(struct choice *c)
{
	struct tenant *group;

	report(c);
	kill_one(c->p);
	for_each_process(kill_sharer, c);
	group = group_of(c->p, c->top);
	if (!group)
		return;
	c->top = group;
	tenant_memory_event(group, MEMORY_OOM_GROUP);
	for_each_process(kill_member, c);
	tenant_put(group);
}

bool upcall_out_of_memory(struct tenant *t)
{
	struct choice c = { .top = t && t->parent ? t : NULL };
	bool own;

	if (upcall_alloc_is_dying())
		return false;
	if (__atomic_exchange_n(&busy, 1, __ATOMIC_ACQUIRE)) {
		wait_a_moment();
		return true;
	}
	c.total = total_pages(c.top);
	for_each_process(weigh, &c);
	if (c.p && !c.dying)
		kill_choice(&c);
	__atomic_store_n(&busy, 0, __ATOMIC_RELEASE);
	if (!c.p)
		return false;
	own = c.p == current->process;
	if (!own && !mm_reap(c.m))
		wait_a_moment();
	process_put(c.p);
	mm_drop(c.m);
	return !own;
}
