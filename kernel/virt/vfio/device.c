/* SPDX-License-Identifier: MIT
 *
 * Problem: a program drives a device through one file: it asks what regions and interrupts there are, reads and writes
 * registers by position, maps memory.
 *
 * Idea: the position's upper bits are the region, the lower ones the place in it. Registers are passed to the driver in
 * naturally aligned pieces, as a bus would; regions that are memory in pieces of up to a page. A mapping asks the
 * driver for pages.
 *
 *      position = region << 40 | offset
 *
 * Contract: vfio.h; DEVICE ioctls of linux/vfio.h. There is one open file a device: asking for it again gives another
 * descriptor of the same.
 *
 * Locks: vfio_lock for opening, closing, reset and interrupts; none for access.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <task/task.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "vfio_priv.h"

#define REGION_SHIFT 40
#define REGION_MASK  ((1ULL << REGION_SHIFT) - 1)

/* ---- access ---- */

static struct vfio_region *region_of(struct vfio_device *d, u64 pos, unsigned *n)
{
	u64 r = pos >> REGION_SHIFT;

	*n = (unsigned)r;
	return r < d->nr_regions && d->region[r].bytes ? &d->region[r] : NULL;
}

/* The next piece of an access. */
static size_t piece(const struct vfio_region *r, u64 offset, size_t left)
{
	size_t n = 8;

	left = min((u64)left, r->bytes - offset);
	if (r->is_bulk)
		return min(left, PAGE_SIZE - offset % PAGE_SIZE);
	while (n > left || offset % n)
		n /= 2;
	return n;
}

static int transfer(struct vfio_device *d, unsigned region, struct io *io, void *buf, size_t n, bool write)
{
	u64 offset = (u64)io->pos & REGION_MASK;
	int err;

	if (write) {
		if (iter_copy_in(buf, n, &io->iter) != n)
			return -EFAULT;
		return d->ops->write(d, region, offset, buf, n);
	}
	err = d->ops->read(d, region, offset, buf, n);
	if (err)
		return err;
	return iter_copy_out(buf, n, &io->iter) == n ? 0 : -EFAULT;
}

static ssize_t access(struct io *io, bool write)
{
	struct vfio_device *d = io->file->priv;
	unsigned n;
	struct vfio_region *r = region_of(d, (u64)io->pos, &n);
	size_t done = 0;
	u64 word;
	void *buf;
	int err = 0;

	if (!r || !(r->flags & (write ? VFIO_REGION_INFO_FLAG_WRITE : VFIO_REGION_INFO_FLAG_READ)))
		return -EINVAL;
	buf = r->is_bulk ? kmalloc(PAGE_SIZE, 0) : &word;
	if (!buf)
		return -ENOMEM;
	while (io->iter.count && ((u64)io->pos & REGION_MASK) < r->bytes) {
		size_t part = piece(r, (u64)io->pos & REGION_MASK, io->iter.count);

		err = transfer(d, n, io, buf, part, write);
		if (err)
			break;
		done += part;
		io->pos += (s64)part;
	}
	if (r->is_bulk)
		kfree(buf);
	return done ? (ssize_t)done : err;
}

static ssize_t device_read(struct io *io)
{
	return access(io, false);
}

static ssize_t device_write(struct io *io)
{
	return access(io, true);
}

/* ---- mapping ---- */

static int fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct vfio_device *d = m->owner;
	unsigned n;
	struct vfio_region *r = region_of(d, index << PAGE_SHIFT, &n);
	u64 page = index & (REGION_MASK >> PAGE_SHIFT);

	return r && page < r->bytes >> PAGE_SHIFT ? d->ops->page(d, n, page, out) : -EFAULT;
}

static int frame(struct mapping *m, u64 index, pfn_t *out)
{
	struct vfio_device *d = m->owner;
	unsigned n;
	struct vfio_region *r = region_of(d, index << PAGE_SHIFT, &n);
	u64 page = index & (REGION_MASK >> PAGE_SHIFT);

	return r && page < r->bytes >> PAGE_SHIFT ? d->ops->frame(d, n, page, out) : -EFAULT;
}

static void keep(struct mapping *m)
{
	file_get(((struct vfio_device *)m->owner)->file);
}

static void let_go(struct mapping *m)
{
	file_put(((struct vfio_device *)m->owner)->file);
}

static void describe(struct mapping *m, struct mapping_name *out)
{
	*out = (struct mapping_name){ .path = "anon_inode:[vfio-device]" };
}

/* What cannot be written by write() cannot be by a mapping, either. */
static int restrict_rights(struct mapping *m, struct vma *v)
{
	unsigned n;
	struct vfio_region *r = region_of(m->owner, v->index << PAGE_SHIFT, &n);

	if (r && (r->flags & VFIO_REGION_INFO_FLAG_WRITE))
		return 0;
	if (v->flags & VMA_WRITE)
		return -EACCES;
	v->flags &= ~(u32)VMA_MAYWRITE;
	return 0;
}

static const struct mapping_ops page_ops = {
	.fill = fill, .get = keep, .put = let_go, .map = restrict_rights, .describe = describe
};
static const struct mapping_ops frame_ops = {
	.frame = frame, .get = keep, .put = let_go, .map = restrict_rights, .describe = describe
};

static bool can_be_mapped(const struct vfio_region *r, u64 offset, u64 bytes)
{
	if (!(r->flags & VFIO_REGION_INFO_FLAG_MMAP) || offset > r->bytes || bytes > r->bytes - offset)
		return false;
	for (unsigned i = 0; i < r->nr_areas; i++)
		if (offset >= r->area[i].offset && bytes <= r->area[i].bytes &&
		    offset - r->area[i].offset <= r->area[i].bytes - bytes)
			return true;
	return !r->area;
}

static int device_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes,
		       struct mapping **out)
{
	struct vfio_device *d = f->priv;
	unsigned n;
	struct vfio_region *r = region_of(d, *index << PAGE_SHIFT, &n);

	if (!r || !can_be_mapped(r, (*index << PAGE_SHIFT) & REGION_MASK, bytes))
		return -EINVAL;
	*out = &d->mapping;
	return d->ops->map ? d->ops->map(d, n) : 0;
}

/* ---- information ---- */

static int get_info(struct vfio_device *d, void __user *arg)
{
	size_t min = offsetof(struct vfio_device_info, cap_offset);
	struct vfio_device_info i = { 0 };
	int err = user_get(&i, arg, min);

	if (err || i.argsz < min)
		return err ? err : -EINVAL;
	i.flags = d->flags;
	i.num_regions = d->nr_regions;
	i.num_irqs = VFIO_PCI_NUM_IRQS;
	return user_put(arg, &i, min);
}

static int region_caps(const struct vfio_region *r, struct vfio_caps *caps)
{
	struct vfio_region_info_cap_sparse_mmap *sparse;
	struct vfio_region_info_cap_type *type;

	if (r->area) {
		sparse = caps_add(caps, VFIO_REGION_INFO_CAP_SPARSE_MMAP, 1,
				  (u32)(sizeof(*sparse) + r->nr_areas * sizeof(sparse->areas[0])));
		if (!sparse)
			return -ENOMEM;
		sparse->nr_areas = r->nr_areas;
		for (unsigned i = 0; i < r->nr_areas; i++) {
			sparse->areas[i].offset = r->area[i].offset;
			sparse->areas[i].size = r->area[i].bytes;
		}
	}
	if (r->type) {
		type = caps_add(caps, VFIO_REGION_INFO_CAP_TYPE, 1, sizeof(*type));
		if (!type)
			return -ENOMEM;
		type->type = r->type;
		type->subtype = r->subtype;
	}
	return 0;
}

static int get_region_info(struct vfio_device *d, void __user *arg)
{
	struct vfio_caps *caps;
	struct vfio_region_info i;
	int err = user_get(&i, arg, sizeof(i));
	u32 argsz = i.argsz;

	if (err)
		return err;
	if (argsz < sizeof(i) || i.index >= d->nr_regions)
		return -EINVAL;
	caps = kzalloc(sizeof(*caps), 0);
	if (!caps)
		return -ENOMEM;
	caps->base = sizeof(i);
	err = region_caps(&d->region[i.index], caps);
	i = (struct vfio_region_info){ .argsz = (u32)sizeof(i) + caps->n,
				       .flags = d->region[i.index].flags | (caps->n ? VFIO_REGION_INFO_FLAG_CAPS : 0),
				       .index = i.index,
				       .size = d->region[i.index].bytes,
				       .offset = (u64)i.index << REGION_SHIFT };
	if (!err && caps->n && argsz >= i.argsz) {
		i.cap_offset = sizeof(i);
		err = user_put((char __user *)arg + sizeof(i), caps->bytes, caps->n);
	}
	kfree(caps);
	return err ? err : user_put(arg, &i, sizeof(i));
}

static int reset(struct vfio_device *d)
{
	return d->flags & VFIO_DEVICE_FLAGS_RESET ? d->ops->reset(d) : -EINVAL;
}

static long locked_ioctl(struct vfio_device *d, unsigned cmd, void __user *arg)
{
	switch (cmd) {
	case VFIO_DEVICE_GET_INFO: return get_info(d, arg);
	case VFIO_DEVICE_GET_REGION_INFO: return get_region_info(d, arg);
	case VFIO_DEVICE_GET_IRQ_INFO: return irq_info(d, arg);
	case VFIO_DEVICE_SET_IRQS: return irq_set(d, arg);
	case VFIO_DEVICE_RESET: return reset(d);
	case VFIO_DEVICE_IOEVENTFD: return ioevent_set(d, arg);
	default: return -ENOTTY;
	}
}

static long device_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct vfio_device *d = f->priv;
	long ret = mutex_lock_killable(&vfio_lock);

	if (ret)
		return ret;
	ret = locked_ioctl(d, cmd, (void __user *)arg);
	mutex_unlock(&vfio_lock);
	/* The driver's own may wait for its device: others' do not wait for that. */
	return ret == -ENOTTY && d->ops->ioctl ? d->ops->ioctl(d, cmd, (void __user *)arg) : ret;
}

/* ---- opening ---- */

static void device_release(struct file *f)
{
	struct vfio_device *d = f->priv;
	struct file *drop;

	mutex_lock(&vfio_lock);
	ioevents_release(d);
	irq_release(d);
	d->ops->close(d);
	domain_detach(d);
	d->file = NULL;
	drop = group_device_closed(d->group);
	if (d->closed)
		d->closed(d);
	mutex_unlock(&vfio_lock);
	if (drop)
		file_put(drop);
}

static const struct file_ops device_ops = { .read = device_read,
					    .write = device_write,
					    .mmap = device_mmap,
					    .ioctl = device_ioctl,
					    .release = device_release,
					    .llseek = file_llseek };

void device_init(struct vfio_device *d)
{
	mapping_init(&d->mapping, d->ops->frame ? &frame_ops : &page_ops, d);
	spin_init(&d->irq_lock, RANK_DRIVER);
	list_init(&d->ioevents);
}

int device_open(struct vfio_device *d, struct file **out)
{
	int err;

	assert(mutex_is_held(&vfio_lock));
	if (d->file) {
		if (!refcount_inc_not_zero(&d->file->refs))
			return -EBUSY; /* it is about to be closed */
		*out = d->file;
		return 0;
	}
	err = domain_attach(d);
	if (err)
		return err;
	err = d->ops->open(d);
	if (!err) {
		err = file_anon("[vfio-device]", &device_ops, d, O_RDWR, out);
		if (err)
			d->ops->close(d);
	}
	if (err)
		domain_detach(d);
	else
		d->file = *out;
	return err;
}
