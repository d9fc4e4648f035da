/* SPDX-License-Identifier: MIT
 *
 * Problem: an emulator's CPUs are threads of the host. On a busy one they take turns of milliseconds, in which a CPU
 * makes thousands of accesses undisturbed: no line is fought over as on a machine whose CPUs run at the same time.
 *
 * Idea: each CPU counts the instructions of programs that it ran. One that gets further ahead of the slowest than its
 * lead allows sleeps until the others are near; the lead is drawn anew each time, so that no loop falls into step
 * with it. Kernels take no time on these clocks: who is in an interrupt is waited for, so that a sampler disturbs
 * programs no more than on a fast machine. Idle CPUs do not count; one that comes back starts where the slowest is. A
 * sleeper takes the others for stuck, and goes on, if they do much in the kernel (it waits for an answer of this CPU)
 * or nothing for long (the emulator stops all threads to change its translations). In between, their threads only wait
 * for the host.
 *
 *   clock of A  ------------------>|            lead of A
 *   clock of B  ----------->.......|<-- A sleeps here until B comes near
 *
 * Contract: pace.h.
 *
 * Locks: one mutex around all clocks; the waiting is on it.
 */
#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include "pace.h"

#define LOOK_NS       5000000
#define LOOKS_MOST    50     /* with nothing done */
#define ACCESSES_MOST 300000 /* in the kernel, while somebody waits */

static struct {
	uint64_t clock;           /* instructions of programs, raised to the slowest's when it comes back */
	bool runs;                /* a program */
	uint64_t kernel_accesses; /* atomic */
	uint64_t seed;
	unsigned lead;
	pthread_cond_t near;
} cpus[PACE_CPUS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned most_ahead;

void pace_init(unsigned most)
{
	most_ahead = most;
	for (unsigned i = 0; i < PACE_CPUS; i++) {
		cpus[i].seed = i + 1;
		cpus[i].lead = most;
		pthread_cond_init(&cpus[i].near, NULL);
	}
}

/* The clock of the slowest other CPU in a program; none: UINT64_MAX. */
static uint64_t slowest_but(unsigned cpu)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < PACE_CPUS; i++)
		if (i != cpu && cpus[i].runs && cpus[i].clock < least)
			least = cpus[i].clock;
	return least;
}

static void wake_but(unsigned cpu)
{
	for (unsigned i = 0; i < PACE_CPUS; i++)
		if (i != cpu && cpus[i].runs)
			pthread_cond_signal(&cpus[i].near);
}

static unsigned draw(unsigned cpu)
{
	cpus[cpu].seed = cpus[cpu].seed * 6364136223846793005ull + 1442695040888963407ull;
	return 1 + (cpus[cpu].seed >> 33) % most_ahead;
}

static void give_up_on(unsigned cpu)
{
	for (unsigned i = 0; i < PACE_CPUS; i++)
		if (i != cpu)
			cpus[i].runs = false;
}

static uint64_t kernel_work_but(unsigned cpu)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < PACE_CPUS; i++)
		if (i != cpu)
			n += __atomic_load_n(&cpus[i].kernel_accesses, __ATOMIC_RELAXED);
	return n;
}

static bool wait_a_little(unsigned cpu)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += LOOK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return pthread_cond_timedwait(&cpus[cpu].near, &lock, &until) != 0;
}

/* Returns when somebody came nearer, or has been given up. */
static void wait_for_others(unsigned cpu)
{
	uint64_t work = kernel_work_but(cpu);
	unsigned looks = 0;

	while (wait_a_little(cpu))
		if (++looks == LOOKS_MOST || kernel_work_but(cpu) - work > ACCESSES_MOST) {
			give_up_on(cpu);
			return;
		}
}

void pace_user(unsigned cpu, unsigned instructions)
{
	uint64_t slowest;

	pthread_mutex_lock(&lock);
	slowest = slowest_but(cpu);
	if (!cpus[cpu].runs) {
		cpus[cpu].runs = true;
		if (slowest != UINT64_MAX && cpus[cpu].clock < slowest)
			cpus[cpu].clock = slowest;
	}
	cpus[cpu].clock += instructions;
	if (slowest != UINT64_MAX && cpus[cpu].clock > slowest + cpus[cpu].lead) {
		wake_but(cpu);
		while (slowest != UINT64_MAX && cpus[cpu].clock > slowest + cpus[cpu].lead) {
			wait_for_others(cpu);
			slowest = slowest_but(cpu);
		}
		cpus[cpu].lead = draw(cpu);
	}
	pthread_mutex_unlock(&lock);
}

void pace_idle(unsigned cpu)
{
	pthread_mutex_lock(&lock);
	cpus[cpu].runs = false;
	wake_but(cpu);
	pthread_mutex_unlock(&lock);
}

void pace_kernel_access(unsigned cpu)
{
	__atomic_fetch_add(&cpus[cpu].kernel_accesses, 1, __ATOMIC_RELAXED);
}
