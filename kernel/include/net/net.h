/* SPDX-License-Identifier: MIT
 *
 * Network namespaces: each struct net has its own names of local sockets. The internet family lives in the first one
 * alone as yet: elsewhere its sockets cannot be made.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include <task/ns.h>

struct net {
	struct ns ns;
	void *inet; /* the internet family's tables */
};

extern struct net net_init_ns;

struct net *net_of_current(void); /* not counted */

#endif
