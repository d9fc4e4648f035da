/* SPDX-License-Identifier: MIT
 *
 * Problem: mount(2) does all in one call, on strings; the newer calls make a file system, a mount and its place one
 * after the other, on descriptors.
 *
 * Idea: fsopen's descriptor gathers the options as mount(2) would have had them, as one text; CREATE makes the super of
 * it. What fsmount and open_tree give are floating mounts (vfs/mount.h). mount_setattr translates attributes to MS_*.
 *
 *      fsopen --SET_*--> gathering --CREATE--> made --fsmount--> done
 *      fspick ---------> gathering --RECONFIGURE--> gathering
 *
 * Contract: the manual pages of util-linux' and Linux' developers (fsopen(2) ...), linux/mount.h. A wrong option is
 * told by CREATE, not by SET_*. No id-mapped mounts, no MOUNT_ATTR_NOSYMFOLLOW: -EINVAL.
 *
 * Locks: config->lock (RANK_FILE_POS) for the state of one descriptor; vfs has mount_lock.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/mount.h>
#include <task/mutex.h>
#include <task/user_ns.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/uapi.h>

#define KEY_BYTES   256
#define SUPER_FLAGS (MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC | MS_LAZYTIME)
#define ATTRS                                                                                                          \
	(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC | MOUNT_ATTR__ATIME |            \
	 MOUNT_ATTR_NODIRATIME)

struct config {
	struct mutex lock;
	enum { GATHERING, MADE, DONE } state;
	char type[32];
	char *source, *data; /* of a page; NULL: nothing yet */
	unsigned flags;
	struct super *super; /* MADE, counted; picked: the one to change, held by `at` */
	struct dentry *root;
	struct path at;
};

static bool may_mount(void)
{
	return ns_capable(mount_ns_current()->ns.owner, CAP_SYS_ADMIN);
}

static void config_release(struct file *f)
{
	struct config *c = f->priv;

	if (c->root) {
		dentry_put(c->root);
		super_put(c->super);
	}
	if (c->at.mnt)
		path_put(&c->at);
	kfree(c->source);
	kfree(c->data);
	kfree(c);
}

/* What went wrong is told by errno alone. */
static ssize_t config_read(struct io *io)
{
	return -ENODATA;
}

static const struct file_ops config_ops = { .read = config_read, .release = config_release, .llseek = no_llseek };

/* Takes over what c holds, also on failure. */
static long publish_config(struct config *c, bool cloexec)
{
	struct file *f;
	int err;

	mutex_init(&c->lock, RANK_FILE_POS);
	err = file_anon("[fscontext]", &config_ops, c, O_RDWR, &f);
	if (err) {
		config_release(&(struct file){ .priv = c });
		return err;
	}
	return fd_publish(f, cloexec ? O_CLOEXEC : 0);
}

static unsigned lookup_flags(unsigned follow, unsigned empty)
{
	return (follow ? LOOKUP_FOLLOW : 0) | (empty ? LOOKUP_EMPTY : 0);
}

/* ---- fsopen, fspick -------------------------------------------------------------------------------------------- */

long sys_fsopen(const char __user *fsname, u32 flags)
{
	struct config *c;
	ssize_t n;

	if (!may_mount())
		return -EPERM;
	if (flags & ~FSOPEN_CLOEXEC)
		return -EINVAL;
	c = kzalloc(sizeof(*c), ALLOC_CHARGED);
	if (!c)
		return -ENOMEM;
	n = user_get_string(c->type, fsname, sizeof(c->type));
	if (n < 0 || n >= (ssize_t)sizeof(c->type) || !fs_find(c->type) || fs_find(c->type)->flags & FS_KERNEL_ONLY) {
		kfree(c);
		return n < 0 ? n : -ENODEV;
	}
	return publish_config(c, flags & FSOPEN_CLOEXEC);
}

long sys_fspick(int dirfd, const char __user *path, u32 flags)
{
	struct config *c;
	struct path at;
	int err;

	if (!may_mount())
		return -EPERM;
	if (flags & ~(FSPICK_CLOEXEC | FSPICK_SYMLINK_NOFOLLOW | FSPICK_NO_AUTOMOUNT | FSPICK_EMPTY_PATH))
		return -EINVAL;
	err = path_lookup_user(dirfd, path, lookup_flags(!(flags & FSPICK_SYMLINK_NOFOLLOW), flags & FSPICK_EMPTY_PATH),
			       &at);
	if (err)
		return err;
	c = at.dentry == at.mnt->root ? kzalloc(sizeof(*c), ALLOC_CHARGED) : NULL;
	if (!c) {
		err = at.dentry == at.mnt->root ? -ENOMEM : -EINVAL;
		path_put(&at);
		return err;
	}
	c->at = at;
	c->super = at.mnt->super;
	c->flags = at.mnt->super->flags & SUPER_FLAGS;
	return publish_config(c, flags & FSPICK_CLOEXEC);
}

/* ---- fsconfig -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	unsigned set, clear;
} super_words[] = {
	{ "ro", MS_RDONLY, 0 },           { "rw", 0, MS_RDONLY },       { "sync", MS_SYNCHRONOUS, 0 },
	{ "async", 0, MS_SYNCHRONOUS },   { "dirsync", MS_DIRSYNC, 0 }, { "lazytime", MS_LAZYTIME, 0 },
	{ "nolazytime", 0, MS_LAZYTIME }, { "silent", 0, 0 },
};

/* One more option in the text; value NULL: a flag. */
static int add_option(struct config *c, const char *key, const char *value)
{
	size_t at, need = strlen(key) + (value ? strlen(value) + 1 : 0) + 2;

	for (unsigned i = 0; i < ARRAY_SIZE(super_words) && !value; i++)
		if (!strcmp(key, super_words[i].name)) {
			c->flags = (c->flags & ~super_words[i].clear) | super_words[i].set;
			return 0;
		}
	if (!c->data && !(c->data = kzalloc(PAGE_SIZE, ALLOC_CHARGED)))
		return -ENOMEM;
	at = strlen(c->data);
	if (strchr(key, ',') || (value && strchr(value, ',')) || at + need > PAGE_SIZE)
		return -EINVAL;
	(void)str_format(c->data + at, PAGE_SIZE - at, "%s%s%s%s", at ? "," : "", key, value ? "=" : "",
			 value ? value : "");
	return 0;
}

static int set_option(struct config *c, const char *key, char **value)
{
	if (c->state != GATHERING)
		return -EBUSY;
	if (!*value || strcmp(key, "source"))
		return add_option(c, key, *value);
	if (c->source)
		return fail(EINVAL, "a second source");
	c->source = *value;
	*value = NULL;
	return 0;
}

static int run_command(struct config *c, unsigned cmd)
{
	int err;

	if (c->state != GATHERING)
		return -EBUSY;
	if (cmd == FSCONFIG_CMD_CREATE) {
		if (c->at.mnt)
			return -EBUSY;
		err = mount_make_super(c->type, c->source, c->flags, c->data, &c->super, &c->root);
		c->state = err ? DONE : MADE;
		return err;
	}
	if (!c->at.mnt)
		return -EINVAL;
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = mount_reconfigure(c->super, c->flags, c->data);
	kfree(c->data);
	c->data = NULL;
	return err;
}

/* Which of key, value and aux a command wants. */
static bool is_well_formed(u32 cmd, const void __user *key, const void __user *value, int aux)
{
	switch (cmd) {
	case FSCONFIG_SET_FLAG: return key && !value && !aux;
	case FSCONFIG_SET_STRING: return key && value && !aux;
	case FSCONFIG_SET_BINARY: return key && value && aux > 0 && aux <= 1024 * 1024;
	case FSCONFIG_SET_PATH:
	case FSCONFIG_SET_PATH_EMPTY: return key && value && (aux == AT_FDCWD || aux >= 0);
	case FSCONFIG_SET_FD: return key && !value && aux >= 0;
	default: return !key && !value && !aux;
	}
}

static int copy_value(const void __user *value, char **out)
{
	ssize_t n;

	*out = kmalloc(KEY_BYTES, ALLOC_CHARGED);
	if (!*out)
		return -ENOMEM;
	n = user_get_string(*out, value, KEY_BYTES);
	return n < 0 ? (int)n : n >= KEY_BYTES ? -EINVAL : 0;
}

/* The file systems here know options that are flags or strings. */
static int configure(struct config *c, u32 cmd, const char __user *ukey, const void __user *uvalue)
{
	char key[KEY_BYTES], *value = NULL;
	ssize_t n = ukey ? user_get_string(key, ukey, sizeof(key)) : 0;
	int err;

	if (n < 0 || n >= (ssize_t)sizeof(key))
		return n < 0 ? (int)n : -EINVAL;
	if (cmd == FSCONFIG_SET_BINARY || cmd == FSCONFIG_SET_PATH || cmd == FSCONFIG_SET_PATH_EMPTY ||
	    cmd == FSCONFIG_SET_FD)
		return -EINVAL;
	err = uvalue ? copy_value(uvalue, &value) : 0;
	if (!err) {
		mutex_lock(&c->lock);
		err = ukey ? set_option(c, key, &value) : run_command(c, cmd);
		mutex_unlock(&c->lock);
	}
	kfree(value);
	return err;
}

long sys_fsconfig(int fd, u32 cmd, const char __user *key, const void __user *value, int aux)
{
	struct fd_ref r;
	long err;

	if (fd < 0)
		return -EINVAL;
	if (cmd > FSCONFIG_CMD_RECONFIGURE)
		return -EOPNOTSUPP;
	if (!is_well_formed(cmd, key, value, aux))
		return -EINVAL;
	r = fd_get(fd);
	if (!r.file)
		return -EBADF;
	err = r.file->ops == &config_ops ? configure(r.file->priv, cmd, key, value) : -EINVAL;
	fd_put(r);
	return err;
}

/* ---- mounts ---------------------------------------------------------------------------------------------------- */

static unsigned flags_of(u64 attrs)
{
	static const unsigned words[][2] = { { MOUNT_ATTR_RDONLY, MS_RDONLY },
					     { MOUNT_ATTR_NOSUID, MS_NOSUID },
					     { MOUNT_ATTR_NODEV, MS_NODEV },
					     { MOUNT_ATTR_NOEXEC, MS_NOEXEC },
					     { MOUNT_ATTR_NODIRATIME, MS_NODIRATIME },
					     { MOUNT_ATTR_NOATIME, MS_NOATIME },
					     { MOUNT_ATTR_STRICTATIME, MS_STRICTATIME } };
	unsigned flags = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		flags |= attrs & words[i][0] ? words[i][1] : 0;
	return flags;
}

static bool is_atime(u64 attrs)
{
	attrs &= MOUNT_ATTR__ATIME;
	return attrs == MOUNT_ATTR_RELATIME || attrs == MOUNT_ATTR_NOATIME || attrs == MOUNT_ATTR_STRICTATIME;
}

static long publish(struct file *f, int err, bool cloexec)
{
	return err ? err : fd_publish(f, cloexec ? O_CLOEXEC : 0);
}

static int make_mount(struct config *c, u32 attrs, struct file **out)
{
	int err = -EINVAL;

	mutex_lock(&c->lock);
	if (c->state == DONE)
		err = -EBUSY;
	if (c->state == MADE)
		err = mount_float(c->super, c->root, flags_of(attrs), out);
	if (!err)
		c->state = DONE;
	mutex_unlock(&c->lock);
	return err;
}

long sys_fsmount(int fd, u32 flags, u32 attrs)
{
	struct file *f = NULL;
	struct fd_ref r;
	int err;

	if (!may_mount())
		return -EPERM;
	if (flags & ~FSMOUNT_CLOEXEC || attrs & ~ATTRS || !is_atime(attrs))
		return -EINVAL;
	r = fd_get(fd);
	if (!r.file)
		return -EBADF;
	err = r.file->ops == &config_ops ? make_mount(r.file->priv, attrs, &f) : -EINVAL;
	fd_put(r);
	return publish(f, err, flags & FSMOUNT_CLOEXEC);
}

long sys_open_tree(int dirfd, const char __user *path, u32 flags)
{
	bool copies = flags & OPEN_TREE_CLONE;
	struct file *f = NULL;
	struct path at;
	int err;

	if (flags & ~(AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | OPEN_TREE_CLONE |
		      OPEN_TREE_CLOEXEC) ||
	    (flags & AT_RECURSIVE && !copies))
		return -EINVAL;
	if (copies && !may_mount())
		return -EPERM;
	err = path_lookup_user(dirfd, path, lookup_flags(!(flags & AT_SYMLINK_NOFOLLOW), flags & AT_EMPTY_PATH), &at);
	if (err)
		return err;
	err = copies ? mount_float_copy(&at, flags & AT_RECURSIVE, &f) : file_open_path(&at, O_PATH, &f);
	path_put(&at);
	return publish(f, err, flags & OPEN_TREE_CLOEXEC);
}

long sys_move_mount(int from_fd, const char __user *from_path, int to_fd, const char __user *to_path, u32 flags)
{
	struct path from, to;
	int err;

	if (!may_mount())
		return -EPERM;
	if (flags & ~(MOVE_MOUNT_F_SYMLINKS | MOVE_MOUNT_F_AUTOMOUNTS | MOVE_MOUNT_F_EMPTY_PATH |
		      MOVE_MOUNT_T_SYMLINKS | MOVE_MOUNT_T_AUTOMOUNTS | MOVE_MOUNT_T_EMPTY_PATH))
		return -EINVAL;
	err = path_lookup_user(from_fd, from_path,
			       lookup_flags(flags & MOVE_MOUNT_F_SYMLINKS, flags & MOVE_MOUNT_F_EMPTY_PATH), &from);
	if (err)
		return err;
	err = path_lookup_user(to_fd, to_path,
			       lookup_flags(flags & MOVE_MOUNT_T_SYMLINKS, flags & MOVE_MOUNT_T_EMPTY_PATH), &to);
	if (!err) {
		err = mount_move(&from, &to);
		path_put(&to);
	}
	path_put(&from);
	return err;
}

/* ---- mount_setattr --------------------------------------------------------------------------------------------- */

static int parse_attr(const void __user *u, size_t size, struct mount_attr *a)
{
	if (size < MOUNT_ATTR_SIZE_VER0)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	if (user_get(a, u, sizeof(*a)))
		return -EFAULT;
	for (size_t at = sizeof(*a); at < size; at++) {
		char rest;

		if (user_get(&rest, (const char __user *)u + at, 1))
			return -EFAULT;
		if (rest)
			return -E2BIG;
	}
	if ((a->attr_set | a->attr_clr) & ~(u64)ATTRS)
		return -EINVAL;
	/* Which times are kept is one of three: it can only be replaced. */
	if ((a->attr_clr & MOUNT_ATTR__ATIME) == MOUNT_ATTR__ATIME ? !is_atime(a->attr_set)
								   : (a->attr_clr | a->attr_set) & MOUNT_ATTR__ATIME)
		return -EINVAL;
	if (a->propagation & ~(u64)(MS_SHARED | MS_SLAVE | MS_PRIVATE | MS_UNBINDABLE) ||
	    __builtin_popcountll(a->propagation) > 1)
		return -EINVAL;
	return 0;
}

static int change(const struct path *at, const struct mount_attr *a, bool recursive)
{
	unsigned set = flags_of(a->attr_set), clear = flags_of(a->attr_clr & ~(u64)MOUNT_ATTR__ATIME);

	if (a->attr_clr & MOUNT_ATTR__ATIME) {
		clear |= MS_RELATIME | MS_NOATIME | MS_STRICTATIME;
		set |= set & (MS_NOATIME | MS_STRICTATIME) ? 0 : MS_RELATIME;
	}
	return mount_change(at, set, clear, (unsigned)a->propagation, recursive);
}

long sys_mount_setattr(int dirfd, const char __user *path, u32 flags, void __user *uattr, size_t size)
{
	struct mount_attr a;
	struct path at;
	int err;

	if (flags & ~(AT_EMPTY_PATH | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT))
		return -EINVAL;
	if (!may_mount())
		return -EPERM;
	err = parse_attr(uattr, size, &a);
	if (err || (!a.attr_set && !a.attr_clr && !a.propagation))
		return err;
	err = path_lookup_user(dirfd, path, lookup_flags(!(flags & AT_SYMLINK_NOFOLLOW), flags & AT_EMPTY_PATH), &at);
	if (err)
		return err;
	err = change(&at, &a, flags & AT_RECURSIVE);
	path_put(&at);
	return err;
}
