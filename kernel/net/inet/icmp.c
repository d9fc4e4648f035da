/* SPDX-License-Identifier: MIT
 *
 * Problem: hosts are asked whether they live, and packets that do not get through must be reported to whoever sent
 * them, without answering a report with a report, and without becoming somebody's amplifier.
 *
 * Idea: both families' messages are read into one form (struct icmp_error) by a table of types and codes; the protocol
 * that had sent the packet finds its socket. Errors of our own go out through the same output as everything else, at a
 * limited rate.
 *
 * Contract: inet_priv.h. Formats: RFC 792, RFC 4443; which errors end a connection: RFC 1122, 4.2.3.9; which packets
 * are never complained about: RFC 1122, 3.2.2, RFC 4443, 2.4.
 *
 * Locks: none; the rate is one atomic word.
 */
#include <core/clock.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "inet_priv.h"

#define HEADER_BYTES  8
#define ECHO_V6       128
#define ECHO_REPLY_V6 129
#define FIRST_NDISC   133
#define LAST_NDISC    137
#define QUOTED_V4     548 /* with headers at most 576 bytes */
#define QUOTED_V6     1232
#define ERROR_NS      (NSEC_PER_MSEC) /* between errors, after a burst */
#define ERROR_BURST   50

struct meaning {
	u8 type, code;
	u8 error;
	bool hard;
};

static const struct meaning v4_unreachable[] = { /* by code of ICMP_DEST_UNREACH */
						 { 3, ICMP_NET_UNREACH, ENETUNREACH, false },
						 { 3, ICMP_HOST_UNREACH, EHOSTUNREACH, false },
						 { 3, ICMP_PROT_UNREACH, ENOPROTOOPT, true },
						 { 3, ICMP_PORT_UNREACH, ECONNREFUSED, true },
						 { 3, ICMP_FRAG_NEEDED, EMSGSIZE, false },
						 { 3, ICMP_SR_FAILED, EOPNOTSUPP, false },
						 { 3, ICMP_NET_UNKNOWN, ENETUNREACH, true },
						 { 3, ICMP_HOST_UNKNOWN, EHOSTDOWN, true },
						 { 3, ICMP_HOST_ISOLATED, ENONET, true },
						 { 3, ICMP_NET_ANO, ENETUNREACH, true },
						 { 3, ICMP_HOST_ANO, EHOSTUNREACH, true },
						 { 3, ICMP_NET_UNR_TOS, ENETUNREACH, false },
						 { 3, ICMP_HOST_UNR_TOS, EHOSTUNREACH, false },
						 { 3, ICMP_PKT_FILTERED, EHOSTUNREACH, true },
						 { 3, ICMP_PREC_VIOLATION, EHOSTUNREACH, true },
						 { 3, ICMP_PREC_CUTOFF, EHOSTUNREACH, true }
};
static const struct meaning v6_meanings[] = { { ICMPV6_DEST_UNREACH, ICMPV6_NOROUTE, ENETUNREACH, false },
					      { ICMPV6_DEST_UNREACH, ICMPV6_ADM_PROHIBITED, EACCES, true },
					      { ICMPV6_DEST_UNREACH, ICMPV6_NOT_NEIGHBOUR, EHOSTUNREACH, false },
					      { ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH, EHOSTUNREACH, false },
					      { ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, ECONNREFUSED, true },
					      { ICMPV6_PKT_TOOBIG, 0, EMSGSIZE, false },
					      { ICMPV6_TIME_EXCEED, 0, EHOSTUNREACH, false },
					      { ICMPV6_TIME_EXCEED, 1, EHOSTUNREACH, false },
					      { ICMPV6_PARAMPROB, 0, EPROTO, true },
					      { ICMPV6_PARAMPROB, 1, EPROTO, true },
					      { ICMPV6_PARAMPROB, 2, EPROTO, true } };

struct message {
	u8 type, code;
	u16 sum;
	u32 info;
};

/* ---- complaining ----------------------------------------------------------------------------------------------------
 */

static bool may_complain(struct inet_net *i)
{
	u64 now = clock_ns(), until = READ_ONCE(i->errors_until);

	until = max(until, now > ERROR_BURST * ERROR_NS ? now - ERROR_BURST * ERROR_NS : 0) + ERROR_NS;
	if (until > now)
		return false;
	WRITE_ONCE(i->errors_until, until); /* two at once may both pass: a limit, not a count */
	return true;
}

static struct message message_for(enum icmp_why why, bool v4, u32 info)
{
	static const u8 four[][2] = {
		[WHY_NO_PORT] = { ICMP_DEST_UNREACH, ICMP_PORT_UNREACH },
		[WHY_NO_HOST] = { ICMP_DEST_UNREACH, ICMP_HOST_UNREACH },
		[WHY_NO_NET] = { ICMP_DEST_UNREACH, ICMP_NET_UNREACH },
		[WHY_TOO_BIG] = { ICMP_DEST_UNREACH, ICMP_FRAG_NEEDED },
		[WHY_TTL] = { ICMP_TIME_EXCEEDED, ICMP_EXC_TTL },
		[WHY_REASSEMBLY] = { ICMP_TIME_EXCEEDED, ICMP_EXC_FRAGTIME },
		[WHY_PROTOCOL] = { ICMP_DEST_UNREACH, ICMP_PROT_UNREACH },
	};
	static const u8 six[][2] = {
		[WHY_NO_PORT] = { ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH },
		[WHY_NO_HOST] = { ICMPV6_DEST_UNREACH, ICMPV6_ADDR_UNREACH },
		[WHY_NO_NET] = { ICMPV6_DEST_UNREACH, ICMPV6_NOROUTE },
		[WHY_TOO_BIG] = { ICMPV6_PKT_TOOBIG, 0 },
		[WHY_TTL] = { ICMPV6_TIME_EXCEED, ICMPV6_EXC_HOPLIMIT },
		[WHY_REASSEMBLY] = { ICMPV6_TIME_EXCEED, ICMPV6_EXC_FRAGTIME },
		[WHY_PROTOCOL] = { ICMPV6_PARAMPROB, ICMPV6_UNK_NEXTHDR },
	};
	const u8 *m = v4 ? four[why] : six[why];

	return (struct message){ .type = m[0], .code = m[1], .info = host32(info) };
}

/* Whether the packet may be complained about at all, and who sent it to whom. */
static bool quotable(const struct packet *p, struct ip_addr *from, struct ip_addr *to)
{
	const u8 *at = p->network;
	size_t len = p->tail - at;
	u8 protocol, type;

	if (p->kind == PACKET_BROADCAST || p->kind == PACKET_MULTICAST || !len)
		return false;
	if (*at >> 4 == 4) {
		const struct iphdr *h = (const struct iphdr *)at;
		size_t header = h->ihl * 4U;

		if (len < header + 8 || host16(h->frag_off) & 0x1fff)
			return false;
		*from = ip_addr_v4(h->saddr);
		*to = ip_addr_v4(h->daddr);
		protocol = h->protocol;
		type = at[header];
		if (protocol == IPPROTO_ICMP && type != ICMP_ECHO && type != ICMP_ECHOREPLY && type != ICMP_TIMESTAMP)
			return false;
	} else {
		const struct ipv6hdr *h = (const struct ipv6hdr *)at;

		if (len < sizeof(*h) + 8)
			return false;
		memcpy(from, &h->saddr, sizeof(*from));
		memcpy(to, &h->daddr, sizeof(*to));
		if (h->nexthdr == IPPROTO_ICMPV6 && at[sizeof(*h)] < ECHO_V6)
			return false;
	}
	return !ip_addr_is_any(from) && !addr_is_multicast(from) && !addr_is_multicast(to) &&
	       !(ip_addr_is_v4(to) && to->w[3] == ~0U);
}

static void send(struct net *n, struct packet *p, const struct ip_addr *from, const struct ip_addr *to)
{
	static const struct inet_common c = { .ttl = 64, .hop_limit = 64, .multicast_ttl = 1, .multicast_hops = 1 };
	bool v4 = ip_addr_is_v4(to);
	struct message *m = (struct message *)p->data;

	m->sum = 0;
	m->sum = ip_checksum(p->data, packet_len(p),
			     v4 ? 0 : ip_pseudo_sum(from, to, IPPROTO_ICMPV6, (u32)packet_len(p)));
	inet_count(inet_of(n), COUNT_ICMP_OUT);
	(void)!ip_output(n, NULL, &c, p, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6, from, to);
}

void icmp_complain(struct net *n, const struct packet *p, enum icmp_why why, u32 info)
{
	struct ip_addr from, to, us;
	struct ip_route r;
	struct message m;
	struct packet *e;
	size_t len = p->network ? p->tail - p->network : 0;

	if (!len || !quotable(p, &from, &to) || !may_complain(inet_of(n)) || ip_route(n, &from, p->vrf, &r))
		return;
	us = ip_is_local(n, &to, p->vrf) ? to : r.source;
	len = min(len, ip_addr_is_v4(&from) ? (size_t)QUOTED_V4 : (size_t)QUOTED_V6);
	e = packet_alloc(sizeof(m) + len, ALLOC_ATOMIC);
	if (!e)
		return;
	m = message_for(why, ip_addr_is_v4(&from), info);
	memcpy(packet_put(e, sizeof(m)), &m, sizeof(m));
	memcpy(packet_put(e, len), p->network, len);
	e->vrf = p->vrf;
	inet_count(inet_of(n), COUNT_ICMP_OUT_UNREACHABLE);
	send(n, e, &us, &from);
}

/* ---- hearing
 * --------------------------------------------------------------------------------------------------------- */

static void echo_reply(struct packet *p, u8 type, const struct ip_addr *from, const struct ip_addr *to)
{
	struct packet *r;
	struct ip_addr us = *to;
	struct ip_route way;

	if (addr_is_multicast(to) || p->kind == PACKET_BROADCAST) {
		if (ip_addr_is_v4(to) || ip_route(p->net, from, p->ifindex, &way))
			return; /* as net.ipv4.icmp_echo_ignore_broadcasts is by default */
		us = way.source;
	}
	r = packet_alloc(packet_len(p), ALLOC_ATOMIC);
	if (!r)
		return;
	memcpy(packet_put(r, packet_len(p)), p->data, packet_len(p));
	r->data[0] = type;
	r->vrf = p->vrf;
	inet_count(inet_of(p->net), COUNT_ICMP_OUT_ECHO_REPLY);
	send(p->net, r, &us, from);
}

static const struct meaning *meaning_of(u8 type, u8 code, bool v4)
{
	static const struct meaning v4_time = { ICMP_TIME_EXCEEDED, 0, EHOSTUNREACH, false };
	static const struct meaning v4_parameter = { ICMP_PARAMETERPROB, 0, EPROTO, true };

	if (v4 && type == ICMP_DEST_UNREACH)
		return code < ARRAY_SIZE(v4_unreachable) ? &v4_unreachable[code] : NULL;
	if (v4)
		return type == ICMP_TIME_EXCEEDED ? &v4_time : type == ICMP_PARAMETERPROB ? &v4_parameter : NULL;
	for (unsigned k = 0; k < ARRAY_SIZE(v6_meanings); k++)
		if (v6_meanings[k].type == type && v6_meanings[k].code == code)
			return &v6_meanings[k];
	return NULL;
}

/* The quoted packet's ends and transport header; its protocol, or -1: it is not whole enough. */
static int quoted(const struct packet *p, bool v4, struct icmp_error *e)
{
	const u8 *at = p->data + HEADER_BYTES;
	size_t len = packet_len(p) - HEADER_BYTES, header;
	int protocol;

	if (v4) {
		const struct iphdr *h = (const struct iphdr *)at;

		if (len < sizeof(*h) || h->version != 4 || h->ihl < 5)
			return -1;
		header = h->ihl * 4U;
		e->source = ip_addr_v4(h->saddr);
		e->destination = ip_addr_v4(h->daddr);
		protocol = h->protocol;
	} else {
		const struct ipv6hdr *h = (const struct ipv6hdr *)at;

		if (len < sizeof(*h) || h->version != 6)
			return -1;
		header = sizeof(*h);
		memcpy(&e->source, &h->saddr, sizeof(e->source));
		memcpy(&e->destination, &h->daddr, sizeof(e->destination));
		protocol = h->nexthdr;
	}
	if (len < header + 8)
		return -1;
	e->transport = at + header;
	e->len = len - header;
	return protocol;
}

static void on_error(struct packet *p, const struct message *m, const struct ip_addr *from)
{
	bool v4 = ip_addr_is_v4(from);
	const struct meaning *what = meaning_of(m->type, m->code, v4);
	struct icmp_error e = { .offender = *from,
				.origin = v4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6,
				.type = m->type,
				.code = m->code,
				.ifindex = p->ifindex,
				.vrf = p->vrf };
	struct inet_net *i = inet_of(p->net);
	int protocol = what ? quoted(p, v4, &e) : -1;

	if (protocol < 0)
		return;
	e.error = what->error;
	e.hard = what->hard;
	if (e.error == EMSGSIZE) {
		e.info = v4 ? host32(m->info) & 0xffff : host32(m->info);
		if (e.info >= 68)
			ip_path_mtu_set(p->net, &e.destination, e.info);
	}
	if (protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE)
		udp_error(i, (u8)protocol, &e);
	else if (protocol == IPPROTO_TCP)
		stream_error(i, &e);
	raw_error(i, (u8)protocol, &e);
}

void icmp_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to)
{
	struct inet_net *i = inet_of(p->net);
	struct message m;

	inet_count(i, COUNT_ICMP_IN);
	if (packet_len(p) < sizeof(m) || ip_checksum(p->data, packet_len(p), 0)) {
		packet_free(p);
		return;
	}
	memcpy(&m, p->data, sizeof(m));
	switch (m.type) {
	case ICMP_ECHO:
		inet_count(i, COUNT_ICMP_IN_ECHO);
		echo_reply(p, ICMP_ECHOREPLY, from, to);
		break;
	case ICMP_ECHOREPLY:
		inet_count(i, COUNT_ICMP_IN_ECHO_REPLY);
		ping_input(p, from, to);
		break;
	case ICMP_DEST_UNREACH:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		inet_count(i, COUNT_ICMP_IN_UNREACHABLE);
		on_error(p, &m, from);
		break;
	}
	packet_free(p);
}

void icmp6_input(struct packet *p, const struct ip_addr *from, const struct ip_addr *to)
{
	struct message m;

	if (packet_len(p) < sizeof(m) ||
	    ip_checksum(p->data, packet_len(p), ip_pseudo_sum(from, to, IPPROTO_ICMPV6, (u32)packet_len(p)))) {
		packet_free(p);
		return;
	}
	memcpy(&m, p->data, sizeof(m));
	if (m.type >= FIRST_NDISC && m.type <= LAST_NDISC) {
		ndisc_input(p, from, to);
		return;
	}
	if (m.type == ECHO_V6)
		echo_reply(p, ECHO_REPLY_V6, from, to);
	else if (m.type == ECHO_REPLY_V6)
		ping_input(p, from, to);
	else if (m.type < ECHO_V6)
		on_error(p, &m, from);
	packet_free(p);
}
