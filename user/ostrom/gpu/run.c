/* SPDX-License-Identifier: MIT
 *
 * Problem: Debian 12's Mesa knows one socket, /tmp/.virgl_test, for the whole machine; newer ones take its name from
 * the environment. A program shall get its own virtual GPU by one command and no configuration.
 *
 * Idea: `ostrom gpu run` asks the server for a tenant that lives as long as this process, and starts the command in a
 * mount namespace of its own (and a user namespace, if we are not root) in which the tenant's socket is bound to that
 * path. The command and its children see a GPU; nobody else sees a difference.
 *
 * Contract: `ostrom gpu run [--dir DIR] [--name NAME] [--share N|N%] [--min N%] [--max N%] [--memory N] -- CMD [ARGS]`.
 * Exits with the command's status, 128 and the signal if one ended it; 2 for wrong usage, 1 if there is no server.
 *
 * Locks: none; one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>
#include "gpu.h"

#define WELL_KNOWN "/tmp/.virgl_test"

struct request {
	const char *dir;
	char name[NAME_MAX_BYTES];
	char words[256];
};

static int parse(struct request *r, int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "name", required_argument, NULL, 'n' },
		{ "share", required_argument, NULL, 0 },
		{ "min", required_argument, NULL, 0 },
		{ "max", required_argument, NULL, 0 },
		{ "memory", required_argument, NULL, 0 },
		{ NULL, 0, NULL, 0 },
	};
	int opt, which;

	while ((opt = getopt_long(argc, argv, "+", options, &which)) != -1) {
		size_t n = strlen(r->words);

		if (opt == 'd')
			r->dir = optarg;
		else if (opt == 'n')
			str_copy(r->name, optarg, sizeof(r->name));
		else if (!opt)
			snprintf(r->words + n, sizeof(r->words) - n, " %s=%s", options[which].name, optarg);
		else
			return -EINVAL;
	}
	return optind < argc ? 0 : -EINVAL;
}

/* A user namespace in which we are who we are, with the right to mount. */
static int enter_user_namespace(void)
{
	char map[64];
	uid_t uid = getuid();
	gid_t gid = getgid();

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	write_text("/proc/self/setgroups", "deny");
	snprintf(map, sizeof(map), "%u %u 1", uid, uid);
	write_text("/proc/self/uid_map", map);
	snprintf(map, sizeof(map), "%u %u 1", gid, gid);
	write_text("/proc/self/gid_map", map);
	return 0;
}

static int bind_socket(const char *path)
{
	int fd, rc = geteuid() ? enter_user_namespace() : unshare(CLONE_NEWNS) ? -errno : 0;

	if (rc)
		return rc;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	fd = open(WELL_KNOWN, O_WRONLY | O_CREAT | O_CLOEXEC, 0600); /* something to bind over */
	if (fd >= 0)
		close(fd);
	return mount(path, WELL_KNOWN, NULL, MS_BIND, NULL) ? -errno : 0;
}

static void __noreturn become_command(const char *path, char **argv)
{
	int rc = bind_socket(path);

	if (rc) {
		say_error("cannot bind %s over %s: %s", path, WELL_KNOWN, strerror(-rc));
		_exit(1);
	}
	ask_short_slice();
	setenv("GALLIUM_DRIVER", "virpipe", 1);
	setenv("LIBGL_ALWAYS_SOFTWARE", "1", 1);
	setenv("VTEST_SOCKET_NAME", path, 1);
	execvp(argv[0], argv);
	say_error("%s: %s", argv[0], strerror(errno));
	_exit(127);
}

static int run_command(const char *path, char **argv)
{
	int status, pid;

	signal(SIGINT, SIG_IGN); /* the command decides */
	signal(SIGQUIT, SIG_IGN);
	pid = fork();
	if (!pid) {
		signal(SIGINT, SIG_DFL);
		signal(SIGQUIT, SIG_DFL);
		become_command(path, argv);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return 1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int gpu_run(int argc, char **argv)
{
	struct request r = { .dir = default_dir() };
	char line[512], *reply, *path;
	const char *base;
	int fd, rc;

	if (parse(&r, argc, argv)) {
		say_error("usage: ostrom gpu run [--dir DIR] [--name NAME] [--share N|N%%] [--min N%%] [--max N%%] "
			  "[--memory BYTES] -- CMD [ARGS]");
		return 2;
	}
	base = strrchr(argv[optind], '/');
	if (!r.name[0])
		snprintf(r.name, sizeof(r.name), "%.30s-%d", base ? base + 1 : argv[optind], getpid());
	fd = control_connect(r.dir);
	if (fd < 0) {
		say_error("no server in %s (%s): start one with `ostrom gpu serve`", r.dir, strerror(-fd));
		return 1;
	}
	snprintf(line, sizeof(line), "create %s transient%s", r.name, r.words);
	reply = control_ask(fd, line);
	if (!reply || !str_starts(reply, "ok ")) {
		say_error("%s", reply ? reply + strlen("error ") : "the server is gone");
		free(reply);
		return 1;
	}
	path = reply + 3;
	path[strcspn(path, "\n")] = 0;
	rc = run_command(path, argv + optind);
	free(reply);
	close(fd);
	return rc;
}
