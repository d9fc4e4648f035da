/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Signals of files: SIGIO and signals of one's choice from pipes, sockets and pseudo-terminals, their owners, and
 * dnotify. All are taken with sigtimedwait, so nothing depends on how long something takes.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

#define RT (SIGRTMIN + 2)

static siginfo_t got;

static void block_all(void)
{
	sigset_t all;

	sigemptyset(&all);
	sigaddset(&all, SIGIO);
	sigaddset(&all, RT);
	want_eq(sigprocmask(SIG_BLOCK, &all, NULL), 0);
}

/* The next signal of ours, or -1: none came in time. */
static int take(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigaddset(&set, RT);
	memset(&got, 0, sizeof(got));
	return sigtimedwait(&set, &got, &t);
}

/* Closing ends may have told something, too. */
static void drain(void)
{
	while (take(50) > 0)
		;
}

static void arm(int fd, int sig)
{
	want_eq(fcntl(fd, F_SETOWN, getpid()), 0);
	want_eq(fcntl(fd, F_SETSIG, sig), 0);
	want_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_ASYNC), 0);
}

CASE(pipe_sigio)
{
	int p[2];

	drain();
	want_eq(pipe(p), 0);
	arm(p[0], 0);
	want(fcntl(p[0], F_GETFL) & O_ASYNC);
	want_eq(write(p[1], "x", 1), 1);
	want_eq(take(5000), SIGIO);
	want_eq(got.si_code, SI_KERNEL);
	want_eq(fcntl(p[0], F_SETFL, 0), 0);
	want_eq(write(p[1], "x", 1), 1);
	want_eq(take(50), -1);
	close(p[0]);
	close(p[1]);
}

CASE(pipe_signal_with_details)
{
	int p[2];

	drain();
	want_eq(pipe(p), 0);
	arm(p[0], RT);
	want_eq(fcntl(p[0], F_GETSIG), RT);
	want_eq(write(p[1], "x", 1), 1);
	want_eq(take(5000), RT);
	want_eq(got.si_code, POLL_IN);
	want_eq(got.si_fd, p[0]);
	want_eq(got.si_band, 0x41); /* POLLIN | POLLRDNORM */
	close(p[1]);
	close(p[0]);
}

CASE(socket_signal)
{
	int s[2], on = 1, who = getpid(), out = 0;

	drain();
	want_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	want_eq(ioctl(s[1], FIOSETOWN, &who), 0);
	want_eq(ioctl(s[1], FIOGETOWN, &out), 0);
	want_eq(out, who);
	want_eq(fcntl(s[1], F_SETSIG, RT), 0);
	want_eq(ioctl(s[1], FIOASYNC, &on), 0);
	want(fcntl(s[1], F_GETFL) & O_ASYNC);
	want_eq(write(s[0], "x", 1), 1);
	want_eq(take(5000), RT);
	want_eq(got.si_code, POLL_IN);
	want_eq(got.si_fd, s[1]);
	close(s[0]);
	close(s[1]);
}

CASE(terminal_signal)
{
	int m = posix_openpt(O_RDWR | O_NOCTTY), t;

	drain();
	want(m >= 0 && !grantpt(m) && !unlockpt(m));
	t = open(ptsname(m), O_RDWR | O_NOCTTY);
	want(t >= 0);
	arm(t, RT);
	want_eq(write(m, "line\n", 5), 5);
	want_eq(take(5000), RT);
	want_eq(got.si_fd, t);
	close(t);
	close(m);
}

CASE(owners)
{
	struct f_owner_ex o = { .type = F_OWNER_TID, .pid = getpid() };
	int p[2];

	want_eq(pipe(p), 0);
	want_eq(fcntl(p[0], F_GETOWN), 0);
	want_errno(fcntl(p[0], F_SETOWN, 0x3ffffff), ESRCH);
	want_errno(fcntl(p[0], F_SETOWN, INT_MIN), EINVAL);
	want_errno(fcntl(p[0], F_SETSIG, 65), EINVAL);
	want_eq(fcntl(p[0], F_SETOWN, -getpgrp()), 0);
	want_eq(fcntl(p[0], F_GETOWN_EX, &o), 0);
	want_eq(o.type, F_OWNER_PGRP);
	want_eq(o.pid, getpgrp());
	o = (struct f_owner_ex){ .type = F_OWNER_TID, .pid = getpid() };
	want_eq(fcntl(p[0], F_SETOWN_EX, &o), 0);
	want_eq(fcntl(p[0], F_GETOWN), getpid());
	o.type = 3;
	want_errno(fcntl(p[0], F_SETOWN_EX, &o), EINVAL);
	want_eq(fcntl(p[0], F_SETOWN, 0), 0);
	want_eq(fcntl(p[0], F_GETOWN), 0);
	close(p[0]);
	close(p[1]);
}

/* The owner has gone: nobody gets its signals, and F_GETOWN does not name it. */
CASE(owner_gone)
{
	int p[2], child, status;

	drain();
	want_eq(pipe(p), 0);
	child = fork();
	if (!child)
		_exit(fcntl(p[0], F_SETOWN, getpid()) || fcntl(p[0], F_SETFL, O_ASYNC));
	want(child > 0);
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
	want_eq(fcntl(p[0], F_GETOWN), 0);
	want_eq(write(p[1], "x", 1), 1);
	want_eq(take(50), -1);
	close(p[0]);
	close(p[1]);
}

CASE(dnotify)
{
	char dir[] = "/tmp/dnotify.XXXXXX", name[64];
	int d, f;

	drain();
	want(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/f", dir);
	d = open(dir, O_RDONLY | O_DIRECTORY);
	want(d >= 0);
	want_eq(fcntl(d, F_SETSIG, RT), 0);
	want_eq(fcntl(d, F_NOTIFY, DN_CREATE | DN_DELETE | DN_MULTISHOT), 0);
	f = open(name, O_CREAT | O_RDWR, 0600);
	want(f >= 0);
	want_eq(take(5000), RT);
	want_eq(got.si_fd, d);
	want_eq(got.si_code, POLL_MSG);
	want_eq(write(f, "x", 1), 1); /* not asked for */
	want_eq(take(50), -1);
	want_eq(unlink(name), 0);
	want_eq(take(5000), RT);
	want_eq(fcntl(d, F_NOTIFY, 0), 0);
	close(f);
	f = open(name, O_CREAT | O_RDWR, 0600);
	want_eq(take(50), -1);
	want_eq(fcntl(d, F_NOTIFY, DN_MODIFY), 0); /* once */
	want_eq(write(f, "x", 1), 1);
	want_eq(take(5000), RT);
	want_eq(write(f, "x", 1), 1);
	want_eq(take(50), -1);
	want_errno(fcntl(f, F_NOTIFY, DN_MODIFY), ENOTDIR);
	want_eq(fcntl(d, F_NOTIFY, DN_MODIFY | DN_MULTISHOT), 0);
	close(d); /* a folder that is closed tells nothing any more */
	want_eq(write(f, "x", 1), 1);
	want_eq(take(50), -1);
	close(f);
	unlink(name);
	rmdir(dir);
}

CASE(dnotify_of_renaming_and_rights)
{
	char dir[] = "/tmp/dnotify.XXXXXX", a[64], b[64], out[64];
	int d;

	drain();
	want(mkdtemp(dir));
	snprintf(a, sizeof(a), "%s/a", dir);
	snprintf(b, sizeof(b), "%s/b", dir);
	snprintf(out, sizeof(out), "%s.out", dir);
	d = open(dir, O_RDONLY | O_DIRECTORY);
	want(d >= 0);
	close(open(a, O_CREAT | O_RDWR, 0600));
	want_eq(fcntl(d, F_SETSIG, RT), 0);
	want_eq(fcntl(d, F_NOTIFY, DN_RENAME | DN_MULTISHOT), 0);
	want_eq(rename(a, b), 0);
	want_eq(take(5000), RT);
	want_eq(take(50), -1);
	want_eq(rename(b, out), 0); /* leaves, and comes back: no renaming */
	want_eq(rename(out, b), 0);
	want_eq(take(50), -1);
	want_eq(fcntl(d, F_NOTIFY, 0), 0);
	want_eq(fcntl(d, F_NOTIFY, DN_ATTRIB | DN_MULTISHOT), 0);
	want_eq(chmod(b, 0644), 0);
	want_eq(take(5000), RT);
	want_eq(chmod(dir, 0755), 0); /* its own, too */
	want_eq(take(5000), RT);
	close(d);
	unlink(b);
	rmdir(dir);
}

int main(void)
{
	setpgid(0, 0);
	block_all();
	RUN(pipe_sigio);
	RUN(pipe_signal_with_details);
	RUN(socket_signal);
	RUN(terminal_signal);
	RUN(owners);
	RUN(owner_gone);
	RUN(dnotify);
	RUN(dnotify_of_renaming_and_rights);
	return abi_status();
}
