/* SPDX-License-Identifier: MIT
 *
 * Problem: give each task a place for its registers and move a CPU from one task to another.
 *
 * Idea: the top of a kernel stack holds the user registers; below lies what switch_stacks pushed. A
 * new thread's stack is made to look as if it had been switched away right before thread_first.
 *
 *   stack + KERNEL_STACK_BYTES
 *     struct regs            user registers
 *     rbp rbx r12..r15, ret  while not running (ksp points to r15)
 *
 * Contract: arch/thread.h. Segment bases are known from arch_prctl and clone, so a switch only
 * loads them (no rdmsr).
 *
 * Locks: arch_switch runs with IRQs off and the run queue's lock held.
 */
#include <arch/upcalls.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>
#include "cpu_priv.h"
#include "fpu_priv.h"
#include "mmu_priv.h"
#include "x86_priv.h"

_Static_assert(offsetof(struct task, work) == TASK_WORK, "entry.S reads task->work");
_Static_assert(sizeof(struct regs) == 168, "entry.S builds struct regs");

struct task *switch_stacks(struct task *prev, ulong *save_sp, ulong new_sp);
extern char thread_first[];
static DEFINE_PER_CPU(ulong, loaded_fs);
static DEFINE_PER_CPU(ulong, loaded_gs);
static DEFINE_PER_CPU(bool, debug_loaded);

struct watches { /* the kernel's own, whoever runs; IRQs off */
	u64 addr[ARCH_WATCHES];
	u64 control[ARCH_WATCHES]; /* its bits of DR7; 0: free */
};
static DEFINE_PER_CPU(struct watches, watches);

struct regs *task_regs(struct task *t)
{
	return (struct regs *)((char *)t->stack + KERNEL_STACK_BYTES) - 1;
}

void arch_thread_init(struct task *t, void (*fn)(void *), void *arg)
{
	struct regs *r = task_regs(t);
	ulong *sp = (ulong *)r;

	memset(r, 0, sizeof(*r));
	r->cs = SEL_USER_CS;
	r->ss = SEL_USER_DS;
	r->flags = FLAG_IF | 2;
	*--sp = (ulong)thread_first;
	*--sp = 0;          /* rbp: the end of backtraces */
	*--sp = (ulong)fn;  /* rbx */
	*--sp = (ulong)arg; /* r12 */
	*--sp = 0;
	*--sp = 0;
	*--sp = 0;
	t->arch.ksp = (ulong)sp;
}

int arch_thread_copy(struct task *t, struct task *from)
{
	*task_regs(t) = *task_regs(from);
	t->arch.fs_base = from->arch.fs_base;
	t->arch.gs_base = from->arch.gs_base;
	memset(t->arch.debug_regs, 0, sizeof(t->arch.debug_regs));
	return fpu_copy(t, from);
}

void arch_thread_free(struct task *t)
{
	fpu_free(t);
}

static void load_bases(struct task *t)
{
	if (this_cpu_read(loaded_fs) != t->arch.fs_base) {
		this_cpu_write(loaded_fs, t->arch.fs_base);
		msr_write(MSR_FS_BASE, t->arch.fs_base);
	}
	if (this_cpu_read(loaded_gs) != t->arch.gs_base) {
		this_cpu_write(loaded_gs, t->arch.gs_base);
		msr_write(MSR_KERNEL_GS_BASE, t->arch.gs_base);
	}
}

/* Two bits a slot that enable it, four more that say what it watches. */
#define DR7_ENABLE(slot) (3ULL << 2 * (slot))
#define DR7_SLOT(slot)   (DR7_ENABLE(slot) | 15ULL << (16 + 4 * (slot)))

/* The tracer's slots, and where it has none the kernel's own. */
static void load_debug(const struct task *t)
{
	const struct watches *w = this_cpu_ptr(&watches);
	u64 d[4], control = t->arch.debug_regs[7];

	for (unsigned slot = 0; slot < ARCH_WATCHES; slot++) {
		bool own = w->control[slot] && !(t->arch.debug_regs[7] & DR7_ENABLE(slot));

		d[slot] = own ? w->addr[slot] : t->arch.debug_regs[slot];
		if (own)
			control = (control & ~DR7_SLOT(slot)) | w->control[slot];
	}
	__asm__ volatile("mov %0, %%db7" : : "r"(0x400UL));
	this_cpu_write(debug_loaded, control != 0);
	if (!control)
		return;
	__asm__ volatile("mov %0, %%db0; mov %1, %%db1; mov %2, %%db2; mov %3, %%db3"
			 :
			 : "r"(d[0]), "r"(d[1]), "r"(d[2]), "r"(d[3]));
	__asm__ volatile("mov %0, %%db7" : : "r"(control));
}

int arch_watch_set(ulong addr, enum arch_watch kind, unsigned len)
{
	static const u8 lengths[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	struct watches *w = this_cpu_ptr(&watches);

	for (unsigned slot = 0; slot < ARCH_WATCHES; slot++) {
		if (w->control[slot] || (current->arch.debug_regs[7] & DR7_ENABLE(slot)))
			continue;
		w->addr[slot] = addr;
		w->control[slot] = 1ULL << 2 * slot | ((u64)kind | (u64)lengths[len] << 2) << (16 + 4 * slot);
		load_debug(current);
		return (int)slot;
	}
	return -1;
}

void arch_watch_clear(unsigned slot)
{
	this_cpu_ptr(&watches)->control[slot] = 0;
	load_debug(current);
}

ulong watch_take_hits(struct regs *r, ulong reason)
{
	const struct watches *w = this_cpu_ptr(&watches);
	ulong hits = 0;

	for (unsigned slot = 0; slot < ARCH_WATCHES; slot++) {
		if (!(reason >> slot & 1) || !w->control[slot] || (current->arch.debug_regs[7] & DR7_ENABLE(slot)))
			continue;
		hits |= 1UL << slot;
		if (!(w->control[slot] >> (16 + 4 * slot) & 3)) /* ARCH_WATCH_EXECUTE: it runs now, once */
			r->flags |= FLAG_RF;
	}
	return (reason & ~hits) | hits << ARCH_WATCH_SHIFT;
}

void arch_load_debug_regs(struct task *t)
{
	ulong flags = irq_save();

	if (t == current)
		load_debug(t);
	irq_restore(flags);
}

struct task *arch_switch(struct task *prev, struct task *next)
{
	fpu_switch(prev, next);
	tlb_switch(next);
	if (next->arch.pt)
		load_bases(next);
	if (unlikely(next->arch.debug_regs[7] || this_cpu_read(debug_loaded)))
		load_debug(next);
	this_cpu_write(current_task, next);
	cpu_set_kernel_stack((ulong)next->stack + KERNEL_STACK_BYTES);
	return switch_stacks(prev, &prev->arch.ksp, next->arch.ksp);
}

static int set_base(ulong *field, ulong base)
{
	ulong flags;

	if (base >= USER_END)
		return -EPERM;
	flags = irq_save();
	*field = base;
	load_bases(current);
	irq_restore(flags);
	return 0;
}

int arch_set_fs_base(ulong base)
{
	return set_base(&current->arch.fs_base, base);
}

int arch_set_gs_base(ulong base)
{
	return set_base(&current->arch.gs_base, base);
}

void arch_exec_regs(struct task *t, ulong ip, ulong sp)
{
	struct regs *r = task_regs(t);

	fpu_free(t);
	t->arch.fs_base = t->arch.gs_base = 0;
	/* A program may have loaded selectors of its own; a fresh one starts with null ones (this
	 * clears the bases too). */
	irq_disable();
	__asm__ volatile("movl %0, %%ds; movl %0, %%es; movl %0, %%fs" : : "r"(0));
	__asm__ volatile("swapgs; movl %0, %%gs; swapgs" : : "r"(0) : "memory");
	this_cpu_write(loaded_fs, 0);
	this_cpu_write(loaded_gs, 0);
	msr_write(MSR_FS_BASE, 0);
	msr_write(MSR_KERNEL_GS_BASE, 0);
	irq_enable();
	memset(t->arch.debug_regs, 0, sizeof(t->arch.debug_regs));
	memset(r, 0, sizeof(*r));
	r->ip = ip;
	r->sp = sp;
	r->cs = SEL_USER_CS;
	r->ss = SEL_USER_DS;
	r->flags = FLAG_IF | 2;
	r->orig_ax = -1UL;
}
