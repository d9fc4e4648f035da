/* SPDX-License-Identifier: MIT
 *
 * What other parts of the kernel ask about a task's cache group. May sleep.
 */
#ifndef RESCTRL_TASK_H
#define RESCTRL_TASK_H

#include <lib/printf.h>
#include <task/task.h>

/* The text of /proc/PID/cpu_resctrl_groups. */
void resctrl_show_task(const struct task *t, struct strbuf *out);

#endif
