/* SPDX-License-Identifier: MIT
 *
 * Problem: a checkpointer must know whether two processes share a table, memory or an open file, and a supervisor wants
 * a descriptor that another process has; neither may learn addresses of the kernel.
 *
 * Idea: pointers are compared after a secret of the boot has been mixed in, so the order is stable and tells nothing.
 * A descriptor of another process is one more reference to its open file.
 *
 * Contract: kcmp(2), pidfd_getfd(2). Both want the right to look into the other (process_may_look).
 *
 * Locks: none of its own; the task is counted, and what it points at is only compared, never followed.
 */
#include <abi/syscalls.h>
#include <core/init.h>
#include <core/random.h>
#include <lib/err.h>
#include <linux/fcntl.h>
#include <linux/kcmp.h>
#include <process/pidfd.h>
#include <process/process.h>
#include <vfs/vfs.h>

static u64 secret[2];

static void kcmp_init(void)
{
	random_get(secret, sizeof(secret));
	secret[1] |= 1; /* an odd factor keeps different pointers different */
}
PART_INIT(late, kcmp_init);

/* 0: the same, 1: less, 2: more. */
static long order(const void *a, const void *b)
{
	u64 x = ((u64)a ^ secret[0]) * secret[1], y = ((u64)b ^ secret[0]) * secret[1];

	return x == y ? 0 : x < y ? 1 : 2;
}

static long order_files(struct task *a, struct task *b, ulong fd_a, ulong fd_b)
{
	struct file *f = fd_a > INT32_MAX ? NULL : fd_of_task(a, (int)fd_a);
	struct file *g = fd_b > INT32_MAX ? NULL : fd_of_task(b, (int)fd_b);
	long result = f && g ? order(f, g) : -EBADF;

	file_put(f);
	file_put(g);
	return result;
}

static long compare(struct task *a, struct task *b, int type, ulong fd_a, ulong fd_b)
{
	switch (type) {
	case KCMP_FILE: return order_files(a, b, fd_a, fd_b);
	case KCMP_VM: return order(READ_ONCE(a->mm), READ_ONCE(b->mm));
	case KCMP_FILES: return order(READ_ONCE(a->files), READ_ONCE(b->files));
	case KCMP_FS: return order(READ_ONCE(a->fs), READ_ONCE(b->fs));
	case KCMP_SIGHAND: return order(READ_ONCE(a->process->sighand), READ_ONCE(b->process->sighand));
	case KCMP_SYSVSEM: return order(READ_ONCE(a->sem_undo), READ_ONCE(b->sem_undo));
	default: return -EINVAL;
	}
}

long sys_kcmp(int pid1, int pid2, int type, ulong idx1, ulong idx2)
{
	struct task *a = task_find_get(pid1), *b = task_find_get(pid2);
	long result = -ESRCH;

	if (a && b && a->process && b->process)
		result = process_may_look(a) && process_may_look(b) ? compare(a, b, type, idx1, idx2) : -EPERM;
	if (a)
		task_put(a);
	if (b)
		task_put(b);
	return result;
}

static long take_descriptor(struct pid *pid, int fd)
{
	struct process *p = process_of_pid(pid);
	struct task *t = p ? process_leader_get(p) : NULL;
	struct file *f = NULL;
	long result = -ESRCH;

	if (t) {
		result = process_may_look(t) ? -EBADF : -EPERM;
		if (result == -EBADF)
			f = fd_of_task(t, fd);
		task_put(t);
	}
	if (p)
		process_put(p);
	return f ? fd_publish(f, O_CLOEXEC) : result;
}

long sys_pidfd_getfd(int pidfd, int targetfd, u32 flags)
{
	struct fd_ref ref;
	struct pid *pid;
	long result;

	if (flags)
		return -EINVAL;
	ref = fd_get(pidfd);
	if (!ref.file)
		return -EBADF;
	pid = pidfd_pid(ref.file);
	result = pid ? take_descriptor(pid, targetfd) : -EBADF;
	fd_put(ref);
	return result;
}
