/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Futexes: waking, values, deadlines, requeue, wake_op, shared memory, robust locks; threads on them.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

static long futex(uint32_t *a, int op, uint32_t val, void *timeout, uint32_t *b, uint32_t val3)
{
	return syscall(SYS_futex, a, op, val, timeout, b, val3);
}

static void nap(int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

static uint32_t word, other;
static volatile int awake;

static void *waiter(void *arg)
{
	while (futex(&word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0) && errno != EAGAIN)
		;
	__atomic_add_fetch(&awake, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

CASE(values_and_deadlines)
{
	struct timespec ts = { 0, 20000000 }, start, end;

	word = 1;
	want_errno(futex(&word, FUTEX_WAIT, 0, NULL, NULL, 0), EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &start);
	want_errno(futex(&word, FUTEX_WAIT, 1, &ts, NULL, 0), ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &end);
	want((end.tv_sec - start.tv_sec) * 1000000000L + end.tv_nsec - start.tv_nsec >= 20000000);
	want_errno(futex(&word, FUTEX_WAIT_BITSET, 1, &start, NULL, ~0U), ETIMEDOUT); /* absolute, in the past */
	want_errno(futex(&word, FUTEX_WAIT_BITSET, 1, NULL, NULL, 0), EINVAL);
	want_errno(futex((uint32_t *)((char *)&word + 1), FUTEX_WAKE, 1, NULL, NULL, 0), EINVAL);
	want_errno(futex((uint32_t *)0x1000, FUTEX_WAIT, 1, NULL, NULL, 0), EFAULT);
	ts.tv_nsec = 2000000000;
	want_errno(futex(&word, FUTEX_WAIT, 1, &ts, NULL, 0), EINVAL);
	want_errno(futex(&word, 77, 1, NULL, NULL, 0), ENOSYS);
	want_eq(futex(&word, FUTEX_WAKE, 1, NULL, NULL, 0), 0);
}

CASE(wakes_as_many_as_asked)
{
	pthread_t t[4];

	word = awake = 0;
	for (int i = 0; i < 4; i++)
		want_eq(pthread_create(&t[i], NULL, waiter, NULL), 0);
	nap(50);
	want_eq(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	nap(20);
	want_eq(awake, 1);
	want_eq(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 3);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
}

CASE(requeue)
{
	pthread_t t[3];

	word = other = awake = 0;
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, waiter, NULL);
	nap(50);
	want_errno(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &other, 5), EAGAIN);
	want_eq(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &other, 0), 3);
	nap(20);
	want_eq(awake, 1);
	want_eq(futex(&word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	want_eq(futex(&other, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
}

CASE(wake_op)
{
	pthread_t t;

	word = awake = 0;
	other = 5;
	pthread_create(&t, NULL, waiter, NULL);
	nap(30);
	want_eq(futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &word,
		      FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0)),
		1);
	pthread_join(t, NULL);
	want_eq(word, 3);
}

CASE(shared_without_a_page)
{
	uint32_t *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), there = 0;

	want(p != MAP_FAILED);
	want_errno(futex(p, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
	want_errno(futex(&there, FUTEX_CMP_REQUEUE, 1, (void *)1, p, 0), EFAULT);
	want_eq(futex(p, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 0);
	want(!munmap(p, 4096));
	want_errno(futex(p, FUTEX_WAKE, 1, NULL, NULL, 0), EFAULT);
}

CASE(shared_between_processes)
{
	uint32_t *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	int st;

	if (!pid) {
		while (!*(volatile uint32_t *)p)
			futex(p, FUTEX_WAIT, 0, NULL, NULL, 0);
		_exit(0);
	}
	nap(30);
	__atomic_store_n(p, 1, __ATOMIC_SEQ_CST);
	want_eq(futex(p, FUTEX_WAKE, 1, NULL, NULL, 0), 1);
	waitpid(pid, &st, 0);
	want_eq(st, 0);
	munmap(p, 4096);
}

static pthread_mutex_t robust;

static void *dies_with_lock(void *arg)
{
	pthread_mutex_lock(&robust);
	return NULL;
}

CASE(robust_lock)
{
	pthread_mutexattr_t a;
	pthread_t t;

	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &a);
	pthread_create(&t, NULL, dies_with_lock, NULL);
	pthread_join(t, NULL);
	want_eq(pthread_mutex_lock(&robust), EOWNERDEAD);
	want_eq(pthread_mutex_consistent(&robust), 0);
	want_eq(pthread_mutex_unlock(&robust), 0);
	want_eq(pthread_mutex_lock(&robust), 0);
	pthread_mutex_unlock(&robust);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int turn, rounds;

static void *player(void *arg)
{
	int me = (intptr_t)arg;

	for (int i = 0; i < 500; i++) {
		pthread_mutex_lock(&lock);
		while (turn != me)
			pthread_cond_wait(&cond, &lock);
		turn = (me + 1) % 3;
		rounds++;
		pthread_cond_broadcast(&cond);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

CASE(mutexes_and_conditions)
{
	pthread_t t[3];

	for (int i = 0; i < 3; i++)
		want_eq(pthread_create(&t[i], NULL, player, (void *)(intptr_t)i), 0);
	for (int i = 0; i < 3; i++)
		want_eq(pthread_join(t[i], NULL), 0);
	want_eq(rounds, 1500);
}

static volatile long counter;

static void *adder(void *arg)
{
	for (int i = 0; i < 20000; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

CASE(contended_mutex)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, adder, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	want_eq(counter, 80000);
}

static __thread int mine = 3;

static void *tls_user(void *arg)
{
	mine += (intptr_t)arg;
	nap(5);
	return (void *)(intptr_t)mine;
}

CASE(thread_local)
{
	pthread_t t[3];
	void *r;

	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, tls_user, (void *)(intptr_t)(i * 10));
	for (int i = 0; i < 3; i++) {
		pthread_join(t[i], &r);
		want_eq((intptr_t)r, 3 + i * 10);
	}
	want_eq(mine, 3);
}

/* exec and exit in a thread that is not the first end the others. */
static void *exits(void *arg)
{
	_exit(12);
}

CASE(exit_in_a_thread)
{
	pid_t p = fork();
	pthread_t t;
	int st;

	if (!p) {
		pthread_create(&t, NULL, exits, NULL);
		for (;;)
			pause();
	}
	waitpid(p, &st, 0);
	want(WIFEXITED(st) && WEXITSTATUS(st) == 12);
}

int main(void)
{
	RUN(values_and_deadlines);
	RUN(wakes_as_many_as_asked);
	RUN(requeue);
	RUN(wake_op);
	RUN(shared_without_a_page);
	RUN(shared_between_processes);
	RUN(robust_lock);
	RUN(mutexes_and_conditions);
	RUN(contended_mutex);
	RUN(thread_local);
	RUN(exit_in_a_thread);
	return abi_status();
}
