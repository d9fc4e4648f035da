/* SPDX-License-Identifier: MIT
 *
 * Problem: disks and partitions must be found by number and by name, shown in /sys/block and /proc, and kept alive
 * while somebody uses them although the hardware may go at any time.
 *
 * Idea: one list of all devices. A disk owns its hardware queues; a partition is a small device that points to its disk
 * and adds its start to each bio. Numbers: drivers share one major of the local range (254) with 16 minors a disk;
 * partitions beyond those, and of disks with numbers of their own, are of major 259, as on Linux.
 *
 *      block_prepare --> queues exist --> block_add --> in the list, files made, table read by a worker
 *           ... block_remove --> dead, out of the list --> last reference (openers, files of /sys) --> driver->free
 *
 * Contract: block/block.h.
 *
 * Locks: block_list_lock (RANK_LEAF_SPIN) covers the list; devices are counted.
 */
#include <alloc/slab.h>
#include <block/block.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <vfs/device.h>

#include "block_priv.h"

#define BLOCK_MAJOR     254
#define MINORS_PER_DISK 16
#define BLOCK_EXT_MAJOR 259

struct list block_devices = LIST_INIT(block_devices);
struct spinlock block_list_lock = SPIN_INIT(RANK_LEAF_SPIN);
static struct attr_dir sys_block, *sys_dev_block, *sys_class_block;
static unsigned next_minor;
static u32 next_extended;
static u64 last_sequence;

int block_prepare(struct block_dev *d, unsigned nr_hwqs, unsigned depth)
{
	int err;

	d->whole = d;
	d->max_bytes_hw = d->limits.max_bytes;
	d->read_ahead_bytes = 128 << 10;
	refcount_set(&d->refs, 1);
	err = block_queues_init(d, nr_hwqs, depth);
	if (err)
		return err;
	err = block_policy_init(d);
	if (!err)
		err = block_share_init(d);
	if (err) {
		block_policy_free(d);
		block_queues_free(d);
	}
	return err;
}

/* /sys/block/NAME holds a reference while somebody has a file of it open. */
static void attrs_gone(struct attr_dir *dir)
{
	block_put(dir->owner);
}

const struct attr_dir_ops block_attr_ops = { .release = attrs_gone };

u32 block_extended_number(void)
{
	return DEV(BLOCK_EXT_MAJOR, __atomic_fetch_add(&next_extended, 1, __ATOMIC_RELAXED));
}

int block_publish(struct block_dev *d, struct attr_dir *parent)
{
	int err;

	refcount_inc(&d->refs);
	err = block_attrs_add(d, parent);
	if (err) {
		block_put(d);
		return err;
	}
	str_format(d->number, sizeof(d->number), "%u:%u", DEV_MAJOR(d->rdev), DEV_MINOR(d->rdev));
	if (attr_link_add(sys_dev_block, d->number, &d->attr) || attr_link_add(sys_class_block, d->name, &d->attr))
		log_warn("%s: no links in /sys", d->name);
	spin_lock(&block_list_lock);
	list_add_tail(&d->link, &block_devices);
	spin_unlock(&block_list_lock);
	err = block_node_add(d);
	if (err)
		block_unpublish(d);
	return err;
}

void block_unpublish(struct block_dev *d)
{
	spin_lock(&block_list_lock);
	list_del(&d->link);
	spin_unlock(&block_list_lock);
	block_node_remove(d);
	attr_link_remove(sys_dev_block, d->number);
	attr_link_remove(sys_class_block, d->name);
	attr_dir_remove(&d->attr);
}

void block_name_by_letters(struct block_dev *d, const char *prefix, unsigned n)
{
	if (n < 26)
		str_format(d->name, sizeof(d->name), "%s%c", prefix, 'a' + n);
	else
		str_format(d->name, sizeof(d->name), "%s%c%c", prefix, 'a' + n / 26 - 1, 'a' + n % 26);
}

int block_add(struct block_dev *d)
{
	int err;

	if (!d->rdev) {
		d->rdev = DEV(BLOCK_MAJOR, next_minor);
		d->minors = MINORS_PER_DISK;
		next_minor += MINORS_PER_DISK;
	}
	d->sequence = __atomic_add_fetch(&last_sequence, 1, __ATOMIC_RELAXED);
	err = block_publish(d, &sys_block);
	if (err)
		return err;
	if (d->sectors)
		log_info("%s: %llu MiB%s%s", d->name, (unsigned long long)(d->sectors >> 11),
			 d->limits.write_cache ? ", write cache" : "", d->limits.read_only ? ", read-only" : "");
	if (d->sectors)
		block_partitions_scan(d);
	return 0;
}

bool block_is_read_only(const struct block_dev *d)
{
	return d->set_read_only || d->limits.read_only || d->whole->set_read_only || d->whole->limits.read_only;
}

static bool get_live(struct block_dev *d)
{
	return refcount_inc_not_zero(&d->refs);
}

struct block_dev *block_find(u32 rdev)
{
	struct block_dev *d, *found = NULL;

	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link)
		if (d->rdev == rdev && get_live(d)) {
			found = d;
			break;
		}
	spin_unlock(&block_list_lock);
	return found;
}

struct block_dev *block_find_name(const char *name)
{
	struct block_dev *d, *found = NULL;

	if (str_starts(name, "/dev/"))
		name += 5;
	spin_lock(&block_list_lock);
	list_for_each_entry (d, &block_devices, link)
		if (!strcmp(d->name, name) && get_live(d)) {
			found = d;
			break;
		}
	spin_unlock(&block_list_lock);
	return found;
}

void block_put(struct block_dev *d)
{
	struct block_dev *disk = d->whole;

	if (!refcount_dec_and_test(&d->refs) || !block_file_free(d))
		return;
	if (disk != d) {
		kfree(d);
		block_put(disk);
		return;
	}
	block_share_free(d);
	block_policy_free(d);
	block_queues_free(d);
	if (d->driver->free)
		d->driver->free(d);
}

void block_remove(struct block_dev *d)
{
	d->dead = true;
	timer_cancel(&d->timeout_timer);
	block_share_open(d);
	if (d->nr_hwqs)
		block_queues_kill(d);
	block_partitions_drop(d);
	block_unpublish(d);
	block_put(d);
}

static void block_init(void)
{
	block_bio_init();
	block_file_init();
	if (attr_dir_init(&sys_block, &attr_sys_root, "block", NULL, NULL, NULL) ||
	    attr_shared_dir(&attr_sys_root, "dev/block", &sys_dev_block) ||
	    attr_shared_dir(&attr_sys_root, "class/block", &sys_class_block))
		panic("no memory for /sys/block at boot");
}
PART_INIT(core, block_init);
