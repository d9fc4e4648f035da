/* SPDX-License-Identifier: MIT
 *
 * Problem: programs configure networks and look at packets by five old interfaces whose small print nobody wrote down.
 *
 * Idea: everything happens in network namespaces of the test's own: loopback from down to up, a pair of devices between
 * two namespaces, netlink, ioctls, raw and packet sockets, errors of ICMP.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle; rtnetlink(7),
 * netdevice(7), packet(7), raw(7), ip(7). Needs the right to make namespaces.
 *
 * Locks: none.
 */
#include <arpa/inet.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/veth.h>
#include "abi.h"
#include "netlink.h"

/* ---- tools --------------------------------------------------------------------------------------------------------
 */

static struct sockaddr_in v4(const char *addr, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((unsigned short)port) };

	inet_pton(AF_INET, addr, &a.sin_addr);
	return a;
}
#define NAME(a) (struct sockaddr *)&(a), sizeof(a)

static int sock(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);
	struct timeval limit = { .tv_sec = 10 };

	want(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static int udp_at(const char *addr, int *port)
{
	int fd = sock(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a = v4(addr, 0);
	socklen_t len = sizeof(a);

	want_eq(bind(fd, NAME(a)), 0);
	want_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*port = ntohs(a.sin_port);
	return fd;
}

static int change_flags(const char *name, int set, int clear)
{
	struct ifreq r = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), err;

	strcpy(r.ifr_name, name);
	err = ioctl(fd, SIOCGIFFLAGS, &r);
	r.ifr_flags = (short)((r.ifr_flags | set) & ~clear);
	if (!err)
		err = ioctl(fd, SIOCSIFFLAGS, &r);
	close(fd);
	return err;
}

static int give_address(const char *name, const char *addr, const char *mask)
{
	struct ifreq r = { 0 };
	struct sockaddr_in a = v4(addr, 0), m = v4(mask, 0);
	int fd = socket(AF_INET, SOCK_DGRAM, 0), err;

	strcpy(r.ifr_name, name);
	memcpy(&r.ifr_addr, &a, sizeof(a));
	err = ioctl(fd, SIOCSIFADDR, &r);
	memcpy(&r.ifr_netmask, &m, sizeof(m));
	if (!err)
		err = ioctl(fd, SIOCSIFNETMASK, &r);
	close(fd);
	return err;
}

struct request {
	struct nlmsghdr h;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg addr;
		struct rtmsg route;
		struct inet_diag_req_v2 diag;
	};
	char attrs[512];
};

static void begin(struct request *r, int type, int flags, size_t body)
{
	memset(r, 0, sizeof(*r));
	r->h = (struct nlmsghdr){ .nlmsg_len = NLMSG_LENGTH(body),
				  .nlmsg_type = (unsigned short)type,
				  .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags),
				  .nlmsg_seq = 77 };
}

/* Sends and returns the acknowledgement's code. */
static int ask(int fd, struct request *r)
{
	char buf[8192];
	struct nlmsghdr *h = (struct nlmsghdr *)buf;

	r->h.nlmsg_flags |= NLM_F_ACK;
	want_eq(send(fd, r, r->h.nlmsg_len, 0), (int)r->h.nlmsg_len);
	want(recv(fd, buf, sizeof(buf), 0) >= (int)NLMSG_LENGTH(sizeof(struct nlmsgerr)));
	want_eq(h->nlmsg_type, NLMSG_ERROR);
	want_eq(h->nlmsg_seq, 77);
	return ((struct nlmsgerr *)NLMSG_DATA(h))->error;
}

/* Calls fn for each message of a dump until NLMSG_DONE. */
static int dump(int fd, struct request *r, int (*fn)(struct nlmsghdr *h, void *arg), void *arg)
{
	char buf[16384];
	int n = 0;

	r->h.nlmsg_flags |= NLM_F_DUMP;
	want_eq(send(fd, r, r->h.nlmsg_len, 0), (int)r->h.nlmsg_len);
	for (;;) {
		int got = (int)recv(fd, buf, sizeof(buf), 0);

		want(got > 0);
		for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, (unsigned)got); h = NLMSG_NEXT(h, got)) {
			if (h->nlmsg_type == NLMSG_DONE)
				return n;
			want(h->nlmsg_type != NLMSG_ERROR && h->nlmsg_flags & NLM_F_MULTI);
			n += fn(h, arg);
		}
	}
}

static int in_child(void (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		want_eq(unshare(CLONE_NEWNET), 0);
		fn();
		_exit(0);
	}
	want_eq(waitpid(pid, &status, 0), pid);
	return status;
}
#define IN_OWN_NET(name)                                                                                               \
	static void name##_inside(void);                                                                               \
	CASE(name)                                                                                                     \
	{                                                                                                              \
		want_eq(in_child(name##_inside), 0);                                                                   \
	}                                                                                                              \
	static void name##_inside(void)

/* ---- a namespace of one's own
 * ------------------------------------------------------------------------------------------ */

IN_OWN_NET(loopback_is_down_at_first)
{
	int fd = sock(AF_INET, SOCK_STREAM, 0), fd6 = sock(AF_INET6, SOCK_STREAM, 0);
	struct sockaddr_in a = v4("127.0.0.1", 9);
	struct sockaddr_in6 b = { .sin6_family = AF_INET6, .sin6_port = htons(9), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct ifreq r = { .ifr_name = "lo" };
	struct ifconf c = { 0 };

	want_errno(connect(fd, NAME(a)), ENETUNREACH);
	want_errno(connect(fd6, NAME(b)), EADDRNOTAVAIL);
	want_eq(ioctl(fd, SIOCGIFCONF, &c), 0);
	want_eq(c.ifc_len, 0);
	want_eq(ioctl(fd, SIOCGIFINDEX, &r), 0);
	want_eq(r.ifr_ifindex, 1);
	want_errno(ioctl(fd, SIOCGIFADDR, &r), EADDRNOTAVAIL);
	want_eq(change_flags("lo", IFF_UP, 0), 0);
	want_errno(connect(fd, NAME(a)), ECONNREFUSED);
	want_errno(connect(fd6, NAME(b)), ECONNREFUSED);
	want_eq(ioctl(fd, SIOCGIFADDR, &r), 0);
	want_eq(ntohl(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr), INADDR_LOOPBACK);
	want_eq(ioctl(fd, SIOCGIFNETMASK, &r), 0);
	want_eq(ntohl(((struct sockaddr_in *)&r.ifr_addr)->sin_addr.s_addr), 0xff000000);
	want_eq(ioctl(fd, SIOCGIFMTU, &r), 0);
	want_eq(r.ifr_mtu, 65536);
	strcpy(r.ifr_name, "nope");
	want_errno(ioctl(fd, SIOCGIFINDEX, &r), ENODEV);
	r.ifr_ifindex = 1;
	want_eq(ioctl(fd, SIOCGIFNAME, &r), 0);
	want_eq(strcmp(r.ifr_name, "lo"), 0);
}

static int see_link(struct nlmsghdr *h, void *arg)
{
	struct ifinfomsg *i = NLMSG_DATA(h);
	int len = (int)IFLA_PAYLOAD(h);

	want_eq(h->nlmsg_type, RTM_NEWLINK);
	for (struct rtattr *a = IFLA_RTA(i); RTA_OK(a, len); a = RTA_NEXT(a, len))
		if (a->rta_type == IFLA_IFNAME && !strcmp(RTA_DATA(a), arg))
			return i->ifi_index;
	return 0;
}

static int see_any(struct nlmsghdr *h, void *arg)
{
	*(int *)arg = h->nlmsg_type;
	return 1;
}

/* v0 here, its peer named v1. */
static int make_pair(int fd)
{
	struct request r;
	struct ifinfomsg none = { 0 };
	struct rtattr *info, *data, *peer;

	begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(r.link));
	netlink_add(&r.h, IFLA_IFNAME, "v0", 3);
	info = netlink_add(&r.h, IFLA_LINKINFO, NULL, 0);
	netlink_add(&r.h, IFLA_INFO_KIND, "veth", 4);
	data = netlink_add(&r.h, IFLA_INFO_DATA, NULL, 0);
	peer = netlink_add(&r.h, VETH_INFO_PEER, &none, sizeof(none));
	netlink_add(&r.h, IFLA_IFNAME, "v1", 3);
	netlink_end(&r.h, peer);
	netlink_end(&r.h, data);
	netlink_end(&r.h, info);
	return ask(fd, &r);
}

IN_OWN_NET(links_by_netlink)
{
	int fd = sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), mtu = 1400,
	    listener = sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
	struct sockaddr_nl groups = { .nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK };
	struct request r;
	char buf[4096];

	want_eq(bind(listener, NAME(groups)), 0);
	begin(&r, RTM_GETLINK, 0, sizeof(r.link));
	want_eq(dump(fd, &r, see_link, "lo"), 1);
	want_eq(make_pair(fd), 0);
	want(recv(listener, buf, sizeof(buf), 0) > 0);
	want_eq(((struct nlmsghdr *)buf)->nlmsg_type, RTM_NEWLINK);
	want_eq(make_pair(fd), -EEXIST);
	begin(&r, RTM_GETLINK, 0, sizeof(r.link));
	want(dump(fd, &r, see_link, "v1") > 1);
	begin(&r, RTM_NEWLINK, 0, sizeof(r.link));
	r.link.ifi_index = (int)if_nametoindex("v0");
	r.link.ifi_flags = r.link.ifi_change = IFF_UP;
	netlink_add(&r.h, IFLA_MTU, &mtu, sizeof(mtu));
	want_eq(ask(fd, &r), 0);
	begin(&r, RTM_NEWLINK, 0, sizeof(r.link));
	r.link.ifi_index = (int)if_nametoindex("v1");
	netlink_add(&r.h, IFLA_IFNAME, "lo", 3);
	want_eq(ask(fd, &r), -EEXIST);
	begin(&r, RTM_NEWLINK, 0, sizeof(r.link));
	r.link.ifi_index = 4711;
	want_eq(ask(fd, &r), -ENODEV);
	begin(&r, RTM_DELLINK, 0, sizeof(r.link));
	r.link.ifi_index = 1;
	want_eq(ask(fd, &r), -EOPNOTSUPP);
	begin(&r, RTM_DELLINK, 0, sizeof(r.link));
	netlink_add(&r.h, IFLA_IFNAME, "v0", 3);
	want_eq(ask(fd, &r), 0);
	want_eq(if_nametoindex("v1"), 0);
}

static int add_address(int fd, unsigned index, const char *addr, int prefix, int type)
{
	struct request r;
	struct sockaddr_in a = v4(addr, 0);

	begin(&r, type, type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(r.addr));
	r.addr =
		(struct ifaddrmsg){ .ifa_family = AF_INET, .ifa_prefixlen = (unsigned char)prefix, .ifa_index = index };
	netlink_add(&r.h, IFA_LOCAL, &a.sin_addr, 4);
	netlink_add(&r.h, IFA_ADDRESS, &a.sin_addr, 4);
	return ask(fd, &r);
}

static int change_route(int fd, int type, const char *to, int prefix, const char *via)
{
	struct request r;
	struct sockaddr_in a = v4(to, 0), g = v4(via, 0);

	begin(&r, type, type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_EXCL : 0, sizeof(r.route));
	r.route = (struct rtmsg){ .rtm_family = AF_INET,
				  .rtm_dst_len = (unsigned char)prefix,
				  .rtm_table = RT_TABLE_MAIN,
				  .rtm_protocol = RTPROT_STATIC,
				  .rtm_scope = type == RTM_NEWROUTE ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE,
				  .rtm_type = type == RTM_NEWROUTE ? RTN_UNICAST : 0 };
	netlink_add(&r.h, RTA_DST, &a.sin_addr, 4);
	netlink_add(&r.h, RTA_GATEWAY, &g.sin_addr, 4);
	return ask(fd, &r);
}

IN_OWN_NET(addresses_and_routes_by_netlink)
{
	int fd = sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), s = sock(AF_INET, SOCK_DGRAM, 0), type;
	struct sockaddr_in far = v4("10.9.3.4", 9), us;
	socklen_t len = sizeof(us);
	struct request r;
	unsigned index;

	want_eq(make_pair(fd), 0);
	index = if_nametoindex("v0");
	want_eq(add_address(fd, index, "10.8.0.1", 24, RTM_NEWADDR), 0);
	want_eq(add_address(fd, index, "10.8.0.1", 24, RTM_NEWADDR), -EEXIST);
	want_eq(change_route(fd, RTM_NEWROUTE, "10.9.0.0", 16, "10.8.0.2"), -ENETUNREACH); /* the device is down */
	want_eq(change_flags("v0", IFF_UP, 0), 0);
	want_errno(connect(s, NAME(far)), ENETUNREACH);
	want_eq(change_route(fd, RTM_NEWROUTE, "10.9.0.0", 16, "10.8.0.2"), 0);
	want_eq(change_route(fd, RTM_NEWROUTE, "10.9.0.0", 16, "10.8.0.2"), -EEXIST);
	want_eq(change_route(fd, RTM_NEWROUTE, "10.7.0.0", 16, "10.6.0.2"), -ENETUNREACH); /* no neighbour of ours */
	want_eq(change_route(fd, RTM_NEWROUTE, "10.9.0.1", 16, "10.8.0.2"), -EINVAL);
	want_eq(connect(s, NAME(far)), 0);
	want_eq(getsockname(s, (struct sockaddr *)&us, &len), 0);
	want_eq(us.sin_addr.s_addr, inet_addr("10.8.0.1"));
	begin(&r, RTM_GETROUTE, 0, sizeof(r.route));
	r.route.rtm_family = AF_INET;
	want(dump(fd, &r, see_any, &type) >= 4); /* ours, the network's, local, broadcast */
	want_eq(type, RTM_NEWROUTE);
	want_eq(change_route(fd, RTM_DELROUTE, "10.9.0.0", 16, "10.8.0.2"), 0);
	want_eq(change_route(fd, RTM_DELROUTE, "10.9.0.0", 16, "10.8.0.2"), -ESRCH);
	want_eq(add_address(fd, index, "10.8.0.1", 24, RTM_DELADDR), 0);
	want_eq(add_address(fd, index, "10.8.0.1", 24, RTM_DELADDR), -EADDRNOTAVAIL);
}

/* ---- what goes wrong is told
 * ------------------------------------------------------------------------------------------ */

IN_OWN_NET(errors_of_icmp)
{
	int port, there, s = sock(AF_INET, SOCK_DGRAM, 0), on = 1;
	struct sockaddr_in a;
	char text[64], control[512];
	struct iovec v = { text, sizeof(text) };
	struct msghdr m = { .msg_name = &a,
			    .msg_namelen = sizeof(a),
			    .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct sock_extended_err *e;
	struct cmsghdr *c;
	struct pollfd p = { .fd = s, .events = 0 };

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	there = udp_at("127.0.0.1", &port);
	close(there);
	a = v4("127.0.0.1", port);
	want_eq(sendto(s, "x", 1, 0, NAME(a)), 1); /* not connected: nobody is told */
	want_eq(connect(s, NAME(a)), 0);
	want_eq(send(s, "hello", 5, 0), 5);
	want_errno(recv(s, text, sizeof(text), 0), ECONNREFUSED);
	want_eq(setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	want_errno(recvmsg(s, &m, MSG_ERRQUEUE), EAGAIN);
	want_eq(send(s, "hello", 5, 0), 5);
	want_eq(poll(&p, 1, 10000), 1);
	want_eq(p.revents, POLLERR);
	m.msg_controllen = sizeof(control);
	want_eq(recvmsg(s, &m, MSG_ERRQUEUE), 5);
	want_eq(memcmp(text, "hello", 5), 0);
	want(m.msg_flags & MSG_ERRQUEUE);
	want_eq(a.sin_port, htons((unsigned short)port));
	c = CMSG_FIRSTHDR(&m);
	want(c && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR);
	e = (struct sock_extended_err *)CMSG_DATA(c);
	want_eq(e->ee_errno, ECONNREFUSED);
	want_eq(e->ee_origin, SO_EE_ORIGIN_ICMP);
	want_eq(e->ee_type, ICMP_DEST_UNREACH);
	want_eq(e->ee_code, ICMP_PORT_UNREACH);
	want_eq(((struct sockaddr_in *)SO_EE_OFFENDER(e))->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	want_eq(recv(s, text, sizeof(text), MSG_DONTWAIT), -1);
	want_eq(errno, EAGAIN);
}

IN_OWN_NET(control_messages)
{
	int port, there, on = 1, seen = 0;
	struct sockaddr_in a;
	char text[8], control[512];
	struct iovec v = { text, sizeof(text) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	there = udp_at("127.0.0.1", &port);
	a = v4("127.0.0.1", port);
	want_eq(setsockopt(there, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)), 0);
	want_eq(setsockopt(there, IPPROTO_IP, IP_RECVTTL, &on, sizeof(on)), 0);
	want_eq(setsockopt(there, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)), 0);
	want_eq(sendto(sock(AF_INET, SOCK_DGRAM, 0), "0123456789", 10, 0, NAME(a)), 10);
	want_eq(recvmsg(there, &m, 0), 8);
	want_eq(m.msg_flags, MSG_TRUNC);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *i = (struct in_pktinfo *)CMSG_DATA(c);

			want_eq(i->ipi_ifindex, 1);
			want_eq(i->ipi_addr.s_addr, htonl(INADDR_LOOPBACK));
			seen |= 1;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) {
			want_eq(*(int *)CMSG_DATA(c), 64);
			seen |= 2;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMP) {
			struct timeval *t = (struct timeval *)CMSG_DATA(c);

			want(llabs((long long)t->tv_sec - time(NULL)) < 100);
			seen |= 4;
		}
	}
	want_eq(seen, 7);
}

IN_OWN_NET(groups_and_broadcast)
{
	int port, there, s = sock(AF_INET, SOCK_DGRAM, 0), on = 1;
	struct ip_mreqn join = { .imr_ifindex = 1 };
	struct sockaddr_in a, wide = v4("127.255.255.255", 9);
	char c;

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	there = udp_at("0.0.0.0", &port);
	a = v4("239.1.2.3", port);
	inet_pton(AF_INET, "239.1.2.3", &join.imr_multiaddr);
	want_eq(setsockopt(s, IPPROTO_IP, IP_MULTICAST_IF, &join, sizeof(join)), 0);
	want_eq(setsockopt(there, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)), 0);
	want_errno(setsockopt(there, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join)), EADDRINUSE);
	want_eq(sendto(s, "m", 1, 0, NAME(a)), 1);
	want_eq(recv(there, &c, 1, 0), 1);
	want_eq(c, 'm');
	want_eq(setsockopt(there, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join)), 0);
	want_errno(setsockopt(there, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join)), EADDRNOTAVAIL);
	want_errno(sendto(s, "b", 1, 0, NAME(wide)), EACCES);
	want_eq(setsockopt(s, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on)), 0);
	wide.sin_port = htons((unsigned short)port);
	want_eq(sendto(s, "b", 1, 0, NAME(wide)), 1);
	want_eq(recv(there, &c, 1, 0), 1);
	want_eq(c, 'b');
}

IN_OWN_NET(one_device_alone)
{
	int s = sock(AF_INET, SOCK_DGRAM, 0), index = 1;
	char name[16];
	socklen_t len = sizeof(name);

	want_eq(getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
	want_eq(len, 0);
	want_errno(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "nope", 4), ENODEV);
	want_eq(setsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), 0);
	len = sizeof(name);
	want_eq(getsockopt(s, SOL_SOCKET, SO_BINDTODEVICE, name, &len), 0);
	want_eq(len, 3);
	want_eq(strcmp(name, "lo"), 0);
	want_eq(setsockopt(s, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof(index)), 0);
	index = -1;
	want_errno(setsockopt(s, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof(index)), EINVAL);
}

/* ---- below UDP and TCP
 * ------------------------------------------------------------------------------------------------- */

static unsigned short sum16(const void *data, size_t len)
{
	const unsigned char *b = data;
	unsigned long sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (unsigned long)b[i] << 8 | b[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((unsigned short)~sum);
}

IN_OWN_NET(raw_icmp)
{
	int s = sock(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	struct sockaddr_in a = v4("127.0.0.1", 0);
	struct icmphdr h = { .type = ICMP_ECHO, .un.echo = { .id = 0x1234, .sequence = 1 } };
	unsigned char got[256];
	unsigned filter = ~(1U << ICMP_ECHOREPLY);
	struct icmphdr *r = (struct icmphdr *)(got + 20);

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	h.checksum = sum16(&h, sizeof(h));
	want_eq(sendto(s, &h, sizeof(h), 0, NAME(a)), sizeof(h));
	want_eq(recv(s, got, sizeof(got), 0), 20 + sizeof(h)); /* what we sent comes by as well */
	want_eq(got[0], 0x45);
	want_eq(r->type, ICMP_ECHO);
	want_eq(recv(s, got, sizeof(got), 0), 20 + sizeof(h));
	want_eq(r->type, ICMP_ECHOREPLY);
	want_eq(r->un.echo.id, 0x1234);
	want_eq(setsockopt(s, SOL_RAW, 1 /* ICMP_FILTER */, &filter, sizeof(filter)), 0);
	want_eq(sendto(s, &h, sizeof(h), 0, NAME(a)), sizeof(h));
	want_eq(recv(s, got, sizeof(got), 0), 20 + sizeof(h));
	want_eq(r->type, ICMP_ECHOREPLY);
	want_errno(socket(AF_INET, SOCK_RAW, 0), EPROTONOSUPPORT);
}

IN_OWN_NET(raw_icmp6)
{
	int s = sock(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct icmp6_hdr h = { .icmp6_type = ICMP6_ECHO_REQUEST }, r;
	struct icmp6_filter only;

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	ICMP6_FILTER_SETBLOCKALL(&only);
	ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &only);
	want_eq(setsockopt(s, IPPROTO_ICMPV6, ICMP6_FILTER, &only, sizeof(only)), 0);
	want_eq(sendto(s, &h, sizeof(h), 0, NAME(a)), sizeof(h)); /* the kernel does the checksum */
	want_eq(recv(s, &r, sizeof(r), 0), sizeof(r));
	want_eq(r.icmp6_type, ICMP6_ECHO_REPLY);
}

IN_OWN_NET(packet_socket)
{
	int s = sock(AF_PACKET, SOCK_RAW, 0), d = sock(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP)), port, there;
	struct sockaddr_ll ll = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = 1 }, from;
	struct sock_filter none[] = { BPF_STMT(BPF_RET | BPF_K, 0) }, forty[] = { BPF_STMT(BPF_RET | BPF_K, 40) };
	struct sock_fprog drop = { 1, none }, cut = { 1, forty };
	struct sockaddr_in a;
	struct tpacket_stats st;
	socklen_t len = sizeof(from);
	unsigned char got[256];

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	want_eq(bind(s, NAME(ll)), 0);
	there = udp_at("127.0.0.1", &port);
	a = v4("127.0.0.1", port);
	want_eq(sendto(there, "hello", 5, 0, NAME(a)), 5);
	want_eq(recvfrom(s, got, sizeof(got), 0, (struct sockaddr *)&from, &len), 14 + 20 + 8 + 5);
	want_eq(from.sll_pkttype, PACKET_OUTGOING);
	want_eq(from.sll_ifindex, 1);
	want_eq(from.sll_protocol, htons(ETH_P_IP));
	want_eq(from.sll_hatype, 772);
	want_eq(memcmp(got + 42, "hello", 5), 0);
	want_eq(recvfrom(s, got, sizeof(got), 0, (struct sockaddr *)&from, &len), 14 + 20 + 8 + 5);
	want_eq(from.sll_pkttype, PACKET_HOST);
	want_eq(recv(d, got, sizeof(got), MSG_TRUNC), 20 + 8 + 5); /* in only: it named a protocol */
	want_eq(got[0], 0x45);
	want_errno(recv(d, got, sizeof(got), MSG_DONTWAIT), EAGAIN);
	want_eq(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &cut, sizeof(cut)), 0);
	want_eq(sendto(there, "hello", 5, 0, NAME(a)), 5);
	want_eq(recv(s, got, sizeof(got), MSG_TRUNC), 40);
	want_eq(recv(s, got, sizeof(got), 0), 40);
	len = sizeof(st);
	want_eq(getsockopt(s, SOL_PACKET, PACKET_STATISTICS, &st, &len), 0);
	want_eq(st.tp_packets, 4);
	want_eq(st.tp_drops, 0);
	want_eq(setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof(drop)), 0);
	want_eq(sendto(there, "hello", 5, 0, NAME(a)), 5);
	want_eq(recv(there, got, sizeof(got), 0), 5);
	want_errno(recv(s, got, sizeof(got), MSG_DONTWAIT), EAGAIN);
}

IN_OWN_NET(packet_ring)
{
	int s = sock(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), version = TPACKET_V2, port, there;
	struct tpacket_req q = { .tp_block_size = 8192, .tp_block_nr = 2, .tp_frame_size = 2048, .tp_frame_nr = 8 };
	struct sockaddr_in a;
	struct pollfd p = { .fd = s, .events = POLLIN };
	volatile struct tpacket2_hdr *h;
	char *ring;

	want_eq(change_flags("lo", IFF_UP, 0), 0);
	want_eq(setsockopt(s, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)), 0);
	q.tp_frame_nr = 7;
	want_errno(setsockopt(s, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)), EINVAL);
	q.tp_frame_nr = 8;
	want_eq(setsockopt(s, SOL_PACKET, PACKET_RX_RING, &q, sizeof(q)), 0);
	want(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, s, 0) == MAP_FAILED && errno == EINVAL);
	ring = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, s, 0);
	want(ring != MAP_FAILED);
	there = udp_at("127.0.0.1", &port);
	a = v4("127.0.0.1", port);
	want_eq(sendto(there, "hello", 5, 0, NAME(a)), 5);
	want_eq(poll(&p, 1, 10000), 1);
	h = (volatile struct tpacket2_hdr *)ring;
	want(h->tp_status & TP_STATUS_USER);
	want_eq(h->tp_len, 47);
	want_eq(h->tp_snaplen, 47);
	want_eq(h->tp_net - h->tp_mac, 14);
	want_eq(memcmp(ring + h->tp_net + 28, "hello", 5), 0);
	h->tp_status = TP_STATUS_KERNEL;
	want_eq(munmap(ring, 16384), 0);
}

/* ---- two namespaces
 * ------------------------------------------------------------------------------------------------------ */

static void far_end(int go)
{
	int s = sock(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a = v4("10.5.0.2", 7000), from;
	socklen_t len = sizeof(from);
	char c, *buf = malloc(30000);
	ssize_t n;

	want_eq(unshare(CLONE_NEWNET), 0);
	want_eq(write(go, "u", 1), 1);
	want_eq(read(go, &c, 1), 1); /* v1 is here now */
	close(s);
	s = sock(AF_INET, SOCK_DGRAM, 0);
	want_eq(change_flags("v1", IFF_UP, 0), 0);
	want_eq(give_address("v1", "10.5.0.2", "255.255.255.0"), 0);
	want_eq(bind(s, NAME(a)), 0);
	want_eq(write(go, "r", 1), 1);
	n = recvfrom(s, buf, 30000, 0, (struct sockaddr *)&from, &len);
	want_eq(n, 20000);
	want_eq(from.sin_addr.s_addr, inet_addr("10.5.0.1"));
	want_eq(sendto(s, buf, (size_t)n, 0, (struct sockaddr *)&from, len), n);
	want_eq(read(go, &c, 1), 1);
	_exit(0);
}

/* 20,000 bytes go over a link of 1,500 and come back; then nobody answers for an address. */
IN_OWN_NET(a_pair_between_namespaces)
{
	int pipe[2], fd = sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), s = sock(AF_INET, SOCK_DGRAM, 0), status,
		     probe = IP_PMTUDISC_DO, on = 1;
	struct sockaddr_in a = v4("10.5.0.2", 7000), nobody = v4("10.5.0.99", 7000);
	char out[20000], back[20000], c;
	struct request r;
	pid_t pid;

	want_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pipe), 0);
	pid = fork();
	if (!pid)
		far_end(pipe[1]);
	want_eq(read(pipe[0], &c, 1), 1);
	want_eq(make_pair(fd), 0);
	begin(&r, RTM_NEWLINK, 0, sizeof(r.link));
	r.link.ifi_index = (int)if_nametoindex("v1");
	netlink_add(&r.h, IFLA_NET_NS_PID, &pid, sizeof(pid));
	want_eq(ask(fd, &r), 0);
	want_eq(if_nametoindex("v1"), 0);
	want_eq(change_flags("lo", IFF_UP, 0), 0);
	want_eq(change_flags("v0", IFF_UP, 0), 0);
	want_eq(give_address("v0", "10.5.0.1", "255.255.255.0"), 0);
	want_eq(write(pipe[0], "g", 1), 1);
	want_eq(read(pipe[0], &c, 1), 1);
	for (unsigned i = 0; i < sizeof(out); i++)
		out[i] = (char)(i * 7 + i / 256);
	want_eq(connect(s, NAME(a)), 0);
	want_eq(send(s, out, sizeof(out), 0), sizeof(out));
	want_eq(recv(s, back, sizeof(back), 0), sizeof(back));
	want_eq(memcmp(out, back, sizeof(out)), 0);
	want_eq(setsockopt(s, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof(probe)), 0);
	want_errno(send(s, out, 1473, 0), EMSGSIZE);
	want_eq(send(s, out, 1472, 0), 1472);
	s = sock(AF_INET, SOCK_DGRAM, 0);
	want_eq(connect(s, NAME(nobody)), 0);
	want_eq(setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)), 0);
	want_eq(send(s, "x", 1, 0), 1);
	want_errno(recv(s, back, 1, 0), EHOSTUNREACH);
	want_eq(write(pipe[0], "e", 1), 1);
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
}

/* The address fe80:: of a device, once it may be used. */
static int own_address(const char *device, struct sockaddr_in6 *a)
{
	for (int i = 0; i < 100; i++, usleep(100000)) {
		FILE *f = fopen("/proc/net/if_inet6", "r");
		unsigned index, prefix, scope, flags;
		char hex[33], name[17];

		while (fscanf(f, "%32s %x %x %x %x %16s", hex, &index, &prefix, &scope, &flags, name) == 6) {
			if (strcmp(name, device) != 0 || strncmp(hex, "fe80", 4) != 0 || flags & 0x40)
				continue;
			for (int k = 0; k < 16; k++)
				sscanf(hex + 2 * k, "%2hhx", &a->sin6_addr.s6_addr[k]);
			a->sin6_scope_id = index;
			fclose(f);
			return 1;
		}
		fclose(f);
	}
	return 0;
}

IN_OWN_NET(own_link_local)
{
	int fd = sock(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), l = sock(AF_INET6, SOCK_STREAM, 0),
	    c = sock(AF_INET6, SOCK_STREAM, 0), s;
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 }, got = { .sin6_family = AF_INET6 };
	struct timeval patience = { 5, 0 };
	socklen_t len = sizeof(got);

	want_eq(make_pair(fd), 0);
	want_eq(change_flags("lo", IFF_UP, 0), 0);
	want_eq(change_flags("v0", IFF_UP, 0), 0);
	want_eq(change_flags("v1", IFF_UP, 0), 0);
	want(own_address("v0", &a));
	want_eq(listen(l, 5), 0);
	want_eq(getsockname(l, (struct sockaddr *)&got, &len), 0);
	a.sin6_port = got.sin6_port;
	setsockopt(c, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	want_eq(connect(c, NAME(a)), 0);
	s = accept(l, (struct sockaddr *)&got, &len);
	want(s >= 0);
}

static int see_socket(struct nlmsghdr *h, void *arg)
{
	struct inet_diag_msg *d = NLMSG_DATA(h);

	want_eq(h->nlmsg_type, SOCK_DIAG_BY_FAMILY);
	if (d->id.idiag_sport != *(unsigned short *)arg)
		return 0;
	want_eq(d->idiag_state, 10); /* LISTEN */
	want_eq(d->idiag_wqueue, 5);
	return 1;
}

IN_OWN_NET(sockets_by_diag)
{
	int fd = sock(AF_NETLINK, SOCK_DGRAM, NETLINK_SOCK_DIAG), s = sock(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	struct request r;

	want_eq(listen(s, 5), 0);
	want_eq(getsockname(s, (struct sockaddr *)&a, &len), 0);
	begin(&r, SOCK_DIAG_BY_FAMILY, 0, sizeof(r.diag));
	r.diag = (struct inet_diag_req_v2){ .sdiag_family = AF_INET,
					    .sdiag_protocol = IPPROTO_TCP,
					    .idiag_states = ~0U };
	want_eq(dump(fd, &r, see_socket, &a.sin_port), 1);
	r.diag.sdiag_family = AF_INET6;
	want_eq(dump(fd, &r, see_socket, &a.sin_port), 0);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	RUN(loopback_is_down_at_first);
	RUN(links_by_netlink);
	RUN(addresses_and_routes_by_netlink);
	RUN(errors_of_icmp);
	RUN(control_messages);
	RUN(groups_and_broadcast);
	RUN(one_device_alone);
	RUN(raw_icmp);
	RUN(raw_icmp6);
	RUN(packet_socket);
	RUN(packet_ring);
	RUN(a_pair_between_namespaces);
	RUN(own_link_local);
	RUN(sockets_by_diag);
	return abi_status();
}
