/* SPDX-License-Identifier: MIT
 *
 * Problem: a recording is read once, from end to end, at a few nanoseconds a record; half of the time goes into faults
 * of its pages and waiting for its first touch of each line.
 *
 * Idea: another thread maps the pages (MADV_POPULATE_READ) and touches each line, at most FAR bytes before the reader,
 * so that the file still takes little memory. It is a matter of speed only: nothing is handed over.
 *
 *   released | read and kept ... reader | warm ... warmer | cold
 *                                        `---- FAR ----'
 *
 * Contract: ahead.h. Locks: lock, for how far the reader is.
 */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "ahead.h"

#define WORTH  (8 << 20) /* bytes; below, a thread costs more than it saves */
#define FAR    (3 << 20)
#define STRIDE (256 << 10)

struct ahead {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t moved;
	const u8 *map;
	u64 from, end;
	u64 reader; /* where the reader is; end: it needs no more */
};

/* Waits until the reader is near enough; false: it needs no more. */
static bool wait_for_reader(struct ahead *a, u64 at)
{
	bool more;

	pthread_mutex_lock(&a->lock);
	while (at > a->reader + FAR)
		pthread_cond_wait(&a->moved, &a->lock);
	more = a->reader < a->end;
	pthread_mutex_unlock(&a->lock);
	return more;
}

static void *warm(void *arg)
{
	struct ahead *a = arg;
	u32 sum = 0;

	for (u64 at = ALIGN_DOWN(a->from, PAGE_SIZE); at < a->end && wait_for_reader(a, at); at += STRIDE) {
		u64 n = min(a->end - at, (u64)STRIDE);

#ifdef MADV_POPULATE_READ
		madvise((void *)(a->map + at), n, MADV_POPULATE_READ); /* where it is not known, touching does it */
#endif
		for (u64 i = 0; i < n; i += 64)
			sum += *(const volatile u8 *)(a->map + at + i);
	}
	return (void *)(uintptr_t)sum;
}

struct ahead *ahead_begin(const u8 *map, u64 from, u64 end)
{
	struct ahead *a;
	cpu_set_t cpus;

	if (end - from < WORTH || sched_getaffinity(0, sizeof(cpus), &cpus) || CPU_COUNT(&cpus) < 2)
		return NULL;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	*a = (struct ahead){ .map = map, .from = from, .end = end, .reader = from };
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->moved, NULL);
	if (pthread_create(&a->thread, NULL, warm, a)) {
		free(a);
		return NULL;
	}
	return a;
}

void ahead_move(struct ahead *a, u64 at)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->reader = at;
	pthread_cond_signal(&a->moved);
	pthread_mutex_unlock(&a->lock);
}

void ahead_end(struct ahead *a)
{
	if (!a)
		return;
	ahead_move(a, a->end);
	pthread_join(a->thread, NULL);
	free(a);
}
