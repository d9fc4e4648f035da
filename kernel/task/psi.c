/* SPDX-License-Identifier: MIT
 *
 * Problem: people and daemons want to know how much work is lost to want of CPU time, memory and I/O, for the machine
 * and for each tenant, without the scheduler paying for it on machines where nobody asks.
 *
 * Idea: behind a static branch the scheduler tells each change of a task (runnable, running, waiting for I/O, stalled
 * for memory); the counts of its tenant and of all above it on that CPU give the states, and the time in each is added
 * up. Only tenants that somebody has looked at have averages: a timer folds what was lost since, on all CPUs, each
 * weighted by how busy it was, into running means of 10, 60 and 300 s, and fires triggers.
 *
 *      some io: waiting > 0            full io: and nobody runnable
 *      some memory: stalled > 0        full memory: and all who are runnable are stalled
 *      some cpu: more runnable than running        full cpu: and nobody running
 *      some gpu: a user waits for its turn         full gpu: and none of the tenant is served
 *
 * Contract: task/psi.h.
 *
 * Locks: the run queues' for counts; psi_lock (RANK_SUBSYS_SPIN, irqsave) for groups, triggers and devices, outside
 * them.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/psi.h>
#include <task/timer.h>
#include "sched_priv.h"

#define STATES        (PSI_KINDS * 2)
#define TASK_STATES   (PSI_TASK_KINDS * 2)
#define AVG_PERIOD_NS (2 * NSEC_PER_SEC)
#define WINDOW_MIN_US 500000ULL
#define WINDOW_MAX_US 10000000ULL
#define FIXED_BITS    11

DEFINE_STATIC_KEY(psi_key);

/* The averages of one tenant that somebody looks at. psi_lock. */
struct psi_group {
	struct list link;
	struct tenant *tenant;
	struct list triggers;
	u64 total[STATES]; /* ns */
	u64 avg[STATES][3], avg_total[STATES], avg_at;
	u64 seen[]; /* of each CPU, what has been folded in: TASK_STATES, then busy */
};

struct psi_trigger {
	struct list link;
	struct psi_group *group; /* psi_lock; NULL: the tenant is gone */
	unsigned state;
	u64 threshold_ns, window_ns;
	u64 begin_ns, begin_total, previous; /* the window at hand, and what the last one had */
	u64 fired_at;
	bool fired;
	struct waitq wait;
};

static struct spinlock psi_lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static LIST(groups);
static struct timer timer;
static bool on;

/* ---- counting: run queue locked -----------------------------------------------------------------------------------
 */

static u8 state_of(const struct psi_cpu *p)
{
	u8 s = 0;

	if (p->waiting)
		s |= p->runnable ? BIT(PSI_IO * 2) : BIT(PSI_IO * 2) | BIT(PSI_IO * 2 + 1);
	if (p->stalled)
		s |= p->runnable > p->stalled_runnable ? BIT(PSI_MEMORY * 2) : 3U << (PSI_MEMORY * 2);
	if (p->runnable > p->running)
		s |= p->running ? BIT(PSI_CPU * 2) : 3U << (PSI_CPU * 2);
	return s;
}

static void pass_time(struct psi_cpu *p, u64 now)
{
	u64 delta = now > p->since ? now - p->since : 0;

	if (p->waiting | p->stalled | p->runnable)
		p->busy_ns += delta;
	for (unsigned s = p->state; s; s &= s - 1)
		p->ns[__builtin_ctz(s)] += delta;
	p->since = now;
}

static int step(u8 old, u8 new, u8 bit)
{
	return !!(new &bit) - !!(old & bit);
}

static bool both(u8 v)
{
	return (v & (PSI_T_STALLED | PSI_T_RUNNABLE)) == (PSI_T_STALLED | PSI_T_RUNNABLE);
}

void psi_change(struct rq *q, struct task *t, u8 clear, u8 set, u64 now)
{
	u8 old = t->psi, new = (old & (u8)~clear) | set;

	if (old == new)
		return;
	t->psi = new;
	for (struct tenant *g = t->tenant; g; g = g->parent) {
		struct psi_cpu *p = &g->run[q->cpu].psi;

		pass_time(p, now);
		p->waiting += step(old, new, PSI_T_WAITING);
		p->stalled += step(old, new, PSI_T_STALLED);
		p->runnable += step(old, new, PSI_T_RUNNABLE);
		p->running += step(old, new, PSI_T_RUNNING);
		p->stalled_runnable += both(new) - both(old);
		p->state = state_of(p);
	}
}

static void mark_current(u8 clear, u8 set)
{
	ulong flags = irq_save();
	struct rq *q = this_cpu_ptr(&rq);

	spin_lock(&q->lock);
	psi_change(q, current, clear, set, clock_ns());
	spin_unlock(&q->lock);
	irq_restore(flags);
}

void psi_stall_begin(void)
{
	if (!current->stalls++ && static_branch(&psi_key))
		mark_current(0, PSI_T_STALLED);
}

void psi_stall_end(void)
{
	if (!--current->stalls && current->psi & PSI_T_STALLED)
		mark_current(PSI_T_STALLED, 0);
}

void psi_io_begin(void)
{
	current->flags |= TASK_F_IO_WAIT;
}

void psi_io_end(void)
{
	current->flags &= ~(unsigned)TASK_F_IO_WAIT;
}

/* ---- devices: psi_lock held -----------------------------------------------------------------------------------------
 */

static void pass_device_time(struct psi_device *p, u64 now)
{
	u64 delta = now > p->since ? now - p->since : 0;

	if (p->waiting) {
		p->ns[0] += delta;
		p->ns[1] += p->served ? 0 : delta;
	}
	p->since = now;
}

void psi_device_change(struct tenant *t, s32 waiting, s32 served)
{
	ulong flags = spin_lock_irqsave(&psi_lock);
	u64 now = clock_ns();

	for (; t; t = t->parent) {
		pass_device_time(&t->gpu_psi, now);
		t->gpu_psi.waiting += (u32)waiting;
		t->gpu_psi.served += (u32)served;
	}
	spin_unlock_irqrestore(&psi_lock, flags);
}

/* ---- folding: psi_lock held -----------------------------------------------------------------------------------------
 */

static void read_cpu(struct tenant *t, unsigned cpu, u64 now, u64 *out)
{
	struct rq *q = per_cpu_ptr(&rq, cpu);
	struct psi_cpu *p = &t->run[cpu].psi;
	ulong flags = spin_lock_irqsave(&q->lock);

	pass_time(p, max(now, p->since));
	memcpy(out, p->ns, sizeof(p->ns));
	out[TASK_STATES] = p->busy_ns;
	spin_unlock_irqrestore(&q->lock, flags);
}

/* Each CPU's losses count by how busy it was. */
static void fold(struct psi_group *g, u64 now)
{
	u64 sum[TASK_STATES] = { 0 }, busy = 0, new[TASK_STATES + 1];
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask()) {
		u64 *seen = g->seen + (size_t)cpu * (TASK_STATES + 1), weight;

		read_cpu(g->tenant, cpu, now, new);
		weight =
			(new[TASK_STATES] - seen[TASK_STATES]) >> 10; /* about microseconds: products stay in 64 bits */
		busy += weight;
		for (unsigned s = 0; s < TASK_STATES; s++)
			sum[s] += ((new[s] - seen[s]) >> 10) * weight;
		memcpy(seen, new, sizeof(new));
	}
	if (!g->tenant->parent)
		sum[PSI_CPU * 2 + 1] = 0; /* the machine as a whole always runs something */
	for (unsigned s = 0; s < TASK_STATES; s++)
		g->total[s] += busy ? sum[s] / busy << 10 : 0;
	pass_device_time(&g->tenant->gpu_psi, now);
	memcpy(&g->total[PSI_GPU * 2], g->tenant->gpu_psi.ns, sizeof(g->tenant->gpu_psi.ns));
}

static void average(struct psi_group *g, u64 now)
{
	static const u64 decay[3] = { 1677, 1981, 2034 }; /* e^(-2/10), e^(-2/60), e^(-2/300) */
	u64 period = now - g->avg_at, missed = period / AVG_PERIOD_NS;

	if (!missed)
		return;
	for (unsigned s = 0; s < STATES; s++) {
		u64 lost = min(g->total[s] - g->avg_total[s], period);
		u64 sample = lost / 1000 * (100ULL << FIXED_BITS) / max(period / 1000, 1ULL);

		for (unsigned i = 0; i < 3; i++)
			for (u64 n = 0; n < min(missed, 200ULL); n++)
				g->avg[s][i] = (g->avg[s][i] * decay[i] + sample * ((1U << FIXED_BITS) - decay[i])) >>
					       FIXED_BITS;
		g->avg_total[s] = g->total[s];
	}
	g->avg_at += missed * AVG_PERIOD_NS;
}

/* The part of the last window that the present one has not yet replaced counts as well. */
static bool is_over(struct psi_trigger *tr, u64 now)
{
	u64 total = tr->group->total[tr->state], grown = total - tr->begin_total, passed = now - tr->begin_ns;

	if (passed > tr->window_ns) {
		tr->previous = grown;
		tr->begin_ns = now;
		tr->begin_total = total;
	} else {
		grown += tr->previous / 1024 * ((tr->window_ns - passed) / 1024) /
			 max(tr->window_ns / 1024 / 1024, 1ULL);
	}
	return grown >= tr->threshold_ns && now >= tr->fired_at + tr->window_ns;
}

/* When to look again. */
static u64 update(struct psi_group *g, u64 now)
{
	struct psi_trigger *tr;
	u64 next = g->avg_at + AVG_PERIOD_NS;

	fold(g, now);
	average(g, now);
	list_for_each_entry (tr, &g->triggers, link) {
		next = min(next, now + tr->window_ns / 10);
		if (!is_over(tr, now))
			continue;
		tr->fired = true;
		tr->fired_at = now;
		waitq_wake_all(&tr->wait);
	}
	return max(next, now + NSEC_PER_MSEC);
}

static void tick(struct timer *unused)
{
	ulong flags = spin_lock_irqsave(&psi_lock);
	u64 now = clock_ns(), next = now + AVG_PERIOD_NS;
	struct psi_group *g;

	list_for_each_entry (g, &groups, link)
		next = min(next, update(g, now));
	if (!list_empty(&groups))
		timer_arm(&timer, next, 0);
	spin_unlock_irqrestore(&psi_lock, flags);
}

/* ---- groups -------------------------------------------------------------------------------------------------------
 */

/* Measuring begins. The counts start at nothing: tasks come in with their next change. */
static void switch_on(void)
{
	if (__atomic_exchange_n(&on, true, __ATOMIC_SEQ_CST))
		return;
	timer_init(&timer, tick);
	static_key_inc(&psi_key);
}

/* The tenant's, made if missing, with psi_lock held. -ENOMEM: not locked. */
static int lock_group(struct tenant *t, struct psi_group **out, ulong *flags)
{
	struct psi_group *fresh = NULL;

	switch_on();
	if (!READ_ONCE(t->psi)) {
		fresh = kzalloc(sizeof(*fresh) + cpu_count() * (TASK_STATES + 1) * sizeof(u64), ALLOC_CHARGED);
		if (!fresh)
			return -ENOMEM;
	}
	*flags = spin_lock_irqsave(&psi_lock);
	if (!t->psi && fresh) {
		fresh->tenant = t;
		fresh->avg_at = clock_ns();
		list_init(&fresh->triggers);
		list_add_tail(&fresh->link, &groups);
		t->psi = fresh;
		fresh = NULL;
		timer_arm(&timer, clock_ns() + AVG_PERIOD_NS, 0);
	}
	*out = t->psi;
	if (fresh) {
		spin_unlock_irqrestore(&psi_lock, *flags);
		kfree(fresh);
		*flags = spin_lock_irqsave(&psi_lock);
	}
	return 0;
}

void psi_tenant_gone(struct tenant *t)
{
	ulong flags = spin_lock_irqsave(&psi_lock);
	struct psi_group *g = t->psi;
	struct psi_trigger *tr, *next;

	if (g) {
		list_del(&g->link);
		list_for_each_entry_safe (tr, next, &g->triggers, link) {
			list_del_init(&tr->link);
			tr->group = NULL;
			waitq_wake_all(&tr->wait);
		}
		t->psi = NULL;
	}
	spin_unlock_irqrestore(&psi_lock, flags);
	kfree(g);
}

static void add_line(struct strbuf *out, const char *name, const struct psi_group *g, unsigned state)
{
	strbuf_add(out, "%s", name);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const labels[] = { "avg10", "avg60", "avg300" };
		u64 v = g->avg[state][i];

		strbuf_add(out, " %s=%llu.%02llu", labels[i], (unsigned long long)v >> FIXED_BITS,
			   (unsigned long long)((v & ((1U << FIXED_BITS) - 1)) * 100 >> FIXED_BITS));
	}
	strbuf_add(out, " total=%llu\n", (unsigned long long)(g->total[state] / NSEC_PER_USEC));
}

int psi_show(struct tenant *t, enum psi_kind k, struct strbuf *out)
{
	struct psi_group *g;
	ulong flags;
	int err = lock_group(t, &g, &flags);

	if (err)
		return err;
	(void)update(g, clock_ns());
	add_line(out, "some", g, (unsigned)k * 2);
	add_line(out, "full", g, (unsigned)k * 2 + 1);
	spin_unlock_irqrestore(&psi_lock, flags);
	return 0;
}

/* ---- triggers -----------------------------------------------------------------------------------------------------
 */

/* Blanks and a number of 32 bits. False: there is none. */
static bool next_number(const char **at, u64 *out)
{
	while (**at == ' ' || **at == '\t' || **at == '\n')
		++*at;
	if (**at < '0' || **at > '9')
		return false;
	for (*out = 0; **at >= '0' && **at <= '9'; ++*at)
		*out = (u32)(*out * 10 + (u64)(**at - '0'));
	return true;
}

/* "some 150000 1000000", in microseconds. What follows is ignored, as on Linux. */
static int parse(const char *text, bool *full, u64 *threshold_us, u64 *window_us)
{
	*full = !strncmp(text, "full", 4);
	if (!*full && strncmp(text, "some", 4))
		return -EINVAL;
	text += 4;
	if (!next_number(&text, threshold_us) || !next_number(&text, window_us))
		return -EINVAL;
	if (*window_us < WINDOW_MIN_US || *window_us > WINDOW_MAX_US || !*threshold_us || *threshold_us > *window_us)
		return -EINVAL;
	return 0;
}

int psi_trigger_create(struct tenant *t, enum psi_kind k, char *text, struct psi_trigger **out)
{
	struct psi_trigger *tr;
	struct psi_group *g;
	u64 threshold, window;
	ulong flags;
	bool full;
	int err = parse(text, &full, &threshold, &window);

	if (err)
		return err;
	tr = kzalloc(sizeof(*tr), ALLOC_CHARGED);
	if (!tr)
		return -ENOMEM;
	tr->state = (unsigned)k * 2 + full;
	tr->threshold_ns = threshold * NSEC_PER_USEC;
	tr->window_ns = window * NSEC_PER_USEC;
	waitq_init(&tr->wait);
	err = lock_group(t, &g, &flags);
	if (err) {
		kfree(tr);
		return err;
	}
	fold(g, clock_ns());
	tr->group = g;
	tr->begin_ns = clock_ns();
	tr->begin_total = g->total[tr->state];
	list_add_tail(&tr->link, &g->triggers);
	timer_arm(&timer, clock_ns() + tr->window_ns / 10, 0);
	spin_unlock_irqrestore(&psi_lock, flags);
	*out = tr;
	return 0;
}

void psi_trigger_free(struct psi_trigger *tr)
{
	ulong flags = spin_lock_irqsave(&psi_lock);

	if (tr->group)
		list_del(&tr->link);
	spin_unlock_irqrestore(&psi_lock, flags);
	kfree(tr);
}

struct waitq *psi_trigger_wait(struct psi_trigger *tr)
{
	return &tr->wait;
}

bool psi_trigger_take(struct psi_trigger *tr)
{
	return __atomic_exchange_n(&tr->fired, false, __ATOMIC_SEQ_CST) || !READ_ONCE(tr->group);
}
