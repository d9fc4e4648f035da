/* SPDX-License-Identifier: MIT
 *
 * Problem: programs at a cgroup's hooks ask where they run: what the cgroup keeps for them, what the hook will return,
 * which control file is touched; and tail calls must not lead into a program that was verified for something else.
 *
 * Idea: small programs that write what they see into a map, compared with what the test knows.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <sys/mman.h>
#include <linux/btf.h>
#include "bpf.h"

#define SKB    BPF_PROG_TYPE_CGROUP_SKB
#define SOCK   BPF_PROG_TYPE_CGROUP_SOCK
#define SYSCTL BPF_PROG_TYPE_CGROUP_SYSCTL
#define OUT    BPF_CGROUP_INET_EGRESS
#define IN     BPF_CGROUP_INET_INGRESS
#define NAME   "bpfcontext"

static int cg;
static uint64_t cg_id;

CASE(begin)
{
	struct stat st;

	want(mkdtemp(tree));
	want_eq(mount("none", tree, "cgroup2", 0, NULL), 0);
	cg = folder(NAME);
	want(cg >= 0);
	fstat(cg, &st);
	cg_id = st.st_ino;
	loopback_up();
}

/* Sends n datagrams to nobody; how many were refused. */
static int send_some(int n)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_DGRAM, 0), refused = 0;

	while (n--)
		refused += sendto(s, "x", 1, 0, (void *)&to, sizeof(to)) < 0 && errno == EPERM;
	close(s);
	return refused;
}

static int send_three(void)
{
	return send_some(3);
}

/* ---- storage ---- */

struct key {
	uint64_t cgroup;
	uint32_t type;
};

#define COUNT(map) LDMAP(1, map), MOV(2, 0), CALL(get_local_storage), MOV(1, 1), ATOMIC(D, BPF_ADD, 0, 0, 1)

CASE(storage_maps)
{
	int type = BPF_MAP_TYPE_CGROUP_STORAGE, m = map_new(type, 16, 8, 0, 0);
	struct key k = { 1, 0 };
	uint64_t v = 1;

	want(m >= 0);
	want_errno(map_new(type, 16, 8, 1, 0), EINVAL);
	want_errno(map_new(type, 4, 8, 0, 0), EINVAL);
	want_errno(map_new(type, 16, 0, 0, 0), EINVAL);
	want_errno(map_new(type, 16, 1 << 16, 0, 0), E2BIG);
	want_errno(map_new(BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, 16, 32769, 0, 0), E2BIG);
	want_errno(map_new(type, 16, 8, 0, BPF_F_NO_PREALLOC), EINVAL);
	want_errno(map_get(m, &k, &v), ENOENT);
	want_errno(map_set(m, &k, &v, BPF_ANY), ENOENT);
	want_errno(map_set(m, &k, &v, BPF_NOEXIST), EINVAL);
	want_errno(map_del(m, &k), EINVAL);
	want_errno(map_next(m, NULL, &k), ENOENT);
	close(m);
}

CASE(storage_of_each_hook)
{
	int m = map_new(BPF_MAP_TYPE_CGROUP_STORAGE, 16, 8, 0, 0);
	int prog = LOAD(SKB, 0, COUNT(m), MOV(0, 1), EXIT());
	struct key k = { cg_id, OUT }, next;
	uint64_t v = 99;

	want(m >= 0 && prog >= 0);
	want_eq(attach(cg, prog, OUT, 0), 0);
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, 0);
	want_eq(in_cgroup(NAME, send_three), 0);
	send_some(2);
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, 3);
	v = 40;
	want_eq(map_set(m, &k, &v, BPF_EXIST), 0);
	want_eq(in_cgroup(NAME, send_three), 0);
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, 43);
	k.type = IN;
	want_errno(map_get(m, &k, &v), ENOENT);
	want_eq(map_next(m, NULL, &next), 0);
	want(next.cgroup == cg_id && next.type == OUT);
	want_errno(map_next(m, &next, &k), ENOENT);
	want_eq(detach(cg, prog, OUT), 0);
	want_eq(map_get(m, &next, &v), 0); /* stays with the cgroup */
	want_eq(v, 43);
	close(m);
	close(prog);
}

CASE(storage_shared_by_hooks)
{
	int m = map_new(BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0, 0);
	int first = LOAD(SKB, 0, COUNT(m), MOV(0, 1), EXIT()), second = LOAD(SKB, 0, COUNT(m), MOV(0, 1), EXIT());
	uint64_t v = 0;

	want(m >= 0 && first >= 0 && second >= 0);
	want_eq(attach(cg, first, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(attach(cg, second, OUT, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, send_three), 0);
	want_eq(map_get(m, &cg_id, &v), 0);
	want_eq(v, 6);
	want_eq(detach(cg, first, OUT), 0);
	want_eq(detach(cg, second, OUT), 0);
	close(m);
	close(first);
	close(second);
}

CASE(storage_of_each_cpu)
{
	int m = map_new(BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE, 8, 8, 0, 0);
	int n = map_new(BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0, 0), o = map_new(BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0, 0);
	int prog = LOAD(SKB, 0, COUNT(m), COUNT(n), MOV(0, 1), EXIT());
	uint64_t v[256] = { 0 }, sum = 0;

	want(m >= 0 && n >= 0 && prog >= 0);
	want_errno(LOAD(SKB, 0, COUNT(n), COUNT(o), MOV(0, 1), EXIT()), EBUSY);
	want_eq(attach(cg, prog, OUT, 0), 0);
	want_eq(in_cgroup(NAME, send_three), 0);
	want_eq(map_get(m, &cg_id, v), 0);
	for (int i = 0; i < 256; i++)
		sum += v[i];
	want_eq(sum, 3);
	want_eq(map_get(n, &cg_id, v), 0);
	want_eq(v[0], 3);
	want_eq(detach(cg, prog, OUT), 0);
	close(m);
	close(n);
	close(o);
	close(prog);
}

CASE(storage_ends_with_the_cgroup)
{
	int m = map_new(BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0, 0), prog = LOAD(SKB, 0, COUNT(m), MOV(0, 1), EXIT());
	int below = folder(NAME "/below");
	char path[128];
	uint64_t k;
	int i = 0;

	want(m >= 0 && prog >= 0 && below >= 0);
	want_eq(attach(below, prog, OUT, 0), 0);
	want_eq(map_next(m, NULL, &k), 0);
	close(below);
	snprintf(path, sizeof(path), "%s/" NAME "/below", tree);
	want_eq(rmdir(path), 0);
	while (!map_next(m, NULL, &k) && i++ < 200)
		usleep(10000);
	want_errno(map_next(m, NULL, &k), ENOENT);
	close(m);
	close(prog);
}

/* ---- results ---- */

static int socket_error(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	return s < 0 ? errno : 0;
}

CASE(results)
{
	int no = verdict(SOCK, BPF_CGROUP_INET_SOCK_CREATE, 0);
	int busy = LOAD(SOCK, BPF_CGROUP_INET_SOCK_CREATE, MOV(1, -EBUSY), CALL(set_retval), MOV(0, 1), EXIT());
	int busy_no = LOAD(SOCK, BPF_CGROUP_INET_SOCK_CREATE, MOV(1, -ENOSR), CALL(set_retval), MOV(0, 0), EXIT());
	int flip = LOAD(SOCK, BPF_CGROUP_INET_SOCK_CREATE, CALL(get_retval), JMP(JEQ, 0, -EBUSY, 2), MOV(0, 1), EXIT(),
			MOV(1, -EDOM), CALL(set_retval), MOV(0, 1), EXIT());

	want(no >= 0 && busy >= 0 && busy_no >= 0 && flip >= 0);
	want_errno(LOAD(SKB, OUT, CALL(get_retval), MOV(0, 1), EXIT()), EINVAL);
	want_eq(attach(cg, no, BPF_CGROUP_INET_SOCK_CREATE, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, socket_error), EPERM);
	want_eq(detach(cg, no, BPF_CGROUP_INET_SOCK_CREATE), 0);
	want_eq(attach(cg, busy_no, BPF_CGROUP_INET_SOCK_CREATE, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, socket_error), ENOSR);
	want_eq(detach(cg, busy_no, BPF_CGROUP_INET_SOCK_CREATE), 0);
	want_eq(attach(cg, busy, BPF_CGROUP_INET_SOCK_CREATE, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, socket_error), EBUSY);
	want_eq(attach(cg, no, BPF_CGROUP_INET_SOCK_CREATE, BPF_F_ALLOW_MULTI), 0); /* an error is there already */
	want_eq(in_cgroup(NAME, socket_error), EBUSY);
	want_eq(attach(cg, flip, BPF_CGROUP_INET_SOCK_CREATE, BPF_F_ALLOW_MULTI), 0);
	want_eq(in_cgroup(NAME, socket_error), EDOM);
	want_eq(detach(cg, flip, BPF_CGROUP_INET_SOCK_CREATE), 0);
	want_eq(detach(cg, no, BPF_CGROUP_INET_SOCK_CREATE), 0);
	want_eq(detach(cg, busy, BPF_CGROUP_INET_SOCK_CREATE), 0);
	want_eq(in_cgroup(NAME, socket_error), 0);
	close(no);
	close(busy);
	close(busy_no);
	close(flip);
}

CASE(ends_of_sockets)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	int prog = LOAD(SOCK, BPF_CGROUP_INET_SOCK_RELEASE, ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, m),
			CALL(map_lookup_elem), JMP(JEQ, 0, 0, 2), MOV(1, 1), ATOMIC(D, BPF_ADD, 0, 0, 1), MOV(0, 1),
			EXIT());
	uint32_t k = 0;
	uint64_t v = 0;

	want(m >= 0 && prog >= 0);
	want_eq(attach(cg, prog, BPF_CGROUP_INET_SOCK_RELEASE, 0), 0);
	want_eq(in_cgroup(NAME, send_three), 0);
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v, 1);
	want_eq(detach(cg, prog, BPF_CGROUP_INET_SOCK_RELEASE), 0);
	close(m);
	close(prog);
}

/* ---- control files ---- */

#define FILE_OF_KERNEL "/proc/sys/kernel/domainname"

static char before[64];

static int text_of(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY), n = fd < 0 ? -1 : (int)read(fd, buf, size - 1), e = errno;

	buf[n > 0 ? n : 0] = 0;
	close(fd);
	errno = e;
	return n;
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), n = fd < 0 ? -1 : (int)write(fd, text, strlen(text)), e = errno;

	close(fd);
	errno = e;
	return n;
}

/* Bit 0: cannot be read; 1: cannot be written; 2: reads as from its second letter on; 3: what is written is not "abc".
 */
static int control_file(void)
{
	char buf[64];
	int r = 0;

	if (write_text(FILE_OF_KERNEL, "abc") < 0)
		r |= errno == EPERM ? 2 : 64;
	if (text_of(FILE_OF_KERNEL, buf, sizeof(buf)) < 0)
		r |= errno == EPERM ? 1 : 128;
	else if (!r && strcmp(buf, "abc\n"))
		r |= !strcmp(buf, "bc\n") ? 4 : !strcmp(buf, "xyz\n") ? 8 : 16;
	return r;
}

CASE(control_files)
{
	int T = BPF_CGROUP_SYSCTL;
	int none = verdict(SYSCTL, T, 0);
	int read_only = LOAD(SYSCTL, T, LDX(W, 2, 1, 0), MOV(0, 1), JMP(JEQ, 2, 0, 1), MOV(0, 0), EXIT());
	int later = LOAD(SYSCTL, T, LDX(W, 2, 1, 0), JMP(JNE, 2, 0, 4), LDX(W, 3, 1, 4), JMP(JNE, 3, 0, 2), MOV(2, 1),
			 STX(W, 1, 4, 2), MOV(0, 1), EXIT());
	int other = LOAD(SYSCTL, T, ST(W, 10, -4, 'x' | 'y' << 8 | 'z' << 16), MOVR(2, 10), ALU(ADD, 2, -4), MOV(3, 3),
			 CALL(sysctl_set_new_value), MOV(0, 1), EXIT());

	want(none >= 0 && read_only >= 0 && later >= 0 && other >= 0);
	text_of(FILE_OF_KERNEL, before, sizeof(before));
	want_eq(in_cgroup(NAME, control_file), 0);
	want_eq(attach(cg, none, T, 0), 0);
	want_eq(in_cgroup(NAME, control_file), 3);
	want_eq(control_file(), 0);
	want_eq(attach(cg, read_only, T, 0), 0);
	want_eq(in_cgroup(NAME, control_file), 2);
	want_eq(attach(cg, later, T, 0), 0);
	want_eq(in_cgroup(NAME, control_file), 4);
	want_eq(attach(cg, other, T, 0), 0);
	want_eq(in_cgroup(NAME, control_file), 8);
	want_eq(detach(cg, other, T), 0);
	want_eq(in_cgroup(NAME, control_file), 0);
	close(none);
	close(read_only);
	close(later);
	close(other);
}

struct seen {
	char name[32], base[16], now[16], new[16];
	int64_t lengths[4], cut;
};

static int write_abc(void)
{
	return write_text(FILE_OF_KERNEL, "wxyz") < 0 ? errno : 0;
}

#define ASK(helper, at, room, flags, slot)                                                                             \
	MOVR(1, 6), MOVR(2, 7), ALU(ADD, 2, offsetof(struct seen, at)), MOV(3, room), MOV(4, flags), CALL(helper),     \
		STX(D, 7, offsetof(struct seen, slot), 0)

CASE(control_files_as_programs_see_them)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct seen), 1, 0);
	int prog =
		LOAD(SYSCTL, BPF_CGROUP_SYSCTL, MOVR(6, 1), LDX(W, 8, 6, 0), JMP(JNE, 8, 0, 2), MOV(0, 1), EXIT(),
		     ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, m), CALL(map_lookup_elem),
		     JMP(JNE, 0, 0, 2), MOV(0, 1), EXIT(), MOVR(7, 0), ASK(sysctl_get_name, name, 32, 0, lengths[0]),
		     ASK(sysctl_get_name, base, 16, 1, lengths[1]),
		     ASK(sysctl_get_current_value, now, 16, 0, lengths[2]), ASK(sysctl_get_new_value, new, 3, 0, cut),
		     ASK(sysctl_get_new_value, new, 16, 0, lengths[3]), MOV(0, 1), EXIT());
	struct seen s = { .cut = 1 };
	uint32_t k = 0;

	want(m >= 0 && prog >= 0);
	want_eq(attach(cg, prog, BPF_CGROUP_SYSCTL, 0), 0);
	want_eq(in_cgroup(NAME, write_abc), 0);
	want_eq(map_get(m, &k, &s), 0);
	want_eq(strcmp(s.name, "kernel/domainname"), 0);
	want_eq(strcmp(s.base, "domainname"), 0);
	want_eq(strcmp(s.now, "abc\n"), 0);
	want_eq(strcmp(s.new, "wxyz"), 0);
	want_eq(s.lengths[0], 17);
	want_eq(s.lengths[1], 10);
	want_eq(s.lengths[2], 4);
	want_eq(s.lengths[3], 4);
	want_eq(s.cut, -E2BIG);
	want_eq(detach(cg, prog, BPF_CGROUP_SYSCTL), 0);
	write_text(FILE_OF_KERNEL, before);
	close(m);
	close(prog);
}

/* ---- who it is ---- */

struct who {
	uint64_t cookie, net, cgroup, root, own, beyond, task_own, task_root, uid;
};

#define NOTE(helper, slot)           MOVR(1, 6), CALL(helper), STX(D, 7, offsetof(struct who, slot), 0)
#define NOTE_AT(helper, level, slot) MOVR(1, 6), MOV(2, level), CALL(helper), STX(D, 7, offsetof(struct who, slot), 0)
#define VALUE_OF(m)                                                                                                    \
	ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, m), CALL(map_lookup_elem), JMP(JNE, 0, 0, 2),         \
		MOV(0, 1), EXIT(), MOVR(7, 0)

static uint64_t *shared; /* two words of the child's: its socket's cookie, its network's */

static int send_and_tell(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = 8;
	int s;

	if (setuid(1234))
		return 1;
	s = socket(AF_INET, SOCK_DGRAM, 0);
	getsockopt(s, SOL_SOCKET, 57 /* SO_COOKIE */, &shared[0], &len);
	return sendto(s, "x", 1, 0, (void *)&to, sizeof(to)) == 1 ? 0 : errno;
}

CASE(who_sends)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct who), 1, 0);
	int prog = LOAD(SKB, OUT, MOVR(6, 1), VALUE_OF(m), NOTE(get_socket_cookie, cookie), NOTE(skb_cgroup_id, cgroup),
			NOTE_AT(skb_ancestor_cgroup_id, 0, root), NOTE_AT(skb_ancestor_cgroup_id, 1, own),
			NOTE_AT(skb_ancestor_cgroup_id, 2, beyond), NOTE(get_socket_uid, uid), MOV(0, 1), EXIT());
	struct stat st;
	struct who w;
	uint32_t k = 0;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	want(m >= 0 && prog >= 0 && !stat(tree, &st));
	want_eq(attach(cg, prog, OUT, 0), 0);
	want_eq(in_cgroup(NAME, send_and_tell), 0);
	want_eq(map_get(m, &k, &w), 0);
	want(w.cookie && w.cookie == shared[0]);
	want_eq(w.cgroup, cg_id);
	want_eq(w.root, st.st_ino);
	want_eq(w.own, cg_id);
	want_eq(w.beyond, 0);
	want_eq(w.uid, 1234);
	want_eq(detach(cg, prog, OUT), 0);
	close(m);
	close(prog);
}

CASE(who_makes_a_socket)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct who), 1, 0);
	int prog =
		LOAD(SOCK, BPF_CGROUP_INET_SOCK_CREATE, MOVR(6, 1), VALUE_OF(m), NOTE(get_netns_cookie, net),
		     NOTE(get_current_cgroup_id, task_own), MOV(1, 0), CALL(get_current_ancestor_cgroup_id),
		     STX(D, 7, offsetof(struct who, task_root), 0), NOTE(get_current_uid_gid, uid), MOV(0, 1), EXIT());
	uint64_t net = 0;
	socklen_t len = 8;
	struct stat st;
	struct who w;
	uint32_t k = 0;
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	want(m >= 0 && prog >= 0 && !stat(tree, &st));
	want_eq(getsockopt(s, SOL_SOCKET, 71 /* SO_NETNS_COOKIE */, &net, &len), 0);
	want_eq(attach(cg, prog, BPF_CGROUP_INET_SOCK_CREATE, 0), 0);
	want_eq(in_cgroup(NAME, socket_error), 0);
	want_eq(map_get(m, &k, &w), 0);
	want_eq(w.net, net);
	want_eq(w.task_own, cg_id);
	want_eq(w.task_root, st.st_ino);
	want_eq(w.uid, 0);
	want_eq(detach(cg, prog, BPF_CGROUP_INET_SOCK_CREATE), 0);
	close(m);
	close(prog);
	close(s);
}

/* ---- what programs keep with sockets ---- */

/* BTF of a 4-byte key and an 8-byte value. */
static int two_integers(void)
{
	static const struct {
		struct btf_header h;
		struct btf_type key;
		uint32_t key_bits;
		struct btf_type value;
		uint32_t value_bits;
		char names[10];
	} t = { { .magic = BTF_MAGIC,
		  .version = 1,
		  .hdr_len = sizeof(struct btf_header),
		  .type_len = 2 * (sizeof(struct btf_type) + 4),
		  .str_off = 2 * (sizeof(struct btf_type) + 4),
		  .str_len = 9 },
		{ .name_off = 1, .info = BTF_KIND_INT << 24, .size = 4 },
		BTF_INT_SIGNED << 24 | 32,
		{ .name_off = 5, .info = BTF_KIND_INT << 24, .size = 8 },
		64,
		"\0int\0u64" };

	return bpf(BPF_BTF_LOAD, ATTR(.btf = PTR(&t), .btf_size = sizeof(t.h) + t.h.type_len + t.h.str_len));
}

static int of_sockets(int btf, int flags, int key, int entries)
{
	return bpf(BPF_MAP_CREATE,
		   ATTR(.map_type = BPF_MAP_TYPE_SK_STORAGE, .key_size = key, .value_size = 8, .max_entries = entries,
			.map_flags = flags, .btf_fd = btf, .btf_key_type_id = 1, .btf_value_type_id = 2));
}

static int kept;

static int use_kept(void)
{
	int s = socket(AF_INET, SOCK_DGRAM, 0), other = 0;
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	uint64_t v = 0;

	for (int i = 0; i < 3; i++)
		sendto(s, "x", 1, 0, (void *)&to, sizeof(to));
	if (map_get(kept, &s, &v) || v != 77 + 3)
		return 1;
	v = 5;
	if (map_set(kept, &s, &v, BPF_EXIST) || !map_set(kept, &s, &v, BPF_NOEXIST) || errno != EEXIST)
		return 2;
	sendto(s, "x", 1, 0, (void *)&to, sizeof(to));
	if (map_get(kept, &s, &v) || v != 6)
		return 3;
	if (map_del(kept, &s) || !map_del(kept, &s) || errno != ENOENT || !map_get(kept, &s, &v) || errno != ENOENT)
		return 4;
	sendto(s, "x", 1, 0, (void *)&to, sizeof(to)); /* the other program makes it anew */
	if (map_get(kept, &s, &v) || v != 1)
		return 5;
	other = open("/dev/null", O_RDONLY);
	return !map_get(kept, &other, &v) || errno != ENOTSOCK ? 6 : 0;
}

CASE(storage_of_sockets)
{
	int btf = two_integers(), s = socket(AF_INET, SOCK_DGRAM, 0), none = -1, create, count;
	uint64_t v = 0;

	want(btf >= 0);
	kept = of_sockets(btf, BPF_F_NO_PREALLOC, 4, 0);
	want(kept >= 0);
	want_errno(of_sockets(btf, 0, 4, 0), EINVAL);
	want_errno(of_sockets(btf, BPF_F_NO_PREALLOC, 8, 0), EINVAL);
	want_errno(of_sockets(btf, BPF_F_NO_PREALLOC, 4, 1), EINVAL);
	want_errno(map_new(BPF_MAP_TYPE_SK_STORAGE, 4, 8, 0, BPF_F_NO_PREALLOC), EINVAL);
	create = LOAD(SOCK, BPF_CGROUP_INET_SOCK_CREATE, MOVR(2, 1), ST(D, 10, -8, 77), LDMAP(1, kept), MOVR(3, 10),
		      ALU(ADD, 3, -8), MOV(4, BPF_SK_STORAGE_GET_F_CREATE), CALL(sk_storage_get), MOV(0, 1), EXIT());
	count = LOAD(SKB, OUT, LDX(D, 2, 1, offsetof(struct __sk_buff, sk)), JMP(JEQ, 2, 0, 10), LDMAP(1, kept),
		     MOV(3, 0), MOV(4, BPF_SK_STORAGE_GET_F_CREATE), CALL(sk_storage_get), JMP(JEQ, 0, 0, 2), MOV(1, 1),
		     ATOMIC(D, BPF_ADD, 0, 0, 1), MOV(0, 1), EXIT(), MOV(0, 1), EXIT());
	want(create >= 0);
	want(count >= 0);
	want_eq(attach(cg, create, BPF_CGROUP_INET_SOCK_CREATE, 0), 0);
	want_eq(attach(cg, count, OUT, 0), 0);
	want_eq(in_cgroup(NAME, use_kept), 0);
	want_errno(map_get(kept, &s, &v), ENOENT); /* of another cgroup */
	want_errno(map_get(kept, &none, &v), EBADF);
	want_eq(map_set(kept, &s, &v, BPF_NOEXIST), 0);
	want_errno(map_next(kept, &s, &none), 524 /* ENOTSUPP */);
	want_eq(detach(cg, create, BPF_CGROUP_INET_SOCK_CREATE), 0);
	want_eq(detach(cg, count, OUT), 0);
	close(s);
	close(kept);
	close(create);
	close(count);
	close(btf);
}

static int bloom(int value, int entries, int key, int extra)
{
	return bpf(BPF_MAP_CREATE, ATTR(.map_type = BPF_MAP_TYPE_BLOOM_FILTER, .key_size = key, .value_size = value,
					.max_entries = entries, .map_extra = extra));
}

CASE(bloom_filters)
{
	int m = bloom(8, 1000, 0, 3), prog;
	uint64_t v = 4711, other = 815;

	want(m >= 0);
	want_errno(bloom(8, 0, 0, 0), EINVAL);
	want_errno(bloom(8, 10, 4, 0), EINVAL);
	want_errno(bloom(0, 10, 0, 0), EINVAL);
	want_errno(bloom(8, 10, 0, 16), EINVAL);
	want_errno(map_get(m, NULL, &v), ENOENT);
	want_eq(map_set(m, NULL, &v, BPF_ANY), 0);
	want_errno(map_set(m, NULL, &v, BPF_EXIST), EINVAL);
	want_eq(map_get(m, NULL, &v), 0);
	want_eq(v, 4711);
	want_errno(map_get(m, NULL, &other), ENOENT);
	want_errno(map_del(m, NULL), EOPNOTSUPP);
	want_errno(map_next(m, NULL, &v), EOPNOTSUPP);
	prog = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, LD64(1, 815), STX(D, 10, -8, 1), LDMAP(1, m), MOVR(2, 10),
		    ALU(ADD, 2, -8), MOV(3, 0), CALL(map_push_elem), LDMAP(1, m), MOVR(2, 10), ALU(ADD, 2, -8),
		    CALL(map_peek_elem), EXIT());
	want(prog >= 0);
	want_eq(bpf(BPF_PROG_TEST_RUN,
		    ATTR(.test = { .prog_fd = (uint32_t)prog, .data_in = PTR(tree), .data_size_in = 14 })),
		0);
	want_eq(map_get(m, NULL, &other), 0);
	close(m);
	close(prog);
}

/* ---- connections ---- */

struct moments {
	uint64_t ops[16], states[16]; /* how often; to which state */
	uint64_t port, set, flags_left;
};

/* A connection within the cgroup, a byte each way; then both ends close, the caller's first. Nagle is off: 10. */
static int talk(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(4321),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s, one = 1, off = 0;
	socklen_t len = sizeof(off);
	char b;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (void *)&a, sizeof(a)) || listen(l, 1) || connect(c, (void *)&a, sizeof(a)))
		return errno;
	s = accept(l, NULL, NULL);
	if (write(c, "x", 1) != 1 || read(s, &b, 1) != 1 || write(s, "y", 1) != 1 || read(c, &b, 1) != 1)
		return 99;
	getsockopt(c, IPPROTO_TCP, 1 /* TCP_NODELAY */, &off, &len);
	close(c);
	if (read(s, &b, 1) != 0)
		return 98;
	close(s);
	close(l);
	usleep(20000);
	return off ? 10 : 0;
}

#define BUMP(array) /* value->array[r8]++ */                                                                           \
	JMP(JGT, 8, 15, 5), MOVR(2, 8), ALU(LSH, 2, 3), ALUR(ADD, 2, 7), MOV(3, 1),                                    \
		ATOMIC(D, BPF_ADD, 2, offsetof(struct moments, array), 3)
#define OPS(f) offsetof(struct bpf_sock_ops, f)

CASE(connections)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct moments), 1, 0);
	int prog = LOAD(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, MOVR(6, 1), VALUE_OF(m), LDX(W, 8, 6, OPS(op)),
			BUMP(ops), LDX(W, 8, 6, OPS(op)), JMP(JNE, 8, BPF_SOCK_OPS_STATE_CB, 9),
			LDX(W, 8, 6, OPS(args) + 4), BUMP(states), MOV(0, 1), EXIT(),
			JMP(JNE, 8, BPF_SOCK_OPS_TCP_CONNECT_CB, 15), LDX(W, 2, 6, OPS(remote_port)),
			STX(D, 7, offsetof(struct moments, port), 2), MOVR(1, 6), MOV(2, 0xff),
			CALL(sock_ops_cb_flags_set), STX(D, 7, offsetof(struct moments, flags_left), 0),
			ST(W, 10, -8, 1), MOVR(1, 6), MOV(2, IPPROTO_TCP), MOV(3, 1), MOVR(4, 10), ALU(ADD, 4, -8),
			MOV(5, 4), CALL(setsockopt), STX(D, 7, offsetof(struct moments, set), 0), MOV(0, 1), EXIT());
	struct moments v;
	uint32_t k = 0;

	want(m >= 0 && prog >= 0);
	want_eq(in_cgroup(NAME, talk), 0);
	want_eq(attach(cg, prog, BPF_CGROUP_SOCK_OPS, 0), 0);
	want_eq(in_cgroup(NAME, talk), 10);
	want_eq(map_get(m, &k, &v), 0);
	want_eq(v.ops[BPF_SOCK_OPS_TCP_LISTEN_CB], 1);
	want_eq(v.ops[BPF_SOCK_OPS_TCP_CONNECT_CB], 1);
	want_eq(v.ops[BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB], 1);
	want_eq(v.ops[BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB], 1);
	want_eq(v.ops[BPF_SOCK_OPS_TIMEOUT_INIT], 2);
	want_eq(v.ops[BPF_SOCK_OPS_RWND_INIT], 2);
	want(v.ops[BPF_SOCK_OPS_RTT_CB] >= 1);
	want_eq(v.ops[BPF_SOCK_OPS_RETRANS_CB], 0);
	want_eq(v.states[BPF_TCP_ESTABLISHED], 1); /* the caller's alone: the flags came too late for the listener */
	want_eq(v.states[BPF_TCP_FIN_WAIT1], 1);
	want_eq(v.states[BPF_TCP_FIN_WAIT2], 1);
	want_eq(ntohl((uint32_t)v.port), 4321);
	want_eq(v.flags_left, 0x80);
	want_eq(v.set, 0);
	want_eq(detach(cg, prog, BPF_CGROUP_SOCK_OPS), 0);
	want_eq(in_cgroup(NAME, talk), 0);
	close(m);
	close(prog);
}

CASE(helpers_of_some_hooks_only)
{
	int D = BPF_PROG_TYPE_CGROUP_DEVICE, A = BPF_PROG_TYPE_CGROUP_SOCK_ADDR, O = BPF_PROG_TYPE_CGROUP_SOCKOPT;
	struct bpf_insn ret[] = { CALL(get_retval), MOV(0, 1), EXIT() };
	struct bpf_insn opt[] = { LDX(D, 1, 1, 0),  MOV(2, 1), MOV(3, 12),       MOVR(4, 10), ALU(ADD, 4, -8),
				  ST(D, 10, -8, 0), MOV(5, 4), CALL(setsockopt), MOV(0, 1),   EXIT() };
	struct bpf_insn bind[] = { ST(D, 10, -16, 0), ST(D, 10, -8, 0), MOVR(2, 10), ALU(ADD, 2, -16),
				   MOV(3, 16),        CALL(bind),       MOV(0, 1),   EXIT() };

	want(prog_load(D, BPF_CGROUP_DEVICE, ret, 3) >= 0);
	want_errno(prog_load(D, 0, ret, 3), EINVAL);
	want(prog_load(SYSCTL, BPF_CGROUP_SYSCTL, ret, 3) >= 0);
	want(prog_load(A, BPF_CGROUP_INET4_BIND, ret, 3) >= 0);
	want_errno(prog_load(A, BPF_CGROUP_UDP4_RECVMSG, ret, 3), EINVAL);
	want_errno(prog_load(A, BPF_CGROUP_INET6_GETSOCKNAME, ret, 3), EINVAL);
	want_errno(prog_load(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, ret, 3), EINVAL);
	want(prog_load(A, BPF_CGROUP_INET4_CONNECT, bind, 8) >= 0);
	want_errno(prog_load(A, BPF_CGROUP_INET4_BIND, bind, 8), EINVAL);
	want(prog_load(O, BPF_CGROUP_SETSOCKOPT, opt, 10) >= 0);
	want_errno(prog_load(O, BPF_CGROUP_GETSOCKOPT, opt, 10), EINVAL);
}

struct picture {
	uint64_t mss, mss_of_ctx;
};

CASE(pictures_of_connections)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, sizeof(struct picture), 1, 0);
	int prog = LOAD(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, MOVR(6, 1), VALUE_OF(m), LDX(W, 8, 6, OPS(op)),
			JMP(JEQ, 8, BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, 2), MOV(0, 1), EXIT(),
			LDX(W, 2, 6, OPS(mss_cache)), STX(D, 7, 8, 2), LDX(D, 1, 6, OPS(sk)), JMP(JNE, 1, 0, 2),
			MOV(0, 1), EXIT(), CALL(tcp_sock), JMP(JNE, 0, 0, 2), MOV(0, 1), EXIT(),
			LDX(W, 2, 0, offsetof(struct bpf_tcp_sock, mss_cache)), STX(D, 7, 0, 2), MOV(0, 1), EXIT());
	struct picture v = { 0 };
	uint32_t k = 0;

	want(m >= 0 && prog >= 0);
	want_eq(attach(cg, prog, BPF_CGROUP_SOCK_OPS, 0), 0);
	want_eq(in_cgroup(NAME, talk), 0);
	want_eq(map_get(m, &k, &v), 0);
	want(v.mss > 1000 && v.mss == v.mss_of_ctx);
	want_eq(detach(cg, prog, BPF_CGROUP_SOCK_OPS), 0);
	close(m);
	close(prog);
}

/* ---- tail calls ---- */

CASE(tail_calls_between_kinds)
{
	int progs = map_new(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0);
	int caller = LOAD(SKB, OUT, LDMAP(2, progs), MOV(3, 0), CALL(tail_call), MOV(0, 1), EXIT());
	int same = verdict(SKB, OUT, 1), other_hook = verdict(SKB, IN, 1),
	    other_type = verdict(BPF_PROG_TYPE_XDP, 0, 1);
	int m = map_new(BPF_MAP_TYPE_CGROUP_STORAGE, 8, 8, 0, 0), stores = LOAD(SKB, OUT, COUNT(m), MOV(0, 1), EXIT());
	uint32_t k = 0;

	want(progs >= 0 && caller >= 0 && same >= 0 && other_hook >= 0 && other_type >= 0 && stores >= 0);
	want_eq(map_set(progs, &k, &same, 0), 0);
	want_errno(map_set(progs, &k, &other_hook, 0), EINVAL);
	want_errno(map_set(progs, &k, &other_type, 0), EINVAL);
	want_errno(map_set(progs, &k, &stores, 0), EINVAL);
	want_errno(LOAD(BPF_PROG_TYPE_XDP, 0, LDMAP(2, progs), MOV(3, 0), CALL(tail_call), MOV(0, 1), EXIT()), EINVAL);
	close(progs);
	close(caller);
	close(same);
	close(other_hook);
	close(other_type);
	close(m);
	close(stores);
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
	RUN(storage_maps);
	RUN(storage_of_each_hook);
	RUN(storage_shared_by_hooks);
	RUN(storage_of_each_cpu);
	RUN(storage_ends_with_the_cgroup);
	RUN(results);
	RUN(ends_of_sockets);
	RUN(control_files);
	RUN(control_files_as_programs_see_them);
	RUN(who_sends);
	RUN(who_makes_a_socket);
	RUN(storage_of_sockets);
	RUN(bloom_filters);
	RUN(connections);
	RUN(pictures_of_connections);
	RUN(helpers_of_some_hooks_only);
	RUN(tail_calls_between_kinds);
	RUN(leave);
	return abi_status();
}
