/* SPDX-License-Identifier: MIT
 *
 * Problem: whatever a program passes as a pointer or a number, a system call answers with an error, as on Linux, and
 * never harms the kernel.
 *
 * Idea: every call of kernel/abi/syscalls.tbl that takes a pointer (tools/gen-hostile leaves out those that would end
 * or stop the test) is made with each kind of bad address in all pointers at once, and with numbers that are no
 * descriptors, sizes or flags. What Linux 6.1 answered stands in hostile_linux.h; `hostile -p` prints the answers in
 * that form. A call that a kernel does not have (ENOSYS) passes; for those in `loose`, which check in another order
 * here (CAVEATS.md), any answer does, as long as there is one.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a call and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define POINTERS 6
#define NUMBERS  3
#define ANSWERS  (POINTERS * NUMBERS)

static const struct call {
	int nr;
	const char *name, *kinds;
} calls[] = {
#define ROW(nr, name, kinds) { nr, name, kinds },
#include "hostile_calls.h"
#undef ROW
};

static const struct known {
	const char *name;
	short answer[ANSWERS]; /* errno, 0: success, -1: killed or slow */
} known[] = {
#include "hostile_linux.h"
	{ NULL, { 0 } },
};

static const char *const loose[] = {
	"read",       "write",         "poll",          "pread64",       "pwrite64",
	"mincore",    "sendto",        "recvfrom",      "sendmsg",       "recvmsg",
	"socketpair", "setsockopt",    "getsockopt",    "clock_settime", "clock_nanosleep",
	"mbind",      "set_mempolicy", "get_mempolicy", "migrate_pages", "vmsplice",
	"accept4",    "recvmmsg",      "sendmmsg",      "getrandom",     "execveat",
};

static uintptr_t pointers[POINTERS];
static const long numbers[NUMBERS] = { -1, 0, 0x7fffffff };

static void make_pointers(void)
{
	char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(p + 4096, 4096);
	mprotect(p + 8192, 4096, PROT_NONE);
	memset(p, 0x41, 4096); /* no terminator, no sane value */
	pointers[0] = 1;
	pointers[1] = (uintptr_t)p + 4096;  /* nothing mapped */
	pointers[2] = (uintptr_t)p + 8192;  /* no access */
	pointers[3] = (uintptr_t)p + 4095;  /* the last byte before nothing */
	pointers[4] = 0x00007fffffffffffUL; /* the last byte of user space */
	pointers[5] = 0xffff888000000000UL; /* the kernel's */
}

static int one(const struct call *c, int p, int n)
{
	long a[6] = { 0 };

	for (int i = 0; c->kinds[i]; i++)
		a[i] = c->kinds[i] == 'P' ? (long)pointers[p] : numbers[n];
	errno = 0;
	return syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]) == -1 ? errno : 0;
}

/* All answers of one call, from a child that may do what it likes to itself. */
static void ask(const struct call *c, short *answer)
{
	int fds[2], status;
	pid_t pid;

	for (int i = 0; i < ANSWERS; i++)
		answer[i] = -1;
	if (pipe(fds))
		return;
	pid = fork();
	if (!pid) {
		short mine[ANSWERS];

		dup2(fds[1], 200);
		dup2(open("/dev/null", O_RDWR), 0);
		for (int fd = 3; fd < 20; fd++)
			close(fd);
		for (int sig = 1; sig < 32; sig++)
			signal(sig, sig == SIGALRM ? SIG_DFL : SIG_IGN);
		alarm(20);
		for (int p = 0; p < POINTERS; p++)
			for (int n = 0; n < NUMBERS; n++)
				mine[p * NUMBERS + n] = one(c, p, n);
		write(200, mine, sizeof(mine));
		_exit(0);
	}
	close(fds[1]);
	if (read(fds[0], answer, ANSWERS * sizeof(*answer)) != ANSWERS * (ssize_t)sizeof(*answer))
		answer[0] = -1;
	close(fds[0]);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static const struct known *find(const char *name)
{
	for (unsigned i = 0; i + 1 < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(known[i].name, name))
			return &known[i];
	return NULL;
}

static void print_row(const struct call *c, const short *answer)
{
	printf("\t{ \"%s\", {", c->name);
	for (int i = 0; i < ANSWERS; i++)
		printf(" %d%s", answer[i], i + 1 < ANSWERS ? "," : " } },\n");
}

static void judge(const struct call *c, const short *answer)
{
	const struct known *k = find(c->name);

	for (unsigned i = 0; i < sizeof(loose) / sizeof(loose[0]); i++)
		if (!strcmp(loose[i], c->name))
			k = answer[0] < 0 ? &known[0] : NULL;
	for (int i = 0; k && i < ANSWERS; i++) {
		if (answer[i] == k->answer[i] || answer[i] == ENOSYS)
			continue;
		printf("not ok %s: address %d, number %ld: %d, not %d\n", c->name, i / NUMBERS, numbers[i % NUMBERS],
		       answer[i], k->answer[i]);
		abi_failed = 1;
		return;
	}
	printf("ok %s\n", c->name);
}

int main(int argc, char **argv)
{
	struct rlimit few = { 256, 256 };

	setrlimit(RLIMIT_NOFILE, &few);
	make_pointers();
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		short answer[ANSWERS];

		ask(&calls[i], answer);
		if (argc > 1)
			print_row(&calls[i], answer);
		else
			judge(&calls[i], answer);
		fflush(stdout);
	}
	return abi_status();
}
