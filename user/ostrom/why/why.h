/* SPDX-License-Identifier: MIT
 *
 * why: what delays a program now, and who causes it, on one screen, from one short recording.
 *
 *   sched_switch (with the kernel's call chain), sched_waking      -> collect.c: where each thread's time went, and to
 * whom clock samples with registers                                    -> c2c: contended cache lines cgroup's cpu.stat
 * before and after                              -> throttling by quota
 */
#ifndef WHY_WHY_H
#define WHY_WHY_H

#include "c2c/words.h"
#include "perfdata/out.h"
#include "perfdata/reason.h"

struct why_cause { /* who is behind a wait */
	enum wait_reason reason;
	char who[80]; /* "comm[pid]" */
	u64 ns, count;
	struct why_cause *next;
};

struct why_thread {
	s32 tid;
	enum wait_reason reason; /* of the wait that it is in */
	u32 cpu;                 /* that it left */
	u64 off_ns;              /* since when it does not run; 0: unknown or running */
	u64 ready_ns;            /* since when it could run; 0: not woken */
	u64 on_ns;               /* since when it runs; 0: it does not */
	char waker[80];
	struct why_thread *next;
};

struct why_turn { /* who ran on a CPU, and when */
	u64 from, to;
	s32 tid;
	char comm[16];
};

#define WHY_TURNS 256
#define WHY_CPUS  1024

struct why {
	/* whom */
	s32 pid;
	const char *cgroup;
	const char *name; /* for people */
	s32 *pids;        /* members of the cgroup */
	u32 nr_pids;
	/* findings */
	struct c2c_analysis lines;
	struct why_thread *threads[256];
	u32 nr_threads;
	struct {
		struct why_turn turns[WHY_TURNS];
		u64 nr;
		u64 since;
		s32 tid;
		char comm[16];
	} * cpus; /* WHY_CPUS */
	u64 first_ns, last_ns, run_ns, wait_ns[WAIT_REASONS], waits[WAIT_REASONS], lost;
	struct why_cause *causes;
	u64 throttled_us, throttled_periods;
	u64 steal_ns; /* that the CPUs of this virtual machine wanted and did not get, all of them together */
	u32 nr_cpus;
	bool has_quota;
};

/* collect.c: reads the recording. 0 or -errno, messages are said. */
int why_collect(struct why *w, const char *path);
void why_free(struct why *w);
/* print.c: exit status 0 nothing delays it, 3 something does. */
int why_print(struct out *o, struct why *w, bool json);

#endif
