/* SPDX-License-Identifier: MIT
 *
 * Problem: an acknowledgement says what arrived, hints at what was lost, measures the path and tells how much the
 * network bears; and it may be old, doubled or a lie.
 *
 * Idea: a scoreboard of ranges that the peer has beyond the first hole. Loss is three duplicates or as much data beyond
 * the hole. In recovery everything below the highest range that is not on the scoreboard counts as gone from the
 * network, holes are filled first, and new data follow while the estimate of what flies is below cwnd. A timeout
 * forgets the scoreboard (the peer may have dropped what it reported) and begins again at the first hole.
 *
 * Contract: tcp_priv.h. RFC 5681 and 6582 (windows; recovery without SACK), 6675 (with), 6298 (timer), 7323 (round-trip
 * time by timestamps), 3465 (byte counting, L = 2), 2018 (scoreboard).
 *
 * Locks: the host's lock.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>

#include "tcp_priv.h"

#define DUP_ACKS 3

/* ---- the round trip --------------------------------------------------------------------------------------------- */

void tcp_rtt_sample(struct tcp *t, u64 ns)
{
	if (!t->srtt_ns) {
		t->srtt_ns = max(ns, 1ULL);
		t->rttvar_ns = ns / 2;
	} else {
		u64 off = ns > t->srtt_ns ? ns - t->srtt_ns : t->srtt_ns - ns;

		t->rttvar_ns = (3 * t->rttvar_ns + off) / 4;
		t->srtt_ns = (7 * t->srtt_ns + ns) / 8;
	}
	t->rto_ns = clamp(t->srtt_ns + max(4 * t->rttvar_ns, (u64)RTO_MIN), (u64)RTO_MIN, (u64)RTO_MAX);
	if (t->program_flags & BPF_SOCK_OPS_RTT_CB_FLAG)
		(void)tcp_program(t, BPF_SOCK_OPS_RTT_CB, 0, 0, 0);
}

static void measure(struct tcp *t, const struct segment *s)
{
	if (t->time_ok && s->opt.has_time && s->opt.echo) {
		u32 ms = tcp_time(t) - s->opt.echo;

		if (ms < RTO_MAX / MS)
			tcp_rtt_sample(t, ms * MS);
	} else if (t->rtt_timing && seq_le(t->rtt_seq, s->ack)) {
		tcp_rtt_sample(t, tcp_now(t) - t->rtt_start);
		t->rtt_timing = false;
	}
}

/* ---- the scoreboard: sorted, disjoint ------------------------------------------------------------------------------
 */

static void add_range(struct tcp *t, u32 start, u32 end)
{
	u32 i = 0, j;

	while (i < t->nr_sacked && seq_lt(t->sacked[i].end, start))
		i++;
	for (j = i; j < t->nr_sacked && seq_le(t->sacked[j].start, end); j++) {
		start = seq_min(start, t->sacked[j].start);
		end = seq_max(end, t->sacked[j].end);
	}
	if (i == j && t->nr_sacked == TCP_SACK_RANGES)
		return; /* full: this one is repeated in later acknowledgements or sent twice */
	memmove(&t->sacked[i + 1], &t->sacked[j], (t->nr_sacked - j) * sizeof(t->sacked[0]));
	t->sacked[i] = (struct tcp_range){ start, end };
	t->nr_sacked -= j - i;
	t->nr_sacked++;
}

/* True if the peer told something new. */
static bool note_sack(struct tcp *t, const struct segment *s)
{
	u32 before = tcp_sacked_bytes(t);

	for (unsigned i = 0; i < s->opt.nr_sack; i++) {
		struct tcp_range r = s->opt.sack[i];

		if (seq_lt(r.start, r.end) && seq_lt(t->snd_una, r.start) && seq_le(r.end, t->snd_max))
			add_range(t, r.start, r.end);
	}
	return tcp_sacked_bytes(t) != before;
}

static void trim_sacked(struct tcp *t)
{
	u32 n = 0;

	while (n < t->nr_sacked && seq_le(t->sacked[n].end, t->snd_una))
		n++;
	t->nr_sacked -= n;
	memmove(t->sacked, t->sacked + n, t->nr_sacked * sizeof(t->sacked[0]));
}

u32 tcp_sacked_bytes(const struct tcp *t)
{
	u32 n = 0;

	for (u32 i = 0; i < t->nr_sacked; i++)
		n += t->sacked[i].end - t->sacked[i].start;
	return n;
}

/* The first byte at or behind seq, below the highest range, that the peer does not have. */
static bool next_hole(const struct tcp *t, u32 seq, struct tcp_range *out)
{
	for (u32 i = 0; i < t->nr_sacked; i++) {
		if (seq_lt(seq, t->sacked[i].start)) {
			*out = (struct tcp_range){ seq, t->sacked[i].start };
			return true;
		}
		seq = seq_max(seq, t->sacked[i].end);
	}
	return false;
}

u32 tcp_pipe(const struct tcp *t)
{
	u32 flight = t->snd_nxt - t->snd_una, gone;
	struct tcp_range hole;

	if (!t->in_recovery || !t->sack_ok) {
		gone = t->in_recovery || !t->sack_ok ? t->dup_acks * t->mss : tcp_sacked_bytes(t);
		return flight > gone ? flight - gone : 0;
	}
	gone = tcp_sacked_bytes(t);
	for (u32 at = seq_max(t->high_rxt, t->snd_una); next_hole(t, at, &hole); at = hole.end)
		gone += hole.end - hole.start;
	return flight > gone ? flight - gone : 0;
}

bool tcp_fill_hole(struct tcp *t)
{
	struct tcp_range hole;
	u32 n;

	if (!t->in_recovery || !t->sack_ok || !next_hole(t, seq_max(t->high_rxt, t->snd_una), &hole))
		return false;
	n = min(hole.end - hole.start, t->mss);
	if (tcp_pipe(t) && tcp_pipe(t) + n > t->cwnd)
		return false;
	n = tcp_retransmit(t, hole.start, n);
	t->high_rxt = hole.start + n;
	return n != 0;
}

/* ---- congestion
 * ------------------------------------------------------------------------------------------------------ */

/* The window after a loss. */
static u32 less_flight(struct tcp *t)
{
	u32 flight = t->snd_max - t->snd_una;

	return max(t->reno ? flight / 2 : tcp_cubic_loss(t, flight), 2 * t->mss);
}

static void begin_recovery(struct tcp *t)
{
	u32 n;

	t->in_recovery = true;
	t->recover = t->snd_max;
	t->ssthresh = less_flight(t);
	t->cwnd = t->ssthresh;
	n = tcp_retransmit(t, t->snd_una, t->mss);
	t->high_rxt = t->snd_una + n;
	t->rexmit_at = 0;
}

void tcp_loss_timeout(struct tcp *t)
{
	if (!t->in_loss || t->retries <= 1)
		t->ssthresh = less_flight(t);
	t->in_loss = true;
	t->in_recovery = false;
	t->recover = t->snd_max;
	t->cwnd = t->mss;
	t->cwnd_credit = 0;
	t->dup_acks = 0;
	t->nr_sacked = 0;
	t->snd_nxt = t->snd_una;
	t->rtt_timing = false;
}

static void grow(struct tcp *t, u32 acked)
{
	if (t->cwnd >= MAX_WINDOW)
		return;
	if (t->cwnd < t->ssthresh) {
		t->cwnd += min(acked, 2 * t->mss);
		return;
	}
	if (!t->reno) {
		tcp_cubic_grow(t, acked);
		return;
	}
	t->cwnd_credit += acked;
	if (t->cwnd_credit >= t->cwnd) {
		t->cwnd_credit -= t->cwnd;
		t->cwnd += t->mss;
	}
}

/* acked bytes are new; the window was used up before or is not the limit. */
static void on_progress(struct tcp *t, u32 acked, bool was_full)
{
	t->retries = t->backoff = 0;
	t->first_failure = 0;
	t->soft_error = 0;
	t->rexmit_at = 0;
	if (t->in_recovery && seq_lt(t->snd_una, t->recover)) {
		if (!t->sack_ok) { /* a partial one: the next hole begins here (RFC 6582, 3.2 step 5) */
			(void)tcp_retransmit(t, t->snd_una, t->mss);
			t->dup_acks = t->dup_acks > acked / t->mss ? t->dup_acks - acked / t->mss : 0;
		}
		return;
	}
	if (t->in_recovery)
		t->cwnd = max(min(t->ssthresh, (t->snd_max - t->snd_una) + t->mss), 2 * t->mss);
	else if (was_full)
		grow(t, acked);
	if (seq_le(t->recover, t->snd_una))
		t->in_loss = false;
	t->in_recovery = false;
	t->dup_acks = 0;
}

static bool is_duplicate(const struct tcp *t, const struct segment *s)
{
	return s->ack == t->snd_una && seq_lt(t->snd_una, t->snd_max) && !s->len && !s->syn && !s->fin &&
	       (s->window << t->snd_scale) == t->snd_wnd;
}

static void on_duplicate(struct tcp *t)
{
	t->dup_acks++;
	if (t->in_recovery || t->in_loss)
		return;
	if (t->dup_acks >= DUP_ACKS || (t->sack_ok && tcp_sacked_bytes(t) > DUP_ACKS * t->mss))
		begin_recovery(t);
}

/* ---- an acknowledgement
 * -------------------------------------------------------------------------------------------------- */

void tcp_free_sent(struct tcp *t, bool all)
{
	while (!list_empty(&t->chunks)) {
		struct tcp_chunk *c = list_first_entry(&t->chunks, struct tcp_chunk, link);

		if (!all && seq_lt(t->snd_una, t->chunk_seq + c->len))
			break;
		t->chunk_seq += c->len;
		if (t->hint == c)
			t->hint = NULL;
		list_del(&c->link);
		kfree(c);
	}
}

static void take_window(struct tcp *t, const struct segment *s)
{
	if (!seq_lt(t->snd_wl1, s->seq) && !(t->snd_wl1 == s->seq && seq_le(t->snd_wl2, s->ack)))
		return;
	t->snd_wnd = s->window << (s->syn ? 0 : t->snd_scale);
	t->max_wnd = max(t->max_wnd, t->snd_wnd);
	t->snd_wl1 = s->seq;
	t->snd_wl2 = s->ack;
}

/* How the segment's number relates to what we sent; true: go on. */
static bool is_believable(struct tcp *t, const struct segment *s)
{
	if (seq_lt(t->snd_max, s->ack)) { /* not sent yet */
		t->need_ack = true;
		return false;
	}
	if (seq_lt(s->ack, t->snd_una - min(t->max_wnd, MAX_WINDOW))) { /* RFC 5961, 5.2: far too old */
		t->need_ack = true;
		return false;
	}
	return true;
}

bool tcp_ack(struct tcp *t, const struct segment *s)
{
	bool was_full, duplicate, told;
	u32 acked;

	if (!is_believable(t, s))
		return false;
	if (seq_lt(s->ack, t->snd_una))
		return true; /* old, but its data may be new */
	duplicate = is_duplicate(t, s);
	told = t->sack_ok && note_sack(t, s);
	take_window(t, s);
	t->keep_probes = 0;
	if (t->probing && s->window) {
		t->retries = t->backoff = 0;
		t->first_failure = 0;
	} else if (t->probing) {
		t->retries = 0; /* it lives: a closed window is no failure, only the probes get rarer */
		t->first_failure = 0;
	}
	acked = s->ack - t->snd_una;
	if (!acked) {
		if (duplicate || told)
			on_duplicate(t);
		return true;
	}
	was_full = t->snd_max - t->snd_una + t->mss > t->cwnd / (t->cwnd < t->ssthresh ? 2 : 1);
	measure(t, s);
	t->snd_una = s->ack;
	t->snd_nxt = seq_max(t->snd_nxt, t->snd_una);
	tcp_free_sent(t, false);
	trim_sacked(t);
	on_progress(t, acked, was_full);
	tcp_event(t);
	return true;
}
