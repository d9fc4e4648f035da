/* SPDX-License-Identifier: MIT
 *
 * Problem: the parser of virgl streams stands between a hostile tenant and everybody's renderer.
 *
 * Idea: the input is a sequence of streams for one tenant with small limits. After each, what an admitted stream
 * promises is checked by an independent reader: whole commands only, no refused opcode, every id in the places of ids
 * either 0 or a host id of this tenant. At the end everything is destroyed and the account must be zero.
 *
 * Contract: libFuzzer target, ASan and UBSan. Input: repeated { u8 control, u16 words, words }. Locks: none.
 */
#include <stdlib.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/virgl.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#define HOST_BASE 1000 /* clients' ids are small, host ids are above: a missed translation shows */

static void must(bool c)
{
	if (!c)
		abort();
}

static void open_tenant(bool bounds_work, struct vgpu_tenant *t, struct vgpu_ids *ids, struct vgpu_space *s,
			struct vgpu_ctx **c)
{
	struct vgpu_limits l = vgpu_default_limits;
	struct vgpu_res_args a = {
		.target = VGPU_2D, .format = 67, .width = 64, .height = 64, .depth = 1, .layers = 1
	};
	struct vgpu_res *r;

	l.memory_bytes = 1 << 20;
	l.objects = 64;
	l.sub_contexts = 4;
	l.work_log2 = bounds_work ? 24 : 0;
	vgpu_tenant_init(t, &l, 5);
	vgpu_ids_init(ids, 5);
	ids->next = HOST_BASE;
	vgpu_space_init(s, t, ids);
	must(!vgpu_ctx_create(s, 1, 1, c));
	for (u32 i = 1; i <= 8; i++) {
		must(!vgpu_res_create(s, i, &a, 0, &r));
		if (i != 4)
			must(!vgpu_ctx_attach(*c, r));
	}
}

static void check_id(u32 id)
{
	must(!id || (id >= HOST_BASE && id < HOST_BASE + 8 && id != HOST_BASE + 3));
}

/* Positions of ids by opcode, written down a second time from the protocol's header. */
static void check_admitted(const u32 *w, u32 n)
{
	for (u32 at = 0; at < n; at += (w[at] >> 16) + 1) {
		const u32 *c = w + at;
		u32 len = c[0] >> 16, op = c[0] & 0xff, type = (c[0] >> 8) & 0xff;

		must(len < n - at);
		must(op < 48 || op == 52);
		if (op == 1 && (type == 6 || type == 8 || type == 10 || type == 11))
			check_id(c[2]);
		if (op == 1 && type == 9)
			check_id(c[4]);
		if (op == 9 || op == 11 || op == 17 || op == 43 || op == 45 || op == 47)
			check_id(c[1]);
		if (op == 16)
			check_id(c[4]), check_id(c[13]);
		if (op == 17)
			check_id(c[6]);
		if (op == 27)
			check_id(c[5]);
		if (op == 37)
			check_id(c[7]);
		if (op == 42)
			check_id(c[2]);
		if (op == 45)
			check_id(c[12]);
		if (op == 8 && len == 20)
			check_id(c[15]), check_id(c[20]);
		for (u32 i = 3; op == 6 && i <= len; i += 3)
			check_id(c[i]);
		for (u32 i = 5; op == 34 && i <= len; i += 3)
			check_id(c[i]);
		for (u32 i = 7; op == 35 && i <= len; i += 5)
			check_id(c[i]);
		for (u32 i = 4; op == 40 && i <= len; i += 3)
			check_id(c[i]);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct vgpu_tenant t;
	struct vgpu_ids ids;
	struct vgpu_space s;
	struct vgpu_ctx *c;

	open_tenant(size % 2, &t, &ids, &s, &c);
	while (size >= 3) {
		u32 n = min((u32)(data[1] | data[2] << 8), (u32)((size - 3) / 4)), cut = data[0];
		struct vgpu_stream info;
		u32 *words = malloc(n * 4 + 1); /* exactly: ASan sees one word too far */

		memcpy(words, data + 3, n * 4);
		data += 3 + n * 4;
		size -= 3 + n * 4;
		if (!vgpu_virgl_admit(c, words, n, &info)) {
			check_admitted(words, n);
			must(info.commands <= n);
			for (u32 at = 0; at < n;) {
				u32 part = vgpu_virgl_cut(words + at, n - at, cut);

				must(part && part <= n - at);
				at += part;
			}
		} else {
			must(c->lost);
		}
		free(words);
		must(t.memory <= t.limits.memory_bytes && t.objects <= t.limits.objects);
		c->lost = false; /* go on as a client with many contexts would */
	}
	vgpu_space_destroy(&s, NULL, NULL);
	must(!t.memory && !t.objects && !t.resources && !t.contexts && !t.sub_contexts && !ids.used.count);
	vgpu_ids_free(&ids);
	return 0;
}
