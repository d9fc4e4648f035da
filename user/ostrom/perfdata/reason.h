/* SPDX-License-Identifier: MIT
 *
 * What a thread that is not running waits for, as far as a switch says it. Threading: any.
 */
#ifndef PERFDATA_REASON_H
#define PERFDATA_REASON_H

#include "ksyms.h"
#include "perfdata.h"

enum wait_reason {
	WAIT_RUNQUEUE, /* woken, but others run */
	WAIT_PREEMPTED,
	WAIT_THROTTLED, /* its cgroup has used up its quota */
	WAIT_LOCK,      /* futex, mutex, rwsem */
	WAIT_IO,
	WAIT_DATA,   /* a pipe, a socket, a terminal */
	WAIT_EVENTS, /* poll, select, epoll */
	WAIT_CHILD,
	WAIT_TIMER,  /* sleeps because it asked to */
	WAIT_MEMORY, /* page faults that wait, reclaim */
	WAIT_OTHER,
	WAIT_REASONS,
};

/* From a sched_switch: the state in which the thread left, whether nobody runs after it, and the call chain, if any. */
enum wait_reason wait_reason_of(const struct ksyms *k, const struct pd_sample *s, int state, bool to_idle);
const char *wait_reason_text(enum wait_reason r);
bool wait_is_delay(enum wait_reason r); /* caused by others, not wished by the program */

#endif
