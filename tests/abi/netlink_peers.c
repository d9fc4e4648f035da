/* SPDX-License-Identifier: MIT
 *
 * Problem: programs speak to each other by netlink, too: a device manager tells its listeners what it has made of the
 * kernel's events.
 *
 * Idea: two sockets of one program: names, groups, credentials, full queues, rights.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include "abi.h"

struct credentials {
	int pid;
	unsigned uid, gid;
};

static struct sockaddr_nl at(unsigned port, unsigned groups)
{
	return (struct sockaddr_nl){ .nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = groups };
}

static int made(int protocol, unsigned port, unsigned groups)
{
	struct sockaddr_nl a = at(port, groups);
	int s = socket(AF_NETLINK, SOCK_DGRAM, protocol);

	want(s >= 0);
	want_eq(bind(s, (void *)&a, sizeof(a)), 0);
	return s;
}

static long say(int s, const char *text, unsigned port, unsigned groups)
{
	struct sockaddr_nl a = at(port, groups);

	return sendto(s, text, strlen(text), MSG_DONTWAIT, (void *)&a, sizeof(a));
}

/* What came: from whom, with whose credentials (pid -1: none told). */
static long hear(int s, char *text, struct sockaddr_nl *from, struct credentials *c)
{
	char control[64];
	struct iovec v = { text, 63 };
	struct msghdr m = { .msg_name = from,
			    .msg_namelen = sizeof(*from),
			    .msg_iov = &v,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *h;
	long n = recvmsg(s, &m, MSG_DONTWAIT);

	c->pid = -1;
	text[n > 0 ? n : 0] = 0;
	h = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
	if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == 2)
		memcpy(c, CMSG_DATA(h), sizeof(*c));
	return n;
}

CASE(one_to_one)
{
	int a = made(NETLINK_USERSOCK, 5001, 0), b = made(NETLINK_USERSOCK, 5002, 0), one = 1;
	struct sockaddr_nl from;
	struct credentials c;
	char text[64];

	want_eq(say(a, "hello", 5002, 0), 5);
	want_eq(hear(b, text, &from, &c), 5);
	want(!strcmp(text, "hello"));
	want_eq(from.nl_pid, 5001);
	want_eq(from.nl_groups, 0);
	want_eq(c.pid, -1);
	want_eq(setsockopt(b, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	want_eq(say(a, "again", 5002, 0), 5);
	want_eq(hear(b, text, &from, &c), 5);
	want_eq(c.pid, getpid());
	want_eq(c.uid, 0);
	want_errno(hear(b, text, &from, &c), EAGAIN);
	want_errno(say(a, "nobody", 5003, 0), ECONNREFUSED);
	want_errno(say(a, "kernel", 0, 0), ECONNREFUSED);
	want_eq(say(a, "self", 5001, 0), 4);
	want_eq(hear(a, text, &from, &c), 4);
	close(b);
	want_errno(say(a, "gone", 5002, 0), ECONNREFUSED);
	close(a);
}

CASE(connected)
{
	int a = made(NETLINK_USERSOCK, 5001, 0), b = made(NETLINK_USERSOCK, 5002, 0);
	struct sockaddr_nl to = at(5002, 0), from;
	socklen_t len = sizeof(from);
	struct credentials c;
	char text[64];

	want_eq(connect(a, (void *)&to, sizeof(to)), 0);
	want_eq(getpeername(a, (void *)&from, &len), 0);
	want_eq(from.nl_pid, 5002);
	want_eq(send(a, "hi", 2, 0), 2);
	want_eq(hear(b, text, &from, &c), 2);
	want_eq(from.nl_pid, 5001);
	close(a);
	close(b);
}

CASE(groups)
{
	int teller = made(NETLINK_KOBJECT_UEVENT, 0, 0), one = made(NETLINK_KOBJECT_UEVENT, 0, 2),
	    two = made(NETLINK_KOBJECT_UEVENT, 0, 6), other = made(NETLINK_KOBJECT_UEVENT, 0, 1);
	struct sockaddr_nl from, me;
	socklen_t len = sizeof(me);
	struct credentials c;
	char text[64];

	want_eq(getsockname(teller, (void *)&me, &len), 0);
	want_eq(say(teller, "libudev", 0, 2), 7);
	want_eq(hear(one, text, &from, &c), 7);
	want(!strcmp(text, "libudev"));
	want_eq(from.nl_pid, me.nl_pid);
	want_eq(from.nl_groups, 2);
	want_eq(hear(two, text, &from, &c), 7);
	want_errno(hear(other, text, &from, &c), EAGAIN);
	want_errno(hear(teller, text, &from, &c), EAGAIN);
	close(teller);
	close(one);
	close(two);
	close(other);
}

CASE(full_queues)
{
	int a = made(NETLINK_USERSOCK, 5001, 0), b = made(NETLINK_USERSOCK, 5002, 0), small = 4096, n = 0;
	struct sockaddr_nl from;
	struct credentials c;
	char text[64];

	want_eq(setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	while (n < 100000 && say(a, "one more message for the queue", 5002, 0) > 0)
		n++;
	want_eq(errno, EAGAIN);
	want(n > 2 && n < 100000);
	for (int i = 0; i < n; i++)
		want(hear(b, text, &from, &c) > 0);
	want_errno(hear(b, text, &from, &c), EAGAIN); /* nothing was lost, and nobody was told so */
	close(a);
	close(b);
}

static void *read_all(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };
	struct sockaddr_nl from;
	struct credentials c;
	char text[64];
	long n = 0;

	usleep(100000);
	while (poll(&p, 1, 1000) > 0 && hear(p.fd, text, &from, &c) > 0)
		n += !strcmp(text, "x");
	return (void *)n;
}

CASE(waiting_writers)
{
	int a = made(NETLINK_USERSOCK, 5001, 0), b = made(NETLINK_USERSOCK, 5002, 0), small = 4096;
	struct sockaddr_nl to = at(5002, 0);
	pthread_t reader;
	void *count;

	want_eq(setsockopt(b, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	want_eq(pthread_create(&reader, NULL, read_all, &b), 0);
	for (int i = 0; i < 20000; i++)
		want_eq(sendto(a, "x", 1, 0, (void *)&to, sizeof(to)), 1);
	pthread_join(reader, &count);
	want_eq((long)count, 20000);
	close(a);
	close(b);
}

static int unprivileged(void)
{
	struct sockaddr_nl group = at(0, 1);
	int user = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_USERSOCK),
	    event = socket(AF_NETLINK, SOCK_DGRAM, NETLINK_KOBJECT_UEVENT);

	if (setuid(65534))
		return 1;
	if (bind(event, (void *)&group, sizeof(group)))
		return 2;
	if (say(event, "forged", 0, 2) >= 0 || errno != EPERM)
		return 3;
	if (!bind(user, (void *)&group, sizeof(group)) || errno != EPERM)
		return 4;
	return say(user, "hello", 5002, 0) == 5 ? 0 : 5;
}

CASE(rights)
{
	int b = made(NETLINK_USERSOCK, 5002, 0), one = 1, status, pid = fork();
	struct sockaddr_nl from;
	struct credentials c;
	char text[64];

	if (!pid)
		_exit(unprivileged());
	want_eq(setsockopt(b, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)), 0);
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
	want_eq(hear(b, text, &from, &c), 5);
	want_eq(c.uid, 65534);
	close(b);
}

int main(void)
{
	RUN(one_to_one);
	RUN(connected);
	RUN(groups);
	RUN(full_queues);
	RUN(waiting_writers);
	RUN(rights);
	return abi_status();
}
