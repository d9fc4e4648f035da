/* SPDX-License-Identifier: MIT
 *
 * Problem: people read the trace with cat: all CPUs in one order, one event a line; and they write marks into it.
 *
 * Idea: a merge of the CPUs' rings by time. `trace` looks on with a cursor a CPU and consumes nothing; trace_pipe takes
 * the oldest event of all rings, one after another, and sleeps when there is none. A mark is an event of its own.
 *
 * Contract: tracefs_priv.h. Lines as Documentation/trace/ftrace.rst shows them. Events that come while `trace` is read
 * may be in it or not.
 *
 * Locks: a CPU's ring lock while one event is copied out.
 */
#include "tracefs_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <task/task.h>
#include <vfs/poll.h>
#include "print.h"

#define LINE_MOST 1024
#define MARK_MOST 1000

struct copy { /* of one event */
	u64 ns;
	u32 bytes;
	unsigned cpu;
	u8 data[TRACE_DATA_MOST];
};

struct mark {
	struct trace_common common;
	u64 ip;
	char text[MARK_MOST + 2];
};

/* ---- lines --------------------------------------------------------------------------------------------------------
 */

static char irq_letter(unsigned flags)
{
	return flags & 8 ? flags & 16 ? 'H' : 'h' : flags & 16 ? 's' : '.';
}

static void add_mark(const struct copy *c, struct strbuf *out)
{
	const struct mark *m = (const struct mark *)c->data;
	size_t room = c->bytes > offsetof(struct mark, text) ? c->bytes - offsetof(struct mark, text) : 0;
	size_t n = strnlen(m->text, room);

	strbuf_add(out, "tracing_mark_write: ");
	strbuf_put(out, m->text, n && m->text[n - 1] == '\n' ? n - 1 : n);
}

/* Calls read as calls: sys_close(fd: 3), sys_close -> 0x0. */
static void add_call(const struct trace_event *e, const struct copy *c, struct strbuf *out)
{
	bool is_exit = !strncmp(e->name, "sys_exit_", 9);

	strbuf_add(out, "sys_%s%s", e->name + (is_exit ? 9 : 10), is_exit ? " -> " : "(");
	for (unsigned i = 1; i < e->nr_fields; i++) {
		u64 v = 0;

		if (e->fields[i].offset + 8u <= c->bytes)
			memcpy(&v, c->data + e->fields[i].offset, 8);
		if (is_exit)
			strbuf_add(out, "0x%llx", (unsigned long long)v);
		else
			strbuf_add(out, "%s%s: %llx", i > 1 ? ", " : "", e->fields[i].name, (unsigned long long)v);
	}
	if (!is_exit)
		strbuf_add(out, ")");
}

static void add_line(const struct trace_instance *t, const struct copy *c, struct strbuf *out)
{
	const struct trace_common *common = (const struct trace_common *)c->data;
	u64 us = (c->ns + 500) / 1000; /* to the nearest, as clients round */
	char comm[16];

	strbuf_add(out, "%16s-%-7d [%03u] ", trace_comm(common->pid, comm), common->pid, c->cpu);
	if (t->options & OPTION_IRQ_INFO)
		strbuf_add(out, "%c%c%c..", common->flags & 1 ? 'd' : '.', common->flags & 4 ? 'N' : '.',
			   irq_letter(common->flags));
	if (t->clock == TRACE_CLOCK_COUNTER)
		strbuf_add(out, " %llu: ", (unsigned long long)c->ns);
	else
		strbuf_add(out, " %5llu.%06llu: ", (unsigned long long)(us / 1000000),
			   (unsigned long long)(us % 1000000));
	if (common->type == TRACE_PRINT_ID) {
		add_mark(c, out);
	} else if (trace_event(common->type)) {
		const struct trace_event *e = trace_event(common->type);

		if (!strcmp(e->system, "syscalls")) {
			add_call(e, c, out);
		} else {
			strbuf_add(out, "%s: ", e->name);
			trace_print(e, c->data, c->bytes, out);
		}
	}
	strbuf_add(out, "\n");
}

/* ---- merging ------------------------------------------------------------------------------------------------------
 */

/* The next event of a CPU: its time, and, if `to` is there, the event, behind which the cursor then stands. */
static bool look(struct trace_cpu *c, struct trace_cursor *cursor, u64 *ns, struct copy *to)
{
	struct trace_cursor next = *cursor;
	struct trace_found f;
	ulong irq = spin_lock_irqsave(&c->lock);
	bool found = c->ring.nr && trace_ring_next(&c->ring, &next, &f);

	if (found) {
		*ns = f.ns;
		if (to) {
			to->ns = f.ns;
			to->bytes = min(f.bytes, (u32)sizeof(to->data));
			memcpy(to->data, f.data, to->bytes);
			*cursor = next;
		}
	}
	spin_unlock_irqrestore(&c->lock, irq);
	return found;
}

struct merge {
	struct trace_instance *t;
	int cpu; /* -1: all */
	struct trace_cursor at[MAX_CPUS];
	struct copy event;
};

static bool next_event(struct merge *m)
{
	unsigned best = MAX_CPUS;
	u64 ns, least = ~0ULL;

	for (unsigned i = 0; i < cpu_count(); i++)
		if ((m->cpu < 0 || (unsigned)m->cpu == i) && look(&m->t->cpus[i], &m->at[i], &ns, NULL) && ns < least) {
			best = i;
			least = ns;
		}
	if (best == MAX_CPUS || !look(&m->t->cpus[best], &m->at[best], &ns, &m->event))
		return false;
	m->event.cpu = best;
	return true;
}

static const char legend[] = "#                                _-----=> irqs-off/BH-disabled\n"
			     "#                               / _----=> need-resched\n"
			     "#                              | / _---=> hardirq/softirq\n"
			     "#                              || / _--=> preempt-depth\n"
			     "#                              ||| / _-=> migrate-disable\n"
			     "#                              |||| /     delay\n"
			     "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n"
			     "#              | |         |   |||||     |         |\n";

int trace_show(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct trace_instance *t = trace_dir_of(dir)->instance;
	struct merge *m = kzalloc(sizeof(*m), ALLOC_KERNEL);
	u64 in = 0, written = 0;

	if (!m)
		return -ENOMEM;
	m->t = t;
	m->cpu = a->data ? (int)trace_dir_of(dir)->what : -1;
	for (unsigned i = 0; i < cpu_count(); i++) {
		const struct trace_ring *r = &t->cpus[i].ring;

		if (m->cpu >= 0 && (unsigned)m->cpu != i)
			continue;
		in += trace_ring_entries(r);
		written += trace_ring_entries(r) + r->overrun;
	}
	strbuf_add(out, "# tracer: nop\n#\n# entries-in-buffer/entries-written: %llu/%llu   #P:%u\n#\n",
		   (unsigned long long)in, (unsigned long long)written, cpu_count());
	strbuf_add(out, "%s", legend);
	while (!out->truncated && next_event(m))
		add_line(t, &m->event, out);
	kfree(m);
	return 0;
}

/* ---- trace_pipe ---------------------------------------------------------------------------------------------------
 */

struct stream {
	struct trace_instance *t;
	int cpu;
	bool read_some;
	struct mutex lock; /* the rest */
	struct strbuf line;
	size_t line_at;
	char text[LINE_MOST];
	struct copy event;
};

static int pipe_open(struct inode *i, struct file *f)
{
	const struct attr *a;
	struct trace_dir *d = trace_dir_of(attrfs_file_of(i, &a));
	struct stream *s = kzalloc(sizeof(*s), ALLOC_KERNEL);
	int err = s ? trace_open_stream(d->instance) : -ENOMEM;

	if (err) {
		kfree(s);
		return err;
	}
	s->t = d->instance;
	s->cpu = a->data ? (int)d->what : -1;
	mutex_init(&s->lock, RANK_LEAF_SLEEP);
	strbuf_init(&s->line, s->text, sizeof(s->text));
	f->priv = s;
	return 0;
}

static void pipe_release(struct file *f)
{
	struct stream *s = f->priv;

	if (!s)
		return;
	trace_close_stream(s->t);
	kfree(s);
}

/* Takes the oldest event of the rings. */
static bool consume(struct stream *s)
{
	struct trace_cursor start;
	unsigned best = MAX_CPUS;
	u64 ns, least = ~0ULL;
	ulong irq;

	for (unsigned i = 0; i < cpu_count(); i++) {
		start = (struct trace_cursor){ 0 };
		if ((s->cpu < 0 || (unsigned)s->cpu == i) && look(&s->t->cpus[i], &start, &ns, NULL) && ns < least) {
			best = i;
			least = ns;
		}
	}
	start = (struct trace_cursor){ 0 };
	if (best == MAX_CPUS || !look(&s->t->cpus[best], &start, &ns, &s->event))
		return false;
	irq = spin_lock_irqsave(&s->t->cpus[best].lock);
	trace_ring_consume(&s->t->cpus[best].ring);
	spin_unlock_irqrestore(&s->t->cpus[best].lock, irq);
	s->event.cpu = best;
	return true;
}

/* What is there, line by line, until the reader's room is full. */
static ssize_t drain(struct stream *s, struct io *io)
{
	ssize_t total = 0;

	mutex_lock(&s->lock);
	for (;;) {
		size_t n;

		if (s->line_at == s->line.len) {
			s->line_at = 0;
			strbuf_init(&s->line, s->text, sizeof(s->text));
			if (!io->iter.count || !consume(s))
				break;
			add_line(s->t, &s->event, &s->line);
		}
		n = iter_copy_out(s->text + s->line_at, s->line.len - s->line_at, &io->iter);
		s->line_at += n;
		total += (ssize_t)n;
		if (s->line_at < s->line.len) {
			total = total ? total : -EFAULT;
			break;
		}
	}
	mutex_unlock(&s->lock);
	return total;
}

static ssize_t pipe_read(struct io *io)
{
	struct stream *s = io->file->priv;
	ssize_t n;

	if (!io->iter.count)
		return 0;
	for (;;) {
		int err;

		n = drain(s, io);
		if (n)
			break;
		if (!READ_ONCE(s->t->on) && s->read_some) /* tracing was ended: so does the pipe */
			return 0;
		err = trace_wait(s->t, s->cpu, false, io->file->flags & O_NONBLOCK);
		if (err)
			return err;
	}
	s->read_some = true;
	return n;
}

static unsigned pipe_poll(struct file *f, struct poll_table *pt)
{
	struct stream *s = f->priv;

	__atomic_store_n(&s->t->polled, true, __ATOMIC_SEQ_CST);
	poll_wait(f, &s->t->readers, pt);
	return trace_has(s->t, s->cpu, false) ? EPOLLIN | EPOLLRDNORM : 0;
}

const struct file_ops trace_pipe_ops = {
	.open = pipe_open, .release = pipe_release, .read = pipe_read, .poll = pipe_poll, .llseek = no_llseek
};

/* ---- trace_marker -------------------------------------------------------------------------------------------------
 */

static int marker_open(struct inode *i, struct file *f)
{
	const struct attr *a;
	struct trace_instance *t = trace_dir_of(attrfs_file_of(i, &a))->instance;
	int err = trace_open_stream(t);

	if (!err)
		f->priv = t;
	return err;
}

static void marker_release(struct file *f)
{
	if (f->priv)
		trace_close_stream(f->priv);
}

static ssize_t marker_write(struct io *io)
{
	struct trace_instance *t = io->file->priv;
	size_t all = io->iter.count, n = min(all, (size_t)MARK_MOST);
	struct mark *m;
	int err;

	if (!(t->options & OPTION_MARKERS))
		return -EINVAL;
	m = kzalloc(sizeof(*m), ALLOC_KERNEL);
	if (!m)
		return -ENOMEM;
	mutex_lock(&trace_mutex);
	err = trace_buffers(t);
	mutex_unlock(&trace_mutex);
	if (!err && iter_copy_in(m->text, n, &io->iter) != n)
		err = -EFAULT;
	if (!err && n) {
		m->common = (struct trace_common){ .type = TRACE_PRINT_ID, .pid = current->tid };
		m->ip = (u64)(ulong)marker_write;
		if (m->text[n - 1] != '\n')
			m->text[n++] = '\n';
		if (READ_ONCE(t->on))
			trace_write(t, m, offsetof(struct mark, text) + n + 1);
	}
	kfree(m);
	return err ? err : (ssize_t)min(all, (size_t)MARK_MOST);
}

const struct file_ops trace_marker_ops = {
	.open = marker_open, .release = marker_release, .write = marker_write, .llseek = no_llseek
};
