/* SPDX-License-Identifier: MIT
 *
 * The page that the kernel writes and the vDSO's code reads, mapped right before it. real_offset changes under seq
 * (odd: being written); the rest is constant after boot.
 */
#ifndef VDSO_DATA_H
#define VDSO_DATA_H

#include <stdint.h>

struct vdso_data {
	uint32_t seq;
	uint64_t tsc_start, ns_mult; /* clock_ns = (tsc - tsc_start) * ns_mult >> 32 */
	uint64_t real_offset_ns;
};

#endif
