/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask whether a socket is there for a packet, of which kind, and in which state.
 *
 * Idea: net/inet looks without locks; what it finds becomes a view (bpf/ctx.h) of its own, that lives until the program
 * releases it, as the verifier has made sure of. The view of a call that is not answered yet, or of a connection that
 * is over, is no full socket: few helpers take it. With the first comes a second one, of the listener.
 *
 * Contract: bpf-helpers(7), Linux 6.1: bpf_sk_lookup_tcp, _udp, bpf_skc_lookup_tcp, bpf_sk_release, bpf_sk_fullsock,
 * bpf_get_listener_sock. Namespaces have no numbers here: only BPF_F_CURRENT_NETNS finds anything.
 *
 * Locks: RCU, by who runs the program.
 */
#include <alloc/slab.h>
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <lib/string.h>
#include <linux/in.h>
#include <net/inet.h>
#include <net/net.h>
#include <net/packet.h>
#include <net/socket.h>
#include <net/tcp.h>

#include "attach_priv.h"

#define FN(n)        static u64 n(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
#define NEW_SYN_RECV 12 /* the state of a call that is not answered yet, linux/bpf.h: BPF_TCP_NEW_SYN_RECV */

struct found {
	struct bpf_sock_view view, listener; /* the second: of NEW_SYN_RECV */
};

bool bpf_view_is_full(const struct bpf_sock_view *v)
{
	return v->user.state != NEW_SYN_RECV && v->user.state != TS_TIME_WAIT;
}

/* Where the asker stands: its network, and what came in by which device. */
struct asker {
	struct net *net;
	u32 ifindex, vrf;
};

static struct asker asker_of(u64 ctx)
{
	const struct bpf_cgroup_run *run = bpf_cgroup_running();
	const struct bpf_sock_view *v = *(struct bpf_sock_view *const *)ctx;
	const struct socket *s = v ? v->socket : NULL;
	struct asker a = { .net = s ? s->net : net_of_current() };
	const struct bpf_skb_ctx *skb = (const struct bpf_skb_ctx *)ctx;
	const struct packet *p;

	if (run && run->item->prog->type == BPF_PROG_TYPE_CGROUP_SOCK_ADDR)
		return a;
	p = skb->kernel_skb;
	a.ifindex = skb->ifindex;
	a.vrf = run && p ? p->vrf : 0;
	return a;
}

/* The tuple names both ends of a packet that comes in. */
static bool read_tuple(const void *at, u64 len, struct inet_names *out)
{
	struct bpf_sock_tuple t;

	*out = (struct inet_names){ .state = 0 };
	if (len != sizeof(t.ipv4) && len != sizeof(t.ipv6))
		return false;
	memcpy(&t, at, len);
	if (len == sizeof(t.ipv4)) {
		out->local = ip_addr_v4(t.ipv4.daddr);
		out->remote = ip_addr_v4(t.ipv4.saddr);
		out->local_port = t.ipv4.dport;
		out->remote_port = t.ipv4.sport;
		return true;
	}
	memcpy(out->local.w, t.ipv6.daddr, sizeof(out->local.w));
	memcpy(out->remote.w, t.ipv6.saddr, sizeof(out->remote.w));
	out->local_port = t.ipv6.dport;
	out->remote_port = t.ipv6.sport;
	return true;
}

static void fill(struct bpf_sock_view *v, struct socket *s, struct tcp *t)
{
	bpf_fill_socket(v, s);
	if (t && v->connection != t) { /* its socket has just gone, or come */
		v->connection = t;
		v->user.state = (u32)READ_ONCE(t->state);
	}
}

/* full: what is no full socket is not found, but for a call: its listener is. */
static u64 look_up(const u64 *r, u8 protocol, bool full)
{
	struct asker a = asker_of(r[1]);
	struct inet_names names;
	struct tcp *t, *listener;
	struct socket *s;
	struct found *f;

	if (!read_tuple((const void *)r[2], r[3], &names) || r[5] || (s32)r[4] >= 0)
		return 0;
	s = inet_look_up(a.net, protocol, &names, a.ifindex, a.vrf, &t);
	listener = t && READ_ONCE(t->state) == TS_SYN_RECV ? READ_ONCE(t->parent) : NULL;
	if (listener && full) {
		t = listener;
		s = inet_speaker(t);
		listener = NULL;
	}
	f = s ? kmalloc(sizeof(*f), ALLOC_ATOMIC) : NULL;
	if (!f)
		return 0;
	fill(&f->view, s, t);
	if (listener) {
		f->view.user.state = NEW_SYN_RECV;
		fill(&f->listener, inet_speaker(listener), listener);
	}
	if (!full || bpf_view_is_full(&f->view))
		return (u64)(ulong)&f->view;
	kfree(f);
	return 0;
}

#define ARGUMENTS ((u64[]){ 0, r1, r2, r3, r4, r5 })

FN(look_up_tcp)
{
	return look_up(ARGUMENTS, IPPROTO_TCP, true);
}

FN(look_up_any_tcp)
{
	return look_up(ARGUMENTS, IPPROTO_TCP, false);
}

FN(look_up_udp)
{
	return look_up(ARGUMENTS, IPPROTO_UDP, true);
}

FN(release)
{
	kfree(container_of((struct bpf_sock_view *)r1, struct found, view));
	return 0;
}

FN(full_socket)
{
	return bpf_view_is_full((const struct bpf_sock_view *)r1) ? r1 : 0;
}

FN(listener_of)
{
	struct bpf_sock_view *v = (struct bpf_sock_view *)r1;

	if (v->user.state == NEW_SYN_RECV)
		v = &container_of(v, struct found, view)->listener;
	return v->user.state == TS_LISTEN ? (u64)(ulong)v : 0;
}

void bpf_helpers_lookup_init(void)
{
	static const struct {
		u32 id;
		bpf_helper_fn fn;
	} code[] = {
		{ BPF_FUNC_sk_lookup_tcp, look_up_tcp }, { BPF_FUNC_skc_lookup_tcp, look_up_any_tcp },
		{ BPF_FUNC_sk_lookup_udp, look_up_udp }, { BPF_FUNC_sk_release, release },
		{ BPF_FUNC_sk_fullsock, full_socket },   { BPF_FUNC_get_listener_sock, listener_of },
	};

	for (u32 i = 0; i < ARRAY_SIZE(code); i++)
		bpf_helper_set(code[i].id, code[i].fn);
}
