/* SPDX-License-Identifier: MIT
 *
 * Problem: the ext4 core reads and writes bytes through callbacks under one lock; the kernel has block devices, supers,
 * flushers and unmounts.
 *
 * Idea: a mount takes the disk for itself, empties its page cache, and gives the core callbacks: a read waits, a write
 * is copied and sent off at once, a flush waits for everything sent off (pages of files too, which is what makes the
 * journal's order "data first") and then flushes the device. So a transaction's blocks travel together although the
 * core writes them one by one. Data of files are counted apart: a read of metadata does not wait for them.
 *
 * Contract: super_ops of vfs.h; mount options as in mount(8): ro, rw, and those of ext4 that change nothing here.
 *
 * Locks: see glue.h. super->writes is atomic; its waiters sleep on one queue of all mounts, which outlives them.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <task/sched.h>
#include <task/task.h>
#include <vfs/uapi.h>
#include "glue.h"

static struct waitq written = WAITQ_INIT(written);

static void locked(struct ext4_super *s)
{
	struct timestamp now = time_now();

	s->was_memalloc = current->flags & TASK_F_MEMALLOC;
	current->flags |= TASK_F_MEMALLOC;
	if (s->fs)
		ext4_set_time(s->fs, (struct ext4_time){ now.sec, now.nsec });
}

void ext4_lock(struct ext4_super *s)
{
	mutex_lock(&s->lock);
	locked(s);
}

int ext4_lock_for(struct ext4_super *s, bool nowait)
{
	if (!nowait)
		mutex_lock(&s->lock);
	else if (!mutex_trylock(&s->lock))
		return -EAGAIN;
	locked(s);
	return 0;
}

/* errors=: what does not fit together stops all writing, or only what it concerns. A failed commit always does. */
static void look_for_errors(struct ext4_super *s)
{
	bool stop = ext4_error(s->fs) || s->on_error == ERRORS_READ_ONLY;

	if (!s->told)
		log_err("ext4: %s: %s (error %d)%s", s->dev->name,
			ext4_error(s->fs) ? "writing failed" : "the file system is damaged", -ext4_error(s->fs),
			stop ? ": read only from now on" : "");
	s->told = true;
	if (stop && !(s->super->flags & MS_RDONLY)) {
		ext4_stop(s->fs);
		s->super->flags |= MS_RDONLY;
	}
}

void ext4_unlock(struct ext4_super *s)
{
	if (unlikely(s->fs && (ext4_error(s->fs) || ext4_is_damaged(s->fs))))
		look_for_errors(s);
	if (!s->was_memalloc)
		current->flags &= ~TASK_F_MEMALLOC;
	mutex_unlock(&s->lock);
}

/* ---- the core's device -------------------------------------------------------------------------------------- */

void ext4_write_begin(struct ext4_super *s)
{
	atomic_inc(&s->writes);
}

/* A failed write of a file's data is its cache's to tell; the journal only waits for it. */
void ext4_write_end(struct ext4_super *s)
{
	atomic_dec(&s->writes);
	waitq_wake_all(&written);
}

static void meta_write_end(struct ext4_super *s, int error)
{
	if (error)
		WRITE_ONCE(s->write_error, error);
	atomic_dec(&s->meta_writes);
	waitq_wake_all(&written);
}

static int dev_read(void *ctx, u64 offset, void *buf, size_t n)
{
	struct ext4_super *s = ctx;
	u32 block = s->dev->whole->limits.logical_block;
	u64 start = ALIGN_DOWN(offset, block), end = ALIGN_UP(offset + n, block);
	u8 *bounce = NULL;
	int err;

	wait_event(&written, !atomic_read(&s->meta_writes)); /* it may be on its way */
	if (start != offset || end != offset + n) {
		bounce = kmalloc(end - start, ALLOC_KERNEL);
		if (!bounce)
			return -ENOMEM;
	}
	err = block_rw(s->dev, BLOCK_READ, start >> SECTOR_SHIFT, bounce ? bounce : buf, end - start, BIO_META);
	if (bounce && !err)
		memcpy(buf, bounce + (offset - start), n);
	kfree(bounce);
	return err;
}

struct block_write { /* a copy on its way */
	struct bio bio;
	struct bio_vec vec;
	struct ext4_super *super;
	unsigned order;
};

static void block_write_done(struct bio *b)
{
	struct block_write *w = container_of(b, struct block_write, bio);
	struct ext4_super *s = w->super;
	int status = b->status;

	page_put(w->vec.page);
	kfree(w);
	meta_write_end(s, status);
}

/* -ENOMEM: nothing was sent. */
static int send_copy(struct ext4_super *s, u64 offset, const void *buf, size_t n)
{
	struct block_write *w = kzalloc(sizeof(*w), ALLOC_KERNEL);
	unsigned order = 0;

	while ((PAGE_SIZE << order) < n)
		order++;
	if (w)
		w->vec = (struct bio_vec){ page_alloc(order, 0, current->tenant), 0, n };
	if (!w || !w->vec.page) {
		kfree(w);
		return -ENOMEM;
	}
	memcpy(page_virt(w->vec.page), buf, n);
	w->super = s;
	bio_init(&w->bio, s->dev, BLOCK_WRITE, offset >> SECTOR_SHIFT, &w->vec, 1);
	w->bio.flags = BIO_META | BIO_SYNC;
	w->bio.done = block_write_done;
	atomic_inc(&s->meta_writes);
	block_submit(&w->bio);
	return 0;
}

static int dev_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	struct ext4_super *s = ctx;
	u32 block = s->dev->whole->limits.logical_block;
	u64 start = ALIGN_DOWN(offset, block), end = ALIGN_UP(offset + n, block);
	u8 *whole;
	int err;

	if (start == offset && end == offset + n)
		return send_copy(s, offset, buf, n);
	whole = kmalloc(end - start, ALLOC_KERNEL);
	err = whole ? dev_read(s, start, whole, end - start) : -ENOMEM;
	if (!err) {
		memcpy(whole + (offset - start), buf, n);
		err = send_copy(s, start, whole, end - start);
	}
	kfree(whole);
	return err;
}

static int dev_flush(void *ctx)
{
	struct ext4_super *s = ctx;
	int err;

	wait_event(&written, (s->data_writeback || !atomic_read(&s->writes)) && !atomic_read(&s->meta_writes));
	err = s->write_error;
	s->write_error = 0;
	return err ? err : block_flush(s->dev);
}

static int dev_discard(void *ctx, u64 offset, u64 n)
{
	struct ext4_super *s = ctx;

	return block_discard(s->dev, offset >> SECTOR_SHIFT, n >> SECTOR_SHIFT);
}

int ext4_flush(struct ext4_super *s)
{
	return block_flush(s->dev);
}

/* ---- committing now and then --------------------------------------------------------------------------------------
 */

/* Attributes that the vfs changed in its inodes go to the core: each inode in turn, one held at a time. */
static void store_attributes(struct ext4_super *s)
{
	struct super *vs = s->super;
	struct inode *i, *last = NULL;
	bool found;

	do {
		found = false;
		spin_lock(&vs->lock);
		i = last ? list_entry(last->super_link.next, struct inode, super_link)
			 : list_first_entry(&vs->inodes, struct inode, super_link);
		for (; &i->super_link != &vs->inodes; i = list_entry(i->super_link.next, struct inode, super_link)) {
			found = refcount_inc_not_zero(&i->refs);
			if (found)
				break;
		}
		spin_unlock(&vs->lock);
		inode_put(last);
		last = found ? i : NULL;
		if (found)
			(void)!ext4_node_store(i); /* an error is told once, by whoever unlocks */
	} while (found);
}

static int commit(struct ext4_super *s)
{
	int err;

	if (s->super->flags & MS_RDONLY)
		return 0;
	store_attributes(s);
	ext4_lock(s);
	err = ext4_sync(s->fs);
	ext4_unlock(s);
	return err;
}

static void committer(void *arg)
{
	struct ext4_super *s = arg;

	while (!READ_ONCE(s->stopping)) {
		(void)!wait_event_until(&s->work, READ_ONCE(s->stopping),
					clock_ns() + READ_ONCE(s->commit_seconds) * NSEC_PER_SEC);
		if (!READ_ONCE(s->stopping))
			(void)!commit(s);
	}
}

/* ---- super operations ------------------------------------------------------------------------------------------- */

static int sync_super(struct super *vs, bool wait)
{
	struct ext4_super *s = ext4_super_of(vs);

	if (vs->flags & MS_RDONLY)
		return 0;
	writeback_sync(&s->writeback, wait);
	return commit(s);
}

static int statfs(struct super *vs, struct kstatfs *out)
{
	struct ext4_super *s = ext4_super_of(vs);
	struct ext4_stat st;
	u64 pending = atomic_read(&s->writeback.nr_dirty) * (PAGE_SIZE / s->block_bytes);

	ext4_lock(s);
	ext4_statfs(s->fs, &st);
	ext4_unlock(s);
	out->blocks = st.blocks - st.overhead;
	out->bfree = st.free_blocks > pending ? st.free_blocks - pending : 0;
	out->bavail = out->bfree > st.reserved_blocks ? out->bfree - st.reserved_blocks : 0;
	out->files = st.inodes;
	out->ffree = st.free_inodes;
	memcpy(out->fsid, st.uuid, sizeof(out->fsid));
	return 0;
}

static void release(struct ext4_super *s)
{
	if (s->fs && ext4_close(s->fs))
		log_err("ext4: %s: could not be closed cleanly", s->dev->name);
	if (s->dev) {
		(void)!block_flush_cache(s->dev); /* what was read behind our back */
		block_release(s->dev, s);
		block_put(s->dev);
	}
	kfree(s);
}

static void put_super(struct super *vs)
{
	struct ext4_super *s = ext4_super_of(vs);

	if (s->committer) {
		writeback_stop(&s->writeback);
		s->stopping = true;
		waitq_wake_all(&s->work);
		kthread_join(&s->committer);
	}
	while (!list_empty(&vs->inodes)) /* reclaim may hold one for a moment */
		sched_yield_cpu();
	release(s);
}

static void note_throttled(struct writeback *wb)
{
	block_dirty_wait(container_of(wb, struct ext4_super, writeback)->dev);
}

static u64 budget(struct writeback *wb)
{
	return block_dirty_budget(container_of(wb, struct ext4_super, writeback)->dev);
}

static int start_threads(struct ext4_super *s)
{
	int err;

	if (s->super->flags & MS_RDONLY || s->committer)
		return 0;
	s->writeback.throttled = note_throttled;
	s->writeback.budget = budget;
	err = writeback_start(&s->writeback, s->dev->name);
	return err ? err : kthread_run(&s->committer, committer, s, "commit-%s", s->dev->name);
}

/* ---- options ------------------------------------------------------------------------------------------------------
 */

/* What people write into fstab that changes nothing here. */
static const char *const no_effect[] = { "",
					 "defaults",
					 "rw",
					 "ro",
					 "barrier",
					 "barrier=1",
					 "user_xattr",
					 "acl",
					 "noacl",
					 "delalloc",
					 "auto_da_alloc",
					 "noauto_da_alloc",
					 "journal_checksum",
					 "block_validity",
					 "noblock_validity",
					 "init_itable",
					 "noinit_itable",
					 "grpid",
					 "nogrpid",
					 "minixdf",
					 "bsddf",
					 "lazytime",
					 "nolazytime",
					 "i_version",
					 "dioread_lock",
					 "dioread_nolock" };

static int parse_option(struct ext4_super *s, char *opt)
{
	u64 n;

	for (unsigned i = 0; i < ARRAY_SIZE(no_effect); i++)
		if (!strcmp(opt, no_effect[i]))
			return 0;
	if (!strcmp(opt, "errors=remount-ro") || !strcmp(opt, "errors=panic"))
		s->on_error = ERRORS_READ_ONLY; /* a bad disk is no reason to end everybody's work */
	else if (!strcmp(opt, "errors=continue"))
		s->on_error = ERRORS_CONTINUE_;
	else if (!strcmp(opt, "data=ordered") || !strcmp(opt, "data=writeback"))
		s->data_writeback = opt[5] == 'w';
	else if (!strcmp(opt, "discard") || !strcmp(opt, "nodiscard"))
		s->discard = opt[0] == 'd';
	else if (!strncmp(opt, "commit=", 7) && !str_to_u64(opt + 7, 10, &n) && n <= 3600)
		s->commit_seconds = n ? n : 5;
	else
		return fail(EINVAL, "ext4: option %s", opt);
	return 0;
}

static int parse_options(struct ext4_super *s, const char *data)
{
	char copy[256], *at = copy, *opt;
	int err = 0;

	if (!data)
		return 0;
	if (str_copy(copy, data, sizeof(copy)) >= sizeof(copy))
		return -EINVAL;
	while (!err && (opt = str_next(&at, ',')))
		err = parse_option(s, opt);
	if (!err)
		ext4_set_discard(s->fs, s->discard);
	return err;
}

static void show_options(struct super *vs, struct strbuf *out)
{
	struct ext4_super *s = ext4_super_of(vs);

	if (s->on_error == ERRORS_READ_ONLY)
		strbuf_add(out, ",errors=remount-ro");
	if (s->discard)
		strbuf_add(out, ",discard");
	if (s->data_writeback)
		strbuf_add(out, ",data=writeback");
	if (s->commit_seconds != 5)
		strbuf_add(out, ",commit=%u", s->commit_seconds);
}

static bool has_writers(struct super *vs)
{
	struct inode *i;
	bool found = false;

	spin_lock(&vs->lock);
	list_for_each_entry (i, &vs->inodes, super_link)
		found |= atomic_read(&i->write_count) > 0;
	spin_unlock(&vs->lock);
	return found;
}

static int set_writing(struct ext4_super *s, bool on)
{
	int err;

	ext4_lock(s);
	err = ext4_set_writing(s->fs, on);
	ext4_unlock(s);
	return err;
}

static int remount(struct super *vs, unsigned flags, const char *data)
{
	struct ext4_super *s = ext4_super_of(vs);
	bool was = !(vs->flags & MS_RDONLY), want = !(flags & MS_RDONLY);
	int err = parse_options(s, data);

	if (err || was == want)
		return err;
	if (!want) {
		if (has_writers(vs))
			return -EBUSY;
		err = sync_super(vs, true);
		if (err)
			return err;
		vs->flags |= MS_RDONLY;
		return set_writing(s, false);
	}
	err = set_writing(s, true);
	if (err)
		return err;
	vs->flags &= ~MS_RDONLY;
	err = start_threads(s);
	if (err)
		vs->flags |= MS_RDONLY;
	return err;
}

static const struct super_ops super_ops = {
	.evict = ext4_node_evict,
	.find_inode = ext4_node_find,
	.generation = ext4_node_generation,
	.sync = sync_super,
	.statfs = statfs,
	.remount = remount,
	.put_super = put_super,
	.show_options = show_options,
};

/* ---- mounting -------------------------------------------------------------------------------------------------------
 */

static int find_device(const char *source, struct block_dev **out)
{
	struct path p;
	int err;

	if (!source || !*source)
		return -EINVAL;
	err = path_lookup(AT_FDCWD, source, LOOKUP_FOLLOW, &p);
	if (err)
		return err;
	*out = S_ISBLK(p.dentry->inode->mode) ? block_find(p.dentry->inode->rdev) : NULL;
	err = *out ? 0 : S_ISBLK(p.dentry->inode->mode) ? -ENXIO : -ENOTBLK;
	path_put(&p);
	return err;
}

static int open_core(struct ext4_super *s)
{
	struct super *vs = s->super;
	struct ext4_device d = { .ctx = s,
				 .bytes = s->dev->sectors << SECTOR_SHIFT,
				 .read_only = s->dev->limits.read_only || s->dev->whole->limits.read_only,
				 .read = dev_read,
				 .write = dev_write,
				 .flush = dev_flush,
				 .discard = s->dev->whole->limits.max_discard_bytes ? dev_discard : NULL };
	struct ext4_stat st;
	int err = ext4_open(&d, vs->flags & MS_RDONLY ? EXT4_OPEN_READ_ONLY : 0, &s->fs);

	if (err)
		return err;
	ext4_statfs(s->fs, &st);
	s->block_bytes = vs->block_size = st.block_bytes;
	if (st.read_only)
		vs->flags |= MS_RDONLY;
	if (st.remount_ro)
		s->on_error = ERRORS_READ_ONLY;
	return st.block_bytes > PAGE_SIZE ? fail(EINVAL, "ext4: blocks of %u bytes", st.block_bytes) : 0;
}

static int mount(struct super *vs, const char *source, const char *data)
{
	struct ext4_super *s = kzalloc(sizeof(*s), ALLOC_KERNEL);
	struct inode *root = NULL;
	int err;

	if (!s)
		return -ENOMEM;
	mutex_init(&s->lock, RANK_FS);
	waitq_init(&s->work);
	for (int i = 0; i < NODE_BUCKETS; i++)
		list_init(&s->nodes[i]);
	s->super = vs;
	s->commit_seconds = 5;
	vs->priv = s;
	vs->ops = &super_ops;
	vs->magic = EXT4_SUPER_MAGIC;
	err = find_device(source, &s->dev);
	if (!err) {
		err = block_claim(s->dev, s);
		if (err) {
			block_put(s->dev);
			s->dev = NULL;
		}
	}
	if (!err)
		err = block_flush_cache(s->dev);
	if (!err)
		err = open_core(s);
	if (!err)
		err = parse_options(s, data);
	if (!err) {
		vs->dev = s->dev->rdev;
		vs->bdev = s->dev;
		vs->max_bytes = (s64)UINT32_MAX * s->block_bytes;
		err = ext4_node_get(s, EXT4_ROOT_INO, &root);
	}
	if (!err && !S_ISDIR(root->mode))
		err = fail(EUCLEAN, "ext4: the root is not a directory");
	if (!err)
		err = start_threads(s);
	if (!err) {
		vs->root = dentry_create_root(vs, root);
		return vs->root ? 0 : -ENOMEM;
	}
	inode_put(root);
	release(s);
	return err;
}

static struct fs_type ext4_type = { .name = "ext4", .flags = FS_REQUIRES_DEV, .mount = mount };
static struct fs_type ext3_type = { .name = "ext3", .flags = FS_REQUIRES_DEV, .mount = mount };
static struct fs_type ext2_type = { .name = "ext2", .flags = FS_REQUIRES_DEV, .mount = mount };

static void ext4_init(void)
{
	fs_register(&ext4_type);
	fs_register(&ext3_type);
	fs_register(&ext2_type);
}
PART_INIT(fs, ext4_init);
