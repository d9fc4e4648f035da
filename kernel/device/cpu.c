/* SPDX-License-Identifier: MIT
 *
 * Problem: programs learn which CPUs there are, how they are grouped and which caches they share from
 * /sys/devices/system/cpu, not from CPUID.
 *
 * Idea: folders made once at boot from what each CPU said; the files compute their text from the folder's owner.
 *
 *      cpu/            online possible present offline kernel_max
 *      cpu/vulnerabilities/     a file for each leak of data that processors have
 *      cpu/cpuN/       online (not of CPU 0), nodeM -> ../../node/nodeM (node.c)
 *      cpu/cpuN/topology/       physical_package_id core_id core_cpus package_cpus ...
 *      cpu/cpuN/cache/indexM/   level type size id shared_cpu_map shared_cpu_list ...
 *
 * Contract: the files' text as Documentation/ABI/testing/sysfs-devices-system-cpu says.
 *
 * Locks: none; nothing changes after boot.
 */
#include <alloc/slab.h>
#include <arch/cpu.h>
#include <arch/rdt.h>
#include <core/attr.h>
#include <core/init.h>
#include <core/log.h>
#include <lib/err.h>
#include "device_priv.h"

struct cpu_dir {
	struct attr_dir dir, topology, cache, index[CPU_CACHES_MAX];
	char name[8];
	unsigned cpu;
};

static const char *const index_name[CPU_CACHES_MAX] = { "index0", "index1", "index2", "index3",
							"index4", "index5", "index6", "index7" };

static void add_list(struct strbuf *out, u64 cpus)
{
	strbuf_add_set(out, cpus);
	strbuf_add(out, "\n");
}

/* As wide as the CPUs that there may be. */
static void add_map(struct strbuf *out, u64 cpus)
{
	strbuf_add_mask(out, cpus, cpu_count());
	strbuf_add(out, "\n");
}

/* ---- cpu/ ------------------------------------------------------------------------------------------------ */

static int show_cpus(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	add_list(out, cpu_online_mask());
	return 0;
}

/* The file's number, `data`. */
static int show_number(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%lu\n", a->data);
	return 0;
}

static int show_none(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "\n");
	return 0;
}

#define READ_FILE(file, how, number)                                                                                   \
	&(const struct attr)                                                                                           \
	{                                                                                                              \
		.name = file, .mode = 0444, .show = how, .data = number                                                \
	}
static const struct attr *const cpus_attrs[] = {
	READ_FILE("online", show_cpus, 0),
	READ_FILE("possible", show_cpus, 0),
	READ_FILE("present", show_cpus, 0),
	READ_FILE("offline", show_none, 0),
	READ_FILE("kernel_max", show_number, MAX_CPUS - 1),
	NULL,
};
/* ---- cpuN/ ----------------------------------------------------------------------------------------------- */

static int show_package(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", cpu_package(((struct cpu_dir *)d->owner)->cpu));
	return 0;
}

static int show_core(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	strbuf_add(out, "%u\n", ((struct cpu_dir *)d->owner)->cpu);
	return 0;
}

/* CPUs of the same package, or of the same core. */
static u64 companions(const struct cpu_dir *c, bool package)
{
	u64 mask = cpumask_of(c->cpu);
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		if (package && cpu_package(cpu) == cpu_package(c->cpu))
			mask |= cpumask_of(cpu);
	return mask;
}

static int show_companions_list(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	add_list(out, companions(d->owner, a->data));
	return 0;
}

static int show_companions_map(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	add_map(out, companions(d->owner, a->data));
	return 0;
}

static const struct attr *const cpu_attrs[] = { READ_FILE("online", show_number, 1), NULL };
static const struct attr *const topology_attrs[] = {
	READ_FILE("physical_package_id", show_package, 0),
	READ_FILE("core_id", show_core, 0),
	READ_FILE("core_cpus", show_companions_map, false),
	READ_FILE("core_cpus_list", show_companions_list, false),
	READ_FILE("thread_siblings", show_companions_map, false),
	READ_FILE("thread_siblings_list", show_companions_list, false),
	READ_FILE("package_cpus", show_companions_map, true),
	READ_FILE("package_cpus_list", show_companions_list, true),
	READ_FILE("core_siblings", show_companions_map, true),
	READ_FILE("core_siblings_list", show_companions_list, true),
	NULL,
};

/* ---- cpuN/cache/indexM/ ---------------------------------------------------------------------------------- */

enum cache_file { LEVEL, TYPE, SIZE, ID, LINE, SETS, WAYS, PARTITION, MAP, LIST };

static int show_cache(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	static const char *const type[] = { "", "Data", "Instruction", "Unified" };
	struct cpu_dir *c = d->owner;
	struct cpu_cache v;

	if (!cpu_cache(c->cpu, (unsigned)(d - c->index), &v))
		return -ENODEV;
	switch ((enum cache_file)a->data) {
	case LEVEL: strbuf_add(out, "%u\n", v.level); break;
	case TYPE: strbuf_add(out, "%s\n", type[v.type & 3]); break;
	case SIZE: strbuf_add(out, "%uK\n", v.bytes >> 10); break;
	case ID: strbuf_add(out, "%u\n", v.id); break;
	case LINE: strbuf_add(out, "%u\n", v.line); break;
	case SETS: strbuf_add(out, "%u\n", v.sets); break;
	case WAYS: strbuf_add(out, "%u\n", v.ways); break;
	case PARTITION: strbuf_add(out, "1\n"); break;
	case MAP: add_map(out, v.shared); break;
	case LIST: add_list(out, v.shared); break;
	}
	return 0;
}

#define CACHE_FILE(file, what) READ_FILE(file, show_cache, what)
static const struct attr *const cache_attrs[] = {
	CACHE_FILE("level", LEVEL),
	CACHE_FILE("type", TYPE),
	CACHE_FILE("size", SIZE),
	CACHE_FILE("id", ID),
	CACHE_FILE("coherency_line_size", LINE),
	CACHE_FILE("number_of_sets", SETS),
	CACHE_FILE("ways_of_associativity", WAYS),
	CACHE_FILE("physical_line_partition", PARTITION),
	CACHE_FILE("shared_cpu_map", MAP),
	CACHE_FILE("shared_cpu_list", LIST),
	NULL,
};

/* ---- cpu/vulnerabilities/ -------------------------------------------------------------------------------- */

#define MAX_BUG_FILES 24

static int show_bug(struct attr_dir *d, const struct attr *a, struct strbuf *out)
{
	cpu_bug_show((unsigned)a->data, out);
	strbuf_add(out, "\n");
	return 0;
}

static int make_vulnerabilities(struct attr_dir *cpus)
{
	static struct attr_dir dir;
	static struct attr files[MAX_BUG_FILES];
	static const struct attr *list[MAX_BUG_FILES + 1];
	const char *name;

	for (unsigned i = 0; (name = cpu_bug_file(i)); i++) {
		ensure(i < MAX_BUG_FILES);
		files[i] = (struct attr){ .name = name, .mode = 0444, .show = show_bug, .data = i };
		list[i] = &files[i];
	}
	return attr_dir_init(&dir, cpus, "vulnerabilities", list, NULL, NULL);
}

/* ---- making it ------------------------------------------------------------------------------------------- */

static int make_cpu(struct attr_dir *parent, unsigned cpu)
{
	struct cpu_dir *c = kzalloc(sizeof(*c), 0);
	struct cpu_cache v;
	int err;

	if (!c)
		return -ENOMEM;
	c->cpu = cpu;
	str_format(c->name, sizeof(c->name), "cpu%u", cpu);
	err = attr_dir_init(&c->dir, parent, c->name, cpu ? cpu_attrs : NULL, NULL, c);
	if (err) {
		kfree(c);
		return err;
	}
	err = attr_dir_init(&c->topology, &c->dir, "topology", topology_attrs, NULL, c);
	if (!err)
		err = attr_dir_init(&c->cache, &c->dir, "cache", NULL, NULL, c);
	for (unsigned n = 0; !err && cpu_cache(cpu, n, &v); n++)
		err = attr_dir_init(&c->index[n], &c->cache, index_name[n], cache_attrs, NULL, c);
	return err ? err : node_link(node_of_cpu(cpu), &c->dir, c->name);
}

static void cpu_dirs_init(void)
{
	static struct attr_dir cpus;
	struct attr_dir *system;
	unsigned cpu;
	int err;

	cpu_caches_find();
	err = attr_shared_dir(&attr_sys_root, "devices/system", &system);
	if (!err)
		err = attr_dir_init(&cpus, system, "cpu", cpus_attrs, NULL, NULL);
	if (!err)
		err = make_vulnerabilities(&cpus);
	if (!err)
		err = node_dirs_make(system);
	for_each_cpu (cpu, cpu_online_mask())
		if (!err)
			err = make_cpu(&cpus, cpu);
	if (err)
		log_warn("sysfs: no folders for the CPUs: %d", err);
}
PART_INIT(core, cpu_dirs_init);
