/* SPDX-License-Identifier: MIT
 *
 * Problem: programs of a cgroup decide who reads and writes control files of /proc/sys, and may write something else.
 *
 * Idea: the adapter of the attribute tree asks before each read and write. A program sees the file's name, its text
 * now, and on a write the new text, which it may exchange; all are copies that this call makes.
 *
 * Contract: core/attr.h; behaviour of Linux 6.1 for BPF_CGROUP_SYSCTL. Texts beyond a page are cut.
 *
 * Locks: none of its own; may sleep before and after the programs run.
 */
#include <alloc/slab.h>
#include <bpf/ctx.h>
#include <core/attr.h>
#include <lib/err.h>
#include <lib/string.h>
#include <task/task.h>

#include "attach_priv.h"

#define NAME_MAX_BYTES 256

/* "net/core/somaxconn"; at the end of buf. */
static const char *file_name(const struct attr_dir *d, const struct attr *a, char *buf, size_t size)
{
	char *at = buf + size - 1;
	const char *part = a->name;

	*at = 0;
	for (;;) {
		size_t len = strlen(part);

		if ((size_t)(at - buf) < len + 1)
			return at;
		at -= len;
		memcpy(at, part, len);
		if (!d->parent)
			return at;
		*--at = '/';
		part = d->name;
		d = d->parent;
	}
}

static u32 text_now(struct attr_dir *dir, const struct attr *a, char *page)
{
	struct strbuf sb;

	strbuf_init(&sb, page, PAGE_SIZE);
	if (!a->show || a->show(dir, a, &sb))
		return 0;
	return (u32)min(sb.len, PAGE_SIZE - 1);
}

static int use(struct attr_dir *dir, const struct attr *a, bool write, s64 *pos, char **text, size_t *len)
{
	struct bpf_sysctl_ctx c = { .write = write, .file_pos = (u32)*pos };
	char name[NAME_MAX_BYTES], *now = kmalloc(PAGE_SIZE, 0), *fresh = write ? kmalloc(PAGE_SIZE, 0) : NULL;
	int err;

	if (!now || (write && !fresh)) {
		kfree(now);
		kfree(fresh);
		return -ENOMEM;
	}
	c.name = file_name(dir, a, name, sizeof(name));
	c.value = now;
	c.value_len = text_now(dir, a, now);
	if (write) {
		c.new_value = fresh;
		c.new_size = PAGE_SIZE;
		c.new_len = (u32)min(*len, PAGE_SIZE);
		memcpy(fresh, *text, c.new_len);
	}
	err = bpf_run_hook(current->tenant, BPF_CGROUP_SYSCTL, &c, NULL, NULL);
	kfree(now);
	*pos = (*pos & ~0xffffffffLL) | c.file_pos;
	if (!err && c.new_set) {
		*text = fresh;
		*len = c.new_len;
	} else {
		kfree(fresh);
	}
	return err;
}

void bpf_hooks_sysctl_init(void)
{
	attr_sysctl_hook = use;
}
