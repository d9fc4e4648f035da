/* SPDX-License-Identifier: MIT
 *
 * Problem: a clock sample says where a thread was, not which memory it waited for.
 *
 * Idea: the interrupt is taken when the oldest instruction has retired. The one that made it wait is therefore the
 * predecessor of the sampled address, or the sampled one itself when it is restarted. Both are decoded; the predecessor
 * only counts if it did not overwrite the registers of its own address. Plain stores retire without waiting, so the
 * clock hardly ever lands on them: the instructions from the sampled one to the next branch will run, and those of
 * their writes whose address registers are still what the sample saw are taken too.
 *
 * Contract: c2c.h. Locks: none.
 */
#include "c2c.h"

#define LOOK_AHEAD 12 /* instructions */

/* The operands whose address can be told though the registers in clobbered have changed. */
static u32 take(const struct operand_insn *insn, u64 ip, u64 clobbered, bool writes_only, struct touch *out, u32 room)
{
	u32 n = 0;

	for (u32 i = 0; i < insn->nr && n < room; i++) {
		const struct operand *op = &insn->op[i];

		if ((op->regs_used & clobbered) || (writes_only && !op->is_write))
			continue;
		out[n] = (struct touch){ .ip = ip, .is_locked = insn->is_locked, .op = *op };
		out[n++].op.is_read &= !writes_only;
	}
	return n;
}

static u32 take_previous(const u8 *code, u64 bytes, u64 ip, const u64 *regs, struct touch *out)
{
	struct operand_insn insn;

	if (operand_decode(code, min(bytes, (u64)15), ip, regs, &insn) < 0 || insn.ends_flow)
		return 0;
	return take(&insn, ip, insn.regs_written, false, out, TOUCH_MAX);
}

static u32 take_following(const u8 *code, u64 bytes, u64 ip, const u64 *regs, struct touch *out, u32 room)
{
	struct operand_insn insn;
	u64 clobbered = 0, at = 0;
	u32 n = 0;

	for (u32 i = 0; i < LOOK_AHEAD && at < bytes; i++) {
		if (operand_decode(code + at, min(bytes - at, (u64)15), ip + at, regs, &insn) < 0)
			break;
		n += take(&insn, ip + at, clobbered, i > 0, out + n, room - n);
		if (insn.is_branch)
			break;
		clobbered |= insn.regs_written;
		at += insn.length;
	}
	return n;
}

u32 touch_decode(struct images *images, const struct pd_map *map, u64 ip, const u64 *regs, struct touch *out)
{
	struct image *im = image_get(images, map->path);
	u64 start, bytes, before;
	const u8 *code;
	bool exact;
	u32 n = 0;

	code = im ? image_code(im, map, ip, &start, &exact, &bytes) : NULL;
	if (!code)
		return 0;
	if (!operand_previous(code, bytes, start, ip, exact, &before))
		n = take_previous(code + (before - start), bytes - (before - start), before, regs, out);
	return n + take_following(code + (ip - start), bytes - (ip - start), ip, regs, out + n, TOUCH_MAX - n);
}

void c2c_line_key(const struct pd_map *m, s32 pid, u64 addr, u64 *space, u64 *key)
{
	if (m && (m->flags & 1) && m->inode) { /* MAP_SHARED of a file */
		*space = 1ull << 63 | m->inode << 20 | m->major << 8 | m->minor;
		*key = addr - m->start + m->pgoff;
	} else {
		*space = (u32)pid;
		*key = addr;
	}
}
