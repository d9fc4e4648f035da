/* SPDX-License-Identifier: MIT
 *
 * Tracepoints kvm:* (kernel/abi/tracepoints.tbl). Each is called behind its own `if (trace_on(kvm_NAME))`. Any context.
 */
#ifndef KVM_TRACE_H
#define KVM_TRACE_H

#include <core/trace.h>
#include "kvm_priv.h"

enum kvm_trace_mmio { KVM_MMIO_ASKED, KVM_MMIO_READ, KVM_MMIO_WRITTEN };

void kvm_trace_entry(const struct kvm_vcpu *v);
void kvm_trace_exit(const struct kvm_vcpu *v);
void kvm_trace_return(const struct kvm_vcpu *v, int err); /* to the VMM */
void kvm_trace_fpu(bool guest);                           /* whose vector registers are loaded now */
void kvm_trace_wakeup(u64 since_ns);                      /* from a halt that began then */
/* data: count values of so many bytes, of which the first is told. */
void kvm_trace_pio(bool out, u16 port, u8 bytes, u32 count, const void *data);
void kvm_trace_mmio(enum kvm_trace_mmio what, unsigned bytes, u64 gpa, u64 value);
void kvm_trace_msr(bool write, u32 msr, u64 value, bool refused);
void kvm_trace_cpuid(u32 leaf, u32 sub, const u32 r[4], bool found);
void kvm_trace_hypercall(const struct kvm_vcpu *v);
void kvm_trace_page_fault(const struct kvm_vcpu *v);
void kvm_trace_virq(u8 vector, bool soft);
void kvm_trace_exception(u8 vector, bool has_code, u32 code);
void kvm_trace_accept(const struct lapic *l, const struct lapic_message *m);
void kvm_trace_eoi(const struct lapic *l, int vector);
void kvm_trace_pv_eoi(const struct lapic *l, int vector);
void kvm_trace_msi(u64 address, u32 data);
void kvm_trace_set_irq(u32 gsi, bool high);

#endif
