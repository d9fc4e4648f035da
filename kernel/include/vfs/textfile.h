/* SPDX-License-Identifier: MIT
 *
 * Files whose contents are made when they are read: /proc, sysfs, control files. One show() builds the whole text;
 * reads at any offset get pieces of one consistent text, made anew when a read starts at 0.
 *
 * Threading: show and set may sleep; each open file has its own text, under its own lock.
 */
#ifndef VFS_TEXTFILE_H
#define VFS_TEXTFILE_H

#include <lib/printf.h>
#include <vfs/vfs.h>

struct text_file;
struct text_ops {
	int (*show)(struct text_file *t,
		    struct strbuf *out); /* 0 or -errno; called again with a bigger buffer if truncated */
	/* One write: the whole text, terminated, in kernel memory. 0 or -errno. NULL: not writable. */
	int (*set)(struct text_file *t, char *text, size_t len);
	void (*release)(struct text_file *t);
	unsigned (*poll)(struct text_file *t, struct poll_table *pt); /* NULL: always readable */
};

struct text_file {
	const struct text_ops *ops;
	struct file *file;
	void *a, *b; /* the owner's */
	ulong n;
	struct mutex lock; /* buf, len */
	char *buf;
	size_t len;
};

/* In an open op: makes f such a file. */
int __must_check text_file_open(struct file *f, const struct text_ops *ops, void *a, void *b);
void text_file_release(struct file *f);
ssize_t text_file_read(struct io *io);
ssize_t text_file_write(struct io *io);
unsigned text_file_poll(struct file *f, struct poll_table *pt);
#define TEXT_FILE_OPS(open_fn)                                                                                         \
	{                                                                                                              \
		.open = (open_fn), .release = text_file_release, .read = text_file_read, .write = text_file_write,     \
		.poll = text_file_poll                                                                                 \
	}

/* A file of /proc's root that a part below fs/proc offers (version, partitions ...). Lives forever. */
struct proc_file {
	const char *name;
	int (*show)(struct strbuf *out);
	/* For files that say when they change (POLLPRI | POLLERR until read again); NULL: always readable. */
	struct waitq *changed;
	u32 *change_count;
	struct list link;
};
void proc_file_register(struct proc_file *p);
struct proc_file *proc_file_find(const char *name);
struct proc_file *proc_file_at(unsigned n); /* NULL: no more */

#endif
