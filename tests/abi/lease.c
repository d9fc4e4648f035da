/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: leases on files (fcntl(2)): who may have one, what excludes it, who is told when somebody else comes, how long
 * that one waits, and what is left afterwards. Needs root, for lease-break-time and to become another user.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

#define NAME "/tmp/leased"

static int held(int flags, int type)
{
	int fd = open(NAME, flags | O_CREAT, 0600);

	want(fd >= 0);
	want_eq(fcntl(fd, F_SETLEASE, type), 0);
	want_eq(fcntl(fd, F_GETLEASE), type);
	return fd;
}

static void seconds(const char *n)
{
	int fd = open("/proc/sys/fs/lease-break-time", O_WRONLY);

	want(fd >= 0);
	want_eq(write(fd, n, strlen(n)), (long)strlen(n));
	close(fd);
}

/* A child that opens the file (or cuts it: flags -1) and ends with the errno. */
static pid_t other(int flags)
{
	pid_t child = fork();

	if (!child)
		_exit(flags < 0 ? (truncate(NAME, 0) ? errno : 0) : open(NAME, flags) < 0 ? errno : 0);
	return child;
}

static int end_of(pid_t child)
{
	int status;

	want_eq(waitpid(child, &status, 0), child);
	want(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int still_waits(pid_t child)
{
	poll(NULL, 0, 50);
	return waitpid(child, NULL, WNOHANG) == 0;
}

static void hear(int sig)
{
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, sig);
	want_eq(sigprocmask(SIG_BLOCK, &s, NULL), 0);
}

/* The descriptor that the signal tells of; -1: none came within 5 s. */
static int told(int sig)
{
	struct timespec most = { 5, 0 };
	siginfo_t info;
	sigset_t s;

	sigemptyset(&s);
	sigaddset(&s, sig);
	if (sigtimedwait(&s, &info, &most) != sig)
		return -1;
	return sig == SIGIO ? 0 : info.si_fd;
}

CASE(who_may_have_one)
{
	int fd = held(O_RDONLY, F_RDLCK), w, p[2];

	want_eq(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	want_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
	want_errno(fcntl(fd, F_SETLEASE, F_UNLCK), EAGAIN);
	want_errno(fcntl(fd, F_SETLEASE, 7), EINVAL);
	w = open(NAME, O_WRONLY);
	want_errno(fcntl(fd, F_SETLEASE, F_RDLCK), EAGAIN);
	want_errno(fcntl(w, F_SETLEASE, F_WRLCK), EAGAIN);
	close(w);
	want_eq(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
	want_eq(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
	close(fd);
	w = open(NAME, O_RDWR);
	want_errno(fcntl(w, F_SETLEASE, F_RDLCK), EAGAIN);
	want_eq(fcntl(w, F_SETLEASE, F_WRLCK), 0);
	close(w);
	want_eq(pipe(p), 0);
	want_errno(fcntl(p[0], F_SETLEASE, F_RDLCK), EINVAL);
	want_errno(fcntl(open("/tmp", O_RDONLY), F_SETLEASE, F_RDLCK), EINVAL);
}

CASE(readers_share)
{
	int a = held(O_RDONLY, F_RDLCK), b = held(O_RDONLY, F_RDLCK);

	want_errno(fcntl(a, F_SETLEASE, F_WRLCK), EAGAIN);
	want_eq(end_of(other(O_RDONLY)), 0);
	want_eq(end_of(other(O_RDWR | O_NONBLOCK)), EWOULDBLOCK);
	want_eq(fcntl(a, F_GETLEASE), F_UNLCK); /* being broken */
	want_eq(fcntl(b, F_GETLEASE), F_UNLCK);
	want_eq(told(SIGIO), 0);
	close(a);
	close(b);
	want_eq(end_of(other(O_RDWR)), 0);
}

CASE(a_writer_waits_for_the_reader)
{
	int fd = held(O_RDONLY, F_RDLCK);
	pid_t child;

	want_eq(fcntl(fd, F_SETSIG, SIGUSR1), 0);
	child = other(O_WRONLY);
	want_eq(told(SIGUSR1), fd);
	want(still_waits(child));
	want_eq(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	want_eq(end_of(child), 0);
	close(fd);
}

CASE(a_reader_is_content_with_less)
{
	int fd = held(O_RDWR, F_WRLCK);
	pid_t child = other(O_RDONLY);

	want_eq(told(SIGIO), 0);
	want(still_waits(child));
	want_eq(fcntl(fd, F_GETLEASE), F_RDLCK);
	want_eq(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
	want_eq(end_of(child), 0);
	close(fd);
	fd = held(O_RDONLY, F_WRLCK);
	child = other(O_RDONLY);
	want_eq(told(SIGIO), 0);
	want_eq(fcntl(fd, F_SETLEASE, F_RDLCK), 0);
	want_eq(end_of(child), 0);
	want_eq(fcntl(fd, F_GETLEASE), F_RDLCK);
	close(fd);
}

CASE(closing_gives_way)
{
	int fd = held(O_RDONLY, F_RDLCK);
	pid_t child = other(-1);

	want_eq(told(SIGIO), 0);
	want(still_waits(child));
	close(fd);
	want_eq(end_of(child), 0);
}

CASE(time_ends_it)
{
	int fd;

	seconds("1");
	fd = held(O_RDONLY, F_WRLCK);
	want_eq(end_of(other(O_RDONLY)), 0);
	want_eq(fcntl(fd, F_GETLEASE), F_RDLCK);
	want_eq(told(SIGIO), 0);
	want_eq(end_of(other(O_WRONLY)), 0);
	want_eq(fcntl(fd, F_GETLEASE), F_UNLCK);
	want_eq(told(SIGIO), 0);
	want_errno(fcntl(fd, F_SETLEASE, F_UNLCK), EAGAIN);
	seconds("45");
	close(fd);
}

CASE(others_need_a_capability)
{
	int fd = open(NAME, O_RDONLY), status;
	pid_t child = fork();

	if (!child) {
		want_eq(setuid(1000), 0);
		want_errno(fcntl(fd, F_SETLEASE, F_RDLCK), EACCES);
		_exit(0);
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
	close(fd);
}

int main(void)
{
	hear(SIGIO);
	hear(SIGUSR1);
	RUN(who_may_have_one);
	RUN(readers_share);
	RUN(a_writer_waits_for_the_reader);
	RUN(a_reader_is_content_with_less);
	RUN(closing_gives_way);
	RUN(time_ends_it);
	RUN(others_need_a_capability);
	unlink(NAME);
	return abi_status();
}
