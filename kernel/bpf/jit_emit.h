/* SPDX-License-Identifier: MIT
 *
 * Encoding of the x86-64 instructions that the compiler uses (Intel SDM volume 2). Bytes go to a buffer or, without
 * one, are only counted. Private to kernel/bpf.
 */
#ifndef BPF_JIT_EMIT_H
#define BPF_JIT_EMIT_H

#include <bpf/prog.h>
#include <lib/types.h>

enum x86 { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum cc { CC_B = 2, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS, CC_L = 12, CC_GE, CC_LE, CC_G };

struct emitter {
	u8 *buf; /* NULL: count only */
	u32 size, len;
};

static inline void byte(struct emitter *e, u32 b)
{
	if (e->buf && e->len < e->size)
		e->buf[e->len] = (u8)b;
	e->len++;
}

static inline void word32(struct emitter *e, u32 v)
{
	for (int i = 0; i < 4; i++)
		byte(e, v >> (8 * i));
}

static inline void rex(struct emitter *e, bool w, u32 reg, u32 rm, bool force)
{
	u32 r = 0x40 | w << 3 | (reg >> 3) << 2 | rm >> 3;

	if (r != 0x40 || force)
		byte(e, r);
}

static inline void modrm_reg(struct emitter *e, u32 reg, u32 rm)
{
	byte(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* [base + disp]; base is never rsp or r12. */
static inline void modrm_mem(struct emitter *e, u32 reg, u32 base, s32 disp)
{
	if (disp == 0 && (base & 7) != RBP) {
		byte(e, (reg & 7) << 3 | (base & 7));
	} else if (disp == (s8)disp) {
		byte(e, 0x40 | (reg & 7) << 3 | (base & 7));
		byte(e, (u8)disp);
	} else {
		byte(e, 0x80 | (reg & 7) << 3 | (base & 7));
		word32(e, (u32)disp);
	}
}

/* jmp *reg or call *reg. Where the predictor of indirect branches is not to be trusted, by a return that it never sees,
 * with a trap for speculation behind its call: "call 2f; 1: pause; lfence; jmp 1b; 2: mov reg, (rsp); ret". A call goes
 * round that by "jmp 4f; 3: that; 4: call 3b". */
static inline void branch_by(struct emitter *e, u32 reg, bool call)
{
	static const u8 trap[] = { 0xe8, 7, 0, 0, 0, 0xf3, 0x90, 0x0f, 0xae, 0xe8, 0xeb, 0xf9 };

	if (!bpf_jit_thunks) {
		rex(e, false, 0, reg, false);
		byte(e, 0xff);
		modrm_reg(e, call ? 2 : 4, reg);
		return;
	}
	if (call) {
		byte(e, 0xeb);
		byte(e, 17);
	}
	for (unsigned i = 0; i < sizeof(trap); i++)
		byte(e, trap[i]);
	rex(e, true, reg, RSP, false);
	byte(e, 0x89);
	byte(e, 0x04 | (reg & 7) << 3); /* [rsp] */
	byte(e, 0x24);
	byte(e, 0xc3);
	if (call) {
		byte(e, 0xe8);
		word32(e, (u32)-22);
	}
}

/* op r/m, reg */
static inline void op_rr(struct emitter *e, bool w, u32 op, u32 rm, u32 reg)
{
	rex(e, w, reg, rm, false);
	byte(e, op);
	modrm_reg(e, reg, rm);
}

static inline void op_rm(struct emitter *e, bool w, u32 op, u32 reg, u32 base, s32 disp)
{
	rex(e, w, reg, base, false);
	byte(e, op);
	modrm_mem(e, reg, base, disp);
}

static inline void mov_rr(struct emitter *e, bool w, u32 dst, u32 src)
{
	if (!w || dst != src)
		op_rr(e, w, 0x89, dst, src);
}

static inline void mov_imm(struct emitter *e, u32 dst, u64 v)
{
	if (v == 0) {
		op_rr(e, false, 0x31, dst, dst);
	} else if (v <= UINT32_MAX) {
		rex(e, false, 0, dst, false);
		byte(e, 0xb8 | (dst & 7));
		word32(e, (u32)v);
	} else if ((s64)v == (s32)v) {
		rex(e, true, 0, dst, false);
		byte(e, 0xc7);
		modrm_reg(e, 0, dst);
		word32(e, (u32)v);
	} else {
		rex(e, true, 0, dst, false);
		byte(e, 0xb8 | (dst & 7));
		word32(e, (u32)v);
		word32(e, (u32)(v >> 32));
	}
}

/* A group-1 operation (0 add, 1 or, 4 and, 5 sub, 6 xor, 7 cmp) with a sign-extended immediate. */
static inline void group1(struct emitter *e, bool w, u32 n, u32 rm, s32 imm)
{
	rex(e, w, 0, rm, false);
	byte(e, imm == (s8)imm ? 0x83 : 0x81);
	modrm_reg(e, n, rm);
	if (imm == (s8)imm)
		byte(e, (u8)imm);
	else
		word32(e, (u32)imm);
}

static inline void push(struct emitter *e, u32 reg)
{
	rex(e, false, 0, reg, false);
	byte(e, 0x50 | (reg & 7));
}

static inline void pop(struct emitter *e, u32 reg)
{
	rex(e, false, 0, reg, false);
	byte(e, 0x58 | (reg & 7));
}

/* A short forward jump whose distance short_end fills in. Returns where. */
static inline u32 short_jump(struct emitter *e, int cc)
{
	byte(e, cc < 0 ? 0xeb : 0x70 | cc);
	byte(e, 0);
	return e->len;
}

static inline void short_end(struct emitter *e, u32 from)
{
	if (e->buf && from <= e->size)
		e->buf[from - 1] = (u8)(e->len - from);
}

#endif
