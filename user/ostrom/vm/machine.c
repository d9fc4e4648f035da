/* SPDX-License-Identifier: MIT
 *
 * Problem: a machine is memory, CPUs and devices put together through a dozen ioctls in the right order.
 *
 * Idea: memory is one anonymous mapping in two slots; interrupts use KVM's split model (local APICs in the kernel, the
 * I/O APIC here); each CPU is a thread whose exits are looked up in two short tables of ranges.
 *
 *      KVM_RUN --> port or memory exit --> range found: device under vm->lock --> KVM_RUN
 *                                          none: reads are all ones, writes vanish
 *      queue's eventfd, network --> main thread, or the queue's: device under vm->lock
 *
 * Contract: vm.h. The first CPU starts at the kernel's PVH entry; the others wait for its start-up messages.
 * Sources: KVM's virt/kvm/api.rst; PVH boot protocol (state of the first CPU).
 *
 * Locks: vm->lock around every device access.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "ostrom.h"
#include "virtio.h"

#define CRASHED       125
#define CPUID_ENTRIES 128
#define TSC_DEADLINE  (1U << 24)

static int fail(const char *what)
{
	say_error("%s: %s", what, strerror(errno));
	return -1;
}

/* ---- memory ---- */

void *vm_memory(struct vm *vm, uint64_t gpa, uint64_t bytes)
{
	uint64_t low = vm->bytes < VM_LOW_LIMIT ? vm->bytes : VM_LOW_LIMIT;

	if (gpa < low)
		return bytes <= low - gpa ? vm->memory + gpa : NULL;
	gpa -= VM_HIGH;
	return gpa < vm->bytes - low && bytes <= vm->bytes - low - gpa ? vm->memory + low + gpa : NULL;
}

static int add_slot(struct vm *vm, unsigned slot, uint64_t gpa, uint64_t from, uint64_t bytes)
{
	struct kvm_userspace_memory_region r = { slot, 0, gpa, bytes, (uintptr_t)vm->memory + from };

	return bytes ? ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r) : 0;
}

static int make_memory(struct vm *vm)
{
	uint64_t low = vm->bytes < VM_LOW_LIMIT ? vm->bytes : VM_LOW_LIMIT;

	vm->memory = mmap(NULL, vm->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vm->memory == MAP_FAILED) {
		vm->memory = NULL;
		return fail("memory");
	}
	if (add_slot(vm, 0, 0, 0, low) || add_slot(vm, 1, VM_HIGH, low, vm->bytes - low))
		return fail("memory");
	return 0;
}

/* ---- CPUs ---- */

/* The host's processor, with this CPU's number, the deadline timer that KVM gives, and the rate of the cycle counter.
 */
static int set_cpuid(struct vm *vm, struct vm_cpu *c)
{
	struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + CPUID_ENTRIES * sizeof(list->entries[0]));
	long khz = ioctl(c->fd, KVM_GET_TSC_KHZ, 0);
	int err = -1;

	if (!list)
		return -1;
	list->nent = CPUID_ENTRIES - 1;
	if (ioctl(vm->kvm, KVM_GET_SUPPORTED_CPUID, list) == 0) {
		for (unsigned i = 0; i < list->nent; i++) {
			struct kvm_cpuid_entry2 *e = &list->entries[i];

			if (e->function == 1) {
				e->ebx = (e->ebx & 0xffff) | c->index << 24 | vm->nr_cpus << 16;
				e->ecx |= TSC_DEADLINE;
			} else if (e->function == 0xb || e->function == 0x1f) {
				e->edx = c->index;
			} else if (e->function == 0x40000000) {
				e->eax = 0x40000010;
			}
		}
		if (khz > 0)
			list->entries[list->nent++] = (struct kvm_cpuid_entry2){ .function = 0x40000010,
										 .eax = (uint32_t)khz,
										 .ebx = 1000000 };
		err = ioctl(c->fd, KVM_SET_CPUID2, list);
	}
	free(list);
	return err;
}

static int set_start(struct vm *vm, struct vm_cpu *c)
{
	struct kvm_segment code = {
		.limit = 0xffffffff, .selector = 8, .type = 0xb, .present = 1, .db = 1, .s = 1, .g = 1
	};
	struct kvm_segment data = code;
	struct kvm_regs r = { .rip = vm->entry, .rbx = vm->start_info, .rflags = 2 };
	struct kvm_sregs s;

	data.selector = 16;
	data.type = 3;
	if (ioctl(c->fd, KVM_GET_SREGS, &s))
		return -1;
	s.cs = code;
	s.ds = s.es = s.fs = s.gs = s.ss = data;
	s.cr0 = 0x11; /* protected mode, no paging */
	return ioctl(c->fd, KVM_SET_SREGS, &s) || ioctl(c->fd, KVM_SET_REGS, &r) ? -1 : 0;
}

static int make_cpu(struct vm *vm, unsigned n)
{
	struct vm_cpu *c = &vm->cpu[n];

	*c = (struct vm_cpu){ .vm = vm, .index = n, .stats_fd = -1 };
	c->fd = ioctl(vm->fd, KVM_CREATE_VCPU, n);
	if (c->fd < 0)
		return fail("CPU");
	c->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED)
		return fail("CPU");
	if (set_cpuid(vm, c) || (n == 0 && set_start(vm, c)))
		return fail("CPU registers");
	c->stats_fd = ioctl(c->fd, KVM_GET_STATS_FD, 0);
	return 0;
}

/* ---- exits ---- */

void vm_add_ports(struct vm *vm, struct vm_range r)
{
	vm->ports[vm->nr_ports++] = r;
}

struct vm_range *vm_add_mmio(struct vm *vm, struct vm_range r)
{
	if (vm->nr_mmio == sizeof(vm->mmio) / sizeof(vm->mmio[0]))
		return NULL;
	vm->mmio[vm->nr_mmio] = r;
	return &vm->mmio[vm->nr_mmio++];
}

static void access_range(struct vm *vm, struct vm_range *list, unsigned nr, uint64_t at, void *data, unsigned len,
			 bool write)
{
	pthread_mutex_lock(&vm->lock);
	for (unsigned i = 0; i < nr; i++) {
		if (at - list[i].base >= list[i].bytes)
			continue;
		list[i].access(list[i].dev, at - list[i].base, data, len, write);
		pthread_mutex_unlock(&vm->lock);
		return;
	}
	pthread_mutex_unlock(&vm->lock);
	if (!write)
		memset(data, 0xff, len);
}

static void crash(struct vm_cpu *c, const char *what)
{
	struct kvm_regs r;

	if (ioctl(c->fd, KVM_GET_REGS, &r) == 0)
		say_error("CPU %u: %s (rip %#llx, rsp %#llx)", c->index, what, (unsigned long long)r.rip,
			  (unsigned long long)r.rsp);
	else
		say_error("CPU %u: %s", c->index, what);
	vm_stop(c->vm, CRASHED);
}

static void port_exit(struct vm_cpu *c)
{
	struct kvm_run *r = c->run;
	uint8_t *data = (uint8_t *)r + r->io.data_offset;

	for (unsigned i = 0; i < r->io.count; i++)
		access_range(c->vm, c->vm->ports, c->vm->nr_ports, r->io.port, data + (size_t)i * r->io.size,
			     r->io.size, r->io.direction == KVM_EXIT_IO_OUT);
}

static void handle_exit(struct vm_cpu *c)
{
	struct kvm_run *r = c->run;

	switch (r->exit_reason) {
	case KVM_EXIT_IO: port_exit(c); break;
	case KVM_EXIT_MMIO:
		access_range(c->vm, c->vm->mmio, c->vm->nr_mmio, r->mmio.phys_addr, r->mmio.data, r->mmio.len,
			     r->mmio.is_write);
		break;
	case KVM_EXIT_IOAPIC_EOI:
		pthread_mutex_lock(&c->vm->lock);
		vm_eoi(c->vm, r->eoi.vector);
		pthread_mutex_unlock(&c->vm->lock);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN: break;
	case KVM_EXIT_SHUTDOWN: crash(c, "triple fault"); break;
	case KVM_EXIT_FAIL_ENTRY: crash(c, "the processor refuses this state"); break;
	case KVM_EXIT_INTERNAL_ERROR: crash(c, "an instruction that cannot be emulated"); break;
	default: crash(c, "an exit that this program does not know");
	}
}

static void *cpu_main(void *arg)
{
	struct vm_cpu *c = arg;

	while (!__atomic_load_n(&c->vm->stopping, __ATOMIC_SEQ_CST)) {
		c->returns++;
		if (ioctl(c->fd, KVM_RUN, 0) == 0) {
			handle_exit(c);
		} else if (errno != EINTR && errno != EAGAIN) {
			fail("KVM_RUN");
			vm_stop(c->vm, CRASHED);
		}
	}
	return NULL;
}

/* ---- running ---- */

static void nothing(int sig)
{
}

/* A CPU that is about to enter the guest sees immediate_exit; one that is inside is called out by the signal. */
void vm_stop(struct vm *vm, int exit_code)
{
	uint64_t one = 1;

	if (__atomic_exchange_n(&vm->stopping, true, __ATOMIC_SEQ_CST))
		return;
	vm->exit_code = exit_code;
	if (write(vm->stop_fd, &one, sizeof(one)) < 0)
		say_error("stop: %s", strerror(errno));
}

void vm_wake(struct vm *vm)
{
	uint64_t one = 1;

	(void)!write(vm->wake_fd, &one, sizeof(one));
}

static void take_input(struct vm *vm, struct pollfd *p)
{
	uint8_t buf[256];
	ssize_t n = read(p->fd, buf, sizeof(buf));

	if (n <= 0)
		p->fd = -1;
	else if (!vm_console_input(vm, buf, (size_t)n))
		vm_serial_input(vm, buf, (size_t)n);
}

static void drain(int fd)
{
	uint64_t n;

	(void)!read(fd, &n, sizeof(n));
}

/* The descriptors of a device: one a queue, then its own. */
enum { OF_DEVICE = VIRTIO_QUEUES + 1 };

static void list_device(const struct virtio_device *d, struct pollfd *p)
{
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++)
		p[i] = (struct pollfd){ .fd = d->queue[i].has_thread ? -1 : d->queue[i].kick, .events = POLLIN };
	p[VIRTIO_QUEUES] = (struct pollfd){ .fd = d->full ? -1 : d->fd, .events = POLLIN };
}

static void serve_device(struct virtio_device *d, const struct pollfd *p)
{
	bool any = false;

	for (unsigned i = 0; i < OF_DEVICE; i++)
		any |= p[i].revents != 0;
	if (!any)
		return;
	pthread_mutex_lock(&d->vm->lock);
	for (unsigned i = 0; i < VIRTIO_QUEUES; i++) {
		if (!p[i].revents)
			continue;
		drain(p[i].fd);
		d->kind->kick(d, i);
	}
	if (p[VIRTIO_QUEUES].revents && d->kind->ready)
		d->kind->ready(d);
	pthread_mutex_unlock(&d->vm->lock);
}

/* ---- queues with a thread of their own ---- */

static void *queue_main(void *arg)
{
	struct virtio_queue *q = arg;
	struct virtio_device *d = q->device;
	struct pollfd p = { q->kick, POLLIN, 0 };

	while (!__atomic_load_n(&d->vm->stopping, __ATOMIC_SEQ_CST)) {
		if (poll(&p, 1, -1) <= 0)
			continue;
		drain(q->kick);
		pthread_mutex_lock(&d->vm->lock);
		d->kind->kick(d, (unsigned)(q - d->queue));
		pthread_mutex_unlock(&d->vm->lock);
	}
	return NULL;
}

/* A queue that gets none is served by the device thread. */
static void start_queues(void)
{
	struct virtio_device *d;

	for (unsigned n = 0; (d = virtio_nth(n)); n++)
		for (unsigned i = 0; d->kind->threads && i < d->nr_queues; i++) {
			struct virtio_queue *q = &d->queue[i];

			q->has_thread = q->kick >= 0 && pthread_create(&q->thread, NULL, queue_main, q) == 0;
		}
}

static void stop_queues(void)
{
	struct virtio_device *d;
	uint64_t one = 1;

	for (unsigned n = 0; (d = virtio_nth(n)); n++)
		for (unsigned i = 0; i < d->nr_queues; i++) {
			if (!d->queue[i].has_thread)
				continue;
			(void)!write(d->queue[i].kick, &one, sizeof(one));
			pthread_join(d->queue[i].thread, NULL);
		}
}

/* Serves devices, feeds the console and answers at the control socket until the machine ends. */
static void serve(struct vm *vm)
{
	enum { STOP, INPUT, CONTROL, WAKE, DEVICES };
	struct pollfd p[DEVICES + VIRTIO_MAX * OF_DEVICE] = {
		{ vm->stop_fd, POLLIN, 0 }, { 0, POLLIN, 0 }, { vm->control_fd, POLLIN, 0 }, { vm->wake_fd, POLLIN, 0 }
	};
	struct virtio_device *d;
	nfds_t n;

	for (;;) {
		for (n = 0; (d = virtio_nth((unsigned)n)); n++)
			list_device(d, p + DEVICES + n * OF_DEVICE);
		if (poll(p, DEVICES + n * OF_DEVICE, -1) < 0) {
			if (errno != EINTR)
				return;
			continue;
		}
		if (p[STOP].revents)
			return;
		if (p[INPUT].revents)
			take_input(vm, &p[INPUT]);
		if (p[CONTROL].revents)
			vm_control_serve(vm);
		if (p[WAKE].revents)
			drain(vm->wake_fd);
		for (n = 0; (d = virtio_nth((unsigned)n)); n++)
			serve_device(d, p + DEVICES + n * OF_DEVICE);
	}
}

int vm_run(struct vm *vm)
{
	struct sigaction sa = { .sa_handler = nothing };

	sigaction(SIGUSR1, &sa, NULL);
	start_queues();
	for (unsigned i = 0; i < vm->nr_cpus; i++) {
		vm->cpu[i].started = pthread_create(&vm->cpu[i].thread, NULL, cpu_main, &vm->cpu[i]) == 0;
		if (!vm->cpu[i].started)
			vm_stop(vm, 1);
	}
	serve(vm);
	for (unsigned i = 0; i < vm->nr_cpus; i++) {
		if (!vm->cpu[i].started)
			continue;
		vm->cpu[i].run->immediate_exit = 1;
		pthread_kill(vm->cpu[i].thread, SIGUSR1);
		pthread_join(vm->cpu[i].thread, NULL);
	}
	stop_queues();
	return vm->exit_code;
}

static int open_kvm(struct vm *vm)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { 24 } };

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		return fail("/dev/kvm");
	if (ioctl(vm->kvm, KVM_GET_API_VERSION, 0) != KVM_API_VERSION) {
		say_error("/dev/kvm speaks another version");
		return -1;
	}
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, 0);
	if (vm->fd < 0)
		return fail("virtual machine");
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &split))
		return fail("interrupt controllers");
	vm->run_bytes = (size_t)ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	return 0;
}

static int add_devices(struct vm *vm, const struct vm_options *o)
{
	vm_ioapic(vm);
	vm_serial(vm);
	vm_legacy(vm);
	vm_pci(vm);
	for (unsigned i = 0; i < o->nr_disks; i++)
		if (vm_disk(vm, i, o->disk[i]))
			return -1;
	if ((o->net && vm_net(vm, o->net)) || (o->console && vm_console(vm)) || (o->rng && vm_rng(vm)))
		return -1;
	if (o->gpu_percent && vm_gpu(vm, o->gpu_percent))
		return -1;
	for (unsigned i = 0; i < o->nr_vfio; i++)
		if (vm_vfio(vm, o->vfio[i]))
			return -1;
	return 0;
}

int vm_create(struct vm *vm, const struct vm_options *o)
{
	*vm = (struct vm){ .kvm = -1, .fd = -1, .control_fd = -1, .nr_cpus = o->cpus, .bytes = o->bytes };
	pthread_mutex_init(&vm->lock, NULL);
	vm->stop_fd = eventfd(0, EFD_CLOEXEC);
	vm->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->stop_fd < 0 || vm->wake_fd < 0)
		return fail("eventfd");
	if (open_kvm(vm) || make_memory(vm) || add_devices(vm, o) || vm_load(vm, o))
		return -1;
	vm->control_fd = vm_control();
	for (unsigned i = 0; i < o->cpus; i++)
		if (make_cpu(vm, i))
			return -1;
	return 0;
}

void vm_destroy(struct vm *vm)
{
	vm_vfio_close();
	vm_gpu_remove();
	for (unsigned i = 0; i < vm->nr_cpus; i++) {
		if (vm->cpu[i].run && vm->cpu[i].run != MAP_FAILED)
			munmap(vm->cpu[i].run, vm->run_bytes);
		if (vm->cpu[i].fd > 0)
			close(vm->cpu[i].fd);
	}
	if (vm->memory)
		munmap(vm->memory, vm->bytes);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm >= 0)
		close(vm->kvm);
}
