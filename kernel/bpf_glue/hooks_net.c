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
#include <bpf/cgroup.h>
#include <bpf/ctx.h>
#include <core/rcu.h>
#include <lib/err.h>
#include <lib/string.h>
#include <net/hooks.h>
#include <net/packet.h>
#include <net/socket.h>
#include <task/tenant.h>

#include "attach_priv.h"

/* Of a tenant that was removed the nearest ancestor that was not. RCU. */
static const struct bpf_cgroup_node *node_of(const struct tenant *t)
{
	const struct bpf_cgroup_node *n = NULL;

	for (; t && !n; t = t->parent)
		n = rcu_deref(t->bpf);
	return n;
}

static u16 net16(u16 v)
{
	return __builtin_bswap16(v);
}

static void fill_socket(struct bpf_sock *k, const struct socket *s)
{
	*k = (struct bpf_sock){ .bound_dev_if = s->bound_ifindex,
				.family = s->family,
				.type = s->type,
				.protocol = s->protocol,
				.mark = s->mark,
				.priority = s->priority,
				.rx_queue_mapping = -1 };
}

static void fill_packet(struct bpf_skb_ctx *c, const struct packet *p, struct bpf_sock *k, bool in)
{
	*c = (struct bpf_skb_ctx){ .data = p->data,
				   .data_end = p->tail,
				   .data_meta = p->data,
				   .mac = p->data,
				   .net = p->data,
				   .room = p->data,
				   .tail = p->tail,
				   .sk = k,
				   .tstamp = p->stamp_ns,
				   .len = (u32)packet_len(p),
				   .mark = p->mark,
				   .priority = p->priority,
				   .protocol = net16(p->protocol),
				   .ifindex = p->ifindex,
				   .ingress_ifindex = in ? p->ifindex : 0,
				   .family = k->family,
				   .kernel_skb = (void *)p };
}

static int run_packet(struct socket *s, struct packet *p, u32 attach_type)
{
	bool in = attach_type == BPF_CGROUP_INET_INGRESS, allow = true;
	const struct bpf_cgroup_node *n;
	struct bpf_skb_ctx c;
	struct bpf_sock k;
	u32 hook = (u32)bpf_cgroup_hook(attach_type);

	rcu_read_lock();
	n = node_of(s->tenant);
	if (n && n->effective[hook]) {
		fill_socket(&k, s);
		fill_packet(&c, p, &k, in);
		allow = bpf_cgroup_run(n, hook, &c, NULL);
		p->mark = c.mark;
		p->priority = c.priority;
	}
	rcu_read_unlock();
	return allow ? 0 : -EPERM;
}

static int ingress(struct socket *s, struct packet *p)
{
	return run_packet(s, p, BPF_CGROUP_INET_INGRESS);
}

static int egress(struct socket *s, struct packet *p)
{
	return run_packet(s, p, BPF_CGROUP_INET_EGRESS);
}

static int create(struct socket *s)
{
	const struct bpf_cgroup_node *n;
	struct bpf_sock k;
	bool allow = true;

	rcu_read_lock();
	n = node_of(s->tenant);
	if (n) {
		fill_socket(&k, s);
		allow = bpf_cgroup_run(n, (u32)bpf_cgroup_hook(BPF_CGROUP_INET_SOCK_CREATE), &k, NULL);
		s->bound_ifindex = k.bound_dev_if;
		s->mark = k.mark;
		s->priority = k.priority;
	}
	rcu_read_unlock();
	return allow ? 0 : -EPERM;
}

static const struct net_hooks hooks = { .ingress = ingress, .egress = egress, .create = create };

struct static_key *bpf_hook_key(u32 hook)
{
	static const struct {
		u32 attach_type;
		struct static_key *key;
	} keys[] = {
		{ BPF_CGROUP_INET_INGRESS, &net_hook_ingress_key },
		{ BPF_CGROUP_INET_EGRESS, &net_hook_egress_key },
		{ BPF_CGROUP_INET_SOCK_CREATE, &net_hook_create_key },
	};

	for (u32 i = 0; i < ARRAY_SIZE(keys); i++)
		if ((u32)bpf_cgroup_hook(keys[i].attach_type) == hook)
			return keys[i].key;
	return NULL;
}

void bpf_hooks_init(void)
{
	net_hooks = &hooks;
}
