/* SPDX-License-Identifier: MIT
 *
 * Processes: groups of threads with one family place, one set of signal handlers, one exit status.
 *
 * Lifetime: a process lives from fork until a parent has waited for it (or ignores it); the struct lives as long as it
 * has references (process_get). Its leader's task stays until then, so that PID look-ups work for a process whose first
 * thread has ended. Look-ups by number run under RCU; the _get forms return counted objects.
 *
 * Lock letters: I immutable after creation; f process_list_lock (RANK_TASKLIST); s process->siglock (RANK_SIGHAND),
 * inside it. Both are always taken with irqsave, because timers and terminals send signals. threads and nr_threads
 * change under both, so either is enough to read them. o only the process's own threads; a atomic.
 */
#ifndef PROCESS_PROCESS_H
#define PROCESS_PROCESS_H

#include <asm/resource.h>
#include <linux/resource.h>
#include <linux/signal.h>
#include <task/mutex.h>
#include <task/task.h>
#include <task/timer.h>

/* ---- ids ---------------------------------------------------------------------------------------- */

/* One struct per number, with a level per nested pid namespace (level 0: the first). */
struct ns;
struct pid_ns;
struct pid_level {
	int nr;
	struct pid_ns *ns;
	struct list hash_link; /* f; readers under RCU */
};
struct process;
struct pid {
	refcount_t refs;
	unsigned depth;            /* index of the innermost level */
	struct task *task;         /* RCU: the thread of this id, NULL: gone */
	struct process *process;   /* RCU: the process of this id, NULL: not a process's, or reaped */
	struct list group;         /* f: processes, process->pgrp_link */
	struct list session;       /* f: processes, process->session_link */
	struct waitq exit_waiters; /* pidfd's poll */
	struct rcu_head rcu;
	struct pid_level level[];
};
int pid_nr(const struct pid *p);        /* in current's namespace, 0: not visible there or p is NULL */
int pid_nr_global(const struct pid *p); /* in the first namespace */
int pid_max(void);                      /* numbers of current's namespace are below */
int __must_check pid_set_max(int max);  /* -EINVAL: not from 301 to the size that its table has */
struct pid *pid_find(int nr);           /* in current's namespace; under RCU */
struct pid *pid_find_get(int nr);       /* counted; NULL: none */
void pid_get(struct pid *p);
void pid_put(struct pid *p); /* NULL is allowed */
struct pid *pid_find_get_in(int nr, const struct pid_ns *ns);
struct pid_ns *pid_ns_current(void); /* where current has its number */
struct ns *pid_ns_as_ns(struct pid_ns *ns);
/* reboot(2) in a namespace: all of it is killed, and the reaper's parent is told that `sig` did it. Does not return. */
void __noreturn pid_ns_reboot(struct pid_ns *ns, int sig);
bool pid_ns_is_first(const struct pid_ns *ns);
void pid_ns_get(struct pid_ns *ns);
void pid_ns_put(struct pid_ns *ns);
struct pid_ns *pid_ns_of(const struct pid *p); /* the innermost; NULL: the first */
int pid_nr_in(const struct pid *p, const struct pid_ns *ns);
struct task *task_find(int nr);     /* thread, in current's namespace; under RCU */
struct task *task_find_get(int nr); /* counted; NULL: ESRCH */
/* The smallest number >= nr in ns that /proc lists, a process's or a kernel thread's; 0: none. */
int pid_next_listed(int nr, const struct pid_ns *ns);
/* The thread with the smallest number >= *nr, which becomes *nr; counted. NULL: none. Numbers are those of current's
 * namespace, or (everywhere) of the first, which has every thread. */
struct task *task_next(int *nr, bool everywhere);

/* ---- processes ------------------------------------------------------------------------------------ */

struct sigaction_kernel { /* as programs have it on x86-64: sigaction(2), "C library/kernel differences" */
	ulong handler;    /* SIG_DFL 0, SIG_IGN 1 */
	ulong flags;
	ulong restorer;
	u64 mask;
};

struct sighand; /* the actions, shared with CLONE_SIGHAND: process/process_priv.h */
struct process_timers;

struct process {
	refcount_t refs;
	struct spinlock siglock;
	struct sighand *sighand;             /* o: replaced by exec alone */
	struct task *leader;                 /* f: counted */
	struct list threads;                 /* fs: task->thread_link */
	unsigned nr_threads;                 /* fs: live ones */
	struct pid *pid;                     /* I: counted */
	struct pid *pgrp, *session;          /* f: counted */
	struct process *parent;              /* f; NULL: kernel */
	struct list children, sibling;       /* f */
	struct list pgrp_link, session_link; /* f */
	struct list tracees;                 /* f: ptrace_link->link: threads that it traces */
	struct waitq child_wait;             /* its threads in wait4 */

	struct list sig_queue;    /* s: signals for the whole process */
	u64 sig_pending;          /* s: bit n-1 = signal n */
	unsigned sig_queued;      /* s: entries in its and its threads' queues, against RLIMIT_SIGPENDING */
	struct waitq signal_wait; /* signalfd: woken at each new signal */

	int exit_status;            /* s: as wait4 gives it */
	int exit_signal;            /* f: to the parent at the end; 0: none, -1: reaps itself */
	bool group_exiting;         /* s: every thread is about to end */
	bool zombie;                /* f: all threads have ended, not yet waited for */
	bool stop_pending, stopped; /* s: a group stop is under way; is complete */
	unsigned stop_left;         /* s: threads that have not stopped yet */
	int stop_signal;            /* s */
	unsigned stop_gen;          /* s: counts stops */
	bool cont_told;             /* s: the parent knows of the last SIGCONT */
	int wait_event;             /* s: what wait4 has not yet fetched: 0, CLD_STOPPED, CLD_CONTINUED */
	struct task *exec_thread;   /* s: a thread that is in exec and kills the others; waits at child_wait */
	struct core_dump *core;     /* s: being written: threads that end leave their registers in it */
	int death_signal;           /* o: prctl(PR_SET_PDEATHSIG) */

	void *tty;                                    /* f: controlling terminal; the tty part owns it */
	struct rlimit rlimits[RLIM_NLIMITS];          /* s for writers */
	bool did_exec, is_subreaper;                  /* o, f */
	u64 user_ns, system_ns, cuser_ns, csystem_ns; /* s: of ended threads; of waited-for children */
	u64 min_faults, maj_faults, cmin_faults, cmaj_faults, nvcsw, nivcsw, cnvcsw, cnivcsw;
	u64 max_rss_pages, cmax_rss_pages;
	struct process_timers *timers; /* itimers and POSIX timers; NULL: never used */
	s16 oom_score_adj;
	ulong personality;
	u64 start_ns; /* I */
	struct rcu_head rcu;
};

ulong __must_check process_list_begin(void); /* takes process_list_lock */
void process_list_end(ulong irq_state);
extern struct spinlock process_list_lock;

void process_get(struct process *p);
void process_put(struct process *p);
struct process *process_find_get(int nr);        /* counted; also a zombie */
struct process *process_of_pid(struct pid *pid); /* counted, or NULL */
/* The process with the smallest number >= *nr in current's namespace, counted; *nr is set to its number. NULL: none. */
struct process *process_next(int *nr);
struct process *process_next_in(int *nr, const struct pid_ns *ns);
int process_parent_nr(void);                        /* of current's process, in its namespace; 0: none there */
struct task *process_leader_get(struct process *p); /* counted */
#define KTHREADD_NR 2                        /* the thread that booted: the parent of all kernel threads, in /proc */
int kthread_parent_nr(const struct task *t); /* t: a kernel thread */
/* Calls fn for each thread, counted, until it returns nonzero; gives that. fn may sleep. */
int process_for_each_thread(struct process *p, int (*fn)(struct task *t, void *arg), void *arg);

struct process_usage {
	u64 user_ns, system_ns, min_faults, maj_faults, nvcsw, nivcsw, max_rss_pages;
};
void process_usage(struct process *p, struct process_usage *own, struct process_usage *children);

/* The limit of current (rlim_cur). */
u64 process_rlimit(unsigned which);
u64 process_threads_max(void);        /* as many as an eighth of the memory has stacks for */
u64 process_tasks_limit(kuid_t user); /* RLIMIT_NPROC as it binds current, were this its user */
void process_limit_changed(struct process *p, unsigned which); /* RLIMIT_CPU takes effect at once */

/* May current's credentials act on t: for signals, ptrace-like looks (/proc/PID/mem ...)? */
bool process_may_signal(struct task *t, int sig);
bool process_may_look(struct task *t);

/* ---- signals ------------------------------------------------------------------------------------------ */

#define SIGMASK(sig) (1ULL << ((sig)-1))

/* info: siginfo_t (128 bytes) or NULL for SI_KERNEL. sig 0 only tests. 0 or -errno (EAGAIN: queue full; ESRCH: it is
 * dead). No rights are checked here. Any context; group takes process_list_lock. */
int signal_send_task(int sig, const siginfo_t *info, struct task *t);
int signal_send_process(int sig, const siginfo_t *info, struct process *p);
int signal_send_group(int sig, const siginfo_t *info, struct pid *pgrp);
void signal_force(int sig, int code, ulong addr); /* a fault of current: cannot be ignored or blocked */
void signal_force_info(int sig, const siginfo_t *info);
/* Takes the next pending signal of `want` from current's thread or process. Its number, or 0. */
int signal_dequeue(u64 want, siginfo_t *out);
u64 signal_pending_mask(struct task *t); /* of the thread and its process */
/* Its tenant has begun or ended to freeze, or it has been moved: it looks anew (task/tenant.h). */
void signal_freeze_kick(struct pid *pid);
void signal_set_blocked(u64 mask);                        /* of current; KILL and STOP are left out */
ulong process_signal_handler(struct process *p, int sig); /* SIG_DFL 0, SIG_IGN 1 */
bool signal_is_ignored(int sig);                          /* current ignores or blocks it (job control in tty) */
int __must_check signal_action(int sig, const struct sigaction_kernel *new,
			       struct sigaction_kernel *old); /* new NULL: only asks */
int signal_pause(void); /* sleeps until a signal is to be handled: -ERESTARTNOHAND */
/* sigtimedwait: the signal taken, -EAGAIN at the deadline (0: do not wait), -EINTR. */
int signal_wait(u64 want, u64 deadline_ns, siginfo_t *out);
/* A mask for the length of one call (ppoll, pselect, epoll_pwait): NULL set changes nothing. end puts the old mask
 * back, unless the call is interrupted, in which case it is restored after the handler. */
int __must_check signal_mask_begin(const u64 __user *set, size_t size);
void signal_mask_end(bool interrupted);

/* ---- job control ---------------------------------------------------------------------------------------- */

static inline bool process_leads_session(const struct process *p)
{
	return p->session == p->pid;
}
bool pgrp_is_orphaned(struct pid *pgrp);
void process_move_group(struct process *p, struct pid *pgrp); /* process_list_lock held */
long process_new_session(void);                               /* setsid: its number, or -EPERM */
/* Each process of the session whose terminal is `from` gets `to`. */
void session_set_tty(struct pid *session, const void *from, void *to);
/* The tty part's: a session leader with a terminal has ended (called without locks). */
extern void (*process_session_end)(struct process *leader);

/* ---- starting and ending --------------------------------------------------------------------------------- */

void pid_init(void);     /* boot: before the first kernel thread, which gets KTHREADD_NR */
void process_init(void); /* boot: caches */
/* Boot: the first user program, in a task of its own with the descriptors and the root of this one, which stays as the
 * kernel threads' parent. Tries init=, /init, /sbin/init, /etc/init, /bin/init, /bin/sh. */
void __noreturn process_start_init(void);
int __must_check process_exec(const char *path, const char *const argv[],
			      const char *const envp[]); /* kernel strings */
void __noreturn process_exit_group(int status);          /* as wait4 gives it */
/* The process ends by sig: writes a core file if it may (core(5)) and marks its status so. No locks. */
void process_dump_core(int sig, const siginfo_t *info);
void __noreturn process_exit_thread(int status); /* of current alone */

#endif
