/* SPDX-License-Identifier: MIT
 *
 * Problem: programs and libraries read what the kernel is and how far its limits go from /proc/sys/kernel, fs, vm
 * and user.
 *
 * Idea: rows of constant numbers, and a function for what changes. Only what is true here has a file: a knob that
 * nothing obeys would be a lie, so there is none.
 *
 * Contract: proc(5). hostname and domainname can be written (uts names).
 *
 * Locks: none of its own.
 */
#include <arch/cpu.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <core/random.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/capability.h>
#include <linux/utsname.h>
#include <mm/mm.h>
#include <alloc/page.h>
#include <alloc/slab.h>
#include <process/namespaces.h>
#include <task/cred.h>
#include <task/task.h>
#include <task/user_ns.h>
#include <process/process.h>
#include <vfs/inotify.h>
#include <vfs/pipe.h>

/* ---- names ---------------------------------------------------------------------------------------------- */

static int show_name(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	struct new_utsname n;

	uts_get(&n);
	strbuf_add(out, "%s\n", (const char *)&n + a->data);
	return 0;
}

static int set_name(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	if (len && text[len - 1] == '\n')
		text[--len] = '\0';
	if (len > __NEW_UTS_LEN)
		return -EINVAL;
	return uts_set_name(a->data == offsetof(struct new_utsname, domainname), text);
}

/* ---- numbers ---------------------------------------------------------------------------------------------- */

static int show_number(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", a->data);
	return 0;
}

/* ---- numbers that can be set ------------------------------------------------------------------------------------ */

/* Of the namespace of who looks. */
static int show_ns_max(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", READ_ONCE(current->cred->user_ns->max[a->data]));
	return 0;
}

static int set_ns_max(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, INT32_MAX, &v);

	if (!err)
		WRITE_ONCE(current->cred->user_ns->max[a->data], v);
	return err;
}

static int show_pid_max(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\n", pid_max());
	return 0;
}

static int set_pid_max(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v;
	int err = attr_parse_u32(text, len, 0, INT32_MAX, &v);

	return err ? err : pid_set_max(v);
}

static int show_pipe_max(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", READ_ONCE(pipe_max_slots) * PAGE_SIZE);
	return 0;
}

/* Rounded up to what a pipe can have: a power of two of pages. */
static int set_pipe_max(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	u32 v, slots = 1;
	int err = attr_parse_u32(text, len, PAGE_SIZE, 1U << 31, &v);

	while (!err && slots * PAGE_SIZE < v)
		slots *= 2;
	if (!err)
		WRITE_ONCE(pipe_max_slots, slots);
	return err;
}

/* printk's other numbers are constants: of a line without a level, the least that can be set, at boot. */
#define LOG_OF_A_LINE 4

static int show_printk(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%d\t%d\t1\t%d\n", READ_ONCE(log_level), LOG_OF_A_LINE, LOG_LEVEL_DEFAULT);
	return 0;
}

/* The first number; those behind it may be given as they are. */
static int set_printk(struct attr_dir *dir, const struct attr *a, char *text, size_t len)
{
	static const u32 others[] = { LOG_OF_A_LINE, 1, LOG_LEVEL_DEFAULT };
	u32 level = 0, v;
	unsigned n = 0;
	int err = 0;

	for (char *c = text; *c; c++)
		if (*c == '\t' || *c == '\n')
			*c = ' ';
	for (char *word; !err && (word = str_next(&text, ' '));) {
		u32 low = n ? others[min(n, ARRAY_SIZE(others)) - 1] : 1, high = n ? low : 8;

		if (!*word)
			continue;
		err = n > ARRAY_SIZE(others) ? -EINVAL : attr_parse_u32(word, strlen(word), low, high, n ? &v : &level);
		n++;
	}
	if (!err && level)
		WRITE_ONCE(log_level, (int)level);
	return err;
}

static int show_threads_max(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%llu\n", (unsigned long long)process_threads_max());
	return 0;
}

/* RFC 9562 version 4. boot_id stays, uuid is new at each read. */
static void add_uuid(struct strbuf *out, const u8 *b)
{
	for (unsigned i = 0; i < 16; i++)
		strbuf_add(out, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
			   i == 6   ? (b[i] & 0x0f) | 0x40
			   : i == 8 ? (b[i] & 0x3f) | 0x80
				    : b[i]);
	strbuf_add(out, "\n");
}

static u8 boot_id[16];

static int show_uuid(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	u8 fresh[16];

	if (!a->data)
		random_get(fresh, sizeof(fresh));
	add_uuid(out, a->data ? boot_id : fresh);
	return 0;
}

#define NAME(file, field, m, how)                                                                                      \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = m, .show = show_name, .set = how, .data = offsetof(struct new_utsname, field)    \
	}
#define NUMBER(file, value)                                                                                            \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = show_number, .data = value                                         \
	}
#define CHANGES(file, fn, how, value)                                                                                  \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0644, .show = fn, .set = how, .data = (ulong)(value)                             \
	}
#define VALUE(file, where) CHANGES(file, attr_show_u32, attr_set_u32, where)
#define SHOWN(file, fn, value)                                                                                         \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = fn, .data = value                                                  \
	}

static const struct attr *const kernel_attrs[] = {
	NAME("ostype", sysname, 0444, NULL),
	NAME("osrelease", release, 0444, NULL),
	NAME("version", version, 0444, NULL),
	NAME("hostname", nodename, 0644, set_name),
	NAME("domainname", domainname, 0644, set_name),
	CHANGES("pid_max", show_pid_max, set_pid_max, 0),
	CHANGES("printk", show_printk, set_printk, 0),
	NUMBER("tainted", 0),
	NUMBER("cap_last_cap", CAP_LAST_CAP),
	NUMBER("ngroups_max", 65536),
	NUMBER("overflowuid", 65534),
	NUMBER("overflowgid", 65534),
	NUMBER("randomize_va_space", 2),
	SHOWN("threads-max", show_threads_max, 0),
	NULL,
};
static const struct attr *const random_attrs[] = {
	SHOWN("boot_id", show_uuid, 1),
	SHOWN("uuid", show_uuid, 0),
	NUMBER("entropy_avail", 256),
	NUMBER("poolsize", 256),
	NULL,
};
static const struct attr *const fs_attrs[] = {
	NUMBER("nr_open", 1048576),
	CHANGES("pipe-max-size", show_pipe_max, set_pipe_max, 0),
	VALUE("pipe-user-pages-soft", &pipe_user_pages_soft),
	VALUE("pipe-user-pages-hard", &pipe_user_pages_hard),
	NULL,
};
static const struct attr *const inotify_attrs[] = {
	VALUE("max_queued_events", &inotify_limits.events),
	VALUE("max_user_instances", &inotify_limits.instances),
	VALUE("max_user_watches", &inotify_limits.watches),
	NULL,
};

static const struct attr *const vm_attrs[] = {
	VALUE("max_map_count", &mm_max_vmas),
	NUMBER("mmap_min_addr", 65536),
	NULL,
};

#define NS_MAX(file, kind) CHANGES(file, show_ns_max, set_ns_max, kind)
static const struct attr *const user_attrs[] = {
	NS_MAX("max_user_namespaces", NS_USER),     NS_MAX("max_pid_namespaces", NS_PID),
	NS_MAX("max_uts_namespaces", NS_UTS),       NS_MAX("max_ipc_namespaces", NS_IPC),
	NS_MAX("max_net_namespaces", NS_NET),       NS_MAX("max_mnt_namespaces", NS_MNT),
	NS_MAX("max_cgroup_namespaces", NS_CGROUP), NULL,
};

static void sysctl_init(void)
{
	random_get(boot_id, sizeof(boot_id));
	ensure(!attr_folder_add(&attr_sysctl_root, "kernel", kernel_attrs));
	ensure(!attr_folder_add(&attr_sysctl_root, "kernel/random", random_attrs));
	ensure(!attr_folder_add(&attr_sysctl_root, "fs", fs_attrs));
	ensure(!attr_folder_add(&attr_sysctl_root, "fs/inotify", inotify_attrs));
	ensure(!attr_folder_add(&attr_sysctl_root, "vm", vm_attrs));
	ensure(!attr_folder_add(&attr_sysctl_root, "user", user_attrs));
}
PART_INIT(late, sysctl_init);
