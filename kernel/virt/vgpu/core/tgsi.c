/* SPDX-License-Identifier: MIT
 *
 * Problem: the renderer reads a shader's text freely (any blanks, several statements a line, small letters), and a
 * client may use all of that to show one program to us and another one to the renderer.
 *
 * Idea: only the form that gallium's printer has is read, to the last character: one statement a line, nothing behind
 * it, no blank where none belongs. Everything else is an error, which the caller takes for "no bound".
 *
 *	[N:] OP operand, operand ... [:LABEL]        DCL FILE[a..b], WORD ...        PROPERTY NAME VALUE
 *	IMM[n] TYPE {a, b, c, d}                     COMP (or another stage)
 *
 * Contract: tgsi.h. Locks: none, pure functions.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "tgsi.h"

struct reader {
	const char *p, *end; /* of the line */
};

static char peek(const struct reader *r)
{
	return r->p < r->end ? *r->p : 0;
}

static bool eat(struct reader *r, char c)
{
	if (peek(r) != c || r->p == r->end)
		return false;
	r->p++;
	return true;
}

static void blanks(struct reader *r)
{
	while (peek(r) == ' ' || peek(r) == '\t')
		r->p++;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

static bool number(struct reader *r, u32 *out)
{
	u64 v = 0;

	if (!is_digit(peek(r)))
		return false;
	for (; is_digit(peek(r)); r->p++)
		if ((v = v * 10 + (u64)(*r->p - '0')) > ~0u)
			return false;
	*out = (u32)v;
	return true;
}

/* Capital letters, digits, underscores, at least one. */
static bool word(struct reader *r, char *out, size_t size)
{
	size_t n = 0;

	for (; is_word(peek(r)); r->p++) {
		if (n + 1 >= size)
			return false;
		out[n++] = *r->p;
	}
	out[n] = 0;
	return n;
}

/* ---- operands ---- */

/* "3", "ADDR[0].x", "TEMP[2].y+3", and the bracket behind it. */
static bool index_of(struct reader *r, struct tgsi_operand *o)
{
	char name[16];
	u32 n;

	if (number(r, &o->index))
		return eat(r, ']');
	o->indirect = true;
	if (!word(r, name, sizeof(name)) || !eat(r, '[') || !number(r, &n) || !eat(r, ']') || !eat(r, '.'))
		return false;
	if (peek(r) < 'w' || peek(r) > 'z')
		return false;
	r->p++;
	if ((eat(r, '+') || eat(r, '-')) && !number(r, &n))
		return false;
	return eat(r, ']');
}

static bool components(struct reader *r, struct tgsi_operand *o)
{
	static const char letters[] = "xyzw";

	for (; peek(r) >= 'w' && peek(r) <= 'z'; r->p++) {
		if (o->nr_components == 4)
			return false;
		o->component[o->nr_components++] = (u8)(strchr(letters, *r->p) - letters);
	}
	return o->nr_components;
}

/* "TEMP[1].xy", "-|IMM[0].xxxx|", "CONST[1][0].x", "IMAGE(1)[ADDR[0].x+2]", "2D". */
static bool operand(struct reader *r, struct tgsi_operand *o)
{
	char name[32];
	bool negative = eat(r, '-'), absolute = eat(r, '|'), twice;
	u32 n;

	memset(o, 0, sizeof(*o));
	if (!word(r, name, sizeof(name)))
		return false;
	if (eat(r, '(') && (!number(r, &n) || !eat(r, ')')))
		return false;
	if (!eat(r, '['))
		return !negative && !absolute;
	if (!index_of(r, o))
		return false;
	twice = eat(r, '[');
	if (twice && !index_of(r, o))
		return false;
	if (eat(r, '(') && (!number(r, &n) || !eat(r, ')')))
		return false;
	if (eat(r, '.') && !components(r, o))
		return false;
	if (!o->nr_components)
		for (; o->nr_components < 4; o->nr_components++)
			o->component[o->nr_components] = o->nr_components;
	if (absolute && !eat(r, '|'))
		return false;
	o->file = !strcmp(name, "TEMP") ? TGSI_TEMP : !strcmp(name, "IMM") ? TGSI_IMM : TGSI_OTHER;
	if (!strcmp(name, "CONST") && !twice)
		o->file = TGSI_CONST;
	o->plain = !negative && !absolute && !o->indirect && !twice;
	return true;
}

/* ---- statements ---- */

static bool instruction(struct reader *r, struct tgsi_line *l)
{
	char *suffix;
	u32 label;

	l->kind = TGSI_INSTRUCTION;
	if (!word(r, l->op, sizeof(l->op)))
		return false;
	suffix = strstr(l->op, "_SAT");
	if (!suffix)
		suffix = strstr(l->op, "_PRECISE");
	if (suffix) {
		l->modified = true;
		*suffix = 0;
	}
	blanks(r);
	while (r->p < r->end && peek(r) != ':') {
		if (l->nr == TGSI_OPERANDS || !operand(r, &l->operand[l->nr++]))
			return false;
		if (!eat(r, ',')) {
			blanks(r);
			break;
		}
		blanks(r);
		if (r->p == r->end)
			return false;
	}
	return !eat(r, ':') || number(r, &label);
}

/* Words and numbers; a blank only behind a comma. */
static bool declaration(struct reader *r, struct tgsi_line *l)
{
	l->kind = TGSI_DECLARATION;
	for (; r->p < r->end; r->p++) {
		if (*r->p == ' ' && r->p[-1] != ',')
			return false;
		if (!is_word(*r->p) && !strchr(" ,[].()wxyz", *r->p))
			return false;
	}
	return true;
}

static bool property(struct reader *r, struct tgsi_line *l)
{
	char name[48];

	l->kind = TGSI_DECLARATION;
	return word(r, name, sizeof(name)) && eat(r, ' ') && word(r, name, sizeof(name));
}

static bool immediate_value(struct reader *r, u32 *out, bool is_integer)
{
	bool negative = eat(r, '-');

	if (is_integer) {
		if (!number(r, out))
			return false;
		*out = negative ? -*out : *out;
		return true;
	}
	if (!is_digit(peek(r)))
		return false;
	while (is_digit(peek(r)) || (peek(r) && strchr(".e+-", peek(r))) || (peek(r) >= 'a' && peek(r) <= 'f'))
		r->p++;
	return true;
}

static bool immediate(struct reader *r, struct tgsi_line *l)
{
	char type[16];
	u32 n;

	l->kind = TGSI_IMMEDIATE;
	if (!eat(r, '[') || !number(r, &n) || !eat(r, ']') || !eat(r, ' ') || !word(r, type, sizeof(type)))
		return false;
	l->operand[0].index = n;
	l->known = !strcmp(type, "UINT32") || !strcmp(type, "INT32");
	blanks(r);
	if (!eat(r, '{'))
		return false;
	for (u32 i = 0; i < 4; i++) {
		if (i && !eat(r, ','))
			break;
		blanks(r);
		if (!immediate_value(r, &l->value[i], l->known))
			return false;
	}
	return eat(r, '}');
}

static bool statement(struct reader *r, struct tgsi_line *l)
{
	const char *begin = r->p;
	char name[24];
	u32 n;

	if (number(r, &n)) {
		if (!eat(r, ':'))
			return false;
		blanks(r);
		begin = r->p;
	}
	if (r->p == r->end)
		return true;
	if (!word(r, name, sizeof(name)))
		return false;
	if (!strcmp(name, "IMM"))
		return immediate(r, l);
	if (!strcmp(name, "DCL") || !strcmp(name, "PROPERTY"))
		return eat(r, ' ') && (name[0] == 'D' ? declaration(r, l) : property(r, l));
	r->p = begin;
	return instruction(r, l);
}

int tgsi_read_line(const char **at, const char *end, struct tgsi_line *out)
{
	const char *newline = memchr(*at, '\n', (size_t)(end - *at));
	struct reader r = { *at, newline ? newline : end };

	memset(out, 0, sizeof(*out));
	*at = newline ? newline + 1 : end;
	blanks(&r);
	if (r.p == r.end)
		return 0;
	if (!statement(&r, out))
		return -EINVAL;
	blanks(&r);
	return r.p == r.end ? 0 : -EINVAL;
}
