/* SPDX-License-Identifier: MIT
 *
 * Problem: the family tree, groups and sessions: who is whose parent, who gets the terminal's
 * signals, who may act on whom.
 *
 * Idea: struct process carries all of it; one spin lock guards the tree, the groups and the sessions,
 * since every operation on them touches several processes.
 *
 * Contract: process/process.h.
 *
 * Locks: process_list_lock (f), always with irqsave: terminals and timers reach it from interrupts.
 * siglock (s) inside it.
 */
#include <task/user_ns.h>
#include <alloc/page.h>
#include "process_priv.h"
#include <process/hooks.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <mm/upcalls.h>

struct spinlock process_list_lock = SPIN_INIT(RANK_TASKLIST);
void (*process_session_end)(struct process *leader);
static struct kcache *process_cache, *sighand_cache;

void process_init(void)
{
	process_cache = kcache_create_charged("process", sizeof(struct process), 64);
	sighand_cache = kcache_create_charged("sighand", sizeof(struct sighand), 0);
	ensure(process_cache && sighand_cache);
	futex_init();
	vdso_init();
}

ulong process_list_begin(void)
{
	return spin_lock_irqsave(&process_list_lock);
}

void process_list_end(ulong irq_state)
{
	spin_unlock_irqrestore(&process_list_lock, irq_state);
}

/* ---- life ------------------------------------------------------------------------------------------- */

struct process *process_alloc(struct pid *pid)
{
	struct process *p = kcache_alloc(process_cache, ALLOC_ZERO);

	if (!p)
		return NULL;
	refcount_set(&p->refs, 1);
	spin_init(&p->siglock, RANK_SIGHAND);
	p->pid = pid;
	list_init(&p->threads);
	list_init(&p->children);
	list_init(&p->sibling);
	list_init(&p->pgrp_link);
	list_init(&p->session_link);
	list_init(&p->tracees);
	list_init(&p->sig_queue);
	waitq_init(&p->child_wait);
	waitq_init(&p->signal_wait);
	return p;
}

void process_get(struct process *p)
{
	refcount_inc(&p->refs);
}

static void process_free(struct rcu_head *head)
{
	struct process *p = container_of(head, struct process, rcu);

	pid_put(p->pid);
	timers_free(p);
	kcache_free(process_cache, p);
}

void process_put(struct process *p)
{
	if (!p || !refcount_dec_and_test(&p->refs))
		return;
	sighand_put(p->sighand);
	rcu_call(&p->rcu, process_free);
}

/* The last reference to a task: it kept its process and its pid. */
void upcall_task_free(struct task *t)
{
	process_put(t->process);
	pid_put(t->pid);
	kfree(t->ptrace);
	if (t->seccomp)
		process_seccomp_hooks->drop(t);
}

struct sighand *sighand_create(const struct sighand *from)
{
	struct sighand *s = kcache_alloc(sighand_cache, ALLOC_ZERO);

	if (!s)
		return NULL;
	refcount_set(&s->refs, 1);
	spin_init(&s->lock, RANK_SUBSYS_SPIN);
	if (from)
		memcpy(s->actions, from->actions, sizeof(s->actions));
	return s;
}

void sighand_put(struct sighand *s)
{
	if (s && refcount_dec_and_test(&s->refs))
		kcache_free(sighand_cache, s);
}

struct sigaction_kernel sighand_action(struct process *p, int sig)
{
	struct sigaction_kernel a;
	ulong irq = spin_lock_irqsave(&p->sighand->lock);

	a = p->sighand->actions[sig - 1];
	spin_unlock_irqrestore(&p->sighand->lock, irq);
	return a;
}

/* ---- groups and sessions ------------------------------------------------------------------------------ */

void process_move_group(struct process *p, struct pid *pgrp)
{
	struct pid *old = p->pgrp;

	pid_get(pgrp);
	list_del_init(&p->pgrp_link);
	list_add_tail(&p->pgrp_link, &pgrp->group);
	p->pgrp = pgrp;
	if (old) {
		pid_check_unused(old);
		pid_put(old);
	}
}

void process_join_session(struct process *p, struct pid *session)
{
	struct pid *old = p->session;

	pid_get(session);
	list_del_init(&p->session_link);
	list_add_tail(&p->session_link, &session->session);
	p->session = session;
	if (old) {
		pid_check_unused(old);
		pid_put(old);
	}
}

long process_new_session(void)
{
	struct process *p = current->process;
	ulong irq = process_list_begin();
	long result = -EPERM;

	if (list_empty(&p->pid->group) && list_empty(&p->pid->session)) {
		process_join_session(p, p->pid);
		process_move_group(p, p->pid);
		p->tty = NULL;
		result = pid_nr(p->pid);
	}
	process_list_end(irq);
	return result;
}

void process_enroll(struct process *p, struct process *parent, struct pid *pgrp, struct pid *session)
{
	assert_held(&process_list_lock);
	process_get(p); /* until it is buried */
	p->parent = parent;
	if (parent)
		list_add_tail(&p->sibling, &parent->children);
	rcu_assign(p->pid->process, p);
	process_move_group(p, pgrp);
	process_join_session(p, session);
}

void process_add_thread(struct process *p, struct task *t)
{
	ulong irq;

	assert_held(&process_list_lock);
	irq = spin_lock_irqsave(&p->siglock);
	list_add_tail(&t->thread_link, &p->threads);
	p->nr_threads++;
	spin_unlock_irqrestore(&p->siglock, irq);
	rcu_assign(t->pid->task, t);
}

/* No member has a parent in another group of the same session: nobody could continue it. f held. */
static bool is_orphaned(struct pid *pgrp, const struct process *but)
{
	struct process *p;

	list_for_each_entry (p, &pgrp->group, pgrp_link)
		if (p != but && !p->zombie && p->parent && p->parent->pgrp != pgrp && p->parent->session == p->session)
			return false;
	return true;
}

bool pgrp_is_orphaned(struct pid *pgrp)
{
	ulong irq = process_list_begin();
	bool yes = is_orphaned(pgrp, NULL);

	process_list_end(irq);
	return yes;
}

void session_set_tty(struct pid *session, const void *from, void *to)
{
	ulong irq = process_list_begin();
	struct process *p;

	list_for_each_entry (p, &session->session, session_link)
		if (p->tty == from)
			p->tty = to;
	process_list_end(irq);
}

/* ---- looking ---------------------------------------------------------------------------------------------- */

int process_parent_nr(void)
{
	ulong irq = process_list_begin();
	int nr = current->process->parent ? pid_nr(current->process->parent->pid) : 0;

	process_list_end(irq);
	return nr;
}

struct task *process_leader_get(struct process *p)
{
	ulong irq = process_list_begin();
	struct task *t = p->leader;

	if (t)
		task_get(t);
	process_list_end(irq);
	return t;
}

/* The thread after `prev` (NULL: the first), counted. */
static struct task *next_thread(struct process *p, struct task *prev)
{
	ulong irq = process_list_begin();
	struct list *at = &p->threads;
	struct task *t = NULL;

	if (prev && !list_empty(&prev->thread_link))
		at = &prev->thread_link;
	else if (prev)
		at = NULL; /* it has ended meanwhile, and with it our place */
	if (at && at->next != &p->threads) {
		t = list_entry(at->next, struct task, thread_link);
		task_get(t);
	}
	process_list_end(irq);
	return t;
}

int process_for_each_thread(struct process *p, int (*fn)(struct task *t, void *arg), void *arg)
{
	struct task *t = next_thread(p, NULL);
	int result = 0;

	while (t && !result) {
		struct task *next;

		result = fn(t, arg);
		next = result ? NULL : next_thread(p, t);
		task_put(t);
		t = next;
	}
	return result;
}

static void add_task_usage(struct process_usage *u, const struct task *t)
{
	u->user_ns += t->user_ns;
	u->system_ns += t->system_ns;
	u->min_faults += t->min_faults;
	u->maj_faults += t->maj_faults;
	u->nvcsw += t->voluntary_switches;
	u->nivcsw += t->preempted_switches;
}

void process_usage(struct process *p, struct process_usage *own, struct process_usage *children)
{
	ulong irq = spin_lock_irqsave(&p->siglock);
	struct task *t;

	if (own) {
		*own = (struct process_usage){ p->user_ns, p->system_ns, p->min_faults,   p->maj_faults,
					       p->nvcsw,   p->nivcsw,    p->max_rss_pages };
		list_for_each_entry (t, &p->threads, thread_link)
			add_task_usage(own, t);
	}
	if (children)
		*children = (struct process_usage){ p->cuser_ns, p->csystem_ns, p->cmin_faults,   p->cmaj_faults,
						    p->cnvcsw,   p->cnivcsw,    p->cmax_rss_pages };
	spin_unlock_irqrestore(&p->siglock, irq);
}

u64 process_rlimit(unsigned which)
{
	return current->process ? READ_ONCE(current->process->rlimits[which].rlim_cur) : ~0ULL;
}

u64 process_threads_max(void)
{
	struct page_stats s;

	page_stats(&s);
	return s.total * PAGE_SIZE / (8 * KERNEL_STACK_BYTES);
}

u64 process_tasks_limit(kuid_t user)
{
	if (!user.v || capable(CAP_SYS_RESOURCE) || capable(CAP_SYS_ADMIN))
		return ~0ULL;
	return process_rlimit(RLIMIT_NPROC);
}

u64 upcall_rlimit(unsigned which)
{
	return process_rlimit(which);
}

/* kill(2), "Permissions": the same real or effective user as the target's real or saved one, or CAP_KILL. SIGCONT
 * within a session is always allowed. */
bool process_may_signal(struct task *t, int sig)
{
	const struct cred *me = current->cred, *to;
	bool ok;

	rcu_read_lock();
	to = rcu_deref(t->cred);
	ok = uid_eq(me->euid, to->suid) || uid_eq(me->euid, to->uid) || uid_eq(me->uid, to->suid) ||
	     uid_eq(me->uid, to->uid);
	rcu_read_unlock();
	if (!ok && sig == SIGCONT)
		ok = t->process && current->process->session == t->process->session;
	return ok || ns_capable(t->cred->user_ns, CAP_KILL);
}

bool process_may_look(struct task *t)
{
	const struct cred *me = current->cred, *to;
	struct mm *m;
	bool ok;

	if (t->process == current->process)
		return true;
	rcu_read_lock();
	to = rcu_deref(t->cred);
	ok = uid_eq(me->fsuid, to->uid) && uid_eq(me->fsuid, to->euid) && uid_eq(me->fsuid, to->suid) &&
	     gid_eq(me->fsgid, to->gid) && gid_eq(me->fsgid, to->egid) && gid_eq(me->fsgid, to->sgid) &&
	     (to->cap_permitted & ~me->cap_permitted) == 0;
	rcu_read_unlock();
	m = mm_of_task(t);
	if (m) {
		ok = ok && m->dumpable == 1;
		mm_put(m);
	}
	return ok || ns_capable(t->cred->user_ns, CAP_SYS_PTRACE);
}
