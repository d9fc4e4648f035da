/* SPDX-License-Identifier: MIT
 *
 * Between the two halves of the decoder: the shape of an opcode, and what it says of the memory operand.
 */
#ifndef X86_INSN_PRIV_H
#define X86_INSN_PRIV_H

#include <lib/x86_insn.h>

#define M        0x0001 /* has ModRM */
#define I1       0x0002 /* an immediate of one byte; with I2: behind that */
#define I2       0x0004
#define IZ       0x0008 /* of 2 or 4 bytes */
#define IJ       0x0010 /* a jump's: of 2 or 4 bytes, in 64-bit code always 4 */
#define IV       0x0020 /* of the operand's width */
#define I1_TWICE 0x0040
#define FAR_PTR  0x0080 /* selector and offset */
#define OFFS     0x0100 /* an address without ModRM */
#define R        0x0200 /* the memory operand is read */
#define W        0x0400 /* written */
#define B        0x0800 /* of one byte; with none of B, H, Q: of the operand's width */
#define H        0x1000 /* of two */
#define Q        0x2000 /* of a stack slot */
#define OLD      0x4000 /* not in 64-bit code */
#define NONE     0x8000 /* no instruction */

/* x86_access.c: fills reads, writes, access_bytes and what makes an address unknown. */
void x86_insn_access(struct x86_insn *i, u16 shape);

#endif
