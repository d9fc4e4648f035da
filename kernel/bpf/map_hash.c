/* SPDX-License-Identifier: MIT
 *
 * Problem: hash maps are read on every packet by all CPUs while others insert and delete; LRU maps must also know what
 * was used least recently and never be full.
 *
 * Idea: chains of elements, read without a lock; writers lock their bucket. Elements come from one preallocated block
 * and are reused at once, so a reader may be carried into another chain: each chain ends in a mark with its number,
 * and a reader that ends at a foreign mark starts again. Without preallocation, elements are freed after the
 * programs that may see them.
 *
 *      bucket -> element -> element -> (number << 1 | 1)
 *
 * The LRU list is exact: a program's look-up and every update move the element to the front (unless it is there), an
 * insertion into a full map evicts the last one. Look-ups by bpf(2) do not count as use.
 *
 * Contract: bpf/map.h. E2BIG when full (not LRU), ENOENT, EEXIST; keys up to 512 bytes.
 *
 * Locks: bucket lock, then pool lock (free list and LRU list). An eviction unlinks under the victim's bucket lock
 * alone, taken without holding another.
 */
#include <lib/list.h>
#include "map_priv.h"

struct element {
	ulong next; /* element or end mark */
	u32 hash;
	bool used;
	struct list link; /* free list, or LRU list: front is most recent */
	u8 *values;       /* per-CPU kinds */
	u8 key[] __aligned(8);
};

struct bucket {
	ulong first;
	struct bpf_lock lock;
};

struct hash {
	struct bpf_map map;
	bool percpu, lru, prealloc;
	u32 nbuckets; /* power of two */
	u32 seed;
	u32 key_bytes; /* rounded up to 8 */
	size_t element_bytes;
	struct bucket *buckets;
	u8 *pool;
	u8 *percpu_pool;
	struct bpf_lock pool_lock; /* free, recent, count */
	struct list free, recent;
	u32 count;
};

static struct hash *hash_of(struct bpf_map *map)
{
	return container_of(map, struct hash, map);
}

static ulong end_mark(u32 bucket)
{
	return (ulong)bucket << 1 | 1;
}

static struct element *as_element(ulong link)
{
	return link & 1 ? NULL : (struct element *)link;
}

static u64 word_of(const u8 *key)
{
	u64 w;

	memcpy(&w, key, 8);
	return w;
}

/* The last bytes of a key, fewer than eight. */
static u64 rest_of(const u8 *key, u32 bytes)
{
	u32 half = 0;
	u64 w = 0;

	if (bytes & 4) {
		memcpy(&half, key, 4);
		key += 4;
	}
	for (u32 i = 0; i < (bytes & 3); i++)
		w = w << 8 | key[i];
	return w << 32 | half;
}

static u64 mix(u64 x, u64 w)
{
	unsigned __int128 p = (unsigned __int128)(x ^ w) * 0x9e3779b97f4a7c15ULL;

	return (u64)p ^ (u64)(p >> 64) ^ w;
}

/* Multiply-and-fold over words; the seed keeps chains unpredictable for who chooses the keys. */
static u32 hash_key(const struct hash *h, const u8 *key, u32 bytes)
{
	u64 x = h->seed ^ ((u64)bytes << 32);

	for (; bytes >= 8; bytes -= 8, key += 8)
		x = mix(x, word_of(key));
	if (bytes)
		x = mix(x, rest_of(key, bytes));
	return (u32)(x ^ x >> 32);
}

static bool same_key(const u8 *a, const u8 *b, u32 bytes)
{
	for (; bytes >= 8; bytes -= 8, a += 8, b += 8)
		if (word_of(a) != word_of(b))
			return false;
	return !bytes || rest_of(a, bytes) == rest_of(b, bytes);
}

static u8 *value_of(const struct hash *h, struct element *e)
{
	return h->percpu ? e->values + (size_t)bpf_env.cpu_id() * cpu_stride(h->map.value_size) : e->key + h->key_bytes;
}

/* ---- creation --------------------------------------------------------------------------------------------- */

static int check(const union bpf_attr *attr)
{
	bool lru = attr->map_type == BPF_MAP_TYPE_LRU_HASH || attr->map_type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
	u32 known = BPF_F_NO_PREALLOC | BPF_F_NO_COMMON_LRU | BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY |
		    BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG | BPF_F_ZERO_SEED;

	if (attr->map_flags & ~known)
		return fail(EINVAL, "hash map flags: %#x", attr->map_flags);
	if ((attr->map_flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) == (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EINVAL;
	if (!lru && attr->map_flags & BPF_F_NO_COMMON_LRU)
		return -EINVAL;
	if (lru && attr->map_flags & BPF_F_NO_PREALLOC)
		return -ENOTSUPP;
	if (attr->max_entries == 0 || attr->key_size == 0 || attr->value_size == 0)
		return fail(EINVAL, "hash map: %u entries, key %u, value %u", attr->max_entries, attr->key_size,
			    attr->value_size);
	if ((u64)attr->key_size + attr->value_size >= MAX_VALUE_BYTES - sizeof(struct element))
		return -E2BIG;
	return 0;
}

static bool make_pool(struct hash *h)
{
	u32 n = h->map.max_entries + (h->lru ? 0 : bpf_env.cpus); /* spare ones to replace values with */
	size_t stride = (size_t)cpu_stride(h->map.value_size) * bpf_env.cpus;

	h->pool = big_alloc(n, h->element_bytes);
	if (h->percpu)
		h->percpu_pool = big_alloc(n, stride);
	if (!h->pool || (h->percpu && !h->percpu_pool))
		return false;
	for (u32 i = 0; i < n; i++) {
		struct element *e = (struct element *)(h->pool + i * h->element_bytes);

		e->next = end_mark(UINT32_MAX);
		if (h->percpu)
			e->values = h->percpu_pool + i * stride;
		list_add_tail(&e->link, &h->free);
	}
	h->map.memory_bytes = n * (h->element_bytes + (h->percpu ? stride : 0));
	return true;
}

static void destroy(struct bpf_map *map)
{
	struct hash *h = hash_of(map);

	for (u32 b = 0; !h->prealloc && h->buckets && b < h->nbuckets; b++) {
		struct element *e = as_element(h->buckets[b].first), *next;

		for (; e; e = next) {
			next = as_element(e->next);
			kfree(e->values);
			kfree(e);
		}
	}
	big_free(h->pool);
	big_free(h->percpu_pool);
	big_free(h->buckets);
	kfree(h);
}

static struct bpf_map *create_as(const union bpf_attr *attr, int *err, const struct bpf_map_ops *ops)
{
	struct hash *h = kzalloc(sizeof(*h), 0);
	u64 n = 1;

	*err = -ENOMEM;
	if (!h)
		return NULL;
	bpf_map_init(&h->map, ops, attr);
	h->percpu = ops == &bpf_percpu_hash_ops || ops == &bpf_lru_percpu_hash_ops;
	h->lru = ops == &bpf_lru_hash_ops || ops == &bpf_lru_percpu_hash_ops;
	h->prealloc = !(attr->map_flags & BPF_F_NO_PREALLOC);
	h->seed = attr->map_flags & BPF_F_ZERO_SEED ? 0 : bpf_env.random_u32();
	h->key_bytes = ALIGN_UP(attr->key_size, 8U);
	h->element_bytes = ALIGN_UP(sizeof(struct element) + h->key_bytes + (h->percpu ? 0 : h->map.elem_bytes), 8UL);
	list_init(&h->free);
	list_init(&h->recent);
	while (n < attr->max_entries)
		n *= 2;
	h->nbuckets = (u32)min(n, (u64)1 << 31);
	h->buckets = big_alloc(h->nbuckets, sizeof(*h->buckets));
	for (u32 i = 0; h->buckets && i < h->nbuckets; i++)
		h->buckets[i].first = end_mark(i);
	if (!h->buckets || (h->prealloc && !make_pool(h))) {
		destroy(&h->map);
		return NULL;
	}
	return &h->map;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	switch (attr->map_type) {
	case BPF_MAP_TYPE_PERCPU_HASH: return create_as(attr, err, &bpf_percpu_hash_ops);
	case BPF_MAP_TYPE_LRU_HASH: return create_as(attr, err, &bpf_lru_hash_ops);
	case BPF_MAP_TYPE_LRU_PERCPU_HASH: return create_as(attr, err, &bpf_lru_percpu_hash_ops);
	}
	return create_as(attr, err, &bpf_hash_ops);
}

/* ---- reading ------------------------------------------------------------------------------------------------ */

static struct element *find(struct hash *h, const void *key, u32 hash)
{
	u32 b = hash & (h->nbuckets - 1);
	ulong link;

again:
	link = smp_load_acquire(&h->buckets[b].first);
	for (struct element *e; (e = as_element(link)); link = smp_load_acquire(&e->next))
		if (e->hash == hash && same_key(e->key, key, h->map.key_size))
			return e;
	if (link != end_mark(b))
		goto again; /* carried away by a reused element */
	return NULL;
}

static void touch(struct hash *h, struct element *e)
{
	ulong flags;

	if (READ_ONCE(h->recent.next) == &e->link)
		return;
	flags = bpf_lock(&h->pool_lock);
	if (e->used) {
		list_del(&e->link);
		list_add(&e->link, &h->recent);
	}
	bpf_unlock(&h->pool_lock, flags);
}

static void *lookup(struct bpf_map *map, const void *key)
{
	struct hash *h = hash_of(map);
	struct element *e = find(h, key, hash_key(h, key, map->key_size));

	if (!e)
		return NULL;
	if (h->lru)
		touch(h, e);
	return value_of(h, e);
}

static void *lookup_quiet(struct bpf_map *map, const void *key)
{
	struct hash *h = hash_of(map);
	struct element *e = find(h, key, hash_key(h, key, map->key_size));

	return e ? value_of(h, e) : NULL;
}

static void *lookup_cpu(struct bpf_map *map, const void *key, u32 cpu)
{
	struct hash *h = hash_of(map);
	struct element *e = find(h, key, hash_key(h, key, map->key_size));

	return e && cpu < bpf_env.cpus ? e->values + (size_t)cpu * cpu_stride(map->value_size) : NULL;
}

static int next_key(struct bpf_map *map, const void *key, void *next)
{
	struct hash *h = hash_of(map);
	u32 hash = key ? hash_key(h, key, map->key_size) : 0, b = key ? hash & (h->nbuckets - 1) : 0;
	struct element *e = key ? find(h, key, hash) : NULL;

	if (e) {
		e = as_element(smp_load_acquire(&e->next));
		b++;
	} else {
		b = 0; /* an unknown key starts over */
	}
	for (; !e && b < h->nbuckets; b++)
		e = as_element(smp_load_acquire(&h->buckets[b].first));
	if (!e)
		return -ENOENT;
	memcpy(next, e->key, map->key_size);
	return 0;
}

static int for_each(struct bpf_map *map, int (*fn)(struct bpf_map *, void *, void *, void *), void *arg)
{
	struct hash *h = hash_of(map);
	int n = 0;

	for (u32 b = 0; b < h->nbuckets; b++)
		for (struct element *e = as_element(smp_load_acquire(&h->buckets[b].first)); e;
		     e = as_element(smp_load_acquire(&e->next))) {
			n++;
			if (fn(map, e->key, value_of(h, e), arg))
				return n;
		}
	return n;
}

/* ---- writing ------------------------------------------------------------------------------------------------ */

static void free_unseen(void *obj)
{
	struct element *e = obj;

	kfree(e->values);
	kfree(e);
}

static void give_back(struct hash *h, struct element *e)
{
	ulong flags = bpf_lock(&h->pool_lock);

	h->count--;
	if (h->prealloc) {
		if (h->lru && e->used)
			list_del(&e->link);
		e->used = false;
		list_add(&e->link, &h->free);
	}
	bpf_unlock(&h->pool_lock, flags);
	if (!h->prealloc)
		bpf_env.call_rcu(e, free_unseen);
}

static bool unlink(struct hash *h, struct element *e)
{
	ulong *link = &h->buckets[e->hash & (h->nbuckets - 1)].first;

	for (struct element *i; (i = as_element(*link)); link = &i->next)
		if (i == e) {
			smp_store_release(link, e->next);
			return true;
		}
	return false;
}

static void evict(struct hash *h)
{
	struct element *e = NULL;
	struct bucket *b;
	ulong flags = bpf_lock(&h->pool_lock);

	if (list_empty(&h->free) && !list_empty(&h->recent))
		e = list_last_entry(&h->recent, struct element, link);
	bpf_unlock(&h->pool_lock, flags);
	if (!e)
		return;
	b = &h->buckets[e->hash & (h->nbuckets - 1)];
	flags = bpf_lock(&b->lock);
	if (e->used && unlink(h, e))
		give_back(h, e);
	bpf_unlock(&b->lock, flags);
}

/* An element that is nobody's. replacing: the map does not grow. */
static struct element *take(struct hash *h, bool replacing, int *err)
{
	struct element *e = NULL;
	ulong flags = bpf_lock(&h->pool_lock);

	bool room = h->count < h->map.max_entries + (replacing ? bpf_env.cpus : 0);

	*err = -E2BIG;
	if (room && h->prealloc && !list_empty(&h->free)) {
		e = list_first_entry(&h->free, struct element, link);
		list_del(&e->link);
	}
	if (room && (e || !h->prealloc))
		h->count++;
	bpf_unlock(&h->pool_lock, flags);
	if (!room)
		return NULL;
	if (h->prealloc)
		return e;
	e = kzalloc(h->element_bytes, ALLOC_ATOMIC);
	if (e && h->percpu)
		e->values = kzalloc((size_t)cpu_stride(h->map.value_size) * bpf_env.cpus, ALLOC_ATOMIC);
	if (e && (!h->percpu || e->values))
		return e;
	kfree(e);
	*err = -ENOMEM;
	flags = bpf_lock(&h->pool_lock);
	h->count--;
	bpf_unlock(&h->pool_lock, flags);
	return NULL;
}

static void fill(struct hash *h, struct element *e, const void *key, u32 hash, const void *value)
{
	memcpy(e->key, key, h->map.key_size);
	e->hash = hash;
	if (h->percpu)
		memset(e->values, 0, (size_t)cpu_stride(h->map.value_size) * bpf_env.cpus);
	memcpy(value_of(h, e), value, h->map.value_size);
	if (h->map.spin_lock_off >= 0)
		memset(value_of(h, e) + h->map.spin_lock_off, 0, 4);
}

static void put_first(struct hash *h, struct bucket *b, struct element *e)
{
	ulong flags;

	e->next = b->first;
	smp_store_release(&b->first, (ulong)e);
	flags = bpf_lock(&h->pool_lock);
	e->used = true;
	if (h->lru)
		list_add(&e->link, &h->recent);
	bpf_unlock(&h->pool_lock, flags);
}

static int update_in_place(struct hash *h, struct element *e, const void *value, u64 flags)
{
	bpf_value_write(&h->map, value_of(h, e), value, flags);
	if (h->lru)
		touch(h, e);
	return 0;
}

static int insert_locked(struct hash *h, struct bucket *b, const void *key, u32 hash, const void *value, u64 flags)
{
	struct element *old = find(h, key, hash), *e;
	int err;

	if (old && flags & BPF_NOEXIST)
		return -EEXIST;
	if (!old && flags & BPF_EXIST)
		return -ENOENT;
	/* In place: per-CPU values, values with a lock, and LRU, whose pool has no spare. */
	if (old && (h->percpu || flags & BPF_F_LOCK || h->lru))
		return update_in_place(h, old, value, flags);
	e = take(h, old != NULL, &err);
	if (!e)
		return err;
	fill(h, e, key, hash, value);
	put_first(h, b, e);
	if (old) {
		unlink(h, old);
		give_back(h, old);
	}
	return 0;
}

static int update(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	struct hash *h = hash_of(map);
	u32 hash = hash_key(h, key, map->key_size);
	struct bucket *b = &h->buckets[hash & (h->nbuckets - 1)];
	ulong irq;
	int err;

	if (update_flags_ok(flags))
		return fail(EINVAL, "update flags: %#llx", (unsigned long long)flags);
	/* Another CPU may take the slot that an eviction freed: try again, a few times. */
	for (int round = 0; round < 8; round++) {
		irq = bpf_lock(&b->lock);
		err = insert_locked(h, b, key, hash, value, flags);
		bpf_unlock(&b->lock, irq);
		if (err != -E2BIG || !h->lru)
			return err;
		evict(h);
	}
	return -ENOMEM;
}

static int delete_key(struct bpf_map *map, const void *key)
{
	struct hash *h = hash_of(map);
	u32 hash = hash_key(h, key, map->key_size);
	struct bucket *b = &h->buckets[hash & (h->nbuckets - 1)];
	ulong irq = bpf_lock(&b->lock);
	struct element *e = find(h, key, hash);

	if (e) {
		unlink(h, e);
		give_back(h, e);
	}
	bpf_unlock(&b->lock, irq);
	return e ? 0 : -ENOENT;
}

int bpf_hash_bucket(struct bpf_map *map, u32 number, u8 *keys, u8 *values, u32 room, bool take)
{
	struct hash *h = hash_of(map);
	u32 step = bpf_map_value_bytes(map), n = 0;
	struct bucket *b = &h->buckets[number];
	struct element *e, *next;
	ulong irq;

	if (number >= h->nbuckets)
		return -ENOENT;
	irq = bpf_lock(&b->lock);
	for (e = as_element(b->first); e; e = as_element(e->next))
		n++;
	if (n > room) {
		bpf_unlock(&b->lock, irq);
		return -ENOSPC;
	}
	for (e = as_element(b->first); e; e = next) {
		next = as_element(e->next);
		memcpy(keys, e->key, map->key_size);
		for (u32 cpu = 0; h->percpu && cpu < bpf_env.cpus; cpu++)
			memcpy(values + (size_t)cpu * map->elem_bytes,
			       e->values + (size_t)cpu * cpu_stride(map->value_size), map->value_size);
		if (!h->percpu)
			memcpy(values, e->key + h->key_bytes, map->value_size);
		if (!h->percpu && map->spin_lock_off >= 0)
			memset(values + map->spin_lock_off, 0, 4);
		keys += map->key_size;
		values += step;
		if (take) {
			unlink(h, e);
			give_back(h, e);
		}
	}
	bpf_unlock(&b->lock, irq);
	return (int)n;
}

#define COMMON                                                                                                         \
	.check = check, .create = create, .destroy = destroy, .lookup = lookup, .update = update,                      \
	.remove = delete_key, .next_key = next_key, .for_each = for_each

const struct bpf_map_ops bpf_hash_ops = { COMMON, .peek_sys = lookup_quiet };
const struct bpf_map_ops bpf_lru_hash_ops = { COMMON, .peek_sys = lookup_quiet };
const struct bpf_map_ops bpf_percpu_hash_ops = { COMMON, .lookup_cpu = lookup_cpu };
const struct bpf_map_ops bpf_lru_percpu_hash_ops = { COMMON, .lookup_cpu = lookup_cpu };
