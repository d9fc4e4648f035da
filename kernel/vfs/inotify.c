/* SPDX-License-Identifier: MIT
 *
 * Problem: programs want to hear when files change, without looking all the time; files that nobody watches must not
 * pay for it.
 *
 * Idea: an inode with watchers has a chain of watches; everyone else sees a NULL pointer. A change walks the chain and
 * queues an event at each watching instance; equal events in a row become one. dnotify's watches have an open folder
 * instead of an instance: its owner gets a signal.
 *
 * Contract: inotify(7), F_NOTIFY of fcntl(2). An instance keeps at most inotify_limits.events, then one IN_Q_OVERFLOW.
 * A watch holds its inode until it is removed, the last name goes (IN_DELETE_SELF, IN_IGNORED) or the instance ends.
 *
 * Locks: notify_lock (RANK_SUBSYS_SPIN) guards all chains, watches and queues; short and without sleeping.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <lib/xarray.h>
#include <linux/eventpoll.h>
#include <linux/inotify.h>
#include <asm/ioctls.h>
#include <vfs/cache.h>
#include <task/account.h>
#include <vfs/inotify.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include <vfs/upcalls.h>
#include "vfs_priv.h"

struct inotify_limits inotify_limits = { .events = 16384, .instances = 128, .watches = 65536 };

#define SHOWN_BITS (IN_ALL_EVENTS | IN_EXCL_UNLINK | IN_ONESHOT)
#define HEARD      (IN_ALL_EVENTS | IN_RENAMED_WITHIN)

struct instance;

struct watch {
	struct watch *next;     /* of the inode */
	struct instance *owner; /* NULL: dnotify's */
	struct file *folder;    /* dnotify's, not counted */
	struct inode *inode;    /* counted */
	u32 mask;
	int wd;
};

struct event {
	struct list link;
	struct inotify_event e; /* e.len: name bytes with padding */
};

struct instance {
	struct xarray watches; /* by wd */
	int last_wd;
	struct list events;
	unsigned count, limit;
	kuid_t user; /* whose instances it counts among */
	struct waitq wait;
};

static struct spinlock notify_lock = SPIN_INIT(RANK_SUBSYS_SPIN);

/* ---- queueing ---------------------------------------------------------------------------------------------- */

static bool same_event(const struct event *a, int wd, u32 mask, u32 cookie, const char *name)
{
	return a->e.wd == wd && a->e.mask == mask && a->e.cookie == cookie &&
	       (name ? a->e.len && !strcmp(a->e.name, name) : !a->e.len);
}

static void queue_event(struct instance *in, int wd, u32 mask, const char *name, u32 cookie)
{
	size_t len = name ? strlen(name) + 1 : 0, padded = ALIGN_UP(len, sizeof(struct inotify_event));
	struct event *ev;

	if (!list_empty(&in->events) &&
	    same_event(list_last_entry(&in->events, struct event, link), wd, mask, cookie, name))
		return;
	if (in->count >= READ_ONCE(in->limit)) {
		if (list_last_entry(&in->events, struct event, link)->e.mask == IN_Q_OVERFLOW)
			return;
		wd = -1;
		mask = IN_Q_OVERFLOW;
		len = padded = 0;
	}
	ev = kmalloc_paid_like(in, sizeof(*ev) + padded, ALLOC_ATOMIC | ALLOC_ZERO); /* whoever made the event */
	if (!ev)
		return; /* memory is short: as if the queue had been full */
	ev->e = (struct inotify_event){ .wd = wd, .mask = mask, .cookie = cookie, .len = padded };
	if (len)
		memcpy(ev->e.name, name, len);
	list_add_tail(&ev->link, &in->events);
	in->count++;
	waitq_wake(&in->wait, 1, EPOLLIN | EPOLLRDNORM);
}

/* Takes w out of its inode's chain and its instance, under the lock. */
static void unlink_watch(struct watch *w)
{
	struct watch **at = (struct watch **)&w->inode->watches;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (w->owner)
		xa_erase(&w->owner->watches, w->wd);
}

static void tell_watch(struct watch *w, u32 mask, const char *name, u32 cookie)
{
	if (w->owner)
		queue_event(w->owner, w->wd, mask, name, cookie);
	else if (mask != IN_IGNORED && (name || mask & IN_ATTRIB)) /* of the folder itself only that it was changed */
		upcall_file_async(w->folder, EPOLLMSG);
}

void inode_notify_watchers(struct inode *i, u32 mask, const char *name, u32 cookie)
{
	struct watch *w, *next, *dead = NULL;

	spin_lock(&notify_lock);
	for (w = i->watches; w; w = next) {
		next = w->next;
		if (w->mask & mask & IN_EXCL_UNLINK)
			continue;
		if (w->mask & mask & HEARD)
			tell_watch(w, mask & ~(IN_EXCL_UNLINK | IN_RENAMED_WITHIN), name, cookie);
		if (mask & IN_DELETE_SELF || (w->mask & mask & HEARD && w->mask & IN_ONESHOT)) {
			tell_watch(w, IN_IGNORED, NULL, 0);
			unlink_watch(w);
			w->next = dead;
			dead = w;
		}
	}
	spin_unlock(&notify_lock);
	for (; dead; dead = next) {
		next = dead->next;
		inode_put(dead->inode);
		kfree(dead);
	}
}

void dentry_notify(struct dentry *d, u32 mask)
{
	struct inode *i = d->inode;
	u32 dir = S_ISDIR(i->mode) ? IN_ISDIR : 0;
	struct dentry *parent;
	bool told; /* the folder first, as Linux has it */

	rcu_read_lock();
	parent = READ_ONCE(d->parent);
	told = parent != d && unlikely(READ_ONCE(parent->inode->watches));
	rcu_read_unlock();
	if (told) {
		parent = dentry_parent_get(d);
		if (!(READ_ONCE(d->flags) & DENTRY_HASHED))
			dir |= IN_EXCL_UNLINK; /* those who want nothing of files without a name are left out */
		inode_notify(parent->inode, mask | dir, d->name->str, 0);
		dentry_put(parent);
	}
	inode_notify(i, mask | (dir & IN_ISDIR), NULL, 0);
}

/* ---- the file ----------------------------------------------------------------------------------------------- */

/* The first event if it fits into n bytes. *err: it does not. */
static struct event *take_event(struct instance *in, size_t n, int *err)
{
	struct event *ev = NULL;

	*err = 0;
	spin_lock(&notify_lock);
	if (!list_empty(&in->events)) {
		ev = list_first_entry(&in->events, struct event, link);
		if (sizeof(ev->e) + ev->e.len > n) {
			*err = -EINVAL;
			ev = NULL;
		} else {
			list_del(&ev->link);
			in->count--;
		}
	}
	spin_unlock(&notify_lock);
	return ev;
}

static ssize_t inotify_read(struct io *io)
{
	struct instance *in = io->file->priv;
	ssize_t total = 0;
	int err;

	for (;;) {
		struct event *ev = take_event(in, io->iter.count, &err);

		if (ev) {
			size_t n = sizeof(ev->e) + ev->e.len, done = iter_copy_out(&ev->e, n, &io->iter);

			kfree(ev);
			if (done < n)
				return total ? total : -EFAULT;
			total += n;
			continue;
		}
		if (total || err)
			return total ? total : err;
		if (io->file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&in->wait, !list_empty(&in->events));
		if (err)
			return err;
	}
}

static unsigned inotify_poll(struct file *f, struct poll_table *pt)
{
	struct instance *in = f->priv;

	poll_wait(f, &in->wait, pt);
	return list_empty(&in->events) ? 0 : EPOLLIN | EPOLLRDNORM;
}

static long inotify_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct instance *in = f->priv;
	struct event *ev;
	int bytes = 0;

	if (cmd != FIONREAD)
		return -ENOTTY;
	spin_lock(&notify_lock);
	list_for_each_entry (ev, &in->events, link)
		bytes += sizeof(ev->e) + ev->e.len;
	spin_unlock(&notify_lock);
	return user_put((void __user *)arg, &bytes, sizeof(bytes));
}

static void inotify_release(struct file *f)
{
	struct instance *in = f->priv;
	struct watch *w;

	for (;;) {
		u64 wd = 0;

		spin_lock(&notify_lock);
		w = xa_find(&in->watches, &wd, ~0ULL);
		if (w)
			unlink_watch(w);
		spin_unlock(&notify_lock);
		if (!w)
			break;
		inode_put(w->inode);
		kfree(w);
	}
	while (!list_empty(&in->events)) {
		struct event *ev = list_first_entry(&in->events, struct event, link);

		list_del(&ev->link);
		kfree(ev);
	}
	account_uncharge(in->user, ACCOUNT_INOTIFY, 1);
	kfree(in);
}

/* A line a watch; without file handles, which nobody here can open. */
static void inotify_fdinfo(struct file *f, struct strbuf *out)
{
	struct instance *in = f->priv;
	struct watch *w;
	u64 wd;

	spin_lock(&notify_lock);
	xa_for_each (&in->watches, wd, w)
		strbuf_add(out, "inotify wd:%llx ino:%llx sdev:%x mask:%x ignored_mask:0 \n", (unsigned long long)wd,
			   (unsigned long long)w->inode->ino, w->inode->super->dev, w->mask & SHOWN_BITS);
	spin_unlock(&notify_lock);
}

static const struct file_ops inotify_ops = {
	.read = inotify_read,
	.poll = inotify_poll,
	.ioctl = inotify_ioctl,
	.release = inotify_release,
	.show_fdinfo = inotify_fdinfo,
	.llseek = no_llseek,
};

int inotify_create(unsigned flags, struct file **out)
{
	struct instance *in = kzalloc(sizeof(*in), ALLOC_CHARGED);
	int err;

	if (!in)
		return -ENOMEM;
	xa_init(&in->watches, &vfs_xa_mem);
	list_init(&in->events);
	waitq_init(&in->wait);
	in->limit = inotify_limits.events;
	in->user = current->cred->uid;
	if (account_charge(in->user, ACCOUNT_INOTIFY, 1, inotify_limits.instances)) {
		kfree(in);
		return -EMFILE;
	}
	err = file_anon("inotify", &inotify_ops, in, flags | O_RDONLY, out);
	if (err) {
		account_uncharge(in->user, ACCOUNT_INOTIFY, 1);
		kfree(in);
	}
	return err;
}

/* ---- watches ------------------------------------------------------------------------------------------------- */

static struct watch *find_watch(struct instance *in, struct inode *i)
{
	struct watch *w = i->watches;

	while (w && w->owner != in)
		w = w->next;
	return w;
}

static int update(struct watch *w, u32 mask)
{
	if (mask & IN_MASK_CREATE)
		return -EEXIST;
	w->mask = mask & IN_MASK_ADD ? w->mask | mask : mask;
	return w->wd;
}

/* Under the lock. */
static void chain(struct watch *w, const struct watch *what)
{
	*w = *what;
	w->next = w->inode->watches;
	inode_get(w->inode);
	WRITE_ONCE(w->inode->watches, w);
}

int inotify_add(struct file *f, struct inode *i, u32 mask)
{
	struct instance *in = f->priv;
	struct watch *fresh, *w;
	int wd;

	if (f->ops != &inotify_ops)
		return -EINVAL;
	if (!(mask & IN_ALL_EVENTS) || (mask & IN_MASK_ADD && mask & IN_MASK_CREATE))
		return -EINVAL;
	mask &= ~(u32)IN_RENAMED_WITHIN;
	fresh = kzalloc(sizeof(*fresh), ALLOC_CHARGED);
	if (!fresh)
		return -ENOMEM;
	spin_lock(&notify_lock);
	w = find_watch(in, i);
	if (w) {
		wd = update(w, mask);
	} else {
		wd = xa_store(&in->watches, in->last_wd + 1, fresh, NULL);
		if (!wd) {
			wd = ++in->last_wd;
			chain(fresh, &(struct watch){ .owner = in, .inode = i, .mask = mask, .wd = wd });
			fresh = NULL;
		}
	}
	spin_unlock(&notify_lock);
	kfree(fresh);
	return wd;
}

int inotify_remove(struct file *f, int wd)
{
	struct instance *in = f->priv;
	struct watch *w;

	if (f->ops != &inotify_ops)
		return -EINVAL;
	spin_lock(&notify_lock);
	w = wd > 0 ? xa_load(&in->watches, wd) : NULL;
	if (w) {
		unlink_watch(w);
		queue_event(in, wd, IN_IGNORED, NULL, 0);
	}
	spin_unlock(&notify_lock);
	if (!w)
		return -EINVAL;
	inode_put(w->inode);
	kfree(w);
	return 0;
}

/* ---- dnotify -------------------------------------------------------------------------------------------------- */

static struct watch *find_folder(struct file *f)
{
	struct watch *w = f->inode->watches;

	while (w && w->folder != f)
		w = w->next;
	return w;
}

int dnotify_set(struct file *f, u32 mask)
{
	struct watch *fresh = mask & HEARD ? kzalloc(sizeof(*fresh), ALLOC_CHARGED) : NULL, *w;

	if (mask & HEARD && !fresh)
		return -ENOMEM;
	spin_lock(&notify_lock);
	w = find_folder(f);
	if (!fresh && w)
		unlink_watch(w);
	else if (w)
		w->mask = (w->mask & mask & IN_ONESHOT) | ((w->mask | mask) & HEARD);
	if (fresh && !w) {
		chain(fresh, &(struct watch){ .folder = f, .inode = f->inode, .mask = mask });
		fresh = NULL;
	}
	spin_unlock(&notify_lock);
	if (w && !(mask & HEARD)) {
		inode_put(w->inode);
		kfree(w);
	}
	kfree(fresh);
	return 0;
}

void file_async_gone(struct file *f)
{
	int err = f->inode->watches ? dnotify_set(f, 0) : 0;

	assert(!err);
	upcall_file_async_gone(f);
}
