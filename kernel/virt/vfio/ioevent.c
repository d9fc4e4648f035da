/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's write to a doorbell goes to the VMM, which writes the register; two trips for one word.
 *
 * Idea: the VMM binds the word to an event descriptor that the hypervisor signals. We listen to the descriptor and do
 * the write ourselves, in process context, or tell a driver that takes doorbells from any context.
 *
 *      guest's write --> KVM_IOEVENTFD --> descriptor --> ops->doorbell, or work --> ops->write
 *
 * Contract: VFIO_DEVICE_IOEVENTFD of linux/vfio.h: address, value and width name a binding; descriptor -1 removes it.
 *
 * Locks: vfio_lock for the list.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <task/wait.h>
#include <task/work.h>
#include <vfs/eventfd.h>
#include <vfs/vfs.h>
#include "vfio_priv.h"

#define BINDINGS_MAX 64

struct ioevent {
	struct list link;
	struct vfio_device *d;
	struct delayed_work work; /* from a waker's context work can be queued only by a timer */
	struct wait_entry wait;
	struct file *event; /* counted */
	unsigned region, bytes;
	u64 offset, data;
};

static bool signalled(struct wait_entry *w, unsigned events)
{
	struct ioevent *e = container_of(w, struct ioevent, wait);

	if (!(events & EPOLLIN))
		return false;
	if (!e->d->ops->doorbell || !e->d->ops->doorbell(e->d, e->region, e->offset, e->data))
		delayed_work_queue(&e->work, 0);
	return false;
}

static void write_register(struct work *w)
{
	struct ioevent *e = container_of(w, struct ioevent, work.work);

	(void)e->d->ops->write(e->d, e->region, e->offset, &e->data, e->bytes);
}

static void drop(struct ioevent *e)
{
	waitq_remove(eventfd_waitq(eventfd_of(e->event)), &e->wait);
	delayed_work_cancel(&e->work);
	list_del(&e->link);
	file_put(e->event);
	kfree(e);
}

static struct ioevent *find(struct vfio_device *d, const struct ioevent *like)
{
	struct ioevent *e;

	list_for_each_entry (e, &d->ioevents, link)
		if (e->region == like->region && e->offset == like->offset && e->bytes == like->bytes &&
		    e->data == like->data)
			return e;
	return NULL;
}

static unsigned count(struct vfio_device *d)
{
	struct ioevent *e;
	unsigned n = 0;

	list_for_each_entry (e, &d->ioevents, link)
		n++;
	return n;
}

/* Takes over e and the descriptor in it. */
static int bind(struct vfio_device *d, struct ioevent *e)
{
	if (find(d, e))
		return -EEXIST;
	if (count(d) == BINDINGS_MAX)
		return -ENOSPC;
	e->d = d;
	delayed_work_init(&e->work, write_register);
	e->wait.wake = signalled;
	list_add_tail(&e->link, &d->ioevents);
	waitq_add(eventfd_waitq(eventfd_of(e->event)), &e->wait);
	return 0;
}

static int parse(const struct vfio_device *d, const struct vfio_device_ioeventfd *a, struct ioevent *e)
{
	const struct vfio_region *r;

	if (a->argsz < sizeof(*a) || (a->flags & ~VFIO_DEVICE_IOEVENTFD_SIZE_MASK) || a->fd < -1)
		return -EINVAL;
	*e = (struct ioevent){ .region = (unsigned)(a->offset >> 40),
			       .offset = a->offset & ((1ULL << 40) - 1),
			       .bytes = a->flags,
			       .data = a->data };
	if (!e->bytes || (e->bytes & (e->bytes - 1)) || e->offset % e->bytes || e->region >= d->nr_regions ||
	    e->region > VFIO_PCI_BAR5_REGION_INDEX)
		return -EINVAL;
	r = &d->region[e->region];
	return (r->flags & VFIO_REGION_INFO_FLAG_WRITE) && e->offset + e->bytes <= r->bytes ? 0 : -EINVAL;
}

int ioevent_set(struct vfio_device *d, void __user *arg)
{
	struct vfio_device_ioeventfd a;
	struct ioevent like, *e;
	struct fd_ref ref;
	int err = user_get(&a, arg, sizeof(a));

	if (!err)
		err = parse(d, &a, &like);
	if (err)
		return err;
	if (a.fd == -1) {
		e = find(d, &like);
		if (e)
			drop(e);
		return e ? 0 : -ENODEV;
	}
	ref = fd_get(a.fd);
	e = ref.file && eventfd_of(ref.file) ? kzalloc(sizeof(*e), 0) : NULL;
	err = !ref.file ? -EBADF : !eventfd_of(ref.file) ? -EINVAL : !e ? -ENOMEM : 0;
	if (!err) {
		*e = like;
		e->event = ref.file;
		err = bind(d, e);
		if (err)
			kfree(e);
		else
			file_get(ref.file);
	}
	fd_put(ref);
	return err;
}

void ioevents_release(struct vfio_device *d)
{
	struct ioevent *e, *next;

	list_for_each_entry_safe (e, next, &d->ioevents, link)
		drop(e);
}
