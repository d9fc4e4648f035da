/* SPDX-License-Identifier: MIT
 *
 * What process's files share.
 */
#ifndef PROCESS_PRIV_H
#define PROCESS_PRIV_H

#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <mm/mm.h>
#include <process/clone.h>
#include <process/process.h>
#include <task/sched.h>
#include <task/ns.h>
#include <task/tenant.h>

struct file;

/* ---- pid.c ---- */
#define PID_MAX_DEFAULT 32768

struct pid_ns {
	struct ns ns;
	unsigned level;
	struct pid_ns *parent;  /* I; counted */
	struct process *reaper; /* f: who gets the orphans; its end ends the namespace */
	int last;               /* f */
	int max;
	bool dying;        /* f: its reaper has ended, no more members */
	int ended_by;      /* f: signal that its reaper's parent is told, from reboot(2); 0: as the reaper ends */
	ulong *used;       /* f: bitmap of numbers */
	unsigned members;  /* f: numbers given out */
	struct waitq left; /* woken when a number becomes free */
};
extern struct pid_ns pid_ns_first;
bool pid_ns_contains(const struct ns *outer, const struct pid_ns *ns); /* or is the same */
struct pid_ns *pid_ns_for_children(void);                              /* where its children will */
/* Its reaper ends. kill: nobody new may come, and everybody else gets SIGKILL; wait_empty: until they have gone. No
 * locks held. */
void pid_ns_kill(struct pid_ns *ns);
void pid_ns_wait_empty(struct pid_ns *ns);
int pid_ns_ended_by(const struct pid_ns *ns);
bool pid_ns_is_ended_by(const struct process *p);              /* f held */
int pid_create(struct pid_ns *ns, int want, struct pid **out); /* want: clone3's set_tid for the innermost, or 0 */
/* A role of p (thread, process, group, session) has ended; with the last one its numbers become free. f held. */
void pid_check_unused(struct pid *p);
void pid_discard(struct pid *p); /* undoes pid_create; f not held */

/* ---- namespaces.c ---- */
int __must_check namespaces_fork(struct task *t, u64 flags); /* t->fs is there already */

/* ---- process.c ---- */
struct sighand {
	refcount_t refs;
	struct spinlock lock; /* RANK_SUBSYS_SPIN, irqsave: actions, for processes that share it */
	struct sigaction_kernel actions[64];
};
struct process *process_alloc(struct pid *pid); /* takes over a reference of pid */
void process_enroll(struct process *p, struct process *parent, struct pid *pgrp, struct pid *session); /* f held */
void process_join_session(struct process *p, struct pid *session);                                     /* f held */
void process_add_thread(struct process *p, struct task *t);                                            /* f held */
struct sighand *sighand_create(const struct sighand *from);
void sighand_put(struct sighand *s);
struct sigaction_kernel sighand_action(struct process *p, int sig);

/* ---- init.c ---- */
void process_default_limits(struct process *p);

/* ---- fork.c ---- */
/* A task of task_create that has not been published: what it was given so far goes, with both references and the charge
 * of one task to payer. */
void process_drop_unborn(struct task *t, kuid_t payer);

/* ---- helper.c ---- */
/* Starts argv[0] as root in the first namespaces, with no environment and one descriptor, 0: input. Returns when it
 * runs, or -errno of exec. No locks; not killable. */
int __must_check process_run_helper(const char *const argv[], struct file *input);

/* ---- coredump.c ---- */
void core_thread_ends(void);            /* current ends while p->core is there */
void core_interrupt(struct process *p); /* SIGKILL while p->core is there: no more is written. siglock held */

/* ---- signal.c ---- */
struct sigqueue {
	struct list link;
	siginfo_t info;
	struct posix_timer *timer; /* NULL: an ordinary entry, freed when taken */
	bool queued;               /* s: a timer's entry */
};
#define SIG_MASK_STOP   (SIGMASK(SIGSTOP) | SIGMASK(SIGTSTP) | SIGMASK(SIGTTIN) | SIGMASK(SIGTTOU))
#define SIG_MASK_IGNORE (SIGMASK(SIGCHLD) | SIGMASK(SIGCONT) | SIGMASK(SIGURG) | SIGMASK(SIGWINCH))
#define SIG_MASK_CORE                                                                                                  \
	(SIGMASK(SIGQUIT) | SIGMASK(SIGILL) | SIGMASK(SIGTRAP) | SIGMASK(SIGABRT) | SIGMASK(SIGFPE) |                  \
	 SIGMASK(SIGSEGV) | SIGMASK(SIGBUS) | SIGMASK(SIGSYS) | SIGMASK(SIGXCPU) | SIGMASK(SIGXFSZ))
#define SIG_MASK_SYNC                                                                                                  \
	(SIGMASK(SIGSEGV) | SIGMASK(SIGBUS) | SIGMASK(SIGILL) | SIGMASK(SIGTRAP) | SIGMASK(SIGFPE) | SIGMASK(SIGSYS))
#define SIG_MASK_NEVER_BLOCKED (SIGMASK(SIGKILL) | SIGMASK(SIGSTOP))

int signal_dequeue_locked(struct task *t, u64 want, siginfo_t *out); /* siglock held */
void signal_recalc(struct task *t); /* siglock held: WORK_SIGNAL says what is pending */
void signal_wake_thread(struct task *t, bool fatal);
void signal_flush(struct process *p, u64 mask); /* siglock held: forgets pending ones */
void signal_flush_task(struct task *t);         /* of an ending thread; siglock held */
void signal_kill_others(struct process *p);     /* siglock held: SIGKILL to all threads but current */
int signal_send_timer(struct sigqueue *q, struct process *p,
		      struct task *t);                            /* 0 queued, 1 ignored or already queued */
void signal_release_timer(struct sigqueue *q, struct process *p); /* takes it out of any queue */

/* ---- signal_deliver.c ---- */
void group_stop_leave(struct process *p); /* an ending thread: siglock held */

/* ---- exit.c ---- */
void process_notify_parent(struct process *p, int code, int status); /* SIGCHLD, wakes wait4; f held */
void process_reap(struct process *p);       /* f held: a zombie leaves the tree; the caller then does process_bury */
void process_bury(struct process *p);       /* no locks */
void process_forget_thread(struct task *t); /* an ended one gives its number back; f held */
bool process_tell_end(struct process *p);   /* a zombie, to its parent; f held. True: reaped, the caller buries it */
void exit_release_mm(void); /* of current: robust list, clear_child_tid, vfork's parent, the mm itself */

/* ---- exec.c ---- */
void exe_file_share(struct file *f); /* another mm runs the program: one more reference, nobody may write it */

/* ---- exec_rights.c ---- */
/* c, a copy of current's, becomes what it is after exec of f. secure: the program must not trust its environment.
 * -EPERM: capabilities of the file are missing. */
int __must_check exec_rights(struct file *f, struct cred *c, bool *secure);

/* ---- pidfd.c ---- */
int pidfd_create(struct pid *pid, unsigned flags, struct file **out);

/* ---- timers.c ---- */
void timers_exit(struct process *p);                         /* cancels all, for good: nr_threads is 0 */
void timers_free(struct process *p);                         /* nobody has a reference of p any more */
void timers_exec(struct process *p);                         /* POSIX timers go, itimers stay */
void timers_limit(struct process *p);                        /* watches RLIMIT_CPU, if there is one */
void timer_dequeued(struct posix_timer *t, siginfo_t *info); /* siglock held */

/* ---- futex.c ---- */
void futex_exit_robust(void);
void futex_pi_exit(void); /* current ends: those that wait for its locks look again; after futex_exit_robust */
int futex_wake_addr(u32 __user *addr, int nr);
void futex_init(void);

void vdso_init(void); /* vdso.c: boot */

#endif
