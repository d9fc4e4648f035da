/* SPDX-License-Identifier: MIT
 *
 * Records as text, by the same `print fmt` line that clients get. Pure.
 *
 * What such a line may use: a C format string (no %n, no floats), then expressions of C without assignment over
 * numbers, strings, REC->field, __get_str(field), __print_symbolic(value, { v, "text" }, ...) and __print_flags(value,
 * "|", { bit, "text" }, ...). Source: Documentation/trace/events.rst of Linux, section 2.
 */
#ifndef TRACEFS_PRINT_H
#define TRACEFS_PRINT_H

#include <core/trace.h>
#include <lib/printf.h>

/* Appends the text of a record; what the line has wrong prints as nothing. */
void trace_print(const struct trace_event *e, const void *record, size_t size, struct strbuf *out);

#endif
