/* SPDX-License-Identifier: MIT
 *
 * How much work one invocation of a shader can be, found in its text before anything runs: virgl carries shaders as
 * TGSI text, and whoever runs them cannot be interrupted.
 *
 * The bound is the number of instructions, each loop's body times the trips that it can make. A loop has a bound if it
 * leaves when a counter passes a limit, and every path through the body moves the counter towards it by a constant:
 * integers, start and limit constants or uniforms. Uniforms are known when something is drawn: there is a cost for each
 * of a few sizes of them.
 *
 * Text that is not as gallium writes it (a statement a line) has no bound: nothing may hide from the reader here that
 * the renderer's reader sees.
 *
 * Threading: pure functions.
 */
#ifndef VIRT_VGPU_SHADER_H
#define VIRT_VGPU_SHADER_H

#include <lib/types.h>

#define VGPU_SHADER_UNIFORMS 8
#define VGPU_SHADER_CONSTS   64 /* of CONST, that may count loops */
#define VGPU_SIZES           3  /* of uniforms: 32, 512, 4096 */
#define VGPU_UNBOUNDED       (~0ull)

struct vgpu_shader {
	/* instructions of one invocation, if no such uniform is larger (or smaller than its negative) than
	 * vgpu_uniform_size(i); VGPU_UNBOUNDED */
	u64 cost[VGPU_SIZES];
	u32 nr_uniforms;
	u16 uniforms[VGPU_SHADER_UNIFORMS]; /* of CONST: index * 4 + component */
};

s32 vgpu_uniform_size(u32 i);

/* text: n bytes, or up to a NUL. -ENOMEM. */
int __must_check vgpu_shader_measure(const char *text, size_t n, struct vgpu_shader *out);

#endif
