/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest wants the time without leaving itself, also on machines whose cycle counter it cannot calibrate.
 *
 * Idea: kvmclock. The guest names a page; we write there, at each entry after something changed, the moment (cycle
 * counter and nanoseconds) and the ratio between the two. The guest computes the rest.
 *
 *      time = system_time + ((tsc - tsc_timestamp) << shift) * mul >> 32
 *
 * Contract: virt/kvm/x86/msr.rst (MSR_KVM_SYSTEM_TIME_NEW, MSR_KVM_WALL_CLOCK_NEW and the two layouts).
 *
 * Locks: none; a CPU's page is written by the thread that runs the CPU.
 */
#include <arch/cpu.h>
#include <core/clock.h>
#include <lib/string.h>
#include "kvm_priv.h"

struct time_info { /* pvclock_vcpu_time_info */
	u32 version, pad;
	u64 tsc_timestamp, system_time;
	u32 mul;
	s8 shift;
	u8 flags, pad2[2];
};
_Static_assert(sizeof(struct time_info) == 32, "as guests know it");
struct wall_info { /* pvclock_wall_clock */
	u32 version, sec, nsec;
};
#define TSC_STABLE BIT(0)

u64 kvm_guest_tsc(const struct kvm_vcpu *v)
{
	return cpu_cycles() + v->g.vmcb->tsc_offset;
}

u64 kvm_tsc_khz(void)
{
	u64 start, mult;

	clock_parameters(&start, &mult);
	return (1000000ULL << 32) / mult;
}

static void ratio(u32 *mul, s8 *shift)
{
	u64 start, mult;

	clock_parameters(&start, &mult);
	for (*shift = 0; mult >> 32; (*shift)++)
		mult >>= 1;
	for (; !(mult >> 31); (*shift)--)
		mult <<= 1;
	*mul = (u32)mult;
}

void kvm_clock_update(struct kvm_vcpu *v)
{
	u64 gpa = v->clock_msr & ~1ULL;
	struct time_info t;

	if (!(v->clock_msr & 1) || kvm_read(v->vm, gpa, &t, sizeof(t)))
		return;
	t.version = (t.version | 1) + 2; /* odd: being written */
	if (kvm_write(v->vm, gpa, &t.version, sizeof(t.version)))
		return;
	ratio(&t.mul, &t.shift);
	t.tsc_timestamp = kvm_guest_tsc(v);
	t.system_time = clock_ns() + (u64)v->vm->clock_offset_ns;
	t.flags = TSC_STABLE;
	if (kvm_write(v->vm, gpa + sizeof(u32), (char *)&t + sizeof(u32), sizeof(t) - sizeof(u32)))
		return;
	t.version++;
	if (kvm_write(v->vm, gpa, &t.version, sizeof(t.version)))
		v->clock_msr = 0; /* the guest took its page away */
}

void kvm_wall_write(struct kvm_vcpu *v)
{
	u64 at_zero = clock_real_ns() - (clock_ns() + (u64)v->vm->clock_offset_ns);
	struct wall_info w = { 2, (u32)(at_zero / NSEC_PER_SEC), (u32)(at_zero % NSEC_PER_SEC) };

	if (kvm_write(v->vm, v->wall_msr & ~1ULL, &w, sizeof(w)))
		v->wall_msr = 0;
}
