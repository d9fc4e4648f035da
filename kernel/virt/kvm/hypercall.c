/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest that knows it is one can ask its host for things that no processor does, and wants to know how long
 * others had its CPU.
 *
 * Idea: of KVM's hypercalls those that need no state: a CPU that waits for another yields to it. Stolen time is what
 * the runner's thread has waited for a real CPU; it is written to the guest's record when the thread goes on, and the
 * mark of preemption while it does not. A VMM may make the guest's CPUID binding for all of this.
 *
 *      running --to be preempted--> marked --runs again--> record: steal += waited, mark gone
 *
 * Contract: virt/kvm/x86/hypercalls.rst, msr.rst (MSR_KVM_STEAL_TIME), KVM_CAP_ENFORCE_PV_FEATURE_CPUID and
 * KVM_X86_QUIRK_FIX_HYPERCALL_INSN of api.rst.
 *
 * Locks: the CPU's own thread.
 */
#include <asm/kvm_para.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/kvm_para.h>
#include <task/sched.h>
#include <task/task.h>
#include "kvm_priv.h"
#include "trace.h"

#define STEAL_RESERVED    0x3eULL
#define INSTRUCTION_BYTES 3

bool kvm_pv_has(struct kvm_vcpu *v, unsigned feature)
{
	u32 r[4];

	if (likely(!v->enforce_pv))
		return true;
	kvm_cpuid(v, KVM_CPUID_FEATURES, 0, r);
	return r[0] & BIT(feature);
}

/* ---- calls ---- */

/* A CPU that is in the guest needs no time of ours. */
static void yield_to(struct kvm_vm *vm, u32 apic_id)
{
	unsigned nr = smp_load_acquire(&vm->nr_vcpus);

	for (unsigned i = 0; i < nr; i++)
		if (vm->vcpu[i]->apic.id == apic_id && READ_ONCE(vm->vcpu[i]->guest_cpu) < 0)
			sched_yield_cpu();
}

static u64 call(struct kvm_vcpu *v, u64 nr)
{
	if (v->g.vmcb->cpl)
		return (u64)-KVM_EPERM;
	if (nr == KVM_HC_VAPIC_POLL_IRQ)
		return 0;
	if (nr != KVM_HC_SCHED_YIELD || !kvm_pv_has(v, KVM_FEATURE_PV_SCHED_YIELD))
		return (u64)-KVM_ENOSYS;
	yield_to(v->vm, (u32)v->g.regs.rbx);
	return 0;
}

int kvm_hypercall(struct kvm_vcpu *v)
{
	v->stats[STAT_HYPERCALLS]++;
	if (trace_on(kvm_hypercall))
		kvm_trace_hypercall(v);
	v->g.vmcb->rax = call(v, v->g.vmcb->rax);
	kvm_skip(v, INSTRUCTION_BYTES);
	return 1;
}

bool kvm_fix_hypercall(struct kvm_vcpu *v)
{
	static const u8 theirs[INSTRUCTION_BYTES] = { 0x0f, 0x01, 0xc1 },
			ours[INSTRUCTION_BYTES] = { 0x0f, 0x01, 0xd9 };
	const struct vmcb *c = v->g.vmcb;
	u8 code[15];

	if ((v->vm->quirks_off & KVM_X86_QUIRK_FIX_HYPERCALL_INSN) || kvm_fetch(v, code) < sizeof(theirs) ||
	    memcmp(code, theirs, sizeof(theirs)))
		return false;
	return !kvm_write_linear(v, kvm_linear(v, &c->cs, false, c->rip), ours, sizeof(ours));
}

/* ---- stolen time ---- */

int kvm_steal_enable(struct kvm_vcpu *v, u64 value)
{
	if (value & STEAL_RESERVED)
		return -EINVAL;
	v->steal_msr = value;
	v->steal_seen_ns = current->run_delay_ns;
	v->steal_marked = false;
	return 0;
}

static u64 record(const struct kvm_vcpu *v)
{
	return v->steal_msr & ~(STEAL_RESERVED | KVM_MSR_ENABLED);
}

void kvm_steal_mark(struct kvm_vcpu *v)
{
	u8 preempted = KVM_VCPU_PREEMPTED;

	v->stats[STAT_PREEMPTED]++;
	v->steal_marked = !kvm_write(v->vm, record(v) + offsetof(struct kvm_steal_time, preempted), &preempted, 1);
}

void kvm_steal_update(struct kvm_vcpu *v)
{
	u64 now = current->run_delay_ns;
	struct kvm_steal_time t;

	if (kvm_read(v->vm, record(v), &t, sizeof(t))) {
		v->steal_msr = 0; /* the guest took its record away */
		return;
	}
	t.version = (t.version | 1) + 2;                                /* odd: being written */
	t.steal += now > v->steal_seen_ns ? now - v->steal_seen_ns : 0; /* another thread has its own count */
	t.preempted = 0;
	v->steal_seen_ns = now;
	v->steal_marked = false;
	if (kvm_write(v->vm, record(v), &t, sizeof(t)))
		return;
	t.version++;
	(void)!kvm_write(v->vm, record(v) + offsetof(struct kvm_steal_time, version), &t.version, sizeof(t.version));
}
