/* SPDX-License-Identifier: MIT
 *
 * Problem: whatever programs do to a file system, e2fsck must find nothing, and what was written must be read back.
 *
 * Idea: a random program (seeded, so that it can be repeated) makes, links, renames, removes, writes, cuts, punches and
 * preallocates on an image of e2fsprogs', while a model in memory does the same. Every few hundred steps everything is
 * compared, and e2fsck looks at the closed image. Directed tests: directories with deep indexes, files with deep extent
 * trees, attributes, orphans, a full disk.
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

#define MAX_BYTES (96 << 20)

static u8 *disk;
static size_t bytes;
static char dir[] = "/tmp/ostrom-ext4w-XXXXXX";
static struct ext4 *fs;
static u64 clock_ns_;

static int dev_read(void *ctx, u64 offset, void *buf, size_t n)
{
	assert_true(offset + n <= bytes);
	memcpy(buf, disk + offset, n);
	return 0;
}

static int dev_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	assert_true(offset + n <= bytes && n);
	memcpy(disk + offset, buf, n);
	return 0;
}

static int dev_flush(void *ctx)
{
	return 0;
}

/* Rubbish: nobody may need it any more. */
static int dev_discard(void *ctx, u64 offset, u64 n)
{
	assert_true(offset + n <= bytes && n);
	memset(disk + offset, 0xdb, n);
	return 0;
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

static void image(bool load)
{
	char path[64];
	FILE *f;

	str_format(path, sizeof(path), "%s/image", dir);
	f = fopen(path, load ? "r" : "w");
	assert_non_null(f);
	if (load)
		bytes = fread(disk, 1, MAX_BYTES, f);
	else
		assert_int_equal(fwrite(disk, 1, bytes, f), bytes);
	fclose(f);
}

static void open_fs(void)
{
	struct ext4_device d = { NULL, bytes, false, dev_read, dev_write, dev_flush, dev_discard };

	assert_int_equal(ext4_open(&d, 0, &fs), 0);
	ext4_set_discard(fs, true);
	ext4_set_time(fs, (struct ext4_time){ 1700000000, 1 });
}

static void make(const char *options, unsigned mib)
{
	assert_int_equal(run("rm -f image; truncate -s %uM image && mke2fs -q -F %s image", mib, options), 0);
	image(true);
	open_fs();
}

/* Closed and looked at by e2fsck; open again afterwards. */
static void check(void)
{
	struct ext4_stat st;
	u64 told = 0, end;

	ext4_statfs(fs, &st);
	end = st.first_block + st.blocks;
	for (u32 g = 0; g <= ext4_group_of(fs, end - 1); g++)
		assert_int_equal(ext4_trim_group(fs, g, st.first_block, end, 1, &told), 0);
	assert_in_range(told, 0, st.free_blocks);
	assert_int_equal(ext4_close(fs), 0);
	image(false);
	if (run("e2fsck -fn image")) {
		(void)!run("cat out >&2; cp image /tmp/ostrom-ext4-bad.img");
		(void)!system("cat /tmp/ostrom-ext4w-*/out | head -40");
		fail();
	}
	open_fs();
	ext4_statfs(fs, &st);
}

static u32 rnd_state = 1;
static u32 rnd(u32 n)
{
	rnd_state = rnd_state * 1664525 + 1013904223;
	return (rnd_state >> 8) % n;
}

static int make_in(u32 parent, const char *name, u16 mode, u32 *ino)
{
	struct ext4_new what = { .mode = mode, .uid = 1000, .gid = 100 };
	struct ext4_inode d, in;
	int err = ext4_iget(fs, parent, &d);

	ext4_set_time(fs, (struct ext4_time){ 1700000000 + clock_ns_++, 5 });
	if (!err)
		err = ext4_create(fs, &d, name, strlen(name), &what, &in);
	if (!err && ino)
		*ino = in.ino;
	return err;
}

static int find(u32 parent, const char *name, u32 *ino)
{
	struct ext4_inode d;
	int err = ext4_iget(fs, parent, &d);

	return err ? err : ext4_lookup(fs, &d, name, strlen(name), ino);
}

static int unlink_in(u32 parent, const char *name)
{
	struct ext4_inode d, in;
	u32 ino;
	int err = find(parent, name, &ino);

	if (!err)
		err = ext4_iget(fs, parent, &d);
	if (!err)
		err = ext4_iget(fs, ino, &in);
	if (!err)
		err = ext4_unlink(fs, &d, name, strlen(name), &in);
	if (!err && !in.links)
		err = ext4_delete(fs, &in);
	return err;
}

static bool missing(void)
{
	return run("mke2fs -V && e2fsck -V");
}

/* ---- directories ----------------------------------------------------------------------------------------------------
 */

static int count(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 next)
{
	++*(unsigned *)ctx;
	return 0;
}

static void many_names(const char *options, unsigned n, const char *fill)
{
	struct ext4_inode d;
	unsigned seen = 0;
	char name[256];
	u32 dir_ino, ino, file;
	u64 pos = 0;

	if (missing())
		skip();
	make(options, 64);
	assert_int_equal(make_in(EXT4_ROOT_INO, "d", 040755, &dir_ino), 0);
	assert_int_equal(make_in(EXT4_ROOT_INO, "file", 0100644, &file), 0);
	for (unsigned i = 0; i < n; i++) {
		struct ext4_inode in;

		str_format(name, sizeof(name), "%s%u", fill, i * 7919u);
		assert_int_equal(ext4_iget(fs, dir_ino, &d), 0);
		assert_int_equal(ext4_iget(fs, file, &in), 0);
		assert_int_equal(ext4_link(fs, &d, name, strlen(name), &in), 0);
	}
	assert_int_equal(ext4_iget(fs, dir_ino, &d), 0);
	assert_int_equal(ext4_readdir(fs, &d, &pos, count, &seen), 0);
	assert_int_equal(seen, n + 2);
	check();
	for (unsigned i = 0; i < n; i++) {
		str_format(name, sizeof(name), "%s%u", fill, i * 7919u);
		assert_int_equal(find(dir_ino, name, &ino), 0);
		assert_int_equal(ino, file);
		if (i % 3)
			assert_int_equal(unlink_in(dir_ino, name), 0);
	}
	check();
	for (unsigned i = 0; i < n; i++) {
		str_format(name, sizeof(name), "%s%u", fill, i * 7919u);
		assert_int_equal(find(dir_ino, name, &ino), i % 3 ? -ENOENT : 0);
		if (!(i % 3))
			assert_int_equal(unlink_in(dir_ino, name), 0);
	}
	assert_int_equal(unlink_in(EXT4_ROOT_INO, "d"), 0);
	check();
	assert_int_equal(ext4_close(fs), 0);
}

static void names_of_default(void **state)
{
	many_names("-t ext4 -b 4096", 20000, "n");
}
static void names_long(void **state)
{
	char fill[220];

	memset(fill, 'x', sizeof(fill));
	fill[219] = '\0';
	many_names("-t ext4 -b 1024", 12000, fill); /* two levels of tables */
}
static void names_without_index(void **state)
{
	many_names("-t ext4 -O ^dir_index,^metadata_csum", 1500, "some-name-");
}
static void names_old(void **state)
{
	many_names("-t ext2", 3000, "n");
}

/* ---- files
 * --------------------------------------------------------------------------------------------------------------- */

static void deep_tree(const char *options)
{
	struct ext4_inode in;
	struct ext4_stat st;
	u32 ino;

	if (missing())
		skip();
	make(options, 64);
	ext4_statfs(fs, &st);
	assert_int_equal(make_in(EXT4_ROOT_INO, "f", 0100644, &ino), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	for (u32 i = 0; i < 6000; i++) { /* every other block, in an order that is none */
		struct ext4_extent e;

		assert_int_equal(ext4_map_write(fs, &in, i * 2 * 4099 % 12288, 1, 12288ULL * st.block_bytes, &e), 0);
	}
	check();
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(ext4_punch(fs, &in, 3001, 5000), 0);
	check();
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(ext4_truncate(fs, &in, 1500), 0);
	check();
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_true(in.sectors <= 16);
	assert_int_equal(unlink_in(EXT4_ROOT_INO, "f"), 0);
	check();
	assert_int_equal(ext4_close(fs), 0);
}

static void extents(void **state)
{
	deep_tree("-t ext4 -b 1024");
}
static void tables(void **state)
{
	deep_tree("-t ext3 -b 1024");
}
static void tables_from_block_0(void **state) /* the first group begins at 0 where blocks are larger */
{
	deep_tree("-t ext2 -b 4096");
}

/* A file that grows by the flusher's runs is in pieces only where a table lies in front of what it names. */
static void tables_in_front(void **state)
{
	struct ext4_extent e = { 0 };
	struct ext4_inode in;
	u64 before = 0;
	u32 ino;

	if (missing())
		skip();
	make("-t ext3 -b 1024", 64);
	assert_int_equal(make_in(EXT4_ROOT_INO, "f", 0100644, &ino), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	for (u32 at = 0; at < 1536; at += e.count)
		assert_int_equal(ext4_map_write(fs, &in, at, 256 - at % 256, 1536 * 1024ULL, &e), 0);
	for (u32 at = 0; at < 1536; at++) {
		u32 tables = at < 12 || (at - 12) % 256 ? 0 : at == 268 ? 2 : 1;

		assert_int_equal(ext4_map(fs, &in, at, &e), 0);
		if (at)
			assert_int_equal(e.physical, before + 1 + tables);
		before = e.physical;
	}
	check();
	assert_int_equal(ext4_close(fs), 0);
}

static void unwritten(void **state)
{
	struct ext4_inode in;
	struct ext4_extent e;
	u32 ino;

	if (missing())
		skip();
	make("-t ext4 -b 1024", 32);
	assert_int_equal(make_in(EXT4_ROOT_INO, "f", 0100644, &ino), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(ext4_allocate(fs, &in, 0, 8000, 8000 * 1024), 0);
	check();
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	for (u32 i = 0; i < 900; i++)
		assert_int_equal(ext4_map_write(fs, &in, i * 7 % 8000, 1 + i % 3, 0, &e), 0);
	check();
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	for (u32 at = 0; at < 8000; at += e.count)
		assert_int_equal(ext4_map_write(fs, &in, at, 8000 - at, 0, &e), 0);
	check();
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	assert_int_equal(ext4_truncate(fs, &in, 0), 0);
	assert_int_equal(in.sectors, 0);
	check();
	assert_int_equal(ext4_close(fs), 0);
}

static void full_disk(void **state)
{
	struct ext4_inode in;
	struct ext4_stat st;
	char name[16];
	u32 ino, n = 0;
	int err = 0;

	if (missing())
		skip();
	make("-t ext4 -b 1024 -N 3000", 16);
	for (n = 0; !err; n++) {
		static u8 data[40000];

		str_format(name, sizeof(name), "f%u", n);
		err = make_in(EXT4_ROOT_INO, name, n % 5 ? 0100644 : 040755, &ino);
		if (!err && n % 5) {
			assert_int_equal(ext4_iget(fs, ino, &in), 0);
			err = min(ext4_write(fs, &in, 0, data, 700 + n * 37 % 30000), 0L);
		}
	}
	assert_int_equal(err, -ENOSPC);
	check();
	for (u32 i = 0; i + 1 < n; i++) {
		str_format(name, sizeof(name), "f%u", i);
		assert_int_equal(unlink_in(EXT4_ROOT_INO, name), 0);
	}
	check();
	ext4_statfs(fs, &st);
	assert_true(st.free_blocks > 10000);
	assert_int_equal(ext4_close(fs), 0);
}

/* ---- attributes
 * ------------------------------------------------------------------------------------------------------------ */

static void attributes(void **state)
{
	static const char *const names[] = { "user.a",   "trusted.longer-name", "security.capability",
					     "user.big", "user.another",        "system.posix_acl_access" };
	static const u8 acl[] = { 2, 0,    0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
				  0, 0xe9, 3,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
				  4, 0,    255, 255, 255, 255, 32, 0, 4,   0,   255, 255, 255, 255 };
	struct ext4_inode in;
	u8 value[2000], got[2000];
	char list[1000];
	u32 ino;

	if (missing())
		skip();
	make("-t ext4 -b 4096", 16);
	memset(value, 'v', sizeof(value));
	assert_int_equal(make_in(EXT4_ROOT_INO, "f", 0100644, &ino), 0);
	assert_int_equal(ext4_iget(fs, ino, &in), 0);
	for (unsigned round = 0; round < 40; round++) {
		for (unsigned i = 0; i < 5; i++) {
			size_t n = (round * 37 + i * 91) % (i == 3 ? 1900 : 60) + 1;

			assert_int_equal(ext4_setxattr(fs, &in, names[i], value, n, 0), 0);
			assert_int_equal(ext4_getxattr(fs, &in, names[i], got, sizeof(got)), n);
			assert_memory_equal(got, value, n);
		}
		if (round % 8 == 3)
			check();
		if (round % 8 == 3)
			assert_int_equal(ext4_iget(fs, ino, &in), 0);
		assert_int_equal(ext4_setxattr(fs, &in, names[round % 5], NULL, 0, 0), 0);
	}
	assert_int_equal(ext4_setxattr(fs, &in, names[5], acl, sizeof(acl), 1), 0);
	assert_int_equal(ext4_setxattr(fs, &in, names[5], acl, sizeof(acl), 1), -EEXIST);
	assert_int_equal(ext4_getxattr(fs, &in, names[5], got, sizeof(got)), sizeof(acl));
	assert_memory_equal(got, acl, sizeof(acl));
	assert_int_equal(ext4_setxattr(fs, &in, "user.none", NULL, 0, 2), -ENODATA);
	assert_int_equal(ext4_setxattr(fs, &in, "nothing", value, 1, 0), -EOPNOTSUPP);
	assert_int_equal(ext4_setxattr(fs, &in, "user.huge", got, 4096, 0), -ENOSPC);
	assert_true(ext4_listxattr(fs, &in, list, sizeof(list)) > 0);
	check();
	assert_int_equal(run("debugfs -R 'ea_get f user.big' image | head -c 30 | grep -q vvvv"), 0);
	assert_int_equal(unlink_in(EXT4_ROOT_INO, "f"), 0);
	check();
	assert_int_equal(ext4_close(fs), 0);
}

/* ---- orphans
 * ---------------------------------------------------------------------------------------------------------------- */

static void orphans(void **state)
{
	struct ext4_new what = { .mode = 0100600 };
	struct ext4_inode root, in[20];
	struct ext4_extent e;

	if (missing())
		skip();
	make("-t ext4 -b 1024", 32);
	assert_int_equal(ext4_iget(fs, EXT4_ROOT_INO, &root), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ext4_create(fs, &root, NULL, 0, &what, &in[i]), 0);
		assert_int_equal(ext4_map_write(fs, &in[i], i * 100, 50, (i * 100 + 50) * 1024, &e), 0);
	}
	for (int i = 0; i < 20; i += 3)
		assert_int_equal(ext4_delete(fs, &in[(i * 7) % 20]), 0);
	assert_int_equal(ext4_link(fs, &root, "named", 5, &in[10]), 0);
	assert_int_equal(ext4_sync(fs), 0);
	/* the power goes: both clean up alike */
	image(false);
	assert_int_equal(run("cp image cut"), 0);
	assert_int_equal(ext4_close(fs), 0);
	assert_in_range(run("e2fsck -fp image"), 0, 0x100);
	assert_int_equal(run("e2fsck -fn image && mv image theirs && mv cut image"), 0);
	image(true);
	open_fs();
	check();
	assert_int_equal(run("dumpe2fs -h image | grep '^Free' > a; dumpe2fs -h theirs | grep '^Free' > b; cmp a b"),
			 0);
	assert_int_equal(ext4_close(fs), 0);
}

/* ---- the random program
 * ------------------------------------------------------------------------------------------------------ */

#define FILES 48
#define SIZE  (1 << 18)

static struct model {
	u32 ino; /* 0: not there */
	bool is_dir;
	u32 size;
	u8 *data;
	char name[40];
	int parent; /* -1: root */
} files[FILES];

static u32 ino_of(int i)
{
	return i < 0 ? EXT4_ROOT_INO : files[i].ino;
}

static int pick(bool want_dir)
{
	for (int tries = 0; tries < 100; tries++) {
		int i = rnd(FILES);

		if (files[i].ino && files[i].is_dir == want_dir)
			return i;
	}
	return -1;
}

static bool has_children(int d)
{
	for (int i = 0; i < FILES; i++)
		if (files[i].ino && files[i].parent == d)
			return true;
	return false;
}

static bool is_below(int i, int top)
{
	for (; i >= 0; i = files[i].parent)
		if (i == top)
			return true;
	return false;
}

static void step_create(void)
{
	int i = rnd(FILES), parent = rnd(3) ? pick(true) : -1;
	struct model *f = &files[i];

	if (f->ino)
		return;
	str_format(f->name, sizeof(f->name), "name-%d-%u%s", i, rnd(1000), rnd(2) ? "-and-some-more" : "");
	f->is_dir = !rnd(4);
	f->parent = parent;
	f->size = 0;
	memset(f->data, 0, SIZE);
	assert_int_equal(make_in(ino_of(parent), f->name, f->is_dir ? 040755 : 0100644, &f->ino), 0);
}

static void step_remove(void)
{
	int i = rnd(FILES);

	if (!files[i].ino || (files[i].is_dir && has_children(i)))
		return;
	assert_int_equal(unlink_in(ino_of(files[i].parent), files[i].name), 0);
	files[i].ino = 0;
}

static void step_write(void)
{
	int i = pick(false);
	u32 at = rnd(4) ? rnd(SIZE) : 0, n;
	struct ext4_inode in;

	if (i < 0)
		return;
	n = min(rnd(3) ? rnd(9000) + 1 : 1 + rnd(60000), (u32)SIZE - at);
	for (u32 k = 0; k < n; k++)
		files[i].data[at + k] = rnd(256);
	files[i].size = max(files[i].size, at + n);
	assert_int_equal(ext4_iget(fs, files[i].ino, &in), 0);
	assert_int_equal(ext4_write(fs, &in, at, files[i].data + at, n), n);
}

static void step_resize(u32 block)
{
	int i = pick(false);
	struct ext4_inode in;
	u32 from, n, kind = rnd(4);

	if (i < 0)
		return;
	assert_int_equal(ext4_iget(fs, files[i].ino, &in), 0);
	if (!kind) {
		from = rnd(SIZE / block);
		n = 1 + rnd(20);
		memset(files[i].data + from * block, 0, min(n * block, SIZE - from * block));
		assert_int_equal(ext4_punch(fs, &in, from, from + n), 0);
	} else if (kind == 1 && in.flags & 0x80000) {
		from = rnd(SIZE / block - 30);
		n = 1 + rnd(30);
		assert_int_equal(ext4_allocate(fs, &in, from, n, (from + n) * block), 0);
		files[i].size = max(files[i].size, (from + n) * block);
	} else { /* whole blocks: what lies behind in the last one is the page cache's to clear */
		files[i].size = rnd(SIZE / block) * block;
		assert_int_equal(ext4_truncate(fs, &in, files[i].size), 0);
		memset(files[i].data + files[i].size, 0, SIZE - files[i].size);
	}
}

static void step_rename(void)
{
	int i = rnd(FILES), to = rnd(2) ? pick(true) : -1, j = rnd(4) ? -1 : (int)rnd(FILES);
	struct model *f = &files[i];
	struct ext4_inode from_dir, to_dir, in, other;
	struct ext4_place a, b;
	bool swap_them = rnd(2);
	char name[40];

	if (!f->ino || is_below(to, i) || i == j)
		return;
	if (j >= 0 && (!files[j].ino || is_below(files[j].parent, i) || is_below(f->parent, j) ||
		       files[j].is_dir != f->is_dir || (!swap_them && files[j].is_dir && has_children(j))))
		return;
	if (j >= 0)
		to = files[j].parent;
	str_format(name, sizeof(name), "renamed-%d-%u", i, rnd(100000));
	assert_int_equal(ext4_iget(fs, ino_of(f->parent), &from_dir), 0);
	assert_int_equal(ext4_iget(fs, ino_of(to), &to_dir), 0);
	assert_int_equal(ext4_iget(fs, f->ino, &in), 0);
	if (j >= 0)
		assert_int_equal(ext4_iget(fs, files[j].ino, &other), 0);
	a = (struct ext4_place){ &from_dir, f->name, strlen(f->name), &in };
	b = (struct ext4_place){ f->parent == to ? &from_dir : &to_dir, j >= 0 ? files[j].name : name, 0,
				 j >= 0 ? &other : NULL };
	b.len = strlen(b.name);
	assert_int_equal(ext4_rename(fs, &a, &b, j >= 0 && swap_them), 0);
	if (j >= 0 && swap_them) {
		struct model t = *f;

		memcpy(f->name, files[j].name, sizeof(f->name));
		f->parent = files[j].parent;
		memcpy(files[j].name, t.name, sizeof(t.name));
		files[j].parent = t.parent;
		return;
	}
	memcpy(f->name, b.name, b.len + 1);
	f->parent = to;
	if (j >= 0) {
		assert_int_equal(other.links, 0);
		assert_int_equal(ext4_delete(fs, &other), 0);
		files[j].ino = 0;
	}
}

static void compare_all(void)
{
	static u8 got[SIZE];

	for (int i = 0; i < FILES; i++) {
		struct ext4_inode in;
		u32 ino;

		if (!files[i].ino)
			continue;
		assert_int_equal(find(ino_of(files[i].parent), files[i].name, &ino), 0);
		assert_int_equal(ino, files[i].ino);
		assert_int_equal(ext4_iget(fs, ino, &in), 0);
		if (files[i].is_dir) {
			assert_int_equal(find(ino, "..", &ino), 0);
			assert_int_equal(ino, ino_of(files[i].parent));
			continue;
		}
		assert_int_equal(in.size, files[i].size);
		assert_int_equal(ext4_read(fs, &in, 0, got, SIZE), files[i].size);
		assert_memory_equal(got, files[i].data, files[i].size);
	}
}

static void random_program(const char *options, u32 block, unsigned steps)
{
	if (missing())
		skip();
	make(options, 48);
	for (int i = 0; i < FILES; i++) {
		files[i].ino = 0;
		files[i].data = files[i].data ? files[i].data : malloc(SIZE);
	}
	for (unsigned i = 1; i <= steps; i++) {
		switch (rnd(10)) {
		case 0:
		case 1: step_create(); break;
		case 2: step_remove(); break;
		case 3:
		case 4: step_resize(block); break;
		case 5:
		case 6: step_rename(); break;
		default: step_write();
		}
		if (i % 97 == 0)
			assert_int_equal(ext4_sync(fs), 0);
		if (i % 500 == 0) {
			compare_all();
			check();
			compare_all();
		}
	}
	assert_int_equal(ext4_close(fs), 0);
}

static void random_default(void **state)
{
	random_program("-t ext4 -b 4096", 4096, 3000);
}
static void random_small(void **state)
{
	random_program("-t ext4 -b 1024 -g 1024", 1024, 3000);
}
static void random_ext3(void **state)
{
	random_program("-t ext3 -b 1024", 1024, 2000);
}
static void random_ext2(void **state)
{
	random_program("-t ext2 -b 1024", 1024, 1500);
}
static void random_inline(void **state)
{
	random_program("-t ext4 -O inline_data,^64bit,^flex_bg -I 512 -b 2048", 2048, 1500);
}

static int start(void **state)
{
	disk = malloc(MAX_BYTES);
	return disk && mkdtemp(dir) ? 0 : -1;
}

static int finish(void **state)
{
	char command[128];

	for (int i = 0; i < FILES; i++)
		free(files[i].data);
	free(disk);
	str_format(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_default),
		cmocka_unit_test(names_long),
		cmocka_unit_test(names_without_index),
		cmocka_unit_test(names_old),
		cmocka_unit_test(extents),
		cmocka_unit_test(tables),
		cmocka_unit_test(tables_from_block_0),
		cmocka_unit_test(tables_in_front),
		cmocka_unit_test(unwritten),
		cmocka_unit_test(full_disk),
		cmocka_unit_test(attributes),
		cmocka_unit_test(orphans),
		cmocka_unit_test(random_default),
		cmocka_unit_test(random_small),
		cmocka_unit_test(random_ext3),
		cmocka_unit_test(random_ext2),
		cmocka_unit_test(random_inline),
	};

	return cmocka_run_group_tests(tests, start, finish);
}
