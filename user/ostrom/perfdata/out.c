/* SPDX-License-Identifier: MIT
 *
 * Problem: printf and stdio locks take more time than the analysis whose rows they print.
 *
 * Idea: one 64 KiB buffer, digits written backwards into a small one, write(2) when it is full.
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

void out_bytes(struct out *o, const char *p, size_t n)
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

void out_char(struct out *o, char c)
{
	out_bytes(o, &c, 1);
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

static char *digits(char *end, u64 v)
{
	do
		*--end = '0' + v % 10;
	while (v /= 10);
	return end;
}

static void number(struct out *o, u64 v, int width, char fill)
{
	char b[24], *p = digits(b + sizeof(b), v);
	int n = b + sizeof(b) - p;

	out_fill(o, fill, width - n);
	out_bytes(o, p, n);
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
	u64 us = ns / 1000;
	u32 rest = us % 1000;
	char tail[5] = { '.', '0' + rest / 100, '0' + rest / 10 % 10, '0' + rest % 10, ' ' };

	out_u64(o, us / 1000, width);
	out_bytes(o, tail, 5);
}

void out_time_us(struct out *o, u64 ns, int width)
{
	out_u64(o, ns / NSEC_PER_SEC, width - 7);
	out_char(o, '.');
	out_u64_zero(o, ns % NSEC_PER_SEC / NSEC_PER_USEC, 6);
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
