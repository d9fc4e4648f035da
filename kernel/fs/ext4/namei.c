/* SPDX-License-Identifier: MIT
 *
 * Problem: making, linking, removing and renaming change directories, inodes and bitmaps, and must be seen whole.
 *
 * Idea: each is one step. What can be refused is refused before the first change; a directory that has no room for the
 * name is the one thing that shows later, and then what was made is taken back. An inode that loses its last name
 * becomes an orphan; ext4_delete ends it when nobody has it open any more.
 *
 *      links    a directory: 2 and one for each below it, or 1 for "more than 65000"; a file: its names
 *
 * Contract: fs/ext4/ext4.h. The caller has checked rights and that names are there or not.
 *
 * Locks: the file system's.
 */
#include <lib/string.h>
#include "ext4_priv.h"

#define S_IFMT  0170000
#define S_IFREG 0100000
#define S_IFDIR 0040000
#define S_IFLNK 0120000
#define S_IFCHR 0020000
#define S_IFBLK 0060000

#define MAX_LINKS 65000
/* Flags that a new inode takes over from its directory: SECRM UNRM COMPR SYNC NODUMP NOATIME NOCOMP JOURNAL_DATA NOTAIL
 * DIRSYNC. */
#define INHERITED (0x1 | 0x2 | 0x4 | 0x8 | 0x40 | 0x80 | 0x400 | 0x4000 | 0x8000 | 0x10000)

static bool is_dir(const struct ext4_inode *in)
{
	return (in->mode & S_IFMT) == S_IFDIR;
}

/* ---- counting links
 * ---------------------------------------------------------------------------------------------------- */

/* A directory below `dir` comes or goes. */
static int count_subdir(struct ext4 *fs, struct ext4_inode *dir, int n)
{
	if (dir->links == 1)
		return 0; /* not counted any more */
	if (n > 0 && dir->links >= MAX_LINKS) {
		dir->links = 1;
		if (!(fs->ro_compat & RO_DIR_NLINK)) {
			fs->ro_compat |= RO_DIR_NLINK;
			put32(fs->sb + SB_RO_COMPAT, fs->ro_compat);
			fs->sb_dirty = true;
		}
	} else if (n > 0 || dir->links > 2) {
		dir->links += n;
	}
	return ext4_store(fs, dir);
}

static int check_room_for_subdir(const struct ext4 *fs, const struct ext4_inode *dir)
{
	return dir->links >= MAX_LINKS && !(fs->ro_compat & RO_DIR_NLINK) && !(fs->compat & COMPAT_DIR_INDEX) ? -EMLINK
													      : 0;
}

/* One name less. */
static int drop_link(struct ext4 *fs, struct ext4_inode *in)
{
	int err = 0;

	if (is_dir(in))
		in->links = 0;
	else if (in->links)
		in->links--;
	in->ctime = fs->now;
	if (!in->links)
		err = ext4_orphan_add(fs, in->ino);
	return err ? err : ext4_store(fs, in);
}

/* ---- making
 * ------------------------------------------------------------------------------------------------------------ */

static int put_target(struct ext4 *fs, struct ext4_inode *in, const struct ext4_new *what)
{
	u8 block[64] = { 0 };
	u64 physical;
	int err;

	in->size = what->target_len;
	if (what->target_len < sizeof(in->raw_block)) {
		memcpy(in->raw_block, what->target, what->target_len);
		return 0;
	}
	if (what->target_len >= fs->block_bytes || what->target_len >= PAGE_SIZE)
		return -ENAMETOOLONG;
	if (fs->incompat & INCOMPAT_EXTENTS)
		ext4_extent_init(in);
	err = ext4_block_add(fs, in, 0, &physical);
	/* Data, not metadata: it is at home before the commit. */
	if (!err)
		err = fs->dev.write(fs->dev.ctx, physical * fs->block_bytes, what->target, what->target_len);
	if (!err && what->target_len % 8)
		err = fs->dev.write(fs->dev.ctx, physical * fs->block_bytes + what->target_len, block,
				    8 - what->target_len % 8);
	return err;
}

static int fill_new(struct ext4 *fs, struct ext4_inode *in, const struct ext4_inode *dir, const struct ext4_new *what)
{
	in->uid = what->uid;
	in->gid = what->gid;
	in->links = is_dir(in) ? 2 : 1;
	in->flags = dir->flags & INHERITED;
	switch (in->mode & S_IFMT) {
	case S_IFREG:
		if (fs->incompat & INCOMPAT_EXTENTS)
			ext4_extent_init(in);
		return 0;
	case S_IFDIR:
		if (fs->incompat & INCOMPAT_EXTENTS)
			ext4_extent_init(in);
		return ext4_dir_init(fs, in, dir->ino);
	case S_IFLNK: return put_target(fs, in, what);
	case S_IFCHR:
	case S_IFBLK: ext4_put_rdev(in, what->rdev);
	}
	return 0;
}

/* The new inode goes again: there was no room for all of it. */
static int take_back(struct ext4 *fs, struct ext4_inode *in, int why)
{
	int ret = 1;

	while (ret == 1 && in->sectors)
		ret = in->flags & INODE_EXTENTS ? ext4_extent_remove(fs, in, 0, 1ULL << 32)
						: ext4_indirect_remove(fs, in, 0, 1ULL << 32);
	in->links = 0;
	if (ret >= 0)
		ret = ext4_store(fs, in);
	if (!ret)
		ret = ext4_inode_free(fs, in);
	return ret < 0 ? ret : why;
}

static int create(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, const struct ext4_new *what,
		  struct ext4_inode *out)
{
	int err = ext4_inode_alloc(fs, dir, what->mode, out);

	if (err)
		return err;
	err = fill_new(fs, out, dir, what);
	if (!err && !name) {
		out->links = 0;
		err = ext4_orphan_add(fs, out->ino);
	}
	if (!err)
		err = ext4_store(fs, out);
	if (!err && name)
		err = ext4_dir_add(fs, dir, name, len, out->ino, out->mode);
	if (err == -ENOSPC || err == -ENAMETOOLONG)
		return take_back(fs, out, err);
	return err || !name || !is_dir(out) ? err : count_subdir(fs, dir, 1);
}

int ext4_create(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, const struct ext4_new *what,
		struct ext4_inode *out)
{
	int err = len > EXT4_NAME_MAX ? -ENAMETOOLONG : ext4_step_begin(fs);

	if (err)
		return err;
	if ((what->mode & S_IFMT) == S_IFDIR)
		err = check_room_for_subdir(fs, dir);
	return ext4_step_end(fs, err ? err : create(fs, dir, name, len, what, out));
}

/* ---- linking and removing -------------------------------------------------------------------------------------------
 */

static int link(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, struct ext4_inode *in)
{
	int err;

	if (in->links >= MAX_LINKS)
		return -EMLINK;
	err = ext4_dir_add(fs, dir, name, len, in->ino, in->mode);
	if (!err && !in->links)
		err = ext4_orphan_remove(fs, in->ino);
	if (err)
		return err;
	in->links++;
	in->ctime = fs->now;
	return ext4_store(fs, in);
}

int ext4_link(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, struct ext4_inode *in)
{
	int err = ext4_step_begin(fs);

	return err ? err : ext4_step_end(fs, link(fs, dir, name, len, in));
}

static int unlink(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, struct ext4_inode *in)
{
	int err = is_dir(in) ? ext4_dir_is_empty(fs, in) : 0;

	if (!err)
		err = ext4_dir_remove(fs, dir, name, len, in->ino);
	if (!err && is_dir(in))
		err = count_subdir(fs, dir, -1);
	return err ? err : drop_link(fs, in);
}

int ext4_unlink(struct ext4 *fs, struct ext4_inode *dir, const char *name, size_t len, struct ext4_inode *in)
{
	int err = ext4_step_begin(fs);

	return err ? err : ext4_step_end(fs, unlink(fs, dir, name, len, in));
}

/* ---- renaming
 * ------------------------------------------------------------------------------------------------------------ */

/* A directory that moved has another parent. */
static int set_parent(struct ext4 *fs, struct ext4_inode *in, u32 parent)
{
	struct ext4_time mtime = in->mtime;
	int err = 0;

	if (in->flags & INODE_INLINE)
		put32(in->raw_block, parent);
	else
		err = ext4_dir_set(fs, in, "..", 2, parent, S_IFDIR);
	in->mtime = mtime;
	return err ? err : ext4_store(fs, in);
}

static int moved(struct ext4 *fs, struct ext4_inode *in, struct ext4_inode *from, struct ext4_inode *to)
{
	int err;

	in->ctime = fs->now;
	if (!is_dir(in) || from == to)
		return ext4_store(fs, in);
	err = set_parent(fs, in, to->ino);
	if (!err)
		err = count_subdir(fs, from, -1);
	return err ? err : count_subdir(fs, to, 1);
}

static int exchange(struct ext4 *fs, struct ext4_place *a, struct ext4_place *b)
{
	int err = ext4_dir_set(fs, a->dir, a->name, a->len, b->in->ino, b->in->mode);

	if (!err)
		err = ext4_dir_set(fs, b->dir, b->name, b->len, a->in->ino, a->in->mode);
	if (!err)
		err = moved(fs, a->in, a->dir, b->dir);
	return err ? err : moved(fs, b->in, b->dir, a->dir);
}

static int replace(struct ext4 *fs, struct ext4_place *from, struct ext4_place *to)
{
	struct ext4_inode *victim = to->in;
	int err = is_dir(victim) ? ext4_dir_is_empty(fs, victim) : 0;

	if (!err)
		err = ext4_dir_set(fs, to->dir, to->name, to->len, from->in->ino, from->in->mode);
	if (!err)
		err = ext4_dir_remove(fs, from->dir, from->name, from->len, from->in->ino);
	if (!err && is_dir(victim))
		err = count_subdir(fs, to->dir, -1);
	return err ? err : drop_link(fs, victim);
}

static int rename(struct ext4 *fs, struct ext4_place *from, struct ext4_place *to)
{
	int err = 0;

	if (is_dir(from->in) && from->dir != to->dir)
		err = check_room_for_subdir(fs, to->dir);
	if (err)
		return err;
	if (to->in) {
		err = replace(fs, from, to);
	} else {
		err = ext4_dir_add(fs, to->dir, to->name, to->len, from->in->ino, from->in->mode);
		if (!err)
			err = ext4_dir_remove(fs, from->dir, from->name, from->len, from->in->ino);
	}
	return err ? err : moved(fs, from->in, from->dir, to->dir);
}

int ext4_rename(struct ext4 *fs, struct ext4_place *from, struct ext4_place *to, bool swap_them)
{
	int err = ext4_step_begin(fs);

	return err ? err : ext4_step_end(fs, swap_them ? exchange(fs, from, to) : rename(fs, from, to));
}
