/* SPDX-License-Identifier: MIT
 *
 * Problem: programs must run where the compiler cannot help (no executable memory, another machine), and the compiler
 * needs something to be compared with.
 *
 * Idea: one loop with a switch over the opcode byte, on verified and fixed-up instructions: no check is repeated
 * except division by zero (x / 0 = 0, x % 0 = x) and the classic packet loads. Subprograms share one stack of 512
 * bytes: the verifier has checked that the frames of any chain fit.
 *
 * Contract: bpf_interpret in bpf/prog.h. Helpers are called with five words. A tail call replaces the running
 * program, at most 33 times.
 *
 * Locks: none. The caller keeps the program alive.
 */
#include <lib/err.h>
#include <lib/string.h>
#include "helper_priv.h"

#define NESTED_TAILS 8 /* tail calls out of subprograms that are open at the same time */

struct run {
	const struct bpf_prog *prog;
	u32 tail_calls, nested;
	u8 stack[BPF_STACK_BYTES + 64] __aligned(16);
};

static u64 run_from(struct run *run, u32 start, u64 *args, u8 *stack_top);

static u64 alu64(u8 op, u64 a, u64 b)
{
	switch (op) {
	case BPF_ADD: return a + b;
	case BPF_SUB: return a - b;
	case BPF_MUL: return a * b;
	case BPF_DIV: return b ? a / b : 0;
	case BPF_OR: return a | b;
	case BPF_AND: return a & b;
	case BPF_LSH: return a << (b & 63);
	case BPF_RSH: return a >> (b & 63);
	case BPF_NEG: return -a;
	case BPF_MOD: return b ? a % b : a;
	case BPF_XOR: return a ^ b;
	case BPF_MOV: return b;
	case BPF_ARSH: return (u64)((s64)a >> (b & 63));
	}
	return 0;
}

static u32 alu32(u8 op, u32 a, u32 b)
{
	switch (op) {
	case BPF_DIV: return b ? a / b : 0;
	case BPF_MOD: return b ? a % b : a;
	case BPF_LSH: return a << (b & 31);
	case BPF_RSH: return a >> (b & 31);
	case BPF_ARSH: return (u32)((s32)a >> (b & 31));
	}
	return (u32)alu64(op, a, b);
}

static u64 swap_bytes(u64 v, s32 bits, bool big)
{
	switch (bits) {
	case 16: return big ? __builtin_bswap16((u16)v) : (u16)v;
	case 32: return big ? __builtin_bswap32((u32)v) : (u32)v;
	}
	return big ? __builtin_bswap64(v) : v;
}

static bool holds(u8 op, u64 a, u64 b, bool is64)
{
	s64 sa = is64 ? (s64)a : (s32)a, sb = is64 ? (s64)b : (s32)b;

	if (!is64) {
		a = (u32)a;
		b = (u32)b;
	}
	switch (op) {
	case BPF_JEQ: return a == b;
	case BPF_JNE: return a != b;
	case BPF_JGT: return a > b;
	case BPF_JGE: return a >= b;
	case BPF_JLT: return a < b;
	case BPF_JLE: return a <= b;
	case BPF_JSET: return a & b;
	case BPF_JSGT: return sa > sb;
	case BPF_JSGE: return sa >= sb;
	case BPF_JSLT: return sa < sb;
	case BPF_JSLE: return sa <= sb;
	}
	return false;
}

static u64 load(u64 at, u8 size)
{
	u64 v = 0;

	switch (size) {
	case BPF_B: return *(const u8 *)at;
	case BPF_H: memcpy(&v, (const void *)at, 2); return v;
	case BPF_W: memcpy(&v, (const void *)at, 4); return v;
	}
	memcpy(&v, (const void *)at, 8);
	return v;
}

static void store(u64 at, u64 v, u8 size)
{
	switch (size) {
	case BPF_B: *(u8 *)at = (u8)v; return;
	case BPF_H: memcpy((void *)at, &v, 2); return;
	case BPF_W: memcpy((void *)at, &v, 4); return;
	}
	memcpy((void *)at, &v, 8);
}

#define ATOMIC(type)                                                                                                   \
	do {                                                                                                           \
		type *p = (type *)at, v = (type)*src, old;                                                             \
		switch (imm) {                                                                                         \
		case BPF_XCHG: old = __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); break;                               \
		case BPF_CMPXCHG:                                                                                      \
			old = (type)*r0;                                                                               \
			__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);            \
			*r0 = old;                                                                                     \
			return;                                                                                        \
		default:                                                                                               \
			switch (imm & ~BPF_FETCH) {                                                                    \
			case BPF_ADD: old = __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); break;                         \
			case BPF_AND: old = __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST); break;                         \
			case BPF_OR: old = __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); break;                           \
			default: old = __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST);                                     \
			}                                                                                              \
		}                                                                                                      \
		if (imm & BPF_FETCH)                                                                                   \
			*src = old;                                                                                    \
	} while (0)

static void atomic_op(u64 at, u64 *src, u64 *r0, s32 imm, bool is64)
{
	if (is64)
		ATOMIC(u64);
	else
		ATOMIC(u32);
}

static u8 *frame_below(const struct run *run, u32 sub, u8 *top)
{
	return top - ALIGN_UP(max(run->prog->subs[sub].stack, 1U), 32U);
}

static u32 sub_of(const struct bpf_prog *prog, u32 insn)
{
	u32 i = prog->nr_subs;

	while (--i && prog->subs[i].start > insn)
		;
	return i;
}

/* Helpers that run a callback of the program. */
struct for_each_arg {
	struct run *run;
	u32 start;
	u64 ctx;
	u8 *top;
};

static int for_each_one(struct bpf_map *map, void *key, void *value, void *arg)
{
	struct for_each_arg *a = arg;
	u64 args[5] = { (u64)(ulong)map, (u64)(ulong)key, (u64)(ulong)value, a->ctx };

	return (int)run_from(a->run, a->start, args, a->top);
}

static u64 call_back(struct run *run, u32 id, const u64 *r, u8 *top)
{
	if (id == BPF_FUNC_for_each_map_elem) {
		struct bpf_map *map = (struct bpf_map *)r[1];
		struct for_each_arg arg = { .run = run, .start = (u32)r[2], .ctx = r[3], .top = top };

		if (r[4] || !map->ops->for_each)
			return (u64)(s64)-EINVAL;
		return (u64)(s64)map->ops->for_each(map, for_each_one, &arg);
	}
	if (r[4])
		return (u64)(s64)-EINVAL;
	if ((u32)r[1] > 1U << 23)
		return (u64)(s64)-E2BIG;
	for (u64 i = 0; i < (u32)r[1]; i++) {
		u64 args[5] = { i, r[3] };

		if (run_from(run, (u32)r[2], args, top))
			return i + 1;
	}
	return (u32)r[1];
}

static u64 call(struct run *run, const struct bpf_insn *insn, u32 pc, u64 *r, u8 *top)
{
	if (insn->src_reg == BPF_PSEUDO_CALL)
		return run_from(run, pc + 1 + insn->imm, r + 1, frame_below(run, sub_of(run->prog, pc), top));
	if (insn->imm == BPF_FUNC_loop || insn->imm == BPF_FUNC_for_each_map_elem)
		return call_back(run, (u32)insn->imm, r, frame_below(run, sub_of(run->prog, pc), top));
	return bpf_helper_code((u32)insn->imm)(r[1], r[2], r[3], r[4], r[5]);
}

/* Replaces the program; true if there is one at the index. */
static bool tail_call(struct run *run, const u64 *r)
{
	struct bpf_prog *next = bpf_tail_call_target((struct bpf_map *)r[2], r[3]);

	if (!next || run->tail_calls >= BPF_TAIL_CALLS)
		return false;
	run->tail_calls++;
	run->prog = next;
	return true;
}

/* Out of a subprogram: its callers keep their frames, so the new program gets a stack of its own. */
static __noinline bool nested_tail_call(struct run *run, const u64 *r, u64 *result)
{
	struct run inner = { .prog = run->prog, .tail_calls = run->tail_calls, .nested = run->nested + 1 };
	u64 args[5] = { r[1] };

	if (run->nested >= NESTED_TAILS || !tail_call(&inner, r))
		return false;
	*result = run_from(&inner, 0, args, inner.stack + BPF_STACK_BYTES);
	run->tail_calls = inner.tail_calls;
	return true;
}

static u64 run_from(struct run *run, u32 start, u64 *args, u8 *stack_top)
{
	const struct bpf_prog *prog = run->prog;
	const struct bpf_insn *insn = prog->insns + start;
	u64 r[11] = { 0, args[0], args[1], args[2], args[3], args[4] };

	r[10] = (u64)(ulong)stack_top;
	for (;; insn++) {
		u8 class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);
		u64 *dst = &r[insn->dst_reg], *src = &r[insn->src_reg];
		u64 operand = BPF_SRC(insn->code) == BPF_X ? *src : (u64)(s64)insn->imm;

		switch (class) {
		case BPF_ALU64: *dst = alu64(op, *dst, operand); break;
		case BPF_ALU:
			*dst = op == BPF_END ? swap_bytes(*dst, insn->imm, BPF_SRC(insn->code) == BPF_TO_BE)
					     : alu32(op, (u32)*dst, (u32)operand);
			break;
		case BPF_LDX: *dst = load(*src + insn->off, BPF_SIZE(insn->code)); break;
		case BPF_ST: store(*dst + insn->off, (u64)(s64)insn->imm, BPF_SIZE(insn->code)); break;
		case BPF_STX:
			if (BPF_MODE(insn->code) == BPF_ATOMIC)
				atomic_op(*dst + insn->off, src, r, insn->imm, BPF_SIZE(insn->code) == BPF_DW);
			else
				store(*dst + insn->off, *src, BPF_SIZE(insn->code));
			break;
		case BPF_LD:
			if (BPF_MODE(insn->code) == BPF_IMM) {
				*dst = (u64)(u32)insn[1].imm << 32 | (u32)insn->imm;
				if (insn->src_reg == BPF_PSEUDO_FUNC)
					*dst = (u64)(insn - prog->insns + 1 + insn->imm);
				insn++;
			} else {
				s64 v = bpf_packet_load((void *)r[6],
							(u32)insn->imm +
								(BPF_MODE(insn->code) == BPF_IND ? (u32)*src : 0),
							BPF_SIZE(insn->code) == BPF_B   ? 1
							: BPF_SIZE(insn->code) == BPF_H ? 2
											: 4);
				if (v < 0)
					return 0;
				r[0] = (u64)v;
			}
			break;
		default:
			if (op == BPF_EXIT)
				return r[0];
			if (op == BPF_JA) {
				insn += insn->off;
			} else if (op != BPF_CALL) {
				if (holds(op, *dst, operand, class == BPF_JMP))
					insn += insn->off;
			} else if (insn->src_reg == 0 && insn->imm == BPF_FUNC_tail_call) {
				if (stack_top != run->stack + BPF_STACK_BYTES) {
					if (nested_tail_call(run, r, &r[0]))
						return r[0];
				} else if (tail_call(run, r)) {
					prog = run->prog;
					insn = prog->insns - 1;
				}
			} else {
				r[0] = call(run, insn, (u32)(insn - prog->insns), r, (u8 *)r[10]);
			}
		}
	}
}

u64 bpf_interpret(const struct bpf_prog *prog, const void *ctx)
{
	struct run run = { .prog = prog };
	u64 args[5] = { (u64)(ulong)ctx };

	return run_from(&run, 0, args, run.stack + BPF_STACK_BYTES);
}
