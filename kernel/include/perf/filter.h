/* SPDX-License-Identifier: MIT
 *
 * Filters of tracepoints: `prev_pid != 0 && (comm ~ "kw*" || prio < 100)`. Pure.
 *
 * Grammar: expression := term { && or || term } with the usual precedence, ! and parentheses; term := FIELD OP VALUE;
 * OP of numbers: == != < <= > >= & ; of strings: == != ~ (glob with * ? [..]). Fields: the event's, common_pid and the
 * other common ones, CPU is not offered. Source: Documentation/trace/events.rst of Linux, section 5.
 */
#ifndef PERF_FILTER_H
#define PERF_FILTER_H

#include <core/trace.h>

struct perf_filter;
/* "" and "0" give *out = NULL: no filter. -EINVAL with a reason, -ENOMEM. */
int __must_check perf_filter_parse(const struct trace_event *e, const char *text, struct perf_filter **out);
bool perf_filter_match(const struct perf_filter *f, const void *record, size_t size);
void perf_filter_free(struct perf_filter *f); /* NULL is allowed */

#endif
