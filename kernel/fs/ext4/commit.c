/* SPDX-License-Identifier: MIT
 *
 * Problem: a change touches several blocks, and after a power cut either all of them or none must show it.
 *
 * Idea: changed blocks gather in memory. ext4_sync writes them into the log as one transaction, makes that safe, and
 * only then writes them to their places. The next one goes behind it in the ring, so that the disk's pointer, old or
 * new, always points at something whole or at nothing. Only one is ever needed, so there are no revokes.
 *
 *      flush (last one at home) | start, descriptors, blocks | flush | commit | flush | home ...
 *      a cut: as before ............................................^ whole: replayed, at home or not
 *
 * The superblock says "needs a replay" from the first commit to a clean close. Without a journal the blocks are
 * written home at once.
 *
 * Contract: ext4_sync of fs/ext4/ext4.h; after an error nothing more is written, every later change gives that error.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/crc32c.h>
#include <lib/string.h>
#include "journal.h"

static int write_block(struct ext4 *fs, u64 block, const u8 *data)
{
	return fs->dev.write(fs->dev.ctx, block * fs->block_bytes, data, fs->block_bytes);
}

static int write_log(struct journal *j, u32 at, const u8 *data)
{
	struct ext4_extent e;
	int err = ext4_map(j->fs, &j->inode, at, &e);

	if (!err && (!e.physical || e.unwritten))
		err = fail(EUCLEAN, "ext4: the journal has a hole at %u", at);
	return err ? err : write_block(j->fs, e.physical, data);
}

static int write_sign(struct ext4 *fs, bool needs_replay)
{
	u32 features = get32(fs->sb + SB_INCOMPAT) & ~INCOMPAT_RECOVER;

	put32(fs->sb + SB_INCOMPAT, features | (needs_replay ? INCOMPAT_RECOVER : 0));
	if (has_csum(fs))
		put32(fs->sb + SB_CSUM, ext4_super_csum(fs->sb));
	return fs->dev.write(fs->dev.ctx, SB_AT, fs->sb, SB_BYTES);
}

/* ---- writing a transaction ------------------------------------------------------------------------------------- */

static void start_block(struct journal *j, u32 type)
{
	memset(j->block, 0, j->fs->block_bytes);
	put_be32(j->block, JBD_MAGIC);
	put_be32(j->block + 4, type);
	put_be32(j->block + 8, j->sequence);
}

static void finish_descriptor(struct journal *j)
{
	u8 *tail = j->block + j->fs->block_bytes - 4;

	if (journal_has_v23(j))
		put_be32(tail, crc32c(j->csum_seed, j->block, j->fs->block_bytes));
}

/* How many tags a descriptor holds: the first is followed by the journal's uuid. */
static u32 tags_per_descriptor(const struct journal *j)
{
	return (j->fs->block_bytes - 12 - 16 - 4 * journal_has_v23(j)) / journal_tag_bytes(j);
}

static u32 data_csum(const struct journal *j, const u8 *data)
{
	u8 be[4];

	put_be32(be, j->sequence);
	return crc32c(crc32c(j->csum_seed, be, 4), data, j->fs->block_bytes);
}

static void put_tag(const struct journal *j, u8 *tag, u64 block, u32 flags, const u8 *data)
{
	put_be32(tag, block);
	if (j->incompat & JI_CSUM_V3) {
		put_be32(tag + 4, flags);
		put_be32(tag + 12, data_csum(j, data));
	} else {
		put_be16(tag + 4, journal_has_v23(j) ? data_csum(j, data) : 0);
		put_be16(tag + 6, flags);
	}
	if (j->incompat & JI_64BIT)
		put_be32(tag + 8, block >> 32);
}

/* One descriptor and its blocks, from the dirty list's place *at on. */
static int write_part(struct journal *j, struct list **next, u32 *log_at)
{
	struct ext4 *fs = j->fs;
	u32 room = tags_per_descriptor(j), tag_at = 12, descriptor_at = *log_at;
	int err = 0;

	*log_at = journal_wrap(j, *log_at + 1);
	start_block(j, JBD_DESCRIPTOR);
	for (u32 i = 0; i < room && *next != &fs->dirty && !err; i++) {
		struct buffer *b = list_entry(*next, struct buffer, dirty);
		const u8 *data = b->data;
		u32 flags = i ? TAG_SAME_UUID : 0;

		*next = (*next)->next;
		if (get_be32(data) == JBD_MAGIC) {
			memcpy(j->data, data, fs->block_bytes);
			put32(j->data, 0);
			data = j->data;
			flags |= TAG_ESCAPE;
		}
		if (i + 1 == room || *next == &fs->dirty)
			flags |= TAG_LAST;
		put_tag(j, j->block + tag_at, b->block, flags, data);
		tag_at += journal_tag_bytes(j);
		if (!i) {
			memcpy(j->block + tag_at, j->super + JS_UUID, 16);
			tag_at += 16;
		}
		err = write_log(j, *log_at, data);
		*log_at = journal_wrap(j, *log_at + 1);
	}
	finish_descriptor(j);
	return err ? err : write_log(j, descriptor_at, j->block);
}

static int write_commit(struct journal *j, u32 at)
{
	start_block(j, JBD_COMMIT);
	if (journal_has_v23(j))
		put_be32(j->block + 0x10, crc32c(j->csum_seed, j->block, j->fs->block_bytes));
	return write_log(j, at, j->block);
}

/* Before the first block of a transaction. Afterwards the log behind `held` may be overwritten. */
static int prepare_log(struct journal *j, u32 need)
{
	struct ext4 *fs = j->fs;
	u32 ring = j->maxlen - j->first;
	int err;

	if (need > ring)
		return fail(ENOSPC, "ext4: a transaction of %u blocks does not fit the journal", need);
	/* The last transaction must be safe at home before the superblock forgets it. */
	err = fs->dev.flush(fs->dev.ctx);
	if (!err && !j->marked) {
		/* A log that is not empty must never be there without the sign. */
		err = write_sign(fs, true);
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
		j->marked = !err;
	}
	if (!err && need > ring - j->held) {
		/* It would overwrite the last one, at which the disk may still point. */
		err = ext4_journal_write_super(j, 0, j->sequence);
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
	}
	return err ? err : ext4_journal_write_super(j, j->head, j->sequence);
}

static int commit(struct journal *j)
{
	struct ext4 *fs = j->fs;
	u32 need = fs->nr_dirty + DIV_ROUND_UP(fs->nr_dirty, tags_per_descriptor(j)) + 1, at = j->head;
	struct list *next = fs->dirty.next;
	int err = prepare_log(j, need);

	while (!err && next != &fs->dirty)
		err = write_part(j, &next, &at);
	if (!err)
		err = fs->dev.flush(fs->dev.ctx);
	if (!err)
		err = write_commit(j, at);
	if (!err)
		err = fs->dev.flush(fs->dev.ctx);
	j->held = need;
	j->head = journal_wrap(j, at + 1);
	j->sequence++;
	return err;
}

static int write_home(struct ext4 *fs)
{
	int err = 0;

	while (!list_empty(&fs->dirty)) {
		struct buffer *b = list_first_entry(&fs->dirty, struct buffer, dirty);

		if (!err)
			err = write_block(fs, b->block, b->data);
		list_del_init(&b->dirty);
		fs->nr_dirty--;
		ext4_buffer_put(fs, b);
	}
	return err;
}

int ext4_sync(struct ext4 *fs)
{
	int err = fs->error, home;

	if (fs->read_only || !fs->nr_dirty)
		return err;
	if (!err && fs->journal)
		err = commit(fs->journal);
	if (err)
		fs->error = err;
	/* What did not get into the log must not get home either: drop it. */
	home = err ? 0 : write_home(fs);
	if (!home && !err && !fs->journal)
		home = fs->dev.flush(fs->dev.ctx);
	if (home)
		fs->error = err = home;
	return err;
}

/* ---- opening and closing for writing --------------------------------------------------------------------------- */

/* The format of what we write: checksums as the file system has them. The log is empty, so it may change. */
static void choose_format(struct journal *j)
{
	u32 want = j->incompat & ~(JI_CSUM_V2 | JI_CSUM_V3 | JI_64BIT);

	if (get_be32(j->super + JS_TYPE) != JBD_SUPER_V2)
		return;
	if (j->fs->incompat & INCOMPAT_64BIT)
		want |= JI_64BIT;
	if (has_csum(j->fs)) {
		want |= JI_CSUM_V3;
		j->super[JS_CSUM_TYPE] = 4;
	}
	j->incompat = want;
	put_be32(j->super + JS_INCOMPAT, want);
}

int ext4_start_writing(struct ext4 *fs)
{
	int err;

	if (!(fs->compat & COMPAT_HAS_JOURNAL))
		return 0;
	err = ext4_journal_open(fs, &fs->journal);
	if (err)
		return err;
	if (get_be32(fs->journal->super + JS_START))
		return fail(EUCLEAN, "ext4: the journal is not empty and the superblock does not say so");
	fs->journal->sequence = get_be32(fs->journal->super + JS_SEQUENCE);
	fs->journal->head = fs->journal->first;
	choose_format(fs->journal);
	return 0;
}

int ext4_stop_writing(struct ext4 *fs)
{
	struct journal *j = fs->journal;
	int err = ext4_sync(fs);

	if (!err && j && j->marked) {
		err = fs->dev.flush(fs->dev.ctx);
		if (!err)
			err = ext4_journal_write_super(j, 0, j->sequence);
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
		if (!err)
			err = write_sign(fs, false);
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
	}
	while (!list_empty(&fs->dirty)) { /* after an error */
		struct buffer *b = list_first_entry(&fs->dirty, struct buffer, dirty);

		list_del_init(&b->dirty);
		ext4_buffer_put(fs, b);
	}
	fs->nr_dirty = 0;
	if (j)
		ext4_journal_free(j);
	fs->journal = NULL;
	return err;
}
