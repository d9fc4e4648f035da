/* SPDX-License-Identifier: MIT
 *
 * Problem: a bio belongs to a tenant, and may have to wait for the tenant's weight, limits or a neighbour's latency
 * target, while its submitter goes on.
 *
 * Idea: the order is a pure core's (block/ioshare.h); this file finds out whose a bio is, keeps the nodes of tenants at
 * each disk, and lets bios go: in the submitter's context, when another finishes, or by a timer. One at a time takes
 * bios out, so that a chain of completions does not become a chain of calls.
 *
 *      block_submit -> joins the node of who pays -> wbt, if it need not wait -> split -> io_submit ... io_next ->
 * queue
 *
 * Who pays: for writeback who was charged for the (first) page, which is who dirtied it first; for all else current.
 * Metadata, flushes and swap are paid for but wait for nobody: others hold locks for them; nor does what
 * an array's thread submits for a tenant: that has waited at the array.
 *
 * Contract: block_priv.h, tenants.h. Tenants without the controller are their nearest ancestor that has it, at last the
 * root, which has no limits. While no tenant has it, this is a branch that is patched out.
 *
 * Locks: share->lock (RANK_BLOCK, irqsave), with no other of that rank.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/task.h>

#include "block_priv.h"
#include "tenants.h"

#define DEPTH_DISK  4  /* in flight while tenants compete: rotating, */
#define DEPTH_FLASH 16 /* flash, */
#define DEPTH_STACK 64 /* and what stands on other disks */

DEFINE_STATIC_KEY(block_tenants_key);
LIST(block_shares);
struct spinlock block_shares_lock = SPIN_INIT(RANK_SHARES);

void block_tenants_use(bool on)
{
	if (on)
		static_key_inc(&block_tenants_key);
	else
		static_key_dec(&block_tenants_key);
}

/* ---- nodes: share->lock held -------------------------------------------------------------------------- */

static struct tenant_disk *of_node(struct io_node *n)
{
	return n->parent ? container_of(n, struct tenant_disk, node) : NULL;
}

static void node_get(struct io_node *n)
{
	if (of_node(n))
		of_node(n)->refs++;
}

static void node_put(struct io_node *n)
{
	struct tenant_disk *d;

	while ((d = of_node(n)) && !--d->refs) {
		n = d->node.parent;
		io_node_remove(&d->node);
		kfree(d);
	}
}

static struct rb_node **find_place(struct block_share *s, u16 id, struct rb_node **parent)
{
	struct rb_node **link = &s->nodes.node;

	for (*parent = NULL; *link; *parent = *link,
	    link = id < rb_entry(*parent, struct tenant_disk, rb)->id ? &(*parent)->left : &(*parent)->right)
		if (rb_entry(*link, struct tenant_disk, rb)->id == id)
			break;
	return link;
}

struct tenant_disk *block_tenant_find(struct block_share *s, u16 id)
{
	struct rb_node *parent, *n = *find_place(s, id, &parent);

	return n ? rb_entry(n, struct tenant_disk, rb) : NULL;
}

static bool has_share(const struct tenant *t)
{
	return !READ_ONCE(t->dead) && cgroup_controls(t, &block_controller);
}

static struct io_node *node_of(struct block_share *s, struct tenant *t)
{
	struct tenant_disk *d = NULL;

	while (t && t->parent && !(has_share(t) && (d = block_tenant_node(s, t))))
		t = t->parent;
	return d ? &d->node : &s->q.root;
}

struct tenant_disk *block_tenant_node(struct block_share *s, struct tenant *t)
{
	struct tenant_disk *d = block_tenant_find(s, t->id);
	struct rb_node *parent, **link;
	struct io_node *above;

	if (d)
		return d;
	above = node_of(s, t->parent);
	d = READ_ONCE(t->dead) ? NULL : kzalloc(sizeof(*d), ALLOC_ATOMIC);
	if (!d)
		return NULL;
	io_node_init(&d->node, above);
	node_get(above);
	io_set_weight(&d->node, (u32)t->share[RES_IO].weight);
	d->id = t->id;
	d->refs = 1;
	link = find_place(s, d->id, &parent);
	rb_insert(&s->nodes, &d->rb, parent, link);
	return d;
}

static void drop_node(struct block_share *s, u16 id)
{
	ulong irq = spin_lock_irqsave(&s->lock);
	struct tenant_disk *d = block_tenant_find(s, id);

	if (d) {
		for (enum io_limit l = 0; l < IO_LIMITS; l++)
			io_set_limit(&s->q, &d->node, l, IO_NO_LIMIT, clock_ns());
		d->node.target_ns = 0;
		rb_erase(&s->nodes, &d->rb);
		node_put(&d->node);
		deferred_queue(&s->job); /* what its limits held back */
	}
	spin_unlock_irqrestore(&s->lock, irq);
}

void block_tenant_gone(struct tenant *t)
{
	struct block_share *s;

	spin_lock(&block_shares_lock);
	list_for_each_entry (s, &block_shares, link)
		drop_node(s, t->id);
	spin_unlock(&block_shares_lock);
}

/* ---- bios ------------------------------------------------------------------------------------------------ */

static struct bio *bio_of(struct io_item *i)
{
	return container_of(i, struct bio, share);
}

static struct block_share *share_of(const struct bio *b)
{
	return b->dev->whole->share;
}

/* Under RCU. */
static struct tenant *payer(const struct bio *b)
{
	u16 id = 0;

	if (b->payer)
		return tenant_by_id(b->payer);
	if (b->op == BLOCK_WRITE && b->nr_vecs && !(b->flags & (BIO_DIRECT | BIO_META)))
		id = b->vecs[0].page->tenant;
	if (id)
		return tenant_by_id(id);
	return in_irq() ? NULL : rcu_deref(current->tenant);
}

static void count(struct io_node *n, const struct bio *b)
{
	unsigned k = b->op == BLOCK_READ ? IO_STAT_READ : b->op == BLOCK_DISCARD ? IO_STAT_DISCARD : IO_STAT_WRITE;

	for (struct tenant_disk *d; (d = of_node(n)); n = n->parent) {
		d->stats.bytes[k] += b->bytes;
		d->stats.ops[k]++;
	}
}

int block_tenants_join(struct bio *b)
{
	struct block_share *s = share_of(b);
	struct io_item *i = &b->share;
	struct tenant *t;
	bool refused;
	ulong irq;

	if (!static_branch(&block_tenants_key))
		return 0;
	i->write = b->op != BLOCK_READ;
	i->urgent = b->flags & (BIO_META | BIO_SWAP) || b->op == BLOCK_FLUSH || b->payer;
	i->bytes = b->bytes;
	rcu_read_lock();
	irq = spin_lock_irqsave(&s->lock);
	t = payer(b);
	b->payer = t ? t->id : 0;
	i->node = node_of(s, t);
	b->share_waits = io_would_wait(&s->q, i, clock_ns());
	refused = b->share_waits && b->flags & BIO_NOWAIT;
	if (!refused) {
		node_get(i->node);
		count(i->node, b);
	}
	spin_unlock_irqrestore(&s->lock, irq);
	rcu_read_unlock();
	if (refused)
		i->node = NULL;
	return refused ? -EAGAIN : 0;
}

void block_tenants_join_child(struct bio *child, struct bio *parent)
{
	struct block_share *s = share_of(parent);
	ulong irq;

	child->share.node = parent->share.node;
	if (!child->share.node)
		return;
	child->share.write = parent->share.write;
	child->share.urgent = parent->share.urgent;
	irq = spin_lock_irqsave(&s->lock);
	node_get(child->share.node);
	spin_unlock_irqrestore(&s->lock, irq);
}

void block_tenants_run(struct block_share *s)
{
	ulong irq = spin_lock_irqsave(&s->lock);
	struct io_item *i;
	u64 wake;

	if (s->running) {
		spin_unlock_irqrestore(&s->lock, irq);
		return;
	}
	s->running = true;
	while ((i = io_next(&s->q, clock_ns()))) {
		spin_unlock_irqrestore(&s->lock, irq);
		block_queue_go(bio_of(i));
		irq = spin_lock_irqsave(&s->lock);
	}
	s->running = false;
	wake = io_wakeup(&s->q);
	if (wake != ~0ULL)
		timer_arm(&s->timer, wake, NSEC_PER_MSEC / 4);
	spin_unlock_irqrestore(&s->lock, irq);
}

void block_tenants_submit(struct bio *b)
{
	struct block_share *s = share_of(b);
	ulong irq = spin_lock_irqsave(&s->lock);

	b->share.sector = b->sector;
	b->share.bytes = b->bytes;
	b->share_entered = true;
	io_submit(&s->q, &b->share, clock_ns());
	spin_unlock_irqrestore(&s->lock, irq);
	block_tenants_run(s);
}

void block_tenants_finished(struct bio *b)
{
	struct block_share *s = share_of(b);
	ulong irq = spin_lock_irqsave(&s->lock);
	bool entered = b->share_entered;

	if (entered)
		io_done(&s->q, &b->share, clock_ns());
	node_put(b->share.node);
	spin_unlock_irqrestore(&s->lock, irq);
	b->share.node = NULL;
	if (entered)
		block_tenants_run(s);
}

static void run_deferred(struct deferred *d)
{
	block_tenants_run(container_of(d, struct block_share, job));
}

static void on_timer(struct timer *t)
{
	deferred_queue(&container_of(t, struct block_share, timer)->job);
}

/* ---- dirty pages -------------------------------------------------------------------------------------------- */

#define DIRTY_NS    (500 * NSEC_PER_MSEC) /* of its write limit a tenant may have dirty */
#define DIRTY_PAGES 64ULL

u64 block_dirty_budget(struct block_dev *d)
{
	struct block_share *s = d->whole->share;
	u64 rate = ~0ULL;
	ulong irq;

	if (!static_branch(&block_tenants_key))
		return ~0ULL;
	rcu_read_lock();
	irq = spin_lock_irqsave(&s->lock);
	for (struct io_node *n = node_of(s, rcu_deref(current->tenant)); n; n = n->parent)
		rate = min(rate, n->limit[IO_WRITE_BYTES].rate);
	spin_unlock_irqrestore(&s->lock, irq);
	rcu_read_unlock();
	return rate == ~0ULL ? rate : max(rate / PAGE_SIZE / (NSEC_PER_SEC / DIRTY_NS), DIRTY_PAGES);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

int block_share_init(struct block_dev *d)
{
	struct block_share *s = kzalloc(sizeof(*s), ALLOC_KERNEL);

	if (!s)
		return -ENOMEM;
	s->dev = d;
	spin_init(&s->lock, RANK_BLOCK);
	io_queue_init(&s->q,
		      !d->nr_hwqs            ? DEPTH_STACK
		      : d->limits.rotational ? DEPTH_DISK
					     : DEPTH_FLASH,
		      d->limits.rotational);
	timer_init(&s->timer, on_timer);
	deferred_init(&s->job, run_deferred);
	d->share = s;
	spin_lock(&block_shares_lock);
	list_add_tail(&s->link, &block_shares);
	spin_unlock(&block_shares_lock);
	return 0;
}

void block_share_open(struct block_dev *d)
{
	ulong irq = spin_lock_irqsave(&d->share->lock);

	d->share->q.open = true;
	spin_unlock_irqrestore(&d->share->lock, irq);
	block_tenants_run(d->share);
}

static void free_share(struct rcu_head *head)
{
	kfree(container_of(head, struct block_share, rcu));
}

void block_share_free(struct block_dev *d)
{
	struct block_share *s = d->share;
	struct rb_node *n;

	if (!s)
		return;
	spin_lock(&block_shares_lock);
	list_del(&s->link);
	spin_unlock(&block_shares_lock);
	timer_cancel(&s->timer);
	while ((n = rb_first(&s->nodes))) {
		rb_erase(&s->nodes, n);
		node_put(&rb_entry(n, struct tenant_disk, rb)->node);
	}
	d->share = NULL;
	rcu_call(&s->rcu, free_share); /* the job may be about to run */
}
