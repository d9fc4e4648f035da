/* SPDX-License-Identifier: MIT
 *
 * Problem: CPUID's words come from a hypervisor, raw events from a program; together they decide which registers the
 * kernel writes.
 *
 * Idea: any CPUID, any events, placed and started in any order. A register that is written must be one that the
 * processor of that make has, an event select register may hold only the kernel's choice of mode bits, and a counter
 * must be one that CPUID has named.
 *
 * Contract: no crash, no write elsewhere. Locks: none.
 */
#include <stdlib.h>
#include <string.h>
#include <lib/err.h>
#include <perf/pmu_fit.h>
#include <perf/pmu_x86.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static u32 leaves[6][4];

static void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	unsigned row = leaf == 0 ? 0 : leaf == 1 ? 1 : leaf == 0xa ? 2 : leaf == 0x80000000 ? 3 : 4;

	memcpy(out, leaves[row], sizeof(leaves[row]));
}

static u64 control;

static u64 get(void *ctx, u32 msr)
{
	return msr == 0x38d ? control : (u64)msr * 0x9e3779b97f4a7c15ULL;
}

static bool is_select(const struct pmu *p, u32 msr)
{
	if (p->make == PMU_INTEL)
		return msr >= 0x186 && msr < 0x1a6;
	return p->is_core_ext ? msr >= 0xc0010200 && msr < 0xc001020c && !(msr & 1)
			      : msr >= 0xc0010000 && msr < 0xc0010004;
}

static bool is_other(const struct pmu *p, u32 msr)
{
	if (p->make == PMU_INTEL)
		return (msr >= 0xc1 && msr < 0xe1) || (msr >= 0x4c1 && msr < 0x4e1) || (msr >= 0x309 && msr < 0x319) ||
		       msr == 0x38d || msr == 0x38f || msr == 0x390;
	return p->is_core_ext ? msr >= 0xc0010200 && msr < 0xc001020c && (msr & 1)
			      : msr >= 0xc0010004 && msr < 0xc0010008;
}

static void set(void *ctx, u32 msr, u64 v)
{
	const struct pmu *p = ctx;

	if (!is_select(p, msr) && !is_other(p, msr))
		abort();
	if (is_select(p, msr) && v && (v & (BIT(19) | BIT(21) | BIT(20) | BIT(22))) != (BIT(20) | BIT(22)))
		abort();
	if (msr == 0x38d)
		control = v;
}

static void one_event(const struct pmu *p, const struct pmu_msrs *m, struct pmu_fit *f, const u8 *in)
{
	struct pmu_wish w = { .is_raw = in[0] & 1, .user = in[0] & 2, .kernel = in[0] & 4 };
	u8 counter, moved[PMU_COUNTERS_MOST];
	struct pmu_event e;
	u64 left;

	memcpy(&w.config, in + 1, sizeof(w.config));
	if (!w.is_raw)
		w.config &= 15;
	if (pmu_event(p, &w, &e))
		return;
	if (!e.allowed || (e.allowed & ~p->counters))
		abort();
	if (!pmu_fit_add(f, &e.allowed, 1, &counter, moved))
		return;
	if (!(e.allowed >> counter & 1))
		abort();
	left = 1 + in[9] * (pmu_most(p, counter) / 256);
	(void)pmu_start(p, m, &e, counter, left);
	(void)pmu_overflowed(p, m, 1ULL << counter);
	if (pmu_passed(p, counter, pmu_read(p, m, counter), pmu_read(p, m, counter)))
		abort();
	if (in[0] & 8) {
		pmu_stop(p, m, counter);
		pmu_fit_remove(f, counter);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static const u32 makers[3][3] = { { 0x756e6547, 0x6c65746e, 0x49656e69 },
					  { 0x68747541, 0x444d4163, 0x69746e65 },
					  { 0x6f677948, 0x656e6975, 0x6e65476e } };
	struct pmu_fit f = { .allowed = { 0 } };
	struct pmu p;
	struct pmu_msrs m = { get, set, &p };

	if (size < sizeof(leaves) + 1)
		return 0;
	memcpy(leaves, data + 1, sizeof(leaves));
	memcpy(&leaves[0][1], makers[data[0] % 3], sizeof(makers[0]));
	if (!(data[0] & 64)) { /* mostly one that has counters of 48 bits */
		leaves[0][0] = 0x20;
		leaves[2][0] = (leaves[2][0] & 0xff00ff00) | 0x300000 | (2 + (leaves[2][0] & 3));
		leaves[2][3] = (leaves[2][3] & 31) | 48 << 5;
		leaves[3][0] = 0x80000020;
	}
	pmu_find(&p, cpuid);
	if (p.make == PMU_ABSENT)
		return 0;
	if (p.make == PMU_INTEL)
		pmu_set_capabilities(&p, data[0]);
	pmu_reset(&p, &m);
	for (size_t at = sizeof(leaves) + 1; at + 10 <= size; at += 10)
		one_event(&p, &m, &f, data + at);
	return 0;
}
