/* SPDX-License-Identifier: MIT
 *
 * Problem: twenty calls that carry addresses, vectors and control data in and out of user memory, with lengths that the
 * caller may lie about.
 *
 * Idea: each call copies everything in, checks it, calls the socket layer with kernel memory only, and copies results
 * out. One function each moves an address, a message header, and a message; the calls are what is left.
 *
 * Contract: the calls of socket(2) and its neighbours. An address that does not fit is cut, its true length reported.
 *
 * Locks: none.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/fcntl.h>
#include <linux/net.h>
#include <linux/uio.h>
#include <net/hooks.h>
#include <net/socket.h>
#include <task/task.h>
#include <vfs/vfs.h>

#define TYPE_FLAGS    (SOCK_NONBLOCK | SOCK_CLOEXEC)
#define OPTION_MAX    4096
#define SOCK_NONBLOCK O_NONBLOCK
#define SOCK_CLOEXEC  O_CLOEXEC
#define MMSG_MAX      1024

struct user_msghdr { /* struct msghdr as user space has it */
	void __user *name;
	int namelen;
	const void __user *iov;
	size_t iovlen;
	void __user *control;
	size_t controllen;
	u32 flags;
};

static int get_addr(struct sock_addr *a, const void __user *from, int len)
{
	if (len < 0 || len > SOCK_ADDR_MAX)
		return -EINVAL;
	memset(a->bytes, 0, sizeof(a->bytes));
	a->len = len;
	return len ? user_get(a->bytes, from, len) : 0;
}

static int put_addr(const struct sock_addr *a, void __user *to, int __user *to_len)
{
	int room;

	if (!to || !to_len)
		return 0;
	if (user_get(&room, to_len, sizeof(room)))
		return -EFAULT;
	if (room < 0)
		return -EINVAL;
	if (user_put(to, a->bytes, min(room, a->len)))
		return -EFAULT;
	return user_put(to_len, &a->len, sizeof(a->len));
}

/* The socket behind fd; hold the fd_ref while it is used. */
static struct socket *get(int fd, struct fd_ref *r, int *err)
{
	struct socket *s;

	*r = fd_get(fd);
	if (!r->file) {
		*err = -EBADF;
		return NULL;
	}
	s = socket_of_file(r->file);
	if (!s) {
		fd_put(*r);
		*err = -ENOTSOCK;
	}
	return s;
}

static bool nonblock(struct fd_ref r, unsigned flags)
{
	return r.file->flags & O_NONBLOCK || flags & MSG_DONTWAIT;
}

static long publish(struct socket *s, int type_flags)
{
	struct file *f;
	int err = socket_file(s, type_flags & SOCK_NONBLOCK, &f);

	return err ? err : fd_publish(f, type_flags & SOCK_CLOEXEC);
}

long sys_socket(int domain, int type, int protocol)
{
	struct socket *s;
	int err = socket_create(domain, type & ~TYPE_FLAGS, protocol, &s);

	return err ? err : publish(s, type & TYPE_FLAGS);
}

long sys_socketpair(int domain, int type, int protocol, int __user *fds)
{
	struct socket *a, *b;
	long fd[2];
	int out[2], err = socket_create(domain, type & ~TYPE_FLAGS, protocol, &a);

	if (err)
		return err;
	err = socket_create(domain, type & ~TYPE_FLAGS, protocol, &b);
	if (!err) {
		err = a->ops->pair ? a->ops->pair(a, b) : -EOPNOTSUPP;
		if (err)
			socket_free(b);
	}
	if (err) {
		socket_free(a);
		return err;
	}
	fd[0] = publish(a, type & TYPE_FLAGS);
	if (fd[0] < 0) {
		socket_free(b);
		return fd[0];
	}
	fd[1] = publish(b, type & TYPE_FLAGS);
	out[0] = (int)fd[0];
	out[1] = (int)fd[1];
	if (fd[1] >= 0 && !user_put(fds, out, sizeof(out)))
		return 0;
	(void)!fd_close(out[0]);
	if (fd[1] >= 0)
		(void)!fd_close(out[1]);
	return fd[1] < 0 ? fd[1] : -EFAULT;
}

long sys_bind(int fd, const void __user *addr, int addrlen)
{
	struct sock_addr a;
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);

	if (!s)
		return err;
	err = get_addr(&a, addr, addrlen);
	if (!err)
		err = net_hook_address(s, NET_BIND, &a);
	if (err >= 0) {
		s->any_port = err;
		err = s->ops->bind ? s->ops->bind(s, &a) : -EOPNOTSUPP;
	}
	fd_put(r);
	return err;
}

long sys_connect(int fd, const void __user *addr, int addrlen)
{
	struct sock_addr a;
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);

	if (!s)
		return err;
	err = get_addr(&a, addr, addrlen);
	if (!err)
		err = net_hook_address(s, NET_CONNECT, &a);
	if (!err)
		err = s->ops->connect ? s->ops->connect(s, &a, nonblock(r, 0)) : -EOPNOTSUPP;
	fd_put(r);
	return err;
}

long sys_listen(int fd, int backlog)
{
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);

	if (!s)
		return err;
	err = s->ops->listen ? s->ops->listen(s, clamp(backlog, 0, 4096)) : -EOPNOTSUPP;
	fd_put(r);
	return err;
}

static long accept_on(struct socket *s, struct fd_ref r, void __user *addr, int __user *addrlen, int flags)
{
	struct sock_addr a = { .len = 0 };
	struct socket *fresh;
	int err = s->ops->accept ? socket_create_like(s, &fresh) : -EOPNOTSUPP;

	if (err)
		return err;
	err = s->ops->accept(s, fresh, nonblock(r, 0));
	if (!err && addr)
		err = fresh->ops->name(fresh, true, &a);
	if (!err)
		err = put_addr(&a, addr, addrlen);
	if (err) {
		socket_free(fresh);
		return err;
	}
	return publish(fresh, flags);
}

long sys_accept4(int fd, void __user *addr, int __user *addrlen, int flags)
{
	struct fd_ref r;
	int err = 0;
	struct socket *s;
	long n;

	if (flags & ~TYPE_FLAGS)
		return -EINVAL;
	s = get(fd, &r, &err);
	if (!s)
		return err;
	n = accept_on(s, r, addr, addrlen, flags);
	fd_put(r);
	return n;
}

long sys_accept(int fd, void __user *addr, int __user *addrlen)
{
	return sys_accept4(fd, addr, addrlen, 0);
}

static long address_of(int fd, void __user *addr, int __user *addrlen, bool peer)
{
	struct sock_addr a = { .len = 0 };
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);

	if (!s)
		return err;
	err = s->ops->name(s, peer, &a);
	if (!err)
		err = peer ? net_hook_address(s, NET_PEERNAME, &a) : net_hook_address(s, NET_SOCKNAME, &a);
	if (!err)
		err = addr && addrlen ? put_addr(&a, addr, addrlen) : -EFAULT;
	fd_put(r);
	return err;
}

long sys_getsockname(int fd, void __user *addr, int __user *addrlen)
{
	return address_of(fd, addr, addrlen, false);
}

long sys_getpeername(int fd, void __user *addr, int __user *addrlen)
{
	return address_of(fd, addr, addrlen, true);
}

long sys_shutdown(int fd, int how)
{
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);

	if (!s)
		return err;
	err = how < 0 || how > 2 ? -EINVAL : s->ops->shutdown ? s->ops->shutdown(s, how) : -EOPNOTSUPP;
	fd_put(r);
	return err;
}

/* ---- data ---------------------------------------------------------------------------------------------- */

long sys_sendto(int fd, const void __user *buf, size_t len, u32 flags, const void __user *addr, int addrlen)
{
	struct sock_addr a = { .len = 0 };
	struct sock_msg m = { .addr = &a, .flags = flags };
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);
	ssize_t n;

	if (!s)
		return err;
	n = addr ? get_addr(&a, addr, addrlen) : 0;
	if (!n && addr)
		n = net_hook_address(s, NET_SENDMSG, &a);
	if (!n) {
		iter_user(&m.iter, (void __user *)buf, min(len, (size_t)0x7ffff000));
		m.flags |= nonblock(r, flags) ? MSG_DONTWAIT : 0;
		n = s->ops->send(s, &m);
	}
	fd_put(r);
	return n;
}

long sys_recvfrom(int fd, void __user *buf, size_t len, u32 flags, void __user *addr, int __user *addrlen)
{
	struct sock_addr a = { .len = 0 };
	struct sock_msg m = { .addr = addr ? &a : NULL, .flags = flags };
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);
	ssize_t n;

	if (!s)
		return err;
	iter_user(&m.iter, buf, min(len, (size_t)0x7ffff000));
	m.flags |= nonblock(r, flags) ? MSG_DONTWAIT : 0;
	n = s->ops->receive(s, &m);
	if (n >= 0 && addr)
		(void)net_hook_address(s, NET_RECVMSG, &a);
	if (n >= 0 && put_addr(&a, addr, addrlen))
		n = -EFAULT;
	fd_put(r);
	return n;
}

/* A message header with its vector and control data in kernel memory. */
struct prepared {
	struct user_msghdr header;
	struct sock_addr addr;
	struct iter_vec *vec;
	struct iter_vec few[8];
	struct sock_msg msg;
};

static int get_vector(struct prepared *p)
{
	size_t total = 0;

	if (p->header.iovlen > UIO_MAXIOV)
		return -EMSGSIZE;
	p->vec = p->few;
	if (p->header.iovlen > ARRAY_SIZE(p->few)) {
		p->vec = kmalloc(p->header.iovlen * sizeof(*p->vec), ALLOC_KERNEL);
		if (!p->vec)
			return -ENOMEM;
	}
	if (user_get(p->vec, p->header.iov, p->header.iovlen * sizeof(*p->vec)))
		return -EFAULT;
	for (size_t i = 0; i < p->header.iovlen; i++) {
		if ((ssize_t)p->vec[i].len < 0)
			return -EINVAL;
		p->vec[i].len = min(p->vec[i].len, (size_t)0x7ffff000 - total);
		total += p->vec[i].len;
	}
	iter_user_vec(&p->msg.iter, p->vec, p->header.iovlen, total);
	return 0;
}

static void finish(struct prepared *p)
{
	if (p->vec != p->few)
		kfree(p->vec);
	kfree(p->msg.control);
}

/* Copies the header in. On failure finish() still has to be called. */
static int prepare(struct prepared *p, const void __user *msg)
{
	p->vec = p->few;
	p->msg = (struct sock_msg){ .control = NULL };
	if (user_get(&p->header, msg, sizeof(p->header)))
		return -EFAULT;
	if (p->header.namelen < 0)
		return -EINVAL;
	return get_vector(p);
}

static ssize_t send_msg(struct socket *s, struct prepared *p, const void __user *msg, unsigned flags)
{
	int err = prepare(p, msg);

	if (!err && p->header.name)
		err = get_addr(&p->addr, p->header.name, min(p->header.namelen, SOCK_ADDR_MAX));
	else
		p->addr.len = 0;
	if (!err && p->header.controllen > CONTROL_MAX)
		err = -ENOBUFS;
	if (!err && p->header.control && p->header.controllen) {
		p->msg.control = kmalloc(p->header.controllen, ALLOC_KERNEL);
		p->msg.control_len = p->header.controllen;
		if (!p->msg.control)
			err = -ENOMEM;
		else
			err = user_get(p->msg.control, p->header.control, p->header.controllen);
	}
	if (!err && p->addr.len)
		err = net_hook_address(s, NET_SENDMSG, &p->addr);
	if (err)
		return err;
	p->msg.addr = &p->addr;
	p->msg.flags = flags;
	return s->ops->send(s, &p->msg);
}

static int put_results(struct prepared *p, void __user *msg)
{
	struct user_msghdr __user *u = msg;
	u32 out_flags = p->msg.out_flags | (p->msg.flags & MSG_CMSG_CLOEXEC);

	if (p->header.name && (user_put(p->header.name, p->addr.bytes, min(p->addr.len, p->header.namelen)) ||
			       user_put(&u->namelen, &p->addr.len, sizeof(p->addr.len))))
		return -EFAULT;
	if (p->msg.control_len && user_put(p->header.control, p->msg.control, p->msg.control_len))
		return -EFAULT;
	if (user_put(&u->controllen, &p->msg.control_len, sizeof(p->msg.control_len)))
		return -EFAULT;
	return user_put(&u->flags, &out_flags, sizeof(out_flags));
}

static ssize_t receive_msg(struct socket *s, struct prepared *p, void __user *msg, unsigned flags)
{
	int err = prepare(p, msg);
	ssize_t n;

	if (err)
		return err;
	p->addr.len = 0;
	p->msg.addr = p->header.name ? &p->addr : NULL;
	p->msg.flags = flags;
	if (p->header.control && p->header.controllen) {
		p->msg.control_room = min(p->header.controllen, (size_t)CONTROL_MAX);
		p->msg.control = kzalloc(p->msg.control_room, ALLOC_KERNEL);
		if (!p->msg.control)
			return -ENOMEM;
	}
	n = s->ops->receive(s, &p->msg);
	if (n >= 0 && p->msg.addr)
		(void)net_hook_address(s, NET_RECVMSG, &p->addr);
	if (n >= 0 && put_results(p, msg))
		return -EFAULT;
	return n;
}

static ssize_t one_msg(int fd, void __user *msg, unsigned flags, bool send)
{
	struct prepared p;
	struct fd_ref r;
	int err = 0;
	struct socket *s = get(fd, &r, &err);
	ssize_t n;

	if (!s)
		return err;
	flags |= nonblock(r, flags) ? MSG_DONTWAIT : 0;
	n = send ? send_msg(s, &p, msg, flags) : receive_msg(s, &p, msg, flags);
	finish(&p);
	fd_put(r);
	return n;
}

long sys_sendmsg(int fd, const void __user *msg, u32 flags)
{
	return one_msg(fd, (void __user *)msg, flags, true);
}

long sys_recvmsg(int fd, void __user *msg, u32 flags)
{
	return one_msg(fd, msg, flags, false);
}

struct user_mmsghdr {
	struct user_msghdr header;
	u32 len;
};

/* Messages one by one; what was done before an error counts. */
static long many_msgs(int fd, void __user *msgvec, u32 vlen, u32 flags, u64 deadline, bool send)
{
	struct user_mmsghdr __user *u = msgvec;
	u32 done = 0;
	ssize_t n = 0;

	for (; done < min(vlen, (u32)MMSG_MAX); done++) {
		u32 len;

		n = one_msg(fd, &u[done].header, flags, send);
		if (n < 0)
			break;
		len = (u32)n;
		if (user_put(&u[done].len, &len, sizeof(len))) {
			n = -EFAULT;
			break;
		}
		if (flags & MSG_WAITFORONE)
			flags |= MSG_DONTWAIT;
		if (clock_ns() >= deadline) {
			done++;
			break;
		}
	}
	return done ? (long)done : n;
}

long sys_sendmmsg(int fd, void __user *msgvec, u32 vlen, u32 flags)
{
	return many_msgs(fd, msgvec, vlen, flags, ~0ULL, true);
}

long sys_recvmmsg(int fd, void __user *msgvec, u32 vlen, u32 flags, void __user *timeout)
{
	u64 deadline = ~0ULL;
	s64 t[2];

	if (timeout) {
		if (user_get(t, timeout, sizeof(t)))
			return -EFAULT;
		if (t[0] < 0 || t[1] < 0 || t[1] >= (s64)NSEC_PER_SEC)
			return -EINVAL;
		deadline = clock_ns() + (u64)t[0] * NSEC_PER_SEC + (u64)t[1];
	}
	return many_msgs(fd, msgvec, vlen, flags, deadline, false);
}

/* ---- options --------------------------------------------------------------------------------------------- */

long sys_setsockopt(int fd, int level, int name, const void __user *value, int len)
{
	u8 buf[OPTION_MAX / 8];
	struct fd_ref r;
	int err = 0;
	struct socket *s;

	if (len < 0 || len > (int)sizeof(buf))
		return -EINVAL;
	if (user_get(buf, value, len))
		return -EFAULT;
	s = get(fd, &r, &err);
	if (!s)
		return err;
	if (static_branch(&net_hook_set_option_key))
		err = net_hooks->set_option(s, &level, &name, buf, &len, sizeof(buf));
	if (!err)
		err = socket_set_option(s, level, name, buf, len);
	fd_put(r);
	return min(err, 0);
}

long sys_getsockopt(int fd, int level, int name, void __user *value, int __user *len)
{
	u8 buf[OPTION_MAX / 8] = { 0 };
	struct fd_ref r;
	int n, room, err = 0;
	struct socket *s;

	if (user_get(&n, len, sizeof(n)))
		return -EFAULT;
	if (n < 0)
		return -EINVAL;
	n = min(n, (int)sizeof(buf));
	room = n;
	(void)!user_get(buf, value, n); /* some options take a question with them (PACKET_HDRLEN) */
	s = get(fd, &r, &err);
	if (!s)
		return err;
	err = socket_get_option(s, level, name, buf, &n);
	if (static_branch(&net_hook_get_option_key))
		err = net_hooks->get_option(s, level, name, buf, &n, room, err);
	fd_put(r);
	if (!err && (user_put(value, buf, n) || user_put(len, &n, sizeof(n))))
		err = -EFAULT;
	return err;
}
