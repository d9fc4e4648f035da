/* SPDX-License-Identifier: MIT
 *
 * Problem: local services talk through AF_UNIX and pass descriptors and identities.
 *
 * Idea: pairs, streams by path and by abstract name, datagrams, packets, descriptors and credentials passed.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include "abi.h"

static socklen_t address(struct sockaddr_un *a, const char *name, int abstract)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	strcpy(a->sun_path + abstract, name);
	return offsetof(struct sockaddr_un, sun_path) + strlen(name) + 1;
}

CASE(pairs)
{
	int s[2], type;
	socklen_t len = sizeof(type);
	char buf[64];

	want_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	want_eq(write(s[0], "hello", 5), 5);
	want_eq(write(s[0], "world", 5), 5);
	want_eq(read(s[1], buf, sizeof(buf)), 10); /* a stream has no borders */
	want_eq(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &type, &len), 0);
	want_eq(type, SOCK_STREAM);
	want_errno(recv(s[1], buf, 1, MSG_DONTWAIT), EAGAIN);
	want_eq(shutdown(s[0], SHUT_WR), 0);
	want_eq(read(s[1], buf, 1), 0);
	want_eq(write(s[1], "x", 1), 1);
	want_eq(read(s[0], buf, 1), 1);
	close(s[0]);
	want_errno(send(s[1], "x", 1, MSG_NOSIGNAL), EPIPE);
	close(s[1]);
	want_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	want_eq(fcntl(s[0], F_GETFD), FD_CLOEXEC);
	want_eq(send(s[0], "abc", 3, 0), 3);
	want_eq(send(s[0], "de", 2, 0), 2);
	want_eq(recv(s[1], buf, 1, MSG_PEEK), 1);
	want_eq(recv(s[1], buf, 2, 0), 2); /* the rest of a packet is lost */
	want_eq(recv(s[1], buf, 64, 0), 2);
	want(!memcmp(buf, "de", 2));
	close(s[0]);
	want_eq(recv(s[1], buf, 64, 0), 0);
	close(s[1]);
	want_errno(socket(AF_UNIX, 77, 0), EINVAL);
}

static void streams(const char *name, int abstract)
{
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c, a, status;
	struct sockaddr_un addr, got;
	socklen_t len = address(&addr, name, abstract), got_len = sizeof(got);
	struct pollfd p = { l, POLLIN, 0 };
	struct ucred cred;
	char buf[16];

	want(l >= 0);
	want_errno(connect(l, (void *)&addr, len), abstract ? ECONNREFUSED : ENOENT);
	want_errno(listen(socket(AF_UNIX, SOCK_STREAM, 0), 5), EINVAL);
	want_eq(bind(l, (void *)&addr, len), 0);
	want_errno(bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&addr, len), EADDRINUSE);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	want_errno(connect(c, (void *)&addr, len), ECONNREFUSED);
	want_errno(accept(l, NULL, NULL), EINVAL);
	want_eq(listen(l, 5), 0);
	want_eq(poll(&p, 1, 0), 0);
	if (!fork()) {
		if (connect(c, (void *)&addr, len) || write(c, "from", 4) != 4 || read(c, buf, 4) != 4)
			_exit(1);
		_exit(0);
	}
	close(c);
	want_eq(poll(&p, 1, -1), 1);
	a = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	want(a >= 0);
	want_eq(read(a, buf, 16), 4);
	want_eq(getsockname(a, (void *)&got, &got_len), 0);
	want(got_len >= len - 1 && !memcmp(&got, &addr, len - 1));
	got_len = sizeof(cred);
	want_eq(getsockopt(a, SOL_SOCKET, SO_PEERCRED, &cred, &got_len), 0);
	want(cred.pid > 0 && cred.uid == getuid());
	want_eq(write(a, "back", 4), 4);
	want(wait(&status) > 0 && status == 0);
	want_eq(read(a, buf, 1), 0);
	close(a);
	close(l);
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	want_errno(connect(c, (void *)&addr, len), ECONNREFUSED);
	want_errno(write(c, "x", 1), ENOTCONN);
	want_errno(read(c, buf, 1), EINVAL);
	close(c);
	c = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	want_errno(read(c, buf, 1), ENOTCONN);
	close(c);
}

CASE(named_streams)
{
	char dir[] = "/tmp/abi-unix-XXXXXX", name[64];
	struct stat st;

	want(mkdtemp(dir));
	snprintf(name, sizeof(name), "%s/sock", dir);
	streams(name, 0);
	want_eq(stat(name, &st), 0);
	want(S_ISSOCK(st.st_mode));
	want_errno(open(name, O_RDWR), ENXIO);
	want_eq(unlink(name), 0);
	rmdir(dir);
}

CASE(abstract_streams)
{
	char name[32];

	snprintf(name, sizeof(name), "ostrom-abi-%d", getpid());
	streams(name, 1);
}

struct binding {
	struct sockaddr_un a;
	socklen_t len;
	int fd, err;
};

static void *bind_it(void *arg)
{
	struct binding *b = arg;

	b->err = bind(b->fd, (void *)&b->a, b->len) ? errno : 0;
	return NULL;
}

/* Threads that give one socket two names at once: one of them is too late, and whoever asks for its name finds nobody.
 */
CASE(one_name_of_two)
{
	char dir[] = "/tmp/abi-unix-XXXXXX", name[64];
	struct binding b[2];
	pthread_t t[2];

	want(mkdtemp(dir));
	for (int round = 0; round < 200; round++) {
		int fd = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0);

		for (int i = 0; i < 2; i++) {
			snprintf(name, sizeof(name), "%s/%d", dir, i);
			b[i].len = address(&b[i].a, name, i && round % 2);
			b[i].fd = fd;
			want_eq(pthread_create(&t[i], NULL, bind_it, &b[i]), 0);
		}
		for (int i = 0; i < 2; i++)
			want_eq(pthread_join(t[i], NULL), 0);
		want_eq(!b[0].err + !b[1].err, 1);
		want_eq(b[0].err + b[1].err, EINVAL);
		want_eq(connect(c, (void *)&b[!!b[0].err].a, b[!!b[0].err].len), 0);
		close(fd);
		for (int i = 0; i < 2; i++) {
			want(connect(c, (void *)&b[i].a, b[i].len) == -1 && (errno == ECONNREFUSED || errno == ENOENT));
			unlink(b[i].a.sun_path);
		}
		close(c);
	}
	rmdir(dir);
}

CASE(datagrams)
{
	int a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct sockaddr_un an, bn, from;
	char name[32], buf[32];
	socklen_t al, bl, fl = sizeof(from);

	snprintf(name, sizeof(name), "ostrom-a-%d", getpid());
	al = address(&an, name, 1);
	snprintf(name, sizeof(name), "ostrom-b-%d", getpid());
	bl = address(&bn, name, 1);
	want_eq(bind(a, (void *)&an, al), 0);
	want_eq(bind(b, (void *)&bn, bl), 0);
	want_eq(sendto(a, "one", 3, 0, (void *)&bn, bl), 3);
	want_eq(sendto(a, "three", 5, 0, (void *)&bn, bl), 5);
	want_eq(recvfrom(b, buf, 32, 0, (void *)&from, &fl), 3);
	want(fl == al && !memcmp(&from, &an, al));
	want_eq(recv(b, buf, 2, MSG_TRUNC), 5);
	want_errno(send(a, "x", 1, 0), ENOTCONN);
	want_eq(connect(a, (void *)&bn, bl), 0);
	want_eq(send(a, "", 0, 0), 0);
	want_eq(recv(b, buf, 32, 0), 0);
	close(b);
	want_errno(send(a, "x", 1, 0), ECONNREFUSED);
	close(a);
}

static int send_with(int s, int type, const void *data, size_t len)
{
	char control[256] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { "m", 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(len)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	return sendmsg(s, &m, 0);
}

CASE(passing)
{
	char control[256] __attribute__((aligned(8))), buf[8];
	struct iovec iov = { buf, 8 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	int s[2], p[2], fds[2], bad = 999, on = 1;
	struct cmsghdr *c;
	struct ucred cred;

	want_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	want_eq(pipe(p), 0);
	want_eq(send_with(s[0], SCM_RIGHTS, p, sizeof(p)), 1);
	close(p[0]);
	close(p[1]);
	want_eq(recvmsg(s[1], &m, MSG_CMSG_CLOEXEC), 1);
	c = CMSG_FIRSTHDR(&m);
	want(c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(fds)));
	memcpy(fds, CMSG_DATA(c), sizeof(fds));
	want_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
	want_eq(write(fds[1], "through", 7), 7);
	want_eq(read(fds[0], buf, 8), 7);
	close(fds[0]);
	close(fds[1]);
	want_errno(send_with(s[0], SCM_RIGHTS, &bad, sizeof(bad)), EBADF);
	want_eq(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)), 0);
	want_eq(write(s[0], "c", 1), 1);
	m.msg_controllen = sizeof(control);
	want_eq(recvmsg(s[1], &m, 0), 1);
	c = CMSG_FIRSTHDR(&m);
	want(c && c->cmsg_type == SCM_CREDENTIALS);
	memcpy(&cred, CMSG_DATA(c), sizeof(cred));
	want_eq(cred.pid, getpid());
	want_eq(write(s[0], "d", 1), 1);
	m.msg_controllen = CMSG_LEN(0); /* the header alone */
	want_eq(recvmsg(s[1], &m, 0), 1);
	want(m.msg_flags & MSG_CTRUNC);
	want_eq(write(s[0], "e", 1), 1);
	m.msg_control = NULL;
	m.msg_controllen = 0;
	want_eq(recvmsg(s[1], &m, 0), 1);
	want(m.msg_flags & MSG_CTRUNC);
	close(s[0]);
	close(s[1]);
}

int main(void)
{
	RUN(pairs);
	RUN(named_streams);
	RUN(abstract_streams);
	RUN(one_name_of_two);
	RUN(datagrams);
	RUN(passing);
	return abi_status();
}
