/* SPDX-License-Identifier: MIT
 *
 * Unpacks gzip members from memory into memory. Formats: RFC 1951 (deflate), RFC 1952 (gzip).
 */
#ifndef LIB_INFLATE_H
#define LIB_INFLATE_H

#include <lib/types.h>

/* True if a gzip member with deflate begins here. */
bool gzip_begins(const u8 *data, size_t size);
/* Unpacks one member into out. *used: its bytes in data, *made: bytes written. -EINVAL: damaged (also a wrong CRC or
 * length), -ENOSPC: out is too small. */
int __must_check gzip_unpack(const u8 *data, size_t size, u8 *out, size_t room, size_t *used, size_t *made);

#endif
