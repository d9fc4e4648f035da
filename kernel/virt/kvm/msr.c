/* SPDX-License-Identifier: MIT
 *
 * Problem: model-specific registers are dozens of unrelated words; some live in the control block, some in the APIC,
 * some are only remembered, and the rest must look absent.
 *
 * Idea: one table row a register: where its value is kept, or a pair of functions. Registers that the guest may touch
 * freely, because entry and exit switch them, are passed through by the permission bitmap. What has no row is #GP.
 *
 * Contract: kvm_msr_read and kvm_msr_write of kvm_priv.h; `host` is the VMM's access (KVM_GET_MSRS, KVM_SET_MSRS),
 * which may also write what the guest may only read. Source: AMD64 Architecture Programmer's Manual volume 2, appendix
 * A; virt/kvm/x86/msr.rst for kvmclock and the paravirtual end of interrupts.
 *
 * Locks: the registers belong to the thread that runs the CPU.
 */
#include <arch/cpu.h>
#include <arch/user.h>
#include <asm/kvm_para.h>
#include <lib/err.h>
#include "kvm_priv.h"
#include "trace.h"

#define EFER_SCE   BIT(0)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define EFER_NXE   BIT(11)
#define EFER_SVME  BIT(12)
#define EFER_FFXSR BIT(14)
#define CR0_PG     BIT(31)

#define PLATFORM_INFO 0xce
#define X2APIC_EOI    0x80b

#define MSRS_AT_ONCE 256 /* in one ioctl */

struct row {
	u32 msr;
	u16 kind, offset; /* offset: in struct vmcb or struct kvm_vcpu */
	u64 writable;     /* bits the guest may set; 0: writes are ignored */
};
enum { IN_VMCB, IN_VCPU, FIXED };

#define VMCB(f) IN_VMCB, offsetof(struct vmcb, f)
#define VCPU(f) IN_VCPU, offsetof(struct kvm_vcpu, f)
#define ALL     ~0ULL

static const struct row rows[] = {
	{ 0x174, VMCB(sysenter_cs), ALL },
	{ 0x175, VMCB(sysenter_esp), ALL },
	{ 0x176, VMCB(sysenter_eip), ALL },
	{ 0x1d9, VMCB(dbgctl), 0 },
	{ 0x277, VMCB(pat), ALL },
	{ 0xc0000081, VMCB(star), ALL },
	{ 0xc0000082, VMCB(lstar), ALL },
	{ 0xc0000083, VMCB(cstar), ALL },
	{ 0xc0000084, VMCB(sfmask), ALL },
	{ 0xc0000100, VMCB(fs.base), ALL },
	{ 0xc0000101, VMCB(gs.base), ALL },
	{ 0xc0000102, VMCB(kernel_gs_base), ALL },
	{ 0xc0000103, VCPU(g.tsc_aux), 0xffffffff },
	{ 0x1a0, VCPU(misc_enable), ALL },
	{ 0x1fc, VCPU(power_ctl), ALL },
	{ 0x8b, FIXED, 0, 0 },       /* microcode revision */
	{ 0xc0010010, FIXED, 0, 0 }, /* SYSCFG */
	{ 0xc0010015, FIXED, 0, 0 }, /* HWCR */
	{ 0xc001001f, FIXED, 0, 0 }, /* northbridge configuration */
	{ 0xc0010055, FIXED, 0, 0 }, /* interrupt pending */
	{ 0xc0010058, FIXED, 0, 0 }, /* MMIO configuration */
	{ 0xc0010112, FIXED, 0, 0 }, /* SMM base and mask */
	{ 0xc0010113, FIXED, 0, 0 },
	{ 0xc0010114, FIXED, 0, 0 }, /* VM_CR */
	{ 0xc0011022, FIXED, 0, 0 }, /* data cache configuration */
	{ 0xc0011023, FIXED, 0, 0 },
	{ 0xc0011029, FIXED, 0, 0 },
	{ 0xc001102a, FIXED, 0, 0 },
	{ 0xc0010000, FIXED, 0, 0 }, /* performance counters: none counts */
	{ 0xc0010001, FIXED, 0, 0 },
	{ 0xc0010002, FIXED, 0, 0 },
	{ 0xc0010003, FIXED, 0, 0 },
	{ 0xc0010004, FIXED, 0, 0 },
	{ 0xc0010005, FIXED, 0, 0 },
	{ 0xc0010006, FIXED, 0, 0 },
	{ 0xc0010007, FIXED, 0, 0 },
};

/* What KVM_GET_MSR_INDEX_LIST names besides the rows above: state that a VMM saves and loads. */
static const u32 others[] = { 0x10,
			      0x1b,
			      0x3b,
			      0x17a,
			      0x17b,
			      0x2ff,
			      0xc0000080,
			      MSR_KVM_WALL_CLOCK_NEW,
			      MSR_KVM_SYSTEM_TIME_NEW,
			      MSR_KVM_STEAL_TIME,
			      MSR_KVM_PV_EOI_EN,
			      PLATFORM_INFO,
			      0x6e0 };

/* What the processor is, whatever a machine makes of it. */
static const u32 features[] = { 0x8b, 0xc0011029 };

static const struct row *find(u32 msr)
{
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].msr == msr)
			return &rows[i];
	return NULL;
}

static u64 *place(struct kvm_vcpu *v, const struct row *r)
{
	if (r->kind == FIXED)
		return NULL;
	return (u64 *)((r->kind == IN_VMCB ? (char *)v->g.vmcb : (char *)v) + r->offset);
}

/* MTRRs: remembered, without effect, since nested paging gives memory its type. Index in v->mtrr, -1: none. */
static int mtrr_index(u32 msr)
{
	static const u32 fixed[] = { 0x250, 0x258, 0x259 };

	if (msr >= 0x200 && msr < 0x210)
		return (int)(msr - 0x200);
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		if (msr == fixed[i])
			return 16 + (int)i;
	if (msr >= 0x268 && msr <= 0x26f)
		return 19 + (int)(msr - 0x268);
	return msr == 0x2ff ? 27 : -1;
}

bool kvm_efer_ok(u64 efer)
{
	return !(efer & ~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | EFER_FFXSR));
}

static int set_efer(struct kvm_vcpu *v, u64 value, bool host)
{
	struct vmcb *c = v->g.vmcb;

	if (!kvm_efer_ok(value))
		return -EINVAL;
	if (!host && (c->cr0 & CR0_PG) && ((value ^ c->efer) & EFER_LME))
		return -EINVAL;
	if (!host)
		value = (value & ~EFER_LMA) | (c->efer & EFER_LMA);
	c->efer = value | EFER_SVME; /* VMRUN demands it; the guest does not see it */
	return 0;
}

/* A register of the paravirtual interface that the guest was not told of, where the VMM is strict about that. */
static bool is_hidden(struct kvm_vcpu *v, u32 msr)
{
	switch (msr) {
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_SYSTEM_TIME: return !kvm_pv_has(v, KVM_FEATURE_CLOCKSOURCE);
	case MSR_KVM_WALL_CLOCK_NEW:
	case MSR_KVM_SYSTEM_TIME_NEW: return !kvm_pv_has(v, KVM_FEATURE_CLOCKSOURCE2);
	case MSR_KVM_STEAL_TIME: return !kvm_pv_has(v, KVM_FEATURE_STEAL_TIME);
	case MSR_KVM_PV_EOI_EN: return !kvm_pv_has(v, KVM_FEATURE_PV_EOI);
	case PLATFORM_INFO: return v->vm->hides_platform;
	default: return false;
	}
}

int kvm_msr_read(struct kvm_vcpu *v, u32 msr, u64 *out, bool host)
{
	const struct row *r = find(msr);
	int i = mtrr_index(msr), err = kvm_mce_read(v, msr, out, host);

	if (err != -ENOENT)
		return err;
	if (!host && is_hidden(v, msr))
		return -EINVAL;
	if (r) {
		*out = place(v, r) ? *place(v, r) : 0;
		return 0;
	}
	if (i >= 0) {
		*out = v->mtrr[i];
		return 0;
	}
	if (msr >= 0x800 && msr < 0x900 && v->vm->has_apic)
		return lapic_msr_read(&v->apic, msr, out);
	switch (msr) {
	case 0x10: *out = kvm_guest_tsc(v); return 0;
	case 0x1b: *out = v->apic.base; return 0;
	case 0x3b: *out = v->tsc_adjust; return 0;
	case 0xfe: *out = 0x508; return 0; /* eight variable ranges, fixed ranges, write combining */
	case 0x6e0: *out = v->apic.tsc_deadline; return 0;
	case 0xc0000080: *out = v->g.vmcb->efer & ~EFER_SVME; return 0;
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW: *out = v->clock_msr; return 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW: *out = v->wall_msr; return 0;
	case MSR_KVM_PV_EOI_EN: *out = v->eoi_msr; return 0;
	case MSR_KVM_STEAL_TIME: *out = v->steal_msr; return 0;
	case PLATFORM_INFO: *out = v->platform_info; return 0;
	default: return -ENXIO;
	}
}

/* TSC_ADJUST counts what the guest added, not what the VMM did. */
static void add_to_tsc(struct kvm_vcpu *v, u64 n, bool host)
{
	v->g.vmcb->tsc_offset += n;
	if (!host)
		v->tsc_adjust += n;
}

static int write_special(struct kvm_vcpu *v, u32 msr, u64 value, bool host)
{
	switch (msr) {
	case 0x10: add_to_tsc(v, value - kvm_guest_tsc(v), host); return 0;
	case 0x3b:
		if (host)
			v->tsc_adjust = value;
		else
			add_to_tsc(v, value - v->tsc_adjust, false);
		return 0;
	case 0x1b:
		if (host || v->vm->has_apic)
			return lapic_set_base(&v->apic, value);
		v->apic.base = value;
		return 0;
	case 0x6e0: lapic_set_tsc_deadline(&v->apic, value); return 0;
	case 0x79: return 0; /* microcode update */
	case 0xc0000080: return set_efer(v, value, host);
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		v->clock_msr = value;
		kvm_clock_update(v);
		return 0;
	case MSR_KVM_WALL_CLOCK:
	case MSR_KVM_WALL_CLOCK_NEW:
		v->wall_msr = value;
		if (!host)
			kvm_wall_write(v);
		return 0;
	case MSR_KVM_PV_EOI_EN: return kvm_eoi_enable(v, value);
	case MSR_KVM_STEAL_TIME: return kvm_steal_enable(v, value);
	case PLATFORM_INFO:
		if (host)
			v->platform_info = value;
		return host ? 0 : -EINVAL;
	default: return -ENXIO;
	}
}

static int write_apic(struct kvm_vcpu *v, u32 msr, u64 value)
{
	if (trace_on(kvm_eoi) && msr == X2APIC_EOI)
		kvm_trace_eoi(&v->apic, lapic_in_service(&v->apic));
	return lapic_msr_write(&v->apic, msr, value);
}

static bool canonical_needed(u32 msr)
{
	return msr == 0x175 || msr == 0x176 || msr == 0xc0000082 || msr == 0xc0000083 ||
	       (msr >= 0xc0000100 && msr <= 0xc0000102);
}

int kvm_msr_write(struct kvm_vcpu *v, u32 msr, u64 value, bool host)
{
	const struct row *r = find(msr);
	int i = mtrr_index(msr), err = kvm_mce_write(v, msr, value, host);

	if (err != -ENOENT)
		return err;
	if (!host && is_hidden(v, msr))
		return -EINVAL;
	if (canonical_needed(msr) && (u64)((s64)(value << 16) >> 16) != value)
		return -EINVAL;
	if (r) {
		if (place(v, r) && (r->writable || host)) {
			if (r->writable && (value & ~r->writable))
				return -EINVAL;
			*place(v, r) = value;
		}
		return 0;
	}
	if (i >= 0) {
		v->mtrr[i] = value;
		return 0;
	}
	if (msr >= 0x800 && msr < 0x900 && v->vm->has_apic)
		return write_apic(v, msr, value);
	return write_special(v, msr, value, host);
}

/* The number of them all goes out also where there is no room for them. */
static int put_list(struct kvm_msr_list __user *list, const u32 *first, u32 nr_first, const u32 *second, u32 nr_second)
{
	u32 __user *out = (u32 __user *)((char __user *)list + sizeof(u32));
	u32 room, nr = nr_first + nr_second;
	int err = user_get(&room, list, sizeof(room));

	if (!err)
		err = user_put(list, &nr, sizeof(nr));
	if (err)
		return err;
	if (room < nr)
		return -E2BIG;
	err = user_put(out, first, nr_first * sizeof(u32));
	return err ? err : user_put(out + nr_first, second, nr_second * sizeof(u32));
}

int kvm_msr_list(struct kvm_msr_list __user *list)
{
	u32 kept[ARRAY_SIZE(rows)];

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		kept[i] = rows[i].msr;
	return put_list(list, kept, ARRAY_SIZE(rows), others, ARRAY_SIZE(others));
}

int kvm_msr_feature_list(struct kvm_msr_list __user *list)
{
	return put_list(list, features, ARRAY_SIZE(features), NULL, 0);
}

long kvm_msr_each(struct kvm_msrs __user *arg, kvm_msr_fn *fn, void *ctx)
{
	struct kvm_msr_entry __user *at = (struct kvm_msr_entry __user *)((char __user *)arg + sizeof(struct kvm_msrs));
	struct kvm_msrs head;
	u32 done = 0;
	int err = user_get(&head, arg, sizeof(head));

	if (err)
		return err;
	if (head.nmsrs > MSRS_AT_ONCE)
		return -E2BIG;
	for (; done < head.nmsrs; done++) {
		struct kvm_msr_entry e;
		u64 value;

		err = user_get(&e, at + done, sizeof(e));
		if (err)
			return err;
		value = e.data;
		if (fn(ctx, e.index, &value))
			break; /* the count tells which one */
		if (value == e.data)
			continue;
		e.data = value;
		err = user_put(at + done, &e, sizeof(e));
		if (err)
			return err;
	}
	return done;
}

/* They read as in a guest: 0. */
static int read_feature(void *ctx, u32 msr, u64 *value)
{
	if (msr != features[0] && msr != features[1])
		return -EINVAL;
	*value = 0;
	return 0;
}

long kvm_msr_features(struct kvm_msrs __user *arg)
{
	return kvm_msr_each(arg, read_feature, NULL);
}

/* Two bits a register, read and write, in ranges of 8,192 (15.11). */
static void pass(u8 *bitmap, u32 msr)
{
	u32 bit = msr < 0x2000 ? msr * 2 : 0x2000 * 2 + (msr - 0xc0000000) * 2;

	bitmap[bit / 8] &= (u8) ~(3 << bit % 8);
}

void kvm_msr_pass(u8 *bitmap)
{
	static const u32 free[] = { 0x174,      0x175,      0x176,      0xc0000081, 0xc0000082,
				    0xc0000083, 0xc0000084, 0xc0000100, 0xc0000101, 0xc0000102 };

	for (unsigned i = 0; i < ARRAY_SIZE(free); i++)
		pass(bitmap, free[i]);
}
