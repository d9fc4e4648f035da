/* SPDX-License-Identifier: MIT
 *
 * Problem: processes are moved by writing their numbers into cgroup.procs, threads into cgroup.threads, and a user who
 * has been given a subtree must be able to move what is his inside it, but nothing in or out.
 *
 * Idea: ids are collected in portions under the tenants' spin lock and turned into numbers later. Who may write the
 * file that he opened must also be able to write cgroup.procs of the lowest folder that has both ends below it.
 *
 * Contract: cgroup-v2.rst, "Processes", "Threads", "Delegation Containment".
 *
 * Locks: cgroup_lock around a move; lists of tasks are read under RANK_TENANT.
 */
#include <alloc/slab.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <mm/mm.h>
#include <task/task.h>
#include <vfs/textfile.h>
#include <vfs/vfs.h>
#include "cgroup_priv.h"
#include "trace.h"

/* ---- who is here ---- */

/* RANK_TENANT. */
static bool collect(struct task *t, void *arg)
{
	struct cgroup_ids *n = arg;

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

void cgroup_ids_put(struct cgroup_ids *n)
{
	for (unsigned i = 0; i < n->nr; i++)
		pid_put(n->pid[i]);
	kfree(n->pid);
}

int cgroup_ids_get(struct tenant *t, bool threads, struct cgroup_ids *n)
{
	for (unsigned room = 64;; room *= 2) {
		*n = (struct cgroup_ids){ .pid = kcalloc(room, sizeof(*n->pid), 0), .room = room, .threads = threads };
		if (!n->pid)
			return -ENOMEM;
		tenant_for_each_task(t, collect, n);
		if (!n->short_of)
			return 0;
		cgroup_ids_put(n);
	}
}

static int show_one(struct tenant *t, bool threads, struct strbuf *out)
{
	struct cgroup_ids n;
	int err = cgroup_ids_get(t, threads, &n);

	if (err)
		return err;
	for (unsigned i = 0; i < n.nr; i++)
		strbuf_add(out, "%d\n", pid_nr(n.pid[i]));
	cgroup_ids_put(&n);
	return 0;
}

/* A thread root lists the processes of all that are threaded below it. */
static int show_procs_below(struct cgroup *c, struct strbuf *out)
{
	struct attr_dir *child;
	int err = show_one(c->tenant, false, out);

	for_each_child_dir(child, c) if (!err && cgroup_of(child->owner)->threaded) err =
		show_procs_below(cgroup_of(child->owner), out);
	return err;
}

/* f->a is the folder, which the file's inode holds; f->n: threads. */
static int show_ids(struct text_file *f, struct strbuf *out)
{
	struct attr_dir *d = f->a;
	struct cgroup *c;
	int err;

	if (d->removed)
		return -ENODEV;
	if (f->n)
		return show_one(d->owner, true, out);
	mutex_lock(&cgroup_lock);
	c = cgroup_of(d->owner);
	err = c->threaded ? -EOPNOTSUPP : show_procs_below(c, out);
	mutex_unlock(&cgroup_lock);
	return err;
}

/* ---- moving ---- */

/* No file of the whole way up from both ends needs to be writable but that of the lowest common folder. */
int cgroup_may_cross(struct cgroup *from, struct cgroup *to, const struct cred *c)
{
	struct cgroup *a = from;
	struct attr_owner o;

	for (; a; a = cgroup_parent(a)) {
		struct cgroup *b = to;

		while (b && b != a)
			b = cgroup_parent(b);
		if (b)
			break;
	}
	o = attr_owner(&a->dir, &cgroup_file_procs);
	if (cred_capable(c, CAP_DAC_OVERRIDE))
		return 0;
	if (o.uid == c->fsuid.v)
		return o.mode & 0200 ? 0 : -EACCES;
	return o.mode & (in_group(c, KGID(o.gid)) ? 0020 : 0002) ? 0 : -EACCES;
}

static int move_thread(struct task *t, void *to)
{
	if (tenant_move_task(t, to)) /* an exited one stays where it was */
		signal_freeze_kick(t->pid);
	if (trace_on(cgroup_attach_task))
		cgroup_trace_attach(cgroup_of(to), t);
	return 0;
}

/* cgroup_lock held. */
static int move(struct task *t, struct cgroup *to, bool whole, const struct cred *as)
{
	struct cgroup *from = cgroup_of(t->tenant);
	int err = cgroup_may_enter(to);

	if (!err && from && !whole && cgroup_domain(from) != cgroup_domain(to))
		err = -EOPNOTSUPP;
	if (!err && from)
		err = cgroup_may_cross(from, to, as);
	if (err)
		return err;
	return whole ? process_for_each_thread(t->process, move_thread, to->tenant) : move_thread(t, to->tenant);
}

static int move_and_charge(struct task *t, struct tenant *to, bool whole, const struct cred *as)
{
	struct mm *mm = NULL;
	int err = -ENODEV;

	if (!t->process)
		return -EINVAL; /* kernel threads stay in the root */
	mutex_lock(&cgroup_lock);
	if (cgroup_of(to))
		err = move(t, cgroup_of(to), whole, as);
	mutex_unlock(&cgroup_lock);
	if (!err && whole)
		mm = mm_of_task(t);
	if (mm) {
		mm_set_tenant(mm, to);
		mm_put(mm);
	}
	return err;
}

/* The rights are those of who opened the file: a program that was handed the descriptor may use it, and one that was
 * made to write into it by its lesser user cannot be abused. */
static int set_ids(struct text_file *f, char *text, size_t len)
{
	struct attr_dir *d = f->a;
	struct task *t;
	s64 nr;
	int err;

	if (d->removed)
		return -ENODEV;
	if (!len)
		return 0;
	if (str_to_s64(str_trim(text), 0, &nr) || nr < 0 || nr > 0x7fffffff)
		return -EINVAL;
	if (!nr) {
		t = current;
		task_get(t);
	} else {
		t = task_find_get((int)nr);
	}
	if (!t)
		return -ESRCH;
	err = move_and_charge(t, d->owner, !f->n, f->file->cred);
	task_put(t);
	return err;
}

static const struct text_ops text_ops = { .show = show_ids, .set = set_ids };

static int open(struct inode *i, struct file *f)
{
	const struct attr *a;
	struct attr_dir *d = attrfs_file_of(i, &a);
	int err = text_file_open(f, &text_ops, d, NULL);

	if (!err)
		((struct text_file *)f->priv)->n = a->data;
	return err;
}

static const struct file_ops file_ops = TEXT_FILE_OPS(open);
const struct attr cgroup_file_procs = { .name = "cgroup.procs", .mode = 0644, .file_ops = &file_ops };
const struct attr cgroup_file_threads = { .name = "cgroup.threads", .mode = 0644, .file_ops = &file_ops, .data = 1 };
