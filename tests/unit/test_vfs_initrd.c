/* SPDX-License-Identifier: MIT
 *
 * Problem: the first files come from an archive that may be damaged, and adopting its pages must not leak or share
 * memory.
 *
 * Idea: archives built here byte by byte, plain, doubled, cut at every length; one laid out on pages.
 *
 * Contract: runs under ASan and UBSan on arch/hosted. Locks: none.
 */
// libs: -lz -lzstd
#include "vfs_boot.h"
#include <zlib.h>
#include <zstd.h>
#include <stdio.h>
#include <stdlib.h>
#include <alloc/page.h>
#include <lib/cpio.h>
#include <vfs/initrd.h>

static size_t member(u8 *out, size_t at, const char *name, u32 mode, const char *data, size_t size, u32 nlink, u32 ino,
		     bool on_page)
{
	size_t len = strlen(name) + 1;
	char head[160];

	if (on_page)
		len += -(at + 110 + len) % PAGE_SIZE;
	snprintf(head, sizeof(head), "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", ino, mode, 5, 6,
		 nlink, 1000, size, 0, 0, 1, 3, len, 0);
	memcpy(out + at, head, 110);
	strcpy((char *)out + at + 110, name);
	at = (at + 110 + len + 3) & ~3UL;
	memcpy(out + at, data, size);
	return (at + size + 3) & ~3UL;
}

static size_t archive(u8 *out, size_t at)
{
	at = member(out, at, "d", S_IFDIR | 0750, "", 0, 2, 1, false);
	at = member(out, at, "./d/f", S_IFREG | 04755, "contents", 8, 1, 2, false);
	at = member(out, at, "d/l", S_IFLNK | 0777, "f", 1, 1, 3, false);
	at = member(out, at, "d/null", S_IFCHR | 0666, "", 0, 1, 4, false);
	at = member(out, at, "d/h1", S_IFREG | 0644, "", 0, 2, 5, false);
	at = member(out, at, "d/h2", S_IFREG | 0644, "linked", 6, 2, 5, false);
	return member(out, at, "TRAILER!!!", 0, "", 0, 1, 0, false);
}

static void plain_and_double(void **state)
{
	static u8 buf[8192];
	size_t n = archive(buf, 0);
	struct kstat st;
	struct path p;

	n = (n + 511) & ~511UL; /* zeros between */
	n = member(buf, n, "second", S_IFREG | 0600, "2", 1, 1, 2, false);
	n = member(buf, n, "TRAILER!!!", 0, "", 0, 1, 0, false);
	assert_int_equal(initrd_unpack(buf, sizeof(buf), false, NULL), 0);
	expect_file("/d/f", "contents");
	expect_file("/d/l", "contents");
	expect_file("/d/h1", "linked");
	expect_file("/second", "2");
	assert_int_equal(path_lookup(AT_FDCWD, "/d/f", 0, &p), 0);
	assert_int_equal(path_stat(&p, &st), 0);
	assert_int_equal(st.mode, S_IFREG | 04755);
	assert_int_equal(st.uid.v, 5);
	assert_int_equal(st.mtime.sec, 1000);
	path_put(&p);
	assert_int_equal(path_lookup(AT_FDCWD, "/d/null", 0, &p), 0);
	assert_int_equal(p.dentry->inode->rdev, 1 << 8 | 3);
	path_put(&p);
	assert_int_equal(initrd_unpack(buf, n, false, NULL), 0); /* again, over what is there */
	expect_file("/d/l", "contents");
}

static void cut_anywhere(void **state)
{
	u8 *buf = calloc(1, 4096);
	size_t n = archive(buf, 0);

	for (size_t cut = 0; cut <= n; cut++) {
		u8 *copy = malloc(cut ? cut : 1); /* exact size: reading beyond is an ASan report */
		struct cpio_member m;
		struct cpio c;
		int members = 0, r;

		memcpy(copy, buf, cut);
		cpio_begin(&c, copy, cut);
		while ((r = cpio_next(&c, &m)) > 0)
			members++;
		assert_true(members <= 6 && r <= 0);
		free(copy);
	}
	memcpy(buf + 6, "zzzzzzzz", 8);
	assert_int_equal(initrd_unpack(buf, n, false, NULL), -EINVAL);
	free(buf);
}

static void adopts_pages(void **state)
{
	struct page *block = page_alloc(5, ALLOC_ZERO, NULL); /* 128 KiB, stands for the loader's memory */
	static char data[3 * PAGE_SIZE + 100];
	u8 adopted[4] = { 0 }, *base = page_virt(block);
	paddr_t phys = page_phys(block);
	struct file *f;
	char got[100];
	size_t n, count = 0;

	memset(data, 'z', sizeof(data));
	n = member(base, 0, "big", S_IFREG | 0755, data, sizeof(data), 1, 9, true);
	n = (n + PAGE_SIZE - 1) & PAGE_MASK;
	n = member(base, n, "tight", S_IFREG | 0644, data, PAGE_SIZE + 10, 1, 10, true);
	n = member(base, n, "TRAILER!!!", 0, "", 0, 1, 0, false); /* right behind: the last page is not adopted */
	for (int i = 0; i < 32; i++)
		(void)page_adopt(phys + i * PAGE_SIZE);
	assert_int_equal(initrd_unpack(base, 32 * PAGE_SIZE, true, adopted), 0);
	for (int i = 0; i < 32; i++)
		count += adopted[i / 8] >> i % 8 & 1;
	assert_int_equal(count, 4 + 1);
	assert_int_equal(file_open_kernel("/big", O_RDWR, 0, &f), 0);
	assert_int_equal(file_read_at(f, got, 100, 3 * PAGE_SIZE), 100);
	assert_memory_equal(got, data, 100);
	assert_true(page_virt(cache_find(f->inode->cache, 0)) == base + PAGE_SIZE);
	page_put(cache_find(f->inode->cache, 0));
	page_put(cache_find(f->inode->cache, 0));
	file_put(f);
	assert_int_equal(file_open_kernel("/tight", O_RDONLY, 0, &f), 0);
	assert_int_equal(f->inode->size, PAGE_SIZE + 10);
	assert_int_equal(file_read_at(f, got, 100, PAGE_SIZE), 10);
	assert_memory_equal(got, data, 10);
	file_put(f);
}

static size_t pack_gzip(u8 *out, size_t room, const u8 *in, size_t n)
{
	z_stream z = { .next_in = (u8 *)in, .avail_in = n, .next_out = out, .avail_out = room };

	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, 0), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return room - z.avail_out;
}

static size_t pack_zstd(u8 *out, size_t room, const u8 *in, size_t n)
{
	size_t r = ZSTD_compress(out, room, in, n, 9);

	assert_false(ZSTD_isError(r));
	return r;
}

/* A packed archive, with a plain one before it, as microcode images are glued to initrds. */
static void packed_behind_plain(size_t (*pack)(u8 *, size_t, const u8 *, size_t), size_t damaged)
{
	static u8 plain[8192], image[16384];
	size_t first = member(image, 0, "early", S_IFREG | 0644, "plain", 5, 1, 1, false), n;

	first = member(image, first, "TRAILER!!!", 0, "", 0, 1, 0, false);
	n = member(plain, 0, "late", S_IFREG | 0644, "packed", 6, 1, 1, false);
	member(plain, n, "TRAILER!!!", 0, "", 0, 1, 0, false);
	n = first + pack(image + first, sizeof(image) - first, plain, sizeof(plain));
	assert_int_equal(initrd_unpack(image, n, false, NULL), 0);
	expect_file("/early", "plain");
	expect_file("/late", "packed");
	image[first + damaged] ^= 0xff;
	assert_int_equal(initrd_unpack(image, n, false, NULL), -EINVAL);
}

static void gzip_behind_plain(void **state)
{
	packed_behind_plain(pack_gzip, 40);
}

static void zstd_behind_plain(void **state)
{
	packed_behind_plain(pack_zstd, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(plain_and_double), cmocka_unit_test(cut_anywhere),
					    cmocka_unit_test(adopts_pages), cmocka_unit_test(gzip_behind_plain),
					    cmocka_unit_test(zstd_behind_plain) };
	return cmocka_run_group_tests(tests, vfs_boot, NULL);
}
