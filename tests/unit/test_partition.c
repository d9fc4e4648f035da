/* SPDX-License-Identifier: MIT
 *
 * Problem: partition tables of other makers must be read as Linux reads them, damaged ones must not be trusted.
 *
 * Idea: tables made byte by byte here, and, where sfdisk is installed, tables made by it; what we find is compared with
 * what it prints. Then each byte of the headers is flipped: either the backup serves or nothing is found.
 *
 * Contract: runs under ASan and UBSan. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include <block/partition.h>
#include <lib/err.h>
#include <lib/printf.h>

#define BLOCKS 16384

static u8 disk[BLOCKS * 512];

static int read_disk(void *ctx, u64 block, void *buf)
{
	memcpy(buf, disk + block * 512, 512);
	return 0;
}

static const struct partition_source source = { .nr_blocks = BLOCKS, .block_bytes = 512, .read = read_disk };
static struct partition found[PARTITION_MAX];

static int scan(void)
{
	return partition_scan(&source, found, PARTITION_MAX);
}

static void put32(u8 *p, u32 v)
{
	memcpy(p, &v, 4);
}

static void mbr_entry(u32 block, int i, u8 flags, u8 type, u32 start, u32 n)
{
	u8 *e = disk + block * 512 + 446 + 16 * i;

	e[0] = flags;
	e[4] = type;
	put32(e + 8, start);
	put32(e + 12, n);
	disk[block * 512 + 510] = 0x55;
	disk[block * 512 + 511] = 0xaa;
}

static void mbr_with_a_chain(void **state)
{
	memset(disk, 0, sizeof(disk));
	put32(disk + 440, 0xcafe1234);
	mbr_entry(0, 0, 0x80, 0x83, 63, 1000);
	mbr_entry(0, 1, 0, 0x05, 2000, 8000);
	mbr_entry(0, 2, 0, 0x82, 1100, 500);
	mbr_entry(2000, 0, 0, 0x83, 10, 100);
	mbr_entry(2000, 1, 0, 0x05, 1000, 500); /* relative to 2000 */
	mbr_entry(3000, 0, 0, 0x83, 20, 200);
	assert_int_equal(scan(), 5);
	assert_int_equal(found[0].number, 1);
	assert_true(found[0].bootable);
	assert_string_equal(found[0].uuid, "cafe1234-01");
	assert_int_equal(found[1].number, 3);
	assert_int_equal(found[2].number, 2);
	assert_int_equal(found[2].nr_sectors, 2);
	assert_int_equal(found[3].number, 5);
	assert_int_equal(found[3].start_sector, 2010);
	assert_int_equal(found[4].number, 6);
	assert_int_equal(found[4].start_sector, 3020);
	assert_int_equal(found[4].nr_sectors, 200);
	mbr_entry(3000, 1, 0, 0x05, 0, 500); /* points back: a loop */
	assert_int_equal(scan(), 5);
	mbr_entry(0, 0, 0x80, 0x83, 63, BLOCKS); /* past the end */
	assert_int_equal(scan(), 4);
	assert_int_equal(partition_scan(&source, found, 2), 2);
}

static void a_boot_sector_is_no_table(void **state)
{
	memset(disk, 0, sizeof(disk));
	memset(disk + 446, 0x90, 64); /* code of a FAT boot sector */
	disk[510] = 0x55;
	disk[511] = 0xaa;
	assert_int_equal(scan(), 0);
	memset(disk, 0, sizeof(disk));
	assert_int_equal(scan(), 0);
}

/* Runs sfdisk on a file with this script and loads the result. False when it is not installed. */
static bool sfdisk(const char *script)
{
	char path[] = "/tmp/ostrom-part-XXXXXX", command[512];
	int fd = mkstemp(path);
	ssize_t n;
	bool ok;

	assert_true(fd >= 0);
	memset(disk, 0, sizeof(disk));
	assert_int_equal(ftruncate(fd, sizeof(disk)), 0);
	str_format(command, sizeof(command), "printf '%s' | PATH=$PATH:/usr/sbin:/sbin sfdisk -q %s > /dev/null 2>&1",
		   script, path);
	ok = system(command) == 0;
	n = pread(fd, disk, sizeof(disk), 0);
	assert_int_equal(n, sizeof(disk));
	close(fd);
	unlink(path);
	return ok;
}

#define GPT_SCRIPT                                                                                                     \
	"label: gpt\\nfirst-lba: 34\\n"                                                                                \
	"start=64,size=2048,uuid=11111111-2222-3333-4444-555555555555,name=boot\\n"                                    \
	"start=4096,size=1000,uuid=AAAAAAAA-BBBB-CCCC-DDDD-EEEEEEEEEEEE,name=gr\\303\\274n\\n"

static void gpt_by_sfdisk(void **state)
{
	if (!sfdisk(GPT_SCRIPT))
		skip();
	assert_int_equal(scan(), 2);
	assert_int_equal(found[0].number, 1);
	assert_int_equal(found[0].start_sector, 64);
	assert_int_equal(found[0].nr_sectors, 2048);
	assert_string_equal(found[0].uuid, "11111111-2222-3333-4444-555555555555");
	assert_string_equal(found[0].name, "boot");
	assert_string_equal(found[1].uuid, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");
	assert_int_equal(found[1].start_sector, 4096);
}

static void a_damaged_primary_leaves_the_backup(void **state)
{
	if (!sfdisk(GPT_SCRIPT))
		skip();
	for (unsigned i = 512; i < 512 + 92; i++) {
		disk[i] ^= 0x5a;
		assert_int_equal(scan(), 2);
		assert_int_equal(found[1].start_sector, 4096);
		disk[i] ^= 0x5a;
	}
	disk[1024 + 33] ^= 1; /* the first entry's start */
	assert_int_equal(scan(), 2);
	disk[(BLOCKS - 1) * 512 + 20] ^= 1; /* and the backup's header */
	assert_int_equal(scan(), 0);
}

static void mbr_by_sfdisk(void **state)
{
	if (!sfdisk("label: dos\\nlabel-id: 0x0badcafe\\nstart=63,size=1000,bootable\\nstart=2048,type=5\\n"
		    "start=2111,size=500\\nstart=3000,size=600\\n"))
		skip();
	assert_int_equal(scan(), 4);
	assert_int_equal(found[2].start_sector, 2111);
	assert_int_equal(found[2].nr_sectors, 500);
	assert_int_equal(found[3].start_sector, 3000);
	assert_int_equal(found[3].number, 6);
	assert_string_equal(found[3].uuid, "0badcafe-06");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mbr_with_a_chain), cmocka_unit_test(a_boot_sector_is_no_table),
		cmocka_unit_test(gpt_by_sfdisk),    cmocka_unit_test(a_damaged_primary_leaves_the_backup),
		cmocka_unit_test(mbr_by_sfdisk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
