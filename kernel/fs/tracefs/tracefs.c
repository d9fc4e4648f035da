/* SPDX-License-Identifier: MIT
 *
 * Problem: clients find tracepoints, their numbers and the layout of their records in files.
 *
 * Idea: a folder an event, made at boot from the compiled table; every text is made when it is read.
 *
 *   available_events   events/header_page, header_event   events/SYSTEM/EVENT/{id,format}
 *
 * Contract: Documentation/trace/ftrace.rst and events.rst of Linux. debugfs is a root with nothing but a folder to
 * mount tracefs on.
 *
 * Locks: none; nothing changes after boot.
 */
#include <alloc/slab.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <core/trace.h>
#include <fs/attrfs.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <linux/magic.h>
#include <vfs/vfs.h>

static int show_id(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", a->data);
	return 0;
}

static int show_format(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	trace_describe((unsigned)a->data, out);
	return 0;
}

static int show_available(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	for (unsigned i = 0; i < TRACE_EVENTS; i++)
		strbuf_add(out, "%s:%s\n", trace_events[i].system, trace_events[i].name);
	return 0;
}

/* The layout of a page of trace_pipe_raw. */
static int show_header_page(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n"
			"\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n"
			"\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n"
			"\tfield: char data;\toffset:16;\tsize:4080;\tsigned:1;\n");
	return 0;
}

static int show_header_event(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "# compressed entry header\n\ttype_len    :    5 bits\n\ttime_delta  :   27 bits\n"
			"\tarray       :   32 bits\n\n\tpadding     : type == 29\n\ttime_extend : type == 30\n"
			"\ttime_stamp : type == 31\n\tdata max type_len  == 28\n");
	return 0;
}

/* No printk formats and no names are kept: records carry their own. */
static int show_nothing(struct attr_dir *dir, const struct attr *a, struct strbuf *out)
{
	return 0;
}

#define FILE_(label, fn)                                                                                               \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = label, .mode = 0440, .show = fn                                                                \
	}
static const struct attr *const root_files[] = { FILE_("available_events", show_available),
						 FILE_("printk_formats", show_nothing),
						 FILE_("saved_cmdlines", show_nothing), NULL };
static const struct attr *const event_files[] = { FILE_("header_page", show_header_page),
						  FILE_("header_event", show_header_event), NULL };

static void add_event(unsigned id)
{
	const struct trace_event *e = &trace_events[id - TRACE_FIRST_ID];
	struct attr *a = kcalloc(2, sizeof(*a), ALLOC_KERNEL);
	const struct attr *list[] = { &a[0], &a[1], NULL };
	char folder[80];

	ensure(a);
	a[0] = (struct attr){ .name = "id", .mode = 0440, .show = show_id, .data = id };
	a[1] = (struct attr){ .name = "format", .mode = 0440, .show = show_format, .data = id };
	str_format(folder, sizeof(folder), "events/%s/%s", e->system, e->name);
	ensure(!attr_folder_add(&attr_trace_root, folder, list));
}

static int mount_tracefs(struct super *s, const char *source, const char *data)
{
	return attrfs_fill(s, &attr_trace_root, TRACEFS_MAGIC);
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
	ensure(!attr_folder_add(&attr_trace_root, "events", event_files));
	ensure(!attr_folder_add(&attr_trace_root, "events/ftrace", NULL));
	for (unsigned id = TRACE_FIRST_ID; id < TRACE_LAST_ID; id++)
		add_event(id);
	attr_trace_root.attrs = root_files;
	fs_register(&tracefs);
	fs_register(&debugfs);
}
PART_INIT(fs, tracefs_init);
