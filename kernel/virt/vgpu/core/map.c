/* SPDX-License-Identifier: MIT
 *
 * Problem: resource, object and sub-context ids are any 32-bit numbers that a client likes, and each command of a
 * stream looks several up.
 *
 * Idea: linear probing in a power-of-two table at most three quarters full; deletion shifts later entries of the run
 * back, so that no tombstones gather under a client that creates and destroys for days. The key is mixed with a seed
 * that the client does not know.
 *
 * Contract: map.h.
 *
 * Locks: none; the owner serialises.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/map.h>

#define FIRST_BITS 4

void vgpu_map_init(struct vgpu_map *m, u64 seed)
{
	memset(m, 0, sizeof(*m));
	m->seed = seed;
}

void vgpu_map_free(struct vgpu_map *m)
{
	kfree(m->slots);
	vgpu_map_init(m, m->seed);
}

static u32 home(const struct vgpu_map *m, u32 key)
{
	u64 x = (key ^ m->seed) * 0x9e3779b97f4a7c15ULL;

	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ULL;
	return x >> (64 - m->bits);
}

static u32 mask(const struct vgpu_map *m)
{
	return (1u << m->bits) - 1;
}

u64 *vgpu_map_get(const struct vgpu_map *m, u32 key)
{
	if (!m->count)
		return NULL;
	for (u32 i = home(m, key); m->slots[i].used; i = (i + 1) & mask(m))
		if (m->slots[i].key == key)
			return &m->slots[i].value;
	return NULL;
}

static void insert(struct vgpu_map *m, u32 key, u64 value)
{
	u32 i = home(m, key);

	while (m->slots[i].used)
		i = (i + 1) & mask(m);
	m->slots[i] = (struct vgpu_slot){ key, 1, value };
	m->count++;
}

static int grow(struct vgpu_map *m)
{
	struct vgpu_map bigger;
	struct vgpu_slot *s;

	vgpu_map_init(&bigger, m->seed);
	bigger.bits = m->slots ? m->bits + 1 : FIRST_BITS;
	bigger.slots = kcalloc(1ul << bigger.bits, sizeof(*bigger.slots), ALLOC_KERNEL);
	if (!bigger.slots)
		return -ENOMEM;
	for (u32 at = 0; (s = vgpu_map_next(m, &at));)
		insert(&bigger, s->key, s->value);
	kfree(m->slots);
	*m = bigger;
	return 0;
}

int vgpu_map_set(struct vgpu_map *m, u32 key, u64 value)
{
	u64 *old = vgpu_map_get(m, key);
	int rc;

	if (old) {
		*old = value;
		return 0;
	}
	if (!m->slots || (m->count + 1) * 4 > 3u << m->bits) {
		rc = grow(m);
		if (rc)
			return rc;
	}
	insert(m, key, value);
	return 0;
}

bool vgpu_map_del(struct vgpu_map *m, u32 key)
{
	u64 *value = vgpu_map_get(m, key);
	u32 hole, i;

	if (!value)
		return false;
	hole = container_of(value, struct vgpu_slot, value) - m->slots;
	/* An entry may fill the hole if its home is not between the hole (exclusive) and its place. */
	for (i = (hole + 1) & mask(m); m->slots[i].used; i = (i + 1) & mask(m)) {
		u32 h = home(m, m->slots[i].key);

		if (((i - h) & mask(m)) >= ((i - hole) & mask(m))) {
			m->slots[hole] = m->slots[i];
			hole = i;
		}
	}
	m->slots[hole].used = 0;
	m->count--;
	return true;
}

struct vgpu_slot *vgpu_map_next(const struct vgpu_map *m, u32 *at)
{
	if (!m->slots)
		return NULL;
	while (*at <= mask(m)) {
		struct vgpu_slot *s = &m->slots[(*at)++];

		if (s->used)
			return s;
	}
	return NULL;
}
