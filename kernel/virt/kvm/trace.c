/* SPDX-License-Identifier: MIT
 *
 * Problem: perf kvm, trace-cmd and the like explain a guest's exits from Linux's events/kvm.
 *
 * Idea: a function an event that fills its record; the places that call them are patched-out branches until somebody
 * listens, so nothing here is on a path that costs.
 *
 * Contract: trace.h. Meaning of the fields as in events/kvm of Linux 6.1: exit codes are SVM's (isa 2), the delivery
 * mode stands in bits 8 to 10 as in an interrupt command.
 *
 * Locks: none.
 */
#include "trace.h"
#include <core/clock.h>
#include <lib/string.h>

#define ISA_SVM 2

void kvm_trace_entry(const struct kvm_vcpu *v)
{
	struct trace_kvm_entry r = { .vcpu_id = v->id, .rip = v->g.vmcb->rip };

	trace_emit(TRACE_kvm_entry, &r, sizeof(r));
}

void kvm_trace_exit(const struct kvm_vcpu *v)
{
	const struct vmcb *b = v->g.vmcb;
	struct trace_kvm_exit r = { .exit_reason = (u32)b->exit_code,
				    .guest_rip = b->rip,
				    .isa = ISA_SVM,
				    .info1 = b->exit_info1,
				    .info2 = b->exit_info2,
				    .intr_info = (u32)b->exit_int_info,
				    .error_code = (u32)(b->exit_int_info >> 32),
				    .vcpu_id = v->id };

	trace_emit(TRACE_kvm_exit, &r, sizeof(r));
}

void kvm_trace_return(const struct kvm_vcpu *v, int err)
{
	struct trace_kvm_userspace_exit r = { .reason = v->run->exit_reason, .errno_ = err };

	trace_emit(TRACE_kvm_userspace_exit, &r, sizeof(r));
}

void kvm_trace_fpu(bool guest)
{
	struct trace_kvm_fpu r = { .load = guest };

	trace_emit(TRACE_kvm_fpu, &r, sizeof(r));
}

void kvm_trace_wakeup(u64 since_ns)
{
	struct trace_kvm_vcpu_wakeup r = { .ns = clock_ns() - since_ns, .waited = true, .valid = true };

	trace_emit(TRACE_kvm_vcpu_wakeup, &r, sizeof(r));
}

void kvm_trace_pio(bool out, u16 port, u8 bytes, u32 count, const void *data)
{
	struct trace_kvm_pio r = { .rw = out, .port = port, .size = bytes, .count = count };

	memcpy(&r.val, data, min((size_t)bytes, sizeof(r.val)));
	trace_emit(TRACE_kvm_pio, &r, sizeof(r));
}

void kvm_trace_mmio(enum kvm_trace_mmio what, unsigned bytes, u64 gpa, u64 value)
{
	struct trace_kvm_mmio r = { .type = what, .len = bytes, .gpa = gpa, .val = value };

	trace_emit(TRACE_kvm_mmio, &r, sizeof(r));
}

void kvm_trace_msr(bool write, u32 msr, u64 value, bool refused)
{
	struct trace_kvm_msr r = { .write = write, .ecx = msr, .data = value, .exception = refused };

	trace_emit(TRACE_kvm_msr, &r, sizeof(r));
}

void kvm_trace_cpuid(u32 leaf, u32 sub, const u32 reg[4], bool found)
{
	struct trace_kvm_cpuid r = { .function = leaf,
				     .index = sub,
				     .rax = reg[0],
				     .rbx = reg[1],
				     .rcx = reg[2],
				     .rdx = reg[3],
				     .found = found };

	trace_emit(TRACE_kvm_cpuid, &r, sizeof(r));
}

void kvm_trace_hypercall(const struct kvm_vcpu *v)
{
	const struct svm_regs *g = &v->g.regs;
	struct trace_kvm_hypercall r = { .nr = v->g.vmcb->rax, .a0 = g->rbx, .a1 = g->rcx, .a2 = g->rdx, .a3 = g->rsi };

	trace_emit(TRACE_kvm_hypercall, &r, sizeof(r));
}

void kvm_trace_page_fault(const struct kvm_vcpu *v)
{
	const struct vmcb *b = v->g.vmcb;
	struct trace_kvm_page_fault r = {
		.vcpu_id = v->id, .guest_rip = b->rip, .fault_address = b->exit_info2, .error_code = b->exit_info1
	};

	trace_emit(TRACE_kvm_page_fault, &r, sizeof(r));
}

void kvm_trace_virq(u8 vector, bool soft)
{
	struct trace_kvm_inj_virq r = { .vector = vector, .soft = soft };

	trace_emit(TRACE_kvm_inj_virq, &r, sizeof(r));
}

void kvm_trace_exception(u8 vector, bool has_code, u32 code)
{
	struct trace_kvm_inj_exception r = { .exception = vector, .has_error = has_code, .error_code = code };

	trace_emit(TRACE_kvm_inj_exception, &r, sizeof(r));
}

void kvm_trace_accept(const struct lapic *l, const struct lapic_message *m)
{
	struct trace_kvm_apic_accept_irq r = {
		.apicid = l->id, .dm = (u16)(m->mode << 8), .tm = m->level, .vec = m->vector
	};

	trace_emit(TRACE_kvm_apic_accept_irq, &r, sizeof(r));
}

void kvm_trace_eoi(const struct lapic *l, int vector)
{
	struct trace_kvm_eoi r = { .apicid = l->id, .vector = vector };

	trace_emit(TRACE_kvm_eoi, &r, sizeof(r));
}

void kvm_trace_pv_eoi(const struct lapic *l, int vector)
{
	struct trace_kvm_pv_eoi r = { .apicid = l->id, .vector = vector };

	trace_emit(TRACE_kvm_pv_eoi, &r, sizeof(r));
}

void kvm_trace_msi(u64 address, u32 data)
{
	struct trace_kvm_msi_set_irq r = { .address = address, .data = data };

	trace_emit(TRACE_kvm_msi_set_irq, &r, sizeof(r));
}

void kvm_trace_set_irq(u32 gsi, bool high)
{
	struct trace_kvm_set_irq r = { .gsi = gsi, .level = high };

	trace_emit(TRACE_kvm_set_irq, &r, sizeof(r));
}
