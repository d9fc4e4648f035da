/* SPDX-License-Identifier: MIT
 *
 * Problem: mdadm finds out where an array's write-intent bitmap is, and gives it one or takes it away, by files.
 *
 * Idea: the folder md/bitmap of every array; only `location` can be written.
 *
 *      location "none", "+8": sectors from the superblock    metadata "internal"     chunksize bytes
 *      time_base seconds until a bit may go        space sectors for it        can_clear: bits do go (not degraded)
 *
 * Contract: Documentation/admin-guide/md.rst of Linux 6.1.
 *
 * Locks: a->lock in each.
 */
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include "md_glue.h"

enum bitmap_file { LOCATION, METADATA, CHUNK, TIME_BASE, SPACE, CAN_CLEAR, BACKLOG };

static int show(struct attr_dir *dir, const struct attr *attr, struct strbuf *out)
{
	struct md_array *a = dir->owner;
	struct md_status st;

	mutex_lock(&a->lock);
	md_snapshot(a, &st);
	mutex_unlock(&a->lock);
	switch ((enum bitmap_file)attr->data) {
	case LOCATION:
		if (st.bitmap)
			strbuf_add(out, "%s%d\n", st.bitmap_offset < 0 ? "" : "+", st.bitmap_offset);
		else
			strbuf_add(out, "none\n");
		break;
	case METADATA: strbuf_add(out, "internal\n"); break;
	case CHUNK: strbuf_add(out, "%u\n", st.bitmap_chunk); break;
	case TIME_BASE: strbuf_add(out, "%u\n", st.bitmap_sleep); break;
	case SPACE: strbuf_add(out, "%u\n", st.bitmap_space); break;
	case CAN_CLEAR: strbuf_add(out, "%s\n", st.failed ? "false" : "true"); break;
	case BACKLOG: strbuf_add(out, "0\n"); break;
	}
	return 0;
}

static int set_location(struct attr_dir *dir, const struct attr *attr, char *text, size_t len)
{
	struct md_array *a = dir->owner;
	bool before = *text == '-';
	u64 n = 0;
	int err;

	if (len && text[len - 1] == '\n')
		text[len - 1] = '\0';
	if (strcmp(text, "none") && (str_to_u64(text + (before || *text == '+'), 10, &n) || !n || n > INT32_MAX))
		return fail(EINVAL, "%s: a bitmap is at none, +N or -N sectors", a->block.name);
	mutex_lock(&a->lock);
	err = n ? md_bitmap_add(a, before ? -(s32)n : (s32)n) : md_bitmap_remove(a);
	mutex_unlock(&a->lock);
	return err;
}

#define READ(file, n)                                                                                                  \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = show, .data = n                                                    \
	}
static const struct attr *const attrs[] = {
	&(const struct attr){ .name = "location", .mode = 0644, .show = show, .set = set_location, .data = LOCATION },
	READ("metadata", METADATA),
	READ("chunksize", CHUNK),
	READ("time_base", TIME_BASE),
	READ("space", SPACE),
	READ("can_clear", CAN_CLEAR),
	READ("backlog", BACKLOG),
	NULL,
};

int md_bitmap_files_add(struct md_array *a)
{
	return attr_dir_init(&a->bitmap_attr, &a->attr, "bitmap", attrs, NULL, a);
}
