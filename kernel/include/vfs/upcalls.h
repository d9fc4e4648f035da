/* SPDX-License-Identifier: MIT
 *
 * vfs' upward calls: exactly one definer each (design, "Upward calls").
 */
#ifndef VFS_UPCALLS_H
#define VFS_UPCALLS_H

#include <lib/types.h>

struct file;
/* To current, as from the kernel: SIGPIPE (a pipe or socket without readers), SIGXFSZ (RLIMIT_FSIZE). */
void upcall_vfs_signal(int sig);

#endif
