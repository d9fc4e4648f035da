/* SPDX-License-Identifier: MIT
 *
 * timehist: what each thread did between two context switches, from the sched tracepoints of a
 * perf.data file. account.c keeps the state of threads and CPUs, rows.c prints one line an event,
 * summary.c the tables at the end. Columns and rules are those of perf 6.1's `perf sched timehist`
 * (its manual page, and tests against it).
 */
#ifndef TIMEHIST_H
#define TIMEHIST_H

#include "perfdata/out.h"
#include "perfdata/perfdata.h"
#include "perfdata/place.h"
#include "perfdata/reason.h"
#include "perfdata/threads.h"

#define TH_MAX_CPUS 4096

struct th_stats { /* running mean and variance */
	double n, mean, m2;
	u64 min, max;
};

enum th_wait { /* what perf's three kinds of waiting really were */
	       TH_SLEEP,
	       TH_IO,
	       TH_LOCK,
	       TH_PREEMPTED,
	       TH_THROTTLED,
	       TH_WAITS,
};

struct th_runtime {                    /* of one thread */
	u64 last_time;                 /* switched out */
	u64 ready_time;                /* woken since then, 0 if not */
	u64 dt_run, dt_delay, dt_wait; /* of the turn that was closed last */
	enum th_wait dt_kind;          /* of dt_wait as perf knows it: TH_SLEEP, TH_IO or TH_PREEMPTED */
	u64 total_run, total_delay, total_kind[TH_WAITS];
	u64 migrations;
	struct th_stats run;
	s32 last_state;
	u32 last_cpu;
	enum th_wait last_wait, wait; /* of the wait that it is in; of the turn that was closed last */
	u64 total_wait[TH_WAITS];     /* --waits */
	bool is_contended;            /* between contention_begin and contention_end */
	struct task_lane *lane;       /* of the timeline */
	s32 waker, was_waker;         /* who woke it; the same for the turn that was closed last */
};

struct th_cpu {
	u64 last_switch;
	u64 idle_from;                 /* when it was left idle last */
	struct pd_thread *idle;        /* NULL until needed */
	struct pd_thread *last_thread; /* -I: who ran before idle */
};

enum th_kind { TH_OTHER, TH_SWITCH, TH_WAKEUP, TH_MIGRATE, TH_CONTENDED, TH_ACQUIRED };

enum { TH_PREV_PID, TH_PREV_STATE, TH_NEXT_PID, TH_PID = 0 }; /* values of a switch; of others */

struct th_event { /* what an event of the file means to us, and its fields */
	enum th_kind kind;
	const struct pd_field *values[PD_BRIEF_VALUES];
	u32 nr_values;
	const struct pd_field *next_comm, *orig_cpu, *dest_cpu;
};

struct th_seen { /* one sample */
	const struct th_event *e;
	const struct pd_brief *b;
	const struct pd_sample *s; /* NULL unless th_wants_samples */
	u64 time;
};

struct id_list {
	s32 *ids; /* sorted */
	u32 nr;
};

struct th_options {
	const char *input, *time, *pids, *tids, *cpus, *why, *html;
	bool summary, summary_only, wakeups, next, migrations, cpu_visual, idle_hist, state, callchain;
	bool json, timeline, dump, waits;
	unsigned max_stack, verbose;
};

#define TH_DELAYS 10
#define TH_CHAIN  6

struct th_delay { /* --why: one of the longest */
	u64 time, wait, delay;
	enum th_wait kind;
	s32 tid;
	u32 cpu, nr_chain;
	bool lost; /* events were lost during it */
	char chain[TH_CHAIN][64];
};

struct timehist {
	struct th_options opt;
	struct pd_file *file;
	struct pd_threads threads;
	struct th_event *kinds; /* by event index */
	struct th_cpu cpus[TH_MAX_CPUS];
	u32 idle_cpus; /* CPUs that the idle table of the summary covers */
	u32 max_cpu;   /* as perf counts it: CPUs online, or the highest CPU seen if greater */
	struct id_list pids, tids;
	bool is_plain;     /* only sums of whole turns are asked for, of all threads and CPUs */
	bool takes_briefs; /* what is asked for can be told from briefs, of all events that count */
	bool is_filtered;  /* -p, -t or -I: not every event counts */
	bool has_cpu_list;
	u64 cpu_list[TH_MAX_CPUS / 64];
	u64 start, end; /* --time, 0 is open */
	u64 hist_start, hist_end;
	u64 skipped;
	u64 last_lost;                     /* time of the last LOST record */
	struct th_delay delays[TH_DELAYS]; /* longest first */
	u32 nr_delays;
	struct timeline *timeline; /* NULL unless asked for */
	struct places places;      /* the kernel's names for call chains */
	int comm_width;
	int error;
	struct out out;
};

bool th_cpu_listed(const struct timehist *th, u32 cpu);
bool th_filtered(const struct timehist *th, const struct pd_thread *t);
struct th_runtime *th_runtime(struct pd_thread *t); /* made on first use; NULL without memory */
struct pd_thread *th_idle(struct timehist *th, u32 cpu);
const char *th_label(struct timehist *th, struct pd_thread *t);

/* account.c */
bool th_wants_samples(const struct timehist *th); /* a brief does not hold all that is asked for */
int th_record(void *arg, const struct pd_sample *s);
int th_brief(void *arg, const struct pd_event *e, u64 time, const struct pd_brief *b);
bool th_skip(struct timehist *th, struct pd_thread *t, const struct th_seen *x);

/* rows.c */
void th_print_header(struct timehist *th);
void th_print_switch(struct timehist *th, const struct th_seen *x, struct pd_thread *t, u64 time);
void th_print_wakeup(struct timehist *th, const struct th_seen *x, struct pd_thread *awakened);
void th_print_migration(struct timehist *th, const struct th_seen *x, struct pd_thread *migrated);
void th_print_lost(struct timehist *th, const struct pd_sample *s);

/* beyond.c: what perf does not have */
bool th_wants_waits(const struct timehist *th);
enum th_wait th_wait_of(struct timehist *th, const struct th_seen *x, const struct th_runtime *r);
void th_print_waits(struct timehist *th); /* --waits: the table */
void th_print_json(struct timehist *th, const struct th_seen *x, const struct pd_thread *t, u64 time);
void th_note_delay(struct timehist *th, const struct pd_thread *t, const struct th_seen *x);
void th_print_delays(struct timehist *th);

/* summary.c */
void th_print_summary(struct timehist *th);

int timehist_main(int argc, char **argv);

#endif
