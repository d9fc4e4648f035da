/* SPDX-License-Identifier: MIT
 *
 * Problem: the scheduler says only that a thread sleeps; people ask for what.
 *
 * Idea: the kernel's call chain at the switch names the function that waits. A table of parts of function names, read
 * from the innermost frame outwards, gives the reason; the task state decides where no name does.
 *
 * Contract: why.h. Names are those of Linux 4.10 to 6.18. Locks: none.
 */
#include "why.h"

static const struct {
	const char *part;
	enum why_reason reason;
} table[] = {
	{ "futex", WHY_LOCK },
	{ "mutex_lock", WHY_LOCK },
	{ "rwsem_down", WHY_LOCK },
	{ "percpu_down", WHY_LOCK },
	{ "__down", WHY_LOCK },
	{ "rt_mutex", WHY_LOCK },
	{ "io_schedule", WHY_IO },
	{ "folio_wait", WHY_IO },
	{ "wait_on_page", WHY_IO },
	{ "blkdev_", WHY_IO },
	{ "jbd2_", WHY_IO },
	{ "submit_bio_wait", WHY_IO },
	{ "io_cqring_wait", WHY_IO },
	{ "read_events", WHY_IO },
	{ "balance_dirty_pages", WHY_IO },
	{ "rq_qos_wait", WHY_IO },
	{ "blk_mq_get_tag", WHY_IO },
	{ "nanosleep", WHY_TIMER },
	{ "ep_poll", WHY_EVENTS },
	{ "do_epoll_wait", WHY_EVENTS },
	{ "do_select", WHY_EVENTS },
	{ "do_sys_poll", WHY_EVENTS },
	{ "do_poll", WHY_EVENTS },
	{ "pipe_", WHY_DATA },
	{ "unix_stream", WHY_DATA },
	{ "unix_dgram", WHY_DATA },
	{ "tcp_", WHY_DATA },
	{ "udp_", WHY_DATA },
	{ "sock_", WHY_DATA },
	{ "n_tty_read", WHY_DATA },
	{ "wait_woken", WHY_DATA },
	{ "eventfd_read", WHY_DATA },
	{ "inet_", WHY_DATA },
	{ "do_wait", WHY_CHILD },
	{ "kernel_wait", WHY_CHILD },
	{ "sigtimedwait", WHY_TIMER },
	{ "sigsuspend", WHY_EVENTS },
	{ "do_swap_page", WHY_MEMORY },
	{ "try_to_free", WHY_MEMORY },
	{ "shrink_", WHY_MEMORY },
	{ "compact_", WHY_MEMORY },
	{ "mem_cgroup_handle", WHY_MEMORY },
};

enum why_reason why_reason_of(const struct ksyms *k, const struct pd_sample *s, int state)
{
	if ((state & 0xff) == 0)
		return WHY_PREEMPTED;
	for (u32 i = 0; i < s->chain_nr; i++) {
		u64 ip = pd_u64(s->chain + i * 8);
		const struct ksym *sym = ip < (u64)PERF_CONTEXT_MAX ? ksyms_find(k, ip) : NULL;

		for (u32 t = 0; sym && t < ARRAY_SIZE(table); t++)
			if (strstr(k->names + sym->name, table[t].part))
				return table[t].reason;
	}
	return state & 2 ? WHY_IO : WHY_OTHER;
}

const char *why_reason_text(enum why_reason r)
{
	static const char *const text[] = { "waits for a CPU",   "preempted",       "waits for locks",
					    "waits for I/O",     "waits for data",  "waits for events",
					    "waits for a child", "sleeps by timer", "waits for memory",
					    "waits otherwise" };

	return text[r];
}

bool why_is_delay(enum why_reason r)
{
	return r == WHY_RUNQUEUE || r == WHY_PREEMPTED || r == WHY_LOCK || r == WHY_IO || r == WHY_MEMORY;
}
