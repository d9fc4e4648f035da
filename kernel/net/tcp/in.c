/* SPDX-License-Identifier: MIT
 *
 * Problem: every segment is written by a stranger. It belongs to a state machine of eleven states, may be old, forged
 * or malformed, and must never do more than a legitimate one could.
 *
 * Idea: parse the whole header first, with no effect. Then the order of RFC 9293, 3.10.7: find the connection, judge
 * number, reset, SYN and acknowledgement, and only then take data. A reset or a SYN that does not hit the exact number
 * is answered with an acknowledgement instead of obeyed (RFC 5961), old timestamps are refused (RFC 7323, PAWS).
 *
 * Contract: net/tcp.h. Consumes the packet. A listener makes the child at once, or answers with a cookie (cookie.c).
 *
 * Locks: the host's lock is taken here.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>

#include "tcp_priv.h"

#define HEADER         20
#define COOKIE_LIFE_NS (192 * NSEC_PER_SEC)

static u32 get32(const u8 *b)
{
	return (u32)b[0] << 24 | (u32)b[1] << 16 | (u32)b[2] << 8 | b[3];
}

static u16 get16(const u8 *b)
{
	return (u16)(b[0] << 8 | b[1]);
}

/* ---- parsing -------------------------------------------------------------------------------------------------------
 */

static void parse_sack(const u8 *at, u8 len, struct tcp_options *out)
{
	for (u8 i = 2; i + 8 <= len && out->nr_sack < ARRAY_SIZE(out->sack); i += 8)
		out->sack[out->nr_sack++] = (struct tcp_range){ get32(at + i), get32(at + i + 4) };
}

static void parse_option(const u8 *at, u8 len, bool syn, struct tcp_options *out)
{
	if (at[0] == OPT_TIME && len == OPT_TIME_LEN) {
		out->has_time = true;
		out->time = get32(at + 2);
		out->echo = get32(at + 6);
	} else if (at[0] == OPT_SACK && len > 2 && (len - 2) % 8 == 0) {
		parse_sack(at, len, out);
	} else if (syn && at[0] == OPT_MSS && len == OPT_MSS_LEN) {
		out->has_mss = true;
		out->mss = get16(at + 2);
	} else if (syn && at[0] == OPT_SCALE && len == OPT_SCALE_LEN) {
		out->has_scale = true;
		out->scale = min(at[2], (u8)MAX_SCALE);
	} else if (syn && at[0] == OPT_SACK_OK && len == OPT_SACK_OK_LEN) {
		out->sack_ok = true;
	}
}

bool tcp_parse_options(const u8 *at, size_t len, bool syn, struct tcp_options *out)
{
	*out = (struct tcp_options){ .mss = 0 };
	while (len && at[0] != OPT_END) {
		u8 n = 1;

		if (at[0] != OPT_NOP) {
			if (len < 2 || at[1] < 2 || at[1] > len)
				return false;
			n = at[1];
			parse_option(at, n, syn, out);
		}
		at += n;
		len -= n;
	}
	return true;
}

/* data moves to the payload. */
static bool parse(struct packet *p, struct segment *s, u16 *from, u16 *to)
{
	const u8 *h = p->data;
	size_t header;

	if (packet_len(p) < HEADER)
		return false;
	header = (h[12] >> 4) * 4U;
	if (header < HEADER || header > packet_len(p))
		return false;
	memcpy(from, h, 2);
	memcpy(to, h + 2, 2);
	*s = (struct segment){ .seq = get32(h + 4),
			       .ack = get32(h + 8),
			       .window = get16(h + 14),
			       .fin = h[13] & 1,
			       .syn = h[13] & 2,
			       .rst = h[13] & 4,
			       .has_ack = h[13] & 16,
			       .has_urgent = h[13] & 32,
			       .urgent = get16(h + 18),
			       .len = (u32)(packet_len(p) - header) };
	if (!tcp_parse_options(h + HEADER, header - HEADER, s->syn, &s->opt))
		return false;
	p->data += header;
	return *from && *to;
}

/* ---- the start of a connection
 * ----------------------------------------------------------------------------------------- */

/* What the peer's SYN settles. */
static void take_syn(struct tcp *t, const struct segment *s)
{
	t->irs = s->seq;
	t->rcv_nxt = t->last_ack = s->seq + 1;
	t->rcv_edge = t->rcv_nxt;
	t->sack_ok = s->opt.sack_ok;
	t->time_ok = s->opt.has_time;
	t->ts_recent = s->opt.time;
	if (s->opt.has_scale) {
		t->snd_scale = s->opt.scale;
		t->rcv_scale = RECEIVE_SCALE;
	} else {
		t->snd_scale = t->rcv_scale = 0;
	}
	tcp_set_mss(t, s->opt.has_mss ? s->opt.mss : 0);
	t->snd_wnd = t->max_wnd = s->window; /* of a SYN: never scaled */
	t->snd_wl1 = s->seq;
	t->snd_wl2 = s->ack;
	t->cwnd = FIRST_WINDOW_SEGS * t->mss;
}

static void begin_sending(struct tcp *t, u32 iss)
{
	t->iss = iss;
	t->snd_una = t->snd_nxt = t->snd_max = t->recover = t->high_rxt = t->iss;
	t->write_seq = t->chunk_seq = t->snd_small = t->iss + 1;
}

/* Programs may know how far the peer is, and how much it should send at first: in ticks of 4 ms, as with Debian's HZ of
 * 250, and in segments. */
static void ask_for_start(struct tcp *t)
{
	int segments = tcp_program(t, BPF_SOCK_OPS_RWND_INIT, 0, 0, 0);
	int ticks = tcp_program(t, BPF_SOCK_OPS_TIMEOUT_INIT, 0, 0, 0);

	if (segments > 0)
		t->first_window = min((u32)segments, 0xffffU) * t->advertised_mss;
	if (ticks > 0)
		t->rto_ns = min((u64)ticks * 4 * MS, (u64)RTO_MAX);
}

void tcp_start_connect(struct tcp *t)
{
	begin_sending(t, (u32)t->host->ops->random());
	tcp_set_mss(t, 0);
	tcp_set_state(t, TS_SYN_SENT);
	t->last_received = tcp_now(t);
	tcp_hash(t);
	(void)tcp_program(t, BPF_SOCK_OPS_TCP_CONNECT_CB, 0, 0, 0);
	ask_for_start(t);
	tcp_send_syn(t);
}

static struct tcp *make_child(struct tcp *l, const struct ip_addr *source, u16 from, const struct ip_addr *destination,
			      u16 to)
{
	struct tcp *t = tcp_alloc(l->host, l->is_v6, l);

	if (!t)
		return NULL;
	t->only_v6 = l->only_v6;
	t->reuse_addr = l->reuse_addr;
	t->reuse_port = l->reuse_port;
	t->uid = l->uid;
	t->user_mss = l->user_mss;
	t->send_buffer = l->send_buffer;
	t->receive_buffer = l->receive_buffer;
	t->send_buffer_fixed = l->send_buffer_fixed;
	t->receive_buffer_fixed = l->receive_buffer_fixed;
	t->reno = l->reno;
	t->no_delay = l->no_delay;
	t->cork = l->cork;
	t->keep_alive = l->keep_alive;
	t->keep_idle_s = l->keep_idle_s;
	t->keep_interval_s = l->keep_interval_s;
	t->keep_count = l->keep_count;
	t->user_timeout_ms = l->user_timeout_ms;
	t->program_flags = l->program_flags;
	t->window_clamp = l->window_clamp;
	t->linger2_s = l->linger2_s;
	if (l->host->ops->child(l, t)) {
		kfree(t);
		return NULL;
	}
	t->local = *destination;
	t->remote = *source;
	t->local_port = to;
	t->remote_port = from;
	return t;
}

static void adopt(struct tcp *l, struct tcp *t)
{
	tcp_inherit_port(t);
	t->parent = l;
	list_add_tail(&t->child_link, &l->children);
	l->nr_children++;
	t->state = TS_SYN_RECV;
	t->last_received = tcp_now(t);
	tcp_hash(t);
}

static void answer_by_cookie(struct tcp *t)
{
	struct tcp_host *h = t->host;

	if (t->time_ok) {
		tcp_cookie_time(t);
	} else { /* there is no place to remember them in */
		t->sack_ok = false;
		t->rcv_scale = t->snd_scale = 0;
	}
	begin_sending(t, tcp_cookie(t));
	t->state = TS_SYN_RECV;
	tcp_send_syn(t);
	h->cookies_sent++;
	h->cookies_until = tcp_now(t) + COOKIE_LIFE_NS;
	t->host->ops->forget(t);
}

static void listener_input(struct tcp *l, const struct segment *s, const struct ip_addr *source, u16 from,
			   const struct ip_addr *destination, u16 to)
{
	struct tcp_host *h = l->host;
	bool full = l->nr_children - l->nr_ready > max(l->backlog, 128U);
	struct tcp *t;

	if (s->rst)
		return;
	if (s->has_ack) {
		tcp_reset_reply(h, s, destination, to, source, from);
		return;
	}
	if (!s->syn || l->nr_ready > l->backlog || (full && !h->cookies)) {
		h->overflows += s->syn;
		return;
	}
	t = make_child(l, source, from, destination, to);
	if (!t)
		return;
	begin_sending(t, (u32)h->ops->random());
	take_syn(t, s);
	if (full || h->cookies > 1) {
		answer_by_cookie(t);
		return;
	}
	adopt(l, t);
	ask_for_start(t);
	tcp_send_syn(t);
	tcp_alarm_update(t);
}

/* The last step of a call that was answered by a cookie makes its connection; NULL: it is none. */
static struct tcp *find_by_cookie(struct tcp *l, const struct segment *s, const struct ip_addr *source, u16 from,
				  const struct ip_addr *destination, u16 to)
{
	struct segment syn;
	struct tcp *t;

	if (!s->has_ack || s->syn || s->rst || tcp_now(l) >= l->host->cookies_until || l->nr_ready > l->backlog)
		return NULL;
	t = make_child(l, source, from, destination, to);
	if (!t)
		return NULL;
	if (!tcp_cookie_read(t, s, &syn)) {
		t->host->ops->forget(t);
		return NULL;
	}
	l->host->cookies_taken++;
	begin_sending(t, s->ack - 1);
	take_syn(t, &syn);
	t->snd_nxt = t->snd_max = t->iss + 1; /* what the cookie was sent with, and the window that it promised */
	t->rcv_edge = t->rcv_nxt + min(tcp_receive_edge(t) - t->rcv_nxt, 0xffffU);
	adopt(l, t);
	return t;
}

static void established(struct tcp *t, const struct segment *s)
{
	bool called = t->state == TS_SYN_SENT;

	if (!called)
		(void)tcp_program(t, BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, 0, 0, 0);
	tcp_set_state(t, t->fin_queued ? TS_FIN_WAIT1 : TS_ESTABLISHED);
	if (called)
		(void)tcp_program(t, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, 0, 0, 0);
	t->rexmit_at = 0;
	t->retries = t->backoff = 0;
	t->first_failure = 0;
	t->snd_una = seq_max(t->snd_una, t->iss + 1);
	t->snd_wnd = t->max_wnd = s->window << (s->syn ? 0 : t->snd_scale);
	t->snd_wl1 = s->seq;
	t->snd_wl2 = s->ack;
	if (t->time_ok && s->opt.echo)
		tcp_rtt_sample(t, (u64)(u32)(tcp_time(t) - s->opt.echo) * MS);
	if (t->total_retransmits)
		t->cwnd = t->mss; /* the SYN was lost: RFC 6298, section 5 */
	tcp_arm_keepalive(t);
	if (t->parent) {
		t->ready = true;
		t->parent->nr_ready++;
	}
	tcp_event(t);
}

/* False: the packet is done with. */
static bool syn_sent_input(struct tcp *t, const struct segment *s)
{
	if (s->has_ack && (seq_le(s->ack, t->iss) || seq_lt(t->snd_max, s->ack))) {
		if (!s->rst)
			tcp_reset_reply(t->host, s, &t->local, t->local_port, &t->remote, t->remote_port);
		return false;
	}
	if (s->rst) {
		if (s->has_ack)
			tcp_end(t, ECONNREFUSED);
		return false;
	}
	if (!s->syn)
		return false;
	take_syn(t, s);
	if (s->has_ack) {
		established(t, s);
		t->need_ack = true;
		return true;
	}
	tcp_set_state(t, TS_SYN_RECV); /* both called at once */
	t->retries = 0;
	tcp_send_syn(t);
	return false;
}

/* ---- synchronised states
 * ---------------------------------------------------------------------------------------------- */

static void answer_rude(struct tcp *t)
{
	u64 now = tcp_now(t);

	if (t->rude_ack_at && now - t->rude_ack_at < RUDE_NS)
		return;
	t->rude_ack_at = now;
	tcp_send_ack(t);
}

static bool is_in_window(const struct tcp *t, const struct segment *s)
{
	return seq_le(t->last_ack, s->seq + s->len + s->syn + s->fin) &&
	       seq_le(s->seq, seq_max(t->rcv_edge, t->rcv_nxt));
}

static bool is_stale(const struct tcp *t, const struct segment *s)
{
	return t->time_ok && s->opt.has_time && !s->rst && (s32)(s->opt.time - t->ts_recent) < 0;
}

static void take_reset(struct tcp *t)
{
	switch (t->state) {
	case TS_CLOSE_WAIT: tcp_end(t, EPIPE); break;
	case TS_CLOSING:
	case TS_LAST_ACK:
	case TS_TIME_WAIT: tcp_end(t, 0); break;
	case TS_SYN_RECV: tcp_end(t, ECONNREFUSED); break;
	default: tcp_end(t, ECONNRESET);
	}
}

/* Steps one to four: number, reset, SYN. False: the segment goes no further. */
static bool judge(struct tcp *t, const struct segment *s)
{
	if (is_stale(t, s) || !is_in_window(t, s)) {
		if (t->state == TS_SYN_RECV && s->syn && s->seq == t->irs)
			tcp_send_syn(t);
		else if (!s->rst && (s->len || s->fin || s->syn))
			tcp_send_ack(t);
		else if (!s->rst)
			answer_rude(t);
		return false;
	}
	if (s->rst) {
		if (s->seq == t->rcv_nxt)
			take_reset(t);
		else
			answer_rude(t);
		return false;
	}
	if (s->syn) {
		if (t->state == TS_SYN_RECV && s->seq == t->irs && !s->has_ack)
			tcp_send_syn(t);
		else if (t->state == TS_SYN_RECV && s->seq == t->irs)
			return true; /* the other side of a simultaneous open */
		else
			answer_rude(t);
		return false;
	}
	if (t->time_ok && s->opt.has_time && seq_le(s->seq, t->last_ack))
		t->ts_recent = s->opt.time;
	return s->has_ack;
}

static bool leave_syn_recv(struct tcp *t, const struct segment *s)
{
	if (seq_le(s->ack, t->snd_una) || seq_lt(t->snd_max, s->ack)) {
		tcp_reset_reply(t->host, s, &t->local, t->local_port, &t->remote, t->remote_port);
		return false;
	}
	if (t->parent && t->parent->nr_ready > t->parent->backlog)
		return false; /* the listener is behind: the peer comes back */
	if (t->parent && t->retries < t->parent->defer_tries && !s->len && !s->fin)
		return false; /* TCP_DEFER_ACCEPT: it begins with data */
	established(t, s);
	return true;
}

/* Our FIN has been acknowledged, perhaps. False: the connection is over. */
static bool advance_close(struct tcp *t)
{
	if (!t->fin_queued || t->snd_una != tcp_send_end(t))
		return true;
	switch (t->state) {
	case TS_FIN_WAIT1:
		tcp_set_state(t, TS_FIN_WAIT2);
		if (t->orphaned)
			t->wait_at = tcp_now(t) + t->linger2_s * NSEC_PER_SEC;
		tcp_event(t);
		return true;
	case TS_CLOSING: tcp_enter_time_wait(t); return true;
	case TS_LAST_ACK: tcp_end(t, 0); return false;
	default: return true;
	}
}

static bool takes_data(const struct tcp *t)
{
	return BIT(t->state) & (BIT(TS_ESTABLISHED) | BIT(TS_FIN_WAIT1) | BIT(TS_FIN_WAIT2));
}

/* Consumes the packet. */
static void synced_input(struct tcp *t, struct packet *p, const struct segment *s)
{
	if (t->state == TS_SYN_RECV && !leave_syn_recv(t, s))
		goto drop;
	if (!tcp_ack(t, s) || !advance_close(t))
		goto drop;
	if ((s->len || s->fin) && t->orphaned && s->len && seq_lt(t->rcv_nxt, s->seq + s->len)) {
		tcp_fail(t, ECONNRESET); /* nobody will ever read it */
		goto drop;
	}
	if ((s->has_urgent || t->urgent == URGENT_ANNOUNCED) && takes_data(t))
		tcp_urgent(t, p, s);
	if ((s->len || s->fin) && takes_data(t)) {
		tcp_data(t, p, s);
		return;
	}
	if (s->len || s->fin)
		t->need_ack = true;
drop:
	packet_free(p);
}

static void connection_input(struct tcp *t, struct packet *p, const struct segment *s)
{
	bool go_on;

	t->last_received = tcp_now(t);
	go_on = t->state == TS_SYN_SENT ? syn_sent_input(t, s) : judge(t, s);
	if (!go_on)
		packet_free(p);
	else
		synced_input(t, p, s);
	if (t->state == TS_CLOSE)
		return;
	tcp_push(t);
	if (t->need_ack)
		tcp_send_ack(t);
	tcp_alarm_update(t);
}

/* A new call between the same two ends may replace a connection that only waits: RFC 9293 3.10.7.4, RFC 6191. */
static bool may_replace(const struct tcp *t, const struct segment *s)
{
	if (!s->syn || s->has_ack || s->rst)
		return false;
	if (t->time_ok && s->opt.has_time && s->opt.time != t->ts_recent)
		return (s32)(s->opt.time - t->ts_recent) > 0;
	return seq_lt(t->rcv_nxt, s->seq);
}

static void time_wait_input(struct tcp *t, struct packet *p, const struct segment *s)
{
	bool go_on = judge(t, s);

	if (t->state == TS_TIME_WAIT && go_on && s->fin) { /* our last acknowledgement got lost */
		t->wait_at = tcp_now(t) + TIME_WAIT_NS;
		tcp_send_ack(t);
	}
	packet_free(p);
}

static struct tcp *find(struct tcp_host *h, const struct segment *s, const struct ip_addr *source, u16 from,
			const struct ip_addr *destination, u16 to)
{
	struct tcp *t = tcp_find(h, destination, to, source, from, s->ifindex, s->vrf);

	if (t && t->state == TS_TIME_WAIT && may_replace(t, s)) {
		tcp_end(t, 0);
		tcp_reap(t);
		t = NULL;
	}
	return t ? t : tcp_find_listener(h, destination, to, source, from, s->ifindex, s->vrf);
}

void tcp_input(struct tcp_host *h, struct packet *p, const struct ip_addr *source, const struct ip_addr *destination)
{
	ulong irq = spin_lock_irqsave(&h->lock);
	u8 *whole = p->data;
	struct segment s;
	struct tcp *t;
	u16 from, to;

	h->in_segments++;
	if (!parse(p, &s, &from, &to)) {
		h->bad_segments++;
		packet_free(p);
		spin_unlock_irqrestore(&h->lock, irq);
		return;
	}
	s.ifindex = p->ifindex;
	s.vrf = p->vrf;
	t = find(h, &s, source, from, destination, to);
	if (t) {
		u8 *payload = p->data;

		p->data = whole;
		if (!h->ops->allow_input(t, p)) {
			packet_free(p);
			spin_unlock_irqrestore(&h->lock, irq);
			return;
		}
		p->data = payload;
	}
	if (t && t->state == TS_LISTEN) {
		struct tcp *called = find_by_cookie(t, &s, source, from, destination, to);

		t = called ? called : t;
	}
	if (!t || t->state == TS_LISTEN) {
		if (t)
			listener_input(t, &s, source, from, destination, to);
		else if (!s.rst)
			tcp_reset_reply(h, &s, destination, to, source, from);
		packet_free(p);
	} else {
		if (t->state == TS_TIME_WAIT)
			time_wait_input(t, p, &s);
		else
			connection_input(t, p, &s);
		tcp_reap(t);
	}
	spin_unlock_irqrestore(&h->lock, irq);
}
