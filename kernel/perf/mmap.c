/* SPDX-License-Identifier: MIT
 *
 * Problem: a program maps an event's ring; several events may write to one ring; the ring must outlive whichever of
 * file, mapping and other events goes first.
 *
 * Idea: a ring is counted. Each event that writes to it and each job that wakes its readers holds it, and so does each
 * VMA. When the last VMA goes, all events let go of the ring: without a reader there is no point in writing.
 *
 * Contract: perf_priv.h; perf_event_open(2), "MMAP layout": 1 + 2^n pages at offset 0, shared. All rings of a user
 * together may have perf_event_mlock_kb for each CPU, and RLIMIT_MEMLOCK beyond.
 *
 * Locks: perf_lock for who writes where; ring->events_lock for the wake-up's walk.
 */
#include "perf_priv.h"
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/mman.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <process/process.h>
#include <task/account.h>
#include <vfs/vfs.h>

#define RING_PAGES_MOST (1U << 16)

static struct perf_ring *ring_of(struct mapping *m)
{
	return container_of(m, struct perf_ring, map);
}

void ring_get(struct perf_ring *r)
{
	refcount_inc(&r->refs);
}

static void free_pages(struct perf_ring *r, u32 nr)
{
	for (u32 i = 0; i < nr; i++) {
		struct page *p = virt_to_page(r->pages[i]);

		p->owner = NULL;
		page_put(p);
	}
	kfree(r);
}

static void free_ring(struct rcu_head *head);

struct ring_corpse { /* lies in the user page, which nobody maps any more */
	struct rcu_head rcu;
	struct perf_ring *ring;
};

static void free_ring(struct rcu_head *head)
{
	struct perf_ring *r = container_of(head, struct ring_corpse, rcu)->ring;

	free_pages(r, r->data.nr_pages + 1);
}

void ring_put(struct perf_ring *r)
{
	struct ring_corpse *c;

	if (!refcount_dec_and_test(&r->refs))
		return;
	account_uncharge(r->payer, ACCOUNT_RING_PAGES, r->data.nr_pages + 1);
	c = r->pages[0];
	c->ring = r;
	rcu_call(&c->rcu, free_ring);
}

static void wake_readers(struct deferred *d)
{
	struct perf_ring *r = container_of(d, struct perf_ring, wake);
	struct perf_event *e;
	ulong irq;

	__atomic_store_n(&r->waking, false, __ATOMIC_SEQ_CST);
	irq = spin_lock_irqsave(&r->events_lock);
	list_for_each_entry (e, &r->events, ring_link)
		waitq_wake(&e->waiters, -1, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
	spin_unlock_irqrestore(&r->events_lock, irq);
	ring_put(r);
}

void ring_attach(struct perf_event *e, struct perf_ring *r)
{
	struct perf_ring *old = e->ring;
	ulong irq;

	if (old == r)
		return;
	if (old) {
		e->is_mapped = false;
		irq = spin_lock_irqsave(&old->events_lock);
		list_del_init(&e->ring_link);
		spin_unlock_irqrestore(&old->events_lock, irq);
	}
	if (r) {
		ring_get(r);
		irq = spin_lock_irqsave(&r->events_lock);
		list_add_tail(&e->ring_link, &r->events);
		spin_unlock_irqrestore(&r->events_lock, irq);
	}
	rcu_assign(e->ring, r);
	if (old) {
		waitq_wake(&e->waiters, -1, EPOLLHUP);
		ring_put(old);
	}
}

/* ---- the mapping ------------------------------------------------------------------------------------------ */

static int map_fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct perf_ring *r = ring_of(m);

	if (index > r->data.nr_pages || (write && r->data.overwrite))
		return -ENXIO;
	*out = virt_to_page(r->pages[index]);
	page_get(*out);
	return 0;
}

static void map_get(struct mapping *m)
{
	struct perf_ring *r = ring_of(m);

	ring_get(r);
	atomic_inc(&r->mapped);
}

static void map_put(struct mapping *m)
{
	struct perf_ring *r = ring_of(m);

	if (!atomic_sub_return(&r->mapped, 1)) {
		mutex_lock(&perf_lock);
		while (!atomic_read(&r->mapped) && !list_empty(&r->events))
			ring_attach(list_first_entry(&r->events, struct perf_event, ring_link), NULL);
		mutex_unlock(&perf_lock);
	}
	ring_put(r);
}

static int map_made(struct mapping *m, struct vma *v)
{
	v->flags |= VMA_DONTFORK | VMA_DONTDUMP;
	return 0;
}

static void map_describe(struct mapping *m, struct mapping_name *out)
{
	str_copy(out->path, "anon_inode:[perf_event]", sizeof(out->path));
	out->dev = out->ino = 0;
}

static const struct mapping_ops map_ops = {
	.fill = map_fill, .get = map_get, .put = map_put, .map = map_made, .describe = map_describe
};

/* ---- making one ---------------------------------------------------------------------------------------------- */

static int ring_create(const struct perf_event_attr *a, u32 nr_data, bool overwrite, struct perf_ring **out)
{
	struct perf_ring *r = kzalloc(sizeof(*r) + (nr_data + 1) * sizeof(void *), ALLOC_KERNEL);

	if (!r)
		return -ENOMEM;
	mapping_init(&r->map, &map_ops, r);
	for (u32 i = 0; i <= nr_data; i++) {
		struct page *p = page_alloc(0, ALLOC_ZERO, current->tenant);

		if (!p) {
			free_pages(r, i);
			return -ENOMEM;
		}
		p->owner = &r->map;
		p->index = i;
		r->pages[i] = page_virt(p);
	}
	spin_init(&r->lock, RANK_PERF_RING);
	spin_init(&r->events_lock, RANK_SUBSYS_SPIN);
	list_init(&r->events);
	deferred_init(&r->wake, wake_readers);
	refcount_set(&r->refs, 1);
	r->payer = current->cred->uid;
	perf_ring_setup(&r->data, r->pages[0], r->pages + 1, nr_data, overwrite, a->write_backward,
			a->watermark ? a->wakeup_watermark : 0);
	*out = r;
	return 0;
}

static int charge(u32 pages)
{
	u64 allowed = (u64)perf_mlock_kb / 4 * cpu_count() + (process_rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT);
	int err;

	if (perf_limits.paranoid < 0 || capable(CAP_IPC_LOCK))
		allowed = ~0ULL;
	err = account_charge(current->cred->uid, ACCOUNT_RING_PAGES, pages, allowed);
	if (err == -EAGAIN)
		return fail(EPERM, "perf: a ring of %u pages more, %llu are allowed in all", pages,
			    (unsigned long long)allowed);
	return err;
}

static int map_locked(struct perf_event *e, unsigned prot, u32 nr_data)
{
	bool overwrite = !(prot & PROT_WRITE);
	struct perf_ring *r;
	int err;

	if (e->ring)
		return e->ring->data.nr_pages == nr_data ? 0 : -EINVAL;
	err = charge(nr_data + 1);
	if (err)
		return err;
	err = ring_create(&e->attr, nr_data, overwrite, &r);
	if (err) {
		account_uncharge(current->cred->uid, ACCOUNT_RING_PAGES, nr_data + 1);
		return err;
	}
	ring_attach(e, r);
	ring_put(r); /* the event's reference stays */
	event_user_page(e);
	return 0;
}

int perf_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	struct perf_event *e = f->priv;
	u64 pages = bytes >> PAGE_SHIFT;
	int err;

	if (e->cpu < 0 && e->attr.inherit)
		return fail(EINVAL, "perf: a ring of an inherited event needs a CPU");
	if ((map_flags & MAP_TYPE) == MAP_PRIVATE || !IS_ALIGNED(bytes, PAGE_SIZE) || *index)
		return -EINVAL;
	if (!pages || pages - 1 > RING_PAGES_MOST || ((pages - 1) & (pages - 2) && pages > 1))
		return fail(EINVAL, "perf: a ring of %llu pages", (unsigned long long)pages);
	mutex_lock(&perf_lock);
	err = map_locked(e, prot, (u32)pages - 1);
	if (!err) {
		*out = &e->ring->map;
		e->is_mapped = true;
	}
	mutex_unlock(&perf_lock);
	return err;
}

int event_set_output(struct perf_event *e, struct perf_event *to)
{
	assert(mutex_is_held(&perf_lock));
	if (e->is_mapped && atomic_read(&e->ring->mapped))
		return fail(EINVAL, "perf: the event's ring is mapped");
	if (!to) {
		ring_attach(e, NULL);
		return 0;
	}
	if (!to->ring || e == to || e->cpu != to->cpu || (e->cpu < 0 && e->ctx != to->ctx) ||
	    e->attr.use_clockid != to->attr.use_clockid ||
	    (e->attr.use_clockid && e->attr.clockid != to->attr.clockid) ||
	    e->attr.write_backward != to->attr.write_backward)
		return fail(EINVAL, "perf: the other event's ring does not fit");
	ring_attach(e, to->ring);
	return 0;
}

/* What a reader may read without a system call: the count so far and the times. Context locked or perf_lock held. */
void event_user_page(struct perf_event *e)
{
	struct perf_ring *r = rcu_deref(e->ring);
	struct perf_event_mmap_page *u = r ? r->data.user : NULL;

	if (!u)
		return;
	u->lock++;
	barrier();
	u->index = 0;
	u->offset = (s64)e->count;
	u->time_enabled = e->enabled_ns + e->child_enabled_ns;
	u->time_running = e->running_ns + e->child_running_ns;
	barrier();
	u->lock++;
}
