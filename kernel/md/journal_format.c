/* SPDX-License-Identifier: MIT
 *
 * Problem: after a crash, what the journal says is believed and written over members; a torn or stale block must
 * never pass for a good one, and Linux must be able to read what we wrote.
 *
 * Idea: build and parse in one place. A meta block is good if its magic, version, own position, size and checksum
 * agree; sequence numbers (checked by recovery) tell a stale lap of the ring from this one.
 *
 *	block:	magic crc | version 0 size | seq | position | payload ...		(32 bytes, then payloads)
 *	data:	0 flags | sectors 8 | array sector | crc				(20 bytes, one page)
 *	parity:	1 flags | sectors 8 or 16 | member sector | crc P (| crc Q)		(20 or 24)
 *	flush:	2 flags | bytes | member sectors ...					(8 and 8 each, no pages)
 *
 * Contract: md/journal.h. Format: linux/raid/md_p.h; the CRC is raw (seed in, register out).
 *
 * Locks: none.
 */
#include <linux/raid/md_p.h>
#include <core/log.h>
#include <lib/crc32c.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/journal.h>

u32 md_log_seed(const u8 set_uuid[16])
{
	return crc32c(~0u, set_uuid, 16);
}

void md_log_begin(void *block, u64 seq, u64 position)
{
	struct r5l_meta_block *b = block;

	memset(block, 0, MD_LOG_BLOCK);
	b->magic = R5LOG_MAGIC;
	b->version = R5LOG_VERSION;
	b->meta_size = sizeof(*b);
	b->seq = seq;
	b->position = position;
}

u32 md_log_page_crc(u32 seed, const void *page)
{
	return crc32c(seed, page, MD_LOG_BLOCK);
}

static int add(void *block, u16 type, u64 location, const u32 *crc, u32 pages)
{
	struct r5l_meta_block *b = block;
	struct r5l_payload_data_parity p = {
		.header = { .type = type },
		.size = pages * MD_LOG_SECTORS,
		.location = location,
	};
	u32 bytes = sizeof(p) + 4 * pages;

	if (b->meta_size + bytes > MD_LOG_BLOCK)
		return -ENOSPC;
	memcpy((u8 *)block + b->meta_size, &p, sizeof(p));
	memcpy((u8 *)block + b->meta_size + sizeof(p), crc, 4 * pages);
	b->meta_size += bytes;
	return 0;
}

int md_log_add_data(void *block, u64 array_sector, u32 crc)
{
	return add(block, R5LOG_PAYLOAD_DATA, array_sector, &crc, 1);
}

int md_log_add_parity(void *block, u64 member_sector, const u32 *crc, u32 pages)
{
	return add(block, R5LOG_PAYLOAD_PARITY, member_sector, crc, pages);
}

static u32 block_crc(const void *block, u32 seed)
{
	static const u32 zero;
	u32 c = crc32c(seed, block, 4);

	c = crc32c(c, &zero, 4); /* the field itself */
	return crc32c(c, (const u8 *)block + 8, MD_LOG_BLOCK - 8);
}

void md_log_end(void *block, u32 seed)
{
	((struct r5l_meta_block *)block)->checksum = block_crc(block, seed);
}

int md_log_check(const void *block, u32 seed, u64 position, struct md_log_head *out)
{
	struct r5l_meta_block b;

	memcpy(&b, block, sizeof(b));
	if (b.magic != R5LOG_MAGIC || b.version != R5LOG_VERSION || b.position != position)
		return -EBADMSG;
	if (b.meta_size < sizeof(b) || b.meta_size > MD_LOG_BLOCK || b.checksum != block_crc(block, seed))
		return -EBADMSG;
	*out = (struct md_log_head){ .seq = b.seq, .position = b.position, .bytes = b.meta_size };
	return 0;
}

int md_log_next(const void *block, const struct md_log_head *h, u32 *cursor, struct md_log_entry *out)
{
	u32 at = *cursor ? *cursor : sizeof(struct r5l_meta_block), room = h->bytes - at, bytes;
	struct r5l_payload_data_parity p;
	const u8 *from = (const u8 *)block + at;

	if (at >= h->bytes)
		return 0;
	if (room < 8)
		return -EBADMSG;
	memset(&p, 0, sizeof(p));
	memcpy(&p, from, min(room, (u32)sizeof(p)));
	*out = (struct md_log_entry){ .location = p.location };
	switch (p.header.type) {
	case R5LOG_PAYLOAD_FLUSH:
		out->kind = MD_LOG_FLUSH;
		out->count = p.size / 8;
		out->list = from + 8;
		bytes = 8 + p.size;
		if (p.size % 8 || p.size > room - 8)
			return -EBADMSG;
		break;
	case R5LOG_PAYLOAD_DATA:
	case R5LOG_PAYLOAD_PARITY:
		out->kind = p.header.type == R5LOG_PAYLOAD_DATA ? MD_LOG_DATA : MD_LOG_PARITY;
		out->pages = p.size / MD_LOG_SECTORS;
		bytes = sizeof(p) + 4 * out->pages;
		if (p.size % MD_LOG_SECTORS || out->pages < 1 || out->pages > (out->kind == MD_LOG_DATA ? 1 : 2) ||
		    bytes > room)
			return -EBADMSG;
		memcpy(out->crc, from + sizeof(p), 4 * out->pages);
		break;
	default: return -EBADMSG;
	}
	*cursor = at + bytes;
	return 1;
}
