/* SPDX-License-Identifier: MIT
 *
 * Restartable sequences: rseq(2), layout in <linux/rseq.h>. What a thread registered is current->rseq; a fork's child
 * keeps it, a thread or a new program begins without.
 *
 * Threading: current's own. rseq_return may sleep.
 */
#ifndef PROCESS_RSEQ_H
#define PROCESS_RSEQ_H

#include <lib/types.h>

struct regs;

/* -EINVAL (size, alignment, another area is registered), -EFAULT, -EBUSY (this one is), -EPERM (by another signature).
 */
long rseq_register(void __user *area, u32 bytes, u32 signature);
/* -EINVAL, -EPERM, -EFAULT. */
long rseq_unregister(void __user *area, u32 bytes, u32 signature);
/* Before user code of current runs again, and before a handler's frame is made. */
void rseq_return(struct regs *r);

#endif
