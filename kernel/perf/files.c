/* SPDX-License-Identifier: MIT
 *
 * Problem: what a program does with an event's descriptor: read its values, wait for records, turn it on and off, send
 * its records elsewhere, filter it.
 *
 * Idea: one function an operation; those that Linux applies to whole groups and to inherited events walk them here.
 *
 * Contract: perf_event_open(2), "perf_event ioctl calls" and "Reading results".
 *
 * Locks: perf_lock around everything that looks at other events.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/eventpoll.h>
#include <vfs/poll.h>
#include <vfs/vfs.h>

#define FILTER_MOST 4096

/* ---- read --------------------------------------------------------------------------------------------------- */

static unsigned add_one(u64 *to, struct perf_event *e, u64 format, bool times)
{
	struct event_values v;
	unsigned n = 0;

	event_values(e, &v);
	to[n++] = v.count;
	if (times && (format & PERF_FORMAT_TOTAL_TIME_ENABLED))
		to[n++] = v.enabled_ns;
	if (times && (format & PERF_FORMAT_TOTAL_TIME_RUNNING))
		to[n++] = v.running_ns;
	if (format & PERF_FORMAT_ID)
		to[n++] = e->id;
	if (format & PERF_FORMAT_LOST)
		to[n++] = e->lost;
	return n;
}

static unsigned add_group(u64 *to, struct perf_event *leader, u64 format)
{
	struct perf_event *m;
	struct event_values v;
	unsigned n = 0;

	event_values(leader, &v);
	to[n++] = 1 + leader->nr_siblings;
	if (format & PERF_FORMAT_TOTAL_TIME_ENABLED)
		to[n++] = v.enabled_ns;
	if (format & PERF_FORMAT_TOTAL_TIME_RUNNING)
		to[n++] = v.running_ns;
	n += add_one(to + n, leader, format, false);
	list_for_each_entry (m, &leader->siblings, sibling_link)
		n += add_one(to + n, m, format, false);
	return n;
}

static ssize_t perf_read(struct io *io)
{
	struct perf_event *e = io->file->priv;
	u64 f = e->attr.read_format, *values;
	unsigned bytes, n;
	ssize_t done;

	mutex_lock(&perf_lock);
	if (READ_ONCE(e->state) == PERF_ERROR) { /* pinned, and it is not: end of file */
		mutex_unlock(&perf_lock);
		return 0;
	}
	bytes = perf_attr_read_bytes(&e->attr, 1 + e->leader->nr_siblings);
	values = io->iter.count < bytes ? NULL : kmalloc(bytes, ALLOC_KERNEL);
	n = !values ? 0 : f & PERF_FORMAT_GROUP ? add_group(values, e->leader, f) : add_one(values, e, f, true);
	mutex_unlock(&perf_lock);
	if (!values)
		return io->iter.count < bytes ? -ENOSPC : -ENOMEM;
	done = (ssize_t)iter_copy_out(values, 8 * n, &io->iter) == (ssize_t)(8 * n) ? (ssize_t)(8 * n) : -EFAULT;
	kfree(values);
	return done;
}

static unsigned perf_poll(struct file *f, struct poll_table *pt)
{
	struct perf_event *e = f->priv;
	struct perf_ring *r;
	unsigned events = EPOLLHUP;

	poll_wait(f, &e->waiters, pt);
	if (READ_ONCE(e->hung_up))
		return events;
	mutex_lock(&perf_lock);
	r = e->ring;
	if (r)
		events = __atomic_exchange_n(&r->ready, 0, __ATOMIC_SEQ_CST);
	mutex_unlock(&perf_lock);
	return events;
}

/* ---- ioctl ---------------------------------------------------------------------------------------------------- */

static void reset_values(struct perf_context *ctx, void *arg)
{
	struct perf_event *e = arg;

	if (e->kind->fold && e->state == PERF_ACTIVE)
		e->kind->fold(e);
	e->count = 0;
	if (e->kind->count && e->state == PERF_ACTIVE)
		e->count = 0 - e->kind->count(e, clock_ns());
	event_user_page(e);
}

static void reset(struct perf_event *e)
{
	if (e->ctx)
		context_call(e->ctx, reset_values, e);
	else
		e->count = 0;
}

static void with_children(struct perf_event *e, void (*fn)(struct perf_event *))
{
	struct perf_event *c;

	fn(e);
	list_for_each_entry (c, &e->children, child_link)
		fn(c);
}

static long apply(struct perf_event *e, void (*fn)(struct perf_event *), bool group)
{
	struct perf_event *m;

	if (!group) {
		with_children(e, fn);
		return 0;
	}
	e = e->leader;
	with_children(e, fn);
	list_for_each_entry (m, &e->siblings, sibling_link)
		with_children(m, fn);
	return 0;
}

static long refresh(struct perf_event *e, ulong n)
{
	if (e->attr.inherit || !perf_attr_samples(&e->attr))
		return -EINVAL;
	__atomic_fetch_add(&e->limit, (int)n, __ATOMIC_SEQ_CST);
	e->hung_up = 0;
	event_enable(e);
	return 0;
}

struct new_period {
	struct perf_event *e;
	u64 value;
};

static void take_period(struct perf_context *ctx, void *arg)
{
	struct new_period *p = arg;
	struct perf_event *e = p->e;

	if (e->attr.freq) {
		e->attr.sample_freq = p->value;
	} else {
		e->attr.sample_period = p->value;
		e->period = p->value;
		e->left = (s64)p->value;
	}
}

static long set_period(struct perf_event *e, u64 __user *from)
{
	struct new_period p = { .e = e };

	if (user_get(&p.value, from, sizeof(p.value)))
		return -EFAULT;
	if (!perf_attr_samples(&e->attr) || !p.value ||
	    (e->attr.freq ? p.value > perf_limits.max_sample_rate : p.value >> 63))
		return -EINVAL;
	if (e->ctx)
		context_call(e->ctx, take_period, &p);
	return 0;
}

static long set_filter(struct perf_event *e, const char __user *from)
{
	struct perf_filter *f, *old = e->filter;
	char *text;
	ssize_t n;
	int err;

	text = kmalloc(FILTER_MOST, ALLOC_KERNEL);
	if (!text)
		return -ENOMEM;
	n = user_get_string(text, from, FILTER_MOST);
	err = n < 0 ? (int)n : n == FILTER_MOST || e->kind != &perf_kind_tracepoint ? -EINVAL : 0;
	if (!err)
		err = perf_filter_parse(trace_event((unsigned)e->attr.config), text, &f);
	kfree(text);
	if (err)
		return err;
	rcu_assign(e->filter, f);
	if (old) {
		rcu_synchronize();
		perf_filter_free(old);
	}
	return 0;
}

/* Only a whole word of ones means none. */
static long set_output(struct perf_event *e, ulong fd)
{
	struct fd_ref ref;
	struct perf_event *to;
	long err;

	if (fd == ~0UL)
		return event_set_output(e, NULL);
	ref = fd_get((int)fd);
	to = perf_event_of(ref.file);
	err = to ? event_set_output(e, to) : -EBADF;
	if (ref.file)
		fd_put(ref);
	return err;
}

static long pause_output(struct perf_event *e, bool pause)
{
	struct perf_ring *r = e->ring;
	ulong irq;

	if (!r || !r->data.nr_pages)
		return -EINVAL;
	irq = spin_lock_irqsave(&r->lock);
	r->data.paused = pause;
	spin_unlock_irqrestore(&r->lock, irq);
	return 0;
}

static long modify(struct perf_event *e, void __user *from)
{
	struct perf_event_attr a;
	struct perf_event *c;
	int err = perf_copy_attr(&a, from);

	if (err)
		return err;
	if (a.type != e->attr.type)
		return -EINVAL;
	if (e->kind != &perf_kind_breakpoint)
		return -EOPNOTSUPP;
	err = perf_breakpoint_modify(e, &a);
	list_for_each_entry (c, &e->children, child_link)
		if (!err)
			err = perf_breakpoint_modify(c, &a);
	return err;
}

static long ioctl_locked(struct perf_event *e, unsigned cmd, ulong arg)
{
	switch (cmd) {
	case PERF_EVENT_IOC_ENABLE: return apply(e, event_enable, arg & PERF_IOC_FLAG_GROUP);
	case PERF_EVENT_IOC_DISABLE: return apply(e, event_disable, arg & PERF_IOC_FLAG_GROUP);
	case PERF_EVENT_IOC_RESET: return apply(e, reset, arg & PERF_IOC_FLAG_GROUP);
	case PERF_EVENT_IOC_REFRESH: return refresh(e, arg);
	case PERF_EVENT_IOC_PERIOD: return set_period(e, (u64 __user *)arg);
	case PERF_EVENT_IOC_ID: return user_put((void __user *)arg, &e->id, sizeof(e->id)) ? -EFAULT : 0;
	case PERF_EVENT_IOC_SET_OUTPUT: return set_output(e, arg);
	case PERF_EVENT_IOC_SET_FILTER: return set_filter(e, (const char __user *)arg);
	case PERF_EVENT_IOC_PAUSE_OUTPUT: return pause_output(e, arg != 0);
	case PERF_EVENT_IOC_QUERY_BPF: return perf_program_query(e, (struct perf_event_query_bpf __user *)arg);
	case PERF_EVENT_IOC_MODIFY_ATTRIBUTES: return modify(e, (void __user *)arg);
	case PERF_EVENT_IOC_SET_BPF: return perf_program_attach(e, (int)arg);
	default: return -ENOTTY;
	}
}

static long perf_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	long result;

	mutex_lock(&perf_lock);
	result = ioctl_locked(f->priv, cmd, arg);
	mutex_unlock(&perf_lock);
	return result;
}

const struct file_ops perf_file_ops = { .read = perf_read,
					.poll = perf_poll,
					.ioctl = perf_ioctl,
					.mmap = perf_mmap,
					.release = perf_release,
					.llseek = no_llseek };
