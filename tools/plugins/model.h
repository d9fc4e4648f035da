/* SPDX-License-Identifier: MIT
 *
 * A model of one shared cache and of line ownership among CPUs, fed with physical addresses.
 *
 * The cache: set-associative, LRU or tree-PLRU, in slices chosen by a parity hash of the address or in one piece;
 * each requestor may be confined to some ways (CAT). Ownership: who wrote a line last and who has read it since, as if
 * private caches never evicted; it is the truth that `perf c2c` samples.
 *
 * Threading: none; the caller serialises.
 */
#ifndef CACHEMODEL_MODEL_H
#define CACHEMODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define MODEL_REQUESTORS 60
#define MODEL_COLOURS    64
#define MODEL_CPUS       64

enum model_policy { MODEL_LRU, MODEL_PLRU };

struct model_config {
	uint64_t bytes;
	unsigned ways;    /* at most 32; a power of two for PLRU */
	unsigned line;    /* bytes, a power of two */
	unsigned slices;  /* 1, 2, 4 or 8 */
	unsigned colours; /* page colours to account by, a power of two */
	enum model_policy policy;
};

enum model_op { MODEL_LOAD, MODEL_STORE, MODEL_LOCKED };

struct model_counts {
	uint64_t accesses, misses; /* by line: an access that crosses lines counts for each */
};

struct model_cpu_counts {
	uint64_t ops[3]; /* by enum model_op */
	/* the line was modified by another CPU: by what took it (load, store, locked) */
	uint64_t hitm[3];
	uint64_t upgrades; /* a write to a line that others only read */
};

struct model;

struct model *model_create(const struct model_config *c, const char **why); /* NULL and a reason */
void model_destroy(struct model *m);
void model_set_ways(struct model *m, unsigned requestor, uint32_t ways); /* not 0 */
void model_access(struct model *m, unsigned cpu, unsigned requestor, uint64_t paddr, unsigned bytes, enum model_op op);
void model_reset_counts(struct model *m); /* keeps what is cached and who owns it */
const struct model_counts *model_requestor(const struct model *m, unsigned requestor);
const struct model_counts *model_colour(const struct model *m, unsigned colour);
const struct model_cpu_counts *model_cpu(const struct model *m, unsigned cpu);
/* Locked operations since the reset on lines that more than one CPU has done some on: locks and counts that CPUs share.
 */
uint64_t model_shared_locked(const struct model *m);

/* One line a fact: "total ...", "requestor N ...", "colour N ...", "cpu N ...", and the lines most fought over. */
void model_report(const struct model *m, FILE *out);

#endif
