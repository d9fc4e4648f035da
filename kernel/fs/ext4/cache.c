/* SPDX-License-Identifier: MIT
 *
 * Problem: metadata blocks are read again and again, and several pieces of one are used at a time.
 *
 * Idea: a hash table of blocks by number, each with a count of users; those without users wait on a list, oldest first,
 * to be reused. At most MAX_BUFFERS unless that many are in use.
 *
 * Contract: ext4_priv.h. ext4_buffer_get refuses blocks outside the file system.
 *
 * Locks: the file system's.
 */
#include <alloc/slab.h>
#include <lib/string.h>
#include "ext4_priv.h"

static struct list *bucket_of(struct ext4 *fs, u64 block)
{
	return &fs->bucket[(block * 0x9e3779b97f4a7c15ull) >> 56];
}

static void drop(struct ext4 *fs, struct buffer *b)
{
	list_del(&b->hash);
	list_del(&b->lru);
	fs->nr_buffers--;
	kfree(b->data);
	kfree(b);
}

static struct buffer *make(struct ext4 *fs, u64 block)
{
	struct buffer *b = kzalloc(sizeof(*b), ALLOC_KERNEL);

	if (!b)
		return NULL;
	b->data = kmalloc(fs->block_bytes, ALLOC_KERNEL);
	if (!b->data) {
		kfree(b);
		return NULL;
	}
	b->block = block;
	b->refs = 1;
	list_init(&b->lru);
	list_init(&b->dirty);
	return b;
}

static struct buffer *find(struct ext4 *fs, u64 block)
{
	struct buffer *b;

	list_for_each_entry (b, bucket_of(fs, block), hash)
		if (b->block == block)
			return b;
	return NULL;
}

static int get(struct ext4 *fs, u64 block, bool read, struct buffer **out)
{
	struct buffer *b;
	int err;

	b = find(fs, block);
	if (b) {
		if (!b->refs++)
			list_del_init(&b->lru);
		*out = b;
		return 0;
	}
	while (fs->nr_buffers >= MAX_BUFFERS && !list_empty(&fs->lru))
		drop(fs, list_first_entry(&fs->lru, struct buffer, lru));
	b = make(fs, block);
	if (!b)
		return -ENOMEM;
	err = read ? fs->dev.read(fs->dev.ctx, block * fs->block_bytes, b->data, fs->block_bytes) : 0;
	if (err) {
		kfree(b->data);
		kfree(b);
		return err;
	}
	list_add(&b->hash, bucket_of(fs, block));
	fs->nr_buffers++;
	*out = b;
	return 0;
}

int ext4_buffer_get_any(struct ext4 *fs, u64 block, struct buffer **out)
{
	return get(fs, block, true, out);
}

int ext4_buffer_get(struct ext4 *fs, u64 block, struct buffer **out)
{
	if (!ext4_block_is_valid(fs, block, 1))
		return fail(EUCLEAN, "ext4: block %llu is outside the file system", (unsigned long long)block);
	return get(fs, block, true, out);
}

int ext4_buffer_new(struct ext4 *fs, u64 block, struct buffer **out)
{
	int err = ext4_block_is_valid(fs, block, 1) ? get(fs, block, false, out)
						    : fail(EUCLEAN, "ext4: block %llu", (unsigned long long)block);

	if (err)
		return err;
	memset((*out)->data, 0, fs->block_bytes);
	(*out)->checked_for = 0;
	(*out)->sum = SUM_NONE;
	return 0;
}

bool ext4_buffer_is_dirty(struct ext4 *fs, u64 block)
{
	struct buffer *b = find(fs, block);

	return b && !list_empty(&b->dirty);
}

void ext4_buffer_forget(struct ext4 *fs, u64 block)
{
	struct buffer *b = find(fs, block);

	if (!b)
		return;
	if (!list_empty(&b->dirty)) {
		list_del_init(&b->dirty);
		fs->nr_dirty--;
		ext4_buffer_put(fs, b);
	}
	if (!b->refs)
		drop(fs, b);
}

void ext4_buffer_put(struct ext4 *fs, struct buffer *b)
{
	if (!--b->refs)
		list_add_tail(&b->lru, &fs->lru);
}

void ext4_buffers_drop(struct ext4 *fs)
{
	while (!list_empty(&fs->lru))
		drop(fs, list_first_entry(&fs->lru, struct buffer, lru));
	ensure(!fs->nr_buffers);
}

void ext4_buffer_dirty(struct ext4 *fs, struct buffer *b)
{
	fs->op_changes++;
	if (!list_empty(&b->dirty))
		return;
	b->refs++;
	list_add_tail(&b->dirty, &fs->dirty);
	fs->nr_dirty++;
}

void ext4_buffer_dirty_sum(struct ext4 *fs, struct buffer *b, enum sum sum, u32 seed)
{
	b->sum = sum;
	b->sum_seed = seed;
	ext4_buffer_dirty(fs, b);
}
