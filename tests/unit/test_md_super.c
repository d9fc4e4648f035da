/* SPDX-License-Identifier: MIT
 *
 * Problem: a superblock that is believed wrongly destroys data.
 *
 * Idea: a good superblock, then each way in which it can be bad; members of every age at assembly.
 *
 * Contract: one test a rule. The bytes themselves are judged against mdadm in tests/vm/raid-examine.sh. Locks: none.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <linux/raid/md_p.h>
#include <lib/err.h>
#include <lib/string.h>
#include <md/assemble.h>
#include <md/bitmap.h>

#define DEV 100000

static u64 buf[MD_SUPER_BYTES / 8];

static struct md_super good(u32 number)
{
	return (struct md_super){
		.level = 5,
		.layout = 2,
		.raid_disks = 3,
		.chunk = 128,
		.size = 90000 / 128 * 128,
		.data_offset = 2048,
		.data_size = 90000,
		.super_offset = 8,
		.dev_number = number,
		.max_dev = 4,
		.roles = { 0, 1, 2, MD_ROLE_JOURNAL },
		.events = 10,
		.resync_offset = MD_CLEAN,
		.set_uuid = { 1 },
		.features = MD_FEATURE_JOURNAL,
	};
}

static int check(struct md_super s)
{
	struct md_super out;
	int err;

	md_super_build(&s, buf);
	err = md_super_decode(buf, 8, &out);
	return err ? err : md_super_check(buf, &out, DEV);
}

static void refusals(void **state)
{
	struct md_super s = good(0), out;

	assert_int_equal(check(s), 0);
	((u8 *)buf)[257] ^= 1; /* inside dev_roles */
	assert_int_equal(md_super_decode(buf, 8, &out), 0);
	assert_int_equal(md_super_check(buf, &out, DEV), -EBADMSG);
	assert_int_equal(md_super_decode(buf, 0, &out), -EINVAL);
	((u8 *)buf)[0] ^= 1;
	assert_int_equal(md_super_decode(buf, 8, &out), -ENOENT);
	s.features |= 1 << 20;
	assert_int_equal(check(s), -EOPNOTSUPP);
	s = good(0);
	s.data_size = DEV;
	assert_int_equal(check(s), -EINVAL);
	s = good(0);
	s.data_offset = 0;
	assert_int_equal(check(s), -EINVAL);
	s = good(0);
	s.level = 7;
	assert_int_equal(check(s), -EINVAL);
	s = good(0);
	s.size = s.data_size + 1;
	assert_int_equal(check(s), -EINVAL);
	memset(buf, 0xff, sizeof(buf));
	((u32 *)buf)[0] = MD_SB_MAGIC;
	((u32 *)buf)[1] = 1;
	assert_int_equal(md_super_decode(buf, 8, &out), -EINVAL);
}

static void places(void **state)
{
	assert_int_equal(md_super_sector(0, 1001), 984);
	assert_int_equal(md_super_sector(1, 1000), 0);
	assert_int_equal(md_super_sector(2, 1000), 8);
	assert_int_equal(md_super_sector(3, 1000), -EINVAL);
	assert_int_equal(md_super_sector(0, 23), -EINVAL);
}

static void assembly(void **state)
{
	struct md_super m[6] = { good(0), good(1), good(2), good(3), good(1), good(2) };
	const struct md_super *sb[6] = { &m[0], &m[1], &m[2], &m[3], &m[4], &m[5] };
	enum md_verdict v[6];
	struct md_plan p;

	m[0].events = 11; /* one ahead: the others still count */
	m[5].set_uuid[0] = 2;
	assert_int_equal(md_assemble(sb, 6, &p, v), 0);
	assert_int_equal(p.newest, 0);
	assert_int_equal(p.missing, 0);
	assert_int_equal(p.journal, 3);
	assert_false(p.needs_journal || p.dirty);
	assert_int_equal(v[3], MD_JOURNAL_DEV);
	assert_int_equal(v[4], MD_DUPLICATE);
	assert_int_equal(v[5], MD_FOREIGN);
	m[0].events = 12; /* two ahead: they missed something */
	assert_int_equal(md_assemble(sb, 3, &p, v), 0);
	assert_int_equal(p.missing, 2);
	assert_int_equal(v[1], MD_STALE);
	assert_true(p.needs_journal);
	m[0].events = 11; /* the newest says that 1 failed; 1 does not know it */
	m[0].roles[1] = MD_ROLE_FAULTY;
	m[2].features |= MD_FEATURE_RECOVERY_OFFSET;
	assert_int_equal(md_assemble(sb, 3, &p, v), 0);
	assert_int_equal(v[1], MD_STALE);
	assert_int_equal(p.member[1], MD_NO_SLOT);
	assert_false(p.in_sync[2]);
	m[0].resync_offset = 0;
	assert_int_equal(md_assemble(sb, 3, &p, v), 0);
	assert_true(p.dirty);
	assert_int_equal(md_assemble(sb, 0, &p, v), -EINVAL);
}

static void bitmap(void **state)
{
	struct md_bitmap b = { .version = 4, .sync_sectors = 1000, .chunk_bytes = 65536, .events = 5 }, out;
	u8 disk[MD_BITMAP_HEADER], bits[8] = { 0 };

	md_bitmap_build(&b, disk);
	assert_int_equal(md_bitmap_decode(disk, &out), 0);
	assert_memory_equal(&b, &out, sizeof(b));
	assert_int_equal(md_bitmap_bits(&b), 8);
	assert_int_equal(md_bitmap_bytes(&b), 257);
	md_bitmap_set(bits, 0, true);
	md_bitmap_set(bits, 13, true);
	assert_int_equal(bits[1], 1 << 5);
	assert_int_equal(md_bitmap_count(bits, 14), 2);
	assert_int_equal(md_bitmap_count(bits, 13), 1);
	md_bitmap_set(bits, 13, false);
	assert_false(md_bitmap_test(bits, 13));
	b.chunk_bytes = 65537;
	md_bitmap_build(&b, disk);
	assert_int_equal(md_bitmap_decode(disk, &out), -EINVAL);
	disk[0]++;
	assert_int_equal(md_bitmap_decode(disk, &out), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refusals),
		cmocka_unit_test(places),
		cmocka_unit_test(assembly),
		cmocka_unit_test(bitmap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
