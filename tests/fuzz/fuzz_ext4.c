/* SPDX-License-Identifier: MIT
 *
 * Problem: a file system on a stick is written by whoever made the stick; every byte of its metadata may lie.
 *
 * Idea: small images made by e2fsprogs (without checksums; 1 KiB blocks, an indexed directory, inline data,
 * attributes, a journal to replay) are damaged as the input says: patches of a few bytes anywhere, most of them into
 * the first part where metadata is. Then everything is read: tree, bytes, links, attributes, look-ups. Nothing may
 * crash or hang, writes of a replay and of changed attributes stay inside the device.
 *
 * Contract: libFuzzer entry; without e2fsprogs it does nothing. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <core/log.h>
#include <fs/ext4/ext4.h>
#include <lib/err.h>

#define IMAGES      3
#define IMAGE_BYTES (2 << 20)

static u8 pristine[IMAGES][IMAGE_BYTES], image[IMAGE_BYTES];
static bool have_image[IMAGES];

static int dev_read(void *ctx, u64 offset, void *buf, size_t n)
{
	ensure(offset <= IMAGE_BYTES && n <= IMAGE_BYTES - offset);
	memcpy(buf, image + offset, n);
	return 0;
}

static int dev_write(void *ctx, u64 offset, const void *buf, size_t n)
{
	ensure(offset <= IMAGE_BYTES && n <= IMAGE_BYTES - offset);
	memcpy(image + offset, buf, n);
	return 0;
}

static int dev_flush(void *ctx)
{
	return 0;
}

static void make_images(void)
{
	static const char *const options[IMAGES] = { "-t ext4 -b 1024 -O ^metadata_csum,^resize_inode -J size=1",
						     "-t ext4 -b 1024 -O inline_data,^resize_inode,^metadata_csum",
						     "-t ext2 -b 1024" };
	char dir[] = "/tmp/ostrom-fuzz-ext4-XXXXXX", command[4096];

	if (!mkdtemp(dir))
		return;
	for (int i = 0; i < IMAGES; i++) {
		FILE *f;

		snprintf(command, sizeof(command),
			 "cd %s && PATH=$PATH:/usr/sbin:/sbin && exec > out 2>&1; mkdir -p t/d/e && "
			 "for i in $(seq 60); do echo $i > t/d/name-$i; done && head -c 50000 /dev/zero | tr '\\0' x > "
			 "t/f &&"
			 "dd if=t/f of=t/holes bs=1024 count=1 seek=300 && ln -sf $(printf %%070d 1) t/l && ln -sf x "
			 "t/s;"
			 "rm -f i; truncate -s 2M i && mke2fs -q -F -N 128 %s -d t i && printf 'ea_set f user.a b\\n"
			 "ea_set f user.c "
			 "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd\\n' |"
			 "debugfs -w -f - i; e2fsck -fyD i; printf 'jo\\njw -b 900 t/l\\njw -b 901 t/f\\njw -r "
			 "900\\njc\\n' | "
			 "debugfs -w -f - i; true",
			 dir, options[i]);
		if (system(command))
			break;
		snprintf(command, sizeof(command), "%s/i", dir);
		f = fopen(command, "r");
		have_image[i] = f && fread(pristine[i], 1, IMAGE_BYTES, f) == IMAGE_BYTES;
		if (f)
			fclose(f);
	}
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	ensure(!system(command));
}

struct walk {
	struct ext4 *fs;
	unsigned inodes, depth, entries;
};

static void visit(struct walk *w, u32 ino);

static int on_entry(void *ctx, const char *name, size_t len, u32 ino, u8 type, u64 pos)
{
	struct walk *w = ctx;

	ensure(len <= EXT4_NAME_MAX);
	if (++w->entries > 2000)
		return 1;
	if (len > 2 && w->depth < 4)
		visit(w, ino);
	return 0;
}

static void read_all(struct walk *w, const struct ext4_inode *in)
{
	static u8 buf[8192];
	u64 at = 0;

	for (int i = 0; i < 16; i++) {
		ssize_t n = ext4_read(w->fs, in, at, buf, sizeof(buf));

		ensure(n <= (ssize_t)sizeof(buf));
		if (n <= 0)
			break;
		at += n;
	}
	(void)!ext4_read(w->fs, in, in->size / 2, buf, sizeof(buf));
	(void)!ext4_readlink(w->fs, in, (char *)buf, sizeof(buf));
	(void)!ext4_listxattr(w->fs, in, (char *)buf, sizeof(buf));
	(void)!ext4_getxattr(w->fs, in, "user.c", buf, sizeof(buf));
}

static void visit(struct walk *w, u32 ino)
{
	struct ext4_inode in;
	u64 pos = 0;
	u32 child;

	if (++w->inodes > 90 || ext4_iget(w->fs, ino, &in))
		return;
	read_all(w, &in);
	w->depth++;
	(void)!ext4_readdir(w->fs, &in, &pos, on_entry, w);
	w->depth--;
	(void)!ext4_lookup(w->fs, &in, "name-47", 7, &child);
	(void)!ext4_lookup(w->fs, &in, "nothing", 7, &child);
	(void)!ext4_lookup(w->fs, &in, "..", 2, &child);
}

/* Every change there is, on whatever there is. */
static void change(struct ext4 *fs, u32 ino)
{
	static u8 data[3000];
	struct ext4_new what = { .mode = ino % 2 ? 0100644 : 040755 }, link = { 0120777, 0, 0, 0, (char *)data, 100 };
	struct ext4_inode dir, in, made;
	struct ext4_extent e;
	char name[16];
	u32 other;

	memset(data, 'd', sizeof(data));
	if (ext4_iget(fs, ino, &in))
		return;
	snprintf(name, sizeof(name), "new-%u", ino);
	if (!ext4_create(fs, &in, name, strlen(name), &what, &made)) {
		(void)!ext4_map_write(fs, &made, 3, 2, 5000, &e);
		(void)!ext4_unlink(fs, &in, name, strlen(name), &made);
		(void)!ext4_delete(fs, &made);
	}
	(void)!ext4_create(fs, &in, "link", 4, &link, &made);
	(void)!ext4_setxattr(fs, &in, "user.x", data, 50 * (ino % 8), 0);
	(void)!ext4_setxattr(fs, &in, "user.c", NULL, 0, 0);
	if ((in.mode & 0170000) == 0100000) {
		(void)!ext4_write(fs, &in, ino * 700, data, sizeof(data));
		(void)!ext4_allocate(fs, &in, 5, 20, 0);
		(void)!ext4_map_write(fs, &in, 7, 3, 0, &e);
		(void)!ext4_punch(fs, &in, 3, 11);
		(void)!ext4_truncate(fs, &in, 100);
	}
	if (ext4_iget(fs, EXT4_ROOT_INO, &dir) || ext4_lookup(fs, &dir, "d", 1, &other) || ext4_iget(fs, other, &dir))
		return;
	snprintf(name, sizeof(name), "name-%u", ino);
	if (!ext4_lookup(fs, &dir, name, strlen(name), &other) && other != dir.ino && !ext4_iget(fs, other, &in)) {
		struct ext4_place from = { &dir, name, strlen(name), &in }, to = { &dir, "moved", 5, NULL };

		(void)!ext4_rename(fs, &from, &to, false);
		if (!ext4_unlink(fs, &dir, "moved", 5, &in) && !in.links)
			(void)!ext4_delete(fs, &in);
	}
}

static void change_all(struct ext4 *fs)
{
	for (u32 ino = EXT4_ROOT_INO; ino < 40; ino++) {
		change(fs, ino);
		if (ino % 8 == 0)
			(void)!ext4_sync(fs);
	}
}

/* Patches: kind, three bytes of place, length, bytes. Three quarters go to the first 192 KiB. */
static void damage(const u8 *p, const u8 *end)
{
	while (end - p >= 6) {
		u32 place = p[1] | p[2] << 8 | p[3] << 16;
		unsigned n = 1 + p[4] % 8;

		place %= p[0] & 3 ? 192 << 10 : IMAGE_BYTES;
		if ((p[0] & 12) == 12)
			place = 1024 + place % 1024;
		p += 5;
		for (unsigned i = 0; i < n && p < end; i++, p++)
			if (place + i < IMAGE_BYTES)
				image[place + i] = *p;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static bool made;
	struct ext4_device dev = { NULL, IMAGE_BYTES, false, dev_read, dev_write, dev_flush, NULL };
	struct walk w = { 0 };

	if (!made)
		make_images();
	made = true;
	if (!size || !have_image[data[0] % IMAGES])
		return 0;
	memcpy(image, pristine[data[0] % IMAGES], IMAGE_BYTES);
	damage(data + 1, data + size);
	if (ext4_open(&dev, data[0] & 0x40 ? EXT4_OPEN_NO_REPLAY : 0, &w.fs))
		return 0;
	visit(&w, EXT4_ROOT_INO);
	change_all(w.fs);
	ext4_close(w.fs);
	return 0;
}
