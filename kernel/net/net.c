/* SPDX-License-Identifier: MIT
 *
 * Problem: addresses, ports and devices belong to a network namespace, and several parts keep tables for each.
 *
 * Idea: struct net is passed everywhere from the first socket on, which counts it; parts that have tables for it are
 * told when one begins and ends. The one made at boot is never freed. The hooks of the tenant tree's programs and the
 * list of /proc/net's files live here too, since every family uses them.
 *
 * Contract: net/net.h, net/hooks.h.
 *
 * Locks: none: users and files register at boot only.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/sched.h>
#include <net/device.h>
#include <net/hooks.h>
#include <net/net.h>

#include "net_priv.h"

struct net net_init_ns = { .devices = LIST_INIT(net_init_ns.devices) };
static LIST(users);
static LIST(files);

struct net *net_of_current(void)
{
	return container_of(ns_current(NS_NET), struct net, ns);
}

void net_user_register(struct net_user *u)
{
	if (!u->start(&net_init_ns))
		list_add_tail(&u->link, &users);
}

static void stop_users(struct net *n, struct list *from)
{
	for (struct list *l = from; l != &users; l = l->prev)
		list_entry(l, struct net_user, link)->stop(n);
}

static int copy_net(struct ns *old, struct user_ns *owner, struct task *t, struct ns **out)
{
	struct net *n = kzalloc(sizeof(*n), ALLOC_CHARGED);
	struct net_user *u;
	int err = n ? 0 : -ENOMEM;

	if (err)
		return err;
	list_init(&n->devices);
	list_for_each_entry (u, &users, link) {
		err = u->start(n);
		if (err) {
			stop_users(n, u->link.prev);
			kfree(n);
			return err;
		}
	}
	err = net_loopback_add(n);
	if (err) {
		stop_users(n, users.prev);
		kfree(n);
		return err;
	}
	ns_init(&n->ns, NS_NET, owner);
	*out = &n->ns;
	return 0;
}

static void free_net(struct ns *ns)
{
	struct net *n = container_of(ns, struct net, ns);

	net_devices_remove(n);
	stop_users(n, users.prev);
	kfree(n);
}

static const struct ns_kind_ops ns_ops = {
	.name = "net", .flag = CLONE_NEWNET, .first = &net_init_ns.ns, .copy = copy_net, .free = free_net
};

void net_file_register(struct net_file *f)
{
	list_add_tail(&f->link, &files);
}

struct net_file *net_file_find(const char *name)
{
	struct net_file *f;

	list_for_each_entry (f, &files, link)
		if (!strcmp(f->name, name))
			return f;
	return NULL;
}

struct net_file *net_file_at(unsigned n)
{
	struct net_file *f;

	list_for_each_entry (f, &files, link)
		if (!n--)
			return f;
	return NULL;
}

static void net_ns_register(void)
{
	ns_kind_register(NS_NET, &ns_ops);
}
PART_INIT(core, net_ns_register);

/* The first namespace's loopback is up from the beginning, whoever process 1 is. */
static void net_first_loopback(void)
{
	if (net_loopback_add(&net_init_ns))
		return;
	mutex_lock(&net_config_lock);
	(void)!net_device_set_flags(net_init_ns.loopback, 1, 1);
	mutex_unlock(&net_config_lock);
}
PART_INIT(fs, net_first_loopback);

DEFINE_STATIC_KEY(net_hook_ingress_key);
DEFINE_STATIC_KEY(net_hook_egress_key);
DEFINE_STATIC_KEY(net_hook_create_key);
DEFINE_STATIC_KEY(net_hook_end_key);
struct static_key net_hook_address_keys[NET_ADDRESS_HOOKS];
DEFINE_STATIC_KEY(net_hook_bound_key);
DEFINE_STATIC_KEY(net_hook_set_option_key);
DEFINE_STATIC_KEY(net_hook_get_option_key);
const struct net_hooks *net_hooks;
