/* SPDX-License-Identifier: MIT
 *
 * Problem: what goes out must fit four limits at once: the peer's window, the network's (cwnd), the segment size, and
 * good manners towards small segments.
 *
 * Idea: one function makes a segment of any part of the stream from the queued chunks, so that a first sending, a
 * repetition and a resumption after a timeout are the same thing at different places. tcp_push repeats "the next
 * segment, if it may go" until it may not.
 *
 * Contract: tcp_priv.h. Small segments: RFC 896 in Minshall's form (hold a short one only while a short one is on its
 * way); TCP_CORK holds it 200 ms at most. Options: timestamps first, then SACK (RFC 7323, appendix A).
 *
 * Locks: the host's lock. Memory: what cannot be allocated is as if lost; the timer repeats it.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>

#include "tcp_priv.h"

#define HEADER      20
#define OPTIONS_MAX 40
#define FIN         1
#define SYN         2
#define RST         4
#define PSH         8
#define ACK         16
#define URG         32

static void put16(u8 *at, u16 v)
{
	at[0] = (u8)(v >> 8);
	at[1] = (u8)v;
}

static void put32(u8 *at, u32 v)
{
	put16(at, (u16)(v >> 16));
	put16(at + 2, (u16)v);
}

u32 tcp_time(const struct tcp *t)
{
	return (u32)(tcp_now(t) / MS) + t->ts_offset;
}

/* ---- options ------------------------------------------------------------------------------------------------- */

static unsigned put4(u8 *at, u8 a, u8 b, u8 c, u8 d)
{
	put32(at, (u32)a << 24 | (u32)b << 16 | (u32)c << 8 | d);
	return 4;
}

static unsigned put_time(const struct tcp *t, u8 *at)
{
	(void)put4(at, OPT_NOP, OPT_NOP, OPT_TIME, OPT_TIME_LEN);
	put32(at + 4, tcp_time(t));
	put32(at + 8, t->ts_recent);
	return 12;
}

static unsigned put_sack(const struct tcp *t, u8 *at, unsigned room)
{
	struct tcp_range r[4];
	unsigned n = min((room - 4) / 8, 4U);

	tcp_measure_sack(t, r, &n);
	if (!n)
		return 0;
	(void)put4(at, OPT_NOP, OPT_NOP, OPT_SACK, (u8)(2 + 8 * n));
	for (unsigned i = 0; i < n; i++) {
		put32(at + 4 + 8 * i, r[i].start);
		put32(at + 8 + 8 * i, r[i].end);
	}
	return 4 + 8 * n;
}

/* reply: a SYN that answers one, and offers only what that one offered. */
static unsigned put_syn(const struct tcp *t, u8 *at, bool reply)
{
	unsigned n = 4;

	at[0] = OPT_MSS;
	at[1] = OPT_MSS_LEN;
	put16(at + 2, (u16)t->advertised_mss);
	if (!reply || t->time_ok)
		n += put_time(t, at + n);
	if (!reply || t->sack_ok)
		n += put4(at + n, OPT_NOP, OPT_NOP, OPT_SACK_OK, OPT_SACK_OK_LEN);
	if (!reply || t->rcv_scale)
		n += put4(at + n, OPT_NOP, OPT_SCALE, OPT_SCALE_LEN, RECEIVE_SCALE);
	return n;
}

static unsigned put_options(const struct tcp *t, u8 *at, unsigned flags)
{
	unsigned n = 0;

	if (flags & SYN)
		return put_syn(t, at, t->state == TS_SYN_RECV);
	if (t->time_ok)
		n = put_time(t, at);
	if (t->sack_ok && !list_empty(&t->out_of_order))
		n += put_sack(t, at + n, OPTIONS_MAX - n);
	return n;
}

/* ---- the window we offer --------------------------------------------------------------------------------------- */

u32 tcp_receive_edge(const struct tcp *t)
{
	u32 room = t->receive_buffer > t->queued ? t->receive_buffer - t->queued : 0, edge;

	room = min(room, 0xffffU << t->rcv_scale);
	if (t->window_clamp)
		room = min(room, t->window_clamp);
	room = room >> t->rcv_scale << t->rcv_scale;
	edge = t->rcv_nxt + room;
	return seq_max(edge, t->rcv_edge); /* what was promised is not taken back */
}

static u16 take_window(struct tcp *t, unsigned flags)
{
	u32 edge = tcp_receive_edge(t), window = edge - t->rcv_nxt;

	if (flags & SYN) {
		window = min(window, t->first_window ? min(t->first_window, 0xffffU) : 0xffffU);
		t->rcv_edge = seq_max(t->rcv_edge, t->rcv_nxt + window);
		return (u16)window;
	}
	t->rcv_edge = edge;
	return (u16)min(window >> t->rcv_scale, 0xffffU);
}

/* ---- one segment ----------------------------------------------------------------------------------------------- */

static struct tcp_chunk *find_chunk(struct tcp *t, u32 seq, u32 *offset)
{
	struct tcp_chunk *c = t->hint;
	u32 at = t->hint_seq;

	if (!c || seq_lt(seq, at)) {
		c = list_first_or_null(&t->chunks, struct tcp_chunk, link);
		at = t->chunk_seq;
	}
	while (c && seq_le(at + c->len, seq)) {
		at += c->len;
		c = c->link.next == &t->chunks ? NULL : list_entry(c->link.next, struct tcp_chunk, link);
	}
	t->hint = c;
	t->hint_seq = at;
	*offset = seq - at;
	return c;
}

static void copy_stream(struct tcp *t, struct packet *p, u32 seq, u32 len)
{
	while (len) {
		u32 offset, n;
		struct tcp_chunk *c = find_chunk(t, seq, &offset);

		ensure(c);
		n = min(len, c->len - offset);
		memcpy(packet_put(p, n), c->data + offset, n);
		seq += n;
		len -= n;
	}
}

/* It names the byte behind the urgent one, as far as 16 bits reach. */
static void point_to_urgent(struct tcp *t, u8 *h, u32 seq)
{
	if (seq_le(t->snd_up, t->snd_una)) {
		t->urgent_out = false;
	} else if (seq_lt(seq, t->snd_up)) {
		h[13] |= URG;
		put16(h + 18, (u16)min(t->snd_up - seq, 0xffffU));
	}
}

/* Sends a segment of len stream bytes from seq on; false: no memory. */
static bool emit(struct tcp *t, u32 seq, u32 len, unsigned flags)
{
	u8 options[OPTIONS_MAX], *h;
	unsigned n = put_options(t, options, flags);
	struct packet *p = packet_alloc(len, ALLOC_ATOMIC);

	if (!p)
		return false;
	copy_stream(t, p, seq, len);
	h = packet_push(p, HEADER + n);
	ensure(h);
	put16(h, net_host16(t->local_port));
	put16(h + 2, net_host16(t->remote_port));
	put32(h + 4, seq);
	put32(h + 8, flags & ACK ? t->rcv_nxt : 0);
	h[12] = (u8)((HEADER + n) / 4 << 4);
	h[13] = (u8)flags;
	put16(h + 14, take_window(t, flags));
	put32(h + 16, 0); /* checksum, urgent */
	if (t->urgent_out)
		point_to_urgent(t, h, seq);
	memcpy(h + HEADER, options, n);
	if (flags & ACK) {
		t->need_ack = false;
		t->delack_at = 0;
		t->last_ack = t->rcv_nxt;
	}
	t->host->out_segments++;
	t->host->ops->output(t->host, t, p, &t->local, &t->remote);
	return true;
}

void tcp_set_mss(struct tcp *t, u32 peer_mss)
{
	u32 mtu = t->host->ops->mtu(t->host, t);
	u32 headers = HEADER + (ip_addr_is_v4(&t->remote) ? 20 : 40);
	u32 mine = min(mtu > headers + 88 ? mtu - headers : 88U, (u32)TCP_SEGMENT_MAX);

	if (t->user_mss)
		mine = min(mine, t->user_mss);
	t->advertised_mss = mine;
	t->mss = max(min(mine, peer_mss ? peer_mss : 536U), 88U) - (t->time_ok ? 12 : 0);
	t->rcv_mss = min(mine, 536U);
}

void tcp_fit_mss(struct tcp *t)
{
	u32 mtu = t->host->ops->mtu(t->host, t);
	u32 headers = HEADER + (ip_addr_is_v4(&t->remote) ? 20 : 40) + (t->time_ok ? 12 : 0);

	t->mss = min(t->mss, mtu > headers + 88 ? mtu - headers : 88U);
}

void tcp_send_syn(struct tcp *t)
{
	unsigned flags = t->state == TS_SYN_RECV ? SYN | ACK : SYN;

	if (emit(t, t->iss, 0, flags) && t->retries) {
		t->total_retransmits++;
		t->host->retransmits++;
	}
	t->snd_nxt = t->iss + 1;
	t->snd_max = seq_max(t->snd_max, t->snd_nxt);
	tcp_arm_rexmit(t);
}

void tcp_send_ack(struct tcp *t)
{
	if (!emit(t, t->snd_nxt, 0, ACK)) {
		t->need_ack = false;
		t->delack_at = tcp_now(t) + DELAY_ACK;
	}
}

void tcp_send_probe(struct tcp *t)
{
	(void)emit(t, t->snd_una - 1, 0, ACK);
}

void tcp_send_reset(struct tcp *t)
{
	(void)emit(t, t->snd_nxt, 0, t->state == TS_SYN_SENT ? RST : RST | ACK);
	t->host->resets_sent++;
}

void tcp_reset_reply(struct tcp_host *h, const struct segment *s, const struct ip_addr *from, u16 from_port,
		     const struct ip_addr *to, u16 to_port)
{
	struct packet *p = packet_alloc(0, ALLOC_ATOMIC);
	u8 *b;

	if (!p)
		return;
	b = packet_push(p, HEADER);
	ensure(b);
	memset(b, 0, HEADER);
	put16(b, net_host16(from_port));
	put16(b + 2, net_host16(to_port));
	put32(b + 4, s->has_ack ? s->ack : 0);
	put32(b + 8, s->has_ack ? 0 : s->seq + s->len + s->syn + s->fin);
	b[12] = HEADER / 4 << 4;
	b[13] = s->has_ack ? RST : RST | ACK;
	p->vrf = s->vrf;
	h->resets_sent++;
	h->out_segments++;
	h->ops->output(h, NULL, p, from, to);
}

/* ---- the stream -------------------------------------------------------------------------------------------------- */

/* One segment from seq on, with the FIN if it ends there. Returns the sequence numbers that it takes; 0: no memory. */
static u32 send_part(struct tcp *t, u32 seq, u32 len)
{
	bool fin = t->fin_queued && seq + len == t->write_seq;
	unsigned flags = ACK | (fin ? FIN : 0) | (len && seq + len == t->write_seq ? PSH : 0);

	if (!emit(t, seq, len, flags))
		return 0;
	t->bytes_out += len;
	if (len < t->mss)
		t->snd_small = seq + len;
	return len + fin;
}

u32 tcp_retransmit(struct tcp *t, u32 seq, u32 most)
{
	u32 left = seq_lt(seq, t->write_seq) ? t->write_seq - seq : 0, n;

	n = send_part(t, seq, min(min(left, t->mss), most));
	if (t->program_flags & BPF_SOCK_OPS_RETRANS_CB_FLAG)
		(void)tcp_program(t, BPF_SOCK_OPS_RETRANS_CB, seq, 1, n ? 0 : (u32)-ENOMEM);
	if (n) {
		t->total_retransmits++;
		t->host->retransmits++;
	}
	t->rtt_timing = false; /* Karn: what may be answered twice is not measured */
	return n;
}

/* A short last segment may have to wait for more. */
static bool may_send_short(const struct tcp *t)
{
	if (t->push_now || t->fin_queued || seq_lt(t->snd_nxt, t->snd_max))
		return true;
	if (t->cork)
		return false;
	return t->no_delay || seq_le(t->snd_small, t->snd_una);
}

static u32 cwnd_of(const struct tcp *t)
{
	return t->cwnd_most ? min(t->cwnd, t->cwnd_most * t->mss) : t->cwnd;
}

/* How many bytes the next segment has; -1: it must wait. */
static s64 next_length(struct tcp *t)
{
	u32 left = seq_lt(t->snd_nxt, t->write_seq) ? t->write_seq - t->snd_nxt : 0;
	u32 edge = t->snd_una + t->snd_wnd, flight = tcp_pipe(t), n;
	u32 usable = seq_lt(t->snd_nxt, edge) ? edge - t->snd_nxt : 0;

	if (!left)
		return t->fin_queued && seq_le(t->snd_nxt, t->write_seq) ? 0 : -1;
	if (seq_lt(t->snd_nxt, t->snd_max))
		usable = max(usable, t->snd_max - t->snd_nxt); /* it was within the window once */
	n = min(min(left, t->mss), usable);
	if (!n || (flight && flight + n > cwnd_of(t)))
		return -1;
	if (n == left)
		return n == t->mss || may_send_short(t) ? (s64)n : -1;
	if (n < t->mss && n < t->max_wnd / 2 && flight)
		return -1; /* the window is silly: wait for a better one */
	return n;
}

static bool send_next(struct tcp *t)
{
	u32 seq = t->snd_nxt, n;
	s64 len = next_length(t);

	if (len < 0)
		return false;
	if (seq_lt(seq, t->snd_max)) {
		n = tcp_retransmit(t, seq, (u32)len);
	} else {
		n = send_part(t, seq, (u32)len);
		if (n && !t->rtt_timing && !t->time_ok) {
			t->rtt_timing = true;
			t->rtt_start = tcp_now(t);
			t->rtt_seq = seq + n;
		}
	}
	t->snd_nxt = seq + n;
	t->snd_max = seq_max(t->snd_max, t->snd_nxt);
	return n != 0;
}

static bool may_push(const struct tcp *t)
{
	return BIT(t->state) &
	       (BIT(TS_ESTABLISHED) | BIT(TS_CLOSE_WAIT) | BIT(TS_FIN_WAIT1) | BIT(TS_CLOSING) | BIT(TS_LAST_ACK));
}

void tcp_push(struct tcp *t)
{
	if (!may_push(t))
		return;
	while (tcp_fill_hole(t) || send_next(t))
		;
	if (seq_lt(t->snd_nxt, t->write_seq) && t->cork && !t->cork_at)
		t->cork_at = tcp_now(t) + CORK_NS;
	if (t->snd_nxt == t->write_seq)
		t->push_now = false;
	tcp_arm_rexmit(t);
}
