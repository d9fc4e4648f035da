/* SPDX-License-Identifier: MIT
 *
 * Problem: control files and command lines carry numbers and words as text, and C's own functions either
 * overflow silently (atoi), keep global state (strtol's errno) or forget the terminator (strncpy).
 *
 * Idea: small functions with one way to fail. A number is accepted only if the whole text is a number,
 * one final newline apart, since that is what `echo 5 > file` writes.
 *
 * Contract: lib/string.h. Pure; builds in the kernel and on the host.
 *
 * Locks: none.
 */
#include <lib/err.h>
#include <lib/string.h>

size_t str_copy(char *dst, const char *src, size_t size)
{
	size_t len = strlen(src);

	if (size) {
		size_t n = min(len, size - 1);

		memcpy(dst, src, n);
		dst[n] = '\0';
	}
	return len;
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

char *str_next(char **at, char separator)
{
	char *part = *at, *end = part ? strchr(part, separator) : NULL;

	*at = end;
	if (end)
		*(*at)++ = '\0';
	return part;
}

bool str_starts(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

char *str_trim(char *s)
{
	char *end = s + strlen(s);

	while (end > s && is_blank(end[-1]))
		*--end = '\0';
	while (is_blank(*s))
		s++;
	return s;
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	return 99;
}

/* Skips a prefix that names the base: 0x always allowed for base 16, any when base is 0. */
static const char *skip_prefix(const char *s, unsigned *base)
{
	bool hex = s[0] == '0' && (s[1] | 32) == 'x' && digit_value(s[2]) < 16;

	if (hex && (*base == 0 || *base == 16)) {
		*base = 16;
		return s + 2;
	}
	if (*base == 0)
		*base = s[0] == '0' ? 8 : 10;
	return s;
}

int str_to_u64(const char *s, unsigned base, u64 *out)
{
	u64 v = 0;
	int d;

	if (*s == '+')
		s++;
	s = skip_prefix(s, &base);
	if (digit_value(*s) >= (int)base)
		return -EINVAL;
	for (; (d = digit_value(*s)) < (int)base; s++)
		if (__builtin_mul_overflow(v, (u64)base, &v) || __builtin_add_overflow(v, (u64)d, &v))
			return -ERANGE;
	if (*s == '\n')
		s++;
	if (*s)
		return -EINVAL;
	*out = v;
	return 0;
}

int str_to_s64(const char *s, unsigned base, s64 *out)
{
	bool negative = *s == '-';
	u64 v;
	int err = str_to_u64(negative ? s + 1 : s, base, &v);

	if (negative && s[1] == '+')
		return -EINVAL;
	if (err)
		return err;
	if (v > (u64)INT64_MAX + negative)
		return -ERANGE;
	*out = negative ? (s64)(0 - v) : (s64)v;
	return 0;
}
