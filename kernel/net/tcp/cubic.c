/* SPDX-License-Identifier: MIT
 *
 * Problem: how fast may a connection grow after a loss? Reno's one segment a round trip never fills a long fat path.
 *
 * Idea: CUBIC (RFC 9438). The window follows a cubic of the time since the loss: fast back towards where the loss was
 * (wmax), flat around it, fast beyond. Where Reno would be faster (short paths), its window is taken.
 *
 *      W(t) = 0.4 (t - K)^3 + wmax   segments, seconds;   K = cbrt((wmax - cwnd) / 0.4);   after a loss: 0.7 of the
 * window
 *
 * Contract: tcp_priv.h. All in bytes and milliseconds; times beyond 20 s from K count as 20 s. The window grows by
 * bytes: what an acknowledgement earns below one byte is kept as credit.
 *
 * Locks: the host's lock.
 */
#include "tcp_priv.h"

#define FAR_MS    20000
#define BETA      700 /* of 1000 */
#define RENO_GAIN 529 /* of 1000: 3 (1 - beta) / (1 + beta) */

static u64 cube_root(u64 x)
{
	u64 root = 0;

	for (int bit = 20; bit >= 0; bit--) {
		u64 try = root | 1ULL << bit;

		if (try * try * try <= x)
			root = try;
	}
	return root;
}

/* W(t) less wmax, in bytes. */
static s64 cubic(const struct tcp *t, s64 ms)
{
	s64 d = clamp(ms - (s64)t->cubic_k_ms, -(s64)FAR_MS, (s64)FAR_MS);

	return d * d * d / 1000 * 4 * t->mss / (10 * 1000 * 1000LL);
}

static void begin_epoch(struct tcp *t, u64 now)
{
	u32 below = t->cubic_wmax > t->cwnd ? t->cubic_wmax - t->cwnd : 0;

	t->cubic_epoch = now;
	t->cubic_west = t->cwnd;
	t->cwnd_credit = 0;
	if (!below)
		t->cubic_wmax = t->cwnd;
	t->cubic_k_ms = (u32)cube_root(below / t->mss * 2500000000ULL);
}

void tcp_cubic_grow(struct tcp *t, u32 acked)
{
	u64 now = tcp_now(t), target;
	s64 w;

	if (!t->cubic_epoch)
		begin_epoch(t, now);
	w = (s64)t->cubic_wmax + cubic(t, (s64)((now - t->cubic_epoch + t->srtt_ns) / MS));
	target = (u64)clamp(w, (s64)t->cwnd, (s64)t->cwnd + t->cwnd / 2);
	t->cubic_west += (u32)((u64)acked * t->mss * RENO_GAIN / (1000ULL * t->cwnd));
	t->cwnd_credit += (target - t->cwnd) * acked;
	t->cwnd += (u32)(t->cwnd_credit / t->cwnd);
	t->cwnd_credit %= t->cwnd;
	t->cwnd = max(t->cwnd, t->cubic_west);
}

u32 tcp_cubic_loss(struct tcp *t, u32 flight)
{
	/* Fast convergence: who loses before he was back leaves room to others. */
	t->cubic_wmax = flight < t->cubic_wmax ? (u32)((u64)flight * (1000 + BETA) / 2000) : flight;
	t->cubic_epoch = 0;
	return (u32)((u64)flight * BETA / 1000);
}
