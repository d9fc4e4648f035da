/* SPDX-License-Identifier: MIT
 *
 * Problem: container managers and policies hang programs at a cgroup's addresses, options and devices, and programs
 * filter their own sockets.
 *
 * Idea: each hook refuses once and changes something once; a neighbour of the cgroup feels nothing.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <linux/filter.h>
#include <poll.h>
#include <sys/sysmacros.h>
#include "bpf.h"

#define ADDR     BPF_PROG_TYPE_CGROUP_SOCK_ADDR
#define OPT      BPF_PROG_TYPE_CGROUP_SOCKOPT
#define FIELD(f) offsetof(struct bpf_sock_addr, f)
#define NAME     "bpfhooks"

static int cg;

CASE(begin)
{
	want(mkdtemp(tree));
	want_eq(mount("none", tree, "cgroup2", 0, NULL), 0);
	cg = folder(NAME);
	want(cg >= 0);
	loopback_up();
}

static struct sockaddr_in at(int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* The port that a socket has after bind to 4001; 1000 + errno. */
static int bound_port(void)
{
	struct sockaddr_in a = at(4001);
	socklen_t len = sizeof(a);
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (bind(s, (void *)&a, sizeof(a)))
		return 100 + errno;
	getsockname(s, (void *)&a, &len);
	close(s);
	return ntohs(a.sin_port) - 4000;
}

CASE(binding)
{
	int no = verdict(ADDR, BPF_CGROUP_INET4_BIND, 0);
	int moves = LOAD(ADDR, BPF_CGROUP_INET4_BIND, MOV(2, htons(4007)), STX(W, 1, FIELD(user_port), 2), MOV(0, 1),
			 EXIT());

	want(no >= 0 && moves >= 0);
	want_errno(attach(cg, no, BPF_CGROUP_INET4_CONNECT, 0), EINVAL);
	want_eq(in_cgroup(NAME, bound_port), 1);
	want_eq(attach(cg, no, BPF_CGROUP_INET4_BIND, 0), 0);
	want_eq(in_cgroup(NAME, bound_port), 100 + EPERM);
	want_eq(bound_port(), 1);
	want_eq(attach(cg, moves, BPF_CGROUP_INET4_BIND, 0), 0);
	want_eq(in_cgroup(NAME, bound_port), 7);
	want_eq(detach(cg, moves, BPF_CGROUP_INET4_BIND), 0);
	want_eq(in_cgroup(NAME, bound_port), 1);
	close(no);
	close(moves);
}

static int privileged_port(void)
{
	struct sockaddr_in a = at(81);
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (setuid(65534))
		return 1;
	return bind(s, (void *)&a, sizeof(a)) ? errno : 0;
}

CASE(privileged_ports)
{
	int free = verdict(ADDR, BPF_CGROUP_INET4_BIND, 3);

	want(free >= 0);
	want_eq(in_cgroup(NAME, privileged_port), EACCES);
	want_eq(attach(cg, free, BPF_CGROUP_INET4_BIND, 0), 0);
	want_eq(in_cgroup(NAME, privileged_port), 0);
	want_eq(detach(cg, free, BPF_CGROUP_INET4_BIND), 0);
	close(free);
}

CASE(after_binding)
{
	int no = LOAD(BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND,
		      LDX(W, 2, 1, offsetof(struct bpf_sock, src_port)), MOV(0, 1), JMP(JNE, 2, 4001, 1), MOV(0, 0),
		      EXIT());

	want(no >= 0);
	want_eq(attach(cg, no, BPF_CGROUP_INET4_POST_BIND, 0), 0);
	want_eq(in_cgroup(NAME, bound_port), 100 + EPERM);
	want_eq(detach(cg, no, BPF_CGROUP_INET4_POST_BIND), 0);
	want_eq(in_cgroup(NAME, bound_port), 1);
	close(no);
}

static int peer_port(void)
{
	struct sockaddr_in a = at(4100);
	socklen_t len = sizeof(a);
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	if (connect(s, (void *)&a, sizeof(a)))
		return 100 + errno;
	getpeername(s, (void *)&a, &len);
	return ntohs(a.sin_port) - 4100;
}

CASE(connecting)
{
	int no = verdict(ADDR, BPF_CGROUP_INET4_CONNECT, 0);
	int moves = LOAD(ADDR, BPF_CGROUP_INET4_CONNECT, MOV(2, htons(4109)), STX(W, 1, FIELD(user_port), 2), MOV(0, 1),
			 EXIT());
	int lies = LOAD(ADDR, BPF_CGROUP_INET4_GETPEERNAME, MOV(2, htons(4120)), STX(W, 1, FIELD(user_port), 2),
			MOV(0, 1), EXIT());

	want(no >= 0 && moves >= 0 && lies >= 0);
	want_eq(attach(cg, no, BPF_CGROUP_INET4_CONNECT, 0), 0);
	want_eq(in_cgroup(NAME, peer_port), 100 + EPERM);
	want_eq(peer_port(), 0);
	want_eq(attach(cg, moves, BPF_CGROUP_INET4_CONNECT, 0), 0);
	want_eq(in_cgroup(NAME, peer_port), 9);
	want_eq(attach(cg, lies, BPF_CGROUP_INET4_GETPEERNAME, 0), 0);
	want_eq(in_cgroup(NAME, peer_port), 20);
	want_eq(detach(cg, moves, BPF_CGROUP_INET4_CONNECT), 0);
	want_eq(detach(cg, lies, BPF_CGROUP_INET4_GETPEERNAME), 0);
	close(no);
	close(moves);
	close(lies);
}

/* A datagram to 4200: 1 if it arrives there, 2 if at 4201; from where it says it comes, plus 10 a port. */
static int sent_to(void)
{
	struct sockaddr_in a = at(4200), b = at(4201), from;
	socklen_t len = sizeof(from);
	int first = socket(AF_INET, SOCK_DGRAM, 0), second = socket(AF_INET, SOCK_DGRAM, 0),
	    out = socket(AF_INET, SOCK_DGRAM, 0), r = 0;
	struct pollfd p[2] = { { first, POLLIN, 0 }, { second, POLLIN, 0 } };
	char c;

	if (bind(first, (void *)&a, sizeof(a)) || bind(second, (void *)&b, sizeof(b)))
		return 99;
	if (sendto(out, "x", 1, 0, (void *)&a, sizeof(a)) != 1)
		return 100 + errno;
	if (poll(p, 2, 200) != 1)
		return 98;
	r = p[0].revents ? 1 : 2;
	if (recvfrom(r == 1 ? first : second, &c, 1, 0, (void *)&from, &len) != 1)
		return 97;
	return ntohs(from.sin_port) == 4209 ? r + 10 : r;
}

CASE(sending)
{
	int no = verdict(ADDR, BPF_CGROUP_UDP4_SENDMSG, 0);
	int moves = LOAD(ADDR, BPF_CGROUP_UDP4_SENDMSG, MOV(2, htons(4201)), STX(W, 1, FIELD(user_port), 2), MOV(0, 1),
			 EXIT());
	int lies = LOAD(ADDR, BPF_CGROUP_UDP4_RECVMSG, MOV(2, htons(4209)), STX(W, 1, FIELD(user_port), 2), MOV(0, 1),
			EXIT());

	want(no >= 0 && moves >= 0 && lies >= 0);
	want_errno(verdict(ADDR, BPF_CGROUP_UDP4_RECVMSG, 0), EINVAL); /* it may only look */
	want_eq(in_cgroup(NAME, sent_to), 1);
	want_eq(attach(cg, no, BPF_CGROUP_UDP4_SENDMSG, 0), 0);
	want_eq(in_cgroup(NAME, sent_to), 100 + EPERM);
	want_eq(attach(cg, moves, BPF_CGROUP_UDP4_SENDMSG, 0), 0);
	want_eq(in_cgroup(NAME, sent_to), 2);
	want_eq(attach(cg, lies, BPF_CGROUP_UDP4_RECVMSG, 0), 0);
	want_eq(in_cgroup(NAME, sent_to), 12);
	want_eq(detach(cg, moves, BPF_CGROUP_UDP4_SENDMSG), 0);
	want_eq(detach(cg, lies, BPF_CGROUP_UDP4_RECVMSG), 0);
	close(no);
	close(moves);
	close(lies);
}

/* SO_PRIORITY set to 5: what it is then; 1000 + errno. */
static int priority(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), v = 5;
	socklen_t len = sizeof(v);

	if (setsockopt(s, SOL_SOCKET, SO_PRIORITY, &v, sizeof(v)))
		return 100 + errno;
	if (getsockopt(s, SOL_SOCKET, SO_PRIORITY, &v, &len))
		return 150 + errno;
	return v;
}

#define BYTE(off, v) /* optval[off] = v, if it is there */                                                             \
	LDX(D, 2, 1, offsetof(struct bpf_sockopt, optval)), LDX(D, 3, 1, offsetof(struct bpf_sockopt, optval_end)),    \
		MOVR(4, 2), ALU(ADD, 4, off + 1), JMPR(JGT, 4, 3, 1), ST(B, 2, off, v)

CASE(options)
{
	int no = verdict(OPT, BPF_CGROUP_SETSOCKOPT, 0), hide = verdict(OPT, BPF_CGROUP_GETSOCKOPT, 0);
	int three = LOAD(OPT, BPF_CGROUP_SETSOCKOPT, BYTE(0, 3), MOV(0, 1), EXIT());
	int done = LOAD(OPT, BPF_CGROUP_SETSOCKOPT, MOV(2, -1), STX(W, 1, offsetof(struct bpf_sockopt, optlen), 2),
			MOV(0, 1), EXIT());
	int four = LOAD(OPT, BPF_CGROUP_GETSOCKOPT, BYTE(0, 4), MOV(2, 0),
			STX(W, 1, offsetof(struct bpf_sockopt, retval), 2), MOV(0, 1), EXIT());

	want(no >= 0 && hide >= 0 && three >= 0 && done >= 0 && four >= 0);
	want_eq(in_cgroup(NAME, priority), 5);
	want_eq(attach(cg, no, BPF_CGROUP_SETSOCKOPT, 0), 0);
	want_eq(in_cgroup(NAME, priority), 100 + EPERM);
	want_eq(attach(cg, three, BPF_CGROUP_SETSOCKOPT, 0), 0);
	want_eq(in_cgroup(NAME, priority), 3);
	want_eq(attach(cg, done, BPF_CGROUP_SETSOCKOPT, 0), 0);
	want_eq(in_cgroup(NAME, priority), 0);
	want_eq(detach(cg, done, BPF_CGROUP_SETSOCKOPT), 0);
	want_eq(attach(cg, hide, BPF_CGROUP_GETSOCKOPT, 0), 0);
	want_eq(in_cgroup(NAME, priority), 150 + EPERM);
	want_eq(attach(cg, four, BPF_CGROUP_GETSOCKOPT, 0), 0);
	want_eq(in_cgroup(NAME, priority), 4);
	want_eq(detach(cg, four, BPF_CGROUP_GETSOCKOPT), 0);
	close(no);
	close(hide);
	close(three);
	close(done);
	close(four);
}

/* Bit 0: /dev/null cannot be opened, 1: not for writing, 2: a node cannot be made; 3: another errno than EPERM. */
static int devices(void)
{
	char node[] = "/tmp/bpfnode";
	int r = 0;

	unlink(node);
	r |= open("/dev/null", O_RDONLY) < 0 ? (errno == EPERM ? 1 : 8) : 0;
	r |= open("/dev/null", O_WRONLY) < 0 ? (errno == EPERM ? 2 : 8) : 0;
	r |= mknod(node, S_IFCHR | 0600, makedev(1, 3)) < 0 ? (errno == EPERM ? 4 : 8) : 0;
	unlink(node);
	return r;
}

CASE(device_nodes)
{
	/* No writing to 1:3, and no node of it. */
	int some = LOAD(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, LDX(W, 2, 1, 4), LDX(W, 3, 1, 8),
			LDX(W, 4, 1, 0), MOV(0, 1), JMP(JNE, 2, 1, 4), JMP(JNE, 3, 3, 3), ALU(RSH, 4, 16),
			JMP(JEQ, 4, BPF_DEVCG_ACC_READ, 1), MOV(0, 0), EXIT());
	int none = verdict(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, 0);

	want(some >= 0 && none >= 0);
	want_eq(in_cgroup(NAME, devices), 0);
	want_eq(attach(cg, some, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, devices), 6);
	want_eq(attach(cg, none, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, devices), 7);
	want_eq(devices(), 0);
	want_eq(detach(cg, none, BPF_CGROUP_DEVICE), 0);
	want_eq(detach(cg, some, BPF_CGROUP_DEVICE), 0);
	want_eq(in_cgroup(NAME, devices), 0);
	close(some);
	close(none);
}

/* ---- a socket's own filter ---- */

static int pair_of(struct sockaddr_in *to)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(*to);

	*to = at(0);
	if (bind(s, (void *)to, sizeof(*to)) || getsockname(s, (void *)to, &len))
		abi_fail("bind");
	return s;
}

static int arrives(int in, const struct sockaddr_in *to, const char *text, size_t len)
{
	int out = socket(AF_INET, SOCK_DGRAM, 0), n;
	char buf[64];

	sendto(out, text, len, 0, (void *)to, sizeof(*to));
	n = poll(&(struct pollfd){ in, POLLIN, 0 }, 1, 100) == 1 ? (int)recv(in, buf, sizeof(buf), MSG_DONTWAIT) : -1;
	close(out);
	return n;
}

static int sends_itself(void)
{
	struct sockaddr_in to;
	int s = pair_of(&to);

	return arrives(s, &to, "x", 1) != 1;
}

CASE(classic_filters)
{
	/* Behind the UDP header: 'y' passes whole, 'c' is cut to 3 bytes, the rest is dropped. */
	struct sock_filter code[] = { { BPF_LD | BPF_B | BPF_ABS, 0, 0, 8 }, { BPF_JMP | BPF_JEQ, 0, 1, 'y' },
				      { BPF_RET | BPF_K, 0, 0, ~0U },        { BPF_JMP | BPF_JEQ, 0, 1, 'c' },
				      { BPF_RET | BPF_K, 0, 0, 11 },         { BPF_RET | BPF_K, 0, 0, 0 } };
	struct sock_fprog f = { 6, code };
	struct sockaddr_in to;
	int s = pair_of(&to), one = 1;

	want_eq(arrives(s, &to, "no", 2), 2);
	want_errno(setsockopt(s, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof(one)), ENOENT);
	want_eq(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)), 0);
	want_eq(arrives(s, &to, "no", 2), -1);
	want_eq(arrives(s, &to, "yes", 3), 3);
	want_eq(arrives(s, &to, "cut it", 6), 3);
	f.len = 5;
	want_errno(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)), EINVAL); /* jumps out */
	f.len = 0;
	want_errno(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)), EINVAL);
	want_eq(setsockopt(s, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof(one)), 0);
	want_eq(arrives(s, &to, "no", 2), 2);
	want_eq(setsockopt(s, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)), 0);
	f.len = 6;
	want_errno(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)), EPERM);
	one = 0;
	want_errno(setsockopt(s, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)), EPERM);
	close(s);
}

/* Loads that begin at the link's header, or the network's, whatever the filter's packet begins with. */
CASE(filters_of_headers)
{
	struct sock_filter code[] = { { BPF_LD | BPF_H | BPF_ABS, 0, 0, (uint32_t)SKF_LL_OFF + 12 },
				      { BPF_JMP | BPF_JEQ, 0, 5, 0x0800 },
				      { BPF_LD | BPF_B | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF + 9 },
				      { BPF_JMP | BPF_JEQ, 0, 3, IPPROTO_UDP },
				      { BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)SKF_NET_OFF + 12 },
				      { BPF_JMP | BPF_JEQ, 0, 1, INADDR_LOOPBACK },
				      { BPF_RET | BPF_K, 0, 0, ~0U },
				      { BPF_RET | BPF_K, 0, 0, 0 } };
	struct sock_fprog f = { 8, code };
	struct sockaddr_in to;
	int s = pair_of(&to);

	want_eq(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)), 0);
	want_eq(arrives(s, &to, "yes", 3), 3);
	code[3].k = IPPROTO_TCP;
	want_eq(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &f, sizeof(f)), 0);
	want_eq(arrives(s, &to, "no", 2), -1);
	close(s);
}

/* Where a packet's headers are, for programs of a cgroup: on the way out there is none of the link yet. */
CASE(headers_at_hooks)
{
	static const int ways[] = { BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS };

	for (int i = 0; i < 2; i++) {
		int m = map_new(BPF_MAP_TYPE_ARRAY, 4, 16, 1, 0);
		int prog = LOAD(BPF_PROG_TYPE_CGROUP_SKB, ways[i], MOVR(6, 1), LDVAL(7, m, 0), MOVR(1, 6), MOV(2, 12),
				MOVR(3, 10), ALU(ADD, 3, -8), MOV(4, 2), MOV(5, BPF_HDR_START_MAC),
				CALL(skb_load_bytes_relative), STX(W, 7, 0, 0), LDX(H, 1, 10, -8), STX(W, 7, 4, 1),
				MOVR(1, 6), MOV(2, 9), MOVR(3, 10), ALU(ADD, 3, -8), MOV(4, 1),
				MOV(5, BPF_HDR_START_NET), CALL(skb_load_bytes_relative), STX(W, 7, 8, 0),
				LDX(B, 1, 10, -8), STX(W, 7, 12, 1), MOV(0, 1), EXIT());
		int32_t v[4] = { 9, 9, 9, 9 };

		want(m >= 0 && prog >= 0);
		want_eq(attach(cg, prog, ways[i], 0), 0);
		want_eq(in_cgroup(NAME, sends_itself), 0);
		want_eq(detach(cg, prog, ways[i]), 0);
		want_eq(map_get(m, &(int){ 0 }, v), 0);
		want_eq(v[0], i ? -EFAULT : 0);
		if (!i)
			want_eq(v[1], htons(0x0800));
		want_eq(v[2], 0);
		want_eq(v[3], IPPROTO_UDP);
		close(m);
		close(prog);
	}
}

CASE(loaded_filters)
{
	int drop = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, MOV(0, 0), EXIT()),
	    wrong = verdict(BPF_PROG_TYPE_CGROUP_SKB, 0, 1), bad = 0;
	struct sockaddr_in to;
	int s = pair_of(&to);

	want(drop >= 0 && wrong >= 0);
	want_errno(setsockopt(s, SOL_SOCKET, SO_ATTACH_BPF, &wrong, sizeof(wrong)), EINVAL);
	want_errno(setsockopt(s, SOL_SOCKET, SO_ATTACH_BPF, &bad, sizeof(bad)), EINVAL);
	bad = 999;
	want_errno(setsockopt(s, SOL_SOCKET, SO_ATTACH_BPF, &bad, sizeof(bad)), EBADF);
	want_eq(setsockopt(s, SOL_SOCKET, SO_ATTACH_BPF, &drop, sizeof(drop)), 0);
	close(drop);
	want_eq(arrives(s, &to, "x", 1), -1);
	close(s);
	close(wrong);
}

CASE(leave)
{
	close(cg);
	want_eq(chdir(tree), 0);
	want_eq(rmdir(NAME), 0);
	want_eq(chdir("/"), 0);
	umount(tree);
}

int main(void)
{
	mkdir("/tmp", 0777);
	RUN(begin);
	RUN(binding);
	RUN(privileged_ports);
	RUN(after_binding);
	RUN(connecting);
	RUN(sending);
	RUN(options);
	RUN(device_nodes);
	RUN(classic_filters);
	RUN(filters_of_headers);
	RUN(headers_at_hooks);
	RUN(loaded_filters);
	RUN(leave);
	return abi_status();
}
