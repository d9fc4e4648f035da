/* SPDX-License-Identifier: MIT
 *
 * Problem: ports are names that sockets compete for, and each packet must find its socket quickly.
 *
 * Idea: a hash of lists by local port. A socket that named its peer is preferred to one that did not, one bound to an
 * address to one bound to any. Port 0 takes a free one of the local range, beginning at a random place.
 *
 * Contract: inet_priv.h. SO_REUSEADDR lets UDP sockets share a port, as ip(7) has it.
 *
 * Locks: inet_lock (RANK_SOCKET, irqsave).
 */
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <linux/capability.h>
#include <linux/in.h>
#include <net/net.h>
#include <net/hooks.h>
#include <task/task.h>

#include "inet_priv.h"

#define BUCKETS    256
#define FIRST_FREE 32768
#define LAST_FREE  60999
#define PRIVILEGED 1024

struct spinlock inet_lock = SPIN_INIT(RANK_SOCKET);
static struct list ports[BUCKETS];
static u16 next_port = FIRST_FREE;

static struct list *bucket(u16 port)
{
	return &ports[host16(port) % BUCKETS];
}

/* How well a socket matches; 0: not at all. */
static int score(const struct inet_socket *i, const struct ip_addr *dest, u16 dest_port, const struct ip_addr *source,
		 u16 source_port)
{
	int points = 1 + (i->socket->family == PF_INET);

	if (i->local_port != dest_port || !ip_addr_overlap(&i->local, i->common.only_v6, dest, false))
		return 0;
	points += 2 * !ip_addr_is_any(&i->local);
	if (!i->remote_port)
		return points;
	return ip_addr_equal(&i->remote, source) && i->remote_port == source_port ? points + 4 : 0;
}

struct inet_socket *inet_find(const struct ip_addr *dest, u16 dest_port, const struct ip_addr *source, u16 source_port)
{
	struct inet_socket *i, *best = NULL;
	int most = 0;

	assert_held(&inet_lock);
	list_for_each_entry (i, bucket(dest_port), port_link) {
		int points = score(i, dest, dest_port, source, source_port);

		if (points > most) {
			most = points;
			best = i;
		}
	}
	return best;
}

static bool bear(const struct socket *a, const struct socket *b)
{
	return (a->reuse_addr && b->reuse_addr) || (a->reuse_port && b->reuse_port);
}

static bool taken(const struct inet_socket *want, const struct ip_addr *addr, u16 port)
{
	struct inet_socket *i;

	list_for_each_entry (i, bucket(port), port_link)
		if (i->local_port == port &&
		    ip_addr_overlap(&i->local, i->common.only_v6, addr, want->common.only_v6) &&
		    !bear(want->socket, i->socket))
			return true;
	return false;
}

static u16 free_port(const struct inet_socket *i, const struct ip_addr *addr)
{
	for (unsigned n = FIRST_FREE; n <= LAST_FREE; n++) {
		u16 port = host16(next_port);

		next_port = next_port == LAST_FREE ? FIRST_FREE : next_port + 1;
		if (!taken(i, addr, port))
			return port;
	}
	return 0;
}

bool inet_may_bind(const struct socket *s, u16 port)
{
	return !port || host16(port) >= PRIVILEGED || s->any_port || capable(CAP_NET_BIND_SERVICE);
}

int inet_bind_port(struct inet_socket *i, const struct ip_addr *addr, u16 port)
{
	int err = 0;
	ulong irq;

	if (!inet_may_bind(i->socket, port))
		return -EACCES;
	irq = spin_lock_irqsave(&inet_lock);
	if (!port) {
		port = free_port(i, addr);
		err = port ? 0 : -EADDRINUSE;
	} else if (taken(i, addr, port)) {
		err = -EADDRINUSE;
	}
	if (!err) {
		i->local = *addr;
		i->local_port = port;
		list_add(&i->port_link, bucket(port));
	}
	spin_unlock_irqrestore(&inet_lock, irq);
	return err;
}

void inet_unbind_port(struct inet_socket *i)
{
	ulong irq = spin_lock_irqsave(&inet_lock);

	list_del_init(&i->port_link);
	spin_unlock_irqrestore(&inet_lock, irq);
}

static int create(struct socket *s)
{
	int protocol = s->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP, err;

	if (s->net != &net_init_ns)
		return -EAFNOSUPPORT; /* the tables below are the first namespace's */
	if (s->type != SOCK_DGRAM && s->type != SOCK_STREAM)
		return -ESOCKTNOSUPPORT;
	if (s->protocol && s->protocol != protocol)
		return -EPROTONOSUPPORT;
	s->protocol = protocol;
	err = s->type == SOCK_STREAM ? stream_create(s) : udp_create(s);
	if (!err) {
		err = net_hook_create(s);
		if (err)
			s->ops->release(s);
	}
	return err;
}

static struct socket_family v4 = { .family = PF_INET, .create = create };
static struct socket_family v6 = { .family = PF_INET6, .create = create };

static void inet_init(void)
{
	for (unsigned b = 0; b < BUCKETS; b++)
		list_init(&ports[b]);
	stream_init();
	socket_family_register(&v4);
	socket_family_register(&v6);
}
PART_INIT(core, inet_init);
