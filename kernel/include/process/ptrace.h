/* SPDX-License-Identifier: MIT
 *
 * Tracing of one process's threads by another (ptrace(2)): who traces whom, the tracee's stops, and what requests need.
 *
 * A tracee stops at one of these points, tells its tracer (SIGCHLD and wait4) and sleeps until it is resumed:
 *   signal   before a signal is delivered; the tracer may drop or replace it
 *   syscall  before and after a call, while resumed by PTRACE_SYSCALL
 *   event    fork, clone, exec, exit ..., if PTRACE_O_* asks for it
 *   group    the process is stopped by job control
 *   trap     PTRACE_INTERRUPT, or a new thread of a seized tracee
 *
 * Ownership: a link belongs to its task and lives as long; tracer says whether it is in use. A tracer that ends lets go
 * of all. Lock letters: f process_list_lock, o only the tracee, w written by the tracer while the tracee is stopped.
 */
#ifndef PROCESS_PTRACE_H
#define PROCESS_PTRACE_H

#include <arch/thread.h>
#include <process/process.h>

struct ptrace_link {
	struct task *task;      /* I: the tracee */
	struct process *tracer; /* f: NULL: not traced */
	struct list link;       /* f: in tracer->tracees */
	unsigned options;       /* f: PTRACE_O_* */
	bool seized;            /* f */
	bool stopped;           /* f: requests are allowed */
	bool told;              /* f: wait4 has fetched the stop */
	bool listening;         /* f: PTRACE_LISTEN: the end of the group stop resumes it */
	bool frozen;            /* f: a request is under way: not even SIGKILL resumes it */
	bool want_trap;         /* f: shall stop at the next chance */
	bool gone;              /* f: the thread has ended; its status waits for the tracer (the task is counted) */
	bool step;              /* w: the trap flag is ours */
	unsigned group_stop;    /* o: process->stop_gen that has been told */
	int status;             /* f: the stop's signal | event << 8; of a gone one as wait4 gives it */
	int signal;             /* w: what to deliver on resume */
	ulong message;          /* f: PTRACE_GETEVENTMSG */
	u8 syscall_op;          /* f: PTRACE_SYSCALL_INFO_* */
	siginfo_t info;         /* w: of a signal stop; si_signo 0: another kind */
};

static inline bool ptrace_is_traced(const struct task *t)
{
	const struct ptrace_link *l = t->ptrace;

	return l && READ_ONCE(l->tracer);
}

/* The registers of a thread that does not run, or of current, as the ABI's user_regs_struct has them (sys/user.h): of
 * words beyond struct regs only the bases of FS and GS are kept, the rest is 0. */
#define USER_WORDS   27
#define WORD_FS_BASE 21
#define WORD_GS_BASE 22
ulong thread_user_word(const struct task *t, unsigned word);
/* Of such a thread: the first bytes of its XSAVE area in the standard form, with what there is (XCR0) among the legacy
 * part's software bytes (asm/sigcontext.h). As arch_fpu_get. */
#define FXSAVE_BYTES 512
int __must_check thread_user_fpu(struct task *t, void *buf, size_t bytes);

/* ---- requests: kernel/syscall/ptrace.c ---- */
int __must_check ptrace_attach(struct task *t, struct process *tracer, bool seize, unsigned options);
/* A stopped tracee of the caller, counted and frozen until ptrace_end; -ESRCH. stopped false: any tracee. */
int __must_check ptrace_begin(int nr, bool stopped, struct ptrace_link **out);
void ptrace_end(struct ptrace_link *l);
void ptrace_resume(struct ptrace_link *l, int sig); /* between begin and end */
void ptrace_listen(struct ptrace_link *l);
void ptrace_interrupt(struct ptrace_link *l);
void ptrace_detach(struct ptrace_link *l, int sig);

/* ---- stops of current: process, syscall ---- */
bool ptrace_wants_event(unsigned event);          /* PTRACE_EVENT_* */
void ptrace_event(unsigned event, ulong message); /* stops if the tracer wants it */
void ptrace_syscall(const struct regs *r, u8 op); /* PTRACE_SYSCALL_INFO_ENTRY or _EXIT */
void ptrace_exec(int old_nr);                     /* after a successful exec */
int ptrace_signal(int sig, siginfo_t *info);      /* what to deliver instead, 0: nothing */
bool ptrace_group_stop(int sig);                  /* false: not traced */
void ptrace_trap(void);
bool ptrace_trap_wanted(const struct task *t);
bool ptrace_joins_stop(const struct task *t); /* a group stop is under way that t has not told its tracer */

/* ---- births and deaths ---- */
int __must_check ptrace_prepare_child(struct task *t);                     /* -ENOMEM */
void ptrace_adopt_child(struct task *t, u64 clone_flags, int exit_signal); /* f held */
unsigned ptrace_clone_event(u64 clone_flags, int exit_signal);             /* PTRACE_EVENT_FORK, VFORK or CLONE */
void ptrace_thread_ends(int status);                                       /* current, f held */
bool ptrace_holds(const struct process *p); /* f held: a zombie that its tracer has not seen */
void ptrace_tell_end(struct process *p);    /* f held */
void ptrace_release_all(struct process *tracer);
void ptrace_forget(struct ptrace_link *l); /* f held; the caller then puts the task of a gone one */

/* For wait4: the next event among the caller's tracees that `wants` accepts. f held. */
struct ptrace_link *ptrace_next_event(struct process *tracer, bool (*wants)(struct task *t, void *arg), void *arg,
				      bool *any);

#endif
