/* SPDX-License-Identifier: MIT
 *
 * Problem: each CPU has its own interrupt controller and timer; the chipset has one that routes
 * device lines.
 *
 * Idea: xAPIC through its 4 KiB register page, which TCG has too (design); the timer runs one-shot,
 * or by TSC deadline where CPUID offers it. IOAPIC inputs start masked and are opened one by one by
 * irq_route_gsi.
 *
 * Contract: x86_priv.h. Sources: Intel SDM volume 3, chapter 11 (local APIC); 82093AA data sheet
 * (IOAPIC).
 *
 * Locks: the IOAPIC's index register is guarded by `ioapic_lock` (RANK_DRIVER).
 */
#include <alloc/kmap.h>
#include <arch/cpu.h>
#include <arch/io.h>
#include <arch/rdt.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include "irq_priv.h"
#include "x86_priv.h"

#define APIC_ID       0x20
#define APIC_TPR      0x80
#define APIC_EOI      0xb0
#define APIC_SVR      0xf0
#define APIC_ICR_LO   0x300
#define APIC_ICR_HI   0x310
#define APIC_TIMER    0x320
#define APIC_COUNTERS 0x340
#define APIC_LINT0    0x350
#define APIC_LINT1    0x360
#define APIC_ERROR    0x370
#define APIC_COUNT    0x380
#define APIC_CURRENT  0x390
#define APIC_DIVIDE   0x3e0
#define LVT_MASKED    (1 << 16)
#define LVT_DEADLINE  (2 << 17)
#define LVT_NMI       (4 << 8)
#define ICR_PENDING   (1 << 12)

/* As a guest of KVM: a word of each CPU whose bit 0, where it is set, ends an interrupt by being cleared; a write to
 * the APIC's page may be an exit. (Linux's virt/kvm/x86/msr.rst, cpuid.rst) */
#define CPUID_KVM          0x40000000
#define CPUID_KVM_FEATURES 0x40000001
#define FEATURE_PV_EOI     BIT(6)
#define MSR_KVM_PV_EOI_EN  0x4b564d04

static struct {
	u32 skip __aligned(64);
} eoi_word[MAX_CPUS];
static bool has_eoi_word;

static char *apic;
static char *ioapic[8];
static unsigned ioapic_inputs[8];
static struct spinlock ioapic_lock = SPIN_INIT(RANK_DRIVER);
u32 cpu_apic_id[MAX_CPUS];
DEFINE_PER_CPU(u32, lapic_id);
static u64 ticks_per_ns; /* 32.32 fixed point: APIC timer ticks, or TSC ticks with deadlines */
bool apic_timer_deadline;

static u32 apic_get(unsigned reg)
{
	return mmio_read32(apic + reg);
}

static void apic_set(unsigned reg, u32 v)
{
	mmio_write32(apic + reg, v);
}

static u32 ioapic_get(unsigned n, unsigned reg)
{
	mmio_write32(ioapic[n], reg);
	return mmio_read32(ioapic[n] + 16);
}

static void ioapic_set(unsigned n, unsigned reg, u32 v)
{
	mmio_write32(ioapic[n], reg);
	mmio_write32(ioapic[n] + 16, v);
}

/* The two 8259 controllers would deliver on vectors of exceptions: all lines off. */
static void pic_disable(void)
{
	port_out8(0x21, 0xff);
	port_out8(0xa1, 0xff);
}

static bool kvm_ends_by_word(void)
{
	u32 r[4];

	if (!cpu_has(CPU_HYPERVISOR))
		return false;
	cpuid(CPUID_KVM, 0, r);
	if (memcmp(&r[1], "KVMKVMKVM\0\0", 12))
		return false;
	cpuid(CPUID_KVM_FEATURES, 0, r);
	return r[0] & FEATURE_PV_EOI;
}

void apic_init_cpu(void)
{
	msr_write(MSR_APIC_BASE, (msr_read(MSR_APIC_BASE) & ~(u64)(1 << 10)) | 1 << 11);
	apic_set(APIC_TPR, 0);
	apic_set(APIC_LINT0, LVT_MASKED);
	apic_set(APIC_LINT1, LVT_NMI);
	apic_set(APIC_ERROR, LVT_MASKED);
	apic_set(APIC_SVR, 0x100 | VEC_SPURIOUS);
	apic_set(APIC_DIVIDE, 0xb); /* by 1 */
	apic_set(APIC_TIMER, VEC_TIMER | (apic_timer_deadline ? LVT_DEADLINE : 0));
	this_cpu_write(lapic_id, apic_get(APIC_ID) >> 24);
	cpu_apic_id[cpu_id()] = this_cpu_read(lapic_id);
	if (has_eoi_word)
		msr_write(MSR_KVM_PV_EOI_EN, ((ulong)&eoi_word[cpu_id()].skip - KERNEL_BASE) | 1);
}

void apic_init(void)
{
	apic = io_map(acpi.lapic_base, PAGE_SIZE);
	if (!apic)
		panic("no address space for the local APIC");
	pic_disable();
	has_eoi_word = kvm_ends_by_word();
	apic_init_cpu();
	for (unsigned n = 0; n < acpi.nr_ioapics; n++) {
		ioapic[n] = io_map(acpi.ioapic[n].base, PAGE_SIZE);
		if (!ioapic[n])
			panic("no address space for an IOAPIC");
		ioapic_inputs[n] = (ioapic_get(n, 1) >> 16 & 0xff) + 1;
		for (unsigned i = 0; i < ioapic_inputs[n]; i++)
			ioapic_set(n, 0x10 + 2 * i, LVT_MASKED);
	}
}

void apic_eoi(void)
{
	bool ended = false;

	if (has_eoi_word) /* one instruction: the hypervisor may take the offer back between any two */
		__asm__ volatile("btrl $0, %1" : "=@ccc"(ended), "+m"(eoi_word[cpu_id()].skip));
	if (!ended)
		apic_set(APIC_EOI, 0);
}

static void send(u32 target, u32 low)
{
	ulong flags = irq_save();

	while (apic_get(APIC_ICR_LO) & ICR_PENDING)
		cpu_relax();
	apic_set(APIC_ICR_HI, target << 24);
	apic_set(APIC_ICR_LO, low);
	irq_restore(flags);
}

void apic_ipi(u32 target, unsigned vector)
{
	send(target, vector);
}

void apic_nmi(u32 target)
{
	send(target, LVT_NMI);
}

/* The controller masks the entry with each interrupt that it delivers (SDM 11.5.1). */
void cpu_counters_listen(void)
{
	apic_set(APIC_COUNTERS, VEC_COUNTERS);
}

void apic_start(u32 target, unsigned page)
{
	send(target, 0x4500); /* INIT, assert */
	clock_delay_ns(200 * NSEC_PER_USEC);
	send(target, 0x4600 | page); /* STARTUP */
	clock_delay_ns(100 * NSEC_PER_USEC);
	send(target, 0x4600 | page);
}

/* ---- timer ----------------------------------------------------------------------------------------------- */

/* Used by the calibration: counts down from the top without an interrupt. */
void apic_timer_free_run(void)
{
	apic_set(APIC_TIMER, LVT_MASKED | VEC_TIMER);
	apic_set(APIC_COUNT, 0xffffffff);
}

u32 apic_timer_elapsed(void)
{
	return 0xffffffff - apic_get(APIC_CURRENT);
}

void apic_timer_set_rate(u64 ticks_per_second, bool deadline)
{
	ticks_per_ns = (ticks_per_second / NSEC_PER_SEC << 32) + (ticks_per_second % NSEC_PER_SEC << 32) / NSEC_PER_SEC;
	apic_timer_deadline = deadline;
	apic_set(APIC_COUNT, 0);
	apic_set(APIC_TIMER, VEC_TIMER | (deadline ? LVT_DEADLINE : 0));
}

void apic_timer_arm(u64 ns)
{
	u64 ticks = (u64)(((unsigned __int128)min(ns, 10 * NSEC_PER_SEC) * ticks_per_ns) >> 32);

	if (apic_timer_deadline)
		msr_write(MSR_TSC_DEADLINE, cpu_cycles() + ticks);
	else
		apic_set(APIC_COUNT, (u32)clamp(ticks, (u64)1, (u64)0xffffffff));
}

void apic_timer_stop(void)
{
	if (apic_timer_deadline)
		msr_write(MSR_TSC_DEADLINE, 0);
	else
		apic_set(APIC_COUNT, 0);
}

/* ---- IOAPIC
 * ------------------------------------------------------------------------------------------------
 */

int irq_route_gsi(unsigned gsi, int vector, bool level, bool active_low)
{
	for (unsigned n = 0; n < acpi.nr_ioapics; n++) {
		unsigned input = gsi - acpi.ioapic[n].gsi_base;
		ulong flags;

		if (gsi < acpi.ioapic[n].gsi_base || input >= ioapic_inputs[n])
			continue;
		flags = spin_lock_irqsave(&ioapic_lock);
		ioapic_set(n, 0x11 + 2 * input, cpu_apic_id[irq_cpu(vector)] << 24);
		ioapic_set(n, 0x10 + 2 * input, (u32)vector | (level ? 1U << 15 : 0) | (active_low ? 1U << 13 : 0));
		spin_unlock_irqrestore(&ioapic_lock, flags);
		return 0;
	}
	return fail(ENODEV, "no IOAPIC has input %u", gsi);
}

void irq_msi_message(int vector, u64 *address, u32 *data)
{
	*address = 0xfee00000 | cpu_apic_id[irq_cpu(vector)] << 12;
	*data = (u32)vector;
}
