/* SPDX-License-Identifier: MIT
 *
 * Problem: after a cut the metadata on the disk is a mixture; the journal holds whole transactions that make it one
 * state.
 *
 * Idea: three passes over the log from its tail. Scan: follow descriptors, revokes and commits with rising sequence
 * numbers and right checksums; the last commit found is the end. Revoke: collect which blocks had been freed at which
 * transaction (later ones count). Replay: write each block that was not revoked by its own or a later transaction to
 * its place. Then flush, mark the log empty, and clear the superblock's sign.
 *
 *      log   super | descriptor, blocks..., descriptor, blocks..., revoke, commit | ...   (circular)
 *      tag   v3: block, flags, block high, checksum    else: block, checksum, flags, (block high), then maybe 16 of
 * uuid a block that begins with the magic number is stored with these four bytes zero, and its tag says "escaped"
 *
 * Contract: ext4_journal_replay: after it the file system's superblock and groups have been read anew. A transaction
 * whose commit is missing or wrong ends the log, as it should; damage before that point is -EUCLEAN.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/crc32c.h>
#include <lib/string.h>
#include "journal.h"

static int read_log(struct journal *j, u32 at, u8 *buf)
{
	ssize_t n = ext4_read(j->fs, &j->inode, (u64)at * j->fs->block_bytes, buf, j->fs->block_bytes);

	if (n < 0)
		return n;
	return n == j->fs->block_bytes ? 0 : fail(EUCLEAN, "ext4: the journal is shorter than it says");
}

static u32 super_sum(const struct journal *j)
{
	static const u8 zero[4];
	u32 c = crc32c(~0u, j->super, JS_CSUM);

	c = crc32c(c, zero, 4);
	return crc32c(c, j->super + JS_CSUM + 4, JS_BYTES - JS_CSUM - 4);
}

static int load(struct journal *j)
{
	u8 *s = j->super;
	u32 start;
	int err = ext4_iget(j->fs, get32(j->fs->sb + SB_JOURNAL_INO), &j->inode);

	if (!err)
		err = read_log(j, 0, j->block);
	if (err)
		return err;
	memcpy(s, j->block, JS_BYTES);
	if (get_be32(s) != JBD_MAGIC ||
	    (get_be32(s + JS_TYPE) != JBD_SUPER_V1 && get_be32(s + JS_TYPE) != JBD_SUPER_V2))
		return fail(EUCLEAN, "ext4: no journal superblock");
	j->incompat = get_be32(s + JS_TYPE) == JBD_SUPER_V2 ? get_be32(s + JS_INCOMPAT) : 0;
	j->maxlen = get_be32(s + JS_MAXLEN);
	j->first = get_be32(s + JS_FIRST);
	start = get_be32(s + JS_START);
	if (j->incompat & ~JI_KNOWN)
		return fail(EINVAL, "ext4: unknown journal features %#x", j->incompat & ~JI_KNOWN);
	if (get_be32(s + JS_BLOCK_BYTES) != j->fs->block_bytes || !j->first || j->first >= j->maxlen ||
	    j->maxlen > j->inode.size / j->fs->block_bytes || (start && (start < j->first || start >= j->maxlen)))
		return fail(EUCLEAN, "ext4: journal geometry");
	if (journal_has_v23(j) && (s[JS_CSUM_TYPE] != 4 || super_sum(j) != get_be32(s + JS_CSUM)))
		return fail(EUCLEAN, "ext4: checksum of the journal superblock");
	j->csum_seed = crc32c(~0u, s + JS_UUID, 16);
	return 0;
}

/* ---- tags ------------------------------------------------------------------------------------------------------- */

struct tag {
	u64 block;
	u32 flags, csum;
};

/* The tag at *at of the descriptor; false at the end. */
static bool next_tag(const struct journal *j, const u8 *descriptor, u32 *at, struct tag *t)
{
	u32 end = j->fs->block_bytes - 4 * journal_has_v23(j), bytes = journal_tag_bytes(j);
	const u8 *p = descriptor + *at;

	if (*at + bytes > end)
		return false;
	*t = (struct tag){ .block = get_be32(p) };
	if (j->incompat & JI_CSUM_V3) {
		t->flags = get_be32(p + 4);
		t->csum = get_be32(p + 12);
	} else {
		t->csum = get_be16(p + 4);
		t->flags = get_be16(p + 6);
	}
	if (j->incompat & JI_64BIT)
		t->block |= (u64)get_be32(p + 8) << 32;
	*at += bytes + (t->flags & TAG_SAME_UUID ? 0 : 16);
	return true;
}

static bool tail_ok(const struct journal *j, u8 *block)
{
	u8 *tail = block + j->fs->block_bytes - 4;
	u32 have = get_be32(tail), want;

	if (!journal_has_v23(j))
		return true;
	put32(tail, 0);
	want = crc32c(j->csum_seed, block, j->fs->block_bytes);
	put_be32(tail, have);
	return want == have;
}

static bool commit_ok(const struct journal *j, u8 *block)
{
	u32 have = get_be32(block + 0x10), want;

	if (!journal_has_v23(j))
		return true;
	put32(block + 0x10, 0);
	want = crc32c(j->csum_seed, block, j->fs->block_bytes);
	put_be32(block + 0x10, have);
	return want == have;
}

static bool data_ok(const struct journal *j, const struct tag *t, u32 sequence, const u8 *data)
{
	u8 be[4];
	u32 c;

	if (!journal_has_v23(j))
		return true;
	put_be32(be, sequence);
	c = crc32c(crc32c(j->csum_seed, be, 4), data, j->fs->block_bytes);
	return j->incompat & JI_CSUM_V3 ? c == t->csum : (c & 0xffff) == t->csum;
}

/* ---- revokes ------------------------------------------------------------------------------------------------------
 */

static struct revoked *revoke_slot(struct revoked *table, size_t room, u64 block)
{
	size_t i = block * 0x9e3779b97f4a7c15ull >> 20 & (room - 1);

	while (table[i].used && table[i].block != block)
		i = (i + 1) & (room - 1);
	return &table[i];
}

static int grow_revoked(struct journal *j)
{
	size_t room = j->room ? j->room * 2 : 64;
	struct revoked *bigger = kcalloc(room, sizeof(*bigger), ALLOC_KERNEL);

	if (!bigger)
		return -ENOMEM;
	for (size_t i = 0; i < j->room; i++)
		if (j->revoked[i].used)
			*revoke_slot(bigger, room, j->revoked[i].block) = j->revoked[i];
	kfree(j->revoked);
	j->revoked = bigger;
	j->room = room;
	return 0;
}

static int revoke(struct journal *j, u64 block, u32 sequence)
{
	struct revoked *r;

	if (2 * (j->nr_revoked + 1) > j->room) {
		int err = grow_revoked(j);

		if (err)
			return err;
	}
	r = revoke_slot(j->revoked, j->room, block);
	j->nr_revoked += !r->used;
	*r = (struct revoked){ block, sequence, true };
	return 0;
}

static int take_revokes(struct journal *j, u8 *block, u32 sequence)
{
	u32 bytes = get_be32(block + 12), size = j->incompat & JI_64BIT ? 8 : 4;
	int err = 0;

	if (!tail_ok(j, block) || bytes < 16 || bytes > j->fs->block_bytes - 4 * journal_has_v23(j))
		return fail(EUCLEAN, "ext4: revoke block of transaction %u", sequence);
	for (u32 at = 16; at + size <= bytes && !err; at += size) {
		u64 b = get_be32(block + at);

		if (size == 8)
			b = b << 32 | get_be32(block + at + 4);
		err = revoke(j, b, sequence);
	}
	return err;
}

static bool is_revoked(const struct journal *j, u64 block, u32 sequence)
{
	const struct revoked *r = j->room ? revoke_slot(j->revoked, j->room, block) : NULL;

	return r && r->used && (s32)(r->sequence - sequence) >= 0;
}

/* ---- the passes ------------------------------------------------------------------------------------------ */

enum pass { SCAN, COLLECT, REPLAY };

static int replay_block(struct journal *j, const struct tag *t, u32 sequence, u32 at)
{
	struct ext4 *fs = j->fs;
	int err;

	if (is_revoked(j, t->block, sequence))
		return 0;
	err = read_log(j, at, j->data);
	if (err)
		return err;
	if (!data_ok(j, t, sequence, j->data))
		return fail(EUCLEAN, "ext4: checksum of journalled block %llu", (unsigned long long)t->block);
	if (t->flags & TAG_ESCAPE)
		put_be32(j->data, JBD_MAGIC);
	if (t->block >= fs->blocks)
		return fail(EUCLEAN, "ext4: journalled block %llu", (unsigned long long)t->block);
	return fs->dev.write(fs->dev.ctx, t->block * fs->block_bytes, j->data, fs->block_bytes);
}

/* The data blocks behind a descriptor. *at moves past them. */
static int pass_descriptor(struct journal *j, enum pass pass, u32 sequence, u32 *at, u32 *used)
{
	u32 tag_at = 12;
	struct tag t;
	int err = 0;

	while (!err && next_tag(j, j->block, &tag_at, &t)) {
		if (++*used > j->maxlen)
			return fail(EUCLEAN, "ext4: a transaction is longer than the journal");
		if (pass == REPLAY)
			err = replay_block(j, &t, sequence, *at);
		*at = journal_wrap(j, *at + 1);
		if (t.flags & TAG_LAST)
			break;
	}
	return err;
}

/* One pass. Scanning ends at the first thing that is not the next piece of the log; the others at the scan's end. */
static int run_pass(struct journal *j, enum pass pass)
{
	u32 at = get_be32(j->super + JS_START), sequence = get_be32(j->super + JS_SEQUENCE), used = 0;

	while (pass == SCAN || sequence != j->end_sequence) {
		u32 type;
		int err = read_log(j, at, j->block);

		if (err)
			return err;
		if (get_be32(j->block) != JBD_MAGIC || get_be32(j->block + 8) != sequence || ++used > j->maxlen)
			break;
		type = get_be32(j->block + 4);
		at = journal_wrap(j, at + 1);
		if (type == JBD_DESCRIPTOR) {
			if (!tail_ok(j, j->block))
				break;
			err = pass_descriptor(j, pass, sequence, &at, &used);
		} else if (type == JBD_REVOKE) {
			err = pass == COLLECT ? take_revokes(j, j->block, sequence) : 0;
		} else if (type == JBD_COMMIT && commit_ok(j, j->block)) {
			sequence++;
		} else {
			break;
		}
		if (err)
			return err;
	}
	if (pass == SCAN)
		j->end_sequence = sequence;
	else if (sequence != j->end_sequence)
		return fail(EUCLEAN, "ext4: the journal changed while it was read");
	return 0;
}

int ext4_journal_write_super(struct journal *j, u32 start, u32 sequence)
{
	struct ext4 *fs = j->fs;
	struct ext4_extent e;
	int err = ext4_map(fs, &j->inode, 0, &e);

	if (err)
		return err;
	if (!e.physical)
		return fail(EUCLEAN, "ext4: the journal has no first block");
	put_be32(j->super + JS_SEQUENCE, sequence);
	put_be32(j->super + JS_START, start);
	if (journal_has_v23(j))
		put_be32(j->super + JS_CSUM, super_sum(j));
	return fs->dev.write(fs->dev.ctx, e.physical * fs->block_bytes, j->super, JS_BYTES);
}

static int clear_sign(struct ext4 *fs)
{
	int err = fs->dev.read(fs->dev.ctx, SB_AT, fs->sb, SB_BYTES); /* the log may have held it */

	if (err)
		return err;
	if (get32(fs->sb + SB_RO_COMPAT) & RO_METADATA_CSUM && ext4_super_csum(fs->sb) != get32(fs->sb + SB_CSUM))
		return fail(EUCLEAN, "ext4: the superblock's checksum is wrong, and the journal has no other");
	put32(fs->sb + SB_INCOMPAT, get32(fs->sb + SB_INCOMPAT) & ~INCOMPAT_RECOVER);
	if (get32(fs->sb + SB_RO_COMPAT) & RO_METADATA_CSUM)
		ext4_super_seal(fs->sb);
	return fs->dev.write(fs->dev.ctx, SB_AT, fs->sb, SB_BYTES);
}

static int replay(struct journal *j)
{
	struct ext4 *fs = j->fs;
	int err = 0;

	if (get_be32(j->super + JS_START)) {
		for (int pass = SCAN; pass <= REPLAY && !err; pass++)
			err = run_pass(j, pass);
		if (!err)
			err = fs->dev.flush(fs->dev.ctx);
		if (!err)
			err = ext4_journal_write_super(j, 0, j->end_sequence);
		log_info("ext4: replayed the journal up to transaction %u", j->end_sequence);
	}
	ext4_buffers_drop(fs);
	if (!err)
		err = clear_sign(fs);
	if (!err)
		err = fs->dev.flush(fs->dev.ctx);
	return err ? err : ext4_load_super(fs);
}

void ext4_journal_free(struct journal *j)
{
	kfree(j->revoked);
	kfree(j->block);
	kfree(j->data);
	kfree(j);
}

int ext4_journal_open(struct ext4 *fs, struct journal **out)
{
	struct journal *j = kzalloc(sizeof(*j), ALLOC_KERNEL);
	int err = -ENOMEM;

	if (!j)
		return err;
	j->fs = fs;
	j->block = kmalloc(fs->block_bytes, ALLOC_KERNEL);
	j->data = kmalloc(fs->block_bytes, ALLOC_KERNEL);
	if (j->block && j->data)
		err = load(j);
	if (err)
		ext4_journal_free(j);
	else
		*out = j;
	return err;
}

int ext4_journal_replay(struct ext4 *fs)
{
	struct journal *j;
	int err = ext4_journal_open(fs, &j);

	if (err)
		return err;
	err = replay(j);
	ext4_journal_free(j);
	return err;
}
