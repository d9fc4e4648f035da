/* SPDX-License-Identifier: MIT
 *
 * The counters of a processor: what CPUID says of them, what an event needs, and the registers that make it count.
 * Intel's architectural performance monitoring from version 2 on (SDM volume 3, chapter 20), AMD's four counters and
 * its core extension of six (APM volume 2, 13.2; volume 3, Fn8000_0001 ECX bit 23).
 *
 * Pure: registers are reached through struct pmu_msrs. Threading: a CPU's registers from that CPU, IRQs off.
 */
#ifndef PERF_PMU_X86_H
#define PERF_PMU_X86_H

#include <lib/types.h>
#include <perf/pmu_fit.h>

struct pmu_msrs {
	u64 (*read)(void *ctx, u32 msr);
	void (*write)(void *ctx, u32 msr, u64 value);
	void *ctx;
};

enum pmu_make { PMU_ABSENT, PMU_INTEL, PMU_AMD };

struct pmu {
	enum pmu_make make;
	u8 version;           /* Intel: 2 and above */
	u8 bits, fixed_bits;  /* of a counter */
	bool has_wide_writes; /* Intel: all bits of a counter can be written, at other addresses */
	bool is_core_ext;     /* AMD */
	u8 family;            /* AMD */
	u64 counters;         /* those that exist */
	u32 missing;          /* Intel: architectural events that it has not got, by CPUID's bits */
};

/* out: eax, ebx, ecx, edx. */
void pmu_find(struct pmu *p, void (*cpuid)(u32 leaf, u32 sub, u32 out[4]));
/* After pmu_find says Intel: IA32_PERF_CAPABILITIES, if CPUID 1 ECX bit 15 says that it is there. */
void pmu_set_capabilities(struct pmu *p, u64 value);

/* What is asked for. A raw config is in the processor's own numbers: the event select register without the bits that
 * say when and how it counts. */
struct pmu_wish {
	bool is_raw;
	u64 config; /* or PERF_COUNT_HW_* */
	bool user, kernel, samples;
};

struct pmu_event {
	u64 select;  /* for the event select register of a general counter */
	u64 allowed; /* counters that can count it */
	u8 control;  /* for a fixed counter: its four bits */
};

/* 0; -ENOENT: this processor does not count that; -EINVAL: bits that are not a program's to set. */
int __must_check pmu_event(const struct pmu *p, const struct pmu_wish *w, struct pmu_event *out);

u32 pmu_first_select(const struct pmu *p); /* the first event select register: to see whether there is one */
void pmu_reset(const struct pmu *p, const struct pmu_msrs *m); /* a CPU's first: nothing counts */
/* left: happenings until it overflows, at most pmu_most. The counter's value. */
u64 pmu_start(const struct pmu *p, const struct pmu_msrs *m, const struct pmu_event *e, unsigned counter, u64 left);
void pmu_stop(const struct pmu *p, const struct pmu_msrs *m, unsigned counter);
u64 pmu_most(const struct pmu *p, unsigned counter);
u64 pmu_read(const struct pmu *p, const struct pmu_msrs *m, unsigned counter);
/* Happenings between two reads of a counter: it wraps. */
u64 pmu_passed(const struct pmu *p, unsigned counter, u64 before, u64 after);
/* In its interrupt: which of the counters `on` have overflowed; the processor will tell anew. */
u64 pmu_overflowed(const struct pmu *p, const struct pmu_msrs *m, u64 on);

#endif
