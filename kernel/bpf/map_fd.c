/* SPDX-License-Identifier: MIT
 *
 * Problem: some maps hold objects: programs for tail calls, maps in maps, cgroups, perf events.
 *
 * Idea: an array of pointers, or a hash map whose values are pointers. bpf(2) turns file descriptors into objects
 * before it comes here and hands over a reference; a replaced object is released after the programs that may use it.
 *
 * Contract: bpf/map.h. A program's look-up gives the inner map itself; bpf_tail_call_target serves bpf_tail_call. A
 * program array holds programs of one kind and serves no others: the called one finds the context that it was verified
 * for.
 *
 * Locks: slots are exchanged atomically. Writers of one hash map are serialised by its lock, outside of its buckets'.
 */
#include "helper_priv.h"
#include "map_priv.h"
#include "storage_priv.h"

static struct fd_array *fds_of(struct bpf_map *map)
{
	return container_of(map, struct fd_array, map);
}

static u32 index_of(const void *key)
{
	u32 i;

	memcpy(&i, key, 4);
	return i;
}

static int check(const union bpf_attr *attr)
{
	if (attr->value_size != 4)
		return fail(EINVAL, "value size of a map of descriptors: %u", attr->value_size);
	if (attr->map_flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EINVAL;
	return bpf_array_ops.check(attr);
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct fd_array *o = kzalloc(sizeof(*o), 0);

	*err = -ENOMEM;
	if (!o)
		return NULL;
	bpf_map_init(&o->map, &bpf_fd_array_ops, attr);
	o->slots = big_alloc(attr->max_entries, sizeof(void *));
	o->map.memory_bytes = attr->max_entries * sizeof(void *);
	if (o->slots)
		return &o->map;
	kfree(o);
	return NULL;
}

static void destroy(struct bpf_map *map)
{
	struct fd_array *o = fds_of(map);

	for (u32 i = 0; i < map->max_entries; i++)
		if (o->slots[i])
			bpf_map_release_object(map, o->slots[i]);
	for (u32 k = 0; k < BPF_STORAGE_KINDS; k++)
		bpf_map_put(o->kind.storage[k]);
	big_free(o->slots);
	kfree(o);
}

static void *lookup(struct bpf_map *map, const void *key)
{
	u32 i = index_of(key);

	return i < map->max_entries ? smp_load_acquire(&fds_of(map)->slots[i]) : NULL;
}

static int set(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	u32 i = index_of(key);
	void *obj, *old;

	memcpy(&obj, value, sizeof(obj));
	if (flags != BPF_ANY)
		return fail(EINVAL, "flags for a map of descriptors: %#llx", (unsigned long long)flags);
	if (i >= map->max_entries)
		return -E2BIG;
	old = __atomic_exchange_n(&fds_of(map)->slots[i], obj, __ATOMIC_SEQ_CST);
	if (old)
		bpf_map_release_object(map, old);
	return 0;
}

static int remove_key(struct bpf_map *map, const void *key)
{
	u32 i = index_of(key);
	void *old;

	if (i >= map->max_entries)
		return -E2BIG;
	old = __atomic_exchange_n(&fds_of(map)->slots[i], NULL, __ATOMIC_SEQ_CST);
	if (!old)
		return -ENOENT;
	bpf_map_release_object(map, old);
	return 0;
}

int bpf_tail_admit(struct bpf_map *map, const struct bpf_prog *prog)
{
	struct tail_kind *kind = &fds_of(map)->kind;
	ulong flags = bpf_lock(&fds_of(map)->lock);
	bool fits = true;

	if (!kind->known) {
		*kind = (struct tail_kind){
			.known = true, .jited = prog->jited, .type = prog->type, .attach_type = prog->attach_type
		};
		for (u32 k = 0; k < BPF_STORAGE_KINDS; k++) {
			kind->storage[k] = bpf_prog_storage_map(prog, k);
			if (kind->storage[k])
				bpf_map_get(kind->storage[k]);
		}
	} else {
		fits = kind->type == prog->type && kind->attach_type == prog->attach_type &&
		       kind->jited == (prog->jited != NULL);
		for (u32 k = 0; k < BPF_STORAGE_KINDS; k++) {
			struct bpf_map *own = bpf_prog_storage_map(prog, k);

			/* One without storage may be called, but must not call on to one that expects it. */
			fits &= own == kind->storage[k] || (!own && !prog->has_tail_call);
		}
	}
	bpf_unlock(&fds_of(map)->lock, flags);
	return fits ? 0 : fail(EINVAL, "tail calls between programs of different kinds");
}

struct bpf_prog *bpf_tail_call_target(struct bpf_map *map, u64 index)
{
	return (u32)index < map->max_entries ? smp_load_acquire(&fds_of(map)->slots[(u32)index]) : NULL;
}

static int next_key(struct bpf_map *map, const void *key, void *next)
{
	u32 i = key ? index_of(key) : UINT32_MAX;

	i = i < map->max_entries ? i + 1 : 0;
	if (i == map->max_entries)
		return -ENOENT;
	memcpy(next, &i, 4);
	return 0;
}

/* ---- the hash kind: an ordinary hash map of pointers inside --------------------------------------------- */

struct hash_of_maps {
	struct bpf_map map;
	struct bpf_map *table;
	struct bpf_lock lock; /* writers: what is read before an exchange is what the exchange replaces */
};

static struct bpf_lock *lock_of(struct bpf_map *map)
{
	return &container_of(map, struct hash_of_maps, map)->lock;
}

static struct bpf_map *table_of(struct bpf_map *map)
{
	return container_of(map, struct hash_of_maps, map)->table;
}

static int check_hash(const union bpf_attr *attr)
{
	if (attr->value_size != 4)
		return fail(EINVAL, "value size of a map of descriptors: %u", attr->value_size);
	return bpf_hash_ops.check(attr);
}

static struct bpf_map *create_hash(const union bpf_attr *attr, int *err)
{
	struct hash_of_maps *h = kzalloc(sizeof(*h), 0);
	union bpf_attr inside = *attr;

	*err = -ENOMEM;
	if (!h)
		return NULL;
	bpf_map_init(&h->map, &bpf_fd_hash_ops, attr);
	inside.map_type = BPF_MAP_TYPE_HASH;
	inside.value_size = sizeof(void *);
	h->table = bpf_hash_ops.create(&inside, err);
	if (h->table)
		return &h->map;
	kfree(h);
	return NULL;
}

static int release_one(struct bpf_map *table, void *key, void *value, void *arg)
{
	bpf_map_release_object(arg, *(void **)value);
	return 0;
}

static void destroy_hash(struct bpf_map *map)
{
	bpf_hash_ops.for_each(table_of(map), release_one, map);
	bpf_hash_ops.destroy(table_of(map));
	kfree(container_of(map, struct hash_of_maps, map));
}

static void *lookup_hash(struct bpf_map *map, const void *key)
{
	void **slot = bpf_hash_ops.peek_sys(table_of(map), key);

	return slot ? READ_ONCE(*slot) : NULL;
}

static int set_hash(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	ulong irq = bpf_lock(lock_of(map));
	void *old = lookup_hash(map, key);
	int err = bpf_hash_ops.update(table_of(map), key, value, flags);

	bpf_unlock(lock_of(map), irq);
	if (!err && old)
		bpf_map_release_object(map, old);
	return err;
}

static int remove_hash(struct bpf_map *map, const void *key)
{
	ulong irq = bpf_lock(lock_of(map));
	void *old = lookup_hash(map, key);
	int err = bpf_hash_ops.remove(table_of(map), key);

	bpf_unlock(lock_of(map), irq);
	if (!err && old)
		bpf_map_release_object(map, old);
	return err;
}

static int next_hash(struct bpf_map *map, const void *key, void *next)
{
	return bpf_hash_ops.next_key(table_of(map), key, next);
}

const struct bpf_map_ops bpf_fd_hash_ops = {
	.check = check_hash,
	.create = create_hash,
	.destroy = destroy_hash,
	.lookup = lookup_hash,
	.update = set_hash,
	.remove = remove_hash,
	.next_key = next_hash,
	.peek_sys = lookup_hash,
};

int bpf_map_set_object(struct bpf_map *map, const void *key, void *obj, u64 flags)
{
	return map->ops->update(map, key, &obj, flags);
}

const struct bpf_map_ops bpf_fd_array_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.lookup = lookup,
	.update = set,
	.remove = remove_key,
	.next_key = next_key,
	.peek_sys = lookup,
};
