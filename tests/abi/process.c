/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Processes: fork, vfork, clone, exec, exit and wait, groups and sessions, orphans, pidfds.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	while (nanosleep(&ts, &ts) && errno == EINTR)
		;
}

CASE(statuses)
{
	int st;
	pid_t p = fork();

	if (!p)
		_exit(300);
	want_eq(waitpid(p, &st, 0), p);
	want(WIFEXITED(st) && WEXITSTATUS(st) == (300 & 255));
	p = fork();
	if (!p) {
		pause();
		_exit(0);
	}
	kill(p, SIGTERM);
	want_eq(waitpid(p, &st, 0), p);
	want(WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
	want_errno(waitpid(p, &st, 0), ECHILD);
	want_errno(waitpid(-1, &st, 0), ECHILD);
	want_errno(wait4(-1, &st, 0x8000000, NULL), EINVAL);
}

CASE(nohang_and_waitid)
{
	siginfo_t si = { 0 };
	pid_t p = fork();

	if (!p) {
		pause();
		_exit(0);
	}
	want_eq(waitpid(p, NULL, WNOHANG), 0);
	si.si_pid = 5;
	want_eq(waitid(P_PID, p, &si, WEXITED | WNOHANG), 0);
	want_eq(si.si_pid, 0);
	kill(p, SIGKILL);
	want_eq(waitid(P_PID, p, &si, WEXITED | WNOWAIT), 0);
	want_eq(si.si_pid, p);
	want_eq(si.si_code, CLD_KILLED);
	want_eq(si.si_status, SIGKILL);
	want_eq(si.si_signo, SIGCHLD);
	want_eq(waitid(P_ALL, 0, &si, WEXITED), 0);
	want_errno(waitid(P_ALL, 0, &si, WEXITED), ECHILD);
	want_errno(waitid(P_ALL, 0, &si, 0), EINVAL);
}

CASE(stop_and_continue)
{
	int st;
	pid_t p = fork();

	if (!p) {
		for (;;)
			pause();
	}
	kill(p, SIGSTOP);
	want_eq(waitpid(p, &st, WUNTRACED), p);
	want(WIFSTOPPED(st) && WSTOPSIG(st) == SIGSTOP);
	want_eq(waitpid(p, &st, WUNTRACED | WNOHANG), 0);
	kill(p, SIGCONT);
	want_eq(waitpid(p, &st, WCONTINUED), p);
	want(WIFCONTINUED(st));
	kill(p, SIGSTOP);
	want_eq(waitpid(p, &st, WUNTRACED), p);
	kill(p, SIGKILL); /* kills also what is stopped */
	want_eq(waitpid(p, &st, 0), p);
	want(WIFSIGNALED(st) && WTERMSIG(st) == SIGKILL);
}

CASE(vfork_shares)
{
	static volatile int seen;
	pid_t p = vfork();
	int st;

	if (!p) {
		seen = 7;
		_exit(3);
	}
	want_eq(seen, 7);
	want_eq(waitpid(p, &st, 0), p);
	want_eq(WEXITSTATUS(st), 3);
}

CASE(groups_and_sessions)
{
	pid_t p = fork();
	int st;

	if (!p) {
		if (setsid() != getpid() || getpgrp() != getpid() || getsid(0) != getpid())
			_exit(1);
		if (setsid() != -1 || errno != EPERM || setpgid(0, 0) != -1 || errno != EPERM)
			_exit(2);
		_exit(0);
	}
	want_eq(waitpid(p, &st, 0), p);
	want_eq(WEXITSTATUS(st), 0);
	p = fork();
	if (!p) {
		pause();
		_exit(0);
	}
	want_eq(setpgid(p, p), 0);
	want_eq(getpgid(p), p);
	want_eq(waitpid(-getpgrp(), &st, WNOHANG), -1);
	want_eq(kill(-p, SIGTERM), 0);
	want_eq(waitpid(-p, &st, 0), p);
	want_errno(setpgid(p, p), ESRCH);
	want_errno(kill(-p, 0), ESRCH);
	want_errno(setpgid(0, 12345678), EPERM);
	want_errno(getsid(12345678), ESRCH);
}

CASE(orphans_go_to_the_subreaper)
{
	pid_t p, grandchild;
	int st;

	want_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	p = fork();
	if (!p) {
		if (!fork()) {
			nap(50);
			_exit(getppid() == 1 ? 9 : 4);
		}
		_exit(0);
	}
	want_eq(waitpid(p, &st, 0), p);
	grandchild = waitpid(-1, &st, 0);
	want(grandchild > 0 && grandchild != p);
	want_eq(WEXITSTATUS(st), 4);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

CASE(ignored_children_vanish)
{
	pid_t p;

	signal(SIGCHLD, SIG_IGN);
	p = fork();
	if (!p)
		_exit(1);
	want_errno(waitpid(p, NULL, 0), ECHILD);
	signal(SIGCHLD, SIG_DFL);
}

static volatile int chld_pid, chld_status, chld_code;

static void on_chld(int sig, siginfo_t *si, void *uc)
{
	chld_pid = si->si_pid;
	chld_status = si->si_status;
	chld_code = si->si_code;
}

CASE(sigchld_info)
{
	struct sigaction sa = { .sa_sigaction = on_chld, .sa_flags = SA_SIGINFO };
	sigset_t set, old;
	pid_t p;

	sigaction(SIGCHLD, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, &old);
	p = fork();
	if (!p)
		_exit(5);
	sigsuspend(&old);
	sigprocmask(SIG_SETMASK, &old, NULL);
	want_eq(chld_pid, p);
	want_eq(chld_status, 5);
	want_eq(chld_code, CLD_EXITED);
	waitpid(p, NULL, 0);
	signal(SIGCHLD, SIG_DFL);
}

CASE(clone3_pidfd)
{
	struct clone_args a = { .flags = CLONE_PIDFD, .exit_signal = SIGCHLD };
	int fd = -1, st;
	siginfo_t si = { 0 };
	long p;

	a.pidfd = (unsigned long)&fd;
	p = syscall(SYS_clone3, &a, sizeof(a));
	want(p >= 0);
	if (!p) {
		pause();
		_exit(0);
	}
	want(fd >= 0);
	want_eq(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), 0);
	want_eq(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0), 0);
	want_eq(waitid(P_PIDFD, fd, &si, WEXITED), 0);
	want_eq(si.si_pid, p);
	want_errno(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0), ESRCH);
	close(fd);
	p = fork();
	if (!p)
		_exit(0);
	fd = syscall(SYS_pidfd_open, p, 0);
	want(fd >= 0);
	want_eq(waitpid(p, &st, 0), p);
	close(fd);
	want_errno(syscall(SYS_pidfd_open, p, 0), ESRCH);
	want_errno(syscall(SYS_pidfd_open, 0, 0), EINVAL);
}

CASE(clone_checks)
{
	want_errno(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0), EINVAL);
	want_errno(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0), EINVAL);
	want_errno(syscall(SYS_clone3, NULL, 10), EINVAL);
}

CASE(exec_missing)
{
	char *argv[] = { "x", NULL };

	want_errno(execve("/no/such/program", argv, NULL), ENOENT);
	want_errno(execve("/", argv, NULL), EACCES);
	want_errno(syscall(SYS_execve, 1L, argv, NULL), EFAULT);
}

CASE(usage_of_children)
{
	struct rusage before, after;
	pid_t p;

	getrusage(RUSAGE_CHILDREN, &before);
	p = fork();
	if (!p) {
		volatile unsigned long n = 0;
		char *m = malloc(3 << 20);

		memset(m, 1, 3 << 20);
		while (n < 30000000)
			n++;
		_exit(0);
	}
	waitpid(p, NULL, 0);
	getrusage(RUSAGE_CHILDREN, &after);
	want((after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
		     before.ru_utime.tv_usec >
	     0);
	want(after.ru_minflt > before.ru_minflt);
	want_errno(getrusage(77, &after), EINVAL);
}

CASE(names)
{
	char name[16];

	want_eq(prctl(PR_SET_NAME, "a-name-that-is-too-long"), 0);
	want_eq(prctl(PR_GET_NAME, name), 0);
	want(!strcmp(name, "a-name-that-is-"));
	want_errno(prctl(123456, 0, 0, 0, 0), EINVAL);
}

CASE(death_signal)
{
	int *seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t p = fork();
	int st;

	if (!p) {
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			seen[0] = 1;
			nap(2000);
			seen[1] = 1;
			_exit(0);
		}
		while (!*(volatile int *)seen)
			nap(5);
		_exit(0);
	}
	waitpid(p, &st, 0);
	nap(50);
	want_eq(seen[1], 0);
	munmap(seen, 4096);
}

int main(void)
{
	RUN(statuses);
	RUN(nohang_and_waitid);
	RUN(stop_and_continue);
	RUN(vfork_shares);
	RUN(groups_and_sessions);
	RUN(orphans_go_to_the_subreaper);
	RUN(ignored_children_vanish);
	RUN(sigchld_info);
	RUN(clone3_pidfd);
	RUN(clone_checks);
	RUN(exec_missing);
	RUN(usage_of_children);
	RUN(names);
	RUN(death_signal);
	return abi_status();
}
