/* SPDX-License-Identifier: MIT
 *
 * Problem: addresses, ports and devices belong to a network namespace, and everything in net/ must be written as if
 * there were many, or it will have to be torn down.
 *
 * Idea: struct net is passed everywhere from the first socket on; the one made at boot is never freed. Packets and the
 * hooks of the tenant tree's programs live here too, since every family uses them.
 *
 * Contract: net/net.h, net/packet.h, net/hooks.h.
 *
 * Locks: none.
 */
#include <alloc/slab.h>
#include <net/hooks.h>
#include <net/net.h>
#include <net/packet.h>

struct net net_init_ns = { .refs = { ATOMIC_INIT(1) } };

DEFINE_STATIC_KEY(net_hook_ingress_key);
DEFINE_STATIC_KEY(net_hook_egress_key);
DEFINE_STATIC_KEY(net_hook_create_key);
struct static_key net_hook_address_keys[NET_ADDRESS_HOOKS];
DEFINE_STATIC_KEY(net_hook_bound_key);
DEFINE_STATIC_KEY(net_hook_set_option_key);
DEFINE_STATIC_KEY(net_hook_get_option_key);
const struct net_hooks *net_hooks;

struct packet *packet_alloc(size_t payload)
{
	size_t room = PACKET_HEADROOM + payload;
	struct packet *p = kmalloc(sizeof(*p) + room, ALLOC_KERNEL);

	if (!p)
		return NULL;
	*p = (struct packet){ .head = (u8 *)(p + 1) };
	list_init(&p->link);
	p->data = p->tail = p->head + PACKET_HEADROOM;
	p->end = p->head + room;
	return p;
}

void packet_free(struct packet *p)
{
	kfree(p);
}
