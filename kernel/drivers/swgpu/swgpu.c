/* SPDX-License-Identifier: MIT
 *
 * Problem: shares, caps, timeouts and resets of a GPU must be proved on one whose jobs take a known time, repeatably,
 * on the guest's own clock; and no real GPU hangs when a test wants it to.
 *
 * Idea: a back end that keeps the jobs it was given in a list. The first one is due after the time that its kind and
 * its number of draws say; a timer ends it and starts the next. 2D works: pixels of small 2D resources are kept here,
 * copied from and to the client's memory by the transfers. Streams are not drawn, only timed.
 *
 * Contract: gpu/gpu.h. `swgpu` on the command line makes one. Files of /sys/module/swgpu/parameters, at any time:
 *
 *   job_ns, draw_ns, other_ns   how long a submission takes, each draw in it, and every other job
 *   memory     bytes that it has
 *   hang       name of the clients (a program's, as in /proc/PID/comm, or a virtual GPU's UUID) whose work never ends
 *   fail       of those whose work fails; empty: none
 *   scanout    a checksum of the shown picture, and its size
 *
 * Locks: lock (RANK_DRIVER, irqsave) for the list; pixels are touched by run() alone, under the device's lock.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/mmu.h>
#include <core/attr.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <gpu/gpu.h>
#include <lib/crc32c.h>
#include <lib/err.h>
#include <lib/string.h>
#include <virt/vgpu/edid.h>
#include <task/timer.h>

#define PIXELS_MAX (16u << 20) /* bytes of one resource whose pixels are kept */

struct picture {
	struct list link;
	u32 id, width, height;
	u8 *pixels; /* NULL: not kept */
	const struct gpu_pages *pages;
};

struct swgpu {
	struct gpu_dev dev;
	struct spinlock lock;
	struct list jobs; /* job->back links them */
	struct timer timer;
	u64 job_ns, draw_ns, other_ns;
	char hang[GPU_CLIENT_NAME], fail[GPU_CLIENT_NAME];
	struct list pictures;
	u32 shown; /* resource, 0: none */
	struct attr_dir *files;
};

struct running {
	struct list link;
	struct gpu_job *job;
	u64 cost_ns;
	int err;
	bool hangs;
};

static struct swgpu gpu;

static struct swgpu *of(struct gpu_dev *d)
{
	return container_of(d, struct swgpu, dev);
}

/* ---- pixels ---- */

static struct picture *find(struct swgpu *g, u32 id)
{
	struct picture *p;

	list_for_each_entry (p, &g->pictures, link)
		if (p->id == id)
			return p;
	return NULL;
}

static int create(struct swgpu *g, const struct vgpu_request *r)
{
	u64 bytes = (u64)r->create.width * r->create.height * 4;
	struct picture *p = kzalloc(sizeof(*p), ALLOC_KERNEL);

	if (!p)
		return -ENOMEM;
	p->id = r->resource;
	p->width = r->create.width;
	p->height = r->create.height;
	if (r->create.target == VGPU_2D && r->create.format <= VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM &&
	    bytes <= PIXELS_MAX) {
		p->pixels = big_alloc(1, bytes);
		if (!p->pixels) {
			kfree(p);
			return -ENOMEM;
		}
	}
	list_add_tail(&p->link, &g->pictures);
	return 0;
}

static void destroy(struct swgpu *g, u32 id)
{
	struct picture *p = find(g, id);

	if (!p)
		return;
	list_del(&p->link);
	big_free(p->pixels);
	kfree(p);
}

/* n bytes of the client's memory at an offset, to or from p. What lies beyond is left alone. */
static void copy_piece(const struct gpu_pages *m, u64 at, u8 *p, u32 n, bool to_client)
{
	for (u32 i = 0; i < m->nr && n; i++) {
		const struct gpu_piece *piece = &m->pieces[i];
		u32 part;

		if (at >= piece->bytes) {
			at -= piece->bytes;
			continue;
		}
		part = min((u64)n, piece->bytes - at);
		if (to_client)
			memcpy(phys_to_virt(piece->addr + at), p, part);
		else
			memcpy(p, phys_to_virt(piece->addr + at), part);
		at = 0;
		p += part;
		n -= part;
	}
}

static void copy_rows(struct swgpu *g, const struct vgpu_request *r, bool to_client)
{
	struct picture *p = find(g, r->resource);
	u64 stride;

	if (!p || !p->pixels || !p->pages || r->level)
		return;
	stride = r->stride ? r->stride : p->width * 4ull;
	for (u32 y = 0; y < r->box.h; y++)
		copy_piece(p->pages, r->offset + y * stride,
			   p->pixels + ((u64)(r->box.y + y) * p->width + r->box.x) * 4, r->box.w * 4, to_client);
}

static int carry_out(struct swgpu *g, struct gpu_job *j)
{
	const struct vgpu_request *r = &j->r;
	struct picture *p = find(g, r->resource);

	switch (r->type) {
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_2D:
	case VIRTIO_GPU_CMD_RESOURCE_CREATE_3D: return create(g, r);
	case VIRTIO_GPU_CMD_RESOURCE_UNREF: destroy(g, r->resource); break;
	case VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING:
		if (p)
			p->pages = j->pages;
		break;
	case VIRTIO_GPU_CMD_RESOURCE_DETACH_BACKING:
		if (p)
			p->pages = NULL;
		break;
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D:
	case VIRTIO_GPU_CMD_TRANSFER_TO_HOST_3D: copy_rows(g, r, false); break;
	case VIRTIO_GPU_CMD_TRANSFER_FROM_HOST_3D: copy_rows(g, r, true); break;
	case VIRTIO_GPU_CMD_SET_SCANOUT: g->shown = r->resource; break;
	default: break;
	}
	return 0;
}

/* ---- time ---- */

static u64 cost_of(const struct swgpu *g, const struct gpu_job *j)
{
	if (j->r.type != VIRTIO_GPU_CMD_SUBMIT_3D)
		return g->other_ns;
	return g->job_ns + g->draw_ns * ((u64)j->stream.draws + j->stream.dispatches);
}

/* Lock held: the first job of the list begins now. */
static void start_first(struct swgpu *g)
{
	struct running *r = list_first_or_null(&g->jobs, struct running, link);

	if (r && !r->hangs)
		timer_arm(&g->timer, clock_ns() + r->cost_ns, 0);
}

static void on_timer(struct timer *t)
{
	struct swgpu *g = container_of(t, struct swgpu, timer);
	ulong irq = spin_lock_irqsave(&g->lock);
	struct running *r = list_first_or_null(&g->jobs, struct running, link);

	if (r && !r->hangs) {
		list_del(&r->link);
		start_first(g);
	} else {
		r = NULL;
	}
	spin_unlock_irqrestore(&g->lock, irq);
	if (!r)
		return;
	gpu_job_done(&g->dev, r->job, r->err, r->cost_ns);
	kfree(r);
}

static int run(struct gpu_dev *d, struct gpu_job *j)
{
	struct swgpu *g = of(d);
	struct running *r = kzalloc(sizeof(*r), ALLOC_KERNEL);
	bool is_submit = j->r.type == VIRTIO_GPU_CMD_SUBMIT_3D, first;
	ulong irq;

	if (!r)
		return -ENOMEM;
	r->job = j;
	r->err = carry_out(g, j);
	r->cost_ns = max(cost_of(g, j), (u64)1);
	r->hangs = is_submit && g->hang[0] && !strcmp(g->hang, j->client->name);
	if (is_submit && g->fail[0] && !strcmp(g->fail, j->client->name))
		r->err = -EIO;
	irq = spin_lock_irqsave(&g->lock);
	first = list_empty(&g->jobs);
	list_add_tail(&r->link, &g->jobs);
	if (first)
		start_first(g);
	spin_unlock_irqrestore(&g->lock, irq);
	return 0;
}

/* Resources stay: it forgets only what it was doing. */
static int reset(struct gpu_dev *d)
{
	struct swgpu *g = of(d);
	struct running *r, *next;
	LIST(jobs);
	ulong irq;

	(void)timer_cancel(&g->timer);
	irq = spin_lock_irqsave(&g->lock);
	list_splice_tail_init(&g->jobs, &jobs);
	spin_unlock_irqrestore(&g->lock, irq);
	list_for_each_entry_safe (r, next, &jobs, link)
		kfree(r);
	return 0;
}

static const struct gpu_ops ops = { .run = run, .reset = reset };

/* ---- files ---- */

static u64 *number_of(const struct attr *a)
{
	return (u64 *)((char *)&gpu + a->data);
}

static int show_number(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)*number_of(a));
	return 0;
}

static int set_number(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(str_trim(text), 0, &v);

	if (err)
		return err;
	if (number_of(a) != &gpu.dev.memory_bytes && v > 60 * NSEC_PER_SEC)
		return fail(EINVAL, "more than a minute");
	mutex_lock(&gpu.dev.lock);
	*number_of(a) = v;
	mutex_unlock(&gpu.dev.lock);
	return 0;
}

static int show_name(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%s\n", (char *)number_of(a));
	return 0;
}

static int set_name(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	mutex_lock(&gpu.dev.lock);
	str_copy((char *)number_of(a), str_trim(text), sizeof(gpu.hang));
	mutex_unlock(&gpu.dev.lock);
	return 0;
}

static int show_scanout(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct picture *p;

	mutex_lock(&gpu.dev.lock);
	p = find(&gpu, gpu.shown);
	if (p && p->pixels)
		strbuf_add(out, "%08x %u %u\n", crc32c(~0u, p->pixels, p->width * p->height * 4ul), p->width,
			   p->height);
	else
		strbuf_add(out, "none\n");
	mutex_unlock(&gpu.dev.lock);
	return 0;
}

#define NUMBER(id, field)                                                                                              \
	static const struct attr id = { .name = #id,                                                                   \
					.mode = 0644,                                                                  \
					.show = show_number,                                                           \
					.set = set_number,                                                             \
					.data = offsetof(struct swgpu, field) }
#define NAME(id)                                                                                                       \
	static const struct attr name_##id = {                                                                         \
		.name = #id, .mode = 0644, .show = show_name, .set = set_name, .data = offsetof(struct swgpu, id)      \
	}
NUMBER(job_ns, job_ns);
NUMBER(draw_ns, draw_ns);
NUMBER(other_ns, other_ns);
NUMBER(memory, dev.memory_bytes);
NAME(hang);
NAME(fail);
static const struct attr scanout = { .name = "scanout", .mode = 0444, .show = show_scanout };
static const struct attr *const files[] = { &job_ns,    &draw_ns,   &other_ns, &memory,
					    &name_hang, &name_fail, &scanout,  NULL };

static void swgpu_init(void)
{
	static u8 edid[EDID_BYTES];
	char word[4];

	if (!boot_param("swgpu", word, sizeof(word)))
		return;
	spin_init(&gpu.lock, RANK_SUBSYS_SPIN);
	list_init(&gpu.jobs);
	list_init(&gpu.pictures);
	timer_init(&gpu.timer, on_timer);
	gpu.job_ns = NSEC_PER_MSEC;
	gpu.draw_ns = 100 * NSEC_PER_USEC;
	gpu.other_ns = 2 * NSEC_PER_USEC;
	gpu.dev.ops = &ops;
	str_copy(gpu.dev.name, "virtio_gpu", sizeof(gpu.dev.name));
	vgpu_edid_make(1024, 768, edid);
	gpu.dev.edid = edid;
	gpu.dev.has_3d = true;
	gpu.dev.memory_bytes = 256ull << 20;
	gpu.dev.nr_scanouts = 1;
	gpu.dev.width = 1024;
	gpu.dev.height = 768;
	if (gpu_register(&gpu.dev) || attr_folder_add(&attr_sys_root, "module/swgpu/parameters", files))
		log_err("swgpu: no memory");
}
PART_INIT(driver, swgpu_init);
