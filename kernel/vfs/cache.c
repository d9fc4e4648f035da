/* SPDX-License-Identifier: MIT
 *
 * Problem: file contents live in memory pages that reads, writes and mappings of many tasks share, while truncation
 * takes pages away under them.
 *
 * Idea: an xarray from page index to page, looked up under RCU with a reference taken only if the page still has
 * one. A page is created at most once, because insertion under the cache's lock refuses the second. Writers hold the
 * inode's lock; they copy without faulting and, when the user's page is not there, drop the lock, fault it in and
 * go on. Readers hold nothing while they copy.
 *
 * Contract: vfs/cache.h. i->size changes before pages go; fill checks the size after it has the page, so no mapping
 * keeps a page beyond the end.
 *
 * Locks: inode->lock (RANK_INODE), then cache->lock (RANK_PAGECACHE, spin).
 */
#include <task/user_ns.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fadvise.h>
#include <linux/fs.h>
#include <vfs/uapi.h>
#include <mm/upcalls.h>
#include <task/sched.h>
#include <task/tenant.h>
#include <asm/resource.h>
#include <vfs/cache.h>
#include <vfs/upcalls.h>
#include <vfs/writeback.h>
#include "vfs_priv.h"

#define MAP_WANTS 16 /* pages, with one that a mapping's program touched */

static struct kcache *cache_cache, *node_cache;

static struct xa_node *node_alloc(void)
{
	return kcache_alloc(node_cache, ALLOC_ZERO | ALLOC_ATOMIC);
}

_Static_assert(sizeof(((struct xa_node *)0)->reclaim) >= sizeof(struct rcu_head), "an xarray node has room for RCU");

static void node_free_now(struct rcu_head *head)
{
	kcache_free(node_cache, container_of((ulong(*)[2])head, struct xa_node, reclaim));
}

static void node_free(struct xa_node *n)
{
	rcu_call((struct rcu_head *)n->reclaim, node_free_now);
}

const struct xa_mem vfs_xa_mem = { .alloc = node_alloc, .free = node_free };

static const struct mapping_ops cache_mapping_ops;

void cache_init(void)
{
	cache_cache = kcache_create_charged("page_cache", sizeof(struct page_cache), 64);
	node_cache = kcache_create_charged("xa_node", sizeof(struct xa_node), 64);
	ensure(cache_cache && node_cache);
}

int cache_create(struct inode *host, const struct cache_ops *ops)
{
	struct page_cache *c = kcache_alloc(cache_cache, ALLOC_ZERO);

	if (!c)
		return -ENOMEM;
	mapping_init(&c->map, &cache_mapping_ops, c);
	spin_init(&c->lock, RANK_PAGECACHE);
	xa_init(&c->pages, &vfs_xa_mem);
	xa_init(&c->dirty, &vfs_xa_mem);
	list_init(&c->dirty_link);
	list_init(&c->reclaim_link);
	c->ops = ops;
	c->host = host;
	host->cache = c;
	if (ops->fill)
		reclaim_add(c);
	return 0;
}

/* ---- pages ---------------------------------------------------------------------------------------- */

static bool page_tryget(struct page *p)
{
	int n = atomic_read(&p->refs);

	while (n > 0)
		if (atomic_try_cmpxchg(&p->refs, &n, n + 1))
			return true;
	return false;
}

/* The descriptor of a freed page stays a descriptor, so look, take, look again. */
static struct page *find_rcu(struct page_cache *c, u64 index)
{
	struct page *p;

	for (;;) {
		p = xa_load(&c->pages, index);
		if (!p)
			return NULL;
		if (!page_tryget(p))
			continue;
		if (likely(xa_load(&c->pages, index) == p))
			return p;
		page_put(p);
	}
}

unsigned cache_find_run(struct page_cache *c, u64 index, unsigned n, struct page **out)
{
	unsigned i;

	rcu_read_lock();
	for (i = 0; i < n; i++) {
		out[i] = find_rcu(c, index + i);
		if (!out[i])
			break;
	}
	rcu_read_unlock();
	return i;
}

void cache_count(struct page_cache *c, const struct page *p, s64 n)
{
	page_stat_add(PAGE_STAT_CACHED, n);
	tenant_memory_kind(p->tenant, MEMORY_FILE, n);
	if (c->ops->fill)
		return;
	page_stat_add(PAGE_STAT_SHMEM, n);
	tenant_memory_kind(p->tenant, MEMORY_SHMEM, n);
}

static int insert(struct page_cache *c, u64 index, struct page *p, const u64 *removals)
{
	int err = c->ops->account ? c->ops->account(c, 1) : 0;

	if (err)
		return err;
	spin_lock(&c->lock);
	if (xa_load(&c->pages, index)) {
		err = -EEXIST;
	} else if (removals && *removals != c->removals) {
		err = -EAGAIN;
	} else {
		p->owner = &c->map;
		p->index = index;
		err = xa_store(&c->pages, index, p, NULL);
		c->nr_pages += !err;
		c->many_payers |= c->payer && c->payer != p->tenant;
		c->payer = p->tenant;
	}
	spin_unlock(&c->lock);
	if (!err)
		cache_count(c, p, 1);
	if (!err && c->ops->fill)
		refault_came(c, index, p->tenant);
	if (err && c->ops->account)
		(void)c->ops->account(c, -1);
	return err;
}

int cache_insert(struct page_cache *c, u64 index, struct page *p)
{
	return insert(c, index, p, NULL);
}

int cache_insert_ahead(struct page_cache *c, u64 index, struct page *p, u64 removals)
{
	return insert(c, index, p, &removals);
}

/* filled: NULL, or set if it was not there. */
static int get(struct page_cache *c, u64 index, u64 want, struct page **out, bool *filled)
{
	struct page *p;
	int err;

	while (!(p = cache_find(c, index))) {
		p = page_alloc(0, c->ops->fill ? 0 : ALLOC_ZERO, current->tenant);
		if (!p)
			return -ENOMEM;
		p->index = index;
		err = c->ops->fill ? c->ops->fill(c, p, (unsigned)min(want, (u64)UINT16_MAX)) : 0;
		if (!err) {
			(void)page_test_set_flag(p, PAGE_UPTODATE);
			page_get(p);
			err = cache_insert(c, index, p);
			if (err)
				page_put(p);
		}
		if (!err && filled)
			*filled = true;
		if (!err)
			break;
		page_put(p);
		if (err != -EEXIST)
			return err;
	}
	*out = p;
	return 0;
}

int cache_get(struct page_cache *c, u64 index, struct page **out)
{
	return get(c, index, 1, out, NULL);
}

static int reserve(struct page_cache *c, const struct page *p, u64 index)
{
	return c->ops->reserve && !(p && p->flags & PAGE_DIRTY) ? c->ops->reserve(c, index) : 0;
}

/* p has newer data than what it was filled from. */
static void dirty_page(struct page_cache *c, struct page *p)
{
	if (c->wb)
		c->wb->mark_dirty(c, p);
	else
		(void)page_test_set_flag(p, PAGE_DIRTY);
}

/* A page that leaves the cache will not be written any more. Under c->lock. */
static void forget_dirty(struct page_cache *c, struct page *p, u64 index)
{
	if (!c->wb || !page_test_clear_flag(p, PAGE_DIRTY))
		return;
	xa_erase(&c->dirty, index);
	c->nr_dirty--;
	atomic_dec(&c->wb->nr_dirty);
	tenant_memory_kind(p->tenant, MEMORY_DIRTY, -1);
}

static void zero_part(struct page_cache *c, u64 index, size_t from, size_t to)
{
	struct page *p = cache_find(c, index);

	if (!p)
		return;
	memset((char *)page_virt(p) + from, 0, to - from);
	if (c->wb)
		dirty_page(c, p);
	page_put(p);
}

static void take_out(struct page_cache *c, u64 first, u64 last)
{
	u64 index = first;
	struct page *p;

	while (index <= last) {
		spin_lock(&c->lock);
		p = xa_find(&c->pages, &index, last);
		if (p) {
			xa_erase(&c->pages, index);
			forget_dirty(c, p, index);
			p->owner = NULL;
			c->nr_pages--;
			c->removals++;
		}
		spin_unlock(&c->lock);
		if (!p)
			return;
		cache_count(c, p, -1);
		page_put(p);
		if (c->ops->account)
			(void)c->ops->account(c, -1);
		index++;
		if (index % 64 == 0)
			resched_point();
	}
}

void cache_remove(struct page_cache *c, u64 from, u64 to)
{
	u64 first = DIV_ROUND_UP(from, PAGE_SIZE), end = to / PAGE_SIZE; /* whole pages: [first, end) */

	if (from / PAGE_SIZE == to / PAGE_SIZE) {
		if (from < to)
			zero_part(c, from / PAGE_SIZE, from % PAGE_SIZE, to % PAGE_SIZE);
		return;
	}
	if (from % PAGE_SIZE)
		zero_part(c, from / PAGE_SIZE, from % PAGE_SIZE, PAGE_SIZE);
	if (to != ~0ULL && to % PAGE_SIZE)
		zero_part(c, end, 0, to % PAGE_SIZE);
	if (to == ~0ULL)
		end = ~0ULL >> PAGE_SHIFT;
	if (first >= end)
		return;
	mapping_unmap_range(&c->map, first, end - first, true);
	take_out(c, first, end - 1);
}

struct page_cache *file_page_cache(struct file *f)
{
	return f->ops->page_cache ? f->ops->page_cache(f) : f->inode->cache;
}

void cache_populate(struct page_cache *c, u64 first, u64 n)
{
	u64 end = min(first + n, DIV_ROUND_UP((u64)READ_ONCE(c->host->size), PAGE_SIZE));

	if (!c->ops->fill)
		return;
	for (u64 index = first; index < end && !fatal_signal_pending(current); index++) {
		struct page *p;

		if (get(c, index, end - index, &p, NULL))
			return;
		page_put(p);
		resched_point();
	}
}

void cache_destroy(struct page_cache *c)
{
	if (!c)
		return;
	if (c->ops->fill)
		reclaim_remove(c);
	take_out(c, 0, ~0ULL >> PAGE_SHIFT);
	kcache_free(cache_cache, c);
}

s64 cache_seek(struct page_cache *c, u64 from, u64 size, bool hole)
{
	u64 index = from / PAGE_SIZE;
	bool present;

	if (from >= size)
		return -ENXIO;
	rcu_read_lock();
	present = xa_load(&c->pages, index);
	if (present == hole) {
		if (hole) {
			while (index * PAGE_SIZE < size && xa_load(&c->pages, index))
				index++;
		} else if (!xa_find(&c->pages, &index, (size - 1) / PAGE_SIZE)) {
			rcu_read_unlock();
			return -ENXIO;
		}
		from = min(index * PAGE_SIZE, size);
	}
	rcu_read_unlock();
	return from;
}

/* ---- the mapping ------------------------------------------------------------------------------------- */

static int map_fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct page_cache *c = m->owner;
	bool filled = false;
	struct page *p;
	int err;

	if (index >= DIV_ROUND_UP((u64)READ_ONCE(c->host->size), PAGE_SIZE))
		return -EFAULT;
	err = get(c, index, c->advice == POSIX_FADV_RANDOM ? 1 : MAP_WANTS, &p, &filled);
	if (err)
		return err;
	if (filled && c->ops->fill)
		current->maj_faults++; /* it had to be read */
	if (unlikely(index >= DIV_ROUND_UP((u64)READ_ONCE(c->host->size), PAGE_SIZE))) {
		take_out(c, index, index); /* truncated meanwhile: it may have gone in behind the truncation */
		page_put(p);
		return -EFAULT;
	}
	if (write) {
		err = reserve(c, p, index);
		if (err) {
			page_put(p);
			return err;
		}
		dirty_page(c, p);
		inode_touch(c->host, ATTR_MTIME | ATTR_CTIME);
	}
	*out = p;
	return 0;
}

static unsigned map_fill_around(struct mapping *m, u64 index, unsigned n, struct page **out)
{
	struct page_cache *c = m->owner;
	u64 end = DIV_ROUND_UP((u64)READ_ONCE(c->host->size), PAGE_SIZE);
	unsigned i;

	rcu_read_lock();
	for (i = 0; i < n && index + i < end; i++)
		out[i] = find_rcu(c, index + i);
	rcu_read_unlock();
	return i;
}

static void map_dirty(struct mapping *m, struct page *p)
{
	dirty_page(m->owner, p);
}

static void map_get(struct mapping *m)
{
	struct page_cache *c = m->owner;

	inode_get(c->host);
	if (unlikely(c->ops->mapped))
		c->ops->mapped(c, 1);
}

static void map_put(struct mapping *m)
{
	struct page_cache *c = m->owner;

	if (unlikely(c->ops->mapped))
		c->ops->mapped(c, -1);
	inode_put(c->host);
}

static void map_describe(struct mapping *m, struct mapping_name *out)
{
	struct inode *i = ((struct page_cache *)m->owner)->host;

	out->dev = i->super->dev;
	out->ino = i->ino;
	inode_describe(i, out->path, sizeof(out->path));
}

static int map_sync(struct mapping *m, u64 index, u64 count)
{
	struct page_cache *c = m->owner;

	return c->ops->sync ? c->ops->sync(c, index, index + count - 1) : 0;
}

static const struct mapping_ops cache_mapping_ops = {
	.sync = map_sync,
	.fill = map_fill,
	.fill_around = map_fill_around,
	.dirty = map_dirty,
	.get = map_get,
	.put = map_put,
	.describe = map_describe,
};

struct page_cache *cache_of_mapping(struct mapping *m)
{
	return m && m->ops == &cache_mapping_ops ? m->owner : NULL;
}

int cache_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	path_accessed(&f->path);
	*out = &f->inode->cache->map;
	return 0;
}

/* ---- read ----------------------------------------------------------------------------------------------- */

static ssize_t read_page(struct page_cache *c, struct io *io, size_t len)
{
	size_t offset = io->pos % PAGE_SIZE, done;
	struct page *p = cache_find(c, io->pos / PAGE_SIZE);
	int err;

	if (!p && !c->ops->fill) {
		done = iter_clear(len, &io->iter);
		return done ? (ssize_t)done : -EFAULT;
	}
	if (!p) {
		if (io->flags & IO_NOWAIT)
			return -EAGAIN;
		err = get(c, io->pos / PAGE_SIZE, DIV_ROUND_UP(offset + io->iter.count, PAGE_SIZE), &p, NULL);
		if (err)
			return err;
	}
	if (c->ops->fill && !(p->flags & PAGE_ACTIVE))
		(void)page_test_set_flag(p, PAGE_ACTIVE);
	done = iter_page_out(p, offset, len, &io->iter);
	page_put(p);
	return done ? (ssize_t)done : -EFAULT;
}

ssize_t cache_read(struct io *io)
{
	struct inode *i = io->file->inode;
	ssize_t total = 0, n = 0;

	while (io->iter.count) {
		s64 left = READ_ONCE(i->size) - io->pos;

		if (left <= 0)
			break;
		n = min(min((u64)left, io->iter.count), PAGE_SIZE - io->pos % PAGE_SIZE);
		n = read_page(i->cache, io, n);
		if (n < 0)
			break;
		io->pos += n;
		total += n;
		resched_point();
		if (unlikely(io->iter.count) && fatal_signal_pending(current))
			break;
	}
	path_accessed(&io->file->path);
	return total ? total : min(n, (ssize_t)0);
}

/* ---- write ----------------------------------------------------------------------------------------------- */

/* A whole page is written that the cache does not hold: no need to read it first. Bytes, or 0 to take the usual way. */
static ssize_t write_new_page(struct page_cache *c, struct io *io)
{
	u64 index = io->pos / PAGE_SIZE;
	struct page *p = page_alloc(0, 0, current->tenant);
	size_t done;

	if (!p)
		return -ENOMEM;
	done = iter_page_in_nofault(p, 0, PAGE_SIZE, &io->iter);
	(void)page_test_set_flag(p, PAGE_UPTODATE);
	page_get(p);
	if (done < PAGE_SIZE || cache_insert(c, index, p)) {
		iter_revert(&io->iter, done);
		page_put(p);
		done = 0;
	} else {
		dirty_page(c, p);
	}
	page_put(p);
	return done;
}

/* Under the inode's lock: bytes written into one page, possibly 0 if the user's page is not there. */
static ssize_t write_page(struct page_cache *c, struct io *io, size_t len)
{
	size_t offset = io->pos % PAGE_SIZE, done;
	struct page *p = cache_find(c, io->pos / PAGE_SIZE);
	ssize_t n;
	int err = reserve(c, p, io->pos / PAGE_SIZE);

	if (!err && !p && c->ops->fill && len == PAGE_SIZE) {
		n = write_new_page(c, io);
		if (n)
			return n;
	}
	if (!err && !p)
		err = cache_get(c, io->pos / PAGE_SIZE, &p);
	if (err) {
		if (p)
			page_put(p);
		return err;
	}
	done = iter_page_in_nofault(p, offset, len, &io->iter);
	if (done)
		dirty_page(c, p);
	page_put(p);
	return done;
}

int cache_write_begin(struct io *io, bool append)
{
	struct inode *i = io->file->inode;
	u64 limit = upcall_rlimit(RLIMIT_FSIZE), max = i->super->max_bytes;

	if (i->flags & INODE_SWAP)
		return -ETXTBSY;
	if (append)
		io->pos = i->size;
	if ((u64)io->pos >= limit) {
		upcall_vfs_signal(SIGXFSZ);
		return -EFBIG;
	}
	if ((u64)io->pos >= max)
		return -EFBIG;
	io->iter.count = min(io->iter.count, min(limit, max) - io->pos);
	return 0;
}

static void drop_privileged_bits(struct inode *i)
{
	if (!(i->mode & (S_ISUID | S_ISGID)) || capable_over(i->uid, i->gid, CAP_FSETID))
		return;
	i->mode &= ~S_ISUID;
	if (i->mode & S_IXGRP)
		i->mode &= ~S_ISGID;
}

void cache_write_end(struct inode *i)
{
	drop_privileged_bits(i);
	inode_touch(i, ATTR_MTIME | ATTR_CTIME);
}

static ssize_t write_locked(struct inode *i, struct io *io)
{
	ssize_t total = 0, n;

	while (io->iter.count) {
		n = write_page(i->cache, io, min(io->iter.count, PAGE_SIZE - io->pos % PAGE_SIZE));
		if (n <= 0)
			return total ? total : n;
		io->pos += n;
		total += n;
		if (io->pos > i->size)
			WRITE_ONCE(i->size, io->pos);
		resched_point();
		if (unlikely(io->iter.count) && fatal_signal_pending(current))
			break;
	}
	return total;
}

ssize_t cache_write(struct io *io)
{
	struct inode *i = io->file->inode;
	ssize_t total = 0, n = 0;

	while (io->iter.count) {
		n = iter_fault_in(&io->iter, io->iter.count, false);
		if (n)
			break;
		write_lock(&i->lock);
		n = cache_write_begin(io, io->flags & IO_APPEND && !total);
		if (!n)
			n = write_locked(i, io);
		if (n > 0)
			cache_write_end(i);
		write_unlock(&i->lock);
		if (n < 0 || fatal_signal_pending(current))
			break;
		total += n;
	}
	if (total > 0 && i->cache->wb)
		(void)!i->cache->wb->balance(i->cache, DIV_ROUND_UP((u64)total, PAGE_SIZE));
	return total ? total : n;
}

s64 cache_llseek(struct file *f, s64 off, int whence)
{
	struct inode *i = f->inode;
	s64 pos;

	if (whence != SEEK_DATA && whence != SEEK_HOLE)
		return file_llseek(f, off, whence);
	if (off < 0)
		return -ENXIO;
	write_lock(&i->lock);
	pos = cache_seek(i->cache, off, i->size, whence == SEEK_HOLE);
	write_unlock(&i->lock);
	if (pos >= 0)
		f->pos = pos;
	return pos;
}
