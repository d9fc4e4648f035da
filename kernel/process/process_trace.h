/* SPDX-License-Identifier: MIT
 *
 * What processes tell: called behind their static branches.
 */
#ifndef PROCESS_TRACE_H
#define PROCESS_TRACE_H

#include <core/trace.h>
#include <linux/signal.h>
#include <process/process.h>

void process_trace_fork(struct task *child, ulong clone_flags);
void process_trace_exec(const char *filename, int old_tid);
void process_trace_exit(void);
void process_trace_wait(struct pid *pid);
void process_trace_signal(int sig, const siginfo_t *info, struct task *t, bool group, int result);
void process_trace_deliver(int sig, const siginfo_t *info, const struct sigaction_kernel *a);

#endif
