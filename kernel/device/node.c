/* SPDX-License-Identifier: MIT
 *
 * Problem: numactl, numastat, perf, libraries and schedulers of batch systems read the machine's nodes from
 * /sys/devices/system/node.
 *
 * Idea: a folder a node, made once at boot.
 *
 *      node/           online possible has_cpu has_memory has_normal_memory has_generic_initiator
 *      node/nodeN/     cpulist cpumap distance meminfo numastat vmstat, cpuM -> ../../cpu/cpuM, memoryM -> ..
 *
 * Contract: Documentation/ABI/stable/sysfs-devices-node, Documentation/admin-guide/numastat.rst. meminfo has the lines
 * of what is known by node; it looks at each descriptor of the node's memory (alloc/page.h), so reading it is slow.
 *
 * Locks: none; nothing changes after boot.
 */
#include <alloc/page.h>
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <core/init.h>
#include <lib/err.h>
#include <lib/printf.h>
#include <task/sched.h>
#include "device_priv.h"

struct node_dir {
	struct attr_dir dir;
	char name[8];
	unsigned node;
};

static struct node_dir *dirs[MAX_NODES];

enum { ONLINE, HAS_CPU, HAS_MEMORY, NONE };

static int show_nodes(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	switch (a->data) {
	case ONLINE: strbuf_add_set(out, node_bit(node_count()) - 1); break;
	case HAS_CPU: strbuf_add_set(out, node_cpu_mask()); break;
	case HAS_MEMORY: strbuf_add_set(out, node_memory_mask()); break;
	default: break;
	}
	strbuf_add(out, "\n");
	return 0;
}

static unsigned node_of_dir(const struct attr_dir *d)
{
	return ((const struct node_dir *)d->owner)->node;
}

static int show_cpus(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	cpumask_t cpus = node_cpus(node_of_dir(d));

	if (a->data)
		strbuf_add_mask(out, cpus, cpu_count());
	else
		strbuf_add_set(out, cpus);
	strbuf_add(out, "\n");
	return 0;
}

static int show_distance(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	for (unsigned n = 0; n < node_count(); n++)
		strbuf_add(out, n ? " %u" : "%u", node_distance(node_of_dir(d), n));
	strbuf_add(out, "\n");
	return 0;
}

static int show_memory(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	unsigned node = node_of_dir(d);
	struct page_node_stats s;
	struct page_node_use u = { 0 };

	page_node_stats(node, &s);
	for (unsigned i = 0; page_node_use(i, node, NULL, NULL, &u); i++)
		resched_point();
	const struct {
		const char *name;
		u64 pages;
	} lines[] = {
		{ "MemTotal:       ", s.total },          { "MemFree:        ", s.free },
		{ "MemUsed:        ", s.total - s.free }, { "Dirty:          ", u.dirty },
		{ "FilePages:      ", u.cached },         { "Mapped:         ", u.mapped },
		{ "AnonPages:      ", u.anon },           { "PageTables:     ", u.tables },
		{ "Slab:           ", u.slab },           { "AnonHugePages:  ", u.huge },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++)
		strbuf_add(out, "Node %u %s%8llu kB\n", node, lines[i].name, (unsigned long long)lines[i].pages * 4);
	strbuf_add(out,
		   "Node %u HugePages_Total:     0\nNode %u HugePages_Free:      0\nNode %u HugePages_Surp:      0\n",
		   node, node, node);
	return 0;
}

/* numastat, and (data) vmstat. */
static int show_counts(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	struct page_node_stats s;

	page_node_stats(node_of_dir(d), &s);
	if (a->data)
		strbuf_add(out, "nr_free_pages %llu\n", (unsigned long long)s.free);
	strbuf_add(out, "numa_hit %llu\nnuma_miss %llu\nnuma_foreign %llu\n", (unsigned long long)s.hit,
		   (unsigned long long)s.miss, (unsigned long long)s.foreign);
	strbuf_add(out,
		   a->data ? "numa_interleave %llu\nnuma_local %llu\nnuma_other %llu\n"
			   : "interleave_hit %llu\nlocal_node %llu\nother_node %llu\n",
		   (unsigned long long)s.interleave, (unsigned long long)s.local, (unsigned long long)s.other);
	return 0;
}

#define READ_FILE(file, how, number)                                                                                   \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = how, .data = number                                                \
	}
static const struct attr *const nodes_attrs[] = {
	READ_FILE("online", show_nodes, ONLINE),
	READ_FILE("possible", show_nodes, ONLINE),
	READ_FILE("has_cpu", show_nodes, HAS_CPU),
	READ_FILE("has_memory", show_nodes, HAS_MEMORY),
	READ_FILE("has_normal_memory", show_nodes, HAS_MEMORY),
	READ_FILE("has_generic_initiator", show_nodes, NONE),
	NULL,
};
static const struct attr *const node_attrs[] = {
	READ_FILE("cpulist", show_cpus, false),
	READ_FILE("cpumap", show_cpus, true),
	READ_FILE("distance", show_distance, 0),
	READ_FILE("meminfo", show_memory, 0),
	READ_FILE("numastat", show_counts, false),
	READ_FILE("vmstat", show_counts, true),
	NULL,
};

static int make_node(struct attr_dir *parent, unsigned node)
{
	struct node_dir *n = kzalloc(sizeof(*n), 0);
	int err;

	if (!n)
		return -ENOMEM;
	n->node = node;
	str_format(n->name, sizeof(n->name), "node%u", node);
	err = attr_dir_init(&n->dir, parent, n->name, node_attrs, NULL, n);
	if (err)
		kfree(n);
	else
		dirs[node] = n;
	return err;
}

int node_link(unsigned node, struct attr_dir *dir, const char *name)
{
	struct node_dir *n = dirs[node];
	int err = n ? attr_link_add(dir, n->name, &n->dir) : -ENOENT;

	return err ? err : attr_link_add(&n->dir, name, dir);
}

int node_dirs_make(struct attr_dir *system)
{
	static struct attr_dir nodes;
	int err = attr_dir_init(&nodes, system, "node", nodes_attrs, NULL, NULL);

	for (unsigned n = 0; !err && n < node_count(); n++)
		err = make_node(&nodes, n);
	return err;
}
