/* SPDX-License-Identifier: MIT
 *
 * Problem: programs of a cgroup decide where its sockets may be bound or connected to, may send them elsewhere, and may
 * change or answer socket options.
 *
 * Idea: the socket calls ask between copying their arguments in and acting on them. The context is a copy of the
 * arguments; what programs wrote goes back only when all of them allow.
 *
 * Contract: net/hooks.h; behaviour of Linux 6.1 for BPF_CGROUP_INET4_BIND and its family, POST_BIND, GETSOCKOPT,
 * SETSOCKOPT. Addresses that the protocol would refuse for their length or family are left to it.
 *
 * Locks: RCU. Process context.
 */
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <net/hooks.h>
#include <net/socket.h>
#include <task/tenant.h>

#include "attach_priv.h"

struct inet4_address {
	u16 family, port; /* network order */
	u32 addr;
	u8 zero[8];
};

struct inet6_address {
	u16 family, port;
	u32 flow, addr[4], scope;
};

static u32 attach_type_of(enum net_address_hook h, bool six)
{
	static const u8 types[NET_ADDRESS_HOOKS][2] = {
		[NET_BIND] = { BPF_CGROUP_INET4_BIND, BPF_CGROUP_INET6_BIND },
		[NET_CONNECT] = { BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT },
		[NET_SENDMSG] = { BPF_CGROUP_UDP4_SENDMSG, BPF_CGROUP_UDP6_SENDMSG },
		[NET_RECVMSG] = { BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP6_RECVMSG },
		[NET_PEERNAME] = { BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME },
		[NET_SOCKNAME] = { BPF_CGROUP_INET4_GETSOCKNAME, BPF_CGROUP_INET6_GETSOCKNAME },
	};

	return types[h][six];
}

static void get_address(struct bpf_sock_addr *u, const struct sock_addr *a, bool six)
{
	struct inet4_address in;
	struct inet6_address in6;

	if (six) {
		memcpy(&in6, a->bytes, sizeof(in6));
		memcpy(u->user_ip6, in6.addr, sizeof(in6.addr));
		u->user_port = in6.port;
	} else {
		memcpy(&in, a->bytes, sizeof(in));
		u->user_ip4 = in.addr;
		u->user_port = in.port;
	}
}

static void put_address(struct sock_addr *a, const struct bpf_sock_addr *u, bool six)
{
	struct inet4_address in;
	struct inet6_address in6;

	if (six) {
		memcpy(&in6, a->bytes, sizeof(in6));
		memcpy(in6.addr, u->user_ip6, sizeof(in6.addr));
		in6.port = (u16)u->user_port;
		memcpy(a->bytes, &in6, sizeof(in6));
	} else {
		memcpy(&in, a->bytes, sizeof(in));
		in.addr = u->user_ip4;
		in.port = (u16)u->user_port;
		memcpy(a->bytes, &in, sizeof(in));
	}
}

static bool concerns(const struct socket *s, enum net_address_hook h, const struct sock_addr *a)
{
	bool udp = h == NET_SENDMSG || h == NET_RECVMSG;
	u16 family;

	if ((s->family != PF_INET && s->family != PF_INET6) || (udp && s->protocol != IPPROTO_UDP) ||
	    a->len < (int)(s->family == PF_INET6 ? sizeof(struct inet6_address) : sizeof(struct inet4_address)))
		return false;
	memcpy(&family, a->bytes, sizeof(family));
	return family == s->family;
}

int bpf_hook_address(struct socket *s, enum net_address_hook h, struct sock_addr *a)
{
	bool six = s->family == PF_INET6;
	struct bpf_sock_addr_ctx c = {
		.user = { .user_family = s->family, .family = s->family, .type = s->type, .protocol = s->protocol }
	};
	u32 flags = 0;
	struct bpf_sock_view v;
	int err;

	if (!concerns(s, h, a))
		return 0;
	bpf_fill_socket(&v, s);
	c.sk = &v;
	get_address(&c.user, a, six);
	err = bpf_run_hook(s->tenant, attach_type_of(h, six), &c, NULL, &flags);
	if (err)
		return err;
	put_address(a, &c.user, six);
	return h == NET_BIND && flags & 1;
}

int bpf_hook_bound(struct socket *s)
{
	bool six = s->family == PF_INET6;
	struct bpf_sock_ctx c = { .sk = &c.view };

	if (!six && s->family != PF_INET)
		return 0;
	bpf_fill_socket(&c.view, s);
	return bpf_run_hook(s->tenant, six ? BPF_CGROUP_INET6_POST_BIND : BPF_CGROUP_INET4_POST_BIND, &c, NULL, NULL);
}

/* ---- options ---------------------------------------------------------------------------------------------------- */

/* True: programs ran, and *result is theirs; c has what they made of it. */
static bool run_option(struct socket *s, u32 attach_type, struct bpf_sockopt_ctx *c, int *result)
{
	const struct bpf_cgroup_node *n;
	struct bpf_sock_view v;
	u32 hook = (u32)bpf_cgroup_hook(attach_type);
	bool any;

	bpf_fill_socket(&v, s);
	c->sk = &v;
	rcu_read_lock();
	n = bpf_node_of(s->tenant);
	any = n && n->effective[hook];
	if (any)
		*result = bpf_cgroup_run(n, hook, c, &c->retval, NULL);
	rcu_read_unlock();
	return any;
}

int bpf_hook_set_option(struct socket *s, int *level, int *name, void *value, int *len, int room)
{
	struct bpf_sockopt_ctx c = { .optval = value,
				     .optval_end = (u8 *)value + max(*len, min(room, 16)),
				     .level = *level,
				     .optname = *name,
				     .optlen = *len };
	int result;

	if (*len < 16 && room >= 16)
		memset((u8 *)value + *len, 0, 16 - *len);
	if (!run_option(s, BPF_CGROUP_SETSOCKOPT, &c, &result))
		return 0;
	if (result)
		return result;
	if (c.optlen == -1)
		return 1;
	if (c.optlen < -1 || c.optlen > c.optval_end - c.optval)
		return -EFAULT;
	*level = c.level;
	*name = c.optname;
	if (c.optlen)
		*len = c.optlen;
	return 0;
}

int bpf_hook_get_option(struct socket *s, int level, int name, void *value, int *len, int room, int result)
{
	struct bpf_sockopt_ctx c = { .optval = value,
				     .optval_end = (u8 *)value + room,
				     .level = level,
				     .optname = name,
				     .optlen = result ? room : *len,
				     .retval = result };

	if (!run_option(s, BPF_CGROUP_GETSOCKOPT, &c, &result))
		return result;
	if (result < 0)
		return result;
	if (c.optlen < 0 || c.optlen > room)
		return -EFAULT;
	if (c.optlen)
		*len = c.optlen;
	return result;
}
