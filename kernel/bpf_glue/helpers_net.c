/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask who they run for: a socket's number, user, network and cgroup, the task's cgroups; and they
 * read and set options of sockets.
 *
 * Idea: each context of a program that has a socket begins with its view (bpf/ctx.h), which leads to the kernel's
 * socket; cgroups are tenants. Options go through the same functions as the calls of programs, from a short list of
 * those that neither sleep nor take locks that the hook may hold; inside of TCP, straight to the connection.
 *
 * Contract: bpf-helpers(7), Linux 6.1. A context without a socket gives 0, or overflowuid.
 *
 * Locks: RCU, by who runs the program.
 */
#include <asm/socket.h>
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <bpf/sock_storage.h>
#include <cgroup/cgroup.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <net/net.h>
#include <net/packet.h>
#include <net/socket.h>
#include <net/tcp.h>
#include <task/task.h>
#include <vfs/vfs.h>

#include "attach_priv.h"

#define ERR(e)        ((u64)(s64)(e))
#define FN(n)         static u64 n(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
#define OVERFLOW_UID  65534
#define FIRST_NETWORK net_init_ns

static struct socket *socket_of_view(u64 view)
{
	return view ? ((const struct bpf_sock_view *)view)->socket : NULL;
}

/* Of any context that begins with a view. */
static struct socket *socket_of_ctx(u64 ctx)
{
	return ctx ? socket_of_view(*(const u64 *)ctx) : NULL;
}

static u32 type_running(void)
{
	const struct bpf_cgroup_run *run = bpf_cgroup_running();

	return run ? run->item->prog->type : BPF_PROG_TYPE_UNSPEC;
}

/* ---- cgroups ----------------------------------------------------------------------------------------------------- */

/* The id of the ancestor at a level, the root's being 0; 0: t is not that deep. */
static u64 ancestor_id(const struct tenant *t, s32 level)
{
	s32 depth = 0;

	for (const struct tenant *p = t; p && p->parent; p = p->parent)
		depth++;
	if (level < 0 || level > depth)
		return 0;
	for (; depth > level; depth--)
		t = t->parent;
	return t ? cgroup_id(t) : 0;
}

static const struct tenant *tenant_of(const struct socket *s)
{
	return s ? s->tenant : NULL;
}

FN(current_ancestor)
{
	return ancestor_id(current->tenant, (s32)r1);
}

FN(packet_cgroup)
{
	const struct tenant *t = tenant_of(socket_of_ctx(r1));

	return t ? cgroup_id(t) : 0;
}

FN(packet_ancestor)
{
	return ancestor_id(tenant_of(socket_of_ctx(r1)), (s32)r2);
}

FN(socket_cgroup)
{
	const struct tenant *t = tenant_of(socket_of_view(r1));

	return t ? cgroup_id(t) : 0;
}

FN(socket_ancestor)
{
	return ancestor_id(tenant_of(socket_of_view(r1)), (s32)r2);
}

/* ---- sockets ------------------------------------------------------------------------------------------------------
 */

FN(cookie)
{
	const struct socket *s = socket_of_ctx(r1);

	return s ? s->cookie : 0;
}

FN(network_cookie)
{
	const struct socket *s = socket_of_ctx(r1);

	return s ? s->net->ns.inum : FIRST_NETWORK.ns.inum;
}

FN(user)
{
	const struct socket *s = socket_of_ctx(r1);

	return s && s->file ? s->file->inode->uid.v : OVERFLOW_UID;
}

/* Programs whose context is a socket hand that over. */
static struct socket *socket_to_keep_with(u64 r2)
{
	struct socket *s = type_running() == BPF_PROG_TYPE_CGROUP_SOCK ? socket_of_ctx(r2) : socket_of_view(r2);

	return s && s->ops && !s->is_connection ? s : NULL; /* not a connection that has no socket yet, or any more */
}

FN(storage_get)
{
	struct socket *s = socket_to_keep_with(r2);
	void *kept;

	if (!s)
		return 0;
	if (r4)
		__atomic_store_n(&s->has_storage, true, __ATOMIC_SEQ_CST);
	kept = bpf_sock_storage_get((struct bpf_map *)r1, s, (const void *)r3, r4);
	if (kept && READ_ONCE(s->ended)) { /* one that was looked up */
		(void)!bpf_sock_storage_delete((struct bpf_map *)r1, s);
		return 0;
	}
	return (u64)(ulong)kept;
}

FN(storage_delete)
{
	struct socket *s = socket_to_keep_with(r2);

	return s ? ERR(bpf_sock_storage_delete((struct bpf_map *)r1, s)) : ERR(-EINVAL);
}

/* A picture of the connection now. */
FN(tcp_socket)
{
	struct bpf_sock_view *v = (struct bpf_sock_view *)r1;
	const struct tcp *t = v && bpf_view_is_full(v) ? v->connection : NULL;
	u32 mss;

	if (!t)
		return 0;
	mss = t->mss ? t->mss : 1;
	v->tcp = (struct bpf_tcp_sock){
		.snd_cwnd = t->cwnd / mss,
		.srtt_us = (u32)(t->srtt_ns / NSEC_PER_USEC) << 3,
		.rtt_min = ~0U,
		.snd_ssthresh = t->ssthresh == ~0U ? 0x7fffffff : t->ssthresh / mss,
		.rcv_nxt = t->rcv_nxt,
		.snd_nxt = t->snd_nxt,
		.snd_una = t->snd_una,
		.mss_cache = t->mss,
		.packets_out = (t->snd_max - t->snd_una + mss - 1) / mss,
		.total_retrans = t->total_retransmits,
		.bytes_received = t->bytes_in,
		.bytes_acked = t->snd_una - t->iss,
	};
	return (u64)(ulong)&v->tcp;
}

FN(task)
{
	return (u64)(ulong)current;
}

/* ---- options ------------------------------------------------------------------------------------------------------
 */

static bool may_set(int level, int name)
{
	static const int names[] = { SO_REUSEADDR, SO_SNDBUF,    SO_RCVBUF,   SO_KEEPALIVE,
				     SO_PRIORITY,  SO_REUSEPORT, SO_RCVLOWAT, SO_MARK };

	for (u32 i = 0; level == SOL_SOCKET && i < ARRAY_SIZE(names); i++)
		if (names[i] == name)
			return true;
	return level == IPPROTO_TCP || (level == IPPROTO_IP && name == IP_TOS) ||
	       (level == IPPROTO_IPV6 && name == IPV6_TCLASS);
}

/* The connection, if the program runs inside of TCP. */
static struct tcp *locked_tcp(u64 ctx)
{
	return type_running() == BPF_PROG_TYPE_SOCK_OPS ? ((struct bpf_sock_ops_ctx *)ctx)->tcp : NULL;
}

/* Of bpf_setsockopt and bpf_getsockopt: programs of socket options name the socket. */
static struct socket *socket_to_set(u64 r1)
{
	return type_running() == BPF_PROG_TYPE_CGROUP_SOCKOPT ? socket_of_view(r1) : socket_of_ctx(r1);
}

FN(set_option)
{
	struct tcp *t = locked_tcp(r1);
	struct socket *s = socket_to_set(r1);
	int v;

	if (!s || (s32)r5 < 0)
		return ERR(-EINVAL);
	if (r2 == SOL_SOCKET && (r3 == SO_MARK || r3 == SO_PRIORITY) && r5 >= sizeof(v)) {
		memcpy(&v, (const void *)r4, sizeof(v));
		*(r3 == SO_MARK ? &s->mark : &s->priority) = (u32)v;
		return 0;
	}
	if (t)
		return ERR(inet_tcp_program_set(t, (int)r2, (int)r3, (const void *)r4, (int)r5));
	return may_set((int)r2, (int)r3) ? ERR(socket_set_option(s, (int)r2, (int)r3, (const void *)r4, (int)r5))
					 : ERR(-EINVAL);
}

FN(get_option)
{
	struct tcp *t = locked_tcp(r1);
	struct socket *s = socket_to_set(r1);
	int len = (int)r5, err;

	if (s && t)
		return ERR(inet_tcp_program_get(t, (int)r2, (int)r3, (void *)r4, len));
	err = s && may_set((int)r2, (int)r3) ? socket_get_option(s, (int)r2, (int)r3, (void *)r4, &len) : -EINVAL;
	if (err)
		memset((void *)r4, 0, r5);
	return ERR(err);
}

FN(bind)
{
	struct socket *s = socket_of_ctx(r1);
	struct sock_addr a;
	u16 family;

	if (r3 < sizeof(family) || r3 > sizeof(a.bytes))
		return ERR(-EINVAL);
	memcpy(a.bytes, (const void *)r2, r3);
	memcpy(&family, a.bytes, sizeof(family));
	a.len = (int)r3;
	if (!s || family != s->family)
		return ERR(-EAFNOSUPPORT);
	return ERR(s->ops->bind(s, &a));
}

/* ---- packets -------------------------------------------------------------------------------------------------------
 */

/* Congestion is noted in the network header. 1: it is now. */
FN(set_congestion)
{
	struct bpf_skb_ctx *c = (struct bpf_skb_ctx *)r1;
	u8 *h = c->net;
	u32 sum;

	if (c->data_end - h < 20)
		return 0;
	if (h[0] >> 4 == 6) {
		if (!(h[1] & 0x30))
			return 0;
		h[1] |= 0x30;
		return 1;
	}
	if (h[0] >> 4 != 4 || !(h[1] & 3))
		return 0;
	if ((h[1] & 3) == 3)
		return 1;
	sum = (u32)(h[10] << 8 | h[11]) + (h[1] & 3); /* RFC 1624: what was in the word, less what is now */
	h[1] |= 3;
	sum += 0xffff - 3;
	sum = (sum & 0xffff) + (sum >> 16);
	h[10] = (u8)(sum >> 8);
	h[11] = (u8)sum;
	return 1;
}

void bpf_helpers_net_init(void)
{
	static const struct {
		u32 id;
		bpf_helper_fn fn;
	} code[] = {
		{ BPF_FUNC_get_current_ancestor_cgroup_id, current_ancestor },
		{ BPF_FUNC_skb_cgroup_id, packet_cgroup },
		{ BPF_FUNC_skb_ancestor_cgroup_id, packet_ancestor },
		{ BPF_FUNC_sk_cgroup_id, socket_cgroup },
		{ BPF_FUNC_sk_ancestor_cgroup_id, socket_ancestor },
		{ BPF_FUNC_get_socket_cookie, cookie },
		{ BPF_FUNC_get_netns_cookie, network_cookie },
		{ BPF_FUNC_get_socket_uid, user },
		{ BPF_FUNC_tcp_sock, tcp_socket },
		{ BPF_FUNC_sk_storage_get, storage_get },
		{ BPF_FUNC_sk_storage_delete, storage_delete },
		{ BPF_FUNC_get_current_task, task },
		{ BPF_FUNC_setsockopt, set_option },
		{ BPF_FUNC_getsockopt, get_option },
		{ BPF_FUNC_bind, bind },
		{ BPF_FUNC_skb_ecn_set_ce, set_congestion },
	};

	for (u32 i = 0; i < ARRAY_SIZE(code); i++)
		bpf_helper_set(code[i].id, code[i].fn);
}
