/* SPDX-License-Identifier: MIT
 *
 * Problem: programs say on which nodes their memory shall lie in a dozen ways, and a cpuset may take nodes away from
 * them later.
 *
 * Idea: a policy keeps what was asked for and what the thread was allowed then; what it means now is computed when it
 * is used, from what is allowed now:
 *   static     the nodes that were named, as far as they are allowed
 *   relative   the named ones are positions among those that are allowed
 *   else       the i-th node of those allowed then is the i-th of those allowed now
 * If that leaves none, all that are allowed. A preferred node is only a wish and stays.
 *
 * Contract: task/mempolicy.h. upcall_alloc_place of alloc/page.h: the kernel's own memory is near to the CPU; what a
 * tenant pays for follows the policy of the range that is being filled (current->mem_range), else the thread's.
 *
 * Locks: none. A thread changes only its own policy; /proc reads others' under RCU.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/irq.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/mempolicy.h>
#include <task/mempolicy.h>
#include <task/task.h>
#include <task/tenant.h>

/* ---- sets of nodes --------------------------------------------------------------------------------------- */

/* The n-th (from 0) node of the set, which has that many. */
static unsigned nth_node(nodemask_t set, unsigned n)
{
	while (n--)
		set &= set - 1;
	return node_first(set);
}

unsigned node_remap(unsigned n, nodemask_t from, nodemask_t to)
{
	if (!node_has(from, n) || !to)
		return n;
	return nth_node(to, node_weight(from & (node_bit(n) - 1)) % node_weight(to));
}

static nodemask_t remap_all(nodemask_t set, nodemask_t from, nodemask_t to)
{
	nodemask_t out = 0;
	unsigned n;

	for_each_numa_node(n, set) out |= node_bit(node_remap(n, from, to));
	return out;
}

/* Positions among those of `in`, counted round and round. */
static nodemask_t relative(nodemask_t set, nodemask_t in)
{
	nodemask_t out = 0;
	unsigned n;

	for_each_numa_node(n, set) if (in) out |= node_bit(nth_node(in, n % node_weight(in)));
	return out;
}

/* ---- policies -------------------------------------------------------------------------------------------- */

static int check(unsigned mode, unsigned flags, nodemask_t nodes)
{
	bool pinned = flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES);

	if (mode >= MPOL_MAX || ((flags & MPOL_F_STATIC_NODES) && (flags & MPOL_F_RELATIVE_NODES)) ||
	    ((flags & MPOL_F_NUMA_BALANCING) && mode != MPOL_BIND))
		return -EINVAL;
	if (mode == MPOL_DEFAULT)
		return nodes ? -EINVAL : 0;
	if (mode == MPOL_LOCAL)
		return nodes || pinned ? -EINVAL : 0;
	if (!nodes)
		return mode == MPOL_PREFERRED && !pinned ? 0 : -EINVAL;
	return 0;
}

int mempolicy_create(unsigned mode, nodemask_t nodes, nodemask_t allowed, struct mempolicy **out)
{
	unsigned flags = mode & MPOL_MODE_FLAGS;
	struct mempolicy *p;
	nodemask_t effective;
	int err;

	*out = NULL;
	mode &= ~(unsigned)MPOL_MODE_FLAGS;
	err = check(mode, flags, nodes);
	if (err || mode == MPOL_DEFAULT)
		return err;
	effective = flags & MPOL_F_RELATIVE_NODES ? relative(nodes, allowed) : nodes & allowed;
	if (nodes && !effective)
		return -EINVAL;
	p = kzalloc(sizeof(*p), ALLOC_CHARGED);
	if (!p)
		return -ENOMEM;
	if (mode == MPOL_PREFERRED)
		effective &= -effective;
	refcount_set(&p->refs, 1);
	p->mode = (u16)(nodes ? mode : MPOL_LOCAL);
	p->flags = (u16)flags;
	p->home = MAX_NODES;
	p->user = nodes;
	p->nodes = effective;
	p->allowed = allowed;
	*out = p;
	return 0;
}

static void free_policy(struct rcu_head *head)
{
	kfree(container_of(head, struct mempolicy, rcu));
}

struct mempolicy *mempolicy_get(struct mempolicy *p)
{
	if (p)
		refcount_inc(&p->refs);
	return p;
}

void mempolicy_put(struct mempolicy *p)
{
	if (p && refcount_dec_and_test(&p->refs))
		rcu_call(&p->rcu, free_policy);
}

struct mempolicy *mempolicy_with_home(const struct mempolicy *p, unsigned node)
{
	struct mempolicy *n = kmalloc(sizeof(*n), ALLOC_CHARGED);

	if (!n)
		return NULL;
	*n = *p;
	refcount_set(&n->refs, 1);
	n->home = (u8)node;
	return n;
}

nodemask_t mempolicy_nodes(const struct mempolicy *p, nodemask_t allowed)
{
	nodemask_t now;

	if (!p)
		return 0;
	if (allowed == p->allowed || p->mode == MPOL_PREFERRED || p->mode == MPOL_PREFERRED_MANY ||
	    p->mode == MPOL_LOCAL)
		return p->nodes;
	if (p->flags & MPOL_F_STATIC_NODES)
		now = p->user & allowed;
	else if (p->flags & MPOL_F_RELATIVE_NODES)
		now = relative(p->user, allowed);
	else
		now = remap_all(p->nodes, p->allowed, allowed);
	return now ? now : allowed;
}

void mempolicy_place(const struct mempolicy *p, nodemask_t allowed, u64 turn, struct page_place *out)
{
	nodemask_t nodes = mempolicy_nodes(p, allowed);

	*out = (struct page_place){ .near = (u8)node_of_cpu(cpu_id()), .only = allowed };
	if (!nodes)
		return;
	if ((p->mode == MPOL_BIND || p->mode == MPOL_PREFERRED_MANY) && p->home < MAX_NODES)
		out->near = p->home;
	switch (p->mode) {
	case MPOL_PREFERRED: out->near = (u8)node_first(nodes); break;
	case MPOL_PREFERRED_MANY: out->wish = nodes; break;
	case MPOL_BIND: out->only = nodes & allowed ? nodes & allowed : allowed; break;
	case MPOL_INTERLEAVE:
		out->near = (u8)nth_node(nodes, (unsigned)(turn % node_weight(nodes)));
		out->interleaved = true;
		break;
	default: break;
	}
}

void mempolicy_describe(const struct mempolicy *p, nodemask_t allowed, struct strbuf *out)
{
	static const char *const names[] = {
		[MPOL_DEFAULT] = "default",       [MPOL_PREFERRED] = "prefer", [MPOL_BIND] = "bind",
		[MPOL_INTERLEAVE] = "interleave", [MPOL_LOCAL] = "local",      [MPOL_PREFERRED_MANY] = "prefer (many)",
	};

	strbuf_add(out, "%s", names[p ? p->mode : MPOL_DEFAULT]);
	if (!p)
		return;
	if (p->flags & (MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES))
		strbuf_add(out, p->flags & MPOL_F_STATIC_NODES ? "=static" : "=relative");
	if (mempolicy_nodes(p, allowed)) {
		strbuf_add(out, ":");
		strbuf_add_set(out, mempolicy_nodes(p, allowed));
	}
}

/* ---- of threads ------------------------------------------------------------------------------------------ */

struct mempolicy *task_mempolicy_get(struct task *t)
{
	struct mempolicy *p;

	rcu_read_lock();
	p = rcu_deref(t->mem_policy);
	if (p && !refcount_inc_not_zero(&p->refs))
		p = NULL; /* it has just been exchanged */
	rcu_read_unlock();
	return p;
}

nodemask_t task_mems(const struct task *t)
{
	nodemask_t mems;

	rcu_read_lock();
	mems = READ_ONCE(rcu_deref(t->tenant)->mems_effective) & node_memory_mask();
	rcu_read_unlock();
	return mems;
}

void task_set_mempolicy(struct mempolicy *p)
{
	struct mempolicy *old = current->mem_policy;

	rcu_assign(current->mem_policy, p);
	current->mem_turn = 0;
	mempolicy_put(old);
}

unsigned task_interleave_next(void)
{
	nodemask_t nodes = mempolicy_nodes(current->mem_policy, task_mems(current));

	return nth_node(nodes, current->mem_turn % node_weight(nodes));
}

void upcall_alloc_place(struct tenant *t, unsigned order, struct page_place *out)
{
	const struct mem_range *r;
	nodemask_t allowed;

	if (!t || in_irq()) {
		*out = (struct page_place){ .near = (u8)node_of_cpu(cpu_id()), .only = ~0ULL };
		return;
	}
	r = current->mem_range;
	allowed = task_mems(current);
	if (r) {
		mempolicy_place(r->policy ? r->policy : current->mem_policy, allowed, r->turn >> order, out);
	} else {
		mempolicy_place(current->mem_policy, allowed, current->mem_turn, out);
		current->mem_turn += out->interleaved;
	}
}
