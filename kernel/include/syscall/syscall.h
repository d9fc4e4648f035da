/* SPDX-License-Identifier: MIT
 *
 * The system call layer as others see it: boot, and names for traces.
 */
#ifndef SYSCALL_SYSCALL_H
#define SYSCALL_SYSCALL_H

#include <lib/types.h>

void syscall_init(void);            /* reads the command line; once, before the first program */
const char *syscall_name(ulong nr); /* NULL: unknown number */

#endif
