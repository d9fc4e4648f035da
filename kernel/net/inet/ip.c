/* SPDX-License-Identifier: MIT
 *
 * Problem: carry a transport packet to an address and up again at the other side, trusting no byte that comes in.
 *
 * Idea: out: a route decides device and neighbour, the header is pushed, programs look, and what is too big is cut or
 * refused. In: the header is checked and cut off, fragments are put together, and the packet is for us, to be forwarded
 * (when that is switched on), or nobody's. A transport's checksum is done late: never on the way through loopback.
 *
 * Contract: inet_priv.h. Format: RFC 791 and 8200 (headers), RFC 1071 (checksum). Of IPv6's extension headers
 * hop-by-hop and destination options are skipped, fragments served, routing headers dropped.
 *
 * Locks: none of its own; runs under RCU.
 */
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/hooks.h>

#include "inet_priv.h"

#define DONT_FRAGMENT  0x4000
#define MORE_FRAGMENTS 0x2000
#define OFFSET_MASK    0x1fff
#define UDP_SUM_AT     6
#define TCP_SUM_AT     16

struct parsed { /* of a received header */
	struct ip_addr from, to;
	u8 protocol;
	bool fragment, more;
	u32 ident, offset;
};

u16 ip_checksum(const void *data, size_t len, u32 start)
{
	const u8 *b = data;
	u64 sum = start;

	for (; len >= 8; len -= 8, b += 8) {
		u64 v;

		memcpy(&v, b, sizeof(v));
		sum += v >> 32;
		sum += (u32)v;
	}
	for (; len > 1; len -= 2, b += 2)
		sum += b[0] | b[1] << 8;
	if (len)
		sum += *b;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u16)~sum;
}

u32 ip_pseudo_sum(const struct ip_addr *source, const struct ip_addr *destination, u8 protocol, u32 len)
{
	unsigned first = ip_addr_is_v4(source) ? 3 : 0;
	u64 sum = host16(protocol) + (u64)host16((u16)len) + host16((u16)(len >> 16));

	for (unsigned i = first; i < 4; i++)
		sum += (u64)source->w[i] + destination->w[i];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (u32)sum;
}

/* ---- in -------------------------------------------------------------------------------------------- */

/* Each checks that the packet is whole and sound, cuts it to its length and moves data behind the header. */
static bool parse_v4(struct packet *p, struct parsed *out)
{
	const struct iphdr *h = (const struct iphdr *)p->data;
	size_t len = packet_len(p), header;
	u16 frag;

	if (len < sizeof(*h) || h->version != 4 || h->ihl < 5)
		return false;
	header = h->ihl * 4U;
	if (header > len || host16(h->tot_len) < header || host16(h->tot_len) > len || ip_checksum(h, header, 0))
		return false;
	frag = host16(h->frag_off);
	*out = (struct parsed){ .from = ip_addr_v4(h->saddr),
				.to = ip_addr_v4(h->daddr),
				.protocol = h->protocol,
				.fragment = frag & (MORE_FRAGMENTS | OFFSET_MASK),
				.more = frag & MORE_FRAGMENTS,
				.ident = h->id,
				.offset = (frag & OFFSET_MASK) * 8U };
	p->tail = p->data + host16(h->tot_len);
	p->data += header;
	return true;
}

struct fragment_header { /* RFC 8200, 4.5 */
	u8 next, reserved;
	u16 offset;
	u32 ident;
};

/* Extension headers up to the transport's. */
static bool skip_extensions(struct packet *p, struct parsed *out)
{
	for (unsigned n = 0; n < 8; n++) {
		const struct fragment_header *f = (const struct fragment_header *)p->data;
		size_t len;

		if (out->protocol != IPPROTO_HOPOPTS && out->protocol != IPPROTO_DSTOPTS &&
		    out->protocol != IPPROTO_FRAGMENT)
			return out->protocol != IPPROTO_ROUTING;
		if (packet_len(p) < sizeof(*f))
			return false;
		if (out->protocol == IPPROTO_FRAGMENT) {
			out->fragment = true;
			out->more = host16(f->offset) & 1;
			out->offset = host16(f->offset) & 0xfff8;
			out->ident = f->ident;
			out->protocol = f->next;
			p->data += sizeof(*f);
			return true;
		}
		len = 8UL * (p->data[1] + 1);
		out->protocol = f->next;
		if (!packet_pull(p, len))
			return false;
	}
	return false;
}

static bool parse_v6(struct packet *p, struct parsed *out)
{
	const struct ipv6hdr *h = (const struct ipv6hdr *)p->data;
	size_t len = packet_len(p);

	if (len < sizeof(*h) || h->version != 6 || host16(h->payload_len) > len - sizeof(*h))
		return false;
	*out = (struct parsed){ .protocol = h->nexthdr };
	p->tail = p->data + sizeof(*h) + host16(h->payload_len);
	p->data += sizeof(*h);
	memcpy(&out->from, &h->saddr, sizeof(out->from));
	memcpy(&out->to, &h->daddr, sizeof(out->to));
	return !ip_addr_is_v4(&out->from) && !ip_addr_is_v4(&out->to) && !addr_is_multicast(&out->from) &&
	       skip_extensions(p, out);
}

void ip_deliver(struct packet *p, u8 protocol, const struct ip_addr *from, const struct ip_addr *to)
{
	struct inet_net *i = inet_of(p->net);
	bool raw = raw_input(p, protocol, from, to), v4 = ip_addr_is_v4(from);

	inet_count(i, COUNT_IP_DELIVERED);
	if (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE) {
		udp_input(p, protocol, from, to);
	} else if (protocol == IPPROTO_TCP) {
		stream_input(p, from, to);
	} else if (protocol == IPPROTO_ICMP && v4) {
		icmp_input(p, from, to);
	} else if (protocol == IPPROTO_ICMPV6 && !v4) {
		icmp6_input(p, from, to);
	} else {
		if (!raw && protocol != IPPROTO_NONE) {
			inet_count(i, COUNT_IP_IN_PROTOCOL);
			icmp_complain(p->net, p, WHY_PROTOCOL, 0);
		}
		packet_free(p);
	}
}

/* A packet that only passes through; data at its network header. */
static void forward(struct packet *p, const struct ip_addr *to)
{
	struct iphdr *h4 = (struct iphdr *)p->data;
	struct ipv6hdr *h6 = (struct ipv6hdr *)p->data;
	bool v4 = ip_addr_is_v4(to);
	struct net *n = p->net;
	struct ip_route r;
	int err;

	if ((v4 ? h4->ttl : h6->hop_limit) <= 1) {
		icmp_complain(n, p, WHY_TTL, 0);
		packet_free(p);
		return;
	}
	err = ip_route(n, to, p->vrf, &r);
	if (err || r.type != RTN_UNICAST) {
		if (err)
			icmp_complain(n, p, WHY_NO_NET, 0);
		packet_free(p);
		return;
	}
	if (packet_len(p) > r.mtu && (!v4 || host16(h4->frag_off) & DONT_FRAGMENT)) {
		icmp_complain(n, p, WHY_TOO_BIG, r.mtu);
		packet_free(p);
		return;
	}
	if (v4) {
		h4->ttl--;
		h4->check = 0;
		h4->check = ip_checksum(h4, h4->ihl * 4U, 0);
	} else {
		h6->hop_limit--;
	}
	inet_count(inet_of(n), COUNT_IP_FORWARDED);
	p->sum_later = p->sum_later && p->sum_ok; /* it came from a device that left the sum undone */
	(void)!ip_send_ready(NULL, p, &r, true);
}

/* 1: for us; 0: to be forwarded, or nobody's. */
static bool is_for_us(struct packet *p, const struct ip_addr *to)
{
	struct ip_route r;

	if (addr_is_multicast(to) || p->kind == PACKET_BROADCAST || p->kind == PACKET_MULTICAST)
		return true;
	return !ip_route(p->net, to, p->vrf, &r) && (r.type == RTN_LOCAL || r.type == RTN_BROADCAST);
}

static bool is_loopback(const struct ip_addr *a)
{
	if (ip_addr_is_v4(a))
		return host32(a->w[3]) >> 24 == 127;
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == host32(1);
}

void ip_input(struct packet *p)
{
	struct inet_net *i = inet_of(p->net);
	struct parsed h;

	p->network = p->data;
	inet_count(i, COUNT_IP_IN);
	if (!packet_len(p) || !(*p->data >> 4 == 4 ? parse_v4(p, &h) : parse_v6(p, &h))) {
		inet_count(i, COUNT_IP_IN_HEADER);
		packet_free(p);
		return;
	}
	if (p->dev != p->net->loopback && !p->dev->vrf_table && (is_loopback(&h.from) || is_loopback(&h.to))) {
		packet_free(p); /* from outside nobody speaks for this machine */
		return;
	}
	if (!is_for_us(p, &h.to)) {
		if (i->forward[!ip_addr_is_v4(&h.to)]) {
			p->data = p->network;
			forward(p, &h.to);
			return;
		}
		inet_count(i, COUNT_IP_IN_ADDRESS);
		packet_free(p);
		return;
	}
	if (h.fragment) {
		p = ip_reassemble(i, p, &h.from, &h.to, h.protocol, h.ident, h.offset, h.more);
		if (!p)
			return;
	}
	ip_deliver(p, h.protocol, &h.from, &h.to);
}

/* ---- out -------------------------------------------------------------------------------------------- */

static bool push_v4(struct inet_net *i, const struct inet_common *c, struct packet *p, u8 protocol, u32 source,
		    u32 destination, bool many, bool fits)
{
	struct iphdr *h = packet_push(p, sizeof(*h));
	bool whole = fits && c->path_mtu != IP_PMTUDISC_DONT;

	if (!h || packet_len(p) > 65535)
		return false;
	*h = (struct iphdr){ .version = 4, .ihl = 5, .tos = c->tos, .protocol = protocol };
	h->ttl = many ? c->multicast_ttl : c->ttl;
	h->tot_len = host16((u16)packet_len(p));
	h->frag_off = whole ? host16(DONT_FRAGMENT) : 0;
	h->id = whole ? 0 : (u16)__atomic_fetch_add(&i->ident, 1, __ATOMIC_RELAXED);
	h->saddr = source;
	h->daddr = destination;
	h->check = ip_checksum(h, sizeof(*h), 0);
	p->protocol = ETH_P_IP;
	return true;
}

static bool push_v6(const struct inet_common *c, struct packet *p, u8 protocol, const struct ip_addr *source,
		    const struct ip_addr *destination, bool many)
{
	size_t len = packet_len(p);
	struct ipv6hdr *h = packet_push(p, sizeof(*h));

	if (!h || len > 65535)
		return false;
	*h = (struct ipv6hdr){ .version = 6, .priority = c->tclass >> 4, .nexthdr = protocol };
	h->hop_limit = many ? c->multicast_hops : c->hop_limit;
	h->flow_lbl[0] = (u8)(c->tclass << 4);
	h->payload_len = host16((u16)len);
	memcpy(&h->saddr, source, sizeof(*source));
	memcpy(&h->daddr, destination, sizeof(*destination));
	p->protocol = ETH_P_IPV6;
	return true;
}

/* Writes the transport's checksum, which was left for later; data at the network header. */
static void finish_sum(struct packet *p)
{
	const struct iphdr *h4 = (const struct iphdr *)p->data;
	const struct ipv6hdr *h6 = (const struct ipv6hdr *)p->data;
	bool v4 = *p->data >> 4 == 4;
	size_t header = v4 ? h4->ihl * 4U : sizeof(*h6);
	u8 protocol = v4 ? h4->protocol : h6->nexthdr;
	struct ip_addr from, to;
	u8 *at = p->data + header + (protocol == IPPROTO_TCP ? TCP_SUM_AT : UDP_SUM_AT);
	u16 sum;

	if (v4) {
		from = ip_addr_v4(h4->saddr);
		to = ip_addr_v4(h4->daddr);
	} else {
		memcpy(&from, &h6->saddr, sizeof(from));
		memcpy(&to, &h6->daddr, sizeof(to));
	}
	p->sum_later = false;
	memset(at, 0, sizeof(sum));
	sum = ip_checksum(p->data + header, packet_len(p) - header,
			  ip_pseudo_sum(&from, &to, protocol, (u32)(packet_len(p) - header)));
	if (!sum && protocol == IPPROTO_UDP)
		sum = 0xffff;
	memcpy(at, &sum, sizeof(sum));
}

int ip_send_ready(struct socket *s, struct packet *p, const struct ip_route *r, bool may_cut)
{
	struct net_device *d = r->dev;
	int err = 0;

	p->network = p->data;
	p->ifindex = r->ifindex;
	p->own_ifindex = r->own_ifindex;
	p->net = d->net;
	p->dev = d;
	if (s) {
		p->socket = s;
		p->mark = s->mark;
		p->priority = s->priority;
		p->stamp_ns = clock_ns();
		err = net_hook_egress(s, p);
	}
	if (!err && packet_len(p) > r->mtu && !may_cut)
		err = -EMSGSIZE;
	if (err) {
		packet_free(p);
		return err;
	}
	inet_count(inet_of(d->net), COUNT_IP_OUT);
	p->socket = NULL;
	if (p->sum_later && (!d->sums_later || packet_len(p) > r->mtu))
		finish_sum(p);
	if (packet_len(p) > r->mtu)
		return ip_fragment(p, d, r->mtu, &r->next_hop);
	if (r->type == RTN_LOCAL || d->flags & 8 /* IFF_LOOPBACK */)
		net_device_send(d, p, NULL);
	else if (r->type == RTN_BROADCAST)
		net_device_send(d, p, d->broadcast);
	else
		neighbour_send(d, &r->next_hop, p);
	return 0;
}

/* Members on this machine hear what is sent to their group. */
static void loop_back(struct net *n, const struct packet *p)
{
	struct packet *copy = packet_copy(p, ALLOC_ATOMIC);

	if (copy)
		net_device_send(n->loopback, copy, NULL);
}

int ip_output_by(struct net *n, struct socket *s, const struct inet_common *c, struct packet *p, u8 protocol,
		 const struct ip_addr *source, const struct ip_addr *destination, const struct ip_route *r)
{
	bool v4 = ip_addr_is_v4(destination), many = addr_is_multicast(destination), pushed;
	size_t header = v4 ? IP_BYTES : IP6_BYTES;
	bool fits = packet_len(p) + header <= r->mtu;

	pushed = v4 ? push_v4(inet_of(n), c, p, protocol, source->w[3], destination->w[3], many, fits)
		    : push_v6(c, p, protocol, source, destination, many);
	if (!pushed || (!fits && (c->path_mtu == IP_PMTUDISC_DO || c->path_mtu == IP_PMTUDISC_PROBE))) {
		packet_free(p);
		return -EMSGSIZE;
	}
	if (many && (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE) && !c->no_loop && r->dev != n->loopback)
		loop_back(n, p);
	return ip_send_ready(s, p, r, true);
}

int ip_output(struct net *n, struct socket *s, const struct inet_common *c, struct packet *p, u8 protocol,
	      const struct ip_addr *source, const struct ip_addr *destination)
{
	u32 ifindex = s ? s->bound_ifindex : p->vrf;
	struct ip_route r;
	int err;

	if (!ifindex && addr_is_multicast(destination))
		ifindex = c->multicast_ifindex;
	rcu_read_lock();
	err = ip_route(n, destination, ifindex, &r);
	if (err) {
		inet_count(inet_of(n), COUNT_IP_OUT_NO_ROUTE);
		packet_free(p);
	} else {
		err = ip_output_by(n, s, c, p, protocol, source, destination, &r);
	}
	rcu_read_unlock();
	return err;
}
