/* SPDX-License-Identifier: MIT
 *
 * Problem: a client names a texture of 16384 x 16384 x 2048 layers in 40 bytes, and a host that believes it is gone
 * for seconds or for good. What it costs must be known before it exists, the same on every machine.
 *
 * Idea: one table from format to block size (run-length: formats up to `last` share a row) and one sum over the
 * levels, in 64 bits with every factor bounded first, so that nothing overflows: the largest accepted request is
 * below 2^50 bytes.
 *
 * Contract: resource.h. Locks: none, pure functions.
 */
#include <lib/err.h>
#include <virt/vgpu/resource.h>
#include <core/log.h>

struct format_run {
	u16 last; /* the highest format of the run; it starts after the previous run's */
	u8 bytes, width, height;
};

/* clang-format off */
static const struct format_run formats[] = {
	{ 0, 0, 0, 0 }, { 4, 4, 1, 1 }, { 7, 2, 1, 1 }, { 8, 4, 1, 1 }, { 11, 1, 1, 1 },
	{ 13, 2, 1, 1 }, { 15, 4, 2, 1 }, { 16, 2, 1, 1 }, { 22, 4, 1, 1 }, { 23, 1, 1, 1 },
	{ 24, 8, 1, 1 }, { 25, 16, 1, 1 }, { 27, 32, 1, 1 }, { 28, 4, 1, 1 }, { 29, 8, 1, 1 },
	{ 31, 16, 1, 1 }, { 32, 4, 1, 1 }, { 33, 8, 1, 1 }, { 35, 16, 1, 1 }, { 36, 4, 1, 1 },
	{ 37, 8, 1, 1 }, { 39, 16, 1, 1 }, { 40, 4, 1, 1 }, { 41, 8, 1, 1 }, { 43, 16, 1, 1 },
	{ 44, 4, 1, 1 }, { 45, 8, 1, 1 }, { 47, 16, 1, 1 }, { 48, 2, 1, 1 }, { 49, 4, 1, 1 },
	{ 51, 8, 1, 1 }, { 52, 2, 1, 1 }, { 53, 4, 1, 1 }, { 55, 8, 1, 1 }, { 56, 2, 1, 1 },
	{ 57, 4, 1, 1 }, { 59, 8, 1, 1 }, { 60, 2, 1, 1 }, { 61, 4, 1, 1 }, { 63, 8, 1, 1 },
	{ 64, 1, 1, 1 }, { 65, 2, 1, 1 }, { 68, 4, 1, 1 }, { 69, 1, 1, 1 }, { 70, 2, 1, 1 },
	{ 72, 4, 1, 1 }, { 73, 0, 0, 0 }, { 74, 1, 1, 1 }, { 75, 2, 1, 1 }, { 77, 4, 1, 1 },
	{ 81, 0, 0, 0 }, { 82, 1, 1, 1 }, { 83, 2, 1, 1 }, { 85, 4, 1, 1 }, { 86, 0, 0, 0 },
	{ 87, 4, 1, 1 }, { 88, 8, 1, 1 }, { 90, 16, 1, 1 }, { 91, 2, 1, 1 }, { 92, 4, 1, 1 },
	{ 94, 8, 1, 1 }, { 95, 1, 1, 1 }, { 96, 2, 1, 1 }, { 104, 4, 1, 1 }, { 106, 8, 4, 4 },
	{ 108, 16, 4, 4 }, { 110, 8, 4, 4 }, { 112, 16, 4, 4 }, { 114, 8, 4, 4 }, { 116, 16, 4, 4 },
	{ 118, 4, 2, 1 }, { 119, 4, 1, 1 }, { 120, 2, 1, 1 }, { 121, 4, 1, 1 }, { 122, 2, 1, 1 },
	{ 125, 4, 1, 1 }, { 126, 8, 1, 1 }, { 127, 1, 1, 1 }, { 129, 4, 1, 1 }, { 130, 1, 1, 1 },
	{ 134, 4, 1, 1 }, { 135, 2, 1, 1 }, { 137, 4, 1, 1 }, { 138, 8, 1, 1 }, { 139, 1, 1, 1 },
	{ 140, 4, 1, 1 }, { 142, 2, 1, 1 }, { 144, 8, 4, 4 }, { 146, 16, 4, 4 }, { 148, 1, 1, 1 },
	{ 149, 2, 1, 1 }, { 150, 1, 1, 1 }, { 152, 2, 1, 1 }, { 153, 4, 1, 1 }, { 156, 2, 1, 1 },
	{ 157, 4, 1, 1 }, { 158, 2, 1, 1 }, { 160, 4, 1, 1 }, { 161, 8, 1, 1 }, { 162, 4, 1, 1 },
	{ 167, 2, 1, 1 }, { 169, 1, 1, 1 }, { 171, 2, 1, 1 }, { 176, 4, 1, 1 }, { 177, 1, 1, 1 },
	{ 178, 2, 1, 1 }, { 180, 4, 1, 1 }, { 181, 1, 1, 1 }, { 182, 2, 1, 1 }, { 184, 4, 1, 1 },
	{ 185, 2, 1, 1 }, { 186, 4, 1, 1 }, { 188, 8, 1, 1 }, { 189, 2, 1, 1 }, { 190, 4, 1, 1 },
	{ 192, 8, 1, 1 }, { 193, 4, 1, 1 }, { 194, 8, 1, 1 }, { 196, 16, 1, 1 }, { 197, 4, 1, 1 },
	{ 198, 8, 1, 1 }, { 200, 16, 1, 1 }, { 203, 1, 1, 1 }, { 204, 2, 1, 1 }, { 207, 1, 1, 1 },
	{ 211, 2, 1, 1 }, { 212, 4, 1, 1 }, { 215, 2, 1, 1 }, { 219, 4, 1, 1 }, { 220, 8, 1, 1 },
	{ 223, 4, 1, 1 }, { 224, 8, 1, 1 }, { 225, 4, 1, 1 }, { 226, 8, 4, 4 }, { 228, 4, 2, 1 },
	{ 233, 4, 1, 1 }, { 238, 8, 1, 1 }, { 241, 16, 1, 1 }, { 242, 2, 1, 1 }, { 245, 4, 1, 1 },
	{ 246, 8, 1, 1 }, { 248, 2, 1, 1 }, { 250, 4, 1, 1 }, { 252, 8, 1, 1 }, { 253, 4, 1, 1 },
	{ 254, 2, 1, 1 }, { 258, 16, 4, 4 }, { 261, 2, 1, 1 }, { 268, 4, 1, 1 }, { 272, 8, 4, 4 },
	{ 274, 16, 4, 4 }, { 276, 8, 4, 4 }, { 279, 16, 4, 4 }, { 280, 16, 5, 4 }, { 281, 16, 5, 5 },
	{ 282, 16, 6, 5 }, { 283, 16, 6, 6 }, { 284, 16, 8, 5 }, { 285, 16, 8, 6 }, { 286, 16, 8, 8 },
	{ 287, 16, 10, 5 }, { 288, 16, 10, 6 }, { 289, 16, 10, 8 }, { 290, 16, 10, 10 },
	{ 291, 16, 12, 10 }, { 292, 16, 12, 12 }, { 293, 16, 4, 4 }, { 294, 16, 5, 4 },
	{ 295, 16, 5, 5 }, { 296, 16, 6, 5 }, { 297, 16, 6, 6 }, { 298, 16, 8, 5 }, { 299, 16, 8, 6 },
	{ 300, 16, 8, 8 }, { 301, 16, 10, 5 }, { 302, 16, 10, 6 }, { 303, 16, 10, 8 },
	{ 304, 16, 10, 10 }, { 305, 16, 12, 10 }, { 306, 16, 12, 12 }, { 307, 0, 0, 0 },
	{ 308, 4, 1, 1 }, { 310, 0, 0, 0 }, { 311, 2, 1, 1 }, { 312, 1, 1, 1 }, { 313, 2, 1, 1 },
	{ 317, 4, 1, 1 }, { 318, 1, 1, 1 }, { 321, 2, 1, 1 },
};
/* clang-format on */

u32 vgpu_format_block(u32 format, u32 *w, u32 *h)
{
	u32 lo = 0, hi = ARRAY_SIZE(formats);

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (formats[mid].last < format)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == ARRAY_SIZE(formats))
		return 0;
	*w = formats[lo].width;
	*h = formats[lo].height;
	return formats[lo].bytes;
}

static bool is_array(u32 target)
{
	return target == VGPU_1D_ARRAY || target == VGPU_2D_ARRAY || target == VGPU_CUBE_ARRAY;
}

static int check_shape(const struct vgpu_res_args *a)
{
	bool flat = a->target == VGPU_1D || a->target == VGPU_1D_ARRAY || a->target == VGPU_BUFFER;
	u32 limit = a->target == VGPU_3D ? VGPU_MAX_DIM_3D : VGPU_MAX_DIM;

	if (!a->width || !a->height || !a->depth)
		return fail(EINVAL, "a dimension is 0");
	if ((flat && a->height != 1) || (a->target != VGPU_3D && a->depth != 1))
		return fail(EINVAL, "target %u has no height %u or depth %u", a->target, a->height, a->depth);
	if (a->target != VGPU_BUFFER && (a->width > limit || a->height > limit || a->depth > limit))
		return fail(E2BIG, "%ux%ux%u is larger than %u", a->width, a->height, a->depth, limit);
	if (a->layers > VGPU_MAX_LAYERS)
		return fail(E2BIG, "%u layers", a->layers);
	if (a->target == VGPU_CUBE ? a->layers != 6 : !is_array(a->target) && a->layers > 1)
		return fail(EINVAL, "%u layers in target %u", a->layers, a->target);
	if (a->target == VGPU_CUBE_ARRAY && (a->layers % 6 || !a->layers))
		return fail(EINVAL, "%u layers in a cube array", a->layers);
	return 0;
}

static int check_levels(const struct vgpu_res_args *a)
{
	u32 longest = max(max(a->width, a->height), a->depth);

	if (a->samples > VGPU_MAX_SAMPLES)
		return fail(EINVAL, "%u samples", a->samples);
	if (a->samples > 1 && (a->last_level || (a->target != VGPU_2D && a->target != VGPU_2D_ARRAY)))
		return fail(EINVAL, "samples in target %u, levels %u", a->target, a->last_level);
	if (a->last_level && (a->target == VGPU_BUFFER || a->target == VGPU_RECT))
		return fail(EINVAL, "levels in target %u", a->target);
	if (a->last_level > 31 || (a->last_level && !(longest >> a->last_level)))
		return fail(EINVAL, "level %u of %u texels", a->last_level, longest);
	return 0;
}

static u32 level_size(u32 size, u32 level)
{
	return max(size >> level, 1u);
}

int vgpu_res_charge(const struct vgpu_res_args *a, u64 *bytes)
{
	u32 bw, bh, block;
	u64 sum = 0;
	int rc;

	if (a->target >= VGPU_TARGETS)
		return fail(EINVAL, "target %u", a->target);
	block = vgpu_format_block(a->format, &bw, &bh);
	if (!block)
		return fail(EINVAL, "format %u", a->format);
	rc = check_shape(a);
	if (rc)
		return rc;
	rc = check_levels(a);
	if (rc)
		return rc;
	if (a->target == VGPU_BUFFER) {
		*bytes = a->width;
		return 0;
	}
	for (u32 l = 0; l <= a->last_level; l++) {
		u64 w = DIV_ROUND_UP(level_size(a->width, l), bw);
		u64 h = DIV_ROUND_UP(level_size(a->height, l), bh);

		sum += w * h * level_size(a->depth, l) * block;
	}
	*bytes = sum * max(a->layers, 1u) * max(a->samples, 1u);
	return 0;
}

static bool outside(u32 at, u32 n, u32 size)
{
	return n > size || at > size - n;
}

int vgpu_res_check_box(const struct vgpu_res_args *a, u32 level, const struct vgpu_box *b)
{
	u32 height, width, depth, bw = 1, bh = 1;

	if (level > a->last_level)
		return fail(EINVAL, "level %u of %u", level, a->last_level);
	if (!vgpu_format_block(a->format, &bw, &bh))
		return fail(EINVAL, "format %u", a->format);
	/* A level smaller than a block is stored as a whole one. */
	width = DIV_ROUND_UP(level_size(a->width, level), bw) * bw;
	height = a->target == VGPU_1D_ARRAY ? a->layers : DIV_ROUND_UP(level_size(a->height, level), bh) * bh;
	/* Clients put the layer of a 1D array into y or into z, so that both may run up to it. */
	depth = a->target == VGPU_3D ? level_size(a->depth, level) : max(a->layers, 1u);
	if (outside(b->x, b->w, width) || outside(b->y, b->h, max(height, 1u)) || outside(b->z, b->d, depth))
		return fail(EINVAL, "box %u,%u,%u+%ux%ux%u outside level %u", b->x, b->y, b->z, b->w, b->h, b->d,
			    level);
	return 0;
}
