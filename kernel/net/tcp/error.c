/* SPDX-License-Identifier: MIT
 *
 * Problem: the network says that a segment did not get through, or was too big; anybody may forge that.
 *
 * Idea: the report quotes the segment: it counts only if its number is of something that is on its way now. A call that
 * has no answer yet ends; a connection that stands only remembers. A segment that was too big is cut and sent again.
 *
 * Contract: tcp_error of net/tcp.h. RFC 5927 (believe what is in the window), RFC 1122 4.2.3.9 (hard and soft), RFC
 * 1191 (path MTU).
 *
 * Locks: the host's lock is taken here.
 */
#include "tcp_priv.h"

static bool is_ours(const struct tcp *t, u32 seq)
{
	if (t->state == TS_SYN_SENT || t->state == TS_SYN_RECV)
		return seq == t->iss;
	return tcp_has_peer_state(t->state) && seq_le(t->snd_una, seq) && seq_lt(seq, t->snd_max);
}

/* The route knows the new size already; what flies is sent again in smaller pieces. */
static void shrink(struct tcp *t)
{
	u32 old = t->mss;

	tcp_fit_mss(t);
	if (t->mss >= old || !seq_lt(t->snd_una, t->snd_nxt))
		return;
	t->snd_nxt = t->snd_una;
	t->nr_sacked = 0;
	t->rtt_timing = false;
	tcp_push(t);
	tcp_alarm_update(t);
}

void tcp_error(struct tcp_host *h, const struct tcp_quote *q)
{
	ulong irq = spin_lock_irqsave(&h->lock);
	struct tcp *t = tcp_find(h, &q->local, q->local_port, &q->remote, q->remote_port, q->ifindex, q->vrf);

	if (t && is_ours(t, q->seq)) {
		if (q->mtu) {
			shrink(t);
		} else if (t->state == TS_SYN_SENT || (t->state == TS_SYN_RECV && !t->parent)) {
			tcp_end(t, q->error);
			tcp_reap(t);
		} else {
			t->soft_error = q->error;
		}
	}
	spin_unlock_irqrestore(&h->lock, irq);
}
