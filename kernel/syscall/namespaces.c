/* SPDX-License-Identifier: MIT
 *
 * Problem: unshare and setns.
 *
 * Idea: thin: a descriptor becomes a namespace; process/namespaces.c has the rules.
 *
 * Contract: unshare(2), setns(2). setns takes descriptors of /proc/PID/ns; a pidfd names all kinds at once.
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <core/log.h>
#include <lib/err.h>
#include <process/namespaces.h>
#include <process/pidfd.h>
#include <process/process.h>
#include <vfs/vfs.h>

long sys_unshare(ulong flags)
{
	return namespaces_unshare(flags);
}

/* All kinds in flags of the process behind a pidfd, users first, mounts last. */
static long enter_all(struct pid *pid, unsigned flags)
{
	static const enum ns_kind order[] = { NS_USER, NS_UTS, NS_IPC, NS_PID, NS_NET, NS_CGROUP, NS_MNT };
	struct process *p = process_of_pid(pid);
	struct task *t = p ? process_leader_get(p) : NULL;
	long err = t ? 0 : -ESRCH;

	if (p)
		process_put(p);
	if (t && !process_may_look(t))
		err = -EPERM;
	for (unsigned i = 0; i < ARRAY_SIZE(order) && !err; i++) {
		const struct ns_kind_ops *ops = ns_kind_ops(order[i]);
		struct ns *n;

		if (!ops || !(flags & ops->flag))
			continue;
		flags &= ~ops->flag;
		n = ns_of_task(t, order[i]);
		err = n ? namespaces_enter(n, 0) : -ESRCH;
		ns_put(n);
	}
	if (t)
		task_put(t);
	return err;
}

long sys_setns(int fd, int nstype)
{
	struct fd_ref r = fd_get(fd);
	struct pid *pid;
	struct ns *n;
	long err;

	if (!r.file)
		return -EBADF;
	pid = pidfd_pid(r.file);
	n = ns_of_file(r.file);
	if (pid)
		err = nstype ? enter_all(pid, (unsigned)nstype) : -EINVAL;
	else
		err = n ? namespaces_enter(n, (unsigned)nstype) : fail(EINVAL, "setns: fd %d is no namespace", fd);
	fd_put(r);
	return err;
}
