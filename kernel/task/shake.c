/* SPDX-License-Identifier: MIT
 *
 * Problem: most races need a switch at one bad moment, which a quiet test machine never offers.
 *
 * Idea: the debug build, told `shake=SEED`, gives the CPU away at random edges of sleeping locks and lingers at random
 * edges of spin locks. The choice comes from one pseudo-random sequence a CPU that starts at the seed, so under icount
 * a run can be repeated.
 *
 * Contract: task_priv.h shake_sleep, core/spin.h shake_spin; nothing in the release build.
 *
 * Locks: none; per-CPU state, where a lost update only changes the sequence.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/string.h>
#include "task_priv.h"

#ifdef OSTROM_DEBUG

#define ONE_IN_SLEEP 16
#define ONE_IN_SPIN  64

static DEFINE_PER_CPU(u64, sequence);
static u64 seed;
bool shake_on;

/* xorshift64* (S. Vigna, 2016) */
static u64 next(void)
{
	u64 *p = this_cpu_ptr(&sequence), x = *p ? *p : seed + cpu_id() * 0x9e3779b97f4a7c15UL;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*p = x;
	return (x * 0x2545f4914f6cdd1dUL) >> 32;
}

void shake_sleep(void)
{
	if (shake_on && next() % ONE_IN_SLEEP == 0 && current->state == TASK_RUNNING)
		sched_yield_cpu();
}

void shake_spin(void)
{
	if (shake_on && next() % ONE_IN_SPIN == 0)
		for (u64 n = next() % 200; n; n--)
			cpu_relax();
}

void shake_init(void)
{
	char value[24];

	if (!boot_param("shake", value, sizeof(value)))
		return;
	if (str_to_u64(value, 0, &seed) || !seed) {
		log_err("shake: the seed is a number above 0");
		return;
	}
	shake_on = true;
	log_info("shake: seed %lu", seed);
}
#endif
