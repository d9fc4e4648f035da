/* SPDX-License-Identifier: MIT
 *
 * md's superblock, version 1 (minor 0, 1, 2: where it stands on the member), as a decoded structure. The format is
 * struct mdp_superblock_1 of linux/raid/md_p.h; location and checksum rules are described in md(4) and
 * docs/md.md.
 *
 * All functions are pure. Buffers are MD_SUPER_BYTES long and 8-byte aligned. Sectors are 512 bytes.
 */
#ifndef MD_SUPER_H
#define MD_SUPER_H

#include <lib/types.h>

#define MD_SUPER_BYTES   4096
#define MD_SUPER_SECTORS 8
#define MD_MAX_ROLES     1920    /* dev_roles[] entries that fit */
#define MD_CLEAN         (~0ULL) /* resync_offset of an array that needs no resync */

#define MD_ROLE_SPARE   0xffff
#define MD_ROLE_FAULTY  0xfffe
#define MD_ROLE_JOURNAL 0xfffd
#define MD_ROLE_MAX     0xff00 /* real slots are below */

struct md_super {
	u32 features; /* MD_FEATURE_* */
	u8 set_uuid[16];
	char set_name[33]; /* terminated here, 32 bytes on disk */
	u64 ctime, utime;  /* low 40 bits seconds, high 24 microseconds */
	s32 level;
	u32 layout;
	u64 size; /* used sectors of each member */
	u32 chunk;
	u32 raid_disks;
	u32 bitmap_or_ppl; /* on-disk word: bitmap offset (s32), or PPL offset (s16) and size (u16) */
	u32 new_level, delta_disks, new_layout, new_chunk, new_offset;
	u64 reshape_position;
	u64 data_offset, data_size, super_offset;
	u64 recovery_offset; /* of a journal device: the log's tail */
	u32 dev_number;
	u32 corrected_reads;
	u8 device_uuid[16];
	u8 devflags; /* WriteMostly1, FailFast1 */
	u8 bblog_shift;
	u16 bblog_size;
	s32 bblog_offset;
	u64 events;
	u64 resync_offset;
	u32 checksum; /* as found; md_super_build computes its own */
	u32 max_dev;
	u16 roles[MD_MAX_ROLES];
};

/* Sector of the superblock of minor version 0, 1 or 2; -EINVAL for other minors or a device too small. */
s64 md_super_sector(u32 minor, u64 dev_sectors);

u32 md_super_checksum(const void *buf);

/* Decodes buf, read at `sector`, without judging: 0, -ENOENT (no magic), -EINVAL (another version, or max_dev does
 * not fit, or the block says that it belongs elsewhere). */
int __must_check md_super_decode(const void *buf, u64 sector, struct md_super *out);

/* Everything that must hold before the member is used: checksum, known features, sizes inside the device, a
 * believable geometry. 0, -EBADMSG (checksum), -EOPNOTSUPP (features), -EINVAL (numbers), each with a reason. */
int __must_check md_super_check(const void *buf, const struct md_super *s, u64 dev_sectors);

/* Encodes s with its checksum. */
void md_super_build(const struct md_super *s, void *buf);

/* The member's role by its own superblock: a slot, or MD_ROLE_*. */
u16 md_super_role(const struct md_super *s);

/* "raid5", "linear", ... or NULL. */
const char *md_level_name(s32 level);

#endif
