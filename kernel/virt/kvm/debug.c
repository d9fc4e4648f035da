/* SPDX-License-Identifier: MIT
 *
 * Problem: a debugger in the VMM stops the guest at each instruction, at those that it has replaced by INT3, or at
 * addresses in debug registers, which the guest has for itself, too.
 *
 * Idea: single steps are the processor's (the trap flag, hidden from the guest's registers as the VMM sees them); an
 * instruction that we emulate raises no trap, so the run ends after it by itself. INT3 comes as its exception, or,
 * under emulation, as any INT n: then the others are delivered from here. Every access to a debug register exits, so
 * the guest's own (v->dr) and those in force (the control block) may differ: the VMM's are in force while it wants it.
 *
 *      #DB while stepping, or an instruction that we stepped over --> KVM_EXIT_DEBUG (1)
 *      #DB while the VMM's debug registers are in force          --> KVM_EXIT_DEBUG (1), DR6 says which
 *      INT3 while breakpoints are the VMM's                      --> KVM_EXIT_DEBUG (3), rip at the INT3
 *
 * Contract: KVM_SET_GUEST_DEBUG and KVM_EXIT_DEBUG of virt/kvm/api.rst. The control block's DR6 holds what the exit
 * that just came has set, nothing older. Source: AMD64 Architecture Programmer's Manual volume 2, 13.1 and 15.12.
 *
 * Locks: the CPU's own thread.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "kvm_priv.h"

#define FLAG_TF 0x100ULL
#define VEC_DB  1
#define VEC_BP  3
#define VEC_OF  4
#define VEC_UD  6

#define DR6_CLEAR 0xffff0ff0ULL /* all its bits that say "nothing" */
#define DR6_TRAPS 0xfULL
#define DR6_BD    BIT(13)
#define DR6_BS    BIT(14)
#define DR7_GD    BIT(13)
#define DR7_FIXED 0x400ULL

/* ---- what is in force ---- */

void kvm_debug_load(struct kvm_vcpu *v)
{
	bool host = v->debug & KVM_GUESTDBG_USE_HW_BP;

	memcpy(v->g.dr, host ? v->dr_host.addr : v->dr.addr, sizeof(v->g.dr));
	v->g.vmcb->dr7 = ((host ? v->dr_host.control : v->dr.control) & 0xffff23ff) | DR7_FIXED;
	v->g.vmcb->dr6 = DR6_CLEAR;
}

static void arm(struct kvm_vcpu *v)
{
	struct vmcb *c = v->g.vmcb;

	c->intercept_exceptions &= ~(u32)BIT(VEC_BP);
	c->intercept[0] &= ~(u32)SVM_INTERCEPT_INTN;
	if (v->debug & KVM_GUESTDBG_USE_SW_BP) {
		c->intercept_exceptions |= BIT(VEC_BP);
		c->intercept[0] |= SVM_INTERCEPT_INTN;
	}
	if (kvm_is_stepping(v))
		c->rflags |= FLAG_TF;
	kvm_debug_load(v);
}

int kvm_debug_set(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_guest_debug *k = buf;
	u32 inject = k->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP);

	if (inject && v->exception.pending)
		return -EBUSY;
	if (inject)
		kvm_throw(v, inject & KVM_GUESTDBG_INJECT_DB ? VEC_DB : VEC_BP, false, 0);
	if (inject & KVM_GUESTDBG_INJECT_BP)
		v->g.vmcb->rip++; /* the guest's own INT3 is behind it */
	if (kvm_is_stepping(v))
		v->g.vmcb->rflags &= ~FLAG_TF;
	v->debug = k->control & KVM_GUESTDBG_ENABLE ? k->control : 0;
	memcpy(v->dr_host.addr, k->arch.debugreg, sizeof(v->dr_host.addr));
	v->dr_host.control = k->arch.debugreg[7];
	arm(v);
	return 0;
}

void kvm_debug_reset(struct kvm_vcpu *v)
{
	memset(&v->dr, 0, sizeof(v->dr));
	v->dr.status = DR6_CLEAR;
	v->dr.control = DR7_FIXED;
	arm(v);
}

u64 kvm_debug_flags(const struct kvm_vcpu *v, u64 rflags, bool to_guest)
{
	if (!kvm_is_stepping(v))
		return rflags;
	return to_guest ? rflags | FLAG_TF : rflags & ~FLAG_TF;
}

/* ---- stops ---- */

int kvm_debug_exit(struct kvm_vcpu *v, u8 vector, u64 status)
{
	const struct vmcb *c = v->g.vmcb;

	v->run->exit_reason = KVM_EXIT_DEBUG;
	v->run->debug.arch = (struct kvm_debug_exit_arch){
		.exception = vector, .pc = c->cs.base + c->rip, .dr6 = DR6_CLEAR | status, .dr7 = c->dr7
	};
	return 0;
}

int kvm_debug_step(struct kvm_vcpu *v)
{
	return kvm_debug_exit(v, VEC_DB, DR6_BS);
}

/* The guest's #DB: DR6 keeps what no handler has cleared, but for the traps; the general detection ends. */
static void throw_debug(struct kvm_vcpu *v, u64 status)
{
	v->dr.status = (v->dr.status & ~DR6_TRAPS) | DR6_CLEAR | status;
	v->dr.control &= ~DR7_GD;
	kvm_debug_load(v);
}

/* 0: the VMM's; 1: the guest's. */
int kvm_debug_exception(struct kvm_vcpu *v, u8 vector)
{
	u64 status = v->g.vmcb->dr6 & ~DR6_CLEAR;

	if (vector == VEC_BP && (v->debug & KVM_GUESTDBG_USE_SW_BP))
		return kvm_debug_exit(v, vector, 0);
	if (vector != VEC_DB)
		return 1;
	v->g.vmcb->dr6 = DR6_CLEAR;
	if (v->debug & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP))
		return kvm_debug_exit(v, vector, status);
	throw_debug(v, status);
	return 1;
}

/* ---- instructions ---- */

/* MOV to or from a debug register: 0F 21 /r, 0F 23 /r. DR4 and DR5 are DR6 and DR7. */
static void move(struct kvm_vcpu *v, bool write, unsigned dr, u64 *reg)
{
	u64 *place = dr < 4 ? &v->dr.addr[dr] : dr & 1 ? &v->dr.control : &v->dr.status;

	if (!write) {
		*reg = *place;
		return;
	}
	*place = dr < 4 ? *reg : dr & 1 ? (*reg & 0xffff23ff) | DR7_FIXED : (*reg & 0xe00f) | DR6_CLEAR;
	kvm_debug_load(v);
}

int kvm_debug_register(struct kvm_vcpu *v)
{
	struct vmcb *c = v->g.vmcb;
	struct svm_regs *r = &v->g.regs;
	u64 *regs[16] = { &c->rax, &r->rcx, &r->rdx, &r->rbx, &c->rsp, &r->rbp, &r->rsi, &r->rdi,
			  &r->r8,  &r->r9,  &r->r10, &r->r11, &r->r12, &r->r13, &r->r14, &r->r15 };
	u8 code[15];
	unsigned n = kvm_fetch(v, code), at = insn_prefixes(code, n, kvm_mode(v));
	bool far;

	if (c->dr7 & DR7_GD) {
		if (v->debug & KVM_GUESTDBG_USE_HW_BP)
			return kvm_debug_exit(v, VEC_DB, DR6_BD);
		throw_debug(v, DR6_BD);
		kvm_throw(v, VEC_DB, false, 0);
		return 1;
	}
	if (at + 3 > n || code[at] != 0x0f || (code[at + 1] & ~2) != 0x21) {
		kvm_throw(v, VEC_UD, false, 0);
		return 1;
	}
	far = at && kvm_mode(v) == X86_CODE_64 && (code[at - 1] & 0xf1) == 0x41;
	move(v, code[at + 1] == 0x23, code[at + 2] >> 3 & 7, regs[(code[at + 2] & 7) | (far ? 8 : 0)]);
	kvm_skip(v, 3);
	return 1;
}

/* INT3, INT n or INTO. The delivery pushes the address of the next instruction. */
int kvm_soft_interrupt(struct kvm_vcpu *v)
{
	u8 code[15], vector = VEC_BP;
	unsigned n = kvm_fetch(v, code), at = insn_prefixes(code, n, kvm_mode(v)), bytes = 1;

	if (at + 1 < n && code[at] == 0xcd) {
		vector = code[at + 1];
		bytes = 2;
	} else if (at < n && code[at] == 0xce) {
		vector = VEC_OF;
	} else if (at < n && code[at] == 0xcc && (v->debug & KVM_GUESTDBG_USE_SW_BP)) {
		return kvm_debug_exit(v, VEC_BP, 0);
	} else if (at >= n || code[at] != 0xcc) {
		return 1; /* its page has gone: it is looked at again */
	}
	v->g.vmcb->rip += at + bytes;
	v->g.vmcb->event_inject = SVM_EVENT_VALID | SVM_EVENT_SOFT | vector;
	v->soft_rip = v->g.vmcb->rip;
	return 1;
}
