/* SPDX-License-Identifier: MIT
 *
 * Problem: an instruction that a guest aims at a device must have the effect that the processor would give it.
 *
 * Idea: the processor is the oracle. Each encoding is run here, on a memory operand, between code that loads and stores
 * four registers and the flags, and by insn_decode and insn_apply; both must agree on registers, flags that are
 * defined, the operand afterwards, and the length.
 *
 * Contract: runs under ASan and UBSan, on x86-64. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>
#include "../../kernel/virt/kvm/insn.h"
#include <lib/err.h>

#define AF    0x10ULL
#define ARITH 0x8d5ULL

struct state { /* order known to the code below */
	uint64_t rax, rcx, rdx, rbx, flags;
	void *memory;
};

static uint8_t *code;

/* Loads the state, runs the instruction, stores the state. */
static void run_native(struct state *s, const uint8_t *insn, unsigned n)
{
	static const uint8_t before[] = { 0x53, 0x57, 0x48, 0x8b, 0x77, 0x28, 0xff, 0x77, 0x20, 0x48, 0x8b, 0x07, 0x48,
					  0x8b, 0x4f, 0x08, 0x48, 0x8b, 0x57, 0x10, 0x48, 0x8b, 0x5f, 0x18, 0x9d };
	static const uint8_t after[] = { 0x9c, 0x41, 0x58, 0x5f, 0x48, 0x89, 0x07, 0x48, 0x89, 0x4f, 0x08, 0x48, 0x89,
					 0x57, 0x10, 0x48, 0x89, 0x5f, 0x18, 0x4c, 0x89, 0x47, 0x20, 0x5b, 0xc3 };

	memcpy(code, before, sizeof(before));
	memcpy(code + sizeof(before), insn, n);
	memcpy(code + sizeof(before) + n, after, sizeof(after));
	((void (*)(struct state *))(void *)code)(s);
}

static uint64_t undefined_flags(const struct insn *i)
{
	if (i->op == INSN_BIT)
		return ARITH & ~1ULL;
	if (i->op == INSN_TEST || (i->op == INSN_ALU && (i->alu == 1 || i->alu == 4 || i->alu == 6)))
		return AF;
	return 0;
}

static void compare(const uint8_t *bytes, unsigned n, uint64_t seed)
{
	uint64_t memory = 0x8182838485868788ULL * (seed | 1), ours = memory;
	struct state s = { seed * 0x9e3779b97f4a7c15ULL, ~seed,  seed << 7 ^ 0x8000, seed * 77,
			   0x202 | (seed & ARITH),       &memory };
	uint64_t g[16] = { s.rax, s.rcx, s.rdx, s.rbx }, flags = s.flags, out;
	struct insn i;

	g[6] = (uintptr_t)&memory;
	assert_int_equal(insn_decode(bytes, n, X86_CODE_64, &i), 0);
	assert_int_equal(i.length, n);
	for (unsigned k = 0; k < n; k++)
		assert_int_equal(insn_decode(bytes, k, X86_CODE_64, &i), -ENODATA);
	assert_int_equal(insn_decode(bytes, n, X86_CODE_64, &i), 0);
	out = insn_apply(&i, g, &flags, insn_reads(&i) ? ours & (i.bytes == 8 ? ~0ULL : (1ULL << i.bytes * 8) - 1) : 0);
	if (insn_writes(&i))
		memcpy(&ours, &out, i.bytes);
	run_native(&s, bytes, n);
	if (memory != ours || s.rax != g[0] || s.rcx != g[1] || s.rdx != g[2] || s.rbx != g[3] ||
	    ((s.flags ^ flags) & ARITH & ~undefined_flags(&i)))
		fail_msg("bytes %02x %02x %02x %02x seed %lx: memory %lx/%lx rax %lx/%lx rcx %lx/%lx rbx %lx/%lx flags "
			 "%lx/%lx",
			 bytes[0], n > 1 ? bytes[1] : 0, n > 2 ? bytes[2] : 0, n > 3 ? bytes[3] : 0, (ulong)seed,
			 (ulong)memory, (ulong)ours, (ulong)s.rax, (ulong)g[0], (ulong)s.rcx, (ulong)g[1], (ulong)s.rbx,
			 (ulong)g[3], (ulong)s.flags, (ulong)flags);
}

/* prefix (0: none), opcode bytes, ModRM with [rsi] and this register field, immediate bytes. */
static void encode(uint8_t prefix, const uint8_t *op, unsigned nr, unsigned reg, unsigned imm, uint64_t seed)
{
	uint8_t bytes[16];
	unsigned n = 0;

	if (prefix)
		bytes[n++] = prefix;
	memcpy(bytes + n, op, nr);
	n += nr;
	bytes[n++] = (uint8_t)(reg << 3 | 6);
	for (unsigned i = 0; i < imm; i++)
		bytes[n++] = (uint8_t)(seed >> i * 8 ^ 0x5a);
	compare(bytes, n, seed);
}

static const uint8_t prefixes[] = { 0, 0x66, 0x48 };

static unsigned imm_of(uint8_t prefix, bool byte)
{
	return byte ? 1 : prefix == 0x66 ? 2 : 4;
}

static void for_seeds(void (*fn)(uint64_t seed))
{
	static const uint64_t fixed[] = { 0,      1,          0x7f,       0x80,  0xff,      0x7fff,
					  0x8000, 0xffffffff, 0x80000000, ~0ULL, 1ULL << 63 };
	uint64_t r = 88172645463325252ULL;

	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		fn(fixed[i]);
	for (unsigned i = 0; i < 40; i++) {
		r ^= r << 13;
		r ^= r >> 7;
		r ^= r << 17;
		fn(r);
	}
}

static void registers(uint64_t seed)
{
	for (unsigned p = 0; p < 3; p++) {
		for (uint8_t op = 0; op < 0x40; op++)
			if ((op & 7) < 4)
				for (unsigned reg = 0; reg < ((op & 1) || prefixes[p] == 0x48 ? 4 : 8); reg++)
					encode(prefixes[p], &op, 1, reg, 0, seed);
		for (uint8_t op = 0x84; op <= 0x8b; op++)
			for (unsigned reg = 0; reg < ((op & 1) || prefixes[p] == 0x48 ? 4 : 8); reg++)
				encode(prefixes[p], &op, 1, reg, 0, seed);
		for (uint8_t op = 0xb6; op <= 0xbf; op++)
			if (op == 0xb6 || op == 0xb7 || op >= 0xbe)
				for (unsigned reg = 0; reg < 4; reg++)
					encode(prefixes[p], (uint8_t[]){ 0x0f, op }, 2, reg, 0, seed);
	}
	encode(0x48, (uint8_t[]){ 0x63 }, 1, 1, 0, seed);
}

static void immediates(uint64_t seed)
{
	for (unsigned p = 0; p < 3; p++) {
		for (unsigned sub = 0; sub < 8; sub++) {
			encode(prefixes[p], (uint8_t[]){ 0x80 }, 1, sub, 1, seed);
			encode(prefixes[p], (uint8_t[]){ 0x81 }, 1, sub, imm_of(prefixes[p], false), seed);
			encode(prefixes[p], (uint8_t[]){ 0x83 }, 1, sub, 1, seed);
			if (sub >= 4)
				encode(prefixes[p], (uint8_t[]){ 0x0f, 0xba }, 2, sub, 1, seed);
			if (sub < 2) {
				encode(prefixes[p], (uint8_t[]){ 0xfe }, 1, sub, 0, seed);
				encode(prefixes[p], (uint8_t[]){ 0xff }, 1, sub, 0, seed);
			}
			if (sub < 4) {
				encode(prefixes[p], (uint8_t[]){ 0xf6 }, 1, sub, sub < 2, seed);
				encode(prefixes[p], (uint8_t[]){ 0xf7 }, 1, sub,
				       sub < 2 ? imm_of(prefixes[p], false) : 0, seed);
			}
		}
		encode(prefixes[p], (uint8_t[]){ 0xc6 }, 1, 0, 1, seed);
		encode(prefixes[p], (uint8_t[]){ 0xc7 }, 1, 0, imm_of(prefixes[p], false), seed);
	}
}

static void test_registers(void **state)
{
	for_seeds(registers);
}

static void test_immediates(void **state)
{
	for_seeds(immediates);
}

/* Addressing forms are only skipped: their length counts. */
static void test_lengths(void **state)
{
	static const struct {
		uint8_t bytes[15], n;
		enum x86_mode mode;
	} rows[] = {
		{ { 0x89, 0x04, 0x25, 1, 2, 3, 4 }, 7, X86_CODE_64 },
		{ { 0x89, 0x44, 0x8d, 0x10 }, 4, X86_CODE_64 },
		{ { 0x89, 0x05, 1, 2, 3, 4 }, 6, X86_CODE_64 },
		{ { 0x89, 0x80, 1, 2, 3, 4 }, 6, X86_CODE_32 },
		{ { 0xa3, 1, 2, 3, 4, 5, 6, 7, 8 }, 9, X86_CODE_64 },
		{ { 0xa3, 1, 2 }, 3, X86_CODE_16 },
		{ { 0x67, 0xa3, 1, 2, 3, 4 }, 6, X86_CODE_16 },
		{ { 0x89, 0x47, 0x10 }, 3, X86_CODE_16 },
		{ { 0x89, 0x06, 1, 2 }, 4, X86_CODE_16 },
		{ { 0x65, 0x66, 0xc7, 0x00, 1, 2 }, 6, X86_CODE_32 },
		{ { 0x44, 0x89, 0x30 }, 3, X86_CODE_64 },
		{ { 0xf3, 0xab }, 2, X86_CODE_64 },
	};
	struct insn i;

	for (unsigned r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
		assert_int_equal(insn_decode(rows[r].bytes, 15, rows[r].mode, &i), 0);
		assert_int_equal(i.length, rows[r].n);
	}
	assert_int_equal(insn_decode((uint8_t[]){ 0x89, 0xc0 }, 2, X86_CODE_64, &i),
			 -EINVAL); /* register to register */
	assert_int_equal(insn_decode((uint8_t[]){ 0x0f, 0x0b }, 2, X86_CODE_64, &i), -EINVAL);
	assert_int_equal(insn_prefixes((uint8_t[]){ 0xf3, 0x66, 0x48, 0x0f }, 4, X86_CODE_64), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_registers), cmocka_unit_test(test_immediates),
					    cmocka_unit_test(test_lengths) };

	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
