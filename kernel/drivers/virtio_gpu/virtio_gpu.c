/* SPDX-License-Identifier: MIT
 *
 * Problem: the one GPU that virtual machines have: QEMU's, which renders virgl streams and shows 2D pictures.
 *
 * Idea: a back end of gpu. A job becomes one chain on the control queue: request, data, response. Work that keeps the
 * device busy is fenced, so its response comes when it is done; the rest is answered at once, perhaps earlier than a
 * fenced one before it, which gpu_job_done allows. What the ring has no room for waits here. Questions are asked once,
 * at probe, by polling.
 *
 * A device that hangs is reset and stays so: it does not come back, and neither do its clients.
 *
 * Contract: gpu/gpu.h. Format: VIRTIO 1.2, 5.7.
 *
 * Locks: lock (RANK_SUBSYS_SPIN, irqsave): the ring and the waiting commands.
 */
#include <alloc/slab.h>
#include <arch/mmu.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <device/virtio.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/virtio_ids.h>
#include "virtio_gpu_priv.h"

#define RING      256
#define HANG_NS   (30 * NSEC_PER_SEC) /* the host's renderer may be a processor with much else to do */
#define WORK_LOG2 35 /* instructions: some seconds of software rendering; nobody can stop a draw or a dispatch */
#define ASK_NS    (5 * NSEC_PER_SEC)
#define EDID_ONE  128

struct virtio_gpu {
	struct gpu_dev dev;
	struct virtio_dev *virtio;
	struct virtqueue *control;
	struct spinlock lock;
	struct list waiting;
	struct deferred reap;
	u64 fence;
	u8 edid[EDID_ONE];
};

static struct virtio_gpu *of(struct gpu_dev *d)
{
	return container_of(d, struct virtio_gpu, dev);
}

static void free_command(struct command *c)
{
	kfree(c->owned);
	kfree(c);
}

/* ---- to the device ---- */

/* Lock held. -ENOSPC: no room now. */
static int add(struct virtio_gpu *g, struct command *c)
{
	struct virtio_buf bufs[3];
	unsigned n = 0;

	bufs[n++] = (struct virtio_buf){ virt_to_phys(&c->request), c->request_bytes, false };
	if (c->data_bytes)
		bufs[n++] = (struct virtio_buf){ virt_to_phys(c->data), c->data_bytes, false };
	bufs[n++] = (struct virtio_buf){ virt_to_phys(&c->response), sizeof(c->response), true };
	return virtqueue_add(g->control, bufs, n, c);
}

/* Lock held: as many of those that wait as there is room for. */
static void fill_ring(struct virtio_gpu *g)
{
	struct command *c, *next;

	list_for_each_entry_safe (c, next, &g->waiting, link) {
		if (add(g, c))
			break;
		list_del(&c->link);
	}
	virtqueue_kick(g->control);
}

static bool is_fenced(u32 type)
{
	return type == VIRTIO_GPU_CMD_SUBMIT_3D || type == VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D;
}

static int run(struct gpu_dev *d, struct gpu_job *j)
{
	struct virtio_gpu *g = of(d);
	struct command *c = kzalloc(sizeof(*c), ALLOC_KERNEL);
	int bytes;
	ulong irq;

	if (!c)
		return -ENOMEM;
	bytes = virtio_gpu_encode(c, j);
	if (bytes < 0) {
		free_command(c);
		return bytes;
	}
	c->request_bytes = bytes;
	c->job = j;
	irq = spin_lock_irqsave(&g->lock);
	if (is_fenced(j->r.type)) {
		c->request.hdr.flags = VIRTIO_GPU_FLAG_FENCE;
		c->request.hdr.fence_id = ++g->fence;
	}
	list_add_tail(&c->link, &g->waiting);
	fill_ring(g);
	spin_unlock_irqrestore(&g->lock, irq);
	return 0;
}

/* ---- and back ---- */

static int error_of(u32 response)
{
	if (response >= VIRTIO_GPU_RESP_OK_NODATA && response < VIRTIO_GPU_RESP_ERR_UNSPEC)
		return 0;
	return response == VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}

static void reap(struct virtio_gpu *g)
{
	for (;;) {
		ulong irq = spin_lock_irqsave(&g->lock);
		struct command *c = virtqueue_get(g->control, NULL);

		if (c)
			fill_ring(g);
		spin_unlock_irqrestore(&g->lock, irq);
		if (!c)
			return;
		gpu_job_done(&g->dev, c->job, error_of(c->response.type), 0);
		free_command(c);
	}
}

static void reap_deferred(struct deferred *d)
{
	struct virtio_gpu *g = container_of(d, struct virtio_gpu, reap);
	bool more;

	do {
		ulong irq;

		reap(g);
		irq = spin_lock_irqsave(&g->lock);
		more = !virtqueue_irq_on(g->control);
		spin_unlock_irqrestore(&g->lock, irq);
	} while (more);
}

static void on_interrupt(struct virtqueue *vq)
{
	struct virtio_gpu *g = vq->priv;

	virtqueue_irq_off(vq);
	deferred_queue(&g->reap);
}

static int reset(struct gpu_dev *d)
{
	virtio_reset(of(d)->virtio);
	return -EIO;
}

static const struct gpu_ops ops = { .run = run, .reset = reset };

/* ---- questions, at probe ---- */

/* q and answer are allocated: the device cannot see stacks. */
static int ask(struct virtio_gpu *g, union request *q, u32 bytes, void *answer, u32 answer_bytes)
{
	struct virtio_buf bufs[] = { { virt_to_phys(q), bytes, false }, { virt_to_phys(answer), answer_bytes, true } };
	u64 end = clock_ns() + ASK_NS;
	int err = virtqueue_add(g->control, bufs, 2, q);

	if (err)
		return err;
	virtqueue_kick(g->control);
	while (!virtqueue_get(g->control, NULL)) {
		if (clock_ns() > end)
			return fail(EIO, "virtio_gpu: no answer to %#x", q->hdr.type);
		__builtin_ia32_pause();
	}
	return error_of(((struct virtio_gpu_ctrl_hdr *)answer)->type);
}

static int ask_display(struct virtio_gpu *g, union request *q)
{
	struct virtio_gpu_resp_display_info *info = kzalloc(sizeof(*info), ALLOC_KERNEL);
	int err;

	if (!info)
		return -ENOMEM;
	*q = (union request){ .hdr.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO };
	err = ask(g, q, sizeof(q->hdr), info, sizeof(*info));
	g->dev.width = info->pmodes[0].r.width;
	g->dev.height = info->pmodes[0].r.height;
	kfree(info);
	return err;
}

static int ask_edid(struct virtio_gpu *g, union request *q)
{
	struct virtio_gpu_resp_edid *edid;
	int err;

	if (!virtio_has(g->virtio, VIRTIO_GPU_F_EDID))
		return 0;
	edid = kzalloc(sizeof(*edid), ALLOC_KERNEL);
	if (!edid)
		return -ENOMEM;
	*q = (union request){ .edid = { .hdr.type = VIRTIO_GPU_CMD_GET_EDID } };
	err = ask(g, q, sizeof(q->edid), edid, sizeof(*edid));
	if (!err && edid->size >= EDID_ONE) {
		memcpy(g->edid, edid->edid, EDID_ONE);
		g->dev.edid = g->edid;
	}
	kfree(edid);
	return err;
}

static int ask_capset_info(struct virtio_gpu *g, union request *q, u32 n, struct virtio_gpu_resp_capset_info *out)
{
	struct virtio_gpu_resp_capset_info *info = kzalloc(sizeof(*info), ALLOC_KERNEL);
	int err;

	if (!info)
		return -ENOMEM;
	*q = (union request){ .capset_info = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO, .capset_index = n } };
	err = ask(g, q, sizeof(q->capset_info), info, sizeof(*info));
	*out = *info;
	kfree(info);
	return err;
}

/* The n-th capability set, if it is one that clients know, with what is refused taken out. */
static int ask_capset(struct virtio_gpu *g, union request *q, u32 n)
{
	struct virtio_gpu_resp_capset_info info;
	struct virtio_gpu_resp_capset *set;
	struct gpu_capset *out = &g->dev.capset[n];
	int err = ask_capset_info(g, q, n, &info);

	if (err || (info.capset_id != VIRTIO_GPU_CAPSET_VIRGL && info.capset_id != VIRTIO_GPU_CAPSET_VIRGL2))
		return err;
	if (info.capset_max_size > PAGE_SIZE)
		return fail(EIO, "virtio_gpu: a capability set of %u bytes", info.capset_max_size);
	set = kzalloc(sizeof(*set) + info.capset_max_size, ALLOC_KERNEL);
	if (!set)
		return -ENOMEM;
	*q = (union request){ .capset = { .hdr.type = VIRTIO_GPU_CMD_GET_CAPSET,
					  .capset_id = info.capset_id,
					  .capset_version = info.capset_max_version } };
	err = ask(g, q, sizeof(q->capset), set, sizeof(*set) + info.capset_max_size);
	if (err) {
		kfree(set);
		return err;
	}
	*out = (struct gpu_capset){ info.capset_id, info.capset_max_version, info.capset_max_size, set->capset_data };
	vgpu_virgl_mask_caps(out->id, out->data, out->bytes);
	return 0;
}

static int ask_all(struct virtio_gpu *g)
{
	union request *q = kzalloc(sizeof(*q), ALLOC_KERNEL);
	struct virtio_gpu_config config;
	int err;

	if (!q)
		return -ENOMEM;
	virtio_config(g->virtio, 0, &config, sizeof(config));
	g->dev.nr_scanouts = min(config.num_scanouts, (u32)VIRTIO_GPU_MAX_SCANOUTS);
	err = ask_display(g, q);
	if (!err)
		err = ask_edid(g, q);
	if (g->dev.has_3d)
		for (u32 n = 0; n < min(config.num_capsets, (u32)GPU_CAPSETS) && !err; n++)
			err = ask_capset(g, q, n);
	kfree(q);
	return err;
}

static int probe(struct virtio_dev *d)
{
	struct virtio_gpu *g = kzalloc(sizeof(*g), ALLOC_KERNEL);
	int err;

	if (!g)
		return -ENOMEM;
	g->virtio = d;
	d->priv = g;
	spin_init(&g->lock, RANK_SUBSYS_SPIN);
	list_init(&g->waiting);
	deferred_init(&g->reap, reap_deferred);
	err = virtqueue_create(d, 0, RING, 0, on_interrupt, &g->control);
	if (err)
		return err; /* the device stays in FAILED and knows its rings: nothing is freed */
	g->control->priv = g;
	g->dev.ops = &ops;
	str_copy(g->dev.name, "virtio_gpu", sizeof(g->dev.name));
	g->dev.parent = d->pci;
	g->dev.has_3d = virtio_has(d, VIRTIO_GPU_F_VIRGL);
	g->dev.hang_ns = HANG_NS;
	if (g->dev.has_3d)
		g->dev.work_log2 = WORK_LOG2;
	virtqueue_irq_off(g->control);
	virtio_ready(d);
	err = ask_all(g);
	if (err)
		return err;
	deferred_queue(&g->reap); /* interrupts on */
	return gpu_register(&g->dev);
}

static struct virtio_driver driver = {
	.name = "virtio_gpu",
	.id = VIRTIO_ID_GPU,
	.features = BIT(VIRTIO_GPU_F_VIRGL) | BIT(VIRTIO_GPU_F_EDID),
	.probe = probe,
};

static void virtio_gpu_register(void)
{
	virtio_register(&driver);
}
PART_INIT(core, virtio_gpu_register);
