/* SPDX-License-Identifier: MIT
 *
 * A task: what the scheduler runs. One struct per thread; threads of a process share the objects that upper parts hang
 * on it (mm, files, signal state ...), which this part knows only as opaque pointers.
 *
 * Lifetime: task_create gives one reference to the creator; the scheduler drops its own after the last switch away.
 * Look-ups by pid happen under RCU; task_get only on a task that is not dead (refcount_inc_not_zero inside).
 *
 * Lock letters: I immutable after creation; o only the task itself (current); t task->lock; r run queue lock;
 * s process->sighand lock (RANK_SIGHAND); f RANK_TASKLIST; a atomic.
 */
#ifndef TASK_TASK_H
#define TASK_TASK_H

#include <arch/percpu.h>
#include <arch/thread.h>
#include <core/rcu.h>
#include <core/spin.h>
#include <lib/atomic.h>
#include <lib/cpumask.h>
#include <lib/list.h>
#include <lib/rbtree.h>
#include <task/cred.h>
#include <task/wait.h>

struct mm;
struct process;
struct tenant;
struct pid;
struct completion;

enum task_state {
	TASK_RUNNING,         /* on a CPU or on a run queue */
	TASK_INTERRUPTIBLE,   /* a signal wakes it */
	TASK_UNINTERRUPTIBLE, /* only its event wakes it */
	TASK_KILLABLE,        /* only its event or a fatal signal wakes it */
	TASK_STOPPED,         /* job control */
	TASK_TRACED,
	TASK_FROZEN, /* until its tenant thaws or a fatal signal */
	TASK_DEAD,   /* has switched away for the last time, or is about to */
};

/* task->work: reasons to call upcall_return_to_user. Atomic bits. */
#define WORK_RESCHED  BIT(0)
#define WORK_SIGNAL   BIT(1)
#define WORK_NOTIFY   BIT(2) /* task_work callbacks */
#define WORK_THROTTLE BIT(3) /* its tenant's CPU time is used up: sched_throttle_point */
#define WORK_MEMORY   BIT(4) /* its tenant is above memory.high: tenant_high_point */
#define WORK_RSEQ     BIT(5) /* it has lost the CPU, and has registered for rseq(2) */

/* task->syscall_work: what looks at each system call. Atomic bits. */
#define SYSCALL_WORK_TRACE   BIT(0)
#define SYSCALL_WORK_SECCOMP BIT(1)

enum sched_class { SCHED_CLASS_FAIR, SCHED_CLASS_FIFO, SCHED_CLASS_RR, SCHED_CLASS_IDLE, SCHED_CLASS_DEADLINE };

struct pi_waiter;
struct task {
	struct arch_thread arch; /* o */
	ulong work;              /* a: WORK_* */
	void *stack;             /* I: KERNEL_STACK_BYTES, guard page below */

	/* the scheduler's */
	struct spinlock lock;               /* RANK_TASK */
	u32 state;                          /* t: enum task_state */
	bool on_queue, on_cpu;              /* r */
	bool moved;                         /* r: has changed its CPU since it last ran */
	unsigned cpu;                       /* t: where it runs or ran last */
	cpumask_t affinity;                 /* t */
	u8 class;                           /* t: enum sched_class */
	u8 rt_priority;                     /* t: 1..99 */
	u8 boost;                           /* t: sched_boost */
	s8 nice;                            /* t */
	u8 policy;                          /* t: SCHED_* of linux/sched.h, as user space set it */
	bool reset_on_fork;                 /* t */
	struct sched_dl *dl;                /* t; NULL: it never had a deadline */
	u64 timer_slack_ns;                 /* o */
	u64 timer_slack_default_ns;         /* I: its maker's, which prctl(PR_SET_TIMERSLACK, 0) brings back */
	struct rb_node run_node;            /* r: fair tree */
	struct list run_link;               /* r: real-time lists */
	u64 vruntime, slice_end, run_start; /* r: ns */
	u64 runtime_ns, user_ns, system_ns; /* o, readers tolerate tearing-free staleness */
	u64 voluntary_switches, preempted_switches;
	u64 wait_since; /* r: when it became runnable or slept, for schedstat */
	u64 run_delay_ns;

	refcount_t refs;
	struct rcu_head rcu;
	char comm[16];     /* t */
	unsigned flags;    /* o: TASK_F_* */
	struct cred *cred; /* RCU; written by the task itself */

	/* upper parts' */
	struct mm *mm;           /* o; readers: task->lock. NULL: kernel thread or exited */
	struct mm *active_mm;    /* r: whose tables are loaded */
	struct process *process; /* I; NULL for kernel threads */
	struct list thread_link; /* f: in process->threads */
	struct pid *pid;         /* I: the thread's ids */
	int tid;                 /* its number in the first namespace; 0: idle */
	void *files, *fs, *ns;   /* t: struct files *, struct fs_context *, struct ns_set * (NULL: the first ones) */
	u8 psi;                  /* r: PSI_T_*, as its tenants count it */
	u8 stalls;               /* o: psi_stall_begin, nested */
	u16 memory_id;           /* I: the tenant that pays for its stack, by number; 0: nobody */
	struct tenant *tenant;   /* RCU: who pays */
	struct list tenant_link; /* RANK_TENANT; empty: exited */
	bool tenant_stopped;     /* RANK_TENANT: counted in its tenant's stopped */
	struct {
		u64 ns, user_ns, system_ns, faults, major_faults;
	} tenant_since;  /* RANK_TENANT: what it had consumed when it came to its tenant */
	u32 run_weight;  /* r: what it adds to its tenant's sum while it is on a queue; 0: real time */
	void *perf;      /* struct perf_context *, or NULL */
	u16 cache_group; /* resctrl's number of the group that it is in; 0: the default one. Any writer, one word */

	/* signals of the thread (process/signal.c) */
	u64 sig_blocked, sig_saved;       /* o; s for readers. bit n-1 = signal n */
	u64 sig_waited;                   /* s: what sigtimedwait waits for: not ignored, not deadly meanwhile */
	bool sig_restore;                 /* o: put sig_saved back after sigsuspend and friends */
	struct list sig_queue;            /* s */
	u64 sig_pending;                  /* s */
	ulong altstack_sp, altstack_size; /* o */
	int altstack_flags;

	/* restart of interrupted calls: absolute deadlines, not remaining times */
	struct {
		long (*fn)(struct task *);
		u64 deadline_ns;
		ulong args[4];
	} restart; /* o */

	u32 __user *clear_child_tid, *set_child_tid; /* o */
	void __user *robust_list;                    /* o */
	struct pi_waiter *pi_waiters, *pi_wait;      /* RANK_PI: who waits for a lock of ours; our own wait */
	void __user *rseq;                           /* o: what rseq(2) registered; NULL: nothing */
	u32 rseq_signature;                          /* o */
	ulong syscall_nr;                            /* o: for tracing */
	u32 syscall_work;                            /* a: SYSCALL_WORK_* */
	struct list task_work;                       /* t: callbacks before return to user */
#ifdef OSTROM_DEBUG
	struct {
		const void *lock;
		unsigned rank;
	} held[12]; /* o: sleeping locks, in the order taken */
	unsigned nr_held;
#endif
	void *waiting_on;           /* o: what /proc/PID/wchan and `why` show */
	u64 start_ns;               /* I: clock_ns at creation */
	u64 min_faults, maj_faults; /* o */
	struct mm *fault_mm;        /* o: whose lock it holds for reading in a fault, so that reclaim may look at it */
	unsigned alloc_scope;       /* o: SCOPE_NOIO, SCOPE_NOFS nesting bits */
	void *ptrace;               /* f: struct ptrace_link * */
	void *seccomp;              /* process->siglock for writers: filters */
	u8 seccomp_mode;            /* SECCOMP_MODE_* */
	void *sem_undo;             /* o: adjustments of System V semaphores (part ipc) */
	u64 dirtied_pages, dirty_pause_pages; /* o: see vfs/writeback.h */
	u16 io_priority;                      /* as ioprio_set(2) encodes it; any writer */
	struct mempolicy *mem_policy;         /* o; RCU for others: task/mempolicy.h, counted */
	struct mem_range *mem_range;          /* o: what is being filled, while it faults; or NULL */
	u8 mem_turn;                          /* o: pages that were interleaved */
	void *plug;                           /* o: block requests held back */
	struct completion *vfork_done;        /* o: the parent in vfork, until exec or exit */
};

#define TASK_F_KTHREAD    BIT(0)
#define TASK_F_EXITING    BIT(1)
#define TASK_F_FORKED     BIT(2) /* has not called exec since fork */
#define TASK_F_IO_WAIT    BIT(3)
#define TASK_F_OVER_NPROC BIT(5) /* its new user had too many tasks already: exec will be refused */
#define TASK_F_MEMALLOC   BIT(4) /* reclaim: may use the reserve */

#define SCOPE_NOIO BIT(0)
#define SCOPE_NOFS BIT(1)

#define KERNEL_STACK_BYTES (4 * PAGE_SIZE)

DECLARE_PER_CPU(struct task *, current_task);
#define current this_cpu_read_stable(current_task)

/* A task that waits for its first task_wake (state TASK_UNINTERRUPTIBLE), with scheduling attributes, cred and tenant
 * of current. -ENOMEM, -EAGAIN. */
int __must_check task_create(struct task **out, const char *name, struct tenant *in); /* in NULL: current's */
void task_set_name(struct task *t, const char *name, bool by_exec);
void task_get(struct task *t);
void task_put(struct task *t);
/* task's upcall into process: the last reference is gone, drop what upper parts hung on t (pid, process). May not
 * sleep. */
void upcall_task_free(struct task *t);
/* Last thing a task does. */
void __noreturn task_exit(void);

/* A kernel thread, running at once: in the root tenant, with all rights, on any CPU, whoever starts it. out: NULL, or
 * *out is a reference, which kthread_join gives back. */
int __must_check kthread_run(struct task **out, void (*fn)(void *), void *arg, const char *name_fmt, ...)
	__printf(4, 5);
/* Waits until its function has returned, which somebody has told it to; what that used may be freed then. *thread: NULL
 * afterwards, and allowed. */
void kthread_join(struct task **thread);
/* task's upcalls into process: t, which is about to run for the first time, gets its number (-ENOMEM, -EAGAIN);
 * current, a kernel thread, gives its number back. */
int __must_check upcall_kthread_begin(struct task *t);
void upcall_kthread_end(void);

static inline bool work_pending(const struct task *t)
{
	return READ_ONCE(t->work) != 0;
}
void task_set_work(struct task *t, ulong bits); /* atomic; kicks the CPU if it runs in user mode there */
void task_clear_work(struct task *t, ulong bits);

struct task_work {
	struct list link;
	void (*fn)(struct task_work *);
};
void task_work_run(void); /* process calls it before the return to user mode, and at exit */
int task_work_add(struct task *t, struct task_work *w); /* runs in t before it returns to user; -ESRCH when exiting */

/* Boot. task_boot: `current` and the run queue of the boot CPU exist (needs per-CPU data only). task_init: tasks can be
 * made (needs slab); starts the work pool. The boot task becomes the boot CPU's idle task by sched_start(): it must not
 * sleep, so kmain starts a kernel thread for everything that may. task_prepare_cpu: before another CPU is started; its
 * idle task's kernel stack (lowest address, KERNEL_STACK_BYTES) is what it boots on. */
void task_boot(void);
void task_init(void);
int __must_check task_prepare_cpu(unsigned cpu, void **stack_out);

#endif
