/* SPDX-License-Identifier: MIT
 *
 * Problem: perf mem and perf c2c need a PMU that samples loads and stores with their addresses; virtual machines have
 * none.
 *
 * Idea: at a tick in user mode, step through the program, decode what has a memory operand, and sample the Nth access
 * that the event wants, with N random and small: emulators stop at the start of a block, processors at the oldest
 * instruction that waits, and the next access after a place taken by chance is most often one behind a long stretch
 * without any; counting accesses, not instructions, takes these habits away. Each event draws its own N: with one for
 * all, of two events that wait at the same place of a loop the same one would come first each time, and the other find
 * the line where the first has just brought it. The address comes from the registers
 * before the instruction runs; where the line was is inferred by the order of samples (perf/owner.h).
 *
 *   tick -> walk: step, decode, step, decode, ... -> owner_touch -> DATA_SRC -> waiting events that want loads, stores
 *
 * Contract: perf_priv.h. Two PMUs as clients expect them: `cpu` with mem-loads and mem-stores, numbered as Intel does;
 * `ibs_op`, where CPUID says AMD, with one event for both. Weights are the model's, not measured. The trap flag is
 * the program's to see in three places, where the walk ends before: pushf, system calls and interrupts it makes, and
 * signal frames. Operands through FS and GS and the implicit stack are passed over.
 *
 * Locks: the walk belongs to its CPU, IRQs off. owners_lock (RANK_PERF) for the table of lines.
 */
#include "perf_priv.h"
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/numa.h>
#include <arch/mmu.h>
#include <arch/thread.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/x86_insn.h>
#include <mm/mm.h>
#include <perf/owner.h>

#define FLAG_TRAP        0x100UL
#define DR6_STEP         0x4000UL
#define DR6_SLOTS        15UL
#define ACCESSES_MOST    4  /* the 1st to 4th access is sampled */
#define STEPS_MOST       64 /* of a walk: what has no access by then goes unsampled */
#define WEIGHT_HERE      4  /* cycles that a first-level hit costs, and a line out of another CPU's cache */
#define WEIGHT_ELSEWHERE 90

static struct owner_table *owners; /* made with the first event, kept */
static struct spinlock owners_lock = SPIN_INIT(RANK_PERF);
static DEFINE_PER_CPU(u32, step_seed);

/* ---- events -------------------------------------------------------------------------------------------------------
 */

/* What an event wants; 0: no event of ours. */
static unsigned wanted(const struct perf_event_attr *a)
{
	if (a->type == PERF_TYPE_IBS_OP)
		return PERF_MEM_OP_LOAD | PERF_MEM_OP_STORE;
	return a->config == PERF_RAW_MEM_LOADS    ? PERF_MEM_OP_LOAD
	       : a->config == PERF_RAW_MEM_STORES ? PERF_MEM_OP_STORE
						  : 0;
}

static int make_owners(void)
{
	struct owner_table *t, *none = NULL;

	if (READ_ONCE(owners))
		return 0;
	t = kzalloc(sizeof(*t), ALLOC_KERNEL);
	if (!t)
		return -ENOMEM;
	if (!__atomic_compare_exchange_n(&owners, &none, t, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		kfree(t);
	return 0;
}

static int memory_init(struct perf_event *e)
{
	const struct perf_event_attr *a = &e->attr;

	if (!wanted(a))
		return -ENOENT;
	if (a->type == PERF_TYPE_IBS_OP && (a->config & ~PERF_IBS_COUNT_OPS))
		return fail(EINVAL, "perf: ibs_op: config %#llx", (unsigned long long)a->config);
	if (!perf_attr_samples(a))
		return fail(EOPNOTSUPP, "perf: memory accesses are sampled, not counted");
	if (a->sample_type & PERF_SAMPLE_BRANCH_STACK)
		return -EOPNOTSUPP;
	if (make_owners())
		return -ENOMEM;
	perf_clock_init(e);
	if (!e->parent) {
		static_key_inc(&task_switch_key);
		static_key_inc(&task_step_key);
	}
	return 0;
}

static void memory_destroy(struct perf_event *e)
{
	perf_clock_destroy(e);
	if (!e->parent) {
		static_key_dec(&task_step_key);
		static_key_dec(&task_switch_key);
	}
}

static void memory_start(struct perf_event *e)
{
}

static void memory_stop(struct perf_event *e)
{
	list_del_init(&e->fire_link);
	perf_clock_stop(e);
}

/* ---- one access ---------------------------------------------------------------------------------------------------
 */

size_t perf_translate(ulong va, u64 *phys)
{
	struct pt_leaf leaf;
	pte_t pte;

	*phys = 0;
	if (!va || va >= USER_END || !current->mm || pt_leaf_get(&current->mm->pt, va, false, &leaf, NULL))
		return 0;
	pte = pte_read(leaf.entry);
	if (!pte_is_present(pte))
		return 0;
	if (leaf.huge) {
		*phys = (pte_pfn(pte) << PAGE_SHIFT & ~(u64)(HUGE_SIZE - 1)) | (va & (HUGE_SIZE - 1));
		return HUGE_SIZE;
	}
	*phys = pte_pfn(pte) << PAGE_SHIFT | (va & (PAGE_SIZE - 1));
	return PAGE_SIZE;
}

/* *far: how far away the line was, 1 on this node. */
static enum owner_verdict touch(u64 addr, bool is_write, unsigned *far)
{
	enum owner_verdict v;
	u32 from;
	u64 phys;

	*far = 1;
	if (!perf_translate(addr, &phys))
		return OWNER_UNKNOWN;
	spin_lock(&owners_lock);
	v = owner_touch(owners, phys / 64 + 1, cpu_id(), is_write, &from);
	spin_unlock(&owners_lock);
	if (node_of_cpu(from) != node_of_cpu(cpu_id()))
		*far = max(node_distance(node_of_cpu(cpu_id()), node_of_cpu(from)) / NODE_NEAR, 2U);
	return v;
}

static u64 data_source(enum owner_verdict v, bool is_store, bool is_locked, bool is_remote)
{
	union perf_mem_data_src d = { .val = 0 };
	bool moved = v >= OWNER_HANDED;

	d.mem_op = is_store ? PERF_MEM_OP_STORE : PERF_MEM_OP_LOAD;
	d.mem_lock = is_locked ? PERF_MEM_LOCK_LOCKED : PERF_MEM_LOCK_NA;
	d.mem_dtlb = PERF_MEM_TLB_NA;
	d.mem_snoop = PERF_MEM_SNOOP_NA;
	if (v == OWNER_UNKNOWN) {
		d.mem_lvl = PERF_MEM_LVL_NA;
	} else if (is_store) {
		d.mem_lvl = PERF_MEM_LVL_L1 | (moved ? PERF_MEM_LVL_MISS : PERF_MEM_LVL_HIT);
	} else {
		d.mem_lvl = PERF_MEM_LVL_HIT | (!moved      ? PERF_MEM_LVL_L1
						: is_remote ? PERF_MEM_LVL_REM_CCE1
							    : PERF_MEM_LVL_L3);
		d.mem_snoop = v == OWNER_FOUGHT ? PERF_MEM_SNOOP_HITM
			      : moved           ? PERF_MEM_SNOOP_HIT
						: PERF_MEM_SNOOP_NONE;
	}
	return d.val;
}

static void deliver(struct perf_walk *w, const struct regs *r, u64 addr, unsigned op, const struct x86_insn *i)
{
	bool is_store = op == PERF_MEM_OP_STORE, is_touched = false;
	enum owner_verdict v = OWNER_UNKNOWN;
	struct perf_event *e, *next;
	unsigned far = 1;

	list_for_each_entry_safe (e, next, &w->waiting, fire_link) {
		struct perf_sample s = { .regs = r, .addr = addr, .period = e->period, .may_tell = true };

		if (!(wanted(&e->attr) & op) || --e->left > 0)
			continue;
		list_del_init(&e->fire_link);
		if (!is_touched)
			v = touch(addr, is_store, &far);
		is_touched = true;
		s.data_source = data_source(v, is_store, i->is_locked, far > 1);
		s.weight = v == OWNER_UNKNOWN ? 0 : v >= OWNER_HANDED ? WEIGHT_ELSEWHERE * far : WEIGHT_HERE;
		WRITE_ONCE(e->count, e->count + 1);
		perf_overflow(e, &s);
	}
}

static void sample(struct perf_cpu *c, const struct regs *r, const struct x86_insn *i)
{
	const u64 gpr[16] = { r->ax, r->cx, r->dx,  r->bx,  r->sp,  r->bp,  r->si,  r->di,
			      r->r8, r->r9, r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };
	u64 addr;

	if (!i->has_memory || i->has_no_address || (!i->reads && !i->writes) || i->segment < 6)
		return;
	addr = x86_insn_address(i, r->ip, gpr);
	if (addr >= USER_END || c->busy)
		return;
	c->busy = true;
	if (i->reads)
		deliver(&c->walk, r, addr, PERF_MEM_OP_LOAD, i);
	if (i->writes)
		deliver(&c->walk, r, addr, PERF_MEM_OP_STORE, i);
	perf_settle(c);
	c->busy = false;
}

/* ---- the walk -----------------------------------------------------------------------------------------------------
 */

static bool decode(const struct regs *r, struct x86_insn *i)
{
	u8 code[X86_INSN_MOST];
	size_t missing;

	if (r->ip >= USER_END)
		return false;
	missing = user_copy_in_nofault(code, (const void __user *)r->ip, sizeof(code));
	return !x86_insn_decode(code, (unsigned)(sizeof(code) - missing), X86_CODE_64, i);
}

/* Stepping over it would show the trap flag, or leave user mode. */
static bool is_barrier(const struct x86_insn *i)
{
	if (i->map == X86_MAP_0F)
		return i->opcode == 0x05 || i->opcode == 0x34; /* syscall, sysenter */
	if (i->map != X86_MAP_ONE)
		return false;
	switch (i->opcode) {
	case 0x8e: /* mov ss holds traps back for one instruction */
	case 0x9c: /* pushf, popf */
	case 0x9d:
	case 0xcc: /* int3, int, iret */
	case 0xcd:
	case 0xcf:
	case 0xf1: return true;
	default: return false;
	}
}

static void end(struct perf_cpu *c, struct regs *r)
{
	c->walk.task = NULL;
	r->flags &= ~FLAG_TRAP;
	while (!list_empty(&c->walk.waiting))
		list_del_init(c->walk.waiting.next);
}

static void go_on(struct perf_cpu *c, struct regs *r, const struct x86_insn *i)
{
	if (is_barrier(i))
		end(c, r);
	else
		r->flags |= FLAG_TRAP;
}

void perf_step_end(struct regs *r)
{
	ulong irq = irq_save();
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);

	if (c->walk.task)
		end(c, r);
	irq_restore(irq);
}

bool perf_stepped(struct regs *r, ulong reason)
{
	ulong irq = irq_save();
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	bool ours = c->walk.task == current && (reason & DR6_STEP);
	unsigned hits = (unsigned)(reason >> ARCH_WATCH_SHIFT);
	struct x86_insn i;

	if (unlikely(hits))
		perf_watch_hit(r, hits);
	if (!ours)
		goto out;
	if (!decode(r, &i)) {
		end(c, r);
		goto out;
	}
	sample(c, r, &i);
	if (list_empty(&c->walk.waiting) || !c->walk.steps--)
		end(c, r);
	else
		go_on(c, r, &i);
out:
	irq_restore(irq);
	return (hits || ours) && !(reason & (DR6_SLOTS | (ours ? 0 : DR6_STEP)));
}

static u8 random_accesses(void)
{
	u32 *seed = this_cpu_ptr(&step_seed);

	if (!*seed)
		*seed = (u32)random_u64() | 1;
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return (u8)(1 + ((*seed >> 16) * ACCESSES_MOST >> 16));
}

static void memory_tick(struct perf_event *e)
{
	struct perf_cpu *c = this_cpu_ptr(&perf_cpu);
	struct regs *r = task_regs(current);
	struct x86_insn i;

	if (irq_regs() != r || !regs_user(r) || e->attr.exclude_user || c->busy)
		return;
	if (c->walk.task != current) {
		if ((r->flags & FLAG_TRAP) || !decode(r, &i)) /* a tracer steps it */
			return;
		c->walk.task = current;
		c->walk.steps = STEPS_MOST;
		go_on(c, r, &i);
	}
	if (c->walk.task && list_empty(&e->fire_link)) {
		e->left = random_accesses();
		list_add_tail(&e->fire_link, &c->walk.waiting);
	}
}

const struct perf_kind perf_kind_memory = { .type = PERF_TYPE_RAW,
					    .init = memory_init,
					    .destroy = memory_destroy,
					    .start = memory_start,
					    .stop = memory_stop,
					    .arm = perf_clock_arm,
					    .tick = memory_tick };
const struct perf_kind perf_kind_memory_ops = { .type = PERF_TYPE_IBS_OP,
						.init = memory_init,
						.destroy = memory_destroy,
						.start = memory_start,
						.stop = memory_stop,
						.arm = perf_clock_arm,
						.tick = memory_tick };
