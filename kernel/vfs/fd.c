/* SPDX-License-Identifier: MIT
 *
 * Problem: every call on a file starts with a descriptor; finding the file must cost next to nothing, also while other
 * threads open and close.
 *
 * Idea: a table of pointers with two bit maps (open, close-on-exec), replaced as a whole when it grows and read under
 * RCU. A task whose table nobody shares needs no reference for the duration of a call, because only it could close the
 * descriptor. The lowest free descriptor is found in the bit map from a hint on.
 *
 * Contract: vfs.h. A reserved descriptor has its bit set and no file yet; look-ups miss it.
 *
 * Locks: files->lock (RANK_FILES) for all changes; nothing is dropped or slept for under it.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/nospec.h>
#include <lib/string.h>
#include <linux/fs.h>
#include <asm/resource.h>
#include <mm/upcalls.h>
#include <task/task.h>
#include <vfs/locks.h>
#include <vfs/uapi.h>
#include "vfs_priv.h"

#define FIRST_FDS 64
#define MAX_FDS   (1U << 20)

struct fd_table {
	unsigned max; /* a multiple of 64 */
	struct file **file;
	ulong *open, *cloexec;
	struct rcu_head rcu;
};

struct files {
	refcount_t refs; /* tasks */
	struct spinlock lock;
	struct fd_table *table; /* RCU */
	unsigned hint;          /* no free descriptor below it */
	struct fd_table first;
	struct file *first_file[FIRST_FDS];
	ulong first_bits[2];
};

#define current_files ((struct files *)current->files)

/* ---- tables -------------------------------------------------------------------------------------------- */

static struct fd_table *table_alloc(unsigned max)
{
	struct fd_table *t = kzalloc(sizeof(*t), ALLOC_CHARGED);

	if (!t)
		return NULL;
	t->max = max;
	t->file = kcalloc(max, sizeof(*t->file), ALLOC_CHARGED);
	t->open = kcalloc(max / 64 * 2, sizeof(ulong), ALLOC_CHARGED);
	t->cloexec = t->open + max / 64;
	if (t->file && t->open)
		return t;
	kfree(t->file);
	kfree(t->open);
	kfree(t);
	return NULL;
}

static void table_free(struct rcu_head *head)
{
	struct fd_table *t = container_of(head, struct fd_table, rcu);

	kfree(t->file);
	kfree(t->open);
	kfree(t);
}

static void table_copy(struct fd_table *to, const struct fd_table *from)
{
	unsigned n = min(to->max, from->max);

	memcpy(to->file, from->file, n * sizeof(*to->file));
	memcpy(to->open, from->open, n / 8);
	memcpy(to->cloexec, from->cloexec, n / 8);
}

/* Makes room for descriptor fd. Called and returns with the lock held, drops it in between. */
static int grow(struct files *fs, unsigned fd)
{
	unsigned max = fs->table->max;
	struct fd_table *t, *old;

	while (max <= fd)
		max *= 2;
	spin_unlock(&fs->lock);
	t = table_alloc(max);
	spin_lock(&fs->lock);
	if (!t)
		return -ENOMEM;
	old = fs->table;
	if (old->max >= max) { /* somebody else was faster */
		kfree(t->file);
		kfree(t->open);
		kfree(t);
		return 0;
	}
	table_copy(t, old);
	rcu_assign(fs->table, t);
	if (old != &fs->first)
		rcu_call(&old->rcu, table_free);
	return 0;
}

static struct files *files_alloc(void)
{
	struct files *fs = kzalloc(sizeof(*fs), ALLOC_CHARGED);

	if (!fs)
		return NULL;
	refcount_set(&fs->refs, 1);
	spin_init(&fs->lock, RANK_FILES);
	fs->first = (struct fd_table){ FIRST_FDS, fs->first_file, &fs->first_bits[0], &fs->first_bits[1], { 0 } };
	fs->table = &fs->first;
	return fs;
}

int files_create(struct task *t)
{
	t->files = files_alloc();
	return t->files ? 0 : -ENOMEM;
}

/* ---- look-up ----------------------------------------------------------------------------------------------- */

static inline struct file *table_file(struct files *fs, unsigned fd)
{
	struct fd_table *t = rcu_deref(fs->table);

	if (unlikely(fd >= t->max))
		return NULL;
	fd = (unsigned)index_nospec(fd, t->max);
	return rcu_deref(t->file[fd]);
}

static struct file *get_counted(struct files *fs, unsigned fd)
{
	struct file *f;

	rcu_read_lock();
	do {
		f = table_file(fs, fd);
	} while (f && !refcount_inc_not_zero(&f->refs));
	rcu_read_unlock();
	return f;
}

static __always_inline struct fd_ref look_up(int fd)
{
	struct files *fs = current_files;

	if (likely(atomic_read(&fs->refs.n) == 1))
		return (struct fd_ref){ table_file(fs, fd), false };
	return (struct fd_ref){ get_counted(fs, fd), true };
}

struct fd_ref fd_get_path(int fd)
{
	return look_up(fd);
}

struct fd_ref fd_get(int fd)
{
	struct fd_ref r = look_up(fd);

	if (r.file && unlikely(r.file->mode & FMODE_PATH)) {
		fd_put(r);
		r.file = NULL;
	}
	return r;
}

int fd_ref_path(struct fd_ref r, struct path *out)
{
	if (!r.file)
		return -EBADF;
	*out = r.file->path;
	path_get(out);
	fd_put(r);
	return 0;
}

struct file *fd_of_task(struct task *t, int fd)
{
	struct file *f = NULL;
	ulong irq;

	irq = spin_lock_irqsave(&t->lock); /* t->files stays while the task's lock is held */
	if (t->files)
		f = get_counted(t->files, fd);
	spin_unlock_irqrestore(&t->lock, irq);
	return f;
}

static unsigned next_bit(const ulong *map, unsigned from, unsigned max)
{
	while (from < max) {
		ulong word = map[from / 64] >> (from % 64);

		if (word)
			return from + __builtin_ctzl(word);
		from = ALIGN_DOWN(from + 64, 64);
	}
	return max;
}

int fd_next_of_task(struct task *t, int fd)
{
	int found = -1;
	ulong irq;

	irq = spin_lock_irqsave(&t->lock);
	if (t->files) {
		struct fd_table *tab;

		rcu_read_lock();
		tab = rcu_deref(((struct files *)t->files)->table);
		for (unsigned n = fd; found < 0 && (n = next_bit(tab->open, n, tab->max)) < tab->max; n++)
			if (rcu_deref(tab->file[n]))
				found = n;
		rcu_read_unlock();
	}
	spin_unlock_irqrestore(&t->lock, irq);
	return found;
}

/* ---- giving out and taking back ------------------------------------------------------------------------------ */

static void mark(struct fd_table *t, unsigned fd, bool open, bool cloexec)
{
	ulong bit = BIT(fd % 64);

	t->open[fd / 64] = open ? t->open[fd / 64] | bit : t->open[fd / 64] & ~bit;
	t->cloexec[fd / 64] = cloexec ? t->cloexec[fd / 64] | bit : t->cloexec[fd / 64] & ~bit;
}

static unsigned next_free(const struct fd_table *t, unsigned from)
{
	while (from < t->max) {
		ulong word = ~t->open[from / 64] >> (from % 64);

		if (word)
			return from + __builtin_ctzl(word);
		from = ALIGN_DOWN(from + 64, 64);
	}
	return t->max;
}

int fd_reserve(unsigned flags, int min_fd)
{
	u64 limit = min(upcall_rlimit(RLIMIT_NOFILE), (u64)MAX_FDS);
	struct files *fs = current_files;
	unsigned fd;
	int err = 0;

	if (min_fd < 0 || (u64)min_fd >= limit)
		return min_fd < 0 ? -EINVAL : -EMFILE;
	spin_lock(&fs->lock);
	for (;;) {
		fd = next_free(fs->table, max((unsigned)min_fd, fs->hint));
		if (fd >= limit)
			err = -EMFILE;
		else if (fd >= fs->table->max)
			err = grow(fs, max(fd, (unsigned)min_fd));
		else
			break;
		if (err) {
			spin_unlock(&fs->lock);
			return err;
		}
	}
	mark(fs->table, fd, true, flags & O_CLOEXEC);
	if ((unsigned)min_fd <= fs->hint)
		fs->hint = fd + 1;
	spin_unlock(&fs->lock);
	return fd;
}

void fd_install(int fd, struct file *f)
{
	struct files *fs = current_files;

	spin_lock(&fs->lock);
	rcu_assign(fs->table->file[fd], f);
	spin_unlock(&fs->lock);
}

void fd_release(int fd)
{
	struct files *fs = current_files;

	spin_lock(&fs->lock);
	mark(fs->table, fd, false, false);
	fs->hint = min(fs->hint, (unsigned)fd);
	spin_unlock(&fs->lock);
}

int fd_publish(struct file *f, unsigned flags)
{
	int fd = fd_reserve(flags, 0);

	if (fd < 0)
		file_put(f);
	else
		fd_install(fd, f);
	return fd;
}

/* Takes the file out of a slot, under the lock. */
static struct file *take(struct files *fs, unsigned fd)
{
	struct file *f = fd < fs->table->max ? fs->table->file[fd] : NULL;

	if (!f)
		return NULL;
	rcu_assign(fs->table->file[fd], NULL);
	mark(fs->table, fd, false, false);
	fs->hint = min(fs->hint, fd);
	return f;
}

static int drop(struct files *fs, struct file *f)
{
	int err = 0;

	if (!(f->mode & FMODE_PATH)) {
		if (f->ops->flush)
			err = f->ops->flush(f);
		if (unlikely(f->inode->locks))
			locks_close(f, fs);
	}
	file_put(f);
	return err;
}

int fd_close(int fd)
{
	struct files *fs = current_files;
	struct file *f;

	spin_lock(&fs->lock);
	f = take(fs, fd);
	spin_unlock(&fs->lock);
	return f ? drop(fs, f) : -EBADF;
}

int fd_replace(int fd, struct file *f, unsigned flags)
{
	struct files *fs = current_files;
	struct file *old;
	int err = 0;

	if (fd < 0 || (u64)fd >= min(upcall_rlimit(RLIMIT_NOFILE), (u64)MAX_FDS)) {
		file_put(f);
		return -EBADF;
	}
	spin_lock(&fs->lock);
	while (!err && (unsigned)fd >= fs->table->max)
		err = grow(fs, fd);
	old = err ? NULL : fs->table->file[fd];
	if (!err && !old && fs->table->open[fd / 64] & BIT(fd % 64))
		err = -EBUSY; /* another thread is just opening it */
	if (!err) {
		mark(fs->table, fd, true, flags & O_CLOEXEC);
		rcu_assign(fs->table->file[fd], f);
	}
	spin_unlock(&fs->lock);
	if (err)
		file_put(f);
	else if (old)
		(void)drop(fs, old);
	return err ? err : fd;
}

int fd_get_cloexec(int fd)
{
	struct files *fs = current_files;
	int on = -EBADF;

	spin_lock(&fs->lock);
	if ((unsigned)fd < fs->table->max && fs->table->file[fd])
		on = fs->table->cloexec[fd / 64] >> (fd % 64) & 1;
	spin_unlock(&fs->lock);
	return on;
}

int fd_set_cloexec(int fd, bool on)
{
	struct files *fs = current_files;
	int err = -EBADF;

	spin_lock(&fs->lock);
	if ((unsigned)fd < fs->table->max && fs->table->file[fd]) {
		mark(fs->table, fd, true, on);
		err = 0;
	}
	spin_unlock(&fs->lock);
	return err;
}

/* Closes descriptors from..last whose bit is set in the chosen map. */
static void close_some(struct files *fs, bool only_cloexec, unsigned from, unsigned last)
{
	for (;;) {
		struct file *f = NULL;

		spin_lock(&fs->lock);
		while (!f) {
			struct fd_table *t = fs->table;

			from = next_bit(only_cloexec ? t->cloexec : t->open, from, t->max);
			if (from >= t->max || from > last)
				break;
			f = take(fs, from);
			if (!f)
				from++;
		}
		spin_unlock(&fs->lock);
		if (!f)
			return;
		(void)drop(fs, f);
	}
}

void fd_close_range(unsigned first, unsigned last, bool only_cloexec)
{
	close_some(current_files, only_cloexec, first, last);
}

void files_close_on_exec(void)
{
	close_some(current_files, true, 0, ~0U);
}

/* ---- fork and exit -------------------------------------------------------------------------------------------- */

static struct files *files_copy(struct files *from)
{
	struct files *fs = files_alloc();
	struct fd_table *t;

	if (!fs)
		return NULL;
	spin_lock(&from->lock);
	while (fs->table->max < from->table->max) {
		unsigned max = from->table->max;

		spin_unlock(&from->lock);
		t = table_alloc(max);
		if (!t) {
			if (fs->table != &fs->first)
				table_free(&fs->table->rcu);
			kfree(fs);
			return NULL;
		}
		if (fs->table != &fs->first)
			table_free(&fs->table->rcu);
		fs->table = t;
		spin_lock(&from->lock);
	}
	table_copy(fs->table, from->table);
	fs->hint = from->hint;
	for (unsigned fd = 0; (fd = next_bit(fs->table->open, fd, fs->table->max)) < fs->table->max; fd++) {
		if (fs->table->file[fd])
			file_get(fs->table->file[fd]);
		else
			mark(fs->table, fd, false, false); /* reserved by another thread */
	}
	fs->hint = min(fs->hint, next_free(fs->table, 0));
	spin_unlock(&from->lock);
	return fs;
}

static void files_put(struct files *fs)
{
	struct fd_table *t;

	if (!refcount_dec_and_test(&fs->refs))
		return;
	t = fs->table;
	/* nobody can find the table any more, so its files go without the lock and the bits stay */
	for (unsigned fd = 0; (fd = next_bit(t->open, fd, t->max)) < t->max; fd++)
		if (t->file[fd])
			(void)drop(fs, t->file[fd]);
	if (fs->table != &fs->first)
		table_free(&fs->table->rcu);
	kfree(fs);
}

int files_fork(struct task *child, bool share)
{
	struct files *fs = current_files;

	if (share)
		refcount_inc(&fs->refs);
	else
		fs = files_copy(fs);
	child->files = fs;
	return fs ? 0 : -ENOMEM;
}

void files_exit(struct task *t)
{
	struct files *fs;
	ulong irq;

	irq = spin_lock_irqsave(&t->lock);
	fs = t->files;
	t->files = NULL;
	spin_unlock_irqrestore(&t->lock, irq);
	if (fs)
		files_put(fs);
}

int files_unshare(void)
{
	struct files *old = current_files, *fs;
	ulong irq;

	if (atomic_read(&old->refs.n) == 1)
		return 0;
	fs = files_copy(old);
	if (!fs)
		return -ENOMEM;
	irq = spin_lock_irqsave(&current->lock);
	current->files = fs;
	spin_unlock_irqrestore(&current->lock, irq);
	files_put(old);
	return 0;
}

/* ---- root and working folder ------------------------------------------------------------------------------------ */

int fs_create(struct task *t, const struct path *root)
{
	struct fs_context *fs = kzalloc(sizeof(*fs), 0);

	if (!fs)
		return -ENOMEM;
	refcount_set(&fs->refs, 1);
	spin_init(&fs->lock, RANK_FILES);
	fs->umask = 022;
	fs->root = fs->cwd = *root;
	path_get(&fs->root);
	path_get(&fs->cwd);
	t->fs = fs;
	return 0;
}

int fs_fork(struct task *child, bool share)
{
	struct fs_context *from = current_fs, *fs = from;

	if (share) {
		refcount_inc(&fs->refs);
	} else {
		fs = kzalloc(sizeof(*fs), ALLOC_CHARGED);
		if (!fs)
			return -ENOMEM;
		refcount_set(&fs->refs, 1);
		spin_init(&fs->lock, RANK_FILES);
		spin_lock(&from->lock);
		fs->root = from->root;
		fs->cwd = from->cwd;
		fs->umask = from->umask;
		path_get(&fs->root);
		path_get(&fs->cwd);
		spin_unlock(&from->lock);
	}
	child->fs = fs;
	return 0;
}

static void fs_put(struct fs_context *fs);

int fs_unshare(void)
{
	struct fs_context *old = current_fs;
	int err;

	if (atomic_read(&old->refs.n) == 1)
		return 0;
	err = fs_fork(current, false);
	if (!err)
		fs_put(old);
	return err;
}

static void fs_put(struct fs_context *fs)
{
	if (!fs || !refcount_dec_and_test(&fs->refs))
		return;
	path_put(&fs->root);
	path_put(&fs->cwd);
	kfree(fs);
}

void fs_exit(struct task *t)
{
	struct fs_context *fs;
	ulong irq;

	irq = spin_lock_irqsave(&t->lock);
	fs = t->fs;
	t->fs = NULL;
	spin_unlock_irqrestore(&t->lock, irq);
	fs_put(fs);
}

int fs_path_of_task(struct task *t, bool root, struct path *out)
{
	struct fs_context *fs;
	ulong irq = spin_lock_irqsave(&t->lock);

	fs = t->fs;
	if (fs)
		refcount_inc(&fs->refs);
	spin_unlock_irqrestore(&t->lock, irq);
	if (!fs)
		return -ENOENT;
	spin_lock(&fs->lock);
	*out = root ? fs->root : fs->cwd;
	path_get(out);
	spin_unlock(&fs->lock);
	fs_put(fs);
	return 0;
}
