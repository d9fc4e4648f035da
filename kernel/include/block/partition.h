/* SPDX-License-Identifier: MIT
 *
 * Partition tables: GUID (UEFI specification 2.10, chapter 5.3) and MBR with extended partitions (chain of EBRs).
 * Pure: sectors come through a callback. Every number in a table is untrusted.
 *
 * A GPT is taken when its protective MBR and one of its two headers are sound (signature, CRCs, bounds); the backup
 * at the last sector serves when the primary is damaged. Entries that overlap, lie outside the usable range or end
 * before they start are dropped, as Linux does with those outside.
 *
 * Threading: any; no state is kept. Errors: what the callback returned, -ENOMEM, or a count of partitions (0: none).
 */
#ifndef BLOCK_PARTITION_H
#define BLOCK_PARTITION_H

#include <lib/types.h>

#define PARTITION_MAX 256

struct partition {
	u32 number;       /* as in the device's name: sda<number> */
	u64 start_sector; /* of 512 bytes */
	u64 nr_sectors;
	u8 mbr_type; /* MBR only */
	bool bootable;
	char uuid[37]; /* PARTUUID */
	char name[73]; /* GPT: PARTLABEL in UTF-8, cut if it does not fit */
};

struct partition_source {
	void *ctx;
	u64 nr_blocks;                                /* of block_bytes */
	u32 block_bytes;                              /* 512 or 4096 */
	int (*read)(void *ctx, u64 block, void *buf); /* one block; 0 or -errno */
};

int __must_check partition_scan(const struct partition_source *src, struct partition *out, unsigned max_parts);

#endif
