/* SPDX-License-Identifier: MIT
 *
 * Problem: a sample wants the callers of where it happened, in the kernel and in the program, from places that may not
 * sleep or fault.
 *
 * Idea: frame pointers. The kernel keeps them everywhere, so its chain ends at the stack's end or at the first frame
 * that does not lie further up on the same stack. The program's are read without faults; it may be built without them
 * or lie, so its chain is as long as it makes sense, and never more than asked for.
 *
 * Contract: perf_priv.h. Each half is led by its marker (PERF_CONTEXT_* of linux/perf_event.h), innermost first.
 *
 * Locks: none. IRQs off.
 */
#include "perf_priv.h"
#include <arch/mmu.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <lib/string.h>

struct chain {
	u64 *to;
	unsigned nr, most;
};

static void add(struct chain *c, u64 word)
{
	if (c->nr < c->most)
		c->to[c->nr++] = word;
}

const struct regs *perf_user_regs(const struct regs *regs)
{
	if (regs_user(regs))
		return regs;
	return current->mm ? task_regs(current) : NULL;
}

const struct regs *perf_caller_regs(struct perf_caller *c, ulong ip, ulong bp, ulong sp)
{
	struct regs *r = (struct regs *)c->words;

	_Static_assert(sizeof(struct regs) == sizeof(c->words), "stands for struct regs");
	memset(r, 0, sizeof(*r));
	r->ip = ip;
	r->bp = bp;
	r->sp = sp;
	r->flags = 0;
	r->cs = 0x10; /* any selector of ring 0 */
	return r;
}

static void kernel_chain(struct chain *c, const struct regs *regs)
{
	ulong low = (ulong)current->stack, high = low + KERNEL_STACK_BYTES, bp = regs->bp;

	add(c, (u64)PERF_CONTEXT_KERNEL);
	add(c, regs->ip);
	while (bp >= low && bp <= high - 16 && IS_ALIGNED(bp, 8) && c->nr < c->most) {
		const ulong *frame = (const ulong *)bp;

		if (!(frame[1] >> 63))
			return;
		add(c, frame[1]);
		if (frame[0] <= bp)
			return;
		bp = frame[0];
	}
}

static void user_chain(struct chain *c, const struct regs *regs)
{
	ulong frame[2], bp = regs->bp;

	add(c, (u64)PERF_CONTEXT_USER);
	add(c, regs->ip);
	while (c->nr < c->most && bp && IS_ALIGNED(bp, 8) && bp < USER_END) {
		if (user_copy_in_nofault(frame, (const void __user *)bp, sizeof(frame)) || !frame[1])
			return;
		add(c, frame[1]);
		if (frame[0] <= bp)
			return;
		bp = frame[0];
	}
}

unsigned perf_callchain(const struct perf_event *e, const struct regs *regs, u64 *to, unsigned most)
{
	struct chain c = { to, 0, min(most, (unsigned)e->attr.sample_max_stack + 2) };
	const struct regs *user = perf_user_regs(regs);

	if (!regs_user(regs) && !e->attr.exclude_callchain_kernel)
		kernel_chain(&c, regs);
	if (user && !e->attr.exclude_callchain_user)
		user_chain(&c, user);
	return c.nr;
}
