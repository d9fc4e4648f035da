/* SPDX-License-Identifier: MIT
 *
 * Error numbers: Linux's, from its UAPI headers, and the four restart codes that never reach user space.
 */
#ifndef LIB_ERR_H
#define LIB_ERR_H

#ifdef __OSTROM_KERNEL__
#include <asm/errno.h>
#else
#include <errno.h>
#endif

#define ERESTARTSYS           512 /* restart if SA_RESTART or no handler, else EINTR */
#define ERESTARTNOINTR        513 /* always restart */
#define ERESTARTNOHAND        514 /* restart if no handler runs, else EINTR */
#define ERESTART_RESTARTBLOCK 516 /* restart through sys_restart_syscall with the saved deadline */
#define ENOTSUPP              524 /* seen by bpf's clients */

#endif
