/* SPDX-License-Identifier: MIT
 *
 * Problem: libbpf and bpftool rely on what bpf(2) gives and refuses, to the errno.
 *
 * Idea: maps, programs, numbers, information, pins, tail calls, classic filters; then programs at cgroups: who may
 * attach below whom, links, and what the sockets of a cgroup feel.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <poll.h>
#include <sys/mman.h>
#include "bpf.h"

#define SKB  BPF_PROG_TYPE_CGROUP_SKB
#define SOCK BPF_PROG_TYPE_CGROUP_SOCK
#define OUT  BPF_CGROUP_INET_EGRESS
#define IN   BPF_CGROUP_INET_INGRESS
#define NEW  BPF_CGROUP_INET_SOCK_CREATE

CASE(attributes)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };
	char big[sizeof(a) + 16];
	int fd;

	memset(big, 0, sizeof(big));
	memcpy(big, &a, sizeof(a));
	fd = (int)syscall(SYS_bpf, BPF_MAP_CREATE, big, sizeof(big));
	want(fd >= 0);
	want_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	big[sizeof(big) - 1] = 1;
	want_errno(syscall(SYS_bpf, BPF_MAP_CREATE, big, sizeof(big)), E2BIG);
	want_errno(syscall(SYS_bpf, BPF_MAP_CREATE, big, 8192), E2BIG);
	want_errno(syscall(SYS_bpf, BPF_MAP_CREATE, (void *)8, sizeof(a)), EFAULT);
	want_errno(bpf(12345, &a), EINVAL);
	a.map_extra = 1;
	want_errno(bpf(BPF_MAP_CREATE, &a), EINVAL);
	want_errno(bpf(BPF_MAP_LOOKUP_ELEM, ATTR(.map_fd = 999)), EBADF);
	want_errno(bpf(BPF_MAP_LOOKUP_ELEM, ATTR(.map_fd = 0)), EINVAL); /* open, but no map */
}

CASE(array)
{
	int fd = map_new(BPF_MAP_TYPE_ARRAY, 4, 8, 3, 0);
	uint32_t k = 2, next;
	uint64_t v = 77;

	want(fd >= 0);
	want_eq(map_get(fd, &k, &v), 0);
	want_eq(v, 0);
	v = 5;
	want_eq(map_set(fd, &k, &v, BPF_ANY), 0);
	want_errno(map_set(fd, &k, &v, BPF_NOEXIST), EEXIST);
	want_errno(map_set(fd, &k, &v, 99), EINVAL);
	want_errno(map_del(fd, &k), EINVAL);
	k = 3;
	want_errno(map_get(fd, &k, &v), ENOENT);
	want_errno(map_set(fd, &k, &v, BPF_ANY), E2BIG);
	want_eq(map_next(fd, NULL, &next), 0);
	want_eq(next, 0);
	k = 2;
	want_errno(map_next(fd, &k, &next), ENOENT);
	want_errno(map_get(fd, (void *)8, &v), EFAULT);
	want_errno(map_new(BPF_MAP_TYPE_ARRAY, 8, 8, 3, 0), EINVAL);
	want_errno(map_new(BPF_MAP_TYPE_ARRAY, 4, 8, 0, 0), EINVAL);
	want_errno(map_new(999, 4, 8, 1, 0), EINVAL);
	close(fd);
}

CASE(hash)
{
	int fd = map_new(BPF_MAP_TYPE_HASH, 4, 4, 2, 0);
	uint32_t k = 1, v = 10, next;

	want(fd >= 0);
	want_errno(map_get(fd, &k, &v), ENOENT);
	want_errno(map_set(fd, &k, &v, BPF_EXIST), ENOENT);
	want_eq(map_set(fd, &k, &v, BPF_NOEXIST), 0);
	want_errno(map_set(fd, &k, &v, BPF_NOEXIST), EEXIST);
	k = 2;
	want_eq(map_set(fd, &k, &v, BPF_ANY), 0);
	k = 3;
	want_errno(map_set(fd, &k, &v, BPF_ANY), E2BIG);
	want_eq(map_next(fd, &k, &next), 0); /* an unknown key: from the start */
	want_eq(map_del(fd, &next), 0);
	want_errno(map_del(fd, &next), ENOENT);
	want_eq(map_set(fd, &k, &v, BPF_ANY), 0);
	want_eq(bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM, ATTR(.map_fd = fd, .key = PTR(&k), .value = PTR(&v))), 0);
	want_eq(v, 10);
	want_errno(map_get(fd, &k, &v), ENOENT);
	close(fd);
}

CASE(one_direction)
{
	int r = map_new(BPF_MAP_TYPE_ARRAY, 4, 4, 1, BPF_F_RDONLY),
	    w = map_new(BPF_MAP_TYPE_ARRAY, 4, 4, 1, BPF_F_WRONLY);
	uint32_t k = 0, v = 0;

	want(r >= 0 && w >= 0);
	want_errno(map_set(r, &k, &v, 0), EPERM);
	want_eq(map_get(r, &k, &v), 0);
	want_eq(map_set(w, &k, &v, 0), 0);
	want_errno(map_get(w, &k, &v), EPERM);
	want_errno(map_new(BPF_MAP_TYPE_ARRAY, 4, 4, 1, BPF_F_RDONLY | BPF_F_WRONLY), EINVAL);
	close(r);
	close(w);
	r = map_new(BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0);
	want_eq(bpf(BPF_MAP_FREEZE, ATTR(.map_fd = r)), 0);
	want_errno(bpf(BPF_MAP_FREEZE, ATTR(.map_fd = r)), EBUSY);
	want_errno(map_set(r, &k, &v, 0), EPERM);
	close(r);
}

CASE(numbers)
{
	int fd = map_new(BPF_MAP_TYPE_HASH, 4, 4, 2, 0), again;
	struct bpf_map_info info = { 0 };
	union bpf_attr a = { .info = { .bpf_fd = fd, .info_len = sizeof(info), .info = PTR(&info) } };
	union bpf_attr it = { .start_id = 0 };
	int found = 0;

	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD, &a), 0);
	want_eq(info.type, BPF_MAP_TYPE_HASH);
	want_eq(info.max_entries, 2);
	want(info.id > 0);
	while (!bpf(BPF_MAP_GET_NEXT_ID, &it)) {
		found |= it.next_id == info.id;
		it = (union bpf_attr){ .start_id = it.next_id };
	}
	want_eq(errno, ENOENT);
	want(found);
	again = bpf(BPF_MAP_GET_FD_BY_ID, ATTR(.map_id = info.id));
	want(again >= 0);
	close(fd);
	close(again);
	usleep(100000); /* it goes after the programs that might run */
	want_errno(bpf(BPF_MAP_GET_FD_BY_ID, ATTR(.map_id = info.id)), ENOENT);
}

static int run_on(int prog, const void *data, unsigned len, unsigned *result)
{
	union bpf_attr a = { .test = { .prog_fd = prog, .data_in = PTR(data), .data_size_in = len } };
	int r = bpf(BPF_PROG_TEST_RUN, &a);

	*result = a.test.retval;
	return r;
}

CASE(programs)
{
	static const char packet[64];
	unsigned r;
	int fd = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, MOV(0, 42), EXIT());
	struct bpf_prog_info info = { 0 };

	want(fd >= 0);
	want_eq(run_on(fd, packet, sizeof(packet), &r), 0);
	want_eq(r, 42);
	want_errno(run_on(fd, packet, 13, &r), EINVAL);
	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD,
		    ATTR(.info = { .bpf_fd = fd, .info_len = sizeof(info), .info = PTR(&info) })),
		0);
	want_eq(info.type, BPF_PROG_TYPE_SOCKET_FILTER);
	want_eq(info.xlated_prog_len, 16);
	want(info.jited_prog_len > 0);
	close(fd);
	want_errno(LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, EXIT()), EACCES);
	want(strstr(bpf_log, "R0 !read_ok"));
	want_errno(LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, MOV(0, 0)), EINVAL);
	want_errno(prog_load(BPF_PROG_TYPE_SOCKET_FILTER, 0, NULL, 0), E2BIG);
	want_errno(prog_load(BPF_PROG_TYPE_SOCKET_FILTER, 0, (void *)8, 2), EFAULT);
	want_errno(LOAD(0, 0, MOV(0, 0), EXIT()), EINVAL);
	want_errno(LOAD(SOCK, 77, MOV(0, 0), EXIT()), EINVAL);
	want_errno(LOAD(SKB, OUT, MOV(0, 4), EXIT()), EINVAL);
}

CASE(tail_calls)
{
	int progs = map_new(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0), keep;
	int second = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, MOV(0, 7), EXIT());
	int first =
		LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, LDMAP(2, progs), MOV(3, 1), CALL(tail_call), MOV(0, 1), EXIT());
	static const char packet[64];
	uint32_t k = 1, v = second;
	unsigned r;

	want(first >= 0 && second >= 0 && progs >= 0);
	want_eq(run_on(first, packet, sizeof(packet), &r), 0);
	want_eq(r, 1); /* the slot is empty */
	want_eq(map_set(progs, &k, &v, 0), 0);
	want_eq(run_on(first, packet, sizeof(packet), &r), 0);
	want_eq(r, 7);
	v = progs;
	want_errno(map_set(progs, &k, &v, 0), EINVAL);
	keep = progs;
	close(keep); /* the program still has the map, but its last user empties it */
	usleep(200000);
	want_eq(run_on(first, packet, sizeof(packet), &r), 0);
	want_eq(r, 1);
	close(first);
	close(second);
}

CASE(mapped)
{
	int fd = map_new(BPF_MAP_TYPE_ARRAY, 4, 8, 600, BPF_F_MMAPABLE), other;
	int adds = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, ST(W, 10, -4, 3), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, fd),
			CALL(map_lookup_elem), JMP(JEQ, 0, 0, 2), MOV(1, 1), ATOMIC(D, BPF_ADD, 0, 0, 1), MOV(0, 0),
			EXIT());
	static const char packet[64];
	volatile uint64_t *v;
	uint64_t *ro, got;
	uint32_t k = 3;
	unsigned r;

	want(fd >= 0 && adds >= 0);
	want_errno((long)mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), EINVAL);
	want_errno((long)mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
	v = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	want(v != MAP_FAILED);
	v[3] = 100;
	want_eq(run_on(adds, packet, sizeof(packet), &r), 0);
	want_eq(v[3], 101);
	want_eq(map_get(fd, &k, &got), 0);
	want_eq(got, 101);
	want_errno(bpf(BPF_MAP_FREEZE, ATTR(.map_fd = fd)), EBUSY);
	want_eq(munmap((void *)v, 2 * 4096), 0);
	want_eq(bpf(BPF_MAP_FREEZE, ATTR(.map_fd = fd)), 0);
	want_errno((long)mmap(NULL, 4096, PROT_WRITE | PROT_READ, MAP_SHARED, fd, 0), EPERM);
	ro = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	want(ro != MAP_FAILED);
	want_errno(mprotect(ro, 4096, PROT_READ | PROT_WRITE), EACCES);
	close(fd);
	close(adds);
	want_eq(ro[3], 101); /* the mapping keeps the map */
	want_eq(munmap(ro, 4096), 0);
	other = map_new(BPF_MAP_TYPE_HASH, 4, 8, 1, 0);
	want((long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, other, 0) == -1 && errno == 524);
	close(other);
}

CASE(ring)
{
	int fd = map_new(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0), got = 0;
	int emits = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, ST(D, 10, -8, 0x1234), LDMAP(1, fd), MOVR(2, 10),
			 ALU(ADD, 2, -8), MOV(3, 8), MOV(4, 0), CALL(ringbuf_output), EXIT());
	static const char packet[64];
	struct pollfd p = { fd, POLLIN, 0 };
	volatile uint64_t *consumer, *producer;
	volatile char *data;
	unsigned r;

	want(fd >= 0 && emits >= 0);
	want_errno(map_new(BPF_MAP_TYPE_RINGBUF, 0, 0, 4095, 0), EINVAL);
	consumer = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	producer = mmap(NULL, 3 * 4096, PROT_READ, MAP_SHARED, fd, 4096);
	want(consumer != MAP_FAILED && producer != MAP_FAILED);
	want_errno((long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096), EPERM);
	want_errno(mprotect((void *)producer, 4096, PROT_READ | PROT_WRITE), EACCES);
	data = (volatile char *)producer + 4096;
	want_eq(poll(&p, 1, 0), 0);
	for (int i = 0; i < 600; i++) { /* round and round */
		volatile uint32_t *head;

		want_eq(run_on(emits, packet, sizeof(packet), &r), 0);
		want_eq(r, 0);
		want_eq(poll(&p, 1, 0), 1);
		while (*consumer < *producer) {
			head = (volatile uint32_t *)(data + (*consumer & 4095));
			if (!(head[0] & BPF_RINGBUF_DISCARD_BIT)) {
				want_eq(head[0], 8);
				want_eq(*(volatile uint64_t *)(head + 2), 0x1234);
				got++;
			}
			*consumer += ((head[0] & ~BPF_RINGBUF_DISCARD_BIT) + 8 + 7) & ~7U;
		}
	}
	want_eq(got, 600);
	munmap((void *)consumer, 4096);
	munmap((void *)producer, 3 * 4096);
	close(emits);
	close(fd);
}

/* ---- the file system ---- */

static char fs[] = "/tmp/bpffs.XXXXXX";

static int pin(const char *name, int fd)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fs, name);
	return bpf(BPF_OBJ_PIN, ATTR(.pathname = PTR(path), .bpf_fd = fd));
}

static int get(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", fs, name);
	return bpf(BPF_OBJ_GET, ATTR(.pathname = PTR(path)));
}

CASE(pins)
{
	int fd = map_new(BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0), again;
	uint32_t k = 0, v = 11;
	char path[128], other[160];

	mkdir("/tmp", 0777);
	want(mkdtemp(fs));
	want_eq(mount("bpf", fs, "bpf", 0, NULL), 0);
	want_eq(pin("m", fd), 0);
	want_errno(pin("m", fd), EEXIST);
	want_errno(pin("a.b", fd), EPERM);
	want_errno(pin("no/m", fd), ENOENT);
	want_eq(map_set(fd, &k, &v, 0), 0);
	close(fd);
	v = 0;
	again = get("m");
	want(again >= 0);
	want_eq(map_get(again, &k, &v), 0);
	want_eq(v, 11);
	snprintf(path, sizeof(path), "%s/m", fs);
	want_errno(open(path, O_RDONLY), EIO);
	want_errno(get("n"), ENOENT);
	snprintf(other, sizeof(other), "%s/d", fs);
	want_eq(mkdir(other, 0700), 0);
	snprintf(other, sizeof(other), "%s/file", fs);
	want_errno(open(other, O_CREAT | O_RDWR, 0600), EACCES);
	snprintf(other, sizeof(other), "%s/d/moved", fs);
	want_eq(rename(path, other), 0);
	close(again);
	again = get("d/moved");
	want(again >= 0);
	want_errno(bpf(BPF_OBJ_PIN, ATTR(.pathname = PTR("/tmp/elsewhere"), .bpf_fd = again)), EPERM);
	want_errno(bpf(BPF_OBJ_PIN, ATTR(.pathname = PTR(path), .bpf_fd = 0)), EINVAL);
	close(again);
	want_eq(unlink(other), 0);
	want_errno(get("d/moved"), ENOENT);
	want_eq(umount(fs), 0);
}

/* ---- cgroups ---- */

static int query(int cg, int type, int flags, unsigned *attach_flags)
{
	unsigned ids[8];
	union bpf_attr q = { .query = { .target_fd = cg,
					.attach_type = type,
					.query_flags = flags,
					.prog_ids = PTR(ids),
					.prog_cnt = 8 } };

	if (bpf(BPF_PROG_QUERY, &q))
		return -1;
	*attach_flags = q.query.attach_flags;
	return (int)q.query.prog_cnt;
}

static int top, a, b; /* the folder of the test, a below it, b below a */

CASE(cgroup_tree)
{
	want(mkdtemp(tree));
	want_eq(mount("none", tree, "cgroup2", 0, NULL), 0);
	top = folder("bpftest");
	a = folder("bpftest/a");
	b = folder("bpftest/a/b");
	want(top >= 0 && a >= 0 && b >= 0);
}

CASE(attach_rules)
{
	int yes = verdict(SKB, OUT, 1), no = verdict(SKB, OUT, 0), in = verdict(SKB, IN, 1),
	    sock = verdict(SOCK, NEW, 1);
	unsigned flags;

	want(yes >= 0 && no >= 0 && in >= 0 && sock >= 0);
	want_errno(detach(a, yes, OUT), ENOENT);
	want_errno(attach(a, sock, OUT, 0), EINVAL);
	want_errno(attach(sock, yes, OUT, 0), EBADF);
	want_errno(attach(a, 999, OUT, 0), EBADF);
	want_errno(attach(a, yes, 200, 0), EINVAL);
	want_errno(attach(a, yes, OUT, 64), EINVAL);
	want_errno(attach(a, yes, OUT, BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI), EINVAL);
	want_eq(attach(a, in, OUT, 0), 0); /* packets' programs are loaded for either side */
	want_errno(attach(b, yes, OUT, 0), EPERM);
	want_errno(attach(b, yes, OUT, BPF_F_ALLOW_MULTI), EPERM);
	want_errno(attach(a, yes, OUT, BPF_F_ALLOW_OVERRIDE), EPERM);
	want_eq(attach(a, yes, OUT, 0), 0); /* replaced */
	want_eq(query(a, OUT, 0, &flags), 1);
	want_eq(flags, 0);
	want_eq(query(b, OUT, 0, &flags), 0);
	want_eq(query(b, OUT, BPF_F_QUERY_EFFECTIVE, &flags), 1);
	want_eq(detach(a, -1, OUT), 0);

	want_eq(attach(a, yes, OUT, BPF_F_ALLOW_OVERRIDE), 0);
	want_eq(attach(b, no, OUT, BPF_F_ALLOW_OVERRIDE), 0);
	want_eq(query(b, OUT, BPF_F_QUERY_EFFECTIVE, &flags), 1);
	want_eq(detach(b, no, OUT), 0);
	want_eq(detach(a, yes, OUT), 0);

	want_eq(attach(a, yes, OUT, BPF_F_ALLOW_MULTI), 0);
	want_errno(attach(a, yes, OUT, BPF_F_ALLOW_MULTI), EINVAL);
	want_eq(attach(a, no, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(attach(b, in, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(query(b, OUT, BPF_F_QUERY_EFFECTIVE, &flags), 3);
	want_eq(query(a, OUT, 0, &flags), 2);
	want_eq(flags, BPF_F_ALLOW_MULTI);
	want_errno(detach(a, -1, OUT), EINVAL);
	want_errno(detach(a, in, OUT), ENOENT);
	want_eq(bpf(BPF_PROG_ATTACH, ATTR(.target_fd = a, .attach_bpf_fd = in, .attach_type = OUT,
					  .attach_flags = BPF_F_ALLOW_MULTI | BPF_F_REPLACE, .replace_bpf_fd = no)),
		0);
	want_eq(detach(a, in, OUT), 0);
	want_eq(detach(a, yes, OUT), 0);
	want_eq(detach(b, in, OUT), 0);
	close(yes);
	close(no);
	close(in);
	close(sock);
}

CASE(query_room)
{
	int yes = verdict(SKB, OUT, 1), no = verdict(SKB, OUT, 0);
	unsigned ids[2] = { 0, 0 };
	union bpf_attr q = { .query = { .target_fd = a, .attach_type = OUT, .prog_ids = PTR(ids), .prog_cnt = 1 } };

	want_eq(attach(a, yes, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(attach(a, no, OUT, BPF_F_ALLOW_MULTI), 0);
	want_errno(bpf(BPF_PROG_QUERY, &q), ENOSPC);
	want_eq(q.query.prog_cnt, 2);
	want(ids[0] && !ids[1]);
	q.query.query_flags = 8;
	want_errno(bpf(BPF_PROG_QUERY, &q), EINVAL);
	want_eq(detach(a, yes, OUT), 0);
	want_eq(detach(a, no, OUT), 0);
	close(yes);
	close(no);
}

static int link_new(int cg, int prog, int type)
{
	return bpf(BPF_LINK_CREATE, ATTR(.link_create = { .prog_fd = prog, .target_fd = cg, .attach_type = type }));
}

CASE(links)
{
	int yes = verdict(SKB, OUT, 1), no = verdict(SKB, OUT, 0), sock = verdict(SOCK, NEW, 1), c, l, l2;
	struct bpf_link_info info = { 0 };
	unsigned flags;

	l = link_new(a, yes, OUT);
	want(l >= 0);
	l2 = link_new(a, yes, OUT); /* the same program twice: two links */
	want(l2 >= 0);
	want_eq(query(a, OUT, 0, &flags), 2);
	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD,
		    ATTR(.info = { .bpf_fd = l, .info_len = sizeof(info), .info = PTR(&info) })),
		0);
	want_eq(info.type, BPF_LINK_TYPE_CGROUP);
	want_eq(info.cgroup.attach_type, OUT);
	want(info.cgroup.cgroup_id && info.prog_id);
	want_errno(detach(a, yes, OUT), ENOENT); /* a link's program is not the cgroup's */
	close(l2);
	want_eq(query(a, OUT, 0, &flags), 1);
	want_errno(bpf(BPF_LINK_UPDATE, ATTR(.link_update = { .link_fd = l, .new_prog_fd = sock })), EINVAL);
	want_errno(bpf(BPF_LINK_UPDATE, ATTR(.link_update = { .link_fd = l,
							      .new_prog_fd = no,
							      .old_prog_fd = no,
							      .flags = BPF_F_REPLACE })),
		   EPERM);
	want_eq(bpf(BPF_LINK_UPDATE, ATTR(.link_update = { .link_fd = l,
							   .new_prog_fd = no,
							   .old_prog_fd = yes,
							   .flags = BPF_F_REPLACE })),
		0);
	want_eq(bpf(BPF_LINK_DETACH, ATTR(.link_detach = { .link_fd = l })), 0);
	want_eq(query(a, OUT, 0, &flags), 0);
	want_errno(bpf(BPF_LINK_UPDATE, ATTR(.link_update = { .link_fd = l, .new_prog_fd = yes })), ENOLINK);
	close(l);
	c = folder("bpftest/a/c");
	l = link_new(c, yes, OUT);
	want(l >= 0);
	close(c);
	chdir(tree);
	want_eq(rmdir("bpftest/a/c"), 0);
	usleep(200000);
	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD,
		    ATTR(.info = { .bpf_fd = l, .info_len = sizeof(info), .info = PTR(&info) })),
		0);
	want_eq(info.cgroup.cgroup_id, 0); /* the cgroup has gone, the link is dead */
	close(l);
	close(yes);
	close(no);
	close(sock);
}

/* ---- what sockets feel ---- */

static int receiver(struct sockaddr_in *to)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);
	socklen_t len = sizeof(*to);

	*to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (s < 0 || bind(s, (void *)to, sizeof(*to)) || getsockname(s, (void *)to, &len))
		_exit(202);
	return s;
}

/* How many of ten datagrams arrive; 100 more when sending gave EPERM. */
static int ten(void)
{
	struct sockaddr_in to;
	int in = receiver(&to), out = socket(AF_INET, SOCK_DGRAM, 0), n = 0, refused = 0;
	char text[32] = "";

	for (int i = 0; i < 10; i++)
		if (sendto(out, text, sizeof(text), 0, (void *)&to, sizeof(to)) < 0)
			refused |= errno == EPERM ? 100 : 50;
	while (poll(&(struct pollfd){ in, POLLIN, 0 }, 1, 20) == 1 && recv(in, text, sizeof(text), 0) == sizeof(text))
		n++;
	return n + refused;
}

CASE(packets)
{
	int no_out = verdict(SKB, OUT, 0), no_in = verdict(SKB, IN, 0), yes = verdict(SKB, OUT, 1);

	loopback_up();
	want_eq(in_cgroup("bpftest/a/b", ten), 10);
	want_eq(attach(a, no_out, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup("bpftest/a/b", ten), 100);
	want_eq(in_cgroup("bpftest", ten), 10);
	want_eq(attach(b, yes, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup("bpftest/a/b", ten), 100); /* every one must allow */
	want_eq(detach(b, yes, OUT), 0);
	want_eq(detach(a, no_out, OUT), 0);
	want_eq(attach(a, no_out, OUT, BPF_F_ALLOW_OVERRIDE), 0);
	want_eq(attach(b, yes, OUT, BPF_F_ALLOW_OVERRIDE), 0);
	want_eq(in_cgroup("bpftest/a/b", ten), 10);
	want_eq(in_cgroup("bpftest/a", ten), 100);
	want_eq(detach(b, yes, OUT), 0);
	want_eq(detach(a, no_out, OUT), 0);
	want_eq(attach(a, no_in, IN, 0), 0);
	want_eq(in_cgroup("bpftest/a/b", ten), 0); /* sent, and dropped on the way in */
	want_eq(detach(a, no_in, IN), 0);
	want_eq(in_cgroup("bpftest/a/b", ten), 10);
	close(no_out);
	close(no_in);
	close(yes);
}

static int make_socket(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), v = 0;
	socklen_t len = sizeof(v);

	if (s < 0)
		return errno == EPERM ? 100 : 50;
	return getsockopt(s, SOL_SOCKET, SO_MARK, &v, &len) ? 51 : v;
}

CASE(sockets)
{
	int no = verdict(SOCK, NEW, 0);
	int marks = LOAD(SOCK, NEW, MOV(2, 33), STX(W, 1, offsetof(struct bpf_sock, mark), 2), MOV(0, 1), EXIT());

	want(no >= 0 && marks >= 0);
	want_eq(attach(a, no, NEW, 0), 0);
	want_eq(in_cgroup("bpftest/a/b", make_socket), 100);
	want_eq(in_cgroup("bpftest", make_socket), 0);
	want_eq(detach(a, no, NEW), 0);
	want_eq(attach(a, marks, NEW, 0), 0);
	want_eq(in_cgroup("bpftest/a/b", make_socket), 33);
	want_eq(detach(a, marks, NEW), 0);
	close(no);
	close(marks);
}

/* A program sees the packet from its network header on, and where it comes from. */
CASE(what_a_program_sees)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	uint32_t k;
	uint64_t v;
#define STORE(key, reg)                                                                                                \
	ST(W, 10, -4, key), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, m), CALL(map_lookup_elem), JMP(JEQ, 0, 0, 1),       \
		STX(D, 0, 0, reg)
	int see =
		LOAD(SKB, OUT, LDX(W, 7, 1, offsetof(struct __sk_buff, len)),
		     LDX(W, 8, 1, offsetof(struct __sk_buff, protocol)), LDX(W, 2, 1, offsetof(struct __sk_buff, data)),
		     LDX(W, 3, 1, offsetof(struct __sk_buff, data_end)), MOVR(4, 2), ALU(ADD, 4, 20), MOV(9, 0),
		     JMPR(JGT, 4, 3, 1), LDX(B, 9, 2, 9), STORE(0, 7), STORE(1, 8), STORE(2, 9), MOV(0, 1), EXIT());

	want(see >= 0);
	want_eq(attach(a, see, OUT, 0), 0);
	want_eq(in_cgroup("bpftest/a", ten), 10);
	want_eq(detach(a, see, OUT), 0);
	k = 0;
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, 20 + 8 + 32);
	k = 1;
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, htons(0x0800));
	k = 2;
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, 17);
	close(see);
	close(m);
}

/* A removed cgroup's programs go with it. */
CASE(cgroup_ends)
{
	int yes = verdict(SKB, OUT, 1), c = folder("bpftest/a/d");
	struct bpf_prog_info info = { 0 };

	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD,
		    ATTR(.info = { .bpf_fd = yes, .info_len = sizeof(info), .info = PTR(&info) })),
		0);
	want_eq(attach(c, yes, OUT, BPF_F_ALLOW_MULTI), 0);
	close(yes);
	yes = bpf(BPF_PROG_GET_FD_BY_ID, ATTR(.prog_id = info.id)); /* the cgroup keeps it */
	want(yes >= 0);
	close(yes);
	chdir(tree);
	want_eq(rmdir("bpftest/a/d"), 0);
	close(c);
	for (int i = 0; i < 100 && (yes = bpf(BPF_PROG_GET_FD_BY_ID, ATTR(.prog_id = info.id))) >= 0; i++) {
		close(yes);
		usleep(20000);
	}
	want(yes < 0);
	want_errno(bpf(BPF_PROG_GET_FD_BY_ID, ATTR(.prog_id = info.id)), ENOENT);
}

static int unprivileged(void)
{
	if (setgid(65534) || setuid(65534))
		return 1;
	if (verdict(BPF_PROG_TYPE_SOCKET_FILTER, 0, 0) != -1 || errno != EPERM)
		return 2;
	if (map_new(BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0) != -1 || errno != EPERM)
		return 3;
	return 0;
}

CASE(rights)
{
	int status, pid = fork();

	if (!pid)
		_exit(unprivileged());
	want_eq(waitpid(pid, &status, 0), pid);
	want_eq(status, 0);
}

CASE(cgroup_leave)
{
	close(top);
	close(a);
	close(b);
	want_eq(chdir(tree), 0);
	want_eq(rmdir("bpftest/a/b"), 0);
	want_eq(rmdir("bpftest/a"), 0);
	want_eq(rmdir("bpftest"), 0);
	want_eq(chdir("/"), 0);
	umount(tree);
}

int main(void)
{
	RUN(attributes);
	RUN(array);
	RUN(hash);
	RUN(one_direction);
	RUN(numbers);
	RUN(programs);
	RUN(tail_calls);
	RUN(mapped);
	RUN(ring);
	RUN(pins);
	RUN(rights);
	RUN(cgroup_tree);
	RUN(attach_rules);
	RUN(query_room);
	RUN(links);
	RUN(packets);
	RUN(sockets);
	RUN(what_a_program_sees);
	RUN(cgroup_ends);
	RUN(cgroup_leave);
	return abi_status();
}
