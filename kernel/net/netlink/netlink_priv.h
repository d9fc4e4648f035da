/* SPDX-License-Identifier: MIT
 *
 * Between the files of AF_NETLINK. A request is parsed into a struct nl_request; what is answered goes through a struct
 * nl_reply, which packs messages into datagrams. Formats: netlink(7), linux/netlink.h.
 *
 * Threading: requests run in the sender's context and may sleep; messages of a dump are made with ALLOC_ATOMIC where
 * the walk holds a spin lock.
 */
#ifndef NETLINK_PRIV_H
#define NETLINK_PRIV_H

#include <alloc/slab.h>
#include <core/log.h>
#include <core/spin.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/device.h>
#include <net/inet.h>
#include <net/net.h>
#include <net/socket.h>
#include <task/user_ns.h>

#define NL_MESSAGE_MOST 8192
#define NL_DATAGRAM     3776 /* of a dump: what the smallest readers have room for */
#define NL_ATTRS        64

struct nl_buf {
	struct list link;
	u32 len, group; /* group: of a notification, 0: for this socket alone */
	u32 from;       /* the sender's port; 0: the kernel */
	struct {
		u32 pid, uid, gid;
	} sender; /* as struct ucred of unix(7); zeros: the kernel */
	u8 data[];
};

struct nl_socket {
	struct list link; /* all_lock */
	struct socket *socket;
	u32 port;             /* all_lock; 0: not bound yet */
	u32 peer, peer_group; /* of connect */
	u64 groups;           /* bit n-1: group n */
	struct spinlock lock; /* RANK_SOCKET_QUEUE: queue */
	struct list queue;
	u32 queued;
	bool overrun, ext_ack, cap_ack, strict, pktinfo;
};

struct nl_request {
	struct nl_socket *from;
	const struct nlmsghdr *h;
	const void *body; /* behind the header */
	size_t len;
	struct net *net;
};

struct nl_reply {
	struct nl_socket *to;
	u32 port, seq;
	struct nl_buf *buf; /* being filled; NULL: none yet */
	u8 *message;        /* NL_MESSAGE_MOST bytes: the one that is being made */
	u32 len;
	bool overflow; /* the message did not fit: it is left out */
	int error;     /* -ENOMEM: datagrams are missing */
};

/* Attributes by type, NULL: not there. */
struct nl_attrs {
	const struct nlattr *of[NL_ATTRS];
};

/* message.c */
/* -EINVAL: malformed. Types beyond most are left out. */
int __must_check nl_parse(const void *at, size_t len, unsigned most, struct nl_attrs *out);
static inline const void *nl_data(const struct nlattr *a)
{
	return (const u8 *)a + NLA_HDRLEN;
}
static inline size_t nl_len(const struct nlattr *a)
{
	return a->nla_len - NLA_HDRLEN;
}
u32 nl_u32(const struct nlattr *a, u32 otherwise); /* a NULL or too short: otherwise */
bool nl_text(const struct nlattr *a, char *out, size_t room);
bool nl_addr(const struct nlattr *a, u8 family, struct ip_addr *out);

int __must_check nl_reply_begin(struct nl_reply *r, const struct nl_request *q);
void *nl_begin(struct nl_reply *r, u16 type, u16 flags, size_t body);
void nl_put(struct nl_reply *r, u16 type, const void *data, size_t len);
void nl_put_u32(struct nl_reply *r, u16 type, u32 v);
void nl_put_u8(struct nl_reply *r, u16 type, u8 v);
void nl_put_text(struct nl_reply *r, u16 type, const char *text);
void nl_put_addr(struct nl_reply *r, u16 type, const struct ip_addr *a);
u32 nl_nest(struct nl_reply *r, u16 type);
void nl_nest_end(struct nl_reply *r, u32 nest);
void nl_end(struct nl_reply *r);
void nl_reply_end(struct nl_reply *r, bool done, int result); /* done: ends a dump */

/* socket.c */
void nl_queue(struct nl_socket *s, struct nl_buf *b);               /* an answer; consumes b */
void nl_notify(struct net *n, u32 group, const struct nl_reply *r); /* the message in r->message, to all of the group */
bool nl_is_heard(struct net *n, u32 group);

/* rtnetlink.c and its families: 0, or -errno; answers go into r. */
int rt_request(const struct nl_request *q, struct nl_reply *r);
int rt_link(const struct nl_request *q, struct nl_reply *r);
int rt_address(const struct nl_request *q, struct nl_reply *r);
int rt_route(const struct nl_request *q, struct nl_reply *r);
int rt_neighbour(const struct nl_request *q, struct nl_reply *r);
void rt_fill_link(struct nl_reply *r, const struct net_device *d, u16 type, u16 flags);
void rt_fill_address(struct nl_reply *r, const struct inet_address *a, u16 type, u16 flags);
void rt_fill_route(struct nl_reply *r, const struct inet_route *route, u16 type, u16 flags);

/* diag.c */
int diag_request(const struct nl_request *q, struct nl_reply *r);

#endif
