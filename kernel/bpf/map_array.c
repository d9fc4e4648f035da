/* SPDX-License-Identifier: MIT
 *
 * Problem: the map that programs use most is an array; a look-up has to cost a comparison and a multiplication.
 *
 * Idea: one block of zeroed elements, 8-byte rounded; nothing is ever added or removed. The per-CPU kind has a row of
 * values for each index. Keys are u32; an index beyond the end is not found (E2BIG on update).
 *
 * Contract: bpf/map.h. Values are updated in place without a lock: concurrent writers of one element mix, as in Linux.
 *
 * Locks: none.
 */
#include "helper_priv.h"
#include "map_priv.h"

struct array {
	struct bpf_map map;
	u32 stride;
	u8 *values;
};

static u32 index_of(const void *key)
{
	u32 i;

	memcpy(&i, key, 4);
	return i;
}

static int check(const union bpf_attr *attr)
{
	u32 known = BPF_F_NUMA_NODE | BPF_F_MMAPABLE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG |
		    BPF_F_WRONLY_PROG | BPF_F_PRESERVE_ELEMS | BPF_F_INNER_MAP;

	if (attr->max_entries == 0 || attr->key_size != 4 || attr->value_size == 0 || attr->map_flags & ~known)
		return fail(EINVAL, "array: %u entries, key %u, value %u, flags %#x", attr->max_entries, attr->key_size,
			    attr->value_size, attr->map_flags);
	if ((attr->map_flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) == (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EINVAL;
	if (attr->map_type != BPF_MAP_TYPE_ARRAY && attr->map_flags & (BPF_F_MMAPABLE | BPF_F_INNER_MAP))
		return -EINVAL;
	if (attr->map_type != BPF_MAP_TYPE_PERF_EVENT_ARRAY && attr->map_flags & BPF_F_PRESERVE_ELEMS)
		return -EINVAL;
	if (attr->value_size > INT32_MAX)
		return -E2BIG;
	return 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	bool percpu = attr->map_type == BPF_MAP_TYPE_PERCPU_ARRAY;
	u64 stride = percpu ? (u64)cpu_stride(attr->value_size) * bpf_env.cpus : ALIGN_UP((u64)attr->value_size, 8ULL);
	struct array *a = kzalloc(sizeof(*a), 0);

	*err = -ENOMEM;
	if (!a || stride > UINT32_MAX) {
		kfree(a);
		return NULL;
	}
	bpf_map_init(&a->map, percpu ? &bpf_percpu_array_ops : &bpf_array_ops, attr);
	a->stride = (u32)stride;
	a->values = attr->map_flags & BPF_F_MMAPABLE ? vmem_alloc(attr->max_entries * stride)
						     : big_alloc(attr->max_entries, stride);
	a->map.memory_bytes = stride * attr->max_entries;
	if (!a->values) {
		kfree(a);
		return NULL;
	}
	return &a->map;
}

static void destroy(struct bpf_map *map)
{
	struct array *a = container_of(map, struct array, map);

	big_free(a->values);
	kfree(a);
}

static void *lookup(struct bpf_map *map, const void *key)
{
	struct array *a = container_of(map, struct array, map);
	u32 i = index_of(key);

	return i < map->max_entries ? a->values + (size_t)i * a->stride : NULL;
}

static void *lookup_cpu(struct bpf_map *map, const void *key, u32 cpu)
{
	u8 *row = lookup(map, key);

	return row && cpu < bpf_env.cpus ? row + (size_t)cpu * cpu_stride(map->value_size) : NULL;
}

static void *lookup_here(struct bpf_map *map, const void *key)
{
	return lookup_cpu(map, key, bpf_env.cpu_id());
}

u8 *bpf_array_layout(struct bpf_map *map, u32 *stride)
{
	struct array *a = container_of(map, struct array, map);

	*stride = a->stride;
	return a->values;
}

static int update(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	u8 *v = map->ops == &bpf_array_ops ? lookup(map, key) : lookup_here(map, key);

	if (update_flags_ok(flags))
		return fail(EINVAL, "update flags: %#llx", (unsigned long long)flags);
	if (!v)
		return -E2BIG;
	if (flags & BPF_NOEXIST)
		return -EEXIST;
	bpf_value_write(map, v, value, flags);
	return 0;
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

/* Direct access is for maps with one element, such as a program's variables. */
static int value_addr(struct bpf_map *map, u32 off, u64 *addr)
{
	struct array *a = container_of(map, struct array, map);

	if (map->max_entries != 1)
		return -ENOTSUPP;
	if (off >= map->value_size)
		return -EINVAL;
	*addr = (u64)(ulong)a->values;
	return 0;
}

static int for_each(struct bpf_map *map, int (*fn)(struct bpf_map *, void *, void *, void *), void *arg)
{
	for (u32 i = 0; i < map->max_entries; i++) {
		void *v = map->ops == &bpf_array_ops ? lookup(map, &i) : lookup_here(map, &i);

		if (fn(map, &i, v, arg))
			return (int)i + 1;
	}
	return (int)map->max_entries;
}

const struct bpf_map_ops bpf_array_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.lookup = lookup,
	.update = update,
	.remove = bpf_map_remove_none,
	.next_key = next_key,
	.peek_sys = lookup,
	.value_addr = value_addr,
	.for_each = for_each,
};

const struct bpf_map_ops bpf_percpu_array_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.lookup = lookup_here,
	.update = update,
	.remove = bpf_map_remove_none,
	.next_key = next_key,
	.lookup_cpu = lookup_cpu,
	.for_each = for_each,
};
