/* SPDX-License-Identifier: MIT
 *
 * What the files of this part share. Sources: AMD64 Architecture Programmer's Manual volumes 2 and
 * 3, Intel SDM volume 3 (local APIC), PVH boot protocol (Xen's docs/misc/pvh), ACPI 6.4.
 */
#ifndef X86_PRIV_H
#define X86_PRIV_H

/* Where the image's physical address 0 is linked to be. In C, KERNEL_BASE is where it is: relocate.c may have moved the
 * image, and the symbol with it. In assembly only differences of linked addresses are meant. */
#define KERNEL_LINK_BASE 0xffffffff80000000
#ifdef __ASSEMBLER__
#define KERNEL_BASE KERNEL_LINK_BASE
#else
#define KERNEL_BASE ((ulong)kernel_base)
#endif
#define KASLR_IMAGE_MAX (64 << 20)         /* the image ends below this physical address */
#define USER_END_ASM    0x00007ffffffff000 /* USER_END, without a suffix that the assembler does not know */
#define VMEM_BASE       0xffffc90000000000
#define VMEM_END        0xffffe00000000000
#define PERCPU_BASE     0xffffe00000000000
#define PERCPU_UNIT     0x400000           /* address space of one CPU's copy */
#define PAGES_BASE      0xffffea0000000000 /* page descriptors (alloc/page.c) */

/* Selectors: the order that SYSRET wants, and Linux's values, which ptrace and signal frames show.
 */
#define SEL_KERNEL_CS 0x10
#define SEL_KERNEL_DS 0x18
#define SEL_USER_CS32 0x23
#define SEL_USER_DS   0x2b
#define SEL_USER_CS   0x33
#define SEL_TSS       0x40
#define SEL_CPU       0x7b /* limit = node << 12 | CPU number, for lsl */

#define TASK_WORK 128 /* offset of task->work, checked in thread.c */

#define MSR_APIC_BASE      0x1b
#define MSR_SPEC_CTRL      0x48
#define MSR_PRED_CMD       0x49
#define MSR_ARCH_CAPS      0x10a
#define MSR_TSC_DEADLINE   0x6e0
#define MSR_EFER           0xc0000080
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_CSTAR          0xc0000083
#define MSR_SYSCALL_MASK   0xc0000084
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_TSC_AUX        0xc0000103

#define EFER_SCE       (1 << 0)
#define EFER_LME       (1 << 8)
#define EFER_NXE       (1 << 11)
#define EFER_AUTO_IBRS (1 << 21)

#define CR0_PE (1 << 0)
#define CR0_MP (1 << 1)
#define CR0_EM (1 << 2)
#define CR0_TS (1 << 3)
#define CR0_NE (1 << 5)
#define CR0_WP (1 << 16)
#define CR0_AM (1 << 18)
#define CR0_PG (1 << 31)

#define CR4_PSE        (1 << 4)
#define CR4_PAE        (1 << 5)
#define CR4_PGE        (1 << 7)
#define CR4_OSFXSR     (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)
#define CR4_UMIP       (1 << 11)
#define CR4_OSXSAVE    (1 << 18)
#define CR4_SMEP       (1 << 20)
#define CR4_SMAP       (1 << 21)

#define FLAG_CF   0x1
#define FLAG_TF   0x100
#define FLAG_IF   0x200
#define FLAG_DF   0x400
#define FLAG_IOPL 0x3000
#define FLAG_NT   0x4000
#define FLAG_RF   0x10000
#define FLAG_AC   0x40000

/* Vectors. Device vectors come from irq.c. */
#define VEC_DEVICE_FIRST 0x30
#define VEC_DEVICE_LAST  0xef
#define VEC_TIMER        0xf0
#define VEC_KICK         0xf1
#define VEC_CALL         0xf2
#define VEC_COUNTERS     0xf3 /* a performance counter has overflowed */
#define VEC_SPURIOUS     0xff

/* Interrupt stacks: used whatever the stack pointer was. At the top of each lies the kernel's GS
 * base. */
#define IST_DF    1
#define IST_NMI   2
#define IST_MC    3
#define IST_DB    4
#define IST_BYTES 8192

#ifndef __ASSEMBLER__

#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/percpu.h>
#include <arch/thread.h>
#include <lib/types.h>

struct strbuf;

struct cpu_tss {
	u32 reserved0;
	u64 rsp[3];
	u64 reserved1;
	u64 ist[7]; /* IST n is ist[n-1] */
	u64 reserved2;
	u16 reserved3, iomap;
} __packed;

struct cpu_gdt {
	u64 entry[16];
};

/* What the CPU and the entry code touch before the kernel's tables are loaded: kernel.ld gives it a page. */
#define DEFINE_PER_CPU_ENTRY(type, name) __typeof__(type) name __section(".percpu.entry")

DECLARE_PER_CPU(ulong, kernel_stack_top);
DECLARE_PER_CPU(u32, lapic_id);

extern char kernel_base[], image_start[], text_start[], text_end[], rodata_end[], bss_start[], bss_end[], image_end[];
extern char percpu_start[], percpu_end[], percpu0_start[], bootbss_start[], bootbss_end[];
extern char trampoline_start[], trampoline_end[];
#define __bootbss __section(".bootbss")

static inline u64 msr_read(u32 msr)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (u64)hi << 32 | lo;
}
static inline void msr_write(u32 msr, u64 v)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
static inline void cpuid(u32 leaf, u32 sub, u32 out[4])
{
	__asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(sub));
}
#define CR_ACCESS_(n)                                                                                                  \
	static inline ulong cr##n##_read(void)                                                                         \
	{                                                                                                              \
		ulong v;                                                                                               \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory");                                         \
		return v;                                                                                              \
	}                                                                                                              \
	static inline void cr##n##_write(ulong v)                                                                      \
	{                                                                                                              \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory");                                             \
	}
CR_ACCESS_(0)
CR_ACCESS_(2)
CR_ACCESS_(3)
CR_ACCESS_(4)

/* boot.c */
void __noreturn x86_start(paddr_t start_info);
const char *boot_words(paddr_t start_info); /* before anything is copied */
extern paddr_t boot_rsdp;
/* mmu.c */
void mmu_init(void);                       /* the final kernel page tables, on the boot CPU */
paddr_t early_page(void);                  /* one zeroed page before alloc is up; panics when there is none */
void *early_map(paddr_t pa, size_t bytes); /* direct-map address of firmware memory, mapped if it was not */
extern paddr_t kernel_root;
int table_map(paddr_t root, ulong va, paddr_t pa, size_t bytes, u64 bits, bool large);
/* cpu.c */
void cpu_init_tables(unsigned cpu); /* GDT, TSS, IDT, MSRs of the calling CPU */
void cpu_detect(void);
void cpu_enable_features(void);
u32 cpu_own_apic_id(void);
u32 cpu_shown_number(void); /* this CPU's number, and its node's from bit 12 on */
void cpu_show_number(void); /* its own and its node's, where programs read them */
/* bugs.c */
void bugs_init(void);                   /* chooses the defences and patches the text, while it is writable */
void bugs_init_cpu(void);               /* each CPU */
void cpu_bugs_list(struct strbuf *out); /* their names, each behind a space */
/* kaslr.c */
ulong kaslr_choose(paddr_t start_info);
/* pti.c */
extern bool cpu_branch_barrier; /* MSR_PRED_CMD is to be written before another program runs */
extern bool pti_on;
void pti_init(void);            /* after mmu_init */
void pti_add_cpu(unsigned cpu); /* before it runs; its per-CPU memory and interrupt stacks are there */
void pti_fill_root(u64 *user);  /* the kernel's half of a user root */
/* percpu.c */
void percpu_init_boot(void);
int percpu_create(unsigned cpu); /* maps and fills another CPU's copy */
/* acpi.c */
struct acpi_facts {
	u32 lapic_base;
	unsigned nr_cpus;
	u32 apic_id[MAX_CPUS];
	u32 cpu_domain[MAX_CPUS]; /* proximity domains, where they are given: numa.c makes nodes of them */
	bool cpu_domain_given[MAX_CPUS];
	struct {
		u32 base, gsi_base;
		u8 id;
	} ioapic[8];
	unsigned nr_ioapics;
	struct {
		u32 gsi;
		u16 flags;
		bool given;
	} isa_irq[16];
	u16 pm_timer_port;
	u16 pm1a_control, pm1b_control;
	u8 s5_a, s5_b;
	bool has_s5;
	u8 reset_space, reset_value;
	u64 reset_address;
	u8 sleep_space; /* hardware-reduced ACPI: sleep control register */
	u64 sleep_control;
	bool present;
	paddr_t pcie_base;
	u8 pcie_first_bus, pcie_last_bus;
	paddr_t dmar_base;
	const u8 *dmar_scope;
	u32 dmar_scope_bytes;
	struct boot_range node_mem[32]; /* node: the domain */
	unsigned nr_node_mem;
	const u8 *slit; /* slit_domains squared */
	unsigned slit_domains;
};
extern struct acpi_facts acpi;
void acpi_init(void);
/* numa.c */
void numa_init(struct boot_info *info);         /* cuts its RAM at the nodes' borders */
void numa_cpu_added(unsigned cpu, u32 apic_id); /* before it runs */
/* user.c */
void user_enable_smap(void); /* while the text is writable */
/* tlb.c */
void tlb_switch(struct task *next);
/* trap.c, entry.S */
void trap_init_idt(void);
ulong trap_idt(void); /* its page */
extern char syscall_entry[], ret_to_user[], fork_return[];
void trap_dispatch(struct regs *r, ulong vector);
void user_return(struct regs *r);
void user_bad_ip(struct regs *r);
bool extable_fixup(struct regs *r);
/* apic.c */
void apic_init(void);
void apic_init_cpu(void);
void apic_eoi(void);
void apic_ipi(u32 apic, unsigned vector);
void apic_nmi(u32 apic);
void apic_start(u32 apic, unsigned page); /* INIT, SIPI, SIPI */
extern u32 cpu_apic_id[MAX_CPUS];
void apic_timer_arm(u64 ns_from_now);
extern bool apic_timer_deadline;
/* clock.c */
void clock_init(void);
void clock_delay_ns(u64 ns);
/* irq.c */
void irq_dispatch(struct regs *r, unsigned vector);
/* fpu.c */
void fpu_init(void);
void fpu_init_cpu(void);
int fpu_first_use(void); /* #NM of current. 0 or -ENOMEM */
void fpu_switch(struct task *prev, struct task *next);
/* thread.c */
ulong watch_take_hits(struct regs *r, ulong reason); /* DR6 with the kernel's own hits moved up */
/* smp.c */
void smp_handle_call(void);
void __noreturn x86_start_secondary(unsigned cpu);
bool smp_stopping(void);
void __noreturn smp_stop_self(const struct regs *r);
extern cpumask_t cpus_online;

#endif
#endif
