/* SPDX-License-Identifier: MIT
 *
 * The XSAVE area in standard format (Intel SDM volume 1, 13.4), between fpu.c, thread.c and
 * signal.c.
 */
#ifndef FPU_PRIV_H
#define FPU_PRIV_H

#include <lib/types.h>

struct task;

struct fpu_area {
	u16 fcw, fsw;
	u8 ftw, reserved;
	u16 fop;
	u64 ip, dp;
	u32 mxcsr, mxcsr_mask;
	u8 registers[464 - 32];
	u8 software[48]; /* what Linux's signal frames put there */
	u64 xstate_bv, xcomp_bv;
	u64 header_zero[6];
	u8 extended[];
};
_Static_assert(offsetof(struct fpu_area, xstate_bv) == 512, "legacy area");

struct fpu_area *fpu_sync(struct task *t);
int fpu_copy(struct task *to, struct task *from);
void fpu_free(struct task *t);
struct fpu_area *fpu_alloc(void); /* not cleared; NULL: out of memory */
void fpu_discard(struct fpu_area *a);
/* The first `bytes` of fresh become t's registers. Takes fresh over, also when it answers -EINVAL. */
int __must_check fpu_adopt(struct task *t, struct fpu_area *fresh, size_t bytes);
/* current's registers to and from a signal frame in XSAVE's layout, with no copy in between; only where the CPU has
 * XSAVE, and only for a task that has used them (saving). 0, -ENOMEM, or -EFAULT: a bad address, or an image that the
 * CPU refuses, and then the registers are as at a program's start. */
int __must_check fpu_save_user(void __user *at);
int __must_check fpu_restore_user(const void __user *at);
u64 fpu_features(void);

#endif
