/* SPDX-License-Identifier: MIT
 *
 * Problem: every path is a chain of names, and nearly all of them have been looked up before, often on several
 * CPUs at once.
 *
 * Idea: a hash table from (folder, name) to dentries, read without locks or references under RCU. A dentry's name
 * is a constant object that a rename replaces, and its sequence count tells a reader that parent, name or inode
 * changed under him. Chains are singly linked; a rename may lead a reader into another chain, so a miss counts only
 * if no rename happened meanwhile (rename_seq). A dentry without users stays, on an LRU list, until memory is
 * wanted; file systems whose names live here alone (tmpfs) pin theirs.
 *
 * Contract: vfs.h. refs is -1 once a dentry dies; then nobody finds it any more and RCU frees it. A dentry holds a
 * reference on its parent.
 *
 * Locks: dentry->lock (RANK_DENTRY) guards children; a bucket lock or alias lock (RANK_ICACHE) is taken inside it or
 * alone; the LRU has a lock of the same rank, never together with another of them. Who changes a name holds the
 * folder's inode lock.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/string.h>
#include <task/tenant.h>
#include "vfs_priv.h"

#define BUCKET_BITS  12
#define LOCKS        64
#define SHRINK_LOOKS 16384 /* names looked at in one call */

static struct dentry **buckets;
static struct spinlock bucket_locks[LOCKS];
static struct seqcount rename_seq;
static struct spinlock rename_lock = SPIN_INIT(RANK_RENAME);
static struct spinlock lru_lock = SPIN_INIT(RANK_ICACHE);
static LIST(lru);
static struct kcache *dentry_cache;

void dentry_init(void)
{
	dentry_cache = kcache_create_charged("dentry", sizeof(struct dentry), 64);
	buckets = vmem_alloc(sizeof(*buckets) << BUCKET_BITS);
	ensure(dentry_cache && buckets);
	for (unsigned i = 0; i < LOCKS; i++)
		spin_init(&bucket_locks[i], RANK_ICACHE);
}

u32 name_hash(const char *str, u32 len)
{
	u32 h = 2166136261u;

	for (u32 i = 0; i < len; i++)
		h = (h ^ (u8)str[i]) * 16777619u;
	return h;
}

struct name name_of(const char *str)
{
	u32 len = strlen(str);

	return (struct name){ .str = str, .len = len, .hash = name_hash(str, len) };
}

static u32 bucket_of(const struct dentry *parent, u32 hash)
{
	u64 v = ((ulong)parent >> 6) * 0x9e3779b97f4a7c15ULL + hash;

	return (v * 0x9e3779b97f4a7c15ULL) >> (64 - BUCKET_BITS);
}

bool dentry_tryget(struct dentry *d)
{
	int n = atomic_read(&d->refs);

	while (n >= 0)
		if (atomic_try_cmpxchg(&d->refs, &n, n + 1))
			return true;
	return false;
}

void dentry_get(struct dentry *d)
{
	int n = atomic_fetch_add(&d->refs, 1);

	assert(n >= 0);
	(void)n;
}

/* ---- look-up ------------------------------------------------------------------------------------- */

static bool name_equals(const struct dname *a, const struct name *b)
{
	return a->hash == b->hash && a->len == b->len && !memcmp(a->str, b->str, b->len);
}

/* Under RCU. *seq is the state in which the dentry was seen. */
struct dentry *dentry_find_rcu(const struct dentry *parent, const struct name *n, u32 *seq)
{
	struct dentry *d = rcu_deref(buckets[bucket_of(parent, n->hash)]);

	for (; d; d = rcu_deref(d->hash_next)) {
		if (READ_ONCE(d->parent) != parent)
			continue;
		*seq = seq_read_begin(&d->seq);
		if (READ_ONCE(d->parent) == parent && name_equals(rcu_deref(d->name), n) &&
		    READ_ONCE(d->flags) & DENTRY_HASHED && !seq_read_retry(&d->seq, *seq))
			return d;
	}
	return NULL;
}

struct dentry *dentry_find(struct dentry *parent, const struct name *n)
{
	struct dentry *d;
	u32 renames, seq;

	do {
		renames = seq_read_begin(&rename_seq);
		rcu_read_lock();
		d = dentry_find_rcu(parent, n, &seq);
		if (d && (!dentry_tryget(d) || seq_read_retry(&d->seq, seq))) {
			rcu_read_unlock();
			continue;
		}
		rcu_read_unlock();
		if (d)
			return d;
	} while (seq_read_retry(&rename_seq, renames));
	return NULL;
}

int dentry_lookup_locked(struct dentry *parent, const struct name *n, struct dentry **out)
{
	struct inode *dir = parent->inode;
	struct dentry *d = dentry_find(parent, n);
	int err;

	if (d) {
		*out = d;
		return 0;
	}
	d = dentry_create(parent, n);
	if (!d)
		return -ENOMEM;
	err = dir->ops->lookup ? dir->ops->lookup(dir, d) : 0;
	if (err) {
		dentry_put(d);
		return err;
	}
	if (d->inode || !(d->super->type->flags & FS_NO_NEGATIVE))
		dentry_hash(d);
	*out = d;
	return 0;
}

int dentry_lookup(struct dentry *parent, const struct name *n, struct dentry **out)
{
	int err;

	*out = dentry_find(parent, n);
	if (*out)
		return 0;
	write_lock(&parent->inode->lock);
	err = dentry_lookup_locked(parent, n, out);
	write_unlock(&parent->inode->lock);
	return err;
}

/* ---- life --------------------------------------------------------------------------------------- */

static bool name_set(struct dentry *d, const struct name *n)
{
	struct dname *dn = kmalloc(sizeof(*dn) + n->len + 1, ALLOC_CHARGED);

	if (!dn)
		return false;
	dn->hash = n->hash;
	dn->len = n->len;
	memcpy(dn->str, n->str, n->len);
	dn->str[n->len] = '\0';
	d->name = dn;
	return true;
}

static struct dentry *dentry_alloc(struct super *s, const struct name *n)
{
	struct dentry *d = kcache_alloc(dentry_cache, ALLOC_ZERO);

	if (!d)
		return NULL;
	if (!name_set(d, n)) {
		kcache_free(dentry_cache, d);
		return NULL;
	}
	atomic_set(&d->refs, 1);
	spin_init(&d->lock, RANK_DENTRY);
	list_init(&d->children);
	list_init(&d->sibling);
	list_init(&d->alias);
	list_init(&d->lru);
	d->super = s;
	return d;
}

struct dentry *dentry_create(struct dentry *parent, const struct name *n)
{
	struct dentry *d = dentry_alloc(parent->super, n);

	if (!d)
		return NULL;
	dentry_get(parent);
	d->parent = parent;
	spin_lock(&parent->lock);
	list_add_tail(&d->sibling, &parent->children);
	spin_unlock(&parent->lock);
	return d;
}

struct dentry *dentry_create_root(struct super *s, struct inode *i)
{
	struct name slash = name_of("/");
	struct dentry *d = i ? dentry_alloc(s, &slash) : NULL;

	if (!d) {
		inode_put(i);
		return NULL;
	}
	d->parent = d;
	dentry_attach(d, i);
	return d;
}

void dentry_attach(struct dentry *d, struct inode *i)
{
	struct inode *old = d->inode;

	if (old)
		inode_unlink_alias(old, d);
	seq_write_begin(&d->seq);
	rcu_assign(d->inode, i);
	seq_write_end(&d->seq);
	if (i)
		inode_link_alias(i, d);
	inode_put(old);
}

static void free_dentry(struct rcu_head *head)
{
	struct dentry *d = container_of(head, struct dentry, rcu);

	kfree(d->name);
	kcache_free(dentry_cache, d);
}

static void lru_remove(struct dentry *d)
{
	spin_lock(&lru_lock);
	if (d->flags & DENTRY_ON_LRU) {
		list_del_init(&d->lru);
		__atomic_fetch_and(&d->flags, ~(u32)DENTRY_ON_LRU, __ATOMIC_RELAXED);
	}
	spin_unlock(&lru_lock);
}

static void lru_add(struct dentry *d)
{
	if (READ_ONCE(d->flags) & DENTRY_ON_LRU)
		return;
	spin_lock(&lru_lock);
	if (!(d->flags & DENTRY_ON_LRU) && atomic_read(&d->refs) >= 0) {
		list_add_tail(&d->lru, &lru);
		__atomic_fetch_or(&d->flags, DENTRY_ON_LRU, __ATOMIC_RELAXED);
	}
	spin_unlock(&lru_lock);
}

/* Ends a dentry whose count is 0. Its parent, to be put by the caller; NULL if somebody took a reference first. */
static struct dentry *kill(struct dentry *d)
{
	struct dentry *parent = d->parent;
	struct inode *i = d->inode;
	int none = 0;

	if (!atomic_try_cmpxchg(&d->refs, &none, -1))
		return NULL;
	dentry_drop(d);
	lru_remove(d);
	if (parent != d) {
		spin_lock(&parent->lock);
		list_del_init(&d->sibling);
		spin_unlock(&parent->lock);
	}
	if (i) {
		inode_unlink_alias(i, d);
		inode_put(i);
	}
	rcu_call(&d->rcu, free_dentry);
	return parent != d ? parent : NULL;
}

static bool worth_keeping(const struct dentry *d)
{
	u32 flags = READ_ONCE(d->flags);

	return flags & DENTRY_HASHED && !(flags & DENTRY_NOCACHE) &&
	       (d->inode || !(d->super->type->flags & FS_NO_NEGATIVE));
}

void dentry_put(struct dentry *d)
{
	while (d) {
		rcu_read_lock();
		if (atomic_sub_return(&d->refs, 1) > 0) {
			rcu_read_unlock();
			return;
		}
		if (worth_keeping(d)) {
			lru_add(d);
			rcu_read_unlock();
			return;
		}
		rcu_read_unlock();
		d = kill(d);
	}
}

/* lru_lock held: off the list, and referenced. NULL: this one cannot go. */
static struct dentry *take_idle(struct dentry *d, const struct tenant *top)
{
	if (!tenant_page_is_below(kcache_payer(dentry_cache, d), top)) {
		list_move_tail(&d->lru, &lru);
		return NULL;
	}
	list_del_init(&d->lru);
	__atomic_fetch_and(&d->flags, ~(u32)DENTRY_ON_LRU, __ATOMIC_RELAXED);
	if (atomic_read(&d->refs))
		return NULL; /* in use again: its last user puts it back */
	atomic_set(&d->refs, 1);
	return d;
}

u64 dentry_shrink(struct tenant *top, u64 count)
{
	u64 done = 0, looked = 0;

	while (done < count) {
		struct dentry *d = NULL, *parent;

		spin_lock(&lru_lock);
		while (!list_empty(&lru) && !d && looked++ < SHRINK_LOOKS)
			d = take_idle(list_first_entry(&lru, struct dentry, lru), top);
		spin_unlock(&lru_lock);
		if (!d)
			break;
		dentry_drop(d);
		parent = atomic_sub_return(&d->refs, 1) ? NULL : kill(d);
		dentry_put(parent);
		done++;
	}
	return done;
}

/* ---- the hash ------------------------------------------------------------------------------------ */

void dentry_forget_children(struct dentry *folder)
{
	struct dentry *c, *d;

	do {
		d = NULL;
		spin_lock(&folder->lock); /* whoever kills one takes it off under this lock before it is freed */
		list_for_each_entry (c, &folder->children, sibling) {
			int none = 0;

			if (atomic_try_cmpxchg(&c->refs, &none, 1)) {
				d = c;
				break;
			}
		}
		spin_unlock(&folder->lock);
		if (d) {
			dentry_drop(d);
			dentry_put(atomic_sub_return(&d->refs, 1) ? NULL : kill(d));
		}
	} while (d);
}

static void hash_insert(struct dentry *d)
{
	u32 b = bucket_of(d->parent, d->name->hash);

	spin_lock(&bucket_locks[b % LOCKS]);
	WRITE_ONCE(d->hash_next, buckets[b]); /* a reader may stand on d since before a rename */
	__atomic_fetch_or(&d->flags, DENTRY_HASHED, __ATOMIC_RELAXED);
	rcu_assign(buckets[b], d);
	spin_unlock(&bucket_locks[b % LOCKS]);
}

/* hash_next stays as it is for readers that stand on d. */
static void hash_remove(struct dentry *d)
{
	u32 b = bucket_of(d->parent, d->name->hash);
	struct dentry **link;

	spin_lock(&bucket_locks[b % LOCKS]);
	for (link = &buckets[b]; *link && *link != d; link = &(*link)->hash_next)
		;
	if (*link == d)
		rcu_assign(*link, d->hash_next);
	__atomic_fetch_and(&d->flags, ~(u32)DENTRY_HASHED, __ATOMIC_RELAXED);
	spin_unlock(&bucket_locks[b % LOCKS]);
}

void dentry_hash(struct dentry *d)
{
	assert(!(d->flags & DENTRY_HASHED));
	hash_insert(d);
}

void dentry_drop(struct dentry *d)
{
	if (READ_ONCE(d->flags) & DENTRY_HASHED)
		hash_remove(d);
}

void dentry_pin(struct dentry *d)
{
	if (!(__atomic_fetch_or(&d->flags, DENTRY_PINNED, __ATOMIC_RELAXED) & DENTRY_PINNED))
		dentry_get(d);
}

void dentry_unpin(struct dentry *d)
{
	if (__atomic_fetch_and(&d->flags, ~(u32)DENTRY_PINNED, __ATOMIC_RELAXED) & DENTRY_PINNED)
		dentry_put(d);
}

/* ---- renames -------------------------------------------------------------------------------------- */

static void reparent(struct dentry *d, struct dentry *to)
{
	struct dentry *from = d->parent;

	if (from == to)
		return;
	dentry_get(to);
	spin_lock(&from->lock);
	list_del_init(&d->sibling);
	spin_unlock(&from->lock);
	rcu_assign(d->parent, to);
	spin_lock(&to->lock);
	list_add_tail(&d->sibling, &to->children);
	spin_unlock(&to->lock);
}

/* The name objects trade places: no allocation, so a rename cannot fail half-way, and a reader's name stays whole
 * until its new owner dies. */
static void trade_names(struct dentry *a, struct dentry *b)
{
	struct dname *name = a->name;

	rcu_assign(a->name, b->name);
	rcu_assign(b->name, name);
}

static void rename_begin(struct dentry *a, struct dentry *b)
{
	spin_lock(&rename_lock);
	seq_write_begin(&rename_seq);
	seq_write_begin(&a->seq);
	seq_write_begin(&b->seq);
}

static void rename_end(struct dentry *a, struct dentry *b)
{
	seq_write_end(&b->seq);
	seq_write_end(&a->seq);
	seq_write_end(&rename_seq);
	spin_unlock(&rename_lock);
}

void dentry_move(struct dentry *d, struct dentry *onto)
{
	struct dentry *from = d->parent, *to = onto->parent;

	dentry_drop(onto);
	dentry_drop(d);
	rename_begin(d, onto);
	trade_names(d, onto);
	reparent(d, to);
	rename_end(d, onto);
	hash_insert(d);
	if (from != to)
		dentry_put(from);
}

void dentry_exchange(struct dentry *a, struct dentry *b)
{
	struct dentry *pa = a->parent, *pb = b->parent;

	dentry_drop(a);
	dentry_drop(b);
	rename_begin(a, b);
	trade_names(a, b);
	reparent(a, pb);
	reparent(b, pa);
	rename_end(a, b);
	hash_insert(a);
	hash_insert(b);
	if (pa != pb) {
		dentry_put(pa);
		dentry_put(pb);
	}
}

bool dentry_is_below(struct dentry *d, struct dentry *folder)
{
	u32 renames;
	bool below;

	do {
		struct dentry *at = d;

		renames = seq_read_begin(&rename_seq);
		rcu_read_lock();
		while (at != folder && at != READ_ONCE(at->parent))
			at = READ_ONCE(at->parent);
		below = at == folder;
		rcu_read_unlock();
	} while (seq_read_retry(&rename_seq, renames));
	return below;
}

struct dentry *dentry_parent_get(struct dentry *d)
{
	struct dentry *p;

	rcu_read_lock();
	do {
		p = READ_ONCE(d->parent);
	} while (!dentry_tryget(p));
	rcu_read_unlock();
	return p;
}

/* ---- taking a whole tree down ------------------------------------------------------------------------ */

/* The deepest first name below d, counted; d itself if it has none. Takes over the reference on d. */
static struct dentry *descend(struct dentry *d)
{
	for (;;) {
		struct dentry *child, *found = NULL;

		spin_lock(&d->lock);
		list_for_each_entry (child, &d->children, sibling) {
			if (dentry_tryget(child)) {
				found = child;
				break;
			}
		}
		spin_unlock(&d->lock);
		if (!found)
			return d;
		dentry_put(d);
		d = found;
	}
}

void dentry_destroy_tree(struct dentry *root)
{
	dentry_get(root);
	for (;;) {
		struct dentry *d;

		dentry_get(root);
		d = descend(root);
		if (d == root)
			break;
		dentry_drop(d);
		dentry_unpin(d);
		ensure(atomic_read(&d->refs) == 1);
		dentry_put(d);
	}
	dentry_put(root);
	dentry_put(root);
	dentry_drop(root);
	dentry_unpin(root);
	dentry_put(root);
}
