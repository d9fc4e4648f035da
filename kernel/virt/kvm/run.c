/* SPDX-License-Identifier: MIT
 *
 * Problem: a thread of the VMM becomes a CPU of the guest, until something needs the VMM; meanwhile signals, timers and
 * interrupts for the guest come at any moment.
 *
 * Idea: one loop. At its top, with IRQs on: work that may sleep. Then IRQs off: what is to be injected is chosen, the
 * last look at requests, and the entry. Whoever has news sets a bit and kicks: if the CPU is in the guest, the
 * interrupt ends its run; if it is about to enter, IRQs are off and the interrupt ends the run at once; if it sleeps in
 * HLT, it wakes.
 *
 *      requests --> halted? sleep --> [IRQs off: mark running, look again, inject, enter] --> exit handler --> again
 *
 * Contract: kvm_run: 0 with v->run filled, -EINTR for a signal, -EFAULT or -ENOMEM where memory failed.
 *
 * Locks: v->lock, held by the caller for the whole run.
 */
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <asm/kvm_para.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <task/sched.h>
#include <task/task.h>
#include <task/tenant.h>
#include "kvm_priv.h"
#include "trace.h"

#define FLAG_IF    0x200ULL
#define OPCODE_HLT 0xf4

/* ---- address space numbers: a CPU hands them out in turn, and flushes all when they are used up ---- */

static DEFINE_PER_CPU(u64, asid_gen);
static DEFINE_PER_CPU(u32, next_asid);

/* IRQs off. */
static void choose_asid(struct kvm_vcpu *v)
{
	u64 gen = __atomic_load_n(&v->vm->flush_gen, __ATOMIC_SEQ_CST);
	struct vmcb *c = v->g.vmcb;

	c->tlb_control = 0;
	if (v->asid_gen && v->last_cpu == cpu_id() && v->asid_gen == this_cpu_read(asid_gen) && v->flush_seen == gen)
		return;
	v->flush_seen = gen;
	v->stats[STAT_TLB_FLUSHES]++;
	if (!this_cpu_read(asid_gen) || this_cpu_read(next_asid) >= svm_asids()) {
		this_cpu_write(asid_gen, this_cpu_read(asid_gen) + 1);
		this_cpu_write(next_asid, 1);
		c->tlb_control = 1; /* all of this CPU's */
	}
	c->asid = this_cpu_read(next_asid); /* a number not used since that flush holds nothing */
	this_cpu_write(next_asid, c->asid + 1);
	v->asid_gen = this_cpu_read(asid_gen);
	v->last_cpu = cpu_id();
}

/* ---- injection ---- */

static void inject(struct kvm_vcpu *v, u64 event)
{
	v->g.vmcb->event_inject = event | SVM_EVENT_VALID;
}

static void inject_irq(struct kvm_vcpu *v, u8 vector)
{
	inject(v, SVM_EVENT_INTR | (u64)vector);
	v->stats[STAT_IRQS_INJECTED]++;
	if (trace_on(kvm_inj_virq))
		kvm_trace_virq(vector, false);
}

static bool can_interrupt(const struct kvm_vcpu *v)
{
	return (v->g.vmcb->rflags & FLAG_IF) && !(v->g.vmcb->interrupt_shadow & 1);
}

/* Asks the processor to tell when an interrupt of this class could be taken. */
static void open_window(struct kvm_vcpu *v, unsigned class, bool ignore_tpr)
{
	struct vmcb *c = v->g.vmcb;

	c->virtual_irq &= ~(0xfULL << SVM_VIRQ_PRIO_SHIFT | SVM_VIRQ_IGNORE_TPR);
	c->virtual_irq |=
		SVM_VIRQ_PENDING | (u64) class << SVM_VIRQ_PRIO_SHIFT | (ignore_tpr ? SVM_VIRQ_IGNORE_TPR : 0);
	c->intercept[0] |= SVM_INTERCEPT_VINTR;
}

static void close_window(struct kvm_vcpu *v)
{
	v->g.vmcb->virtual_irq &= ~SVM_VIRQ_PENDING;
	v->g.vmcb->intercept[0] &= ~(u32)SVM_INTERCEPT_VINTR;
}

static void inject_interrupt(struct kvm_vcpu *v)
{
	int vector = v->vm->has_apic ? lapic_deliverable(&v->apic) : -1;
	bool old = kvm_pic_waits(v);

	if (v->ext_irq < 0 && vector < 0 && !old) {
		int waiting = v->vm->has_apic ? lapic_highest_request(&v->apic) : -1;

		if (waiting >= 0) /* held back by the task priority, which the guest lowers without an exit */
			open_window(v, (unsigned)waiting >> 4, false);
		else if (v->run->request_interrupt_window && !can_interrupt(v))
			open_window(v, 15, true);
		return;
	}
	if (v->g.vmcb->event_inject || !can_interrupt(v)) {
		open_window(v, 15, true);
		return;
	}
	if (v->ext_irq >= 0) {
		inject_irq(v, (u8)v->ext_irq);
		v->ext_irq = -1;
		return;
	}
	if (old) {
		inject_irq(v, kvm_pic_acknowledge(v));
		return;
	}
	lapic_accept(&v->apic, (u8)vector);
	inject_irq(v, (u8)vector);
}

static void inject_exception(struct kvm_vcpu *v)
{
	v->exception.pending = false;
	inject(v, SVM_EVENT_EXCEPT | v->exception.vector |
			  (v->exception.has_code ? SVM_EVENT_HAS_CODE | (u64)v->exception.code << 32 : 0));
	if (trace_on(kvm_inj_exception))
		kvm_trace_exception(v->exception.vector, v->exception.has_code, v->exception.code);
}

static void choose_event(struct kvm_vcpu *v)
{
	close_window(v);
	if (v->exception.pending && !v->g.vmcb->event_inject)
		inject_exception(v);
	if (v->nmi_queued && !v->nmi_masked && !v->g.vmcb->event_inject) {
		v->nmi_queued = false;
		v->nmi_masked = true;
		v->g.vmcb->intercept[0] |= SVM_INTERCEPT_IRET;
		inject(v, SVM_EVENT_NMI | 2);
		v->stats[STAT_NMIS_INJECTED]++;
	}
	if (likely(!(v->debug & KVM_GUESTDBG_BLOCKIRQ)))
		inject_interrupt(v);
}

/* Whether the next interrupt to end, the one that choose_event is about to inject included, may be ended by the guest
 * alone. */
static bool may_offer(const struct kvm_vcpu *v)
{
	bool other = v->ext_irq >= 0 || v->exception.pending || (v->nmi_queued && !v->nmi_masked) || kvm_pic_waits(v) ||
		     (v->debug & KVM_GUESTDBG_BLOCKIRQ);
	bool injects = !other && !v->g.vmcb->event_inject && can_interrupt(v);

	return lapic_end_is_quiet(&v->apic, injects ? lapic_deliverable(&v->apic) : -1);
}

/* ---- requests, sleep ---- */

static bool take(struct kvm_vcpu *v, enum kvm_request r)
{
	return (READ_ONCE(v->requests) & BIT(r)) &&
	       (__atomic_fetch_and(&v->requests, ~BIT(r), __ATOMIC_SEQ_CST) & BIT(r));
}

static void start_up(struct kvm_vcpu *v)
{
	struct vmcb *c = v->g.vmcb;

	if (v->mp_state != KVM_MP_STATE_INIT_RECEIVED)
		return;
	c->cs.selector = (u16)(v->startup << 8);
	c->cs.base = (u64)v->startup << 12;
	c->rip = 0;
	v->mp_state = KVM_MP_STATE_RUNNABLE;
}

static void timer_expired(struct kvm_vcpu *v)
{
	int vector = lapic_timer_expired(&v->apic);

	if (trace_on(kvm_apic_accept_irq) && vector >= 0)
		kvm_trace_accept(&v->apic, &(struct lapic_message){ .vector = (u8)vector });
}

static void serve_requests(struct kvm_vcpu *v)
{
	if (likely(!READ_ONCE(v->requests)))
		return;
	if (take(v, REQ_TIMER))
		timer_expired(v);
	if (take(v, REQ_NMI))
		v->nmi_queued = true;
	if (take(v, REQ_INIT)) {
		kvm_vcpu_reset(v, true);
		v->mp_state = v->apic.base & LAPIC_BASE_BSP ? KVM_MP_STATE_RUNNABLE : KVM_MP_STATE_INIT_RECEIVED;
	}
	if (take(v, REQ_STARTUP))
		start_up(v);
	if (take(v, REQ_CLOCK))
		kvm_clock_update(v);
	if (take(v, REQ_MSR_MAP))
		kvm_use_msr_map(v);
}

static bool has_event(const struct kvm_vcpu *v)
{
	return v->exception.pending || (v->nmi_queued && !v->nmi_masked) ||
	       ((v->g.vmcb->rflags & FLAG_IF) &&
		(v->ext_irq >= 0 || lapic_deliverable(&v->apic) >= 0 || kvm_pic_waits(v)));
}

/* Until the CPU has something to do. -EINTR: a signal for the thread. */
static int sleep(struct kvm_vcpu *v)
{
	u64 since = trace_on(kvm_vcpu_wakeup) ? clock_ns() : 0;

	for (;;) {
		serve_requests(v);
		if (v->mp_state == KVM_MP_STATE_HALTED && has_event(v)) {
			v->mp_state = KVM_MP_STATE_RUNNABLE;
			v->stats[STAT_HALT_WAKEUPS]++;
			if (trace_on(kvm_vcpu_wakeup) && since)
				kvm_trace_wakeup(since);
		}
		if (v->mp_state == KVM_MP_STATE_RUNNABLE)
			return 0;
		if (signal_pending(current) || READ_ONCE(v->run->immediate_exit))
			return -EINTR;
		sched_set_state(TASK_INTERRUPTIBLE);
		if (!READ_ONCE(v->requests) && !(v->mp_state == KVM_MP_STATE_HALTED && has_event(v)) &&
		    !signal_pending(current))
			sched_sleep();
		sched_set_state(TASK_RUNNING);
	}
}

/* ---- the loop ---- */

static void sync_task_priority_in(struct kvm_vcpu *v)
{
	u64 tpr = v->vm->has_apic ? lapic_task_priority(&v->apic) >> 4 : v->run->cr8 & 15;

	v->g.vmcb->virtual_irq = (v->g.vmcb->virtual_irq & ~SVM_VIRQ_TPR) | tpr;
}

static void sync_task_priority_out(struct kvm_vcpu *v)
{
	u8 tpr = v->g.vmcb->virtual_irq & 15;

	if (v->vm->has_apic && tpr != lapic_task_priority(&v->apic) >> 4)
		lapic_set_task_priority(&v->apic, (u8)(tpr << 4));
}

/* The thread has to leave the loop, or the CPU, first. */
static bool called_away(const struct kvm_vcpu *v)
{
	return (READ_ONCE(current->work) & (WORK_RESCHED | WORK_NOTIFY | WORK_THROTTLE | WORK_MEMORY)) ||
	       signal_pending(current) || READ_ONCE(v->run->immediate_exit);
}

/* False: something came up between the last look and the entry. */
static bool enter(struct kvm_vcpu *v)
{
	struct kvm_vm *vm = v->vm;
	ulong flags = irq_save();
	bool go;

	__atomic_fetch_or(&vm->running, cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	__atomic_store_n(&v->guest_cpu, (int)cpu_id(), __ATOMIC_SEQ_CST);
	go = !READ_ONCE(v->requests) && !called_away(v) && (!v->eoi_offered || may_offer(v));
	if (go) {
		choose_asid(v);
		sync_task_priority_in(v);
		choose_event(v);
		if (trace_on(kvm_entry))
			kvm_trace_entry(v);
		svm_run(&v->g);
		if (trace_on(kvm_exit))
			kvm_trace_exit(v);
		v->stats[STAT_EXITS]++;
		sync_task_priority_out(v);
	}
	__atomic_store_n(&v->guest_cpu, -1, __ATOMIC_SEQ_CST);
	__atomic_fetch_and(&vm->running, ~cpumask_of(cpu_id()), __ATOMIC_SEQ_CST);
	irq_restore(flags); /* what ended the run is taken here */
	return go;
}

static bool window_open(const struct kvm_vcpu *v)
{
	return v->run->request_interrupt_window && can_interrupt(v) && v->ext_irq < 0 && !v->g.vmcb->event_inject &&
	       !v->exception.pending;
}

/* The end of a level-triggered interrupt whose controller is the VMM's. */
static bool tell_eoi(struct kvm_vcpu *v)
{
	for (unsigned i = 0; i < ARRAY_SIZE(v->eoi); i++) {
		if (likely(!v->eoi[i]))
			continue;
		v->run->exit_reason = KVM_EXIT_IOAPIC_EOI;
		v->run->eoi.vector = (u8)(i * 64 + (unsigned)__builtin_ctzl(v->eoi[i]));
		v->eoi[i] &= v->eoi[i] - 1;
		return true;
	}
	return false;
}

/* Interrupted between STI and HLT. QEMU's translator (7.2) forgets the shadow at VMRUN: the interrupt for which the
 * guest is about to halt would come before the HLT, and the guest would sleep on. So the HLT is done here. */
static bool stands_at_hlt(struct kvm_vcpu *v)
{
	u8 code[15];

	return unlikely(v->g.vmcb->interrupt_shadow & 1) && kvm_fetch(v, code) && code[0] == OPCODE_HLT;
}

/* To other threads, if it is their turn; the guest can read what that cost it. */
static void give_way(struct kvm_vcpu *v)
{
	if (likely(!(v->steal_msr & KVM_MSR_ENABLED))) {
		resched_point();
		return;
	}
	if (READ_ONCE(current->work) & WORK_RESCHED)
		kvm_steal_mark(v);
	resched_point();
	if (v->steal_marked || current->run_delay_ns != v->steal_seen_ns)
		kvm_steal_update(v);
}

static int loop(struct kvm_vcpu *v)
{
	bool stepped = v->io.what != DONE && kvm_is_stepping(v);
	int go = v->io.what == DONE ? 1 : kvm_complete_io(v);
	bool entered;

	if (unlikely(stepped) && go > 0)
		return kvm_debug_step(v);

	while (go > 0) {
		serve_requests(v);
		if (unlikely(take(v, REQ_SHUTDOWN))) {
			v->run->exit_reason = KVM_EXIT_SHUTDOWN;
			return 0;
		}
		if (v->mp_state != KVM_MP_STATE_RUNNABLE) {
			go = sleep(v);
			if (go)
				return go;
		}
		if (READ_ONCE(v->run->immediate_exit))
			return -EINTR;
		if (signal_pending(current) || (READ_ONCE(current->work) & WORK_NOTIFY)) {
			v->run->exit_reason = KVM_EXIT_INTR;
			v->stats[STAT_SIGNAL_EXITS]++;
			return -EINTR;
		}
		if (tell_eoi(v))
			return 0;
		if (window_open(v)) {
			v->run->exit_reason = KVM_EXIT_IRQ_WINDOW_OPEN;
			return 0;
		}
		give_way(v);
		if (unlikely(current->work & WORK_MEMORY))
			tenant_high_point();
		if (unlikely(current->work & WORK_THROTTLE))
			sched_throttle_point();
		if (unlikely(v->eoi_msr & KVM_MSR_ENABLED) && may_offer(v))
			kvm_eoi_offer(v);
		entered = enter(v);
		if (v->eoi_offered)
			kvm_eoi_collect(v);
		go = entered ? kvm_handle_exit(v) : 1;
		if (go > 0 && stands_at_hlt(v))
			go = kvm_halt(v);
	}
	return go;
}

int kvm_run(struct kvm_vcpu *v)
{
	int err;

	if (!READ_ONCE(v->run->immediate_exit)) /* who only wants the last exit finished still looks at its reason */
		v->run->exit_reason = KVM_EXIT_UNKNOWN;
	err = kvm_sync_in(v);
	if (!err)
		err = arch_fpu_swap(&v->fpu);
	if (err)
		return err;
	if (trace_on(kvm_fpu))
		kvm_trace_fpu(true);
	rcu_assign(v->runner, current);
	err = loop(v);
	rcu_assign(v->runner, NULL);
	if (trace_on(kvm_userspace_exit))
		kvm_trace_return(v, err);
	if (trace_on(kvm_fpu))
		kvm_trace_fpu(false);
	ensure(!arch_fpu_swap(&v->fpu)); /* current has an area: the guest's */
	v->run->if_flag = !!(v->g.vmcb->rflags & FLAG_IF);
	v->run->ready_for_interrupt_injection = can_interrupt(v) && v->ext_irq < 0 && !v->g.vmcb->event_inject;
	v->run->cr8 = v->vm->has_apic ? lapic_task_priority(&v->apic) >> 4 : v->g.vmcb->virtual_irq & 15;
	v->run->apic_base = v->apic.base;
	kvm_sync_out(v);
	return err;
}
