/* SPDX-License-Identifier: MIT
 *
 * Problem: programs at hooks ask which socket a packet would reach, and what a socket is called; they run anywhere,
 * often with the lock held that protects just this.
 *
 * Idea: the tables of ports and connections can be walked without their locks (lib/list.h), and what stands in them is
 * freed after a grace period. So an answer is a picture of a moment, and its pointers are good until the read side
 * ends.
 *
 * Contract: net/inet.h.
 *
 * Locks: none; RCU, by the caller.
 */
#include <lib/err.h>
#include <linux/in.h>

#include "stream.h"

static void names_of_tcp(const struct tcp *t, struct inet_names *out)
{
	*out = (struct inet_names){ .local = t->local,
				    .remote = t->remote,
				    .local_port = t->local_port,
				    .remote_port = t->remote_port,
				    .state = (u8)READ_ONCE(t->state) };
}

void inet_names_of(const struct socket *s, struct inet_names *out)
{
	const struct tcp *t = inet_tcp_of(s);
	const struct inet_socket *i = s->proto;

	*out = (struct inet_names){ .state = TS_CLOSE };
	if (t)
		names_of_tcp(t, out);
	else if ((s->family == PF_INET || s->family == PF_INET6) && s->type != SOCK_STREAM && i)
		*out = (struct inet_names){ .local = i->local,
					    .remote = i->remote,
					    .local_port = i->local_port,
					    .remote_port = i->remote_port,
					    .state = i->remote_port ? TS_ESTABLISHED : TS_CLOSE };
}

struct socket *inet_look_up(struct net *net, u8 protocol, const struct inet_names *names, u32 ifindex, u32 vrf,
			    struct tcp **tcp)
{
	struct inet_net *n = inet_of(net);
	struct inet_socket *i;

	*tcp = NULL;
	if (protocol == IPPROTO_TCP) {
		*tcp = tcp_look_up(&n->tcp, &names->local, names->local_port, &names->remote, names->remote_port,
				   ifindex, vrf);
		return *tcp ? inet_speaker(*tcp) : NULL;
	}
	i = inet_find(n, protocol, &names->local, names->local_port, &names->remote, names->remote_port, ifindex, vrf);
	return i ? i->socket : NULL;
}
