/* SPDX-License-Identifier: MIT
 *
 * The file systems that need no disk: each call registers one (fs_register) at boot, after vfs_init.
 */
#ifndef FS_FS_H
#define FS_FS_H

void tmpfs_init(void);
void devtmpfs_init(void); /* and the memory devices: null, zero, full, random, urandom, kmsg, port */
void devpts_init(void);

struct file;
/* memfd_create: a nameless file in memory that shows as /memfd:NAME (deleted). */
int memfd_file(const char *name, unsigned flags, struct file **out);

#endif
