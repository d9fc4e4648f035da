/* SPDX-License-Identifier: MIT
 *
 * Problem: people's fingers and scripts say `sched record`, `sched timehist`, and `sched -i FILE timehist`.
 *
 * Idea: the first word that is no option picks the command; options before it are put behind it. Prefixes of at least
 * three letters count, as in perf.
 *
 * Contract: exit status of the command, 129 for an unknown word. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "ostrom.h"
#include "record/recorder.h"
#include "timehist/timehist.h"

/* Where the command's name stands: behind options and the values of those that have one. */
static int find_command(int argc, char **argv)
{
	int at = 1;

	while (at < argc && argv[at][0] == '-' && argv[at][1])
		at += 1 + (!strcmp(argv[at], "-i") || !strcmp(argv[at], "--input"));
	return at;
}

static int run_with_options(int (*run)(int, char **), int at, int argc, char **argv)
{
	char **words = calloc((size_t)argc + 1, sizeof(*words));
	int n = 0, status;

	if (!words)
		return 1;
	words[n++] = argv[at];
	for (int i = 1; i < at; i++)
		words[n++] = argv[i];
	for (int i = at + 1; i < argc; i++)
		words[n++] = argv[i];
	status = run(n, words);
	free(words);
	return status;
}

static int sched_main(int argc, char **argv)
{
	int at = find_command(argc, argv);

	if (at < argc && !strcmp(argv[at], "timehist"))
		return run_with_options(timehist_main, at, argc, argv);
	if (at < argc && strlen(argv[at]) > 2 && !strncmp("record", argv[at], strlen(argv[at])))
		return run_with_options(sched_record_main, at, argc, argv);
	fprintf(stderr, "usage: ostrom sched [-i FILE] [-D] [-v] [-f] record|timehist [OPTIONS]\n");
	return 129;
}
SUBCOMMAND(sched, "scheduler: record, timehist", sched_main);
