/* SPDX-License-Identifier: MIT
 *
 * Problem: looking into an ext4 image, or bringing one into order after a crash, should need neither root nor a mount.
 *
 * Idea: the kernel's own ext4 core over a file. `manifest` prints every name with type, mode, owner, size, time and the
 * CRC of its bytes, one a line, so that two images can be compared with diff.
 *
 * Contract: `ostrom ext4` without arguments prints the usage. Only `replay` writes to the image.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <fs/ext4/ext4.h>
#include <lib/crc32c.h>
#include "ostrom.h"

#define MAX_DEPTH 64

static const char usage[] =
	"usage: ostrom ext4 info IMAGE             sizes, label, whether the journal needs a replay\n"
	"       ostrom ext4 ls IMAGE [PATH]        names in a directory\n"
	"       ostrom ext4 cat IMAGE PATH         a file's bytes, or a link's target\n"
	"       ostrom ext4 manifest IMAGE [PATH]  everything below, one line each, with checksums\n"
	"       ostrom ext4 replay IMAGE           replay the journal (the only one that writes)\n"
	"Symbolic links on the way are not followed. A journal that needs a replay is ignored.\n";

static int dev_read(void *ctx, u64 offset, void *buf, size_t n)
{
	ssize_t done = pread(*(int *)ctx, buf, n, offset);

	return done == (ssize_t)n ? 0 : done < 0 ? -errno : -EIO;
}

static int dev_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	ssize_t done = pwrite(*(int *)ctx, buf, n, offset);

	return done == (ssize_t)n ? 0 : done < 0 ? -errno : -EIO;
}

static int dev_flush(void *ctx)
{
	return fsync(*(int *)ctx) ? -errno : 0;
}

static int say_failed(const char *what, int err)
{
	say_error("%s: %s", what, strerror(-err));
	return 1;
}

static int open_image(const char *path, bool writes, int *fd, struct ext4 **fs)
{
	struct ext4_device dev = { fd, 0, !writes, dev_read, dev_write, dev_flush, NULL };
	off_t end;

	*fd = open(path, (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	end = *fd < 0 ? -1 : lseek(*fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	dev.bytes = end;
	return ext4_open(&dev, writes ? 0 : EXT4_OPEN_NO_REPLAY, fs);
}

static int find(struct ext4 *fs, const char *path, struct ext4_inode *in)
{
	int err = ext4_iget(fs, EXT4_ROOT_INO, in);

	while (!err) {
		size_t n;
		u32 ino;

		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (!n)
			break;
		err = ext4_lookup(fs, in, path, n, &ino);
		if (!err)
			err = ext4_iget(fs, ino, in);
		path += n;
	}
	return err;
}

/* ---- commands ------------------------------------------------------------------------------------------ */

static int info(struct ext4 *fs, const char *path)
{
	struct ext4_stat st;

	ext4_statfs(fs, &st);
	printf("label '%s', %llu blocks of %u bytes, %llu free, %u inodes, %u free%s\n", st.label,
	       (unsigned long long)st.blocks, st.block_bytes, (unsigned long long)st.free_blocks, st.inodes,
	       st.free_inodes, ext4_needs_replay(fs) ? ", journal needs a replay" : "");
	return 0;
}

static int print_name(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 pos)
{
	printf("%.*s\n", (int)len, name);
	return 0;
}

static int list(struct ext4 *fs, const char *path)
{
	struct ext4_inode in;
	u64 pos = 0;
	int err = find(fs, path, &in);

	return err ? err : ext4_readdir(fs, &in, &pos, print_name, NULL);
}

static int copy_out(struct ext4 *fs, const char *path)
{
	static char buf[1 << 16];
	struct ext4_inode in;
	u64 at = 0;
	ssize_t n = find(fs, path, &in);

	if (n)
		return n;
	if (S_ISLNK(in.mode)) {
		n = ext4_readlink(fs, &in, buf, sizeof(buf));
		if (n > 0)
			printf("%.*s\n", (int)n, buf);
		return n < 0 ? n : 0;
	}
	if (!S_ISREG(in.mode))
		return -EISDIR;
	while ((n = ext4_read(fs, &in, at, buf, sizeof(buf))) > 0) {
		if (fwrite(buf, 1, n, stdout) != (size_t)n)
			return -EIO;
		at += n;
	}
	return n;
}

struct manifest {
	struct ext4 *fs;
	char path[4096];
	int depth;
};

static int sum(struct ext4 *fs, const struct ext4_inode *in, u32 *out)
{
	static char buf[1 << 16];
	u64 at = 0;
	ssize_t n;

	*out = ~0u;
	if (S_ISLNK(in->mode)) {
		n = ext4_readlink(fs, in, buf, sizeof(buf));
		*out = n > 0 ? crc32c(*out, buf, n) : *out;
		return n < 0 ? n : 0;
	}
	while (S_ISREG(in->mode) && (n = ext4_read(fs, in, at, buf, sizeof(buf)))) {
		if (n < 0)
			return n;
		*out = crc32c(*out, buf, n);
		at += n;
	}
	return 0;
}

static int print_below(struct manifest *m, u32 ino);

static int print_entry(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 pos)
{
	struct manifest *m = ctx;
	size_t at = strlen(m->path);
	int err;

	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return 0;
	if (at + len + 2 > sizeof(m->path) || m->depth == MAX_DEPTH)
		return -ELOOP;
	snprintf(m->path + at, sizeof(m->path) - at, "/%.*s", (int)len, name);
	err = print_below(m, ino);
	m->path[at] = '\0';
	return err;
}

static int print_below(struct manifest *m, u32 ino)
{
	struct ext4_inode in;
	u64 pos = 0;
	u32 crc = 0;
	int err = ext4_iget(m->fs, ino, &in);

	if (!err)
		err = sum(m->fs, &in, &crc);
	if (err)
		return err;
	printf("%s %o %u:%u %u %llu %lld.%09u %08x\n", *m->path ? m->path : "/", in.mode, in.uid, in.gid, in.links,
	       S_ISDIR(in.mode) ? 0ULL : (unsigned long long)in.size, (long long)in.mtime.sec, in.mtime.nsec, ~crc);
	if (!S_ISDIR(in.mode))
		return 0;
	m->depth++;
	err = ext4_readdir(m->fs, &in, &pos, print_entry, m);
	m->depth--;
	return err;
}

static int manifest(struct ext4 *fs, const char *path)
{
	struct manifest m = { .fs = fs };
	struct ext4_inode in;
	int err = find(fs, path, &in);

	snprintf(m.path, sizeof(m.path), "%s", strcmp(path, "/") ? path : "");
	return err ? err : print_below(&m, in.ino);
}

/* Opening for writing has done it. */
static int replay(struct ext4 *fs, const char *path)
{
	return 0;
}

static int run_ext4(int argc, char **argv)
{
	static const struct {
		const char *verb;
		int (*run)(struct ext4 *fs, const char *path);
		bool writes;
	} commands[] = { { "info", info, false },
			 { "ls", list, false },
			 { "cat", copy_out, false },
			 { "manifest", manifest, false },
			 { "replay", replay, true } };
	struct ext4 *fs;
	int fd, err;

	for (unsigned i = 0; argc >= 3 && argc <= 4 && i < ARRAY_SIZE(commands); i++) {
		if (strcmp(argv[1], commands[i].verb))
			continue;
		err = open_image(argv[2], commands[i].writes, &fd, &fs);
		if (err)
			return say_failed(argv[2], err);
		err = commands[i].run(fs, argc == 4 ? argv[3] : "/");
		ext4_close(fs);
		close(fd);
		return err ? say_failed(argc == 4 ? argv[3] : argv[2], err) : 0;
	}
	fputs(usage, stderr);
	return 2;
}
SUBCOMMAND(ext4, "read ext4 images, replay their journals", run_ext4);
