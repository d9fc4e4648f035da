/* SPDX-License-Identifier: MIT
 *
 * Shared by the core's files: the account of a tenant and the objects of a sub-context.
 */
#ifndef VGPU_CORE_PRIV_H
#define VGPU_CORE_PRIV_H

#include <virt/vgpu/shader.h>
#include <virt/vgpu/tenant.h>

enum opcode {
	NOP = 0,
	CREATE_OBJECT = 1,
	BIND_OBJECT = 2,
	DESTROY_OBJECT = 3,
	SET_FRAMEBUFFER = 5,
	DRAW_VBO = 8,
	SET_CONSTANTS = 12,
	SET_SUB_CTX = 28,
	CREATE_SUB_CTX = 29,
	DESTROY_SUB_CTX = 30,
	BIND_SHADER = 31,
	LAUNCH_GRID = 37,
	SET_FRAMEBUFFER_SIZE = 38,
};

enum object {
	BLEND = 1,
	RASTERIZER,
	DSA,
	SHADER,
	VERTEX_ELEMENTS,
	SAMPLER_VIEW,
	SAMPLER_STATE,
	SURFACE,
	QUERY,
	SO_TARGET,
	MSAA_SURFACE
};

#define VGPU_STAGES 6 /* vertex, fragment, geometry, tessellation control and evaluation, compute */

/* What draws and dispatches of a sub-context can cost: work.c. Used if limits.work_log2 is set. */
struct vgpu_work {
	struct vgpu_map shaders;               /* handle to struct text */
	struct vgpu_map texels;                /* surface's handle to its size */
	struct vgpu_shader bound[VGPU_STAGES]; /* cost 0: none */
	u64 target;                            /* texels of the largest buffer that is drawn to */
	u32 nr_consts[VGPU_STAGES];
	s32 consts[VGPU_STAGES][VGPU_SHADER_CONSTS * 4];
};

struct vgpu_sub {
	struct vgpu_work *work; /* NULL: not needed yet */
	u32 id;
	struct vgpu_map objects; /* handle to bytes charged << 8 | object type */
};

int __must_check vgpu_sub_create(struct vgpu_ctx *c, u32 id);
bool vgpu_sub_destroy(struct vgpu_ctx *c, u32 id);
struct vgpu_sub *vgpu_sub_find(const struct vgpu_ctx *c, u32 id);

/* A command that has been checked, before its ids are the host's. -E2BIG: more work than the limit, or nobody knows how
 * much; -ENOMEM. */
int __must_check vgpu_work_note(struct vgpu_ctx *c, struct vgpu_sub *sub, const u32 *words);
void vgpu_work_forget(struct vgpu_sub *sub, u32 handle); /* the object goes */
void vgpu_work_free(struct vgpu_sub *sub);

#endif
