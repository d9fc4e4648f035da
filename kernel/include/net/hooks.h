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
struct socket;

DECLARE_STATIC_KEY(net_hook_ingress_key);
DECLARE_STATIC_KEY(net_hook_egress_key);
DECLARE_STATIC_KEY(net_hook_create_key);

struct net_hooks { /* one user: the cgroup programs */
	int (*ingress)(struct socket *s, struct packet *p);
	int (*egress)(struct socket *s, struct packet *p);
	int (*create)(struct socket *s);
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

#endif
