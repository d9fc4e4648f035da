/* SPDX-License-Identifier: MIT
 *
 * A tenant's traffic within a budget, by eBPF at its cgroup.
 *
 * The two programs, at ingress and at egress of a cgroup, count the packets and bytes that its sockets send and get, in
 * the map `traffic` (0 sent, 1 received), and refuse packets beyond the budget that the map `limit` holds.
 *
 * Compiled by clang, loaded by bpftool, attached to a cgroup. The counters are added to atomically: programs run on all
 * CPUs at once.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct traffic {
	__u64 packets, bytes, refused;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2); /* sent, received */
	__type(key, __u32);
	__type(value, struct traffic);
} traffic SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} limit SEC(".maps");

static __always_inline int account(struct __sk_buff *skb, __u32 which)
{
	__u32 first = 0;
	struct traffic *t = bpf_map_lookup_elem(&traffic, &which);
	__u64 *max = bpf_map_lookup_elem(&limit, &first);

	if (!t || !max)
		return 1;
	if (*max && t->packets >= *max) {
		__sync_fetch_and_add(&t->refused, 1);
		return 0;
	}
	__sync_fetch_and_add(&t->packets, 1);
	__sync_fetch_and_add(&t->bytes, skb->len);
	return 1;
}

SEC("cgroup_skb/egress") int sent(struct __sk_buff *skb)
{
	return account(skb, 0);
}

SEC("cgroup_skb/ingress") int received(struct __sk_buff *skb)
{
	return account(skb, 1);
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
