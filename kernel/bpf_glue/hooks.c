/* SPDX-License-Identifier: MIT
 *
 * Problem: each attach type of a cgroup belongs to a branch somewhere in the kernel.
 *
 * Idea: one table of branches. The hook of devices is here
 * too: a cgroup's programs decide which device nodes its tasks may open or make.
 *
 * Contract: attach_priv.h; vfs/hooks.h.
 *
 * Locks: RCU.
 */
#include <bpf/cgroup.h>
#include <core/attr.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <net/hooks.h>
#include <net/tcp.h>
#include <task/task.h>
#include <task/tenant.h>
#include <vfs/device.h>
#include <vfs/hooks.h>

#include "attach_priv.h"

const struct bpf_cgroup_node *bpf_node_of(const struct tenant *t)
{
	const struct bpf_cgroup_node *n = NULL;

	for (; t && !n; t = t->parent)
		n = rcu_deref(t->bpf);
	return n;
}

int bpf_run_hook(const struct tenant *t, u32 attach_type, const void *ctx, s32 *retval, u32 *flags)
{
	const struct bpf_cgroup_node *n;
	int r = retval ? *retval : 0;

	rcu_read_lock();
	n = bpf_node_of(t);
	if (n)
		r = bpf_cgroup_run(n, (u32)bpf_cgroup_hook(attach_type), ctx, retval, flags);
	rcu_read_unlock();
	return r;
}

static int device(u32 dev, bool block, unsigned access)
{
	struct bpf_cgroup_dev_ctx c = { .access_type =
						access << 16 | (block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
					.major = DEV_MAJOR(dev),
					.minor = DEV_MINOR(dev) };

	return bpf_run_hook(current->tenant, BPF_CGROUP_DEVICE, &c, NULL, NULL);
}

struct static_key *bpf_hook_key(u32 hook)
{
	static const struct {
		u32 attach_type;
		struct static_key *key;
	} keys[] = {
		{ BPF_CGROUP_INET_INGRESS, &net_hook_ingress_key },
		{ BPF_CGROUP_INET_EGRESS, &net_hook_egress_key },
		{ BPF_CGROUP_INET_SOCK_CREATE, &net_hook_create_key },
		{ BPF_CGROUP_INET_SOCK_RELEASE, &net_hook_end_key },
		{ BPF_CGROUP_DEVICE, &vfs_hook_device_key },
		{ BPF_CGROUP_SOCK_OPS, &tcp_program_key },
		{ BPF_CGROUP_SYSCTL, &attr_sysctl_key },
		{ BPF_CGROUP_INET4_BIND, &net_hook_address_keys[NET_BIND] },
		{ BPF_CGROUP_INET6_BIND, &net_hook_address_keys[NET_BIND] },
		{ BPF_CGROUP_INET4_CONNECT, &net_hook_address_keys[NET_CONNECT] },
		{ BPF_CGROUP_INET6_CONNECT, &net_hook_address_keys[NET_CONNECT] },
		{ BPF_CGROUP_UDP4_SENDMSG, &net_hook_address_keys[NET_SENDMSG] },
		{ BPF_CGROUP_UDP6_SENDMSG, &net_hook_address_keys[NET_SENDMSG] },
		{ BPF_CGROUP_UDP4_RECVMSG, &net_hook_address_keys[NET_RECVMSG] },
		{ BPF_CGROUP_UDP6_RECVMSG, &net_hook_address_keys[NET_RECVMSG] },
		{ BPF_CGROUP_INET4_GETPEERNAME, &net_hook_address_keys[NET_PEERNAME] },
		{ BPF_CGROUP_INET6_GETPEERNAME, &net_hook_address_keys[NET_PEERNAME] },
		{ BPF_CGROUP_INET4_GETSOCKNAME, &net_hook_address_keys[NET_SOCKNAME] },
		{ BPF_CGROUP_INET6_GETSOCKNAME, &net_hook_address_keys[NET_SOCKNAME] },
		{ BPF_CGROUP_INET4_POST_BIND, &net_hook_bound_key },
		{ BPF_CGROUP_INET6_POST_BIND, &net_hook_bound_key },
		{ BPF_CGROUP_SETSOCKOPT, &net_hook_set_option_key },
		{ BPF_CGROUP_GETSOCKOPT, &net_hook_get_option_key },
	};

	for (u32 i = 0; i < ARRAY_SIZE(keys); i++)
		if ((u32)bpf_cgroup_hook(keys[i].attach_type) == hook)
			return keys[i].key;
	return NULL;
}

void bpf_hooks_init(void)
{
	vfs_hook_device = device;
	bpf_hooks_net_init();
	bpf_hooks_sysctl_init();
	bpf_hooks_tcp_init();
	bpf_helpers_net_init();
	bpf_helpers_lookup_init();
}
