/* SPDX-License-Identifier: MIT
 *
 * File modes and signal numbers from the UAPI headers, also on the host, where glibc's headers keep linux/stat.h from
 * defining the modes and have a sigset_t of their own. Values: inode(7).
 */
#ifndef VFS_UAPI_H
#define VFS_UAPI_H

#include <linux/fcntl.h>
#include <linux/stat.h>

#ifdef __OSTROM_KERNEL__
#include <linux/signal.h>
#else
#include <signal.h>
#endif

#ifndef S_IFMT
#define S_IFMT   0170000
#define S_IFSOCK 0140000
#define S_IFLNK  0120000
#define S_IFREG  0100000
#define S_IFBLK  0060000
#define S_IFDIR  0040000
#define S_IFCHR  0020000
#define S_IFIFO  0010000
#define S_ISUID  04000
#define S_ISGID  02000
#define S_ISVTX  01000
#define S_IXGRP  010

#define S_ISLNK(m)  (((m)&S_IFMT) == S_IFLNK)
#define S_ISREG(m)  (((m)&S_IFMT) == S_IFREG)
#define S_ISDIR(m)  (((m)&S_IFMT) == S_IFDIR)
#define S_ISCHR(m)  (((m)&S_IFMT) == S_IFCHR)
#define S_ISBLK(m)  (((m)&S_IFMT) == S_IFBLK)
#define S_ISFIFO(m) (((m)&S_IFMT) == S_IFIFO)
#define S_ISSOCK(m) (((m)&S_IFMT) == S_IFSOCK)
#endif

/* tv_nsec of utimensat(2), in no UAPI header. */
#define UTIME_NOW  ((1L << 30) - 1)
#define UTIME_OMIT ((1L << 30) - 2)

#endif
