/* SPDX-License-Identifier: MIT
 *
 * Problem: a program on the path of every packet must run at the speed of compiled code.
 *
 * Idea: BPF's registers are x86's, chosen so that a helper call needs no moves (r1-r5 are the C calling convention's
 * first five arguments):
 *
 *      r0 rax | r1 rdi  r2 rsi  r3 rdx  r4 rcx  r5 r8 | r6 rbx  r7 r13  r8 r14  r9 r15 | r10 rbp | scratch r9 r10 r11
 *
 * One BPF instruction becomes a fixed sequence. Passes over the program with code thrown away shrink jumps until
 * nothing moves; the last one writes. Look-ups in a known array are inlined, in other known maps called directly.
 * Frame, downwards from rbp: the BPF stack, the tail call counter if needed, saved registers; 16-byte aligned.
 * `blind` hides the program's constants (xor with random numbers), so that they cannot be jumped into.
 *
 * Contract: bpf_jit_x86 in bpf/prog.h. The caller owns the buffer and makes it executable. Tail calls out of
 * subprograms are not compiled (-ENOTSUPP): their frames are the interpreter's.
 *
 * Locks: none.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/string.h>
#include "helper_priv.h"
#include "jit_emit.h"

#define PASSES 64

struct jit {
	struct emitter e;
	const struct bpf_prog *prog;
	u64 at;            /* address of the first byte when it runs */
	u32 *addr;         /* by instruction: offset of its code; [len] is the end */
	u32 *entry;        /* by subprogram: offset of its prologue */
	bool blind, moved; /* moved: this pass found something elsewhere than the one before */
	u32 seed;
	/* Of the function being compiled: */
	u32 sub, frame_bytes;
	u8 saved[4], nsaved;
	bool counts; /* keeps a tail call counter */
};

static const u8 regs[] = { RAX, RDI, RSI, RDX, RCX, R8, RBX, R13, R14, R15, RBP };

static u32 x(u32 bpf_reg)
{
	return regs[bpf_reg];
}

static u32 sub_end(const struct jit *j, u32 sub)
{
	return sub + 1 < j->prog->nr_subs ? j->prog->subs[sub + 1].start : j->prog->len;
}

/* ---- frames ----------------------------------------------------------------------------------------------- */

static void find_saved(struct jit *j)
{
	static const u8 candidates[] = { 6, 7, 8, 9 };

	j->nsaved = 0;
	for (u32 c = 0; c < 4; c++)
		for (u32 i = j->prog->subs[j->sub].start; i < sub_end(j, j->sub); i++) {
			const struct bpf_insn *insn = &j->prog->insns[i];
			u8 class = BPF_CLASS(insn->code);
			bool writes = class == BPF_ALU || class == BPF_ALU64 || class == BPF_LDX || class == BPF_LD;
			bool fetches = class == BPF_STX && BPF_MODE(insn->code) == BPF_ATOMIC;

			if ((writes && insn->dst_reg == candidates[c]) || (fetches && insn->src_reg == candidates[c])) {
				j->saved[j->nsaved++] = x(candidates[c]);
				break;
			}
		}
}

static s32 counter_at(const struct jit *j)
{
	return -(s32)j->frame_bytes;
}

static void prologue(struct jit *j)
{
	struct emitter *e = &j->e;
	u32 bytes = ALIGN_UP(j->prog->subs[j->sub].stack, 8U);

	find_saved(j);
	j->counts = j->sub == 0 && j->prog->has_tail_call;
	bytes += j->counts ? 8 : 0;
	if ((bytes + 8 * j->nsaved) % 16)
		bytes += 8;
	j->frame_bytes = bytes;
	if (j->sub == 0)
		mov_imm(e, RAX, 0); /* a tail call enters behind this, with its count */
	push(e, RBP);
	mov_rr(e, true, RBP, RSP);
	if (bytes)
		group1(e, true, 5, RSP, (s32)bytes);
	if (j->counts)
		op_rm(e, true, 0x89, RAX, RBP, counter_at(j));
	for (u32 i = 0; i < j->nsaved; i++)
		push(e, j->saved[i]);
}

static void leave(struct jit *j)
{
	for (u32 i = j->nsaved; i--;)
		pop(&j->e, j->saved[i]);
	byte(&j->e, 0xc9); /* leave */
}

/* ---- arithmetic --------------------------------------------------------------------------------------------- */

static u32 hidden(struct jit *j)
{
	j->seed = j->seed * 1664525 + 1013904223;
	return j->seed;
}

/* An immediate as a register operand; blinded if asked for. */
static void imm_to_temp(struct jit *j, s32 imm)
{
	struct emitter *e = &j->e;
	u32 key = hidden(j);

	if (!j->blind) {
		mov_imm(e, R11, (u64)(s64)imm);
		return;
	}
	rex(e, true, 0, R11, false);
	byte(e, 0xc7);
	modrm_reg(e, 0, R11);
	word32(e, (u32)imm ^ key);
	rex(e, true, 0, R11, false);
	byte(e, 0x81);
	modrm_reg(e, 6, R11);
	word32(e, key);
}

static void divide(struct jit *j, const struct bpf_insn *insn, bool w, u32 src)
{
	struct emitter *e = &j->e;
	u32 dst = x(insn->dst_reg), from, done;
	bool mod = BPF_OP(insn->code) == BPF_MOD;

	mov_rr(e, w, R11, src);
	op_rr(e, w, 0x85, R11, R11);
	from = short_jump(e, CC_NE);
	if (!mod)
		mov_imm(e, dst, 0);
	else if (!w)
		mov_rr(e, false, dst, dst);
	done = short_jump(e, -1);
	short_end(e, from);
	if (dst != RAX)
		mov_rr(e, true, R10, RAX);
	if (dst != RDX)
		mov_rr(e, true, R9, RDX);
	if (dst != RAX)
		mov_rr(e, w, RAX, dst);
	mov_imm(e, RDX, 0);
	rex(e, w, 0, R11, false);
	byte(e, 0xf7);
	modrm_reg(e, 6, R11);
	mov_rr(e, w, R11, mod ? RDX : RAX);
	if (dst != RAX)
		mov_rr(e, true, RAX, R10);
	if (dst != RDX)
		mov_rr(e, true, RDX, R9);
	mov_rr(e, true, dst, R11);
	short_end(e, done);
}

static void shift_by_reg(struct jit *j, bool w, u32 n, u32 dst, u32 src)
{
	struct emitter *e = &j->e;
	u32 target = dst == RCX ? R11 : dst;

	if (src != RCX || dst == RCX)
		mov_rr(e, true, R11, RCX); /* saves rcx, or is the value to shift */
	if (src != RCX)
		mov_rr(e, false, RCX, src);
	rex(e, w, 0, target, false);
	byte(e, 0xd3);
	modrm_reg(e, n, target);
	if (dst == RCX || src != RCX)
		mov_rr(e, true, RCX, R11);
}

static void shift(struct jit *j, const struct bpf_insn *insn, bool w)
{
	u8 op = BPF_OP(insn->code);
	u32 n = op == BPF_LSH ? 4 : op == BPF_RSH ? 5 : 7, dst = x(insn->dst_reg);

	if (BPF_SRC(insn->code) == BPF_X) {
		shift_by_reg(j, w, n, dst, x(insn->src_reg));
		return;
	}
	rex(&j->e, w, 0, dst, false);
	byte(&j->e, insn->imm == 1 ? 0xd1 : 0xc1);
	modrm_reg(&j->e, n, dst);
	if (insn->imm != 1)
		byte(&j->e, (u8)insn->imm);
}

static void swap_bytes(struct jit *j, const struct bpf_insn *insn)
{
	struct emitter *e = &j->e;
	u32 dst = x(insn->dst_reg);
	bool big = BPF_SRC(insn->code) == BPF_TO_BE;

	if (insn->imm == 16) {
		if (big) { /* ror r16, 8 */
			byte(e, 0x66);
			rex(e, false, 0, dst, false);
			byte(e, 0xc1);
			modrm_reg(e, 1, dst);
			byte(e, 8);
		}
		rex(e, false, dst, dst, false); /* movzx r32, r16 */
		byte(e, 0x0f);
		byte(e, 0xb7);
		modrm_reg(e, dst, dst);
	} else if (big) {
		rex(e, insn->imm == 64, 0, dst, false);
		byte(e, 0x0f);
		byte(e, 0xc8 | (dst & 7));
	} else if (insn->imm == 32) {
		mov_rr(e, false, dst, dst);
	}
}

static void multiply(struct jit *j, const struct bpf_insn *insn, bool w, u32 src)
{
	struct emitter *e = &j->e;
	u32 dst = x(insn->dst_reg);

	rex(e, w, dst, src, false);
	byte(e, 0x0f);
	byte(e, 0xaf);
	modrm_reg(e, dst, src);
}

/* n of group 1 and opcode of the register form. */
static bool simple_op(u8 op, u32 *n, u32 *code)
{
	switch (op) {
	case BPF_ADD: *n = 0; break;
	case BPF_OR: *n = 1; break;
	case BPF_AND: *n = 4; break;
	case BPF_SUB: *n = 5; break;
	case BPF_XOR: *n = 6; break;
	default: *n = *code = 0; return false;
	}
	*code = *n * 8 + 1;
	return true;
}

/* Pointer arithmetic of the unprivileged: the operand becomes 0 when it is out of its limit (verify_spec.c). */
static void masked(struct jit *j, const struct bpf_insn *insn, const struct bpf_alu_limit *l)
{
	struct emitter *e = &j->e;
	bool negative = l->state & ALU_NEGATIVE, constant = l->state & ALU_CONSTANT,
	     add = BPF_OP(insn->code) == BPF_ADD;
	u32 dst = x(insn->dst_reg), src = x(insn->src_reg), off = l->state & ALU_MASK_SRC ? src : dst;

	if (negative && !constant)
		op_rr(e, true, 0xf7, off, 3); /* neg */
	mov_imm(e, R11, l->limit);
	if (!constant) {
		op_rr(e, true, 0x29, R11, off); /* below zero if off is too big */
		op_rr(e, true, 0x09, R11, off); /* or if off itself is negative */
		op_rr(e, true, 0xf7, R11, 3);
		rex(e, true, 0, R11, false); /* sar r11, 63: all ones if neither */
		byte(e, 0xc1);
		modrm_reg(e, 7, R11);
		byte(e, 63);
		op_rr(e, true, 0x21, R11, off);
	}
	if (l->state & ALU_MASK_DST)
		mov_rr(e, true, dst, src);
	op_rr(e, true, add != negative ? 0x01 : 0x29, dst, R11);
	if (negative && !constant && l->state & ALU_MASK_SRC)
		op_rr(e, true, 0xf7, off, 3);
}

static void alu(struct jit *j, const struct bpf_insn *insn, u32 i)
{
	struct emitter *e = &j->e;
	u8 op = BPF_OP(insn->code);
	bool w = BPF_CLASS(insn->code) == BPF_ALU64, reg = BPF_SRC(insn->code) == BPF_X;
	bool temp = !reg && ((j->blind && insn->imm) || op == BPF_DIV || op == BPF_MOD);
	u32 dst = x(insn->dst_reg), src = temp ? R11 : x(insn->src_reg), n, code;
	const struct bpf_alu_limit *l = j->prog->alu_limits ? &j->prog->alu_limits[i] : NULL;

	if (op == BPF_END) {
		swap_bytes(j, insn);
	} else if (op == BPF_NEG) {
		op_rr(e, w, 0xf7, dst, 3);
	} else if (op == BPF_LSH || op == BPF_RSH || op == BPF_ARSH) {
		shift(j, insn, w);
	} else if (l && l->state & (ALU_MASK_SRC | ALU_MASK_DST)) {
		masked(j, insn, l);
	} else {
		if (temp)
			imm_to_temp(j, insn->imm);
		if (op == BPF_DIV || op == BPF_MOD) {
			divide(j, insn, w, src);
		} else if (op == BPF_MOV && (reg || temp)) {
			mov_rr(e, w, dst, src);
		} else if (op == BPF_MOV) {
			mov_imm(e, dst, w ? (u64)(s64)insn->imm : (u32)insn->imm);
		} else if (op == BPF_MUL && (reg || temp)) {
			multiply(j, insn, w, src);
		} else if (op == BPF_MUL) {
			rex(e, w, dst, dst, false);
			byte(e, insn->imm == (s8)insn->imm ? 0x6b : 0x69);
			modrm_reg(e, dst, dst);
			if (insn->imm == (s8)insn->imm)
				byte(e, (u8)insn->imm);
			else
				word32(e, (u32)insn->imm);
		} else if (simple_op(op, &n, &code)) {
			if (reg || temp)
				op_rr(e, w, code, dst, src);
			else
				group1(e, w, n, dst, insn->imm);
		}
	}
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

static void load(struct jit *j, u8 size, u32 dst, u32 base, s32 off)
{
	struct emitter *e = &j->e;

	if (size == BPF_W || size == BPF_DW) {
		op_rm(e, size == BPF_DW, 0x8b, dst, base, off);
		return;
	}
	rex(e, false, dst, base, false);
	byte(e, 0x0f);
	byte(e, size == BPF_B ? 0xb6 : 0xb7);
	modrm_mem(e, dst, base, off);
}

static void store(struct jit *j, u8 size, u32 base, s32 off, u32 src)
{
	struct emitter *e = &j->e;

	if (size == BPF_H)
		byte(e, 0x66);
	rex(e, size == BPF_DW, src, base, size == BPF_B);
	byte(e, size == BPF_B ? 0x88 : 0x89);
	modrm_mem(e, src, base, off);
}

static void store_imm(struct jit *j, const struct bpf_insn *insn)
{
	struct emitter *e = &j->e;
	u8 size = BPF_SIZE(insn->code);
	u32 base = x(insn->dst_reg);

	if (j->blind && insn->imm) {
		imm_to_temp(j, insn->imm);
		store(j, size, base, insn->off, R11);
		return;
	}
	if (size == BPF_H)
		byte(e, 0x66);
	rex(e, size == BPF_DW, 0, base, false);
	byte(e, size == BPF_B ? 0xc6 : 0xc7);
	modrm_mem(e, 0, base, insn->off);
	byte(e, (u32)insn->imm);
	if (size != BPF_B)
		byte(e, (u32)insn->imm >> 8);
	if (size == BPF_W || size == BPF_DW) {
		byte(e, (u32)insn->imm >> 16);
		byte(e, (u32)insn->imm >> 24);
	}
}

/* Fetch with and, or, xor: a compare-and-exchange loop. r9 address, r10 saved r0, r11 new value. */
static void fetch_loop(struct jit *j, const struct bpf_insn *insn, bool w)
{
	struct emitter *e = &j->e;
	u32 base = x(insn->dst_reg), src = x(insn->src_reg), n, code, again;

	simple_op(insn->imm & 0xf0, &n, &code);
	op_rm(e, true, 0x8d, R9, base, insn->off);
	mov_rr(e, true, R10, RAX);
	op_rm(e, w, 0x8b, RAX, R9, 0);
	again = e->len;
	mov_rr(e, true, R11, RAX);
	op_rr(e, w, code, R11, src == RAX ? R10 : src);
	byte(e, 0xf0);
	rex(e, w, R11, R9, false);
	byte(e, 0x0f);
	byte(e, 0xb1);
	modrm_mem(e, R11, R9, 0);
	byte(e, 0x75);
	byte(e, again - e->len - 1);
	if (!w)
		mov_rr(e, false, RAX, RAX);
	if (src != RAX) {
		mov_rr(e, true, src, RAX);
		mov_rr(e, true, RAX, R10);
	}
}

static void atomic(struct jit *j, const struct bpf_insn *insn)
{
	struct emitter *e = &j->e;
	bool w = BPF_SIZE(insn->code) == BPF_DW;
	u32 base = x(insn->dst_reg), src = x(insn->src_reg), n, code;

	if (insn->imm == BPF_XCHG) {
		op_rm(e, w, 0x87, src, base, insn->off);
	} else if (insn->imm == BPF_CMPXCHG || insn->imm == (BPF_ADD | BPF_FETCH)) {
		byte(e, 0xf0);
		rex(e, w, src, base, false);
		byte(e, 0x0f);
		byte(e, insn->imm == BPF_CMPXCHG ? 0xb1 : 0xc1);
		modrm_mem(e, src, base, insn->off);
		if (!w && insn->imm == BPF_CMPXCHG)
			mov_rr(e, false, RAX, RAX);
	} else if (insn->imm & BPF_FETCH) {
		fetch_loop(j, insn, w);
	} else {
		simple_op((u8)insn->imm, &n, &code);
		byte(e, 0xf0);
		op_rm(e, w, code, src, base, insn->off);
	}
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static void call_address(struct jit *j, u64 target)
{
	struct emitter *e = &j->e;
	s64 distance = (s64)(target - (j->at + e->len + 5));

	if (j->at && distance == (s32)distance) {
		byte(e, 0xe8);
		word32(e, (u32)distance);
		return;
	}
	/* Always the long form, so that sizes do not depend on the place. */
	rex(e, true, 0, RAX, false);
	byte(e, 0xb8);
	word32(e, (u32)target);
	word32(e, (u32)(target >> 32));
	branch_by(e, RAX, true);
}

static void inline_array_lookup(struct jit *j, struct bpf_map *map)
{
	struct emitter *e = &j->e;
	u32 stride, beyond, done;
	u8 *values = bpf_array_layout(map, &stride);

	op_rm(e, false, 0x8b, RAX, RSI, 0);
	group1(e, false, 7, RAX, (s32)map->max_entries);
	beyond = short_jump(e, CC_AE);
	if (stride & (stride - 1)) {
		rex(e, true, RAX, RAX, false);
		byte(e, 0x69);
		modrm_reg(e, RAX, RAX);
		word32(e, stride);
	} else if (stride > 1) {
		rex(e, true, 0, RAX, false);
		byte(e, 0xc1);
		modrm_reg(e, 4, RAX);
		byte(e, (u32)__builtin_ctz(stride));
	}
	mov_imm(e, R10, (u64)(ulong)values);
	op_rr(e, true, 0x01, RAX, R10);
	done = short_jump(e, -1);
	short_end(e, beyond);
	mov_imm(e, RAX, 0);
	short_end(e, done);
}

static void call_helper(struct jit *j, u32 id, u32 i)
{
	struct bpf_map *map = j->prog->call_maps[i];

	if (id == BPF_FUNC_map_lookup_elem && map && map->type == BPF_MAP_TYPE_ARRAY &&
	    bpf_array_layout(map, &(u32){ 0 }) && map->max_entries <= INT32_MAX) {
		inline_array_lookup(j, map);
		return;
	}
	if (id == BPF_FUNC_map_lookup_elem && map && map->ops->lookup)
		call_address(j, (u64)(ulong)map->ops->lookup);
	else
		call_address(j, (u64)(ulong)bpf_helper_code(id));
}

/* rdi context, rsi map, edx index. Falls through when there is nothing to call. */
static void tail_call(struct jit *j)
{
	struct emitter *e = &j->e;
	u32 out[4];

	mov_rr(e, false, RDX, RDX);
	op_rm(e, false, 0x3b, RDX, RSI, offsetof(struct bpf_map, max_entries));
	out[0] = short_jump(e, CC_AE);
	op_rm(e, true, 0x8b, RAX, RBP, counter_at(j));
	group1(e, false, 7, RAX, BPF_TAIL_CALLS);
	out[1] = short_jump(e, CC_AE);
	op_rm(e, true, 0x8b, R10, RSI, offsetof(struct fd_array, slots));
	rex(e, true, R10, R10, false); /* mov r10, [r10 + rdx * 8] */
	byte(e, 0x8b);
	byte(e, 0x04 | (R10 & 7) << 3);
	byte(e, 3 << 6 | RDX << 3 | (R10 & 7));
	op_rr(e, true, 0x85, R10, R10);
	out[2] = short_jump(e, CC_E);
	op_rm(e, true, 0x8b, R11, R10, offsetof(struct bpf_prog, jited));
	op_rr(e, true, 0x85, R11, R11);
	out[3] = short_jump(e, CC_E);
	op_rm(e, false, 0x8b, RCX, R10, offsetof(struct bpf_prog, tail_off));
	op_rr(e, true, 0x01, R11, RCX);
	group1(e, false, 0, RAX, 1);
	leave(j);
	branch_by(e, R11, false);
	for (int i = 0; i < 4; i++)
		short_end(e, out[i]);
}

/* Classic packet load: straight from linear memory if it is there, else through the slow path. */
static void load_packet(struct jit *j, const struct bpf_insn *insn)
{
	struct emitter *e = &j->e;
	u8 size = BPF_SIZE(insn->code);
	u32 ok;

	if (BPF_MODE(insn->code) == BPF_IND) {
		mov_rr(e, false, RSI, x(insn->src_reg));
		if (insn->imm)
			group1(e, false, 0, RSI, insn->imm);
	} else {
		mov_imm(e, RSI, (u32)insn->imm);
	}
	mov_rr(e, true, RDI, RBX);
	mov_imm(e, RDX, size == BPF_B ? 1 : size == BPF_H ? 2 : 4);
	call_address(j, (u64)(ulong)bpf_packet_load);
	op_rr(e, true, 0x85, RAX, RAX);
	ok = short_jump(e, CC_NS);
	mov_imm(e, RAX, 0);
	leave(j);
	byte(e, 0xc3);
	short_end(e, ok);
}

/* ---- jumps --------------------------------------------------------------------------------------------------------
 */

/* Forwards both ends are taken from the pass before, so that what shrinks in between does not count. */
static void jump_to(struct jit *j, int cc, u32 from, u32 target)
{
	struct emitter *e = &j->e;
	s64 distance = (s64)j->addr[target] - (target > from ? j->addr[from + 1] : e->len + 2);

	if (distance == (s8)distance) {
		byte(e, cc < 0 ? 0xeb : 0x70 | cc);
		byte(e, (u8)distance);
		return;
	}
	if (cc >= 0)
		byte(e, 0x0f);
	byte(e, cc < 0 ? 0xe9 : 0x80 | cc);
	word32(e, j->addr[target] - (e->len + 4));
}

static int condition(u8 op)
{
	switch (op) {
	case BPF_JEQ: return CC_E;
	case BPF_JNE:
	case BPF_JSET: return CC_NE;
	case BPF_JGT: return CC_A;
	case BPF_JGE: return CC_AE;
	case BPF_JLT: return CC_B;
	case BPF_JLE: return CC_BE;
	case BPF_JSGT: return CC_G;
	case BPF_JSGE: return CC_GE;
	case BPF_JSLT: return CC_L;
	}
	return CC_LE;
}

static void branch(struct jit *j, const struct bpf_insn *insn, u32 i)
{
	struct emitter *e = &j->e;
	u8 op = BPF_OP(insn->code);
	bool w = BPF_CLASS(insn->code) == BPF_JMP, reg = BPF_SRC(insn->code) == BPF_X;
	bool temp = !reg && j->blind && insn->imm;
	u32 dst = x(insn->dst_reg), src = temp ? R11 : x(insn->src_reg);

	if (temp)
		imm_to_temp(j, insn->imm);
	if (op == BPF_JSET && (reg || temp)) {
		op_rr(e, w, 0x85, dst, src);
	} else if (op == BPF_JSET) {
		rex(e, w, 0, dst, false);
		byte(e, 0xf7);
		modrm_reg(e, 0, dst);
		word32(e, (u32)insn->imm);
	} else if (reg || temp) {
		op_rr(e, w, 0x39, dst, src);
	} else if (!insn->imm) {
		op_rr(e, w, 0x85, dst, dst);
	} else {
		group1(e, w, 7, dst, insn->imm);
	}
	jump_to(j, condition(op), i, i + 1 + insn->off);
}

static u32 entry_of(const struct jit *j, u32 insn)
{
	u32 s = 0;

	while (s + 1 < j->prog->nr_subs && j->prog->subs[s].start != insn)
		s++;
	return j->entry[s];
}

static void load_imm64(struct jit *j, const struct bpf_insn *insn, u32 i)
{
	struct emitter *e = &j->e;
	u32 dst = x(insn->dst_reg);
	u64 v = (u64)(u32)insn[1].imm << 32 | (u32)insn->imm, key;

	if (insn->src_reg == BPF_PSEUDO_FUNC) {
		rex(e, true, dst, 0, false); /* lea dst, [rip + distance] */
		byte(e, 0x8d);
		byte(e, (dst & 7) << 3 | 5);
		word32(e, entry_of(j, i + 1 + insn->imm) - (e->len + 4));
		return;
	}
	if (!j->blind || insn->src_reg) {
		mov_imm(e, dst, v);
		return;
	}
	key = (u64)hidden(j) << 32;
	key |= hidden(j);
	for (int half = 0; half < 2; half++) { /* r11 = key, dst = v ^ key */
		u64 k = half ? v ^ key : key;
		u32 r = half ? dst : R11;

		rex(e, true, 0, r, false);
		byte(e, 0xb8 | (r & 7));
		word32(e, (u32)k);
		word32(e, (u32)(k >> 32));
	}
	op_rr(e, true, 0x31, dst, R11);
}

static void jump(struct jit *j, const struct bpf_insn *insn, u32 i)
{
	switch (BPF_OP(insn->code)) {
	case BPF_EXIT:
		leave(j);
		byte(&j->e, 0xc3);
		return;
	case BPF_JA:
		if (insn->off) /* to itself: never reached */
			jump_to(j, -1, i, i + 1 + insn->off);
		return;
	case BPF_CALL:
		if (insn->src_reg == BPF_PSEUDO_CALL) {
			byte(&j->e, 0xe8);
			word32(&j->e, entry_of(j, i + 1 + insn->imm) - (j->e.len + 4));
		} else if (insn->imm == BPF_FUNC_tail_call) {
			tail_call(j);
		} else {
			call_helper(j, (u32)insn->imm, i);
		}
		return;
	}
	branch(j, insn, i);
}

static void compile_one(struct jit *j, const struct bpf_insn *insn, u32 i)
{
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64: alu(j, insn, i); return;
	case BPF_LDX: load(j, BPF_SIZE(insn->code), x(insn->dst_reg), x(insn->src_reg), insn->off); return;
	case BPF_ST: store_imm(j, insn); return;
	case BPF_STX:
		if (BPF_MODE(insn->code) == BPF_ATOMIC)
			atomic(j, insn);
		else
			store(j, BPF_SIZE(insn->code), x(insn->dst_reg), insn->off, x(insn->src_reg));
		return;
	case BPF_LD:
		if (BPF_MODE(insn->code) == BPF_IMM)
			load_imm64(j, insn, i);
		else
			load_packet(j, insn);
		return;
	}
	jump(j, insn, i);
}

static void place(struct jit *j, u32 i)
{
	j->moved |= j->addr[i] != j->e.len;
	j->addr[i] = j->e.len;
}

static void pass(struct jit *j)
{
	const struct bpf_prog *p = j->prog;

	j->e.len = 0;
	j->moved = false;
	j->seed = (u32)(ulong)p ^ p->len;
	for (u32 s = 0; s < p->nr_subs; s++) {
		j->sub = s;
		j->entry[s] = j->e.len;
		prologue(j);
		for (u32 i = p->subs[s].start; i < sub_end(j, s); i++) {
			place(j, i);
			compile_one(j, &p->insns[i], i);
			if (p->insns[i].code == (BPF_LD | BPF_IMM | BPF_DW))
				place(j, ++i);
		}
	}
	place(j, p->len);
}

static bool can_compile(const struct bpf_prog *p)
{
	for (u32 i = p->nr_subs > 1 ? p->subs[1].start : p->len; i < p->len; i++)
		if (p->insns[i].code == (BPF_JMP | BPF_CALL) && !p->insns[i].src_reg &&
		    p->insns[i].imm == BPF_FUNC_tail_call)
			return false;
	return true;
}

/* For who asks where functions and lines are. A function's first line begins with its prologue: libbpf insists. */
static void note_places(const struct jit *j)
{
	const struct bpf_prog *p = j->prog;

	for (u32 s = 0; s < p->nr_subs; s++)
		p->subs[s].code = j->entry[s];
	for (u32 i = 0, s = 0; i < p->nr_lines; i++) {
		u32 insn = p->lines[i].insn_off;

		while (s + 1 < p->nr_subs && p->subs[s + 1].start <= insn)
			s++;
		p->line_code[i] = insn == p->subs[s].start ? j->entry[s] : j->addr[insn];
	}
}

bool bpf_jit_thunks;

int bpf_jit_x86(const struct bpf_prog *prog, u8 *buf, u32 size, u64 at, u32 *tail_off, bool blind)
{
	struct jit j = { .prog = prog, .at = at, .blind = blind, .moved = true };

	if (!can_compile(prog))
		return -ENOTSUPP;
	j.addr = big_alloc(prog->len + 1, sizeof(*j.addr));
	j.entry = kcalloc(prog->nr_subs, sizeof(*j.entry), 0);
	if (!j.addr || !j.entry) {
		big_free(j.addr);
		kfree(j.entry);
		return -ENOMEM;
	}
	for (u32 i = 0; i <= prog->len; i++)
		j.addr[i] = i * 64; /* jumps start long and only shrink */
	for (int n = 0; n < PASSES && j.moved; n++) {
		bpf_env.relax();
		pass(&j);
	}
	if (buf) {
		j.e.buf = buf;
		j.e.size = size;
		pass(&j);
		note_places(&j);
	}
	if (tail_off)
		*tail_off = 2;
	big_free(j.addr);
	kfree(j.entry);
	return j.moved ? -EAGAIN : buf && j.e.len > size ? -ENOSPC : (int)j.e.len;
}
