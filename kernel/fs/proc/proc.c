/* SPDX-License-Identifier: MIT
 *
 * Problem: /proc shows processes as folders that appear and vanish by themselves, threads inside them, descriptors
 * inside those.
 *
 * Idea: nothing is stored. An inode remembers what it stands for (a kind, a struct pid, perhaps a descriptor or a row
 * of a table); look-ups make it, and names are not cached beyond their use.
 *
 *      /proc           ROOT     files of vfs' registry, PID folders, self, thread-self, mounts, sys (the attribute
 * tree) /proc/PID       TASK     rows of proc_task_files, task/, fd/, fdinfo/      /proc/PID/task/TID   THREAD, the
 * same rows
 *      .../fd          FDS      a magic link a descriptor                         .../fdinfo           FDINFOS
 *      .../ns          NAMESPACES   a magic link a kind                 .../net              NET_FILES, its network's
 *
 * Numbers are those of the pid namespace in which the file system was mounted.
 *
 * Contract: proc(5). A file of a task that has ended answers ESRCH. Positions of readdir: fixed entries first, then
 * numbers.
 *
 * Locks: none here.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <cgroup/cgroup.h>
#include <fs/attrfs.h>
#include <fs/proc.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/magic.h>
#include <net/net.h>
#include <process/namespaces.h>
#include <vfs/names.h>
#include <vfs/mount.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>

#include "proc_priv.h"

enum kind {
	ROOT,
	ROOT_FILE,
	ROOT_LINK,
	TASK,
	THREAD,
	THREADS,
	FDS,
	FDINFOS,
	NAMESPACES,
	TASK_FILE,
	FD_LINK,
	FDINFO_FILE,
	NS_LINK,
	NET_FILES,
	NET_FILE
};

struct node {
	enum kind kind;
	struct pid *pid; /* counted; NULL in the root */
	const struct task_file *file;
	struct proc_file *root_file;
	struct net_file *net_file;
	const char *target; /* ROOT_LINK */
	int fd;             /* FD_LINK, FDINFO_FILE; NS_LINK: row of ns_links */
};

#define DT_DIR 4
#define DT_REG 8
#define DT_LNK 10

static const struct inode_ops dir_inode_ops, file_inode_ops, link_inode_ops, magic_inode_ops;
static const struct file_ops dir_ops, file_ops;

static struct node *node_of(const struct inode *i)
{
	return i->priv;
}

/* ---- inodes -------------------------------------------------------------------------------------------- */

static struct task *task_get_of(const struct node *n)
{
	struct task *t;

	rcu_read_lock();
	t = n->pid ? rcu_deref(n->pid->task) : NULL;
	if (t && !refcount_inc_not_zero(&t->refs))
		t = NULL;
	rcu_read_unlock();
	return t;
}

struct task *proc_task_of(const struct inode *i)
{
	return task_get_of(node_of(i));
}

static void set_owner(struct inode *i, const struct node *n)
{
	struct task *t = task_get_of(n);

	if (!t)
		return;
	i->uid = t->cred->euid;
	i->gid = t->cred->egid;
	task_put(t);
}

struct pid *proc_pid_of(const struct inode *i)
{
	return i->ops == &dir_inode_ops && node_of(i)->kind == TASK ? node_of(i)->pid : NULL;
}

static struct inode *make(struct super *s, u16 mode, struct node n)
{
	struct inode *i = super_new_inode(s, mode, NULL);
	struct node *copy = i ? kmalloc(sizeof(n), ALLOC_CHARGED) : NULL;

	if (!copy) {
		if (i)
			inode_put(i);
		return NULL;
	}
	*copy = n;
	if (n.pid)
		pid_get(n.pid);
	i->priv = copy;
	set_owner(i, &n);
	if (S_ISDIR(mode)) {
		i->ops = &dir_inode_ops;
		i->file_ops = &dir_ops;
		i->nlink = 2;
	} else if (S_ISLNK(mode)) {
		i->ops = n.kind == ROOT_LINK ? &link_inode_ops : &magic_inode_ops;
	} else {
		i->ops = &file_inode_ops;
		i->file_ops = n.file && n.file->ops ? n.file->ops : &file_ops;
	}
	return i;
}

static void evict(struct inode *i)
{
	struct node *n = i->priv;

	attrfs_evict(i);
	if (i->ops != &dir_inode_ops && i->ops != &file_inode_ops && i->ops != &link_inode_ops &&
	    i->ops != &magic_inode_ops)
		return;
	if (n)
		pid_put(n->pid);
	kfree(n);
}

/* ---- look-up --------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *target;
} root_links[] = { { "self", NULL }, { "thread-self", NULL }, { "mounts", "self/mounts" }, { "net", "self/net" } };

static struct inode *lookup_number(struct inode *dir, const char *name, bool thread_of)
{
	struct node *n = node_of(dir);
	struct inode *found = NULL;
	struct pid *pid;
	u64 nr;

	if (name[0] == '0' || str_to_u64(name, 10, &nr) || nr > INT32_MAX)
		return NULL;
	pid = pid_find_get_in((int)nr, dir->super->priv);
	if (!pid)
		return NULL;
	if (!thread_of) {
		struct process *p = process_of_pid(pid);
		struct task *t = task_get_of(&(struct node){ .pid = pid });

		if (p || t) /* of a process, or of a thread: that is not listed, but it opens */
			found = make(dir->super, S_IFDIR | 0555, (struct node){ .kind = TASK, .pid = pid });
		if (p)
			process_put(p);
		if (t)
			task_put(t);
	} else {
		struct task *t = task_get_of(&(struct node){ .pid = pid }), *leader = task_get_of(n);

		if (t && leader && (t == leader || (t->process && t->process == leader->process)))
			found = make(dir->super, S_IFDIR | 0555, (struct node){ .kind = THREAD, .pid = pid });
		if (t)
			task_put(t);
		if (leader)
			task_put(leader);
	}
	pid_put(pid);
	return found;
}

static struct inode *lookup_attr_folder(struct inode *dir, const char *name)
{
	struct attr_dir *d = attr_dir_child(&attr_proc_root, name);
	struct inode *i = d ? attrfs_inode(dir->super, d) : NULL;

	if (d)
		attr_dir_put(d);
	return i;
}

static struct inode *lookup_root(struct inode *dir, const char *name)
{
	struct proc_file *f = proc_file_find(name);
	struct inode *folder;

	if (f)
		return make(dir->super, S_IFREG | 0444, (struct node){ .kind = ROOT_FILE, .root_file = f });
	if (!strcmp(name, "sys"))
		return attrfs_inode(dir->super, &attr_sysctl_root);
	if (!strcmp(name, "pressure"))
		return attrfs_inode(dir->super, &cgroup_pressure_dir);
	folder = lookup_attr_folder(dir, name);
	if (folder)
		return folder;
	for (unsigned i = 0; i < ARRAY_SIZE(root_links); i++)
		if (!strcmp(name, root_links[i].name))
			return make(dir->super, S_IFLNK | 0777,
				    (struct node){ .kind = ROOT_LINK, .target = root_links[i].target, .fd = (int)i });
	return lookup_number(dir, name, false);
}

static const struct {
	const char *name;
	enum kind kind;
	u16 mode;
} task_folders[] = { { "task", THREADS, 0555 },
		     { "fd", FDS, 0500 },
		     { "fdinfo", FDINFOS, 0500 },
		     { "ns", NAMESPACES, 0511 },
		     { "net", NET_FILES, 0555 } };

static struct inode *lookup_task(struct inode *dir, const char *name)
{
	struct node *n = node_of(dir);

	for (unsigned i = n->kind == THREAD; i < ARRAY_SIZE(task_folders); i++)
		if (!strcmp(name, task_folders[i].name))
			return make(dir->super, S_IFDIR | task_folders[i].mode,
				    (struct node){ .kind = task_folders[i].kind, .pid = n->pid });
	for (const struct task_file *f = proc_task_files; f->name; f++)
		if (!strcmp(name, f->name))
			return make(dir->super, f->mode, (struct node){ .kind = TASK_FILE, .pid = n->pid, .file = f });
	return NULL;
}

static struct inode *lookup_fd(struct inode *dir, const char *name)
{
	struct node *n = node_of(dir);
	struct task *t = task_get_of(n);
	struct file *f = NULL;
	u64 fd = 0;
	bool link = n->kind == FDS;

	if (t && !str_to_u64(name, 10, &fd) && fd <= INT32_MAX && process_may_look(t))
		f = fd_of_task(t, (int)fd);
	if (t)
		task_put(t);
	if (!f)
		return NULL;
	file_put(f);
	return make(dir->super, link ? S_IFLNK | 0700 : S_IFREG | 0400,
		    (struct node){ .kind = link ? FD_LINK : FDINFO_FILE, .pid = n->pid, .fd = (int)fd });
}

/* Those whose second form is what children will have. */
static const struct {
	const char *name;
	enum ns_kind kind;
	bool own_numbers;
} ns_links[] = { { "cgroup", NS_CGROUP, false }, { "ipc", NS_IPC, false }, { "mnt", NS_MNT, false },
		 { "net", NS_NET, false },       { "pid", NS_PID, true },  { "pid_for_children", NS_PID, false },
		 { "user", NS_USER, false },     { "uts", NS_UTS, false } };

static struct inode *lookup_ns(struct inode *dir, const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ns_links); i++)
		if (!strcmp(name, ns_links[i].name))
			return make(dir->super, S_IFLNK | 0777,
				    (struct node){ .kind = NS_LINK, .pid = node_of(dir)->pid, .fd = (int)i });
	return NULL;
}

static struct inode *lookup_net(struct inode *dir, const char *name)
{
	struct net_file *f = net_file_find(name);

	return f ? make(dir->super, S_IFREG | 0444,
			(struct node){ .kind = NET_FILE, .pid = node_of(dir)->pid, .net_file = f })
		 : NULL;
}

/* Counted; NULL: the task has ended. */
static struct ns *ns_behind(const struct node *n, struct task *t)
{
	struct ns *ns;

	if (!ns_links[n->fd].own_numbers)
		return ns_of_task(t, ns_links[n->fd].kind);
	ns = pid_ns_as_ns(pid_ns_of(t->pid));
	ns_get(ns);
	return ns;
}

static int lookup(struct inode *dir, struct dentry *d)
{
	const char *name = d->name->str;
	struct inode *found = NULL;

	__atomic_fetch_or(&d->flags, DENTRY_NOCACHE, __ATOMIC_RELAXED);
	switch (node_of(dir)->kind) {
	case ROOT: found = lookup_root(dir, name); break;
	case TASK:
	case THREAD: found = lookup_task(dir, name); break;
	case THREADS: found = lookup_number(dir, name, true); break;
	case FDS:
	case FDINFOS: found = lookup_fd(dir, name); break;
	case NAMESPACES: found = lookup_ns(dir, name); break;
	case NET_FILES: found = lookup_net(dir, name); break;
	default: break;
	}
	if (found)
		dentry_attach(d, found);
	return 0;
}

/* ---- readdir ---------------------------------------------------------------------------------------------- */

static bool emit(struct dir_emit *e, const char *name, s64 at, unsigned type)
{
	return at < e->pos || e->emit(e, name, strlen(name), at + 1, (u64)at + 100, type);
}

/* Numbers stand at positions from NUMBERS on, so that an entry keeps its place while others vanish. */
#define NUMBERS 256

static bool emit_number(struct dir_emit *e, int nr, unsigned type)
{
	char name[12];

	str_format(name, sizeof(name), "%d", nr);
	return emit(e, name, NUMBERS + (s64)nr, type);
}

static bool read_attr_folders(struct dir_emit *e, s64 at)
{
	struct attr_dir *d = NULL;

	for (; (d = attr_dir_next(&attr_proc_root, d)); at++)
		if (!emit(e, d->name, at, DT_DIR)) {
			attr_dir_put(d);
			return false;
		}
	return true;
}

static bool read_root(struct dir_emit *e, const struct pid_ns *ns)
{
	struct proc_file *f;
	s64 at = 2;

	for (unsigned i = 0; (f = proc_file_at(i)); i++, at++)
		if (!emit(e, f->name, at, DT_REG))
			return false;
	for (unsigned i = 0; i < ARRAY_SIZE(root_links); i++, at++)
		if (!emit(e, root_links[i].name, at, DT_LNK))
			return false;
	if (!emit(e, "sys", at++, DT_DIR) || !emit(e, "pressure", at++, DT_DIR) || !read_attr_folders(e, at))
		return false;
	for (int nr = (int)max(e->pos - NUMBERS, (s64)1); (nr = pid_next_listed(nr, ns)); nr++)
		if (!emit_number(e, nr, DT_DIR))
			return false;
	return true;
}

static bool read_task(struct dir_emit *e, enum kind kind)
{
	s64 at = 2;

	for (unsigned i = kind == THREAD; i < ARRAY_SIZE(task_folders); i++, at++)
		if (!emit(e, task_folders[i].name, at, DT_DIR))
			return false;
	for (const struct task_file *f = proc_task_files; f->name; f++, at++)
		if (!emit(e, f->name, at, S_ISLNK(f->mode) ? DT_LNK : DT_REG))
			return false;
	return true;
}

static int emit_thread(struct task *t, void *arg)
{
	return emit_number(arg, pid_nr(t->pid), DT_DIR) ? 0 : 1;
}

static void read_fds(struct task *t, struct dir_emit *e, unsigned type)
{
	int fd = (int)max(e->pos - NUMBERS, (s64)0);

	while ((fd = fd_next_of_task(t, fd)) >= 0 && emit_number(e, fd, type))
		fd++;
}

static void read_net(struct dir_emit *e)
{
	struct net_file *f;

	for (unsigned i = 0; (f = net_file_at(i)); i++)
		if (!emit(e, f->name, 2 + i, DT_REG))
			return;
}

static int readdir(struct file *f, struct dir_emit *e)
{
	struct node *n = node_of(f->inode);
	struct task *t;

	if (!emit(e, ".", 0, DT_DIR) || !emit(e, "..", 1, DT_DIR))
		return 0;
	if (n->kind == ROOT) {
		read_root(e, f->inode->super->priv);
		return 0;
	}
	t = task_get_of(n);
	if (!t)
		return -ENOENT;
	if (n->kind == TASK || n->kind == THREAD)
		read_task(e, n->kind);
	else if (n->kind == NAMESPACES)
		for (unsigned i = 0; i < ARRAY_SIZE(ns_links) && emit(e, ns_links[i].name, 2 + i, DT_LNK); i++)
			;
	else if (n->kind == NET_FILES)
		read_net(e);
	else if (n->kind == THREADS && t->process)
		process_for_each_thread(t->process, emit_thread, e);
	else if (n->kind == THREADS)
		emit_thread(t, e);
	else if (process_may_look(t))
		read_fds(t, e, n->kind == FDS ? DT_LNK : DT_REG);
	task_put(t);
	return 0;
}

/* ---- files and links ------------------------------------------------------------------------------------------ */

static int show_fdinfo(struct task *t, int fd, struct strbuf *out)
{
	struct file *f = fd_of_task(t, fd);

	if (!f)
		return -ENOENT;
	strbuf_add(out, "pos:\t%lld\nflags:\t0%o\nmnt_id:\t%d\nino:\t%llu\n", (long long)f->pos, f->flags,
		   f->path.mnt ? f->path.mnt->id : 0, (unsigned long long)f->inode->ino);
	if (f->ops && f->ops->show_fdinfo) /* O_PATH: none */
		f->ops->show_fdinfo(f, out);
	file_put(f);
	return 0;
}

static int show_net(struct task *t, struct net_file *f, struct strbuf *out)
{
	struct ns *ns = ns_of_task(t, NS_NET);
	int err = ns ? f->show(container_of(ns, struct net, ns), out) : -EINVAL;

	ns_put(ns);
	return err;
}

static int show(struct text_file *tf, struct strbuf *out)
{
	struct node *n = tf->a;
	struct task *t;
	int err;

	if (n->kind == ROOT_FILE) {
		if (n->root_file->changed)
			tf->n = READ_ONCE(*n->root_file->change_count);
		return n->root_file->show(out);
	}
	t = task_get_of(n);
	if (!t)
		return -ESRCH;
	err = n->kind == NET_FILE      ? show_net(t, n->net_file, out)
	      : n->kind == FDINFO_FILE ? show_fdinfo(t, n->fd, out)
				       : n->file->show(t, out);
	task_put(t);
	return err;
}

static int set(struct text_file *tf, char *text, size_t len)
{
	struct node *n = tf->a;
	struct task *t = task_get_of(n);
	int err;

	if (!t)
		return -ESRCH;
	err = n->kind == TASK_FILE && n->file->set ? n->file->set(t, text, len) : -EINVAL;
	task_put(t);
	return err;
}

/* The tree of mounts has changed since the last poll that said so. The file's namespace is the opener's. */
static unsigned poll_mounts(struct text_file *tf, struct poll_table *pt)
{
	struct mount_ns *ns = tf->b;
	u64 changes;

	poll_wait(tf->file, &ns->poll, pt);
	changes = READ_ONCE(ns->changes);
	if (changes == tf->n)
		return EPOLLIN | EPOLLRDNORM;
	tf->n = changes;
	return EPOLLIN | EPOLLRDNORM | EPOLLERR | EPOLLPRI;
}

static void release_text(struct text_file *tf)
{
	if (tf->b)
		ns_put(&((struct mount_ns *)tf->b)->ns);
}

/* Only files that tell of changes are more than readable: an exception until it is read again. */
static unsigned poll(struct text_file *tf, struct poll_table *pt)
{
	const struct node *n = tf->a;
	const struct proc_file *p = n->root_file;
	unsigned events = EPOLLIN | EPOLLRDNORM;

	if (n->kind == TASK_FILE && n->file->mounts)
		return poll_mounts(tf, pt);
	if (!p || !p->changed)
		return events | EPOLLOUT | EPOLLWRNORM;
	poll_wait(tf->file, p->changed, pt);
	return READ_ONCE(*p->change_count) == tf->n ? events : events | EPOLLERR | EPOLLPRI;
}

static const struct text_ops text_ops = { .show = show, .set = set, .release = release_text, .poll = poll };

static int open(struct inode *i, struct file *f)
{
	const struct node *n = node_of(i);
	const struct proc_file *p = n->root_file;
	struct mount_ns *ns = n->kind == TASK_FILE && n->file->mounts ? mount_ns_current() : NULL;
	int err;

	if (ns)
		ns_get(&ns->ns);
	err = text_file_open(f, &text_ops, i->priv, ns);
	if (err && ns)
		ns_put(&ns->ns);
	if (!err && ns)
		((struct text_file *)f->priv)->n = READ_ONCE(ns->changes);

	if (!err && p && p->changed)
		((struct text_file *)f->priv)->n = READ_ONCE(*p->change_count);
	return err;
}

static int read_root_link(struct inode *i, struct strbuf *out)
{
	struct node *n = node_of(i);
	const struct pid_ns *ns = i->super->priv;
	int pid = current->process ? pid_nr_in(current->process->pid, ns) : 0;

	if (n->target)
		strbuf_add(out, "%s", n->target);
	else if (!pid)
		return -ENOENT;
	else if (n->fd == 0)
		strbuf_add(out, "%d", pid);
	else
		strbuf_add(out, "%d/task/%d", pid, pid_nr_in(current->pid, ns));
	return 0;
}

static int follow(struct inode *i, struct path *out)
{
	struct node *n = node_of(i);
	struct task *t = task_get_of(n);
	struct file *f;
	int err = -ENOENT;

	if (!t)
		return -ENOENT;
	if (n->kind == NS_LINK) {
		struct ns *ns = process_may_look(t) ? ns_behind(n, t) : NULL;

		err = ns ? ns_path(ns, out) : -EACCES;
		ns_put(ns);
	} else if (n->kind == TASK_FILE) {
		err = n->file->follow(t, out);
	} else {
		f = process_may_look(t) ? fd_of_task(t, n->fd) : NULL;
		if (f) {
			*out = f->path;
			path_get(out);
			file_put(f);
			err = 0;
		}
	}
	task_put(t);
	return err;
}

static int read_ns_link(const struct node *n, struct strbuf *out)
{
	struct task *t = task_get_of(n);
	struct ns *ns = t && process_may_look(t) ? ns_behind(n, t) : NULL;

	if (ns)
		ns_describe(ns, out);
	ns_put(ns);
	if (t)
		task_put(t);
	return ns ? 0 : t ? -EACCES : -ENOENT;
}

static int readlink(struct inode *i, struct strbuf *out)
{
	struct node *n = node_of(i);
	struct task *t;
	struct file *f;
	struct path p, root;
	char *buf, *text;
	int err;

	if (n->kind == FD_LINK) {
		t = task_get_of(n);
		f = t ? fd_of_task(t, n->fd) : NULL;
		if (f) {
			file_describe(f, out);
			file_put(f);
		}
		if (t)
			task_put(t);
		return f ? 0 : -ENOENT;
	}
	if (n->kind == NS_LINK)
		return read_ns_link(n, out);
	err = follow(i, &p);
	if (err)
		return err;
	buf = kmalloc(PAGE_SIZE, ALLOC_KERNEL);
	err = buf ? fs_path_of_task(current, true, &root) : -ENOMEM;
	if (!err) {
		err = path_string(&p, &root, buf, PAGE_SIZE, &text);
		if (err >= 0) {
			strbuf_add(out, "%s", text);
			err = 0;
		}
		path_put(&root);
	}
	kfree(buf);
	path_put(&p);
	return err;
}

static const struct inode_ops dir_inode_ops = { .lookup = lookup };
/* Opening with O_TRUNC is how shells write; there is nothing to cut. Owners and rights stay as they are. */
static int setattr(struct inode *i, const struct inode_attr *a)
{
	return a->mask & (ATTR_MODE | ATTR_UID | ATTR_GID) ? -EPERM : 0;
}

static const struct inode_ops file_inode_ops = { .setattr = setattr };
static const struct inode_ops link_inode_ops = { .readlink = read_root_link };
static const struct inode_ops magic_inode_ops = { .readlink = readlink, .follow = follow };
static const struct file_ops dir_ops = { .readdir = readdir };
static const struct file_ops file_ops = TEXT_FILE_OPS(open);

static void put_super(struct super *s)
{
	pid_ns_put(s->priv);
}

static const struct super_ops super_ops = { .evict = evict, .put_super = put_super };

static int mount_proc(struct super *s, const char *source, const char *data)
{
	struct inode *i;

	s->ops = &super_ops;
	s->magic = PROC_SUPER_MAGIC;
	s->priv = pid_ns_current();
	pid_ns_get(s->priv);
	i = make(s, S_IFDIR | 0555, (struct node){ .kind = ROOT });
	if (!i)
		return -ENOMEM;
	s->root = dentry_create_root(s, i);
	return s->root ? 0 : -ENOMEM;
}

static struct fs_type proc = { .name = "proc", .flags = FS_NO_NEGATIVE | FS_USERNS_MOUNT, .mount = mount_proc };

static void proc_init(void)
{
	proc_root_init();
	fs_register(&proc);
}
PART_INIT(fs, proc_init);
