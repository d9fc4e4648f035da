/* SPDX-License-Identifier: MIT
 *
 * Problem: cycles, instructions, misses: a processor counts them in a few registers that wrap, and says so by an
 * interrupt.
 *
 * Idea: a counter begins at minus what is left of the period, or at minus the most it can hold; what it went through
 * since the last look is folded into the event's count. The interrupt folds, samples where a period is over, and
 * begins anew. Which event has which counter is multiplex.c's affair, what the registers are pmu_x86.c's.
 *
 *   start: counter = -left     ... counts ...     overflow -> interrupt: fold, sample, counter = -left
 *                                                 read, switch          : fold
 *
 * Contract: perf_event_open(2), PERF_TYPE_HARDWARE, and PERF_TYPE_RAW as `cpu` in sysfs describes it. Where there are
 * no counters, ENOENT. The interrupt is an ordinary one: what happens with interrupts off is sampled where they go on.
 *
 * Locks: counters belong to their CPU, IRQs off.
 */
#include "perf_priv.h"
#include <arch/cpu.h>
#include <arch/rdt.h>
#include <arch/upcalls.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>

#define CPUID_1_CAPABILITIES BIT(15) /* of ECX */
#define MSR_CAPABILITIES     0x345
#define LEAST_LEFT           2 /* some processors miss an overflow that comes at once */

static struct pmu pmu;

static u64 msr_get(void *ctx, u32 msr)
{
	return cpu_msr_read_here(msr);
}

static void msr_set(void *ctx, u32 msr, u64 value)
{
	cpu_msr_write_here(msr, value);
}

static struct pmu_msrs msrs = { .read = msr_get, .write = msr_set };

const struct pmu *hardware_pmu(void)
{
	return &pmu;
}

/* ---- events ---------------------------------------------------------------------------------------------- */

static int init(struct perf_event *e)
{
	const struct perf_event_attr *a = &e->attr;
	struct pmu_wish w = { .is_raw = a->type == PERF_TYPE_RAW,
			      .config = a->config,
			      .user = !a->exclude_user,
			      .kernel = !a->exclude_kernel };
	int err = pmu_event(&pmu, &w, &e->need);

	if (err)
		return err;
	if (a->precise_ip || (a->sample_type & PERF_SAMPLE_BRANCH_STACK))
		return -EOPNOTSUPP;
	e->slot = -1;
	return 0;
}

static void destroy(struct perf_event *e)
{
}

static void fold(struct perf_event *e)
{
	u64 value, passed;

	if (e->slot < 0)
		return;
	value = pmu_read(&pmu, &msrs, (unsigned)e->slot);
	passed = pmu_passed(&pmu, (unsigned)e->slot, e->seen, value);
	e->seen = value;
	WRITE_ONCE(e->count, e->count + passed);
	e->left -= (s64)passed;
}

void hardware_go(struct perf_event *e)
{
	u64 most = pmu_most(&pmu, (unsigned)e->slot), left = most;

	if (e->throttled)
		return;
	if (perf_attr_samples(&e->attr))
		left = e->left < LEAST_LEFT ? LEAST_LEFT : min((u64)e->left, most);
	e->seen = pmu_start(&pmu, &msrs, &e->need, (unsigned)e->slot, left);
}

void hardware_halt(struct perf_event *e)
{
	if (e->throttled)
		return;
	pmu_stop(&pmu, &msrs, (unsigned)e->slot);
	fold(e);
}

static void stop(struct perf_event *e)
{
	if (e->slot < 0)
		return;
	hardware_halt(e);
	e->throttled = false;
	multiplex_release(e);
}

/* ---- overflow ------------------------------------------------------------------------------------------------ */

static void sample(struct perf_cpu *c, struct perf_event *e)
{
	struct perf_sample s = { .regs = irq_regs(), .may_tell = true };
	u64 now = clock_ns();

	if (!s.regs || c->busy || perf_excluded(e, s.regs)) { /* the interrupt came late: not the place */
		e->left = (s64)e->period;
		return;
	}
	c->busy = true;
	perf_take_sample(e, &s);
	if (perf_throttle(e, now))
		multiplex_hold(c, e->tick_ns + PERF_TICK_NS);
	perf_settle(c);
	c->busy = false;
}

static void overflow(struct perf_cpu *c, struct perf_event *e)
{
	hardware_halt(e);
	if (perf_attr_samples(&e->attr) && e->left <= 0)
		sample(c, e);
	if (e->slot >= 0) /* the sample may have been its last */
		hardware_go(e);
}

void upcall_counters_irq(void)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	u64 on = 0, hit;

	for (unsigned n = 0; n < PMU_COUNTERS_MOST; n++)
		on |= c->counters.on[n] && !c->counters.on[n]->throttled ? 1ULL << n : 0;
	hit = pmu_overflowed(&pmu, &msrs, on);
	for (unsigned n = 0; n < PMU_COUNTERS_MOST; n++)
		if ((hit >> n & 1) && c->counters.on[n])
			overflow(c, c->counters.on[n]);
	cpu_counters_listen();
}

const struct perf_kind perf_kind_hardware = {
	.type = PERF_TYPE_HARDWARE, .init = init, .destroy = destroy, .start = hardware_go, .stop = stop, .fold = fold
};
const struct perf_kind perf_kind_raw = {
	.type = PERF_TYPE_RAW, .init = init, .destroy = destroy, .start = hardware_go, .stop = stop, .fold = fold
};

/* ---- boot -------------------------------------------------------------------------------------------------------
 */

/* A hypervisor may describe counters and not have them. */
static bool registers_work(void)
{
	u32 first = pmu_first_select(&pmu);
	u64 v;

	return !cpu_msr_write(0, first, 0) && !cpu_msr_read(0, first, &v) && !v;
}

static void prepare_here(void *unused)
{
	pmu_reset(&pmu, &msrs);
	cpu_counters_listen();
}

static void find(void)
{
	u32 r[4];
	u64 v;

	pmu_find(&pmu, cpu_cpuid);
	if (pmu.make != PMU_ABSENT && !registers_work())
		pmu.make = PMU_ABSENT;
	cpu_cpuid(1, 0, r);
	if (pmu.make == PMU_INTEL && (r[2] & CPUID_1_CAPABILITIES) && !cpu_msr_read(0, MSR_CAPABILITIES, &v))
		pmu_set_capabilities(&pmu, v);
}

static void hardware_init(void)
{
	const struct pmu_msrs *model = pmu_model(&pmu);

	if (model)
		msrs = *model;
	else
		find();
	if (pmu.make == PMU_ABSENT)
		return;
	cpu_call(cpu_online_mask(), prepare_here, NULL);
	log_info("perf: %d general and %d fixed counters", __builtin_popcountll(pmu.counters & 0xffffffff),
		 __builtin_popcountll(pmu.counters >> PMU_FIXED));
}
PART_INIT(core, hardware_init);
