/* SPDX-License-Identifier: MIT
 *
 * Problem: IPv6 finds neighbours, routers and its own addresses by ICMPv6.
 *
 * Idea: messages are parsed into a target and the options that matter (a link address, prefixes) and acted upon: a
 * solicitation is answered, an advertisement fills the neighbour table, a router's advertisement gives a default route
 * and, for prefixes marked autonomous, an address. Changes of configuration are made by a worker, since packets arrive
 * where nobody may sleep.
 *
 * Contract: inet_priv.h. Formats: RFC 4861, 4 (messages, options); RFC 4862 (addresses). Duplicate address detection is
 * not done.
 *
 * Locks: pending_lock for advertisements that wait; net_config_lock in the worker.
 */
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/icmpv6.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <task/work.h>

#include "inet_priv.h"

#define ROUTER_SOLICIT    133
#define ROUTER_ADVERT     134
#define SOLICIT           135
#define ADVERT            136
#define OPT_SOURCE_LINK   1
#define OPT_TARGET_LINK   2
#define OPT_PREFIX        3
#define ADVERT_SOLICITED  0x40
#define ADVERT_OVERRIDE   0x20
#define PREFIX_AUTONOMOUS 0x40
#define PENDING_MOST      8
#define PREFIXES_MOST     4

struct message { /* of solicitations and advertisements of neighbours */
	u8 type, code;
	u16 sum;
	u32 flags;
	struct ip_addr target;
};

struct advert { /* a router's, parsed */
	struct list link;
	struct net *net;
	u32 ifindex, lifetime_s;
	struct ip_addr router;
	unsigned nr;
	struct {
		struct ip_addr prefix;
		u8 length, flags;
		u32 valid_s, preferred_s;
	} prefixes[PREFIXES_MOST];
};

static LIST(pending);
static u32 nr_pending;
static struct spinlock pending_lock = SPIN_INIT(RANK_LEAF_SPIN);
static struct work apply_work;

/* ---- sending --------------------------------------------------------------------------------------------------------
 */

static void send(struct net_device *d, const void *message, size_t bytes, u8 option, const struct ip_addr *from,
		 const struct ip_addr *to)
{
	static const struct inet_common c = { .hop_limit = 255, .multicast_hops = 255, .no_loop = true };
	struct packet *p = packet_alloc(bytes + 8, ALLOC_ATOMIC);
	struct ip_route r;
	u8 link[8] = { option, 1 };
	u16 sum;

	if (!p)
		return;
	memcpy(packet_put(p, bytes), message, bytes);
	if (option) {
		memcpy(link + 2, d->address, ETHERNET_ADDRESS);
		memcpy(packet_put(p, sizeof(link)), link, sizeof(link));
	}
	sum = ip_checksum(p->data, packet_len(p), ip_pseudo_sum(from, to, IPPROTO_ICMPV6, (u32)packet_len(p)));
	memcpy(p->data + 2, &sum, sizeof(sum));
	if (ip_route(d->net, to, d->ifindex, &r))
		r = (struct ip_route){
			.next_hop = *to, .dev = d, .ifindex = d->ifindex, .mtu = d->mtu, .type = RTN_UNICAST
		};
	(void)!ip_output_by(d->net, NULL, &c, p, IPPROTO_ICMPV6, from, to, &r);
}

static struct ip_addr all_routers(void)
{
	return (struct ip_addr){ { host32(0xff020000), 0, 0, host32(2) } };
}

void ndisc_ask_routers(struct net_device *d)
{
	u8 message[8] = { ROUTER_SOLICIT };
	struct ip_addr from = { { 0 } }, to = all_routers();

	(void)!ip_source_of(d, &to, &from);
	send(d, message, sizeof(message), OPT_SOURCE_LINK, &from, &to);
}

void ndisc_ask(struct net_device *d, const struct ip_addr *target, const u8 *mac)
{
	struct message m = { .type = SOLICIT, .target = *target };
	struct ip_addr from = { { 0 } }, to = *target;

	if (!mac) { /* the group of all whose address ends so (RFC 4291, 2.7.1) */
		to = (struct ip_addr){ { host32(0xff020000), 0, host32(1), target->w[3] | host32(0xff000000) } };
	}
	(void)!ip_source_of(d, target, &from);
	send(d, &m, sizeof(m), OPT_SOURCE_LINK, &from, &to);
}

/* ---- hearing
 * --------------------------------------------------------------------------------------------------------- */

/* The link address in option `type`; NULL: none, or malformed. */
static const u8 *link_option(const u8 *at, size_t len, u8 type)
{
	while (len >= 8) {
		size_t n = at[1] * 8UL;

		if (!n || n > len)
			return NULL;
		if (at[0] == type)
			return at + 2;
		at += n;
		len -= n;
	}
	return NULL;
}

static void on_solicit(struct net_device *d, const struct message *m, const u8 *options, size_t len,
		       const struct ip_addr *from)
{
	const u8 *mac = link_option(options, len, OPT_SOURCE_LINK);
	struct message reply = { .type = ADVERT, .flags = host32((u32)(ADVERT_SOLICITED | ADVERT_OVERRIDE) << 24) };
	struct ip_addr to = *from;

	if (!ip_device_has(d, &m->target))
		return;
	if (ip_addr_is_any(from)) { /* somebody checks whether the address is free */
		to = (struct ip_addr){ { host32(0xff020000), 0, 0, host32(1) } };
		reply.flags = host32((u32)ADVERT_OVERRIDE << 24);
	} else if (mac) {
		neighbour_heard(d, from, mac, true, false, true);
	}
	reply.target = m->target;
	send(d, &reply, sizeof(reply), OPT_TARGET_LINK, &m->target, &to);
}

static void on_advert(struct net_device *d, const struct message *m, const u8 *options, size_t len)
{
	const u8 *mac = link_option(options, len, OPT_TARGET_LINK);
	u8 flags = host32(m->flags) >> 24;

	if (mac)
		neighbour_heard(d, &m->target, mac, false, flags & ADVERT_SOLICITED, flags & ADVERT_OVERRIDE);
}

static void parse_prefixes(struct advert *a, const u8 *at, size_t len)
{
	for (; len >= 8 && at[1] && at[1] * 8UL <= len; len -= at[1] * 8UL, at += at[1] * 8UL) {
		u32 valid, preferred;

		if (at[0] != OPT_PREFIX || at[1] != 4 || a->nr == PREFIXES_MOST || at[2] > 128)
			continue;
		memcpy(&valid, at + 4, 4);
		memcpy(&preferred, at + 8, 4);
		memcpy(&a->prefixes[a->nr].prefix, at + 16, 16);
		a->prefixes[a->nr].length = at[2];
		a->prefixes[a->nr].flags = at[3];
		a->prefixes[a->nr].valid_s = host32(valid);
		a->prefixes[a->nr++].preferred_s = host32(preferred);
	}
}

static void on_router(struct net_device *d, const u8 *m, size_t len, const struct ip_addr *from)
{
	struct advert *a;
	ulong irq;

	if (len < 16 || !addr_is_link_local(from) || inet_of(d->net)->forward[1])
		return;
	a = kzalloc(sizeof(*a), ALLOC_ATOMIC);
	if (!a)
		return;
	a->net = d->net;
	a->ifindex = d->ifindex;
	a->router = *from;
	a->lifetime_s = (u32)m[6] << 8 | m[7];
	parse_prefixes(a, m + 16, len - 16);
	irq = spin_lock_irqsave(&pending_lock);
	if (nr_pending < PENDING_MOST && refcount_inc_not_zero(&d->net->ns.refs)) {
		list_add_tail(&a->link, &pending);
		nr_pending++;
		a = NULL;
	}
	spin_unlock_irqrestore(&pending_lock, irq);
	kfree(a);
	(void)work_queue(&apply_work);
}

void ndisc_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to)
{
	const struct ipv6hdr *h = (const struct ipv6hdr *)p->network;
	size_t len = packet_len(p);
	struct message m;

	if (h->hop_limit != 255 || len < 8 || p->data[1]) { /* from beyond this link, or of another meaning */
		packet_free(p);
		return;
	}
	memset(&m, 0, sizeof(m));
	memcpy(&m, p->data, min(len, sizeof(m)));
	if (m.type == ROUTER_ADVERT)
		on_router(p->dev, p->data, len, from);
	else if (len >= sizeof(m) && !addr_is_multicast(&m.target) && m.type == SOLICIT)
		on_solicit(p->dev, &m, p->data + sizeof(m), len - sizeof(m), from);
	else if (len >= sizeof(m) && !addr_is_multicast(&m.target) && m.type == ADVERT)
		on_advert(p->dev, &m, p->data + sizeof(m), len - sizeof(m));
	packet_free(p);
}

/* ---- a router's word
 * ------------------------------------------------------------------------------------------------- */

static void take_address(struct net_device *d, const struct ip_addr *prefix, u8 length, u32 valid_s, u32 preferred_s)
{
	struct inet_address a = { .dev = d,
				  .addr = *prefix,
				  .prefix = length,
				  .scope = RT_SCOPE_UNIVERSE,
				  .valid_s = valid_s,
				  .preferred_s = preferred_s };
	u8 *b = (u8 *)&a.addr;
	const u8 *m = d->address;
	u8 identifier[8] = { m[0] ^ 2, m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5] };

	if (length != 64 || !valid_s || preferred_s > valid_s || addr_is_link_local(prefix))
		return;
	memcpy(b + 8, identifier, sizeof(identifier));
	a.peer = a.addr;
	(void)!inet_address_add(&a); /* -EEXIST: renewed */
}

static void apply(const struct advert *a)
{
	struct net_device *d = net_device_find(a->net, a->ifindex);
	struct inet_route r = { .type = RTN_UNICAST,
				.protocol = RTPROT_RA,
				.table = RT_TABLE_MAIN,
				.has_gateway = true,
				.gateway = a->router,
				.dev = d };

	if (!d || !net_device_is_up(d))
		return;
	if (a->lifetime_s) {
		r.expires_ns = clock_ns() + a->lifetime_s * NSEC_PER_SEC;
		(void)!inet_route_add(a->net, &r, true, false);
	} else {
		(void)!inet_route_remove(a->net, &r, true);
	}
	for (unsigned k = 0; k < a->nr; k++)
		if (a->prefixes[k].flags & PREFIX_AUTONOMOUS)
			take_address(d, &a->prefixes[k].prefix, a->prefixes[k].length, a->prefixes[k].valid_s,
				     a->prefixes[k].preferred_s);
}

static struct advert *next_pending(void)
{
	ulong irq = spin_lock_irqsave(&pending_lock);
	struct advert *a = list_first_or_null(&pending, struct advert, link);

	if (a) {
		list_del(&a->link);
		nr_pending--;
	}
	spin_unlock_irqrestore(&pending_lock, irq);
	return a;
}

static void apply_pending(struct work *w)
{
	struct advert *a;

	while ((a = next_pending())) {
		mutex_lock(&net_config_lock);
		apply(a);
		mutex_unlock(&net_config_lock);
		ns_put(&a->net->ns);
		kfree(a);
	}
}

void ndisc_init(void)
{
	work_init(&apply_work, apply_pending);
}
