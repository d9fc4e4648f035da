/* SPDX-License-Identifier: MIT
 *
 * Problem: firmware and kernels of PCs program the old interrupt controllers, and some use them to the end.
 *
 * Idea: the registers of the data sheet; what is delivered follows from them by one rule: the highest request that is
 * not masked, above what is in service.
 *
 *      input --edge or level--> IRR --unmasked, above ISR?--> output --acknowledge--> ISR --EOI--> done
 *
 * Contract: pic.h. No polling, no special mask mode: nothing of today uses them.
 *
 * Locks: none; the caller serialises.
 */
#include <lib/string.h>
#include "pic.h"

#define CASCADE 2 /* where the second one is */
#define NONE    8

enum { ICW1 = 0x10, OCW3 = 0x08 };

void pic_reset(struct pic *p)
{
	memset(p, 0, sizeof(*p));
	p->chip[0].elcr_mask = 0xf8;
	p->chip[1].elcr_mask = 0xde;
}

/* How far the first of these bits is from the one with the highest priority; NONE: there is no bit. */
static unsigned rank(const struct kvm_pic_state *c, u8 bits)
{
	unsigned n = 0;

	while (n < NONE && !(bits >> ((n + c->priority_add) & 7) & 1))
		n++;
	return n;
}

static int deliverable(const struct pic *p, unsigned i)
{
	const struct kvm_pic_state *c = &p->chip[i];
	u8 service = c->isr;
	unsigned n = rank(c, c->irr & (u8)~c->imr);

	if (c->special_fully_nested_mode && i == 0)
		service &= (u8) ~(1 << CASCADE);
	return n < rank(c, service) ? (int)((n + c->priority_add) & 7) : -1;
}

static void set_input(struct kvm_pic_state *c, unsigned n, bool high)
{
	u8 m = (u8)(1 << n);

	if (high && ((c->elcr & m) || !(c->last_irr & m)))
		c->irr |= m;
	else if (!high && (c->elcr & m))
		c->irr &= (u8)~m;
	c->last_irr = high ? c->last_irr | m : c->last_irr & (u8)~m;
}

void pic_loaded(struct pic *p)
{
	set_input(&p->chip[0], CASCADE, deliverable(p, 1) >= 0);
}

void pic_line(struct pic *p, unsigned irq, bool high)
{
	set_input(&p->chip[irq >> 3 & 1], irq & 7, high);
	pic_loaded(p);
}

bool pic_output(const struct pic *p)
{
	return deliverable(p, 0) >= 0;
}

static unsigned take(struct pic *p, unsigned i)
{
	struct kvm_pic_state *c = &p->chip[i];
	int n = deliverable(p, i);
	u8 m = (u8)(1 << (n & 7));

	if (n < 0)
		return 7; /* spurious */
	if (!c->auto_eoi)
		c->isr |= m;
	else if (c->rotate_on_auto_eoi)
		c->priority_add = (u8)((n + 1) & 7);
	if (!(c->elcr & m))
		c->irr &= (u8)~m;
	return (unsigned)n;
}

u8 pic_acknowledge(struct pic *p)
{
	bool any = pic_output(p);
	unsigned n = take(p, 0), second;

	if (!any || n != CASCADE)
		return (u8)(p->chip[0].irq_base + n);
	second = take(p, 1);
	pic_loaded(p);
	return (u8)(p->chip[1].irq_base + second);
}

/* ---- ports ---- */

bool pic_is_port(u16 port)
{
	return (port & ~0x81) == 0x20 || (port & ~1) == 0x4d0;
}

static void initialise(struct kvm_pic_state *c, u8 v)
{
	*c = (struct kvm_pic_state){ .irr = c->irr & c->elcr,
				     .irq_base = c->irq_base,
				     .init4 = v & 1,
				     .init_state = 1,
				     .elcr = c->elcr,
				     .elcr_mask = c->elcr_mask };
}

/* OCW2: end of interrupt and rotation. */
static void end(struct kvm_pic_state *c, u8 v)
{
	unsigned n = rank(c, c->isr), given = v & 7, first = (n + c->priority_add) & 7;

	switch (v >> 5) {
	case 0:
	case 4: c->rotate_on_auto_eoi = v >> 7; break;
	case 1:
	case 5:
		if (n == NONE)
			break;
		c->isr &= (u8) ~(1 << first);
		if (v >> 7)
			c->priority_add = (u8)((first + 1) & 7);
		break;
	case 3:
	case 7: c->isr &= (u8) ~(1 << given); break;
	default: break;
	}
	if (v >> 6 == 3) /* rotation to the one that is named */
		c->priority_add = (u8)((given + 1) & 7);
}

static void command(struct kvm_pic_state *c, u8 v)
{
	if (v & ICW1)
		initialise(c, v);
	else if (!(v & OCW3))
		end(c, v);
	else if (v & 2)
		c->read_reg_select = v & 1;
}

static void data(struct kvm_pic_state *c, u8 v)
{
	switch (c->init_state) {
	case 0: c->imr = v; break;
	case 1:
		c->irq_base = v & 0xf8;
		c->init_state = 2;
		break;
	case 2: c->init_state = c->init4 ? 3 : 0; break;
	default:
		c->special_fully_nested_mode = v >> 4 & 1;
		c->auto_eoi = v >> 1 & 1;
		c->init_state = 0;
	}
}

void pic_write(struct pic *p, u16 port, u8 v)
{
	struct kvm_pic_state *c = &p->chip[port >> 7 & 1];

	if ((port & ~1) == 0x4d0)
		p->chip[port & 1].elcr = v & p->chip[port & 1].elcr_mask;
	else if (port & 1)
		data(c, v);
	else
		command(c, v);
	pic_loaded(p);
}

u8 pic_read(const struct pic *p, u16 port)
{
	const struct kvm_pic_state *c = &p->chip[port >> 7 & 1];

	if ((port & ~1) == 0x4d0)
		return p->chip[port & 1].elcr;
	if (port & 1)
		return c->imr;
	return c->read_reg_select ? c->isr : c->irr;
}
