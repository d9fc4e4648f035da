/* SPDX-License-Identifier: MIT
 *
 * Problem: polling, throttling and schedulers must be measured on a device whose service time is known, repeatable, and
 * on the guest's own clock: an emulator's delays are the host's time.
 *
 * Idea: a request is due at a time drawn from a distribution: fixed, normal (a sum of uniform draws), or bimodal.
 * Requests are served `servers` at a time, so a flood queues up as on a real disk. What is due is completed by the
 * CPU timer (our interrupt) or earlier by whoever polls. Data are kept if wanted (block/memstore.h); otherwise reads
 * give zeros.
 *
 *      queue() --> pending, ordered by due time --> timer or poll --> block_complete
 *
 * Contract: `nullblk=N` on the command line makes nullb0 .. nullbN-1 of 1 GiB (`nullblk.size=MIB`: of another size),
 * `nullblk.depth=N` has each take so many transfers at once (64), `nullblk.memory_backed=1` has them keep their data.
 * Parameters are files of /sys/block/nullbX/service: read_ns, write_ns, spread_ns, distribution, servers.
 *
 * Locks: q->lock (RANK_DRIVER, irqsave) covers the pending tree and the servers' free times.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <block/memstore.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/rbtree.h>
#include <lib/string.h>
#include <task/timer.h>

#define DEPTH       128
#define MAX_HWQS    8
#define MAX_SERVERS 64
#define MAX_DEVICES 16

enum distribution { FIXED, NORMAL, BIMODAL, DISTRIBUTIONS };
static const char *const distribution_names[DISTRIBUTIONS] = { "fixed", "normal", "bimodal" };

struct pending {
	struct rb_node node;
	u64 due_ns;
	struct bio *bio;
};

struct null_queue {
	struct spinlock lock;
	struct rb_root pending;
	struct pending slots[DEPTH]; /* by tag */
	struct timer timer;
	struct deferred reap;
	struct block_hwq *hwq;
};

struct null_disk {
	struct block_dev block;
	struct attr_dir service;
	struct null_queue *queues;
	struct spinlock servers_lock; /* innermost: nothing is taken inside */
	u64 server_free_ns[MAX_SERVERS];
	u32 servers;
	u64 read_ns, write_ns, spread_ns;
	enum distribution distribution;
	u64 random;
	unsigned index;
	bool keeps; /* what is written, in: */
	struct memstore store;
};

static u64 next_random(struct null_disk *d)
{
	/* xorshift64*: Marsaglia 2003, with Vigna's multiplier. Seeded by the device's number, anew when `distribution`
	 * is written: runs repeat. */
	d->random ^= d->random >> 12;
	d->random ^= d->random << 25;
	d->random ^= d->random >> 27;
	return d->random * 0x2545f4914f6cdd1dULL;
}

static void seed(struct null_disk *d)
{
	d->random = 0x9e3779b97f4a7c15ULL + d->index;
}

static u64 uniform(struct null_disk *d, u64 below)
{
	return below ? (next_random(d) >> 32) * below >> 32 : 0;
}

static u64 service_time(struct null_disk *d, enum block_op op)
{
	u64 mean = op == BLOCK_READ ? d->read_ns : d->write_ns, sum = 0;

	switch (d->distribution) {
	case NORMAL: /* 12 uniform draws have a standard deviation of one range */
		for (int i = 0; i < 12; i++)
			sum += uniform(d, d->spread_ns);
		return mean + sum > 6 * d->spread_ns ? mean + sum - 6 * d->spread_ns : 0;
	case BIMODAL: /* one in ten is slower by spread_ns */ return mean + (uniform(d, 10) == 0 ? d->spread_ns : 0);
	default: return mean;
	}
}

/* When a request that arrives now will be done: the first server to be free takes it. */
static u64 draw_due(struct null_disk *d, enum block_op op)
{
	u64 now = clock_ns(), start;
	unsigned best = 0;
	ulong irq = spin_lock_irqsave(&d->servers_lock);

	for (unsigned i = 1; i < d->servers; i++)
		if (d->server_free_ns[i] < d->server_free_ns[best])
			best = i;
	start = max(now, d->server_free_ns[best]);
	d->server_free_ns[best] = start + service_time(d, op);
	start = d->server_free_ns[best];
	spin_unlock_irqrestore(&d->servers_lock, irq);
	return start;
}

static void insert(struct null_queue *q, struct pending *p)
{
	struct rb_node **link = &q->pending.node, *parent = NULL;

	while (*link) {
		parent = *link;
		link = p->due_ns < rb_entry(parent, struct pending, node)->due_ns ? &parent->left : &parent->right;
	}
	rb_insert(&q->pending, &p->node, parent, link);
}

static void arm(struct null_queue *q)
{
	struct rb_node *first = rb_first(&q->pending);

	assert_held(&q->lock);
	if (first)
		timer_arm(&q->timer, rb_entry(first, struct pending, node)->due_ns, 0);
}

static int queue_bio(struct block_hwq *h, struct bio *b)
{
	struct null_disk *d = h->dev->priv;
	struct null_queue *q = &d->queues[h->index];
	struct pending *p = &q->slots[b->tag];
	ulong irq;

	p->due_ns = draw_due(d, block_device_op(b));
	p->bio = b;
	irq = spin_lock_irqsave(&q->lock);
	insert(q, p);
	if (rb_first(&q->pending) == &p->node)
		arm(q);
	spin_unlock_irqrestore(&q->lock, irq);
	return 0;
}

static int carry_out(const struct bio *b)
{
	struct null_disk *d = b->dev->whole->priv;

	if (d->keeps && block_device_op(b) != BLOCK_FLUSH)
		return memstore_do(&d->store, b);
	for (unsigned i = 0; i < b->nr_vecs && b->op == BLOCK_READ; i++)
		memset(page_virt(b->vecs[i].page) + b->vecs[i].offset, 0, b->vecs[i].bytes);
	return 0;
}

static int reap(struct null_queue *q)
{
	int n = 0;

	for (;; n++) {
		ulong irq = spin_lock_irqsave(&q->lock);
		struct rb_node *first = rb_first(&q->pending);
		struct pending *p = first ? rb_entry(first, struct pending, node) : NULL;
		struct bio *b = NULL;

		if (p && p->due_ns <= clock_ns()) {
			rb_erase(&q->pending, &p->node);
			b = p->bio;
		}
		spin_unlock_irqrestore(&q->lock, irq);
		if (!b)
			return n;
		block_complete(b, carry_out(b));
	}
}

static int poll(struct block_hwq *h)
{
	struct null_disk *d = h->dev->priv;

	return reap(&d->queues[h->index]);
}

static void reap_deferred(struct deferred *df)
{
	struct null_queue *q = container_of(df, struct null_queue, reap);
	ulong irq;

	reap(q);
	irq = spin_lock_irqsave(&q->lock);
	arm(q);
	spin_unlock_irqrestore(&q->lock, irq);
}

static void on_timer(struct timer *t)
{
	deferred_queue(&container_of(t, struct null_queue, timer)->reap);
}

static const struct block_driver driver = { .queue = queue_bio, .poll = poll };

/* ---- /sys/block/nullbX/service ------------------------------------------------------------------ */

static u64 *number_of(struct null_disk *d, const struct attr *a)
{
	return (u64 *)((char *)d + a->data);
}

static int show_number(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)*number_of(dir->owner, a));
	return 0;
}

static int set_number(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(text, 0, &v);

	if (err)
		return err;
	if (v > 60 * NSEC_PER_SEC)
		return fail(EINVAL, "more than a minute");
	WRITE_ONCE(*number_of(dir->owner, a), v);
	return 0;
}

static int show_distribution(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct null_disk *d = dir->owner;

	strbuf_add(out, "%s\n", distribution_names[d->distribution]);
	return 0;
}

static int set_distribution(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	struct null_disk *d = dir->owner;

	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	for (unsigned i = 0; i < DISTRIBUTIONS; i++)
		if (!strcmp(text, distribution_names[i])) {
			d->distribution = i;
			seed(d); /* what is measured next has the same times as what was before */
			return 0;
		}
	return fail(EINVAL, "not fixed, normal or bimodal");
}

static int show_servers(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", ((struct null_disk *)dir->owner)->servers);
	return 0;
}

static int set_servers(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u64 v;
	int err = str_to_u64(text, 0, &v);

	if (err)
		return err;
	if (v < 1 || v > MAX_SERVERS)
		return fail(EINVAL, "servers: 1 to %u", MAX_SERVERS);
	WRITE_ONCE(((struct null_disk *)dir->owner)->servers, (u32)v);
	return 0;
}

#define NUMBER(field)                                                                                                  \
	static const struct attr attr_##field = { #field,     0644, show_number,                                       \
						  set_number, NULL, offsetof(struct null_disk, field) }
NUMBER(read_ns);
NUMBER(write_ns);
NUMBER(spread_ns);
static const struct attr attr_distribution = { "distribution", 0644, show_distribution, set_distribution, NULL, 0 };
static const struct attr attr_servers = { "servers", 0644, show_servers, set_servers, NULL, 0 };
static const struct attr *const service_attrs[] = { &attr_read_ns,      &attr_write_ns, &attr_spread_ns,
						    &attr_distribution, &attr_servers,  NULL };

static int make_queues(struct null_disk *d, unsigned nr, unsigned depth)
{
	d->queues = kcalloc(nr, sizeof(*d->queues), ALLOC_KERNEL);
	if (!d->queues || block_prepare(&d->block, nr, depth))
		return -ENOMEM;
	for (unsigned i = 0; i < nr; i++) {
		struct null_queue *q = &d->queues[i];

		spin_init(&q->lock, RANK_DRIVER);
		timer_init(&q->timer, on_timer);
		deferred_init(&q->reap, reap_deferred);
		q->hwq = &d->block.hwqs[i];
	}
	return 0;
}

static int make(unsigned index, u64 mib, unsigned depth, bool keeps)
{
	struct null_disk *d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	int err;

	if (!d)
		return -ENOMEM;
	spin_init(&d->servers_lock, RANK_LEAF_SPIN);
	d->servers = 1;
	d->read_ns = d->write_ns = 10 * NSEC_PER_USEC;
	d->index = index;
	seed(d);
	d->block.priv = d;
	d->block.driver = &driver;
	d->keeps = keeps;
	memstore_init(&d->store);
	d->block.sectors = mib << (20 - SECTOR_SHIFT);
	d->block.limits = (struct block_limits){ .logical_block = SECTOR_SIZE,
						 .physical_block = PAGE_SIZE,
						 .max_bytes = 1 << 20,
						 .max_vecs = 256,
						 .max_discard_bytes = 1 << 30 };
	str_format(d->block.name, sizeof(d->block.name), "nullb%u", index);
	err = make_queues(d, min(cpu_count(), (unsigned)MAX_HWQS), depth);
	if (!err)
		err = block_add(&d->block);
	return err ? err : attr_dir_init(&d->service, &d->block.attr, "service", service_attrs, NULL, d);
}

static void nullblk_init(void)
{
	u64 n = min(boot_param_u64("nullblk", ~0UL, 0), (u64)MAX_DEVICES);
	u64 mib = clamp(boot_param_u64("nullblk.size", ~0UL, 1024), 1ULL, 1ULL << 20);
	unsigned depth = clamp(boot_param_u64("nullblk.depth", ~0UL, DEPTH), 1ULL, (u64)DEPTH);
	bool keeps = boot_param_u64("nullblk.memory_backed", ~0UL, 0);

	for (unsigned i = 0; i < n; i++)
		if (make(i, mib, depth, keeps))
			log_warn("nullb%u: out of memory", i);
}
PART_INIT(driver, nullblk_init);
