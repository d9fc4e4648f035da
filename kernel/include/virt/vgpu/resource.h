/* SPDX-License-Identifier: MIT
 *
 * GPU resources (buffers and textures) as a client asks for them, and what each is charged.
 *
 * The charge rule: blocks of the format in each level (width and height halve, depth too in 3D textures), times
 * layers, times samples; three-, six- and twelve-byte texels count as four, eight and sixteen, as GPUs store
 * them; buffers count their bytes. The client's own shared memory behind the resource is charged besides, in
 * whole pages. The rule, not what a driver happens to allocate, is what limits are exact to.
 *
 * Threading: pure functions. Numbers of targets and formats: virglrenderer 0.10.4, src/virgl_hw.h and
 * src/gallium/include/pipe/p_defines.h.
 */
#ifndef VIRT_VGPU_RESOURCE_H
#define VIRT_VGPU_RESOURCE_H

#include <lib/types.h>

enum vgpu_target {
	VGPU_BUFFER,
	VGPU_1D,
	VGPU_2D,
	VGPU_3D,
	VGPU_CUBE,
	VGPU_RECT,
	VGPU_1D_ARRAY,
	VGPU_2D_ARRAY,
	VGPU_CUBE_ARRAY,
	VGPU_TARGETS,
};

#define VGPU_MAX_DIM         16384 /* texels, 1D, 2D, cubes and rectangles */
#define VGPU_MAX_DIM_3D      2048
#define VGPU_MAX_LAYERS      2048
#define VGPU_MAX_SAMPLES     32
#define VGPU_FORMAT_B8G8R8A8 1 /* virgl's number; the 2D commands of virtio-gpu use the same numbers */

/* A request for a resource, in the client's words. */
struct vgpu_res_args {
	u32 target, format, bind;
	u32 width, height, depth, layers;
	u32 last_level, samples, flags;
};

/* Part of one level, in texels (bytes in x and w for buffers). */
struct vgpu_box {
	u32 x, y, z, w, h, d;
};

/* Checks the request and computes its charge. -EINVAL: not a resource; -E2BIG: dimensions over the limits. */
int __must_check vgpu_res_charge(const struct vgpu_res_args *a, u64 *bytes);

/* Bytes of one block and its size in texels; 0 bytes for an unknown format. */
u32 vgpu_format_block(u32 format, u32 *w, u32 *h);

/* 0 if the box lies in the level, else -EINVAL. */
int __must_check vgpu_res_check_box(const struct vgpu_res_args *a, u32 level, const struct vgpu_box *box);

#endif
