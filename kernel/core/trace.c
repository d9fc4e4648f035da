/* SPDX-License-Identifier: MIT
 *
 * Problem: dozens of places report what happens to any of several listeners, at no cost while there is none.
 *
 * Idea: the table of kernel/abi/tracepoints.tbl, compiled. An event's static branch is on while any sink listens to it;
 * a record gets its common part here and goes to each sink that does. The text that describes a record to readers is
 * made from the same rows.
 *
 * Contract: core/trace.h. Format text: Documentation/trace/events.rst of Linux, section 2.3; flag bits as in its
 * trace_flag_type.
 *
 * Locks: none; counts of listeners change atomically, and the static branch has a lock of its own.
 */
#include <arch/cpu.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/trace.h>
#include <lib/atomic.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <task/task.h>
#include "core_priv.h"

#define FLAG_IRQS_OFF     1
#define FLAG_NEED_RESCHED 4
#define FLAG_HARDIRQ      8

static const struct trace_event events[TRACE_EVENTS] = {
#include <abi/tracepoint_table.h>
};
struct static_key trace_keys[TRACE_EVENTS];
static atomic_t listeners[TRACE_ALL][TRACE_SINKS];
static trace_sink_fn sinks[TRACE_SINKS];

void trace_sink_set(enum trace_sink_id sink, trace_sink_fn fn)
{
	sinks[sink] = fn;
}

void trace_emit_for(unsigned id, void *record, size_t size, u64 count, struct task *about)
{
	struct trace_common *c = record;
	unsigned n = id - TRACE_FIRST_ID;
	bool irqs = irqs_enabled();
	ulong irq = irq_save();

	c->type = (u16)id;
	c->flags = (u8)((irqs ? 0 : FLAG_IRQS_OFF) | (current->work & WORK_RESCHED ? FLAG_NEED_RESCHED : 0) |
			(in_irq() ? FLAG_HARDIRQ : 0));
	c->preempt_count = 0;
	c->pid = current->tid;
	for (unsigned s = 0; s < TRACE_SINKS; s++)
		if (atomic_read(&listeners[n][s]))
			sinks[s](id, record, size, count, about);
	irq_restore(irq);
}

u32 trace_put_string(void *record, size_t *size, size_t room, const char *text)
{
	size_t at = *size, n = min(strlen(text) + 1, room - at);

	memcpy((char *)record + at, text, n);
	((char *)record)[at + n - 1] = 0;
	*size += n;
	return (u32)(n << 16 | at);
}

static struct static_key *key_of(unsigned id)
{
	if (id < TRACE_LAST_ID)
		return &trace_keys[id - TRACE_FIRST_ID];
	return &trace_keys[((id - TRACE_LAST_ID) & 1 ? TRACE_sys_exit : TRACE_sys_enter) - TRACE_FIRST_ID];
}

void trace_listen(unsigned id, enum trace_sink_id sink)
{
	atomic_inc(&listeners[id - TRACE_FIRST_ID][sink]);
	static_key_inc(key_of(id));
}

void trace_deafen(unsigned id, enum trace_sink_id sink)
{
	static_key_dec(key_of(id));
	atomic_dec(&listeners[id - TRACE_FIRST_ID][sink]);
}

bool trace_is_heard(unsigned id)
{
	for (unsigned s = 0; s < TRACE_SINKS; s++)
		if (atomic_read(&listeners[id - TRACE_FIRST_ID][s]))
			return true;
	return false;
}

const struct trace_event *trace_event(unsigned id)
{
	if (id < TRACE_FIRST_ID || id >= TRACE_IDS_END)
		return NULL;
	return id < TRACE_LAST_ID ? &events[id - TRACE_FIRST_ID] : trace_syscall_event(id);
}

static void describe_field(struct strbuf *out, const char *declaration, unsigned offset, unsigned size,
			   unsigned is_signed)
{
	strbuf_add(out, "\tfield:%s;\toffset:%u;\tsize:%u;\tsigned:%u;\n", declaration, offset, size, is_signed);
}

void trace_describe(unsigned id, struct strbuf *out)
{
	const struct trace_event *e = trace_event(id);

	if (!e)
		return;
	strbuf_add(out, "name: %s\nID: %u\nformat:\n", e->name, id);
	describe_field(out, "unsigned short common_type", 0, 2, 0);
	describe_field(out, "unsigned char common_flags", 2, 1, 0);
	describe_field(out, "unsigned char common_preempt_count", 3, 1, 0);
	describe_field(out, "int common_pid", 4, 4, 1);
	strbuf_add(out, "\n");
	for (unsigned i = 0; i < e->nr_fields; i++) {
		const struct trace_field *f = &e->fields[i];

		describe_field(out, f->declaration, f->offset, f->size, f->is_signed);
	}
	strbuf_add(out, "\nprint fmt: %s\n", e->print);
}
