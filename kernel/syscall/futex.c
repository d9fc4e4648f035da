/* SPDX-License-Identifier: MIT
 *
 * Problem: one call with a dozen operations whose arguments mean different things.
 *
 * Idea: decode into struct futex_call; the operations are process's.
 *
 * Contract: futex(2), set_robust_list(2), futex_waitv (futex2).
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <linux/futex.h>
#include <linux/time.h>
#include <process/futex.h>
#include <process/process.h>
#include <process/timers.h>

static int get_deadline(struct futex_call *f, int cmd, int op, const void __user *timeout)
{
	bool relative = cmd == FUTEX_WAIT;
	int clock = op & FUTEX_CLOCK_REALTIME || cmd == FUTEX_LOCK_PI ? CLOCK_REALTIME : CLOCK_MONOTONIC;
	u64 ns;
	int err;

	f->deadline_ns = ~0ULL;
	if (!timeout)
		return 0;
	err = timespec_get(timeout, &ns);
	if (err)
		return err;
	f->relative = relative;
	return clock_deadline(clock, ns, relative, &f->deadline_ns);
}

static bool waits(int cmd)
{
	return cmd == FUTEX_WAIT || cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_WAIT_REQUEUE_PI || cmd == FUTEX_LOCK_PI ||
	       cmd == FUTEX_LOCK_PI2;
}

long sys_futex(u32 __user *uaddr, int op, u32 val, const void __user *timeout, u32 __user *uaddr2, u32 val3)
{
	int cmd = op & FUTEX_CMD_MASK, err;
	struct futex_call f = { .addr = uaddr,
				.addr2 = uaddr2,
				.val = val,
				.val2 = (u32)(ulong)timeout,
				.val3 = val3,
				.bitset = FUTEX_BITSET_MATCH_ANY,
				.private = op & FUTEX_PRIVATE_FLAG };

	if ((op & FUTEX_CLOCK_REALTIME) && (!waits(cmd) || cmd == FUTEX_LOCK_PI))
		return -ENOSYS;
	if (waits(cmd)) {
		err = get_deadline(&f, cmd, op, timeout);
		if (err)
			return err;
	}
	if (cmd == FUTEX_WAIT_BITSET || cmd == FUTEX_WAKE_BITSET)
		f.bitset = val3;
	switch (cmd) {
	case FUTEX_WAIT:
	case FUTEX_WAIT_BITSET: return futex_wait(&f);
	case FUTEX_WAKE:
	case FUTEX_WAKE_BITSET: return futex_wake(&f);
	case FUTEX_REQUEUE: return futex_requeue(&f, false);
	case FUTEX_CMP_REQUEUE: return futex_requeue(&f, true);
	case FUTEX_WAKE_OP: return futex_wake_op(&f);
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2: return futex_lock_pi(&f, false);
	case FUTEX_TRYLOCK_PI: return futex_lock_pi(&f, true);
	case FUTEX_WAIT_REQUEUE_PI: return futex_wait_requeue_pi(&f);
	case FUTEX_CMP_REQUEUE_PI: return futex_requeue_pi(&f);
	case FUTEX_UNLOCK_PI: return futex_unlock_pi(&f);
	default: return -ENOSYS;
	}
}

long sys_futex_waitv(void __user *waiters, u32 nr, u32 flags, void __user *timeout, int clock)
{
	struct futex_wait_one *list;
	u64 ns, deadline = ~0ULL;
	int err = 0;

	if (flags || !nr || nr > FUTEX_WAITV_MAX || !waiters)
		return -EINVAL;
	if (timeout) {
		if (clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME)
			return -EINVAL;
		err = timespec_get(timeout, &ns);
		if (!err)
			err = clock_deadline(clock, ns, false, &deadline);
		if (err)
			return err;
	}
	list = kcalloc(nr, sizeof(*list), 0);
	if (!list)
		return -ENOMEM;
	for (u32 i = 0; i < nr && !err; i++) {
		struct futex_waitv w;

		if (user_get(&w, (struct futex_waitv __user *)waiters + i, sizeof(w)))
			err = -EFAULT;
		else if ((w.flags & ~(u32)(FUTEX_32 | FUTEX_PRIVATE_FLAG)) || !(w.flags & FUTEX_32) || w.__reserved)
			err = -EINVAL;
		list[i] = (struct futex_wait_one){ (u32 __user *)w.uaddr, w.val, w.flags & FUTEX_PRIVATE_FLAG };
	}
	if (!err)
		err = futex_wait_many(list, nr, deadline);
	kfree(list);
	return err;
}

long sys_set_robust_list(void __user *head, size_t len)
{
	if (len != sizeof(struct robust_list_head))
		return -EINVAL;
	current->robust_list = head;
	return 0;
}

long sys_get_robust_list(int pid, void __user *head_ptr, size_t __user *len_ptr)
{
	struct task *t = pid ? task_find_get(pid) : current;
	size_t len = sizeof(struct robust_list_head);
	void __user *head;
	bool may;

	if (!t)
		return -ESRCH;
	may = process_may_look(t);
	head = t->robust_list;
	if (pid)
		task_put(t);
	if (!may)
		return -EPERM;
	return user_put(len_ptr, &len, sizeof(len)) || user_put(head_ptr, &head, sizeof(head)) ? -EFAULT : 0;
}
