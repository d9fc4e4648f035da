/* SPDX-License-Identifier: MIT
 *
 * Problem: to emulate an instruction, its bytes and its memory operands are read and written at addresses that only the
 * guest's own page tables and segments explain.
 *
 * Idea: walk the guest's tables as the processor would, in whichever of its modes (none, 2 levels, 3 of PAE, 4),
 * reading entries through the VMM's memory. One table of facts a mode replaces four walkers.
 *
 *      segment base + offset = linear --> [guest's tables] --> guest physical --> [slots] --> the VMM's memory
 *
 * Contract: kvm_priv.h. Rights are checked (present, write, user); accessed and dirty bits are not set by these reads,
 * which a guest may notice only where a device's register and a page in memory are operands of one instruction.
 * Source: AMD64 Architecture Programmer's Manual volume 2, chapter 5.
 *
 * Locks: none; runs in the thread that runs the CPU.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "kvm_priv.h"

#define CR0_PG    BIT(31)
#define CR0_WP    BIT(16)
#define CR4_PSE   BIT(4)
#define CR4_PAE   BIT(5)
#define EFER_LMA  BIT(10)
#define P_PRESENT 1ULL
#define P_WRITE   2ULL
#define P_USER    4ULL
#define P_LARGE   0x80ULL

struct paging {
	unsigned levels, bits, entry_bytes; /* bits of index a level */
	u64 root_mask;
};

static bool long_mode(const struct kvm_vcpu *v)
{
	return v->g.vmcb->efer & EFER_LMA;
}

enum x86_mode kvm_mode(const struct kvm_vcpu *v)
{
	const struct vmcb *c = v->g.vmcb;

	if (!(c->cr0 & 1) || (c->rflags & BIT(17)))
		return X86_CODE_16;
	if (long_mode(v) && (c->cs.attributes & BIT(9)))
		return X86_CODE_64;
	return c->cs.attributes & BIT(10) ? X86_CODE_32 : X86_CODE_16;
}

u64 kvm_linear(struct kvm_vcpu *v, const struct svm_segment *s, bool fs_gs, u64 offset)
{
	if (kvm_mode(v) == X86_CODE_64)
		return (fs_gs ? s->base : 0) + offset;
	return (u32)(s->base + offset);
}

static struct paging paging_of(const struct kvm_vcpu *v)
{
	const struct vmcb *c = v->g.vmcb;

	if (!(c->cr0 & CR0_PG))
		return (struct paging){ 0 };
	if (long_mode(v))
		return (struct paging){ 4, 9, 8, 0x000ffffffffff000ULL };
	if (c->cr4 & CR4_PAE)
		return (struct paging){ 3, 9, 8, 0xffffffe0ULL };
	return (struct paging){ 2, 10, 4, 0xfffff000ULL };
}

static bool allowed(const struct kvm_vcpu *v, u64 rights, enum kvm_access a)
{
	const struct vmcb *c = v->g.vmcb;
	bool user = (c->ss.attributes >> 5 & 3) == 3;

	if (user && !(rights & P_USER))
		return false;
	return a != GUEST_WRITE || (rights & P_WRITE) || (!user && !(c->cr0 & CR0_WP));
}

int kvm_translate(struct kvm_vcpu *v, u64 linear, enum kvm_access a, u64 *gpa)
{
	struct paging p = paging_of(v);
	u64 table = v->g.vmcb->cr3 & p.root_mask, rights = P_WRITE | P_USER;

	*gpa = linear;
	if (!p.levels)
		return 0;
	for (unsigned level = p.levels; level--;) {
		unsigned shift = 12 + p.bits * level;
		u64 index = linear >> shift & ((1U << (p.levels == 3 && level == 2 ? 2 : p.bits)) - 1), e = 0;

		if (kvm_read(v->vm, table + index * p.entry_bytes, &e, p.entry_bytes))
			return -EFAULT;
		if (!(e & P_PRESENT))
			return -EFAULT;
		if (p.levels != 3 || level != 2)
			rights &= e;
		if (!level || ((e & P_LARGE) && level <= 2 && (p.levels > 2 || (v->g.vmcb->cr4 & CR4_PSE)))) {
			u64 mask = (1ULL << shift) - 1, high = p.levels == 2 && level ? (e >> 13 & 0xff) << 32 : 0;

			if (p.levels == 2)
				e = (u32)e;
			*gpa = (e & 0x000ffffffffff000ULL & ~mask) | high | (linear & mask);
			return allowed(v, rights, a) ? 0 : -EFAULT;
		}
		table = e & 0x000ffffffffff000ULL;
	}
	return -EFAULT;
}

static int copy(struct kvm_vcpu *v, u64 linear, void *buf, size_t n, enum kvm_access a)
{
	while (n) {
		size_t part = min(n, PAGE_SIZE - linear % PAGE_SIZE);
		u64 gpa;
		int err = kvm_translate(v, linear, a, &gpa);

		if (!err)
			err = a == GUEST_WRITE ? kvm_write(v->vm, gpa, buf, part) : kvm_read(v->vm, gpa, buf, part);
		if (err)
			return err;
		buf = (char *)buf + part;
		linear += part;
		n -= part;
	}
	return 0;
}

int kvm_read_linear(struct kvm_vcpu *v, u64 linear, void *buf, size_t n, enum kvm_access a)
{
	return copy(v, linear, buf, n, a);
}

int kvm_write_linear(struct kvm_vcpu *v, u64 linear, const void *buf, size_t n)
{
	return copy(v, linear, (void *)buf, n, GUEST_WRITE);
}

/* The whole 15 bytes, or as many as there are before a page that is not mapped. */
unsigned kvm_fetch(struct kvm_vcpu *v, u8 out[15])
{
	u64 linear = kvm_linear(v, &v->g.vmcb->cs, false, v->g.vmcb->rip);
	unsigned first = (unsigned)min((u64)15, PAGE_SIZE - linear % PAGE_SIZE);

	if (kvm_read_linear(v, linear, out, first, GUEST_FETCH))
		return 0;
	if (first < 15 && kvm_read_linear(v, linear + first, out + first, 15 - first, GUEST_FETCH))
		return first;
	return 15;
}
