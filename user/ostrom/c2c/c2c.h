/* SPDX-License-Identifier: MIT
 *
 * c2c: which cache lines are fought over, by whom, through which fields, and what padding would end it.
 *
 *   c2c record: clock samples with user registers -> touch.c (which operand) -> perf.data with ADDR and DATA_SRC
 *   c2c report: perf.data -> kernel/perf/memmodel (who owns the line) -> names.c (which field) -> words.c
 */
#ifndef C2C_C2C_H
#define C2C_C2C_H

#include <perf/lines.h>
#include <perf/operand.h>
#include "perfdata/perfdata.h"
#include "perfdata/place.h"
#include "perfdata/threads.h"

/* PERF_SAMPLE_REGS_USER: the sixteen general registers. */
#define C2C_REGS 0xff00ffull

/* What a clock sample carries, beside the registers. */
#define C2C_CLOCK_SAMPLE                                                                                               \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_CPU |              \
	 PERF_SAMPLE_REGS_USER)

/* rate.c: samples a second and CPU that take a twentieth of a program's time at most, the rate wished if it can be had.
 * price_ns: of one sample; 0 if it cannot be told. */
u64 c2c_affordable_rate(u64 wished, u64 *price_ns);

struct touch { /* one access that a sample stands for */
	u64 ip;
	bool is_locked;
	struct operand op;
};

#define TOUCH_MAX 12

/* touch.c: the accesses of the sampled instruction, of the one before it, and the writes of those that surely follow;
 * their number (at most TOUCH_MAX). */
u32 touch_decode(struct images *images, const struct pd_map *code, u64 ip, const u64 *regs, struct touch *out);

/* analyse.c: the same for a clock sample with registers. */
u32 c2c_touches(struct places *places, const struct pd_sample *s, struct touch *t);

/* The space and address under which a line is the same for all who share it. */
void c2c_line_key(const struct pd_map *m, s32 pid, u64 addr, u64 *space, u64 *key);

/* names.c: the variable and field behind an access, "counters.b (global)"; false if nothing is known. */
struct field_name {
	char object[128]; /* "stats", "*job", "heap", "stack" */
	char field[128];  /* "hits[1]", "" if the object has no fields */
	char type[128];   /* the struct's type, "" if unknown */
	char source[128]; /* "file.c:12" of the access */
	char function[128];
	u32 offset;       /* of the field in the object */
	u64 object_addr;  /* 0 if unknown */
	u32 object_bytes; /* 0 if unknown */
};
void name_access(struct images *images, const struct pd_map *code, u64 ip, const struct pd_map *data, u64 addr,
		 struct field_name *out);

/* The function and source line of a link address only. */
void name_code(struct image *im, u64 vaddr, struct field_name *out);

int c2c_record_main(int argc, char **argv);
int c2c_report_main(int argc, char **argv);

#endif
