/* SPDX-License-Identifier: MIT
 *
 * Problem: programs hand work to each other or to user space in order.
 *
 * Idea: a ring of max_entries values under one lock. A queue takes from the tail, a stack from the head; with
 * BPF_EXIST a push into a full map drops the oldest.
 *
 * Contract: bpf/map.h. There are no keys. E2BIG when full, ENOENT when empty.
 *
 * Locks: one, for head, tail and values.
 */
#include "map_priv.h"

struct queue {
	struct bpf_map map;
	struct bpf_lock lock;
	u32 first, count; /* oldest value, number of values */
	u8 *values;
};

static struct queue *queue_of(struct bpf_map *map)
{
	return container_of(map, struct queue, map);
}

static int check(const union bpf_attr *attr)
{
	u32 known = BPF_F_NUMA_NODE | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;

	if (attr->max_entries == 0 || attr->key_size || attr->value_size == 0 || attr->map_flags & ~known)
		return fail(EINVAL, "queue: %u entries, key %u, value %u, flags %#x", attr->max_entries, attr->key_size,
			    attr->value_size, attr->map_flags);
	return attr->value_size > MAX_VALUE_BYTES ? -E2BIG : 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct queue *q = kzalloc(sizeof(*q), 0);

	*err = -ENOMEM;
	if (!q)
		return NULL;
	bpf_map_init(&q->map, attr->map_type == BPF_MAP_TYPE_STACK ? &bpf_stack_ops : &bpf_queue_ops, attr);
	q->values = big_alloc(attr->max_entries, attr->value_size);
	q->map.memory_bytes = (u64)attr->max_entries * attr->value_size;
	if (q->values)
		return &q->map;
	kfree(q);
	return NULL;
}

static void destroy(struct bpf_map *map)
{
	struct queue *q = queue_of(map);

	big_free(q->values);
	kfree(q);
}

static u8 *at(struct queue *q, u32 n)
{
	return q->values + (size_t)(((u64)q->first + n) % q->map.max_entries) * q->map.value_size;
}

static int push(struct bpf_map *map, const void *value, u64 flags)
{
	struct queue *q = queue_of(map);
	ulong irq;
	int err = 0;

	if (flags & BPF_NOEXIST || flags > BPF_EXIST)
		return fail(EINVAL, "push flags: %#llx", (unsigned long long)flags);
	irq = bpf_lock(&q->lock);
	if (q->count == map->max_entries) {
		if (flags & BPF_EXIST) {
			q->first = (q->first + 1) % map->max_entries;
			q->count--;
		} else {
			err = -E2BIG;
		}
	}
	if (!err)
		memcpy(at(q, q->count++), value, map->value_size);
	bpf_unlock(&q->lock, irq);
	return err;
}

static int take(struct bpf_map *map, void *value, bool remove)
{
	struct queue *q = queue_of(map);
	bool newest = map->ops == &bpf_stack_ops;
	ulong irq = bpf_lock(&q->lock);
	bool any = q->count;

	if (any) {
		memcpy(value, at(q, newest ? q->count - 1 : 0), map->value_size);
		if (remove && !newest)
			q->first = (q->first + 1) % map->max_entries;
		q->count -= remove;
	} else {
		memset(value, 0, map->value_size); /* the program may read it all the same */
	}
	bpf_unlock(&q->lock, irq);
	return any ? 0 : -ENOENT;
}

static int pop(struct bpf_map *map, void *value)
{
	return take(map, value, true);
}

static int peek(struct bpf_map *map, void *value)
{
	return take(map, value, false);
}

static int no_key(struct bpf_map *map, const void *key, void *next)
{
	return -EINVAL;
}

static int no_removal(struct bpf_map *map, const void *key)
{
	return -EINVAL;
}

#define OPS                                                                                                            \
	.check = check, .create = create, .destroy = destroy, .push = push, .pop = pop, .peek = peek,                  \
	.next_key = no_key, .remove = no_removal

const struct bpf_map_ops bpf_queue_ops = { OPS };
const struct bpf_map_ops bpf_stack_ops = { OPS };
