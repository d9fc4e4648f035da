/* SPDX-License-Identifier: MIT
 *
 * What the kernel's command line says of its names.
 */
#ifndef SYSCALL_INFO_H
#define SYSCALL_INFO_H

#include <lib/types.h>

void info_init(void); /* boot: reads osrelease= */

#endif
