/* SPDX-License-Identifier: MIT
 *
 * Problem: the guest did something that the processor leaves to us.
 *
 * Idea: one handler an exit code, in a table. Most emulate one instruction and step over it; the processor (under
 * emulation) says neither its length nor its bytes, so the prefixes are read from the guest. An event whose delivery
 * was cut short by the exit is noted and delivered again.
 *
 * Contract: kvm_handle_exit of kvm_priv.h. What a guest may not do is answered as the processor without the feature
 * would: #UD or #GP. Source: AMD64 Architecture Programmer's Manual volume 2, 15.9 to 15.25, appendix C (exit codes).
 *
 * Locks: the CPU's own thread.
 */
#include <arch/cpu.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include "kvm_priv.h"
#include "trace.h"

#define VEC_DB      1
#define VEC_UD      6
#define VEC_GP      13
#define NPF_WRITE   BIT(1)
#define CPUID_MWAIT BIT(3)

typedef int (*exit_fn)(struct kvm_vcpu *v);

void kvm_throw(struct kvm_vcpu *v, u8 vector, bool has_code, u32 code)
{
	v->exception.pending = true;
	v->exception.vector = vector;
	v->exception.has_code = has_code;
	v->exception.code = code;
}

static int undefined(struct kvm_vcpu *v)
{
	kvm_throw(v, VEC_UD, false, 0);
	return 1;
}

static int protection(struct kvm_vcpu *v)
{
	kvm_throw(v, VEC_GP, true, 0);
	return 1;
}

void kvm_skip(struct kvm_vcpu *v, unsigned opcode_bytes)
{
	u8 code[15];
	unsigned n = kvm_fetch(v, code);

	v->g.vmcb->rip += insn_prefixes(code, n, kvm_mode(v)) + opcode_bytes;
	if (kvm_mode(v) != X86_CODE_64)
		v->g.vmcb->rip &= 0xffffffff;
	v->g.vmcb->interrupt_shadow = 0;
}

/* ---- instructions ---- */

static int on_cpuid(struct kvm_vcpu *v)
{
	u32 r[4], leaf = (u32)v->g.vmcb->rax, sub = (u32)v->g.regs.rcx;
	bool found = kvm_cpuid(v, leaf, sub, r);

	if (trace_on(kvm_cpuid))
		kvm_trace_cpuid(leaf, sub, r, found);
	v->g.vmcb->rax = r[0];
	v->g.regs.rbx = r[1];
	v->g.regs.rcx = r[2];
	v->g.regs.rdx = r[3];
	kvm_skip(v, 2);
	return 1;
}

int kvm_halt(struct kvm_vcpu *v)
{
	kvm_skip(v, 1);
	v->stats[STAT_HALT_EXITS]++;
	if (v->vm->has_apic) {
		v->mp_state = KVM_MP_STATE_HALTED;
		return 1;
	}
	v->run->exit_reason = KVM_EXIT_HLT;
	return 0;
}

/* XCR0: x87 always; AVX needs SSE; AVX-512's three go together; nothing that the host lacks. */
static int on_xsetbv(struct kvm_vcpu *v)
{
	u64 value = v->g.regs.rdx << 32 | (u32)v->g.vmcb->rax;

	if ((u32)v->g.regs.rcx || !(value & 1) || (value & ~arch_fpu_features()) || ((value & 4) && !(value & 2)) ||
	    ((value & 0xe0) && ((value & 0xe0) != 0xe0 || !(value & 4))) || v->g.vmcb->cpl)
		return protection(v);
	v->g.xcr0 = value;
	kvm_skip(v, 3);
	return 1;
}

static int on_nothing(struct kvm_vcpu *v) /* INVD, WBINVD: caches are coherent */
{
	kvm_skip(v, 2);
	return 1;
}

/* MONITOR and MWAIT do nothing, unless the VMM wants them to be there only if CPUID says so. */
static int on_mwait(struct kvm_vcpu *v)
{
	u32 r[4];

	kvm_cpuid(v, 1, 0, r);
	if ((v->vm->quirks_off & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS) && !(r[2] & CPUID_MWAIT))
		return undefined(v);
	kvm_skip(v, 3);
	return 1;
}

/* ---- events ---- */

static int on_interrupt(struct kvm_vcpu *v)
{
	v->stats[STAT_IRQ_EXITS]++;
	return 1; /* the host's; taken when IRQs came on */
}

static int on_window(struct kvm_vcpu *v)
{
	v->stats[STAT_WINDOW_EXITS]++;
	v->g.vmcb->virtual_irq &= ~SVM_VIRQ_PENDING;
	v->g.vmcb->intercept[0] &= ~(u32)SVM_INTERCEPT_VINTR;
	return 1;
}

static int on_iret(struct kvm_vcpu *v)
{
	v->nmi_masked = false;
	v->g.vmcb->intercept[0] &= ~(u32)SVM_INTERCEPT_IRET;
	return 1;
}

static int on_shutdown(struct kvm_vcpu *v)
{
	v->run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

/* #DB and #AC are caught so that a guest cannot hold the CPU in endless delivery, #UD for hypercalls; it gets them all
 * the same. */
static int on_exception(struct kvm_vcpu *v)
{
	u8 vector = (u8)(v->g.vmcb->exit_code - SVM_EXIT_EXCEPTION);

	if ((v->debug || vector == VEC_DB) && !kvm_debug_exception(v, vector))
		return 0;
	if (vector == VEC_UD && kvm_fix_hypercall(v))
		return 1;
	kvm_throw(v, vector, vector == 17, (u32)v->g.vmcb->exit_info1);
	return 1;
}

static int on_page_fault(struct kvm_vcpu *v)
{
	u64 gpa = v->g.vmcb->exit_info2;
	bool write = v->g.vmcb->exit_info1 & NPF_WRITE;
	int err;

	v->stats[STAT_PAGE_FAULTS]++;
	if (trace_on(kvm_page_fault))
		kvm_trace_page_fault(v);
	err = kvm_map(v->vm, gpa, write);
	if (err == 1)
		return kvm_mmio(v, gpa, write);
	return err ? err : 1;
}

static const struct {
	u16 code;
	exit_fn fn;
} handlers[] = {
	{ SVM_EXIT_NPF, on_page_fault }, { SVM_EXIT_IOIO, kvm_port_exit },      { SVM_EXIT_INTR, on_interrupt },
	{ SVM_EXIT_HLT, kvm_halt },      { SVM_EXIT_VINTR, on_window },         { SVM_EXIT_MSR, kvm_msr_exit },
	{ SVM_EXIT_CPUID, on_cpuid },    { SVM_EXIT_NMI, on_interrupt },        { SVM_EXIT_INIT, on_interrupt },
	{ SVM_EXIT_IRET, on_iret },      { SVM_EXIT_XSETBV, on_xsetbv },        { SVM_EXIT_WBINVD, on_nothing },
	{ SVM_EXIT_INVD, on_nothing },   { SVM_EXIT_VMMCALL, kvm_hypercall },   { SVM_EXIT_SHUTDOWN, on_shutdown },
	{ SVM_EXIT_RDPMC, protection },  { SVM_EXIT_INVLPGA, undefined },       { SVM_EXIT_MONITOR, on_mwait },
	{ SVM_EXIT_MWAIT, on_mwait },    { SVM_EXIT_INTN, kvm_soft_interrupt },
};

static int unknown(struct kvm_vcpu *v)
{
	v->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	v->run->internal.suberror = KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
	v->run->internal.ndata = 1;
	v->run->internal.data[0] = v->g.vmcb->exit_code;
	return 0;
}

/* What was being delivered when the exit came is delivered again. */
static void note_interrupted_event(struct kvm_vcpu *v)
{
	u64 info = v->g.vmcb->exit_int_info;

	v->g.vmcb->event_inject = 0;
	if (!(info & SVM_EVENT_VALID))
		return;
	if ((info & SVM_EVENT_TYPE) == SVM_EVENT_SOFT && v->g.vmcb->rip != v->soft_rip)
		return; /* INT n runs again by itself, but for one that was delivered from here */
	v->g.vmcb->event_inject = info;
}

static int dispatch(struct kvm_vcpu *v)
{
	u64 code = v->g.vmcb->exit_code;

	if ((u32)code == ~0U) { /* the control block was refused */
		v->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
		v->run->fail_entry.hardware_entry_failure_reason = code;
		v->run->fail_entry.cpu = cpu_id();
		return 0;
	}
	note_interrupted_event(v);
	for (unsigned i = 0; i < ARRAY_SIZE(handlers); i++)
		if (handlers[i].code == code)
			return handlers[i].fn(v);
	if (code >= SVM_EXIT_DR_READ && code < SVM_EXIT_EXCEPTION)
		return kvm_debug_register(v);
	if (code >= SVM_EXIT_EXCEPTION && code < SVM_EXIT_INTR)
		return on_exception(v);
	return code >= SVM_EXIT_VMRUN && code <= SVM_EXIT_SKINIT ? undefined(v) : unknown(v);
}

/* An instruction that was done here raised no trap. */
int kvm_handle_exit(struct kvm_vcpu *v)
{
	u64 rip = v->g.vmcb->rip;
	int ret = dispatch(v);

	if (unlikely(kvm_is_stepping(v)) && ret == 1 && v->g.vmcb->rip != rip)
		return kvm_debug_step(v);
	return ret;
}
