/* SPDX-License-Identifier: MIT
 *
 * Problem: databases open their files with O_DIRECT and start many transfers at once: the bytes are to go between their
 * memory and the disk with no copy and no page cache, while others may read, write, map and truncate the same file.
 *
 * Idea: the block layer pins the program's pages and asks for each piece where it lies; a write gets its blocks there,
 * as a flusher's does, and is counted the same way (super->writes, node->writes): a commit that makes blocks a file's
 * waits for what is in them, a truncation waits until nobody transfers. What is dirty in the page cache is written
 * before, and a write leaves no page of the range behind. The size grows when the bytes are there.
 *
 *      within the file, nothing cached, no O_DSYNC: shared lock, goes on by itself (io->done)
 *      beyond the end, O_APPEND, set-id bits:       the lock alone, waited for
 *      inline, or not whole blocks of the file system: through the page cache, and written at once
 *
 * Contract: file_ops of vfs.h. RWF_NOWAIT gives EAGAIN where a lock is taken, blocks are missing or pages are dirty.
 *
 * Locks: the inode's (shared for reading it), then super->lock for each question.
 */
#include <core/log.h>
#include <lib/err.h>
#include <task/task.h>
#include <vfs/uapi.h>
#include "glue.h"

static struct ext4_super *of(const struct inode *i)
{
	return ext4_super_of(i->super);
}

/* ---- where a piece lies: struct direct_ops ----------------------------------------------------------------------- */

static int place_of_write(struct ext4_super *s, struct io *io, u32 lblock, u64 bytes, struct ext4_extent *e)
{
	struct inode *i = io->file->inode;
	struct ext4_inode *in = &node_of(i)->in;
	u64 count = bytes / s->block_bytes;
	int err = ext4_map(s->fs, in, lblock, e);

	if (err || !(io->flags & IO_NOWAIT || !e->physical))
		return err ? err : ext4_map_write(s->fs, in, lblock, count, io->pos + bytes, e);
	if (io->flags & IO_NOWAIT)
		return ext4_has_data(e) && io->pos + bytes <= in->size ? 0 : -EAGAIN;
	if (!ext4_has_room(s, min(count, (u64)e->count)))
		return -ENOSPC;
	return ext4_map_write(s->fs, in, lblock, min(count, (u64)e->count), io->pos + bytes, e);
}

/* -ENOSPC: the room may be kept for dirty pages that need less, once they are written. */
static int map_once(struct io *io, u64 bytes, enum block_op op, struct block_run *out)
{
	struct inode *i = io->file->inode;
	struct ext4_super *s = of(i);
	struct node *n = node_of(i);
	u32 lblock = io->pos / s->block_bytes, within = io->pos % s->block_bytes;
	struct ext4_extent e = { 0 };
	int err = ext4_lock_for(s, io->flags & IO_NOWAIT);

	if (err)
		return err;
	if (op == BLOCK_READ) {
		err = ext4_map(s->fs, &n->in, lblock, &e);
		out->is_hole = !ext4_has_data(&e);
	} else {
		err = place_of_write(s, io, lblock, bytes, &e);
		i->blocks = n->in.sectors;
	}
	out->bytes = min((u64)e.count * s->block_bytes - within, bytes);
	out->sector = (e.physical * s->block_bytes + within) >> SECTOR_SHIFT;
	if (!err && !out->is_hole) {
		atomic_inc(&n->writes);
		if (op == BLOCK_WRITE)
			ext4_write_begin(s);
	}
	ext4_note(s->fs, err);
	ext4_unlock(s);
	return err;
}

static int map(struct io *io, u64 bytes, enum block_op op, struct block_run *out)
{
	int err = map_once(io, bytes, op, out);

	if (err == -ENOSPC) {
		writeback_sync(&of(io->file->inode)->writeback, true);
		err = map_once(io, bytes, op, out);
	}
	return err;
}

static void end(struct io *io, enum block_op op)
{
	struct inode *i = io->file->inode;

	if (op == BLOCK_WRITE)
		ext4_write_end(of(i));
	ext4_node_write_end(node_of(i));
}

static const struct direct_ops ops = { .map = map, .end = end };

/* With io->done NULL for the time: the result comes now. */
static ssize_t move_now(struct io *io, enum block_op op)
{
	void (*done)(struct io *, ssize_t) = io->done;
	ssize_t n;

	io->done = NULL;
	n = block_direct_file(of(io->file->inode)->dev, &ops, io, op);
	io->done = done;
	return n;
}

u32 ext4_direct_block(const struct file *f)
{
	return of(f->inode)->dev->whole->limits.logical_block;
}

static int lock_shared(struct inode *i, const struct io *io)
{
	if (!(io->flags & IO_NOWAIT))
		read_lock(&i->lock);
	else if (!read_trylock(&i->lock))
		return -EAGAIN;
	return 0;
}

/* ---- reading -------------------------------------------------------------------------------------------------------
 */

/* Whole blocks of the device come, also where the file ends within one; only its own bytes count. */
static ssize_t read_direct(struct inode *i, struct io *io)
{
	u64 start = io->pos, left = READ_ONCE(i->size) - start, count = io->iter.count;
	ssize_t n = cache_step_aside(i->cache, start, min(count, left), false, io->flags & IO_NOWAIT);

	if (n)
		return n;
	if (count <= left)
		return block_direct_file(of(i)->dev, &ops, io, BLOCK_READ);
	io->iter.count = min(count, ALIGN_UP(left, (u64)of(i)->dev->whole->limits.logical_block));
	count -= io->iter.count;
	n = move_now(io, BLOCK_READ);
	if (n > 0 && (u64)n > left) {
		iter_revert(&io->iter, n - left);
		n = left;
	}
	if (n > 0)
		io->pos = start + n;
	io->iter.count += count;
	return n;
}

ssize_t ext4_file_read(struct io *io)
{
	struct inode *i = io->file->inode;
	ssize_t n;

	if (!(io->flags & IO_DIRECT) || node_of(i)->in.flags & EXT4_INODE_INLINE)
		return cache_read(io);
	if (!io->iter.count || io->pos >= READ_ONCE(i->size))
		return 0;
	if (!block_direct_aligned(of(i)->dev, io))
		return fail(EINVAL, "ext4: direct transfer not aligned");
	n = lock_shared(i, io);
	if (n)
		return n;
	path_accessed(&io->file->path);
	inode_get(i); /* once it goes on by itself, io and its file may be gone at any time */
	n = io->pos < i->size ? read_direct(i, io) : 0;
	read_unlock(&i->lock);
	inode_put(i);
	return n;
}

/* ---- writing -------------------------------------------------------------------------------------------------------
 */

static bool is_whole_blocks(const struct inode *i, const struct io *io)
{
	u32 block = of(i)->block_bytes;

	return !(node_of(i)->in.flags & EXT4_INODE_INLINE) && !(io->pos % block) && !(io->iter.count % block);
}

/* Through the page cache, but on the disk when it returns. */
static ssize_t write_buffered(struct inode *i, struct io *io)
{
	ssize_t n = cache_write(io);

	if (n > 0 && cache_sync_file(io->file, (io->pos - n) / PAGE_SIZE, (io->pos - 1) / PAGE_SIZE))
		return -EIO;
	return n;
}

/* Within the file; the lock is shared. 0: not so, after all. */
static ssize_t overwrite(struct inode *i, struct io *io)
{
	u64 start = io->pos, bytes = io->iter.count;
	ssize_t n;

	if (start + bytes > (u64)i->size || i->mode & (S_ISUID | S_ISGID))
		return 0;
	n = cache_write_begin(io, false);
	if (!n)
		n = cache_step_aside(i->cache, start, bytes, true, io->flags & IO_NOWAIT);
	if (n || !is_whole_blocks(i, io)) /* RLIMIT_FSIZE may have cut it */
		return n;
	cache_write_end(i);
	if (io->done && !i->cache->nr_pages && !(io->flags & (IO_DSYNC | IO_SYNC)))
		return block_direct_file(of(i)->dev, &ops, io, BLOCK_WRITE);
	n = move_now(io, BLOCK_WRITE);
	cache_forget(i->cache, start, bytes);
	return n;
}

/* The lock is ours alone. Blocks behind the end that a failure left without contents go again. */
static ssize_t extend(struct inode *i, struct io *io)
{
	ssize_t n = cache_write_begin(io, io->flags & IO_APPEND);
	u64 start = io->pos, bytes = io->iter.count;

	if (!n)
		n = cache_step_aside(i->cache, start, bytes, true, false);
	if (n || !is_whole_blocks(i, io))
		return n;
	n = move_now(io, BLOCK_WRITE);
	cache_forget(i->cache, start, bytes);
	if (n > 0) {
		WRITE_ONCE(i->size, max(i->size, (s64)(start + n)));
		cache_write_end(i);
	}
	if (n != (ssize_t)bytes && start + bytes > (u64)i->size)
		(void)!ext4_set_size(i, i->size);
	return n;
}

ssize_t ext4_file_write(struct io *io)
{
	struct inode *i = io->file->inode;
	ssize_t n = 0;

	if (!(io->flags & IO_DIRECT))
		return io->flags & IO_NOWAIT ? -EOPNOTSUPP : cache_write(io); /* as Linux: it would have to wait */
	if (!io->iter.count)
		return 0;
	if (!block_direct_aligned(of(i)->dev, io))
		return fail(EINVAL, "ext4: direct transfer not aligned");
	if (!(io->flags & IO_APPEND) && is_whole_blocks(i, io)) {
		n = lock_shared(i, io);
		if (n)
			return n;
		inode_get(i);
		n = overwrite(i, io);
		read_unlock(&i->lock);
		inode_put(i);
	}
	if (n)
		return n;
	if (io->flags & IO_NOWAIT)
		return -EAGAIN;
	write_lock(&i->lock);
	n = extend(i, io);
	write_unlock(&i->lock);
	return n ? n : write_buffered(i, io);
}
