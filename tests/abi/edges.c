/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: rules that the Linux Test Project asks for and that belong to no larger subject: a running program cannot be
 * written, record locks and their deadlocks, locked memory, the clock's state, inotify's order, polls of the mounts.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

static int child_status(pid_t pid)
{
	int status;

	want(waitpid(pid, &status, 0) == pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void copy(const char *from, const char *to)
{
	char buf[65536];
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	ssize_t n;

	want(in >= 0 && out >= 0);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		want(write(out, buf, n) == n);
	close(in);
	close(out);
}

CASE(a_running_program_is_not_written)
{
	int to[2], from[2], fd;
	char c;
	pid_t pid;

	copy("/proc/self/exe", "/tmp/edges-copy");
	want(!pipe(to) && !pipe(from));
	pid = fork();
	if (!pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[1]);
		execl("/tmp/edges-copy", "edges", "echo", NULL);
		_exit(1);
	}
	want(write(to[1], "x", 1) == 1 && read(from[0], &c, 1) == 1);
	want_errno(open("/tmp/edges-copy", O_WRONLY), ETXTBSY);
	close(to[1]);
	want(child_status(pid) == 0);
	fd = open("/tmp/edges-copy", O_WRONLY);
	want(fd >= 0);
	pid = fork();
	if (!pid) {
		execl("/tmp/edges-copy", "edges", "echo", NULL);
		_exit(errno == ETXTBSY ? 9 : 1);
	}
	want(child_status(pid) == 9);
	close(fd);
	unlink("/tmp/edges-copy");
}

static int lock(int fd, int cmd, int type, int start, int len)
{
	struct flock l = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &l);
}

CASE(record_locks)
{
	int fd = open("/tmp/edges-locks", O_RDWR | O_CREAT, 0600), ready[2];
	struct flock l = { .l_type = F_WRLCK, .l_len = 100 };
	pid_t pid;
	char c;

	want(fd >= 0 && !pipe(ready));
	want(!lock(fd, F_SETLK, F_WRLCK, 20, 10) && !lock(fd, F_SETLK, F_WRLCK, 1, 5));
	want(!lock(fd, F_SETLK, F_RDLCK, 22, 2));
	pid = fork();
	if (!pid) { /* the first one in the file is told of */
		want(!fcntl(fd, F_GETLK, &l));
		_exit(l.l_start == 1 && l.l_len == 5 && l.l_pid == getppid() ? 0 : 1);
	}
	want(child_status(pid) == 0);
	pid = fork();
	if (!pid) {
		want(!lock(fd, F_SETLK, F_WRLCK, 50, 1));
		want(write(ready[1], "x", 1) == 1);
		_exit(lock(fd, F_SETLKW, F_WRLCK, 1, 1) ? errno : 0);
	}
	want(read(ready[0], &c, 1) == 1);
	usleep(50000);
	want_errno(lock(fd, F_SETLKW, F_WRLCK, 50, 1), EDEADLK);
	want(!lock(fd, F_SETLK, F_UNLCK, 0, 0));
	want(child_status(pid) == 0);
	unlink("/tmp/edges-locks");
}

CASE(locked_memory)
{
	struct rlimit none = { 0, 0 };
	char *p = mmap(NULL, 16 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	want(p != MAP_FAILED);
	want(!mlock(p, 12 << 20)); /* more than the limit of 8 MiB: root may */
	want_errno(msync(p, 4096, MS_INVALIDATE), EBUSY);
	want(!munlock(p, 12 << 20));
	pid = fork();
	if (!pid) {
		want(!setrlimit(RLIMIT_MEMLOCK, &none) && !setuid(1000));
		want_errno(mlock(p, 4096), EPERM);
		want_errno(mlockall(MCL_CURRENT), EPERM);
		_exit(0);
	}
	want(child_status(pid) == 0);
	munmap(p, 16 << 20);
}

CASE(the_clock_is_steered)
{
	struct timex t = { .modes = 0 }, saved;
	pid_t pid;

	want(adjtimex(&t) >= 0);
	saved = t;
	t.modes = ADJ_TICK;
	t.tick = 8999;
	want_errno(adjtimex(&t), EINVAL);
	t.modes = ADJ_TICK | ADJ_MAXERROR;
	t.tick = 9999;
	t.maxerror = 777;
	want(adjtimex(&t) >= 0 && t.tick == 9999);
	t = (struct timex){ .modes = 0 };
	want(adjtimex(&t) >= 0 && t.tick == 9999 && t.maxerror == 777);
	saved.modes = ADJ_TICK | ADJ_MAXERROR;
	want(adjtimex(&saved) >= 0);
	want_errno(clock_adjtime(CLOCK_MONOTONIC, &t), EOPNOTSUPP);
	want_errno(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){ 0, 1 }, NULL),
		   EOPNOTSUPP);
	pid = fork();
	if (!pid) {
		want(!setuid(1000));
		t.modes = ADJ_TICK;
		want_errno(adjtimex(&t), EPERM);
		_exit(0);
	}
	want(child_status(pid) == 0);
}

CASE(inotify_tells_in_order)
{
	char buf[4096] __attribute__((aligned(8)));
	struct inotify_event *e = (void *)buf;
	int in = inotify_init1(IN_NONBLOCK), wd;
	unsigned seen[3];
	ssize_t n;

	want(!mkdir("/tmp/edges-dir", 0700));
	close(open("/tmp/edges-dir/f", O_CREAT | O_RDWR, 0600));
	wd = inotify_add_watch(in, "/tmp/edges-dir/f", IN_ALL_EVENTS);
	want(wd > 0 && !unlink("/tmp/edges-dir/f"));
	n = read(in, buf, sizeof(buf));
	want(n == 3 * sizeof(*e));
	for (int i = 0; i < 3; i++)
		seen[i] = e[i].mask;
	want(seen[0] == IN_ATTRIB && seen[1] == IN_DELETE_SELF && seen[2] == IN_IGNORED);
	want(!rmdir("/tmp/edges-dir"));
	close(in);
}

CASE(polls_of_mounts)
{
	int fd = open("/proc/self/mounts", O_RDONLY);
	struct pollfd p = { fd, POLLPRI, 0 };

	want(fd >= 0 && !mkdir("/tmp/edges-mnt", 0700));
	want(poll(&p, 1, 0) == 0);
	want(!mount("none", "/tmp/edges-mnt", "tmpfs", 0, NULL));
	want(poll(&p, 1, 0) == 1 && p.revents == (POLLPRI | POLLERR));
	want(poll(&p, 1, 0) == 0);
	want(!umount("/tmp/edges-mnt"));
	want(poll(&p, 1, 0) == 1);
	rmdir("/tmp/edges-mnt");
	close(fd);
}

CASE(a_pipe_gives_all_it_has)
{
	char *fresh = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	static char full[65536];
	int p[2];

	want(!pipe(p) && write(p[1], full, sizeof(full)) == sizeof(full));
	want(read(p[0], fresh, 65536) == 65536); /* into pages that are not there yet */
	munmap(fresh, 65536);
}

CASE(a_signal_that_is_waited_for)
{
	struct timespec limit = { 5, 0 };
	sigset_t set;
	pid_t pid;

	for (int i = 0; i < 3; i++) { /* deadly, ignored by default, ignored by will */
		int sig = i == 0 ? SIGUSR1 : i == 1 ? SIGURG : SIGUSR2;

		signal(SIGUSR2, SIG_IGN);
		sigemptyset(&set);
		sigaddset(&set, sig);
		sigprocmask(SIG_BLOCK, &set, NULL);
		pid = fork();
		if (!pid) {
			usleep(50000);
			_exit(kill(getppid(), sig) ? 1 : 0);
		}
		want(sigtimedwait(&set, NULL, &limit) == sig);
		want(child_status(pid) == 0);
		sigprocmask(SIG_UNBLOCK, &set, NULL);
	}
}

CASE(what_two_processes_share)
{
	int fd = open("/dev/null", O_RDONLY), same = dup(fd), other = open("/dev/null", O_RDONLY), pidfd, got;
	pid_t me = getpid(), pid = fork();
	long order;

	if (!pid) {
		pause();
		_exit(0);
	}
	want(syscall(SYS_kcmp, me, pid, 0 /* KCMP_FILE */, fd, same) == 0);
	order = syscall(SYS_kcmp, me, pid, 0, fd, other);
	want(order == 1 || order == 2);
	want(syscall(SYS_kcmp, me, pid, 0, other, fd) == 3 - order);
	want(syscall(SYS_kcmp, me, pid, 1 /* KCMP_VM */, 0, 0) > 0);
	want(syscall(SYS_kcmp, me, me, 1, 0, 0) == 0);
	want_errno(syscall(SYS_kcmp, me, pid, 99, 0, 0), EINVAL);
	want_errno(syscall(SYS_kcmp, me, pid, 0, fd, 999), EBADF);
	want_errno(syscall(SYS_kcmp, me, 999999, 0, fd, fd), ESRCH);
	pidfd = syscall(434 /* pidfd_open */, pid, 0);
	want(pidfd >= 0);
	got = syscall(438 /* pidfd_getfd */, pidfd, other, 0);
	want(got >= 0 && syscall(SYS_kcmp, me, pid, 0, got, other) == 0);
	want(fcntl(got, F_GETFD) == FD_CLOEXEC);
	want_errno(syscall(438, pidfd, 999, 0), EBADF);
	want_errno(syscall(438, pidfd, other, 1), EINVAL);
	want(!kill(pid, SIGKILL) && child_status(pid) == 1000 + SIGKILL);
	close(fd), close(same), close(other), close(pidfd), close(got);
}

CASE(a_second_view_of_shared_memory)
{
	char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), *q;

	want(p != MAP_FAILED);
	p[4096] = 'x';
	q = mremap(p + 4096, 0, 4096, MREMAP_MAYMOVE);
	want(q != MAP_FAILED && *q == 'x');
	*q = 'y';
	want(p[4096] == 'y');
	want(!munmap(q, 4096) && p[4096] == 'y' && !munmap(p, 3 * 4096));
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	want_errno((long)mremap(p, 0, 4096, MREMAP_MAYMOVE), EINVAL);
	munmap(p, 4096);
}

int main(int argc, char **argv)
{
	char c;

	if (argc > 1) { /* a_running_program_is_not_written */
		while (read(0, &c, 1) == 1)
			write(1, &c, 1);
		return 0;
	}
	RUN(a_running_program_is_not_written);
	RUN(record_locks);
	RUN(locked_memory);
	RUN(the_clock_is_steered);
	RUN(inotify_tells_in_order);
	RUN(polls_of_mounts);
	RUN(a_pipe_gives_all_it_has);
	RUN(a_signal_that_is_waited_for);
	RUN(what_two_processes_share);
	RUN(a_second_view_of_shared_memory);
	return abi_status();
}
