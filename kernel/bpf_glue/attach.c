/* SPDX-License-Identifier: MIT
 *
 * Problem: programs are attached to cgroups by descriptor, by link and by flags; a cgroup may end before its links, and
 * a link before its cgroup; a hook without any program must cost nothing.
 *
 * Idea: each tenant has a node of bpf/cgroup.h; one mutex serialises every change of attachments. A link knows its
 * tenant while both live: the end of either takes the program out. After each change the hook's branch is patched in or
 * out by whether anything is attached at it anywhere.
 *
 * Contract: BPF_PROG_ATTACH, DETACH, QUERY and LINK_CREATE as in Linux 6.1. What the hooks' callers see: hooks.c. A
 * hook that nothing calls yet refuses programs (EOPNOTSUPP) rather than never to run them.
 *
 * Locks: `lock` (RANK_ATTACH); runners read tenant->bpf and effective arrays under RCU.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <bpf/cgroup.h>
#include <cgroup/cgroup.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <task/task.h>
#include <task/tenant.h>

#include "attach_priv.h"

struct cgroup_link {
	struct bpf_link base;
	struct tenant *tenant; /* lock; counted; NULL: the cgroup has gone, or the link was detached */
	u32 hook, attach_type;
	struct list all; /* lock */
};

static struct mutex lock = MUTEX_INIT(lock, RANK_ATTACH);
static LIST(links);
static bool key_raised[BPF_CGROUP_HOOKS]; /* lock */

/* Patches a hook in or out. */
static void sync_key(u32 hook)
{
	struct static_key *key = bpf_hook_key(hook);
	bool want = bpf_cgroup_users[hook] != 0;

	if (!key || want == key_raised[hook])
		return;
	if (want)
		static_key_inc(key);
	else
		static_key_dec(key);
	key_raised[hook] = want;
}

/* ---- which program goes where ---------------------------------------------------------------------------------- */

static u32 type_for(u32 attach_type)
{
	switch (attach_type) {
	case BPF_CGROUP_INET_INGRESS:
	case BPF_CGROUP_INET_EGRESS: return BPF_PROG_TYPE_CGROUP_SKB;
	case BPF_CGROUP_INET_SOCK_CREATE:
	case BPF_CGROUP_INET_SOCK_RELEASE:
	case BPF_CGROUP_INET4_POST_BIND:
	case BPF_CGROUP_INET6_POST_BIND: return BPF_PROG_TYPE_CGROUP_SOCK;
	case BPF_CGROUP_INET4_BIND:
	case BPF_CGROUP_INET6_BIND:
	case BPF_CGROUP_INET4_CONNECT:
	case BPF_CGROUP_INET6_CONNECT:
	case BPF_CGROUP_INET4_GETPEERNAME:
	case BPF_CGROUP_INET6_GETPEERNAME:
	case BPF_CGROUP_INET4_GETSOCKNAME:
	case BPF_CGROUP_INET6_GETSOCKNAME:
	case BPF_CGROUP_UDP4_SENDMSG:
	case BPF_CGROUP_UDP6_SENDMSG:
	case BPF_CGROUP_UDP4_RECVMSG:
	case BPF_CGROUP_UDP6_RECVMSG: return BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
	case BPF_CGROUP_SOCK_OPS: return BPF_PROG_TYPE_SOCK_OPS;
	case BPF_CGROUP_DEVICE: return BPF_PROG_TYPE_CGROUP_DEVICE;
	case BPF_CGROUP_SYSCTL: return BPF_PROG_TYPE_CGROUP_SYSCTL;
	case BPF_CGROUP_GETSOCKOPT:
	case BPF_CGROUP_SETSOCKOPT: return BPF_PROG_TYPE_CGROUP_SOCKOPT;
	}
	return BPF_PROG_TYPE_UNSPEC;
}

static int check_type(const struct bpf_prog *prog, u32 attach_type)
{
	if (prog->type != type_for(attach_type))
		return fail(EINVAL, "a program of type %u at attach type %u", prog->type, attach_type);
	switch (prog->type) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
		return prog->attach_type == attach_type ? 0
							: fail(EINVAL, "loaded for attach type %u", prog->attach_type);
	case BPF_PROG_TYPE_CGROUP_SKB:
		if (!capable(CAP_NET_ADMIN))
			return -EPERM;
		return prog->hook_only && prog->attach_type != attach_type ? -EINVAL : 0;
	}
	return 0;
}

/* ---- attaching ----------------------------------------------------------------------------------------------------
 */

/* The hook of an attach type and the node of the cgroup behind fd; takes the lock and a reference on the tenant. */
static int begin(u32 attach_type, s32 fd, u32 *hook, struct tenant **t)
{
	int err, h = bpf_cgroup_hook(attach_type);
	struct bpf_cgroup_node *node;

	if (h < 0)
		return fail(EINVAL, "attach type %u", attach_type);
	err = cgroup_tenant_of_fd(fd, t);
	if (err)
		return err;
	mutex_lock(&lock);
	*hook = (u32)h;
	node = (*t)->bpf;
	if (node) {
		node->id = cgroup_id(*t);
		return 0;
	}
	mutex_unlock(&lock);
	tenant_put(*t);
	return fail(ENODEV, "the cgroup has been removed");
}

static int end(struct tenant *t, int result)
{
	mutex_unlock(&lock);
	tenant_put(t);
	return result;
}

int bpf_attach(struct bpf_call *c, const union bpf_attr *a)
{
	u32 flags = a->attach_flags, hook;
	struct bpf_prog *prog, *replace = NULL;
	struct tenant *t;
	int err;

	if (flags & ~(u32)(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE))
		return fail(EINVAL, "attach flags: %#x", flags);
	if (type_for(a->attach_type) == BPF_PROG_TYPE_UNSPEC)
		return fail(EINVAL, "attach type %u", a->attach_type);
	prog = bpf_call_object(c, (s32)a->attach_bpf_fd, BPF_OBJ_PROG, &err);
	err = err ? err : check_type(prog, a->attach_type);
	if (!err && flags & BPF_F_ALLOW_MULTI && flags & BPF_F_REPLACE)
		replace = bpf_call_object(c, (s32)a->replace_bpf_fd, BPF_OBJ_PROG, &err);
	err = err ? err : begin(a->attach_type, (s32)a->target_fd, &hook, &t);
	if (err)
		return err;
	if (!bpf_hook_key(hook))
		return end(t, fail(EOPNOTSUPP, "attach type %u has no caller yet", a->attach_type));
	err = bpf_cgroup_attach(t->bpf, hook, prog, NULL, replace, flags);
	sync_key(hook);
	return end(t, err);
}

int bpf_detach(struct bpf_call *c, const union bpf_attr *a)
{
	struct bpf_prog *prog;
	struct tenant *t;
	u32 hook;
	int err;

	if (type_for(a->attach_type) == BPF_PROG_TYPE_UNSPEC)
		return fail(EINVAL, "attach type %u", a->attach_type);
	prog = bpf_call_object(c, (s32)a->attach_bpf_fd, BPF_OBJ_PROG, &err);
	if (prog && prog->type != type_for(a->attach_type))
		prog = NULL;
	err = begin(a->attach_type, (s32)a->target_fd, &hook, &t);
	if (err)
		return err;
	err = bpf_cgroup_detach(t->bpf, hook, prog, NULL);
	sync_key(hook);
	return end(t, err);
}

/* ---- asking --------------------------------------------------------------------------------------------------------
 */

#define QUERY_FIELD(f) (uattr + offsetof(union bpf_attr, query.f))

static int put_u32(u64 user, u32 v)
{
	return user_put((void __user *)(ulong)user, &v, sizeof(v));
}

static int put_ids(const union bpf_attr *a, const u32 *ids, u32 n, u32 flags)
{
	int err = user_put((void __user *)(ulong)a->query.prog_ids, ids, n * sizeof(*ids));

	for (u32 i = 0; !err && i < n && a->query.prog_attach_flags; i++)
		err = put_u32(a->query.prog_attach_flags + 4ULL * i, flags);
	return err;
}

int bpf_query(const union bpf_attr *a, u64 uattr)
{
	bool effective = a->query.query_flags & BPF_F_QUERY_EFFECTIVE;
	u32 room = min(a->query.prog_cnt, 4096U), *ids, hook, flags, n;
	struct tenant *t;
	int err;

	if (!capable(CAP_NET_ADMIN))
		return -EPERM;
	if (a->query.query_flags & ~(u32)BPF_F_QUERY_EFFECTIVE)
		return -EINVAL;
	ids = kcalloc(room + 1, sizeof(*ids), 0);
	err = ids ? begin(a->query.attach_type, (s32)a->query.target_fd, &hook, &t) : -ENOMEM;
	if (err) {
		kfree(ids);
		return err;
	}
	n = bpf_cgroup_query(t->bpf, hook, effective, ids, room, &flags);
	(void)end(t, 0);
	err = put_u32(QUERY_FIELD(attach_flags), flags);
	err = err ? err : put_u32(QUERY_FIELD(prog_cnt), n);
	if (!err && room && a->query.prog_ids && n) {
		err = put_ids(a, ids, min(n, room), flags);
		if (!err && n > room)
			err = -ENOSPC;
	}
	kfree(ids);
	return err;
}

/* ---- links ---------------------------------------------------------------------------------------------------------
 */

static struct cgroup_link *link_of(const struct bpf_link *l)
{
	return container_of(l, struct cgroup_link, base);
}

/* lock held. The tenant's reference goes to the caller. */
static struct tenant *link_cut(struct cgroup_link *l)
{
	struct tenant *t = l->tenant;

	assert(mutex_is_held(&lock));
	if (!t)
		return NULL;
	if (t->bpf && bpf_cgroup_detach(t->bpf, l->hook, NULL, l))
		log_warn("bpf: no memory to detach a link; its program stays until the cgroup goes");
	l->tenant = NULL;
	list_del_init(&l->all);
	sync_key(l->hook);
	return t;
}

static int link_detach(struct bpf_link *base)
{
	struct tenant *t;

	mutex_lock(&lock);
	t = link_cut(link_of(base));
	mutex_unlock(&lock);
	tenant_put(t);
	return 0;
}

static void link_release(struct bpf_link *base)
{
	(void)link_detach(base);
	bpf_prog_put(base->prog);
	kfree(link_of(base));
}

static int link_update(struct bpf_link *base, struct bpf_prog *prog, struct bpf_prog *old)
{
	struct cgroup_link *l = link_of(base);
	int err = 0;

	mutex_lock(&lock);
	if (!l->tenant)
		err = -ENOLINK;
	else if (old && old != base->prog)
		err = -EPERM;
	else if (prog->type != base->prog->type)
		err = -EINVAL;
	err = err ? err : bpf_cgroup_exchange(l->tenant->bpf, l->hook, l, prog);
	if (!err) {
		old = base->prog;
		bpf_prog_get(prog);
		base->prog = prog;
		bpf_prog_put(old);
	}
	mutex_unlock(&lock);
	return err;
}

static void link_info(const struct bpf_link *base, struct bpf_link_info *info)
{
	struct cgroup_link *l = link_of(base);

	mutex_lock(&lock);
	info->cgroup.cgroup_id = l->tenant ? cgroup_id(l->tenant) : 0;
	info->cgroup.attach_type = l->attach_type;
	mutex_unlock(&lock);
}

static const struct bpf_link_ops link_ops = {
	.release = link_release, .detach = link_detach, .update = link_update, .info = link_info
};

static struct cgroup_link *new_link(struct bpf_prog *prog, u32 attach_type)
{
	struct cgroup_link *l = kzalloc(sizeof(*l), 0);

	if (!l)
		return NULL;
	l->base.ops = &link_ops;
	l->base.type = BPF_LINK_TYPE_CGROUP;
	refcount_set(&l->base.refs, 1);
	bpf_prog_get(prog);
	l->base.prog = prog;
	l->attach_type = attach_type;
	list_init(&l->all);
	return l;
}

int bpf_link_create(struct bpf_call *c, const union bpf_attr *a)
{
	struct bpf_prog *prog;
	struct cgroup_link *l;
	struct tenant *t;
	int err;

	prog = bpf_call_object(c, (s32)a->link_create.prog_fd, BPF_OBJ_PROG, &err);
	if (err)
		return err;
	if (a->link_create.flags)
		return fail(EINVAL, "link flags: %#x", a->link_create.flags);
	err = check_type(prog, a->link_create.attach_type);
	l = err ? NULL : new_link(prog, a->link_create.attach_type);
	if (!l)
		return err ? err : -ENOMEM;
	err = begin(l->attach_type, (s32)a->link_create.target_fd, &l->hook, &t);
	if (!err) {
		err = bpf_hook_key(l->hook) ? bpf_cgroup_attach(t->bpf, l->hook, prog, l, NULL, BPF_F_ALLOW_MULTI)
					    : fail(EOPNOTSUPP, "attach type %u has no caller yet", l->attach_type);
		if (!err) {
			tenant_get(t);
			l->tenant = t;
			list_add_tail(&l->all, &links);
		}
		sync_key(l->hook);
		(void)end(t, 0);
	}
	err = err ? err : bpf_link_number(&l->base);
	err = err ? err : bpf_file_install(BPF_OBJ_LINK, &l->base, 0);
	if (err < 0)
		bpf_object_put(BPF_OBJ_LINK, &l->base);
	return err;
}

/* ---- tenants come and go
 * --------------------------------------------------------------------------------------------- */

static int tenant_created(struct tenant *t)
{
	struct bpf_cgroup_node *n = kzalloc(sizeof(*n), ALLOC_CHARGED);
	int err = n ? 0 : -ENOMEM;

	if (err)
		return err;
	mutex_lock(&lock);
	err = bpf_cgroup_add(n, t->parent->bpf);
	if (!err)
		rcu_assign(t->bpf, n);
	mutex_unlock(&lock);
	if (err)
		kfree(n);
	return err;
}

static void free_node(void *n)
{
	kfree(n);
}

/* Its sockets may live on: from now on they follow the ancestors (hooks.c). */
static void tenant_removed(struct tenant *t)
{
	struct bpf_cgroup_node *n = t->bpf;
	struct cgroup_link *l, *next;
	u32 cut = 0;

	mutex_lock(&lock);
	list_for_each_entry_safe (l, next, &links, all)
		if (l->tenant == t) {
			l->tenant = NULL;
			list_del_init(&l->all);
			cut++;
		}
	rcu_assign(t->bpf, NULL);
	bpf_cgroup_remove(n);
	for (u32 h = 0; h < BPF_CGROUP_HOOKS; h++)
		sync_key(h);
	mutex_unlock(&lock);
	bpf_env.call_rcu(n, free_node);
	while (cut--)
		tenant_put(t);
}

static struct tenant_watcher watcher = { .created = tenant_created, .removed = tenant_removed };
static struct bpf_cgroup_node root_node;

void bpf_attach_init(void)
{
	ensure(!bpf_cgroup_add(&root_node, NULL));
	tenant_root.bpf = &root_node;
	tenant_watcher_register(&watcher);
}
