/* SPDX-License-Identifier: MIT
 *
 * Problem: a disk is also a file, /dev/vda: read, written, mapped, sought, asked for its size, and taken exclusively by
 * mounts and by programs that must be alone.
 *
 * Idea: every open of one device shares one inode, whose page cache is the device's; a read fills pages from the disk.
 * With O_DIRECT the cache is written back and forgotten for the range, and the transfer goes straight to the program's
 * memory.
 *
 * Contract: block_file_ops of vfs/device.h; ioctls are ioctl.c's. O_EXCL on a device without O_CREAT takes it
 * alone (EBUSY).
 *
 * Locks: holder and openers under block_list_lock; contents as vfs/cache.h says.
 */
#include <arch/user.h>
#include <block/block.h>
#include <core/log.h>
#include <lib/string.h>
#include <lib/err.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/stat.h>
#include <mm/mm.h>
#include <task/task.h>
#include <vfs/device.h>
#include <vfs/writeback.h>

#include "block_priv.h"

struct block_dev *block_dev_of(const struct file *f)
{
	return f->priv;
}

int block_claim(struct block_dev *d, void *holder)
{
	int err = 0;

	spin_lock(&block_list_lock);
	if (d->holder)
		err = -EBUSY;
	else
		d->holder = holder;
	spin_unlock(&block_list_lock);
	return err;
}

static void unclaim(struct block_dev *d, void *holder)
{
	spin_lock(&block_list_lock);
	if (d->holder == holder)
		d->holder = NULL;
	spin_unlock(&block_list_lock);
}

void block_release(struct block_dev *d, void *holder)
{
	unclaim(d, holder);
	if (d->whole->driver->release)
		d->whole->driver->release(d);
}

#define MAX_PROBERS 8
static struct {
	unsigned major;
	void (*probe)(u32 rdev);
} probers[MAX_PROBERS];
static unsigned nr_probers;

void block_probe_register(unsigned major, void (*probe)(u32 rdev))
{
	ensure(nr_probers < MAX_PROBERS);
	probers[nr_probers].major = major;
	probers[nr_probers++].probe = probe;
}

static struct block_dev *find_or_make(u32 rdev)
{
	struct block_dev *d = block_find(rdev);

	for (unsigned i = 0; !d && i < nr_probers; i++)
		if (DEV_MAJOR(rdev) == probers[i].major) {
			probers[i].probe(rdev);
			return block_find(rdev);
		}
	return d;
}

static int open_claimed(struct block_dev *d, struct file *f)
{
	int err = d->dead ? -ENXIO : 0;

	if (!err && f->flags & O_EXCL)
		err = block_claim(d, f);
	if (err)
		return err;
	atomic_inc(&d->openers);
	if (d->whole->driver->open)
		err = d->whole->driver->open(d);
	if (err) {
		atomic_dec(&d->openers);
		unclaim(d, f);
	}
	return err;
}

static int open(struct inode *i, struct file *f)
{
	struct block_dev *d = find_or_make(i->rdev);
	int err;

	if (!d)
		return -ENXIO;
	err = open_claimed(d, f);
	if (err) {
		block_put(d);
		return err;
	}
	f->priv = d;
	f->wb_err = cache_error_sample(d->cache_file->inode->cache);
	f->mode |= FMODE_SEEK;
	return 0;
}

static void release(struct file *f)
{
	struct block_dev *d = block_dev_of(f);

	unclaim(d, f);
	if (!atomic_sub_return(&d->openers, 1) && d->cache_file->inode->cache->nr_dirty &&
	    cache_sync_file(d->cache_file, 0, ~0ULL >> PAGE_SHIFT)) /* the last one leaves nothing behind */
		log_warn("%s: not all that was written could be stored", d->name);
	if (d->whole->driver->release)
		d->whole->driver->release(d);
	block_put(d);
}

/* What is left between the position and the end; a transfer is cut there. */
static u64 room(const struct io *io)
{
	u64 end = block_dev_of(io->file)->sectors << SECTOR_SHIFT;

	return (u64)io->pos < end ? end - io->pos : 0;
}

static bool is_direct(const struct io *io)
{
	return io->flags & IO_DIRECT || io->file->flags & O_DIRECT;
}

static ssize_t buffered(struct io *io, u64 limit, ssize_t (*rw)(struct io *))
{
	struct io inner = *io;
	u64 beyond = inner.iter.count > limit ? inner.iter.count - limit : 0;
	ssize_t n;

	inner.file = block_dev_of(io->file)->cache_file;
	inner.iter.count -= beyond;
	n = rw(&inner);
	if (n > 0) {
		iter_advance(&io->iter, n);
		io->pos += n;
	}
	return n;
}

/* While the cache holds pages, the transfer is waited for, so that a write can also forget what a buffered reader
 * brought in meanwhile. */
static ssize_t direct_beside_cache(struct block_dev *d, struct io *io, enum block_op op)
{
	struct page_cache *c = d->cache_file->inode->cache;
	u64 start = io->pos, bytes = io->iter.count;
	void (*done)(struct io *, ssize_t) = io->done;
	ssize_t n = cache_step_aside(c, start, bytes, op == BLOCK_WRITE, io->flags & IO_NOWAIT);

	if (n)
		return n;
	if (!c->nr_pages)
		return block_direct_rw(d, io, op);
	io->done = NULL;
	n = block_direct_rw(d, io, op);
	io->done = done;
	if (op == BLOCK_WRITE)
		cache_forget(c, start, bytes);
	return n;
}

static ssize_t direct(struct block_dev *d, struct io *io, enum block_op op)
{
	if (d->cache_file->inode->cache->nr_pages && io->iter.count)
		return direct_beside_cache(d, io, op);
	return block_direct_rw(d, io, op);
}

static ssize_t read(struct io *io)
{
	struct block_dev *d = block_dev_of(io->file);

	if (!is_direct(io))
		return buffered(io, room(io), cache_read);
	return direct(d, io, BLOCK_READ);
}

static ssize_t write(struct io *io)
{
	struct block_dev *d = block_dev_of(io->file);

	if (block_is_read_only(d))
		return -EPERM;
	if (!room(io) && io->iter.count)
		return -ENOSPC;
	if (!is_direct(io))
		return buffered(io, room(io), cache_write);
	return direct(d, io, BLOCK_WRITE);
}

static s64 llseek(struct file *f, s64 off, int whence)
{
	s64 end = block_dev_of(f)->sectors << SECTOR_SHIFT;

	switch (whence) {
	case SEEK_SET: break;
	case SEEK_CUR: off += f->pos; break;
	case SEEK_END: off += end; break;
	default: return -EINVAL;
	}
	if (off < 0 || off > end)
		return -EINVAL;
	f->pos = off;
	return off;
}

static int fsync(struct file *f, s64 start, s64 end, bool data_only)
{
	struct block_dev *d = block_dev_of(f);
	int err = cache_sync_for(d->cache_file->inode->cache, f, (u64)start / PAGE_SIZE, (u64)end / PAGE_SIZE);
	int flush_err = block_flush(d);

	return err ? err : flush_err;
}

static int mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	return cache_mmap(block_dev_of(f)->cache_file, prot, map_flags, index, bytes, out);
}

int block_flush_cache(struct block_dev *d)
{
	struct page_cache *c = d->cache_file->inode->cache;
	int err = cache_sync_file(d->cache_file, 0, ~0ULL >> PAGE_SHIFT);

	cache_remove(c, 0, ~0ULL);
	return err;
}

static u32 direct_block(const struct file *f)
{
	return block_dev_of(f)->whole->limits.logical_block;
}

static struct page_cache *page_cache(struct file *f);

static const struct file_ops ops = {
	.open = open,
	.release = release,
	.read = read,
	.write = write,
	.llseek = llseek,
	.mmap = mmap,
	.ioctl = block_ioctl,
	.fsync = fsync,
	.fallocate = block_fallocate,
	.direct_block = direct_block,
	.page_cache = page_cache,
};

/* ---- the device's page cache ------------------------------------------------------------------------ */

static struct block_dev *dev_of_cache(struct page_cache *c)
{
	return container_of(c->wb, struct block_dev, writeback);
}

/* What lies behind the end of the disk in its last page is zeros. */
static u32 bytes_on_disk(const struct block_dev *d, u64 index)
{
	u64 at = index << (PAGE_SHIFT - SECTOR_SHIFT);

	return at >= d->sectors ? 0 : min((d->sectors - at) << SECTOR_SHIFT, PAGE_SIZE);
}

static int fill(struct page_cache *c, struct page *p, unsigned want)
{
	struct block_dev *d = dev_of_cache(c);
	u64 sector = (u64)p->index << (PAGE_SHIFT - SECTOR_SHIFT);
	u32 bytes = bytes_on_disk(d, p->index);

	if (bytes == PAGE_SIZE) {
		u64 there = (d->sectors - sector) >> (PAGE_SHIFT - SECTOR_SHIFT);

		return block_fill_run(c, p, d, sector, block_fill_window(c, d, p->index, want, there), ~0ULL);
	}
	memset(page_virt(p) + bytes, 0, PAGE_SIZE - bytes);
	return bytes ? block_rw(d, BLOCK_READ, sector, page_virt(p), bytes, 0) : 0;
}

static struct page_cache *page_cache(struct file *f)
{
	return block_dev_of(f)->cache_file->inode->cache;
}

struct run { /* pages of one write in flight */
	struct bio bio;
	struct page_cache *cache;
	struct bio_vec vecs[];
};

static void run_done(struct bio *b)
{
	struct run *r = container_of(b, struct run, bio);

	for (unsigned i = 0; i < b->nr_vecs; i++)
		cache_write_done(r->cache, r->vecs[i].page, b->status);
	kfree(r);
}

static int write_run(struct page_cache *c, u64 index, struct page **pages, unsigned n, unsigned flags)
{
	struct block_dev *d = dev_of_cache(c);
	struct run *r = kmalloc(sizeof(*r) + n * sizeof(r->vecs[0]), ALLOC_ATOMIC);
	u64 left = (d->sectors << SECTOR_SHIFT) - (index << PAGE_SHIFT);

	if (!r) {
		for (unsigned i = 0; i < n; i++)
			cache_write_done(c, pages[i], -ENOMEM);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < n; i++) {
		r->vecs[i] = (struct bio_vec){ pages[i], 0, min(left, PAGE_SIZE) };
		left -= r->vecs[i].bytes;
	}
	r->cache = c;
	bio_init(&r->bio, d, BLOCK_WRITE, index << (PAGE_SHIFT - SECTOR_SHIFT), r->vecs, n);
	r->bio.flags = flags & WRITE_SYNC ? BIO_SYNC : flags & WRITE_BACKGROUND ? BIO_BACKGROUND : 0;
	r->bio.done = run_done;
	block_submit(&r->bio);
	return 0;
}

static const struct cache_ops cache_ops = { .fill = fill, .write = write_run };

static void note_throttled(struct writeback *wb)
{
	block_dirty_wait(container_of(wb, struct block_dev, writeback));
}

static u64 budget(struct writeback *wb)
{
	return block_dirty_budget(container_of(wb, struct block_dev, writeback));
}

int block_node_add(struct block_dev *d)
{
	static const struct file_ops none;
	struct inode *i;
	int err = file_anon("block", &none, d, O_RDWR, &d->cache_file);

	if (err)
		return err;
	i = d->cache_file->inode;
	i->size = d->sectors << SECTOR_SHIFT;
	err = cache_create(i, &cache_ops);
	if (err)
		return err;
	d->writeback.throttled = note_throttled;
	d->writeback.budget = budget;
	i->cache->wb = &d->writeback;
	err = writeback_start(&d->writeback, d->name);
	return err ? err : devnode_add(d->name, S_IFBLK | 0600, d->rdev);
}

void block_node_remove(struct block_dev *d)
{
	devnode_remove(d->name);
	if (d->writeback.flusher)
		writeback_stop(&d->writeback);
}

bool block_file_free(struct block_dev *d)
{
	struct inode *i = d->cache_file ? d->cache_file->inode : NULL;

	if (i && atomic_read(&i->refs.n) > 1) /* besides its name: mappings of programs */
		return false;
	if (i) {
		cache_remove(i->cache, 0, ~0ULL);
		file_put(d->cache_file);
	}
	return true;
}

void block_set_sectors(struct block_dev *d, u64 sectors)
{
	struct inode *i = d->cache_file->inode;

	d->sectors = sectors;
	i->size = sectors << SECTOR_SHIFT;
	cache_remove(i->cache, 0, ~0ULL);
}

void block_grow(struct block_dev *d, u64 sectors)
{
	d->sectors = sectors;
	d->cache_file->inode->size = sectors << SECTOR_SHIFT;
}

void block_file_init(void)
{
	block_file_ops = &ops;
}
