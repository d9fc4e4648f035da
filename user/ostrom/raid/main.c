/* SPDX-License-Identifier: MIT
 *
 * Problem: an array whose machine died, or whose driver is missing, is out of reach although all its data is
 * there; and trying recovery on the only copy is how data is lost.
 *
 * Idea: the kernel's RAID cores over files and pread/pwrite: look at members, check them, bring them up to date
 * and use the array, without root and without a driver.
 *
 * Contract: `ostrom raid VERB ...`; `ostrom raid help` lists the verbs. Exit status 0 done, 1 failed or unsound,
 * 2 wrong usage. Verbs that write say so.
 *
 * Locks: none.
 */
#include <stdio.h>
#include <string.h>
#include "ostrom.h"
#include "raid/raid_priv.h"

static const struct {
	const char *name, *args, *what;
	int (*run)(int argc, char **argv);
} verbs[] = {
	{ "examine", "DEVICE...", "what the superblocks say (as mdadm --examine)", raid_examine },
	{ "assemble", "DEVICE...", "which devices form the array, and its state", raid_assemble },
	{ "verify", "[--force] DEVICE...", "compare parity; writes nothing", raid_verify },
	{ "recover", "[--add IMAGE] [--repair] DEVICE...", "journal, resync, rebuild; leaves it clean (writes)",
	  raid_recover },
	{ "cat", "[--force] DEVICE...", "the array's contents to stdout", raid_cat },
	{ "serve", "--socket PATH|--port N DEVICE...", "the array as a disk, by NBD (writes)", raid_serve },
};

static void help(FILE *out)
{
	fprintf(out, "usage: ostrom raid VERB ...\n\n");
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(out, "  %-9s %-34s %s\n", verbs[i].name, verbs[i].args, verbs[i].what);
}

static int run_raid(int argc, char **argv)
{
	for (unsigned i = 0; argc > 1 && i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	help(argc > 1 && !strcmp(argv[1], "help") ? stdout : stderr);
	return argc > 1 && !strcmp(argv[1], "help") ? 0 : 2;
}
SUBCOMMAND(raid, "look at, check, recover and serve Linux MD arrays from their images", run_raid);
