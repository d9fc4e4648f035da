/* SPDX-License-Identifier: MIT
 *
 * Network devices: what sends and receives frames. A driver fills in a net_device and registers it; protocols register
 * for EtherTypes; taps see every frame. Frames begin with an Ethernet header (loopback's too, with zero addresses).
 * Source of flags and types: linux/if.h, linux/if_arp.h, linux/if_ether.h (IEEE 802.3).
 *
 * Threading: net_config_lock (a mutex) serialises changes of devices, addresses and routes. Receiving and sending run
 * in any context under RCU, which is what keeps a device and its configuration alive meanwhile. Ownership: the driver's
 * until release, which is called when no reader is left.
 */
#ifndef NET_DEVICE_H
#define NET_DEVICE_H

#include <core/rcu.h>
#include <lib/list.h>
#include <net/packet.h>
#include <task/mutex.h>

#define NET_NAME_MAX     16 /* IFNAMSIZ */
#define ETHERNET_ADDRESS 6
#define ETHERNET_HEADER  14

struct net;
struct net_device;

struct net_device_ops {
	const char *kind;                   /* of IFLA_INFO_KIND; NULL: none */
	int (*start)(struct net_device *d); /* it goes up; optional */
	void (*stop)(struct net_device *d);
	void (*transmit)(struct net_device *d, struct packet *p); /* data at the link header; consumes p */
	void (*removed)(struct net_device *d); /* out of the tables, net_config_lock held; optional */
	void (*release)(struct net_device *d);
};

struct net_counts { /* relaxed atomics */
	u64 packets, bytes, errors, dropped;
};

struct net_device {
	const struct net_device_ops *ops;
	void *priv;
	char name[NET_NAME_MAX]; /* a %d in it is replaced at registration */
	u16 type;                /* ARPHRD_* */
	u8 address[ETHERNET_ADDRESS], broadcast[ETHERNET_ADDRESS];
	u32 mtu, least_mtu, most_mtu, queue_length;
	bool sums_later; /* the driver does what packet->sum_later asks for */

	/* net_config_lock; read under RCU */
	struct list link;
	struct net *net;
	u32 ifindex, flags; /* IFF_*: IFF_UP by net_device_set_flags, IFF_RUNNING by the driver */
	u32 peer_ifindex;   /* of a pair; 0: none */
	u32 vrf_table;      /* it is a VRF: the routes that those bound to it and its devices use; 0: it is none */
	struct net_device *master; /* RCU: the VRF that it belongs to; NULL: none */
	bool gone;
	bool no_carrier; /* its driver says that the link is down */
	int promiscuous;
	struct net_counts in, out;
	struct rcu_head rcu;
};

extern struct mutex net_config_lock;

/* What an Ethernet card begins with: eth%d, an MTU of 1500. The driver may change it, and fills in the address. */
void net_device_init_card(struct net_device *d, const struct net_device_ops *ops, void *priv);
/* Before any frame moves. Errors: -EEXIST (name), -EINVAL, or of start. net_config_lock held by the caller. */
int __must_check net_device_register(struct net_device *d, struct net *n);
void net_device_unregister(struct net_device *d);
int __must_check net_device_move(struct net_device *d, struct net *to); /* goes down first */
int __must_check net_device_set_flags(struct net_device *d, u32 flags, u32 mask);
/* The driver's: whether its link is up. From the start it is. net_config_lock held. */
void net_device_set_carrier(struct net_device *d, bool on);
int __must_check net_device_set_mtu(struct net_device *d, u32 mtu);
int __must_check net_device_set_master(struct net_device *d, struct net_device *vrf); /* NULL: none; cycles it */
int __must_check net_device_rename(struct net_device *d, const char *name);
/* RCU or net_config_lock. NULL: none. */
struct net_device *net_device_find(struct net *n, u32 ifindex);
struct net_device *net_device_by_name(struct net *n, const char *name);
static inline bool net_device_is_up(const struct net_device *d)
{
	return READ_ONCE(d->flags) & 1; /* IFF_UP */
}

/* The VRF whose routes concern it: itself, its master, or NULL. RCU or net_config_lock. */
static inline struct net_device *net_device_vrf(struct net_device *d)
{
	return d->vrf_table ? d : rcu_deref(d->master);
}

/* A frame has arrived, data at its link header. `later`: by this CPU's backlog, from any context; else now, from a
 * deferred job. Consume p. */
void net_device_receive_later(struct net_device *d, struct packet *p);
void net_device_receive(struct net_device *d, struct packet *p);
/* data at the network header, p->protocol set; NULL: to nobody's address (loopback). Consume p. */
void net_device_send(struct net_device *d, struct packet *p, const u8 *to);
void net_device_send_frame(struct net_device *d, struct packet *p); /* with its link header */
void net_count(struct net_counts *c, size_t bytes);
static inline void net_count_drop(struct net_counts *c)
{
	__atomic_fetch_add(&c->dropped, 1, __ATOMIC_RELAXED);
}

struct net_protocol {
	u16 type;                        /* ETH_P_*, host order */
	void (*input)(struct packet *p); /* data behind the link header, p->dev set; under RCU; consumes p */
	struct list link;
};
void net_protocol_register(struct net_protocol *p); /* at init level core */

/* Sees frames in both directions with packet->kind set (PACKET_OUTGOING), data at the network header, link_header
 * set; copies what it keeps. */
struct net_tap {
	struct net *net;
	void (*frame)(struct net_tap *t, const struct packet *p);
	struct list link;
	bool on;
};
void net_tap_add(struct net_tap *t);
void net_tap_remove(struct net_tap *t); /* readers may still be inside: free it after a grace period */

enum net_event { NET_DEVICE_NEW, NET_DEVICE_GONE, NET_DEVICE_UP, NET_DEVICE_DOWN, NET_DEVICE_CHANGED };
struct net_watcher { /* called with net_config_lock held */
	void (*event)(struct net_device *d, enum net_event e);
	struct list link;
};
void net_watcher_register(struct net_watcher *w);

/* Kinds of devices that `ip link add` makes, and what it says of the new one. */
struct net_link_wish {
	const char *name, *peer_name; /* NULL: one is chosen */
	struct net *peer_net;
	u32 table; /* of a VRF; 0: not said */
};
struct net_kind {
	const char *name;
	int (*create)(struct net *n, const struct net_link_wish *w);
	struct list link;
};
void net_kind_register(struct net_kind *k);
struct net_kind *net_kind_find(const char *name);

#endif
