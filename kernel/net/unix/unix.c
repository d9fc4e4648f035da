/* SPDX-License-Identifier: MIT
 *
 * Problem: processes of one machine talk through sockets as streams, packets or datagrams, and expect the rules of
 * sockets: backlog, shutdown, blocking, readiness.
 *
 * Idea: each end has a queue of messages; sending is appending to the peer's queue. A stream is a queue whose message
 * borders do not show. A connection that waits to be accepted is an end without a socket yet. An end lives as long as
 * somebody refers to it, so a peer that closes leaves a dead end behind and not a dangling pointer.
 *
 * Contract: net/socket.h, unix(7). Descriptors in flight in a circle of sockets are not collected (caveats).
 *
 * Locks: u->lock (RANK_SOCKET) guards one end; two are taken by address. Nothing is freed or woken that could sleep
 * under it, and no user memory is touched.
 */
#include <alloc/slab.h>
#include <asm/ioctls.h>
#include <arch/user.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/eventpoll.h>
#include <process/process.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include <vfs/upcalls.h>
#include "unix_priv.h"

#define SHUT_RECEIVE 1
#define SHUT_SEND    2
#define OPT_PEERCRED 17 /* SO_PEERCRED of asm-generic/socket.h */

static const struct socket_ops unix_ops;

/* ---- life ----------------------------------------------------------------------------------------------------------
 */

static struct ucred_msg my_cred(void)
{
	return (struct ucred_msg){ pid_nr_global(current->process->pid), current->cred->euid.v, current->cred->egid.v };
}

/* s NULL: an end that waits to be accepted. */
static struct unix_sock *unix_alloc(int type, struct net *net, struct socket *s)
{
	struct unix_sock *u = kzalloc(sizeof(*u), ALLOC_CHARGED);

	if (!u)
		return NULL;
	refcount_set(&u->refs, 1);
	spin_init(&u->lock, RANK_SOCKET);
	waitq_init(&u->wait);
	waitq_init(&u->space);
	list_init(&u->queue);
	list_init(&u->pending);
	list_init(&u->pending_link);
	u->type = type;
	u->net = net;
	u->cred = my_cred();
	unix_enlist(u, s);
	return u;
}

void unix_get(struct unix_sock *u)
{
	refcount_inc(&u->refs);
}

void unix_put(struct unix_sock *u)
{
	if (!u || !refcount_dec_and_test(&u->refs))
		return;
	while (!list_empty(&u->queue)) {
		struct unix_msg *m = list_first_entry(&u->queue, struct unix_msg, link);

		list_del(&m->link);
		unix_msg_free(m);
	}
	kfree(u);
}

static bool is_stream_like(const struct unix_sock *u)
{
	return u->type != SOCK_DGRAM;
}

static void wake(struct unix_sock *u)
{
	waitq_wake(&u->wait, -1, EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDHUP | EPOLLERR);
}

static void lock_two(struct unix_sock *a, struct unix_sock *b)
{
	if (a > b)
		swap(a, b);
	spin_lock(&a->lock);
	if (a != b)
		spin_lock_nested(&b->lock);
}

static void unlock_two(struct unix_sock *a, struct unix_sock *b)
{
	spin_unlock(&a->lock);
	if (a != b)
		spin_unlock(&b->lock);
}

static struct unix_sock *peer_get(struct unix_sock *u)
{
	struct unix_sock *p;

	spin_lock(&u->lock);
	p = u->peer;
	if (p)
		unix_get(p);
	spin_unlock(&u->lock);
	return p;
}

/* The end is closed: its peer learns, waiting connections are refused. */
static void unix_close(struct unix_sock *u)
{
	struct unix_sock *peer, *child, *next;
	LIST(refused);

	unix_unbind(u);
	spin_lock(&u->lock);
	u->dead = true;
	u->shut = SHUT_RECEIVE | SHUT_SEND;
	peer = u->peer;
	u->peer = NULL;
	list_splice_tail_init(&u->pending, &refused);
	spin_unlock(&u->lock);
	list_for_each_entry_safe (child, next, &refused, pending_link) {
		list_del_init(&child->pending_link);
		unix_close(child);
	}
	if (peer) {
		spin_lock(&peer->lock);
		if (is_stream_like(peer))
			peer->shut |= SHUT_RECEIVE | SHUT_SEND;
		spin_unlock(&peer->lock);
		wake(peer);
		unix_put(peer);
	}
	wake(u);
	waitq_wake_all(&u->space);
	unix_put(u);
}

static void unix_release(struct socket *s)
{
	if (s->proto)
		unix_close(unix_of(s));
	s->proto = NULL;
}

/* ---- connecting ------------------------------------------------------------------------------------------ */

static bool backlog_free(struct unix_sock *l)
{
	return READ_ONCE(l->dead) || l->state != UNIX_LISTENING || READ_ONCE(l->nr_pending) <= l->backlog;
}

/* Both locked. Ties u to a new end `child` that waits at listener l. */
static int enqueue(struct unix_sock *u, struct unix_sock *l, struct unix_sock *child)
{
	if (l->dead || l->state != UNIX_LISTENING || l->shut & SHUT_RECEIVE)
		return -ECONNREFUSED;
	if (u->state == UNIX_CONNECTED)
		return -EISCONN;
	if (u->state == UNIX_LISTENING)
		return -EINVAL;
	if (l->nr_pending > l->backlog)
		return -EAGAIN;
	unix_get(u);
	unix_get(child);
	child->peer = u;
	u->peer = child;
	child->state = u->state = UNIX_CONNECTED;
	child->cred = l->cred;
	child->peer_cred = u->cred;
	u->peer_cred = l->cred;
	list_add_tail(&child->pending_link, &l->pending);
	l->nr_pending++;
	return 0;
}

static int connect_stream(struct socket *s, struct unix_sock *l, bool nonblock)
{
	struct unix_sock *u = unix_of(s), *child = unix_alloc(u->type, u->net, NULL);
	int err;

	if (!child)
		return -ENOMEM;
	unix_name(l, &child->name); /* what getsockname of the accepted socket gives */
	if (child->name.len <= 2)
		child->name.len = 0;
	list_init(&child->abstract_link);
	u->cred = my_cred();
	do {
		lock_two(u, l);
		err = enqueue(u, l, child);
		unlock_two(u, l);
		if (err != -EAGAIN || nonblock)
			break;
		err = wait_event_interruptible_until(&l->space, backlog_free(l), socket_deadline(s->send_timeout_ns));
	} while (!err);
	if (err)
		unix_close(child);
	else
		wake(l);
	return err == -ETIME ? -EAGAIN : err;
}

static int connect_datagram(struct unix_sock *u, struct unix_sock *to)
{
	struct unix_sock *old;

	spin_lock(&u->lock);
	old = u->peer;
	u->peer = to;
	u->state = to ? UNIX_CONNECTED : UNIX_IDLE;
	spin_unlock(&u->lock);
	unix_put(old);
	return 0;
}

static int unix_connect(struct socket *s, const struct sock_addr *a, bool nonblock)
{
	struct unix_sock *u = unix_of(s), *to = NULL;
	u16 family;
	int err;

	memcpy(&family, a->bytes, sizeof(family));
	if (!is_stream_like(u) && a->len >= 2 && family == 0)
		return connect_datagram(u, NULL);
	err = unix_find(u, a, &to);
	if (err)
		return err;
	if (!is_stream_like(u))
		return connect_datagram(u, to); /* keeps the reference */
	err = connect_stream(s, to, nonblock);
	unix_put(to);
	return err;
}

static int unix_listen(struct socket *s, int backlog)
{
	struct unix_sock *u = unix_of(s);
	int err = 0;

	if (!is_stream_like(u))
		return -EOPNOTSUPP;
	if (!u->name.len)
		return -EINVAL;
	spin_lock(&u->lock);
	if (u->state == UNIX_CONNECTED) {
		err = -EINVAL;
	} else {
		u->state = UNIX_LISTENING;
		u->backlog = clamp(backlog, 0, 4096);
		u->cred = my_cred();
	}
	spin_unlock(&u->lock);
	if (!err)
		waitq_wake_all(&u->space);
	return err;
}

static struct unix_sock *take_pending(struct unix_sock *l)
{
	struct unix_sock *c;

	spin_lock(&l->lock);
	c = list_first_or_null(&l->pending, struct unix_sock, pending_link);
	if (c) {
		list_del_init(&c->pending_link);
		l->nr_pending--;
	}
	spin_unlock(&l->lock);
	return c;
}

static int unix_accept(struct socket *s, struct socket *fresh, bool nonblock)
{
	struct unix_sock *l = unix_of(s), *c;
	u64 deadline = socket_deadline(s->receive_timeout_ns);
	int err;

	if (!is_stream_like(l))
		return -EOPNOTSUPP;
	if (l->state != UNIX_LISTENING)
		return -EINVAL;
	while (!(c = take_pending(l))) {
		if (l->shut & SHUT_RECEIVE)
			return -EINVAL;
		if (nonblock)
			return -EAGAIN;
		err = wait_event_interruptible_until(&l->wait, !list_empty(&l->pending) || l->shut, deadline);
		if (err)
			return err == -ETIME ? -EAGAIN : err;
	}
	waitq_wake_all(&l->space);
	unix_own(c, fresh);
	fresh->ops = &unix_ops;
	fresh->proto = c;
	return 0;
}

static int unix_pair(struct socket *sa, struct socket *sb)
{
	struct unix_sock *a = unix_of(sa), *b = unix_of(sb);

	unix_get(a);
	unix_get(b);
	a->peer = b;
	b->peer = a;
	a->state = b->state = UNIX_CONNECTED;
	a->peer_cred = b->cred;
	b->peer_cred = a->cred;
	return 0;
}

static int unix_get_name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct unix_sock *u = unix_of(s), *p;

	if (!peer) {
		unix_name(u, out);
		return 0;
	}
	p = peer_get(u);
	if (!p)
		return -ENOTCONN;
	unix_name(p, out);
	unix_put(p);
	return 0;
}

/* ---- sending --------------------------------------------------------------------------------------------- */

static bool has_room(const struct unix_sock *to, size_t len)
{
	return !to->queued || to->queued + len <= QUEUE_BYTES;
}

/* Under to's lock. */
static int append(struct unix_sock *u, struct unix_sock *to, struct unix_msg *msg)
{
	if (u->shut & SHUT_SEND)
		return -EPIPE;
	if (to->dead)
		return is_stream_like(u) ? -EPIPE : -ECONNREFUSED;
	if (to->shut & SHUT_RECEIVE)
		return -EPIPE;
	if (!is_stream_like(u) && to->peer && to->peer != u)
		return -EPERM; /* it listens to its own peer alone */
	if (!has_room(to, msg->len))
		return -EAGAIN;
	list_add_tail(&msg->link, &to->queue);
	to->queued += msg->len + 1;
	return 0;
}

static bool may_append(struct unix_sock *u, struct unix_sock *to, size_t len)
{
	return READ_ONCE(to->dead) || u->shut & SHUT_SEND || to->shut & SHUT_RECEIVE || has_room(to, len);
}

/* msg is taken over. */
static int deliver(struct socket *s, struct unix_sock *to, struct unix_msg *msg, unsigned flags)
{
	struct unix_sock *u = unix_of(s);
	struct waitq *q = is_stream_like(u) ? &u->wait : &to->space;
	bool nonblock = flags & MSG_DONTWAIT;
	size_t len = msg->len;
	int err;

	do {
		spin_lock(&to->lock);
		err = append(u, to, msg);
		spin_unlock(&to->lock);
		if (err != -EAGAIN || nonblock)
			break;
		err = wait_event_interruptible_until(q, may_append(u, to, len), socket_deadline(s->send_timeout_ns));
		if (err == -ETIME)
			err = -EAGAIN;
	} while (!err);
	if (err)
		unix_msg_free(msg);
	else
		waitq_wake(&to->wait, -1, EPOLLIN | EPOLLRDNORM);
	return err;
}

static ssize_t send_stream(struct socket *s, struct unix_sock *to, struct sock_msg *m)
{
	ssize_t total = 0;
	int err = 0;

	do {
		size_t len = min(m->iter.count, (size_t)CHUNK_BYTES);
		struct unix_msg *msg;

		if (!len)
			break;
		err = unix_msg_make(s, m, len, !total, &msg);
		if (!err)
			err = deliver(s, to, msg, m->flags);
		if (!err)
			total += len;
	} while (!err && m->iter.count);
	if (err == -EPIPE && !total && !(m->flags & MSG_NOSIGNAL))
		upcall_vfs_signal(SIGPIPE);
	return total ? total : err;
}

static ssize_t send_message(struct socket *s, struct unix_sock *to, struct sock_msg *m)
{
	size_t len = m->iter.count;
	struct unix_msg *msg;
	int err;

	if (len > QUEUE_BYTES - 1)
		return -EMSGSIZE;
	err = unix_msg_make(s, m, len, true, &msg);
	if (!err)
		err = deliver(s, to, msg, m->flags);
	if (err == -EPIPE && is_stream_like(unix_of(s)) && !(m->flags & MSG_NOSIGNAL))
		upcall_vfs_signal(SIGPIPE);
	return err ? err : (ssize_t)len;
}

static ssize_t unix_send(struct socket *s, struct sock_msg *m)
{
	struct unix_sock *u = unix_of(s), *to = NULL;
	ssize_t n;

	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (m->addr && m->addr->len && !is_stream_like(u)) {
		n = unix_find(u, m->addr, &to);
		if (n)
			return n;
	} else if (m->addr && m->addr->len) {
		return u->state == UNIX_CONNECTED ? -EISCONN : -EOPNOTSUPP;
	} else {
		to = peer_get(u);
	}
	if (!to) {
		if (is_stream_like(u) && u->shut & SHUT_SEND) {
			if (!(m->flags & MSG_NOSIGNAL))
				upcall_vfs_signal(SIGPIPE);
			return -EPIPE;
		}
		return -ENOTCONN;
	}
	n = u->type == SOCK_STREAM ? send_stream(s, to, m) : send_message(s, to, m);
	unix_put(to);
	return n;
}

/* ---- receiving ------------------------------------------------------------------------------------------- */

static bool something(const struct unix_sock *u)
{
	return !list_empty(&u->queue) || READ_ONCE(u->shut) & SHUT_RECEIVE;
}

/* Takes the first message out, for this reader alone. */
static struct unix_msg *take_first(struct unix_sock *u)
{
	struct unix_msg *msg;

	spin_lock(&u->lock);
	msg = list_first_or_null(&u->queue, struct unix_msg, link);
	if (msg)
		list_del(&msg->link);
	spin_unlock(&u->lock);
	return msg;
}

static void put_back(struct unix_sock *u, struct unix_msg *msg)
{
	spin_lock(&u->lock);
	list_add(&msg->link, &u->queue);
	spin_unlock(&u->lock);
}

/* The message has been read: its room is free, and who waits for it hears so. */
static void consumed(struct unix_sock *u, struct unix_msg *msg)
{
	struct unix_sock *peer;

	spin_lock(&u->lock);
	u->queued -= msg->len + 1;
	spin_unlock(&u->lock);
	unix_msg_free(msg);
	if (!is_stream_like(u)) {
		waitq_wake_all(&u->space);
		return;
	}
	peer = peer_get(u);
	if (peer) {
		waitq_wake(&peer->wait, -1, EPOLLOUT | EPOLLWRNORM);
		unix_put(peer);
	}
}

/* The first message, or why there is none: 0 (end), -EAGAIN, -EINTR codes. */
static int wait_first(struct socket *s, struct unix_sock *u, unsigned flags, struct unix_msg **out)
{
	u64 deadline = socket_deadline(s->receive_timeout_ns);

	while (!(*out = take_first(u))) {
		int err;

		if (u->shut & SHUT_RECEIVE)
			return 0;
		if (is_stream_like(u) && u->state != UNIX_CONNECTED)
			return s->type == SOCK_STREAM ? -EINVAL : -ENOTCONN;
		if (flags & MSG_DONTWAIT)
			return -EAGAIN;
		err = wait_event_interruptible_until(&u->wait, something(u), deadline);
		if (err)
			return err == -ETIME ? -EAGAIN : err;
	}
	return 1;
}

static ssize_t receive_message(struct socket *s, struct sock_msg *m)
{
	struct unix_sock *u = unix_of(s);
	struct unix_msg *msg;
	ssize_t n = wait_first(s, u, m->flags, &msg);
	size_t want;

	if (n <= 0)
		return n == 0 && !is_stream_like(u) ? -EAGAIN : n;
	want = min(msg->len, m->iter.count);
	n = iter_copy_out(msg->data, want, &m->iter) < want ? -EFAULT : (ssize_t)want;
	if (want < msg->len)
		m->out_flags |= MSG_TRUNC;
	if (n >= 0 && m->flags & MSG_TRUNC)
		n = msg->len;
	if (u->type == SOCK_SEQPACKET)
		m->out_flags |= MSG_EOR;
	if (m->addr)
		*m->addr = msg->from;
	unix_msg_deliver(s, msg, m);
	if (m->flags & MSG_PEEK)
		put_back(u, msg);
	else
		consumed(u, msg);
	return n;
}

/* Messages that carry files or come from somebody else are not joined with the ones before. */
static bool joins(const struct unix_msg *msg, const struct unix_msg *first_cred, bool pass_cred)
{
	return !msg->nr_files && !pass_cred;
}

static ssize_t receive_stream(struct socket *s, struct sock_msg *m)
{
	struct unix_sock *u = unix_of(s);
	unsigned flags = m->flags;
	ssize_t total = 0, n = 0;

	while (m->iter.count) {
		struct unix_msg *msg;
		size_t want;

		n = wait_first(s, u, flags, &msg);
		if (n <= 0)
			break;
		if (total && !joins(msg, NULL, s->pass_cred)) {
			put_back(u, msg);
			break;
		}
		want = min(msg->len - msg->offset, m->iter.count);
		n = iter_copy_out(msg->data + msg->offset, want, &m->iter);
		if (!total)
			unix_msg_deliver(s, msg, m);
		total += n;
		if (flags & MSG_PEEK) {
			put_back(u, msg);
			break;
		}
		msg->offset += n;
		if (msg->offset == msg->len)
			consumed(u, msg);
		else
			put_back(u, msg);
		if ((size_t)n < want) {
			n = -EFAULT;
			break;
		}
		if (!(flags & MSG_WAITALL))
			flags |= MSG_DONTWAIT;
	}
	if (m->addr)
		m->addr->len = 0;
	return total ? total : n;
}

static ssize_t unix_receive(struct socket *s, struct sock_msg *m)
{
	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	return unix_of(s)->type == SOCK_STREAM ? receive_stream(s, m) : receive_message(s, m);
}

/* ---- the rest -------------------------------------------------------------------------------------------- */

static int unix_shutdown(struct socket *s, int how)
{
	struct unix_sock *u = unix_of(s), *peer = peer_get(u);
	unsigned bits = how == SHUT_RD ? SHUT_RECEIVE : how == SHUT_WR ? SHUT_SEND : SHUT_RECEIVE | SHUT_SEND;

	if (!peer && u->state != UNIX_LISTENING)
		return -ENOTCONN;
	spin_lock(&u->lock);
	u->shut |= bits;
	spin_unlock(&u->lock);
	if (peer && is_stream_like(u)) {
		spin_lock(&peer->lock);
		peer->shut |= (bits & SHUT_SEND ? SHUT_RECEIVE : 0) | (bits & SHUT_RECEIVE ? SHUT_SEND : 0);
		spin_unlock(&peer->lock);
		wake(peer);
	}
	wake(u);
	unix_put(peer);
	return 0;
}

static unsigned unix_poll(struct socket *s, struct poll_table *pt)
{
	struct unix_sock *u = unix_of(s), *peer;
	unsigned ready = 0;
	bool room = true;

	poll_wait(s->file, &u->wait, pt);
	if (u->state == UNIX_LISTENING)
		return list_empty(&u->pending) ? 0 : EPOLLIN | EPOLLRDNORM;
	if (!list_empty(&u->queue) || u->shut & SHUT_RECEIVE)
		ready |= EPOLLIN | EPOLLRDNORM;
	if (u->shut & SHUT_RECEIVE)
		ready |= EPOLLRDHUP;
	if (u->shut == (SHUT_RECEIVE | SHUT_SEND) || (is_stream_like(u) && u->state == UNIX_IDLE))
		ready |= EPOLLHUP;
	peer = peer_get(u);
	if (peer)
		room = has_room(peer, QUEUE_BYTES / 4) || u->shut & SHUT_SEND;
	unix_put(peer);
	if (room)
		ready |= EPOLLOUT | EPOLLWRNORM;
	return ready;
}

static long unix_ioctl(struct socket *s, unsigned cmd, ulong arg)
{
	struct unix_sock *u = unix_of(s);
	struct unix_msg *msg;
	int n = 0;

	if (cmd != FIONREAD)
		return -ENOTTY;
	spin_lock(&u->lock);
	list_for_each_entry (msg, &u->queue, link) {
		n += msg->len - msg->offset;
		if (u->type != SOCK_STREAM)
			break;
	}
	spin_unlock(&u->lock);
	return user_put((void __user *)arg, &n, sizeof(n));
}

static int unix_getsockopt(struct socket *s, int level, int name, void *value, int *len)
{
	struct unix_sock *u = unix_of(s);

	if (level != 1 || name != OPT_PEERCRED)
		return -ENOPROTOOPT;
	if (u->state != UNIX_CONNECTED)
		u->peer_cred = (struct ucred_msg){ 0, ~0U, ~0U };
	*len = min(*len, (int)sizeof(u->peer_cred));
	memcpy(value, &u->peer_cred, *len);
	return 0;
}

static const struct socket_ops unix_ops = {
	.release = unix_release,
	.bind = unix_bind,
	.connect = unix_connect,
	.listen = unix_listen,
	.accept = unix_accept,
	.pair = unix_pair,
	.name = unix_get_name,
	.send = unix_send,
	.receive = unix_receive,
	.shutdown = unix_shutdown,
	.poll = unix_poll,
	.ioctl = unix_ioctl,
	.getsockopt = unix_getsockopt,
};

static int unix_create(struct socket *s)
{
	if (s->type != SOCK_STREAM && s->type != SOCK_DGRAM && s->type != SOCK_SEQPACKET)
		return -ESOCKTNOSUPPORT;
	if (s->protocol && s->protocol != PF_UNIX)
		return -EPROTONOSUPPORT;
	s->proto = unix_alloc(s->type, s->net, s);
	if (!s->proto)
		return -ENOMEM;
	s->ops = &unix_ops;
	return 0;
}

static struct socket_family unix_family = { .family = PF_UNIX, .create = unix_create };

static void unix_init(void)
{
	socket_family_register(&unix_family);
}

PART_INIT(core, unix_init);
