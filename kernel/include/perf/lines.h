/* SPDX-License-Identifier: MIT
 *
 * Who owns the cache line: from sampled accesses in time order, which lines travel between CPUs, and by which pairs of
 * accesses. A line is owned by the CPU that wrote it last; an access from another CPU after that write makes it travel.
 *
 *   write by X        any access by Y on another CPU        write by Y
 *   X modified  --->  travel; shared by X and Y      --->   Y modified
 *
 * Memory grows with the number of lines that two threads touched, not with samples. Threading: one thread a model.
 */
#ifndef PERF_LINES_H
#define PERF_LINES_H

#include <lib/types.h>

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
	u64 last_write_ns;
	u32 owner_cpu, owner_tid; /* of the last write */
	u64 holders;              /* CPUs (mod 64) that touched it since the last write, the writer included */
	bool is_modified;
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
