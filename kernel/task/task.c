/* SPDX-License-Identifier: MIT
 *
 * Problem: tasks are made and die thousands of times a second, each with a guarded stack, and are
 * looked at by others while they die.
 *
 * Idea: a task is freed a grace period after its last reference, so that look-ups under RCU need no
 * lock. Stacks are kept in a pool, since mapping and unmapping one costs more than all
 * the rest.
 *
 * Contract: task/task.h. References: the creator's, and the scheduler's, dropped after the last
 * switch away.
 *
 * Locks: pool_lock (RANK_LEAF_SPIN) guards the spare stacks.
 */
#include <alloc/kmap.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <arch/cpu.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/sched.h>
#include <task/tenant.h>
#include <task/hooks.h>
#include <task/mempolicy.h>
#include <task/user_ns.h>
#include "sched_trace.h"
#include "task_priv.h"

#define SPARE_STACKS 64
#define TASK_PAGES   ((s64)(KERNEL_STACK_BYTES / PAGE_SIZE) + 1) /* of the stack and the structures */

static struct spinlock pool_lock = SPIN_INIT(RANK_LEAF_SPIN);
static void *spare[SPARE_STACKS];
static unsigned nr_spare;
static struct kcache *cache;
static struct task boot_task;
static struct cred boot_cred = {
	.refs = { ATOMIC_INIT(1) },
	.cap_effective = (1ULL << 41) - 1,
	.cap_permitted = (1ULL << 41) - 1,
	.cap_bounding = (1ULL << 41) - 1,
	.user_ns = &user_ns_first,
};
static atomic64_t total = ATOMIC_INIT(0);

u64 task_total(void)
{
	return (u64)atomic_read(&total);
}

static void *stack_get(void)
{
	ulong flags = spin_lock_irqsave(&pool_lock);
	void *s = nr_spare ? spare[--nr_spare] : NULL;

	spin_unlock_irqrestore(&pool_lock, flags);
	return s ? s : vmem_alloc(KERNEL_STACK_BYTES);
}

static void stack_put(void *s)
{
	ulong flags = spin_lock_irqsave(&pool_lock);

	if (nr_spare < SPARE_STACKS) {
		spare[nr_spare++] = s;
		s = NULL;
	}
	spin_unlock_irqrestore(&pool_lock, flags);
	vmem_free(s);
}

static void init_common(struct task *t, const char *name)
{
	spin_init(&t->lock, RANK_TASK);
	t->state = TASK_UNINTERRUPTIBLE;
	rb_clear(&t->run_node);
	list_init(&t->run_link);
	list_init(&t->thread_link);
	list_init(&t->tenant_link);
	list_init(&t->sig_queue);
	list_init(&t->task_work);
	t->affinity = CPUMASK_ALL;
	str_copy(t->comm, name, sizeof(t->comm));
	t->start_ns = clock_ns();
	t->timer_slack_ns = t->timer_slack_default_ns = 50 * NSEC_PER_USEC; /* PR_SET_TIMERSLACK's default */
	refcount_set(&t->refs, 2);
}

/* The stack and the structures of a thread are its tenant's memory. */
static int charge_memory(struct task *t, struct tenant *in)
{
	int id = upcall_page_charge(in, TASK_PAGES, ALLOC_KERNEL);

	if (id < 0)
		return id;
	t->memory_id = (u16)id;
	tenant_memory_kind(t->memory_id, MEMORY_STACKS, TASK_PAGES);
	page_stat_add(PAGE_STAT_STACKS, TASK_PAGES);
	return 0;
}

static void uncharge_memory(struct task *t)
{
	tenant_memory_kind(t->memory_id, MEMORY_STACKS, -TASK_PAGES);
	upcall_page_uncharge(t->memory_id, TASK_PAGES);
	page_stat_add(PAGE_STAT_STACKS, -TASK_PAGES);
}

int task_create(struct task **out, const char *name, struct tenant *in)
{
	struct task *t = kcache_alloc(cache, ALLOC_ZERO);

	in = in ? in : current->tenant;
	if (!t)
		return -ENOMEM;
	if (current->class == SCHED_CLASS_DEADLINE && !current->reset_on_fork) {
		kcache_free(cache, t);
		return -EAGAIN; /* a budget cannot be divided (sched(7)) */
	}
	t->stack = stack_get();
	if (!t->stack) {
		kcache_free(cache, t);
		return -ENOMEM;
	}
	init_common(t, name);
	if (tenant_charge(in, RES_PIDS, 1, -EAGAIN)) {
		stack_put(t->stack);
		kcache_free(cache, t);
		return -EAGAIN;
	}
	if (charge_memory(t, in)) {
		tenant_uncharge(in, RES_PIDS, 1);
		stack_put(t->stack);
		kcache_free(cache, t);
		return -ENOMEM;
	}
	sched_fork_attr(t);
	t->cred = current->cred;
	cred_get(t->cred);
	tenant_add_task(in, t);
	atomic_inc(&total);
	__atomic_fetch_add(&sched_total_forks, 1, __ATOMIC_RELAXED);
	*out = t;
	return 0;
}

bool upcall_alloc_in_reclaim(void)
{
	return current && (current->flags & TASK_F_MEMALLOC);
}

void upcall_memory_stall(bool begins)
{
	if (begins)
		psi_stall_begin();
	else
		psi_stall_end();
}

bool upcall_alloc_is_dying(void)
{
	return fatal_signal_pending(current);
}

bool upcall_alloc_may_sleep(void)
{
	return irqs_enabled() && !in_irq() && current && !upcall_alloc_in_reclaim();
}

void task_set_name(struct task *t, const char *name, bool by_exec)
{
	char padded[sizeof(t->comm)] = { 0 };
	ulong irq;

	str_copy(padded, name, sizeof(padded));
	if (trace_on(task_rename))
		sched_trace_rename(t, padded);
	irq = spin_lock_irqsave(&t->lock);
	memcpy(t->comm, padded, sizeof(t->comm));
	spin_unlock_irqrestore(&t->lock, irq);
	if (!by_exec && static_branch(&task_life_key))
		task_hooks->renamed(t);
}

void task_get(struct task *t)
{
	refcount_inc(&t->refs);
}

static void free_task(struct rcu_head *head)
{
	struct task *t = container_of(head, struct task, rcu);

	arch_thread_free(t);
	cred_put(t->cred);
	kfree(t->dl);
	uncharge_memory(t);
	tenant_remove_task(t);
	stack_put(t->stack);
	kcache_free(cache, t);
}

void task_put(struct task *t)
{
	if (!refcount_dec_and_test(&t->refs))
		return;
	if (trace_on(sched_process_free) && t->process)
		sched_trace_process(TRACE_sched_process_free, t);
	upcall_task_free(t);
	mempolicy_put(t->mem_policy);
	atomic_dec(&total);
	rcu_call(&t->rcu, free_task);
}

void task_exit(void)
{
	assert_may_sleep();
	tenant_task_exits(current);
	if (current->class == SCHED_CLASS_DEADLINE)
		ensure(!sched_set_attr(current, 0, 0, current->nice));
	sched_set_state(TASK_DEAD);
	schedule();
	panic("a dead task runs");
}

static struct waitq kthread_ended = WAITQ_INIT(kthread_ended);

struct kthread_call {
	void (*fn)(void *);
	void *arg;
};

static void kthread_main(void *p)
{
	struct kthread_call call = *(struct kthread_call *)p;

	kfree(p);
	call.fn(call.arg);
	current->flags |= TASK_F_EXITING;
	upcall_kthread_end();
	waitq_wake_all(&kthread_ended);
	task_exit();
}

void kthread_join(struct task **thread)
{
	struct task *t = *thread;

	if (!t)
		return;
	wait_event(&kthread_ended, READ_ONCE(t->flags) & TASK_F_EXITING);
	*thread = NULL;
	task_put(t);
}

/* What the maker was, a kernel thread must not inherit: a mount in a container would leave its helpers there. */
static void forget_maker(struct task *t)
{
	cred_put(t->cred);
	t->cred = &boot_cred;
	cred_get(t->cred);
	t->class = SCHED_CLASS_FAIR;
	t->policy = SCHED_NORMAL;
	t->rt_priority = 0;
	t->nice = 0;
	t->affinity = CPUMASK_ALL;
	t->cache_group = 0;
}

int kthread_run(struct task **out, void (*fn)(void *), void *arg, const char *name_fmt, ...)
{
	struct kthread_call *call = kmalloc(sizeof(*call), 0);
	char name[sizeof(boot_task.comm)];
	struct task *t;
	va_list ap;
	int err;

	if (!call)
		return -ENOMEM;
	va_start(ap, name_fmt);
	str_vformat(name, sizeof(name), name_fmt, ap);
	va_end(ap);
	err = task_create(&t, name, &tenant_root);
	if (err) {
		kfree(call);
		return err;
	}
	*call = (struct kthread_call){ fn, arg };
	t->flags = TASK_F_KTHREAD;
	t->sig_blocked = ~0ULL;
	forget_maker(t);
	arch_thread_init(t, kthread_main, call);
	err = upcall_kthread_begin(t);
	if (err) {
		kfree(call);
		task_put(t);
		task_put(t); /* the scheduler's reference: it has never seen the task */
		return err;
	}
	if (out)
		*out = t;
	else
		task_put(t);
	task_wake(t);
	return 0;
}

void task_set_work(struct task *t, ulong bits)
{
	ulong old = __atomic_fetch_or(&t->work, bits, __ATOMIC_SEQ_CST);

	if ((old & bits) != bits && t != current && READ_ONCE(t->on_cpu))
		cpu_kick(READ_ONCE(t->cpu));
}

void task_clear_work(struct task *t, ulong bits)
{
	__atomic_fetch_and(&t->work, ~bits, __ATOMIC_SEQ_CST);
}

int task_work_add(struct task *t, struct task_work *w)
{
	ulong flags = spin_lock_irqsave(&t->lock);
	int err = t->flags & TASK_F_EXITING ? -ESRCH : 0;

	if (!err)
		list_add_tail(&w->link, &t->task_work);
	spin_unlock_irqrestore(&t->lock, flags);
	if (!err)
		task_set_work(t, WORK_NOTIFY);
	return err;
}

void task_work_run(void)
{
	struct task *t = current;
	LIST(todo);
	ulong flags;

	task_clear_work(t, WORK_NOTIFY);
	flags = spin_lock_irqsave(&t->lock);
	list_splice_tail_init(&t->task_work, &todo);
	spin_unlock_irqrestore(&t->lock, flags);
	while (!list_empty(&todo)) {
		struct task_work *w = list_first_entry(&todo, struct task_work, link);

		list_del_init(&w->link);
		w->fn(w);
	}
}

/* ---- idle tasks ------------------------------------------------------------------------------------------ */

static void init_idle(struct task *t, unsigned cpu)
{
	char name[16];

	str_format(name, sizeof(name), "swapper/%u", cpu);
	init_common(t, name);
	t->state = TASK_RUNNING;
	t->flags = TASK_F_KTHREAD;
	t->cred = &boot_cred;
	t->tenant = &tenant_root;
	t->affinity = CPUMASK_ALL;
	sched_adopt_idle(t, cpu);
}

void task_boot(void)
{
	extern char boot_stack[];

	sched_init();
	boot_task.stack = boot_stack;
	this_cpu_write(current_task, &boot_task);
	init_idle(&boot_task, 0);
}

void task_init(void)
{
	shake_init();
	user_ns_init();
	cache = kcache_create("task", sizeof(struct task), 64, NULL);
}

int task_prepare_cpu(unsigned cpu, void **stack_out)
{
	struct task *t = kcache_alloc(cache, ALLOC_ZERO);

	if (!t)
		return -ENOMEM;
	t->stack = stack_get();
	if (!t->stack) {
		kcache_free(cache, t);
		return -ENOMEM;
	}
	*per_cpu_ptr(&current_task, cpu) = t;
	init_idle(t, cpu);
	*stack_out = t->stack;
	return 0;
}
