/* SPDX-License-Identifier: MIT
 *
 * Problem: each program type sees another context, may do other things with packets and must return other values.
 *
 * Idea: tables. A context is a list of fields: where the program sees it (UAPI structure), where it really is
 * (bpf/ctx.h), how wide an access may be, who may read and write it. Types that look at plain memory (registers of a
 * probe, a trace record) have a rule instead.
 *
 * Contract: verify_priv.h. The permissions are those of Linux 6.1, learnt from its behaviour; field offsets come from
 * the UAPI header at compile time.
 *
 * Locks: none; constant data.
 */
#include <linux/bpf_perf_event.h>
#include <linux/seccomp.h>
#include <bpf/ctx.h>
#include "verify_priv.h"

#define T(t)              (1ULL << BPF_PROG_TYPE_##t)
#define A(a)              (1ULL << (a))
#define MEMBER(s, m)      sizeof(((struct s *)0)->m)
#define offsetofend(s, m) (offsetof(s, m) + sizeof(((s *)0)->m))

/* A number: user structure and member, real structure and member, widest access, readers, writers, attach types. */
#define NUM(us, um, rs, rm, wide, rd, wr, at)                                                                          \
	{                                                                                                              \
		.off = offsetof(struct us, um), .bytes = MEMBER(us, um), .max = wide, .kind = V_SCALAR,                \
		.real_off = offsetof(struct rs, rm), .readers = rd, .writers = wr, .attach = at                        \
	}
/* The same with a limit on narrow reads. */
#define NUM_AS(us, um, rs, rm, how, rd, at)                                                                            \
	{                                                                                                              \
		.off = offsetof(struct us, um), .bytes = MEMBER(us, um), .max = 4, .narrow = how, .kind = V_SCALAR,    \
		.real_off = offsetof(struct rs, rm), .readers = rd, .attach = at                                       \
	}
/* A pointer, read whole: `size` is what the program must load. */
#define PTR(us, um, rs, rm, size, k, null, rd, at)                                                                     \
	{                                                                                                              \
		.off = offsetof(struct us, um), .bytes = size, .kind = k, .null_ok = null,                             \
		.real_off = offsetof(struct rs, rm), .readers = rd, .attach = at                                       \
	}

#define TC               (T(SCHED_CLS) | T(SCHED_ACT))
#define LWT              (T(LWT_IN) | T(LWT_OUT) | T(LWT_XMIT) | T(LWT_SEG6LOCAL))
#define SKB_ALL          (T(SOCKET_FILTER) | TC | T(CGROUP_SKB) | LWT | T(SK_SKB))
#define HAS_DATA         (TC | T(CGROUP_SKB) | LWT | T(SK_SKB) | T(FLOW_DISSECTOR))
#define SKB(m, rd, wr)   NUM(__sk_buff, m, bpf_skb_ctx, m, 4, rd, wr, 0)
#define SKB_WORDS(m, rd) NUM_AS(__sk_buff, m, bpf_skb_ctx, m, NARROW_WORDS, rd, 0)

static const struct bpf_ctx_field skb_fields[] = {
	SKB(len, SKB_ALL, 0),
	SKB(pkt_type, SKB_ALL, 0),
	SKB(mark, SKB_ALL & ~T(SK_SKB), TC | T(CGROUP_SKB) | LWT),
	SKB(queue_mapping, SKB_ALL, TC),
	SKB(protocol, SKB_ALL, 0),
	SKB(vlan_present, SKB_ALL, 0),
	SKB(vlan_tci, SKB_ALL, 0),
	SKB(vlan_proto, SKB_ALL, 0),
	SKB(priority, SKB_ALL, TC | T(CGROUP_SKB) | LWT | T(SK_SKB)),
	SKB(ingress_ifindex, SKB_ALL, 0),
	SKB(ifindex, SKB_ALL, 0),
	SKB(tc_index, SKB_ALL, TC | T(SK_SKB)),
	NUM(__sk_buff, cb, bpf_skb_ctx, cb, 8, SKB_ALL, SKB_ALL & ~T(SK_SKB), 0),
	SKB(hash, SKB_ALL, 0),
	SKB(tc_classid, TC, TC),
	SKB(napi_id, SKB_ALL, 0),
	SKB(family, T(SK_SKB) | T(CGROUP_SKB), 0),
	SKB_WORDS(remote_ip4, T(SK_SKB) | T(CGROUP_SKB)),
	SKB_WORDS(local_ip4, T(SK_SKB) | T(CGROUP_SKB)),
	SKB_WORDS(remote_ip6, T(SK_SKB) | T(CGROUP_SKB)),
	SKB_WORDS(local_ip6, T(SK_SKB) | T(CGROUP_SKB)),
	SKB(remote_port, T(SK_SKB) | T(CGROUP_SKB), 0),
	SKB(local_port, T(SK_SKB) | T(CGROUP_SKB), 0),
	NUM(__sk_buff, tstamp, bpf_skb_ctx, tstamp, 0, TC | T(CGROUP_SKB), TC | T(CGROUP_SKB), 0),
	SKB(wire_len, TC, 0),
	SKB(gso_segs, SKB_ALL, 0),
	SKB(gso_size, SKB_ALL, 0),
	{ .off = offsetofend(struct __sk_buff, gso_size),
	  .bytes = 1,
	  .kind = V_SCALAR,
	  .real_off = offsetof(struct bpf_skb_ctx, tstamp_type),
	  .readers = TC },
	NUM(__sk_buff, hwtstamp, bpf_skb_ctx, hwtstamp, 0, TC | T(CGROUP_SKB), 0, 0),
	PTR(__sk_buff, data, bpf_skb_ctx, data, 4, V_PKT, false, HAS_DATA, 0),
	PTR(__sk_buff, data_end, bpf_skb_ctx, data_end, 4, V_PKT_END, false, HAS_DATA, 0),
	PTR(__sk_buff, data_meta, bpf_skb_ctx, data_meta, 4, V_PKT_META, false, TC, 0),
	PTR(__sk_buff, flow_keys, bpf_skb_ctx, flow_keys, 8, V_FLOW_KEYS, false, T(FLOW_DISSECTOR), 0),
	PTR(__sk_buff, sk, bpf_skb_ctx, sk, 8, V_SOCK_COMMON, true, SKB_ALL, 0),
};

#define XDP(m) NUM(xdp_md, m, bpf_xdp_ctx, m, 0, ~0ULL, 0, 0)
static const struct bpf_ctx_field xdp_fields[] = {
	PTR(xdp_md, data, bpf_xdp_ctx, data, 4, V_PKT, false, ~0ULL, 0),
	PTR(xdp_md, data_end, bpf_xdp_ctx, data_end, 4, V_PKT_END, false, ~0ULL, 0),
	PTR(xdp_md, data_meta, bpf_xdp_ctx, data_meta, 4, V_PKT_META, false, ~0ULL, 0),
	XDP(ingress_ifindex),
	XDP(rx_queue_index),
	NUM(xdp_md, egress_ifindex, bpf_xdp_ctx, egress_ifindex, 0, ~0ULL, 0, A(BPF_XDP_DEVMAP)),
};

#define CREATE                  (A(BPF_CGROUP_INET_SOCK_CREATE) | A(BPF_CGROUP_INET_SOCK_RELEASE))
#define BOUND4                  A(BPF_CGROUP_INET4_POST_BIND)
#define BOUND6                  A(BPF_CGROUP_INET6_POST_BIND)
#define SK(m, wide, rd, wr, at) NUM(bpf_sock, m, bpf_sock_ctx, view.user.m, wide, rd, wr, at)
#define SK_START(m, at)         NUM_AS(bpf_sock, m, bpf_sock_ctx, view.user.m, NARROW_START, ~0ULL, at)
static const struct bpf_ctx_field sock_fields[] = {
	SK(bound_dev_if, 0, ~0ULL, ~0ULL, CREATE),
	SK_START(family, 0),
	SK_START(type, 0),
	SK_START(protocol, 0),
	SK(mark, 0, ~0ULL, ~0ULL, CREATE),
	SK(priority, 0, ~0ULL, ~0ULL, CREATE),
	SK(src_ip4, 4, ~0ULL, 0, BOUND4),
	SK(src_ip6, 4, ~0ULL, 0, BOUND6),
	SK_START(src_port, BOUND4 | BOUND6),
	SK(dst_port, 2, ~0ULL, 0, 0),
	{ .off = offsetof(struct bpf_sock, dst_port),
	  .bytes = 4,
	  .kind = V_SCALAR,
	  .real_off = offsetof(struct bpf_sock_ctx, view.user.dst_port),
	  .readers = ~0ULL },
	SK(dst_ip4, 4, ~0ULL, 0, 0),
	SK(dst_ip6, 4, ~0ULL, 0, 0),
	SK_START(state, 0),
	SK_START(rx_queue_mapping, 0),
};

#define DEV(m, wide) NUM(bpf_cgroup_dev_ctx, m, bpf_cgroup_dev_ctx, m, wide, ~0ULL, 0, 0)
static const struct bpf_ctx_field device_fields[] = { DEV(access_type, 4), DEV(major, 0), DEV(minor, 0) };

static const struct bpf_ctx_field sysctl_fields[] = {
	NUM(bpf_sysctl, write, bpf_sysctl_ctx, write, 4, ~0ULL, 0, 0),
	NUM(bpf_sysctl, file_pos, bpf_sysctl_ctx, file_pos, 4, ~0ULL, ~0ULL, 0),
};

#define SETTING        A(BPF_CGROUP_SETSOCKOPT)
#define GETTING        A(BPF_CGROUP_GETSOCKOPT)
#define OPT(m, wr, at) NUM(bpf_sockopt, m, bpf_sockopt_ctx, m, 0, ~0ULL, wr, at)
static const struct bpf_ctx_field sockopt_fields[] = {
	PTR(bpf_sockopt, sk, bpf_sockopt_ctx, sk, 8, V_SOCK, false, ~0ULL, 0),
	PTR(bpf_sockopt, optval, bpf_sockopt_ctx, optval, 8, V_PKT, false, ~0ULL, 0),
	PTR(bpf_sockopt, optval_end, bpf_sockopt_ctx, optval_end, 8, V_PKT_END, false, ~0ULL, 0),
	OPT(level, ~0ULL, SETTING),
	OPT(level, 0, GETTING),
	OPT(optname, ~0ULL, SETTING),
	OPT(optname, 0, GETTING),
	OPT(optlen, ~0ULL, 0),
	OPT(retval, ~0ULL, GETTING),
};

#define ADDR4                                                                                                          \
	(A(BPF_CGROUP_INET4_BIND) | A(BPF_CGROUP_INET4_CONNECT) | A(BPF_CGROUP_INET4_GETPEERNAME) |                    \
	 A(BPF_CGROUP_INET4_GETSOCKNAME) | A(BPF_CGROUP_UDP4_SENDMSG) | A(BPF_CGROUP_UDP4_RECVMSG))
#define ADDR6                                                                                                          \
	(A(BPF_CGROUP_INET6_BIND) | A(BPF_CGROUP_INET6_CONNECT) | A(BPF_CGROUP_INET6_GETPEERNAME) |                    \
	 A(BPF_CGROUP_INET6_GETSOCKNAME) | A(BPF_CGROUP_UDP6_SENDMSG) | A(BPF_CGROUP_UDP6_RECVMSG))
#define ADDR(m, wide, wr, at) NUM(bpf_sock_addr, m, bpf_sock_addr_ctx, user.m, wide, ~0ULL, wr, at)
static const struct bpf_ctx_field sock_addr_fields[] = {
	ADDR(user_family, 0, 0, 0),
	ADDR(user_ip4, 4, ~0ULL, ADDR4),
	ADDR(user_ip6, 8, ~0ULL, ADDR6),
	ADDR(user_port, 4, ~0ULL, 0),
	ADDR(family, 0, 0, 0),
	ADDR(type, 0, 0, 0),
	ADDR(protocol, 0, 0, 0),
	ADDR(msg_src_ip4, 4, ~0ULL, A(BPF_CGROUP_UDP4_SENDMSG)),
	ADDR(msg_src_ip6, 8, ~0ULL, A(BPF_CGROUP_UDP6_SENDMSG)),
	PTR(bpf_sock_addr, sk, bpf_sock_addr_ctx, sk, 8, V_SOCK, false, ~0ULL, 0),
};

#define OPS(m, wr)     NUM(bpf_sock_ops, m, bpf_sock_ops_ctx, user.m, 0, ~0ULL, wr, 0)
#define OPS_AS(m, how) NUM_AS(bpf_sock_ops, m, bpf_sock_ops_ctx, user.m, how, ~0ULL, 0)
static const struct bpf_ctx_field sock_ops_fields[] = {
	OPS(op, 0),
	OPS_AS(args, NARROW_WORDS),
	OPS(family, 0),
	OPS(remote_ip4, 0),
	OPS(local_ip4, 0),
	OPS_AS(remote_ip6, NARROW_WORDS),
	OPS_AS(local_ip6, NARROW_WORDS),
	OPS(remote_port, 0),
	OPS(local_port, 0),
	OPS(is_fullsock, 0),
	OPS(snd_cwnd, 0),
	OPS(srtt_us, 0),
	OPS(bpf_sock_ops_cb_flags, 0),
	OPS(state, 0),
	OPS(rtt_min, 0),
	OPS(snd_ssthresh, 0),
	OPS(rcv_nxt, 0),
	OPS(snd_nxt, 0),
	OPS(snd_una, 0),
	OPS(mss_cache, 0),
	OPS(ecn_flags, 0),
	OPS(rate_delivered, 0),
	OPS(rate_interval_us, 0),
	OPS(packets_out, 0),
	OPS(retrans_out, 0),
	OPS(total_retrans, 0),
	OPS(segs_in, 0),
	OPS(data_segs_in, 0),
	OPS(segs_out, 0),
	OPS(data_segs_out, 0),
	OPS(lost_out, 0),
	OPS(sacked_out, 0),
	OPS(sk_txhash, ~0ULL),
	OPS(bytes_received, 0),
	OPS(bytes_acked, 0),
	OPS(skb_len, 0),
	OPS_AS(skb_tcp_flags, NARROW_START),
	{ .off = offsetof(struct bpf_sock_ops, reply),
	  .bytes = 4,
	  .kind = V_SCALAR,
	  .real_off = offsetof(struct bpf_sock_ops_ctx, user.reply),
	  .writers = ~0ULL },
	PTR(bpf_sock_ops, sk, bpf_sock_ops_ctx, sk, 8, V_SOCK, true, ~0ULL, 0),
	PTR(bpf_sock_ops, skb_data, bpf_sock_ops_ctx, data, 8, V_PKT, false, ~0ULL, 0),
	PTR(bpf_sock_ops, skb_data_end, bpf_sock_ops_ctx, data_end, 8, V_PKT_END, false, ~0ULL, 0),
};

#define MSG(m, wide) NUM(sk_msg_md, m, bpf_sk_msg_ctx, m, wide, ~0ULL, 0, 0)
static const struct bpf_ctx_field sk_msg_fields[] = {
	PTR(sk_msg_md, data, bpf_sk_msg_ctx, data, 8, V_PKT, false, ~0ULL, 0),
	PTR(sk_msg_md, data_end, bpf_sk_msg_ctx, data_end, 8, V_PKT_END, false, ~0ULL, 0),
	PTR(sk_msg_md, sk, bpf_sk_msg_ctx, sk, 8, V_SOCK, false, ~0ULL, 0),
	MSG(family, 4),
	MSG(remote_ip4, 4),
	MSG(local_ip4, 4),
	MSG(remote_ip6, 4),
	MSG(local_ip6, 4),
	MSG(remote_port, 4),
	MSG(local_port, 4),
	MSG(size, 4),
};

#define REUSE(m, wide) NUM(sk_reuseport_md, m, bpf_sk_reuseport_ctx, m, wide, ~0ULL, 0, 0)
static const struct bpf_ctx_field sk_reuseport_fields[] = {
	PTR(sk_reuseport_md, data, bpf_sk_reuseport_ctx, data, 8, V_PKT, false, ~0ULL, 0),
	PTR(sk_reuseport_md, data_end, bpf_sk_reuseport_ctx, data_end, 8, V_PKT_END, false, ~0ULL, 0),
	REUSE(len, 0),
	REUSE(eth_protocol, 4),
	REUSE(ip_protocol, 0),
	REUSE(bind_inany, 0),
	REUSE(hash, 0),
	PTR(sk_reuseport_md, sk, bpf_sk_reuseport_ctx, sk, 8, V_SOCK, false, ~0ULL, 0),
	PTR(sk_reuseport_md, migrating_sk, bpf_sk_reuseport_ctx, migrating_sk, 8, V_SOCK_COMMON, true, ~0ULL,
	    A(BPF_SK_REUSEPORT_SELECT_OR_MIGRATE)),
};

#define LOOK(m, wide) NUM(bpf_sk_lookup, m, bpf_sk_lookup_ctx, m, wide, ~0ULL, 0, 0)
static const struct bpf_ctx_field sk_lookup_fields[] = {
	PTR(bpf_sk_lookup, sk, bpf_sk_lookup_ctx, sk, 8, V_SOCK, true, ~0ULL, 0),
	LOOK(family, 4),
	LOOK(protocol, 4),
	LOOK(remote_ip4, 4),
	LOOK(remote_ip6, 4),

	LOOK(local_ip4, 4),
	LOOK(local_ip6, 4),
	LOOK(local_port, 4),
	LOOK(ingress_ifindex, 4),
	{ .off = offsetof(struct bpf_sk_lookup, remote_port),
	  .bytes = 4,
	  .max = 4,
	  .kind = V_SCALAR,
	  .real_off = offsetof(struct bpf_sk_lookup_ctx, remote_port),
	  .readers = ~0ULL },
};

/* Registers of a probe: whole, aligned reads. */
static int registers_access(const struct venv *env, s32 off, u32 size, enum vaccess a)
{
	u32 bytes = sizeof(bpf_user_pt_regs_t);

	return a == A_WRITE || off < 0 || off % (s32)size || off + size > bytes ? -EACCES : 0;
}

static int seccomp_access(const struct venv *env, s32 off, u32 size, enum vaccess a)
{
	return a == A_WRITE || off < 0 || size != 4 || off % 4 || off + size > sizeof(struct seccomp_data) ? -EACCES
													   : 0;
}

static int trace_access(const struct venv *env, s32 off, u32 size, enum vaccess a)
{
	return a == A_WRITE || off < 8 || off % (s32)size || off + size > 8192 ? -EACCES : 0;
}

static int raw_trace_access(const struct venv *env, s32 off, u32 size, enum vaccess a)
{
	return a == A_WRITE || off < 0 || off % (s32)size || off + size > 12 * 8 ? -EACCES : 0;
}

static int perf_access(const struct venv *env, s32 off, u32 size, enum vaccess a)
{
	u32 period = offsetof(struct bpf_perf_event_data, sample_period),
	    addr = offsetof(struct bpf_perf_event_data, addr);

	if (a == A_WRITE || off < 0 || off >= (s32)sizeof(struct bpf_perf_event_data))
		return -EACCES;
	if (off % (s32)size && !(size == 8 && off % 4 == 0))
		return -EACCES;
	if (off >= (s32)period)
		return (off < (s32)addr ? off + size <= addr : off + size <= addr + 8) ? 0 : -EACCES;
	return size == 8 ? 0 : -EACCES;
}

#define FIELDS(f) .fields = f, .nr_fields = ARRAY_SIZE(f)
#define ANY_RET   .ret_min = 1, .ret_max = 0
#define BOOL_RET  .ret_min = 0, .ret_max = 1

/* Type 0 is no program type of bpf(2)'s: seccomp's filters. */
static const struct bpf_type_rules rules[] = {
	[BPF_PROG_TYPE_UNSPEC] = { "seccomp", sizeof(struct seccomp_data), ANY_RET, .plain = seccomp_access },
	[BPF_PROG_TYPE_SOCKET_FILTER] = { "socket_filter", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET,
					  .ld_abs = true },
	[BPF_PROG_TYPE_KPROBE] = { "kprobe", 168, ANY_RET, .plain = registers_access },
	[BPF_PROG_TYPE_SCHED_CLS] = { "sched_cls", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET, true, true,
				      true },
	[BPF_PROG_TYPE_SCHED_ACT] = { "sched_act", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET, true, true,
				      true },
	[BPF_PROG_TYPE_TRACEPOINT] = { "tracepoint", 8192, ANY_RET, .plain = trace_access },
	[BPF_PROG_TYPE_XDP] = { "xdp", sizeof(struct xdp_md), FIELDS(xdp_fields), ANY_RET, true, true },
	[BPF_PROG_TYPE_PERF_EVENT] = { "perf_event", sizeof(struct bpf_perf_event_data), ANY_RET,
				       .plain = perf_access },
	[BPF_PROG_TYPE_CGROUP_SKB] = { "cgroup_skb", sizeof(struct __sk_buff), FIELDS(skb_fields), BOOL_RET, true,
				       false, true },
	[BPF_PROG_TYPE_CGROUP_SOCK] = { "cgroup_sock", sizeof(struct bpf_sock), FIELDS(sock_fields), BOOL_RET },
	[BPF_PROG_TYPE_LWT_IN] = { "lwt_in", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET, true },
	[BPF_PROG_TYPE_LWT_OUT] = { "lwt_out", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET, true },
	[BPF_PROG_TYPE_LWT_XMIT] = { "lwt_xmit", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET, true, true },
	[BPF_PROG_TYPE_SOCK_OPS] = { "sock_ops", sizeof(struct bpf_sock_ops), FIELDS(sock_ops_fields), BOOL_RET },
	[BPF_PROG_TYPE_SK_SKB] = { "sk_skb", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET, true, true },
	[BPF_PROG_TYPE_CGROUP_DEVICE] = { "cgroup_device", sizeof(struct bpf_cgroup_dev_ctx), FIELDS(device_fields),
					  BOOL_RET },
	[BPF_PROG_TYPE_SK_MSG] = { "sk_msg", sizeof(struct sk_msg_md), FIELDS(sk_msg_fields), ANY_RET, true, true },
	[BPF_PROG_TYPE_RAW_TRACEPOINT] = { "raw_tracepoint", 96, ANY_RET, .plain = raw_trace_access },
	[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = { "cgroup_sock_addr", sizeof(struct bpf_sock_addr), FIELDS(sock_addr_fields),
					     BOOL_RET },
	[BPF_PROG_TYPE_LWT_SEG6LOCAL] = { "lwt_seg6local", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET,
					  true },
	[BPF_PROG_TYPE_SK_REUSEPORT] = { "sk_reuseport", sizeof(struct sk_reuseport_md), FIELDS(sk_reuseport_fields),
					 ANY_RET, true },
	[BPF_PROG_TYPE_FLOW_DISSECTOR] = { "flow_dissector", sizeof(struct __sk_buff), FIELDS(skb_fields), ANY_RET,
					   true },
	[BPF_PROG_TYPE_CGROUP_SYSCTL] = { "cgroup_sysctl", sizeof(struct bpf_sysctl), FIELDS(sysctl_fields), BOOL_RET },
	[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = { "raw_tracepoint_writable", 96, ANY_RET, .plain = raw_trace_access },
	[BPF_PROG_TYPE_CGROUP_SOCKOPT] = { "cgroup_sockopt", sizeof(struct bpf_sockopt), FIELDS(sockopt_fields),
					   BOOL_RET, true, true },
	[BPF_PROG_TYPE_SK_LOOKUP] = { "sk_lookup", sizeof(struct bpf_sk_lookup), FIELDS(sk_lookup_fields), BOOL_RET },
};

const struct bpf_type_rules *bpf_type_rules(u32 type)
{
	return type < ARRAY_SIZE(rules) && rules[type].name ? &rules[type] : NULL;
}

const char *bpf_context_name(u32 type)
{
	static const char *const names[] = {
		[BPF_PROG_TYPE_XDP] = "xdp_md",
		[BPF_PROG_TYPE_PERF_EVENT] = "bpf_perf_event_data",
		[BPF_PROG_TYPE_CGROUP_SOCK] = "bpf_sock",
		[BPF_PROG_TYPE_SOCK_OPS] = "bpf_sock_ops",
		[BPF_PROG_TYPE_CGROUP_DEVICE] = "bpf_cgroup_dev_ctx",
		[BPF_PROG_TYPE_SK_MSG] = "sk_msg_md",
		[BPF_PROG_TYPE_RAW_TRACEPOINT] = "bpf_raw_tracepoint_args",
		[BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE] = "bpf_raw_tracepoint_args",
		[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] = "bpf_sock_addr",
		[BPF_PROG_TYPE_SK_REUSEPORT] = "sk_reuseport_md",
		[BPF_PROG_TYPE_CGROUP_SYSCTL] = "bpf_sysctl",
		[BPF_PROG_TYPE_CGROUP_SOCKOPT] = "bpf_sockopt",
		[BPF_PROG_TYPE_SK_LOOKUP] = "bpf_sk_lookup",
	};
	const struct bpf_type_rules *r = bpf_type_rules(type);

	if (r && r->fields == skb_fields)
		return "__sk_buff";
	return type < ARRAY_SIZE(names) ? names[type] : NULL;
}

const char *bpf_prog_type_name(u32 type)
{
	return bpf_type_rules(type) ? rules[type].name : NULL;
}

void bpf_return_range(const struct venv *env, s64 *lo, s64 *hi)
{
	u32 attach = env->load->attach_type;

	*lo = env->rules->ret_min;
	*hi = env->rules->ret_max;
	switch (env->load->type) {
	case BPF_PROG_TYPE_CGROUP_SKB:
		if (attach == BPF_CGROUP_INET_EGRESS)
			*hi = 3; /* bit 1: congestion notification */
		break;
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
		if (attach == BPF_CGROUP_INET4_BIND || attach == BPF_CGROUP_INET6_BIND)
			*hi = 3; /* bit 1: no check of the privileged port */
		if (attach == BPF_CGROUP_UDP4_RECVMSG || attach == BPF_CGROUP_UDP6_RECVMSG ||
		    (attach >= BPF_CGROUP_INET4_GETPEERNAME && attach <= BPF_CGROUP_INET6_GETSOCKNAME))
			*lo = 1; /* these may only look */
	}
}

static bool size_fits(const struct bpf_ctx_field *f, s32 off, u32 size, enum vaccess a)
{
	if (off < f->off || off >= f->off + f->bytes)
		return false;
	if (!f->max)
		return off == f->off && size == f->bytes;
	if (a == A_WRITE && size < 4 && f->max != 8)
		return false;
	if ((f->narrow == NARROW_START && off != f->off) || (f->narrow == NARROW_WORDS && size != 4))
		return false;
	return size <= f->max && off + size <= (u32)f->off + f->bytes;
}

static const struct bpf_ctx_field *find_field(const struct venv *env, s32 off, u32 size, enum vaccess a)
{
	u64 type = 1ULL << env->load->type, attach = 1ULL << env->load->attach_type;

	for (u32 i = 0; i < env->rules->nr_fields; i++) {
		const struct bpf_ctx_field *f = &env->rules->fields[i];

		if (!((a == A_WRITE ? f->writers : f->readers) & type) || (f->attach && !(f->attach & attach)))
			continue;
		if (size_fits(f, off, size, a))
			return f;
	}
	return NULL;
}

static void convert(struct venv *env, s32 off, u8 size)
{
	env->aux[env->insn].new_off = (s16)off;
	env->aux[env->insn].new_size = size;
}

int bpf_ctx_access(struct venv *env, s32 off, u32 size, enum vaccess a, struct vreg *out)
{
	const struct bpf_ctx_field *f;
	u8 code = BPF_SIZE(env->insns[env->insn].code);

	if (env->load->type == BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE && off == 0 && size == 8 && a == A_READ) {
		vreg_set_pointer(out, V_TP_BUFFER);
		return 0;
	}
	if (env->rules->plain) {
		env->max_ctx_off = max(env->max_ctx_off, (u32)off + size);
		return env->rules->plain(env, off, size, a);
	}
	if (off < 0 || off + size > env->rules->ctx_bytes || off % (s32)size)
		return -EACCES;
	f = find_field(env, off, size, a);
	if (!f)
		return -EACCES;
	if (env->load->type == BPF_PROG_TYPE_CGROUP_SKB && !env->bpf_capable &&
	    (f->kind != V_SCALAR ? f->kind != V_SOCK_COMMON
				 : a == A_WRITE && f->off == offsetof(struct __sk_buff, tstamp)))
		return -EACCES;
	if (f->kind != V_SCALAR) {
		vreg_set_pointer(out, f->kind);
		out->null_ok = f->null_ok;
		if (out->null_ok)
			out->id = ++env->ids;
		code = BPF_DW;
	}
	env->ctx_written |= a == A_WRITE;
	env->ctx_fields |= 1ULL << (f - env->rules->fields);
	convert(env, f->real_off + off - f->off, code);
	return 0;
}

int bpf_sock_access(struct venv *env, u8 kind, s32 off, u32 size)
{
	u32 limit = kind == V_TCP_SOCK   ? sizeof(struct bpf_tcp_sock)
		    : kind == V_XDP_SOCK ? sizeof(struct bpf_xdp_sock)
					 : sizeof(struct bpf_sock);

	if (off < 0 || off + size > limit || off % (s32)size)
		return -EACCES;
	if (kind == V_XDP_SOCK)
		return size == 4 ? 0 : -EACCES;
	if (kind == V_TCP_SOCK) {
		bool wide = off == offsetof(struct bpf_tcp_sock, bytes_received) ||
			    off == offsetof(struct bpf_tcp_sock, bytes_acked);

		return size == (wide ? 8 : 4) ? 0 : -EACCES;
	}
	for (u32 i = 0; i < ARRAY_SIZE(sock_fields); i++) {
		const struct bpf_ctx_field *f = &sock_fields[i];
		bool full_only =
			f->off == offsetof(struct bpf_sock, type) || f->off == offsetof(struct bpf_sock, protocol) ||
			f->off == offsetof(struct bpf_sock, mark) || f->off == offsetof(struct bpf_sock, priority);

		if (size_fits(f, off, size, A_READ) && !(kind == V_SOCK_COMMON && full_only))
			return 0;
	}
	return -EACCES;
}
