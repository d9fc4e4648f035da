/* SPDX-License-Identifier: MIT
 *
 * Problem: "has this value been seen?" for more values than a table may hold, where a false yes now and then does no
 * harm.
 *
 * Idea: a row of bits. Each value sets as many of them as there are hash functions; a value of which one is not set was
 * never pushed. Two halves of one 64-bit hash, combined, stand for any number of functions (Kirsch and Mitzenmacher
 * 2006). The row has about 1.4 bits a value and function, rounded up to a power of two.
 *
 * Contract: bpf/map.h. There are no keys, and nothing is removed. ENOENT: not seen. map_extra: functions, 0 to 15 (0:
 * 5).
 *
 * Locks: none; bits are set atomically and read without.
 */
#include "map_priv.h"

#define FUNCTIONS_DEFAULT 5
#define FUNCTIONS_MOST    15
#define BITS_LEAST        64ULL
#define BITS_MOST         (1ULL << 32)

struct bloom {
	struct bpf_map map;
	u32 functions;
	u64 seed, mask; /* mask: bits - 1 */
	u64 *bits;
};

static struct bloom *bloom_of(struct bpf_map *map)
{
	return container_of(map, struct bloom, map);
}

static int check(const union bpf_attr *attr)
{
	u32 known =
		BPF_F_NUMA_NODE | BPF_F_ZERO_SEED | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;
	u32 both = BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG;

	if (attr->max_entries == 0 || attr->key_size || attr->value_size == 0 || attr->map_flags & ~known ||
	    (attr->map_flags & both) == both || attr->map_extra > FUNCTIONS_MOST)
		return fail(EINVAL, "bloom filter: %u entries, key %u, value %u, flags %#x", attr->max_entries,
			    attr->key_size, attr->value_size, attr->map_flags);
	return attr->value_size > MAX_VALUE_BYTES ? -E2BIG : 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct bloom *b = kzalloc(sizeof(*b), 0);
	u64 bits = BITS_LEAST, wanted;

	*err = -ENOMEM;
	if (!b)
		return NULL;
	bpf_map_init(&b->map, &bpf_bloom_ops, attr);
	b->functions = attr->map_extra ? (u32)attr->map_extra : FUNCTIONS_DEFAULT;
	b->seed = attr->map_flags & BPF_F_ZERO_SEED ? 0 : (u64)bpf_env.random_u32() << 32 | bpf_env.random_u32();
	wanted = min((u64)attr->max_entries * b->functions / 5 * 7, BITS_MOST);
	while (bits < wanted)
		bits *= 2;
	b->mask = bits - 1;
	b->map.memory_bytes = bits / 8;
	b->bits = big_alloc(bits / 64, sizeof(u64));
	if (b->bits)
		return &b->map;
	kfree(b);
	return NULL;
}

static void destroy(struct bpf_map *map)
{
	struct bloom *b = bloom_of(map);

	big_free(b->bits);
	kfree(b);
}

static u64 mix(u64 x)
{
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
	x = (x ^ x >> 32) * 0xd6e8feb86659fd93ULL;
	return x ^ x >> 32;
}

static u64 hash(const struct bloom *b, const u8 *value)
{
	u64 h = mix(b->seed ^ b->map.value_size), word;

	for (u32 at = 0; at < b->map.value_size; at += sizeof(word)) {
		word = 0;
		memcpy(&word, value + at, min(b->map.value_size - at, (u32)sizeof(word)));
		h = mix(h ^ word);
	}
	return h;
}

static u64 place(const struct bloom *b, u64 h, u32 n)
{
	return ((u64)(u32)h + (u64)n * ((h >> 32) | 1)) & b->mask;
}

static int push(struct bpf_map *map, const void *value, u64 flags)
{
	struct bloom *b = bloom_of(map);
	u64 h = hash(b, value);

	if (flags != BPF_ANY)
		return fail(EINVAL, "push flags: %#llx", (unsigned long long)flags);
	for (u32 n = 0; n < b->functions; n++) {
		u64 at = place(b, h, n);

		__atomic_fetch_or(&b->bits[at / 64], 1ULL << at % 64, __ATOMIC_RELAXED);
	}
	return 0;
}

static int peek(struct bpf_map *map, void *value)
{
	struct bloom *b = bloom_of(map);
	u64 h = hash(b, value);

	for (u32 n = 0; n < b->functions; n++) {
		u64 at = place(b, h, n);

		if (!(READ_ONCE(b->bits[at / 64]) >> at % 64 & 1))
			return -ENOENT;
	}
	return 0;
}

static int no_pop(struct bpf_map *map, void *value)
{
	return -EOPNOTSUPP;
}

static int no_key(struct bpf_map *map, const void *key, void *next)
{
	return -EOPNOTSUPP;
}

static int no_removal(struct bpf_map *map, const void *key)
{
	return -EOPNOTSUPP;
}

const struct bpf_map_ops bpf_bloom_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.push = push,
	.pop = no_pop,
	.peek = peek,
	.next_key = no_key,
	.remove = no_removal,
};
