/* SPDX-License-Identifier: MIT
 *
 * A map from 32-bit ids that a client chose to 64-bit values. Open addressing; the hash is seeded, so that a client
 * who does not know the seed cannot choose ids that collide.
 *
 * Threading: none inside; the owner of the map serialises. -ENOMEM leaves the map as it was.
 */
#ifndef VIRT_VGPU_MAP_H
#define VIRT_VGPU_MAP_H

#include <lib/types.h>

struct vgpu_slot {
	u32 key;
	u32 used;
	u64 value;
};

struct vgpu_map {
	struct vgpu_slot *slots;
	u32 bits; /* log2 of the number of slots; 0 with slots NULL: empty */
	u32 count;
	u64 seed;
};

void vgpu_map_init(struct vgpu_map *m, u64 seed);
void vgpu_map_free(struct vgpu_map *m); /* forgets all entries, keeps the seed */

u64 *vgpu_map_get(const struct vgpu_map *m, u32 key); /* the value in place, or NULL */
int __must_check vgpu_map_set(struct vgpu_map *m, u32 key, u64 value);
bool vgpu_map_del(struct vgpu_map *m, u32 key); /* false if it was not there */

/* for (u32 at = 0; (slot = vgpu_map_next(m, &at));) visits each entry once; the map may not change meanwhile. */
struct vgpu_slot *vgpu_map_next(const struct vgpu_map *m, u32 *at);

#endif
