/* SPDX-License-Identifier: MIT
 *
 * Problem: where does a packet go, through which device, to which neighbour, from which of our addresses; and which
 * addresses are ours at all?
 *
 * Idea: everything is a route, as Linux shows it: an address makes a local route to itself, one to its network and one
 * to the network's broadcast. Routes of a family are one list in order of preference (table local before main, long
 * prefixes before short, small metrics before great), so that the first that fits is the answer. Readers need no lock.
 *
 * Contract: inet_priv.h, net/inet.h. The rules are those of Linux without `ip rule add`: local, then the table of the
 * VRF that the sender or the packet is bound to, main, default. Other tables are kept but not asked. RFC 6724 for
 * sources, cut to scope and longest prefix.
 *
 * Locks: net_config_lock to change; RCU to look; neighbour_lock for path MTUs.
 */
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/in.h>

#include "inet_priv.h"

#define PATH_MTU_NS           (600 * NSEC_PER_SEC) /* RFC 1191: ten minutes */
#define PATH_MTU_LEAST        552
#define PATH_MTUS_MOST        1024
#define PRIORITY_CONNECTED_V6 256
#define PRIORITY_GIVEN_V6     1024

struct path_mtu {
	struct list link;
	struct ip_addr to;
	u32 mtu;
	u64 until;
};

void (*inet_event_hook)(struct net *n, enum inet_event e, const void *what);

static void tell(struct net *n, enum inet_event e, const void *what)
{
	if (inet_event_hook)
		inet_event_hook(n, e, what);
}

struct list *inet_addresses(struct net *n)
{
	return &inet_of(n)->addresses;
}

struct list *inet_routes(struct net *n, bool v6)
{
	return &inet_of(n)->routes[v6];
}

bool inet_prefix_match(const struct ip_addr *a, const struct ip_addr *prefix, u8 length, bool v6)
{
	unsigned bits = length + (v6 ? 0 : 96);

	for (unsigned i = 0; bits; i++) {
		u32 mask = bits >= 32 ? ~0U : host32(~0U << (32 - bits));

		if ((a->w[i] ^ prefix->w[i]) & mask)
			return false;
		bits -= min(bits, 32U);
	}
	return true;
}

static struct ip_addr masked(const struct ip_addr *a, u8 length, bool v6)
{
	struct ip_addr out = *a;
	int bits = length + (v6 ? 0 : 96);

	for (int i = 0; i < 4; i++, bits -= 32)
		if (bits < 32)
			out.w[i] &= bits <= 0 ? 0 : host32(~0U << (32 - bits));
	return out;
}

/* ---- the list of routes --------------------------------------------------------------------------------------------
 */

static int table_order(u32 table)
{
	return table == RT_TABLE_LOCAL ? 0 : table == RT_TABLE_MAIN ? 1 : table == RT_TABLE_DEFAULT ? 2 : 3;
}

/* Whether a is asked before b. */
static bool before(const struct inet_route *a, const struct inet_route *b)
{
	int x = table_order(a->table), y = table_order(b->table);

	if (x != y)
		return x < y;
	if (a->length != b->length)
		return a->length > b->length;
	return a->priority < b->priority;
}

static bool same_slot(const struct inet_route *a, const struct inet_route *b)
{
	return a->table == b->table && a->length == b->length && a->priority == b->priority &&
	       ip_addr_equal(&a->prefix, &b->prefix);
}

static bool same_way(const struct inet_route *a, const struct inet_route *b)
{
	return a->dev == b->dev && a->has_gateway == b->has_gateway && a->type == b->type &&
	       (!a->has_gateway || ip_addr_equal(&a->gateway, &b->gateway));
}

static void free_route(struct rcu_head *h)
{
	kfree(container_of(h, struct inet_route, rcu));
}

static void unlink(struct net *n, struct inet_route *r)
{
	list_del(&r->link);
	tell(n, INET_ROUTE_GONE, r);
	rcu_call(&r->rcu, free_route);
}

static bool is_v6_route(const struct inet_route *r)
{
	return !ip_addr_is_v4(&r->prefix);
}

static int insert(struct net *n, const struct inet_route *r)
{
	struct list *routes = inet_routes(n, is_v6_route(r));
	struct inet_route *copy = kmalloc(sizeof(*copy), ALLOC_KERNEL), *at;
	struct list *where = routes;

	if (!copy)
		return -ENOMEM;
	*copy = *r;
	list_for_each_entry (at, routes, link)
		if (before(copy, at)) {
			where = &at->link;
			break;
		}
	list_add_tail(&copy->link, where);
	tell(n, INET_ROUTE_NEW, copy);
	return 0;
}

/* The number of its device; 0: no VRF uses the table. */
static u32 vrf_with_table(struct net *n, u32 table)
{
	struct net_device *d;

	list_for_each_entry (d, &n->devices, link)
		if (d->vrf_table && d->vrf_table == table)
			return d->ifindex;
	return 0;
}

/* The gateway must be a neighbour: on a network that is ours. */
static int check_gateway(struct net *n, struct inet_route *r)
{
	struct ip_route via;
	int err;

	if (r->flags & RTNH_F_ONLINK)
		return r->dev ? 0 : -EINVAL;
	if (addr_is_link_local(&r->gateway) && is_v6_route(r))
		return r->dev ? 0 : -EINVAL;
	err = ip_route(n, &r->gateway, r->dev ? r->dev->ifindex : vrf_with_table(n, r->table), &via);
	if (err || via.type != RTN_UNICAST || !ip_addr_equal(&via.next_hop, &r->gateway))
		return -ENETUNREACH;
	if (!r->dev)
		r->dev = via.dev;
	return 0;
}

int inet_route_add(struct net *n, const struct inet_route *given, bool replace, bool append)
{
	struct inet_route r = *given, *at, *next;
	bool v6 = is_v6_route(&r);
	int err;

	assert(mutex_is_held(&net_config_lock));
	if (r.length > (v6 ? 128 : 32))
		return -EINVAL;
	if (v6 && !r.priority)
		r.priority = r.protocol == RTPROT_KERNEL ? PRIORITY_CONNECTED_V6 : PRIORITY_GIVEN_V6;
	r.prefix = masked(&r.prefix, r.length, v6);
	if (!ip_addr_equal(&r.prefix, &given->prefix))
		return fail(EINVAL, "route: bits beyond the prefix");
	if (r.type == RTN_UNICAST && r.has_gateway) {
		err = check_gateway(n, &r);
		if (err)
			return err;
	}
	if ((r.type == RTN_UNICAST || r.type == RTN_LOCAL) && !r.dev)
		return -ENODEV;
	if (r.dev && !net_device_is_up(r.dev))
		return -ENETDOWN;
	list_for_each_entry_safe (at, next, inet_routes(n, v6), link)
		if (same_slot(at, &r)) {
			if (replace)
				unlink(n, at);
			else if (!append || same_way(at, &r))
				return -EEXIST;
		}
	return insert(n, &r);
}

int inet_route_remove(struct net *n, const struct inet_route *like, bool v6)
{
	struct inet_route *at;

	assert(mutex_is_held(&net_config_lock));
	list_for_each_entry (at, inet_routes(n, v6), link)
		if (at->table == like->table && at->length == like->length &&
		    ip_addr_equal(&at->prefix, &like->prefix) && (!like->priority || at->priority == like->priority) &&
		    (!like->dev || at->dev == like->dev) && (!like->type || at->type == like->type) &&
		    (!like->protocol || at->protocol == like->protocol) &&
		    (!like->has_gateway || (at->has_gateway && ip_addr_equal(&at->gateway, &like->gateway)))) {
			unlink(n, at);
			return 0;
		}
	return -ESRCH;
}

static void drop_routes(struct net_device *d)
{
	struct inet_route *r, *next;

	for (int v6 = 0; v6 < 2; v6++)
		list_for_each_entry_safe (r, next, inet_routes(d->net, v6), link)
			if (r->dev == d)
				unlink(d->net, r);
}

/* ---- addresses
 * ------------------------------------------------------------------------------------------------------- */

/* fn for each route that an address makes. */
static int for_own_routes(const struct inet_address *a, int (*fn)(struct net *n, struct inet_route *r))
{
	bool v6 = !ip_addr_is_v4(&a->addr);
	u8 most = v6 ? 128 : 32;
	bool loop = a->dev->flags & IFF_LOOPBACK;
	const struct net_device *vrf = net_device_vrf(a->dev);
	u32 local = vrf ? vrf->vrf_table : (u32)RT_TABLE_LOCAL, main = vrf ? vrf->vrf_table : (u32)RT_TABLE_MAIN;
	struct inet_route r = { .prefix = a->addr,
				.length = most,
				.type = RTN_LOCAL,
				.protocol = RTPROT_KERNEL,
				.scope = v6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_HOST,
				.table = local,
				.has_source = !v6,
				.source = a->addr,
				.dev = a->dev };
	int err = fn(a->dev->net, &r);

	if (!err && a->prefix < most && !v6 && loop) {
		r.prefix = masked(&a->addr, a->prefix, false);
		r.length = a->prefix;
		err = fn(a->dev->net, &r);
	}
	if (!err && a->prefix < 31 && !v6) {
		r.prefix = ip_addr_v4(a->addr.w[3] | host32(~0U >> a->prefix));
		r.length = 32;
		r.type = RTN_BROADCAST;
		r.scope = RT_SCOPE_LINK;
		err = fn(a->dev->net, &r);
	}
	if (!err && a->prefix < most && !loop && !(a->flags & IFA_F_NOPREFIXROUTE)) {
		r = (struct inet_route){ .prefix = masked(&a->peer, a->prefix, v6),
					 .length = a->prefix,
					 .type = RTN_UNICAST,
					 .protocol = RTPROT_KERNEL,
					 .scope = v6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK,
					 .table = main,
					 .priority = v6 ? PRIORITY_CONNECTED_V6 : 0,
					 .has_source = !v6,
					 .source = a->addr,
					 .dev = a->dev };
		err = fn(a->dev->net, &r);
	}
	return err;
}

static int add_own(struct net *n, struct inet_route *r)
{
	int err = inet_route_add(n, r, false, true);

	return err == -EEXIST ? 0 : err; /* two addresses in one network share its route */
}

static int remove_own(struct net *n, struct inet_route *r)
{
	(void)!inet_route_remove(n, r, is_v6_route(r));
	return 0;
}

static struct inet_address *find_address(struct net_device *d, const struct ip_addr *addr, int prefix)
{
	struct inet_address *a;

	list_for_each_entry (a, inet_addresses(d->net), link)
		if (a->dev == d && ip_addr_equal(&a->addr, addr) && (prefix < 0 || a->prefix == prefix))
			return a;
	return NULL;
}

int inet_address_add(const struct inet_address *given)
{
	struct inet_address *a;
	int err = 0;

	assert(mutex_is_held(&net_config_lock));
	if (given->prefix > (ip_addr_is_v4(&given->addr) ? 32 : 128) || addr_is_multicast(&given->addr))
		return -EINVAL;
	if (find_address(given->dev, &given->addr, ip_addr_is_v4(&given->addr) ? given->prefix : -1))
		return -EEXIST;
	a = kmalloc(sizeof(*a), ALLOC_CHARGED);
	if (!a)
		return -ENOMEM;
	*a = *given;
	a->made_ns = clock_ns();
	if (!a->label[0])
		memcpy(a->label, a->dev->name, sizeof(a->label));
	list_add_tail(&a->link, inet_addresses(a->dev->net));
	if (net_device_is_up(a->dev))
		err = for_own_routes(a, add_own);
	tell(a->dev->net, INET_ADDRESS_NEW, a);
	return err;
}

static void free_address(struct rcu_head *h)
{
	kfree(container_of(h, struct inet_address, rcu));
}

static void remove_address(struct inet_address *a)
{
	struct inet_address *other;

	list_del(&a->link);
	for_own_routes(a, remove_own);
	/* What another address needs too comes back. */
	list_for_each_entry (other, inet_addresses(a->dev->net), link)
		if (other->dev == a->dev && net_device_is_up(a->dev))
			(void)!for_own_routes(other, add_own);
	tell(a->dev->net, INET_ADDRESS_GONE, a);
	rcu_call(&a->rcu, free_address);
}

int inet_address_remove(struct net_device *d, const struct ip_addr *addr, int prefix)
{
	struct inet_address *a = find_address(d, addr, prefix);

	assert(mutex_is_held(&net_config_lock));
	if (!a)
		return -EADDRNOTAVAIL;
	remove_address(a);
	return 0;
}

bool ip_device_has(const struct net_device *d, const struct ip_addr *addr)
{
	const struct inet_address *a;

	list_for_each_entry (a, inet_addresses(d->net), link)
		if (a->dev == d && ip_addr_equal(&a->addr, addr))
			return true;
	return false;
}

/* How well an address suits as source for `to`. */
static int fitness(const struct inet_address *a, const struct ip_addr *to, bool v6)
{
	int points = 1;

	if (a->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED))
		return 0;
	if (addr_is_link_local(&a->addr) == addr_is_link_local(to))
		points += 256;
	else if (a->scope == RT_SCOPE_HOST)
		return 0;
	if (!a->preferred_s)
		points -= 1; /* deprecated */
	for (u8 bits = a->prefix; bits; bits /= 2)
		if (inet_prefix_match(&a->addr, to, bits, v6))
			return points + bits;
	return points;
}

/* Of the device d; NULL: of any in that VRF, or in none. */
static bool best_source(struct net *n, const struct net_device *d, const struct net_device *vrf,
			const struct ip_addr *to, struct ip_addr *out)
{
	bool v6 = !ip_addr_is_v4(to);
	const struct inet_address *a;
	int most = 0;

	list_for_each_entry (a, inet_addresses(n), link) {
		int points;

		if ((d ? a->dev != d : net_device_vrf(a->dev) != vrf) || ip_addr_is_v4(&a->addr) == v6 ||
		    (!d && a->scope != RT_SCOPE_UNIVERSE))
			continue;
		points = fitness(a, to, v6);
		if (points > most) {
			most = points;
			*out = a->addr;
		}
	}
	return most > 0;
}

bool ip_source_of(struct net_device *d, const struct ip_addr *to, struct ip_addr *out)
{
	struct net_device *vrf = net_device_vrf(d); /* speaks for its devices that have no address */

	return best_source(d->net, d, NULL, to, out) || (vrf && best_source(d->net, vrf, NULL, to, out)) ||
	       best_source(d->net, NULL, vrf, to, out);
}

/* ---- look-up
 * ---------------------------------------------------------------------------------------------------------- */

static u32 known_path_mtu(struct inet_net *i, const struct ip_addr *to, u32 mtu)
{
	struct path_mtu *p;
	ulong irq;

	if (list_empty(&i->path_mtus))
		return mtu;
	irq = spin_lock_irqsave(&i->neighbour_lock);
	list_for_each_entry (p, &i->path_mtus, link)
		if (ip_addr_equal(&p->to, to) && p->until > clock_ns())
			mtu = min(mtu, p->mtu);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
	return mtu;
}

void ip_path_mtu_set(struct net *n, const struct ip_addr *to, u32 mtu)
{
	struct inet_net *i = inet_of(n);
	struct path_mtu *fresh = kzalloc(sizeof(*fresh), ALLOC_ATOMIC), *p, *next;
	u32 nr = 0;
	ulong irq;

	if (!fresh)
		return;
	*fresh =
		(struct path_mtu){ .to = *to, .mtu = max(mtu, (u32)PATH_MTU_LEAST), .until = clock_ns() + PATH_MTU_NS };
	irq = spin_lock_irqsave(&i->neighbour_lock);
	list_for_each_entry_safe (p, next, &i->path_mtus, link)
		if (ip_addr_equal(&p->to, to) || p->until <= clock_ns() || ++nr >= PATH_MTUS_MOST) {
			list_del(&p->link);
			kfree(p);
		}
	list_add(&fresh->link, &i->path_mtus);
	spin_unlock_irqrestore(&i->neighbour_lock, irq);
}

static int no_way(u8 type)
{
	switch (type) {
	case RTN_BLACKHOLE: return -EINVAL;
	case RTN_PROHIBIT: return -EACCES;
	case RTN_UNREACHABLE: return -EHOSTUNREACH;
	}
	return -ENETUNREACH;
}

/* The first that fits among the tables from..to, in the order of table_order (3: `other` alone). */
static const struct inet_route *scan(struct net *n, const struct ip_addr *to, u32 ifindex, int from, int last,
				     u32 other)
{
	bool v6 = !ip_addr_is_v4(to);
	const struct inet_route *r;

	list_for_each_entry (r, inet_routes(n, v6), link) {
		int order = table_order(r->table);

		if (!inet_prefix_match(to, &r->prefix, r->length, v6) || order < from || order > last ||
		    (order == 3 && r->table != other))
			continue;
		if (ifindex && r->type == RTN_UNICAST && r->dev->ifindex != ifindex)
			continue;
		if (r->expires_ns && r->expires_ns < clock_ns())
			continue;
		return r;
	}
	return NULL;
}

static const struct inet_route *find(struct net *n, const struct ip_addr *to, u32 ifindex)
{
	struct net_device *d = ifindex ? net_device_find(n, ifindex) : NULL, *vrf = d ? net_device_vrf(d) : NULL;
	const struct inet_route *r;

	if (likely(!vrf))
		return scan(n, to, ifindex, 0, 2, 0);
	if (vrf == d)
		ifindex = 0; /* any device of it */
	r = scan(n, to, ifindex, 0, 0, 0);
	if (!r)
		r = table_order(vrf->vrf_table) == 3 ? scan(n, to, ifindex, 3, 3, vrf->vrf_table) : NULL;
	return r ? r : scan(n, to, ifindex, 1, 2, 0);
}

static bool is_limited_broadcast(const struct ip_addr *a)
{
	return ip_addr_is_v4(a) && a->w[3] == 0xffffffff;
}

/* Multicast and the broadcast of no network go out of the device that is named, or of the default route's. */
static int route_many(struct net *n, const struct ip_addr *to, u32 ifindex, struct ip_route *out)
{
	struct net_device *d = ifindex ? net_device_find(n, ifindex) : NULL;
	bool any = !ifindex || (d && d->vrf_table);
	const struct inet_route *r = any ? find(n, to, ifindex) : NULL;

	if (any)
		d = r ? r->dev : NULL;

	if (!d && !ip_addr_is_v4(to))
		list_for_each_entry (d, &n->devices, link)
			if (net_device_is_up(d) && !(d->flags & IFF_LOOPBACK))
				break;
	if (!d || &d->link == &n->devices || !net_device_is_up(d))
		return ifindex && !d ? -ENODEV : -ENETUNREACH;
	*out = (struct ip_route){ .source = { { 0, 0, ip_addr_is_v4(to) ? IP_V4_MARK : 0, 0 } },
				  .next_hop = *to,
				  .dev = d,
				  .ifindex = d->ifindex,
				  .mtu = d->mtu,
				  .type = addr_is_multicast(to) ? RTN_MULTICAST : RTN_BROADCAST };
	(void)!ip_source_of(d, to, &out->source);
	return 0;
}

int ip_route(struct net *n, const struct ip_addr *to, u32 ifindex, struct ip_route *out)
{
	const struct inet_route *r;
	struct net_device *d;

	if (unlikely(addr_is_multicast(to) || is_limited_broadcast(to)))
		return route_many(n, to, ifindex, out);
	r = find(n, to, ifindex);
	if (!r) /* ::1 while lo is down: there is no address to call from, says Linux */
		return !to->w[0] && !to->w[1] && !to->w[2] && to->w[3] == host32(1) ? -EADDRNOTAVAIL : -ENETUNREACH;
	if (r->type != RTN_UNICAST && r->type != RTN_LOCAL && r->type != RTN_BROADCAST)
		return no_way(r->type);
	d = r->dev;
	if (r->type == RTN_LOCAL) {
		d = net_device_vrf(r->dev);
		d = d ? d : n->loopback;
	}
	if (ifindex && r->type == RTN_LOCAL && ifindex != d->ifindex && ifindex != r->dev->ifindex)
		return -ENETUNREACH;
	*out = (struct ip_route){ .next_hop = r->has_gateway ? r->gateway : *to,
				  .dev = d,
				  .ifindex = d->ifindex,
				  .mtu = r->mtu ? min(r->mtu, d->mtu) : d->mtu,
				  .type = r->type };
	if (r->type == RTN_LOCAL && !ip_addr_is_v4(to) && d == n->loopback)
		out->own_ifindex = r->dev->ifindex;
	if (r->type != RTN_LOCAL)
		out->mtu = known_path_mtu(inet_of(n), to, out->mtu);
	if (r->type == RTN_LOCAL)
		out->source = ip_addr_is_v4(to) && r->has_source && r->dev == n->loopback ? r->source : *to;
	else if (r->has_source)
		out->source = r->source;
	else if (!ip_source_of(d, r->has_gateway && ip_addr_is_v4(to) ? &r->gateway : to, &out->source))
		out->source = (struct ip_addr){ { 0, 0, ip_addr_is_v4(to) ? IP_V4_MARK : 0, 0 } };
	return 0;
}

int inet_route_find(struct net *n, const struct ip_addr *to, u32 ifindex, struct inet_route *out,
		    struct ip_addr *source)
{
	const struct inet_route *r;
	struct ip_route way;
	int err;

	rcu_read_lock();
	err = ip_route(n, to, ifindex, &way);
	r = err ? NULL : find(n, to, ifindex);
	if (r) {
		*out = *r;
	} else if (!err) {
		*out = (struct inet_route){ .prefix = *to, .type = way.type, .table = RT_TABLE_MAIN, .dev = way.dev };
	}
	if (!err) {
		out->prefix = *to;
		out->length = ip_addr_is_v4(to) ? 32 : 128;
		out->dev = way.dev;
		*source = way.source;
	}
	rcu_read_unlock();
	return err;
}

bool ip_is_local(struct net *n, const struct ip_addr *addr, u32 bound_ifindex)
{
	struct net_device *d, *vrf;
	const struct inet_route *r;
	bool local;

	rcu_read_lock();
	d = bound_ifindex ? net_device_find(n, bound_ifindex) : NULL;
	vrf = d ? net_device_vrf(d) : NULL;
	r = vrf ? scan(n, addr, 0, 3, 3, vrf->vrf_table) : scan(n, addr, 0, 0, 2, 0);
	local = r && r->type == RTN_LOCAL;
	rcu_read_unlock();
	return local;
}

/* ---- devices come and go
 * ------------------------------------------------------------------------------------------------ */

static void add_plain(struct net_device *d, struct ip_addr addr, u8 prefix, u8 scope)
{
	struct inet_address a = { .dev = d,
				  .addr = addr,
				  .peer = addr,
				  .broadcast = ip_addr_v4(0),
				  .prefix = prefix,
				  .scope = scope,
				  .flags = IFA_F_PERMANENT,
				  .valid_s = ~0U,
				  .preferred_s = ~0U };

	(void)!inet_address_add(&a);
}

/* fe80:: and the link address in the form of an interface identifier (RFC 4291, appendix A). */
static struct ip_addr link_local(const struct net_device *d)
{
	const u8 *m = d->address;
	u8 b[16] = { 0xfe, 0x80, [8] = m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5] };
	struct ip_addr a;

	memcpy(&a, b, sizeof(a));
	return a;
}

static void device_up(struct net_device *d)
{
	struct inet_address *a;

	list_for_each_entry (a, inet_addresses(d->net), link)
		if (a->dev == d)
			(void)!for_own_routes(a, add_own);
	if (d->flags & IFF_LOOPBACK) {
		add_plain(d, ip_addr_v4(host32(INADDR_LOOPBACK)), 8, RT_SCOPE_HOST);
		add_plain(d, (struct ip_addr){ { 0, 0, 0, host32(1) } }, 128, RT_SCOPE_HOST);
	} else if (!d->vrf_table) {
		add_plain(d, link_local(d), 64, RT_SCOPE_LINK);
		ndisc_ask_routers(d);
	}
}

static void drop_addresses(struct net_device *d, bool v4_too)
{
	struct inet_address *a, *next;

	list_for_each_entry_safe (a, next, inet_addresses(d->net), link)
		if (a->dev == d && (v4_too || !ip_addr_is_v4(&a->addr)))
			remove_address(a);
}

static void on_device(struct net_device *d, enum net_event e)
{
	struct inet_net *i = inet_of(d->net);

	if (e == NET_DEVICE_UP)
		device_up(d);
	if (e == NET_DEVICE_DOWN || e == NET_DEVICE_GONE) {
		drop_addresses(d, e == NET_DEVICE_GONE);
		drop_routes(d);
		neighbours_drop(i, d);
		ip_fragments_drop(i, d);
	}
}

void inet_routes_init(struct inet_net *i)
{
	static struct net_watcher watcher = { .event = on_device };

	list_init(&i->addresses);
	list_init(&i->routes[0]);
	list_init(&i->routes[1]);
	list_init(&i->path_mtus);
	if (i->net == &net_init_ns)
		net_watcher_register(&watcher);
}

void inet_routes_stop(struct inet_net *i)
{
	struct path_mtu *p, *next;
	struct inet_route *r, *after;

	list_for_each_entry_safe (p, next, &i->path_mtus, link)
		kfree(p);
	for (int v6 = 0; v6 < 2; v6++)
		list_for_each_entry_safe (r, after, &i->routes[v6], link)
			kfree(r);
}
