/* SPDX-License-Identifier: MIT
 *
 * Problem: `trace` and `trace_pipe` are text, and how a record reads is said by its event's print line, which is C.
 *
 * Idea: read that line each time (nobody reads text by the million): a recursive-descent evaluator over one record,
 * whose values are numbers or strings. Clients evaluate the same line in the same way, so there is one place that says
 * how a record looks.
 *
 * Contract: print.h. Records are the kernel's own, but lengths and offsets in them are checked. Recursion is as deep as
 * the line's parentheses.
 *
 * Locks: none.
 */
#include "print.h"
#include <lib/string.h>

struct value {
	bool is_text;
	u64 number;
	const char *text; /* with its length in number */
};

struct reader {
	const char *at;
	const struct trace_event *event;
	const u8 *record;
	size_t size;
	struct strbuf scratch; /* texts of __print_flags */
	bool bad;
};

static struct value conditional(struct reader *r);

static struct value number(u64 n)
{
	return (struct value){ .number = n };
}

static struct value text(const char *s, size_t n)
{
	return (struct value){ .is_text = true, .text = s, .number = n };
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

static void skip(struct reader *r)
{
	while (*r->at == ' ')
		r->at++;
}

static bool take(struct reader *r, const char *what)
{
	size_t n = strlen(what);

	skip(r);
	if (strncmp(r->at, what, n))
		return false;
	r->at += n;
	return true;
}

static void need(struct reader *r, const char *what)
{
	if (!take(r, what))
		r->bad = true;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static size_t word(struct reader *r, const char **start)
{
	skip(r);
	*start = r->at;
	while (is_word(*r->at))
		r->at++;
	return (size_t)(r->at - *start);
}

static bool is(const char *start, size_t n, const char *what)
{
	return strlen(what) == n && !memcmp(start, what, n);
}

static struct value literal(struct reader *r) /* behind the opening quote */
{
	const char *start = r->at;

	while (*r->at && *r->at != '"')
		r->at += *r->at == '\\' && r->at[1] ? 2 : 1;
	if (!*r->at) {
		r->bad = true;
		return text(start, 0);
	}
	return text(start, (size_t)(r->at++ - start));
}

static struct value digits(struct reader *r)
{
	unsigned base = 10;
	u64 n = 0;

	if (r->at[0] == '0' && (r->at[1] | 0x20) == 'x') {
		base = 16;
		r->at += 2;
	}
	for (;; r->at++) {
		unsigned d = *r->at <= '9' ? (unsigned)(*r->at - '0') : (unsigned)((*r->at | 0x20) - 'a') + 10;

		if (!is_word(*r->at) || d >= base)
			break;
		n = n * base + d;
	}
	while (*r->at == 'u' || *r->at == 'U' || *r->at == 'l' || *r->at == 'L')
		r->at++;
	return number(n);
}

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static struct value bounded_text(const struct reader *r, size_t at, size_t n)
{
	if (at > r->size || n > r->size - at)
		return text("", 0);
	return text((const char *)r->record + at, strnlen((const char *)r->record + at, n));
}

static u64 load(const struct reader *r, size_t at, unsigned bytes, bool is_signed)
{
	u64 v = 0;

	if (at + bytes > r->size)
		return 0;
	memcpy(&v, r->record + at, bytes);
	if (!is_signed || bytes == 8)
		return v;
	return (u64)((s64)(v << (64 - bytes * 8)) >> (64 - bytes * 8));
}

static const struct trace_field *find_field(struct reader *r)
{
	const char *name;
	size_t n = word(r, &name);

	for (unsigned i = 0; i < r->event->nr_fields; i++)
		if (is(name, n, r->event->fields[i].name))
			return &r->event->fields[i];
	r->bad = true;
	return NULL;
}

/* The length of one element: numbers in brackets say how many a field has. */
static unsigned element(const struct trace_field *f)
{
	const char *bracket = strchr(f->declaration, '[');
	unsigned n = 0;

	for (bracket = bracket ? bracket + 1 : ""; *bracket >= '0' && *bracket <= '9'; bracket++)
		n = n * 10 + (unsigned)(*bracket - '0');
	return n ? f->size / n : f->size;
}

static struct value field(struct reader *r)
{
	const struct trace_field *f = find_field(r);
	u64 index = 0;

	if (!f)
		return number(0);
	if (f->kind == TRACE_CHARS)
		return bounded_text(r, f->offset, f->size);
	if (f->kind == TRACE_DYNAMIC) {
		u32 loc = (u32)load(r, f->offset, 4, false);

		return bounded_text(r, loc & 0xffff, loc >> 16);
	}
	if (take(r, "[")) {
		index = conditional(r).number;
		need(r, "]");
	}
	if (index >= f->size / element(f))
		return number(0);
	return number(load(r, f->offset + index * element(f), element(f), f->is_signed));
}

/* ---- functions --------------------------------------------------------------------------------------------------- */

/* { value, "text" }, ... up to the closing parenthesis; as flags each bit that is set, else the first that is equal. */
static struct value choose(struct reader *r, u64 v, bool flags, struct value between)
{
	size_t start = r->scratch.len;
	bool found = false;

	while (!r->bad && take(r, ",")) {
		struct value key, name;

		need(r, "{");
		key = conditional(r);
		need(r, ",");
		name = conditional(r);
		need(r, "}");
		if (flags ? !(v & key.number) : found || v != key.number)
			continue;
		if (found)
			strbuf_put(&r->scratch, between.text, between.number);
		strbuf_put(&r->scratch, name.text, name.is_text ? name.number : 0);
		found = true;
		if (flags)
			v &= ~key.number;
	}
	need(r, ")");
	if (v && (flags || !found)) {
		if (found)
			strbuf_put(&r->scratch, between.text, between.number);
		strbuf_add(&r->scratch, "0x%llx", (unsigned long long)v);
	}
	return text(r->scratch.buf + start, r->scratch.len - start);
}

static struct value call(struct reader *r, const char *name, size_t n)
{
	struct value v, between = { 0 };
	bool flags = is(name, n, "__print_flags");

	if (is(name, n, "__get_str")) {
		v = field(r);
		need(r, ")");
		return v;
	}
	if (!flags && !is(name, n, "__print_symbolic")) {
		r->bad = true;
		return number(0);
	}
	v = conditional(r);
	if (flags) {
		need(r, ",");
		between = conditional(r);
	}
	return choose(r, v.number, flags, between);
}

/* ---- expressions ------------------------------------------------------------------------------------------------- */

/* Behind an opening parenthesis: a type and its closing one. Width in bytes, negative if signed; 0: it is none. */
static int cast(struct reader *r)
{
	static const struct {
		const char *name;
		int bytes;
	} types[] = { { "unsigned", 4 }, { "int", -4 },   { "long", -8 }, { "short", -2 }, { "char", -1 },
		      { "u64", 8 },      { "s64", -8 },   { "u32", 4 },   { "s32", -4 },   { "u16", 2 },
		      { "u8", 1 },       { "pid_t", -4 }, { "void", 8 },  { "const", 8 } };
	const char *start = r->at, *name;
	bool is_unsigned = false;
	int bytes = 0;

	for (;;) {
		size_t n = word(r, &name);
		bool known = false;

		for (unsigned i = 0; n && i < ARRAY_SIZE(types); i++) {
			if (!is(name, n, types[i].name))
				continue;
			is_unsigned |= i == 0;
			bytes = is(name, n, "int") && bytes ? bytes : types[i].bytes;
			known = true;
		}
		if (!known)
			break;
	}
	while (take(r, "*"))
		bytes = 8;
	if (bytes && take(r, ")"))
		return is_unsigned && bytes < 0 ? -bytes : bytes;
	r->at = start;
	return 0;
}

static struct value unary(struct reader *r);

static struct value primary(struct reader *r)
{
	const char *name;
	struct value v;
	size_t n;

	skip(r);
	if (take(r, "\""))
		return literal(r);
	if (*r->at >= '0' && *r->at <= '9')
		return digits(r);
	if (take(r, "(")) {
		int bytes = cast(r);

		if (bytes) {
			unsigned drop = 64 - 8 * (unsigned)(bytes < 0 ? -bytes : bytes);

			v = unary(r);
			if (!v.is_text)
				v.number =
					bytes < 0 ? (u64)((s64)(v.number << drop) >> drop) : v.number << drop >> drop;
			return v;
		}
		v = conditional(r);
		need(r, ")");
		return v;
	}
	n = word(r, &name);
	if (is(name, n, "REC") && take(r, "->"))
		return field(r);
	if (n && take(r, "("))
		return call(r, name, n);
	r->bad = true;
	return number(0);
}

static struct value unary(struct reader *r)
{
	if (r->bad)
		return number(0);
	if (take(r, "!"))
		return number(!unary(r).number);
	if (take(r, "~"))
		return number(~unary(r).number);
	if (take(r, "-"))
		return number(-unary(r).number);
	return primary(r);
}

/* Longer operators before those that begin like them. */
static const struct {
	char name[3];
	u8 level;
} operators[] = { { "||", 1 }, { "&&", 2 }, { "==", 6 }, { "!=", 6 }, { "<<", 8 }, { ">>", 8 },
		  { "<=", 7 }, { ">=", 7 }, { "|", 3 },  { "^", 4 },  { "&", 5 },  { "<", 7 },
		  { ">", 7 },  { "+", 9 },  { "-", 9 },  { "*", 10 }, { "/", 10 }, { "%", 10 } };

static u64 apply(const char *op, u64 a, u64 b)
{
	switch (op[0] | op[1] << 8) {
	case '|' | '|' << 8: return a || b;
	case '&' | '&' << 8: return a && b;
	case '=' | '=' << 8: return a == b;
	case '!' | '=' << 8: return a != b;
	case '<' | '<' << 8: return b < 64 ? a << b : 0;
	case '>' | '>' << 8: return b < 64 ? a >> b : 0;
	case '<' | '=' << 8: return (s64)a <= (s64)b;
	case '>' | '=' << 8: return (s64)a >= (s64)b;
	case '|': return a | b;
	case '^': return a ^ b;
	case '&': return a & b;
	case '<': return (s64)a < (s64)b;
	case '>': return (s64)a > (s64)b;
	case '+': return a + b;
	case '-': return a - b;
	case '*': return a * b;
	case '/': return b ? a / b : 0;
	default: return b ? a % b : 0;
	}
}

/* The operator that stands here, its length by its name; ARRAY_SIZE: none. */
static unsigned operator_at(struct reader *r)
{
	unsigned i = 0;

	skip(r);
	while (i < ARRAY_SIZE(operators) && strncmp(r->at, operators[i].name, strlen(operators[i].name)))
		i++;
	return i;
}

static struct value binary(struct reader *r, unsigned level)
{
	struct value v = unary(r);

	while (!r->bad) {
		unsigned i = operator_at(r);

		if (i == ARRAY_SIZE(operators) || operators[i].level < level)
			break;
		r->at += strlen(operators[i].name);
		v = number(apply(operators[i].name, v.number, binary(r, operators[i].level + 1u).number));
	}
	return v;
}

static struct value conditional(struct reader *r)
{
	struct value v = binary(r, 1), yes, no;

	if (r->bad || !take(r, "?"))
		return v;
	yes = conditional(r);
	need(r, ":");
	no = conditional(r);
	return v.number ? yes : no;
}

/* ---- the line ---------------------------------------------------------------------------------------------------- */

static void put_text(struct strbuf *out, const char *s, size_t n) /* a literal, with its escapes */
{
	for (size_t i = 0; i < n; i++) {
		char c = s[i];

		if (c == '\\' && i + 1 < n) {
			i++;
			c = s[i] == 'n' ? '\n' : s[i] == 't' ? '\t' : s[i];
		}
		strbuf_put(out, &c, 1);
	}
}

/* One conversion, from the percent sign on; the bytes it takes. */
static size_t convert(struct reader *r, const char *f, size_t n, struct strbuf *out)
{
	char spec[24] = "%";
	size_t i = 1, k = 1;
	struct value v;

	while (i < n && k < sizeof(spec) - 4 && (strchr("-+ #0.", f[i]) || (f[i] >= '0' && f[i] <= '9')))
		spec[k++] = f[i++];
	while (i < n && (f[i] == 'l' || f[i] == 'L' || f[i] == 'h' || f[i] == 'z'))
		i++;
	if (i >= n)
		return n;
	if (f[i] == '%') {
		strbuf_put(out, "%", 1);
		return i + 1;
	}
	need(r, ",");
	v = conditional(r);
	if (f[i] == 's') {
		char copy[256];
		size_t len = v.is_text ? min((size_t)v.number, sizeof(copy) - 1) : 0;

		memcpy(copy, v.text ? v.text : "", len);
		copy[len] = 0;
		spec[k++] = 's';
		spec[k] = 0;
		strbuf_add(out, spec, copy);
	} else if (f[i] == 'p') {
		strbuf_add(out, "0x%llx", (unsigned long long)v.number);
	} else if (f[i] == 'c') {
		strbuf_add(out, "%c", (int)v.number);
	} else {
		spec[k++] = 'l';
		spec[k++] = 'l';
		spec[k++] = f[i] == 'i' ? 'd' : f[i];
		spec[k] = 0;
		strbuf_add(out, spec, v.number);
	}
	if (f[i] == 'p' && i + 1 < n && strchr("sSFfBK", f[i + 1])) /* %ps: there is no symbol for it here */
		i++;
	return i + 1;
}

void trace_print(const struct trace_event *e, const void *record, size_t size, struct strbuf *out)
{
	char scratch[512];
	struct reader r = { .at = e->print, .event = e, .record = record, .size = size };
	struct value format;

	strbuf_init(&r.scratch, scratch, sizeof(scratch));
	need(&r, "\"");
	format = literal(&r);
	for (size_t i = 0; i < format.number && !r.bad;) {
		const char *percent = memchr(format.text + i, '%', format.number - i);
		size_t plain = percent ? (size_t)(percent - format.text) - i : format.number - i;

		put_text(out, format.text + i, plain);
		i += plain;
		if (percent)
			i += convert(&r, percent, format.number - i, out);
	}
}
