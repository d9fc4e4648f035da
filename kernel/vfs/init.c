/* SPDX-License-Identifier: MIT
 *
 * Problem: the parts of vfs need their caches in an order, before the first file system registers.
 *
 * Idea: one list of calls.
 *
 * Contract: vfs_init runs once at boot, in a task, after alloc and task are up; mounts need current's credentials.
 *
 * Locks: none.
 */
#include <alloc/page.h>
#include <vfs/cache.h>
#include "vfs_priv.h"

void vfs_init(void)
{
	struct page_stats memory;

	dentry_init();
	inode_init();
	cache_init();
	page_stats(&memory);
	refault_init(memory.total);
	mount_init();
	file_init();
}
