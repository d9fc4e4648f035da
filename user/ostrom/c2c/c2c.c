/* SPDX-License-Identifier: MIT
 *
 * Problem: two words, as in perf: c2c record, c2c report.
 *
 * Idea: the second word picks.
 *
 * Contract: exit status of the command, 129 for an unknown word.
 *
 * Locks: none.
 */
#include <stdio.h>
#include "c2c.h"
#include "ostrom.h"

static int c2c_main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "record"))
		return c2c_record_main(argc - 1, argv + 1);
	if (argc > 1 && !strcmp(argv[1], "report"))
		return c2c_report_main(argc - 1, argv + 1);
	fprintf(stderr, "usage: ostrom c2c record|report [OPTIONS]\n");
	return 129;
}
SUBCOMMAND(c2c, "which cache lines are fought over, by whom, and what would end it", c2c_main);
