/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: exec: what the new program finds (arguments, environment, auxiliary vector, signals, descriptors), scripts,
 * threads; and programs whose headers are damaged, which may run or not but harm nobody else.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

static const char *self;

static int status_of(pid_t p)
{
	int st;

	want_eq(waitpid(p, &st, 0), p);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 1000 + WTERMSIG(st);
}

static pid_t start(const char *file, char *const argv[], char *const envp[])
{
	pid_t p = fork();

	if (!p) {
		execve(file, argv, envp);
		_exit(200 + errno);
	}
	return p;
}

/* What the program does when it is its own child: argv[1] says what to look at. */
static int as_child(int argc, char **argv)
{
	struct sigaction sa;
	sigset_t s;

	if (!strcmp(argv[1], "args"))
		return argc == 4 && !strcmp(argv[2], "") && !strcmp(argv[3], "b c") && !strcmp(getenv("X"), "1=2") ? 0
														   : 1;
	if (!strcmp(argv[1], "signals")) {
		sigaction(SIGUSR1, NULL, &sa);
		if (sa.sa_handler != SIG_DFL)
			return 1;
		sigaction(SIGUSR2, NULL, &sa);
		if (sa.sa_handler != SIG_IGN)
			return 2;
		sigprocmask(SIG_SETMASK, NULL, &s);
		return sigismember(&s, SIGHUP) && !sigismember(&s, SIGINT) ? 0 : 3;
	}
	if (!strcmp(argv[1], "descriptors"))
		return fcntl(50, F_GETFD) == -1 && fcntl(51, F_GETFD) == 0 ? 0 : 1;
	if (!strcmp(argv[1], "exit"))
		return argc == 3 ? atoi(argv[2]) : 1;
	if (!strcmp(argv[1], "pid"))
		return getpid() == atoi(argv[2]) && syscall(SYS_gettid) == getpid() ? 0 : 1;
	if (!strcmp(argv[1], "script one arg"))
		return argc == 4 && !strcmp(argv[2], "/tmp/abi-script") && !strcmp(argv[3], "more") ? 0 : 1;
	return 9;
}

CASE(arguments)
{
	char *argv[] = { "name", "args", "", "b c", NULL }, *envp[] = { "X=1=2", NULL };

	want_eq(status_of(start(self, argv, envp)), 0);
}

static void on_signal(int sig)
{
}

CASE(signals)
{
	char *argv[] = { "name", "signals", NULL };
	pid_t p = fork();

	if (!p) {
		sigset_t s;

		signal(SIGUSR1, on_signal);
		signal(SIGUSR2, SIG_IGN);
		sigemptyset(&s);
		sigaddset(&s, SIGHUP);
		sigprocmask(SIG_SETMASK, &s, NULL);
		execve(self, argv, NULL);
		_exit(100);
	}
	want_eq(status_of(p), 0);
}

CASE(descriptors)
{
	char *argv[] = { "name", "descriptors", NULL };

	want_eq(dup3(1, 50, O_CLOEXEC), 50);
	want_eq(dup2(1, 51), 51);
	want_eq(status_of(start(self, argv, NULL)), 0);
	close(50);
	close(51);
}

static void *exec_in_thread(void *arg)
{
	char **argv = arg;

	execve(self, argv, NULL);
	_exit(100);
}

/* The process keeps its number, whichever thread calls exec. */
CASE(from_a_thread)
{
	char number[16], *argv[] = { "name", "pid", number, NULL };
	pid_t p = fork();
	pthread_t t;

	if (!p) {
		snprintf(number, sizeof(number), "%d", getpid());
		pthread_create(&t, NULL, exec_in_thread, argv);
		for (;;)
			pause();
	}
	want_eq(status_of(p), 0);
}

static void *tell_number(void *out)
{
	*(volatile pid_t *)out = (pid_t)syscall(SYS_gettid);
	pause(); /* until it is cancelled */
	return NULL;
}

/* A thread has a folder of its own in /proc, too; it tells whose thread it is. */
CASE(folder_of_a_thread)
{
	volatile pid_t tid = 0;
	char path[32], text[2048], want_text[32];
	pthread_t t;
	ssize_t n;
	int fd;

	pthread_create(&t, NULL, tell_number, (void *)&tid);
	while (!tid)
		usleep(1000);
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	fd = open(path, O_RDONLY);
	want(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	close(fd);
	snprintf(want_text, sizeof(want_text), "\nTgid:\t%d\n", getpid());
	want(strstr(text, want_text) != NULL);
	snprintf(want_text, sizeof(want_text), "\nPid:\t%d\n", tid);
	want(strstr(text, want_text) != NULL);
	pthread_cancel(t);
	pthread_join(t, NULL);
	want_errno(open(path, O_RDONLY), ENOENT);
}

CASE(auxiliary_vector)
{
	const unsigned char *random = (void *)getauxval(AT_RANDOM);
	const ElfW(Phdr) *ph = (void *)getauxval(AT_PHDR);
	int loads = 0, sum = 0;

	want_eq(getauxval(AT_PAGESZ), 4096);
	want_eq(getauxval(AT_UID), getuid());
	want_eq(getauxval(AT_EGID), getegid());
	want_eq(getauxval(AT_CLKTCK), 100);
	want_eq(getauxval(AT_SECURE), 0);
	want(!strcmp((char *)getauxval(AT_PLATFORM), "x86_64"));
	want(getauxval(AT_HWCAP) & 1);
	want(getauxval(AT_MINSIGSTKSZ) >= 1024);
	for (int i = 0; i < 16; i++)
		sum += random[i];
	want(sum > 0);
	want_eq(getauxval(AT_PHENT), sizeof(*ph));
	for (unsigned i = 0; i < getauxval(AT_PHNUM); i++)
		loads += ph[i].p_type == PT_LOAD;
	want(loads >= 1);
	want(strlen((char *)getauxval(AT_EXECFN)) > 0);
}

static int write_file(const char *path, const char *text, size_t n, int mode)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600), ok;

	if (fd < 0)
		return 0;
	ok = write(fd, text, n) == (ssize_t)n;
	close(fd);
	return ok && !chmod(path, mode);
}

CASE(scripts)
{
	char line[300], *argv[] = { "/tmp/abi-script", "more", NULL };

	snprintf(line, sizeof(line), "#!%s script one arg \nrest\n", self);
	mkdir("/tmp", 0777);
	want(write_file("/tmp/abi-script", line, strlen(line), 0755));
	/* The words after the interpreter are one argument. */
	want_eq(status_of(start("/tmp/abi-script", argv, NULL)), 0);
	want_eq(chmod("/tmp/abi-script", 0644), 0);
	if (getuid())
		want_eq(status_of(start("/tmp/abi-script", argv, NULL)), 200 + EACCES);
	want(write_file("/tmp/abi-script", "#!/no/such/interpreter\n", 23, 0755));
	want_eq(status_of(start("/tmp/abi-script", argv, NULL)), 200 + ENOENT);
	want(write_file("/tmp/abi-script", "#!/tmp/abi-script\n", 18, 0755));
	want_eq(status_of(start("/tmp/abi-script", argv, NULL)), 200 + ELOOP);
	unlink("/tmp/abi-script");
}

CASE(not_a_program)
{
	char *argv[] = { "x", NULL };

	want(write_file("/tmp/abi-file", "hello", 5, 0755));
	want_eq(status_of(start("/tmp/abi-file", argv, NULL)), 200 + ENOEXEC);
	want(write_file("/tmp/abi-file", "\177ELF\2\1\1", 7, 0755));
	want_eq(status_of(start("/tmp/abi-file", argv, NULL)), 200 + ENOEXEC);
	unlink("/tmp/abi-file");
	want_eq(status_of(start("/tmp", argv, NULL)), 200 + EACCES);
	want_eq(status_of(start("/no/such", argv, NULL)), 200 + ENOENT);
}

CASE(too_much)
{
	static char huge[140000];
	char *argv[] = { "name", huge, NULL };

	memset(huge, 'x', sizeof(huge) - 1);
	want_eq(status_of(start(self, argv, NULL)), 200 + E2BIG);
}

/* A forked child is the same program: /proc/self/exe names it, and can be run, without an exec in between. */
CASE(own_program_after_fork)
{
	char mine[256] = "", childs[256] = "";
	char *argv[] = { "x", "exit", "7", NULL };
	int fds[2], status;
	pid_t pid;

	want(readlink("/proc/self/exe", mine, sizeof(mine) - 1) > 0);
	want(pipe(fds) == 0);
	pid = fork();
	if (!pid) {
		ssize_t n = readlink("/proc/self/exe", childs, sizeof(childs));

		_exit(n > 0 && write(fds[1], childs, n) == n ? 0 : 1);
	}
	want(waitpid(pid, &status, 0) == pid && status == 0);
	want(read(fds[0], childs, sizeof(childs) - 1) > 0);
	want(!strcmp(mine, childs));
	want_eq(status_of(start("/proc/self/exe", argv, NULL)), 7);
	close(fds[0]);
	close(fds[1]);
}

static unsigned draw(unsigned below)
{
	static unsigned long state = 88172645463325252;

	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

/* Up to four places of the file's header or the table behind it become something else. */
static void damage(char *image)
{
	static const unsigned long odd[] = { 0,         1,         4095,           4096,           0x7fffffffUL,
					     1UL << 31, 1UL << 32, 0x7ffffffff000, 0x7fffffffffff, 1UL << 47,
					     1UL << 63, ~0UL,      ~0UL << 12 };
	Elf64_Ehdr *e = (void *)image;
	unsigned bytes = sizeof(*e) + e->e_phnum * sizeof(Elf64_Phdr);

	for (unsigned n = 1 + draw(4); n; n--) {
		if (draw(2))
			image[draw(bytes)] ^= 1 << draw(8);
		else
			memcpy(image + draw(bytes / 8) * 8, &odd[draw(sizeof(odd) / 8)], 8);
	}
}

/* The program in the file, with a moment to live. */
static pid_t start_shortly(const char *file)
{
	char *argv[] = { "x", "exit", "7", NULL };
	struct itimerval moment = { .it_value.tv_usec = 200000 };
	struct rlimit none = { 0, 0 };
	pid_t p = fork();

	if (!p) {
		setrlimit(RLIMIT_CORE, &none);
		setrlimit(RLIMIT_FSIZE, &none);
		setitimer(ITIMER_REAL, &moment, NULL);
		if (setuid(65534))
			_exit(199);
		execve(file, argv, NULL);
		_exit(200 + (errno < 50 ? errno : 50));
	}
	return p;
}

CASE(damaged_programs)
{
	char *whole[] = { "x", "exit", "7", NULL };
	unsigned ran = 0, refused = 0;
	static char image[1 << 20], copy[1 << 20];
	int fd = open(self, O_RDONLY), status;
	ssize_t bytes = read(fd, image, sizeof(image));

	close(fd);
	want(bytes > 4096 && bytes < (ssize_t)sizeof(image));
	for (unsigned round = 0; round < 400; round++) {
		memcpy(copy, image, bytes);
		damage(copy);
		want(write_file("/tmp/abi-file", copy, round % 8 ? bytes : draw(bytes), 0755));
		status = status_of(start_shortly("/tmp/abi-file"));
		unlink("/tmp/abi-file");
		want(status != 199);
		ran += status == 7;
		refused += status > 200 && status <= 250;
	}
	want(ran && refused);
	want_eq(status_of(start(self, whole, NULL)), 7);
}

int main(int argc, char **argv)
{
	self = argv[0];
	if (argc > 1)
		return as_child(argc, argv);
	RUN(arguments);
	RUN(signals);
	RUN(descriptors);
	RUN(from_a_thread);
	RUN(folder_of_a_thread);
	RUN(auxiliary_vector);
	RUN(scripts);
	RUN(not_a_program);
	RUN(too_much);
	RUN(own_program_after_fork);
	RUN(damaged_programs);
	return abi_status();
}
