/* SPDX-License-Identifier: MIT
 *
 * Problem: clients write one program for each kind of hook of a cgroup.
 *
 * Idea: fourteen programs that do the same: each allows, and counts in storage of the cgroup that all share.
 *
 * Contract: compiled by clang, loaded through libbpf (bpftool), attached one by one: tests/vm/bpf.sh.
 *
 * Locks: none; the count is added to atomically.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, __u64);
} uses SEC(".maps");

#define HOOK(section, name, context)                                                                                   \
	SEC(section) int name(context *c)                                                                              \
	{                                                                                                              \
		__sync_fetch_and_add((__u64 *)bpf_get_local_storage(&uses, 0), 1);                                     \
		return 1;                                                                                              \
	}

HOOK("cgroup_skb/ingress", ingress, struct __sk_buff)
HOOK("cgroup_skb/egress", egress, struct __sk_buff)
HOOK("cgroup/sock_create", sock_create, struct bpf_sock)
HOOK("cgroup/sock_release", sock_release, struct bpf_sock)
HOOK("cgroup/post_bind4", post_bind4, struct bpf_sock)
HOOK("cgroup/bind4", bind4, struct bpf_sock_addr)
HOOK("cgroup/connect4", connect4, struct bpf_sock_addr)
HOOK("cgroup/sendmsg4", sendmsg4, struct bpf_sock_addr)
HOOK("cgroup/getsockname4", getsockname4, struct bpf_sock_addr)
HOOK("cgroup/setsockopt", setsockopt, struct bpf_sockopt)
HOOK("cgroup/getsockopt", getsockopt, struct bpf_sockopt)
HOOK("sockops", sock_ops, struct bpf_sock_ops)
HOOK("cgroup/dev", device, struct bpf_cgroup_dev_ctx)
HOOK("cgroup/sysctl", sysctl, struct bpf_sysctl)

char LICENSE[] SEC("license") = "Dual MIT/GPL";
