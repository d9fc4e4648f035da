/* SPDX-License-Identifier: MIT
 *
 * Problem: programs ask which socket a packet would reach, and hold it until they give it back.
 *
 * Idea: one program does all a program can do with what it found, and writes it down in a map, where the tuple came
 * from; it is run by BPF_PROG_TEST_RUN, and at hooks, some of which hold the locks of just those tables.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <netinet/tcp.h>
#include "bpf.h"

#define SKB  BPF_PROG_TYPE_CGROUP_SKB
#define NAME "bpflookup"

struct notes { /* the value of the map */
	struct bpf_sock_tuple tuple;
	uint32_t pad, found, state, port, family, full, tcp, listener, peer, runs;
};
#define AT(f) ((int)offsetof(struct notes, f))

static int cg, map;

CASE(begin)
{
	want(mkdtemp(tree));
	want_eq(mount("none", tree, "cgroup2", 0, NULL), 0);
	cg = folder(NAME);
	map = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct notes), 1, 0);
	want(cg >= 0 && map >= 0);
	loopback_up();
}

#define NOTE(field, reg) STX(W, 7, AT(field), reg)
#define FLAG(field)      JMP(JEQ, 0, 0, 2), MOV(1, 1), NOTE(field, 1)

/* helper: BPF_FUNC_sk_lookup_tcp or its kin. A result of skc_lookup_tcp has fewer fields. */
static int program_of(int type, int attach, int helper, int bytes, int space, int flags)
{
	return LOAD(type, attach, MOVR(6, 1), ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, map),
		    CALL(map_lookup_elem), JMP(JNE, 0, 0, 2), MOV(0, 1), EXIT(), MOVR(7, 0), LDX(W, 1, 7, AT(runs)),
		    ALU(ADD, 1, 1), NOTE(runs, 1), MOVR(1, 6), MOVR(2, 7), MOV(3, bytes), MOV(4, space), MOV(5, flags),
		    BI(BPF_JMP | BPF_CALL, 0, 0, 0, helper), JMP(JNE, 0, 0, 2), MOV(0, 1), EXIT(), MOVR(8, 0),
		    MOV(1, 1), NOTE(found, 1), LDX(W, 1, 8, offsetof(struct bpf_sock, state)), NOTE(state, 1),
		    LDX(W, 1, 8, offsetof(struct bpf_sock, src_port)), NOTE(port, 1),
		    LDX(H, 1, 8, offsetof(struct bpf_sock, dst_port)), NOTE(peer, 1),
		    LDX(W, 1, 8, offsetof(struct bpf_sock, family)), NOTE(family, 1), MOVR(1, 8), CALL(sk_fullsock),
		    FLAG(full), MOVR(1, 8), CALL(tcp_sock), FLAG(tcp), MOVR(1, 8), CALL(get_listener_sock),
		    FLAG(listener), MOVR(1, 8), CALL(sk_release), MOV(0, 1), EXIT());
}

static int program(int helper, int bytes)
{
	return program_of(SKB, 0, helper, bytes, -1, 0);
}

static struct notes ask(int prog, const struct bpf_sock_tuple *t)
{
	struct notes n = { .tuple = *t };
	static char packet[64] = { [12] = 8, [14] = 0x45 };

	want(prog >= 0);
	want_eq(map_set(map, &(int){ 0 }, &n, BPF_ANY), 0);
	want_eq(bpf(BPF_PROG_TEST_RUN,
		    ATTR(.test = { .prog_fd = prog, .data_in = PTR(packet), .data_size_in = sizeof(packet) })),
		0);
	want_eq(map_get(map, &(int){ 0 }, &n), 0);
	want_eq(n.runs, 1);
	return n;
}

static struct bpf_sock_tuple tuple(int from_port, int port)
{
	return (struct bpf_sock_tuple){ .ipv4 = { .saddr = htonl(INADDR_LOOPBACK),
						  .daddr = htonl(INADDR_LOOPBACK),
						  .sport = htons(from_port),
						  .dport = htons(port) } };
}

static struct bpf_sock_tuple tuple6(int from_port, int port)
{
	struct bpf_sock_tuple t = { .ipv6 = { .sport = htons(from_port), .dport = htons(port) } };

	t.ipv6.saddr[3] = t.ipv6.daddr[3] = htonl(1);
	return t;
}

static int bound(int family, int type, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int s = socket(family, type, 0), one = 1;

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	want_eq(family == AF_INET ? bind(s, (void *)&in, sizeof(in)) : bind(s, (void *)&in6, sizeof(in6)), 0);
	if (type == SOCK_STREAM)
		want_eq(listen(s, 5), 0);
	return s;
}

static int port_of(int s)
{
	struct sockaddr_in6 a;
	socklen_t len = sizeof(a);

	want_eq(getsockname(s, (void *)&a, &len), 0);
	return ntohs(a.sin6_port);
}

static int call_up(int family, int type, int port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int s = socket(family, type, 0);

	want_eq(family == AF_INET ? connect(s, (void *)&in, sizeof(in)) : connect(s, (void *)&in6, sizeof(in6)), 0);
	return s;
}

CASE(arguments)
{
	int l = bound(AF_INET, SOCK_STREAM, 5101);
	struct bpf_sock_tuple t = tuple(4000, 5101);
	int tcp = BPF_FUNC_sk_lookup_tcp;

	want_eq(ask(program(tcp, 12), &t).found, 1);
	want_eq(ask(program(tcp, 16), &t).found, 0);
	want_eq(ask(program(tcp, 36), &t).found, 0);
	want_eq(ask(program_of(SKB, 0, tcp, 12, 0x7fffff, 0), &t).found, 0); /* no namespace has this number */
	want_eq(ask(program_of(SKB, 0, tcp, 12, -1, 1), &t).found, 0);
	want_eq(ask(program(BPF_FUNC_sk_lookup_udp, 12), &t).found, 0);
	t = tuple(4000, 5102);
	want_eq(ask(program(tcp, 12), &t).found, 0);
	close(l);
	t = tuple(4000, 5101);
	want_eq(ask(program(tcp, 12), &t).found, 0);
}

CASE(listeners)
{
	int l = bound(AF_INET, SOCK_STREAM, 5103), l6 = bound(AF_INET6, SOCK_STREAM, 5104);
	struct bpf_sock_tuple t = tuple(4000, 5103), t6 = tuple6(4000, 5104);
	struct notes n = ask(program(BPF_FUNC_sk_lookup_tcp, 12), &t);

	want(n.found && n.full && n.tcp && n.listener);
	want_eq(n.state, BPF_TCP_LISTEN);
	want_eq(n.port, 5103);
	want_eq(n.peer, 0);
	want_eq(n.family, AF_INET);
	n = ask(program(BPF_FUNC_skc_lookup_tcp, 12), &t);
	want(n.found && n.full && n.tcp && n.listener);
	n = ask(program(BPF_FUNC_sk_lookup_tcp, 36), &t6);
	want(n.found && n.full && n.tcp && n.listener);
	want_eq(n.port, 5104);
	want_eq(n.family, AF_INET6);
	close(l);
	close(l6);
}

/* Both ends, then what remains of them. */
static void connections(int family, int port, struct bpf_sock_tuple (*make)(int, int), int bytes)
{
	int tcp = program(BPF_FUNC_sk_lookup_tcp, bytes), any = program(BPF_FUNC_skc_lookup_tcp, bytes);
	int l = bound(family, SOCK_STREAM, port), c = call_up(family, SOCK_STREAM, port), s = accept(l, NULL, NULL);
	int from = port_of(c);
	struct bpf_sock_tuple there = make(from, port), here = make(port, from);
	struct notes n = ask(tcp, &there);

	want(s >= 0);
	want(n.found && n.full && n.tcp && !n.listener);
	want_eq(n.state, BPF_TCP_ESTABLISHED);
	want_eq(n.port, port);
	want_eq(n.peer, htons(from));
	want_eq(n.family, family);
	n = ask(any, &here);
	want(n.found && n.full && n.tcp && !n.listener);
	want_eq(n.port, from);
	want_eq(n.peer, htons(port));
	shutdown(c, SHUT_WR);
	usleep(100000);
	want_eq(ask(tcp, &there).state, BPF_TCP_CLOSE_WAIT);
	want_eq(ask(tcp, &here).state, BPF_TCP_FIN_WAIT2);
	close(s);
	close(c);
	usleep(100000);
	want_eq(ask(tcp, &here).found, 0);
	n = ask(any, &here);
	want(n.found && !n.full && !n.tcp && !n.listener);
	want_eq(n.state, BPF_TCP_TIME_WAIT);
	want_eq(n.port, from);
	want_eq(n.peer, htons(port));
	n = ask(tcp, &there); /* the other end is forgotten: the listener */
	want_eq(n.state, BPF_TCP_LISTEN);
	close(l);
	close(tcp);
	close(any);
}

CASE(connections)
{
	connections(AF_INET, 5105, tuple, 12);
	connections(AF_INET6, 5106, tuple6, 36);
}

CASE(datagrams)
{
	int prog = program(BPF_FUNC_sk_lookup_udp, 12), prog6 = program(BPF_FUNC_sk_lookup_udp, 36);
	int s = bound(AF_INET, SOCK_DGRAM, 5107), c = call_up(AF_INET, SOCK_DGRAM, 5107),
	    s6 = bound(AF_INET6, SOCK_DGRAM, 5108);
	struct bpf_sock_tuple t = tuple(4000, 5107), t6 = tuple6(4000, 5108), back = tuple(5107, port_of(c));
	struct bpf_sock_tuple wrong = tuple(5109, port_of(c));
	struct notes n = ask(prog, &t);

	want(n.found && n.full && !n.tcp && !n.listener);
	want_eq(n.state, BPF_TCP_CLOSE);
	want_eq(n.port, 5107);
	n = ask(prog, &back);
	want(n.found);
	want_eq(n.state, BPF_TCP_ESTABLISHED);
	want_eq(n.peer, htons(5107));
	want_eq(ask(prog, &wrong).found, 0);
	n = ask(prog6, &t6);
	want(n.found);
	want_eq(n.family, AF_INET6);
	close(s);
	close(c);
	close(s6);
	want_eq(ask(prog, &t).found, 0);
	close(prog);
	close(prog6);
}

/* ---- at hooks, whose locks are those of the tables ---- */

static int talk(void)
{
	int l = bound(AF_INET, SOCK_STREAM, 5110), c = call_up(AF_INET, SOCK_STREAM, 5110), s = accept(l, NULL, NULL);
	char b[8] = { 0 };

	if (write(c, "ping", 4) != 4 || read(s, b, 8) != 4 || write(s, "pong", 4) != 4 || read(c, b, 8) != 4)
		return 1;
	return strcmp(b, "pong") ? 2 : 0;
}

static int send_self(void)
{
	int s = bound(AF_INET, SOCK_DGRAM, 5111), c = call_up(AF_INET, SOCK_DGRAM, 5111);
	char b[8];

	return write(c, "ping", 4) != 4 || read(s, b, 8) != 4;
}

static void at_hook(int type, int hook, int helper, int port, int (*fn)(void))
{
	int prog = program_of(type, hook, helper, 12, -1, 0);
	struct notes n = { .tuple = tuple(4000, port) };

	want(prog >= 0);
	want_eq(map_set(map, &(int){ 0 }, &n, BPF_ANY), 0);
	want_eq(attach(cg, prog, hook, 0), 0);
	want_eq(in_cgroup(NAME, fn), 0);
	want_eq(detach(cg, prog, hook), 0);
	want_eq(map_get(map, &(int){ 0 }, &n), 0);
	want(n.runs >= 1);
	want_eq(n.found, 1);
	want_eq(n.port, port);
	close(prog);
}

CASE(hooks)
{
	static const int ways[] = { BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS };

	for (int i = 0; i < 2; i++) {
		at_hook(SKB, ways[i], BPF_FUNC_sk_lookup_tcp, 5110, talk);
		at_hook(SKB, ways[i], BPF_FUNC_sk_lookup_udp, 5111, send_self);
	}
}

/* What a program at a connect sees: there the helpers of full sockets are missing. */
CASE(addresses)
{
	int prog =
		LOAD(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, ST(W, 10, -16, htonl(INADDR_LOOPBACK)),
		     ST(W, 10, -12, htonl(INADDR_LOOPBACK)), ST(H, 10, -8, htons(4000)), ST(H, 10, -6, htons(5112)),
		     MOVR(2, 10), ALU(ADD, 2, -16), MOV(3, 12), MOV(4, -1), MOV(5, 0), CALL(sk_lookup_tcp),
		     JMP(JNE, 0, 0, 2), MOV(0, 0), EXIT(), MOVR(1, 0), CALL(sk_release), MOV(0, 1), EXIT());
	int (*fn)(void) = send_self;

	want(prog >= 0);
	want_eq(attach(cg, prog, BPF_CGROUP_INET4_CONNECT, 0), 0);
	want_eq(in_cgroup(NAME, fn), 99); /* refused, as nobody listens */
	int l = bound(AF_INET, SOCK_STREAM, 5112);

	want_eq(in_cgroup(NAME, fn), 0);
	want_eq(detach(cg, prog, BPF_CGROUP_INET4_CONNECT), 0);
	close(l);
	close(prog);
}

int main(void)
{
	RUN(begin);
	RUN(arguments);
	RUN(listeners);
	RUN(connections);
	RUN(datagrams);
	RUN(hooks);
	RUN(addresses);
	return abi_status();
}
