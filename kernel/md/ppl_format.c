/* SPDX-License-Identifier: MIT
 *
 * Problem: without a journal, a crash between the writes of data and parity leaves a stripe from which a missing
 * member's data, which nobody was writing, would be reconstructed wrongly.
 *
 * Idea: before that, the parity's member gets what can make the parity right again. This file knows the format and how
 * it is used after a crash; ppl.c writes it.
 *
 *	area:	header | partial parity of its entries | header | ...		the one with the highest generation
 *counts header:	512 x ff | signature 0 | generation | entries crc | entry ...	4096 bytes, ~crc32c with the
 *field zero entry:	array sector | pp bytes | data bytes | parity slot | ~crc32c of pp
 *
 *	data modified:	d consecutive members' parts from the array sector on, each pp bytes long, a chunk apart;
 *			pp 0: all members' parts; pp a chunk: as many bytes as data bytes says, in array order
 *
 * Contract: md/ppl.h. An entry is carried out only if all its modified data can be read: otherwise what the parity says
 * of a missing member is the best there is.
 *
 * Locks: none.
 */
#include <linux/raid/md_p.h>
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/crc32c.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/ppl.h>

#define PAGE    4096u
#define SECTORS 8u

static u32 final_crc(const void *data, size_t bytes)
{
	return ~crc32c(~0u, data, bytes);
}

u32 md_ppl_signature(const u8 set_uuid[16])
{
	return final_crc(set_uuid, 16);
}

int md_ppl_place(const struct md_super *sb, u64 *sector, u32 *sectors)
{
	s64 at = (s64)sb->super_offset + (s16)(sb->bitmap_or_ppl & 0xffff), end;
	s64 super = (s64)sb->super_offset, data = (s64)sb->data_offset;

	*sectors = (sb->bitmap_or_ppl >> 16) / SECTORS * SECTORS;
	end = at + *sectors;
	if (*sectors < 2 * SECTORS || at < 0)
		return fail(EINVAL, "a partial parity log of %u sectors", *sectors);
	if ((at < super + MD_SUPER_SECTORS && end > super) || (at < data + (s64)sb->data_size && end > data))
		return fail(EINVAL, "the partial parity log lies on other data");
	*sector = (u64)at;
	return 0;
}

u32 md_ppl_room(u32 sectors, bool *several)
{
	u32 pages = sectors / SECTORS;

	*several = pages >= 2 * (MD_PPL_PAGES + 1);
	return *several ? MD_PPL_PAGES : pages - 1;
}

/* ---- building -------------------------------------------------------------------------------------------------- */

void md_ppl_begin(void *header, u32 signature, u64 generation)
{
	struct ppl_header *h = header;

	memset(h, 0, MD_PPL_HEADER);
	memset(h->reserved, 0xff, sizeof(h->reserved));
	h->signature = signature;
	h->generation = generation;
}

int md_ppl_add(void *header, u64 array_sector, u32 data_bytes, u32 parity_slot, const void *pp)
{
	struct ppl_header *h = header;

	if (h->entries_count >= PPL_HDR_MAX_ENTRIES)
		return -ENOSPC;
	h->entries[h->entries_count++] = (struct ppl_header_entry){ .data_sector = array_sector,
								    .pp_size = pp ? PAGE : 0,
								    .data_size = data_bytes,
								    .parity_disk = parity_slot,
								    .checksum = pp ? final_crc(pp, PAGE) : 0 };
	return 0;
}

void md_ppl_end(void *header)
{
	struct ppl_header *h = header;

	h->checksum = 0;
	h->checksum = final_crc(h, MD_PPL_HEADER);
}

/* ---- reading -------------------------------------------------------------------------------------------------- */

int md_ppl_check(const void *header, u32 signature, u64 *generation, u32 *entries)
{
	const struct ppl_header *h = header;
	const u32 zero = 0;
	size_t at = offsetof(struct ppl_header, checksum);
	u32 crc;

	if (h->signature != signature || h->entries_count > PPL_HDR_MAX_ENTRIES)
		return -EBADMSG;
	crc = crc32c(~0u, h, at);
	crc = crc32c(crc, &zero, 4);
	crc = ~crc32c(crc, (const u8 *)header + at + 4, MD_PPL_HEADER - at - 4);
	if (crc != h->checksum)
		return -EBADMSG;
	*generation = h->generation;
	*entries = h->entries_count;
	return 0;
}

void md_ppl_entry_at(const void *header, u32 i, struct md_ppl_entry *out)
{
	const struct ppl_header_entry *e = &((const struct ppl_header *)header)->entries[i];

	*out = (struct md_ppl_entry){ e->data_sector, e->pp_size, e->data_size, e->parity_disk, e->checksum };
}

/* ---- recovery ------------------------------------------------------------------------------------------------- */

struct recovery {
	const struct md_geo *g;
	const struct md_super *const *sb;
	const struct md_recovery_ops *ops;
	void *ctx;
	bool dry;
	u8 *area; /* of the member being looked at */
	u8 *sum, *page;
	struct md_ppl_result *out;
};

/* Which of the stripe's data, counted from the first modified, an entry names at row `row` (sectors) of its part. */
static u32 modified(const struct md_geo *g, const struct md_ppl_entry *n, u32 row)
{
	u32 chunk = g->chunk * 512;

	if (n->pp_bytes && n->pp_bytes < chunk)
		return n->data_bytes / n->pp_bytes;
	if (!n->pp_bytes)
		return g->data;
	return row * 512 < n->data_bytes % chunk ? n->data_bytes / chunk + 1 : n->data_bytes / chunk;
}

static u32 rows(const struct md_geo *g, const struct md_ppl_entry *n)
{
	return n->pp_bytes ? n->pp_bytes / 512 : n->data_bytes / 512 / g->data;
}

/* It can be what a writer has logged: whole pages of one stripe, whose parity is this member's. */
static bool makes_sense(const struct md_geo *g, u32 slot, const struct md_ppl_entry *n)
{
	u32 sectors = rows(g, n), p, q, d;
	u64 at;

	if (n->parity_slot != slot || n->array_sector % SECTORS || n->pp_bytes % PAGE || n->data_bytes % PAGE ||
	    !n->data_bytes || n->array_sector >= g->sectors || sectors > g->chunk || sectors % SECTORS)
		return false;
	md_geo_map(g, n->array_sector, &at, &d);
	md_geo_parity(g, at / g->chunk, &p, &q);
	return p == slot && at % g->chunk + sectors <= g->chunk && modified(g, n, 0) &&
	       d + modified(g, n, 0) <= g->data;
}

static void add_page(u8 *to, const u8 *from)
{
	for (u32 i = 0; i < PAGE / 8; i++)
		((u64 *)to)[i] ^= ((const u64 *)from)[i];
}

/* One page of parity. pp: its partial parity or NULL. 1: carried out, 0: data is missing, -errno. */
static int recover_row(struct recovery *r, const struct md_ppl_entry *n, u32 row, const u8 *pp)
{
	u64 at;
	u32 d, slot;
	int err;

	memset(r->sum, 0, PAGE);
	for (u32 i = 0; i < modified(r->g, n, row); i++) {
		md_geo_map(r->g, n->array_sector + row + (u64)i * r->g->chunk, &at, &d);
		slot = md_geo_slot(r->g, at / r->g->chunk, d);
		if (!r->sb[slot])
			return 0;
		err = r->ops->read(r->ctx, slot, at, r->page, PAGE);
		if (err)
			return err;
		add_page(r->sum, r->page);
	}
	if (pp)
		add_page(r->sum, pp);
	md_geo_map(r->g, n->array_sector + row, &at, &d);
	err = r->dry ? 0 : r->ops->write(r->ctx, n->parity_slot, at, r->sum, PAGE);
	return err ? err : 1;
}

static int recover_entry(struct recovery *r, const struct md_ppl_entry *n, const u8 *pp)
{
	int done = 1;

	for (u32 row = 0; done >= 0 && row < rows(r->g, n); row += SECTORS) {
		int one = recover_row(r, n, row, n->pp_bytes ? pp + row * 512 : NULL);

		done = one < 0 ? one : done & one;
	}
	r->out->entries += done == 1;
	r->out->skipped += done == 0;
	return done < 0 ? done : 0;
}

/* The header that counts, by its place in the area; -1: there is none. */
static long newest(const struct recovery *r, u32 slot, u32 bytes)
{
	u32 signature = md_ppl_signature(r->sb[slot]->set_uuid), entries;
	u64 generation, best = 0;
	long found = -1;

	for (u32 at = 0; at < bytes; at += PAGE)
		if (!md_ppl_check(r->area + at, signature, &generation, &entries) && (found < 0 || generation > best)) {
			found = at;
			best = generation;
		}
	r->out->generation = max(r->out->generation, best);
	return found;
}

static int recover_member(struct recovery *r, u32 slot, u32 bytes, u32 at)
{
	u32 signature = md_ppl_signature(r->sb[slot]->set_uuid), entries = 0, pp = at + MD_PPL_HEADER;
	u64 generation;
	int err = md_ppl_check(r->area + at, signature, &generation, &entries);

	for (u32 i = 0; !err && i < entries; i++) {
		struct md_ppl_entry n;

		md_ppl_entry_at(r->area + at, i, &n);
		if (!makes_sense(r->g, slot, &n) || n.pp_bytes > bytes - pp) {
			r->out->damaged++;
			return 0;
		}
		/* Otherwise power failed while it was logged, and its stripe was not touched yet. */
		if ((n.pp_bytes ? final_crc(r->area + pp, n.pp_bytes) : 0) == n.crc)
			err = recover_entry(r, &n, r->area + pp);
		pp += n.pp_bytes;
	}
	return err;
}

/* Old headers would be found again: all of the area is cleared. */
static int begin_anew(struct recovery *r, u32 slot, u64 place, u32 bytes)
{
	int err;

	memset(r->area, 0, bytes);
	md_ppl_begin(r->area, md_ppl_signature(r->sb[slot]->set_uuid), 0);
	md_ppl_end(r->area);
	err = r->ops->write(r->ctx, slot, place, r->area, bytes);
	return err ? err : r->ops->flush(r->ctx, slot);
}

static int each_member(struct recovery *r, bool dirty, bool clear)
{
	int err = 0;

	for (u32 i = 0; !err && i < r->g->disks; i++) {
		u32 sectors;
		u64 at;
		long found;

		if (!r->sb[i])
			continue;
		err = md_ppl_place(r->sb[i], &at, &sectors);
		if (err)
			break;
		at -= r->sb[i]->data_offset;
		r->area = kmalloc(sectors * 512, ALLOC_KERNEL);
		if (!r->area)
			return -ENOMEM;
		if (clear) {
			err = begin_anew(r, i, at, sectors * 512);
		} else {
			err = r->ops->read(r->ctx, i, at, r->area, sectors * 512);
			found = err ? -1 : newest(r, i, sectors * 512);
			r->out->damaged += !err && found < 0;
			if (dirty && found >= 0)
				err = recover_member(r, i, sectors * 512, (u32)found);
		}
		kfree(r->area);
	}
	return err;
}

int md_ppl_recover(const struct md_geo *g, const struct md_super *const *sb, bool dirty,
		   const struct md_recovery_ops *ops, void *ctx, bool dry, struct md_ppl_result *out)
{
	struct recovery r = { .g = g, .sb = sb, .ops = ops, .ctx = ctx, .dry = dry, .out = out };
	int err = -ENOMEM;

	*out = (struct md_ppl_result){ 0 };
	r.sum = kmalloc(PAGE, ALLOC_KERNEL);
	r.page = kmalloc(PAGE, ALLOC_KERNEL);
	if (r.sum && r.page)
		err = each_member(&r, dirty, false);
	for (u32 i = 0; !err && !dry && i < g->disks; i++) /* the parity, before what it was made of goes */
		err = sb[i] ? ops->flush(ctx, i) : 0;
	if (!err && !dry)
		err = each_member(&r, dirty, true);
	kfree(r.sum);
	kfree(r.page);
	return err;
}
