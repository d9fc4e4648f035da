/* SPDX-License-Identifier: MIT
 *
 * Problem: an interrupt is born in another CPU of the guest, in the VMM, or in a device whose process only signals an
 * event descriptor, and must reach the right local APICs without anybody waiting.
 *
 * Idea: everything becomes one message (destination, mode, vector) that is matched against the APICs. An MSI is such a
 * message in its address and data; a GSI is an MSI by the VMM's table; an irqfd is a wait entry on an event descriptor
 * that sends its GSI from the waker's context.
 *
 *      IPI, MSI, GSI --> struct lapic_message --> APICs that match --> IRR bit, kick
 *
 * Contract: kvm_priv.h; KVM_SIGNAL_MSI, KVM_SET_GSI_ROUTING, KVM_IRQFD of virt/kvm/api.rst. Format of an MSI: Intel SDM
 * volume 3, 11.11.
 *
 * Locks: CPUs and routes are read under RCU, so that sending works in any context. vm->lock for changes.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <task/sched.h>
#include <task/wait.h>
#include <vfs/eventfd.h>
#include <vfs/vfs.h>
#include "kvm_priv.h"
#include "trace.h"

enum { MODE_FIXED = 0, MODE_LOWEST = 1, MODE_NMI = 4, MODE_INIT = 5, MODE_STARTUP = 6 };

/* ---- delivery ---- */

static void deliver(struct kvm_vcpu *v, const struct lapic_message *m)
{
	if (trace_on(kvm_apic_accept_irq))
		kvm_trace_accept(&v->apic, m);
	switch (m->mode) {
	case MODE_FIXED:
	case MODE_LOWEST:
		if (m->vector < 16)
			return;
		lapic_raise(&v->apic, m->vector, m->level && m->assert);
		kvm_kick(v);
		return;
	case MODE_NMI: kvm_request(v, REQ_NMI); return;
	case MODE_INIT:
		if (!m->level || m->assert)
			kvm_request(v, REQ_INIT);
		return;
	case MODE_STARTUP:
		WRITE_ONCE(v->startup, m->vector);
		kvm_request(v, REQ_STARTUP);
		return;
	default: return;
	}
}

static bool means(const struct kvm_vcpu *v, const struct kvm_vcpu *from, const struct lapic_message *m)
{
	switch (m->shorthand) {
	case 1: return v == from;
	case 2: return true;
	case 3: return v != from;
	default: return lapic_matches(&v->apic, m->dest, m->logical, m->broadcast_x2);
	}
}

static int send(struct kvm_vm *vm, struct kvm_vcpu *from, const struct lapic_message *m)
{
	unsigned nr = smp_load_acquire(&vm->nr_vcpus);
	int reached = 0;

	for (unsigned i = 0; i < nr; i++) {
		struct kvm_vcpu *v = vm->vcpu[i];

		if (!means(v, from, m) || ((m->mode <= MODE_LOWEST) && !lapic_enabled(&v->apic)))
			continue;
		deliver(v, m);
		reached++;
		if (m->mode == MODE_LOWEST) /* one of them: the first */
			break;
	}
	return reached;
}

void kvm_apic_send(struct kvm_vm *vm, struct kvm_vcpu *from, const struct lapic_message *m)
{
	(void)send(vm, from, m);
}

int kvm_signal_msi(struct kvm_vm *vm, u64 address, u32 data)
{
	struct lapic_message m = { .dest = (u32)(address >> 12 & 0xff) | (u32)(address >> 32 & 0xffffff00),
				   .logical = address >> 2 & 1,
				   .vector = (u8)data,
				   .mode = data >> 8 & 7,
				   .assert = data >> 14 & 1,
				   .level = data >> 15 & 1 };

	m.broadcast_x2 = m.dest > 0xff;
	if (trace_on(kvm_msi_set_irq))
		kvm_trace_msi(address, data);
	return send(vm, NULL, &m);
}

/* ---- routes ---- */

static void free_routes(struct rcu_head *head)
{
	kfree(container_of(head, struct kvm_routes, rcu));
}

static bool is_route(const struct kvm_vm *vm, const struct kvm_irq_routing_entry *e)
{
	if (e->gsi >= KVM_GSIS)
		return false;
	if (e->type == KVM_IRQ_ROUTING_IRQCHIP)
		return vm->chip && !e->flags && kvm_chip_has(&e->u.irqchip);
	return e->type == KVM_IRQ_ROUTING_MSI && !(e->flags & ~KVM_MSI_VALID_DEVID);
}

static int check_routes(const struct kvm_vm *vm, const struct kvm_routes *r)
{
	for (unsigned i = 0; i < r->nr; i++)
		if (!is_route(vm, &r->entry[i]))
			return -EINVAL;
	return 0;
}

int kvm_set_routes(struct kvm_vm *vm, const struct kvm_irq_routing __user *from)
{
	struct kvm_irq_routing head;
	struct kvm_routes *r, *old = vm->routes;
	int err = user_get(&head, from, sizeof(head));

	if (err)
		return err;
	if (head.nr > KVM_GSIS || head.flags)
		return -EINVAL;
	r = kzalloc(sizeof(*r) + head.nr * sizeof(r->entry[0]), ALLOC_CHARGED);
	if (!r)
		return -ENOMEM;
	r->nr = head.nr;
	err = user_get(r->entry, (const char __user *)from + sizeof(head), head.nr * sizeof(r->entry[0]));
	if (!err)
		err = check_routes(vm, r);
	if (err) {
		kfree(r);
		return err;
	}
	rcu_assign(vm->routes, r);
	if (old)
		rcu_call(&old->rcu, free_routes);
	return 0;
}

/* CPUs or controllers reached, -1: nobody listens. A message has no level: it goes when its line rises. */
int kvm_set_gsi(struct kvm_vm *vm, u32 gsi, bool high)
{
	struct kvm_routes *r;
	int reached = -1;

	if (trace_on(kvm_set_irq))
		kvm_trace_set_irq(gsi, high);
	rcu_read_lock();
	r = rcu_deref(vm->routes);
	for (unsigned i = 0; r && i < r->nr; i++) {
		const struct kvm_irq_routing_entry *e = &r->entry[i];

		if (e->gsi != gsi)
			continue;
		if (e->type == KVM_IRQ_ROUTING_IRQCHIP)
			reached = max(reached, 0) + kvm_chip_line(vm, &e->u.irqchip, high);
		else if (high)
			reached =
				max(reached, 0) +
				kvm_signal_msi(vm, (u64)e->u.msi.address_hi << 32 | e->u.msi.address_lo, e->u.msi.data);
	}
	rcu_read_unlock();
	return reached;
}

int kvm_irq_line(struct kvm_vm *vm, struct kvm_irq_level *l)
{
	if (l->irq >= KVM_GSIS)
		return -EINVAL;
	l->status = kvm_set_gsi(vm, l->irq, l->level);
	return 0;
}

bool kvm_wants_eoi(struct kvm_vm *vm, u8 vector)
{
	bool found = false;
	struct kvm_routes *r;

	rcu_read_lock();
	r = rcu_deref(vm->routes);
	for (unsigned i = 0; r && i < r->nr && !found; i++)
		found = r->entry[i].type == KVM_IRQ_ROUTING_MSI && (u8)r->entry[i].u.msi.data == vector &&
			(r->entry[i].u.msi.data & BIT(15));
	rcu_read_unlock();
	return found;
}

/* ---- irqfd ---- */

struct irqfd {
	struct list link; /* vm->lock */
	struct kvm_vm *vm;
	u32 gsi;
	struct file *file; /* counted */
	struct wait_entry wait;
};

/* A write to the descriptor: its count stays, as nobody reads it; the VMM's own reads would see it. */
static bool signalled(struct wait_entry *w, unsigned events)
{
	struct irqfd *f = container_of(w, struct irqfd, wait);

	if (!(events & EPOLLIN))
		return false;
	(void)kvm_set_gsi(f->vm, f->gsi, true);
	if (f->vm->chip)
		(void)kvm_set_gsi(f->vm, f->gsi, false);
	return false;
}

static void drop_irqfd(struct irqfd *f)
{
	waitq_remove(eventfd_waitq(eventfd_of(f->file)), &f->wait);
	list_del(&f->link);
	file_put(f->file);
	kfree(f);
}

static int add_irqfd(struct kvm_vm *vm, const struct kvm_irqfd *a, struct file *file)
{
	struct irqfd *f;

	list_for_each_entry (f, &vm->irqfds, link)
		if (f->file == file)
			return -EBUSY;
	f = kzalloc(sizeof(*f), ALLOC_CHARGED);
	if (!f)
		return -ENOMEM;
	f->vm = vm;
	f->gsi = a->gsi;
	f->file = file;
	f->wait.wake = signalled;
	file_get(file);
	list_add_tail(&f->link, &vm->irqfds);
	waitq_add(eventfd_waitq(eventfd_of(file)), &f->wait);
	return 0;
}

static int remove_irqfd(struct kvm_vm *vm, const struct kvm_irqfd *a, struct file *file)
{
	struct irqfd *f, *next;

	list_for_each_entry_safe (f, next, &vm->irqfds, link)
		if (f->file == file && f->gsi == a->gsi)
			drop_irqfd(f);
	return 0;
}

int kvm_irqfd(struct kvm_vm *vm, const struct kvm_irqfd *a)
{
	struct fd_ref ref;
	int err;

	if ((a->flags & ~KVM_IRQFD_FLAG_DEASSIGN) || a->gsi >= KVM_GSIS)
		return -EINVAL; /* resampling needs the in-kernel I/O APIC */
	ref = fd_get((int)a->fd);
	if (!ref.file)
		return -EBADF;
	if (!eventfd_of(ref.file))
		err = -EINVAL;
	else
		err = a->flags ? remove_irqfd(vm, a, ref.file) : add_irqfd(vm, a, ref.file);
	fd_put(ref);
	return err;
}

void kvm_irqfds_free(struct kvm_vm *vm)
{
	struct irqfd *f, *next;

	list_for_each_entry_safe (f, next, &vm->irqfds, link)
		drop_irqfd(f);
}
