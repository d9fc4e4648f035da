/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest ends each interrupt by a write to its local APIC. Where the processor does not keep that page for
 * the guest, the write is an exit: one of three that an interrupt costs.
 *
 * Idea: the guest names a word of its memory, of which the first byte counts. Where the end of the interrupt in service
 * would change nothing but that (it is edge-triggered, the only one in service, and none waits), we set bit 0 before an
 * entry; a guest that finds and clears it need not write to the APIC. After the run the bit tells whether it did. An
 * offer holds for one run: whoever has news ends the run, and what came meanwhile is looked at with the APIC's
 * registers as they are.
 *
 *      offer: bit := 1 --> run --> collect: bit still 1? := 0, in service as before : end of interrupt
 *
 * Contract: MSR_KVM_PV_EOI_EN and KVM_FEATURE_PV_EOI (virt/kvm/x86/msr.rst, cpuid.rst).
 *
 * Locks: none; all of it is the thread's that runs the CPU.
 */
#include <asm/kvm_para.h>
#include <lib/err.h>
#include "kvm_priv.h"
#include "trace.h"

#define RESERVED BIT(1)
#define SKIP     BIT(0)

int kvm_eoi_enable(struct kvm_vcpu *v, u64 value)
{
	u8 word;

	if ((value & RESERVED) || (value & KVM_MSR_ENABLED && !v->vm->has_apic) ||
	    (value & KVM_MSR_ENABLED && kvm_read(v->vm, value & ~3ULL, &word, sizeof(word))))
		return -EINVAL;
	v->eoi_msr = value;
	return 0;
}

/* The guest took its word away: it ends its interrupts itself. */
static bool write_word(struct kvm_vcpu *v, u8 word)
{
	bool good = !kvm_write(v->vm, v->eoi_msr & ~3ULL, &word, sizeof(word));

	if (!good)
		v->eoi_msr = 0;
	return good;
}

static void end(struct kvm_vcpu *v)
{
	int vector = lapic_in_service(&v->apic);

	if (trace_on(kvm_eoi))
		kvm_trace_eoi(&v->apic, vector);
	if (trace_on(kvm_pv_eoi))
		kvm_trace_pv_eoi(&v->apic, vector);
	lapic_end(&v->apic);
}

void kvm_eoi_offer(struct kvm_vcpu *v)
{
	v->eoi_offered = write_word(v, SKIP);
}

void kvm_eoi_collect(struct kvm_vcpu *v)
{
	u8 word;

	v->eoi_offered = false;
	if (kvm_read(v->vm, v->eoi_msr & ~3ULL, &word, sizeof(word)))
		v->eoi_msr = 0;
	else if (word & SKIP)
		(void)write_word(v, word & (u8)~SKIP);
	else
		end(v);
}
