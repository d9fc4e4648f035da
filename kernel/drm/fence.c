/* SPDX-License-Identifier: MIT
 *
 * Problem: programs wait for the GPU: on an object, on a descriptor that they poll or hand to another program.
 *
 * Idea: a fence is the end of a request, counted. A sync file holds some of them; it is readable when all are over.
 *
 * Contract: drm_priv.h; <linux/sync_file.h>.
 *
 * Locks: none; `signalled` is stored before the wait queue is woken.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/sync_file.h>
#include <task/sched.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include "drm_priv.h"

#define FENCES_MAX 32 /* in one sync file */

struct sync_file {
	u32 nr;
	struct drm_fence *fences[];
};

static void on_done(struct gpu_done *d, int err)
{
	struct drm_fence *f = container_of(d, struct drm_fence, done);

	f->err = err;
	smp_store_release(&f->signalled, true);
	waitq_wake_all(&f->wait);
	if (f->then)
		f->then(f);
	drm_fence_put(f);
}

struct drm_fence *drm_fence_new(void)
{
	struct drm_fence *f = kzalloc(sizeof(*f), ALLOC_KERNEL);

	if (!f)
		return NULL;
	f->done.fn = on_done;
	refcount_set(&f->refs, 2);
	waitq_init(&f->wait);
	return f;
}

void drm_fence_cancel(struct drm_fence *f)
{
	drm_fence_put(f);
	drm_fence_put(f);
}

void drm_fence_get(struct drm_fence *f)
{
	refcount_inc(&f->refs);
}

void drm_fence_put(struct drm_fence *f)
{
	if (f && refcount_dec_and_test(&f->refs))
		kfree(f);
}

bool drm_fence_is_over(struct drm_fence *f)
{
	return smp_load_acquire(&f->signalled);
}

int drm_fence_wait(struct drm_fence *f, u64 deadline_ns)
{
	return f ? wait_event_interruptible_until(&f->wait, drm_fence_is_over(f), deadline_ns) : 0;
}

/* ---- sync files ---- */

static void sync_release(struct file *f)
{
	struct sync_file *s = f->priv;

	for (u32 i = 0; i < s->nr; i++)
		drm_fence_put(s->fences[i]);
	kfree(s);
}

static unsigned sync_poll(struct file *f, struct poll_table *pt)
{
	struct sync_file *s = f->priv;
	bool over = true;

	for (u32 i = 0; i < s->nr; i++) {
		poll_wait(f, &s->fences[i]->wait, pt);
		over &= drm_fence_is_over(s->fences[i]);
	}
	return over ? EPOLLIN : 0;
}

static int status_of(const struct sync_file *s)
{
	int status = 1;

	for (u32 i = 0; i < s->nr; i++) {
		if (!drm_fence_is_over(s->fences[i]))
			return 0;
		status = s->fences[i]->err ? s->fences[i]->err : status;
	}
	return status;
}

static long sync_info(struct sync_file *s, void __user *arg)
{
	struct sync_file_info info;

	if (user_get(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.flags || info.pad)
		return -EINVAL;
	str_copy(info.name, "virtio_gpu", sizeof(info.name));
	info.status = status_of(s);
	for (u32 i = 0; i < min(info.num_fences, s->nr); i++) {
		struct sync_fence_info one = { .status = drm_fence_is_over(s->fences[i]) };

		str_copy(one.driver_name, "virtio_gpu", sizeof(one.driver_name));
		str_copy(one.obj_name, "virtio_gpu", sizeof(one.obj_name));
		if (user_put((char __user *)(ulong)info.sync_fence_info + i * sizeof(one), &one, sizeof(one)))
			return -EFAULT;
	}
	info.num_fences = s->nr;
	return user_put(arg, &info, sizeof(info));
}

static const struct file_ops sync_ops;

static int publish(struct drm_fence *const *a, u32 nr_a, struct drm_fence *const *b, u32 nr_b)
{
	struct sync_file *s;
	struct file *file;
	int err;

	if (nr_a + nr_b > FENCES_MAX)
		return -EINVAL;
	s = kzalloc(sizeof(*s) + (nr_a + nr_b) * sizeof(*s->fences), ALLOC_KERNEL);
	if (!s)
		return -ENOMEM;
	for (u32 i = 0; i < nr_a + nr_b; i++) {
		s->fences[s->nr] = i < nr_a ? a[i] : b[i - nr_a];
		drm_fence_get(s->fences[s->nr++]);
	}
	err = file_anon("sync_file", &sync_ops, s, O_RDWR, &file);
	if (!err)
		return fd_publish(file, O_CLOEXEC);
	for (u32 i = 0; i < s->nr; i++)
		drm_fence_put(s->fences[i]);
	kfree(s);
	return err;
}

static long sync_merge(struct sync_file *s, void __user *arg)
{
	struct sync_merge_data data;
	struct fd_ref other;
	struct sync_file *o;
	int fd;

	if (user_get(&data, arg, sizeof(data)))
		return -EFAULT;
	if (data.flags || data.pad)
		return -EINVAL;
	other = fd_get(data.fd2);
	if (!other.file || other.file->ops != &sync_ops) {
		fd_put(other);
		return -ENOENT;
	}
	o = other.file->priv;
	fd = publish(s->fences, s->nr, o->fences, o->nr);
	fd_put(other);
	if (fd < 0)
		return fd;
	data.fence = fd;
	return user_put(arg, &data, sizeof(data)); /* the descriptor stays, as everywhere */
}

static long sync_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	switch (cmd) {
	case SYNC_IOC_FILE_INFO: return sync_info(f->priv, (void __user *)arg);
	case SYNC_IOC_MERGE: return sync_merge(f->priv, (void __user *)arg);
	default: return -ENOTTY;
	}
}

static const struct file_ops sync_ops = { .release = sync_release, .poll = sync_poll, .ioctl = sync_ioctl };

int drm_sync_file_create(struct drm_fence *f)
{
	return publish(&f, 1, NULL, 0);
}

int drm_sync_file_wait(int fd)
{
	struct fd_ref r = fd_get(fd);
	struct sync_file *s;
	int err = 0;

	if (!r.file || r.file->ops != &sync_ops) {
		fd_put(r);
		return -EINVAL;
	}
	s = r.file->priv;
	for (u32 i = 0; i < s->nr && !err; i++)
		err = drm_fence_wait(s->fences[i], ~0ull);
	fd_put(r);
	return err;
}
