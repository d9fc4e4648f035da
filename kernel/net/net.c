/* SPDX-License-Identifier: MIT
 *
 * Problem: addresses, ports and devices belong to a network namespace, and everything in net/ must be written as if
 * there were many, or it will have to be torn down.
 *
 * Idea: struct net is passed everywhere from the first socket on, which counts it; the one made at boot is never freed.
 * The hooks of the tenant tree's programs live here too, since every family uses them.
 *
 * Contract: net/net.h, net/hooks.h.
 *
 * Locks: none.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <lib/err.h>
#include <linux/sched.h>
#include <net/hooks.h>
#include <net/net.h>

struct net net_init_ns;

struct net *net_of_current(void)
{
	return container_of(ns_current(NS_NET), struct net, ns);
}

static int copy_net(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct net *n = kzalloc(sizeof(*n), 0);

	if (!n)
		return -ENOMEM;
	ns_init(&n->ns, NS_NET, owner);
	*out = &n->ns;
	return 0;
}

static void free_net(struct ns *n)
{
	kfree(container_of(n, struct net, ns));
}

static const struct ns_kind_ops ns_ops = {
	.name = "net", .flag = CLONE_NEWNET, .first = &net_init_ns.ns, .copy = copy_net, .free = free_net
};

static void net_ns_register(void)
{
	ns_kind_register(NS_NET, &ns_ops);
}
PART_INIT(core, net_ns_register);

DEFINE_STATIC_KEY(net_hook_ingress_key);
DEFINE_STATIC_KEY(net_hook_egress_key);
DEFINE_STATIC_KEY(net_hook_create_key);
struct static_key net_hook_address_keys[NET_ADDRESS_HOOKS];
DEFINE_STATIC_KEY(net_hook_bound_key);
DEFINE_STATIC_KEY(net_hook_set_option_key);
DEFINE_STATIC_KEY(net_hook_get_option_key);
const struct net_hooks *net_hooks;
