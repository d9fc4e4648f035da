/* SPDX-License-Identifier: MIT
 *
 * Problem: an account that is off by one resource leaks the host's memory or refuses what was promised.
 *
 * Idea: charges against sums done by hand; every limit at its border; ids against a naive model under random creation
 * and destruction; requests of the control queue right, short, long and out of range.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/ctrl.h>
#include <virt/vgpu/tenant.h>

#define SHAPE(t, f, w, h, d, n, last, s)                                                                               \
	{                                                                                                              \
		.target = t, .format = f, .width = w, .height = h, .depth = d, .layers = n, .last_level = last,        \
		.samples = s                                                                                           \
	}

static void charges(void **state)
{
	static const struct {
		struct vgpu_res_args a;
		int rc;
		u64 bytes;
	} cases[] = {
		/* target, format, w, h, d, layers, last level, samples */
		{ SHAPE(VGPU_BUFFER, 64, 1000, 1, 1, 1, 0, 0), 0, 1000 },
		{ SHAPE(VGPU_BUFFER, 64, 1000, 2, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 67, 256, 128, 1, 1, 0, 0), 0, 256 * 128 * 4 },
		{ SHAPE(VGPU_2D, 66, 256, 128, 1, 1, 0, 0), 0, 256 * 128 * 4 }, /* three bytes count as four */
		{ SHAPE(VGPU_2D, 31, 10, 10, 1, 1, 0, 0), 0, 1600 },            /* four floats */
		{ SHAPE(VGPU_2D, 67, 4, 4, 1, 1, 2, 0), 0, (16 + 4 + 1) * 4 },  /* levels */
		{ SHAPE(VGPU_2D, 67, 4, 4, 1, 1, 3, 0), -EINVAL, 0 },           /* there is no fourth */
		{ SHAPE(VGPU_2D, 67, 8, 8, 1, 1, 0, 4), 0, 64 * 4 * 4 },        /* samples */
		{ SHAPE(VGPU_2D, 67, 8, 8, 1, 1, 0, 33), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 67, 8, 8, 1, 1, 1, 4), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 67, 8, 8, 1, 2, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D_ARRAY, 67, 8, 8, 1, 5, 0, 0), 0, 64 * 4 * 5 },
		{ SHAPE(VGPU_2D_ARRAY, 67, 8, 8, 1, 2049, 0, 0), -E2BIG, 0 },
		{ SHAPE(VGPU_3D, 64, 8, 8, 8, 1, 1, 0), 0, 512 + 64 },
		{ SHAPE(VGPU_3D, 64, 2049, 1, 1, 1, 0, 0), -E2BIG, 0 },
		{ SHAPE(VGPU_CUBE, 64, 8, 8, 1, 6, 0, 0), 0, 384 },
		{ SHAPE(VGPU_CUBE, 64, 8, 8, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_CUBE_ARRAY, 64, 8, 8, 1, 7, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_1D, 64, 8, 2, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 105, 10, 10, 1, 1, 0, 0), 0, 9 * 8 },  /* DXT1: 4 x 4 in 8 bytes */
		{ SHAPE(VGPU_2D, 292, 13, 12, 1, 1, 0, 0), 0, 2 * 16 }, /* ASTC 12 x 12 */
		{ SHAPE(VGPU_2D, 126, 4, 4, 1, 1, 0, 0), 0, 128 },      /* Z32F S8 X24 */
		{ SHAPE(VGPU_2D, 0, 4, 4, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 322, 4, 4, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, ~0u, 4, 4, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 67, 0, 4, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D, 67, 16385, 4, 1, 1, 0, 0), -E2BIG, 0 },
		{ SHAPE(VGPU_TARGETS, 67, 4, 4, 1, 1, 0, 0), -EINVAL, 0 },
		{ SHAPE(VGPU_2D_ARRAY, 31, 16384, 16384, 1, 2048, 0, 32), 0, 1ull << 48 },
	};

	for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 bytes = 0;
		int rc = vgpu_res_charge(&cases[i].a, &bytes);

		if (rc != cases[i].rc || bytes != cases[i].bytes)
			fail_msg("case %u: %d, %llu bytes", i, rc, (unsigned long long)bytes);
	}
}

static void boxes(void **state)
{
	struct vgpu_res_args t = SHAPE(VGPU_2D, 67, 64, 32, 1, 1, 2, 0);
	struct vgpu_res_args dxt = SHAPE(VGPU_2D, 105, 8, 8, 1, 1, 3, 0);

	assert_int_equal(vgpu_res_check_box(&t, 0, &(struct vgpu_box){ 0, 0, 0, 64, 32, 1 }), 0);
	assert_int_equal(vgpu_res_check_box(&t, 0, &(struct vgpu_box){ 1, 0, 0, 64, 32, 1 }), -EINVAL);
	assert_int_equal(vgpu_res_check_box(&t, 0, &(struct vgpu_box){ ~0u, 0, 0, 2, 32, 1 }), -EINVAL);
	assert_int_equal(vgpu_res_check_box(&t, 0, &(struct vgpu_box){ 0, 0, 1, 1, 1, 1 }), -EINVAL);
	assert_int_equal(vgpu_res_check_box(&t, 1, &(struct vgpu_box){ 0, 0, 0, 32, 16, 1 }), 0);
	assert_int_equal(vgpu_res_check_box(&t, 1, &(struct vgpu_box){ 0, 0, 0, 33, 16, 1 }), -EINVAL);
	assert_int_equal(vgpu_res_check_box(&t, 3, &(struct vgpu_box){ 0, 0, 0, 1, 1, 1 }), -EINVAL);
	assert_int_equal(vgpu_res_check_box(&dxt, 3, &(struct vgpu_box){ 0, 0, 0, 4, 4, 1 }), 0);
}

static const struct vgpu_res_args page = {
	.target = VGPU_BUFFER, .format = 64, .width = 4096, .height = 1, .depth = 1
};

static void limits(void **state)
{
	struct vgpu_limits l = vgpu_default_limits;
	struct vgpu_tenant t;
	struct vgpu_ids ids;
	struct vgpu_space s;
	struct vgpu_res *a, *b;
	struct vgpu_ctx *c;

	l.memory_bytes = 3 * 4096;
	l.resource_bytes = 2 * 4096;
	l.resources = 2;
	l.contexts = 1;
	vgpu_tenant_init(&t, &l, 1);
	vgpu_ids_init(&ids, 1);
	vgpu_space_init(&s, &t, &ids);
	assert_int_equal(vgpu_res_create(&s, 0, &page, 0, &a), -EINVAL);
	assert_int_equal(vgpu_res_create(&s, 1, &page, 3 * 4096, &a), -EDQUOT);
	assert_int_equal(t.memory, 0);
	assert_int_equal(vgpu_res_create(&s, 1, &page, 1, &a), 0); /* one byte behind it is a page */
	assert_int_equal(t.memory, 2 * 4096);
	assert_int_equal(vgpu_res_create(&s, 1, &page, 0, &b), -EEXIST);
	assert_int_equal(vgpu_res_create(&s, 2, &page, 1, &b), -EDQUOT);
	assert_int_equal(vgpu_res_create(&s, 2, &page, 0, &b), 0); /* exactly full */
	assert_int_equal(t.memory, l.memory_bytes);
	assert_int_equal(t.memory_peak, l.memory_bytes);
	assert_int_equal(vgpu_res_set_backing(&s, b, 1), -EDQUOT);
	assert_int_equal(vgpu_res_set_backing(&s, a, 0), 0);
	assert_int_equal(vgpu_res_set_backing(&s, b, 4096), 0);
	assert_int_equal(vgpu_res_set_backing(&s, b, 3 * 4096), -EDQUOT);
	assert_int_equal(vgpu_res_create(&s, 3, &page, 0, &b), -EDQUOT); /* a third resource */
	t.limits.memory_bytes = 4096; /* lowered below use: nothing is taken away, nothing more is given */
	vgpu_res_destroy(&s, a);
	assert_int_equal(t.memory, 2 * 4096);
	assert_int_equal(vgpu_res_create(&s, 3, &page, 0, &b), -EDQUOT);
	assert_int_equal(vgpu_ctx_create(&s, 1, 1, &c), 0);
	assert_int_equal(vgpu_ctx_create(&s, 1, 1, &c), -EEXIST);
	assert_int_equal(vgpu_ctx_create(&s, 2, 2, &c), -EDQUOT);
	vgpu_space_destroy(&s, NULL, NULL);
	assert_int_equal(t.memory, 0);
	assert_int_equal(t.contexts + t.resources + t.sub_contexts, 0);
	vgpu_ids_free(&ids);
}

static void map_against_a_model(void **state)
{
	enum { KEYS = 512 };
	static u64 model[KEYS];
	static bool present[KEYS];
	struct vgpu_map m;
	u32 count = 0;

	srandom(7);
	vgpu_map_init(&m, 99);
	for (int i = 0; i < 200000; i++) {
		u32 k = random() % KEYS, key = k * 0x10001;
		u64 *v = vgpu_map_get(&m, key);

		assert_int_equal(v != NULL, present[k]);
		if (v)
			assert_true(*v == model[k]);
		if (random() % 2) {
			model[k] = random();
			count += !present[k];
			present[k] = true;
			assert_int_equal(vgpu_map_set(&m, key, model[k]), 0);
		} else {
			assert_int_equal(vgpu_map_del(&m, key), present[k]);
			count -= present[k];
			present[k] = false;
		}
		assert_int_equal(m.count, count);
	}
	vgpu_map_free(&m);
}

static void attachments(void **state)
{
	struct vgpu_tenant t;
	struct vgpu_ids ids;
	struct vgpu_space s;
	struct vgpu_res *r;
	struct vgpu_ctx *c, *d;

	vgpu_tenant_init(&t, &vgpu_default_limits, 3);
	vgpu_ids_init(&ids, 3);
	vgpu_space_init(&s, &t, &ids);
	assert_int_equal(vgpu_ctx_create(&s, 1, 1, &c), 0);
	assert_int_equal(vgpu_ctx_create(&s, 2, 2, &d), 0);
	assert_int_equal(vgpu_res_create(&s, 5, &page, 0, &r), 0);
	assert_int_equal(vgpu_ctx_attach(c, r), 0);
	assert_int_equal(vgpu_ctx_attach(c, r), 0);
	assert_int_equal(vgpu_ctx_attach(d, r), 0);
	assert_int_equal(r->attached, 2);
	vgpu_ctx_destroy(d);
	assert_int_equal(r->attached, 1);
	assert_int_equal(vgpu_ctx_detach(c, r), 0);
	assert_int_equal(vgpu_ctx_detach(c, r), -ENOENT);
	assert_int_equal(vgpu_ctx_attach(c, r), 0);
	vgpu_res_destroy(&s, r);
	assert_null(vgpu_map_get(&c->attached, 5));
	assert_null(vgpu_res_find(&s, 5));
	vgpu_space_destroy(&s, NULL, NULL);
	vgpu_ids_free(&ids);
}

/* ---- control queue ---- */

static void control_create(void **state)
{
	struct virtio_gpu_resource_create_3d c = {
		.hdr = { .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 77 },
		.resource_id = 9,
		.target = VGPU_2D,
		.format = 67,
		.width = 8,
		.height = 4,
		.depth = 1,
		.array_size = 1,
	};
	struct vgpu_request r;

	assert_int_equal(vgpu_ctrl_parse(&c, sizeof(c), &r), 0);
	assert_true(r.fenced && r.fence == 77 && r.resource == 9 && r.create.width == 8 && r.create.layers == 1);
	assert_int_equal(vgpu_ctrl_parse(&c, sizeof(c) - 1, &r), -EINVAL);
	assert_int_equal(vgpu_ctrl_parse(&c, 23, &r), -EINVAL);
	c.resource_id = 0;
	assert_int_equal(vgpu_ctrl_parse(&c, sizeof(c), &r), -EINVAL);
	c.hdr.flags = 2;
	assert_int_equal(vgpu_ctrl_parse(&c, sizeof(c), &r), -EINVAL);
	c.hdr.flags = 0;
	c.hdr.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB;
	assert_int_equal(vgpu_ctrl_parse(&c, sizeof(c), &r), -EOPNOTSUPP);
}

static void control_backing_and_stream(void **state)
{
	struct {
		struct virtio_gpu_resource_attach_backing a;
		struct virtio_gpu_mem_entry e[2];
	} b = { .a = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, .resource_id = 1, .nr_entries = 2 },
		.e = { { .addr = 0x1000, .length = 4096 }, { .addr = 0x9000, .length = 100 } } };
	struct {
		struct virtio_gpu_cmd_submit s;
		u32 words[4];
	} s = { .s = { .hdr = { .type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = 1 }, .size = 16 } };
	struct vgpu_request r;

	assert_int_equal(vgpu_ctrl_parse(&b, sizeof(b), &r), 0);
	assert_int_equal(r.backing_bytes, 4196);
	b.a.nr_entries = 3;
	assert_int_equal(vgpu_ctrl_parse(&b, sizeof(b), &r), -EINVAL);
	b.a.nr_entries = 0x10000002;
	assert_int_equal(vgpu_ctrl_parse(&b, sizeof(b), &r), -E2BIG);
	b.a.nr_entries = 2;
	b.e[1].addr = ~0ull;
	assert_int_equal(vgpu_ctrl_parse(&b, sizeof(b), &r), -EINVAL);

	assert_int_equal(vgpu_ctrl_parse(&s, sizeof(s), &r), 0);
	assert_ptr_equal(r.words, s.words);
	assert_int_equal(r.nr_words, 4);
	s.s.size = 20;
	assert_int_equal(vgpu_ctrl_parse(&s, sizeof(s), &r), -EINVAL);
	s.s.size = 15;
	assert_int_equal(vgpu_ctrl_parse(&s, sizeof(s), &r), -EINVAL);
	s.s.size = 16;
	s.s.hdr.ctx_id = 0;
	assert_int_equal(vgpu_ctrl_parse(&s, sizeof(s), &r), -EINVAL);
}

static void control_ranges(void **state)
{
	struct virtio_gpu_set_scanout s = { .hdr.type = VIRTIO_GPU_CMD_SET_SCANOUT, .scanout_id = 15 };
	struct virtio_gpu_resource_flush f = { .hdr.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH, .resource_id = 1 };
	struct vgpu_request r;

	assert_int_equal(vgpu_ctrl_parse(&s, sizeof(s), &r), 0); /* resource 0: the scanout is off */
	s.scanout_id = 16;
	assert_int_equal(vgpu_ctrl_parse(&s, sizeof(s), &r), -EINVAL);
	f.r = (struct virtio_gpu_rect){ .x = 0xffffffff, .width = 2, .height = 1 };
	assert_int_equal(vgpu_ctrl_parse(&f, sizeof(f), &r), -EINVAL);
	f.r.x = 5;
	assert_int_equal(vgpu_ctrl_parse(&f, sizeof(f), &r), 0);
	assert_int_equal(vgpu_ctrl_parse(&f, sizeof(f) + 1, &r), -EINVAL);
	assert_int_equal(vgpu_ctrl_error(-ENOENT), VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID);
	assert_int_equal(vgpu_ctrl_error(-EDQUOT), VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(charges),
		cmocka_unit_test(boxes),
		cmocka_unit_test(limits),
		cmocka_unit_test(map_against_a_model),
		cmocka_unit_test(attachments),
		cmocka_unit_test(control_create),
		cmocka_unit_test(control_backing_and_stream),
		cmocka_unit_test(control_ranges),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
