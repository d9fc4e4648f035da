/* SPDX-License-Identifier: MIT
 *
 * Problem: the superblock decides which members form an array and which are stale; believing a damaged one
 * destroys data, and one that Linux does not believe strands it.
 *
 * Idea: decode, check, build as three steps on one 4 KiB block. Decode only finds the fields (so that a damaged
 * block can still be shown to a person); check is everything that must hold before use; build writes all fields.
 *
 *	minor	superblock at			data
 *	0	8..12 KiB before the end	before it
 *	1	sector 0			after it
 *	2	sector 8			after it
 *
 * The checksum is the 64-bit sum of the little-endian words of 256 + 2 * max_dev bytes with the field as 0, its
 * high half added to the low one.
 *
 * Contract: md/super.h. Format: linux/raid/md_p.h.
 *
 * Locks: none.
 */
#include <linux/raid/md_p.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/super.h>

#define REPLACED_FEATURES (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS)

s64 md_super_sector(u32 minor, u64 dev_sectors)
{
	if (minor > 2 || dev_sectors < 24 || dev_sectors > 1ULL << 54)
		return -EINVAL;
	return minor == 0 ? (s64)ALIGN_DOWN(dev_sectors - 16, 8) : minor == 1 ? 0 : 8;
}

u32 md_super_checksum(const void *buf)
{
	const struct mdp_superblock_1 *sb = buf;
	size_t bytes = sizeof(*sb) + 2 * (size_t)sb->max_dev;
	const u8 *p = buf;
	u64 sum = 0;

	if (bytes > MD_SUPER_BYTES)
		return ~sb->sb_csum; /* never matches: the block covers more than itself */
	for (; bytes >= 4; bytes -= 4, p += 4) {
		u32 w;

		memcpy(&w, p, 4);
		sum += w;
	}
	if (bytes == 2)
		sum += p[0] | p[1] << 8;
	/* The field counts as 0; it is one of the words summed above. */
	sum -= sb->sb_csum;
	return (u32)sum + (u32)(sum >> 32);
}

int md_super_decode(const void *buf, u64 sector, struct md_super *s)
{
	const struct mdp_superblock_1 *sb = buf;

	if (sb->magic != MD_SB_MAGIC)
		return -ENOENT;
	if (sb->major_version != 1)
		return fail(EINVAL, "superblock of version %u", sb->major_version);
	if (sb->max_dev > MD_MAX_ROLES)
		return fail(EINVAL, "superblock with %u roles", sb->max_dev);
	if (sb->super_offset != sector)
		return fail(EINVAL, "superblock at sector %llu says it belongs at %llu", (unsigned long long)sector,
			    (unsigned long long)sb->super_offset);
	*s = (struct md_super){
		.features = sb->feature_map,
		.ctime = sb->ctime,
		.utime = sb->utime,
		.level = (s32)sb->level,
		.layout = sb->layout,
		.size = sb->size,
		.chunk = sb->chunksize,
		.raid_disks = sb->raid_disks,
		.bitmap_or_ppl = sb->bitmap_offset,
		.new_level = sb->new_level,
		.delta_disks = sb->delta_disks,
		.new_layout = sb->new_layout,
		.new_chunk = sb->new_chunk,
		.new_offset = sb->new_offset,
		.reshape_position = sb->reshape_position,
		.data_offset = sb->data_offset,
		.data_size = sb->data_size,
		.super_offset = sb->super_offset,
		.recovery_offset = sb->recovery_offset,
		.dev_number = sb->dev_number,
		.corrected_reads = sb->cnt_corrected_read,
		.devflags = sb->devflags,
		.bblog_shift = sb->bblog_shift,
		.bblog_size = sb->bblog_size,
		.bblog_offset = (s32)sb->bblog_offset,
		.events = sb->events,
		.resync_offset = sb->resync_offset,
		.checksum = sb->sb_csum,
		.max_dev = sb->max_dev,
	};
	memcpy(s->set_uuid, sb->set_uuid, 16);
	memcpy(s->set_name, sb->set_name, 32);
	memcpy(s->device_uuid, sb->device_uuid, 16);
	memcpy(s->roles, sb->dev_roles, 2 * s->max_dev);
	return 0;
}

static int check_space(const struct md_super *s, u64 dev_sectors)
{
	u64 end;

	if (__builtin_add_overflow(s->data_offset, s->data_size, &end) || end > dev_sectors)
		return fail(EINVAL, "data of %llu sectors at %llu in a device of %llu",
			    (unsigned long long)s->data_size, (unsigned long long)s->data_offset,
			    (unsigned long long)dev_sectors);
	if (s->size > s->data_size && md_super_role(s) != MD_ROLE_JOURNAL)
		return fail(EINVAL, "uses %llu of %llu sectors", (unsigned long long)s->size,
			    (unsigned long long)s->data_size);
	if (s->super_offset >= s->data_offset && s->super_offset < end)
		return fail(EINVAL, "superblock inside the data");
	return 0;
}

int md_super_check(const void *buf, const struct md_super *s, u64 dev_sectors)
{
	u32 sum = md_super_checksum(buf);

	if (sum != s->checksum)
		return fail(EBADMSG, "superblock checksum %x, computed %x", s->checksum, sum);
	if (s->features & ~MD_FEATURE_ALL)
		return fail(EOPNOTSUPP, "superblock features 0x%x are unknown", s->features & ~MD_FEATURE_ALL);
	if (s->features & MD_FEATURE_BITMAP_OFFSET && s->features & REPLACED_FEATURES)
		return fail(EINVAL, "superblock claims both a bitmap and a partial parity log");
	if (!md_level_name(s->level))
		return fail(EINVAL, "level %d", s->level);
	if (!s->raid_disks || s->raid_disks > MD_MAX_ROLES)
		return fail(EINVAL, "%u members", s->raid_disks);
	return check_space(s, dev_sectors);
}

void md_super_build(const struct md_super *s, void *buf)
{
	struct mdp_superblock_1 *sb = buf;

	memset(buf, 0, MD_SUPER_BYTES);
	sb->magic = MD_SB_MAGIC;
	sb->major_version = 1;
	sb->feature_map = s->features;
	memcpy(sb->set_uuid, s->set_uuid, 16);
	memcpy(sb->set_name, s->set_name, 32);
	sb->ctime = s->ctime;
	sb->utime = s->utime;
	sb->level = s->level;
	sb->layout = s->layout;
	sb->size = s->size;
	sb->chunksize = s->chunk;
	sb->raid_disks = s->raid_disks;
	sb->bitmap_offset = s->bitmap_or_ppl;
	sb->new_level = s->new_level;
	sb->reshape_position = s->reshape_position;
	sb->delta_disks = s->delta_disks;
	sb->new_layout = s->new_layout;
	sb->new_chunk = s->new_chunk;
	sb->new_offset = s->new_offset;
	sb->data_offset = s->data_offset;
	sb->data_size = s->data_size;
	sb->super_offset = s->super_offset;
	sb->recovery_offset = s->recovery_offset;
	sb->dev_number = s->dev_number;
	sb->cnt_corrected_read = s->corrected_reads;
	memcpy(sb->device_uuid, s->device_uuid, 16);
	sb->devflags = s->devflags;
	sb->bblog_shift = s->bblog_shift;
	sb->bblog_size = s->bblog_size;
	sb->bblog_offset = s->bblog_offset;
	sb->events = s->events;
	sb->resync_offset = s->resync_offset;
	sb->max_dev = min(s->max_dev, (u32)MD_MAX_ROLES);
	memcpy(sb->dev_roles, s->roles, 2 * sb->max_dev);
	sb->sb_csum = md_super_checksum(buf);
}

u16 md_super_role(const struct md_super *s)
{
	return s->dev_number < s->max_dev ? s->roles[s->dev_number] : MD_ROLE_SPARE;
}

const char *md_level_name(s32 level)
{
	switch (level) {
	case -4: return "multipath";
	case -1: return "linear";
	case 0: return "raid0";
	case 1: return "raid1";
	case 4: return "raid4";
	case 5: return "raid5";
	case 6: return "raid6";
	case 10: return "raid10";
	default: return NULL;
	}
}
