/* SPDX-License-Identifier: MIT
 *
 * The vDSO: code of the kernel's that programs call without entering it (vdso(7)).
 */
#ifndef PROCESS_VDSO_H
#define PROCESS_VDSO_H

#include <lib/types.h>

struct mm;

ulong vdso_map(struct mm *m); /* maps it; its address for AT_SYSINFO_EHDR, or 0: the program does without */

#endif
