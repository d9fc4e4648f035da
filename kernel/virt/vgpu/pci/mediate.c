/* SPDX-License-Identifier: MIT
 *
 * Problem: requests of a guest name resources, contexts and memory as the guest likes, and must do nothing but what a
 * GPU of its own would do.
 *
 * Idea: a request is copied and parsed by the core that `ostrom gpu` uses too. Questions, and what concerns the
 * display, are answered here: the real display belongs to the host. All else becomes a request of this machine's client
 * of the GPU, which checks and charges it, translates its ids and gives it its turn. Answers go back in the order of
 * the requests, so that fences mean what the driver thinks.
 *
 *      chain --> copy --vgpu_ctrl_parse--> struct vgpu_job --+--> answered here ------------+--> over
 *                                                            +--> gpu_request ... job_done --+
 *      first jobs of the list that are over --> answers --> used ring, one interrupt
 *
 * Contract: vgpu.h. An error is an answer, never a stop of the device. Source: VIRTIO 1.2, 5.7.6.
 *
 * Locks: g->lock, held by every caller; job_done takes it.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include <virt/vgpu/edid.h>
#include "vgpu.h"

#define GOES_ON 1 /* the GPU has it */

/* ---- answers ---- */

static void answer(struct vgpu *g, struct vgpu_job *j)
{
	struct virtq_chain *c = &g->chain; /* only its pieces to write are used */
	struct virtq_mem mem = vgpu_mem(g);
	u32 written = 0;

	if (j->r.fenced) {
		j->a.h.flags = VIRTIO_GPU_FLAG_FENCE;
		j->a.h.fence_id = j->r.fence;
		j->a.h.ctx_id = j->r.ctx;
	}
	c->nr_in = 0;
	c->nr_out = j->nr_pieces;
	c->out_bytes = 0;
	for (u32 i = 0; i < j->nr_pieces; i++) {
		c->piece[i] = j->piece[i];
		c->out_bytes += j->piece[i].bytes;
	}
	written = virtq_write(c, &mem, 0, &j->a, j->a.bytes);
	if (written == j->a.bytes && j->a.more)
		written += virtq_write(c, &mem, written, j->a.more, j->a.more_bytes);
	vgpu_complete(g, j->queue, j->head, written);
}

static void send_answers(struct vgpu *g)
{
	struct vgpu_job *j;

	while (!list_empty(&g->jobs)) {
		j = list_first_entry(&g->jobs, struct vgpu_job, link);
		if (!j->over)
			return;
		list_del(&j->link);
		g->nr_jobs--;
		answer(g, j);
		kfree(j);
	}
}

static void finish(struct vgpu_job *j, int err)
{
	if (err) {
		j->g->counts.refused++;
		j->a = (struct vgpu_answer){ .h = { .type = vgpu_ctrl_error(err) }, .bytes = sizeof(j->a.h) };
	}
	j->over = true;
}

static void job_done(struct gpu_done *d, int err)
{
	struct vgpu_job *j = container_of(d, struct vgpu_job, done);
	struct vgpu *g = j->g;

	mutex_lock(&g->lock);
	if (j->abandoned) {
		kfree(j);
	} else {
		g->counts.finished += j->r.type == VIRTIO_GPU_CMD_SUBMIT_3D && !err;
		finish(j, err);
		send_answers(g);
		if (g->nr_jobs == VGPU_PENDING - 1) { /* there is room again */
			__atomic_fetch_or(&g->kicked, 1, __ATOMIC_SEQ_CST);
			task_wake(g->thread);
		}
	}
	mutex_unlock(&g->lock);
}

void vgpu_abandon(struct vgpu *g)
{
	struct vgpu_job *j, *next;

	list_for_each_entry_safe (j, next, &g->jobs, link) {
		list_del_init(&j->link);
		if (j->over)
			kfree(j);
		else
			j->abandoned = true;
	}
	g->nr_jobs = 0;
}

/* ---- objects ---- */

static struct vgpu_object *find(struct vgpu *g, u32 id)
{
	u64 *v = vgpu_map_get(&g->objects, id);

	return v ? (struct vgpu_object *)(ulong)*v : NULL;
}

static void free_object(struct vgpu_object *o)
{
	if (o->memory)
		vgpu_memory_put(o->memory);
	vgpu_image_free(o->image);
	kfree(o);
}

void vgpu_forget(struct vgpu *g)
{
	struct vgpu_slot *s;

	g->scanout.resource = 0;
	vgpu_image_free(g->shot.image);
	g->shot.image = NULL;
	for (u32 at = 0; (s = vgpu_map_next(&g->objects, &at));)
		free_object((struct vgpu_object *)(ulong)s->value);
	vgpu_map_free(&g->objects);
}

static int pass_on(struct vgpu *g, struct vgpu_job *j, struct gpu_pages *pages)
{
	int err = gpu_request(g->client, &j->r, pages, &j->done);

	return err ? err : GOES_ON;
}

static int do_pass(struct vgpu *g, struct vgpu_job *j)
{
	return pass_on(g, j, NULL);
}

static int do_submit(struct vgpu *g, struct vgpu_job *j)
{
	g->counts.submits++;
	return pass_on(g, j, NULL);
}

static int do_create(struct vgpu *g, struct vgpu_job *j)
{
	struct vgpu_object *o = kzalloc(sizeof(*o), 0);
	int err = o ? 0 : -ENOMEM;

	if (!err && j->r.type == VIRTIO_GPU_CMD_RESOURCE_CREATE_2D)
		err = vgpu_image_format(j->r.create.format) ? 0 : -EINVAL;
	if (!err && find(g, j->r.resource))
		err = -EEXIST;
	if (!err)
		err = vgpu_map_set(&g->objects, j->r.resource, (ulong)o);
	if (err) {
		kfree(o);
		return err;
	}
	o->args = j->r.create;
	err = pass_on(g, j, NULL);
	/* What it costs is known to be allowed now. Without memory for it the host sees nothing, the guest works. */
	if (err == GOES_ON && j->r.type == VIRTIO_GPU_CMD_RESOURCE_CREATE_2D)
		o->image = vgpu_image_create(g, &j->r.create);
	if (err < 0) {
		vgpu_map_del(&g->objects, j->r.resource);
		kfree(o);
	}
	return err;
}

static int do_unref(struct vgpu *g, struct vgpu_job *j)
{
	struct vgpu_object *o = find(g, j->r.resource);
	int err = o ? pass_on(g, j, NULL) : -ENOENT;

	if (err < 0)
		return err;
	if (g->scanout.resource == j->r.resource)
		g->scanout.resource = 0;
	vgpu_map_del(&g->objects, j->r.resource);
	free_object(o);
	return err;
}

static int do_attach(struct vgpu *g, struct vgpu_job *j)
{
	struct vgpu_object *o = find(g, j->r.resource);
	struct vgpu_memory *m;
	int err;

	if (!o)
		return -ENOENT;
	if (o->memory)
		return -EINVAL;
	err = vgpu_memory_pin(g, j->r.entries, j->r.nr_entries, &m);
	if (err)
		return err;
	o->memory = m;
	vgpu_memory_get(m); /* the GPU's */
	err = pass_on(g, j, &m->pages);
	if (err < 0) {
		o->memory = NULL;
		vgpu_memory_put(m);
		vgpu_memory_put(m);
	}
	return err;
}

static int do_detach(struct vgpu *g, struct vgpu_job *j)
{
	struct vgpu_object *o = find(g, j->r.resource);
	int err = o ? pass_on(g, j, NULL) : -ENOENT;

	if (err == GOES_ON && o->memory) {
		vgpu_memory_put(o->memory);
		o->memory = NULL;
	}
	return err;
}

static int do_transfer_2d(struct vgpu *g, struct vgpu_job *j)
{
	struct vgpu_object *o = find(g, j->r.resource);
	int err = o ? pass_on(g, j, NULL) : -ENOENT;

	if (err == GOES_ON && o->image && o->memory)
		vgpu_image_load(o, &j->r.box, j->r.offset);
	return err;
}

/* ---- questions ---- */

static int do_display_info(struct vgpu *g, struct vgpu_job *j)
{
	j->a.bytes = sizeof(j->a.display);
	j->a.h.type = VIRTIO_GPU_RESP_OK_DISPLAY_INFO;
	j->a.display.pmodes[0].r.width = g->max_width;
	j->a.display.pmodes[0].r.height = g->max_height;
	j->a.display.pmodes[0].enabled = 1;
	return 0;
}

static int do_edid(struct vgpu *g, struct vgpu_job *j)
{
	if (j->r.scanout)
		return -EINVAL;
	j->a.bytes = sizeof(j->a.edid);
	j->a.h.type = VIRTIO_GPU_RESP_OK_EDID;
	j->a.edid.size = EDID_BYTES;
	vgpu_edid_make(g->max_width, g->max_height, j->a.edid.edid);
	return 0;
}

static int do_capset_info(struct vgpu *g, struct vgpu_job *j)
{
	const struct gpu_capset *c = j->r.capset < GPU_CAPSETS ? &g->gpu->capset[j->r.capset] : NULL;

	if (!c || !c->id)
		return -EINVAL;
	j->a.bytes = sizeof(j->a.capset_info);
	j->a.h.type = VIRTIO_GPU_RESP_OK_CAPSET_INFO;
	j->a.capset_info.capset_id = c->id;
	j->a.capset_info.capset_max_version = c->max_version;
	j->a.capset_info.capset_max_size = c->bytes;
	return 0;
}

static int do_capset(struct vgpu *g, struct vgpu_job *j)
{
	for (unsigned i = 0; i < GPU_CAPSETS; i++) {
		const struct gpu_capset *c = &g->gpu->capset[i];

		if (!c->id || c->id != j->r.capset || j->r.capset_version > c->max_version)
			continue;
		j->a.h.type = VIRTIO_GPU_RESP_OK_CAPSET;
		j->a.more = c->data;
		j->a.more_bytes = c->bytes;
		return 0;
	}
	return -EINVAL;
}

/* ---- display ---- */

static int do_scanout(struct vgpu *g, struct vgpu_job *j)
{
	const struct vgpu_box *b = &j->r.box;
	struct vgpu_object *o;

	if (j->r.scanout)
		return -EINVAL;
	if (!j->r.resource) {
		g->scanout.resource = 0;
		return 0;
	}
	o = find(g, j->r.resource);
	if (!o)
		return -ENOENT;
	if (!b->w || !b->h || b->w > g->max_width || b->h > g->max_height ||
	    (o->image && (b->x + b->w > o->image->width || b->y + b->h > o->image->height)))
		return -EINVAL;
	g->scanout.resource = j->r.resource;
	g->scanout.box = *b;
	return 0;
}

static int do_flush(struct vgpu *g, struct vgpu_job *j)
{
	if (!find(g, j->r.resource))
		return -ENOENT;
	g->counts.flushes++;
	return 0;
}

/* The host draws its own pointer. */
static int do_cursor(struct vgpu *g, struct vgpu_job *j)
{
	return 0;
}

/* ---- requests ---- */

static const struct command {
	u32 type;
	int (*fn)(struct vgpu *g, struct vgpu_job *j); /* 0: answered; GOES_ON; -errno */
} commands[] = {
	{ VIRTIO_GPU_CMD_GET_DISPLAY_INFO, do_display_info },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_2D, do_create },
	{ VIRTIO_GPU_CMD_RESOURCE_UNREF, do_unref },
	{ VIRTIO_GPU_CMD_SET_SCANOUT, do_scanout },
	{ VIRTIO_GPU_CMD_RESOURCE_FLUSH, do_flush },
	{ VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D, do_transfer_2d },
	{ VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING, do_attach },
	{ VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING, do_detach },
	{ VIRTIO_GPU_CMD_GET_EDID, do_edid },
	{ VIRTIO_GPU_CMD_GET_CAPSET_INFO, do_capset_info },
	{ VIRTIO_GPU_CMD_GET_CAPSET, do_capset },
	{ VIRTIO_GPU_CMD_CTX_CREATE, do_pass },
	{ VIRTIO_GPU_CMD_CTX_DESTROY, do_pass },
	{ VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, do_pass },
	{ VIRTIO_GPU_CMD_CTX_DETACH_RESOURCE, do_pass },
	{ VIRTIO_GPU_CMD_RESOURCE_CREATE_3D, do_create },
	{ VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D, do_pass },
	{ VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D, do_pass },
	{ VIRTIO_GPU_CMD_SUBMIT_3D, do_submit },
	{ VIRTIO_GPU_CMD_UPDATE_CURSOR, do_cursor },
	{ VIRTIO_GPU_CMD_MOVE_CURSOR, do_cursor },
};

static bool is_cursor(u32 type)
{
	return type == VIRTIO_GPU_CMD_UPDATE_CURSOR || type == VIRTIO_GPU_CMD_MOVE_CURSOR;
}

static int carry_out(struct vgpu *g, struct vgpu_job *j)
{
	struct virtq_mem mem = vgpu_mem(g);
	int err = g->chain.in_bytes > g->request_bytes ? -E2BIG : 0;

	if (!err && g->chain.nr_out > VGPU_PIECES)
		err = -EINVAL;
	if (!err)
		err = virtq_read(&g->chain, &mem, g->request, g->chain.in_bytes);
	if (!err)
		err = vgpu_ctrl_parse(g->request, g->chain.in_bytes, &j->r);
	if (!err && is_cursor(j->r.type) != (j->queue == 1))
		err = -EINVAL;
	for (unsigned i = 0; i < ARRAY_SIZE(commands) && !err; i++)
		if (commands[i].type == j->r.type)
			return commands[i].fn(g, j);
	return err ? err : -EOPNOTSUPP;
}

bool vgpu_take(struct vgpu *g, unsigned queue)
{
	struct vgpu_job *j = kzalloc(sizeof(*j), 0);
	int err;

	if (!j)
		return false;
	j->g = g;
	j->done.fn = job_done;
	j->head = g->chain.head;
	j->queue = (u8)queue;
	j->nr_pieces = min(g->chain.nr_out, VGPU_PIECES);
	memcpy(j->piece, g->chain.piece + g->chain.nr_in, j->nr_pieces * sizeof(j->piece[0]));
	j->a = (struct vgpu_answer){ .h = { .type = VIRTIO_GPU_RESP_OK_NODATA }, .bytes = sizeof(j->a.h) };
	list_add_tail(&j->link, &g->jobs);
	g->nr_jobs++;
	err = carry_out(g, j);
	if (err != GOES_ON)
		finish(j, err);
	send_answers(g);
	return true;
}
