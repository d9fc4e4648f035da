/* SPDX-License-Identifier: MIT
 *
 * What a tenant owns on a GPU, and what it may own.
 *
 *   tenant   limits and the account: every byte and every object is charged here before it exists
 *     space    one namespace of resource ids: a virtual machine's device, or one connection of a process
 *       ctx      one rendering context: the resources attached to it, its sub-contexts, their objects
 *
 * A client's resource id becomes a host id through its space; a context sees only what is attached to it. The host
 * ids come from one pool a back end (struct vgpu_ids), so that two tenants never share one.
 *
 * Threading: none inside. The owner of the tenant serialises its calls (the broker is one thread; the kernel holds
 * the device's lock). Errors: -ENOENT unknown id, -EEXIST id in use, -EDQUOT over a limit, -EINVAL malformed,
 * -ENOMEM out of our own memory. A failed call has changed nothing.
 */
#ifndef VIRT_VGPU_TENANT_H
#define VIRT_VGPU_TENANT_H

#include <lib/list.h>
#include <virt/vgpu/map.h>
#include <virt/vgpu/resource.h>

struct vgpu_limits {
	u64 memory_bytes;   /* charge of all resources and shader texts, see resource.h */
	u64 resource_bytes; /* of one resource */
	u32 resources, contexts, sub_contexts, objects;
	u32 submit_bytes;                         /* of one command stream */
	u32 shader_bytes;                         /* of one shader's text */
	u32 draw_vertices_log2, grid_groups_log2; /* of one draw (with instances) and one dispatch */
	/* Instructions of one draw (each texel of its target once) and of one dispatch, see shader.h: what has no bound
	 * and what is indirect is refused. 0: no such limit, for devices that end what takes too long. */
	u32 work_log2;
};

extern const struct vgpu_limits vgpu_default_limits;

struct vgpu_tenant {
	struct vgpu_limits limits;
	u64 memory, memory_peak; /* charged now, and the highest it was */
	u32 resources, contexts, sub_contexts, objects;
	u64 refused; /* commands refused so far */
	u64 seed;    /* of its maps' hashes */
	/* Who else counts the memory: asked before each charge (-EDQUOT) and told of what is given back. NULL: nobody.
	 */
	int (*charge)(struct vgpu_tenant *t, u64 bytes);
	void (*uncharge)(struct vgpu_tenant *t, u64 bytes);
};

/* Host ids of one back end. */
struct vgpu_ids {
	struct vgpu_map used;
	u32 next;
};

struct vgpu_res {
	u32 id, host_id;
	u32 attached; /* number of contexts that see it */
	u64 bytes;    /* charged: the resource and the client's memory behind it */
	u64 backing;  /* bytes of client memory behind it */
	struct vgpu_res_args args;
	void *owner; /* the front end's: its mapping, its pages */
};

struct vgpu_space {
	struct vgpu_tenant *tenant;
	struct vgpu_ids *ids;
	struct vgpu_map resources; /* id to struct vgpu_res */
	struct list contexts;
};

struct vgpu_ctx {
	struct list link; /* in its space */
	struct vgpu_space *space;
	u32 id, host_id;
	struct vgpu_map attached; /* id to struct vgpu_res */
	struct vgpu_map subs;     /* sub-context id to struct vgpu_sub */
	u32 current_sub;
	bool lost; /* a refused stream: the client's state is no longer what it thinks */
};

#define VGPU_OBJECT_CHARGE 512 /* bytes charged for a state object, besides a shader's text */

void vgpu_tenant_init(struct vgpu_tenant *t, const struct vgpu_limits *limits, u64 seed);
/* Takes bytes from the tenant's limit, or -EDQUOT. */
int __must_check vgpu_charge(struct vgpu_tenant *t, u64 bytes);
void vgpu_uncharge(struct vgpu_tenant *t, u64 bytes);

void vgpu_ids_init(struct vgpu_ids *ids, u64 seed);
void vgpu_ids_free(struct vgpu_ids *ids);
int __must_check vgpu_ids_take(struct vgpu_ids *ids, u32 *id); /* never 0; -ENOMEM */
void vgpu_ids_drop(struct vgpu_ids *ids, u32 id);

void vgpu_space_init(struct vgpu_space *s, struct vgpu_tenant *t, struct vgpu_ids *ids);
/* Destroys every context and resource; release (may be NULL) sees each resource before it goes. */
void vgpu_space_destroy(struct vgpu_space *s, void (*release)(struct vgpu_res *r, void *arg), void *arg);

/* Charges and names a resource with `backing` bytes of client memory. The back end creates it afterwards. */
int __must_check vgpu_res_create(struct vgpu_space *s, u32 id, const struct vgpu_res_args *a, u64 backing,
				 struct vgpu_res **out);
/* Changes the client memory behind r (0: detached) and its charge. */
int __must_check vgpu_res_set_backing(struct vgpu_space *s, struct vgpu_res *r, u64 backing);
void vgpu_res_destroy(struct vgpu_space *s, struct vgpu_res *r); /* detaches it everywhere */
struct vgpu_res *vgpu_res_find(const struct vgpu_space *s, u32 id);

/* A new context with sub-context 0, which every virgl context has. host_id is the caller's. */
int __must_check vgpu_ctx_create(struct vgpu_space *s, u32 id, u32 host_id, struct vgpu_ctx **out);
void vgpu_ctx_destroy(struct vgpu_ctx *c);
struct vgpu_ctx *vgpu_ctx_find(const struct vgpu_space *s, u32 id);
int __must_check vgpu_ctx_attach(struct vgpu_ctx *c, struct vgpu_res *r); /* attaching twice is one attachment */
int __must_check vgpu_ctx_detach(struct vgpu_ctx *c, struct vgpu_res *r);

#endif
