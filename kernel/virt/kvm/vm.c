/* SPDX-License-Identifier: MIT
 *
 * Problem: programs find the hypervisor at /dev/kvm, ask what it can do, and make machines.
 *
 * Idea: /dev/kvm answers questions and gives a VM's file; the VM's file takes memory, interrupts and CPUs. SVM is
 * turned on when the first VM is made, so a machine that never runs one pays nothing.
 *
 * Contract: the system's and the VM's ioctls of virt/kvm/api.rst, interface version 12. A capability is reported only
 * if its ioctls are here.
 *
 * Locks: vm->lock for the VM's ioctls; `enable_lock` for turning SVM on.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/stat.h>
#include <mm/mm.h>
#include <task/task.h>
#include <task/tenant.h>
#include <vfs/device.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>
#include "kvm_priv.h"

#define KVM_DEV   DEV(10, 232)
#define MSR_EXITS (KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER)

static struct mutex enable_lock = MUTEX_INIT(enable_lock, RANK_SUBSYS);

/* ---- life ---- */

static int enable(void)
{
	int err;

	mutex_lock(&enable_lock);
	err = svm_enable();
	mutex_unlock(&enable_lock);
	return err;
}

int kvm_vm_create(struct kvm_vm **out)
{
	struct kvm_vm *vm;
	int err = enable();

	if (err)
		return err;
	vm = kzalloc(sizeof(*vm), ALLOC_CHARGED);
	if (!vm)
		return -ENOMEM;
	refcount_set(&vm->refs, 1);
	mutex_init(&vm->lock, RANK_SUBSYS);
	spin_init(&vm->io_lock, RANK_DRIVER);
	list_init(&vm->irqfds);
	list_init(&vm->ioeventfds);
	vm->tenant = current->tenant;
	if (npt_create(vm)) {
		kfree(vm);
		return -ENOMEM;
	}
	tenant_get(vm->tenant);
	vm->mm = current->mm;
	mm_hold(vm->mm);
	vm->clock_offset_ns = -(s64)clock_ns();
	kvm_memory_init(vm);
	*out = vm;
	return 0;
}

void kvm_vm_put(struct kvm_vm *vm)
{
	if (!refcount_dec_and_test(&vm->refs))
		return;
	kvm_irqfds_free(vm);
	kvm_pit_free(vm);
	kvm_ioeventfds_free(vm);
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		kvm_vcpu_free(vm->vcpu[i]);
	kvm_memory_free(vm); /* also waits for whoever still reads the routes */
	kfree(vm->routes);
	kvm_msr_filters_free(vm);
	kvm_chip_free(vm);
	mm_drop(vm->mm);
	tenant_put(vm->tenant);
	kfree(vm);
}

/* ---- capabilities ---- */

static const struct {
	u16 cap, value;
} caps[] = {
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_MP_STATE, 1 },
	{ KVM_CAP_NR_VCPUS, KVM_VCPUS },
	{ KVM_CAP_MAX_VCPUS, KVM_VCPUS },
	{ KVM_CAP_MAX_VCPU_ID, KVM_VCPUS },
	{ KVM_CAP_NR_MEMSLOTS, KVM_SLOTS },
	{ KVM_CAP_READONLY_MEM, 1 },
	{ KVM_CAP_SPLIT_IRQCHIP, 1 },
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_SET_BOOT_CPU_ID, 1 },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS },
	{ KVM_CAP_VCPU_ATTRIBUTES, 1 },
	{ KVM_CAP_PIT2, 1 },
	{ KVM_CAP_PIT_STATE2, 1 },
	{ KVM_CAP_IRQ_INJECT_STATUS, 1 },
	{ KVM_CAP_IRQ_ROUTING, KVM_GSIS },
	{ KVM_CAP_MCE, KVM_MCE_BANKS },
	{ KVM_CAP_SET_GUEST_DEBUG, 1 },
	{ KVM_CAP_X86_USER_SPACE_MSR, 1 },
	{ KVM_CAP_X86_MSR_FILTER, 1 },
	{ KVM_CAP_IRQFD, 1 },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
	{ KVM_CAP_SIGNAL_MSI, 1 },
	{ KVM_CAP_DEVICE_CTRL, 1 },
	{ KVM_CAP_ENABLE_CAP_VM, 1 },
	{ KVM_CAP_CHECK_EXTENSION_VM, 1 },
	{ KVM_CAP_VCPU_EVENTS, 1 },
	{ KVM_CAP_DEBUGREGS, 1 },
	{ KVM_CAP_XSAVE, 1 },
	{ KVM_CAP_XCRS, 1 },
	{ KVM_CAP_USER_NMI, 1 },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_ADJUST_CLOCK, KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC },
	{ KVM_CAP_INTERNAL_ERROR_DATA, 1 },
	{ KVM_CAP_ENABLE_CAP, 1 },
	{ KVM_CAP_ENFORCE_PV_FEATURE_CPUID, 1 },
	{ KVM_CAP_DISABLE_QUIRKS2, KVM_QUIRKS },
	{ KVM_CAP_MSR_PLATFORM_INFO, 1 },
	{ KVM_CAP_GET_MSR_FEATURES, 1 },
	{ KVM_CAP_BINARY_STATS_FD, 1 },
};

long kvm_check_extension(struct kvm_vm *vm, ulong cap)
{
	if (cap == KVM_CAP_SET_GUEST_DEBUG2)
		return KVM_DEBUG_KNOWN;
	for (unsigned i = 0; i < ARRAY_SIZE(caps); i++)
		if (caps[i].cap == cap)
			return caps[i].value;
	return 0;
}

/* ---- the VM's ioctls ---- */

static int set_memory(struct kvm_vm *vm, void __user *arg)
{
	struct kvm_userspace_memory_region r;
	int err = user_get(&r, arg, sizeof(r));

	return err ? err : kvm_set_slot(vm, &r);
}

static int get_dirty_log(struct kvm_vm *vm, void __user *arg)
{
	struct kvm_dirty_log l;
	int err = user_get(&l, arg, sizeof(l));

	return err ? err : kvm_dirty_log(vm, l.slot, (void __user *)l.dirty_bitmap);
}

static int enable_cap(struct kvm_vm *vm, void __user *arg)
{
	struct kvm_enable_cap c;
	int err = user_get(&c, arg, sizeof(c));

	if (err)
		return err;
	if (c.cap == KVM_CAP_X86_USER_SPACE_MSR && !c.flags && !(c.args[0] & ~(u64)MSR_EXITS)) {
		vm->msr_exits = (u32)c.args[0];
		return 0;
	}
	if (c.cap == KVM_CAP_MAX_VCPU_ID && !c.flags) {
		if (vm->max_id || vm->nr_vcpus || !c.args[0] || c.args[0] > KVM_VCPUS)
			return -EINVAL;
		vm->max_id = c.args[0];
		return 0;
	}
	if (c.cap == KVM_CAP_DISABLE_QUIRKS2 && !c.flags && !(c.args[0] & ~(u64)KVM_QUIRKS)) {
		vm->quirks_off = (u32)c.args[0];
		return 0;
	}
	if (c.cap == KVM_CAP_MSR_PLATFORM_INFO && !c.flags) {
		vm->hides_platform = !c.args[0];
		return 0;
	}
	if (c.flags || c.cap != KVM_CAP_SPLIT_IRQCHIP)
		return -EINVAL;
	if (vm->nr_vcpus || vm->has_apic)
		return vm->nr_vcpus ? -EINVAL : -EEXIST;
	vm->has_apic = true;
	return 0;
}

static int event_fds(struct kvm_vm *vm, unsigned cmd, void __user *arg)
{
	struct kvm_ioeventfd io;
	struct kvm_irqfd irq;
	int err;

	if (cmd == KVM_IOEVENTFD) {
		err = user_get(&io, arg, sizeof(io));
		return err ? err : kvm_ioeventfd(vm, &io);
	}
	if (!vm->has_apic)
		return -EINVAL;
	err = user_get(&irq, arg, sizeof(irq));
	return err ? err : kvm_irqfd(vm, &irq);
}

static int set_msr_filter(struct kvm_vm *vm, void __user *arg)
{
	struct kvm_msr_filter *k = kzalloc(sizeof(*k), 0);
	int err = k ? user_get(k, arg, sizeof(*k)) : -ENOMEM;

	if (!err)
		err = kvm_set_msr_filter(vm, k);
	kfree(k);
	return err;
}

static int chip_state(struct kvm_vm *vm, bool set, void __user *arg)
{
	struct kvm_irqchip *k = kzalloc(sizeof(*k), 0);
	int err = k ? user_get(k, arg, sizeof(*k)) : -ENOMEM;

	if (!err)
		err = kvm_chip_state(vm, k, set);
	if (!err && !set)
		err = user_put(arg, k, sizeof(*k));
	kfree(k);
	return err;
}

static int create_pit(struct kvm_vm *vm, void __user *arg)
{
	struct kvm_pit_config k;
	int err = user_get(&k, arg, sizeof(k));

	return err ? err : kvm_pit_create(vm, &k);
}

static int pit_state(struct kvm_vm *vm, bool set, void __user *arg)
{
	struct kvm_pit_state2 k;
	int err = set ? user_get(&k, arg, sizeof(k)) : 0;

	if (!err)
		err = kvm_pit_state(vm, &k, set);
	return err || set ? err : user_put(arg, &k, sizeof(k));
}

static int irq_line(struct kvm_vm *vm, unsigned cmd, void __user *arg)
{
	struct kvm_irq_level l;
	int err = vm->has_apic ? user_get(&l, arg, sizeof(l)) : -ENXIO;

	if (!err)
		err = kvm_irq_line(vm, &l);
	return err || cmd == KVM_IRQ_LINE ? err : user_put(arg, &l, sizeof(l));
}

static int signal_msi(struct kvm_vm *vm, void __user *arg)
{
	struct kvm_msi m;
	int err = user_get(&m, arg, sizeof(m));

	if (err)
		return err;
	if (!vm->has_apic || (m.flags & ~KVM_MSI_VALID_DEVID))
		return -EINVAL;
	return kvm_signal_msi(vm, (u64)m.address_hi << 32 | m.address_lo, m.data) > 0;
}

static int vm_clock(struct kvm_vm *vm, unsigned cmd, void __user *arg)
{
	struct kvm_clock_data d = { .clock = clock_ns() + (u64)vm->clock_offset_ns,
				    .flags = KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC,
				    .realtime = clock_real_ns(),
				    .host_tsc = cpu_cycles() };
	u64 now;
	int err;

	if (cmd == KVM_GET_CLOCK)
		return user_put(arg, &d, sizeof(d));
	err = user_get(&d, arg, sizeof(d));
	if (err)
		return err;
	if (d.flags & ~KVM_CLOCK_REALTIME)
		return -EINVAL;
	now = clock_real_ns();
	if ((d.flags & KVM_CLOCK_REALTIME) && now > d.realtime) /* what passed since it was read elsewhere */
		d.clock += now - d.realtime;
	vm->clock_offset_ns = (s64)(d.clock - clock_ns());
	for (unsigned i = 0; i < vm->nr_vcpus; i++)
		kvm_request(vm->vcpu[i], REQ_CLOCK);
	return 0;
}

static long locked_ioctl(struct kvm_vm *vm, unsigned cmd, void __user *arg)
{
	switch (cmd) {
	case KVM_CHECK_EXTENSION: return kvm_check_extension(vm, (ulong)arg);
	case KVM_SET_USER_MEMORY_REGION: return set_memory(vm, arg);
	case KVM_GET_DIRTY_LOG: return get_dirty_log(vm, arg);
	case KVM_CREATE_VCPU: return kvm_vcpu_create(vm, (ulong)arg);
	case KVM_SET_BOOT_CPU_ID:
		if (vm->nr_vcpus)
			return -EBUSY;
		vm->boot_cpu = (ulong)arg;
		return 0;
	case KVM_ENABLE_CAP: return enable_cap(vm, arg);
	case KVM_SET_GSI_ROUTING: return vm->has_apic ? kvm_set_routes(vm, arg) : -EINVAL;
	case KVM_IRQFD:
	case KVM_IOEVENTFD: return event_fds(vm, cmd, arg);
	case KVM_IRQ_LINE:
	case KVM_IRQ_LINE_STATUS: return irq_line(vm, cmd, arg);
	case KVM_CREATE_IRQCHIP: return kvm_chip_create(vm);
	case KVM_CREATE_PIT2: return create_pit(vm, arg);
	case KVM_GET_PIT2:
	case KVM_SET_PIT2: return pit_state(vm, cmd == KVM_SET_PIT2, arg);
	case KVM_GET_IRQCHIP:
	case KVM_SET_IRQCHIP: return chip_state(vm, cmd == KVM_SET_IRQCHIP, arg);
	case KVM_X86_SET_MSR_FILTER: return set_msr_filter(vm, arg);
	case KVM_SIGNAL_MSI: return signal_msi(vm, arg);
	case KVM_GET_CLOCK:
	case KVM_SET_CLOCK: return vm_clock(vm, cmd, arg);
	case KVM_GET_STATS_FD: return kvm_stats_fd(vm, NULL);
	case KVM_CREATE_DEVICE: return kvm_create_device(vm, arg);
	case KVM_SET_NR_MMU_PAGES: return (ulong)arg < 64 ? -EINVAL : 0; /* tables are paid for like other memory */
	case KVM_SET_TSS_ADDR: return 0;                                 /* VMX needs that page, SVM does not */
	case KVM_SET_IDENTITY_MAP_ADDR: return 0;
	default: return -ENOTTY;
	}
}

static long vm_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct kvm_vm *vm = f->priv;
	long ret;

	if (vm->mm != current->mm)
		return -EIO;
	ret = mutex_lock_killable(&vm->lock);
	if (ret)
		return ret;
	ret = locked_ioctl(vm, cmd, (void __user *)arg);
	mutex_unlock(&vm->lock);
	return ret;
}

static void vm_release(struct file *f)
{
	kvm_vm_put(f->priv);
}

const struct file_ops kvm_vm_ops = { .ioctl = vm_ioctl, .release = vm_release, .llseek = no_llseek };

/* ---- /dev/kvm ---- */

static long create_vm(ulong type)
{
	struct kvm_vm *vm;
	struct file *f;
	int err;

	if (type)
		return -EINVAL;
	err = kvm_vm_create(&vm);
	if (err)
		return err;
	err = file_anon("[kvm-vm]", &kvm_vm_ops, vm, O_RDWR, &f);
	if (err) {
		kvm_vm_put(vm);
		return err;
	}
	return fd_publish(f, O_CLOEXEC);
}

static long dev_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	u64 mce = kvm_mce_supported();

	switch (cmd) {
	case KVM_GET_API_VERSION: return arg ? -EINVAL : KVM_API_VERSION;
	case KVM_CREATE_VM: return create_vm(arg);
	case KVM_CHECK_EXTENSION: return kvm_check_extension(NULL, arg);
	case KVM_GET_VCPU_MMAP_SIZE: return arg ? -EINVAL : (long)(KVM_RUN_PAGES * PAGE_SIZE);
	case KVM_X86_GET_MCE_CAP_SUPPORTED: return user_put((void __user *)arg, &mce, sizeof(mce));
	case KVM_GET_SUPPORTED_CPUID: return kvm_cpuid_supported((struct kvm_cpuid2 __user *)arg);
	case KVM_GET_MSR_INDEX_LIST: return kvm_msr_list((struct kvm_msr_list __user *)arg);
	case KVM_GET_MSR_FEATURE_INDEX_LIST: return kvm_msr_feature_list((struct kvm_msr_list __user *)arg);
	case KVM_GET_MSRS: return kvm_msr_features((struct kvm_msrs __user *)arg);
	default: return -ENOTTY;
	}
}

static const struct file_ops dev_ops = { .ioctl = dev_ioctl, .llseek = no_llseek };
static struct chrdev dev = { .dev = KVM_DEV, .count = 1, .name = "kvm", .ops = &dev_ops };

static void kvm_init(void)
{
	if (!cpu_has(CPU_SVM))
		return;
	chrdev_register(&dev);
	if (devnode_add("kvm", S_IFCHR | 0660, KVM_DEV))
		log_warn("kvm: no memory for /dev/kvm");
}
PART_INIT(driver, kvm_init);
