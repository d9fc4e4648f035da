/* SPDX-License-Identifier: MIT
 *
 * Files that stand for a process (pidfd_open(2)): readable when it has ended.
 */
#ifndef PROCESS_PIDFD_H
#define PROCESS_PIDFD_H

struct file;
struct pid;

struct pid *pidfd_pid(struct file *f);  /* NULL: not a pidfd. Lives as long as the file */
int pidfd_open(int nr, unsigned flags); /* a descriptor, or -errno */

#endif
