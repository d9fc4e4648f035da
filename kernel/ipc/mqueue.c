/* SPDX-License-Identifier: MIT
 *
 * Problem: POSIX message queues are names in a folder of their own, descriptors that poll and close like any other,
 * messages by priority, and one process that may ask for a signal when a message comes to an empty queue.
 *
 * Idea: a file system with one folder an IPC namespace, whose files are the queues: mq_open is an open there, and
 * mount -t mqueue shows the caller's folder. Messages stand in one list, highest priority first, in order of arrival
 * within one. A name is a pinned dentry, as in tmpfs.
 *
 * Contract: mq_overview(7) and the pages of each call. Reading the file shows its state. What a user's queues may hold
 * is limited by RLIMIT_MSGQUEUE. SIGEV_THREAD, which hands a cookie to a netlink socket, is refused with EBADF.
 *
 * Locks: the folder's inode lock for names; queue->lock (RANK_SUBSYS_SPIN) for a queue; users_lock for the accounts.
 */
#include <abi/syscalls.h>
#include <asm/resource.h>
#include <core/init.h>
#include <lib/printf.h>
#include <linux/eventpoll.h>
#include <linux/mqueue.h>
#include <linux/time.h>
#include <process/timers.h>
#include <task/sched.h>
#include <task/wait.h>
#include <vfs/cache.h>
#include <vfs/mount.h>
#include <vfs/names.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include "ipc_priv.h"

#define MQUEUE_MAGIC  0x19800202
#define HARD_MESSAGES 65536
#define HARD_BYTES    (16 * 1024 * 1024)
#define TEXT_BYTES    80 /* the size that stat shows of a queue's file */

struct message {
	struct list link;
	unsigned priority;
	size_t bytes;
	char text[];
};

struct account { /* what a user's queues may hold, in all namespaces */
	struct list link;
	kuid_t uid;
	u64 bytes;
};

struct mqueue {
	struct spinlock lock;
	struct list messages; /* lock, like all below */
	unsigned count, max_messages, max_bytes;
	u64 queued_bytes;
	unsigned readers_waiting;
	struct waitq readers, writers;
	struct pid *notify; /* counted; NULL: nobody */
	int notify_how, notify_signal;
	ulong notify_value;
	struct account *account;
	struct ipc_ns *ns; /* lives as long as its folder's names; NULL: it has ended */
};

struct folder {
	struct xarray names; /* cookie to dentry; the folder's inode lock */
	u64 next_cookie;
	struct ipc_ns *ns;
};

static struct spinlock users_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static struct list users = LIST_INIT(users);
static struct path fs_root;
static const struct file_ops queue_file_ops;
static const struct inode_ops folder_ops;

/* ---- accounts ------------------------------------------------------------------------------------------------ */

static u64 cost(unsigned messages, unsigned bytes)
{
	return (u64)messages * (bytes + 64);
}

static struct account *account_of(kuid_t uid, struct account *fresh)
{
	struct account *a;

	list_for_each_entry (a, &users, link)
		if (uid_eq(a->uid, uid))
			return a;
	list_add_tail(&fresh->link, &users);
	return fresh;
}

static int charge(struct mqueue *q)
{
	u64 bytes = cost(q->max_messages, q->max_bytes), limit = process_rlimit(RLIMIT_MSGQUEUE);
	struct account *fresh = kzalloc(sizeof(*fresh), 0), *a;
	int err = 0;

	if (!fresh)
		return -ENOMEM;
	fresh->uid = current->cred->uid;
	spin_lock(&users_lock);
	a = account_of(fresh->uid, fresh);
	if (a->bytes + bytes > limit)
		err = -EMFILE;
	else
		a->bytes += bytes;
	q->account = err ? NULL : a;
	spin_unlock(&users_lock);
	if (a != fresh)
		kfree(fresh);
	return err;
}

static void uncharge(struct mqueue *q)
{
	spin_lock(&users_lock);
	if (q->account)
		q->account->bytes -= cost(q->max_messages, q->max_bytes);
	spin_unlock(&users_lock);
}

/* ---- queues as inodes ---------------------------------------------------------------------------------------------
 */

static int queue_create(struct ipc_ns *ns, const struct mq_attr *attr, struct mqueue **out)
{
	struct mqueue *q = kzalloc(sizeof(*q), ALLOC_CHARGED);
	int err;

	if (!q)
		return -ENOMEM;
	spin_init(&q->lock, RANK_SUBSYS_SPIN);
	list_init(&q->messages);
	waitq_init(&q->readers);
	waitq_init(&q->writers);
	q->ns = ns;
	q->max_messages = attr ? attr->mq_maxmsg : min(ns->mq_messages, ns->mq_messages_default);
	q->max_bytes = attr ? attr->mq_msgsize : min(ns->mq_bytes, ns->mq_bytes_default);
	err = charge(q);
	if (err) {
		kfree(q);
		return err;
	}
	*out = q;
	return 0;
}

static void evict(struct inode *i)
{
	struct message *m, *n;
	struct mqueue *q;

	if (S_ISDIR(i->mode)) {
		kfree(i->priv);
		return;
	}
	q = i->priv;
	list_for_each_entry_safe (m, n, &q->messages, link)
		kfree(m);
	uncharge(q);
	pid_put(q->notify);
	kfree(q);
}

static const struct super_ops super_ops = { .evict = evict };

static int attach(struct inode *dir, struct dentry *d, u16 mode, const struct mq_attr *attr)
{
	struct folder *f = dir->priv;
	struct mqueue *q;
	struct inode *i;
	int err;

	if (!f->ns)
		return -EACCES;
	if ((unsigned)atomic_read(&f->ns->mq_count) >= f->ns->mq_queues && !capable(CAP_SYS_RESOURCE))
		return -ENOSPC;
	err = queue_create(f->ns, attr, &q);
	if (err)
		return err;
	i = super_new_inode(dir->super, S_IFREG | (mode & 07777), dir);
	if (!i) {
		uncharge(q);
		kfree(q);
		return -ENOMEM;
	}
	i->priv = q;
	i->size = TEXT_BYTES;
	i->file_ops = &queue_file_ops;
	err = xa_store(&f->names, f->next_cookie, d, NULL);
	if (err) {
		inode_put(i);
		return err;
	}
	d->cookie = f->next_cookie++;
	atomic_inc(&f->ns->mq_count);
	dentry_attach(d, i);
	dentry_pin(d);
	return 0;
}

static int folder_create(struct inode *dir, struct dentry *d, u16 mode)
{
	return attach(dir, d, mode, NULL);
}

static int folder_unlink(struct inode *dir, struct dentry *d)
{
	struct folder *f = dir->priv;

	xa_erase(&f->names, d->cookie);
	if (f->ns)
		atomic_dec(&f->ns->mq_count);
	d->inode->nlink--;
	return 0;
}

static int folder_readdir(struct file *f, struct dir_emit *e)
{
	struct folder *folder = f->inode->priv;
	u64 at = max(e->pos, (s64)2);
	struct dentry *d;

	if (e->pos == 0 && !e->emit(e, ".", 1, 1, f->inode->ino, S_IFDIR >> 12))
		return 0;
	if (e->pos <= 1 && !e->emit(e, "..", 2, 2, f->inode->ino, S_IFDIR >> 12))
		return 0;
	while ((d = xa_find(&folder->names, &at, ~0ULL >> 1))) {
		if (!e->emit(e, d->name->str, d->name->len, at + 1, d->inode->ino, S_IFREG >> 12))
			break;
		at++;
	}
	return 0;
}

static const struct inode_ops folder_ops = { .create = folder_create, .unlink = folder_unlink };
static const struct file_ops folder_file_ops = { .readdir = folder_readdir };

static int make_folder(struct super *s, struct ipc_ns *ns, struct dentry **out)
{
	struct inode *i = super_new_inode(s, S_IFDIR | S_ISVTX | 0777, NULL);
	struct folder *f = kzalloc(sizeof(*f), ALLOC_CHARGED);

	if (!i || !f) {
		kfree(f);
		inode_put(i);
		return -ENOMEM;
	}
	xa_init(&f->names, &vfs_xa_mem);
	f->next_cookie = 2;
	f->ns = ns;
	i->priv = f;
	i->ops = &folder_ops;
	i->file_ops = &folder_file_ops;
	i->nlink = 2;
	*out = dentry_create_root(s, i);
	return *out ? 0 : -ENOMEM;
}

static int mq_mount(struct super *s, const char *source, const char *data)
{
	s->ops = &super_ops;
	s->magic = MQUEUE_MAGIC;
	return make_folder(s, NULL, &s->root);
}

static int mq_mount_root(struct super *s, struct dentry **out)
{
	*out = ipc_ns_current()->mq_root.dentry;
	dentry_get(*out);
	return 0;
}

static struct fs_type mqueue_type = { .name = "mqueue",
				      .flags = FS_SINGLE | FS_NO_NEGATIVE | FS_USERNS_MOUNT,
				      .mount = mq_mount,
				      .mount_root = mq_mount_root };

int mq_ns_init(struct ipc_ns *ns)
{
	int err;

	if (!fs_root.mnt) {
		fs_register(&mqueue_type);
		err = mount_kernel(&mqueue_type, &fs_root);
		if (err)
			return err;
	}
	ns->mq_root.mnt = fs_root.mnt;
	return make_folder(fs_root.mnt->super, ns, &ns->mq_root.dentry);
}

/* A mount may still show the folder; its queues go, and nobody makes new ones. */
void mq_ns_end(struct ipc_ns *ns)
{
	struct dentry *root = ns->mq_root.dentry, *d;
	struct folder *f = root->inode->priv;
	u64 at = 0;

	write_lock(&root->inode->lock);
	while ((d = xa_find(&f->names, &at, ~0ULL >> 1))) {
		(void)folder_unlink(root->inode, d);
		((struct mqueue *)d->inode->priv)->ns = NULL;
		dentry_drop(d);
		dentry_unpin(d);
	}
	f->ns = NULL;
	write_unlock(&root->inode->lock);
	dentry_put(root);
}

/* ---- the file: its text, poll, close ----------------------------------------------------------------------------- */

static ssize_t queue_read(struct io *io)
{
	struct mqueue *q = io->file->inode->priv;
	char text[TEXT_BYTES + 16];
	size_t n, done;

	spin_lock(&q->lock);
	n = str_format(text, sizeof(text), "QSIZE:%-10llu NOTIFY:%-5d SIGNO:%-5d NOTIFY_PID:%-6d\n",
		       (unsigned long long)q->queued_bytes, q->notify ? q->notify_how : 0,
		       q->notify && q->notify_how == SIGEV_SIGNAL ? q->notify_signal : 0, pid_nr(q->notify));
	spin_unlock(&q->lock);
	if (io->pos >= (s64)n)
		return 0;
	n = min(n - (size_t)io->pos, io->iter.count);
	done = iter_copy_out(text + io->pos, n, &io->iter);
	io->pos += done;
	return done || !n ? (ssize_t)done : -EFAULT;
}

static unsigned queue_poll(struct file *f, struct poll_table *pt)
{
	struct mqueue *q = f->inode->priv;
	unsigned mask = 0;

	poll_wait(f, &q->readers, pt);
	poll_wait(f, &q->writers, pt);
	if (READ_ONCE(q->count))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (READ_ONCE(q->count) < q->max_messages)
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

static void forget_notify(struct mqueue *q)
{
	pid_put(q->notify);
	q->notify = NULL;
}

static int queue_flush(struct file *f)
{
	struct mqueue *q = f->inode->priv;

	spin_lock(&q->lock);
	if (q->notify == current->process->pid)
		forget_notify(q);
	spin_unlock(&q->lock);
	return 0;
}

static const struct file_ops queue_file_ops = {
	.read = queue_read, .poll = queue_poll, .flush = queue_flush, .llseek = file_llseek
};

/* A descriptor's queue; put ref in any case. */
static int get_queue(int fd, unsigned mode, struct fd_ref *ref, struct mqueue **out)
{
	*ref = fd_get(fd);
	if (!ref->file || ref->file->ops != &queue_file_ops || (ref->file->mode & mode) != mode) {
		if (ref->file)
			fd_put(*ref);
		return -EBADF;
	}
	*out = ref->file->inode->priv;
	return 0;
}

/* ---- open and unlink ------------------------------------------------------------------------------------------------
 */

static int check_attr(const struct ipc_ns *ns, const struct mq_attr *a)
{
	bool may = capable(CAP_SYS_RESOURCE);

	if (a->mq_maxmsg <= 0 || a->mq_msgsize <= 0 || a->mq_maxmsg > (may ? HARD_MESSAGES : (long)ns->mq_messages) ||
	    a->mq_msgsize > (may ? HARD_BYTES : (long)ns->mq_bytes))
		return -EINVAL;
	return 0;
}

static int look_up(struct ipc_ns *ns, const char *text, struct dentry **out)
{
	struct name n = name_of(text);

	if (!strcmp(text, ".") || !strcmp(text, "..") || strchr(text, '/'))
		return -EACCES;
	if (n.len > 255)
		return -ENAMETOOLONG;
	return dentry_lookup_locked(ns->mq_root.dentry, &n, out);
}

struct open_wish {
	int flags;
	u16 mode;
	const struct mq_attr *attr; /* NULL: the usual */
};

static int open_existing(const struct path *p, const struct open_wish *w, struct file **out)
{
	static const unsigned rights[] = { MAY_READ, MAY_WRITE, MAY_READ | MAY_WRITE };

	if ((w->flags & O_CREAT) && (w->flags & O_EXCL))
		return -EEXIST;
	if ((w->flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (inode_permission(p->dentry->inode, rights[w->flags & O_ACCMODE]))
		return -EACCES;
	return file_open_path(p, w->flags & (O_ACCMODE | O_NONBLOCK), out);
}

/* Its maker gets what it asks for, whatever the mode says to others. */
static int open_new(struct inode *dir, const struct path *p, const struct open_wish *w, struct file **out)
{
	u16 mode = w->mode & ~((struct fs_context *)current->fs)->umask & 0777;
	int err = attach(dir, p->dentry, S_IRUSR | S_IWUSR, w->attr);

	if (err)
		return err;
	dentry_hash(p->dentry);
	err = file_open_path(p, w->flags & (O_ACCMODE | O_NONBLOCK), out);
	p->dentry->inode->mode = S_IFREG | mode;
	return err;
}

static int open_queue(struct ipc_ns *ns, const char *name, const struct open_wish *w, struct file **out)
{
	struct path p = { ns->mq_root.mnt, NULL };
	struct inode *dir = ns->mq_root.dentry->inode;
	int err;

	write_lock(&dir->lock);
	err = look_up(ns, name, &p.dentry);
	if (!err && p.dentry->inode)
		err = open_existing(&p, w, out);
	else if (!err && !(w->flags & O_CREAT))
		err = -ENOENT;
	else if (!err && w->attr)
		err = check_attr(ns, w->attr);
	if (!err && !p.dentry->inode)
		err = open_new(dir, &p, w, out);
	write_unlock(&dir->lock);
	dentry_put(p.dentry);
	return err;
}

long sys_mq_open(const char __user *uname, int flags, u32 mode, void __user *uattr)
{
	struct mq_attr attr;
	struct open_wish w = { flags, mode, NULL };
	struct file *f;
	char *name;
	int err, fd;

	if (uattr && (flags & O_CREAT)) {
		if (user_get(&attr, uattr, sizeof(attr)))
			return -EFAULT;
		w.attr = &attr;
	}
	name = path_copy(uname, 0, &err);
	if (!name)
		return err;
	fd = fd_reserve(O_CLOEXEC, 0);
	err = fd < 0 ? fd : open_queue(ipc_ns_current(), name, &w, &f);
	path_free(name);
	if (!err)
		fd_install(fd, f);
	else if (fd >= 0)
		fd_release(fd);
	return err ? err : fd;
}

static int may_remove(const struct dentry *d)
{
	const struct cred *c = current->cred;

	if (uid_eq(c->fsuid, d->inode->uid) || uid_eq(c->fsuid, d->parent->inode->uid) ||
	    capable_over(d->inode->uid, d->inode->gid, CAP_FOWNER))
		return 0;
	return -EPERM;
}

long sys_mq_unlink(const char __user *uname)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct inode *dir = ns->mq_root.dentry->inode;
	struct dentry *d = NULL;
	int err;
	char *name = path_copy(uname, 0, &err);

	if (!name)
		return err;
	write_lock(&dir->lock);
	err = look_up(ns, name, &d);
	if (!err && !d->inode)
		err = -ENOENT;
	if (!err)
		err = may_remove(d);
	if (!err) {
		err = folder_unlink(dir, d);
		dentry_drop(d);
		dentry_unpin(d);
	}
	write_unlock(&dir->lock);
	dentry_put(d);
	path_free(name);
	return err;
}

/* ---- messages
 * --------------------------------------------------------------------------------------------------------- */

static void insert(struct mqueue *q, struct message *m)
{
	struct message *at;

	list_for_each_entry (at, &q->messages, link)
		if (at->priority < m->priority)
			break;
	list_add_tail(&m->link, &at->link);
	WRITE_ONCE(q->count, q->count + 1);
	q->queued_bytes += m->bytes;
}

/* A message has come to an empty queue that nobody reads: its watcher is told, once. Returns whom, counted. */
static struct pid *take_notify(struct mqueue *q, siginfo_t *info, int *sig)
{
	struct pid *to = q->notify;

	if (!to || q->count != 1 || q->readers_waiting)
		return NULL;
	*sig = q->notify_how == SIGEV_SIGNAL ? q->notify_signal : 0;
	memset(info, 0, sizeof(*info));
	info->si_signo = *sig;
	info->si_code = SI_MESGQ;
	info->si_value.sival_ptr = (void *)q->notify_value;
	info->si_uid = user_out(current->cred->uid);
	q->notify = NULL;
	return to;
}

static void tell(struct pid *to, siginfo_t *info, int sig)
{
	struct process *p = process_of_pid(to);

	if (p) {
		info->si_pid = pid_nr_in(current->process->pid, pid_ns_of(to));
		if (sig)
			(void)signal_send_process(sig, info, p);
		process_put(p);
	}
	pid_put(to);
}

static int deadline_of(const void __user *timeout, u64 *deadline)
{
	u64 ns;
	int err;

	*deadline = ~0ULL;
	if (!timeout)
		return 0;
	err = timespec_get(timeout, &ns);
	return err ? err : clock_deadline(CLOCK_REALTIME, ns, false, deadline);
}

static int wait_until(struct waitq *wq, const unsigned *count, unsigned unlike, u64 deadline)
{
	int err = wait_event_interruptible_until(wq, READ_ONCE(*count) != unlike, deadline);

	return err == -ETIME ? -ETIMEDOUT : err;
}

static int send(struct mqueue *q, struct message *m, bool wait, u64 deadline)
{
	struct pid *watcher;
	siginfo_t info;
	int err, sig;

	for (;;) {
		spin_lock(&q->lock);
		if (q->count < q->max_messages)
			break;
		spin_unlock(&q->lock);
		if (!wait)
			return -EAGAIN;
		err = wait_until(&q->writers, &q->count, q->max_messages, deadline);
		if (err)
			return err;
	}
	insert(q, m);
	watcher = take_notify(q, &info, &sig);
	spin_unlock(&q->lock);
	waitq_wake(&q->readers, -1, EPOLLIN | EPOLLRDNORM);
	if (watcher)
		tell(watcher, &info, sig);
	return 0;
}

long sys_mq_timedsend(int mqdes, const char __user *text, size_t len, u32 prio, const void __user *timeout)
{
	struct message *m;
	struct mqueue *q;
	struct fd_ref ref;
	u64 deadline;
	int err;

	err = deadline_of(timeout, &deadline);
	if (!err && prio >= MQ_PRIO_MAX)
		err = -EINVAL;
	if (!err)
		err = get_queue(mqdes, FMODE_WRITE, &ref, &q);
	if (err)
		return err;
	err = len > q->max_bytes ? -EMSGSIZE : 0;
	m = err ? NULL : kmalloc(sizeof(*m) + len, ALLOC_CHARGED);
	if (m) {
		m->priority = prio;
		m->bytes = len;
		err = user_get(m->text, text, len);
		if (!err)
			err = send(q, m, !(ref.file->flags & O_NONBLOCK), deadline);
		if (err)
			kfree(m);
	} else if (!err) {
		err = -ENOMEM;
	}
	fd_put(ref);
	return err;
}

static int receive(struct mqueue *q, bool wait, u64 deadline, struct message **out)
{
	struct message *m;
	int err;

	spin_lock(&q->lock);
	while (!q->count) {
		if (!wait) {
			spin_unlock(&q->lock);
			return -EAGAIN;
		}
		q->readers_waiting++;
		spin_unlock(&q->lock);
		err = wait_until(&q->readers, &q->count, 0, deadline);
		spin_lock(&q->lock);
		q->readers_waiting--;
		if (err && !q->count) {
			spin_unlock(&q->lock);
			return err;
		}
	}
	m = list_entry(q->messages.next, struct message, link);
	list_del(&m->link);
	WRITE_ONCE(q->count, q->count - 1);
	q->queued_bytes -= m->bytes;
	spin_unlock(&q->lock);
	waitq_wake(&q->writers, -1, EPOLLOUT | EPOLLWRNORM);
	*out = m;
	return 0;
}

long sys_mq_timedreceive(int mqdes, char __user *text, size_t len, u32 __user *prio, const void __user *timeout)
{
	struct message *m;
	struct mqueue *q;
	struct fd_ref ref;
	u64 deadline;
	long result;
	int err;

	err = deadline_of(timeout, &deadline);
	if (!err)
		err = get_queue(mqdes, FMODE_READ, &ref, &q);
	if (err)
		return err;
	err = len < q->max_bytes ? -EMSGSIZE : 0;
	if (!err)
		err = receive(q, !(ref.file->flags & O_NONBLOCK), deadline, &m);
	fd_put(ref);
	if (err)
		return err;
	result = m->bytes;
	if (user_put(text, m->text, m->bytes) || (prio && user_put(prio, &m->priority, sizeof(*prio))))
		result = -EFAULT;
	kfree(m);
	return result;
}

/* ---- notification and attributes
 * ------------------------------------------------------------------------------------------ */

long sys_mq_notify(int mqdes, const void __user *notification)
{
	sigevent_t event;
	struct mqueue *q;
	struct fd_ref ref;
	int err;

	if (notification) {
		if (user_get(&event, notification, sizeof(event)))
			return -EFAULT;
		if (event.sigev_notify == SIGEV_THREAD)
			return fail(EBADF, "mq_notify: no netlink socket to tell");
		if (event.sigev_notify != SIGEV_NONE && event.sigev_notify != SIGEV_SIGNAL)
			return -EINVAL;
		if (event.sigev_notify == SIGEV_SIGNAL && (event.sigev_signo < 1 || event.sigev_signo > 64))
			return -EINVAL;
	}
	err = get_queue(mqdes, 0, &ref, &q);
	if (err)
		return err;
	spin_lock(&q->lock);
	if (!notification) {
		if (q->notify == current->process->pid)
			forget_notify(q);
	} else if (q->notify) {
		err = -EBUSY;
	} else {
		pid_get(current->process->pid);
		q->notify = current->process->pid;
		q->notify_how = event.sigev_notify;
		q->notify_signal = event.sigev_signo;
		q->notify_value = (ulong)event.sigev_value.sival_ptr;
	}
	spin_unlock(&q->lock);
	fd_put(ref);
	return err;
}

long sys_mq_getsetattr(int mqdes, const void __user *uattr, void __user *uold)
{
	struct mq_attr attr = { .mq_flags = 0 }, old = { .mq_flags = 0 };
	struct mqueue *q;
	struct fd_ref ref;
	int err;

	if (uattr && user_get(&attr, uattr, sizeof(attr)))
		return -EFAULT;
	if (uattr && attr.mq_flags & ~O_NONBLOCK)
		return -EINVAL;
	err = get_queue(mqdes, 0, &ref, &q);
	if (err)
		return err;
	spin_lock(&q->lock);
	old.mq_flags = ref.file->flags & O_NONBLOCK;
	old.mq_maxmsg = q->max_messages;
	old.mq_msgsize = q->max_bytes;
	old.mq_curmsgs = q->count;
	if (uattr)
		ref.file->flags = (ref.file->flags & ~O_NONBLOCK) | (attr.mq_flags & O_NONBLOCK);
	spin_unlock(&q->lock);
	fd_put(ref);
	return uold && user_put(uold, &old, sizeof(old)) ? -EFAULT : 0;
}
