/* SPDX-License-Identifier: MIT
 *
 * Problem: the files named cgroup.* steer the tree itself.
 *
 * Idea: each is a function that shows and one that checks the whole text and then changes the tree under cgroup_lock.
 *
 * Contract: cgroup-v2.rst, "Core Interface Files". Threaded mode is not offered: cgroup.type is always "domain" below
 * the root, and a write is refused.
 *
 * Locks: cgroup_lock for what is changed; lists of tasks are read in portions under RANK_TENANT.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <process/process.h>
#include <task/task.h>
#include "cgroup_priv.h"

/* ---- processes and threads ---- */

struct numbers {
	struct pid **pid;
	unsigned nr, room;
	bool threads, short_of;
};

/* RANK_TENANT: collects counted ids; show turns them into the reader's numbers later. */
static bool collect(struct task *t, void *arg)
{
	struct numbers *n = arg;

	if (!t->process || (!n->threads && t != t->process->leader))
		return true;
	if (n->nr == n->room) {
		n->short_of = true;
		return false;
	}
	pid_get(t->pid);
	n->pid[n->nr++] = t->pid;
	return true;
}

static void drop(struct numbers *n)
{
	for (unsigned i = 0; i < n->nr; i++)
		pid_put(n->pid[i]);
	kfree(n->pid);
}

static int gather(struct tenant *t, bool threads, struct numbers *n)
{
	for (unsigned room = 64;; room *= 2) {
		*n = (struct numbers){ .pid = kcalloc(room, sizeof(*n->pid), 0), .room = room, .threads = threads };
		if (!n->pid)
			return -ENOMEM;
		tenant_for_each_task(t, collect, n);
		if (!n->short_of)
			return 0;
		drop(n);
	}
}

static int show_numbers(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct numbers n;
	int err = gather(d->owner, a->data, &n);

	if (err)
		return err;
	for (unsigned i = 0; i < n.nr; i++)
		strbuf_add(out, "%d\n", pid_nr(n.pid[i]));
	drop(&n);
	return 0;
}

static int set_procs(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	struct task *t;
	s64 nr;
	int err;

	if (str_to_s64(text, 10, &nr) || nr < 0 || nr > 0x7fffffff)
		return -EINVAL;
	if (!nr) {
		t = current;
		task_get(t);
	} else {
		t = task_find_get((int)nr);
	}
	if (!t)
		return -ESRCH;
	err = cgroup_move_process(t, d->owner);
	task_put(t);
	return err;
}

/* ---- controllers ---- */

static int show_controllers(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct cgroup *c = cgroup_of(d->owner);
	u32 set = a->data ? c->subtree : cgroup_available(c);
	struct cgroup_controller *k;
	const char *gap = "";

	list_for_each_entry (k, &cgroup_controllers, link) {
		if (!(set & k->bit))
			continue;
		strbuf_add(out, "%s%s", gap, k->name);
		gap = " ";
	}
	strbuf_add(out, "\n");
	return 0;
}

static struct cgroup_controller *find(const char *name, size_t len)
{
	struct cgroup_controller *k;

	list_for_each_entry (k, &cgroup_controllers, link)
		if (strlen(k->name) == len && !strncmp(k->name, name, len))
			return k;
	return NULL;
}

/* "+memory -cpu ...". -EINVAL: no such controller, or no sign. */
static int parse_control(const char *s, u32 *add, u32 *remove)
{
	*add = *remove = 0;
	for (;;) {
		struct cgroup_controller *k;
		const char *word;

		while (*s == ' ' || *s == '\n' || *s == '\t')
			s++;
		if (!*s)
			return 0;
		if (*s != '+' && *s != '-')
			return -EINVAL;
		for (word = s + 1; *word && !strchr(" \n\t", *word); word++)
			;
		k = find(s + 1, (size_t)(word - s - 1));
		if (!k)
			return -EINVAL;
		*add = *s == '+' ? *add | k->bit : *add & ~k->bit;
		*remove = *s == '-' ? *remove | k->bit : *remove & ~k->bit;
		s = word;
	}
}

static bool child_uses(struct cgroup *c, u32 set)
{
	struct attr_dir *child;

	list_for_each_entry (child, &c->dir.children, sibling)
		if (cgroup_of(child->owner)->subtree & set)
			return true;
	return false;
}

static void tell_disabled(struct tenant *t, u32 gone)
{
	struct cgroup_controller *k;

	list_for_each_entry (k, &cgroup_controllers, link)
		if ((gone & k->bit) && k->disabled)
			k->disabled(t);
}

static int apply_control(struct cgroup *c, u32 add, u32 remove)
{
	u32 now = (c->subtree | add) & ~remove, gone = c->subtree & ~now;
	struct attr_dir *child;
	int err = 0;

	if (add & ~cgroup_available(c))
		return -ENOENT;
	if (c != &cgroup_root && (now & ~c->subtree) && !list_empty(&c->tenant->tasks))
		return -EBUSY;
	if (child_uses(c, gone))
		return -EBUSY;
	list_for_each_entry (child, &c->dir.children, sibling) {
		err = cgroup_show_files(cgroup_of(child->owner), now);
		if (err)
			return err; /* only the first can fail: the set's files exist afterwards */
		tell_disabled(child->owner, gone);
	}
	c->subtree = now;
	return 0;
}

static int set_control(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u32 add, remove;
	int err = parse_control(text, &add, &remove);

	if (err)
		return err;
	mutex_lock(&cgroup_lock);
	err = d->removed ? -ENODEV : apply_control(cgroup_of(d->owner), add, remove);
	mutex_unlock(&cgroup_lock);
	return err;
}

/* ---- state ---- */

static int show_events(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct tenant *t = d->owner;

	strbuf_add(out, "populated %d\nfrozen 0\n", atomic_read(&t->live) > 0);
	return 0;
}

static int show_type(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "domain\n");
	return 0;
}

static int set_type(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	return strcmp(text, "threaded") && strcmp(text, "threaded\n") ? -EINVAL : -EOPNOTSUPP;
}

static int show_stat(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "nr_descendants %llu\nnr_dying_descendants 0\n",
		   (unsigned long long)cgroup_of(d->owner)->descendants);
	return 0;
}

static u64 *limit_of(struct attr_dir *d, const struct attr *a)
{
	struct cgroup *c = cgroup_of(d->owner);

	return a->data ? &c->max_depth : &c->max_descendants;
}

static int show_limit(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	cgroup_show_limit(out, *limit_of(d, a), 1);
	return 0;
}

static int set_limit(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = cgroup_parse_limit(text, 1, &v);

	if (err)
		return err;
	if (v != ~0ULL && v > 0x7fffffff)
		return -ERANGE;
	mutex_lock(&cgroup_lock);
	*limit_of(d, a) = v;
	mutex_unlock(&cgroup_lock);
	return 0;
}

/* ---- kill ---- */

static void kill_tenant(struct tenant *t)
{
	struct attr_dir *child;
	struct numbers n;

	if (gather(t, false, &n) == 0) {
		for (unsigned i = 0; i < n.nr; i++) {
			struct process *p = process_of_pid(n.pid[i]);

			if (!p)
				continue;
			(void)signal_send_process(SIGKILL, NULL, p);
			process_put(p);
		}
		drop(&n);
	}
	list_for_each_entry (child, &cgroup_of(t)->dir.children, sibling)
		kill_tenant(child->owner);
}

static int set_kill(struct attr_dir *d, const struct attr *a, char *text, size_t len)
{
	u64 v;

	if (str_to_u64(text, 10, &v) || v != 1)
		return -ERANGE;
	mutex_lock(&cgroup_lock);
	kill_tenant(d->owner);
	mutex_unlock(&cgroup_lock);
	return 0;
}

/* ---- the tables ---- */

#define FILE(id, text, bits, get, put, value)                                                                          \
	static const struct attr file_##id = { .name = text, .mode = bits, .show = get, .set = put, .data = value }

FILE(procs, "cgroup.procs", 0644, show_numbers, set_procs, 0);
FILE(threads, "cgroup.threads", 0444, show_numbers, NULL, 1);
FILE(controllers, "cgroup.controllers", 0444, show_controllers, NULL, 0);
FILE(control, "cgroup.subtree_control", 0644, show_controllers, set_control, 1);
FILE(events, "cgroup.events", 0444, show_events, NULL, 0);
FILE(type, "cgroup.type", 0644, show_type, set_type, 0);
FILE(stat, "cgroup.stat", 0444, show_stat, NULL, 0);
FILE(depth, "cgroup.max.depth", 0644, show_limit, set_limit, 1);
FILE(descendants, "cgroup.max.descendants", 0644, show_limit, set_limit, 0);
FILE(kill, "cgroup.kill", 0200, NULL, set_kill, 0);

const struct attr *const cgroup_core_files[] = { &file_procs,   &file_threads, &file_controllers,
						 &file_control, &file_events,  &file_type,
						 &file_stat,    &file_depth,   &file_descendants,
						 &file_kill,    NULL };
const struct attr *const cgroup_core_root_files[] = { &file_procs, &file_threads, &file_controllers, &file_control,
						      &file_stat,  &file_depth,   &file_descendants, NULL };

/* ---- values of controllers ---- */

int cgroup_parse_limit(const char *text, u64 unit, u64 *out)
{
	char word[32], *end;
	u64 shift = 0, v;

	str_copy(word, text, sizeof(word));
	end = word + strlen(word);
	while (end > word && (end[-1] == '\n' || end[-1] == ' '))
		*--end = '\0';
	if (!strcmp(word, "max")) {
		*out = ~0ULL;
		return 0;
	}
	if (unit > 1 && end > word) { /* bytes take a suffix */
		char c = end[-1] | 0x20;

		shift = c == 'k' ? 10 : c == 'm' ? 20 : c == 'g' ? 30 : c == 't' ? 40 : 0;
		if (shift)
			end[-1] = '\0';
	}
	if (!*word || *word == '-' || str_to_u64(word, 10, &v) || v > ~0ULL >> shift)
		return -EINVAL;
	*out = (v << shift) / unit;
	return 0;
}

void cgroup_show_limit(struct strbuf *out, u64 limit, u64 unit)
{
	if (limit > ~0ULL / unit)
		strbuf_add(out, "max\n");
	else
		strbuf_add(out, "%llu\n", (unsigned long long)(limit * unit));
}
