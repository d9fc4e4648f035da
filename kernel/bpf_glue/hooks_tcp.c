/* SPDX-License-Identifier: MIT
 *
 * Problem: programs of a cgroup follow the connections of its sockets, and tune them: first timeout, windows,
 * algorithm.
 *
 * Idea: TCP's core tells of each moment while a program is attached. The context is a picture of the connection; what
 * programs change goes through helpers, which here act on the connection itself, whose lock is held.
 *
 * Contract: BPF_PROG_TYPE_SOCK_OPS as in Linux 6.1: TIMEOUT_INIT, RWND_INIT, TCP_CONNECT, ACTIVE and
 * PASSIVE_ESTABLISHED, TCP_LISTEN, and by flag RTO, RETRANS, STATE and RTT. Header options, NEEDS_ECN and BASE_RTT are
 * not asked.
 *
 * Locks: RCU; called with the host's lock (RANK_SOCKET) held and interrupts off.
 */
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <lib/err.h>
#include <lib/string.h>
#include <net/socket.h>
#include <net/tcp.h>

#include "attach_priv.h"

#define ERR(e) ((u64)(s64)(e))

static void fill_names(struct bpf_sock_ops *u, const struct tcp *t)
{
	u->remote_ip4 = t->remote.w[3];
	u->local_ip4 = t->local.w[3];
	if (t->is_v6) {
		memcpy(u->remote_ip6, t->remote.w, sizeof(u->remote_ip6));
		memcpy(u->local_ip6, t->local.w, sizeof(u->local_ip6));
	}
	u->remote_port = (u32)t->remote_port << 16;
	u->local_port = net_host16(t->local_port);
}

static void fill_numbers(struct bpf_sock_ops *u, const struct tcp *t)
{
	u32 mss = t->mss ? t->mss : 1;

	u->snd_cwnd = t->cwnd / mss;
	u->srtt_us = (u32)(t->srtt_ns / NSEC_PER_USEC) << 3;
	u->bpf_sock_ops_cb_flags = t->program_flags;
	u->state = t->state;
	u->snd_ssthresh = t->ssthresh == ~0U ? 0x7fffffff : t->ssthresh / mss;
	u->rcv_nxt = t->rcv_nxt;
	u->snd_nxt = t->snd_nxt;
	u->snd_una = t->snd_una;
	u->mss_cache = t->mss;
	u->packets_out = (t->snd_max - t->snd_una + mss - 1) / mss;
	u->total_retrans = t->total_retransmits;
	u->bytes_received = t->bytes_in;
	u->bytes_acked = t->snd_una - t->iss;
}

int bpf_hook_tcp(struct socket *s, struct tcp *t, u32 op, const u32 args[3])
{
	struct bpf_sock_ops_ctx c = {
		.user = { .op = op, .args = { args[0], args[1], args[2] }, .family = t->is_v6 ? PF_INET6 : PF_INET },
		.tcp = t
	};
	struct bpf_sock_view v;

	fill_names(&c.user, t);
	if ((op != BPF_SOCK_OPS_TIMEOUT_INIT && op != BPF_SOCK_OPS_RWND_INIT) || t->state != TS_SYN_RECV) {
		bpf_fill_socket(&v, s);
		c.sk = &v;
		c.user.is_fullsock = 1;
		fill_numbers(&c.user, t);
	}
	return bpf_run_hook(s->tenant, BPF_CGROUP_SOCK_OPS, &c, NULL, NULL) ? -1 : (int)c.user.reply;
}

static u64 set_flags(u64 r1, u64 r2, u64 r3, u64 r4, u64 r5)
{
	struct bpf_sock_ops_ctx *c = (struct bpf_sock_ops_ctx *)r1;
	struct tcp *t = c->tcp;

	if (!c->sk)
		return ERR(-EINVAL);
	t->program_flags = (u8)r2 & BPF_SOCK_OPS_ALL_CB_FLAGS;
	return (u32)r2 & ~(u32)BPF_SOCK_OPS_ALL_CB_FLAGS;
}

void bpf_hooks_tcp_init(void)
{
	bpf_helper_set(BPF_FUNC_sock_ops_cb_flags_set, set_flags);
}
