/* SPDX-License-Identifier: MIT
 *
 * Problem: carry a transport packet to an address and up again at the other side, trusting no byte that comes in.
 *
 * Idea: a route is one decision: an address of this machine goes through loopback, which is input called from output
 * through a per-CPU queue, so that a reply never runs inside the send that caused it. Everything else has no route yet.
 *
 * Contract: inet_priv.h. Format: RFC 791 and 8200 (headers), RFC 1071 (checksum). No fragments: they are dropped on the
 * way in, and what does not fit a packet is EMSGSIZE on the way out.
 *
 * Locks: none; the backlog belongs to its CPU (IRQs off while it is touched).
 */
#include <arch/cpu.h>
#include <arch/percpu.h>
#include <core/clock.h>
#include <core/irq.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <net/hooks.h>

#include "inet_priv.h"

#define LOOPBACK_IFINDEX 1
#define LOOPBACK_MTU     65536

struct backlog {
	struct list packets;
	struct deferred run;
	bool ready;
};
static DEFINE_PER_CPU(struct backlog, backlog);

u16 ip_checksum(const void *data, size_t len, u32 start)
{
	const u8 *b = data;
	u64 sum = start;

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

static bool is_loopback(const struct ip_addr *a)
{
	if (ip_addr_is_v4(a))
		return host32(a->w[3]) >> 24 == 127;
	return !a->w[0] && !a->w[1] && !a->w[2] && a->w[3] == host32(1);
}

bool ip_is_local(const struct ip_addr *addr)
{
	return is_loopback(addr);
}

int ip_route(const struct ip_addr *destination, u32 bound_ifindex, struct ip_route *out)
{
	if (!is_loopback(destination) || (bound_ifindex && bound_ifindex != LOOPBACK_IFINDEX))
		return -ENETUNREACH;
	*out = (struct ip_route){
		.source = *destination, .ifindex = LOOPBACK_IFINDEX, .mtu = LOOPBACK_MTU, .loopback = true
	};
	if (ip_addr_is_v4(destination))
		out->source = ip_addr_v4(host32(INADDR_LOOPBACK));
	return 0;
}

/* ---- in -------------------------------------------------------------------------------------------- */

/* Each checks that the packet is whole and sound, cuts it to its length and moves data to the transport header. */
static bool parse_v4(struct packet *p, u8 *protocol, struct ip_addr *from, struct ip_addr *to)
{
	const struct iphdr *h = (const struct iphdr *)p->data;
	size_t len = packet_len(p), header;

	if (len < sizeof(*h) || h->version != 4 || h->ihl < 5)
		return false;
	header = h->ihl * 4U;
	if (header > len || host16(h->tot_len) < header || host16(h->tot_len) > len || ip_checksum(h, header, 0))
		return false;
	if (host16(h->frag_off) & 0x3fff) /* more fragments, or an offset */
		return false;
	p->tail = p->data + host16(h->tot_len);
	p->data += header;
	*protocol = h->protocol;
	*from = ip_addr_v4(h->saddr);
	*to = ip_addr_v4(h->daddr);
	return true;
}

static bool parse_v6(struct packet *p, u8 *protocol, struct ip_addr *from, struct ip_addr *to)
{
	const struct ipv6hdr *h = (const struct ipv6hdr *)p->data;
	size_t len = packet_len(p);

	if (len < sizeof(*h) || h->version != 6 || host16(h->payload_len) > len - sizeof(*h))
		return false;
	p->tail = p->data + sizeof(*h) + host16(h->payload_len);
	p->data += sizeof(*h);
	*protocol = h->nexthdr; /* extension headers: nobody here sends them */
	memcpy(from, &h->saddr, sizeof(*from));
	memcpy(to, &h->daddr, sizeof(*to));
	return !ip_addr_is_v4(from) && !ip_addr_is_v4(to);
}

void ip_input(struct packet *p)
{
	struct ip_addr from, to;
	u8 protocol;
	bool sound;

	p->network = p->data;
	sound = packet_len(p) &&
		(*p->data >> 4 == 4 ? parse_v4(p, &protocol, &from, &to) : parse_v6(p, &protocol, &from, &to));
	if (!sound || !ip_is_local(&to))
		packet_free(p);
	else if (protocol == IPPROTO_UDP)
		udp_input(p, &from, &to);
	else if (protocol == IPPROTO_TCP)
		stream_input(p, &from, &to);
	else
		packet_free(p);
}

static struct packet *next_packet(void)
{
	ulong irq = irq_save();
	struct backlog *b = this_cpu_ptr(&backlog);
	struct packet *p = list_first_or_null(&b->packets, struct packet, link);

	if (p)
		list_del_init(&p->link);
	irq_restore(irq);
	return p;
}

static void run_backlog(struct deferred *d)
{
	struct packet *p;

	while ((p = next_packet()))
		ip_input(p);
}

static void loopback(struct packet *p)
{
	ulong irq = irq_save();
	struct backlog *b = this_cpu_ptr(&backlog);

	if (!b->ready) {
		list_init(&b->packets);
		deferred_init(&b->run, run_backlog);
		b->ready = true;
	}
	p->socket = NULL;
	p->ifindex = LOOPBACK_IFINDEX;
	p->sum_ok = true;
	list_add_tail(&p->link, &b->packets);
	deferred_queue(&b->run);
	irq_restore(irq);
}

/* ---- out -------------------------------------------------------------------------------------------- */

static bool push_v4(const struct inet_common *c, struct packet *p, u8 protocol, u32 source, u32 destination)
{
	struct iphdr *h = packet_push(p, sizeof(*h));

	if (!h || packet_len(p) > 65535)
		return false;
	*h = (struct iphdr){ .version = 4, .ihl = 5, .tos = c->tos, .ttl = c->ttl, .protocol = protocol };
	h->tot_len = host16((u16)packet_len(p));
	h->frag_off = host16(0x4000); /* do not fragment */
	h->saddr = source;
	h->daddr = destination;
	h->check = ip_checksum(h, sizeof(*h), 0);
	p->protocol = ETH_P_IP;
	return true;
}

static bool push_v6(const struct inet_common *c, struct packet *p, u8 protocol, const struct ip_addr *source,
		    const struct ip_addr *destination)
{
	size_t len = packet_len(p);
	struct ipv6hdr *h = packet_push(p, sizeof(*h));

	if (!h || len > 65535)
		return false;
	*h = (struct ipv6hdr){
		.version = 6, .priority = c->tclass >> 4, .nexthdr = protocol, .hop_limit = c->hop_limit
	};
	h->flow_lbl[0] = (u8)(c->tclass << 4);
	h->payload_len = host16((u16)len);
	memcpy(&h->saddr, source, sizeof(*source));
	memcpy(&h->daddr, destination, sizeof(*destination));
	p->protocol = ETH_P_IPV6;
	return true;
}

int ip_output(struct socket *s, const struct inet_common *c, struct packet *p, u8 protocol,
	      const struct ip_addr *source, const struct ip_addr *destination)
{
	struct ip_route r = { .ifindex = 0 };
	int err = ip_route(destination, s ? s->bound_ifindex : 0, &r);

	if (!err && !(ip_addr_is_v4(destination) ? push_v4(c, p, protocol, source->w[3], destination->w[3])
						 : push_v6(c, p, protocol, source, destination)))
		err = -EMSGSIZE;
	p->ifindex = r.ifindex;
	p->stamp_ns = clock_ns();
	if (!err && s) {
		p->socket = s;
		p->mark = s->mark;
		p->priority = s->priority;
		err = net_hook_egress(s, p);
	}
	if (err) {
		packet_free(p);
		return err;
	}
	loopback(p);
	return 0;
}
