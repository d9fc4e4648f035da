/* SPDX-License-Identifier: MIT
 *
 * Problem: the user of a connection binds, calls, listens, writes, reads and leaves, at any time and in any state.
 *
 * Idea: each call takes the lock, checks, changes the state and pushes what can go. None sleeps: who must wait waits
 * for an event and asks again. Closing hands the connection over to the protocol, which finishes and frees it.
 *
 * Contract: net/tcp.h. RFC 9293, 3.10.1 to 3.10.6; a close with unread data resets (RFC 2525, 2.17).
 *
 * Locks: the host's lock is taken here.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>

#include "tcp_priv.h"

static ulong lock(struct tcp *t)
{
	return spin_lock_irqsave(&t->host->lock);
}

static void unlock(struct tcp *t, ulong irq)
{
	spin_unlock_irqrestore(&t->host->lock, irq);
}

int tcp_open(struct tcp_host *h, void *owner, bool is_v6, struct tcp **out)
{
	struct tcp *t = tcp_alloc(h, is_v6, NULL);

	if (!t)
		return -ENOMEM;
	t->owner = owner;
	*out = t;
	return 0;
}

int tcp_bind(struct tcp *t, const struct ip_addr *addr, u16 port)
{
	ulong irq = lock(t);
	int err = t->state != TS_CLOSE || t->local_port ? -EINVAL : tcp_take_port(t, addr, port);

	if (!err)
		t->port_locked = true;
	unlock(t, irq);
	return err;
}

void tcp_unbind(struct tcp *t)
{
	ulong irq = lock(t);

	list_del_init(&t->port_link);
	t->port_locked = false;
	t->local_port = 0;
	t->local = (struct ip_addr){ { 0, 0, t->is_v6 ? 0 : IP_V4_MARK, 0 } };
	unlock(t, irq);
}

int tcp_listen(struct tcp *t, u32 backlog)
{
	ulong irq = lock(t);
	int err = 0;

	if (t->state != TS_LISTEN) {
		if (t->state != TS_CLOSE)
			err = -EINVAL;
		else
			err = t->local_port ? tcp_check_port(t) : tcp_take_port(t, &t->local, 0);
		if (!err) {
			tcp_set_state(t, TS_LISTEN);
			(void)tcp_program(t, BPF_SOCK_OPS_TCP_LISTEN_CB, 0, 0, 0);
		}
	}
	if (!err)
		t->backlog = backlog;
	unlock(t, irq);
	return err;
}

static int connect_locked(struct tcp *t, const struct ip_addr *source, const struct ip_addr *addr, u16 port)
{
	int err = 0;

	if (t->state != TS_CLOSE)
		return t->state == TS_LISTEN ? -EISCONN : t->state == TS_SYN_SENT ? -EALREADY : -EISCONN;
	if (ip_addr_is_any(&t->local))
		t->local = *source;
	t->remote = *addr;
	t->remote_port = port;
	if (!t->local_port || list_empty(&t->port_link)) {
		err = tcp_take_any_port(t);
	} else if (tcp_find(t->host, &t->local, t->local_port, addr, port, t->host->ops->device(t), 0)) {
		err = -EADDRNOTAVAIL;
	}
	if (err)
		return err;
	t->error = 0;
	t->retries = t->backoff = 0;
	t->first_failure = 0;
	t->fin_received = t->fin_queued = t->shut_write = t->shut_read = false;
	tcp_start_connect(t);
	tcp_alarm_update(t);
	return 0;
}

int tcp_connect(struct tcp *t, const struct ip_addr *source, const struct ip_addr *addr, u16 port)
{
	ulong irq = lock(t);
	int err = connect_locked(t, source, addr, port);

	unlock(t, irq);
	return err;
}

struct tcp *tcp_accept(struct tcp *t, void *owner)
{
	ulong irq = lock(t);
	struct tcp *c, *found = NULL;

	list_for_each_entry (c, &t->children, child_link) {
		if (!c->ready)
			continue;
		found = c;
		tcp_drop_child(c);
		c->owner = owner;
		break;
	}
	unlock(t, irq);
	return found;
}

/* ---- data
 * ----------------------------------------------------------------------------------------------------------------- */

static bool may_write(const struct tcp *t)
{
	return t->state == TS_ESTABLISHED || t->state == TS_CLOSE_WAIT;
}

ssize_t tcp_send_room(struct tcp *t)
{
	ulong irq = lock(t);
	u32 used = t->write_seq - t->snd_una;
	ssize_t room = used < t->send_buffer ? t->send_buffer - used : 0;

	if (t->error)
		room = -t->error;
	else if (t->shut_write || !may_write(t))
		room = t->state == TS_SYN_SENT || (t->state == TS_SYN_RECV && !t->shut_write) ? 0 : -EPIPE;
	unlock(t, irq);
	return room;
}

struct tcp_chunk *tcp_chunk_alloc(u32 len)
{
	struct tcp_chunk *c = kmalloc(sizeof(*c) + len, ALLOC_CHARGED);

	if (c)
		*c = (struct tcp_chunk){ .len = 0, .room = len };
	return c;
}

int tcp_append(struct tcp *t, struct tcp_chunk *c, unsigned how)
{
	ulong irq = lock(t);
	struct tcp_chunk *last = list_empty(&t->chunks) ? NULL : list_last_entry(&t->chunks, struct tcp_chunk, link);

	if (t->error || t->shut_write || !may_write(t)) {
		unlock(t, irq);
		kfree(c);
		return -EPIPE;
	}
	t->write_seq += c->len;
	if (how & TCP_URGENT) {
		t->snd_up = t->write_seq;
		t->urgent_out = true;
		t->push_now = true;
	}
	if (last && last->room - last->len >= c->len) {
		memcpy(last->data + last->len, c->data, c->len);
		last->len += c->len;
		kfree(c);
	} else {
		list_add_tail(&c->link, &t->chunks);
	}
	if (!(how & TCP_MORE) || t->write_seq - t->snd_nxt >= t->mss)
		tcp_push(t);
	else if (!t->cork_at)
		t->cork_at = tcp_now(t) + CORK_NS;
	tcp_alarm_update(t);
	unlock(t, irq);
	return 0;
}

const u8 *tcp_readable(struct tcp *t, u32 offset, u32 *len)
{
	ulong irq = lock(t);
	const u8 *at = NULL;
	struct packet *p;

	list_for_each_entry (p, &t->received, link) {
		if (offset < packet_len(p)) {
			at = p->data + offset;
			*len = (u32)packet_len(p) - offset;
			break;
		}
		offset -= (u32)packet_len(p);
	}
	unlock(t, irq);
	return at;
}

/* A reader that keeps up with a full buffer gets a bigger one. */
static void grow_buffer(struct tcp *t, u32 len)
{
	t->consumed += len;
	if (t->receive_buffer_fixed || t->consumed < 2 * t->receive_buffer || t->receive_buffer >= RECEIVE_MAX)
		return;
	t->consumed = 0;
	t->receive_buffer *= 2;
}

void tcp_consume(struct tcp *t, u32 len)
{
	ulong irq = lock(t);

	t->queued -= len;
	grow_buffer(t, len);
	while (len) {
		struct packet *p = list_first_entry(&t->received, struct packet, link);
		u32 n = min(len, (u32)packet_len(p));

		p->data += n;
		len -= n;
		if (!packet_len(p)) {
			list_del(&p->link);
			tcp_keep(t, p, false);
			packet_free(p);
		}
	}
	if (t->urgent && seq_lt(t->urgent_seq, tcp_copied(t)))
		t->urgent = URGENT_NONE;
	if (t->stale_urgent && seq_lt(t->stale_seq, tcp_copied(t)))
		t->stale_urgent = false;
	if (tcp_has_peer_state(t->state) && t->state != TS_TIME_WAIT && !t->fin_received) {
		u32 gain = tcp_receive_edge(t) - t->rcv_edge;

		if (gain >= min(t->receive_buffer / 2, 2 * t->rcv_mss) &&
		    (t->rcv_edge - t->rcv_nxt < t->receive_buffer / 2 || t->delack_at))
			tcp_send_ack(t);
		tcp_alarm_update(t);
	}
	unlock(t, irq);
}

static void cut_before(u32 seq, u32 at, u32 *len)
{
	if (seq_lt(at, seq))
		*len = min(*len, seq - at);
}

enum tcp_mark tcp_mark(struct tcp *t, u32 offset, u32 *len)
{
	enum tcp_mark mark = MARK_PLAIN;
	ulong irq;
	u32 at;

	if (likely(!t->urgent && !t->stale_urgent))
		return mark;
	irq = lock(t);
	at = tcp_copied(t) + offset;
	if (t->stale_urgent && at == t->stale_seq)
		mark = MARK_STALE;
	if (t->urgent && at == t->urgent_seq)
		mark = MARK_URGENT;
	if (t->stale_urgent)
		cut_before(t->stale_seq, at, len);
	if (t->urgent)
		cut_before(t->urgent_seq, at, len);
	unlock(t, irq);
	return mark;
}

int tcp_take_urgent(struct tcp *t, bool keep, u8 *byte)
{
	ulong irq = lock(t);
	int n = 1;

	if (t->urgent == URGENT_NONE || t->urgent == URGENT_READ)
		n = -EINVAL;
	else if (t->urgent == URGENT_ANNOUNCED)
		n = t->state == TS_CLOSE || t->shut_read || t->fin_received ? 0 : -EAGAIN;
	if (n == 1) {
		*byte = t->urgent_byte;
		t->urgent = keep ? URGENT_THERE : URGENT_READ;
	}
	unlock(t, irq);
	return n;
}

bool tcp_at_mark(const struct tcp *t)
{
	return t->urgent && t->urgent_seq == tcp_copied(t);
}

u32 tcp_plain_bytes(const struct tcp *t)
{
	u32 at = tcp_copied(t);

	if (t->urgent && seq_le(at, t->urgent_seq) && seq_lt(t->urgent_seq, at + t->queued))
		return t->urgent_seq - at;
	return t->queued;
}

/* ---- leaving
 * ---------------------------------------------------------------------------------------------------------------- */

static void queue_fin(struct tcp *t)
{
	if (t->shut_write)
		return;
	t->shut_write = true;
	t->fin_queued = true;
	if (t->state == TS_SYN_RECV)
		return; /* it goes when the peer has answered */
	tcp_set_state(t, t->state == TS_CLOSE_WAIT ? TS_LAST_ACK : TS_FIN_WAIT1);
	t->push_now = true;
	tcp_push(t);
	tcp_alarm_update(t);
}

static void stop_listening(struct tcp *t)
{
	struct tcp *c, *next;

	tcp_set_state(t, TS_CLOSE);
	if (!t->port_locked)
		list_del_init(&t->port_link);
	list_for_each_entry_safe (c, next, &t->children, child_link) {
		tcp_drop_child(c);
		c->ready = false;
		if (c->state != TS_CLOSE)
			tcp_fail(c, ECONNRESET);
		tcp_reap(c);
	}
}

void tcp_shutdown(struct tcp *t, bool read, bool write)
{
	ulong irq = lock(t);

	if (t->state == TS_LISTEN) {
		if (read)
			stop_listening(t);
	} else if (t->state == TS_SYN_SENT) {
		if (write)
			tcp_end(t, 0);
	} else if (t->state != TS_CLOSE) {
		t->shut_read |= read;
		if (write && (may_write(t) || t->state == TS_SYN_RECV))
			queue_fin(t);
	}
	if (t->owner)
		t->host->ops->event(t);
	unlock(t, irq);
}

static void close_connected(struct tcp *t, bool abort)
{
	if (t->state != TS_TIME_WAIT && (abort || t->queued)) {
		tcp_fail(t, ECONNRESET);
		return;
	}
	if (may_write(t) || t->state == TS_SYN_RECV)
		queue_fin(t);
	if (t->state == TS_FIN_WAIT2) {
		t->wait_at = tcp_now(t) + t->linger2_s * NSEC_PER_SEC;
		tcp_alarm_update(t);
	}
}

void tcp_close(struct tcp *t, bool abort)
{
	struct tcp_host *h = t->host;
	ulong irq = lock(t);

	t->owner = NULL;
	t->orphaned = true;
	h->nr_orphans++;
	if (t->state == TS_LISTEN)
		stop_listening(t);
	else if (t->state == TS_SYN_SENT)
		tcp_end(t, 0);
	else if (t->state != TS_CLOSE)
		close_connected(t, abort);
	if (t->state == TS_TIME_WAIT || t->state == TS_CLOSE)
		tcp_free_received(t);
	tcp_reap(t);
	spin_unlock_irqrestore(&h->lock, irq);
}

int tcp_disconnect(struct tcp *t)
{
	ulong irq = lock(t);

	if (t->state == TS_LISTEN)
		stop_listening(t);
	else if (t->state != TS_CLOSE)
		tcp_fail(t, 0);
	tcp_free_received(t);
	t->error = 0;
	t->remote_port = 0;
	t->remote = (struct ip_addr){ { 0, 0, t->is_v6 ? 0 : IP_V4_MARK, 0 } };
	t->fin_received = t->fin_queued = t->shut_read = t->shut_write = false;
	if (!t->port_locked) {
		t->local_port = 0;
		t->local = t->remote;
	}
	unlock(t, irq);
	return 0;
}

/* ---- options
 * --------------------------------------------------------------------------------------------------------------- */

void tcp_set_flags(struct tcp *t, int no_delay, int cork, int keep_alive)
{
	ulong irq = lock(t);

	if (no_delay >= 0)
		t->no_delay = no_delay;
	if (cork >= 0)
		t->cork = cork;
	if (keep_alive >= 0) {
		t->keep_alive = keep_alive;
		tcp_arm_keepalive(t);
	}
	if (no_delay > 0 || cork == 0) {
		t->push_now = true;
		tcp_push(t);
	}
	if (t->state != TS_CLOSE && t->state != TS_LISTEN)
		tcp_alarm_update(t);
	unlock(t, irq);
}

void tcp_quick_ack(struct tcp *t, bool on)
{
	ulong irq = lock(t);

	t->quick_ack = on;
	if (on && t->delack_at && tcp_has_peer_state(t->state))
		tcp_send_ack(t);
	unlock(t, irq);
}

bool tcp_is_connected(const struct tcp *t)
{
	return tcp_has_peer_state(t->state) && t->state != TS_SYN_RECV;
}
