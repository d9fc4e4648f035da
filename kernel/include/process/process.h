/* SPDX-License-Identifier: MIT
 *
 * Processes: groups of threads with one family place, one set of signal handlers, one exit status.
 *
 * Lock letters: f RANK_TASKLIST (process_list_lock); s sighand (process->siglock, RANK_SIGHAND).
 */
#ifndef PROCESS_PROCESS_H
#define PROCESS_PROCESS_H

#include <task/task.h>
#include <asm/resource.h>
#include <linux/resource.h>

/* Ids: one struct per number, with a level per nested pid namespace. Tasks, process groups and sessions hang on it. */
enum pid_kind { PID_THREAD, PID_PROCESS, PID_GROUP, PID_SESSION, PID_KINDS };
struct pid_ns;
struct pid_level {
	int nr;
	struct pid_ns *ns;
};
struct pid {
	refcount_t refs;
	unsigned depth;
	struct list members[PID_KINDS]; /* f */
	struct waitq exit_waiters;	/* pidfd */
	struct rcu_head rcu;
	struct pid_level level[];
};
int pid_nr(const struct pid *p);		    /* in current's namespace, 0: not visible */
int pid_nr_global(const struct pid *p);
struct task *task_find(int nr);			    /* thread, in current's namespace; under RCU */
struct task *task_find_get(int nr);		    /* counted; NULL: ESRCH */

struct sigaction_kernel {
	ulong handler; /* SIG_DFL 0, SIG_IGN 1 */
	ulong flags;
	ulong restorer;
	u64 mask;
};

struct process {
	refcount_t refs;
	struct spinlock siglock;
	struct task *leader;
	struct list threads;		/* f */
	unsigned nr_threads;		/* f */
	struct pid *pid, *pgrp, *session; /* f */
	struct process *parent;		/* f */
	struct list children, sibling;	/* f */
	struct list pgrp_link, session_link;
	struct waitq child_wait;	/* parents in wait4 */
	struct sigaction_kernel actions[64]; /* s; shared by CLONE_SIGHAND through `actions_shared` when set */
	struct list sig_queue;		/* s: signals for the whole process */
	u64 sig_pending;
	int exit_status;		/* as wait4 gives it */
	bool group_exiting, stopped, continued; /* s */
	int stop_signal;
	void *tty;			/* controlling terminal */
	struct rlimit rlimits[RLIM_NLIMITS];
	int exit_signal;
	bool did_exec, is_child_subreaper;
	u64 user_ns, system_ns, cuser_ns, csystem_ns, min_faults, maj_faults, cmin_faults, cmaj_faults, nvcsw, nivcsw, cnvcsw, cnivcsw;
	u64 max_rss_pages, cmax_rss_pages;
	void *posix_timers, *itimers;
	s16 oom_score_adj;
	ulong personality;
	struct rcu_head rcu;
};

extern struct spinlock process_list_lock;

/* Signals. info: struct siginfo of asm/siginfo.h (128 bytes) or NULL for SI_KERNEL. 0 or -errno (EAGAIN: queue full). */
int signal_send_task(int sig, const void *info, struct task *t);
int signal_send_process(int sig, const void *info, struct process *p);
int signal_send_group(int sig, const void *info, struct pid *pgrp);
void signal_force(int sig, int code, ulong addr); /* a fault of current: cannot be ignored or blocked */

/* The limit of current (rlim_cur). */
u64 process_rlimit(unsigned which);

/* Boot: the first user program in this task. Tries init=, /init, /sbin/init, /etc/init, /bin/init, /bin/sh. */
void __noreturn process_start_init(void);
int __must_check process_exec(const char *path, char *const argv[], char *const envp[]); /* kernel strings */
void __noreturn process_exit_group(int status);

#endif
