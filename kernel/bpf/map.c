/* SPDX-License-Identifier: MIT
 *
 * Problem: twenty kinds of maps share creation rules, names, references and the way bpf(2) copies values in and out.
 *
 * Idea: a table from type to operations; this file does what is the same for all. A value is copied around the bytes
 * of a bpf_spin_lock inside it; per-CPU values travel as one row of all CPUs.
 *
 * Contract: bpf/map.h. Error numbers are those of Linux 6.1.
 *
 * Locks: a map's own locks are in its type's file. refs is atomic.
 */
#include <bpf/btf.h>
#include <bpf/prog.h>
#include "helper_priv.h"
#include "map_priv.h"
#include "sys_priv.h"

static const struct bpf_map_ops *const types[] = {
	[BPF_MAP_TYPE_HASH] = &bpf_hash_ops,
	[BPF_MAP_TYPE_ARRAY] = &bpf_array_ops,
	[BPF_MAP_TYPE_PROG_ARRAY] = &bpf_fd_array_ops,
	[BPF_MAP_TYPE_PERF_EVENT_ARRAY] = &bpf_fd_array_ops,
	[BPF_MAP_TYPE_PERCPU_HASH] = &bpf_percpu_hash_ops,
	[BPF_MAP_TYPE_PERCPU_ARRAY] = &bpf_percpu_array_ops,
	[BPF_MAP_TYPE_CGROUP_ARRAY] = &bpf_fd_array_ops,
	[BPF_MAP_TYPE_LRU_HASH] = &bpf_lru_hash_ops,
	[BPF_MAP_TYPE_LRU_PERCPU_HASH] = &bpf_lru_percpu_hash_ops,
	[BPF_MAP_TYPE_LPM_TRIE] = &bpf_lpm_ops,
	[BPF_MAP_TYPE_ARRAY_OF_MAPS] = &bpf_fd_array_ops,
	[BPF_MAP_TYPE_HASH_OF_MAPS] = &bpf_fd_hash_ops,
	[BPF_MAP_TYPE_CGROUP_STORAGE] = &bpf_storage_ops,
	[BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE] = &bpf_percpu_storage_ops,
	[BPF_MAP_TYPE_QUEUE] = &bpf_queue_ops,
	[BPF_MAP_TYPE_STACK] = &bpf_stack_ops,
	[BPF_MAP_TYPE_RINGBUF] = &bpf_ringbuf_ops,
	[BPF_MAP_TYPE_SK_STORAGE] = &bpf_sk_storage_ops,
	[BPF_MAP_TYPE_BLOOM_FILTER] = &bpf_bloom_ops,
};

bool bpf_map_is_percpu(const struct bpf_map *map)
{
	return map->ops->lookup_cpu != NULL;
}

bool bpf_map_holds_fds(u32 type)
{
	return type < ARRAY_SIZE(types) && (types[type] == &bpf_fd_array_ops || types[type] == &bpf_fd_hash_ops);
}

u32 bpf_map_value_bytes(const struct bpf_map *map)
{
	if (bpf_map_is_percpu(map))
		return ALIGN_UP(map->value_size, 8U) * bpf_env.cpus;
	return bpf_map_holds_fds(map->type) ? 4 : map->value_size;
}

void bpf_map_init(struct bpf_map *map, const struct bpf_map_ops *ops, const union bpf_attr *attr)
{
	map->ops = ops;
	map->type = attr->map_type;
	map->key_size = attr->key_size;
	map->value_size = attr->value_size;
	map->max_entries = attr->max_entries;
	map->flags = attr->map_flags;
	map->extra = attr->map_extra;
	map->elem_bytes = ALIGN_UP(attr->value_size, 8U);
	map->spin_lock_off = map->timer_off = -1;
	refcount_set(&map->refs, 1);
}

int bpf_map_new(const union bpf_attr *attr, struct bpf_map *inner, struct bpf_map **out)
{
	bool of_maps = attr->map_type == BPF_MAP_TYPE_ARRAY_OF_MAPS || attr->map_type == BPF_MAP_TYPE_HASH_OF_MAPS;
	const struct bpf_map_ops *ops = attr->map_type < ARRAY_SIZE(types) ? types[attr->map_type] : NULL;
	struct bpf_map *map;
	int err;

	if (!ops)
		return fail(EINVAL, "no such map type: %u", attr->map_type);
	if (of_maps != (inner != NULL))
		return fail(EINVAL, "inner map missing or not wanted");
	if (inner && inner->inner)
		return fail(EINVAL, "maps in maps nest once");
	if (inner && inner->spin_lock_off >= 0)
		return fail(ENOTSUPP, "inner map with a lock");
	err = ops->check(attr);
	if (err)
		return err;
	map = ops->create(attr, &err);
	if (!map)
		return err;
	if (inner) {
		bpf_map_get(inner);
		map->inner = inner;
	}
	memcpy(map->name, attr->map_name, sizeof(map->name) - 1);
	*out = map;
	return 0;
}

void bpf_map_get(struct bpf_map *map)
{
	refcount_inc(&map->refs);
}

static void destroy_now(void *obj)
{
	struct bpf_map *map = obj;
	struct bpf_map *inner = map->inner;
	struct bpf_btf *btf = map->btf;

	if (map->view)
		map->free_view(map->view);
	map->ops->destroy(map);
	if (btf)
		bpf_btf_put(btf);
	if (inner)
		bpf_map_put(inner);
}

void bpf_map_put(struct bpf_map *map)
{
	if (!map || !refcount_dec_and_test(&map->refs))
		return;
	if (map->id)
		bpf_object_drop(BPF_OBJ_MAP, map->id);
	bpf_env.call_rcu(map, destroy_now);
}

void bpf_map_use(struct bpf_map *map)
{
	atomic_inc(&map->uses);
}

/* Programs in an array refer to the array by their own maps: without this, nobody could ever free either. Events are
 * let go by whom they are sent to, and may sleep then. */
void bpf_map_unuse(struct bpf_map *map)
{
	if (atomic_sub_return(&map->uses, 1) ||
	    (map->type != BPF_MAP_TYPE_PROG_ARRAY && map->type != BPF_MAP_TYPE_PERF_EVENT_ARRAY))
		return;
	for (u32 i = 0; i < map->max_entries; i++)
		(void)map->ops->remove(map, &i);
}

void bpf_map_release_object(const struct bpf_map *map, void *obj)
{
	if (map->type == BPF_MAP_TYPE_PROG_ARRAY)
		bpf_prog_put(obj);
	else if (map->inner)
		bpf_map_put(obj);
	else
		bpf_env.drop(map->type, obj);
}

void *bpf_map_pages(struct bpf_map *map, u64 *bytes)
{
	u32 a, b, c, size;

	if (map->type == BPF_MAP_TYPE_RINGBUF) {
		void *area = bpf_ringbuf_area(map, &a, &b, &c, &size);

		*bytes = c + (u64)size;
		return area;
	}
	if (map->type != BPF_MAP_TYPE_ARRAY || !(map->flags & BPF_F_MMAPABLE))
		return NULL;
	*bytes = ALIGN_UP(map->memory_bytes, PAGE_SIZE);
	return bpf_array_layout(map, &a);
}

/* ---- bpf(2)'s side ---------------------------------------------------------------------------------- */

static void copy_value(const struct bpf_map *map, u8 *dst, const u8 *src)
{
	s32 lock = map->spin_lock_off;

	if (lock < 0) {
		memcpy(dst, src, map->value_size);
		return;
	}
	memcpy(dst, src, lock);
	memcpy(dst + lock + 4, src + lock + 4, map->value_size - lock - 4);
}

static void *lock_in(const struct bpf_map *map, void *value, u64 flags)
{
	return flags & BPF_F_LOCK && map->spin_lock_off >= 0 ? (u8 *)value + map->spin_lock_off : NULL;
}

static void copy_under(const struct bpf_map *map, void *lock, void *to, const void *from)
{
	if (lock)
		bpf_map_spin_lock(lock);
	copy_value(map, to, from);
	if (lock)
		bpf_map_spin_unlock(lock);
}

void bpf_value_read(const struct bpf_map *map, void *to, void *in_map, u64 flags)
{
	copy_under(map, lock_in(map, in_map, flags), to, in_map);
}

void bpf_value_write(const struct bpf_map *map, void *in_map, const void *from, u64 flags)
{
	copy_under(map, lock_in(map, in_map, flags), in_map, from);
}

int bpf_map_remove_none(struct bpf_map *map, const void *key)
{
	return -EINVAL;
}

static int copy_out_percpu(struct bpf_map *map, const void *key, u8 *value)
{
	u32 step = ALIGN_UP(map->value_size, 8U);

	for (u32 cpu = 0; cpu < bpf_env.cpus; cpu++) {
		const void *v = map->ops->lookup_cpu(map, key, cpu);

		if (!v)
			return -ENOENT;
		memset(value + cpu * step, 0, step);
		memcpy(value + cpu * step, v, map->value_size);
	}
	return 0;
}

int bpf_map_copy_out(struct bpf_map *map, const void *key, void *value, u64 flags)
{
	void *v;

	if (flags & ~(u64)BPF_F_LOCK || (flags && map->spin_lock_off < 0))
		return fail(EINVAL, "look-up flags: %#llx", (unsigned long long)flags);
	if (map->ops->peek)
		return map->ops->peek(map, value);
	if (bpf_map_is_percpu(map))
		return copy_out_percpu(map, key, value);
	if (!map->ops->peek_sys ||
	    (bpf_map_holds_fds(map->type) && !map->inner && map->type != BPF_MAP_TYPE_PROG_ARRAY))
		return -ENOTSUPP;
	v = map->ops->peek_sys(map, key);
	if (!v)
		return -ENOENT;
	if (bpf_map_holds_fds(map->type)) { /* the object's id */
		if (!map->inner)
			memcpy(value, &((struct bpf_prog *)v)->id, 4);
		else
			memcpy(value, &((struct bpf_map *)v)->id, 4);
		return 0;
	}
	bpf_value_read(map, value, v, flags);
	if (map->spin_lock_off >= 0)
		memset((u8 *)value + map->spin_lock_off, 0, 4);
	return 0;
}

static int copy_in_percpu(struct bpf_map *map, const void *key, const u8 *value, u64 flags)
{
	u32 step = ALIGN_UP(map->value_size, 8U), here = bpf_env.cpu_id();
	int err = map->ops->update(map, key, value + here * step, flags);

	for (u32 cpu = 0; !err && cpu < bpf_env.cpus; cpu++) {
		void *v = map->ops->lookup_cpu(map, key, cpu);

		if (v)
			memcpy(v, value + cpu * step, map->value_size);
	}
	return err;
}

int bpf_map_copy_in(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	if (flags & BPF_F_LOCK && map->spin_lock_off < 0)
		return fail(EINVAL, "map has no lock");
	if (map->ops->push)
		return map->ops->push(map, value, flags);
	if (bpf_map_holds_fds(map->type))
		return -EINVAL; /* objects come by bpf_map_set_object */
	if (!map->ops->update)
		return -ENOTSUPP;
	if (bpf_map_is_percpu(map))
		return copy_in_percpu(map, key, value, flags);
	return map->ops->update(map, key, value, flags);
}

int bpf_map_pop_out(struct bpf_map *map, const void *key, void *value)
{
	int err;

	if (map->ops->pop)
		return map->ops->pop(map, value);
	if (map->ops != &bpf_hash_ops && map->ops != &bpf_lru_hash_ops && map->ops != &bpf_percpu_hash_ops &&
	    map->ops != &bpf_lru_percpu_hash_ops)
		return -ENOTSUPP;
	err = bpf_map_copy_out(map, key, value, 0);
	return err ? err : map->ops->remove(map, key);
}

/* ---- the lock in a value -------------------------------------------------------------------------------- */

static ulong lock_flags[BPF_MAX_CPUS]; /* of the one holder on each CPU; nesting is refused by the verifier */

void bpf_map_spin_lock(void *lock)
{
	ulong flags = bpf_env.irq_save();

	while (__atomic_exchange_n((u32 *)lock, 1, __ATOMIC_ACQUIRE))
		while (READ_ONCE(*(u32 *)lock))
			__builtin_ia32_pause();
	lock_flags[bpf_env.cpu_id()] = flags;
}

void bpf_map_spin_unlock(void *lock)
{
	ulong flags = lock_flags[bpf_env.cpu_id()];

	__atomic_store_n((u32 *)lock, 0, __ATOMIC_RELEASE);
	bpf_env.irq_restore(flags);
}
