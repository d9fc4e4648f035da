/* SPDX-License-Identifier: MIT
 *
 * Clocks by their numbers, and the timers of a process: setitimer(2), timer_create(2). All times are u64 nanoseconds.
 */
#ifndef PROCESS_TIMERS_H
#define PROCESS_TIMERS_H

#include <lib/types.h>
#include <linux/time_types.h>

struct process;
struct task;

/* clock_gettime's clocks, CPU clocks of other processes and threads included. -EINVAL: no such clock. */
int __must_check clock_read(int clock, u64 *ns);
int __must_check clock_resolution(int clock, u64 *ns);
/* A time of `clock` as a deadline of clock_ns(). relative: from now on. -EINVAL: a clock that nobody can sleep on. */
int __must_check clock_deadline(int clock, u64 ns, bool relative, u64 *deadline_ns);
/* struct __kernel_timespec of user memory, checked: -EFAULT, -EINVAL. Times beyond 292 years become ~0. */
int __must_check timespec_get(const void __user *ts, u64 *ns);
int __must_check timespec_put(void __user *ts, u64 ns);

struct timer_value {
	u64 value_ns;    /* 0: disarmed */
	u64 interval_ns; /* 0: once */
};
/* which: ITIMER_*. */
int __must_check itimer_set(int which, const struct timer_value *v, struct timer_value *old);
int __must_check itimer_get(int which, struct timer_value *v);

/* POSIX timers of current's process, by id. sig 0: no signal. tid 0: the process. */
struct timer_target {
	int sig, tid;
	u64 value; /* sigev_value */
	bool value_is_id;
};
int __must_check ptimer_create(int clock, const struct timer_target *t, int *id);
int __must_check ptimer_delete(int id);
int __must_check ptimer_set(int id, bool absolute, const struct timer_value *v, struct timer_value *old);
int __must_check ptimer_get(int id, struct timer_value *v);
int __must_check ptimer_overrun(int id);

/* The clock ns of the CPU that a process or a thread has used. */
u64 process_cpu_ns(struct process *p);
u64 process_user_ns(struct process *p);

#endif
