/* SPDX-License-Identifier: MIT
 *
 * Where perf follows tasks and what they do. Unused, each is a patched-out branch. One user: the perf part, which sets
 * task_hooks once, before it raises a key.
 *
 * Contexts. switch_out: the run queue is locked, IRQs off, current is prev. switch_in: no locks, IRQs off, current
 * runs; prev may be gone, only its address and its ids count. count: any context but NMI; regs NULL: of the caller. The
 * others: process context, no locks, current is who forks, runs exec, exits, maps,
 * steps.
 */
#ifndef TASK_HOOKS_H
#define TASK_HOOKS_H

#include <core/static_branch.h>
#include <lib/types.h>

struct mm;
struct regs;
struct task;

/* What can be counted without a record; the values are PERF_COUNT_SW_* of linux/perf_event.h. */
enum task_count {
	COUNT_PAGE_FAULTS = 2,
	COUNT_CONTEXT_SWITCHES = 3,
	COUNT_CPU_MIGRATIONS = 4,
	COUNT_PAGE_FAULTS_MIN = 5,
	COUNT_PAGE_FAULTS_MAJ = 6,
	COUNT_EMULATION_FAULTS = 8,
	COUNT_CGROUP_SWITCHES = 11,
	COUNT_KINDS = 12,
};

struct task_hooks {
	void (*switch_out)(struct task *prev, struct task *next);
	void (*switch_in)(struct task *prev);
	int (*fork)(struct task *child); /* built, not yet visible: may refuse */
	void (*fork_failed)(struct task *child);
	void (*forked)(struct task *child);             /* visible, not yet running */
	void (*exec)(void);                             /* runs the new program; its memory is in place */
	void (*renamed)(struct task *t);                /* by prctl or a write to comm */
	void (*moved_tenant)(void);                     /* some task, by whoever is current */
	void (*tenant_named)(u64 id, const char *path); /* a new cgroup is there */
	void (*exit)(void);                             /* still has its memory */
	void (*mapped)(struct mm *m, ulong addr);       /* a new VMA begins there */
	void (*count)(enum task_count what, u64 n, const struct regs *regs, ulong addr);
	bool (*stepped)(struct regs *r,
			ulong reason);    /* a debug trap from user mode (DR6): true if it was the hook's */
	void (*step_end)(struct regs *r); /* a signal is about to look at the registers of current */
};
extern const struct task_hooks *task_hooks;

DECLARE_STATIC_KEY(task_switch_key); /* switch_out, switch_in */
DECLARE_STATIC_KEY(task_life_key);   /* fork .. mapped */
DECLARE_STATIC_KEY(task_step_key);   /* stepped, step_end */
extern struct static_key task_count_keys[COUNT_KINDS];

#define task_count(what, n, regs, addr)                                                                                \
	do {                                                                                                           \
		if (static_branch(&task_count_keys[what]))                                                             \
			task_hooks->count(what, n, regs, addr);                                                        \
	} while (0)

#endif
