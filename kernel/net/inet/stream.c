/* SPDX-License-Identifier: MIT
 *
 * Problem: TCP's core knows segments and time, programs know descriptors, blocking calls and signals.
 *
 * Idea: an adapter. The core's events wake the socket's wait queue, and every call is "try, else wait and try again".
 * Bytes are copied from user memory into chunks before the core sees them, and out of received packets while only this
 * reader may take them away; so no user memory is touched under the core's lock.
 *
 * Contract: socket_ops of net/socket.h for SOCK_STREAM; tcp(7), connect(2), accept(2).
 *
 * Locks: the core's host lock (RANK_SOCKET) inside its calls; stream->reading around a copy to the user.
 */
#include <arch/user.h>
#include <asm/ioctls.h>
#include <core/clock.h>
#include <core/irq.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/sockios.h>
#include <net/hooks.h>
#include <task/tenant.h>
#include <task/timer.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include <vfs/upcalls.h>
#include <vfs/vfs.h>

#include "stream.h"

#define SMALL_CHUNK 2048 /* room of a chunk for a short write, so that the next ones join it */

static const struct socket_ops stream_ops;

bool stream_is_connected(const struct tcp *t)
{
	return tcp_is_connected(t) && t->state != TS_TIME_WAIT;
}

/* ---- what the core asks of the kernel -------------------------------------------------------------------------- */

struct socket *inet_speaker(struct tcp *t)
{
	struct stream_tag *tag = t->tag;
	struct socket *owner = READ_ONCE(t->owner);

	return owner ? owner : &tag->socket;
}

static const struct inet_common *common_of(struct tcp *t)
{
	struct stream_tag *tag = t->tag;

	return t->owner ? &stream_of(t->owner)->common : &tag->common;
}

static void output(struct tcp_host *h, struct tcp *t, struct packet *p, const struct ip_addr *source,
		   const struct ip_addr *destination)
{
	static const struct inet_common nobody = { .ttl = 64, .hop_limit = 64, .path_mtu = IP_PMTUDISC_WANT };
	struct inet_net *n = h->priv;

	p->sum_later = true;
	/* What a program refuses or a route lacks is as if lost: the timers find out. */
	(void)!ip_output(n->net, t ? inet_speaker(t) : NULL, t ? common_of(t) : &nobody, p, IPPROTO_TCP, source,
			 destination);
}

static bool allow_input(struct tcp *t, struct packet *p)
{
	struct socket *s = inet_speaker(t);

	return inet_allows(s, p) && inet_passes_filter(s, p, 20);
}

static u32 device(struct tcp *t)
{
	return inet_speaker(t)->bound_ifindex;
}

static u32 mtu(struct tcp_host *h, struct tcp *t)
{
	struct inet_net *n = h->priv;
	struct ip_route r;
	u32 bytes;

	rcu_read_lock();
	bytes = ip_route(n->net, &t->remote, device(t), &r) ? 576 : r.mtu;
	rcu_read_unlock();
	return bytes;
}

static void take_error(struct socket *s, struct tcp *t)
{
	if (!t->error)
		return;
	s->error = t->error;
	t->error = 0;
}

static void event(struct tcp *t)
{
	struct socket *s = t->owner;

	take_error(s, t);
	waitq_wake(&s->wait, -1,
		   EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDHUP | EPOLLERR | EPOLLPRI);
}

static void urgent(struct tcp *t)
{
	const struct socket *s = t->owner;

	if (s->file)
		upcall_file_urgent(s->file);
}

static void set_alarm(struct tcp_host *h, u64 at)
{
	struct inet_net *n = h->priv;

	timer_arm(&n->tcp_timer, at, NSEC_PER_MSEC);
}

static void on_timer(struct timer *t)
{
	deferred_queue(&container_of(t, struct inet_net, tcp_timer)->tcp_job);
}

static void on_alarm(struct deferred *d)
{
	tcp_host_alarm(&container_of(d, struct inet_net, tcp_job)->tcp);
}

static int program(struct tcp *t, u32 op, const u32 args[3])
{
	return net_hooks->tcp(inet_speaker(t), t, op, args);
}

static struct stream_tag *make_tag(struct tcp *t, const struct socket *s, const struct inet_common *c, unsigned flags)
{
	struct stream_tag *tag = kzalloc(sizeof(*tag), flags);

	if (!tag)
		return NULL;
	tag->tcp = t;
	tag->socket = (struct socket){ .is_connection = true,
				       .family = s->family,
				       .type = s->type,
				       .protocol = s->protocol,
				       .net = s->net,
				       .tenant = s->tenant,
				       .mark = s->mark,
				       .priority = s->priority,
				       .bound_ifindex = s->bound_ifindex };
	tag->common = *c;
	tenant_get(s->tenant);
	return tag;
}

static int child(struct tcp *l, struct tcp *t)
{
	struct stream_tag *tag = make_tag(t, l->owner, &stream_of(l->owner)->common, ALLOC_ATOMIC);

	t->tag = tag;
	return tag ? 0 : -ENOMEM;
}

static void free_tag(struct rcu_head *h)
{
	struct stream_tag *tag = container_of(h, struct stream_tag, rcu);

	kfree(tag->tcp);
	kfree(tag);
}

static void forget(struct tcp *t)
{
	struct stream_tag *tag = t->tag;

	if (!tag) {
		kfree(t);
		return;
	}
	tenant_put(tag->socket.tenant);
	rcu_call(&tag->rcu, free_tag);
}

static const struct tcp_host_ops host_ops = {
	.now = clock_ns,
	.random = random_u64,
	.output = output,
	.allow_input = allow_input,
	.mtu = mtu,
	.device = device,
	.event = event,
	.urgent = urgent,
	.alarm = set_alarm,
	.child = child,
	.forget = forget,
	.program = program,
};

void stream_start(struct inet_net *n)
{
	timer_init(&n->tcp_timer, on_timer);
	deferred_init(&n->tcp_job, on_alarm);
	tcp_host_init(&n->tcp, &host_ops, n);
}

void stream_stop(struct inet_net *n)
{
	tcp_host_stop(&n->tcp);
	timer_cancel(&n->tcp_timer);
}

void stream_input(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination)
{
	if ((!p->sum_ok && ip_checksum(p->data, packet_len(p),
				       ip_pseudo_sum(source, destination, IPPROTO_TCP, (u32)packet_len(p)))) ||
	    p->kind != PACKET_HOST)
		packet_free(p);
	else
		tcp_input(&inet_of(p->net)->tcp, p, source, destination);
}

void stream_error(struct inet_net *n, const struct icmp_error *e)
{
	struct tcp_quote q = { .error = e->error, .hard = e->hard, .mtu = e->error == EMSGSIZE ? e->info : 0 };
	u32 seq;

	memcpy(&q.local_port, e->transport, 2);
	memcpy(&q.remote_port, e->transport + 2, 2);
	memcpy(&seq, e->transport + 4, 4);
	q.seq = host32(seq);
	q.local = e->source;
	q.remote = e->destination;
	q.ifindex = e->ifindex;
	q.vrf = e->vrf;
	tcp_error(&n->tcp, &q);
}

struct show {
	int (*fn)(const struct inet_socket_view *v, void *arg);
	void *arg;
};

static u32 ms_until(u64 at)
{
	u64 now = clock_ns();

	return at > now ? (u32)((at - now) / NSEC_PER_MSEC) : 0;
}

static int show_one(struct tcp *t, void *arg)
{
	struct show *show = arg;
	const struct socket *s = t->owner;
	struct inet_socket_view v = { .local = t->local,
				      .remote = t->remote,
				      .local_port = t->local_port,
				      .remote_port = t->remote_port,
				      .family = t->is_v6 ? PF_INET6 : PF_INET,
				      .type = SOCK_STREAM,
				      .protocol = IPPROTO_TCP,
				      .state = (u8)t->state,
				      .uid = t->uid,
				      .receive_bytes = t->state == TS_LISTEN ? t->nr_ready : t->queued,
				      .inode = s && s->file ? s->file->inode->ino : 0,
				      .retransmits = t->retries,
				      .ifindex = device(t),
				      .backlog = t->backlog,
				      .cookie = t,
				      .tcp = t };

	if (t->state != TS_LISTEN && t->state != TS_CLOSE && t->state != TS_TIME_WAIT)
		v.send_bytes = t->write_seq - t->snd_una;
	if ((s32)v.send_bytes < 0) /* our FIN was acknowledged too */
		v.send_bytes = 0;
	if (t->state == TS_TIME_WAIT) {
		v.timer = 3;
		v.timer_ms = ms_until(t->wait_at);
	} else if (t->rexmit_at) {
		v.timer = t->probing ? 4 : 1;
		v.timer_ms = ms_until(t->rexmit_at);
	} else if (t->keep_at) {
		v.timer = 2;
		v.timer_ms = ms_until(t->keep_at);
	}
	return show->fn(&v, show->arg);
}

void stream_show(struct inet_net *n, int (*fn)(const struct inet_socket_view *v, void *arg), void *arg)
{
	struct show show = { fn, arg };

	tcp_host_each(&n->tcp, show_one, &show);
}

/* ---- life ----------------------------------------------------------------------------------------------------------
 */

static struct stream *make(struct socket *s)
{
	struct stream *st = kzalloc(sizeof(*st), ALLOC_CHARGED);

	if (!st)
		return NULL;
	inet_common_init(&st->common);
	mutex_init(&st->reading, RANK_STREAM);
	return st;
}

int stream_create(struct socket *s)
{
	struct stream *st = make(s);
	int err = st ? tcp_open(&inet_of(s->net)->tcp, s, s->family == PF_INET6, &st->tcp) : -ENOMEM;

	if (err) {
		kfree(st);
		return err;
	}
	s->proto = st;
	s->ops = &stream_ops;
	s->receive_buffer = 131072; /* the middle of net.ipv4.tcp_rmem and tcp_wmem */
	s->send_buffer = 16384;
	st->tcp->tag = make_tag(st->tcp, s, &st->common, ALLOC_KERNEL);
	if (!st->tcp->tag) {
		tcp_close(st->tcp, true);
		kfree(st);
		return -ENOMEM;
	}
	((struct stream_tag *)st->tcp->tag)->socket.cookie = s->cookie;
	return 0;
}

/* SO_LINGER with a time: the caller waits until everything has arrived, or the time is over. */
static void linger(struct socket *s, struct tcp *t)
{
	tcp_shutdown(t, false, true);
	(void)!wait_event_interruptible_until(
		&s->wait, t->state == TS_CLOSE || t->state == TS_FIN_WAIT2 || t->state == TS_TIME_WAIT,
		clock_ns() + (u64)s->linger_s * NSEC_PER_SEC);
}

static void release(struct socket *s)
{
	struct stream *st = stream_of(s);
	struct stream_tag *tag = st->tcp->tag;

	tag->socket.mark = s->mark;
	tag->socket.priority = s->priority;
	tag->socket.bound_ifindex = s->bound_ifindex;
	tag->common = st->common;
	if (s->linger_s > 0 && stream_is_connected(st->tcp) && !st->tcp->queued)
		linger(s, st->tcp);
	tcp_close(st->tcp, s->linger_s == 0);
	kfree(st);
}

void stream_apply_options(struct socket *s)
{
	struct tcp *t = stream_of(s)->tcp;

	t->only_v6 = stream_of(s)->common.only_v6;
	t->reuse_addr = s->reuse_addr;
	t->reuse_port = s->reuse_port;
	t->uid = current->cred->euid.v;
}

/* ---- names
 * ----------------------------------------------------------------------------------------------------------- */

static int bind(struct socket *s, const struct sock_addr *a)
{
	struct stream *st = stream_of(s);
	struct inet_name in;
	int err = inet_parse_name(s, &st->common, a, false, &in);

	if (err)
		return err;
	if (!inet_may_name(s, &in))
		return -EADDRNOTAVAIL;
	if (!inet_may_bind(s, in.port))
		return -EACCES;
	stream_apply_options(s);
	err = tcp_bind(st->tcp, &in.addr, in.port);
	if (!err) {
		err = net_hook_bound(s);
		if (err)
			tcp_unbind(st->tcp);
	}
	return err;
}

static int name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct tcp *t = stream_of(s)->tcp;

	if (peer && (!t->remote_port || t->state == TS_CLOSE || t->state == TS_SYN_SENT || t->state == TS_TIME_WAIT))
		return -ENOTCONN;
	inet_fill_name(s, out, peer ? &t->remote : &t->local, peer ? t->remote_port : t->local_port, s->bound_ifindex);
	return 0;
}

/* ---- calling
 * ----------------------------------------------------------------------------------------------------------- */

static bool is_calling(const struct tcp *t)
{
	enum tcp_state s = READ_ONCE(t->state);

	return s == TS_SYN_SENT || s == TS_SYN_RECV;
}

static int begin_connect(struct socket *s, const struct inet_name *to)
{
	struct stream *st = stream_of(s);
	struct ip_addr peer = inet_loopback_if_any(&to->addr, s->family == PF_INET6);
	u32 ifindex = to->ifindex && addr_is_link_local(&peer) ? to->ifindex : s->bound_ifindex;
	struct ip_route r;
	int err;

	rcu_read_lock();
	err = ip_route(s->net, &peer, ifindex, &r);
	rcu_read_unlock();
	if (!err && (r.type == RTN_BROADCAST || r.type == RTN_MULTICAST))
		err = -ENETUNREACH;
	if (err)
		return err;
	if (ifindex != s->bound_ifindex) {
		struct stream_tag *tag = st->tcp->tag;

		s->bound_ifindex = tag->socket.bound_ifindex = ifindex;
	}
	stream_apply_options(s);
	if (!ip_addr_is_any(&st->tcp->local) && ip_addr_is_v4(&st->tcp->local) != ip_addr_is_v4(&peer))
		return -ENETUNREACH;
	s->error = 0;
	err = tcp_connect(st->tcp, &r.source, &peer, to->port);
	st->connecting = !err;
	return err;
}

/* The call that was begun has an outcome. */
static int finish_connect(struct socket *s)
{
	struct stream *st = stream_of(s);
	int err;

	st->connecting = false;
	if (tcp_is_connected(st->tcp)) {
		st->was_connected = true;
		return 0;
	}
	err = socket_take_error(s);
	return err ? err : -ECONNABORTED;
}

static int connect(struct socket *s, const struct sock_addr *a, bool nonblock)
{
	struct stream *st = stream_of(s);
	struct inet_name to;
	u16 family = 1;
	int err;

	if (a->len >= (int)sizeof(family))
		memcpy(&family, a->bytes, sizeof(family));
	if (!family) {
		s->error = stream_is_connected(st->tcp) ? ECONNRESET : 0;
		st->connecting = st->was_connected = false;
		return tcp_disconnect(st->tcp);
	}
	err = inet_parse_name(s, &st->common, a, false, &to);
	if (err)
		return err;
	if (!st->connecting) {
		err = begin_connect(s, &to);
		if (err)
			return err;
		if (nonblock && is_calling(st->tcp))
			return -EINPROGRESS;
	} else if (nonblock && is_calling(st->tcp)) {
		return -EALREADY;
	}
	err = socket_wait(s, !is_calling(st->tcp), false, s->send_timeout_ns);
	if (err)
		return err == -EAGAIN ? -EINPROGRESS : err;
	return finish_connect(s);
}

static int listen(struct socket *s, int backlog)
{
	stream_apply_options(s);
	return tcp_listen(stream_of(s)->tcp, (u32)backlog);
}

static int accept(struct socket *s, struct socket *fresh, bool nonblock)
{
	struct tcp *l = stream_of(s)->tcp;
	struct stream *st = make(fresh);
	int err = st ? 0 : -ENOMEM;

	while (!err && !st->tcp) {
		fresh->proto = st;
		if (READ_ONCE(l->state) != TS_LISTEN)
			err = -EINVAL;
		else
			st->tcp = tcp_accept(l, fresh);
		if (!err && !st->tcp)
			err = socket_wait(s, READ_ONCE(l->nr_ready) || READ_ONCE(l->state) != TS_LISTEN, nonblock,
					  s->receive_timeout_ns);
	}
	if (err) {
		fresh->proto = NULL;
		kfree(st);
		return err;
	}
	st->common = stream_of(s)->common;
	st->was_connected = true;
	take_error(fresh, st->tcp);
	fresh->ops = &stream_ops;
	return 0;
}

static int shut(struct socket *s, int how)
{
	struct tcp *t = stream_of(s)->tcp;

	if (t->state == TS_CLOSE || t->state == TS_TIME_WAIT)
		return -ENOTCONN;
	tcp_shutdown(t, how != SHUT_WR, how != SHUT_RD);
	return 0;
}

/* ---- sending
 * ------------------------------------------------------------------------------------------------------------ */

static ssize_t send_piece(struct tcp *t, struct sock_msg *m, size_t room)
{
	u32 n = (u32)min(min(m->iter.count, room), (size_t)TCP_CHUNK_MAX), got;
	struct tcp_chunk *c = tcp_chunk_alloc(max(n, (u32)SMALL_CHUNK));
	unsigned how;
	int err;

	if (!c)
		return -ENOMEM;
	got = (u32)iter_copy_in(c->data, n, &m->iter);
	c->len = got;
	if (!got) {
		kfree(c);
		return -EFAULT;
	}
	how = m->flags & MSG_MORE || (got == n && m->iter.count) ? TCP_MORE : 0;
	if (m->flags & MSG_OOB && !m->iter.count)
		how |= TCP_URGENT;
	err = tcp_append(t, c, how);
	return err ? err : (ssize_t)got;
}

static ssize_t send(struct socket *s, struct sock_msg *m)
{
	struct tcp *t = stream_of(s)->tcp;
	ssize_t total = 0, n = 0;

	while (m->iter.count) {
		n = socket_take_error(s);
		if (!n)
			n = tcp_send_room(t);
		if (!n)
			n = socket_wait(s, tcp_send_room(t) || READ_ONCE(s->error), m->flags & MSG_DONTWAIT,
					s->send_timeout_ns);
		else if (n > 0) {
			n = send_piece(t, m, (size_t)n);
			total += max(n, 0L);
		}
		if (n < 0)
			break;
	}
	if (total && n < 0 && n != -EAGAIN && n != -ERESTARTSYS && n != -EFAULT && n != -EPIPE)
		s->error = (int)-n; /* the next call tells */
	if (n == -EPIPE && !total && !(m->flags & MSG_NOSIGNAL))
		upcall_vfs_signal(SIGPIPE);
	return total ? total : n;
}

/* ---- receiving
 * ------------------------------------------------------------------------------------------------------------ */

static bool has_ended(const struct tcp *t)
{
	enum tcp_state s = READ_ONCE(t->state);

	return t->fin_received || t->shut_read || s == TS_CLOSE || s == TS_TIME_WAIT;
}

/* Copies what is there, from offset on (peeking) or taking it. 0: nothing is. begun: this read has bytes already, so it
 * ends at an urgent one (*stop). */
static ssize_t copy_received(struct stream *st, struct sock_msg *m, u32 offset, bool begun, bool *stop)
{
	bool oob_inline = ((struct socket *)st->tcp->owner)->oob_inline;
	ssize_t total = 0;
	const u8 *at;
	u32 len;

	mutex_lock(&st->reading);
	while (m->iter.count && (at = tcp_readable(st->tcp, offset, &len))) {
		enum tcp_mark mark = tcp_mark(st->tcp, offset, &len);
		u32 n = (u32)min((size_t)len, m->iter.count), got = n;

		if (mark == MARK_URGENT && (begun || total)) {
			*stop = true;
			break;
		}
		if (mark != MARK_PLAIN && !oob_inline) {
			if (m->flags & MSG_PEEK)
				offset++;
			else
				tcp_consume(st->tcp, 1);
			continue;
		}
		if (m->flags & MSG_TRUNC)
			iter_advance(&m->iter, n);
		else
			got = (u32)iter_copy_out(at, n, &m->iter);
		if (m->flags & MSG_PEEK)
			offset += got;
		else
			tcp_consume(st->tcp, got);
		total += got;
		if (got < n) {
			total = total ? total : -EFAULT;
			break;
		}
	}
	mutex_unlock(&st->reading);
	return total;
}

static ssize_t receive_urgent(struct socket *s, struct sock_msg *m)
{
	struct tcp *t = stream_of(s)->tcp;
	u8 byte;
	int n = s->oob_inline ? -EINVAL : tcp_take_urgent(t, m->flags & MSG_PEEK, &byte);

	if (n <= 0)
		return n;
	m->out_flags |= MSG_OOB;
	if (!m->iter.count) {
		m->out_flags |= MSG_TRUNC;
		return 0;
	}
	return m->flags & MSG_TRUNC || iter_copy_out(&byte, 1, &m->iter) ? 1 : -EFAULT;
}

static ssize_t receive(struct socket *s, struct sock_msg *m)
{
	struct stream *st = stream_of(s);
	struct tcp *t = st->tcp;
	size_t count = m->iter.count, target = m->flags & MSG_WAITALL ? count : min((size_t)s->receive_low, count);
	ssize_t total = 0, n = 0;
	bool stop = false;

	if (m->flags & MSG_OOB)
		return receive_urgent(s, m);
	if (t->state == TS_LISTEN || (t->state == TS_CLOSE && !st->was_connected && !st->connecting)) {
		n = socket_take_error(s);
		return n ? n : -ENOTCONN;
	}
	if (m->addr)
		m->addr->len = 0;
	while (m->iter.count) {
		u32 offset = m->flags & MSG_PEEK ? (u32)total : 0;

		n = copy_received(st, m, offset, total > 0, &stop);
		if (n > 0)
			total += n;
		if (n < 0 || stop || (total && (size_t)total >= target))
			break;
		if (n > 0)
			continue;
		n = total ? 0 : socket_take_error(s);
		if (n || READ_ONCE(s->error) || (has_ended(t) && !tcp_readable(t, offset, &(u32){ 0 })))
			break;
		n = socket_wait(s, READ_ONCE(t->queued) > offset || has_ended(t) || READ_ONCE(s->error),
				m->flags & MSG_DONTWAIT, s->receive_timeout_ns);
		if (n)
			break;
	}
	return total ? total : n;
}

/* ---- looking
 * ---------------------------------------------------------------------------------------------------------------- */

static unsigned poll(struct socket *s, struct poll_table *pt)
{
	struct tcp *t = stream_of(s)->tcp;
	enum tcp_state state = READ_ONCE(t->state);
	bool no_more_in = t->fin_received || t->shut_read, closed = state == TS_CLOSE || state == TS_TIME_WAIT;
	unsigned mask = 0;

	if (state == TS_LISTEN)
		return READ_ONCE(t->nr_ready) ? EPOLLIN | EPOLLRDNORM : 0;
	if (closed || (no_more_in && t->shut_write))
		mask |= EPOLLHUP;
	if (no_more_in || (closed && stream_of(s)->was_connected))
		mask |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (is_calling(t))
		return mask;
	if (READ_ONCE(t->urgent) == URGENT_THERE)
		mask |= EPOLLPRI;
	if (READ_ONCE(t->queued) >= s->receive_low + (!s->oob_inline && tcp_at_mark(t)))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (t->shut_write || closed || tcp_send_room(t) >= (ssize_t)(t->send_buffer / 3))
		mask |= EPOLLOUT | EPOLLWRNORM;
	return mask;
}

static long ioctl(struct socket *s, unsigned cmd, ulong arg)
{
	struct tcp *t = stream_of(s)->tcp;
	int n;

	switch (cmd) {
	case FIONREAD:
		if (t->state == TS_LISTEN)
			return -EINVAL;
		n = (int)(s->oob_inline ? t->queued : tcp_plain_bytes(t));
		break;
	case SIOCOUTQ: n = t->state == TS_CLOSE ? 0 : (int)(t->write_seq - t->snd_una); break;
	case SIOCOUTQNSD: n = t->state == TS_CLOSE ? 0 : (int)(t->write_seq - t->snd_nxt); break;
	case SIOCATMARK: n = tcp_at_mark(t); break;
	default: return -ENOTTY;
	}
	return user_put((void __user *)arg, &n, sizeof(n));
}

static const struct socket_ops stream_ops = {
	.release = release,
	.bind = bind,
	.connect = connect,
	.listen = listen,
	.accept = accept,
	.name = name,
	.send = send,
	.receive = receive,
	.shutdown = shut,
	.poll = poll,
	.ioctl = ioctl,
	.setsockopt = stream_setsockopt,
	.getsockopt = stream_getsockopt,
	.option_changed = stream_option_changed,
};
