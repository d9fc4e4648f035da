/* SPDX-License-Identifier: MIT
 *
 * Problem: the files of resctrl are written by programs that know Linux's notations exactly: CPU
 * masks in groups of 32 bits, CPU lists with strides, numbers with an optional 0x, and each has its
 * own error numbers.
 *
 * Idea: slices (pointer and length) that are cut and trimmed without changing the text, and one
 * function a notation. Up to 64 CPUs, so a set of CPUs is one word.
 *
 * Contract: resctrl_priv.h. Mask: hex digits, at most 8 between separators (commas or white space),
 * right-most group is CPUs 0-31; EINVAL for other characters, EOVERFLOW for a longer group or a CPU
 * that cannot exist. List: N, A-B, A-B:USED/OF, "all", and N for the last CPU; EINVAL for the form,
 * ERANGE for a CPU too high, EOVERFLOW for a number beyond 32 bits.
 *
 * Locks: none; pure functions.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "resctrl_priv.h"

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_separator(char c)
{
	return is_space(c) || c == ',';
}

struct slice resctrl_slice_of(const char *text, size_t len)
{
	return (struct slice){ text, strnlen(text, len) };
}

bool resctrl_slice_cut(struct slice *s, char at, struct slice *head)
{
	const char *found = s->n ? memchr(s->p, at, s->n) : NULL;

	if (!found) {
		*head = *s;
		*s = (struct slice){ s->p + s->n, 0 };
		return false;
	}
	*head = (struct slice){ s->p, found - s->p };
	*s = (struct slice){ found + 1, s->n - head->n - 1 };
	return true;
}

struct slice resctrl_slice_trim(struct slice s)
{
	while (s.n && is_space(s.p[0]))
		s.p++, s.n--;
	while (s.n && is_space(s.p[s.n - 1]))
		s.n--;
	return s;
}

bool resctrl_slice_is(struct slice s, const char *word)
{
	return s.n == strlen(word) && !memcmp(s.p, word, s.n);
}

/* As a terminated text of at most 31 characters. */
static bool terminate(struct slice s, char digits[32])
{
	if (!s.n || s.n >= 32 || s.p[s.n - 1] == '\n')
		return false;
	memcpy(digits, s.p, s.n);
	digits[s.n] = '\0';
	return true;
}

int resctrl_slice_number(struct slice s, unsigned base, u64 *out)
{
	char digits[32];

	return terminate(s, digits) ? str_to_u64(digits, base, out) : -EINVAL;
}

int resctrl_slice_signed(struct slice s, unsigned base, s64 *out)
{
	char digits[32];

	return terminate(s, digits) ? str_to_s64(digits, base, out) : -EINVAL;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes one group of hex digits off the end of s. */
static int take_group(struct slice *s, u32 *out)
{
	*out = 0;
	for (unsigned shift = 0; s->n && !is_separator(s->p[s->n - 1]); shift += 4) {
		int d = hex_digit(s->p[--s->n]);

		if (d < 0)
			return -EINVAL;
		if (shift >= 32)
			return -EOVERFLOW;
		*out |= (u32)d << shift;
	}
	return 0;
}

int resctrl_cpus_parse_mask(struct slice s, unsigned nr_cpus, u64 *out)
{
	u64 mask = 0;

	for (unsigned shift = 0;; shift += 32) {
		u32 group;
		int err;

		while (s.n && is_separator(s.p[s.n - 1]))
			s.n--;
		if (!s.n)
			break;
		if (shift >= ALIGN_UP(nr_cpus, 32u))
			return -EOVERFLOW;
		err = take_group(&s, &group);
		if (err)
			return err;
		mask |= (u64)group << shift;
	}
	if (nr_cpus < 64 && mask >> nr_cpus)
		return -EOVERFLOW;
	*out = mask;
	return 0;
}

static int take_number(struct slice *s, unsigned nr_cpus, u32 *out)
{
	u64 v = 0;
	size_t i = 0;

	if (s->n && s->p[0] == 'N') {
		*out = nr_cpus - 1;
		*s = (struct slice){ s->p + 1, s->n - 1 };
		return 0;
	}
	for (; i < s->n && s->p[i] >= '0' && s->p[i] <= '9'; i++) {
		v = v * 10 + (s->p[i] - '0');
		if (v > UINT32_MAX)
			return -EOVERFLOW;
	}
	if (!i)
		return -EINVAL;
	*s = (struct slice){ s->p + i, s->n - i };
	*out = v;
	return 0;
}

static bool take_char(struct slice *s, char c)
{
	if (!s->n || s->p[0] != c)
		return false;
	*s = (struct slice){ s->p + 1, s->n - 1 };
	return true;
}

struct region {
	u32 first, last, used, of;
};

/* A[-B[:USED/OF]] */
static int take_region(struct slice *s, unsigned nr_cpus, struct region *r)
{
	int err;

	if (s->n >= 3 && !memcmp(s->p, "all", 3) && (s->n == 3 || is_separator(s->p[3]) || s->p[3] == ':')) {
		*r = (struct region){ 0, nr_cpus - 1, 1, 1 };
		*s = (struct slice){ s->p + 3, s->n - 3 };
	} else {
		err = take_number(s, nr_cpus, &r->first);
		if (err)
			return err;
		*r = (struct region){ r->first, r->first, r->first + 1, r->first + 1 };
		if (!take_char(s, '-'))
			return s->n && !is_separator(s->p[0]) ? -EINVAL : 0;
		err = take_number(s, nr_cpus, &r->last);
		if (err)
			return err;
	}
	if (take_char(s, ':')) {
		err = take_number(s, nr_cpus, &r->used);
		if (err)
			return err;
		if (!take_char(s, '/'))
			return -EINVAL;
		err = take_number(s, nr_cpus, &r->of);
		if (err)
			return err;
	}
	return s->n && !is_separator(s->p[0]) ? -EINVAL : 0;
}

int resctrl_cpus_parse_list(struct slice s, unsigned nr_cpus, u64 *out)
{
	u64 mask = 0;

	for (;;) {
		struct region r;
		int err;

		while (s.n && is_separator(s.p[0]))
			s = (struct slice){ s.p + 1, s.n - 1 };
		if (!s.n)
			break;
		err = take_region(&s, nr_cpus, &r);
		if (err)
			return err;
		if (r.first > r.last || !r.of || r.used > r.of)
			return -EINVAL;
		if (r.last >= nr_cpus)
			return -ERANGE;
		for (u32 cpu = r.first; cpu <= r.last; cpu++)
			if ((cpu - r.first) % r.of < r.used)
				mask |= BIT(cpu);
	}
	*out = mask;
	return 0;
}

void resctrl_cpus_show_mask(u64 cpus, unsigned nr_cpus, struct strbuf *out)
{
	strbuf_add_mask(out, cpus, nr_cpus);
	strbuf_put(out, "\n", 1);
}

void resctrl_cpus_show_list(u64 cpus, struct strbuf *out)
{
	strbuf_add_set(out, cpus);
	strbuf_put(out, "\n", 1);
}
