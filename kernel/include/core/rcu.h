/* SPDX-License-Identifier: MIT
 *
 * Read-copy-update, one flavour. A read side is code between two quiescent states of its CPU: a
 * context switch, the return to user mode, idle. Since kernel code is not preempted, rcu_read_lock
 * is free in the release build; the debug build counts nesting and panics on a sleep inside.
 * Nothing waits for a grace period during boot.
 */
#ifndef CORE_RCU_H
#define CORE_RCU_H

#include <lib/types.h>

struct rcu_head {
	struct rcu_head *next;
	void (*fn)(struct rcu_head *);
};

#ifdef OSTROM_DEBUG
void rcu_read_lock(void);
void rcu_read_unlock(void);
#else
static inline void rcu_read_lock(void)
{
	barrier();
}
static inline void rcu_read_unlock(void)
{
	barrier();
}
#endif

#define rcu_deref(p)     __atomic_load_n(&(p), __ATOMIC_CONSUME)
#define rcu_assign(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

/* fn(head) runs after every read side that is under way now has ended; in a worker, may not sleep.
 */
void rcu_call(struct rcu_head *head, void (*fn)(struct rcu_head *));
void rcu_synchronize(void); /* sleeps */
/* Called by the scheduler at each switch, and by an interrupt that came from user mode. */
void rcu_quiescent(void);
/* The idle loop: between enter and exit this CPU holds up nobody. IRQs off. */
void rcu_idle_enter(void);
void rcu_idle_exit(void); /* also by an interrupt that hits the idle loop */
/* The tick and the idle loop: gets waiting callbacks going; asks for a quiescent state if one is
 * owed. IRQs off. */
void rcu_poll(void);
bool rcu_read_held(void); /* debug build; else false */
void rcu_init(void);      /* boot, with kernel threads available */

#endif
