/* SPDX-License-Identifier: MIT
 *
 * Problem: RAID members come as block devices, as images of them, or as partitions inside images, and a tool for
 * rescue must work on all of them without root and must not write where it was not asked to.
 *
 * Idea: plain files and pread/pwrite; a member is opened read-only unless the verb changes it. The superblock is
 * looked for in the three places of version 1 and taken where magic and place agree.
 *
 * Contract: raid_priv.h.
 *
 * Locks: none; each verb runs in one thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "ostrom.h"
#include "raid/raid_priv.h"

int image_read(const struct image *im, u64 sector, void *buf, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pread(im->fd, (char *)buf + done, bytes - done, (off_t)(sector * 512 + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n > 0 ? n : 0;
	}
	return 0;
}

int image_write(const struct image *im, u64 sector, const void *buf, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t n = pwrite(im->fd, (const char *)buf + done, bytes - done, (off_t)(sector * 512 + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? n : 0;
	}
	return 0;
}

bool image_find_superblock(struct image *im)
{
	static const u32 order[] = { 2, 1, 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		s64 at = md_super_sector(order[i], im->sectors);

		if (at < 0 || image_read(im, at, im->super, MD_SUPER_BYTES) < 0)
			continue;
		if (md_super_decode(im->super, at, &im->sb) == 0) {
			im->verdict = md_super_check(im->super, &im->sb, im->sectors);
			return true;
		}
	}
	return false;
}

int image_open(struct image *im, const char *path, bool writable)
{
	off_t end;
	int err;

	*im = (struct image){ .path = path, .writable = writable };
	im->fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (im->fd < 0) {
		err = -errno;
		say_error("%s: %s", path, strerror(errno));
		return err;
	}
	end = lseek(im->fd, 0, SEEK_END);
	im->sectors = end > 0 ? (u64)end / 512 : 0;
	if (image_find_superblock(im))
		return 0;
	say_error("%s: no version 1 superblock of md", im->path);
	image_close(im);
	return -ENOENT;
}

void image_close(struct image *im)
{
	if (im->fd >= 0)
		close(im->fd);
	im->fd = -1;
}

int image_open_blank(struct image *im, const char *path)
{
	off_t end;

	*im = (struct image){ .path = path, .writable = true };
	im->fd = open(path, O_RDWR | O_CLOEXEC);
	end = im->fd < 0 ? -1 : lseek(im->fd, 0, SEEK_END);
	if (end < 0) {
		int err = -errno;

		say_error("%s: %s", path, strerror(errno));
		image_close(im);
		return err;
	}
	im->sectors = (u64)end / 512;
	return 0;
}

int image_flush(const struct image *im)
{
	return fdatasync(im->fd) < 0 ? -errno : 0;
}
