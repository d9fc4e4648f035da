/* SPDX-License-Identifier: MIT
 *
 * Problem: that the core answers as Linux does (tests/unit/test_resctrl_grammar.c) does not yet say that a program sees
 * it; and somebody must ask Linux.
 *
 * Idea: writes each text of the grammar into the files of a fresh group of the mounted resctrl, by plain open and
 * write. `grammar` compares with what is recorded; `grammar record` prints resctrl_answers.h.
 *
 * Contract: resctrl is mounted on /sys/fs/resctrl, the machine is that of resctrl_grammar.h. One line "ok FILE: n
 * texts" a file, or "not ok FILE: TEXT gives ..."; status 1 if there was one. After an error the file reads as before.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "../../unit/resctrl_answers.h"
#include "../../unit/resctrl_grammar.h"

#define ROOT  "/sys/fs/resctrl/"
#define GROUP ROOT "grammar/"

/* Linux keeps the numbers of removed groups for a second. */
static void make(const char *path)
{
	int err = -1;

	for (int i = 0; i < 200 && (err = mkdir(path, 0755)) && errno == EBUSY; i++)
		usleep(50000);
	if (err) {
		perror(path);
		exit(1);
	}
}

static void fresh(void)
{
	rmdir(GROUP);
	make(GROUP);
	make(GROUP "mon_groups/m");
}

static void place(enum grammar_file f, char *out, size_t size)
{
	snprintf(out, size, "%s%s", f == G_THRESHOLD ? ROOT : GROUP, g_paths[f]);
}

static void get(const char *path, char *out, size_t size)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

	out[n < 0 ? 0 : n] = '\0';
	if (fd >= 0)
		close(fd);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), err = 0;

	if (fd < 0)
		return errno;
	if (write(fd, text, strlen(text)) < 0)
		err = errno;
	close(fd);
	return err;
}

static char try(enum grammar_file f, unsigned n, char *text, size_t size, bool *changed)
{
	char path[128], before[4096], after[4096];
	int err;

	place(f, path, sizeof(path));
	grammar_text(f, n, text, size);
	get(path, before, sizeof(before));
	err = put(path, text);
	get(path, after, sizeof(after));
	*changed = err && strcmp(before, after);
	if (!err && f == G_SCHEMATA)
		put(path, GRAMMAR_FULL);
	else if (!err && f != G_THRESHOLD)
		fresh();
	return grammar_letter(err);
}

static void print_quoted(const char *s)
{
	for (; *s; s++)
		printf(*s < ' ' ? "\\x%02x" : "%c", *s);
}

static int compare(enum grammar_file f)
{
	char text[256];
	int bad = 0;

	for (unsigned n = 0; n < grammar_nr(f); n++) {
		bool changed;
		char got = try(f, n, text, sizeof(text), &changed);

		if (got == grammar_answers[f][n] && !changed)
			continue;
		printf("not ok %s: '", g_paths[f]);
		print_quoted(text);
		printf("' gives %c, Linux %c%s\n", got, grammar_answers[f][n],
		       changed ? ", and changed something" : "");
		bad++;
	}
	if (!bad)
		printf("ok %s: %u texts\n", g_paths[f], grammar_nr(f));
	return bad;
}

static void record(enum grammar_file f)
{
	char text[256];
	bool changed;

	printf("\t/* %s */\n\t\"", g_paths[f]);
	for (unsigned n = 0; n < grammar_nr(f); n++)
		printf("%s%c", n && n % 110 == 0 ? "\"\n\t\"" : "", try(f, n, text, sizeof(text), &changed));
	printf("\",\n");
}

int main(int argc, char **argv)
{
	bool recording = argc > 1 && !strcmp(argv[1], "record");
	int bad = 0;

	fresh();
	if (recording)
		printf("/* SPDX-License-Identifier: MIT\n *\n * What Linux 6.1 answers to each text of "
		       "resctrl_grammar.h, a string a "
		       "file, a letter a text. Made by\n * `grammar record` there (tests/programs/resctrl).\n */\n"
		       "/* clang-format off */\nstatic const char *const grammar_answers[] = {\n");
	for (enum grammar_file f = 0; f < G_FILES; f++)
		if (recording)
			record(f);
		else
			bad += compare(f);
	if (recording)
		printf("};\n");
	rmdir(GROUP);
	return bad != 0;
}
