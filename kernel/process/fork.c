/* SPDX-License-Identifier: MIT
 *
 * Problem: fork, vfork, clone and clone3 make anything between a thread and a separate process, and
 * may fail at each of a dozen steps.
 *
 * Idea: everything that can fail is made first and hangs on a task that nobody can see; publishing it
 * under the locks fails only for a signal or for an ending group; then the child is woken.
 *
 * Contract: process/clone.h; clone(2). The child returns from its system call with 0.
 *
 * Locks: process_list_lock and siglock for publishing.
 */
#include "process_priv.h"
#include "process_trace.h"
#include <task/account.h>
#include <task/hooks.h>
#include <task/mempolicy.h>
#include <process/hooks.h>
#include <arch/user.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <lib/string.h>
#include <linux/ptrace.h>
#include <process/ptrace.h>
#include <vfs/vfs.h>

static int check(const struct clone_request *r)
{
	u64 f = r->flags;

	if ((f & CLONE_THREAD && !(f & CLONE_SIGHAND)) || (f & CLONE_SIGHAND && !(f & CLONE_VM)) ||
	    (f & CLONE_CLEAR_SIGHAND && f & CLONE_SIGHAND))
		return fail(EINVAL, "clone: flags %#llx contradict each other", (unsigned long long)f);
	if ((f & (CLONE_NEWNS | CLONE_NEWUSER)) && (f & CLONE_FS))
		return fail(EINVAL, "clone: new mounts or users, but one root folder");
	if ((f & CLONE_THREAD) && ((f & (CLONE_NEWUSER | CLONE_NEWPID)) || pid_ns_for_children() != pid_ns_current()))
		return fail(EINVAL, "clone: threads of a process live in the same namespaces");
	if ((f & CLONE_PARENT) && pid_ns_of(current->process->pid)->reaper == current->process)
		return fail(EINVAL, "clone: init has no siblings");
	if ((f & CLONE_PIDFD) && (f & (CLONE_THREAD | CLONE_DETACHED)))
		return fail(EINVAL, "clone: no pidfd of a thread");
	if (r->exit_signal < 0 || r->exit_signal > 64)
		return fail(EINVAL, "clone: exit signal %d", r->exit_signal);
	return 0;
}

static void copy_task_state(struct task *t, const struct clone_request *r)
{
	t->sig_blocked = current->sig_blocked;
	list_init(&t->sig_queue);
	list_init(&t->thread_link);
	list_init(&t->task_work);
	if (!(r->flags & CLONE_VM) || (r->flags & CLONE_VFORK)) {
		t->altstack_sp = current->altstack_sp;
		t->altstack_size = current->altstack_size;
		t->altstack_flags = current->altstack_flags;
	}
	if (!(r->flags & CLONE_VM)) {
		t->rseq = current->rseq;
		t->rseq_signature = current->rseq_signature;
	}
	t->set_child_tid = r->flags & CLONE_CHILD_SETTID ? (u32 __user *)r->child_tid : NULL;
	t->clear_child_tid = r->flags & CLONE_CHILD_CLEARTID ? (u32 __user *)r->child_tid : NULL;
	t->flags = (t->flags & ~TASK_F_KTHREAD) | (r->flags & CLONE_THREAD ? 0 : TASK_F_FORKED);
	t->io_priority = current->io_priority;
	t->mem_policy = mempolicy_get(current->mem_policy);
	t->timer_slack_default_ns = current->timer_slack_ns;
}

static int copy_mm(struct task *t, const struct clone_request *r)
{
	int err = 0;

	if (r->flags & CLONE_VM) {
		mm_get(current->mm);
		t->mm = current->mm;
	} else {
		err = mm_fork(current->mm, &t->mm);
		if (!err && current->mm->exe_file) {
			exe_file_share(current->mm->exe_file);
			t->mm->exe_file = current->mm->exe_file;
		}
	}
	if (!err)
		t->arch.pt = &t->mm->pt;
	return err;
}

/* Takes over a reference of pid, also on failure. */
static int new_process(struct task *t, struct pid *pid, const struct clone_request *r)
{
	struct process *from = current->process, *p;

	p = process_alloc(pid);
	if (!p) {
		pid_put(pid);
		return -ENOMEM;
	}
	t->process = p;
	if (r->flags & CLONE_SIGHAND) {
		refcount_inc(&from->sighand->refs);
		p->sighand = from->sighand;
	} else {
		p->sighand = sighand_create(from->sighand);
		if (!p->sighand)
			return -ENOMEM;
	}
	for (unsigned i = 0; (r->flags & CLONE_CLEAR_SIGHAND) && i < 64; i++)
		if (p->sighand->actions[i].handler > 1)
			p->sighand->actions[i].handler = 0;
	memcpy(p->rlimits, from->rlimits, sizeof(p->rlimits));
	p->exit_signal = r->exit_signal;
	p->oom_score_adj = from->oom_score_adj;
	p->personality = from->personality;
	p->tty = from->tty;
	p->start_ns = t->start_ns;
	return 0;
}

static void child_start(void *arg)
{
	struct task *t = arg;
	u32 nr = pid_nr(t->pid);

	if (t->set_child_tid)
		(void)!user_put(t->set_child_tid, &nr, sizeof(nr));
}

static int copy_registers(struct task *t, const struct clone_request *r)
{
	struct regs *regs;
	int err;

	arch_thread_init(t, child_start, t);
	err = arch_thread_copy(t, current);
	if (err)
		return err;
	regs = task_regs(t);
	regs->ax = 0;
	regs->orig_ax = -1;
	if (r->stack)
		regs->sp = r->stack;
	if (r->flags & CLONE_SETTLS)
		t->arch.fs_base = r->tls;
	return 0;
}

/* Makes everything. On failure, drop_child undoes what has been made. */
static int build_child(struct task *t, const struct clone_request *r)
{
	bool thread = r->flags & CLONE_THREAD;
	struct pid *pid;
	int err;

	copy_task_state(t, r);
	err = ptrace_prepare_child(t);
	if (err)
		return err;
	err = files_fork(t, r->flags & CLONE_FILES);
	if (!err)
		err = fs_fork(t, r->flags & CLONE_FS);
	if (!err)
		err = namespaces_fork(t, r->flags);
	if (!err)
		err = pid_create(container_of(ns_of_set(t, NS_PID), struct pid_ns, ns), r->set_tid, &pid);
	if (err)
		return err;
	pid_get(pid);
	t->pid = pid;
	t->tid = pid_nr_global(pid);
	if (thread) {
		process_get(current->process);
		t->process = current->process;
	} else {
		pid_get(pid);
		err = new_process(t, pid, r);
	}
	if (!err)
		err = copy_mm(t, r);
	if (!err)
		err = copy_registers(t, r);
	if (!err && r->flags & CLONE_SYSVSEM && process_ipc_hooks)
		err = process_ipc_hooks->fork(t);
	if (!err && static_branch(&task_life_key))
		err = task_hooks->fork(t);
	return err;
}

void process_drop_unborn(struct task *t, kuid_t payer)
{
	if (t->fs)
		fs_exit(t);
	if (t->files)
		files_exit(t);
	if (t->mm)
		mm_put(t->mm);
	t->mm = NULL;
	if (t->pid)
		pid_discard(t->pid);
	account_uncharge(payer, ACCOUNT_TASKS, 1);
	task_put(t);
	task_put(t); /* the scheduler's reference: it has never seen the task */
}

static void drop_child(struct task *t)
{
	if (static_branch(&task_life_key))
		task_hooks->fork_failed(t);
	if (t->sem_undo)
		process_ipc_hooks->leave(t);
	ns_set_change(t, NULL);
	process_drop_unborn(t, current->cred->uid);
}

/* From here on others see it. */
static int publish(struct task *t, const struct clone_request *r)
{
	struct process *me = current->process, *p = t->process;
	ulong irq = process_list_begin(), sig_irq = spin_lock_irqsave(&me->siglock);
	bool refuse = me->group_exiting || (current->sig_pending & SIGMASK(SIGKILL)) || (p == me && me->exec_thread);
	bool join_stop = !refuse && p == me && me->stop_pending && !me->stopped;

	if (join_stop)
		me->stop_left++;
	if (!refuse && current->seccomp)
		process_seccomp_hooks->share(t); /* here: another thread may just have given one to all */
	spin_unlock_irqrestore(&me->siglock, sig_irq);
	if (refuse) {
		process_list_end(irq);
		return -ERESTARTNOINTR;
	}
	t->cache_group = READ_ONCE(
		current->cache_group); /* here, so that whoever moves all tasks under this lock sees it right */
	if (p != me) {
		task_get(t);
		p->leader = t;
		if (!pid_ns_of(p->pid)->reaper)
			pid_ns_of(p->pid)->reaper = p; /* the first one of its namespace */
		process_enroll(p, r->flags & CLONE_PARENT ? me->parent : me, me->pgrp, me->session);
		if (r->flags & CLONE_PARENT)
			p->exit_signal = me->exit_signal;
	}
	process_add_thread(p, t);
	current->flags &= ~TASK_F_OVER_NPROC;
	ptrace_adopt_child(t, r->flags, r->exit_signal);
	if (join_stop)
		task_set_work(t, WORK_SIGNAL);
	process_list_end(irq);
	return 0;
}

static void wait_for_vfork(struct task *t, struct completion *done)
{
	ulong irq;

	int err;

	tenant_task_stops(current, true); /* a frozen child shall not keep its parent's tenant from being frozen */
	err = completion_wait_killable(done);
	tenant_task_stops(current, false);
	if (!err)
		return;
	irq = spin_lock_irqsave(&t->process->siglock); /* we are dying: the child must not find our stack */
	t->vfork_done = NULL;
	spin_unlock_irqrestore(&t->process->siglock, irq);
}

/* The descriptor of a CLONE_PIDFD child, already told to the parent. */
static int prepare_pidfd(struct task *t, const struct clone_request *r, struct file **file)
{
	int fd, err;

	fd = fd_reserve(O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	err = pidfd_create(t->pid, 0, file);
	if (!err && user_put(r->pidfd, &fd, sizeof(fd))) {
		file_put(*file);
		err = -EFAULT;
	}
	if (err)
		fd_release(fd);
	return err ? err : fd;
}

static int start_child(struct task *t, const struct clone_request *r)
{
	struct file *pidfd = NULL;
	int nr = pid_nr(t->pid), fd = -1, err;

	if (r->flags & CLONE_PIDFD) {
		fd = prepare_pidfd(t, r, &pidfd);
		if (fd < 0)
			return fd;
	}
	if (r->flags & CLONE_PARENT_SETTID)
		(void)!user_put(r->parent_tid, &nr, sizeof(nr));
	err = publish(t, r);
	if (err && pidfd) {
		fd_release(fd);
		file_put(pidfd);
	} else if (pidfd) {
		fd_install(fd, pidfd);
	}
	return err;
}

long process_clone(const struct clone_request *r)
{
	bool vfork = r->flags & CLONE_VFORK;
	struct completion done;
	struct task *t;
	int nr, err;

	err = check(r);
	if (err)
		return err;
	err = account_charge(current->cred->uid, ACCOUNT_TASKS, 1, process_tasks_limit(current->cred->uid));
	if (err)
		return err;
	err = task_create(&t, current->comm, r->into);
	if (err) {
		account_uncharge(current->cred->uid, ACCOUNT_TASKS, 1);
		return err;
	}
	completion_init(&done);
	if (vfork)
		t->vfork_done = &done;
	err = build_child(t, r);
	if (!err)
		err = start_child(t, r);
	if (err) {
		drop_child(t);
		return err;
	}
	if (r->into && !(r->flags & CLONE_VM))
		mm_set_tenant(t->mm, r->into);
	if (tenant_is_freezing(t->tenant))
		task_set_work(t, WORK_SIGNAL);
	nr = pid_nr(t->pid);
	if (vfork)
		task_get(t);
	if (!(r->flags & CLONE_THREAD))
		timers_limit(t->process);
	if (static_branch(&task_life_key))
		task_hooks->forked(t);
	if (trace_on(task_newtask) || trace_on(sched_process_fork))
		process_trace_fork(t, r->flags);
	task_wake(t);
	if (ptrace_is_traced(current) && !(r->flags & CLONE_UNTRACED))
		ptrace_event(ptrace_clone_event(r->flags, r->exit_signal), nr);
	if (vfork) {
		wait_for_vfork(t, &done);
		task_put(t);
		ptrace_event(PTRACE_EVENT_VFORK_DONE, nr);
	}
	return nr;
}
