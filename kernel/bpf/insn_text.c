/* SPDX-License-Identifier: MIT
 *
 * Problem: people read verifier logs and `bpftool prog dump`, and tests compare them; our text of an instruction
 * has to be the one that they know.
 *
 * Idea: one function a class, tables of operators. The notation is that of Linux 6.1's log, e.g.
 * "(07) r2 += -8", "(79) r1 = *(u64 *)(r10 -8)", "(15) if r0 == 0x0 goto pc+1".
 *
 * Contract: bpf_insn_text in bpf/prog.h. Total: unknown encodings give a text too. For a 64-bit immediate the second
 * slot is read, so it must exist.
 *
 * Locks: none.
 */
#include <linux/bpf.h>
#include <bpf/helper.h>
#include <bpf/prog.h>
#include <lib/printf.h>

static const char *const sizes[] = { "u32", "u16", "u8", "u64" };
static const char *const alu_ops[16] = { "+=",  "-=", "*=", "/=", "|=",   "&=",     "<<=", ">>=",
					 "neg", "%=", "^=", "=",  "s>>=", "endian", "?",   "?" };
static const char *const jmp_ops[16] = { "jmp",  "==",   ">", ">=", "&",  "!=",  "s>", "s>=",
					 "call", "exit", "<", "<=", "s<", "s<=", "?",  "?" };

static const char *size_of_access(u8 code)
{
	return sizes[BPF_SIZE(code) >> 3];
}

static void alu_text(struct strbuf *sb, const struct bpf_insn *i)
{
	char w = BPF_CLASS(i->code) == BPF_ALU ? 'w' : 'r';
	u8 op = BPF_OP(i->code);

	if (op == BPF_END)
		strbuf_add(sb, "r%d = %s%d r%d", i->dst_reg, BPF_SRC(i->code) == BPF_TO_BE ? "be" : "le", i->imm,
			   i->dst_reg);
	else if (op == BPF_NEG)
		strbuf_add(sb, "%c%d = -%c%d", w, i->dst_reg, w, i->dst_reg);
	else if (BPF_SRC(i->code) == BPF_X)
		strbuf_add(sb, "%c%d %s %c%d", w, i->dst_reg, alu_ops[op >> 4], w, i->src_reg);
	else
		strbuf_add(sb, "%c%d %s %d", w, i->dst_reg, alu_ops[op >> 4], i->imm);
}

static void atomic_text(struct strbuf *sb, const struct bpf_insn *i)
{
	static const char *const names[16] = {
		[BPF_ADD >> 4] = "add", [BPF_OR >> 4] = "or", [BPF_AND >> 4] = "and", [BPF_XOR >> 4] = "xor"
	};
	const char *wide = BPF_SIZE(i->code) == BPF_DW ? "64" : "", *size = size_of_access(i->code);
	const char *name = names[(i->imm >> 4) & 15];

	if (i->imm == BPF_CMPXCHG)
		strbuf_add(sb, "r0 = atomic%s_cmpxchg((%s *)(r%d %+d), r0, r%d)", wide, size, i->dst_reg, i->off,
			   i->src_reg);
	else if (i->imm == BPF_XCHG)
		strbuf_add(sb, "r%d = atomic%s_xchg((%s *)(r%d %+d), r%d)", i->src_reg, wide, size, i->dst_reg, i->off,
			   i->src_reg);
	else if (!name || (i->imm & ~0xf1))
		strbuf_add(sb, "BUG_%02x", i->code);
	else if (i->imm & BPF_FETCH)
		strbuf_add(sb, "r%d = atomic%s_fetch_%s((%s *)(r%d %+d), r%d)", i->src_reg, wide, name, size,
			   i->dst_reg, i->off, i->src_reg);
	else
		strbuf_add(sb, "lock *(%s *)(r%d %+d) %s r%d", size, i->dst_reg, i->off, alu_ops[(i->imm >> 4) & 15],
			   i->src_reg);
}

static void load_imm_text(struct strbuf *sb, const struct bpf_insn *i, bool show_pointers)
{
	u64 imm = (u64)(u32)i[1].imm << 32 | (u32)i->imm;

	if (i->src_reg == BPF_PSEUDO_FUNC) {
		strbuf_add(sb, "r%d = func %+d", i->dst_reg, i->imm);
		return;
	}
	if (i->src_reg && !show_pointers)
		imm = 0;
	strbuf_add(sb, "r%d = 0x%llx", i->dst_reg, (unsigned long long)imm);
}

static void memory_text(struct strbuf *sb, const struct bpf_insn *i, bool show_pointers)
{
	u8 class = BPF_CLASS(i->code), mode = BPF_MODE(i->code);
	const char *size = size_of_access(i->code);

	if (class == BPF_LD && mode == BPF_ABS)
		strbuf_add(sb, "r0 = *(%s *)skb[%d]", size, i->imm);
	else if (class == BPF_LD && mode == BPF_IND)
		strbuf_add(sb, "r0 = *(%s *)skb[r%d + %d]", size, i->src_reg, i->imm);
	else if (i->code == (BPF_LD | BPF_IMM | BPF_DW))
		load_imm_text(sb, i, show_pointers);
	else if (class == BPF_LDX && mode == BPF_MEM)
		strbuf_add(sb, "r%d = *(%s *)(r%d %+d)", i->dst_reg, size, i->src_reg, i->off);
	else if (class == BPF_STX && mode == BPF_MEM)
		strbuf_add(sb, "*(%s *)(r%d %+d) = r%d", size, i->dst_reg, i->off, i->src_reg);
	else if (class == BPF_STX && mode == BPF_ATOMIC)
		atomic_text(sb, i);
	else if (class == BPF_ST && mode == BPF_MEM)
		strbuf_add(sb, "*(%s *)(r%d %+d) = %d", size, i->dst_reg, i->off, i->imm);
	else
		strbuf_add(sb, "BUG_%s_%02x",
			   class == BPF_LD    ? "ld"
			   : class == BPF_LDX ? "ldx"
			   : class == BPF_ST  ? "st"
					      : "stx",
			   i->code);
}

static void jump_text(struct strbuf *sb, const struct bpf_insn *i)
{
	char w = BPF_CLASS(i->code) == BPF_JMP32 ? 'w' : 'r';
	u8 op = BPF_OP(i->code);

	if (op == BPF_CALL && i->src_reg == BPF_PSEUDO_CALL)
		strbuf_add(sb, "call pc%+d", i->imm);
	else if (op == BPF_CALL && i->src_reg == BPF_PSEUDO_KFUNC_CALL)
		strbuf_add(sb, "call kernel-function#%d", i->imm);
	else if (op == BPF_CALL && bpf_helper_get(i->imm))
		strbuf_add(sb, "call bpf_%s#%d", bpf_helper_name(i->imm), i->imm);
	else if (op == BPF_CALL)
		strbuf_add(sb, "call unknown#%d", i->imm);
	else if (i->code == (BPF_JMP | BPF_JA))
		strbuf_add(sb, "goto pc%+d", i->off);
	else if (i->code == (BPF_JMP | BPF_EXIT))
		strbuf_add(sb, "exit");
	else if (BPF_SRC(i->code) == BPF_X)
		strbuf_add(sb, "if %c%d %s %c%d goto pc%+d", w, i->dst_reg, jmp_ops[op >> 4], w, i->src_reg, i->off);
	else
		strbuf_add(sb, "if %c%d %s 0x%x goto pc%+d", w, i->dst_reg, jmp_ops[op >> 4], i->imm, i->off);
}

int bpf_insn_text(const struct bpf_insn *insn, bool show_pointers, char *buf, size_t size)
{
	struct strbuf sb;

	strbuf_init(&sb, buf, size);
	strbuf_add(&sb, "(%02x) ", insn->code);
	switch (BPF_CLASS(insn->code)) {
	case BPF_ALU:
	case BPF_ALU64: alu_text(&sb, insn); break;
	case BPF_JMP:
	case BPF_JMP32: jump_text(&sb, insn); break;
	default: memory_text(&sb, insn, show_pointers);
	}
	return (int)sb.len;
}
