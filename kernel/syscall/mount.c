/* SPDX-License-Identifier: MIT
 *
 * Problem: mount(2) is seven operations chosen by flags, in an order that matters.
 *
 * Idea: copy all arguments in, find the target, then one switch over the flags in the order of the manual page.
 *
 * Contract: mount(2), umount2(2), pivot_root(2), and sysfs(2), which names the types.
 *
 * Locks: none of their own; vfs/mount.c has mount_lock.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <task/user_ns.h>
#include <vfs/mount.h>
#include <vfs/uapi.h>

#define PROPAGATION (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

/* Over the mount namespace. */
static bool may_mount(void)
{
	return ns_capable(mount_ns_current()->ns.owner, CAP_SYS_ADMIN);
}

struct mount_args {
	char *source, *type, *data;
	ulong flags;
	struct path at;
};

/* A string that may be absent. */
static int copy_text(const char __user *u, char **out)
{
	ssize_t n;

	if (!u)
		return 0;
	*out = kmalloc(PAGE_SIZE, 0);
	if (!*out)
		return -ENOMEM;
	n = user_get_string(*out, u, PAGE_SIZE);
	return n < 0 ? n : n >= (ssize_t)PAGE_SIZE ? -EINVAL : 0;
}

static int change_propagation(const struct mount_args *a)
{
	if (a->flags & ~(ulong)(PROPAGATION | MS_REC | MS_SILENT) || __builtin_popcountl(a->flags & PROPAGATION) != 1)
		return -EINVAL;
	return mount_set_propagation(&a->at, a->flags & PROPAGATION, a->flags & MS_REC);
}

static int from_source(const struct mount_args *a, bool bind)
{
	struct path from;
	int err;

	if (!a->source || !*a->source)
		return -EINVAL;
	err = path_lookup(AT_FDCWD, a->source, LOOKUP_FOLLOW, &from);
	if (err)
		return err;
	err = bind ? mount_bind(&from, &a->at, a->flags & MS_REC) : mount_move(&from, &a->at);
	path_put(&from);
	return err;
}

static int do_mount(const struct mount_args *a)
{
	if (a->flags & MS_REMOUNT)
		return mount_remount(&a->at, a->flags, a->data, a->flags & MS_BIND);
	if (a->flags & MS_BIND)
		return from_source(a, true);
	if (a->flags & PROPAGATION)
		return change_propagation(a);
	if (a->flags & MS_MOVE)
		return from_source(a, false);
	if (!a->type)
		return -EINVAL;
	return mount_new(a->type, a->source, &a->at, a->flags, a->data);
}

long sys_mount(const char __user *source, const char __user *target, const char __user *type, ulong flags,
	       const void __user *data)
{
	struct mount_args a = { .flags = flags };
	long err;

	if ((flags & MS_MGC_MSK) == MS_MGC_VAL)
		a.flags &= ~(ulong)MS_MGC_MSK;
	err = copy_text(type, &a.type);
	if (!err)
		err = copy_text(source, &a.source);
	if (!err)
		err = copy_text(data, &a.data);
	if (!err)
		err = path_lookup_user(AT_FDCWD, target, LOOKUP_FOLLOW, &a.at);
	if (!err) {
		err = may_mount() ? do_mount(&a) : -EPERM;
		path_put(&a.at);
	}
	kfree(a.data);
	kfree(a.source);
	kfree(a.type);
	return err;
}

long sys_umount2(const char __user *target, int flags)
{
	struct path at;
	long err;

	if (flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW) ||
	    (flags & MNT_EXPIRE && flags & (MNT_FORCE | MNT_DETACH)))
		return -EINVAL;
	err = path_lookup_user(AT_FDCWD, target, flags & UMOUNT_NOFOLLOW ? 0 : LOOKUP_FOLLOW, &at);
	if (err)
		return err;
	err = may_mount() ? mount_umount(&at, flags) : -EPERM;
	path_put(&at);
	return err;
}

long sys_pivot_root(const char __user *unew, const char __user *uold)
{
	struct path new_root, put_old;
	long err;

	if (!may_mount())
		return -EPERM;
	err = path_lookup_user(AT_FDCWD, unew, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &new_root);
	if (err)
		return err;
	err = path_lookup_user(AT_FDCWD, uold, LOOKUP_FOLLOW | LOOKUP_DIRECTORY, &put_old);
	if (!err) {
		err = mount_pivot(&new_root, &put_old);
		path_put(&put_old);
	}
	path_put(&new_root);
	return err;
}

long sys_sysfs(int option, ulong arg1, ulong arg2)
{
	char name[64];
	const char *found;
	ssize_t n;

	switch (option) {
	case 1:
		n = user_get_string(name, (const char __user *)arg1, sizeof(name));
		return n < 0 ? n : n >= (ssize_t)sizeof(name) ? -EINVAL : fs_index(name);
	case 2:
		found = fs_name((unsigned)arg1);
		return found ? user_put((void __user *)arg2, found, strlen(found) + 1) : -EINVAL;
	case 3: return fs_count();
	}
	return -EINVAL;
}
