/* SPDX-License-Identifier: MIT
 *
 * Problem: a program that works on data of its CPU without locks must know that it was not moved, preempted or
 * interrupted by a handler between its look at the CPU's number and the one store that commits.
 *
 * Idea: restartable sequences, rseq(2). A thread registers a small area in its memory. Whenever it has lost the CPU or
 * is about to run a handler, and before it runs user code again, the kernel writes the CPU's number there; and if the
 * instruction pointer lies in the sequence that the area names, it goes to the sequence's abort handler instead.
 *
 *      switched in, registered --> WORK_RSEQ --> rseq_return --> area written, ip perhaps changed --> user mode
 *
 * Contract: process/rseq.h; layout in <linux/rseq.h>. An area or a sequence that cannot be read, or an abort handler
 * without the signature in front of it, is SIGSEGV, as in Linux: the program's invariant is gone.
 *
 * Locks: none; current's own.
 */
#include "process_priv.h"
#include <arch/cpu.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/rseq.h>
#include <process/rseq.h>

#define AREA(t) ((struct rseq __user *)(t)->rseq)

/* 1: ip lies in the sequence (abort_ip is where to go), 0: it does not, or -errno. */
static int inside(const struct task *t, ulong ip, u64 at, u64 *abort_ip)
{
	struct rseq_cs cs;
	u32 signature, flags;

	if (user_get(&cs, (const void __user *)at, sizeof(cs)) || user_get(&flags, &AREA(t)->flags, sizeof(flags)))
		return -EFAULT;
	if (cs.version || cs.start_ip >= USER_END || cs.post_commit_offset > USER_END - cs.start_ip ||
	    cs.abort_ip >= USER_END || cs.abort_ip < sizeof(signature) ||
	    cs.abort_ip - cs.start_ip < cs.post_commit_offset)
		return fail(EINVAL, "rseq: no sequence at 0x%llx", (unsigned long long)at);
	if (user_get(&signature, (const void __user *)(cs.abort_ip - sizeof(signature)), sizeof(signature)))
		return -EFAULT;
	if (signature != t->rseq_signature || cs.flags || flags)
		return fail(EINVAL, "rseq: signature 0x%x, flags 0x%x", signature, cs.flags | flags);
	*abort_ip = cs.abort_ip;
	return ip - cs.start_ip < cs.post_commit_offset;
}

static int leave_sequence(const struct task *t, struct regs *r)
{
	u64 at, none = 0, abort_ip = 0;
	int err;

	if (user_get(&at, &AREA(t)->rseq_cs, sizeof(at)))
		return -EFAULT;
	if (!at)
		return 0;
	err = inside(t, r->ip, at, &abort_ip);
	if (err < 0)
		return err;
	if (user_put(&AREA(t)->rseq_cs, &none, sizeof(none)))
		return -EFAULT;
	if (err)
		r->ip = abort_ip;
	return 0;
}

static int tell_cpu(const struct task *t, u32 start, u32 cpu)
{
	return user_put(&AREA(t)->cpu_id_start, &start, sizeof(start)) || user_put(&AREA(t)->cpu_id, &cpu, sizeof(cpu))
		       ? -EFAULT
		       : 0;
}

void rseq_return(struct regs *r)
{
	struct task *t = current;
	u32 cpu;

	task_clear_work(t, WORK_RSEQ);
	cpu = cpu_id(); /* if it is old when we arrive, the switch has set the bit again */
	if (t->rseq && (leave_sequence(t, r) || tell_cpu(t, cpu, cpu))) {
		t->rseq = NULL;
		signal_force(SIGSEGV, SI_KERNEL, 0);
	}
}

long rseq_register(void __user *area, u32 bytes, u32 signature)
{
	struct task *t = current;

	if (t->rseq && (t->rseq != area || bytes != sizeof(struct rseq)))
		return -EINVAL;
	if (t->rseq)
		return t->rseq_signature == signature ? -EBUSY : -EPERM;
	if (bytes != sizeof(struct rseq) || (ulong)area % __alignof__(struct rseq))
		return -EINVAL;
	if ((ulong)area >= USER_END - sizeof(struct rseq))
		return -EFAULT;
	t->rseq = area;
	t->rseq_signature = signature;
	task_set_work(t, WORK_RSEQ);
	return 0;
}

long rseq_unregister(void __user *area, u32 bytes, u32 signature)
{
	struct task *t = current;

	if (!t->rseq || t->rseq != area || bytes != sizeof(struct rseq))
		return -EINVAL;
	if (t->rseq_signature != signature)
		return -EPERM;
	if (tell_cpu(t, 0, (u32)RSEQ_CPU_ID_UNINITIALIZED))
		return -EFAULT;
	t->rseq = NULL;
	return 0;
}
