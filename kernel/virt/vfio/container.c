/* SPDX-License-Identifier: MIT
 *
 * Problem: a device's addresses mean what a program says they mean, and the program may change or leave at any moment.
 *
 * Idea: most devices do not read memory by themselves, so mapping costs one tree node: iova range, address, address
 * space, rights. Memory is found when a driver asks: copied, or pinned if the driver keeps it for longer. Unmapping
 * takes the node out first, then tells the drivers, which give back their pins; a driver's look-up and its record of
 * the pin are under the driver's own lock, so that no pin can be missed. Where a device has a function of its own below
 * it, all nodes are in an IOMMU domain as well (domain.c).
 *
 * A process that has ended has no memory: look-ups in its address space, which the node keeps, fail.
 *
 *      MAP_DMA --> node            vfio_dma_read --> node --> mm_access         vfio_pin --> node --> mm_pin_user
 *      UNMAP_DMA --> node gone --> ops->unmap of each open device
 *
 * Contract: VFIO's type-1 IOMMU, versions 1 and 2, of linux/vfio.h. Rules at the borders as Linux's
 * vfio_iommu_type1 has them: version 2 never cuts a mapping, version 1 unmaps whole ones from a start.
 *
 * Locks: vfio_lock for the ioctls; map_lock inside.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/resource.h>
#include <linux/stat.h>
#include <mm/mm.h>
#include <mm/upcalls.h>
#include <task/task.h>
#include <vfs/device.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "vfio_priv.h"

#define CONTAINER_DEV DEV(10, 196)

/* ---- the tree ---- */

/* The map that holds iova, or else the first one above it. */
static struct dma_map *at_or_above(struct vfio_container *c, u64 iova)
{
	struct rb_node *n = c->maps.node;
	struct dma_map *best = NULL;

	while (n) {
		struct dma_map *m = rb_entry(n, struct dma_map, node);

		if (iova > m->iova + (m->bytes - 1)) {
			n = n->right;
		} else {
			best = m;
			n = n->left;
		}
	}
	return best;
}

static void insert(struct vfio_container *c, struct dma_map *m)
{
	struct rb_node **link = &c->maps.node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = m->iova < rb_entry(parent, struct dma_map, node)->iova ? &parent->left : &parent->right;
	}
	rb_insert(&c->maps, &m->node, parent, link);
	c->nr_maps++;
}

static void tell_unmapped(struct vfio_container *c, u64 iova, u64 bytes)
{
	struct vfio_group *g;

	list_for_each_entry (g, &c->groups, link)
		if (g->device && g->device->file && g->device->ops->unmap)
			g->device->ops->unmap(g->device, iova, bytes);
}

static void remove(struct vfio_container *c, struct dma_map *m)
{
	write_lock(&c->map_lock);
	rb_erase(&c->maps, &m->node);
	c->nr_maps--;
	write_unlock(&c->map_lock);
	tell_unmapped(c, m->iova, m->bytes);
	if (c->domain)
		domain_unmap(c, m);
	mm_drop(m->mm);
	kfree(m);
}

void container_clear(struct vfio_container *c)
{
	struct rb_node *n;

	assert(mutex_is_held(&vfio_lock));
	while ((n = rb_first(&c->maps)))
		remove(c, rb_entry(n, struct dma_map, node));
	domain_drop(c);
	c->type = 0;
}

/* ---- mapping ---- */

static bool wraps(u64 start, u64 bytes)
{
	return start + bytes - 1 < start;
}

/* -EINVAL or 0. */
static int check_map(const struct vfio_iommu_type1_dma_map *a)
{
	if (a->argsz < sizeof(*a) || (a->flags & ~(u32)(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)) ||
	    !a->flags || !a->size || ((a->size | a->iova | a->vaddr) & (PAGE_SIZE - 1)) || wraps(a->iova, a->size) ||
	    wraps(a->vaddr, a->size))
		return -EINVAL;
	return 0;
}

static int map(struct vfio_container *c, void __user *arg)
{
	struct vfio_iommu_type1_dma_map a;
	struct dma_map *m, *next;
	int err = user_get(&a, arg, sizeof(a));

	if (!err)
		err = check_map(&a);
	if (err)
		return err;
	next = at_or_above(c, a.iova);
	if (next && next->iova <= a.iova + (a.size - 1))
		return -EEXIST;
	if (c->domain && !domain_reaches(c, a.iova, a.iova + (a.size - 1)))
		return -EINVAL;
	if (c->nr_maps >= VFIO_MAPS)
		return -ENOSPC;
	m = kzalloc(sizeof(*m), ALLOC_CHARGED);
	if (!m)
		return -ENOMEM;
	*m = (struct dma_map){ .iova = a.iova,
			       .bytes = a.size,
			       .address = a.vaddr,
			       .read = a.flags & VFIO_DMA_MAP_FLAG_READ,
			       .write = a.flags & VFIO_DMA_MAP_FLAG_WRITE,
			       .mm = current->mm,
			       .limit_pages =
				       capable(CAP_IPC_LOCK) ? ~0ULL : upcall_rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT };
	err = c->domain ? domain_map(c, m) : 0;
	if (err) {
		kfree(m);
		return err;
	}
	mm_hold(m->mm);
	write_lock(&c->map_lock);
	insert(c, m);
	write_unlock(&c->map_lock);
	return 0;
}

/* Neither end may lie inside a map. */
static bool cuts(struct vfio_container *c, u64 iova, u64 bytes)
{
	struct dma_map *first = at_or_above(c, iova), *last = at_or_above(c, iova + (bytes - 1));

	return (first && first->iova < iova) ||
	       (last && last->iova <= iova + (bytes - 1) && last->iova + (last->bytes - 1) > iova + (bytes - 1));
}

static u64 unmap_range(struct vfio_container *c, u64 iova, u64 last)
{
	struct dma_map *m;
	u64 sum = 0;

	while ((m = at_or_above(c, iova)) && m->iova <= last) {
		if (m->iova < iova)
			break; /* version 1: begins before what is asked for */
		sum += m->bytes;
		remove(c, m);
	}
	return sum;
}

static int unmap(struct vfio_container *c, void __user *arg)
{
	struct vfio_iommu_type1_dma_unmap a;
	int err = user_get(&a, arg, offsetof(struct vfio_iommu_type1_dma_unmap, data));
	bool all;

	if (err)
		return err;
	all = a.flags & VFIO_DMA_UNMAP_FLAG_ALL;
	if (a.argsz < offsetof(struct vfio_iommu_type1_dma_unmap, data) || (a.flags & ~(u32)VFIO_DMA_UNMAP_FLAG_ALL) ||
	    (all ? a.iova || a.size : !a.size || ((a.size | a.iova) & (PAGE_SIZE - 1)) || wraps(a.iova, a.size)))
		return -EINVAL;
	if (!all && c->type == VFIO_TYPE1v2_IOMMU && cuts(c, a.iova, a.size))
		return -EINVAL;
	a.size = unmap_range(c, a.iova, all ? ~0ULL : a.iova + (a.size - 1));
	return user_put(arg, &a, offsetof(struct vfio_iommu_type1_dma_unmap, data));
}

void *caps_add(struct vfio_caps *c, u16 id, u16 version, u32 bytes)
{
	struct vfio_info_cap_header *h = (void *)(c->bytes + c->n);

	if (bytes > sizeof(c->bytes) - c->n)
		return NULL;
	*h = (struct vfio_info_cap_header){ .id = id, .version = version };
	if (c->n)
		((struct vfio_info_cap_header *)(c->bytes + c->last))->next = c->base + c->n;
	c->last = c->n;
	c->n += ALIGN_UP(bytes, 8);
	return h;
}

static int iommu_info(struct vfio_container *c, void __user *arg)
{
	struct vfio_caps caps = { .base = sizeof(struct vfio_iommu_type1_info) };
	size_t min = offsetof(struct vfio_iommu_type1_info, cap_offset);
	struct vfio_iommu_type1_info i = { 0 };
	struct vfio_iommu_type1_info_cap_iova_range *range;
	struct vfio_iommu_type1_info_dma_avail *avail;
	int err = user_get(&i, arg, min);
	u32 argsz = i.argsz;

	if (err || argsz < min)
		return err ? err : -EINVAL;
	i.flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
	i.iova_pgsizes = PAGE_MASK;
	range = caps_add(&caps, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, 1,
			 sizeof(*range) + DOMAIN_RANGES * sizeof(range->iova_ranges[0]));
	avail = caps_add(&caps, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, 1, sizeof(*avail));
	if (!range || !avail)
		return -ENOMEM;
	range->nr_iovas = domain_ranges(c, range->iova_ranges);
	avail->avail = VFIO_MAPS - c->nr_maps;
	i.argsz = sizeof(i) + caps.n;
	if (argsz >= i.argsz) {
		i.cap_offset = sizeof(i);
		err = user_put((char __user *)arg + sizeof(i), caps.bytes, caps.n);
	}
	return err ? err : user_put(arg, &i, min((size_t)argsz, sizeof(i)));
}

/* ---- what drivers ask for ---- */

typedef int (*piece)(struct dma_map *m, ulong address, void *buf, size_t n);

static int walk(struct vfio_device *d, u64 iova, void *buf, size_t n, bool write, piece fn)
{
	struct vfio_container *c = d->group->container;
	int err = c ? 0 : -EFAULT;

	if (!n || err)
		return err;
	read_lock(&c->map_lock);
	while (n && !err) {
		struct dma_map *m = at_or_above(c, iova);
		size_t part;

		if (!m || m->iova > iova || !(write ? m->write : m->read)) {
			err = -EFAULT;
			break;
		}
		part = min((u64)n, m->bytes - (iova - m->iova));
		err = fn(m, m->address + (iova - m->iova), buf, part);
		buf = (char *)buf + part;
		iova += part;
		n -= part;
	}
	read_unlock(&c->map_lock);
	return err;
}

static int copy_from(struct dma_map *m, ulong address, void *buf, size_t n)
{
	return mm_access(m->mm, address, buf, n, false, false) == (ssize_t)n ? 0 : -EFAULT;
}

static int copy_to(struct dma_map *m, ulong address, void *buf, size_t n)
{
	return mm_access(m->mm, address, buf, n, true, false) == (ssize_t)n ? 0 : -EFAULT;
}

int vfio_dma_read(struct vfio_device *d, u64 iova, void *buf, size_t n)
{
	return walk(d, iova, buf, n, false, copy_from);
}

int vfio_dma_write(struct vfio_device *d, u64 iova, const void *buf, size_t n)
{
	return walk(d, iova, (void *)buf, n, true, copy_to);
}

static int pin_one(struct vfio_container *c, u64 iova, bool write, struct page **out)
{
	struct dma_map *m = at_or_above(c, iova);
	int err;

	if (!m || m->iova > iova || !(write ? m->write : m->read))
		return -EFAULT;
	if ((u64)atomic_read(&c->pinned) >= m->limit_pages)
		return -ENOMEM;
	err = mm_pin_user(m->mm, m->address + (iova - m->iova), 1, write, out);
	if (err != 1)
		return err < 0 ? err : -EFAULT;
	atomic_inc(&c->pinned);
	return 0;
}

int vfio_pin(struct vfio_device *d, u64 iova, unsigned n, bool write, struct page **pages)
{
	struct vfio_container *c = d->group->container;
	unsigned i;
	int err = c && !(iova % PAGE_SIZE) ? 0 : -EFAULT;

	if (err)
		return err;
	read_lock(&c->map_lock);
	for (i = 0; i < n && !err; i++)
		err = pin_one(c, iova + (u64)i * PAGE_SIZE, write, &pages[i]);
	read_unlock(&c->map_lock);
	if (err)
		vfio_unpin(d, pages, i - 1);
	return err;
}

void vfio_unpin(struct vfio_device *d, struct page **pages, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		page_put(page_head(pages[i]));
	if (d->group->container)
		atomic_sub(&d->group->container->pinned, n);
}

/* ---- the file ---- */

static int check_extension(ulong which)
{
	return which == VFIO_TYPE1_IOMMU || which == VFIO_TYPE1v2_IOMMU || which == VFIO_UNMAP_ALL;
}

static int set_type(struct vfio_container *c, ulong type)
{
	int err;

	if (list_empty(&c->groups) || c->type)
		return -EINVAL;
	if (type != VFIO_TYPE1_IOMMU && type != VFIO_TYPE1v2_IOMMU)
		return -ENODEV;
	c->type = type;
	err = domain_need(c);
	if (err)
		c->type = 0;
	return err;
}

static long locked_ioctl(struct vfio_container *c, unsigned cmd, ulong arg)
{
	if (cmd == VFIO_SET_IOMMU)
		return set_type(c, arg);
	if (!c->type)
		return -EINVAL;
	switch (cmd) {
	case VFIO_IOMMU_GET_INFO: return iommu_info(c, (void __user *)arg);
	case VFIO_IOMMU_MAP_DMA: return map(c, (void __user *)arg);
	case VFIO_IOMMU_UNMAP_DMA: return unmap(c, (void __user *)arg);
	default: return -ENOTTY;
	}
}

static long container_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct vfio_container *c = f->priv;
	long ret;

	if (cmd == VFIO_GET_API_VERSION)
		return VFIO_API_VERSION;
	if (cmd == VFIO_CHECK_EXTENSION)
		return check_extension(arg);
	ret = mutex_lock_killable(&vfio_lock);
	if (ret)
		return ret;
	ret = locked_ioctl(c, cmd, arg);
	mutex_unlock(&vfio_lock);
	return ret;
}

static int container_open(struct inode *i, struct file *f)
{
	struct vfio_container *c = kzalloc(sizeof(*c), ALLOC_CHARGED);

	if (!c)
		return -ENOMEM;
	list_init(&c->groups);
	rwlock_init(&c->map_lock, RANK_VFIO_MAP);
	f->priv = c;
	return 0;
}

static void container_release(struct file *f)
{
	struct vfio_container *c = f->priv;

	mutex_lock(&vfio_lock);
	container_clear(c); /* its groups hold the file, so none is left */
	mutex_unlock(&vfio_lock);
	kfree(c);
}

static void container_fdinfo(struct file *f, struct strbuf *out)
{
	struct vfio_container *c = f->priv;

	strbuf_add(out, "maps:\t%u\npinned_pages:\t%ld\n", c->nr_maps, (long)atomic_read(&c->pinned));
}

static const struct file_ops container_ops = { .open = container_open,
					       .release = container_release,
					       .ioctl = container_ioctl,
					       .show_fdinfo = container_fdinfo,
					       .llseek = no_llseek };

struct vfio_container *container_of_file(struct file *f)
{
	return f->ops == &container_ops ? f->priv : NULL;
}

static struct chrdev dev = { .dev = CONTAINER_DEV, .count = 1, .name = "vfio", .ops = &container_ops };

void container_init(void)
{
	chrdev_register(&dev);
	ensure(!devnode_add("vfio/vfio", S_IFCHR | 0666, CONTAINER_DEV));
}
