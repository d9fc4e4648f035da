/* SPDX-License-Identifier: MIT
 *
 * Shared by drm's files. A DRM file has a client (a gpu_client, which lives as long as any of its objects), handles to
 * objects. All user memory is copied before and after an ioctl's
 * function.
 *
 * Locks: client->lock (RANK_DRM): its handles, its context, each of its objects' last fence.
 */
#ifndef DRM_PRIV_H
#define DRM_PRIV_H

#include <drm/drm.h>
#include <drm/drm_fourcc.h>
#include <drm/virtgpu_drm.h>
#include <core/attr.h>
#include <gpu/gpu.h>
#include <mm/mapping.h>
#include <vfs/vfs.h>

#define DRM_MAJOR        226
#define DRM_FIRST_RENDER 128
#define DRM_DEVICES      8

struct drm_kms;

struct drm_dev {
	struct gpu_dev *gpu;
	u32 index;
	struct drm_kms *kms; /* NULL: no display */
	struct attr_dir *sysfs;
};

struct drm_user {
	refcount_t refs; /* its file, and each of its objects */
	struct drm_dev *dev;
	struct gpu_client *gpu;
	struct mutex lock;
	struct vgpu_map handles; /* lock: to struct drm_object */
	u32 next_handle, next_resource;
	bool has_context; /* lock */
};

struct drm_file {
	struct drm_user *client;
	struct drm_dev *dev;
	bool is_render;
	u32 id; /* in fdinfo */
	bool universal_planes, is_atomic;
	bool has_name; /* GET_UNIQUE says where the device is: once a version of the interface has been chosen */
	u32 nr_blobs;  /* kms->lock */
	/* kms_events.c */
	struct list flying, events; /* page flips that will happen, and that have and are not read */
	u32 nr_flips, flips;        /* of both lists; that have happened */
	struct waitq wait;
};

/* ---- fence.c: when something will have been done ---- */

struct drm_fence {
	struct gpu_done done;
	refcount_t refs;
	struct waitq wait;
	int err;
	bool signalled;
	void (*then)(struct drm_fence *f); /* called once when it signals, process context, no locks; NULL: nothing */
};
struct drm_fence *__must_check drm_fence_new(void); /* one reference for the caller, one for the request */
void drm_fence_cancel(struct drm_fence *f);         /* the request was refused: its reference goes */
void drm_fence_get(struct drm_fence *f);
void drm_fence_put(struct drm_fence *f); /* NULL is allowed */
bool drm_fence_is_over(struct drm_fence *f);
int __must_check drm_fence_wait(struct drm_fence *f, u64 deadline_ns); /* 0, -ERESTARTSYS, -ETIME; NULL: 0 */
int __must_check drm_sync_file_create(struct drm_fence *f);            /* a descriptor, close-on-exec */
int __must_check drm_sync_file_wait(int fd);                           /* -EINVAL: not such a file */

/* ---- gem.c: objects ---- */

struct drm_object {
	struct gpu_pages backing;
	struct mapping map;
	refcount_t refs; /* handles, dma-bufs, frame buffers, VMAs */
	struct drm_user *client;
	u32 resource; /* id in the client's space */
	u64 bytes;
	u32 nr_pages;
	struct page **pages;
	u32 format, width, height, pitch;
	bool is_dumb;           /* drawn by the processor: pixels go to the device when they are shown */
	bool is_attached;       /* to its client's context */
	struct drm_fence *last; /* client->lock: after which it is idle */
};

int __must_check drm_object_create(struct drm_user *c, const struct vgpu_request *create, u64 bytes,
				   struct drm_object **out);
void drm_object_get(struct drm_object *o);
void drm_object_put(struct drm_object *o);
struct drm_object *drm_object_find(struct drm_user *c, u32 handle);                        /* counted; NULL */
int __must_check drm_handle_create(struct drm_user *c, struct drm_object *o, u32 *handle); /* takes a reference */
void drm_object_set_fence(struct drm_object *o, struct drm_fence *f);
struct drm_fence *drm_object_fence(struct drm_object *o); /* counted; NULL: idle */

struct drm_user *drm_user_new(struct drm_dev *d, struct gpu_client *gpu);
void drm_user_close_handles(struct drm_user *c);
void drm_user_put(struct drm_user *c);

int drm_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out);
/* ioctls: arg is a kernel copy, zero beyond what the program gave, copied back afterwards. */
long drm_gem_close(struct drm_file *f, void *arg);
long drm_prime_to_fd(struct drm_file *f, void *arg);
long drm_prime_to_handle(struct drm_file *f, void *arg);
long drm_dumb_create(struct drm_file *f, void *arg);
long drm_dumb_map(struct drm_file *f, void *arg);
long drm_dumb_destroy(struct drm_file *f, void *arg);
/* Where mmap of the file finds the memory behind a handle. -ENOENT. */
long drm_map_offset(struct drm_file *f, u32 handle, __u64 *offset);

/* ---- virtgpu.c ---- */

int __must_check drm_virtgpu_context(struct drm_user *c); /* makes it, if the device has 3D. client->lock held */
#define VIRTGPU_IOCTLS(X)                                                                                              \
	X(map)                                                                                                         \
	X(execbuffer)                                                                                                  \
	X(getparam) X(resource_create) X(resource_info) X(transfer_from_host) X(transfer_to_host) X(wait) X(get_caps)
#define DECLARE_VIRTGPU_(name) long drm_virtgpu_##name(struct drm_file *f, void *arg);
VIRTGPU_IOCTLS(DECLARE_VIRTGPU_)
#undef DECLARE_VIRTGPU_

/* ---- sysfs.c ---- */

int __must_check drm_sysfs_add(struct drm_dev *d);
void drm_sysfs_bus_id(const struct drm_dev *d, char *out, size_t size); /* "0000:00:02.0"; "": no PCI device */

#endif
