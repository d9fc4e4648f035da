/* SPDX-License-Identifier: MIT
 *
 * Unpacks zstd frames from memory into memory. Format: RFC 8878; no dictionaries.
 */
#ifndef LIB_ZSTD_H
#define LIB_ZSTD_H

#include <lib/types.h>

/* True if a zstd frame (or one to be skipped) begins here. */
bool zstd_begins(const u8 *data, size_t size);
size_t zstd_work_bytes(void); /* memory that zstd_unpack needs while it runs */
/* Unpacks all frames that follow one another into out. *used: their bytes in data, *made: bytes written. -EINVAL:
 * damaged (also a wrong checksum or length) or in need of a dictionary, -ENOSPC: out is too small. */
int __must_check zstd_unpack(const u8 *data, size_t size, u8 *out, size_t room, void *work, size_t *used, size_t *made);

#endif
