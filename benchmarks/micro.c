/* SPDX-License-Identifier: MIT
 *
 * Problem: compare kernels by what an operation costs, on rows that mean the same everywhere.
 *
 * Idea: one static program with a row an operation. Under -icount shift=0 guest nanoseconds are instructions, so a
 * row's figure is exact and repeatable; natively it is time. Each row runs n times after a warm-up and prints `NAME
 * FIGURE`.
 *
 * Contract: `micro` runs all rows, `micro WORD...` those whose name begins with a word. A row whose system call is
 * missing prints `NAME -`. No row needs a disk or a network. Before the rows:
 *   --crowd WHAT=N   they run amid N idle tasks, mounts, descriptors, vmas or entries (crowd.h); may be repeated
 *   --cpus N         CPUs 0 to N-1 run each row at once, each with files and partners of its own (but one folder of
 *                    many names to read); the figure is the elapsed time by all operations done, so under -icount
 *                    the instructions of one. The cache model (tools/plugins/cachemodel.c, vtag=MESSAGES) is told to
 *                    report after each row, and NAME.operations says how many there were.
 *   --threads N      the same by threads of one process, which share everything: for rows that change no file
 *   --times N        each row N times as often, for figures that are time
 *
 * Locks: none; rows that need a partner fork it. CPUs meet at a barrier of plain stores.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "crowd.h"

#define FDS      200
#define ENTRIES  3000
#define RING     64 /* processes of the largest ring of context switches */
#define CPUS     64
#define MESSAGES 0x100000000000UL /* a store into word 64*n of this page is message n to the cache model */
#define FORGET   62
#define REPORT   63

static int zero_fd, null_fd, file_fd, epoll_fd, pipe_fds[2], many[FDS];
static int pair[2], pipe_out[2], pipe_in[2]; /* to the partners of the ping-pong rows */
static int stream[2], ring[RING][2], ring_size, big_fd;
static unsigned *words; /* shared with the futex partner: whose turn it is */
static char *dirty;     /* 8 MiB, written by the row that forks with them */
static const char at_many[] = "/tmp/micro/many";
static char folder[32] = "/tmp/micro", at_file[64], at_new[64], at_a[64], at_b[64];
static unsigned cpus;              /* 0: one, and no barrier */
static _Thread_local unsigned cpu; /* which of them this is */
static unsigned threads, times = 1;
static volatile unsigned *reached; /* by CPU: how often it was at the barrier */
static volatile char *messages;

static unsigned long now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000UL + t.tv_nsec;
}

static int op_getpid(void)
{
	return syscall(SYS_getpid) > 0 ? 0 : -1;
}

static int op_read1(void)
{
	char c;

	return read(zero_fd, &c, 1) == 1 ? 0 : -1;
}

static int op_write_null(void)
{
	return write(null_fd, "x", 1) == 1 ? 0 : -1;
}

static int op_pread_4k(void)
{
	static char page[4096];

	return pread(file_fd, page, sizeof(page), 0) == sizeof(page) ? 0 : -1;
}

static int op_stat(void)
{
	struct stat st;

	return stat(at_file, &st);
}

static int op_open_close(void)
{
	int fd = open(at_file, O_RDONLY);

	return fd < 0 ? -1 : close(fd);
}

static int op_fstat(void)
{
	struct stat st;

	return fstat(file_fd, &st);
}

static int op_poll_200(void)
{
	struct pollfd p[FDS];

	for (int i = 0; i < FDS; i++)
		p[i] = (struct pollfd){ .fd = many[i], .events = POLLIN };
	return poll(p, FDS, 0) < 0 ? -1 : 0;
}

static int op_epoll_200(void)
{
	struct epoll_event e[8];

	return epoll_wait(epoll_fd, e, 8, 0) < 0 ? -1 : 0;
}

static int ping(int out, int in)
{
	char c = 0;

	return write(out, &c, 1) == 1 && read(in, &c, 1) == 1 ? 0 : -1;
}

static int op_pipe_same(void)
{
	return ping(pipe_fds[1], pipe_fds[0]);
}

static int op_pipe_pingpong(void)
{
	return ping(pipe_out[1], pipe_in[0]);
}

static int op_unix_pingpong(void)
{
	return ping(pair[0], pair[0]);
}

static int op_unix_stream(void)
{
	static char block[32768];
	size_t got = 0;

	if (write(stream[0], block, sizeof(block)) != sizeof(block))
		return -1;
	while (got < sizeof(block)) {
		ssize_t n = read(stream[1], block, sizeof(block) - got);

		if (n <= 0)
			return -1;
		got += n;
	}
	return 0;
}

/* Gives the turn to `to` and waits until it is `me` again. */
static void pass_turn(unsigned me, unsigned to)
{
	__atomic_store_n(words, to, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, words, FUTEX_WAKE, 1, NULL, NULL, 0);
	while (__atomic_load_n(words, __ATOMIC_SEQ_CST) != me)
		syscall(SYS_futex, words, FUTEX_WAIT, to, NULL, NULL, 0);
}

static int op_futex_pingpong(void)
{
	pass_turn(0, 1);
	return 0;
}

/* Hands what comes out of the pipe before it on to its own, until that one ends. */
static void hand_on(int i)
{
	char c;

	for (int k = 0; k < RING; k++)
		if (k != i && ring[k][1] > 0)
			close(ring[k][1]);
	while (read(ring[i - 1][0], &c, 1) == 1 && write(ring[i][1], &c, 1) == 1)
		;
	_exit(0);
}

/* A ring of n processes, this one among them; one that stood before ends, as its first pipe does. */
static int start_ring(int n)
{
	for (int i = 0; i < ring_size; i++) {
		close(ring[i][0]);
		close(ring[i][1]);
	}
	memset(ring, 0, sizeof(ring));
	for (int i = 0; i < n; i++)
		if (pipe(ring[i]))
			return -1;
	for (int i = 1; i < n; i++)
		if (!fork())
			hand_on(i);
	ring_size = n;
	return 0;
}

/* A token once around; the first call of a size makes its ring. */
static int around(int n)
{
	if (ring_size != n && start_ring(n))
		return -1;
	return ping(ring[0][1], ring[n - 1][0]);
}

static int op_switch_2(void)
{
	return around(2);
}

static int op_switch_16(void)
{
	return around(16);
}

static int op_switch_64(void)
{
	return around(64);
}

static int op_copy_1m(void)
{
	static char block[1 << 20];

	return pread(big_fd, block, sizeof(block), 0) == sizeof(block) ? 0 : -1;
}

static int op_touch_huge(void)
{
	size_t huge = 2 << 20;
	char *p = mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *at;

	if (p == MAP_FAILED)
		return -1;
	at = (char *)(((unsigned long)p + huge - 1) & -huge);
	(void)madvise(at, huge, MADV_HUGEPAGE); /* a kernel without huge pages pays by the page */
	for (size_t i = 0; i < huge; i += 4096)
		at[i] = 1;
	return munmap(p, 2 * huge);
}

static int op_mmap_munmap(void)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : munmap(p, 65536);
}

static int op_touch_256_pages(void)
{
	size_t bytes = 256 * 4096;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return -1;
	for (size_t i = 0; i < bytes; i += 4096)
		p[i] = 1;
	return munmap(p, bytes);
}

static int reap(pid_t pid)
{
	int status;

	return pid < 0 || waitpid(pid, &status, 0) != pid || status ? -1 : 0;
}

static int op_fork_exit(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return reap(pid);
}

static int op_fork_exec(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/proc/self/exe", "micro", "--nothing", NULL);
		_exit(1);
	}
	return reap(pid);
}

static int op_fork_dirty(void)
{
	for (size_t i = 0; i < 8 << 20; i += 4096)
		dirty[i]++;
	return op_fork_exit();
}

static int op_sh_true(void)
{
	pid_t pid = fork();

	if (!pid) {
		execl("/bin/busybox", "sh", "-c", "true", NULL);
		_exit(1);
	}
	return reap(pid);
}

static int op_create_unlink(void)
{
	int fd = open(at_new, O_CREAT | O_EXCL | O_WRONLY, 0600);

	return fd < 0 || close(fd) ? -1 : unlink(at_new);
}

static int op_rename(void)
{
	static int turn;

	turn = !turn;
	return turn ? rename(at_a, at_b) : rename(at_b, at_a);
}

static void on_signal(int sig)
{
}

static int op_signal_install(void)
{
	return signal(SIGUSR1, on_signal) == SIG_ERR ? -1 : 0;
}

static int op_signal_deliver(void)
{
	return raise(SIGUSR1);
}

static void *nothing(void *arg)
{
	return arg;
}

static int op_thread(void)
{
	pthread_t t;

	return pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL) ? -1 : 0;
}

static int op_readdir(void)
{
	DIR *d = opendir(at_many);
	int n = 0;

	if (!d)
		return -1;
	while (readdir(d))
		n++;
	return closedir(d) || n != ENTRIES + 2;
}

static const struct row {
	const char *name;
	int (*op)(void);
	int n;
} rows[] = {
	{ "getpid", op_getpid, 2000 },
	{ "read_1_byte", op_read1, 2000 },
	{ "write_null", op_write_null, 2000 },
	{ "pread_4k_cached", op_pread_4k, 1000 },
	{ "stat", op_stat, 1000 },
	{ "open_close", op_open_close, 1000 },
	{ "fstat", op_fstat, 1000 },
	{ "poll_200", op_poll_200, 200 },
	{ "epoll_200", op_epoll_200, 1000 },
	{ "pipe_same_task", op_pipe_same, 1000 },
	{ "pipe_pingpong", op_pipe_pingpong, 500 },
	{ "unix_pingpong", op_unix_pingpong, 500 },
	{ "unix_stream_32k", op_unix_stream, 200 },
	{ "futex_pingpong", op_futex_pingpong, 500 },
	{ "switch_2", op_switch_2, 500 },
	{ "switch_16", op_switch_16, 100 },
	{ "switch_64", op_switch_64, 50 },
	{ "signal_install", op_signal_install, 1000 },
	{ "signal_deliver", op_signal_deliver, 500 },
	{ "fork_exit", op_fork_exit, 50 },
	{ "fork_exec_exit", op_fork_exec, 50 },
	{ "fork_dirty_8m", op_fork_dirty, 10 },
	{ "thread_create_join", op_thread, 100 },
	{ "mmap_munmap", op_mmap_munmap, 1000 },
	{ "touch_256_pages", op_touch_256_pages, 20 },
	{ "create_unlink", op_create_unlink, 500 },
	{ "rename", op_rename, 500 },
	{ "readdir_3000", op_readdir, 5 },
	{ "beside_touch_huge", op_touch_huge, 20 },
	{ "beside_copy_1m", op_copy_1m, 20 },
	{ "beside_sh_true", op_sh_true, 20 },
};

static void answer(int in, int out)
{
	char c;

	close(pipe_out[1]);
	close(pair[0]);
	while (read(in, &c, 1) == 1 && write(out, &c, 1) == 1)
		;
	_exit(0);
}

static void answer_futex(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* no pipe's end tells it that the program is over */
	while (__atomic_load_n(words, __ATOMIC_SEQ_CST) != 1)
		syscall(SYS_futex, words, FUTEX_WAIT, 0, NULL, NULL, 0);
	for (;;)
		pass_turn(1, 0);
}

static int start_partners(void)
{
	words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	dirty = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (words == MAP_FAILED || dirty == MAP_FAILED || pipe(pipe_out) || pipe(pipe_in) ||
	    socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || socketpair(AF_UNIX, SOCK_STREAM, 0, stream))
		return -1;
	if (!fork())
		answer(pipe_out[0], pipe_in[1]);
	if (!fork())
		answer(pair[1], pair[1]);
	if (!fork())
		answer_futex();
	return 0;
}

static int prepare_descriptors(void)
{
	epoll_fd = epoll_create1(0);
	for (int i = 0; i < FDS; i += 2) {
		int fds[2];

		if (pipe(fds))
			return -1;
		many[i] = fds[0];
		many[i + 1] = dup(fds[0]);
	}
	for (int i = 0; i < FDS; i++) {
		struct epoll_event e = { .events = EPOLLIN, .data.fd = i };

		if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, many[i], &e))
			return -1;
	}
	return 0;
}

static void name_files(void)
{
	if (cpu)
		snprintf(folder, sizeof(folder), "/tmp/micro%u", cpu);
	snprintf(at_file, sizeof(at_file), "%s/file", folder);
	snprintf(at_new, sizeof(at_new), "%s/new", folder);
	snprintf(at_a, sizeof(at_a), "%s/a", folder);
	snprintf(at_b, sizeof(at_b), "%s/b", folder);
}

static int make_many(void)
{
	char name[64];

	if (mkdir(at_many, 0700) && errno != EEXIST) /* an earlier run's will do */
		return -1;
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(name, sizeof(name), "%s/file-%04d", at_many, i);
		close(open(name, O_CREAT | O_WRONLY, 0600));
	}
	return 0;
}

static int prepare_files(void)
{
	char block[4096] = { 1 }, name[80];

	mkdir(folder, 0700);
	if (!cpu && make_many())
		return -1;
	zero_fd = open("/dev/zero", O_RDONLY);
	null_fd = open("/dev/null", O_WRONLY);
	file_fd = open(at_file, O_CREAT | O_RDWR, 0600);
	close(open(at_a, O_CREAT | O_RDWR, 0600));
	snprintf(name, sizeof(name), "%s/big", folder);
	big_fd = open(name, O_CREAT | O_RDWR, 0600);
	for (int i = 0; i < 256; i++)
		if (write(big_fd, block, sizeof(block)) != sizeof(block))
			return -1;
	return write(file_fd, block, sizeof(block)) == sizeof(block) ? pipe(pipe_fds) : -1;
}

/* ---- many CPUs ---------------------------------------------------------------------------------------------- */

static void tell(unsigned message)
{
	if (cpus && !cpu)
		messages[message * 64] = 1;
}

static void wait_for_all(void)
{
	if (!cpus)
		return;
	reached[cpu]++;
	for (unsigned i = 0; i < cpus; i++)
		while (reached[i] < reached[cpu])
			__builtin_ia32_pause();
}

static int stay_on(unsigned nr)
{
	cpu_set_t set;

	cpu = nr;
	CPU_ZERO(&set);
	CPU_SET(nr, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* This process becomes CPU 0's, children those of the others, unless threads are to come. */
static int spread(void)
{
	reached = mmap(NULL, CPUS * sizeof(*reached), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	messages = mmap((void *)MESSAGES, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (reached == MAP_FAILED || messages == MAP_FAILED)
		return -1;
	for (unsigned i = 1; i < cpus && !threads; i++)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody comes to the barrier any more */
			return stay_on(i);
		}
	return stay_on(0);
}

/* ---- running rows ------------------------------------------------------------------------------------------- */

static void print_row(const struct row *r, unsigned long ns)
{
	unsigned long n = (unsigned long)r->n * times;

	if (cpus > 0 && !cpu)
		printf("%s %lu\n%s.operations %lu\n", r->name, ns / n / cpus, r->name, n * cpus);
	else if (!cpu)
		printf("%s %lu\n", r->name, ns / n);
	fflush(stdout);
}

static void measure(const struct row *r)
{
	unsigned long start;

	for (int i = 0; i < 3; i++)
		if (r->op()) {
			if (!cpu)
				printf("%s -\n", r->name);
			return;
		}
	wait_for_all();
	tell(FORGET);
	start = now_ns(); /* before anybody goes on: the emulator may run another CPU to its end first */
	wait_for_all();
	for (unsigned long i = 0; i < (unsigned long)r->n * times; i++)
		r->op();
	wait_for_all();
	print_row(r, now_ns() - start);
	tell(REPORT);
}

static int wanted(const char *name, char **words)
{
	for (int k = 0; words[k]; k++)
		if (!strncmp(name, words[k], strlen(words[k])))
			return 1;
	return !words[0];
}

static void run_rows(char **words)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (wanted(rows[i].name, words))
			measure(&rows[i]);
}

static char **words_of_threads;

static void *run_thread(void *nr)
{
	if (!stay_on((unsigned long)nr))
		run_rows(words_of_threads);
	return NULL;
}

static int start_threads(char **words)
{
	pthread_t t;

	words_of_threads = words;
	for (unsigned long i = 1; i < threads; i++)
		if (pthread_create(&t, NULL, run_thread, (void *)i))
			return -1;
	return 0;
}

static int take_option(const char *name, const char *value)
{
	unsigned long n = strtoul(value, NULL, 10);

	if (!strcmp(name, "--crowd"))
		return crowd(value, folder);
	if (!strcmp(name, "--times") && n)
		times = n;
	else if (!strcmp(name, "--cpus") && n <= CPUS)
		cpus = n;
	else if (!strcmp(name, "--threads") && n <= CPUS)
		cpus = threads = n;
	else
		return -1;
	return 0;
}

/* The options; NULL: one is wrong, or cannot be done. Else the rows' names behind them. */
static char **take_options(char **arg)
{
	for (; arg[0] && !strncmp(arg[0], "--", 2); arg += 2)
		if (!arg[1] || take_option(arg[0], arg[1]))
			return NULL;
	return arg;
}

int main(int argc, char **argv)
{
	char **words;

	if (argc > 1 && !strcmp(argv[1], "--nothing"))
		return 0;
	mkdir("/tmp", 0777);
	words = take_options(argv + 1);
	if (!words || (cpus && spread())) {
		perror("micro: options");
		return 1;
	}
	name_files();
	if (prepare_files() || prepare_descriptors() || start_partners() || start_threads(words)) {
		perror("micro: prepare");
		return 1;
	}
	usleep(200000); /* what the kernel put off of all that (RCU's callbacks) is not the first row's */
	run_rows(words);
	return 0;
}
