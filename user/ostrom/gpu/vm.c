/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's requests name resources, contexts and memory as the guest likes, and its answers must mean what
 * they say: a fence that is answered too early makes a guest reuse memory that the GPU still reads.
 *
 * Idea: a request is copied and parsed by the core (the same as for Ostrom's own virtual GPUs). Questions are answered
 * at once. All else is admitted against the tenant's account, becomes messages for the worker, and is answered when
 * the job is done that carried them; what only creates, and is not fenced, is answered at once, too.
 *
 * The picture: a scanout is memory shared with the worker, which reads the flushed rectangle of the resource back into
 * it; when that is done, display.c sends the rectangle to QEMU. The pointer's image is one more such screen.
 *
 * Contract: vm.h. An error is an answer, never an end of the device. Source: VIRTIO 1.2, 5.7.6.
 *
 * Locks: none; called from the broker's loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "virt/vgpu/virgl.h"
#include "vm.h"
#include "wire.h"

#define SUBMITS_QUEUED 16
#define OPS_QUEUED     1024
#define BYTES_QUEUED   (4u << 20)
#define REQUEST_BYTES  ((1u << 20) + 4096)

struct request {
	u32 ring;
	const struct virtq_chain *chain;
	struct vgpu_request r;
};

/* ---- answers ---- */

static struct vm_answer answer_for(const struct request *q, u32 type)
{
	struct vm_answer a = { .ring = q->ring, .head = q->chain->head, .h = { .type = type } };

	if (q->r.fenced) {
		a.h.flags = VIRTIO_GPU_FLAG_FENCE;
		a.h.fence_id = q->r.fence;
		a.h.ctx_id = q->r.ctx;
	}
	for (; a.nr < min(q->chain->nr_out, (u32)ARRAY_SIZE(a.piece)); a.nr++)
		a.piece[a.nr] = q->chain->piece[q->chain->nr_in + a.nr];
	return a;
}

/* Writes the header and what follows it, and hands the request back. */
static void give(struct vm *v, const struct vm_answer *a, const void *more, u32 more_bytes)
{
	static struct virtq_chain c; /* only its pieces to write are used */
	struct virtq_mem mem = vm_mem(v);
	u32 written;

	c.nr_in = 0;
	c.nr_out = a->nr;
	memcpy(c.piece, a->piece, sizeof(a->piece));
	written = virtq_write(&c, &mem, 0, &a->h, sizeof(a->h));
	if (more_bytes)
		written += virtq_write(&c, &mem, sizeof(a->h), more, more_bytes);
	vm_complete(v, a->ring, a->head, written);
}

static void give_now(struct vm *v, const struct request *q, u32 type, const void *more, u32 more_bytes)
{
	struct vm_answer a = answer_for(q, type);

	give(v, &a, more, more_bytes);
}

static void give_later(struct vm *v, const struct vm_answer *a)
{
	struct op *op = op_new(OP_REPLY, sizeof(*a), -1);

	memcpy(op->data, a, sizeof(*a));
	conn_enqueue(&v->conn, op);
}

void vm_answer(struct conn *c, struct op *op)
{
	struct vm_answer a;

	memcpy(&a, op->data, sizeof(a));
	if (a.shows && a.screen == VM_CURSOR)
		display_cursor(vm_of(c), false);
	else if (a.shows)
		display_dirty(vm_of(c), a.screen, &a.box);
	if (a.ring != VM_NO_RING)
		give(vm_of(c), &a, NULL, 0);
}

void vm_answer_display(struct vm *v, const struct virtio_gpu_resp_display_info *info)
{
	struct virtio_gpu_resp_display_info i = { .pmodes[0] = { .r = { .width = 1024, .height = 768 },
								 .enabled = 1 } };

	if (!v->asking)
		return;
	v->asking = false;
	if (info)
		memcpy(i.pmodes, info->pmodes, sizeof(i.pmodes));
	give(v, &v->asked, i.pmodes, sizeof(i.pmodes));
}

/* ---- messages to the worker ---- */

static void wire(struct vm *v, enum op_kind kind, u32 type, u32 host_ctx, const void *payload, u32 bytes)
{
	conn_enqueue(&v->conn, op_wire(kind, type, host_ctx, payload, bytes, -1));
}

/* ---- screens ---- */

/* Where blue, green and red are in a texel of four bytes; 0 for a format that is not shown. */
static u32 byte_order(u32 format)
{
	switch (format) {
	case VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM:
	case VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM: return 0x210;
	case VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM:
	case VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM: return 0x123;
	case VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM:
	case VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM: return 0x012;
	case VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM:
	case VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM: return 0x321;
	default: return 0;
	}
}

static void free_pixels(struct vm *v, u32 screen)
{
	struct vm_screen *s = &v->screens[screen];
	struct wire_screen m = { .screen = screen };

	if (!s->pixels)
		return;
	munmap(s->pixels, s->bytes);
	vgpu_uncharge(v->conn.space.tenant, s->bytes);
	s->pixels = NULL;
	s->dirty.w = 0;
	wire(v, OP_WIRE, WIRE_SCREEN, 0, &m, sizeof(m));
}

/* Memory for w times h pixels, shared with the worker. */
static int make_pixels(struct vm *v, u32 screen, u32 w, u32 h)
{
	struct vm_screen *s = &v->screens[screen];
	u64 bytes = ALIGN_UP((u64)w * h * 4, PAGE_SIZE);
	struct wire_screen m = { .screen = screen, .bytes = bytes };
	int rc, fd;

	free_pixels(v, screen);
	rc = vgpu_charge(v->conn.space.tenant, bytes);
	if (rc)
		return rc;
	fd = memfd_create("screen", MFD_CLOEXEC);
	s->pixels = fd < 0 || ftruncate(fd, bytes) ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
	if (s->pixels == MAP_FAILED) {
		s->pixels = NULL;
		vgpu_uncharge(v->conn.space.tenant, bytes);
		if (fd >= 0)
			close(fd);
		return -ENOMEM;
	}
	s->bytes = bytes;
	conn_enqueue(&v->conn, op_wire(OP_WIRE, WIRE_SCREEN, 0, &m, sizeof(m), fd));
	return 0;
}

static void turn_off(struct vm *v, u32 screen)
{
	v->screens[screen].resource = 0;
	free_pixels(v, screen);
	if (screen != VM_CURSOR)
		display_size(v, screen, 0, 0);
}

void vm_free_screens(struct vm *v)
{
	for (u32 i = 0; i <= VM_CURSOR; i++) {
		v->screens[i].resource = 0;
		free_pixels(v, i);
	}
}

void vm_forget(struct vm *v)
{
	conn_empty(&v->conn);
	vm_free_screens(v);
}

/* Reads part of a resource back into a screen, and has it shown. */
static void show(struct vm *v, const struct vgpu_res *res, u32 screen, const struct vgpu_box *box)
{
	const struct vm_screen *s = &v->screens[screen];
	struct wire_show m = { .host_id = res->host_id,
			       .screen = screen,
			       .order = byte_order(res->args.format),
			       .stride = s->box.w * 4,
			       .box = *box };
	struct vm_answer a = { .ring = VM_NO_RING, .shows = true, .screen = screen, .box = *box };

	a.box.x -= s->box.x;
	a.box.y -= s->box.y;
	m.offset = ((u64)a.box.y * s->box.w + a.box.x) * 4;
	wire(v, OP_WORK, WIRE_SHOW, 0, &m, sizeof(m));
	give_later(v, &a);
}

/* ---- requests: each returns 0 or -errno ---- */

static struct vgpu_res *res_of(struct vm *v, const struct vgpu_request *r)
{
	return vgpu_res_find(&v->conn.space, r->resource);
}

static int do_create(struct vm *v, struct request *q)
{
	struct wire_create m = { .args = q->r.create };
	struct vgpu_res *res;
	int rc;

	if (q->r.type == VIRTIO_GPU_CMD_RESOURCE_CREATE_2D && !byte_order(q->r.create.format))
		return -EINVAL;
	rc = vgpu_res_create(&v->conn.space, q->r.resource, &q->r.create, 0, &res);
	if (rc)
		return rc;
	m.host_id = res->host_id;
	wire(v, OP_WIRE, WIRE_RES_CREATE, 0, &m, sizeof(m));
	return 0;
}

static int do_unref(struct vm *v, struct request *q)
{
	struct vgpu_res *res = res_of(v, &q->r);

	if (!res)
		return -ENOENT;
	for (u32 i = 0; i < VM_SCANOUTS; i++)
		if (v->screens[i].resource == q->r.resource)
			turn_off(v, i);
	wire(v, OP_WIRE, WIRE_RES_DESTROY, 0, &res->host_id, sizeof(res->host_id));
	vgpu_res_destroy(&v->conn.space, res);
	return 0;
}

static int do_attach(struct vm *v, struct request *q)
{
	struct vgpu_res *res = res_of(v, &q->r);
	u32 bytes = sizeof(struct wire_backing) + q->r.nr_entries * sizeof(struct wire_piece);
	struct wire_backing *m;
	int rc = !res ? -ENOENT : res->backing ? -EINVAL : 0;

	if (rc)
		return rc;
	m = calloc(1, bytes);
	if (!m)
		return -ENOMEM;
	m->host_id = res->host_id;
	for (; !rc && m->nr < q->r.nr_entries; m->nr++) {
		const struct virtio_gpu_mem_entry *e = &q->r.entries[m->nr];
		const struct vm_region *r = vm_region_of(v, e->addr, e->length);

		if (r)
			m->piece[m->nr] = (struct wire_piece){ .region = r - v->regions,
							       .bytes = e->length,
							       .offset = e->addr - r->gpa };
		else
			rc = -EINVAL;
	}
	if (!rc)
		rc = vgpu_res_set_backing(&v->conn.space, res, q->r.backing_bytes);
	if (!rc)
		wire(v, OP_WIRE, WIRE_BACKING, 0, m, bytes);
	free(m);
	return rc;
}

static int do_detach(struct vm *v, struct request *q)
{
	struct vgpu_res *res = res_of(v, &q->r);
	struct wire_backing m = { 0 };
	int rc = !res ? -ENOENT : !res->backing ? -EINVAL : vgpu_res_set_backing(&v->conn.space, res, 0);

	if (rc)
		return rc;
	m.host_id = res->host_id;
	wire(v, OP_WIRE, WIRE_BACKING, 0, &m, sizeof(m));
	return 0;
}

static int do_transfer(struct vm *v, struct request *q)
{
	struct vgpu_request *r = &q->r;
	struct vgpu_res *res = res_of(v, r);
	struct vgpu_ctx *x = r->ctx ? vgpu_ctx_find(&v->conn.space, r->ctx) : NULL;
	struct wire_transfer m = { .to_host = r->type != VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D,
				   .level = r->level,
				   .stride = r->stride,
				   .layer_stride = r->layer_stride,
				   .box = r->box };
	int rc = !res || (r->ctx && (!x || !vgpu_map_get(&x->attached, res->id))) ? -ENOENT : 0;

	if (!rc)
		rc = vgpu_res_check_box(&res->args, r->level, &r->box);
	if (!rc && r->offset >= res->backing)
		rc = -EINVAL;
	if (rc)
		return rc;
	m.host_id = res->host_id;
	m.offset = r->offset;
	wire(v, OP_WORK, WIRE_TRANSFER, x ? x->host_id : 0, &m, sizeof(m));
	return 0;
}

static int do_scanout(struct vm *v, struct request *q)
{
	struct vgpu_res *res = res_of(v, &q->r);
	struct vm_screen *s = &v->screens[q->r.scanout];
	int rc;

	if (!q->r.resource) {
		turn_off(v, q->r.scanout);
		return 0;
	}
	if (!res)
		return -ENOENT;
	rc = q->r.box.w && q->r.box.h && byte_order(res->args.format) ? 0 : -EINVAL;
	if (!rc)
		rc = vgpu_res_check_box(&res->args, 0, &q->r.box);
	if (!rc && (!s->pixels || s->box.w != q->r.box.w || s->box.h != q->r.box.h)) {
		rc = make_pixels(v, q->r.scanout, q->r.box.w, q->r.box.h);
		if (!rc)
			display_size(v, q->r.scanout, q->r.box.w, q->r.box.h);
	}
	if (rc)
		return rc;
	s->resource = q->r.resource;
	s->box = q->r.box;
	return 0;
}

static int do_flush(struct vm *v, struct request *q)
{
	const struct vgpu_box *b = &q->r.box;
	struct vgpu_res *res = res_of(v, &q->r);
	int rc = res ? vgpu_res_check_box(&res->args, 0, b) : -ENOENT;

	for (u32 i = 0; !rc && i < VM_SCANOUTS; i++) {
		const struct vgpu_box *s = &v->screens[i].box;
		u32 x = max(b->x, s->x), y = max(b->y, s->y);
		u32 right = min(b->x + b->w, s->x + s->w), bottom = min(b->y + b->h, s->y + s->h);

		if (v->screens[i].resource == q->r.resource && x < right && y < bottom)
			show(v, res, i, &(struct vgpu_box){ x, y, 0, right - x, bottom - y, 1 });
	}
	return rc;
}

static int do_ctx_create(struct vm *v, struct request *q)
{
	struct vgpu_ctx *x;
	int rc = conn_ctx_create(&v->conn, q->r.ctx, &x);

	if (!rc)
		wire(v, OP_WIRE, WIRE_CTX_CREATE, x->host_id, v->conn.name, strlen(v->conn.name));
	return rc;
}

static int do_ctx(struct vm *v, struct request *q)
{
	struct vgpu_ctx *x = vgpu_ctx_find(&v->conn.space, q->r.ctx);
	bool attach = q->r.type == VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE;
	struct vgpu_res *res = res_of(v, &q->r);
	int rc;

	if (!x)
		return -EINVAL;
	if (q->r.type == VIRTIO_GPU_CMD_CTX_DESTROY) {
		wire(v, OP_WIRE, WIRE_CTX_DESTROY, x->host_id, NULL, 0);
		vgpu_ids_drop(&v->conn.tenant->ctx_ids, x->host_id);
		vgpu_ctx_destroy(x);
		return 0;
	}
	if (!res)
		return -ENOENT;
	rc = attach ? vgpu_ctx_attach(x, res) : vgpu_ctx_detach(x, res);
	if (!rc)
		wire(v, OP_WIRE, attach ? WIRE_CTX_ATTACH : WIRE_CTX_DETACH, x->host_id, &res->host_id,
		     sizeof(res->host_id));
	return rc;
}

static int do_submit(struct vm *v, struct request *q)
{
	struct vgpu_ctx *x = vgpu_ctx_find(&v->conn.space, q->r.ctx);
	struct vgpu_stream info;
	struct op *op;
	int rc;

	if (!x)
		return -EINVAL;
	if (q->r.nr_words > v->conn.space.tenant->limits.submit_bytes / 4)
		return -E2BIG;
	op = op_wire(OP_SUBMIT, WIRE_SUBMIT, x->host_id, q->r.words, q->r.nr_words * 4, -1);
	rc = vgpu_virgl_admit(x, (u32 *)(op->data + sizeof(struct wire_header)), q->r.nr_words, &info);
	if (rc) {
		op_free(op);
		return rc;
	}
	op->work = info.draws + info.dispatches + info.transfers;
	conn_enqueue(&v->conn, op);
	return 0;
}

static int do_cursor(struct vm *v, struct request *q)
{
	bool moved_only = q->r.type == VIRTIO_GPU_CMD_MOVE_CURSOR;
	struct vgpu_res *res = res_of(v, &q->r);
	u32 shown = moved_only ? v->cursor.resource_id : q->r.resource;
	int rc = 0;

	if (!moved_only && shown) {
		rc = !res ? -ENOENT : byte_order(res->args.format) ? 0 : -EINVAL;
		if (!rc)
			rc = vgpu_res_check_box(&res->args, 0,
						&(struct vgpu_box){ 0, 0, 0, VGPU_CURSOR, VGPU_CURSOR, 1 });
		if (!rc && !v->screens[VM_CURSOR].pixels)
			rc = make_pixels(v, VM_CURSOR, VGPU_CURSOR, VGPU_CURSOR);
	}
	if (rc)
		return rc;
	v->cursor = (struct virtio_gpu_update_cursor){
		.pos = { .scanout_id = q->r.scanout, .x = q->r.cursor_x, .y = q->r.cursor_y },
		.resource_id = shown,
		.hot_x = moved_only ? v->cursor.hot_x : q->r.hot_x,
		.hot_y = moved_only ? v->cursor.hot_y : q->r.hot_y,
	};
	v->screens[VM_CURSOR].box = (struct vgpu_box){ 0, 0, 0, VGPU_CURSOR, VGPU_CURSOR, 1 };
	if (moved_only || !shown)
		display_cursor(v, true);
	else
		show(v, res, VM_CURSOR, &v->screens[VM_CURSOR].box);
	return 0;
}

/* ---- questions: answered here; true if it was one ---- */

static void say_capset_info(struct vm *v, struct request *q)
{
	const struct tenant *t = v->conn.tenant;
	u32 set = q->r.capset + 1; /* by index: set 1, then set 2 */
	u32 more[4] = { set, set, set <= 2 ? t->caps_bytes[set] : 0, 0 };

	if (!more[2])
		memset(more, 0, sizeof(more));
	give_now(v, q, VIRTIO_GPU_RESP_OK_CAPSET_INFO, more, sizeof(more));
}

static void say_capset(struct vm *v, struct request *q)
{
	const struct tenant *t = v->conn.tenant;
	u32 set = q->r.capset;

	if (!set || set > 2 || !t->caps_bytes[set])
		give_now(v, q, VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER, NULL, 0);
	else
		give_now(v, q, VIRTIO_GPU_RESP_OK_CAPSET, t->caps[set], t->caps_bytes[set]);
}

static bool question(struct vm *v, struct request *q)
{
	switch (q->r.type) {
	case VIRTIO_GPU_CMD_GET_CAPSET_INFO: say_capset_info(v, q); return true;
	case VIRTIO_GPU_CMD_GET_CAPSET: say_capset(v, q); return true;
	case VIRTIO_GPU_CMD_GET_DISPLAY_INFO:
		v->asked = answer_for(q, VIRTIO_GPU_RESP_OK_DISPLAY_INFO);
		v->asking = true;
		if (!display_ask(v))
			vm_answer_display(v, NULL);
		return true;
	default: return false;
	}
}

/* ---- one request ---- */

static const struct {
	u32 type;
	u32 ring;
	int (*run)(struct vm *v, struct request *q);
	bool at_once; /* nothing that the guest could do after the answer depends on the worker */
} commands[] = {
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, 0, do_create, true },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, 0, do_create, true },
	{ VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, do_unref, false },
	{ VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, 0, do_attach, true },
	{ VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, 0, do_detach, false },
	{ VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, 0, do_transfer, false },
	{ VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, 0, do_transfer, false },
	{ VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, 0, do_transfer, false },
	{ VIRTIO_GPU_CMD_SET_SCANOUT, 0, do_scanout, true },
	{ VIRTIO_GPU_CMD_RESOURCE_FLUSH, 0, do_flush, false },
	{ VIRTIO_GPU_CMD_CTX_CREATE, 0, do_ctx_create, true },
	{ VIRTIO_GPU_CMD_CTX_DESTROY, 0, do_ctx, true },
	{ VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, 0, do_ctx, true },
	{ VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, 0, do_ctx, true },
	{ VIRTIO_GPU_CMD_SUBMIT_3D, 0, do_submit, false },
	{ VIRTIO_GPU_CMD_UPDATE_CURSOR, 1, do_cursor, true },
	{ VIRTIO_GPU_CMD_MOVE_CURSOR, 1, do_cursor, true },
};

static void run(struct vm *v, struct request *q)
{
	struct vm_answer a;
	int rc = -EOPNOTSUPP;
	bool at_once = true;

	for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
		if (commands[i].type != q->r.type || commands[i].ring != q->ring)
			continue;
		rc = commands[i].run(v, q);
		at_once = rc || (commands[i].at_once && !q->r.fenced);
	}
	v->conn.space.tenant->refused += !!rc;
	a = answer_for(q, rc ? vgpu_ctrl_error(rc) : VIRTIO_GPU_RESP_OK_NODATA);
	if (at_once)
		give(v, &a, NULL, 0);
	else
		give_later(v, &a);
}

static bool full(const struct vm *v)
{
	const struct conn *c = &v->conn;

	return v->asking || v->ended_ring || c->nr_submits >= SUBMITS_QUEUED || c->nr_ops >= OPS_QUEUED ||
	       c->op_bytes > BYTES_QUEUED || c->nr_due >= OPS_QUEUED || display_full(v);
}

bool vm_take(struct vm *v, u32 ring)
{
	static u8 buffer[REQUEST_BYTES] __aligned(8);
	static struct virtq_chain chain;
	struct vm_ring *r = &v->rings[ring];
	struct virtq_mem mem = vm_mem(v);
	struct request q = { .ring = ring, .chain = &chain };
	int rc;

	if (full(v))
		return false;
	rc = virtq_next(&r->q, &mem, &chain);
	if (rc <= 0) {
		r->running &= !rc; /* a ring that makes no sense: the guest's driver must begin anew */
		return false;
	}
	rc = chain.in_bytes > REQUEST_BYTES ? -E2BIG : virtq_read(&chain, &mem, buffer, chain.in_bytes);
	if (!rc)
		rc = vgpu_ctrl_parse(buffer, chain.in_bytes, &q.r);
	if (rc) {
		v->conn.space.tenant->refused++;
		give_now(v, &q, vgpu_ctrl_error(rc), NULL, 0);
	} else if (ring || !question(v, &q)) {
		run(v, &q);
	}
	return true;
}
