/* SPDX-License-Identifier: MIT
 *
 * Problem: emulated processors have no counters, so nothing that shares them out can be seen at work there.
 *
 * Idea: the debug build, told `counters=model`, plays the registers of a processor with two of them (Intel's version
 * 2, no fixed ones): they run with the clock of the processor, as fast as the event's number says, whatever is
 * executed. What they show means nothing; when they are on, what they lose and who has them does.
 *
 * Contract: perf_priv.h pmu_model; nothing in the release build. An overflow interrupts up to 200 us late.
 *
 * Locks: none; each CPU's own, IRQs off.
 */
#include "perf_priv.h"
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/upcalls.h>
#include <core/clock.h>
#include <lib/string.h>

#ifdef OSTROM_DEBUG

#define COUNTERS 2
#define BITS     48
#define LOOK_NS  (200 * NSEC_PER_USEC)

struct model {
	u64 counter[COUNTERS], select[COUNTERS], global, status;
	u64 since; /* cpu_cycles() when the counters were right */
	struct timer timer;
};
static DEFINE_PER_CPU(struct model, models);

static void cpuid_of_model(u32 leaf, u32 sub, u32 out[4])
{
	static const u32 name[4] = { 10, 0x756e6547, 0x6c65746e, 0x49656e69 }; /* GenuineIntel */
	static const u32 counters[4] = { 7 << 24 | BITS << 16 | COUNTERS << 8 | 2, 0, 0, 0 };

	memset(out, 0, 4 * sizeof(*out));
	if (leaf == 0)
		memcpy(out, name, sizeof(name));
	else if (leaf == 10)
		memcpy(out, counters, sizeof(counters));
}

static struct model *run(void)
{
	struct model *m = this_cpu_ptr(&models);
	u64 now = cpu_cycles(), passed = now - m->since;

	m->since = now;
	for (unsigned n = 0; n < COUNTERS; n++) {
		u64 before = m->counter[n];

		if (!(m->global >> n & 1) || !(m->select[n] >> 22 & 1))
			continue;
		m->counter[n] = (before + passed / (1 + (m->select[n] & 3))) & ((1ULL << BITS) - 1);
		if (m->counter[n] < before)
			m->status |= 1ULL << n;
	}
	return m;
}

static u64 get(void *ctx, u32 msr)
{
	struct model *m = run();

	switch (msr) {
	case 0xc1:
	case 0xc2: return m->counter[msr - 0xc1];
	case 0x38e: return m->status;
	default: return 0;
	}
}

static void set(void *ctx, u32 msr, u64 value)
{
	struct model *m = run();

	switch (msr) {
	case 0xc1:
	case 0xc2: m->counter[msr - 0xc1] = (u64)(s64)(s32)value & ((1ULL << BITS) - 1); break;
	case 0x186:
	case 0x187: m->select[msr - 0x186] = value; break;
	case 0x38f: m->global = value; break;
	case 0x390: m->status &= ~value; break;
	default: break;
	}
}

static void look(struct timer *t)
{
	if (run()->status)
		upcall_counters_irq();
	timer_arm(t, clock_ns() + LOOK_NS, 0);
}

static void begin_here(void *unused)
{
	struct model *m = this_cpu_ptr(&models);

	m->since = cpu_cycles();
	timer_init(&m->timer, look);
	timer_arm(&m->timer, clock_ns() + LOOK_NS, 0);
}

static const struct pmu_msrs registers = { .read = get, .write = set };

const struct pmu_msrs *pmu_model(struct pmu *p)
{
	char value[8];

	if (!boot_param("counters", value, sizeof(value)) || strcmp(value, "model"))
		return NULL;
	pmu_find(p, cpuid_of_model);
	cpu_call(cpu_online_mask(), begin_here, NULL);
	return &registers;
}

#endif
