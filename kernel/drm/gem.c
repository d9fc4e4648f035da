/* SPDX-License-Identifier: MIT
 *
 * Problem: a buffer is known by handles in files, by descriptors in other programs, by mappings and by the display, and
 * the device reads and writes its pages; each may go first.
 *
 * Idea: an object counts all but the device. When nobody is left the resource is destroyed, and the pages go when the
 * device says that it has let go (gpu_pages.release). An object keeps its client alive, so a descriptor outlives the
 *file that made it.
 *
 *	created --users--> unused: RESOURCE_UNREF --release--> freed
 *
 * Contract: drm_priv.h. An object's offset for mmap is its handle, shifted; so it is the file's own.
 *
 * Locks: client->lock for handles and last fences.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/dma-buf.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/mman.h>
#include <mm/mm.h>
#include <task/sched.h>
#include <task/task.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include "drm_priv.h"

#define OFFSET_SHIFT 36 /* of a handle in an mmap offset: objects are smaller than 64 GiB */
#define OBJECT_MAX   (1ull << 30)

static const struct mapping_ops map_ops;
static const struct file_ops dmabuf_ops;

/* ---- clients ---- */

struct drm_user *drm_user_new(struct drm_dev *d, struct gpu_client *gpu)
{
	struct drm_user *c = kzalloc(sizeof(*c), ALLOC_CHARGED);

	if (!c)
		return NULL;
	refcount_set(&c->refs, 1);
	c->dev = d;
	c->gpu = gpu;
	mutex_init(&c->lock, RANK_DRM);
	vgpu_map_init(&c->handles, random_u64());
	c->next_handle = c->next_resource = 1;
	return c;
}

void drm_user_put(struct drm_user *c)
{
	if (!refcount_dec_and_test(&c->refs))
		return;
	gpu_client_close(c->gpu);
	vgpu_map_free(&c->handles);
	kfree(c);
}

void drm_user_close_handles(struct drm_user *c)
{
	struct vgpu_slot *slot;

	/* The last file is gone: nobody else looks at the handles. */
	for (u32 at = 0; (slot = vgpu_map_next(&c->handles, &at));)
		drm_object_put((struct drm_object *)(ulong)slot->value);
	vgpu_map_free(&c->handles);
}

/* ---- objects ---- */

static void free_object(struct drm_object *o)
{
	for (u32 i = 0; o->pages && i < o->nr_pages && o->pages[i]; i++) {
		o->pages[i]->owner = NULL;
		page_put(o->pages[i]);
	}
	drm_fence_put(o->last);
	big_free(o->pages);
	big_free(o->backing.pieces);
	kfree(o);
}

static void release_pages(struct gpu_pages *p)
{
	free_object(container_of(p, struct drm_object, backing));
}

static int allocate_pages(struct drm_object *o)
{
	o->pages = big_alloc(o->nr_pages, sizeof(*o->pages));
	o->backing.pieces = big_alloc(o->nr_pages, sizeof(*o->backing.pieces));
	if (!o->pages || !o->backing.pieces)
		return -ENOMEM;
	for (u32 i = 0; i < o->nr_pages; i++) {
		struct gpu_piece *last = o->backing.nr ? &o->backing.pieces[o->backing.nr - 1] : NULL;
		struct page *p = page_alloc(0, ALLOC_ZERO, current->tenant);

		if (!p)
			return -ENOMEM;
		p->owner = &o->map;
		p->index = i;
		o->pages[i] = p;
		if (last && last->addr + last->bytes == page_phys(p))
			last->bytes += PAGE_SIZE;
		else
			o->backing.pieces[o->backing.nr++] = (struct gpu_piece){ page_phys(p), PAGE_SIZE };
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return 0;
}

static struct drm_object *new_object(struct drm_user *c, u64 bytes)
{
	struct drm_object *o = kzalloc(sizeof(*o), ALLOC_CHARGED);

	if (!o)
		return NULL;
	refcount_set(&o->refs, 1);
	mapping_init(&o->map, &map_ops, o);
	o->bytes = bytes;
	o->nr_pages = bytes >> PAGE_SHIFT;
	o->backing.bytes = bytes;
	o->backing.release = release_pages;
	o->client = c;
	return o;
}

/* The resource, its memory, and its place in the client's context. */
static int make_resource(struct drm_object *o, const struct vgpu_request *create)
{
	struct drm_user *c = o->client;
	struct vgpu_request r = *create;
	int err;

	mutex_lock(&c->lock);
	err = drm_virtgpu_context(c);
	o->resource = r.resource = c->next_resource++;
	if (!err)
		err = gpu_request(c->gpu, &r, NULL, NULL);
	if (err)
		goto out;
	r = (struct vgpu_request){ .type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource = o->resource };
	err = gpu_request(c->gpu, &r, &o->backing, NULL);
	if (!err && c->has_context) {
		r = (struct vgpu_request){ .type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
					   .resource = o->resource,
					   .ctx = 1 };
		o->is_attached = !gpu_request(c->gpu, &r, NULL, NULL);
	} else if (err) {
		r = (struct vgpu_request){ .type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource = o->resource };
		if (gpu_request(c->gpu, &r, NULL, NULL))
			log_debug("drm: a resource stays until its client closes");
	}
out:
	mutex_unlock(&c->lock);
	return err;
}

int drm_object_create(struct drm_user *c, const struct vgpu_request *create, u64 bytes, struct drm_object **out)
{
	struct drm_object *o;
	int err;

	bytes = ALIGN_UP(max(bytes, (u64)1), PAGE_SIZE);
	if (bytes > OBJECT_MAX)
		return fail(EINVAL, "an object of %llu bytes", (unsigned long long)bytes);
	o = new_object(c, bytes);
	if (!o)
		return -ENOMEM;
	err = allocate_pages(o);
	if (!err)
		err = make_resource(o, create);
	if (err) {
		free_object(o);
		return err == -EDQUOT ? -ENOMEM : err;
	}
	refcount_inc(&c->refs);
	*out = o;
	return 0;
}

void drm_object_get(struct drm_object *o)
{
	refcount_inc(&o->refs);
}

void drm_object_put(struct drm_object *o)
{
	struct drm_user *c = o->client;
	struct vgpu_request r = { .type = VIRTIO_GPU_CMD_RESOURCE_UNREF, .resource = o->resource };

	if (!refcount_dec_and_test(&o->refs))
		return;
	if (gpu_request(c->gpu, &r, NULL, NULL))
		log_debug("drm: a resource stays until its client closes");
	/* o is the device's until release_pages; it may be gone already. */
	drm_user_put(c);
}

struct drm_object *drm_object_find(struct drm_user *c, u32 handle)
{
	struct drm_object *o;
	u64 *v;

	mutex_lock(&c->lock);
	v = vgpu_map_get(&c->handles, handle);
	o = v ? (struct drm_object *)(ulong)*v : NULL;
	if (o)
		drm_object_get(o);
	mutex_unlock(&c->lock);
	return o;
}

int drm_handle_create(struct drm_user *c, struct drm_object *o, u32 *handle)
{
	int err;

	mutex_lock(&c->lock);
	err = vgpu_map_set(&c->handles, c->next_handle, (ulong)o);
	if (!err) {
		drm_object_get(o);
		*handle = c->next_handle++;
	}
	mutex_unlock(&c->lock);
	return err;
}

void drm_object_set_fence(struct drm_object *o, struct drm_fence *f)
{
	struct drm_fence *old;

	drm_fence_get(f);
	mutex_lock(&o->client->lock);
	old = o->last;
	o->last = f;
	mutex_unlock(&o->client->lock);
	drm_fence_put(old);
}

struct drm_fence *drm_object_fence(struct drm_object *o)
{
	struct drm_fence *f;

	mutex_lock(&o->client->lock);
	f = o->last;
	if (f)
		drm_fence_get(f);
	mutex_unlock(&o->client->lock);
	return f;
}

long drm_gem_close(struct drm_file *f, void *arg)
{
	struct drm_gem_close *a = arg;
	struct drm_user *c = f->client;
	struct drm_object *o = NULL;
	u64 *v;

	mutex_lock(&c->lock);
	v = vgpu_map_get(&c->handles, a->handle);
	if (v) {
		o = (struct drm_object *)(ulong)*v;
		vgpu_map_del(&c->handles, a->handle);
	}
	mutex_unlock(&c->lock);
	if (!o)
		return -EINVAL;
	drm_object_put(o);
	return 0;
}

/* ---- memory maps ---- */

static struct drm_object *of_map(struct mapping *m)
{
	return container_of(m, struct drm_object, map);
}

static int map_fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct drm_object *o = of_map(m);

	if (index >= o->nr_pages)
		return -ENXIO;
	*out = o->pages[index];
	page_get(*out);
	return 0;
}

static void map_get(struct mapping *m)
{
	drm_object_get(of_map(m));
}

static void map_put(struct mapping *m)
{
	drm_object_put(of_map(m));
}

static void map_describe(struct mapping *m, struct mapping_name *out)
{
	str_format(out->path, sizeof(out->path), "/dev/dri/card%u", of_map(m)->client->dev->index);
	out->dev = out->ino = 0;
}

static const struct mapping_ops map_ops = {
	.fill = map_fill, .get = map_get, .put = map_put, .describe = map_describe
};

long drm_map_offset(struct drm_file *f, u32 handle, __u64 *offset)
{
	struct drm_object *o = drm_object_find(f->client, handle);

	if (!o)
		return -ENOENT;
	drm_object_put(o);
	*offset = (u64)handle << OFFSET_SHIFT;
	return 0;
}

static int map_object(struct drm_object *o, u64 *index, u64 first, size_t bytes, unsigned map_flags,
		      struct mapping **out)
{
	u64 pages = (bytes + PAGE_SIZE - 1) >> PAGE_SHIFT;

	if ((map_flags & MAP_TYPE) == MAP_PRIVATE || first + pages > o->nr_pages)
		return -EINVAL;
	*index = first;
	*out = &o->map;
	return 0;
}

int drm_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	struct drm_file *df = f->priv;
	unsigned shift = OFFSET_SHIFT - PAGE_SHIFT;
	struct drm_object *o = drm_object_find(df->client, (u32)(*index >> shift));
	int err;

	if (!o)
		return -EINVAL;
	err = map_object(o, index, *index & ((1ull << shift) - 1), bytes, map_flags, out);
	drm_object_put(o); /* the VMA takes its own; until then the handle holds it */
	return err;
}

/* ---- dma-bufs ---- */

static void dmabuf_release(struct file *f)
{
	drm_object_put(f->priv);
}

static int dmabuf_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes,
		       struct mapping **out)
{
	return map_object(f->priv, index, *index, bytes, map_flags, out);
}

static s64 dmabuf_llseek(struct file *f, s64 off, int whence)
{
	struct drm_object *o = f->priv;

	/* Only its size can be asked for. */
	if (off || (whence != SEEK_END && whence != SEEK_SET))
		return -EINVAL;
	return whence == SEEK_END ? (s64)o->bytes : 0;
}

static unsigned dmabuf_poll(struct file *f, struct poll_table *pt)
{
	struct drm_fence *fence = drm_object_fence(f->priv);
	bool idle = !fence || drm_fence_is_over(fence);

	drm_fence_put(fence);
	return idle ? EPOLLIN | EPOLLOUT : 0;
}

static long dmabuf_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct drm_fence *fence;
	int err;

	if (cmd != DMA_BUF_IOCTL_SYNC)
		return -ENOTTY;
	fence = drm_object_fence(f->priv);
	err = drm_fence_wait(fence, ~0ull);
	drm_fence_put(fence);
	return err;
}

static void dmabuf_fdinfo(struct file *f, struct strbuf *out)
{
	struct drm_object *o = f->priv;

	strbuf_add(out, "size:\t%llu\ncount:\t%u\nexp_name:\tvirtio_gpu\n", (unsigned long long)o->bytes,
		   atomic_read(&o->refs.n));
}

static const struct file_ops dmabuf_ops = { .release = dmabuf_release,
					    .mmap = dmabuf_mmap,
					    .llseek = dmabuf_llseek,
					    .poll = dmabuf_poll,
					    .ioctl = dmabuf_ioctl,
					    .show_fdinfo = dmabuf_fdinfo };

long drm_prime_to_fd(struct drm_file *f, void *arg)
{
	struct drm_prime_handle *a = arg;
	struct drm_object *o;
	struct file *file;
	int err;

	if (a->flags & ~(DRM_CLOEXEC | DRM_RDWR))
		return -EINVAL;
	o = drm_object_find(f->client, a->handle);
	if (!o)
		return -ENOENT;
	err = file_anon("dmabuf", &dmabuf_ops, o, (a->flags & DRM_RDWR) | O_RDWR, &file);
	if (err) {
		drm_object_put(o);
		return err;
	}
	err = fd_publish(file, a->flags & DRM_CLOEXEC);
	if (err < 0)
		return err;
	a->fd = err;
	return 0;
}

/* The handle that c has for o already, or 0. */
static u32 handle_of(struct drm_user *c, const struct drm_object *o)
{
	struct vgpu_slot *slot;
	u32 handle = 0;

	mutex_lock(&c->lock);
	for (u32 at = 0; !handle && (slot = vgpu_map_next(&c->handles, &at));)
		if (slot->value == (ulong)o)
			handle = slot->key;
	mutex_unlock(&c->lock);
	return handle;
}

long drm_prime_to_handle(struct drm_file *f, void *arg)
{
	struct drm_prime_handle *a = arg;
	struct fd_ref r = fd_get(a->fd);
	struct drm_object *o;
	int err = 0;

	if (!r.file || r.file->ops != &dmabuf_ops) {
		err = r.file ? -EINVAL : -EBADF;
		fd_put(r);
		return err;
	}
	o = r.file->priv;
	if (o->client->dev != f->dev)
		err = -EINVAL;
	else if (!(a->handle = handle_of(f->client, o)))
		err = drm_handle_create(f->client, o, &a->handle);
	fd_put(r);
	return err;
}

/* ---- dumb buffers: pixels for the display, drawn by the processor ---- */

long drm_dumb_create(struct drm_file *f, void *arg)
{
	struct drm_mode_create_dumb *a = arg;
	struct vgpu_request r = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D };
	struct drm_object *o;
	int err;

	if (a->bpp != 32 || !a->width || !a->height || a->width > VGPU_MAX_DIM || a->height > VGPU_MAX_DIM)
		return -EINVAL;
	r.create = (struct vgpu_res_args){ .target = VGPU_2D,
					   .format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
					   .bind = BIT(1),
					   .width = a->width,
					   .height = a->height,
					   .depth = 1,
					   .layers = 1,
					   .flags = BIT(0) };
	a->pitch = a->width * 4;
	a->size = ALIGN_UP((u64)a->pitch * a->height, PAGE_SIZE);
	err = drm_object_create(f->client, &r, a->size, &o);
	if (err)
		return err;
	o->width = a->width;
	o->height = a->height;
	o->pitch = a->pitch;
	o->is_dumb = true;
	err = drm_handle_create(f->client, o, &a->handle);
	drm_object_put(o);
	return err;
}

long drm_dumb_map(struct drm_file *f, void *arg)
{
	struct drm_mode_map_dumb *a = arg;

	return drm_map_offset(f, a->handle, &a->offset);
}

long drm_dumb_destroy(struct drm_file *f, void *arg)
{
	struct drm_mode_destroy_dumb *a = arg;
	struct drm_gem_close close = { .handle = a->handle };

	return drm_gem_close(f, &close);
}
