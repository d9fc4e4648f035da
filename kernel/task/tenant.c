/* SPDX-License-Identifier: MIT
 *
 * Problem: every page, task and request is charged to a tenant and all its ancestors, on paths that
 * can afford a few dozen instructions.
 *
 * Idea: counters are atomic and hierarchical; a charge walks to the root and undoes itself where a
 * limit refuses. A tenant's number (id16) is what page descriptors hold; the table of numbers is
 * read under RCU. Memory has more to it: tenant_memory.c.
 *
 * Contract: task/tenant.h.
 *
 * Locks: `ids_lock` (RANK_TENANT) guards the table, the tree and the lists of tasks.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <task/hooks.h>
#include <task/task.h>
#include <task/tenant.h>
#include "sched_priv.h"
#include "task_priv.h"
#include "tenant_priv.h"

static struct tenant_run root_run[MAX_CPUS];
struct tenant tenant_root = {
	.id = 1,
	.refs = { ATOMIC_INIT(1) },
	.children = LIST_INIT(tenant_root.children),
	.sibling = LIST_INIT(tenant_root.sibling),
	.tasks = LIST_INIT(tenant_root.tasks),
	.share = { [0 ... RES_NR - 1] = { .limit = ~0ULL, .weight = 100 } },
	.run = root_run,
	.cpu_weight = 1024,
	.cpus_effective = ~0ULL,
	.mems_effective = ~0ULL,
	.bandwidth = { .quota_ns = ~0ULL },
	.memory = { .high = ~0ULL, .swap_high = ~0ULL },
};
static struct tenant *first_ids[256] = { [1] = &tenant_root };
static struct tenant **ids[256] = { first_ids }; /* by high byte, then low byte */
static struct spinlock ids_lock = SPIN_INIT(RANK_TENANT);

struct tenant *tenant_by_id(u16 id)
{
	struct tenant **block = READ_ONCE(ids[id >> 8]);

	return block ? rcu_deref(block[id & 255]) : NULL;
}

void tenant_get(struct tenant *t)
{
	refcount_inc(&t->refs);
}

static void free_tenant(struct rcu_head *head)
{
	struct tenant *t = container_of(head, struct tenant, rcu);

	kfree(t->run);
	kfree(t);
}

void tenant_put(struct tenant *t)
{
	while (t && refcount_dec_and_test(&t->refs)) {
		struct tenant *parent = t->parent;
		ulong flags = spin_lock_irqsave(&ids_lock);

		rcu_assign(ids[t->id >> 8][t->id & 255], NULL);
		list_del_init(&t->sibling);
		spin_unlock_irqrestore(&ids_lock, flags);
		(void)timer_cancel(&t->bandwidth.timer);
		psi_tenant_gone(t);
		rcu_call(&t->rcu, free_tenant);
		t = parent;
	}
}

/* A free number, with its block in place. 0: used up. ids_lock held; *spare is used for a new
 * block. */
static u16 find_id(struct tenant ***spare)
{
	static unsigned last = 1; /* the search goes on behind it, and once around */

	for (unsigned n = 0; n < 65534; n++) {
		unsigned id = last = last < 65535 ? last + 1 : 2;

		if (!ids[id >> 8]) {
			ids[id >> 8] = *spare;
			*spare = NULL;
			return ids[id >> 8] ? (u16)id : 0;
		}
		if (!ids[id >> 8][id & 255])
			return (u16)id;
	}
	return 0;
}

/* ---- watchers ---- */

static LIST(watchers);

void tenant_watcher_register(struct tenant_watcher *w)
{
	list_add_tail(&w->link, &watchers);
}

/* Those before `stop`, which refused; NULL: all. */
static void tell_removed(struct tenant *t, const struct tenant_watcher *stop)
{
	struct tenant_watcher *w;

	list_for_each_entry (w, &watchers, link) {
		if (w == stop)
			return;
		if (w->removed)
			w->removed(t);
	}
}

int tenant_create(struct tenant *parent, struct tenant **out)
{
	struct tenant *t = kzalloc(sizeof(*t), ALLOC_CHARGED);
	struct tenant_watcher *w;
	struct tenant **spare = kcalloc(256, sizeof(*spare), 0);
	ulong flags;

	if (t)
		t->run = kcalloc(cpu_count(), sizeof(*t->run), ALLOC_CHARGED);
	if (!t || !t->run || !spare) {
		if (t)
			kfree(t->run);
		kfree(t);
		kfree(spare);
		return -ENOMEM;
	}
	sched_tenant_init(t);
	refcount_set(&t->refs, 1);
	list_init(&t->children);
	list_init(&t->sibling);
	list_init(&t->tasks);
	for (int r = 0; r < RES_NR; r++) {
		t->share[r].limit = ~0ULL;
		t->share[r].weight = 100;
	}
	t->memory.high = t->memory.swap_high = ~0ULL;
	t->parent = parent;
	t->freezing = parent->freezing;
	t->cpus_effective = parent->cpus_effective;
	t->mems_effective = parent->mems_effective;
	flags = spin_lock_irqsave(&ids_lock);
	t->id = find_id(&spare);
	if (t->id) {
		t->cache_group = parent->cache_group;
		rcu_assign(ids[t->id >> 8][t->id & 255], t);
		list_add_tail(&t->sibling, &parent->children);
		tenant_get(parent);
	}
	spin_unlock_irqrestore(&ids_lock, flags);
	kfree(spare);
	if (!t->id) {
		kfree(t->run);
		kfree(t);
		return -EAGAIN;
	}
	list_for_each_entry (w, &watchers, link) {
		int err = w->created ? w->created(t) : 0;

		if (err) {
			tell_removed(t, w);
			tenant_put(t);
			return err;
		}
	}
	*out = t;
	return 0;
}

static bool has_protection; /* somebody has asked for some since boot */

void tenant_use_protection(void)
{
	WRITE_ONCE(has_protection, true);
}

/* Parents before children; no recursion, since the tree may be deep. ids_lock held. NULL: t was the last one. */
static struct tenant *next_below(struct tenant *t, const struct tenant *top)
{
	if (!list_empty(&t->children))
		return list_first_entry(&t->children, struct tenant, sibling);
	while (t != top && t->sibling.next == &t->parent->children)
		t = t->parent;
	return t == top ? NULL : list_entry(t->sibling.next, struct tenant, sibling);
}

void tenant_protect(struct tenant *top)
{
	ulong flags;

	if (!READ_ONCE(has_protection))
		return;
	top = top ? top : &tenant_root;
	flags = spin_lock_irqsave(&ids_lock);
	for (struct tenant *t = top; t; t = next_below(t, top))
		tenant_protect_children(t, t == top);
	spin_unlock_irqrestore(&ids_lock, flags);
}

u64 tenant_file_pages(struct tenant *top)
{
	ulong flags = spin_lock_irqsave(&ids_lock);
	s64 sum = 0;

	for (struct tenant *t = top; t; t = next_below(t, top))
		sum += (s64)atomic_read(&t->memory.kind[MEMORY_FILE]) - (s64)atomic_read(&t->memory.kind[MEMORY_SHMEM]);
	spin_unlock_irqrestore(&ids_lock, flags);
	return (u64)max(sum, (s64)0);
}

void tenant_kill(struct tenant *t)
{
	WRITE_ONCE(t->dead, true);
	ensure(!tenant_set_cpu_max(t, ~0ULL, 100 * NSEC_PER_MSEC, 0));
	tell_removed(t, NULL);
	tenant_put(t);
}

void tenant_note_peak(struct share *s, s64 use)
{
	s64 peak = atomic_read(&s->peak);

	while (use > peak && !atomic_try_cmpxchg(&s->peak, &peak, use))
		;
}

void tenant_take_back(struct tenant *from, struct tenant *to, enum resource r, u64 n)
{
	for (; from != to; from = from->parent)
		atomic_sub(&from->share[r].use, (s64)n);
}

static int charge_tree(struct tenant *t, enum resource r, u64 n, int err)
{
	for (struct tenant *a = t; a; a = a->parent) {
		s64 use = atomic_add_return(&a->share[r].use, (s64)n);

		if (unlikely((u64)use > READ_ONCE(a->share[r].limit))) {
			atomic_inc(&a->share[r].failures);
			tenant_take_back(t, a->parent, r, n);
			return err;
		}
		tenant_note_peak(&a->share[r], use);
	}
	return 0;
}

int tenant_charge(struct tenant *t, enum resource r, u64 n, int err)
{
	return charge_tree(t, r, n, err);
}

void tenant_uncharge(struct tenant *t, enum resource r, u64 n)
{
	tenant_take_back(t, NULL, r, n);
}

/* ---- tasks
 * ---------------------------------------------------------------------------------------------------
 */

void (*tenant_changed_hook)(void);
static bool changed; /* ids_lock: some version has risen since the hook was called */

static void unlock_and_tell(ulong flags)
{
	bool tell = changed && tenant_changed_hook;

	changed = false;
	spin_unlock_irqrestore(&ids_lock, flags);
	if (tell)
		tenant_changed_hook();
}

static bool is_frozen(const struct tenant *t, s64 live, s64 stopped)
{
	return t->freezing && live == stopped;
}

bool tenant_is_frozen(const struct tenant *t)
{
	return is_frozen(t, atomic_read(&t->live), atomic_read(&t->stopped));
}

static void raise_version(struct tenant *t)
{
	t->version++;
	changed = true;
}

/* More or fewer live tasks and stopped ones, here and above. ids_lock held. */
static void count_tasks(struct tenant *t, s64 live, s64 stopped)
{
	for (; t; t = t->parent) {
		s64 had = atomic_read(&t->live), had_stopped = atomic_read(&t->stopped);

		atomic_set(&t->live, had + live);
		atomic_set(&t->stopped, had_stopped + stopped);
		if (!had != !(had + live) ||
		    is_frozen(t, had, had_stopped) != is_frozen(t, had + live, had_stopped + stopped))
			raise_version(t);
	}
}

void tenant_set_freezing(struct tenant *t, bool freeze)
{
	ulong flags = spin_lock_irqsave(&ids_lock);
	bool was = tenant_is_frozen(t);

	WRITE_ONCE(t->freezing, t->freezing + (freeze ? 1U : ~0U));
	if (was != tenant_is_frozen(t))
		raise_version(t);
	unlock_and_tell(flags);
}

void tenant_task_stops(struct task *task, bool stops)
{
	ulong flags = spin_lock_irqsave(&ids_lock);

	if (!list_empty(&task->tenant_link) && task->tenant_stopped != stops) {
		task->tenant_stopped = stops;
		count_tasks(task->tenant, 0, stops ? 1 : -1);
	}
	unlock_and_tell(flags);
}

static void add_use(const struct task *task, struct tenant_use *sum)
{
	sum->ns += READ_ONCE(task->runtime_ns) - task->tenant_since.ns;
	sum->user_ns += READ_ONCE(task->user_ns) - task->tenant_since.user_ns;
	sum->system_ns += READ_ONCE(task->system_ns) - task->tenant_since.system_ns;
	sum->faults += READ_ONCE(task->min_faults) + READ_ONCE(task->maj_faults) - task->tenant_since.faults;
	sum->major_faults += READ_ONCE(task->maj_faults) - task->tenant_since.major_faults;
}

static void add_ended(const struct tenant *t, struct tenant_use *sum)
{
	sum->ns += t->ended.ns;
	sum->user_ns += t->ended.user_ns;
	sum->system_ns += t->ended.system_ns;
	sum->faults += t->ended.faults;
	sum->major_faults += t->ended.major_faults;
}

bool tenant_close(struct tenant *t)
{
	ulong flags = spin_lock_irqsave(&ids_lock);
	bool empty = !atomic_read(&t->live);

	if (empty) {
		WRITE_ONCE(t->dead, true);
		add_ended(t, &t->parent->ended);
	}
	spin_unlock_irqrestore(&ids_lock, flags);
	return empty;
}

/* ids_lock held. */
static void leave(struct task *task)
{
	struct tenant *t = task->tenant;

	list_del_init(&task->tenant_link);
	add_use(task, &t->ended);
	task->tenant_since.ns = READ_ONCE(task->runtime_ns);
	task->tenant_since.user_ns = READ_ONCE(task->user_ns);
	task->tenant_since.system_ns = READ_ONCE(task->system_ns);
	task->tenant_since.faults = READ_ONCE(task->min_faults) + READ_ONCE(task->maj_faults);
	task->tenant_since.major_faults = READ_ONCE(task->maj_faults);
	count_tasks(t, -1, -(s64)task->tenant_stopped);
}

void tenant_add_task(struct tenant *t, struct task *task)
{
	ulong flags;

	tenant_get(t);
	flags = spin_lock_irqsave(&ids_lock);
	rcu_assign(task->tenant, t);
	list_add_tail(&task->tenant_link, &t->tasks);
	count_tasks(t, 1, 0);
	unlock_and_tell(flags);
}

void tenant_task_exits(struct task *task)
{
	ulong flags = spin_lock_irqsave(&ids_lock);

	if (!list_empty(&task->tenant_link))
		leave(task);
	unlock_and_tell(flags);
}

/* ids_lock held. */
static void change_tenant(struct task *task, struct tenant *to)
{
	struct tenant *from = task->tenant;

	leave(task);
	rcu_assign(task->tenant, to);
	list_add_tail(&task->tenant_link, &to->tasks);
	count_tasks(to, 1, task->tenant_stopped);
	for (struct tenant *a = to; a; a = a->parent)
		tenant_note_peak(&a->share[RES_PIDS], atomic_add_return(&a->share[RES_PIDS].use, 1));
	tenant_take_back(from, NULL, RES_PIDS, 1);
}

bool tenant_move_task(struct task *task, struct tenant *to)
{
	ulong flags = spin_lock_irqsave(&task->lock);
	u8 psi;
	struct rq *q = sched_tenant_change_begin(task, &psi);
	struct tenant *from = task->tenant;
	bool live, moves, tell;

	spin_lock(&ids_lock);
	live = !list_empty(&task->tenant_link) && !to->dead;
	moves = live && from != to;
	if (moves) {
		tenant_get(to);
		change_tenant(task, to);
		if (from->cache_group != to->cache_group)
			WRITE_ONCE(task->cache_group, to->cache_group);
	}
	tell = changed && tenant_changed_hook;
	changed = false;
	spin_unlock(&ids_lock);
	sched_tenant_change_end(q, task, psi);
	spin_unlock_irqrestore(&task->lock, flags);
	if (tell)
		tenant_changed_hook();
	if (moves && static_branch(&task_switch_key))
		task_hooks->moved_tenant();
	if (moves && from->cpus_effective != to->cpus_effective)
		(void)!sched_set_affinity(task, CPUMASK_ALL);
	if (moves)
		tenant_put(from);
	return live;
}

/* ids_lock held. Those below whose group is another have one of their own. */
static void spread_cache_group(struct tenant *t, u16 was, u16 group)
{
	struct tenant *child;
	struct task *task;

	t->cache_group = group;
	list_for_each_entry (task, &t->tasks, tenant_link)
		WRITE_ONCE(task->cache_group, group);
	list_for_each_entry (child, &t->children, sibling)
		if (child->cache_group == was)
			spread_cache_group(child, was, group);
}

void tenant_set_cache_group(struct tenant *t, u16 group)
{
	ulong flags = spin_lock_irqsave(&ids_lock);

	spread_cache_group(t, t->cache_group, group ? group : t->parent->cache_group);
	spin_unlock_irqrestore(&ids_lock, flags);
}

void tenant_remove_task(struct task *task)
{
	struct tenant *t = task->tenant;
	ulong flags = spin_lock_irqsave(&ids_lock);

	if (!list_empty(&task->tenant_link)) /* it never ran */
		leave(task);
	unlock_and_tell(flags);
	tenant_uncharge(t, RES_PIDS, 1);
	tenant_put(t);
}

void tenant_add_use(struct tenant *t, struct tenant_use *sum)
{
	ulong flags = spin_lock_irqsave(&ids_lock);
	struct task *task;

	add_ended(t, sum);
	list_for_each_entry (task, &t->tasks, tenant_link)
		add_use(task, sum);
	spin_unlock_irqrestore(&ids_lock, flags);
}

void tenant_for_each_task(struct tenant *t, bool (*fn)(struct task *task, void *arg), void *arg)
{
	ulong flags = spin_lock_irqsave(&ids_lock);
	struct task *task;

	list_for_each_entry (task, &t->tasks, tenant_link)
		if (!fn(task, arg))
			break;
	spin_unlock_irqrestore(&ids_lock, flags);
}
