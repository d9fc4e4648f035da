/* SPDX-License-Identifier: MIT
 *
 * Fast text to a file descriptor: reports of millions of rows spend their time in formatting, and
 * printf parses its format anew for each. Errors of write are remembered and told by out_flush.
 * Threading: one thread an out.
 */
#ifndef PERFDATA_OUT_H
#define PERFDATA_OUT_H

#include <lib/types.h>
#include <string.h>

#define OUT_BYTES (1 << 16)
#define OUT_SLACK 256 /* behind OUT_BYTES: numbers and labels are written without a look at the end */

struct out {
	int fd;
	int error; /* -errno of the first failed write */
	u32 len;
	u32 second_len; /* out_time_us: rows of one second begin with the same text */
	u64 second;
	int second_width;
	char second_text[32];
	char buf[OUT_BYTES + OUT_SLACK];
};

void out_init(struct out *o, int fd);
int out_flush(struct out *o); /* 0 or -errno */
void out_bytes_slow(struct out *o, const char *p, size_t n);
void out_str(struct out *o, const char *s);
void out_fill(struct out *o, char c, int n);                    /* nothing if n <= 0 */
void out_pad(struct out *o, const char *s, int len, int width); /* left-justified, like %-*s */
void out_u64(struct out *o, u64 v, int width);                  /* right-justified, like %*llu */
void out_u64_zero(struct out *o, u64 v, int width);             /* like %0*llu */
void out_ms(struct out *o, u64 ns, int width);                  /* like "%*lu.%03lu " of ms and us */
void out_time_us(struct out *o, u64 ns, int width);             /* sec.usec right-justified, width < 40 */
void out_json_string(struct out *o, const char *s);             /* with its quotes */
void out_printf(struct out *o, const char *fmt, ...) __printf(2, 3);

/* Where to write next, with room for OUT_SLACK bytes; out_end says where the text ended. */
static inline char *out_begin(struct out *o)
{
	if (o->len > OUT_BYTES)
		out_flush(o);
	return o->buf + o->len;
}

static inline void out_end(struct out *o, const char *end)
{
	o->len = end - o->buf;
}

static inline void out_bytes(struct out *o, const char *p, size_t n)
{
	if (n > sizeof(o->buf) - o->len) {
		out_bytes_slow(o, p, n);
		return;
	}
	memcpy(o->buf + o->len, p, n);
	o->len += n;
}

static inline void out_char(struct out *o, char c)
{
	char *p = out_begin(o);

	*p = c;
	out_end(o, p + 1);
}

#endif
