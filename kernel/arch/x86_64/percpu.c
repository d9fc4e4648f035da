/* SPDX-License-Identifier: MIT
 *
 * Problem: each CPU needs its own copy of the per-CPU variables.
 *
 * Idea: every CPU owns PERCPU_UNIT bytes of address space; its GS base is the distance from the template section to
 * that unit. Pages behind it appear when the CPU does.
 *
 *   template  [percpu_start .. percpu_end)
 *   CPU n     PERCPU_BASE + n * UNIT: the same offsets
 *
 * Contract: arch/percpu.h. CPU 0's part lies in the image, so that it works from the first C line on.
 *
 * Locks: none; CPUs are made one after the other, at boot.
 */
#include <alloc/page.h>
#include <arch/percpu.h>
#include <core/log.h>
#include <lib/string.h>
#include "x86_priv.h"

DEFINE_PER_CPU(ulong, percpu_self_offset);
DEFINE_PER_CPU(unsigned, cpu_number);
ulong percpu_offset[MAX_CPUS];

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
}

static int map_pages(unsigned cpu)
{
	for (size_t at = 0; at < static_bytes(); at += PAGE_SIZE) {
		struct page *p = page_alloc(0, ALLOC_ZERO, NULL);
		int err = p ? kernel_map(unit_base(cpu) + at, page_phys(p), PAGE_SIZE, PT_READ | PT_WRITE | PT_GLOBAL)
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
	if (map_pages(cpu))
		return -1;
	percpu_offset[cpu] = unit_base(cpu) - (ulong)percpu_start;
	memcpy((void *)unit_base(cpu), percpu_start, percpu_end - percpu_start);
	*per_cpu_ptr(&percpu_self_offset, cpu) = percpu_offset[cpu];
	*per_cpu_ptr(&cpu_number, cpu) = cpu;
	return 0;
}
