/* SPDX-License-Identifier: MIT
 *
 * Problem: tracing is controlled and read through files, at two places that clients look at.
 *
 * Idea: a view of the attribute tree that tree.c makes. debugfs is a root with nothing but a folder to mount tracefs
 * on.
 *
 *   tracing_on trace trace_pipe trace_marker set_event ...   events/SYSTEM/EVENT/   per_cpu/cpuN/   instances/NAME/
 *
 * Contract: Documentation/trace/ftrace.rst and events.rst of Linux.
 *
 * Locks: none; nothing changes after boot.
 */
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <linux/magic.h>
#include <vfs/vfs.h>
#include "tracefs_priv.h"

static int mount_tracefs(struct super *s, const char *source, const char *data)
{
	int err = trace_tree_make();

	return err ? err : attrfs_fill(s, &attr_trace_root, TRACEFS_MAGIC);
}

static int mount_debugfs(struct super *s, const char *source, const char *data)
{
	return attrfs_fill(s, &attr_debug_root, DEBUGFS_MAGIC);
}

static struct fs_type tracefs = { .name = "tracefs", .flags = FS_SINGLE | FS_NO_NEGATIVE, .mount = mount_tracefs };
static struct fs_type debugfs = { .name = "debugfs", .flags = FS_SINGLE | FS_NO_NEGATIVE, .mount = mount_debugfs };

static void tracefs_init(void)
{
	ensure(!attr_folder_add(&attr_sys_root, "kernel/tracing", NULL));
	ensure(!attr_folder_add(&attr_sys_root, "kernel/debug", NULL));
	ensure(!attr_folder_add(&attr_debug_root, "tracing", NULL));
	fs_register(&tracefs);
	fs_register(&debugfs);
}
PART_INIT(fs, tracefs_init);
