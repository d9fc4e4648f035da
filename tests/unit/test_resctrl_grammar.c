/* SPDX-License-Identifier: MIT
 *
 * Problem: any text may be written into resctrl's files, and each wrong one must give Linux's error and change nothing.
 *
 * Idea: the texts of resctrl_grammar.h against the core with a back end that answers nothing and counts nothing; the
 * answers of Linux 6.1 are recorded. What all files read before a refused write they read after it.
 *
 * Contract: as resctrl_grammar.h describes the machine. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <lib/err.h>
#include <lib/string.h>
#include <resctrl/resctrl.h>
#include "resctrl_answers.h"
#include "resctrl_grammar.h"

static unsigned sets; /* values that the back end was told */

static void be_set(struct resctrl_backend *be, unsigned cls, enum resctrl_resource_id id, enum resctrl_half half,
		   unsigned domain, u32 value)
{
	sets++;
}

static void be_describe(struct resctrl_backend *be, struct strbuf *out)
{
}

static int be_count(struct resctrl_backend *be, unsigned tag, unsigned domain, enum resctrl_event e, u64 *bytes)
{
	*bytes = 0;
	return 0;
}

static void be_forget(struct resctrl_backend *be, unsigned tag)
{
}

static const struct resctrl_backend_ops be_ops = {
	.set = be_set, .describe = be_describe, .count = be_count, .forget = be_forget
};

/* Task 1 is in the default group until it is moved; the writer is task 100. */
static u16 group_of[2];

static int h_move(void *ctx, s32 tid, u16 group, u16 within)
{
	if (tid > 1)
		return -ESRCH;
	if (within != RESCTRL_ANY && !resctrl_lists(*(struct resctrl **)ctx, within, group_of[tid]))
		return -EXDEV;
	group_of[tid] = group;
	return 0;
}

static void h_move_all(void *ctx, u16 from, u16 to)
{
	for (int i = 0; i < 2; i++)
		if (group_of[i] == from)
			group_of[i] = to;
}

static bool h_next(void *ctx, u16 group, s32 *tid)
{
	for (s32 t = *tid + 1; t < 2; t++)
		if (resctrl_lists(*(struct resctrl **)ctx, group, group_of[t])) {
			*tid = t;
			return true;
		}
	return false;
}

static void h_refresh(void *ctx, u16 group, u64 cpus)
{
}

static const struct resctrl_host_ops host_ops = { h_move, h_move_all, h_next, h_refresh };

static struct resctrl_backend machine(void)
{
	struct resctrl_backend be = { .ops = &be_ops };

	be.res[RESCTRL_L3] = (struct resctrl_resource){ .present = true,
							.cdp_capable = true,
							.width = 20,
							.min_bits = 1,
							.num_classes = 16,
							.shared_bits = 0xc0000,
							.nr_domains = 2,
							.domain = { { 0, 3, 16 << 20 }, { 1, 12, 16 << 20 } } };
	be.res[RESCTRL_L2] = (struct resctrl_resource){
		.present = true,
		.width = 8,
		.min_bits = 1,
		.num_classes = 8,
		.nr_domains = 4,
		.domain = { { 0, 1, 4 << 20 }, { 1, 2, 4 << 20 }, { 2, 4, 4 << 20 }, { 3, 8, 4 << 20 } }
	};
	be.res[RESCTRL_MB] = (struct resctrl_resource){ .present = true,
							.num_classes = 8,
							.bw_min = 10,
							.bw_gran = 10,
							.bw_max = 100,
							.bw_linear = true,
							.nr_domains = 2,
							.domain = { { 0, 3, 0 }, { 1, 12, 0 } } };
	be.mon = (struct resctrl_monitor){ .events = 14, .num_tags = 32, .unit = 65536, .l3_bytes = 16 << 20 };
	return be;
}

static void place(enum grammar_file f, char *out, size_t size)
{
	str_format(out, size, "%s%s", f == G_THRESHOLD ? "" : "g/", g_paths[f]);
}

static int put(struct resctrl *r, const char *path, const char *text)
{
	struct resctrl_node n;

	assert_int_equal(resctrl_lookup(r, path, &n), 0);
	return resctrl_store(r, &n, text, strlen(text));
}

static void snapshot(struct resctrl *r, char *out, size_t size)
{
	struct resctrl_node n;
	char path[64];
	struct strbuf sb;

	strbuf_init(&sb, out, size);
	for (enum grammar_file f = 0; f < G_FILES; f++) {
		place(f, path, sizeof(path));
		assert_int_equal(resctrl_lookup(r, path, &n), 0);
		assert_int_equal(resctrl_show(r, &n, &sb), 0);
	}
	for (enum grammar_file f = 0; f < G_MON_CPUS; f++) {
		assert_int_equal(resctrl_lookup(r, g_paths[f], &n), 0);
		assert_int_equal(resctrl_show(r, &n, &sb), 0);
	}
	assert_false(sb.truncated);
}

static void fresh(struct resctrl *r)
{
	struct resctrl_node n;

	if (!resctrl_lookup(r, "g", &n))
		assert_int_equal(resctrl_rmdir(r, &n), 0);
	assert_int_equal(resctrl_lookup(r, "", &n), 0);
	assert_int_equal(resctrl_mkdir(r, &n, "g"), 0);
	assert_int_equal(resctrl_lookup(r, "g/mon_groups", &n), 0);
	assert_int_equal(resctrl_mkdir(r, &n, "m"), 0);
}

static void check(struct resctrl *r, enum grammar_file f, unsigned n)
{
	static char before[4096], after[4096];
	char path[64], text[256];
	unsigned told = sets;
	int err;

	place(f, path, sizeof(path));
	grammar_text(f, n, text, sizeof(text));
	snapshot(r, before, sizeof(before));
	err = put(r, path, text);
	if (grammar_letter(-err) != grammar_answers[f][n])
		fail_msg("%s: '%s' gives %d, Linux %c", path, text, err, grammar_answers[f][n]);
	snapshot(r, after, sizeof(after));
	if (err && (strcmp(before, after) || sets != told))
		fail_msg("%s: '%s' was refused and changed something", path, text);
	if (!err && f == G_SCHEMATA)
		assert_int_equal(put(r, path, GRAMMAR_FULL), 0);
	else if (!err && f != G_THRESHOLD)
		fresh(r);
}

static void linux_answers(void **state)
{
	struct resctrl_backend be = machine();
	struct resctrl *r;

	assert_int_equal(resctrl_create(&be, &host_ops, &r, 4, 15, &r), 0);
	assert_int_equal(resctrl_mount(r, ""), 0);
	fresh(r);
	for (enum grammar_file f = 0; f < G_FILES; f++) {
		assert_int_equal(strlen(grammar_answers[f]), grammar_nr(f));
		for (unsigned n = 0; n < grammar_nr(f); n++)
			check(r, f, n);
	}
	resctrl_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(linux_answers) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
