/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's driver sends what it likes for as long as it likes, beside a guest that must not notice.
 *
 * Idea: a machine with both, without the device: requests of a virtual machine's queue at random (right ones, nearly
 * right ones and nonsense) go through the parser, the account and the stream's check as the mediator takes them. After
 * each, whatever was admitted names only what the hostile one owns at the device, its account is within its limits, and
 * the neighbour's account, contexts and resources are as they were. The control: without the translation of ids the
 * check finds foreign ones.
 *
 * Contract: OSTROM_FORGED requests (100000; the long run is 10000000), reproducible. Under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/ctrl.h>
#include <virt/vgpu/virgl.h>

#define MEMORY    (8u << 20)
#define VICTIMS   16
#define MAX_WORDS 256

struct guest {
	struct vgpu_tenant tenant;
	struct vgpu_space space;
};

static struct vgpu_ids ids;
static struct guest hostile, victim;
static u64 seed = 88172645463325252ull;
static u32 admitted, streams, contexts;
static bool is_foreign[1 << 16]; /* host ids of the victim */

static u32 any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 16);
}

static u32 odd(void)
{
	static const u32 borders[] = { 0, 1, 64, 4096, 16384, 16385, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff };

	switch (any() % 8) {
	case 0: return borders[any() % ARRAY_SIZE(borders)];
	case 1: return any();
	default: return any() % 20;
	}
}

static void open_guest(struct guest *g, u64 memory)
{
	struct vgpu_limits l = vgpu_default_limits;

	l.memory_bytes = memory;
	l.resources = 64;
	l.contexts = 4;
	l.sub_contexts = 8;
	l.objects = 128;
	l.work_log2 = 30;
	vgpu_tenant_init(&g->tenant, &l, 5);
	vgpu_space_init(&g->space, &g->tenant, &ids);
}

static void settle_victim(void)
{
	static const struct vgpu_res_args a = {
		.target = VGPU_2D, .format = 1, .bind = 2, .width = 64, .height = 64, .depth = 1, .layers = 1
	};
	struct vgpu_ctx *c;
	struct vgpu_res *r;

	open_guest(&victim, 1 << 20);
	assert_int_equal(vgpu_ctx_create(&victim.space, 1, 1, &c), 0);
	for (u32 i = 1; i <= VICTIMS; i++) {
		assert_int_equal(vgpu_res_create(&victim.space, i, &a, 0, &r), 0);
		assert_int_equal(vgpu_ctx_attach(c, r), 0);
		assert_true(r->host_id < ARRAY_SIZE(is_foreign));
		is_foreign[r->host_id] = true;
	}
}

/* ---- streams ---- */

/* Lengths that the protocol knows, and others. */
static u32 make_stream(u32 *w)
{
	static const u8 lengths[] = { 1, 2, 3, 4, 5, 6, 8, 9, 11, 12, 13, 14, 20, 21 };
	u32 n = 0;

	while (n < MAX_WORDS - 40 && any() % 3) {
		u32 len = any() % 16 ? lengths[any() % sizeof(lengths)] : any() % 38;
		u32 op = any() % 32 ? any() % 53 : any() % 256, type = op == 1 || op == 2 ? 1 + any() % 12 : 0;

		w[n++] = op | type << 8 | len << 16;
		while (len--)
			w[n++] = odd();
	}
	return n;
}

static u32 id_of(const u32 *c, u32 at)
{
	return at <= c[0] >> 16 ? c[at] : 0;
}

/* Every place of an id, by opcode; false: one is the victim's. */
static bool only_its_own(const u32 *w, u32 n)
{
	static const struct {
		u8 op, type, first, each, second;
	} places[] = { { 1, 6, 2, 0, 0 },  { 1, 8, 2, 0, 0 },   { 1, 9, 4, 0, 0 },   { 1, 10, 2, 0, 0 },
		       { 1, 11, 2, 0, 0 }, { 6, 0, 3, 3, 0 },   { 8, 0, 15, 0, 20 }, { 9, 0, 1, 0, 0 },
		       { 11, 0, 1, 0, 0 }, { 16, 0, 4, 0, 13 }, { 17, 0, 1, 0, 6 },  { 27, 0, 5, 0, 0 },
		       { 34, 0, 5, 3, 0 }, { 35, 0, 7, 5, 0 },  { 37, 0, 7, 0, 0 },  { 40, 0, 4, 3, 0 },
		       { 42, 0, 2, 0, 0 }, { 43, 0, 1, 0, 0 },  { 45, 0, 1, 0, 12 }, { 47, 0, 1, 0, 0 } };

	for (u32 at = 0; at < n; at += (w[at] >> 16) + 1) {
		const u32 *c = w + at;

		for (u32 i = 0; i < ARRAY_SIZE(places); i++) {
			if (places[i].op != (c[0] & 0xff) || (places[i].type && places[i].type != (c[0] >> 8 & 0xff)))
				continue;
			for (u32 p = places[i].first; p && p <= c[0] >> 16; p = places[i].each ? p + places[i].each : 0)
				if (c[p] < ARRAY_SIZE(is_foreign) && is_foreign[c[p]])
					return false;
			if (places[i].second && id_of(c, places[i].second) < ARRAY_SIZE(is_foreign) &&
			    is_foreign[id_of(c, places[i].second)])
				return false;
		}
	}
	return true;
}

static void take_stream(struct vgpu_ctx *c, struct vgpu_request *r)
{
	struct vgpu_stream info;

	if (vgpu_virgl_admit(c, r->words, r->nr_words, &info))
		return;
	streams++;
	assert_true(only_its_own(r->words, r->nr_words));
}

/* ---- requests ---- */

static u32 make_request(u32 *w)
{
	static const u16 types[] = { 0x101, 0x102, 0x103, 0x104, 0x105, 0x106, 0x107, 0x200, 0x200,
				     0x201, 0x202, 0x202, 0x202, 0x203, 0x204, 0x204, 0x205, 0x206,
				     0x207, 0x207, 0x207, 0x207, 0x207, 0x207, 0x300, 0x777 };
	static const u8 sizes[] = { 40, 32, 48, 48, 56, 32, 32, 96, 96, 32, 32, 32, 32, 32, 72, 72, 72, 72 };
	u32 n = sizes[any() % sizeof(sizes)], words;

	for (u32 i = 0; i < 24; i++)
		w[i] = odd();
	w[0] = types[any() % ARRAY_SIZE(types)];
	w[1] = any() % 16 ? any() % 2 : any();
	if (any() % 4)
		w[4] = 1 + any() % 3; /* the context */
	switch (w[0]) {
	case 0x101: return 40;
	case 0x102: return 32;
	case 0x200: w[6] = any() % 64, w[7] = 0; return 96;
	case 0x204:
		for (u32 i = 7; any() % 4 && i < 16; i++)
			w[i] = ((const u32[]){ 2, 1, 10, 64, 64, 1, 1, 0, 0 })[i - 7];
		return 72;
	case 0x207:
		words = make_stream(w + 8);
		w[6] = any() % 32 ? words * 4 : odd();
		return 32 + words * 4;
	default: return n;
	}
}

/* As a driver does after a loss: the context anew, with all that there is. */
static void start_again(struct vgpu_ctx *c)
{
	u32 id = c->id;

	vgpu_ctx_destroy(c);
	if (vgpu_ctx_create(&hostile.space, id, ++contexts, &c))
		return;
	for (u32 i = 1; i < 20; i++) {
		struct vgpu_res *r = vgpu_res_find(&hostile.space, i);

		if (r && vgpu_ctx_attach(c, r))
			return;
	}
}

static void take(struct vgpu_request *r)
{
	struct vgpu_space *s = &hostile.space;
	struct vgpu_ctx *c = vgpu_ctx_find(s, r->ctx);
	struct vgpu_res *res = vgpu_res_find(s, r->resource);
	int rc = 0;

	admitted++;
	switch (r->type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_3D: rc = vgpu_res_create(s, r->resource, &r->create, 0, &res); break;
	case VIRTIO_GPU_CMD_RESOURCE_UNREF:
		if (res)
			vgpu_res_destroy(s, res);
		break;
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING:
		rc = res ? vgpu_res_set_backing(s, res, r->backing_bytes) : 0;
		break;
	case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING: rc = res ? vgpu_res_set_backing(s, res, 0) : 0; break;
	case VIRTIO_GPU_CMD_CTX_CREATE: rc = vgpu_ctx_create(s, r->ctx, ++contexts, &c); break;
	case VIRTIO_GPU_CMD_CTX_DESTROY:
		if (c)
			vgpu_ctx_destroy(c);
		break;
	case VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE: rc = c && res ? vgpu_ctx_attach(c, res) : 0; break;
	case VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE: rc = c && res ? vgpu_ctx_detach(c, res) : 0; break;
	case VIRTIO_GPU_CMD_SUBMIT_3D:
		if (c && c->lost)
			start_again(c);
		else if (c)
			take_stream(c, r);
		break;
	default: break;
	}
	admitted -= rc != 0;
}

static void forged_requests(void **state)
{
	const char *text = getenv("OSTROM_FORGED");
	u32 n = text ? (u32)strtoul(text, NULL, 10) : 100000;
	static u32 w[MAX_WORDS + 64];
	u64 memory;

	vgpu_ids_init(&ids, 5);
	settle_victim();
	open_guest(&hostile, MEMORY);
	memory = victim.tenant.memory;
	for (u32 i = 0; i < n; i++) {
		u32 bytes = make_request(w);
		u32 *exact = malloc(bytes); /* one word too far shows */
		struct vgpu_request r;

		memcpy(exact, w, bytes);
		if (!vgpu_ctrl_parse(exact, bytes, &r))
			take(&r);
		free(exact);
		assert_true(hostile.tenant.memory <= MEMORY && hostile.tenant.objects <= 128);
		assert_true(hostile.tenant.resources <= 64 && hostile.tenant.contexts <= 4);
		assert_true(victim.tenant.memory == memory && victim.tenant.resources == VICTIMS);
	}
	print_message("%u requests: %u admitted, %u of them streams\n", n, admitted, streams);
	assert_true(admitted > n / 20 && streams > n / 1000); /* otherwise nothing was tried */
	vgpu_space_destroy(&hostile.space, NULL, NULL);
	assert_true(!hostile.tenant.memory && !hostile.tenant.objects && !hostile.tenant.sub_contexts);
	assert_int_equal(ids.used.count, VICTIMS);
	vgpu_space_destroy(&victim.space, NULL, NULL);
	vgpu_ids_free(&ids);
}

/* The check finds what it is to find. */
static void control(void **state)
{
	const u32 foreign[] = { 1 | 8 << 8 | 5 << 16, 5, 77, 1, 0, 0 },
		  own[] = { 1 | 8 << 8 | 5 << 16, 5, 78, 1, 0, 0 };

	memset(is_foreign, 0, sizeof(is_foreign));
	is_foreign[77] = true;
	assert_false(only_its_own(foreign, 6));
	assert_true(only_its_own(own, 6));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(forged_requests), cmocka_unit_test(control) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
