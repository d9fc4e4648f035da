/* SPDX-License-Identifier: MIT
 *
 * Problem: a limit on the work of one draw is worth nothing if a stream can bind, resize or replace something without
 * its being noticed.
 *
 * Idea: a context with a limit of 2^20 instructions; streams that stay below it pass, and the same ones with a larger
 * grid, target, uniform, or with a shader that nobody can bound, are refused.
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
#define RES                7u
#define FRAGMENT           1u
#define COMPUTE            5u

/* seven instructions a round, as many rounds as the uniform says */
#define LOOP                                                                                                           \
	"COMP\nIMM[0] UINT32 {0, 1, 100, 0}\nMOV TEMP[0].x, IMM[0].xxxx\nBGNLOOP :0\nISGE TEMP[1].x, TEMP[0].xxxx, "   \
	"CONST[0].xxxx\nUIF TEMP[1].xxxx :0\nBRK\nENDIF\nUADD TEMP[0].x, TEMP[0].xxxx, IMM[0].yyyy\nENDLOOP :0\nEND\n"
#define ENDLESS "FRAG\nBGNLOOP :0\nENDLOOP :0\nEND\n"
#define SHORT   "FRAG\nMOV OUT[0], IMM[0]\nEND\n" /* 3 */

struct world {
	struct vgpu_tenant tenant;
	struct vgpu_ids ids;
	struct vgpu_space space;
	struct vgpu_ctx *ctx;
	u32 words[4096], n;
};

static void open_world(struct world *w)
{
	static const struct vgpu_res_args texture = { .target = VGPU_2D,
						      .format = VGPU_FORMAT_B8G8R8A8,
						      .bind = 2,
						      .width = 512,
						      .height = 512,
						      .depth = 1,
						      .layers = 1 };
	struct vgpu_limits limits = vgpu_default_limits;
	struct vgpu_res *res;

	memset(w, 0, sizeof(*w));
	limits.work_log2 = 20;
	vgpu_tenant_init(&w->tenant, &limits, 42);
	vgpu_ids_init(&w->ids, 42);
	vgpu_space_init(&w->space, &w->tenant, &w->ids);
	assert_int_equal(vgpu_ctx_create(&w->space, 1, 1, &w->ctx), 0);
	assert_int_equal(vgpu_res_create(&w->space, RES, &texture, 0, &res), 0);
	assert_int_equal(vgpu_ctx_attach(w->ctx, res), 0);
}

static int submit(struct world *w)
{
	struct vgpu_stream unused;
	int rc = vgpu_virgl_admit(w->ctx, w->words, w->n, &unused);

	w->n = 0;
	return rc;
}

static void close_world(struct world *w)
{
	vgpu_space_destroy(&w->space, NULL, NULL);
	assert_int_equal(w->tenant.memory, 0);
	vgpu_ids_free(&w->ids);
}

static void command(struct world *w, u32 header, ...)
{
	va_list ap;

	va_start(ap, header);
	w->words[w->n++] = header;
	for (u32 i = 0; i < header >> 16; i++)
		w->words[w->n++] = va_arg(ap, u32);
	va_end(ap);
}

/* Bytes from `from` of the text, whose piece says that it is all of it (or the rest). */
static void shader(struct world *w, u32 handle, u32 stage, const char *text, u32 from, u32 bytes)
{
	u32 total = (u32)strlen(text) + 1, words = (bytes + 3) / 4;

	command(w, HDR(1, 4, 5 + words));
	w->n -= 5 + words;
	w->words[w->n++] = handle;
	w->words[w->n++] = stage;
	w->words[w->n++] = from ? from | 1u << 31 : total;
	w->words[w->n++] = 300;
	w->words[w->n++] = 0;
	memcpy(w->words + w->n, text + from, min(bytes, total - from));
	w->n += words;
}

static void whole(struct world *w, u32 handle, u32 stage, const char *text)
{
	memset(w->words + w->n, 0, sizeof(w->words) - w->n * 4);
	shader(w, handle, stage, text, 0, (u32)strlen(text) + 1);
	command(w, HDR(31, 0, 2), handle, stage);
}

static void uniform(struct world *w, u32 stage, u32 value)
{
	command(w, HDR(12, 0, 3), stage, 0, value);
}

static void grid(struct world *w, u32 groups)
{
	command(w, HDR(37, 0, 8), 16, 1, 1, groups, 1, 1, 0, 0);
}

static void draw(struct world *w, u32 vertices)
{
	command(w, HDR(8, 0, 12), 0, vertices, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0);
}

static int dispatch(const char *text, u32 value, u32 groups)
{
	static struct world w;
	int rc;

	open_world(&w);
	whole(&w, 5, COMPUTE, text);
	uniform(&w, COMPUTE, value);
	grid(&w, groups);
	rc = submit(&w);
	close_world(&w);
	return rc;
}

static void dispatches(void **state)
{
	/* 4 + 7 * 33 a thread with small uniforms, 4 + 7 * 513 with larger ones */
	assert_int_equal(dispatch(LOOP, 20, 278), 0);
	assert_int_equal(dispatch(LOOP, 20, 279), -E2BIG);
	assert_int_equal(dispatch(LOOP, 33, 18), 0);
	assert_int_equal(dispatch(LOOP, 33, 278), -E2BIG);
	assert_int_equal(dispatch(LOOP, 5000, 1), -E2BIG);
	assert_int_equal(dispatch(LOOP, (u32)-5000, 1), -E2BIG);
	assert_int_equal(dispatch(ENDLESS, 0, 1), -E2BIG);
	assert_int_equal(dispatch(ENDLESS, 0, 0), 0); /* nothing runs */
}

static void unknown_uniforms(void **state)
{
	static struct world w;

	open_world(&w);
	whole(&w, 5, COMPUTE, LOOP);
	grid(&w, 1);
	assert_int_equal(submit(&w), -E2BIG);
	close_world(&w);
}

static void pieces(void **state)
{
	static struct world w;

	for (u32 wrong = 0; wrong < 2; wrong++) {
		open_world(&w);
		shader(&w, 5, COMPUTE, LOOP, 0, 40);
		assert_int_equal(submit(&w), 0);
		shader(&w, 5, COMPUTE, LOOP, 40 + 4 * wrong, 80);
		shader(&w, 5, COMPUTE, LOOP, 120, (u32)strlen(LOOP) + 1 - 120);
		command(&w, HDR(31, 0, 2), 5, COMPUTE);
		uniform(&w, COMPUTE, 3);
		grid(&w, 1);
		assert_int_equal(submit(&w), wrong ? -E2BIG : 0);
		close_world(&w);
	}
	open_world(&w);
	shader(&w, 5, COMPUTE, LOOP, 0, 40); /* the rest never comes */
	assert_int_equal(submit(&w), 0);
	close_world(&w);
}

static void draws(void **state)
{
	static struct world w;

	open_world(&w);
	whole(&w, 6, FRAGMENT, SHORT);
	command(&w, HDR(1, 8, 5), 9, RES, 1, 0, 0);
	command(&w, HDR(5, 0, 3), 1, 0, 9);
	draw(&w, 3);
	assert_int_equal(submit(&w), 0); /* 512 * 512 * 3 */
	command(&w, HDR(31, 0, 2), 0, FRAGMENT);
	draw(&w, 3);
	assert_int_equal(submit(&w), 0); /* nothing bound, nothing run */
	whole(&w, 6, FRAGMENT, ENDLESS);
	assert_int_equal(submit(&w), 0);
	command(&w, HDR(1, 4, 5), 0, 0, 0, 0, 0);
	w.n = 0;
	command(&w, HDR(3, 0, 1), 6); /* a shader that is destroyed stays bound */
	draw(&w, 3);
	assert_int_equal(submit(&w), -E2BIG);
	close_world(&w);

	open_world(&w);
	whole(&w, 6, FRAGMENT, SHORT);
	command(&w, HDR(38, 0, 2), 1024 | 1024u << 16, 0);
	draw(&w, 3);
	assert_int_equal(submit(&w), -E2BIG); /* a larger target */
	close_world(&w);

	open_world(&w);
	command(&w, HDR(8, 0, 20), 0, 3, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, RES, 0, 0, 1, 0, 0);
	assert_int_equal(submit(&w), -E2BIG); /* indirect */
	close_world(&w);
	open_world(&w);
	command(&w, HDR(37, 0, 8), 16, 1, 1, 1, 1, 1, RES, 0);
	assert_int_equal(submit(&w), -E2BIG);
	close_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(dispatches), cmocka_unit_test(unknown_uniforms),
					    cmocka_unit_test(pieces), cmocka_unit_test(draws) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
