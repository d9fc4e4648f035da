/* SPDX-License-Identifier: MIT
 *
 * eBPF maps. Types, flags and error numbers are those of bpf(2) (UAPI header <linux/bpf.h>, 6.1).
 *
 * Two kinds of caller: a program (lookup returns a pointer into the map that stays valid until the program ends) and
 * bpf(2) (bpf_map_copy_out copies). Per-CPU values are 8-byte rounded, one after another for all possible CPUs when
 * copied.
 *
 * Threading: all operations may run at the same time on all CPUs; interrupts may be off. Lifetime: bpf_map_get/put;
 * the last put frees after the programs that still run.
 */
#ifndef BPF_MAP_H
#define BPF_MAP_H

#include <linux/bpf.h>
#include <bpf/env.h>
#include <lib/atomic.h>
#include <lib/types.h>

struct bpf_map;
struct bpf_btf;

struct bpf_map_ops {
	int (*check)(const union bpf_attr *attr);
	struct bpf_map *(*create)(const union bpf_attr *attr, int *err);
	void (*destroy)(struct bpf_map *map);
	void *(*lookup)(struct bpf_map *map, const void *key); /* by a program, on this CPU */
	int (*update)(struct bpf_map *map, const void *key, const void *value, u64 flags);
	int (*remove)(struct bpf_map *map, const void *key);
	int (*next_key)(struct bpf_map *map, const void *key, void *next);  /* key NULL: the first */
	void *(*lookup_cpu)(struct bpf_map *map, const void *key, u32 cpu); /* per-CPU maps */
	void *(*peek_sys)(struct bpf_map *map, const void *key);            /* by bpf(2): leaves LRU order alone */
	int (*push)(struct bpf_map *map, const void *value, u64 flags);
	int (*pop)(struct bpf_map *map, void *value);
	int (*peek)(struct bpf_map *map, void *value);
	int (*value_addr)(struct bpf_map *map, u32 off, u64 *addr); /* direct access by ld_imm64 */
	int (*for_each)(struct bpf_map *map, int (*fn)(struct bpf_map *, void *key, void *value, void *arg), void *arg);
};

struct bpf_map {
	const struct bpf_map_ops *ops;
	u32 type, key_size, value_size, max_entries, flags;
	u32 id;
	u64 extra;                    /* map_extra */
	u32 elem_bytes;               /* value_size rounded up to 8 */
	s32 spin_lock_off, timer_off; /* inside the value, -1 without */
	char name[BPF_OBJ_NAME_LEN];
	struct bpf_btf *btf;
	u32 btf_key_id, btf_value_id;
	struct bpf_map *inner; /* maps in maps: the shape that each inner map must have */
	refcount_t refs;
	atomic_t uses; /* file descriptors and pins (bpf_map_use): at 0 program arrays empty themselves */
	atomic_t writers;
	bool frozen;
	/* The kernel's own: how user memory sees the map. freed with it; writable mappings count as writers. */
	void *view;
	void (*free_view)(void *view);
	const atomic_t *view_writers;
	u64 memory_bytes;
};

/* Creates a map from checked attributes (see bpf_map_attr_ok). inner: the resolved inner_map_fd or NULL. */
int __must_check bpf_map_new(const union bpf_attr *attr, struct bpf_map *inner, struct bpf_map **out);
void bpf_map_get(struct bpf_map *map);
void bpf_map_put(struct bpf_map *map);
void bpf_map_use(struct bpf_map *map);   /* a descriptor or pin more, besides its reference */
void bpf_map_unuse(struct bpf_map *map); /* one less; the reference is still held */

bool bpf_map_is_percpu(const struct bpf_map *map);
bool bpf_map_holds_fds(u32 type);                   /* values are fds of maps or programs */
u32 bpf_map_value_bytes(const struct bpf_map *map); /* size of a value as bpf(2) sees it */

/* bpf(2)'s side: value holds bpf_map_value_bytes. 0 or -errno. */
int bpf_map_copy_out(struct bpf_map *map, const void *key, void *value, u64 flags);
int bpf_map_copy_in(struct bpf_map *map, const void *key, const void *value, u64 flags);
int bpf_map_pop_out(struct bpf_map *map, const void *key, void *value);
int bpf_map_set_object(struct bpf_map *map, const void *key, void *obj, u64 flags); /* takes over a reference */
void bpf_map_spin_lock(void *lock);
void bpf_map_spin_unlock(void *lock);

/* The memory that users may map, page-aligned, or NULL: an array with BPF_F_MMAPABLE, or a ring buffer's area. */
void *bpf_map_pages(struct bpf_map *map, u64 *bytes);

/* Ring buffer: the consumer's view (positions page, then data pages twice), in bytes from its start. */
void *bpf_ringbuf_area(struct bpf_map *map, u32 *consumer_off, u32 *producer_off, u32 *data_off, u32 *size);
void *bpf_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags);
void bpf_ringbuf_commit(void *sample, u64 flags, bool discard);
int bpf_ringbuf_output(struct bpf_map *map, const void *data, u64 size, u64 flags);
u64 bpf_ringbuf_query(struct bpf_map *map, u64 what);

#endif
