/* SPDX-License-Identifier: MIT
 *
 * Problem: every network program relies on the small print of stream sockets: what blocks, which error comes when, what
 * poll says.
 *
 * Idea: both ends live in this program and talk over loopback, IPv4 and IPv6. Each case goes through one chapter:
 * calling, moving bytes, closing in all ways, ports, options, readiness.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "abi.h"

static void loopback_up(void)
{
	struct ifreq r = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	ioctl(s, SIOCSIFFLAGS, &r);
	close(s);
}

static struct sockaddr_in at(const char *addr, int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, addr, &a.sin_addr);
	return a;
}

static int port_of(int s)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);

	want_eq(getsockname(s, (void *)&a, &len), 0);
	return ntohs(a.sin_port);
}

static int listener(int backlog)
{
	struct sockaddr_in a = at("127.0.0.1", 0);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	want(l >= 0);
	want_eq(bind(l, (void *)&a, sizeof(a)), 0);
	want_eq(listen(l, backlog), 0);
	return l;
}

static int call(int port)
{
	struct sockaddr_in a = at("127.0.0.1", port);
	int c = socket(AF_INET, SOCK_STREAM, 0);

	want(c >= 0);
	want_eq(connect(c, (void *)&a, sizeof(a)), 0);
	return c;
}

/* A connected pair: s[0] called, s[1] was accepted. */
static void pair(int s[2])
{
	int l = listener(1);

	s[0] = call(port_of(l));
	s[1] = accept(l, NULL, NULL);
	want(s[1] >= 0);
	close(l);
}

static int polled(int fd, int events)
{
	struct pollfd p = { fd, events, 0 };

	want(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static int waited(int fd, int events)
{
	struct pollfd p = { fd, events, 0 };

	want(poll(&p, 1, 10000) == 1);
	return p.revents;
}

static int option(int s, int level, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	want_eq(getsockopt(s, level, name, &v, &len), 0);
	want_eq(len, 4);
	return v;
}

static int set(int s, int level, int name, int v)
{
	return setsockopt(s, level, name, &v, sizeof(v));
}

static int state_of(int s)
{
	struct tcp_info i;
	socklen_t len = sizeof(i);

	want_eq(getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &len), 0);
	return i.tcpi_state;
}

CASE(calling)
{
	struct sockaddr_in a = at("127.0.0.1", 0), got;
	socklen_t len = sizeof(got);
	int l = listener(5), c, s, port = port_of(l);

	want(port > 1023);
	c = call(port);
	s = accept4(l, (void *)&got, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	want(s >= 0);
	want_eq(fcntl(s, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
	want_eq(fcntl(s, F_GETFD), FD_CLOEXEC);
	want_eq(len, sizeof(got));
	want_eq(ntohs(got.sin_port), port_of(c));
	want_eq(got.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	want_eq(port_of(s), port);
	len = sizeof(got);
	want_eq(getpeername(c, (void *)&got, &len), 0);
	want_eq(ntohs(got.sin_port), port);
	a.sin_port = htons(port);
	want_errno(connect(c, (void *)&a, sizeof(a)), EISCONN);
	want_errno(listen(c, 1), EINVAL);
	want_errno(accept(c, NULL, NULL), EINVAL);
	want_errno(bind(c, (void *)&a, sizeof(a)), EINVAL);
	want_errno(connect(l, (void *)&a, sizeof(a)), EISCONN);
	want_eq(state_of(c), 1);
	want_eq(state_of(l), 10);
	want_eq(option(l, SOL_SOCKET, SO_ACCEPTCONN), 1);
	want_eq(option(c, SOL_SOCKET, SO_ACCEPTCONN), 0);
	want_eq(option(c, SOL_SOCKET, SO_TYPE), SOCK_STREAM);
	want_eq(option(c, SOL_SOCKET, SO_PROTOCOL), IPPROTO_TCP);
	want_eq(option(c, SOL_SOCKET, SO_DOMAIN), AF_INET);
	close(l);
	close(c);
	close(s);
}

CASE(refusals)
{
	int l = listener(1), port = port_of(l), s = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = at("127.0.0.1", port), six = at("127.0.0.1", port);
	char b;

	close(l);
	want_errno(connect(s, (void *)&a, sizeof(a)), ECONNREFUSED);
	want_errno(connect(s, (void *)&a, sizeof(a)), ECONNREFUSED); /* may be tried again */
	want_errno(connect(s, (void *)&a, 8), EINVAL);
	six.sin_family = AF_INET6;
	want_errno(connect(s, (void *)&six, sizeof(six)), EAFNOSUPPORT);
	want_errno(accept(s, NULL, NULL), EINVAL);
	want_errno(recv(s, &b, 1, 0), ENOTCONN);
	want_errno(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
	want_errno(shutdown(s, SHUT_WR), ENOTCONN);
	want_errno(getpeername(s, (void *)&a, &(socklen_t){ sizeof(a) }), ENOTCONN);
	want_eq(polled(s, POLLIN | POLLOUT), POLLOUT | POLLHUP);
	a = at("8.8.8.8", 80);
	want_errno(bind(s, (void *)&a, sizeof(a)), EADDRNOTAVAIL);
	want_errno(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	want_errno(recv(s, &b, 1, MSG_OOB), EINVAL);
	close(s);
}

CASE(bytes)
{
	struct iovec v[2];
	char buf[64];
	int s[2], n;

	pair(s);
	want_eq(write(s[0], "hello", 5), 5);
	want_eq(write(s[0], "world", 5), 5);
	want_eq(waited(s[1], POLLIN), POLLIN);
	want_eq(recv(s[1], buf, 64, MSG_PEEK) >= 5, 1);
	want_eq(recv(s[1], buf, 10, MSG_WAITALL), 10); /* no borders */
	want(!memcmp(buf, "helloworld", 10));
	want_errno(recv(s[1], buf, 1, MSG_DONTWAIT), EAGAIN);
	v[0] = (struct iovec){ "ab", 2 };
	v[1] = (struct iovec){ "cde", 3 };
	want_eq(writev(s[1], v, 2), 5);
	want_eq(recv(s[0], buf, 5, MSG_WAITALL), 5);
	want(!memcmp(buf, "abcde", 5));
	want_eq(send(s[0], "12345678", 8, 0), 8);
	want_eq(waited(s[1], POLLIN), POLLIN);
	want_eq(ioctl(s[1], FIONREAD, &n), 0);
	want_eq(n, 8);
	want_eq(recv(s[1], NULL, 4, MSG_TRUNC), 4); /* thrown away */
	want_eq(recv(s[1], buf, 64, 0), 4);
	want(!memcmp(buf, "5678", 4));
	want_eq(send(s[0], "", 0, 0), 0);
	want_errno(write(s[0], (void *)8, 10), EFAULT);
	want_eq(send(s[0], "A", 1, MSG_MORE), 1);
	want_eq(send(s[0], "B", 1, 0), 1);
	want_eq(recv(s[1], buf, 2, MSG_WAITALL), 2);
	close(s[0]);
	close(s[1]);
}

static void *writer(void *arg)
{
	static unsigned char block[70000];
	int s = *(int *)arg;

	for (unsigned i = 0; i < 60; i++) {
		for (unsigned k = 0; k < sizeof(block); k++)
			block[k] = (unsigned char)((i * sizeof(block) + k) * 13 >> 3);
		for (size_t done = 0; done < sizeof(block);) {
			ssize_t n = write(s, block + done, sizeof(block) - done);

			if (n <= 0)
				return (void *)1;
			done += n;
		}
	}
	shutdown(s, SHUT_WR);
	return NULL;
}

CASE(much)
{
	static unsigned char block[50001];
	unsigned long at_byte = 0;
	pthread_t t;
	void *status;
	ssize_t n;
	int s[2];

	pair(s);
	want_eq(pthread_create(&t, NULL, writer, &s[0]), 0);
	while ((n = read(s[1], block, sizeof(block))) > 0)
		for (ssize_t i = 0; i < n; i++, at_byte++)
			if (block[i] != (unsigned char)(at_byte * 13 >> 3))
				abi_fail("byte %lu is wrong", at_byte);
	want_eq(n, 0);
	want_eq(at_byte, 60 * 70000UL);
	want_eq(pthread_join(t, &status), 0);
	want(!status);
	close(s[0]);
	close(s[1]);
}

CASE(full)
{
	static char block[65536];
	size_t total = 0, got = 0;
	ssize_t n;
	int s[2];

	pair(s);
	fcntl(s[0], F_SETFL, O_NONBLOCK);
	while ((n = write(s[0], block, sizeof(block))) > 0)
		total += n;
	n = n < 0 ? errno : 0;
	want_eq(n, EAGAIN);
	want(total > 65536);
	want_eq(polled(s[0], POLLOUT), 0);
	while (got < total) {
		n = read(s[1], block, sizeof(block));
		want(n > 0);
		got += n;
	}
	want_eq(waited(s[0], POLLOUT), POLLOUT);
	close(s[0]);
	close(s[1]);
}

CASE(half_close)
{
	char buf[8];
	int s[2];

	pair(s);
	want_eq(send(s[0], "last", 4, 0), 4);
	want_eq(shutdown(s[0], SHUT_WR), 0);
	want_errno(send(s[0], "x", 1, MSG_NOSIGNAL), EPIPE);
	want_eq(recv(s[1], buf, 8, MSG_WAITALL), 4);
	want_eq(recv(s[1], buf, 8, 0), 0);
	want_eq(recv(s[1], buf, 8, 0), 0);
	want_eq(waited(s[1], POLLIN | POLLOUT | POLLRDHUP), POLLIN | POLLOUT | POLLRDHUP);
	want_eq(state_of(s[1]), 8); /* CLOSE_WAIT */
	while (state_of(s[0]) == 4) /* FIN_WAIT1, until the acknowledgement comes */
		usleep(1000);
	want_eq(state_of(s[0]), 5); /* FIN_WAIT2 */
	want_eq(send(s[1], "back", 4, 0), 4);
	want_eq(recv(s[0], buf, 8, 0), 4);
	close(s[1]);
	want_eq(recv(s[0], buf, 8, 0), 0);
	want_eq(polled(s[0], POLLIN | POLLOUT | POLLRDHUP) & POLLHUP, POLLHUP);
	close(s[0]);
	pair(s);
	want_eq(shutdown(s[0], SHUT_RD), 0);
	want_eq(recv(s[0], buf, 8, 0), 0);
	want_eq(send(s[0], "still", 5, 0), 5);
	want_eq(recv(s[1], buf, 8, 0), 5);
	close(s[0]);
	close(s[1]);
}

CASE(resets)
{
	struct linger hard = { 1, 0 };
	char buf[8];
	int s[2];

	signal(SIGPIPE, SIG_IGN);
	pair(s);
	want_eq(setsockopt(s[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
	close(s[0]);
	want_eq(waited(s[1], POLLIN) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
	want_errno(recv(s[1], buf, 8, 0), ECONNRESET);
	want_eq(recv(s[1], buf, 8, 0), 0);
	want_errno(write(s[1], "x", 1), EPIPE);
	close(s[1]);
	pair(s);
	want_eq(send(s[1], "unread", 6, 0), 6);
	want_eq(waited(s[0], POLLIN), POLLIN);
	close(s[0]); /* with data unread */
	waited(s[1], POLLHUP);
	want_eq(option(s[1], SOL_SOCKET, SO_ERROR), ECONNRESET);
	want_eq(option(s[1], SOL_SOCKET, SO_ERROR), 0);
	close(s[1]);
	pair(s);
	close(s[1]);
	want_eq(waited(s[0], POLLIN), POLLIN);
	want_eq(send(s[0], "x", 1, 0), 1); /* the peer answers with a reset */
	waited(s[0], POLLHUP);
	want_errno(send(s[0], "x", 1, 0), EPIPE);
	close(s[0]);
}

CASE(readiness)
{
	int l = listener(1), s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), e = epoll_create1(0), c, err;
	struct sockaddr_in a = at("127.0.0.1", port_of(l));
	struct epoll_event ev = { .events = EPOLLOUT | EPOLLIN | EPOLLRDHUP | EPOLLET, .data.fd = s }, out;
	char buf[8];

	fcntl(l, F_SETFL, O_NONBLOCK);
	want_errno(accept(l, NULL, NULL), EAGAIN);
	want_eq(polled(l, POLLIN), 0);
	want_eq(epoll_ctl(e, EPOLL_CTL_ADD, s, &ev), 0);
	err = connect(s, (void *)&a, sizeof(a)) ? errno : 0;
	want(err == EINPROGRESS || !err);
	want_eq(waited(l, POLLIN), POLLIN);
	want_eq(waited(s, POLLOUT), POLLOUT);
	want_eq(option(s, SOL_SOCKET, SO_ERROR), 0);
	c = accept(l, NULL, NULL);
	want(c >= 0);
	want_eq(fcntl(c, F_GETFL) & O_NONBLOCK, 0); /* not inherited */
	want_eq(epoll_wait(e, &out, 1, 1000), 1);
	want(out.events & EPOLLOUT);
	want_eq(epoll_wait(e, &out, 1, 0), 0);
	want_eq(send(c, "hi", 2, 0), 2);
	want_eq(epoll_wait(e, &out, 1, 10000), 1);
	want(out.events & EPOLLIN);
	want_eq(recv(s, buf, 8, 0), 2);
	close(c);
	want_eq(epoll_wait(e, &out, 1, 10000), 1);
	want(out.events & EPOLLRDHUP);
	close(s);
	close(l);
	s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	err = connect(s, (void *)&a, sizeof(a)) ? errno : 0; /* nobody listens any more */
	if (err == EINPROGRESS) {
		want_eq(waited(s, POLLOUT) & (POLLERR | POLLHUP), POLLERR | POLLHUP);
		err = option(s, SOL_SOCKET, SO_ERROR);
	}
	want_eq(err, ECONNREFUSED);
	close(s);
	close(e);
}

CASE(timeouts)
{
	struct timeval t = { 0, 50000 };
	char b;
	int s[2], l = listener(1);

	pair(s);
	want_eq(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0);
	want_errno(recv(s[0], &b, 1, 0), EAGAIN);
	want_eq(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)), 0);
	want_errno(accept(l, NULL, NULL), EAGAIN);
	close(s[0]);
	close(s[1]);
	close(l);
}

CASE(ports)
{
	struct sockaddr_in a = at("127.0.0.1", 0), any = at("0.0.0.0", 0);
	int l = listener(5), x = socket(AF_INET, SOCK_STREAM, 0), y, c, port = port_of(l);

	a.sin_port = any.sin_port = htons(port);
	want_errno(bind(x, (void *)&a, sizeof(a)), EADDRINUSE);
	want_errno(bind(x, (void *)&any, sizeof(any)), EADDRINUSE);
	a = at("127.0.0.2", port);
	want_eq(bind(x, (void *)&a, sizeof(a)), 0); /* another address */
	want_eq(port_of(x), port);
	close(x);
	a = at("127.0.0.1", port);
	c = call(port);
	y = accept(l, NULL, NULL);
	close(l);
	x = socket(AF_INET, SOCK_STREAM, 0);
	want_errno(bind(x, (void *)&a, sizeof(a)), EADDRINUSE); /* a connection still has it */
	want_eq(set(y, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	close(y);
	close(c);
	close(x);
	x = socket(AF_INET, SOCK_STREAM, 0);
	want_eq(set(x, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	a.sin_port = htons(port + 1 > 65000 ? 4000 : port + 1);
	want_eq(bind(x, (void *)&a, sizeof(a)), 0);
	y = socket(AF_INET, SOCK_STREAM, 0);
	want_eq(set(y, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	want_eq(bind(y, (void *)&a, sizeof(a)), 0); /* neither listens */
	want_eq(listen(x, 1), 0);
	want_errno(listen(y, 1), EADDRINUSE);
	close(x);
	close(y);
	x = socket(AF_INET, SOCK_STREAM, 0);
	y = socket(AF_INET, SOCK_STREAM, 0);
	want_eq(set(x, SOL_SOCKET, SO_REUSEPORT, 1), 0);
	want_eq(set(y, SOL_SOCKET, SO_REUSEPORT, 1), 0);
	a.sin_port = 0;
	want_eq(bind(x, (void *)&a, sizeof(a)), 0);
	a.sin_port = htons(port_of(x));
	want_eq(bind(y, (void *)&a, sizeof(a)), 0);
	want_eq(listen(x, 1), 0);
	want_eq(listen(y, 1), 0);
	close(x);
	close(y);
	if (!getuid()) {
		x = socket(AF_INET, SOCK_STREAM, 0);
		want_eq(seteuid(1000), 0);
		a.sin_port = htons(81);
		want_errno(bind(x, (void *)&a, sizeof(a)), EACCES);
		want_eq(seteuid(0), 0);
		close(x);
	}
}

/* A server that restarts at once: old connections wait, SO_REUSEADDR gets by. */
CASE(restart)
{
	int l = listener(1), port = port_of(l), c, s;
	struct sockaddr_in a = at("127.0.0.1", port);
	char b;

	want_eq(set(l, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	c = call(port);
	s = accept(l, NULL, NULL);
	close(s); /* the server closes first: its side waits */
	want_eq(recv(c, &b, 1, 0), 0);
	close(c);
	close(l);
	l = socket(AF_INET, SOCK_STREAM, 0);
	want_errno(bind(l, (void *)&a, sizeof(a)), EADDRINUSE);
	want_eq(set(l, SOL_SOCKET, SO_REUSEADDR, 1), 0);
	want_eq(bind(l, (void *)&a, sizeof(a)), 0);
	want_eq(listen(l, 1), 0);
	c = call(port);
	close(c);
	close(l);
}

CASE(options)
{
	int s = socket(AF_INET, SOCK_STREAM, 0);
	struct linger l = { 1, 5 };
	socklen_t len = sizeof(l);
	struct tcp_info i;
	char name[16];

	want_eq(option(s, IPPROTO_TCP, TCP_NODELAY), 0);
	want_eq(set(s, IPPROTO_TCP, TCP_NODELAY, 5), 0);
	want_eq(option(s, IPPROTO_TCP, TCP_NODELAY), 1);
	want_eq(option(s, IPPROTO_TCP, TCP_KEEPIDLE), 7200);
	want_eq(option(s, IPPROTO_TCP, TCP_KEEPINTVL), 75);
	want_eq(option(s, IPPROTO_TCP, TCP_KEEPCNT), 9);
	want_eq(option(s, IPPROTO_TCP, TCP_SYNCNT), 6);
	want_eq(option(s, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	want_eq(set(s, IPPROTO_TCP, TCP_KEEPIDLE, 60), 0);
	want_eq(option(s, IPPROTO_TCP, TCP_KEEPIDLE), 60);
	want_errno(set(s, IPPROTO_TCP, TCP_KEEPIDLE, 0), EINVAL);
	want_errno(set(s, IPPROTO_TCP, TCP_KEEPCNT, 128), EINVAL);
	want_errno(set(s, IPPROTO_TCP, TCP_MAXSEG, 20), EINVAL);
	want_errno(set(s, IPPROTO_TCP, 9999, 1), ENOPROTOOPT);
	want_errno(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &l, 2), EINVAL);
	want_eq(set(s, IPPROTO_TCP, TCP_CORK, 1), 0);
	want_eq(option(s, IPPROTO_TCP, TCP_CORK), 1);
	want_eq(setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof(l)), 0);
	l.l_linger = 0;
	want_eq(getsockopt(s, SOL_SOCKET, SO_LINGER, &l, &len), 0);
	want_eq(l.l_linger, 5);
	want_eq(set(s, SOL_SOCKET, SO_RCVBUF, 30000), 0);
	want_eq(option(s, SOL_SOCKET, SO_RCVBUF), 60000);
	want_eq(set(s, SOL_SOCKET, SO_KEEPALIVE, 1), 0);
	want_eq(option(s, SOL_SOCKET, SO_KEEPALIVE), 1);
	want_eq(option(s, SOL_SOCKET, SO_REUSEADDR), 0);
	want_eq(option(s, IPPROTO_IP, IP_TTL), 64);
	want_eq(set(s, IPPROTO_IP, IP_TOS, 16), 0);
	want_eq(option(s, IPPROTO_IP, IP_TOS), 16);
	want_errno(set(s, IPPROTO_IP, IP_TTL, 256), EINVAL);
	len = sizeof(i);
	want_eq(getsockopt(s, IPPROTO_TCP, TCP_INFO, &i, &len), 0);
	want_eq(i.tcpi_state, 7);
	len = sizeof(name);
	want_eq(getsockopt(s, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
	want_eq(len, 16);
	want_eq(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
	want_errno(setsockopt(s, IPPROTO_TCP, TCP_CONGESTION, "none such", 9), ENOENT);
	close(s);
}

static struct sockaddr_in6 six(const char *addr, int port)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	inet_pton(AF_INET6, addr, &a.sin6_addr);
	return a;
}

CASE(version_six)
{
	int l = socket(AF_INET6, SOCK_STREAM, 0), c = socket(AF_INET6, SOCK_STREAM, 0), s;
	struct sockaddr_in6 a = six("::1", 0), got;
	socklen_t len = sizeof(got);
	char buf[8];

	want(l >= 0 && c >= 0);
	want_eq(option(l, SOL_SOCKET, SO_DOMAIN), AF_INET6);
	want_eq(bind(l, (void *)&a, sizeof(a)), 0);
	want_eq(listen(l, 1), 0);
	want_eq(getsockname(l, (void *)&a, &len), 0);
	want_eq(len, sizeof(a));
	want_eq(connect(c, (void *)&a, sizeof(a)), 0);
	s = accept(l, (void *)&got, &len);
	want(s >= 0);
	want(IN6_IS_ADDR_LOOPBACK(&got.sin6_addr));
	want_eq(send(s, "six", 3, 0), 3);
	want_eq(recv(c, buf, 8, 0), 3);
	want_errno(connect(socket(AF_INET6, SOCK_STREAM, 0), (void *)&a, 20), EINVAL);
	a = six("2001:db8::1", 80);
	want_errno(bind(socket(AF_INET6, SOCK_STREAM, 0), (void *)&a, sizeof(a)), EADDRNOTAVAIL);
	close(s);
	close(c);
	close(l);
}

/* A listener at :: takes both families, unless it says otherwise. */
CASE(dual_stack)
{
	int l = socket(AF_INET6, SOCK_STREAM, 0), x = socket(AF_INET, SOCK_STREAM, 0), c, s, port;
	struct sockaddr_in6 a = six("::", 0), got;
	struct sockaddr_in four;
	socklen_t len = sizeof(got);

	want_eq(option(l, IPPROTO_IPV6, IPV6_V6ONLY), 0);
	want_eq(bind(l, (void *)&a, sizeof(a)), 0);
	want_errno(set(l, IPPROTO_IPV6, IPV6_V6ONLY, 1), EINVAL);
	want_eq(listen(l, 5), 0);
	port = port_of(l);
	four = at("0.0.0.0", port);
	want_errno(bind(x, (void *)&four, sizeof(four)), EADDRINUSE);
	c = call(port); /* by IPv4 */
	s = accept(l, (void *)&got, &len);
	want(s >= 0);
	want_eq(got.sin6_family, AF_INET6);
	want(IN6_IS_ADDR_V4MAPPED(&got.sin6_addr));
	close(s);
	close(c);
	c = socket(AF_INET6, SOCK_STREAM, 0);
	a = six("::ffff:127.0.0.1", port); /* an IPv6 socket calls an IPv4 address */
	want_eq(connect(c, (void *)&a, sizeof(a)), 0);
	s = accept(l, NULL, NULL);
	len = sizeof(got);
	want_eq(getsockname(c, (void *)&got, &len), 0);
	want(IN6_IS_ADDR_V4MAPPED(&got.sin6_addr));
	close(s);
	close(c);
	close(l);
	l = socket(AF_INET6, SOCK_STREAM, 0);
	want_eq(set(l, IPPROTO_IPV6, IPV6_V6ONLY, 1), 0);
	a = six("::", 0);
	want_eq(bind(l, (void *)&a, sizeof(a)), 0);
	four = at("0.0.0.0", port_of(l));
	want_eq(bind(x, (void *)&four, sizeof(four)), 0); /* side by side */
	close(l);
	close(x);
}

CASE(datagrams_six)
{
	int a = socket(AF_INET6, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0),
	    c = socket(AF_INET6, SOCK_DGRAM, 0);
	struct sockaddr_in6 name = six("::", 0), from;
	socklen_t len = sizeof(name);
	struct sockaddr_in four;
	char buf[8];

	want_eq(bind(a, (void *)&name, sizeof(name)), 0);
	want_eq(getsockname(a, (void *)&name, &len), 0);
	four = at("127.0.0.1", ntohs(name.sin6_port));
	want_eq(sendto(b, "four", 4, 0, (void *)&four, sizeof(four)), 4);
	len = sizeof(from);
	want_eq(recvfrom(a, buf, 8, 0, (void *)&from, &len), 4);
	want(IN6_IS_ADDR_V4MAPPED(&from.sin6_addr));
	want_eq(sendto(a, "back", 4, 0, (void *)&from, sizeof(from)), 4);
	want_eq(recv(b, buf, 8, 0), 4);
	name = six("::1", ntohs(name.sin6_port));
	want_eq(connect(c, (void *)&name, sizeof(name)), 0);
	want_eq(send(c, "six", 3, 0), 3);
	want_eq(recvfrom(a, buf, 8, 0, (void *)&from, &len), 3);
	want(IN6_IS_ADDR_LOOPBACK(&from.sin6_addr));
	close(a);
	close(b);
	close(c);
}

CASE(files)
{
	char path[] = "/tmp/tcpXXXXXX", block[8192], got[8192];
	int f = mkstemp(path), s[2], p[2];
	off_t from = 100;

	pair(s);
	want_eq(pipe(p), 0);
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7);
	want_eq(write(f, block, sizeof(block)), sizeof(block));
	want_eq(sendfile(s[0], f, &from, 4000), 4000);
	want_eq(recv(s[1], got, 4000, MSG_WAITALL), 4000);
	want(!memcmp(got, block + 100, 4000));
	want_eq(write(p[1], block, 500), 500);
	want_eq(splice(p[0], NULL, s[0], NULL, 500, 0), 500);
	want_eq(waited(s[1], POLLIN), POLLIN);
	want_eq(splice(s[1], NULL, p[1], NULL, 500, 0), 500);
	want_eq(read(p[0], got, 500), 500);
	want(!memcmp(got, block, 500));
	unlink(path);
	close(f);
	close(p[0]);
	close(p[1]);
	close(s[0]);
	close(s[1]);
}

CASE(disconnect)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int l = listener(5), c = call(port_of(l)), s = accept(l, NULL, NULL);
	struct sockaddr_in a = at("127.0.0.1", port_of(l));
	char b;

	want_eq(connect(c, &none, sizeof(none)), 0);
	want_errno(recv(s, &b, 1, 0), ECONNRESET);
	want_errno(recv(c, &b, 1, 0), ECONNRESET);
	want_errno(recv(c, &b, 1, 0), ENOTCONN);
	want_eq(connect(c, (void *)&a, sizeof(a)), 0); /* and calls anew */
	close(s);
	s = accept(l, NULL, NULL);
	want_eq(send(c, "x", 1, 0), 1);
	want_eq(recv(s, &b, 1, 0), 1);
	close(s);
	close(c);
	close(l);
}

/* A reader that sleeps in one thread is woken by the end of the connection in another process. */
CASE(processes)
{
	int l = listener(3), status, s;
	pid_t pid = fork();
	char b[4];

	if (!pid) {
		int c = call(port_of(l));

		want_eq(write(c, "pid", 3), 3);
		_exit(0); /* closes */
	}
	s = accept(l, NULL, NULL);
	want(s >= 0);
	want_eq(recv(s, b, 3, MSG_WAITALL), 3);
	want_eq(read(s, b, 1), 0);
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
	close(s);
	close(l);
}

static int set_tcp(int s, int name, int v)
{
	return setsockopt(s, IPPROTO_TCP, name, &v, sizeof(v));
}

static int value_of(int s, int name)
{
	int v = -1;
	socklen_t len = sizeof(v);

	return getsockopt(s, IPPROTO_TCP, name, &v, &len) ? -errno : v;
}

CASE(deferred_accept)
{
	int l = listener(4), c = socket(AF_INET, SOCK_STREAM, 0), s;
	struct sockaddr_in a = at("127.0.0.1", port_of(l));
	char b;

	want_eq(value_of(l, TCP_DEFER_ACCEPT), 0);
	want_eq(set_tcp(l, TCP_DEFER_ACCEPT, 5), 0);
	want_eq(value_of(l, TCP_DEFER_ACCEPT), 7); /* of timeouts that double */
	want_eq(connect(c, (void *)&a, sizeof(a)), 0);
	want_eq(poll(&(struct pollfd){ l, POLLIN, 0 }, 1, 100), 0);
	want_eq(write(c, "x", 1), 1);
	want_eq(poll(&(struct pollfd){ l, POLLIN, 0 }, 1, 5000), 1);
	s = accept(l, NULL, NULL);
	want(s >= 0);
	want_eq(read(s, &b, 1), 1);
	want_eq(set_tcp(l, TCP_DEFER_ACCEPT, 0), 0);
	want_eq(value_of(l, TCP_DEFER_ACCEPT), 0);
	close(s);
	close(c);
	close(l);
}

CASE(window_clamp)
{
	int s[2];

	pair(s);
	want_eq(set_tcp(s[0], TCP_WINDOW_CLAMP, 20000), 0);
	want_eq(value_of(s[0], TCP_WINDOW_CLAMP), 20000);
	want_eq(set_tcp(s[0], TCP_WINDOW_CLAMP, 5), 0);
	want_eq(value_of(s[0], TCP_WINDOW_CLAMP), 1152);
	want_errno(set_tcp(s[0], TCP_WINDOW_CLAMP, 0), EINVAL);
	close(s[0]);
	close(s[1]);
}

static volatile sig_atomic_t urgent_signals;

static void on_urgent(int sig)
{
	urgent_signals = urgent_signals + (sig == SIGURG);
}

static int number(int s, unsigned long what)
{
	int n = -1;

	want_eq(ioctl(s, what, &n), 0);
	return n;
}

static void until_readable(int s, int n)
{
	for (int i = 0; i < 1000 && number(s, FIONREAD) != n; i++)
		usleep(5000);
	want_eq(number(s, FIONREAD), n);
}

static void sends(int s, const char *text, int flags)
{
	want_eq(send(s, text, strlen(text), flags), (long)strlen(text));
}

static void gets(int s, const char *text, int flags)
{
	char got[100] = "";

	want_eq(recv(s, got, sizeof(got) - 1, flags), (long)strlen(text));
	want(!strcmp(got, text));
}

CASE(urgent)
{
	struct iovec v = { &(char){ 0 }, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
	int s[2];
	char c;

	pair(s);
	want_errno(recv(s[1], &c, 1, MSG_OOB), EINVAL);
	want_eq(number(s[1], SIOCATMARK), 0);
	signal(SIGURG, on_urgent);
	want_eq(fcntl(s[1], F_SETOWN, getpid()), 0);
	sends(s[0], "abc", 0);
	sends(s[0], "X", MSG_OOB);
	sends(s[0], "def", 0);
	want(waited(s[1], POLLPRI) == POLLPRI);
	for (int i = 0; i < 1000 && !urgent_signals; i++)
		usleep(5000);
	want_eq(urgent_signals, 1);
	until_readable(s[1], 3);
	want_eq(number(s[1], SIOCATMARK), 0);
	gets(s[1], "abc", MSG_PEEK);
	gets(s[1], "abc", 0);
	want_eq(number(s[1], SIOCATMARK), 1);
	gets(s[1], "X", MSG_OOB | MSG_PEEK);
	want_eq(recvmsg(s[1], &m, MSG_OOB), 1);
	want(m.msg_flags & MSG_OOB);
	want_errno(recv(s[1], &c, 1, MSG_OOB), EINVAL);
	want_eq(polled(s[1], POLLPRI | POLLIN), POLLIN);
	gets(s[1], "def", 0);
	want_eq(number(s[1], SIOCATMARK), 0);
	want_errno(recv(s[1], &c, 1, MSG_OOB), EINVAL);

	sends(s[0], "pqr", MSG_OOB); /* the last one alone */
	until_readable(s[1], 2);
	gets(s[1], "pq", 0);
	want_eq(polled(s[1], POLLPRI | POLLIN), POLLPRI);
	want_errno(recv(s[1], &c, 1, MSG_DONTWAIT), EAGAIN); /* goes by it */
	want_errno(recv(s[1], &c, 1, MSG_OOB), EINVAL);

	sends(s[0], "A", MSG_OOB);
	want(waited(s[1], POLLPRI) == POLLPRI);
	sends(s[0], "B", MSG_OOB);
	sends(s[0], "c", 0);
	for (int i = 0; i < 1000 && recv(s[1], &c, 1, MSG_OOB | MSG_PEEK) == 1 && c != 'B'; i++)
		usleep(5000);
	gets(s[1], "B", MSG_OOB);
	want(waited(s[1], POLLIN) == POLLIN);
	gets(s[1], "c", 0);

	want_eq(setsockopt(s[1], SOL_SOCKET, SO_OOBINLINE, &(int){ 1 }, sizeof(int)), 0);
	sends(s[0], "gh", 0);
	sends(s[0], "Y", MSG_OOB);
	sends(s[0], "i", 0);
	until_readable(s[1], 4);
	want_errno(recv(s[1], &c, 1, MSG_OOB), EINVAL);
	gets(s[1], "gh", 0);
	want_eq(number(s[1], SIOCATMARK), 1);
	gets(s[1], "Yi", 0);
	want_eq(number(s[1], SIOCATMARK), 0);
	close(s[0]);
	close(s[1]);
	signal(SIGURG, SIG_DFL);
}

int main(void)
{
	loopback_up();
	RUN(calling);
	RUN(refusals);
	RUN(bytes);
	RUN(much);
	RUN(full);
	RUN(half_close);
	RUN(resets);
	RUN(readiness);
	RUN(timeouts);
	RUN(ports);
	RUN(restart);
	RUN(options);
	RUN(version_six);
	RUN(dual_stack);
	RUN(datagrams_six);
	RUN(files);
	RUN(disconnect);
	RUN(processes);
	RUN(deferred_accept);
	RUN(window_clamp);
	RUN(urgent);
	return abi_status();
}
