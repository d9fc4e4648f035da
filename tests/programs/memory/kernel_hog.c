/* SPDX-License-Identifier: MIT
 *
 * Problem: a tenant that makes the kernel allocate for it must not get past its memory.max.
 *
 * Idea: for each kind of object that programs can make without end, a child enters the tenant and makes them until it
 * is refused, killed, or has made as many as would take several times the limit; the parent watches the machine's free
 * memory meanwhile. What is gone beyond the limit was charged to nobody.
 *
 * Contract: kernel_hog CGROUP LIMIT-BYTES [KIND...]. A line a kind: name, bytes that were missing at the worst, the
 * peak of memory.current, how the child ended, how many it made. Runs on Linux, too.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES 200000

static char name[300];
static int pair[2], fd, other;
static char block[60000];

static const char *long_name(long i)
{
	snprintf(name, sizeof(name), "/tmp/h/%0200ld", i);
	return name;
}

static int loopback(int type, int listens, struct sockaddr_in *a)
{
	int s = socket(AF_INET, type, 0), on = 8 << 20;
	socklen_t len = sizeof(*a);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &on, sizeof(on));
	if (bind(s, (struct sockaddr *)a, sizeof(*a)) || getsockname(s, (struct sockaddr *)a, &len) ||
	    (listens && listen(s, 100)))
		return -1;
	return s;
}

/* Each makes one more: 0, or -1 with errno. */
static int make_eventfd(long i)
{
	return eventfd(0, 0) < 0 ? -1 : 0;
}

static int make_epoll(long i)
{
	return epoll_create1(0) < 0 ? -1 : 0;
}

static int make_epoll_item(long i)
{
	struct epoll_event e = { 0 };

	if (i % 1000 == 0)
		fd = epoll_create1(0);
	if (i == 0)
		for (int k = 0; k < 1000; k++)
			other = eventfd(0, 0);
	return epoll_ctl(fd, EPOLL_CTL_ADD, other - (int)(i % 1000), &e);
}

static int make_pipe(long i)
{
	return pipe(pair);
}

static int make_socket(long i)
{
	return socket(AF_INET, SOCK_STREAM, 0) < 0 ? -1 : 0;
}

static int make_symlink(long i)
{
	return symlink(block + sizeof(block) - 3000, long_name(i));
}

static int make_name(long i)
{
	return mknod(long_name(i), S_IFREG | 0600, 0);
}

static int make_xattr(long i)
{
	snprintf(name, sizeof(name), "trusted.%ld", i);
	return syscall(SYS_setxattr, "/tmp/h", name, block, 3000L, 0);
}

static int make_unix_stream(long i)
{
	if (send(pair[0], block, 4000, MSG_DONTWAIT) >= 0)
		return 0;
	return socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
}

static int make_udp(long i)
{
	static struct sockaddr_in a;

	if (i % 20 == 0) {
		fd = loopback(SOCK_DGRAM, 0, &a);
		other = socket(AF_INET, SOCK_DGRAM, 0);
		if (fd < 0 || other < 0)
			return -1;
	}
	i = sendto(other, block, 10000, 0, (struct sockaddr *)&a, sizeof(a));
	if (i % 20 == 19)
		close(other);
	return i < 0 ? -1 : 0;
}

static int make_tcp(long i)
{
	static struct sockaddr_in a;

	if (i == 0)
		fd = loopback(SOCK_STREAM, 1, &a);
	if (i % 100 == 0) {
		other = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(other, (struct sockaddr *)&a, sizeof(a));
		if (accept(fd, NULL, NULL) < 0)
			return -1;
	}
	return send(other, block, 10000, MSG_NOSIGNAL) < 0 && errno != EAGAIN ? -1 : 0;
}

static int make_timer(long i)
{
	struct sigevent e = { .sigev_notify = SIGEV_NONE };
	timer_t t;

	return (int)syscall(SYS_timer_create, CLOCK_MONOTONIC, &e, &t);
}

static int make_signal(long i)
{
	sigset_t all;

	sigfillset(&all);
	if (i == 0)
		sigprocmask(SIG_BLOCK, &all, NULL);
	return sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ 0 });
}

static int make_watch(long i)
{
	if (i % 100000 == 0)
		fd = inotify_init1(0);
	return mknod(long_name(i), S_IFREG | 0600, 0) || inotify_add_watch(fd, name, IN_MODIFY) < 0 ? -1 : 0;
}

static int make_inotify_event(long i)
{
	if (i % 16000 == 0) {
		fd = inotify_init1(0);
		if (fd < 0 || inotify_add_watch(fd, "/tmp/h", IN_CREATE | IN_DELETE) < 0)
			return -1;
	}
	return mknod(long_name(i & 1), S_IFREG | 0600, 0) || unlink(name) ? -1 : 0;
}

static int make_message(long i)
{
	*(long *)block = 1;
	if (i % 2 == 0 && (fd = msgget(IPC_PRIVATE, 0600)) < 0)
		return -1;
	return msgsnd(fd, block, 8000, IPC_NOWAIT);
}

static int make_semaphore(long i)
{
	return semget(IPC_PRIVATE, 500, 0600) < 0 ? -1 : 0;
}

static int make_lock(long i)
{
	struct flock l = { .l_type = F_WRLCK, .l_start = i * 2, .l_len = 1 };

	if (i % 2000 == 0)
		fd = open(long_name(i), O_RDWR | O_CREAT, 0600);
	return fcntl(fd, F_SETLK, &l);
}

static int make_descriptors(long i)
{
	pid_t p = fork();

	if (p)
		return p < 0 ? -1 : 0;
	dup2(0, FILES - 1);
	pause();
	_exit(0);
}

static int make_namespace(long i)
{
	pid_t p = fork();

	if (p)
		return p < 0 ? -1 : usleep(2000);
	while (i < 32 &&
	       !unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWNET))
		i++;
	pause();
	_exit(0);
}

/* One of a thousand folders: mounts on one another are passed one by one. */
static const char *mount_place(long i)
{
	if (i == 0) {
		unshare(CLONE_NEWNS);
		mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	}
	snprintf(name, sizeof(name), "/tmp/h/%ld", i % 1000);
	if (i < 1000)
		mkdir(name, 0700);
	return name;
}

static int make_tmpfs(long i)
{
	return mount("none", mount_place(i), "tmpfs", 0, NULL);
}

static int make_filter(long i)
{
	static struct sock_filter code[4000];
	struct sock_fprog p = { 4000, code };
	pid_t pid;

	for (unsigned k = 0; k < 4000; k++)
		code[k] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	pid = fork();
	if (pid)
		return pid < 0 ? -1 : usleep(3000);
	syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p);
	pause();
	_exit(0);
}

static int make_poll(long i)
{
	static struct pollfd p[4000];
	pid_t pid;

	for (unsigned k = 0; k < 4000 && i == 0; k++)
		p[k] = (struct pollfd){ .fd = pair[0], .events = POLLIN };
	if (i == 0 && pipe(pair))
		return -1;
	for (unsigned k = 0; k < 4000; k++)
		p[k].fd = pair[0];
	pid = fork();
	if (pid)
		return pid < 0 ? -1 : usleep(3000);
	poll(p, 4000, -1);
	_exit(0);
}

static int make_netlink(long i)
{
	struct {
		struct nlmsghdr h;
		char body[32];
	} q = { { .nlmsg_len = sizeof(q), .nlmsg_type = 18, .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };

	fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	return fd < 0 || send(fd, &q, sizeof(q), 0) < 0 ? -1 : 0;
}

static int make_proc(long i)
{
	fd = open("/proc/self/maps", O_RDONLY);
	return fd < 0 || read(fd, block, 10) < 0 ? -1 : 0;
}

static int make_folder(long i)
{
	snprintf(name, sizeof(name), "/sys/fs/cgroup/delegated/%ld", i);
	return mkdir(name, 0700);
}

static const struct {
	const char *name;
	int (*make)(long i);
	long most;
} kinds[] = {
	{ "eventfd", make_eventfd, FILES },
	{ "epoll", make_epoll, FILES },
	{ "epoll-item", make_epoll_item, 500000 },
	{ "pipe", make_pipe, 60000 },
	{ "socket", make_socket, 60000 },
	{ "symlink", make_symlink, 20000 },
	{ "name", make_name, 100000 },
	{ "xattr", make_xattr, 20000 },
	{ "unix", make_unix_stream, 20000 },
	{ "udp", make_udp, 6000 },
	{ "tcp", make_tcp, 9000 },
	{ "timer", make_timer, 300000 },
	{ "signal", make_signal, 400000 },
	{ "watch", make_watch, 100000 },
	{ "event", make_inotify_event, 60000 },
	{ "message", make_message, 6000 },
	{ "semaphore", make_semaphore, 8000 },
	{ "lock", make_lock, 400000 },
	{ "descriptors", make_descriptors, 50 },
	{ "namespace", make_namespace, 300 },
	{ "tmpfs", make_tmpfs, 30000 },
	{ "filter", make_filter, 1000 },
	{ "poll", make_poll, 300 },
	{ "netlink", make_netlink, 60000 },
	{ "proc", make_proc, 20000 },
	{ "folder", make_folder, 10000 },
};

static void put(const char *folder, const char *file, const char *text)
{
	char path[200];
	int f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = open(path, O_WRONLY);
	if (f < 0 || write(f, text, strlen(text)) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	close(f);
}

static long number_of(const char *folder, const char *file)
{
	char path[200], text[40] = "";
	int f;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	f = open(path, O_RDONLY);
	if (read(f, text, sizeof(text) - 1) < 0)
		return -1;
	close(f);
	return atol(text);
}

static long free_bytes(void)
{
	struct sysinfo s;

	sysinfo(&s);
	return (long)(s.freeram * s.mem_unit);
}

/* The child: *made tells how far it came; it ends when told. */
static void hog(unsigned k, volatile long *made)
{
	long i;

	signal(SIGCHLD, SIG_IGN);
	for (i = 0; i < kinds[k].most; i++) {
		if (kinds[k].make(i))
			break;
		made[0] = i + 1;
	}
	made[2] = i < kinds[k].most ? errno : 0;
	made[1] = 1;
	pause();
}

/* What outlives who made it. */
static void remove_ipc(void)
{
	struct semid_ds sem;
	struct msqid_ds msg;
	struct seminfo info;
	int last, id;

	last = msgctl(0, MSG_INFO, (void *)&info);
	for (int i = 0; i <= last; i++)
		if ((id = msgctl(i, MSG_STAT, &msg)) >= 0)
			msgctl(id, IPC_RMID, NULL);
	last = semctl(0, 0, SEM_INFO, &info);
	for (int i = 0; i <= last; i++)
		if ((id = semctl(i, 0, SEM_STAT, &sem)) >= 0)
			semctl(id, 0, IPC_RMID);
}

static void run(const char *folder, unsigned k)
{
	volatile long *made = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	long before, least;
	int status = 0, ticks = 0;
	pid_t pid;

	mkdir(folder, 0700);
	mkdir("/tmp/h", 0700);
	mkdir("/sys/fs/cgroup/delegated", 0700);
	put(folder, "memory.max", "16777216");
	put(folder, "memory.swap.max", "0");
	before = least = free_bytes();
	pid = fork();
	if (!pid) {
		put(folder, "cgroup.procs", "0");
		hog(k, made);
		_exit(0);
	}
	do {
		long now = free_bytes();

		least = now < least ? now : least;
		usleep(3000);
	} while (!made[1] && ticks++ < 10000 && !waitpid(pid, &status, WNOHANG));
	printf("%s missing %ld peak %ld end %s%ld made %ld\n", kinds[k].name, (before - least) >> 10,
	       number_of(folder, "memory.peak") >> 10,
	       made[1]               ? "errno "
	       : WIFSIGNALED(status) ? "signal "
				     : "still ",
	       made[1] ? made[2] : (long)WTERMSIG(status), made[0]);
	fflush(stdout);
	put(folder, "cgroup.kill", "1");
	waitpid(pid, &status, 0);
	for (long i = 0; i < made[0] && !strcmp(kinds[k].name, "folder"); i++) {
		snprintf(name, sizeof(name), "/sys/fs/cgroup/delegated/%ld", i);
		rmdir(name);
	}
	for (int i = 0; i < 100 && (remove_ipc(), system("rm -rf /tmp/h"), rmdir(folder)); i++)
		usleep(50000);
	munmap((void *)made, 4096);
}

int main(int argc, char **argv)
{
	struct rlimit files = { FILES, FILES }, none = { RLIM_INFINITY, RLIM_INFINITY };

	memset(block, 'x', sizeof(block) - 1);
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_SIGPENDING, &none);
	setrlimit(RLIMIT_MSGQUEUE, &none);
	for (unsigned k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		int wanted = argc == 2;

		for (int i = 2; i < argc; i++)
			wanted |= !strcmp(argv[i], kinds[k].name);
		if (wanted)
			run(argv[1], k);
	}
	return 0;
}
