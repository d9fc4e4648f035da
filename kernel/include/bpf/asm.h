/* SPDX-License-Identifier: MIT
 *
 * Constructors for instructions, for tests and for code that writes programs. One macro, one instruction (LD64: two).
 * Registers are plain numbers; sizes are B, H, W, D; encodings are those of the UAPI header.
 */
#ifndef BPF_ASM_H
#define BPF_ASM_H

#include <linux/bpf.h>

#define BI(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })

#define SIZE_B BPF_B
#define SIZE_H BPF_H
#define SIZE_W BPF_W
#define SIZE_D BPF_DW

#define MOV(d, imm)               BI(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, imm)
#define MOVR(d, s)                BI(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define MOV32(d, imm)             BI(BPF_ALU | BPF_MOV | BPF_K, d, 0, 0, imm)
#define MOVR32(d, s)              BI(BPF_ALU | BPF_MOV | BPF_X, d, s, 0, 0)
#define ALU(op, d, imm)           BI(BPF_ALU64 | BPF_##op | BPF_K, d, 0, 0, imm)
#define ALUR(op, d, s)            BI(BPF_ALU64 | BPF_##op | BPF_X, d, s, 0, 0)
#define ALU32(op, d, imm)         BI(BPF_ALU | BPF_##op | BPF_K, d, 0, 0, imm)
#define ALUR32(op, d, s)          BI(BPF_ALU | BPF_##op | BPF_X, d, s, 0, 0)
#define LDX(sz, d, s, off)        BI(BPF_LDX | BPF_MEM | SIZE_##sz, d, s, off, 0)
#define STX(sz, d, off, s)        BI(BPF_STX | BPF_MEM | SIZE_##sz, d, s, off, 0)
#define ST(sz, d, off, v)         BI(BPF_ST | BPF_MEM | SIZE_##sz, d, 0, off, v)
#define ATOMIC(sz, op, d, off, s) BI(BPF_STX | BPF_ATOMIC | SIZE_##sz, d, s, off, op)
#define JMP(op, d, imm, off)      BI(BPF_JMP | BPF_##op | BPF_K, d, 0, off, imm)
#define JMPR(op, d, s, off)       BI(BPF_JMP | BPF_##op | BPF_X, d, s, off, 0)
#define JMP32(op, d, imm, off)    BI(BPF_JMP32 | BPF_##op | BPF_K, d, 0, off, imm)
#define JMPR32(op, d, s, off)     BI(BPF_JMP32 | BPF_##op | BPF_X, d, s, off, 0)
#define JA(off)                   BI(BPF_JMP | BPF_JA, 0, 0, off, 0)
#define CALL(name)                BI(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_##name)
#define CALLSUB(rel)              BI(BPF_JMP | BPF_CALL, 0, BPF_PSEUDO_CALL, 0, rel)
#define EXIT()                    BI(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define LD64S(d, s, lo, hi)       BI(BPF_LD | BPF_IMM | BPF_DW, d, s, 0, lo), BI(0, 0, 0, 0, hi)
#define LD64(d, v)                LD64S(d, 0, (__s32)(v), (__s32)((__u64)(v) >> 32))
#define LDMAP(d, fd)              LD64S(d, BPF_PSEUDO_MAP_FD, fd, 0)
#define LDVAL(d, fd, off)         LD64S(d, BPF_PSEUDO_MAP_VALUE, fd, off)
#define LDFUNC(d, rel)            LD64S(d, BPF_PSEUDO_FUNC, rel, 0)
#define LDABS(sz, off)            BI(BPF_LD | BPF_ABS | SIZE_##sz, 0, 0, 0, off)
#define LDIND(sz, s, off)         BI(BPF_LD | BPF_IND | SIZE_##sz, 0, s, 0, off)
#define BSWAP(d, bits)            BI(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, bits)

#endif
