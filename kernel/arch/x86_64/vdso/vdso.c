/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask for the time millions of times a second; entering the kernel for it costs more than the answer.
 *
 * Idea: this code is mapped into every program together with one page of parameters, and does what core/clock.h does:
 * read the TSC and multiply. What it does not know it asks the kernel. User code: no kernel header but vdso_data.h.
 *
 * Contract: vdso(7), x86-64: __vdso_clock_gettime, __vdso_clock_getres, __vdso_gettimeofday, __vdso_time,
 * __vdso_getcpu, version LINUX_2.6; the same without the prefix, weak.
 *
 * Locks: the sequence count in the data page.
 */
#include <stddef.h>
#include <linux/time.h>
#include "vdso_data.h"

extern const struct vdso_data vdso_data __attribute__((visibility("hidden"))); /* from vdso.lds */
#define NS                       1000000000ULL
#define EXPORT(name, type, args) type name args __attribute__((weak, alias("__vdso_" #name)))

static long system_call(long nr, long a, long b)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return ret;
}

static uint64_t ns_now(void)
{
	uint64_t tsc = __builtin_ia32_rdtsc() - vdso_data.tsc_start;

	return (uint64_t)(((unsigned __int128)tsc * vdso_data.ns_mult) >> 32);
}

static uint64_t real_ns(void)
{
	uint64_t offset;
	uint32_t seq;

	do {
		while ((seq = __atomic_load_n(&vdso_data.seq, __ATOMIC_ACQUIRE)) & 1)
			__builtin_ia32_pause();
		offset = vdso_data.real_offset_ns;
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (__atomic_load_n(&vdso_data.seq, __ATOMIC_RELAXED) != seq);
	return ns_now() + offset;
}

int __vdso_clock_gettime(int clock, struct timespec *ts);
int __vdso_clock_gettime(int clock, struct timespec *ts)
{
	uint64_t ns;

	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_REALTIME_COARSE: ns = real_ns(); break;
	case CLOCK_MONOTONIC:
	case CLOCK_MONOTONIC_RAW:
	case CLOCK_MONOTONIC_COARSE:
	case CLOCK_BOOTTIME: ns = ns_now(); break;
	default: return (int)system_call(228, clock, (long)ts);
	}
	ts->tv_sec = (long)(ns / NS);
	ts->tv_nsec = (long)(ns % NS);
	return 0;
}

int __vdso_clock_getres(int clock, struct timespec *ts);
int __vdso_clock_getres(int clock, struct timespec *ts)
{
	return (int)system_call(229, clock, (long)ts);
}

int __vdso_gettimeofday(struct timeval *tv, struct timezone *tz);
int __vdso_gettimeofday(struct timeval *tv, struct timezone *tz)
{
	if (tz)
		return (int)system_call(96, (long)tv, (long)tz);
	if (tv) {
		uint64_t us = real_ns() / 1000;

		tv->tv_sec = (long)(us / 1000000);
		tv->tv_usec = (long)(us % 1000000);
	}
	return 0;
}

long __vdso_time(long *out);
long __vdso_time(long *out)
{
	long s = (long)(real_ns() / NS);

	if (out)
		*out = s;
	return s;
}

/* The limit of descriptor 0x7b: the CPU's number, and its node's above (cpu.c). */
long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);
long __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
	unsigned n;

	(void)unused;
	__asm__ volatile("lsl %1, %0" : "=r"(n) : "r"(0x7b));
	if (cpu)
		*cpu = n & 0xfff;
	if (node)
		*node = n >> 12;
	return 0;
}

EXPORT(clock_gettime, int, (int clock, struct timespec *ts));
EXPORT(clock_getres, int, (int clock, struct timespec *ts));
EXPORT(gettimeofday, int, (struct timeval * tv, struct timezone *tz));
EXPORT(time, long, (long *out));
EXPORT(getcpu, long, (unsigned *cpu, unsigned *node, void *unused));
