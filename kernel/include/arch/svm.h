/* SPDX-License-Identifier: MIT
 *
 * The processor's virtual machine extensions, AMD SVM: the control block and the one way into a guest.
 * Source: AMD64 Architecture Programmer's Manual volume 2, chapter 15 and appendix B (layout of the VMCB).
 *
 * Threading: svm_enable once, from a task that may sleep. svm_run with IRQs off; a VMCB runs on one CPU at a time. A
 * host interrupt ends the guest's run with SVM_EXIT_INTR and is delivered when the caller enables IRQs again.
 */
#ifndef ARCH_SVM_H
#define ARCH_SVM_H

#include <lib/types.h>

struct svm_segment {
	u16 selector, attributes; /* type 0-3, S 4, DPL 5-6, P 7, AVL 8, L 9, D/B 10, G 11 */
	u32 limit;
	u64 base;
};

struct vmcb {
	/* control area */
	u16 intercept_cr_read, intercept_cr_write, intercept_dr_read, intercept_dr_write;
	u32 intercept_exceptions;
	u32 intercept[3]; /* SVM_INTERCEPT_* by word */
	u8 reserved0[0x3c - 0x18];
	u16 pause_threshold, pause_count;
	u64 iopm_base, msrpm_base, tsc_offset;
	u32 asid;
	u8 tlb_control, reserved1[3];
	u64 virtual_irq; /* SVM_VIRQ_* */
	u64 interrupt_shadow;
	u64 exit_code, exit_info1, exit_info2;
	u64 exit_int_info; /* an event whose delivery the exit cut short; SVM_EVENT_* */
	u64 nested_paging; /* bit 0 */
	u64 reserved2[2];
	u64 event_inject;
	u64 nested_cr3;
	u64 lbr_control;
	u32 clean, reserved3;
	u64 next_rip; /* only where CPUID reports NRIP save */
	u8 insn_length, insn[15];
	u8 reserved4[0x400 - 0xe0];
	/* save area */
	struct svm_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved5[0x4cb - 0x4a0];
	u8 cpl;
	u32 reserved6;
	u64 efer;
	u8 reserved7[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 reserved8[0x5d8 - 0x580];
	u64 rsp;
	u8 reserved9[0x5f8 - 0x5e0];
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base, sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	u8 reserved10[0x668 - 0x648];
	u64 pat, dbgctl;
	u8 reserved11[0x1000 - 0x678];
};
_Static_assert(offsetof(struct vmcb, iopm_base) == 0x40 && offsetof(struct vmcb, exit_code) == 0x70, "control area");
_Static_assert(offsetof(struct vmcb, event_inject) == 0xa8 && offsetof(struct vmcb, insn_length) == 0xd0,
	       "control area");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0 && offsetof(struct vmcb, rip) == 0x578, "save area");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8 && offsetof(struct vmcb, cr2) == 0x640, "save area");
_Static_assert(sizeof(struct vmcb) == 4096, "one page");

#define SVM_INTERCEPT_INTR     BIT(0) /* word 0 */
#define SVM_INTERCEPT_NMI      BIT(1)
#define SVM_INTERCEPT_SMI      BIT(2)
#define SVM_INTERCEPT_INIT     BIT(3)
#define SVM_INTERCEPT_VINTR    BIT(4)
#define SVM_INTERCEPT_RDPMC    BIT(15)
#define SVM_INTERCEPT_CPUID    BIT(18)
#define SVM_INTERCEPT_IRET     BIT(20)
#define SVM_INTERCEPT_INTN     BIT(21)
#define SVM_INTERCEPT_INVD     BIT(22)
#define SVM_INTERCEPT_HLT      BIT(24)
#define SVM_INTERCEPT_INVLPGA  BIT(26)
#define SVM_INTERCEPT_IOIO     BIT(27)
#define SVM_INTERCEPT_MSR      BIT(28)
#define SVM_INTERCEPT_TASK     BIT(29)
#define SVM_INTERCEPT_SHUTDOWN BIT(31)
#define SVM_INTERCEPT_VMRUN    BIT(0) /* word 1 */
#define SVM_INTERCEPT_VMMCALL  BIT(1)
#define SVM_INTERCEPT_VMLOAD   BIT(2)
#define SVM_INTERCEPT_VMSAVE   BIT(3)
#define SVM_INTERCEPT_STGI     BIT(4)
#define SVM_INTERCEPT_CLGI     BIT(5)
#define SVM_INTERCEPT_SKINIT   BIT(6)
#define SVM_INTERCEPT_WBINVD   BIT(9)
#define SVM_INTERCEPT_MONITOR  BIT(10)
#define SVM_INTERCEPT_MWAIT    BIT(11)
#define SVM_INTERCEPT_XSETBV   BIT(13)

#define SVM_VIRQ_TPR        0xffULL
#define SVM_VIRQ_PENDING    BIT(8)
#define SVM_VIRQ_PRIO_SHIFT 16
#define SVM_VIRQ_IGNORE_TPR BIT(20)
#define SVM_VIRQ_MASKING    BIT(24)

#define SVM_EVENT_VECTOR   0xffULL
#define SVM_EVENT_TYPE     0x700ULL
#define SVM_EVENT_INTR     (0ULL << 8)
#define SVM_EVENT_NMI      (2ULL << 8)
#define SVM_EVENT_EXCEPT   (3ULL << 8)
#define SVM_EVENT_SOFT     (4ULL << 8)
#define SVM_EVENT_HAS_CODE BIT(11)
#define SVM_EVENT_VALID    BIT(31)

enum svm_exit {
	SVM_EXIT_DR_READ = 0x20,
	SVM_EXIT_DR_WRITE = 0x30,
	SVM_EXIT_EXCEPTION = 0x40,
	SVM_EXIT_INTR = 0x60,
	SVM_EXIT_NMI = 0x61,
	SVM_EXIT_INIT = 0x63,
	SVM_EXIT_VINTR = 0x64,
	SVM_EXIT_RDPMC = 0x6f,
	SVM_EXIT_CPUID = 0x72,
	SVM_EXIT_IRET = 0x74,
	SVM_EXIT_INTN = 0x75,
	SVM_EXIT_INVD = 0x76,
	SVM_EXIT_HLT = 0x78,
	SVM_EXIT_INVLPGA = 0x7a,
	SVM_EXIT_IOIO = 0x7b,
	SVM_EXIT_MSR = 0x7c,
	SVM_EXIT_TASK_SWITCH = 0x7d,
	SVM_EXIT_SHUTDOWN = 0x7f,
	SVM_EXIT_VMRUN = 0x80,
	SVM_EXIT_VMMCALL = 0x81,
	SVM_EXIT_SKINIT = 0x86,
	SVM_EXIT_WBINVD = 0x89,
	SVM_EXIT_MONITOR = 0x8a,
	SVM_EXIT_MWAIT = 0x8b,
	SVM_EXIT_XSETBV = 0x8d,
	SVM_EXIT_NPF = 0x400,
};

#define SVM_IOPM_BYTES  (3 * PAGE_SIZE)
#define SVM_MSRPM_BYTES (2 * PAGE_SIZE)

/* The registers that VMRUN leaves to software; the rest is in the VMCB. Order known to svm_enter.S. */
struct svm_regs {
	u64 rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
};

struct svm_guest {
	struct svm_regs regs;
	struct vmcb *vmcb;
	u64 vmcb_phys;
	u64 xcr0;
	u64 tsc_aux;
	u64 dr[4]; /* loaded while the guest has breakpoints armed (vmcb->dr7) */
};

/* Turns SVM on, on every CPU. -ENODEV: the processor has none, or no nested paging; -ENOMEM. */
int __must_check svm_enable(void);
u32 svm_asids(void); /* address space numbers, 0 being the host's */
/* Enters the guest until its next exit. */
void svm_run(struct svm_guest *g);

/* The vector registers of current while it runs a guest: *area (from arch_fpu_alloc) becomes current's, and what was
 * current's goes to *area. Call it twice. -ENOMEM: current had none yet. */
void *__must_check arch_fpu_alloc(void); /* reset state; NULL: no memory */
void arch_fpu_free_area(void *area);
int __must_check arch_fpu_swap(void **area);
/* Fills an area from an image in the standard XSAVE layout (512 bytes: the legacy part only). -EINVAL: not valid; the
 * area is as it was. */
int __must_check arch_fpu_area_set(void *area, const void *image, size_t bytes);

#endif
