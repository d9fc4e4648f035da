/* SPDX-License-Identifier: MIT
 *
 * Inside tracefs: an instance is a set of rings, one a CPU, with the events that go into them; the folder tree shows
 * it.
 *
 *   instance.c  events into rings, sizes        files.c  its control files       tree.c   folders, instances/
 *   text.c      trace, trace_pipe, marker       raw.c    trace_pipe_raw          ring.c, print.c  pure
 *
 * Lock letters: I immutable; m trace_mutex; r the CPU's ring lock (RANK_PERF_RING), IRQs off. Words without a letter
 * are single and atomic.
 */
#ifndef TRACEFS_PRIV_H
#define TRACEFS_PRIV_H

#include <core/attr.h>
#include <core/irq.h>
#include <core/spin.h>
#include <core/trace.h>
#include <lib/cpumask.h>
#include <perf/filter.h>
#include <task/mutex.h>
#include <task/wait.h>
#include <vfs/vfs.h>
#include "ring.h"

#define TRACE_INSTANCES 16
#define TRACE_PRINT_ID  5 /* ftrace:print, what trace_marker writes */
#define TRACE_KB        1408

#define TRACE_CLOCK_COUNTER 6 /* in the list of files.c; all others are nanoseconds since boot */

enum trace_option { OPTION_OVERWRITE = 1, OPTION_MARKERS = 2, OPTION_IRQ_INFO = 4 };

struct trace_cpu {
	struct spinlock lock;
	struct trace_ring ring; /* r; no pages before the instance is used */
};

struct trace_instance {
	const char *name; /* I; NULL: the one that is always there */
	bool on;
	u32 options;
	u32 clock;                              /* index into the list of names */
	u32 buffer_kb;                          /* m: of a CPU, wanted */
	struct trace_cpu cpus[MAX_CPUS];        /* I */
	u8 enabled[TRACE_ALL];                  /* m; readers: IRQs off */
	struct perf_filter *filters[TRACE_ALL]; /* m; readers: IRQs off */
	char *filter_texts[TRACE_ALL];          /* m */
	struct waitq readers;
	struct deferred wake;
	u32 waiting; /* readers that sleep */
	bool polled; /* somebody polls since the last wake-up */
	u32 users;   /* m: open files that stream */
	struct trace_tree *tree;
};

struct trace_dir { /* a folder's owner */
	struct attr_dir dir;
	struct trace_instance *instance;
	struct trace_tree *tree;
	unsigned what; /* an event's id, a CPU, or the first event of a system */
};

extern struct mutex trace_mutex;
extern struct trace_instance trace_top;

static inline struct trace_dir *trace_dir_of(const struct attr_dir *d)
{
	return d->owner;
}

/* ---- instance.c ---- */
void trace_instance_init(struct trace_instance *t, const char *name);
int __must_check trace_instance_start(struct trace_instance *t); /* hears events from now on; -ENOSPC */
void trace_instance_stop(struct trace_instance *t);              /* the last call before it is freed; sleeps */
int __must_check trace_buffers(struct trace_instance *t);        /* made if there are none; mutex held */
int __must_check trace_resize(struct trace_instance *t, u32 kb); /* mutex held */
void trace_clear(struct trace_instance *t, int cpu);             /* -1: all */
int __must_check trace_enable(struct trace_instance *t, unsigned id, bool on);              /* mutex held */
int __must_check trace_set_filter(struct trace_instance *t, unsigned id, const char *text); /* mutex held */
void trace_write(struct trace_instance *t, const void *record, size_t size);
u64 trace_now(const struct trace_instance *t);
bool trace_expanded(const struct trace_instance *t);
const char *trace_comm(int pid, char to[16]);
void trace_list_comms(struct strbuf *out);
/* Sleeps until cpu's ring (-1: any) has events, a whole page of them if so asked, or tracing ends. 0, -EAGAIN,
 * -ERESTARTSYS. */
int __must_check trace_wait(struct trace_instance *t, int cpu, bool page, bool nonblock);
bool trace_has(struct trace_instance *t, int cpu, bool page);

/* ---- files.c, text.c, raw.c ---- */
extern const struct attr *const trace_root_files[],
	*const trace_instance_files[], *const trace_cpu_files[],
					       *const trace_event_files[],
						       *const trace_system_files[],
							       *const trace_events_files[],
								       *const trace_option_files[],
									       *const trace_print_files[];
extern const struct file_ops trace_pipe_ops, trace_marker_ops, trace_raw_ops;
int trace_truncate(struct attr_dir *dir, const struct attr *a);
int trace_show(struct attr_dir *dir, const struct attr *a, struct strbuf *out);
int __must_check trace_open_stream(struct trace_instance *t); /* counts a user: -ENODEV if it is going */
void trace_close_stream(struct trace_instance *t);

/* ---- tree.c ---- */
int __must_check trace_tree_make(void); /* of the top instance, with its first mount */

#endif
