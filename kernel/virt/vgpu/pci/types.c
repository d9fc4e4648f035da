/* SPDX-License-Identifier: MIT
 *
 * Problem: a GPU's parts are made by name and size, and together must not exceed it.
 *
 * Idea: types are fractions: one, a half, a quarter, an eighth, a sixteenth of the GPU's memory, with a guarantee of
 * the same part of its time and a weight in that proportion for what is left over (a quarter weighs what a program
 * does). How many of a type can still be made follows from what is left. What the machine's cgroup allows (gpu.weight,
 * gpu.max ...) holds besides.
 *
 * Contract: mdev.h; types ostrom_vgpu-N below parents gpu0, gpu1 ... in order of the GPUs' registration.
 *
 * Locks: mdev's own, held when its ops run, for `left`.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "vgpu.h"

#define PARTS          16 /* of a GPU: what `left` counts */
#define UNKNOWN_MEMORY (512ULL << 20)
#define TYPES          5

/* What is offered of one GPU. Lives for ever. */
struct source {
	struct gpu_dev *gpu;
	u64 memory_bytes;
	unsigned left;
	char name[16], descriptions[TYPES][96];
	struct mdev_type types[TYPES];
	struct mdev_parent parent;
};

static const struct {
	const char *name, *pretty;
	u32 width, height;
} kinds[TYPES] = {
	{ "1", "the whole GPU", 3840, 2160 },          { "2", "half of the GPU", 1920, 1200 },
	{ "4", "a quarter of the GPU", 1920, 1200 },   { "8", "an eighth of the GPU", 1024, 768 },
	{ "16", "a sixteenth of the GPU", 1024, 768 },
};

static int create(struct mdev *m)
{
	struct source *s = m->parent->owner;
	unsigned n = (unsigned)m->type->data, kind = (unsigned)(m->type - s->types);
	struct vgpu *g;

	if (s->left < PARTS / n)
		return -ENOSPC;
	g = kzalloc(sizeof(*g), 0);
	if (!g)
		return -ENOMEM;
	s->left -= PARTS / n;
	g->m = m;
	m->priv = g;
	g->gpu = s->gpu;
	g->max_width = kinds[kind].width;
	g->max_height = kinds[kind].height;
	g->share = (struct vgpu_share){ .weight = 400 / n, .min = VGPU_ONE / n, .max = VGPU_ONE };
	g->limits = vgpu_default_limits;
	g->limits.memory_bytes = s->memory_bytes / n;
	g->limits.resource_bytes = min(g->limits.resource_bytes, g->limits.memory_bytes);
	vgpu_set_up(g);
	return 0;
}

static void remove(struct mdev *m)
{
	struct source *s = m->parent->owner;

	s->left += PARTS / (unsigned)m->type->data;
}

static unsigned available(struct mdev_parent *p, const struct mdev_type *t)
{
	return ((struct source *)p->owner)->left / (PARTS / (unsigned)t->data);
}

/* ---- what a device says of itself ---- */

static int show_statistics(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct vgpu *g = ((struct mdev *)dir->owner)->priv;
	const struct vgpu_counts *c = &g->counts;

	strbuf_add(out, "doorbells %llu\nrequests %llu\nrefused %llu\ninterrupts %llu\n",
		   (unsigned long long)c->doorbells, (unsigned long long)c->requests, (unsigned long long)c->refused,
		   (unsigned long long)c->interrupts);
	strbuf_add(out, "submits %llu\nfinished %llu\nflushes %llu\n", (unsigned long long)c->submits,
		   (unsigned long long)c->finished, (unsigned long long)c->flushes);
	return 0;
}

static const struct attr statistics = { .name = "statistics", .mode = 0444, .show = show_statistics };
static const struct attr *const device_attrs[] = { &statistics, NULL };
static const struct mdev_ops ops = { .create = create, .remove = remove, .available = available };

static void set_type(struct source *s, unsigned i)
{
	unsigned n = 1U << i;

	str_format(s->descriptions[i], sizeof(s->descriptions[i]),
		   "memory: %llu MB\nweight: %u\nguarantee: %u.%02u%%\nresolution: %ux%u",
		   (unsigned long long)(s->memory_bytes >> 20) / n, 400 / n, 100 / n, 10000 / n % 100, kinds[i].width,
		   kinds[i].height);
	s->types[i] = (struct mdev_type){
		.name = kinds[i].name, .pretty = kinds[i].pretty, .description = s->descriptions[i], .data = n
	};
}

static void added(struct gpu_dev *gpu)
{
	struct source *s = kzalloc(sizeof(*s), 0);

	if (!s)
		return;
	s->gpu = gpu;
	s->left = PARTS;
	s->memory_bytes = gpu->memory_bytes == ~0ULL ? UNKNOWN_MEMORY : gpu->memory_bytes;
	str_format(s->name, sizeof(s->name), "gpu%u", gpu->index);
	for (unsigned i = 0; i < TYPES; i++)
		set_type(s, i);
	s->parent = (struct mdev_parent){ .driver = "ostrom_vgpu",
					  .name = s->name,
					  .ops = &ops,
					  .types = s->types,
					  .nr_types = TYPES,
					  .owner = s,
					  .attrs = device_attrs };
	if (mdev_register(&s->parent))
		log_warn("vgpu: no virtual GPUs of %s", s->name);
}

static struct gpu_front front = { .added = added };

static void vgpu_init(void)
{
	gpu_front_register(&front);
}
PART_INIT(late, vgpu_init);
