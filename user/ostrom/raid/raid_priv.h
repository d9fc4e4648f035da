/* SPDX-License-Identifier: MIT
 *
 * What the files of `ostrom raid` share: member images, a running array over them, and the verbs. An image is a
 * file or block device with its superblock found, decoded and judged. A raid is the kernel's engine over images,
 * with every request carried out at once by pread, pwrite and fdatasync. Verbs return the exit status.
 */
#ifndef RAID_PRIV_H
#define RAID_PRIV_H

#include <md/assemble.h>
#include <md/engine.h>
#include <md/journal.h>
#include <md/ppl.h>

struct image {
	const char *path;
	int fd;
	bool writable;
	u64 sectors;
	int verdict; /* of md_super_check: 0, or why it may not be used */
	u64 super[MD_SUPER_BYTES / 8];
	struct md_super sb;
};

/* Opens path and finds a version 1 superblock in its three places. 0, or -errno after say_error. */
int image_open(struct image *im, const char *path, bool writable);
/* The same without looking for a superblock (a disk that is to become a member). */
int image_open_blank(struct image *im, const char *path);
bool image_find_superblock(struct image *im);
void image_close(struct image *im);
/* Whole transfers or -errno (-EIO at the end of the device). */
int image_read(const struct image *im, u64 sector, void *buf, size_t bytes);
int image_write(const struct image *im, u64 sector, const void *buf, size_t bytes);
int image_flush(const struct image *im);

struct raid {
	struct image *im;
	u32 n;
	enum md_verdict *verdict;
	struct md_plan plan;
	struct md_geo geo;
	struct image *slot[MD_SLOTS]; /* by slot; NULL: missing */
	struct md_engine *e;
	struct list queue;
	struct md_recovery_result log;
	struct md_ppl_result ppl;      /* if it has a partial parity log */
	bool has_log, parity_is_whole; /* the latter by its partial parity log, after a crash */
	u64 *only_at;                  /* array sectors of data that only the journal has, while it is read */
	u8 *only;
	u32 nonly;
};

struct raid_options {
	bool write;
	bool force; /* reconstruct in a dirty degraded array; run without its journal, read-only */
	enum md_journal_mode mode;
	u32 stripes; /* of the stripe cache, 0: 1024 */
};

/* Opens the images and judges them; prints the reason of what cannot be. 0 or -errno. */
int raid_open(struct raid *r, char **paths, int n, bool writable);
void raid_print_plan(const struct raid *r);
/* Recovers the journal (when writing) and starts the engine. 0 or -errno, after say_error. */
int raid_start(struct raid *r, const struct raid_options *o);
/* Carries out what the engine asks for until it is idle; -EIO if it never will be. */
int raid_settle(struct raid *r);
/* Carries out what is queued now and what follows from it. */
void raid_pump(struct raid *r);
int raid_rw(struct raid *r, enum md_dir dir, u64 sector, u32 sectors, void *buf);
/* Stops cleanly: nothing left in the journal only, superblocks clean. */
int raid_stop(struct raid *r);
void raid_close(struct raid *r);

int raid_examine(int argc, char **argv);
int raid_assemble(int argc, char **argv);
int raid_verify(int argc, char **argv);
int raid_recover(int argc, char **argv);
int raid_cat(int argc, char **argv);
int raid_serve(int argc, char **argv);

#endif
