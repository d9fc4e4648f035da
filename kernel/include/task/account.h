/* SPDX-License-Identifier: MIT
 *
 * What each user has in use, over all of a machine, of things that are limited a user and not a process: RLIMIT_NPROC,
 * RLIMIT_MSGQUEUE, instances of inotify, pages of pipes and of perf's rings. Tenants are the other way to limit, and
 * the better one.
 *
 * Threading: any context, also under spin locks below RANK_SLAB.
 */
#ifndef TASK_ACCOUNT_H
#define TASK_ACCOUNT_H

#include <task/cred.h>

enum account_kind {
	ACCOUNT_TASKS,
	ACCOUNT_QUEUE_BYTES,
	ACCOUNT_INOTIFY,
	ACCOUNT_PIPE_PAGES,
	ACCOUNT_RING_PAGES,
	ACCOUNT_KINDS
};

/* n more, unless that makes more than limit: -EAGAIN, or -ENOMEM; nothing is charged then. */
int __must_check account_charge(kuid_t uid, enum account_kind kind, u64 n, u64 limit);
void account_uncharge(kuid_t uid, enum account_kind kind, u64 n);
u64 account_read(kuid_t uid, enum account_kind kind);

#endif
