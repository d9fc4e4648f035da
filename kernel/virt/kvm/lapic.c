/* SPDX-License-Identifier: MIT
 *
 * Problem: guests program their local APIC at every interrupt and timer tick; a trip to the VMM for each would cost ten
 * times the work itself.
 *
 * Idea: the register page is kept as the guest sees it, so that saving and loading it is a copy; only a handful of
 * offsets do something when written. The timer counts nanoseconds (a bus of 1 GHz), so the current count is computed
 * when read and one deadline is armed.
 *
 *      raise -> IRR -- deliverable? (above PPR) --> accept -> ISR -- EOI --> done      PPR = max(TPR, class of ISR)
 *
 * Contract: lapic.h.
 *
 * Locks: none; IRR and TMR words change by atomic operations, since others raise interrupts.
 */
#include <lib/atomic.h>
#include <lib/err.h>
#include <lib/string.h>
#include "lapic.h"

enum {
	R_ID = 0x20,
	R_VERSION = 0x30,
	R_TPR = 0x80,
	R_PPR = 0xa0,
	R_EOI = 0xb0,
	R_LDR = 0xd0,
	R_DFR = 0xe0,
	R_SVR = 0xf0,
	R_ISR = 0x100,
	R_TMR = 0x180,
	R_IRR = 0x200,
	R_ESR = 0x280,
	R_ICR = 0x300,
	R_ICR2 = 0x310,
	R_TIMER = 0x320,
	R_LINT0 = 0x350,
	R_ERROR = 0x370,
	R_INITIAL = 0x380,
	R_CURRENT = 0x390,
	R_DIVIDE = 0x3e0,
	R_SELF = 0x3f0,
};
#define LVT_MASKED     BIT(16)
#define MODE_EXTERNAL  7
#define TIMER_ONESHOT  0
#define TIMER_PERIODIC 1
#define TIMER_DEADLINE 2
#define SVR_ENABLE     BIT(8)

static u32 *reg(struct lapic *l, unsigned off)
{
	return &l->regs[off / 4];
}

static u32 get(const struct lapic *l, unsigned off)
{
	return READ_ONCE(l->regs[off / 4]);
}

static bool x2(const struct lapic *l)
{
	return l->base & LAPIC_BASE_X2;
}

bool lapic_enabled(const struct lapic *l)
{
	return (l->base & LAPIC_BASE_ENABLE) && (get(l, R_SVR) & SVR_ENABLE);
}

void lapic_reset(struct lapic *l)
{
	memset(l->regs, 0, sizeof(l->regs));
	l->base = LAPIC_DEFAULT_BASE | LAPIC_BASE_ENABLE | (l->base & LAPIC_BASE_BSP);
	*reg(l, R_ID) = l->id << 24;
	*reg(l, R_VERSION) = 0x50014;
	*reg(l, R_DFR) = ~0U;
	*reg(l, R_SVR) = 0xff;
	for (unsigned off = R_TIMER; off <= R_ERROR; off += 0x10)
		*reg(l, off) = LVT_MASKED;
	*reg(l, R_LINT0) = (l->base & LAPIC_BASE_BSP) ? 0x700 : LVT_MASKED; /* ExtINT, as firmware leaves it */
	l->timer_deadline_ns = l->timer_start_ns = l->tsc_deadline = 0;
	l->ops->arm(l, 0);
}

/* ---- priorities ---- */

static int highest(const struct lapic *l, unsigned off)
{
	for (int word = 7; word >= 0; word--) {
		u32 v = get(l, off + (unsigned)word * 0x10);

		if (v)
			return word * 32 + 31 - __builtin_clz(v);
	}
	return -1;
}

static u32 *bit_word(struct lapic *l, unsigned off, u8 vector)
{
	return reg(l, off + (vector / 32U) * 0x10);
}

static u32 processor_priority(const struct lapic *l)
{
	u32 tpr = get(l, R_TPR) & 0xff;
	int isr = highest(l, R_ISR);
	u32 service = isr < 0 ? 0 : (u32)isr & 0xf0;

	return tpr >> 4 >= service >> 4 ? tpr : service;
}

int lapic_highest_request(const struct lapic *l)
{
	return lapic_enabled(l) ? highest(l, R_IRR) : -1;
}

int lapic_deliverable(const struct lapic *l)
{
	int v = lapic_highest_request(l);

	return v >= 0 && ((u32)v & 0xf0) > (processor_priority(l) & 0xf0) ? v : -1;
}

void lapic_raise(struct lapic *l, u8 vector, bool level)
{
	u32 m = 1U << vector % 32;

	if (level)
		__atomic_fetch_or(bit_word(l, R_TMR, vector), m, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and(bit_word(l, R_TMR, vector), ~m, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(bit_word(l, R_IRR, vector), m, __ATOMIC_SEQ_CST);
}

void lapic_accept(struct lapic *l, u8 vector)
{
	u32 m = 1U << vector % 32;

	__atomic_fetch_and(bit_word(l, R_IRR, vector), ~m, __ATOMIC_SEQ_CST);
	*bit_word(l, R_ISR, vector) |= m;
}

int lapic_in_service(const struct lapic *l)
{
	return highest(l, R_ISR);
}

void lapic_end(struct lapic *l)
{
	int v = lapic_in_service(l);

	if (v < 0)
		return;
	*bit_word(l, R_ISR, (u8)v) &= ~(1U << v % 32);
	if (*bit_word(l, R_TMR, (u8)v) & 1U << v % 32)
		l->ops->eoi(l, (u8)v);
}

bool lapic_end_is_quiet(const struct lapic *l, int vector)
{
	int served = highest(l, R_ISR), last = served < 0 ? vector : served;
	unsigned waiting = 0, serving = served < 0 && vector >= 0;

	for (unsigned off = 0; off < 0x80; off += 0x10) {
		waiting += (unsigned)__builtin_popcount(get(l, R_IRR + off));
		serving += (unsigned)__builtin_popcount(get(l, R_ISR + off));
	}
	return serving == 1 && waiting == (served < 0) &&
	       !(get(l, R_TMR + (unsigned)last / 32 * 0x10) >> last % 32 & 1);
}

bool lapic_takes_external(const struct lapic *l)
{
	u32 lint0 = get(l, R_LINT0);

	return !(l->base & LAPIC_BASE_ENABLE) || (!(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == MODE_EXTERNAL);
}

u8 lapic_task_priority(const struct lapic *l)
{
	return (u8)get(l, R_TPR);
}

void lapic_set_task_priority(struct lapic *l, u8 tpr)
{
	*reg(l, R_TPR) = tpr;
}

/* ---- timer ---- */

static unsigned timer_mode(const struct lapic *l)
{
	return get(l, R_TIMER) >> 17 & 3;
}

static unsigned divider(const struct lapic *l)
{
	u32 v = get(l, R_DIVIDE), code = (v & 3) | (v >> 1 & 4);

	return code == 7 ? 1 : 2U << code;
}

static u64 period_ns(const struct lapic *l)
{
	return (u64)get(l, R_INITIAL) * divider(l);
}

static void start_timer(struct lapic *l, u64 from_ns)
{
	u64 period = period_ns(l);

	if (timer_mode(l) == TIMER_DEADLINE)
		return;
	l->timer_start_ns = from_ns;
	l->timer_deadline_ns = period ? from_ns + period : 0;
	l->ops->arm(l, l->timer_deadline_ns);
}

static u32 current_count(struct lapic *l)
{
	u64 now = l->ops->now_ns(l);

	if (!l->timer_deadline_ns || timer_mode(l) == TIMER_DEADLINE || now >= l->timer_deadline_ns)
		return 0;
	return (u32)((l->timer_deadline_ns - now) / divider(l));
}

void lapic_set_tsc_deadline(struct lapic *l, u64 tsc)
{
	u64 now = l->ops->tsc(l);

	if (timer_mode(l) != TIMER_DEADLINE)
		return;
	l->tsc_deadline = tsc;
	l->timer_deadline_ns = tsc ? l->ops->now_ns(l) + (tsc > now ? l->ops->tsc_to_ns(l, tsc - now) : 0) : 0;
	l->ops->arm(l, l->timer_deadline_ns);
}

int lapic_timer_expired(struct lapic *l)
{
	u32 lvt = get(l, R_TIMER);
	int raised = -1;

	if (!l->timer_deadline_ns)
		return -1;
	if (!(lvt & LVT_MASKED)) {
		raised = (u8)lvt;
		lapic_raise(l, (u8)lvt, false);
	}
	if (timer_mode(l) == TIMER_PERIODIC && period_ns(l)) {
		u64 now = l->ops->now_ns(l), due = l->timer_deadline_ns;

		start_timer(l, now - due < period_ns(l) ? due : now);
		return raised;
	}
	l->timer_deadline_ns = l->tsc_deadline = 0;
	return raised;
}

void lapic_restart_timer(struct lapic *l)
{
	start_timer(l, l->ops->now_ns(l));
}

/* ---- registers ---- */

static void command(struct lapic *l, u32 low, u32 dest)
{
	struct lapic_message m = { .dest = dest,
				   .vector = (u8)low,
				   .mode = low >> 8 & 7,
				   .logical = low >> 11 & 1,
				   .assert = low >> 14 & 1,
				   .level = low >> 15 & 1,
				   .shorthand = low >> 18 & 3,
				   .broadcast_x2 = x2(l) };

	l->ops->send(l, &m);
}

u32 lapic_read(struct lapic *l, unsigned off)
{
	switch (off) {
	case R_PPR: return processor_priority(l);
	case R_CURRENT: return current_count(l);
	case R_EOI:
	case R_SELF: return 0;
	default: return off < LAPIC_BYTES && !(off & 15) ? get(l, off) : 0;
	}
}

static void write_lvt(struct lapic *l, unsigned off, u32 v)
{
	unsigned before = timer_mode(l);

	if (!(get(l, R_SVR) & SVR_ENABLE))
		v |= LVT_MASKED;
	*reg(l, off) = v & (off == R_TIMER ? 0x700ff : 0x1a7ff);
	if (off == R_TIMER && timer_mode(l) != before) { /* 10.5.4: a change of mode disarms */
		*reg(l, R_INITIAL) = 0;
		l->timer_deadline_ns = l->tsc_deadline = 0;
		l->ops->arm(l, 0);
	}
}

void lapic_write(struct lapic *l, unsigned off, u32 v)
{
	switch (off) {
	case R_ID:
		if (!x2(l))
			*reg(l, off) = v & 0xff000000;
		break;
	case R_TPR: *reg(l, off) = v & 0xff; break;
	case R_EOI: lapic_end(l); break;
	case R_LDR:
		if (!x2(l))
			*reg(l, off) = v & 0xff000000;
		break;
	case R_DFR: *reg(l, off) = v | 0x0fffffff; break;
	case R_SVR:
		*reg(l, off) = v & 0x3ff;
		for (unsigned lvt = R_TIMER; !(v & SVR_ENABLE) && lvt <= R_ERROR; lvt += 0x10)
			*reg(l, lvt) |= LVT_MASKED;
		break;
	case R_ESR: *reg(l, off) = 0; break;
	case R_ICR:
		*reg(l, off) = v & ~BIT(12);
		command(l, v, x2(l) ? get(l, R_ICR2) : get(l, R_ICR2) >> 24);
		break;
	case R_ICR2: *reg(l, off) = x2(l) ? v : v & 0xff000000; break;
	case R_INITIAL:
		*reg(l, off) = v;
		start_timer(l, l->ops->now_ns(l));
		break;
	case R_DIVIDE: *reg(l, off) = v & 0xb; break;
	case R_SELF: /* x2APIC only */
		if (x2(l))
			lapic_raise(l, (u8)v, false);
		break;
	default:
		if (off >= R_TIMER && off <= R_ERROR && !(off & 15))
			write_lvt(l, off, v);
	}
}

static bool msr_exists(unsigned off)
{
	return off == R_ID || off == R_VERSION || off == R_TPR || off == R_PPR || off == R_EOI || off == R_LDR ||
	       off == R_SVR || (off >= R_ISR && off <= R_ESR) || off == R_ICR || (off >= R_TIMER && off <= R_CURRENT) ||
	       off == R_DIVIDE || off == R_SELF;
}

int lapic_msr_read(struct lapic *l, u32 msr, u64 *out)
{
	unsigned off = (msr - 0x800) << 4;

	if (!x2(l) || !msr_exists(off) || off == R_EOI || off == R_SELF)
		return -EINVAL;
	*out = off == R_ID ? l->id : off == R_ICR ? (u64)get(l, R_ICR2) << 32 | get(l, R_ICR) : lapic_read(l, off);
	return 0;
}

int lapic_msr_write(struct lapic *l, u32 msr, u64 v)
{
	unsigned off = (msr - 0x800) << 4;

	if (!x2(l) || !msr_exists(off) || off == R_ID || off == R_VERSION || off == R_PPR || off == R_LDR ||
	    (off >= R_ISR && off < R_ESR) || off == R_CURRENT)
		return -EINVAL;
	if (off == R_ICR)
		*reg(l, R_ICR2) = (u32)(v >> 32);
	else if (v >> 32)
		return -EINVAL;
	lapic_write(l, off, (u32)v);
	return 0;
}

int lapic_set_base(struct lapic *l, u64 base)
{
	u64 modes = LAPIC_BASE_ENABLE | LAPIC_BASE_X2;

	if ((base & modes) == LAPIC_BASE_X2)
		return -EINVAL;
	if (!x2(l) && (base & LAPIC_BASE_X2)) {
		*reg(l, R_ID) = l->id;
		*reg(l, R_LDR) = (l->id >> 4) << 16 | 1U << (l->id & 15);
	} else if (x2(l) && !(base & LAPIC_BASE_X2)) {
		*reg(l, R_ID) = l->id << 24;
	}
	l->base = base;
	return 0;
}

bool lapic_matches(const struct lapic *l, u32 dest, bool logical, bool wide)
{
	u32 ldr = get(l, R_LDR);

	if (!wide && dest == 0xff)
		return true;
	if (wide && dest == ~0U)
		return true;
	if (!logical)
		return dest == (x2(l) || wide ? l->id : get(l, R_ID) >> 24);
	if (x2(l))
		return ldr >> 16 == dest >> 16 && (ldr & dest & 0xffff);
	ldr >>= 24;
	if (get(l, R_DFR) >> 28 == 15)
		return ldr & dest;
	return ldr >> 4 == dest >> 4 && (ldr & dest & 15);
}
