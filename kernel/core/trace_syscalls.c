/* SPDX-License-Identifier: MIT
 *
 * Problem: clients want two events for each of 360 system calls, with the names and types of its arguments; as a table
 * that would be a tenth of the kernel.
 *
 * Idea: an event is made from its row of the system-call table when somebody first asks for it, and kept. The record is
 * regular: the number, then the arguments or the result as words.
 *
 *   "int fd, void * buf" --> fields __syscall_nr, fd, buf; print "fd: 0x%08lx, buf: 0x%08lx", ...
 *
 * Contract: core/trace.h. Layout as Linux's events/syscalls/EVENT/format.
 *
 * Locks: none; two who make the same event at once: one wins.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <core/trace.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "core_priv.h"

#define TEXT_MOST 640
#define ARGS_MOST 6

static const struct {
	const char *name, *args;
} calls[SYSCALL_COUNT] = {
#include <abi/syscall_args.h>
};
static const struct trace_event *made[2 * SYSCALL_COUNT];

struct description { /* one allocation */
	struct trace_event event;
	struct trace_field fields[1 + ARGS_MOST];
	char text[TEXT_MOST];
	struct strbuf sb;
};

/* The text from `start` on, terminated; the next piece begins behind it. */
static const char *finish(struct description *d, size_t start)
{
	strbuf_put(&d->sb, "", 1);
	return d->text + start;
}

static const char *copy(struct description *d, const char *s, size_t n)
{
	size_t start = d->sb.len;

	strbuf_put(&d->sb, s, n);
	return finish(d, start);
}

static void add_field(struct description *d, const char *declaration, const char *name, unsigned offset, unsigned size,
		      bool is_signed)
{
	d->fields[d->event.nr_fields++] =
		(struct trace_field){ declaration, name, (u16)offset, (u16)size, is_signed, TRACE_NUMBER };
}

static void add_arguments(struct description *d, const char *args)
{
	for (unsigned n = 0; *args && n < ARGS_MOST; n++) {
		const char *end = strchr(args, ','), *name;
		size_t len = end ? (size_t)(end - args) : strlen(args);
		const char *declaration = copy(d, args, len);

		name = strrchr(declaration, ' ');
		add_field(d, declaration, name ? name + 1 : declaration, 16 + 8 * n, 8, false);
		args += len;
		while (*args == ',' || *args == ' ')
			args++;
	}
}

static void add_print(struct description *d, bool is_exit)
{
	size_t start = d->sb.len;

	if (is_exit) {
		strbuf_add(&d->sb, "\"0x%%lx\", REC->ret");
	} else {
		strbuf_add(&d->sb, "\"");
		for (unsigned i = 1; i < d->event.nr_fields; i++)
			strbuf_add(&d->sb, "%s%s: 0x%%08lx", i > 1 ? ", " : "", d->fields[i].name);
		strbuf_add(&d->sb, "\"");
		for (unsigned i = 1; i < d->event.nr_fields; i++)
			strbuf_add(&d->sb, ", ((unsigned long)(REC->%s))", d->fields[i].name);
	}
	d->event.print = finish(d, start);
}

static struct description *make(ulong nr, bool is_exit)
{
	struct description *d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	size_t start = 0;

	if (!d)
		return NULL;
	strbuf_init(&d->sb, d->text, sizeof(d->text));
	d->event.system = "syscalls";
	strbuf_add(&d->sb, is_exit ? "sys_exit_%s" : "sys_enter_%s", calls[nr].name);
	d->event.name = finish(d, start);
	d->event.fields = d->fields;
	add_field(d, "int __syscall_nr", "__syscall_nr", 8, 4, true);
	if (is_exit)
		add_field(d, "long ret", "ret", 16, 8, true);
	else
		add_arguments(d, calls[nr].args);
	add_print(d, is_exit);
	return d;
}

const struct trace_event *trace_syscall_event(unsigned id)
{
	unsigned n = id - TRACE_LAST_ID;
	const struct trace_event *e = __atomic_load_n(&made[n], __ATOMIC_ACQUIRE), *none = NULL;
	struct description *d;

	if (e || !calls[n / 2].name)
		return e;
	d = make(n / 2, n & 1);
	if (!d)
		return NULL;
	if (!__atomic_compare_exchange_n(&made[n], &none, &d->event, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		kfree(d);
		return none;
	}
	return &d->event;
}

void trace_syscall(ulong nr, bool is_exit, const u64 *words)
{
	struct {
		struct trace_common common;
		s32 nr, pad;
		u64 words[ARGS_MOST];
	} r = { .nr = (s32)nr };
	const struct trace_event *e;
	unsigned id, n;

	if (nr >= SYSCALL_COUNT)
		return;
	id = is_exit ? TRACE_SYSCALL_EXIT((unsigned)nr) : TRACE_SYSCALL_ENTER((unsigned)nr);
	if (!trace_is_heard(id))
		return;
	e = trace_event(id);
	n = e ? e->nr_fields - 1 : 0;
	memcpy(r.words, words, n * sizeof(u64));
	trace_emit(id, &r, offsetof(typeof(r), words) + n * sizeof(u64));
}
