/* SPDX-License-Identifier: MIT
 *
 * Problem: several semaphores change together or not at all; who cannot go on sleeps in order; and what a process has
 * changed with SEM_UNDO is taken back when it ends, however it ends.
 *
 * Idea: a set is locked as a whole. An operation is tried; if it must wait, its caller queues what it wants, and
 * whoever changes the set tries the queued ones for them, in order, and tells the result. An undo is the sum of a
 * process's adjustments to one set; it hangs on the process (or on all that share them by CLONE_SYSVSEM) and on the
 * set.
 *
 * Contract: semop(2), semctl(2), semget(2).
 *
 * Locks: object->lock for values, waiters and adjustments; undo_list->lock for which sets a process has undos for.
 */
#include <abi/syscalls.h>
#include <asm/sembuf.h>
#include <core/init.h>
#include <linux/sem.h>
#include <process/hooks.h>
#include <process/timers.h>
#include <task/sched.h>
#include "ipc_priv.h"

struct semaphore {
	int value;
	struct pid *last; /* counted; who changed it */
};

struct sem_set {
	struct ipc_object o;
	unsigned n;
	s64 op_time;
	struct list waiters; /* o.lock */
	struct list undos;   /* o.lock */
	struct semaphore sem[];
};

struct undo {
	struct list of_process, of_set;
	struct sem_set *set; /* counted */
	short adjust[];
};

struct undo_list {
	refcount_t refs;
	struct spinlock lock; /* RANK_ICACHE */
	struct list undos;
};

struct waiter {
	struct list link;
	struct task *task;
	struct pid *pid;
	const struct sembuf *ops;
	unsigned n;
	const struct sembuf *blocked; /* the operation that cannot be done */
	struct undo *undo;
	int result;
	bool done;
};

static struct sem_set *set_of(struct ipc_object *o)
{
	return container_of(o, struct sem_set, o);
}

/* ---- life ------------------------------------------------------------------------------------------------- */

static int check_count(struct ipc_object *o, const void *arg)
{
	return *(const unsigned *)arg > set_of(o)->n ? -EINVAL : 0;
}

static void uncharge(struct ipc_ns *ns, unsigned n)
{
	spin_lock(&ns->table[IPC_SEM].lock);
	ns->sem_used -= n;
	spin_unlock(&ns->table[IPC_SEM].lock);
}

static int make(struct ipc_ns *ns, const void *arg, struct ipc_object **out)
{
	unsigned n = *(const unsigned *)arg;
	struct sem_set *s;
	bool room;

	if (!n)
		return -EINVAL;
	spin_lock(&ns->table[IPC_SEM].lock);
	room = ns->sem_used + n <= ns->sem_total;
	if (room)
		ns->sem_used += n;
	spin_unlock(&ns->table[IPC_SEM].lock);
	if (!room)
		return -ENOSPC;
	s = kzalloc(sizeof(*s) + n * sizeof(s->sem[0]), ALLOC_CHARGED);
	if (!s) {
		uncharge(ns, n);
		return -ENOMEM;
	}
	s->n = n;
	list_init(&s->waiters);
	list_init(&s->undos);
	*out = &s->o;
	return 0;
}

void sem_free(struct ipc_object *o)
{
	struct sem_set *s = set_of(o);

	if (!s->o.removed)
		uncharge(o->table->ns, s->n);
	for (unsigned i = 0; i < s->n; i++)
		pid_put(s->sem[i].last);
	kfree(s);
}

long sys_semget(int key, int nsems, int flags)
{
	struct ipc_ns *ns = ipc_ns_current();
	unsigned n = nsems;
	struct ipc_wish w = {
		.key = key, .flags = flags, .limit = ns->sem_sets, .check = check_count, .make = make, .arg = &n
	};

	if (nsems < 0 || n > ns->sem_per_set)
		return -EINVAL;
	return ipc_get(ns, IPC_SEM, &w);
}

/* ---- operations --------------------------------------------------------------------------------------------- */

static void set_last(struct semaphore *s, struct pid *pid)
{
	if (s->last == pid)
		return;
	pid_put(s->last);
	pid_get(pid);
	s->last = pid;
}

/* One step; 0, 1: must wait, or -ERANGE. */
static int step(struct sem_set *s, const struct sembuf *op, struct undo *u)
{
	struct semaphore *sem = &s->sem[op->sem_num];
	int value = sem->value + op->sem_op, adjust;

	if (!op->sem_op)
		return sem->value ? 1 : 0;
	if (value < 0)
		return 1;
	if (value > SEMVMX)
		return -ERANGE;
	if (op->sem_flg & SEM_UNDO) {
		adjust = u->adjust[op->sem_num] - op->sem_op;
		if (adjust < -SEMAEM - 1 || adjust > SEMAEM)
			return -ERANGE;
		u->adjust[op->sem_num] = adjust;
	}
	sem->value = value;
	return 0;
}

static void step_back(struct sem_set *s, const struct sembuf *op, struct undo *u)
{
	s->sem[op->sem_num].value -= op->sem_op;
	if (op->sem_op && op->sem_flg & SEM_UNDO)
		u->adjust[op->sem_num] += op->sem_op;
}

/* All of w's, or none: 0, 1: must wait (w->blocked), -ERANGE, -EAGAIN. */
static int try(struct sem_set *s, struct waiter *w)
{
	int err = 0;
	unsigned i;

	for (i = 0; i < w->n && !err; i++)
		err = step(s, &w->ops[i], w->undo);
	if (!err) {
		for (i = 0; i < w->n; i++)
			set_last(&s->sem[w->ops[i].sem_num], w->pid);
		s->op_time = ipc_now();
		return 0;
	}
	w->blocked = &w->ops[--i];
	while (i--)
		step_back(s, &w->ops[i], w->undo);
	return err == 1 && w->blocked->sem_flg & IPC_NOWAIT ? -EAGAIN : err;
}

static void finish(struct waiter *w, int result)
{
	struct task *t = w->task;

	list_del(&w->link);
	task_get(t); /* with done set the waiter's stack may go */
	w->result = result;
	smp_store_release(&w->done, true);
	task_wake(t);
	task_put(t);
}

static bool alters(const struct waiter *w)
{
	for (unsigned i = 0; i < w->n; i++)
		if (w->ops[i].sem_op)
			return true;
	return false;
}

/* The set has changed: who can go on now? Locked. */
static void serve(struct sem_set *s)
{
	struct waiter *w, *n;
	bool again;

	do {
		again = false;
		list_for_each_entry_safe (w, n, &s->waiters, link) {
			int err = try(s, w);

			if (err == 1)
				continue;
			again = !err && alters(w);
			finish(w, err);
			if (again)
				break;
		}
	} while (again);
}

/* ---- undo ---------------------------------------------------------------------------------------------------------
 */

static struct undo *find_undo(struct undo_list *l, const struct sem_set *s)
{
	struct undo *u;

	list_for_each_entry (u, &l->undos, of_process)
		if (u->set == s)
			return u;
	return NULL;
}

static int need_list(void)
{
	struct undo_list *l;

	if (current->sem_undo)
		return 0;
	l = kzalloc(sizeof(*l), ALLOC_CHARGED);
	if (!l)
		return -ENOMEM;
	refcount_set(&l->refs, 1);
	spin_init(&l->lock, RANK_ICACHE);
	list_init(&l->undos);
	current->sem_undo = l;
	return 0;
}

/* The caller's undo for s, made if it has none. */
static int need_undo(struct sem_set *s, struct undo **out)
{
	struct undo_list *l;
	struct undo *fresh, *u;

	if (need_list())
		return -ENOMEM;
	l = current->sem_undo;
	fresh = kzalloc(sizeof(*fresh) + s->n * sizeof(fresh->adjust[0]), ALLOC_CHARGED);
	if (!fresh)
		return -ENOMEM;
	fresh->set = s;
	spin_lock(&l->lock);
	u = find_undo(l, s);
	if (!u)
		list_add_tail(&fresh->of_process, &l->undos);
	spin_unlock(&l->lock);
	*out = u ? u : fresh;
	if (u) {
		kfree(fresh);
		return 0;
	}
	refcount_inc(&s->o.refs);
	spin_lock(&s->o.lock);
	list_add_tail(&fresh->of_set, &s->undos);
	spin_unlock(&s->o.lock);
	return 0;
}

static void take_back(struct undo *u)
{
	struct sem_set *s = u->set;

	spin_lock(&s->o.lock);
	for (unsigned i = 0; i < s->n && !s->o.removed; i++) {
		if (!u->adjust[i])
			continue;
		s->sem[i].value = clamp(s->sem[i].value + u->adjust[i], 0, SEMVMX);
		set_last(&s->sem[i], current->process->pid);
		s->op_time = ipc_now();
	}
	list_del(&u->of_set);
	if (!s->o.removed)
		serve(s);
	spin_unlock(&s->o.lock);
	kfree(u);
	ipc_put(&s->o);
}

static int undo_fork(struct task *child)
{
	struct undo_list *l;

	if (need_list())
		return -ENOMEM;
	l = current->sem_undo;
	refcount_inc(&l->refs);
	child->sem_undo = l;
	return 0;
}

static void undo_leave(struct task *t)
{
	struct undo_list *l = t->sem_undo;
	struct undo *u, *n;

	t->sem_undo = NULL;
	if (!l || !refcount_dec_and_test(&l->refs))
		return;
	list_for_each_entry_safe (u, n, &l->undos, of_process)
		take_back(u);
	kfree(l);
}

static const struct process_ipc_hooks hooks = { .fork = undo_fork, .leave = undo_leave };

static void sem_init(void)
{
	process_ipc_hooks = &hooks;
}
PART_INIT(core, sem_init);

/* ---- semop ---------------------------------------------------------------------------------------------------------
 */

/* Queued; the set is unlocked. */
static int wait_for(struct sem_set *s, struct waiter *w, u64 deadline)
{
	int err = 0;

	while (!smp_load_acquire(&w->done) && !err) {
		sched_set_state(TASK_INTERRUPTIBLE);
		if (smp_load_acquire(&w->done))
			break;
		if (signal_pending(current))
			err = -EINTR;
		else if (sched_sleep_until(deadline) == -ETIME)
			err = -EAGAIN;
	}
	sched_set_state(TASK_RUNNING);
	spin_lock(&s->o.lock);
	if (!w->done)
		list_del(&w->link);
	else
		err = w->result;
	spin_unlock(&s->o.lock);
	return err;
}

static int operate(struct sem_set *s, struct waiter *w, u64 deadline)
{
	bool changes = alters(w), undo = false;
	int err = 0;

	for (unsigned i = 0; i < w->n; i++) {
		if (w->ops[i].sem_num >= s->n)
			return -EFBIG;
		undo |= w->ops[i].sem_flg & SEM_UNDO && w->ops[i].sem_op;
	}
	err = ipc_may(&s->o, changes ? 0222 : 0444);
	if (!err && undo)
		err = need_undo(s, &w->undo);
	if (err)
		return err;
	spin_lock(&s->o.lock);
	err = s->o.removed ? -EIDRM : try(s, w);
	if (!err && changes)
		serve(s);
	if (err == 1)
		list_add_tail(&w->link, &s->waiters);
	spin_unlock(&s->o.lock);
	return err == 1 ? wait_for(s, w, deadline) : err;
}

static long semop_until(int semid, void __user *sops, size_t nsops, u64 deadline)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct sembuf few[8], *ops = few;
	struct ipc_object *o;
	struct waiter w = { .task = current, .pid = current->process->pid, .n = nsops };
	int err = 0;

	if (nsops > ARRAY_SIZE(few))
		ops = kcalloc(nsops, sizeof(*ops), 0);
	if (!ops)
		return -ENOMEM;
	if (user_get(ops, sops, nsops * sizeof(*ops)))
		err = -EFAULT;
	w.ops = ops;
	if (!err)
		err = ipc_find(ns, IPC_SEM, semid, &o);
	if (!err) {
		err = operate(set_of(o), &w, deadline);
		ipc_put(o);
	}
	if (ops != few)
		kfree(ops);
	return err;
}

static int check_ops(int semid, size_t nsops)
{
	if (nsops > ipc_ns_current()->sem_ops)
		return -E2BIG;
	return semid < 0 || !nsops ? -EINVAL : 0;
}

long sys_semop(int semid, void __user *sops, size_t nsops)
{
	int err = check_ops(semid, nsops);

	return err ? err : semop_until(semid, sops, nsops, ~0ULL);
}

long sys_semtimedop(int semid, void __user *sops, u32 nsops, const void __user *timeout)
{
	u64 ns, deadline = ~0ULL;
	int err = 0;

	if (timeout) {
		err = timespec_get(timeout, &ns);
		if (!err)
			deadline = clock_ns() + ns < ns ? ~0ULL : clock_ns() + ns;
	}
	if (!err)
		err = check_ops(semid, nsops);
	return err ? err : semop_until(semid, sops, nsops, deadline);
}

/* ---- semctl ---------------------------------------------------------------------------------------------------------
 */

static int count_waiters(const struct sem_set *s, unsigned num, bool for_zero)
{
	struct waiter *w;
	int n = 0;

	list_for_each_entry (w, &s->waiters, link)
		n += w->blocked->sem_num == num && !w->blocked->sem_op == for_zero;
	return n;
}

static long get_one(struct sem_set *s, unsigned num, int cmd)
{
	switch (cmd) {
	case GETVAL: return s->sem[num].value;
	case GETPID: return pid_nr(s->sem[num].last);
	case GETNCNT: return count_waiters(s, num, false);
	default: return count_waiters(s, num, true);
	}
}

static void set_one(struct sem_set *s, unsigned num, int value)
{
	struct undo *u;

	s->sem[num].value = value;
	set_last(&s->sem[num], current->process->pid);
	list_for_each_entry (u, &s->undos, of_set)
		u->adjust[num] = 0;
}

static long one(struct ipc_object *o, int num, int cmd, int value)
{
	struct sem_set *s = set_of(o);
	long result;

	if (num < 0 || (unsigned)num >= s->n)
		return -EINVAL;
	result = ipc_may(o, cmd == SETVAL ? 0222 : 0444);
	if (result)
		return result;
	spin_lock(&o->lock);
	if (o->removed) {
		result = -EIDRM;
	} else if (cmd == SETVAL) {
		set_one(s, num, value);
		o->changed = ipc_now();
		serve(s);
	} else {
		result = get_one(s, num, cmd);
	}
	spin_unlock(&o->lock);
	return result;
}

static long all(struct ipc_object *o, int cmd, u16 __user *array)
{
	struct sem_set *s = set_of(o);
	int err = ipc_may(o, cmd == SETALL ? 0222 : 0444);
	u16 *values;

	if (err)
		return err;
	values = kcalloc(s->n, sizeof(*values), 0);
	if (!values)
		return -ENOMEM;
	if (cmd == SETALL && user_get(values, array, s->n * sizeof(*values)))
		err = -EFAULT;
	for (unsigned i = 0; i < s->n && !err; i++)
		if (values[i] > SEMVMX)
			err = -ERANGE;
	spin_lock(&o->lock);
	if (!err && o->removed)
		err = -EIDRM;
	for (unsigned i = 0; i < s->n && !err; i++) {
		if (cmd == SETALL)
			set_one(s, i, values[i]);
		else
			values[i] = s->sem[i].value;
	}
	if (!err && cmd == SETALL) {
		o->changed = ipc_now();
		serve(s);
	}
	spin_unlock(&o->lock);
	if (!err && cmd == GETALL && user_put(array, values, s->n * sizeof(*values)))
		err = -EFAULT;
	kfree(values);
	return err;
}

void sem_fill(struct ipc_object *o, struct semid64_ds *d)
{
	struct sem_set *s = set_of(o);

	memset(d, 0, sizeof(*d));
	spin_lock(&s->o.lock);
	ipc_fill_perm(&s->o, &d->sem_perm);
	d->sem_otime = s->op_time;
	d->sem_ctime = s->o.changed;
	d->sem_nsems = s->n;
	spin_unlock(&s->o.lock);
}

static long stat(struct ipc_ns *ns, int id, int cmd, void __user *buf)
{
	struct semid64_ds d;
	struct ipc_object *o;
	int err = cmd == IPC_STAT ? ipc_find(ns, IPC_SEM, id, &o) : ipc_find_slot(ns, IPC_SEM, id, &o);
	long result;

	if (err)
		return err;
	result = cmd == IPC_STAT ? 0 : o->id;
	if (cmd != SEM_STAT_ANY)
		err = ipc_may(o, 0444);
	if (!err) {
		sem_fill(o, &d);
		if (user_put(buf, &d, sizeof(d)))
			err = -EFAULT;
	}
	ipc_put(o);
	return err ? err : result;
}

static long info(struct ipc_ns *ns, int cmd, void __user *buf)
{
	struct seminfo i = { .semmni = ns->sem_sets,
			     .semmns = ns->sem_total,
			     .semmsl = ns->sem_per_set,
			     .semopm = ns->sem_ops,
			     .semvmx = SEMVMX,
			     .semmnu = SEMMNU,
			     .semmap = SEMMAP,
			     .semume = SEMUME,
			     .semusz = SEMUSZ,
			     .semaem = SEMAEM };

	if (cmd == SEM_INFO) {
		i.semusz = ns->table[IPC_SEM].used;
		i.semaem = ns->sem_used;
	}
	return user_put(buf, &i, sizeof(i)) ? -EFAULT : ipc_highest_slot(&ns->table[IPC_SEM]);
}

/* Removed: everybody who waits learns it. */
static void retire(struct sem_set *s)
{
	struct waiter *w, *n;

	s->o.removed = true;
	list_for_each_entry_safe (w, n, &s->waiters, link)
		finish(w, -EIDRM);
}

static int change(struct ipc_object *o, int cmd, const struct semid64_ds *d)
{
	int err;

	spin_lock(&o->lock);
	err = o->removed ? -EIDRM : ipc_may_change(o);
	if (!err && cmd == IPC_SET)
		err = ipc_set_perm(o, &d->sem_perm);
	else if (!err)
		retire(set_of(o));
	spin_unlock(&o->lock);
	if (!err && cmd == IPC_RMID) {
		uncharge(o->table->ns, set_of(o)->n);
		ipc_take_out(o);
	}
	return err;
}

static long act(struct ipc_object *o, int num, int cmd, ulong arg, const struct semid64_ds *d)
{
	switch (cmd) {
	case GETALL:
	case SETALL: return all(o, cmd, (u16 __user *)arg);
	case IPC_SET:
	case IPC_RMID: return change(o, cmd, d);
	default: return one(o, num, cmd, (int)arg);
	}
}

long sys_semctl(int semid, int semnum, int cmd, ulong arg)
{
	struct ipc_ns *ns = ipc_ns_current();
	struct semid64_ds d = { .sem_otime = 0 };
	struct ipc_object *o;
	long result;

	if (semid < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO:
	case SEM_INFO: return info(ns, cmd, (void __user *)arg);
	case IPC_STAT:
	case SEM_STAT:
	case SEM_STAT_ANY: return stat(ns, semid, cmd, (void __user *)arg);
	case SETVAL:
		if ((int)arg < 0 || (int)arg > SEMVMX)
			return -ERANGE;
		break;
	case IPC_SET:
		if (user_get(&d, (void __user *)arg, sizeof(d)))
			return -EFAULT;
		break;
	case GETALL:
	case SETALL:
	case GETVAL:
	case GETPID:
	case GETNCNT:
	case GETZCNT:
	case IPC_RMID: break;
	default: return -EINVAL;
	}
	result = ipc_find(ns, IPC_SEM, semid, &o);
	if (result)
		return result;
	result = act(o, semnum, cmd, arg, &d);
	ipc_put(o);
	return result;
}
