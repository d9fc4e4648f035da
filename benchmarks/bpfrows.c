/* SPDX-License-Identifier: MIT
 *
 * Problem: are our verifier and our compiler as good as those of the Linux that this machine runs?
 *
 * Idea: the same instructions through both, in turns, best of many rounds, so that other load disturbs neither more.
 * Verifying: bpf_prog_new in this process beside the verification time that Linux writes into the log (log_level 4).
 * Running: our compiled code in this process beside BPF_PROG_TEST_RUN, nanoseconds a run of the same packet.
 *
 * Contract: linked with the pure cores (benchmarks/bpf does it). Needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN on the
 * host. Prints "verify NAME ours linux", microseconds, then "run NAME ours linux", nanoseconds; "-" where Linux
 * refuses.
 *
 * Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <bpf/asm.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <bpf/map.h>
#include <bpf/prog.h>
#include <bpf/syscall.h>

#define LENGTH  10000
#define ROUNDS  30
#define SAMPLES 1000
#define REPEAT  100 /* runs a sample: short, so that some samples are not interrupted */
#define MAPS    2

static struct bpf_insn code[LENGTH * 2];
static u32 len;
static struct bpf_map *our_map[MAPS];
static int linux_map[MAPS];

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static void put(const struct bpf_insn *insns, u32 n)
{
	memcpy(code + len, insns, n * sizeof(*insns));
	len += n;
}
#define PUT(...)                                                                                                       \
	put((const struct bpf_insn[]){ __VA_ARGS__ },                                                                  \
	    sizeof((struct bpf_insn[]){ __VA_ARGS__ }) / sizeof(struct bpf_insn))

/* ---- long programs, to be verified ----------------------------------------------------------------------------- */

static void arithmetic(void)
{
	static const u8 ops[] = { BPF_ADD, BPF_XOR, BPF_AND, BPF_OR, BPF_LSH, BPF_SUB, BPF_MUL, BPF_RSH };

	PUT(LDX(W, 6, 1, 0), MOVR(7, 6), MOV(8, 3));
	for (u32 i = 0; len < LENGTH - 2; i++)
		PUT(BI(BPF_ALU64 | ops[i % 8], 6 + i % 3, 0, 0, 1 + i % 13));
	PUT(MOV(0, 1), EXIT());
}

/* A packet's bytes decide at every sixth instruction; the ways meet again. */
static void branches(void)
{
	PUT(LDX(W, 2, 1, 76), LDX(W, 3, 1, 80), MOVR(4, 2), ALU(ADD, 4, 64), MOV(0, 1), JMPR(JLE, 4, 3, 1), EXIT(),
	    MOV(6, 0));
	for (u32 i = 0; len < LENGTH - 8; i++)
		PUT(LDX(B, 5, 2, i % 64), JMP(JGT, 5, i % 200, 2), ALUR(ADD, 6, 5), ALU(AND, 6, 0xffff), ALU(XOR, 6, 3),
		    STX(D, 10, -8 - 8 * (s16)(i % 8), 6));
	PUT(MOV(0, 1), EXIT());
}

static void look_ups(void)
{
	PUT(MOVR(6, 1));
	for (u32 i = 0; len < LENGTH - 16; i++)
		PUT(MOV(1, i % 5), STX(W, 10, -4, 1), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, i % MAPS),
		    CALL(map_lookup_elem), JMP(JEQ, 0, 0, 3), LDX(D, 1, 0, 0), ALU(ADD, 1, 1), STX(D, 0, 0, 1));
	PUT(MOV(0, 1), EXIT());
}

static void loop_of_ten(void)
{
	PUT(LDX(W, 6, 1, 0), MOV(7, 0));
	for (u32 i = 0; i < 7; i++)
		PUT(ALU(ADD, 6, (s32)i));
	PUT(ALU(ADD, 7, 1), JMP(JLT, 7, LENGTH / 10, -9), MOV(0, 1), EXIT());
}

static void calls(void)
{
	u32 nr = 400, sub = nr * 5 + 2;

	for (u32 i = 0; i < nr; i++)
		PUT(MOV(1, (s32)i), MOVR(2, 1), ALU(ADD, 2, 2), CALLSUB((s32)(sub - (i * 5 + 4))), MOVR(6, 0));
	PUT(MOV(0, 1), EXIT());
	for (u32 i = 0; i < 9; i++)
		PUT(ALUR(ADD, 1, 2), ALU(XOR, 1, 7));
	PUT(MOVR(0, 1), EXIT());
}

/* ---- short programs, to be run ----------------------------------------------------------------------------------- */

static void run_arithmetic(void)
{
	PUT(LDX(W, 6, 1, 0), MOV(7, 0));
	for (u32 i = 0; i < 4; i++)
		PUT(ALU(MUL, 6, 13), ALU(ADD, 6, 7), ALUR(XOR, 6, 7), ALU(RSH, 6, 1), ALU32(LSH, 6, 3),
		    ALUR(SUB, 6, 7));
	PUT(ALU(ADD, 7, 1), JMP(JLT, 7, 100, -26), MOVR(0, 6), ALU(AND, 0, 1), EXIT());
}

static void run_divide(void)
{
	PUT(LDX(W, 6, 1, 0), MOV(7, 1), MOVR(8, 6), ALUR(DIV, 8, 7), MOVR(9, 6), ALUR(MOD, 9, 7), ALUR(ADD, 6, 8),
	    ALU(ADD, 7, 1), JMP(JLT, 7, 100, -7), MOVR(0, 6), ALU(AND, 0, 1), EXIT());
}

static void run_packet(void)
{
	PUT(LDX(W, 2, 1, 76), LDX(W, 3, 1, 80), MOVR(4, 2), ALU(ADD, 4, 50), MOV(0, 1), JMPR(JLE, 4, 3, 1), EXIT(),
	    MOV(6, 0));
	for (u32 i = 0; i < 48; i += 2)
		PUT(LDX(H, 5, 2, (s16)i), BSWAP(5, 16), ALUR(ADD, 6, 5));
	PUT(MOVR(0, 6), ALU(RSH, 0, 16), ALUR(ADD, 0, 6), ALU(AND, 0, 1), EXIT());
}

static void run_stack(void)
{
	PUT(LDX(W, 6, 1, 0));
	for (s16 i = 1; i <= 32; i++)
		PUT(STX(D, 10, (s16)(-8 * i), 6), ALU(ADD, 6, 1));
	PUT(MOV(7, 0));
	for (s16 i = 1; i <= 32; i++)
		PUT(LDX(D, 5, 10, (s16)(-8 * i)), ALUR(ADD, 7, 5));
	PUT(MOVR(0, 7), ALU(AND, 0, 1), EXIT());
}

static void count_in(u32 map)
{
	for (u32 i = 0; i < 8; i++)
		PUT(MOV(1, (s32)(i % 4)), STX(W, 10, -4, 1), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, map),
		    CALL(map_lookup_elem), JMP(JEQ, 0, 0, 2), MOV(1, 1), ATOMIC(D, BPF_ADD, 0, 0, 1));
	PUT(MOV(0, 1), EXIT());
}

static void run_array(void)
{
	count_in(0);
}

static void run_hash(void)
{
	count_in(1);
}

static void run_calls(void)
{
	PUT(MOV(6, 0), MOV(7, 0), MOVR(1, 6), CALLSUB(5), MOVR(6, 0), ALU(ADD, 7, 1), JMP(JLT, 7, 50, -5), MOV(0, 1),
	    EXIT(), MOVR(0, 1), ALU(MUL, 0, 3), ALU(ADD, 0, 1), EXIT());
}

/* ---- both sides ----------------------------------------------------------------------------------------------------
 */

static struct bpf_map *find_map(void *arg, s32 idx, bool by_index)
{
	return our_map[idx];
}

static long bpf(int cmd, union bpf_attr *a)
{
	return syscall(SYS_bpf, cmd, a, sizeof(*a));
}

static void make_maps(void)
{
	for (u32 i = 0; i < MAPS; i++) {
		union bpf_attr a = { .map_type = i ? BPF_MAP_TYPE_HASH : BPF_MAP_TYPE_ARRAY,
				     .key_size = 4,
				     .value_size = 8,
				     .max_entries = 64 };

		if (bpf_map_new(&a, NULL, &our_map[i]))
			exit(1);
		linux_map[i] = (int)bpf(BPF_MAP_CREATE, &a);
		for (u32 key = 0; key < 4; key++) {
			u64 value = 0;
			union bpf_attr u = { .map_fd = (u32)linux_map[i], .key = (u64)&key, .value = (u64)&value };

			(void)bpf(BPF_MAP_UPDATE_ELEM, &u);
			(void)!bpf_map_copy_in(our_map[i], &key, &value, BPF_ANY);
		}
	}
}

static struct bpf_prog *load_ours(void)
{
	struct bpf_load l = { .insns = code,
			      .len = len,
			      .type = BPF_PROG_TYPE_SCHED_CLS,
			      .gpl = true,
			      .rights = { true, true, true, true },
			      .find_map = find_map };
	struct bpf_prog *prog = NULL;
	int err = bpf_prog_new(&l, &prog);

	if (err) {
		fprintf(stderr, "our verifier: %d\n", err);
		exit(1);
	}
	return prog;
}

/* *us: the verification's time as Linux tells it. A descriptor, or negative. */
static int load_linux(u64 *us)
{
	static struct bpf_insn copy[LENGTH * 2];
	static char log[4096];
	union bpf_attr a = { .prog_type = BPF_PROG_TYPE_SCHED_CLS,
			     .insns = (u64)copy,
			     .insn_cnt = len,
			     .license = (u64) "GPL",
			     .log_level = 4,
			     .log_buf = (u64)log,
			     .log_size = sizeof(log) };
	const char *at;
	int fd;

	memcpy(copy, code, len * sizeof(*code));
	for (u32 i = 0; i < len; i++)
		if (copy[i].code == (BPF_LD | BPF_IMM | BPF_DW) && copy[i].src_reg == BPF_PSEUDO_MAP_FD)
			copy[i].imm = linux_map[copy[i].imm];
	log[0] = 0;
	fd = (int)bpf(BPF_PROG_LOAD, &a);
	at = strstr(log, "verification time ");
	*us = at ? strtoull(at + 18, NULL, 10) : ~0ULL;
	return fd;
}

static void show(const char *what, const char *name, u64 ours, u64 theirs)
{
	if (theirs == ~0ULL)
		printf("%s %s %llu -\n", what, name, (unsigned long long)ours);
	else
		printf("%s %s %llu %llu\n", what, name, (unsigned long long)ours, (unsigned long long)theirs);
	fflush(stdout);
}

static void verify_row(const char *name, void (*make)(void))
{
	u64 ours = ~0ULL, theirs = ~0ULL;

	len = 0;
	make();
	for (u32 i = 0; i < ROUNDS; i++) {
		u64 start = now(), us;
		struct bpf_prog *prog = load_ours();
		int fd;

		ours = min(ours, now() - start);
		bpf_prog_put(prog);
		fd = load_linux(&us);
		theirs = min(theirs, us);
		if (fd >= 0)
			close(fd);
	}
	show("verify", name, ours / 1000, theirs);
}

static void compile(struct bpf_prog *prog)
{
	int room = bpf_jit_x86(prog, NULL, 0, 0, NULL, false);
	u8 *page = mmap(NULL, (size_t)room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room <= 0 || page == MAP_FAILED ||
	    bpf_jit_x86(prog, page, (u32)room, (u64)page, &prog->tail_off, false) <= 0)
		exit(1);
	mprotect(page, (size_t)room, PROT_READ | PROT_EXEC);
	prog->jited = (u64(*)(const void *))page;
}

/* Nanoseconds a run, in tenths. */
static u64 time_ours(const struct bpf_prog *prog, const u8 *packet, u32 bytes)
{
	struct bpf_skb_ctx c = { .data = (u8 *)packet,
				 .data_end = (u8 *)packet + bytes,
				 .data_meta = (u8 *)packet,
				 .mac = (u8 *)packet,
				 .net = (u8 *)packet,
				 .len = bytes };
	u64 start = now();

	for (u32 i = 0; i < REPEAT; i++)
		(void)prog->jited(&c);
	return (now() - start) * 10 / REPEAT;
}

static u64 time_linux(int fd, const u8 *packet, u32 bytes)
{
	union bpf_attr a = {
		.test = { .prog_fd = (u32)fd, .data_in = (u64)packet, .data_size_in = bytes, .repeat = REPEAT }
	};

	return fd < 0 || bpf(BPF_PROG_TEST_RUN, &a) ? ~0ULL : (u64)a.test.duration * 10;
}

static void run_row(const char *name, void (*make)(void))
{
	static u8 packet[64];
	u64 ours = ~0ULL, theirs = ~0ULL, us;
	struct bpf_prog *prog;
	int fd;

	len = 0;
	make();
	prog = load_ours();
	compile(prog);
	fd = load_linux(&us);
	for (u32 i = 0; i < SAMPLES; i++) {
		ours = min(ours, time_ours(prog, packet, sizeof(packet)));
		theirs = min(theirs, time_linux(fd, packet, sizeof(packet)));
	}
	show("run", name, ours / 10, theirs == ~0ULL ? theirs : theirs / 10);
}

int main(void)
{
	static const struct {
		const char *name;
		void (*make)(void);
		bool runs;
	} rows[] = {
		{ "arithmetic", arithmetic, false }, { "branches", branches, false },
		{ "look-ups", look_ups, false },     { "loop", loop_of_ten, false },
		{ "calls", calls, false },           { "arithmetic", run_arithmetic, true },
		{ "divide", run_divide, true },      { "packet", run_packet, true },
		{ "stack", run_stack, true },        { "array", run_array, true },
		{ "hash", run_hash, true },          { "calls", run_calls, true },
	};

	bpf_helpers_install();
	make_maps();
	for (u32 i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		(rows[i].runs ? run_row : verify_row)(rows[i].name, rows[i].make);
	return 0;
}
