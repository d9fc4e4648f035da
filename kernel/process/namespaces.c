/* SPDX-License-Identifier: MIT
 *
 * Problem: clone, unshare and setns change which instances of names, numbers, mounts and users a task sees, several at
 * once, and with a failure in the middle nothing may have changed.
 *
 * Idea: all new objects and credentials are made first; then pointers are swapped. A new user namespace comes first,
 * because it owns the others and gives the rights to make them.
 *
 * Contract: process/namespaces.h; unshare(2), setns(2), clone(2), namespaces(7) and its pages for each kind.
 *
 * Locks: names_lock for host names; else those of task/ns.h.
 */
#include "process_priv.h"
#include <core/init.h>
#include <core/spin.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <process/hooks.h>
#include <process/namespaces.h>
#include <vfs/vfs.h>

#define IN_SET                                                                                                         \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWTIME)

/* ---- host names ---- */

static struct spinlock names_lock = SPIN_INIT(RANK_LEAF_SPIN);

struct uts_ns uts_first = { .name = { .sysname = "Linux",
				      .nodename = "ostrom",
				      .release = "6.1.0-ostrom",
				      .version = "#1 SMP " __DATE__,
				      .machine = "x86_64",
				      .domainname = "(none)" } };

static struct uts_ns *uts_of(struct ns *n)
{
	return container_of(n, struct uts_ns, ns);
}

void uts_get(struct new_utsname *out)
{
	spin_lock(&names_lock);
	*out = uts_of(ns_current(NS_UTS))->name;
	spin_unlock(&names_lock);
}

int uts_set_name(bool domain, const char *name)
{
	struct uts_ns *u = uts_of(ns_current(NS_UTS));

	if (!ns_capable(u->ns.owner, CAP_SYS_ADMIN))
		return -EPERM;
	spin_lock(&names_lock);
	str_copy(domain ? u->name.domainname : u->name.nodename, name, sizeof(u->name.nodename));
	spin_unlock(&names_lock);
	return 0;
}

static int copy_uts(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct uts_ns *u = kzalloc(sizeof(*u), ALLOC_CHARGED);

	if (!u)
		return -ENOMEM;
	ns_init(&u->ns, NS_UTS, owner);
	spin_lock(&names_lock);
	u->name = uts_of(old)->name;
	spin_unlock(&names_lock);
	*out = &u->ns;
	return 0;
}

static void free_uts(struct ns *n)
{
	kfree(uts_of(n));
}

static const struct ns_kind_ops uts_ops = {
	.name = "uts", .flag = CLONE_NEWUTS, .first = &uts_first.ns, .copy = copy_uts, .free = free_uts
};

const struct process_ipc_hooks *process_ipc_hooks;
const struct process_seccomp_hooks *process_seccomp_hooks;

/* ---- unshare ---- */

static bool is_alone(void)
{
	return READ_ONCE(current->process->nr_threads) == 1;
}

static int check_unshare(u64 f)
{
	const u64 known = IN_SET | CLONE_NEWUSER | CLONE_FS | CLONE_FILES | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM |
			  CLONE_SYSVSEM;

	if (f & ~known)
		return fail(EINVAL, "unshare: flags %#llx", (unsigned long long)(f & ~known));
	if ((f & (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM)) && !is_alone())
		return fail(EINVAL, "unshare: other threads share it");
	if ((f & CLONE_NEWPID) && ns_current(NS_PID) != &pid_ns_current()->ns)
		return fail(EINVAL, "unshare: a namespace of numbers already waits for children");
	return 0;
}

/* New kinds in the set of t, which may be current or a child in the making, owned by c's namespace. */
static int new_set(u64 flags, const struct cred *c, struct task *t, struct ns_set **out)
{
	if ((flags & CLONE_NEWTIME) && !ns_kind_ops(NS_TIME))
		return fail(EINVAL, "there are no time namespaces");
	if (!(c->cap_effective >> CAP_SYS_ADMIN & 1))
		return -EPERM;
	return ns_set_copy((u32)(flags & IN_SET), c->user_ns, t, out);
}

int namespaces_unshare(u64 flags)
{
	struct ns_set *set = NULL;
	struct cred *c = NULL;
	int err = check_unshare(flags);

	if (!err && flags & CLONE_NEWUSER) {
		c = cred_prepare();
		err = c ? user_ns_create(c) : -ENOMEM;
	}
	if (!err && flags & CLONE_FILES)
		err = files_unshare();
	if (!err && flags & (CLONE_FS | CLONE_NEWNS | CLONE_NEWUSER))
		err = fs_unshare();
	if (!err && flags & IN_SET)
		err = new_set(flags, c ? c : current->cred, current, &set);
	if (err) {
		cred_put(c);
		return err;
	}
	if (flags & (CLONE_SYSVSEM | CLONE_NEWIPC) && current->sem_undo)
		process_ipc_hooks->leave(current);
	if (c)
		cred_commit(c);
	if (set)
		ns_set_change(current, set);
	return 0;
}

int namespaces_fork(struct task *t, u64 flags)
{
	struct ns_set *set;
	struct cred *c;
	int err;

	if (flags & CLONE_NEWUSER) {
		c = cred_prepare();
		if (!c)
			return -ENOMEM;
		err = user_ns_create(c);
		if (err) {
			cred_put(c);
			return err;
		}
		cred_put(t->cred);
		t->cred = c;
	}
	if (!(flags & IN_SET)) {
		ns_set_share(t);
		return 0;
	}
	err = new_set(flags, t->cred, t, &set);
	if (!err)
		t->ns = set;
	return err;
}

/* ---- setns ---- */

static int enter_user(struct ns *n)
{
	struct user_ns *u = container_of(n, struct user_ns, ns);
	struct cred *c;

	if (u == current->cred->user_ns || !is_alone() || atomic_read(&((struct fs_context *)current->fs)->refs.n) != 1)
		return -EINVAL;
	if (!ns_capable(u, CAP_SYS_ADMIN))
		return -EPERM;
	c = cred_prepare();
	if (!c)
		return -ENOMEM;
	user_ns_enter(c, u);
	cred_commit(c);
	return 0;
}

int namespaces_enter(struct ns *n, unsigned flags)
{
	const struct ns_kind_ops *ops = ns_kind_ops(n->kind);
	struct ns_set *set;
	int err;

	if (flags && flags != ops->flag)
		return fail(EINVAL, "setns: it is a namespace of kind %s", ops->name);
	if (n->kind == NS_USER)
		return enter_user(n);
	if (!ns_capable(n->owner, CAP_SYS_ADMIN) || !capable_here(CAP_SYS_ADMIN))
		return -EPERM;
	err = ns_set_with(n, &set);
	if (err)
		return err;
	err = ops->enter ? ops->enter(n) : 0;
	if (err) {
		ns_set_drop(set);
		return err;
	}
	ns_set_change(current, set);
	return 0;
}

static void namespaces_init(void)
{
	ns_kind_register(NS_UTS, &uts_ops);
}
PART_INIT(core, namespaces_init);
