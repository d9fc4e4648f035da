/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Memory calls: mmap, munmap, mprotect, mremap, madvise, brk, fork's copies, shared memory, faults.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "abi.h"

#define PAGE 4096UL

static sigjmp_buf fault_out;
static volatile int fault_sig, fault_code;
static void *volatile fault_addr;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	fault_sig = sig;
	fault_code = si->si_code;
	fault_addr = si->si_addr;
	siglongjmp(fault_out, 1);
}

/* The signal that touching p raises, or 0. */
static int touch(volatile char *p, int write)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	fault_sig = 0;
	if (!sigsetjmp(fault_out, 1)) {
		if (write)
			*p = *p + 1;
		else
			(void)*p;
	}
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
	return fault_sig;
}

static char *anon(size_t n)
{
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	want(p != MAP_FAILED);
	return p;
}

CASE(zero_pages)
{
	char *p = anon(64 * PAGE);

	for (int i = 0; i < 64; i++)
		want_eq(p[i * PAGE + i], 0);
	p[5] = 1;
	want_eq(p[5], 1);
	want_eq(p[6], 0);
	want_eq(munmap(p, 64 * PAGE), 0);
	want_eq(touch(p, 0), SIGSEGV);
	want_eq(fault_code, SEGV_MAPERR);
	want(fault_addr == p);
}

/* A page of zeros that was only read is nobody's own, but other threads and the CPU's translations know of it. */
CASE(zero_pages_go)
{
	char *p = anon(PAGE);
	int fd = (int)syscall(SYS_memfd_create, "other", 0);

	want(fd >= 0 && write(fd, "x", 1) == 1 && ftruncate(fd, PAGE) == 0);
	for (int round = 0; round < 20; round++) {
		want_eq(*(volatile char *)p, 0);
		want(mmap(p, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == p);
		want_eq(*(volatile char *)p, 'x');
		want(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p);
	}
	want_eq(*(volatile char *)p, 0);
	munmap(p, PAGE);
	want_eq(touch(p, 0), SIGSEGV);
	close(fd);
}

CASE(fixed)
{
	char *p = anon(4 * PAGE), *q;

	memset(p, 7, 4 * PAGE);
	q = mmap(p + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	want(q == p + PAGE);
	want_eq(p[0], 7);
	want_eq(p[PAGE], 0);
	want_eq(p[2 * PAGE], 7);
	want_errno((intptr_t)mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
		   EEXIST);
	want_errno((intptr_t)mmap(p + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), EINVAL);
	munmap(p, 4 * PAGE);
}

CASE(bad_arguments)
{
	want_errno((intptr_t)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
	want_errno((intptr_t)mmap(NULL, PAGE, PROT_READ, MAP_ANONYMOUS, -1, 0), EINVAL);
	want_errno((intptr_t)mmap(NULL, 1UL << 62, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
	want_errno((intptr_t)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, -1, 0), EBADF);
	want_errno(munmap((void *)1, PAGE), EINVAL);
	want_errno(syscall(SYS_munmap, PAGE * 64, 0), EINVAL);
	want_errno(syscall(SYS_mprotect, 1, PAGE, PROT_READ), EINVAL);
	want_errno(syscall(SYS_mprotect, PAGE * 64, PAGE, PROT_READ), ENOMEM);
	want_errno(syscall(SYS_madvise, PAGE * 64, PAGE, 12345), EINVAL);
	want_errno(syscall(SYS_mremap, 1, PAGE, PAGE, 0, 0), EINVAL);
	want_errno(syscall(SYS_mremap, PAGE * 64, PAGE, PAGE, 0, 0), EFAULT);
}

CASE(protection)
{
	char *p = anon(3 * PAGE);

	memset(p, 1, 3 * PAGE);
	want_eq(mprotect(p + PAGE, PAGE, PROT_READ), 0);
	want_eq(touch(p + PAGE, 0), 0);
	want_eq(touch(p + PAGE, 1), SIGSEGV);
	want_eq(fault_code, SEGV_ACCERR);
	want_eq(touch(p, 1), 0);
	want_eq(touch(p + 2 * PAGE, 1), 0);
	want_eq(mprotect(p, 3 * PAGE, PROT_NONE), 0);
	want_eq(touch(p, 0), SIGSEGV);
	want_eq(fault_code, SEGV_ACCERR);
	want_eq(mprotect(p, 3 * PAGE, PROT_READ | PROT_WRITE), 0);
	want_eq(p[PAGE], 1);
	want_eq(p[0], 2);
	munmap(p, 3 * PAGE);
}

/* The kernel itself may not use what the program may not. */
CASE(protection_from_kernel)
{
	char *p = anon(2 * PAGE);
	struct rlimit r;

	memset(p, 0, 2 * PAGE);
	mprotect(p, PAGE, PROT_NONE);
	want_errno(getrlimit(RLIMIT_STACK, (struct rlimit *)p), EFAULT);
	want_errno(prctl(PR_SET_NAME, p), EFAULT); /* reading neither */
	mprotect(p, PAGE, PROT_READ);
	want_errno(getrlimit(RLIMIT_STACK, (struct rlimit *)p), EFAULT);
	mprotect(p, PAGE, PROT_READ | PROT_WRITE);
	want_eq(getrlimit(RLIMIT_STACK, (struct rlimit *)p), 0);
	want_eq(getrlimit(RLIMIT_STACK, &r), 0);
	want(!memcmp(&r, p, sizeof(r)));
	munmap(p, 2 * PAGE);
}

CASE(no_exec)
{
	unsigned char *p = (unsigned char *)anon(PAGE);

	p[0] = 0xc3; /* ret */
	if (!sigsetjmp(fault_out, 1)) {
		struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

		sigaction(SIGSEGV, &sa, NULL);
		fault_sig = 0;
		((void (*)(void))p)();
	}
	signal(SIGSEGV, SIG_DFL);
	want_eq(fault_sig, SIGSEGV);
	want_eq(fault_code, SEGV_ACCERR);
	want_eq(mprotect(p, PAGE, PROT_READ | PROT_EXEC), 0);
	((void (*)(void))p)();
	munmap(p, PAGE);
}

CASE(remap)
{
	char *p = anon(2 * PAGE), *q;

	strcpy(p, "first");
	strcpy(p + PAGE, "second");
	q = mremap(p, 2 * PAGE, 600 * PAGE, MREMAP_MAYMOVE);
	want(q != MAP_FAILED);
	want(!strcmp(q, "first") && !strcmp(q + PAGE, "second"));
	want_eq(q[599 * PAGE], 0);
	q[599 * PAGE] = 3;
	p = mremap(q, 600 * PAGE, PAGE, 0);
	want(p == q);
	want_eq(touch(q + PAGE, 0), SIGSEGV);
	q = anon(4 * PAGE);
	p = mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, q + PAGE);
	want(p == q + PAGE && !strcmp(p, "first"));
	munmap(q, 4 * PAGE);
}

CASE(huge_moves_and_splits)
{
	size_t n = 8UL << 20;
	char *p = anon(n), *q;

	for (size_t i = 0; i < n; i += PAGE)
		p[i] = i >> 12;
	want_eq(mprotect(p + 5 * PAGE, PAGE, PROT_READ), 0);
	want_eq(touch(p + 5 * PAGE, 1), SIGSEGV);
	want_eq(mprotect(p + 5 * PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
	want_eq(madvise(p + (3UL << 20), PAGE * 3, MADV_DONTNEED), 0);
	want_eq(p[3UL << 20], 0);
	want_eq(munmap(p + (4UL << 20) + PAGE, PAGE), 0);
	q = mremap(p, 2UL << 20, 2UL << 20, MREMAP_MAYMOVE | MREMAP_FIXED, anon(4UL << 20));
	want(q != MAP_FAILED);
	for (size_t i = 0; i < 2UL << 20; i += PAGE)
		want_eq(q[i], (char)(i >> 12));
	want_eq(p[(4UL << 20)], 0);
	want_eq(p[(4UL << 20) + 2 * PAGE], 2);
	munmap(p, n);
	munmap(q, 4UL << 20);
}

CASE(advice)
{
	char *p = anon(8 * PAGE);

	memset(p, 5, 8 * PAGE);
	want_eq(madvise(p + PAGE, 2 * PAGE, MADV_DONTNEED), 0);
	want_eq(p[0], 5);
	want_eq(p[PAGE], 0);
	want_eq(p[3 * PAGE], 5);
	want_eq(madvise(p, 8 * PAGE, MADV_WILLNEED), 0);
	want_eq(madvise(p, 8 * PAGE, MADV_NORMAL), 0);
	munmap(p + 4 * PAGE, PAGE);
	want_errno(madvise(p, 8 * PAGE, MADV_DONTNEED), ENOMEM);
	want_eq(p[7 * PAGE], 0);
	munmap(p, 8 * PAGE);
}

static int child_status(pid_t pid)
{
	int st;

	want_eq(waitpid(pid, &st, 0), pid);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 1000 + WTERMSIG(st);
}

CASE(fork_copies)
{
	size_t n = 4UL << 20;
	char *small = anon(PAGE), *big = anon(n);
	pid_t pid;

	small[1] = 'a';
	memset(big, 'b', n);
	pid = fork();
	if (!pid) {
		if (small[1] != 'a' || big[n - 1] != 'b')
			_exit(1);
		small[1] = 'x';
		memset(big, 'y', n);
		_exit(small[1] == 'x' && big[12345] == 'y' ? 0 : 2);
	}
	big[0] = 'z';
	want_eq(child_status(pid), 0);
	want_eq(small[1], 'a');
	want_eq(big[0], 'z');
	for (size_t i = 1; i < n; i += 1000)
		want_eq(big[i], 'b');
	munmap(small, PAGE);
	munmap(big, n);
}

CASE(shared_anonymous)
{
	int *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	want(p != MAP_FAILED);
	p[0] = 1;
	pid = fork();
	if (!pid) {
		p[0]++;
		p[1024] = 77;
		_exit(0);
	}
	want_eq(child_status(pid), 0);
	want_eq(p[0], 2);
	want_eq(p[1024], 77);
	munmap(p, 2 * PAGE);
}

CASE(fork_advice)
{
	char *p = anon(3 * PAGE);
	pid_t pid;

	memset(p, 9, 3 * PAGE);
	want_eq(madvise(p, PAGE, MADV_DONTFORK), 0);
	want_eq(madvise(p + PAGE, PAGE, MADV_WIPEONFORK), 0);
	pid = fork();
	if (!pid) {
		if (p[PAGE] || p[2 * PAGE] != 9)
			_exit(1);
		_exit(touch(p, 0) == SIGSEGV ? 0 : 2);
	}
	want_eq(child_status(pid), 0);
	want_eq(p[PAGE], 9);
	munmap(p, 3 * PAGE);
}

static char deep(int n)
{
	volatile char here[4096];

	here[0] = n;
	return n ? here[0] + deep(n - 1) : 0;
}

CASE(stack_grows)
{
	(void)deep(1000); /* about 4 MiB */
}

CASE(heap)
{
	char *start = (char *)syscall(SYS_brk, 0);

	want((char *)syscall(SYS_brk, start + 20000) == start + 20000);
	start[19999] = 4;
	want_eq(start[0], 0);
	want((char *)syscall(SYS_brk, start) == start);
	want_eq(touch(start + 8192, 0), SIGSEGV);
	want((char *)syscall(SYS_brk, 1) == start); /* refused: where it is */
}

CASE(limits)
{
	struct rlimit old, r;

	getrlimit(RLIMIT_AS, &old);
	r = old;
	r.rlim_cur = 64UL << 20;
	want_eq(setrlimit(RLIMIT_AS, &r), 0);
	want_errno((intptr_t)mmap(NULL, 128UL << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), ENOMEM);
	want_eq(setrlimit(RLIMIT_AS, &old), 0);
	want(munmap(anon(128UL << 20), 128UL << 20) == 0);
}

CASE(residency)
{
	unsigned char vec[4];
	char *p = anon(4 * PAGE);

	p[PAGE] = 1;
	want_eq(mincore(p, 4 * PAGE, vec), 0);
	want_eq(vec[0] & 1, 0);
	want_eq(vec[1] & 1, 1);
	munmap(p + 2 * PAGE, PAGE);
	want_errno(mincore(p, 4 * PAGE, vec), ENOMEM);
	want_errno(mincore(p + 1, PAGE, vec), EINVAL);
	munmap(p, 4 * PAGE);
}

#define DROP "/proc/sys/vm/drop_caches"

static int drop(const char *what)
{
	int fd = open(DROP, O_WRONLY), n;

	if (fd < 0)
		return -1;
	n = write(fd, what, strlen(what));
	close(fd);
	return n;
}

CASE(caches_are_dropped_by_root)
{
	int status;
	pid_t child;

	want_eq(drop("1"), 1);
	want_eq(drop("2\n"), 2);
	want_eq(drop("3"), 1);
	want_errno(drop("0"), EINVAL);
	want_errno(drop("x"), EINVAL);
	child = fork();
	if (!child) {
		want_eq(setuid(1000), 0);
		want_errno(open(DROP, O_WRONLY), EACCES);
		_exit(0);
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
}

#define PRESENT (1ULL << 63)
#define ALONE   (1ULL << 56)

static uint64_t page_word(int fd, void *at)
{
	uint64_t w = 0;

	want_eq(pread(fd, &w, sizeof(w), (uintptr_t)at / PAGE * sizeof(w)), sizeof(w));
	return w;
}

CASE(map_of_pages)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY), status;
	uint64_t w;
	pid_t child;

	want(p != MAP_FAILED && fd >= 0);
	p[PAGE] = 1;
	want_eq(page_word(fd, p) & PRESENT, 0);
	w = page_word(fd, p + PAGE);
	want(w & PRESENT && w & ALONE && !(w >> 61 & 3));
	want(w & ((1ULL << 55) - 1)); /* we are root */
	want_errno(pread(fd, &w, 7, 0), EINVAL);
	want_errno(pread(fd, &w, 8, 4), EINVAL);
	child = fork();
	if (!child) {
		fd = open("/proc/self/pagemap", O_RDONLY);
		w = page_word(fd, p + PAGE);
		want(w & PRESENT && !(w & ALONE));
		p[PAGE] = 2;
		want(page_word(fd, p + PAGE) & ALONE);
		_exit(0);
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
	want(page_word(fd, p + PAGE) & ALONE);
	munmap(p, 4 * PAGE);
	want_eq(page_word(fd, p + PAGE), 0);
	close(fd);
}

#define HUGE_MODE "/sys/kernel/mm/transparent_hugepage/enabled"

static int set_huge_mode(const char *mode)
{
	int fd = open(HUGE_MODE, O_WRONLY);
	ssize_t n = write(fd, mode, strlen(mode));

	close(fd);
	return n == (ssize_t)strlen(mode) ? 0 : -1;
}

/* KiB of this process that lie in large pages. */
static long huge_kib(void)
{
	char line[128];
	FILE *f = fopen("/proc/self/smaps", "r");
	long sum = 0, n;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "AnonHugePages: %ld", &n) == 1)
			sum += n;
	if (f)
		fclose(f);
	return sum;
}

/* In an area of its own, which stays: the tables of one before it would have single pages. */
static long huge_of(int advice)
{
	size_t bytes = 8 << 20;
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long before = huge_kib();

	madvise(p, bytes, advice);
	for (size_t at = 0; at < bytes; at += 4096)
		p[at] = 1;
	return huge_kib() - before;
}

/* Who may have large pages is the administrator's to say, then the program's. */
CASE(large_pages)
{
	char old[64] = "", *mode;
	int fd = open(HUGE_MODE, O_RDONLY);

	want(fd >= 0 && read(fd, old, sizeof(old) - 1) > 0);
	close(fd);
	want_errno(set_huge_mode("sometimes"), EINVAL);
	want_eq(set_huge_mode("never"), 0);
	want_eq(huge_of(MADV_HUGEPAGE), 0);
	want_eq(set_huge_mode("madvise"), 0);
	want_eq(huge_of(MADV_NORMAL), 0);
	want(huge_of(MADV_HUGEPAGE) >= 2048);
	want_eq(set_huge_mode("always"), 0);
	want_eq(huge_of(MADV_NOHUGEPAGE), 0);
	want(huge_of(MADV_NORMAL) >= 2048);
	mode = strchr(old, '[') + 1;
	*strchr(mode, ']') = '\0';
	want_eq(set_huge_mode(mode), 0);
}

CASE(locking)
{
	char *p = anon(4 * PAGE);
	unsigned char vec[4];

	want_eq(mlock(p, 4 * PAGE), 0);
	want_eq(mincore(p, 4 * PAGE, vec), 0);
	want_eq(vec[3] & 1, 1);
	want_errno(madvise(p, PAGE, MADV_DONTNEED), EINVAL);
	want_eq(munlock(p, 4 * PAGE), 0);
	want_eq(madvise(p, PAGE, MADV_DONTNEED), 0);
	munmap(p, 4 * PAGE);
}

int main(void)
{
	RUN(zero_pages);
	RUN(zero_pages_go);
	RUN(fixed);
	RUN(bad_arguments);
	RUN(protection);
	RUN(protection_from_kernel);
	RUN(no_exec);
	RUN(remap);
	RUN(huge_moves_and_splits);
	RUN(advice);
	RUN(fork_copies);
	RUN(shared_anonymous);
	RUN(fork_advice);
	RUN(stack_grows);
	RUN(heap);
	RUN(limits);
	RUN(residency);
	RUN(caches_are_dropped_by_root);
	RUN(map_of_pages);
	RUN(large_pages);
	RUN(locking);
	return abi_status();
}
