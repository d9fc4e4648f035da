/* SPDX-License-Identifier: MIT
 *
 * Problem: containers are made of namespaces; a wrong right or number in one of them is a hole or a broken container.
 *
 * Idea: children unshare, enter and clone; each says by its exit status which step went wrong. Users without rights are
 * played by a child with uid 1000.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle; namespaces(7) and
 * its pages for each kind.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include "abi.h"

/* In a child: the line that failed is its status. */
#define must(c)                                                                                                        \
	do {                                                                                                           \
		if (!(c)) {                                                                                            \
			dprintf(2, "child: line %d: %s (errno %d)\n", __LINE__, #c, errno);                            \
			_exit(1);                                                                                      \
		}                                                                                                      \
	} while (0)
#define must_fail(call, e) must((call) == -1 && errno == (e))

static int in_child(void (*fn)(void))
{
	int status;
	pid_t p = fork();

	if (!p) {
		fn();
		_exit(0);
	}
	return waitpid(p, &status, 0) == p ? status : -1;
}

static void become_user(void)
{
	must(!setgroups(0, NULL) && !setgid(1000) && !setuid(1000));
	must(!prctl(PR_SET_DUMPABLE, 1));
}

static int put(const char *path, const char *text)
{
	int f = open(path, O_WRONLY);
	int bad = f < 0 || write(f, text, strlen(text)) != (ssize_t)strlen(text);
	int e = errno;

	if (f >= 0)
		close(f);
	errno = e;
	return bad ? -1 : 0;
}

static ino_t ns_of(const char *who, const char *kind)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%s/ns/%s", who, kind);
	return stat(path, &st) ? 0 : st.st_ino;
}

static void names(void)
{
	struct utsname before, after;
	ino_t old = ns_of("self", "uts");

	must(!uname(&before));
	must(!unshare(CLONE_NEWUTS));
	must(ns_of("self", "uts") != old);
	must(!sethostname("inside", 6));
	must(!uname(&after) && !strcmp(after.nodename, "inside"));
}

CASE(host_names)
{
	struct utsname before, after;
	char text[64];

	want_eq(uname(&before), 0);
	want_eq(in_child(names), 0);
	want_eq(uname(&after), 0);
	want(!strcmp(before.nodename, after.nodename));
	want(readlink("/proc/self/ns/uts", text, sizeof(text)) > 0);
	want(!strncmp(text, "uts:[", 5));
}

static void wrong_flags(void)
{
	must_fail(unshare(1), EINVAL);
	must(!unshare(0));
	must(!unshare(CLONE_FS | CLONE_FILES));
	become_user();
	must_fail(unshare(CLONE_NEWUTS), EPERM);
	must_fail(unshare(CLONE_NEWNS), EPERM);
	must_fail(unshare(CLONE_NEWPID), EPERM);
	must_fail(unshare(CLONE_NEWNET), EPERM);
	must_fail(unshare(CLONE_NEWCGROUP), EPERM);
	must_fail(syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0), EPERM);
}

CASE(rights)
{
	int dir = open("/", O_RDONLY), status;
	pid_t p;

	want_eq(in_child(wrong_flags), 0);
	want_errno(setns(dir, 0), EINVAL);
	want_errno(setns(-1, 0), EBADF);
	want_errno(syscall(SYS_clone, CLONE_NEWNS | CLONE_FS | SIGCHLD, 0, 0, 0, 0), EINVAL);
	want_errno(syscall(SYS_clone, CLONE_NEWUSER | CLONE_FS | SIGCHLD, 0, 0, 0, 0), EINVAL);
	close(dir);
	p = syscall(SYS_clone, CLONE_NEWUTS | CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0);
	if (!p)
		_exit(sethostname("x", 1) ? 1 : 7);
	want(waitpid(p, &status, 0) == p);
	want_eq(WEXITSTATUS(status), 7);
}

static void mounts(void)
{
	int f;

	must(!unshare(CLONE_NEWNS));
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(!mount("none", "/tmp/abi-ns", "tmpfs", 0, NULL));
	f = open("/tmp/abi-ns/file", O_CREAT | O_WRONLY, 0600);
	must(f >= 0);
	must(!access("/tmp/abi-ns/file", F_OK));
}

CASE(mount_trees)
{
	mkdir("/tmp/abi-ns", 0755);
	want_eq(in_child(mounts), 0);
	want_errno(access("/tmp/abi-ns/file", F_OK), ENOENT);
	want_errno(umount("/tmp/abi-ns"), EINVAL);
}

static void pivot(void)
{
	int old;

	must(!unshare(CLONE_NEWNS));
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(!mount("none", "/tmp/abi-ns", "tmpfs", 0, NULL));
	must(!mkdir("/tmp/abi-ns/new", 0755) && !mkdir("/tmp/abi-ns/old", 0755));
	must(!chroot("/tmp/abi-ns") && !chdir("/"));
	must(!mount("none", "/new", "tmpfs", 0, NULL));
	must(!mkdir("/new/mark", 0755));
	old = open("/", O_RDONLY | O_DIRECTORY);
	must(old >= 0 && !chdir("/new"));
	must(!syscall(SYS_pivot_root, ".", "."));
	must(!fchdir(old));
	must(!umount2(".", MNT_DETACH));
	must(!chdir("/"));
	must(!access("/mark", F_OK));
	must_fail(access("/new", F_OK), ENOENT);
}

CASE(new_root)
{
	want_eq(in_child(pivot), 0);
}

/* The first process of a namespace: number 1, adopts orphans, ends all. */
static int first_one(void *to)
{
	int *fd = to, status;
	pid_t p;
	char c;

	if (getpid() != 1 || getppid() != 0)
		return 1;
	p = fork();
	if (!p) {
		if (!fork()) { /* an orphan soon */
			while (getppid() != 1)
				usleep(1000);
			if (write(fd[1], "o", 1) != 1)
				_exit(1);
			for (;;)
				pause();
		}
		_exit(getpid() == 2 && getppid() == 1 ? 5 : 6);
	}
	if (p != 2 || waitpid(2, &status, 0) != 2 || WEXITSTATUS(status) != 5)
		return 2;
	if (read(fd[0], &c, 1) != 1)
		return 4;
	if (kill(1, SIGTERM) || kill(1, SIGKILL)) /* neither harms it from inside */
		return 3;
	return 9;
}

CASE(numbers)
{
	static char stack[65536] __attribute__((aligned(16)));
	int p[2], status;
	pid_t kid;
	char c;

	want_eq(pipe(p), 0);
	kid = clone(first_one, stack + sizeof(stack), CLONE_NEWPID | SIGCHLD, p);
	want(kid > 1);
	want(waitpid(kid, &status, 0) == kid);
	want_eq(status, 9 << 8);
	close(p[1]);
	want_eq(read(p[0], &c, 1), 0); /* the orphan, which held the pipe, has been killed */
	close(p[0]);
}

/* As the first process of a namespace: what it blocks reaches it although it has no handler, and does it no harm. */
static void first_reads_signals(void)
{
	struct signalfd_siginfo got;
	sigset_t set;
	pid_t kid;
	int f;

	must(getpid() == 1);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	must(!sigprocmask(SIG_BLOCK, &set, NULL));
	f = signalfd(-1, &set, SFD_NONBLOCK);
	kid = fork();
	if (!kid)
		_exit(0);
	must(!waitid(P_PID, (id_t)kid, NULL, WEXITED | WNOWAIT));
	must(read(f, &got, sizeof(got)) == sizeof(got) && got.ssi_signo == SIGCHLD && got.ssi_pid == (uint32_t)kid);
	must(!kill(1, SIGTERM));
	must(read(f, &got, sizeof(got)) == sizeof(got) && got.ssi_signo == SIGTERM);
	must(!kill(1, SIGTERM));
	must(!sigprocmask(SIG_UNBLOCK, &set, NULL));
}

static void first_below(void)
{
	must(!unshare(CLONE_NEWPID));
	must(!in_child(first_reads_signals));
}

/* A machine that takes a namespace's reboot for its own must not get so far: each is process 1 of a new one. */
static void restart(void)
{
	pid_t kid;

	must(getpid() == 1);
	kid = fork();
	must(kid >= 0);
	if (!kid)
		reboot(RB_AUTOBOOT);
	pause();
}

static void first_powers_off(void)
{
	must(getpid() == 1);
	must_fail(reboot(RB_ENABLE_CAD), EINVAL);
	reboot(RB_POWER_OFF);
}

static void user_cannot(void)
{
	become_user();
	must_fail(reboot(RB_POWER_OFF), EPERM);
}

static void restart_below(void)
{
	must(!unshare(CLONE_NEWPID));
	must(in_child(restart) == SIGHUP);
}

static void power_off_below(void)
{
	must(!unshare(CLONE_NEWPID));
	must(in_child(first_powers_off) == SIGINT);
}

static void user_below(void)
{
	must(!unshare(CLONE_NEWPID));
	must(!in_child(user_cannot));
}

CASE(rebooting_a_namespace)
{
	want_eq(in_child(restart_below), 0);
	want_eq(in_child(power_off_below), 0);
	want_eq(in_child(user_below), 0);
}

CASE(first_process_and_signals)
{
	want_eq(in_child(first_below), 0);
}

static void children_below(void)
{
	int status;
	pid_t p;

	must(!unshare(CLONE_NEWPID));
	must(ns_of("self", "pid") != 0);
	must_fail(unshare(CLONE_NEWPID), EINVAL);
	p = fork();
	if (!p)
		_exit(getpid() == 1 ? 0 : 1);
	must(p > 1 && waitpid(p, &status, 0) == p && !status);
	must_fail(fork(), ENOMEM); /* its first process has ended */
}

static void own_proc(void)
{
	int status;
	pid_t p;

	must(!unshare(CLONE_NEWPID | CLONE_NEWNS));
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	p = fork();
	if (!p) {
		char text[16] = "";

		must(!mount("proc", "/tmp/abi-ns", "proc", 0, NULL));
		must(!mount("proc", "/tmp/abi-ns", "proc", 0, NULL)); /* a tree a mount */
		must(!mount("sysfs", "/tmp/abi-ns", "sysfs", 0, NULL));
		must_fail(mount("sysfs", "/tmp/abi-ns", "sysfs", 0, NULL), EBUSY); /* one for all */
		must(!umount("/tmp/abi-ns"));
		must(readlink("/tmp/abi-ns/self", text, sizeof(text)) == 1 && text[0] == '1');
		must_fail(access("/tmp/abi-ns/2", F_OK), ENOENT);
		_exit(0);
	}
	must(waitpid(p, &status, 0) == p && !status);
}

CASE(numbers_by_unshare)
{
	want_eq(in_child(children_below), 0);
	want_eq(in_child(own_proc), 0);
}

static void user_maps(void)
{
	struct stat st;
	char text[128] = "";
	int f;

	become_user();
	must(!unshare(CLONE_NEWUSER));
	must(getuid() == 65534 && geteuid() == 65534 && getgid() == 65534);
	must_fail(setuid(0), EINVAL);
	must_fail(put("/proc/self/gid_map", "0 1000 1"), EPERM); /* setgroups first */
	must_fail(put("/proc/self/uid_map", "0 1001 1"), EPERM);
	must_fail(put("/proc/self/uid_map", "0 1000 2"), EPERM);
	must_fail(put("/proc/self/uid_map", "0 1000"), EINVAL);
	must_fail(put("/proc/self/uid_map", "x 1000 1"), EINVAL);
	must_fail(put("/proc/self/uid_map", "0 1000 0"), EINVAL);
	must(!put("/proc/self/uid_map", "0 1000 1\n"));
	must_fail(put("/proc/self/uid_map", "0 1000 1\n"), EPERM);
	must(!put("/proc/self/setgroups", "deny"));
	must_fail(put("/proc/self/setgroups", "allow"), EPERM);
	must(!put("/proc/self/gid_map", "0 1000 1\n"));
	must(!getuid() && !geteuid() && !getgid());
	must_fail(setgroups(0, NULL), EPERM);
	f = open("/proc/self/uid_map", O_RDONLY);
	must(read(f, text, sizeof(text) - 1) > 0);
	must(!strcmp(text, "         0       1000          1\n"));
	must(!stat("/proc/1", &st) && st.st_uid == 65534);
	f = open("/tmp/abi-ns-file", O_CREAT | O_RDWR, 0600);
	must(f >= 0 && !fstat(f, &st) && st.st_uid == 0 && st.st_gid == 0);
	must_fail(fchown(f, 7, -1), EINVAL);
	must_fail(setuid(7), EINVAL);
	must(!setuid(0) && !setresuid(0, 0, 0));
	/* powers over what it owns, none over the machine's */
	must(!unshare(CLONE_NEWUTS) && !sethostname("u", 1));
	must(!unshare(CLONE_NEWNS));
	must(!mount("none", "/tmp/abi-ns", "tmpfs", 0, NULL));
	must(!mkdir("/tmp/abi-ns/d", 0755) && !chown("/tmp/abi-ns/d", 0, 0));
	must_fail(mknod("/tmp/abi-ns/null", S_IFCHR | 0666, 0x103), EPERM);
	must_fail(open("/tmp/abi-ns-secret", O_RDONLY), EACCES);
	must(kill(1, 0) == -1 && errno == EPERM);
	must(!chroot("/tmp/abi-ns") && !chdir("/"));
}

CASE(users)
{
	struct stat st;
	int f = open("/tmp/abi-ns-secret", O_CREAT | O_WRONLY, 0600);

	want(f >= 0);
	close(f);
	want_eq(chmod("/tmp", 01777), 0);
	want_eq(in_child(user_maps), 0);
	want_eq(stat("/tmp/abi-ns-file", &st), 0);
	want_eq(st.st_uid, 1000);
	unlink("/tmp/abi-ns-file");
	unlink("/tmp/abi-ns-secret");
}

static void root_maps(void)
{
	int p[2], status;
	char path[64], c;
	pid_t kid;

	must(!pipe(p));
	kid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (!kid) {
		close(p[1]);
		must(read(p[0], &c, 1) == 0);
		must(getuid() == 0 && getgid() == 0);
		must(!setgroups(0, NULL));
		must(!setgid(5) && !setuid(5));
		must(getuid() == 5);
		_exit(3);
	}
	snprintf(path, sizeof(path), "/proc/%d/uid_map", kid);
	must(!put(path, "0 0 1\n1 100000 65535\n"));
	snprintf(path, sizeof(path), "/proc/%d/gid_map", kid);
	must_fail(put(path, "0 100 10\n5 200 10\n"), EINVAL);
	must_fail(put(path, "0 100 10\n10 105 10\n"), EINVAL);
	must(!put(path, "0 0 1\n1 100000 65535\n"));
	close(p[1]);
	must(waitpid(kid, &status, 0) == kid && WEXITSTATUS(status) == 3);
}

CASE(users_by_root)
{
	want_eq(in_child(root_maps), 0);
}

static void enter_names(void)
{
	int f, g, p[2];
	char path[64];
	struct stat st;
	struct utsname u;
	unsigned uid;
	pid_t kid;
	char c;

	must(!pipe(p));
	kid = fork();
	if (!kid) {
		must(!unshare(CLONE_NEWUTS | CLONE_NEWUSER));
		must(!sethostname("target", 6));
		must(write(p[1], "x", 1) == 1);
		for (;;)
			pause();
	}
	must(read(p[0], &c, 1) == 1);
	snprintf(path, sizeof(path), "/proc/%d/ns/uts", kid);
	f = open(path, O_RDONLY);
	must(f >= 0 && !fstat(f, &st));
	must(ioctl(f, NS_GET_NSTYPE) == CLONE_NEWUTS);
	must_fail(ioctl(f, NS_GET_PARENT), EINVAL);
	must_fail(ioctl(f, NS_GET_OWNER_UID, &uid), EINVAL);
	g = ioctl(f, NS_GET_USERNS);
	must(g >= 0 && ioctl(g, NS_GET_NSTYPE) == CLONE_NEWUSER);
	must(!ioctl(g, NS_GET_OWNER_UID, &uid) && uid == 0);
	must_fail(setns(f, CLONE_NEWNET), EINVAL);
	must(!setns(f, CLONE_NEWUTS));
	must(ns_of("self", "uts") == st.st_ino);
	must(!uname(&u) && !strcmp(u.nodename, "target"));
	kill(kid, SIGKILL);
	waitpid(kid, NULL, 0);
	must(!uname(&u) && !strcmp(u.nodename, "target")); /* lives on with us */
	must(!setns(g, 0));
	must_fail(setns(g, 0), EINVAL);
	must(getuid() == 65534);
}

static void enter_numbers(void)
{
	int f = open("/proc/self/ns/pid", O_RDONLY), status, top = f;
	pid_t p;

	must(f >= 0);
	must(!unshare(CLONE_NEWPID));
	p = fork();
	if (!p) {
		must_fail(setns(top, CLONE_NEWPID), EINVAL); /* upwards */
		_exit(0);
	}
	must(waitpid(p, &status, 0) == p && !status);
	must(!setns(f, CLONE_NEWPID)); /* its own: children are here again */
	p = fork();
	if (!p)
		_exit(getppid() > 1 ? 0 : 1);
	must(p > 0 && waitpid(p, &status, 0) == p && !status);
}

static void enter_mounts(void)
{
	int f = open("/proc/self/ns/mnt", O_RDONLY);

	must(f >= 0);
	must(!unshare(CLONE_NEWNS));
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	must(!mount("none", "/tmp/abi-ns", "tmpfs", 0, NULL));
	must(!mkdir("/tmp/abi-ns/here", 0755) && !chdir("/tmp/abi-ns/here"));
	must(!setns(f, CLONE_NEWNS));
	must_fail(access("/tmp/abi-ns/here", F_OK), ENOENT);
	must(!access("./tmp/abi-ns", F_OK)); /* the working folder is the root */
}

CASE(entering)
{
	want_eq(in_child(enter_names), 0);
	want_eq(in_child(enter_numbers), 0);
	want_eq(in_child(enter_mounts), 0);
}

static void places(void)
{
	char line[128] = "", inside[128];
	FILE *f;

	if (mount("none", "/tmp/abi-ns", "cgroup2", 0, NULL))
		_exit(1);
	mkdir("/tmp/abi-ns/nsroot", 0755);
	must(!put("/tmp/abi-ns/nsroot/cgroup.procs", "0"));
	must(!unshare(CLONE_NEWCGROUP | CLONE_NEWNS));
	must(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	f = fopen("/proc/self/cgroup", "r");
	while (f && fgets(inside, sizeof(inside), f))
		if (!strncmp(inside, "0::", 3))
			strcpy(line, inside);
	fclose(f);
	must(!strcmp(line, "0::/\n"));
	f = fopen("/proc/1/cgroup", "r");
	while (f && fgets(inside, sizeof(inside), f))
		if (!strncmp(inside, "0::", 3))
			strcpy(line, inside);
	fclose(f);
	must(!strcmp(line, "0::/..\n"));
	mkdir("/tmp/abi-ns2", 0755);
	must(!mount("none", "/tmp/abi-ns2", "cgroup2", 0, NULL));
	must(!access("/tmp/abi-ns2/cgroup.type", F_OK)); /* not the real root */
	must(!umount("/tmp/abi-ns2"));
	must(!put("/tmp/abi-ns/cgroup.procs", "0"));
	must(!rmdir("/tmp/abi-ns/nsroot"));
	must(!umount("/tmp/abi-ns"));
}

CASE(tenant_places)
{
	want_eq(in_child(places), 0);
	umount("/tmp/abi-ns");
}

int main(void)
{
	RUN(host_names);
	RUN(rights);
	RUN(mount_trees);
	RUN(new_root);
	RUN(numbers);
	RUN(first_process_and_signals);
	RUN(rebooting_a_namespace);
	RUN(numbers_by_unshare);
	RUN(users);
	RUN(users_by_root);
	RUN(entering);
	RUN(tenant_places);
	return abi_status();
}
