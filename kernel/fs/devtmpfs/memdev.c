/* SPDX-License-Identifier: MIT
 *
 * Problem: /dev/null, zero, full, random, urandom, kmsg and port are devices without a machine behind them, and every
 * program expects them.
 *
 * Idea: one open function that swaps in the operations of the minor number; each device is a read and a write.
 *
 * Contract: null(4), full(4), random(4), mem(4) for port; the records of kmsg as in Linux's Documentation/ABI/testing/
 * dev-kmsg: "level,sequence,microseconds,-;text".
 *
 * Locks: none of their own.
 */
#include <arch/io.h>
#include <arch/user.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <linux/random.h>
#include <task/sched.h>
#include <task/task.h>
#include <vfs/device.h>
#include <vfs/poll.h>
#include <vfs/uapi.h>
#include "devtmpfs_priv.h"

/* ---- null, zero, full ------------------------------------------------------------------------------------------- */

static ssize_t read_nothing(struct io *io)
{
	return 0;
}

static ssize_t write_all(struct io *io)
{
	ssize_t n = io->iter.count;

	iter_advance(&io->iter, n);
	return n;
}

static ssize_t write_full(struct io *io)
{
	return io->iter.count ? -ENOSPC : 0;
}

static ssize_t read_zeros(struct io *io)
{
	ssize_t total = 0;

	while (io->iter.count) {
		size_t want = min(io->iter.count, PAGE_SIZE), n = iter_clear(want, &io->iter);

		total += n;
		if (n < want)
			return total ? total : -EFAULT;
		resched_point();
		if (signal_pending(current))
			break;
	}
	return total;
}

/* A mapping of /dev/zero is anonymous memory; a shared one has no object to share through here. */
static int mmap_zero(struct file *f, unsigned prot, unsigned map_flags, u64 *index, size_t bytes, struct mapping **out)
{
	*out = NULL;
	return 0;
}

static s64 seek_to_zero(struct file *f, s64 off, int whence)
{
	return f->pos = 0;
}

/* ---- random ---------------------------------------------------------------------------------------------------------
 */

static ssize_t read_random(struct io *io)
{
	ssize_t total = 0;
	u8 buf[256];

	while (io->iter.count) {
		size_t n = min(sizeof(buf), io->iter.count), done;

		random_get(buf, n);
		done = iter_copy_out(buf, n, &io->iter);
		total += done;
		if (done < n)
			return total ? total : -EFAULT;
		resched_point();
		if (signal_pending(current))
			break;
	}
	memset(buf, 0, sizeof(buf));
	return total;
}

static ssize_t write_random(struct io *io)
{
	ssize_t total = 0;
	u8 buf[64];

	while (io->iter.count) {
		size_t n = min(sizeof(buf), io->iter.count), done = iter_copy_in(buf, n, &io->iter);

		random_add(buf, done);
		total += done;
		if (done < n)
			return total ? total : -EFAULT;
	}
	return total;
}

static long ioctl_random(struct file *f, unsigned cmd, ulong arg)
{
	int bits = 256; /* as /proc/sys/kernel/random/entropy_avail */

	if (cmd != RNDGETENTCNT)
		return -EINVAL;
	return user_put((void __user *)arg, &bits, sizeof(bits)) ? -EFAULT : 0;
}

/* ---- kmsg ------------------------------------------------------------------------------------------------ */

static struct waitq kmsg_wait = WAITQ_INIT(kmsg_wait);

static void kmsg_wake(void)
{
	if (waitq_active(&kmsg_wait))
		waitq_wake(&kmsg_wait, -1, EPOLLIN | EPOLLRDNORM);
}

static ssize_t read_kmsg(struct io *io)
{
	struct log_line line;
	u64 pos = io->pos;
	char text[640];
	int n, err;

	while (log_read(&pos, &line) < 0) {
		if (io->file->flags & O_NONBLOCK)
			return -EAGAIN;
		err = wait_event_interruptible(&kmsg_wait, log_end() > pos);
		if (err)
			return err;
	}
	n = str_format(text, sizeof(text), "%u,%llu,%llu,-;%s\n", line.level, (unsigned long long)line.seq,
		       (unsigned long long)line.time_ns / 1000, line.text);
	if ((size_t)n > io->iter.count)
		return -EINVAL;
	if (iter_copy_out(text, n, &io->iter) < (size_t)n)
		return -EFAULT;
	io->pos = pos;
	return n;
}

/* "<level>text": the level is optional, a facility in it is left out. */
static ssize_t write_kmsg(struct io *io)
{
	enum log_level level = LOG_WARN;
	char text[1024], *at = text;
	size_t n = min(io->iter.count, sizeof(text) - 1);
	ssize_t total = io->iter.count;

	if (iter_copy_in(text, n, &io->iter) < n)
		return -EFAULT;
	text[n] = '\0';
	if (*at == '<') {
		unsigned v = 0;
		char *p = at + 1;

		while (*p >= '0' && *p <= '9')
			v = v * 10 + (*p++ - '0');
		if (*p == '>' && p > at + 1) {
			level = v & 7;
			at = p + 1;
		}
	}
	log_print(level, "%s", at);
	return total;
}

static s64 seek_kmsg(struct file *f, s64 off, int whence)
{
	if (off)
		return -ESPIPE;
	switch (whence) {
	case SEEK_SET:
	case SEEK_DATA: f->pos = 0; break; /* the oldest record that is left */
	case SEEK_END: f->pos = log_end(); break;
	default: return -EINVAL;
	}
	return 0;
}

static unsigned poll_kmsg(struct file *f, struct poll_table *pt)
{
	poll_wait(f, &kmsg_wait, pt);
	return EPOLLOUT | EPOLLWRNORM | (log_end() > (u64)f->pos ? EPOLLIN | EPOLLRDNORM : 0);
}

/* ---- port ------------------------------------------------------------------------------------------------ */

static int open_port(struct inode *i, struct file *f)
{
	return capable(CAP_SYS_RAWIO) ? 0 : -EPERM;
}

static ssize_t read_port(struct io *io)
{
	ssize_t total = 0;

	for (; io->iter.count && io->pos < 65536; io->pos++, total++) {
		u8 v = port_in8(io->pos);

		if (!iter_copy_out(&v, 1, &io->iter))
			return total ? total : -EFAULT;
	}
	return total;
}

static ssize_t write_port(struct io *io)
{
	ssize_t total = 0;
	u8 v;

	for (; io->iter.count && io->pos < 65536; io->pos++, total++) {
		if (!iter_copy_in(&v, 1, &io->iter))
			return total ? total : -EFAULT;
		port_out8(io->pos, v);
	}
	return total;
}

/* ---- the table ------------------------------------------------------------------------------------------- */

static const struct file_ops null_ops = { .read = read_nothing, .write = write_all, .llseek = seek_to_zero };
static const struct file_ops zero_ops = {
	.read = read_zeros, .write = write_all, .llseek = seek_to_zero, .mmap = mmap_zero
};
static const struct file_ops full_ops = { .read = read_zeros, .write = write_full, .llseek = seek_to_zero };
static const struct file_ops random_ops = {
	.read = read_random, .write = write_random, .llseek = seek_to_zero, .ioctl = ioctl_random
};
static const struct file_ops kmsg_ops = {
	.read = read_kmsg, .write = write_kmsg, .llseek = seek_kmsg, .poll = poll_kmsg
};
static const struct file_ops port_ops = { .open = open_port, .read = read_port, .write = write_port };

static const struct {
	unsigned minor;
	const char *name;
	u16 mode;
	const struct file_ops *ops;
} devices[] = {
	{ 3, "null", 0666, &null_ops },  { 4, "port", 0640, &port_ops },     { 5, "zero", 0666, &zero_ops },
	{ 7, "full", 0666, &full_ops },  { 8, "random", 0666, &random_ops }, { 9, "urandom", 0666, &random_ops },
	{ 11, "kmsg", 0644, &kmsg_ops },
};

static int open_memory_device(struct inode *i, struct file *f)
{
	for (unsigned n = 0; n < ARRAY_SIZE(devices); n++) {
		if (devices[n].minor != DEV_MINOR(i->rdev))
			continue;
		f->ops = devices[n].ops;
		return f->ops->open ? f->ops->open(i, f) : 0;
	}
	return -ENXIO;
}

static const struct file_ops open_ops = { .open = open_memory_device };
static struct chrdev memory_devices = { .dev = DEV(MEM_MAJOR, 1), .count = 12, .name = "mem", .ops = &open_ops };

void memory_devices_init(void)
{
	chrdev_register(&memory_devices);
	for (unsigned n = 0; n < ARRAY_SIZE(devices); n++)
		(void)devnode_add(devices[n].name, S_IFCHR | devices[n].mode, DEV(MEM_MAJOR, devices[n].minor));
	log_wake = kmsg_wake;
}
