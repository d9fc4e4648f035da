/* SPDX-License-Identifier: MIT
 *
 * Problem: the cores need a clock, a CPU number and a way to wait for running programs, in the kernel, in tests and
 * in `ostrom`.
 *
 * Idea: one table of functions with defaults for a single thread: nothing runs at the same time, so freeing needs no
 * waiting.
 *
 * Contract: bpf/env.h.
 *
 * Locks: none; set once before use.
 */
#include <bpf/env.h>
#include <lib/err.h>
#include <lib/string.h>

static u32 zero(void)
{
	return 0;
}

static u64 zero64(void)
{
	return 0;
}

static ulong no_irq(void)
{
	return 0;
}

static void no_irq_restore(ulong flags)
{
}

static void no_comm(char *buf, u32 size)
{
	memset(buf, 0, size);
}

static void drop_text(const char *text)
{
}

static void at_once(void *obj, void (*fn)(void *))
{
	fn(obj);
}

static void no_drop(u32 map_type, void *obj)
{
}

static void no_wake(void *map)
{
}

static int no_peek(void *to, u64 from, u32 bytes, bool user)
{
	return -EFAULT;
}

static void no_relax(void)
{
}

/* xorshift; good enough for tests, the kernel has its own generator. */
static u32 weak_random(void)
{
	static u32 x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

struct bpf_env_ops bpf_env = {
	.cpus = 1,
	.cpu_id = zero,
	.numa_node = zero,
	.now_ns = zero64,
	.boot_ns = zero64,
	.tai_ns = zero64,
	.random_u32 = weak_random,
	.pid_tgid = zero64,
	.uid_gid = zero64,
	.cgroup_id = zero64,
	.comm = no_comm,
	.irq_save = no_irq,
	.irq_restore = no_irq_restore,
	.trace = drop_text,
	.call_rcu = at_once,
	.drop = no_drop,
	.ringbuf_wake = no_wake,
	.peek = no_peek,
	.relax = no_relax,
};

#define TAKE(m)                                                                                                        \
	if (ops->m)                                                                                                    \
	bpf_env.m = ops->m

void bpf_env_set(const struct bpf_env_ops *ops)
{
	TAKE(cpus);
	TAKE(cpu_id);
	TAKE(numa_node);
	TAKE(now_ns);
	TAKE(boot_ns);
	TAKE(tai_ns);
	TAKE(random_u32);
	TAKE(pid_tgid);
	TAKE(uid_gid);
	TAKE(cgroup_id);
	TAKE(comm);
	TAKE(irq_save);
	TAKE(irq_restore);
	TAKE(trace);
	TAKE(call_rcu);
	TAKE(drop);
	TAKE(ringbuf_wake);
	TAKE(peek);
	TAKE(relax);
}
