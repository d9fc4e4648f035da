/* SPDX-License-Identifier: MIT
 *
 * Upward calls of the machine layer: exactly one definer each, always present, called directly
 * (design, "Upward calls").
 */
#ifndef ARCH_UPCALLS_H
#define ARCH_UPCALLS_H

#include <arch/thread.h>

/* syscall: dispatches r->orig_ax; leaves the result in r->ax. IRQs on. */
void upcall_syscall(struct regs *r);
/* mm: a page fault in user mode, or in a user-memory accessor. IRQs on, may sleep. 0 if handled;
 * -errno otherwise: for a fault from user mode the signal has then been queued; for an accessor
 * arch returns the failure. */
#define FAULT_PRESENT BIT(0) /* bits of the x86 page-fault error code */
#define FAULT_WRITE   BIT(1)
#define FAULT_USER    BIT(2)
#define FAULT_EXEC    BIT(4)
int upcall_page_fault(struct regs *r, ulong addr, unsigned error);
/* process: an exception in user mode that is not a page fault. IRQs on. */
void upcall_user_exception(struct regs *r, unsigned vector, ulong error);
/* process: before a return to user mode while current->work holds more than WORK_RESCHED (which
 * arch serves itself by resched_point()). IRQs on. It clears the bits it has served. */
void upcall_return_to_user(struct regs *r);
/* task: a timer interrupt, or cpu_kick(), arrived on this CPU. IRQs off. */
void upcall_timer_irq(void);
void upcall_kick(void);
/* perf: a performance counter of this CPU has overflowed; cpu_counters_listen asks for the next. IRQs off. */
void upcall_counters_irq(void);
/* task: the first thing on a new thread's stack: completes the switch from prev. IRQs off; returns
 * with IRQs on. */
void upcall_thread_started(struct task *prev);
/* init: the boot CPU on its boot stack, memory map known, IRQs off; then each further CPU. Do not
 * return. */
void __noreturn kmain(void);
void __noreturn kmain_secondary(void);

#endif
