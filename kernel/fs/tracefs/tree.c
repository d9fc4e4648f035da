/* SPDX-License-Identifier: MIT
 *
 * Problem: each instance shows the same folders, comes and goes by mkdir and rmdir, and its files may be open when it
 * goes.
 *
 * Idea: one allocation for all folders of an instance, in the order in which they are made; the last folder to be
 * released frees the tree, and the instance with it. rmdir is refused while a stream is open.
 *
 *   events/   SYSTEM/ EVENT/ ...   ftrace/print/     per_cpu/cpuN/     options/     instances/ (of the first only)
 *
 * Contract: tracefs_priv.h. Locks: trace_mutex for mkdir, rmdir and counts of users.
 */
#include "tracefs_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>

#define DIRS_MOST (TRACE_ALL + TRACE_EVENTS + MAX_CPUS + 8)

struct trace_tree {
	struct trace_instance *instance;
	atomic_t live; /* folders that are not released */
	unsigned nr;
	bool going; /* trace_mutex */
	char cpu_names[MAX_CPUS][8];
	char name[64];
	struct trace_dir dirs[];
};

static void release(struct attr_dir *dir)
{
	struct trace_tree *tree = trace_dir_of(dir)->tree;

	if (!atomic_dec_and_test(&tree->live))
		return;
	if (tree->instance != &trace_top)
		kfree(tree->instance);
	kfree(tree);
}

static const struct attr_dir_ops dir_ops = { .release = release, .truncate = trace_truncate };

static int add(struct trace_tree *t, struct attr_dir *parent, const char *name, const struct attr *const *files,
	       unsigned what, const struct attr_dir_ops *ops, struct attr_dir **out)
{
	struct trace_dir *d = &t->dirs[t->nr];
	int err;

	ensure(t->nr < DIRS_MOST);
	*d = (struct trace_dir){ .instance = t->instance, .tree = t, .what = what };
	err = attr_dir_init(&d->dir, parent, name, files, ops, d);
	if (err)
		return err;
	t->nr++;
	atomic_inc(&t->live);
	if (out)
		*out = &d->dir;
	return 0;
}

static int add_events(struct trace_tree *t, struct attr_dir *root)
{
	struct attr_dir *events, *system = NULL, *ftrace;
	int err = add(t, root, "events", trace_events_files, 0, &dir_ops, &events);

	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END && !err; id++) {
		const struct trace_event *e = trace_event(id);

		if (!e)
			continue;
		if (!system || strcmp(system->name, e->system))
			err = add(t, events, e->system, trace_system_files, id, &dir_ops, &system);
		if (!err)
			err = add(t, system, e->name, trace_event_files, id, &dir_ops, NULL);
	}
	if (!err)
		err = add(t, events, "ftrace", NULL, 0, &dir_ops, &ftrace);
	return err ? err : add(t, ftrace, "print", trace_print_files, 0, &dir_ops, NULL);
}

static int add_cpus(struct trace_tree *t, struct attr_dir *root)
{
	struct attr_dir *all;
	int err = add(t, root, "per_cpu", NULL, 0, &dir_ops, &all);

	for (unsigned cpu = 0; cpu < cpu_count() && !err; cpu++) {
		str_format(t->cpu_names[cpu], sizeof(t->cpu_names[cpu]), "cpu%u", cpu);
		err = add(t, all, t->cpu_names[cpu], trace_cpu_files, cpu, &dir_ops, NULL);
	}
	return err;
}

static struct trace_tree *new_tree(struct trace_instance *t, const char *name)
{
	struct trace_tree *tree = kzalloc(sizeof(*tree) + DIRS_MOST * sizeof(tree->dirs[0]), ALLOC_KERNEL);

	if (!tree)
		return NULL;
	tree->instance = t;
	str_format(tree->name, sizeof(tree->name), "%s", name);
	t->tree = tree;
	return tree;
}

static int fill(struct trace_tree *tree, struct attr_dir *root)
{
	int err = add_events(tree, root);

	if (!err)
		err = add_cpus(tree, root);
	return err ? err : add(tree, root, "options", trace_option_files, 0, &dir_ops, NULL);
}

/* ---- instances/
 * ------------------------------------------------------------------------------------------------------ */

static int remove_instance(struct attr_dir *dir)
{
	struct trace_instance *t = trace_dir_of(dir)->instance;
	int err = -EBUSY;

	mutex_lock(&trace_mutex);
	if (!t->users && !t->tree->going) {
		t->tree->going = true;
		trace_instance_stop(t);
		err = 0;
	}
	mutex_unlock(&trace_mutex);
	if (!err)
		attr_dir_remove(dir);
	return err;
}

static const struct attr_dir_ops instance_ops = { .rmdir = remove_instance,
						  .release = release,
						  .truncate = trace_truncate };

static int make_instance(struct attr_dir *parent, const char *name, u16 mode)
{
	struct trace_instance *t = kzalloc(sizeof(*t), ALLOC_KERNEL);
	struct trace_tree *tree = t ? new_tree(t, name) : NULL;
	struct attr_dir *root;
	int err;

	if (!tree) {
		kfree(t);
		return -ENOMEM;
	}
	trace_instance_init(t, tree->name);
	t->tree = tree;
	mutex_lock(&trace_mutex);
	err = trace_instance_start(t);
	mutex_unlock(&trace_mutex);
	if (!err) {
		err = add(tree, parent, tree->name, trace_instance_files, 0, &instance_ops, &root);
		if (!err) {
			err = fill(tree, root);
			if (err)
				(void)remove_instance(root);
			return err;
		}
		mutex_lock(&trace_mutex);
		trace_instance_stop(t);
		mutex_unlock(&trace_mutex);
	}
	kfree(tree);
	kfree(t);
	return err;
}

static const struct attr_dir_ops instances_ops = { .mkdir = make_instance, .release = release };

int trace_open_stream(struct trace_instance *t)
{
	int err = -ENODEV;

	mutex_lock(&trace_mutex);
	if (!t->tree->going) {
		t->users++;
		err = 0;
	}
	mutex_unlock(&trace_mutex);
	return err;
}

void trace_close_stream(struct trace_instance *t)
{
	mutex_lock(&trace_mutex);
	t->users--;
	mutex_unlock(&trace_mutex);
}

/* Nine hundred folders: not before somebody looks. */
int trace_tree_make(void)
{
	static const struct attr_dir_ops root_ops = { .truncate = trace_truncate };
	static struct trace_dir top;
	struct attr_dir *root = &attr_trace_root;
	struct trace_tree *tree;
	int err = 0;

	mutex_lock(&trace_mutex);
	if (!trace_top.tree) {
		tree = new_tree(&trace_top, "");
		err = tree ? 0 : -ENOMEM;
		if (!err) {
			top = (struct trace_dir){ .instance = &trace_top, .tree = tree };
			root->owner = &top;
			root->ops = &root_ops;
			err = fill(tree, root);
		}
		if (!err)
			err = add(tree, root, "instances", NULL, 0, &instances_ops, NULL);
		if (!err)
			root->attrs = trace_root_files;
	}
	mutex_unlock(&trace_mutex);
	return err;
}
