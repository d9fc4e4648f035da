/* SPDX-License-Identifier: MIT
 *
 * The one work pool: functions that must run in process context, later. Workers are made as needed,
 * so work may sleep.
 */
#ifndef TASK_WORK_H
#define TASK_WORK_H

#include <lib/list.h>
#include <task/timer.h>

struct work {
	struct list link;
	void (*fn)(struct work *);
	u32 state;
};
void work_init(struct work *w, void (*fn)(struct work *));
bool work_queue(struct work *w); /* any context; false: it was already queued */
void work_pool_init(void);       /* boot */
void work_flush(struct work *w); /* waits until it is neither queued nor running */

struct delayed_work {
	struct work work;
	struct timer timer;
};
void delayed_work_init(struct delayed_work *w, void (*fn)(struct work *));
void delayed_work_queue(struct delayed_work *w, u64 delay_ns);
void delayed_work_cancel(struct delayed_work *w);

#endif
