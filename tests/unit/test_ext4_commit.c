/* SPDX-License-Identifier: MIT
 *
 * Problem: a transaction must be seen whole or not at all after a power cut at any moment, by us, by e2fsck, and so by
 * Linux.
 *
 * Idea: attributes of many inodes are changed in one transaction while every write and flush is recorded. For each
 * prefix of the record (and for prefixes of which everything behind the last flush is lost but one write) the disk is
 * made again, replayed by us, and all inodes must show the old state, or all the new. e2fsck replays some of them too
 * and must find nothing to complain about.
 *
 * Contract: runs under ASan and UBSan; skips where e2fsprogs is missing. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <fs/ext4/ext4.h>
#include <lib/err.h>
#include <lib/printf.h>

#define BYTES   (16 << 20)
#define FILES   300
#define MAX_OPS 8000

struct op {
	u64 offset;
	size_t n; /* 0: a flush */
	u8 *data;
};

static u8 pristine[BYTES], disk[BYTES];
static struct op ops[MAX_OPS];
static unsigned nr_ops, fail_at;
static char dir[] = "/tmp/ostrom-ext4c-XXXXXX";

static int dev_read(void *ctx, u64 offset, void *buf, size_t n)
{
	assert_true(offset + n <= BYTES);
	memcpy(buf, disk + offset, n);
	return 0;
}

static int dev_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	assert_true(offset + n <= BYTES && n && nr_ops < MAX_OPS);
	if (fail_at && nr_ops + 1 >= fail_at)
		return -EIO;
	memcpy(disk + offset, buf, n);
	ops[nr_ops] = (struct op){ offset, n, malloc(n) };
	memcpy(ops[nr_ops++].data, buf, n);
	return 0;
}

static int dev_flush(void *ctx)
{
	if (fail_at && nr_ops + 1 >= fail_at)
		return -EIO;
	ops[nr_ops++] = (struct op){ 0 };
	return 0;
}

static const struct ext4_device device = { NULL, BYTES, false, dev_read, dev_write, dev_flush, NULL };

static void forget_ops(void)
{
	while (nr_ops)
		free(ops[--nr_ops].data);
}

static int run(const char *fmt, ...) __printf(1, 2);
static int run(const char *fmt, ...)
{
	char command[2048], full[4096];
	va_list ap;

	va_start(ap, fmt);
	str_vformat(command, sizeof(command), fmt, ap);
	va_end(ap);
	str_format(full, sizeof(full), "cd %s && PATH=$PATH:/usr/sbin:/sbin && { %s; } > out 2>&1", dir, command);
	return system(full);
}

static void file_to(u8 *to)
{
	char path[64];
	FILE *f;

	str_format(path, sizeof(path), "%s/image", dir);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(to, 1, BYTES, f), BYTES);
	fclose(f);
}

static void disk_to_file(void)
{
	char path[64];
	FILE *f;

	str_format(path, sizeof(path), "%s/image", dir);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(disk, 1, BYTES, f), BYTES);
	fclose(f);
}

static void make(const char *options)
{
	assert_int_equal(run("rm -rf t image && mkdir t && for i in $(seq 1000 %d); do echo $i > t/f$i; done &&"
			     "truncate -s 16M image && mke2fs -q -F %s -d t image && e2fsck -fn image",
			     1000 + FILES - 1, options),
			 0);
	file_to(pristine);
	memcpy(disk, pristine, BYTES);
	forget_ops();
	fail_at = 0;
}

static u32 find(struct ext4 *fs, int i)
{
	struct ext4_inode root;
	char name[8];
	u32 ino;

	str_format(name, sizeof(name), "f%d", 1000 + i);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &root), 0);
	assert_int_equal(ext4_lookup(fs, &root, name, strlen(name), &ino), 0);
	return ino;
}

struct attr {
	u16 mode;
	u32 uid, gid;
	struct ext4_time mtime;
};

static struct attr attr_of(int i, int round)
{
	return (struct attr){ .mode = 0600 + i % 64,
			      .uid = 100000 * round + i,
			      .gid = 70000 * round + i,
			      .mtime = { 4102444800LL + 1000 * round + i, 123456789 } };
}

static int set_attr(struct ext4 *fs, u32 ino, const struct attr *a)
{
	struct ext4_inode in;
	int err = ext4_iget(fs, ino, &in);

	if (err)
		return err;
	in.mode = (in.mode & 0170000) | a->mode;
	in.uid = a->uid;
	in.gid = a->gid;
	in.mtime = a->mtime;
	return ext4_store(fs, &in);
}

static void change_all(struct ext4 *fs, int round)
{
	for (int i = 0; i < FILES; i++) {
		struct attr a = attr_of(i, round);

		assert_int_equal(set_attr(fs, find(fs, i), &a), 0);
	}
}

/* Which round all files show; -1 when they disagree. */
static int round_of(struct ext4 *fs)
{
	int round = -2;

	for (int i = 0; i < FILES; i++) {
		struct ext4_inode in;
		int r;

		assert_int_equal(ext4_iget(fs, find(fs, i), &in), 0);
		r = in.uid / 100000;
		if (r) {
			struct attr a = attr_of(i, r);

			assert_int_equal(in.uid, a.uid);
			assert_int_equal(in.gid, a.gid);
			assert_int_equal(in.mode, 0100000 | a.mode);
			assert_int_equal(in.mtime.sec, a.mtime.sec);
			assert_int_equal(in.mtime.nsec, a.mtime.nsec);
		}
		if (round == -2)
			round = r;
		if (round != r)
			return -1;
	}
	return round;
}

/* The disk after the first n operations, of those behind the last flush only `only` (all if it is n). */
static void make_disk(unsigned n, unsigned only)
{
	unsigned safe = 0;

	memcpy(disk, pristine, BYTES);
	for (unsigned i = 0; i < n; i++)
		if (!ops[i].n)
			safe = i;
	for (unsigned i = 0; i < n; i++)
		if (ops[i].n && (i < safe || only == n || i == only))
			memcpy(disk + ops[i].offset, ops[i].data, ops[i].n);
}

static int replayed_round(unsigned at, unsigned expect_ops)
{
	struct ext4 *fs;
	int round;

	assert_int_equal(ext4_open(&device, 0, &fs), 0);
	round = round_of(fs);
	assert_int_equal(ext4_close(fs), 0);
	/* what opening and closing wrote is not part of the record under test */
	while (nr_ops > expect_ops)
		free(ops[--nr_ops].data);
	return round;
}

/* Each write of the superblock, torn: one of its two sectors arrived. */
static void every_tear(unsigned n)
{
	unsigned torn = 0;

	for (unsigned i = 0; i < n; i++)
		for (unsigned half = 0;
		     half < 2 && ops[i].n && ops[i].offset <= 1024 && ops[i].offset + ops[i].n >= 2048; half++) {
			u64 at = 1024 + half * 512;

			make_disk(i, i);
			memcpy(disk + at, ops[i].data + (at - ops[i].offset), 512);
			disk_to_file();
			assert_in_range(replayed_round(i, n), 0, 2);
			assert_in_range(run("e2fsck -fp image"), 0, 0x100);
			assert_int_equal(run("e2fsck -fn image"), 0);
			torn++;
		}
	assert_true(torn >= 4);
}

static void every_cut(const char *options)
{
	struct ext4 *fs;
	unsigned n, synced[3], round = 0;

	if (run("mke2fs -V && e2fsck -V"))
		skip();
	make(options);
	assert_int_equal(ext4_open(&device, 0, &fs), 0);
	for (int r = 1; r <= 2; r++) {
		change_all(fs, r);
		assert_int_equal(ext4_sync(fs), 0);
		synced[r] = nr_ops;
	}
	assert_int_equal(ext4_close(fs), 0);
	n = nr_ops;
	disk_to_file();
	assert_int_equal(run("e2fsck -fn image"), 0);
	assert_int_equal(run("debugfs -R 'stat f1007' image | grep -q 'User: 200007   Group: 140007'"), 0);
	for (unsigned cut = 0; cut <= n; cut++) {
		unsigned safe_round = cut >= synced[2] ? 2 : cut >= synced[1] ? 1 : 0;

		make_disk(cut, cut);
		round = replayed_round(cut, n);
		assert_in_range(round, safe_round, 2);
		if (cut && ops[cut - 1].n) { /* only the last write arrived of those since the flush */
			make_disk(cut, cut - 1);
			round = replayed_round(cut, n);
			assert_in_range(round, safe_round, 2);
		}
		if (cut % 16 == 7 || cut == n) {
			make_disk(cut, cut);
			disk_to_file();
			assert_in_range(run("e2fsck -fp image"), 0, 0x100);
			assert_int_equal(run("e2fsck -fn image"), 0);
			file_to(disk);
			assert_in_range(replayed_round(cut, n), safe_round, 2);
		}
	}
	assert_int_equal(round, 2);
	every_tear(n);
	print_message("%u writes and flushes, each cut whole\n", n);
	forget_ops();
}

/* Transactions go around the ring; one that overlaps the last must not harm it. */
static void the_ring_wraps(void **state)
{
	enum { ROUNDS = 30 };
	unsigned n, synced[ROUNDS + 1] = { 0 };
	struct ext4 *fs;

	if (run("mke2fs -V && e2fsck -V"))
		skip();
	make("-t ext4 -b 1024 -J size=1");
	assert_int_equal(ext4_open(&device, 0, &fs), 0);
	for (int r = 1; r <= ROUNDS; r++) {
		change_all(fs, r);
		assert_int_equal(ext4_sync(fs), 0);
		synced[r] = nr_ops;
	}
	n = nr_ops;
	for (unsigned cut = 1; cut < n; cut += 23) {
		int round, safe = 0;

		while (safe < ROUNDS && synced[safe + 1] <= cut)
			safe++;
		make_disk(cut, cut % 2 ? cut : cut - 1);
		round = replayed_round(cut, n);
		assert_in_range(round, safe, safe + 1);
	}
	assert_int_equal(ext4_close(fs), 0);
	forget_ops();
}

static void checksums_v3(void **state)
{
	every_cut("-t ext4 -b 1024");
}
static void plain_journal(void **state)
{
	every_cut("-t ext3 -b 1024 -I 256");
}
static void blocks_of_4k(void **state)
{
	every_cut("-t ext4 -b 4096 -J size=4 -N 400");
}

static void without_a_journal(void **state)
{
	struct ext4 *fs;

	if (run("mke2fs -V && e2fsck -V"))
		skip();
	make("-t ext2 -I 256");
	assert_int_equal(ext4_open(&device, 0, &fs), 0);
	change_all(fs, 1);
	assert_int_equal(ext4_close(fs), 0);
	disk_to_file();
	assert_int_equal(run("e2fsck -fn image"), 0);
	assert_int_equal(replayed_round(0, nr_ops), 1);
	forget_ops();
}

static void errors_stop_everything(void **state)
{
	struct attr a = attr_of(1, 1);
	struct ext4 *fs;

	if (run("mke2fs -V && e2fsck -V"))
		skip();
	make("-t ext4 -b 1024");
	assert_int_equal(ext4_open(&device, EXT4_OPEN_READ_ONLY, &fs), 0);
	assert_int_equal(set_attr(fs, EXT4_ROOT_INO, &a), -EROFS);
	assert_int_equal(ext4_close(fs), 0);
	for (unsigned at = 1; at < 40; at += 3) {
		memcpy(disk, pristine, BYTES);
		forget_ops();
		fail_at = 0;
		assert_int_equal(ext4_open(&device, 0, &fs), 0);
		change_all(fs, 1);
		fail_at = at;
		assert_int_equal(ext4_sync(fs), -EIO);
		assert_int_equal(set_attr(fs, EXT4_ROOT_INO, &a), -EIO);
		assert_int_equal(ext4_close(fs), -EIO);
		fail_at = 0;
		assert_in_range(replayed_round(0, nr_ops), 0, 1);
	}
	forget_ops();
}

static void what_does_not_fit_is_refused(void **state)
{
	struct ext4 *fs;

	if (run("mke2fs -V && e2fsck -V"))
		skip();
	make("-t ext4 -b 1024");
	assert_int_equal(ext4_open(&device, 0, &fs), 0);
	/* times that the record cannot hold become the nearest that it can */
	struct attr a = { .mode = 0755, .mtime = { INT64_MAX, 0 } };
	struct ext4_inode in;

	assert_int_equal(set_attr(fs, EXT4_ROOT_INO, &a), 0);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &in), 0);
	assert_int_equal(in.mtime.sec, INT32_MAX + (3LL << 32));
	a.mtime.sec = INT64_MIN;
	assert_int_equal(set_attr(fs, EXT4_ROOT_INO, &a), 0);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &in), 0);
	assert_int_equal(in.mtime.sec, INT32_MIN);
	assert_int_equal(set_attr(fs, 0, &a), -EUCLEAN);
	assert_int_equal(ext4_close(fs), 0);
	disk_to_file();
	assert_int_equal(run("e2fsck -fn image"), 0);
	forget_ops();
}

static int start(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int finish(void **state)
{
	char command[128];

	str_format(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_v3),           cmocka_unit_test(plain_journal),
		cmocka_unit_test(blocks_of_4k),           cmocka_unit_test(without_a_journal),
		cmocka_unit_test(errors_stop_everything), cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(the_ring_wraps),
	};

	return cmocka_run_group_tests(tests, start, finish);
}
