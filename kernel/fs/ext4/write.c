/* SPDX-License-Identifier: MIT
 *
 * Problem: programs fill the page cache; blocks, sizes on the device and the journal must follow without a byte that
 * was reported safe being lost, and without old bytes of a block being seen.
 *
 * Idea: delayed allocation. A page that becomes dirty only asks whether there will be room. The flusher's write op
 * gives each run its blocks and sends it off while the core's lock still counts it (super->writes), so that the commit
 * which makes the blocks a file's waits for the data first. The size on the device grows with what is sent. fsync
 * sends all pages, waits, and commits if the inode's last change is not safe yet.
 *
 *      dirty page --flusher--> lock: ext4_map_write, count | bio --done--> page clean, counts down
 *
 * Contract: cache_ops of vfs/cache.h, file_ops of vfs.h. SEEK_DATA and SEEK_HOLE write what is dirty first.
 *
 * Locks: the inode's (or the mm's), then super->lock around each question to the core, never while data move.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/mount.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <task/task.h>
#include <vfs/uapi.h>
#include "glue.h"

#define RUN_PAGES   64
#define SPARE_PAGES 64 /* what trees and directories may still need */

static struct ext4_super *of(const struct inode *i)
{
	return ext4_super_of(i->super);
}

/* ---- room ----------------------------------------------------------------------------------------------------------
 */

/* Does a page have all its blocks? Under the lock. */
static int is_mapped(struct ext4_super *s, struct inode *i, u64 index, bool *yes)
{
	u32 per_page = PAGE_SIZE / s->block_bytes, done = 0;
	struct ext4_extent e = { 0 };
	int err = 0;

	while (done < per_page && !err) {
		err = ext4_map(s->fs, &node_of(i)->in, index * per_page + done, &e);
		if (!e.physical)
			break;
		done += e.count;
	}
	*yes = done >= per_page;
	ext4_note(s->fs, err);
	return err;
}

bool ext4_has_room(struct ext4_super *s, u64 blocks)
{
	u64 pages = atomic_read(&s->writeback.nr_dirty) + atomic_read(&s->writeback.nr_writeback) + SPARE_PAGES;

	return ext4_free_blocks(s->fs) > pages * (PAGE_SIZE / s->block_bytes) + blocks;
}

int ext4_cache_reserve(struct page_cache *c, u64 index)
{
	struct ext4_super *s = of(c->host);
	bool mapped = false;
	int err = 0;

	for (int try = 0; try < 2; try++) {
		ext4_lock(s);
		if (c->host->super->flags & MS_RDONLY)
			err = -EROFS;
		if (!err && node_of(c->host)->in.flags & EXT4_INODE_INLINE)
			err = ext4_leave_inline(s->fs, &node_of(c->host)->in);
		if (!err)
			err = is_mapped(s, c->host, index, &mapped);
		if (!err && !mapped && !ext4_has_room(s, 0))
			err = try ? ext4_free_blocks(s->fs) > SPARE_PAGES ? 0 : -ENOSPC : -EAGAIN;
		ext4_unlock(s);
		if (err != -EAGAIN)
			break;
		err = 0;
		writeback_sync(&s->writeback, true); /* then what was asked for twice counts no more */
	}
	return err;
}

/* ---- writing pages
 * ---------------------------------------------------------------------------------------------------- */

struct page_run { /* pages under way together */
	atomic_t parts;
	int error;
	struct page_cache *cache;
	unsigned n;
	struct page *pages[RUN_PAGES];
};

struct part { /* a run of blocks of it */
	struct bio bio;
	struct page_run *run;
	struct bio_vec vecs[RUN_PAGES];
};

static void part_done(struct page_run *r, int error)
{
	struct page_cache *c = r->cache;
	struct node *n = node_of(c->host);

	if (error)
		WRITE_ONCE(r->error, error);
	if (!atomic_dec_and_test(&r->parts))
		return;
	for (unsigned i = 0; i < r->n; i++)
		cache_write_done(c, r->pages[i], r->error);
	kfree(r);
	ext4_node_write_end(n);
}

static void bio_done(struct bio *b)
{
	struct part *p = container_of(b, struct part, bio);
	struct page_run *r = p->run;
	struct ext4_super *s = of(r->cache->host);
	int status = b->status;

	kfree(p);
	ext4_write_end(s);
	part_done(r, status);
}

/* Bytes [at, at + bytes) of the run go to e. ext4_write_begin was called. */
static void send(struct page_run *r, struct part *p, u64 at, u64 bytes, u64 physical, unsigned flags)
{
	struct ext4_super *s = of(r->cache->host);
	u64 base = (u64)r->pages[0]->index * PAGE_SIZE;
	unsigned n = 0;

	for (u64 done = 0; done < bytes; n++) {
		u32 within = (at + done) % PAGE_SIZE, len = min(bytes - done, (u64)PAGE_SIZE - within);

		p->vecs[n] = (struct bio_vec){ r->pages[(at + done - base) / PAGE_SIZE], within, len };
		done += len;
	}
	p->run = r;
	bio_init(&p->bio, s->dev, BLOCK_WRITE, physical * (s->block_bytes >> SECTOR_SHIFT), p->vecs, n);
	p->bio.flags = (flags & WRITE_SYNC ? BIO_SYNC : 0) | (flags & WRITE_BACKGROUND ? BIO_BACKGROUND : 0);
	p->bio.done = bio_done;
	atomic_inc(&r->parts);
	block_submit(&p->bio);
}

/* Gives blocks to what comes from `at` on. *bytes: how much; 0: the rest lies behind the end. */
static int give_blocks(struct page_run *r, u64 at, u64 end, u64 *bytes, u64 *physical)
{
	struct inode *i = r->cache->host;
	struct ext4_super *s = of(i);
	u64 size, count;
	struct ext4_extent e;
	int err = 0;

	ext4_lock(s);
	size = READ_ONCE(i->size);
	end = min(end, ALIGN_UP(size, (u64)s->block_bytes));
	*bytes = 0;
	if (at < end) {
		count = (end - at) / s->block_bytes;
		err = ext4_map_write(s->fs, &node_of(i)->in, at / s->block_bytes, count, min(size, end), &e);
		if (!err) {
			*bytes = (u64)e.count * s->block_bytes;
			*physical = e.physical;
			i->blocks = node_of(i)->in.sectors;
			ext4_write_begin(s);
		}
	}
	ext4_unlock(s);
	return err;
}

int ext4_cache_write(struct page_cache *c, u64 index, struct page **pages, unsigned n, unsigned flags)
{
	struct page_run *r = kzalloc(sizeof(*r), ALLOC_KERNEL);
	u64 at = index * PAGE_SIZE, end = at + (u64)n * PAGE_SIZE, bytes = 0, physical = 0;
	int err = r ? 0 : -ENOMEM;

	if (err) {
		for (unsigned i = 0; i < n; i++)
			cache_write_done(c, pages[i], err);
		return err;
	}
	r->cache = c;
	r->n = n;
	memcpy(r->pages, pages, n * sizeof(*pages));
	atomic_set(&r->parts, 1);
	atomic_inc(&node_of(c->host)->writes);
	while (at < end && !err) {
		struct part *p = kmalloc(sizeof(*p), ALLOC_KERNEL);

		err = p ? give_blocks(r, at, end, &bytes, &physical) : -ENOMEM;
		if (err || !bytes) {
			kfree(p);
			break;
		}
		send(r, p, at, bytes, physical, flags);
		at += bytes;
	}
	part_done(r, err);
	return err;
}

/* ---- making safe
 * ------------------------------------------------------------------------------------------------------- */

static int make_safe(struct inode *i, bool data_only)
{
	struct ext4_super *s = of(i);
	struct node *n = node_of(i);
	int err = data_only ? 0 : ext4_node_store(i);
	bool flush = false;

	if (i->super->flags & MS_RDONLY)
		return err;
	ext4_lock(s);
	if (!err && (n->in.tid == ext4_tid(s->fs) || ext4_error(s->fs)))
		err = ext4_sync(s->fs);
	else
		flush = true;
	ext4_unlock(s);
	return flush && !err ? ext4_flush(s) : err;
}

int ext4_fsync(struct file *f, s64 start, s64 end, bool data_only)
{
	struct inode *i = f->inode;
	int err = 0, safe;

	if (i->cache)
		err = cache_sync_file(f, start / PAGE_SIZE, end / PAGE_SIZE);
	safe = make_safe(i, data_only);
	return err ? err : safe;
}

int ext4_cache_sync(struct page_cache *c, u64 first, u64 last)
{
	s64 n = cache_write_range(c, first, last, ~0ULL, WRITE_SYNC);
	int err;

	cache_wait_range(c, first, last);
	err = make_safe(c->host, false);
	return n < 0 ? (int)n : err;
}

/* ---- size and holes
 * ------------------------------------------------------------------------------------------------------ */

/* The page at the new end, or at a hole's edge, must be there to be cleared in part, if there is something. */
static int load_edge(struct inode *i, u64 at)
{
	struct ext4_super *s = of(i);
	u64 index = at / PAGE_SIZE;
	bool mapped = false;
	struct page *p;
	int err = 0;

	if (at % PAGE_SIZE == 0 || (s64)at >= i->size)
		return 0;
	ext4_lock(s);
	if (node_of(i)->in.flags & EXT4_INODE_INLINE)
		err = ext4_leave_inline(s->fs, &node_of(i)->in);
	for (u32 b = 0; b < PAGE_SIZE / s->block_bytes && !err && !mapped; b++) {
		struct ext4_extent e;

		err = ext4_map(s->fs, &node_of(i)->in, index * (PAGE_SIZE / s->block_bytes) + b, &e);
		mapped = !err && ext4_has_data(&e);
	}
	ext4_unlock(s);
	if (err || !mapped)
		return err;
	err = cache_get(i->cache, index, &p);
	if (!err)
		page_put(p);
	return err;
}

int ext4_set_size(struct inode *i, s64 size)
{
	struct ext4_super *s = of(i);
	s64 old = i->size;
	int err = size < old ? load_edge(i, size) : 0;

	if (err)
		return err;
	if (size < old) { /* from here on nobody gives blocks to what lies behind */
		WRITE_ONCE(i->size, size);
		cache_remove(i->cache, size, ~0ULL);
		ext4_wait_writes(node_of(i));
	}
	ext4_lock(s);
	err = ext4_truncate(s->fs, &node_of(i)->in, size);
	i->blocks = node_of(i)->in.sectors;
	ext4_unlock(s);
	return err;
}

/* More than the file has and the file system can spare? Under the lock. */
static bool is_too_much(struct ext4_super *s, const struct ext4_inode *in, u64 bytes)
{
	u64 count = DIV_ROUND_UP(bytes, s->block_bytes), own = in->sectors / (s->block_bytes / 512);
	u64 waiting = atomic_read(&s->writeback.nr_dirty) * (PAGE_SIZE / s->block_bytes);

	return count > own && count + waiting > ext4_free_blocks(s->fs) + own;
}

/* What refuses a file refuses it before a byte has changed: tables of block numbers cannot say "unwritten". */
static int can_fallocate(struct inode *i, u64 bytes, bool only_hole)
{
	struct ext4_super *s = of(i);
	struct ext4_inode *in = &node_of(i)->in;
	int err = 0;

	ext4_lock(s);
	if (in->flags & EXT4_INODE_INLINE)
		err = ext4_leave_inline(s->fs, in);
	if (!err && !only_hole && !(in->flags & EXT4_INODE_EXTENTS))
		err = -EOPNOTSUPP;
	if (!err && !only_hole && is_too_much(s, in, bytes))
		err = -ENOSPC;
	ext4_unlock(s);
	return err;
}

/* A hole that reaches the end of the file takes the last block whole: its page may not be here to be cleared. */
static int punch(struct inode *i, u64 off, u64 end)
{
	struct ext4_super *s = of(i);
	u64 size = i->size;
	u32 from = DIV_ROUND_UP(off, s->block_bytes);
	int err;

	if (off >= size)
		return 0;
	if (end >= size)
		end = ALIGN_UP(size, PAGE_SIZE);
	err = load_edge(i, off);
	if (!err)
		err = load_edge(i, end);
	if (err)
		return err;
	cache_remove(i->cache, off, end);
	cache_wait_writing(i->cache); /* a flusher that has taken a page would give the hole blocks again */
	ext4_wait_writes(node_of(i));
	ext4_lock(s);
	if (end / s->block_bytes > from)
		err = ext4_punch(s->fs, &node_of(i)->in, from, end / s->block_bytes);
	i->blocks = node_of(i)->in.sectors;
	ext4_unlock(s);
	return err;
}

static int allocate(struct inode *i, u64 off, u64 end, bool keep_size)
{
	struct ext4_super *s = of(i);
	struct ext4_inode *in = &node_of(i)->in;
	u64 first = off / s->block_bytes, count = DIV_ROUND_UP(end, s->block_bytes) - first;
	int err;

	ext4_lock(s);
	err = ext4_allocate(s->fs, in, first, count, keep_size ? 0 : end);
	i->blocks = in->sectors;
	ext4_unlock(s);
	if (!err && !keep_size && (s64)end > i->size)
		WRITE_ONCE(i->size, end);
	return err;
}

int ext4_fallocate(struct file *f, int mode, s64 off, s64 len)
{
	struct inode *i = f->inode;
	bool keep = mode & FALLOC_FL_KEEP_SIZE;
	u64 end = off + len;
	int err;

	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if ((s64)end > i->super->max_bytes)
		return -EFBIG;
	write_lock(&i->lock);
	err = can_fallocate(i, len, mode & FALLOC_FL_PUNCH_HOLE);
	if (!err && mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		err = punch(i, off, end);
	if (!err && !(mode & FALLOC_FL_PUNCH_HOLE))
		err = allocate(i, off, end, keep);
	if (!err)
		inode_touch(i, ATTR_MTIME | ATTR_CTIME);
	write_unlock(&i->lock);
	return err;
}

/* ---- looking for data and holes
 * --------------------------------------------------------------------------------------------- */

static s64 seek(struct inode *i, u64 from, bool hole)
{
	struct ext4_super *s = of(i);
	u64 size = i->size;

	if (node_of(i)->in.flags & EXT4_INODE_INLINE)
		return hole ? size : from;
	while (from < size) {
		u32 lblock = from / s->block_bytes;
		struct ext4_extent e;
		int err = ext4_map(s->fs, &node_of(i)->in, lblock, &e);

		if (err)
			return err;
		if (ext4_has_data(&e) != hole)
			return from;
		from = ((u64)lblock + e.count) * s->block_bytes;
	}
	return hole ? (s64)size : -ENXIO;
}

s64 ext4_llseek(struct file *f, s64 off, int whence)
{
	struct inode *i = f->inode;
	s64 pos;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return file_llseek(f, off, whence);
	if (off < 0)
		return -ENXIO;
	write_lock(&i->lock);
	if (i->cache->nr_dirty)
		(void)!cache_write_range(i->cache, off / PAGE_SIZE, ~0ULL >> PAGE_SHIFT, ~0ULL, WRITE_SYNC);
	ext4_lock(of(i));
	pos = off >= i->size ? -ENXIO : seek(i, off, whence == SEEK_HOLE);
	ext4_unlock(of(i));
	write_unlock(&i->lock);
	if (pos >= 0)
		f->pos = pos;
	return pos;
}
