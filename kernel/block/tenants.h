/* SPDX-License-Identifier: MIT
 *
 * Between bio.c, the tenants' queue of a disk (tenants.c) and its files (cgroup.c).
 */
#ifndef BLOCK_TENANTS_H
#define BLOCK_TENANTS_H

#include <block/block.h>
#include <cgroup/cgroup.h>
#include <core/irq.h>

enum { IO_STAT_READ, IO_STAT_WRITE, IO_STAT_DISCARD, IO_STATS };

struct io_stats {
	u64 bytes[IO_STATS], ops[IO_STATS];
};

struct tenant_disk { /* a tenant at a disk: under the share's lock */
	struct io_node node;
	struct rb_node rb; /* by the tenant's number */
	u16 id;
	unsigned refs; /* its tenant, children, bios */
	u32 weight;    /* of its own, 0: the tenant's */
	struct io_stats stats;
};

struct block_share { /* of a disk */
	struct block_dev *dev;
	struct spinlock lock; /* RANK_BLOCK, irqsave */
	struct io_queue q;
	struct rb_root nodes;
	bool running; /* somebody takes what may go, and will see what comes meanwhile */
	struct timer timer;
	struct deferred job;
	struct list link; /* all shares: block_shares_lock */
	struct rcu_head rcu;
};

extern struct cgroup_controller block_controller;
extern struct list block_shares; /* under block_shares_lock (RANK_SHARES) */
extern struct spinlock block_shares_lock;

void block_tenants_use(bool on); /* the root has the controller in its subtree_control */
/* Of a tenant that has the controller, made if need be. NULL: no memory, or the tenant has gone. Lock held. */
struct tenant_disk *block_tenant_node(struct block_share *s, struct tenant *t);
struct tenant_disk *block_tenant_find(struct block_share *s, u16 id); /* NULL: none. Lock held */
void block_tenant_gone(struct tenant *t);                             /* it has no I/O share any more */
void block_tenants_run(struct block_share *s);                        /* lets go what may. No lock held */

#endif
