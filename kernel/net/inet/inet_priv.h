/* SPDX-License-Identifier: MIT
 *
 * Between the files of the internet families. Addresses and ports are in network byte order unless a name says host; an
 * address of either family is a struct ip_addr (net/addr.h).
 *
 * Locks: inet_lock (RANK_SOCKET) covers UDP's port tables; a UDP socket's queue has queue_lock of its own. TCP has its
 * host's lock.
 */
#ifndef INET_PRIV_H
#define INET_PRIV_H

#include <core/spin.h>
#include <net/addr.h>
#include <net/packet.h>
#include <net/socket.h>

#define IP_BYTES        20
#define IP6_BYTES       40
#define UDP_BYTES       8
#define UDP_PAYLOAD_MAX (65535 - IP_BYTES - UDP_BYTES)

/* What every internet socket keeps; the first member of the protocols' states. */
struct inet_common {
	u8 ttl, tos;          /* of IPv4 */
	u8 hop_limit, tclass; /* of IPv6 */
	bool only_v6;         /* IPV6_V6ONLY; for PF_INET6 alone */
	u32 flags;            /* options that are kept and given back: bits of inet_flag */
};

struct inet_socket {
	struct inet_common common;
	struct socket *socket;
	struct list port_link; /* inet_lock */
	struct ip_addr local, remote;
	u16 local_port, remote_port;
	struct spinlock queue_lock;
	struct list queue; /* packets, data at the payload */
	u32 queued_bytes;
	u64 dropped;
	bool shut_read, shut_write;
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

/* names.c */
/* -EINVAL, -EAFNOSUPPORT. any_family: an IPv4 address may name a peer of an IPv6 socket. */
int __must_check inet_parse_name(const struct socket *s, const struct inet_common *c, const struct sock_addr *a,
				 bool any_family, struct inet_name *out);
void inet_fill_name(const struct socket *s, struct sock_addr *a, const struct ip_addr *addr, u16 port);
struct ip_addr inet_loopback_if_any(const struct ip_addr *a, bool v6_socket); /* 0 as a destination means this host */
void inet_common_init(struct inet_common *c);
int inet_set_option(struct socket *s, struct inet_common *c, int level, int name, const void *value, int len);
int inet_get_option(struct socket *s, struct inet_common *c, int level, int name, void *value, int *len);

/* ip.c */
struct ip_route {
	struct ip_addr source;
	u32 ifindex, mtu;
	bool loopback;
};
int __must_check ip_route(const struct ip_addr *destination, u32 bound_ifindex,
			  struct ip_route *out); /* -ENETUNREACH */
/* Adds the IP header and sends; consumes the packet. s: whose programs look at it, NULL: nobody's. */
int __must_check ip_output(struct socket *s, const struct inet_common *c, struct packet *p, u8 protocol,
			   const struct ip_addr *source, const struct ip_addr *destination);
/* A packet whose data is at the IP header, as it came from a device; consumes it. */
void ip_input(struct packet *p);
bool ip_is_local(const struct ip_addr *addr);
u16 ip_checksum(const void *data, size_t len, u32 start);
/* The sum over the pseudo header of either family, for ip_checksum's start. */
u32 ip_pseudo_sum(const struct ip_addr *source, const struct ip_addr *destination, u8 protocol, u32 len);

/* udp.c */
extern const struct socket_ops udp_ops;
int __must_check udp_create(struct socket *s);
/* A packet whose data is at the UDP header; consumes it. */
void udp_input(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination);
bool inet_allows(struct socket *s, struct packet *p); /* the programs of the socket's tenant; data behind network */
bool inet_passes_filter(struct socket *s, struct packet *p, u32 least);

/* stream.c */
int __must_check stream_create(struct socket *s);
void stream_input(struct packet *p, const struct ip_addr *source, const struct ip_addr *destination);
void stream_init(void);

/* Ports of UDP. */
bool inet_may_bind(const struct socket *s, u16 port);                                         /* privileged ports */
int __must_check inet_bind_port(struct inet_socket *i, const struct ip_addr *addr, u16 port); /* port 0: any free one */
void inet_unbind_port(struct inet_socket *i);
struct inet_socket *inet_find(const struct ip_addr *dest, u16 dest_port, const struct ip_addr *source,
			      u16 source_port); /* inet_lock held */
extern struct spinlock inet_lock;

#endif
