/* SPDX-License-Identifier: MIT
 *
 * Problem: turn nops into jumps in code that other CPUs are executing.
 *
 * Idea: all CPUs meet in a call; the first to arrive writes through a temporary writable mapping of
 * the text page while the others wait with IRQs off, and every CPU serialises before it goes on.
 * Slow and simple: keys change rarely.
 *
 * Contract: core/static_branch.h.
 *
 * Locks: `lock` (RANK_LEAF_SLEEP) guards keys' counts and the mapping window.
 */
#include <core/log.h>
#include <core/static_branch.h>
#include <lib/atomic.h>
#include <lib/string.h>
#include <task/mutex.h>
#include "x86_priv.h"

#define WINDOW (PERCPU_BASE + (ulong)MAX_CPUS * PERCPU_UNIT)

extern const struct static_branch_site static_branches_start[], static_branches_end[];
static struct mutex lock = MUTEX_INIT(lock, RANK_LEAF_SLEEP);

struct patch {
	struct static_key *key;
	bool on;
	atomic_t arrived, done;
};

static void write_site(const struct static_branch_site *s, bool on)
{
	static const u8 nop[5] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	u8 code[5];
	s32 rel = (s32)(s->target - (s->at + 5));

	memcpy(code, nop, 5);
	if (on) {
		code[0] = 0xe9;
		memcpy(code + 1, &rel, 4);
	}
	memcpy((void *)(WINDOW + (s->at - (ulong)text_start)), code, 5);
}

static void patch_all(void *arg)
{
	struct patch *p = arg;
	u32 r[4];

	if (atomic_fetch_add(&p->arrived, 1) + 1 == (int)cpu_count()) {
		for (const struct static_branch_site *s = static_branches_start; s < static_branches_end; s++)
			if (s->key == p->key)
				write_site(s, p->on);
		atomic_set_release(&p->done, 1);
	}
	while (!atomic_read_acquire(&p->done))
		cpu_relax();
	cpuid(0, 0, r); /* serialises */
}

static void patch_key(struct static_key *key, bool on)
{
	struct patch p = { .key = key, .on = on };
	size_t bytes = text_end - text_start;

	if (kernel_map(WINDOW, (ulong)text_start - KERNEL_BASE, bytes, PT_READ | PT_WRITE | PT_GLOBAL))
		panic("no memory to patch code");
	cpu_call(cpu_online_mask(), patch_all, &p);
	kernel_unmap(WINDOW, bytes);
}

void static_key_inc(struct static_key *key)
{
	mutex_lock(&lock);
	if (key->users++ == 0)
		patch_key(key, true);
	mutex_unlock(&lock);
}

void static_key_dec(struct static_key *key)
{
	mutex_lock(&lock);
	ensure(key->users > 0);
	if (--key->users == 0)
		patch_key(key, false);
	mutex_unlock(&lock);
}
