/* SPDX-License-Identifier: MIT
 *
 * The names of the system, for uname(2) and /proc/sys/kernel.
 */
#ifndef SYSCALL_INFO_H
#define SYSCALL_INFO_H

#include <lib/types.h>

struct new_utsname;
void info_init(void); /* boot: reads osrelease= */
void info_uname(struct new_utsname *out);
void info_set_name(bool domain, const char *name); /* cut at 64 bytes */

#endif
