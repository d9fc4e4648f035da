/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: KVM: small guests in real mode that use ports, device memory, memory that the host takes away under them,
 * CPUID, interrupts from the VMM and from the local APIC's timer; and what a VMM gets for wrong arguments. Without
 * /dev/kvm (a processor without the extension, or a kernel without its driver) every case is skipped.
 *
 * Contract: prints `ok NAME`, `skip NAME: why` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which
 * is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <asm/kvm_para.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include "abi.h"

#define MEMORY   0x10000UL
#define CODE     0x1000UL
#define DEVICE   0xd0000UL
#define APIC_MEM 0xfee00000UL
#define IOAPIC   0xfec00000UL

struct vm {
	int kvm, fd, cpu;
	struct kvm_run *run;
	uint8_t *memory;
	size_t run_bytes;
};

static struct vm m;

#define GUEST(name, text)                                                                                              \
	__asm__(".pushsection .rodata\n.code16\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection");          \
	extern const uint8_t name[], name##_end[]

GUEST(guest_ports, "mov $0x3f8, %dx\n mov $0x41, %al\n out %al, %dx\n in %dx, %al\n inc %al\n out %al, %dx\n"
		   "mov $0x1234, %ax\n out %ax, $0x80\n hlt");
GUEST(guest_string, "cld\n mov $0x3f8, %dx\n mov $0x2000, %si\n mov $5, %cx\n rep outsb\n"
		    "mov $0x3000, %di\n mov $3, %cx\n rep insb\n hlt");
GUEST(guest_device, "mov $0xd000, %ax\n mov %ax, %ds\n movl 0, %eax\n addl $2, %eax\n movl %eax, 4\n addb $1, 8\n"
		    "movzbl 12, %ecx\n movw %cx, 16\n hlt");
GUEST(guest_count, "mov $0x4000, %bx\n mov $1000, %cx\n 1: incl (%bx)\n loop 1b\n hlt");
GUEST(guest_peek, "mov 0x5000, %eax\n mov %eax, 0x2000\n movl $7, 0x5000\n hlt");
GUEST(guest_look, "mov 0x5000, %eax\n mov %eax, 0x2000\n hlt");
GUEST(guest_cpuid, "mov $0x40000000, %eax\n cpuid\n mov %ebx, 0x2000\n mov %ecx, 0x2004\n mov %edx, 0x2008\n hlt");
GUEST(guest_spin, "1: jmp 1b");
GUEST(guest_interrupt, "movw $(2f - guest_interrupt + 0x1000), 0x80 * 4\n movw $0, 0x80 * 4 + 2\n sti\n"
		       "1: hlt\n jmp 1b\n 2: mov $0x49, %al\n out %al, $0x80\n iret");
GUEST(guest_timer, "movw $(2f - guest_timer + 0x1000), 0x40 * 4\n movw $0, 0x40 * 4 + 2\n "
		   "movl $0x1ff, %fs:0xf0\n movl $0x40, %fs:0x320\n movl $0xb, %fs:0x3e0\n movl $100000, %fs:0x380\n"
		   "sti\n 1: hlt\n jmp 1b\n 2: movl $0, %fs:0xb0\n mov $0x54, %al\n out %al, $0x80\n iret");
GUEST(guest_end_by_word, "movw $(2f - guest_end_by_word + 0x1000), 0x40 * 4\n movw $0, 0x40 * 4 + 2\n"
			 "movw $(2f - guest_end_by_word + 0x1000), 0x50 * 4\n movw $0, 0x50 * 4 + 2\n"
			 "movl $0x1ff, %fs:0xf0\n out %al, $0x90\n sti\n 1: hlt\n jmp 1b\n"
			 "2: btrl $0, 0x5000\n setc %al\n jc 3f\n movl $0, %fs:0xb0\n 3: out %al, $0x80\n iret");
GUEST(guest_machine_check,
      "movw $(2f - guest_machine_check + 0x1000), 18 * 4\n movw $0, 18 * 4 + 2\n mov %cr4, %eax\n or $0x40, %al\n"
      "mov %eax, %cr4\n out %al, $0x81\n hlt\n 2: mov $0x401, %ecx\n rdmsr\n out %al, $0x80\n hlt");
GUEST(guest_steps, "nop\n mov $0x41, %al\n out %al, $0x80\n nop\n hlt");
GUEST(guest_breakpoints, "movw $(2f - guest_breakpoints + 0x1000), 3 * 4\n movw $0, 3 * 4 + 2\n"
			 "movw $(2f - guest_breakpoints + 0x1000), 0x21 * 4\n movw $0, 0x21 * 4 + 2\n"
			 "int $0x21\n int3\n hlt\n 2: incb 0x2000\n iret");
GUEST(guest_registers, "movl $0x1234, %ecx\n rdmsr\n out %al, $0x80\n movl $0x1a0, %ecx\n rdmsr\n out %al, $0x81\n"
		       "mov $0x77, %al\n wrmsr\n hlt");
GUEST(guest_old_controller,
      "movw $(2f - guest_old_controller + 0x1000), 0x21 * 4\n movw $0, 0x21 * 4 + 2\n mov $0x11, %al\n out %al, $0x20\n"
      "mov $0x20, %al\n out %al, $0x21\n mov $4, %al\n out %al, $0x21\n mov $1, %al\n out %al, $0x21\n"
      "mov $0xfd, %al\n out %al, $0x21\n sti\n out %al, $0x90\n 1: hlt\n jmp 1b\n"
      "2: in $0x21, %al\n out %al, $0x80\n mov $0x20, %al\n out %al, $0x20\n iret");
GUEST(guest_ioapic, "mov $0xff, %al\n out %al, $0x21\n"
		    "movw $(2f - guest_ioapic + 0x1000), 0x40 * 4\n movw $0, 0x40 * 4 + 2\n movl $0x1ff, %gs:0xf0\n"
		    "movl $0x1b, %fs:0\n movl $0, %fs:0x10\n movl $0x1a, %fs:0\n movl $0x8040, %fs:0x10\n"
		    "movl $1, %fs:0\n movl %fs:0x10, %eax\n shr $16, %eax\n sti\n out %al, $0x90\n 1: hlt\n jmp 1b\n"
		    "2: movl $0, %gs:0xb0\n mov $0x49, %al\n out %al, $0x80\n iret");
GUEST(guest_undefined,
      "movw $(2f - guest_undefined + 0x1000), 6 * 4\n movw $0, 6 * 4 + 2\n .byte 0x0f, 0x01, 0xd8\n hlt\n"
      "2: mov $0x55, %al\n out %al, $0x80\n hlt");

GUEST(guest_hypercalls,
      "movw $(2f - guest_hypercalls + 0x1000), 6 * 4\n movw $0, 6 * 4 + 2\n movl $11, %eax\n movl $0, %ebx\n vmmcall\n"
      "out %eax, $0x80\n movl $1000, %eax\n vmmcall\n out %eax, $0x80\n movl $11, %eax\n vmcall\n out %eax, $0x80\n"
      "hlt\n 2: mov $0x55, %al\n out %al, $0x81\n hlt");
GUEST(guest_monitor, "movw $(2f - guest_monitor + 0x1000), 6 * 4\n movw $0, 6 * 4 + 2\n xor %eax, %eax\n xor %ecx, "
		     "%ecx\n xor %edx, %edx\n"
		     "monitor\n mwait\n out %al, $0x80\n monitor\n hlt\n 2: mov $0x55, %al\n out %al, $0x81\n hlt");
GUEST(guest_platform, "movl $0xce, %ecx\n rdmsr\n out %eax, $0x80\n hlt");

static void set_memory(uint32_t slot, uint64_t gpa, void *at, uint64_t bytes, uint32_t flags)
{
	struct kvm_userspace_memory_region r = { slot, flags, gpa, bytes, (uintptr_t)at };

	want_eq(ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &r), 0);
}

static void segments(uint64_t fs_base)
{
	struct kvm_sregs s;
	struct kvm_regs r = { .rip = CODE, .rsp = 0x8000, .rflags = 2 };

	want_eq(ioctl(m.cpu, KVM_GET_SREGS, &s), 0);
	s.cs.base = s.cs.selector = 0;
	s.fs.base = fs_base;
	s.fs.limit = 0xffff;
	s.gs.base = APIC_MEM;
	s.idt.base = 0;
	s.idt.limit = 0x3ff;
	want_eq(ioctl(m.cpu, KVM_SET_SREGS, &s), 0);
	want_eq(ioctl(m.cpu, KVM_SET_REGS, &r), 0);
}

enum { NONE, SPLIT, WHOLE }; /* which interrupt controllers are in the kernel */

static void start(const uint8_t *code, const uint8_t *end, int split)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	m.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	want(m.kvm >= 0);
	m.fd = ioctl(m.kvm, KVM_CREATE_VM, 0);
	want(m.fd >= 0);
	if (split == SPLIT)
		want_eq(ioctl(m.fd, KVM_ENABLE_CAP, &cap), 0);
	else if (split == WHOLE)
		want_eq(ioctl(m.fd, KVM_CREATE_IRQCHIP, 0), 0);
	m.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	want(m.memory != MAP_FAILED);
	memcpy(m.memory + CODE, code, (size_t)(end - code));
	set_memory(0, 0, m.memory, MEMORY, 0);
	m.cpu = ioctl(m.fd, KVM_CREATE_VCPU, 0);
	want(m.cpu >= 0);
	m.run_bytes = (size_t)ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m.run = mmap(NULL, m.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.cpu, 0);
	want(m.run != MAP_FAILED);
	segments(0);
}
#define START(name, split) start(name, name##_end, split)

static void stop(void)
{
	munmap(m.run, m.run_bytes);
	munmap(m.memory, MEMORY);
	close(m.cpu);
	close(m.fd);
	close(m.kvm);
}

static void run_to(unsigned reason)
{
	want_eq(ioctl(m.cpu, KVM_RUN, 0), 0);
	want_eq(m.run->exit_reason, reason);
}

static void *port_data(void)
{
	return (char *)m.run + m.run->io.data_offset;
}

static void wrote(unsigned port, unsigned value, unsigned bytes)
{
	unsigned got = 0;

	run_to(KVM_EXIT_IO);
	want_eq(m.run->io.direction, KVM_EXIT_IO_OUT);
	want_eq(m.run->io.port, port);
	want_eq(m.run->io.size, bytes);
	memcpy(&got, port_data(), bytes);
	want_eq(got, value);
}

CASE(version)
{
	int kvm = open("/dev/kvm", O_RDWR);

	want_eq(ioctl(kvm, KVM_GET_API_VERSION, 0), 12);
	want_errno(ioctl(kvm, KVM_GET_API_VERSION, 1), EINVAL);
	want(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0) >= 0x3000);
	want_eq(ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY), 1);
	want_eq(ioctl(kvm, KVM_CHECK_EXTENSION, 60000), 0);
	close(kvm);
}

CASE(ports)
{
	START(guest_ports, 0);
	wrote(0x3f8, 0x41, 1);
	run_to(KVM_EXIT_IO);
	want_eq(m.run->io.direction, KVM_EXIT_IO_IN);
	*(uint8_t *)port_data() = 0x60;
	wrote(0x3f8, 0x61, 1);
	wrote(0x80, 0x1234, 2);
	run_to(KVM_EXIT_HLT);
	stop();
}

CASE(string_ports)
{
	char got[8] = "";
	unsigned n = 0;

	START(guest_string, 0);
	memcpy(m.memory + 0x2000, "hello", 5);
	while (n < 5) {
		run_to(KVM_EXIT_IO);
		want_eq(m.run->io.direction, KVM_EXIT_IO_OUT);
		want(m.run->io.count >= 1 && m.run->io.count <= 5 - n);
		memcpy(got + n, port_data(), m.run->io.count);
		n += m.run->io.count;
	}
	want(!strcmp(got, "hello"));
	for (n = 0; n < 3;) {
		run_to(KVM_EXIT_IO);
		want_eq(m.run->io.direction, KVM_EXIT_IO_IN);
		memcpy(port_data(), &"abc"[n], m.run->io.count);
		n += m.run->io.count;
	}
	run_to(KVM_EXIT_HLT);
	want(!memcmp(m.memory + 0x3000, "abc", 3));
	stop();
}

static void device(int write, uint64_t address, unsigned bytes, uint32_t value)
{
	run_to(KVM_EXIT_MMIO);
	want_eq(m.run->mmio.phys_addr, address);
	want_eq(m.run->mmio.len, bytes);
	want_eq(m.run->mmio.is_write, write);
	if (write)
		want(!memcmp(m.run->mmio.data, &value, bytes));
	else
		memcpy(m.run->mmio.data, &value, bytes);
}

CASE(device_memory)
{
	START(guest_device, 0);
	device(0, DEVICE, 4, 40);
	device(1, DEVICE + 4, 4, 42);
	device(0, DEVICE + 8, 1, 0xff);
	device(1, DEVICE + 8, 1, 0);
	device(0, DEVICE + 12, 1, 0x80);
	device(1, DEVICE + 16, 2, 0x80);
	run_to(KVM_EXIT_HLT);
	stop();
}

CASE(memory)
{
	START(guest_count, 0);
	run_to(KVM_EXIT_HLT);
	want_eq(*(uint32_t *)(m.memory + 0x4000), 1000);
	stop();
}

/* The host replaces a page that the guest has used; and takes the slot away. */
CASE(memory_changes_below)
{
	START(guest_peek, 0);
	*(uint32_t *)(m.memory + 0x5000) = 5;
	run_to(KVM_EXIT_HLT);
	want_eq(*(uint32_t *)(m.memory + 0x2000), 5);
	want_eq(*(uint32_t *)(m.memory + 0x5000), 7);
	want(mmap(m.memory + 0x5000, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	     m.memory + 0x5000);
	segments(0);
	run_to(KVM_EXIT_HLT);
	want_eq(*(uint32_t *)(m.memory + 0x2000), 0);
	want_eq(*(uint32_t *)(m.memory + 0x5000), 7);
	want_eq(madvise(m.memory + 0x5000, 0x1000, MADV_DONTNEED), 0);
	segments(0);
	run_to(KVM_EXIT_HLT);
	want_eq(*(uint32_t *)(m.memory + 0x2000), 0);
	set_memory(0, 0, m.memory, 0, 0);
	set_memory(0, 0, m.memory, 0x5000, 0);
	segments(0);
	run_to(KVM_EXIT_MMIO);
	want_eq(m.run->mmio.phys_addr, 0x5000);
	stop();
}

/* The same with a page that nobody has written yet: the host has none of its own for it. */
CASE(zeros_change_below)
{
	START(guest_look, 0);
	run_to(KVM_EXIT_HLT);
	want_eq(*(uint32_t *)(m.memory + 0x2000), 0);
	want(mmap(m.memory + 0x5000, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	     m.memory + 0x5000);
	*(uint32_t *)(m.memory + 0x5000) = 9;
	segments(0);
	run_to(KVM_EXIT_HLT);
	want_eq(*(uint32_t *)(m.memory + 0x2000), 9);
	stop();
}

CASE(dirty_log)
{
	uint64_t bits[1] = { 0 };
	struct kvm_dirty_log log = { .slot = 0, .dirty_bitmap = bits };

	START(guest_count, 0);
	want_errno(ioctl(m.fd, KVM_GET_DIRTY_LOG, &log), ENOENT);
	set_memory(0, 0, m.memory, MEMORY, KVM_MEM_LOG_DIRTY_PAGES);
	run_to(KVM_EXIT_HLT);
	want_eq(ioctl(m.fd, KVM_GET_DIRTY_LOG, &log), 0);
	want(bits[0] & 1 << 4); /* pages only read may count as written: Linux maps them so */
	want_eq(ioctl(m.fd, KVM_GET_DIRTY_LOG, &log), 0);
	want_eq(bits[0], 0);
	segments(0);
	run_to(KVM_EXIT_HLT);
	want_eq(ioctl(m.fd, KVM_GET_DIRTY_LOG, &log), 0);
	want(bits[0] & 1 << 4);
	want(!(bits[0] & 1 << 8));
	stop();
}

CASE(cpuid)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[1];
	} list = { .head.nent = 1,
		   .entry = { { .function = 0x40000000, .ebx = 0x1111, .ecx = 0x2222, .edx = 0x3333 } } };

	START(guest_cpuid, 0);
	want_eq(ioctl(m.cpu, KVM_SET_CPUID2, &list), 0);
	run_to(KVM_EXIT_HLT);
	want_eq(((uint32_t *)(m.memory + 0x2000))[0], 0x1111);
	want_eq(((uint32_t *)(m.memory + 0x2000))[1], 0x2222);
	want_eq(((uint32_t *)(m.memory + 0x2000))[2], 0x3333);
	stop();
}

CASE(supported_cpuid)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[256];
	} list;
	int kvm = open("/dev/kvm", O_RDWR), found = 0;

	list.head.nent = 1;
	want_errno(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &list), E2BIG);
	list.head.nent = 256;
	want_eq(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &list), 0);
	want(list.head.nent > 5 && list.head.nent <= 256);
	for (unsigned i = 0; i < list.head.nent; i++)
		if (list.entry[i].function == 0x40000000)
			found = !memcmp(&list.entry[i].ebx, "KVMKVMKVM\0\0", 12);
	want(found);
	close(kvm);
}

CASE(interrupt_by_hand)
{
	struct kvm_interrupt i = { .irq = 0x80 };

	START(guest_interrupt, 0);
	run_to(KVM_EXIT_HLT);
	want(m.run->if_flag && m.run->ready_for_interrupt_injection);
	want_eq(ioctl(m.cpu, KVM_INTERRUPT, &i), 0);
	wrote(0x80, 0x49, 1);
	run_to(KVM_EXIT_HLT);
	stop();
}

CASE(apic_timer)
{
	START(guest_timer, 1);
	segments(APIC_MEM);
	wrote(0x80, 0x54, 1);
	stop();
}

CASE(message_interrupt)
{
	struct kvm_msi msi = { .address_lo = 0xfee00000, .data = 0x40 };
	struct kvm_regs r;

	START(guest_timer, 1);
	segments(APIC_MEM);
	want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &msi), 0); /* the APIC is still disabled by its spurious register */
	wrote(0x80, 0x54, 1);
	want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &msi), 1);
	wrote(0x80, 0x54, 1);
	want_eq(ioctl(m.cpu, KVM_GET_REGS, &r), 0);
	stop();
}

static int set_msr(uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return ioctl(m.cpu, KVM_SET_MSRS, &one);
}

/* KVM's paravirtual end of an interrupt: one alone is ended by clearing the word's bit; before another it is not. */
CASE(end_of_interrupt_by_word)
{
	struct kvm_msi low = { .address_lo = 0xfee00000, .data = 0x40 },
		       high = { .address_lo = 0xfee00000, .data = 0x50 };

	START(guest_end_by_word, SPLIT);
	segments(APIC_MEM);
	run_to(KVM_EXIT_IO);
	want_eq(set_msr(MSR_KVM_PV_EOI_EN, 0x5003), 0); /* a reserved bit: none is set */
	want_eq(set_msr(MSR_KVM_PV_EOI_EN, 0x5001), 1);
	for (int i = 0; i < 3; i++) {
		want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &low), 1);
		wrote(0x80, 1, 1);
	}
	want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &low), 1);
	want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &high), 1);
	wrote(0x80, 0, 1);
	wrote(0x80, 1, 1);
	want_eq(set_msr(MSR_KVM_PV_EOI_EN, 0), 1);
	want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &low), 1);
	wrote(0x80, 0, 1);
	want_eq(ioctl(m.fd, KVM_SIGNAL_MSI, &low), 1);
	wrote(0x80, 0, 1);
	stop();
}

/* Of the calls that a guest may make, yielding succeeds, one of no meaning does not; VMCALL is made VMMCALL. */
CASE(hypercalls)
{
	struct kvm_enable_cap off = { .cap = KVM_CAP_DISABLE_QUIRKS2, .args = { KVM_X86_QUIRK_FIX_HYPERCALL_INSN } };

	for (int fixed = 1; fixed >= 0; fixed--) {
		START(guest_hypercalls, SPLIT);
		if (!fixed)
			want_eq(ioctl(m.fd, KVM_ENABLE_CAP, &off), 0);
		wrote(0x80, 0, 4);
		wrote(0x80, (unsigned)-1000, 4);
		if (fixed)
			wrote(0x80, 0, 4);
		else
			wrote(0x81, 0x55, 1);
		stop();
	}
}

/* MONITOR and MWAIT do nothing; they are undefined if CPUID lacks them and the monitor wants it so. */
CASE(monitor_and_mwait)
{
	struct kvm_enable_cap off = { .cap = KVM_CAP_DISABLE_QUIRKS2, .args = { KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS } };

	START(guest_monitor, SPLIT);
	wrote(0x80, 0, 1);
	want_eq(ioctl(m.fd, KVM_ENABLE_CAP, &off), 0);
	wrote(0x81, 0x55, 1);
	off.args[0] = 1ULL << 40;
	want_errno(ioctl(m.fd, KVM_ENABLE_CAP, &off), EINVAL);
	stop();
}

CASE(platform_register)
{
	struct kvm_enable_cap hide = { .cap = KVM_CAP_MSR_PLATFORM_INFO };

	START(guest_platform, SPLIT);
	want_eq(set_msr(0xce, 0x1200), 1);
	wrote(0x80, 0x1200, 4);
	want_eq(ioctl(m.fd, KVM_ENABLE_CAP, &hide), 0);
	segments(0);
	memcpy(m.memory + 13 * 4, (uint8_t[]){ 0, 0x20, 0, 0 }, 4);    /* #GP */
	memcpy(m.memory + 0x2000, (uint8_t[]){ 0xe6, 0x81, 0xf4 }, 3); /* out %al, $0x81; hlt */
	want_eq(ioctl(m.cpu, KVM_RUN, 0), 0);
	want_eq(m.run->exit_reason, KVM_EXIT_IO);
	want_eq(m.run->io.port, 0x81);
	stop();
}

static uint64_t count_of(int fd, const char *name)
{
	static char file[16384];
	ssize_t n = pread(fd, file, sizeof(file), 0);
	struct kvm_stats_header *h = (void *)file;

	want(n > (ssize_t)sizeof(*h) && !strncmp(file + h->id_offset, "kvm-", 4));
	for (uint32_t i = 0; i < h->num_desc; i++) {
		struct kvm_stats_desc *d = (void *)(file + h->desc_offset + i * (sizeof(*d) + h->name_size));

		if (!strcmp((char *)(d + 1), name))
			return *(uint64_t *)(file + h->data_offset + d->offset);
	}
	return ~0ULL;
}

CASE(statistics)
{
	int cpu, vm;

	START(guest_ports, NONE);
	cpu = ioctl(m.cpu, KVM_GET_STATS_FD, 0);
	vm = ioctl(m.fd, KVM_GET_STATS_FD, 0);
	want(cpu >= 0 && vm >= 0);
	want_eq(count_of(cpu, "io_exits"), 0);
	run_to(KVM_EXIT_IO);
	run_to(KVM_EXIT_IO);
	want_eq(count_of(cpu, "io_exits"), 2);
	want(count_of(cpu, "exits") >= 2);
	want(count_of(vm, "remote_tlb_flush") != ~0ULL);
	want_eq(count_of(vm, "io_exits"), ~0ULL);
	stop();
	want_eq(count_of(cpu, "io_exits"), 2); /* the file keeps what it tells of */
	close(cpu);
	close(vm);
}

/* Line 5 is a message to the first processor, vector 0x40. */
static const struct {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entry[1];
} routes = { .head.nr = 1,
	     .entry = {
		     { .gsi = 5, .type = KVM_IRQ_ROUTING_MSI, .u.msi = { .address_lo = 0xfee00000, .data = 0x40 } } } };

CASE(irqfd)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct kvm_irqfd irqfd = { .fd = (unsigned)fd, .gsi = 5 };
	uint64_t one = 1;

	START(guest_timer, 1);
	segments(APIC_MEM);
	want_eq(ioctl(m.fd, KVM_SET_GSI_ROUTING, &routes), 0);
	want_eq(ioctl(m.fd, KVM_IRQFD, &irqfd), 0);
	wrote(0x80, 0x54, 1);
	want(write(fd, &one, 8) == 8);
	wrote(0x80, 0x54, 1);
	close(fd);
	stop();
}

CASE(irq_line)
{
	struct kvm_irq_level up = { .irq = 5, .level = 1 }, down = { .irq = 5 };

	START(guest_timer, 1);
	segments(APIC_MEM);
	want_eq(ioctl(m.fd, KVM_SET_GSI_ROUTING, &routes), 0);
	wrote(0x80, 0x54, 1);
	want_eq(ioctl(m.fd, KVM_IRQ_LINE_STATUS, &up), 0);
	want_eq((int)up.status, 1);
	wrote(0x80, 0x54, 1);
	want_eq(ioctl(m.fd, KVM_IRQ_LINE_STATUS, &down), 0); /* a message goes when the line rises */
	want_eq((int)down.status, -1);
	up.irq = 5; /* the status lies in its place */
	want_eq(ioctl(m.fd, KVM_IRQ_LINE, &up), 0);
	wrote(0x80, 0x54, 1);
	stop();
	START(guest_ports, 0);
	want_errno(ioctl(m.fd, KVM_IRQ_LINE, &up), ENXIO);
	stop();
}

static void set_line(uint32_t irq, uint32_t level)
{
	struct kvm_irq_level l = { .irq = irq, .level = level };

	want_eq(ioctl(m.fd, KVM_IRQ_LINE, &l), 0);
}

CASE(old_controllers)
{
	START(guest_old_controller, WHOLE);
	want_errno(ioctl(m.fd, KVM_CREATE_IRQCHIP, 0), EEXIST);
	wrote(0x90, 0xfd, 1);
	for (int i = 0; i < 3; i++) {
		set_line(1, 1);
		set_line(1, 0);
		wrote(0x80, 0xfd, 1);
	}
	stop();
}

CASE(io_apic)
{
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC }, none = { .chip_id = 7 };

	START(guest_ioapic, WHOLE);
	segments(IOAPIC);
	wrote(0x90, 23, 1);
	set_line(5, 1);
	wrote(0x80, 0x49, 1);
	wrote(0x80, 0x49, 1); /* the level lasts */
	set_line(5, 0);
	set_line(5, 1);
	wrote(0x80, 0x49, 1);
	want_eq(ioctl(m.fd, KVM_GET_IRQCHIP, &chip), 0);
	want_eq(chip.chip.ioapic.redirtbl[5].fields.vector, 0x40);
	want_eq(ioctl(m.fd, KVM_SET_IRQCHIP, &chip), 0);
	want_errno(ioctl(m.fd, KVM_GET_IRQCHIP, &none), EINVAL);
	stop();
	START(guest_ioapic, SPLIT);
	want_errno(ioctl(m.fd, KVM_GET_IRQCHIP, &chip), ENXIO);
	stop();
}

CASE(machine_check)
{
	uint64_t supported = 0, cap = 1 << 8 | 4, none = 0, unknown = 1ULL << 40 | 4;
	struct kvm_x86_mce e = { .status = 3ULL << 61 | 1ULL << 63 | 0x35, .mcg_status = 4 }, bad = { .bank = 4 };

	START(guest_machine_check, 0);
	want_eq(ioctl(m.kvm, KVM_X86_GET_MCE_CAP_SUPPORTED, &supported), 0);
	want(supported & 1 << 8);
	want_errno(ioctl(m.cpu, KVM_X86_SETUP_MCE, &none), EINVAL);
	want_errno(ioctl(m.cpu, KVM_X86_SETUP_MCE, &unknown), EINVAL);
	want_eq(ioctl(m.cpu, KVM_X86_SETUP_MCE, &cap), 0);
	run_to(KVM_EXIT_IO);
	want_errno(ioctl(m.cpu, KVM_X86_SET_MCE, &bad), EINVAL);
	bad.bank = 0;
	want_errno(ioctl(m.cpu, KVM_X86_SET_MCE, &bad), EINVAL); /* nothing valid in it */
	want_eq(ioctl(m.cpu, KVM_X86_SET_MCE, &e), 0);
	wrote(0x80, 0x35, 1);
	want_eq(ioctl(m.cpu, KVM_X86_SET_MCE, &e), 0); /* while one is being handled */
	run_to(KVM_EXIT_SHUTDOWN);
	stop();
}

static void stopped_at(uint64_t pc, unsigned exception)
{
	run_to(KVM_EXIT_DEBUG);
	want_eq(m.run->debug.arch.pc, pc);
	want_eq(m.run->debug.arch.exception, exception);
}

CASE(single_steps)
{
	struct kvm_guest_debug on = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP }, off = { 0 };
	struct kvm_regs r;

	START(guest_steps, 0);
	want_eq(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &on), 0);
	stopped_at(CODE + 1, 1);
	want_eq(ioctl(m.cpu, KVM_GET_REGS, &r), 0);
	want_eq(r.rflags & 0x100, 0); /* the trap flag is the debugger's */
	want_eq(ioctl(m.cpu, KVM_SET_REGS, &r), 0);
	want_eq(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &on),
		0); /* again, as debuggers do: it is bound to where the CPU is */
	stopped_at(CODE + 3, 1);
	wrote(0x80, 0x41, 1);
	stopped_at(CODE + 5, 1);
	want_eq(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &off), 0);
	run_to(KVM_EXIT_HLT);
	stop();
}

/* An emulated processor lets INT3 pass by Linux's intercept: then the guest's own handler has run. */
CASE(breakpoints)
{
	struct kvm_guest_debug on = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };
	struct kvm_guest_debug give = { .control = on.control | KVM_GUESTDBG_INJECT_BP };

	START(guest_breakpoints, 0);
	want_eq(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &on), 0);
	want_eq(ioctl(m.cpu, KVM_RUN, 0), 0);
	if (m.run->exit_reason == KVM_EXIT_DEBUG) {
		want_eq(m.run->debug.arch.exception, 3);
		want_eq(m.run->debug.arch.pc, CODE + (uint64_t)(guest_breakpoints_end - guest_breakpoints) - 7);
		want_eq(m.memory[0x2000], 1); /* INT n is not the debugger's */
		want_eq(ioctl(m.cpu, KVM_SET_GUEST_DEBUG, &give), 0);
		run_to(KVM_EXIT_HLT);
	}
	want_eq(m.run->exit_reason, KVM_EXIT_HLT);
	want_eq(m.memory[0x2000], 2);
	stop();
}

CASE(registers_answered_by_the_monitor)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
				      .args = { KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER } };
	uint8_t none[1] = { 0 };
	struct kvm_msr_filter f = { .ranges = { { KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE, 1, 0x1a0, none } } };
	struct kvm_msr_filter bad = { .flags = KVM_MSR_FILTER_DEFAULT_DENY };

	START(guest_registers, 0);
	want_eq(ioctl(m.fd, KVM_ENABLE_CAP, &cap), 0);
	want_errno(ioctl(m.fd, KVM_X86_SET_MSR_FILTER, &bad), EINVAL);
	want_eq(ioctl(m.fd, KVM_X86_SET_MSR_FILTER, &f), 0);
	run_to(KVM_EXIT_X86_RDMSR);
	want_eq(m.run->msr.index, 0x1234);
	want_eq(m.run->msr.reason, KVM_MSR_EXIT_REASON_UNKNOWN);
	m.run->msr.data = 0x56;
	wrote(0x80, 0x56, 1);
	run_to(KVM_EXIT_X86_RDMSR);
	want_eq(m.run->msr.index, 0x1a0);
	want_eq(m.run->msr.reason, KVM_MSR_EXIT_REASON_FILTER);
	m.run->msr.data = 0x57;
	wrote(0x81, 0x57, 1);
	run_to(KVM_EXIT_X86_WRMSR);
	want_eq(m.run->msr.data & 0xff, 0x77);
	run_to(KVM_EXIT_HLT);
	stop();
}

CASE(ioeventfd)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct kvm_ioeventfd io = { .addr = 0x3f8, .len = 1, .fd = fd, .flags = KVM_IOEVENTFD_FLAG_PIO };
	uint64_t n = 0;

	START(guest_ports, 0);
	want_eq(ioctl(m.fd, KVM_IOEVENTFD, &io), 0);
	want_errno(ioctl(m.fd, KVM_IOEVENTFD, &io), EEXIST);
	run_to(KVM_EXIT_IO); /* the first OUT went to the descriptor */
	want_eq(m.run->io.direction, KVM_EXIT_IO_IN);
	want(read(fd, &n, 8) == 8);
	want_eq(n, 1);
	io.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
	want_eq(ioctl(m.fd, KVM_IOEVENTFD, &io), 0);
	close(fd);
	stop();
}

static void nothing(int sig)
{
}

CASE(signal_ends_run)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct itimerval soon = { .it_value.tv_usec = 20000 };

	START(guest_spin, 0);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	want_errno(ioctl(m.cpu, KVM_RUN, 0), EINTR);
	want_eq(m.run->exit_reason, KVM_EXIT_INTR);
	m.run->immediate_exit = 1;
	want_errno(ioctl(m.cpu, KVM_RUN, 0), EINTR);
	stop();
}

CASE(undefined_instruction)
{
	START(guest_undefined, 0);
	wrote(0x80, 0x55, 1);
	stop();
}

CASE(wrong_arguments)
{
	struct kvm_userspace_memory_region r = { 1, 0, 0x8000, 0x1000, 0 };

	START(guest_ports, 0);
	r.userspace_addr = (uintptr_t)m.memory;
	want_errno(ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &r), EEXIST);
	r.guest_phys_addr = 0x100001;
	want_errno(ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &r), EINVAL);
	r.guest_phys_addr = 0x100000;
	r.memory_size = 0;
	want_errno(ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &r), EINVAL);
	r.memory_size = 0x1000;
	r.flags = 0x80;
	want_errno(ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &r), EINVAL);
	want_errno(ioctl(m.fd, KVM_CREATE_VCPU, 0), EEXIST);
	want_errno(ioctl(m.fd, KVM_CREATE_VCPU, 100000), EINVAL);
	want_errno(ioctl(m.cpu, KVM_RUN, 1), EINVAL);
	want_errno(ioctl(m.fd, KVM_GET_DIRTY_LOG, NULL), EFAULT);
	wrote(0x3f8, 0x41, 1); /* and nothing has changed */
	stop();
}

/* RDTSCP says of a CPU what getcpu(2) says, after a guest with a register of its own ran on it, too. */
CASE(host_keeps_its_number)
{
	cpu_set_t before, last;
	unsigned cpu, node, hi, lo, aux;

	sched_getaffinity(0, sizeof(before), &before);
	CPU_ZERO(&last);
	CPU_SET(sysconf(_SC_NPROCESSORS_ONLN) - 1, &last);
	want_eq(sched_setaffinity(0, sizeof(last), &last), 0);
	START(guest_ports, 0);
	wrote(0x3f8, 0x41, 1);
	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	want_eq(syscall(SYS_getcpu, &cpu, &node, NULL), 0);
	want_eq(aux, cpu | node << 12);
	stop();
	want_eq(sched_setaffinity(0, sizeof(before), &before), 0);
}

/* Which VFIO groups belong to the machine. Groups themselves are tested by vfio. */
CASE(vfio_device)
{
	struct kvm_create_device d = { .type = KVM_DEV_TYPE_VFIO, .flags = KVM_CREATE_DEVICE_TEST };
	int32_t fd = -1;
	struct kvm_device_attr a = { .group = KVM_DEV_VFIO_GROUP,
				     .attr = KVM_DEV_VFIO_GROUP_ADD,
				     .addr = (uintptr_t)&fd };

	START(guest_ports, 0);
	want_eq(ioctl(m.fd, KVM_CREATE_DEVICE, &d), 0);
	d.type = 77;
	want_errno(ioctl(m.fd, KVM_CREATE_DEVICE, &d), ENODEV);
	d = (struct kvm_create_device){ .type = KVM_DEV_TYPE_VFIO };
	want_eq(ioctl(m.fd, KVM_CREATE_DEVICE, &d), 0);
	want_eq(ioctl((int)d.fd, KVM_HAS_DEVICE_ATTR, &a), 0);
	want_errno(ioctl((int)d.fd, KVM_SET_DEVICE_ATTR, &a), EBADF);
	fd = eventfd(0, 0);
	want_errno(ioctl((int)d.fd, KVM_SET_DEVICE_ATTR, &a), EINVAL);
	a.attr = KVM_DEV_VFIO_GROUP_DEL;
	want_errno(ioctl((int)d.fd, KVM_SET_DEVICE_ATTR, &a), ENOENT);
	a.attr = 99;
	want_errno(ioctl((int)d.fd, KVM_HAS_DEVICE_ATTR, &a), ENXIO);
	close(fd);
	close((int)d.fd);
	stop();
}

static const struct {
	const char *name;
	void (*fn)(void);
} cases[] = {
#define ROW(n)                                                                                                         \
	{                                                                                                              \
#n, case_##n                                                                                           \
	}
	ROW(version),
	ROW(ports),
	ROW(string_ports),
	ROW(device_memory),
	ROW(memory),
	ROW(memory_changes_below),
	ROW(zeros_change_below),
	ROW(dirty_log),
	ROW(cpuid),
	ROW(supported_cpuid),
	ROW(interrupt_by_hand),
	ROW(apic_timer),
	ROW(message_interrupt),
	ROW(end_of_interrupt_by_word),
	ROW(irqfd),
	ROW(ioeventfd),
	ROW(signal_ends_run),
	ROW(undefined_instruction),
	ROW(vfio_device),
	ROW(host_keeps_its_number),
	ROW(wrong_arguments),
	ROW(irq_line),
	ROW(machine_check),
	ROW(old_controllers),
	ROW(io_apic),
	ROW(single_steps),
	ROW(breakpoints),
	ROW(registers_answered_by_the_monitor),
	ROW(hypercalls),
	ROW(monitor_and_mwait),
	ROW(platform_register),
	ROW(statistics),
};

int main(void)
{
	int has = access("/dev/kvm", R_OK | W_OK) == 0;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (has)
			abi_run(cases[i].name, cases[i].fn);
		else
			printf("skip %s: no /dev/kvm\n", cases[i].name);
	}
	return abi_status();
}
