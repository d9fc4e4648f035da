/* SPDX-License-Identifier: MIT
 *
 * C's string functions (the kernel has its own in kernel/lib/string.c; the host has libc's), and the bounded
 * ones that we prefer: str_copy always terminates and returns the length it wanted (like strlcpy).
 */
#ifndef LIB_STRING_H
#define LIB_STRING_H

#include <lib/types.h>

#ifdef __OSTROM_KERNEL__
void *memcpy(void *restrict d, const void *restrict s, size_t n);
void *memmove(void *d, const void *s, size_t n);
void *memset(void *d, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
char *strrchr(const char *s, int c);
char *strstr(const char *hay, const char *needle);
/* The compiler knows these: short constant sizes become plain moves. */
#define memcpy(d, s, n)  __builtin_memcpy(d, s, n)
#define memmove(d, s, n) __builtin_memmove(d, s, n)
#define memset(d, c, n)  __builtin_memset(d, c, n)
#define memcmp(a, b, n)  __builtin_memcmp(a, b, n)
#define strlen(s)        __builtin_strlen(s)
#else
#include <string.h>
#endif

size_t str_copy(char *dst, const char *src, size_t size);
/* The part up to the next separator, which becomes its end; *at moves behind it, or is NULL after the last part. NULL:
 * there are no more. */
char *str_next(char **at, char separator);
bool str_starts(const char *s, const char *prefix);
char *str_trim(char *s); /* without blanks at both ends; changes s */

/* Parses an integer the way control files do: optional sign, 0x and 0 prefixes when base is 0, an optional
 * final newline, nothing else. 0, or -EINVAL (not a number), -ERANGE (too big). */
int __must_check str_to_u64(const char *s, unsigned base, u64 *out);
int __must_check str_to_s64(const char *s, unsigned base, s64 *out);

#endif
