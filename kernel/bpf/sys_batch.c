/* SPDX-License-Identifier: MIT
 *
 * Problem: a map of a million elements costs two million calls to read.
 *
 * Idea: four commands work on many elements. Arrays and tries are walked by key; hash maps by bucket, so that elements
 * that come and go in between neither hide others nor show them twice, and a bucket is given whole or not at all.
 *
 * Contract: BPF_MAP_LOOKUP_BATCH and its family as in Linux 6.1: `count` says in how many there is room and out how
 * many were done, also after an error; ENOENT: the walk has reached the end. The place to go on from (in_batch,
 * out_batch) is a key, of hash maps a bucket's number.
 *
 * Locks: a bucket's, while it is copied into kernel memory.
 */
#include "map_priv.h"
#include "sys_priv.h"

static bool is_hash(const struct bpf_map *m)
{
	return m->ops == &bpf_hash_ops || m->ops == &bpf_lru_hash_ops || m->ops == &bpf_percpu_hash_ops ||
	       m->ops == &bpf_lru_percpu_hash_ops;
}

static bool is_array(const struct bpf_map *m)
{
	return m->ops == &bpf_array_ops || m->ops == &bpf_percpu_array_ops;
}

static int put_count(const struct sys *s, u32 n)
{
	return s->ops->copy_out(s->uattr + offsetof(union bpf_attr, batch.count), &n, sizeof(n));
}

/* err, unless the count cannot be told. */
static int finish(const struct sys *s, u32 n, int err)
{
	int e = err == -EFAULT ? 0 : put_count(s, n);

	return e ? e : err;
}

/* ---- reading --------------------------------------------------------------------------------------------------------
 */

/* Buckets from *number on, as far as whole ones fit; *n elements. */
static int gather(struct bpf_map *map, u32 *number, u8 *keys, u8 *values, u32 room, bool take, u32 *n)
{
	for (;; (*number)++) {
		int got = bpf_hash_bucket(map, *number, keys + (size_t)*n * map->key_size,
					  values + (size_t)*n * bpf_map_value_bytes(map), room - *n, take);

		if (got == -ENOSPC && *n)
			return 0;
		if (got < 0)
			return got;
		*n += (u32)got;
		if (*number % 256 == 255)
			bpf_env.relax();
	}
}

static int read_hash(const struct sys *s, struct bpf_map *map, const union bpf_attr *a, bool take)
{
	u32 number = 0, n = 0, room = min(a->batch.count, map->max_entries + bpf_env.cpus);
	u8 *keys, *values;
	int err = a->batch.in_batch ? s->ops->copy_in(&number, a->batch.in_batch, sizeof(number)) : 0, end;

	if (err)
		return err;
	keys = big_alloc(room, map->key_size);
	values = big_alloc(room, bpf_map_value_bytes(map));
	err = keys && values ? gather(map, &number, keys, values, room, take, &n) : -ENOMEM;
	end = err;
	if (!err || err == -ENOENT) {
		err = s->ops->copy_out(a->batch.keys, keys, (size_t)n * map->key_size);
		err = err ? err : s->ops->copy_out(a->batch.values, values, (size_t)n * bpf_map_value_bytes(map));
		err = err ? err : s->ops->copy_out(a->batch.out_batch, &number, sizeof(number));
		err = err ? err : end;
	}
	big_free(keys);
	big_free(values);
	return finish(s, n, err);
}

static int read_keys(const struct sys *s, struct bpf_map *map, const union bpf_attr *a)
{
	u32 step = bpf_map_value_bytes(map), n = 0;
	u8 *key = kzalloc(map->key_size, 0), *next = kzalloc(map->key_size, 0), *value = big_alloc(1, step);
	bool begun = a->batch.in_batch != 0;
	int err = key && next && value ? 0 : -ENOMEM;

	if (!err && begun)
		err = s->ops->copy_in(key, a->batch.in_batch, map->key_size);
	while (!err && n < a->batch.count) {
		err = map->ops->next_key(map, begun ? key : NULL, next);
		if (err)
			break;
		begun = true;
		memcpy(key, next, map->key_size);
		err = bpf_map_copy_out(map, key, value, a->batch.elem_flags);
		if (err == -ENOENT) { /* it has just gone */
			err = 0;
			continue;
		}
		err = err ? err : s->ops->copy_out(a->batch.keys + (u64)n * map->key_size, key, map->key_size);
		err = err ? err : s->ops->copy_out(a->batch.values + (u64)n * step, value, step);
		n += !err;
		if (n % 256 == 0)
			bpf_env.relax();
	}
	if ((!err || err == -ENOENT) && n && s->ops->copy_out(a->batch.out_batch, key, map->key_size))
		err = -EFAULT;
	kfree(key);
	kfree(next);
	big_free(value);
	return finish(s, n, err);
}

/* ---- writing --------------------------------------------------------------------------------------------------------
 */

static int write_one(const struct sys *s, struct bpf_map *map, const union bpf_attr *a, u32 i, u8 *key, u8 *value)
{
	u32 step = bpf_map_value_bytes(map);
	int err = s->ops->copy_in(key, a->batch.keys + (u64)i * map->key_size, map->key_size);

	if (err || !value)
		return err ? err : map->ops->remove(map, key);
	err = s->ops->copy_in(value, a->batch.values + (u64)i * step, step);
	return err ? err : bpf_map_copy_in(map, key, value, a->batch.elem_flags);
}

static int write_all(const struct sys *s, struct bpf_map *map, const union bpf_attr *a, bool removes)
{
	u8 *key = kzalloc(map->key_size, 0), *value = removes ? NULL : big_alloc(1, bpf_map_value_bytes(map));
	int err = key && (value || removes) ? 0 : -ENOMEM;
	u32 n = 0;

	atomic_inc(&map->writers);
	if (READ_ONCE(map->frozen))
		err = -EPERM;
	while (!err && n < a->batch.count) {
		err = write_one(s, map, a, n, key, value);
		n += !err;
		if (n % 256 == 0)
			bpf_env.relax();
	}
	atomic_dec(&map->writers);
	kfree(key);
	big_free(value);
	return finish(s, n, err);
}

int bpf_sys_batch(const struct sys *s, u32 cmd, const union bpf_attr *a)
{
	bool reads = cmd == BPF_MAP_LOOKUP_BATCH || cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH;
	bool writes = cmd != BPF_MAP_LOOKUP_BATCH, removes = cmd == BPF_MAP_DELETE_BATCH;
	struct bpf_map *map;
	int err;

	if (!rest_is_zero(a, batch.flags))
		return -EINVAL;
	err = bpf_sys_map(s, (s32)a->batch.map_fd, (reads ? BPF_F_WRONLY : 0) | (writes ? BPF_F_RDONLY : 0), &map);
	if (err)
		return err;
	if (!is_hash(map) && map->ops != &bpf_lpm_ops && !(is_array(map) && !removes))
		return -ENOTSUPP;
	if (cmd == BPF_MAP_LOOKUP_AND_DELETE_BATCH && !is_hash(map))
		return -ENOTSUPP;
	if (a->batch.elem_flags & ~(u64)BPF_F_LOCK || (a->batch.elem_flags && map->spin_lock_off < 0) ||
	    (reads && is_hash(map) && a->batch.flags))
		return fail(EINVAL, "batch flags: %#llx", (unsigned long long)a->batch.elem_flags);
	if (!a->batch.count)
		return 0;
	if (!reads)
		return write_all(s, map, a, removes);
	err = put_count(s, 0);
	if (err)
		return err;
	return is_hash(map) ? read_hash(s, map, a, writes) : read_keys(s, map, a);
}
