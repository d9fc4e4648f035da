/* SPDX-License-Identifier: MIT
 *
 * Problem: frames come from strangers, netlink messages and bpf(2) attributes from programs with bugs. Each of the
 * parsers must say no, or drop, and never harm the kernel.
 *
 * Idea: sound ones (every protocol that the stack knows; requests of rtnetlink and sock_diag; attributes of each bpf
 * command) are bent by a seeded generator: bytes flipped, cut, lengthened, checksums put right again so that the damage
 * gets further in. They go in from one end of a pair of devices in a network namespace of this test, with sockets of
 * all kinds at the other; the build with all checks runs this too. In the end the same namespace must still work.
 *
 * Contract: net_hostile [ROUNDS [SEED]]; prints ok or not ok, the same on Linux. Needs the right to make namespaces.
 *
 * Locks: none.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include "abi.h"
#include "netlink.h"

#define NAME_A "hostile0"
#define NAME_B "hostile1"

static uint64_t seed = 4711;
static int rounds = 4000, wire = -1;
static unsigned char mac_b[6];

static uint32_t rnd(void)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33);
}

/* ---- the place --------------------------------------------------------------------------------------------------- */

struct request {
	struct nlmsghdr h;
	char body[1024];
};

static void begin(struct request *r, int type, int flags, const void *head, size_t len)
{
	memset(r, 0, sizeof(*r));
	r->h.nlmsg_type = (unsigned short)type;
	r->h.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags);
	r->h.nlmsg_len = NLMSG_LENGTH(len);
	memcpy(NLMSG_DATA(&r->h), head, len);
}

static void drain(int s)
{
	static char answer[65536];

	while (recv(s, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
}

/* A pair of devices. */
static void pair_request(struct request *r)
{
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	struct rtattr *info, *data, *peer;

	begin(r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, &i, sizeof(i));
	netlink_add(&r->h, IFLA_IFNAME, NAME_A, sizeof(NAME_A));
	info = netlink_add(&r->h, IFLA_LINKINFO, NULL, 0);
	netlink_add(&r->h, IFLA_INFO_KIND, "veth", 5);
	data = netlink_add(&r->h, IFLA_INFO_DATA, NULL, 0);
	peer = netlink_add(&r->h, 1 /* VETH_INFO_PEER */, &i, sizeof(i));
	netlink_add(&r->h, IFLA_IFNAME, NAME_B, sizeof(NAME_B));
	netlink_end(&r->h, peer);
	netlink_end(&r->h, data);
	netlink_end(&r->h, info);
}

static void configure(const char *name, const char *addr)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	struct ifreq r = { .ifr_flags = 0 };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	strcpy(r.ifr_name, name);
	if (addr) {
		inet_pton(AF_INET, addr, &a.sin_addr);
		memcpy(&r.ifr_addr, &a, sizeof(a));
		want_eq(ioctl(s, SIOCSIFADDR, &r), 0);
	}
	want_eq(ioctl(s, SIOCGIFFLAGS, &r), 0);
	r.ifr_flags |= IFF_UP;
	want_eq(ioctl(s, SIOCSIFFLAGS, &r), 0);
	want_eq(ioctl(s, SIOCGIFHWADDR, &r), 0);
	memcpy(mac_b, r.ifr_hwaddr.sa_data, 6);
	close(s);
}

static void open_all(void)
{
	static const int kinds[][3] = { { AF_INET, SOCK_DGRAM, 0 },          { AF_INET6, SOCK_DGRAM, 0 },
					{ AF_INET, SOCK_RAW, IPPROTO_ICMP }, { AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 },
					{ AF_INET, SOCK_STREAM, 0 },         { AF_INET6, SOCK_STREAM, 0 },
					{ AF_INET, SOCK_DGRAM, 136 } };

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct sockaddr_in6 a = { .sin6_family = (unsigned short)kinds[i][0], .sin6_port = htons(1000) };
		int s = socket(kinds[i][0], kinds[i][1], kinds[i][2]);

		if (s < 0)
			continue; /* the kernel lacks UDP-Lite */
		setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int));
		(void)!bind(s, (void *)&a, kinds[i][0] == AF_INET ? sizeof(struct sockaddr_in) : sizeof(a));
		if (kinds[i][1] == SOCK_STREAM)
			want_eq(listen(s, 5), 0);
	}
}

CASE(place)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK };
	struct sockaddr_ll l = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct request r;
	int s;

	want_eq(unshare(CLONE_NEWNET), 0);
	s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	pair_request(&r);
	want_eq(sendto(s, &r, r.h.nlmsg_len, 0, (void *)&to, sizeof(to)), r.h.nlmsg_len);
	drain(s);
	close(s);
	configure("lo", NULL);
	configure(NAME_A, "10.3.0.1");
	configure(NAME_B, "10.3.0.2");
	open_all();
	wire = socket(AF_PACKET, SOCK_RAW, 0);
	l.sll_ifindex = (int)if_nametoindex(NAME_A);
	want(wire >= 0 && l.sll_ifindex);
	want_eq(bind(wire, (void *)&l, sizeof(l)), 0);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static uint16_t sum(const unsigned char *at, size_t len, uint32_t start)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		start += (uint32_t)at[i] << 8 | at[i + 1];
	if (len & 1)
		start += (uint32_t)at[len - 1] << 8;
	while (start >> 16)
		start = (start & 0xffff) + (start >> 16);
	return (uint16_t)~start;
}

static void put16(unsigned char *at, unsigned v)
{
	at[0] = (unsigned char)(v >> 8);
	at[1] = (unsigned char)v;
}

/* The transport's part: UDP, TCP, ICMP or ICMPv6, some with a quoted packet. */
static size_t transport(unsigned char *p, int protocol)
{
	size_t len = 8 + rnd() % 64;

	for (size_t i = 0; i < 120; i++)
		p[i] = (unsigned char)rnd();
	if (protocol == IPPROTO_UDP || protocol == 136) {
		put16(p + 2, 1000);
		put16(p + 4, (unsigned)len);
	} else if (protocol == IPPROTO_TCP) {
		len += 40;
		put16(p + 2, 1000);
		p[12] = (unsigned char)((5 + rnd() % 11) << 4);
		p[13] = (unsigned char)(rnd() % 4 ? 1U << rnd() % 6 | 16 : rnd());
		for (int i = 20; i < 60;) { /* options */
			static const unsigned char kinds[] = { 1, 2, 3, 4, 5, 8, 0, 30, 254 };

			p[i] = kinds[rnd() % sizeof(kinds)];
			p[i + 1] = (unsigned char)(rnd() % 12);
			i += 1 + (int)(rnd() % 10);
		}
	} else {
		static const unsigned char four[] = { 0, 3, 4, 5, 8, 11, 12, 13, 17 };
		static const unsigned char six[] = { 1, 2, 3, 4, 128, 129, 130, 133, 134, 135, 136, 137, 143 };

		len += 48;
		p[0] = protocol == IPPROTO_ICMP ? four[rnd() % sizeof(four)] : six[rnd() % sizeof(six)];
		p[1] = (unsigned char)(rnd() % 6);
		p[8] = protocol == IPPROTO_ICMP ? 0x45 : p[8];
		for (int i = 24; i < 100; i += 8) /* options of neighbour discovery */
			p[i] = (unsigned char)(1 + rnd() % 5), p[i + 1] = (unsigned char)(rnd() % 4);
	}
	return len;
}

static size_t ip4(unsigned char *p)
{
	static const unsigned char protocols[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMP, 136, 2, 47 };
	unsigned protocol = protocols[rnd() % sizeof(protocols)], header = 20 + (rnd() % 4 ? 0 : rnd() % 11 * 4);
	size_t len;

	memset(p, 0, header);
	for (unsigned i = 20; i < header; i++)
		p[i] = (unsigned char)(rnd() % 8 ? rnd() % 150 : 7);
	len = header + transport(p + header, (int)protocol);
	p[0] = (unsigned char)(0x40 | header / 4);
	put16(p + 2, (unsigned)len);
	put16(p + 4, rnd() % 8);
	if (rnd() % 4 == 0)
		put16(p + 6, (rnd() % 2 ? 0x2000 : 0) | rnd() % 16); /* a piece */
	p[8] = (unsigned char)(1 + rnd() % 64);
	p[9] = (unsigned char)protocol;
	memcpy(p + 12, "\x0a\x03\x00\x01\x0a\x03\x00\x02", 8);
	if (rnd() % 16 == 0)
		p[16] = (unsigned char)(rnd() % 2 ? 224 : 255);
	return len;
}

static size_t ip6(unsigned char *p)
{
	static const unsigned char protocols[] = { IPPROTO_UDP, IPPROTO_TCP, IPPROTO_ICMPV6 };
	unsigned protocol = protocols[rnd() % 3], next = protocol;
	size_t at = 40, len;

	memset(p, 0, 40);
	for (int n = rnd() % 3 ? 0 : (int)(rnd() % 4); n; n--) { /* extension headers, the first one written last */
		static const unsigned char kinds[] = { 0, 43, 44, 60, 51, 59 };

		for (int i = 0; i < 8; i++)
			p[at + (size_t)i] = (unsigned char)(rnd() % 4 ? 0 : rnd());
		p[at] = (unsigned char)next;
		next = kinds[rnd() % sizeof(kinds)];
		at += 8;
	}
	len = at + transport(p + at, (int)protocol);
	p[0] = 0x60;
	put16(p + 4, (unsigned)(len - 40));
	p[6] = (unsigned char)next;
	p[7] = rnd() % 2 ? 255 : 64;
	p[8] = 0xfe, p[9] = 0x80, p[23] = 9;
	p[24] = rnd() % 2 ? 0xff : 0xfe, p[25] = p[24] == 0xff ? 2 : 0x80, p[39] = 1;
	return len;
}

static size_t arp(unsigned char *p)
{
	memcpy(p, "\0\1\x08\0\6\4\0", 7);
	for (int i = 7; i < 28; i++)
		p[i] = (unsigned char)rnd();
	p[7] = (unsigned char)(1 + rnd() % 3);
	memcpy(p + 14, "\x0a\x03\x00\x01", 4);
	memcpy(p + 24, "\x0a\x03\x00\x02", 4);
	return 28;
}

/* Checksums right again, where the headers still say where they are. */
static void mend(unsigned char *p, size_t len)
{
	unsigned header = (p[0] & 15U) * 4;
	unsigned char *t = p + header;
	size_t rest = len - header;
	uint32_t pseudo = 0;

	if (p[0] >> 4 != 4 || header < 20 || len < header + 20)
		return;
	put16(p + 10, 0);
	put16(p + 10, sum(p, header, 0));
	for (int i = 12; i < 20; i += 2)
		pseudo += (uint32_t)p[i] << 8 | p[i + 1];
	pseudo += p[9] + (uint32_t)rest;
	if (p[9] == IPPROTO_UDP)
		put16(t + 6, 0), put16(t + 6, sum(t, rest, pseudo));
	else if (p[9] == IPPROTO_TCP)
		put16(t + 16, 0), put16(t + 16, sum(t, rest, pseudo));
	else if (p[9] == IPPROTO_ICMP)
		put16(t + 2, 0), put16(t + 2, sum(t, rest, 0));
}

static void mend6(unsigned char *p, size_t len)
{
	uint32_t pseudo = p[6] + (uint32_t)(len - 40);
	static const unsigned char where[256] = { [IPPROTO_UDP] = 6, [IPPROTO_TCP] = 16, [IPPROTO_ICMPV6] = 2 };
	unsigned at = where[p[6]];

	if (!at || len < 60)
		return;
	for (int i = 8; i < 40; i += 2)
		pseudo += (uint32_t)p[i] << 8 | p[i + 1];
	put16(p + 40 + at, 0);
	put16(p + 40 + at, sum(p + 40, len - 40, pseudo));
}

static void bend(unsigned char *p, size_t *len)
{
	for (unsigned n = rnd() % 3; n; n--)
		p[rnd() % (rnd() % 2 ? *len : *len < 40 ? *len : 40)] = (unsigned char)rnd();
	if (rnd() % 8 == 0)
		*len = rnd() % (*len + 1);
	else if (rnd() % 8 == 0)
		*len += rnd() % 32;
}

CASE(frames)
{
	static const unsigned types[] = { ETH_P_IP, ETH_P_IPV6, ETH_P_ARP };
	int sent = 0;

	for (int i = 0; i < rounds; i++) {
		unsigned char f[512] = { 0 }, *p = f + 14;
		unsigned kind = rnd() % 16 ? rnd() % 2 : 2;
		size_t len = kind == 0 ? ip4(p) : kind == 1 ? ip6(p) : arp(p);

		memcpy(f, mac_b, 6);
		f[6] = 2;
		put16(f + 12, types[kind]);
		bend(p, &len);
		if (kind == 0 && rnd() % 8)
			mend(p, len);
		if (kind == 1 && rnd() % 8)
			mend6(p, len);
		sent += send(wire, f, 14 + len, MSG_DONTWAIT) > 0;
	}
	want(sent > rounds / 2);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

static size_t sound(struct request *r, int protocol)
{
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtmsg route;
		struct ndmsg neigh;
		struct inet_diag_req_v2 diag;
		struct unix_diag_req local;
		char bytes[64];
	} head = { .bytes = { 0 } };
	static const unsigned char families[] = { AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX, AF_PACKET };
	int flags = rnd() % 3 ? (int)(rnd() & 0xf00) : NLM_F_DUMP;

	head.bytes[0] = (char)families[rnd() % sizeof(families)];
	if (rnd() % 2)
		head.link.ifi_index = (int)(rnd() % 5);
	for (int i = 1; i < 32; i++)
		head.bytes[i] = rnd() % 8 ? head.bytes[i] : (char)rnd();
	if (protocol == NETLINK_SOCK_DIAG)
		begin(r, SOCK_DIAG_BY_FAMILY, flags, &head, rnd() % 2 ? sizeof(head.diag) : sizeof(head.local));
	else
		begin(r, (int)(RTM_BASE + rnd() % (rnd() % 4 ? 32 : 112)), flags, &head, 8 + rnd() % 3 * 4);
	if (r->h.nlmsg_type == RTM_DELLINK) /* the wire stays */
		r->h.nlmsg_type = RTM_GETLINK;
	for (unsigned n = rnd() % 6; n; n--) {
		char data[64];
		struct rtattr *nest = rnd() % 4 ? NULL : netlink_add(&r->h, (int)(rnd() % 60), NULL, 0);

		for (unsigned i = 0; i < sizeof(data); i++)
			data[i] = rnd() % 3 ? 0 : (char)rnd();
		netlink_add(&r->h, (int)(rnd() % 60), data, rnd() % 3 ? 4 : rnd() % sizeof(data));
		if (nest)
			netlink_end(&r->h, nest);
	}
	return r->h.nlmsg_len;
}

static void messages(int protocol)
{
	int s = socket(AF_NETLINK, SOCK_RAW, protocol), answered = 0;

	want(s >= 0);
	for (int i = 0; i < rounds / 2; i++) {
		struct sockaddr_nl to = { .nl_family = AF_NETLINK };
		struct request r;
		size_t len = sound(&r, protocol);

		for (unsigned n = rnd() % 3; n; n--)
			((char *)&r)[(rnd() % 2 ? 16 : 0) + rnd() % (len - 16)] = (char)rnd();
		if (r.h.nlmsg_type == RTM_DELLINK || r.h.nlmsg_type == RTM_SETLINK)
			continue;
		if (rnd() % 8 == 0)
			len = rnd() % len;
		answered += sendto(s, &r, len, 0, (void *)&to, sizeof(to)) >= 0;
		drain(s);
	}
	want(answered);
	close(s);
}

CASE(rtnetlink)
{
	messages(NETLINK_ROUTE);
}
CASE(sock_diag)
{
	messages(NETLINK_SOCK_DIAG);
}

/* ---- bpf(2) --------------------------------------------------------------------------------------------------------
 */

static char memory[4096];

static uint64_t place(unsigned offset)
{
	return (uint64_t)(uintptr_t)(memory + offset);
}

/* Attributes that would make something, so that there are maps and programs to refer to. */
static void sound_attributes(union bpf_attr *a, unsigned cmd)
{
	static const struct bpf_insn program[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K },
						   { .code = BPF_JMP | BPF_EXIT } };

	memset(a, 0, sizeof(*a));
	if (cmd == BPF_MAP_CREATE) {
		a->map_type = 1 + rnd() % 30;
		a->key_size = rnd() % 4 ? 4 : rnd() % 24;
		a->value_size = rnd() % 4 ? 8 : rnd() % 64;
		a->max_entries = rnd() % 4 ? 8 : rnd() % 8192;
	} else {
		memcpy(memory, program, sizeof(program));
		strcpy(memory + 64, "GPL");
		a->prog_type = 1 + rnd() % 31;
		a->expected_attach_type = rnd() % 4 ? 0 : rnd() % 40;
		a->insns = place(0);
		a->insn_cnt = 2;
		a->license = place(64);
	}
}

CASE(bpf_attributes)
{
	struct rlimit many = { 64, 64 };
	int made = 0;

	setrlimit(RLIMIT_NOFILE, &many);
	for (int i = 0; i < rounds * 2; i++) {
		union bpf_attr a;
		uint32_t *w = (uint32_t *)&a;
		unsigned size = rnd() % 8 ? sizeof(a) : rnd() % 200, cmd = rnd() % 38, words = rnd() % (sizeof(a) / 4);
		int fd;

		if (rnd() % 4)
			words = rnd() % 12;
		for (unsigned k = 0; k < 256; k++)
			memory[rnd() % sizeof(memory)] = (char)rnd();
		memset(&a, 0, sizeof(a));
		for (unsigned k = 0; k < words; k++)
			w[k] = rnd() % 3 ? 0 : rnd() % (rnd() % 2 ? 16 : 4096);
		for (unsigned k = rnd() % 3; k; k--) { /* pointers stand at even places */
			uint64_t at = place(rnd() % 2048);

			memcpy(w + rnd() % 12 * 2, &at, sizeof(at));
		}
		if (rnd() % 4 == 0) {
			cmd = rnd() % 2 ? BPF_MAP_CREATE : BPF_PROG_LOAD;
			sound_attributes(&a, cmd);
			if (rnd() % 2)
				w[rnd() % 20] ^= 1U << rnd() % 32;
		}
		fd = (int)syscall(SYS_bpf, cmd, &a, size < sizeof(a) ? size : sizeof(a));
		if (fd > 2 && fd < 64 && rnd() % 4)
			close(fd); /* the others are what later rounds refer to */
		made += fd > 2;
		for (int k = 40; k < 64; k++)
			close(k);
	}
	for (int k = 3; k < 64; k++)
		if (k != wire)
			close(k);
	want(made);
}

/* ---- the end ------------------------------------------------------------------------------------------------------
 */

CASE(still_there)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l, c, s;
	char text[6] = "";

	want_eq(unshare(CLONE_NEWNET), 0); /* what was said to the old one may have left it without loopback */
	configure("lo", NULL);
	l = socket(AF_INET, SOCK_STREAM, 0);
	want_eq(bind(l, (void *)&a, sizeof(a)), 0);
	want_eq(listen(l, 1), 0);
	want_eq(getsockname(l, (void *)&a, &len), 0);
	c = socket(AF_INET, SOCK_STREAM, 0);
	want_eq(connect(c, (void *)&a, sizeof(a)), 0);
	s = accept(l, NULL, NULL);
	want_eq(write(c, "hello", 5), 5);
	want_eq(read(s, text, 5), 5);
	want(!strcmp(text, "hello"));
}

int main(int argc, char **argv)
{
	rounds = argc > 1 ? atoi(argv[1]) : rounds;
	seed = argc > 2 ? (uint64_t)atoll(argv[2]) : seed;
	RUN(place);
	RUN(frames);
	RUN(rtnetlink);
	RUN(sock_diag);
	RUN(bpf_attributes);
	RUN(still_there);
	return abi_status();
}
