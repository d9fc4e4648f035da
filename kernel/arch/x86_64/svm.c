/* SPDX-License-Identifier: MIT
 *
 * Problem: run a guest's code on this CPU and come back whole.
 *
 * Idea: SVM is turned on once for all CPUs, when the first user asks. Each CPU has two pages: one that the processor
 * fills at VMRUN, one for what VMLOAD and VMSAVE move. Around the entry only what the processor does not switch by
 * itself is changed, and only if it differs: XCR0, TSC_AUX, breakpoint registers.
 *
 * Contract: arch/svm.h. The per-CPU base is not valid between CLGI and STGI, so everything per-CPU is read before.
 *
 * Locks: `enabled` is guarded by the caller (kvm enables under its own mutex); entries run with IRQs off.
 */
#include <alloc/page.h>
#include <arch/svm.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/task.h>
#include "x86_priv.h"

#define MSR_VM_CR       0xc0010114
#define MSR_VM_HSAVE_PA 0xc0010117
#define VM_CR_SVMDIS    (1 << 4)
#define EFER_SVME       (1 << 12)
#define FEATURE_NPT     (1 << 0)
#define DR7_NONE        0x400UL
#define DR7_GD          BIT(13) /* the next access to a debug register traps */

void svm_enter(struct svm_regs *regs, u64 vmcb, u64 host_save);

static DEFINE_PER_CPU(u64, host_state); /* for VMSAVE */
static DEFINE_PER_CPU(u64, processor_state);
static bool enabled;
static u32 asids;

static void enable_here(void *arg)
{
	msr_write(MSR_EFER, msr_read(MSR_EFER) | EFER_SVME);
	msr_write(MSR_VM_HSAVE_PA, this_cpu_read(processor_state));
}

static int give_pages(unsigned cpu)
{
	struct page *a = page_alloc(0, ALLOC_ZERO, NULL), *b = page_alloc(0, ALLOC_ZERO, NULL);

	if (!a || !b) {
		if (a)
			page_put(a);
		if (b)
			page_put(b);
		return -ENOMEM;
	}
	*per_cpu_ptr(&host_state, cpu) = page_phys(a);
	*per_cpu_ptr(&processor_state, cpu) = page_phys(b);
	return 0;
}

int svm_enable(void)
{
	u32 r[4];

	if (enabled)
		return 0;
	if (!cpu_has(CPU_SVM))
		return -ENODEV;
	cpuid(0x8000000a, 0, r);
	asids = r[1];
	if (!(r[3] & FEATURE_NPT) || asids < 2 || (msr_read(MSR_VM_CR) & VM_CR_SVMDIS))
		return -ENODEV;
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		int err = *per_cpu_ptr(&host_state, cpu) ? 0 : give_pages(cpu);

		if (err)
			return err;
	}
	cpu_call(cpu_online_mask(), enable_here, NULL);
	enabled = true;
	return 0;
}

u32 svm_asids(void)
{
	return asids;
}

static void xcr0_write(u64 v)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)v), "d"((u32)(v >> 32)));
}

/* XSETBV exits, but not under QEMU (7.2), which carries it out: so what the guest leaves behind is what it has. Were it
 * forgotten, its XSAVE and XRSTOR would move the x87 registers alone from the next entry on. */
static void leave_xcr0(struct svm_guest *g)
{
	u32 lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	g->xcr0 = ((u64)hi << 32 | lo) & arch_fpu_features();
	if (g->xcr0 != arch_fpu_features() || hi || lo != g->xcr0)
		xcr0_write(arch_fpu_features());
}

#define DR_WRITE(n, v) __asm__ volatile("mov %0, %%db" #n : : "r"(v))

/* VMRUN loads DR7 and arms. QEMU (7.2) arms only where DR7 is written, so it is written here, too, unless an address is
 * of the half where the kernel lives: those would stop us on the way. */
static void load_breakpoints(const struct svm_guest *g)
{
	DR_WRITE(7, DR7_NONE);
	DR_WRITE(0, g->dr[0]);
	DR_WRITE(1, g->dr[1]);
	DR_WRITE(2, g->dr[2]);
	DR_WRITE(3, g->dr[3]);
	if (!((g->dr[0] | g->dr[1] | g->dr[2] | g->dr[3]) >> 47))
		DR_WRITE(7, g->vmcb->dr7 & ~DR7_GD);
}

void svm_run(struct svm_guest *g)
{
	u32 host_aux = cpu_shown_number();
	bool own_aux = cpu_has(CPU_RDTSCP) && g->tsc_aux != host_aux;
	bool armed = g->vmcb->dr7 & 0xff;

	if (cpu_has(CPU_XSAVE) && g->xcr0 != arch_fpu_features())
		xcr0_write(g->xcr0);
	if (own_aux)
		msr_write(MSR_TSC_AUX, g->tsc_aux);
	if (armed)
		load_breakpoints(g);
	svm_enter(&g->regs, g->vmcb_phys, this_cpu_read(host_state));
	if (armed)
		arch_load_debug_regs(current);
	if (own_aux)
		msr_write(MSR_TSC_AUX, host_aux);
	if (cpu_has(CPU_XSAVE))
		leave_xcr0(g);
}
