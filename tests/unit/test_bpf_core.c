/* SPDX-License-Identifier: MIT
 *
 * Problem: the verifier decides what may run in the kernel; a wrong "yes" is a hole, a wrong "no" breaks programs.
 *
 * Idea: small programs at the borders of each rule, with verdict and message, run by the interpreter where they are
 * accepted; the scalar domain against enumeration of all small values; maps against their contracts.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <bpf/asm.h>
#include <bpf/btf.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <bpf/prog.h>
#include <bpf/sock_storage.h>
#include <lib/err.h>
#include "../../kernel/bpf/scalar.h"

#define ARR  3 /* "file descriptors" of the maps below */
#define HASH 4

static struct bpf_map *maps[8];
static char text[4 << 20];

static struct bpf_map *find_map(void *arg, s32 idx, bool by_index)
{
	return idx >= 0 && idx < 8 && !by_index ? maps[idx] : NULL;
}

static struct bpf_map *make(u32 type, u32 key, u32 value, u32 entries, u32 flags)
{
	union bpf_attr attr = {
		.map_type = type, .key_size = key, .value_size = value, .max_entries = entries, .map_flags = flags
	};
	struct bpf_map *map = NULL;

	assert_int_equal(bpf_map_new(&attr, NULL, &map), 0);
	return map;
}

static int setup(void **state)
{
	bpf_helpers_install();
	maps[ARR] = make(BPF_MAP_TYPE_ARRAY, 4, 48, 4, 0);
	maps[HASH] = make(BPF_MAP_TYPE_HASH, 8, 16, 4, 0);
	return 0;
}

static int teardown(void **state)
{
	for (int i = 0; i < 8; i++)
		bpf_map_put(maps[i]);
	return 0;
}

static int load_as(const struct bpf_insn *insns, u32 len, u32 type, bool root, struct bpf_prog **out)
{
	struct bpf_load l = { .insns = insns,
			      .len = len,
			      .type = type,
			      .gpl = true,
			      .rights = { root, root, root, root },
			      .log = text,
			      .log_size = sizeof(text),
			      .log_level = 1,
			      .find_map = find_map };

	return bpf_prog_new(&l, out);
}

/* The same result from the compiler, plain and with hidden constants. */
static void run_compiled(const char *what, struct bpf_prog *prog, void *ctx, u64 result)
{
	for (int blind = 0; blind < 2; blind++) {
		int room = bpf_jit_x86(prog, NULL, 0, 0, NULL, blind), len;
		u8 *code = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		u32 tail;

		assert_true(room > 0 && room <= 1 << 20);
		len = bpf_jit_x86(prog, code, (u32)room, (u64)code, &tail, blind);
		assert_true(len > 0 && len <= room);
		assert_int_equal(mprotect(code, 1 << 20, PROT_READ | PROT_EXEC), 0);
		if (((u64(*)(const void *))code)(ctx) != result)
			fail_msg("%s: the compiled program gives something else", what);
		munmap(code, 1 << 20);
	}
}

/* Accepted, and gives this result on a packet of 64 bytes 0..63. */
static void accepts(const char *what, const struct bpf_insn *insns, u32 len, u32 type, u64 result)
{
	u8 packet[64];
	struct bpf_skb_ctx skb = {
		.data = packet, .data_end = packet + 64, .net = packet, .mac = packet, .len = 64, .mark = 7
	};
	struct bpf_xdp_ctx xdp = { .data = packet, .data_end = packet + 64, .data_meta = packet };
	struct bpf_prog *prog = NULL;
	int err;

	for (int i = 0; i < 64; i++)
		packet[i] = (u8)i;
	err = load_as(insns, len, type, true, &prog);
	if (err)
		fail_msg("%s: refused with %d:\n%s", what, err, text);
	assert_int_equal(bpf_prog_run(prog, type == BPF_PROG_TYPE_XDP ? (void *)&xdp : (void *)&skb), result);
	run_compiled(what, prog, type == BPF_PROG_TYPE_XDP ? (void *)&xdp : (void *)&skb, result);
	bpf_prog_put(prog);
}

static void refuses(const char *what, const struct bpf_insn *insns, u32 len, u32 type, bool root, const char *why)
{
	struct bpf_prog *prog = NULL;
	int err = load_as(insns, len, type, root, &prog);

	if (!err) {
		bpf_prog_put(prog);
		fail_msg("%s: accepted\n%s", what, text);
	}
	if (!strstr(text, why))
		fail_msg("%s: refused, but not with '%s':\n%s", what, why, text);
}

#define P(...) (const struct bpf_insn[]){ __VA_ARGS__ }, sizeof((const struct bpf_insn[]){ __VA_ARGS__ }) / 8
#define SF     BPF_PROG_TYPE_SOCKET_FILTER
#define TC     BPF_PROG_TYPE_SCHED_CLS

static void shape(void **state)
{
	accepts("smallest", P(MOV(0, 42), EXIT()), SF, 42);
	refuses("no r0", P(EXIT()), SF, true, "R0 !read_ok");
	refuses("falls off", P(MOV(0, 0), MOV(0, 1)), SF, true, "last insn is not an exit or jmp");
	refuses("unreachable", P(MOV(0, 0), EXIT(), MOV(0, 1), EXIT()), SF, true, "unreachable insn 2");
	refuses("jump out", P(JA(5), EXIT()), SF, true, "jump out of range from insn 0 to 6");
	refuses("jump back out", P(JA(-3), EXIT()), SF, true, "jump out of range from insn 0 to -2");
	refuses("loop", P(MOV(0, 0), JA(-2), EXIT()), SF, false, "back-edge");
	refuses("endless", P(MOV(0, 0), JA(-1), EXIT()), SF, true, "unreachable insn 2");
	refuses("endless branch", P(LDX(W, 0, 1, 0), JMP(JEQ, 0, 5, -1), EXIT()), SF, true, "infinite loop detected");
	refuses("opcode", P(BI(0xff, 0, 0, 0, 0), EXIT()), SF, true, "unknown opcode ff");
	refuses("half imm64", P(MOV(0, 0), BI(BPF_LD | BPF_IMM | BPF_DW, 1, 0, 0, 0), EXIT()), SF, true,
		"invalid bpf_ld_imm64 insn");
	refuses("into imm64", P(MOV(0, 0), JMP(JEQ, 0, 0, 1), LD64(1, 7), EXIT()), SF, true,
		"jump into the middle of ldimm64 insn");
	refuses("div 0", P(MOV(0, 1), ALU(DIV, 0, 0), EXIT()), SF, true, "div by zero");
	refuses("shift 64", P(MOV(0, 1), ALU(LSH, 0, 64), EXIT()), SF, true, "invalid shift 64");
	refuses("write fp", P(MOV(10, 1), EXIT()), SF, true, "frame pointer is read only");
	refuses("r11", P(MOV(11, 1), EXIT()), SF, true, "R11 is invalid");
}

static void arithmetic(void **state)
{
	accepts("div by zero register", P(MOV(0, 7), MOV(1, 0), ALUR(DIV, 0, 1), EXIT()), SF, 0);
	accepts("mod by zero register", P(MOV(0, 7), MOV(1, 0), ALUR(MOD, 0, 1), EXIT()), SF, 7);
	accepts("32-bit wraps", P(MOV(0, -1), ALU32(ADD, 0, 2), EXIT()), SF, 1);
	accepts("arsh 32", P(MOV32(0, -8), ALU32(ARSH, 0, 1), EXIT()), SF, 0xfffffffc);
	accepts("bswap16", P(MOV(0, 0x1234), BSWAP(0, 16), EXIT()), SF, 0x3412);
	accepts("imm64", P(LD64(0, 0x123456789abcdefULL), EXIT()), SF, 0x123456789abcdefULL);
	accepts("neg", P(MOV(0, 5), BI(BPF_ALU64 | BPF_NEG, 0, 0, 0, 0), EXIT()), SF, (u64)-5);
	accepts("loop of 10", P(MOV(0, 0), MOV(1, 0), ALUR(ADD, 0, 1), ALU(ADD, 1, 1), JMP(JLT, 1, 10, -3), EXIT()), SF,
		45);
}

static void stack(void **state)
{
	accepts("spill and fill", P(MOV(1, 9), STX(D, 10, -8, 1), LDX(D, 0, 10, -8), EXIT()), SF, 9);
	accepts("lowest byte", P(ST(B, 10, -512, 3), LDX(B, 0, 10, -512), EXIT()), SF, 3);
	refuses("below", P(ST(B, 10, -513, 3), MOV(0, 0), EXIT()), SF, true,
		"invalid write to stack R10 off=-513 size=1");
	refuses("above", P(ST(B, 10, 0, 3), MOV(0, 0), EXIT()), SF, true, "invalid write to stack R10 off=0 size=1");
	refuses("uninitialised", P(LDX(D, 0, 10, -8), EXIT()), SF, false, "invalid read from stack off -8+0 size 8");
	refuses("misaligned", P(ST(W, 10, -6, 3), MOV(0, 0), EXIT()), SF, true, "misaligned stack access");
	refuses("part of a pointer", P(STX(D, 10, -8, 1), LDX(W, 0, 10, -8), EXIT()), SF, true,
		"invalid size of register fill");
	refuses("corrupt", P(STX(D, 10, -8, 1), ST(W, 10, -8, 0), MOV(0, 0), EXIT()), SF, false,
		"attempt to corrupt spilled pointer");
	accepts("narrow spill", P(MOV(1, 0x11223344), STX(W, 10, -8, 1), LDX(W, 0, 10, -8), EXIT()), SF, 0x11223344);
	accepts("zero then part", P(ST(D, 10, -8, 0), LDX(W, 0, 10, -4), EXIT()), SF, 0);
}

static void contexts(void **state)
{
	accepts("mark", P(LDX(W, 0, 1, 8), EXIT()), SF, 7);
	accepts("low half of len", P(LDX(H, 0, 1, 0), EXIT()), SF, 64);
	refuses("past the end", P(LDX(W, 0, 1, 192), EXIT()), SF, true, "invalid bpf_context access off=192 size=4");
	refuses("filter sees no data", P(LDX(W, 0, 1, 76), EXIT()), SF, true,
		"invalid bpf_context access off=76 size=4");
	refuses("filter may not write mark", P(MOV(0, 0), STX(W, 1, 8, 0), EXIT()), SF, true,
		"invalid bpf_context access");
	refuses("moved ctx", P(ALU(ADD, 1, 4), LDX(W, 0, 1, 4), EXIT()), SF, true, "dereference of modified ctx ptr");
	accepts("packet",
		P(LDX(W, 2, 1, 76), LDX(W, 3, 1, 80), MOVR(4, 2), ALU(ADD, 4, 14), MOV(0, 0), JMPR(JGT, 4, 3, 1),
		  LDX(B, 0, 2, 13), EXIT()),
		TC, 13);
	refuses("byte too far",
		P(LDX(W, 2, 1, 76), LDX(W, 3, 1, 80), MOVR(4, 2), ALU(ADD, 4, 14), MOV(0, 0), JMPR(JGT, 4, 3, 1),
		  LDX(B, 0, 2, 14), EXIT()),
		TC, true, "invalid access to packet, off=14 size=1");
	accepts("xdp",
		P(LDX(W, 2, 1, 0), LDX(W, 3, 1, 4), MOVR(4, 2), ALU(ADD, 4, 2), MOV(0, 0), JMPR(JGT, 4, 3, 1),
		  LDX(H, 0, 2, 0), EXIT()),
		BPF_PROG_TYPE_XDP, 0x0100);
	accepts("ld_abs", P(MOVR(6, 1), LDABS(H, 4), EXIT()), SF, 0x0405);
	accepts("ld_abs beyond ends the program", P(MOVR(6, 1), MOV(0, 5), LDABS(W, 61), EXIT()), SF, 0);
	refuses("leak", P(MOVR(0, 1), EXIT()), SF, false, "R0 leaks addr as return value");
}

#define KEY4 ST(W, 10, -4, 1), MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, ARR), CALL(map_lookup_elem)

static void map_values(void **state)
{
	accepts("write and read", P(KEY4, JMP(JNE, 0, 0, 1), EXIT(), ST(D, 0, 40, 77), LDX(D, 0, 0, 40), EXIT()), SF,
		77);
	refuses("no null check", P(KEY4, LDX(D, 0, 0, 0), EXIT()), SF, true,
		"R0 invalid mem access 'map_value_or_null'");
	refuses("one too far", P(KEY4, JMP(JNE, 0, 0, 1), EXIT(), LDX(D, 0, 0, 41), EXIT()), SF, true,
		"invalid access to map value, value_size=48 off=41 size=8");
	accepts("variable in range",
		P(KEY4, JMP(JNE, 0, 0, 1), EXIT(), LDX(W, 1, 0, 0), ALU(AND, 1, 31), ALUR(ADD, 0, 1), ST(D, 0, 8, 1),
		  MOV(0, 1), EXIT()),
		SF, 1);
	refuses("variable out of range",
		P(KEY4, JMP(JNE, 0, 0, 1), EXIT(), LDX(W, 1, 0, 0), ALU(AND, 1, 63), ALUR(ADD, 0, 1), ST(D, 0, 0, 1),
		  MOV(0, 1), EXIT()),
		SF, true, "R0 max value is outside of the allowed memory range");
	refuses("key not written",
		P(MOVR(2, 10), ALU(ADD, 2, -4), LDMAP(1, ARR), CALL(map_lookup_elem), MOV(0, 0), EXIT()), SF, false,
		"invalid indirect read from stack R2 off -4+0 size 4");
	refuses("bad fd", P(LDMAP(1, 6), MOV(0, 0), EXIT()), SF, true, "fd 6 is not pointing to valid bpf_map");
	refuses("pointer into map", P(MOVR(6, 1), KEY4, JMP(JNE, 0, 0, 1), EXIT(), STX(D, 0, 0, 6), MOV(0, 0), EXIT()),
		SF, false, "R6 leaks addr into map");
	accepts("hash",
		P(ST(D, 10, -8, 5), ST(D, 10, -24, 6), ST(D, 10, -16, 7), MOVR(2, 10), ALU(ADD, 2, -8), MOVR(3, 10),
		  ALU(ADD, 3, -24), MOV(4, 0), LDMAP(1, HASH), CALL(map_update_elem), MOVR(2, 10), ALU(ADD, 2, -8),
		  LDMAP(1, HASH), CALL(map_lookup_elem), JMP(JEQ, 0, 0, 1), LDX(D, 0, 0, 8), EXIT()),
		SF, 7);
}

static void calls(void **state)
{
	accepts("subprogram", P(MOV(1, 20), CALLSUB(1), EXIT(), MOVR(0, 1), ALU(ADD, 0, 1), EXIT()), SF, 21);
	accepts("stack of the caller",
		P(ST(D, 10, -8, 5), MOVR(1, 10), ALU(ADD, 1, -8), CALLSUB(2), LDX(D, 0, 10, -8), EXIT(), ST(D, 1, 0, 6),
		  MOV(0, 0), EXIT()),
		SF, 6);
	refuses("r6 is not passed", P(MOV(6, 1), CALLSUB(1), EXIT(), MOVR(0, 6), EXIT()), SF, true, "R6 !read_ok");
	refuses("recursion", P(CALLSUB(1), EXIT(), CALLSUB(-1), EXIT()), SF, true, "back-edge from insn");
	refuses("stack returned", P(CALLSUB(1), EXIT(), MOVR(0, 10), EXIT()), SF, true,
		"cannot return stack pointer to the caller");
	refuses("512 and 8", P(ST(D, 10, -512, 0), CALLSUB(1), EXIT(), ST(D, 10, -8, 0), MOV(0, 0), EXIT()), SF, true,
		"combined stack size of 2 calls is 544. Too large");
	refuses("unprivileged", P(CALLSUB(1), EXIT(), MOV(0, 0), EXIT()), SF, false, "loading/calling other bpf");
	accepts("bpf_loop",
		P(ST(D, 10, -8, 0), MOV(1, 10), LDFUNC(2, 7), MOVR(3, 10), ALU(ADD, 3, -8), MOV(4, 0), CALL(loop),
		  LDX(D, 0, 10, -8), EXIT(), LDX(D, 0, 2, 0), ALU(ADD, 0, 3), STX(D, 2, 0, 0), MOV(0, 0), EXIT()),
		SF, 30);
}

static void long_programs(void **state)
{
	static struct bpf_insn p[10003];
	u32 n = 0, last = 9001;

	p[n++] = LDX(W, 0, 1, 8);
	while (n < last) { /* short and long jumps side by side */
		p[n++] = ALU(ADD, 0, 1);
		p[n] = n % 500 < 3 ? JMP(JEQ, 0, -5, (s16)(last - n - 1)) : JMP(JSET, 0, 1, (s16)(n % 2));
		n++;
		p[n++] = MOV(2, 1);
	}
	p[n++] = EXIT();
	accepts("9,000 instructions", p, n, SF, 7 + 3000);
}

/* Every abstract result contains every concrete one, for all 4-bit-wide inputs at several places. */
static void scalars_are_sound(void **state)
{
	static const u8 ops[] = { BPF_ADD, BPF_SUB, BPF_MUL, BPF_AND, BPF_OR, BPF_XOR, BPF_LSH, BPF_RSH, BPF_ARSH };
	static const u64 bases[] = { 0, 0x7ffffff8, 0xfffffff8, 0x7ffffffffffffff8, 0xfffffffffffffff8 };

	for (u32 o = 0; o < ARRAY_SIZE(ops); o++)
		for (u32 bi = 0; bi < ARRAY_SIZE(bases); bi++)
			for (u32 mask = 0; mask < 16; mask++)
				for (u64 operand = 0; operand < 24; operand += 3) {
					struct scalar a, b;

					scalar_set_unknown(&a);
					a.bits = (struct tnum){ bases[bi] & ~(u64)mask, mask };
					scalar_sync(&a);
					scalar_set_const(&b, operand);
					for (int is64 = 0; is64 < 2; is64++) {
						struct scalar r = a;

						scalar_alu(&r, &b, ops[o], is64);
						for (u32 m = mask;; m = (m - 1) & mask) {
							u64 x = (bases[bi] & ~(u64)mask) | m, y = operand, z = 0;
							u32 sh = y & (is64 ? 63 : 31);
							struct scalar c;

							switch (ops[o]) {
							case BPF_ADD: z = x + y; break;
							case BPF_SUB: z = x - y; break;
							case BPF_MUL: z = x * y; break;
							case BPF_AND: z = x & y; break;
							case BPF_OR: z = x | y; break;
							case BPF_XOR: z = x ^ y; break;
							case BPF_LSH: z = is64 ? x << sh : (u32)x << sh; break;
							case BPF_RSH: z = is64 ? x >> sh : (u32)x >> sh; break;
							case BPF_ARSH:
								z = is64 ? (u64)((s64)x >> sh) : (u32)((s32)x >> sh);
							}
							scalar_set_const(&c, is64 ? z : (u32)z);
							if (!scalar_within(&r, &c))
								fail_msg("op %#x 64:%d: %llx op %llu not in result",
									 ops[o], is64, (unsigned long long)x,
									 (unsigned long long)y);
							if (!m)
								break;
						}
					}
				}
}

static void branches_are_sound(void **state)
{
	static const u8 ops[] = { BPF_JEQ,  BPF_JNE,  BPF_JGT,  BPF_JGE,  BPF_JLT, BPF_JLE,
				  BPF_JSGT, BPF_JSGE, BPF_JSLT, BPF_JSLE, BPF_JSET };
	static const u64 bases[] = { 0, 0x7ffffff8, 0xfffffff8, 0x7ffffffffffffff8, 0xfffffffffffffff0 };

	for (u32 o = 0; o < ARRAY_SIZE(ops); o++)
		for (u32 bi = 0; bi < ARRAY_SIZE(bases); bi++)
			for (u64 k = 0; k < 16; k++)
				for (int is64 = 0; is64 < 2; is64++)
					for (u64 x = bases[bi]; x != bases[bi] + 16; x++) {
						u64 imm = bases[bi] + k;
						struct scalar all, c, t;
						bool taken;

						scalar_set_unknown(&all);
						all.bits = (struct tnum){ bases[bi] & ~15ULL,
									  15 | (bases[bi] & 8 ? 16 : 0) };
						if (bases[bi] & 8)
							all.bits = TNUM_UNKNOWN;
						scalar_sync(&all);
						scalar_set_const(&c, x);
						taken = scalar_decide(&c, imm, ops[o], is64);
						if (scalar_decide(&all, imm, ops[o], is64) >= 0)
							assert_int_equal(scalar_decide(&all, imm, ops[o], is64), taken);
						else {
							t = all;
							scalar_learn(&t, imm, ops[o], is64, taken);
							if (!scalar_within(&t, &c))
								fail_msg("op %#x 64:%d x %llx imm %llx lost", ops[o],
									 is64, (unsigned long long)x,
									 (unsigned long long)imm);
						}
					}
}

static void hash_contract(void **state)
{
	struct bpf_map *map = make(BPF_MAP_TYPE_HASH, 4, 4, 3, 0);
	u32 v = 1, out, next;

	for (u32 k = 0; k < 3; k++)
		assert_int_equal(bpf_map_copy_in(map, &k, &v, BPF_NOEXIST), 0);
	assert_int_equal(bpf_map_copy_in(map, &(u32){ 3 }, &v, BPF_ANY), -E2BIG);
	assert_int_equal(bpf_map_copy_in(map, &(u32){ 2 }, &v, BPF_NOEXIST), -EEXIST);
	assert_int_equal(bpf_map_copy_in(map, &(u32){ 7 }, &v, BPF_EXIST), -ENOENT);
	assert_int_equal(bpf_map_copy_in(map, &(u32){ 2 }, &(u32){ 9 }, BPF_EXIST), 0); /* full, but a replacement */
	assert_int_equal(bpf_map_copy_out(map, &(u32){ 2 }, &out, 0), 0);
	assert_int_equal(out, 9);
	assert_int_equal(map->ops->remove(map, &(u32){ 1 }), 0);
	assert_int_equal(map->ops->remove(map, &(u32){ 1 }), -ENOENT);
	assert_int_equal(map->ops->next_key(map, NULL, &next), 0);
	assert_int_equal(map->ops->next_key(map, &next, &next), 0);
	assert_int_equal(map->ops->next_key(map, &next, &next), -ENOENT);
	bpf_map_put(map);
}

static void lru_is_exact(void **state)
{
	struct bpf_map *map = make(BPF_MAP_TYPE_LRU_HASH, 4, 4, 4, 0);
	u32 out;

	for (u32 k = 0; k < 4; k++)
		assert_int_equal(bpf_map_copy_in(map, &k, &k, BPF_ANY), 0);
	assert_non_null(map->ops->lookup(map, &(u32){ 0 }));              /* a program uses 0 */
	assert_int_equal(bpf_map_copy_out(map, &(u32){ 1 }, &out, 0), 0); /* bpf(2) does not count */
	assert_int_equal(bpf_map_copy_in(map, &(u32){ 9 }, &(u32){ 9 }, BPF_ANY), 0);
	assert_int_equal(bpf_map_copy_out(map, &(u32){ 1 }, &out, 0), -ENOENT);
	assert_int_equal(bpf_map_copy_out(map, &(u32){ 0 }, &out, 0), 0);
	for (u32 k = 100; k < 1100; k++)
		assert_int_equal(bpf_map_copy_in(map, &k, &k, BPF_ANY), 0);
	for (u32 k = 1096; k < 1100; k++)
		assert_int_equal(bpf_map_copy_out(map, &k, &out, 0), 0);
	bpf_map_put(map);
}

static void lpm_against_a_list(void **state)
{
	struct bpf_map *map = make(BPF_MAP_TYPE_LPM_TRIE, 8, 4, 300, BPF_F_NO_PREALLOC);
	struct key {
		u32 bits;
		u8 addr[4];
	} keys[256], probe;
	bool alive[256];
	u32 x = 12345, count = 0;

	for (u32 i = 0; i < 256; i++) {
		x = x * 1103515245 + 12345;
		keys[i].bits = (x >> 16) % 33;
		for (int b = 0; b < 4; b++)
			keys[i].addr[b] = (u8)((x >> (b * 3)) & 0x91); /* few distinct bits: many common prefixes */
		for (u32 b = keys[i].bits; b < 32; b++)
			keys[i].addr[b / 8] &= ~(0x80 >> b % 8);
		alive[i] = true;
		for (u32 j = 0; j < i; j++)
			if (!memcmp(&keys[i], &keys[j], 8))
				alive[i] = false;
		if (alive[i])
			assert_int_equal(bpf_map_copy_in(map, &keys[i], &i, BPF_NOEXIST), 0);
		else
			assert_int_equal(bpf_map_copy_in(map, &keys[i], &i, BPF_NOEXIST), -EEXIST);
	}
	for (u32 i = 0; i < 256; i += 3) {
		bool present = false;

		for (u32 j = 0; j < 256; j++)
			present |= alive[j] && !memcmp(&keys[i], &keys[j], 8);
		assert_int_equal(map->ops->remove(map, &keys[i]), present ? 0 : -ENOENT);
		for (u32 j = 0; j < 256; j++)
			if (!memcmp(&keys[i], &keys[j], 8))
				alive[j] = false;
	}
	for (u32 n = 0; n < 2000; n++) {
		s32 best = -1;
		u32 *got;

		x = x * 1103515245 + 12345;
		probe.bits = 32;
		for (int b = 0; b < 4; b++)
			probe.addr[b] = (u8)((x >> (b * 5)) & 0x91);
		for (u32 i = 0; i < 256; i++) {
			bool match = alive[i];

			for (u32 b = 0; match && b < keys[i].bits; b++)
				match = !((keys[i].addr[b / 8] ^ probe.addr[b / 8]) & (0x80 >> b % 8));
			if (match && (best < 0 || keys[i].bits > keys[best].bits))
				best = (s32)i;
		}
		got = map->ops->lookup(map, &probe);
		assert_int_equal(got ? (s32)*got : -1, best);
	}
	for (u32 i = 0; i < 256; i++)
		count += alive[i];
	for (struct key *k = NULL; !map->ops->next_key(map, k, &probe); k = &probe)
		count--;
	assert_int_equal(count, 0);
	bpf_map_put(map);
}

static void queue_and_stack(void **state)
{
	struct bpf_map *q = make(BPF_MAP_TYPE_QUEUE, 0, 4, 3, 0), *s = make(BPF_MAP_TYPE_STACK, 0, 4, 3, 0);
	u32 v;

	for (u32 i = 1; i <= 3; i++) {
		assert_int_equal(q->ops->push(q, &i, 0), 0);
		assert_int_equal(s->ops->push(s, &i, 0), 0);
	}
	assert_int_equal(q->ops->push(q, &v, 0), -E2BIG);
	assert_int_equal(q->ops->push(q, &(u32){ 4 }, BPF_EXIST), 0);
	assert_int_equal(q->ops->pop(q, &v), 0);
	assert_int_equal(v, 2);
	assert_int_equal(s->ops->pop(s, &v), 0);
	assert_int_equal(v, 3);
	assert_int_equal(s->ops->peek(s, &v), 0);
	assert_int_equal(v, 2);
	while (!q->ops->pop(q, &v))
		;
	assert_int_equal(q->ops->pop(q, &v), -ENOENT);
	bpf_map_put(q);
	bpf_map_put(s);
}

static void bloom_filter(void **state)
{
	struct bpf_map *b = make(BPF_MAP_TYPE_BLOOM_FILTER, 0, 4, 200, 0);
	u32 wrong = 0;

	for (u32 i = 0; i < 200; i++)
		assert_int_equal(b->ops->push(b, &i, 0), 0);
	for (u32 i = 0; i < 200; i++)
		assert_int_equal(b->ops->peek(b, &i), 0);
	for (u32 i = 1000; i < 11000; i++)
		wrong += !b->ops->peek(b, &i);
	assert_true(wrong < 1500); /* 5 functions, 1.4 bits each: a few in a hundred */
	bpf_map_put(b);
}

static void storage_of_sockets(void **state)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_SK_STORAGE,
				.key_size = 4,
				.value_size = 8,
				.map_flags = BPF_F_NO_PREALLOC,
				.btf_key_type_id = 1,
				.btf_value_type_id = 2 };
	struct bpf_map *m[2];
	u64 owners[1000] = { 0 }, v = 7, *p;

	for (int i = 0; i < 2; i++)
		assert_int_equal(bpf_map_new(&attr, NULL, &m[i]), 0);
	for (int i = 0; i < 1000; i++) {
		assert_null(bpf_sock_storage_get(m[i & 1], &owners[i], &v, 0));
		p = bpf_sock_storage_get(m[i & 1], &owners[i], i & 2 ? &v : NULL, BPF_SK_STORAGE_GET_F_CREATE);
		assert_int_equal(*p, i & 2 ? 7 : 0);
		*p = (u64)i;
	}
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(*(u64 *)bpf_sock_storage_get(m[i & 1], &owners[i], NULL, 0), i);
		assert_null(bpf_sock_storage_get(m[~i & 1], &owners[i], NULL, 0));
	}
	assert_null(bpf_sock_storage_get(m[0], &owners[0], NULL, 2));
	assert_int_equal(bpf_sock_storage_delete(m[0], &owners[0]), 0);
	assert_int_equal(bpf_sock_storage_delete(m[0], &owners[0]), -ENOENT);
	bpf_sock_storage_drop(&owners[1]);
	assert_null(bpf_sock_storage_get(m[1], &owners[1], NULL, 0));
	bpf_map_put(m[0]);
	assert_non_null(bpf_sock_storage_get(m[1], &owners[3], NULL, 0));
	bpf_map_put(m[1]); /* with its entries: LeakSanitizer would tell */
}

static void ring_buffer(void **state)
{
	struct bpf_map *r = make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	u32 c, p, d, size;
	u8 *area = bpf_ringbuf_area(r, &c, &p, &d, &size);
	u64 seen = 0, sent = 0, *consumer = (u64 *)(area + c), *producer = (u64 *)(area + p);
	u8 bytes[200];

	assert_null(bpf_ringbuf_reserve(r, 4096, 0)); /* does not fit with its header */
	for (int round = 0; round < 500; round++) {
		memset(bytes, (int)sent, sizeof(bytes));
		while (!bpf_ringbuf_output(r, bytes, 1 + sent % 199, 0))
			memset(bytes, (int)++sent, sizeof(bytes));
		for (int i = 0; i < 3 && *consumer < *producer; i++) {
			u32 *h = (u32 *)(area + d + (*consumer & (size - 1))),
			    len = h[0] & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);

			assert_false(h[0] & BPF_RINGBUF_BUSY_BIT);
			if (!(h[0] & BPF_RINGBUF_DISCARD_BIT)) {
				assert_int_equal(len, 1 + seen % 199);
				assert_int_equal(((u8 *)(h + 2))[len - 1], (u8)seen);
				seen++;
			}
			*consumer += ALIGN_UP(len + 8, 8U);
		}
	}
	assert_true(seen > 500 && seen <= sent);
	bpf_map_put(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shape),
		cmocka_unit_test(arithmetic),
		cmocka_unit_test(stack),
		cmocka_unit_test(contexts),
		cmocka_unit_test(map_values),
		cmocka_unit_test(calls),
		cmocka_unit_test(long_programs),
		cmocka_unit_test(scalars_are_sound),
		cmocka_unit_test(branches_are_sound),
		cmocka_unit_test(hash_contract),
		cmocka_unit_test(lru_is_exact),
		cmocka_unit_test(lpm_against_a_list),
		cmocka_unit_test(queue_and_stack),
		cmocka_unit_test(bloom_filter),
		cmocka_unit_test(storage_of_sockets),
		cmocka_unit_test(ring_buffer),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
