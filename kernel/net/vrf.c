/* SPDX-License-Identifier: MIT
 *
 * Problem: some programs of a machine shall use other networks than the rest (management and customers, two providers),
 * with routes and addresses of their own, without a namespace for each.
 *
 * Idea: a VRF is a device that stands for a table of routes. Other devices become its members (net_device.master): what
 * comes in there, and what those send who are bound to the VRF or to a member, is routed by its table, and only they
 * hear it. The VRF itself is the loopback of its members: what is sent to an address of theirs comes back by it.
 *
 * Contract: net/device.h; ip-vrf(8), ip-link(8). The look-up is inet/route.c's, who hears what packet_reaches'
 * (net/packet.h). Answers go where the question came from (packet->vrf).
 *
 * Locks: net_config_lock; RCU for master.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <net/device.h>
#include <net/net.h>

#define LEAST_MTU 1280
#define MOST_MTU  65575 /* a jumbo packet of IPv6 without its extension header */

static void transmit(struct net_device *d, struct packet *p)
{
	p->sum_ok = p->sum_ok || p->sum_later;
	net_device_receive_later(d, p);
}

static void removed(struct net_device *d)
{
	struct net_device *member;

	list_for_each_entry (member, &d->net->devices, link)
		if (member->master == d)
			(void)!net_device_set_master(member, NULL);
}

static int start(struct net_device *d)
{
	d->flags |= IFF_RUNNING;
	return 0;
}

static void release(struct net_device *d)
{
	kfree(d);
}

static const struct net_device_ops ops = {
	.kind = "vrf", .start = start, .transmit = transmit, .removed = removed, .release = release
};

static int create(struct net *n, const struct net_link_wish *w)
{
	struct net_device *d;
	u64 address = random_u64();
	int err;

	if (!w->table)
		return fail(EINVAL, "a VRF needs a table");
	d = kzalloc(sizeof(*d), ALLOC_KERNEL);
	if (!d)
		return -ENOMEM;
	*d = (struct net_device){ .ops = &ops,
				  .type = ARPHRD_ETHER,
				  .mtu = MOST_MTU,
				  .least_mtu = LEAST_MTU,
				  .most_mtu = MOST_MTU,
				  .queue_length = 1000,
				  .sums_later = true,
				  .vrf_table = w->table,
				  .flags = IFF_NOARP | IFF_MASTER };
	str_copy(d->name, w->name && *w->name ? w->name : "vrf%d", sizeof(d->name));
	memcpy(d->address, &address, ETHERNET_ADDRESS);
	d->address[0] = (d->address[0] & 0xfe) | 2; /* one station's, given out locally */
	memset(d->broadcast, 0xff, ETHERNET_ADDRESS);
	err = net_device_register(d, n);
	if (err)
		kfree(d);
	else
		n->has_vrf = true;
	return err;
}

static struct net_kind kind = { .name = "vrf", .create = create };

static void vrf_register(void)
{
	net_kind_register(&kind);
}
PART_INIT(core, vrf_register);
