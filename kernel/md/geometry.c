/* SPDX-License-Identifier: MIT
 *
 * Problem: eleven layouts of parity exist in the wild, and an array moves between systems only if each byte is
 * where the other system looks for it.
 *
 * Idea: all layouts are two decisions: where P (and Q) stand in a row, and in which order the data chunks fill the
 * other slots: "asymmetric" (in slot order, skipping parity) or "symmetric" (starting after parity, cyclically).
 *
 *	row % n:       0        1        2        3		(left-symmetric RAID5, 4 members)
 *	slots:      0 1 2 P  1 2 P 0  2 P 0 1  P 0 1 2
 *
 * The *_6 layouts are a RAID5 over all members but the last, which holds Q.
 *
 * Contract: md/geometry.h.
 *
 * Locks: none.
 */
#include <core/log.h>
#include <lib/err.h>
#include <md/copies.h>

static bool layout_exists(int level, u32 layout)
{
	switch (level) {
	case 4: return true; /* the field is ignored: RAID4 is parity-N */
	case 5: return layout <= MD_PARITY_N;
	case 6: return layout <= MD_PARITY_N || (layout >= 8 && layout <= 10) || (layout >= 16 && layout <= 20);
	default: return false;
	}
}

static int parity_init(struct md_geo *g)
{
	u32 parity = g->level == 6 ? 2 : 1;

	if (!layout_exists(g->level, g->layout))
		return fail(EINVAL, "level %d has no layout %u", g->level, g->layout);
	if (g->disks <= parity)
		return fail(EINVAL, "%u members in a RAID%d", g->disks, g->level);
	g->layout = g->level == 4 ? MD_PARITY_N : g->layout;
	g->parity = parity;
	g->data = g->disks - parity;
	g->member_sectors -= g->member_sectors % g->chunk;
	g->sectors = g->member_sectors * g->data;
	return 0;
}

/* Layout of level 10: near copies, far copies << 8, bit 16: far copies in the next row, bits 17 and 18: how members
 * form sets for far copies. */
static int ten_init(struct md_geo *g)
{
	u32 near = g->layout & 0xff, far = g->layout >> 8 & 0xff, kind = g->layout >> 17;

	if (!near || !far || kind > 2 || (u64)near * far > g->disks)
		return fail(EINVAL, "RAID10 of %u members has no layout 0x%x", g->disks, g->layout);
	if (g->chunk & (g->chunk - 1))
		return fail(EINVAL, "chunk of %u sectors", g->chunk);
	g->near = near;
	g->far = far;
	g->offset = g->layout >> 16 & 1;
	g->set = kind == 0 ? g->disks : kind == 1 ? g->disks / far : far * near;
	if (g->set < near * far || g->disks % g->set)
		return fail(EINVAL, "RAID10 of %u members in sets of %u for %u copies", g->disks, g->set, near * far);
	g->parity = near * far - 1;
	g->member_sectors -= g->member_sectors % (g->chunk * (u64)far);
	g->sectors = g->member_sectors / g->chunk / far * g->disks / near * g->chunk;
	if (!g->sectors)
		return fail(EINVAL, "RAID10 of members that are smaller than a chunk and its copies");
	return 0;
}

static int one_init(struct md_geo *g)
{
	g->chunk = 0;
	g->near = g->disks;
	g->far = 1;
	g->set = g->disks;
	g->parity = g->disks - 1;
	g->sectors = g->member_sectors;
	return 0;
}

int md_geo_init(struct md_geo *g, int level, u32 layout, u32 disks, u32 chunk, u64 member_sectors)
{
	bool sized = level > 0;

	*g = (struct md_geo){
		.level = level, .layout = layout, .disks = disks, .chunk = chunk, .member_sectors = member_sectors
	};
	if (!md_level_has_parity(level) && level != -1 && level != 0 && level != 1 && level != 10)
		return fail(EINVAL, "no arrays of level %d", level);
	if (!disks || disks > MD_MAX_DISKS)
		return fail(EINVAL, "%u members in an array of level %d", disks, level);
	if ((level > 1 || level == 0) && (!chunk || chunk % MD_PAGE_SECTORS || chunk > 1u << 21))
		return fail(EINVAL, "chunk of %u sectors", chunk);
	if (member_sectors > 1ULL << 53 || (sized && member_sectors < max(chunk, 1u)))
		return fail(EINVAL, "members of %llu sectors", (unsigned long long)member_sectors);
	if (md_level_has_parity(level))
		return parity_init(g);
	return level == 10 ? ten_init(g) : level == 1 ? one_init(g) : 0;
}

bool md_geo_serves(const struct md_geo *g, u64 missing)
{
	if (md_level_has_parity(g->level))
		return (u32)__builtin_popcountll(missing) <= g->parity;
	for (u32 chunk = 0; g->level > 0 && chunk < g->disks; chunk++) {
		u64 left = md_copies_slots(g, chunk) & ~missing;

		if (!left)
			return false;
	}
	return g->level > 0 || !missing;
}

/* Parity's slot among n when it walks left (from the last slot down) or right. */
static u32 walk(u64 row, u32 n, bool left)
{
	return left ? n - 1 - row % n : row % n;
}

void md_geo_parity(const struct md_geo *g, u64 row, u32 *p, u32 *q)
{
	u32 n = g->disks;

	*q = MD_NO_SLOT;
	switch (g->layout) {
	case MD_PARITY_0:
		*p = 0;
		if (g->parity == 2)
			*q = 1;
		return;
	case MD_PARITY_N:
		*p = g->data;
		if (g->parity == 2)
			*q = g->data + 1;
		return;
	case MD_PARITY_0_6:
		*p = 0;
		*q = n - 1;
		return;
	case MD_LEFT_ASYMMETRIC_6:
	case MD_LEFT_SYMMETRIC_6:
	case MD_RIGHT_ASYMMETRIC_6:
	case MD_RIGHT_SYMMETRIC_6:
		*p = walk(row, n - 1, !(g->layout & 1));
		*q = n - 1;
		return;
	case MD_ROTATING_N_RESTART: *p = walk(row + 1, n, true); break;
	case MD_ROTATING_ZERO_RESTART: *p = walk(row, n, false); break;
	case MD_ROTATING_N_CONTINUE:
		*p = walk(row, n, true);
		*q = (*p + n - 1) % n;
		return;
	default: *p = walk(row, n, !(g->layout & 1)); break;
	}
	if (g->parity == 2)
		*q = (*p + 1) % n;
}

/* If data fills the slots cyclically, the slot that data index 0 has and the length of the cycle. */
static bool is_cyclic(const struct md_geo *g, u32 p, u32 q, u32 *first, u32 *cycle)
{
	*cycle = g->disks;
	switch (g->layout) {
	case MD_LEFT_SYMMETRIC:
	case MD_RIGHT_SYMMETRIC: *first = (g->parity == 2 ? q : p) + 1; return true;
	case MD_ROTATING_N_CONTINUE: *first = p + 1; return true;
	case MD_LEFT_SYMMETRIC_6:
	case MD_RIGHT_SYMMETRIC_6:
		*cycle = g->disks - 1;
		*first = p + 1;
		return true;
	default: return false;
	}
}

u32 md_geo_slot(const struct md_geo *g, u64 row, u32 d)
{
	u32 p, q, first, cycle;

	md_geo_parity(g, row, &p, &q);
	if (is_cyclic(g, p, q, &first, &cycle))
		return (first + d) % cycle;
	for (u32 s = 0;; s++) {
		if (s == p || s == q)
			continue;
		if (d-- == 0)
			return s;
	}
}

u32 md_geo_data_index(const struct md_geo *g, u64 row, u32 slot)
{
	u32 p, q, first, cycle, d = 0;

	md_geo_parity(g, row, &p, &q);
	if (slot == p || slot == q || slot >= g->disks)
		return MD_NO_SLOT;
	if (is_cyclic(g, p, q, &first, &cycle))
		return (slot + cycle - first % cycle) % cycle;
	for (u32 s = 0; s < slot; s++)
		d += s != p && s != q;
	return d;
}

bool md_geo_is_ddf(const struct md_geo *g)
{
	return g->layout >= MD_ROTATING_ZERO_RESTART && g->layout <= MD_ROTATING_N_CONTINUE;
}

u32 md_geo_exponent(const struct md_geo *g, u64 row, u32 slot)
{
	u32 p, q, e = 0;

	if (md_geo_is_ddf(g))
		return slot;
	md_geo_parity(g, row, &p, &q);
	if (q == MD_NO_SLOT)
		return 0;
	for (u32 s = (q + 1) % g->disks; s != slot; s = (s + 1) % g->disks)
		e += s != p;
	return e;
}

void md_geo_map(const struct md_geo *g, u64 sector, u64 *member_sector, u32 *d)
{
	u64 chunk = sector / g->chunk, row = chunk / g->data;

	*d = chunk % g->data;
	*member_sector = row * g->chunk + sector % g->chunk;
}

u64 md_geo_unmap(const struct md_geo *g, u64 member_sector, u32 d)
{
	u64 row = member_sector / g->chunk;

	return (row * g->data + d) * g->chunk + member_sector % g->chunk;
}

const char *md_layout_name(int level, u32 layout)
{
	static const char *const names[] = {
		[MD_LEFT_ASYMMETRIC] = "left-asymmetric",
		[MD_RIGHT_ASYMMETRIC] = "right-asymmetric",
		[MD_LEFT_SYMMETRIC] = "left-symmetric",
		[MD_RIGHT_SYMMETRIC] = "right-symmetric",
		[MD_PARITY_0] = "parity-first",
		[MD_PARITY_N] = "parity-last",
		[MD_ROTATING_ZERO_RESTART] = "ddf-zero-restart",
		[MD_ROTATING_N_RESTART] = "ddf-N-restart",
		[MD_ROTATING_N_CONTINUE] = "ddf-N-continue",
		[MD_LEFT_ASYMMETRIC_6] = "left-asymmetric-6",
		[MD_RIGHT_ASYMMETRIC_6] = "right-asymmetric-6",
		[MD_LEFT_SYMMETRIC_6] = "left-symmetric-6",
		[MD_RIGHT_SYMMETRIC_6] = "right-symmetric-6",
		[MD_PARITY_0_6] = "parity-first-6",
	};

	if ((level != 5 && level != 6) || layout >= ARRAY_SIZE(names) || !layout_exists(level, layout))
		return NULL;
	return names[layout];
}
