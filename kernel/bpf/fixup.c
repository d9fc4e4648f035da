/* SPDX-License-Identifier: MIT
 *
 * Problem: the program speaks of the UAPI's structures and of file descriptors; what runs needs real offsets and
 * addresses. Code that no path reaches was never checked.
 *
 * Idea: every rewrite is one instruction for one (bpf/ctx.h is laid out for that), so that nothing moves: context
 * accesses get the real offset and width, 64-bit immediates the map's or value's address, a branch that always goes
 * one way becomes a jump, unreached instructions become jumps to themselves, which nothing reaches.
 *
 * Contract: runs after bpf_verify() succeeded, on the venv's private copy of the instructions.
 *
 * Locks: none (one load, one thread).
 */
#include "verify_priv.h"

static void set_imm64(struct bpf_insn *insn, u64 v)
{
	insn[0].imm = (s32)v;
	insn[1].imm = (s32)(v >> 32);
}

static void fix_imm64(struct venv *env, u32 i)
{
	struct bpf_insn *insn = &env->insns[i];
	struct bpf_map *map = env->aux[i].map;
	u64 addr = 0;

	if (!map)
		return;
	if (insn->src_reg == BPF_PSEUDO_MAP_VALUE || insn->src_reg == BPF_PSEUDO_MAP_IDX_VALUE) {
		if (!map->ops->value_addr(map, 0, &addr))
			addr += env->aux[i].map_off;
	} else {
		addr = (u64)(ulong)map;
	}
	set_imm64(insn, addr);
}

static bool is_conditional(const struct bpf_insn *insn)
{
	u8 class = BPF_CLASS(insn->code), op = BPF_OP(insn->code);

	return (class == BPF_JMP || class == BPF_JMP32) && op != BPF_JA && op != BPF_CALL && op != BPF_EXIT;
}

void bpf_fixup(struct venv *env)
{
	for (u32 i = 0; i < env->len; i++) {
		struct bpf_insn *insn = &env->insns[i];
		struct vinsn *aux = &env->aux[i];

		if (aux->second_slot)
			continue;
		if (!aux->seen) {
			*insn = (struct bpf_insn){ .code = BPF_JMP | BPF_JA, .off = -1 };
			if (i + 1 < env->len && env->aux[i + 1].second_slot)
				insn[1] = (struct bpf_insn){ .code = BPF_JMP | BPF_JA, .off = -1 };
		} else if (is_ld_imm64(insn)) {
			fix_imm64(env, i);
		} else if (aux->new_size != 0xff) {
			insn->off = aux->new_off;
			insn->code = (insn->code & ~0x18) | aux->new_size;
		} else if (is_conditional(insn) && aux->branch_seen != 3) {
			s16 off = aux->branch_seen == 2 ? insn->off : 0;

			*insn = (struct bpf_insn){ .code = BPF_JMP | BPF_JA, .off = off };
		}
	}
}
