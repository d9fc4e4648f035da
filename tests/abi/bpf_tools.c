/* SPDX-License-Identifier: MIT
 *
 * Problem: bpftool and libbpf read and write maps many elements at a time, count runs, and show programs with their
 * lines and functions.
 *
 * Idea: each command with room for all, for some and for none, on an array, a hash map and a trie.
 *
 * Contract: prints ok or not ok for each case, with the same result on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include <linux/btf.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include "bpf.h"

#define N              40
#define ENOTSUP_KERNEL 524

static uint32_t keys[N * 2];
static uint64_t values[N * 2];

static int batch(int cmd, int fd, void *in, void *out, uint32_t *count, uint64_t elem_flags)
{
	union bpf_attr a = { .batch = { .in_batch = PTR(in),
					.out_batch = PTR(out),
					.keys = PTR(keys),
					.values = PTR(values),
					.count = *count,
					.map_fd = (uint32_t)fd,
					.elem_flags = elem_flags } };
	int r = bpf(cmd, &a), e = errno;

	*count = a.batch.count;
	errno = e;
	return r;
}

static void fill(uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		keys[i] = i;
		values[i] = 1000 + i;
	}
}

/* Every key below n once, each with its value. */
static int complete(uint32_t n)
{
	uint64_t seen = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (keys[i] >= n || values[i] != 1000 + keys[i] || seen >> keys[i] & 1)
			return 0;
		seen |= 1ULL << keys[i];
	}
	return 1;
}

CASE(batches_of_an_array)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, 8, N, 0);
	uint32_t n = N, at;

	want(m >= 0);
	fill(N);
	want_eq(batch(BPF_MAP_UPDATE_BATCH, m, NULL, NULL, &n, 0), 0);
	want_eq(n, N);
	memset(values, 0, sizeof(values));
	n = 30;
	want_eq(batch(BPF_MAP_LOOKUP_BATCH, m, NULL, &at, &n, 0), 0);
	want_eq(n, 30);
	want_eq(at, 29);
	n = 30;
	want_errno(batch(BPF_MAP_LOOKUP_BATCH, m, &at, &at, &n, 0), ENOENT);
	want_eq(n, 10);
	want_eq(keys[9], N - 1);
	want_eq(values[9], 1000 + N - 1);
	n = 0;
	want_eq(batch(BPF_MAP_LOOKUP_BATCH, m, NULL, &at, &n, 0), 0);
	n = 2;
	want_errno(batch(BPF_MAP_DELETE_BATCH, m, NULL, NULL, &n, 0), ENOTSUP_KERNEL);
	want_errno(batch(BPF_MAP_LOOKUP_AND_DELETE_BATCH, m, NULL, &at, &n, 0), ENOTSUP_KERNEL);
	want_errno(batch(BPF_MAP_LOOKUP_BATCH, m, NULL, &at, &n, 1), EINVAL);
	fill(2);
	keys[1] = N; /* beyond the end: one is done */
	n = 2;
	want_errno(batch(BPF_MAP_UPDATE_BATCH, m, NULL, NULL, &n, 0), E2BIG);
	want_eq(n, 1);
	close(m);
}

CASE(batches_of_a_hash_map)
{
	int m = map_new(BPF_MAP_TYPE_HASH, 4, 8, N, 0);
	uint32_t n = N, at, more, one = 1;
	uint64_t v;

	want(m >= 0);
	fill(N);
	want_eq(batch(BPF_MAP_UPDATE_BATCH, m, NULL, NULL, &n, 0), 0);
	memset(values, 0, sizeof(values));
	n = 2 * N;
	want_errno(batch(BPF_MAP_LOOKUP_BATCH, m, NULL, &at, &n, 0), ENOENT);
	want_eq(n, N);
	want(complete(N));
	n = 20; /* whole buckets, as many as fit */
	want_eq(batch(BPF_MAP_LOOKUP_BATCH, m, NULL, &at, &n, 0), 0);
	want(n > 0 && n <= 20);
	more = 2 * N;
	want_errno(batch(BPF_MAP_LOOKUP_BATCH, m, &at, &at, &more, 0), ENOENT);
	want_eq(n + more, N);
	fill(3);
	n = 3;
	want_eq(batch(BPF_MAP_DELETE_BATCH, m, NULL, NULL, &n, 0), 0);
	want_eq(n, 3);
	n = 3;
	want_errno(batch(BPF_MAP_DELETE_BATCH, m, NULL, NULL, &n, 0), ENOENT);
	want_eq(n, 0);
	want_errno(map_get(m, &one, &v), ENOENT);
	n = 2 * N;
	want_errno(batch(BPF_MAP_LOOKUP_AND_DELETE_BATCH, m, NULL, &at, &n, 0), ENOENT);
	want_eq(n, N - 3);
	want_errno(map_next(m, NULL, &at), ENOENT);
	close(m);
}

CASE(walk_of_a_trie)
{
	struct {
		uint32_t bits, addr;
	} key = { 0, 0 }, *last = NULL, next;
	int t = map_new(BPF_MAP_TYPE_LPM_TRIE, 8, 8, N, BPF_F_NO_PREALLOC), n = 0;
	uint64_t v = 1;

	want(t >= 0);
	for (uint32_t i = 0; i < 20; i++) {
		key.bits = i % 2 ? 32 : i;
		key.addr = i * 0x01234567;
		want_eq(map_set(t, &key, &v, 0), 0);
	}
	for (; !map_next(t, last, &next) && n < 100; n++) {
		key = next;
		last = &key;
	}
	want_eq(n, 20);
	close(t);
}

CASE(batches_of_others)
{
	struct {
		uint32_t bits, addr;
	} trie_key = { 32, 7 };
	int t = map_new(BPF_MAP_TYPE_LPM_TRIE, 8, 8, N, BPF_F_NO_PREALLOC), q = map_new(BPF_MAP_TYPE_QUEUE, 0, 8, N, 0);
	uint64_t v = 5, at;
	uint32_t n = 4;

	want(t >= 0 && q >= 0);
	want_eq(map_set(t, &trie_key, &v, 0), 0);
	want_errno(batch(BPF_MAP_LOOKUP_BATCH, t, NULL, &at, &n, 0), ENOENT);
	want_eq(n, 1);
	want_eq(values[0], 5);
	want_errno(batch(BPF_MAP_LOOKUP_BATCH, q, NULL, &at, &n, 0), ENOTSUP_KERNEL);
	close(t);
	close(q);
}

/* ---- statistics and information ---- */

static int run_five(int prog)
{
	static const char packet[64];

	return bpf(BPF_PROG_TEST_RUN, ATTR(.test = { .prog_fd = (uint32_t)prog,
						     .data_in = PTR(packet),
						     .data_size_in = sizeof(packet),
						     .repeat = 5 }));
}

static struct bpf_prog_info info_of(int prog)
{
	struct bpf_prog_info i = { 0 };

	if (bpf(BPF_OBJ_GET_INFO_BY_FD, ATTR(.info = { (uint32_t)prog, sizeof(i), PTR(&i) })))
		abi_fail("information");
	return i;
}

CASE(statistics)
{
	int prog = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, MOV(0, 1), EXIT()), on, on2;

	want(prog >= 0);
	want_errno(bpf(BPF_ENABLE_STATS, ATTR(.enable_stats.type = 7)), EINVAL);
	on = bpf(BPF_ENABLE_STATS, ATTR(.enable_stats.type = BPF_STATS_RUN_TIME));
	on2 = bpf(BPF_ENABLE_STATS, ATTR(.enable_stats.type = BPF_STATS_RUN_TIME));
	want(on >= 0 && on2 >= 0);
	close(on2);
	want_eq(run_five(prog), 0);
	want_eq(info_of(prog).run_cnt, 5);
	want(info_of(prog).run_time_ns > 0);
	close(on);
	want_eq(run_five(prog), 0);
	want_eq(info_of(prog).run_cnt, 5);
	close(prog);
}

static int bind_map(int prog, int map, unsigned flags)
{
	return bpf(BPF_PROG_BIND_MAP, ATTR(.prog_bind_map = { (uint32_t)prog, (uint32_t)map, flags }));
}

CASE(bound_maps)
{
	int m = map_new(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0), other = map_new(BPF_MAP_TYPE_HASH, 4, 8, 1, 0);
	int prog = LOAD(BPF_PROG_TYPE_SOCKET_FILTER, 0, LDMAP(1, other), MOV(0, 1), EXIT());
	struct bpf_map_info i = { 0 };
	uint32_t id;

	want(m >= 0 && other >= 0 && prog >= 0);
	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD, ATTR(.info = { (uint32_t)m, sizeof(i), PTR(&i) })), 0);
	id = i.id;
	want_eq(info_of(prog).nr_map_ids, 1);
	want_errno(bind_map(prog, m, 1), EINVAL);
	want_errno(bind_map(prog, -1, 0), EBADF);
	want_errno(bind_map(-1, m, 0), EBADF);
	want_eq(bind_map(prog, m, 0), 0);
	want_eq(info_of(prog).nr_map_ids, 2);
	want_eq(bind_map(prog, m, 0), 0); /* it is there already */
	want_eq(bind_map(prog, other, 0), 0);
	want_eq(info_of(prog).nr_map_ids, 2);
	close(m);
	m = bpf(BPF_MAP_GET_FD_BY_ID, ATTR(.map_id = id));
	want(m >= 0); /* the program keeps it */
	close(m);
	close(prog);
	close(other);
}

/* BTF of one function, int f(void), and a line of it. */
struct types {
	struct btf_header h;
	struct btf_type integer;
	uint32_t integer_bits;
	struct btf_type proto, func;
	char text[32];
};

CASE(lines_and_functions)
{
	struct types t = { .h = { BTF_MAGIC, BTF_VERSION, 0, sizeof(t.h), 0, 40, 40, sizeof(t.text) },
			   .integer = { 1, BTF_KIND_INT << 24, { 4 } },
			   .integer_bits = BTF_INT_SIGNED << 24 | 32,
			   .proto = { 0, BTF_KIND_FUNC_PROTO << 24, { 1 } },
			   .func = { 5, BTF_KIND_FUNC << 24, { 2 } },
			   .text = "\0int\0f\0a.c\0return 1;" };
	int btf = bpf(BPF_BTF_LOAD, ATTR(.btf = PTR(&t), .btf_size = sizeof(t)));
	struct bpf_insn insns[] = { MOV(0, 1), EXIT() };
	struct bpf_func_info f = { 0, 3 };
	struct bpf_line_info l[2] = { { 0, 7, 11, 3 << 10 | 1 }, { 1, 7, 11, 4 << 10 | 1 } };
	int prog = bpf(BPF_PROG_LOAD, ATTR(.prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = PTR(insns), .insn_cnt = 2,
					   .license = PTR("GPL"), .prog_btf_fd = (uint32_t)btf, .func_info = PTR(&f),
					   .func_info_cnt = 1, .func_info_rec_size = sizeof(f), .line_info = PTR(l),
					   .line_info_cnt = 2, .line_info_rec_size = sizeof(*l)));
	struct bpf_func_info f2[2] = { { 0 } };
	struct bpf_line_info l2[4] = { { 0 } };
	uint64_t symbols[4] = { 0 }, places[4] = { 0 };
	uint32_t lengths[4] = { 0 };
	uint8_t tags[4][BPF_TAG_SIZE], code[256] = { 0 };
	struct bpf_prog_info i = { .func_info = PTR(f2),
				   .nr_func_info = 2,
				   .func_info_rec_size = sizeof(f),
				   .line_info = PTR(l2),
				   .nr_line_info = 4,
				   .line_info_rec_size = sizeof(*l),
				   .jited_ksyms = PTR(symbols),
				   .nr_jited_ksyms = 4,
				   .jited_func_lens = PTR(lengths),
				   .nr_jited_func_lens = 4,
				   .jited_line_info = PTR(places),
				   .nr_jited_line_info = 4,
				   .jited_line_info_rec_size = 8,
				   .prog_tags = PTR(tags),
				   .nr_prog_tags = 4,
				   .jited_prog_insns = PTR(code),
				   .jited_prog_len = sizeof(code) };

	want(btf >= 0 && prog >= 0);
	want_eq(bpf(BPF_OBJ_GET_INFO_BY_FD, ATTR(.info = { (uint32_t)prog, sizeof(i), PTR(&i) })), 0);
	want(i.nr_func_info == 1 && i.func_info_rec_size == 8 && !memcmp(&f2[0], &f, sizeof(f)));
	want(i.nr_line_info == 2 && i.line_info_rec_size == 16 && !memcmp(l2, l, sizeof(l)));
	want_eq(i.nr_prog_tags, 1);
	want_eq(memcmp(tags[0], i.tag, BPF_TAG_SIZE), 0);
	want(i.btf_id != 0);
	want_eq(i.nr_jited_ksyms, 1);
	want_eq(i.nr_jited_func_lens, 1);
	want_eq(lengths[0], i.jited_prog_len);
	want_eq(i.nr_jited_line_info, 2);
	want(symbols[0] && places[0] == symbols[0] && places[1] > places[0] && places[1] < symbols[0] + lengths[0]);
	want(memchr(code, 0xc3, sizeof(code))); /* ret */
	close(prog);
	close(btf);
}

/* ---- samples of programs ---- */

struct sample {
	struct perf_event_header h;
	uint32_t size;
	uint32_t first, second, padding;
};

CASE(samples)
{
	int m = map_new(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 64, 0);
	struct perf_event_attr attr = { .type = PERF_TYPE_SOFTWARE,
					.size = sizeof(attr),
					.config = PERF_COUNT_SW_BPF_OUTPUT,
					.sample_type = PERF_SAMPLE_RAW,
					.sample_period = 1,
					.wakeup_events = 1 };
	int ev = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	char *ring = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ev, 0);
	struct perf_event_mmap_page *page = (void *)ring;
	int prog =
		LOAD(BPF_PROG_TYPE_CGROUP_SKB, 0, MOVR(6, 1), ST(W, 10, -8, 77), LDMAP(2, m), MOV32(3, 0), MOVR(4, 10),
		     ALU(ADD, 4, -8), MOV(5, 4), LD64(0, (uint64_t)4 << 32), ALUR(OR, 3, 0), CALL(perf_event_output),
		     ALU(AND, 0, 0xff), MOVR(1, 0), MOV(0, 1), JMP(JEQ, 1, 0, 1), MOV(0, 0), EXIT());
	static char packet[64] = { [14] = 'p', 'k', 't', '!' };
	struct sample *s = (void *)(ring + 4096);
	union bpf_attr run = {
		.test = { .prog_fd = (uint32_t)prog, .data_in = PTR(packet), .data_size_in = sizeof(packet) }
	};
	uint32_t k = 0, v = (uint32_t)m;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	want(m >= 0 && ev >= 0 && ring != MAP_FAILED && prog >= 0);
	want_errno(map_set(m, &k, &v, 0), EBADF); /* no event */
	v = (uint32_t)ev;
	want_errno(map_get(m, &k, &v), ENOTSUP_KERNEL);
	want_eq(bpf(BPF_PROG_TEST_RUN, &run), 0);
	want_eq(run.test.retval, 0); /* nothing in the slot */
	v = (uint32_t)ev;
	want_eq(map_set(m, &k, &v, 0), 0);
	want_eq(bpf(BPF_PROG_TEST_RUN, &run), 0);
	want_eq(run.test.retval, 1);
	want_eq(poll(&(struct pollfd){ ev, POLLIN, 0 }, 1, 5000), 1);
	want_eq(page->data_head, sizeof(*s));
	want(s->h.type == PERF_RECORD_SAMPLE && s->h.size == sizeof(*s));
	want_eq(s->size, 12);
	want_eq(s->first, 77);
	want_eq(memcmp(&s->second, "pkt!", 4), 0);
	want_eq(map_del(m, &k), 0);
	want_errno(map_del(m, &k), ENOENT);
	close(m);
	close(ev);
	close(prog);
}

int main(void)
{
	RUN(batches_of_an_array);
	RUN(batches_of_a_hash_map);
	RUN(walk_of_a_trie);
	RUN(batches_of_others);
	RUN(statistics);
	RUN(bound_maps);
	RUN(lines_and_functions);
	RUN(samples);
	return abi_status();
}
