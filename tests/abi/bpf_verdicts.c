/* SPDX-License-Identifier: MIT
 *
 * Problem: what a verifier accepts and what it refuses, and with which error, is an interface: compilers and libraries
 * feel their way along it.
 *
 * Idea: rows of small programs that differ in one number, which crosses the border of a rule on the way: offsets of
 * accesses to contexts, stack, map values and packets, sizes given to helpers, results, opcodes, registers, jumps, and
 * which type may call which helper. The verdicts of a row are a string, packed by run length, and must be those that
 * Linux 6.1 gave (bpf_verdicts.h, made by `bpf_verdicts --record` on it).
 *
 *      . accepted   A EACCES   I EINVAL   P EPERM   B E2BIG   u not a function of this type   o another error
 *
 * Contract: a case a row, the same on Linux, which is the oracle. Needs root.
 *
 * Locks: none.
 */
#include "bpf.h"
#include "bpf_verdicts.h"

#define MAX_ROW    512
#define NR_HELPERS 136 /* the functions before the casts of kernel types, which need the kernel's own BTF */

struct row {
	const char *name;
	int type, attach, n, arg;
	int (*make)(struct bpf_insn *p, int arg, int i); /* how many instructions */
	int by_log;                                      /* the log tells a helper that is not there */
};

static int array, hash;
static long programs;

static int put(struct bpf_insn *p, const struct bpf_insn *from, int n)
{
	memcpy(p, from, n * sizeof(*p));
	return n;
}
#define EMIT(...) return put(p, (struct bpf_insn[]){ __VA_ARGS__ }, sizeof((struct bpf_insn[]){ __VA_ARGS__ }) / 8)

static int size_code(int bytes)
{
	return bytes == 1 ? BPF_B : bytes == 2 ? BPF_H : bytes == 4 ? BPF_W : BPF_DW;
}

/* ---- contexts ---- */

static int ctx_read(struct bpf_insn *p, int bytes, int i)
{
	EMIT(BI(BPF_LDX | BPF_MEM | size_code(bytes), 2, 1, i - 4, 0), MOV(0, 1), EXIT());
}

static int ctx_write(struct bpf_insn *p, int bytes, int i)
{
	EMIT(MOV(2, 0), BI(BPF_STX | BPF_MEM | size_code(bytes), 1, 2, i - 4, 0), MOV(0, 1), EXIT());
}

/* ---- stack: written, then read, at -520 + i ---- */

static int stack(struct bpf_insn *p, int bytes, int i)
{
	int off = i < 16 ? i - 520 : i - 32;

	EMIT(MOV(2, 0), BI(BPF_STX | BPF_MEM | size_code(bytes), 10, 2, off, 0),
	     BI(BPF_LDX | BPF_MEM | size_code(bytes), 3, 10, off, 0), MOV(0, 1), EXIT());
}

static int stack_unwritten(struct bpf_insn *p, int bytes, int i)
{
	EMIT(ST(W, 10, -8, 0), BI(BPF_LDX | BPF_MEM | size_code(bytes), 3, 10, i - 16, 0), MOV(0, 1), EXIT());
}

static int stack_variable(struct bpf_insn *p, int mask, int i)
{
	EMIT(ST(D, 10, -8, 0), ST(D, 10, -16, 0), LDX(W, 2, 1, 0), ALU(AND, 2, mask), ALUR(ADD, 2, 10), ALU(ADD, 2, -i),
	     LDX(B, 3, 2, 0), MOV(0, 1), EXIT());
}

/* ---- map values of 48 bytes ---- */

#define LOOKUP                                                                                                         \
	ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, array), CALL(map_lookup_elem), JMP(JNE, 0, 0, 1),     \
		EXIT()

static int value_fixed(struct bpf_insn *p, int bytes, int i)
{
	EMIT(LOOKUP, BI(BPF_LDX | BPF_MEM | size_code(bytes), 3, 0, i - 4, 0), MOV(0, 1), EXIT());
}

static int value_masked(struct bpf_insn *p, int bytes, int i)
{
	EMIT(MOVR(6, 1), LOOKUP, LDX(W, 3, 6, 0), ALU(AND, 3, i), ALUR(ADD, 0, 3),
	     BI(BPF_LDX | BPF_MEM | size_code(bytes), 3, 0, 0, 0), MOV(0, 1), EXIT());
}

static int value_compared(struct bpf_insn *p, int op, int i)
{
	EMIT(MOVR(6, 1), LOOKUP, LDX(W, 3, 6, 0), BI(BPF_JMP | op | BPF_K, 3, 0, 2, i), MOV(0, 1), EXIT(),
	     ALUR(ADD, 0, 3), LDX(W, 3, 0, 0), MOV(0, 1), EXIT());
}

static int value_not_null(struct bpf_insn *p, int arg, int i)
{
	EMIT(ST(W, 10, -4, 0), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, array), CALL(map_lookup_elem),
	     BI(BPF_JMP | (i << 4), 0, 0, 1, arg), LDX(B, 3, 0, 0), MOV(0, 1), EXIT());
}

static int key_bytes(struct bpf_insn *p, int written, int i)
{
	EMIT(BI(BPF_ST | BPF_MEM | size_code(written), 10, 0, -8, 0), MOVR(2, 10), ALU(ADD, 2, i - 16), LDMAP(1, hash),
	     CALL(map_lookup_elem), MOV(0, 1), EXIT());
}

/* ---- packets: n bytes are known to be there ---- */

static int packet(struct bpf_insn *p, int known, int i)
{
	EMIT(LDX(W, 2, 1, offsetof(struct __sk_buff, data)), LDX(W, 3, 1, offsetof(struct __sk_buff, data_end)),
	     MOVR(4, 2), ALU(ADD, 4, known), MOV(0, 1), JMPR(JGT, 4, 3, 1), LDX(H, 5, 2, i - 4), EXIT());
}

static int packet_compare(struct bpf_insn *p, int swapped, int i)
{
	EMIT(LDX(W, 2, 1, offsetof(struct __sk_buff, data)), LDX(W, 3, 1, offsetof(struct __sk_buff, data_end)),
	     MOVR(4, 2), ALU(ADD, 4, 8), MOV(0, 1),
	     BI(BPF_JMP | (i << 4) | BPF_X, swapped ? 3 : 4, swapped ? 4 : 3, 1, 0), LDX(W, 5, 2, 0), EXIT());
}

/* ---- arithmetic, opcodes, registers ---- */

static int opcode(struct bpf_insn *p, int variant, int i)
{
	struct bpf_insn insn = BI(i, 2, variant & 1 ? 3 : 0, variant & 4 ? 1 : 0, variant & 2 ? 1 : 0);

	EMIT(MOV(0, 1), MOV(2, 4), MOV(3, 4), MOV(4, 5), insn, MOV(0, 1), EXIT());
}

static int immediate(struct bpf_insn *p, int op, int i)
{
	EMIT(MOV(0, 1), BI(op, 0, 0, 0, i - 2), MOV(0, 1), EXIT());
}

static int reads_register(struct bpf_insn *p, int bits, int i)
{
	EMIT(BI((bits == 64 ? BPF_ALU64 : BPF_ALU) | BPF_MOV | BPF_X, 0, i, 0, 0), MOV(0, 1), EXIT());
}

static int writes_register(struct bpf_insn *p, int bits, int i)
{
	EMIT(MOV(0, 1), BI((bits == 64 ? BPF_ALU64 : BPF_ALU) | BPF_MOV | BPF_K, i, 0, 0, 1), EXIT());
}

static int after_call(struct bpf_insn *p, int arg, int i)
{
	EMIT(MOV(1, 1), MOV(2, 1), MOV(3, 1), MOV(4, 1), MOV(5, 1), MOV(6, 1), MOV(7, 1), MOV(8, 1), MOV(9, 1),
	     CALL(ktime_get_ns), MOVR(0, i), MOV(0, 1), EXIT());
}

/* Arithmetic of a kind of pointer (0 ctx, 1 stack, 2 map, 3 value) with a number, by operation. */
static int pointer_alu(struct bpf_insn *p, int kind, int i)
{
	struct bpf_insn get = kind == 0 ? MOVR(7, 6) : kind == 1 ? MOVR(7, 10) : kind == 2 ? MOVR(7, 8) : MOVR(7, 0);

	EMIT(MOVR(6, 1), LDMAP(8, array), LOOKUP, get, MOV(2, 8),
	     BI((i < 16 ? BPF_ALU64 : BPF_ALU) | (i % 16) << 4 | BPF_X, 7, 2, 0, 0), MOV(0, 1), EXIT());
}

/* ---- control flow ---- */

static int jump_to(struct bpf_insn *p, int code, int i)
{
	EMIT(MOV(0, 1), MOV(2, 0), BI(code, 2, 0, i - 4, 0), MOV(0, 1), EXIT());
}

static int loops(struct bpf_insn *p, int step, int i)
{
	EMIT(MOV(2, 0), ALU(ADD, 2, step), JMP(JLT, 2, 1 << i, -2), MOV(0, 1), EXIT());
}

static int call_to(struct bpf_insn *p, int arg, int i)
{
	EMIT(MOV(1, 0), CALLSUB(i - 4), MOV(0, 1), EXIT(), MOV(0, 1), EXIT());
}

static int call_depth(struct bpf_insn *p, int arg, int i)
{
	int n = 0;

	for (int k = 0; k < i; k++) { /* each calls the next */
		p[n++] = CALLSUB(2);
		p[n++] = MOV(0, 1);
		p[n++] = EXIT();
	}
	p[n++] = MOV(0, 1);
	p[n++] = EXIT();
	return n;
}

static int call_stack(struct bpf_insn *p, int arg, int i)
{
	EMIT(ST(B, 10, -arg, 0), CALLSUB(2), MOV(0, 1), EXIT(), ST(B, 10, -(i * 16 + 1), 0), MOV(0, 1), EXIT());
}

/* ---- helpers ---- */

static int helper(struct bpf_insn *p, int arg, int i)
{
	EMIT(MOV(2, 0), MOV(3, 0), MOV(4, 0), MOV(5, 0), BI(BPF_JMP | BPF_CALL, 0, 0, 0, i), MOV(0, 1), EXIT());
}

/* skb_load_bytes to the stack at -arg, i - 4 bytes. */
static int load_bytes(struct bpf_insn *p, int room, int i)
{
	EMIT(MOV(2, 0), MOVR(3, 10), ALU(ADD, 3, -room), MOV(4, i - 4), CALL(skb_load_bytes), MOV(0, 1), EXIT());
}

static int load_bytes_masked(struct bpf_insn *p, int plus, int i)
{
	EMIT(LDX(W, 4, 1, 0), ALU(AND, 4, i), ALU(ADD, 4, plus), MOV(2, 0), MOVR(3, 10), ALU(ADD, 3, -32),
	     CALL(skb_load_bytes), MOV(0, 1), EXIT());
}

/* The third of five arguments is register i: what kind of thing fits. */
static int argument(struct bpf_insn *p, int fn, int i)
{
	EMIT(MOVR(6, 1), LDMAP(7, array), ST(D, 10, -8, 0), MOVR(8, 10), ALU(ADD, 8, -8), MOV(9, 0), MOVR(1, i % 4 + 6),
	     MOVR(2, i / 4 % 4 + 6), MOVR(3, i / 16 + 6), MOV(4, 0), MOV(5, 0), BI(BPF_JMP | BPF_CALL, 0, 0, 0, fn),
	     MOV(0, 1), EXIT());
}

/* ---- results ---- */

static int result(struct bpf_insn *p, int arg, int i)
{
	EMIT(MOV(0, i - 3), EXIT());
}

static int result_masked(struct bpf_insn *p, int arg, int i)
{
	EMIT(CALL(get_prandom_u32), ALU(AND, 0, i), EXIT());
}

/* ---- rows ---- */

#define FILTER BPF_PROG_TYPE_SOCKET_FILTER
#define CLS    BPF_PROG_TYPE_SCHED_CLS
#define XDP    BPF_PROG_TYPE_XDP
#define SKB    BPF_PROG_TYPE_CGROUP_SKB
#define SOCK   BPF_PROG_TYPE_CGROUP_SOCK
#define OPS    BPF_PROG_TYPE_SOCK_OPS
#define DEVICE BPF_PROG_TYPE_CGROUP_DEVICE
#define ADDR   BPF_PROG_TYPE_CGROUP_SOCK_ADDR
#define SYSCTL BPF_PROG_TYPE_CGROUP_SYSCTL
#define OPTION BPF_PROG_TYPE_CGROUP_SOCKOPT
#define CONN4  BPF_CGROUP_INET4_CONNECT
#define BIND4  BPF_CGROUP_INET4_POST_BIND
#define GETOPT BPF_CGROUP_GETSOCKOPT
#define SETOPT BPF_CGROUP_SETSOCKOPT
#define CTX(t, a, n)                                                                                                   \
	{ "read1 " #t " " #a, t, a, n, 1, ctx_read, 0 }, { "read2 " #t " " #a, t, a, n, 2, ctx_read, 0 },              \
		{ "read4 " #t " " #a, t, a, n, 4, ctx_read, 0 }, { "read8 " #t " " #a, t, a, n, 8, ctx_read, 0 },      \
		{ "write1 " #t " " #a, t, a, n, 1, ctx_write, 0 }, { "write2 " #t " " #a, t, a, n, 2, ctx_write, 0 },  \
		{ "write4 " #t " " #a, t, a, n, 4, ctx_write, 0 },                                                     \
	{                                                                                                              \
		"write8 " #t " " #a, t, a, n, 8, ctx_write, 0                                                          \
	}
#define R(text, n, arg, fn)                                                                                            \
	{                                                                                                              \
		text " " #arg, FILTER, 0, n, arg, fn, 0                                                                \
	}
#define RS(text, n, arg, fn)                                                                                           \
	{                                                                                                              \
		text " " #arg, SKB, 0, n, arg, fn, 0                                                                   \
	}
#define HELPERS(t, a)                                                                                                  \
	{                                                                                                              \
		"helpers " #t " " #a, t, a, NR_HELPERS, 0, helper, 1                                                   \
	}
#define RESULT(t, a)                                                                                                   \
	{ "result " #t " " #a, t, a, 10, 0, result, 0 },                                                               \
	{                                                                                                              \
		"result masked " #t " " #a, t, a, 9, 0, result_masked, 0                                               \
	}

static const struct row rows[] = {
	CTX(FILTER, 0, 208),
	CTX(CLS, 0, 208),
	CTX(SKB, 0, 208),
	CTX(XDP, 0, 40),
	CTX(SOCK, 0, 96),
	CTX(SOCK, BIND4, 96),
	CTX(ADDR, CONN4, 88),
	CTX(DEVICE, 0, 24),
	CTX(SYSCTL, 0, 24),
	CTX(OPTION, GETOPT, 56),
	CTX(OPTION, SETOPT, 56),
	CTX(OPS, 0, 240),
	R("stack", 48, 1, stack),
	R("stack", 48, 2, stack),
	R("stack", 48, 4, stack),
	R("stack", 48, 8, stack),
	R("stack unwritten", 20, 1, stack_unwritten),
	R("stack unwritten", 20, 4, stack_unwritten),
	R("stack variable", 24, 7, stack_variable),
	R("stack variable", 24, 15, stack_variable),
	R("value", 64, 1, value_fixed),
	R("value", 64, 2, value_fixed),
	R("value", 64, 4, value_fixed),
	R("value", 64, 8, value_fixed),
	R("value masked", 64, 1, value_masked),
	R("value masked", 64, 8, value_masked),
	R("value compared", 64, BPF_JLT, value_compared),
	R("value compared", 64, BPF_JLE, value_compared),
	R("value compared", 64, BPF_JSLT, value_compared),
	R("value compared", 64, BPF_JEQ, value_compared),
	R("value compared", 64, BPF_JGT, value_compared),
	R("value null", 14, 0, value_not_null),
	R("value null", 14, 1, value_not_null),
	R("key", 24, 1, key_bytes),
	R("key", 24, 4, key_bytes),
	R("key", 24, 8, key_bytes),
	RS("packet", 24, 0, packet),
	RS("packet", 24, 1, packet),
	RS("packet", 24, 8, packet),
	RS("packet", 40, 14, packet),
	RS("packet compare", 14, 0, packet_compare),
	RS("packet compare", 14, 1, packet_compare),
	R("opcode", 256, 0, opcode),
	R("opcode", 256, 1, opcode),
	R("opcode", 256, 2, opcode),
	R("opcode", 256, 4, opcode),
	R("immediate", 70, BPF_ALU64 | BPF_LSH, immediate),
	R("immediate", 70, BPF_ALU | BPF_LSH, immediate),
	R("immediate", 70, BPF_ALU64 | BPF_ARSH, immediate),
	R("immediate", 70, BPF_ALU | BPF_ARSH, immediate),
	R("immediate", 6, BPF_ALU64 | BPF_DIV, immediate),
	R("immediate", 6, BPF_ALU | BPF_MOD, immediate),
	R("immediate", 70, BPF_ALU | BPF_END | BPF_TO_BE, immediate),
	R("reads", 16, 64, reads_register),
	R("reads", 16, 32, reads_register),
	R("writes", 16, 64, writes_register),
	R("after a call", 11, 0, after_call),
	R("pointer", 32, 0, pointer_alu),
	R("pointer", 32, 1, pointer_alu),
	R("pointer", 32, 2, pointer_alu),
	R("pointer", 32, 3, pointer_alu),
	R("jump", 9, BPF_JMP | BPF_JA, jump_to),
	R("jump", 9, BPF_JMP | BPF_JEQ, jump_to),
	R("jump", 9, BPF_JMP32 | BPF_JNE, jump_to),
	R("loop", 19, 1, loops),
	R("loop", 8, 0, loops),
	R("call", 9, 0, call_to),
	R("call depth", 10, 0, call_depth),
	R("call stack", 32, 8, call_stack),
	R("call stack", 32, 256, call_stack),
	R("load bytes", 44, 32, load_bytes),
	R("load bytes", 24, 8, load_bytes),
	R("load bytes masked", 40, 0, load_bytes_masked),
	R("load bytes masked", 40, 1, load_bytes_masked),
	R("argument", 64, BPF_FUNC_map_lookup_elem, argument),
	R("argument", 64, BPF_FUNC_map_update_elem, argument),
	R("argument", 64, BPF_FUNC_skb_load_bytes, argument),
	R("argument", 64, BPF_FUNC_tail_call, argument),
	HELPERS(FILTER, 0),
	HELPERS(CLS, 0),
	HELPERS(XDP, 0),
	HELPERS(SKB, 0),
	HELPERS(SOCK, 0),
	HELPERS(ADDR, CONN4),
	HELPERS(DEVICE, 0),
	HELPERS(SYSCTL, 0),
	HELPERS(OPTION, SETOPT),
	HELPERS(OPS, 0),
	RESULT(FILTER, 0),
	RESULT(SKB, BPF_CGROUP_INET_INGRESS),
	RESULT(SKB, BPF_CGROUP_INET_EGRESS),
	RESULT(SOCK, 0),
	RESULT(ADDR, CONN4),
	RESULT(ADDR, BPF_CGROUP_INET4_BIND),
	RESULT(ADDR, BPF_CGROUP_UDP4_RECVMSG),
	RESULT(DEVICE, 0),
	RESULT(OPTION, SETOPT),
	RESULT(XDP, 0),
};

static char letter(int fd, int by_log)
{
	if (fd >= 0) {
		close(fd);
		return '.';
	}
	if (by_log && (strstr(bpf_log, "unknown func") || strstr(bpf_log, "invalid func")))
		return 'u';
	if (by_log)
		return '.'; /* it is there; the arguments are nonsense */
	return errno == EACCES ? 'A' : errno == EINVAL ? 'I' : errno == EPERM ? 'P' : errno == E2BIG ? 'B' : 'o';
}

/* What the kernel says to a row, as "12A3." */
static void judge(const struct row *r, int attach, char *out)
{
	struct bpf_insn p[64];
	char before = 0;
	int run = 0;

	out[0] = 0;
	for (int i = 0; i <= r->n; i++) {
		char c = 0;

		if (i < r->n) {
			c = letter(prog_load(r->type, attach, p, r->make(p, r->arg, i)), r->by_log);
			programs++;
		}
		if (i && c != before) {
			sprintf(out + strlen(out), "%d%c", run, before);
			run = 0;
		}
		before = c;
		run++;
	}
}

static void compare(const char *name, const char *got)
{
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		if (strcmp(expected[i][0], name))
			continue;
		if (strcmp(expected[i][1], got))
			abi_fail("%s, not %s", got, expected[i][1]);
		return;
	}
	abi_fail("no such row in bpf_verdicts.h");
}

static const struct row *now;

static void one_row(void)
{
	static char got[4 * MAX_ROW];

	judge(now, now->attach, got);
	compare(now->name, got);
}

static int record(void)
{
	static char got[4 * MAX_ROW];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		judge(&rows[i], rows[i].attach, got);
		printf("\t{ \"%s\", \"%s\" },\n", rows[i].name, got);
	}
	return 0;
}

int main(int argc, char **argv)
{
	array = map_new(BPF_MAP_TYPE_ARRAY, 4, 48, 2, 0);
	hash = map_new(BPF_MAP_TYPE_HASH, 8, 8, 2, 0);
	if (argc > 1 && !strcmp(argv[1], "--record"))
		return record();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		now = &rows[i];
		abi_run(now->name, one_row);
	}
	printf("# %ld programs\n", programs);
	return abi_status();
}
