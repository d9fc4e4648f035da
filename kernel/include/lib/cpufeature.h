/* SPDX-License-Identifier: MIT
 *
 * Which instruction sets pure code may use. A vector set is reported only if the CPU has it and the running
 * system has enabled its registers (XCR0), so one answer serves the kernel and the host. In the kernel, code that
 * touches vector registers must stand between arch's simd_begin() and simd_end(); SSE42 (crc32, popcnt) needs no
 * such section. The answer is found once and kept; cpu_features_mask() lets tests and the boot line take sets away.
 */
#ifndef LIB_CPUFEATURE_H
#define LIB_CPUFEATURE_H

#include <lib/types.h>

#define CPU_SSE2   BIT(0)
#define CPU_SSE42  BIT(1)
#define CPU_AVX2   BIT(2)
#define CPU_AVX512 BIT(3) /* F, BW, VL */
#define CPU_GFNI   BIT(4) /* with AVX512: 512-bit vgf2p8affineqb */

unsigned cpu_features(void);
void cpu_features_mask(unsigned keep);

#endif
