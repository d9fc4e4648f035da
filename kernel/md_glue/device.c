/* SPDX-License-Identifier: MIT
 *
 * Problem: an array must be there before it has members, so that mdadm can be told to make it: opening block device
 * 9:N is enough.
 *
 * Idea: the first open of a number makes an empty device, mdN, of no size; it stays for good. What it is made of
 * comes by ioctl.
 *
 *      open 9:N --> mdN, clear --SET_ARRAY_INFO, ADD_NEW_DISK--> inactive --RUN_ARRAY--> active --STOP_ARRAY--> clear
 *
 * Contract: md_glue.h. Numbers 0 to MD_MAX_MINOR - 1. /sys/module/md_mod/parameters/new_array makes one by name, as
 * clients do that do not want to make a device node.
 *
 * Locks: making arrays has its own, below the array's.
 */
#include <alloc/slab.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <vfs/device.h>
#include "md_glue.h"

struct md_array *md_arrays[MD_MAX_MINOR];
static struct mutex making = MUTEX_INIT(making, RANK_SUBSYS);

static const struct block_driver driver = { .queue = md_queue, .bypass = md_bypass, .ioctl = md_ioctl };

struct md_array *md_array_of(const struct block_dev *d)
{
	return d->whole->driver == &driver ? container_of(d->whole, struct md_array, block) : NULL;
}

void md_changed(struct md_array *a)
{
	__atomic_fetch_add(&a->version, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&md_stat_count, 1, __ATOMIC_SEQ_CST);
	waitq_wake_all(&md_stat_changed);
	attr_notify();
}

static void array_init(struct md_array *a, unsigned minor)
{
	a->minor = minor;
	a->safe_ns = MD_SAFE_NS;
	mutex_init(&a->lock, RANK_SUBSYS);
	mutex_init(&a->engine_lock, RANK_DEVICE);
	spin_init(&a->queue_lock, RANK_DRIVER);
	list_init(&a->disks);
	list_init(&a->to_issue);
	list_init(&a->unsent);
	list_init(&a->incoming);
	list_init(&a->completed);
	waitq_init(&a->wake);
	waitq_init(&a->idle);
	a->block.driver = &driver;
	a->block.rdev = DEV(MD_MAJOR, minor);
	a->block.limits = (struct block_limits){ .logical_block = SECTOR_SIZE,
						 .physical_block = PAGE_SIZE,
						 .max_bytes = MD_VECS * PAGE_SIZE,
						 .max_vecs = MD_VECS,
						 .write_cache = true,
						 .has_fua = true };
	str_format(a->block.name, sizeof(a->block.name), "md%u", minor);
}

static int make(unsigned minor)
{
	struct md_array *a = kzalloc(sizeof(*a), ALLOC_KERNEL);
	int err = -ENOMEM;

	if (!a)
		return -ENOMEM;
	array_init(a, minor);
	a->requests = kcalloc(MD_DEPTH, sizeof(*a->requests), ALLOC_KERNEL);
	if (a->requests)
		err = block_prepare(&a->block, 1, MD_DEPTH);
	if (!err)
		err = block_add(&a->block);
	if (err) {
		kfree(a->requests);
		kfree(a);
		return err;
	}
	err = md_files_add(a);
	if (!err)
		err = md_bitmap_files_add(a);
	if (err)
		log_warn("md%u: no files in sysfs: %d", minor, err);
	md_arrays[minor] = a;
	return 0;
}

static int make_once(unsigned minor)
{
	int err = 0;

	if (minor >= MD_MAX_MINOR)
		return -ENODEV;
	mutex_lock(&making);
	if (!md_arrays[minor])
		err = make(minor);
	mutex_unlock(&making);
	return err;
}

static void probe(u32 rdev)
{
	int err = make_once(DEV_MINOR(rdev));

	if (err)
		log_warn("md: no device for number %u: %d", DEV_MINOR(rdev), err);
}

/* "md5". Names without a number (md_home) would need numbers of their own. */
static int set_new_array(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	u64 n;

	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	if (!str_starts(text, "md") || str_to_u64(text + 2, 10, &n) || n >= MD_MAX_MINOR)
		return fail(EINVAL, "md: new_array wants mdN, N below %u", MD_MAX_MINOR);
	return make_once((unsigned)n);
}

static const struct attr new_array = { .name = "new_array", .mode = 0200, .set = set_new_array };
static const struct attr *const parameters[] = { &new_array, NULL };

static void md_init(void)
{
	ensure(!attr_folder_add(&attr_sys_root, "module/md_mod/parameters", parameters));
	md_stat_init();
	block_probe_register(MD_MAJOR, probe);
}
PART_INIT(driver, md_init);
