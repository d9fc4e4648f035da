/* SPDX-License-Identifier: MIT
 *
 * Problem: a process that may open /dev/kvm must gain nothing by wrong arguments, and a guest nothing by what it
 * executes.
 *
 * Idea: every ioctl of the system, the machine and the CPU with arguments that are random, or nearly right (small
 * numbers, real descriptors, pointers that end at a hole); guests of random bytes, with opcodes that leave the guest
 * strewn in, from random registers, in the modes that a processor has; a thread that scribbles over the run area
 * meanwhile. The seeds are fixed. What must come of it: nothing. The kernel goes on, and a good guest still runs after.
 *
 * Contract: prints `ok NAME`, `skip NAME: why` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which
 * is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "../abi/abi.h"

#define MEMORY   0x40000UL
#define MACHINES 12
#define CALLS    150
#define GUESTS   60
#define RUNS     12

static struct {
	int kvm, fd, cpu, event;
	struct kvm_run *run;
	size_t run_bytes;
	uint8_t *memory;
} m;
static uint64_t seed;

static uint64_t dice(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void nothing(int sig)
{
}

/* No run lasts. */
static void start_clock(void)
{
	struct sigaction sa = { .sa_handler = nothing };
	struct itimerval often = { { 0, 3000 }, { 0, 3000 } };

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
}

static void stop_clock(void)
{
	struct itimerval never = { { 0, 0 }, { 0, 0 } };

	setitimer(ITIMER_REAL, &never, NULL);
}

static int make(int split)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };
	struct kvm_userspace_memory_region r = { 0, 0, 0, MEMORY, 0 };

	m.kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	do
		m.fd = ioctl(m.kvm, KVM_CREATE_VM, 0);
	while (m.fd < 0 && errno == EINTR);
	if (m.fd < 0)
		return -1;
	if (split)
		ioctl(m.fd, KVM_ENABLE_CAP, &cap);
	m.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	r.userspace_addr = (uintptr_t)m.memory;
	do
		m.cpu = ioctl(m.fd, KVM_CREATE_VCPU, 0);
	while (m.cpu < 0 && errno == EINTR);
	m.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	m.run_bytes = (size_t)ioctl(m.kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	m.run = mmap(NULL, m.run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m.cpu, 0);
	return m.memory == MAP_FAILED || m.cpu < 0 || m.run == MAP_FAILED ||
	       ioctl(m.fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static void drop(void)
{
	munmap(m.run, m.run_bytes);
	munmap(m.memory, MEMORY);
	close(m.event);
	close(m.cpu);
	close(m.fd);
	close(m.kvm);
}

/* ---- arguments ---- */

static const unsigned long commands[] = {
	KVM_GET_API_VERSION,
	KVM_CHECK_EXTENSION,
	KVM_GET_VCPU_MMAP_SIZE,
	KVM_GET_SUPPORTED_CPUID,
	KVM_GET_MSR_INDEX_LIST,
	KVM_GET_MSR_FEATURE_INDEX_LIST,
	KVM_X86_GET_MCE_CAP_SUPPORTED,
	KVM_SET_USER_MEMORY_REGION,
	KVM_GET_DIRTY_LOG,
	KVM_ENABLE_CAP,
	KVM_SET_GSI_ROUTING,
	KVM_IRQFD,
	KVM_IOEVENTFD,
	KVM_SIGNAL_MSI,
	KVM_IRQ_LINE,
	KVM_IRQ_LINE_STATUS,
	KVM_GET_CLOCK,
	KVM_SET_CLOCK,
	KVM_CREATE_DEVICE,
	KVM_SET_TSS_ADDR,
	KVM_SET_IDENTITY_MAP_ADDR,
	KVM_X86_SET_MSR_FILTER,
	KVM_CREATE_VCPU,
	KVM_GET_REGS,
	KVM_SET_REGS,
	KVM_GET_SREGS,
	KVM_SET_SREGS,
	KVM_GET_FPU,
	KVM_SET_FPU,
	KVM_GET_XSAVE,
	KVM_SET_XSAVE,
	KVM_GET_XCRS,
	KVM_SET_XCRS,
	KVM_GET_VCPU_EVENTS,
	KVM_SET_VCPU_EVENTS,
	KVM_GET_DEBUGREGS,
	KVM_SET_DEBUGREGS,
	KVM_GET_MP_STATE,
	KVM_SET_MP_STATE,
	KVM_GET_LAPIC,
	KVM_SET_LAPIC,
	KVM_INTERRUPT,
	KVM_NMI,
	KVM_X86_SETUP_MCE,
	KVM_X86_SET_MCE,
	KVM_SET_VAPIC_ADDR,
	KVM_SET_GUEST_DEBUG,
	KVM_GET_MSRS,
	KVM_SET_MSRS,
	KVM_SET_CPUID2,
	KVM_GET_CPUID2,
	KVM_TRANSLATE,
	KVM_GET_TSC_KHZ,
	KVM_SET_TSC_KHZ,
	KVM_KVMCLOCK_CTRL,
	KVM_GET_STATS_FD,
	KVM_RUN,
};

static uint64_t number(void)
{
	static const uint64_t odd[] = { 0,          1,          2,     0x1000,     0xfff,  0xffffffff,     0x80000000,
					1ULL << 63, 0xfee00000, 0x174, 0xc0000080, 0x8000, 0x7ffffffff000, 0x400 };

	switch (dice() % 4) {
	case 0: return odd[dice() % (sizeof(odd) / sizeof(odd[0]))];
	case 1: return dice() % 32;
	case 2: return dice() & 1 ? (uint64_t)m.event : (uint64_t)(uintptr_t)m.memory;
	default: return dice();
	}
}

static void fill(uint8_t *at, size_t n)
{
	for (size_t i = 0; i + 8 <= n; i += 8) {
		uint64_t v = dice() & 1 ? number() : (uint64_t)(uint32_t)number() | (uint64_t)(uint32_t)number() << 32;

		memcpy(at + i, &v, 8);
	}
}

static const uint32_t caps[] = { KVM_CAP_X86_USER_SPACE_MSR,       KVM_CAP_MAX_VCPU_ID,     KVM_CAP_SPLIT_IRQCHIP,
				 KVM_CAP_ENFORCE_PV_FEATURE_CPUID, KVM_CAP_DISABLE_QUIRKS2, KVM_CAP_MSR_PLATFORM_INFO };

/* Two pages, and then a hole. */
static void one_call(uint8_t *pages)
{
	unsigned long cmd = commands[dice() % (sizeof(commands) / sizeof(commands[0]))];
	int fds[] = { m.kvm, m.fd, m.cpu, m.cpu, m.fd }, fd = fds[dice() % 5];
	uintptr_t arg = (uintptr_t)pages + (dice() % 3 ? 0 : 8192 - dice() % 64);
	long ret;

	fill(pages, 8192);
	if (dice() % 8 == 0)
		arg = (uintptr_t)number();
	if (cmd == KVM_SET_USER_MEMORY_REGION && dice() % 2) /* most would be refused at once */
		*(struct kvm_userspace_memory_region *)pages =
			(struct kvm_userspace_memory_region){ (uint32_t)(dice() % 4), dice() & 3, (dice() % 64) << 12,
							      (dice() % 8) << 12,
							      (uintptr_t)m.memory + ((dice() % 8) << 12) };
	if (cmd == KVM_ENABLE_CAP && dice() % 2)
		*(struct kvm_enable_cap *)pages =
			(struct kvm_enable_cap){ .cap = caps[dice() % (sizeof(caps) / sizeof(caps[0]))],
						 .args = { dice() % 128 } };
	ret = ioctl(fd, cmd, arg);
	if (ret > 2 && cmd == KVM_GET_STATS_FD && fd != m.kvm) {
		(void)!pread((int)ret, (void *)arg, dice() % 8192, (off_t)(dice() % 4096));
		close((int)ret);
	}
	if (ret > 2 && (cmd == KVM_CREATE_VCPU || cmd == KVM_CREATE_DEVICE) && fd == m.fd)
		close((int)ret);
}

static void good_guest(void)
{
	static const uint8_t code[] = { 0xb0, 0x41, 0xe6, 0x80, 0xf4 }; /* mov $0x41, %al; out %al, $0x80; hlt */
	struct kvm_regs r = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs s;
	int ret;

	want_eq(make(0), 0);
	memcpy(m.memory + 0x1000, code, sizeof(code));
	want_eq(ioctl(m.cpu, KVM_GET_SREGS, &s), 0);
	s.cs.base = s.cs.selector = 0;
	want_eq(ioctl(m.cpu, KVM_SET_SREGS, &s), 0);
	want_eq(ioctl(m.cpu, KVM_SET_REGS, &r), 0);
	ret = ioctl(m.cpu, KVM_RUN, 0);
	want_eq(ret, 0);
	want_eq(m.run->exit_reason, KVM_EXIT_IO);
	want_eq(*((uint8_t *)m.run + m.run->io.data_offset), 0x41);
	drop();
}

CASE(random_calls)
{
	uint8_t *pages = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	want(pages != MAP_FAILED && munmap(pages + 8192, 4096) == 0);
	for (int i = 0; i < MACHINES; i++) {
		seed = 0x1234567 + (uint64_t)i * 7919;
		want_eq(make(i & 1), 0);
		start_clock();
		for (int n = 0; n < CALLS; n++)
			one_call(pages);
		stop_clock();
		drop();
	}
	munmap(pages, 8192);
	good_guest();
}

/* ---- guests ---- */

/* Opcodes that leave the guest, or touch what we emulate. */
static const char *const strewn[] = {
	"\x0f\xa2",     "\x0f\x30",     "\x0f\x32",     "\xf4",         "\xe6\x80",     "\xec",         "\x6e",
	"\x6c",         "\xf3\x6e",     "\xf3\x6c",     "\x0f\x01\xd9", "\x0f\x01\xd8", "\x0f\x22\xc0", "\x0f\x22\xd8",
	"\x0f\x22\xe0", "\x0f\x20\xc0", "\x0f\x23\xf8", "\x0f\x21\xc0", "\xcc",         "\xcd\x80",     "\x0f\x01\xd1",
	"\xfb",         "\xfa",         "\xcf",         "\x0f\x09",     "\x0f\x08",     "\x0f\x33",     "\xa4",
	"\xf3\xa4",     "\xaa",         "\xac",         "\x89\x06",     "\x8b\x06",     "\x0f\xc1\x06", "\x87\x06",
	"\x0f\x01\xf8", "\x0f\x05",     "\x9d",         "\xea",         "\x0f\x01\xc1", "\x0f\x01\xc8", "\x0f\x01\xc9",
};

static void random_code(void)
{
	for (size_t i = 0; i < MEMORY; i += 8) {
		uint64_t v = dice();

		memcpy(m.memory + i, &v, 8);
	}
	for (int i = 0; i < 20000; i++) {
		const char *op = strewn[dice() % (sizeof(strewn) / sizeof(strewn[0]))];

		memcpy(m.memory + dice() % (MEMORY - 4), op, strlen(op));
	}
}

static void random_registers(void)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	if (ioctl(m.cpu, KVM_GET_SREGS, &s))
		return;
	if (dice() & 1) {
		s.cs.base = s.cs.selector = 0;
		s.ds.base = dice() & 1 ? 0xd0000 : 0xfee00000;
	}
	if (dice() & 1) { /* flat protected mode */
		s.cr0 |= 1;
		s.cs.db = s.cs.g = s.ss.db = s.ds.g = 1;
		s.cs.limit = s.ds.limit = 0xffffffff;
	}
	if (dice() % 4 == 0) {
		s.cr0 |= 0x80000001;
		s.cr4 |= 0x20;
		s.efer |= 0x500;
		s.cs.l = 1;
		s.cs.db = 0;
		s.cr3 = (dice() % 64) << 12;
	}
	if (dice() % 8 == 0)
		fill((uint8_t *)&s, sizeof(s));
	ioctl(m.cpu, KVM_SET_SREGS, &s);
	fill((uint8_t *)&r, sizeof(r));
	r.rip = dice() % 0xf000;
	r.rflags = 2 | (dice() & 0x40d5) | (dice() & 1) << 9;
	ioctl(m.cpu, KVM_SET_REGS, &r);
}

static void one_guest(void)
{
	random_code();
	random_registers();
	for (int i = 0; i < RUNS; i++) {
		ioctl(m.cpu, KVM_RUN, 0);
		if (dice() % 4 == 0)
			random_registers();
	}
}

CASE(random_guests)
{
	start_clock();
	for (int i = 0; i < GUESTS; i++) {
		seed = 0x89abcdef + (uint64_t)i * 104729;
		want_eq(make(i & 1), 0);
		one_guest();
		drop();
	}
	stop_clock();
	good_guest();
}

static volatile int scribbling;

static void *scribble(void *arg)
{
	uint64_t x = 0x5555;

	while (scribbling) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		((volatile uint8_t *)m.run)[x % m.run_bytes] = (uint8_t)(x >> 40);
		if (x % 64 == 0)
			usleep(1);
	}
	return NULL;
}

CASE(run_area_under_change)
{
	pthread_t t;

	for (int i = 0; i < GUESTS / 4; i++) {
		seed = 0xfeedface + (uint64_t)i * 15485863;
		want_eq(make(i & 1), 0);
		scribbling = 1;
		want_eq(pthread_create(&t, NULL, scribble, NULL), 0);
		start_clock();
		one_guest();
		stop_clock();
		scribbling = 0;
		pthread_join(t, NULL);
		drop();
	}
	good_guest();
}

int main(void)
{
	if (access("/dev/kvm", R_OK | W_OK)) {
		printf("skip random_calls: no /dev/kvm\nskip random_guests: no /dev/kvm\nskip run_area_under_change: "
		       "no /dev/kvm\n");
		return 0;
	}
	RUN(random_calls);
	RUN(random_guests);
	RUN(run_area_under_change);
	return abi_status();
}
