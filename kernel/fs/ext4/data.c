/* SPDX-License-Identifier: MIT
 *
 * Problem: the bytes of files live in the page cache; the core knows only which block of a file lies where.
 *
 * Idea: a page is filled by asking the core for runs (ext4_map) and reading each run's part straight into the page;
 * the pages behind it that lie in the same run come along in the same transfer (block/readahead.c), so that a
 * sequential reader waits once for many pages. Holes, unwritten runs and what lies beyond the end are zeros.
 *
 * Contract: cache_ops of vfs/cache.h, file_ops of vfs.h.
 *
 * Locks: super->lock around each question to the core, never while data move.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/fcntl.h>
#include <linux/fiemap.h>
#include <task/task.h>
#include <vfs/uapi.h>
#include "glue.h"

static struct waitq written = WAITQ_INIT(written);

void ext4_node_write_end(struct node *n)
{
	atomic_dec(&n->writes);
	waitq_wake_all(&written);
}

void ext4_wait_writes(struct node *n)
{
	wait_event(&written, !atomic_read(&n->writes));
}

/* ---- reading ------------------------------------------------------------------------------------------------------
 */

static int map(struct inode *i, u32 lblock, struct ext4_extent *e)
{
	struct ext4_super *s = ext4_super_of(i->super);
	int err;

	ext4_lock(s);
	err = ext4_map(s->fs, &node_of(i)->in, lblock, e);
	ext4_note(s->fs, err);
	ext4_unlock(s);
	return err;
}

bool ext4_has_data(const struct ext4_extent *e)
{
	return e->physical && !e->unwritten;
}

static int read_blocks(struct ext4_super *s, const struct ext4_extent *e, void *to, u32 bytes)
{
	u64 sector = e->physical * (s->block_bytes >> SECTOR_SHIFT);

	return block_rw(s->dev, BLOCK_READ, sector, to, bytes, 0);
}

/* A page run by run: files of small blocks, and pages at holes. */
static int fill_by_parts(struct page_cache *c, struct page *p)
{
	struct ext4_super *s = ext4_super_of(c->host->super);
	u8 *to = page_virt(p);
	u32 done = 0;

	while (done < PAGE_SIZE) {
		struct ext4_extent e;
		u64 lblock = ((u64)p->index * PAGE_SIZE + done) / s->block_bytes;
		u32 bytes;
		int err = map(c->host, lblock, &e);

		if (err)
			return err;
		bytes = min((u64)e.count * s->block_bytes, PAGE_SIZE - done);
		if (ext4_has_data(&e))
			err = read_blocks(s, &e, to + done, bytes);
		else
			memset(to + done, 0, bytes);
		if (err)
			return err;
		done += bytes;
	}
	return 0;
}

static int fill_inline(struct page_cache *c, struct page *p)
{
	struct ext4_super *s = ext4_super_of(c->host->super);
	u8 *to = page_virt(p);
	ssize_t n;

	ext4_lock(s);
	n = ext4_read(s->fs, &node_of(c->host)->in, (u64)p->index * PAGE_SIZE, to, PAGE_SIZE);
	ext4_unlock(s);
	if (n < 0)
		return n;
	memset(to + n, 0, PAGE_SIZE - n);
	return 0;
}

static void zero_beyond(struct page *p, u64 size)
{
	u64 at = (u64)p->index * PAGE_SIZE;

	if (at + PAGE_SIZE > size)
		memset((u8 *)page_virt(p) + (size > at ? size - at : 0), 0,
		       size > at ? at + PAGE_SIZE - size : PAGE_SIZE);
}

/* The page and those behind it, all in the run e. */
static int fill_run(struct page_cache *c, struct page *p, unsigned want, const struct ext4_extent *e)
{
	struct ext4_super *s = ext4_super_of(c->host->super);
	u64 size = READ_ONCE(c->host->size), end = DIV_ROUND_UP(size, PAGE_SIZE);
	u64 there = min((u64)e->count * s->block_bytes / PAGE_SIZE, end > p->index ? end - p->index : 1);
	unsigned n = block_fill_window(c, s->dev, p->index, want, there);

	return block_fill_run(c, p, s->dev, e->physical * (s->block_bytes >> SECTOR_SHIFT), n, size);
}

static int fill(struct page_cache *c, struct page *p, unsigned want)
{
	struct ext4_super *s = ext4_super_of(c->host->super);
	struct ext4_extent e;
	int err;

	if (node_of(c->host)->in.flags & EXT4_INODE_INLINE) {
		err = fill_inline(c, p);
	} else {
		err = map(c->host, (u64)p->index * PAGE_SIZE / s->block_bytes, &e);
		if (!err && ext4_has_data(&e) && (u64)e.count * s->block_bytes >= PAGE_SIZE)
			err = fill_run(c, p, want, &e);
		else if (!err)
			err = fill_by_parts(c, p);
	}
	if (!err)
		zero_beyond(p, READ_ONCE(c->host->size));
	return err;
}

const struct cache_ops ext4_cache_ops = {
	.fill = fill,
	.reserve = ext4_cache_reserve,
	.write = ext4_cache_write,
	.sync = ext4_cache_sync,
};

/* ---- where they lie -------------------------------------------------------------------------------------------------
 */

int ext4_file_extent(struct inode *i, u64 at, struct file_extent *out)
{
	u64 bytes = ext4_super_of(i->super)->block_bytes, lblock = at / bytes;
	struct ext4_extent e = { 0 };
	int err = 0;

	*out = (struct file_extent){ .at = lblock * bytes, .bytes = ~0ULL, .is_hole = true };
	if (node_of(i)->in.flags & EXT4_INODE_INLINE) {
		*out = (struct file_extent){ .bytes = (u64)READ_ONCE(i->size),
					     .is_hole = at >= (u64)READ_ONCE(i->size),
					     .flags = FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_NOT_ALIGNED };
	} else if (lblock < UINT32_MAX) {
		err = map(i, (u32)lblock, &e);
		out->bytes = e.count * bytes;
		out->is_hole = !e.physical;
		out->device = e.physical * bytes;
		out->flags = e.unwritten ? FIEMAP_EXTENT_UNWRITTEN : 0;
	}
	return err;
}

/* ---- directories ---------------------------------------------------------------------------------------------------
 */

static int emit(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 next)
{
	struct dir_emit *d = ctx;

	return !d->emit(d, name, len, next, ino, type);
}

/* emit only fills a buffer of the kernel's, so the lock may be held. */
static int readdir(struct file *f, struct dir_emit *d)
{
	struct ext4_super *s = ext4_super_of(f->inode->super);
	u64 pos = d->pos;
	int err;

	ext4_lock(s);
	err = ext4_readdir(s->fs, &node_of(f->inode)->in, &pos, emit, d);
	ext4_note(s->fs, min(err, 0));
	ext4_unlock(s);
	return min(err, 0);
}

const struct file_ops ext4_file_ops = {
	.read = ext4_file_read,
	.write = ext4_file_write,
	.direct_block = ext4_direct_block,
	.llseek = ext4_llseek,
	.mmap = cache_mmap,
	.fsync = ext4_fsync,
	.fallocate = ext4_fallocate,
	.ioctl = ext4_ioctl,
};
const struct file_ops ext4_dir_ops = { .readdir = readdir, .fsync = ext4_fsync, .ioctl = ext4_ioctl };
