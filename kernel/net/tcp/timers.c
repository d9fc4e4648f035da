/* SPDX-License-Identifier: MIT
 *
 * Problem: lost segments, peers that vanish, windows that stay closed, acknowledgements that wait for company: all need
 * a clock, and all must end some time.
 *
 * Idea: five deadlines a connection, zero when off; whatever is due is done. One deadline, rexmit_at, serves three uses
 * that exclude each other: repeat what is not acknowledged, probe a closed window, repeat a SYN.
 *
 * Contract: tcp_priv.h. RFC 6298 (back-off), RFC 1122 4.2.2.17 (window probes), 4.2.3.5 (giving up), 4.2.3.6
 * (keepalive). TCP_USER_TIMEOUT overrides the number of tries.
 *
 * Locks: the host's lock.
 */
#include <lib/err.h>

#include "tcp_priv.h"

static u64 backed_off(const struct tcp *t)
{
	u64 ns = t->rto_ns;

	for (u32 i = 0; i < t->backoff && ns < RTO_MAX; i++)
		ns *= 2;
	return min(ns, (u64)RTO_MAX);
}

void tcp_arm_rexmit(struct tcp *t)
{
	bool syn = t->state == TS_SYN_SENT || t->state == TS_SYN_RECV;
	bool flying = seq_lt(t->snd_una, t->snd_max) || syn;
	bool waiting = seq_lt(t->snd_nxt, tcp_send_end(t)); /* and nothing flies: the window is closed, or no memory */

	if (!flying && (!waiting || (t->cork_at && t->snd_wnd))) {
		t->rexmit_at = 0;
		t->probing = false;
		return;
	}
	if (t->probing != !flying)
		t->rexmit_at = 0;
	t->probing = !flying;
	if (!t->rexmit_at)
		t->rexmit_at = tcp_now(t) + backed_off(t);
}

void tcp_arm_keepalive(struct tcp *t)
{
	bool on = t->keep_alive && BIT(t->state) & (BIT(TS_ESTABLISHED) | BIT(TS_CLOSE_WAIT) | BIT(TS_FIN_WAIT1) |
						    BIT(TS_FIN_WAIT2) | BIT(TS_CLOSING) | BIT(TS_LAST_ACK));

	t->keep_at = on ? t->last_received + t->keep_idle_s * NSEC_PER_SEC : 0;
	t->keep_probes = 0;
}

/* One more try without an answer: true if it was one too many. */
static bool exhausted(struct tcp *t, u64 now)
{
	u32 tries = t->state == TS_SYN_SENT   ? t->syn_retries
		    : t->state == TS_SYN_RECV ? SYN_ACK_RETRIES
		    : t->orphaned             ? ORPHAN_RETRIES
					      : RETRIES;

	if (!t->first_failure)
		t->first_failure = now;
	if (t->user_timeout_ms && t->state != TS_SYN_RECV)
		return now - t->first_failure >= t->user_timeout_ms * MS;
	return t->retries >= tries;
}

void tcp_fail(struct tcp *t, int error)
{
	if (tcp_has_peer_state(t->state) && t->state != TS_SYN_RECV)
		tcp_send_reset(t);
	tcp_end(t, error);
}

static void rexmit(struct tcp *t, u64 now)
{
	bool last = exhausted(t, now);

	t->rexmit_at = 0;
	if (t->program_flags & BPF_SOCK_OPS_RTO_CB_FLAG && !t->probing)
		(void)tcp_program(t, BPF_SOCK_OPS_RTO_CB, t->retries, (u32)(backed_off(t) / (4 * MS)), last);
	if (last) {
		tcp_fail(t, t->soft_error ? t->soft_error : ETIMEDOUT);
		return;
	}
	t->retries++;
	t->backoff++;
	t->host->timeouts++;
	if (t->state == TS_SYN_SENT || t->state == TS_SYN_RECV) {
		tcp_send_syn(t);
	} else if (t->probing) {
		tcp_send_probe(t);
		tcp_push(t);
	} else {
		tcp_loss_timeout(t);
		tcp_push(t);
	}
}

static void keepalive(struct tcp *t, u64 now)
{
	u64 idle_since = t->last_received + t->keep_idle_s * NSEC_PER_SEC;

	if (seq_lt(t->snd_una, t->snd_max) || (!t->keep_probes && now < idle_since)) {
		t->keep_at =
			max(idle_since, now + t->keep_interval_s * NSEC_PER_SEC); /* the other timer looks after it */
		return;
	}
	if (t->keep_probes >= t->keep_count) {
		tcp_fail(t, ETIMEDOUT);
		return;
	}
	t->keep_probes++;
	tcp_send_probe(t);
	t->keep_at = now + t->keep_interval_s * NSEC_PER_SEC;
}

static bool due(u64 at, u64 now)
{
	return at && at <= now;
}

void tcp_timers(struct tcp *t, u64 now)
{
	if (due(t->wait_at, now)) {
		tcp_end(t, 0);
		return;
	}
	if (due(t->delack_at, now))
		tcp_send_ack(t);
	if (due(t->cork_at, now)) {
		t->cork_at = 0;
		t->push_now = true;
		tcp_push(t);
	}
	if (due(t->rexmit_at, now))
		rexmit(t, now);
	if (t->state != TS_CLOSE && due(t->keep_at, now))
		keepalive(t, now);
}
