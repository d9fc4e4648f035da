/* SPDX-License-Identifier: MIT
 *
 * Problem: a server watches thousands of descriptors of which few are ready; the cost of a wait must follow the few.
 *
 * Idea: each watched file has an item with an entry on the file's wait queues. The callback puts the item on the ready
 * list and wakes a sleeper; epoll_wait asks only the items on that list, and puts a level-triggered one back as long as
 * it stays ready.
 *
 * Contract: epoll(7), epoll_ctl(2). Items do not keep their file open: epoll_file_gone removes them before the file's
 * release. An epoll may watch another one, up to MAX_NESTING deep, without a circle.
 *
 * Locks: links_lock (RANK_SUBSYS) serialises adding and removing items and guards file->epoll_links; then ep->lock
 * (RANK_SUBSYS, nested) guards the items and keeps them while they are asked; ready_lock (RANK_EPOLL, irqsave, taken
 * inside foreign wait queues) guards the ready list and the sleepers. Whoever polls an epoll itself is woken by a
 * deferred job, since that takes another wait queue's lock.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <lib/xarray.h>
#include <task/sched.h>
#include <task/work.h>
#include <vfs/cache.h>
#include <vfs/epoll.h>
#include <vfs/uapi.h>
#include "vfs_priv.h"

#define MAX_NESTING 5
#define ALWAYS      (EPOLLERR | EPOLLHUP)
#define PRIVATE     (EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE)
#define MAX_QUEUES  3 /* that one file's poll op hands over */

struct sleeper {
	struct list link;
	struct task *task;
};

struct epoll {
	struct mutex lock;
	struct xarray items; /* by descriptor: a chain of items */
	struct spinlock ready_lock;
	struct list ready;    /* item->ready_link */
	struct list sleepers; /* in epoll_wait */
	struct waitq poll_q;  /* those who poll the epoll */
	struct deferred announce;
	struct rcu_head rcu;
};

struct item_entry {
	struct wait_entry w;
	struct item *item;
	struct waitq *q;
};

struct item {
	struct item *next; /* same descriptor, another file */
	struct epoll *ep;
	struct file *file; /* not counted: see epoll_file_gone */
	int fd;
	struct epoll_event ev;
	struct list file_link;  /* file->epoll_links */
	struct list ready_link; /* ready_lock */
	unsigned nr_entries;
	bool failed;
	struct item_entry entry[MAX_QUEUES];
};

struct joining {
	struct poll_table pt;
	struct item *item;
};

static struct mutex links_lock = MUTEX_INIT(links_lock, RANK_SUBSYS);
static const struct file_ops epoll_ops;

/* ---- becoming ready ------------------------------------------------------------------------------------------ */

static void announce(struct deferred *d)
{
	struct epoll *ep = container_of(d, struct epoll, announce);

	waitq_wake_all(&ep->poll_q);
}

/* Under ready_lock. True: somebody was woken. */
static bool wake_one(struct epoll *ep)
{
	struct sleeper *s;

	list_for_each_entry (s, &ep->sleepers, link) {
		if (task_wake(s->task)) {
			list_move_tail(&s->link, &ep->sleepers);
			return true;
		}
	}
	return false;
}

static bool make_ready(struct item *it)
{
	struct epoll *ep = it->ep;
	ulong irq = spin_lock_irqsave(&ep->ready_lock);
	bool woke;

	if (list_empty(&it->ready_link))
		list_add_tail(&it->ready_link, &ep->ready);
	woke = wake_one(ep);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	if (waitq_active(&ep->poll_q)) {
		deferred_queue(&ep->announce);
		woke = true;
	}
	return woke;
}

static bool item_wake(struct wait_entry *w, unsigned events)
{
	struct item *it = container_of(w, struct item_entry, w)->item;
	u32 wanted = READ_ONCE(it->ev.events);

	if (!(wanted & ~PRIVATE) || !(events & (wanted | ALWAYS)))
		return false;
	return make_ready(it) || !(wanted & EPOLLEXCLUSIVE);
}

static void join(struct poll_table *pt, struct file *f, struct waitq *q)
{
	struct item *it = container_of(pt, struct joining, pt)->item;
	struct item_entry *e;

	if (it->nr_entries == MAX_QUEUES) {
		it->failed = true;
		return;
	}
	e = &it->entry[it->nr_entries++];
	wait_entry_init(&e->w);
	e->w.wake = item_wake;
	e->w.exclusive = it->ev.events & EPOLLEXCLUSIVE;
	e->item = it;
	e->q = q;
	waitq_add(q, &e->w);
}

static unsigned ask(struct item *it)
{
	return file_poll(it->file, NULL) & (it->ev.events | ALWAYS);
}

/* ---- items --------------------------------------------------------------------------------------------------- */

static struct item *find_item(struct epoll *ep, int fd, struct file *f)
{
	struct item *it = xa_load(&ep->items, fd);

	while (it && it->file != f)
		it = it->next;
	return it;
}

static void forget_item(struct item *it)
{
	struct epoll *ep = it->ep;
	struct item *head = xa_load(&ep->items, it->fd);
	ulong irq;

	assert(mutex_is_held(&ep->lock));
	for (unsigned i = 0; i < it->nr_entries; i++)
		waitq_remove(it->entry[i].q, &it->entry[i].w);
	irq = spin_lock_irqsave(&ep->ready_lock);
	list_del_init(&it->ready_link);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	if (head != it) {
		while (head->next != it)
			head = head->next;
		head->next = it->next;
	} else if (it->next) {
		ensure(!xa_store(&ep->items, it->fd, it->next, NULL)); /* replaces: needs no memory */
	} else {
		xa_erase(&ep->items, it->fd);
	}
	list_del(&it->file_link);
	kfree(it);
}

static int add_item(struct epoll *ep, int fd, struct file *f, const struct epoll_event *ev)
{
	struct item *it = kzalloc(sizeof(*it), ALLOC_CHARGED);
	struct joining j = { .pt = { .add = join, .events = ev->events }, .item = it };
	int err;

	if (!it)
		return -ENOMEM;
	it->ep = ep;
	it->file = f;
	it->fd = fd;
	it->ev = *ev;
	list_init(&it->ready_link);
	it->next = xa_load(&ep->items, fd);
	err = xa_store(&ep->items, fd, it, NULL);
	if (err) {
		kfree(it);
		return err;
	}
	list_add_tail(&it->file_link, &f->epoll_links);
	if (file_poll(f, &j.pt) & (it->ev.events | ALWAYS))
		make_ready(it);
	if (it->failed) {
		forget_item(it);
		return -ENOMEM;
	}
	return 0;
}

static void change_item(struct item *it, const struct epoll_event *ev)
{
	WRITE_ONCE(it->ev.events, ev->events);
	it->ev.data = ev->data;
	smp_mb();
	if (ask(it))
		make_ready(it);
}

void epoll_file_gone(struct file *f)
{
	mutex_lock(&links_lock);
	while (!list_empty(&f->epoll_links)) {
		struct item *it = list_first_entry(&f->epoll_links, struct item, file_link);
		struct epoll *ep = it->ep;

		mutex_lock_nested(&ep->lock);
		forget_item(it);
		mutex_unlock(&ep->lock);
	}
	mutex_unlock(&links_lock);
}

/* How deep epolls hang below f; more than MAX_NESTING also for a circle (through `self`). Under links_lock. */
static int nesting(struct file *f, const struct epoll *self, int depth)
{
	struct epoll *ep = f->priv;
	struct item *it;
	int most = 0;
	u64 fd;

	if (f->ops != &epoll_ops)
		return 0;
	if (ep == self || depth > MAX_NESTING)
		return MAX_NESTING + 1;
	xa_for_each (&ep->items, fd, it)
		for (struct item *i = it; i; i = i->next)
			most = max(most, nesting(i->file, self, depth + 1));
	return most + 1;
}

static int control_locked(struct epoll *ep, int op, int fd, struct file *f, const struct epoll_event *ev)
{
	struct item *it = find_item(ep, fd, f);

	switch (op) {
	case EPOLL_CTL_ADD: return it ? -EEXIST : add_item(ep, fd, f, ev);
	case EPOLL_CTL_DEL:
		if (!it)
			return -ENOENT;
		forget_item(it);
		return 0;
	case EPOLL_CTL_MOD:
		if (!it)
			return -ENOENT;
		if (it->ev.events & EPOLLEXCLUSIVE || ev->events & EPOLLEXCLUSIVE)
			return -EINVAL;
		change_item(it, ev);
		return 0;
	default: return -EINVAL;
	}
}

int epoll_control(struct file *epf, int op, int fd, struct file *f, const struct epoll_event *ev)
{
	struct epoll *ep = epf->priv;
	int err = 0;

	if (epf->ops != &epoll_ops || f == epf)
		return -EINVAL;
	if (!f->ops->poll)
		return -EPERM;
	if (op == EPOLL_CTL_ADD && ev->events & EPOLLEXCLUSIVE &&
	    (f->ops == &epoll_ops ||
	     ev->events & ~(EPOLLIN | EPOLLOUT | ALWAYS | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)))
		return -EINVAL;
	mutex_lock(&links_lock);
	if (op == EPOLL_CTL_ADD && f->ops == &epoll_ops && nesting(f, ep, 0) >= MAX_NESTING)
		err = -ELOOP;
	if (!err) {
		mutex_lock_nested(&ep->lock);
		err = control_locked(ep, op, fd, f, ev);
		mutex_unlock(&ep->lock);
	}
	mutex_unlock(&links_lock);
	return err;
}

/* ---- waiting --------------------------------------------------------------------------------------------------- */

/* The next item of the list being worked off, or NULL. */
static struct item *take_ready(struct epoll *ep, struct list *work)
{
	ulong irq = spin_lock_irqsave(&ep->ready_lock);
	struct item *it = list_first_or_null(work, struct item, ready_link);

	if (it)
		list_del_init(&it->ready_link);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	return it;
}

static void put_back(struct epoll *ep, struct item *it)
{
	ulong irq = spin_lock_irqsave(&ep->ready_lock);

	if (list_empty(&it->ready_link))
		list_add_tail(&it->ready_link, &ep->ready);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
}

static int report(struct item *it, struct epoll_event __user *out)
{
	struct epoll_event ev = { .events = ask(it), .data = it->ev.data };

	if (!ev.events)
		return 0;
	if (user_put(out, &ev, sizeof(ev))) {
		put_back(it->ep, it);
		return -EFAULT;
	}
	if (it->ev.events & EPOLLONESHOT)
		WRITE_ONCE(it->ev.events, it->ev.events & PRIVATE);
	else if (!(it->ev.events & EPOLLET))
		put_back(it->ep, it);
	return 1;
}

/* Asks the items that are ready by now. */
static int collect(struct epoll *ep, struct epoll_event __user *events, int max)
{
	struct item *it;
	LIST(work);
	ulong irq;
	int n = 0, r = 0;

	mutex_lock(&ep->lock);
	irq = spin_lock_irqsave(&ep->ready_lock);
	list_splice_tail_init(&ep->ready, &work);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	while (n < max && r >= 0 && (it = take_ready(ep, &work))) {
		r = report(it, events + n);
		n += r > 0;
	}
	irq = spin_lock_irqsave(&ep->ready_lock);
	list_splice_tail_init(&ep->ready, &work);
	list_splice_tail_init(&work, &ep->ready); /* what was not asked stays in front */
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	mutex_unlock(&ep->lock);
	return n ? n : r;
}

static int sleep_for_events(struct epoll *ep, u64 deadline_ns)
{
	struct sleeper s = { .task = current };
	ulong irq = spin_lock_irqsave(&ep->ready_lock);
	int err = 0;

	list_add(&s.link, &ep->sleepers);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	sched_set_state(TASK_INTERRUPTIBLE);
	if (list_empty(&ep->ready))
		err = wait_sleep(TASK_INTERRUPTIBLE, deadline_ns);
	sched_set_state(TASK_RUNNING);
	irq = spin_lock_irqsave(&ep->ready_lock);
	list_del(&s.link);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	return err == -ERESTARTSYS ? -EINTR : err;
}

int epoll_wait_events(struct file *epf, struct epoll_event __user *events, int max, u64 deadline_ns)
{
	struct epoll *ep = epf->priv;
	int n, err = 0;

	if (epf->ops != &epoll_ops)
		return -EINVAL;
	for (;;) {
		n = list_empty(&ep->ready) ? 0 : collect(ep, events, max);
		if (n || err)
			break;
		if (!deadline_ns)
			return 0;
		err = sleep_for_events(ep, deadline_ns);
	}
	return n ? n : err == -ETIME ? 0 : err;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static unsigned epoll_poll(struct file *f, struct poll_table *pt)
{
	struct epoll *ep = f->priv;
	struct item *it, *next;
	unsigned ready = 0;
	LIST(work);
	ulong irq;

	poll_wait(f, &ep->poll_q, pt);
	mutex_lock_nested(&ep->lock);
	irq = spin_lock_irqsave(&ep->ready_lock);
	list_splice_tail_init(&ep->ready, &work);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	list_for_each_entry_safe (it, next, &work, ready_link) {
		if (ask(it)) {
			ready = EPOLLIN | EPOLLRDNORM;
			break;
		}
		take_ready(ep, &work);
	}
	irq = spin_lock_irqsave(&ep->ready_lock);
	list_splice_tail_init(&ep->ready, &work);
	list_splice_tail_init(&work, &ep->ready);
	spin_unlock_irqrestore(&ep->ready_lock, irq);
	mutex_unlock(&ep->lock);
	return ready;
}

static void epoll_free(struct rcu_head *head)
{
	kfree(container_of(head, struct epoll, rcu));
}

static void epoll_release(struct file *f)
{
	struct epoll *ep = f->priv;
	struct item *it;
	u64 fd;

	mutex_lock(&links_lock);
	mutex_lock_nested(&ep->lock);
	while (fd = 0, (it = xa_find(&ep->items, &fd, ~0ULL)))
		forget_item(it);
	mutex_unlock(&ep->lock);
	mutex_unlock(&links_lock);
	/* Nobody can queue it any more. It begins soon on the CPU that it was queued on, and has ended there when that
	 * CPU runs something else. */
	while (READ_ONCE(ep->announce.queued))
		resched_point();
	rcu_call(&ep->rcu, epoll_free);
}

static const struct file_ops epoll_ops = { .poll = epoll_poll, .release = epoll_release, .llseek = no_llseek };

int epoll_create_file(struct file **out)
{
	struct epoll *ep = kzalloc(sizeof(*ep), ALLOC_CHARGED);
	int err;

	if (!ep)
		return -ENOMEM;
	mutex_init(&ep->lock, RANK_SUBSYS);
	xa_init(&ep->items, &vfs_xa_mem);
	spin_init(&ep->ready_lock, RANK_EPOLL);
	list_init(&ep->ready);
	list_init(&ep->sleepers);
	waitq_init(&ep->poll_q);
	deferred_init(&ep->announce, announce);
	err = file_anon("[eventpoll]", &epoll_ops, ep, O_RDWR, out);
	if (err)
		kfree(ep);
	return err;
}
