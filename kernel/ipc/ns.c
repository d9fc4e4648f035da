/* SPDX-License-Identifier: MIT
 *
 * Problem: segments, semaphores and queues have numbers and keys that live longer than processes, are looked up by
 * both, must not be mistaken for a removed one's successor, and exist once a namespace.
 *
 * Idea: one table a kind and namespace. A slot is taken in turn, and the number carries the turn, so that a number
 * comes back only after all slots have been used. Two xarrays find an object by slot and by key; finding gives a
 * reference, and who then locks the object looks whether it has been removed meanwhile.
 *
 * Contract: ipc_priv.h. Rights: sysvipc(7): owner and creator have the upper three bits, their groups the middle ones.
 *
 * Locks: table->lock, innermost here but for memory; never with an object's lock.
 */
#include <core/init.h>
#include <linux/sched.h>
#include <process/hooks.h>
#include <vfs/cache.h>
#include "ipc_priv.h"

static struct ipc_ns first_ns;

struct ipc_ns *ipc_ns_current(void)
{
	return container_of(ns_current(NS_IPC), struct ipc_ns, ns);
}

/* ---- rights ---------------------------------------------------------------------------------------------- */

int ipc_may(const struct ipc_object *o, unsigned mode)
{
	const struct cred *c = current->cred;
	unsigned wanted = (mode >> 6 | mode >> 3 | mode) & 7, granted = o->mode;

	if (uid_eq(c->euid, o->cuid) || uid_eq(c->euid, o->uid))
		granted >>= 6;
	else if (in_group(c, o->cgid) || in_group(c, o->gid))
		granted >>= 3;
	if ((wanted & ~granted & 7) && !ns_capable(o->table->ns->ns.owner, CAP_IPC_OWNER))
		return -EACCES;
	return 0;
}

int ipc_may_change(const struct ipc_object *o)
{
	const struct cred *c = current->cred;

	if (uid_eq(c->euid, o->cuid) || uid_eq(c->euid, o->uid) || ns_capable(o->table->ns->ns.owner, CAP_SYS_ADMIN))
		return 0;
	return -EPERM;
}

void ipc_fill_perm(const struct ipc_object *o, struct ipc64_perm *out)
{
	*out = (struct ipc64_perm){ .key = o->key,
				    .uid = user_out(o->uid),
				    .gid = group_out(o->gid),
				    .cuid = user_out(o->cuid),
				    .cgid = group_out(o->cgid),
				    .mode = o->mode,
				    .seq = o->turn };
}

int ipc_set_perm(struct ipc_object *o, const struct ipc64_perm *in)
{
	kuid_t uid = user_in(in->uid);
	kgid_t gid = group_in(in->gid);

	if (uid.v == ID_NONE || gid.v == ID_NONE)
		return -EINVAL;
	o->uid = uid;
	o->gid = gid;
	o->mode = (o->mode & ~0777) | (in->mode & 0777);
	o->changed = ipc_now();
	return 0;
}

/* ---- the tables -------------------------------------------------------------------------------------------- */

void ipc_put(struct ipc_object *o)
{
	if (o && refcount_dec_and_test(&o->refs))
		o->table->free(o);
}

static u32 key_index(int key)
{
	return (u32)key;
}

/* The next free slot after the last one given out, or the one that was wished for. Locked; one is free. */
static unsigned pick_slot(struct ipc_table *t)
{
	unsigned slot = t->last + 1;

	if (t->next_id >= 0) {
		slot = t->next_id % IPC_SLOTS;
		if (!xa_load(&t->by_slot, slot)) {
			t->turn = t->next_id / IPC_SLOTS;
			t->next_id = -1;
			t->last = slot;
			return slot;
		}
		t->next_id = -1;
		slot = t->last + 1;
	}
	for (;; slot++) {
		if (slot >= IPC_SLOTS) {
			slot = 0;
			t->turn = (t->turn + 1) % (INT32_MAX / IPC_SLOTS);
		}
		if (!xa_load(&t->by_slot, slot))
			break;
	}
	t->last = slot;
	return slot;
}

static int insert(struct ipc_table *t, struct ipc_object *o, u32 limit)
{
	unsigned slot;
	int err;

	if (t->used >= min(limit, (u32)IPC_SLOTS))
		return -ENOSPC;
	slot = pick_slot(t);
	o->turn = t->turn;
	o->id = t->turn * IPC_SLOTS + slot;
	err = xa_store(&t->by_slot, slot, o, NULL);
	if (!err && o->key != IPC_PRIVATE) {
		err = xa_store(&t->by_key, key_index(o->key), o, NULL);
		if (err)
			xa_erase(&t->by_slot, slot);
	}
	t->used += !err;
	return err;
}

void ipc_drop_key(struct ipc_object *o)
{
	struct ipc_table *t = o->table;

	spin_lock(&t->lock);
	if (o->key != IPC_PRIVATE && xa_load(&t->by_key, key_index(o->key)) == o)
		xa_erase(&t->by_key, key_index(o->key));
	WRITE_ONCE(o->key, IPC_PRIVATE);
	spin_unlock(&t->lock);
}

void ipc_take_out(struct ipc_object *o)
{
	struct ipc_table *t = o->table;
	bool ours;

	spin_lock(&t->lock);
	ours = xa_load(&t->by_slot, o->id % IPC_SLOTS) == o;
	if (ours) {
		xa_erase(&t->by_slot, o->id % IPC_SLOTS);
		if (o->key != IPC_PRIVATE && xa_load(&t->by_key, key_index(o->key)) == o)
			xa_erase(&t->by_key, key_index(o->key));
		t->used--;
	}
	spin_unlock(&t->lock);
	if (ours)
		ipc_put(o);
}

int ipc_find_slot(struct ipc_ns *ns, unsigned kind, int slot, struct ipc_object **out)
{
	struct ipc_table *t = &ns->table[kind];
	struct ipc_object *o = NULL;

	spin_lock(&t->lock);
	if (slot >= 0)
		o = xa_load(&t->by_slot, slot % IPC_SLOTS);
	if (o)
		refcount_inc(&o->refs);
	spin_unlock(&t->lock);
	*out = o;
	return o ? 0 : -EINVAL;
}

int ipc_find(struct ipc_ns *ns, unsigned kind, int id, struct ipc_object **out)
{
	int err = id < 0 ? -EINVAL : ipc_find_slot(ns, kind, id, out);

	if (!err && (*out)->id != id) {
		ipc_put(*out);
		err = -EINVAL;
	}
	return err;
}

int ipc_highest_slot(struct ipc_table *t)
{
	u64 at, highest = 0;
	void *o;

	spin_lock(&t->lock);
	xa_for_each (&t->by_slot, at, o)
		highest = at;
	spin_unlock(&t->lock);
	return highest;
}

void ipc_for_each(unsigned kind, void (*fn)(struct ipc_object *o, void *arg), void *arg)
{
	struct ipc_table *t = &ipc_ns_current()->table[kind];

	for (u64 at = 0;; at++) {
		struct ipc_object *o;

		spin_lock(&t->lock);
		o = xa_find(&t->by_slot, &at, IPC_SLOTS - 1);
		if (o)
			refcount_inc(&o->refs);
		spin_unlock(&t->lock);
		if (!o)
			return;
		fn(o, arg);
		ipc_put(o);
	}
}

static int have(struct ipc_object *o, const struct ipc_wish *w)
{
	int err;

	if ((w->flags & IPC_CREAT) && (w->flags & IPC_EXCL))
		return -EEXIST;
	err = w->check(o, w->arg);
	if (!err)
		err = ipc_may(o, w->flags & 0777);
	return err ? err : o->id;
}

static int create(struct ipc_ns *ns, unsigned kind, const struct ipc_wish *w, struct ipc_object **out)
{
	struct ipc_object *o;
	int err = w->make(ns, w->arg, &o);

	if (err)
		return err;
	refcount_set(&o->refs, 1);
	spin_init(&o->lock, RANK_SUBSYS_SPIN);
	o->table = &ns->table[kind];
	o->key = w->key;
	o->uid = o->cuid = current->cred->euid;
	o->gid = o->cgid = current->cred->egid;
	o->mode = w->flags & 0777;
	o->changed = ipc_now();
	*out = o;
	return 0;
}

long ipc_get(struct ipc_ns *ns, unsigned kind, const struct ipc_wish *w)
{
	struct ipc_table *t = &ns->table[kind];
	struct ipc_object *o, *fresh = NULL;
	int result;

	for (;;) {
		spin_lock(&t->lock);
		o = w->key == IPC_PRIVATE ? NULL : xa_load(&t->by_key, key_index(w->key));
		if (o) {
			refcount_inc(&o->refs);
			spin_unlock(&t->lock);
			result = have(o, w);
			ipc_put(o);
			break;
		}
		if (fresh) {
			result = insert(t, fresh, w->limit);
			if (!result) {
				result = fresh->id;
				fresh = NULL;
			}
			spin_unlock(&t->lock);
			break;
		}
		spin_unlock(&t->lock);
		if (w->key != IPC_PRIVATE && !(w->flags & IPC_CREAT))
			return -ENOENT;
		if (READ_ONCE(t->used) >= w->limit)
			return -ENOSPC;
		result = create(ns, kind, w, &fresh);
		if (result)
			return result;
	}
	ipc_put(fresh);
	return result;
}

/* ---- namespaces ------------------------------------------------------------------------------------------- */

static void ns_setup(struct ipc_ns *n)
{
	static void (*const frees[])(struct ipc_object *) = { shm_free, sem_free, msg_free };

	for (unsigned i = 0; i < IPC_KINDS; i++) {
		struct ipc_table *t = &n->table[i];

		spin_init(&t->lock, RANK_ICACHE);
		xa_init(&t->by_slot, &vfs_xa_mem);
		xa_init(&t->by_key, &vfs_xa_mem);
		t->last = -1U;
		t->next_id = -1;
		t->ns = n;
		t->free = frees[i];
	}
	n->shm_max_bytes = n->shm_max_pages = ~0ULL - (1UL << 24);
	n->shm_max = 4096;
	n->sem_per_set = 32000;
	n->sem_total = 1024000000;
	n->sem_ops = 500;
	n->sem_sets = 32000;
	n->msg_bytes = 8192;
	n->msg_queue_bytes = 16384;
	n->msg_queues = 32000;
	n->mq_queues = 256;
	n->mq_messages = n->mq_messages_default = 10;
	n->mq_bytes = n->mq_bytes_default = 8192;
}

static int ns_copy(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct ipc_ns *n = kzalloc(sizeof(*n), ALLOC_CHARGED);
	int err;

	if (!n)
		return -ENOMEM;
	ns_setup(n);
	err = mq_ns_init(n);
	if (err) {
		kfree(n);
		return err;
	}
	ns_init(&n->ns, NS_IPC, owner);
	*out = &n->ns;
	return 0;
}

/* Nobody is left who could have something of it open or attached in a way that needs the namespace. */
static void ns_free(struct ns *ns)
{
	struct ipc_ns *n = container_of(ns, struct ipc_ns, ns);

	for (unsigned i = 0; i < IPC_KINDS; i++) {
		struct ipc_object *o;
		u64 at = 0;

		while ((o = xa_find(&n->table[i].by_slot, &at, IPC_SLOTS - 1)))
			ipc_take_out(o);
	}
	mq_ns_end(n);
	kfree(n);
}

/* Semaphore adjustments are for the namespace in which they were made. */
static int ns_enter(struct ns *ns)
{
	if (current->sem_undo)
		process_ipc_hooks->leave(current);
	return 0;
}

static const struct ns_kind_ops ops = {
	.name = "ipc", .flag = CLONE_NEWIPC, .first = &first_ns.ns, .copy = ns_copy, .enter = ns_enter, .free = ns_free
};

static void ipc_init(void)
{
	ns_setup(&first_ns);
	ns_kind_register(NS_IPC, &ops);
	ensure(!mq_ns_init(&first_ns));
}
PART_INIT(core, ipc_init);
