/* SPDX-License-Identifier: MIT
 *
 * What stands between a task and its system calls once it has asked for it. seccomp(2), linux/seccomp.h.
 *
 * Threading: the check runs in the task itself at each call while SYSCALL_WORK_SECCOMP is set.
 */
#ifndef SECCOMP_SECCOMP_H
#define SECCOMP_SECCOMP_H

#include <lib/types.h>

struct regs;

/* May the call that r asks for run? false: it is skipped, and r->ax is its result. May not return: the task ends. */
bool __must_check seccomp_allows(struct regs *r);

/* prctl(PR_SET_SECCOMP). */
long seccomp_prctl(ulong mode, const void __user *filter);

#endif
