/* SPDX-License-Identifier: MIT
 *
 * Problem: a debugger in the VMM stops the guest at each instruction, or at those that it has replaced by INT3.
 *
 * Idea: single steps are the processor's (the trap flag, hidden from the guest's registers as the VMM sees them); an
 * instruction that we emulate raises no trap, so the run ends after it by itself. INT3 comes as its exception, or,
 * under emulation, as any INT n: then the others are delivered from here.
 *
 *      #DB while stepping, or an instruction that we stepped over --> KVM_EXIT_DEBUG (1)
 *      INT3 while breakpoints are the VMM's                      --> KVM_EXIT_DEBUG (3), rip at the INT3
 *
 * Contract: KVM_SET_GUEST_DEBUG and KVM_EXIT_DEBUG of virt/kvm/api.rst, without breakpoints in the debug registers.
 * Source: AMD64 Architecture Programmer's Manual volume 2, 13.1 and 15.12.
 *
 * Locks: the CPU's own thread.
 */
#include <lib/err.h>
#include "kvm_priv.h"

#define FLAG_TF 0x100ULL
#define VEC_DB  1
#define VEC_BP  3
#define VEC_OF  4
#define DR6_BS  BIT(14)

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
}

int kvm_debug_set(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_guest_debug *k = buf;
	u32 inject = k->control & (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP);

	if (k->control & KVM_GUESTDBG_USE_HW_BP)
		return -EINVAL;
	if (inject && v->exception.pending)
		return -EBUSY;
	if (inject)
		kvm_throw(v, inject & KVM_GUESTDBG_INJECT_DB ? VEC_DB : VEC_BP, false, 0);
	if (inject & KVM_GUESTDBG_INJECT_BP)
		v->g.vmcb->rip++; /* the guest's own INT3 is behind it */
	if (kvm_is_stepping(v))
		v->g.vmcb->rflags &= ~FLAG_TF;
	v->debug = k->control & KVM_GUESTDBG_ENABLE ? k->control : 0;
	arm(v);
	return 0;
}

void kvm_debug_reset(struct kvm_vcpu *v)
{
	arm(v);
}

u64 kvm_debug_flags(const struct kvm_vcpu *v, u64 rflags, bool to_guest)
{
	if (!kvm_is_stepping(v))
		return rflags;
	return to_guest ? rflags | FLAG_TF : rflags & ~FLAG_TF;
}

int kvm_debug_exit(struct kvm_vcpu *v, u8 vector)
{
	const struct vmcb *c = v->g.vmcb;

	v->run->exit_reason = KVM_EXIT_DEBUG;
	v->run->debug.arch = (struct kvm_debug_exit_arch){ .exception = vector,
							   .pc = c->cs.base + c->rip,
							   .dr6 = c->dr6 | (vector == VEC_DB ? DR6_BS : 0),
							   .dr7 = c->dr7 };
	return 0;
}

/* 0: the VMM's; 1: the guest's. */
int kvm_debug_exception(struct kvm_vcpu *v, u8 vector)
{
	if (vector == VEC_DB && kvm_is_stepping(v))
		return kvm_debug_exit(v, vector);
	if (vector == VEC_BP && (v->debug & KVM_GUESTDBG_USE_SW_BP))
		return kvm_debug_exit(v, vector);
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
		return kvm_debug_exit(v, VEC_BP);
	} else if (at >= n || code[at] != 0xcc) {
		return 1; /* its page has gone: it is looked at again */
	}
	v->g.vmcb->rip += at + bytes;
	v->g.vmcb->event_inject = SVM_EVENT_VALID | SVM_EVENT_SOFT | vector;
	v->soft_rip = v->g.vmcb->rip;
	return 1;
}
