/* SPDX-License-Identifier: MIT
 *
 * Memory policies: on which nodes a thread's, or a range's, memory is to lie. A policy never changes once it is made;
 * threads and VMAs count references to it. NULL is the default policy: near to the CPU that asks.
 *
 * Source: set_mempolicy(2), get_mempolicy(2), mbind(2), linux/mempolicy.h (MPOL_*), Documentation/admin-guide/mm/
 * numa_memory_policy.rst.
 */
#ifndef TASK_MEMPOLICY_H
#define TASK_MEMPOLICY_H

#include <alloc/page.h>
#include <arch/numa.h>
#include <core/rcu.h>
#include <lib/atomic.h>

struct mempolicy {
	refcount_t refs;
	struct rcu_head rcu;
	u16 mode;           /* MPOL_*, without flags; MPOL_DEFAULT is no policy */
	u16 flags;          /* MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING */
	u8 home;            /* set_mempolicy_home_node(2); MAX_NODES: none */
	nodemask_t user;    /* as it was asked for */
	nodemask_t nodes;   /* what that meant, when the thread might use .. */
	nodemask_t allowed; /* .. these nodes */
};

/* mode with its flags; a node that no machine has is bit 63. NULL in *out: the default. -EINVAL, -ENOMEM. */
int __must_check mempolicy_create(unsigned mode, nodemask_t nodes, nodemask_t allowed, struct mempolicy **out);
struct mempolicy *mempolicy_get(struct mempolicy *p); /* NULL is allowed, here and below */
void mempolicy_put(struct mempolicy *p);
static inline bool mempolicy_equal(const struct mempolicy *a, const struct mempolicy *b)
{
	if (a == b || !a || !b)
		return a == b;
	return a->mode == b->mode && a->flags == b->flags && a->home == b->home && a->user == b->user &&
	       a->nodes == b->nodes && a->allowed == b->allowed;
}
/* The same with another home node. NULL: no memory. */
struct mempolicy *mempolicy_with_home(const struct mempolicy *p, unsigned node);
/* Its nodes for one who may use `allowed`: a cpuset may have changed since it was made. */
nodemask_t mempolicy_nodes(const struct mempolicy *p, nodemask_t allowed);
/* Where page number `turn` of an object goes that the policy is spread over. */
void mempolicy_place(const struct mempolicy *p, nodemask_t allowed, u64 turn, struct page_place *out);
/* Bit n of `set`, the i-th of `from`, becomes the i-th (round and round) of `to`; others stay. */
unsigned node_remap(unsigned n, nodemask_t from, nodemask_t to);

struct strbuf;
void mempolicy_describe(const struct mempolicy *p, nodemask_t allowed, struct strbuf *out); /* as numa_maps shows it */

/* ---- of a thread ---- */
struct task;
struct mem_range {                      /* current->mem_range: one page of a range is being made */
	const struct mempolicy *policy; /* NULL: the thread's */
	u64 turn;                       /* the page's number in its object */
};
struct mempolicy *task_mempolicy_get(struct task *t); /* of any thread; a reference, or NULL */
nodemask_t task_mems(const struct task *t);           /* nodes with memory that its cpuset allows. Any context */
void task_set_mempolicy(struct mempolicy *p);         /* current's; the reference is taken over */
unsigned task_interleave_next(void); /* where current's next page goes whose place in an object is not known */

#endif
