/* SPDX-License-Identifier: MIT
 *
 * Problem: hundreds of small files are made of values in memory, and a reader who takes them in pieces must not get a
 * mixture of two moments.
 *
 * Idea: the text is built whole into a buffer of the open file when a read starts at its beginning, doubling the buffer
 * until it fits; later pieces come from the buffer. A write is handed over whole.
 *
 * Contract: vfs/textfile.h. Texts up to 4 MiB; writes up to 64 KiB (longer: EINVAL).
 *
 * Locks: text_file->lock (RANK_TEXT_FILE), held while show() runs; show may take locks of later ranks.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <vfs/textfile.h>

#include "vfs_priv.h"

#define FIRST_SIZE PAGE_SIZE
#define MAX_SIZE   (4UL << 20)
#define MAX_WRITE  65536UL

static LIST(proc_files);
static struct spinlock proc_files_lock = SPIN_INIT(RANK_LEAF_SPIN);

void proc_file_register(struct proc_file *p)
{
	spin_lock(&proc_files_lock);
	list_add_tail(&p->link, &proc_files);
	spin_unlock(&proc_files_lock);
}

struct proc_file *proc_file_find(const char *name)
{
	struct proc_file *p;

	/* Entries are only ever added, at boot. */
	list_for_each_entry (p, &proc_files, link)
		if (!strcmp(p->name, name))
			return p;
	return NULL;
}

struct proc_file *proc_file_at(unsigned n)
{
	struct proc_file *p;

	list_for_each_entry (p, &proc_files, link)
		if (!n--)
			return p;
	return NULL;
}

int text_file_open(struct file *f, const struct text_ops *ops, void *a, void *b)
{
	struct text_file *t = kzalloc(sizeof(*t), ALLOC_CHARGED);

	if (!t)
		return -ENOMEM;
	*t = (struct text_file){ .ops = ops, .file = f, .a = a, .b = b };
	mutex_init(&t->lock, RANK_TEXT_FILE);
	f->priv = t;
	f->mode |= FMODE_SEEK;
	return 0;
}

void text_file_release(struct file *f)
{
	struct text_file *t = f->priv;

	if (!t)
		return;
	if (t->ops->release)
		t->ops->release(t);
	kfree(t->buf);
	kfree(t);
}

/* Builds the text anew. t->lock held. */
static int build(struct text_file *t)
{
	size_t size = t->buf ? ksize(t->buf) : FIRST_SIZE;

	for (;; size *= 2) {
		struct strbuf sb;
		int err;

		if (size > MAX_SIZE)
			return -EFBIG;
		if (!t->buf || ksize(t->buf) < size) {
			kfree(t->buf);
			t->buf = kmalloc(size, ALLOC_CHARGED);
			if (!t->buf)
				return -ENOMEM;
		}
		strbuf_init(&sb, t->buf, size);
		err = t->ops->show(t, &sb);
		if (err)
			return err;
		t->len = sb.len;
		if (!sb.truncated)
			return 0;
	}
}

ssize_t text_file_read(struct io *io)
{
	struct text_file *t = io->file->priv;
	ssize_t n = 0;

	if (!t->ops->show)
		return -EINVAL;
	mutex_lock(&t->lock);
	if (!io->pos || !t->buf)
		n = build(t);
	if (!n && (u64)io->pos < t->len) {
		size_t want = min(t->len - (size_t)io->pos, io->iter.count);

		n = iter_copy_out(t->buf + io->pos, want, &io->iter);
		if (!n && want)
			n = -EFAULT;
		else
			io->pos += n;
	}
	mutex_unlock(&t->lock);
	return n;
}

ssize_t text_file_write(struct io *io)
{
	struct text_file *t = io->file->priv;
	size_t len = io->iter.count;
	char *text;
	int err;

	if (!t->ops->set)
		return -EINVAL;
	if (len > MAX_WRITE)
		return -EINVAL;
	text = kmalloc(len + 1, ALLOC_KERNEL);
	if (!text)
		return -ENOMEM;
	err = iter_copy_in(text, len, &io->iter) < len ? -EFAULT : 0;
	text[len] = '\0';
	if (!err)
		err = t->ops->set(t, text, len);
	kfree(text);
	if (err)
		return err;
	io->pos += len;
	return len;
}

unsigned text_file_poll(struct file *f, struct poll_table *pt)
{
	struct text_file *t = f->priv;

	return t->ops->poll ? t->ops->poll(t, pt) : EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;
}
