/* SPDX-License-Identifier: MIT
 *
 * Hybrid polling: how to wait for one polled request, decided from how long such requests took lately.
 *
 * Meaning of queue/io_poll_delay (Linux 4.10, Documentation/block/queue-sysfs): -1 classic polling, 0 adaptive,
 * n > 0 sleep n microseconds, then spin. Adaptive is ours: a plan of sleeps and spins for each direction and size
 * class, chosen as the one that costs the least CPU time among those whose expected latency stays close to spinning's;
 * the interrupt is one of the candidates.
 *
 * A waiter's loop: elapsed = 0; do what poll_next says until the time it says, check for completion, ask again.
 *   SPIN       poll the device until `until_ns`, then ask again
 *   SLEEP      timer to `until_ns`; a completion interrupt, where the device sends one, may end it early
 *   INTERRUPT  switch the interrupt on and block until completion
 * All times are since submission.
 *
 * Threading: record and learn are serialised by the queue's lock. poll_next reads a plan that record replaces by
 * sequence count; it may run on any CPU without the lock.
 */
#ifndef BLOCK_POLL_H
#define BLOCK_POLL_H

#include <lib/printf.h>
#include <lib/types.h>

#define POLL_SIZE_CLASSES 8 /* 512 B .. 64 KiB and more, by powers of two */
#define POLL_PLAN_STEPS   8

enum poll_kind { POLL_SPIN, POLL_SLEEP, POLL_INTERRUPT };

enum poll_way {
	POLL_PLANNED, /* poll_next says what to do */
	POLL_LEFT,    /* to the interrupt, at once */
	POLL_WATCHED, /* spin: the interrupt was found best, and this one shows whether it still is */
};

struct poll_step {
	enum poll_kind kind;
	u64 until_ns; /* UINT64_MAX: until it completes */
};

struct poll_plan {
	u32 seq; /* odd while it is replaced */
	u8 nr_steps;
	struct poll_step step[POLL_PLAN_STEPS];
	/* what the plan is expected to cost, for poll_show */
	u64 latency_ns, cpu_ns;
};

struct poll_class;

struct poll_queue {
	s64 delay_ns; /* -1, 0, or fixed */
	u64 wake_ns;  /* how late a timer's sleeper runs, mean and mean deviation */
	u64 wake_dev_ns;
	u64 sleep_cpu_ns;                             /* CPU time of going to sleep and coming back */
	u64 interrupt_ns;                             /* from completion to the waiter running, by interrupt */
	u64 interrupt_cpu_ns;                         /* CPU time of that path */
	struct poll_class *cls[2][POLL_SIZE_CLASSES]; /* made at the first sample; [write] */
};

void poll_queue_init(struct poll_queue *q);
void poll_queue_free(struct poll_queue *q);

/* The text of io_poll_delay: a decimal number of microseconds, at least -1. -EINVAL. */
int __must_check poll_delay_parse(const char *text, s64 *delay_ns);

/* contended: another task wants this CPU. */
struct poll_step poll_next(const struct poll_queue *q, bool write, u32 bytes, u64 elapsed_ns, bool contended);

/* How to wait for the next request; counts it. Without lock or clock, so that who is left to the interrupt pays next to
 * nothing for the question. */
enum poll_way poll_way(struct poll_queue *q, bool write, u32 bytes);
/* A request that was not left to the interrupt has completed after service_ns. exact: it was seen completing (spinning
 * or by interrupt); not exact: it was found complete after a sleep. Memory for a new class is taken here; without it
 * the class stays unlearned. */
void poll_record(struct poll_queue *q, bool write, u32 bytes, u64 service_ns, bool exact);

/* A sleep is over. overslept: the request was complete by then, the device's interrupt having said so. */
void poll_learn_end(struct poll_queue *q, bool write, u32 bytes, bool overslept);
/* Measured costs of waiting. late: how long after its deadline a sleeper ran; cpu: CPU time that it took. */
void poll_learn_sleep(struct poll_queue *q, u64 late_ns, u64 cpu_ns);
void poll_learn_interrupt(struct poll_queue *q, u64 late_ns, u64 cpu_ns);

/* One line a class that has samples: direction, size, samples, the plan and its expected cost. */
void poll_show(const struct poll_queue *q, struct strbuf *out);

#endif
