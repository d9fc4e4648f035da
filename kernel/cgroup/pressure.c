/* SPDX-License-Identifier: MIT
 *
 * Problem: pressure is read as text, and waited for: a program writes a threshold and a window into the file that it
 * has open, and polls it.
 *
 * Idea: files of the adapter's own kind, since a trigger belongs to one open file. The same files, of the root tenant,
 * are /proc/pressure.
 *
 * Contract: psi.rst; EBUSY for a second trigger on one file. POLLPRI once a window, POLLERR when the tenant is gone.
 *
 * Locks: the text file's own for its trigger.
 */
#include <fs/attrfs.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <task/psi.h>
#include <vfs/poll.h>
#include <vfs/textfile.h>
#include "cgroup_priv.h"

static int show(struct text_file *f, struct strbuf *out)
{
	return psi_show(f->a, (enum psi_kind)f->n, out);
}

static int set(struct text_file *f, char *text, size_t len)
{
	struct psi_trigger *tr, *none = NULL;
	int err;

	if (!len)
		return 0;
	if (f->b)
		return -EBUSY;
	err = psi_trigger_create(f->a, (enum psi_kind)f->n, text, &tr);
	if (err)
		return err;
	if (__atomic_compare_exchange_n(&f->b, (void **)&none, tr, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		return 0;
	psi_trigger_free(tr);
	return -EBUSY;
}

static unsigned poll(struct text_file *f, struct poll_table *pt)
{
	struct psi_trigger *tr = f->b;
	unsigned ready = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;

	if (!tr)
		return ready | EPOLLERR | EPOLLPRI;
	poll_wait(f->file, psi_trigger_wait(tr), pt);
	return psi_trigger_take(tr) ? ready | EPOLLPRI : ready;
}

static void release(struct text_file *f)
{
	if (f->b)
		psi_trigger_free(f->b);
	tenant_put(f->a);
}

static const struct text_ops text_ops = { .show = show, .set = set, .poll = poll, .release = release };

static int open(struct inode *i, struct file *f)
{
	const struct attr *a;
	struct attr_dir *d = attrfs_file_of(i, &a);
	struct tenant *t = d->owner ? d->owner : &tenant_root;
	int err = text_file_open(f, &text_ops, t, NULL);

	if (err)
		return err;
	tenant_get(t);
	((struct text_file *)f->priv)->n = a->data;
	return 0;
}

const struct file_ops cgroup_pressure_file_ops = TEXT_FILE_OPS(open);

#define PRESSURE(id, text, kind)                                                                                       \
	static const struct attr id = {                                                                                \
		.name = text, .mode = 0644, .file_ops = &cgroup_pressure_file_ops, .data = kind                        \
	}
PRESSURE(file_io, "io.pressure", PSI_IO);
PRESSURE(file_memory, "memory.pressure", PSI_MEMORY);
PRESSURE(file_cpu, "cpu.pressure", PSI_CPU);
PRESSURE(proc_io, "io", PSI_IO);
PRESSURE(proc_memory, "memory", PSI_MEMORY);
PRESSURE(proc_cpu, "cpu", PSI_CPU);
PRESSURE(proc_gpu, "gpu", PSI_GPU);

const struct attr *const cgroup_pressure_files[] = { &file_io, &file_memory, &file_cpu, NULL };

static const struct attr *const proc_files[] = { &proc_cpu, &proc_io, &proc_memory, &proc_gpu, NULL };
struct attr_dir cgroup_pressure_dir = { .name = "pressure",
					.children = LIST_INIT(cgroup_pressure_dir.children),
					.sibling = LIST_INIT(cgroup_pressure_dir.sibling),
					.links = LIST_INIT(cgroup_pressure_dir.links),
					.refs = { ATOMIC_INIT(1) },
					.attrs = proc_files,
					.ino = 1 };
