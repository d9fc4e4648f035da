/* SPDX-License-Identifier: MIT
 *
 * Problem: a stream that passes the check runs in a renderer beside other tenants' resources; one forgotten place of an
 * id, one slot too many, and a tenant reads or crashes another.
 *
 * Idea: for each command of the protocol a right stream passes with its ids translated, and the same stream with each
 * word made wrong in turn (id of nobody, length, slot, stage, work) is refused; the charges add up to what objects and
 * resources cost, and to zero after everything is destroyed.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/virgl.h>

#define HDR(op, type, len) ((op) | (type) << 8 | (u32)(len) << 16)
#define RES                7u /* the client's id; the host's differs */

struct world {
	struct vgpu_tenant tenant;
	struct vgpu_ids ids;
	struct vgpu_space space;
	struct vgpu_ctx *ctx;
	struct vgpu_res *res;
};

static const struct vgpu_res_args texture = {
	.target = VGPU_2D, .format = VGPU_FORMAT_B8G8R8A8, .bind = 2, .width = 64, .height = 64, .depth = 1, .layers = 1
};

static void open_world(struct world *w)
{
	u32 skipped;

	vgpu_tenant_init(&w->tenant, &vgpu_default_limits, 42);
	vgpu_ids_init(&w->ids, 42);
	for (int i = 0; i < 100; i++)
		assert_int_equal(vgpu_ids_take(&w->ids, &skipped), 0);
	vgpu_space_init(&w->space, &w->tenant, &w->ids);
	assert_int_equal(vgpu_ctx_create(&w->space, 1, 1, &w->ctx), 0);
	assert_int_equal(vgpu_res_create(&w->space, RES, &texture, 0, &w->res), 0);
	assert_int_equal(vgpu_ctx_attach(w->ctx, w->res), 0);
	assert_int_equal(w->res->host_id, 101);
}

static void close_world(struct world *w)
{
	vgpu_space_destroy(&w->space, NULL, NULL);
	assert_int_equal(w->tenant.memory, 0);
	assert_int_equal(w->tenant.objects, 0);
	assert_int_equal(w->tenant.resources, 0);
	assert_int_equal(w->tenant.contexts, 0);
	assert_int_equal(w->tenant.sub_contexts, 0);
	vgpu_ids_free(&w->ids);
}

/* Admits a copy of one command in a fresh world; the copy is left in out if given. */
static int admit(const u32 *words, u32 n, u32 *out, struct vgpu_stream *info)
{
	struct vgpu_stream unused;
	struct world w;
	u32 copy[512];
	int rc;

	open_world(&w);
	memcpy(copy, words, n * 4);
	rc = vgpu_virgl_admit(w.ctx, copy, n, info ? info : &unused);
	assert_int_equal(w.ctx->lost, rc != 0);
	assert_int_equal(w.tenant.refused, rc != 0);
	if (out)
		memcpy(out, copy, n * 4);
	close_world(&w);
	return rc;
}

/* Commands with resource ids: header, and the positions of the ids. All other words are 0 or given. */
struct with_ids {
	u32 header;
	u8 ids[6];
	bool zero; /* 0 is allowed */
	struct {
		u8 at;
		u32 value;
	} set[2];
};

static const struct with_ids with_ids[] = {
	{ HDR(1, 6, 6), { 2 }, false, { { 1, 9 } } },       /* sampler view */
	{ HDR(1, 8, 5), { 2 }, false, { { 1, 9 } } },       /* surface */
	{ HDR(1, 9, 4), { 4 }, false, { { 1, 9 } } },       /* query */
	{ HDR(1, 10, 4), { 2 }, false, { { 1, 9 } } },      /* stream-out target */
	{ HDR(1, 11, 6), { 2 }, false, { { 1, 9 } } },      /* multi-sampled surface */
	{ HDR(6, 0, 6), { 3, 6 }, true, { { 0, 0 } } },     /* vertex buffers */
	{ HDR(8, 0, 20), { 15, 20 }, true, { { 0, 0 } } },  /* indirect draw */
	{ HDR(9, 0, 12), { 1 }, false, { { 0, 0 } } },      /* inline write */
	{ HDR(11, 0, 3), { 1 }, true, { { 2, 2 } } },       /* index buffer */
	{ HDR(16, 0, 21), { 4, 13 }, false, { { 0, 0 } } }, /* blit */
	{ HDR(17, 0, 13), { 1, 6 }, false, { { 0, 0 } } },  /* copy region */
	{ HDR(27, 0, 5), { 5 }, true, { { 0, 0 } } },       /* uniform buffer */
	{ HDR(34, 0, 8), { 5, 8 }, true, { { 0, 0 } } },    /* shader buffers */
	{ HDR(35, 0, 12), { 7, 12 }, true, { { 0, 0 } } },  /* shader images */
	{ HDR(37, 0, 8), { 7 }, true, { { 0, 0 } } },       /* indirect dispatch */
	{ HDR(40, 0, 7), { 4, 7 }, true, { { 0, 0 } } },    /* atomic buffers */
	{ HDR(42, 0, 6), { 2 }, false, { { 0, 0 } } },      /* query result into a buffer */
	{ HDR(43, 0, 13), { 1 }, false, { { 13, 1 } } },    /* transfer */
	{ HDR(45, 0, 14), { 1, 12 }, false, { { 0, 0 } } }, /* copy transfer */
	{ HDR(47, 0, 12), { 1 }, false, { { 0, 0 } } },     /* clear texture */
};

static void fill(const struct with_ids *c, u32 *words)
{
	memset(words, 0, 512 * 4);
	words[0] = c->header;
	for (u32 i = 0; i < ARRAY_SIZE(c->set); i++)
		if (c->set[i].at)
			words[c->set[i].at] = c->set[i].value;
	for (u32 i = 0; c->ids[i]; i++)
		words[c->ids[i]] = RES;
}

static void every_id_is_translated_or_refused(void **state)
{
	u32 words[512], out[512];

	for (u32 k = 0; k < ARRAY_SIZE(with_ids); k++) {
		const struct with_ids *c = &with_ids[k];
		u32 n = (c->header >> 16) + 1;

		fill(c, words);
		assert_int_equal(admit(words, n, out, NULL), 0);
		for (u32 i = 0; c->ids[i]; i++) {
			assert_int_equal(out[c->ids[i]], 101);
			words[c->ids[i]] = 101; /* the host's own number is nobody's in the client's words */
			assert_int_equal(admit(words, n, NULL, NULL), -ENOENT);
			words[c->ids[i]] = 0;
			assert_int_equal(admit(words, n, NULL, NULL), c->zero ? 0 : -ENOENT);
			words[c->ids[i]] = RES;
		}
		/* Nothing else changed. */
		assert_int_equal(admit(words, n, out, NULL), 0);
		for (u32 i = 0; c->ids[i]; i++)
			out[c->ids[i]] = RES;
		assert_memory_equal(out, words, n * 4);
		/* One word too many, one too few, and cut off. */
		words[0] = c->header + (1 << 16);
		if ((c->header & 0xff) != 9)
			assert_int_equal(admit(words, n + 1, NULL, NULL), -EINVAL);
		words[0] = c->header - (1 << 16);
		assert_int_equal(admit(words, n - 1, NULL, NULL), -EINVAL);
		words[0] = c->header;
		assert_int_equal(admit(words, n - 1, NULL, NULL), -EINVAL);
	}
}

static void lengths_slots_and_stages(void **state)
{
	static const struct {
		u32 words[4];
		u32 n; /* words in all, zero-filled */
		int rc;
	} cases[] = {
		{ { HDR(0, 0, 3) }, 4, 0 },
		{ { HDR(2, 1, 1), 5 }, 2, 0 },
		{ { HDR(2, 4, 1), 5 }, 2, -EINVAL }, /* shaders are not bound like that */
		{ { HDR(4, 0, 7), 15 }, 8, 0 },      /* one viewport at the last slot */
		{ { HDR(4, 0, 7), 16 }, 8, -EINVAL },
		{ { HDR(4, 0, 7), 0xffffffff }, 8, -EINVAL },
		{ { HDR(4, 0, 97), 0 }, 98, 0 },
		{ { HDR(4, 0, 103), 0 }, 104, -EINVAL },
		{ { HDR(4, 0, 8), 0 }, 9, -EINVAL },
		{ { HDR(5, 0, 3), 1 }, 4, 0 },
		{ { HDR(5, 0, 3), 2 }, 4, -EINVAL }, /* says two colour buffers, brings one */
		{ { HDR(5, 0, 11), 9 }, 12, -EINVAL },
		{ { HDR(10, 0, 3), 5, 127 }, 4, 0 },
		{ { HDR(10, 0, 3), 5, 128 }, 4, -EINVAL },
		{ { HDR(10, 0, 3), 6, 0 }, 4, -EINVAL }, /* stage 6 */
		{ { HDR(11, 0, 1), 0 }, 2, 0 },
		{ { HDR(11, 0, 1), RES }, 2, -EINVAL },
		{ { HDR(11, 0, 3), RES, 3 }, 4, -EINVAL }, /* an index of three bytes */
		{ { HDR(12, 0, 4), 0, 0 }, 5, 0 },
		{ { HDR(12, 0, 4), 6, 0 }, 5, -EINVAL },
		{ { HDR(15, 0, 3), 16 }, 4, -EINVAL },
		{ { HDR(18, 0, 3), 0, 31 }, 4, 0 },
		{ { HDR(18, 0, 3), 0, 32 }, 4, -EINVAL },
		{ { HDR(25, 0, 5), 0 }, 6, 0 },
		{ { HDR(25, 0, 6), 0 }, 7, -EINVAL },
		{ { HDR(27, 0, 5), 0, 32 }, 6, -EINVAL },
		{ { HDR(31, 0, 2), 1, 6 }, 3, -EINVAL },
		{ { HDR(40, 0, 4), 32 }, 5, -EINVAL },
		{ { HDR(46, 0, 2), 3 }, 3, -EINVAL },
		{ { HDR(43, 0, 13), RES }, 14, -EINVAL }, /* direction 0 */
		{ { HDR(48, 0, 11) }, 12, -EOPNOTSUPP },
		{ { HDR(50, 0, 1), RES }, 2, -EOPNOTSUPP },
		{ { HDR(53, 0, 8) }, 9, -EOPNOTSUPP },
		{ { HDR(61, 0, 2) }, 3, -EOPNOTSUPP },
		{ { HDR(62, 0, 0) }, 1, -EINVAL },
		{ { HDR(255, 0, 0) }, 1, -EINVAL },
		{ { HDR(1, 12, 5), 9 }, 6, -EINVAL },
		{ { HDR(1, 0, 5), 9 }, 6, -EINVAL },
		{ { HDR(1, 1, 11), 0 }, 12, -EINVAL }, /* object 0 */
		{ { HDR(1, 5, 5), 9 }, 6, 0 },
		{ { HDR(1, 5, 6), 9 }, 7, -EINVAL },
		{ { HDR(1, 7, 9), 9, 3 << 11 }, 10, -EINVAL }, /* a mip filter that does not exist */
	};
	u32 words[512];

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		int rc;

		memset(words, 0, sizeof(words));
		memcpy(words, cases[i].words, sizeof(cases[i].words));
		rc = admit(words, cases[i].n, NULL, NULL);
		if (rc != cases[i].rc)
			fail_msg("case %u, %s: %d, not %d", i, vgpu_virgl_name(words[0]), rc, cases[i].rc);
	}
}

static void work_is_bounded(void **state)
{
	u32 draw[13] = { HDR(8, 0, 12), 0, 1 << 20, 4, 0, 256 };
	u32 grid[9] = { HDR(37, 0, 8), 8, 8, 1, 1 << 14, 1 << 14, 1 };
	u32 shader[6] = { HDR(1, 4, 5), 9, 0, 512 << 10, 100, 0 };
	struct vgpu_stream info;

	assert_int_equal(admit(draw, 13, NULL, &info), 0);
	assert_int_equal(info.draws, 1);
	draw[5] = 257;
	assert_int_equal(admit(draw, 13, NULL, NULL), -E2BIG);
	draw[2] = draw[5] = ~0u;
	assert_int_equal(admit(draw, 13, NULL, NULL), -E2BIG);
	assert_int_equal(admit(grid, 9, NULL, &info), 0);
	assert_int_equal(info.dispatches, 1);
	grid[6] = 2;
	assert_int_equal(admit(grid, 9, NULL, NULL), -E2BIG);
	grid[4] = grid[5] = grid[6] = ~0u;
	assert_int_equal(admit(grid, 9, NULL, NULL), -E2BIG);
	assert_int_equal(admit(shader, 6, NULL, NULL), 0);
	shader[3]++;
	assert_int_equal(admit(shader, 6, NULL, NULL), -E2BIG);
	shader[3]--;
	shader[4] = 0x40000000; /* tokens */
	assert_int_equal(admit(shader, 6, NULL, NULL), -E2BIG);
	shader[4] = 1;
	shader[5] = 65; /* stream outputs */
	assert_int_equal(admit(shader, 6, NULL, NULL), -EINVAL);
	shader[5] = 1; /* said, but not there */
	assert_int_equal(admit(shader, 6, NULL, NULL), -EINVAL);
}

static void debugging_is_blanked(void **state)
{
	u32 words[] = { HDR(41, 0, 2), 'a', 'b', HDR(51, 0, 2), 4, 'c' }, out[6];

	assert_int_equal(admit(words, 6, out, NULL), 0);
	assert_int_equal(out[0], HDR(0, 0, 2));
	assert_int_equal(out[3], HDR(0, 0, 2));
}

static void objects_are_charged(void **state)
{
	u32 create[12] = { HDR(1, 1, 11), 9 }, destroy[2] = { HDR(3, 1, 1), 9 };
	u32 shader[6] = { HDR(1, 4, 5), 9, 0, 1000, 10, 0 }, more[6] = { HDR(1, 4, 5), 9, 0, 0x80000000 | 8, 10, 0 };
	struct vgpu_stream info;
	struct world w;
	u64 before;

	open_world(&w);
	before = w.tenant.memory;
	for (int i = 0; i < 3; i++) /* the same handle replaces */
		assert_int_equal(vgpu_virgl_admit(w.ctx, create, 12, &info), 0);
	assert_int_equal(w.tenant.objects, 1);
	assert_int_equal(w.tenant.memory, before + VGPU_OBJECT_CHARGE);
	assert_int_equal(vgpu_virgl_admit(w.ctx, shader, 6, &info), 0);
	assert_int_equal(w.tenant.memory, before + VGPU_OBJECT_CHARGE + 1000);
	assert_int_equal(vgpu_virgl_admit(w.ctx, more, 6, &info), 0);
	assert_int_equal(w.tenant.memory, before + VGPU_OBJECT_CHARGE + 1000);
	assert_int_equal(vgpu_virgl_admit(w.ctx, destroy, 2, &info), 0);
	assert_int_equal(vgpu_virgl_admit(w.ctx, destroy, 2, &info), 0); /* as the renderer: ignored */
	assert_int_equal(w.tenant.memory, before);
	w.tenant.limits.memory_bytes = before + VGPU_OBJECT_CHARGE;
	assert_int_equal(vgpu_virgl_admit(w.ctx, create, 12, &info), 0);
	create[1] = 10;
	assert_int_equal(vgpu_virgl_admit(w.ctx, create, 12, &info), -EDQUOT);
	assert_int_equal(vgpu_virgl_admit(w.ctx, destroy, 2, &info), -EIO); /* the context is lost */
	close_world(&w);
	open_world(&w);
	assert_int_equal(vgpu_virgl_admit(w.ctx, more, 6, &info), -ENOENT); /* continues nothing */
	close_world(&w);
}

static void sub_contexts(void **state)
{
	u32 make[] = { HDR(29, 0, 1), 3, HDR(28, 0, 1), 3, HDR(1, 5, 1), 9 }, unmake[] = { HDR(30, 0, 1), 3 };
	u32 set[] = { HDR(28, 0, 1), 4 }, zero[] = { HDR(30, 0, 1), 0 };
	struct vgpu_stream info;
	struct world w;

	open_world(&w);
	assert_int_equal(vgpu_virgl_admit(w.ctx, make, 6, &info), 0);
	assert_int_equal(w.tenant.sub_contexts, 2);
	assert_int_equal(w.tenant.objects, 1);
	assert_int_equal(vgpu_virgl_admit(w.ctx, unmake, 2, &info), 0);
	assert_int_equal(w.tenant.sub_contexts, 1);
	assert_int_equal(w.tenant.objects, 0); /* they went with it */
	assert_int_equal(vgpu_virgl_admit(w.ctx, set, 2, &info), -ENOENT);
	close_world(&w);
	assert_int_equal(admit(zero, 2, NULL, NULL), -ENOENT);
	open_world(&w);
	w.tenant.limits.sub_contexts = 1;
	assert_int_equal(vgpu_virgl_admit(w.ctx, make, 6, &info), -EDQUOT);
	close_world(&w);
}

static void other_contexts_resources(void **state)
{
	u32 words[6] = { HDR(1, 8, 5), 9, RES };
	struct vgpu_stream info;
	struct vgpu_ctx *other;
	struct world w;

	open_world(&w);
	assert_int_equal(vgpu_ctx_create(&w.space, 2, 2, &other), 0);
	assert_int_equal(vgpu_virgl_admit(other, words, 6, &info), -ENOENT);
	assert_int_equal(vgpu_ctx_detach(w.ctx, w.res), 0);
	assert_int_equal(vgpu_virgl_admit(w.ctx, words, 6, &info), -ENOENT);
	close_world(&w);
}

static void streams_are_cut_at_work(void **state)
{
	u32 words[60] = { 0 };

	/* Two state commands, then draws of 13 words. */
	words[0] = HDR(24, 0, 1);
	words[2] = HDR(24, 0, 1);
	for (int i = 0; i < 4; i++)
		words[4 + 13 * i] = HDR(8, 0, 12);
	assert_int_equal(vgpu_virgl_cut(words, 56, 1), 17);
	assert_int_equal(vgpu_virgl_cut(words, 56, 2), 30);
	assert_int_equal(vgpu_virgl_cut(words, 56, 9), 56);
	assert_int_equal(vgpu_virgl_cut(words + 4, 52, 0), 13); /* at least one command */
}

static void masked_capabilities(void **state)
{
	u8 caps[1376];

	memset(caps, 0xff, sizeof(caps));
	vgpu_virgl_mask_caps(1, caps, 308);
	assert_int_equal(caps[688], 0xff);
	vgpu_virgl_mask_caps(2, caps, sizeof(caps));
	assert_int_equal(caps[688], 0xf1);
	assert_int_equal(caps[689], 0xff);
	assert_int_equal(caps[856], 0);
	vgpu_virgl_mask_caps(2, caps, 10); /* an older renderer's set is shorter */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_id_is_translated_or_refused),
		cmocka_unit_test(lengths_slots_and_stages),
		cmocka_unit_test(work_is_bounded),
		cmocka_unit_test(debugging_is_blanked),
		cmocka_unit_test(objects_are_charged),
		cmocka_unit_test(sub_contexts),
		cmocka_unit_test(other_contexts_resources),
		cmocka_unit_test(streams_are_cut_at_work),
		cmocka_unit_test(masked_capabilities),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
