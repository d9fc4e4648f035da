/* SPDX-License-Identifier: MIT
 *
 * Problem: each CPU needs its own copy of the per-CPU variables, and parts want to allocate more of
 * them at run time.
 *
 * Idea: every CPU owns PERCPU_UNIT bytes of address space; its GS base is the distance from the
 * template section to that unit. Pages behind it appear as needed: the static part at start, then
 * what percpu_alloc hands out. A dynamic variable is named by an address beyond the template, which
 * nobody dereferences without the CPU's distance.
 *
 *   template  [percpu_start .. percpu_end) [.. dynamic names ..]
 *   CPU n     PERCPU_BASE + n * UNIT: the same offsets
 *
 * Dynamic space is counted in granules of 16 bytes: bit `used` marks granules in use, bit `last`
 * the last granule of each allocation.
 *
 * Contract: arch/percpu.h. CPU 0's static part lies in the image, so that it works from the first C
 * line on.
 *
 * Locks: `lock` (RANK_LEAF_SLEEP) guards the bit maps and the number of mapped bytes.
 */
#include <alloc/page.h>
#include <arch/percpu.h>
#include <core/log.h>
#include <lib/atomic.h>
#include <lib/string.h>
#include <task/mutex.h>
#include "x86_priv.h"

DEFINE_PER_CPU(ulong, percpu_self_offset);
DEFINE_PER_CPU(unsigned, cpu_number);
ulong percpu_offset[MAX_CPUS];

#define GRANULE       16
#define DYNAMIC_BYTES (512 * 1024UL)
#define GRANULES      (DYNAMIC_BYTES / GRANULE)

static struct mutex lock = MUTEX_INIT(lock, RANK_LEAF_SLEEP);
static ulong used[GRANULES / 64], last[GRANULES / 64];
static size_t mapped_bytes[MAX_CPUS]; /* page aligned */
static unsigned units = 1;

static size_t static_bytes(void)
{
	return ALIGN_UP((size_t)(percpu_end - percpu_start), PAGE_SIZE);
}

static ulong unit_base(unsigned cpu)
{
	return PERCPU_BASE + cpu * (ulong)PERCPU_UNIT;
}

static u64 boot_tables[3][512] __aligned(4096);

void percpu_init_boot(void)
{
	extern u64 boot_pml4[];
	ulong va = unit_base(0);
	size_t pages = static_bytes() / PAGE_SIZE;
	u64 *level = boot_pml4;

	memcpy(percpu0_start, percpu_start, percpu_end - percpu_start);
	for (int i = 0, shift = 39; i < 3; i++, shift -= 9) {
		level[(va >> shift) & 511] = ((ulong)boot_tables[i] - KERNEL_BASE) | 3;
		level = boot_tables[i];
	}
	for (size_t i = 0; i < pages; i++)
		level[((va >> 12) & 511) + i] = ((ulong)percpu0_start - KERNEL_BASE + i * PAGE_SIZE) | 3;
	percpu_offset[0] = va - (ulong)percpu_start;
	msr_write(MSR_GS_BASE, percpu_offset[0]);
	this_cpu_write(percpu_self_offset, percpu_offset[0]);
	mapped_bytes[0] = static_bytes();
}

static int map_pages(unsigned cpu, size_t to)
{
	for (; mapped_bytes[cpu] < to; mapped_bytes[cpu] += PAGE_SIZE) {
		struct page *p = page_alloc(0, ALLOC_ZERO, NULL);
		int err = p ? kernel_map(unit_base(cpu) + mapped_bytes[cpu], page_phys(p), PAGE_SIZE,
					 PT_READ | PT_WRITE | PT_GLOBAL)
			    : -1;

		if (err) {
			if (p)
				page_put(p);
			return -1;
		}
	}
	return 0;
}

int percpu_create(unsigned cpu)
{
	if (map_pages(cpu, mapped_bytes[0]))
		return -1;
	percpu_offset[cpu] = unit_base(cpu) - (ulong)percpu_start;
	memcpy((void *)unit_base(cpu), percpu_start, percpu_end - percpu_start);
	*per_cpu_ptr(&percpu_self_offset, cpu) = percpu_offset[cpu];
	*per_cpu_ptr(&cpu_number, cpu) = cpu;
	units = max(units, cpu + 1);
	return 0;
}

static bool bit_get(const ulong *map, size_t i)
{
	return map[i / 64] >> (i % 64) & 1;
}

static void bit_put(ulong *map, size_t i, bool v)
{
	map[i / 64] = (map[i / 64] & ~BIT(i % 64)) | (ulong)v << (i % 64);
}

/* First run of n free granules; GRANULES if there is none. */
static size_t find_run(size_t n)
{
	size_t run = 0;

	for (size_t i = 0; i < GRANULES; i++) {
		if (i % 64 == 0 && used[i / 64] == ~0UL) {
			run = 0;
			i += 63;
			continue;
		}
		run = bit_get(used, i) ? 0 : run + 1;
		if (run == n)
			return i + 1 - n;
	}
	return GRANULES;
}

static void mark(size_t at, size_t n, bool on)
{
	for (size_t i = 0; i < n; i++)
		bit_put(used, at + i, on);
	bit_put(last, at + n - 1, on);
}

/* Makes sure that the first `bytes` of every unit are mapped. */
static int extend(size_t bytes)
{
	bytes = ALIGN_UP(bytes, PAGE_SIZE);
	for (unsigned cpu = 0; cpu < units; cpu++)
		if (map_pages(cpu, bytes))
			return -1;
	return 0;
}

void *percpu_alloc(size_t bytes)
{
	size_t n = DIV_ROUND_UP(max(bytes, (size_t)1), (size_t)GRANULE), at, offset;
	void *p = NULL;

	mutex_lock(&lock);
	at = find_run(n);
	offset = static_bytes() + at * GRANULE;
	if (at < GRANULES && extend(offset + n * GRANULE) == 0) {
		mark(at, n, true);
		p = percpu_start + offset;
	}
	mutex_unlock(&lock);
	for (unsigned cpu = 0; p && cpu < units; cpu++)
		memset((void *)(unit_base(cpu) + offset), 0, n * GRANULE);
	return p;
}

void percpu_free(void *p)
{
	size_t at, n = 1;

	if (!p)
		return;
	at = ((size_t)((char *)p - percpu_start) - static_bytes()) / GRANULE;
	mutex_lock(&lock);
	ensure(at < GRANULES && bit_get(used, at));
	while (!bit_get(last, at + n - 1))
		n++;
	mark(at, n, false);
	mutex_unlock(&lock);
}
