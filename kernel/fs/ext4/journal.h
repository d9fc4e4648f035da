/* SPDX-License-Identifier: MIT
 *
 * The journal in memory: what replay and commit share. Under the file system's lock.
 */
#ifndef EXT4_JOURNAL_H
#define EXT4_JOURNAL_H

#include "ext4_priv.h"

struct revoked { /* a slot of the table */
	u64 block;
	u32 sequence;
	bool used;
};

struct journal {
	struct ext4 *fs;
	struct ext4_inode inode;
	u8 super[JS_BYTES];
	u32 incompat, maxlen, first, csum_seed;
	u8 *block, *data; /* one block each */
	/* replay */
	struct revoked *revoked; /* by hash of the block; room: slots, a power of two, at most half of them used */
	size_t nr_revoked, room;
	u32 end_sequence; /* of the first transaction that is not there */
	/* commit */
	u32 sequence; /* of the next transaction */
	u32 head;     /* where it goes */
	u32 used;     /* blocks of the ring that a replay would need */
	bool marked;  /* the superblock says that a replay is needed */
};

static inline bool journal_has_v23(const struct journal *j)
{
	return j->incompat & (JI_CSUM_V2 | JI_CSUM_V3);
}

static inline u32 journal_tag_bytes(const struct journal *j)
{
	if (j->incompat & JI_CSUM_V3)
		return 16;
	return 8 + 4 * !!(j->incompat & JI_64BIT) + 2 * !!(j->incompat & JI_CSUM_V2);
}

/* The log is a ring from `first` to `maxlen`. */
static inline u32 journal_wrap(const struct journal *j, u32 at)
{
	return at < j->maxlen ? at : j->first + (at - j->maxlen);
}

int ext4_journal_open(struct ext4 *fs, struct journal **out); /* reads and checks its superblock */
void ext4_journal_free(struct journal *j);
/* start 0: the log is empty and the next transaction has this sequence. */
int ext4_journal_write_super(struct journal *j, u32 start, u32 sequence);

#endif
