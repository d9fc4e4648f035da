/* SPDX-License-Identifier: MIT
 *
 * Problem: a file server that caches a file must hear before somebody else opens it, and have time to write back.
 *
 * Idea: a lease hangs on the inode's list beside its locks, and names the open file that holds it. An open or a
 * truncation that a lease stands against marks the lease (what it shall become, until when), has the holder told by
 * its file's signal, and waits until the holder has given way or its time is over.
 *      held --conflicting open--> breaking, holder told --F_SETLEASE, close, or time over--> less, or gone
 * Who opens counts himself first and looks for leases then; who takes a lease hangs it up first and looks for opens
 * then: one of the two sees the other.
 *
 * Contract: vfs/locks.h; fcntl(2), "Leases". The caller checks rights and names the owner. /proc/sys/fs/
 * lease-break-time (seconds) and leases-enable.
 *
 * Locks: locks_lock (locks.c) guards leases.
 */
#include <alloc/slab.h>
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <vfs/locks.h>
#include <vfs/upcalls.h>
#include "vfs_priv.h"

struct lease {
	struct list link; /* inode_locks->leases */
	struct file *file;
	int type, target; /* F_RDLCK, F_WRLCK; what it is to become (also F_UNLCK): another while it is being broken */
	u64 until_ns;     /* being broken: then it becomes that */
};

static u32 break_seconds = 45, enabled = 1;

/* ---- with locks_lock held -------------------------------------------------------------------------------------- */

static struct lease *lease_of(struct inode_locks *l, const struct file *f)
{
	struct lease *e;

	list_for_each_entry (e, &l->leases, link)
		if (e->file == f)
			return e;
	return NULL;
}

static bool is_in_the_way(const struct lease *e, bool writes)
{
	return writes || e->type == F_WRLCK;
}

static void change(struct lease *e, int type)
{
	e->type = e->target = type;
	e->until_ns = ~0ULL;
	if (type != F_UNLCK)
		return;
	list_del(&e->link);
	kfree(e);
}

static void end_overdue(struct inode_locks *l)
{
	struct lease *e, *next;

	list_for_each_entry_safe (e, next, &l->leases, link)
		if (e->target != e->type && clock_ns() >= e->until_ns)
			change(e, e->target);
}

/* Tells all that are in the way, once. Until when to wait for them; 0: there is none. */
static u64 start_break(struct inode_locks *l, bool writes)
{
	u64 until = 0, given = clock_ns() + READ_ONCE(break_seconds) * NSEC_PER_SEC;
	struct lease *e;

	end_overdue(l);
	list_for_each_entry (e, &l->leases, link) {
		if (!is_in_the_way(e, writes))
			continue;
		if (e->target != F_UNLCK && (writes || e->target == e->type)) {
			if (e->target == e->type)
				e->until_ns = given;
			e->target = writes ? F_UNLCK : F_RDLCK;
			if (e->file->async)
				upcall_file_async(e->file, EPOLLMSG);
		}
		until = max(until, e->until_ns);
	}
	return until;
}

/* ---- breaking -------------------------------------------------------------------------------------------------- */

static bool is_free(struct inode_locks *l, bool writes)
{
	struct lease *e;
	bool free = true;

	spin_lock(&locks_lock);
	list_for_each_entry (e, &l->leases, link)
		free &= !is_in_the_way(e, writes);
	spin_unlock(&locks_lock);
	return free;
}

int lease_break(struct inode *i, bool writes, bool wait)
{
	struct inode_locks *l;
	u64 until;

	smp_mb(); /* what counts us as a user is there before we look: lease_set */
	l = smp_load_acquire(&i->locks);
	while (l && !list_empty(&l->leases)) {
		int err;

		spin_lock(&locks_lock);
		until = start_break(l, writes);
		spin_unlock(&locks_lock);
		if (!until)
			return 0;
		if (!wait)
			return -EWOULDBLOCK;
		err = wait_event_interruptible_until(&l->wait, is_free(l, writes), until);
		if (err && err != -ETIME)
			return err;
	}
	return 0;
}

/* ---- taking ---------------------------------------------------------------------------------------------------- */

/* Has somebody else opened it in a way that the lease excludes? */
static bool is_used(const struct file *f, int type)
{
	if (type == F_RDLCK)
		return atomic_read(&f->inode->write_count) > 0;
	return inode_name_users(f->inode) > 1;
}

/* locks_lock held. 0: *fresh is used up. */
static int add(struct inode_locks *l, struct file *f, int type, struct lease **fresh)
{
	struct lease *e;

	list_for_each_entry (e, &l->leases, link)
		if (type == F_WRLCK || e->type == F_WRLCK || e->target == F_UNLCK)
			return -EAGAIN;
	e = *fresh;
	*fresh = NULL;
	*e = (struct lease){ .file = f, .type = type, .target = type, .until_ns = ~0ULL };
	list_add_tail(&e->link, &l->leases);
	return 0;
}

static int drop(struct inode_locks *l, struct file *f)
{
	struct lease *e;

	spin_lock(&locks_lock);
	e = lease_of(l, f);
	if (e)
		change(e, F_UNLCK);
	spin_unlock(&locks_lock);
	if (e)
		waitq_wake_all(&l->wait);
	return e ? 0 : -EAGAIN;
}

/* It has one already, and wants another kind. locks_lock held. */
static int exchange(struct inode_locks *l, struct lease *mine, int type)
{
	if (type == F_WRLCK && l->leases.next != l->leases.prev)
		return -EAGAIN;
	change(mine, type);
	return 0;
}

int lease_set(struct file *f, int type)
{
	struct inode_locks *l = locks_of(f->inode, type != F_UNLCK);
	struct lease *fresh, *mine;
	int err = -EAGAIN;

	if (type == F_UNLCK)
		return l ? drop(l, f) : -EAGAIN;
	if (!READ_ONCE(enabled))
		return -EINVAL;
	fresh = kmalloc(sizeof(*fresh), ALLOC_CHARGED);
	if (!l || !fresh) {
		kfree(fresh);
		return -ENOMEM;
	}
	if (!is_used(f, type)) {
		spin_lock(&locks_lock);
		mine = lease_of(l, f);
		err = mine ? exchange(l, mine, type) : add(l, f, type, &fresh);
		spin_unlock(&locks_lock);
		smp_mb(); /* it hangs there before we look for who opened meanwhile: lease_break */
		if (!err && is_used(f, type)) {
			(void)drop(l, f);
			err = -EAGAIN;
		}
		waitq_wake_all(&l->wait);
	}
	kfree(fresh);
	return err;
}

int lease_get(struct file *f)
{
	struct inode_locks *l = locks_of(f->inode, false);
	struct lease *e;
	int type = F_UNLCK;

	if (!l)
		return type;
	spin_lock(&locks_lock);
	end_overdue(l);
	e = lease_of(l, f);
	if (e)
		type = e->target;
	spin_unlock(&locks_lock);
	return type;
}

void lease_release(struct file *f)
{
	struct inode_locks *l = locks_of(f->inode, false);

	if (l && !list_empty(&l->leases))
		(void)drop(l, f);
}

/* ---- /proc/sys/fs ---------------------------------------------------------------------------------------------- */

static void lease_init(void)
{
	static const struct attr seconds = { "lease-break-time", 0644, attr_show_u32,
					     attr_set_u32,       NULL, (ulong)&break_seconds };
	static const struct attr on = { "leases-enable", 0644, attr_show_u32, attr_set_u32, NULL, (ulong)&enabled };
	static const struct attr *const attrs[] = { &seconds, &on, NULL };

	ensure(!attr_folder_add(&attr_sysctl_root, "fs", attrs));
}
PART_INIT(core, lease_init);
