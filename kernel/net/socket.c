/* SPDX-License-Identifier: MIT
 *
 * Problem: a socket is a file to read, write, poll and close, and an object with addresses to the socket calls; each
 * family brings its own protocol to both.
 *
 * Idea: this layer owns what all sockets share (file operations, options of SOL_SOCKET, errors, timeouts) and calls the
 * family through one table. read and write are receive and send without address and control data.
 *
 * Contract: net/socket.h. Options of SOL_SOCKET: socket(7).
 *
 * Locks: families_lock for the registry; a socket's option words are single stores.
 */
#include <alloc/slab.h>
#include <core/clock.h>
#include <core/log.h>
#include <lib/atomic.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/fcntl.h>
#include <linux/mman.h>
#include <linux/net.h>
#include <linux/sockios.h>
#include <linux/stat.h>
#include <linux/time.h>
#include <asm/socket.h>
#include <arch/user.h>
#include <net/device.h>
#include <net/hooks.h>
#include <net/net.h>
#include <net/socket.h>
#include <task/task.h>
#include <task/tenant.h>
#include <task/user_ns.h>
#include <vfs/poll.h>
#include <vfs/vfs.h>

#define DEFAULT_BUFFER 212992 /* net.core.rmem_default on Linux */
#define BUFFER_MOST    (64U << 20)

static LIST(families);
static u64 last_cookie;
static struct spinlock families_lock = SPIN_INIT(RANK_LEAF_SPIN);
static const struct file_ops socket_file_ops;

void socket_family_register(struct socket_family *f)
{
	spin_lock(&families_lock);
	list_add_tail(&f->link, &families);
	spin_unlock(&families_lock);
}

static struct socket_family *find_family(int family)
{
	struct socket_family *f, *found = NULL;

	spin_lock(&families_lock);
	list_for_each_entry (f, &families, link)
		if (f->family == family)
			found = f;
	spin_unlock(&families_lock);
	return found;
}

static struct socket *make(int family, int type, int protocol, struct tenant *tenant, struct net *net)
{
	struct socket *s = kzalloc(sizeof(*s), ALLOC_CHARGED);

	if (!s)
		return NULL;
	*s = (struct socket){ .family = family, .type = type, .protocol = protocol, .net = net, .tenant = tenant };
	s->cookie = __atomic_add_fetch(&last_cookie, 1, __ATOMIC_RELAXED);
	waitq_init(&s->wait);
	s->receive_timeout_ns = s->send_timeout_ns = ~0ULL;
	s->receive_buffer = s->send_buffer = DEFAULT_BUFFER;
	s->receive_low = 1;
	s->linger_s = -1;
	tenant_get(tenant);
	ns_get(&net->ns);
	return s;
}

int socket_create(int family, int type, int protocol, struct socket **out)
{
	struct socket_family *f = find_family(family);
	struct socket *s;
	int err;

	if (!f)
		return -EAFNOSUPPORT;
	if (type <= 0 || type >= SOCK_MAX)
		return -EINVAL;
	s = make(family, type, protocol, current->tenant, net_of_current());
	if (!s)
		return -ENOMEM;
	err = f->create(s);
	if (err) {
		if (s->has_storage)
			net_hooks->drop_storage(s);
		ns_put(&s->net->ns);
		tenant_put(s->tenant);
		kfree(s);
		return err;
	}
	*out = s;
	return 0;
}

int socket_create_like(const struct socket *l, struct socket **out)
{
	struct socket *s = make(l->family, l->type, l->protocol, l->tenant, l->net);

	if (!s)
		return -ENOMEM;
	s->reuse_addr = l->reuse_addr;
	s->reuse_port = l->reuse_port;
	s->keep_alive = l->keep_alive;
	s->pass_cred = l->pass_cred;
	s->receive_buffer = l->receive_buffer;
	s->send_buffer = l->send_buffer;
	s->linger_s = l->linger_s;
	s->mark = l->mark;
	s->priority = l->priority;
	s->bound_ifindex = l->bound_ifindex;
	*out = s;
	return 0;
}

static void free_now(struct rcu_head *h)
{
	kfree(container_of(h, struct socket, rcu));
}

void socket_free(struct socket *s)
{
	if (s->ops)
		s->ops->release(s);
	__atomic_store_n(&s->ended, true,
			 __ATOMIC_SEQ_CST); /* before the look: whoever keeps something now takes it back */
	if (s->has_storage)
		net_hooks->drop_storage(s);
	if (s->filter)
		net_hooks->drop_filter(s);
	tenant_put(s->tenant);
	ns_put(&s->net->ns);
	rcu_call(&s->rcu, free_now);
}

int socket_file(struct socket *s, unsigned flags, struct file **out)
{
	struct inode *i = anon_inode(S_IFSOCK | 0777, NULL);
	char name[32];
	int err = -ENOMEM;

	if (i) {
		str_format(name, sizeof(name), "socket:[%llu]", (unsigned long long)i->ino);
		err = file_on_inode(i, name, &socket_file_ops, s, O_RDWR | flags, out);
	}
	if (err)
		socket_free(s);
	else
		s->file = *out;
	return err;
}

struct socket *socket_of_file(struct file *f)
{
	return f->ops == &socket_file_ops ? f->priv : NULL;
}

u64 socket_deadline(u64 timeout_ns)
{
	return timeout_ns == ~0ULL ? ~0ULL : clock_ns() + timeout_ns;
}

int socket_take_error(struct socket *s)
{
	return -__atomic_exchange_n(&s->error, 0, __ATOMIC_SEQ_CST);
}

/* ---- as a file --------------------------------------------------------------------------------------- */

static void release(struct file *f)
{
	struct socket *s = f->priv;

	if (s->family == PF_INET || s->family == PF_INET6)
		net_hook_end(s);
	socket_free(s);
}

static unsigned io_flags(const struct io *io)
{
	return io->file->flags & O_NONBLOCK || io->flags & IO_NOWAIT ? MSG_DONTWAIT : 0;
}

static ssize_t read(struct io *io)
{
	struct socket *s = io->file->priv;
	struct sock_msg m = { .iter = io->iter, .flags = io_flags(io) };
	ssize_t n = s->ops->receive(s, &m);

	if (n > 0)
		iter_advance(&io->iter, min((size_t)n, io->iter.count));
	return n;
}

static ssize_t write(struct io *io)
{
	struct socket *s = io->file->priv;
	struct sock_msg m = { .iter = io->iter, .flags = io_flags(io) };
	ssize_t n = s->ops->send(s, &m);

	if (n > 0)
		iter_advance(&io->iter, n);
	return n;
}

static unsigned poll(struct file *f, struct poll_table *pt)
{
	struct socket *s = f->priv;

	poll_wait(f, &s->wait, pt);
	return s->ops->poll(s, pt) | (READ_ONCE(s->error) ? EPOLLERR : 0);
}

long (*socket_interface_ioctl)(struct socket *s, unsigned cmd, ulong arg);

static long give_stamp(struct socket *s, ulong arg, u64 unit_ns)
{
	s64 v[2] = { (s64)(s->last_stamp_ns / NSEC_PER_SEC), (s64)(s->last_stamp_ns % NSEC_PER_SEC / unit_ns) };

	return s->last_stamp_ns ? user_put((void __user *)arg, v, sizeof(v)) : -ENOENT;
}

static long ioctl(struct file *f, unsigned cmd, ulong arg)
{
	struct socket *s = f->priv;
	long err = s->ops->ioctl ? s->ops->ioctl(s, cmd, arg) : -ENOTTY;

	if (err != -ENOTTY)
		return err;
	if (cmd == SIOCGSTAMP_OLD || cmd == SIOCGSTAMPNS_OLD)
		return give_stamp(s, arg, cmd == SIOCGSTAMP_OLD ? NSEC_PER_USEC : 1);
	return cmd >> 8 == 0x89 && socket_interface_ioctl ? socket_interface_ioctl(s, cmd, arg) : -ENOTTY;
}

/* ---- control messages ------------------------------------------------------------------------------------- */

struct control_header { /* struct cmsghdr of cmsg(3) */
	size_t len;
	int level, type;
	u8 data[];
};

void socket_put_control(struct sock_msg *m, int level, int type, const void *data, size_t len)
{
	struct control_header *c = (struct control_header *)((u8 *)m->control + m->control_len);
	size_t room = m->control_room - m->control_len;

	if (!m->control || room < sizeof(*c) + len) {
		m->out_flags |= MSG_CTRUNC;
		return;
	}
	*c = (struct control_header){ .len = sizeof(*c) + len, .level = level, .type = type };
	memcpy(c->data, data, len);
	m->control_len += min(ALIGN_UP(c->len, sizeof(size_t)), room);
}

void socket_put_stamp(const struct socket *s, struct sock_msg *m, u64 stamp_ns)
{
	s64 v[2] = { (s64)(stamp_ns / NSEC_PER_SEC),
		     (s64)(stamp_ns % NSEC_PER_SEC / (s->stamps == 1 ? NSEC_PER_USEC : 1)) };

	if (s->stamps)
		socket_put_control(m, SOL_SOCKET, s->stamps == 1 ? SO_TIMESTAMP_OLD : SO_TIMESTAMPNS_OLD, v, sizeof(v));
}

static int map(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	struct socket *s = f->priv;

	if (!s->ops->map)
		return -ENODEV;
	return (map_flags & MAP_TYPE) == MAP_PRIVATE ? -EINVAL : s->ops->map(s, index, bytes, out);
}

static const struct file_ops socket_file_ops = {
	.release = release, .read = read, .write = write, .poll = poll, .ioctl = ioctl, .mmap = map
};

/* ---- options ------------------------------------------------------------------------------------------- */

static bool *flag_of(struct socket *s, int name)
{
	switch (name) {
	case SO_REUSEADDR: return &s->reuse_addr;
	case SO_REUSEPORT: return &s->reuse_port;
	case SO_BROADCAST: return &s->broadcast;
	case SO_KEEPALIVE: return &s->keep_alive;
	case SO_PASSCRED: return &s->pass_cred;
	case SO_DONTROUTE: return &s->dont_route;
	case SO_OOBINLINE: return &s->oob_inline;
	}
	return NULL;
}

static u32 *number_of(struct socket *s, int name)
{
	switch (name) {
	case SO_RCVBUF: return &s->receive_buffer;
	case SO_SNDBUF: return &s->send_buffer;
	case SO_MARK: return &s->mark;
	case SO_PRIORITY: return &s->priority;
	case SO_RCVLOWAT: return &s->receive_low;
	}
	return NULL;
}

static u64 *timeout_of(struct socket *s, int name)
{
	return name == SO_RCVTIMEO_OLD ? &s->receive_timeout_ns : name == SO_SNDTIMEO_OLD ? &s->send_timeout_ns : NULL;
}

static int set_timeout(u64 *t, const void *value, int len)
{
	s64 v[2]; /* struct timeval */

	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(v, value, sizeof(v));
	if (v[1] < 0 || v[1] >= 1000000)
		return -EDOM;
	if (v[0] < 0)
		*t = 0;
	else if (!v[0] && !v[1])
		*t = ~0ULL;
	else
		*t = min((u64)v[0], ~0ULL / NSEC_PER_SEC - 1) * NSEC_PER_SEC + (u64)v[1] * NSEC_PER_USEC;
	return 0;
}

static void set_number(struct socket *s, int name, u32 *n, u32 v)
{
	if (name == SO_RCVBUF || name == SO_SNDBUF)
		v = clamp(v, name == SO_RCVBUF ? 1152U : 2304U, 212992U) *
		    2; /* Linux doubles: the bookkeeping's share */
	if (name == SO_RCVLOWAT)
		v = clamp((int)v < 0 ? 0x7fffffff : (int)v, 1, (int)s->receive_buffer / 2);
	*n = v;
	if (name == SO_RCVBUF || name == SO_SNDBUF)
		s->buffer_locked[name == SO_SNDBUF] = true;
}

static int set_linger(struct socket *s, const void *value, int len)
{
	int v[2]; /* struct linger: on, seconds */

	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(v, value, sizeof(v));
	s->linger_s = v[0] ? clamp(v[1], 0, 1 << 20) : -1;
	return 0;
}

/* To one device alone: by name (an empty one: to none), or number. */
static int bind_device(struct socket *s, const char *name, int len)
{
	char text[NET_NAME_MAX] = { 0 };
	struct net_device *d;
	u32 ifindex = 0;

	if (s->bound_ifindex && !ns_capable(s->net->ns.owner, CAP_NET_RAW))
		return -EPERM;
	memcpy(text, name, min(len, NET_NAME_MAX - 1));
	if (text[0]) {
		rcu_read_lock();
		d = net_device_by_name(s->net, text);
		ifindex = d ? d->ifindex : 0;
		rcu_read_unlock();
		if (!ifindex)
			return -ENODEV;
	}
	s->bound_ifindex = ifindex;
	return 0;
}

static int bind_ifindex(struct socket *s, const void *value, int len)
{
	int v;

	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	if (s->bound_ifindex && !ns_capable(s->net->ns.owner, CAP_NET_RAW))
		return -EPERM;
	if (v < 0)
		return -EINVAL;
	s->bound_ifindex = (u32)v;
	return 0;
}

static int set_stamps(struct socket *s, int name, const void *value, int len)
{
	int v;

	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	s->stamps = !v ? 0 : name == SO_TIMESTAMP_OLD ? 1 : 2;
	return 0;
}

static bool is_stamp(int name)
{
	return name == SO_TIMESTAMP_OLD || name == SO_TIMESTAMPNS_OLD;
}

static bool is_filter(int name)
{
	return name == SO_ATTACH_FILTER || name == SO_DETACH_FILTER || name == SO_ATTACH_BPF || name == SO_LOCK_FILTER;
}

static int force_buffer(struct socket *s, int name, const void *value, int len)
{
	int v;

	if (!ns_capable(s->net->ns.owner, CAP_NET_ADMIN))
		return -EPERM;
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	name = name == SO_RCVBUFFORCE ? SO_RCVBUF : SO_SNDBUF;
	*number_of(s, name) = clamp((u32)max(v, 1024), 1152U, BUFFER_MOST) * 2;
	s->buffer_locked[name == SO_SNDBUF] = true;
	if (s->ops->option_changed)
		s->ops->option_changed(s, name);
	return 0;
}

int socket_set_option(struct socket *s, int level, int name, const void *value, int len)
{
	u64 *t = timeout_of(s, name);
	u32 *n = number_of(s, name);
	bool *flag = flag_of(s, name);
	int v;

	if (level != SOL_SOCKET)
		return s->ops->setsockopt ? s->ops->setsockopt(s, level, name, value, len) : -ENOPROTOOPT;
	if (t)
		return set_timeout(t, value, len);
	if (is_filter(name))
		return net_hooks ? net_hooks->set_filter(s, name, value, len) : -ENOPROTOOPT;
	if (name == SO_LINGER)
		return set_linger(s, value, len);
	if (name == SO_BINDTODEVICE)
		return bind_device(s, value, len);
	if (name == SO_BINDTOIFINDEX)
		return bind_ifindex(s, value, len);
	if (is_stamp(name))
		return set_stamps(s, name, value, len);
	if (name == SO_RCVBUFFORCE || name == SO_SNDBUFFORCE)
		return force_buffer(s, name, value, len);
	if (!flag && !n)
		return s->ops->setsockopt ? s->ops->setsockopt(s, level, name, value, len) : -ENOPROTOOPT;
	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	if (n)
		set_number(s, name, n, (u32)v);
	else
		*flag = v != 0;
	if (s->ops->option_changed)
		s->ops->option_changed(s, name);
	return 0;
}

static int put_int(void *value, int *len, int v)
{
	*len = min(*len, (int)sizeof(v));
	memcpy(value, &v, *len);
	return 0;
}

static int get_timeout(u64 t, void *value, int *len)
{
	s64 v[2] = { 0, 0 };

	if (t != ~0ULL) {
		v[0] = (s64)(t / NSEC_PER_SEC);
		v[1] = (s64)(t % NSEC_PER_SEC / NSEC_PER_USEC);
	}
	*len = min(*len, (int)sizeof(v));
	memcpy(value, v, *len);
	return 0;
}

static int get_linger(const struct socket *s, void *value, int *len)
{
	int v[2] = { s->linger_s >= 0, max(s->linger_s, 0) };

	*len = min(*len, (int)sizeof(v));
	memcpy(value, v, *len);
	return 0;
}

static int get_device(const struct socket *s, void *value, int *len)
{
	const struct net_device *d;
	char name[NET_NAME_MAX] = { 0 };

	if (!s->bound_ifindex) {
		*len = 0;
		return 0;
	}
	if (*len < NET_NAME_MAX)
		return -EINVAL;
	rcu_read_lock();
	d = net_device_find(s->net, s->bound_ifindex);
	if (d)
		memcpy(name, d->name, sizeof(name));
	rcu_read_unlock();
	*len = (int)strlen(name) + 1;
	memcpy(value, name, *len);
	return 0;
}

static int get_cookie(u64 cookie, void *value, int *len)
{
	if (*len < (int)sizeof(cookie))
		return -EINVAL;
	*len = sizeof(cookie);
	memcpy(value, &cookie, sizeof(cookie));
	return 0;
}

int socket_get_option(struct socket *s, int level, int name, void *value, int *len)
{
	u64 *t = timeout_of(s, name);
	u32 *n = number_of(s, name);
	bool *flag = flag_of(s, name);

	if (level == SOL_SOCKET) {
		switch (name) {
		case SO_TYPE: return put_int(value, len, s->type);
		case SO_PROTOCOL: return put_int(value, len, s->protocol);
		case SO_DOMAIN: return put_int(value, len, s->family);
		case SO_ERROR: return put_int(value, len, -socket_take_error(s));
		}
		if (name == SO_LINGER)
			return get_linger(s, value, len);
		if (name == SO_BINDTODEVICE)
			return get_device(s, value, len);
		if (name == SO_BINDTOIFINDEX)
			return put_int(value, len, (int)s->bound_ifindex);
		if (is_stamp(name))
			return put_int(value, len, s->stamps == (name == SO_TIMESTAMP_OLD ? 1 : 2));
		if (name == SO_COOKIE)
			return get_cookie(s->cookie, value, len);
		if (name == SO_NETNS_COOKIE)
			return get_cookie(s->net->ns.inum, value, len);
		if (t)
			return get_timeout(*t, value, len);
		if (n)
			return put_int(value, len, (int)*n);
		if (flag)
			return put_int(value, len, *flag);
	}
	return s->ops->getsockopt ? s->ops->getsockopt(s, level, name, value, len) : -ENOPROTOOPT;
}
