/* SPDX-License-Identifier: MIT
 *
 * `ostrom vm`: a small virtual machine monitor on KVM's interface, for Linux and for Ostrom.
 *
 * Threading: one thread a CPU runs the guest; every device access takes vm->lock, so devices know no other lock. The
 * main thread is the device thread: it feeds the console, and serves the queues of virtio devices that the guest
 * notified. Devices end the machine by vm_stop.
 */
#ifndef OSTROM_VM_H
#define OSTROM_VM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VM_CPUS_MAX  64
#define VM_LOW_LIMIT 0xc0000000ULL /* memory ends here and goes on at 4 GiB: devices lie between */
#define VM_HIGH      0x100000000ULL
#define IOAPIC_BASE  0xfec00000ULL
#define VIRTIO_BASE  0xd0000000ULL
#define VIRTIO_STEP  0x1000ULL
#define VIRTIO_MAX   6

#define VM_PCI_WINDOW  0xe0000000ULL /* registers of PCI functions; acpi.c says the same */
#define VM_PCI_SLOTS   32
#define VM_VFIO_MAX    8
#define VM_IOAPIC_PINS 24
#define VM_GSIS        512

struct vm;

/* An access to a range of ports or of memory. data holds len bytes (1, 2, 4, 8), to be filled or taken. */
struct vm_range {
	uint64_t base, bytes;
	void (*access)(void *dev, uint64_t offset, void *data, unsigned len, bool write);
	void *dev;
};

struct vm_cpu {
	struct vm *vm;
	unsigned index;
	int fd, stats_fd; /* stats_fd: what KVM counts of it, -1: nothing */
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	uint64_t returns; /* of KVM_RUN: written by its thread */
};

struct vm {
	int kvm, fd;
	unsigned nr_cpus;
	struct vm_cpu cpu[VM_CPUS_MAX];
	uint8_t *memory; /* guest's low memory, then what lies above 4 GiB */
	uint64_t bytes;
	size_t run_bytes;
	pthread_mutex_t lock;
	struct vm_range ports[16], mmio[64];
	unsigned nr_ports, nr_mmio;
	int control_fd; /* control.c, -1: none */
	int stop_fd;    /* an eventfd: readable when the machine has ended */
	int wake_fd;    /* an eventfd: the device thread looks at its descriptors anew */
	bool stopping;
	int exit_code;
	const char *screenshot; /* to be written when the guest says that it ends, or at its end */
	FILE *picture;          /* its file */
	uint64_t entry;         /* of the kernel, 32-bit */
	uint64_t start_info;
};

struct vm_options {
	const char *kernel, *initrd, *append;
	const char *disk[VIRTIO_MAX];
	const char *vfio[VM_VFIO_MAX], *screenshot, *net;
	bool console, rng, open;
	unsigned nr_disks, cpus, nr_vfio, gpu_percent;
	uint64_t bytes;
};

/* machine.c: 0, or -1 with a message. */
int vm_create(struct vm *vm, const struct vm_options *o);
int vm_run(struct vm *vm); /* until the machine ends; its exit status */
void vm_destroy(struct vm *vm);
void vm_stop(struct vm *vm, int exit_code);
void vm_wake(struct vm *vm); /* a descriptor of a device may be read again */
/* A guest's physical range in our memory, NULL: not all of it is memory. */
void *vm_memory(struct vm *vm, uint64_t gpa, uint64_t bytes);
void vm_add_ports(struct vm *vm, struct vm_range r);
struct vm_range *vm_add_mmio(struct vm *vm, struct vm_range r); /* may move with vm->lock held; bytes 0: off */

/* boot.c: the kernel, its command line, memory map and initrd, by the PVH protocol. acpi.c: the machine's tables. */
int vm_load(struct vm *vm, const struct vm_options *o);
uint64_t vm_acpi(struct vm *vm, uint64_t at); /* address of the RSDP */

/* pci.c: one bus. config is asked for 1, 2 or 4 bytes within a word. */
struct vm_function {
	void (*config)(void *dev, unsigned offset, void *data, unsigned len, bool write);
	void *dev;
};
void vm_pci(struct vm *vm);
int vm_pci_add(struct vm_function f);   /* -1: the bus is full */
uint64_t vm_pci_window(uint64_t bytes); /* a power of two: a place for so many, 0: none left */
/* route.c: interrupts by number. */
int vm_gsi(void);                                                    /* a new one, -1: none left */
void vm_route(struct vm *vm, unsigned gsi, const struct kvm_msi *m); /* m NULL: to nowhere */
/* window.c: parts of devices' registers that the guest reaches without an exit. -1: there is no room, or it cannot be
 * mapped. */
int vm_window(int fd, uint64_t file_offset, uint64_t bytes);
void vm_window_move(struct vm *vm, int n, uint64_t base); /* where the guest finds it; 0: nowhere */
void vm_windows_close(void);
/* vfio.c: a device of the host's, by its UUID on the bus mdev or its address on the bus pci. */
int vm_vfio(struct vm *vm, const char *name);
int vm_vfio_fd(unsigned n); /* of the n-th, -1: there is none */
void vm_vfio_close(void);
/* gpu.c: a part of the GPU, made for this machine; what the guest shows on the first device that has a display. */
struct vm_picture {
	uint32_t width, height;
	uint8_t *rgb; /* malloc */
};
int vm_gpu(struct vm *vm, unsigned percent);
void vm_gpu_remove(void);
int vm_picture(struct vm_picture *p);
int vm_write_picture(const struct vm_picture *p, const char *path, FILE *f); /* closes f */
void vm_keep_picture(struct vm *vm);                                         /* writes vm->screenshot, once */
/* control.c: questions to a machine that runs. */
int vm_control(void); /* a listening socket, -1: none */
void vm_control_serve(struct vm *vm);
int vm_screenshot(int pid, const char *path);
int vm_stat(int pid);

/* legacy.c: what a PC kernel pokes at: interrupt controllers' masks, reset, power, debug port. */
void vm_legacy(struct vm *vm);
/* ioapic.c */
void vm_ioapic(struct vm *vm);
void vm_irq(struct vm *vm, unsigned pin, bool high); /* vm->lock held */
void vm_eoi(struct vm *vm, unsigned vector);
/* serial.c: the console, on our standard input and output. */
void vm_serial(struct vm *vm);
void vm_serial_input(struct vm *vm, const uint8_t *bytes, size_t n);
/* Virtio devices: a disk image, an interface of the host's to share, a console instead of the serial one, random bytes.
 */
int vm_disk(struct vm *vm, unsigned n, const char *path);
int vm_net(struct vm *vm, const char *interface);
int vm_net_device(struct vm *vm, int fd); /* on a packet socket */
int vm_console(struct vm *vm);
bool vm_console_input(struct vm *vm, const uint8_t *bytes, size_t n); /* false: there is none */
int vm_rng(struct vm *vm);
/* confine.c: everything is open; from here on this process can only run the guest. */
int vm_confine(void);

#endif
