/* SPDX-License-Identifier: MIT
 *
 * Problem: a sampler that steps a program must not be seen by it.
 *
 * Idea: look at the trap flag in all places where a program can: pushf, the flags that a system call leaves in R11, and
 * the registers in a signal's frame; and be moved between CPUs meanwhile.
 *
 * Contract: runs for so many rounds; exit status 1 if the flag was ever set, or if a signal came that nobody sent.
 *
 * Locks: none.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#define TRAP 0x100UL

static volatile sig_atomic_t seen, ticks, traps;

static void on_tick(int sig, siginfo_t *info, void *context)
{
	if (((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] & TRAP)
		seen |= 1;
	ticks++;
}

static void on_trap(int sig)
{
	traps++;
}

static unsigned long flags(void)
{
	unsigned long f;

	__asm__ volatile("sub $128, %%rsp; pushfq; pop %0; add $128, %%rsp" : "=r"(f) : : "memory");
	return f;
}

static unsigned long flags_of_call(void)
{
	unsigned long f, nr = SYS_getppid;

	__asm__ volatile("syscall; mov %%r11, %0" : "=r"(f), "+a"(nr) : : "rcx", "r11", "memory");
	return f;
}

int main(int argc, char **argv)
{
	struct itimerval every = { { 0, 700 }, { 0, 700 } };
	struct sigaction a = { .sa_sigaction = on_tick, .sa_flags = SA_SIGINFO };
	long rounds = argc > 1 ? atol(argv[1]) : 100000;
	volatile long work[64] = { 0 };

	sigaction(SIGALRM, &a, NULL);
	signal(SIGTRAP, on_trap);
	setitimer(ITIMER_REAL, &every, NULL);
	for (long i = 0; i < rounds; i++) {
		for (int k = 0; k < 50; k++)
			work[k % 64] += i;
		if (flags() & TRAP)
			seen |= 2;
		if (i % 8 == 0 && (flags_of_call() & TRAP))
			seen |= 4;
		if (i % 1024 == 0) {
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET(i / 1024 % 2, &set);
			sched_setaffinity(0, sizeof(set), &set);
		}
	}
	printf("seen %d, signals %d, traps %d\n", (int)seen, (int)ticks, (int)traps);
	return seen || traps;
}
