/* SPDX-License-Identifier: MIT
 *
 * The table of pseudo-terminals, as fs/devpts shows it.
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
bool pty_info(int index, struct pty_info *out); /* false: no such pty */

#endif
