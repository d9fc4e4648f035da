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
#include "record/recorder.h"
#include "timehist/timehist.h"

static int sched_main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "timehist"))
		return timehist_main(argc - 1, argv + 1);
	if (argc > 1 && strlen(argv[1]) > 2 && !strncmp("record", argv[1], strlen(argv[1])))
		return sched_record_main(argc - 1, argv + 1);
	fprintf(stderr, "usage: ostrom sched record|timehist [OPTIONS]\n");
	return 129;
}
SUBCOMMAND(sched, "scheduler: record, timehist", sched_main);
