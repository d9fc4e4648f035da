/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest that is told of a machine-check architecture sets up its banks, and a VMM hands it the errors that
 * the host had in the guest's memory.
 *
 * Idea: the banks are remembered words, four a bank: control, status, address, misc. The VMM says how many there are.
 * An error from the VMM fills a bank; one that the guest cannot correct raises #MC, or ends the machine as a processor
 * would (machine checks off, or one still being handled).
 *
 * Contract: KVM_X86_GET_MCE_CAP_SUPPORTED, KVM_X86_SETUP_MCE and KVM_X86_SET_MCE of virt/kvm/api.rst; kvm_mce_read and
 * kvm_mce_write as kvm_msr_read and kvm_msr_write, -ENOENT for a register that is not of these. Source: AMD64 manual
 * volume 2, 9.3 (registers).
 *
 * Locks: the registers belong to the thread that runs the CPU.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "kvm_priv.h"

#define MCG_CAP    0x179
#define MCG_STATUS 0x17a
#define MCG_CTL    0x17b
#define BANK_FIRST 0x400 /* control, status, address, misc of bank 0 */

#define CAP_BANKS 0xffULL
#define CAP_CTL   BIT(8)  /* MCG_CTL exists */
#define CAP_SER   BIT(24) /* errors that software recovers from */

#define MCIP         BIT(2) /* of MCG_STATUS: a machine check is being handled */
#define STATUS_VALID BIT(63)
#define STATUS_OVER  BIT(62)
#define STATUS_UC    BIT(61)
#define CR4_MCE      BIT(6)
#define VEC_MC       18

enum { CONTROL, STATUS, ADDRESS, MISC };

static u64 *bank_word(struct kvm_vcpu *v, u32 msr)
{
	u32 n = msr - BANK_FIRST;

	return n < 4 * (v->mcg_cap & CAP_BANKS) ? &v->mce[n] : NULL;
}

int kvm_mce_read(struct kvm_vcpu *v, u32 msr, u64 *out, bool host)
{
	u64 *word = bank_word(v, msr);

	if (word)
		*out = *word;
	else if (msr == MCG_CAP)
		*out = v->mcg_cap;
	else if (msr == MCG_STATUS)
		*out = v->mcg_status;
	else if (msr == MCG_CTL)
		*out = v->mcg_ctl;
	else
		return -ENOENT;
	return msr == MCG_CTL && !host && !(v->mcg_cap & CAP_CTL) ? -EINVAL : 0;
}

static int write_bank(u64 *word, unsigned which, u64 value, bool host)
{
	/* all errors or none; guests know of bits 0 and 10 that some processors want clear */
	if (which == CONTROL && value && (value | 1ULL << 10 | 1) != ~0ULL)
		return -EINVAL;
	if (which == STATUS && value && !host)
		return -EINVAL;
	*word = value;
	return 0;
}

int kvm_mce_write(struct kvm_vcpu *v, u32 msr, u64 value, bool host)
{
	u64 *word = bank_word(v, msr);

	if (word)
		return write_bank(word, (msr - BANK_FIRST) % 4, value, host);
	switch (msr) {
	case MCG_CAP: return host && value == v->mcg_cap ? 0 : -EINVAL;
	case MCG_STATUS:
		if (value & ~7ULL)
			return -EINVAL;
		v->mcg_status = value;
		return 0;
	case MCG_CTL:
		if ((!host && !(v->mcg_cap & CAP_CTL)) || (value && value != ~0ULL))
			return -EINVAL;
		v->mcg_ctl = value;
		return 0;
	default: return -ENOENT;
	}
}

u64 kvm_mce_supported(void)
{
	return CAP_CTL | CAP_SER;
}

int kvm_mce_setup(struct kvm_vcpu *v, void *buf)
{
	u64 cap = *(u64 *)buf, banks = cap & CAP_BANKS;

	if (!banks || banks > KVM_MCE_BANKS || (cap & ~(CAP_BANKS | kvm_mce_supported())))
		return -EINVAL;
	v->mcg_cap = cap;
	v->mcg_ctl = cap & CAP_CTL ? ~0ULL : 0;
	memset(v->mce, 0, sizeof(v->mce));
	for (u64 i = 0; i < banks; i++)
		v->mce[4 * i + CONTROL] = ~0ULL;
	return 0;
}

static void fill(u64 *bank, const struct kvm_x86_mce *m, u64 more)
{
	bank[STATUS] = m->status | more;
	bank[ADDRESS] = m->addr;
	bank[MISC] = m->misc;
}

int kvm_mce_raise(struct kvm_vcpu *v, void *buf)
{
	const struct kvm_x86_mce *m = buf;
	u64 *bank, more;

	if (m->bank >= (v->mcg_cap & CAP_BANKS) || !(m->status & STATUS_VALID))
		return -EINVAL;
	bank = v->mce + 4ULL * m->bank;
	more = bank[STATUS] & STATUS_VALID ? STATUS_OVER : 0;
	if (!(m->status & STATUS_UC)) {
		if ((bank[STATUS] & (STATUS_VALID | STATUS_UC)) == (STATUS_VALID | STATUS_UC))
			bank[STATUS] |= STATUS_OVER; /* the worse one stays */
		else
			fill(bank, m, more);
		return 0;
	}
	if (((v->mcg_cap & CAP_CTL) && v->mcg_ctl != ~0ULL) || bank[CONTROL] != ~0ULL)
		return 0; /* the guest does not want to hear of it */
	if ((v->mcg_status & MCIP) || !(v->g.vmcb->cr4 & CR4_MCE)) {
		kvm_request(v, REQ_SHUTDOWN);
		return 0;
	}
	fill(bank, m, more);
	v->mcg_status = m->mcg_status;
	kvm_throw(v, VEC_MC, false, 0);
	return 0;
}
