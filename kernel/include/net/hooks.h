/* SPDX-License-Identifier: MIT
 *
 * Where programs attached to tenants see traffic (cgroup hooks). Unused, a hook is a patched-out branch.
 * data points at the network header. Results: 0 go on; -EPERM refused (egress: send fails; ingress: the packet is
 * dropped).
 */
#ifndef NET_HOOKS_H
#define NET_HOOKS_H

#include <core/static_branch.h>

struct packet;
struct sock_addr;
struct socket;
struct tcp;

DECLARE_STATIC_KEY(net_hook_ingress_key);
DECLARE_STATIC_KEY(net_hook_egress_key);
DECLARE_STATIC_KEY(net_hook_create_key);
DECLARE_STATIC_KEY(net_hook_end_key);

/* Calls with an address; only internet sockets are looked at. The address may be changed. */
enum net_address_hook {
	NET_BIND,
	NET_CONNECT,
	NET_SENDMSG,
	NET_RECVMSG,
	NET_PEERNAME,
	NET_SOCKNAME,
	NET_ADDRESS_HOOKS
};
extern struct static_key net_hook_address_keys[NET_ADDRESS_HOOKS];
DECLARE_STATIC_KEY(net_hook_bound_key);
DECLARE_STATIC_KEY(net_hook_set_option_key);
DECLARE_STATIC_KEY(net_hook_get_option_key);

struct net_hooks { /* one user: the cgroup programs */
	int (*ingress)(struct socket *s, struct packet *p);
	int (*egress)(struct socket *s, struct packet *p);
	int (*create)(struct socket *s);
	void (*end)(struct socket *s); /* a socket that a program had, about to go */
	/* NET_BIND: 1: without a look at the port's privilege. */
	int (*address)(struct socket *s, enum net_address_hook h, struct sock_addr *a);
	int (*bound)(struct socket *s); /* has just got its port; refused: it loses it */
	/* Everything may be changed, *len up to room. 1: done, no further look at the option. */
	int (*set_option)(struct socket *s, int *level, int *name, void *value, int *len, int room);
	/* result: the option's own, which is given back unless a program has another one. */
	int (*get_option)(struct socket *s, int level, int name, void *value, int *len, int room, int result);
	/* A moment in the life of a connection (net/tcp.h, program), with the host's lock held. s: for whom it speaks.
	 */
	int (*tcp)(struct socket *s, struct tcp *t, u32 op, const u32 args[3]);
	/* SO_ATTACH_FILTER and its family; kernel buffers. */
	int (*set_filter)(struct socket *s, int name, const void *value, int len);
	/* How many bytes from data on the socket's filter keeps; 0: none. Any context. */
	u32 (*filter)(struct socket *s, struct packet *p);
	void (*drop_filter)(struct socket *s);  /* the socket ends */
	void (*drop_storage)(struct socket *s); /* so too */
};
extern const struct net_hooks *net_hooks; /* set once, before a key is raised */

static inline int net_hook_ingress(struct socket *s, struct packet *p)
{
	return static_branch(&net_hook_ingress_key) ? net_hooks->ingress(s, p) : 0;
}
static inline int net_hook_egress(struct socket *s, struct packet *p)
{
	return static_branch(&net_hook_egress_key) ? net_hooks->egress(s, p) : 0;
}
static inline int net_hook_create(struct socket *s)
{
	return static_branch(&net_hook_create_key) ? net_hooks->create(s) : 0;
}
static inline void net_hook_end(struct socket *s)
{
	if (static_branch(&net_hook_end_key))
		net_hooks->end(s);
}

static __always_inline int net_hook_address(struct socket *s, enum net_address_hook h, struct sock_addr *a)
{
	return static_branch(&net_hook_address_keys[h]) ? net_hooks->address(s, h, a) : 0;
}
static inline int net_hook_bound(struct socket *s)
{
	return static_branch(&net_hook_bound_key) ? net_hooks->bound(s) : 0;
}

#endif
