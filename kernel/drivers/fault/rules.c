/* SPDX-License-Identifier: MIT
 *
 * Problem: tests say in one line which request is to go wrong and how.
 *
 * Idea: a word for the action, then key=value; everything is checked before anything counts. Matching is a range, a set
 * of operations and two counters.
 *
 * Contract: rules.h.
 *
 * Locks: none; the caller's.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>

#include "rules.h"

static const char *const action_names[FAULT_ACTIONS] = { NULL, "fail", "delay", "drop", "tear", "hang", "cut" };
static const char *const op_names[FAULT_OPS] = { "read", "write", "flush", "discard", "zeroes" };
static const struct {
	const char *name;
	int number;
} errors[] = {
	{ "EIO", EIO },     { "ENOSPC", ENOSPC }, { "ETIMEDOUT", ETIMEDOUT },
	{ "EROFS", EROFS }, { "ENODEV", ENODEV }, { "EAGAIN", EAGAIN },
};

#define ALL_OPS   ((1U << FAULT_OPS) - 1)
#define WRITE_OPS (ALL_OPS & ~(1U << FAULT_READ))

/* The next word of *text, cut off; NULL: none. */
static char *next_word(char **text)
{
	char *start = *text, *end;

	while (*start == ' ' || *start == '\t' || *start == '\n')
		start++;
	if (!*start)
		return NULL;
	for (end = start; *end && *end != ' ' && *end != '\t' && *end != '\n'; end++)
		;
	*text = *end ? end + 1 : end;
	*end = '\0';
	return start;
}

static int find_name(const char *const *names, unsigned nr, const char *word)
{
	for (unsigned i = 0; i < nr; i++)
		if (names[i] && !strcmp(names[i], word))
			return (int)i;
	return -EINVAL;
}

static int parse_ops(const char *word, u8 *out)
{
	int op = find_name(op_names, FAULT_OPS, word);

	if (!strcmp(word, "any"))
		*out = ALL_OPS;
	else if (op >= 0)
		*out = (u8)(1U << op);
	else
		return fail(EINVAL, "fault: no operation '%s'", word);
	return 0;
}

static int parse_sectors(char *word, struct fault_rule *r)
{
	char *dash = word;
	int err;

	while (*dash && *dash != '-')
		dash++;
	if (*dash)
		*dash++ = '\0';
	err = str_to_u64(word, 0, &r->first);
	r->last = r->first;
	if (!err && *dash)
		err = str_to_u64(dash, 0, &r->last);
	return err || r->last < r->first ? -EINVAL : 0;
}

static int parse_error(const char *word, int *out)
{
	u64 n;

	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++)
		if (!strcmp(errors[i].name, word)) {
			*out = -errors[i].number;
			return 0;
		}
	if (str_to_u64(word, 0, &n) || n > 4095)
		return fail(EINVAL, "fault: no error '%s'", word);
	*out = -(int)n;
	return 0;
}

static int parse_pair(struct fault_rule *r, const char *key, char *value)
{
	u64 us;

	if (!strcmp(key, "op"))
		return parse_ops(value, &r->ops);
	if (!strcmp(key, "sectors"))
		return parse_sectors(value, r);
	if (!strcmp(key, "after"))
		return str_to_u64(value, 0, &r->after);
	if (!strcmp(key, "count"))
		return str_to_u64(value, 0, &r->count);
	if (!strcmp(key, "error"))
		return parse_error(value, &r->error);
	if (!strcmp(key, "keep"))
		return str_to_u64(value, 0, &r->keep);
	if (!strcmp(key, "us")) {
		if (str_to_u64(value, 0, &us) || us > 60000000)
			return -EINVAL;
		r->delay_ns = us * NSEC_PER_USEC;
		return 0;
	}
	if (!strcmp(key, "mode") && (!strcmp(value, "drop") || !strcmp(value, "fail"))) {
		r->cut_fails = value[0] == 'f';
		return 0;
	}
	return fail(EINVAL, "fault: what is '%s'?", key);
}

static void set_defaults(struct fault_rule *r, int action)
{
	*r = (struct fault_rule){ .action = (u8)action, .ops = ALL_OPS, .last = ~0ULL, .keep = ~0ULL };
	if (action == FAULT_FAIL)
		r->error = -EIO;
	if (action == FAULT_DROP || action == FAULT_CUT)
		r->ops = WRITE_OPS;
	if (action == FAULT_TEAR)
		r->ops = 1U << FAULT_WRITE;
}

static int check(const struct fault_rule *r)
{
	if (r->action == FAULT_DELAY && !r->delay_ns)
		return fail(EINVAL, "fault: delay needs us=");
	if (r->action == FAULT_FAIL && !r->error)
		return fail(EINVAL, "fault: no error is no failure");
	if ((r->action == FAULT_DROP && r->ops & 1U << FAULT_READ) ||
	    (r->action == FAULT_TEAR && r->ops != 1U << FAULT_WRITE))
		return fail(EINVAL, "fault: only what writes can be lost");
	return 0;
}

int fault_rule_parse(char *line, struct fault_rule *out)
{
	char *word = next_word(&line);
	int action = word ? find_name(action_names, FAULT_ACTIONS, word) : -EINVAL;
	struct fault_rule r;

	if (action < 0)
		return fail(EINVAL, "fault: no action '%s'", word ? word : "");
	set_defaults(&r, action);
	while ((word = next_word(&line))) {
		char *value = word;

		while (*value && *value != '=')
			value++;
		if (!*value)
			return fail(EINVAL, "fault: '%s' is not key=value", word);
		*value++ = '\0';
		if (parse_pair(&r, word, value))
			return -EINVAL;
	}
	if (check(&r))
		return -EINVAL;
	*out = r;
	return 0;
}

static void show_ops(const struct fault_rule *r, struct strbuf *out)
{
	if (r->ops == ALL_OPS)
		strbuf_add(out, " op=any");
	for (unsigned i = 0; i < FAULT_OPS; i++)
		if (r->ops == 1U << i)
			strbuf_add(out, " op=%s", op_names[i]);
}

void fault_rule_show(const struct fault_rule *r, struct strbuf *out)
{
	strbuf_add(out, "%s", action_names[r->action]);
	show_ops(r, out);
	if (r->first || r->last != ~0ULL)
		strbuf_add(out, " sectors=%llu-%llu", (unsigned long long)r->first, (unsigned long long)r->last);
	if (r->after)
		strbuf_add(out, " after=%llu", (unsigned long long)r->after);
	if (r->count)
		strbuf_add(out, " count=%llu", (unsigned long long)r->count);
	if (r->error)
		strbuf_add(out, " error=%d", -r->error);
	if (r->delay_ns)
		strbuf_add(out, " us=%llu", (unsigned long long)(r->delay_ns / NSEC_PER_USEC));
	if (r->keep != ~0ULL)
		strbuf_add(out, " keep=%llu", (unsigned long long)r->keep);
	if (r->action == FAULT_CUT)
		strbuf_add(out, " mode=%s", r->cut_fails ? "fail" : "drop");
	strbuf_add(out, " # seen %llu, acted %llu\n", (unsigned long long)r->seen, (unsigned long long)r->acted);
}

bool fault_rule_acts(struct fault_rule *r, enum fault_op op, u64 sector, u64 sectors)
{
	if (!(r->ops >> op & 1))
		return false;
	/* A flush has no place: only rules without one see it. */
	if (op == FAULT_FLUSH ? r->first || r->last != ~0ULL : sector > r->last || sector + sectors <= r->first)
		return false;
	if (r->seen++ < r->after || (r->count && r->acted >= r->count))
		return false;
	r->acted++;
	return true;
}
