/* SPDX-License-Identifier: MIT
 *
 * Problem: the first question about an unknown disk is what array it belonged to, and people know the answer in
 * the form that mdadm --examine gives it.
 *
 * Idea: the same lines from our own decoder, so that a difference between the two programs on the same image is a
 * finding about one of them.
 *
 * Contract: output of mdadm 4.2 --examine for version 1 superblocks, line by line. Exit status 0, 1 when a device
 * has no superblock, also 1 when one must not be used (the reason goes to stderr).
 *
 * Locks: none.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/raid/md_p.h>
#include <md/bitmap.h>
#include <md/geometry.h>
#include "ostrom.h"
#include "raid/raid_priv.h"

/* Space that mdadm keeps after a superblock at the front: 4 KiB for itself, 32 KiB for a bitmap. */
#define FRONT_RESERVE ((32 + 4) * 2)

static void print_size(u64 bytes)
{
	static const struct {
		u64 below, binary, decimal;
		const char *b, *d;
	} units[] = {
		{ 2ULL << 30, 1ULL << 20, 1000000ULL, "MiB", "MB" },
		{ 2ULL << 40, 1ULL << 30, 1000000000ULL, "GiB", "GB" },
		{ UINT64_MAX, 1ULL << 40, 1000000000000ULL, "TiB", "TB" },
	};
	unsigned i = 0;

	if (bytes < 5000 * 1024)
		return;
	while (bytes >= units[i].below)
		i++;
	/* Hundredths, rounded half up. */
	u64 cb = (bytes / (units[i].binary / 256) * 200 / 256 + 1) / 2;
	u64 cd = (bytes / (units[i].decimal / 200) + 1) / 2;

	printf(" (%" PRIu64 ".%02" PRIu64 " %s %" PRIu64 ".%02" PRIu64 " %s)", cb / 100, cb % 100, units[i].b, cd / 100,
	       cd % 100, units[i].d);
}

static void print_uuid(const char *label, const u8 u[16])
{
	printf("%s : ", label);
	for (int i = 0; i < 16; i++)
		printf("%s%02x", i && i % 4 == 0 ? ":" : "", u[i]);
	printf("\n");
}

static void print_time(const char *label, u64 t)
{
	time_t s = t & MD_SUPERBLOCK_1_TIME_SEC_MASK;
	char text[32] = "";

	ctime_r(&s, text);
	printf("%s : %.24s\n", label, text);
}

static void print_identity(const struct md_super *s)
{
	const char *level = md_level_name(s->level);
	char host[64] = "";
	size_t n;

	printf("          Magic : %08x\n", MD_SB_MAGIC);
	printf("        Version : 1.%d\n", s->super_offset <= 4 ? 1 : s->super_offset <= 8 ? 2 : 0);
	printf("    Feature Map : 0x%x\n", s->features);
	print_uuid("     Array UUID", s->set_uuid);
	printf("           Name : %.32s", s->set_name);
	gethostname(host, sizeof(host) - 1);
	n = strlen(host);
	if (n && n < 32 && s->set_name[n] == ':' && !strncmp(s->set_name, host, n))
		printf("  (local to host %s)", host);
	printf("\n");
	print_time("  Creation Time", s->ctime);
	printf("     Raid Level : %s\n", level ? level : "-unknown-");
	printf("   Raid Devices : %d\n\n", s->raid_disks);
}

/* Numerator and denominator of array size over member size, 0 when the level does not have one. */
static u64 data_members(const struct md_super *s, u64 *denominator)
{
	*denominator = 1;
	switch (s->level) {
	case 1: return 1;
	case 4:
	case 5: return s->raid_disks - 1;
	case 6: return s->raid_disks - 2;
	case 10: *denominator = (s->layout & 255) * (s->layout >> 8 & 255); return *denominator ? s->raid_disks : 0;
	default: return 0;
	}
}

static u64 space_before_front(const struct image *im)
{
	const struct md_super *s = &im->sb;
	u64 used = s->super_offset + FRONT_RESERVE;
	struct md_bitmap b;
	u8 head[512];
	s64 offset = (s32)s->bitmap_or_ppl;

	if (s->features & MD_FEATURE_BITMAP_OFFSET && offset > 0 &&
	    !image_read(im, s->super_offset + offset, head, sizeof(head)) && !md_bitmap_decode(head, &b))
		used = max(used, (u64)offset + ALIGN_UP(md_bitmap_bytes(&b), 4096) / 512);
	else if (s->features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS))
		used = max(used, (u64)(s->bitmap_or_ppl & 0xffff) + (s->bitmap_or_ppl >> 16));
	if (s->bblog_offset && s->bblog_size)
		used = max(used, s->super_offset + s->bblog_offset + s->bblog_size);
	return used < s->data_offset ? s->data_offset - used : 0;
}

/* Sectors of the data area that the array uses; striped and linear arrays use all of it and store no size. */
static u64 used_sectors(const struct md_super *s)
{
	return s->level > 0 ? s->size : s->data_size;
}

static u64 space_after_tail(const struct md_super *s)
{
	u64 end = s->super_offset, bitmap = s->super_offset;

	if (s->bblog_offset && s->bblog_size)
		end = min(end, s->super_offset + s->bblog_offset);
	if (s->features & MD_FEATURE_BITMAP_OFFSET)
		bitmap += (s32)s->bitmap_or_ppl;
	end = min(end, bitmap);
	return s->data_offset + used_sectors(s) < end ? end - used_sectors(s) - s->data_offset : 0;
}

static void print_space(const struct image *im)
{
	const struct md_super *s = &im->sb;
	u64 denominator, members = data_members(s, &denominator);
	bool tail = s->data_offset < s->super_offset;
	u64 after = tail ? space_after_tail(s) : s->data_size - used_sectors(s);

	printf(" Avail Dev Size : %" PRIu64 " sectors", s->data_size);
	print_size(s->data_size * 512);
	printf("\n");
	if (s->level != 0) {
		u64 bytes = s->size * 512 * members / denominator;

		if (members) {
			printf("     Array Size : %" PRIu64 " KiB", bytes / 1024);
			print_size(bytes);
			printf("\n");
		}
		if (s->size != s->data_size) {
			printf("  Used Dev Size : %" PRIu64 " sectors", s->size);
			print_size(s->size * 512);
			printf("\n");
		}
	}
	if (s->data_offset)
		printf("    Data Offset : %" PRIu64 " sectors\n", s->data_offset);
	if (s->new_offset && s->features & MD_FEATURE_NEW_OFFSET)
		printf("     New Offset : %" PRIu64 " sectors\n", s->data_offset + (s64)(s32)s->new_offset);
	printf("   Super Offset : %" PRIu64 " sectors\n", s->super_offset);
	if (s->features & MD_FEATURE_RECOVERY_OFFSET)
		printf("Recovery Offset : %" PRIu64 " sectors\n", s->recovery_offset);
	if (s->features & MD_FEATURE_NEW_OFFSET)
		return;
	printf("   Unused Space : before=%" PRIu64 " sectors, ", tail ? s->data_offset : space_before_front(im));
	if (after < INT64_MAX)
		printf("after=%" PRIu64 " sectors\n", after);
	else
		printf("after=-%" PRIu64 " sectors DEVICE TOO SMALL\n", UINT64_MAX - after);
}

static void print_r10_layout(u32 layout)
{
	u32 near = layout & 255, far = layout >> 8 & 255;

	if (near != 1)
		printf(" near=%u", near);
	if (far != 1)
		printf("%s %s=%u", near != 1 ? "," : "", layout & 1 << 16 ? "offset" : "far", far);
	if (near * far == 1)
		printf("NO REDUNDANCY");
}

static void print_layout_name(const char *label, s32 level, u32 layout)
{
	static const char *const raid0[] = { NULL, "original", "alternate" };
	const char *name = level == 0 && layout < ARRAY_SIZE(raid0) ? raid0[layout] : md_layout_name(level, layout);

	printf("%s :", label);
	if (level == 10)
		print_r10_layout(layout);
	else
		printf(" %s", name ? name : "-unknown-");
	printf("\n");
}

static bool has_layout(s32 level)
{
	return level == 5 || level == 6 || level == 10;
}

/* Number of slots that a shrinking reshape adds to those of the superblock. */
static u32 print_reshape(const struct md_super *s)
{
	s32 delta = (s32)s->delta_disks;
	const char *level = md_level_name((s32)s->new_level);

	if (!(s->features & MD_FEATURE_RESHAPE_ACTIVE))
		return 0;
	printf("  Reshape pos'n : %" PRIu64, s->reshape_position / 2);
	print_size(s->reshape_position * 512);
	printf("\n");
	if (delta)
		printf("  Delta Devices : %d (%d->%d)\n", delta, (s32)s->raid_disks - delta, s->raid_disks);
	if ((s32)s->new_level != s->level)
		printf("      New Level : %s\n", level ? level : "-unknown-");
	if (s->new_layout != s->layout && has_layout(s->level))
		print_layout_name("     New Layout", s->level, s->new_layout);
	if (s->new_chunk != s->chunk)
		printf("  New Chunksize : %dK\n", s->new_chunk / 2);
	printf("\n");
	return delta < 0 ? -delta : 0;
}

static void print_state(const struct image *im)
{
	const struct md_super *s = &im->sb;
	u32 sum = md_super_checksum(im->super);

	if (s->devflags)
		printf("          Flags :%s%s\n", s->devflags & WriteMostly1 ? " write-mostly" : "",
		       s->devflags & FailFast1 ? " failfast" : "");
	print_time("    Update Time", s->utime);
	if (s->bblog_size && s->bblog_offset)
		printf("  Bad Block Log : %d entries available at offset %d sectors%s\n", s->bblog_size * 512 / 8,
		       s->bblog_offset, s->features & MD_FEATURE_BAD_BLOCKS ? " - bad blocks present." : "");
	if (sum == s->checksum)
		printf("       Checksum : %x - correct\n", sum);
	else
		printf("       Checksum : %x - expected %x\n", s->checksum, sum);
	printf("         Events : %" PRIu64 "\n\n", s->events);
	if (s->level == 0 && s->features & MD_FEATURE_RAID0_LAYOUT)
		print_layout_name("         Layout", s->level, s->layout);
	if (has_layout(s->level))
		print_layout_name("         Layout", s->level, s->layout);
	if (s->level == 0 || s->level == 4 || has_layout(s->level))
		printf("     Chunk Size : %dK\n", s->chunk / 2);
	else if (s->level == -1)
		printf("       Rounding : %dK\n", s->chunk / 2);
	printf("\n");
}

static void print_roles(const struct md_super *s, u32 extra)
{
	u16 role = md_super_role(s);
	bool inconsistent = false;

	printf("   Device Role : ");
	if (role >= MD_ROLE_FAULTY)
		printf("spare\n");
	else if (role == MD_ROLE_JOURNAL)
		printf("Journal\n");
	else
		printf("%s device %d\n", s->features & MD_FEATURE_REPLACEMENT ? "Replacement" : "Active", role);
	printf("   Array State : ");
	for (u64 slot = 0; slot < (u64)s->raid_disks + extra && slot < MD_MAX_ROLES; slot++) {
		int n = 0;

		for (u32 i = 0; i < s->max_dev; i++)
			n += s->roles[i] == slot;
		putchar(n == 2 && s->level != 0 ? 'R' : n == 1 ? 'A' : n == 0 ? '.' : '?');
		inconsistent |= n > 2 || (n == 2 && s->level == 0);
	}
	printf(" ('A' == active, '.' == missing, 'R' == replacing)\n");
	for (u32 i = 0; i < s->max_dev; i++)
		inconsistent |= s->roles[i] <= MD_ROLE_MAX && s->roles[i] > s->raid_disks + extra;
	if (!inconsistent)
		return;
	printf("WARNING Array state is inconsistent - each number should appear only once\n");
	for (u32 i = 0; i < s->max_dev; i++) {
		if (s->roles[i] >= MD_ROLE_FAULTY)
			printf(" %d:-", i);
		else
			printf(" %d:%d", i, s->roles[i]);
	}
	printf("\n");
}

static void print_image(const struct image *im)
{
	const struct md_super *s = &im->sb;
	bool tail = s->data_offset < s->super_offset;
	u64 after = tail ? 0 : s->data_size - used_sectors(s);
	u32 extra;

	printf("%s:\n", im->path);
	print_identity(s);
	print_space(im);
	printf("          State : %s%s\n", s->resync_offset != MD_CLEAN ? "active" : "clean",
	       after > INT64_MAX ? " TRUNCATED DEVICE" : "");
	print_uuid("    Device UUID", s->device_uuid);
	printf("\n");
	if (s->features & MD_FEATURE_BITMAP_OFFSET)
		printf("Internal Bitmap : %d sectors from superblock\n", (s32)s->bitmap_or_ppl);
	else if (s->features & (MD_FEATURE_PPL | MD_FEATURE_MULTIPLE_PPLS))
		printf("            PPL : %u sectors at offset %d sectors from superblock\n", s->bitmap_or_ppl >> 16,
		       s->bitmap_or_ppl & 0xffff);
	extra = print_reshape(s);
	print_state(im);
	print_roles(s, extra);
}

int raid_examine(int argc, char **argv)
{
	int status = 0;

	if (argc < 2) {
		say_error("usage: ostrom raid examine DEVICE...");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		struct image im;

		if (image_open(&im, argv[i], false) < 0) {
			status = 1;
			continue;
		}
		print_image(&im);
		if (im.verdict < 0) {
			say_error("%s: not to be used: %s", im.path, strerror(-im.verdict));
			status = 1;
		}
		image_close(&im);
	}
	return status;
}
