/* SPDX-License-Identifier: MIT
 *
 * Problem: the renderer runs whatever a client writes into a stream: resource ids of others, slots past the end of its
 * arrays, shaders without end. Its answer to most of that is silence, to some a crash that takes everybody along.
 *
 * Idea: a table from opcode (and object type) to lengths, the places of resource ids, shader stage, first slot and
 * count. One walk checks all of it with no effect; a second translates ids and charges objects. What is not in the
 * table does not pass.
 *
 * Glossary: words[0] is a command's header, words[1] its first parameter; a position is an index into words, 0 for
 * none. `n` is the number of parameters, `rows` the number of repeated groups at the end of a command.
 *
 * Contract: virgl.h. Locks: none; the owner of the context serialises.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/virgl.h>
#include "priv.h"

enum action { REFUSED, PASS, BLANK };
enum work { NO_WORK, DRAW, DISPATCH, TRANSFER };

struct rule {
	const char *name;
	u8 action;
	u8 work;
	u16 min, max; /* parameters without the rows, and with all of them */
	u8 row;       /* parameters a row */
	u8 id[2];     /* positions of single resource ids */
	u8 row_id;    /* position of the id in the first row */
	u8 stage;     /* position of a shader stage */
	u8 slot;      /* position of the first slot that the rows fill */
	bool zero;    /* id 0 means "none" and is allowed */
	u8 slots;     /* number of slots there are */
	int (*check)(const struct vgpu_ctx *c, const u32 *words, u32 n);
};

#define ANY       0xffff
#define STAGES    VGPU_STAGES
#define CMD(w)    ((w)&0xff)
#define OBJECT(w) (((w) >> 8) & 0xff)
#define LEN(w)    ((w) >> 16)

/* ---- checks that the table's columns cannot say ---- */

static int check_framebuffer(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	return w[1] == n - 2 ? 0 : fail(EINVAL, "%u colour buffers in %u words", w[1], n);
}

static bool over_log2(u64 a, u64 b, u32 log2)
{
	return a && b > (1ull << log2) / a;
}

static int check_draw(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	u32 log2 = c->space->tenant->limits.draw_vertices_log2;

	if (n != 12 && n != 14 && n != 20)
		return fail(EINVAL, "draw of %u words", n);
	/* An indirect draw takes its numbers from a buffer: see work.c. */
	if (over_log2(w[2], max(w[5], 1u), log2))
		return fail(E2BIG, "draw of %u vertices in %u instances", w[2], w[5]);
	if (n == 20 && w[15] && w[18] > 1u << 16)
		return fail(E2BIG, "%u indirect draws", w[18]);
	return 0;
}

static int check_grid(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	u32 log2 = c->space->tenant->limits.grid_groups_log2;

	if (over_log2(w[4], w[5], log2) || over_log2((u64)w[4] * w[5], w[6], log2))
		return fail(E2BIG, "grid of %ux%ux%u groups", w[4], w[5], w[6]);
	if (w[1] > 1024 || w[2] > 1024 || w[3] > 1024)
		return fail(EINVAL, "block of %ux%ux%u", w[1], w[2], w[3]);
	return 0;
}

static int check_index_buffer(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	if (n == 2 || (n == 3 && w[2] != 1 && w[2] != 2 && w[2] != 4))
		return fail(EINVAL, "index buffer of %u words", n);
	return n == 1 && w[1] ? fail(EINVAL, "index buffer without size") : 0;
}

static int check_bind(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	u32 type = OBJECT(w[0]);

	return type == BLEND || type == RASTERIZER || type == DSA || type == VERTEX_ELEMENTS
		       ? 0
		       : fail(EINVAL, "bind of object type %u", type);
}

static int check_uniform_slot(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	return w[2] < 32 ? 0 : fail(EINVAL, "uniform buffer %u", w[2]);
}

static int check_transfer(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	return w[13] == 1 || w[13] == 2 ? 0 : fail(EINVAL, "transfer direction %u", w[13]);
}

static int check_tweak(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	return w[1] < 3 ? 0 : fail(EINVAL, "tweak %u", w[1]);
}

/* ---- the table ---- */

static const struct rule rules[] = {
	[NOP] = { "nop", PASS, .max = ANY },
	[CREATE_OBJECT] = { "create_object", PASS, .min = 1, .max = ANY }, /* see object_rules */
	[BIND_OBJECT] = { "bind_object", PASS, .min = 1, .max = 1, .check = check_bind },
	[DESTROY_OBJECT] = { "destroy_object", PASS, .min = 1, .max = 1 },
	[4] = { "set_viewport_state", PASS, .min = 1, .max = 97, .row = 6, .slot = 1, .slots = 16 },
	[5] = { "set_framebuffer_state", PASS, .min = 2, .max = 10, .row = 1, .check = check_framebuffer },
	[6] = { "set_vertex_buffers", PASS, .max = 96, .row = 3, .row_id = 3, .zero = true },
	[7] = { "clear", PASS, DRAW, .min = 8, .max = 8 },
	[8] = { "draw_vbo", PASS, DRAW, .min = 12, .max = 20, .id = { 15, 20 }, .zero = true, .check = check_draw },
	[9] = { "resource_inline_write", PASS, TRANSFER, .min = 12, .max = ANY, .id = { 1 } },
	[10] = { "set_sampler_views", PASS, .min = 2, .max = 130, .row = 1, .stage = 1, .slot = 2, .slots = 128 },
	[11] = { "set_index_buffer", PASS, .min = 1, .max = 3, .id = { 1 }, .zero = true, .check = check_index_buffer },
	[12] = { "set_constant_buffer", PASS, .min = 2, .max = ANY, .stage = 1 },
	[13] = { "set_stencil_ref", PASS, .min = 1, .max = 1 },
	[14] = { "set_blend_color", PASS, .min = 4, .max = 4 },
	[15] = { "set_scissor_state", PASS, .min = 1, .max = 33, .row = 2, .slot = 1, .slots = 16 },
	[16] = { "blit", PASS, DRAW, .min = 21, .max = 21, .id = { 4, 13 } },
	[17] = { "resource_copy_region", PASS, DRAW, .min = 13, .max = 13, .id = { 1, 6 } },
	[18] = { "bind_sampler_states", PASS, .min = 2, .max = 34, .row = 1, .stage = 1, .slot = 2, .slots = 32 },
	[19] = { "begin_query", PASS, .min = 1, .max = 1 },
	[20] = { "end_query", PASS, .min = 1, .max = 1 },
	[21] = { "get_query_result", PASS, .min = 2, .max = 2 },
	[22] = { "set_polygon_stipple", PASS, .min = 32, .max = 32 },
	[23] = { "set_clip_state", PASS, .min = 32, .max = 32 },
	[24] = { "set_sample_mask", PASS, .min = 1, .max = 1 },
	[25] = { "set_streamout_targets", PASS, .min = 1, .max = 5, .row = 1 },
	[26] = { "set_render_condition", PASS, .min = 3, .max = 3 },
	[27] = { "set_uniform_buffer", PASS, .min = 5, .max = 5, .id = { 5 }, .zero = true, .stage = 1,
		 .check = check_uniform_slot },
	[SET_SUB_CTX] = { "set_sub_ctx", PASS, .min = 1, .max = 1 },
	[CREATE_SUB_CTX] = { "create_sub_ctx", PASS, .min = 1, .max = 1 },
	[DESTROY_SUB_CTX] = { "destroy_sub_ctx", PASS, .min = 1, .max = 1 },
	[31] = { "bind_shader", PASS, .min = 2, .max = 2, .stage = 2 },
	[32] = { "set_tess_state", PASS, .min = 6, .max = 6 },
	[33] = { "set_min_samples", PASS, .min = 1, .max = 1 },
	[34] = { "set_shader_buffers", PASS, .min = 2, .max = 98, .row = 3, .row_id = 5, .zero = true, .stage = 1,
		 .slot = 2, .slots = 32 },
	[35] = { "set_shader_images", PASS, .min = 2, .max = 162, .row = 5, .row_id = 7, .zero = true, .stage = 1,
		 .slot = 2, .slots = 32 },
	[36] = { "memory_barrier", PASS, .min = 1, .max = 1 },
	[37] = { "launch_grid", PASS, DISPATCH, .min = 8, .max = 8, .id = { 7 }, .zero = true, .check = check_grid },
	[38] = { "set_framebuffer_state_no_attach", PASS, .min = 2, .max = 2 },
	[39] = { "texture_barrier", PASS, .min = 1, .max = 1 },
	[40] = { "set_atomic_buffers", PASS, .min = 1, .max = 97, .row = 3, .row_id = 4, .zero = true, .slot = 1,
		 .slots = 32 },
	[41] = { "set_debug_flags", BLANK, .max = ANY },
	[42] = { "get_query_result_qbo", PASS, .min = 6, .max = 6, .id = { 2 } },
	[43] = { "transfer3d", PASS, TRANSFER, .min = 13, .max = 13, .id = { 1 }, .check = check_transfer },
	[44] = { "end_transfers", PASS, .max = ANY },
	[45] = { "copy_transfer3d", PASS, TRANSFER, .min = 14, .max = 14, .id = { 1, 12 } },
	[46] = { "set_tweaks", PASS, .min = 2, .max = 2, .check = check_tweak },
	[47] = { "clear_texture", PASS, DRAW, .min = 12, .max = 12, .id = { 1 } },
	[48] = { .name = "pipe_resource_create" },
	[49] = { .name = "pipe_resource_set_type" },
	[50] = { .name = "get_memory_info" },
	[51] = { "send_string_marker", BLANK, .max = ANY },
	[52] = { "link_shader", PASS, .min = 6, .max = 6 },
	[53] = { .name = "create_video_codec" },
	[54] = { .name = "destroy_video_codec" },
	[55] = { .name = "create_video_buffer" },
	[56] = { .name = "destroy_video_buffer" },
	[57] = { .name = "begin_frame" },
	[58] = { .name = "decode_macroblock" },
	[59] = { .name = "decode_bitstream" },
	[60] = { .name = "encode_bitstream" },
	[61] = { .name = "end_frame" },
};

static int check_shader(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	const struct vgpu_limits *l = &c->space->tenant->limits;
	u32 stage = w[2], text = w[3] & 0x7fffffff, tokens = w[4], outputs = w[5];

	if (stage >= STAGES)
		return fail(EINVAL, "shader stage %u", stage);
	if (text > l->shader_bytes || tokens > l->shader_bytes / 4)
		return fail(E2BIG, "shader of %u bytes, %u tokens", text, tokens);
	if (stage == STAGES - 1)
		outputs = 0; /* for compute that word is the size of local memory */
	if (outputs > 64 || (outputs && n < 9 + 2 * outputs))
		return fail(EINVAL, "%u stream outputs in %u words", outputs, n);
	return 0;
}

static int check_sampler_state(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	return ((w[2] >> 11) & 3) < 3 ? 0 : fail(EINVAL, "mip filter 3");
}

static int check_vertex_elements(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	for (u32 i = 4; i <= n; i += 4)
		if (w[i] >= 32)
			return fail(EINVAL, "vertex buffer %u", w[i]);
	return 0;
}

static int check_msaa_surface(const struct vgpu_ctx *c, const u32 *w, u32 n)
{
	return w[6] <= VGPU_MAX_SAMPLES ? 0 : fail(EINVAL, "surface of %u samples", w[6]);
}

static const struct rule object_rules[] = {
	[BLEND] = { "blend", PASS, .min = 11, .max = 11 },
	[RASTERIZER] = { "rasterizer", PASS, .min = 9, .max = 9 },
	[DSA] = { "depth_stencil_alpha", PASS, .min = 5, .max = 5 },
	[SHADER] = { "shader", PASS, .min = 5, .max = ANY, .check = check_shader },
	[VERTEX_ELEMENTS] = { "vertex_elements", PASS, .min = 1, .max = 129, .row = 4, .check = check_vertex_elements },
	[SAMPLER_VIEW] = { "sampler_view", PASS, .min = 6, .max = 6, .id = { 2 } },
	[SAMPLER_STATE] = { "sampler_state", PASS, .min = 9, .max = 9, .check = check_sampler_state },
	[SURFACE] = { "surface", PASS, .min = 5, .max = 5, .id = { 2 } },
	[QUERY] = { "query", PASS, .min = 4, .max = 4, .id = { 4 } },
	[SO_TARGET] = { "streamout_target", PASS, .min = 4, .max = 4, .id = { 2 } },
	[MSAA_SURFACE] = { "msaa_surface", PASS, .min = 6, .max = 6, .id = { 2 }, .check = check_msaa_surface },
};

static const struct rule *rule_of(u32 header)
{
	u32 type = OBJECT(header);

	if (CMD(header) == CREATE_OBJECT)
		return type < ARRAY_SIZE(object_rules) && object_rules[type].name ? &object_rules[type] : NULL;
	return CMD(header) < ARRAY_SIZE(rules) ? &rules[CMD(header)] : NULL;
}

const char *vgpu_virgl_name(u32 header)
{
	const struct rule *r = rule_of(header);

	return r ? r->name : "unknown";
}

/* ---- first walk: everything is checked, nothing changes ---- */

static int check_id(const struct vgpu_ctx *c, const struct rule *r, u32 id)
{
	if (!id && r->zero)
		return 0;
	return vgpu_map_get(&c->attached, id) ? 0 : fail(ENOENT, "%s: no resource %u", r->name, id);
}

static int check_ids(const struct vgpu_ctx *c, const struct rule *r, const u32 *w, u32 n)
{
	int rc = 0;

	for (u32 i = 0; i < ARRAY_SIZE(r->id) && !rc; i++)
		if (r->id[i] && r->id[i] <= n)
			rc = check_id(c, r, w[r->id[i]]);
	for (u32 i = r->row_id; i && i <= n && !rc; i += r->row)
		rc = check_id(c, r, w[i]);
	return rc;
}

static int check_command(const struct vgpu_ctx *c, const struct rule *r, const u32 *w)
{
	u32 n = LEN(w[0]);

	if (!r)
		return fail(EINVAL, "command 0x%x", w[0]);
	if (r->action == REFUSED)
		return fail(EOPNOTSUPP, "%s is not offered", r->name);
	if (n < r->min || n > r->max || (r->row && (n - r->min) % r->row))
		return fail(EINVAL, "%s of %u words", r->name, n);
	if (r->stage && w[r->stage] >= STAGES)
		return fail(EINVAL, "%s: shader stage %u", r->name, w[r->stage]);
	if (r->slot && (w[r->slot] > r->slots || (n - r->min) / r->row > r->slots - w[r->slot]))
		return fail(EINVAL, "%s: slot %u of %u", r->name, w[r->slot], r->slots);
	if (CMD(w[0]) == CREATE_OBJECT && !w[1])
		return fail(EINVAL, "object 0");
	return r->check ? r->check(c, w, n) : 0;
}

static void count(struct vgpu_stream *info, const struct rule *r)
{
	info->commands++;
	info->draws += r->work == DRAW;
	info->dispatches += r->work == DISPATCH;
	info->transfers += r->work == TRANSFER;
}

static int check_stream(const struct vgpu_ctx *c, const u32 *words, u32 n, struct vgpu_stream *info)
{
	for (u32 at = 0; at < n; at += LEN(words[at]) + 1) {
		const struct rule *r = rule_of(words[at]);
		int rc;

		if (LEN(words[at]) > n - at - 1)
			return fail(EINVAL, "%s runs past the end", vgpu_virgl_name(words[at]));
		rc = check_command(c, r, words + at);
		if (!rc)
			rc = check_ids(c, r, words + at, LEN(words[at]));
		if (rc)
			return rc;
		count(info, r);
	}
	return 0;
}

/* ---- second walk: ids become the host's, objects and sub-contexts are charged ---- */

static struct vgpu_res *attached(const struct vgpu_ctx *c, u32 id)
{
	u64 *v = vgpu_map_get(&c->attached, id);

	return v ? (struct vgpu_res *)(ulong)*v : NULL;
}

static void translate(const struct vgpu_ctx *c, u32 *id)
{
	if (*id)
		*id = attached(c, *id)->host_id;
}

static u64 object_charge(const struct vgpu_ctx *c, const u32 *w)
{
	u32 type = OBJECT(w[0]);

	if (type == SHADER)
		return VGPU_OBJECT_CHARGE + (w[3] & 0x7fffffff);
	if (type == MSAA_SURFACE) {
		const struct vgpu_res *r = attached(c, w[2]);

		/* Rendering to it needs samples that the resource does not hold. */
		return VGPU_OBJECT_CHARGE + (r->bytes - ALIGN_UP(r->backing, PAGE_SIZE)) * w[6];
	}
	return VGPU_OBJECT_CHARGE;
}

static void destroy_object(struct vgpu_ctx *c, struct vgpu_sub *sub, u32 handle)
{
	u64 *old = vgpu_map_get(&sub->objects, handle);

	if (!old)
		return; /* the renderer ignores it, too */
	vgpu_work_forget(sub, handle);
	vgpu_uncharge(c->space->tenant, *old >> 8);
	c->space->tenant->objects--;
	vgpu_map_del(&sub->objects, handle);
}

static int create_object(struct vgpu_ctx *c, struct vgpu_sub *sub, const u32 *w)
{
	struct vgpu_tenant *t = c->space->tenant;
	u64 bytes = object_charge(c, w), *old;
	int rc;

	if (OBJECT(w[0]) == SHADER && w[3] >> 31) { /* more text of a shader begun earlier, which was charged whole */
		old = vgpu_map_get(&sub->objects, w[1]);
		return old && (*old & 0xff) == SHADER ? 0 : fail(ENOENT, "no shader %u to continue", w[1]);
	}
	destroy_object(c, sub, w[1]); /* the renderer replaces an object of the same handle */
	if (t->objects >= t->limits.objects)
		return fail(EDQUOT, "more than %u objects", t->limits.objects);
	rc = vgpu_charge(t, bytes);
	if (rc)
		return rc;
	rc = vgpu_map_set(&sub->objects, w[1], bytes << 8 | OBJECT(w[0]));
	if (rc) {
		vgpu_uncharge(t, bytes);
		return rc;
	}
	t->objects++;
	return 0;
}

static int apply_sub_ctx(struct vgpu_ctx *c, const u32 *w)
{
	u32 id = w[1];

	switch (CMD(w[0])) {
	case CREATE_SUB_CTX: return vgpu_sub_create(c, id);
	case SET_SUB_CTX:
		if (!vgpu_sub_find(c, id))
			return fail(ENOENT, "no sub-context %u", id);
		c->current_sub = id;
		return 0;
	default:
		if (!id || !vgpu_sub_destroy(c, id))
			return fail(ENOENT, "no sub-context %u to destroy", id);
		if (c->current_sub == id)
			c->current_sub = 0;
		return 0;
	}
}

static int apply_command(struct vgpu_ctx *c, const struct rule *r, u32 *w)
{
	struct vgpu_sub *sub = vgpu_sub_find(c, c->current_sub);
	u32 n = LEN(w[0]), op = CMD(w[0]);
	int rc = 0;

	if (r->action == BLANK) {
		w[0] &= 0xffff0000u; /* a NOP of the same length */
		return 0;
	}
	if (op == CREATE_OBJECT)
		rc = create_object(c, sub, w);
	else if (op == DESTROY_OBJECT)
		destroy_object(c, sub, w[1]);
	else if (op >= SET_SUB_CTX && op <= DESTROY_SUB_CTX)
		rc = apply_sub_ctx(c, w);
	if (!rc && c->space->tenant->limits.work_log2)
		rc = vgpu_work_note(c, sub, w);
	for (u32 i = 0; i < ARRAY_SIZE(r->id); i++)
		if (r->id[i] && r->id[i] <= n)
			translate(c, &w[r->id[i]]);
	for (u32 i = r->row_id; i && i <= n; i += r->row)
		translate(c, &w[i]);
	return rc;
}

int vgpu_virgl_admit(struct vgpu_ctx *c, u32 *words, u32 n, struct vgpu_stream *info)
{
	int rc;

	memset(info, 0, sizeof(*info));
	if (c->lost)
		return fail(EIO, "context %u is lost", c->id);
	if (n > c->space->tenant->limits.submit_bytes / 4)
		rc = fail(E2BIG, "stream of %u words", n);
	else
		rc = check_stream(c, words, n, info);
	for (u32 at = 0; at < n && !rc;) {
		u32 next = at + LEN(words[at]) + 1;

		rc = apply_command(c, rule_of(words[at]), words + at);
		at = next;
	}
	if (rc) {
		c->lost = true;
		c->space->tenant->refused++;
	}
	return rc;
}

u32 vgpu_virgl_cut(const u32 *words, u32 n, u32 work)
{
	u32 at = 0;

	while (at < n) {
		const struct rule *r = rule_of(words[at]);

		if (r && r->work) {
			if (!work && at)
				break;
			work -= !!work;
		}
		at += LEN(words[at]) + 1;
	}
	return min(at, n);
}

/* Offsets and bits in capability set 2: virgl_hw.h, struct virgl_caps_v2. */
#define CAPS2_BITS_V2         688
#define CAPS2_VIDEO_CODECS    856
#define CAP2_UNTYPED_RESOURCE BIT(1)
#define CAP2_VIDEO_MEMORY     BIT(2)
#define CAP2_MEMINFO          BIT(3)

static void mask_word(u8 *caps, u32 bytes, u32 at, u32 clear)
{
	u32 bits;

	if (bytes < at + sizeof(bits))
		return;
	memcpy(&bits, caps + at, sizeof(bits));
	bits &= ~clear;
	memcpy(caps + at, &bits, sizeof(bits));
}

void vgpu_virgl_mask_caps(u32 set, void *caps, u32 bytes)
{
	if (set != 2)
		return;
	mask_word(caps, bytes, CAPS2_BITS_V2, CAP2_UNTYPED_RESOURCE | CAP2_VIDEO_MEMORY | CAP2_MEMINFO);
	mask_word(caps, bytes, CAPS2_VIDEO_CODECS, ~0u);
}
