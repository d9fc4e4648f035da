/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: SCHED_DEADLINE (sched(7)): which times are taken, who may ask, that all together cannot ask for more than there
 * is, that a budget binds, that it comes again each period, and what becomes of children. Needs root.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

#define MS            1000000ULL
#define POLICY        6
#define RESET_ON_FORK 1
#define MOST_CHILDREN 65

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static long set(struct attr *a)
{
	a->size = sizeof(*a);
	return syscall(SYS_sched_setattr, 0, a, 0);
}

static long ask(uint64_t runtime, uint64_t deadline, uint64_t period, uint64_t flags)
{
	struct attr a = {
		.policy = POLICY, .flags = flags, .runtime = runtime, .deadline = deadline, .period = period
	};

	return set(&a);
}

static void ordinary(void)
{
	struct attr a = { .policy = SCHED_OTHER };

	want_eq(set(&a), 0);
}

static uint64_t now(clockid_t c)
{
	struct timespec t;

	clock_gettime(c, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

CASE(times)
{
	want_errno(ask(0, 10 * MS, 10 * MS, 0), EINVAL);
	want_errno(ask(1000, 10 * MS, 10 * MS, 0), EINVAL); /* less than 1024 ns */
	want_errno(ask(10 * MS, 5 * MS, 20 * MS, 0), EINVAL);
	want_errno(ask(MS, 20 * MS, 10 * MS, 0), EINVAL);
	want_errno(ask(MS, 0, 10 * MS, 0), EINVAL);
	want_errno(ask(MS, 1ULL << 63, 0, 0), EINVAL);
	want_errno(ask(2000, 50000, 50000, 0), EINVAL); /* a period of less than 100 us */
	want_errno(ask(MS, MS, 5000 * MS, 0), EINVAL);  /* one of more than 4 s */
	want_eq(syscall(SYS_sched_getscheduler, 0), SCHED_OTHER);
}

CASE(told_as_asked)
{
	struct attr a = { 0 };
	int zero = 0;

	want_eq(ask(2 * MS, 10 * MS, 0, 0), 0);
	want_eq(syscall(SYS_sched_getscheduler, 0), POLICY);
	want_eq(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
	want_eq(a.policy, POLICY);
	want_eq(a.priority, 0);
	want_eq(a.runtime, 2 * MS);
	want_eq(a.deadline, 10 * MS);
	want_eq(a.period, 10 * MS);
	want_errno(syscall(SYS_sched_setscheduler, 0, POLICY, &zero), EINVAL);
	want_errno(syscall(SYS_sched_setparam, 0, &zero), EINVAL);
	ordinary();
	want_eq(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
	want_eq(a.policy, SCHED_OTHER);
}

CASE(children)
{
	int status;
	pid_t child;

	want_eq(ask(2 * MS, 10 * MS, 10 * MS, 0), 0);
	want_errno(fork(), EAGAIN);
	want_eq(ask(2 * MS, 10 * MS, 10 * MS, RESET_ON_FORK), 0);
	child = fork();
	want(child >= 0);
	if (!child)
		_exit(syscall(SYS_sched_getscheduler, 0));
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, SCHED_OTHER);
	ordinary();
}

CASE(rights)
{
	int status;
	pid_t child = fork();

	if (!child) {
		want_eq(setuid(1000), 0);
		want_errno(ask(2 * MS, 10 * MS, 10 * MS, 0), EPERM);
		_exit(0);
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
}

/* Children ask for nine tenths of a CPU each: as many get it as there are CPUs, at most. What they had comes back. */
static int how_many(int children)
{
	pid_t p[MOST_CHILDREN];
	struct timespec a_while = { 0, 300 * MS };
	int n = 0, to[2], back[2];
	char c;

	nanosleep(&a_while, NULL); /* Linux keeps a part until its last period is over */
	want_eq(pipe(to), 0);
	want_eq(pipe(back), 0);
	for (int i = 0; i < children; i++) {
		p[i] = fork();
		if (!p[i]) {
			close(to[1]);
			c = ask(90 * MS, 100 * MS, 100 * MS, 0) ? (errno == EBUSY ? 'b' : 'e') : 'y';
			want_eq(write(back[1], &c, 1), 1);
			_exit(read(to[0], &c, 1));
		}
	}
	for (int i = 0; i < children; i++) {
		want_eq(read(back[0], &c, 1), 1);
		want(c != 'e');
		n += c == 'y';
	}
	close(to[1]);
	for (int i = 0; i < children; i++)
		waitpid(p[i], NULL, 0);
	close(to[0]);
	close(back[0]);
	close(back[1]);
	return n;
}

CASE(not_more_than_there_is)
{
	int cpus = sysconf(_SC_NPROCESSORS_ONLN);

	want(cpus >= 1 && cpus < MOST_CHILDREN);
	want_eq(how_many(cpus + 1), cpus);
	want_eq(how_many(cpus + 1), cpus);
}

/* A tenth of the time is asked for, and all is wanted: not all is given. */
CASE(the_budget_binds)
{
	uint64_t start, used;

	want_eq(ask(10 * MS, 100 * MS, 100 * MS, 0), 0);
	start = now(CLOCK_MONOTONIC);
	used = now(CLOCK_PROCESS_CPUTIME_ID);
	while (now(CLOCK_MONOTONIC) - start < 1000 * MS)
		;
	used = now(CLOCK_PROCESS_CPUTIME_ID) - used;
	ordinary();
	want(used > 20 * MS); /* and comes again */
	want(used < 800 * MS);
}

/* Who has done his work gives the rest of the period away, and runs again in the next one. */
CASE(yield_waits_for_the_period)
{
	uint64_t start;

	want_eq(ask(10 * MS, 50 * MS, 50 * MS, 0), 0);
	sched_yield();
	start = now(CLOCK_MONOTONIC);
	for (int i = 0; i < 4; i++)
		sched_yield();
	want(now(CLOCK_MONOTONIC) - start >= 150 * MS);
	ordinary();
}

int main(void)
{
	RUN(times);
	RUN(told_as_asked);
	RUN(children);
	RUN(rights);
	RUN(not_more_than_there_is);
	RUN(the_budget_binds);
	RUN(yield_waits_for_the_period);
	return abi_status();
}
