/* SPDX-License-Identifier: MIT
 *
 * perf_event_open: events that count and sample what tasks and CPUs do. Everything else goes through the descriptor.
 */
#ifndef PERF_PERF_H
#define PERF_PERF_H

#include <lib/types.h>

/* A descriptor, or -errno as perf_event_open(2). attr: struct perf_event_attr. */
int perf_open(void __user *attr, int pid, int cpu, int group_fd, ulong flags);

#endif
