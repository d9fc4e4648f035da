/* SPDX-License-Identifier: MIT
 *
 * Problem: firmware counts time by the old interval timer, and its channel 0 is the first clock of a PC's kernel.
 *
 * Idea: a channel is the moment when it was loaded and what with; its count and output are computed when somebody
 * looks. Only channel 0 does something by itself: one timer, a pulse on GSI 0.
 *
 * Contract: KVM_CREATE_PIT2, KVM_GET_PIT2, KVM_SET_PIT2 of virt/kvm/api.rst; ports 0x40 to 0x43, and 0x61 for
 * channel 2. Interrupts that the guest was too late for are lost. A period below MIN_NS is lengthened, so that no guest
 * keeps the host in its timer. Binary counting only. Source: Intel 8254 data sheet.
 *
 * Locks: the timer's own, taken in any context.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include "kvm_priv.h"

#define HZ       1193182ULL
#define MIN_NS   100000ULL
#define CHANNELS 3

enum { LOW = 1, HIGH = 2, BOTH = 3, BOTH_HIGH = 4 }; /* which byte comes next */

struct kvm_pit {
	struct spinlock lock;
	struct kvm_vm *vm;
	struct kvm_pit_state2 s;
	struct timer timer;
	u64 next_ns; /* when channel 0 fires, 0: never */
};

static u64 to_ns(u64 ticks)
{
	return ticks * NSEC_PER_SEC / HZ;
}

static bool is_periodic(const struct kvm_pit_channel_state *c)
{
	return c->mode == 2 || c->mode == 3;
}

static u64 ticks(const struct kvm_pit_channel_state *c)
{
	u64 ns = clock_ns() - (u64)c->count_load_time;

	return ns / NSEC_PER_SEC * HZ + ns % NSEC_PER_SEC * HZ / NSEC_PER_SEC;
}

static u16 count(const struct kvm_pit_channel_state *c)
{
	u64 t = ticks(c);

	if (!c->count)
		return 0;
	if (c->mode == 3)
		return (u16)(c->count - 2 * t % c->count);
	return is_periodic(c) ? (u16)(c->count - t % c->count) : (u16)(c->count - t);
}

static bool output(const struct kvm_pit_channel_state *c)
{
	u64 t = ticks(c);

	switch (c->mode) {
	case 0: return t >= c->count;
	case 1: return t < c->count;
	case 2: return !c->count || t % c->count != c->count - 1;
	case 3: return !c->count || t % c->count < (c->count + 1) / 2;
	default: return t != c->count;
	}
}

/* ---- channel 0 ---- */

static u64 period_ns(const struct kvm_pit *p)
{
	return max(to_ns(p->s.channels[0].count), MIN_NS);
}

static void arm(struct kvm_pit *p)
{
	const struct kvm_pit_channel_state *c = &p->s.channels[0];

	p->next_ns = c->count && !(p->s.flags & KVM_PIT_FLAGS_HPET_LEGACY) ? (u64)c->count_load_time + period_ns(p) : 0;
	if (p->next_ns)
		timer_arm(&p->timer, p->next_ns, 0);
}

static void fired(struct timer *t)
{
	struct kvm_pit *p = container_of(t, struct kvm_pit, timer);
	ulong flags = spin_lock_irqsave(&p->lock);
	u64 now = clock_ns();
	bool due = p->next_ns && now >= p->next_ns;

	if (due && is_periodic(&p->s.channels[0])) {
		p->next_ns += period_ns(p);
		if (p->next_ns <= now)
			p->next_ns = now + period_ns(p);
		timer_arm(&p->timer, p->next_ns, 0);
	} else if (due) {
		p->next_ns = 0;
	}
	spin_unlock_irqrestore(&p->lock, flags);
	if (!due)
		return;
	(void)kvm_set_gsi(p->vm, 0, true);
	(void)kvm_set_gsi(p->vm, 0, false);
}

/* ---- registers ---- */

static void load(struct kvm_pit *p, unsigned n, u32 value)
{
	struct kvm_pit_channel_state *c = &p->s.channels[n];

	c->count = value ? value : 0x10000;
	c->count_load_time = (s64)clock_ns();
	if (n == 0)
		arm(p);
}

static void latch(struct kvm_pit_channel_state *c)
{
	if (c->count_latched)
		return;
	c->latched_count = count(c);
	c->count_latched = c->rw_mode;
}

static void read_back(struct kvm_pit *p, u8 v)
{
	for (unsigned n = 0; n < CHANNELS; n++) {
		struct kvm_pit_channel_state *c = &p->s.channels[n];

		if (!(v >> (n + 1) & 1))
			continue;
		if (!(v & 0x20))
			latch(c);
		if (v & 0x10 || c->status_latched)
			continue;
		c->status = (u8)(output(c) << 7 | c->rw_mode << 4 | c->mode << 1 | c->bcd);
		c->status_latched = 1;
	}
}

static void control(struct kvm_pit *p, u8 v)
{
	struct kvm_pit_channel_state *c = &p->s.channels[v >> 6 < CHANNELS ? v >> 6 : 0];
	u8 access = v >> 4 & 3, mode = v >> 1 & 7;

	if (v >> 6 == CHANNELS) {
		read_back(p, v);
	} else if (!access) {
		latch(c);
	} else {
		c->rw_mode = c->read_state = c->write_state = access;
		c->mode = mode > 5 ? mode - 4 : mode;
		c->bcd = v & 1;
	}
}

static void write_channel(struct kvm_pit *p, unsigned n, u8 v)
{
	struct kvm_pit_channel_state *c = &p->s.channels[n];

	switch (c->write_state) {
	case HIGH: load(p, n, (u32)v << 8); break;
	case BOTH:
		c->write_latch = v;
		c->write_state = BOTH_HIGH;
		break;
	case BOTH_HIGH:
		c->write_state = BOTH;
		load(p, n, c->write_latch | (u32)v << 8);
		break;
	default: load(p, n, v);
	}
}

/* The next byte of a value, by a state that goes on. */
static u8 next_byte(u8 *state, u16 value)
{
	switch (*state) {
	case HIGH: return (u8)(value >> 8);
	case BOTH: *state = BOTH_HIGH; return (u8)value;
	case BOTH_HIGH: *state = BOTH; return (u8)(value >> 8);
	default: return (u8)value;
	}
}

static u8 read_channel(struct kvm_pit_channel_state *c)
{
	u8 v, was = c->count_latched;

	if (c->status_latched) {
		c->status_latched = 0;
		return c->status;
	}
	if (!was)
		return next_byte(&c->read_state, count(c));
	v = next_byte(&c->count_latched, c->latched_count);
	if (was != BOTH)
		c->count_latched = 0;
	return v;
}

static void write_gate(struct kvm_pit *p, u8 v)
{
	struct kvm_pit_channel_state *c = &p->s.channels[2];

	if ((v & 1) && !c->gate && c->mode != 0 && c->mode != 4)
		c->count_load_time = (s64)clock_ns();
	c->gate = v & 1;
	p->s.flags =
		(p->s.flags & ~(u32)KVM_PIT_FLAGS_SPEAKER_DATA_ON) | (v & 2 ? (u32)KVM_PIT_FLAGS_SPEAKER_DATA_ON : 0);
}

static u8 read_gate(const struct kvm_pit *p)
{
	const struct kvm_pit_channel_state *c = &p->s.channels[2];

	return (u8)(c->gate | (p->s.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON ? 2 : 0) | output(c) << 5 |
		    (clock_ns() / 15000 & 1) << 4);
}

bool kvm_pit_port(struct kvm_vcpu *v, u16 port, bool in, u8 bytes)
{
	struct kvm_pit *p = v->vm->pit;
	u8 value = (u8)v->g.vmcb->rax;
	ulong flags;

	if (!p || bytes != 1 || ((port & ~3) != 0x40 && port != 0x61))
		return false;
	flags = spin_lock_irqsave(&p->lock);
	if (in)
		value = port == 0x61 ? read_gate(p) : port == 0x43 ? 0 : read_channel(&p->s.channels[port & 3]);
	else if (port == 0x61)
		write_gate(p, value);
	else if (port == 0x43)
		control(p, value);
	else
		write_channel(p, port & 3, value);
	spin_unlock_irqrestore(&p->lock, flags);
	v->g.vmcb->rax = (v->g.vmcb->rax & ~0xffULL) | value;
	return true;
}

/* ---- the VMM's side ---- */

int kvm_pit_create(struct kvm_vm *vm, const struct kvm_pit_config *k)
{
	struct kvm_pit *p;

	if (vm->pit)
		return -EEXIST;
	if (!vm->chip)
		return -ENOENT;
	if (k->flags & ~(u32)KVM_PIT_SPEAKER_DUMMY)
		return -EINVAL;
	p = kzalloc(sizeof(*p), 0);
	if (!p)
		return -ENOMEM;
	spin_init(&p->lock, RANK_IRQCHIP);
	timer_init(&p->timer, fired);
	p->vm = vm;
	for (unsigned n = 0; n < CHANNELS; n++)
		p->s.channels[n] = (struct kvm_pit_channel_state){
			.count = 0x10000, .mode = 3, .gate = n != 2, .count_load_time = (s64)clock_ns()
		};
	smp_store_release(&vm->pit, p);
	return 0;
}

void kvm_pit_free(struct kvm_vm *vm)
{
	if (vm->pit)
		(void)timer_cancel(&vm->pit->timer);
	kfree(vm->pit);
}

static bool state_ok(const struct kvm_pit_state2 *s)
{
	for (unsigned n = 0; n < CHANNELS; n++)
		if (s->channels[n].count > 0x10000 || s->channels[n].mode > 5)
			return false;
	return true;
}

/* A loaded channel 0 begins a period of its own. */
int kvm_pit_state(struct kvm_vm *vm, struct kvm_pit_state2 *k, bool set)
{
	struct kvm_pit *p = vm->pit;
	ulong flags;

	if (!p)
		return -ENXIO;
	if (set && !state_ok(k))
		return -EINVAL;
	flags = spin_lock_irqsave(&p->lock);
	if (set) {
		p->s = *k;
		for (unsigned n = 0; n < CHANNELS; n++) {
			struct kvm_pit_channel_state *c = &p->s.channels[n];

			c->count = c->count ? c->count : 0x10000;
			c->count_load_time = (s64)clock_ns();
		}
		arm(p);
	} else {
		*k = p->s;
		memset(k->reserved, 0, sizeof(k->reserved));
	}
	spin_unlock_irqrestore(&p->lock, flags);
	return 0;
}
