/* SPDX-License-Identifier: MIT
 *
 * The local APIC of one virtual CPU: registers, priorities, timer. Pure: time, the timer and messages to others are
 * ops. Source: AMD64 Architecture Programmer's Manual volume 2, chapter 16; Intel SDM volume 3, chapter 11 (x2APIC, TSC
 * deadline).
 *
 * Threading: lapic_raise and lapic_trigger_mode from any context; everything else only by the thread that runs the CPU
 * (or while nobody does).
 */
#ifndef KVM_LAPIC_H
#define KVM_LAPIC_H

#include <lib/types.h>

#define LAPIC_BYTES        0x400
#define LAPIC_DEFAULT_BASE 0xfee00000ULL
#define LAPIC_BASE_BSP     BIT(8)
#define LAPIC_BASE_X2      BIT(10)
#define LAPIC_BASE_ENABLE  BIT(11)

struct lapic;

struct lapic_message { /* an interrupt command, or an MSI in the same words */
	u32 dest;
	u8 vector, mode, shorthand; /* mode: 0 fixed 1 lowest 2 SMI 4 NMI 5 INIT 6 start-up */
	bool logical, level, assert;
	bool broadcast_x2; /* dest is 32 bits wide */
};

struct lapic_ops {
	u64 (*now_ns)(struct lapic *l);
	u64 (*tsc)(struct lapic *l);                   /* the guest's */
	u64 (*tsc_to_ns)(struct lapic *l, u64 cycles); /* a length of time */
	void (*arm)(struct lapic *l, u64 deadline_ns); /* 0: never */
	void (*send)(struct lapic *l, const struct lapic_message *m);
	void (*eoi)(struct lapic *l, u8 vector); /* of a level-triggered interrupt */
};

struct lapic {
	const struct lapic_ops *ops;
	u64 base; /* as in MSR_APIC_BASE */
	u32 id;   /* x2APIC id */
	u32 regs[LAPIC_BYTES / 4];
	u64 timer_start_ns, timer_deadline_ns; /* 0: not running */
	u64 tsc_deadline;
};

void lapic_reset(struct lapic *l); /* keeps ops, id and the BSP bit */
/* off: offset in the register page, 16-byte slots. Reads of nothing give 0. */
u32 lapic_read(struct lapic *l, unsigned off);
void lapic_write(struct lapic *l, unsigned off, u32 v);
/* x2APIC MSRs 0x800..0x8ff. -EINVAL: the guest gets #GP. */
int __must_check lapic_msr_read(struct lapic *l, u32 msr, u64 *out);
int __must_check lapic_msr_write(struct lapic *l, u32 msr, u64 v);
int __must_check lapic_set_base(struct lapic *l, u64 base);
void lapic_set_tsc_deadline(struct lapic *l, u64 tsc);
/* The timer's deadline has come: raises its interrupt, arms the next period. The vector raised, -1: none. */
int lapic_timer_expired(struct lapic *l);

void lapic_raise(struct lapic *l, u8 vector, bool level); /* into IRR; any context */
bool lapic_enabled(const struct lapic *l);                /* by base and by its spurious register */
/* The highest interrupt above what is in service and above the task priority; -1: none. */
int lapic_deliverable(const struct lapic *l);
int lapic_highest_request(const struct lapic *l); /* whatever its priority; -1: none */
void lapic_accept(struct lapic *l, u8 vector);    /* IRR -> ISR */
void lapic_end(struct lapic *l);                  /* of the highest in service; none: nothing */
int lapic_in_service(const struct lapic *l);      /* which that is; -1: none */
/* With `vector` accepted (-1: none), one edge-triggered interrupt is in service and no other waits: its end lets
 * nothing else in. */
bool lapic_end_is_quiet(const struct lapic *l, int vector);
/* Whether a message with this destination means this APIC. */
bool lapic_matches(const struct lapic *l, u32 dest, bool logical, bool x2);
bool lapic_takes_external(const struct lapic *l); /* what the old interrupt controllers send */
u8 lapic_task_priority(const struct lapic *l);
void lapic_set_task_priority(struct lapic *l, u8 tpr);
/* After the registers were loaded from outside (KVM_SET_LAPIC): the timer runs as they say. */
void lapic_restart_timer(struct lapic *l);

#endif
