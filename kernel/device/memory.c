/* SPDX-License-Identifier: MIT
 *
 * Problem: perf wants to know on which node a physical address lies, and reads it from the memory blocks of
 * /sys/devices/system/memory.
 *
 * Idea: a folder for each 128 MiB of the address space that holds RAM, made once at boot, and links from its node.
 *
 *      memory/            block_size_bytes
 *      memory/memoryN/    phys_index state removable, nodeM -> ../../node/nodeM
 *      node/nodeM/        memoryN -> ../../memory/memoryN
 *
 * Contract: Documentation/ABI/testing/sysfs-devices-memory. All memory is always on line. A block on a border is linked
 * to each of its nodes.
 *
 * Locks: none; nothing changes after boot.
 */
#include <alloc/slab.h>
#include <arch/boot.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/printf.h>
#include "device_priv.h"

#define BLOCK_SHIFT 27

struct block {
	struct attr_dir dir;
	u64 index;
	char name[24];
};

enum { INDEX, STATE, REMOVABLE, SIZE };

static int show(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	const struct block *b = d->owner;

	switch (a->data) {
	case INDEX: strbuf_add(out, "%08llx\n", (unsigned long long)b->index); break;
	case STATE: strbuf_add(out, "online\n"); break;
	case REMOVABLE: strbuf_add(out, "0\n"); break;
	default: strbuf_add(out, "%lx\n", 1UL << BLOCK_SHIFT); break;
	}
	return 0;
}

#define FILE_(label, what)                                                                                             \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = label, .mode = 0444, .show = show, .data = what                                                \
	}
static const struct attr *const memory_attrs[] = { FILE_("block_size_bytes", SIZE), NULL };
static const struct attr *const block_attrs[] = { FILE_("phys_index", INDEX), FILE_("state", STATE),
						  FILE_("removable", REMOVABLE), NULL };

static int add_block(struct attr_dir *memory, u64 index, struct block **out)
{
	struct block *b = kzalloc(sizeof(*b), 0);
	int err;

	if (!b)
		return -ENOMEM;
	b->index = index;
	str_format(b->name, sizeof(b->name), "memory%llu", (unsigned long long)index);
	err = attr_dir_init(&b->dir, memory, b->name, block_attrs, NULL, b);
	if (err)
		kfree(b);
	*out = b;
	return err;
}

/* Ranges ascend, and several may share a block. */
static int add_blocks(struct attr_dir *memory)
{
	const struct boot_info *info = boot_info();
	struct block *last = NULL;
	u64 linked = 0; /* nodes of the last block */
	int err = 0;

	for (unsigned i = 0; i < info->nr_ram_all && !err; i++) {
		const struct boot_range *r = &info->ram_all[i];
		u64 at = r->base >> BLOCK_SHIFT;

		for (; r->bytes && !err && at <= (r->base + r->bytes - 1) >> BLOCK_SHIFT; at++) {
			if (!last || last->index != at) {
				err = add_block(memory, at, &last);
				linked = 0;
			}
			if (!err && !node_has(linked, r->node))
				err = node_link(r->node, &last->dir, last->name);
			linked |= node_bit(r->node);
		}
	}
	return err;
}

static void memory_dirs_init(void)
{
	static struct attr_dir memory;
	struct attr_dir *system;
	int err = attr_shared_dir(&attr_sys_root, "devices/system", &system);

	if (!err)
		err = attr_dir_init(&memory, system, "memory", memory_attrs, NULL, NULL);
	if (!err)
		err = add_blocks(&memory);
	if (err)
		log_warn("sysfs: no folders for the memory: %d", err);
}
PART_INIT(late, memory_dirs_init);
