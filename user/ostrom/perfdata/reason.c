/* SPDX-License-Identifier: MIT
 *
 * Problem: the scheduler says only that a thread sleeps; people ask for what.
 *
 * Idea: the kernel's call chain at the switch names the function that waits. A table of parts of function names, read
 * from the innermost frame outwards, gives the reason; the task state decides where no name does. A thread that
 * could go on and leaves its CPU to nobody was not preempted: its cgroup's quota is used up. A thread that could
 * go on and leaves its CPU idle was not preempted: its cgroup's quota is used up.
 *
 * Contract: reason.h. Names are those of Linux 4.10 to 6.18. Locks: none.
 */
#include "reason.h"

static const struct {
	const char *part;
	enum wait_reason reason;
} table[] = {
	{ "futex", WAIT_LOCK },
	{ "mutex_lock", WAIT_LOCK },
	{ "rwsem_down", WAIT_LOCK },
	{ "percpu_down", WAIT_LOCK },
	{ "__down", WAIT_LOCK },
	{ "rt_mutex", WAIT_LOCK },
	{ "io_schedule", WAIT_IO },
	{ "folio_wait", WAIT_IO },
	{ "wait_on_page", WAIT_IO },
	{ "blkdev_", WAIT_IO },
	{ "jbd2_", WAIT_IO },
	{ "submit_bio_wait", WAIT_IO },
	{ "io_cqring_wait", WAIT_IO },
	{ "read_events", WAIT_IO },
	{ "balance_dirty_pages", WAIT_IO },
	{ "rq_qos_wait", WAIT_IO },
	{ "blk_mq_get_tag", WAIT_IO },
	{ "nanosleep", WAIT_TIMER },
	{ "ep_poll", WAIT_EVENTS },
	{ "do_epoll_wait", WAIT_EVENTS },
	{ "do_select", WAIT_EVENTS },
	{ "do_sys_poll", WAIT_EVENTS },
	{ "do_poll", WAIT_EVENTS },
	{ "pipe_", WAIT_DATA },
	{ "unix_stream", WAIT_DATA },
	{ "unix_dgram", WAIT_DATA },
	{ "tcp_", WAIT_DATA },
	{ "udp_", WAIT_DATA },
	{ "sock_", WAIT_DATA },
	{ "n_tty_read", WAIT_DATA },
	{ "wait_woken", WAIT_DATA },
	{ "eventfd_read", WAIT_DATA },
	{ "inet_", WAIT_DATA },
	{ "do_wait", WAIT_CHILD },
	{ "kernel_wait", WAIT_CHILD },
	{ "sigtimedwait", WAIT_TIMER },
	{ "sigsuspend", WAIT_EVENTS },
	{ "do_swap_page", WAIT_MEMORY },
	{ "try_to_free", WAIT_MEMORY },
	{ "shrink_", WAIT_MEMORY },
	{ "compact_", WAIT_MEMORY },
	{ "mem_cgroup_handle", WAIT_MEMORY },
};

enum wait_reason wait_reason_of(const struct ksyms *k, const struct pd_sample *s, int state, bool to_idle)
{
	if ((state & 0xff) == 0)
		return to_idle ? WAIT_THROTTLED : WAIT_PREEMPTED;
	for (u32 i = 0; i < s->chain_nr; i++) {
		u64 ip = pd_u64(s->chain + i * 8);
		const struct ksym *sym = ip < (u64)PERF_CONTEXT_MAX ? ksyms_find(k, ip) : NULL;

		for (u32 t = 0; sym && t < ARRAY_SIZE(table); t++)
			if (strstr(k->names + sym->name, table[t].part))
				return table[t].reason;
	}
	return state & 2 ? WAIT_IO : WAIT_OTHER;
}

const char *wait_reason_text(enum wait_reason r)
{
	static const char *const text[] = { "waits for a CPU",  "preempted",         "throttled by quota",
					    "waits for locks",  "waits for I/O",     "waits for data",
					    "waits for events", "waits for a child", "sleeps by timer",
					    "waits for memory", "waits otherwise" };

	return text[r];
}

bool wait_is_delay(enum wait_reason r)
{
	return r == WAIT_RUNQUEUE || r == WAIT_PREEMPTED || r == WAIT_THROTTLED || r == WAIT_LOCK || r == WAIT_IO ||
	       r == WAIT_MEMORY;
}
