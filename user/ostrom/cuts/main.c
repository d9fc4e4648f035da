/* SPDX-License-Identifier: MIT
 *
 * Problem: "does it survive a power cut?" should be a command, for any file system or database, without hardware.
 *
 * Idea: `ostrom cuts record` serves a copy of an image over NBD and logs what happens to it; `ostrom cuts test` makes
 * the disks that cuts at chosen or random points leave behind and runs a checker on each; a failure prints the point
 * and the seed that make the same disk again with `ostrom cuts replay`.
 *
 * Contract: `ostrom cuts` without arguments prints the usage. Exit status 0 all checks passed, 1 some failed or it
 * could not work, 2 wrong usage. The checker finds the image's path in place of {}, the last mark in CUTS_MARK.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "cuts.h"
#include "ostrom.h"

static const char usage[] =
	"usage: ostrom cuts record --image BASE --log LOG (--socket PATH | --port N) [--once]\n"
	"         serve a copy of BASE over NBD and record all that is written to it\n"
	"         clients: qemu -drive file=nbd+unix:///?socket=PATH, nbd-client -unix PATH /dev/nbd0\n"
	"       ostrom cuts mark --socket PATH TEXT\n"
	"         note in the record that TEXT has been reached (an fsync returned, a commit was reported)\n"
	"       ostrom cuts info --log LOG\n"
	"       ostrom cuts replay --image BASE --log LOG --at N [--loss all|none|torn] [--seed S] --out FILE\n"
	"         the disk after a cut behind the first N operations; of what no flush had made safe, torn loses\n"
	"         sectors by chance (the default), all loses everything, none nothing\n"
	"       ostrom cuts test --image BASE --log LOG [--cuts N] [--seed S] [--keep DIR] -- CHECKER ... {} ...\n"
	"         run CHECKER on N disks (50; half at flush boundaries, half torn); CUTS_MARK holds the last mark\n";

struct options {
	const char *image, *log, *socket, *out, *keep;
	int port;
	bool once;
	u64 at, cuts, seed;
	enum cuts_loss loss;
};

static bool parse_number(const char *text, u64 *out)
{
	char *end;

	errno = 0;
	*out = strtoull(text, &end, 0);
	return *text && !*end && !errno && *text != '-';
}

static bool parse_loss(const char *text, enum cuts_loss *out)
{
	if (!strcmp(text, "all"))
		*out = CUTS_DROP_ALL;
	else if (!strcmp(text, "none"))
		*out = CUTS_KEEP_ALL;
	else if (!strcmp(text, "torn"))
		*out = CUTS_TORN;
	else
		return false;
	return true;
}

static bool parse(int argc, char **argv, struct options *o)
{
	static const struct option names[] = {
		{ "image", 1, NULL, 'i' }, { "log", 1, NULL, 'l' },  { "socket", 1, NULL, 's' },
		{ "port", 1, NULL, 'p' },  { "once", 0, NULL, '1' }, { "at", 1, NULL, 'a' },
		{ "loss", 1, NULL, 'L' },  { "seed", 1, NULL, 'S' }, { "out", 1, NULL, 'o' },
		{ "cuts", 1, NULL, 'n' },  { "keep", 1, NULL, 'k' }, { 0 },
	};
	u64 port = 0;
	int c;

	*o = (struct options){ .loss = CUTS_TORN, .cuts = 50, .seed = 1, .at = UINT64_MAX };
	optind = 1;
	while ((c = getopt_long(argc, argv, "+", names, NULL)) != -1) {
		bool ok = true;

		switch (c) {
		case 'i': o->image = optarg; break;
		case 'l': o->log = optarg; break;
		case 's': o->socket = optarg; break;
		case 'o': o->out = optarg; break;
		case 'k': o->keep = optarg; break;
		case '1': o->once = true; break;
		case 'p': ok = parse_number(optarg, &port) && port && port < 65536; break;
		case 'a': ok = parse_number(optarg, &o->at); break;
		case 'n': ok = parse_number(optarg, &o->cuts); break;
		case 'S': ok = parse_number(optarg, &o->seed); break;
		case 'L': ok = parse_loss(optarg, &o->loss); break;
		default: return false;
		}
		if (!ok) {
			say_error("cannot use '%s'", optarg);
			return false;
		}
	}
	o->port = port;
	return true;
}

static int say_failed(const char *what, int err)
{
	say_error("%s: %s", what, strerror(-err));
	return 1;
}

/* ---- record and mark -------------------------------------------------------------------------------------- */

static int record(struct options *o)
{
	struct cuts_server server = { .socket = o->socket, .port = o->port, .once = o->once };
	struct cuts_log log;
	char work[4096];
	struct stat st;
	int err;

	if (!o->image || !o->log || !o->socket == !o->port)
		return 2;
	snprintf(work, sizeof(work), "%s.disk", o->log);
	err = cuts_copy(o->image, work);
	if (err)
		return say_failed(o->image, err);
	server.disk_fd = open(work, O_RDWR | O_CLOEXEC);
	unlink(work);
	if (server.disk_fd < 0 || fstat(server.disk_fd, &st))
		return say_failed(work, -errno);
	err = cuts_log_create(&log, o->log, st.st_size);
	if (err)
		return say_failed(o->log, err);
	server.log = &log;
	err = cuts_serve(&server);
	close(server.disk_fd);
	cuts_log_close(&log);
	return err ? say_failed(o->socket ? o->socket : "port", err) : 0;
}

static int mark(struct options *o, int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n;
	char line[1024];

	if (!o->socket || argc != 1)
		return 2;
	n = snprintf(a.sun_path, sizeof(a.sun_path), "%s.mark", o->socket);
	if (n >= (int)sizeof(a.sun_path))
		return say_failed(o->socket, -ENAMETOOLONG);
	n = snprintf(line, sizeof(line), "%s\n", argv[0]);
	if (n >= (int)sizeof(line) || strchr(argv[0], '\n'))
		return say_failed("the text of a mark", -EINVAL);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) || write(fd, line, n) != n ||
	    read(fd, line, 3) != 3)
		return say_failed(a.sun_path, errno ? -errno : -EIO);
	close(fd);
	return 0;
}

/* ---- info and replay ---------------------------------------------------------------------------------------- */

static int info(struct options *o)
{
	static const char *const name[] = { "", "writes", "zeroes", "trims", "flushes", "marks" };
	u64 count[6] = { 0 }, bytes = 0;
	struct cuts_log log;
	int err;

	if (!o->log)
		return 2;
	err = cuts_log_open(&log, o->log);
	if (err)
		return say_failed(o->log, err);
	for (size_t i = 0; i < log.nr_ops; i++) {
		count[log.ops[i].type]++;
		bytes += log.ops[i].type == CUTS_WRITE ? log.ops[i].length : 0;
	}
	printf("disk %llu bytes, %zu operations", (unsigned long long)log.disk_bytes, log.nr_ops);
	for (int t = CUTS_WRITE; t <= CUTS_MARK; t++)
		printf(", %llu %s", (unsigned long long)count[t], name[t]);
	printf(", %llu bytes written\n", (unsigned long long)bytes);
	cuts_log_close(&log);
	return 0;
}

static int make_disk(const struct options *o, const struct cuts_log *log, u64 at, enum cuts_loss loss, u64 seed,
		     const char *path)
{
	int fd, err = cuts_copy(o->image, path);

	if (err)
		return err;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = cuts_replay(log, min(at, (u64)log->nr_ops), loss, seed, fd);
	close(fd);
	return err;
}

static int replay(struct options *o)
{
	struct cuts_log log;
	int err;

	if (!o->image || !o->log || !o->out)
		return 2;
	err = cuts_log_open(&log, o->log);
	if (err)
		return say_failed(o->log, err);
	err = make_disk(o, &log, o->at, o->loss, o->seed, o->out);
	cuts_log_close(&log);
	return err ? say_failed(o->out, err) : 0;
}

/* ---- test ----------------------------------------------------------------------------------------------------- */

static int run_checker(char **argv, int argc, const char *path, const char *text)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		for (int i = 0; i < argc; i++)
			if (!strcmp(argv[i], "{}"))
				argv[i] = (char *)path;
		setenv("CUTS_MARK", text, 1);
		execvp(argv[0], argv);
		perror(argv[0]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

struct cut {
	u64 at;
	enum cuts_loss loss;
	u64 seed;
};

static u64 mix(u64 v)
{
	v = (v ^ v >> 31) * 0x7fb5d329728ea185ull;
	v = (v ^ v >> 27) * 0x81dadef4bc2dd44dull;
	return v ^ v >> 33;
}

/* Even ones: behind a flush, everything else lost. Odd ones: anywhere, torn. */
static struct cut choose(const struct cuts_log *log, const struct options *o, u64 i)
{
	u64 r = mix(o->seed * 0x9e3779b97f4a7c15ull + i + 1), at = log->nr_ops ? r % (log->nr_ops + 1) : 0;

	if (i & 1)
		return (struct cut){ at, CUTS_TORN, mix(r) };
	while (at && log->ops[at - 1].type != CUTS_FLUSH)
		at--;
	return (struct cut){ at, CUTS_DROP_ALL, 0 };
}

static int test_one(const struct options *o, const struct cuts_log *log, struct cut c, const char *path, int argc,
		    char **argv)
{
	static const char *const loss[] = { "none", "all", "torn" };
	char text[1024];
	int status, err = make_disk(o, log, c.at, c.loss, c.seed, path);

	if (!err)
		err = cuts_last_mark(log, c.at, text, sizeof(text));
	if (err)
		return say_failed(path, err);
	status = run_checker(argv, argc, path, text);
	if (status)
		printf("not ok: status %d; again: ostrom cuts replay --image %s --log %s --at %llu --loss %s --seed "
		       "%llu "
		       "--out DISK (mark '%s')\n",
		       status, o->image, o->log, (unsigned long long)c.at, loss[c.loss], (unsigned long long)c.seed,
		       text);
	return status ? 1 : 0;
}

static int test(struct options *o, int argc, char **argv)
{
	char dir[] = "/tmp/ostrom-cuts-XXXXXX", path[4096];
	u64 failed = 0;
	struct cuts_log log;
	int err;

	if (!o->image || !o->log || !argc)
		return 2;
	err = cuts_log_open(&log, o->log);
	if (err)
		return say_failed(o->log, err);
	if (!o->keep && !mkdtemp(dir))
		return say_failed(dir, -errno);
	for (u64 i = 0; i < o->cuts; i++) {
		struct cut c = choose(&log, o, i);
		bool bad;

		snprintf(path, sizeof(path), "%s/cut-%llu", o->keep ? o->keep : dir, (unsigned long long)i);
		bad = test_one(o, &log, c, path, argc, argv);
		failed += bad;
		if (!(bad && o->keep))
			unlink(path);
	}
	if (!o->keep)
		rmdir(dir);
	printf("%llu of %llu cuts failed\n", (unsigned long long)failed, (unsigned long long)o->cuts);
	cuts_log_close(&log);
	return failed ? 1 : 0;
}

static int run_cuts(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	struct options o;
	int status = 2;

	if (argc > 1 && parse(argc - 1, argv + 1, &o)) {
		char **rest = argv + 1 + optind;
		int n = argc - 1 - optind;

		if (!strcmp(verb, "record") && !n)
			status = record(&o);
		else if (!strcmp(verb, "mark"))
			status = mark(&o, n, rest);
		else if (!strcmp(verb, "info") && !n)
			status = info(&o);
		else if (!strcmp(verb, "replay") && !n)
			status = replay(&o);
		else if (!strcmp(verb, "test"))
			status = test(&o, n, rest);
	}
	if (status == 2)
		fputs(usage, stderr);
	return status;
}
SUBCOMMAND(cuts, "record what reaches a disk and replay every power cut", run_cuts);
