/* SPDX-License-Identifier: MIT
 *
 * What else the folders of /proc are good for: a descriptor of /proc/PID names that process (pidfd_send_signal(2)).
 */
#ifndef FS_PROC_H
#define FS_PROC_H

struct inode;
struct pid;

struct pid *
proc_pid_of(const struct inode *i); /* of /proc/PID itself, lives as long as i; NULL: it is something else */

#endif
