/* SPDX-License-Identifier: MIT
 *
 * Problem: what reclaim took too early is to be counted, on small machines and on very big ones.
 *
 * Idea: pages of a file go and come again, with tables for machines of 256 MiB to 1 TiB.
 *
 * Contract: runs under ASan and UBSan on arch/hosted. Locks: none.
 */
#include "vfs_boot.h"
#include "../../kernel/vfs/vfs_priv.h"

static struct file *f;

static int boot(void **state)
{
	int err = vfs_boot(state);

	return err ? err : file_open_kernel("/f", O_RDWR | O_CREAT, 0644, &f);
}

static int end(void **state)
{
	file_put(f);
	refault_init(0);
	return 0;
}

static void comes_again(void **state)
{
	const u64 *pages = *state;
	u64 before = hosted_refaults();

	refault_init(*pages);
	refault_came(f->inode->cache, 5, 1);
	assert_int_equal(hosted_refaults() - before, 0); /* it was never here */
	refault_gone(f->inode->cache, 5);
	refault_gone(f->inode->cache, 1ULL << 40);
	refault_came(f->inode->cache, 5, 1);
	refault_came(f->inode->cache, 1ULL << 40, 1);
	assert_int_equal(hosted_refaults() - before, 2);
	refault_came(f->inode->cache, 5, 1);
	assert_int_equal(hosted_refaults() - before, 2); /* once */
}

static u64 small = 256ULL << 8, large = 33ULL << 18, huge = 1024ULL << 18;

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_prestate(comes_again, &small),
		cmocka_unit_test_prestate(comes_again, &large),
		cmocka_unit_test_prestate(comes_again, &huge),
	};

	return cmocka_run_group_tests(tests, boot, end);
}
