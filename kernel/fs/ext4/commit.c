/* SPDX-License-Identifier: MIT
 *
 * Problem: a change touches several blocks, and after a power cut either all of them or none must show it.
 *
 * Idea: changed blocks gather in memory. ext4_sync adds the descriptors and the superblock, stores checksums, writes
 * all into the log as one transaction, makes that safe, and only then writes them to their places. Transactions follow
 * each other in the ring; when it is full, one flush makes all of them safe at home and the log starts anew. Blocks of
 * metadata that were freed are revoked, so that an old image in the log never goes over a file's new data.
 *
 *      start (if the log was empty), revokes, descriptors, blocks | flush (data, too) | commit | flush | home ...
 *      a cut: as before .................................................................^ whole: replayed
 *
 * The superblock says "needs a replay" from the first commit to a clean close. Without a journal the blocks are
 * written home at once. A step (ext4_step_begin, _end) is never divided between transactions; one that fails in the
 * middle of its changes ends all writing.
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

static int put_sign(struct ext4 *fs, u8 *sb, bool needs_replay, u16 state)
{
	u32 features;
	int err = fs->dev.read(fs->dev.ctx, SB_AT, sb, SB_BYTES);

	if (err)
		return err;
	features = get32(sb + SB_INCOMPAT) & ~INCOMPAT_RECOVER;
	put32(sb + SB_INCOMPAT, features | (needs_replay ? INCOMPAT_RECOVER : 0));
	put16(sb + SB_STATE, state);
	put32(fs->sb + SB_INCOMPAT, get32(sb + SB_INCOMPAT));
	put16(fs->sb + SB_STATE, state);
	if (has_csum(fs))
		ext4_super_seal(sb);
	if (!ext4_buffer_is_dirty(fs, SB_AT / fs->block_bytes)) /* else it is part of the transaction */
		ext4_buffer_forget(fs, SB_AT / fs->block_bytes);
	return fs->dev.write(fs->dev.ctx, SB_AT, sb, SB_BYTES);
}

/* Past the journal, so only this changes of what the device has. */
static int write_sign(struct ext4 *fs, bool needs_replay, u16 state)
{
	u8 *sb = kmalloc(SB_BYTES, ALLOC_KERNEL); /* a stack cannot be transferred to */
	int err = sb ? put_sign(fs, sb, needs_replay, state) : -ENOMEM;

	kfree(sb);
	return err;
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

static u32 revokes_per_block(const struct journal *j)
{
	return (j->fs->block_bytes - 16 - 4 * journal_has_v23(j)) / (j->incompat & JI_64BIT ? 8 : 4);
}

static int write_revokes(struct journal *j, u32 *log_at)
{
	struct ext4 *fs = j->fs;
	u32 size = j->incompat & JI_64BIT ? 8 : 4, most = revokes_per_block(j);
	int err = 0;

	for (u32 done = 0; done < fs->nr_revokes && !err;) {
		u32 n = min(fs->nr_revokes - done, most);

		start_block(j, JBD_REVOKE);
		put_be32(j->block + 12, 16 + n * size);
		for (u32 i = 0; i < n; i++, done++) {
			u8 *at = j->block + 16 + i * size;

			if (size == 8)
				put_be32(at, fs->revokes[done] >> 32);
			put_be32(at + size - 4, fs->revokes[done]);
		}
		finish_descriptor(j);
		err = write_log(j, *log_at, j->block);
		*log_at = journal_wrap(j, *log_at + 1);
	}
	return err;
}

/* A block that was freed and given out again as metadata in this transaction is valid in it. */
static void cancel_revokes(struct ext4 *fs)
{
	u32 kept = 0;

	for (u32 i = 0; i < fs->nr_revokes; i++)
		if (!ext4_buffer_is_dirty(fs, fs->revokes[i]))
			fs->revokes[kept++] = fs->revokes[i];
	fs->nr_revokes = kept;
}

/* Everything in the log is at home: it starts anew. */
static int empty_log(struct journal *j)
{
	struct ext4 *fs = j->fs;
	int err = fs->dev.flush(fs->dev.ctx);

	if (!err)
		err = ext4_journal_write_super(j, 0, j->sequence);
	if (!err)
		err = fs->dev.flush(fs->dev.ctx);
	j->used = 0;
	return err;
}

/* Before the first block of a transaction. */
static int prepare_log(struct journal *j, u32 need)
{
	struct ext4 *fs = j->fs;
	u32 ring = j->maxlen - j->first;
	int err = 0;

	if (need > ring)
		return fail(ENOSPC, "ext4: a transaction of %u blocks does not fit the journal", need);
	if (!j->marked) { /* a log that is not empty must never be there without the sign */
		err = write_sign(fs, true, get16(fs->sb + SB_STATE));
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
		j->marked = !err;
	}
	if (!err && need > ring - j->used)
		err = empty_log(j);
	return err || j->used ? err : ext4_journal_write_super(j, j->head, j->sequence);
}

static u32 blocks_needed(const struct journal *j)
{
	const struct ext4 *fs = j->fs;

	return fs->nr_dirty + DIV_ROUND_UP(fs->nr_dirty, tags_per_descriptor(j)) +
	       DIV_ROUND_UP(fs->nr_revokes, revokes_per_block(j)) + 1;
}

static int commit(struct journal *j)
{
	struct ext4 *fs = j->fs;
	struct list *next = fs->dirty.next;
	u32 need, at = j->head;
	int err;

	cancel_revokes(fs);
	need = blocks_needed(j);
	err = prepare_log(j, need);
	if (!err)
		err = write_revokes(j, &at);
	while (!err && next != &fs->dirty)
		err = write_part(j, &next, &at);
	if (!err)
		err = fs->dev.flush(fs->dev.ctx);
	if (!err)
		err = write_commit(j, at);
	if (!err)
		err = fs->dev.flush(fs->dev.ctx);
	j->used += need;
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

/* Descriptors become blocks of the transaction. */
static int gather_groups(struct ext4 *fs)
{
	u32 per_block = fs->block_bytes / fs->desc_bytes, n = DIV_ROUND_UP(fs->groups, per_block);

	for (u32 i = 0; i < n; i++) {
		struct buffer *b;
		int err;

		if (!fs->desc_dirty[i])
			continue;
		for (u32 g = i * per_block; g < min((i + 1) * per_block, fs->groups); g++)
			if (fs->ro_compat & (RO_METADATA_CSUM | RO_GDT_CSUM))
				put16(group_desc(fs, g) + GD_CSUM, ext4_group_csum(fs, g));
		err = ext4_buffer_get(fs, ext4_desc_block(fs, i), &b);
		if (err)
			return err;
		memcpy(b->data, fs->gd + (size_t)i * fs->block_bytes, fs->block_bytes);
		ext4_buffer_dirty(fs, b);
		ext4_buffer_put(fs, b);
		fs->desc_dirty[i] = 0;
	}
	return 0;
}

static int gather_super(struct ext4 *fs)
{
	u8 *sb = fs->sb;
	struct buffer *b;
	int err;

	if (!fs->sb_dirty)
		return 0;
	put32(sb + SB_FREE_BLOCKS_LO, fs->free_blocks);
	if (fs->incompat & INCOMPAT_64BIT)
		put32(sb + SB_FREE_BLOCKS_HI, fs->free_blocks >> 32);
	put32(sb + SB_FREE_INODES, fs->free_inodes);
	if (fs->now.sec)
		put32(sb + SB_WTIME, fs->now.sec);
	if (fs->journal)
		put32(sb + SB_INCOMPAT, get32(sb + SB_INCOMPAT) | INCOMPAT_RECOVER);
	if (has_csum(fs))
		ext4_super_seal(sb);
	err = ext4_buffer_get_any(fs, SB_AT / fs->block_bytes, &b);
	if (err)
		return err;
	memcpy(b->data + SB_AT % fs->block_bytes, sb, SB_BYTES);
	ext4_buffer_dirty(fs, b);
	ext4_buffer_put(fs, b);
	fs->sb_dirty = false;
	return 0;
}

static int gather(struct ext4 *fs)
{
	struct buffer *b;
	int err;

	list_for_each_entry (b, &fs->dirty, dirty)
		ext4_seal(fs, b);
	err = gather_groups(fs);
	return err ? err : gather_super(fs);
}

int ext4_sync(struct ext4 *fs)
{
	int err = fs->error, home;

	if (fs->read_only || (!fs->nr_dirty && !fs->sb_dirty))
		return err;
	if (!err)
		err = gather(fs);
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
	if (!err && fs->discard)
		ext4_freed_discard(fs);
	if (!err)
		ext4_freed_release(fs);
	fs->nr_revokes = 0;
	fs->tid++;
	return err;
}

/* ---- steps
 * ------------------------------------------------------------------------------------------------------------- */

#define STEP_BLOCKS 96 /* the most that one step dirties */

/* Must the transaction end before another step? */
static bool is_full(const struct ext4 *fs)
{
	const struct journal *j = fs->journal;
	u32 descs = DIV_ROUND_UP(fs->groups, fs->block_bytes / fs->desc_bytes);

	if (fs->freed_blocks && ext4_blocks_left(fs) < 256)
		return true;
	if (!j)
		return fs->nr_dirty > MAX_BUFFERS / 2;
	return fs->nr_dirty + descs + fs->nr_revokes / revokes_per_block(j) + STEP_BLOCKS >
	       min((j->maxlen - j->first) / 2, 4096u);
}

int ext4_step_begin(struct ext4 *fs)
{
	int err = fs->read_only ? -EROFS : fs->error;

	if (!err && fs->nr_dirty && is_full(fs))
		err = ext4_sync(fs);
	fs->op_changes = 0;
	return err;
}

int ext4_step_end(struct ext4 *fs, int err)
{
	if (err == -EUCLEAN)
		fs->damaged = true;
	if ((err == -EUCLEAN || err == -EIO || err == -ENOMEM) && fs->op_changes && !fs->error) {
		(void)fail(-err, "ext4: a change failed in the middle: no more writing");
		fs->error = -EROFS;
	}
	return err;
}

int ext4_update(struct ext4 *fs, struct ext4_inode *in)
{
	int err = ext4_step_begin(fs);

	return err ? err : ext4_step_end(fs, ext4_store(fs, in));
}

void ext4_note(struct ext4 *fs, int err)
{
	if (err == -EUCLEAN)
		fs->damaged = true;
}

u32 ext4_tid(const struct ext4 *fs)
{
	return fs->tid;
}

int ext4_error(const struct ext4 *fs)
{
	return fs->error;
}

bool ext4_is_damaged(const struct ext4 *fs)
{
	return fs->damaged;
}

void ext4_stop(struct ext4 *fs)
{
	if (!fs->error)
		(void)!ext4_sync(fs);
	if (!fs->error)
		fs->error = -EROFS;
	fs->damaged = true;
}

/* ---- opening and closing for writing --------------------------------------------------------------------------- */

/* The format of what we write: checksums as the file system has them. The log is empty, so it may change. */
static void choose_format(struct journal *j)
{
	u32 want = j->incompat & ~(JI_CSUM_V2 | JI_CSUM_V3 | JI_64BIT | JI_ASYNC_COMMIT);

	if (get_be32(j->super + JS_TYPE) != JBD_SUPER_V2)
		return;
	if (j->fs->incompat & INCOMPAT_64BIT)
		want |= JI_64BIT;
	if (has_csum(j->fs)) {
		want |= JI_CSUM_V3;
		j->super[JS_CSUM_TYPE] = 4;
	}
	want |= JI_REVOKE;
	j->incompat = want;
	put_be32(j->super + JS_INCOMPAT, want);
}

static int open_journal(struct ext4 *fs)
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

int ext4_start_writing(struct ext4 *fs)
{
	u32 descs = DIV_ROUND_UP(fs->groups, fs->block_bytes / fs->desc_bytes);
	int err = open_journal(fs);

	if (err)
		return err;
	fs->desc_dirty = kzalloc(descs, ALLOC_KERNEL);
	if (!fs->desc_dirty)
		return -ENOMEM;
	fs->free_blocks = fs->free_inodes = 0;
	for (u32 g = 0; g < fs->groups; g++) {
		fs->free_blocks += ext4_group_count(fs, g, GD_FREE_BLOCKS, GD_FREE_BLOCKS_HI);
		fs->free_inodes += ext4_group_count(fs, g, GD_FREE_INODES, GD_FREE_INODES_HI);
	}
	/* a superblock that a replay left behind tells old counts */
	fs->sb_dirty = get32(fs->sb + SB_FREE_BLOCKS_LO) != (u32)fs->free_blocks ||
		       get32(fs->sb + SB_FREE_INODES) != fs->free_inodes;
	fs->tid = 1;
	fs->now.sec = get32(fs->sb + SB_WTIME); /* until somebody tells */
	fs->generation = crc32c(get32(fs->sb + SB_WTIME), fs->sb, SB_BYTES);
	err = ext4_zones_make(fs);
	if (!err && !fs->journal) {
		err = write_sign(fs, false, get16(fs->sb + SB_STATE) & ~STATE_CLEAN);
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
		fs->unclean = !err;
	}
	return err ? err : ext4_orphans_load(fs);
}

static void drop_dirty(struct ext4 *fs)
{
	while (!list_empty(&fs->dirty)) {
		struct buffer *b = list_first_entry(&fs->dirty, struct buffer, dirty);

		list_del_init(&b->dirty);
		ext4_buffer_put(fs, b);
	}
	fs->nr_dirty = 0;
}

/* After an error the log stays as it is: whoever opens next replays it, and is told to look. */
static int close_log(struct ext4 *fs, int err)
{
	struct journal *j = fs->journal;
	bool replay = j && j->marked && err;
	u16 state = get16(fs->sb + SB_STATE);

	if (fs->damaged)
		state |= STATE_ERRORS;
	if (!j && fs->unclean && !err)
		state |= STATE_CLEAN;
	if (!err && j && j->marked)
		err = empty_log(j);
	if (state == get16(fs->sb + SB_STATE) && !(j && j->marked))
		return err;
	if (write_sign(fs, replay, state) || fs->dev.flush(fs->dev.ctx))
		return err ? err : -EIO;
	return err;
}

int ext4_stop_writing(struct ext4 *fs)
{
	int err = ext4_sync(fs);

	if (!fs->read_only && fs->zones)
		err = close_log(fs, err);
	drop_dirty(fs);
	if (fs->journal)
		ext4_journal_free(fs->journal);
	fs->journal = NULL;
	ext4_freed_release(fs);
	kfree(fs->zones);
	kfree(fs->desc_dirty);
	fs->zones = NULL;
	fs->desc_dirty = NULL;
	fs->nr_zones = fs->nr_orphans = 0;
	return err;
}

int ext4_set_writing(struct ext4 *fs, bool on)
{
	int err;

	if (on != fs->read_only)
		return 0;
	if (!on) {
		err = ext4_stop_writing(fs);
		fs->read_only = true;
		return err;
	}
	if (fs->dev.read_only || fs->ro_unknown || fs->damaged)
		return -EROFS;
	err = ext4_load_super(fs);
	if (err)
		return err;
	if (fs->incompat & INCOMPAT_RECOVER)
		err = ext4_journal_replay(fs);
	fs->read_only = false;
	if (!err)
		err = ext4_start_writing(fs);
	if (!err && ext4_orphans_clean(fs))
		log_warn("ext4: files without names could not all be freed");
	if (err) {
		fs->read_only = true;
		(void)!ext4_stop_writing(fs);
	}
	return err;
}
