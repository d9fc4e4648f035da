/* SPDX-License-Identifier: MIT
 *
 * Problem: no machine that runs these tests has counters, and a wrong bit in an event select register counts something
 * else without a word.
 *
 * Idea: CPUID tables of processors as their manuals give them; the registers that must be written, in order, as text;
 * and a model of the registers that counts, wraps, overflows and refuses what a processor refuses, against which
 * random starts, stops and reads must lose no happening. The matching of events and counters is held against a search
 * of all possibilities.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <lib/err.h>
#include <linux/perf_event.h>
#include <perf/pmu_fit.h>
#include <perf/pmu_x86.h>

/* ---- processors ------------------------------------------------------------------------------------------- */

struct leaf {
	u32 leaf, out[4];
};

#define INTEL_0(max)                                                                                                   \
	{                                                                                                              \
		0,                                                                                                     \
		{                                                                                                      \
			max, 0x756e6547, 0x6c65746e, 0x49656e69                                                        \
		}                                                                                                      \
	}
#define AMD_0(max)                                                                                                     \
	{                                                                                                              \
		0,                                                                                                     \
		{                                                                                                      \
			max, 0x68747541, 0x444d4163, 0x69746e65                                                        \
		}                                                                                                      \
	}

/* Version 4: 4 counters of 48 bits, 7 events all there, 3 fixed ones of 48 bits. */
static const struct leaf skylake[] = {
	INTEL_0(0x16), { 1, { 0x506e3, 0, 1u << 15, 0 } }, { 0xa, { 0x07300404, 0, 0, 0x603 } }, { ~0u, { 0 } }
};
/* Version 2: 2 counters of 40 bits, 3 fixed; no LLC events (bits 3, 4). */
static const struct leaf core2[] = {
	INTEL_0(0xa), { 1, { 0x6f6, 0, 0, 0 } }, { 0xa, { 0x07280202, 0x18, 0, 0x503 } }, { ~0u, { 0 } }
};
/* Version 5 with the fixed counters as bits, one of them only there: numbers 0 and 3. */
static const struct leaf by_bits[] = {
	INTEL_0(0x20), { 1, { 0xb06a2, 0, 1u << 15, 0 } }, { 0xa, { 0x07300805, 0, 0x9, 0x600 } }, { ~0u, { 0 } }
};
static const struct leaf old_intel[] = {
	INTEL_0(0xa), { 1, { 0x6e8, 0, 0, 0 } }, { 0xa, { 0x07280201, 0, 0, 0 } }, { ~0u, { 0 } }
};
static const struct leaf no_pmu[] = { INTEL_0(0xd), { 1, { 0x6fb, 0, 1u << 31, 0 } }, { ~0u, { 0 } } };
static const struct leaf zen2[] = { AMD_0(0x10),
				    { 1, { 0x00870f10, 0, 0, 0 } },
				    { 0x80000000, { 0x80000020, 0, 0, 0 } },
				    { 0x80000001, { 0, 0, 1u << 23, 0 } },
				    { ~0u, { 0 } } };
static const struct leaf opteron[] = { AMD_0(5),
				       { 1, { 0x00100f42, 0, 0, 0 } },
				       { 0x80000000, { 0x8000001b, 0, 0, 0 } },
				       { 0x80000001, { 0, 0, 0, 0 } },
				       { ~0u, { 0 } } };
static const struct leaf emulated_amd[] = { AMD_0(0x10),
					    { 1, { 0x00060fb1, 0, 1u << 31, 0 } },
					    { 0x80000000, { 0x8000001f, 0, 0, 0 } },
					    { 0x80000001, { 0, 0, 4, 0 } },
					    { ~0u, { 0 } } };
static const struct leaf *processor;

static void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	memset(out, 0, 4 * sizeof(*out));
	for (const struct leaf *l = processor; l->leaf != ~0u; l++)
		if (l->leaf == leaf)
			memcpy(out, l->out, sizeof(l->out));
}

static struct pmu found(const struct leaf *which)
{
	struct pmu p;

	processor = which;
	pmu_find(&p, cpuid);
	return p;
}

static void finds_what_cpuid_says(void **state)
{
	struct pmu p = found(skylake);

	assert_int_equal(p.make, PMU_INTEL);
	assert_int_equal(p.counters, 0x70000000fULL);
	assert_int_equal(p.bits, 48);
	p = found(core2);
	assert_int_equal(p.counters, 0x700000003ULL);
	assert_int_equal(p.fixed_bits, 40);
	p = found(by_bits);
	assert_int_equal(p.counters, 0x9000000ffULL);
	assert_int_equal(found(old_intel).make, PMU_ABSENT); /* no global registers */
	assert_int_equal(found(no_pmu).make, PMU_ABSENT);
	p = found(zen2);
	assert_int_equal(p.make, PMU_AMD);
	assert_int_equal(p.counters, 0x3f);
	assert_int_equal(p.family, 0x17);
	p = found(opteron);
	assert_int_equal(p.counters, 0xf);
	assert_int_equal(p.family, 0x10);
	assert_int_equal(found(emulated_amd).make, PMU_ABSENT);
}

/* ---- events ----------------------------------------------------------------------------------------------------- */

static int ask(const struct pmu *p, u64 config, struct pmu_event *e)
{
	struct pmu_wish w = { .config = config, .user = true, .kernel = true };

	return pmu_event(p, &w, e);
}

static void generic_events(void **state)
{
	struct pmu p = found(skylake);
	struct pmu_event e;

	assert_int_equal(ask(&p, PERF_COUNT_HW_CPU_CYCLES, &e), 0);
	assert_int_equal(e.select, 0x53003c);
	assert_int_equal(e.allowed, 0x20000000fULL);
	assert_int_equal(e.control, 0xb);
	assert_int_equal(ask(&p, PERF_COUNT_HW_INSTRUCTIONS, &e), 0);
	assert_int_equal(e.allowed, 0x10000000fULL);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CACHE_MISSES, &e), 0);
	assert_int_equal(e.select, 0x53412e);
	assert_int_equal(e.allowed, 0xf);
	assert_int_equal(ask(&p, PERF_COUNT_HW_REF_CPU_CYCLES, &e), 0);
	assert_int_equal(e.allowed, 0x400000000ULL);
	assert_int_equal(ask(&p, PERF_COUNT_HW_STALLED_CYCLES_BACKEND, &e), -ENOENT);
	assert_int_equal(ask(&p, PERF_COUNT_HW_MAX, &e), -ENOENT);
	p = found(core2);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CACHE_MISSES, &e), -ENOENT); /* CPUID says that it has none */
	assert_int_equal(ask(&p, PERF_COUNT_HW_BRANCH_MISSES, &e), 0);
	p = found(by_bits);
	assert_int_equal(ask(&p, PERF_COUNT_HW_REF_CPU_CYCLES, &e), -ENOENT);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CPU_CYCLES, &e), 0);
	assert_int_equal(e.allowed, 0xff);
	p = found(zen2);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CPU_CYCLES, &e), 0);
	assert_int_equal(e.select, 0x530076);
	assert_int_equal(e.allowed, 0x3f);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CACHE_MISSES, &e), 0);
	assert_int_equal(e.select & 0xffff, 0x0964);
	p = found(opteron);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CACHE_MISSES, &e), 0);
	assert_int_equal(e.select & 0xffff, 0x077e);
	p = found(no_pmu);
	assert_int_equal(ask(&p, PERF_COUNT_HW_CPU_CYCLES, &e), -ENOENT);
}

static void raw_events(void **state)
{
	struct pmu intel = found(skylake), amd = found(zen2);
	struct pmu_wish w = { .is_raw = true, .config = 0x15300c0, .user = true };
	struct pmu_event e;

	assert_int_equal(pmu_event(&intel, &w, &e), -EINVAL); /* the bits that say when and how are the kernel's */
	w.config = 0x010000c0 | 1 << 23;
	assert_int_equal(pmu_event(&intel, &w, &e), 0);
	assert_int_equal(e.select, 0x1d100c0);
	assert_int_equal(e.allowed, 0xf); /* a fixed counter has no threshold */
	assert_int_equal(e.control, 0xa);
	w.config = 0xf000000c0;
	assert_int_equal(pmu_event(&intel, &w, &e), -EINVAL);
	assert_int_equal(pmu_event(&amd, &w, &e), 0);
	w.config = 0x1f000000c0;
	assert_int_equal(pmu_event(&amd, &w, &e), -EINVAL);
}

/* ---- registers: what is written ---------------------------------------------------------------------------------- */

struct traffic {
	char text[2000];
	size_t n;
	u64 control, status;
};

static u64 traffic_read(void *ctx, u32 msr)
{
	struct traffic *t = ctx;

	return msr == 0x38d ? t->control : msr == 0x38e ? t->status : 0;
}

static void traffic_write(void *ctx, u32 msr, u64 v)
{
	struct traffic *t = ctx;

	t->n += (size_t)snprintf(t->text + t->n, sizeof(t->text) - t->n, "%x=%llx ", msr, (unsigned long long)v);
	if (msr == 0x38d)
		t->control = v;
	if (msr == 0x390)
		t->status &= ~v;
}

#define EXPECT(t, want)                                                                                                \
	do {                                                                                                           \
		assert_string_equal((t).text, want);                                                                   \
		(t).n = 0;                                                                                             \
		(t).text[0] = 0;                                                                                       \
	} while (0)

static void writes_intel(void **state)
{
	struct traffic t = { .status = 0 };
	const struct pmu_msrs m = { traffic_read, traffic_write, &t };
	struct pmu p = found(core2);
	struct pmu_event e;

	pmu_reset(&p, &m);
	EXPECT(t, "38f=0 186=0 187=0 38d=0 390=700000003 38f=700000003 ");
	assert_int_equal(ask(&p, PERF_COUNT_HW_CPU_CYCLES, &e), 0);
	assert_int_equal(pmu_most(&p, 1), 0x7fffffff); /* 32 bits signed */
	assert_int_equal(pmu_most(&p, PMU_FIXED), 0x7fffffffffULL);
	(void)pmu_start(&p, &m, &e, 1, 1000);
	EXPECT(t, "c2=fffffffc18 187=53003c ");
	(void)pmu_start(&p, &m, &e, PMU_FIXED + 1, 1000);
	EXPECT(t, "30a=fffffffc18 38d=b0 ");
	assert_int_equal(ask(&p, PERF_COUNT_HW_INSTRUCTIONS, &e), 0);
	(void)pmu_start(&p, &m, &e, PMU_FIXED, 1);
	EXPECT(t, "309=ffffffffff 38d=bb ");
	pmu_stop(&p, &m, PMU_FIXED + 1);
	EXPECT(t, "38d=b ");
	t.status = 0x8000000100000002; /* a bit that is none of a counter's stays */
	assert_int_equal(pmu_overflowed(&p, &m, 0x100000000ULL), 0x100000000ULL);
	EXPECT(t, "390=100000002 ");
	assert_int_equal(pmu_overflowed(&p, &m, ~0ULL), 0);
	EXPECT(t, "");
	p = found(skylake);
	pmu_set_capabilities(&p, 1 << 13);
	(void)pmu_start(&p, &m, &e, 3, pmu_most(&p, 3));
	EXPECT(t, "4c4=800000000001 189=5300c0 ");
	pmu_stop(&p, &m, 3);
	EXPECT(t, "189=0 ");
}

static void writes_amd(void **state)
{
	struct traffic t = { .status = 0 };
	const struct pmu_msrs m = { traffic_read, traffic_write, &t };
	struct pmu p = found(opteron);
	struct pmu_event e;

	pmu_reset(&p, &m);
	EXPECT(t, "c0010000=0 c0010001=0 c0010002=0 c0010003=0 ");
	assert_int_equal(ask(&p, PERF_COUNT_HW_INSTRUCTIONS, &e), 0);
	(void)pmu_start(&p, &m, &e, 2, 16);
	EXPECT(t, "c0010006=fffffffffff0 c0010002=5300c0 ");
	p = found(zen2);
	pmu_reset(&p, &m);
	EXPECT(t, "c0010200=0 c0010202=0 c0010204=0 c0010206=0 c0010208=0 c001020a=0 ");
	(void)pmu_start(&p, &m, &e, 5, 16);
	EXPECT(t, "c001020b=fffffffffff0 c001020a=5300c0 ");
	pmu_stop(&p, &m, 5);
	EXPECT(t, "c001020a=0 ");
}

/* ---- registers: what is counted ------------------------------------------------------------------------------------
 */

#define MODEL_COUNTERS 11 /* general ones, then three fixed */

struct model {
	struct pmu p;
	u64 counter[MODEL_COUNTERS], select[8], control, status, global;
};

static unsigned index_of(unsigned n)
{
	return n >= PMU_FIXED ? 8 + n - PMU_FIXED : n;
}

static bool find(const struct model *m, u32 msr, u32 first, u32 step, unsigned *n)
{
	*n = (msr - first) / step;
	return msr >= first && (msr - first) % step == 0 && *n < 8 && (m->p.counters >> *n & 1);
}

static u64 *model_register(struct model *m, u32 msr, bool *is_short)
{
	u32 selects = m->p.make == PMU_INTEL ? 0x186 : m->p.is_core_ext ? 0xc0010200 : 0xc0010000;
	u32 counters = m->p.make == PMU_INTEL ? 0xc1 : m->p.is_core_ext ? 0xc0010201 : 0xc0010004;
	u32 step = m->p.is_core_ext ? 2 : 1;
	unsigned n;

	*is_short = false;
	if (find(m, msr, selects, step, &n))
		return &m->select[n];
	if (find(m, msr, counters, step, &n)) {
		*is_short = m->p.make == PMU_INTEL;
		return &m->counter[n];
	}
	if (m->p.has_wide_writes && find(m, msr, 0x4c1, 1, &n))
		return &m->counter[n];
	if (m->p.make == PMU_INTEL && msr >= 0x309 && msr < 0x30c)
		return &m->counter[8 + msr - 0x309];
	if (m->p.make == PMU_INTEL && msr >= 0x38d && msr <= 0x38f)
		return msr == 0x38d ? &m->control : msr == 0x38e ? &m->status : &m->global;
	fail_msg("register %#x does not exist", msr);
	return NULL;
}

static u64 model_read(void *ctx, u32 msr)
{
	bool is_short;

	return *model_register(ctx, msr, &is_short);
}

static void model_write(void *ctx, u32 msr, u64 v)
{
	struct model *m = ctx;
	bool is_short;
	u64 *r;

	if (m->p.make == PMU_INTEL && msr == 0x390) {
		m->status &= ~v;
		return;
	}
	r = model_register(m, msr, &is_short);
	assert_ptr_not_equal(r, &m->status);
	if (is_short)
		v = (u64)(s64)(s32)v;
	*r = r >= m->counter && r < m->counter + MODEL_COUNTERS ? v & ((1ULL << m->p.bits) - 1) : v;
}

static bool is_on(const struct model *m, unsigned n)
{
	if (m->p.make == PMU_INTEL && !(m->global >> n & 1))
		return false;
	return n >= PMU_FIXED ? m->control >> (4 * (n - PMU_FIXED)) & 3 : m->select[n] >> 22 & 1;
}

/* True: it has overflowed on the way. */
static bool happens(struct model *m, unsigned n, u64 times)
{
	u64 *c = &m->counter[index_of(n)], top = 1ULL << m->p.bits;
	bool over;

	if (!is_on(m, n))
		return false;
	over = *c + times >= top;
	*c = (*c + times) & (top - 1);
	if (over && m->p.make == PMU_INTEL)
		m->status |= 1ULL << n;
	return over;
}

static u64 seed = 1;

static u64 rnd(u64 below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (seed >> 16) % below;
}

/* One counter through starts, stops, reads and overflows: what has been folded is what has happened. */
static void one_life(struct model *m, const struct pmu_msrs *msrs, unsigned n)
{
	const struct pmu *p = &m->p;
	struct pmu_event e = { .select = 0x5300c0, .control = 0xb };
	u64 period = 2 + rnd(pmu_most(p, n) - 2), seen, truth = 0, folded = 0;

	seen = pmu_start(p, msrs, &e, n, period);
	for (unsigned i = 0; i < 50; i++) {
		u64 times = rnd(4) ? rnd(1 + period / 2) : period, value;
		bool over = happens(m, n, times);

		truth += times;
		value = pmu_read(p, msrs, n);
		folded += pmu_passed(p, n, seen, value);
		seen = value;
		assert_int_equal(folded, truth);
		assert_int_equal(pmu_overflowed(p, msrs, 1ULL << n), over ? 1ULL << n : 0);
		assert_int_equal(p->make == PMU_INTEL ? pmu_overflowed(p, msrs, 1ULL << n) : 0, 0);
		if (!over && rnd(5))
			continue;
		pmu_stop(p, msrs, n);
		assert_false(is_on(m, n));
		happens(m, n, 1000);
		period = 2 + rnd(rnd(2) ? 5000 : pmu_most(p, n) - 2);
		seen = pmu_start(p, msrs, &e, n, period);
		assert_true(is_on(m, n));
	}
	pmu_stop(p, msrs, n);
}

static void loses_nothing(void **state)
{
	const struct leaf *const all[] = { skylake, core2, zen2, opteron };

	for (unsigned i = 0; i < 400; i++) {
		struct model m = { .p = found(all[i % 4]) };
		const struct pmu_msrs msrs = { model_read, model_write, &m };
		unsigned n;

		if (i % 8 == 0)
			pmu_set_capabilities(&m.p, 1 << 13);
		pmu_reset(&m.p, &msrs);
		do
			n = (unsigned)rnd(PMU_COUNTERS_MOST);
		while (!(m.p.counters >> n & 1));
		one_life(&m, &msrs, n);
	}
}

/* ---- who gets which counter
 * ------------------------------------------------------------------------------------------ */

static bool search_all(const u64 *allowed, unsigned n, u64 taken)
{
	if (!n)
		return true;
	for (unsigned c = 0; c < 8; c++)
		if ((allowed[0] >> c & 1) && !(taken >> c & 1) && search_all(allowed + 1, n - 1, taken | 1ULL << c))
			return true;
	return false;
}

/* Each event on a counter that it may use, nobody twice, and moved tells the truth. */
static void check_places(const struct pmu_fit *f, const u64 *allowed, unsigned n)
{
	bool used[8] = { false };

	for (unsigned c = 0; c < 8; c++) {
		bool known = !f->allowed[c];

		assert_true(!f->allowed[c] || (f->allowed[c] >> c & 1));
		for (unsigned i = 0; !known && i < n; i++)
			if (!used[i] && allowed[i] == f->allowed[c])
				known = used[i] = true;
		assert_true(known);
	}
	for (unsigned i = 0; i < n; i++)
		assert_true(used[i]);
}

static void fits_whatever_can_fit(void **state)
{
	for (unsigned round = 0; round < 5000; round++) {
		struct pmu_fit f = { .allowed = { 0 } };
		u64 on[8];
		unsigned n = 0;

		for (unsigned i = 0; i < 12; i++) {
			u64 group[3];
			unsigned size = 1 + (unsigned)rnd(3);
			u8 counter[3], moved[PMU_COUNTERS_MOST];
			struct pmu_fit before = f;
			u64 all[11];
			bool fits;

			for (unsigned k = 0; k < size; k++)
				group[k] = 1 + rnd(255);
			memcpy(all, on, n * sizeof(*on));
			memcpy(all + n, group, size * sizeof(*group));
			fits = n + size <= 8 && search_all(all, n + size, 0);
			assert_int_equal(pmu_fit_add(&f, group, size, counter, moved), fits);
			if (!fits) {
				assert_memory_equal(&f, &before, sizeof(f));
				continue;
			}
			memcpy(on, all, (n + size) * sizeof(*on));
			n += size;
			check_places(&f, on, n);
			for (unsigned k = 0; k < size; k++)
				assert_int_equal(f.allowed[counter[k]], group[k]);
			for (unsigned c = 0; c < PMU_COUNTERS_MOST; c++)
				if (moved[c] != PMU_NONE)
					assert_int_equal(before.allowed[moved[c]], f.allowed[c]);
		}
	}
}

static void fixed_ones_first(void **state)
{
	struct pmu p = found(skylake);
	struct pmu_fit f = { .allowed = { 0 } };
	struct pmu_event e[3];
	u64 allowed[3];
	u8 counter[3], moved[PMU_COUNTERS_MOST];

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask(&p, i ? PERF_COUNT_HW_CPU_CYCLES : PERF_COUNT_HW_INSTRUCTIONS, &e[i]), 0);
		allowed[i] = e[i].allowed;
	}
	assert_true(pmu_fit_add(&f, allowed, 3, counter, moved));
	assert_int_equal(counter[0], PMU_FIXED);
	assert_true(counter[1] == PMU_FIXED + 1 || counter[2] == PMU_FIXED + 1);
	pmu_fit_remove(&f, counter[0]);
	assert_int_equal(f.allowed[PMU_FIXED], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_cpuid_says),
		cmocka_unit_test(generic_events),
		cmocka_unit_test(raw_events),
		cmocka_unit_test(writes_intel),
		cmocka_unit_test(writes_amd),
		cmocka_unit_test(loses_nothing),
		cmocka_unit_test(fits_whatever_can_fit),
		cmocka_unit_test(fixed_ones_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
