/* SPDX-License-Identifier: MIT
 *
 * Problem: the stream arrives in pieces that overlap, repeat, come too early and end; memory for them must be bounded
 * although the peer chooses their sizes.
 *
 * Idea: a segment is cut to what is new and was allowed, then appended to the received ones, or kept sorted and
 * disjoint with those that came out of order until the gap closes. Small pieces are copied together, so that a window
 * full of one-byte segments does not cost a packet each.
 *
 * Contract: tcp_priv.h. RFC 9293 3.10.7.4 (seventh and eighth), 1122 4.2.3.2 (acknowledge every second full segment, or
 * after a delay), 2018 section 4 (the newest range first).
 *
 * Locks: the host's lock. Readers look at `received` without it between tcp_readable and tcp_consume: packets there are
 * only appended to, never changed or freed by the input side.
 */
#include <alloc/page.h>
#include <lib/string.h>

#include "tcp_priv.h"

#define SMALL  1024 /* bytes: pieces below are copied together */
#define BUNDLE 4096

void tcp_keep(struct tcp *t, const struct packet *p, bool keeps)
{
	t->memory += keeps ? packet_cost(p) : -packet_cost(p);
	packet_hold(t, p, keeps);
}

static void free_list(struct tcp *t, struct list *l)
{
	while (!list_empty(l)) {
		struct packet *p = list_first_entry(l, struct packet, link);

		list_del(&p->link);
		tcp_keep(t, p, false);
		packet_free(p);
	}
}

void tcp_free_late(struct tcp *t)
{
	free_list(t, &t->out_of_order);
}

void tcp_free_received(struct tcp *t)
{
	free_list(t, &t->received);
	free_list(t, &t->out_of_order);
	t->queued = 0;
}

/* ---- in order -------------------------------------------------------------------------------------------------------
 */

/* Appends to the last packet if that has room. The reader's length of it was taken under the lock: it sees the rest
 * later. */
static bool merge(struct tcp *t, const struct packet *p)
{
	struct packet *last = list_empty(&t->received) ? NULL : list_last_entry(&t->received, struct packet, link);
	void *at = last ? packet_put(last, packet_len(p)) : NULL;

	if (!at)
		return false;
	memcpy(at, p->data, packet_len(p));
	note_of(last)->end += (u32)packet_len(p);
	return true;
}

/* Puts p, whose payload is the next of the stream, to the received ones. Consumes it; false: no memory. */
static bool receive(struct tcp *t, struct packet *p)
{
	u32 len = (u32)packet_len(p);
	bool small = len < SMALL && !list_empty(&t->received);

	if (small && !merge(t, p)) {
		struct packet *bundle = packet_alloc(BUNDLE, ALLOC_ATOMIC);

		if (bundle) {
			*note_of(bundle) = (struct tcp_note){ note_of(p)->seq, note_of(p)->seq, false };
			list_add_tail(&bundle->link, &t->received);
			tcp_keep(t, bundle, true);
		}
		small = bundle && merge(t, p);
		if (!small) {
			packet_free(p);
			return false;
		}
	}
	if (small) {
		packet_free(p);
	} else {
		list_add_tail(&p->link, &t->received);
		tcp_keep(t, p, true);
	}
	t->queued += len;
	t->rcv_nxt += len;
	t->bytes_in += len;
	return true;
}

static void take_fin(struct tcp *t)
{
	t->rcv_nxt++;
	t->fin_received = true;
	t->need_ack = true;
	tcp_free_late(t);
	switch (t->state) {
	case TS_ESTABLISHED: tcp_set_state(t, TS_CLOSE_WAIT); break;
	case TS_FIN_WAIT1: tcp_set_state(t, TS_CLOSING); break;
	case TS_FIN_WAIT2: tcp_enter_time_wait(t); break;
	default: break;
	}
}

static void accept(struct tcp *t, struct packet *p)
{
	bool fin = note_of(p)->fin;

	if (!packet_len(p))
		packet_free(p);
	else if (!receive(t, p))
		return;
	if (fin)
		take_fin(t);
}

/* Cuts off what is received already; false: nothing is left. */
static bool cut_front(struct tcp *t, struct packet *p)
{
	struct tcp_note *n = note_of(p);

	if (seq_le(n->end + n->fin, t->rcv_nxt))
		return false;
	if (seq_lt(n->seq, t->rcv_nxt)) {
		p->data += seq_min(t->rcv_nxt, n->end) - n->seq;
		n->seq = t->rcv_nxt;
	}
	return true;
}

static void cut_back(struct packet *p, u32 end)
{
	struct tcp_note *n = note_of(p);

	p->tail -= n->end - end;
	n->end = end;
	n->fin = false;
}

/* ---- out of order
 * ----------------------------------------------------------------------------------------------------- */

static void drain_late(struct tcp *t)
{
	while (!list_empty(&t->out_of_order) && !t->fin_received) {
		struct packet *p = list_first_entry(&t->out_of_order, struct packet, link);

		if (seq_lt(t->rcv_nxt, note_of(p)->seq))
			return;
		list_del_init(&p->link);
		tcp_keep(t, p, false);
		if (cut_front(t, p))
			accept(t, p);
		else
			packet_free(p);
	}
}

/* Between its neighbours: what they have is cut off p, what p has entirely goes. */
static void insert_late(struct tcp *t, struct packet *p)
{
	struct tcp_note *n = note_of(p);
	struct packet *o, *next;
	struct list *after = &t->out_of_order;

	list_for_each_entry_safe (o, next, &t->out_of_order, link) {
		struct tcp_note *m = note_of(o);

		if (seq_le(m->seq, n->seq) && seq_le(n->end, m->end)) {
			packet_free(p);
			return;
		}
		if (seq_lt(n->end, m->seq))
			break;
		if (seq_le(m->seq, n->seq)) {
			after = &o->link;
			if (seq_lt(n->seq, m->end)) {
				p->data += m->end - n->seq;
				n->seq = m->end;
			}
		} else if (seq_le(m->end, n->end)) {
			list_del(&o->link);
			tcp_keep(t, o, false);
			n->fin |= m->fin && m->end == n->end;
			packet_free(o);
		} else {
			cut_back(p, m->seq);
			break;
		}
	}
	t->ooo_last = n->seq;
	tcp_keep(t, p, true);
	list_add(&p->link, after);
}

/* The range that begins with p, and the packet behind it. */
static struct tcp_range run_from(const struct tcp *t, const struct packet **p)
{
	const struct tcp_note *m = (const struct tcp_note *)(*p)->note;
	struct tcp_range run = { m->seq, m->seq };

	while (*p && m->seq == run.end) {
		run.end = m->end;
		*p = (*p)->link.next == &t->out_of_order ? NULL : list_entry((*p)->link.next, struct packet, link);
		m = *p ? (const struct tcp_note *)(*p)->note : m;
	}
	return run;
}

void tcp_measure_sack(const struct tcp *t, struct tcp_range *out, unsigned *n)
{
	const struct packet *p = list_first_or_null(&t->out_of_order, struct packet, link);
	unsigned max = *n, have = 1; /* the first place is the newest one's */
	bool found = false;

	while (p) {
		struct tcp_range run = run_from(t, &p);

		if (seq_le(run.start, t->ooo_last) && seq_lt(t->ooo_last, run.end)) {
			out[0] = run;
			found = true;
		} else if (have < max) {
			out[have++] = run;
		}
	}
	if (!found)
		out[0] = out[--have];
	*n = have;
}

/* ---- a segment
 * ---------------------------------------------------------------------------------------------------------- */

/* An acknowledgement is owed for len bytes: now, or with company. */
static void owe_ack(struct tcp *t, u32 len)
{
	t->rcv_mss = max(t->rcv_mss, min(len, t->advertised_mss));
	if (!list_empty(&t->out_of_order) || t->quick_ack || t->rcv_nxt - t->last_ack >= 2 * t->rcv_mss)
		t->need_ack = true;
	else if (!t->delack_at)
		t->delack_at = tcp_now(t) + DELAY_ACK;
}

/* An urgent byte is announced at seq. What was urgent before and still waits to be read there is lost as such. */
static void announce(struct tcp *t, u32 seq)
{
	if (seq_lt(seq, tcp_copied(t)) || seq_lt(seq, t->rcv_nxt) || (t->urgent && seq_le(seq, t->urgent_seq)))
		return;
	if (t->owner)
		t->host->ops->urgent(t);
	if (t->urgent && t->urgent_seq == tcp_copied(t) && t->queued) {
		t->stale_urgent = true;
		t->stale_seq = t->urgent_seq;
	}
	t->urgent = URGENT_ANNOUNCED;
	t->urgent_seq = seq;
}

void tcp_urgent(struct tcp *t, const struct packet *p, const struct segment *s)
{
	if (s->has_urgent) /* the pointer names the byte behind it: RFC 6093, 3.1 */
		announce(t, s->seq + s->urgent - (s->urgent != 0));
	if (t->urgent == URGENT_ANNOUNCED && t->urgent_seq - s->seq < s->len) {
		t->urgent_byte = p->data[t->urgent_seq - s->seq];
		t->urgent = URGENT_THERE;
		tcp_event(t);
	}
}

void tcp_data(struct tcp *t, struct packet *p, const struct segment *s)
{
	struct tcp_note *n = note_of(p);
	bool full = t->memory > 2 * t->receive_buffer + BUNDLE && !list_empty(&t->received);
	u32 old = t->rcv_nxt;

	*n = (struct tcp_note){ s->seq + s->syn, s->seq + s->syn + s->len, s->fin };
	if (t->fin_received || full || !cut_front(t, p)) {
		t->need_ack = true;
		packet_free(p);
		return;
	}
	if (seq_lt(t->rcv_edge, n->end)) {
		t->need_ack = true;
		if (seq_le(t->rcv_edge, n->seq)) {
			packet_free(p);
			return;
		}
		cut_back(p, t->rcv_edge);
	}
	if (n->seq != t->rcv_nxt) {
		t->need_ack = true;
		insert_late(t, p);
		return;
	}
	accept(t, p);
	drain_late(t);
	if (t->rcv_nxt != old) {
		owe_ack(t, s->len);
		tcp_event(t);
	}
}
