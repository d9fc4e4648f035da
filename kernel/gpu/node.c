/* SPDX-License-Identifier: MIT
 *
 * Problem: shares are settings of the tenant tree, the scheduler knows entities; a tenant has any number of clients,
 * and groups within groups.
 *
 * Idea: a node for each tenant with clients at a device, and for all above it: an entity below its parent's with the
 * tenant's weight, guarantee and cap. Its clients are in a leaf below it, as one entity of the normal weight beside its
 * child tenants. The root tenant is the device itself: its leaf stands beside the top-level groups.
 *
 * Memory goes through the tenant tree (tenant_charge), with the device's own limit first.
 *
 * Contract: gpu_priv.h. A node lives from its tenant's first client until the tenant is removed and the last is closed.
 *
 * Locks: dev->lock for everything here.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "gpu_priv.h"

static const struct vgpu_share normal = { VGPU_WEIGHT_NORMAL, 0, VGPU_ONE };

struct vgpu_entity *gpu_node_entity(struct gpu_node *n)
{
	return n->parent ? &n->entity : NULL;
}

static struct gpu_node *find(struct gpu_dev *d, const struct tenant *t)
{
	struct gpu_node *n;

	list_for_each_entry (n, &d->nodes, link)
		if (n->tenant == t)
			return n;
	return NULL;
}

void gpu_share_of(const struct tenant *t, struct vgpu_share *out)
{
	const struct share *s = &t->share[RES_GPU];
	u64 cap = READ_ONCE(s->cap);

	out->weight = (u32)READ_ONCE(s->weight);
	out->min = (u32)READ_ONCE(s->guarantee);
	out->max = cap ? (u32)cap : VGPU_ONE;
}

static int enter(struct gpu_dev *d, struct gpu_node *n)
{
	struct vgpu_sched *s = &d->queue.sched;
	struct vgpu_share share;
	u64 now = clock_ns();
	int err = 0;

	gpu_share_of(n->tenant, &share);
	if (n->parent)
		err = vgpu_sched_add(s, &n->entity, gpu_node_entity(n->parent), &share, now);
	if (err)
		return err;
	gpu_queue_leaf_init(&n->leaf);
	ensure(!vgpu_sched_add(s, &n->leaf.entity, gpu_node_entity(n), &normal, now));
	return 0;
}

static int create(struct gpu_dev *d, struct tenant *t, struct gpu_node *parent, struct gpu_node **out)
{
	struct gpu_node *n = kzalloc(sizeof(*n), ALLOC_KERNEL);
	int err;

	if (!n)
		return -ENOMEM;
	n->tenant = t;
	n->parent = parent;
	err = enter(d, n);
	if (err) {
		kfree(n);
		return err;
	}
	list_add_tail(&n->link, &d->nodes);
	*out = n;
	return 0;
}

/* From the root down: each level's parent is there when it is made. */
int gpu_node_get(struct gpu_dev *d, struct tenant *t, struct gpu_node **out)
{
	struct gpu_node *parent = NULL, *n;
	int err = 0;

	for (;;) {
		struct tenant *at = t;

		n = find(d, t);
		if (n)
			break;
		while (at->parent && !find(d, at->parent))
			at = at->parent;
		parent = at->parent ? find(d, at->parent) : NULL;
		err = create(d, at, parent, &n);
		if (err)
			return err;
		if (parent)
			parent->users++;
	}
	n->users++;
	*out = n;
	return 0;
}

static void drop_unused(struct gpu_dev *d, struct gpu_node *n)
{
	while (n && !n->users && n->tenant->dead) {
		struct gpu_node *parent = n->parent;

		vgpu_sched_remove(&d->queue.sched, &n->leaf.entity);
		if (parent) {
			vgpu_sched_remove(&d->queue.sched, &n->entity);
			parent->users--;
		}
		if (d->queue.at_device == &n->leaf)
			d->queue.at_device = NULL;
		list_del(&n->link);
		kfree(n);
		n = parent;
	}
}

void gpu_node_put(struct gpu_dev *d, struct gpu_node *n)
{
	n->users--;
	drop_unused(d, n);
}

void gpu_node_account(struct gpu_dev *d, struct gpu_client *c, u64 busy_ns)
{
	for (struct tenant *t = c->tenant; t; t = t->parent)
		atomic_add(&t->share[RES_GPU].total, (s64)busy_ns);
}

int gpu_tenant_changed(struct tenant *t)
{
	struct vgpu_share share;
	struct gpu_dev *d;
	int err = 0;

	gpu_share_of(t, &share);
	/* The list of devices only grows, at boot. */
	list_for_each_entry (d, &gpu_devices, link) {
		struct gpu_node *n;

		mutex_lock(&d->lock);
		n = find(d, t);
		if (n && n->parent)
			err = vgpu_sched_set(&d->queue.sched, &n->entity, &share, clock_ns());
		if (!err)
			gpu_dispatch(d);
		mutex_unlock(&d->lock);
		if (err)
			break;
	}
	return err;
}

static bool is_below(const struct gpu_node *n, const struct tenant *t)
{
	for (; n; n = n->parent)
		if (n->tenant == t)
			return true;
	return false;
}

static void add_leaf(struct gpu_totals *sum, const struct vgpu_entity *e)
{
	sum->jobs += e->jobs;
	sum->wait_ns += e->delay_ns;
	sum->capped_ns += e->capped_ns;
}

void gpu_node_leaf_leaves(struct gpu_node *n, const struct vgpu_entity *e)
{
	n->jobs += e->jobs;
	n->wait_ns += e->delay_ns;
	n->capped_ns += e->capped_ns;
}

void gpu_tenant_totals(struct tenant *t, struct gpu_totals *sum)
{
	struct gpu_dev *d;
	struct gpu_node *n;
	struct gpu_client *c;

	memset(sum, 0, sizeof(*sum));
	list_for_each_entry (d, &gpu_devices, link) {
		mutex_lock(&d->lock);
		list_for_each_entry (n, &d->nodes, link) {
			if (!is_below(n, t))
				continue;
			add_leaf(sum, &n->leaf.entity);
			sum->jobs += n->jobs;
			sum->wait_ns += n->wait_ns;
			sum->capped_ns += n->capped_ns;
			sum->hangs += n->hangs;
		}
		list_for_each_entry (c, &d->clients, link)
			if (c->has_own_leaf && is_below(c->node, t))
				add_leaf(sum, &c->own.entity);
		mutex_unlock(&d->lock);
	}
}

static void tenant_removed(struct tenant *t)
{
	struct gpu_dev *d;

	list_for_each_entry (d, &gpu_devices, link) {
		struct gpu_node *n;

		mutex_lock(&d->lock);
		n = find(d, t);
		drop_unused(d, n);
		mutex_unlock(&d->lock);
	}
}

static struct tenant_watcher watcher = { .removed = tenant_removed };

static void node_init(void)
{
	tenant_watcher_register(&watcher);
}
PART_INIT(core, node_init);
