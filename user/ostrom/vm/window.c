/* SPDX-License-Identifier: MIT
 *
 * Problem: a guest's access to a register of a device that it has whole should cost what it costs the host: nothing.
 *
 * Idea: what the kernel lets us map of a device's registers becomes memory of the guest, where the guest has put them.
 * A window is one such piece; it is moved by giving its slot of KVM's another place.
 *
 *      region's file offset --mmap--> our address --slot--> guest address           (closed: the slot has no bytes)
 *
 * Contract: vm.h. Slots 0 and 1 are the guest's memory. Source: KVM's virt/kvm/api.rst (KVM_SET_USER_MEMORY_REGION).
 *
 * Locks: vm->lock, held by every caller once the guest runs.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include "ostrom.h"
#include "vm.h"

#define FIRST_SLOT  2
#define WINDOWS_MAX 30

static struct window {
	void *at;
	uint64_t bytes, base; /* base 0: closed */
} windows[WINDOWS_MAX];
static int nr_windows;

int vm_window(int fd, uint64_t file_offset, uint64_t bytes)
{
	struct window *w = &windows[nr_windows];

	if (nr_windows == WINDOWS_MAX)
		return -1;
	w->at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)file_offset);
	if (w->at == MAP_FAILED)
		return -1;
	w->bytes = bytes;
	w->base = 0;
	return nr_windows++;
}

static void set_slot(struct vm *vm, int n, uint64_t base, uint64_t bytes)
{
	struct kvm_userspace_memory_region r = { (uint32_t)(FIRST_SLOT + n), 0, base, bytes, (uintptr_t)windows[n].at };

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &r))
		say_error("registers at %#llx: %s", (unsigned long long)base, strerror(errno));
}

void vm_window_move(struct vm *vm, int n, uint64_t base)
{
	struct window *w = &windows[n];

	if (w->base == base)
		return;
	if (w->base)
		set_slot(vm, n, w->base, 0);
	w->base = base;
	if (base)
		set_slot(vm, n, base, w->bytes);
}

void vm_windows_close(void)
{
	for (; nr_windows; nr_windows--)
		munmap(windows[nr_windows - 1].at, windows[nr_windows - 1].bytes);
}
