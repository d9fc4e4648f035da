/* SPDX-License-Identifier: MIT
 *
 * Problem: a translated filter must do what the filter says, for every filter that the old machine allows.
 *
 * Idea: a second, direct interpreter of the old machine; random filters run by both, as the interpreter and the
 * compiler see the translation. Then the borders of each rule.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <bpf/ctx.h>
#include <bpf/helper.h>
#include <bpf/prog.h>
#include <lib/err.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#define S(c, t, f, v)                                                                                                  \
	{                                                                                                              \
		(c), (t), (f), (v)                                                                                     \
	}
#define RET(v) S(BPF_RET | BPF_K, 0, 0, v)

static u64 seed = 88172645463325252ULL;

static u32 rnd(u32 n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (u32)(seed >> 16) % n;
}

/* ---- the old machine ----------------------------------------------------------------------------------------------
 */

struct input {
	const u8 *bytes;
	u32 len;
	bool seccomp;
};

static bool fetch(const struct input *in, u32 off, u32 size, u32 *out)
{
	if (in->seccomp) {
		memcpy(out, in->bytes + off, 4);
		return true;
	}
	if ((u64)off + size > in->len)
		return false;
	*out = 0;
	for (u32 i = 0; i < size; i++)
		*out = *out << 8 | in->bytes[off + i];
	return true;
}

static u32 compute(u16 op, u32 a, u32 b)
{
	switch (op) {
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_DIV: return a / b;
	case BPF_MOD: return a % b;
	case BPF_AND: return a & b;
	case BPF_OR: return a | b;
	case BPF_XOR: return a ^ b;
	case BPF_LSH: return a << (b & 31);
	case BPF_RSH: return a >> (b & 31);
	default: return -a;
	}
}

static bool holds(u16 op, u32 a, u32 b)
{
	return op == BPF_JEQ ? a == b : op == BPF_JGT ? a > b : op == BPF_JGE ? a >= b : (a & b) != 0;
}

static u32 size_of(u16 code)
{
	return BPF_SIZE(code) == BPF_W ? 4 : BPF_SIZE(code) == BPF_H ? 2 : 1;
}

static u32 run_old(const struct sock_filter *f, const struct input *in)
{
	u32 a = 0, x = 0, m[BPF_MEMWORDS] = { 0 }, v;

	for (;; f++) {
		u32 b = BPF_SRC(f->code) == BPF_X ? x : f->k, *dst = BPF_CLASS(f->code) == BPF_LDX ? &x : &a;

		switch (BPF_CLASS(f->code)) {
		case BPF_RET: return BPF_RVAL(f->code) == BPF_A ? a : f->k;
		case BPF_ST: m[f->k] = a; break;
		case BPF_STX: m[f->k] = x; break;
		case BPF_MISC:
			if (BPF_MISCOP(f->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		case BPF_ALU:
			if ((BPF_OP(f->code) == BPF_DIV || BPF_OP(f->code) == BPF_MOD) && !b)
				return 0;
			a = compute(BPF_OP(f->code), a, b);
			break;
		case BPF_JMP:
			if (BPF_OP(f->code) == BPF_JA)
				f += f->k;
			else
				f += holds(BPF_OP(f->code), a, b) ? f->jt : f->jf;
			break;
		default:
			switch (BPF_MODE(f->code)) {
			case BPF_IMM: *dst = f->k; break;
			case BPF_MEM: *dst = m[f->k]; break;
			case BPF_LEN: *dst = in->seccomp ? sizeof(struct seccomp_data) : in->len; break;
			case BPF_MSH:
				if (!fetch(in, f->k, 1, &v))
					return 0;
				x = (v & 15) * 4;
				break;
			default:
				if (!fetch(in, f->k + (BPF_MODE(f->code) == BPF_IND ? x : 0), size_of(f->code), &a))
					return 0;
			}
		}
	}
}

/* ---- random filters -------------------------------------------------------------------------------------------------
 */

static struct sock_filter random_one(u32 left, bool seccomp)
{
	static const u16 ops[] = { BPF_ADD, BPF_SUB, BPF_MUL, BPF_DIV, BPF_AND, BPF_OR,
				   BPF_XOR, BPF_LSH, BPF_RSH, BPF_NEG, BPF_MOD };
	static const u16 jumps[] = { BPF_JEQ, BPF_JGT, BPF_JGE, BPF_JSET };
	static const u16 sizes[] = { BPF_W, BPF_H, BPF_B };
	u32 v = rnd(3) ? rnd(70) : rnd(2) ? ~rnd(8) : rnd(0xffffffff);
	u16 src = rnd(2) ? BPF_X : BPF_K, op;

	switch (rnd(12)) {
	case 0:
	case 1:
		op = ops[rnd(seccomp ? 10 : 11)];
		if (op == BPF_NEG)
			src = v = 0;
		else if (src == BPF_K)
			v = op == BPF_DIV || op == BPF_MOD ? 1 + rnd(9) : op == BPF_LSH || op == BPF_RSH ? rnd(32) : v;
		return (struct sock_filter)S(BPF_ALU | op | src, 0, 0, v);
	case 2:
	case 3:
		if (left < 2)
			break;
		return (struct sock_filter)S(BPF_JMP | jumps[rnd(4)] | src, rnd(left < 255 ? left : 255),
					     rnd(left < 255 ? left : 255), v);
	case 4:
		if (left < 2 || rnd(4))
			break;
		return (struct sock_filter)S(BPF_JMP | BPF_JA, 0, 0, rnd(left));
	case 5: return (struct sock_filter)S(rnd(2) ? BPF_ST : BPF_STX, 0, 0, rnd(BPF_MEMWORDS));
	case 6: return (struct sock_filter)S((rnd(2) ? BPF_LD : BPF_LDX) | BPF_MEM, 0, 0, rnd(BPF_MEMWORDS));
	case 7: return (struct sock_filter)S((rnd(2) ? BPF_LD : BPF_LDX) | BPF_IMM, 0, 0, v);
	case 8: return (struct sock_filter)S((rnd(2) ? BPF_LD : BPF_LDX) | BPF_W | BPF_LEN, 0, 0, 0);
	case 9: return (struct sock_filter)S(BPF_MISC | (rnd(2) ? BPF_TAX : BPF_TXA), 0, 0, 0);
	case 10:
		if (!seccomp)
			return (struct sock_filter)S(
				rnd(2) ? BPF_LDX | BPF_B | BPF_MSH : BPF_LD | BPF_IND | sizes[rnd(3)], 0, 0, rnd(70));
		break;
	case 11: return (struct sock_filter)S(BPF_RET | (rnd(2) ? BPF_K : BPF_A), 0, 0, v);
	}
	return (struct sock_filter)S(BPF_LD | BPF_ABS | (seccomp ? BPF_W : sizes[rnd(3)]), 0, 0,
				     seccomp ? rnd(16) * 4 : rnd(70));
}

static u64 run_compiled(struct bpf_prog *p, const void *ctx)
{
	static u8 *code;
	u32 room = 1 << 20;
	int n;

	code = code ? code : mmap(NULL, room, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	n = bpf_jit_x86(p, code, room, (u64)(ulong)code, NULL, false);
	assert_true(n > 0);
	return ((u64(*)(const void *))code)(ctx);
}

static void one(const struct sock_filter *f, u32 len, bool seccomp)
{
	u8 bytes[64];
	struct bpf_prog *p = NULL;
	u32 expected;

	assert_int_equal(bpf_prog_classic(f, len, seccomp, &p), 0);
	for (int round = 0; round < 4; round++) {
		struct bpf_skb_ctx skb = { .data = bytes,
					   .data_end = bytes + sizeof(bytes),
					   .net = bytes,
					   .mac = bytes,
					   .len = sizeof(bytes) };
		struct input in = { bytes, sizeof(bytes), seccomp };
		const void *ctx = seccomp ? (void *)bytes : (void *)&skb;

		for (u32 i = 0; i < sizeof(bytes); i++)
			bytes[i] = rnd(2) ? (u8)rnd(256) : (u8)rnd(4);
		expected = run_old(f, &in);
		assert_int_equal((u32)bpf_interpret(p, ctx), expected);
		assert_int_equal((u32)run_compiled(p, ctx), expected);
	}
	bpf_prog_put(p);
}

static void random_filters(void **state)
{
	u32 accepted = 0, refused = 0;

	while (accepted < 3000) {
		struct sock_filter f[64];
		u32 len = 1 + rnd(rnd(2) ? 8 : 60);
		bool seccomp = rnd(2);
		int r;

		for (u32 i = 0; i + 1 < len; i++)
			f[i] = random_one(len - i - 1, seccomp);
		f[len - 1] = (struct sock_filter)S(BPF_RET | (rnd(2) ? BPF_K : BPF_A), 0, 0, rnd(99));
		r = bpf_from_classic(f, len, seccomp, NULL, 0);
		if (r == -EINVAL) { /* it reads memory that no way has written */
			refused++;
			continue;
		}
		assert_true(r >= (int)1);
		one(f, len, seccomp);
		accepted++;
	}
	assert_true(refused > 0);
}

/* ---- rules
 * ------------------------------------------------------------------------------------------------------------ */

#define OK(...)                                                                                                        \
	verdict(true, false, (struct sock_filter[]){ __VA_ARGS__ }, sizeof((struct sock_filter[]){ __VA_ARGS__ }) / 8)
#define NO(...)                                                                                                        \
	verdict(false, false, (struct sock_filter[]){ __VA_ARGS__ }, sizeof((struct sock_filter[]){ __VA_ARGS__ }) / 8)
#define OKS(...)                                                                                                       \
	verdict(true, true, (struct sock_filter[]){ __VA_ARGS__ }, sizeof((struct sock_filter[]){ __VA_ARGS__ }) / 8)
#define NOS(...)                                                                                                       \
	verdict(false, true, (struct sock_filter[]){ __VA_ARGS__ }, sizeof((struct sock_filter[]){ __VA_ARGS__ }) / 8)

static void verdict(bool ok, bool seccomp, const struct sock_filter *f, u32 len)
{
	struct bpf_prog *p = NULL;
	int r = bpf_prog_classic(f, len, seccomp, &p);

	assert_int_equal(r, ok ? 0 : -EINVAL);
	bpf_prog_put(p);
}

static void rules(void **state)
{
	OK(RET(0));
	NO(S(BPF_LD | BPF_IMM, 0, 0, 1));
	NO(S(BPF_RET | BPF_X, 0, 0, 0));
	OK(S(BPF_ALU | BPF_DIV | BPF_K, 0, 0, 1), RET(0));
	NO(S(BPF_ALU | BPF_DIV | BPF_K, 0, 0, 0), RET(0));
	OK(S(BPF_ALU | BPF_LSH | BPF_K, 0, 0, 31), RET(0));
	NO(S(BPF_ALU | BPF_LSH | BPF_K, 0, 0, 32), RET(0));
	OK(S(BPF_ST, 0, 0, 15), S(BPF_LD | BPF_MEM, 0, 0, 15), RET(0));
	NO(S(BPF_ST, 0, 0, 16), RET(0));
	NO(S(BPF_LD | BPF_MEM, 0, 0, 15), RET(0));
	NO(S(BPF_JMP | BPF_JEQ, 0, 1, 0), S(BPF_ST, 0, 0, 3), S(BPF_LD | BPF_MEM, 0, 0, 3), RET(0));
	OK(S(BPF_JMP | BPF_JA, 0, 0, 0), RET(0));
	NO(S(BPF_JMP | BPF_JA, 0, 0, 1), RET(0));
	NO(S(BPF_JMP | BPF_JEQ, 0, 1, 0), RET(0));
	OK(S(BPF_JMP | BPF_JA, 0, 0, 1), S(BPF_LD | BPF_IMM, 0, 0, 1),
	   RET(0)); /* what nobody reaches may stand there */
	OK(S(BPF_LD | BPF_ABS, 0, 0, SKF_AD_OFF + SKF_AD_PROTOCOL), RET(0));
	NO(S(BPF_LD | BPF_ABS, 0, 0, SKF_AD_OFF + SKF_AD_MAX), RET(0));
	OKS(S(BPF_LD | BPF_ABS, 0, 0, 60), RET(0));
	NOS(S(BPF_LD | BPF_ABS, 0, 0, 64), RET(0));
	NOS(S(BPF_LD | BPF_ABS, 0, 0, 2), RET(0));
	NOS(S(BPF_LD | BPF_H | BPF_ABS, 0, 0, 0), RET(0));
	NOS(S(BPF_LD | BPF_IND, 0, 0, 0), RET(0));
	NOS(S(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 0), RET(0));
	NOS(S(BPF_ALU | BPF_MOD | BPF_K, 0, 0, 3), RET(0));
	NO(S(0xffff, 0, 0, 0), RET(0));
}

/* Thousands of branches must not cost thousands of ways. */
static void long_filters(void **state)
{
	struct sock_filter *f = calloc(BPF_MAXINSNS + 1, sizeof(*f));

	for (u32 i = 0; i < BPF_MAXINSNS - 1; i++)
		f[i] = i % 3 == 0   ? (struct sock_filter)S(BPF_LD | BPF_ABS, 0, 0, i % 16 * 4)
		       : i % 3 == 1 ? (struct sock_filter)S(BPF_JMP | BPF_JSET, 0, 1, 1U << (i % 32))
				    : (struct sock_filter)S(BPF_ST, 0, 0, i % 16);
	f[BPF_MAXINSNS - 1] = (struct sock_filter)RET(1);
	one(f, BPF_MAXINSNS, true);
	f[BPF_MAXINSNS] = (struct sock_filter)RET(1);
	verdict(false, true, f, BPF_MAXINSNS + 1);
	free(f);
}

static int setup(void **state)
{
	bpf_helpers_install();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_filters),
		cmocka_unit_test(rules),
		cmocka_unit_test(long_filters),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
