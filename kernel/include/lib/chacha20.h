/* SPDX-License-Identifier: MIT
 *
 * The ChaCha20 block function (RFC 8439, section 2.3), and a generator on it that erases its key after each use, so
 * that a stolen state does not reveal what it gave before. No locking.
 */
#ifndef LIB_CHACHA20_H
#define LIB_CHACHA20_H

#include <lib/types.h>

void chacha20_block(const u32 key[8], u32 counter, const u32 nonce[3], u8 out[64]);

struct keystream {
	u32 key[8];
};
void keystream_mix(struct keystream *k, const void *bytes, size_t n); /* seeds, any number of times */
void keystream_read(struct keystream *k, void *out, size_t n);

#endif
