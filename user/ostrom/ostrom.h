/* SPDX-License-Identifier: MIT
 *
 * How a subcommand joins `ostrom`: one SUBCOMMAND line in its main source file. run gets argv[0] = its own name
 * and returns the exit status (0 done, 1 it failed, 2 wrong usage). Messages to people go to stderr through
 * say_error, which prefixes "ostrom NAME: "; results go to stdout.
 */
#ifndef OSTROM_H
#define OSTROM_H

#include <lib/types.h>

struct subcommand {
	const char *name;
	const char *summary; /* one line for `ostrom help` */
	int (*run)(int argc, char **argv);
};

#define SUBCOMMAND(id, text, fn)                                                                                       \
	static const struct subcommand subcommand_##id = { #id, text, fn };                                            \
	static const struct subcommand *const subcommand_ptr_##id __used __section("ostrom_subcommands") =             \
		&subcommand_##id

extern bool called_as_perf; /* by a link named perf: defaults are perf's */

/* Into a file that is there (of /proc, /sys), in one write. False: not taken, errno says why. */
bool write_text(const char *path, const char *text);
void say_error(const char *fmt, ...) __printf(1, 2);

#endif
