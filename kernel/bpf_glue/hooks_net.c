/* SPDX-License-Identifier: MIT
 *
 * Problem: programs of a cgroup judge each packet that its sockets send or get, and each socket that it makes.
 *
 * Idea: the net part calls three hooks, patched in only while something is attached. Each fills the context that a
 * program sees (bpf/ctx.h) and runs the effective programs of the socket's tenant: all of them, and each must allow.
 *
 * Contract: net/hooks.h: 0, or -EPERM. A packet begins at its network header, read-only, as in Linux 6.1. A socket
 * keeps the cgroup of its maker.
 *
 * Locks: RCU. Hooks may be called with spin locks held and interrupts off.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <asm/socket.h>
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <bpf/sock_storage.h>
#include <bpf_glue/bpf.h>
#include <core/log.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/filter.h>
#include <net/hooks.h>
#include <net/inet.h>
#include <net/packet.h>
#include <net/socket.h>
#include <net/tcp.h>
#include <task/tenant.h>

#include "attach_priv.h"

static u16 net16(u16 v)
{
	return __builtin_bswap16(v);
}

void bpf_fill_names(struct bpf_sock *u, const struct inet_names *names)
{
	u->src_ip4 = ip_addr_is_v4(&names->local) ? names->local.w[3] : 0;
	u->dst_ip4 = ip_addr_is_v4(&names->remote) ? names->remote.w[3] : 0;
	if (u->family == PF_INET6) {
		memcpy(u->src_ip6, names->local.w, sizeof(u->src_ip6));
		memcpy(u->dst_ip6, names->remote.w, sizeof(u->dst_ip6));
	}
	u->src_port = net16(names->local_port);
	u->dst_port = names->remote_port;
	u->state = names->state;
}

void bpf_fill_socket(struct bpf_sock_view *v, struct socket *s)
{
	struct inet_names names;

	*v = (struct bpf_sock_view){ .user = { .bound_dev_if = s->bound_ifindex,
					       .family = s->family,
					       .type = s->type,
					       .protocol = s->protocol,
					       .mark = s->mark,
					       .priority = s->priority,
					       .rx_queue_mapping = -1 },
				     .socket = s,
				     .connection = inet_tcp_of(s) };
	inet_names_of(s, &names);
	bpf_fill_names(&v->user, &names);
}

static void fill_packet(struct bpf_skb_ctx *c, const struct packet *p, struct bpf_sock_view *v, bool in)
{
	*c = (struct bpf_skb_ctx){ .data = p->data,
				   .data_end = p->tail,
				   .data_meta = p->data,
				   .mac = in && p->link_header ? p->link_header : NULL,
				   .net = in && p->network ? p->network : p->data,
				   .room = p->data,
				   .tail = p->tail,
				   .sk = v,
				   .tstamp = p->stamp_ns,
				   .len = (u32)packet_len(p),
				   .mark = p->mark,
				   .priority = p->priority,
				   .protocol = net16(p->protocol),
				   .ifindex = p->ifindex,
				   .ingress_ifindex = in ? p->ifindex : 0,
				   .family = v->user.family,
				   .kernel_skb = (void *)p };
}

static int run_packet(struct socket *s, struct packet *p, u32 attach_type)
{
	bool in = attach_type == BPF_CGROUP_INET_INGRESS;
	const struct bpf_cgroup_node *n;
	struct bpf_skb_ctx c;
	struct bpf_sock_view v;
	u32 hook = (u32)bpf_cgroup_hook(attach_type), flags = 0;
	int err = 0;

	rcu_read_lock();
	n = bpf_node_of(s->tenant);
	if (n && n->effective[hook]) {
		bpf_fill_socket(&v, s);
		fill_packet(&c, p, &v, in);
		err = bpf_cgroup_run(n, hook, &c, NULL, in ? NULL : &flags);
		p->mark = c.mark;
		p->priority = c.priority;
	}
	rcu_read_unlock();
	return err;
}

static int ingress(struct socket *s, struct packet *p)
{
	return run_packet(s, p, BPF_CGROUP_INET_INGRESS);
}

static int egress(struct socket *s, struct packet *p)
{
	return run_packet(s, p, BPF_CGROUP_INET_EGRESS);
}

static int run_socket(struct socket *s, u32 attach_type)
{
	struct bpf_sock_ctx c = { .sk = &c.view };
	int err;

	bpf_fill_socket(&c.view, s);
	err = bpf_run_hook(s->tenant, attach_type, &c, NULL, NULL);
	s->bound_ifindex = c.view.user.bound_dev_if;
	s->mark = c.view.user.mark;
	s->priority = c.view.user.priority;
	return err;
}

static int create(struct socket *s)
{
	return run_socket(s, BPF_CGROUP_INET_SOCK_CREATE);
}

static void end(struct socket *s)
{
	(void)run_socket(s, BPF_CGROUP_INET_SOCK_RELEASE);
}

/* ---- a socket's own filter ----------------------------------------------------------------------------------------
 */

static u32 filter(struct socket *s, struct packet *p)
{
	const struct bpf_prog *prog;
	struct bpf_skb_ctx c;
	struct bpf_sock_view v;
	u32 keep = ~0U;

	rcu_read_lock();
	prog = rcu_deref(s->filter);
	if (prog) {
		bpf_fill_socket(&v, s);
		fill_packet(&c, p, &v, true);
		keep = (u32)bpf_prog_run(prog, &c);
	}
	rcu_read_unlock();
	return keep;
}

static void drop_storage(struct socket *s)
{
	bpf_sock_storage_drop(s);
}

static void drop_filter(struct socket *s)
{
	bpf_prog_put(s->filter);
}

static int classic_filter(const void *value, int len, struct bpf_prog **out)
{
	struct sock_fprog f;
	struct sock_filter *code;
	size_t bytes;
	int err;

	if (len != sizeof(f))
		return -EINVAL;
	memcpy(&f, value, sizeof(f));
	if (!f.len || f.len > BPF_MAXINSNS || !f.filter)
		return fail(EINVAL, "filter of %u instructions", f.len);
	bytes = f.len * sizeof(*code);
	code = kmalloc(bytes, 0);
	if (!code)
		return -ENOMEM;
	err = user_get(code, (const void __user *)f.filter, bytes);
	err = err ? err : bpf_classic_load(code, f.len, false, out);
	kfree(code);
	return err;
}

static int loaded_filter(const void *value, int len, struct bpf_prog **out)
{
	struct bpf_prog *prog;
	enum bpf_object kind;
	struct fd_ref r;
	u32 flags;
	int fd, err = 0;

	if (len != sizeof(fd))
		return -EINVAL;
	memcpy(&fd, value, sizeof(fd));
	r = fd_get(fd);
	if (!r.file)
		return -EBADF;
	prog = bpf_file_object(r.file, &kind, &flags);
	if (!prog || kind != BPF_OBJ_PROG || prog->type != BPF_PROG_TYPE_SOCKET_FILTER) {
		err = fail(EINVAL, "descriptor %d is no socket filter", fd);
	} else {
		bpf_prog_get(prog);
		*out = prog;
	}
	fd_put(r);
	return err;
}

static int lock_filter(struct socket *s, const void *value, int len)
{
	int v;

	if (len < (int)sizeof(v))
		return -EINVAL;
	memcpy(&v, value, sizeof(v));
	if (s->filter_locked && !v)
		return -EPERM;
	s->filter_locked = v != 0;
	return 0;
}

static int set_filter(struct socket *s, int name, const void *value, int len)
{
	struct bpf_prog *prog = NULL, *old;
	int err = 0;

	if (name == SO_LOCK_FILTER)
		return lock_filter(s, value, len);
	if (s->family == PF_UNIX)
		return fail(ENOPROTOOPT, "filters of local sockets are not built");
	if (name != SO_DETACH_FILTER)
		err = name == SO_ATTACH_BPF ? loaded_filter(value, len, &prog) : classic_filter(value, len, &prog);
	if (!err && s->filter_locked)
		err = -EPERM;
	if (err) {
		bpf_prog_put(prog);
		return err;
	}
	old = __atomic_exchange_n((struct bpf_prog **)&s->filter, prog, __ATOMIC_SEQ_CST);
	bpf_prog_put(old);
	return prog || old ? 0 : -ENOENT;
}

static const struct net_hooks hooks = { .ingress = ingress,
					.egress = egress,
					.create = create,
					.end = end,
					.address = bpf_hook_address,
					.bound = bpf_hook_bound,
					.set_option = bpf_hook_set_option,
					.get_option = bpf_hook_get_option,
					.set_filter = set_filter,
					.tcp = bpf_hook_tcp,
					.filter = filter,
					.drop_filter = drop_filter,
					.drop_storage = drop_storage };

void bpf_hooks_net_init(void)
{
	net_hooks = &hooks;
}
