/* SPDX-License-Identifier: MIT
 *
 * Problem: many CPUs send records of different sizes to one reader in order, without losing memory to per-CPU buffers.
 *
 * Idea: the layout that libbpf's reader expects (BPF_MAP_TYPE_RINGBUF, Documentation/bpf/ringbuf.rst): a page with the
 * consumer's position, a page with the producer's, then the data area, which the reader maps twice in a row so that a
 * record never wraps for it.
 *
 *      record: u32 length | BUSY | DISCARD, u32 page offset, data, padding to 8
 *
 * Reserving moves the producer's position under the lock and leaves BUSY set; committing clears it. The kernel's own
 * mapping is single, so a record that would cross the end of the area is put at its start, after a discarded record
 * that fills the rest; a reader skips that like any other.
 *
 * Contract: bpf/map.h.
 *
 * Locks: one, for the producer's position. The consumer's position belongs to user space and is only compared.
 */
#include "map_priv.h"

#define HEADER 8

struct ring {
	struct bpf_map map;
	struct bpf_lock lock;
	u64 mask;
	u8 *area; /* consumer page, producer page, data; page-aligned */
	void *memory;
};

static struct ring *ring_of(struct bpf_map *map)
{
	return container_of(map, struct ring, map);
}

/* A page that users never see stands before the area: it leads from a record to its ring. */
static struct ring **owner_of(u8 *area)
{
	return (struct ring **)(area - PAGE_SIZE);
}

static u64 *consumer(const struct ring *r)
{
	return (u64 *)r->area;
}

static u64 *producer(const struct ring *r)
{
	return (u64 *)(r->area + PAGE_SIZE);
}

static u8 *data(const struct ring *r)
{
	return r->area + 2 * PAGE_SIZE;
}

static int check(const union bpf_attr *attr)
{
	u32 n = attr->max_entries;

	if (attr->key_size || attr->value_size || attr->map_flags & ~BPF_F_NUMA_NODE || n == 0 || n & (n - 1) ||
	    n % PAGE_SIZE)
		return fail(EINVAL, "ring buffer: %u bytes, key %u, value %u, flags %#x", n, attr->key_size,
			    attr->value_size, attr->map_flags);
	return 0;
}

static struct bpf_map *create(const union bpf_attr *attr, int *err)
{
	struct ring *r = kzalloc(sizeof(*r), 0);

	*err = -ENOMEM;
	if (!r)
		return NULL;
	bpf_map_init(&r->map, &bpf_ringbuf_ops, attr);
	r->mask = attr->max_entries - 1;
	r->map.memory_bytes = 3 * PAGE_SIZE + attr->max_entries;
	r->memory = vmem_alloc(r->map.memory_bytes + PAGE_SIZE); /* elsewhere than in the kernel it is not aligned */
	r->area = (u8 *)ALIGN_UP((ulong)r->memory, PAGE_SIZE) + PAGE_SIZE;
	if (r->memory) {
		*owner_of(r->area) = r;
		return &r->map;
	}
	kfree(r);
	return NULL;
}

static void destroy(struct bpf_map *map)
{
	struct ring *r = ring_of(map);

	vmem_free(r->memory);
	kfree(r);
}

static int no_key(struct bpf_map *map, const void *key, void *next)
{
	return -ENOTSUPP;
}

static int no_element(struct bpf_map *map, const void *key)
{
	return -ENOTSUPP;
}

const struct bpf_map_ops bpf_ringbuf_ops = {
	.check = check,
	.create = create,
	.destroy = destroy,
	.next_key = no_key,
	.remove = no_element,
};

void *bpf_ringbuf_area(struct bpf_map *map, u32 *consumer_off, u32 *producer_off, u32 *data_off, u32 *size)
{
	*consumer_off = 0;
	*producer_off = PAGE_SIZE;
	*data_off = 2 * PAGE_SIZE;
	*size = map->max_entries;
	return ring_of(map)->area;
}

static void start_record(struct ring *r, u64 pos, u32 length)
{
	u32 *header = (u32 *)(data(r) + (pos & r->mask));

	header[1] = (u32)((u8 *)header - r->area) >> PAGE_SHIFT;
	__atomic_store_n(&header[0], length, __ATOMIC_RELEASE);
}

void *bpf_ringbuf_reserve(struct bpf_map *map, u64 size, u64 flags)
{
	struct ring *r = ring_of(map);
	u64 need = ALIGN_UP(size + HEADER, 8ULL), pos, pad;
	u8 *record = NULL;
	ulong irq;

	if (flags || size > INT32_MAX / 2 || need > map->max_entries)
		return NULL;
	irq = bpf_lock(&r->lock);
	pos = *producer(r);
	pad = (pos & r->mask) + need > map->max_entries ? map->max_entries - (pos & r->mask) : 0;
	if (pos + pad + need - smp_load_acquire(consumer(r)) <= map->max_entries) {
		if (pad) { /* the rest of the area is skipped */
			start_record(r, pos, (u32)(pad - HEADER) | BPF_RINGBUF_DISCARD_BIT);
			pos += pad;
		}
		start_record(r, pos, (u32)size | BPF_RINGBUF_BUSY_BIT);
		record = data(r) + (pos & r->mask);
		smp_store_release(producer(r), pos + need);
	}
	bpf_unlock(&r->lock, irq);
	return record ? record + HEADER : NULL;
}

/* The header says which page it is on, and so where the area starts. */
static u8 *area_of(const u32 *header)
{
	return (u8 *)((ulong)header & PAGE_MASK) - ((u64)header[1] << PAGE_SHIFT);
}

void bpf_ringbuf_commit(void *sample, u64 flags, bool discard)
{
	u32 *header = (u32 *)sample - 2, length = header[0] & ~BPF_RINGBUF_BUSY_BIT;
	u8 *area = area_of(header);
	u64 pos = (u64)((u8 *)header - area) - 2 * PAGE_SIZE, read;

	if (discard)
		length |= BPF_RINGBUF_DISCARD_BIT;
	__atomic_store_n(&header[0], length, __ATOMIC_SEQ_CST);
	/* Wake the reader if it has caught up with this record. */
	read = __atomic_load_n((u64 *)area, __ATOMIC_ACQUIRE);
	if (flags & BPF_RB_FORCE_WAKEUP || (!(flags & BPF_RB_NO_WAKEUP) && (u32)pos == (u32)read))
		bpf_env.ringbuf_wake(&(*owner_of(area))->map);
}

int bpf_ringbuf_output(struct bpf_map *map, const void *bytes, u64 size, u64 flags)
{
	void *sample;

	if (flags & ~(u64)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	sample = bpf_ringbuf_reserve(map, size, 0);
	if (!sample)
		return -EAGAIN;
	memcpy(sample, bytes, size);
	bpf_ringbuf_commit(sample, flags, false);
	return 0;
}

u64 bpf_ringbuf_query(struct bpf_map *map, u64 what)
{
	struct ring *r = ring_of(map);

	switch (what) {
	case BPF_RB_AVAIL_DATA: return smp_load_acquire(producer(r)) - smp_load_acquire(consumer(r));
	case BPF_RB_RING_SIZE: return map->max_entries;
	case BPF_RB_CONS_POS: return smp_load_acquire(consumer(r));
	case BPF_RB_PROD_POS: return smp_load_acquire(producer(r));
	}
	return 0;
}
