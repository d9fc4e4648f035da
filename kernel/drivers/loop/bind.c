/* SPDX-License-Identifier: MIT
 *
 * Problem: losetup and mount -o loop bind a file to a device, at an offset, with a limit, read-only, with partitions,
 * and want it unbound by itself when nobody uses the device any more.
 *
 * Idea: a binding is an object of its own, checked as a whole before anything changes. The device stays when it is
 * unbound, with no size.
 *
 *      unbound --LOOP_CONFIGURE, LOOP_SET_FD--> bound --LOOP_CLR_FD--> unbound
 *                                                 '--last user gone, LO_FLAGS_AUTOCLEAR--> by a worker: unbound
 *
 * Contract: linux/loop.h, as Linux 6.1: ENXIO when unbound, EBUSY when bound, EBADF for a loop over itself. The files
 * of /sys/block/loopN/loop.
 *
 * Locks: loop->lock around each change.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/stat.h>
#include <task/user_ns.h>
#include <vfs/device.h>

#include "loop_priv.h"

/* ---- /sys/block/loopN/loop --------------------------------------------------------------------------------------- */

enum { OFFSET, SIZELIMIT, AUTOCLEAR, PARTSCAN, DIO };

static int show_path(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", ((struct loop_backing *)dir->owner)->path);
	return 0;
}

static int show_value(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	const struct loop_backing *k = dir->owner;
	u64 v = 0;

	switch (a->data) {
	case OFFSET: v = k->offset; break;
	case SIZELIMIT: v = k->sizelimit; break;
	case AUTOCLEAR: v = !!(k->flags & LO_FLAGS_AUTOCLEAR); break;
	case PARTSCAN: v = !!(k->flags & LO_FLAGS_PARTSCAN); break;
	case DIO: v = !!(k->flags & LO_FLAGS_DIRECT_IO); break;
	}
	strbuf_add(out, "%llu\n", (unsigned long long)v);
	return 0;
}

static const struct attr path_attr = { "backing_file", 0444, show_path, NULL, NULL, 0 };
static const struct attr offset_attr = { "offset", 0444, show_value, NULL, NULL, OFFSET };
static const struct attr sizelimit_attr = { "sizelimit", 0444, show_value, NULL, NULL, SIZELIMIT };
static const struct attr autoclear_attr = { "autoclear", 0444, show_value, NULL, NULL, AUTOCLEAR };
static const struct attr partscan_attr = { "partscan", 0444, show_value, NULL, NULL, PARTSCAN };
static const struct attr dio_attr = { "dio", 0444, show_value, NULL, NULL, DIO };
static const struct attr *const attrs[] = { &path_attr, &offset_attr, &sizelimit_attr, &autoclear_attr, &partscan_attr,
					    &dio_attr,  NULL };

static void backing_free(struct attr_dir *dir)
{
	kfree(dir->owner);
}

static const struct attr_dir_ops attr_ops = { .release = backing_free };

/* ---- checks -------------------------------------------------------------------------------------------------------
 */

static struct block_dev *disk_behind(const struct file *f)
{
	return S_ISBLK(f->inode->mode) ? ((struct block_dev *)f->priv)->whole : NULL;
}

/* A chain of loops must end in something else. */
static int check_chain(const struct loop *l, const struct file *f)
{
	struct block_dev *d = disk_behind(f);

	for (unsigned depth = 0; d && d->driver == &loop_driver; depth++) {
		const struct loop *below = loop_of(d);

		if (below == l || depth == 8)
			return fail(EBADF, "%s: over itself", l->block.name);
		d = below->backing ? disk_behind(below->backing->file) : NULL;
	}
	return 0;
}

static u64 file_sectors(const struct loop_backing *k)
{
	const struct file *f = k->file;
	u64 bytes =
		S_ISBLK(f->inode->mode) ? ((struct block_dev *)f->priv)->sectors << SECTOR_SHIFT : (u64)f->inode->size;

	bytes = bytes > k->offset ? bytes - k->offset : 0;
	if (k->sizelimit)
		bytes = min(bytes, k->sizelimit);
	return bytes >> SECTOR_SHIFT;
}

static bool can_direct(const struct loop_backing *k, u32 block)
{
	u32 unit = k->file->ops->direct_block ? k->file->ops->direct_block(k->file) : 0;

	return unit && k->offset % unit == 0 && block % unit == 0;
}

static int check_info(const struct loop_info64 *i, u32 allowed)
{
	if (i->lo_encrypt_type || i->lo_encrypt_key_size)
		return fail(EINVAL, "loop: no encryption");
	if (i->lo_flags & ~allowed)
		return fail(EINVAL, "loop: flags %#x", i->lo_flags);
	if ((s64)i->lo_offset < 0 || (s64)i->lo_sizelimit < 0)
		return -EOVERFLOW;
	return 0;
}

static bool is_block_size(u32 n)
{
	return n >= SECTOR_SIZE && n <= PAGE_SIZE && !(n & (n - 1));
}

/* ---- binding -------------------------------------------------------------------------------------------------------
 */

static void set_limits(struct loop *l, u32 block)
{
	const struct loop_backing *k = l->backing;
	struct block_dev *d = disk_behind(k->file);
	bool can_erase = k->file->ops->fallocate && (!d || d->limits.max_zeroes_bytes);

	l->block.limits.logical_block = block;
	l->block.limits.physical_block = max(block, d ? d->limits.physical_block : (u32)PAGE_SIZE);
	l->block.limits.read_only = k->flags & LO_FLAGS_READ_ONLY;
	l->block.limits.write_cache = k->file->ops->fsync;
	l->block.limits.has_fua = true; /* the worker does what it takes */
	l->block.limits.max_discard_bytes = l->block.limits.max_zeroes_bytes = can_erase ? 1U << 30 : 0;
}

static int make_backing(struct loop *l, struct file *f, const struct loop_info64 *i, struct loop_backing **out)
{
	struct loop_backing *k = kzalloc(sizeof(*k), ALLOC_KERNEL);
	struct strbuf path;
	int err;

	if (!k)
		return -ENOMEM;
	strbuf_init(&path, k->path, sizeof(k->path));
	file_describe(f, &path);
	k->loop = l;
	k->file = f;
	k->offset = i->lo_offset;
	k->sizelimit = i->lo_sizelimit;
	k->flags = i->lo_flags;
	memcpy(k->name, i->lo_file_name, LO_NAME_SIZE - 1);
	err = attr_dir_init(&k->attr, &l->block.attr, "loop", attrs, &attr_ops, k);
	if (err)
		kfree(k);
	else
		*out = k;
	return err;
}

static void drop_backing(struct loop *l)
{
	struct loop_backing *k = l->backing;

	l->backing = NULL;
	file_put(k->file);
	attr_dir_remove(&k->attr);
}

/* f's reference is taken over, also on failure. */
static int bind(struct loop *l, struct file *f, const struct loop_config *c)
{
	struct loop_info64 info = c->info;
	u32 block = c->block_size ? c->block_size : SECTOR_SIZE;
	struct block_dev *under = disk_behind(f);
	int err = check_chain(l, f);

	if (!(f->mode & FMODE_WRITE))
		info.lo_flags |= LO_FLAGS_READ_ONLY;
	if (!c->block_size && under && info.lo_flags & LO_FLAGS_DIRECT_IO)
		block = under->limits.logical_block;
	if (!err)
		err = make_backing(l, f, &info, &l->backing);
	if (err) {
		file_put(f);
		return err;
	}
	if (l->backing->flags & LO_FLAGS_DIRECT_IO && !can_direct(l->backing, block))
		l->backing->flags &= ~LO_FLAGS_DIRECT_IO;
	err = loop_io_start(l);
	if (err) {
		drop_backing(l);
		return err;
	}
	set_limits(l, block);
	block_set_sectors(&l->block, file_sectors(l->backing));
	return info.lo_flags & LO_FLAGS_PARTSCAN ? block_rescan(&l->block) : 0;
}

static long configure(struct loop *l, const struct loop_config *c)
{
	struct fd_ref r;
	struct file *f;
	int err = check_info(&c->info, LOOP_CONFIGURE_SETTABLE_FLAGS);

	if (!err && c->block_size && !is_block_size(c->block_size))
		err = fail(EINVAL, "loop: blocks of %u", c->block_size);
	if (err)
		return err;
	r = fd_get((int)c->fd);
	f = r.file;
	if (!f)
		return -EBADF;
	if (!S_ISREG(f->inode->mode) && !S_ISBLK(f->inode->mode))
		err = -EINVAL;
	else if (l->backing)
		err = -EBUSY;
	else
		file_get(f);
	fd_put(r);
	return err ? err : bind(l, f, c);
}

static int unbind(struct loop *l)
{
	int err;

	if (block_flush_cache(&l->block))
		log_warn("%s: not all that was written could be stored", l->block.name);
	block_set_sectors(&l->block, 0);
	err = block_rescan(&l->block); /* no sectors: no partitions */
	if (err)
		return err;
	loop_io_stop(l);
	l->block.limits.read_only = false;
	drop_backing(l);
	return 0;
}

static bool in_use(struct loop *l, int besides)
{
	return block_partitions_used(&l->block) || atomic_read(&l->block.openers) > besides ||
	       READ_ONCE(l->block.holder);
}

static long clear(struct loop *l)
{
	if (in_use(l, 1)) { /* somebody else than who asks: when they have gone */
		l->backing->flags |= LO_FLAGS_AUTOCLEAR;
		return 0;
	}
	return unbind(l);
}

void loop_autoclear(struct work *w)
{
	struct loop *l = container_of(w, struct loop, autoclear);

	mutex_lock(&l->lock);
	if (l->backing && l->backing->flags & LO_FLAGS_AUTOCLEAR && !in_use(l, 0) && unbind(l))
		log_warn("%s: stays bound", l->block.name);
	mutex_unlock(&l->lock);
	block_put(&l->block);
}

/* Somebody has closed it, or given it up. A worker looks: we may hold a file system's locks. */
void loop_released(struct block_dev *d)
{
	struct loop *l = loop_of(d->whole);
	struct loop_backing *k = READ_ONCE(l->backing);

	if (!k || !(k->flags & LO_FLAGS_AUTOCLEAR) || in_use(l, 0))
		return;
	refcount_inc(&l->block.refs);
	if (!work_queue(&l->autoclear))
		block_put(&l->block);
}

/* ---- status -------------------------------------------------------------------------------------------------------
 */

static long get_status(const struct loop *l, struct loop_info64 *i)
{
	const struct loop_backing *k = l->backing;
	const struct inode *file = k->file->inode;

	*i = (struct loop_info64){ .lo_device = file->super->dev,
				   .lo_inode = file->ino,
				   .lo_rdevice = S_ISBLK(file->mode) ? file->rdev : 0,
				   .lo_offset = k->offset,
				   .lo_sizelimit = k->sizelimit,
				   .lo_number = l->number,
				   .lo_flags = k->flags };
	memcpy(i->lo_file_name, k->name, sizeof(i->lo_file_name));
	return 0;
}

static long set_status(struct loop *l, const struct loop_info64 *i)
{
	struct loop_backing *k = l->backing;
	u32 settable = LOOP_SET_STATUS_SETTABLE_FLAGS, clearable = LOOP_SET_STATUS_CLEARABLE_FLAGS;
	bool scan = i->lo_flags & LO_FLAGS_PARTSCAN && !(k->flags & LO_FLAGS_PARTSCAN);
	int err = check_info(i, ~0U);

	if (err)
		return err;
	if (k->offset != i->lo_offset || k->sizelimit != i->lo_sizelimit) {
		err = block_flush_cache(&l->block);
		if (err)
			return err;
		k->offset = i->lo_offset;
		k->sizelimit = i->lo_sizelimit;
		if (k->flags & LO_FLAGS_DIRECT_IO && !can_direct(k, l->block.limits.logical_block))
			k->flags &= ~LO_FLAGS_DIRECT_IO;
		block_set_sectors(&l->block, file_sectors(k));
	}
	memcpy(k->name, i->lo_file_name, LO_NAME_SIZE - 1);
	k->flags = (k->flags & ~clearable) | (i->lo_flags & settable) | (k->flags & LO_FLAGS_PARTSCAN);
	return scan ? block_rescan(&l->block) : 0;
}

/* The older structure: narrower, and without a limit. */
static long get_old_status(const struct loop *l, void __user *to)
{
	struct loop_info old = { 0 };
	struct loop_info64 i;
	long err = get_status(l, &i);

	if (err)
		return err;
	if (i.lo_offset >> 31)
		return -EOVERFLOW;
	old.lo_number = (int)i.lo_number;
	old.lo_device = i.lo_device;
	old.lo_inode = i.lo_inode;
	old.lo_rdevice = i.lo_rdevice;
	old.lo_offset = (int)i.lo_offset;
	old.lo_flags = (int)i.lo_flags;
	memcpy(old.lo_name, i.lo_file_name, sizeof(old.lo_name));
	return user_put(to, &old, sizeof(old));
}

static long set_old_status(struct loop *l, const void __user *from)
{
	struct loop_info64 i = { 0 };
	struct loop_info old;

	if (user_get(&old, from, sizeof(old)))
		return -EFAULT;
	i.lo_offset = (u64)(s64)old.lo_offset;
	i.lo_encrypt_type = (u32)old.lo_encrypt_type;
	i.lo_encrypt_key_size = (u32)old.lo_encrypt_key_size;
	i.lo_flags = (u32)old.lo_flags;
	memcpy(i.lo_file_name, old.lo_name, sizeof(old.lo_name));
	return set_status(l, &i);
}

static long set_direct(struct loop *l, bool on)
{
	struct loop_backing *k = l->backing;

	if (on && !can_direct(k, l->block.limits.logical_block))
		return fail(EINVAL, "%s: the file has no direct I/O for such blocks", l->block.name);
	k->flags = on ? k->flags | LO_FLAGS_DIRECT_IO : k->flags & ~LO_FLAGS_DIRECT_IO;
	return 0;
}

static long set_block_size(struct loop *l, u32 n)
{
	int err;

	if (!is_block_size(n))
		return -EINVAL;
	err = block_flush_cache(&l->block);
	if (!err)
		set_limits(l, n);
	return err;
}

static long ioctl_bound(struct loop *l, unsigned cmd, ulong arg)
{
	struct loop_info64 i;
	long err;

	switch (cmd) {
	case LOOP_CLR_FD: return clear(l);
	case LOOP_GET_STATUS64: err = get_status(l, &i); return err ? err : user_put((void __user *)arg, &i, sizeof(i));
	case LOOP_GET_STATUS: return get_old_status(l, (void __user *)arg);
	case LOOP_SET_STATUS: return set_old_status(l, (const void __user *)arg);
	case LOOP_SET_STATUS64: return user_get(&i, (const void __user *)arg, sizeof(i)) ? -EFAULT : set_status(l, &i);
	case LOOP_SET_CAPACITY: block_set_sectors(&l->block, file_sectors(l->backing)); return 0;
	case LOOP_SET_DIRECT_IO: return set_direct(l, arg != 0);
	case LOOP_SET_BLOCK_SIZE: return set_block_size(l, (u32)min(arg, 1UL << 20));
	}
	return -ENOTTY;
}

static long ioctl_locked(struct loop *l, unsigned cmd, ulong arg)
{
	struct loop_config c = { 0 };

	if (cmd == LOOP_SET_FD) {
		c.fd = (u32)arg;
		return configure(l, &c);
	}
	if (cmd == LOOP_CONFIGURE)
		return user_get(&c, (const void __user *)arg, sizeof(c)) ? -EFAULT : configure(l, &c);
	return l->backing ? ioctl_bound(l, cmd, arg) : -ENXIO;
}

long loop_ioctl(struct block_dev *d, unsigned cmd, ulong arg)
{
	struct loop *l = loop_of(d->whole);
	long err;

	if (cmd < LOOP_SET_FD || cmd > LOOP_CONFIGURE || d != d->whole)
		return -ENOTTY;
	if (cmd != LOOP_GET_STATUS64 && cmd != LOOP_GET_STATUS && !capable(CAP_SYS_ADMIN))
		return -EPERM;
	mutex_lock(&l->lock);
	err = ioctl_locked(l, cmd, arg);
	mutex_unlock(&l->lock);
	return err;
}
