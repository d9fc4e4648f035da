/* SPDX-License-Identifier: MIT
 *
 * Problem: a tracepoint sample is raw bytes; which field lies where differs from kernel to kernel,
 * and the file carries the kernel's own description of it.
 *
 * Idea: of the tracing-data section keep the list of tracepoints, and of each format text the
 * fields: name, offset, size, sign, and whether it is text in place or by __data_loc (offset in the
 * low, length in the high half of a u32). Nothing is interpreted beyond that; print formats are
 * left to libtraceevent in `script`.
 *
 * Section: magic (3 bytes and "tracing"), version text, endian and long-size bytes, u32 page size,
 * "header_page" and "header_event" with u64-sized texts, u32 count of u64-sized ftrace formats, u32
 * count of systems {name, u32 count of u64-sized formats}, u32-sized kallsyms, u32-sized printk
 * table, since 0.6 u64-sized comm table. Source: trace-cmd's trace.dat(5) version 6, which perf
 * shares.
 *
 * Contract: perfdata.h. Texts point into the caller's buffer. Locks: none.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include "perfdata.h"

struct cursor {
	const char *base, *p, *end;
};

static bool take(struct cursor *c, void *out, size_t n)
{
	if ((size_t)(c->end - c->p) < n)
		return false;
	if (out)
		memcpy(out, c->p, n);
	c->p += n;
	return true;
}

static bool take_text(struct cursor *c, const char **text, size_t *bytes, bool wide)
{
	u64 n = 0;

	if (!take(c, &n, wide ? 8 : 4) || n > (u64)(c->end - c->p))
		return false;
	*text = c->p;
	*bytes = n;
	c->p += n;
	return true;
}

static const char *take_string(struct cursor *c)
{
	const char *s = c->p;
	const char *z = memchr(s, 0, c->end - c->p);

	if (!z)
		return NULL;
	c->p = z + 1;
	return s;
}

static const char *find(const char *p, const char *end, const char *what)
{
	return memmem(p, end - p, what, strlen(what));
}

static u32 number_after(const char *p, const char *end, const char *key)
{
	const char *q = find(p, end, key);
	u64 n = 0;

	if (!q)
		return 0;
	for (q += strlen(key); q < end && isdigit((unsigned char)*q) && n < 1u << 24; q++)
		n = n * 10 + *q - '0';
	return n;
}

static void copy_token(char *dst, size_t size, const char *p, const char *end)
{
	size_t n = min((size_t)(end - p), size - 1);

	memcpy(dst, p, n);
	dst[n] = 0;
}

/* "field:TYPE NAME[N];\toffset:..": the name is the last identifier before ';' or '['. */
static bool parse_field(struct pd_field *f, const char *p, const char *end)
{
	const char *semi = memchr(p, ';', end - p);
	const char *last, *first;

	if (!semi)
		return false;
	last = memchr(p, '[', semi - p);
	last = last ? last : semi;
	if (last < semi && find(last, semi, "] "))
		last = semi; /* "__data_loc char[] comm" has its bracket in the type */
	while (last > p && isspace((unsigned char)last[-1]))
		last--;
	for (first = last; first > p && (isalnum((unsigned char)first[-1]) || first[-1] == '_'); first--)
		;
	copy_token(f->name, sizeof(f->name), first, last);
	f->offset = number_after(semi, end, "offset:");
	f->size = number_after(semi, end, "size:");
	f->is_signed = number_after(semi, end, "signed:");
	f->is_dyn = find(p, semi, "__data_loc") != NULL;
	f->is_string = !f->is_dyn && find(p, semi, "char ") && memchr(p, '[', semi - p);
	return *f->name;
}

int pd_format_parse(struct pd_tracepoint *tp, const char *text, size_t bytes)
{
	const char *end = text + bytes, *p = text, *nl, *name;

	tp->text = text;
	tp->text_bytes = bytes;
	name = find(text, end, "name: ");
	if (!name || !find(text, end, "ID: "))
		return -EINVAL;
	name += 6;
	nl = memchr(name, '\n', end - name);
	copy_token(tp->name, sizeof(tp->name), name, nl ? nl : end);
	tp->id = number_after(text, end, "ID: ");
	for (; p < end; p = nl + 1) {
		const char *f;
		struct pd_field *grown;

		nl = memchr(p, '\n', end - p);
		nl = nl ? nl : end;
		f = find(p, nl, "\tfield:");
		if (!f)
			continue;
		grown = realloc(tp->fields, (tp->nr_fields + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		tp->fields = grown;
		memset(&grown[tp->nr_fields], 0, sizeof(*grown));
		if (parse_field(&grown[tp->nr_fields], f + 7, nl))
			tp->nr_fields++;
	}
	return 0;
}

static int add_format(struct pd_tracing *tr, const char *system, const char *text, size_t bytes)
{
	struct pd_tracepoint *grown = realloc(tr->tps, (tr->nr + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	tr->tps = grown;
	memset(&grown[tr->nr], 0, sizeof(*grown));
	if (pd_format_parse(&grown[tr->nr], text, bytes)) {
		free(grown[tr->nr].fields);
		return 0; /* an unreadable format costs that tracepoint only */
	}
	copy_token(grown[tr->nr].system, sizeof(grown[tr->nr].system), system, system + strlen(system));
	tr->nr++;
	return 0;
}

static int parse_systems(struct pd_tracing *tr, struct cursor *c)
{
	u32 systems, count;
	const char *name, *text;
	size_t bytes;

	if (!take(c, &systems, 4))
		return -EINVAL;
	while (systems--) {
		name = take_string(c);
		if (!name || !take(c, &count, 4))
			return -EINVAL;
		while (count--)
			if (!take_text(c, &text, &bytes, true))
				return -EINVAL;
			else if (add_format(tr, name, text, bytes))
				return -ENOMEM;
	}
	return 0;
}

static int parse_all(struct pd_tracing *tr, struct cursor *c)
{
	static const char magic[10] = { 23, 8, 68, 't', 'r', 'a', 'c', 'i', 'n', 'g' };
	const char *version, *name, *text;
	size_t bytes;
	u32 count;
	int err;

	if (c->end - c->p < 10 || memcmp(c->p, magic, 10))
		return -EINVAL;
	c->p += 10;
	version = take_string(c);
	if (!version || !take(c, NULL, 1 + 1 + 4))
		return -EINVAL;
	name = take_string(c);
	if (!name || !take_text(c, &tr->header_page, &tr->header_page_bytes, true))
		return -EINVAL;
	name = take_string(c);
	if (!name || !take_text(c, &text, &bytes, true) || !take(c, &count, 4))
		return -EINVAL;
	while (count--)
		if (!take_text(c, &text, &bytes, true))
			return -EINVAL;
	err = parse_systems(tr, c);
	if (err)
		return err;
	if (!take_text(c, &text, &bytes, false) || !take_text(c, &tr->printk, &tr->printk_bytes, false))
		return -EINVAL;
	if (strcmp(version, "0.6") >= 0 && !take_text(c, &tr->cmdlines, &tr->cmdlines_bytes, true))
		return -EINVAL;
	return 0;
}

int pd_tracing_parse(struct pd_tracing *tr, const char *buf, size_t bytes, size_t *bad)
{
	struct cursor c = { buf, buf, buf + bytes };
	int err = parse_all(tr, &c);

	*bad = c.p - c.base;
	return err;
}

void pd_tracing_free(struct pd_tracing *tr)
{
	for (u32 i = 0; i < tr->nr; i++)
		free(tr->tps[i].fields);
	free(tr->tps);
	memset(tr, 0, sizeof(*tr));
}

const struct pd_field *pd_tracepoint_field(const struct pd_tracepoint *tp, const char *name)
{
	for (u32 i = 0; tp && i < tp->nr_fields; i++)
		if (!strcmp(tp->fields[i].name, name))
			return &tp->fields[i];
	return NULL;
}

s64 pd_field_any_int(const struct pd_field *f, const u8 *raw, u32 raw_bytes)
{
	u64 v = 0;

	if (!f || f->size > 8 || f->offset > raw_bytes || f->size > raw_bytes - f->offset || !f->size)
		return 0;
	memcpy(&v, raw + f->offset, f->size);
	if (f->is_signed && f->size < 8) {
		u64 sign = 1ULL << (f->size * 8 - 1);

		v = (v ^ sign) - sign;
	}
	return v;
}

void pd_field_str(const struct pd_field *f, const u8 *raw, u32 raw_bytes, char *out, size_t size)
{
	u32 offset, n;

	*out = 0;
	if (!f || f->offset > raw_bytes || f->size > raw_bytes - f->offset)
		return;
	offset = f->offset;
	n = f->size;
	if (f->is_dyn) {
		if (f->size != 4)
			return;
		n = pd_u32(raw + f->offset);
		offset = n & 0xffff;
		n >>= 16;
		if (offset > raw_bytes || n > raw_bytes - offset)
			return;
	}
	if (!n)
		return;
	n = strnlen((const char *)raw + offset, min((size_t)n, size - 1));
	memcpy(out, raw + offset, n);
	out[n] = 0;
}
