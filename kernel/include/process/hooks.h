/* SPDX-License-Identifier: MIT
 *
 * Where parts above process follow the lives of tasks: System V semaphores, whose adjustments are undone at exit, and
 * system call filters.
 *
 * The part sets the pointer once at boot. fork with CLONE_SYSVSEM: child is built, not yet visible; -ENOMEM refuses.
 * leave: t is current and ends, or leaves its IPC namespace; or it is a child whose fork has failed. Both may sleep.
 */
#ifndef PROCESS_HOOKS_H
#define PROCESS_HOOKS_H

#include <lib/types.h>

struct task;

struct process_ipc_hooks {
	int (*fork)(struct task *child);
	void (*leave)(struct task *t);
};
extern const struct process_ipc_hooks *process_ipc_hooks;

/* System call filters. share: current has some, and so will child, which nobody sees yet. drop: the last reference of t
 * has gone; does not sleep. */
struct process_seccomp_hooks {
	void (*share)(struct task *child);
	void (*drop)(struct task *t);
};
extern const struct process_seccomp_hooks *process_seccomp_hooks;

#endif
