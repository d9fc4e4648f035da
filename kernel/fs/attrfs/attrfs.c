/* SPDX-License-Identifier: MIT
 *
 * Problem: the attribute tree knows nothing of inodes, and programs know nothing else.
 *
 * Idea: no state of its own. A look-up finds a folder, a file or a link in the tree and makes an inode for it that
 * holds a reference to the folder; names are not cached beyond their use, so that what has left the tree cannot be
 * found. Reading and writing go through vfs' text files.
 *
 *      attr_dir  --> folder inode      attr of a folder --> file inode (folder, index)      attr_link --> symlink inode
 *
 * Contract: fs/attrfs.h. A file of a removed folder answers ENODEV. Positions of readdir: files, then folders, then
 * links; a folder that changes while it is read may show an entry twice or not, as POSIX allows. Files with a version
 * are listed while they are open or watched: one round of work after a change wakes pollers, who compare versions, and
 * tells inotify.
 *
 * Locks: the tree's own inside core/attr.c; `live_lock` (RANK_SUBSYS_SPIN) guards the list of such files.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <fs/attrfs.h>
#include <fs/fs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/inotify.h>
#include <linux/magic.h>
#include <task/work.h>
#include <vfs/names.h>
#include <vfs/poll.h>
#include <vfs/textfile.h>
#include <vfs/uapi.h>

struct node {                    /* inode->priv */
	struct attr_dir *dir;    /* counted */
	const struct attr *attr; /* a file; NULL: the folder itself, or a link */
	const char *target;      /* a link: allocated text */
	struct inode *inode;     /* whose priv it is */
	struct list live_link;   /* live_lock: files with a version */
	u64 told;                /* live_lock: the version that inotify has been told of */
};

static struct spinlock live_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static LIST(live);
static struct waitq changes = WAITQ_INIT(changes);

static const struct inode_ops dir_inode_ops, file_inode_ops, link_inode_ops;
static const struct file_ops dir_ops, file_ops;

static struct node *node_of(const struct inode *i)
{
	return i->priv;
}

struct attr_dir *attrfs_dir_of(const struct inode *i)
{
	return i->ops == &dir_inode_ops ? node_of(i)->dir : NULL;
}

struct attr_dir *attrfs_file_of(const struct inode *i, const struct attr **attr)
{
	*attr = node_of(i)->attr;
	return node_of(i)->dir;
}

/* A file's or link's number: the same at each look-up, though the inode is another (FNV-1a of the name, above the
 * folder's). */
static u64 entry_ino(const struct attr_dir *dir, const char *name)
{
	u32 h = 0x811c9dc5;

	while (*name)
		h = (h ^ (u8)*name++) * 0x01000193;
	return (u64)(h & 0x7fffffff) << 32 | (dir->ino & 0xffffffff);
}

static u64 version(struct attr_dir *d, const struct attr *a)
{
	return a && d->ops && d->ops->version ? d->ops->version(d, a) : 0;
}

static struct inode *make_inode(struct super *s, struct attr_dir *dir, u16 mode, const struct attr *a,
				const char *target)
{
	struct inode *i = super_new_inode(s, mode, NULL);
	struct node *n = i ? kmalloc(sizeof(*n), ALLOC_CHARGED) : NULL;

	if (!n) {
		if (i)
			inode_put(i);
		return NULL;
	}
	*n = (struct node){ .dir = dir, .attr = a, .target = target, .inode = i };
	list_init(&n->live_link);
	attr_dir_get(dir);
	i->priv = n;
	if (!target) {
		struct attr_owner o = attr_owner(dir, a);

		i->uid = KUID(o.uid);
		i->gid = KGID(o.gid);
		i->mode = (i->mode & S_IFMT) | o.mode;
	}
	n->told = version(dir, a);
	if (n->told) {
		spin_lock(&live_lock);
		list_add(&n->live_link, &live);
		spin_unlock(&live_lock);
	}
	if (a) {
		i->ops = &file_inode_ops;
		i->ino = entry_ino(dir, a->name);
		i->file_ops = a->file_ops ? a->file_ops : &file_ops;
		i->size = PAGE_SIZE;
	} else if (target) {
		i->ops = &link_inode_ops;
	} else {
		i->ops = &dir_inode_ops;
		i->file_ops = &dir_ops;
		i->ino = dir->ino;
		i->nlink = 2;
	}
	return i;
}

struct inode *attrfs_inode(struct super *s, struct attr_dir *dir)
{
	return make_inode(s, dir, S_IFDIR | 0755, NULL, NULL);
}

void attrfs_evict(struct inode *i)
{
	struct node *n = i->priv;

	if (!n || (i->ops != &dir_inode_ops && i->ops != &file_inode_ops && i->ops != &link_inode_ops))
		return;
	spin_lock(&live_lock);
	list_del_init(&n->live_link);
	spin_unlock(&live_lock);
	attr_dir_put(n->dir);
	kfree(n->target);
	kfree(n);
}

/* ---- folders --------------------------------------------------------------------------------------- */

static const struct attr *find_attr(const struct attr_dir *d, const char *name)
{
	for (const struct attr *const *a = d->attrs; a && *a; a++)
		if (!strcmp((*a)->name, name))
			return *a;
	return NULL;
}

static unsigned depth(const struct attr_dir *d)
{
	unsigned n = 0;

	for (; d->parent; d = d->parent)
		n++;
	return n;
}

static void add_path(const struct attr_dir *d, struct strbuf *out)
{
	if (!d->parent)
		return;
	add_path(d->parent, out);
	strbuf_add(out, d->parent->parent ? "/%s" : "%s", d->name);
}

/* The text of a link in `from` to a folder of the same tree: up to the root and down again. */
static const char *link_text(const struct attr_dir *from, const struct attr_dir *to)
{
	char *text = kmalloc(PAGE_SIZE, ALLOC_KERNEL);
	struct strbuf sb;

	if (!text)
		return NULL;
	strbuf_init(&sb, text, PAGE_SIZE);
	for (unsigned n = depth(from); n; n--)
		strbuf_add(&sb, "../");
	add_path(to, &sb);
	return text;
}

static struct inode *find_link(struct super *s, struct attr_dir *dir, const char *name)
{
	struct attr_link *link;
	struct inode *i;
	const char *text;
	unsigned n = 0;

	while ((link = attr_dir_link(dir, n++)) && strcmp(link->name, name))
		;
	if (!link)
		return NULL;
	text = link_text(dir, link->target);
	i = text ? make_inode(s, dir, S_IFLNK | 0777, NULL, text) : NULL;
	if (i)
		i->ino = entry_ino(dir, name);
	return i;
}

static int lookup(struct inode *i, struct dentry *d)
{
	struct attr_dir *dir = node_of(i)->dir, *child;
	const char *name = d->name->str;
	const struct attr *a = find_attr(dir, name);
	struct inode *found;

	__atomic_fetch_or(&d->flags, DENTRY_NOCACHE, __ATOMIC_RELAXED);
	if (dir->removed)
		return 0;
	child = a ? NULL : attr_dir_child(dir, name);
	if (a)
		found = make_inode(i->super, dir, S_IFREG | a->mode, a, NULL);
	else if (child)
		found = make_inode(i->super, child, S_IFDIR | 0755, NULL, NULL);
	else
		found = find_link(i->super, dir, name);
	if (child)
		attr_dir_put(child);
	if (found)
		dentry_attach(d, found);
	else if (a || child)
		return -ENOMEM;
	return 0;
}

static int mkdir(struct inode *i, struct dentry *d, u16 mode)
{
	struct attr_dir *dir = node_of(i)->dir;
	int err;

	if (!dir->ops || !dir->ops->mkdir)
		return -EPERM;
	err = dir->ops->mkdir(dir, d->name->str, mode);
	return err ? err : lookup(i, d);
}

static int rmdir(struct inode *i, struct dentry *d)
{
	struct attr_dir *dir = attrfs_dir_of(d->inode);

	return dir && dir->ops && dir->ops->rmdir ? dir->ops->rmdir(dir) : -EPERM;
}

static int refuse_unlink(struct inode *i, struct dentry *d)
{
	return -EPERM;
}

static int setattr(struct inode *i, const struct inode_attr *a)
{
	struct node *n = node_of(i);
	struct attr_owner o = attr_owner(n->dir, n->attr);
	int err = 0;

	if (a->mask & ATTR_MODE)
		o.mode = a->mode & 07777;
	if (a->mask & ATTR_UID)
		o.uid = a->uid.v;
	if (a->mask & ATTR_GID)
		o.gid = a->gid.v;
	if (a->mask & (ATTR_MODE | ATTR_UID | ATTR_GID))
		err = attr_set_owner(n->dir, &o);
	if (!err && (a->mask & ATTR_SIZE) && n->attr && n->dir->ops && n->dir->ops->truncate)
		err = n->dir->removed ? -ENODEV : n->dir->ops->truncate(n->dir, n->attr);
	if (!err)
		inode_apply_attr(i, a);
	return err;
}

static bool read_children(struct attr_dir *dir, struct dir_emit *e, s64 *n)
{
	struct attr_dir *c = NULL;

	for (; (c = attr_dir_next(dir, c)); (*n)++)
		if (*n >= e->pos && !e->emit(e, c->name, strlen(c->name), *n + 1, c->ino, 4)) {
			attr_dir_put(c);
			return false;
		}
	return true;
}

/* Position: 0 and 1 are . and .., then files, then folders, then links. */
static int readdir(struct file *f, struct dir_emit *e)
{
	struct attr_dir *dir = node_of(f->inode)->dir;
	struct attr_link *l;
	s64 n = 2;

	if (e->pos == 0 && !e->emit(e, ".", 1, 1, f->inode->ino, 4))
		return 0;
	if (e->pos <= 1 && !e->emit(e, "..", 2, 2, dir->parent ? dir->parent->ino : f->inode->ino, 4))
		return 0;
	for (const struct attr *const *a = dir->attrs; a && *a; a++, n++)
		if (n >= e->pos && !e->emit(e, (*a)->name, strlen((*a)->name), n + 1, entry_ino(dir, (*a)->name), 8))
			return 0;
	if (!read_children(dir, e, &n))
		return 0;
	for (unsigned k = 0; (l = attr_dir_link(dir, k)); k++, n++)
		if (n >= e->pos && !e->emit(e, l->name, strlen(l->name), n + 1, entry_ino(dir, l->name), 10))
			return 0;
	return 0;
}

/* ---- files ---------------------------------------------------------------------------------------------- */

static int show(struct text_file *t, struct strbuf *out)
{
	struct node *n = t->a;

	if (n->dir->removed)
		return -ENODEV;
	t->n = version(n->dir, n->attr);
	return n->attr->show ? n->attr->show(n->dir, n->attr, out) : -EIO;
}

static bool is_sysctl(const struct attr_dir *d)
{
	for (; d->parent; d = d->parent)
		;
	return d == &attr_sysctl_root;
}

static int set(struct text_file *t, char *text, size_t len)
{
	struct node *n = t->a;
	char *given = text;
	s64 pos = t->file->pos;
	int err = 0;

	if (n->dir->removed)
		return -ENODEV;
	if (!len && !(n->dir->ops && n->dir->ops->takes_nothing))
		return 0;
	if (!n->attr->set)
		return -EIO;
	if (static_branch(&attr_sysctl_key) && is_sysctl(n->dir))
		err = attr_sysctl_hook(n->dir, n->attr, true, &pos, &text, &len);
	err = err ? err : n->attr->set(n->dir, n->attr, text, len);
	if (text != given)
		kfree(text);
	return err;
}

static ssize_t read_file(struct io *io)
{
	struct text_file *t = io->file->priv;
	struct node *n = t->a;

	if (static_branch(&attr_sysctl_key) && is_sysctl(n->dir)) {
		int err = attr_sysctl_hook(n->dir, n->attr, false, &io->pos, NULL, NULL);

		if (err)
			return err;
	}
	return text_file_read(io);
}

static unsigned poll(struct text_file *t, struct poll_table *pt)
{
	struct node *n = t->a;
	unsigned events = EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM;

	if (!n->told)
		return events;
	poll_wait(t->file, &changes, pt);
	if (n->dir->removed || READ_ONCE(t->n) != version(n->dir, n->attr)) /* 0: never read */
		events |= EPOLLPRI | EPOLLERR;
	return events;
}

static const struct text_ops text_ops = { .show = show, .set = set, .poll = poll };

static int open(struct inode *i, struct file *f)
{
	return text_file_open(f, &text_ops, i->priv, NULL);
}

static int readlink(struct inode *i, struct strbuf *out)
{
	strbuf_add(out, "%s", node_of(i)->target);
	return 0;
}

static const struct inode_ops dir_inode_ops = {
	.lookup = lookup, .mkdir = mkdir, .rmdir = rmdir, .unlink = refuse_unlink, .setattr = setattr
};
static const struct inode_ops file_inode_ops = { .setattr = setattr };
static const struct inode_ops link_inode_ops = { .readlink = readlink };
static const struct file_ops dir_ops = { .readdir = readdir };
static const struct file_ops file_ops = {
	.open = open, .release = text_file_release, .read = read_file, .write = text_file_write, .poll = text_file_poll
};

/* ---- changes ----------------------------------------------------------------------------------------- */

/* A file whose version has risen since inotify was told, its inode counted; NULL: no more. */
static struct inode *next_changed(void)
{
	struct node *n;
	struct inode *found = NULL;

	spin_lock(&live_lock);
	list_for_each_entry (n, &live, live_link) {
		u64 now = version(n->dir, n->attr);

		if (now == n->told || !refcount_inc_not_zero(&n->inode->refs))
			continue;
		n->told = now;
		found = n->inode;
		break;
	}
	spin_unlock(&live_lock);
	return found;
}

static void tell(struct work *w)
{
	struct inode *i;

	waitq_wake(&changes, -1, EPOLLPRI | EPOLLERR);
	while ((i = next_changed())) {
		inode_notify(i, IN_MODIFY, NULL, 0);
		inode_put(i);
	}
}

static struct work tell_work;

static void notify(void)
{
	(void)work_queue(&tell_work);
}

/* ---- mounting --------------------------------------------------------------------------------------------- */

static const struct super_ops super_ops = { .evict = attrfs_evict };

int attrfs_fill(struct super *s, struct attr_dir *root, u32 magic)
{
	struct inode *i;

	s->ops = &super_ops;
	s->magic = magic;
	s->priv = root;
	i = attrfs_inode(s, root);
	if (!i)
		return -ENOMEM;
	s->root = dentry_create_root(s, i);
	return s->root ? 0 : -ENOMEM;
}

static int mount_sysfs(struct super *s, const char *source, const char *data)
{
	return attrfs_fill(s, &attr_sys_root, SYSFS_MAGIC);
}

static struct fs_type sysfs = { .name = "sysfs", .flags = FS_SINGLE | FS_NO_NEGATIVE, .mount = mount_sysfs };

static void attrfs_init(void)
{
	work_init(&tell_work, tell);
	attr_notify_hook = notify;
	fs_register(&sysfs);
}
PART_INIT(fs, attrfs_init);
