/* SPDX-License-Identifier: MIT
 *
 * Problem: databases and fio stand on io_submit's rules: what is refused at once, what becomes an event, and how the
 * ring in the program's memory tells of it.
 *
 * Idea: files, pipes and eventfds, by the bare system calls; and the RWF flags of preadv2 and pwritev2.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle.
 *
 * Locks: none.
 */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include "abi.h"

struct ring {
	uint32_t id, nr, head, tail, magic, compatible, incompatible, header_bytes;
	struct io_event events[];
};

static long setup(unsigned nr, aio_context_t *c)
{
	return syscall(SYS_io_setup, nr, c);
}

static long destroy(aio_context_t c)
{
	return syscall(SYS_io_destroy, c);
}

static long submit(aio_context_t c, long nr, struct iocb **cbs)
{
	return syscall(SYS_io_submit, c, nr, cbs);
}

static long submit_one(aio_context_t c, struct iocb *cb)
{
	return submit(c, 1, &cb);
}

static long events(aio_context_t c, long least, long most, struct io_event *e, struct timespec *t)
{
	return syscall(SYS_io_getevents, c, least, most, e, t);
}

static struct iocb make(int op, int fd, void *buf, size_t n, off_t at)
{
	return (struct iocb){ .aio_lio_opcode = op,
			      .aio_fildes = fd,
			      .aio_buf = (uintptr_t)buf,
			      .aio_nbytes = n,
			      .aio_offset = at,
			      .aio_data = 77 };
}

static long rw2(int call, int fd, const struct iovec *v, off_t at, int flags)
{
	return syscall(call, fd, v, 1, at, 0, flags);
}

static int temporary(void)
{
	char name[] = "/tmp/abi-aio-XXXXXX";
	int f = mkstemp(name);

	want(f >= 0 && !unlink(name));
	return f;
}

CASE(contexts)
{
	struct timespec none = { 0 };
	aio_context_t c = 0, d = 0;
	struct io_event e;

	want_errno(setup(0, &c), EINVAL);
	want_errno(setup(1, (void *)8), EFAULT);
	want_errno(setup(0x7fffffff, &c), EINVAL);
	want_errno(setup(4000000, &c), EAGAIN);
	want_eq(setup(8, &c), 0);
	want(c != 0);
	d = c;
	want_errno(setup(8, &d), EINVAL);
	d = 0;
	want_eq(setup(1000, &d), 0);
	want(d != c);
	want_eq(events(c, 0, 1, &e, &none), 0);
	want_errno(events(c, 2, 1, &e, &none), EINVAL);
	want_errno(events(c, -1, 1, &e, &none), EINVAL);
	want_errno(events(c + 1, 0, 1, &e, &none), EINVAL);
	want_errno(submit(c + 4096 * 1000, 0, NULL), EINVAL);
	want_errno(submit(c, -1, NULL), EINVAL);
	want_eq(submit(c, 0, NULL), 0);
	want_errno(submit(c, 1, NULL), EFAULT);
	want_eq(destroy(c), 0);
	want_errno(destroy(c), EINVAL);
	want_errno(submit(c, 0, NULL), EINVAL);
	want_eq(destroy(d), 0);
}

CASE(ring)
{
	aio_context_t c = 0;
	struct ring *r;
	struct iocb cb;
	int f = temporary();

	want_eq(setup(10, &c), 0);
	r = (struct ring *)c;
	want_eq(r->magic, 0xa10a10a1);
	want_eq(r->header_bytes, 32);
	want_eq(r->compatible, 1);
	want_eq(r->incompatible, 0);
	want_eq(r->head, 0);
	want_eq(r->tail, 0);
	want(r->nr >= 10);
	cb = make(IOCB_CMD_PWRITE, f, "hello", 5, 3);
	want_eq(submit_one(c, &cb), 1);
	want_eq(r->tail, 1);
	want_eq(r->events[0].res, 5);
	want_eq(r->events[0].data, 77);
	want_eq(r->events[0].obj, (uintptr_t)&cb);
	r->head = 1; /* as libaio does it */
	want_eq(events(c, 0, 1, &(struct io_event){ 0 }, &(struct timespec){ 0 }), 0);
	r->head = 0xfffffff0; /* nonsense harms nobody else */
	submit_one(c, &cb);
	want_eq(destroy(c), 0);
	close(f);
}

CASE(transfers)
{
	struct iovec iov[2];
	struct io_event e[8];
	aio_context_t c = 0;
	struct iocb cb[4], *list[4] = { &cb[0], &cb[1], &cb[2], &cb[3] };
	char buf[16] = "", buf2[16] = "";
	int f = temporary();

	want_eq(setup(4, &c), 0);
	iov[0] = (struct iovec){ "abc", 3 };
	iov[1] = (struct iovec){ "defg", 4 };
	cb[0] = make(IOCB_CMD_PWRITEV, f, iov, 2, 0);
	cb[1] = make(IOCB_CMD_PREAD, f, buf, 3, 2);
	cb[2] = make(IOCB_CMD_FSYNC, f, NULL, 0, 0);
	cb[3] = make(IOCB_CMD_PREAD, f, buf2, 16, 100);
	want_eq(submit(c, 4, list), 4);
	want_eq(events(c, 4, 8, e, NULL), 4);
	for (int i = 0; i < 4; i++) {
		want_eq(e[i].res2, 0);
		if (e[i].obj == (uintptr_t)&cb[0])
			want_eq(e[i].res, 7);
		if (e[i].obj == (uintptr_t)&cb[1])
			want_eq(e[i].res, 3);
		if (e[i].obj == (uintptr_t)&cb[2] || e[i].obj == (uintptr_t)&cb[3])
			want_eq(e[i].res, 0);
	}
	want(!memcmp(buf, "cde", 3));
	iov[0] = (struct iovec){ buf, 2 };
	iov[1] = (struct iovec){ buf2, 9 };
	cb[0] = make(IOCB_CMD_PREADV, f, iov, 2, 0);
	want_eq(submit(c, 1, list), 1);
	want_eq(events(c, 1, 1, e, NULL), 1);
	want_eq(e[0].res, 7);
	want(!memcmp(buf2, "cdefg", 5));
	cb[0] = make(IOCB_CMD_PREAD, f, (void *)8, 4, 0); /* memory that is not there: an event, not a refusal */
	want_eq(submit(c, 1, list), 1);
	want_eq(events(c, 1, 1, e, NULL), 1);
	want_eq(e[0].res, -EFAULT);
	want_eq(destroy(c), 0);
	close(f);
}

CASE(refusals)
{
	aio_context_t c = 0;
	struct iocb good, cb, *list[2] = { &good, &cb };
	struct io_event e;
	char buf[8];
	int f = temporary(), r = open("/dev/null", O_RDONLY);

	want_eq(setup(4, &c), 0);
	good = make(IOCB_CMD_PWRITE, f, "x", 1, 0);
	cb = make(IOCB_CMD_PREAD, 999, buf, 1, 0);
	want_errno(submit_one(c, &cb), EBADF);
	want_eq(submit(c, 2, list), 1); /* the first is under way */
	want_eq(events(c, 1, 1, &e, NULL), 1);
	cb = make(IOCB_CMD_PWRITE, r, buf, 1, 0);
	want_errno(submit_one(c, &cb), EBADF);
	cb = make(IOCB_CMD_NOOP, f, buf, 1, 0);
	want_errno(submit_one(c, &cb), EINVAL);
	cb = make(IOCB_CMD_PREAD, f, buf, 1, -1);
	want_errno(submit_one(c, &cb), EINVAL);
	cb = make(IOCB_CMD_PREAD, f, buf, -1, 0);
	want_errno(submit_one(c, &cb), EINVAL);
	cb = make(IOCB_CMD_FSYNC, f, buf, 0, 0);
	want_errno(submit_one(c, &cb), EINVAL);
	cb = make(IOCB_CMD_PREAD, f, buf, 1, 0);
	cb.aio_reserved2 = 1;
	want_errno(submit_one(c, &cb), EINVAL);
	cb = make(IOCB_CMD_PREAD, f, buf, 1, 0);
	cb.aio_rw_flags = 0x4000;
	want_errno(submit_one(c, &cb), EOPNOTSUPP);
	cb = make(IOCB_CMD_PREAD, f, buf, 1, 0);
	cb.aio_flags = IOCB_FLAG_RESFD;
	cb.aio_resfd = f;
	want_errno(submit_one(c, &cb), EINVAL);
	want_eq(destroy(c), 0);
	close(f);
	close(r);
}

CASE(event_descriptor)
{
	aio_context_t c = 0;
	struct iocb cb;
	struct io_event e;
	uint64_t n;
	int f = temporary(), efd = eventfd(0, 0);

	want_eq(setup(4, &c), 0);
	cb = make(IOCB_CMD_PWRITE, f, "x", 1, 0);
	cb.aio_flags = IOCB_FLAG_RESFD;
	cb.aio_resfd = efd;
	want_eq(submit_one(c, &cb), 1);
	want_eq(submit_one(c, &cb), 1);
	want_eq(read(efd, &n, 8), 8);
	want_eq(n, 2);
	want_eq(events(c, 1, 1, &e, NULL), 1);
	close(efd);
	close(f);
	want_eq(destroy(c), 0);
}

CASE(full)
{
	aio_context_t c = 0;
	struct io_event e[64];
	struct iocb cb;
	int f = temporary(), nr = 0, got = 0;

	want_eq(setup(1, &c), 0);
	cb = make(IOCB_CMD_PWRITE, f, "x", 1, 0);
	for (; nr < 100000 && submit_one(c, &cb) == 1; nr++)
		;
	want_eq(errno, EAGAIN);
	want(nr > 0 && nr < (int)((struct ring *)c)->nr); /* Linux keeps some places for other CPUs */
	want_eq(events(c, 1, 1, e, NULL), 1);
	want_eq(submit_one(c, &cb), 1);
	while (got < nr) {
		int n = events(c, 1, 64, e, NULL);

		want(n > 0);
		got += n;
	}
	want_eq(got, nr);
	want_eq(destroy(c), 0);
	close(f);
}

CASE(polls)
{
	struct timespec none = { 0 };
	aio_context_t c = 0;
	struct iocb cb, cb2;
	struct io_event e;
	int p[2], f = temporary(), status;

	want_eq(pipe(p), 0);
	want_eq(setup(4, &c), 0);
	cb = make(IOCB_CMD_POLL, p[0], (void *)POLLIN, 0, 0);
	want_eq(submit_one(c, &cb), 1);
	want_eq(events(c, 0, 1, &e, &none), 0);
	if (!fork()) {
		want_errno(submit_one(c, &cb), EINVAL); /* a context is its process's own */
		_exit(write(p[1], "x", 1) != 1);
	}
	want_eq(events(c, 1, 1, &e, NULL), 1);
	want(e.res & POLLIN);
	want(wait(&status) > 0 && status == 0);
	want_eq(submit_one(c, &cb), 1); /* ready already */
	want_eq(events(c, 1, 1, &e, NULL), 1);
	want(e.res & POLLIN);
	cb2 = make(IOCB_CMD_POLL, f, (void *)POLLIN, 0, 0);
	want_eq(submit_one(c, &cb2), 1); /* a file that is always ready */
	want_eq(events(c, 1, 1, &e, NULL), 1);
	want(e.obj == (uintptr_t)&cb2 && e.res & POLLIN);
	want_eq(read(p[0], &e, 1), 1);
	want_eq(submit_one(c, &cb), 1);
	want_errno(syscall(SYS_io_cancel, c, &cb2, &e), EINVAL);
	want_errno(syscall(SYS_io_cancel, c, &cb, &e), EINPROGRESS);
	want_eq(events(c, 1, 1, &e, NULL), 1);
	want_eq(e.obj, (uintptr_t)&cb);
	want_eq(submit_one(c, &cb), 1);
	want_eq(destroy(c), 0); /* does not wait for what nobody will write */
	c = 0;
	want_eq(setup(4, &c), 0);
	want_eq(submit_one(c, &cb), 1); /* nor does the end of the process */
	close(p[0]);
	close(p[1]);
	close(f);
}

CASE(timeouts)
{
	struct timespec soon = { 0, 1000000 };
	aio_context_t c = 0;
	struct io_event e;

	want_eq(setup(4, &c), 0);
	want_eq(events(c, 1, 1, &e, &soon), 0);
	want_eq(syscall(SYS_io_pgetevents, c, 1, 1, &e, &soon, NULL), 0);
	want_eq(destroy(c), 0);
}

CASE(rw_flags)
{
	struct iovec v = { "abcd", 4 };
	char buf[8];
	struct iovec in = { buf, 8 };
	int f = temporary(), p[2];

	want_eq(rw2(SYS_pwritev2, f, &v, 0, RWF_DSYNC), 4);
	want_eq(rw2(SYS_pwritev2, f, &v, 0, RWF_SYNC), 4);
	want_eq(rw2(SYS_pwritev2, f, &v, 0, RWF_HIPRI), 4);
	want_eq(rw2(SYS_pwritev2, f, &v, 0, RWF_APPEND), 4); /* wherever it was told to go */
	want_eq(lseek(f, 0, SEEK_END), 8);
	want_eq(rw2(SYS_pwritev2, f, &v, -1, RWF_APPEND), 4); /* -1: and the file's position moves */
	want_eq(lseek(f, 0, SEEK_CUR), 12);
	want_eq(rw2(SYS_preadv2, f, &in, 8, RWF_HIPRI), 4);
	want(!memcmp(buf, "abcd", 4));
	want_errno(rw2(SYS_preadv2, f, &in, 0, 0x4000), EOPNOTSUPP);
	want_errno(rw2(SYS_preadv2, f, &in, -2, 0), EINVAL);
	want_eq(pipe(p), 0);
	want_errno(rw2(SYS_preadv2, p[0], &in, 0, 0), ESPIPE);
	close(p[0]);
	close(p[1]);
	close(f);
}

/* RWF_NOWAIT: an end that would have to wait says EAGAIN, though the descriptor itself may block. Linux before 6.4
 * refuses the flag for pipes, both ways. */
CASE(nowait_pipes)
{
	char buf[4096] = "";
	struct iovec one = { buf, 1 }, many = { buf, sizeof(buf) };
	int p[2], size;

	want_eq(pipe(p), 0);
	want_errno(rw2(SYS_preadv2, p[0], &one, 0, RWF_NOWAIT), ESPIPE);
	if (rw2(SYS_preadv2, p[0], &many, -1, RWF_NOWAIT) == -1 && errno == EOPNOTSUPP) {
		want_errno(rw2(SYS_pwritev2, p[1], &one, -1, RWF_NOWAIT), EOPNOTSUPP);
		return;
	}
	size = fcntl(p[1], F_GETPIPE_SZ);
	want_errno(rw2(SYS_preadv2, p[0], &many, -1, RWF_NOWAIT), EAGAIN);
	want_eq(rw2(SYS_pwritev2, p[1], &one, -1, RWF_NOWAIT), 1);
	want_eq(rw2(SYS_preadv2, p[0], &many, -1, RWF_NOWAIT), 1); /* what is there, not what was asked for */
	for (int n = 0; n < size; n += sizeof(buf))
		want_eq(rw2(SYS_pwritev2, p[1], &many, -1, RWF_NOWAIT), sizeof(buf));
	want_errno(rw2(SYS_pwritev2, p[1], &one, -1, RWF_NOWAIT), EAGAIN);
	close(p[1]);
	for (int n = 0; n < size; n += sizeof(buf))
		want_eq(rw2(SYS_preadv2, p[0], &many, -1, RWF_NOWAIT), sizeof(buf));
	want_eq(rw2(SYS_preadv2, p[0], &many, -1, RWF_NOWAIT), 0); /* the end is no reason to wait */
	close(p[0]);
}

/* Of a file: what is in memory is read at once, or the file system does not know the flag; it never says EAGAIN. */
CASE(nowait_files)
{
	struct iovec v = { "abcd", 4 };
	char buf[8] = "";
	struct iovec in = { buf, 8 };
	int f = temporary(), reader;
	char path[64];

	want_eq(rw2(SYS_pwritev2, f, &v, 0, 0), 4);
	if (rw2(SYS_preadv2, f, &in, 0, RWF_NOWAIT) < 0)
		want_errno(rw2(SYS_preadv2, f, &in, 0, RWF_NOWAIT), EOPNOTSUPP);
	else
		want(!memcmp(buf, "abcd", 5));
	if (rw2(SYS_pwritev2, f, &v, 4, RWF_NOWAIT) < 0)
		want_errno(rw2(SYS_pwritev2, f, &v, 4, RWF_NOWAIT), EOPNOTSUPP);
	else
		want_eq(lseek(f, 0, SEEK_END), 8);
	want_errno(rw2(SYS_preadv2, -1, &in, 0, RWF_NOWAIT), EBADF);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", f);
	reader = open(path, O_RDONLY);
	want(reader >= 0);
	want_errno(rw2(SYS_pwritev2, reader, &v, 0, RWF_APPEND), EBADF);
	close(reader);
	close(f);
}

/* Flags go together, and what they say of writes does not hinder reads. */
CASE(rw_flags_together)
{
	const int durable = RWF_DSYNC | RWF_SYNC | RWF_HIPRI;
	struct iovec v = { "abcd", 4 };
	char buf[8];
	struct iovec in = { buf, 8 };
	int f = temporary();

	want_eq(rw2(SYS_pwritev2, f, &v, 0, durable | RWF_APPEND), 4);
	want_eq(rw2(SYS_pwritev2, f, &v, 0, durable | RWF_APPEND), 4);
	want_eq(lseek(f, 0, SEEK_CUR), 0); /* a position was given */
	want_eq(rw2(SYS_preadv2, f, &in, 0, durable), 8);
	want(!memcmp(buf, "abcdabcd", 8));
	want_eq(rw2(SYS_preadv2, f, &in, 4, RWF_APPEND), 4); /* nothing to a read */
	want_errno(rw2(SYS_pwritev2, f, &v, 0, RWF_DSYNC | 0x4000), EOPNOTSUPP);
	want_eq(lseek(f, 0, SEEK_END), 8);
	close(f);
}

int main(void)
{
	RUN(contexts);
	RUN(ring);
	RUN(transfers);
	RUN(refusals);
	RUN(event_descriptor);
	RUN(full);
	RUN(polls);
	RUN(timeouts);
	RUN(rw_flags);
	RUN(nowait_pipes);
	RUN(nowait_files);
	RUN(rw_flags_together);
	return abi_status();
}
