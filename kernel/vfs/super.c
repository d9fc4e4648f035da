/* SPDX-License-Identifier: MIT
 *
 * Problem: a file system type makes one tree per mount, or one for all, and each tree must end when its last mount
 * does.
 *
 * Idea: types register by name; super_create runs the type's mount op, which fills in operations and a root. Supers
 * are counted by the mounts that show them. When the count ends, all names go (nobody can hold any: a file holds
 * its mount), then the inodes by their counts, then the file system's own data.
 *
 * Contract: vfs.h. FS_SINGLE types give the same super again, with their first options.
 *
 * Locks: supers_lock (RANK_SUBSYS) for the two lists and for creating FS_SINGLE supers once; inside mount_lock.
 */
#include <alloc/slab.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <lib/string.h>
#include "vfs_priv.h"

static LIST(types);
static LIST(supers);
static struct mutex supers_lock = MUTEX_INIT(supers_lock, RANK_SUBSYS);
static atomic_t next_minor;

void fs_register(struct fs_type *t)
{
	mutex_lock(&supers_lock);
	list_add_tail(&t->link, &types);
	mutex_unlock(&supers_lock);
}

struct fs_type *fs_find(const char *name)
{
	struct fs_type *t, *found = NULL;

	mutex_lock(&supers_lock);
	list_for_each_entry (t, &types, link)
		if (!strcmp(t->name, name))
			found = t;
	mutex_unlock(&supers_lock);
	return found;
}

int fs_count(void)
{
	struct fs_type *t;
	int n = 0;

	mutex_lock(&supers_lock);
	list_for_each_entry (t, &types, link)
		n += !(t->flags & FS_KERNEL_ONLY);
	mutex_unlock(&supers_lock);
	return n;
}

int fs_index(const char *name)
{
	struct fs_type *t;
	int n = 0, found = -EINVAL;

	mutex_lock(&supers_lock);
	list_for_each_entry (t, &types, link) {
		if (t->flags & FS_KERNEL_ONLY)
			continue;
		if (!strcmp(t->name, name))
			found = n;
		n++;
	}
	mutex_unlock(&supers_lock);
	return found;
}

const char *fs_name(unsigned index)
{
	const char *name = NULL;
	struct fs_type *t;

	mutex_lock(&supers_lock);
	list_for_each_entry (t, &types, link)
		if (!(t->flags & FS_KERNEL_ONLY) && !index--)
			name = t->name;
	mutex_unlock(&supers_lock);
	return name;
}

int fs_show_types(struct strbuf *out)
{
	struct fs_type *t;

	mutex_lock(&supers_lock);
	list_for_each_entry (t, &types, link)
		if (!(t->flags & FS_KERNEL_ONLY))
			strbuf_add(out, "%s\t%s\n", t->flags & FS_REQUIRES_DEV ? "" : "nodev", t->name);
	mutex_unlock(&supers_lock);
	return 0;
}

/* Supers without a device have major 0. Minor in the low byte and above the major's 12 bits, as the kernel encodes it.
 */
u32 super_anon_dev(void)
{
	u32 minor = atomic_add_return(&next_minor, 1);

	return (minor & 0xff) | (minor & ~0xffu) << 12;
}

static int create(struct fs_type *t, const char *source, unsigned flags, const char *data, struct super **out)
{
	struct super *s = kzalloc(sizeof(*s), ALLOC_CHARGED);
	int err;

	if (!s)
		return -ENOMEM;
	s->type = t;
	s->flags = flags;
	s->dev = super_anon_dev();
	s->block_size = PAGE_SIZE;
	s->max_bytes = INT64_MAX;
	refcount_set(&s->refs, 1);
	spin_init(&s->lock, RANK_ICACHE);
	list_init(&s->inodes);
	list_init(&s->mounts);
	str_copy(s->source, source ? source : "none", sizeof(s->source));
	err = t->mount(s, source, data);
	if (err) {
		ensure(!s->root);
		kfree(s);
		return err;
	}
	list_add_tail(&s->link, &supers);
	*out = s;
	return 0;
}

int super_create(struct fs_type *t, const char *source, unsigned flags, const char *data, struct super **out)
{
	struct super *s;
	int err = -ENOENT;

	mutex_lock(&supers_lock);
	if (t->flags & FS_SINGLE) {
		list_for_each_entry (s, &supers, link) {
			if (s->type == t && refcount_inc_not_zero(&s->refs)) {
				*out = s;
				err = 0;
				break;
			}
		}
	}
	if (err)
		err = create(t, source, flags, data, out);
	mutex_unlock(&supers_lock);
	return err;
}

struct super *super_find(u32 dev)
{
	struct super *s, *found = NULL;

	mutex_lock(&supers_lock);
	list_for_each_entry (s, &supers, link)
		if (!found && s->dev == dev && refcount_inc_not_zero(&s->refs))
			found = s;
	mutex_unlock(&supers_lock);
	return found;
}

struct super *super_get(struct super *s)
{
	refcount_inc(&s->refs);
	return s;
}

void super_put(struct super *s)
{
	if (!refcount_dec_and_test(&s->refs))
		return;
	mutex_lock(&supers_lock);
	list_del(&s->link);
	mutex_unlock(&supers_lock);
	if (s->ops && s->ops->sync)
		(void)s->ops->sync(s, true);
	dentry_destroy_tree(s->root);
	if (s->ops && s->ops->put_super)
		s->ops->put_super(s);
	ensure(list_empty(&s->inodes));
	kfree(s);
}

/* sync(2): every super, one after the other. */
void super_sync_all(bool wait)
{
	struct super *s;

	mutex_lock(&supers_lock);
	list_for_each_entry (s, &supers, link)
		if (s->ops && s->ops->sync)
			(void)s->ops->sync(s, wait);
	mutex_unlock(&supers_lock);
}
