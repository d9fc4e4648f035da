/* SPDX-License-Identifier: MIT
 *
 * What the portable kernel asks of a CPU. Implemented by kernel/arch/x86_64 and, where a host
 * thread can stand for a CPU, by kernel/arch/hosted.
 *
 * Preemption model (design): kernel code leaves a CPU only in sleeps, at resched_point() and on
 * return to user mode; so a spin lock needs no preemption count, and cpu_id() is stable between
 * those points.
 */
#ifndef ARCH_CPU_H
#define ARCH_CPU_H

#include <lib/cpumask.h>
#include <lib/types.h>
/* cpu_impl.h gives, inline: cpu_relax(), ulong irq_save(), irq_restore(ulong), irq_enable(),
 * irq_disable(), bool irqs_enabled(), u64 cpu_cycles(). */
#include <arch/cpu_impl.h>

unsigned cpu_id(void);    /* 0 .. cpu_count()-1 */
unsigned cpu_count(void); /* CPUs that are on line; constant after boot */
cpumask_t cpu_online_mask(void);

/* IRQs must be off: waits for an interrupt without losing one that is already pending; returns with
 * IRQs off. */
void cpu_wait_for_irq(void);

/* Makes a CPU look at its run queue soon (IPI). Any context. */
void cpu_kick(unsigned cpu);

/* Runs fn(arg) on each CPU of mask, the caller's included, IRQs off there. Returns when all have
 * run it. The caller has IRQs on and holds no spin lock that is taken with IRQs off. fn may not
 * sleep. */
void cpu_call(cpumask_t mask, void (*fn)(void *), void *arg);

/* panic: prints the registers of a trap; stops every other CPU (each logs a backtrace first). */
struct regs;
void regs_print(const struct regs *r);
void regs_capture(
	struct regs *r); /* what the caller still has: those that calls preserve, ip and bp are the caller's */
void cpu_stop_others(void);

enum cpu_feature {
	CPU_SMEP,
	CPU_SMAP,
	CPU_NX,
	CPU_PCID,
	CPU_XSAVE,
	CPU_XSAVEOPT,
	CPU_RDRAND,
	CPU_FSGSBASE,
	CPU_TSC_DEADLINE,
	CPU_X2APIC,
	CPU_ERMS,
	CPU_HUGE_1G,
	CPU_SVM,
	CPU_AMD, /* the vendor */
	CPU_RDT_A,
	CPU_INVARIANT_TSC,
	CPU_RDTSCP,
	CPU_RDSEED,
	CPU_UMIP,
	CPU_HYPERVISOR,
	CPU_FEATURES
};
bool cpu_has(enum cpu_feature f);

struct strbuf;
void cpu_describe(unsigned cpu, struct strbuf *out); /* its entry of /proc/cpuinfo */
/* The processor's own leaks, and what is done about each: /sys/devices/system/cpu/vulnerabilities. Files by number,
 * NULL behind the last; the text of one, without a newline. */
const char *cpu_bug_file(unsigned i);
void cpu_bug_show(unsigned i, struct strbuf *out);
bool cpu_indirect_thunks(void); /* code made at run time may not branch by a register, either */

#endif
