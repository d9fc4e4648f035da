/* SPDX-License-Identifier: MIT
 *
 * Problem: the kernel sometimes needs a program's help, on behalf of a process that may live in other namespaces and
 * have few rights; the program must see nothing of that process but what it is given.
 *
 * Idea: a worker, which has the first namespaces, all rights and no limits of anybody's, makes a process without a
 * parent, in the root folder of process 1, with one descriptor; it runs exec as its first act and reaps itself at its
 * end. It leads a session and a group of its own (on Linux: those of no number).
 *
 * Contract: process_run_helper of process_priv.h.
 *
 * Locks: process_list_lock for entering the tree.
 */
#include "process_priv.h"
#include <task/account.h>
#include <task/work.h>
#include <vfs/vfs.h>

struct helper {
	struct work work;
	const char *const *argv;
	struct file *input;
	struct completion runs;
	int err;
};

static void tell(struct helper *h, int err)
{
	h->err = err;
	complete(&h->runs); /* h is on the stack of who waits */
}

static void helper_main(void *arg)
{
	static const char *const envp[] = { NULL };
	struct helper *h = arg;
	int err;

	file_get(h->input);
	err = fd_publish(h->input, 0);
	if (err >= 0)
		err = process_exec(h->argv[0], h->argv, envp);
	tell(h, err);
	if (err)
		process_exit_group(127 << 8);
}

static int give_files(struct task *t)
{
	struct task *first = process_leader_get(pid_ns_first.reaper);
	struct path root;
	int err = fs_path_of_task(first, true, &root);

	task_put(first);
	if (err)
		return err;
	err = fs_create(t, &root);
	path_put(&root);
	return err ? err : files_create(t);
}

/* A crash of its own calls no helper: RLIMIT_CORE of 1 byte says that (coredump.c). */
static int give_process(struct task *t)
{
	struct pid *pid;
	int err = pid_create(&pid_ns_first, 0, &pid);

	if (err)
		return err;
	pid_get(pid);
	t->pid = pid;
	t->tid = pid_nr_global(pid);
	pid_get(pid);
	t->process = process_alloc(pid);
	if (!t->process) {
		pid_put(pid);
		return -ENOMEM;
	}
	t->process->sighand = sighand_create(NULL);
	if (!t->process->sighand)
		return -ENOMEM;
	process_default_limits(t->process);
	t->process->rlimits[RLIMIT_CORE] = (struct rlimit){ 1, 1 };
	t->process->start_ns = t->start_ns;
	return 0;
}

static void publish(struct task *t)
{
	ulong irq = process_list_begin();

	task_get(t);
	t->process->leader = t;
	process_enroll(t->process, NULL, t->pid, t->pid);
	process_add_thread(t->process, t);
	process_list_end(irq);
}

static void start(struct work *w)
{
	struct helper *h = container_of(w, struct helper, work);
	struct task *t;
	int err = task_create(&t, "helper", NULL);

	if (!err && account_charge(t->cred->uid, ACCOUNT_TASKS, 1, ~0ULL)) {
		task_put(t);
		task_put(t);
		err = -EAGAIN;
	}
	if (err)
		return tell(h, err);
	list_init(&t->sig_queue);
	list_init(&t->thread_link);
	err = give_files(t);
	if (!err)
		err = give_process(t);
	if (err) {
		process_drop_unborn(t, t->cred->uid);
		return tell(h, err);
	}
	arch_thread_init(t, helper_main, h);
	publish(t);
	task_wake(t);
}

int process_run_helper(const char *const argv[], struct file *input)
{
	struct helper h = { .argv = argv, .input = input };

	completion_init(&h.runs);
	work_init(&h.work, start);
	work_queue(&h.work);
	completion_wait(&h.runs);
	return h.err;
}
