/* SPDX-License-Identifier: MIT
 *
 * Problem: what files left behind stays in use for a flash disk or a sparse image until the device is told.
 *
 * Idea: FITRIM (fstrim) goes through the groups and tells of each run of free blocks, one group at a time under the
 * lock.
 *
 *      fstrim --FITRIM--> for each group: bitmap --> runs of free blocks --> BLOCK_DISCARD
 *
 * Contract: fstrim(8), ioctl_fstrim: start, len and minlen in bytes; len becomes what was told. EOPNOTSUPP: the device
 * has no use for it.
 *
 * Locks: super->lock, let go between groups.
 */
#include <arch/user.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/sched.h>
#include <task/task.h>
#include "glue.h"

static int trim(struct ext4_super *s, u64 first, u64 end, u64 least, u64 *blocks)
{
	u32 groups = ext4_group_of(s->fs, end - 1) + 1;
	int err = 0;

	for (u32 g = ext4_group_of(s->fs, first); g < groups && !err; g++) {
		ext4_lock(s);
		err = ext4_trim_group(s->fs, g, first, end, least, blocks);
		ext4_note(s->fs, err);
		ext4_unlock(s);
		if (fatal_signal_pending(current))
			err = -ERESTARTSYS;
		resched_point();
	}
	return err;
}

static long fitrim(struct ext4_super *s, struct fstrim_range __user *arg)
{
	struct fstrim_range r;
	struct ext4_stat st;
	u64 first, end, all, blocks = 0;
	int err;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	if (!s->dev->whole->limits.max_discard_bytes)
		return -EOPNOTSUPP;
	if (user_copy_in(&r, arg, sizeof(r)))
		return -EFAULT;
	if (s->super->flags & MS_RDONLY)
		return -EROFS;
	ext4_lock(s);
	ext4_statfs(s->fs, &st);
	ext4_unlock(s);
	all = st.first_block + st.blocks;
	first = max(r.start / s->block_bytes, st.first_block);
	if (r.start / s->block_bytes >= all || r.len < s->block_bytes)
		return -EINVAL;
	end = r.len / s->block_bytes > all - first ? all : r.start / s->block_bytes + r.len / s->block_bytes;
	err = end > first ? trim(s, first, min(end, all), DIV_ROUND_UP(r.minlen, s->block_bytes), &blocks) : 0;
	r.len = blocks * s->block_bytes;
	if (!err && user_copy_out(arg, &r, sizeof(r)))
		err = -EFAULT;
	return err;
}

long ext4_ioctl(struct file *f, unsigned cmd, ulong arg)
{
	return cmd == FITRIM ? fitrim(ext4_super_of(f->inode->super), (void __user *)arg) : -ENOTTY;
}
