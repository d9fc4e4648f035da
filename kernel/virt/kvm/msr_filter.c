/* SPDX-License-Identifier: MIT
 *
 * Problem: a VMM wants some model-specific registers kept from its guest, or wants to answer for them itself.
 *
 * Idea: up to sixteen ranges with a bit a register, looked at before any other handling. A machine with a filter gives
 * up the registers that are passed through, so that every access is seen. What the filter forbids, and what is unknown
 * or refused here, goes to the VMM if it asked for that, else it is #GP.
 *
 * Contract: KVM_X86_SET_MSR_FILTER, KVM_CAP_X86_USER_SPACE_MSR and KVM_EXIT_X86_RDMSR and WRMSR of virt/kvm/api.rst.
 * The local APIC's registers (0x800 to 0x8ff) are never filtered.
 *
 * Locks: the filter is read under RCU; vm->lock for changes.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include "kvm_priv.h"
#include "trace.h"

#define RANGE_BYTES 0x600 /* of a bitmap, at most */

struct range {
	u32 flags, base, nr;
	const u8 *bits; /* 1: allowed */
};

struct kvm_msr_filters {
	struct rcu_head rcu;
	bool deny; /* what no range names */
	unsigned nr;
	struct range range[KVM_MSR_FILTER_MAX_RANGES];
	u8 bits[];
};

static void free_filters(struct rcu_head *head)
{
	kfree(container_of(head, struct kvm_msr_filters, rcu));
}

/* Bytes of all bitmaps; -EINVAL. */
static long check(const struct kvm_msr_filter *k)
{
	long bytes = 0;

	if (k->flags & ~(u32)KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (unsigned i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		const struct kvm_msr_filter_range *r = &k->ranges[i];

		if (!r->nmsrs)
			continue;
		if (!r->flags || (r->flags & ~(u32)(KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)) ||
		    r->nmsrs > RANGE_BYTES * 8 || r->base + r->nmsrs < r->base)
			return -EINVAL;
		bytes += (r->nmsrs + 7) / 8;
	}
	return k->flags && !bytes ? -EINVAL : bytes; /* nothing at all allowed: surely a mistake */
}

static int take_ranges(struct kvm_msr_filters *f, const struct kvm_msr_filter *k)
{
	u8 *at = f->bits;

	for (unsigned i = 0; i < KVM_MSR_FILTER_MAX_RANGES; i++) {
		const struct kvm_msr_filter_range *r = &k->ranges[i];
		size_t bytes = (r->nmsrs + 7) / 8;
		int err = bytes ? user_get(at, (const void __user *)r->bitmap, bytes) : 0;

		if (err)
			return err;
		if (bytes)
			f->range[f->nr++] = (struct range){ r->flags, r->base, r->nmsrs, at };
		at += bytes;
	}
	return 0;
}

int kvm_set_msr_filter(struct kvm_vm *vm, const struct kvm_msr_filter *k)
{
	struct kvm_msr_filters *f = NULL, *old = vm->msr_filters;
	long bytes = check(k);
	int err;

	if (bytes < 0)
		return (int)bytes;
	if (bytes) {
		f = kzalloc(sizeof(*f) + (size_t)bytes, 0);
		if (!f)
			return -ENOMEM;
		f->deny = k->flags & KVM_MSR_FILTER_DEFAULT_DENY;
		err = take_ranges(f, k);
		if (err) {
			kfree(f);
			return err;
		}
	}
	rcu_assign(vm->msr_filters, f);
	if (old)
		rcu_call(&old->rcu, free_filters);
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		kvm_request(vm->vcpu[i], REQ_MSR_MAP);
	return 0;
}

void kvm_msr_filters_free(struct kvm_vm *vm)
{
	kfree(vm->msr_filters);
}

static bool allowed(struct kvm_vm *vm, u32 msr, bool write)
{
	u32 what = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;
	const struct kvm_msr_filters *f;
	bool yes = true;

	rcu_read_lock();
	f = rcu_deref(vm->msr_filters);
	if (f && (msr < 0x800 || msr > 0x8ff)) {
		yes = !f->deny;
		for (unsigned i = 0; i < f->nr; i++) {
			const struct range *r = &f->range[i];
			u32 n = msr - r->base;

			if (n >= r->nr || !(r->flags & what))
				continue;
			yes = r->bits[n / 8] >> n % 8 & 1;
			break;
		}
	}
	rcu_read_unlock();
	return yes;
}

/* To the VMM, if it asked for that: 0; else #GP: 1. */
static int refuse(struct kvm_vcpu *v, u32 msr, bool write, u64 value, u32 reason)
{
	if (!(v->vm->msr_exits & reason)) {
		if (trace_on(kvm_msr))
			kvm_trace_msr(write, msr, value, true);
		kvm_throw(v, 13, true, 0);
		return 1;
	}
	v->run->exit_reason = write ? KVM_EXIT_X86_WRMSR : KVM_EXIT_X86_RDMSR;
	v->run->msr.error = 0;
	v->run->msr.reason = reason;
	v->run->msr.index = msr;
	v->run->msr.data = write ? value : 0;
	v->io.what = write ? MSR_WRITE : MSR_READ;
	return 0;
}

static int done(struct kvm_vcpu *v, bool write, u64 value)
{
	if (!write) {
		v->g.vmcb->rax = (u32)value;
		v->g.regs.rdx = value >> 32;
	}
	kvm_skip(v, 2);
	return 1;
}

int kvm_msr_exit(struct kvm_vcpu *v)
{
	u32 msr = (u32)v->g.regs.rcx;
	bool write = v->g.vmcb->exit_info1;
	u64 value = v->g.regs.rdx << 32 | (u32)v->g.vmcb->rax;
	int err;

	if (unlikely(v->vm->msr_filters) && !allowed(v->vm, msr, write))
		return refuse(v, msr, write, value, KVM_MSR_EXIT_REASON_FILTER);
	err = write ? kvm_msr_write(v, msr, value, false) : kvm_msr_read(v, msr, &value, false);
	if (err)
		return refuse(v, msr, write, value,
			      err == -ENXIO ? KVM_MSR_EXIT_REASON_UNKNOWN : KVM_MSR_EXIT_REASON_INVAL);
	if (trace_on(kvm_msr))
		kvm_trace_msr(write, msr, value, false);
	return done(v, write, value);
}

/* The VMM has answered. */
int kvm_complete_msr(struct kvm_vcpu *v, bool write)
{
	if (v->run->msr.error) {
		kvm_throw(v, 13, true, 0);
		return 1;
	}
	return done(v, write, v->run->msr.data);
}
