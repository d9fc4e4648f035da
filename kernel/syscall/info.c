/* SPDX-License-Identifier: MIT
 *
 * Problem: what the system says of itself: its name, its load, its log, random bytes; and its end.
 *
 * Idea: small calls, each a copy of what other parts know.
 *
 * Contract: uname(2), sysinfo(2), getrandom(2), syslog(2), reboot(2), sethostname(2). The release is
 * 6.1.0-ostrom unless osrelease= on the command line says otherwise.
 *
 * Locks: none of its own.
 */
#include <abi/syscalls.h>
#include <core/init.h>
#include <vfs/textfile.h>
#include <alloc/page.h>
#include <arch/boot.h>
#include <arch/user.h>
#include <core/clock.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/random.h>
#include <linux/reboot.h>
#include <linux/sysinfo.h>
#include <process/namespaces.h>
#include <process/process.h>
#include <syscall/info.h>
#include <task/sched.h>

#define NAME_BYTES 65

void info_init(void)
{
	char release[NAME_BYTES];

	if (boot_param("osrelease", release, sizeof(release)) && release[0])
		str_copy(uts_first.name.release, release, sizeof(uts_first.name.release));
}

long sys_uname(void __user *buf)
{
	struct new_utsname n;

	uts_get(&n);
	if (current->process->personality & 0x0020000) /* UNAME26 of linux/personality.h: old programs */
		str_copy(n.release, "2.6.61", sizeof(n.release));
	return user_put(buf, &n, sizeof(n)) ? -EFAULT : 0;
}

static long set_name(bool domain, const char __user *from, int len)
{
	char name[NAME_BYTES] = { 0 };

	if (len < 0 || len >= NAME_BYTES)
		return -EINVAL;
	if (user_get(name, from, len))
		return -EFAULT;
	return uts_set_name(domain, name);
}

long sys_sethostname(const char __user *name, int len)
{
	return set_name(false, name, len);
}

long sys_setdomainname(const char __user *name, int len)
{
	return set_name(true, name, len);
}

long sys_sysinfo(void __user *info)
{
	struct page_stats pages;
	struct sched_load load;
	struct sysinfo s;

	page_stats(&pages);
	sched_load(&load);
	memset(&s, 0, sizeof(s));
	s.uptime = clock_ns() / NSEC_PER_SEC;
	for (int i = 0; i < 3; i++)
		s.loads[i] = load.load_avg[i] << (SI_LOAD_SHIFT - 11);
	s.totalram = pages.total << PAGE_SHIFT;
	s.freeram = pages.free << PAGE_SHIFT;
	s.bufferram = 0;
	s.procs = load.total;
	s.mem_unit = 1;
	return user_put(info, &s, sizeof(s)) ? -EFAULT : 0;
}

long sys_getrandom(void __user *buf, size_t count, u32 flags)
{
	u8 part[256];
	size_t done = 0;

	if ((flags & ~(u32)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) ||
	    (flags & (GRND_RANDOM | GRND_INSECURE)) == (GRND_RANDOM | GRND_INSECURE))
		return -EINVAL;
	count = min(count, (size_t)0x1ffffff);
	while (done < count) {
		size_t n = min(count - done, sizeof(part));

		random_get(part, n);
		if (user_put((u8 __user *)buf + done, part, n))
			return done ? (long)done : -EFAULT;
		done += n;
		if (done < count && signal_pending(current))
			break;
		resched_point();
	}
	memset(part, 0, sizeof(part));
	return done;
}

/* A container's end is not the machine's. Source: reboot(2), "Behavior inside PID namespaces". */
static long reboot_namespace(u32 cmd)
{
	switch (cmd) {
	case LINUX_REBOOT_CMD_RESTART:
	case LINUX_REBOOT_CMD_RESTART2: pid_ns_reboot(pid_ns_current(), SIGHUP);
	case LINUX_REBOOT_CMD_HALT:
	case LINUX_REBOOT_CMD_POWER_OFF: pid_ns_reboot(pid_ns_current(), SIGINT);
	default: return -EINVAL;
	}
}

long sys_reboot(int magic1, int magic2, u32 cmd, void __user *arg)
{
	if ((u32)magic1 != LINUX_REBOOT_MAGIC1 || (magic2 != LINUX_REBOOT_MAGIC2 && magic2 != LINUX_REBOOT_MAGIC2A &&
						   magic2 != LINUX_REBOOT_MAGIC2B && magic2 != LINUX_REBOOT_MAGIC2C))
		return -EINVAL;
	if (!ns_capable(pid_ns_as_ns(pid_ns_current())->owner, CAP_SYS_BOOT))
		return -EPERM;
	if (!pid_ns_is_first(pid_ns_current()))
		return reboot_namespace(cmd);
	switch (cmd) {
	case LINUX_REBOOT_CMD_RESTART:
	case LINUX_REBOOT_CMD_RESTART2: machine_reboot();
	case LINUX_REBOOT_CMD_HALT:
	case LINUX_REBOOT_CMD_POWER_OFF: machine_power_off(0);
	case LINUX_REBOOT_CMD_CAD_ON:
	case LINUX_REBOOT_CMD_CAD_OFF: return 0;
	default: return -EINVAL;
	}
}

static int show_version(struct strbuf *out)
{
	struct new_utsname n;

	uts_get(&n);
	strbuf_add(out, "%s version %s (%s) %s\n", n.sysname, n.release, n.nodename, n.version);
	return 0;
}

static struct proc_file version = { .name = "version", .show = show_version };

static void version_init(void)
{
	proc_file_register(&version);
}
PART_INIT(fs, version_init);
