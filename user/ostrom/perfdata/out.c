/* SPDX-License-Identifier: MIT
 *
 * Problem: printf and stdio locks take more time than the analysis whose rows they print.
 *
 * Idea: one 64 KiB buffer, digits written two at a time backwards into a small one, write(2) when it is full.
 *
 * Contract: out.h. After a failed write nothing more is written. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "out.h"

void out_init(struct out *o, int fd)
{
	o->fd = fd;
	o->error = 0;
	o->len = 0;
}

int out_flush(struct out *o)
{
	u32 at = 0;

	while (at < o->len && !o->error) {
		ssize_t n = write(o->fd, o->buf + at, o->len - at);

		if (n < 0 && errno != EINTR)
			o->error = -errno;
		else if (n > 0)
			at += n;
	}
	o->len = 0;
	return o->error;
}

void out_bytes_slow(struct out *o, const char *p, size_t n)
{
	while (n > sizeof(o->buf) - o->len) {
		size_t part = sizeof(o->buf) - o->len;

		memcpy(o->buf + o->len, p, part);
		o->len += part;
		p += part;
		n -= part;
		out_flush(o);
	}
	memcpy(o->buf + o->len, p, n);
	o->len += n;
}

void out_str(struct out *o, const char *s)
{
	out_bytes(o, s, strlen(s));
}

void out_fill(struct out *o, char c, int n)
{
	while (n > 0) {
		u32 part = min((u32)n, (u32)(sizeof(o->buf) - o->len));

		memset(o->buf + o->len, c, part);
		o->len += part;
		n -= part;
		if (o->len == sizeof(o->buf))
			out_flush(o);
	}
}

void out_pad(struct out *o, const char *s, int len, int width)
{
	out_bytes(o, s, len);
	out_fill(o, ' ', width - len);
}

static const char pairs[201] =
	"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051"
	"52535455565758596061626364656667686970717273747576777879808182838485868788899091929394959697989"
	"9";

/* The digits of v before end; where they begin. */
static inline char *digits(char *end, u64 v)
{
	while (v >= 100) {
		end -= 2;
		memcpy(end, pairs + v % 100 * 2, 2);
		v /= 100;
	}
	if (v < 10) {
		*--end = '0' + v;
		return end;
	}
	end -= 2;
	memcpy(end, pairs + v * 2, 2);
	return end;
}

/* Widths are those of columns: below 64. */
static inline void number(struct out *o, u64 v, int width, char fill)
{
	char b[64], *p;

	memset(b, fill, sizeof(b));
	p = digits(b + sizeof(b), v);
	p = min(p, b + sizeof(b) - min(width, 63));
	out_bytes(o, p, b + sizeof(b) - p);
}

void out_u64(struct out *o, u64 v, int width)
{
	number(o, v, width, ' ');
}

void out_u64_zero(struct out *o, u64 v, int width)
{
	number(o, v, width, '0');
}

void out_ms(struct out *o, u64 ns, int width)
{
	u64 us = ns / 1000, ms = us / 1000;
	u32 rest = us % 1000;
	char b[64], *p;

	memset(b, ' ', sizeof(b));
	b[59] = '.';
	b[60] = '0' + rest / 100;
	memcpy(b + 61, pairs + rest % 100 * 2, 2);
	p = digits(b + 59, ms);
	p = min(p, b + 59 - min(width, 48));
	out_bytes(o, p, b + 64 - p);
}

void out_time_us(struct out *o, u64 ns, int width)
{
	u64 sec = ns / NSEC_PER_SEC;
	u32 us = ns % NSEC_PER_SEC / NSEC_PER_USEC;
	char b[64], *p;

	memset(b, ' ', sizeof(b));
	b[57] = '.';
	memcpy(b + 58, pairs + us / 10000 * 2, 2);
	memcpy(b + 60, pairs + us / 100 % 100 * 2, 2);
	memcpy(b + 62, pairs + us % 100 * 2, 2);
	p = digits(b + 57, sec);
	p = min(p, b + 64 - min(width, 48));
	out_bytes(o, p, b + 64 - p);
}

void out_printf(struct out *o, const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n > 0)
		out_bytes(o, line, min((size_t)n, sizeof(line) - 1));
}
