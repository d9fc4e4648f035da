/* SPDX-License-Identifier: MIT
 *
 * Problem: every network namespace talks to itself, and container runtimes make pairs of devices that join two of them.
 *
 * Idea: a device whose transmit is another's receive, by the CPU's backlog, so that a reply never runs inside the send
 * that caused it. Loopback is its own peer; a veth has one of its own kind, and both vanish together.
 *
 * Contract: net/device.h; veth(4). Checksums stay undone on the way: nothing leaves the machine.
 *
 * Locks: net_config_lock for making and removing; RCU for the peer.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <net/device.h>
#include <net/net.h>

#include "net_priv.h"

#define LOOPBACK_MTU 65536
#define PAIR_MTU     1500
#define PAIR_MOST    65535

struct pair_end {
	struct net_device dev;
	struct pair_end *peer; /* RCU; NULL: gone */
};

static void loopback_transmit(struct net_device *d, struct packet *p)
{
	p->sum_ok = true;
	net_device_receive_later(d, p);
}

static void release(struct net_device *d)
{
	kfree(container_of(d, struct pair_end, dev));
}

static const struct net_device_ops loopback_ops = { .transmit = loopback_transmit, .release = release };

int net_loopback_add(struct net *n)
{
	struct pair_end *e = kzalloc(sizeof(*e), ALLOC_CHARGED);
	int err;

	if (!e)
		return -ENOMEM;
	e->dev = (struct net_device){ .ops = &loopback_ops,
				      .name = "lo",
				      .type = ARPHRD_LOOPBACK,
				      .mtu = LOOPBACK_MTU,
				      .most_mtu = 0x7fffffff,
				      .queue_length = 1000,
				      .sums_later = true,
				      .flags = IFF_LOOPBACK };
	mutex_lock(&net_config_lock);
	err = net_device_register(&e->dev, n);
	mutex_unlock(&net_config_lock);
	if (err) {
		kfree(e);
		return err;
	}
	n->loopback = &e->dev;
	return 0;
}

/* ---- pairs ------------------------------------------------------------------------------------------------------ */

static void pair_transmit(struct net_device *d, struct packet *p)
{
	struct pair_end *peer = rcu_deref(container_of(d, struct pair_end, dev)->peer);

	if (!peer || !net_device_is_up(&peer->dev)) {
		net_count_drop(&d->out);
		packet_free(p);
		return;
	}
	p->sum_ok = p->sum_ok || p->sum_later;
	net_device_receive_later(&peer->dev, p);
}

/* Both have a carrier while both are up. */
static void tell_carrier(struct pair_end *e)
{
	struct pair_end *peer = e->peer;
	u32 running = peer && net_device_is_up(&e->dev) && net_device_is_up(&peer->dev) ? IFF_RUNNING : 0;

	e->dev.flags = (e->dev.flags & ~(u32)IFF_RUNNING) | running;
	if (peer)
		peer->dev.flags = (peer->dev.flags & ~(u32)IFF_RUNNING) | running;
}

static int pair_start(struct net_device *d)
{
	tell_carrier(container_of(d, struct pair_end, dev));
	return 0;
}

static void pair_stop(struct net_device *d)
{
	tell_carrier(container_of(d, struct pair_end, dev));
}

static void pair_removed(struct net_device *d)
{
	struct pair_end *e = container_of(d, struct pair_end, dev), *peer = e->peer;

	rcu_assign(e->peer, NULL);
	if (!peer)
		return;
	rcu_assign(peer->peer, NULL);
	net_device_unregister(&peer->dev);
}

static const struct net_device_ops pair_ops = { .kind = "veth",
						.start = pair_start,
						.stop = pair_stop,
						.transmit = pair_transmit,
						.removed = pair_removed,
						.release = release };

static struct pair_end *new_end(const char *name)
{
	struct pair_end *e = kzalloc(sizeof(*e), ALLOC_CHARGED);
	u64 address = random_u64();

	if (!e)
		return NULL;
	e->dev = (struct net_device){ .ops = &pair_ops,
				      .type = ARPHRD_ETHER,
				      .mtu = PAIR_MTU,
				      .least_mtu = 68,
				      .most_mtu = PAIR_MOST,
				      .queue_length = 1000,
				      .sums_later = true,
				      .flags = IFF_BROADCAST | IFF_MULTICAST };
	str_copy(e->dev.name, name && *name ? name : "veth%d", sizeof(e->dev.name));
	memcpy(e->dev.address, &address, ETHERNET_ADDRESS);
	e->dev.address[0] = (e->dev.address[0] & 0xfe) | 2; /* one station's, given out locally */
	memset(e->dev.broadcast, 0xff, ETHERNET_ADDRESS);
	return e;
}

static int create_pair(struct net *n, const struct net_link_wish *w)
{
	struct pair_end *a = new_end(w->name), *b = new_end(w->peer_name);
	int err = a && b ? net_device_register(&b->dev, w->peer_net) : -ENOMEM;

	if (err) {
		kfree(a);
		kfree(b);
		return err;
	}
	err = net_device_register(&a->dev, n);
	if (err) {
		net_device_unregister(&b->dev);
		kfree(a);
		return err;
	}
	a->dev.peer_ifindex = b->dev.ifindex;
	b->dev.peer_ifindex = a->dev.ifindex;
	rcu_assign(a->peer, b);
	rcu_assign(b->peer, a);
	return 0;
}

static struct net_kind veth = { .name = "veth", .create = create_pair };

static void veth_register(void)
{
	net_kind_register(&veth);
}
PART_INIT(core, veth_register);
