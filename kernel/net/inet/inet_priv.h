/* SPDX-License-Identifier: MIT
 *
 * Between the files of the internet family. Addresses and ports are in network byte order unless a name says host.
 *
 * Locks: inet_lock (RANK_SOCKET) covers the port tables; a socket's queue has queue_lock of its own (RANK_SOCKET, taken
 * alone).
 */
#ifndef INET_PRIV_H
#define INET_PRIV_H

#include <core/spin.h>
#include <net/packet.h>
#include <net/socket.h>

#define LOOPBACK_IFINDEX 1
#define LOOPBACK_MTU     65536
#define IP_BYTES         20
#define UDP_BYTES        8
#define UDP_PAYLOAD_MAX  (65535 - IP_BYTES - UDP_BYTES)

struct inet_socket {
	struct socket *socket;
	struct list port_link; /* inet_lock */
	u32 local, remote;     /* addresses; 0: any, not connected */
	u16 local_port, remote_port;
	u8 ttl, tos;
	struct spinlock queue_lock;
	struct list queue; /* packets, data at the payload */
	u32 queued_bytes;
	u64 dropped;
	bool shut_read, shut_write;
};

struct sockaddr_inet { /* struct sockaddr_in */
	u16 family, port;
	u32 addr;
	u8 zero[8];
};

static inline u16 host16(u16 v)
{
	return __builtin_bswap16(v);
}
static inline u32 host32(u32 v)
{
	return __builtin_bswap32(v);
}

extern const struct socket_ops udp_ops;
int __must_check udp_create(struct socket *s);
/* A packet whose data is at the UDP header; consumes it. */
void udp_input(struct packet *p, u32 source, u32 destination);
/* Adds the IP header and sends; consumes the packet. */
int __must_check ip_output(struct inet_socket *i, struct packet *p, u8 protocol, u32 source, u32 destination);
/* A packet whose data is at the IP header, as it came from a device; consumes it. */
void ip_input(struct packet *p);
bool ip_is_local(u32 addr);
u16 ip_checksum(const void *data, size_t len, u32 start);

/* Ports of UDP. */
int __must_check inet_bind_port(struct inet_socket *i, u32 addr, u16 port); /* port 0: any free one */
void inet_unbind_port(struct inet_socket *i);
struct inet_socket *inet_find(u32 dest, u16 dest_port, u32 source, u16 source_port); /* inet_lock held */
extern struct spinlock inet_lock;

#endif
