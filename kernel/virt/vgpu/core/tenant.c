/* SPDX-License-Identifier: MIT
 *
 * Problem: a GPU's own memory is not bounded by what a client pins, ids are global at the device and chosen by the
 * client, and sub-contexts are invisible to whoever counts contexts (200 textures of 16 MiB took 4 GB of a host).
 *
 * Idea: one account a tenant; resources, contexts, sub-contexts and objects pass through it before the back end hears
 * of them. Ids are translated by tables that only know what this client created, so that another tenant's resource
 * cannot be named at all. Destroying a space gives everything back, whatever the client forgot.
 *
 * Contract: tenant.h. A charge is taken first and given back on any later failure.
 *
 * Locks: none; the owner of the tenant serialises.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "priv.h"

const struct vgpu_limits vgpu_default_limits = {
	.memory_bytes = 256ull << 20,
	.resource_bytes = 128ull << 20,
	.resources = 16384,
	.contexts = 32,
	.sub_contexts = 128,
	.objects = 65536,
	.submit_bytes = 1u << 20,
	.shader_bytes = 512u << 10,
	.draw_vertices_log2 = 28,
	.grid_groups_log2 = 28,
};

void vgpu_tenant_init(struct vgpu_tenant *t, const struct vgpu_limits *limits, u64 seed)
{
	memset(t, 0, sizeof(*t));
	t->limits = *limits;
	t->seed = seed;
}

int vgpu_charge(struct vgpu_tenant *t, u64 bytes)
{
	int rc;

	/* The limit may have been lowered below what is in use: nothing more until it is below again. */
	if (t->memory > t->limits.memory_bytes || bytes > t->limits.memory_bytes - t->memory)
		return fail(EDQUOT, "%llu bytes over the limit of %llu, %llu in use", (unsigned long long)bytes,
			    (unsigned long long)t->limits.memory_bytes, (unsigned long long)t->memory);
	rc = t->charge ? t->charge(t, bytes) : 0;
	if (rc)
		return rc;
	t->memory += bytes;
	t->memory_peak = max(t->memory_peak, t->memory);
	return 0;
}

void vgpu_uncharge(struct vgpu_tenant *t, u64 bytes)
{
	ensure(t->memory >= bytes);
	t->memory -= bytes;
	if (t->uncharge)
		t->uncharge(t, bytes);
}

/* ---- host ids ---- */

void vgpu_ids_init(struct vgpu_ids *ids, u64 seed)
{
	vgpu_map_init(&ids->used, seed);
	ids->next = 1;
}

void vgpu_ids_free(struct vgpu_ids *ids)
{
	vgpu_map_free(&ids->used);
}

int vgpu_ids_take(struct vgpu_ids *ids, u32 *id)
{
	u32 n = ids->next;
	int rc;

	while (!n || vgpu_map_get(&ids->used, n))
		n++;
	rc = vgpu_map_set(&ids->used, n, 1);
	if (rc)
		return rc;
	ids->next = n + 1;
	*id = n;
	return 0;
}

void vgpu_ids_drop(struct vgpu_ids *ids, u32 id)
{
	ensure(vgpu_map_del(&ids->used, id));
}

/* ---- resources ---- */

void vgpu_space_init(struct vgpu_space *s, struct vgpu_tenant *t, struct vgpu_ids *ids)
{
	s->tenant = t;
	s->ids = ids;
	vgpu_map_init(&s->resources, t->seed);
	list_init(&s->contexts);
}

struct vgpu_res *vgpu_res_find(const struct vgpu_space *s, u32 id)
{
	u64 *v = vgpu_map_get(&s->resources, id);

	return v ? (struct vgpu_res *)(ulong)*v : NULL;
}

static int admit_resource(struct vgpu_space *s, u32 id, const struct vgpu_res_args *a, u64 backing, u64 *bytes)
{
	const struct vgpu_limits *l = &s->tenant->limits;
	int rc;

	if (!id)
		return fail(EINVAL, "resource 0");
	if (vgpu_res_find(s, id))
		return fail(EEXIST, "resource %u exists", id);
	rc = vgpu_res_charge(a, bytes);
	if (rc)
		return rc;
	if (*bytes > l->resource_bytes || backing > l->resource_bytes)
		return fail(EDQUOT, "a resource of %llu bytes, %llu allowed", (unsigned long long)max(*bytes, backing),
			    (unsigned long long)l->resource_bytes);
	if (s->tenant->resources >= l->resources)
		return fail(EDQUOT, "more than %u resources", l->resources);
	*bytes += ALIGN_UP(backing, PAGE_SIZE);
	return 0;
}

int vgpu_res_create(struct vgpu_space *s, u32 id, const struct vgpu_res_args *a, u64 backing, struct vgpu_res **out)
{
	struct vgpu_res *r;
	u64 bytes;
	int rc = admit_resource(s, id, a, backing, &bytes);

	if (rc)
		return rc;
	rc = vgpu_charge(s->tenant, bytes);
	if (rc)
		return rc;
	rc = -ENOMEM;
	r = kzalloc(sizeof(*r), ALLOC_KERNEL);
	if (!r)
		goto uncharge;
	rc = vgpu_ids_take(s->ids, &r->host_id);
	if (rc)
		goto free;
	rc = vgpu_map_set(&s->resources, id, (ulong)r);
	if (rc)
		goto drop;
	r->id = id;
	r->bytes = bytes;
	r->backing = backing;
	r->args = *a;
	s->tenant->resources++;
	*out = r;
	return 0;
drop:
	vgpu_ids_drop(s->ids, r->host_id);
free:
	kfree(r);
uncharge:
	vgpu_uncharge(s->tenant, bytes);
	return rc;
}

int vgpu_res_set_backing(struct vgpu_space *s, struct vgpu_res *r, u64 backing)
{
	u64 old = ALIGN_UP(r->backing, PAGE_SIZE), new = ALIGN_UP(backing, PAGE_SIZE);
	int rc;

	if (backing > s->tenant->limits.resource_bytes)
		return fail(EDQUOT, "%llu bytes of backing", (unsigned long long)backing);
	if (new > old) {
		rc = vgpu_charge(s->tenant, new - old);
		if (rc)
			return rc;
	} else {
		vgpu_uncharge(s->tenant, old - new);
	}
	r->bytes = r->bytes - old + new;
	r->backing = backing;
	return 0;
}

static void give_back(struct vgpu_space *s, struct vgpu_res *r)
{
	ensure(!r->attached);
	vgpu_ids_drop(s->ids, r->host_id);
	vgpu_uncharge(s->tenant, r->bytes);
	s->tenant->resources--;
	kfree(r);
}

void vgpu_res_destroy(struct vgpu_space *s, struct vgpu_res *r)
{
	struct vgpu_ctx *c;

	if (r->attached) {
		list_for_each_entry (c, &s->contexts, link)
			r->attached -= vgpu_map_del(&c->attached, r->id);
	}
	vgpu_map_del(&s->resources, r->id);
	give_back(s, r);
}

/* ---- contexts ---- */

struct vgpu_sub *vgpu_sub_find(const struct vgpu_ctx *c, u32 id)
{
	u64 *v = vgpu_map_get(&c->subs, id);

	return v ? (struct vgpu_sub *)(ulong)*v : NULL;
}

int vgpu_sub_create(struct vgpu_ctx *c, u32 id)
{
	struct vgpu_tenant *t = c->space->tenant;
	struct vgpu_sub *sub;
	int rc;

	if (vgpu_sub_find(c, id))
		return fail(EEXIST, "sub-context %u exists", id);
	if (t->sub_contexts >= t->limits.sub_contexts)
		return fail(EDQUOT, "more than %u sub-contexts", t->limits.sub_contexts);
	sub = kzalloc(sizeof(*sub), ALLOC_KERNEL);
	if (!sub)
		return -ENOMEM;
	sub->id = id;
	vgpu_map_init(&sub->objects, t->seed);
	rc = vgpu_map_set(&c->subs, id, (ulong)sub);
	if (rc) {
		kfree(sub);
		return rc;
	}
	t->sub_contexts++;
	return 0;
}

static void free_sub(struct vgpu_ctx *c, struct vgpu_sub *sub)
{
	struct vgpu_tenant *t = c->space->tenant;
	struct vgpu_slot *slot;

	for (u32 at = 0; (slot = vgpu_map_next(&sub->objects, &at));)
		vgpu_uncharge(t, slot->value >> 8);
	t->objects -= sub->objects.count;
	t->sub_contexts--;
	vgpu_map_free(&sub->objects);
	vgpu_work_free(sub);
	kfree(sub);
}

bool vgpu_sub_destroy(struct vgpu_ctx *c, u32 id)
{
	struct vgpu_sub *sub = vgpu_sub_find(c, id);

	if (!sub)
		return false;
	vgpu_map_del(&c->subs, id);
	free_sub(c, sub);
	return true;
}

struct vgpu_ctx *vgpu_ctx_find(const struct vgpu_space *s, u32 id)
{
	struct vgpu_ctx *c;

	list_for_each_entry (c, &s->contexts, link)
		if (c->id == id)
			return c;
	return NULL;
}

int vgpu_ctx_create(struct vgpu_space *s, u32 id, u32 host_id, struct vgpu_ctx **out)
{
	struct vgpu_tenant *t = s->tenant;
	struct vgpu_ctx *c;
	int rc;

	if (vgpu_ctx_find(s, id))
		return fail(EEXIST, "context %u exists", id);
	if (t->contexts >= t->limits.contexts)
		return fail(EDQUOT, "more than %u contexts", t->limits.contexts);
	c = kzalloc(sizeof(*c), ALLOC_KERNEL);
	if (!c)
		return -ENOMEM;
	c->space = s;
	c->id = id;
	c->host_id = host_id;
	vgpu_map_init(&c->attached, t->seed);
	vgpu_map_init(&c->subs, t->seed);
	rc = vgpu_sub_create(c, 0);
	if (rc) {
		kfree(c);
		return rc;
	}
	list_add_tail(&c->link, &s->contexts);
	t->contexts++;
	*out = c;
	return 0;
}

void vgpu_ctx_destroy(struct vgpu_ctx *c)
{
	struct vgpu_slot *slot;

	for (u32 at = 0; (slot = vgpu_map_next(&c->attached, &at));)
		((struct vgpu_res *)(ulong)slot->value)->attached--;
	for (u32 at = 0; (slot = vgpu_map_next(&c->subs, &at));)
		free_sub(c, (struct vgpu_sub *)(ulong)slot->value);
	vgpu_map_free(&c->attached);
	vgpu_map_free(&c->subs);
	list_del(&c->link);
	c->space->tenant->contexts--;
	kfree(c);
}

int vgpu_ctx_attach(struct vgpu_ctx *c, struct vgpu_res *r)
{
	int rc;

	if (vgpu_map_get(&c->attached, r->id))
		return 0;
	rc = vgpu_map_set(&c->attached, r->id, (ulong)r);
	if (!rc)
		r->attached++;
	return rc;
}

int vgpu_ctx_detach(struct vgpu_ctx *c, struct vgpu_res *r)
{
	if (!vgpu_map_del(&c->attached, r->id))
		return fail(ENOENT, "resource %u is not attached to context %u", r->id, c->id);
	r->attached--;
	return 0;
}

void vgpu_space_destroy(struct vgpu_space *s, void (*release)(struct vgpu_res *r, void *arg), void *arg)
{
	struct vgpu_ctx *c, *next;
	struct vgpu_slot *slot;

	list_for_each_entry_safe (c, next, &s->contexts, link)
		vgpu_ctx_destroy(c);
	for (u32 at = 0; (slot = vgpu_map_next(&s->resources, &at));) {
		struct vgpu_res *r = (struct vgpu_res *)(ulong)slot->value;

		if (release)
			release(r, arg);
		give_back(s, r);
	}
	vgpu_map_free(&s->resources);
}
