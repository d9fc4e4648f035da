/* SPDX-License-Identifier: MIT
 *
 * Which event counts on which of a processor's counters. Each event says which counters could count it; an event that
 * is on may be moved to another counter when that makes room.
 *
 * Counters are bits of a mask: general ones from 0, fixed ones (which count one thing each) from PMU_FIXED. Threading:
 * the caller's.
 */
#ifndef PERF_PMU_FIT_H
#define PERF_PMU_FIT_H

#include <lib/types.h>

#define PMU_FIXED         32
#define PMU_COUNTERS_MOST 48
#define PMU_NONE          0xff /* no counter */

struct pmu_fit {
	u64 allowed[PMU_COUNTERS_MOST]; /* of the event on each counter; 0: the counter is free */
};

/* n events more, all or none: true, and counter[i] is the i-th one's. moved: for each counter, the one that its event
 * had before, or PMU_NONE: it had none, or the counter is free. */
bool pmu_fit_add(struct pmu_fit *f, const u64 *allowed, unsigned n, u8 *counter, u8 moved[PMU_COUNTERS_MOST]);
void pmu_fit_remove(struct pmu_fit *f, unsigned counter);

#endif
