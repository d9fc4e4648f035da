/* SPDX-License-Identifier: MIT
 *
 * A recording turned into contended lines with names, for c2c report and why.
 */
#ifndef C2C_WORDS_H
#define C2C_WORDS_H

#include "c2c.h"
#include "perfdata/out.h"

#define WORDS_MAX_PARTS 16

struct line_part { /* one field in a line, as one kind of access, by one or more threads */
	struct field_name name;
	u16 offset, bytes; /* in the line */
	bool is_write;
	u64 samples, travels, cpus;
	u32 tids[8], nr_tids; /* the first eight */
};

struct line_report {
	u64 addr, samples, travels;
	u32 pid;
	enum line_sharing kind;
	struct line_part parts[WORDS_MAX_PARTS]; /* most samples first */
	u32 nr_parts;
	u32 padding_at; /* offset in the object at which a new line should begin, 0 if padding cannot help */
};

struct c2c_analysis {
	struct places places;
	struct pd_threads threads;
	struct lines lines;
	u64 samples, loads, stores;
	bool is_sampled; /* by clock: ownership is inferred */
	struct line_report *reports;
	u32 nr_reports;
};

/* Reads the file and fills the reports, worst line first. 0 or -errno; messages are said. pid 0: all processes;
 * root: where the recorded machine's files lie, or NULL. */
int c2c_analyse(struct c2c_analysis *c, const char *path, s32 pid, const char *root);
/* The steps of it, for those who read other events of the same file as well: begin, then follow side-band records and
 * add samples in time order, then finish. */
int c2c_begin(struct c2c_analysis *c);
int c2c_follow(struct c2c_analysis *c, const struct pd_sample *s);
int c2c_add_sample(struct c2c_analysis *c, const struct pd_sample *s);
int c2c_finish(struct c2c_analysis *c);
void c2c_analysis_free(struct c2c_analysis *c);
void words_print(struct out *o, const struct c2c_analysis *c, u32 max_lines);
void words_line(struct out *o, const struct c2c_analysis *c, const struct line_report *r, u32 no); /* one paragraph */
/* view.c: the same in the terminal, to walk through. 0, or -errno: no terminal. */
int view_run(const struct c2c_analysis *c);
void words_json(struct out *o, const struct c2c_analysis *c);
/* "field of a, 8 bytes at 16": the name as people write it. */
void words_field(const struct line_part *p, char *out, size_t n);

#endif
