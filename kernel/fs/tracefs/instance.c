/* SPDX-License-Identifier: MIT
 *
 * Problem: what tracepoints say is kept for whoever asks later, for several askers at once, each with its own choice of
 * events, without a lock that CPUs share on the way in.
 *
 * Idea: an instance has a ring a CPU and a byte an event. The sink looks through the few instances, writes into the
 * CPU's own ring, and wakes readers only if one sleeps. Memory for rings is taken when an instance is first used.
 *
 * Contract: tracefs_priv.h; Documentation/trace/ftrace.rst of Linux for what users see.
 *
 * Locks: trace_mutex for the configuration; a CPU's ring lock, IRQs off, for its ring. Readers of enabled[] and
 * filters[] have IRQs off, so that rcu_synchronize waits for them.
 */
#include "tracefs_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/init.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <task/task.h>

#define COMMS 1024 /* ten bits of a hash */

struct mutex trace_mutex = MUTEX_INIT(trace_mutex, RANK_FS);
struct trace_instance trace_top;
static struct trace_instance *instances[TRACE_INSTANCES]; /* trace_mutex; readers: IRQs off */

/* ---- names of tasks --------------------------------------------------------------------------------------------- */

static struct {
	int pid;
	char comm[16];
} comms[COMMS]; /* comms_lock */
static struct spinlock comms_lock = SPIN_INIT(RANK_LEAF_SPIN);

static unsigned slot(int pid)
{
	return (u32)pid * 0x9e3779b1U >> 22;
}

static void remember_comm(void)
{
	unsigned n = slot(current->tid);

	if (!current->tid || (comms[n].pid == current->tid && !strcmp(comms[n].comm, current->comm)))
		return;
	spin_lock(&comms_lock);
	comms[n].pid = current->tid;
	memcpy(comms[n].comm, current->comm, sizeof(comms[n].comm));
	comms[n].comm[15] = 0;
	spin_unlock(&comms_lock);
}

const char *trace_comm(int pid, char to[16])
{
	ulong irq = spin_lock_irqsave(&comms_lock);

	if (!pid)
		memcpy(to, "<idle>", 7);
	else if (comms[slot(pid)].pid == pid)
		memcpy(to, comms[slot(pid)].comm, 16);
	else
		memcpy(to, "<...>", 6);
	spin_unlock_irqrestore(&comms_lock, irq);
	return to;
}

void trace_list_comms(struct strbuf *out)
{
	for (unsigned i = 0; i < COMMS; i++) {
		int pid = READ_ONCE(comms[i].pid);
		char comm[16];

		if (pid)
			strbuf_add(out, "%d %s\n", pid, trace_comm(pid, comm));
	}
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static u64 counter;

u64 trace_now(const struct trace_instance *t)
{
	return t->clock == TRACE_CLOCK_COUNTER ? __atomic_add_fetch(&counter, 1, __ATOMIC_RELAXED) : clock_ns();
}

static void wake(struct deferred *d)
{
	struct trace_instance *t = container_of(d, struct trace_instance, wake);

	__atomic_store_n(&t->polled, false, __ATOMIC_SEQ_CST);
	waitq_wake(&t->readers, -1, EPOLLIN | EPOLLRDNORM);
}

void trace_write(struct trace_instance *t, const void *record, size_t size)
{
	ulong irq = irq_save();
	struct trace_cpu *c = &t->cpus[cpu_id()];

	spin_lock(&c->lock);
	if (c->ring.nr && size <= TRACE_DATA_MOST)
		(void)trace_ring_write(&c->ring, trace_now(t), record, (u32)size);
	spin_unlock(&c->lock);
	remember_comm();
	if (READ_ONCE(t->waiting) || READ_ONCE(t->polled))
		deferred_queue(&t->wake);
	irq_restore(irq);
}

static void sink(unsigned id, const void *record, size_t size, u64 count, struct task *about)
{
	unsigned n = id - TRACE_FIRST_ID;

	for (unsigned i = 0; i < TRACE_INSTANCES; i++) {
		struct trace_instance *t = rcu_deref(instances[i]);
		const struct perf_filter *f;

		if (!t || !READ_ONCE(t->on) || !READ_ONCE(t->enabled[n]))
			continue;
		f = rcu_deref(t->filters[n]);
		if (!f || perf_filter_match(f, record, size))
			trace_write(t, record, size);
	}
}

/* ---- waiting ---------------------------------------------------------------------------------------------------- */

static bool ring_has(struct trace_cpu *c, bool page)
{
	ulong irq = spin_lock_irqsave(&c->lock);
	bool has = c->ring.nr && (page ? c->ring.last != c->ring.first : trace_ring_entries(&c->ring) != 0);

	spin_unlock_irqrestore(&c->lock, irq);
	return has;
}

bool trace_has(struct trace_instance *t, int cpu, bool page)
{
	if (cpu >= 0)
		return ring_has(&t->cpus[cpu], page);
	for (unsigned i = 0; i < cpu_count(); i++)
		if (ring_has(&t->cpus[i], page))
			return true;
	return false;
}

int trace_wait(struct trace_instance *t, int cpu, bool page, bool nonblock)
{
	int err;

	if (trace_has(t, cpu, false) && (!page || nonblock || !READ_ONCE(t->on)))
		return 0;
	if (nonblock)
		return -EAGAIN;
	__atomic_add_fetch(&t->waiting, 1, __ATOMIC_SEQ_CST);
	err = wait_event_interruptible(&t->readers, trace_has(t, cpu, page) ||
							    (page && !READ_ONCE(t->on) && trace_has(t, cpu, false)));
	__atomic_sub_fetch(&t->waiting, 1, __ATOMIC_SEQ_CST);
	return err;
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static void free_ring(struct trace_ring *r)
{
	for (u32 i = 0; r->pages && i < r->nr; i++)
		kfree(r->pages[i]);
	kfree(r->pages);
	kfree(r->counts);
}

static int make_ring(struct trace_ring *r, u32 nr, bool keep_old)
{
	struct trace_page **pages = kcalloc(nr, sizeof(*pages), ALLOC_KERNEL);
	u16 *counts = kcalloc(nr, sizeof(*counts), ALLOC_KERNEL);
	bool enough = pages && counts;

	*r = (struct trace_ring){ .pages = pages, .counts = counts, .nr = pages ? nr : 0 };
	for (u32 i = 0; enough && i < nr; i++) {
		pages[i] = kmalloc(sizeof(**pages), ALLOC_KERNEL);
		enough = pages[i] != NULL;
	}
	if (!enough) {
		free_ring(r);
		return -ENOMEM;
	}
	trace_ring_setup(r, pages, counts, nr);
	r->keep_old = keep_old;
	return 0;
}

bool trace_expanded(const struct trace_instance *t)
{
	return t->cpus[0].ring.nr != 0;
}

int trace_resize(struct trace_instance *t, u32 kb)
{
	u32 nr = max(DIV_ROUND_UP(kb, (u32)(PAGE_SIZE >> 10)), 2u);

	assert(mutex_is_held(&trace_mutex));
	for (unsigned cpu = 0; cpu < cpu_count(); cpu++) {
		struct trace_cpu *c = &t->cpus[cpu];
		struct trace_ring r, old;
		ulong irq;
		int err;

		if (c->ring.nr == nr)
			continue;
		err = make_ring(&r, nr, !(t->options & OPTION_OVERWRITE));
		if (err)
			return err;
		irq = spin_lock_irqsave(&c->lock);
		old = c->ring;
		c->ring = r;
		spin_unlock_irqrestore(&c->lock, irq);
		free_ring(&old);
	}
	t->buffer_kb = nr * (PAGE_SIZE >> 10);
	return 0;
}

int trace_buffers(struct trace_instance *t)
{
	return trace_expanded(t) ? 0 : trace_resize(t, t->buffer_kb);
}

void trace_clear(struct trace_instance *t, int cpu)
{
	for (unsigned i = 0; i < cpu_count(); i++) {
		ulong irq;

		if (cpu >= 0 && (unsigned)cpu != i)
			continue;
		irq = spin_lock_irqsave(&t->cpus[i].lock);
		trace_ring_clear(&t->cpus[i].ring);
		spin_unlock_irqrestore(&t->cpus[i].lock, irq);
	}
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

int trace_enable(struct trace_instance *t, unsigned id, bool on)
{
	unsigned n = id - TRACE_FIRST_ID;
	int err = on ? trace_buffers(t) : 0;

	assert(mutex_is_held(&trace_mutex));
	if (err || t->enabled[n] == on)
		return err;
	if (on)
		trace_listen(id, TRACE_SINK_RING);
	else
		trace_deafen(id, TRACE_SINK_RING);
	WRITE_ONCE(t->enabled[n], on);
	return 0;
}

int trace_set_filter(struct trace_instance *t, unsigned id, const char *text)
{
	unsigned n = id - TRACE_FIRST_ID;
	struct perf_filter *f, *old = t->filters[n];
	char *copy = kmalloc(strlen(text) + 1, ALLOC_KERNEL);
	int err = copy ? perf_filter_parse(trace_event(id), text, &f) : -ENOMEM;

	assert(mutex_is_held(&trace_mutex));
	if (err) {
		kfree(copy);
		return err;
	}
	memcpy(copy, text, strlen(text) + 1);
	if (!f) {
		kfree(copy);
		copy = NULL;
	}
	rcu_assign(t->filters[n], f);
	kfree(t->filter_texts[n]);
	t->filter_texts[n] = copy;
	if (old) {
		rcu_synchronize();
		perf_filter_free(old);
	}
	return 0;
}

/* ---- life ------------------------------------------------------------------------------------------------------- */

void trace_instance_init(struct trace_instance *t, const char *name)
{
	*t = (struct trace_instance){ .name = name,
				      .on = true,
				      .options = OPTION_OVERWRITE | OPTION_MARKERS | OPTION_IRQ_INFO,
				      .buffer_kb = TRACE_KB };
	for (unsigned i = 0; i < MAX_CPUS; i++)
		spin_init(&t->cpus[i].lock, RANK_PERF_RING);
	waitq_init(&t->readers);
	deferred_init(&t->wake, wake);
}

int trace_instance_start(struct trace_instance *t)
{
	for (unsigned i = 0; i < TRACE_INSTANCES; i++)
		if (!instances[i]) {
			rcu_assign(instances[i], t);
			return 0;
		}
	return fail(ENOSPC, "tracefs: %u instances", TRACE_INSTANCES);
}

static void nothing(void *arg)
{
}

void trace_instance_stop(struct trace_instance *t)
{
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_IDS_END; id++)
		ensure(!trace_enable(t, id, false));
	for (unsigned i = 0; i < TRACE_INSTANCES; i++)
		if (instances[i] == t)
			rcu_assign(instances[i], NULL);
	rcu_synchronize();
	while (READ_ONCE(t->wake.queued)) /* a wake-up is on its way on some CPU: let each have an interrupt */
		cpu_call(cpu_online_mask(), nothing, NULL);
	rcu_synchronize();
	for (unsigned i = 0; i < MAX_CPUS; i++)
		free_ring(&t->cpus[i].ring);
	for (unsigned n = 0; n < TRACE_ALL; n++) {
		perf_filter_free(t->filters[n]);
		kfree(t->filter_texts[n]);
	}
}

static void start(void)
{
	trace_instance_init(&trace_top, NULL);
	ensure(!trace_instance_start(&trace_top));
	trace_sink_set(TRACE_SINK_RING, sink);
}
PART_INIT(core, start);
