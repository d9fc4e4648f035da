/* SPDX-License-Identifier: MIT
 *
 * Problem: a program wants to hear of its own samples at once: a SIGTRAP for each (attr.sigtrap), or the signal that it
 * asked for on the descriptor (O_ASYNC, F_SETSIG). Samples are taken where no signal can be sent.
 *
 * Idea: a note is hung on the current task and read before it returns to user mode, which is soon: the sample was
 * taken there or on the way. A note holds the descriptor's file, so that both may go meanwhile.
 *
 * Contract: perf_event_open(2), "Overflow handling" and sigtrap. Without memory for a note the signal is lost. Events
 * that write into a ring tell O_ASYNC by its wake-ups instead, as poll(2) hears of them. What the scheduler counts
 * (switches, migrations, its tracepoints) tells nobody: its locks are held.
 *
 * Locks: none of its own; IRQs off in perf_tell.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/thread.h>
#include <asm/siginfo.h>
#include <lib/string.h>
#include <linux/fcntl.h>
#include <process/async.h>
#include <process/process.h>
#include <vfs/vfs.h>

struct note {
	struct task_work work;
	struct file *file;
	unsigned events; /* EPOLL*; 0: none */
	bool is_trap;
	u32 type;
	u64 addr, data;
};

static void trap(const struct note *n)
{
	siginfo_t info;

	memset(&info, 0, sizeof(info));
	info.si_signo = SIGTRAP;
	info.si_code = TRAP_PERF;
	info.si_addr = (void *)n->addr;
	info.si_perf_data = n->data;
	info.si_perf_type = n->type;
	signal_force_info(SIGTRAP, &info);
}

static void read_note(struct task_work *w)
{
	struct note *n = container_of(w, struct note, work);

	if (n->is_trap && !(current->flags & TASK_F_EXITING))
		trap(n);
	if (n->events)
		async_tell(n->file, n->events);
	file_put(n->file);
	kfree(n);
}

void perf_tell(struct perf_event *e, u64 addr, unsigned events)
{
	struct perf_event *top = e->parent ? e->parent : e;
	bool is_async = (READ_ONCE(top->file->flags) & FASYNC) && !rcu_deref(top->ring);
	struct note *n;

	if ((!e->attr.sigtrap && !is_async) || !current->process)
		return;
	n = kmalloc(sizeof(*n), ALLOC_ATOMIC);
	if (!n || !refcount_inc_not_zero(&top->file->refs)) { /* being closed */
		kfree(n);
		return;
	}
	*n = (struct note){ .work.fn = read_note,
			    .file = top->file,
			    .events = is_async ? events : 0,
			    .is_trap = e->attr.sigtrap,
			    .type = e->attr.type,
			    .addr = addr,
			    .data = e->attr.sig_data };
	if (task_work_add(current, &n->work)) {
		file_put(n->file);
		kfree(n);
	}
}
