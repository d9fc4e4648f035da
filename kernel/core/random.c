/* SPDX-License-Identifier: MIT
 *
 * Problem: unpredictable bytes from the first program on, on machines with and without a hardware
 * generator.
 *
 * Idea: one ChaCha20 generator with key erasure. It is seeded on first use from RDRAND and
 * from the cycle counter sampled over short waits, whose low bits vary with every disturbance of the
 * machine; both are folded in again every 1024 requests, and random_add takes whatever else there is.
 *
 * Contract: core/random.h. Without a hardware generator the seed is as good as the timing jitter.
 *
 * Locks: `lock`, irqsave.
 */
#include <arch/cpu.h>
#include <arch/vdso.h>
#include <core/clock.h>
#include <core/random.h>
#include <core/spin.h>
#include <lib/chacha20.h>

#define RESEED_EVERY 1024
#define SAMPLES      32

static struct spinlock lock = SPIN_INIT(RANK_SUBSYS_SPIN);
static struct keystream stream;
static unsigned until_reseed;

static void reseed(void)
{
	u64 seed[SAMPLES];

	for (unsigned i = 0; i < SAMPLES; i++) {
		u64 v;

		if (!arch_entropy(&v))
			v = clock_ns();
		for (u64 spin = cpu_cycles() & 15; spin; spin--)
			cpu_relax();
		seed[i] = v ^ cpu_cycles();
	}
	keystream_mix(&stream, seed, sizeof(seed));
	until_reseed = RESEED_EVERY;
}

void random_add(const void *bytes, size_t n)
{
	ulong irq = spin_lock_irqsave(&lock);

	keystream_mix(&stream, bytes, n);
	spin_unlock_irqrestore(&lock, irq);
}

void random_get(void *buf, size_t n)
{
	u8 *to = buf;

	do { /* in pieces, so that IRQs are not off for long */
		size_t part = min(n, (size_t)256);
		ulong irq = spin_lock_irqsave(&lock);

		if (!until_reseed--)
			reseed();
		keystream_read(&stream, to, part);
		spin_unlock_irqrestore(&lock, irq);
		to += part;
		n -= part;
	} while (n);
}

u64 random_u64(void)
{
	u64 v;

	random_get(&v, sizeof(v));
	return v;
}
