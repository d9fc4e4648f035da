/* SPDX-License-Identifier: MIT
 *
 * Problem: logs, /proc files and messages need formatted text in bounded buffers, from any context.
 *
 * Idea: one pass over the format. A conversion becomes a `struct spec`; text goes through `emit`,
 * which counts what it could not store, so that the caller learns the length it would have needed.
 *
 * Contract: lib/printf.h. Conversions d i u x X o c s p %, flags - + space 0 #, width and precision
 * (also *), lengths hh h l ll z t j. No floating point; an unknown conversion is copied as it
 * stands.
 *
 * Locks: none.
 */
#include <lib/printf.h>
#include <lib/string.h>

struct out {
	char *buf;
	size_t size, len;
};

struct spec {
	bool left, plus, space, zero, alt, upper;
	int width, precision; /* precision -1: none */
	unsigned base;
	int length; /* bytes of the integer */
};

static void emit(struct out *o, char c)
{
	if (o->len + 1 < o->size)
		o->buf[o->len] = c;
	o->len++;
}

/* What there is no room for takes no time: the width may be a stranger's. */
static void emit_run(struct out *o, char c, int n)
{
	size_t room = o->len + 1 < o->size ? o->size - o->len - 1 : 0;

	if (n <= 0)
		return;
	if (room)
		memset(o->buf + o->len, c, min(room, (size_t)n));
	o->len += n;
}

static void emit_text(struct out *o, const struct spec *sp, const char *s)
{
	int n = strnlen(s, sp->precision >= 0 ? (size_t)sp->precision : ~0UL >> 1);

	if (!sp->left)
		emit_run(o, ' ', sp->width - n);
	for (int i = 0; i < n; i++)
		emit(o, s[i]);
	if (sp->left)
		emit_run(o, ' ', sp->width - n);
}

static void emit_number(struct out *o, const struct spec *sp, u64 v, bool negative)
{
	const char *digits = sp->upper ? "0123456789ABCDEF" : "0123456789abcdef";
	char text[24];
	char prefix[3];
	int n = 0, np = 0, zeros;
	bool nonzero = v != 0;

	for (; v; v /= sp->base)
		text[n++] = digits[v % sp->base];
	if (n == 0 && sp->precision != 0)
		text[n++] = '0';
	if (negative)
		prefix[np++] = '-';
	else if (sp->plus || sp->space)
		prefix[np++] = sp->plus ? '+' : ' ';
	if (sp->alt && sp->base == 16 && nonzero) {
		prefix[np++] = '0';
		prefix[np++] = sp->upper ? 'X' : 'x';
	}
	zeros = sp->precision - n;
	if (sp->precision < 0 && sp->zero && !sp->left)
		zeros = sp->width - n - np;
	if (sp->alt && sp->base == 8 && zeros < 1 && (n == 0 || text[n - 1] != '0'))
		zeros = 1;
	zeros = max(zeros, 0);
	if (!sp->left)
		emit_run(o, ' ', sp->width - n - np - zeros);
	for (int i = 0; i < np; i++)
		emit(o, prefix[i]);
	emit_run(o, '0', zeros);
	for (int i = n; i-- > 0;)
		emit(o, text[i]);
	if (sp->left)
		emit_run(o, ' ', sp->width - n - np - zeros);
}

static const char *parse_flags(const char *f, struct spec *sp)
{
	for (;; f++) {
		switch (*f) {
		case '-': sp->left = true; break;
		case '+': sp->plus = true; break;
		case ' ': sp->space = true; break;
		case '0': sp->zero = true; break;
		case '#': sp->alt = true; break;
		default: return f;
		}
	}
}

static const char *parse_int(const char *f, int *out)
{
	*out = 0;
	for (; *f >= '0' && *f <= '9'; f++)
		*out = *out * 10 + (*f - '0');
	return f;
}

static const char *parse_length(const char *f, struct spec *sp)
{
	sp->length = sizeof(int);
	switch (*f) {
	case 'h': sp->length = f[1] == 'h' ? 1 : 2; return f + (f[1] == 'h' ? 2 : 1);
	case 'l': sp->length = 8; return f + (f[1] == 'l' ? 2 : 1);
	case 'z':
	case 't':
	case 'j': sp->length = 8; return f + 1;
	default: return f;
	}
}

/* The argument comes as 64 bits in any case; the length says how many of them count. */
static void emit_signed(struct out *o, struct spec *sp, s64 v)
{
	if (sp->length == 1)
		v = (s8)v;
	else if (sp->length == 2)
		v = (s16)v;
	emit_number(o, sp, v < 0 ? 0 - (u64)v : (u64)v, v < 0);
}

static void emit_unsigned(struct out *o, struct spec *sp, u64 v)
{
	if (sp->length < 8)
		v &= (1ULL << (sp->length * 8)) - 1;
	sp->plus = sp->space = false;
	emit_number(o, sp, v, false);
}

static void emit_pointer(struct out *o, struct spec *sp, void *p)
{
	sp->alt = true;
	sp->base = 16;
	sp->plus = sp->space = false;
	if (p)
		emit_number(o, sp, (ulong)p, false);
	else
		emit_text(o, sp, "(nil)");
}

int str_vformat(char *buf, size_t size, const char *f, va_list ap)
{
	struct out o = { buf, size, 0 };

	for (; *f; f++) {
		struct spec sp = { .precision = -1, .base = 10 };
		const char *start = f;
		char one[2] = { 0 };
		const char *s;

		if (*f != '%') {
			emit(&o, *f);
			continue;
		}
		f = parse_flags(f + 1, &sp);
		if (*f == '*') {
			sp.width = va_arg(ap, int);
			f++;
			if (sp.width < 0) {
				sp.left = true;
				sp.width = -sp.width;
			}
		} else {
			f = parse_int(f, &sp.width);
		}
		if (*f == '.') {
			if (f[1] == '*') {
				sp.precision = va_arg(ap, int);
				f += 2;
			} else {
				f = parse_int(f + 1, &sp.precision);
			}
		}
		f = parse_length(f, &sp);
		sp.upper = *f == 'X';
		switch (*f) {
		case 'd':
		case 'i': emit_signed(&o, &sp, sp.length == 8 ? va_arg(ap, s64) : va_arg(ap, int)); break;
		case 'x':
		case 'X':
		case 'o':
		case 'u':
			sp.base = *f == 'u' ? 10 : *f == 'o' ? 8 : 16;
			emit_unsigned(&o, &sp, sp.length == 8 ? va_arg(ap, u64) : va_arg(ap, unsigned));
			break;
		case 'c':
			one[0] = (char)va_arg(ap, int);
			sp.precision = 1;
			if (one[0])
				emit_text(&o, &sp, one);
			else
				emit(&o, 0);
			break;
		case 's':
			s = va_arg(ap, const char *);
			emit_text(&o, &sp, s ? s : "(null)");
			break;
		case 'p': emit_pointer(&o, &sp, va_arg(ap, void *)); break;
		case '%': emit(&o, '%'); break;
		default:
			for (; start < f; start++)
				emit(&o, *start);
			if (!*f)
				f--;
			else
				emit(&o, *f);
		}
	}
	if (size)
		buf[min(o.len, size - 1)] = '\0';
	return (int)o.len;
}

int str_format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = str_vformat(buf, size, fmt, ap);
	va_end(ap);
	return n;
}
