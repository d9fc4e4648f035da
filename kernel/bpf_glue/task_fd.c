/* SPDX-License-Identifier: MIT
 *
 * Problem: `bpftool perf` asks which program hangs at which event, of any task's descriptors.
 *
 * Idea: an event of perf tells its program and the name of its tracepoint; nothing else has programs here that are not
 * found by other ways.
 *
 * Contract: bpf(2), BPF_TASK_FD_QUERY, Linux 6.1. -ENOENT: no such task, or no program; -EBADF; -ENOTSUPP: another kind
 * of file; -EOPNOTSUPP: a program for samples; -ENOSPC: the name is cut.
 *
 * Locks: RCU.
 */
#include <arch/user.h>
#include <bpf/prog.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <perf/output.h>
#include <process/process.h>
#include <task/task.h>
#include <vfs/vfs.h>

#include "glue_priv.h"

/* The name, as much as there is room for. */
static int give_name(const union bpf_attr *a, const char *name)
{
	size_t room = a->task_fd_query.buf_len, n = strlen(name);
	u8 __user *to = (u8 __user *)(ulong)a->task_fd_query.buf;
	int err;

	if (!room || !to)
		return 0;
	err = user_put(to, name, min(room - 1, n));
	err = err ? err : user_put(to + min(room - 1, n), &(u8){ 0 }, 1);
	return err ? err : room > n ? 0 : -ENOSPC;
}

static int answer(const union bpf_attr *a, u64 uattr, u32 program, const char *name)
{
	union bpf_attr out = *a;
	int named = give_name(a, name);

	if (named && named != -ENOSPC)
		return named;
	out.task_fd_query.buf_len = (u32)strlen(name);
	out.task_fd_query.prog_id = program;
	out.task_fd_query.fd_type = BPF_FD_TYPE_TRACEPOINT;
	out.task_fd_query.probe_offset = out.task_fd_query.probe_addr = 0;
	if (user_put((u8 __user *)(ulong)uattr, &out, sizeof(out.task_fd_query)))
		return -EFAULT;
	return named;
}

static int ask_event(const struct file *f, u32 *program, const char **name)
{
	struct perf_event *e = perf_event_of(f);
	const struct bpf_prog *p;
	int err = 0;

	if (!e)
		return -ENOTSUPP;
	rcu_read_lock();
	p = perf_program_of(e, name);
	if (!p)
		err = -ENOENT;
	else if (!*name)
		err = -EOPNOTSUPP;
	else
		*program = p->id;
	rcu_read_unlock();
	return err;
}

int bpf_task_fd_query(const union bpf_attr *a, u64 uattr)
{
	const char *name = NULL;
	struct task *t;
	struct file *f;
	u32 program;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (a->task_fd_query.flags)
		return -EINVAL;
	t = task_find_get((int)a->task_fd_query.pid);
	if (!t)
		return -ENOENT;
	f = fd_of_task(t, (int)a->task_fd_query.fd);
	task_put(t);
	if (!f)
		return -EBADF;
	err = ask_event(f, &program, &name);
	file_put(f);
	return err ? err : answer(a, uattr, program, name);
}
