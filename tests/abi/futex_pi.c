/* SPDX-License-Identifier: MIT
 *
 * Problem: a program must find the same behaviour here as on Linux, at its borders too.
 *
 * Idea: Priority-inheriting locks: the word, the errors, hand-over, holders that end, deadlocks, and that a holder runs
 * at the priority of who waits for it: on one CPU a thread between the two in priority would stop it for ever.
 *
 * Contract: prints `ok NAME` or `not ok NAME: why` a case and exits 0 or 1; the same on Linux, which is the oracle.
 * Needs root for real-time priorities.
 *
 * Locks: none.
 */
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

static uint32_t word, second;

static long pi(uint32_t *w, int op, struct timespec *t)
{
	return syscall(SYS_futex, w, op | FUTEX_PRIVATE_FLAG, 0, t, NULL, 0);
}

static uint32_t tid(void)
{
	return syscall(SYS_gettid);
}

static uint32_t seen(uint32_t *w)
{
	return __atomic_load_n(w, __ATOMIC_SEQ_CST);
}

static void until_waited_for(uint32_t *w)
{
	while (!(seen(w) & FUTEX_WAITERS))
		sched_yield();
}

static struct timespec soon(int ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += ms * 1000000L;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static void *others(void *arg)
{
	struct timespec t = soon(30);

	want_errno(pi(&word, FUTEX_TRYLOCK_PI, NULL), EAGAIN);
	want_errno(pi(&word, FUTEX_UNLOCK_PI, NULL), EPERM);
	want_errno(pi(&word, FUTEX_LOCK_PI, &t), ETIMEDOUT);
	return arg;
}

CASE(word_and_errors)
{
	pthread_t t;

	word = 0;
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	want_eq(word, tid());
	want_errno(pi(&word, FUTEX_LOCK_PI, NULL), EDEADLK);
	want_eq(pthread_create(&t, NULL, others, NULL), 0);
	pthread_join(t, NULL);
	want_eq(seen(&word) & FUTEX_TID_MASK, tid());
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	want_eq(word, 0);
	want_errno(pi(&word, FUTEX_UNLOCK_PI, NULL), EPERM);
	want_eq(pi(&word, FUTEX_TRYLOCK_PI, NULL), 0);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	word = 0x3fffffff; /* nobody has this number */
	want_errno(pi(&word, FUTEX_LOCK_PI, NULL), ESRCH);
}

static void *lock_once(void *arg)
{
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	want_eq(seen(&word) & FUTEX_TID_MASK, tid());
	++*(int *)arg;
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	return NULL;
}

CASE(hand_over)
{
	pthread_t t[3];
	int n = 0;

	word = 0;
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	for (int i = 0; i < 3; i++)
		want_eq(pthread_create(&t[i], NULL, lock_once, &n), 0);
	until_waited_for(&word);
	want_eq(n, 0);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	want_eq(n, 3);
	want_eq(seen(&word) & FUTEX_TID_MASK, 0);
}

static pthread_mutex_t mutex;
static long counter;

static void *count_up(void *arg)
{
	for (int i = 0; i < 2000; i++) {
		pthread_mutex_lock(&mutex);
		counter++;
		if (i % 64 == 0)
			sched_yield();
		pthread_mutex_unlock(&mutex);
	}
	return arg;
}

CASE(contended_mutex)
{
	pthread_mutexattr_t a;
	pthread_t t[4];

	pthread_mutexattr_init(&a);
	want_eq(pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT), 0);
	want_eq(pthread_mutex_init(&mutex, &a), 0);
	for (int i = 0; i < 4; i++)
		want_eq(pthread_create(&t[i], NULL, count_up, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	want_eq(counter, 8000);
}

static void *hold_and_end(void *arg)
{
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	sem_post(arg);
	until_waited_for(&word);
	return NULL; /* without unlocking */
}

CASE(holder_ends)
{
	sem_t held;
	pthread_t t;

	word = 0;
	sem_init(&held, 0, 0);
	want_eq(pthread_create(&t, NULL, hold_and_end, &held), 0);
	sem_wait(&held);
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	want_eq(seen(&word) & FUTEX_TID_MASK, tid());
	want(seen(&word) & FUTEX_OWNER_DIED);
	pthread_join(t, NULL);
}

static void *hold_second(void *arg)
{
	want_eq(pi(&second, FUTEX_LOCK_PI, NULL), 0);
	sem_post(arg);
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	want_eq(pi(&second, FUTEX_UNLOCK_PI, NULL), 0);
	return NULL;
}

CASE(deadlock)
{
	sem_t held;
	pthread_t t;

	word = second = 0;
	sem_init(&held, 0, 0);
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	want_eq(pthread_create(&t, NULL, hold_second, &held), 0);
	sem_wait(&held);
	until_waited_for(&word);
	want_errno(pi(&second, FUTEX_LOCK_PI, NULL), EDEADLK);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	pthread_join(t, NULL);
}

/* ---- inheritance --------------------------------------------------------------------------------------------------
 */

static sem_t locked, go;
static volatile int about_to_wait, released, gave_up;

static void be_urgent(int priority)
{
	struct sched_param p = { .sched_priority = priority };

	want_eq(syscall(SYS_sched_setscheduler, 0, SCHED_FIFO, &p), 0);
}

static void *low(void *arg)
{
	be_urgent(10);
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	sem_post(&locked);
	sem_wait(&go);
	released = 1;
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	return arg;
}

static void *high(void *arg)
{
	be_urgent(30);
	about_to_wait = 1;
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	return arg;
}

/* In the way of `low`, for ever or for some seconds. */
static void *middle(void *arg)
{
	time_t end = time(NULL) + 5;

	be_urgent(20);
	while (!released && time(NULL) < end)
		;
	gave_up = !released;
	return arg;
}

static void scene(void)
{
	cpu_set_t one;
	pthread_t t[3];

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	want_eq(sched_setaffinity(0, sizeof(one), &one), 0);
	be_urgent(40);
	word = 0;
	sem_init(&locked, 0, 0);
	sem_init(&go, 0, 0);
	want_eq(pthread_create(&t[0], NULL, low, NULL), 0);
	sem_wait(&locked);
	want_eq(pthread_create(&t[1], NULL, high, NULL), 0);
	while (!(seen(&word) & FUTEX_WAITERS))
		usleep(1000); /* we are the most urgent: let it come to its lock */
	want_eq(pthread_create(&t[2], NULL, middle, NULL), 0);
	sem_post(&go);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	want(!gave_up);
}

CASE(inheritance)
{
	int status;
	pid_t child = fork();

	if (!child) {
		scene();
		_exit(0);
	}
	want_eq(waitpid(child, &status, 0), child);
	want_eq(status, 0);
}

/* ---- waiters of a condition are moved to the lock ---------------------------------------------------------------- */

static uint32_t condition;
static int had_it;

static long wait_requeue(struct timespec *t)
{
	return syscall(SYS_futex, &condition, FUTEX_WAIT_REQUEUE_PI | FUTEX_CLOCK_REALTIME | FUTEX_PRIVATE_FLAG, 0, t,
		       &word, 0);
}

static long cmp_requeue(int wake, int move, uint32_t expected)
{
	return syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PI | FUTEX_PRIVATE_FLAG, wake, move, &word, expected);
}

static void *wait_then_hold(void *arg)
{
	if (wait_requeue(NULL))
		return arg;
	if ((seen(&word) & FUTEX_TID_MASK) != tid())
		return arg;
	had_it++;
	return pi(&word, FUTEX_UNLOCK_PI, NULL) ? arg : NULL;
}

static void begin_waiting(pthread_t *t, int n)
{
	condition = word = 0;
	had_it = 0;
	for (int i = 0; i < n; i++)
		want_eq(pthread_create(&t[i], NULL, wait_then_hold, (void *)1), 0);
}

/* Until all have been moved; they wait soon after they began. */
static void move_all(int n, int move)
{
	while (n > 0) {
		int moved = cmp_requeue(1, move, 0);

		want(moved >= 0 && moved <= n && moved <= move + 1);
		n -= moved;
		if (n)
			sched_yield();
	}
}

static void all_had_it(pthread_t *t, int n)
{
	void *bad;

	for (int i = 0; i < n; i++) {
		pthread_join(t[i], &bad);
		want(!bad);
	}
	want_eq(had_it, n);
	want_eq(seen(&word) & FUTEX_TID_MASK, 0);
}

CASE(moved_to_a_held_lock)
{
	pthread_t t[4];

	begin_waiting(t, 4);
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	move_all(4, 100);
	want(seen(&word) == (tid() | FUTEX_WAITERS));
	want_eq(had_it, 0);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	all_had_it(t, 4);
}

CASE(given_a_free_lock)
{
	pthread_t t[4];

	begin_waiting(t, 4);
	move_all(4, 0);
	all_had_it(t, 4);
	begin_waiting(t, 4);
	move_all(4, 100);
	all_had_it(t, 4);
}

static void *wait_for_a_while(void *arg)
{
	struct timespec t = soon(*(int *)arg);

	return (void *)(intptr_t)(wait_requeue(&t) ? errno : 0);
}

CASE(moved_or_not_in_time)
{
	int ms = 300;
	pthread_t t;
	void *got;

	condition = word = 0;
	want_eq(pthread_create(&t, NULL, wait_for_a_while, &ms), 0);
	pthread_join(t, &got);
	want_eq((intptr_t)got, ETIMEDOUT);
	want_eq(pi(&word, FUTEX_LOCK_PI, NULL), 0);
	ms = 2000;
	want_eq(pthread_create(&t, NULL, wait_for_a_while, &ms), 0);
	move_all(1, 1);
	pthread_join(t, &got);
	want_eq((intptr_t)got, ETIMEDOUT);
	want_eq(pi(&word, FUTEX_UNLOCK_PI, NULL), 0);
	want_eq(seen(&word), 0);
}

CASE(moving_and_errors)
{
	struct timespec t = soon(1);
	pthread_t one;

	condition = word = 0;
	want_errno(syscall(SYS_futex, &word, FUTEX_WAIT_REQUEUE_PI, 0, &t, &word, 0), EINVAL);
	want_errno(syscall(SYS_futex, &condition, FUTEX_WAIT_REQUEUE_PI, 1, &t, &word, 0), EAGAIN);
	want_errno(syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PI, 1, 1, &condition, 0), EINVAL);
	want_errno(cmp_requeue(2, 1, 0), EINVAL);
	want_errno(cmp_requeue(1, -1, 0), EINVAL);
	want_errno(cmp_requeue(1, 1, 7), EAGAIN);
	want_eq(cmp_requeue(1, 1, 0), 0);
	begin_waiting(&one, 1);
	while (syscall(SYS_futex, &condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) == 0)
		sched_yield(); /* not there yet */
	want_errno(syscall(SYS_futex, &condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
	want_errno(syscall(SYS_futex, &condition, FUTEX_CMP_REQUEUE_PRIVATE, 0, 1, &word, 0), EINVAL);
	move_all(1, 0);
	all_had_it(&one, 1);
}

int main(void)
{
	RUN(word_and_errors);
	RUN(hand_over);
	RUN(contended_mutex);
	RUN(holder_ends);
	RUN(deadlock);
	RUN(inheritance);
	RUN(moved_to_a_held_lock);
	RUN(given_a_free_lock);
	RUN(moved_or_not_in_time);
	RUN(moving_and_errors);
	return abi_status();
}
