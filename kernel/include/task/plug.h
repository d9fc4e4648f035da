/* SPDX-License-Identifier: MIT
 *
 * A plug: while a task holds one, its block requests are held back, so that neighbours become one and a device is told
 * once of many. They go when the plug ends, when it is full, and before the task sleeps. Plugs nest: the outermost
 * counts. On the stack of the task that uses it; what is held back is the block layer's.
 */
#ifndef TASK_PLUG_H
#define TASK_PLUG_H

#include <lib/list.h>
#include <task/task.h>

struct plug {
	struct list items; /* struct merge_item */
	unsigned count;
};

/* task's upcall into block: sends all. No sleep. */
void upcall_plug_flush(struct plug *p);

static inline void plug_start(struct plug *p)
{
	if (current->plug)
		return;
	list_init(&p->items);
	p->count = 0;
	current->plug = p;
}

static inline void plug_flush(void)
{
	struct plug *p = current->plug;

	if (unlikely(p) && p->count)
		upcall_plug_flush(p);
}

static inline void plug_finish(struct plug *p)
{
	if (current->plug != p)
		return;
	plug_flush();
	current->plug = NULL;
}

#endif
