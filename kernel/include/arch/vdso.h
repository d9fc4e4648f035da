/* SPDX-License-Identifier: MIT
 *
 * What the machine tells a program: the vDSO and the hardware capabilities of the auxiliary vector (getauxval(3)), and
 * raw entropy.
 */
#ifndef ARCH_VDSO_H
#define ARCH_VDSO_H

#include <lib/types.h>

ulong arch_hwcap(void);        /* CPUID 1 EDX */
ulong arch_hwcap2(void);       /* bit 1: FSGSBASE usable */
ulong arch_min_sigstack(void); /* bytes of a signal frame with this CPU's FPU state */
bool arch_entropy(u64 *out);   /* RDRAND; false: none */

/* The vDSO: a whole number of pages of user code (a shared object), and the page of parameters that is mapped,
 * read-only, right before it. Both lie in the kernel's image. */
struct arch_vdso {
	paddr_t code, data;
	size_t code_bytes;
};
void arch_vdso(struct arch_vdso *out);

#endif
