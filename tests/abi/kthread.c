/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Kernel threads as programs see them: folders in /proc, numbers that calls accept, and what cannot be done to
 * them.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define KTHREADD   2
#define PF_KTHREAD 0x200000u

/* Bytes of /proc/NR/NAME, or -1. */
static ssize_t slurp(int nr, const char *name, char *to, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", nr, name);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	n = read(fd, to, size - 1);
	close(fd);
	if (n >= 0)
		to[n] = 0;
	return n;
}

struct stat_line {
	char state;
	int parent, pgrp, session;
	unsigned flags;
};

static int read_stat(int nr, struct stat_line *s)
{
	char text[512], *at;

	if (slurp(nr, "stat", text, sizeof(text)) <= 0)
		return -1;
	at = strrchr(text, ')');
	return at && sscanf(at + 1, " %c %d %d %d %*d %*d %u", &s->state, &s->parent, &s->pgrp, &s->session,
			    &s->flags) == 5
		       ? 0
		       : -1;
}

CASE(the_first_is_kthreadd)
{
	char text[512], link[64];
	struct stat_line s;

	want(slurp(KTHREADD, "comm", text, sizeof(text)) > 0 && !strcmp(text, "kthreadd\n"));
	want_eq(slurp(KTHREADD, "cmdline", text, sizeof(text)), 0);
	want_eq(slurp(KTHREADD, "maps", text, sizeof(text)), 0);
	want_errno(readlink("/proc/2/exe", link, sizeof(link)), ENOENT);
	want_eq(read_stat(KTHREADD, &s), 0);
	want(s.parent == 0 && s.pgrp == 0 && s.session == 0 && (s.flags & PF_KTHREAD));
	want(slurp(KTHREADD, "status", text, sizeof(text)) > 0);
	want(strstr(text, "Name:\tkthreadd\n") && strstr(text, "\nTgid:\t2\n") && strstr(text, "\nPid:\t2\n"));
	want(!strstr(text, "VmSize"));
}

/* Entries of a folder that are numbers; *sum is theirs. */
static int numbers(const char *path, long *sum)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	want(d);
	for (*sum = 0; (e = readdir(d));)
		if (atoi(e->d_name) > 0) {
			*sum += atoi(e->d_name);
			n++;
		}
	closedir(d);
	return n;
}

CASE(others_are_its_children)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int seen = 0;

	want(d);
	while ((e = readdir(d))) {
		struct stat_line s;
		char text[64];
		long sum;
		int nr = atoi(e->d_name);

		if (nr <= 0 || read_stat(nr, &s) || !(s.flags & PF_KTHREAD) || nr == KTHREADD)
			continue;
		want_eq(s.parent, KTHREADD);
		want(strchr("ISRD", s.state));
		want_eq(slurp(nr, "cmdline", text, sizeof(text)), 0);
		snprintf(text, sizeof(text), "/proc/%d/task", nr);
		want(numbers(text, &sum) == 1 && sum == nr);
		seen++;
	}
	closedir(d);
	want(seen >= 2);
}

CASE(they_take_no_signals)
{
	struct stat_line s;

	want_eq(kill(KTHREADD, 0), 0);
	want_eq(kill(KTHREADD, SIGKILL), 0);
	want_eq(syscall(SYS_tgkill, KTHREADD, KTHREADD, SIGTERM), 0);
	want_eq(syscall(SYS_tkill, KTHREADD, SIGSTOP), 0);
	want_errno(syscall(SYS_tgkill, 1, KTHREADD, 0), ESRCH);
	want_eq(read_stat(KTHREADD, &s), 0);
	want(strchr("IS", s.state));
}

CASE(calls_that_take_a_number)
{
	char word[8];
	struct iovec here = { word, 8 }, there = { word, 8 };
	cpu_set_t cpus;

	want_eq(getpgid(KTHREADD), 0);
	want_eq(getsid(KTHREADD), 0);
	want_errno(setpgid(KTHREADD, 0), ESRCH);
	want_eq(syscall(SYS_sched_getscheduler, KTHREADD), SCHED_OTHER);
	want_eq(sched_getaffinity(KTHREADD, sizeof(cpus), &cpus), 0);
	errno = 0;
	want(getpriority(PRIO_PROCESS, KTHREADD) == 0 && !errno);
	want_errno(ptrace(PTRACE_ATTACH, KTHREADD, 0, 0), EPERM);
	want_errno(ptrace(PTRACE_SEIZE, KTHREADD, 0, 0), EPERM);
	want_errno(syscall(SYS_process_vm_readv, KTHREADD, &here, 1, &there, 1, 0), ESRCH);
	want_errno(waitpid(KTHREADD, NULL, 0), ECHILD);
}

CASE(perf_counts_one)
{
	struct perf_event_attr a = { .type = PERF_TYPE_SOFTWARE,
				     .size = sizeof(a),
				     .config = PERF_COUNT_SW_CONTEXT_SWITCHES };
	long fd = syscall(SYS_perf_event_open, &a, KTHREADD, -1, -1, 0);
	unsigned long long n;

	want(fd >= 0);
	want_eq(read((int)fd, &n, sizeof(n)), sizeof(n));
	close((int)fd);
}

CASE(users_may_look_and_not_touch)
{
	pid_t child = fork();
	int st;

	if (!child) {
		char text[64];

		want(!setuid(1000));
		want_errno(kill(KTHREADD, 0), EPERM);
		want_eq(slurp(KTHREADD, "comm", text, sizeof(text)), 9);
		want_errno(readlink("/proc/2/exe", text, sizeof(text)), EACCES);
		want_errno(setpriority(PRIO_PROCESS, KTHREADD, 5), EPERM);
		_exit(0);
	}
	want_eq(waitpid(child, &st, 0), child);
	want_eq(st, 0);
}

int main(void)
{
	RUN(the_first_is_kthreadd);
	RUN(others_are_its_children);
	RUN(they_take_no_signals);
	RUN(calls_that_take_a_number);
	RUN(perf_counts_one);
	RUN(users_may_look_and_not_touch);
	return abi_status();
}
