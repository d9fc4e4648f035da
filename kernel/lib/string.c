/* SPDX-License-Identifier: MIT
 *
 * Problem: the compiler and every part need C's memory and string functions, and the kernel has no
 * libc.
 *
 * Idea: copies and clears move words by `rep movsq` and `rep stosq` (design: no SIMD in kernel
 * copies) and finish bytewise; the rest is written plainly, since no hot path compares long
 * strings.
 *
 * Contract: C11 7.24 for each name. memmove copes with overlap, memcpy does not. Kernel only; the
 * host has libc's.
 *
 * Locks: none.
 */
#include <lib/string.h>

#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen

void *memcpy(void *restrict d, const void *restrict s, size_t n)
{
	void *out = d;
	size_t words = n / 8;

	n &= 7;
	__asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
	return out;
}

void *memmove(void *d, const void *s, size_t n)
{
	u8 *to = d;
	const u8 *from = s;

	if ((ulong)d - (ulong)s >= n)
		return memcpy(d, s, n);
	while (n--)
		to[n] = from[n];
	return d;
}

void *memset(void *d, int c, size_t n)
{
	void *out = d;
	ulong v = 0x0101010101010101UL * (u8)c;
	size_t words = n / 8;

	n &= 7;
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(v) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(v) : "memory");
	return out;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *p = a, *q = b;

	for (; n >= 8 && *(const u64 *)p == *(const u64 *)q; n -= 8, p += 8, q += 8)
		;
	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

void *memchr(const void *s, int c, size_t n)
{
	for (const u8 *p = s; n; n--, p++)
		if (*p == (u8)c)
			return (void *)p;
	return NULL;
}

size_t strlen(const char *s)
{
	const char *p = s;

	while (*p)
		p++;
	return p - s;
}

size_t strnlen(const char *s, size_t max)
{
	size_t n = 0;

	while (n < max && s[n])
		n++;
	return n;
}

int strcmp(const char *a, const char *b)
{
	for (; *a && *a == *b; a++, b++)
		;
	return (u8)*a - (u8)*b;
}

int strncmp(const char *a, const char *b, size_t n)
{
	for (; n && *a && *a == *b; n--, a++, b++)
		;
	return n ? (u8)*a - (u8)*b : 0;
}

char *strchr(const char *s, int c)
{
	for (; *s != (char)c; s++)
		if (!*s)
			return NULL;
	return (char *)s;
}

char *strrchr(const char *s, int c)
{
	const char *found = NULL;

	do {
		if (*s == (char)c)
			found = s;
	} while (*s++);
	return (char *)found;
}

char *strstr(const char *hay, const char *needle)
{
	size_t n = strlen(needle);

	for (; strncmp(hay, needle, n); hay++)
		if (!*hay)
			return NULL;
	return (char *)hay;
}

/* What the compiler calls for __builtin_popcountll without the POPCNT instruction. */
int __popcountdi2(long v);
int __popcountdi2(long v)
{
	u64 x = (u64)v;

	x -= x >> 1 & 0x5555555555555555UL;
	x = (x & 0x3333333333333333UL) + (x >> 2 & 0x3333333333333333UL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fUL;
	return (int)(x * 0x0101010101010101UL >> 56);
}
