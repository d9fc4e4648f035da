/* SPDX-License-Identifier: MIT
 *
 * Problem: the VMM sets up a CPU before its first run, saves and loads all of it, and injects interrupts by hand.
 *
 * Idea: a row an ioctl: its number, the size of its structure, and one function that fills it or takes it. Copying from
 * and to the VMM happens in one place, so a function only translates between Linux's structure and the control block.
 *
 * Contract: the CPU's ioctls of virt/kvm/api.rst; values that no processor could hold are -EINVAL and change nothing.
 *
 * Locks: v->lock held by the caller.
 */
#include <alloc/slab.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "kvm_priv.h"

#define EFER_SVME BIT(12)
#define EFER_LME  BIT(8)
#define EFER_LMA  BIT(10)
#define CR0_PG    BIT(31)
#define CR4_PAE   BIT(5)

/* ---- general registers ---- */

static int get_regs(struct kvm_vcpu *v, void *buf)
{
	const struct svm_regs *r = &v->g.regs;
	const struct vmcb *c = v->g.vmcb;

	*(struct kvm_regs *)buf =
		(struct kvm_regs){ c->rax, r->rbx, r->rcx, r->rdx, r->rsi, r->rdi,
				   c->rsp, r->rbp, r->r8,  r->r9,  r->r10, r->r11,
				   r->r12, r->r13, r->r14, r->r15, c->rip, kvm_debug_flags(v, c->rflags, false) };
	return 0;
}

static int set_regs(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_regs *k = buf;

	v->g.regs = (struct svm_regs){ k->rbx, k->rcx, k->rdx, k->rsi, k->rdi, k->rbp, k->r8,
				       k->r9,  k->r10, k->r11, k->r12, k->r13, k->r14, k->r15 };
	v->g.vmcb->rax = k->rax;
	v->g.vmcb->rsp = k->rsp;
	v->g.vmcb->rip = k->rip;
	v->g.vmcb->rflags = kvm_debug_flags(v, (k->rflags & 0x3f7fd7) | 2, true);
	v->exception.pending = false;
	return 0;
}

/* ---- segments and control registers ---- */

static struct kvm_segment to_segment(const struct svm_segment *s)
{
	u16 a = s->attributes;

	return (struct kvm_segment){ .base = s->base,
				     .limit = s->limit,
				     .selector = s->selector,
				     .type = a & 15,
				     .s = a >> 4 & 1,
				     .dpl = a >> 5 & 3,
				     .present = a >> 7 & 1,
				     .avl = a >> 8 & 1,
				     .l = a >> 9 & 1,
				     .db = a >> 10 & 1,
				     .g = a >> 11 & 1,
				     .unusable = !(a >> 7 & 1) };
}

static struct svm_segment from_segment(const struct kvm_segment *k)
{
	u16 a = (u16)((k->type & 15) | (k->s & 1) << 4 | (k->dpl & 3) << 5 | (k->present && !k->unusable) << 7 |
		      (k->avl & 1) << 8 | (k->l & 1) << 9 | (k->db & 1) << 10 | (k->g & 1) << 11);

	return (struct svm_segment){ k->selector, a, k->limit, k->base };
}

static int get_sregs(struct kvm_vcpu *v, void *buf)
{
	const struct vmcb *c = v->g.vmcb;
	struct kvm_sregs *k = buf;

	*k = (struct kvm_sregs){ .cs = to_segment(&c->cs),
				 .ds = to_segment(&c->ds),
				 .es = to_segment(&c->es),
				 .fs = to_segment(&c->fs),
				 .gs = to_segment(&c->gs),
				 .ss = to_segment(&c->ss),
				 .tr = to_segment(&c->tr),
				 .ldt = to_segment(&c->ldtr),
				 .gdt = { .base = c->gdtr.base, .limit = (u16)c->gdtr.limit },
				 .idt = { .base = c->idtr.base, .limit = (u16)c->idtr.limit },
				 .cr0 = c->cr0,
				 .cr2 = c->cr2,
				 .cr3 = c->cr3,
				 .cr4 = c->cr4,
				 .cr8 = v->vm->has_apic ? lapic_task_priority(&v->apic) >> 4 : c->virtual_irq & 15,
				 .efer = c->efer & ~EFER_SVME,
				 .apic_base = v->apic.base };
	if (v->ext_irq >= 0)
		k->interrupt_bitmap[v->ext_irq / 64] = BIT(v->ext_irq % 64);
	return 0;
}

/* What VMRUN would refuse, or would put the processor into a mode that does not exist. */
static bool sregs_ok(struct kvm_vcpu *v, const struct kvm_sregs *k)
{
	if ((k->apic_base & (LAPIC_BASE_ENABLE | LAPIC_BASE_X2)) == LAPIC_BASE_X2)
		return false;
	if (!kvm_efer_ok(k->efer) || !kvm_cr4_ok(v, k->cr4) || (k->cr0 >> 32))
		return false;
	if ((k->efer & EFER_LME) && (k->cr0 & CR0_PG))
		return (k->cr4 & CR4_PAE) && (k->efer & EFER_LMA) && !(k->cs.l && k->cs.db);
	return !(k->efer & EFER_LMA) && !(k->cr3 >> 52);
}

static int set_sregs(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_sregs *k = buf;
	struct vmcb *c = v->g.vmcb;

	if (!sregs_ok(v, k))
		return -EINVAL;
	c->cs = from_segment(&k->cs);
	c->ds = from_segment(&k->ds);
	c->es = from_segment(&k->es);
	c->fs = from_segment(&k->fs);
	c->gs = from_segment(&k->gs);
	c->ss = from_segment(&k->ss);
	c->tr = from_segment(&k->tr);
	c->ldtr = from_segment(&k->ldt);
	c->gdtr = (struct svm_segment){ .base = k->gdt.base, .limit = k->gdt.limit };
	c->idtr = (struct svm_segment){ .base = k->idt.base, .limit = k->idt.limit };
	c->cpl = c->ss.attributes >> 5 & 3;
	c->cr0 = k->cr0 | BIT(4);
	c->cr2 = k->cr2;
	c->cr3 = k->cr3;
	c->cr4 = k->cr4;
	c->efer = k->efer | EFER_SVME;
	if (v->vm->has_apic) {
		lapic_set_task_priority(&v->apic, (u8)(k->cr8 << 4));
		ensure(!lapic_set_base(&v->apic, k->apic_base));
	} else {
		v->apic.base = k->apic_base;
		v->run->cr8 = k->cr8;
	}
	for (int i = 0; i < 256; i++)
		if (k->interrupt_bitmap[i / 64] >> (i % 64) & 1)
			v->ext_irq = i;
	v->asid_gen = 0; /* other tables: nothing of the old ones may be used */
	return 0;
}

/* ---- vector registers: the area is an XSAVE image ---- */

static int get_fpu(struct kvm_vcpu *v, void *buf)
{
	const u8 *a = v->fpu;
	struct kvm_fpu *k = buf;

	*k = (struct kvm_fpu){ .fcw = *(u16 *)a,
			       .fsw = *(u16 *)(a + 2),
			       .ftwx = a[4],
			       .last_opcode = *(u16 *)(a + 6),
			       .last_ip = *(u64 *)(a + 8),
			       .last_dp = *(u64 *)(a + 16),
			       .mxcsr = *(u32 *)(a + 24) };
	memcpy(k->fpr, a + 32, sizeof(k->fpr));
	memcpy(k->xmm, a + 160, sizeof(k->xmm));
	return 0;
}

static int set_fpu(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_fpu *k = buf;
	u8 image[512];

	memcpy(image, v->fpu, sizeof(image));
	*(u16 *)image = k->fcw;
	*(u16 *)(image + 2) = k->fsw;
	image[4] = k->ftwx;
	*(u16 *)(image + 6) = k->last_opcode;
	*(u64 *)(image + 8) = k->last_ip;
	*(u64 *)(image + 16) = k->last_dp;
	*(u32 *)(image + 24) = k->mxcsr;
	memcpy(image + 32, k->fpr, sizeof(k->fpr));
	memcpy(image + 160, k->xmm, sizeof(k->xmm));
	return arch_fpu_area_set(v->fpu, image, sizeof(image));
}

static int get_xsave(struct kvm_vcpu *v, void *buf)
{
	memset(buf, 0, sizeof(struct kvm_xsave));
	memcpy(buf, v->fpu, min(arch_fpu_bytes(), sizeof(struct kvm_xsave)));
	return 0;
}

static int set_xsave(struct kvm_vcpu *v, void *buf)
{
	return arch_fpu_area_set(v->fpu, buf, sizeof(struct kvm_xsave));
}

static int get_xcrs(struct kvm_vcpu *v, void *buf)
{
	*(struct kvm_xcrs *)buf = (struct kvm_xcrs){ .nr_xcrs = 1, .xcrs = { { .value = v->g.xcr0 } } };
	return 0;
}

static int set_xcrs(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_xcrs *k = buf;
	u64 value = k->xcrs[0].value;

	if (k->nr_xcrs > KVM_MAX_XCRS || k->flags)
		return -EINVAL;
	if (!k->nr_xcrs)
		return 0;
	if (k->xcrs[0].xcr || !(value & 1) || (value & ~arch_fpu_features()) || ((value & 4) && !(value & 2)))
		return -EINVAL;
	v->g.xcr0 = value;
	return 0;
}

/* ---- events ---- */

static int get_events(struct kvm_vcpu *v, void *buf)
{
	const struct vmcb *c = v->g.vmcb;
	struct kvm_vcpu_events *k = buf;

	*k = (struct kvm_vcpu_events){ .exception = { .injected = v->exception.pending,
						      .nr = v->exception.vector,
						      .has_error_code = v->exception.has_code,
						      .error_code = v->exception.code },
				       .interrupt = { .shadow = c->interrupt_shadow & 1 ? 3 : 0 },
				       .nmi = { .pending = v->nmi_queued, .masked = v->nmi_masked },
				       .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW };
	if ((c->event_inject & SVM_EVENT_VALID) && (c->event_inject & SVM_EVENT_TYPE) == SVM_EVENT_INTR) {
		k->interrupt.injected = 1;
		k->interrupt.nr = (u8)c->event_inject;
	}
	return 0;
}

static int set_events(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_vcpu_events *k = buf;
	u32 known = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_SIPI_VECTOR;

	if ((k->flags & ~known) || (k->exception.injected && k->exception.nr > 31))
		return -EINVAL;
	v->exception.pending = k->exception.injected;
	v->exception.vector = k->exception.nr;
	v->exception.has_code = k->exception.has_error_code;
	v->exception.code = k->exception.error_code;
	v->g.vmcb->event_inject = k->interrupt.injected ? SVM_EVENT_VALID | SVM_EVENT_INTR | k->interrupt.nr : 0;
	if (k->flags & KVM_VCPUEVENT_VALID_SHADOW)
		v->g.vmcb->interrupt_shadow = !!k->interrupt.shadow;
	if (k->flags & KVM_VCPUEVENT_VALID_NMI_PENDING)
		v->nmi_queued = k->nmi.pending;
	v->nmi_masked = k->nmi.masked;
	if (k->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
		v->startup = k->sipi_vector;
	return 0;
}

static int get_debug(struct kvm_vcpu *v, void *buf)
{
	struct kvm_debugregs *k = buf;

	*k = (struct kvm_debugregs){ .dr6 = v->dr.status, .dr7 = v->dr.control };
	memcpy(k->db, v->dr.addr, sizeof(k->db));
	return 0;
}

static int set_debug(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_debugregs *k = buf;

	if (k->flags || (k->dr6 >> 32) || (k->dr7 >> 32))
		return -EINVAL;
	memcpy(v->dr.addr, k->db, sizeof(k->db));
	v->dr.status = k->dr6;
	v->dr.control = k->dr7;
	kvm_debug_load(v);
	return 0;
}

static int get_mp_state(struct kvm_vcpu *v, void *buf)
{
	((struct kvm_mp_state *)buf)->mp_state = v->mp_state;
	return 0;
}

static int set_mp_state(struct kvm_vcpu *v, void *buf)
{
	u32 s = ((struct kvm_mp_state *)buf)->mp_state;

	if (s > KVM_MP_STATE_SIPI_RECEIVED || (!v->vm->has_apic && s != KVM_MP_STATE_RUNNABLE))
		return -EINVAL;
	v->mp_state = s;
	return 0;
}

static int get_lapic(struct kvm_vcpu *v, void *buf)
{
	if (!v->vm->has_apic)
		return -EINVAL;
	memcpy(buf, v->apic.regs, LAPIC_BYTES);
	*(u32 *)((char *)buf + 0x390) = lapic_read(&v->apic, 0x390);
	return 0;
}

static int set_lapic(struct kvm_vcpu *v, void *buf)
{
	if (!v->vm->has_apic)
		return -EINVAL;
	memcpy(v->apic.regs, buf, LAPIC_BYTES);
	lapic_restart_timer(&v->apic);
	return 0;
}

/* A page that mirrors the task priority, for guests whose code the VMM patches; VMMs also say that there is none. */
static int no_vapic(struct kvm_vcpu *v, void *buf)
{
	return v->vm->has_apic && !((struct kvm_vapic_addr *)buf)->vapic_addr ? 0 : -EINVAL;
}

static int inject_interrupt(struct kvm_vcpu *v, void *buf)
{
	u32 irq = ((struct kvm_interrupt *)buf)->irq;

	if (irq > 255)
		return -EINVAL;
	if (v->ext_irq >= 0)
		return -EEXIST;
	v->ext_irq = (int)irq;
	return 0;
}

/* ---- lists of MSRs ---- */

static int get_msr(void *vcpu, u32 msr, u64 *value)
{
	return kvm_msr_read(vcpu, msr, value, true);
}

static int set_msr(void *vcpu, u32 msr, u64 *value)
{
	return kvm_msr_write(vcpu, msr, *value, true);
}

static long translate(struct kvm_vcpu *v, struct kvm_translation __user *arg)
{
	struct kvm_translation t;
	int err = user_get(&t, arg, sizeof(t));
	u64 gpa;

	if (err)
		return err;
	t.valid = kvm_translate(v, t.linear_address, GUEST_READ, &gpa) == 0;
	t.physical_address = t.valid ? gpa : ~0ULL;
	t.writeable = t.valid;
	t.usermode = 0;
	return user_put(arg, &t, sizeof(t));
}

static const struct {
	unsigned cmd;
	int (*fn)(struct kvm_vcpu *v, void *buf);
} rows[] = {
	{ KVM_GET_REGS, get_regs },
	{ KVM_SET_REGS, set_regs },
	{ KVM_GET_SREGS, get_sregs },
	{ KVM_SET_SREGS, set_sregs },
	{ KVM_GET_FPU, get_fpu },
	{ KVM_SET_FPU, set_fpu },
	{ KVM_GET_XSAVE, get_xsave },
	{ KVM_SET_XSAVE, set_xsave },
	{ KVM_GET_XCRS, get_xcrs },
	{ KVM_SET_XCRS, set_xcrs },
	{ KVM_GET_VCPU_EVENTS, get_events },
	{ KVM_SET_VCPU_EVENTS, set_events },
	{ KVM_GET_DEBUGREGS, get_debug },
	{ KVM_SET_DEBUGREGS, set_debug },
	{ KVM_GET_MP_STATE, get_mp_state },
	{ KVM_SET_MP_STATE, set_mp_state },
	{ KVM_GET_LAPIC, get_lapic },
	{ KVM_SET_LAPIC, set_lapic },
	{ KVM_SET_VAPIC_ADDR, no_vapic },
	{ KVM_INTERRUPT, inject_interrupt },
	{ KVM_SET_GUEST_DEBUG, kvm_debug_set },
	{ KVM_X86_SETUP_MCE, kvm_mce_setup },
	{ KVM_X86_SET_MCE, kvm_mce_raise },
};

/* ---- registers in the run area ---- */

int kvm_sync_in(struct kvm_vcpu *v)
{
	u64 dirty = READ_ONCE(v->run->kvm_dirty_regs), valid = READ_ONCE(v->run->kvm_valid_regs);
	struct kvm_sync_regs k;
	int err = 0;

	if (likely(!(dirty | valid)))
		return 0;
	if ((dirty | valid) & ~(u64)KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	memcpy(&k, &v->run->s.regs, sizeof(k)); /* once: the VMM may change it meanwhile */
	if (dirty & KVM_SYNC_X86_SREGS)
		err = set_sregs(v, &k.sregs);
	if (!err && (dirty & KVM_SYNC_X86_EVENTS))
		err = set_events(v, &k.events);
	if (!err && (dirty & KVM_SYNC_X86_REGS))
		err = set_regs(v, &k.regs);
	if (!err)
		v->run->kvm_dirty_regs = 0;
	return err;
}

void kvm_sync_out(struct kvm_vcpu *v)
{
	u64 valid = READ_ONCE(v->run->kvm_valid_regs);
	struct kvm_sync_regs k;

	if (likely(!valid))
		return;
	memcpy(&k, &v->run->s.regs, sizeof(k));
	if (valid & KVM_SYNC_X86_REGS)
		(void)get_regs(v, &k.regs);
	if (valid & KVM_SYNC_X86_SREGS)
		(void)get_sregs(v, &k.sregs);
	if (valid & KVM_SYNC_X86_EVENTS)
		(void)get_events(v, &k.events);
	memcpy(&v->run->s.regs, &k, sizeof(k));
}

/* ---- attributes: how far the guest's cycle counter is from ours ---- */

static long attribute(struct kvm_vcpu *v, unsigned cmd, void __user *arg)
{
	struct kvm_device_attr a;
	int err = user_get(&a, arg, sizeof(a));

	if (err)
		return err;
	if (a.flags || a.group != KVM_VCPU_TSC_CTRL || a.attr != KVM_VCPU_TSC_OFFSET)
		return -ENXIO;
	if (cmd == KVM_HAS_DEVICE_ATTR)
		return 0;
	if (cmd == KVM_GET_DEVICE_ATTR)
		return user_put((void __user *)a.addr, &v->g.vmcb->tsc_offset, sizeof(u64));
	return user_get(&v->g.vmcb->tsc_offset, (const void __user *)a.addr, sizeof(u64));
}

static long enable_cap(struct kvm_vcpu *v, void __user *arg)
{
	struct kvm_enable_cap c;
	int err = user_get(&c, arg, sizeof(c));

	if (err)
		return err;
	if (c.flags || c.cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
		return -EINVAL;
	v->enforce_pv = c.args[0];
	return 0;
}

static long by_row(struct kvm_vcpu *v, unsigned row, void __user *arg)
{
	size_t bytes = _IOC_SIZE(rows[row].cmd);
	void *buf = kzalloc(bytes, 0);
	int err;

	if (!buf)
		return -ENOMEM;
	err = _IOC_DIR(rows[row].cmd) & _IOC_WRITE ? user_get(buf, arg, bytes) : 0;
	if (!err)
		err = rows[row].fn(v, buf);
	if (!err && (_IOC_DIR(rows[row].cmd) & _IOC_READ))
		err = user_put(arg, buf, bytes);
	kfree(buf);
	return err;
}

long kvm_state_ioctl(struct kvm_vcpu *v, unsigned cmd, void __user *arg)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].cmd == cmd)
			return by_row(v, i, arg);
	switch (cmd) {
	case KVM_GET_MSRS: return kvm_msr_each(arg, get_msr, v);
	case KVM_SET_MSRS: return kvm_msr_each(arg, set_msr, v);
	case KVM_SET_CPUID2: return kvm_cpuid_set(v, arg);
	case KVM_GET_CPUID2: return kvm_cpuid_get(v, arg);
	case KVM_TRANSLATE: return translate(v, arg);
	case KVM_HAS_DEVICE_ATTR:
	case KVM_GET_DEVICE_ATTR:
	case KVM_SET_DEVICE_ATTR: return attribute(v, cmd, arg);
	case KVM_NMI: v->nmi_queued = true; return 0;
	case KVM_ENABLE_CAP: return enable_cap(v, arg);
	case KVM_GET_STATS_FD: return kvm_stats_fd(v->vm, v);
	case KVM_GET_TSC_KHZ: return (long)kvm_tsc_khz();
	case KVM_SET_TSC_KHZ: return (ulong)arg == 0 || (ulong)arg == kvm_tsc_khz() ? 0 : -EINVAL;
	case KVM_KVMCLOCK_CTRL: return v->clock_msr & 1 ? 0 : -EINVAL;
	default: return -ENOTTY;
	}
}
