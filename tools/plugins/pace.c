/* SPDX-License-Identifier: MIT
 *
 * Problem: an emulator's CPUs are threads of the host. On a busy one they take turns of milliseconds, in which a CPU
 * makes thousands of accesses undisturbed: no line is fought over as on a machine whose CPUs run at the same time.
 *
 * Idea: each CPU counts the instructions of programs that it ran. One that gets further ahead of the slowest than its
 * lead allows sleeps until the others are near; the lead is drawn anew each time, so that no loop falls into step
 * with it. Kernels take no time on these clocks: who is in an interrupt is waited for, so that a sampler disturbs
 * programs no more than on a fast machine. Idle CPUs do not count; one that comes back starts where the slowest is. A
 * sleeper that nobody woke for a while takes the others for stuck (a kernel waits for this CPU, or the emulator stops
 * all threads to change its translations) and goes on.
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

#define STUCK_NS 20000000

static struct {
	uint64_t clock; /* instructions of programs, raised to the slowest's when it comes back */
	bool runs;      /* a program */
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

static void wait_for_others(unsigned cpu)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += STUCK_NS;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	if (pthread_cond_timedwait(&cpus[cpu].near, &lock, &until))
		give_up_on(cpu);
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
