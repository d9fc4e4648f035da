/* SPDX-License-Identifier: MIT
 *
 * Problem: perf_event_open is a system call like any other.
 *
 * Idea: the perf part does it all.
 *
 * Contract: perf_event_open(2).
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <perf/perf.h>

long sys_perf_event_open(void __user *attr, int pid, int cpu, int group_fd, ulong flags)
{
	return perf_open(attr, pid, cpu, group_fd, flags);
}
