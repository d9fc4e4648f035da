/* SPDX-License-Identifier: MIT
 *
 * Between the files of core.
 */
#ifndef CORE_PRIV_H
#define CORE_PRIV_H

#include <core/log.h>

extern bool log_lockless; /* set by panic: the lock's holder may be stopped */
void log_vprint(enum log_level level, const char *fmt, va_list ap) __printf(2, 0);

/* trace_syscalls.c: as trace_event, for ids from TRACE_LAST_ID on. */
struct trace_event;
const struct trace_event *trace_syscall_event(unsigned id);

#endif
