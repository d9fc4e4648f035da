/* SPDX-License-Identifier: MIT
 *
 * Problem: configuration tools talk to the kernel by datagrams that hold requests, and listen to groups for what
 * changes.
 *
 * Idea: a request is served inside send, in the caller's context; its answers are queued at the caller's own socket. A
 * notification is a copy a socket that has joined the group. A queue that is full drops notifications and says so once
 * (ENOBUFS), so that the listener can ask anew; answers always fit. What programs send each other takes the same ways;
 * who writes to one that is full waits.
 *
 * Contract: netlink(7). Protocols: NETLINK_ROUTE, NETLINK_SOCK_DIAG; NETLINK_KOBJECT_UEVENT, where the kernel is silent
 * but programs may speak; NETLINK_USERSOCK, theirs alone.
 *
 * Locks: all_lock (RANK_SOCKET) for the list, names and groups; a socket's lock (RANK_SOCKET_QUEUE) for its queue.
 */
#include <arch/user.h>
#include <asm/ioctls.h>
#include <core/init.h>
#include <lib/printf.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <process/process.h>
#include <vfs/poll.h>
#include <vfs/vfs.h>

#include "netlink_priv.h"

#define REQUEST_MOST (64U << 10)
#define ANSWERS_MOST (16U << 20) /* bytes of answers that wait: a socket that never reads */

#define SOL_SOCKET      1
#define SCM_CREDENTIALS 2

static LIST(all);
static struct waitq space = WAITQ_INIT(space); /* somebody has read, where others wait to write */
static struct spinlock all_lock = SPIN_INIT(RANK_SOCKET);

static struct nl_socket *of(struct socket *s)
{
	return s->proto;
}

/* ---- queues
 * ------------------------------------------------------------------------------------------------------------- */

static void wake(struct nl_socket *s)
{
	waitq_wake(&s->socket->wait, -1, EPOLLIN | EPOLLRDNORM | EPOLLERR);
}

void nl_queue(struct nl_socket *s, struct nl_buf *b)
{
	ulong irq = spin_lock_irqsave(&s->lock);
	bool room = s->queued + b->len <= (b->group ? s->socket->receive_buffer : ANSWERS_MOST);

	if (room) {
		list_add_tail(&b->link, &s->queue);
		s->queued += b->len;
	} else {
		s->overrun = true;
	}
	spin_unlock_irqrestore(&s->lock, irq);
	if (!room)
		kfree(b);
	wake(s);
}

bool nl_is_heard(struct net *n, u32 group)
{
	struct nl_socket *s;
	bool heard = false;
	ulong irq = spin_lock_irqsave(&all_lock);

	list_for_each_entry (s, &all, link)
		heard |= s->socket->net == n && s->socket->protocol == NETLINK_ROUTE && s->groups >> (group - 1) & 1;
	spin_unlock_irqrestore(&all_lock, irq);
	return heard;
}

void nl_notify(struct net *n, u32 group, const struct nl_reply *r)
{
	struct nl_socket *s;
	ulong irq;

	if (r->overflow)
		return;
	irq = spin_lock_irqsave(&all_lock);
	list_for_each_entry (s, &all, link) {
		struct nl_buf *b;

		if (s->socket->net != n || s->socket->protocol != NETLINK_ROUTE || !(s->groups >> (group - 1) & 1))
			continue;
		b = kmalloc_paid_like(s, sizeof(*b) + r->len, ALLOC_ATOMIC);
		if (!b) {
			s->overrun = true;
			continue;
		}
		*b = (struct nl_buf){ .len = r->len, .group = group };
		memcpy(b->data, r->message, r->len);
		nl_queue(s, b);
	}
	spin_unlock_irqrestore(&all_lock, irq);
}

static struct nl_buf *take(struct nl_socket *s, bool peek)
{
	ulong irq = spin_lock_irqsave(&s->lock);
	struct nl_buf *b = list_first_or_null(&s->queue, struct nl_buf, link);

	if (b && !peek) {
		list_del(&b->link);
		s->queued -= b->len;
	}
	spin_unlock_irqrestore(&s->lock, irq);
	if (b && !peek)
		waitq_wake(&space, -1, EPOLLOUT);
	return b;
}

static ssize_t receive(struct socket *s, struct sock_msg *m)
{
	struct nl_socket *n = of(s);
	struct nl_buf *b;
	size_t got, len;
	int err;

	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	do {
		err = socket_wait(s, !list_empty(&n->queue) || n->overrun, m->flags & MSG_DONTWAIT,
				  s->receive_timeout_ns);
		if (!err && __atomic_exchange_n(&n->overrun, false, __ATOMIC_SEQ_CST))
			err = -ENOBUFS;
		if (err)
			return err;
		b = take(n, m->flags & MSG_PEEK);
	} while (!b);
	len = b->len;
	got = iter_copy_out(b->data, min(len, m->iter.count), &m->iter);
	if (got < len)
		m->out_flags |= MSG_TRUNC;
	if (m->addr) {
		struct sockaddr_nl a = { .nl_family = PF_NETLINK,
					 .nl_pid = b->from,
					 .nl_groups = b->group ? 1U << (b->group - 1) % 32 : 0 };

		memcpy(m->addr->bytes, &a, sizeof(a));
		m->addr->len = sizeof(a);
	}
	if (n->pktinfo) {
		struct nl_pktinfo i = { .group = b->group };

		socket_put_control(m, SOL_NETLINK, NETLINK_PKTINFO, &i, sizeof(i));
	}
	if (s->pass_cred)
		socket_put_control(m, SOL_SOCKET, SCM_CREDENTIALS, &b->sender, sizeof(b->sender));
	if (!(m->flags & MSG_PEEK))
		kfree(b);
	return m->flags & MSG_TRUNC ? (ssize_t)len : (ssize_t)got;
}

/* ---- requests
 * -------------------------------------------------------------------------------------------------------------- */

/* The answer that a request asked for, or its error, with the request (its header alone, when it went well). */
static void acknowledge(const struct nl_request *q, int err)
{
	size_t quote = err && !q->from->cap_ack ? q->h->nlmsg_len : sizeof(*q->h);
	struct nl_buf *b = kmalloc(sizeof(*b) + sizeof(struct nlmsghdr) + sizeof(int) + quote, ALLOC_CHARGED);
	struct nlmsghdr *h;
	struct nlmsgerr *e;

	if (!b)
		return;
	*b = (struct nl_buf){ .len = (u32)(sizeof(*h) + sizeof(int) + quote) };
	h = (struct nlmsghdr *)b->data;
	*h = (struct nlmsghdr){ .nlmsg_len = b->len,
				.nlmsg_type = NLMSG_ERROR,
				.nlmsg_flags = quote == sizeof(*q->h) ? NLM_F_CAPPED : 0,
				.nlmsg_seq = q->h->nlmsg_seq,
				.nlmsg_pid = q->from->port };
	e = (struct nlmsgerr *)(h + 1);
	e->error = err;
	memcpy(&e->msg, q->h, quote);
	nl_queue(q->from, b);
}

static int serve(const struct nl_request *q, struct nl_reply *r)
{
	switch (q->from->socket->protocol) {
	case NETLINK_ROUTE: return rt_request(q, r);
	case NETLINK_SOCK_DIAG: return diag_request(q, r);
	}
	return -EOPNOTSUPP;
}

static void one_request(struct nl_socket *s, const struct nlmsghdr *h)
{
	struct nl_request q = {
		.from = s, .h = h, .body = h + 1, .len = h->nlmsg_len - sizeof(*h), .net = s->socket->net
	};
	bool dump = (h->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
	struct nl_reply r;
	int err;

	if (!(h->nlmsg_flags & NLM_F_REQUEST) || h->nlmsg_type < NLMSG_MIN_TYPE) {
		if (h->nlmsg_flags & NLM_F_ACK)
			acknowledge(&q, 0);
		return;
	}
	err = nl_reply_begin(&r, &q);
	if (!err) {
		err = serve(&q, &r);
		nl_reply_end(&r, !err && dump, 0);
	}
	if (err || (h->nlmsg_flags & NLM_F_ACK && !dump))
		acknowledge(&q, err);
}

/* ---- programs among themselves -------------------------------------------------------------------------------------
 */

static bool has_kernel(int protocol)
{
	return protocol != NETLINK_USERSOCK;
}

static bool may_write(const struct nl_socket *s)
{
	return s->socket->protocol == NETLINK_USERSOCK || ns_capable(s->socket->net->ns.owner, CAP_NET_ADMIN);
}

static int check_destination(const struct nl_socket *s, const struct sockaddr_nl *a)
{
	if (a->nl_family != PF_NETLINK)
		return -EINVAL;
	return (a->nl_pid || a->nl_groups) && !may_write(s) ? -EPERM : 0;
}

static u32 first_group(u32 groups)
{
	return groups ? (u32)__builtin_ctz(groups) + 1 : 0;
}

/* Where a message goes: a port (0: the kernel) and a group (0: none). */
static int destination(const struct nl_socket *s, const struct sock_addr *a, u32 *port, u32 *group)
{
	struct sockaddr_nl to;
	int err;

	*port = s->peer;
	*group = s->peer_group;
	if (!a || a->len < (int)sizeof(to))
		return a && a->len ? -EINVAL : 0;
	memcpy(&to, a->bytes, sizeof(to));
	err = check_destination(s, &to);
	*port = to.nl_pid;
	*group = first_group(to.nl_groups);
	return err;
}

/* One that may hear what `from` says. */
static bool is_fellow(const struct nl_socket *s, const struct nl_socket *from)
{
	return s->socket->net == from->socket->net && s->socket->protocol == from->socket->protocol;
}

static struct nl_buf *letter(struct nl_socket *to, const struct nl_socket *from, u32 group, const void *data,
			     size_t len)
{
	struct nl_buf *b = kmalloc_paid_like(to, sizeof(*b) + len, ALLOC_ATOMIC);

	if (!b)
		return NULL;
	*b = (struct nl_buf){ .len = (u32)len,
			      .group = group,
			      .from = from->port,
			      .sender = { (u32)pid_nr_global(current->process->pid), current->cred->uid.v,
					  current->cred->gid.v } };
	memcpy(b->data, data, len);
	return b;
}

static void tell_group(const struct nl_socket *from, u32 but, u32 group, const void *data, size_t len)
{
	ulong irq = spin_lock_irqsave(&all_lock);
	struct nl_socket *s;

	list_for_each_entry (s, &all, link) {
		struct nl_buf *b;

		if (s == from || !is_fellow(s, from) || !(s->groups >> (group - 1) & 1) || s->port == but)
			continue;
		b = letter(s, from, group, data, len);
		if (b)
			nl_queue(s, b);
		else
			s->overrun = true;
	}
	spin_unlock_irqrestore(&all_lock, irq);
}

/* -EAGAIN: its queue is full. */
static int try_write(const struct nl_socket *from, u32 port, const void *data, size_t len)
{
	ulong irq = spin_lock_irqsave(&all_lock);
	struct nl_socket *s;
	struct nl_buf *b;
	int err = -ECONNREFUSED;

	list_for_each_entry (s, &all, link) {
		if (!port || s->port != port || !is_fellow(s, from))
			continue;
		err = s->queued && s->queued + len > s->socket->receive_buffer ? -EAGAIN : 0;
		b = err ? NULL : letter(s, from, 0, data, len);
		if (b)
			nl_queue(s, b);
		else if (!err)
			err = -ENOBUFS;
		break;
	}
	spin_unlock_irqrestore(&all_lock, irq);
	return err;
}

static int write_to(const struct nl_socket *from, u32 port, const void *data, size_t len, bool nonblock)
{
	int err = try_write(from, port, data, len), slept;

	if (err != -EAGAIN || nonblock)
		return err;
	slept = wait_event_interruptible_until(&space, (err = try_write(from, port, data, len)) != -EAGAIN,
					       socket_deadline(from->socket->send_timeout_ns));
	return slept == -ETIME ? -EAGAIN : slept ? slept : err;
}

static int bind_port(struct nl_socket *s, u32 port);

static ssize_t send(struct socket *s, struct sock_msg *m)
{
	struct nl_socket *n = of(s);
	size_t len = m->iter.count, at = 0;
	u32 to, group;
	u8 *buf;
	int err = n->port ? 0 : bind_port(n, 0);

	if (err)
		return err;
	if (m->flags & MSG_OOB)
		return -EOPNOTSUPP;
	if (len > REQUEST_MOST)
		return -EMSGSIZE;
	err = destination(n, m->addr, &to, &group);
	if (err)
		return err;
	buf = kmalloc(len + 1, ALLOC_KERNEL);
	if (!buf)
		return -ENOBUFS;
	if (iter_copy_in(buf, len, &m->iter) < len) {
		kfree(buf);
		return -EFAULT;
	}
	if (group)
		tell_group(n, to, group, buf, len);
	if (to || !has_kernel(s->protocol)) {
		err = write_to(n, to, buf, len, m->flags & MSG_DONTWAIT);
		kfree(buf);
		return err ? err : (ssize_t)len;
	}
	while (len - at >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)(buf + at);

		if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > len - at)
			break;
		one_request(n, h);
		at += min((size_t)NLMSG_ALIGN(h->nlmsg_len), len - at);
	}
	kfree(buf);
	return (ssize_t)len;
}

/* ---- names and options
 * ------------------------------------------------------------------------------------------------------ */

static bool is_taken(const struct nl_socket *me, u32 port)
{
	const struct nl_socket *s;

	list_for_each_entry (s, &all, link)
		if (s != me && s->port == port && s->socket->protocol == me->socket->protocol &&
		    s->socket->net == me->socket->net)
			return true;
	return false;
}

/* port 0: the process' number, or one that nobody has. */
static int bind_port(struct nl_socket *s, u32 port)
{
	static u32 next = 0x80000000U;
	u32 wanted = port ? port : (u32)pid_nr(current->process->pid);
	ulong irq = spin_lock_irqsave(&all_lock);
	int err = 0;

	if (s->port && s->port != wanted && port) {
		err = -EINVAL;
	} else if (!s->port) {
		if (is_taken(s, wanted) && port)
			err = -EADDRINUSE;
		while (!err && is_taken(s, wanted))
			wanted = next++ | 0x80000000U;
		if (!err)
			s->port = wanted;
	}
	spin_unlock_irqrestore(&all_lock, irq);
	return err;
}

/* The kernel's groups are everybody's. */
static bool may_hear(const struct nl_socket *s)
{
	return has_kernel(s->socket->protocol) || ns_capable(s->socket->net->ns.owner, CAP_NET_ADMIN);
}

static int bind(struct socket *s, const struct sock_addr *a)
{
	struct sockaddr_nl nl;
	int err;

	if (a->len < (int)sizeof(nl))
		return -EINVAL;
	memcpy(&nl, a->bytes, sizeof(nl));
	if (nl.nl_family != PF_NETLINK)
		return -EINVAL;
	if (nl.nl_groups && !may_hear(of(s)))
		return -EPERM;
	err = bind_port(of(s), nl.nl_pid);
	if (!err)
		of(s)->groups = (of(s)->groups & ~0xffffffffULL) | nl.nl_groups;
	return err;
}

static int connect(struct socket *s, const struct sock_addr *a, bool nonblock)
{
	struct sockaddr_nl nl;
	int err;

	if (a->len < (int)sizeof(nl))
		return -EINVAL;
	memcpy(&nl, a->bytes, sizeof(nl));
	err = check_destination(of(s), &nl);
	if (!err && !of(s)->port)
		err = bind_port(of(s), 0);
	if (!err) {
		of(s)->peer = nl.nl_pid;
		of(s)->peer_group = first_group(nl.nl_groups);
	}
	return err;
}

static int name(struct socket *s, bool peer, struct sock_addr *out)
{
	struct sockaddr_nl nl = { .nl_family = PF_NETLINK };

	nl.nl_pid = peer ? of(s)->peer : of(s)->port;
	if (!peer)
		nl.nl_groups = (u32)of(s)->groups;
	else if (of(s)->peer_group)
		nl.nl_groups = 1U << (of(s)->peer_group - 1);
	memcpy(out->bytes, &nl, sizeof(nl));
	out->len = sizeof(nl);
	return 0;
}

static int setsockopt(struct socket *s, int level, int opt, const void *value, int len)
{
	struct nl_socket *n = of(s);
	int v;

	if (level != SOL_NETLINK)
		return -ENOPROTOOPT;
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	switch (opt) {
	case NETLINK_ADD_MEMBERSHIP:
	case NETLINK_DROP_MEMBERSHIP:
		if (!may_hear(n))
			return -EPERM;
		if (v < 1 || v > 64)
			return -EINVAL;
		n->groups =
			opt == NETLINK_ADD_MEMBERSHIP ? n->groups | 1ULL << (v - 1) : n->groups & ~(1ULL << (v - 1));
		return 0;
	case NETLINK_PKTINFO: n->pktinfo = v; return 0;
	case NETLINK_EXT_ACK: n->ext_ack = v; return 0;
	case NETLINK_CAP_ACK: n->cap_ack = v; return 0;
	case NETLINK_GET_STRICT_CHK: n->strict = v; return 0;
	case NETLINK_NO_ENOBUFS:
	case NETLINK_BROADCAST_ERROR: return 0;
	}
	return -ENOPROTOOPT;
}

static int getsockopt(struct socket *s, int level, int opt, void *value, int *len)
{
	struct nl_socket *n = of(s);
	int v;

	if (level != SOL_NETLINK || *len < (int)sizeof(v))
		return level != SOL_NETLINK ? -ENOPROTOOPT : -EINVAL;
	switch (opt) {
	case NETLINK_PKTINFO: v = n->pktinfo; break;
	case NETLINK_EXT_ACK: v = n->ext_ack; break;
	case NETLINK_CAP_ACK: v = n->cap_ack; break;
	case NETLINK_GET_STRICT_CHK: v = n->strict; break;
	default: return -ENOPROTOOPT;
	}
	*len = sizeof(v);
	memcpy(value, &v, sizeof(v));
	return 0;
}

static unsigned poll(struct socket *s, struct poll_table *pt)
{
	struct nl_socket *n = of(s);

	return EPOLLOUT | EPOLLWRNORM | (list_empty(&n->queue) ? 0 : EPOLLIN | EPOLLRDNORM) |
	       (n->overrun ? EPOLLERR : 0);
}

static void release(struct socket *s)
{
	struct nl_socket *n = of(s);
	struct nl_buf *b;
	ulong irq = spin_lock_irqsave(&all_lock);

	list_del(&n->link);
	spin_unlock_irqrestore(&all_lock, irq);
	while ((b = take(n, false)))
		kfree(b);
	kfree(n);
}

static const struct socket_ops ops = { .release = release,
				       .bind = bind,
				       .connect = connect,
				       .name = name,
				       .send = send,
				       .receive = receive,
				       .poll = poll,
				       .setsockopt = setsockopt,
				       .getsockopt = getsockopt };

static int create(struct socket *s)
{
	struct nl_socket *n;
	ulong irq;

	if (s->type != SOCK_RAW && s->type != SOCK_DGRAM)
		return -ESOCKTNOSUPPORT;
	if (s->protocol != NETLINK_ROUTE && s->protocol != NETLINK_SOCK_DIAG && s->protocol != NETLINK_KOBJECT_UEVENT &&
	    s->protocol != NETLINK_USERSOCK)
		return -EPROTONOSUPPORT;
	n = kzalloc(sizeof(*n), ALLOC_CHARGED);
	if (!n)
		return -ENOMEM;
	n->socket = s;
	spin_init(&n->lock, RANK_SOCKET_QUEUE);
	list_init(&n->queue);
	s->proto = n;
	s->ops = &ops;
	irq = spin_lock_irqsave(&all_lock);
	list_add_tail(&n->link, &all);
	spin_unlock_irqrestore(&all_lock, irq);
	return 0;
}

static int show(struct net *net, struct strbuf *out)
{
	struct nl_socket *n;
	ulong irq;

	strbuf_add(out, "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n");
	irq = spin_lock_irqsave(&all_lock);
	list_for_each_entry (n, &all, link)
		if (n->socket->net == net && n->socket->file)
			strbuf_add(out, "%016llx %-3d %-10u %08x %-8u 0        0     2        0        %-8llu\n",
				   (unsigned long long)(ulong)n, n->socket->protocol, n->port, (u32)n->groups,
				   n->queued, (unsigned long long)n->socket->file->inode->ino);
	spin_unlock_irqrestore(&all_lock, irq);
	return 0;
}

static struct socket_family family = { .family = PF_NETLINK, .create = create };
static struct net_file netlink_file = { .name = "netlink", .show = show };

static void netlink_init(void)
{
	socket_family_register(&family);
	net_file_register(&netlink_file);
}
PART_INIT(core, netlink_init);
