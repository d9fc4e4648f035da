/* SPDX-License-Identifier: MIT
 *
 * Problem: a device that the kernel gives through VFIO shall be the guest's, at the least cost a use.
 *
 * Idea: the group is opened, the guest's memory mapped for it at the guest's own addresses, and the function put on the
 * bus. Its configuration space is the device's own; we only watch where the base address registers point. Registers
 * that can be mapped become memory of the guest (window.c); reads and writes of others are passed on. The MSI-X table
 * is ours: each unmasked entry is an event descriptor that KVM turns into the guest's interrupt. Doorbells of virtio
 * devices that are no memory are bound the other way. Then neither costs an exit to us.
 *
 *      guest's register --exit--> pread, pwrite              guest's doorbell --KVM_IOEVENTFD--> descriptor --> device
 *            '--window: the register itself                  device --> descriptor --KVM_IRQFD--> guest
 *
 * Contract: vm.h. Only memory registers; MSI-X is the only kind of interrupt. Sources: linux/vfio.h; PCI 3.0, 6.8.2
 * (MSI-X); VIRTIO 1.2, 4.1.4 (capabilities).
 *
 * Locks: vm->lock, held by every caller.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "ostrom.h"
#include "vm.h"

#define VECTORS   64
#define DOORBELLS 16
#define ENTRY     PCI_MSIX_ENTRY_SIZE
#define WINDOWS   4 /* of one register */

struct bar {
	struct vfio *v;
	unsigned n;
	uint64_t bytes, offset; /* offset: in the device's file */
	uint64_t base;          /* 0: the guest has it off */
	struct vm_range *range;
	unsigned nr_windows;
	struct {
		int id;
		uint64_t at, bytes; /* in the register */
	} window[WINDOWS];
};

struct vector {
	uint8_t entry[ENTRY];
	int event;
	unsigned gsi;
	bool live; /* KVM listens */
	bool told; /* the device signals it */
};

struct doorbell {
	unsigned bar;
	uint64_t offset;
	uint16_t data;
	int event;
};

static struct vfio {
	struct vm *vm;
	int group, fd;
	uint64_t config; /* offset in the file */
	struct bar bar[6];
	unsigned msix_cap, nr_vectors, table_bar;
	uint64_t table;
	bool msix_on;
	struct vector vector[VECTORS];
	unsigned nr_doorbells;
	struct doorbell doorbell[DOORBELLS];
} devices[VM_VFIO_MAX];
static unsigned nr_devices;
static int container = -1, kvm_device = -1;

static int fail(const char *what)
{
	say_error("vfio: %s: %s", what, strerror(errno));
	return -1;
}

/* ---- configuration ---- */

static uint32_t config_get(struct vfio *v, unsigned at, unsigned n)
{
	uint32_t value = 0;

	if (pread(v->fd, &value, n, (off_t)(v->config + at)) != (ssize_t)n)
		return 0;
	return value;
}

static void config_put(struct vfio *v, unsigned at, uint32_t value, unsigned n)
{
	if (pwrite(v->fd, &value, n, (off_t)(v->config + at)) != (ssize_t)n)
		fail("configuration space");
}

static unsigned next_cap(struct vfio *v, unsigned at, unsigned id)
{
	unsigned hops = 0;

	at = config_get(v, at ? at + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST, 1) & ~3U;
	while (at && config_get(v, at, 1) != id && hops++ < 48)
		at = config_get(v, at + PCI_CAP_LIST_NEXT, 1) & ~3U;
	return hops > 48 ? 0 : at;
}

/* ---- interrupts ---- */

static uint32_t entry_word(const struct vector *x, unsigned at)
{
	uint32_t w;

	memcpy(&w, x->entry + at, sizeof(w));
	return w;
}

/* Events of the entries from `first` on; those that nobody has unmasked yet cost the kernel nothing. */
static void give_events(struct vfio *v, unsigned first, unsigned count)
{
	union {
		struct vfio_irq_set s;
		char bytes[sizeof(struct vfio_irq_set) + VECTORS * sizeof(int32_t)];
	} set = { .s = { .argsz = sizeof(set),
			 .flags = VFIO_IRQ_SET_ACTION_TRIGGER |
				  (count ? VFIO_IRQ_SET_DATA_EVENTFD : VFIO_IRQ_SET_DATA_NONE),
			 .index = VFIO_PCI_MSIX_IRQ_INDEX,
			 .start = first,
			 .count = count } };

	for (unsigned i = 0; i < count; i++) {
		struct vector *x = &v->vector[first + i];
		int32_t event = x->told ? x->event : -1;

		memcpy(set.s.data + i * sizeof(event), &event, sizeof(event));
	}
	if (ioctl(v->fd, VFIO_DEVICE_SET_IRQS, &set))
		fail("interrupts");
}

static void set_live(struct vfio *v, struct vector *x, bool live)
{
	struct kvm_irqfd f = { .fd = (uint32_t)x->event, .gsi = x->gsi, .flags = live ? 0 : KVM_IRQFD_FLAG_DEASSIGN };
	struct kvm_msi m = { .address_lo = entry_word(x, PCI_MSIX_ENTRY_LOWER_ADDR),
			     .address_hi = entry_word(x, PCI_MSIX_ENTRY_UPPER_ADDR),
			     .data = entry_word(x, PCI_MSIX_ENTRY_DATA) };
	uint64_t missed;

	vm_route(v->vm, x->gsi, live ? &m : NULL);
	if (x->live == live)
		return;
	x->live = live;
	if (ioctl(v->vm->fd, KVM_IRQFD, &f))
		fail("irqfd");
	if (live && !x->told) {
		x->told = true;
		give_events(v, (unsigned)(x - v->vector), 1);
	}
	/* What came while nobody listened. One too many does no harm. */
	if (live && read(x->event, &missed, sizeof(missed)) == sizeof(missed))
		ioctl(v->vm->fd, KVM_SIGNAL_MSI, &m);
}

static void update_vectors(struct vfio *v)
{
	bool all = config_get(v, v->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_MASKALL;

	for (unsigned i = 0; i < v->nr_vectors; i++) {
		struct vector *x = &v->vector[i];
		bool masked = entry_word(x, PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT;

		set_live(v, x, v->msix_on && !all && !masked);
	}
}

static void switch_msix(struct vfio *v, bool on)
{
	for (unsigned i = 0; i < v->nr_vectors; i++)
		v->vector[i].told = false;
	give_events(v, 0, on ? v->nr_vectors : 0);
	v->msix_on = on;
}

static void on_msix_control(struct vfio *v)
{
	bool on = config_get(v, v->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE;

	if (on != v->msix_on)
		switch_msix(v, on);
	update_vectors(v);
}

static void on_table(struct vfio *v, uint64_t at, void *data, unsigned len, bool write)
{
	uint8_t *bytes = &v->vector[at / ENTRY].entry[at % ENTRY];

	if (at % ENTRY + len > ENTRY)
		return;
	if (write) {
		memcpy(bytes, data, len);
		update_vectors(v);
	} else {
		memcpy(data, bytes, len);
	}
}

/* ---- registers ---- */

static void on_access(void *dev, uint64_t at, void *data, unsigned len, bool write)
{
	struct bar *b = dev;
	struct vfio *v = b->v;
	ssize_t n;

	if (b->n == v->table_bar && at - v->table < (uint64_t)v->nr_vectors * ENTRY) {
		on_table(v, at - v->table, data, len, write);
		return;
	}
	n = write ? pwrite(v->fd, data, len, (off_t)(b->offset + at))
		  : pread(v->fd, data, len, (off_t)(b->offset + at));
	if (n != (ssize_t)len && !write)
		memset(data, 0xff, len);
}

static void bind_doorbell(struct vfio *v, struct doorbell *d, uint64_t base, bool on)
{
	struct kvm_ioeventfd k = {
		.addr = base + d->offset, .len = 2, .fd = d->event, .flags = on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN
	};

	if (base && ioctl(v->vm->fd, KVM_IOEVENTFD, &k) && on)
		fail("doorbell");
}

/* Where the guest has put the registers now. */
static void update_bars(struct vfio *v)
{
	bool on = config_get(v, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY;

	for (unsigned i = 0; i < 6; i++) {
		struct bar *b = &v->bar[i];
		uint64_t base = b->range && on ? config_get(v, PCI_BASE_ADDRESS_0 + 4 * i, 4) & ~15U : 0;

		if (!b->range || base == b->base)
			continue;
		for (unsigned n = 0; n < v->nr_doorbells; n++)
			if (v->doorbell[n].bar == i) {
				bind_doorbell(v, &v->doorbell[n], b->base, false);
				bind_doorbell(v, &v->doorbell[n], base, true);
			}
		for (unsigned n = 0; n < b->nr_windows; n++)
			vm_window_move(v->vm, b->window[n].id, base ? base + b->window[n].at : 0);
		b->base = base;
		b->range->base = base;
		b->range->bytes = base ? b->bytes : 0;
	}
}

static void on_config(void *dev, unsigned at, void *data, unsigned len, bool write)
{
	struct vfio *v = dev;

	if (!write) {
		if (pread(v->fd, data, len, (off_t)(v->config + at)) != (ssize_t)len)
			memset(data, 0xff, len);
		return;
	}
	if (pwrite(v->fd, data, len, (off_t)(v->config + at)) != (ssize_t)len)
		return;
	if (at < PCI_CARDBUS_CIS)
		update_bars(v);
	if (v->msix_cap && at + len > v->msix_cap && at < v->msix_cap + PCI_CAP_MSIX_SIZEOF)
		on_msix_control(v);
}

/* ---- setting up ---- */

static int find_region(struct vfio *v, unsigned n, uint64_t *bytes, uint64_t *offset)
{
	struct vfio_region_info r = { .argsz = sizeof(r), .index = n };

	if (ioctl(v->fd, VFIO_DEVICE_GET_REGION_INFO, &r))
		return fail("region");
	*bytes = r.size;
	*offset = r.offset;
	return 0;
}

/* What cannot be mapped is passed on. */
static void add_window(struct bar *b, uint64_t at, uint64_t bytes)
{
	int id = b->nr_windows < WINDOWS ? vm_window(b->v->fd, b->offset + at, bytes) : -1;

	if (id < 0)
		return;
	b->window[b->nr_windows].id = id;
	b->window[b->nr_windows].at = at;
	b->window[b->nr_windows++].bytes = bytes;
}

static void add_windows(struct bar *b)
{
	union {
		struct vfio_region_info r;
		char bytes[1024];
	} u = { .r = { .argsz = sizeof(u), .index = b->n } };
	struct vfio_region_info_cap_sparse_mmap *sparse;

	if (ioctl(b->v->fd, VFIO_DEVICE_GET_REGION_INFO, &u.r) || !(u.r.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return;
	for (uint32_t at = u.r.flags & VFIO_REGION_INFO_FLAG_CAPS ? u.r.cap_offset : 0; at; at = sparse->header.next) {
		sparse = (void *)(u.bytes + at);
		if (sparse->header.id != VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			continue;
		for (uint32_t i = 0; i < sparse->nr_areas; i++)
			add_window(b, sparse->areas[i].offset, sparse->areas[i].size);
		return;
	}
	add_window(b, 0, b->bytes);
}

static int add_bar(struct vfio *v, unsigned n)
{
	struct bar *b = &v->bar[n];
	uint32_t flags = config_get(v, PCI_BASE_ADDRESS_0 + 4 * n, 4) & 15;
	uint64_t base;

	b->v = v;
	b->n = n;
	if (find_region(v, n, &b->bytes, &b->offset))
		return -1;
	if (!b->bytes || (flags & PCI_BASE_ADDRESS_SPACE_IO))
		return 0;
	base = vm_pci_window(b->bytes);
	if (!base) {
		say_error("vfio: no room for a device's registers");
		return -1;
	}
	config_put(v, PCI_BASE_ADDRESS_0 + 4 * n, (uint32_t)base, 4);
	if ((flags & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
		config_put(v, PCI_BASE_ADDRESS_0 + 4 * n + 4, 0, 4);
	b->range = vm_add_mmio(v->vm, (struct vm_range){ 0, 0, on_access, b });
	add_windows(b);
	return b->range ? 0 : -1;
}

static int add_vectors(struct vfio *v)
{
	struct vfio_irq_info q = { .argsz = sizeof(q), .index = VFIO_PCI_MSIX_IRQ_INDEX };
	uint32_t table;

	v->msix_cap = next_cap(v, 0, PCI_CAP_ID_MSIX);
	if (!v->msix_cap || ioctl(v->fd, VFIO_DEVICE_GET_IRQ_INFO, &q) || !q.count)
		return 0;
	v->nr_vectors = q.count < VECTORS ? q.count : VECTORS;
	table = config_get(v, v->msix_cap + PCI_MSIX_TABLE, 4);
	v->table_bar = table & PCI_MSIX_TABLE_BIR;
	v->table = table & PCI_MSIX_TABLE_OFFSET;
	for (unsigned i = 0; i < v->nr_vectors; i++) {
		struct vector *x = &v->vector[i];
		int gsi = vm_gsi();

		x->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (gsi < 0 || x->event < 0)
			return fail("interrupt");
		x->gsi = (unsigned)gsi;
		x->entry[PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
	return 0;
}

static bool is_in_window(const struct bar *b, uint64_t offset)
{
	for (unsigned i = 0; i < b->nr_windows; i++)
		if (offset - b->window[i].at < b->window[i].bytes)
			return true;
	return false;
}

static int add_doorbell(struct vfio *v, unsigned bar, uint64_t offset, uint16_t data)
{
	struct vfio_device_ioeventfd e = { .argsz = sizeof(e),
					   .flags = VFIO_DEVICE_IOEVENTFD_16,
					   .offset = v->bar[bar].offset + offset,
					   .data = data };
	struct doorbell d = { bar, offset, data, eventfd(0, EFD_CLOEXEC) };

	if (d.event < 0)
		return fail("doorbell");
	e.fd = d.event;
	if (ioctl(v->fd, VFIO_DEVICE_IOEVENTFD, &e)) {
		close(d.event); /* such a kernel: the guest's write comes to us, and goes on by pwrite */
		return 0;
	}
	v->doorbell[v->nr_doorbells++] = d;
	return 0;
}

/* One a queue, from virtio's notification capability: queue n's is n times the multiplier behind its start. */
static int add_doorbells(struct vfio *v)
{
	for (unsigned at = 0; (at = next_cap(v, at, PCI_CAP_ID_VNDR));) {
		uint32_t offset = config_get(v, at + VIRTIO_PCI_CAP_OFFSET, 4);
		uint32_t length = config_get(v, at + VIRTIO_PCI_CAP_LENGTH, 4);
		uint32_t step = config_get(v, at + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
		unsigned bar = config_get(v, at + VIRTIO_PCI_CAP_BAR, 1);

		if (config_get(v, PCI_VENDOR_ID, 2) != 0x1af4 || bar > 5 || !step ||
		    config_get(v, at + VIRTIO_PCI_CAP_CFG_TYPE, 1) != VIRTIO_PCI_CAP_NOTIFY_CFG ||
		    is_in_window(&v->bar[bar], offset))
			continue;
		for (uint32_t q = 0; q < length / step && q < DOORBELLS; q++)
			if (add_doorbell(v, bar, offset + q * step, (uint16_t)q))
				return -1;
		return 0;
	}
	return 0;
}

static int map_memory(struct vm *vm, uint64_t gpa, uint64_t bytes)
{
	struct vfio_iommu_type1_dma_map m = { .argsz = sizeof(m),
					      .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					      .iova = gpa,
					      .size = bytes };

	m.vaddr = (uintptr_t)vm_memory(vm, gpa, bytes);
	return bytes && ioctl(container, VFIO_IOMMU_MAP_DMA, &m) ? fail("mapping memory") : 0;
}

static int open_container(struct vm *vm, int group)
{
	uint64_t low = vm->bytes < VM_LOW_LIMIT ? vm->bytes : VM_LOW_LIMIT;
	bool fresh = container < 0;

	if (fresh)
		container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (container < 0)
		return fail("/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		return fail("container");
	if (!fresh)
		return 0;
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return fail("address space");
	return map_memory(vm, 0, low) || map_memory(vm, VM_HIGH, vm->bytes - low) ? -1 : 0;
}

/* The number of its group; -1: there is no such device on this bus, or no group of it. */
static int group_of(const char *bus, const char *name)
{
	char path[160], link[256] = "";

	snprintf(path, sizeof(path), "/sys/bus/%s/devices/%s/iommu_group", bus, name);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -1;
	return atoi(strrchr(link, '/') ? strrchr(link, '/') + 1 : link);
}

static int open_group(const char *name)
{
	char path[64];
	int n = group_of("mdev", name), fd;

	if (n < 0)
		n = group_of("pci", name);
	if (n < 0) {
		say_error("vfio: %s: no such device that is given by VFIO", name);
		return -1;
	}
	snprintf(path, sizeof(path), "/dev/vfio/%d", n);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? fail(path) : fd;
}

/* KVM hears of the group; some devices want that, ours do not. */
static void tell_kvm(struct vm *vm, int group)
{
	struct kvm_create_device d = { .type = KVM_DEV_TYPE_VFIO };
	struct kvm_device_attr a = { .group = KVM_DEV_VFIO_GROUP,
				     .attr = KVM_DEV_VFIO_GROUP_ADD,
				     .addr = (uintptr_t)&group };

	if (kvm_device < 0 && ioctl(vm->fd, KVM_CREATE_DEVICE, &d) == 0)
		kvm_device = (int)d.fd;
	if (kvm_device >= 0)
		ioctl(kvm_device, KVM_SET_DEVICE_ATTR, &a);
}

int vm_vfio(struct vm *vm, const char *name)
{
	struct vfio *v = &devices[nr_devices];
	uint64_t bytes;

	*v = (struct vfio){ .vm = vm, .group = open_group(name), .fd = -1 };
	if (v->group < 0 || open_container(vm, v->group))
		return -1;
	nr_devices++;
	tell_kvm(vm, v->group);
	v->fd = ioctl(v->group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (v->fd < 0)
		return fail(name);
	if (find_region(v, VFIO_PCI_CONFIG_REGION_INDEX, &bytes, &v->config))
		return -1;
	for (unsigned i = 0; i < 6; i++)
		if (add_bar(v, i))
			return -1;
	if (add_vectors(v) || add_doorbells(v))
		return -1;
	return vm_pci_add((struct vm_function){ on_config, v });
}

int vm_vfio_fd(unsigned n)
{
	return n < nr_devices ? devices[n].fd : -1;
}

void vm_vfio_close(void)
{
	vm_windows_close();
	for (unsigned i = 0; i < nr_devices; i++) {
		if (devices[i].fd >= 0)
			close(devices[i].fd);
		close(devices[i].group);
	}
	nr_devices = 0;
	if (container >= 0)
		close(container);
	container = -1;
}
