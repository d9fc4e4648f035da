/* SPDX-License-Identifier: MIT
 *
 * Problem: event loops stand on readiness, edges, counters and watches behaving exactly.
 *
 * Idea: pipes, FIFOs, splice, poll, select, epoll, eventfd, timerfd, signalfd and inotify, each driven by one process
 * or a child; nothing is timed.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include "abi.h"

CASE(pipes)
{
	static char big[200000];
	int p[2], n, status;
	char buf[16];

	want_eq(pipe2(p, O_CLOEXEC), 0);
	want_errno(pipe2(p, 0x4), EINVAL);
	want_eq(fcntl(p[0], F_GETFD), FD_CLOEXEC);
	want_eq(write(p[1], "abc", 3), 3);
	want_eq(ioctl(p[0], FIONREAD, &n), 0);
	want_eq(n, 3);
	want_eq(read(p[0], buf, 2), 2);
	want_errno(lseek(p[0], 0, SEEK_SET), ESPIPE);
	want_errno(pread(p[0], buf, 1, 0), ESPIPE);
	want_errno(write(p[0], "x", 1), EBADF);
	want_eq(fcntl(p[0], F_GETPIPE_SZ), 65536);
	if (!fork()) {
		close(p[0]);
		for (unsigned i = 0; i < sizeof(big); i++)
			big[i] = i;
		_exit(write(p[1], big, sizeof(big)) != sizeof(big));
	}
	close(p[1]);
	want_eq(read(p[0], buf, 1), 1);
	for (unsigned at = 0; at < sizeof(big);) {
		n = read(p[0], big, sizeof(big));
		want(n > 0);
		for (int i = 0; i < n; i++, at++)
			want_eq(big[i], (char)at);
	}
	want_eq(read(p[0], buf, 1), 0);
	want(wait(&status) > 0 && status == 0);
	close(p[0]);
	want_eq(pipe(p), 0);
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	want_errno(write(p[1], "x", 1), EPIPE);
	signal(SIGPIPE, SIG_DFL);
	close(p[1]);
}

CASE(splicing)
{
	char name[] = "/tmp/abi-splice-XXXXXX", buf[32];
	int f = mkstemp(name), a[2], b[2];
	loff_t pos = 2;

	want(f >= 0 && !unlink(name));
	want_eq(write(f, "0123456789", 10), 10);
	want_eq(pipe(a), 0);
	want_eq(pipe(b), 0);
	want_errno(splice(f, NULL, f, NULL, 1, 0), EINVAL);
	want_errno(splice(a[0], &pos, b[1], NULL, 1, 0), ESPIPE);
	want_errno(splice(a[0], NULL, b[1], NULL, 1, SPLICE_F_NONBLOCK), EAGAIN);
	want_eq(splice(f, &pos, a[1], NULL, 5, 0), 5);
	want_eq(pos, 7);
	want_eq(tee(a[0], b[1], 3, 0), 3);
	want_eq(read(b[0], buf, 32), 3);
	want(!memcmp(buf, "234", 3));
	want_eq(write(a[1], "abc", 3), 3);
	want_eq(splice(a[0], NULL, b[1], NULL, 4, 0), 4);
	want_eq(read(b[0], buf, 32), 4);
	want(!memcmp(buf, "2345", 4));
	pos = 20;
	want_eq(splice(a[0], NULL, f, &pos, 4, 0), 4);
	want_eq(pread(f, buf, 32, 0), 24);
	want(!memcmp(buf + 20, "6abc", 4));
	want_errno(tee(f, a[1], 1, 0), EINVAL);
	close(f);
	close(a[0]);
	close(a[1]);
	want_eq(splice(b[0], NULL, b[1], NULL, 0, 0), 0);
	close(b[0]);
	close(b[1]);
}

CASE(splicing_memory)
{
	static _Alignas(4096) char block[1 << 17];
	static char back[1 << 17];
	struct iovec v = { block, sizeof(block) };
	int p[2], e = eventfd(0, EFD_NONBLOCK);
	long n;

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (char)(i * 7);
	want(!pipe(p) && e >= 0);
	n = vmsplice(p[1], &v, 1, 0); /* what there is room for; it does not wait for more */
	want_eq(n, 65536);
	want_errno(vmsplice(p[1], &v, 1, SPLICE_F_NONBLOCK), EAGAIN);
	want_eq(read(p[0], back, sizeof(back)), n);
	want(!memcmp(block, back, 65536));
	v = (struct iovec){ back, sizeof(back) };
	want_errno(vmsplice(p[0], &v, 1, SPLICE_F_NONBLOCK), EAGAIN);
	want_errno(splice(e, NULL, p[1], NULL, 8, 0), EINVAL);
	want_eq(write(p[1], "12345678", 8), 8);
	want_errno(splice(p[0], NULL, e, NULL, 8, 0), EINVAL);
	close(p[0]);
	signal(SIGPIPE, SIG_IGN);
	want_errno(vmsplice(p[1], &v, 1, 0), EPIPE);
	signal(SIGPIPE, SIG_DFL);
	close(p[1]);
	close(e);
}

CASE(fifos)
{
	char name[] = "/tmp/abi-fifo-XXXXXX", c;
	int fd;

	want(mkdtemp(name));
	want_eq(chdir(name), 0);
	want_eq(mkfifo("f", 0600), 0);
	want_errno(open("f", O_WRONLY | O_NONBLOCK), ENXIO);
	if (!fork()) {
		fd = open("f", O_WRONLY);
		_exit(write(fd, "z", 1) != 1);
	}
	fd = open("f", O_RDONLY); /* waits for the writer, as he does for us */
	want(fd >= 0);
	want_eq(read(fd, &c, 1), 1);
	want_eq(read(fd, &c, 1), 0);
	wait(NULL);
	close(fd);
	unlink("f");
}

CASE(polling)
{
	struct timespec zero = { 0 };
	struct pollfd f[3];
	struct timeval tv = { 0, 0 };
	fd_set in, out;
	int p[2];

	want_eq(pipe(p), 0);
	f[0] = (struct pollfd){ p[0], POLLIN, 0 };
	f[1] = (struct pollfd){ p[1], POLLOUT, 0 };
	f[2] = (struct pollfd){ 999, POLLIN, 0 };
	want_eq(poll(f, 2, 0), 1);
	want_eq(f[1].revents, POLLOUT);
	want_eq(poll(f, 3, -1), 2);
	want_eq(f[2].revents, POLLNVAL);
	want_eq(ppoll(f, 1, &zero, NULL), 0);
	want_errno(poll((void *)16, 1, 0), EFAULT);
	want_eq(write(p[1], "x", 1), 1);
	want_eq(poll(f, 1, -1), 1);
	want_eq(f[0].revents, POLLIN);
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(p[0], &in);
	FD_SET(p[1], &out);
	want_eq(select(p[1] + 1, &in, &out, NULL, &tv), 2);
	want(FD_ISSET(p[0], &in) && FD_ISSET(p[1], &out));
	FD_SET(60, &in); /* closed */
	want_errno(select(61, &in, NULL, NULL, &tv), EBADF);
	tv.tv_sec = -1;
	want_errno(select(0, NULL, NULL, NULL, &tv), EINVAL);
	close(p[1]);
	f[0].events = 0;
	want_eq(poll(f, 1, -1), 1);
	want_eq(f[0].revents, POLLHUP);
	close(p[0]);
}

CASE(epolls)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 7 }, got[4];
	int ep = epoll_create1(EPOLL_CLOEXEC), p[2], c;

	want(ep >= 0);
	want_errno(syscall(SYS_epoll_create, 0), EINVAL);
	want_eq(pipe(p), 0);
	want_eq(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), 0);
	want_errno(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), EEXIST);
	want_errno(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &ev), ENOENT);
	want_errno(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &ev), EINVAL);
	want_errno(epoll_ctl(ep, EPOLL_CTL_ADD, open("/", O_RDONLY), &ev), EPERM);
	want_errno(epoll_wait(ep, got, 0, 0), EINVAL);
	want_eq(epoll_wait(ep, got, 4, 0), 0);
	if (!fork()) {
		_exit(write(p[1], "!", 1) != 1);
	}
	want_eq(epoll_wait(ep, got, 4, -1), 1);
	wait(NULL);
	want_eq(got[0].data.u64, 7);
	want_eq(epoll_wait(ep, got, 4, 0), 1);
	ev.events = EPOLLIN | EPOLLET;
	want_eq(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev), 0);
	want_eq(epoll_wait(ep, got, 4, 0), 1);
	want_eq(epoll_wait(ep, got, 4, 0), 0);
	ev.events = EPOLLIN | EPOLLONESHOT;
	want_eq(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &ev), 0);
	want_eq(epoll_wait(ep, got, 4, 0), 1);
	want_eq(epoll_wait(ep, got, 4, 0), 0);
	want_eq(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), 0);
	want_eq(read(p[0], &c, 1), 1);
	close(p[0]);
	close(p[1]);
	close(ep);
}

CASE(eventfds)
{
	uint64_t v = 5;
	int fd = eventfd(3, EFD_NONBLOCK);

	want(fd >= 0);
	want_eq(write(fd, &v, 8), 8);
	want_eq(read(fd, &v, 8), 8);
	want_eq(v, 8);
	want_errno(read(fd, &v, 8), EAGAIN);
	want_errno(read(fd, &v, 4), EINVAL);
	v = ~0ULL;
	want_errno(write(fd, &v, 8), EINVAL);
	v = ~0ULL - 1;
	want_eq(write(fd, &v, 8), 8);
	v = 1;
	want_errno(write(fd, &v, 8), EAGAIN);
	close(fd);
	fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	want_eq(read(fd, &v, 8), 8);
	want_eq(v, 1);
	want_eq(read(fd, &v, 8), 8);
	want_errno(read(fd, &v, 8), EAGAIN);
	close(fd);
}

CASE(timerfds)
{
	struct itimerspec t = { { 0, 1000000 }, { 0, 1000000 } }, old;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct pollfd p = { fd, POLLIN, 0 };
	uint64_t n;

	want(fd >= 0);
	want_errno(timerfd_create(99, 0), EINVAL);
	want_errno(read(fd, &n, 8), EAGAIN);
	want_eq(timerfd_settime(fd, 0, &t, NULL), 0);
	want_eq(poll(&p, 1, -1), 1);
	want_eq(read(fd, &n, 8), 8);
	want(n >= 1);
	t = (struct itimerspec){ { 0, 0 }, { 1000, 0 } };
	want_eq(timerfd_settime(fd, 0, &t, &old), 0);
	want_eq(old.it_interval.tv_nsec, 1000000);
	want_eq(timerfd_gettime(fd, &old), 0);
	want(old.it_value.tv_sec >= 998 && old.it_value.tv_sec <= 1000);
	want_errno(read(fd, &n, 8), EAGAIN);
	t.it_value.tv_nsec = 1000000000;
	want_errno(timerfd_settime(fd, 0, &t, NULL), EINVAL);
	t = (struct itimerspec){ { 0, 0 }, { 1, 0 } }; /* long past */
	want_eq(timerfd_settime(fd, TFD_TIMER_ABSTIME, &t, NULL), 0);
	want_eq(poll(&p, 1, -1), 1);
	close(fd);
}

CASE(signalfds)
{
	struct signalfd_siginfo si;
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	want(fd >= 0);
	want_errno(read(fd, &si, sizeof(si)), EAGAIN);
	kill(getpid(), SIGUSR1);
	want_eq(read(fd, &si, sizeof(si)), (long)sizeof(si));
	want_eq(si.ssi_signo, SIGUSR1);
	want_eq(si.ssi_pid, getpid());
	want_errno(read(fd, &si, 10), EINVAL);
	close(fd);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

CASE(inotifies)
{
	char dir[] = "/tmp/abi-ino-XXXXXX", name[64], buf[1024] __attribute__((aligned(8)));
	struct inotify_event *ev = (void *)buf;
	int in = inotify_init1(IN_NONBLOCK), wd, fd;

	want(mkdtemp(dir));
	wd = inotify_add_watch(in, dir, IN_CREATE | IN_DELETE | IN_MODIFY);
	want(wd > 0);
	want_eq(inotify_add_watch(in, dir, IN_CREATE | IN_DELETE | IN_MODIFY), wd);
	want_errno(inotify_add_watch(in, dir, 0), EINVAL);
	want_errno(inotify_add_watch(in, "/nonexistent", IN_CREATE), ENOENT);
	want_errno(read(in, buf, sizeof(buf)), EAGAIN);
	snprintf(name, sizeof(name), "%s/file", dir);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	want_eq(write(fd, "x", 1), 1);
	close(fd);
	unlink(name);
	want_eq(read(in, buf, sizeof(buf)), 96);
	want_eq(ev->mask, IN_CREATE);
	want(!strcmp(ev->name, "file"));
	want_eq(((struct inotify_event *)(buf + 32))->mask, IN_MODIFY);
	want_eq(((struct inotify_event *)(buf + 64))->mask, IN_DELETE);
	want_eq(inotify_rm_watch(in, wd), 0);
	want_eq(read(in, buf, sizeof(buf)), 16);
	want_eq(ev->mask, IN_IGNORED);
	want_errno(inotify_rm_watch(in, wd), EINVAL);
	rmdir(dir);
	close(in);
}

int main(void)
{
	RUN(pipes);
	RUN(splicing);
	RUN(splicing_memory);
	RUN(fifos);
	RUN(polling);
	RUN(epolls);
	RUN(eventfds);
	RUN(timerfds);
	RUN(signalfds);
	RUN(inotifies);
	return abi_status();
}
