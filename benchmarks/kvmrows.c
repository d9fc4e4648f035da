/* SPDX-License-Identifier: MIT
 *
 * Problem: compare hypervisors behind KVM's interface by what leaving a guest costs.
 *
 * Idea: a row is a guest of a few instructions in real mode that does one thing again and again, and a monitor that
 * does as little as it can. Under -icount shift=0 guest nanoseconds are instructions, those of the inner guest among
 * them (the same ones everywhere). A first run of the same loop warms everything up.
 *
 * Contract: `kvmrows` runs all rows, `kvmrows WORD...` those whose name begins with a word; prints `NAME FIGURE` a row.
 * `kvmrows now` prints the time for scripts. A row that does not work prints `NAME -`.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MEMORY   (16UL << 20)
#define CODE     0x1000UL
#define HANDLER  0x1100UL
#define APIC_MEM 0xfee00000UL
#define DEVICE   0xd0000UL /* no memory there */
#define TIMES    2000
#define PAGES    2000 /* of the rows of nested faults; 4 KiB apart from 2 MiB on */
#define WARM     200
#define CPUIDS   100

#define GUEST(name, text)                                                                                              \
	__asm__(".pushsection .rodata\n.code16\n" #name ":\n" text "\n" #name "_end:\n.code64\n.popsection");          \
	extern const uint8_t name[], name##_end[]

/* Each does its thing for ever. The interrupt's handler at HANDLER is for all. */
GUEST(guest_out, "mov $0x80, %dx\n 1: out %al, %dx\n jmp 1b");
GUEST(guest_in, "mov $0x80, %dx\n 1: in %dx, %al\n jmp 1b");
GUEST(guest_store, "mov $0xd000, %ax\n mov %ax, %ds\n 1: movl %eax, 0\n jmp 1b");
GUEST(guest_load, "mov $0xd000, %ax\n mov %ax, %ds\n 1: movl 0, %eax\n jmp 1b");
GUEST(guest_hlt, "1: hlt\n jmp 1b");
/* A hundred of what stays in the kernel, then a word to the monitor. */
#define HUNDRED(name, what) GUEST(name, "2: mov $100, %si\n 1: " what "\n dec %si\n jnz 1b\n out %al, $0x80\n jmp 2b")
HUNDRED(guest_cpuid, "mov $1, %eax\n cpuid");
HUNDRED(guest_rdmsr, "mov $0x1a0, %ecx\n rdmsr");
HUNDRED(guest_wrmsr_efer, "mov $0xc0000080, %ecx\n rdmsr\n wrmsr");
HUNDRED(guest_vmmcall, "mov $999, %eax\n .byte 0x0f, 0x01, 0xd9");
HUNDRED(guest_eventfd, "mov $0x90, %dx\n out %al, %dx");
HUNDRED(guest_eventfd_mmio, "movl %eax, %fs:0xff0"); /* FS: where the row says */
HUNDRED(guest_apic_load, "movl %fs:0x20, %eax");
HUNDRED(guest_apic_store, "movl %eax, %fs:0x80");
HUNDRED(guest_self_ipi, "movl $0x44040, %fs:0x300\n sti\n nop\n cli");
/* An interrupt from outside each time it sleeps: its handler says so to the monitor. */
GUEST(guest_interrupt, "movl $0x1ff, %fs:0xf0\n sti\n 1: hlt\n jmp 1b");
GUEST(guest_interrupt_handler, "movl $0, %fs:0xb0\n out %al, $0x80\n iret");
GUEST(guest_quiet_handler, "movl $0, %fs:0xb0\n iret");
/* Touches a new page each time, in protected mode's flat segment that the row sets: EBX goes up. */
GUEST(guest_touch, "2: mov $100, %si\n 1: incb (%ebx)\n add $4096, %ebx\n dec %si\n jnz 1b\n out %al, $0x80\n jmp 2b");

static struct {
	int kvm, fd, cpu;
	struct kvm_run *run;
	size_t run_bytes;
	uint8_t *memory;
} m;

static unsigned long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

static int set_cpuid(void)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + CPUIDS * sizeof(c->entries[0]));
	int err;

	if (!c)
		return -1;
	c->nent = CPUIDS;
	err = ioctl(m.kvm, KVM_GET_SUPPORTED_CPUID, c) || ioctl(m.cpu, KVM_SET_CPUID2, c);
	free(c);
	return err;
}

static int set_registers(uint64_t fs_base)
{
	struct kvm_regs r = { .rip = CODE, .rsp = 0x8000, .rflags = 2, .rbx = 2 << 20 };
	struct kvm_sregs s;

	if (ioctl(m.cpu, KVM_GET_SREGS, &s))
		return -1;
	s.cs.base = s.cs.selector = 0;
	s.ds.limit = 0xffffffff;
	s.ds.g = 1;
	s.fs.base = fs_base;
	s.idt.base = 0;
	s.idt.limit = 0x3ff;
	return ioctl(m.cpu, KVM_SET_SREGS, &s) || ioctl(m.cpu, KVM_SET_REGS, &r) ? -1 : 0;
}

static int make_vm(int split)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_userspace_memory_region low = { 0, 0, 0, 0xa0000, 0 },
					   high = { 1, 0, 1 << 20, MEMORY - (1 << 20), 0 };

	m.fd = ioctl(m.kvm, KVM_CREATE_VM, 0);
	if (m.fd < 0 || (split && ioctl(m.fd, KVM_ENABLE_CAP, &cap)))
		return -1;
	m.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (m.memory == MAP_FAILED || madvise(m.memory, MEMORY, MADV_NOHUGEPAGE))
		return -1;
	low.userspace_addr = (uintptr_t)m.memory;
	high.userspace_addr = (uintptr_t)m.memory + (1 << 20);
	if (ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &low) || ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &high))
		return -1;
	m.cpu = ioctl(m.fd, KVM_CREATE_VCPU, 0);
	if (m.cpu < 0)
		return -1;
	m.run = mmap(NULL, m.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.cpu, 0);
	return m.run == MAP_FAILED ? -1 : set_cpuid();
}

static void drop_vm(void)
{
	if (m.run && m.run != MAP_FAILED)
		munmap(m.run, m.run_bytes);
	if (m.memory && m.memory != MAP_FAILED)
		munmap(m.memory, MEMORY);
	close(m.cpu);
	close(m.fd);
	m.run = NULL;
	m.memory = NULL;
}

/* ---- what the monitor does between two exits ---- */

static int nothing(void)
{
	return 0;
}

static int send_message(void)
{
	struct kvm_msi msi = { .address_lo = APIC_MEM, .data = 0x40 };

	return ioctl(m.fd, KVM_SIGNAL_MSI, &msi) == 1 ? 0 : -1;
}

static int event_fd;

static int signal_event(void)
{
	uint64_t one = 1;

	return write(event_fd, &one, sizeof(one)) == sizeof(one) ? 0 : -1;
}

static int arm_irqfd(void)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[1];
	} routes = { .head.nr = 1,
		     .entry = { { .gsi = 5,
				  .type = KVM_IRQ_ROUTING_MSI,
				  .u.msi = { .address_lo = APIC_MEM, .data = 0x40 } } } };
	struct kvm_irqfd irqfd = { .gsi = 5 };

	event_fd = eventfd(0, EFD_CLOEXEC);
	irqfd.fd = (uint32_t)event_fd;
	return ioctl(m.fd, KVM_SET_GSI_ROUTING, &routes) || ioctl(m.fd, KVM_IRQFD, &irqfd);
}

static int arm_port(void)
{
	struct kvm_ioeventfd e = { .addr = 0x90, .len = 1, .flags = KVM_IOEVENTFD_FLAG_PIO };

	event_fd = e.fd = eventfd(0, EFD_CLOEXEC);
	return ioctl(m.fd, KVM_IOEVENTFD, &e);
}

static int arm_mmio(void)
{
	struct kvm_ioeventfd e = { .addr = DEVICE + 0xff0, .len = 4 };

	event_fd = e.fd = eventfd(0, EFD_CLOEXEC);
	return ioctl(m.fd, KVM_IOEVENTFD, &e);
}

static int populate(void)
{
	for (unsigned long at = 2 << 20; at < MEMORY; at += 4096)
		m.memory[at] = 1;
	return 0;
}

/* ---- rows ---- */

struct row {
	const char *name;
	const uint8_t *code, *end, *handler, *handler_end;
	uint64_t fs;
	unsigned exits, an_exit; /* how many exits to the monitor are measured; operations each */
	unsigned warm;
	int (*before)(void);  /* the first run */
	int (*between)(void); /* two runs */
};
#define CODE_OF(g) g, g##_end
#define NO_HANDLER NULL, NULL
#define TO_MONITOR TIMES, 1, WARM
#define IN_KERNEL  TIMES / 100, 100, 2

static const struct row rows[] = {
	{ "port_out", CODE_OF(guest_out), NO_HANDLER, 0, TO_MONITOR, NULL, nothing },
	{ "port_in", CODE_OF(guest_in), NO_HANDLER, 0, TO_MONITOR, NULL, nothing },
	{ "mmio_write", CODE_OF(guest_store), NO_HANDLER, 0, TO_MONITOR, NULL, nothing },
	{ "mmio_read", CODE_OF(guest_load), NO_HANDLER, 0, TO_MONITOR, NULL, nothing },
	{ "hlt", CODE_OF(guest_hlt), NO_HANDLER, 1, TO_MONITOR, NULL, nothing },
	{ "cpuid", CODE_OF(guest_cpuid), NO_HANDLER, 0, IN_KERNEL, NULL, nothing },
	{ "msr_read", CODE_OF(guest_rdmsr), NO_HANDLER, 0, IN_KERNEL, NULL, nothing },
	{ "msr_read_and_write", CODE_OF(guest_wrmsr_efer), NO_HANDLER, 0, IN_KERNEL, NULL, nothing },
	{ "hypercall", CODE_OF(guest_vmmcall), NO_HANDLER, 0, IN_KERNEL, NULL, nothing },
	{ "ioeventfd_port", CODE_OF(guest_eventfd), NO_HANDLER, 0, IN_KERNEL, arm_port, nothing },
	{ "ioeventfd_mmio", CODE_OF(guest_eventfd_mmio), NO_HANDLER, DEVICE, IN_KERNEL, arm_mmio, nothing },
	{ "apic_read", CODE_OF(guest_apic_load), NO_HANDLER, APIC_MEM, IN_KERNEL, NULL, nothing },
	{ "apic_write", CODE_OF(guest_apic_store), NO_HANDLER, APIC_MEM, IN_KERNEL, NULL, nothing },
	{ "self_ipi", CODE_OF(guest_self_ipi), CODE_OF(guest_quiet_handler), APIC_MEM, IN_KERNEL, NULL, nothing },
	{ "interrupt_by_message", CODE_OF(guest_interrupt), CODE_OF(guest_interrupt_handler), APIC_MEM, TO_MONITOR,
	  NULL, send_message },
	{ "interrupt_by_irqfd", CODE_OF(guest_interrupt), CODE_OF(guest_interrupt_handler), APIC_MEM, TO_MONITOR,
	  arm_irqfd, signal_event },
	{ "nested_fault", CODE_OF(guest_touch), NO_HANDLER, 0, PAGES / 100, 100, 2, populate, nothing },
	{ "nested_fault_and_page", CODE_OF(guest_touch), NO_HANDLER, 0, PAGES / 100, 100, 2, NULL, nothing },
};

static int run_times(const struct row *r, unsigned n)
{
	while (n--)
		if (ioctl(m.cpu, KVM_RUN, 0) || r->between() ||
		    (m.run->exit_reason != KVM_EXIT_IO && m.run->exit_reason != KVM_EXIT_MMIO &&
		     m.run->exit_reason != KVM_EXIT_HLT))
			return -1;
	return 0;
}

/* The local APIC is on for rows that use it: enabled by its spurious register, timer one-shot with vector 0x40. */
static int apic_on(void)
{
	struct kvm_lapic_state l;

	if (ioctl(m.cpu, KVM_GET_LAPIC, &l))
		return -1;
	*(uint32_t *)(l.regs + 0xf0) = 0x1ff;
	*(uint32_t *)(l.regs + 0x320) = 0x40;
	*(uint32_t *)(l.regs + 0x3e0) = 0xb;
	return ioctl(m.cpu, KVM_SET_LAPIC, &l);
}

static long measure(const struct row *r)
{
	unsigned long start;

	if (make_vm(r->fs == APIC_MEM) || set_registers(r->fs))
		return -1;
	memcpy(m.memory + CODE, r->code, (size_t)(r->end - r->code));
	if (r->handler)
		memcpy(m.memory + HANDLER, r->handler, (size_t)(r->handler_end - r->handler));
	*(uint32_t *)(m.memory + 0x40 * 4) = HANDLER;
	if ((r->fs == APIC_MEM && apic_on()) || (r->before && r->before()))
		return -1;
	/* the first message, else the guest sleeps before the first exit */
	if (r->between() || run_times(r, r->warm))
		return -1;
	start = now_ns();
	if (run_times(r, r->exits))
		return -1;
	return (long)((now_ns() - start) / r->exits / r->an_exit);
}

static long make_and_drop(void)
{
	unsigned long start = 0;

	for (int i = 0; i < 12; i++) {
		if (i == 2)
			start = now_ns();
		if (make_vm(1))
			return -1;
		drop_vm();
	}
	return (long)((now_ns() - start) / 10);
}

static void say(const char *name, long figure)
{
	if (figure < 0)
		printf("%s -\n", name);
	else
		printf("%s %ld\n", name, figure);
	fflush(stdout);
}

static int wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (!strncmp(name, argv[i], strlen(argv[i])))
			return 1;
	return argc < 2;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "now")) {
		printf("%lu\n", now_ns());
		return 0;
	}
	m.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (m.kvm < 0) {
		perror("/dev/kvm");
		return 1;
	}
	m.run_bytes = (size_t)ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!wanted(rows[i].name, argc, argv))
			continue;
		say(rows[i].name, measure(&rows[i]));
		drop_vm();
	}
	if (wanted("beside_make_and_drop", argc, argv))
		say("beside_make_and_drop", make_and_drop());
	return 0;
}
