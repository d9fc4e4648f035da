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
/* SIGURG to who was named by F_SETOWN, with or without O_ASYNC. Any context. */
void upcall_file_urgent(struct file *f);

/* f->async is not NULL. Its owner is to hear of these EPOLL* events (EPOLLMSG: dnotify's). Any context. */
void upcall_file_async(struct file *f, unsigned events);
void upcall_file_async_gone(struct file *f); /* the last reference has gone: frees f->async */

#endif
