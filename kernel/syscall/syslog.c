/* SPDX-License-Identifier: MIT
 *
 * Problem: dmesg reads the kernel's log by one old call with many actions.
 *
 * Idea: the log ring is read through positions; "clear" only remembers one. Lines are formatted as
 * the ring's readers expect: <level>[seconds.micros] text.
 *
 * Contract: syslog(2). Reading all gives the last lines that fit. Blocking reads (action 2) are served
 * by /dev/kmsg's reader instead and give what is there.
 *
 * Locks: none of its own; positions are read and set atomically.
 */
#include <abi/syscalls.h>
#include <alloc/slab.h>
#include <arch/user.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/capability.h>
#include <task/task.h>

enum {
	CLOSE,
	OPEN,
	READ,
	READ_ALL,
	READ_CLEAR,
	CLEAR,
	CONSOLE_OFF,
	CONSOLE_ON,
	CONSOLE_LEVEL,
	SIZE_UNREAD,
	SIZE_BUFFER
};

#define RING_BYTES (64 << 10) /* what dmesg is told to allocate */
#define LINE_BYTES 600

static u64 cleared_at, read_at;

/* Both buffers of one line: too large for the stack. */
struct scratch {
	struct log_line line;
	char text[LINE_BYTES];
};

static int next_line(struct scratch *s, u64 *pos)
{
	int n = log_read(pos, &s->line);

	if (n < 0)
		return n;
	return min(str_format(s->text, LINE_BYTES, "<%d>[%5llu.%06llu] %s\n", s->line.level,
			      (unsigned long long)(s->line.time_ns / NSEC_PER_SEC),
			      (unsigned long long)(s->line.time_ns % NSEC_PER_SEC / 1000), s->line.text),
		   LINE_BYTES - 1);
}

static long total_from(struct scratch *s, u64 pos)
{
	long total = 0;
	int n;

	while ((n = next_line(s, &pos)) >= 0)
		total += n;
	return total;
}

/* Copies lines from *pos on; those that would not fit before the last ones are left out if `newest`. */
static long copy_lines(struct scratch *s, char __user *buf, int len, u64 *pos, bool newest)
{
	long left_out = newest ? total_from(s, *pos) - len : 0, done = 0;
	u64 at = *pos;
	int n;

	while ((n = next_line(s, &at)) >= 0) {
		if (left_out > 0) {
			left_out -= n;
			*pos = at;
			continue;
		}
		if (done + n > len)
			break;
		if (user_put(buf + done, s->text, n))
			return done ? done : -EFAULT;
		done += n;
		*pos = at;
	}
	return done;
}

static long read_log(int type, char __user *buf, int len)
{
	struct scratch *s;
	u64 pos = type == READ ? READ_ONCE(read_at) : READ_ONCE(cleared_at);
	long done;

	if (type != SIZE_UNREAD && (!buf || len < 0))
		return -EINVAL;
	s = kmalloc(sizeof(*s), 0);
	if (!s)
		return -ENOMEM;
	done = type == SIZE_UNREAD ? total_from(s, READ_ONCE(read_at)) : copy_lines(s, buf, len, &pos, type != READ);
	kfree(s);
	if (type == READ && done > 0)
		WRITE_ONCE(read_at, pos);
	if (type == READ_CLEAR && done >= 0)
		WRITE_ONCE(cleared_at, log_end());
	return done;
}

long sys_syslog(int type, char __user *buf, int len)
{
	if (type != READ_ALL && type != SIZE_BUFFER && !capable(CAP_SYSLOG))
		return -EPERM;
	switch (type) {
	case CLOSE:
	case OPEN: return 0;
	case READ:
	case READ_ALL:
	case READ_CLEAR:
	case SIZE_UNREAD: return read_log(type, buf, len);
	case CLEAR: WRITE_ONCE(cleared_at, log_end()); return 0;
	case CONSOLE_OFF: log_level = 1; return 0;
	case CONSOLE_ON: log_level = LOG_LEVEL_DEFAULT; return 0;
	case CONSOLE_LEVEL:
		if (len < 1 || len > 8)
			return -EINVAL;
		log_level = len;
		return 0;
	case SIZE_BUFFER: return RING_BYTES;
	default: return -EINVAL;
	}
}
