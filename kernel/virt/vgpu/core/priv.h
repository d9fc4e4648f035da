/* SPDX-License-Identifier: MIT
 *
 * Shared by the core's files: the account of a tenant and the objects of a sub-context.
 */
#ifndef VGPU_CORE_PRIV_H
#define VGPU_CORE_PRIV_H

#include <virt/vgpu/tenant.h>

struct vgpu_sub {
	u32 id;
	struct vgpu_map objects; /* handle to bytes charged << 8 | object type */
};

int __must_check vgpu_sub_create(struct vgpu_ctx *c, u32 id);
bool vgpu_sub_destroy(struct vgpu_ctx *c, u32 id);
struct vgpu_sub *vgpu_sub_find(const struct vgpu_ctx *c, u32 id);

#endif
