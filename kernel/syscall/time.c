/* SPDX-License-Identifier: MIT
 *
 * Problem: the clock, sleep and timer calls, in their several units.
 *
 * Idea: everything becomes nanoseconds at the door; sleeps become deadlines at once, so that an
 * interrupted one continues to the same moment.
 *
 * Contract: clock_gettime(2), clock_nanosleep(2), setitimer(2), timer_create(2). adjtimex is in timex.c.
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <core/clock.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/time.h>
#include <linux/times.h>
#include <process/process.h>
#include <process/timers.h>
#include <task/sched.h>

#define TICK_NS (NSEC_PER_SEC / 100)

long sys_clock_gettime(int clock, void __user *tp)
{
	u64 ns;
	int err = clock_read(clock, &ns);

	return err ? err : timespec_put(tp, ns);
}

long sys_clock_getres(int clock, void __user *tp)
{
	u64 ns;
	int err = clock_resolution(clock, &ns);

	return err || !tp ? err : timespec_put(tp, ns);
}

long sys_clock_settime(int clock, const void __user *tp)
{
	u64 ns;
	int err;

	if (clock != CLOCK_REALTIME)
		return -EINVAL;
	err = timespec_get(tp, &ns);
	if (err)
		return err;
	if (!capable(CAP_SYS_TIME))
		return -EPERM;
	clock_set_real_ns(ns);
	return 0;
}

long sys_gettimeofday(void __user *tv, void __user *tz)
{
	static const struct timezone utc;
	u64 ns = clock_real_ns();
	struct __kernel_old_timeval t = { ns / NSEC_PER_SEC, ns % NSEC_PER_SEC / 1000 };

	if (tv && user_put(tv, &t, sizeof(t)))
		return -EFAULT;
	return tz && user_put(tz, &utc, sizeof(utc)) ? -EFAULT : 0;
}

long sys_settimeofday(const void __user *tv, const void __user *tz)
{
	struct __kernel_old_timeval t;

	if (tv && user_get(&t, tv, sizeof(t)))
		return -EFAULT;
	if (tv && (t.tv_sec < 0 || t.tv_usec < 0 || t.tv_usec >= 1000000))
		return -EINVAL;
	if (!capable(CAP_SYS_TIME))
		return -EPERM;
	if (tv)
		clock_set_real_ns(t.tv_sec * NSEC_PER_SEC + t.tv_usec * 1000);
	return 0;
}

long sys_time(s64 __user *tloc)
{
	s64 now = clock_real_ns() / NSEC_PER_SEC;

	return tloc && user_put(tloc, &now, sizeof(now)) ? -EFAULT : now;
}

long sys_times(void __user *buf)
{
	struct process_usage own, kids;
	struct tms t;

	process_usage(current->process, &own, &kids);
	t.tms_utime = own.user_ns / TICK_NS;
	t.tms_stime = own.system_ns / TICK_NS;
	t.tms_cutime = kids.user_ns / TICK_NS;
	t.tms_cstime = kids.system_ns / TICK_NS;
	if (buf && user_put(buf, &t, sizeof(t)))
		return -EFAULT;
	return clock_ns() / TICK_NS;
}

/* ---- sleeping ------------------------------------------------------------------------------------------------ */

static int sleep_until(u64 deadline_ns)
{
	for (;;) {
		sched_set_state(TASK_INTERRUPTIBLE);
		if (signal_pending(current)) {
			sched_set_state(TASK_RUNNING);
			return -EINTR;
		}
		if (sched_sleep_until(deadline_ns) == -ETIME || clock_ns() >= deadline_ns)
			return 0;
	}
}

static int put_remaining(void __user *rem, u64 deadline_ns)
{
	u64 now = clock_ns();

	return rem ? timespec_put(rem, deadline_ns > now ? deadline_ns - now : 0) : 0;
}

static long sleep_again(struct task *t)
{
	int err = sleep_until(t->restart.deadline_ns);

	if (!err)
		return 0;
	if (put_remaining((void __user *)t->restart.args[0], t->restart.deadline_ns))
		return -EFAULT;
	return -ERESTART_RESTARTBLOCK;
}

/* What can be read but not slept on is another error than what is no clock at all (clock_nanosleep(2)). */
static bool never_sleeps(int clock)
{
	return clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
	       clock == CLOCK_MONOTONIC_COARSE;
}

static long sleep_call(int clock, bool absolute, const void __user *req, void __user *rem)
{
	u64 ns, deadline;
	int err = never_sleeps(clock) ? -EOPNOTSUPP : timespec_get(req, &ns);

	if (!err)
		err = clock_deadline(clock, ns, !absolute, &deadline);
	if (err)
		return err;
	err = sleep_until(deadline);
	if (!err)
		return 0;
	if (absolute)
		return -ERESTARTNOHAND;
	if (put_remaining(rem, deadline))
		return -EFAULT;
	current->restart.fn = sleep_again;
	current->restart.deadline_ns = deadline;
	current->restart.args[0] = (ulong)rem;
	return -ERESTART_RESTARTBLOCK;
}

long sys_nanosleep(const void __user *req, void __user *rem)
{
	return sleep_call(CLOCK_MONOTONIC, false, req, rem);
}

long sys_clock_nanosleep(int clock, int flags, const void __user *req, void __user *rem)
{
	if (flags & ~TIMER_ABSTIME)
		return -EINVAL;
	return sleep_call(clock, flags & TIMER_ABSTIME, req, rem);
}

/* ---- interval timers ------------------------------------------------------------------------------------------- */

static int get_itimer(struct timer_value *v, const void __user *from)
{
	struct __kernel_old_itimerval it;

	if (user_get(&it, from, sizeof(it)))
		return -EFAULT;
	if (it.it_value.tv_sec < 0 || it.it_value.tv_usec < 0 || it.it_value.tv_usec >= 1000000 ||
	    it.it_interval.tv_sec < 0 || it.it_interval.tv_usec < 0 || it.it_interval.tv_usec >= 1000000)
		return -EINVAL;
	v->value_ns = it.it_value.tv_sec * NSEC_PER_SEC + it.it_value.tv_usec * 1000;
	v->interval_ns = it.it_interval.tv_sec * NSEC_PER_SEC + it.it_interval.tv_usec * 1000;
	return 0;
}

static int put_itimer(void __user *to, const struct timer_value *v)
{
	u64 value = v->value_ns ? max(v->value_ns, (u64)1000) : 0; /* armed never shows as 0 */
	struct __kernel_old_itimerval it = {
		.it_value = { value / NSEC_PER_SEC, value % NSEC_PER_SEC / 1000 },
		.it_interval = { v->interval_ns / NSEC_PER_SEC, v->interval_ns % NSEC_PER_SEC / 1000 },
	};

	return user_put(to, &it, sizeof(it));
}

long sys_getitimer(int which, void __user *value)
{
	struct timer_value v;
	int err = itimer_get(which, &v);

	return err ? err : put_itimer(value, &v);
}

long sys_setitimer(int which, const void __user *value, void __user *oldvalue)
{
	struct timer_value v = { 0 }, old;
	int err = value ? get_itimer(&v, value) : 0;

	if (!err)
		err = itimer_set(which, &v, &old);
	return err || !oldvalue ? err : put_itimer(oldvalue, &old);
}

long sys_alarm(u32 seconds)
{
	struct timer_value v = { .value_ns = seconds * NSEC_PER_SEC }, old;
	int err = itimer_set(0, &v, &old);

	return err ? err : (long)((old.value_ns + NSEC_PER_SEC - 1) / NSEC_PER_SEC);
}

/* ---- POSIX timers --------------------------------------------------------------------------------------------------
 */

long sys_timer_create(int clock, void __user *event, int __user *timer_id)
{
	struct timer_target to = { .sig = SIGALRM, .value_is_id = true };
	struct sigevent ev;
	int id, err;

	if (event) {
		if (user_get(&ev, event, sizeof(ev)))
			return -EFAULT;
		if (ev.sigev_notify & ~(SIGEV_SIGNAL | SIGEV_NONE | SIGEV_THREAD | SIGEV_THREAD_ID))
			return -EINVAL;
		to = (struct timer_target){ .sig = ev.sigev_signo, .value = (ulong)ev.sigev_value.sival_ptr };
		if (ev.sigev_notify & SIGEV_THREAD_ID)
			to.tid = ev.sigev_notify_thread_id;
		if ((ev.sigev_notify & ~SIGEV_THREAD_ID) == SIGEV_NONE)
			to.sig = 0;
		else if (to.sig < 1 || to.sig > 64)
			return -EINVAL;
	}
	err = ptimer_create(clock, &to, &id);
	if (!err && user_put(timer_id, &id, sizeof(id))) {
		(void)!ptimer_delete(id);
		err = -EFAULT;
	}
	return err;
}

static int get_itimerspec(struct timer_value *v, const void __user *from)
{
	const struct __kernel_itimerspec __user *it = from;
	int err = timespec_get(&it->it_interval, &v->interval_ns);

	return err ? err : timespec_get(&it->it_value, &v->value_ns);
}

static int put_itimerspec(void __user *to, const struct timer_value *v)
{
	struct __kernel_itimerspec __user *it = to;
	int err = timespec_put(&it->it_interval, v->interval_ns);

	return err ? err : timespec_put(&it->it_value, v->value_ns);
}

long sys_timer_settime(int timer_id, int flags, const void __user *value, void __user *old_value)
{
	struct timer_value v, old;
	int err;

	if (!value)
		return -EINVAL;
	err = get_itimerspec(&v, value);
	if (!err)
		err = ptimer_set(timer_id, flags & TIMER_ABSTIME, &v, &old);
	return err || !old_value ? err : put_itimerspec(old_value, &old);
}

long sys_timer_gettime(int timer_id, void __user *value)
{
	struct timer_value v;
	int err = ptimer_get(timer_id, &v);

	return err ? err : put_itimerspec(value, &v);
}

long sys_timer_getoverrun(int timer_id)
{
	return ptimer_overrun(timer_id);
}

long sys_timer_delete(int timer_id)
{
	return ptimer_delete(timer_id);
}
