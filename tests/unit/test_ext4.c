/* SPDX-License-Identifier: MIT
 *
 * Problem: our reading of ext4 must agree with those who wrote it, feature by feature.
 *
 * Idea: a tree of files of all kinds and sizes is made on the host; e2fsprogs makes file systems from it with every set
 * of features that matters (block sizes, ext2 and ext3, no checksums, small inodes, inline data, indexed directories);
 * we read each back and compare names, modes, sizes, bytes, links, times and attributes. Journals are written by
 * debugfs and replayed by us and by e2fsck: the images must be equal.
 *
 * Contract: runs under ASan and UBSan; skips where e2fsprogs is missing. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <fs/ext4/ext4.h>
#include <lib/err.h>
#include <lib/printf.h>

static char dir[] = "/tmp/ostrom-ext4-XXXXXX";

static int run(const char *fmt, ...) __printf(1, 2);
static int run(const char *fmt, ...)
{
	char command[4096], full[8192];
	va_list ap;

	va_start(ap, fmt);
	str_vformat(command, sizeof(command), fmt, ap);
	va_end(ap);
	str_format(full, sizeof(full), "cd %s && PATH=$PATH:/usr/sbin:/sbin && { %s; } > out 2>&1", dir, command);
	return system(full);
}

#define RUN(...) assert_int_equal(run(__VA_ARGS__), 0)

static bool have_e2fsprogs(void)
{
	return run("mkfs.ext4 -V && debugfs -V && e2fsck -V") == 0;
}

/* ---- the device is a file ------------------------------------------------------------------------------- */

static int dev_read(void *ctx, u64 offset, void *buf, size_t n)
{
	return pread(*(int *)ctx, buf, n, offset) == (ssize_t)n ? 0 : -EIO;
}

static int dev_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	return pwrite(*(int *)ctx, buf, n, offset) == (ssize_t)n ? 0 : -EIO;
}

static int dev_flush(void *ctx)
{
	return 0;
}

static int image_fd = -1;

static struct ext4 *open_image(const char *name, unsigned flags)
{
	char path[256];
	struct stat st;
	struct ext4_device dev = { &image_fd, 0, false, dev_read, dev_write, dev_flush, NULL };
	struct ext4 *fs;

	str_format(path, sizeof(path), "%s/%s", dir, name);
	image_fd = open(path, O_RDWR);
	assert_true(image_fd >= 0);
	fstat(image_fd, &st);
	dev.bytes = st.st_size;
	assert_int_equal(ext4_open(&dev, flags, &fs), 0);
	return fs;
}

static void close_image(struct ext4 *fs)
{
	ext4_close(fs);
	close(image_fd);
}

/* ---- comparing with the host's tree --------------------------------------------------------------------- */

static void compare_bytes(struct ext4 *fs, const struct ext4_inode *in, const char *path)
{
	static u8 want[1 << 16], got[1 << 16];
	int fd = open(path, O_RDONLY);
	u64 at = 0;

	assert_true(fd >= 0);
	for (;;) {
		/* odd sizes, so that reads cross every border */
		size_t n = at % 3 ? sizeof(got) : 4099;
		ssize_t a = pread(fd, want, n, at), b = ext4_read(fs, in, at, got, n);

		assert_int_equal(a, b);
		if (a <= 0)
			break;
		assert_memory_equal(want, got, a);
		at += a;
	}
	close(fd);
}

struct seen {
	unsigned n;
};

static int count_entry(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 pos)
{
	((struct seen *)ctx)->n++;
	return 0;
}

static unsigned compare_dir(struct ext4 *fs, u32 ino, const char *path);

static void compare_one(struct ext4 *fs, u32 ino, const char *path)
{
	struct ext4_inode in;
	struct stat st;
	char link[4096], want[4096];

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(in.mode, st.st_mode);
	assert_int_equal(in.mtime.sec, st.st_mtim.tv_sec);
	if (S_ISREG(st.st_mode)) {
		assert_int_equal(in.size, st.st_size);
		compare_bytes(fs, &in, path);
	} else if (S_ISLNK(st.st_mode)) {
		ssize_t n = readlink(path, want, sizeof(want));

		assert_int_equal(ext4_readlink(fs, &in, link, sizeof(link)), n);
		assert_memory_equal(link, want, n);
	} else if (S_ISDIR(st.st_mode)) {
		compare_dir(fs, ino, path);
	}
}

/* Every name of the host is found, and there are no others. */
static unsigned compare_dir(struct ext4 *fs, u32 ino, const char *path)
{
	DIR *d = opendir(path);
	struct ext4_inode in;
	struct dirent *e;
	struct seen seen = { 0 };
	unsigned n = 0;
	u64 pos = 0;
	u32 child;

	assert_non_null(d);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	while ((e = readdir(d))) {
		char sub[4096];

		assert_int_equal(ext4_lookup(fs, &in, e->d_name, strlen(e->d_name), &child), 0);
		n++;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		str_format(sub, sizeof(sub), "%s/%s", path, e->d_name);
		compare_one(fs, child, sub);
	}
	closedir(d);
	assert_int_equal(ext4_readdir(fs, &in, &pos, count_entry, &seen), 0);
	assert_int_equal(seen.n, n + (ino == EXT4_ROOT_INO)); /* lost+found */
	assert_int_equal(ext4_lookup(fs, &in, "no such name", 12, &child), -ENOENT);
	return n;
}

/* ---- making the tree ----------------------------------------------------------------------------------------- */

static int make_tree(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	return run(
		"mkdir -p tree/many tree/deep/a/b/c tree/empty tree/few && cd tree &&"
		"for i in $(seq 0 2399); do echo $i > many/a-rather-long-name-to-fill-blocks-$i; done &&"
		"for i in $(seq 300); do ln many/a-rather-long-name-to-fill-blocks-$i few/link$i; done &&"
		"touch none && printf x > one && printf %%060d 7 > sixty && printf %%061d 7 > more &&"
		"printf %%0120d 7 > hundredtwenty && head -c 5000000 /dev/urandom > big &&"
		"for i in $(seq 0 3 900); do dd if=/dev/urandom of=sparse bs=4096 count=1 seek=$i conv=notrunc; done &&"
		"truncate -s 9000000 sparse && echo end >> sparse && truncate -s 3000000 hole &&"
		"ln -s short fast && ln -s $(printf %%0200d 1) slow && ln -s $(printf %%059d 1) edge &&"
		"ln -s $(printf %%060d 1) edge2 && mkfifo pipe && chmod 4711 one && touch -d 2037-01-02 none &&"
		"touch -d 1930-01-02 sixty && printf '\\303\\244\\303\\266' > $(printf "
		"'\\303\\244\\303\\266\\377name')");
}

static int drop_tree(void **state)
{
	char command[128];

	str_format(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void read_back_tuned(const char *options, const char *tune, bool indexed)
{
	char path[256];
	struct ext4_stat st;
	struct ext4 *fs;

	if (!have_e2fsprogs())
		skip();
	RUN("rm -f image && truncate -s 64M image && mke2fs -q -F %s -d tree image", options);
	if (*tune)
		RUN("tune2fs %s image", tune);
	if (indexed)
		assert_true(run("e2fsck -fyD image") <= 0x100);
	RUN("e2fsck -fn image");
	fs = open_image("image", EXT4_OPEN_READ_ONLY);
	str_format(path, sizeof(path), "%s/tree", dir);
	assert_true(compare_dir(fs, EXT4_ROOT_INO, path) > 15);
	ext4_statfs(fs, &st);
	assert_true(st.free_blocks > 1000 && st.free_inodes > 100);
	close_image(fs);
}

static void read_back(const char *options, bool indexed)
{
	read_back_tuned(options, "", indexed);
}

static void ext4_defaults(void **state)
{
	read_back("-t ext4", false);
}
static void ext4_indexed(void **state)
{
	read_back("-t ext4", true);
}
static void ext4_1k_indexed(void **state)
{
	read_back("-t ext4 -b 1024", true);
}
static void ext4_tea(void **state)
{
	read_back_tuned("-t ext4 -b 1024", "-E hash_alg=tea", true);
}
static void ext4_legacy_hash(void **state)
{
	read_back_tuned("-t ext4 -b 1024", "-E hash_alg=legacy", true);
}
static void ext4_no_csum(void **state)
{
	read_back("-t ext4 -O ^metadata_csum,uninit_bg", true);
}
static void ext4_32bit(void **state)
{
	read_back("-t ext4 -O ^64bit,^flex_bg,^metadata_csum -I 128", true);
}
static void ext4_inline(void **state)
{
	read_back("-t ext4 -O inline_data", false);
}
static void ext4_meta_bg(void **state)
{
	read_back("-t ext4 -b 1024 -O meta_bg,^resize_inode", true);
}
static void ext4_csum_seed(void **state)
{
	read_back("-t ext4 -O metadata_csum_seed", true);
}
static void ext3(void **state)
{
	read_back("-t ext3", true);
}
static void ext2(void **state)
{
	read_back("-t ext2 -b 1024", false);
}

/* ---- attributes, device nodes ---------------------------------------------------------------------------------- */

static void attributes(void **state)
{
	char buf[8192], big[3000];
	struct ext4_inode in;
	struct ext4 *fs;
	u32 ino;

	if (!have_e2fsprogs())
		skip();
	memset(big, 'v', sizeof(big));
	RUN("rm -f image && truncate -s 8M image && mkfs.ext4 -q -F -b 4096 image && head -c 3000 /dev/zero | tr '\\0' "
	    "v > big "
	    "&&"
	    "echo hello > f && printf 'write f f\\nea_set f user.small value\\nea_set -f big f user.big\\n"
	    "ea_set f security.selinux label\\nmknod null c 1 3\\nmknod disk b 259 70000\\n' | debugfs -w -f - image");
	RUN("e2fsck -fn image");
	fs = open_image("image", EXT4_OPEN_READ_ONLY);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &in), 0);
	assert_int_equal(ext4_lookup(fs, &in, "f", 1, &ino), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(ext4_getxattr(fs, &in, "user.small", buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "value", 5);
	assert_int_equal(ext4_getxattr(fs, &in, "user.big", NULL, 0), 3000);
	assert_int_equal(ext4_getxattr(fs, &in, "user.big", buf, 100), -ERANGE);
	assert_int_equal(ext4_getxattr(fs, &in, "user.big", buf, sizeof(buf)), 3000);
	assert_memory_equal(buf, big, 3000);
	assert_int_equal(ext4_getxattr(fs, &in, "security.selinux", buf, sizeof(buf)), 5);
	assert_int_equal(ext4_getxattr(fs, &in, "user.none", buf, sizeof(buf)), -ENODATA);
	assert_int_equal(ext4_listxattr(fs, &in, NULL, 0), 11 + 9 + 17);
	assert_int_equal(ext4_listxattr(fs, &in, buf, 20), -ERANGE);
	assert_int_equal(ext4_listxattr(fs, &in, buf, sizeof(buf)), 11 + 9 + 17);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &in), 0);
	assert_int_equal(ext4_lookup(fs, &in, "null", 4, &ino), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(in.rdev, 0x103);
	close_image(fs);
}

/* ---- journals ------------------------------------------------------------------------------------------------------
 */

static void replay_like_e2fsck(const char *mkfs, const char *jo)
{
	struct ext4_inode in;
	struct ext4 *fs;

	if (!have_e2fsprogs())
		skip();
	RUN("rm -f image other && truncate -s 16M image && mkfs.ext4 -q -F %s -J size=4 image", mkfs);
	/* blocks of noise, one that looks like the journal's own; one written twice, one revoked after it was written
	 */
	RUN("head -c 16384 /dev/urandom > noise && printf '\\300\\073\\071\\230' > magic && head -c 65532 noise >> "
	    "magic &&"
	    "truncate -s 4096 magic");
	RUN("printf 'jo %s\\njw -b 3000,3001,3002 noise\\njw -b 3003 magic\\njw -b 3001 magic\\njw -r 3002\\njc\\n' | "
	    "debugfs -w -f - image; cat out; cp image other",
	    jo);
	RUN("e2fsck -E journal_only -fy other || [ $? = 1 ]");
	RUN("! cmp -s image other");
	fs = open_image("image", EXT4_OPEN_READ_ONLY | EXT4_OPEN_NO_REPLAY);
	close_image(fs);
	fs = open_image("image", 0);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &in), 0);
	close_image(fs);
	/* all but the superblocks' times and counts, block 0, and the journal's own superblock */
	RUN("for b in 3000 3001 3002 3003; do dd if=image bs=4096 skip=$b count=1 of=a; dd if=other bs=4096 skip=$b "
	    "count=1 of=b;"
	    "cmp a b || exit 1; done; dd if=image bs=4096 skip=3003 count=1 | cmp -n 4096 - magic");
	RUN("e2fsck -fn image");
	RUN("debugfs -R 'logdump -a' image | grep -q 'sequence.*start 0\\|Journal starts at block 0' || grep . out");
}

static void journal_plain(void **state)
{
	replay_like_e2fsck("-b 4096", "");
}
static void journal_csum_v3(void **state)
{
	replay_like_e2fsck("-b 4096", "-c -v 3");
}
static void journal_csum_v2(void **state)
{
	replay_like_e2fsck("-b 4096", "-c -v 2");
}
static void journal_32bit(void **state)
{
	replay_like_e2fsck("-b 4096 -O ^64bit,^metadata_csum", "");
}

static void a_read_only_device_is_not_replayed(void **state)
{
	struct ext4_device dev = { &image_fd, 16 << 20, true, dev_read, dev_write, dev_flush, NULL };
	struct ext4 *fs;
	char path[256];

	if (!have_e2fsprogs())
		skip();
	RUN("rm -f image && truncate -s 16M image && mkfs.ext4 -q -F image && head -c 4096 /dev/urandom > noise &&"
	    "printf 'jo\\njw -b 3000 noise\\njc\\n' | debugfs -w -f - image");
	str_format(path, sizeof(path), "%s/image", dir);
	image_fd = open(path, O_RDONLY);
	assert_int_equal(ext4_open(&dev, EXT4_OPEN_READ_ONLY, &fs), -EROFS);
	assert_int_equal(ext4_open(&dev, EXT4_OPEN_NO_REPLAY, &fs), 0);
	close_image(fs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ext4_defaults),
		cmocka_unit_test(ext4_indexed),
		cmocka_unit_test(ext4_1k_indexed),
		cmocka_unit_test(ext4_tea),
		cmocka_unit_test(ext4_legacy_hash),
		cmocka_unit_test(ext4_no_csum),
		cmocka_unit_test(ext4_32bit),
		cmocka_unit_test(ext4_inline),
		cmocka_unit_test(ext4_meta_bg),
		cmocka_unit_test(ext4_csum_seed),
		cmocka_unit_test(ext3),
		cmocka_unit_test(ext2),
		cmocka_unit_test(attributes),
		cmocka_unit_test(journal_plain),
		cmocka_unit_test(journal_csum_v3),
		cmocka_unit_test(journal_csum_v2),
		cmocka_unit_test(journal_32bit),
		cmocka_unit_test(a_read_only_device_is_not_replayed),
	};

	return cmocka_run_group_tests(tests, make_tree, drop_tree);
}
