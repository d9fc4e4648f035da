/* SPDX-License-Identifier: MIT
 *
 * What the eBPF cores need from the place that they run in. The kernel fills one table at boot, a test or
 * `ostrom bpfcheck` another one; without a call of bpf_env_set the defaults serve one CPU and a clock that stands.
 *
 * Threading: bpf_env_set runs once, before any other call into the part. The functions in the table may be called from
 * any context, with interrupts off.
 */
#ifndef BPF_ENV_H
#define BPF_ENV_H

#include <lib/types.h>

#define BPF_MAX_CPUS 64

struct bpf_env_ops {
	u32 cpus; /* possible CPUs, at most BPF_MAX_CPUS: the length of per-CPU values */
	u32 (*cpu_id)(void);
	u32 (*numa_node)(void);
	u64 (*now_ns)(void);  /* monotonic */
	u64 (*boot_ns)(void); /* monotonic with suspended time */
	u64 (*tai_ns)(void);  /* International Atomic Time */
	u32 (*random_u32)(void);
	u64 (*pid_tgid)(void);
	u64 (*uid_gid)(void);
	u64 (*cgroup_id)(void);
	void (*comm)(char *buf, u32 size);
	ulong (*irq_save)(void);
	void (*irq_restore)(ulong flags);
	void (*trace)(const char *text);                 /* a line of bpf_trace_printk */
	void (*call_rcu)(void *obj, void (*fn)(void *)); /* fn(obj) after all running programs have ended */
	void (*drop)(u32 map_type, void *obj);           /* what bpf_sys_ops.hold gave; only cgroups in any context */
	void (*ringbuf_wake)(void *map);                 /* a consumer may sleep on this ring */
	/* Copies memory of the kernel or the user that may not be there: 0, -EFAULT, or -ERANGE: no address of the
	 * kernel. */
	int (*peek)(void *to, u64 from, u32 bytes, bool user);
	void (*relax)(void); /* called now and then by long work that may sleep */
};

extern struct bpf_env_ops bpf_env;

void bpf_env_set(const struct bpf_env_ops *ops); /* NULL members keep their defaults */

/* A spin lock that is held with interrupts off for a few dozen instructions. */
struct bpf_lock {
	u32 held;
};

static inline ulong bpf_lock(struct bpf_lock *l)
{
	ulong flags = bpf_env.irq_save();

	while (__atomic_exchange_n(&l->held, 1, __ATOMIC_ACQUIRE))
		while (READ_ONCE(l->held))
			__builtin_ia32_pause();
	return flags;
}

static inline void bpf_unlock(struct bpf_lock *l, ulong flags)
{
	__atomic_store_n(&l->held, 0, __ATOMIC_RELEASE);
	bpf_env.irq_restore(flags);
}

#endif
