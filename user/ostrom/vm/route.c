/* SPDX-License-Identifier: MIT
 *
 * Problem: KVM takes the whole table of interrupt routes at once, and both the I/O APIC and message interrupts of
 * devices are in it.
 *
 * Idea: the table is kept here; whoever changes a row gives all of it to KVM again. Rows below the I/O APIC's inputs
 * are its own, the others are handed out one by one.
 *
 * Contract: vm.h. Source: KVM_SET_GSI_ROUTING of virt/kvm/api.rst.
 *
 * Locks: vm->lock, held by every caller.
 */
#include <string.h>
#include <sys/ioctl.h>
#include "ostrom.h"
#include "vm.h"

static _Alignas(8) uint8_t packed[sizeof(struct kvm_irq_routing) + VM_GSIS * sizeof(struct kvm_irq_routing_entry)];
static struct kvm_irq_routing_entry rows[VM_GSIS];
static bool used[VM_GSIS];
static unsigned next = VM_IOAPIC_PINS;

int vm_gsi(void)
{
	return next < VM_GSIS ? (int)next++ : -1;
}

static void give(struct vm *vm)
{
	struct kvm_irq_routing *table = (void *)packed;

	*table = (struct kvm_irq_routing){ 0 };
	for (unsigned i = 0; i < VM_GSIS; i++)
		if (used[i])
			table->entries[table->nr++] = rows[i];
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, table))
		say_error("interrupt routes are refused");
}

void vm_route(struct vm *vm, unsigned gsi, const struct kvm_msi *m)
{
	struct kvm_irq_routing_entry e = { .gsi = gsi, .type = KVM_IRQ_ROUTING_MSI };

	if (m) {
		e.u.msi.address_lo = m->address_lo;
		e.u.msi.address_hi = m->address_hi;
		e.u.msi.data = m->data;
	}
	if (used[gsi] == (m != NULL) && (!m || !memcmp(&rows[gsi], &e, sizeof(e))))
		return;
	used[gsi] = m != NULL;
	rows[gsi] = e;
	give(vm);
}
