/* SPDX-License-Identifier: MIT
 *
 * Tracepoints: places that tell, when somebody listens, what just happened. The table is kernel/abi/tracepoints.tbl.
 * A place writes
 *
 *	if (trace_on(sched_switch))
 *		trace_switch(prev, next);
 *
 * where trace_on is a nop while nobody listens (core/static_branch.h) and the function fills a struct
 * trace_sched_switch and hands it to trace_emit. Any context, any locks, but NMI; a sink takes no lock of a rank
 * before RANK_PERF and does not sleep.
 *
 * Sinks (perf, tracefs' ring) register at boot; trace_listen turns an event on for one of them.
 */
#ifndef CORE_TRACE_H
#define CORE_TRACE_H

#include <abi/syscalls.h>
#include <abi/tracepoints.h>
#include <core/static_branch.h>

struct task;

enum trace_field_kind { TRACE_NUMBER, TRACE_CHARS, TRACE_DYNAMIC };
struct trace_field {
	const char *declaration, *name;
	u16 offset, size;
	u8 is_signed, kind;
};
struct trace_event {
	const char *system, *name, *print;
	unsigned nr_fields;
	const struct trace_field *fields;
};
/* Each system call has two more events, syscalls:sys_enter_NAME and sys_exit_NAME, made from its row when they are
 * first asked for; they stand behind the static branches of raw_syscalls. */
#define TRACE_SYSCALL_ENTER(nr) (TRACE_LAST_ID + 2 * (nr))
#define TRACE_SYSCALL_EXIT(nr)  (TRACE_LAST_ID + 2 * (nr) + 1)
#define TRACE_IDS_END           (TRACE_LAST_ID + 2 * SYSCALL_COUNT)
#define TRACE_ALL               (TRACE_IDS_END - TRACE_FIRST_ID)
/* NULL: there is no such event, or no memory to describe it. Lives forever. May sleep. */
const struct trace_event *trace_event(unsigned id);
/* From the system-call path, when a raw_syscalls branch is on. words: arguments, or the result. */
void trace_syscall(ulong nr, bool is_exit, const u64 *words);
bool trace_is_heard(unsigned id);
extern struct static_key trace_keys[TRACE_EVENTS];

#define trace_on(event) static_branch(&trace_keys[TRACE_##event - TRACE_FIRST_ID])

enum trace_sink_id { TRACE_SINK_PERF, TRACE_SINK_RING, TRACE_SINKS };
/* The record, common part filled in. count: how much of the event's unit it stands for (1, or nanoseconds). about: the
 * task that it is also counted for, or NULL. IRQs off. */
typedef void (*trace_sink_fn)(unsigned id, const void *record, size_t size, u64 count, struct task *about);
void trace_sink_set(enum trace_sink_id sink, trace_sink_fn fn); /* once, at boot */

void trace_emit_for(unsigned id, void *record, size_t size, u64 count, struct task *about);
static inline void trace_emit(unsigned id, void *record, size_t size)
{
	trace_emit_for(id, record, size, 1, NULL);
}
/* The value of a __data_loc field and the bytes behind the record: copies text (with terminator, cut to room) to
 * record + *size and moves *size. */
u32 trace_put_string(void *record, size_t *size, size_t room, const char *text);

void trace_listen(unsigned id, enum trace_sink_id sink); /* may sleep; nests */
void trace_deafen(unsigned id, enum trace_sink_id sink);

struct strbuf;
void trace_describe(unsigned id, struct strbuf *out); /* the text of events/SYSTEM/NAME/format */

#endif
