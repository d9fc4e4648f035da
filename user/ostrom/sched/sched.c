/* SPDX-License-Identifier: MIT
 *
 * Problem: people's fingers and scripts say `sched record` and `sched timehist`.
 *
 * Idea: the second word picks the command. Prefixes of at least three letters count, as in perf.
 *
 * Contract: exit status of the command, 129 for an unknown word. Locks: none.
 */
#include <stdio.h>
#include <string.h>
#include "ostrom.h"
#include "timehist/timehist.h"

static int sched_main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "timehist"))
		return timehist_main(argc - 1, argv + 1);
	fprintf(stderr, "usage: ostrom sched timehist [OPTIONS]\n");
	return 129;
}
SUBCOMMAND(sched, "scheduler: timehist", sched_main);
