/* SPDX-License-Identifier: MIT
 *
 * Problem: perf wants to know on which node a physical address lies, and reads it from the memory blocks of
 * /sys/devices/system/memory.
 *
 * Idea: a folder for each 128 MiB of the address space that holds RAM, made once at boot, and links from its node.
 *
 *      memory/            block_size_bytes
 *      memory/memoryN/    phys_index state removable, node0 -> ../../node/node0
 *      node/node0/        memoryN -> ../../memory/memoryN
 *
 * Contract: Documentation/ABI/testing/sysfs-devices-memory. All memory is one node, and it is always on line.
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

static int add_block(struct attr_dir *memory, struct attr_dir *node, u64 index)
{
	struct block *b = kzalloc(sizeof(*b), 0);
	int err;

	if (!b)
		return -ENOMEM;
	b->index = index;
	str_format(b->name, sizeof(b->name), "memory%llu", (unsigned long long)index);
	err = attr_dir_init(&b->dir, memory, b->name, block_attrs, NULL, b);
	if (err) {
		kfree(b);
		return err;
	}
	err = attr_link_add(&b->dir, "node0", node);
	return err ? err : attr_link_add(node, b->name, &b->dir);
}

static int add_blocks(struct attr_dir *memory, struct attr_dir *node)
{
	const struct boot_info *info = boot_info();
	u64 next = 0; /* ranges ascend, and two may share a block */
	int err = 0;

	for (unsigned i = 0; i < info->nr_ram_all && !err; i++) {
		const struct boot_range *r = &info->ram_all[i];

		if (!r->bytes)
			continue;
		next = max(next, r->base >> BLOCK_SHIFT);
		for (; !err && next <= (r->base + r->bytes - 1) >> BLOCK_SHIFT; next++)
			err = add_block(memory, node, next);
	}
	return err;
}

static void memory_dirs_init(void)
{
	static struct attr_dir memory;
	struct attr_dir *system, *nodes, *node = NULL;
	int err = attr_shared_dir(&attr_sys_root, "devices/system", &system);

	nodes = err ? NULL : attr_dir_child(system, "node");
	node = nodes ? attr_dir_child(nodes, "node0") : NULL;
	if (!err)
		err = node ? attr_dir_init(&memory, system, "memory", memory_attrs, NULL, NULL) : -ENOENT;
	if (!err)
		err = add_blocks(&memory, node);
	if (node)
		attr_dir_put(node);
	if (nodes)
		attr_dir_put(nodes);
	if (err)
		log_warn("sysfs: no folders for the memory: %d", err);
}
PART_INIT(late, memory_dirs_init);
