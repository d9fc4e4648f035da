/* SPDX-License-Identifier: MIT
 *
 * What the calls on open files share.
 */
#ifndef SYSCALL_FILE_PRIV_H
#define SYSCALL_FILE_PRIV_H

#include <vfs/vfs.h>

/* FIBMAP and FS_IOC_FIEMAP; -ENOTTY: neither, or not a regular file. */
long extents_ioctl(struct file *f, unsigned cmd, void __user *arg);

#endif
