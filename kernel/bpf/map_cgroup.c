/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that is attached to many cgroups wants a few bytes for each, without a look-up, which begin and
 * end with the cgroup.
 *
 * Idea: the map is a list of entries, one for each cgroup at which a program with the map was attached. Attaching makes
 * the entry, and the effective array of a hook carries its address beside the program, so that bpf_get_local_storage
 * is a load. bpf(2) finds entries by key, but neither adds nor removes any.
 *
 * Contract: bpf/map.h, storage_priv.h. A key is a cgroup's id alone, or with the attach type. Values are updated in
 * place without a lock, as an array's.
 *
 * Locks: one for the lists of all such maps, held while a list is walked; entries are freed after running programs.
 */
#include <lib/list.h>
#include "map_priv.h"
#include "storage_priv.h"

#define MAX_SHARED (65535 - 128)
#define MAX_PERCPU 32768

struct bpf_storage {
	struct list link;
	struct bpf_map *map;
	struct bpf_cgroup_storage_key key;
	u8 value[] __aligned(8);
};

struct storage_map {
	struct bpf_map map;
	struct list entries, all;
};

static struct bpf_lock lock;
static LIST(maps);

static struct storage_map *storages_of(struct bpf_map *map)
{
	return container_of(map, struct storage_map, map);
}

static bool is_percpu(const struct bpf_map *map)
{
	return map->type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static bool has_attach_type(const struct bpf_map *map)
{
	return map->key_size == sizeof(struct bpf_cgroup_storage_key);
}

static int check(const union bpf_attr *attr)
{
	u32 known = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
	u32 most = attr->map_type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE ? MAX_PERCPU : MAX_SHARED;

	if (attr->key_size != sizeof(struct bpf_cgroup_storage_key) && attr->key_size != sizeof(u64))
		return fail(EINVAL, "cgroup storage: key of %u bytes", attr->key_size);
	if (attr->value_size == 0)
		return -EINVAL;
	if (attr->value_size > most)
		return -E2BIG;
	if (attr->map_flags & ~known || attr->max_entries)
		return fail(EINVAL, "cgroup storage: flags %#x, %u entries", attr->map_flags, attr->max_entries);
	if ((attr->map_flags & (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG)) == (BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return -EINVAL;
	return 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct storage_map *m = kzalloc(sizeof(*m), 0);
	ulong flags;

	*err = -ENOMEM;
	if (!m)
		return NULL;
	bpf_map_init(&m->map,
		     attr->map_type == BPF_MAP_TYPE_CGROUP_STORAGE ? &bpf_storage_ops : &bpf_percpu_storage_ops, attr);
	list_init(&m->entries);
	flags = bpf_lock(&lock);
	list_add_tail(&m->all, &maps);
	bpf_unlock(&lock, flags);
	return &m->map;
}

static void destroy(struct bpf_map *map)
{
	struct storage_map *m = storages_of(map);
	struct bpf_storage *s, *next;
	ulong flags = bpf_lock(&lock);

	list_del(&m->all);
	bpf_unlock(&lock, flags);
	list_for_each_entry_safe (s, next, &m->entries, link)
		big_free(s);
	kfree(m);
}

/* lock held. */
static struct bpf_storage *find(struct bpf_map *map, const void *key)
{
	struct bpf_cgroup_storage_key want = { .cgroup_inode_id = 0 };
	struct bpf_storage *s;

	memcpy(&want, key, map->key_size);
	list_for_each_entry (s, &storages_of(map)->entries, link)
		if (s->key.cgroup_inode_id == want.cgroup_inode_id &&
		    (!has_attach_type(map) || s->key.attach_type == want.attach_type))
			return s;
	return NULL;
}

static struct bpf_storage *find_locked(struct bpf_map *map, const void *key)
{
	ulong flags = bpf_lock(&lock);
	struct bpf_storage *s = find(map, key);

	bpf_unlock(&lock, flags);
	return s;
}

static void *lookup(struct bpf_map *map, const void *key)
{
	struct bpf_storage *s = find_locked(map, key);

	return s ? bpf_storage_value(s) : NULL;
}

static void *lookup_cpu(struct bpf_map *map, const void *key, u32 cpu)
{
	struct bpf_storage *s = find_locked(map, key);

	return s ? s->value + (size_t)cpu * cpu_stride(map->value_size) : NULL;
}

static int update(struct bpf_map *map, const void *key, const void *value, u64 flags)
{
	u8 *v;

	if (flags & ~(u64)(BPF_F_LOCK | BPF_EXIST) || (flags & BPF_F_LOCK && is_percpu(map)))
		return -EINVAL;
	v = lookup(map, key);
	if (!v)
		return -ENOENT;
	bpf_value_write(map, v, value, flags);
	return 0;
}

static int next_key(struct bpf_map *map, const void *key, void *next)
{
	struct list *entries = &storages_of(map)->entries, *at = entries;
	ulong flags = bpf_lock(&lock);
	struct bpf_storage *s = key ? find(map, key) : NULL;
	int err = -ENOENT;

	at = s ? s->link.next : key ? entries : entries->next;
	if (at != entries) {
		memcpy(next, &list_entry(at, struct bpf_storage, link)->key, map->key_size);
		err = 0;
	}
	bpf_unlock(&lock, flags);
	return err;
}

const struct bpf_map_ops bpf_storage_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.lookup = lookup,
	.update = update,
	.remove = bpf_map_remove_none,
	.next_key = next_key,
	.peek_sys = lookup,
};

const struct bpf_map_ops bpf_percpu_storage_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.lookup = lookup,
	.update = update,
	.remove = bpf_map_remove_none,
	.next_key = next_key,
	.lookup_cpu = lookup_cpu,
};

/* ---- for attachments -----------------------------------------------------------------------------------------------
 */

struct bpf_map *bpf_prog_storage_map(const struct bpf_prog *prog, enum bpf_storage_kind kind)
{
	u32 type = kind == BPF_STORAGE_PERCPU ? BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE : BPF_MAP_TYPE_CGROUP_STORAGE;

	for (u32 i = 0; i < prog->nr_maps; i++)
		if (prog->maps[i]->type == type)
			return prog->maps[i];
	return NULL;
}

struct bpf_storage *bpf_storage_alone(struct bpf_map *map)
{
	size_t bytes = is_percpu(map) ? (size_t)cpu_stride(map->value_size) * bpf_env.cpus : map->elem_bytes;
	struct bpf_storage *s = big_alloc(1, sizeof(*s) + bytes);

	if (s)
		s->map = map;
	return s;
}

void bpf_storage_free(struct bpf_storage *s)
{
	big_free(s);
}

static void free_now(void *s)
{
	big_free(s);
}

int bpf_storage_make(struct bpf_map *map, u64 cgroup, u32 attach_type, struct bpf_storage **out)
{
	struct bpf_cgroup_storage_key key = { .cgroup_inode_id = cgroup, .attach_type = attach_type };
	struct bpf_storage *s = bpf_storage_alone(map);
	ulong flags;

	if (!s)
		return -ENOMEM;
	s->key = key;
	flags = bpf_lock(&lock);
	*out = find(map, &key);
	if (!*out) {
		list_add_tail(&s->link, &storages_of(map)->entries);
		*out = s;
	}
	bpf_unlock(&lock, flags);
	if (*out != s)
		big_free(s);
	return 0;
}

void bpf_storage_drop(u64 cgroup)
{
	struct bpf_storage *s, *next;
	struct storage_map *m;
	LIST(gone);
	ulong flags = bpf_lock(&lock);

	list_for_each_entry (m, &maps, all)
		list_for_each_entry_safe (s, next, &m->entries, link)
			if (s->key.cgroup_inode_id == cgroup) {
				list_del(&s->link);
				list_add_tail(&s->link, &gone);
			}
	bpf_unlock(&lock, flags);
	list_for_each_entry_safe (s, next, &gone, link)
		bpf_env.call_rcu(s, free_now);
}

void *bpf_storage_value(const struct bpf_storage *s)
{
	size_t here = is_percpu(s->map) ? (size_t)bpf_env.cpu_id() * cpu_stride(s->map->value_size) : 0;

	return (void *)(s->value + here);
}
