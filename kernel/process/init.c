/* SPDX-License-Identifier: MIT
 *
 * Problem: the first program has no parent: its process, numbers and limits come from nowhere.
 *
 * Idea: a task of its own becomes process 1, the reaper of the first namespace, with the descriptors
 * and the root of the task that boots, and then calls exec like anybody else, with the first program
 * that exists.
 *
 * Contract: process_start_init of process/process.h. Arguments after `--` on the command line, and
 * words before it that are no parameters of the kernel's (no '=' and unknown), go to the program as
 * on Linux (kernel-parameters.txt); here only those after `--` do.
 *
 * Locks: process_list_lock for entering the tree.
 */
#include <task/account.h>
#include "process_priv.h"
#include <arch/boot.h>
#include <core/log.h>
#include <lib/string.h>
#include <vfs/uapi.h>
#include <vfs/vfs.h>

#define MAX_ARGS 32

static char args_line[1024];
static const char *argv[MAX_ARGS + 2];
static const char *const envp[] = { "HOME=/", "TERM=linux", "PATH=/sbin:/usr/sbin:/bin:/usr/bin", NULL };

void process_default_limits(struct process *p)
{
	for (unsigned i = 0; i < RLIM_NLIMITS; i++)
		p->rlimits[i] = (struct rlimit){ ~0UL, ~0UL };
	p->rlimits[RLIMIT_STACK].rlim_cur = 8UL << 20;
	p->rlimits[RLIMIT_CORE].rlim_cur = 0;
	p->rlimits[RLIMIT_NPROC].rlim_cur = p->rlimits[RLIMIT_NPROC].rlim_max = process_threads_max() / 2;
	p->rlimits[RLIMIT_NOFILE] = (struct rlimit){ 1024, 4096 };
	p->rlimits[RLIMIT_MEMLOCK] = (struct rlimit){ 8UL << 20, 8UL << 20 };
	p->rlimits[RLIMIT_SIGPENDING] = (struct rlimit){ 4096, 4096 };
	p->rlimits[RLIMIT_MSGQUEUE] = (struct rlimit){ 819200, 819200 };
	p->rlimits[RLIMIT_NICE] = (struct rlimit){ 0, 0 };
	p->rlimits[RLIMIT_RTPRIO] = (struct rlimit){ 0, 0 };
}

static void become_process_1(void)
{
	struct process *p;
	struct pid *pid;
	ulong irq;
	int err = pid_create(&pid_ns_first, 1, &pid);

	ensure(!err);
	pid_get(pid);
	pid_get(pid);
	p = process_alloc(pid);
	ensure(p);
	p->sighand = sighand_create(NULL);
	ensure(p->sighand);
	process_default_limits(p);
	p->exit_signal = SIGCHLD;
	err = account_charge(current->cred->uid, ACCOUNT_TASKS, 1, ~0ULL);
	ensure(!err);
	p->start_ns = current->start_ns;
	list_init(&current->sig_queue);
	list_init(&current->thread_link);
	current->pid = pid;
	current->tid = pid_nr_global(pid);
	current->process = p;
	irq = process_list_begin();
	pid_ns_first.reaper = p;
	p->leader = current; /* with the reference of its creator, the other one is the membership's */
	task_get(current);
	process_enroll(p, NULL, pid, pid);
	process_add_thread(p, current);
	process_list_end(irq);
}

/* The words after `--`. */
static void split_args(void)
{
	const char *rest = strstr(boot_info()->cmdline, " -- ");
	unsigned n = 1;
	char *at = args_line;

	if (!rest)
		return;
	str_copy(args_line, rest + 4, sizeof(args_line));
	while (n <= MAX_ARGS) {
		while (*at == ' ')
			*at++ = 0;
		if (!*at)
			break;
		argv[n++] = at;
		while (*at && *at != ' ')
			at++;
	}
}

/* Descriptors 0 to 2 of the first program. */
static void open_console(void)
{
	struct file *f;

	if (file_open_kernel("/dev/console", O_RDWR, 0, &f)) {
		log_warn("init: there is no /dev/console");
		return;
	}
	for (int i = 0; i < 3; i++) {
		file_get(f);
		if (fd_publish(f, 0) != i)
			log_warn("init: descriptor %d is not the console", i);
	}
	file_put(f);
}

static int try(const char *path)
{
	int err;

	argv[0] = path;
	err = process_exec(path, argv, envp);
	if (err && err != -ENOENT)
		log_err("init: %s cannot be run: error %d", path, -err);
	return err;
}

static void init_main(void *unused)
{
	static const char *const places[] = { "/init", "/sbin/init", "/etc/init", "/bin/init", "/bin/sh" };
	char given[256];
	int err = -ENOENT;

	become_process_1();
	split_args();
	open_console();
	if (boot_param("init", given, sizeof(given)) && given[0]) {
		err = try(given);
		if (err)
			panic("init=%s cannot be run: error %d", given, -err);
	}
	for (unsigned i = 0; err && i < ARRAY_SIZE(places); i++)
		err = try(places[i]);
	if (err)
		panic("no init found: give init= or put /init into the root image");
}

void process_start_init(void)
{
	struct task *t;
	int err = task_create(&t, "init", NULL);

	if (!err)
		err = files_fork(t, true);
	if (!err)
		err = fs_fork(t, true);
	ensure(!err);
	arch_thread_init(t, init_main, NULL);
	task_wake(t);
	files_exit(current);
	fs_exit(current);
	for (;;) {
		sched_set_state(TASK_INTERRUPTIBLE);
		sched_sleep();
	}
}
