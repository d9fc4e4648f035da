/* SPDX-License-Identifier: MIT
 *
 * Problem: one draw or dispatch cannot be interrupted, and where the renderer computes in the main loop of a whole
 *machine (QEMU's), even a time-out comes too late.
 *
 * Idea: what it can cost is known before: shaders are measured when their text is complete, and the stream says what is
 * bound, to which buffers is drawn and which uniforms count loops. A draw is vertices times the vertex shader, and each
 * texel of the target times the fragment shader, once: how often triangles of one draw cover each other is not known.
 *
 *	shader text, in pieces --> measured --bind--> stage  \
 *	surfaces --framebuffer--> target                      > draw, dispatch: within the limit, or refused
 *	inline constants ----------------------------------- /
 *
 * Contract: priv.h. Locks: none; the owner of the context serialises.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "priv.h"

#define COMPUTE (VGPU_STAGES - 1)
#define CMD(w)  ((w)&0xff)
#define TYPE(w) (((w) >> 8) & 0xff)
#define LEN(w)  ((w) >> 16)

/* Positions of words, as in virgl.c. */
#define DRAW_COUNT     2
#define DRAW_INSTANCES 5
#define DRAW_FROM_SO   12
#define DRAW_INDIRECT  15
#define FROM_SO_MAX    (1u << 25) /* vertices in the largest buffer */
#define TESSELLATED    4096       /* vertices of one patch */

struct text {
	struct vgpu_shader shader;
	u32 total, have; /* bytes */
	char *pieces;    /* NULL: complete */
};

static const struct vgpu_shader endless = { .cost = { VGPU_UNBOUNDED, VGPU_UNBOUNDED, VGPU_UNBOUNDED } };

static struct text *text_of(struct vgpu_work *k, u32 handle)
{
	u64 *v = vgpu_map_get(&k->shaders, handle);

	return v ? (struct text *)(ulong)*v : NULL;
}

static void free_text(struct text *t)
{
	kfree(t->pieces);
	kfree(t);
}

void vgpu_work_forget(struct vgpu_sub *sub, u32 handle)
{
	struct text *t = sub->work ? text_of(sub->work, handle) : NULL;

	if (!sub->work)
		return;
	if (t)
		free_text(t);
	vgpu_map_del(&sub->work->shaders, handle);
	vgpu_map_del(&sub->work->texels, handle);
}

void vgpu_work_free(struct vgpu_sub *sub)
{
	struct vgpu_slot *slot;

	if (!sub->work)
		return;
	for (u32 at = 0; (slot = vgpu_map_next(&sub->work->shaders, &at));)
		free_text((struct text *)(ulong)slot->value);
	vgpu_map_free(&sub->work->shaders);
	vgpu_map_free(&sub->work->texels);
	kfree(sub->work);
	sub->work = NULL;
}

/* ---- shaders ---- */

/* Where the text begins: behind the stream outputs. */
static u32 text_at(const u32 *w)
{
	return 6 + (w[2] != COMPUTE && w[5] ? 4 + 2 * w[5] : 0);
}

static int begin_text(struct vgpu_work *k, const u32 *w)
{
	struct text *t = kzalloc(sizeof(*t), ALLOC_KERNEL);
	int rc;

	if (!t)
		return -ENOMEM;
	t->shader = endless;
	t->total = w[3];
	rc = vgpu_map_set(&k->shaders, w[1], (ulong)t);
	if (rc)
		kfree(t);
	return rc;
}

/* A piece that does not follow the last one leaves the shader without a bound: the renderer will not take it. */
static int add_piece(struct text *t, const u32 *w, u32 at)
{
	u32 bytes = (LEN(w[0]) + 1 - at) * 4, offset = w[3] >> 31 ? w[3] & 0x7fffffff : 0;

	bytes = min(bytes, t->total - t->have);
	if (offset != t->have || (t->have && !t->pieces) || !t->total)
		return 0;
	if (bytes == t->total)
		return vgpu_shader_measure((const char *)(w + at), bytes, &t->shader);
	if (!t->pieces)
		t->pieces = kmalloc(t->total, ALLOC_KERNEL);
	if (!t->pieces)
		return -ENOMEM;
	memcpy(t->pieces + t->have, w + at, bytes);
	t->have += bytes;
	if (t->have == t->total) {
		int rc = vgpu_shader_measure(t->pieces, t->total, &t->shader);

		kfree(t->pieces);
		t->pieces = NULL;
		return rc;
	}
	return 0;
}

static int note_shader(struct vgpu_work *k, const u32 *w)
{
	struct text *t;
	int rc = 0;

	if (!(w[3] >> 31))
		rc = begin_text(k, w);
	t = text_of(k, w[1]);
	if (rc || !t || text_at(w) > LEN(w[0]) + 1)
		return rc;
	return add_piece(t, w, text_at(w));
}

static int note_surface(struct vgpu_ctx *c, struct vgpu_work *k, const u32 *w)
{
	u64 *v = vgpu_map_get(&c->attached, w[2]);
	const struct vgpu_res_args *a = &((struct vgpu_res *)(ulong)*v)->args;

	return vgpu_map_set(&k->texels, w[1], (u64)a->width * max(a->height, 1u) * max(a->samples, 1u));
}

/* ---- state ---- */

static void bind_shader(struct vgpu_work *k, const u32 *w)
{
	struct text *t = text_of(k, w[1]);

	k->bound[w[2]] = t ? t->shader : w[1] ? endless : (struct vgpu_shader){ .nr_uniforms = 0 };
}

static void set_target(struct vgpu_work *k, const u32 *w)
{
	k->target = 0;
	for (u32 i = 2; i <= LEN(w[0]); i++) {
		u64 *texels = vgpu_map_get(&k->texels, w[i]);

		k->target = max(k->target, texels ? *texels : 0);
	}
}

static void set_constants(struct vgpu_work *k, const u32 *w)
{
	u32 n = min(LEN(w[0]) - 2, (u32)ARRAY_SIZE(k->consts[0]));

	if (w[2])
		return;
	memcpy(k->consts[w[1]], w + 3, n * sizeof(u32));
	k->nr_consts[w[1]] = n;
}

/* ---- work ---- */

/* One invocation of what is bound, with the uniforms as they are now. */
static u64 cost_of(const struct vgpu_work *k, u32 stage)
{
	const struct vgpu_shader *s = &k->bound[stage];
	u32 size = 0;

	for (u32 i = 0; i < s->nr_uniforms; i++) {
		s32 v;

		if (s->uniforms[i] >= k->nr_consts[stage])
			return VGPU_UNBOUNDED;
		v = k->consts[stage][s->uniforms[i]];
		while (size < VGPU_SIZES && (v > vgpu_uniform_size(size) || v < -vgpu_uniform_size(size)))
			size++;
	}
	return size < VGPU_SIZES ? s->cost[size] : VGPU_UNBOUNDED;
}

static bool over(u64 *sum, u64 invocations, u64 cost, u32 log2)
{
	u64 v;

	return __builtin_mul_overflow(invocations, cost, &v) || __builtin_add_overflow(*sum, v, sum) || *sum >> log2;
}

static int check_draw(const struct vgpu_work *k, const u32 *w, u32 log2)
{
	u64 n = (u64)w[DRAW_COUNT] * max(w[DRAW_INSTANCES], 1u), sum = 0;

	if (LEN(w[0]) >= DRAW_INDIRECT && w[DRAW_INDIRECT])
		return fail(E2BIG, "an indirect draw: nobody knows how much");
	if (w[DRAW_FROM_SO])
		n = max(n, (u64)FROM_SO_MAX);
	for (u32 stage = 0; stage < COMPUTE; stage++) {
		u64 times = stage == 1 ? k->target : stage == 4 ? n * TESSELLATED : n;

		if (over(&sum, times, cost_of(k, stage), log2))
			return fail(E2BIG, "a draw of too much work: stage %u", stage);
	}
	return 0;
}

static int check_grid(const struct vgpu_work *k, const u32 *w, u32 log2)
{
	u64 block = (u64)max(w[1], 1u) * max(w[2], 1u) * max(w[3], 1u), sum = 0;
	u64 groups = (u64)w[4] * w[5] * w[6]; /* no overflow: virgl.c has looked at it */

	if (w[7])
		return fail(E2BIG, "an indirect dispatch: nobody knows how much");
	return over(&sum, groups * block, cost_of(k, COMPUTE), log2) ? fail(E2BIG, "a dispatch of too much work") : 0;
}

int vgpu_work_note(struct vgpu_ctx *c, struct vgpu_sub *sub, const u32 *w)
{
	u32 log2 = c->space->tenant->limits.work_log2;
	struct vgpu_work *k = sub->work;

	if (!k) {
		k = sub->work = kzalloc(sizeof(*k), ALLOC_KERNEL);
		if (!k)
			return -ENOMEM;
		vgpu_map_init(&k->shaders, c->space->tenant->seed);
		vgpu_map_init(&k->texels, c->space->tenant->seed);
	}
	switch (CMD(w[0])) {
	case CREATE_OBJECT:
		if (TYPE(w[0]) == SHADER)
			return note_shader(k, w);
		return TYPE(w[0]) == SURFACE || TYPE(w[0]) == MSAA_SURFACE ? note_surface(c, k, w) : 0;
	case SET_FRAMEBUFFER: set_target(k, w); return 0;
	case DRAW_VBO: return check_draw(k, w, log2);
	case SET_CONSTANTS: set_constants(k, w); return 0;
	case BIND_SHADER: bind_shader(k, w); return 0;
	case LAUNCH_GRID: return check_grid(k, w, log2);
	case SET_FRAMEBUFFER_SIZE: k->target = (u64)(w[1] & 0xffff) * (w[1] >> 16); return 0;
	default: return 0;
	}
}
