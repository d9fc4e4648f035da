/* SPDX-License-Identifier: MIT
 *
 * Problem: struct perf_event_attr has grown for fifteen years; clients find out what a kernel can do by asking and
 * looking at the error, so each combination must get Linux's answer before anything is made.
 *
 * Idea: all checks that need only the attributes and the sysctls, without effect; the glue copies in and applies.
 *
 * Contract: perf/attr.h. Facts: perf_event_open(2); linux/perf_event.h; order and values of errors as Linux 6.1 gives
 * them (tests/abi/perf_attr.c runs on both).
 *
 * Locks: none.
 */
#include <core/log.h>
#include <lib/err.h>
#include <perf/attr.h>

#define ATTR_MOST    4096
#define BRANCH_PRIV  (PERF_SAMPLE_BRANCH_USER | PERF_SAMPLE_BRANCH_KERNEL | PERF_SAMPLE_BRANCH_HV)
#define STACK_MOST   65528 /* of sample_stack_user: below 64 KiB, a multiple of 8 */
#define CONTEXT_MOST 8     /* markers in a call chain */

int perf_attr_size(u32 given)
{
	if (!given)
		given = PERF_ATTR_SIZE_VER0;
	if (given < PERF_ATTR_SIZE_VER0 || given > ATTR_MOST)
		return fail(E2BIG, "perf: attributes of %u bytes", given);
	return (int)given;
}

static int check_regs(u64 mask)
{
	if (!mask || (mask & ~(PERF_REGS_USER_ALLOWED | PERF_REGS_EXTENDED)))
		return fail(EINVAL, "perf: register mask %#llx", (unsigned long long)mask);
	return 0;
}

static int check_branches(const struct perf_event_attr *a)
{
	u64 mask = a->branch_sample_type;

	if ((mask & ~(u64)(PERF_SAMPLE_BRANCH_MAX - 1)) || !(mask & ~(u64)BRANCH_PRIV))
		return fail(EINVAL, "perf: branch mask %#llx", (unsigned long long)mask);
	return 0;
}

static int check_sample(struct perf_event_attr *a, const struct perf_limits *limits)
{
	u64 t = a->sample_type;
	int err = 0;

	if (t & PERF_SAMPLE_BRANCH_STACK)
		err = check_branches(a);
	if (!err && (t & PERF_SAMPLE_REGS_USER))
		err = check_regs(a->sample_regs_user);
	if (!err && (t & PERF_SAMPLE_STACK_USER) && (a->sample_stack_user > STACK_MOST || a->sample_stack_user % 8))
		err = fail(EINVAL, "perf: user stack of %u bytes", a->sample_stack_user);
	if (!err && !a->sample_max_stack)
		a->sample_max_stack = (u16)limits->max_stack;
	if (!err && (t & PERF_SAMPLE_REGS_INTR))
		err = check_regs(a->sample_regs_intr);
	if (!err && (t & PERF_SAMPLE_WEIGHT) && (t & PERF_SAMPLE_WEIGHT_STRUCT))
		err = fail(EINVAL, "perf: two kinds of weight");
	return err;
}

int perf_attr_check(struct perf_event_attr *a, const struct perf_limits *limits)
{
	int err;

	if (a->__reserved_1 || a->__reserved_2 || a->__reserved_3)
		return fail(EINVAL, "perf: reserved bits are set");
	if (a->sample_type & ~(u64)(PERF_SAMPLE_MAX - 1))
		return fail(EINVAL, "perf: sample_type %#llx", (unsigned long long)a->sample_type);
	if (a->read_format & ~(u64)(PERF_FORMAT_MAX - 1))
		return fail(EINVAL, "perf: read_format %#llx", (unsigned long long)a->read_format);
	err = check_sample(a, limits);
	if (err)
		return err;
	if ((!a->inherit && a->inherit_thread) || (a->remove_on_exec && a->enable_on_exec) ||
	    (a->sigtrap && !a->remove_on_exec))
		return fail(EINVAL, "perf: flags that exclude each other");
	return 0;
}

int perf_attr_check_period(const struct perf_event_attr *a, const struct perf_limits *limits)
{
	if (a->freq && a->sample_freq > limits->max_sample_rate)
		return fail(EINVAL, "perf: %llu samples a second", (unsigned long long)a->sample_freq);
	if (!a->freq && (a->sample_period & (1ULL << 63)))
		return fail(EINVAL, "perf: a negative period");
	return 0;
}

/* What no kind of event here can give, whether it is sampled or not. */
int perf_attr_check_sampling(const struct perf_event_attr *a, const struct perf_limits *limits)
{
	if ((a->sample_regs_user | a->sample_regs_intr) & PERF_REGS_EXTENDED)
		return fail(EOPNOTSUPP, "perf: vector registers");
	if ((a->sample_type & PERF_SAMPLE_CALLCHAIN) && a->sample_max_stack > limits->max_stack)
		return fail(EOVERFLOW, "perf: call chains of %u", a->sample_max_stack);
	return 0;
}

int perf_attr_allowed_kernel(const struct perf_event_attr *a, const struct perf_limits *limits)
{
	if (limits->paranoid > 2)
		return fail(EACCES, "perf: kernel.perf_event_paranoid is %d", limits->paranoid);
	if (limits->paranoid > 1 && !a->exclude_kernel)
		return fail(EACCES, "perf: kernel.perf_event_paranoid is %d: no kernel events", limits->paranoid);
	return a->namespaces ? -EACCES : 0;
}

int perf_attr_allowed_data(const struct perf_event_attr *a, const struct perf_limits *limits)
{
	if (limits->paranoid > 1 && (a->sample_type & PERF_SAMPLE_PHYS_ADDR))
		return fail(EACCES, "perf: kernel.perf_event_paranoid is %d: no physical addresses", limits->paranoid);
	return 0;
}

int perf_attr_allowed_raw(const struct perf_event_attr *a, const struct perf_limits *limits)
{
	if (limits->paranoid > -1 && (a->sample_type & PERF_SAMPLE_RAW))
		return fail(EPERM, "perf: kernel.perf_event_paranoid is %d: no raw tracepoints", limits->paranoid);
	return 0;
}

int perf_attr_allowed_cpu(const struct perf_limits *limits)
{
	if (limits->paranoid > 0)
		return fail(EACCES, "perf: kernel.perf_event_paranoid is %d: no events of a whole CPU",
			    limits->paranoid);
	return 0;
}

unsigned perf_attr_id_bytes(const struct perf_event_attr *a)
{
	const u64 fields = PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID |
			   PERF_SAMPLE_CPU | PERF_SAMPLE_IDENTIFIER;

	return a->sample_id_all ? 8 * (unsigned)__builtin_popcountll(a->sample_type & fields) : 0;
}

unsigned perf_attr_read_bytes(const struct perf_event_attr *a, unsigned n)
{
	u64 f = a->read_format;
	unsigned head = !!(f & PERF_FORMAT_TOTAL_TIME_ENABLED) + !!(f & PERF_FORMAT_TOTAL_TIME_RUNNING);
	unsigned each = 1 + !!(f & PERF_FORMAT_ID) + !!(f & PERF_FORMAT_LOST);

	return 8 * (f & PERF_FORMAT_GROUP ? 1 + head + n * each : head + each);
}
