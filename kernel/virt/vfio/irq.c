/* SPDX-License-Identifier: MIT
 *
 * Problem: a device interrupts a program, or a guest without the program's help, and a program may change what it
 * listens to at any moment.
 *
 * Idea: each vector is at most one event descriptor; to interrupt is to signal it. INTx is a line: it is signalled when
 * it rises, then masked until the listener has said that it has dealt with it (by ioctl or by a descriptor of its own,
 * which is looked at in process context), and signalled again if it is still high.
 *
 *      MSI, MSI-X, REQ   signal(vector) --> descriptor
 *      INTx              line high, not masked --> descriptor, masked;   unmask --> line still high? again
 *
 * Contract: vfio.h; VFIO_DEVICE_GET_IRQ_INFO and _SET_IRQS of linux/vfio.h. One of INTx, MSI and MSI-X is in use at a
 * time. SET_IRQS is parsed whole, then applied.
 *
 * Locks: vfio_lock for changes, irq_lock against whoever signals.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <task/wait.h>
#include <task/work.h>
#include <vfs/eventfd.h>
#include <vfs/vfs.h>
#include "vfio_priv.h"

struct vfio_unmask {
	struct delayed_work work;
	struct wait_entry wait;
	struct file *event; /* counted */
	struct vfio_device *d;
};

/* A SET_IRQS that has been checked. */
struct irq_change {
	u32 index, start, count, data, action;
	union {
		u8 on[VFIO_VECTORS];
		s32 fd[VFIO_VECTORS];
	};
};

/* ---- signalling ---- */

static void signal_locked(struct vfio_device *d, unsigned index, unsigned vector)
{
	struct vfio_irq *i = &d->irq[index];

	assert_held(&d->irq_lock);
	if (i->vector && vector < i->count && i->vector[vector].event)
		eventfd_signal(eventfd_of(i->vector[vector].event), 1);
}

void vfio_signal(struct vfio_device *d, unsigned index, unsigned vector)
{
	ulong irq = spin_lock_irqsave(&d->irq_lock);

	signal_locked(d, index, vector);
	spin_unlock_irqrestore(&d->irq_lock, irq);
}

static void update_line(struct vfio_device *d)
{
	assert_held(&d->irq_lock);
	if (!d->line || d->masked)
		return;
	d->masked = true;
	signal_locked(d, VFIO_PCI_INTX_IRQ_INDEX, 0);
}

void vfio_set_line(struct vfio_device *d, bool level)
{
	ulong irq = spin_lock_irqsave(&d->irq_lock);

	d->line = level;
	update_line(d);
	spin_unlock_irqrestore(&d->irq_lock, irq);
}

static void set_masked(struct vfio_device *d, bool masked)
{
	ulong irq = spin_lock_irqsave(&d->irq_lock);

	d->masked = masked;
	update_line(d);
	spin_unlock_irqrestore(&d->irq_lock, irq);
}

/* ---- a descriptor that unmasks ---- */

static bool unmask_signalled(struct wait_entry *w, unsigned events)
{
	if (events & EPOLLIN)
		delayed_work_queue(&container_of(w, struct vfio_unmask, wait)->work, 0);
	return false;
}

static void unmask_later(struct work *w)
{
	set_masked(container_of(w, struct vfio_unmask, work.work)->d, false);
}

static void unmask_drop(struct vfio_device *d)
{
	struct vfio_unmask *u = d->unmask;

	if (!u)
		return;
	d->unmask = NULL;
	waitq_remove(eventfd_waitq(eventfd_of(u->event)), &u->wait);
	delayed_work_cancel(&u->work);
	file_put(u->event);
	kfree(u);
}

/* Takes over event (NULL: none any more). */
static int unmask_set(struct vfio_device *d, struct file *event)
{
	struct vfio_unmask *u = event ? kzalloc(sizeof(*u), 0) : NULL;

	if (event && !u) {
		file_put(event);
		return -ENOMEM;
	}
	unmask_drop(d);
	if (!u)
		return 0;
	delayed_work_init(&u->work, unmask_later);
	u->wait.wake = unmask_signalled;
	u->event = event;
	u->d = d;
	d->unmask = u;
	waitq_add(eventfd_waitq(eventfd_of(event)), &u->wait);
	return 0;
}

/* ---- listening ---- */

static bool others_listen(const struct vfio_device *d, unsigned index)
{
	for (unsigned i = VFIO_PCI_INTX_IRQ_INDEX; index <= VFIO_PCI_MSIX_IRQ_INDEX && i <= VFIO_PCI_MSIX_IRQ_INDEX;
	     i++)
		if (i != index && d->irq[i].vector)
			return true;
	return false;
}

static int tell_driver(struct vfio_device *d, unsigned index, unsigned vector, bool on)
{
	return d->ops->listen ? d->ops->listen(d, index, vector, on) : 0;
}

/* Takes over event (NULL: nobody listens any more). */
static int replace(struct vfio_device *d, unsigned index, unsigned vector, struct file *event)
{
	struct vfio_vector *v = &d->irq[index].vector[vector];
	bool is_first = event && !v->event, is_last = !event && v->event;
	int err = is_first ? tell_driver(d, index, vector, true) : 0;
	ulong irq;

	if (!err) {
		irq = spin_lock_irqsave(&d->irq_lock);
		swap(v->event, event);
		spin_unlock_irqrestore(&d->irq_lock, irq);
	}
	if (is_last)
		(void)!tell_driver(d, index, vector, false);
	if (event)
		file_put(event);
	return err;
}

static void stop(struct vfio_device *d, unsigned index)
{
	struct vfio_irq *i = &d->irq[index];
	struct vfio_vector *gone = NULL;
	ulong irq;

	if (!i->vector)
		return;
	if (index == VFIO_PCI_INTX_IRQ_INDEX)
		unmask_drop(d);
	irq = spin_lock_irqsave(&d->irq_lock);
	swap(i->vector, gone);
	spin_unlock_irqrestore(&d->irq_lock, irq);
	for (unsigned n = 0; n < i->count; n++)
		if (gone[n].event) {
			(void)!tell_driver(d, index, n, false);
			file_put(gone[n].event);
		}
	kfree(gone);
}

void irq_release(struct vfio_device *d)
{
	for (unsigned i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		stop(d, i);
	d->line = d->masked = false;
}

/* -1: nobody. */
static int event_of_fd(int fd, struct file **out)
{
	struct fd_ref ref;
	int err = 0;

	*out = NULL;
	if (fd < -1)
		return -EINVAL;
	if (fd == -1)
		return 0;
	ref = fd_get(fd);
	if (!ref.file)
		return -EBADF;
	if (eventfd_of(ref.file)) {
		file_get(ref.file);
		*out = ref.file;
	} else {
		err = -EINVAL;
	}
	fd_put(ref);
	return err;
}

static int listen(struct vfio_device *d, const struct irq_change *c)
{
	struct vfio_irq *i = &d->irq[c->index];
	bool was_used = i->vector;
	struct file *event;
	int err = 0;

	if (others_listen(d, c->index))
		return -EINVAL;
	if (!i->vector) {
		i->vector = kcalloc(i->count, sizeof(*i->vector), 0);
		if (!i->vector)
			return -ENOMEM;
		d->masked = false;
	}
	for (u32 n = 0; n < c->count && !err; n++) {
		err = event_of_fd(c->fd[n], &event);
		if (!err)
			err = replace(d, c->index, c->start + n, event);
	}
	if (err && !was_used)
		stop(d, c->index); /* this kind is not in use, then, and another one can be */
	if (c->index == VFIO_PCI_INTX_IRQ_INDEX && !err)
		set_masked(d, d->masked); /* the line may be high already */
	return err;
}

/* ---- SET_IRQS ---- */

static int trigger(struct vfio_device *d, const struct irq_change *c)
{
	if (c->data == VFIO_IRQ_SET_DATA_EVENTFD)
		return listen(d, c);
	if (c->data == VFIO_IRQ_SET_DATA_NONE && !c->count) {
		stop(d, c->index);
		return 0;
	}
	if (!d->irq[c->index].vector)
		return -EINVAL;
	for (u32 n = 0; n < c->count; n++)
		if (c->data == VFIO_IRQ_SET_DATA_NONE || c->on[n])
			vfio_signal(d, c->index, c->start + n);
	return 0;
}

static int mask(struct vfio_device *d, const struct irq_change *c)
{
	bool masked = c->action == VFIO_IRQ_SET_ACTION_MASK;
	struct file *event;
	int err;

	if (c->index != VFIO_PCI_INTX_IRQ_INDEX)
		return -ENOTTY;
	if (!d->irq[c->index].vector || c->count != 1)
		return -EINVAL;
	if (c->data == VFIO_IRQ_SET_DATA_EVENTFD) {
		if (masked)
			return -ENOTTY;
		err = event_of_fd(c->fd[0], &event);
		return err ? err : unmask_set(d, event);
	}
	if (c->data == VFIO_IRQ_SET_DATA_NONE || c->on[0])
		set_masked(d, masked);
	return 0;
}

static int check(const struct vfio_device *d, const struct vfio_irq_set *h, u32 *bytes)
{
	u32 data = h->flags & VFIO_IRQ_SET_DATA_TYPE_MASK, action = h->flags & VFIO_IRQ_SET_ACTION_TYPE_MASK, count;

	if (h->argsz < sizeof(*h) || h->index >= VFIO_PCI_NUM_IRQS || h->flags != (data | action))
		return -EINVAL;
	if (!data || (data & (data - 1)) || !action || (action & (action - 1)))
		return -EINVAL;
	count = d->irq[h->index].count;
	if (h->start >= count || h->count > count - h->start)
		return -EINVAL;
	*bytes = data == VFIO_IRQ_SET_DATA_NONE ? 0 : data == VFIO_IRQ_SET_DATA_BOOL ? h->count : h->count * 4;
	if (data != VFIO_IRQ_SET_DATA_NONE && (!h->count || h->argsz - sizeof(*h) < *bytes))
		return -EINVAL;
	return 0;
}

int irq_set(struct vfio_device *d, void __user *arg)
{
	struct vfio_irq_set h;
	struct irq_change *c;
	u32 bytes;
	int err = user_get(&h, arg, sizeof(h));

	if (!err)
		err = check(d, &h, &bytes);
	if (err)
		return err;
	c = kzalloc(sizeof(*c), 0);
	if (!c)
		return -ENOMEM;
	c->index = h.index;
	c->start = h.start;
	c->count = h.count;
	c->data = h.flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	c->action = h.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	err = bytes ? user_get(c->on, (char __user *)arg + sizeof(h), bytes) : 0;
	if (!err)
		err = c->action == VFIO_IRQ_SET_ACTION_TRIGGER ? trigger(d, c) : mask(d, c);
	kfree(c);
	return err;
}

int irq_info(struct vfio_device *d, void __user *arg)
{
	struct vfio_irq_info i;
	int err = user_get(&i, arg, sizeof(i));

	if (err)
		return err;
	if (i.argsz < sizeof(i) || i.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	i.count = d->irq[i.index].count;
	i.flags = d->irq[i.index].flags;
	return user_put(arg, &i, sizeof(i));
}
