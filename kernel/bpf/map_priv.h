/* SPDX-License-Identifier: MIT
 *
 * Shared by the map types. Private to kernel/bpf.
 */
#ifndef BPF_MAP_PRIV_H
#define BPF_MAP_PRIV_H

#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <bpf/map.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>

#define MAX_VALUE_BYTES (4 << 20)

extern const struct bpf_map_ops bpf_array_ops, bpf_percpu_array_ops, bpf_hash_ops, bpf_percpu_hash_ops,
	bpf_lru_hash_ops, bpf_lru_percpu_hash_ops;
extern const struct bpf_map_ops bpf_lpm_ops, bpf_queue_ops, bpf_stack_ops, bpf_ringbuf_ops, bpf_fd_array_ops,
	bpf_fd_hash_ops, bpf_storage_ops, bpf_percpu_storage_ops, bpf_bloom_ops, bpf_sk_storage_ops;

void bpf_map_init(struct bpf_map *map, const struct bpf_map_ops *ops, const union bpf_attr *attr);
void bpf_map_release_object(const struct bpf_map *map, void *obj); /* what a slot of an fd map held */

/* Copy a value out of the map or into it, but not the lock word in it, which belongs to running programs. BPF_F_LOCK in
 * flags: while its lock is held; the map then has one. */
void bpf_value_read(const struct bpf_map *map, void *to, void *in_map, u64 flags);
void bpf_value_write(const struct bpf_map *map, void *in_map, const void *from, u64 flags);
int bpf_map_remove_none(struct bpf_map *map, const void *key); /* the remove op of maps whose keys stay */

/* Of any kind of hash map: all elements of a bucket as bpf(2) sees them, one after another, at most room. take: they
 * leave the map. How many; -ENOSPC: room is too small, and nothing happened; -ENOENT: there is no such bucket. */
int bpf_hash_bucket(struct bpf_map *map, u32 number, u8 *keys, u8 *values, u32 room, bool take);

/* Distance of one CPU's value from the next. */
static inline u32 cpu_stride(u32 value_size)
{
	return ALIGN_UP(value_size, 64U);
}

static inline int update_flags_ok(u64 flags)
{
	return (flags & ~BPF_F_LOCK) > BPF_EXIST ? -EINVAL : 0;
}

#endif
