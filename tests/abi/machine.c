/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: The machine under programs: registers and vector state across switches, signals and forks; exceptions as
 * signals with their codes; TLBs of several CPUs; threads that sleep and wake each other; the clocks' agreement; odd
 * instruction pointers.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

static long sum_of(double seed)
{
	double x = seed;

	for (int i = 0; i < 500; i++)
		x = x * 1.0000001 + 0.5;
	return (long)(x * 1000);
}

static atomic_int stop;

static void *keep_summing(void *arg)
{
	double seed = (double)(intptr_t)arg;
	long expected = sum_of(seed);

	while (!atomic_load(&stop))
		if (sum_of(seed) != expected)
			return (void *)1;
	return NULL;
}

CASE(vectors_survive_switches)
{
	pthread_t t[4];

	atomic_store(&stop, 0);
	for (intptr_t i = 0; i < 4; i++)
		want_eq(pthread_create(&t[i], NULL, keep_summing, (void *)(i + 1)), 0);
	for (int i = 0; i < 200; i++)
		sched_yield();
	usleep(30000);
	atomic_store(&stop, 1);
	for (int i = 0; i < 4; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		want(bad == NULL);
	}
}

static volatile double trash;
static void spoil(int sig)
{
	double x = sig;

	for (int i = 0; i < 50; i++)
		x = x * 1.5 + 1;
	trash = x;
}

CASE(vectors_survive_signals)
{
	uint64_t in[4] = { 1, 2, 3, 4 }, out[4] = { 0 };

	signal(SIGUSR1, spoil);
	__asm__ volatile("movups (%2), %%xmm6\n"
			 "movups 16(%2), %%xmm15\n"
			 "syscall\n"
			 "movups %%xmm6, (%3)\n"
			 "movups %%xmm15, 16(%3)\n"
			 :
			 : "a"(SYS_kill), "D"(getpid()), "r"(in), "r"(out), "S"(SIGUSR1)
			 : "rcx", "r11", "memory", "xmm6", "xmm15");
	want(memcmp(in, out, sizeof(in)) == 0);
}

CASE(vectors_go_to_the_child)
{
	uint64_t in[2] = { 0x1234, 0x5678 }, out[2];
	int status, pid;

	__asm__ volatile("movups (%2), %%xmm9\n"
			 "syscall\n"
			 "movups %%xmm9, (%3)\n"
			 : "=a"(pid)
			 : "a"(SYS_fork), "r"(in), "r"(out)
			 : "rcx", "r11", "memory", "xmm9");
	if (pid == 0)
		_exit(memcmp(in, out, sizeof(in)) ? 1 : 0);
	want(pid > 0);
	want(memcmp(in, out, sizeof(in)) == 0);
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
}

static siginfo_t seen;
static sigjmp_buf back;
static void caught(int sig, siginfo_t *si, void *uc)
{
	seen = *si;
	siglongjmp(back, 1);
}

/* Runs fn; it must raise sig with this si_code. */
static void raises(void (*fn)(void), int sig, int code)
{
	struct sigaction sa = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };

	want_eq(sigaction(sig, &sa, NULL), 0);
	if (!sigsetjmp(back, 1)) {
		fn();
		abi_fail("no signal came");
	}
	want_eq(seen.si_signo, sig);
	want_eq(seen.si_code, code);
}

static void divide(void)
{
	__asm__ volatile("xorl %%edx, %%edx; movl $1, %%eax; xorl %%ecx, %%ecx; divl %%ecx" : : : "eax", "ecx", "edx");
}
static void undefined(void)
{
	__asm__ volatile("ud2");
}
static void breakpoint(void)
{
	__asm__ volatile("int3");
}
static void halt(void)
{
	__asm__ volatile("hlt");
}
static volatile uintptr_t low = 8, high = 0xffffffff80100000UL;
static void read_null(void)
{
	(void)*(volatile int *)low;
}
static void write_code(void)
{
	*(volatile char *)(uintptr_t)divide = 0;
}
static void jump_odd(void)
{
	__asm__ volatile("movabsq $0x8000000000000000, %%rax; jmp *%%rax" : : : "rax");
}
static void read_kernel(void)
{
	(void)*(volatile int *)high;
}

CASE(exceptions_are_signals)
{
	raises(divide, SIGFPE, FPE_INTDIV);
	raises(undefined, SIGILL, ILL_ILLOPN);
	raises(breakpoint, SIGTRAP, SI_KERNEL);
	raises(halt, SIGSEGV, SI_KERNEL);
	raises(read_null, SIGSEGV, SEGV_MAPERR);
	want(seen.si_addr == (void *)8);
	raises(write_code, SIGSEGV, SEGV_ACCERR);
	want(seen.si_addr == (void *)(uintptr_t)divide);
	raises(jump_odd, SIGSEGV, SI_KERNEL);
	raises(read_kernel, SIGSEGV, SEGV_MAPERR);
}

static char *shared;
static void *use_page(void *arg)
{
	for (int i = 0; i < 1000 && !atomic_load(&stop); i++) {
		((volatile char *)shared)[64 * (intptr_t)arg]++;
		sched_yield();
	}
	return NULL;
}

/* While other threads write, the page becomes read-only and writable again; afterwards it is replaced. A stale TLB
 * entry would let a write through to the old page. */
CASE(tlbs_follow)
{
	pthread_t t[3];
	char *fresh;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	want(shared != MAP_FAILED);
	atomic_store(&stop, 0);
	for (intptr_t i = 0; i < 3; i++)
		want_eq(pthread_create(&t[i], NULL, use_page, (void *)i), 0);
	for (int i = 0; i < 100; i++)
		sched_yield();
	atomic_store(&stop, 1);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (int round = 0; round < 50; round++) {
		shared[0] = (char)round;
		fresh = mmap(shared, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		want(fresh == shared);
		want_eq(fresh[0], 0);
	}
	munmap(shared, 4096);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn;
static long counter;

static void *ping_pong(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&mutex);
		while (turn != me)
			pthread_cond_wait(&cond, &mutex);
		turn = !me;
		counter++;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&mutex);
	}
	return NULL;
}

CASE(threads_wake_each_other)
{
	pthread_t t[2];

	counter = turn = 0;
	for (intptr_t i = 0; i < 2; i++)
		want_eq(pthread_create(&t[i], NULL, ping_pong, (void *)i), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	want_eq(counter, 1000);
}

static long long ns_of(struct timespec t)
{
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

CASE(clocks_agree)
{
	static const clockid_t clocks[] = { CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME };

	for (int i = 0; i < 3; i++) {
		struct timespec a, b, c;

		want_eq(clock_gettime(clocks[i], &a), 0); /* by the vDSO */
		want_eq(syscall(SYS_clock_gettime, clocks[i], &b), 0);
		want_eq(clock_gettime(clocks[i], &c), 0);
		want(ns_of(a) <= ns_of(b));
		want(ns_of(b) <= ns_of(c));
	}
}

CASE(vdso_is_an_object)
{
	const unsigned char *v = (const unsigned char *)getauxval(AT_SYSINFO_EHDR);

	want(v != NULL);
	want(memcmp(v, "\177ELF\2\1", 6) == 0);
}

CASE(sleep_is_not_short)
{
	struct timespec want_ns = { 0, 20000000 }, a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	want_eq(nanosleep(&want_ns, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &b);
	want(ns_of(b) - ns_of(a) >= 20000000);
}

CASE(many_children)
{
	for (int round = 0; round < 4; round++) {
		pid_t p[30];

		for (int i = 0; i < 30; i++) {
			p[i] = fork();
			want(p[i] >= 0);
			if (p[i] == 0) {
				volatile char *m = malloc(100000);

				for (int k = 0; k < 100000; k += 512)
					m[k] = (char)i;
				_exit(m[51200] == (char)i ? i : 99);
			}
		}
		for (int i = 0; i < 30; i++) {
			int status;

			want_eq(waitpid(p[i], &status, 0), p[i]);
			want_eq(status, i << 8);
		}
	}
}

/* Alone on a CPU with a runaway real-time task, an ordinary one still gets a part of each second. */
CASE(real_time_leaves_something)
{
	struct sched_param p = { .sched_priority = 1 };
	struct timespec start, now;
	atomic_int *told = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cpu_set_t one;
	int status;
	pid_t child;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	child = fork();
	if (!child) {
		want_eq(sched_setaffinity(0, sizeof(one), &one), 0);
		child = fork();
		if (!child && syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &p))
			_exit(2);
		if (child) {
			while (!atomic_load(&told[1]))
				sched_yield();
			atomic_store(told, 1);
			_exit(waitpid(child, &status, 0) == child ? WEXITSTATUS(status) : 3);
		}
		atomic_store(&told[1], 1);
		clock_gettime(CLOCK_MONOTONIC, &start);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while (!atomic_load(told) && ns_of(now) - ns_of(start) < 10000000000);
		_exit(!atomic_load(told));
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
}

int main(void)
{
	RUN(vectors_survive_switches);
	RUN(vectors_survive_signals);
	RUN(vectors_go_to_the_child);
	RUN(exceptions_are_signals);
	RUN(tlbs_follow);
	RUN(threads_wake_each_other);
	RUN(clocks_agree);
	RUN(vdso_is_an_object);
	RUN(sleep_is_not_short);
	RUN(many_children);
	RUN(real_time_leaves_something);
	return abi_status();
}
