/* SPDX-License-Identifier: MIT
 *
 * Problem: breakpoints as events, and signals for samples: SIGTRAP with the event's word (sigtrap), and the signal of a
 * descriptor's choice (O_ASYNC), must come at the instruction that caused them.
 *
 * Idea: touch a word a known number of times and count; look at what the handler saw while the program was still there.
 *
 * Contract: abi.h.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define ROUNDS 100
#ifndef TRAP_PERF
#define TRAP_PERF 6
#endif

static volatile long word, neighbour;
static volatile int traps, wrong, asyncs;

static int open_watch(struct perf_event_attr *a, unsigned type, void *at, unsigned len)
{
	a->type = PERF_TYPE_BREAKPOINT;
	a->size = sizeof(*a);
	a->bp_type = type;
	a->bp_addr = (unsigned long)at;
	a->bp_len = len;
	a->exclude_kernel = 1;
	a->exclude_hv = 1;
	return (int)syscall(SYS_perf_event_open, a, 0, -1, -1, 0);
}

static int plain(unsigned type, void *at, unsigned len)
{
	struct perf_event_attr a = { 0 };
	int fd = open_watch(&a, type, at, len);

	return fd < 0 ? -errno : fd;
}

static long long value(int fd)
{
	long long v = -1;

	return read(fd, &v, sizeof(v)) == sizeof(v) ? v : -1;
}

__attribute__((noinline)) static void step(void)
{
	__asm__ volatile("");
}

/* What an event of this kind counts while the word is written and read and step called. One at a time: emulators tell
 * of one of several watches on a word only. */
static long long counted(unsigned type, void *at, unsigned len)
{
	int fd = plain(type, at, len);
	long long n;
	long sum = 0;

	for (int i = 0; i < ROUNDS; i++) {
		word = i;
		sum += word;
		neighbour = i;
		step();
	}
	n = value(fd);
	close(fd);
	return sum == ROUNDS * (ROUNDS - 1) / 2 ? n : -2;
}

CASE(counts)
{
	want_eq(counted(HW_BREAKPOINT_W, (void *)&word, 8), ROUNDS);
	want_eq(counted(HW_BREAKPOINT_RW, (void *)&word, 8), 2 * ROUNDS);
	want_eq(counted(HW_BREAKPOINT_X, (void *)step, sizeof(long)), ROUNDS);
}

CASE(refusals)
{
	int fd[5];

	want(plain(HW_BREAKPOINT_X, (void *)step, 4) == -EINVAL);
	want(plain(HW_BREAKPOINT_W, (void *)&word, 3) == -EINVAL);
	want(plain(HW_BREAKPOINT_W, (char *)&word + 1, 4) == -EINVAL);
	want(plain(HW_BREAKPOINT_R, (void *)&word, 4) == -EINVAL);
	want(plain(HW_BREAKPOINT_EMPTY, (void *)&word, 4) == -EINVAL);
	want(plain(HW_BREAKPOINT_W, (void *)0xffffffff80000000, 4) == -EINVAL);
	for (int i = 0; i < 5; i++)
		fd[i] = plain(HW_BREAKPOINT_W, (void *)&word, 8);
	want(fd[3] >= 0 && fd[4] == -ENOSPC);
	for (int i = 0; i < 4; i++)
		close(fd[i]);
}

CASE(modified)
{
	struct perf_event_attr a = { 0 }, other;
	int fd = open_watch(&a, HW_BREAKPOINT_W, (void *)&word, 8), clock;

	want(fd >= 0);
	word = 1;
	a.bp_addr = (unsigned long)&neighbour;
	want(!ioctl(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &a));
	word = 2;
	neighbour = 1;
	neighbour = 2;
	want_eq(value(fd), 3);
	a.disabled = 1;
	want(!ioctl(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &a));
	neighbour = 3;
	want_eq(value(fd), 3);
	other = a;
	other.bp_len = 3;
	want(ioctl(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &other) < 0 && errno == EINVAL);
	other = a;
	other.inherit = 1;
	want(ioctl(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &other) < 0 && errno == EINVAL);
	other = (struct perf_event_attr){ .type = PERF_TYPE_SOFTWARE, .size = sizeof(other) };
	want(ioctl(fd, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &other) < 0 && errno == EINVAL);
	other.config = PERF_COUNT_SW_DUMMY;
	clock = (int)syscall(SYS_perf_event_open, &other, 0, -1, -1, 0);
	want(clock >= 0 && ioctl(clock, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &other) < 0 && errno == EOPNOTSUPP);
	close(clock);
	close(fd);
}

struct perf_info { /* asm-generic/siginfo.h: the C library's siginfo_t may lack these fields */
	int signo, error, code;
	void *addr;
	unsigned long data;
	unsigned type, flags;
};

static void on_trap(int sig, siginfo_t *info, void *context)
{
	const struct perf_info *i = (const void *)info;

	traps++;
	if (i->code != TRAP_PERF || i->addr != &word || i->data != 0x1234 || i->type != PERF_TYPE_BREAKPOINT ||
	    word != traps)
		wrong++;
}

static void on_async(int sig, siginfo_t *info, void *context)
{
	asyncs++;
	if (info->si_code != POLL_IN || neighbour != asyncs)
		wrong++;
}

CASE(sigtrap)
{
	struct sigaction sa = { .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO };
	struct perf_event_attr a = { .sample_period = 1, .sigtrap = 1, .remove_on_exec = 1, .sig_data = 0x1234 };
	int fd;

	sigaction(SIGTRAP, &sa, NULL);
	fd = open_watch(&a, HW_BREAKPOINT_W, (void *)&word, 8);
	want(fd >= 0);
	traps = wrong = 0;
	for (int i = 1; i <= ROUNDS; i++)
		word = i;
	close(fd);
	want(traps == ROUNDS && !wrong);
	word = 0;
	want(traps == ROUNDS);
}

CASE(descriptor_signal)
{
	struct sigaction sa = { .sa_sigaction = on_async, .sa_flags = SA_SIGINFO };
	struct perf_event_attr a = { .sample_period = 1, .wakeup_events = 1 };
	int fd;

	sigaction(SIGIO, &sa, NULL);
	fd = open_watch(&a, HW_BREAKPOINT_W, (void *)&neighbour, 8);
	want(!fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK | O_ASYNC) && !fcntl(fd, F_SETSIG, SIGIO) &&
	     !fcntl(fd, F_SETOWN, getpid()));
	asyncs = wrong = 0;
	for (int i = 1; i <= ROUNDS; i++)
		neighbour = i;
	close(fd);
	want(asyncs == ROUNDS && !wrong);
}

CASE(inherited)
{
	struct perf_event_attr a = { .inherit = 1 };
	int fd = open_watch(&a, HW_BREAKPOINT_W, (void *)&word, 8);
	pid_t child = fork();

	word = 1;
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	want(value(fd) == 2);
	close(fd);
}

int main(void)
{
	RUN(counts);
	RUN(refusals);
	RUN(modified);
	RUN(sigtrap);
	RUN(descriptor_signal);
	RUN(inherited);
	return abi_status();
}
