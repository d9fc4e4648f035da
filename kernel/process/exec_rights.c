/* SPDX-License-Identifier: MIT
 *
 * Problem: a program may come with rights of its own: set-user-ID and set-group-ID bits, and capabilities in the
 * extended attribute security.capability. What a process has after exec follows from its own rights, the file's and
 * many switches.
 *
 * Idea: one function edits a copy of the credentials by the formulas of the manual:
 *      P'(ambient)   = file is privileged ? 0 : P(ambient)
 *      P'(permitted) = (P(inheritable) & F(inheritable)) | (F(permitted) & P(bounding)) | P'(ambient)
 *      P'(effective) = F(effective) ? P'(permitted) : P'(ambient)
 * root counts as a file with all capabilities, unless the securebits say no. Whoever opens a file for writing, cuts it
 * or gives it away takes its capabilities from it (vfs), as Linux does at the first write.
 *
 * Contract: capabilities(7), execve(2). Attribute: struct vfs_cap_data of linux/capability.h, revisions 1 to 3, little
 * endian; revision 3 is only for the user namespace whose root it names.
 *
 * Locks: the inode's lock for reading while the attribute is read.
 */
#include <linux/capability.h>
#include <linux/mount.h>
#include <linux/securebits.h>
#include <linux/xattr.h>
#include <process/ptrace.h>
#include <task/user_ns.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "process_priv.h"

struct file_caps {
	u64 permitted, inheritable;
	bool effective, there;
};

static int parse(const struct vfs_ns_cap_data *d, ssize_t n, struct file_caps *out)
{
	u32 revision = d->magic_etc & VFS_CAP_REVISION_MASK;
	unsigned words = revision == VFS_CAP_REVISION_1 ? VFS_CAP_U32_1 : VFS_CAP_U32_2;
	ssize_t want = revision == VFS_CAP_REVISION_1   ? XATTR_CAPS_SZ_1
		       : revision == VFS_CAP_REVISION_2 ? XATTR_CAPS_SZ_2
		       : revision == VFS_CAP_REVISION_3 ? XATTR_CAPS_SZ_3
							: -1;

	if (n != want)
		return -EINVAL;
	if (revision == VFS_CAP_REVISION_3 && !uid_eq(KUID(d->rootid), user_in(0)))
		return 0; /* of another namespace */
	for (unsigned i = 0; i < words; i++) {
		out->permitted |= (u64)d->data[i].permitted << 32 * i;
		out->inheritable |= (u64)d->data[i].inheritable << 32 * i;
	}
	out->effective = d->magic_etc & VFS_CAP_FLAGS_EFFECTIVE;
	out->there = true;
	return 0;
}

static int read_caps(struct inode *i, struct file_caps *out)
{
	struct vfs_ns_cap_data d;
	ssize_t n;

	*out = (struct file_caps){ 0 };
	if (!i->ops || !i->ops->getxattr)
		return 0;
	read_lock(&i->lock);
	n = i->ops->getxattr(i, XATTR_NAME_CAPS, &d, sizeof(d));
	read_unlock(&i->lock);
	if (n == -ENODATA || n == -EOPNOTSUPP)
		return 0;
	return n < 0 ? n == -ERANGE ? -EINVAL : (int)n : parse(&d, n, out);
}

/* Whether the file's rights count at all. */
static bool may_gain(const struct file *f, const struct cred *c)
{
	return !(f->path.mnt->flags & MS_NOSUID) && !c->no_new_privs &&
	       (!ptrace_is_traced(current) || capable_here(CAP_SYS_PTRACE));
}

static void take_ids(const struct inode *i, struct cred *c)
{
	if (i->mode & S_ISUID)
		c->euid = i->uid;
	if ((i->mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		c->egid = i->gid;
}

int exec_rights(struct file *f, struct cred *c, bool *secure)
{
	const struct cred *old = current->cred;
	bool root_rules = !(c->securebits & SECBIT_NOROOT), ids_changed, is_root;
	struct file_caps caps = { 0 };
	int err;

	if (may_gain(f, c)) {
		take_ids(f->inode, c);
		err = read_caps(f->inode, &caps);
		if (err)
			return err;
	}
	ids_changed = !uid_eq(c->euid, old->euid) || !gid_eq(c->egid, old->egid);
	is_root = uid_eq(c->euid, user_in(0)) || uid_eq(c->uid, user_in(0));
	if (caps.there && is_root && !uid_eq(c->uid, user_in(0)))
		root_rules = false; /* set-user-ID root and capabilities: the file says exactly what it needs */
	if (root_rules && is_root) {
		caps.permitted = caps.inheritable = ~0ULL;
		caps.effective = uid_eq(c->euid, user_in(0));
	}
	if (ids_changed || caps.there)
		c->cap_ambient = 0;
	c->cap_permitted =
		(c->cap_inheritable & caps.inheritable) | (caps.permitted & c->cap_bounding) | c->cap_ambient;
	c->cap_effective = caps.effective ? c->cap_permitted : c->cap_ambient;
	if (caps.there && caps.effective && !(root_rules && is_root) && caps.permitted & ~c->cap_permitted)
		return fail(EPERM, "exec: the bounding set lacks capabilities of the file");
	*secure = ids_changed || !uid_eq(c->uid, c->euid) || !gid_eq(c->gid, c->egid) ||
		  (caps.there && !uid_eq(c->uid, user_in(0)) && (caps.effective || c->cap_permitted & ~c->cap_ambient));
	c->suid = c->fsuid = c->euid;
	c->sgid = c->fsgid = c->egid;
	c->securebits &= ~(u32)SECBIT_KEEP_CAPS;
	return 0;
}
