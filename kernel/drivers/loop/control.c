/* SPDX-License-Identifier: MIT
 *
 * Problem: loop devices come into being when somebody needs one.
 *
 * Idea: /dev/loop-control finds or makes a free one; opening the node of a number makes it as well. Devices stay until
 * they are removed.
 *
 * Contract: linux/loop.h; numbers 7:N for N below MAX_LOOPS. LOOP_CTL_REMOVE of one that is bound, open or claimed:
 * EBUSY.
 *
 * Locks: control_lock (RANK_EXEC, outside each loop's lock) covers the list.
 */
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/capability.h>
#include <linux/major.h>
#include <linux/stat.h>
#include <task/user_ns.h>
#include <vfs/device.h>

#include "loop_priv.h"

#define MAX_LOOPS       256
#define LOOP_CTRL_MINOR 237 /* Documentation/admin-guide/devices.txt of Linux */

static LIST(loops);
static struct mutex control_lock = MUTEX_INIT(control_lock, RANK_EXEC);

struct loop *loop_of(struct block_dev *d)
{
	return container_of(d, struct loop, block);
}

static void loop_free(struct block_dev *d)
{
	struct loop *l = loop_of(d);

	kfree(l->commands);
	kfree(l->vec);
	kfree(l);
}

static int ioctl(struct block_dev *d, unsigned cmd, ulong arg)
{
	return (int)loop_ioctl(d, cmd, arg);
}

const struct block_driver loop_driver = {
	.queue = loop_queue, .ioctl = ioctl, .release = loop_released, .free = loop_free
};

static struct loop *find(unsigned number)
{
	struct loop *l;

	list_for_each_entry (l, &loops, link)
		if (l->number == number)
			return l;
	return NULL;
}

static void loop_init(struct loop *l, unsigned number)
{
	l->number = number;
	mutex_init(&l->lock, RANK_SUBSYS);
	spin_init(&l->queue_lock, RANK_DRIVER);
	list_init(&l->queue);
	waitq_init(&l->wake);
	waitq_init(&l->idle);
	work_init(&l->autoclear, loop_autoclear);
	l->block.driver = &loop_driver;
	l->block.rdev = DEV(LOOP_MAJOR, number);
	l->block.limits = (struct block_limits){ .logical_block = SECTOR_SIZE,
						 .physical_block = SECTOR_SIZE,
						 .max_bytes = LOOP_VECS * PAGE_SIZE,
						 .max_vecs = LOOP_VECS };
	str_format(l->block.name, sizeof(l->block.name), "loop%u", number);
}

/* control_lock held. The number, or -errno. */
static int add(unsigned number)
{
	struct loop *l;
	int err;

	if (number >= MAX_LOOPS)
		return -ENOSPC;
	if (find(number))
		return -EEXIST;
	l = kzalloc(sizeof(*l), ALLOC_KERNEL);
	if (!l)
		return -ENOMEM;
	loop_init(l, number);
	err = block_prepare(&l->block, 1, LOOP_DEPTH);
	if (err) {
		kfree(l);
		return err;
	}
	list_add_tail(&l->link, &loops);
	err = block_add(&l->block);
	if (err) {
		list_del(&l->link);
		block_put(&l->block);
	}
	return err ? err : (int)number;
}

static int first_unused(void)
{
	for (unsigned n = 0; n < MAX_LOOPS; n++)
		if (!find(n))
			return (int)n;
	return -ENOSPC;
}

static int remove_one(unsigned number)
{
	struct loop *l = find(number);
	bool busy;

	if (!l)
		return -ENODEV;
	mutex_lock(&l->lock);
	busy = l->backing || atomic_read(&l->block.openers) || l->block.holder;
	mutex_unlock(&l->lock);
	if (busy)
		return -EBUSY;
	list_del(&l->link);
	block_remove(&l->block);
	return (int)number;
}

static int get_free(void)
{
	unsigned best = MAX_LOOPS;
	struct loop *l;

	list_for_each_entry (l, &loops, link)
		if (!READ_ONCE(l->backing) && !atomic_read(&l->block.openers))
			best = min(best, l->number);
	if (best < MAX_LOOPS)
		return (int)best;
	return first_unused() < 0 ? -ENOSPC : add((unsigned)first_unused());
}

static long control(struct file *f, unsigned cmd, ulong arg)
{
	long n = -ENOSYS;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	mutex_lock(&control_lock);
	switch (cmd) {
	case LOOP_CTL_ADD:
		n = (int)arg >= 0 ? (int)arg : first_unused();
		n = n < 0 ? n : add((unsigned)n);
		break;
	case LOOP_CTL_REMOVE: n = (int)arg < 0 ? -EINVAL : remove_one((unsigned)arg); break;
	case LOOP_CTL_GET_FREE: n = get_free(); break;
	}
	mutex_unlock(&control_lock);
	return n;
}

static void probe(u32 rdev)
{
	mutex_lock(&control_lock);
	if (DEV_MINOR(rdev) < MAX_LOOPS && !find(DEV_MINOR(rdev)) && add(DEV_MINOR(rdev)) < 0)
		log_warn("loop%u: cannot be made", DEV_MINOR(rdev));
	mutex_unlock(&control_lock);
}

static const struct file_ops control_ops = { .ioctl = control, .llseek = no_llseek };
static struct chrdev control_dev = {
	.dev = DEV(MISC_MAJOR, LOOP_CTRL_MINOR), .count = 1, .name = "loop-control", .ops = &control_ops
};

static void loop_register(void)
{
	block_probe_register(LOOP_MAJOR, probe);
	chrdev_register(&control_dev);
	if (devnode_add("loop-control", S_IFCHR | 0660, control_dev.dev))
		log_warn("loop: no /dev/loop-control");
}
PART_INIT(driver, loop_register);
