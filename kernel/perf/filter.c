/* SPDX-License-Identifier: MIT
 *
 * Problem: a tracepoint fires a million times a second and somebody wants the one in a thousand that matters; text from
 * a program decides, on paths with interrupts off.
 *
 * Idea: parse once into tests in postfix order (a test, NOT, AND, OR), evaluated over a bit stack of 64: no recursion
 * and no allocation when it runs. Parsing is recursive descent with a bounded depth.
 *
 * Contract: perf/filter.h. A string field that lies about its place reads as empty.
 *
 * Locks: none; a filter is constant.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <perf/filter.h>

#define STEPS_MOST 64
#define TEXT_MOST  64
#define DEPTH_MOST 16

enum step_kind { STEP_NUMBER, STEP_STRING, STEP_NOT, STEP_AND, STEP_OR };
enum op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_AND, OP_GLOB };

struct step {
	u8 kind, op, size, is_signed, field_kind;
	u16 offset;
	s64 value;
	char text[TEXT_MOST];
};

struct perf_filter {
	unsigned nr;
	struct step steps[];
};

/* ---- matching ------------------------------------------------------------------------------------------ */

static s64 number_at(const char *p, unsigned size, bool is_signed)
{
	u64 v = 0;

	memcpy(&v, p, min(size, 8U));
	if (is_signed && size < 8 && (v >> (8 * size - 1) & 1))
		v |= ~0ULL << (8 * size);
	return (s64)v;
}

static bool compare(const struct step *s, s64 v)
{
	bool less = s->is_signed ? v < s->value : (u64)v < (u64)s->value;

	switch (s->op) {
	case OP_EQ: return v == s->value;
	case OP_NE: return v != s->value;
	case OP_LT: return less;
	case OP_LE: return less || v == s->value;
	case OP_GT: return !less && v != s->value;
	case OP_GE: return !less;
	default: return v & s->value;
	}
}

static bool in_class(const char **pattern, char c)
{
	const char *p = *pattern + 1;
	bool negate = *p == '!' || *p == '^', found = false;

	p += negate;
	do {
		if (p[0] && p[1] == '-' && p[2] && p[2] != ']') {
			found |= c >= p[0] && c <= p[2];
			p += 2;
		} else {
			found |= *p == c;
		}
	} while (*p && *++p && *p != ']');
	*pattern = *p ? p : p - 1;
	return found != negate;
}

/* Both ends anchored; * backtracks to its last place only. */
static bool glob(const char *pattern, const char *s)
{
	const char *star = NULL, *back = NULL;

	while (*s) {
		const char *p = pattern;

		if (*p == '*') {
			star = ++pattern;
			back = s;
		} else if (*p && (*p == '?' || *p == *s || (*p == '[' && in_class(&p, *s)))) {
			pattern = p + 1;
			s++;
		} else if (star) {
			pattern = star;
			s = ++back;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static bool match_string(const struct step *s, const char *record, size_t size)
{
	size_t at = s->offset, room = s->size, n;
	char text[256];

	if (s->field_kind == TRACE_DYNAMIC) {
		u32 where = (u32)number_at(record + s->offset, 4, false);

		at = where & 0xffff;
		room = where >> 16;
	}
	if (at > size || room > size - at)
		room = 0;
	n = min(room, sizeof(text) - 1);
	memcpy(text, record + at, n);
	text[n] = 0;
	if (s->op == OP_GLOB)
		return glob(s->text, text);
	return !strcmp(s->text, text) == (s->op == OP_EQ);
}

bool perf_filter_match(const struct perf_filter *f, const void *record, size_t size)
{
	u64 stack = 0; /* the lowest bit is the top */

	for (unsigned i = 0; i < f->nr; i++) {
		const struct step *s = &f->steps[i];
		bool v;

		switch (s->kind) {
		case STEP_NUMBER:
			v = s->offset + s->size <= size &&
			    compare(s, number_at((const char *)record + s->offset, s->size, s->is_signed));
			stack = stack << 1 | v;
			break;
		case STEP_STRING: stack = stack << 1 | match_string(s, record, size); break;
		case STEP_NOT: stack ^= 1; break;
		case STEP_AND: stack = stack >> 1 & (stack & 1 ? ~0ULL : ~1ULL); break;
		default: stack = stack >> 1 | (stack & 1);
		}
	}
	return stack & 1;
}

/* ---- parsing ------------------------------------------------------------------------------------------- */

struct parser {
	const struct trace_event *event;
	const char *at;
	struct perf_filter *f;
	unsigned depth;
};

static const struct trace_field common_fields[] = {
	{ "", "common_type", 0, 2, 0, TRACE_NUMBER },
	{ "", "common_flags", 2, 1, 0, TRACE_NUMBER },
	{ "", "common_preempt_count", 3, 1, 0, TRACE_NUMBER },
	{ "", "common_pid", 4, 4, 1, TRACE_NUMBER },
};

static void blanks(struct parser *p)
{
	while (*p->at == ' ' || *p->at == '\t' || *p->at == '\n')
		p->at++;
}

static bool word_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static struct step *push(struct parser *p, enum step_kind kind)
{
	struct step *s;

	if (p->f->nr == STEPS_MOST)
		return NULL;
	s = &p->f->steps[p->f->nr++];
	memset(s, 0, sizeof(*s));
	s->kind = (u8)kind;
	return s;
}

static const struct trace_field *find_field(const struct trace_event *e, const char *name, size_t n)
{
	for (unsigned i = 0; i < e->nr_fields; i++)
		if (strlen(e->fields[i].name) == n && !memcmp(e->fields[i].name, name, n))
			return &e->fields[i];
	for (unsigned i = 0; i < ARRAY_SIZE(common_fields); i++)
		if (strlen(common_fields[i].name) == n && !memcmp(common_fields[i].name, name, n))
			return &common_fields[i];
	return NULL;
}

static int parse_op(struct parser *p)
{
	static const char *const texts[] = { "==", "!=", "<=", ">=", "<", ">", "&", "~" };
	static const u8 ops[] = { OP_EQ, OP_NE, OP_LE, OP_GE, OP_LT, OP_GT, OP_AND, OP_GLOB };

	blanks(p);
	for (unsigned i = 0; i < ARRAY_SIZE(ops); i++) {
		size_t n = strlen(texts[i]);

		if (!strncmp(p->at, texts[i], n)) {
			p->at += n;
			return ops[i];
		}
	}
	return fail(EINVAL, "filter: an operator is missing at: %s", p->at);
}

static int parse_number(struct parser *p, struct step *s)
{
	bool negative = *p->at == '-';
	unsigned base = 10, digits = 0;
	u64 v = 0;

	p->at += negative;
	if (p->at[0] == '0' && (p->at[1] == 'x' || p->at[1] == 'X')) {
		base = 16;
		p->at += 2;
	}
	for (;; p->at++, digits++) {
		char c = *p->at;
		unsigned d = c >= '0' && c <= '9'                 ? (unsigned)(c - '0')
			     : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a' + 10)
								  : 99;

		if (d >= base)
			break;
		v = v * base + d;
	}
	if (!digits || word_char(*p->at))
		return fail(EINVAL, "filter: not a number: %s", p->at);
	s->value = (s64)(negative ? 0 - v : v);
	return 0;
}

static int parse_text(struct parser *p, struct step *s)
{
	char quote = *p->at == '"' || *p->at == '\'' ? *p->at++ : 0;
	size_t n = 0;

	for (; *p->at && (quote ? *p->at != quote : word_char(*p->at) || strchr("*?-./:[]", *p->at) != NULL); p->at++) {
		if (n == TEXT_MOST - 1)
			return fail(EINVAL, "filter: a text is longer than %d", TEXT_MOST - 1);
		s->text[n++] = *p->at;
	}
	if (quote && *p->at++ != quote)
		return fail(EINVAL, "filter: a quote is not closed");
	return n || quote ? 0 : fail(EINVAL, "filter: a text is missing");
}

static int parse_test(struct parser *p)
{
	const char *name = p->at;
	const struct trace_field *field;
	struct step *s;
	bool is_text;
	int op;

	while (word_char(*p->at))
		p->at++;
	field = find_field(p->event, name, (size_t)(p->at - name));
	if (!field)
		return fail(EINVAL, "filter: no such field: %s", name);
	op = parse_op(p);
	if (op < 0)
		return op;
	is_text = field->kind != TRACE_NUMBER;
	if (is_text ? op != OP_EQ && op != OP_NE && op != OP_GLOB : op == OP_GLOB || field->size > 8)
		return fail(EINVAL, "filter: %s has no such comparison", field->name);
	s = push(p, is_text ? STEP_STRING : STEP_NUMBER);
	if (!s)
		return fail(EINVAL, "filter: more than %d parts", STEPS_MOST);
	s->op = (u8)op;
	s->size = (u8)field->size;
	s->is_signed = field->is_signed;
	s->field_kind = field->kind;
	s->offset = field->offset;
	blanks(p);
	return is_text ? parse_text(p, s) : parse_number(p, s);
}

static int parse_or(struct parser *p);

static int parse_unary(struct parser *p)
{
	int err;

	if (++p->depth > DEPTH_MOST)
		return fail(EINVAL, "filter: nested deeper than %d", DEPTH_MOST);
	blanks(p);
	if (*p->at == '!') {
		p->at++;
		err = parse_unary(p);
		if (!err && !push(p, STEP_NOT))
			err = -EINVAL;
	} else if (*p->at == '(') {
		p->at++;
		err = parse_or(p);
		blanks(p);
		if (!err && *p->at++ != ')')
			err = fail(EINVAL, "filter: a parenthesis is not closed");
	} else {
		err = parse_test(p);
	}
	p->depth--;
	return err;
}

static int parse_chain(struct parser *p, const char *joint, enum step_kind kind, int (*part)(struct parser *))
{
	int err = part(p);

	for (blanks(p); !err && !strncmp(p->at, joint, 2); blanks(p)) {
		p->at += 2;
		err = part(p);
		if (!err && !push(p, kind))
			err = -EINVAL;
	}
	return err;
}

static int parse_and(struct parser *p)
{
	return parse_chain(p, "&&", STEP_AND, parse_unary);
}

static int parse_or(struct parser *p)
{
	return parse_chain(p, "||", STEP_OR, parse_and);
}

int perf_filter_parse(const struct trace_event *e, const char *text, struct perf_filter **out)
{
	struct parser p = { .event = e, .at = text };
	int err;

	*out = NULL;
	blanks(&p);
	if (!*p.at || (p.at[0] == '0' && (!p.at[1] || p.at[1] == '\n')))
		return 0;
	p.f = kzalloc(sizeof(*p.f) + STEPS_MOST * sizeof(struct step), ALLOC_CHARGED);
	if (!p.f)
		return -ENOMEM;
	err = parse_or(&p);
	blanks(&p);
	if (!err && *p.at)
		err = fail(EINVAL, "filter: what is this: %s", p.at);
	if (err)
		kfree(p.f);
	else
		*out = p.f;
	return err;
}

void perf_filter_free(struct perf_filter *f)
{
	kfree(f);
}
