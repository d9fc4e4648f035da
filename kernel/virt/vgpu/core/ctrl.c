/* SPDX-License-Identifier: MIT
 *
 * Problem: a virtual machine's control queue carries structures of fifteen kinds, with lengths, counts and rectangles
 * of the guest's choosing; a device that trusts one of them is the guest's.
 *
 * Idea: a table from type to the size of its structure and the function that reads the rest. The generic part checks
 * the size, so that no reader can run past the end; each reader checks ranges.
 *
 * Contract: ctrl.h. Locks: none, pure functions.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/ctrl.h>

/* The guest is little-endian and so are we. */
#define le(x) (x)

typedef int (*reader)(void *buf, size_t bytes, struct vgpu_request *r);

static int box_of(const struct virtio_gpu_rect *rect, struct vgpu_box *box)
{
	u32 end;

	*box = (struct vgpu_box){ le(rect->x), le(rect->y), 0, le(rect->width), le(rect->height), 1 };
	if (__builtin_add_overflow(box->x, box->w, &end) || __builtin_add_overflow(box->y, box->h, &end))
		return fail(EINVAL, "rectangle wraps around");
	return 0;
}

static int read_none(void *buf, size_t bytes, struct vgpu_request *r)
{
	return 0;
}

static int need_resource(struct vgpu_request *r, u32 id)
{
	r->resource = le(id);
	return r->resource ? 0 : fail(EINVAL, "resource 0");
}

static int read_create_2d(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_resource_create_2d *c = buf;

	r->create = (struct vgpu_res_args){
		.target = VGPU_2D,
		.format = le(c->format),
		.bind = BIT(1), /* render target */
		.width = le(c->width),
		.height = le(c->height),
		.depth = 1,
		.layers = 1,
		.flags = BIT(0), /* the first row is the top one */
	};
	return need_resource(r, c->resource_id);
}

static int read_create_3d(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_resource_create_3d *c = buf;

	r->create = (struct vgpu_res_args){
		.target = le(c->target),
		.format = le(c->format),
		.bind = le(c->bind),
		.width = le(c->width),
		.height = le(c->height),
		.depth = le(c->depth),
		.layers = le(c->array_size),
		.last_level = le(c->last_level),
		.samples = le(c->nr_samples),
		.flags = le(c->flags),
	};
	return need_resource(r, c->resource_id);
}

static int read_resource(void *buf, size_t bytes, struct vgpu_request *r)
{
	/* unref, detach_backing and ctx_resource have the id in the same place */
	const struct virtio_gpu_resource_unref *u = buf;

	return need_resource(r, u->resource_id);
}

static int read_scanout(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_set_scanout *s = buf;

	r->resource = le(s->resource_id);
	r->scanout = le(s->scanout_id);
	if (r->scanout >= VIRTIO_GPU_MAX_SCANOUTS)
		return fail(EINVAL, "scanout %u", r->scanout);
	return box_of(&s->r, &r->box);
}

static int read_flush(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_resource_flush *f = buf;
	int rc = box_of(&f->r, &r->box);

	return rc ? rc : need_resource(r, f->resource_id);
}

static int read_transfer_2d(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_transfer_to_host_2d *t = buf;
	int rc = box_of(&t->r, &r->box);

	r->offset = le(t->offset);
	return rc ? rc : need_resource(r, t->resource_id);
}

static int read_transfer_3d(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_transfer_host_3d *t = buf;

	r->box =
		(struct vgpu_box){ le(t->box.x), le(t->box.y), le(t->box.z), le(t->box.w), le(t->box.h), le(t->box.d) };
	r->offset = le(t->offset);
	r->level = le(t->level);
	r->stride = le(t->stride);
	r->layer_stride = le(t->layer_stride);
	return need_resource(r, t->resource_id);
}

static int read_attach(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_resource_attach_backing *a = buf;

	r->entries = (const void *)(a + 1);
	r->nr_entries = le(a->nr_entries);
	if (!r->nr_entries || r->nr_entries > VGPU_BACKING_MAX)
		return fail(E2BIG, "%u backing entries", r->nr_entries);
	if (bytes - sizeof(*a) != (size_t)r->nr_entries * sizeof(*r->entries))
		return fail(EINVAL, "%u backing entries in %lu bytes", r->nr_entries, (ulong)bytes);
	for (u32 i = 0; i < r->nr_entries; i++) {
		u64 end;

		if (!le(r->entries[i].length) ||
		    __builtin_add_overflow(le(r->entries[i].addr), (u64)le(r->entries[i].length), &end))
			return fail(EINVAL, "backing entry %u", i);
		r->backing_bytes += le(r->entries[i].length);
	}
	return need_resource(r, a->resource_id);
}

static int read_capset_info(void *buf, size_t bytes, struct vgpu_request *r)
{
	r->capset = le(((struct virtio_gpu_get_capset_info *)buf)->capset_index);
	return 0;
}

static int read_capset(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_get_capset *c = buf;

	r->capset = le(c->capset_id);
	r->capset_version = le(c->capset_version);
	return 0;
}

static int read_edid(void *buf, size_t bytes, struct vgpu_request *r)
{
	r->scanout = le(((struct virtio_gpu_cmd_get_edid *)buf)->scanout);
	return r->scanout < VIRTIO_GPU_MAX_SCANOUTS ? 0 : fail(EINVAL, "scanout %u", r->scanout);
}

static int need_ctx(void *buf, size_t bytes, struct vgpu_request *r)
{
	return r->ctx ? 0 : fail(EINVAL, "context 0");
}

static int read_ctx_create(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_ctx_create *c = buf;

	if (le(c->nlen) > sizeof(c->debug_name) || le(c->context_init))
		return fail(EINVAL, "name of %u bytes, context type %u", le(c->nlen), le(c->context_init));
	return need_ctx(buf, bytes, r);
}

static int read_ctx_resource(void *buf, size_t bytes, struct vgpu_request *r)
{
	int rc = need_ctx(buf, bytes, r);

	return rc ? rc : read_resource(buf, bytes, r);
}

static int read_submit(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_cmd_submit *s = buf;

	if (le(s->size) % 4 || le(s->size) > bytes - sizeof(*s))
		return fail(EINVAL, "stream of %u bytes in %lu", le(s->size), (ulong)bytes);
	r->words = (u32 *)(s + 1);
	r->nr_words = le(s->size) / 4;
	return need_ctx(buf, bytes, r);
}

static int read_cursor(void *buf, size_t bytes, struct vgpu_request *r)
{
	const struct virtio_gpu_update_cursor *c = buf;

	r->resource = le(c->resource_id);
	r->scanout = le(c->pos.scanout_id);
	r->cursor_x = le(c->pos.x);
	r->cursor_y = le(c->pos.y);
	r->hot_x = le(c->hot_x);
	r->hot_y = le(c->hot_y);
	if (r->scanout >= VIRTIO_GPU_MAX_SCANOUTS || r->hot_x >= VGPU_CURSOR || r->hot_y >= VGPU_CURSOR)
		return fail(EINVAL, "cursor of scanout %u, hot spot %u,%u", r->scanout, r->hot_x, r->hot_y);
	return 0;
}

struct command {
	u32 type, bytes;
	reader read;
	bool longer; /* more follows the structure */
};

static const struct command commands[] = {
	{ .type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO, .bytes = sizeof(struct virtio_gpu_ctrl_hdr), .read = read_none },
	{ .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D,
	  .bytes = sizeof(struct virtio_gpu_resource_create_2d),
	  .read = read_create_2d },
	{ .type = VIRTIO_GPU_CMD_RESOURCE_UNREF,
	  .bytes = sizeof(struct virtio_gpu_resource_unref),
	  .read = read_resource },
	{ .type = VIRTIO_GPU_CMD_SET_SCANOUT, .bytes = sizeof(struct virtio_gpu_set_scanout), .read = read_scanout },
	{ .type = VIRTIO_GPU_CMD_RESOURCE_FLUSH,
	  .bytes = sizeof(struct virtio_gpu_resource_flush),
	  .read = read_flush },
	{ .type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D,
	  .bytes = sizeof(struct virtio_gpu_transfer_to_host_2d),
	  .read = read_transfer_2d },
	{ VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, sizeof(struct virtio_gpu_resource_attach_backing), read_attach,
	  true },
	{ .type = VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING,
	  .bytes = sizeof(struct virtio_gpu_resource_detach_backing),
	  .read = read_resource },
	{ .type = VIRTIO_GPU_CMD_GET_CAPSET_INFO,
	  .bytes = sizeof(struct virtio_gpu_get_capset_info),
	  .read = read_capset_info },
	{ .type = VIRTIO_GPU_CMD_GET_CAPSET, .bytes = sizeof(struct virtio_gpu_get_capset), .read = read_capset },
	{ .type = VIRTIO_GPU_CMD_GET_EDID, .bytes = sizeof(struct virtio_gpu_cmd_get_edid), .read = read_edid },
	{ .type = VIRTIO_GPU_CMD_CTX_CREATE, .bytes = sizeof(struct virtio_gpu_ctx_create), .read = read_ctx_create },
	{ .type = VIRTIO_GPU_CMD_CTX_DESTROY, .bytes = sizeof(struct virtio_gpu_ctx_destroy), .read = need_ctx },
	{ .type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE,
	  .bytes = sizeof(struct virtio_gpu_ctx_resource),
	  .read = read_ctx_resource },
	{ .type = VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE,
	  .bytes = sizeof(struct virtio_gpu_ctx_resource),
	  .read = read_ctx_resource },
	{ .type = VIRTIO_GPU_CMD_RESOURCE_CREATE_3D,
	  .bytes = sizeof(struct virtio_gpu_resource_create_3d),
	  .read = read_create_3d },
	{ .type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D,
	  .bytes = sizeof(struct virtio_gpu_transfer_host_3d),
	  .read = read_transfer_3d },
	{ .type = VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D,
	  .bytes = sizeof(struct virtio_gpu_transfer_host_3d),
	  .read = read_transfer_3d },
	{ .type = VIRTIO_GPU_CMD_SUBMIT_3D,
	  .bytes = sizeof(struct virtio_gpu_cmd_submit),
	  .read = read_submit,
	  .longer = true },
	{ .type = VIRTIO_GPU_CMD_UPDATE_CURSOR, .bytes = sizeof(struct virtio_gpu_update_cursor), .read = read_cursor },
	{ .type = VIRTIO_GPU_CMD_MOVE_CURSOR, .bytes = sizeof(struct virtio_gpu_update_cursor), .read = read_cursor },
};

int vgpu_ctrl_parse(void *buf, size_t bytes, struct vgpu_request *out)
{
	const struct virtio_gpu_ctrl_hdr *h = buf;

	memset(out, 0, sizeof(*out));
	if (bytes < sizeof(*h))
		return fail(EINVAL, "request of %lu bytes", (ulong)bytes);
	out->type = le(h->type);
	out->ctx = le(h->ctx_id);
	out->fenced = le(h->flags) & VIRTIO_GPU_FLAG_FENCE;
	out->fence = le(h->fence_id);
	if (le(h->flags) & ~VIRTIO_GPU_FLAG_FENCE)
		return fail(EINVAL, "flags 0x%x", le(h->flags));
	for (u32 i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (c->type != out->type)
			continue;
		if (bytes < c->bytes || (bytes > c->bytes && !c->longer))
			return fail(EINVAL, "command 0x%x of %lu bytes", out->type, (ulong)bytes);
		return c->read(buf, bytes, out);
	}
	return fail(EOPNOTSUPP, "command 0x%x is not offered", out->type);
}

u32 vgpu_ctrl_error(int err)
{
	switch (-err) {
	case ENOENT: return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
	case EINVAL:
	case EEXIST: return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
	case ENOMEM:
	case EDQUOT:
	case E2BIG: return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
	default: return VIRTIO_GPU_RESP_ERR_UNSPEC;
	}
}

u32 vgpu_ctrl_response_bytes(const struct vgpu_request *r, u32 capset_bytes)
{
	switch (r->type) {
	case VIRTIO_GPU_CMD_GET_DISPLAY_INFO: return sizeof(struct virtio_gpu_resp_display_info);
	case VIRTIO_GPU_CMD_GET_CAPSET_INFO: return sizeof(struct virtio_gpu_resp_capset_info);
	case VIRTIO_GPU_CMD_GET_CAPSET: return sizeof(struct virtio_gpu_resp_capset) + capset_bytes;
	case VIRTIO_GPU_CMD_GET_EDID: return sizeof(struct virtio_gpu_resp_edid);
	default: return sizeof(struct virtio_gpu_ctrl_hdr);
	}
}
