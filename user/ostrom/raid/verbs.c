/* SPDX-License-Identifier: MIT
 *
 * Problem: somebody with a pile of images wants to know whether the array is whole, get it whole, and get the data
 * out, in that order and without surprises.
 *
 * Idea: four verbs over one running array.
 *
 *	assemble	judges the devices, reads nothing but superblocks
 *	verify		reads everything, compares parity; writes nothing
 *	recover		replays the journal, resyncs what was not stopped cleanly, rebuilds (--add IMAGE), repairs
 *			parity that differs (--repair), leaves the array clean
 *	cat		the array's contents to stdout
 *
 * Contract: exit status 0 fine, 1 not, 2 wrong usage. Only recover writes.
 *
 * Locks: none.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
#include "ostrom.h"
#include "raid/raid_priv.h"

#define STEP_SECTORS 2048

static const struct option no_options[] = { { 0 } };
static const struct option force_option[] = { { "force", no_argument, NULL, 'f' }, { 0 } };
static const struct option recover_options[] = { { "force", no_argument, NULL, 'f' },
						 { "repair", no_argument, NULL, 'r' },
						 { "add", required_argument, NULL, 'a' },
						 { 0 } };

struct flags {
	bool force, repair;
	const char *add;
};

/* Index of the first device in argv, or -1. */
static int parse(int argc, char **argv, const struct option *options, struct flags *f)
{
	int c;

	*f = (struct flags){ 0 };
	optind = 1;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'f': f->force = true; break;
		case 'r': f->repair = true; break;
		case 'a': f->add = optarg; break;
		default: return -1;
		}
	}
	if (optind < argc)
		return optind;
	say_error("no devices given");
	return -1;
}

int raid_assemble(int argc, char **argv)
{
	struct flags f;
	struct raid r;
	int first = parse(argc, argv, no_options, &f), err;

	if (first < 0)
		return 2;
	err = raid_open(&r, argv + first, argc - first, false);
	if (!err)
		raid_print_plan(&r);
	if (!err && (!md_geo_serves(&r.geo, r.plan.missing_slots) || r.plan.needs_journal))
		err = -ENODEV;
	raid_close(&r);
	return err ? 1 : 0;
}

/* A pass over all stripes; prints its outcome. 0 or -errno. */
static int run_sync(struct raid *r, enum md_sync kind, const char *name, u64 *mismatches)
{
	struct md_status st;
	int err = md_start_sync(r->e, kind);

	if (!err)
		err = raid_settle(r);
	md_status(r->e, &st);
	*mismatches = st.mismatches;
	if (!err && kind == MD_SYNC_RECOVER && (st.failed || st.heirs))
		err = -EIO;
	if (err)
		say_error("%s: %s", name, strerror(-err));
	else
		printf("%s: %" PRIu64 " sectors differed, %" PRIu64 " were unreadable and rewritten\n", name,
		       st.mismatches, st.corrected);
	return err;
}

int raid_verify(int argc, char **argv)
{
	struct raid_options o = { 0 };
	struct flags f;
	struct raid r;
	u64 bad = 0;
	int first = parse(argc, argv, force_option, &f), err;

	if (first < 0)
		return 2;
	o.force = f.force;
	err = raid_open(&r, argv + first, argc - first, false);
	if (!err) {
		raid_print_plan(&r);
		err = raid_start(&r, &o);
	}
	if (!err && r.plan.missing) {
		say_error("a degraded array has no parity to compare");
		err = -ENODEV;
	}
	if (!err)
		err = run_sync(&r, MD_SYNC_CHECK, "check", &bad);
	raid_close(&r);
	return err || bad ? 1 : 0;
}

/* A superblock for a blank image that takes an empty slot: the array's, with a new number and identity. */
static int new_member(struct raid *r, struct image *im, u32 slot)
{
	struct md_super *sb = &im->sb;
	u32 number = 0;

	*sb = r->im[r->plan.newest].sb;
	while (number < sb->max_dev && (sb->roles[number] <= MD_ROLE_MAX || sb->roles[number] == MD_ROLE_JOURNAL))
		number++;
	if (number >= MD_MAX_ROLES || im->sectors < sb->data_offset + r->geo.member_sectors) {
		say_error("%s: too small: %" PRIu64 " sectors are needed", im->path,
			  sb->data_offset + r->geo.member_sectors);
		return -ENOSPC;
	}
	sb->dev_number = number;
	sb->data_size = im->sectors - sb->data_offset;
	if (sb->super_offset > sb->data_offset) {
		sb->super_offset = md_super_sector(0, im->sectors);
		sb->data_size = sb->super_offset - sb->data_offset;
	}
	sb->devflags = 0;
	sb->corrected_reads = 0;
	if (getrandom(sb->device_uuid, 16, 0) != 16)
		return -EIO;
	r->slot[slot] = im;
	return md_add_member(r->e, slot, sb);
}

/* Opens the disk that is to become a member; one that belongs to another array is not taken by mistake. */
static int open_new(struct raid *r, const struct flags *f, struct image *im)
{
	int err = image_open_blank(im, f->add);

	if (err || f->force || !image_find_superblock(im) || im->verdict < 0 ||
	    !memcmp(im->sb.set_uuid, r->im[r->plan.newest].sb.set_uuid, 16))
		return err;
	say_error("%s belongs to another array (%s); --force takes it", f->add, im->sb.set_name);
	return -EEXIST;
}

static int add_and_rebuild(struct raid *r, const struct flags *f, struct image *im)
{
	const char *path = f->add;
	u64 ignored;
	u32 slot = 0;
	int err = path ? open_new(r, f, im) : 0;

	while (slot < r->geo.disks && r->slot[slot])
		slot++;
	if (!err && path && slot == r->geo.disks) {
		say_error("no slot is empty");
		err = -EBUSY;
	}
	if (!err && path)
		err = new_member(r, im, slot);
	if (!err)
		err = raid_settle(r);
	return err ? err : run_sync(r, MD_SYNC_RECOVER, "rebuild", &ignored);
}

static bool is_rebuilding(const struct raid *r)
{
	for (u32 i = 0; i < r->geo.disks; i++)
		if ((r->slot[i] && !r->plan.in_sync[i]) || r->slot[MD_HEIR(i)])
			return true;
	return false;
}

static int mend(struct raid *r, const struct flags *f, struct image *added)
{
	u64 n;
	int err = 0;

	if (r->has_log)
		printf("journal: %u blocks, %u stripes replayed, %u pages written out%s\n", r->log.blocks,
		       r->log.replayed, r->log.data_only, r->log.damaged ? ", ended in a torn write" : "");
	if (r->parity_is_whole)
		printf("partial parity log: %u writes made whole, %u of missing members\n", r->ppl.entries,
		       r->ppl.skipped);
	if (r->plan.dirty && !r->plan.missing && !r->has_log && !r->parity_is_whole)
		err = run_sync(r, MD_SYNC_RESYNC, "resync", &n);
	if (!err && (f->add || is_rebuilding(r)))
		err = add_and_rebuild(r, f, added);
	if (!err && f->repair)
		err = run_sync(r, MD_SYNC_REPAIR, "repair", &n);
	return err ? err : raid_stop(r);
}

int raid_recover(int argc, char **argv)
{
	struct raid_options o = { .write = true };
	struct image added = { .fd = -1 };
	struct flags f;
	struct raid r;
	int first = parse(argc, argv, recover_options, &f), err;

	if (first < 0)
		return 2;
	o.force = f.force;
	err = raid_open(&r, argv + first, argc - first, true);
	if (!err) {
		raid_print_plan(&r);
		err = raid_start(&r, &o);
	}
	if (!err)
		err = mend(&r, &f, &added);
	if (!err)
		printf("the array is clean\n");
	raid_close(&r);
	image_close(&added);
	return err ? 1 : 0;
}

static int copy_out(struct raid *r)
{
	u8 *buf = malloc(STEP_SECTORS * 512);
	int err = buf ? 0 : -ENOMEM;

	for (u64 at = 0; !err && at < r->geo.sectors; at += STEP_SECTORS) {
		u32 n = min((u64)STEP_SECTORS, r->geo.sectors - at);

		err = raid_rw(r, MD_READ, at, n, buf);
		if (err)
			say_error("sector %" PRIu64 ": %s", at, strerror(-err));
		else if (fwrite(buf, 512, n, stdout) != n)
			err = -errno;
	}
	free(buf);
	return !err && fflush(stdout) ? -errno : err;
}

int raid_cat(int argc, char **argv)
{
	struct raid_options o = { 0 };
	struct flags f;
	struct raid r;
	int first = parse(argc, argv, force_option, &f), err;

	if (first < 0)
		return 2;
	o.force = f.force;
	err = raid_open(&r, argv + first, argc - first, false);
	if (!err)
		err = raid_start(&r, &o);
	if (!err)
		err = copy_out(&r);
	raid_close(&r);
	return err ? 1 : 0;
}
