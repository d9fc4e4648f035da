/* SPDX-License-Identifier: MIT
 *
 * Problem: Intel and AMD count the same things with other numbers, in other registers, with other rules about what may
 * be written and how an overflow shows.
 *
 * Idea: one event select layout, which the two share, and one counter numbering (perf/pmu_fit.h); what differs is a
 * table of events, an address and two rules a make.
 *
 *   event select   7:0 event  15:8 unit mask  16 user  17 kernel  18 edge  20 interrupt  22 on  23 inverted
 *                  31:24 threshold, AMD 35:32 event's high bits
 *   Intel          select 186+n, counter c1+n (32 bits signed; 4c1+n: all), fixed 309+n with four bits each in 38d:
 *                  kernel, user, any thread, interrupt. Global: 38f on, 38e overflow status, 390 clears it
 *   AMD            select c0010000+n, counter c0010004+n; with the core extension c0010200+2n and the next. No status:
 *                  a counter runs up from a negative value, so one whose top bit is clear has overflowed
 *
 * Counters stay on in Intel's global register; an event's own bit turns it on and off.
 *
 * Contract: perf/pmu_x86.h.
 *
 * Locks: none.
 */
#include <lib/err.h>
#include <lib/string.h>
#include <linux/perf_event.h>
#include <perf/pmu_x86.h>

#define INTEL_SELECT  0x186
#define INTEL_COUNTER 0xc1
#define INTEL_WIDE    0x4c1
#define INTEL_FIXED   0x309
#define INTEL_CONTROL 0x38d
#define INTEL_STATUS  0x38e
#define INTEL_GLOBAL  0x38f
#define INTEL_CLEAR   0x390
#define AMD_SELECT    0xc0010000
#define AMD_COUNTER   0xc0010004
#define AMD_EXT       0xc0010200
#define AMD_BITS      48

#define SELECT_USER      BIT(16)
#define SELECT_KERNEL    BIT(17)
#define SELECT_INTERRUPT BIT(20)
#define SELECT_ON        BIT(22)
#define CONTROL_KERNEL   1
#define CONTROL_USER     2
#define CONTROL_TELLS    8
#define RAW_BITS         (0xffffULL | BIT(18) | BIT(23) | 0xffULL << 24)
#define RAW_BITS_AMD     (RAW_BITS | 15ULL << 32)
#define WIDE_WRITES      BIT(13) /* of IA32_PERF_CAPABILITIES */
#define REF_CYCLES       0x0300  /* counted by the third fixed counter alone: SDM 20.2.2 */

#define GENERAL(n) ((n) >= 32 ? 0xffffffffULL : (1ULL << (n)) - 1)
#define FIXED(n)   (1ULL << (PMU_FIXED + (n)))

/* ---- what there is ----------------------------------------------------------------------------------------- */

/* No processor has others; what a hypervisor makes up may not be shifted by. */
static bool is_width(u8 bits)
{
	return bits >= 32 && bits < 64;
}

/* CPUID 0AH: EAX version, counters, width, length of EBX's list of missing events; EDX fixed counters and their width;
 * ECX from version 5 on: more fixed counters, by bits. */
static void find_intel(struct pmu *p, void (*cpuid)(u32 leaf, u32 sub, u32 out[4]))
{
	u32 r[4], known;

	cpuid(0xa, 0, r);
	p->version = (u8)r[0];
	p->bits = (u8)(r[0] >> 16);
	p->fixed_bits = (u8)(r[3] >> 5);
	if (p->version < 2 || !is_width(p->bits) || (r[3] && !is_width(p->fixed_bits)))
		return;
	p->make = PMU_INTEL;
	p->counters = GENERAL(min(r[0] >> 8 & 0xff, 32U));
	p->counters |= GENERAL(min(r[3] & 31, PMU_COUNTERS_MOST - PMU_FIXED)) << PMU_FIXED;
	if (p->version >= 5 && is_width(p->fixed_bits))
		p->counters |= (u64)(r[2] & (u32)GENERAL(PMU_COUNTERS_MOST - PMU_FIXED)) << PMU_FIXED;
	known = (u32)GENERAL(min(r[0] >> 24, 32U));
	p->missing = r[1] | ~known;
}

static void find_amd(struct pmu *p, void (*cpuid)(u32 leaf, u32 sub, u32 out[4]))
{
	u32 r[4], max;

	cpuid(0x80000000, 0, r);
	max = r[0];
	cpuid(1, 0, r);
	p->family = (u8)(r[0] >> 8 & 15);
	if (p->family == 15)
		p->family = (u8)(15 + (r[0] >> 20 & 0xff));
	if (max < 0x80000001 || p->family < 6)
		return;
	cpuid(0x80000001, 0, r);
	p->is_core_ext = r[2] >> 23 & 1;
	/* The four old ones have no bit in CPUID; a hypervisor that hides the extension has none at all, mostly. */
	cpuid(1, 0, r);
	if (!p->is_core_ext && (r[2] >> 31 & 1))
		return;
	p->make = PMU_AMD;
	p->bits = AMD_BITS;
	p->counters = GENERAL(p->is_core_ext ? 6U : 4U);
}

void pmu_find(struct pmu *p, void (*cpuid)(u32 leaf, u32 sub, u32 out[4]))
{
	u32 r[4], max;

	memset(p, 0, sizeof(*p));
	cpuid(0, 0, r);
	max = r[0];
	if (r[1] == 0x756e6547 && r[3] == 0x49656e69 && r[2] == 0x6c65746e && max >= 0xa) /* GenuineIntel */
		find_intel(p, cpuid);
	else if ((r[1] == 0x68747541 && r[3] == 0x69746e65 && r[2] == 0x444d4163) || /* AuthenticAMD */
		 (r[1] == 0x6f677948 && r[3] == 0x6e65476e && r[2] == 0x656e6975))   /* HygonGenuine */
		find_amd(p, cpuid);
}

void pmu_set_capabilities(struct pmu *p, u64 value)
{
	p->has_wide_writes = value & WIDE_WRITES;
}

/* ---- what an event needs ------------------------------------------------------------------------------------- */

#define NOTHING 0xffff

/* The seven architectural events, in the order of CPUID's bits, and the fixed counters that count the same. */
static const struct {
	u16 select;
	u8 fixed; /* its number + 1 */
} intel_events[] = { { 0x003c, 2 }, { 0x00c0, 1 }, { 0x013c, 0 }, { 0x4f2e, 0 },
		     { 0x412e, 0 }, { 0x00c4, 0 }, { 0x00c5, 0 } };

static const u8 intel_generic[PERF_COUNT_HW_MAX] = {
	[PERF_COUNT_HW_CPU_CYCLES] = 0 + 1,    [PERF_COUNT_HW_INSTRUCTIONS] = 1 + 1,
	[PERF_COUNT_HW_BUS_CYCLES] = 2 + 1,    [PERF_COUNT_HW_CACHE_REFERENCES] = 3 + 1,
	[PERF_COUNT_HW_CACHE_MISSES] = 4 + 1,  [PERF_COUNT_HW_BRANCH_INSTRUCTIONS] = 5 + 1,
	[PERF_COUNT_HW_BRANCH_MISSES] = 6 + 1,
};

/* Families before 17h (BKDG) and from then on (PPR): what differs is the second-level cache. */
static const u16 amd_generic[2][PERF_COUNT_HW_MAX] = {
	{ [PERF_COUNT_HW_CPU_CYCLES] = 0x0076,
	  [PERF_COUNT_HW_INSTRUCTIONS] = 0x00c0,
	  [PERF_COUNT_HW_CACHE_REFERENCES] = 0x077d,
	  [PERF_COUNT_HW_CACHE_MISSES] = 0x077e,
	  [PERF_COUNT_HW_BRANCH_INSTRUCTIONS] = 0x00c2,
	  [PERF_COUNT_HW_BRANCH_MISSES] = 0x00c3,
	  [PERF_COUNT_HW_BUS_CYCLES] = NOTHING,
	  [PERF_COUNT_HW_STALLED_CYCLES_FRONTEND] = 0x00d0,
	  [PERF_COUNT_HW_STALLED_CYCLES_BACKEND] = 0x00d1,
	  [PERF_COUNT_HW_REF_CPU_CYCLES] = NOTHING },
	{ [PERF_COUNT_HW_CPU_CYCLES] = 0x0076,
	  [PERF_COUNT_HW_INSTRUCTIONS] = 0x00c0,
	  [PERF_COUNT_HW_CACHE_REFERENCES] = 0xff60,
	  [PERF_COUNT_HW_CACHE_MISSES] = 0x0964,
	  [PERF_COUNT_HW_BRANCH_INSTRUCTIONS] = 0x00c2,
	  [PERF_COUNT_HW_BRANCH_MISSES] = 0x00c3,
	  [PERF_COUNT_HW_BUS_CYCLES] = NOTHING,
	  [PERF_COUNT_HW_STALLED_CYCLES_FRONTEND] = 0x00a9,
	  [PERF_COUNT_HW_STALLED_CYCLES_BACKEND] = NOTHING,
	  [PERF_COUNT_HW_REF_CPU_CYCLES] = NOTHING },
};

static int intel_number(const struct pmu *p, u64 config, u64 *select)
{
	unsigned n = intel_generic[config];

	if (config == PERF_COUNT_HW_REF_CPU_CYCLES) {
		*select = REF_CYCLES;
		return p->counters & FIXED(2) ? 0 : -ENOENT;
	}
	if (!n || (p->missing >> (n - 1) & 1))
		return -ENOENT;
	*select = intel_events[n - 1].select;
	return 0;
}

static int number_of(const struct pmu *p, const struct pmu_wish *w, u64 *select)
{
	u16 amd;

	if (w->is_raw) {
		*select = w->config;
		return w->config & ~(p->make == PMU_AMD ? RAW_BITS_AMD : RAW_BITS) ? -EINVAL : 0;
	}
	if (w->config >= PERF_COUNT_HW_MAX)
		return -ENOENT;
	if (p->make == PMU_INTEL)
		return intel_number(p, w->config, select);
	amd = amd_generic[p->family >= 0x17][w->config];
	*select = amd;
	return amd == NOTHING ? -ENOENT : 0;
}

/* A fixed counter knows no edge, no inversion and no threshold. */
static u64 fixed_for(const struct pmu *p, u64 select)
{
	if (p->make != PMU_INTEL)
		return 0;
	if (select == REF_CYCLES)
		return FIXED(2);
	for (unsigned i = 0; i < 2; i++)
		if (select == intel_events[i].select)
			return FIXED(intel_events[i].fixed - 1);
	return 0;
}

int pmu_event(const struct pmu *p, const struct pmu_wish *w, struct pmu_event *out)
{
	u64 select;
	int err = p->make == PMU_ABSENT ? -ENOENT : number_of(p, w, &select);

	if (err)
		return err;
	out->allowed = (fixed_for(p, select) | (select == REF_CYCLES ? 0 : GENERAL(32))) & p->counters;
	out->select =
		select | (w->user ? SELECT_USER : 0) | (w->kernel ? SELECT_KERNEL : 0) | SELECT_INTERRUPT | SELECT_ON;
	out->control = (u8)((w->user ? CONTROL_USER : 0) | (w->kernel ? CONTROL_KERNEL : 0) | CONTROL_TELLS);
	return out->allowed ? 0 : -ENOENT;
}

/* ---- registers ----------------------------------------------------------------------------------------------- */

static u32 select_of(const struct pmu *p, unsigned n)
{
	return p->make == PMU_INTEL ? INTEL_SELECT + n : p->is_core_ext ? AMD_EXT + 2 * n : AMD_SELECT + n;
}

u32 pmu_first_select(const struct pmu *p)
{
	return select_of(p, 0);
}

static u32 counter_of(const struct pmu *p, unsigned n)
{
	if (n >= PMU_FIXED)
		return INTEL_FIXED + (n - PMU_FIXED);
	return p->make == PMU_INTEL ? INTEL_COUNTER + n : p->is_core_ext ? AMD_EXT + 2 * n + 1 : AMD_COUNTER + n;
}

static u64 mask_of(const struct pmu *p, unsigned n)
{
	return (1ULL << (n >= PMU_FIXED ? p->fixed_bits : p->bits)) - 1;
}

/* The old addresses take 32 bits and extend the sign; fixed counters take all. */
u64 pmu_most(const struct pmu *p, unsigned n)
{
	return p->make == PMU_INTEL && n < PMU_FIXED && !p->has_wide_writes ? 0x7fffffffULL : mask_of(p, n) >> 1;
}

static void set_control(const struct pmu_msrs *m, unsigned n, u64 bits)
{
	unsigned at = 4 * (n - PMU_FIXED);
	u64 v = m->read(m->ctx, INTEL_CONTROL);

	m->write(m->ctx, INTEL_CONTROL, (v & ~(15ULL << at)) | bits << at);
}

void pmu_reset(const struct pmu *p, const struct pmu_msrs *m)
{
	if (p->make == PMU_INTEL)
		m->write(m->ctx, INTEL_GLOBAL, 0);
	for (unsigned n = 0; n < PMU_FIXED; n++)
		if (p->counters >> n & 1)
			m->write(m->ctx, select_of(p, n), 0);
	if (p->make != PMU_INTEL)
		return;
	if (p->counters >> PMU_FIXED)
		m->write(m->ctx, INTEL_CONTROL, 0);
	m->write(m->ctx, INTEL_CLEAR, p->counters);
	m->write(m->ctx, INTEL_GLOBAL, p->counters);
}

u64 pmu_start(const struct pmu *p, const struct pmu_msrs *m, const struct pmu_event *e, unsigned n, u64 left)
{
	bool wide = p->make == PMU_INTEL && n < PMU_FIXED && p->has_wide_writes;
	u64 value = (0 - left) & mask_of(p, n);

	m->write(m->ctx, wide ? INTEL_WIDE + n : counter_of(p, n), value);
	if (n >= PMU_FIXED)
		set_control(m, n, e->control);
	else
		m->write(m->ctx, select_of(p, n), e->select);
	return value;
}

void pmu_stop(const struct pmu *p, const struct pmu_msrs *m, unsigned n)
{
	if (n >= PMU_FIXED)
		set_control(m, n, 0);
	else
		m->write(m->ctx, select_of(p, n), 0);
}

u64 pmu_read(const struct pmu *p, const struct pmu_msrs *m, unsigned n)
{
	return m->read(m->ctx, counter_of(p, n)) & mask_of(p, n);
}

u64 pmu_passed(const struct pmu *p, unsigned n, u64 before, u64 after)
{
	return (after - before) & mask_of(p, n);
}

u64 pmu_overflowed(const struct pmu *p, const struct pmu_msrs *m, u64 on)
{
	u64 found = 0;

	if (p->make == PMU_INTEL) {
		found = m->read(m->ctx, INTEL_STATUS) & p->counters;
		if (found)
			m->write(m->ctx, INTEL_CLEAR, found);
		return found & on;
	}
	for (unsigned n = 0; n < PMU_FIXED; n++)
		if ((on >> n & 1) && !(pmu_read(p, m, n) >> (p->bits - 1) & 1))
			found |= 1ULL << n;
	return found;
}
