/* SPDX-License-Identifier: MIT
 *
 * Problem: a program wants to remember something about each socket that it meets, without a table whose dead entries
 * nobody removes.
 *
 * Idea: entries of all such maps stand in one table, by their owner (the socket) alone: the end of a socket looks into
 * one bucket. A program gets an entry's value, which it may let be made; bpf(2) names the socket by a descriptor, which
 * the caller has turned into the owner already.
 *
 * Contract: bpf/map.h, bpf/sock_storage.h. A key is a pointer to the owner's address. BPF_F_CLONE is not built.
 *
 * Locks: one for each bucket; entries are freed after running programs.
 */
#include <bpf/sock_storage.h>
#include <lib/list.h>
#include "map_priv.h"

#define BUCKETS    256
#define MOST_BYTES (65535 - 128)

struct entry {
	struct list link;
	struct bpf_map *map;
	const void *owner;
	u8 value[] __aligned(8);
};

static struct bucket {
	struct bpf_lock lock;
	struct list entries; /* of no list yet: next is NULL */
} buckets[BUCKETS];

static struct bucket *bucket_of(const void *owner)
{
	return &buckets[(ulong)owner / 64 * 0x9e3779b97f4a7c15ULL >> 56];
}

static ulong open_bucket(struct bucket *b)
{
	ulong irq = bpf_lock(&b->lock);

	if (!b->entries.next)
		list_init(&b->entries);
	return irq;
}

static void free_now(void *e)
{
	kfree(e);
}

static int check(const union bpf_attr *attr)
{
	if (attr->map_flags != BPF_F_NO_PREALLOC || attr->max_entries || attr->key_size != sizeof(int) ||
	    !attr->value_size || !attr->btf_key_type_id || !attr->btf_value_type_id)
		return fail(EINVAL, "socket storage: flags %#x, key %u, value %u, or no BTF", attr->map_flags,
			    attr->key_size, attr->value_size);
	return attr->value_size > MOST_BYTES ? -E2BIG : 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct bpf_map *map = kzalloc(sizeof(*map), 0);

	*err = -ENOMEM;
	if (map)
		bpf_map_init(map, &bpf_sk_storage_ops, attr);
	return map;
}

/* Takes entries out of a bucket: of the map, or (NULL) of the owner. */
static void empty(struct bucket *b, const struct bpf_map *map, const void *owner)
{
	struct entry *e, *next;
	ulong irq = open_bucket(b);

	list_for_each_entry_safe (e, next, &b->entries, link)
		if (map ? e->map == map : e->owner == owner) {
			list_del(&e->link);
			bpf_env.call_rcu(e, free_now);
		}
	bpf_unlock(&b->lock, irq);
}

static void destroy(struct bpf_map *map)
{
	for (u32 i = 0; i < BUCKETS; i++)
		empty(&buckets[i], map, NULL);
	kfree(map);
}

void bpf_sock_storage_drop(const void *owner)
{
	empty(bucket_of(owner), NULL, owner);
}

/* The bucket's lock is held. */
static struct entry *find(struct bucket *b, const struct bpf_map *map, const void *owner)
{
	struct entry *e;

	list_for_each_entry (e, &b->entries, link)
		if (e->owner == owner && e->map == map)
			return e;
	return NULL;
}

static struct entry *find_locked(const struct bpf_map *map, const void *owner)
{
	struct bucket *b = bucket_of(owner);
	ulong irq = open_bucket(b);
	struct entry *e = find(b, map, owner);

	bpf_unlock(&b->lock, irq);
	return e;
}

/* The owner's entry, made if there is none; NULL: no memory. fresh: it was made. */
static struct entry *obtain(struct bpf_map *map, const void *owner, const void *value, bool *fresh)
{
	struct bucket *b = bucket_of(owner);
	struct entry *e = kzalloc(sizeof(*e) + map->elem_bytes, ALLOC_ATOMIC), *old;
	ulong irq;

	if (!e)
		return NULL;
	e->map = map;
	e->owner = owner;
	if (value)
		bpf_value_write(map, e->value, value, 0);
	irq = open_bucket(b);
	old = find(b, map, owner);
	if (!old)
		list_add(&e->link, &b->entries);
	bpf_unlock(&b->lock, irq);
	*fresh = !old;
	if (old)
		kfree(e);
	return old ? old : e;
}

void *bpf_sock_storage_get(struct bpf_map *map, const void *owner, const void *value, u64 flags)
{
	struct entry *e = flags > BPF_SK_STORAGE_GET_F_CREATE ? NULL : find_locked(map, owner);
	bool fresh;

	if (!e && flags == BPF_SK_STORAGE_GET_F_CREATE)
		e = obtain(map, owner, value, &fresh);
	return e ? e->value : NULL;
}

int bpf_sock_storage_delete(struct bpf_map *map, const void *owner)
{
	struct bucket *b = bucket_of(owner);
	ulong irq = open_bucket(b);
	struct entry *e = find(b, map, owner);

	if (e)
		list_del(&e->link);
	bpf_unlock(&b->lock, irq);
	if (e)
		bpf_env.call_rcu(e, free_now);
	return e ? 0 : -ENOENT;
}

/* ---- bpf(2) --------------------------------------------------------------------------------------------------------
 */

static const void *owner_of(const void *key)
{
	const void *owner;

	memcpy(&owner, key, sizeof(owner));
	return owner;
}

static void *peek_sys(struct bpf_map *map, const void *key)
{
	struct entry *e = find_locked(map, owner_of(key));

	return e ? e->value : NULL;
}

static int update(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	struct entry *e = find_locked(map, owner_of(key));
	bool fresh = false;

	if (update_flags_ok(flags))
		return -EINVAL;
	if (e && (flags & ~(u64)BPF_F_LOCK) == BPF_NOEXIST)
		return -EEXIST;
	if (!e && (flags & ~(u64)BPF_F_LOCK) == BPF_EXIST)
		return -ENOENT;
	if (!e)
		e = obtain(map, owner_of(key), value, &fresh);
	if (e && !fresh)
		bpf_value_write(map, e->value, value, flags);
	return e ? 0 : -ENOMEM;
}

static int remove_one(struct bpf_map *map, const void *key)
{
	return bpf_sock_storage_delete(map, owner_of(key));
}

static int no_next(struct bpf_map *map, const void *key, void *next)
{
	return -ENOTSUPP;
}

const struct bpf_map_ops bpf_sk_storage_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.update = update,
	.remove = remove_one,
	.next_key = no_next,
	.peek_sys = peek_sys,
};
