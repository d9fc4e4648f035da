/* SPDX-License-Identifier: MIT
 *
 * The contexts that programs run on, as the kernel fills them. A program sees the UAPI layout (struct __sk_buff,
 * struct bpf_sock ...); the verifier checks against that and bpf_fixup rewrites each access to these structures, one
 * instruction for one: every field is a plain little-endian integer at least as wide as its UAPI twin, so that a
 * narrow load is a load of its low bytes, and each pointer field is eight bytes. Where a context has a socket, `sk` is
 * its first member, so that a helper of sockets finds it whatever the program's type.
 *
 * Threading: one context belongs to one run. Lifetime: the packet bytes must outlive the run.
 */
#ifndef BPF_CTX_H
#define BPF_CTX_H

#include <linux/bpf.h>
#include <lib/types.h>

/* A socket as programs see it: the UAPI structure, then what helpers need. */
struct bpf_sock_view {
	struct bpf_sock user;
	void *socket;            /* the kernel's struct socket */
	void *connection;        /* its struct tcp; NULL: of another kind */
	struct bpf_tcp_sock tcp; /* filled when a program asks for it */
};

/* CGROUP_SOCK. */
struct bpf_sock_ctx {
	struct bpf_sock_view *sk; /* &view */
	struct bpf_sock_view view;
};

/* SOCKET_FILTER, SCHED_CLS, SCHED_ACT, CGROUP_SKB, LWT_*, SK_SKB, FLOW_DISSECTOR. */
struct bpf_skb_ctx {
	struct bpf_sock_view *sk; /* or NULL */
	u8 *data, *data_end;      /* linear packet bytes */
	u8 *data_meta;
	u8 *mac;  /* link header, or data */
	u8 *net;  /* network header */
	u8 *room; /* start of writable memory before data (headroom) */
	u8 *tail; /* end of the memory behind data_end */
	void *flow_keys;
	u64 tstamp, hwtstamp;
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	u32 priority, ingress_ifindex, ifindex, tc_index, cb[5], hash, tc_classid, napi_id;
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port;
	u32 wire_len, gso_segs, gso_size, tstamp_type;
	void *kernel_skb; /* the packet that this is a view of; helpers of the net part use it */
};

struct bpf_xdp_ctx {
	u8 *data, *data_end, *data_meta;
	u8 *room, *tail;
	u32 ingress_ifindex, rx_queue_index, egress_ifindex;
};

/* CGROUP_SOCK_ADDR: the UAPI fields, then what the hook hands over. */
struct bpf_sock_addr_ctx {
	struct bpf_sock_view *sk;
	struct bpf_sock_addr user;
};

struct bpf_sockopt_ctx {
	struct bpf_sock_view *sk;
	u8 *optval, *optval_end;
	s32 level, optname, optlen, retval;
};

struct bpf_sysctl_ctx {
	u32 write, file_pos;
	const char *name;
	char *value;
	u32 value_len;
	char *new_value;
	u32 new_len, new_size;
	bool new_set;
};

struct bpf_sock_ops_ctx {
	struct bpf_sock_view *sk; /* NULL: no full socket yet */
	struct bpf_sock_ops user;
	u8 *data, *data_end;
	void *tcp; /* the connection */
};

struct bpf_sk_msg_ctx {
	struct bpf_sock_view *sk;
	u8 *data, *data_end;
	u32 family, remote_ip4, local_ip4, remote_ip6[4], local_ip6[4], remote_port, local_port, size;
};

struct bpf_sk_reuseport_ctx {
	struct bpf_sock_view *sk;
	u8 *data, *data_end;
	u32 len, eth_protocol, ip_protocol, bind_inany, hash;
	void *migrating_sk;
};

struct bpf_sk_lookup_ctx {
	struct bpf_sock_view *sk;
	u32 family, protocol, remote_ip4, remote_ip6[4], remote_port, local_ip4, local_ip6[4], local_port;
	u32 ingress_ifindex;
};

#endif
