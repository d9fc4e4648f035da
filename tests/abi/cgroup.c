/* SPDX-License-Identifier: MIT
 *
 * Problem: container tools steer processes by writing words into files of cgroup2, and act on the errors.
 *
 * Idea: a tree of our own below the root of a cgroup2 mount; each case makes folders, writes right and wrong words and
 * compares what is read back and which errors come. Children of this program are what is moved, frozen and killed.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle; cgroup-v2.rst.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

#define TOP "/tmp/abi-cgroup"

static char text[4096];

static const char *at(const char *file)
{
	static char path[2][256];
	static int n;

	n ^= 1;
	snprintf(path[n], sizeof(path[n]), TOP "/%s", file);
	return path[n];
}

/* 0 or -errno. */
static int put_bytes(const char *file, const char *value, size_t len)
{
	int f = open(at(file), O_WRONLY), err = 0;

	if (f < 0)
		return -errno;
	if (write(f, value, len) != (ssize_t)len)
		err = -errno;
	close(f);
	return err;
}

static int put(const char *file, const char *value)
{
	return put_bytes(file, value, strlen(value));
}

static int put_number(const char *file, long n)
{
	char s[24];

	snprintf(s, sizeof(s), "%ld", n);
	return put(file, s);
}

static const char *get(const char *file)
{
	int f = open(at(file), O_RDONLY);
	ssize_t n = f < 0 ? -1 : read(f, text, sizeof(text) - 1);

	if (n < 0)
		snprintf(text, sizeof(text), "errno %d", errno);
	else
		text[n] = '\0';
	if (f >= 0)
		close(f);
	return text;
}

#define want_text(file, value)                                                                                         \
	do {                                                                                                           \
		get(file);                                                                                             \
		if (strcmp(text, value)) {                                                                             \
			text[strcspn(text, "\n")] = '\0';                                                              \
			abi_fail("line %d: %s is '%s'", __LINE__, file, text);                                         \
		}                                                                                                      \
	} while (0)

/* The number after `word` in a file of lines "word number"; -1: no such line. */
static long field(const char *file, const char *word)
{
	size_t len = strlen(word);

	for (const char *s = get(file); s && *s; s = strchr(s, '\n'), s = s ? s + 1 : NULL)
		if (!strncmp(s, word, len) && s[len] == ' ')
			return atol(s + len + 1);
	return -1;
}

/* Our children sleep until they are killed. */
static pid_t sleeper(void)
{
	pid_t p = fork();

	if (!p)
		for (;;)
			pause();
	return p;
}

static void end(pid_t p)
{
	kill(p, SIGKILL);
	waitpid(p, NULL, 0);
}

/* Looks again until it holds: what it waits for is the kernel's work after an event, without a notification. */
#define until(cond)                                                                                                    \
	do {                                                                                                           \
		int tries_ = 0;                                                                                        \
		while (!(cond) && tries_++ < 2000)                                                                     \
			usleep(1000);                                                                                  \
		want(cond);                                                                                            \
	} while (0)

CASE(mounting)
{
	struct statfs fs;
	struct stat st;
	bool memory = false;
	FILE *f;

	mkdir(TOP, 0755);
	want_eq(mount("none", TOP, "cgroup2", 0, NULL), 0);
	want_eq(statfs(TOP, &fs), 0);
	want_eq(fs.f_type, 0x63677270);
	want_eq(stat(TOP, &st), 0);
	want(S_ISDIR(st.st_mode));
	want_eq(access(at("cgroup.type"), F_OK), -1);
	want_eq(access(at("cgroup.events"), F_OK), -1);
	want_eq(access(at("cgroup.freeze"), F_OK), -1);
	want_eq(access(at("cgroup.kill"), F_OK), -1);
	want_eq(access(at("pids.max"), F_OK), -1);
	want_eq(access(at("cpu.stat"), F_OK), 0);
	want_eq(put("cgroup.subtree_control", "+pids +memory +cpu"), 0);
	want(strstr(get("cgroup.subtree_control"), "pids"));
	f = fopen("/proc/cgroups", "r");
	want(f && fgets(text, sizeof(text), f) && !strcmp(text, "#subsys_name\thierarchy\tnum_cgroups\tenabled\n"));
	while (f && fgets(text, sizeof(text), f))
		memory |= !strncmp(text, "memory\t", 7) && !strcmp(text + strlen(text) - 3, "\t1\n");
	want(memory);
	fclose(f);
}

CASE(folders)
{
	struct stat st;

	umask(022);
	want_eq(mkdir(at("a"), 0700), 0);
	want_errno(mkdir(at("a"), 0700), EEXIST);
	want_errno(mkdir(at("a\nb"), 0700), EINVAL);
	want_eq(stat(at("a"), &st), 0);
	want_eq(st.st_mode, S_IFDIR | 0700);
	want_text("a/cgroup.type", "domain\n");
	want_text("a/cgroup.procs", "");
	want_text("a/cgroup.subtree_control", "");
	want_eq(mkdir(at("a/b"), 0700), 0);
	want_errno(rmdir(at("a")), EBUSY);
	want_errno(unlink(at("a/cgroup.procs")), EPERM);
	want_errno(open(at("a/mine"), O_CREAT | O_WRONLY, 0600), EACCES);
	want_errno(rename(at("a"), at("c")), EPERM);
	want_eq(rmdir(at("a/b")), 0);
	want_eq(rmdir(at("a")), 0);
	want_errno(rmdir(at("a")), ENOENT);
}

CASE(numbers)
{
	mkdir(at("n"), 0755);
	want_text("n/pids.max", "max\n");
	want_eq(put("n/pids.max", "100"), 0);
	want_text("n/pids.max", "100\n");
	want_eq(put("n/pids.max", " 7 \n"), 0);
	want_text("n/pids.max", "7\n");
	want_eq(put("n/pids.max", "max\n"), 0);
	want_text("n/pids.max", "max\n");
	want_eq(put("n/pids.max", "99999999999999999999999"), -ERANGE);
	want_eq(put("n/pids.max", "-1"), -EINVAL);
	want_eq(put("n/pids.max", "x"), -EINVAL);
	want_eq(put("n/pids.max", "7x"), -EINVAL);
	want_eq(put("n/pids.max", "7 8"), -EINVAL);
	want_eq(put("n/pids.max", " \n"), -EINVAL);
	want_eq(put("n/pids.max", "4194305"), -EINVAL);
	want_eq(put("n/pids.max", "4194304"), 0);
	want_eq(put("n/pids.max", "0x10"), 0);
	want_text("n/pids.max", "16\n");
	want_eq(put_bytes("n/pids.max", "", 0), 0);
	want_text("n/pids.max", "16\n");
	want_eq(put("n/memory.max", "1M"), 0);
	want_text("n/memory.max", "1048576\n");
	want_eq(put("n/memory.max", "5000"), 0);
	want_text("n/memory.max", "4096\n");
	want_eq(put("n/memory.max", " 2m "), 0);
	want_text("n/memory.max", "2097152\n");
	want_eq(put("n/memory.max", "1q"), -EINVAL);
	want_eq(put("n/memory.max", "-4096"), -EINVAL);
	want_eq(put("n/memory.max", "max"), 0);
	want_text("n/memory.max", "max\n");
	want_eq(put("n/cpu.weight", "0"), -ERANGE);
	want_eq(put("n/cpu.weight", "10001"), -ERANGE);
	want_eq(put("n/cpu.weight", "many"), -EINVAL);
	want_eq(put("n/cpu.weight", "250\n"), 0);
	want_text("n/cpu.weight", "250\n");
	want_eq(put("n/cpu.weight.nice", "20"), -ERANGE);
	want_eq(put("n/cpu.weight.nice", "-5"), 0);
	want_text("n/cpu.weight.nice", "-5\n");
	want_text("n/cpu.max", "max 100000\n");
	want_eq(put("n/cpu.max", "20000"), 0);
	want_text("n/cpu.max", "20000 100000\n");
	want_eq(put("n/cpu.max", "max 50000\n"), 0);
	want_text("n/cpu.max", "max 50000\n");
	want_eq(put("n/cpu.max", "10 100000"), -EINVAL);
	want_eq(put("n/cpu.max", "20000 10"), -EINVAL);
	want_eq(put("n/cpu.max", "some"), -EINVAL);
	want_eq(put("n/cpu.max", ""), 0);
	want_text("n/cpu.max", "max 50000\n");
	want_eq(rmdir(at("n")), 0);
}

CASE(processes)
{
	pid_t p = sleeper();
	char s[32];

	snprintf(s, sizeof(s), "%d\n", p);
	mkdir(at("p"), 0755);
	want_eq(put("p/cgroup.procs", "x"), -EINVAL);
	want_eq(put("p/cgroup.procs", "-1"), -EINVAL);
	want_eq(put("p/cgroup.procs", "4000000"), -ESRCH);
	want_eq(put_number("p/cgroup.procs", p), 0);
	want_text("p/cgroup.procs", s);
	want_text("p/cgroup.threads", s);
	want_text("p/pids.current", "1\n");
	want_errno(rmdir(at("p")), EBUSY);
	want_eq(put("p/cgroup.subtree_control", "+memory"), -EBUSY);
	want_eq(put("p/cgroup.subtree_control", "+pids"), 0); /* knows threads: the folder becomes a thread root */
	want_text("p/cgroup.type", "domain threaded\n");
	want_eq(put("p/cgroup.subtree_control", "-pids"), 0);
	want_eq(put_number("cgroup.procs", p), 0);
	want_text("p/cgroup.procs", "");
	want_eq(put("p/cgroup.subtree_control", "+memory"), 0);
	want_eq(put_number("p/cgroup.procs", p), -EBUSY);
	want_eq(put("p/cgroup.subtree_control", "-memory"), 0);
	want_eq(put_number("p/cgroup.procs", p), 0);
	end(p);
	want_text("p/cgroup.procs", "");
	want_eq(rmdir(at("p")), 0);
}

CASE(controllers)
{
	mkdir(at("c"), 0755);
	mkdir(at("c/d"), 0755);
	want_text("c/d/cgroup.controllers", "");
	want_eq(put("c/cgroup.subtree_control", "pids"), -EINVAL);
	want_eq(put("c/cgroup.subtree_control", "+nothing"), -EINVAL);
	want_eq(put("c/d/cgroup.subtree_control", "+pids"), -ENOENT);
	want_eq(access(at("c/d/pids.max"), F_OK), -1);
	want_eq(put("c/cgroup.subtree_control", "+pids\n"), 0);
	want_text("c/cgroup.subtree_control", "pids\n");
	want_text("c/d/cgroup.controllers", "pids\n");
	want_eq(access(at("c/d/pids.max"), F_OK), 0);
	want_eq(put("c/d/pids.max", "5"), 0);
	want_eq(put("c/d/cgroup.subtree_control", "+pids"), 0);
	want_eq(put("c/cgroup.subtree_control", "-pids"), -EBUSY);
	want_eq(put("c/d/cgroup.subtree_control", "-pids"), 0);
	want_eq(put("c/cgroup.subtree_control", "-pids"), 0);
	want_eq(access(at("c/d/pids.max"), F_OK), -1);
	want_eq(put("c/cgroup.subtree_control", "+pids -pids"), 0);
	want_text("c/cgroup.subtree_control", "");
	want_eq(put("c/cgroup.subtree_control", "+pids"), 0);
	want_text("c/d/pids.max", "max\n");
	want_eq(rmdir(at("c/d")), 0);
	want_eq(rmdir(at("c")), 0);
}

CASE(pids_limit)
{
	int status;
	pid_t p;

	mkdir(at("l"), 0755);
	p = fork();
	if (!p) {
		if (put("l/cgroup.procs", "0") || put("l/pids.max", "2"))
			_exit(1);
		p = sleeper();
		if (p < 0 || fork() != -1 || errno != EAGAIN)
			_exit(2);
		end(p);
		_exit(0);
	}
	want(waitpid(p, &status, 0) == p);
	want_eq(status, 0);
	want_eq(field("l/pids.events", "max"), 1);
	want_eq(rmdir(at("l")), 0);
}

CASE(depth)
{
	mkdir(at("e"), 0755);
	want_text("e/cgroup.max.depth", "max\n");
	want_text("e/cgroup.max.descendants", "max\n");
	want_eq(put("e/cgroup.max.depth", "1"), 0);
	want_eq(put("e/cgroup.max.depth", "-1"), -ERANGE);
	want_eq(put("e/cgroup.max.depth", "x"), -EINVAL);
	want_eq(put("e/cgroup.max.depth", "99999999999"), -ERANGE);
	want_eq(mkdir(at("e/1"), 0755), 0);
	want_errno(mkdir(at("e/1/2"), 0755), EAGAIN);
	want_eq(put("e/cgroup.max.descendants", "1"), 0);
	want_errno(mkdir(at("e/2"), 0755), EAGAIN);
	want_eq(field("e/cgroup.stat", "nr_descendants"), 1);
	want_eq(field("e/1/cgroup.stat", "nr_descendants"), 0);
	want_eq(rmdir(at("e/1")), 0);
	want_eq(mkdir(at("e/2"), 0755), 0);
	want_eq(rmdir(at("e/2")), 0);
	want_eq(rmdir(at("e")), 0);
}

CASE(own_place)
{
	char line[256];
	int status;
	pid_t p;

	mkdir(at("o"), 0755);
	mkdir(at("o/in"), 0755);
	p = fork();
	if (!p) {
		FILE *f;

		if (put("o/in/cgroup.procs", "0"))
			_exit(1);
		f = fopen("/proc/self/cgroup", "r");
		while (f && fgets(line, sizeof(line), f))
			if (!strcmp(line, "0::/o/in\n"))
				_exit(0);
		_exit(2);
	}
	want(waitpid(p, &status, 0) == p);
	want_eq(status, 0);
	want_eq(rmdir(at("o/in")), 0);
	want_eq(rmdir(at("o")), 0);
}

CASE(clone_into)
{
	struct {
		unsigned long long flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
			set_tid_size, cgroup;
	} a = { .flags = 0x200000000ULL, .exit_signal = SIGCHLD };
	int f, file;
	pid_t p;

	mkdir(at("i"), 0755);
	f = open(at("i"), O_RDONLY | O_DIRECTORY);
	file = open(at("i/cgroup.procs"), O_RDONLY);
	want(f >= 0 && file >= 0);
	a.cgroup = f;
	p = syscall(SYS_clone3, &a, sizeof(a));
	if (!p)
		for (;;)
			pause();
	want(p > 0);
	want_eq(atoi(get("i/cgroup.procs")), p);
	end(p);
	a.cgroup = file;
	want_errno(syscall(SYS_clone3, &a, sizeof(a)), EBADF);
	want_eq(put("i/pids.max", "0"), 0);
	a.cgroup = f;
	want_errno(syscall(SYS_clone3, &a, sizeof(a)), EAGAIN); /* its limit, not ours */
	want_eq(field("i/pids.events", "max"), 1);
	close(f);
	close(file);
	want_eq(rmdir(at("i")), 0);
}

CASE(events)
{
	struct pollfd pf;
	struct inotify_event *ev = (struct inotify_event *)text;
	int in = inotify_init1(IN_NONBLOCK);
	pid_t p = sleeper();

	mkdir(at("v"), 0755);
	mkdir(at("v/w"), 0755);
	want_eq(field("v/cgroup.events", "populated"), 0);
	want_eq(field("v/cgroup.events", "frozen"), 0);
	pf = (struct pollfd){ .fd = open(at("v/cgroup.events"), O_RDONLY), .events = POLLPRI };
	want(read(pf.fd, text, sizeof(text)) > 0);
	want(inotify_add_watch(in, at("v/cgroup.events"), IN_MODIFY) > 0);
	want_eq(poll(&pf, 1, 0), 0);
	want_eq(put_number("v/w/cgroup.procs", p), 0);
	want_eq(field("v/cgroup.events", "populated"), 1);
	want_eq(field("v/w/cgroup.events", "populated"), 1);
	want_eq(poll(&pf, 1, 10000), 1);
	want(pf.revents & POLLPRI);
	want(lseek(pf.fd, 0, SEEK_SET) == 0 && read(pf.fd, text, sizeof(text)) > 0);
	want_eq(poll(&pf, 1, 0), 0);
	end(p);
	want_eq(poll(&pf, 1, 10000), 1);
	want_eq(field("v/cgroup.events", "populated"), 0);
	want_eq(poll(&(struct pollfd){ .fd = in, .events = POLLIN }, 1, 10000), 1);
	want(read(in, text, sizeof(text)) > 0);
	want_eq(ev->mask, IN_MODIFY);
	close(pf.fd);
	close(in);
	want_eq(rmdir(at("v/w")), 0);
	want_eq(rmdir(at("v")), 0);
}

CASE(killing)
{
	pid_t p = sleeper(), q = sleeper();
	int status;

	mkdir(at("k"), 0755);
	mkdir(at("k/in"), 0755);
	want_eq(put_number("k/cgroup.procs", p), 0);
	want_eq(put_number("k/in/cgroup.procs", q), 0);
	want_eq(put("k/cgroup.kill", "0"), -ERANGE);
	want_eq(put("k/cgroup.kill", "2"), -ERANGE);
	want_eq(put("k/cgroup.kill", "x"), -EINVAL);
	want_eq(put("k/cgroup.kill", "1\n"), 0);
	want(waitpid(p, &status, 0) == p);
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	want(waitpid(q, &status, 0) == q);
	want(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	want_eq(rmdir(at("k/in")), 0);
	want_eq(rmdir(at("k")), 0);
}

/* Uses 40 ms of CPU time and 64 pages in u/c. */
static void worker(void)
{
	volatile char *p = mmap(NULL, 64 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct timespec t;

	if (put("u/c/cgroup.procs", "0") || p == MAP_FAILED)
		_exit(1);
	for (int i = 0; i < 64; i++)
		p[i * 4096] = 1;
	do
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	while (!t.tv_sec && t.tv_nsec < 40000000);
	_exit(0);
}

CASE(what_removed_children_used)
{
	long used, faults;
	int status;
	pid_t p;

	mkdir(at("u"), 0755);
	want_eq(put("u/cgroup.subtree_control", "+memory +cpu"), 0);
	mkdir(at("u/c"), 0755);
	p = fork();
	if (!p)
		worker();
	want(waitpid(p, &status, 0) == p && !status);
	used = field("u/cpu.stat", "usage_usec");
	want(used > 20000);
	faults = field("u/memory.stat", "pgfault");
	want(faults >= 64);
	want_eq(rmdir(at("u/c")), 0);
	want(field("u/cpu.stat", "usage_usec") >= used);
	want(field("u/memory.stat", "pgfault") >= faults);
	want_eq(field("u/memory.stat", "pgsteal"), 0);
	want_eq(rmdir(at("u")), 0);
}

CASE(empty_when_its_last_is_waited_for)
{
	int status;

	for (int i = 0; i < 100; i++) {
		pid_t p;

		want_eq(mkdir(at("l"), 0755), 0);
		p = fork();
		if (!p)
			_exit(put("l/cgroup.procs", "0") != 0);
		want(waitpid(p, &status, 0) == p && !status);
		want_eq(field("l/cgroup.events", "populated"), 0);
		want_eq(rmdir(at("l")), 0);
	}
}

CASE(freezing)
{
	int p[2], status;
	char c;
	pid_t kid;

	want_eq(pipe(p), 0);
	kid = fork();
	if (!kid)
		for (;;)
			if (read(p[0], &c, 1) != 1 || c == 'x')
				_exit(7);
	mkdir(at("f"), 0755);
	mkdir(at("f/in"), 0755);
	want_eq(put_number("f/in/cgroup.procs", kid), 0);
	want_text("f/cgroup.freeze", "0\n");
	want_eq(put("f/cgroup.freeze", "2"), -ERANGE);
	want_eq(put("f/cgroup.freeze", "x"), -EINVAL);
	want_eq(put("f/cgroup.freeze", "1"), 0);
	want_text("f/cgroup.freeze", "1\n");
	want_text("f/in/cgroup.freeze", "0\n");
	until(field("f/cgroup.events", "frozen") == 1);
	until(field("f/in/cgroup.events", "frozen") == 1);
	want_eq(write(p[1], "x", 1), 1);
	usleep(20000);
	want_eq(waitpid(kid, &status, WNOHANG), 0);
	want_eq(put_number("cgroup.procs", kid), 0); /* out of it, it thaws */
	want(waitpid(kid, &status, 0) == kid);
	want(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	kid = sleeper();
	want_eq(put_number("f/cgroup.procs", kid), 0);
	until(field("f/cgroup.events", "frozen") == 1);
	kill(kid, SIGKILL); /* a frozen one can be killed */
	want(waitpid(kid, &status, 0) == kid);
	kid = sleeper();
	want_eq(put_number("f/in/cgroup.procs", kid), 0);
	want_eq(put("f/cgroup.freeze", "0"), 0);
	until(field("f/in/cgroup.events", "frozen") == 0);
	end(kid);
	want_eq(rmdir(at("f/in")), 0);
	want_eq(rmdir(at("f")), 0);
	close(p[0]);
	close(p[1]);
}

CASE(threaded)
{
	mkdir(at("t"), 0755);
	mkdir(at("t/u"), 0755);
	want_eq(put("t/u/cgroup.type", "domain"), -EINVAL);
	want_eq(put("t/u/cgroup.type", "threaded"), 0);
	want_text("t/u/cgroup.type", "threaded\n");
	want_text("t/cgroup.type", "domain threaded\n");
	want_eq(mkdir(at("t/u/v"), 0755), 0);
	want_text("t/u/v/cgroup.type", "domain invalid\n");
	want_eq(put("t/u/v/cgroup.procs", "0"), -EOPNOTSUPP);
	want_eq(put("t/u/v/cgroup.type", "threaded\n"), 0);
	want_eq(put("t/u/cgroup.type", "domain"), -EINVAL);
	want_eq(put("t/cgroup.subtree_control", "+memory"), -EOPNOTSUPP);
	want_eq(put("t/cgroup.subtree_control", "+cpu"), 0);
	want_eq(access(at("t/u/cpu.weight"), F_OK), 0);
	want_errno(read(open(at("t/u/cgroup.procs"), O_RDONLY), text, 10), EOPNOTSUPP);
	want_eq(rmdir(at("t/u/v")), 0);
	want_eq(rmdir(at("t/u")), 0);
	want_text("t/cgroup.type", "domain\n");
	want_eq(rmdir(at("t")), 0);
}

static int as_user(int (*fn)(void))
{
	int status;
	pid_t p = fork();

	if (!p) {
		if (setgid(1000) || setuid(1000))
			_exit(99);
		_exit(fn());
	}
	waitpid(p, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static pid_t outsider;

static int user_moves(void)
{
	pid_t p = sleeper();
	int bad = 0;

	if (put_number("g/in/cgroup.procs", p) != -EACCES) /* the common ancestor is root's */
		bad = 1;
	else if (mkdir(at("g/mine"), 0755))
		bad = 2;
	else if (put("g/cgroup.subtree_control", "+pids"))
		bad = 3;
	else if (put("g/pids.max", "5") != -EACCES)
		bad = 4;
	else if (put("g/mine/pids.max", "5"))
		bad = 5;
	else if (put_number("g/mine/cgroup.procs", outsider))
		bad = 6;
	else if (put_number("cgroup.procs", outsider) != -EACCES)
		bad = 7;
	else if (put_number("g/in/cgroup.procs", outsider))
		bad = 8;
	else if (rmdir(at("g/mine")))
		bad = 9;
	end(p);
	return bad;
}

CASE(delegation)
{
	struct stat st;

	mkdir(at("g"), 0755);
	mkdir(at("g/in"), 0755);
	want_eq(chown(at("g"), 1000, 1000), 0);
	want_eq(chown(at("g/cgroup.procs"), 1000, 1000), 0);
	want_eq(chown(at("g/cgroup.subtree_control"), 1000, 1000), 0);
	want_eq(chown(at("g/in/cgroup.procs"), 1000, 1000), 0);
	want_eq(stat(at("g/cgroup.procs"), &st), 0);
	want_eq(st.st_uid, 1000);
	want_eq(stat(at("g/cgroup.type"), &st), 0);
	want_eq(st.st_uid, 0);
	outsider = sleeper();
	want_eq(put_number("g/in/cgroup.procs", outsider), 0);
	want_eq(as_user(user_moves), 0);
	end(outsider);
	want_eq(rmdir(at("g/in")), 0);
	want_eq(rmdir(at("g")), 0);
}

static pid_t spinner(void)
{
	cpu_set_t one;
	pid_t p = fork();

	if (p)
		return p;
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	for (;;)
		;
}

/* Rights are those of who opened cgroup.procs. */
CASE(opener)
{
	pid_t p = sleeper();
	char nr[24];
	int f;

	snprintf(nr, sizeof(nr), "%d", p);
	mkdir(at("o"), 0755);
	want_eq(chown(at("o/cgroup.procs"), 1000, 1000), 0);
	want_eq(seteuid(1000), 0);
	f = open(at("o/cgroup.procs"), O_WRONLY);
	want_eq(seteuid(0), 0);
	want(f >= 0);
	want_errno(write(f, nr, strlen(nr)), EACCES);
	close(f);
	f = open(at("o/cgroup.procs"), O_WRONLY);
	want_eq(seteuid(1000), 0);
	want_eq(write(f, nr, strlen(nr)), (ssize_t)strlen(nr));
	want_eq(seteuid(0), 0);
	close(f);
	want_eq(atoi(get("o/cgroup.procs")), p);
	end(p);
	want_eq(rmdir(at("o")), 0);
}

CASE(pressure_switch)
{
	want_eq(mkdir(at("s"), 0755), 0);
	want_text("s/cgroup.pressure", "1\n");
	want_eq(put("s/cgroup.pressure", "0"), 0);
	want_text("s/cgroup.pressure", "0\n");
	want_text("s/cpu.pressure", "errno 2");
	want_eq(put("s/cgroup.pressure", "1"), 0);
	want(strstr(get("s/cpu.pressure"), "some avg10") == text);
	want_eq(rmdir(at("s")), 0);
}

CASE(pressure)
{
	static const char trigger[] = "some 100000 500000";
	struct pollfd p = { .events = POLLPRI };
	pid_t one, two;

	want_eq(mkdir(at("g"), 0755), 0);
	p.fd = open(at("g/cpu.pressure"), O_RDWR | O_NONBLOCK);
	want(p.fd >= 0);
	want(strstr(get("g/cpu.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=") == text);
	want_eq(write(p.fd, "some 1", 7), -1);
	want_eq(errno, EINVAL);
	want_eq(write(p.fd, trigger, sizeof(trigger)), sizeof(trigger));
	want_eq(write(p.fd, trigger, sizeof(trigger)), -1);
	want_eq(errno, EBUSY);
	one = spinner();
	two = spinner();
	want_eq(put_number("g/cgroup.procs", one), 0);
	want_eq(put_number("g/cgroup.procs", two), 0);
	want_eq(poll(&p, 1, 20000), 1);
	want(p.revents & POLLPRI);
	end(one);
	end(two);
	want(!strstr(get("g/cpu.pressure"), "total=0\nfull"));
	close(p.fd);
	want_eq(rmdir(at("g")), 0);
}

int main(void)
{
	RUN(mounting);
	RUN(folders);
	RUN(numbers);
	RUN(processes);
	RUN(controllers);
	RUN(pids_limit);
	RUN(depth);
	RUN(own_place);
	RUN(clone_into);
	RUN(events);
	RUN(killing);
	RUN(what_removed_children_used);
	RUN(empty_when_its_last_is_waited_for);
	RUN(freezing);
	RUN(threaded);
	RUN(delegation);
	RUN(opener);
	RUN(pressure_switch);
	RUN(pressure);
	umount(TOP);
	return abi_status();
}
