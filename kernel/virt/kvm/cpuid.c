/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest may use of the processor what we keep apart for it, and must not be told of the rest.
 *
 * Idea: the supported list is the host's own CPUID with the bits taken out that name something we do not virtualise,
 * and the hypervisor's leaves put in. The VMM chooses from it and sets what the guest sees; a few bits follow the
 * guest's registers at run time.
 *
 * Contract: KVM_GET_SUPPORTED_CPUID, KVM_SET_CPUID2, KVM_GET_CPUID2 (virt/kvm/api.rst); once a CPU has run its list
 * stays (-EINVAL); the hypervisor's leaves as in
 * virt/kvm/x86/cpuid.rst. Source: AMD64 Architecture Programmer's Manual volume 3, appendix E.
 *
 * Locks: a CPU's list is its thread's.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/svm.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <asm/kvm_para.h>
#include <lib/err.h>
#include <lib/string.h>
#include "kvm_priv.h"

#define CR4_OSXSAVE       BIT(18)
#define MISC_ENABLE_MWAIT BIT(18)

static void host_cpuid(u32 leaf, u32 sub, u32 r[4])
{
	__asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

/* Standard-format size of the XSAVE area for these features. */
static u32 xsave_bytes(u64 features)
{
	u32 r[4], bytes = 576;

	for (u32 i = 2; i < 63; i++) {
		if (!(features >> i & 1))
			continue;
		host_cpuid(0xd, i, r);
		bytes = max(bytes, r[0] + r[1]);
	}
	return bytes;
}

/* Bits that are not offered: leaf, register, mask. */
static const struct {
	u32 leaf, reg, mask;
} hidden[] = {
	/* MONITOR, DS-CPL, VMX, SMX, EIST, TM2, SDBG, xTPR, PDCM, PCID, DCA, OSXSAVE */
	{ 1, 2,
	  BIT(3) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(11) | BIT(14) | BIT(15) | BIT(17) | BIT(18) |
		  BIT(27) },
	/* DS, ACPI, HTT, TM, PBE */
	{ 1, 3, BIT(21) | BIT(22) | BIT(28) | BIT(29) | BIT(31) },
	/* SGX, RTM and HLE, RDT monitoring and allocation, MPX, Intel PT */
	{ 7, 1, BIT(2) | BIT(4) | BIT(11) | BIT(12) | BIT(14) | BIT(15) | BIT(25) },
	/* PKU, OSPKE, WAITPKG, CET, TME, LA57, BUSLOCK, ENQCMD, SGX_LC, PKS */
	{ 7, 2, BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(13) | BIT(16) | BIT(24) | BIT(29) | BIT(30) | BIT(31) },
	{ 7, 3, ~0U },
	/* SVM, extended APIC space, OSVW, IBS, SKINIT, WDT, LWP, TCE, node id, performance counters, DBEXT, MWAITX */
	{ 0x80000001, 2,
	  BIT(2) | BIT(3) | BIT(9) | BIT(10) | BIT(12) | BIT(13) | BIT(15) | BIT(17) | BIT(19) | BIT(23) | BIT(24) |
		  BIT(26) | BIT(27) | BIT(28) | BIT(29) },
	{ 0x80000007, 3, ~(u32)BIT(8) },
};

static void filter(u32 leaf, u32 sub, u32 r[4])
{
	for (unsigned i = 0; i < ARRAY_SIZE(hidden); i++)
		if (hidden[i].leaf == leaf)
			r[hidden[i].reg] &= ~hidden[i].mask;
	switch (leaf) {
	case 1: r[2] |= BIT(31) | BIT(21); break; /* hypervisor, x2APIC */
	case 5:
	case 6:
	case 0xa:
	case 0x8000000a: memset(r, 0, 4 * sizeof(u32)); break;
	case 0xd:
		if (sub == 0) {
			r[0] &= (u32)arch_fpu_features();
			r[1] = r[2] = xsave_bytes(r[0]);
			r[3] = 0;
		} else if (sub == 1) {
			r[0] &= BIT(0) | BIT(2); /* XSAVEOPT, XGETBV(1); no compacted form */
			r[1] = r[2] = r[3] = 0;
		} else if (sub >= 64 || !(arch_fpu_features() >> sub & 1)) {
			memset(r, 0, 4 * sizeof(u32));
		}
		break;
	default: break;
	}
}

/* ---- the supported list ---- */

struct builder {
	struct kvm_cpuid_entry2 *entry;
	unsigned nr, room;
};

static bool sub_leaves(u32 leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
}

static void put(struct builder *b, u32 leaf, u32 sub, const u32 r[4])
{
	if (b->nr < b->room)
		b->entry[b->nr] =
			(struct kvm_cpuid_entry2){ .function = leaf,
						   .index = sub,
						   .flags = sub_leaves(leaf) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
						   .eax = r[0],
						   .ebx = r[1],
						   .ecx = r[2],
						   .edx = r[3] };
	b->nr++;
}

static void put_leaf(struct builder *b, u32 leaf)
{
	u32 r[4];

	for (u32 sub = 0; sub < (leaf == 0xd ? 64 : 8); sub++) {
		host_cpuid(leaf, sub, r);
		filter(leaf, sub, r);
		if (sub && !(r[0] | r[1] | r[2] | r[3]) && leaf != 0xd)
			return;
		if (!sub || (r[0] | r[1] | r[2] | r[3]))
			put(b, leaf, sub, r);
		if (!sub_leaves(leaf))
			return;
	}
}

static void put_range(struct builder *b, u32 first, u32 limit)
{
	u32 r[4];

	host_cpuid(first, 0, r);
	for (u32 leaf = first; leaf <= min(r[0], limit); leaf++)
		put_leaf(b, leaf);
}

static void put_hypervisor(struct builder *b)
{
	static const char name[12] = "KVMKVMKVM\0\0";
	u32 r[4] = { KVM_CPUID_FEATURES };

	memcpy(&r[1], name, sizeof(name));
	put(b, KVM_CPUID_SIGNATURE, 0, r);
	put(b, KVM_CPUID_FEATURES, 0,
	    (u32[4]){ BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_NOP_IO_DELAY) |
			      BIT(KVM_FEATURE_PV_EOI) | BIT(KVM_FEATURE_STEAL_TIME) | BIT(KVM_FEATURE_PV_SCHED_YIELD) |
			      BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT),
		      0, 0, 0 });
}

int kvm_cpuid_supported(struct kvm_cpuid2 __user *list)
{
	struct builder b = { .room = KVM_CPUID_MAX };
	struct kvm_cpuid2 head;
	int err = user_get(&head, list, sizeof(head));

	if (err)
		return err;
	b.entry = kcalloc(KVM_CPUID_MAX, sizeof(*b.entry), 0);
	if (!b.entry)
		return -ENOMEM;
	put_range(&b, 0, 0x1f);
	put_hypervisor(&b);
	put_range(&b, 0x80000000, 0x80000021);
	b.nr = min(b.nr, b.room);
	if (head.nent < b.nr)
		err = -E2BIG;
	head.nent = b.nr;
	if (!err)
		err = user_put((char __user *)list + sizeof(head), b.entry, b.nr * sizeof(*b.entry));
	if (!err)
		err = user_put(list, &head, sizeof(head));
	kfree(b.entry);
	return err;
}

/* ---- a CPU's own list ---- */

/* Bits of CR4 that a feature has to be there for, and the others that are always offered. */
bool kvm_cr4_ok(struct kvm_vcpu *v, u64 cr4)
{
	static const struct {
		u8 bit, leaf, reg, feature;
	} needs[] = {
		{ 11, 7, 2, 2 },  /* UMIP */
		{ 16, 7, 1, 0 },  /* FSGSBASE */
		{ 18, 1, 2, 26 }, /* OSXSAVE */
		{ 20, 7, 1, 7 },  /* SMEP */
		{ 21, 7, 1, 20 }, /* SMAP */
	};
	u64 allowed = 0x7ff;
	u32 r[4];

	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++) {
		if (v->nr_cpuid) {
			kvm_cpuid(v, needs[i].leaf, 0, r);
		} else { /* no model yet: all that there could be */
			host_cpuid(needs[i].leaf, 0, r);
			filter(needs[i].leaf, 0, r);
		}
		allowed |= (u64)(r[needs[i].reg] >> needs[i].feature & 1) << needs[i].bit;
	}
	return !(cr4 & ~allowed);
}

int kvm_cpuid_set(struct kvm_vcpu *v, const struct kvm_cpuid2 __user *list)
{
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 head;
	int err = user_get(&head, list, sizeof(head));

	if (err)
		return err;
	if (head.nent > KVM_CPUID_MAX)
		return -E2BIG;
	e = kcalloc(max(head.nent, 1U), sizeof(*e), 0);
	if (!e)
		return -ENOMEM;
	err = user_get(e, (const char __user *)list + sizeof(head), head.nent * sizeof(*e));
	if (err) {
		kfree(e);
		return err;
	}
	for (u32 i = 0; i < head.nent; i++)
		if (e[i].function == 0xd && !e[i].index)
			e[i].ebx = xsave_bytes(1); /* as a guest finds it that has turned on nothing yet */
	if (v->stats[STAT_EXITS]) {                /* the guest may have seen it */
		bool same = head.nent == v->nr_cpuid && !memcmp(e, v->cpuid, head.nent * sizeof(*e));

		kfree(e);
		return same ? 0 : -EINVAL;
	}
	kfree(v->cpuid);
	v->cpuid = e;
	v->nr_cpuid = head.nent;
	return 0;
}

int kvm_cpuid_get(struct kvm_vcpu *v, struct kvm_cpuid2 __user *list)
{
	struct kvm_cpuid2 head;
	int err = user_get(&head, list, sizeof(head));

	if (!err && head.nent < v->nr_cpuid)
		err = -E2BIG;
	head.nent = v->nr_cpuid;
	if (!err)
		err = user_put((char __user *)list + sizeof(head), v->cpuid, v->nr_cpuid * sizeof(*v->cpuid));
	return err ? err : user_put(list, &head, sizeof(head));
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_vcpu *v, u32 leaf, u32 sub)
{
	for (unsigned i = 0; i < v->nr_cpuid; i++) {
		const struct kvm_cpuid_entry2 *e = &v->cpuid[i];

		if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == sub))
			return e;
	}
	return NULL;
}

bool kvm_cpuid(struct kvm_vcpu *v, u32 leaf, u32 sub, u32 out[4])
{
	const struct kvm_cpuid_entry2 *e = find(v, leaf, sub);

	memset(out, 0, 4 * sizeof(u32));
	if (!e)
		return false;
	out[0] = e->eax;
	out[1] = e->ebx;
	out[2] = e->ecx;
	out[3] = e->edx;
	if (leaf == 1) {
		out[2] = (out[2] & ~(u32)BIT(27)) | ((v->g.vmcb->cr4 & CR4_OSXSAVE) ? BIT(27) : 0);
		if (v->vm->has_apic && !(v->apic.base & LAPIC_BASE_ENABLE))
			out[3] &= ~(u32)BIT(9);
		if (v->vm->quirks_off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT)
			out[2] = (out[2] & ~(u32)BIT(3)) | (v->misc_enable & MISC_ENABLE_MWAIT ? BIT(3) : 0);
	} else if (leaf == 0xd && !sub) {
		out[1] = xsave_bytes(v->g.xcr0);
		out[2] = xsave_bytes(out[0]);
	}
	return true;
}
