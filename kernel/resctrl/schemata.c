/* SPDX-License-Identifier: MIT
 *
 * Problem: one write of several lines says what a group may use of every cache. Any part of it may
 * be wrong, and a half-applied partition is worse than none.
 *
 * Idea: parse into a copy of the group's values, check each value against the resource and against
 * what other groups hold, ask the back end, and only then give the group the copy.
 *
 *      write  := line* ; each ends in a newline, at least one
 *      line   := ROW ':' domain (';' domain)* ; white space around ROW is ignored
 *      domain := ID '=' VALUE ; ID decimal, VALUE hex for caches and decimal for MB
 *
 * A line or a domain left out keeps its values; a domain named twice in one write is refused.
 *
 * Contract: resctrl.h; EINVAL for whatever does not parse or overlaps what is exclusive, ENOSPC for
 * want of a class. The widths of the table's columns do not depend on the mount options, as clients
 * expect.
 *
 * Locks: the caller's.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

static unsigned lowest_bit(u32 v)
{
	return __builtin_ctz(v);
}

static bool has_holes(u32 mask)
{
	u32 run;

	if (!mask)
		return false;
	run = mask >> lowest_bit(mask);
	return run & (run + 1);
}

static int check_mask(struct resctrl *r, const struct resctrl_resource *res, struct slice s, u64 v)
{
	if ((!v && !res->empty) || v >> res->width)
		return resctrl_refuse(r, EINVAL, "mask %.*s is outside 1..%lx", (int)s.n, s.p, BIT(res->width) - 1);
	if (!res->sparse && has_holes(v))
		return resctrl_refuse(r, EINVAL, "mask %.*s has a hole; this cache wants neighbouring bits", (int)s.n,
				      s.p);
	if (__builtin_popcountll(v) < res->min_bits && !(res->empty && !v))
		return resctrl_refuse(r, EINVAL, "mask %.*s has fewer than %u bits", (int)s.n, s.p, res->min_bits);
	return 0;
}

static int parse_mask(struct resctrl *r, struct group *g, unsigned row, unsigned d, struct slice s, u32 *out)
{
	const struct resctrl_resource *res = row_resource(r, row);
	u64 v;
	int err;

	if (resctrl_slice_number(s, 16, &v))
		return resctrl_refuse(r, EINVAL, "'%.*s' is not a hexadecimal mask", (int)s.n, s.p);
	err = check_mask(r, res, s, v);
	if (err)
		return err;
	if (v & resctrl_others_hold(r, g, row, d, true))
		return resctrl_refuse(r, EINVAL, "mask %.*s overlaps an exclusive group", (int)s.n, s.p);
	if (g->mode == MODE_EXCLUSIVE && v & (resctrl_others_hold(r, g, row, d, false) | res->shared_bits))
		return resctrl_refuse(r, EINVAL, "mask %.*s of an exclusive group overlaps another user", (int)s.n,
				      s.p);
	*out = v;
	return 0;
}

static int parse_bandwidth(struct resctrl *r, unsigned row, struct slice s, u32 *out)
{
	const struct resctrl_resource *res = row_resource(r, row);
	u64 v;

	if (resctrl_slice_number(s, 10, &v))
		return resctrl_refuse(r, EINVAL, "'%.*s' is not a decimal bandwidth", (int)s.n, s.p);
	if (v < res->bw_min || v > res->bw_max)
		return resctrl_refuse(r, EINVAL, "bandwidth %.*s is outside %u..%u", (int)s.n, s.p, res->bw_min,
				      res->bw_max);
	*out = min((u64)res->bw_max, DIV_ROUND_UP(v, res->bw_gran) * res->bw_gran);
	return 0;
}

static int find_domain(const struct resctrl_resource *res, u64 id)
{
	for (unsigned d = 0; d < res->nr_domains; d++)
		if (res->domain[d].id == id && res->domain[d].cpus)
			return d;
	return -1;
}

struct staged {
	value_set value;
	u64 named[RESCTRL_MAX_ROWS]; /* domains, by index */
};

/* A value for one of the domains that hold the same is one for all; two values for them are a mistake. */
static int spread(struct resctrl *r, unsigned row, unsigned d, struct staged *st)
{
	const struct resctrl_resource *res = row_resource(r, row);
	u32 v = st->value[row][d];

	for (unsigned o = 0; o < res->nr_domains; o++) {
		if (st->named[row] & BIT(o) && st->value[row][o] != v)
			return resctrl_refuse(r, EINVAL,
					      "domains %u and %u of %s cannot differ here: a page has one colour",
					      res->domain[o].id, res->domain[d].id, r->row[row].name);
		st->value[row][o] = v;
	}
	return 0;
}

static int parse_domain(struct resctrl *r, struct group *g, unsigned row, struct slice text, struct staged *st)
{
	struct slice id;
	u64 number;
	int d, err;

	if (!resctrl_slice_cut(&text, '=', &id) || resctrl_slice_number(id, 10, &number))
		return resctrl_refuse(r, EINVAL, "domain '%.*s' is not NUMBER=VALUE", (int)id.n, id.p);
	d = find_domain(row_resource(r, row), number);
	if (d < 0)
		return resctrl_refuse(r, EINVAL, "%s has no domain %llu", r->row[row].name, (unsigned long long)number);
	if (st->named[row] & BIT(d))
		return resctrl_refuse(r, EINVAL, "domain %llu of %s is named twice", (unsigned long long)number,
				      r->row[row].name);
	st->named[row] |= BIT(d);
	text = resctrl_slice_trim(text);
	if (r->row[row].id == RESCTRL_MB)
		err = parse_bandwidth(r, row, text, &st->value[row][d]);
	else
		err = parse_mask(r, g, row, d, text, &st->value[row][d]);
	if (!err && row_resource(r, row)->tied)
		err = spread(r, row, (unsigned)d, st);
	return err;
}

static int parse_line(struct resctrl *r, struct group *g, struct slice line, struct staged *st)
{
	struct slice name, domain;
	unsigned row;
	int err = 0;

	if (!resctrl_slice_cut(&line, ':', &name))
		return resctrl_refuse(r, EINVAL, "line '%.*s' has no ':'", (int)name.n, name.p);
	name = resctrl_slice_trim(name);
	if (!line.n)
		return resctrl_refuse(r, EINVAL, "'%.*s:' names no domain", (int)name.n, name.p);
	for (row = 0; row < r->nr_rows && !resctrl_slice_is(name, r->row[row].name); row++)
		;
	if (row == r->nr_rows)
		return resctrl_refuse(r, EINVAL, "there is no resource '%.*s'", (int)name.n, name.p);
	while (!err && line.n) {
		resctrl_slice_cut(&line, ';', &domain);
		err = parse_domain(r, g, row, domain, st);
	}
	return err;
}

static int check_backend(struct resctrl *r, const value_set value)
{
	const char *why = "the back end cannot enforce this";
	int err;

	if (!r->be->ops->check)
		return 0;
	err = r->be->ops->check(r->be, value, &why);
	return err ? resctrl_refuse(r, -err, "%s", why) : 0;
}

int resctrl_schemata_store(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	struct staged st = { 0 };
	struct slice rest, line;
	bool more;
	int err;

	if (!len || text[len - 1] != '\n')
		return -EINVAL;
	r->status[0] = '\0';
	memcpy(st.value, r->cls[g->cls].value, sizeof(st.value));
	rest = resctrl_slice_of(text, len - 1);
	do {
		more = resctrl_slice_cut(&rest, '\n', &line);
		err = parse_line(r, g, line, &st);
		if (err)
			return err;
	} while (more);
	err = check_backend(r, (const u32(*)[RESCTRL_MAX_DOMAINS])st.value);
	if (err)
		return err;
	err = resctrl_group_set_values(r, g, (const u32(*)[RESCTRL_MAX_DOMAINS])st.value);
	if (!err && r->be->ops->note) {
		const char *note = r->be->ops->note(r->be, g->cls);

		str_copy(r->status, note ? note : "", sizeof(r->status));
	}
	return err;
}

/* ---- show ------------------------------------------------------------------------------------------------ */

static int name_width(struct resctrl *r)
{
	int width = 0;

	for (unsigned row = 0; row < r->nr_rows; row++) {
		struct resctrl_resource *res = row_resource(r, row);
		int n = strlen(r->row[row].name);

		width = max(width, n + (res->cdp_capable && !res->cdp_on ? 4 : 0));
	}
	return width;
}

static int data_width(struct resctrl *r)
{
	int width = 0;

	for (unsigned row = 0; row < r->nr_rows; row++)
		width = max(width, r->row[row].id == RESCTRL_MB ? (row_resource(r, row)->bw_max > 999 ? 4 : 3)
								: (int)DIV_ROUND_UP(row_resource(r, row)->width, 4));
	return width;
}

int resctrl_schemata_show(struct resctrl *r, struct group *g, struct strbuf *out)
{
	int names = name_width(r), data = data_width(r);

	for (unsigned row = 0; row < r->nr_rows; row++) {
		struct resctrl_resource *res = row_resource(r, row);
		const char *sep = "";

		strbuf_add(out, "%*s:", names, r->row[row].name);
		for (int d = resctrl_domain_after(res, -1); d >= 0; d = resctrl_domain_after(res, d)) {
			u32 v = r->cls[g->cls].value[row][d];

			strbuf_add(out, r->row[row].id == RESCTRL_MB ? "%s%u=%*u" : "%s%u=%0*x", sep, res->domain[d].id,
				   data, v);
			sep = ";";
		}
		strbuf_put(out, "\n", 1);
	}
	return 0;
}

int resctrl_size_show(struct resctrl *r, struct group *g, struct strbuf *out)
{
	int names = name_width(r);

	for (unsigned row = 0; row < r->nr_rows; row++) {
		struct resctrl_resource *res = row_resource(r, row);
		const char *sep = "";

		strbuf_add(out, "%*s:", names, r->row[row].name);
		for (int d = resctrl_domain_after(res, -1); d >= 0; d = resctrl_domain_after(res, d)) {
			u32 v = r->cls[g->cls].value[row][d];
			u64 bytes = v;

			if (r->row[row].id != RESCTRL_MB)
				bytes = res->domain[d].cache_bytes / res->width * __builtin_popcount(v);
			strbuf_add(out, "%s%u=%llu", sep, res->domain[d].id, (unsigned long long)bytes);
			sep = ";";
		}
		strbuf_put(out, "\n", 1);
	}
	return 0;
}

/* ---- mode ------------------------------------------------------------------------------------------------ */

static int check_exclusive(struct resctrl *r, struct group *g)
{
	bool cache = false;

	for (unsigned row = 0; row < r->nr_rows; row++) {
		struct resctrl_resource *res = row_resource(r, row);

		if (r->row[row].id == RESCTRL_MB)
			continue;
		cache = true;
		for (unsigned d = 0; d < res->nr_domains; d++)
			if (r->cls[g->cls].value[row][d] &
			    (resctrl_others_hold(r, g, row, d, false) | res->shared_bits))
				return resctrl_refuse(r, EINVAL, "%s domain %u overlaps another user", r->row[row].name,
						      res->domain[d].id);
	}
	return cache ? 0 : resctrl_refuse(r, EINVAL, "no cache can be allocated here, so none exclusively");
}

int resctrl_mode_store(struct resctrl *r, struct group *g, const char *text, size_t len)
{
	enum group_mode want;
	struct slice word;
	int err;

	if (!len || text[len - 1] != '\n')
		return -EINVAL;
	r->status[0] = '\0';
	word = resctrl_slice_of(text, len - 1);
	if (resctrl_slice_is(word, "shareable"))
		want = MODE_SHAREABLE;
	else if (resctrl_slice_is(word, "exclusive"))
		want = MODE_EXCLUSIVE;
	else if (resctrl_slice_is(word, "pseudo-locksetup"))
		return resctrl_refuse(r, EINVAL, "pseudo-locking is not supported");
	else
		return resctrl_refuse(r, EINVAL, "there is no mode '%.*s'", (int)word.n, word.p);
	if (want == g->mode)
		return 0;
	err = want == MODE_EXCLUSIVE ? check_exclusive(r, g) : 0;
	if (!err)
		g->mode = want;
	return err;
}

/* ---- what a new group gets ------------------------------------------------------------------------------- */

/* The lowest run of neighbouring bits. */
static u32 first_run(u32 mask)
{
	u32 low = mask & -mask;

	return mask & ~(mask + low);
}

int resctrl_initial_values(struct resctrl *r, const struct group *g, value_set out)
{
	memset(out, 0, sizeof(value_set));
	for (unsigned row = 0; row < r->nr_rows; row++) {
		struct resctrl_resource *res = row_resource(r, row);

		for (unsigned d = 0; d < RESCTRL_MAX_DOMAINS; d++) {
			u32 v = resctrl_row_full(r, row);

			if (r->row[row].id != RESCTRL_MB && d < res->nr_domains) {
				v &= ~resctrl_others_hold(r, g, row, d, true);
				v = res->sparse ? v : first_run(v);
				if (__builtin_popcount(v) < max(res->min_bits, (u8)1))
					return resctrl_refuse(r, ENOSPC,
							      "%s domain %u is wholly taken by exclusive groups",
							      r->row[row].name, res->domain[d].id);
			}
			out[row][d] = v;
		}
	}
	return 0;
}
