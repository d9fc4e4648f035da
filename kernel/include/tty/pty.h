/* SPDX-License-Identifier: MIT
 *
 * Tables of pseudo-terminals, as mounts of fs/devpts show them: each has its own numbers.
 */
#ifndef TTY_PTY_H
#define TTY_PTY_H

#include <vfs/vfs.h>

#define PTY_MAX 256

struct pty_info {
	kuid_t uid; /* of whoever opened the master */
	kgid_t gid;
	struct timestamp born;
};
/* The nodes of a devpts say by inode->priv whose they are. Counted: by the mount, and by each open master. */
struct pty_table;
extern struct pty_table pty_first_table;               /* of /dev/ptmx and of the first mount */
struct pty_table *__must_check pty_table_create(void); /* NULL: no memory */
void pty_table_put(struct pty_table *t);
bool pty_info(const struct pty_table *t, int index, struct pty_info *out); /* false: no such pty */

#endif
