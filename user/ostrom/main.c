/* SPDX-License-Identifier: MIT
 *
 * Problem: the cores of the kernel are useful on a Linux that people already have, and ten programs with ten
 * habits would hide that they are one thing.
 *
 * Idea: one program, `ostrom SUBCOMMAND ...`. A subcommand registers itself in a linker section, so that a new
 * one is a new folder and no edit here. Called under the name perf it takes perf's command line for the
 * subcommands that perf has, with its defaults where ours differ (`c2c report` shows perf's tables).
 *
 * Contract: user/ostrom/ostrom.h. Exit status 2 for an unknown subcommand.
 *
 * Locks: none; single-threaded until a subcommand starts threads.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "ostrom.h"

extern const struct subcommand *const __start_ostrom_subcommands[];
extern const struct subcommand *const __stop_ostrom_subcommands[];

static const char *running = "";
bool called_as_perf;

void say_error(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s%s%s: ", called_as_perf ? "perf" : "ostrom", *running ? " " : "", running);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool taken = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return taken;
}

static void print_help(FILE *out)
{
	fprintf(out, "usage: ostrom SUBCOMMAND [ARGS]\n\n");
	for (const struct subcommand *const *s = __start_ostrom_subcommands; s < __stop_ostrom_subcommands; s++)
		fprintf(out, "  %-10s %s\n", (*s)->name, (*s)->summary);
}

static int run_help(int argc, char **argv)
{
	print_help(stdout);
	return 0;
}
SUBCOMMAND(help, "list the subcommands", run_help);

static const struct subcommand *find(const char *name)
{
	for (const struct subcommand *const *s = __start_ostrom_subcommands; s < __stop_ostrom_subcommands; s++)
		if (!strcmp((*s)->name, name))
			return *s;
	return NULL;
}

int main(int argc, char **argv)
{
	const struct subcommand *s;
	const char *slash = strrchr(argv[0], '/');

	called_as_perf = !strcmp(slash ? slash + 1 : argv[0], "perf");
	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-v"))) {
		puts(called_as_perf ? "perf version 6.1 (ostrom)" : "ostrom 1");
		return 0;
	}
	if (argc < 2) {
		print_help(stderr);
		return 2;
	}
	s = find(!strcmp(argv[1], "--help") ? "help" : argv[1]);
	if (!s) {
		say_error("unknown subcommand '%s'; `%s help` lists them", argv[1], called_as_perf ? "perf" : "ostrom");
		return 2;
	}
	running = s->name;
	return s->run(argc - 1, argv + 1);
}
