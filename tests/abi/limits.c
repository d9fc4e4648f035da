/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Limits that bind a user or a process (RLIMIT_NPROC, RLIMIT_CPU, pages of pipes), and capabilities of files.
 * Needs root; children become users that nobody else uses.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include "abi.h"

#define USER 54321

static int status_of(pid_t child)
{
	int status;

	want_eq(waitpid(child, &status, 0), child);
	return status;
}

static void limit(int which, rlim_t soft, rlim_t hard)
{
	struct rlimit l = { soft, hard };

	want_eq(setrlimit(which, &l), 0);
}

/* Forks until it is refused; how many there were. They wait until we end. */
static int fork_all(int most)
{
	int p[2], n = 0;

	want_eq(pipe(p), 0);
	for (; n < most; n++) {
		pid_t child = fork();
		char c;

		if (child < 0)
			break;
		if (!child) {
			close(p[1]);
			_exit(read(p[0], &c, 1));
		}
	}
	return n;
}

static void as_user(int uid)
{
	want_eq(setgid(uid), 0);
	want_eq(setuid(uid), 0);
}

CASE(nproc)
{
	pid_t child = fork();

	if (!child) {
		limit(RLIMIT_NPROC, 4, 4);
		as_user(USER);
		want_eq(fork_all(100), 3); /* and itself */
		want_eq(errno, EAGAIN);
		_exit(0);
	}
	want_eq(status_of(child), 0);
	child = fork(); /* root is not bound */
	if (!child) {
		limit(RLIMIT_NPROC, 1, 1);
		_exit(fork_all(5) != 5);
	}
	want_eq(status_of(child), 0);
}

/* setuid does not fail for a user with too many processes; exec then does. */
CASE(nproc_exec)
{
	char *const argv[] = { "limits", "nothing", NULL };
	pid_t child = fork();

	if (!child) {
		int p[2];
		char c;
		pid_t holder;

		want_eq(pipe(p), 0);
		holder = fork();
		if (!holder) {
			as_user(USER + 1);
			want_eq(fork_all(3), 3);
			want_eq(write(p[1], "x", 1), 1);
			pause();
		}
		want_eq(read(p[0], &c, 1), 1);
		limit(RLIMIT_NPROC, 2, 2);
		as_user(USER + 1);
		execv("/proc/self/exe", argv);
		want_eq(errno, EAGAIN);
		kill(holder, SIGKILL);
		_exit(0);
	}
	want_eq(status_of(child), 0);
}

static volatile int xcpu;

static void on_xcpu(int sig)
{
	xcpu++;
}

CASE(cpu_soft)
{
	pid_t child = fork();

	if (!child) {
		struct rlimit l;

		signal(SIGXCPU, on_xcpu);
		limit(RLIMIT_CPU, 1, 100);
		while (!xcpu)
			;
		want_eq(getrlimit(RLIMIT_CPU, &l), 0);
		want_eq(l.rlim_cur, 2); /* the next second is told, too */
		_exit(0);
	}
	want_eq(status_of(child), 0);
	child = fork();
	if (!child) {
		limit(RLIMIT_CORE, 0, 0);
		limit(RLIMIT_CPU, 1, 100);
		for (;;)
			;
	}
	want_eq(status_of(child) & 0x7f, SIGXCPU);
}

CASE(cpu_hard)
{
	pid_t child = fork();
	int status;

	if (!child) {
		signal(SIGXCPU, SIG_IGN);
		limit(RLIMIT_CPU, 1, 1);
		if (!fork()) /* its time begins anew, its limit is the same */
			for (;;)
				;
		wait(&status);
		_exit(status != SIGKILL);
	}
	want_eq(status_of(child), 0);
}

/* ---- capabilities of files ----------------------------------------------------------------------------------- */

struct caps {
	uint64_t effective, permitted, inheritable;
};

static struct caps caps_now(void)
{
	struct __user_cap_header_struct h = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct d[2];

	want_eq(syscall(SYS_capget, &h, d), 0);
	return (struct caps){ d[0].effective | (uint64_t)d[1].effective << 32,
			      d[0].permitted | (uint64_t)d[1].permitted << 32,
			      d[0].inheritable | (uint64_t)d[1].inheritable << 32 };
}

static char program[] = "/tmp/limits-with-caps";

static void copy_self(void)
{
	int from = open("/proc/self/exe", O_RDONLY), to;
	char buf[4096];
	ssize_t n;

	unlink(program);
	to = open(program, O_WRONLY | O_CREAT | O_EXCL, 0755);
	want(from >= 0 && to >= 0);
	while ((n = read(from, buf, sizeof(buf))) > 0)
		want_eq(write(to, buf, n), n);
	close(from);
	close(to);
}

static int give(uint32_t permitted, int effective)
{
	struct vfs_cap_data d = { .magic_etc = VFS_CAP_REVISION_2 | (effective ? VFS_CAP_FLAGS_EFFECTIVE : 0) };

	d.data[0].permitted = permitted;
	return setxattr(program, "security.capability", &d, XATTR_CAPS_SZ_2, 0);
}

/* The program, as a user: it ends with 10 + bit 0: effective, 1: permitted has CAP_NET_RAW, 2: AT_SECURE. */
static int run_as_user(void)
{
	pid_t child = fork();

	if (!child) {
		char *const argv[] = { program, "caps", NULL };

		as_user(USER);
		execv(program, argv);
		_exit(errno == EPERM ? 1 : 2);
	}
	return WEXITSTATUS(status_of(child));
}

CASE(file_caps)
{
	const uint32_t raw = 1 << CAP_NET_RAW;
	int fd, child;

	copy_self();
	want_eq(run_as_user(), 10);
	want_eq(give(raw, 1), 0);
	want_eq(run_as_user(), 17);
	want_eq(give(raw, 0), 0);
	want_eq(run_as_user(), 16);
	child = fork();
	if (!child) { /* without it in the bounding set: EPERM, for the program relies on it */
		want_eq(give(raw, 1), 0);
		want_eq(prctl(PR_CAPBSET_DROP, CAP_NET_RAW, 0, 0, 0), 0);
		want_eq(run_as_user(), 1);
		want_eq(give(raw, 0), 0);
		want_eq(run_as_user(), 10 + 0 + 4 * 0);
		_exit(0);
	}
	want_eq(status_of(child), 0);
	want_eq(give(raw, 1), 0);
	fd = open(program, O_WRONLY | O_APPEND);
	want_eq(write(fd, "x", 1), 1); /* who writes takes them away */
	close(fd);
	want_eq(run_as_user(), 10);
	want_eq(give(raw, 1), 0);
	want_eq(chown(program, USER, USER), 0);
	want_eq(run_as_user(), 10);
	child = fork();
	if (!child) {
		as_user(USER);
		want_errno(give(raw, 1), EPERM);
		_exit(0);
	}
	want_eq(status_of(child), 0);
	unlink(program);
}

static int report_caps(void)
{
	struct caps c = caps_now();

	return 10 + !!(c.effective >> CAP_NET_RAW & 1) + 2 * !!(c.permitted >> CAP_NET_RAW & 1) +
	       4 * !!getauxval(AT_SECURE);
}

static void pipe_limit(const char *which, const char *pages)
{
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/fs/pipe-user-pages-%s", which);
	fd = open(path, O_WRONLY);
	want(fd >= 0);
	want_eq(write(fd, pages, strlen(pages)), (long)strlen(pages));
	close(fd);
}

static int pipe_bytes(void)
{
	int p[2];

	return pipe(p) ? -errno : fcntl(p[0], F_GETPIPE_SZ);
}

/* Pipes of a user who has many are small, and then there are none. */
CASE(pages_of_pipes)
{
	pid_t child;
	int p[2];

	pipe_limit("soft", "64");
	pipe_limit("hard", "70");
	child = fork();
	if (!child) {
		as_user(USER + 5);
		for (int i = 0; i < 4; i++)
			want_eq(pipe_bytes(), 65536);
		want_eq(pipe(p), 0);
		want_eq(fcntl(p[0], F_GETPIPE_SZ), 8192);
		want_errno(fcntl(p[0], F_SETPIPE_SZ, 65536), EPERM);
		want_eq(fcntl(p[0], F_SETPIPE_SZ, 4096), 4096);
		want_eq(fcntl(p[0], F_GETPIPE_SZ), 4096);
		close(p[0]);
		close(p[1]);
		for (int i = 0; i < 3; i++)
			want_eq(pipe_bytes(), 8192);
		want_eq(pipe_bytes(), -ENFILE);
		_exit(0);
	}
	want_eq(status_of(child), 0);
	for (int i = 0; i < 8; i++)
		want_eq(pipe_bytes(), 65536); /* root is not bound */
	pipe_limit("soft", "16384");
	pipe_limit("hard", "0");
}

/* What a file held, in was; then it holds text. */
static int exchange(const char *path, char *was, size_t bytes, const char *text)
{
	int f = open(path, O_RDWR), wrong;
	ssize_t n = read(f, was, bytes - 1);

	wrong = n <= 0;
	was[n > 0 ? n : 0] = '\0';
	wrong |= pwrite(f, text, strlen(text), 0) != (ssize_t)strlen(text);
	return close(f) || wrong;
}

CASE(mappings)
{
	char was[32], now[32], *p = mmap(NULL, 400 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int n = 0;

	want(p != MAP_FAILED);
	want(!exchange("/proc/sys/vm/max_map_count", was, sizeof(was), "100"));
	while (n < 400 && !mprotect(p + n * 4096, 4096, PROT_NONE))
		n += 2;
	want(n > 20 && n < 200);
	want_errno(mprotect(p + n * 4096, 4096, PROT_NONE), ENOMEM);
	want_errno(munmap(p + (n + 1) * 4096, 4096), ENOMEM);
	want(!exchange("/proc/sys/vm/max_map_count", now, sizeof(now), was));
	want_eq(atoi(now), 100);
	want(!munmap(p + (n + 1) * 4096, 4096) && !munmap(p, 400 * 4096));
}

CASE(level_of_the_log)
{
	char was[32], now[32];

	want(!exchange("/proc/sys/kernel/printk", was, sizeof(was), "3"));
	want(!exchange("/proc/sys/kernel/printk", now, sizeof(now), was));
	want(atoi(now) == 3 && !strcmp(strchr(now, '\t'), strchr(was, '\t')));
	want(exchange("/proc/sys/kernel/printk", now, sizeof(now), "high"));
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return strcmp(argv[1], "caps") ? 0 : report_caps();
	RUN(nproc);
	RUN(nproc_exec);
	RUN(cpu_soft);
	RUN(cpu_hard);
	RUN(file_caps);
	RUN(pages_of_pipes);
	RUN(mappings);
	RUN(level_of_the_log);
	return abi_status();
}
