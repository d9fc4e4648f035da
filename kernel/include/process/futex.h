/* SPDX-License-Identifier: MIT
 *
 * Futexes: sleeping on the value of a word of user memory. futex(2).
 */
#ifndef PROCESS_FUTEX_H
#define PROCESS_FUTEX_H

#include <lib/types.h>

struct futex_call {
	u32 __user *addr, *addr2;
	u32 val, val2, val3, bitset;
	bool private;
	u64 deadline_ns; /* clock_ns time, ~0: none */
	bool relative;   /* an interrupted wait continues through restart_syscall */
};
int futex_wait(const struct futex_call *f);                  /* 0, -EAGAIN, -ETIMEDOUT, -EFAULT, or restart codes */
int futex_wake(const struct futex_call *f);                  /* how many were woken */
int futex_requeue(const struct futex_call *f, bool compare); /* val: to wake; val2: to move; val3: expected */
int futex_wake_op(const struct futex_call *f); /* val, val2: to wake on addr and addr2; val3: the operation */

int futex_lock_pi(const struct futex_call *f, bool try); /* 0; -EDEADLK, -ESRCH, -EPERM; try: -EAGAIN */
int futex_unlock_pi(const struct futex_call *f);         /* 0; -EPERM: not ours */

/* Waits at addr until moved to the lock addr2, which it then has. Others: futex_wait's, futex_lock_pi's. */
int futex_wait_requeue_pi(const struct futex_call *f);
/* Gives the lock addr2 to one that waits so at addr, or queues it there, and queues val2 more. val must be 1; val3:
 * expected. How many. */
int futex_requeue_pi(const struct futex_call *f);

struct futex_wait_one {
	u32 __user *addr;
	u32 val;
	bool private;
};
/* futex_waitv: sleeps on several; the index of the one that woke it. */
int futex_wait_many(const struct futex_wait_one *w, unsigned n, u64 deadline_ns);

#endif
