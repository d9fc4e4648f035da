/* SPDX-License-Identifier: MIT
 *
 * Network namespaces: each struct net has its own loopback, addresses, ports. There is one from boot on.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <lib/atomic.h>
#include <lib/types.h>

struct net {
	refcount_t refs;
	void *inet; /* the internet family's tables */
};

extern struct net net_init_ns;

static inline struct net *net_of_current(void)
{
	return &net_init_ns; /* until namespaces of their own exist */
}

#endif
