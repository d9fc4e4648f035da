/* SPDX-License-Identifier: MIT
 *
 * Problem: see gpu.h: one GPU, many users.
 *
 * Idea: the subcommands of `ostrom gpu` and the small ones that only ask the server: `list` (once), `top` (every
 * second, rates from differences of counters) and `set`.
 *
 * Contract: `ostrom gpu serve|run|list|top|set ...`; list [--json|--openmetrics] [--dir DIR]; top [--dir DIR] [-n
 * COUNT]; set [--dir DIR] TENANT KEY=VALUE ...; create TENANT [KEY=VALUE ...] and remove TENANT for container managers,
 * which bind the printed socket themselves. Exit 0, 1 (refused, or no server), 2 (usage).
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "gpu.h"

/* Asks the server in dir; the answer without its first word in *text (malloc). Exit status. */
static int ask(const char *dir, const char *line, char **text)
{
	int fd = control_connect(dir);
	char *reply;

	if (fd < 0) {
		say_error("no server in %s (%s)", dir, strerror(-fd));
		return 1;
	}
	reply = control_ask(fd, line);
	close(fd);
	if (!reply || !str_starts(reply, "ok")) {
		say_error("%s", reply ? reply + strlen("error ") : "the server is gone");
		free(reply);
		return 1;
	}
	*text = strdup(reply + 2 + (reply[2] == '\n' || reply[2] == ' '));
	free(reply);
	return *text ? 0 : 1;
}

static const struct option options[] = {
	{ "dir", required_argument, NULL, 'd' },
	{ "json", no_argument, NULL, 'j' },
	{ "openmetrics", no_argument, NULL, 'o' },
	{ NULL, 0, NULL, 0 },
};

int gpu_list(int argc, char **argv)
{
	const char *dir = default_dir(), *format = "text";
	char line[64], *text;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == '?')
			return 2;
		dir = opt == 'd' ? optarg : dir;
		format = opt == 'j' ? "json" : opt == 'o' ? "openmetrics" : format;
	}
	snprintf(line, sizeof(line), "report %s", format);
	if (ask(dir, line, &text))
		return 1;
	fputs(text, stdout);
	free(text);
	return 0;
}

/* VERB TENANT [KEY=VALUE ...], passed on as it is. */
static int pass_on(int argc, char **argv, int least)
{
	const char *dir = default_dir();
	char line[512], *text;
	int opt;

	while ((opt = getopt_long(argc, argv, "+", options, NULL)) == 'd')
		dir = optarg;
	if (opt != -1 || argc - optind < least) {
		say_error("usage: ostrom gpu %s [--dir DIR] TENANT [share=N|N%%] [min=N%%] [max=N%%] [memory=BYTES]",
			  argv[0]);
		return 2;
	}
	str_copy(line, argv[0], sizeof(line));
	for (int i = optind; i < argc; i++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", argv[i]);
	if (ask(dir, line, &text))
		return 1;
	fputs(text, stdout);
	free(text);
	return 0;
}

int gpu_set(int argc, char **argv)
{
	return pass_on(argc, argv, 2);
}

static int gpu_name(int argc, char **argv)
{
	return pass_on(argc, argv, 1);
}

/* ---- top ---- */

struct row {
	char name[NAME_MAX_BYTES];
	u32 weight, min, max, clients;
	unsigned long long busy, jobs, delay, memory, limit, frames, capped;
};

struct sample {
	unsigned long long time, gpu_time;
	struct row rows[256];
	u32 n;
};

static void read_sample(struct sample *s, char *text)
{
	char *save, *line;

	s->n = 0;
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct row *r = &s->rows[s->n];

		if (sscanf(line, "time %llu %llu", &s->time, &s->gpu_time) == 2 || s->n == ARRAY_SIZE(s->rows))
			continue;
		s->n += sscanf(line, "tenant %47s %u %u %u %llu %llu %llu %llu %llu %llu %u %llu", r->name, &r->weight,
			       &r->min, &r->max, &r->busy, &r->jobs, &r->delay, &r->memory, &r->limit, &r->frames,
			       &r->clients, &r->capped) == 12;
	}
}

static const struct row *find_row(const struct sample *s, const char *name)
{
	for (u32 i = 0; i < s->n; i++)
		if (!strcmp(s->rows[i].name, name))
			return &s->rows[i];
	return NULL;
}

static void print_top(const struct sample *old, const struct sample *new)
{
	static const struct row zero;
	double dt = (new->time - old->time) / 1e9, gpu = (new->gpu_time - old->gpu_time) / 1e9, sum = 0;

	if (isatty(1))
		printf("\033[H\033[2J");
	printf("%-20s %6s %6s %6s %6s %8s %9s %7s %9s %8s\n", "TENANT", "WEIGHT", "MIN%", "MAX%", "USE%", "FRAMES/S",
	       "DELAY-MS", "CAPPED%", "MEM-MB", "LIMIT-MB");
	for (u32 i = 0; i < new->n; i++) {
		const struct row *r = &new->rows[i], *o = find_row(old, r->name);

		if (!o)
			o = &zero;
		sum += (r->busy - o->busy) / 1e7 / gpu;
		printf("%-20s %6u %6.1f %6.1f %6.1f %8.1f %9.3f %7.1f %9.1f %8.1f\n", r->name, r->weight, r->min / 1e4,
		       r->max / 1e4, (r->busy - o->busy) / 1e7 / gpu, (r->frames - o->frames) / dt,
		       r->jobs > o->jobs ? (r->delay - o->delay) / 1e6 / (r->jobs - o->jobs) : 0.0,
		       (r->capped - o->capped) / 1e7 / gpu, r->memory / 1048576.0, r->limit / 1048576.0);
	}
	printf("%-20s %27.1f\n", "all", sum);
	fflush(stdout);
}

int gpu_top(int argc, char **argv)
{
	static struct sample samples[2];
	const char *dir = default_dir();
	long rounds = -1;
	int opt;

	while ((opt = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
		if (opt == 'd')
			dir = optarg;
		else if (opt == 'n')
			rounds = atol(optarg);
		else
			return 2;
	}
	for (u32 i = 0; rounds < 0 || i <= rounds; i++) {
		char *text;

		if (ask(dir, "report raw", &text))
			return 1;
		read_sample(&samples[i % 2], text);
		free(text);
		if (i)
			print_top(&samples[!(i % 2)], &samples[i % 2]);
		if (rounds < 0 || i < rounds)
			usleep(1000000);
	}
	return 0;
}

static int run_gpu(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} verbs[] = {
		{ "serve", gpu_serve }, { "run", gpu_run },     { "list", gpu_list },   { "top", gpu_top },
		{ "set", gpu_set },     { "create", gpu_name }, { "remove", gpu_name }, { "worker", worker_main }
	};

	for (u32 i = 0; i < ARRAY_SIZE(verbs) && argc > 1; i++)
		if (!strcmp(argv[1], verbs[i].name))
			return verbs[i].run(argc - 1, argv + 1);
	say_error("usage: ostrom gpu serve | run -- CMD | list | top | set TENANT KEY=VALUE | create TENANT | remove "
		  "TENANT");
	return 2;
}
SUBCOMMAND(gpu, "share one GPU among processes, containers and virtual machines", run_gpu);
