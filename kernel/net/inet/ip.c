/* SPDX-License-Identifier: MIT
 *
 * Problem: carry a transport packet to an address and up again at the other side, trusting no byte that comes in.
 *
 * Idea: a route is one decision: an address of this machine goes through loopback, which is input called from output
 * through a per-CPU queue, so that a reply never runs inside the send that caused it. Everything else has no route yet.
 *
 * Contract: inet_priv.h. Format: RFC 791 (header), RFC 1071 (checksum). No fragments: they are dropped on the way in,
 * and what does not fit a packet is EMSGSIZE on the way out.
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
#include <net/hooks.h>

#include "inet_priv.h"

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

bool ip_is_local(u32 addr)
{
	return (host32(addr) >> 24) == 127;
}

/* ---- in -------------------------------------------------------------------------------------------- */

/* The header if the packet is whole and sound, cut to its length; NULL otherwise. */
static const struct iphdr *check(struct packet *p)
{
	const struct iphdr *h = (const struct iphdr *)p->data;
	size_t len = packet_len(p), header;

	if (len < sizeof(*h) || h->version != 4 || h->ihl != 5) /* options: nobody here sends them */
		return NULL;
	header = h->ihl * 4U;
	if (header > len || host16(h->tot_len) < header || host16(h->tot_len) > len || ip_checksum(h, header, 0))
		return NULL;
	if (host16(h->frag_off) & 0x3fff) /* more fragments, or an offset */
		return NULL;
	p->tail = p->data + host16(h->tot_len);
	return h;
}

void ip_input(struct packet *p)
{
	const struct iphdr *h = check(p);

	if (!h || !ip_is_local(h->daddr) || h->protocol != IPPROTO_UDP) {
		packet_free(p);
		return;
	}
	udp_input(p, h->saddr, h->daddr);
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
	list_add_tail(&p->link, &b->packets);
	deferred_queue(&b->run);
	irq_restore(irq);
}

/* ---- out -------------------------------------------------------------------------------------------- */

int ip_output(struct inet_socket *i, struct packet *p, u8 protocol, u32 source, u32 destination)
{
	struct iphdr *h = packet_push(p, sizeof(*h));
	int err = ip_is_local(destination) ? 0 : -ENETUNREACH;

	if (!h)
		err = -ENOBUFS;
	if (!err) {
		*h = (struct iphdr){ .version = 4, .ihl = 5, .tos = i->tos, .ttl = i->ttl, .protocol = protocol };
		h->tot_len = host16(packet_len(p));
		h->frag_off = host16(0x4000); /* do not fragment */
		h->saddr = source;
		h->daddr = destination;
		h->check = ip_checksum(h, sizeof(*h), 0);
		p->protocol = ETH_P_IP;
		p->ifindex = LOOPBACK_IFINDEX;
		p->socket = i->socket;
		p->mark = i->socket->mark;
		p->priority = i->socket->priority;
		p->stamp_ns = clock_ns();
		err = net_hook_egress(i->socket, p);
	}
	if (err) {
		packet_free(p);
		return err;
	}
	loopback(p);
	return 0;
}
