/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that flips pages wants to read when each picture was shown; it may be gone by then.
 *
 * Idea: a flip is the end of the flush that shows it. It knows its file until the file closes; then it tells nobody.
 *
 *	flying (file's list, counted by the request) --done--> ready (file's list) --read--> freed
 *
 * Contract: struct drm_event_vblank of <drm/drm.h>, DRM_EVENT_FLIP_COMPLETE.
 *
 * Locks: flips_lock (RANK_SUBSYS_SPIN) for all flips and the lists of all files.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <task/sched.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include "kms.h"

#define FLIPS_MAX 64 /* of one file, flying and unread */

struct flip {
	struct gpu_done done;
	struct list link; /* file->flying or file->events */
	struct drm_file *file;
	struct drm_fence *fence; /* or NULL */
	struct drm_event_vblank event;
};

static struct spinlock flips_lock = SPIN_INIT(RANK_SUBSYS_SPIN);

static void on_done(struct gpu_done *d, int err)
{
	struct flip *p = container_of(d, struct flip, done);
	u64 now = clock_ns();
	ulong irq = spin_lock_irqsave(&flips_lock);
	struct drm_file *f = p->file;
	struct drm_fence *fence = p->fence;

	p->event.tv_sec = (u32)(now / NSEC_PER_SEC);
	p->event.tv_usec = (u32)(now % NSEC_PER_SEC / NSEC_PER_USEC);
	if (f) {
		p->event.sequence = ++f->flips;
		list_del(&p->link);
		list_add_tail(&p->link, &f->events);
		waitq_wake_all(&f->wait);
	}
	spin_unlock_irqrestore(&flips_lock, irq);
	if (!f)
		kfree(p);
	if (fence)
		fence->done.fn(&fence->done, err);
}

struct gpu_done *drm_flip_new(struct drm_file *f, u64 user_data, struct drm_fence *fence)
{
	struct flip *p = kzalloc(sizeof(*p), ALLOC_KERNEL);
	bool room;
	ulong irq;

	if (!p)
		return NULL;
	p->done.fn = on_done;
	p->file = f;
	p->fence = fence;
	p->event.base.type = DRM_EVENT_FLIP_COMPLETE;
	p->event.base.length = sizeof(p->event);
	p->event.user_data = user_data;
	p->event.crtc_id = KMS_CRTC;
	irq = spin_lock_irqsave(&flips_lock);
	room = f->nr_flips < FLIPS_MAX;
	if (room) {
		f->nr_flips++;
		list_add_tail(&p->link, &f->flying);
	}
	spin_unlock_irqrestore(&flips_lock, irq);
	if (room)
		return &p->done;
	kfree(p);
	return NULL;
}

void drm_flip_cancel(struct gpu_done *d)
{
	struct flip *p = container_of(d, struct flip, done);
	ulong irq = spin_lock_irqsave(&flips_lock);

	list_del(&p->link);
	p->file->nr_flips--;
	spin_unlock_irqrestore(&flips_lock, irq);
	if (p->fence)
		drm_fence_cancel(p->fence);
	kfree(p);
}

void drm_kms_drop_events(struct drm_file *f)
{
	struct flip *p, *next;
	LIST(ready);
	ulong irq = spin_lock_irqsave(&flips_lock);

	list_for_each_entry_safe (p, next, &f->flying, link) {
		list_del(&p->link);
		p->file = NULL;
	}
	list_splice_tail_init(&f->events, &ready);
	spin_unlock_irqrestore(&flips_lock, irq);
	list_for_each_entry_safe (p, next, &ready, link)
		kfree(p);
}

static struct flip *take(struct drm_file *f)
{
	ulong irq = spin_lock_irqsave(&flips_lock);
	struct flip *p = list_first_or_null(&f->events, struct flip, link);

	if (p) {
		list_del(&p->link);
		f->nr_flips--;
	}
	spin_unlock_irqrestore(&flips_lock, irq);
	return p;
}

ssize_t drm_kms_read(struct io *io)
{
	struct drm_file *f = io->file->priv;
	ssize_t got = 0;
	int err;

	while (io->iter.count >= sizeof(struct drm_event_vblank)) {
		struct flip *p = take(f);
		bool copied;

		if (!p && got)
			break;
		if (!p) {
			if (io->file->flags & O_NONBLOCK)
				return -EAGAIN;
			err = wait_event_interruptible(&f->wait, !list_empty(&f->events));
			if (err)
				return err;
			continue;
		}
		copied = iter_copy_out(&p->event, sizeof(p->event), &io->iter) == sizeof(p->event);
		kfree(p);
		if (!copied)
			return -EFAULT;
		got += sizeof(p->event);
	}
	return got;
}

unsigned drm_kms_poll(struct file *file, struct poll_table *pt)
{
	struct drm_file *f = file->priv;

	poll_wait(file, &f->wait, pt);
	return list_empty(&f->events) ? 0 : EPOLLIN | EPOLLRDNORM;
}
