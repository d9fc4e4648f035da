/* SPDX-License-Identifier: MIT
 *
 * Problem: a program wants a signal (SIGIO, or one of its choice with siginfo) whenever a file becomes ready, without
 * asking. Files become ready under wait queues' locks, where no signal can be sent.
 *
 * Idea: a file that anybody asked about has one struct async. While O_ASYNC is set it has an entry on each wait queue
 * that the file's poll op names, as epoll has; the entry's callback notes the events and queues a deferred job, that
 * one (outside of the wait queue's lock) a work, which asks the file what is ready now and sends one signal for it.
 * dnotify of a folder begins at the same job.
 *
 * Contract: process/async.h, vfs/upcalls.h. The sender's rights are those of who set the owner.
 *
 * Locks: async_lock (RANK_ASYNC) serialises changes of all files; a->lock (RANK_SUBSYS_SPIN) guards the owner.
 */
#include <asm/siginfo.h>
#include <core/irq.h>
#include <linux/fcntl.h>
#include <process/async.h>
#include <task/work.h>
#include <vfs/epoll.h>
#include <vfs/upcalls.h>
#include "process_priv.h"

#define URGENT     BIT(31) /* among the events: SIGURG is due */
#define MAX_QUEUES 3       /* that one file's poll op hands over */

struct source {
	struct wait_entry w;
	struct async *async;
	struct waitq *q;
};

struct owner {
	int type;         /* F_OWNER_* */
	struct pid *pid;  /* counted; NULL: nobody */
	kuid_t uid, euid; /* of who named it */
	int sig, fd;
};

struct async {
	struct file *file; /* not counted: upcall_file_async_gone */
	struct spinlock lock;
	struct owner owner;
	atomic_t events; /* EPOLL*, announced and not told yet */
	struct deferred announce;
	struct work work;
	unsigned nr_sources; /* 0: off */
	struct source source[MAX_QUEUES];
};

static struct mutex async_lock = MUTEX_INIT(async_lock, RANK_ASYNC);

/* ---- sending --------------------------------------------------------------------------------------------------- */

static bool owner_may_signal(const struct owner *o, struct task *t)
{
	const struct cred *to;
	bool ok;

	rcu_read_lock();
	to = rcu_deref(t->cred);
	ok = !o->euid.v || uid_eq(o->euid, to->suid) || uid_eq(o->euid, to->uid) || uid_eq(o->uid, to->suid) ||
	     uid_eq(o->uid, to->uid);
	rcu_read_unlock();
	return ok;
}

static void send_to_process(const struct owner *o, struct process *p, const siginfo_t *info)
{
	struct task *t = p->leader;

	if (!t || !owner_may_signal(o, t))
		return;
	if (!o->sig || signal_send_process(o->sig, info, p) == -EAGAIN)
		signal_send_process(SIGIO, NULL, p);
}

static void send_to_thread(const struct owner *o, struct task *t, const siginfo_t *info)
{
	if (!owner_may_signal(o, t))
		return;
	if (!o->sig || signal_send_task(o->sig, info, t) == -EAGAIN)
		signal_send_task(SIGIO, NULL, t);
}

static void send_to_owner(const struct owner *o, const siginfo_t *info)
{
	struct process *p;
	struct task *t;
	ulong irq = process_list_begin();

	if (o->type == F_OWNER_PGRP) {
		list_for_each_entry (p, &o->pid->group, pgrp_link)
			send_to_process(o, p, info);
	} else if (o->type == F_OWNER_PID) {
		p = o->pid->process;
		if (p)
			send_to_process(o, p, info);
	} else {
		t = o->pid->task;
		if (t)
			send_to_thread(o, t, info);
	}
	process_list_end(irq);
}

static const struct reason {
	unsigned event;
	int code;
	long band;
} reasons[] = {
	{ EPOLLMSG, POLL_MSG, EPOLLIN | EPOLLRDNORM | EPOLLMSG },
	{ EPOLLIN, POLL_IN, EPOLLIN | EPOLLRDNORM },
	{ EPOLLPRI, POLL_PRI, EPOLLPRI | EPOLLRDBAND },
	{ EPOLLHUP, POLL_HUP, EPOLLHUP | EPOLLERR },
	{ EPOLLERR, POLL_ERR, EPOLLERR },
	{ EPOLLOUT, POLL_OUT, EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND },
};

static void tell_owner(struct async *a, unsigned events)
{
	siginfo_t info = { .si_fd = 0 };
	struct owner o;

	spin_lock(&a->lock);
	o = a->owner;
	if (o.pid)
		pid_get(o.pid);
	spin_unlock(&a->lock);
	if (!o.pid)
		return;
	if (events & URGENT) {
		const struct owner urgent = { o.type, o.pid, o.uid, o.euid, SIGURG, o.fd };

		send_to_owner(&urgent, NULL);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(reasons); i++) {
		if (!(events & reasons[i].event))
			continue;
		info.si_signo = o.sig;
		info.si_code = reasons[i].code;
		info.si_band = reasons[i].band;
		info.si_fd = o.fd;
		send_to_owner(&o, &info);
		break;
	}
	pid_put(o.pid);
}

static void tell(struct work *w)
{
	struct async *a = container_of(w, struct async, work);
	unsigned events = atomic_xchg(&a->events, 0);

	tell_owner(a, events & (URGENT | EPOLLMSG | file_poll(a->file, NULL)));
}

void async_tell(struct file *f, unsigned events)
{
	if (f->async)
		tell_owner(f->async, events);
}

static void announce(struct deferred *d)
{
	work_queue(&container_of(d, struct async, announce)->work);
}

void upcall_file_async(struct file *f, unsigned events)
{
	atomic_or(&f->async->events, events);
	deferred_queue(&f->async->announce);
}

void upcall_file_urgent(struct file *f)
{
	if (f->async)
		upcall_file_async(f, URGENT);
}

static bool source_wake(struct wait_entry *w, unsigned events)
{
	upcall_file_async(container_of(w, struct source, w)->async->file, events & ~EPOLLMSG);
	return false;
}

/* ---- changing ------------------------------------------------------------------------------------------------------
 */

/* NULL: out of memory. Once there it stays until the file goes. */
static struct async *async_of(struct file *f)
{
	struct async *a = f->async;

	assert(mutex_is_held(&async_lock));
	if (a)
		return a;
	a = kzalloc(sizeof(*a), ALLOC_CHARGED);
	if (!a)
		return NULL;
	a->file = f;
	spin_init(&a->lock, RANK_SUBSYS_SPIN);
	deferred_init(&a->announce, announce);
	work_init(&a->work, tell);
	f->async = a;
	return a;
}

struct joining {
	struct poll_table pt;
	struct async *async;
};

static void join(struct poll_table *pt, struct file *f, struct waitq *q)
{
	struct async *a = container_of(pt, struct joining, pt)->async;
	struct source *s;

	if (a->nr_sources == MAX_QUEUES)
		return;
	s = &a->source[a->nr_sources++];
	wait_entry_init(&s->w);
	s->w.wake = source_wake;
	s->async = a;
	s->q = q;
	waitq_add(q, &s->w);
}

static void leave(struct async *a)
{
	for (unsigned i = 0; i < a->nr_sources; i++)
		waitq_remove(a->source[i].q, &a->source[i].w);
	a->nr_sources = 0;
}

int async_enable(struct file *f, int fd, bool on)
{
	struct joining j = { .pt = { .add = join } };

	if (!f->ops->poll || (!on && !f->async))
		return 0;
	mutex_lock(&async_lock);
	j.async = async_of(f);
	if (j.async) {
		leave(j.async);
		j.async->owner.fd = fd;
		if (on)
			file_poll(f, &j.pt);
	}
	mutex_unlock(&async_lock);
	return j.async ? 0 : -ENOMEM;
}

void async_set_fd(struct file *f, int fd)
{
	f->async->owner.fd = fd;
}

int async_set_owner(struct file *f, int type, int nr)
{
	struct pid *pid = nr ? pid_find_get(nr) : NULL, *old = NULL;
	struct async *a;

	if (nr && !pid)
		return -ESRCH;
	mutex_lock(&async_lock);
	a = async_of(f);
	if (a) {
		spin_lock(&a->lock);
		old = a->owner.pid;
		a->owner.type = type;
		a->owner.pid = pid;
		a->owner.uid = current->cred->uid;
		a->owner.euid = current->cred->euid;
		spin_unlock(&a->lock);
	}
	mutex_unlock(&async_lock);
	pid_put(a ? old : pid);
	return a ? 0 : -ENOMEM;
}

void async_owner(struct file *f, int *type, int *nr)
{
	struct async *a = f->async;

	*type = F_OWNER_TID;
	*nr = 0;
	if (!a)
		return;
	spin_lock(&a->lock);
	*type = a->owner.type;
	if (a->owner.pid && (*type == F_OWNER_PGRP ? !list_empty(&a->owner.pid->group) : a->owner.pid->task != NULL))
		*nr = pid_nr(a->owner.pid);
	spin_unlock(&a->lock);
}

int async_set_who(struct file *f, int who)
{
	if (who == INT32_MIN)
		return -EINVAL;
	return async_set_owner(f, who < 0 ? F_OWNER_PGRP : F_OWNER_PID, who < 0 ? -who : who);
}

int async_who(struct file *f)
{
	int type, nr;

	async_owner(f, &type, &nr);
	return type == F_OWNER_PGRP ? -nr : nr;
}

int async_set_signal(struct file *f, int sig)
{
	struct async *a;

	if (sig < 0 || sig > 64)
		return -EINVAL;
	mutex_lock(&async_lock);
	a = async_of(f);
	if (a)
		a->owner.sig = sig;
	mutex_unlock(&async_lock);
	return a ? 0 : -ENOMEM;
}

int async_signal(struct file *f)
{
	return f->async ? f->async->owner.sig : 0;
}

void upcall_file_async_gone(struct file *f)
{
	struct async *a = f->async;

	leave(a);
	while (READ_ONCE(a->announce.queued)) /* nobody can queue it any more; it begins soon */
		resched_point();
	rcu_synchronize(); /* and has ended, when its CPU runs something else */
	work_flush(&a->work);
	pid_put(a->owner.pid);
	kfree(a);
}
