/* SPDX-License-Identifier: MIT
 *
 * Problem: some VMMs leave all interrupt controllers of the machine to us, not only the local APICs.
 *
 * Idea: the two 8259A (pic.c) and the I/O APIC (ioapic.c) of a PC behind one lock. A line is a GSI; until the VMM gives
 * another table, GSI n is input n of both. The old controllers' output goes to the first CPU, as an external interrupt
 * that is acknowledged when it is injected.
 *
 * Contract: KVM_CREATE_IRQCHIP, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP of virt/kvm/api.rst; the functions in kvm_priv.h.
 *
 * Locks: the chip's own, taken in any context (an irqfd raises lines from a waker's).
 */
#include <alloc/slab.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include "ioapic.h"
#include "kvm_priv.h"
#include "pic.h"

#define PIC_INPUTS 16

struct kvm_chip {
	struct spinlock lock;
	struct kvm_vm *vm;
	struct pic pic;
	struct ioapic io;
};

static void send_row(struct ioapic *io, u64 row)
{
	struct kvm_chip *c = container_of(io, struct kvm_chip, io);
	struct lapic_message m = { .dest = (u32)(row >> 56),
				   .vector = (u8)row,
				   .mode = row >> 8 & 7,
				   .logical = row >> 11 & 1,
				   .level = row >> 15 & 1,
				   .assert = true };

	kvm_apic_send(c->vm, NULL, &m);
}

static int default_routes(struct kvm_vm *vm)
{
	unsigned nr = 0;
	struct kvm_routes *r = kzalloc(sizeof(*r) + (KVM_IOAPIC_NUM_PINS + PIC_INPUTS) * sizeof(r->entry[0]), 0);

	if (!r)
		return -ENOMEM;
	for (unsigned i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		r->entry[nr++] = (struct kvm_irq_routing_entry){ .gsi = i,
								 .type = KVM_IRQ_ROUTING_IRQCHIP,
								 .u.irqchip = { KVM_IRQCHIP_IOAPIC, i } };
		if (i < PIC_INPUTS)
			r->entry[nr++] = (struct kvm_irq_routing_entry){ .gsi = i,
									 .type = KVM_IRQ_ROUTING_IRQCHIP,
									 .u.irqchip = { i / 8, i % 8 } };
	}
	r->nr = nr;
	rcu_assign(vm->routes, r);
	return 0;
}

int kvm_chip_create(struct kvm_vm *vm)
{
	struct kvm_chip *c;

	if (vm->has_apic)
		return -EEXIST;
	if (vm->nr_vcpus)
		return -EINVAL;
	c = kzalloc(sizeof(*c), 0);
	if (!c)
		return -ENOMEM;
	spin_init(&c->lock, RANK_IRQCHIP);
	c->vm = vm;
	c->io.send = send_row;
	pic_reset(&c->pic);
	ioapic_reset(&c->io);
	if (default_routes(vm)) {
		kfree(c);
		return -ENOMEM;
	}
	vm->has_apic = true;
	smp_store_release(&vm->chip, c);
	return 0;
}

void kvm_chip_free(struct kvm_vm *vm)
{
	kfree(vm->chip);
}

/* ---- lines ---- */

static void kick_first(struct kvm_chip *c)
{
	if (pic_output(&c->pic) && smp_load_acquire(&c->vm->nr_vcpus))
		kvm_kick(c->vm->vcpu[0]);
}

int kvm_chip_line(struct kvm_vm *vm, const struct kvm_irq_routing_irqchip *to, bool high)
{
	struct kvm_chip *c = vm->chip;
	ulong flags = spin_lock_irqsave(&c->lock);

	if (to->irqchip == KVM_IRQCHIP_IOAPIC) {
		ioapic_line(&c->io, to->pin, high);
	} else {
		pic_line(&c->pic, to->irqchip * 8 + to->pin, high);
		kick_first(c);
	}
	spin_unlock_irqrestore(&c->lock, flags);
	return high;
}

bool kvm_chip_has(const struct kvm_irq_routing_irqchip *to)
{
	return to->irqchip == KVM_IRQCHIP_IOAPIC ? to->pin < KVM_IOAPIC_NUM_PINS
						 : to->irqchip <= KVM_IRQCHIP_PIC_SLAVE && to->pin < 8;
}

void kvm_chip_eoi(struct kvm_vm *vm, u8 vector)
{
	ulong flags = spin_lock_irqsave(&vm->chip->lock);

	ioapic_eoi(&vm->chip->io, vector);
	spin_unlock_irqrestore(&vm->chip->lock, flags);
}

bool kvm_pic_waits(const struct kvm_vcpu *v)
{
	struct kvm_chip *c = v->vm->chip;

	return c && v == v->vm->vcpu[0] && pic_output(&c->pic) && lapic_takes_external(&v->apic);
}

u8 kvm_pic_acknowledge(struct kvm_vcpu *v)
{
	struct kvm_chip *c = v->vm->chip;
	ulong flags = spin_lock_irqsave(&c->lock);
	u8 vector = pic_acknowledge(&c->pic);

	spin_unlock_irqrestore(&c->lock, flags);
	return vector;
}

/* ---- registers ---- */

bool kvm_chip_port(struct kvm_vcpu *v, u16 port, bool in, u8 bytes)
{
	struct kvm_chip *c = v->vm->chip;
	ulong flags;

	if (!c || bytes != 1 || !pic_is_port(port))
		return false;
	flags = spin_lock_irqsave(&c->lock);
	if (in)
		v->g.vmcb->rax = (v->g.vmcb->rax & ~0xffULL) | pic_read(&c->pic, port);
	else
		pic_write(&c->pic, port, (u8)v->g.vmcb->rax);
	kick_first(c);
	spin_unlock_irqrestore(&c->lock, flags);
	return true;
}

bool kvm_chip_memory(struct kvm_vm *vm, u64 gpa)
{
	return vm->chip && gpa - IOAPIC_BASE < IOAPIC_BYTES;
}

u32 kvm_chip_read(struct kvm_vm *vm, u64 gpa)
{
	ulong flags = spin_lock_irqsave(&vm->chip->lock);
	u32 v = ioapic_read(&vm->chip->io, (unsigned)(gpa - IOAPIC_BASE));

	spin_unlock_irqrestore(&vm->chip->lock, flags);
	return v;
}

void kvm_chip_write(struct kvm_vm *vm, u64 gpa, u32 value)
{
	ulong flags = spin_lock_irqsave(&vm->chip->lock);

	ioapic_write(&vm->chip->io, (unsigned)(gpa - IOAPIC_BASE), value);
	spin_unlock_irqrestore(&vm->chip->lock, flags);
}

/* Copies the state of one of the three, one way or the other. */
int kvm_chip_state(struct kvm_vm *vm, struct kvm_irqchip *k, bool set)
{
	struct kvm_chip *c = vm->chip;
	ulong flags;
	void *ours;
	size_t n;

	if (!c)
		return -ENXIO;
	if (k->chip_id > KVM_IRQCHIP_IOAPIC)
		return -EINVAL;
	ours = k->chip_id == KVM_IRQCHIP_IOAPIC ? (void *)&c->io.s : &c->pic.chip[k->chip_id];
	n = k->chip_id == KVM_IRQCHIP_IOAPIC ? sizeof(c->io.s) : sizeof(c->pic.chip[0]);
	flags = spin_lock_irqsave(&c->lock);
	if (set)
		memcpy(ours, &k->chip, n);
	else
		memcpy(&k->chip, ours, n);
	for (unsigned i = 0; set && i < ARRAY_SIZE(c->pic.chip); i++) { /* what the code relies on */
		c->pic.chip[i].priority_add &= 7;
		c->pic.chip[i].elcr_mask = i ? 0xde : 0xf8;
	}
	if (set && k->chip_id != KVM_IRQCHIP_IOAPIC)
		pic_loaded(&c->pic);
	spin_unlock_irqrestore(&c->lock, flags);
	return 0;
}
