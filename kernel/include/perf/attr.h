/* SPDX-License-Identifier: MIT
 *
 * What a program may ask of perf_event_open: struct perf_event_attr of linux/perf_event.h. Pure.
 */
#ifndef PERF_ATTR_H
#define PERF_ATTR_H

#include <lib/types.h>
#include <linux/perf_event.h>

#define PERF_REGS_USER_ALLOWED (0xff0fffUL)         /* asm/perf_regs.h: all but ds, es, fs, gs (bits 12 to 15) */
#define PERF_REGS_EXTENDED     (0xffffffffUL << 32) /* vector registers: known, but no event has them */
#define PERF_MAX_STACK_DEFAULT 127

struct perf_limits {         /* the sysctls */
	int paranoid;        /* -1 .. 3 */
	u64 max_sample_rate; /* Hz */
	unsigned max_stack;
};

/* The bytes of attr beyond what this kernel knows are handed over as `rest`: they must be 0. size is what the caller
 * gave (0: PERF_ATTR_SIZE_VER0), already in bounds. Fills defaults. 0, -EINVAL, -E2BIG, -EOVERFLOW. */
int __must_check perf_attr_check(struct perf_event_attr *a, const struct perf_limits *limits);
/* Size that a caller gave: how many bytes to read, or -E2BIG. */
int perf_attr_size(u32 given);
/* Asked later, in this order between other checks: */
int __must_check perf_attr_check_period(const struct perf_event_attr *a,
					const struct perf_limits *limits); /* -EINVAL */
int __must_check perf_attr_check_sampling(const struct perf_event_attr *a,
					  const struct perf_limits *limits); /* -EOPNOTSUPP, -EOVERFLOW */
/* What the levels of perf_event_paranoid take from somebody without CAP_PERFMON: the kernel's side (-EACCES), physical
 * addresses (-EACCES), contents of tracepoints (-EPERM), events of a whole CPU (-EACCES). */
int __must_check perf_attr_allowed_kernel(const struct perf_event_attr *a, const struct perf_limits *limits);
int __must_check perf_attr_allowed_data(const struct perf_event_attr *a, const struct perf_limits *limits);
int __must_check perf_attr_allowed_raw(const struct perf_event_attr *a, const struct perf_limits *limits);
int __must_check perf_attr_allowed_cpu(const struct perf_limits *limits);

static inline bool perf_attr_samples(const struct perf_event_attr *a)
{
	return a->sample_period != 0;
}
/* Bytes of the fields that sample_id_all puts behind each record that is not a sample. */
unsigned perf_attr_id_bytes(const struct perf_event_attr *a);
/* Bytes of read(2) of one event, or of a group of n. */
unsigned perf_attr_read_bytes(const struct perf_event_attr *a, unsigned n);

#endif
