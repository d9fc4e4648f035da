/* SPDX-License-Identifier: MIT
 *
 * Problem: mount(8), df and container tools read the mount table as text, in two formats, each as the reader's root
 * sees it.
 *
 * Idea: walk the namespace's mounts in order; one whose place cannot be reached from the root is left out. Blanks and
 * backslashes in names are written in octal, so that fields stay fields.
 *
 * Contract: mount_show of vfs/mount.h. Formats: proc(5), /proc/PID/mounts and /proc/PID/mountinfo.
 *
 * Locks: mount_lock.
 */
#include <alloc/slab.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include <linux/mount.h>
#include <vfs/device.h>
#include <vfs/mount.h>

#include "mount_priv.h"
#include "vfs_priv.h"

static void add_name(struct strbuf *out, const char *s)
{
	for (; *s; s++)
		if (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\\')
			strbuf_add(out, "\\%03o", *s);
		else
			strbuf_put(out, s, 1);
}

static void add_flags(struct strbuf *out, const struct mount *m)
{
	static const struct {
		unsigned flag;
		const char *text;
	} names[] = { { MS_NOSUID, ",nosuid" },   { MS_NODEV, ",nodev" },           { MS_NOEXEC, ",noexec" },
		      { MS_NOATIME, ",noatime" }, { MS_NODIRATIME, ",nodiratime" }, { MS_RELATIME, ",relatime" } };

	strbuf_add(out, "%s", (m->flags | m->super->flags) & MS_RDONLY ? "ro" : "rw");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (m->flags & names[i].flag)
			strbuf_add(out, "%s", names[i].text);
}

static void add_super_options(struct strbuf *out, const struct mount *m)
{
	if (m->super->ops && m->super->ops->show_options)
		m->super->ops->show_options(m->super, out);
}

static const char *source_of(const struct mount *m)
{
	return m->super->source[0] ? m->super->source : "none";
}

static void add_info(struct strbuf *out, const struct mount *m, const char *place, char *buf)
{
	struct path top = { NULL, m->root }, base = { NULL, m->super->root };
	char *inner = "/";

	if (m->root != m->super->root && path_string(&top, &base, buf, PAGE_SIZE, &inner) < 0)
		inner = "/";
	strbuf_add(out, "%d %d %u:%u ", m->id, m->parent ? m->parent->id : m->id, DEV_MAJOR(m->super->dev),
		   DEV_MINOR(m->super->dev));
	add_name(out, inner);
	strbuf_put(out, " ", 1);
	add_name(out, place);
	strbuf_put(out, " ", 1);
	add_flags(out, m);
	if (m->peers)
		strbuf_add(out, " shared:%d", m->peers->id);
	if (m->master)
		strbuf_add(out, " master:%d", m->master->id);
	if (m->unbindable)
		strbuf_add(out, " unbindable");
	strbuf_add(out, " - %s ", m->super->type->name);
	add_name(out, source_of(m));
	strbuf_add(out, " %s", m->super->flags & MS_RDONLY ? "ro" : "rw");
	add_super_options(out, m);
	strbuf_put(out, "\n", 1);
}

static void add_line(struct strbuf *out, const struct mount *m, const char *place)
{
	add_name(out, source_of(m));
	strbuf_put(out, " ", 1);
	add_name(out, place);
	strbuf_add(out, " %s ", m->super->type->name);
	add_flags(out, m);
	add_super_options(out, m);
	strbuf_add(out, " 0 0\n");
}

int mount_show(struct mount_ns *ns, const struct path *root, bool info, struct strbuf *out)
{
	char *buf = kmalloc(2 * PAGE_SIZE, ALLOC_KERNEL), *place;
	struct mount *m;

	if (!buf)
		return -ENOMEM;
	mutex_lock(&mount_lock);
	list_for_each_entry (m, &ns->mounts, ns_link) {
		struct path at = { m, m->root };

		if (path_string(&at, root, buf, PAGE_SIZE, &place))
			continue;
		if (info)
			add_info(out, m, place, buf + PAGE_SIZE);
		else
			add_line(out, m, place);
	}
	mutex_unlock(&mount_lock);
	kfree(buf);
	return 0;
}
