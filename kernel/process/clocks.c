/* SPDX-License-Identifier: MIT
 *
 * Problem: programs name clocks by numbers, some of which mean the CPU time of a process or a thread.
 *
 * Idea: everything is nanoseconds; wall clocks are clock_ns plus an offset, so a deadline on any of
 * them becomes one of clock_ns. CPU clocks of others have negative numbers: ~pid << 3, bit 2 a thread
 * (clock_getcpuclockid(3)).
 *
 * Contract: process/timers.h. A sleep until a time of the wall clock does not follow later settings
 * of that clock.
 *
 * Locks: siglock for a process's CPU time.
 */
#include "process_priv.h"
#include <arch/user.h>
#include <core/clock.h>
#include <linux/time.h>
#include <process/timers.h>

#define CPU_THREAD 4

u64 process_cpu_ns(struct process *p)
{
	struct process_usage u;

	process_usage(p, &u, NULL);
	return u.user_ns + u.system_ns;
}

u64 process_user_ns(struct process *p)
{
	struct process_usage u;

	process_usage(p, &u, NULL);
	return u.user_ns;
}

static int cpu_clock(int clock, u64 *ns)
{
	int nr = ~(clock >> 3), kind = clock & 3;
	struct task *t;

	if (kind > 2)
		return -EINVAL;
	if (!nr)
		nr = pid_nr(clock & CPU_THREAD ? current->pid : current->process->pid);
	t = task_find_get(nr);
	if (!t || !t->process) {
		if (t)
			task_put(t);
		return -EINVAL;
	}
	if (clock & CPU_THREAD)
		*ns = kind == 1 ? t->user_ns : t->user_ns + t->system_ns;
	else
		*ns = kind == 1 ? process_user_ns(t->process) : process_cpu_ns(t->process);
	task_put(t);
	return 0;
}

int clock_read(int clock, u64 *ns)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE:
	case CLOCK_REALTIME_ALARM:
	case CLOCK_TAI: *ns = clock_real_ns(); return 0;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME:
	case CLOCK_BOOTTIME_ALARM: *ns = clock_ns(); return 0;
	case CLOCK_PROCESS_CPUTIME_ID: *ns = process_cpu_ns(current->process); return 0;
	case CLOCK_THREAD_CPUTIME_ID: *ns = current->user_ns + current->system_ns; return 0;
	default: return clock < 0 ? cpu_clock(clock, ns) : -EINVAL;
	}
}

int clock_resolution(int clock, u64 *ns)
{
	u64 now;
	int err = clock_read(clock, &now);

	*ns = clock == CLOCK_REALTIME_COARSE || clock == CLOCK_MONOTONIC_COARSE ? 4000000 : 1;
	return err;
}

int clock_deadline(int clock, u64 ns, bool relative, u64 *deadline_ns)
{
	u64 now = clock_ns(), there, ahead;
	int err = clock_read(clock, &there);

	if (err)
		return err;
	if (clock == CLOCK_THREAD_CPUTIME_ID)
		return -EINVAL;
	ahead = relative ? ns : ns > there ? ns - there : 0;
	*deadline_ns = ahead > ~0ULL - 1 - now ? ~0ULL : now + ahead;
	return 0;
}

int timespec_get(const void __user *ts, u64 *ns)
{
	struct __kernel_timespec t;

	if (user_get(&t, ts, sizeof(t)))
		return -EFAULT;
	if (t.tv_sec < 0 || t.tv_nsec < 0 || t.tv_nsec >= (s64)NSEC_PER_SEC)
		return -EINVAL;
	*ns = t.tv_sec >= (s64)(~0ULL / 2 / NSEC_PER_SEC) ? ~0ULL : t.tv_sec * NSEC_PER_SEC + t.tv_nsec;
	return 0;
}

int timespec_put(void __user *ts, u64 ns)
{
	struct __kernel_timespec t = { .tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC };

	return user_put(ts, &t, sizeof(t));
}
