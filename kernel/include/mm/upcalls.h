/* SPDX-License-Identifier: MIT
 *
 * Upward calls of mm: one definer each, in process.
 */
#ifndef MM_UPCALLS_H
#define MM_UPCALLS_H

#include <lib/types.h>

struct mm;

/* A fault of current in user mode that cannot be repaired: SIGSEGV or SIGBUS with its si_code and address, or SIGKILL
 * (code 0) when memory has run out. */
void upcall_fault_signal(int sig, int code, ulong addr);
/* rlim_cur of current for RLIMIT_*; ~0: none. */
u64 upcall_rlimit(unsigned which);
/* The last user of m is gone: drop m->exe_file. */
void upcall_mm_release(struct mm *m);

#endif
