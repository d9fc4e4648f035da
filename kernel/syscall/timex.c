/* SPDX-License-Identifier: MIT
 *
 * Problem: time daemons steer the clock: they shift it, set its error bounds and its status, and read all of it back.
 *
 * Idea: the values of a disciplined clock are kept and checked as the interface has them; shifts (ADJ_SETOFFSET and
 * the old adjtime's, at once instead of slowly) move the wall clock. The rate itself is not steered: freq and tick are
 * remembered, and CAVEATS.md says so.
 *
 * Contract: adjtimex(2), clock_adjtime(2), linux/timex.h. The result is the clock's state: TIME_ERROR while it is not
 * synchronised.
 *
 * Locks: timex_lock for the values.
 */
#include <abi/syscalls.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/time.h>
#include <linux/timex.h>
#include <task/cred.h>

#define USER_HZ     100
#define OLD_ADJTIME 0x8000 /* adjtime(3) in mode; with OLD_SINGLE, and OLD_READ only to ask */
#define OLD_SINGLE  0x0001
#define OLD_READ    0x2000
#define MAX_FREQ    (500LL << 16) /* parts in a million, scaled by 2^16 */
#define MAX_OFFSET  500000000LL   /* ns */
#define READ_ONLY                                                                                                      \
	(STA_PPSSIGNAL | STA_PPSJITTER | STA_PPSWANDER | STA_PPSERROR | STA_CLOCKERR | STA_NANO | STA_MODE | STA_CLK)

static struct spinlock timex_lock = SPIN_INIT(RANK_LEAF_SPIN);
static struct __kernel_timex state = { .status = STA_UNSYNC,
				       .maxerror = 16000000,
				       .esterror = 16000000,
				       .constant = 2,
				       .precision = 1,
				       .tolerance = MAX_FREQ,
				       .tick = 10000 };

static int check(const struct __kernel_timex *t)
{
	if (t->modes & OLD_ADJTIME) {
		if (!(t->modes & OLD_SINGLE))
			return -EINVAL;
		return t->modes & OLD_READ || capable(CAP_SYS_TIME) ? 0 : -EPERM;
	}
	if (t->modes && !capable(CAP_SYS_TIME))
		return -EPERM;
	if (t->modes & ADJ_TICK && (t->tick < 900000 / USER_HZ || t->tick > 1100000 / USER_HZ))
		return -EINVAL;
	if (t->modes & ADJ_SETOFFSET &&
	    (t->time.tv_usec < 0 || t->time.tv_usec >= (t->modes & ADJ_NANO ? 1000000000 : 1000000)))
		return -EINVAL;
	if (t->modes & ADJ_FREQUENCY && (t->freq > INT64_MAX / 1000 || t->freq < -INT64_MAX / 1000))
		return -EINVAL;
	return 0;
}

static void shift_clock(s64 ns)
{
	clock_set_real_ns(clock_real_ns() + ns);
}

static void apply_status(const struct __kernel_timex *t)
{
	if (t->modes & ADJ_STATUS)
		state.status = (state.status & READ_ONLY) | (t->status & ~READ_ONLY);
	if (t->modes & ADJ_NANO)
		state.status |= STA_NANO;
	if (t->modes & ADJ_MICRO)
		state.status &= ~STA_NANO;
}

static void apply(const struct __kernel_timex *t)
{
	bool nano;

	apply_status(t);
	nano = state.status & STA_NANO;
	if (t->modes & ADJ_FREQUENCY)
		state.freq = clamp((s64)t->freq, -MAX_FREQ, MAX_FREQ);
	if (t->modes & ADJ_MAXERROR)
		state.maxerror = t->maxerror;
	if (t->modes & ADJ_ESTERROR)
		state.esterror = t->esterror;
	if (t->modes & ADJ_TIMECONST)
		state.constant = clamp((s64)t->constant + (nano ? 0 : 4), 0LL, 10LL);
	if (t->modes & ADJ_TAI && t->constant >= 0)
		state.tai = t->constant;
	if (t->modes & ADJ_OFFSET && state.status & STA_PLL)
		state.offset = nano ? clamp((s64)t->offset, -MAX_OFFSET, MAX_OFFSET)
				    : clamp((s64)t->offset, -MAX_OFFSET / 1000, MAX_OFFSET / 1000);
	if (t->modes & ADJ_TICK)
		state.tick = t->tick;
}

static long adjust(struct __kernel_timex *t)
{
	bool old = t->modes & OLD_ADJTIME;
	int err = check(t), result;
	s64 shift = 0;
	u64 now;

	if (err)
		return err;
	if (old)
		shift = t->modes & OLD_READ ? 0 : t->offset * 1000;
	else if (t->modes & ADJ_SETOFFSET)
		shift = t->time.tv_sec * (s64)NSEC_PER_SEC + t->time.tv_usec * (t->modes & ADJ_NANO ? 1 : 1000);
	spin_lock(&timex_lock);
	if (!old)
		apply(t);
	if (shift)
		shift_clock(shift);
	now = clock_real_ns();
	*t = state;
	result = state.status & (STA_UNSYNC | STA_CLOCKERR) ? TIME_ERROR
		 : state.status & STA_INS                   ? TIME_INS
		 : state.status & STA_DEL                   ? TIME_DEL
							    : TIME_OK;
	spin_unlock(&timex_lock);
	if (old)
		t->offset = 0; /* nothing is left of an earlier shift: each is done at once */
	t->time.tv_sec = now / NSEC_PER_SEC;
	t->time.tv_usec = now % NSEC_PER_SEC / (t->status & STA_NANO ? 1 : 1000);
	return result;
}

long sys_adjtimex(void __user *buf)
{
	struct __kernel_timex t;
	unsigned modes;
	long result;

	if (user_get(&t, buf, sizeof(t)))
		return -EFAULT;
	modes = t.modes;
	result = adjust(&t);
	t.modes = modes;
	return result >= 0 && user_put(buf, &t, sizeof(t)) ? -EFAULT : result;
}

long sys_clock_adjtime(int clock, void __user *buf)
{
	struct __kernel_timex t;

	if (clock == CLOCK_REALTIME)
		return sys_adjtimex(buf);
	if (user_get(&t, buf, sizeof(t)))
		return -EFAULT;
	return clock < 0 || clock > CLOCK_TAI ? -EINVAL : -EOPNOTSUPP;
}
