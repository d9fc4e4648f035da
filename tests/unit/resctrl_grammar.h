/* SPDX-License-Identifier: MIT
 *
 * Problem: resctrl's control files get any text that a script, a typo or an attacker writes; clients act on the error.
 *
 * Idea: a small grammar makes texts for each file, right ones and wrong ones in each place of the line. What Linux 6.1
 * answers on the machine described below is recorded in resctrl_answers.h, a letter a text; the core must answer the
 * same (tests/unit/test_resctrl_grammar.c) and so must the mounted file system (tests/programs/resctrl/grammar.c, which
 * also records).
 *
 * The machine: two L3 of 20 ways and 16 classes, ids 0 and 1; four L2 of 8 ways and 8 classes, ids 0 to 3; bandwidth in
 * steps of 10 per cent, 8 classes; 32 tags; four CPUs. The group is fresh, below it is a monitor group "m" with no
 * tasks.
 */
#ifndef RESCTRL_GRAMMAR_H
#define RESCTRL_GRAMMAR_H

#include <stdio.h>
#include <string.h>

#define GRAMMAR_NR(a) (sizeof(a) / sizeof(*(a)))

static const char *const g_rows[] = { "L3", "L2", "MB", "L3CODE", " L3 ", "l3", "", "L4", "\tMB", "L3 L3" };
static const char *const g_ids[] = { "0",  "1",          "3",  "4",   " 0",
				     "0 ", "+0",         "00", "0x0", "-0",
				     "",   "4294967296", "x",  "0\t", "99999999999999999999" };
static const char *const g_signs[] = { "=", "", "==", " = ", "= ", ":", "=\t" };
static const char *const g_values[] = {
	"f",        "0",      "fffff", "100000", "5",  "F",    "0xf", "0Xf", " f",  "f ",  "f\t",
	"+f",       "-1",     "",      "g",      "ff", "100",  "10",  "50",  "9",   "101", "0x20",
	"f,f",      "00000f", "-f",    "fg",     "0x", "ff f", "11",  "31",  "1e1", "f=f", "1ffffffffffffffff",
	"f0000000f"
};
static const char *const g_tails[] = {
	"\n",         "",       ";\n",     ";0=f\n",  ";1=f\n",         ";1=5\n", "\n\n",        "\nL2:0=f\n",
	"\nL2:9=f\n", ";;\n",   ";1\n",    " ;1=f\n", "; 1=f\n",        "\r\n",   "\nL3:0=ff\n", "\nMB:1=50\n",
	"\n:\n",      "\nL3\n", "\nL3:\n", ",1=f\n",  "\nL3:1=100000\n"
};
static const char *const g_cpus[] = { "0",    "1",   "3",         "f",          "10",        "ff",
				      "x",    "",    "1,1",       "00000001",   "100000000", "1,00000000",
				      "1,",   ",",   "-1",        "0x1",        " 1",        "1 ",
				      "\t1",  "1 1", "0-1",       "g",          "ffffffff",  "0000000000000001",
				      "1,,1", "0,1", "fffffffff", "1,100000000" };
static const char *const g_lists[] = { "0",       "0-3",     "0,2",     "3-0",  "0-",         "-",
				       "a",       "all",     "N",       "0-N",  "N-0",        "0-3:1/2",
				       "0-3:0/2", "0-3:3/2", "0-3:1/0", "0-3:", "0-3:1",      "0-3:1/",
				       "0,,1",    "0 1",     "0-4",     "4",    "4294967296", "4294967295",
				       "",        "0x1",     "-0",      ",0",   "0,",         "all:1/2",
				       "1:1/2",   "0-1-2",   "0--1",    " 0",   "0\t3",       "0-3:x/y" };
static const char *const g_tasks[] = { "0",   "1",  "99999", "-1",   "2147483647", "2147483648", "4294967296",
				       "0x1", "01", "1 1",   "1\n1", "",           "a",          "+1",
				       " 1",  "1 ", "1,1",   "-0",   "0x",         "1a" };
static const char *const g_modes[] = { "shareable", "exclusive",  "pseudo-locksetup", "pseudo-locked",
				       "Shareable", "",           "shareable ",       " shareable",
				       "x",         "exclusive\n" };
static const char *const g_sizes[] = { "0",       "65536", "100000", "16777216",   "16777217",
				       "-1",      "",      "x",      "4294967295", "4294967296",
				       "0x10000", " 0",    "0 ",     "+0",         "99999999999999999999" };
static const char *const g_ends[] = { "\n", "", "\n\n", " \n", ",\n" };

/* Files, as paths below the group; the last is below the mount point. */
enum grammar_file { G_SCHEMATA, G_CPUS, G_CPUS_LIST, G_TASKS, G_MODE, G_MON_CPUS, G_MON_TASKS, G_THRESHOLD, G_FILES };
static const char *const g_paths[G_FILES] = { "schemata",
					      "cpus",
					      "cpus_list",
					      "tasks",
					      "mode",
					      "mon_groups/m/cpus",
					      "mon_groups/m/tasks",
					      "info/L3_MON/max_threshold_occupancy" };

/* Brings a schemata back to what a fresh group has. */
#define GRAMMAR_FULL "L3:0=fffff;1=fffff\nL2:0=ff;1=ff;2=ff;3=ff\nMB:0=100;1=100\n"

#define G_HEADS  (GRAMMAR_NR(g_rows) * GRAMMAR_NR(g_ids) * GRAMMAR_NR(g_signs))
#define G_BODIES (3 * GRAMMAR_NR(g_values) * GRAMMAR_NR(g_tails))

static void g_schemata(unsigned n, char *out, size_t size)
{
	if (n < G_HEADS) {
		const char *row = g_rows[n % GRAMMAR_NR(g_rows)];

		n /= GRAMMAR_NR(g_rows);
		snprintf(out, size, "%s:%s%s%s\n", row, g_ids[n % GRAMMAR_NR(g_ids)], g_signs[n / GRAMMAR_NR(g_ids)],
			 strstr(row, "MB") ? "50" : "f");
		return;
	}
	n -= G_HEADS;
	if (n < G_BODIES) {
		const char *row = g_rows[n % 3];

		n /= 3;
		snprintf(out, size, "%s:0=%s%s", row, g_values[n % GRAMMAR_NR(g_values)],
			 g_tails[n / GRAMMAR_NR(g_values)]);
		return;
	}
	snprintf(out, size, "%s", g_tails[n - G_BODIES]);
}

struct g_list {
	const char *const *words;
	unsigned nr;
};

#define G_LIST(a) ((struct g_list){ a, GRAMMAR_NR(a) })

static struct g_list g_words(enum grammar_file f)
{
	switch (f) {
	case G_CPUS:
	case G_MON_CPUS: return G_LIST(g_cpus);
	case G_CPUS_LIST: return G_LIST(g_lists);
	case G_TASKS:
	case G_MON_TASKS: return G_LIST(g_tasks);
	case G_MODE: return G_LIST(g_modes);
	default: return G_LIST(g_sizes);
	}
}

/* How many texts there are for a file, and the n-th of them. */
static unsigned grammar_nr(enum grammar_file f)
{
	return f == G_SCHEMATA ? G_HEADS + G_BODIES + GRAMMAR_NR(g_tails) : g_words(f).nr * GRAMMAR_NR(g_ends);
}

static void grammar_text(enum grammar_file f, unsigned n, char *out, size_t size)
{
	struct g_list l;

	if (f == G_SCHEMATA) {
		g_schemata(n, out, size);
		return;
	}
	l = g_words(f);
	snprintf(out, size, "%s%s", l.words[n % l.nr], g_ends[n / l.nr]);
}

/* A letter an error. */
static char grammar_letter(int err)
{
	static const struct {
		int err;
		char c;
	} names[] = { { 0, '.' },  { 22, 'V' }, { 34, 'R' }, { 75, 'F' }, { 3, 'S' },
		      { 28, 'L' }, { 2, 'N' },  { 1, 'P' },  { 16, 'B' } };

	for (size_t i = 0; i < GRAMMAR_NR(names); i++)
		if (names[i].err == err)
			return names[i].c;
	return '?';
}

#endif
