/* SPDX-License-Identifier: MIT
 *
 * What the files of `ostrom raid` share: member images and the verbs. A member is a file or block device opened
 * with its superblock found, decoded and judged. Verbs return the exit status.
 */
#ifndef RAID_PRIV_H
#define RAID_PRIV_H

#include <lib/types.h>
#include <md/super.h>

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
void image_close(struct image *im);
/* Whole transfers or -errno (-EIO at the end of the device). */
int image_read(const struct image *im, u64 sector, void *buf, size_t bytes);
int image_write(const struct image *im, u64 sector, const void *buf, size_t bytes);

int raid_examine(int argc, char **argv);

#endif
