/* SPDX-License-Identifier: MIT
 *
 * Signals of open files: who hears of them (F_SETOWN, F_SETSIG) and whether (O_ASYNC). fcntl(2), "Managing signals".
 *
 * Threading: any thread with a reference to the file. Numbers are those of current's pid namespace. Errors are fcntl's.
 */
#ifndef PROCESS_ASYNC_H
#define PROCESS_ASYNC_H

#include <vfs/vfs.h>

/* type: F_OWNER_*; nr 0: nobody. -ESRCH: there is none of this number. -ENOMEM. */
int __must_check async_set_owner(struct file *f, int type, int nr);
void async_owner(struct file *f, int *type, int *nr); /* nr 0: nobody, or gone */
/* The same in F_SETOWN's way: a process, or the negative number of a group. -EINVAL: no number. */
int __must_check async_set_who(struct file *f, int who);
int async_who(struct file *f);
int __must_check async_set_signal(struct file *f, int sig); /* 0: SIGIO without details. -EINVAL */
int async_signal(struct file *f);
void async_set_fd(struct file *f, int fd); /* what si_fd tells; the file has an owner */
/* Signals begin or end; fd is what si_fd tells. A file that cannot be polled never sends any. -ENOMEM. */
int __must_check async_enable(struct file *f, int fd, bool on);
/* The owner, if there is one, is told now, without asking the file. Process context. */
void async_tell(struct file *f, unsigned events);

#endif
