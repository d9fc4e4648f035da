/* SPDX-License-Identifier: MIT
 *
 * Problem: c2c without a PMU is inference; each step of it must be right by itself.
 *
 * Idea: hand-assembled instructions for the operand core; hand-made interleavings for the ownership model.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
// libs: -lZydis
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <asm/perf_regs.h>
#include <lib/err.h>
#include <perf/lines.h>
#include <perf/operand.h>
#include <alloc/slab.h>

static void operands(void **state)
{
	static const u8 add_mem[] = { 0x48, 0x83, 0x47, 0x08, 0x01 };   /* addq $1, 8(%rdi) */
	static const u8 load_self[] = { 0x48, 0x8b, 0x00 };             /* mov (%rax), %rax */
	static const u8 indexed[] = { 0x4a, 0x89, 0x4c, 0xc3, 0xf8 };   /* mov %rcx, -8(%rbx,%r8,8) */
	static const u8 rip[] = { 0x8b, 0x05, 0x10, 0x00, 0x00, 0x00 }; /* mov 16(%rip), %eax */
	static const u8 locked[] = { 0xf0, 0x0f, 0xb1, 0x16 };          /* lock cmpxchg %edx, (%rsi) */
	static const u8 tls[] = { 0x64, 0x8b, 0x04, 0x25, 0, 0, 0, 0 }; /* mov %fs:0, %eax */
	static const u8 lea[] = { 0x48, 0x8d, 0x47, 0x08 };             /* lea 8(%rdi), %rax: no access */
	static const u8 ret[] = { 0xc3 };
	u64 regs[OPERAND_REGS] = { [PERF_REG_X86_DI] = 0x1000,
				   [PERF_REG_X86_AX] = 0x2000,
				   [PERF_REG_X86_BX] = 0x3000,
				   [PERF_REG_X86_R8] = 4,
				   [PERF_REG_X86_SI] = 0x5000 };
	struct operand_insn i;

	assert_int_equal(operand_decode(add_mem, sizeof(add_mem), 0, regs, &i), 5);
	assert_int_equal(i.nr, 1);
	assert_int_equal(i.op[0].addr, 0x1008);
	assert_int_equal(i.op[0].bytes, 8);
	assert_true(i.op[0].is_read && i.op[0].is_write);
	assert_int_equal(i.op[0].base, PERF_REG_X86_DI);
	assert_int_equal(i.op[0].disp, 8);
	assert_int_equal(operand_decode(load_self, sizeof(load_self), 0, regs, &i), 3);
	assert_true(i.op[0].regs_used & i.regs_written);
	assert_int_equal(operand_decode(indexed, sizeof(indexed), 0, regs, &i), 5);
	assert_int_equal(i.op[0].addr, 0x3000 + 32 - 8);
	assert_true(i.op[0].has_index && i.op[0].is_write && !i.op[0].is_read);
	assert_int_equal(operand_decode(rip, sizeof(rip), 0x400000, regs, &i), 6);
	assert_int_equal(i.op[0].addr, 0x400016);
	assert_int_equal(i.op[0].bytes, 4);
	assert_int_equal(operand_decode(locked, sizeof(locked), 0, regs, &i), 4);
	assert_true(i.is_locked && i.op[0].is_write && i.op[0].addr == 0x5000);
	assert_int_equal(operand_decode(tls, sizeof(tls), 0, regs, &i), 8);
	assert_int_equal(i.nr, 0);
	assert_int_equal(operand_decode(lea, sizeof(lea), 0, regs, &i), 4);
	assert_int_equal(i.nr, 0);
	assert_int_equal(operand_decode(ret, 1, 0, regs, &i), 1);
	assert_true(i.ends_flow && i.is_branch);
	assert_int_equal(operand_decode(add_mem, 3, 0, regs, &i), -EINVAL);
}

static void predecessor(void **state)
{
	/* nop; addq $1, 8(%rdi); mov (%rax), %rax; ret, then room */
	u8 code[64] = { 0x90, 0x48, 0x83, 0x47, 0x08, 0x01, 0x48, 0x8b, 0x00, 0xc3 };
	u64 before;

	assert_int_equal(operand_previous(code, sizeof(code), 0x100, 0x106, true, &before), 0);
	assert_int_equal(before, 0x101);
	assert_int_equal(operand_previous(code, sizeof(code), 0x100, 0x109, false, &before), 0);
	assert_int_equal(before, 0x106);
	assert_int_equal(operand_previous(code, sizeof(code), 0x100, 0x103, true, &before), -ENOENT); /* inside one */
	assert_int_equal(operand_previous(code, sizeof(code), 0x100, 0x100, true, &before), -ENOENT);
}

static int touch(struct lines *m, u32 tid, u64 addr, bool is_write)
{
	struct line_access a = {
		.space = 1, .addr = addr, .ip = 0x1000 + tid, .tid = tid, .cpu = tid, .bytes = 8, .is_write = is_write
	};

	return lines_add(m, &a);
}

static struct line *only_line(struct lines *m)
{
	struct line **v, *l;
	u32 nr;

	assert_int_equal(lines_ranked(m, 0, &v, &nr), 0);
	assert_true(nr >= 1);
	l = v[0];
	kfree(v);
	return l;
}

static void ownership(void **state)
{
	struct lines m;

	assert_int_equal(lines_init(&m), 0);
	assert_int_equal(touch(&m, 0, 0x40, true), 0);  /* first write: nobody had it */
	assert_int_equal(touch(&m, 0, 0x40, false), 0); /* its own */
	assert_int_equal(touch(&m, 1, 0x48, false), 1); /* modified elsewhere */
	assert_int_equal(touch(&m, 1, 0x48, false), 0); /* shared now */
	assert_int_equal(touch(&m, 0, 0x40, true), 1);  /* takes it back from the reader */
	assert_int_equal(touch(&m, 1, 0x48, true), 1);
	assert_int_equal(only_line(&m)->travels, 3);
	assert_int_equal(line_classify(only_line(&m)), LINE_FALSE_SHARING);
	lines_free(&m);
}

static void one_cpu(void **state)
{
	struct line_access a = { .addr = 0x80, .bytes = 8, .is_write = true };
	struct lines m;

	assert_int_equal(lines_init(&m), 0);
	for (u32 i = 0; i < 10; i++) {
		a.tid = i & 1; /* two threads take turns on one CPU: the line stays */
		assert_int_equal(lines_add(&m, &a), 0);
	}
	lines_free(&m);
}

static void kinds(void **state)
{
	struct lines m;

	assert_int_equal(lines_init(&m), 0);
	touch(&m, 0, 0, false);
	assert_int_equal(line_classify(only_line(&m)), LINE_PRIVATE);
	touch(&m, 1, 0, false);
	assert_int_equal(line_classify(only_line(&m)), LINE_READ_SHARED);
	touch(&m, 1, 4, true); /* 4..11 overlaps 0..7 of thread 0 */
	assert_int_equal(line_classify(only_line(&m)), LINE_TRUE_SHARING);
	lines_free(&m);
}

static void owners(void **state)
{
	struct owner_table *t = calloc(1, sizeof(*t));
	u32 from = 99;

	assert_non_null(t);
	assert_int_equal(owner_touch(t, 7, 0, true, &from), OWNER_UNKNOWN);
	assert_int_equal(owner_touch(t, 7, 0, false, &from), OWNER_HERE);
	assert_int_equal(owner_touch(t, 7, 1, false, &from), OWNER_HANDED); /* handed over once */
	assert_int_equal(from, 0);
	assert_int_equal(owner_touch(t, 7, 1, true, &from), OWNER_HANDED);
	assert_int_equal(owner_touch(t, 7, 1, true, &from), OWNER_HERE);
	assert_int_equal(owner_touch(t, 7, 0, false, &from), OWNER_FOUGHT);
	assert_int_equal(owner_touch(t, 7, 0, false, &from), OWNER_HERE);
	for (u64 key = 100; key < 100 + 64 * OWNER_SETS; key++) /* older lines are forgotten */
		assert_int_equal(owner_touch(t, key, 0, true, &from), OWNER_UNKNOWN);
	assert_int_equal(owner_touch(t, 7, 0, false, &from), OWNER_UNKNOWN);
	for (unsigned i = 0; i < 100; i++) { /* a line that is used stays, whatever passes by */
		for (u64 key = 0; key < OWNER_SETS; key++)
			(void)owner_touch(t, 1000000 + i * OWNER_SETS + key, 0, true, &from);
		assert_int_equal(owner_touch(t, 7, 0, false, &from), OWNER_HERE);
	}
	free(t);
}

static void ranking(void **state)
{
	struct line **v;
	struct lines m;
	u32 nr;

	assert_int_equal(lines_init(&m), 0);
	for (u32 l = 0; l < 6000; l++) /* enough to grow the table */
		for (u32 i = 0; i < l % 7; i++)
			touch(&m, i & 1, l * 64, true);
	assert_int_equal(lines_ranked(&m, 2, &v, &nr), 0);
	assert_true(nr > 1000);
	for (u32 i = 0; i < nr; i++) {
		assert_true(v[i]->travels >= 2);
		assert_true(!i || v[i - 1]->travels >= v[i]->travels);
	}
	kfree(v);
	lines_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(operands), cmocka_unit_test(predecessor), cmocka_unit_test(ownership),
		cmocka_unit_test(one_cpu),  cmocka_unit_test(kinds),       cmocka_unit_test(ranking),
		cmocka_unit_test(owners),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
