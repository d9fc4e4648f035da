/* SPDX-License-Identifier: MIT
 *
 * Problem: programs compare strings, read numbers, print, and read memory that may not be there.
 *
 * Idea: a format is taken apart into conversions, each of which is printed by itself from a word of the arguments; the
 * verifier checks a constant format with the same code. Addresses in arguments are read through bpf_env.peek, which
 * survives any address: what is not there reads as nothing.
 *
 * Contract: bpf-helpers(7); formats as in Linux 6.1: flags, width, d i u x X with l or ll, c, s, p, px, pks, pus, pi4,
 * pI4, pi6, pI6. A plain pointer is printed as it is (Linux hides it), a symbol (pB, ps, pS) as a number.
 *
 * Locks: none.
 */
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "helper_priv.h"

#define ERR(e)     ((u64)(s64)(e))
#define FN(n)      static u64 n(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
#define ARGS_MOST  12
#define TEXT_MOST  512      /* of a string argument */
#define WIDTH_MOST 8388607U /* of one conversion, as in Linux */
#define USER_LIMIT (1ULL << 47)

static void *ptr(u64 r)
{
	return (void *)r;
}

FN(string_compare)
{
	return ERR(strncmp(ptr(r1), ptr(r3), r2));
}

/* Parses what strtol(3) would of a buffer without terminator. Returns the bytes used. */
static s64 parse_number(const char *s, u64 len, u64 base, bool allow_sign, bool *negative, u64 *out)
{
	u64 i = 0, v = 0, digits = 0;

	if (base & ~0x1fULL || (base != 0 && base != 8 && base != 10 && base != 16))
		return -EINVAL;
	while (i < len && (s[i] == ' ' || (s[i] >= '\t' && s[i] <= '\r')))
		i++;
	*negative = allow_sign && i < len && s[i] == '-';
	i += *negative;
	if ((base == 0 || base == 16) && i + 1 < len && s[i] == '0' && (s[i + 1] | 32) == 'x') {
		base = 16;
		i += 2;
	} else if (base == 0) {
		base = i < len && s[i] == '0' ? 8 : 10;
	}
	for (; i < len; i++, digits++) {
		u8 c = s[i] | 32;
		u64 d = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;

		if (d >= base)
			break;
		if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
			return -ERANGE;
	}
	*out = v;
	return digits ? (s64)i : -EINVAL;
}

FN(string_to_long)
{
	bool negative;
	u64 v;
	s64 n = parse_number(ptr(r1), r2, r3, true, &negative, &v);

	if (n < 0)
		return ERR(n);
	if (v > (u64)INT64_MAX + negative)
		return ERR(-ERANGE);
	*(s64 *)r4 = negative ? (s64)-v : (s64)v;
	return (u64)n;
}

FN(string_to_ulong)
{
	bool negative;
	u64 v;
	s64 n = parse_number(ptr(r1), r2, r3, true, &negative, &v);

	if (n < 0)
		return ERR(n);
	if (negative)
		return ERR(-EINVAL);
	*(u64 *)r4 = v;
	return (u64)n;
}

/* ---- memory that may not be there ---------------------------------------------------------------------------------
 */

/* As strncpy, always terminated; the length with its end, or as peek. */
static s64 peek_string(char *to, u64 from, u64 size, bool user)
{
	for (u64 i = 0; i < size; i++) {
		int err = bpf_env.peek(to + i, from + i, 1, user);

		if (err)
			return err;
		if (!to[i])
			return (s64)i + 1;
	}
	if (size)
		to[size - 1] = 0;
	return (s64)size;
}

static u64 peek(u64 to, u64 bytes, u64 from, bool user)
{
	int err = bpf_env.peek(ptr(to), from, (u32)bytes, user);

	if (err)
		memset(ptr(to), 0, (u32)bytes);
	return ERR(err);
}

static u64 peek_text(u64 to, u64 bytes, u64 from, bool user)
{
	s64 n = peek_string(ptr(to), from, (u32)bytes, user);

	if (n < 0)
		memset(ptr(to), 0, (u32)bytes);
	return ERR(n);
}

FN(read_user)
{
	return peek(r1, r2, r3, true);
}

FN(read_kernel)
{
	return peek(r1, r2, r3, false);
}

FN(read_any)
{
	return peek(r1, r2, r3, r3 < USER_LIMIT);
}

FN(read_user_text)
{
	return peek_text(r1, r2, r3, true);
}

FN(read_kernel_text)
{
	return peek_text(r1, r2, r3, false);
}

FN(read_any_text)
{
	return peek_text(r1, r2, r3, r3 < USER_LIMIT);
}

/* ---- printing ------------------------------------------------------------------------------------------------------
 */

struct text {
	char *at;
	size_t size, wanted; /* wanted: also what there was no room for */
};

static void __printf(2, 3) add(struct text *t, const char *fmt, ...)
{
	size_t has = min(t->wanted, t->size);
	va_list ap;

	va_start(ap, fmt);
	t->wanted += str_vformat(t->at + has, t->size - has, fmt, ap);
	va_end(ap);
}

/* %[flags][width]what; kind: d u x X (numbers), c, s, t (a string of the user), p, 4, 6 (addresses of the network). */
struct conversion {
	char flags[24]; /* "%", each flag once, the width; room for the kind and its length */
	char kind;
	bool wide, padded; /* padded: the network address in its long form */
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* What follows %p: how many letters belong to it. */
static int pointer_kind(const char *f, const char *end, struct conversion *c)
{
	char a = f < end ? f[0] : 0, b = f + 1 < end ? f[1] : 0;

	c->kind = 'p';
	if ((a == 'k' || a == 'u') && b == 's') {
		c->kind = a == 'k' ? 's' : 't';
		return 2;
	}
	if (a == 'i' || a == 'I') {
		c->kind = b;
		c->padded = a == 'i';
		return b == '4' || b == '6' ? 2 : -EINVAL;
	}
	if (a && strchr("KxsSB", a))
		return 1;
	return !a || a == ' ' || (a > ' ' && a < 127 && !is_digit(a) && !((a | 32) >= 'a' && (a | 32) <= 'z'))
		       ? 0
		       : -EINVAL;
}

/* However many there are: what is said again changes nothing. Returns what follows. */
static const char *parse_flags(const char *f, const char *end, struct conversion *c)
{
	u32 width = 0;
	int n = 1;

	*c = (struct conversion){ .flags = "%" };
	for (; f < end && *f && strchr("0+- ", *f); f++)
		if (!strchr(c->flags, *f))
			c->flags[n++] = *f;
	for (; f < end && is_digit(*f); f++)
		width = min(width * 10 + (u32)(*f - '0'), WIDTH_MOST);
	if (width)
		str_format(c->flags + n, sizeof(c->flags) - n, "%u", width);
	return f;
}

/* f is behind the %; the number of letters, or -EINVAL. */
static int parse_conversion(const char *f, const char *end, struct conversion *c)
{
	const char *start = f;
	int more;

	f = parse_flags(f, end, c);
	if (f >= end)
		return -EINVAL;
	if (*f == 'p') {
		more = pointer_kind(f + 1, end, c);
		return more < 0 ? more : (int)(f + 1 - start) + more;
	}
	for (more = 0; f < end && *f == 'l' && more < 2; more++, f++)
		c->wide = true;
	if (f >= end || !*f || !strchr(c->wide ? "diuxX" : "diuxXcs", *f))
		return -EINVAL;
	c->kind = *f == 'i' ? 'd' : *f;
	return (int)(f + 1 - start);
}

static void print_number(struct text *out, struct conversion *c, u64 v)
{
	size_t n = strlen(c->flags);

	if (!c->wide)
		v = c->kind == 'd' ? (u64)(s64)(s32)v : (u32)v;
	str_format(c->flags + n, sizeof(c->flags) - n, "ll%c", c->kind);
	add(out, c->flags, (unsigned long long)v);
}

static void print_text(struct text *out, struct conversion *c, const char *text)
{
	size_t n = strlen(c->flags);

	str_format(c->flags + n, sizeof(c->flags) - n, "s");
	add(out, c->flags, text);
}

static void print_address(const struct conversion *c, u64 at, char *text, size_t size)
{
	u8 a[16] = { 0 };
	int n = 0;

	(void)!bpf_env.peek(a, at, c->kind == '4' ? 4 : 16, false);
	if (c->kind == '4') {
		str_format(text, size, c->padded ? "%03u.%03u.%03u.%03u" : "%u.%u.%u.%u", a[0], a[1], a[2], a[3]);
		return;
	}
	for (int i = 0; i < 16; i += 2)
		n += str_format(text + n, size - n, "%s%02x%02x", i && !c->padded ? ":" : "", a[i], a[i + 1]);
}

static void print_one(struct text *out, struct conversion *c, u64 v)
{
	char text[TEXT_MOST] = { 0 };

	switch (c->kind) {
	case 's':
	case 't':
		if (peek_string(text, v, sizeof(text), c->kind == 't') < 0)
			text[0] = 0;
		break;
	case 'c': text[0] = (char)v; break;
	case 'p': str_format(text, sizeof(text), "%016llx", (unsigned long long)v); break;
	case '4':
	case '6': print_address(c, v, text, sizeof(text)); break;
	default: print_number(out, c, v); return;
	}
	print_text(out, c, text);
}

/* out NULL: checks alone. */
static int format_text(struct text *out, const char *f, const char *end, const u64 *args, u32 nargs)
{
	u32 used = 0;

	while (f < end && *f) {
		struct conversion c;
		int n;

		if ((u8)*f >= 128 || ((u8)*f < ' ' && !strchr("\t\n\v\f\r", *f)))
			return -EINVAL;
		if (*f != '%' || (f + 1 < end && f[1] == '%')) {
			if (out)
				add(out, "%c", *f);
			f += *f == '%' ? 2 : 1;
			continue;
		}
		n = parse_conversion(f + 1, end, &c);
		if (n < 0 || used >= nargs)
			return -EINVAL;
		if (out)
			print_one(out, &c, args[used]);
		f += 1 + n;
		used++;
	}
	return 0;
}

int bpf_format_check(const char *format, u32 nargs)
{
	return nargs > ARGS_MOST ? -EINVAL : format_text(NULL, format, format + strlen(format), NULL, nargs);
}

static u64 trace(const char *f, u64 bytes, const u64 *args, u32 nargs)
{
	char line[TEXT_MOST * 2];
	struct text t = { line, sizeof(line), 0 };

	if (!bytes || f[bytes - 1])
		return ERR(-EINVAL);
	line[0] = '\0';
	if (format_text(&t, f, f + bytes, args, nargs))
		return ERR(-EINVAL);
	bpf_env.trace(line);
	return t.wanted;
}

FN(trace_printk)
{
	return trace(ptr(r1), (u32)r2, (u64[]){ r3, r4, r5 }, 3);
}

/* Arguments as an array of words. */
static int count_args(u64 at, u64 bytes)
{
	return bytes & 7 || bytes > ARGS_MOST * 8 || (bytes && !at) ? -EINVAL : (int)(bytes / 8);
}

FN(trace_vprintk)
{
	int n = count_args(r3, (u32)r4);

	return n < 0 ? ERR(n) : trace(ptr(r1), (u32)r2, ptr(r3), (u32)n);
}

/* The length with its end that the text wanted. */
FN(print)
{
	const char *f = ptr(r3);
	char line[TEXT_MOST * 2];
	struct text t = { line, sizeof(line), 0 };
	int n = count_args(r4, (u32)r5);

	if (n < 0)
		return ERR(n);
	line[0] = '\0';
	if (format_text(&t, f, f + strlen(f), ptr(r4), (u32)n))
		return ERR(-EINVAL);
	if (r2)
		str_copy(ptr(r1), line, (u32)r2);
	return t.wanted + 1;
}

void bpf_helpers_install_text(void)
{
	static const struct {
		u32 id;
		bpf_helper_fn fn;
	} code[] = {
		{ BPF_FUNC_strncmp, string_compare },
		{ BPF_FUNC_strtol, string_to_long },
		{ BPF_FUNC_strtoul, string_to_ulong },
		{ BPF_FUNC_probe_read, read_any },
		{ BPF_FUNC_probe_read_user, read_user },
		{ BPF_FUNC_probe_read_kernel, read_kernel },
		{ BPF_FUNC_probe_read_str, read_any_text },
		{ BPF_FUNC_probe_read_user_str, read_user_text },
		{ BPF_FUNC_probe_read_kernel_str, read_kernel_text },
		{ BPF_FUNC_trace_printk, trace_printk },
		{ BPF_FUNC_trace_vprintk, trace_vprintk },
		{ BPF_FUNC_snprintf, print },
	};

	for (u32 i = 0; i < ARRAY_SIZE(code); i++)
		bpf_helper_set(code[i].id, code[i].fn);
}
