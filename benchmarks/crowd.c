/* SPDX-License-Identifier: MIT
 *
 * Problem: an operation that is quick in an empty machine may walk, on a busy one, through all tasks, mounts,
 * descriptors, mappings or names that there are.
 *
 * Idea: make many of one kind, all idle, before the rows of micro.c run; what a row costs more is what it walks.
 *
 * Contract: crowd.h. Tasks end with the process that made them, the rest is its own or stays behind in /tmp.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "crowd.h"

static int make_tasks(int n, const char *folder)
{
	while (n-- > 0) {
		pid_t pid = fork();

		if (pid < 0)
			return -1;
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
	}
	return 0;
}

static int make_mounts(int n, const char *folder)
{
	char at[64];

	mkdir("/tmp/mounts", 0700);
	while (n-- > 0) {
		snprintf(at, sizeof(at), "/tmp/mounts/%d", n);
		if (mkdir(at, 0700) || mount("crowd", at, "tmpfs", 0, NULL))
			return -1;
	}
	return 0;
}

static int make_descriptors(int n, const char *folder)
{
	struct rlimit most = { n + 1024, n + 1024 };

	if (setrlimit(RLIMIT_NOFILE, &most))
		return -1;
	while (n-- > 0)
		if (open("/dev/null", O_RDONLY) < 0)
			return -1;
	return 0;
}

/* Every other page of a mapping gets other rights, so that neighbours do not become one. */
static int make_vmas(int n, const char *folder)
{
	char *p = mmap(NULL, (size_t)n * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	for (int i = 0; i < n; i += 2)
		if (mprotect(p + (size_t)i * 4096, 4096, PROT_READ | PROT_WRITE))
			return -1;
	return 0;
}

static int make_entries(int n, const char *folder)
{
	char at[80];

	mkdir(folder, 0700);
	while (n-- > 0) {
		int fd;

		snprintf(at, sizeof(at), "%s/entry-%06d", folder, n);
		fd = open(at, O_CREAT | O_WRONLY, 0600);
		if (fd < 0 || close(fd))
			return -1;
	}
	return 0;
}

static const struct {
	const char *name;
	int (*make)(int n, const char *folder);
} kinds[] = {
	{ "tasks=", make_tasks }, { "mounts=", make_mounts },   { "descriptors=", make_descriptors },
	{ "vmas=", make_vmas },   { "entries=", make_entries },
};

int crowd(const char *spec, const char *folder)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strncmp(spec, kinds[i].name, strlen(kinds[i].name)))
			return kinds[i].make(atoi(spec + strlen(kinds[i].name)), folder);
	errno = EINVAL;
	return -1;
}
