/* SPDX-License-Identifier: MIT
 *
 * Problem: a pseudo-terminal's slave must have a name, /dev/pts/N, for as long as its master is open.
 *
 * Idea: nothing is stored: a look-up of a number asks the table of ptys, and names are not cached, so a closed master's
 * name is gone at once. Owner and mode that programs set live in the inode while the name is in use.
 *
 * Contract: pty(7), devpts options mode=, gid=, uid=, ptmxmode=. Each mount has ptys of its own, those opened by its
 * ptmx; the first one those of /dev/ptmx.
 *
 * Locks: the root's inode lock, as for any folder.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <fs/fs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <tty/pty.h>
#include <vfs/device.h>
#include <vfs/names.h>
#include <vfs/uapi.h>

#define INO_PTMX  2
#define INO_FIRST 3

struct options {
	struct pty_table *table;
	u16 mode, ptmxmode;
	bool has_uid, has_gid;
	u32 uid, gid;
	/* What chmod and chown did to a slave, by index; 0: nothing yet. Reset when the index is born anew. */
	struct {
		struct timestamp born;
		u16 mode;
		u32 uid, gid;
	} slave[PTY_MAX];
};

static struct inode *device_inode(struct super *s, u64 ino, u16 mode, u32 rdev)
{
	struct inode *i = inode_create(s, S_IFCHR | mode);

	if (i) {
		i->ino = ino;
		i->rdev = rdev;
		i->priv = ((struct options *)s->priv)->table;
	}
	return i;
}

static int slave_setattr(struct inode *i, const struct inode_attr *a)
{
	struct options *o = i->super->priv;
	unsigned n = i->ino - INO_FIRST;

	if (i->ino < INO_FIRST)
		return 0;
	if (a->mask & ATTR_MODE)
		o->slave[n].mode = a->mode & 07777;
	if (a->mask & ATTR_UID)
		o->slave[n].uid = a->uid.v;
	if (a->mask & ATTR_GID)
		o->slave[n].gid = a->gid.v;
	return 0;
}

static const struct inode_ops slave_ops = { .setattr = slave_setattr };

static struct inode *slave_inode(struct super *s, int index)
{
	struct options *o = s->priv;
	struct pty_info info;
	struct inode *i;

	if (!pty_info(o->table, index, &info))
		return NULL;
	i = device_inode(s, INO_FIRST + index, o->mode, DEV(UNIX98_PTY_SLAVE_MAJOR, index));
	if (!i)
		return NULL;
	if (memcmp(&o->slave[index].born, &info.born, sizeof(info.born))) {
		o->slave[index].born = info.born;
		o->slave[index].mode = o->mode;
		o->slave[index].uid = o->has_uid ? o->uid : info.uid.v;
		o->slave[index].gid = o->has_gid ? o->gid : info.gid.v;
	}
	i->mode = S_IFCHR | o->slave[index].mode;
	i->uid = KUID(o->slave[index].uid);
	i->gid = KGID(o->slave[index].gid);
	i->ops = &slave_ops;
	return i;
}

static int parse_index(const struct dname *n)
{
	u64 v;

	if (!n->len || n->len > 3 || (n->str[0] == '0' && n->len > 1) || n->str[0] < '0' || n->str[0] > '9' ||
	    str_to_u64(n->str, 10, &v))
		return -1;
	return v < PTY_MAX ? (int)v : -1;
}

static int devpts_lookup(struct inode *dir, struct dentry *d)
{
	struct options *o = dir->super->priv;
	struct inode *i = NULL;
	int index = parse_index(d->name);

	if (index >= 0)
		i = slave_inode(dir->super, index);
	else if (!strcmp(d->name->str, "ptmx"))
		i = device_inode(dir->super, INO_PTMX, o->ptmxmode, DEV(TTYAUX_MAJOR, 2));
	d->flags |= DENTRY_NOCACHE;
	dentry_attach(d, i);
	return 0;
}

static int devpts_readdir(struct file *f, struct dir_emit *e)
{
	struct pty_info info;
	char name[8];

	if (e->pos == 0 && !e->emit(e, ".", 1, 1, 1, S_IFDIR >> 12))
		return 0;
	if (e->pos == 1 && !e->emit(e, "..", 2, 2, 1, S_IFDIR >> 12))
		return 0;
	if (e->pos == 2 && !e->emit(e, "ptmx", 4, 3, INO_PTMX, S_IFCHR >> 12))
		return 0;
	for (int n = e->pos - 3; n >= 0 && n < PTY_MAX; n++) {
		if (!pty_info(((struct options *)f->inode->super->priv)->table, n, &info))
			continue;
		if (!e->emit(e, name, str_format(name, sizeof(name), "%d", n), n + 4, INO_FIRST + n, S_IFCHR >> 12))
			return 0;
	}
	return 0;
}

static const struct inode_ops root_ops = { .lookup = devpts_lookup };
static const struct file_ops root_file_ops = { .readdir = devpts_readdir };

static int parse_option(struct options *o, char *opt)
{
	char *value = strchr(opt, '=');
	u64 v;

	if (!value) /* newinstance: all are */
		return !*opt || !strcmp(opt, "newinstance") || !strcmp(opt, "rw") ? 0 : -EINVAL;
	*value++ = '\0';
	if (str_to_u64(value, strstr(opt, "mode") ? 8 : 10, &v))
		return -EINVAL;
	if (!strcmp(opt, "mode") && v <= 07777)
		o->mode = v;
	else if (!strcmp(opt, "ptmxmode") && v <= 07777)
		o->ptmxmode = v;
	else if (!strcmp(opt, "uid"))
		o->uid = v, o->has_uid = true;
	else if (!strcmp(opt, "gid"))
		o->gid = v, o->has_gid = true;
	else if (strcmp(opt, "max"))
		return fail(EINVAL, "devpts: option %s", opt);
	return 0;
}

static int parse_options(struct options *o, const char *data)
{
	char copy[128], *at = copy, *opt;
	int err = 0;

	if (!data)
		return 0;
	if (str_copy(copy, data, sizeof(copy)) >= sizeof(copy))
		return -EINVAL;
	while (!err && (opt = str_next(&at, ',')))
		err = parse_option(o, opt);
	return err;
}

static int devpts_remount(struct super *s, unsigned flags, const char *data)
{
	return parse_options(s->priv, data);
}

static void free_options(struct options *o)
{
	if (o->table && o->table != &pty_first_table)
		pty_table_put(o->table);
	kfree(o);
}

static void devpts_put_super(struct super *s)
{
	free_options(s->priv);
}

static void devpts_show_options(struct super *s, struct strbuf *out)
{
	struct options *o = s->priv;

	strbuf_add(out, ",mode=%03o,ptmxmode=%03o", o->mode, o->ptmxmode);
}

static const struct super_ops devpts_super_ops = { .remount = devpts_remount,
						   .put_super = devpts_put_super,
						   .show_options = devpts_show_options };

static bool first_taken; /* a mount shows the first table */

static int devpts_mount(struct super *s, const char *source, const char *data)
{
	struct options *o = kzalloc(sizeof(*o), 0);
	struct inode *root;
	int err;

	if (!o)
		return -ENOMEM;
	o->mode = 0600;
	o->table = __atomic_exchange_n(&first_taken, true, __ATOMIC_SEQ_CST) ? pty_table_create() : &pty_first_table;
	err = o->table ? parse_options(o, data) : -ENOMEM;
	s->ops = &devpts_super_ops;
	s->magic = DEVPTS_SUPER_MAGIC;
	s->priv = o;
	root = err ? NULL : inode_create(s, S_IFDIR | 0755);
	if (root) {
		root->ino = 1;
		root->nlink = 2;
		root->ops = &root_ops;
		root->file_ops = &root_file_ops;
		s->root = dentry_create_root(s, root);
	}
	if (s->root)
		return 0;
	free_options(o);
	return err ? err : -ENOMEM;
}

static struct fs_type devpts_type = { .name = "devpts",
				      .flags = FS_USERNS_MOUNT | FS_NO_NEGATIVE,
				      .mount = devpts_mount };

void devpts_init(void)
{
	fs_register(&devpts_type);
}

PART_INIT(fs, devpts_init);
