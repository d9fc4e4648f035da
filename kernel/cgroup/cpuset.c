/* SPDX-License-Identifier: MIT
 *
 * Problem: a tenant is to run on some CPUs only, and those below it on some of these.
 *
 * Idea: each tenant has the CPUs that it asked for and those that it effectively has: what it asked for, as far as its
 * parent has it; the parent's, if that leaves none or it asked for nothing. When that changes, its threads get the new
 * mask; sched_setaffinity(2) can only choose from it. Memory nodes are inherited the same way: task_mems reads them
 * when a page is wanted, and what processes have on others moves when cpuset.mems is written, there or above.
 *
 * Contract: cgroup-v2.rst, "Cpuset". Lists as "0-3,5"; ERANGE beyond what this machine could have, EINVAL for what is
 * not on line. A partition (cpuset.cpus.partition) has its CPUs for itself: they are taken from its parent and so from
 * all beside it; one that cannot be says why, and is a member meanwhile. Tasks in "isolated" ones are balanced as
 * others.
 *
 * Locks: cgroup_lock; the scheduler reads cpus_effective as single words.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/numa.h>
#include <core/init.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <task/sched.h>
#include "cgroup_priv.h"

#define NODES 1024 /* that a list may name */

struct range {
	u64 start, end;
	u64 used, group; /* of each group of so many bits the first ones: "0-63:2/8" */
};

static bool is_end(char c)
{
	return !c || c == '\n';
}

static bool is_gap(char c)
{
	return c == ',' || c == ' ' || (c >= '\t' && c <= '\r');
}

/* Digits and what follows them. -EINVAL: none; -EOVERFLOW: beyond 32 bits. */
static int number(char **at, u64 *out)
{
	char *from = *at;

	for (*out = 0; **at >= '0' && **at <= '9'; ++*at)
		*out = min(*out * 10 + (u64)(**at - '0'), 1ULL << 32);
	return *at == from ? -EINVAL : *out >> 32 ? -EOVERFLOW : 0;
}

static int parse_range(char **at, u64 last, struct range *r)
{
	int err;

	if (!strncmp(*at, "all", 3)) {
		*r = (struct range){ 0, last, 0, 0 };
		*at += 3;
	} else {
		err = number(at, &r->start);
		r->end = r->start;
		if (err)
			return err;
		r->used = r->group = r->end + 1;
		if (is_end(**at) || is_gap(**at))
			return 0;
		if (*(*at)++ != '-')
			return -EINVAL;
		err = number(at, &r->end);
		if (err)
			return err;
	}
	r->used = r->group = r->end + 1;
	if (is_end(**at) || is_gap(**at))
		return 0;
	if (*(*at)++ != ':')
		return -EINVAL;
	err = number(at, &r->used);
	if (!err && *(*at)++ != '/')
		err = -EINVAL;
	return err ? err : number(at, &r->group);
}

/* "0-3,5"; blank: none. *beyond: numbers below the limit that the mask has no bits for. */
static int parse_list(char *text, u64 limit, u64 *out, bool *beyond)
{
	char *at = str_trim(text);

	*out = 0;
	for (;;) {
		struct range r;
		int err;

		while (is_gap(*at))
			at++;
		if (is_end(*at))
			return 0;
		err = parse_range(&at, limit - 1, &r);
		if (err)
			return err;
		if (r.start > r.end || !r.group || r.used > r.group)
			return -EINVAL;
		if (r.end >= limit)
			return -ERANGE;
		for (u64 n = r.start; n <= r.end; n++) {
			if ((n - r.start) % r.group >= r.used)
				continue;
			*out |= n < MAX_CPUS ? BIT(n) : 0;
			*beyond |= n >= MAX_CPUS;
		}
	}
}

static void add_list(struct strbuf *out, u64 mask)
{
	strbuf_add_set(out, mask);
	strbuf_add(out, "\n");
}

static void tell_threads(struct tenant *t)
{
	struct cgroup_ids ids;

	if (cgroup_ids_get(t, true, &ids))
		return; /* they keep the old mask until they are moved or ask anew */
	rcu_read_lock();
	for (unsigned i = 0; i < ids.nr; i++) {
		struct task *task = rcu_deref(ids.pid[i]->task);

		if (task)
			(void)!sched_set_affinity(task, CPUMASK_ALL);
	}
	rcu_read_unlock();
	cgroup_ids_put(&ids);
}

/* What its processes have on the nodes of `from` goes to those of `to`. A process that comes later keeps its pages. */
static void move_memory(struct tenant *t, nodemask_t from, nodemask_t to)
{
	struct cgroup_ids ids;

	if (cgroup_ids_get(t, false, &ids))
		return;
	for (unsigned i = 0; i < ids.nr; i++) {
		struct task *task;
		struct mm *m;

		rcu_read_lock();
		task = rcu_deref(ids.pid[i]->task);
		if (task && !refcount_inc_not_zero(&task->refs))
			task = NULL;
		rcu_read_unlock();
		m = task ? mm_of_task(task) : NULL;
		if (m) {
			(void)!mm_migrate(m, from, to); /* what cannot, stays */
			mm_put(m);
		}
		if (task)
			task_put(task);
	}
	cgroup_ids_put(&ids);
}

/* What is to move once cgroup_lock is free again. */
struct memory_move {
	struct list link;
	struct tenant *t;
	nodemask_t from, to;
};

/* Without memory for the note the pages stay where they are. */
static void note_move(struct tenant *t, nodemask_t from, nodemask_t to, struct list *moves)
{
	struct memory_move *m = from != to && !list_empty(&t->tasks) ? kmalloc(sizeof(*m), ALLOC_KERNEL) : NULL;

	if (!m)
		return;
	*m = (struct memory_move){ .t = t, .from = from, .to = to };
	tenant_get(t);
	list_add_tail(&m->link, moves);
}

static void move_all(struct list *moves)
{
	struct memory_move *m, *next;

	list_for_each_entry_safe (m, next, moves, link) {
		move_memory(m->t, m->from, m->to);
		tenant_put(m->t);
		kfree(m);
	}
}

/* ---- partitions ---- */

enum { MEMBER, ROOT, ISOLATED };
static const char *const partition_names[] = { "member", "root", "isolated" };
enum { NO_ERROR, NO_CPUS, NOT_EXCLUSIVE, PARENT_NONE, PARENT_INVALID, PARENT_ALL };
static const char *const error_texts[] = {
	[NO_CPUS] = "cpuset.cpus is empty",
	[NOT_EXCLUSIVE] = "Cpu list in cpuset.cpus not exclusive",
	[PARENT_NONE] = "Parent is not a partition root",
	[PARENT_INVALID] = "Parent is an invalid partition root",
	[PARENT_ALL] = "Parent unable to distribute cpu downstream",
};

static bool is_partition(const struct cgroup *c)
{
	return c == &cgroup_root || (c->partition && !c->partition_error);
}

static bool is_exclusive(struct cgroup *parent, const struct cgroup *c)
{
	struct attr_dir *child;

	for_each_child_dir(child, parent)
	{
		if (cgroup_of(child->owner) != c && cgroup_tenant(child)->cpus & c->tenant->cpus)
			return false;
	}
	return true;
}

/* May c have its CPUs for itself, of those that its parent still has? */
static u8 partition_error(struct cgroup *parent, const struct cgroup *c, u64 parent_has)
{
	u64 cpus = c->tenant->cpus;

	if (!cpus)
		return NO_CPUS;
	if (!is_partition(parent))
		return parent->partition ? PARENT_INVALID : PARENT_NONE;
	if (!is_exclusive(parent, c))
		return NOT_EXCLUSIVE;
	if (cpus & ~parent_has || (cpus == parent_has && !list_empty(&parent->tenant->tasks)))
		return PARENT_ALL;
	return NO_ERROR;
}

/* Takes the CPUs of the partitions among t's children from what t has. */
static u64 give_to_partitions(struct tenant *t, u64 mask)
{
	struct attr_dir *child;

	for_each_child_dir(child, cgroup_of(t))
	{
		struct cgroup *c = cgroup_of(child->owner);

		if (!c->partition)
			continue;
		c->partition_error = partition_error(cgroup_of(t), c, mask);
		if (!c->partition_error)
			mask &= ~c->tenant->cpus;
	}
	return mask;
}

/* Parents before children; no deeper than the tree. Without `moves` all memory stays where it is. */
static void spread(struct tenant *t, u64 has, nodemask_t mems, struct list *moves)
{
	struct attr_dir *child;
	u64 mask = t->cpus & has;

	if (!mask)
		mask = has;
	if (t->mems & mems)
		mems &= t->mems;
	if (moves)
		note_move(t, t->mems_effective & node_memory_mask(), mems, moves);
	WRITE_ONCE(t->mems_effective, mems);
	mask = give_to_partitions(t, mask);
	if (mask != t->cpus_effective) {
		WRITE_ONCE(t->cpus_effective, mask);
		tell_threads(t);
	}
	for_each_child_dir(child, cgroup_of(t))
	{
		struct cgroup *c = cgroup_of(child->owner);

		spread(child->owner, c->partition && is_partition(c) ? c->tenant->cpus : mask, mems, moves);
	}
}

/* From the root on, since a partition takes from its parent. */
static void spread_all(struct list *moves)
{
	spread(&tenant_root, cpu_online_mask(), node_memory_mask(), moves);
}

static int show_partition(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct cgroup *c = cgroup_of(d->owner);

	mutex_lock(&cgroup_lock);
	if (c->partition && c->partition_error)
		strbuf_add(out, "%s invalid (%s)\n", partition_names[c->partition], error_texts[c->partition_error]);
	else
		strbuf_add(out, "%s\n", partition_names[c->partition]);
	mutex_unlock(&cgroup_lock);
	return 0;
}

static int set_partition(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u8 kind = 0;
	int err = 0;

	text = str_trim(text);
	while (kind < ARRAY_SIZE(partition_names) && strcmp(text, partition_names[kind]))
		kind++;
	if (kind == ARRAY_SIZE(partition_names))
		return -EINVAL;
	mutex_lock(&cgroup_lock);
	if (d->removed) {
		err = -ENODEV;
	} else {
		cgroup_of(d->owner)->partition = kind;
		spread_all(NULL);
	}
	mutex_unlock(&cgroup_lock);
	return err;
}

/* ---- files ---- */

static int set_cpus(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct tenant *t = cgroup_tenant(d);
	bool beyond = false;
	u64 mask;
	int err = parse_list(text, cpu_count(), &mask, &beyond);

	if (err)
		return err;
	if (mask & ~cpu_online_mask())
		return -EINVAL;
	mutex_lock(&cgroup_lock);
	if (d->removed) {
		err = -ENODEV;
	} else {
		t->cpus = mask;
		spread_all(NULL);
	}
	mutex_unlock(&cgroup_lock);
	return err;
}

static int set_mems(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct tenant *t = cgroup_tenant(d);
	bool beyond = false;
	nodemask_t mask;
	LIST(moves);
	int err = parse_list(text, NODES, &mask, &beyond);

	if (err)
		return err;
	if (beyond || mask & ~node_memory_mask())
		return -EINVAL;
	mutex_lock(&cgroup_lock);
	if (d->removed) {
		err = -ENODEV;
	} else {
		t->mems = mask;
		spread_all(&moves);
	}
	mutex_unlock(&cgroup_lock);
	move_all(&moves);
	return err;
}

static int show_cpus(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	add_list(out, a->data ? cgroup_tenant(d)->cpus_effective & cpu_online_mask() : cgroup_tenant(d)->cpus);
	return 0;
}

static int show_mems(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	add_list(out, a->data ? cgroup_tenant(d)->mems_effective & node_memory_mask() : cgroup_tenant(d)->mems);
	return 0;
}

#define FILE(id, text, bits, get, put, value) static CGROUP_FILE(file_##id, text, bits, get, put, value)

FILE(cpus, "cpuset.cpus", 0644, show_cpus, set_cpus, 0);
FILE(cpus_effective, "cpuset.cpus.effective", 0444, show_cpus, NULL, 1);
FILE(partition, "cpuset.cpus.partition", 0644, show_partition, set_partition, 0);
FILE(mems, "cpuset.mems", 0644, show_mems, set_mems, 0);
FILE(mems_effective, "cpuset.mems.effective", 0444, show_mems, NULL, 1);

static void reset(struct tenant *t)
{
	t->cpus = t->mems = 0;
	cgroup_of(t)->partition = MEMBER;
	spread_all(NULL);
}

static const struct attr *const files[] = { &file_cpus,           &file_partition,      &file_mems,
					    &file_cpus_effective, &file_mems_effective, NULL };
static const struct attr *const root_files[] = { &file_cpus_effective, &file_mems_effective, NULL };
static struct cgroup_controller cpuset = {
	.name = "cpuset", .files = files, .root_files = root_files, .threaded = true, .disabled = reset
};

/* Its folder is out of the tree, or has never been made: what a partition had goes back. */
static void removed(struct tenant *t)
{
	if (cgroup_of(t) && cgroup_of(t)->partition)
		spread_all(NULL);
}

static struct tenant_watcher watcher = { .removed = removed };

static void cpuset_init(void)
{
	tenant_watcher_register(&watcher);
	cgroup_controller_register(&cpuset);
}
PART_INIT(core, cpuset_init);
