/* SPDX-License-Identifier: MIT
 *
 * Which cache lines travel between CPUs, and by which pairs of accesses: from sampled accesses in time order, all of
 * them kept. Who owns a line at a time: perf/owner.h.
 *
 * Memory grows with the number of lines that two threads touched, not with samples. Threading: one thread a model.
 */
#ifndef PERF_LINES_H
#define PERF_LINES_H

#include <lib/types.h>
#include <perf/owner.h>

#define LINE_BYTES 64u

struct line_access {
	u64 space; /* address space: lines of different ones are different unless the caller maps them to one */
	u64 addr;
	u64 ip;
	u64 time_ns;
	u32 tid, cpu;
	u16 bytes;
	bool is_write;
};

struct line_site { /* one thread, one field, one instruction */
	u64 ip;
	u64 samples, travels; /* travels: it took the line from another CPU */
	u32 tid;
	u16 offset, bytes; /* in the line */
	bool is_write;
	u64 cpus; /* mask of CPUs 0 to 63 */
};

struct line {
	u64 space, addr;
	u64 samples, writes, travels;
	struct line_owner owner;
	bool many_threads;
	u32 nr_sites, first_tid;
	struct line_site *sites;
	struct line *next;
};

struct lines {
	struct line **buckets;
	u32 nr_buckets, nr;
	u64 samples, travels;
};

int __must_check lines_init(struct lines *m);
void lines_free(struct lines *m);
/* Adds one access; 1 if it made its line travel, 0 if not, -ENOMEM. An access across two lines counts for the first. */
int lines_add(struct lines *m, const struct line_access *a);

enum line_sharing { LINE_PRIVATE, LINE_READ_SHARED, LINE_TRUE_SHARING, LINE_FALSE_SHARING };
/* What the sites of a line say: false sharing if no two threads touch the same bytes with a write among them. */
enum line_sharing line_classify(const struct line *l);
/* Lines by travels, most first, those under min_travels left out. The array is the caller's to kfree. */
int __must_check lines_ranked(const struct lines *m, u64 min_travels, struct line ***out, u32 *nr);

#endif
