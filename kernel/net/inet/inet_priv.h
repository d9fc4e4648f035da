/* SPDX-License-Identifier: MIT
 *
 * Between the files of the internet families. Addresses and ports are in network byte order unless a name says host; an
 * address of either family is a struct ip_addr (net/addr.h). Each network namespace has one struct inet_net.
 *
 * Locks: inet_net.lock (RANK_SOCKET) covers ports and raw sockets; a datagram socket's queue has queue_lock of its own;
 * TCP has its host's lock; addresses and routes are written under net_config_lock and read under RCU; neighbours and
 * fragments have neighbour_lock (RANK_NEIGHBOUR).
 */
#ifndef INET_PRIV_H
#define INET_PRIV_H

#include <alloc/slab.h>
#include <core/irq.h>
#include <core/log.h>
#include <core/spin.h>
#include <linux/rtnetlink.h>
#include <linux/time.h>
#include <net/addr.h>
#include <net/device.h>
#include <net/inet.h>
#include <net/net.h>
#include <net/packet.h>
#include <net/socket.h>
#include <net/tcp.h>
#include <task/timer.h>

#include <linux/errqueue.h> /* wants linux/time.h before it */

#define IP_BYTES          20
#define IP6_BYTES         40
#define UDP_BYTES         8
#define UDP_PAYLOAD_MAX   (65535 - IP_BYTES - UDP_BYTES)
#define INET_BUCKETS      256
#define NEIGHBOUR_BUCKETS 64

/* What is counted for /proc/net/snmp and netstat. */
enum inet_count {
	COUNT_IP_IN,
	COUNT_IP_IN_HEADER,
	COUNT_IP_IN_ADDRESS,
	COUNT_IP_FORWARDED,
	COUNT_IP_IN_PROTOCOL,
	COUNT_IP_DELIVERED,
	COUNT_IP_OUT,
	COUNT_IP_OUT_NO_ROUTE,
	COUNT_IP_REASSEMBLY,
	COUNT_IP_REASSEMBLED,
	COUNT_IP_REASSEMBLY_FAILED,
	COUNT_IP_FRAGMENTED,
	COUNT_IP_FRAGMENTS,
	COUNT_ICMP_IN,
	COUNT_ICMP_IN_ECHO,
	COUNT_ICMP_IN_ECHO_REPLY,
	COUNT_ICMP_IN_UNREACHABLE,
	COUNT_ICMP_OUT,
	COUNT_ICMP_OUT_ECHO_REPLY,
	COUNT_ICMP_OUT_UNREACHABLE,
	COUNT_UDP_IN,
	COUNT_UDP_NO_PORT,
	COUNT_UDP_IN_ERRORS,
	COUNT_UDP_OUT,
	COUNT_UDP_NO_ROOM,
	NR_INET_COUNTS
};

struct inet_net {
	struct net *net;
	struct spinlock lock;
	struct list ports[INET_BUCKETS]; /* lock: UDP sockets by local port */
	struct list raw;                 /* lock: raw and ping sockets */
	u16 next_port, next_ping;        /* lock */
	struct list addresses,
		routes[2]; /* net_config_lock, RCU; routes: of IPv4, of IPv6, in the order of preference */
	struct spinlock neighbour_lock;
	struct list neighbours[NEIGHBOUR_BUCKETS]; /* neighbour_lock */
	u32 nr_neighbours;
	struct list fragments; /* neighbour_lock: packets that are incomplete, oldest first */
	size_t fragment_bytes;
	struct list path_mtus; /* neighbour_lock */
	struct timer tick;     /* of neighbours and fragments, while there are any that wait */
	struct deferred tick_job;
	bool ticking;
	u32 ident;
	bool forward[2];       /* net.ipv4.ip_forward, net.ipv6.conf.all.forwarding */
	u32 unprivileged_from; /* net.ipv4.ip_unprivileged_port_start */
	u64 errors_until;      /* ICMP errors are limited: when the next may go out, less a burst */
	struct timer tcp_timer;
	struct deferred tcp_job;
	struct tcp_host tcp;
	u64 counts[NR_INET_COUNTS]; /* relaxed atomics */
};

static inline struct inet_net *inet_of(const struct net *n)
{
	return n->inet;
}
static inline void inet_count(struct inet_net *i, enum inet_count c)
{
	__atomic_fetch_add(&i->counts[c], 1, __ATOMIC_RELAXED);
}

/* What every internet socket keeps; the first member of the protocols' states. */
struct inet_common {
	u8 ttl, tos;          /* of IPv4 */
	u8 hop_limit, tclass; /* of IPv6 */
	u8 multicast_ttl, multicast_hops;
	bool only_v6;    /* IPV6_V6ONLY; for PF_INET6 alone */
	bool own_header; /* IP_HDRINCL */
	bool no_loop;    /* IP_MULTICAST_LOOP off */
	u8 path_mtu;     /* IP_PMTUDISC_* */
	u16 wants;       /* control messages: bits of enum inet_want */
	u32 flags;       /* options that are kept and given back: bits of inet_flag */
	u32 multicast_ifindex;
};

enum inet_want {
	WANT_INFO,
	WANT_TTL,
	WANT_TOS,
	WANT_INFO6,
	WANT_HOPS,
	WANT_TCLASS,
	WANT_ERRORS,
	WANT_ERRORS6,
	WANT_OPTIONS
};

struct inet_membership {
	struct list link;
	struct ip_addr group;
	u32 ifindex;
};

struct inet_socket {
	struct inet_common common;
	struct rcu_head rcu; /* when it is freed */
	struct socket *socket;
	struct list port_link; /* inet_net.lock */
	struct ip_addr local, remote;
	u16 local_port, remote_port;
	struct spinlock queue_lock;
	struct list queue;  /* packets, data at the payload */
	struct list errors; /* IP_RECVERR: packets, data at what was sent, note[] is the error */
	struct list groups; /* inet_net.lock */
	u32 queued_bytes;
	u64 dropped;
	bool shut_read, shut_write, bound_addr; /* bound_addr: bind named it */
	u32 icmp_filter;                        /* ICMP_FILTER; types above 31 pass */
	u32 icmp6_filter[8];
	/* UDP-Lite: bytes that checksums cover and must cover, 0: all; whether that was said */
	u16 lite_covers, lite_least;
	bool lite_limits, lite_asks;
};

struct inet_name { /* a parsed address */
	struct ip_addr addr;
	u16 port;
	u32 ifindex; /* of a link-local address; 0: none */
};

static inline u16 host16(u16 v)
{
	return net_host16(v);
}
static inline u32 host32(u32 v)
{
	return net_host32(v);
}
static inline struct ip_addr addr_any(const struct socket *s)
{
	return (struct ip_addr){ { 0, 0, s->family == PF_INET ? IP_V4_MARK : 0, 0 } };
}
static inline bool addr_is_multicast(const struct ip_addr *a)
{
	return ip_addr_is_v4(a) ? (host32(a->w[3]) >> 28) == 14 : (host32(a->w[0]) >> 24) == 0xff;
}
static inline bool addr_is_link_local(const struct ip_addr *a)
{
	return ip_addr_is_v4(a) ? (host32(a->w[3]) >> 16) == 0xa9fe : (host32(a->w[0]) >> 22) == 0x3fa;
}

/* names.c */
/* -EINVAL, -EAFNOSUPPORT. any_family: an IPv4 address may name a peer of an IPv6 socket. */
int __must_check inet_parse_name(const struct socket *s, const struct inet_common *c, const struct sock_addr *a,
				 bool any_family, struct inet_name *out);
void inet_fill_name(const struct socket *s, struct sock_addr *a, const struct ip_addr *addr, u16 port, u32 ifindex);
struct ip_addr inet_loopback_if_any(const struct ip_addr *a, bool v6_socket); /* 0 as a destination means this host */
void inet_common_init(struct inet_common *c);
int inet_set_option(struct socket *s, struct inet_common *c, int level, int name, const void *value, int len);
int inet_get_option(struct socket *s, struct inet_common *c, int level, int name, void *value, int *len);
/* In a group or out of it; of datagram sockets. */
int __must_check inet_join(struct inet_socket *i, const struct ip_addr *group, u32 ifindex, bool join);
u32 inet_device_with(struct net *n, const struct ip_addr *addr); /* ifindex; 0: none */
int inet_path_mtu(struct socket *s);                             /* to its peer; -ENOTCONN */
/* May the socket be bound to it? A local one, any, multicast for datagrams. */
bool inet_may_name(const struct socket *s, const struct inet_name *in);

/* route.c */
struct ip_route {
	struct ip_addr source, next_hop;
	struct net_device *dev; /* as long as the RCU read side */
	u32 ifindex, mtu;
	u32 own_ifindex; /* RTN_LOCAL of IPv6: the device that has the address */
	u8 type;         /* RTN_LOCAL, RTN_UNICAST, RTN_BROADCAST, RTN_MULTICAST */
};
/* -ENETUNREACH, -EHOSTUNREACH, -EINVAL, -EACCES. Under RCU if out->dev is looked at. */
int __must_check ip_route(struct net *n, const struct ip_addr *destination, u32 bound_ifindex, struct ip_route *out);
bool ip_is_local(struct net *n, const struct ip_addr *addr, u32 bound_ifindex);
/* An address of the device to speak from to `to`; false: it has none. */
bool ip_source_of(struct net_device *d, const struct ip_addr *to, struct ip_addr *out);
bool ip_device_has(const struct net_device *d, const struct ip_addr *addr);
/* A router's word that packets to `to` must be smaller. */
void ip_path_mtu_set(struct net *n, const struct ip_addr *to, u32 mtu);
void inet_routes_init(struct inet_net *i);
void inet_routes_stop(struct inet_net *i);

/* ip.c */
/* Adds the IP header and sends; consumes the packet. s: whose programs look at it, NULL: nobody's. */
int __must_check ip_output(struct net *n, struct socket *s, const struct inet_common *c, struct packet *p, u8 protocol,
			   const struct ip_addr *source, const struct ip_addr *destination);
int __must_check ip_output_by(struct net *n, struct socket *s, const struct inet_common *c, struct packet *p,
			      u8 protocol, const struct ip_addr *source, const struct ip_addr *destination,
			      const struct ip_route *r);
/* With its header, data there: shows it to programs and sends it. may_cut: into fragments. Consumes p. */
int __must_check ip_send_ready(struct socket *s, struct packet *p, const struct ip_route *r, bool may_cut);
void ip_input(struct packet *p); /* of a device; consumes p */
void ip_deliver(struct packet *p, u8 protocol, const struct ip_addr *from, const struct ip_addr *to);
u16 ip_checksum(const void *data, size_t len, u32 start);
/* The sum over the pseudo header of either family, for ip_checksum's start. */
u32 ip_pseudo_sum(const struct ip_addr *source, const struct ip_addr *destination, u8 protocol, u32 len);

/* fragment.c */
/* A fragment, data at its payload; NULL: more are needed (p is consumed), else the whole packet, data at its transport
 * header. */
struct packet *ip_reassemble(struct inet_net *i, struct packet *p, const struct ip_addr *from, const struct ip_addr *to,
			     u8 protocol, u32 ident, u32 offset, bool more);
int __must_check ip_fragment(struct packet *p, struct net_device *d, u32 mtu, const struct ip_addr *next_hop);
bool ip_fragments_expire(struct inet_net *i, u64 now);                  /* true: some are left */
void ip_fragments_drop(struct inet_net *i, const struct net_device *d); /* d NULL: all */

/* neighbour.c */
void neighbour_send(struct net_device *d, const struct ip_addr *next_hop, struct packet *p); /* consumes p */
/* What a neighbour said of itself. create: also when it is not known yet; sure: an answer to us; replace: even if
 * another link address is known. */
void neighbour_heard(struct net_device *d, const struct ip_addr *addr, const u8 *mac, bool create, bool sure,
		     bool replace);
void neighbours_drop(struct inet_net *i, const struct net_device *d);
void neighbours_init(struct inet_net *i);
void inet_tick_soon(struct inet_net *i);

/* arp.c, ndisc.c */
void arp_input(struct packet *p);
/* mac: asked alone; NULL: everybody. */
void arp_ask(struct net_device *d, const struct ip_addr *target, const u8 *mac);
void ndisc_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to); /* consumes p */
void ndisc_ask(struct net_device *d, const struct ip_addr *target, const u8 *mac);
void ndisc_ask_routers(struct net_device *d);
void ndisc_init(void);

/* icmp.c */
void icmp_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to);  /* consumes p */
void icmp6_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to); /* consumes p */
/* Tells the sender of p (data at or behind its network header) why it did not get through. Type and code of the
 * packet's family. info: the last word of the header (an MTU). */
enum icmp_why { WHY_NO_PORT, WHY_NO_HOST, WHY_NO_NET, WHY_TOO_BIG, WHY_TTL, WHY_REASSEMBLY, WHY_PROTOCOL };
void icmp_complain(struct net *n, const struct packet *p, enum icmp_why why, u32 info);
struct icmp_error {                         /* an ICMP error about something that we sent */
	struct ip_addr source, destination; /* of what we sent */
	struct ip_addr offender;
	int error; /* positive errno */
	bool hard; /* ends what waits for it */
	u8 origin, type, code;
	u32 info;
	u32 ifindex, vrf;    /* where the word of it came in */
	const u8 *transport; /* the transport header, len bytes */
	size_t len;
};

/* udp.c: UDP, and UDP-Lite as another protocol with ports of its own */
extern const struct socket_ops udp_ops;
int __must_check udp_create(struct socket *s);
/* A packet whose data is at the UDP header; consumes it. */
void udp_input(struct packet *p, u8 protocol, const struct ip_addr *source, const struct ip_addr *destination);
void udp_error(struct inet_net *n, u8 protocol, const struct icmp_error *e);

/* datagram.c: what UDP, raw and ping sockets have in common */
struct inet_socket *inet_socket_new(struct socket *s);
void inet_socket_free(struct inet_socket *i);
bool inet_allows(struct socket *s, struct packet *p); /* the programs of the socket's tenant; data behind network */
bool inet_passes_filter(struct socket *s, struct packet *p, u32 least);
/* Puts the packet into the queue, cut by `skip` bytes; false: no room. */
bool inet_queue(struct inet_socket *i, struct packet *p, size_t skip);
void inet_queue_error(struct inet_socket *i, const struct icmp_error *e, size_t skip);
ssize_t inet_receive(struct socket *s, struct sock_msg *m,
		     void (*fill)(const struct socket *s, const struct packet *p, struct sock_addr *a));
unsigned inet_poll(struct socket *s, struct poll_table *pt);
long inet_ioctl(struct socket *s, unsigned cmd, ulong arg);
int inet_shut(struct socket *s, int how);
int inet_setsockopt(struct socket *s, int level, int opt, const void *value, int len);
int inet_getsockopt(struct socket *s, int level, int opt, void *value, int *len);
/* Options of one message, from its control data. */
struct inet_once {
	struct inet_common common;
	struct ip_addr source;
	bool has_source;
	u32 ifindex;
};
int __must_check inet_parse_control(const struct socket *s, const struct sock_msg *m, struct inet_once *out);
/* The route and source of a datagram. */
int __must_check inet_origin(struct inet_socket *i, const struct inet_name *to, const struct inet_once *once,
			     struct ip_addr *source, u32 *ifindex);
void inet_packet_source(const struct packet *p, struct ip_addr *out);
/* connect(2): names the peer, or nobody (AF_UNSPEC). take_port: gives the socket its port when it has none. */
int inet_datagram_connect(struct socket *s, const struct sock_addr *a, int (*take_port)(struct inet_socket *i));

/* raw.c */
int __must_check raw_create(struct socket *s);
int __must_check ping_create(struct socket *s);
bool raw_input(struct packet *p, u8 protocol, const struct ip_addr *from, const struct ip_addr *to); /* copies p */
void ping_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to); /* a reply; copies */
void raw_error(struct inet_net *n, u8 protocol, const struct icmp_error *e);

/* stream.c */
int __must_check stream_create(struct socket *s);
void stream_input(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination);
void stream_error(struct inet_net *n, const struct icmp_error *e);
void stream_show(struct inet_net *n, int (*fn)(const struct inet_socket_view *v, void *arg), void *arg);
void stream_start(struct inet_net *i);
void stream_stop(struct inet_net *i);

/* Ports of UDP. */
bool inet_may_bind(const struct socket *s, u16 port);                                         /* privileged ports */
int __must_check inet_bind_port(struct inet_socket *i, const struct ip_addr *addr, u16 port); /* port 0: any free one */
void inet_unbind_port(struct inet_socket *i);
struct inet_socket *inet_find(struct inet_net *n, u8 protocol, const struct ip_addr *dest, u16 dest_port,
			      const struct ip_addr *source, u16 source_port, u32 ifindex,
			      u32 vrf); /* inet_net.lock held, or under RCU for a look */

/* ioctl.c */
long inet_interface_ioctl(struct socket *s, unsigned cmd, ulong arg);
/* proc.c */
void inet_files_init(void);

#endif
