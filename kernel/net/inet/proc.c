/* SPDX-License-Identifier: MIT
 *
 * Problem: netstat, ss, route, arp and monitoring read /proc/net by column and by word.
 *
 * Idea: each file is one loop over what net/inet.h shows; the formats are tables of counters where the file is one.
 *
 * Contract: proc(5); columns and names as Linux 6.1 writes them. Addresses are printed as the words lie in memory.
 *
 * Locks: those of the walks; net_config_lock or RCU for devices, addresses and routes.
 */
#include <asm/param.h>
#include <core/clock.h>
#include <core/init.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/if.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/neighbour.h>
#include <linux/route.h>

#include "inet_priv.h"

#define TICK_MS 10 /* of the clock that user space counts in, HZ 100 */

struct lines {
	struct strbuf *out;
	bool v6;
	unsigned nr;
};

static void put_addr(struct strbuf *out, const struct ip_addr *a, bool v6)
{
	if (v6)
		strbuf_add(out, "%08X%08X%08X%08X", a->w[0], a->w[1], a->w[2], a->w[3]);
	else
		strbuf_add(out, "%08X", a->w[3]);
}

/* ---- sockets --------------------------------------------------------------------------------------------------------
 */

static void put_ends(struct strbuf *out, const struct inet_socket_view *v, bool v6)
{
	put_addr(out, &v->local, v6);
	strbuf_add(out, ":%04X ", host16(v->local_port));
	put_addr(out, &v->remote, v6);
	strbuf_add(out, ":%04X ", host16(v->remote_port));
}

static int socket_line(const struct inet_socket_view *v, void *arg)
{
	struct lines *l = arg;
	size_t start = l->out->len;
	bool tcp = v->protocol == IPPROTO_TCP;

	if ((v->family == PF_INET6) != l->v6)
		return 0;
	strbuf_add(l->out, tcp ? "%4u: " : "%5u: ", l->nr++);
	put_ends(l->out, v, l->v6);
	strbuf_add(l->out, "%02X %08X:%08X %02X:%08X %08X %5u %8u %llu ", v->state, v->send_bytes, v->receive_bytes,
		   v->timer, v->timer_ms / TICK_MS, v->retransmits, v->uid, 0U, (unsigned long long)v->inode);
	if (tcp)
		strbuf_add(l->out, "1 %016llx 20 0 0 10 -1", (unsigned long long)(ulong)v->cookie);
	else
		strbuf_add(l->out, "2 %016llx %llu", (unsigned long long)(ulong)v->cookie,
			   (unsigned long long)v->drops);
	while (!l->v6 && l->out->len - start < (tcp ? 149U : 127U) && !l->out->truncated)
		strbuf_add(l->out, " ");
	strbuf_add(l->out, "\n");
	return 0;
}

static int show_sockets(struct net *n, struct strbuf *out, int protocol, bool v6)
{
	struct lines l = { .out = out, .v6 = v6 };
	static const char head[] =
		"local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";
	static const char head6[] =
		"  sl  local_address                         remote_address                        st "
		"tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode";

	if (v6)
		strbuf_add(out, "%s%s\n", head6, protocol == IPPROTO_TCP ? "" : " ref pointer drops");
	else if (protocol == IPPROTO_TCP)
		strbuf_add(out, "  sl  %-143s\n", head);
	else
		strbuf_add(out, "   sl  %s %-*s\n", head, 26, "ref pointer drops");
	inet_sockets_show(n, protocol, socket_line, &l);
	return 0;
}

#define SOCKETS(fn, protocol, v6)                                                                                      \
	static int fn(struct net *n, struct strbuf *out)                                                               \
	{                                                                                                              \
		return show_sockets(n, out, protocol, v6);                                                             \
	}
SOCKETS(show_tcp, IPPROTO_TCP, false)
SOCKETS(show_tcp6, IPPROTO_TCP, true)
SOCKETS(show_udp, IPPROTO_UDP, false)
SOCKETS(show_udp6, IPPROTO_UDP, true)
SOCKETS(show_udplite, IPPROTO_UDPLITE, false)
SOCKETS(show_udplite6, IPPROTO_UDPLITE, true)
SOCKETS(show_raw, IPPROTO_RAW, false)
SOCKETS(show_raw6, IPPROTO_RAW, true)
SOCKETS(show_icmp, IPPROTO_ICMP, false)
SOCKETS(show_icmp6, IPPROTO_ICMPV6, true)

struct tally {
	u32 v4, v6, waiting;
};

static int count_one(const struct inet_socket_view *v, void *arg)
{
	struct tally *t = arg;

	if (v->state == TS_TIME_WAIT)
		t->waiting++;
	else if (v->family == PF_INET6)
		t->v6++;
	else
		t->v4++;
	return 0;
}

static struct tally count(struct net *n, int protocol)
{
	struct tally t = { 0 };

	inet_sockets_show(n, protocol, count_one, &t);
	return t;
}

static int show_sockstat(struct net *n, struct strbuf *out)
{
	struct tally tcp = count(n, IPPROTO_TCP), udp = count(n, IPPROTO_UDP), raw = count(n, IPPROTO_RAW);

	strbuf_add(out,
		   "sockets: used %u\nTCP: inuse %u orphan %u tw %u alloc %u mem 0\nUDP: inuse %u mem 0\nUDPLITE: "
		   "inuse 0\n"
		   "RAW: inuse %u\nFRAG: inuse 0 memory %zu\n",
		   tcp.v4 + tcp.v6 + udp.v4 + udp.v6 + raw.v4 + raw.v6, tcp.v4, inet_of(n)->tcp.nr_orphans, tcp.waiting,
		   tcp.v4 + tcp.v6, udp.v4, raw.v4, inet_of(n)->fragment_bytes);
	return 0;
}

static int show_sockstat6(struct net *n, struct strbuf *out)
{
	strbuf_add(out, "TCP6: inuse %u\nUDP6: inuse %u\nUDPLITE6: inuse 0\nRAW6: inuse %u\nFRAG6: inuse 0 memory 0\n",
		   count(n, IPPROTO_TCP).v6, count(n, IPPROTO_UDP).v6, count(n, IPPROTO_RAW).v6);
	return 0;
}

/* ---- devices, addresses, routes, neighbours
 * -------------------------------------------------------------------------- */

static int show_dev(struct net *n, struct strbuf *out)
{
	const struct net_device *d;

	strbuf_add(out, "Inter-|   Receive                                                |  Transmit\n"
			" face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
			"fifo colls "
			"carrier compressed\n");
	rcu_read_lock();
	list_for_each_entry (d, &n->devices, link)
		strbuf_add(out,
			   "%6s: %7llu %7llu %4llu %4llu    0     0          0         0 %8llu %7llu %4llu %4llu    0  "
			   "   0       0          0\n",
			   d->name, (unsigned long long)d->in.bytes, (unsigned long long)d->in.packets,
			   (unsigned long long)d->in.errors, (unsigned long long)d->in.dropped,
			   (unsigned long long)d->out.bytes, (unsigned long long)d->out.packets,
			   (unsigned long long)d->out.errors, (unsigned long long)d->out.dropped);
	rcu_read_unlock();
	return 0;
}

static int show_if_inet6(struct net *n, struct strbuf *out)
{
	const struct inet_address *a;

	rcu_read_lock();
	list_for_each_entry (a, inet_addresses(n), link) {
		const u8 *b = (const u8 *)&a->addr;
		u32 scope = a->scope == RT_SCOPE_HOST ? 0x10 : a->scope == RT_SCOPE_LINK ? 0x20 : 0;

		if (ip_addr_is_v4(&a->addr))
			continue;
		for (unsigned i = 0; i < 16; i++)
			strbuf_add(out, "%02x", b[i]);
		strbuf_add(out, " %02x %02x %02x %02x %8s\n", a->dev->ifindex, a->prefix, scope, a->flags & 0xff,
			   a->dev->name);
	}
	rcu_read_unlock();
	return 0;
}

static int show_route(struct net *n, struct strbuf *out)
{
	const struct inet_route *r;

	strbuf_add(out, "%-127s\n",
		   "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
	rcu_read_lock();
	list_for_each_entry (r, inet_routes(n, false), link) {
		u32 mask = r->length ? host32(~0U << (32 - r->length)) : 0, flags = RTF_UP;
		size_t start = out->len;

		if (r->table != RT_TABLE_MAIN || r->type == RTN_BROADCAST)
			continue;
		flags |= r->has_gateway ? RTF_GATEWAY : 0;
		flags |= r->length == 32 ? RTF_HOST : 0;
		flags |= r->type != RTN_UNICAST ? RTF_REJECT : 0;
		strbuf_add(out, "%s\t%08X\t%08X\t%04X\t0\t0\t%u\t%08X\t%u\t0\t0", r->dev ? r->dev->name : "*",
			   r->prefix.w[3], r->has_gateway ? r->gateway.w[3] : 0, flags, r->priority, mask,
			   r->mtu ? r->mtu - 40 : 0);
		while (out->len - start < 127 && !out->truncated)
			strbuf_add(out, " ");
		strbuf_add(out, "\n");
	}
	rcu_read_unlock();
	return 0;
}

static int show_ipv6_route(struct net *n, struct strbuf *out)
{
	const struct inet_route *r;

	rcu_read_lock();
	list_for_each_entry (r, inet_routes(n, true), link) {
		const u8 *p = (const u8 *)&r->prefix, *g = (const u8 *)&r->gateway;
		u32 flags = RTF_UP | (r->has_gateway ? RTF_GATEWAY : 0) | (r->type == RTN_LOCAL ? 0x80200000U : 0);

		for (unsigned i = 0; i < 16; i++)
			strbuf_add(out, "%02x", p[i]);
		strbuf_add(out, " %02x %032x 00 ", r->length, 0);
		for (unsigned i = 0; i < 16; i++)
			strbuf_add(out, "%02x", r->has_gateway ? g[i] : 0);
		strbuf_add(out, " %08x %08x %08x %08x %8s\n", r->priority, 1U, 0U, flags, r->dev ? r->dev->name : "lo");
	}
	rcu_read_unlock();
	return 0;
}

static int arp_line(const struct neighbour_view *v, void *arg)
{
	struct strbuf *out = arg;
	const u8 *b = (const u8 *)&v->addr.w[3], *m = v->mac;
	char text[16];

	if (!ip_addr_is_v4(&v->addr))
		return 0;
	str_format(text, sizeof(text), "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
	strbuf_add(out, "%-16s 0x1         0x%x         %02x:%02x:%02x:%02x:%02x:%02x     *        %s\n", text,
		   v->state & NUD_PERMANENT    ? 6U
		   : v->state & NUD_INCOMPLETE ? 0U
					       : 2U,
		   m[0], m[1], m[2], m[3], m[4], m[5], v->dev->name);
	return 0;
}

static int show_arp(struct net *n, struct strbuf *out)
{
	strbuf_add(out, "IP address       HW type     Flags       HW address            Mask     Device\n");
	mutex_lock(&net_config_lock);
	neighbours_show(n, arp_line, out);
	mutex_unlock(&net_config_lock);
	return 0;
}

/* ---- counters
 * -------------------------------------------------------------------------------------------------------- */

static unsigned long long counted(const struct inet_net *i, enum inet_count c)
{
	return READ_ONCE(i->counts[c]);
}

static int show_snmp(struct net *n, struct strbuf *out)
{
	const struct inet_net *i = inet_of(n);
	const struct tcp_host *t = &i->tcp;
	struct tally tcp = count(n, IPPROTO_TCP);

	strbuf_add(out,
		   "Ip: Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos "
		   "InDiscards "
		   "InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs ReasmFails FragOKs "
		   "FragFails FragCreates\n");
	strbuf_add(out, "Ip: %u 64 %llu %llu %llu %llu %llu 0 %llu %llu 0 %llu 0 %llu %llu %llu %llu 0 %llu\n",
		   i->forward[0] ? 1U : 2U, counted(i, COUNT_IP_IN), counted(i, COUNT_IP_IN_HEADER),
		   counted(i, COUNT_IP_IN_ADDRESS), counted(i, COUNT_IP_FORWARDED), counted(i, COUNT_IP_IN_PROTOCOL),
		   counted(i, COUNT_IP_DELIVERED), counted(i, COUNT_IP_OUT), counted(i, COUNT_IP_OUT_NO_ROUTE),
		   counted(i, COUNT_IP_REASSEMBLY), counted(i, COUNT_IP_REASSEMBLED),
		   counted(i, COUNT_IP_REASSEMBLY_FAILED), counted(i, COUNT_IP_FRAGMENTED),
		   counted(i, COUNT_IP_FRAGMENTS));
	strbuf_add(
		out,
		"Icmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs InRedirects "
		"InEchos "
		"InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps OutMsgs OutErrors OutDestUnreachs "
		"OutTimeExcds OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps "
		"OutTimestampReps "
		"OutAddrMasks OutAddrMaskReps\n");
	strbuf_add(out, "Icmp: %llu 0 0 %llu 0 0 0 0 %llu %llu 0 0 0 0 %llu 0 %llu 0 0 0 0 0 %llu 0 0 0 0\n",
		   counted(i, COUNT_ICMP_IN), counted(i, COUNT_ICMP_IN_UNREACHABLE), counted(i, COUNT_ICMP_IN_ECHO),
		   counted(i, COUNT_ICMP_IN_ECHO_REPLY), counted(i, COUNT_ICMP_OUT),
		   counted(i, COUNT_ICMP_OUT_UNREACHABLE), counted(i, COUNT_ICMP_OUT_ECHO_REPLY));
	strbuf_add(out, "Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets "
			"CurrEstab InSegs "
			"OutSegs RetransSegs InErrs OutRsts InCsumErrors\n");
	strbuf_add(out, "Tcp: 1 200 120000 -1 0 0 0 0 %u %llu %llu %llu %llu %llu 0\n", tcp.v4 + tcp.v6,
		   (unsigned long long)t->in_segments, (unsigned long long)t->out_segments,
		   (unsigned long long)t->retransmits, (unsigned long long)t->bad_segments,
		   (unsigned long long)t->resets_sent);
	strbuf_add(out, "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
			"IgnoredMulti MemErrors\n");
	strbuf_add(out, "Udp: %llu %llu %llu %llu %llu 0 0 0 0\n", counted(i, COUNT_UDP_IN),
		   counted(i, COUNT_UDP_NO_PORT), counted(i, COUNT_UDP_IN_ERRORS) + counted(i, COUNT_UDP_NO_ROOM),
		   counted(i, COUNT_UDP_OUT), counted(i, COUNT_UDP_NO_ROOM));
	return 0;
}

static int show_netstat(struct net *n, struct strbuf *out)
{
	const struct tcp_host *t = &inet_of(n)->tcp;

	strbuf_add(out, "TcpExt: SyncookiesSent SyncookiesRecv ListenOverflows ListenDrops TCPTimeouts\n");
	strbuf_add(out, "TcpExt: %llu %llu %llu %llu %llu\n", (unsigned long long)t->cookies_sent,
		   (unsigned long long)t->cookies_taken, (unsigned long long)t->overflows,
		   (unsigned long long)t->overflows, (unsigned long long)t->timeouts);
	strbuf_add(out, "IpExt: InNoRoutes InOctets\nIpExt: 0 %llu\n", (unsigned long long)n->loopback->in.bytes);
	return 0;
}

static struct net_file files[] = {
	{ .name = "tcp", .show = show_tcp },           { .name = "tcp6", .show = show_tcp6 },
	{ .name = "udp", .show = show_udp },           { .name = "udp6", .show = show_udp6 },
	{ .name = "udplite", .show = show_udplite },   { .name = "udplite6", .show = show_udplite6 },
	{ .name = "raw", .show = show_raw },           { .name = "raw6", .show = show_raw6 },
	{ .name = "icmp", .show = show_icmp },         { .name = "icmp6", .show = show_icmp6 },
	{ .name = "sockstat", .show = show_sockstat }, { .name = "sockstat6", .show = show_sockstat6 },
	{ .name = "dev", .show = show_dev },           { .name = "if_inet6", .show = show_if_inet6 },
	{ .name = "route", .show = show_route },       { .name = "ipv6_route", .show = show_ipv6_route },
	{ .name = "arp", .show = show_arp },           { .name = "snmp", .show = show_snmp },
	{ .name = "netstat", .show = show_netstat }
};

void inet_files_init(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		net_file_register(&files[i]);
}
