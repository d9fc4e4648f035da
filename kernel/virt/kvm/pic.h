/* SPDX-License-Identifier: MIT
 *
 * The two old interrupt controllers of a PC, 8259A, the second behind input 2 of the first. Pure: the output line is a
 * return value. State in Linux's structure, as VMMs save and load it. Source: Intel 8259A data sheet; edge or level per
 * input (ports 0x4d0 and 0x4d1): Intel 82371AB (PIIX4) data sheet.
 *
 * Threading: the caller serialises.
 */
#ifndef KVM_PIC_H
#define KVM_PIC_H

#include <asm/kvm.h>
#include <lib/types.h>

struct pic {
	struct kvm_pic_state chip[2];
};

void pic_reset(struct pic *p);
void pic_line(struct pic *p, unsigned irq, bool high); /* 0 to 15 */
bool pic_output(const struct pic *p);                  /* an interrupt waits to be acknowledged */
u8 pic_acknowledge(struct pic *p);                     /* its vector; a spurious one's if none waits any more */
bool pic_is_port(u16 port);
u8 pic_read(const struct pic *p, u16 port);
void pic_write(struct pic *p, u16 port, u8 v);
/* After the state was loaded: the second one's output follows from it. */
void pic_loaded(struct pic *p);

#endif
