/* SPDX-License-Identifier: MIT
 *
 * Problem: iostat, lsblk, fdisk and mdadm read /proc/partitions and /proc/diskstats.
 *
 * Idea: both are walks of the list of devices.
 *
 * Contract: proc(5), Documentation/admin-guide/iostats of Linux 6.1 for the 17 columns.
 *
 * Locks: block_list_lock during the walk; the text is built under it, which is why show does not sleep.
 */
#include <block/block.h>
#include <core/init.h>
#include <vfs/device.h>
#include <vfs/textfile.h>

#include "block_priv.h"

static int show_partitions(struct strbuf *out)
{
	struct block_dev *d;

	strbuf_add(out, "major minor  #blocks  name\n\n");
	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link) {
		if (!d->sectors) /* an unbound loop device, an array that was stopped */
			continue;
		strbuf_add(out, "%4u  %7u %10llu %s\n", DEV_MAJOR(d->rdev), DEV_MINOR(d->rdev),
			   (unsigned long long)d->sectors / 2, d->name);
	}
	spin_unlock(&block_list_lock);
	return 0;
}

static int show_diskstats(struct strbuf *out)
{
	struct block_dev *d;

	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link) {
		strbuf_add(out, "%4u %7u %s ", DEV_MAJOR(d->rdev), DEV_MINOR(d->rdev), d->name);
		block_stat_line(d, out);
	}
	spin_unlock(&block_list_lock);
	return 0;
}

static struct proc_file partitions = { .name = "partitions", .show = show_partitions };
static struct proc_file diskstats = { .name = "diskstats", .show = show_diskstats };

static void procfiles_init(void)
{
	proc_file_register(&partitions);
	proc_file_register(&diskstats);
}
PART_INIT(fs, procfiles_init);
