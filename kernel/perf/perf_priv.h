/* SPDX-License-Identifier: MIT
 *
 * Inside the perf part: events, contexts, rings.
 *
 * An event's life:
 *
 *   state     counts?  how it gets there
 *   OFF       no       opened disabled, ioctl DISABLE, REFRESH's limit reached
 *   ERROR     no       pinned, and no counter was left for it; reads give nothing until it is enabled again
 *   INACTIVE  no       enabled, but its task does not run here now, or others have the counters
 *   ACTIVE    yes      its context is on a CPU that it matches
 *   EXITED    no       its task has ended; the descriptor still reads
 *
 * Lock letters: I immutable; p perf_lock (RANK_SUBSYS): who belongs to whom; c ctx->lock (RANK_PERF), IRQs off;
 * l only on the CPU where the event is active, IRQs off; g ring->lock (RANK_PERF_RING). A context's states change under
 * its lock, and on the CPU where it is active (context_call sees to that), so that the lists of a CPU need no lock.
 */
#ifndef PERF_PRIV_H
#define PERF_PRIV_H

#include <arch/percpu.h>
#include <arch/thread.h>
#include <core/irq.h>
#include <core/trace.h>
#include <mm/mapping.h>
#include <perf/output.h>
#include <perf/attr.h>
#include <perf/filter.h>
#include <perf/pmu_x86.h>
#include <perf/ring.h>
#include <task/hooks.h>
#include <task/mutex.h>
#include <task/task.h>
#include <task/timer.h>

struct file;
struct poll_table;
struct regs;
struct perf_context;
struct perf_event;

enum perf_state { PERF_EXITED = -3, PERF_ERROR = -2, PERF_OFF = -1, PERF_INACTIVE = 0, PERF_ACTIVE = 1 };

struct perf_kind {                             /* a source of events */
	u32 type;                              /* PERF_TYPE_* */
	int (*init)(struct perf_event *e);     /* attributes are for us: 0, or -errno; -ENOENT: not ours after all */
	void (*destroy)(struct perf_event *e); /* may sleep */
	void (*start)(struct perf_event *e);   /* becomes active here: ctx locked, IRQs off */
	void (*stop)(struct perf_event *e);
	u64 (*count)(struct perf_event *e, u64 now); /* NULL: e->count */
	void (*fold)(struct perf_event *e); /* while active, on its CPU: brings e->count up to date. NULL: it is */
	void (*arm)(struct perf_event *e);  /* after start, without locks: timers. NULL: none */
	void (*tick)(struct perf_event *e); /* of those with a timer: in its interrupt, while active */
};
extern const struct perf_kind perf_kind_software, perf_kind_clock, perf_kind_tracepoint, perf_kind_memory,
	perf_kind_memory_ops, perf_kind_breakpoint, perf_kind_hardware, perf_kind_raw;

struct perf_ring {
	struct perf_ring_data data; /* g */
	struct spinlock lock;       /* g */
	refcount_t refs;
	struct mapping map;
	atomic_t mapped;             /* VMAs */
	struct spinlock events_lock; /* RANK_SUBSYS_SPIN: events */
	struct list events;          /* that write here: e->ring_link */
	struct deferred wake;
	bool waking;   /* atomic: the job is on its way, with a reference */
	u32 ready;     /* atomic: EPOLLIN since the last poll */
	kuid_t payer;  /* I */
	void *pages[]; /* user page, then data */
};

struct perf_event {
	struct perf_event_attr attr;      /* I, but for period and filter by ioctl */
	const struct perf_kind *kind;     /* I */
	u64 id;                           /* I */
	int cpu;                          /* I: -1 any */
	struct tenant *tenant;            /* I: counts while one of its tasks, or of those below, runs; NULL: whoever */
	struct file *file;                /* I; NULL: inherited */
	struct perf_event *parent;        /* I: of an inherited one: the one with the file */
	struct list children, child_link; /* p */

	struct perf_context *ctx;           /* p; NULL: the task has ended */
	struct list ctx_link;               /* c */
	struct perf_event *leader;          /* c */
	struct list siblings, sibling_link; /* c: of a leader */
	unsigned nr_siblings;

	enum perf_state state;                               /* c */
	unsigned on_cpu;                                     /* c: while active */
	u64 enabled_ns, running_ns, stamp;                   /* c: times of the context's clock */
	u64 count;                                           /* l */
	u64 start_ns;                                        /* c: clocks, while active */
	u64 child_count, child_enabled_ns, child_running_ns; /* p: of children that have ended */
	u64 lost;                                            /* g */

	u64 period, last_period; /* l */
	s64 left;                /* l: until the next sample; of a walk: accesses */
	u64 freq_stamp;          /* l */
	struct timer timer;      /* clocks */
	u64 timer_left;          /* l: ns until the next sample when it was last taken off */
	u64 tick_ns;             /* l: clocks: when this tick began */
	u32 tick_samples;        /* l: since then */
	bool throttled;          /* l: until the next tick */
	int limit;               /* atomic: REFRESH: overflows until it goes off; 0: none */
	u32 wake_count;          /* g: samples since the last wake-up */
	int slot;                /* l: breakpoints, hardware: of the CPU, -1: none */

	struct pmu_event need; /* I: hardware: what counts it; nothing allowed: another kind */
	u64 seen;              /* l: the counter's value when it was last folded in */
	unsigned nr_counters;  /* c: of a leader: events of the group that need one */
	bool is_fresh; /* c: could be active since its last change, but for counters that are about to be given out */
	struct list turn_link; /* c: of such a leader: in ctx->turns */

	struct list fire_link; /* l: perf_cpu's lists */
	struct list side_link; /* l */
	struct list arm_link;  /* l */
	struct list stop_link; /* l: REFRESH's limit is reached */

	struct perf_ring *ring; /* p; readers: IRQs off */
	bool is_mapped;         /* p: the ring is mapped by way of this event, not only written to */
	struct list ring_link;
	struct waitq waiters;
	u32 hung_up; /* poll gives EPOLLHUP */

	struct perf_filter *filter; /* p; readers: IRQs off */
	struct bpf_prog *program;   /* p; readers: IRQs off. NULL: none */
	u32 key_bits;               /* I: which static branches it holds */
	struct rcu_head rcu;
};

struct perf_context {
	struct spinlock lock;
	struct list events; /* c */
	struct list turns;  /* c: groups that need counters, in the order of their turns */
	struct task *task;  /* I: NULL: a CPU's */
	int on_cpu;         /* c: where it is active, -1: nowhere */
	u64 time, stamp;    /* c: ns that it has been active */
	struct rcu_head rcu;
};

struct perf_walk {           /* memory.c: from a tick to the access that is sampled; l */
	struct task *task;   /* it is being stepped; NULL: no walk */
	struct list waiting; /* events that want an access, by fire_link */
	u8 steps;            /* left */
};

struct perf_counters { /* multiplex.c: who has which; l */
	struct pmu_fit fit;
	struct perf_event *on[PMU_COUNTERS_MOST];
	struct timer turn; /* while groups wait, or events are held back */
	bool changed;      /* to be given out anew */
	bool waiting;      /* a group did not fit */
	bool exclusive;    /* one group wants to be alone */
	bool task_first;   /* of those that are not pinned, in this turn */
};

struct perf_cpu {
	struct perf_context ctx;
	unsigned nr_of_tenants;          /* c: events in ctx that have one */
	struct list counts[COUNT_KINDS]; /* active events by what they count */
	struct list points[TRACE_ALL];
	struct list sideband; /* active events that want to be told about tasks and mappings */
	struct list to_arm, to_stop;
	struct perf_walk walk;
	struct perf_event *watches[ARCH_WATCHES]; /* active breakpoints, by slot */
	struct perf_counters counters;
	bool in_program;
	bool busy; /* inside a delivery: what it causes itself is not delivered */
	u64 chain[PERF_MAX_STACK_DEFAULT + 16];
};
DECLARE_PER_CPU(struct perf_cpu, perf_cpu);
extern struct mutex perf_lock;
extern struct perf_limits perf_limits;
extern int perf_mlock_kb;

/* What a sample is made from. */
struct perf_sample {
	const struct regs *regs;               /* where it happened */
	u64 addr, period, weight, data_source; /* addr: the program's; 0 none */
	const void *raw;
	u32 raw_bytes;
	bool may_tell; /* no locks are held: current may be sent a signal */
};

/* ---- context.c ---- */
void context_init(struct perf_context *ctx, struct task *t);
/* Runs fn with the context locked and IRQs off, on its CPU if it is active. perf_lock held. */
void context_call(struct perf_context *ctx, void (*fn)(struct perf_context *ctx, void *arg), void *arg);
int __must_check context_of_task(struct task *t, struct perf_context **out); /* made if there is none; perf_lock held */
void context_drop_if_empty(struct perf_context *ctx);
void context_add(struct perf_context *ctx, struct perf_event *e);
void context_remove(struct perf_event *e); /* off its lists; its leader's or siblings' groups are mended */
void context_exit(struct perf_event *e);   /* its task ends: it keeps its group, for reading */
void event_enable(struct perf_event *e);   /* with context_call */
void event_disable(struct perf_event *e);
void event_enable_locked(struct perf_context *ctx, struct perf_event *e);
void event_off_locked(struct perf_event *e, enum perf_state to);
void context_out(struct perf_context *ctx);
void context_in(struct perf_context *ctx);
/* After changes, IRQs off, no locks: counters are given out, timers armed. */
void perf_context_settle(void);
/* Of one event whose context is active here and locked: without a look at its group. */
bool event_may_run(const struct perf_event *e); /* enabled, not active, and matches what runs here */
void event_switch_on(struct perf_event *e, u64 now);
void event_switch_off(struct perf_event *e, u64 now);
void event_set_error(struct perf_event *e, u64 now);
struct event_values {
	u64 count, enabled_ns, running_ns;
};
void event_values(struct perf_event *e, struct event_values *out);      /* with children; perf_lock held */
void event_values_here(struct perf_event *e, struct event_values *out); /* active here, IRQs off */
void perf_switch_out(struct task *prev, struct task *next);
void perf_switch_in(struct task *prev);
void perf_moved_tenant(void); /* a task has another tenant now: events of tenants look again, on all CPUs */

/* ---- event.c ---- */
/* What a program asks for, checked as far as it does not depend on the kind of event. 0 or -errno. */
int __must_check perf_copy_attr(struct perf_event_attr *a, void __user *from);
bool perf_is_perfmon(void); /* current may do what perf_event_paranoid forbids */
void event_free(struct perf_event *e);
int __must_check event_create(const struct perf_event_attr *attr, const struct perf_kind *kind, int cpu,
			      struct perf_event *parent, struct perf_event **out);
int perf_inherit(struct task *child);
void perf_drop_task(struct task *t); /* it ends: its events go, or stay as descriptors */

void perf_release(struct file *f);

/* ---- output.c ---- */
void perf_overflow(struct perf_event *e, const struct perf_sample *s);
void perf_settle(struct perf_cpu *c); /* after deliveries, without ctx->lock: what they asked for */
/* n units happened; IRQs off, on the event's CPU. s->regs may not be NULL. */
void perf_deliver(struct perf_event *e, u64 n, struct perf_sample *s);
void perf_take_sample(struct perf_event *e, struct perf_sample *s); /* its period is over: e->left <= 0 */
u64 perf_time(const struct perf_event *e);
/* A record with the sample_id behind it. extra: bytes of body (a multiple of 8). */
struct perf_record {
	struct perf_ring_write w;
	struct perf_ring *ring;
	struct perf_event *event;
};
bool perf_record_begin(struct perf_record *r, struct perf_event *e, u32 type, u16 misc, u32 body_bytes);
void perf_record_end(struct perf_record *r);
void perf_wake(struct perf_event *e, struct perf_ring *ring);
bool perf_excluded(const struct perf_event *e, const struct regs *regs);

/* ---- callchain.c ---- */
const struct regs *perf_user_regs(const struct regs *regs); /* NULL: a kernel thread */
unsigned perf_callchain(const struct perf_event *e, const struct regs *regs, u64 *to, unsigned most);
struct perf_caller { /* registers that stand for the place of the call */
	u64 words[21];
};
const struct regs *perf_caller_regs(struct perf_caller *c, ulong ip, ulong bp, ulong sp);
#define PERF_CALLER_REGS(c)                                                                                            \
	perf_caller_regs(c, (ulong)__builtin_return_address(0), *(ulong *)__builtin_frame_address(0),                  \
			 (ulong)__builtin_frame_address(0) + 16)

/* ---- sideband.c ---- */
bool perf_wants_sideband(const struct perf_event_attr *a);
void sideband_switch(struct perf_event *e, struct task *other, bool out, bool preempted);
int perf_hook_fork(struct task *child);
void perf_hook_fork_failed(struct task *child);
void perf_hook_forked(struct task *child);
void perf_hook_exec(void);
void perf_hook_renamed(struct task *t);
void perf_hook_tenant(u64 id, const char *path);
void perf_hook_exit(void);
void perf_hook_mapped(struct mm *m, ulong addr);

/* ---- software.c, tracepoint.c ---- */
void perf_count(enum task_count what, u64 n, const struct regs *regs, ulong addr);
void perf_count_sched(enum task_count what);
void perf_tracepoint(unsigned id, const void *record, size_t size, u64 count, struct task *about);

/* Kinds that sample by time: ns in attr.sample_period, or a frequency. */
void perf_clock_init(struct perf_event *e);
void perf_clock_destroy(struct perf_event *e);
void perf_clock_stop(struct perf_event *e);
void perf_clock_arm(struct perf_event *e);

#define PERF_TICK_NS (4 * NSEC_PER_MSEC) /* what the limit of samples is counted in, and the length of a turn */
/* Another sample in this tick: true if it was the last one that may be taken; a record says so. */
bool perf_throttle(struct perf_event *e, u64 now);
void perf_unthrottle(struct perf_event *e);

/* ---- hardware.c ---- */
void hardware_go(struct perf_event *e); /* on its counter (e->slot), here */
void hardware_halt(struct perf_event *e);
const struct pmu *hardware_pmu(void); /* PMU_ABSENT: the machine has no counters */

/* ---- pmu_model.c: registers for a processor that has none, if the command line asks for them; else NULL ---- */
#ifdef OSTROM_DEBUG
const struct pmu_msrs *pmu_model(struct pmu *p);
#else
static inline const struct pmu_msrs *pmu_model(struct pmu *p)
{
	return NULL;
}
#endif

/* ---- multiplex.c: for groups that need counters ---- */
bool multiplex_could_fit(const struct perf_event *leader, const struct perf_event *extra); /* extra NULL: as it is */
void multiplex_join(struct perf_event *e); /* e is in its group, in e->ctx; locked */
void multiplex_leave(struct perf_event *e);
void multiplex_release(struct perf_event *e);          /* it stops: its counter is free */
void multiplex_settle(struct perf_cpu *c);             /* IRQs off, no locks */
void multiplex_hold(struct perf_cpu *c, u64 until_ns); /* an event is held back until then */
void multiplex_init(struct perf_cpu *c);

/* ---- breakpoint.c ---- */
bool perf_breakpoint_fits(const struct perf_context *ctx, int cpu);
int __must_check perf_breakpoint_modify(struct perf_event *e, const struct perf_event_attr *a); /* perf_lock held */
void perf_watch_hit(struct regs *r, unsigned slots);                                            /* IRQs off */

/* ---- program.c ---- */
struct programs;
const struct programs *perf_programs_of(unsigned id); /* of a tracepoint; NULL: none. IRQs off, here and below */
bool perf_programs_pass(struct perf_cpu *c, const struct programs *p, const void *record);
bool perf_program_wants(struct perf_cpu *c, const struct bpf_prog *program, const struct perf_sample *s);
int __must_check perf_program_attach(struct perf_event *e, int fd);                    /* perf_lock held */
long perf_program_query(struct perf_event *e, struct perf_event_query_bpf __user *to); /* perf_lock held */
void perf_program_detach(struct perf_event *e);

/* ---- tell.c ---- */
void perf_tell(struct perf_event *e, u64 addr, unsigned events); /* EPOLL*; IRQs off, no locks */

/* ---- memory.c ---- */
#define PERF_TYPE_IBS_OP    9 /* numbers above PERF_TYPE_MAX are a kernel's own; clients read them from sysfs */
#define PERF_IBS_COUNT_OPS  (1ULL << 19)
#define PERF_RAW_MEM_LOADS  0x01cdULL /* event and umask, as Intel numbers them since 2011 */
#define PERF_RAW_MEM_STORES 0x82d0ULL
bool perf_stepped(struct regs *r, ulong reason);
void perf_step_end(struct regs *r);
/* The page behind a user address of current: its bytes (0: not there) and the physical address. IRQs off. */
size_t perf_translate(ulong va, u64 *phys);

/* ---- mmap.c ---- */
int perf_mmap(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out);
void ring_get(struct perf_ring *r);
void ring_put(struct perf_ring *r);
void ring_attach(struct perf_event *e, struct perf_ring *r); /* NULL: detach; perf_lock held */
int event_set_output(struct perf_event *e, struct perf_event *to);
void event_user_page(struct perf_event *e);

/* ---- files.c ---- */
extern const struct file_ops perf_file_ops;

#endif
