/* SPDX-License-Identifier: MIT
 *
 * Addresses and routes of a network namespace, for those who configure and show them (ioctls, netlink, the command
 * line).
 *
 * Threading: changes with net_config_lock held; walks under it or RCU. Ownership: the tables own their entries.
 * Sources: numbers of linux/rtnetlink.h; an address is a struct ip_addr, prefix lengths are of its own family.
 */
#ifndef NET_INET_H
#define NET_INET_H

#include <core/rcu.h>
#include <lib/list.h>
#include <net/addr.h>

struct net;
struct net_device;
struct tcp_host;

struct inet_address {
	struct list link;
	struct net_device *dev;
	struct ip_addr addr, peer, broadcast; /* peer: the other end, or addr; broadcast: 0.0.0.0: none */
	u8 prefix, scope;
	u32 flags;                /* IFA_F_* */
	u32 valid_s, preferred_s; /* from made_ns on; ~0: for ever */
	u64 made_ns;
	char label[16];
	struct rcu_head rcu;
};

struct inet_route {
	struct list link;
	struct ip_addr prefix;
	u8 length;
	u8 type, protocol, scope; /* RTN_*, RTPROT_*, RT_SCOPE_* */
	u32 table, priority, mtu; /* mtu 0: the device's */
	u32 flags;                /* RTNH_F_ONLINK */
	bool has_gateway, has_source;
	struct ip_addr gateway, source;
	struct net_device *dev; /* NULL: of type unreachable and its kin */
	u64 expires_ns;         /* 0: never */
	struct rcu_head rcu;
};

struct list *inet_addresses(struct net *n);       /* of struct inet_address */
struct list *inet_routes(struct net *n, bool v6); /* of struct inet_route */
/* Errors as of netlink: -EEXIST, -EADDRNOTAVAIL, -EINVAL, -ESRCH, -ENETUNREACH. */
int __must_check inet_address_add(const struct inet_address *a);
int __must_check inet_address_remove(struct net_device *d, const struct ip_addr *addr, int prefix); /* -1: any */
/* replace: one with the same prefix, table and priority goes; append: both stay. */
int __must_check inet_route_add(struct net *n, const struct inet_route *r, bool replace, bool append);
int __must_check inet_route_remove(struct net *n, const struct inet_route *like, bool v6);
bool inet_prefix_match(const struct ip_addr *a, const struct ip_addr *prefix, u8 length, bool v6);
/* What a packet to `to` takes; copies. */
int __must_check inet_route_find(struct net *n, const struct ip_addr *to, u32 ifindex, struct inet_route *out,
				 struct ip_addr *source);

struct neighbour_view {
	struct ip_addr addr;
	struct net_device *dev;
	u8 mac[6];
	u16 state; /* NUD_* */
	u32 probes;
	u64 confirmed_ns, used_ns, updated_ns;
};
/* Calls fn for a copy of each; fn may sleep. */
void neighbours_show(struct net *n, int (*fn)(const struct neighbour_view *v, void *arg), void *arg);
int __must_check neighbour_set(struct net_device *d, const struct ip_addr *addr, const u8 *mac, u16 state);
int __must_check neighbour_forget(struct net_device *d, const struct ip_addr *addr);

enum inet_event { INET_ADDRESS_NEW, INET_ADDRESS_GONE, INET_ROUTE_NEW, INET_ROUTE_GONE };
extern void (*inet_event_hook)(struct net *n, enum inet_event e, const void *what); /* set once, by netlink */

/* One datagram or raw socket, for sock_diag and /proc/net. Copies. */
struct inet_socket_view {
	struct ip_addr local, remote;
	u16 local_port, remote_port; /* network order */
	int family, type, protocol;
	u8 state;
	u32 uid, receive_bytes, send_bytes, ifindex;
	u64 inode, drops;
	u32 timer, timer_ms, retransmits; /* of streams: timer 1 retransmission, 2 keepalive, 3 time-wait, 4 probe */
	u32 backlog;
	const void *cookie;
	const void *tcp; /* struct tcp, while fn runs; NULL: no stream */
};
/* Names of a socket, or of whom one stands for; under RCU. All 0 for other families. */
struct socket;
struct tcp;
struct inet_names {
	struct ip_addr local, remote;
	u16 local_port, remote_port; /* network order */
	u8 state;                    /* TS_* of net/tcp.h */
};
void inet_names_of(const struct socket *s, struct inet_names *out);
/* Whom a packet from remote to local would reach (IPPROTO_TCP or _UDP), without locks: under RCU, it may be ending.
 * NULL: nobody. tcp: its connection or listener. */
struct socket *inet_look_up(struct net *n, u8 protocol, const struct inet_names *names, u32 ifindex, u32 vrf,
			    struct tcp **tcp);
struct socket *inet_speaker(struct tcp *t); /* for whom a connection speaks */
/* Of a view's tcp, while fn runs. */
struct tcp_info;
void inet_tcp_info(const void *tcp, struct tcp_info *out);
const char *inet_tcp_algorithm(const void *tcp);
/* fn: 0 to go on. It runs with a spin lock held. */
void inet_sockets_show(struct net *n, int protocol, int (*fn)(const struct inet_socket_view *v, void *arg), void *arg);

#endif
