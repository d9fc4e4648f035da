/* SPDX-License-Identifier: MIT
 *
 * The journal of a parity array, in Linux's format (r5l_* in linux/raid/md_p.h): a ring of 4 KiB blocks on its own
 * device, from that device's data offset. A meta block names the pages that follow it; each page and the meta
 * block carry a CRC-32C seeded with that of the array's UUID.
 *
 * Format functions are pure. Recovery runs before the array does and may block: it reads and writes through the
 * caller's functions.
 */
#ifndef MD_JOURNAL_H
#define MD_JOURNAL_H

#include <md/geometry.h>
#include <md/super.h>

#define MD_LOG_BLOCK   4096
#define MD_LOG_SECTORS 8
#define MD_LOG_PAGES   203 /* one-page payloads that fit in a meta block */

u32 md_log_seed(const u8 set_uuid[16]);

/* Building: begin, add_*, end. add: -ENOSPC when the block is full. crc is that of the page (md_log_page_crc). */
void md_log_begin(void *block, u64 seq, u64 position);
u32 md_log_page_crc(u32 seed, const void *page);
int __must_check md_log_add_data(void *block, u64 array_sector, u32 crc);
int __must_check md_log_add_parity(void *block, u64 member_sector, const u32 *crc, u32 pages);
void md_log_end(void *block, u32 seed);

enum md_log_kind { MD_LOG_DATA, MD_LOG_PARITY, MD_LOG_FLUSH };

struct md_log_entry {
	enum md_log_kind kind;
	u64 location; /* data: array sector; parity: member sector */
	u32 pages;    /* behind the meta block, 0 for a flush */
	u32 crc[2];
	const void *list; /* flush: little-endian u64 member sectors, unaligned */
	u32 count;
};

struct md_log_head {
	u64 seq, position;
	u32 bytes;
};

/* 0, or -EBADMSG: not a meta block that stands at `position` under this seed. */
int __must_check md_log_check(const void *block, u32 seed, u64 position, struct md_log_head *out);
/* The entry at *cursor (0 at first): 1 and *cursor advanced, 0 at the end, -EBADMSG for nonsense. */
int __must_check md_log_next(const void *block, const struct md_log_head *h, u32 *cursor, struct md_log_entry *out);

struct md_recovery_ops {
	/* slot MD_JOURNAL_SLOT or a member's; sectors from its data offset; whole 4 KiB blocks. 0 or -errno. */
	int (*read)(void *ctx, u32 slot, u64 sector, void *buf, u32 bytes);
	/* -ENODEV for a missing member is not an error. */
	int (*write)(void *ctx, u32 slot, u64 sector, const void *buf, u32 bytes);
	int (*flush)(void *ctx, u32 slot);
	/* A page that only the journal has, in array order of discovery: goes to md_inject or is listed. */
	int (*data_only)(void *ctx, u64 array_sector, const void *page);
};

struct md_recovery_result {
	bool valid;          /* the tail pointed to a log */
	u64 tail, head, seq; /* where the log begins now, where and with which number the engine goes on */
	u32 blocks, replayed, data_only,
		damaged; /* meta blocks, stripes replayed, pages left, 1 if it ended in a torn block */
};

/* Scans the log from tail. Unless dry, writes complete stripes to their members and begins the log anew (with
 * fresh_seq, a random number, when it had no valid block); the new tail is in the result and not yet in any
 * superblock: the engine writes it before it acknowledges anything. Data-only pages are reported. 0 or -errno. */
int __must_check md_journal_recover(const struct md_geo *g, u64 log_sectors, u64 tail, const u8 set_uuid[16],
				    u64 fresh_seq, const struct md_recovery_ops *ops, void *ctx, bool dry,
				    struct md_recovery_result *out);

#endif
