/* SPDX-License-Identifier: MIT
 *
 * The threads that a recording speaks of, followed through COMM, FORK and EXIT as perf follows
 * them, including what happens to ids whose process is unknown or reused, so that names and parents
 * in reports agree with perf's.
 *
 * Ownership: the table owns the threads; they live until pd_threads_free, also after removal.
 * Locks: none.
 */
#ifndef PERFDATA_THREADS_H
#define PERFDATA_THREADS_H

#include "perfdata.h"

struct pd_thread {                       /* what a look-up and a row need is one cache line */
	s32 tid, pid, ppid;              /* ppid: the thread that forked it, -1 unknown */
	u8 label_len;                    /* 0: label is stale */
	bool dead, comm_set, has_leader; /* its process's first thread is in the table */
	struct pd_thread *next;
	void *priv;     /* the consumer's, malloc'ed: freed with the table */
	char label[32]; /* "comm[tid/pid]" as timehist shows it */
	char comm[48];
	u32 removed; /* 0, or the how manieth thread to be removed */
	struct pd_thread *next_all;
};

struct pd_threads {
	struct pd_thread **buckets; /* by the low bits of tid: numbers are given in sequence, so chains are short */
	u32 nr_buckets, nr;
	struct pd_thread *all, **all_tail; /* every thread ever */
	u32 nr_removed;
};

int pd_threads_init(struct pd_threads *t);
void pd_threads_free(struct pd_threads *t);
struct pd_thread *pd_thread_add(struct pd_threads *t, s32 pid, s32 tid);
static inline struct pd_thread *pd_thread_find(const struct pd_threads *t, s32 tid)
{
	struct pd_thread *th = t->buckets[(u32)tid & (t->nr_buckets - 1)];

	while (th && th->tid != tid)
		th = th->next;
	return th;
}
/* NULL only for lack of memory. pid 0 means unknown, -1 to be learned. */
static inline struct pd_thread *pd_thread_get(struct pd_threads *t, s32 pid, s32 tid)
{
	struct pd_thread *th = pd_thread_find(t, tid);

	return th && (th->pid == pid || th->pid != -1) ? th : pd_thread_add(t, pid, tid);
}
struct pd_thread *pd_thread_new(s32 pid, s32 tid); /* outside the table */
void pd_thread_set_comm(struct pd_thread *th, const char *comm);
/* Follows COMM, FORK and EXIT; other types do nothing. 0 or -ENOMEM. */
int pd_threads_record(struct pd_threads *t, const struct pd_sample *s);
const char *pd_thread_label(struct pd_thread *th);
/* All threads in perf's order: by tid modulo 256, in it the living by tid, then the removed. Free
 * the array. */
struct pd_thread **pd_threads_in_order(const struct pd_threads *t, u32 *nr);

#endif
