/* SPDX-License-Identifier: MIT
 *
 * Problem: interval timers and POSIX timers raise signals from the timer interrupt, may be changed or
 * deleted at any moment by any thread, and must not flood a program that does not keep up.
 *
 * Idea: both kinds are one struct. Each owns its queue entry, so that firing allocates nothing, and a
 * periodic POSIX timer is armed again only when its signal is taken (counting what it missed as
 * overrun). Timers on CPU time are armed for the earliest moment at which the process could have
 * used that much, and look again.
 *   disarmed --set--> armed --fires--> queued --signal taken--> armed (interval) or disarmed
 * To change one: freeze it (the interrupt and the taking of its signal then leave it alone), cancel,
 * take its entry out of the queue, change, thaw.
 *
 * Contract: process/timers.h.
 *
 * Locks: timers->lock (RANK_LEAF_SLEEP) for calls; siglock for `frozen`, `waiting` and queue entries.
 */
#include "process_priv.h"
#include <core/clock.h>
#include <linux/time.h>
#include <process/timers.h>

#define RETRY_NS (4 * NSEC_PER_MSEC) /* a periodic timer whose signal is ignored looks again after this */

enum kind { WALL, CPU_ALL, CPU_USER };

struct posix_timer {
	struct list link;
	int id, clock;
	enum kind kind;
	bool is_itimer, is_limit;
	struct sigqueue entry;
	struct process *process;
	struct task *task; /* counted; NULL: the process */
	struct timer timer;
	u64 next_ns; /* of clock_ns, or of CPU time; 0: disarmed */
	u64 interval_ns;
	bool frozen;  /* s */
	bool waiting; /* s: fired, armed again when the signal is taken */
	int last_overrun;
	bool silent; /* SIGEV_NONE */
};

struct process_timers {
	struct mutex lock;
	struct list posix;
	struct posix_timer itimers[3];
	struct posix_timer limit; /* RLIMIT_CPU */
};

/* ---- firing -------------------------------------------------------------------------------------------- */

static u64 cpu_now(const struct posix_timer *t)
{
	return t->kind == CPU_USER ? process_user_ns(t->process) : process_cpu_ns(t->process);
}

/* Arms for next_ns. CPU time passes at most once a thread faster than the clock. */
static void arm(struct posix_timer *t)
{
	u64 now, threads;

	if (t->kind == WALL) {
		timer_arm(&t->timer, t->next_ns, 0);
		return;
	}
	now = cpu_now(t);
	threads = max(READ_ONCE(t->process->nr_threads), 1U);
	timer_arm(&t->timer, clock_ns() + (t->next_ns > now ? (t->next_ns - now) / threads : 0), 0);
}

/* Moves next_ns beyond now; returns how many intervals were missed. */
static u64 forward(struct posix_timer *t, u64 now)
{
	u64 missed = 0;

	t->next_ns += t->interval_ns;
	if (t->next_ns <= now) {
		missed = (now - t->next_ns) / t->interval_ns + 1;
		t->next_ns += missed * t->interval_ns;
	}
	return missed;
}

/* When RLIMIT_CPU has something to say next; 0: never. siglock held. */
static u64 next_limit(const struct process *p)
{
	const struct rlimit *l = &p->rlimits[RLIMIT_CPU];
	u64 seconds = min(l->rlim_cur, l->rlim_max);

	return seconds < ~0ULL / NSEC_PER_SEC ? max(seconds, 1ULL) * NSEC_PER_SEC : 0;
}

/* setrlimit(2): SIGXCPU at the soft limit and every second after it, SIGKILL at the hard one. */
static void limit_passed(struct posix_timer *t, u64 now)
{
	struct process *p = t->process;
	struct rlimit *l = &p->rlimits[RLIMIT_CPU];
	ulong irq = spin_lock_irqsave(&p->siglock);
	int sig = 0;

	if (now / NSEC_PER_SEC >= l->rlim_max) {
		sig = SIGKILL;
	} else if (now / NSEC_PER_SEC >= l->rlim_cur) {
		sig = SIGXCPU;
		l->rlim_cur++;
	}
	t->next_ns = sig == SIGKILL ? 0 : next_limit(p);
	spin_unlock_irqrestore(&p->siglock, irq);
	if (sig)
		signal_send_process(sig, NULL, p);
	if (t->next_ns)
		arm(t);
}

static void fire(struct timer *timer)
{
	struct posix_timer *t = container_of(timer, struct posix_timer, timer);
	u64 now = t->kind == WALL ? clock_ns() : cpu_now(t);
	int ignored;

	if (READ_ONCE(t->frozen) || !t->next_ns)
		return;
	if (t->kind != WALL && now < t->next_ns) {
		arm(t);
		return;
	}
	if (t->is_limit) {
		limit_passed(t, now);
		return;
	}
	ignored = t->silent ? 1 : signal_send_timer(&t->entry, t->process, t->task);
	if (!t->interval_ns) {
		t->next_ns = 0;
	} else if (t->is_itimer) {
		(void)forward(t, now);
		arm(t);
	} else if (!ignored) {
		t->waiting = true;
	} else {
		t->next_ns = max(t->next_ns + t->interval_ns, now + RETRY_NS);
		arm(t);
	}
}

void timer_dequeued(struct posix_timer *t, siginfo_t *info)
{
	t->last_overrun = 0;
	if (t->waiting && !t->frozen && t->interval_ns) {
		u64 missed;

		t->waiting = false;
		missed = forward(t, t->kind == WALL ? clock_ns() : t->next_ns);
		t->last_overrun = missed > 0x7fffffff ? 0x7fffffff : (int)missed;
		timer_arm(&t->timer, t->kind == WALL ? t->next_ns : clock_ns() + t->interval_ns, 0);
	}
	if (!t->is_itimer)
		info->si_overrun = t->last_overrun;
}

/* ---- changing ------------------------------------------------------------------------------------------- */

static void freeze(struct posix_timer *t)
{
	ulong irq = spin_lock_irqsave(&t->process->siglock);

	t->frozen = true;
	t->waiting = false;
	spin_unlock_irqrestore(&t->process->siglock, irq);
	timer_cancel(&t->timer);
	if (!t->is_itimer)
		signal_release_timer(&t->entry, t->process);
}

static u64 now_of(const struct posix_timer *t)
{
	return t->kind == WALL ? clock_ns() : cpu_now(t);
}

static void show(const struct posix_timer *t, struct timer_value *v)
{
	u64 now = now_of(t), next = READ_ONCE(t->next_ns);

	v->interval_ns = t->interval_ns;
	v->value_ns = !next ? 0 : next > now ? next - now : 1;
	if (t->waiting && t->interval_ns && next <= now)
		v->value_ns = t->interval_ns - (now - next) % t->interval_ns;
}

/* next: of clock_ns or CPU time, 0: disarm. */
static void change(struct posix_timer *t, u64 next, u64 interval, struct timer_value *old)
{
	struct timer_value was;

	show(t, &was);
	if (old)
		*old = was;
	freeze(t);
	t->next_ns = next;
	t->interval_ns = interval;
	t->last_overrun = 0;
	WRITE_ONCE(t->frozen, false);
	if (next && next != ~0ULL)
		arm(t);
}

static void timer_setup(struct posix_timer *t, struct process *p, enum kind kind, int sig)
{
	*t = (struct posix_timer){ .process = p, .kind = kind };
	t->entry.timer = t;
	t->entry.info.si_signo = sig;
	list_init(&t->entry.link);
	timer_init(&t->timer, fire);
}

/* Made at the first use. */
static struct process_timers *timers_of(struct process *p)
{
	struct process_timers *all = __atomic_load_n(&p->timers, __ATOMIC_ACQUIRE), *none = NULL;

	if (all)
		return all;
	all = kzalloc(sizeof(*all), ALLOC_CHARGED);
	if (!all)
		return NULL;
	mutex_init(&all->lock, RANK_LEAF_SLEEP);
	list_init(&all->posix);
	timer_setup(&all->itimers[ITIMER_REAL], p, WALL, SIGALRM);
	timer_setup(&all->itimers[ITIMER_VIRTUAL], p, CPU_USER, SIGVTALRM);
	timer_setup(&all->itimers[ITIMER_PROF], p, CPU_ALL, SIGPROF);
	timer_setup(&all->limit, p, CPU_ALL, SIGXCPU);
	all->limit.is_itimer = all->limit.is_limit = true;
	for (int i = 0; i < 3; i++) {
		all->itimers[i].is_itimer = true;
		all->itimers[i].entry.info.si_code = SI_KERNEL;
	}
	if (__atomic_compare_exchange_n(&p->timers, &none, all, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return all;
	kfree(all);
	return none;
}

/* ---- setitimer --------------------------------------------------------------------------------------------- */

int itimer_set(int which, const struct timer_value *v, struct timer_value *old)
{
	struct process_timers *all;
	struct posix_timer *t;
	u64 next;

	if (which < 0 || which > 2)
		return -EINVAL;
	all = timers_of(current->process);
	if (!all)
		return -ENOMEM;
	t = &all->itimers[which];
	mutex_lock(&all->lock);
	next = now_of(t) + v->value_ns;
	change(t, v->value_ns ? next < v->value_ns ? ~0ULL : next : 0, v->interval_ns, old);
	mutex_unlock(&all->lock);
	return 0;
}

int itimer_get(int which, struct timer_value *v)
{
	struct process_timers *all = current->process->timers;

	if (which < 0 || which > 2)
		return -EINVAL;
	*v = (struct timer_value){ 0 };
	if (all)
		show(&all->itimers[which], v);
	return 0;
}

/* ---- RLIMIT_CPU -------------------------------------------------------------------------------------------------- */

void timers_limit(struct process *p)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	u64 next = next_limit(p);
	struct process_timers *all;

	spin_unlock_irqrestore(&p->siglock, irq);
	all = next ? timers_of(p) : p->timers;
	if (!all) /* no limit, or no memory: then nobody watches */
		return;
	mutex_lock(&all->lock);
	if (READ_ONCE(p->nr_threads)) /* else timers_exit has been here, or sees what we do */
		change(&all->limit, next, 0, NULL);
	mutex_unlock(&all->lock);
}

void process_limit_changed(struct process *p, unsigned which)
{
	if (which == RLIMIT_CPU)
		timers_limit(p);
}

/* ---- POSIX timers ---------------------------------------------------------------------------------------------- */

static struct posix_timer *find(struct process_timers *all, int id)
{
	struct posix_timer *t;

	list_for_each_entry (t, &all->posix, link)
		if (t->id == id)
			return t;
	return NULL;
}

static int kind_of(int clock, enum kind *kind)
{
	u64 now;
	int err = clock_read(clock, &now);

	if (err)
		return err;
	if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
		*kind = CPU_ALL;
	else
		*kind = WALL;
	return clock < 0 || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE ||
			       clock == CLOCK_REALTIME_COARSE
		       ? -EOPNOTSUPP
		       : 0;
}

static int set_target(struct posix_timer *t, const struct timer_target *to)
{
	t->silent = !to->sig;
	t->entry.info.si_signo = to->sig;
	t->entry.info.si_code = SI_TIMER;
	t->entry.info.si_tid = t->id;
	t->entry.info.si_value.sival_ptr = (void *)(to->value_is_id ? (ulong)t->id : to->value);
	if (!to->tid)
		return 0;
	t->task = task_find_get(to->tid);
	if (!t->task)
		return -EINVAL;
	return t->task->process == current->process ? 0 : -EINVAL;
}

static void destroy(struct posix_timer *t)
{
	freeze(t);
	if (t->task)
		task_put(t->task);
	kfree(t);
}

int ptimer_create(int clock, const struct timer_target *to, int *id)
{
	struct process_timers *all = timers_of(current->process);
	struct posix_timer *t, *last;
	enum kind kind;
	int err = kind_of(clock, &kind);

	if (err)
		return err;
	t = kmalloc(sizeof(*t), ALLOC_CHARGED);
	if (!all || !t) {
		kfree(t);
		return -ENOMEM;
	}
	timer_setup(t, current->process, kind, to->sig);
	t->clock = clock;
	mutex_lock(&all->lock);
	last = list_empty(&all->posix) ? NULL : list_last_entry(&all->posix, struct posix_timer, link);
	t->id = last ? last->id + 1 : 0;
	err = set_target(t, to);
	if (!err) {
		*id = t->id;
		list_add_tail(&t->link, &all->posix);
	}
	mutex_unlock(&all->lock);
	if (err)
		destroy(t);
	return err;
}

int ptimer_delete(int id)
{
	struct process_timers *all = current->process->timers;
	struct posix_timer *t;

	if (!all)
		return -EINVAL;
	mutex_lock(&all->lock);
	t = find(all, id);
	if (t)
		list_del(&t->link);
	mutex_unlock(&all->lock);
	if (!t)
		return -EINVAL;
	destroy(t);
	return 0;
}

/* The moment on the timer's own scale. */
static int next_of(const struct posix_timer *t, bool absolute, u64 value, u64 *next)
{
	if (!value) {
		*next = 0;
		return 0;
	}
	if (t->kind == WALL)
		return clock_deadline(t->clock, value, !absolute, next);
	*next = absolute ? value : cpu_now(t) + value;
	return 0;
}

int ptimer_set(int id, bool absolute, const struct timer_value *v, struct timer_value *old)
{
	struct process_timers *all = current->process->timers;
	struct posix_timer *t;
	int err = -EINVAL;
	u64 next;

	if (!all)
		return -EINVAL;
	mutex_lock(&all->lock);
	t = find(all, id);
	if (t)
		err = next_of(t, absolute, v->value_ns, &next);
	if (!err)
		change(t, next, v->interval_ns, old);
	mutex_unlock(&all->lock);
	return err;
}

int ptimer_get(int id, struct timer_value *v)
{
	struct process_timers *all = current->process->timers;
	struct posix_timer *t;

	if (!all)
		return -EINVAL;
	mutex_lock(&all->lock);
	t = find(all, id);
	if (t)
		show(t, v);
	mutex_unlock(&all->lock);
	return t ? 0 : -EINVAL;
}

int ptimer_overrun(int id)
{
	struct process_timers *all = current->process->timers;
	struct posix_timer *t;
	int n = -EINVAL;

	if (!all)
		return -EINVAL;
	mutex_lock(&all->lock);
	t = find(all, id);
	if (t)
		n = t->last_overrun;
	mutex_unlock(&all->lock);
	return n;
}

/* ---- the end -------------------------------------------------------------------------------------------------------
 */

void timers_exec(struct process *p)
{
	struct process_timers *all = p->timers;
	struct posix_timer *t, *n;

	if (!all)
		return;
	list_for_each_entry_safe (t, n, &all->posix, link)
		destroy(t);
	list_init(&all->posix);
}

void timers_exit(struct process *p)
{
	struct process_timers *all = p->timers;

	if (!all)
		return;
	timers_exec(p);
	mutex_lock(&all->lock);
	for (int i = 0; i < 3; i++) {
		freeze(&all->itimers[i]);
		signal_release_timer(&all->itimers[i].entry, p);
	}
	freeze(&all->limit);
	mutex_unlock(&all->lock);
}

void timers_free(struct process *p)
{
	kfree(p->timers);
}
