/* SPDX-License-Identifier: MIT
 *
 * Problem: programs open /dev/dri/card0 or renderD128 and expect Linux's DRM.
 *
 * Idea: one table of ioctls: number, size, function, which node it is for. The argument is copied in (as many bytes as
 * the program's size says, the rest zero), the function works on the copy, and it is copied back. A front end of gpu:
 * each device that appears gets its two nodes.
 *
 * Contract: <drm/drm.h>, <drm/drm_mode.h>, <drm/virtgpu_drm.h>; drm(7); the usage statistics of fdinfo are those of
 * Documentation/gpu/drm-usage-stats.rst. Authentication is not asked for: who may open the card's node may use it.
 *
 * Locks: none here.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <asm/ioctl.h>
#include <core/init.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/task.h>
#include <vfs/device.h>
#include <vfs/uapi.h>
#include "drm_priv.h"
#include "kms.h"

#define ARG_MAX_BYTES 256

static struct drm_dev devices[DRM_DEVICES];
static atomic_t client_ids;

/* ---- questions ---- */

static int put_text(u64 *length, char __user *to, const char *text)
{
	size_t len = strlen(text), room = *length;

	*length = len;
	return room && to ? user_put(to, text, min(len, room)) : 0;
}

static long get_version(struct drm_file *f, void *arg)
{
	struct drm_version *v = arg;
	u64 name = v->name_len, date = v->date_len, desc = v->desc_len;
	int err = put_text(&name, (char __user *)v->name, f->dev->gpu->name);

	if (!err)
		err = put_text(&date, (char __user *)v->date, "0");
	if (!err)
		err = put_text(&desc, (char __user *)v->desc, "virtio GPU");
	v->name_len = name;
	v->date_len = date;
	v->desc_len = desc;
	v->version_major = 0;
	v->version_minor = 1;
	v->version_patchlevel = 0;
	return err;
}

static long get_cap(struct drm_file *f, void *arg)
{
	struct drm_get_cap *a = arg;

	switch (a->capability) {
	case DRM_CAP_DUMB_BUFFER: a->value = f->dev->kms && !f->is_render; break;
	case DRM_CAP_DUMB_PREFERRED_DEPTH: a->value = 24; break;
	case DRM_CAP_PRIME: a->value = DRM_PRIME_CAP_IMPORT | DRM_PRIME_CAP_EXPORT; break;
	case DRM_CAP_TIMESTAMP_MONOTONIC:
	case DRM_CAP_CRTC_IN_VBLANK_EVENT: a->value = 1; break;
	case DRM_CAP_CURSOR_WIDTH:
	case DRM_CAP_CURSOR_HEIGHT: a->value = 64; break;
	case DRM_CAP_DUMB_PREFER_SHADOW:
	case DRM_CAP_VBLANK_HIGH_CRTC:
	case DRM_CAP_ASYNC_PAGE_FLIP:
	case DRM_CAP_PAGE_FLIP_TARGET:
	case DRM_CAP_ADDFB2_MODIFIERS:
	case DRM_CAP_SYNCOBJ:
	case DRM_CAP_SYNCOBJ_TIMELINE: a->value = 0; break;
	default: return -EINVAL;
	}
	return 0;
}

static long set_client_cap(struct drm_file *f, void *arg)
{
	const struct drm_set_client_cap *a = arg;

	if (!f->dev->kms)
		return -EOPNOTSUPP;
	if (a->value > 1 + (a->capability == DRM_CLIENT_CAP_ATOMIC))
		return -EINVAL;
	switch (a->capability) {
	case DRM_CLIENT_CAP_UNIVERSAL_PLANES: f->universal_planes = a->value; return 0;
	case DRM_CLIENT_CAP_ATOMIC: f->is_atomic = f->universal_planes = a->value; return 0;
	case DRM_CLIENT_CAP_STEREO_3D:
	case DRM_CLIENT_CAP_ASPECT_RATIO: return 0;
	default: return -EINVAL;
	}
}

static long get_unique(struct drm_file *f, void *arg)
{
	struct drm_unique *a = arg;
	u64 length = a->unique_len;
	char name[32] = "";
	int err;

	if (f->has_name)
		drm_sysfs_bus_id(f->dev, name, sizeof(name));
	err = put_text(&length, (char __user *)a->unique, name);
	a->unique_len = length;
	return err;
}

static long set_version(struct drm_file *f, void *arg)
{
	struct drm_set_version *a = arg;
	bool known = a->drm_di_major == -1 || (a->drm_di_major == 1 && a->drm_di_minor >= 0 && a->drm_di_minor <= 4);

	if (!known)
		return -EINVAL;
	f->has_name |= a->drm_di_major == 1 && a->drm_di_minor >= 1;
	*a = (struct drm_set_version){ 1, 4, 0, 1 };
	return 0;
}

static long get_magic(struct drm_file *f, void *arg)
{
	((struct drm_auth *)arg)->magic = 1;
	return 0;
}

static long accept(struct drm_file *f, void *arg)
{
	return 0;
}

/* ---- the table ---- */

enum { RENDER = BIT(0), DISPLAY = BIT(1) };

struct drm_ioctl {
	long (*fn)(struct drm_file *f, void *arg);
	u32 bytes, flags;
};

#define CORE(code, function, on) [_IOC_NR(code)] = { function, _IOC_SIZE(code), on }
#define KMS_ROW_(name, code)     CORE(code, drm_kms_##name, DISPLAY),
#define VIRTGPU_ROW_(name)       [DRM_COMMAND_BASE + VIRTGPU_NR_##name] = { drm_virtgpu_##name, ARG_MAX_BYTES, RENDER },
enum {
	VIRTGPU_NR_map = DRM_VIRTGPU_MAP,
	VIRTGPU_NR_execbuffer = DRM_VIRTGPU_EXECBUFFER,
	VIRTGPU_NR_getparam = DRM_VIRTGPU_GETPARAM,
	VIRTGPU_NR_resource_create = DRM_VIRTGPU_RESOURCE_CREATE,
	VIRTGPU_NR_resource_info = DRM_VIRTGPU_RESOURCE_INFO,
	VIRTGPU_NR_transfer_from_host = DRM_VIRTGPU_TRANSFER_FROM_HOST,
	VIRTGPU_NR_transfer_to_host = DRM_VIRTGPU_TRANSFER_TO_HOST,
	VIRTGPU_NR_wait = DRM_VIRTGPU_WAIT,
	VIRTGPU_NR_get_caps = DRM_VIRTGPU_GET_CAPS,
};

static const struct drm_ioctl table[256] = { CORE(DRM_IOCTL_VERSION, get_version, RENDER),
					     CORE(DRM_IOCTL_GET_UNIQUE, get_unique, 0),
					     CORE(DRM_IOCTL_GET_MAGIC, get_magic, 0),
					     CORE(DRM_IOCTL_AUTH_MAGIC, accept, 0),
					     CORE(DRM_IOCTL_SET_VERSION, set_version, 0),
					     CORE(DRM_IOCTL_GEM_CLOSE, drm_gem_close, RENDER),
					     CORE(DRM_IOCTL_GET_CAP, get_cap, RENDER),
					     CORE(DRM_IOCTL_SET_CLIENT_CAP, set_client_cap, 0),
					     CORE(DRM_IOCTL_SET_MASTER, accept, 0),
					     CORE(DRM_IOCTL_DROP_MASTER, accept, 0),
					     CORE(DRM_IOCTL_PRIME_HANDLE_TO_FD, drm_prime_to_fd, RENDER),
					     CORE(DRM_IOCTL_PRIME_FD_TO_HANDLE, drm_prime_to_handle, RENDER),
					     CORE(DRM_IOCTL_MODE_CREATE_DUMB, drm_dumb_create, 0),
					     CORE(DRM_IOCTL_MODE_MAP_DUMB, drm_dumb_map, 0),
					     CORE(DRM_IOCTL_MODE_DESTROY_DUMB, drm_dumb_destroy, 0),
					     KMS_IOCTLS(KMS_ROW_) VIRTGPU_IOCTLS(VIRTGPU_ROW_) };

static long drm_ioctl(struct file *file, unsigned cmd, ulong user)
{
	struct drm_file *f = file->priv;
	const struct drm_ioctl *row = &table[_IOC_NR(cmd)];
	u32 size = min(_IOC_SIZE(cmd), row->bytes);
	u8 arg[ARG_MAX_BYTES] __aligned(8) = { 0 };
	long rc;

	if (_IOC_TYPE(cmd) != DRM_IOCTL_BASE || !row->fn)
		return -EINVAL;
	if (f->is_render && !(row->flags & RENDER))
		return -EACCES;
	if ((row->flags & DISPLAY) && !f->dev->kms)
		return -EOPNOTSUPP;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && user_get(arg, (const void __user *)user, size))
		return -EFAULT;
	rc = row->fn(f, arg);
	if ((_IOC_DIR(cmd) & _IOC_READ) && user_put((void __user *)user, arg, size))
		return -EFAULT;
	return rc;
}

/* ---- files ---- */

static int open_client(struct drm_file *f)
{
	struct gpu_client *gpu;
	struct tenant *t;
	int err;

	rcu_read_lock();
	t = current->tenant;
	tenant_get(t);
	rcu_read_unlock();
	err = gpu_client_open(f->dev->gpu, t, NULL, NULL, current->comm, &gpu);
	tenant_put(t);
	if (err)
		return err;
	f->client = drm_user_new(f->dev, gpu);
	if (f->client)
		return 0;
	gpu_client_close(gpu);
	return -ENOMEM;
}

static int drm_open(struct inode *i, struct file *file)
{
	u32 minor = DEV_MINOR(i->rdev), n = minor & ~DRM_FIRST_RENDER;
	struct drm_file *f;
	int err;

	if (n >= DRM_DEVICES || !devices[n].gpu)
		return -ENODEV;
	f = kzalloc(sizeof(*f), ALLOC_CHARGED);
	if (!f)
		return -ENOMEM;
	f->dev = &devices[n];
	f->is_render = minor >= DRM_FIRST_RENDER;
	f->id = (u32)atomic_add_return(&client_ids, 1);
	list_init(&f->flying);
	list_init(&f->events);
	waitq_init(&f->wait);
	err = open_client(f);
	if (err) {
		kfree(f);
		return err;
	}
	file->priv = f;
	return 0;
}

static void drm_release(struct file *file)
{
	struct drm_file *f = file->priv;

	drm_kms_file_closes(f);
	drm_user_close_handles(f->client);
	drm_user_put(f->client);
	kfree(f);
}

static void drm_fdinfo(struct file *file, struct strbuf *out)
{
	struct drm_file *f = file->priv;
	struct gpu_client *c = f->client->gpu;
	char bus[32] = "";
	u64 busy, memory, done;

	mutex_lock(&c->dev->lock);
	busy = c->queue.busy_ns;
	done = c->queue.done;
	memory = c->account.memory;
	mutex_unlock(&c->dev->lock);
	drm_sysfs_bus_id(f->dev, bus, sizeof(bus));
	strbuf_add(out, "drm-driver:\t%s\n", f->dev->gpu->name);
	if (bus[0])
		strbuf_add(out, "drm-pdev:\t%s\n", bus);
	strbuf_add(out, "drm-client-id:\t%u\ndrm-engine-gpu:\t%llu ns\n", f->id, (unsigned long long)busy);
	strbuf_add(out, "drm-memory-gpu:\t%llu KiB\nostrom-jobs:\t%llu\n", (unsigned long long)memory >> 10,
		   (unsigned long long)done);
}

static const struct file_ops ops = { .open = drm_open,
				     .release = drm_release,
				     .ioctl = drm_ioctl,
				     .mmap = drm_mmap,
				     .read = drm_kms_read,
				     .poll = drm_kms_poll,
				     .llseek = no_llseek,
				     .show_fdinfo = drm_fdinfo };

/* ---- devices ---- */

static void added(struct gpu_dev *gpu)
{
	struct drm_dev *d = &devices[gpu->index];
	char name[32];

	if (gpu->index >= DRM_DEVICES)
		return;
	d->index = gpu->index;
	if (gpu->nr_scanouts && drm_kms_create(gpu, &d->kms))
		log_warn("drm: card%u has no display: no memory", d->index);
	d->gpu = gpu;
	if (drm_sysfs_add(d))
		log_warn("drm: no files for card%u", d->index);
	str_format(name, sizeof(name), "dri/card%u", d->index);
	if (devnode_add(name, S_IFCHR | 0666, DEV(DRM_MAJOR, d->index)))
		log_warn("drm: no %s", name);
	str_format(name, sizeof(name), "dri/renderD%u", DRM_FIRST_RENDER + d->index);
	if (devnode_add(name, S_IFCHR | 0666, DEV(DRM_MAJOR, DRM_FIRST_RENDER + d->index)))
		log_warn("drm: no %s", name);
}

static struct chrdev numbers = { .dev = DEV(DRM_MAJOR, 0), .count = 256, .name = "drm", .ops = &ops };
static struct gpu_front front = { .added = added };

static void drm_init(void)
{
	chrdev_register(&numbers);
	gpu_front_register(&front);
}
PART_INIT(bus, drm_init);
