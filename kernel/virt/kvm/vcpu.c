/* SPDX-License-Identifier: MIT
 *
 * Problem: a virtual CPU is a file: created on a VM, mapped for its run area, driven by ioctls, and kept alive by
 * whoever still has it open or mapped.
 *
 * Idea: three pages are mapped to the VMM (the run structure, a page of port data, one that clients reserve for
 * coalesced writes); the mapping holds the file. The control block starts as a processor after reset.
 *
 * Contract: KVM_CREATE_VCPU and the CPU's ioctls of virt/kvm/api.rst; a CPU is run only from the address space that
 * made its VM (-EIO). Source of the reset state: AMD64 Architecture Programmer's Manual volume 2, table 14-1.
 *
 * Locks: v->lock for every ioctl of the CPU.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <mm/mm.h>
#include <task/sched.h>
#include <task/tenant.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "kvm_priv.h"

#define EFER_SVME BIT(12)

/* ---- the bitmaps that all CPUs share: every port and, but for a few, every register is caught ---- */

static u8 *port_map, *msr_map, *all_msrs_map;

static int make_maps(void)
{
	struct page *ports, *msrs, *all;

	if (msr_map)
		return 0;
	ports = page_alloc(2, 0, NULL);
	msrs = page_alloc(1, 0, NULL);
	all = page_alloc(1, 0, NULL);
	if (!ports || !msrs || !all) {
		if (ports)
			page_put(ports);
		if (msrs)
			page_put(msrs);
		if (all)
			page_put(all);
		return -ENOMEM;
	}
	all_msrs_map = page_virt(all);
	memset(all_msrs_map, 0xff, SVM_MSRPM_BYTES);
	port_map = page_virt(ports);
	memset(port_map, 0xff, SVM_IOPM_BYTES);
	msr_map = page_virt(msrs);
	memset(msr_map, 0xff, SVM_MSRPM_BYTES);
	kvm_msr_pass(msr_map);
	return 0;
}

/* ---- reset ---- */

static struct svm_segment segment(u16 selector, u16 attributes, u64 base)
{
	return (struct svm_segment){ selector, attributes, 0xffff, base };
}

static void set_intercepts(struct vmcb *c)
{
	c->intercept[0] = SVM_INTERCEPT_INTR | SVM_INTERCEPT_NMI | SVM_INTERCEPT_SMI | SVM_INTERCEPT_INIT |
			  SVM_INTERCEPT_RDPMC | SVM_INTERCEPT_CPUID | SVM_INTERCEPT_INVD | SVM_INTERCEPT_HLT |
			  SVM_INTERCEPT_INVLPGA | SVM_INTERCEPT_IOIO | SVM_INTERCEPT_MSR | SVM_INTERCEPT_TASK |
			  SVM_INTERCEPT_SHUTDOWN;
	c->intercept[1] = SVM_INTERCEPT_VMRUN | SVM_INTERCEPT_VMMCALL | SVM_INTERCEPT_VMLOAD | SVM_INTERCEPT_VMSAVE |
			  SVM_INTERCEPT_STGI | SVM_INTERCEPT_CLGI | SVM_INTERCEPT_SKINIT | SVM_INTERCEPT_WBINVD |
			  SVM_INTERCEPT_MONITOR | SVM_INTERCEPT_MWAIT | SVM_INTERCEPT_XSETBV;
	c->intercept_dr_read = c->intercept_dr_write = 0xffff;
	c->intercept_exceptions = BIT(1) | BIT(6) | BIT(17);
}

void kvm_use_msr_map(struct kvm_vcpu *v)
{
	v->g.vmcb->msrpm_base = virt_to_phys(READ_ONCE(v->vm->msr_filters) ? all_msrs_map : msr_map);
}

void kvm_vcpu_reset(struct kvm_vcpu *v, bool by_init)
{
	struct vmcb *c = v->g.vmcb;
	u64 tsc_offset = c->tsc_offset, pat = c->pat;
	u32 r[4];

	memset(c, 0, sizeof(*c));
	set_intercepts(c);
	c->iopm_base = virt_to_phys(port_map);
	kvm_use_msr_map(v);
	c->tsc_offset = tsc_offset;
	c->nested_paging = 1;
	c->nested_cr3 = virt_to_phys(v->vm->root);
	c->virtual_irq = SVM_VIRQ_MASKING;
	c->es = c->ss = c->ds = c->fs = c->gs = segment(0, 0x93, 0);
	c->cs = segment(0xf000, 0x9b, 0xffff0000);
	c->gdtr = c->idtr = segment(0, 0, 0);
	c->ldtr = segment(0, 0x82, 0);
	c->tr = segment(0, 0x8b, 0);
	c->efer = EFER_SVME;
	c->cr0 = 0x60000010;
	c->rflags = 2;
	c->rip = 0xfff0;
	c->pat = by_init ? pat : 0x0007040600070406;
	memset(&v->g.regs, 0, sizeof(v->g.regs));
	kvm_cpuid(v, 1, 0, r);
	v->g.regs.rdx = r[0] ? r[0] : 0x600;
	v->exception.pending = v->nmi_masked = v->nmi_queued = false;
	v->ext_irq = -1;
	v->asid_gen = 0;
	v->g.xcr0 = 1;
	v->eoi_msr = v->steal_msr = 0;
	kvm_debug_reset(v);
	if (v->vm->has_apic)
		lapic_reset(&v->apic);
}

/* ---- waking ---- */

void kvm_kick(struct kvm_vcpu *v)
{
	struct task *t;
	int cpu;

	rcu_read_lock();
	t = rcu_deref(v->runner);
	if (t) {
		task_wake_states(t, BIT(TASK_INTERRUPTIBLE));
		cpu = __atomic_load_n(&v->guest_cpu, __ATOMIC_SEQ_CST);
		if (cpu >= 0 && cpu != (int)cpu_id())
			cpu_kick((unsigned)cpu);
	}
	rcu_read_unlock();
}

void kvm_request(struct kvm_vcpu *v, enum kvm_request r)
{
	__atomic_fetch_or(&v->requests, BIT(r), __ATOMIC_SEQ_CST);
	kvm_kick(v);
}

/* ---- the local APIC's surroundings ---- */

static void timer_fired(struct timer *t)
{
	kvm_request(container_of(t, struct kvm_vcpu, timer), REQ_TIMER);
}

static u64 apic_now(struct lapic *l)
{
	return clock_ns();
}

static u64 apic_tsc(struct lapic *l)
{
	return kvm_guest_tsc(vcpu_of_apic(l));
}

static u64 apic_tsc_to_ns(struct lapic *l, u64 cycles)
{
	u64 start, mult;

	clock_parameters(&start, &mult);
	return (u64)((unsigned __int128)cycles * mult >> 32);
}

static void apic_arm(struct lapic *l, u64 deadline_ns)
{
	struct kvm_vcpu *v = vcpu_of_apic(l);

	if (deadline_ns)
		timer_arm(&v->timer, deadline_ns, 0);
	else
		(void)timer_cancel(&v->timer);
}

static void apic_send(struct lapic *l, const struct lapic_message *m)
{
	kvm_apic_send(vcpu_of_apic(l)->vm, vcpu_of_apic(l), m);
}

/* A level-triggered source's controller must hear of the end; it is here or the VMM's. */
static void apic_eoi(struct lapic *l, u8 vector)
{
	struct kvm_vcpu *v = vcpu_of_apic(l);

	if (v->vm->chip)
		kvm_chip_eoi(v->vm, vector);
	else if (kvm_wants_eoi(v->vm, vector))
		v->eoi[vector / 64] |= BIT(vector % 64);
}

static const struct lapic_ops apic_ops = {
	.now_ns = apic_now,
	.tsc = apic_tsc,
	.tsc_to_ns = apic_tsc_to_ns,
	.arm = apic_arm,
	.send = apic_send,
	.eoi = apic_eoi,
};

/* ---- the run area ---- */

static int fill(struct mapping *m, u64 index, bool write, struct page **out)
{
	struct kvm_vcpu *v = m->owner;

	if (index >= KVM_RUN_PAGES)
		return -EFAULT;
	*out = v->pages + index;
	page_get(*out);
	return 0;
}

static void keep(struct mapping *m)
{
	file_get(((struct kvm_vcpu *)m->owner)->file);
}

static void let_go(struct mapping *m)
{
	file_put(((struct kvm_vcpu *)m->owner)->file);
}

static void describe(struct mapping *m, struct mapping_name *out)
{
	*out = (struct mapping_name){ .path = "anon_inode:kvm-vcpu" };
}

static const struct mapping_ops mapping_ops = { .fill = fill, .get = keep, .put = let_go, .describe = describe };

static int vcpu_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	struct kvm_vcpu *v = f->priv;

	if (*index + (bytes >> PAGE_SHIFT) > KVM_RUN_PAGES)
		return -EINVAL;
	*out = &v->mapping;
	return 0;
}

/* ---- life ---- */

static int get_pages(struct kvm_vcpu *v)
{
	v->pages = page_alloc(2, ALLOC_ZERO, v->vm->tenant);
	v->fpu = arch_fpu_alloc();
	if (!v->pages || !v->fpu)
		return -ENOMEM;
	page_split(v->pages);
	for (unsigned i = 0; i < KVM_RUN_PAGES; i++)
		v->pages[i].owner = &v->mapping; /* mm asks whether a page still belongs to what it maps */
	v->run = page_virt(v->pages);
	v->g.vmcb = page_virt(v->pages + KVM_RUN_PAGES);
	v->g.vmcb_phys = page_phys(v->pages + KVM_RUN_PAGES);
	return 0;
}

void kvm_vcpu_free(struct kvm_vcpu *v)
{
	(void)timer_cancel(&v->timer);
	arch_fpu_free_area(v->fpu);
	for (unsigned i = 0; v->pages && i <= KVM_RUN_PAGES; i++) {
		v->pages[i].owner = NULL;
		page_put(v->pages + i);
	}
	kfree(v->cpuid);
	kfree(v);
}

static long vcpu_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct kvm_vcpu *v = f->priv;
	long ret;

	if (v->vm->mm != current->mm)
		return -EIO;
	ret = mutex_lock_killable(&v->lock);
	if (ret)
		return ret;
	if (cmd == KVM_RUN)
		ret = arg ? -EINVAL : kvm_run(v);
	else
		ret = kvm_state_ioctl(v, cmd, (void __user *)arg);
	mutex_unlock(&v->lock);
	return ret;
}

/* The CPU stays in its VM's table until the VM goes: its number is taken for good. */
static void vcpu_release(struct file *f)
{
	struct kvm_vcpu *v = f->priv;

	kvm_vm_put(v->vm);
}

static const struct file_ops vcpu_ops = {
	.ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = no_llseek,
};

static struct kvm_vcpu *make(struct kvm_vm *vm, ulong id)
{
	struct kvm_vcpu *v = kzalloc(sizeof(*v), ALLOC_CHARGED);

	if (!v)
		return NULL;
	v->vm = vm;
	v->id = (unsigned)id;
	v->guest_cpu = -1;
	mutex_init(&v->lock, RANK_VCPU);
	mapping_init(&v->mapping, &mapping_ops, v);
	timer_init(&v->timer, timer_fired);
	v->apic.ops = &apic_ops;
	v->apic.id = v->id;
	v->apic.base = LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLE | (id == vm->boot_cpu ? LAPIC_BASE_BSP : 0);
	v->misc_enable = 1;
	v->mp_state = id != vm->boot_cpu && vm->has_apic ? KVM_MP_STATE_UNINITIALIZED : KVM_MP_STATE_RUNNABLE;
	if (get_pages(v)) {
		kvm_vcpu_free(v);
		return NULL;
	}
	kvm_vcpu_reset(v, false);
	v->g.vmcb->tsc_offset = -cpu_cycles();
	return v;
}

/* vm->lock held. */
static int add(struct kvm_vm *vm, ulong id, struct kvm_vcpu **out)
{
	if (id >= (vm->max_id ? vm->max_id : KVM_VCPUS) || vm->nr_vcpus == KVM_VCPUS)
		return -EINVAL;
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		if (vm->vcpu[i]->id == id)
			return -EEXIST;
	*out = make(vm, id);
	return *out ? 0 : -ENOMEM;
}

int kvm_vcpu_create(struct kvm_vm *vm, ulong id)
{
	struct kvm_vcpu *v;
	struct file *f;
	int err = make_maps();

	if (!err)
		err = add(vm, id, &v);
	if (err)
		return err;
	err = file_anon("[kvm-vcpu]", &vcpu_ops, v, O_RDWR, &f);
	if (err) {
		kvm_vcpu_free(v);
		return err;
	}
	v->file = f;
	refcount_inc(&vm->refs);
	vm->vcpu[vm->nr_vcpus] = v;
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	return fd_publish(f, O_CLOEXEC);
}
