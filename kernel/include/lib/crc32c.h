/* SPDX-License-Identifier: MIT
 *
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78) in its raw form: the seed goes in and the register comes
 * out, neither is inverted. iSCSI's and RFC 3720's value is ~crc32c(~0, ...); ext4 and md's journal use the raw
 * form. Any context, no floating-point state: the CPU's crc32 instruction works on general registers.
 */
#ifndef LIB_CRC32C_H
#define LIB_CRC32C_H

#include <lib/types.h>

u32 crc32c(u32 seed, const void *data, size_t bytes);

#endif
