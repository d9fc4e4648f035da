/* SPDX-License-Identifier: MIT
 *
 * Problem: parity is computed in three situations (all data known, only the change known, something lost), over
 * pages that stand in slot order, not in the order of the arithmetic.
 *
 * Idea: gather the pages of a stripe in the order of their exponents in Q, then let lib's XOR and Galois code do
 * the work. DDF layouts give parity slots an exponent too: a page of zeroes stands there.
 *
 *	generate	P, Q from the current data pages
 *	modify		P, Q += (old + new) of each dirty data page, weighted
 *	reconstruct	up to two lost slots from the others, on disk states
 *
 * Contract: engine_priv.h; the caller has fetched what each needs. Works on whole 4 KiB pages, with the widest vector
 *set that the CPU has: in the kernel each operation is one section of SIMD.
 *
 * Locks: the engine's.
 */
#include <arch/simd.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/gf256.h>
#include <lib/string.h>
#include <lib/xor.h>
#include "engine_priv.h"

static u8 *disk_state(struct slot_page *s)
{
	return s->flags & DIRTY ? s->old : s->page;
}

/* Fills v with the stripe's data pages by exponent, returns their count; *p and *q get the parity slots. at[] (may
 * be NULL) maps each slot to its index, parity slots to n and n + 1. */
static u32 gather(struct md_engine *e, struct md_stripe *sh, bool disk, u8 **v, u32 *p, u32 *q, u32 *at)
{
	u64 row = sh->sector / e->geo.chunk;
	u32 n = md_geo_is_ddf(&e->geo) ? e->geo.disks : e->geo.data, d = 0;

	md_geo_parity(&e->geo, row, p, q);
	for (u32 i = 0; i < n; i++)
		v[i] = e->zero;
	for (u32 i = 0; i < e->geo.disks; i++) {
		u32 x;

		if (i == *p || i == *q)
			continue;
		x = e->geo.parity == 2 ? md_geo_exponent(&e->geo, row, i) : d++;
		v[x] = disk ? disk_state(&sh->s[i]) : sh->s[i].page;
		if (at)
			at[i] = x;
	}
	if (at) {
		at[*p] = n;
		if (*q != MD_NO_SLOT)
			at[*q] = n + 1;
	}
	return n;
}

void parity_generate(struct md_engine *e, struct md_stripe *sh, u8 *p, u8 *q)
{
	u8 *v[MD_MAX_DISKS];
	u32 pslot, qslot, n = gather(e, sh, false, v, &pslot, &qslot, NULL);

	simd_begin();
	if (e->geo.parity == 2)
		gf256_pq_simd(p, q, (const u8 *const *)v, n, PAGE_BYTES);
	else
		xor_blocks_simd(p, (const u8 *const *)v, n, PAGE_BYTES);
	simd_end();
}

void parity_modify(struct md_engine *e, struct md_stripe *sh)
{
	u64 row = sh->sector / e->geo.chunk;
	u8 *delta = e->scratch[0];
	u32 p, q;

	md_geo_parity(&e->geo, row, &p, &q);
	simd_begin();
	for (u32 i = 0; i < e->geo.disks; i++) {
		struct slot_page *s = &sh->s[i];
		const u8 *both[2] = { s->page, s->old };
		const u8 *into[2] = { sh->s[p].page, delta };

		if (i == p || i == q || !(s->flags & DIRTY))
			continue;
		xor_blocks_simd(delta, both, 2, PAGE_BYTES);
		if (sh->s[p].flags & CUR)
			xor_blocks_simd(sh->s[p].page, into, 2, PAGE_BYTES);
		if (q != MD_NO_SLOT && sh->s[q].flags & CUR)
			gf256_mul_add_simd(sh->s[q].page, delta, gf256_pow2(md_geo_exponent(&e->geo, row, i)),
					   PAGE_BYTES);
	}
	simd_end();
}

static void reconstruct_xor(struct md_engine *e, struct md_stripe *sh, u32 lost)
{
	const u8 *v[MD_MAX_DISKS];
	u32 n = 0;

	for (u32 i = 0; i < e->geo.disks; i++)
		if (i != lost)
			v[n++] = disk_state(&sh->s[i]);
	xor_blocks_simd(disk_state(&sh->s[lost]), v, n, PAGE_BYTES);
}

void parity_reconstruct(struct md_engine *e, struct md_stripe *sh, u64 lost)
{
	u8 *v[MD_MAX_DISKS + 2];
	u32 p, q, n, at[MD_MAX_DISKS + 1], index[2] = { 0 }, k = 0;

	simd_begin();
	if (e->geo.parity == 1) {
		reconstruct_xor(e, sh, __builtin_ctzll(lost));
	} else {
		n = gather(e, sh, true, v, &p, &q, at);
		v[n] = disk_state(&sh->s[p]);
		v[n + 1] = disk_state(&sh->s[q]);
		for (u64 m = lost; m; m &= m - 1)
			index[k++] = at[__builtin_ctzll(m)];
		ensure(gf256_recover_simd(v, n, index, k, PAGE_BYTES) == 0);
	}
	simd_end();
	for (u64 m = lost; m; m &= m - 1) {
		struct slot_page *s = &sh->s[__builtin_ctzll(m)];

		s->flags |= s->flags & DIRTY ? OLD : CUR;
	}
}
