/* SPDX-License-Identifier: MIT
 *
 * Problem: a program starts many transfers and learns of their ends later, if possible without entering the kernel.
 *
 * Idea: a context is a mapping whose pages are the ring of events; its id is the address of the mapping, so that the
 * address space itself is the table of contexts: unmapping (also by exit and exec) ends one. A finished request puts an
 * event at the tail; who reads moves the head, which is a word in the program's memory and trusted for nothing: the
 * number of requests under way plus unread events never exceeds the ring, whatever the head says, because they are
 * counted from the masked head at each new request.
 *
 *      aio_req_get --> under way --aio_finish--> event in the ring, eventfd signalled, readers woken --> freed
 *
 * A request's last reference to its file may not be dropped where it finishes (a deferred job); a worker does it then.
 *
 * Contract: vfs/aio.h, io_submit(2).
 *
 * Locks: read_lock (RANK_SUBSYS) lets one reader at the head; lock (RANK_SUBSYS_SPIN, irqsave) covers tail, in_flight
 * and active.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <mm/mm.h>
#include <task/task.h>
#include <vfs/aio.h>
#include <vfs/epoll.h>
#include <vfs/eventfd.h>
#include <vfs/poll.h>
#include "vfs_priv.h"

#define RING_MAGIC    0xa10a10a1
#define RING_HEADER   32 /* as long as an event: the header stands in the place of event -1 */
#define RING_MOST     65536
#define EVENTS_A_PAGE (PAGE_SIZE / sizeof(struct io_event))

_Static_assert(sizeof(struct io_event) == RING_HEADER, "the header takes the place of one event");

struct ring { /* shared with the program */
	u32 id, nr, head, tail;
	u32 magic, compatible, incompatible, header_bytes;
};
_Static_assert(sizeof(struct ring) == RING_HEADER, "the header of struct aio_ring of Linux");

struct aio_ctx {
	struct mapping map;
	refcount_t users; /* VMAs and calls in progress; the last one ends the context */
	refcount_t refs;  /* all users together, and requests */
	struct mm *mm;    /* only compared */
	bool dead;
	u32 nr, max; /* places in the ring; what the program asked for */
	struct spinlock lock;
	u32 tail, in_flight;
	struct list active; /* polls */
	struct deferred kick;
	bool kicked; /* atomic */
	struct mutex read_lock;
	struct waitq wait;
	unsigned nr_pages;
	struct page *pages[];
};

static u64 total_max = 65536;
static atomic64_t total; /* of ctx->max */

static struct ring *ring_of(struct aio_ctx *c)
{
	return page_virt(c->pages[0]);
}

static struct io_event *event_at(struct aio_ctx *c, u32 n)
{
	u32 slot = n + 1; /* behind the header */

	return (struct io_event *)page_virt(c->pages[slot / EVENTS_A_PAGE]) + slot % EVENTS_A_PAGE;
}

static u32 head_of(struct aio_ctx *c)
{
	return READ_ONCE(ring_of(c)->head) % c->nr;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void ctx_free(struct aio_ctx *c)
{
	for (unsigned i = 0; i < c->nr_pages; i++) {
		c->pages[i]->owner = NULL;
		page_put(c->pages[i]);
	}
	atomic_add(&total, -(s64)c->max);
	kfree(c);
}

static void ctx_unref(struct aio_ctx *c)
{
	if (refcount_dec_and_test(&c->refs))
		ctx_free(c);
}

/* ctx->lock held. The request's work is queued at most once, so that its end frees it in peace. */
static void look_again(struct aio_req *r)
{
	WRITE_ONCE(r->woken, true);
	if (r->busy)
		return;
	r->busy = true;
	work_queue(&r->work);
}

/* Polls end without having seen anything. */
static void cancel_all(struct aio_ctx *c)
{
	ulong irq = spin_lock_irqsave(&c->lock);
	struct aio_req *r;

	list_for_each_entry (r, &c->active, link) {
		r->cancelled = true;
		look_again(r);
	}
	spin_unlock_irqrestore(&c->lock, irq);
}

void aio_put(struct aio_ctx *c)
{
	if (!refcount_dec_and_test(&c->users))
		return;
	WRITE_ONCE(c->dead, true);
	cancel_all(c);
	ctx_unref(c);
}

static int map_fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct aio_ctx *c = m->owner;

	if (index >= c->nr_pages)
		return -EFAULT;
	page_get(c->pages[index]);
	*out = c->pages[index];
	return 0;
}

static void map_get(struct mapping *m)
{
	refcount_inc(&((struct aio_ctx *)m->owner)->users);
}

static void map_put(struct mapping *m)
{
	aio_put(m->owner);
}

static void map_describe(struct mapping *m, struct mapping_name *out)
{
	str_copy(out->path, "/[aio] (deleted)", sizeof(out->path));
	out->dev = out->ino = 0;
}

static const struct mapping_ops map_ops = {
	.fill = map_fill, .get = map_get, .put = map_put, .describe = map_describe
};

static void poll_kicked(struct deferred *d);

static int ctx_alloc(u32 nr, struct aio_ctx **out)
{
	unsigned pages = DIV_ROUND_UP(nr + 3, EVENTS_A_PAGE); /* the header; one place stays empty */
	struct aio_ctx *c = kzalloc(sizeof(*c) + pages * sizeof(c->pages[0]), ALLOC_CHARGED);

	if (!c)
		return -ENOMEM;
	mapping_init(&c->map, &map_ops, c);
	refcount_set(&c->users, 1);
	refcount_set(&c->refs, 1);
	spin_init(&c->lock, RANK_SUBSYS_SPIN);
	mutex_init(&c->read_lock, RANK_SUBSYS);
	list_init(&c->active);
	deferred_init(&c->kick, poll_kicked);
	waitq_init(&c->wait);
	c->mm = current->mm;
	for (; c->nr_pages < pages; c->nr_pages++) {
		struct page *p = page_alloc(0, ALLOC_ZERO, current->tenant);

		if (!p) {
			ctx_free(c);
			return -ENOMEM;
		}
		p->owner = &c->map;
		p->index = c->nr_pages;
		c->pages[c->nr_pages] = p;
	}
	c->nr = pages * EVENTS_A_PAGE - 1;
	*ring_of(c) =
		(struct ring){ .nr = c->nr, .magic = RING_MAGIC, .compatible = 1, .header_bytes = sizeof(struct ring) };
	*out = c;
	return 0;
}

int aio_create(u32 nr, ulong *id)
{
	struct aio_ctx *c;
	int err;

	if (nr > RING_MOST || (u64)atomic_fetch_add(&total, nr) + nr > READ_ONCE(total_max)) {
		if (nr <= RING_MOST)
			atomic_add(&total, -(s64)nr);
		return -EAGAIN;
	}
	err = ctx_alloc(nr, &c);
	if (err) {
		atomic_add(&total, -(s64)nr);
		return err;
	}
	c->max = nr;
	*id = 0;
	err = mm_map_special(current->mm, id, c->nr_pages * PAGE_SIZE,
			     VMA_READ | VMA_WRITE | VMA_MAYREAD | VMA_MAYWRITE | VMA_SHARED | VMA_DONTDUMP, &c->map, 0,
			     NULL);
	aio_put(c); /* from now on the mapping's; without one it ends here */
	return err;
}

struct aio_ctx *aio_get(ulong id)
{
	struct mapping *m;
	struct aio_ctx *c;
	u64 index;

	if (id % PAGE_SIZE || mm_locate(current->mm, id, &m, &index) || !m)
		return NULL;
	if (m->ops != &map_ops) {
		if (m->ops->put)
			m->ops->put(m);
		return NULL;
	}
	c = m->owner;
	if (index || c->mm != current->mm || READ_ONCE(c->dead)) {
		aio_put(c);
		return NULL;
	}
	return c;
}

int aio_destroy(ulong id)
{
	struct aio_ctx *c = aio_get(id);
	ulong irq;
	bool mine;

	if (!c)
		return -EINVAL;
	irq = spin_lock_irqsave(&c->lock);
	mine = !c->dead;
	WRITE_ONCE(c->dead, true);
	spin_unlock_irqrestore(&c->lock, irq);
	if (mine) {
		cancel_all(c);
		wait_event(&c->wait, !READ_ONCE(c->in_flight));
		if (mm_unmap(current->mm, id, c->nr_pages * PAGE_SIZE))
			log_debug("aio: the ring stays mapped: no memory"); /* its pages are the context's: valid */
	}
	aio_put(c);
	return mine ? 0 : -EINVAL;
}

/* ---- requests --------------------------------------------------------------------------------------------------- */

struct aio_req *aio_req_get(struct aio_ctx *c)
{
	struct aio_req *r = kzalloc(sizeof(*r), ALLOC_CHARGED);
	u32 unread;
	ulong irq;
	bool room;

	if (!r)
		return NULL;
	irq = spin_lock_irqsave(&c->lock);
	unread = (c->tail + c->nr - head_of(c)) % c->nr;
	room = !c->dead && c->in_flight + unread < c->nr - 1;
	c->in_flight += room;
	spin_unlock_irqrestore(&c->lock, irq);
	if (!room) {
		kfree(r);
		return NULL;
	}
	refcount_inc(&c->refs);
	r->ctx = c;
	list_init(&r->link);
	return r;
}

static void req_free(struct aio_req *r)
{
	if (r->file)
		file_put(r->file);
	if (r->eventfd)
		file_put(r->eventfd);
	ctx_unref(r->ctx);
	kfree(r);
}

static void free_later(struct work *w)
{
	req_free(container_of(w, struct aio_req, work));
}

/* True: somebody else has the file too, so that it cannot be closed by us. */
static bool put_unless_last(struct file **f)
{
	int n = *f ? atomic_read(&(*f)->refs.n) : 2;

	while (n > 1)
		if (!*f || atomic_try_cmpxchg(&(*f)->refs.n, &n, n - 1)) {
			*f = NULL;
			return true;
		}
	return false;
}

static void req_release(struct aio_req *r)
{
	bool free_now = put_unless_last(&r->file);

	free_now &= put_unless_last(&r->eventfd);
	if (free_now) {
		req_free(r);
		return;
	}
	work_init(&r->work, free_later);
	work_queue(&r->work);
}

static void end_request(struct aio_ctx *c, const struct io_event *event)
{
	ulong irq = spin_lock_irqsave(&c->lock);

	if (event) {
		*event_at(c, c->tail) = *event;
		c->tail = (c->tail + 1) % c->nr;
		smp_store_release(&ring_of(c)->tail, c->tail); /* a reader sees the event, then the tail */
	}
	c->in_flight--;
	spin_unlock_irqrestore(&c->lock, irq);
	waitq_wake_all(&c->wait);
}

void aio_req_drop(struct aio_req *r)
{
	end_request(r->ctx, NULL);
	req_free(r);
}

void aio_finish(struct aio_req *r, s64 result)
{
	struct io_event e = { .data = r->data, .obj = r->user_iocb, .res = result };

	end_request(r->ctx, &e);
	if (r->eventfd)
		eventfd_signal(eventfd_of(r->eventfd), 1);
	req_release(r);
}

static void sync_work(struct work *w)
{
	struct aio_req *r = container_of(w, struct aio_req, work);

	aio_finish(r, r->file->ops->fsync(r->file, 0, INT64_MAX, r->data_only));
}

void aio_sync(struct aio_req *r)
{
	work_init(&r->work, sync_work);
	work_queue(&r->work);
}

/* ---- polls ------------------------------------------------------------------------------------------------------- */

struct joiner {
	struct poll_table pt;
	struct aio_req *req;
	bool too_many;
};

/* Files' queues are locked when they wake us, and a worker is woken by a queue too: so the work is queued a moment
 * later. */
static void poll_kicked(struct deferred *d)
{
	struct aio_ctx *c = container_of(d, struct aio_ctx, kick);
	struct aio_req *r;
	ulong irq;

	__atomic_store_n(&c->kicked, false, __ATOMIC_SEQ_CST);
	irq = spin_lock_irqsave(&c->lock);
	list_for_each_entry (r, &c->active, link)
		if (READ_ONCE(r->woken))
			look_again(r);
	spin_unlock_irqrestore(&c->lock, irq);
	ctx_unref(c);
}

static bool poll_woken(struct wait_entry *w, unsigned events)
{
	struct aio_req *r = container_of(w, struct aio_wait, entry)->req;
	struct aio_ctx *c = r->ctx;

	if (!(events & r->events))
		return false;
	WRITE_ONCE(r->woken, true);
	if (!__atomic_exchange_n(&c->kicked, true, __ATOMIC_SEQ_CST)) {
		refcount_inc(&c->refs);
		deferred_queue(&c->kick);
	}
	return false;
}

static void poll_join(struct poll_table *pt, struct file *f, struct waitq *q)
{
	struct joiner *j = container_of(pt, struct joiner, pt);
	struct aio_wait *w = &j->req->wait[j->req->nr_waits];

	if (j->req->nr_waits == ARRAY_SIZE(j->req->wait)) {
		j->too_many = true;
		return;
	}
	j->req->nr_waits++;
	*w = (struct aio_wait){ .req = j->req, .queue = q };
	wait_entry_init(&w->entry);
	w->entry.wake = poll_woken;
	waitq_add(q, &w->entry);
}

static void poll_leave(struct aio_req *r)
{
	for (unsigned i = 0; i < r->nr_waits; i++)
		waitq_remove(r->wait[i].queue, &r->wait[i].entry);
}

/* True: r has left the list and is to be finished. False: nothing yet, and nobody has asked again meanwhile. */
static bool poll_ends(struct aio_req *r, unsigned *ready)
{
	struct aio_ctx *c = r->ctx;

	for (;;) {
		ulong irq;
		bool again, ends;

		WRITE_ONCE(r->woken, false);
		smp_mb();
		*ready = file_poll(r->file, NULL) & r->events;
		irq = spin_lock_irqsave(&c->lock);
		ends = *ready || r->cancelled;
		again = !ends && READ_ONCE(r->woken);
		if (ends)
			list_del_init(&r->link);
		else if (!again)
			r->busy = false;
		spin_unlock_irqrestore(&c->lock, irq);
		if (!again)
			return ends;
	}
}

static void poll_work(struct work *w)
{
	struct aio_req *r = container_of(w, struct aio_req, work);
	unsigned ready;

	if (!poll_ends(r, &ready))
		return;
	poll_leave(r);
	aio_finish(r, ready);
}

int aio_poll(struct aio_req *r)
{
	struct joiner j = { .pt = { .add = poll_join, .events = r->events }, .req = r };
	struct aio_ctx *c = r->ctx;
	ulong irq;

	unsigned ready;

	work_init(&r->work, poll_work);
	ready = file_poll(r->file, &j.pt) & r->events;
	if (ready && !r->nr_waits) {
		aio_finish(r, ready);
		return 0;
	}
	if (!r->nr_waits || j.too_many) {
		poll_leave(r);
		return -EINVAL;
	}
	irq = spin_lock_irqsave(&c->lock);
	list_add_tail(&r->link, &c->active);
	r->cancelled = c->dead;
	look_again(r); /* it may have been ready before it joined */
	spin_unlock_irqrestore(&c->lock, irq);
	return 0;
}

int aio_cancel(struct aio_ctx *c, u64 user_iocb)
{
	ulong irq = spin_lock_irqsave(&c->lock);
	int err = -EINVAL;
	struct aio_req *r;

	list_for_each_entry (r, &c->active, link)
		if (r->user_iocb == user_iocb) {
			r->cancelled = true;
			look_again(r);
			err = -EINPROGRESS;
			break;
		}
	spin_unlock_irqrestore(&c->lock, irq);
	return err;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static bool has_events(struct aio_ctx *c)
{
	return smp_load_acquire(&ring_of(c)->tail) % c->nr != head_of(c);
}

/* What is there, up to nr. */
static long take_events(struct aio_ctx *c, long nr, struct io_event __user *out)
{
	u32 head, tail;
	long n = 0;

	mutex_lock(&c->read_lock);
	head = head_of(c);
	tail = smp_load_acquire(&c->tail);
	for (; n < nr && head != tail; n++, head = (head + 1) % c->nr)
		if (user_put(out + n, event_at(c, head), sizeof(*out))) {
			n = n ? n : -EFAULT;
			break;
		}
	if (n > 0)
		smp_store_release(&ring_of(c)->head, head); /* the places are free only when they have been read */
	mutex_unlock(&c->read_lock);
	return n;
}

long aio_read_events(struct aio_ctx *c, long min_nr, long nr, struct io_event __user *out, u64 deadline_ns)
{
	long total_read = 0;

	for (;;) {
		long n = take_events(c, nr - total_read, out + total_read);
		int err;

		if (n < 0)
			return total_read ? total_read : n;
		total_read += n;
		if (total_read >= min_nr || total_read == nr || !deadline_ns)
			return total_read;
		err = wait_event_interruptible_until(&c->wait, has_events(c) || READ_ONCE(c->dead), deadline_ns);
		if (READ_ONCE(c->dead))
			return total_read ? total_read : -EINVAL;
		if (err)
			return total_read ? total_read : err == -ETIME ? 0 : -EINTR;
	}
}

/* ---- /proc/sys/fs ------------------------------------------------------------------------------------------------ */

static int show_nr(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lld\n", (long long)atomic_read(&total));
	return 0;
}

static int show_max(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)total_max);
	return 0;
}

static int set_max(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(text, 10, &v);

	if (!err)
		WRITE_ONCE(total_max, v);
	return err;
}

static const struct attr nr_attr = { "aio-nr", 0444, show_nr, NULL, NULL, 0 };
static const struct attr max_attr = { "aio-max-nr", 0644, show_max, set_max, NULL, 0 };
static const struct attr *const attrs[] = { &nr_attr, &max_attr, NULL };

static void aio_init(void)
{
	ensure(!attr_sysctl_add("fs", attrs));
}
PART_INIT(core, aio_init);
