/* SPDX-License-Identifier: MIT
 *
 * Network namespaces: each struct net has its own devices, addresses, routes, ports and names of local sockets. Parts
 * that keep something for each of them register a net_user.
 *
 * Ownership: struct ns counts sockets and tasks; when the last has gone, users stop in reverse order and the devices
 * that the namespace owns are removed.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <lib/list.h>
#include <task/ns.h>

struct net_device;

struct net {
	struct ns ns;
	struct list devices; /* net_config_lock; read under RCU */
	u32 last_ifindex;    /* net_config_lock */
	bool has_vrf;        /* it had one: the rule for their tables is there. net_config_lock */
	struct net_device *loopback;
	void *inet; /* the internet family's tables */
};

extern struct net net_init_ns;

struct net *net_of_current(void); /* not counted */

struct net_user {
	int (*start)(struct net *n); /* 0 or -ENOMEM */
	void (*stop)(struct net *n); /* nobody else knows n any more; may sleep */
	struct list link;
};
void net_user_register(struct net_user *u); /* at init level core; starts it for the first namespace */

/* Files of /proc/net: made for the namespace of who looks. */
struct strbuf;
struct net_file {
	const char *name;
	int (*show)(struct net *n, struct strbuf *out);
	struct list link;
};
void net_file_register(struct net_file *f); /* lives forever */
struct net_file *net_file_find(const char *name);
struct net_file *net_file_at(unsigned n); /* NULL: no more */

#endif
