/* SPDX-License-Identifier: MIT
 *
 * Recording: open perf events for a command, processes or the whole machine, and write what their rings deliver into a
 * perf.data file. Used by record, sched record, c2c record and why.
 *
 * One ring a CPU, shared by all events of that CPU. The recorder never blocks the recorded: a full ring loses events,
 * which the kernel notes in the stream (LOST) and rec_record counts.
 */
#ifndef RECORD_RECORDER_H
#define RECORD_RECORDER_H

#include "perfdata/perfdata.h"

#define REC_MAX_EVENTS 64

struct rec_event {
	struct perf_event_attr attr;
	char name[128];
};

struct rec_options {
	const char *output;
	struct rec_event events[REC_MAX_EVENTS];
	u32 nr_events;
	bool system_wide;
	const s32 *pids; /* processes to attach to, all their threads */
	u32 nr_pids;
	char **command; /* NULL: until SIGINT or the end of seconds */
	double seconds; /* 0: no limit */
	u32 ring_pages; /* a power of two */
	int zstd_level; /* 0: not compressed */
	bool directory; /* the directory form: each CPU's records in a file of their own */
	bool data_maps; /* also record mappings of data */
	bool quiet;
	int argc; /* our own command line, for the file */
	char **argv;
};

struct rec_result {
	u64 bytes, samples_lost;
	u32 rounds;
	int command_status; /* as from wait(2) */
	s32 command_pid;
};

/* An event by name: "system:tracepoint", software events, "cycles" (cpu-clock where there is no PMU). period 0 takes
 * freq. 0, or -errno with the reason in why. */
int rec_add_event(struct rec_options *o, const char *name, u64 period, u64 freq, char *why, size_t why_bytes);
/* 0, or -errno with the reason in why (which says what to do). */
int rec_record(const struct rec_options *o, struct rec_result *r, char *why, size_t why_bytes);
/* Where tracefs is mounted (it is mounted if need be), or NULL. */
const char *rec_tracefs(void);
bool rec_tracepoint_exists(const char *name);

int record_main(int argc, char **argv);
int sched_record_main(int argc, char **argv);

#endif
