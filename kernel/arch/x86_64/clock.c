/* SPDX-License-Identifier: MIT
 *
 * Problem: programs want nanoseconds that never run backwards, at the price of one instruction; the
 * machine has a fast counter of unknown rate and a slow one of known rate.
 *
 * Idea: read the TSC; measure its rate and the APIC timer's once, over one millisecond, against the
 * ACPI PM timer (3.579545 MHz), or channel 2 of the PIT (1.193182 MHz); a microvm without either
 * gets what CPUID says (leaf 0x15 or the hypervisor's 0x40000010), and at last QEMU's fixed 1 GHz
 * APIC clock as the yardstick. ns = (tsc - start) * mult >> 32, in 128 bits, so nothing has to be
 * re-based.
 *
 * Contract: core/clock.h. 0 before clock_init. All CPUs read the same counter (QEMU, and invariant
 * TSC elsewhere).
 *
 * Locks: `real` has a sequence count; writers are serialised by `real_lock` (RANK_SUBSYS_SPIN).
 */
#include <arch/cpu.h>
#include <arch/io.h>
#include <arch/vdso.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/atomic.h>
#include "irq_priv.h"
#include "vdso/vdso_data.h"
#include "x86_priv.h"

#define PM_HZ  3579545ULL
#define PIT_HZ 1193182ULL

static u64 start, mult; /* mult: ns per TSC tick, 32.32 */
static u64 real_offset_ns;
static struct seqcount real_seq;
static union {
	struct vdso_data d;
	u8 page[PAGE_SIZE];
} vdso_page __aligned(4096);
static struct spinlock real_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
u64 clock_tsc_hz;

u64 clock_ns(void)
{
	return (u64)(((unsigned __int128)(cpu_cycles() - start) * mult) >> 32);
}

void clock_parameters(u64 *tsc_start, u64 *ns_mult)
{
	*tsc_start = start;
	*ns_mult = mult;
}

u64 clock_real_ns(void)
{
	u64 offset;
	u32 s;

	do {
		s = seq_read_begin(&real_seq);
		offset = real_offset_ns;
	} while (seq_read_retry(&real_seq, s));
	return clock_ns() + offset;
}

void clock_set_real_ns(u64 ns)
{
	ulong flags = spin_lock_irqsave(&real_lock);

	seq_write_begin(&real_seq);
	real_offset_ns = ns - clock_ns();
	seq_write_end(&real_seq);
	__atomic_store_n(&vdso_page.d.seq, vdso_page.d.seq + 1, __ATOMIC_RELAXED);
	smp_mb();
	vdso_page.d.real_offset_ns = real_offset_ns;
	vdso_page.d.tsc_start = start;
	vdso_page.d.ns_mult = mult;
	__atomic_store_n(&vdso_page.d.seq, vdso_page.d.seq + 1, __ATOMIC_RELEASE);
	spin_unlock_irqrestore(&real_lock, flags);
}

void arch_vdso(struct arch_vdso *out)
{
	extern const char vdso_image_start[], vdso_image_end[];

	out->code = virt_to_phys(vdso_image_start);
	out->code_bytes = ALIGN_UP((size_t)(vdso_image_end - vdso_image_start), PAGE_SIZE);
	out->data = virt_to_phys(&vdso_page);
}

void clock_delay_ns(u64 ns)
{
	u64 until = clock_ns() + ns;

	while (clock_ns() < until)
		cpu_relax();
}

/* ---- calibration: spins for about a millisecond of a reference clock ------------------------------------- */

struct measure {
	u64 tsc, apic, ref, ref_hz;
};

static u32 pm_read(void)
{
	return port_in32(acpi.pm_timer_port) & 0xffffff;
}

static bool measure_pm(struct measure *m)
{
	u64 limit = cpu_cycles() + 1000000000ULL;
	u32 from, now, apic;
	u64 tsc;

	if (!acpi.pm_timer_port)
		return false;
	from = pm_read();
	tsc = cpu_cycles();
	apic = apic_timer_elapsed();
	do {
		now = pm_read();
		m->tsc = cpu_cycles() - tsc;
		m->apic = apic_timer_elapsed() - apic;
		m->ref = (now - from) & 0xffffff;
		if (cpu_cycles() > limit)
			return false;
	} while (m->ref < PM_HZ / 1000);
	m->ref_hz = PM_HZ;
	return true;
}

static bool measure_pit(struct measure *m)
{
	u64 limit = cpu_cycles() + 1000000000ULL, tsc;
	u32 apic, count = PIT_HZ / 1000;

	port_out8(0x61, (port_in8(0x61) & ~2) | 1);
	port_out8(0x43, 0xb0); /* channel 2, mode 0 */
	port_out8(0x42, (u8)count);
	port_out8(0x42, (u8)(count >> 8));
	tsc = cpu_cycles();
	apic = apic_timer_elapsed();
	if (port_in8(0x61) & 0x20)
		return false; /* already over: there is no PIT */
	while (!(port_in8(0x61) & 0x20))
		if (cpu_cycles() > limit)
			return false;
	m->tsc = cpu_cycles() - tsc;
	m->apic = apic_timer_elapsed() - apic;
	m->ref = count;
	m->ref_hz = PIT_HZ;
	return true;
}

/* No reference at all: QEMU's APIC timer counts nanoseconds. */
static bool measure_apic(struct measure *m)
{
	u32 apic = apic_timer_elapsed();
	u64 tsc = cpu_cycles();

	do {
		m->apic = apic_timer_elapsed() - apic;
		m->tsc = cpu_cycles() - tsc;
	} while (m->apic < 1000000);
	m->ref = m->apic;
	m->ref_hz = NSEC_PER_SEC;
	return true;
}

/* The hypervisor's own word on the TSC's rate, in kHz (VMware's and KVM's leaf 0x40000010). */
static u64 tsc_khz_from_cpuid(void)
{
	u32 r[4];

	cpuid(0, 0, r);
	if (r[0] >= 0x15) {
		cpuid(0x15, 0, r);
		if (r[0] && r[1] && r[2])
			return (u64)r[2] * r[1] / r[0] / 1000;
	}
	if (cpu_has(CPU_HYPERVISOR)) {
		cpuid(0x40000000, 0, r);
		if (r[0] >= 0x40000010) {
			cpuid(0x40000010, 0, r);
			return r[0];
		}
	}
	return 0;
}

/* ---- wall clock: MC146818 in BCD or binary, UTC ---------------------------------------------------------- */

static u8 rtc(u8 reg)
{
	port_out8(0x70, reg);
	return port_in8(0x71);
}

static unsigned rtc_value(u8 reg, bool binary)
{
	u8 v = rtc(reg);

	return binary ? v : (v >> 4) * 10U + (v & 15);
}

static u64 days_from_civil(u64 y, unsigned m, unsigned d)
{
	y -= m <= 2;
	m = (m + 9) % 12;
	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + d - 1 - 719468;
}

static u64 rtc_seconds(void)
{
	unsigned s, min_, h, d, m, y, again;
	bool binary;

	if (rtc(0x0a) == 0xff)
		return 0; /* no clock chip: in a guest each look is two exits */
	for (int i = 0; i < 100000 && (rtc(0x0a) & 0x80); i++)
		cpu_relax();
	binary = rtc(0x0b) & 4;
	do {
		s = rtc_value(0, binary);
		min_ = rtc_value(2, binary);
		h = rtc_value(4, binary);
		d = rtc_value(7, binary);
		m = rtc_value(8, binary);
		y = rtc_value(9, binary);
		again = rtc_value(0, binary);
	} while (s != again && s < 60);
	if (s > 59 || min_ > 59 || h > 23 || !d || d > 31 || !m || m > 12)
		return 0;
	return days_from_civil(2000 + y, m, d) * 86400 + h * 3600 + min_ * 60 + s;
}

void clock_init(void)
{
	struct measure m = { 0 };
	u64 khz = tsc_khz_from_cpuid(), apic_hz;

	apic_timer_free_run();
	if (!measure_pm(&m) && !measure_pit(&m))
		(void)measure_apic(&m);
	clock_tsc_hz = khz ? khz * 1000 : m.tsc * m.ref_hz / m.ref;
	apic_hz = m.apic * m.ref_hz / m.ref;
	mult = (NSEC_PER_SEC << 32) / clock_tsc_hz;
	if (cpu_has(CPU_TSC_DEADLINE))
		apic_timer_set_rate(clock_tsc_hz, true);
	else
		apic_timer_set_rate(apic_hz, false);
	start = cpu_cycles();
	clock_set_real_ns(rtc_seconds() * NSEC_PER_SEC);
	log_info("clock: TSC %lu.%03lu MHz, timer %lu MHz%s", clock_tsc_hz / 1000000, clock_tsc_hz / 1000 % 1000,
		 apic_hz / 1000000, apic_timer_deadline ? ", TSC deadline" : "");
}

void clock_arm(u64 deadline_ns)
{
	u64 now;

	if (deadline_ns == ~0ULL) {
		apic_timer_stop();
		return;
	}
	now = clock_ns();
	apic_timer_arm(deadline_ns > now ? deadline_ns - now : 1);
}
