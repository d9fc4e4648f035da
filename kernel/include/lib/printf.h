/* SPDX-License-Identifier: MIT
 *
 * Formatting into bounded buffers. str_format is snprintf with C's conversions (no floating point); it always
 * terminates and returns the length it wanted. A strbuf appends and remembers overflow instead of failing at
 * each step: check `truncated` once at the end.
 */
#ifndef LIB_PRINTF_H
#define LIB_PRINTF_H

#include <lib/types.h>

int str_vformat(char *buf, size_t size, const char *fmt, va_list ap) __printf(3, 0);
int str_format(char *buf, size_t size, const char *fmt, ...) __printf(3, 4);

struct strbuf {
	char *buf;
	size_t size; /* bytes at buf, the terminator included */
	size_t len;  /* bytes written, the terminator excluded */
	bool truncated;
};

void strbuf_init(struct strbuf *sb, char *buf, size_t size);
void strbuf_add(struct strbuf *sb, const char *fmt, ...) __printf(2, 3);
void strbuf_put(struct strbuf *sb, const char *bytes, size_t n);
/* A set of small numbers, as Linux's files write it: "0-3,5"; and in hexadecimal, as wide as `bits` numbers. */
void strbuf_add_set(struct strbuf *sb, u64 set);
void strbuf_add_mask(struct strbuf *sb, u64 set, unsigned bits);

#endif
