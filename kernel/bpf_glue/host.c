/* SPDX-License-Identifier: MIT
 *
 * Problem: the eBPF cores are told by a table where they run.
 *
 * Idea: here they run in the kernel: its clock, its CPUs, its RCU. What is to be freed after running programs needs a
 * list node of its own, since the core gives any object; when there is no memory for one, the object waits in a small
 * reserve.
 *
 * Contract: bpf/env.h; every function may be called with interrupts off, but relax, which may sleep.
 *
 * Locks: none; the reserve's slots are claimed atomically.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/user.h>
#include <bpf/env.h>
#include <cgroup/cgroup.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/random.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <process/process.h>
#include <task/sched.h>
#include <task/task.h>

#include "glue_priv.h"

#define RESERVE 256

struct grave {
	struct rcu_head rcu;
	void *obj;
	void (*fn)(void *);
	u32 taken; /* of the reserve */
};

static struct grave reserve[RESERVE];

static bool is_reserve(const struct grave *g)
{
	return g >= reserve && g < reserve + RESERVE;
}

static void bury(struct rcu_head *head)
{
	struct grave *g = container_of(head, struct grave, rcu);

	g->fn(g->obj);
	if (is_reserve(g))
		__atomic_store_n(&g->taken, 0, __ATOMIC_RELEASE);
	else
		kfree(g);
}

static struct grave *from_reserve(void)
{
	for (u32 i = 0; i < RESERVE; i++)
		if (!__atomic_exchange_n(&reserve[i].taken, 1, __ATOMIC_ACQUIRE))
			return &reserve[i];
	return NULL;
}

static void call_rcu(void *obj, void (*fn)(void *))
{
	struct grave *g = kmalloc(sizeof(*g), ALLOC_ATOMIC);

	g = g ? g : from_reserve();
	if (!g) { /* rather lost than freed under a program that runs */
		log_warn("bpf: no memory to free an object later");
		return;
	}
	g->obj = obj;
	g->fn = fn;
	rcu_call(&g->rcu, bury);
}

static u32 this_cpu(void)
{
	return cpu_id();
}

static u32 random_u32(void)
{
	return (u32)random_u64();
}

static u64 pid_tgid(void)
{
	const struct task *t = current;

	if (!t->pid || !t->process)
		return 0;
	return (u64)pid_nr_global(t->process->pid) << 32 | (u32)pid_nr_global(t->pid);
}

static u64 uid_gid(void)
{
	return (u64)current->cred->gid.v << 32 | current->cred->uid.v;
}

static u64 current_cgroup(void)
{
	return cgroup_id(current->tenant);
}

static void comm(char *buf, u32 size)
{
	memset(buf, 0, size);
	if (size)
		memcpy(buf, current->comm, min(size - 1, (u32)sizeof(current->comm)));
}

static ulong save(void)
{
	return irq_save();
}

static void restore(ulong flags)
{
	irq_restore(flags);
}

static int peek(void *to, u64 from, u32 bytes, bool user)
{
	bool kernels = from >= USER_END + PAGE_SIZE && (u64)((s64)(from << 16) >> 16) == from;

	if (user)
		return user_copy_in_nofault(to, (const void __user *)from, bytes) ? -EFAULT : 0;
	if (!kernels)
		return -ERANGE;
	return kernel_peek(to, (const void *)from, bytes) ? -EFAULT : 0;
}

static void trace(const char *text)
{
	log_info("bpf_trace_printk: %s", text);
}

void bpf_host_init(void)
{
	const struct bpf_env_ops ops = {
		.cpus = cpu_count(),
		.cpu_id = this_cpu,
		.now_ns = clock_ns,
		.boot_ns = clock_ns,
		.tai_ns = clock_real_ns, /* nobody has told the kernel of leap seconds */
		.random_u32 = random_u32,
		.pid_tgid = pid_tgid,
		.uid_gid = uid_gid,
		.cgroup_id = current_cgroup,
		.comm = comm,
		.irq_save = save,
		.irq_restore = restore,
		.trace = trace,
		.call_rcu = call_rcu,
		.drop = bpf_held_drop,
		.ringbuf_wake = bpf_files_wake_ring,
		.peek = peek,
		.relax = resched_point,
	};

	bpf_env_set(&ops);
}
