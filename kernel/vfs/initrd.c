/* SPDX-License-Identifier: MIT
 *
 * Problem: the root's first files lie in memory as a cpio archive; copying them costs boot time and twice the memory.
 *
 * Idea: unpack through the ordinary path operations. File data that begin on a page boundary are not copied: their
 * pages are adopted by the page allocator and become the file's cache (our own archives are laid out so). What is
 * left of the archive's memory (headers, small files, copied data) goes to the allocator afterwards.
 *
 * Contract: vfs_unpack_initrd takes boot_info()'s range. A damaged archive is reported with its offset and ends the
 * unpacking (-EINVAL); what came before stays. A member that cannot be made is reported and left out.
 * A part compressed by gzip or zstd is unpacked into memory first.
 *
 * Locks: none; runs at boot in the first task.
 */
#include <alloc/kmap.h>
#include <alloc/slab.h>
#include <arch/boot.h>
#include <core/log.h>
#include <lib/cpio.h>
#include <lib/err.h>
#include <lib/inflate.h>
#include <lib/string.h>
#include <lib/zstd.h>
#include <linux/major.h>
#include <vfs/uapi.h>
#include <vfs/cache.h>
#include <vfs/device.h>
#include <vfs/initrd.h>
#include "vfs_priv.h"

struct hard_link {
	struct list link;
	u64 key;
	char name[];
};

struct unpacking {
	struct cpio c;
	bool adopt;        /* the archive's pages may become file pages */
	u8 *adopted;       /* a bit a page of the archive */
	struct list links; /* files with several names seen so far */
	unsigned files, failed;
};

/* ---- contents ------------------------------------------------------------------------------------------------- */

static int adopt_pages(struct unpacking *u, const struct cpio_member *m, struct inode *i)
{
	size_t first = (m->data - u->c.data) / PAGE_SIZE;

	for (size_t n = 0; n * PAGE_SIZE < m->size; n++) {
		struct page *p = page_adopt(virt_to_phys(m->data + n * PAGE_SIZE));
		int err;

		if (!p)
			return -ENOMEM;
		err = cache_insert(i->cache, n, p);
		u->adopted[(first + n) / 8] |= 1 << (first + n) % 8;
		if (err) {
			page_put(p);
			return err;
		}
		(void)page_test_set_flag(p, PAGE_UPTODATE);
	}
	WRITE_ONCE(i->size, m->size);
	return 0;
}

/* The last page must not hold the next member's header: our archives pad, foreign ones need not. */
static bool may_adopt(const struct unpacking *u, const struct cpio_member *m)
{
	size_t tail = m->size % PAGE_SIZE;
	const u8 *end = m->data + m->size;

	if (!u->adopt || !m->size || (ulong)m->data % PAGE_SIZE)
		return false;
	if (!tail)
		return true;
	if (end + (PAGE_SIZE - tail) > u->c.data + u->c.size)
		return false;
	for (size_t n = 0; n < PAGE_SIZE - tail; n++)
		if (end[n])
			return false;
	return true;
}

static int write_contents(struct unpacking *u, const struct cpio_member *m, struct file *f)
{
	size_t whole = ALIGN_DOWN(m->size, PAGE_SIZE);
	struct cpio_member head = *m;
	ssize_t n;
	int err = 0;

	if (!u->adopt || (ulong)m->data % PAGE_SIZE || !f->inode->cache)
		whole = 0;
	if (may_adopt(u, m))
		return adopt_pages(u, m, f->inode);
	head.size = whole;
	if (whole)
		err = adopt_pages(u, &head, f->inode);
	if (err || whole == m->size)
		return err;
	n = file_write_at(f, m->data + whole, m->size - whole, whole);
	return n < 0 ? n : n == (ssize_t)(m->size - whole) ? 0 : -ENOSPC;
}

/* ---- members --------------------------------------------------------------------------------------------------- */

static u64 link_key(const struct cpio_member *m)
{
	return (u64)m->dev_major << 48 ^ (u64)m->dev_minor << 32 ^ m->ino;
}

/* The first name of the same file, or NULL after remembering this one. */
static const char *first_name(struct unpacking *u, const struct cpio_member *m)
{
	struct hard_link *h;

	if (m->nlink < 2 || S_ISDIR(m->mode))
		return NULL;
	list_for_each_entry (h, &u->links, link)
		if (h->key == link_key(m))
			return h->name;
	h = kmalloc(sizeof(*h) + m->name_len + 1, 0);
	if (h) {
		h->key = link_key(m);
		memcpy(h->name, m->name, m->name_len + 1);
		list_add(&h->link, &u->links);
	}
	return NULL;
}

static int make_file(struct unpacking *u, const struct cpio_member *m, const char *name)
{
	const char *first = first_name(u, m);
	struct file *f;
	int err;

	if (first) {
		err = path_link(AT_FDCWD, first, AT_FDCWD, name, 0);
		if (err == -EEXIST && !path_unlink(AT_FDCWD, name))
			err = path_link(AT_FDCWD, first, AT_FDCWD, name, 0);
		if (err || !m->size)
			return err; /* the data come with one of the names */
	}
	err = file_open_kernel(name, O_WRONLY | O_CREAT | O_TRUNC | O_LARGEFILE | O_NOFOLLOW, m->mode & 07777, &f);
	if (err == -ELOOP && !path_unlink(AT_FDCWD, name)) /* a link of an earlier archive: replaced, not followed */
		return make_file(u, m, name);
	if (err)
		return err;
	err = write_contents(u, m, f);
	file_put(f);
	return err;
}

static int make_link(const struct cpio_member *m, const char *name)
{
	char *target = kmalloc(m->size + 1, 0);
	int err;

	if (!target)
		return -ENOMEM;
	memcpy(target, m->data, m->size);
	target[m->size] = '\0';
	err = m->size < 4096 ? path_symlink(target, AT_FDCWD, name) : -ENAMETOOLONG;
	kfree(target);
	return err;
}

static int set_attributes(const struct cpio_member *m, const char *name)
{
	struct inode_attr a = { .mask = ATTR_MTIME | ATTR_ATIME | ATTR_UID | ATTR_GID,
				.uid = KUID(m->uid),
				.gid = KGID(m->gid),
				.mtime = { .sec = m->mtime },
				.atime = { .sec = m->mtime } };
	struct path p;
	int err = path_lookup(AT_FDCWD, name, 0, &p);

	if (err)
		return err;
	err = path_set_attr(&p, &a);
	if (!err && !S_ISLNK(m->mode)) {
		a.mask = ATTR_MODE; /* after chown, which clears set-id bits */
		a.mode = m->mode;
		err = path_set_attr(&p, &a);
	}
	path_put(&p);
	return err;
}

static int make_member(struct unpacking *u, const struct cpio_member *m)
{
	const char *name = m->name;
	int err;

	while (*name == '/')
		name++;
	if (!*name)
		return 0;
	switch (m->mode & S_IFMT) {
	case S_IFREG: err = make_file(u, m, name); break;
	case S_IFDIR:
		err = path_mkdir(AT_FDCWD, name, m->mode & 07777);
		if (err == -EEXIST)
			err = 0;
		break;
	case S_IFLNK: err = make_link(m, name); break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK: err = path_mknod(AT_FDCWD, name, m->mode, DEV(m->rdev_major, m->rdev_minor)); break;
	default: return fail(EINVAL, "initrd: %s has mode %o", name, m->mode);
	}
	/* A later archive replaces what an earlier one brought. */
	if (err == -EEXIST && !S_ISREG(m->mode) && !path_unlink(AT_FDCWD, name))
		return make_member(u, m);
	return err ? err : set_attributes(m, name);
}

static int unpack_plain(struct unpacking *u)
{
	struct cpio_member m;
	int r;

	while ((r = cpio_next(&u->c, &m)) > 0) {
		int err = make_member(u, &m);

		u->files++;
		if (!err)
			continue;
		u->failed++;
		log_warn("initrd: cannot make %s: error %d", m.name, -err);
		if (err == -ENOSPC || err == -ENOMEM)
			return err;
	}
	if (r < 0)
		log_err("initrd: damaged archive at byte %zu", u->c.at);
	return r;
}

static void forget_links(struct unpacking *u)
{
	while (!list_empty(&u->links)) {
		struct hard_link *h = list_first_entry(&u->links, struct hard_link, link);

		list_del(&h->link);
		kfree(h);
	}
}

/* ---- the whole image -----------------------------------------------------------------------------------------------
 */

#define UNPACKED_MAX (1UL << 30)

static int unpack_all(struct unpacking *u);

struct packing {
	const char *name;
	bool (*begins)(const u8 *data, size_t size);
	int (*unpack)(const u8 *data, size_t size, u8 *out, size_t room, size_t *used, size_t *made);
};

static int zstd_whole(const u8 *data, size_t size, u8 *out, size_t room, size_t *used, size_t *made)
{
	void *work = vmem_alloc(zstd_work_bytes());
	int err;

	*used = 0;
	if (!work)
		return -ENOMEM;
	err = zstd_unpack(data, size, out, room, work, used, made);
	vmem_free(work);
	return err;
}

static const struct packing packings[] = { { "gzip", gzip_begins, gzip_unpack }, { "zstd", zstd_begins, zstd_whole } };

static const struct packing *packing_at(const u8 *data, size_t size)
{
	for (unsigned i = 0; i < ARRAY_SIZE(packings); i++)
		if (packings[i].begins(data, size))
			return &packings[i];
	return NULL;
}

/* A packed part: unpacked as a whole into memory of its own, then read as an archive. Its size is not known before, so
 * the buffer is doubled until it fits. */
static int unpack_packed(struct unpacking *u, const struct packing *p)
{
	const u8 *data = u->c.data + u->c.at;
	size_t size = u->c.size - u->c.at, used = 0, made = 0;
	int err = -ENOSPC;

	for (size_t room = max(4 * size, 1UL << 20); err == -ENOSPC && room <= UNPACKED_MAX; room *= 2) {
		struct unpacking inner = { 0 };
		u8 *buf = vmem_alloc(room);

		if (!buf)
			return -ENOMEM;
		err = p->unpack(data, size, buf, room, &used, &made);
		if (err == -EINVAL)
			log_err("initrd: damaged %s data at byte %zu", p->name, u->c.at);
		if (!err) {
			list_init(&inner.links);
			cpio_begin(&inner.c, buf, made);
			err = unpack_all(&inner);
			forget_links(&inner);
			u->files += inner.files;
			u->failed += inner.failed;
			u->c.at += used;
		}
		vmem_free(buf);
	}
	return err;
}

static int unpack_all(struct unpacking *u)
{
	int err;

	while (!(err = unpack_plain(u)) && u->c.at < u->c.size) {
		const struct packing *p = packing_at(u->c.data + u->c.at, u->c.size - u->c.at);

		if (!p) {
			log_err("initrd: no archive that we know at byte %zu of %zu", u->c.at, u->c.size);
			return -EINVAL;
		}
		err = unpack_packed(u, p);
		if (err)
			break;
	}
	return err;
}

int initrd_unpack(const void *data, size_t size, bool adopt, u8 *adopted)
{
	struct unpacking u = { .adopt = adopt, .adopted = adopted };
	u16 umask = current_fs->umask;
	int err;

	list_init(&u.links);
	cpio_begin(&u.c, data, size);
	current_fs->umask = 0;
	err = unpack_all(&u);
	current_fs->umask = umask;
	forget_links(&u);
	log_info("initrd: %u files, %u left out", u.files, u.failed);
	return err;
}

/* Pages of the image that no file adopted become free memory, in runs. */
static void donate_rest(paddr_t base, size_t pages, const u8 *adopted)
{
	size_t from = 0;

	for (size_t n = 0; n <= pages; n++) {
		if (n < pages && !(adopted[n / 8] & 1 << n % 8))
			continue;
		if (n > from)
			page_donate(base + from * PAGE_SIZE, (n - from) * PAGE_SIZE);
		from = n + 1;
	}
}

/* What a root has on Linux before the archive comes: images rely on the console being there. */
static void make_first_names(void)
{
	int err = path_mkdir(AT_FDCWD, "dev", 0755);

	if (!err)
		err = path_mknod(AT_FDCWD, "dev/console", S_IFCHR | 0600, DEV(TTYAUX_MAJOR, 1));
	if (err && err != -EEXIST)
		log_warn("initrd: no /dev/console: error %d", -err);
}

int vfs_unpack_initrd(void)
{
	const struct boot_info *b = boot_info();
	bool aligned = b->initrd % PAGE_SIZE == 0;
	size_t pages = DIV_ROUND_UP(b->initrd_bytes, PAGE_SIZE);
	u8 *adopted;
	int err;

	make_first_names();
	if (!b->initrd || !b->initrd_bytes)
		return 0;
	adopted = kcalloc(DIV_ROUND_UP(pages, 8), 1, 0);
	if (!adopted)
		return -ENOMEM;
	err = initrd_unpack(phys_to_virt(b->initrd), b->initrd_bytes, aligned, adopted);
	if (aligned)
		donate_rest(b->initrd, pages, adopted);
	kfree(adopted);
	return err;
}
