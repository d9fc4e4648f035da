/* SPDX-License-Identifier: MIT
 *
 * Problem: before a CPU can take an interrupt or a system call it needs descriptor tables,
 * interrupt stacks and a dozen control registers, the same on each CPU; and the kernel must know
 * what the CPU can do.
 *
 * Idea: one GDT, TSS and set of interrupt stacks a CPU, in its per-CPU area; one IDT for all. CPUID
 * is read once on the boot CPU into a bit set; every CPU then enables the same bits.
 *
 * Contract: cpu_init_tables first (no allocation: the stacks of CPU n > 0 are made by
 * cpu_create_stacks before it starts), cpu_enable_features second. Source: AMD64 manual volume 2,
 * chapters 4 (segmentation) and 8 (exceptions).
 *
 * Locks: none; each CPU writes its own.
 */
#include <alloc/page.h>
#include <arch/cpu.h>
#include <arch/numa.h>
#include <lib/string.h>
#include "cpu_priv.h"
#include "x86_priv.h"

#define ENTRY_STACK_WORDS 64 /* one exception's frame, and what moves it */

static DEFINE_PER_CPU_ENTRY(struct cpu_tss, tss);
static DEFINE_PER_CPU_ENTRY(struct cpu_gdt, gdt);
static DEFINE_PER_CPU_ENTRY(ulong, entry_stack[ENTRY_STACK_WORDS]) __aligned(16);
DEFINE_PER_CPU_ENTRY(ulong, entry_stack_top);
DEFINE_PER_CPU_ENTRY(ulong, user_stack_scratch);
static DEFINE_PER_CPU(ulong, ist_top[4]);
DEFINE_PER_CPU(ulong, kernel_stack_top);

static char boot_ist[4][IST_BYTES] __aligned(4096);
static u64 features;
static unsigned vendor_family;

struct table_pointer {
	u16 limit;
	u64 base;
} __packed;

bool cpu_has(enum cpu_feature f)
{
	return features >> f & 1;
}

static void set_if(u32 reg, unsigned bit, enum cpu_feature f)
{
	if (reg >> bit & 1)
		features |= BIT(f);
}

void cpu_detect(void)
{
	u32 r[4], max, maxext;

	cpuid(0, 0, r);
	max = r[0];
	set_if(r[1] == 0x68747541, 0, CPU_AMD); /* "Auth" of AuthenticAMD */
	cpuid(1, 0, r);
	vendor_family = r[0];
	set_if(r[2], 17, CPU_PCID);
	set_if(r[2], 21, CPU_X2APIC);
	set_if(r[2], 24, CPU_TSC_DEADLINE);
	set_if(r[2], 26, CPU_XSAVE);
	set_if(r[2], 30, CPU_RDRAND);
	set_if(r[2], 31, CPU_HYPERVISOR);
	if (max >= 7) {
		cpuid(7, 0, r);
		set_if(r[1], 0, CPU_FSGSBASE);
		set_if(r[1], 7, CPU_SMEP);
		set_if(r[1], 9, CPU_ERMS);
		set_if(r[1], 15, CPU_RDT_A);
		set_if(r[1], 18, CPU_RDSEED);
		set_if(r[1], 20, CPU_SMAP);
		set_if(r[2], 2, CPU_UMIP);
	}
	if (max >= 13) {
		cpuid(13, 1, r);
		set_if(r[0], 0, CPU_XSAVEOPT);
	}
	cpuid(0x80000000, 0, r);
	maxext = r[0];
	cpuid(0x80000001, 0, r);
	set_if(r[2], 2, CPU_SVM);
	set_if(r[3], 20, CPU_NX);
	set_if(r[3], 26, CPU_HUGE_1G);
	set_if(r[3], 27, CPU_RDTSCP);
	if (maxext >= 0x80000007) {
		cpuid(0x80000007, 0, r);
		set_if(r[3], 8, CPU_INVARIANT_TSC);
	}
}

void cpu_enable_features(void)
{
	ulong cr4 = cr4_read() | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpu_has(CPU_SMEP))
		cr4 |= CR4_SMEP;
	if (cpu_has(CPU_SMAP))
		cr4 |= CR4_SMAP;
	if (cpu_has(CPU_UMIP))
		cr4 |= CR4_UMIP;
	if (cpu_has(CPU_XSAVE))
		cr4 |= CR4_OSXSAVE;
	if (pti_on)
		cr4 &= ~(ulong)CR4_PGE; /* no entry of the kernel's may outlive the change of tables */
	cr4_write(cr4);
	cr0_write((cr0_read() & ~(ulong)CR0_EM) | CR0_MP | CR0_NE | CR0_WP);
}

static void build_gdt(struct cpu_gdt *g, struct cpu_tss *t)
{
	u64 base = (u64)t;

	memset(g, 0, sizeof(*g));
	g->entry[SEL_KERNEL_CS / 8] = 0x00af9b000000ffffULL;
	g->entry[SEL_KERNEL_DS / 8] = 0x00cf93000000ffffULL;
	g->entry[SEL_USER_CS32 / 8] = 0x00cffb000000ffffULL;
	g->entry[SEL_USER_DS / 8] = 0x00cff3000000ffffULL;
	g->entry[SEL_USER_CS / 8] = 0x00affb000000ffffULL;
	g->entry[SEL_TSS / 8] = (sizeof(*t) - 1) | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
	g->entry[SEL_TSS / 8 + 1] = base >> 32;
}

u32 cpu_shown_number(void)
{
	return cpu_id() | (u32)node_of_cpu(cpu_id()) << 12;
}

/* Both ways of getcpu(2) without a call: RDTSCP's second result, and the limit of a descriptor for LSL. */
void cpu_show_number(void)
{
	u64 number = cpu_shown_number();

	this_cpu_ptr(&gdt)->entry[SEL_CPU / 8] = 0x0040f50000000000ULL | (number & 0xffff) | (number >> 16) << 48;
	if (cpu_has(CPU_RDTSCP))
		msr_write(MSR_TSC_AUX, number);
}

u32 cpu_own_apic_id(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	return r[1] >> 24;
}

int cpu_create_stacks(unsigned cpu)
{
	ulong *tops = (ulong *)per_cpu_ptr(&ist_top, cpu);

	for (int i = 0; i < 4; i++) {
		struct page *p = page_alloc(1, 0, NULL);

		if (!p)
			return -1;
		tops[i] = (ulong)page_virt(p) + IST_BYTES;
	}
	return 0;
}

ulong cpu_interrupt_stack(unsigned cpu, unsigned i)
{
	ulong *tops = (ulong *)per_cpu_ptr(&ist_top, cpu);

	return i < 4 ? tops[i] - IST_BYTES : 0;
}

void cpu_init_tables(unsigned cpu)
{
	struct cpu_tss *t = this_cpu_ptr(&tss);
	struct cpu_gdt *g = this_cpu_ptr(&gdt);
	ulong *tops = (ulong *)this_cpu_ptr(&ist_top);
	struct table_pointer gdtr = { sizeof(*g) - 1, (u64)g };

	memset(t, 0, sizeof(*t));
	t->iomap = sizeof(*t);
	this_cpu_write(entry_stack_top, (ulong)this_cpu_ptr(&entry_stack) + sizeof(ulong[ENTRY_STACK_WORDS]));
	t->rsp[0] = this_cpu_read(entry_stack_top); /* with isolation it stays, else each switch sets it */
	for (int i = 0; i < 4; i++) {
		if (cpu == 0)
			tops[i] = (ulong)boot_ist[i] + IST_BYTES;
		t->ist[i] = tops[i] - 16;
		*(ulong *)t->ist[i] = percpu_offset[cpu]; /* read by the paranoid entry */
	}
	build_gdt(g, t);
	__asm__ volatile("lgdt %0\n"
			 "pushq %1\n"
			 "leaq 1f(%%rip), %%rax\n"
			 "pushq %%rax\n"
			 "lretq\n"
			 "1: movl %2, %%ss\n"
			 "movl %2, %%ds\n"
			 "movl %2, %%es\n"
			 "ltr %3"
			 :
			 : "m"(gdtr), "i"(SEL_KERNEL_CS), "r"(SEL_KERNEL_DS), "r"((u16)SEL_TSS)
			 : "rax", "memory");
	trap_init_idt();
	msr_write(MSR_GS_BASE, percpu_offset[cpu]);
	msr_write(MSR_KERNEL_GS_BASE, 0);
	msr_write(MSR_STAR, (u64)(SEL_USER_CS32) << 48 | (u64)SEL_KERNEL_CS << 32);
	msr_write(MSR_LSTAR, (u64)(pti_on ? syscall_entry_pti : syscall_entry));
	msr_write(MSR_CSTAR, (u64)syscall_entry_compat);
	msr_write(MSR_SYSCALL_MASK, FLAG_TF | FLAG_IF | FLAG_DF | FLAG_AC | FLAG_NT | FLAG_IOPL | FLAG_RF | 0x8d5);
}

/* The stack on which this CPU enters the kernel from user mode. */
void cpu_set_kernel_stack(ulong top)
{
	this_cpu_write(kernel_stack_top, top);
	if (likely(!pti_on))
		this_cpu_ptr(&tss)->rsp[0] = top;
}
