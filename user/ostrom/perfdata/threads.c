/* SPDX-License-Identifier: MIT
 *
 * Problem: a sample names a thread by numbers. Names, processes and parents come from COMM, FORK
 * and EXIT records that may be missing, late, or about a reused number.
 *
 * Idea: one hash by tid. A FORK for a tid that exists removes the old thread from the hash but
 * keeps it, since it may have been counted. A thread first seen through a wake-up has process 0
 * (unknown), and a FORK that names it as parent with another process replaces it: these are perf's
 * rules, and reports can only agree if they are kept.
 *
 * Contract: threads.h. Locks: none.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "threads.h"

void pd_threads_free(struct pd_threads *t)
{
	while (t->all) {
		struct pd_thread *th = t->all;

		t->all = th->next_all;
		free(th->priv);
		free(th);
	}
	free(t->buckets);
	memset(t, 0, sizeof(*t));
}

static inline u32 bucket(const struct pd_threads *t, s32 tid)
{
	return (u32)tid & (t->nr_buckets - 1);
}

static void grow(struct pd_threads *t)
{
	struct pd_threads big = *t;

	big.nr_buckets *= 4;
	big.buckets = calloc(big.nr_buckets, sizeof(*big.buckets));
	if (!big.buckets)
		return; /* longer chains, still right */
	for (u32 i = 0; i < t->nr_buckets; i++)
		while (t->buckets[i]) {
			struct pd_thread *th = t->buckets[i];
			u32 b = bucket(&big, th->tid);

			t->buckets[i] = th->next;
			th->next = big.buckets[b];
			big.buckets[b] = th;
		}
	free(t->buckets);
	t->buckets = big.buckets;
	t->nr_buckets = big.nr_buckets;
}

struct pd_thread *pd_thread_new(s32 pid, s32 tid)
{
	struct pd_thread *th = calloc(1, sizeof(*th));

	if (!th)
		return NULL;
	th->pid = pid;
	th->tid = tid;
	th->ppid = -1;
	snprintf(th->comm, sizeof(th->comm), ":%d", tid);
	return th;
}

static void learn_pid(struct pd_threads *t, struct pd_thread *th, s32 pid)
{
	if (pid == -1)
		return;
	th->pid = pid;
	th->label_len = 0;
	if (pid != th->tid)
		pd_thread_get(t, pid, pid);
}

/* What pd_thread_get does not find, or finds without its process. */
struct pd_thread *pd_thread_add(struct pd_threads *t, s32 pid, s32 tid)
{
	struct pd_thread *th = pd_thread_find(t, tid);
	u32 b;

	if (th) {
		learn_pid(t, th, pid);
		return th;
	}
	th = pd_thread_new(pid, tid);
	if (!th)
		return NULL;
	if (t->nr++ > t->nr_buckets / 2)
		grow(t);
	b = bucket(t, tid);
	th->next = t->buckets[b];
	t->buckets[b] = th;
	*t->all_tail = th;
	t->all_tail = &th->next_all;
	if (pid != tid && pid != -1)
		pd_thread_get(t, pid, pid);
	return th;
}

static void remove_thread(struct pd_threads *t, struct pd_thread *th)
{
	struct pd_thread **p = &t->buckets[bucket(t, th->tid)];

	while (*p != th)
		p = &(*p)->next;
	*p = th->next;
	th->removed = ++t->nr_removed;
	t->nr--;
}

void pd_thread_set_comm(struct pd_thread *th, const char *comm)
{
	snprintf(th->comm, sizeof(th->comm), "%s", comm);
	th->comm_set = true;
	th->label_len = 0;
}

int pd_threads_init(struct pd_threads *t)
{
	struct pd_thread *idle;

	memset(t, 0, sizeof(*t));
	t->nr_buckets = 256;
	t->buckets = calloc(t->nr_buckets, sizeof(*t->buckets));
	t->all_tail = &t->all;
	if (!t->buckets)
		return -ENOMEM;
	idle = pd_thread_get(t, 0, 0);
	if (!idle)
		return -ENOMEM;
	pd_thread_set_comm(idle, "swapper");
	return 0;
}

static int follow_fork(struct pd_threads *t, s32 pid, s32 ppid, s32 tid, s32 ptid)
{
	struct pd_thread *th = pd_thread_find(t, tid), *parent = pd_thread_get(t, ppid, ptid);

	if (!parent)
		return -ENOMEM;
	if (parent->pid != ppid) {
		remove_thread(t, parent);
		if (parent == th)
			th = NULL;
		parent = pd_thread_get(t, ppid, ptid);
	}
	if (th)
		remove_thread(t, th);
	th = pd_thread_get(t, pid, tid);
	if (!th || !parent)
		return -ENOMEM;
	if (parent->comm_set && parent != th)
		pd_thread_set_comm(th, parent->comm);
	th->ppid = parent->tid;
	return 0;
}

int pd_threads_record(struct pd_threads *t, const struct pd_sample *s)
{
	const u8 *p = s->rec + 8;
	struct pd_thread *th;
	char comm[48];

	if (s->type == PERF_RECORD_COMM && s->size > 16) {
		th = pd_thread_get(t, pd_u32(p), pd_u32(p + 4));
		snprintf(comm, sizeof(comm), "%.*s", (int)min((size_t)s->size - 16, sizeof(comm) - 1), p + 8);
		if (th)
			pd_thread_set_comm(th, comm);
		return th ? 0 : -ENOMEM;
	}
	if (s->type == PERF_RECORD_FORK && s->size >= 32)
		return follow_fork(t, pd_u32(p), pd_u32(p + 4), pd_u32(p + 8), pd_u32(p + 12));
	if (s->type == PERF_RECORD_EXIT && s->size >= 32) {
		th = pd_thread_find(t, pd_u32(p + 8));
		if (th)
			th->dead = true;
	}
	return 0;
}

const char *pd_thread_label(struct pd_thread *th)
{
	int n;

	if (th->label_len)
		return th->label;
	if (th->pid == 0)
		n = snprintf(th->label, sizeof(th->label), "%s", th->comm);
	else if (th->tid != th->pid)
		n = snprintf(th->label, sizeof(th->label), "%s[%d/%d]", th->comm, th->tid, th->pid);
	else
		n = snprintf(th->label, sizeof(th->label), "%s[%d]", th->comm, th->tid);
	th->label_len = min(n, (int)sizeof(th->label) - 1);
	return th->label;
}

static int by_perf_order(const void *a, const void *b)
{
	const struct pd_thread *x = *(struct pd_thread *const *)a, *y = *(struct pd_thread *const *)b;
	u32 hx = (u32)x->tid % 256, hy = (u32)y->tid % 256;

	if (hx != hy)
		return hx < hy ? -1 : 1;
	if (x->removed != y->removed)
		return x->removed < y->removed ? -1 : 1;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

struct pd_thread **pd_threads_in_order(const struct pd_threads *t, u32 *nr)
{
	struct pd_thread **list, *th;
	u32 n = 0;

	for (th = t->all; th; th = th->next_all)
		n++;
	list = malloc(max(n, 1u) * sizeof(*list));
	if (!list)
		return NULL;
	n = 0;
	for (th = t->all; th; th = th->next_all)
		list[n++] = th;
	qsort(list, n, sizeof(*list), by_perf_order);
	*nr = n;
	return list;
}
