/* SPDX-License-Identifier: MIT
 *
 * Problem: on a machine of several sockets memory is nearer to some CPUs than to others; the firmware tells which in
 * SRAT (domains of CPUs and of memory) and SLIT (distances), with numbers of its own.
 *
 * Idea: acpi.c keeps the entries as they stand. Here domains become nodes, counted from 0 as they are met, and the RAM
 * of boot_info() is cut at the nodes' borders, so that each range lies in one node. A border that is not a multiple of
 * NODE_BORDER moves up to the next one, so that no block of the page allocator lies in two nodes. RAM and CPUs that no
 * entry speaks of belong to node 0. With less than two nodes nothing is done.
 *
 * Contract: arch/numa.h. numa_init runs once, after acpi_init.
 *
 * Locks: none; written before other CPUs run. numa_cpu_added is called by the CPU that starts others.
 */
#include <arch/boot.h>
#include <arch/cpu.h>
#include <arch/numa.h>
#include <core/log.h>
#include <lib/string.h>
#include "x86_priv.h"

static u32 domain_of[MAX_NODES];
static unsigned nr_nodes;
static nodemask_t with_memory = 1;
static u8 cpu_nodes[MAX_CPUS];
static u8 distance[MAX_NODES][MAX_NODES];

unsigned node_count(void)
{
	return max(nr_nodes, 1U);
}

nodemask_t node_memory_mask(void)
{
	return with_memory;
}

unsigned node_of_cpu(unsigned cpu)
{
	return cpu_nodes[cpu];
}

cpumask_t node_cpus(unsigned node)
{
	cpumask_t cpus = 0;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		if (cpu_nodes[cpu] == node)
			cpus |= cpumask_of(cpu);
	return cpus;
}

nodemask_t node_cpu_mask(void)
{
	nodemask_t nodes = 0;
	unsigned cpu;

	for_each_cpu (cpu, cpu_online_mask())
		nodes |= node_bit(cpu_nodes[cpu]);
	return nodes;
}

unsigned node_distance(unsigned from, unsigned to)
{
	if (from < nr_nodes && to < nr_nodes && distance[from][to])
		return distance[from][to];
	return from == to ? NODE_NEAR : NODE_FAR;
}

/* The node of a domain, MAX_NODES: none. */
static unsigned find_node(u32 domain)
{
	unsigned n = 0;

	while (n < nr_nodes && domain_of[n] != domain)
		n++;
	return n < nr_nodes ? n : MAX_NODES;
}

static void meet(u32 domain)
{
	if (find_node(domain) == MAX_NODES && nr_nodes < MAX_NODES)
		domain_of[nr_nodes++] = domain;
}

void numa_cpu_added(unsigned cpu, u32 apic_id)
{
	for (unsigned i = 0; i < acpi.nr_cpus && nr_nodes > 1; i++)
		if (acpi.apic_id[i] == apic_id && acpi.cpu_domain_given[i])
			cpu_nodes[cpu] = (u8)(find_node(acpi.cpu_domain[i]) % MAX_NODES);
}

static void read_distances(void)
{
	unsigned a, b;

	for (unsigned i = 0; i < acpi.slit_domains; i++)
		for (unsigned j = 0; j < acpi.slit_domains; j++) {
			a = find_node(i);
			b = find_node(j);
			if (a < MAX_NODES && b < MAX_NODES)
				distance[a][b] = acpi.slit[i * acpi.slit_domains + j];
		}
}

/* The node of the RAM at pa, and where the next border may be. */
static unsigned node_at(u64 pa, u64 *until)
{
	u64 block = ALIGN_DOWN(pa, NODE_BORDER);
	unsigned node = 0;

	*until = ~0ULL;
	for (unsigned i = 0; i < acpi.nr_node_mem; i++) {
		const struct boot_range *r = &acpi.node_mem[i];
		u64 from = ALIGN_UP(r->base, NODE_BORDER), to = ALIGN_UP(r->base + r->bytes, NODE_BORDER);

		if (block >= r->base && block < r->base + r->bytes)
			node = find_node(r->node) % MAX_NODES;
		if (from > pa)
			*until = min(*until, from);
		if (to > pa)
			*until = min(*until, to);
	}
	return node;
}

static void cut_at_borders(struct boot_range *list, unsigned *nr, unsigned room)
{
	struct boot_range old[ARRAY_SIZE(((struct boot_info *)0)->ram)];
	unsigned n = *nr;

	memcpy(old, list, n * sizeof(*list));
	*nr = 0;
	for (unsigned i = 0; i < n; i++) {
		u64 at = old[i].base, end = at + old[i].bytes, until;

		for (; at < end && *nr < room; at = until) {
			unsigned node = node_at(at, &until);

			until = min(until, end);
			with_memory |= node_bit(node);
			if (*nr && list[*nr - 1].node == node && list[*nr - 1].base + list[*nr - 1].bytes == at)
				list[*nr - 1].bytes += until - at;
			else
				list[(*nr)++] = (struct boot_range){ at, until - at, node };
		}
	}
}

void numa_init(struct boot_info *info)
{
	for (unsigned i = 0; i < acpi.nr_cpus; i++)
		if (acpi.cpu_domain_given[i])
			meet(acpi.cpu_domain[i]);
	for (unsigned i = 0; i < acpi.nr_node_mem; i++)
		meet(acpi.node_mem[i].node);
	if (nr_nodes < 2)
		return;
	read_distances();
	with_memory = 0;
	cut_at_borders(info->ram, &info->nr_ram, ARRAY_SIZE(info->ram));
	cut_at_borders(info->ram_all, &info->nr_ram_all, ARRAY_SIZE(info->ram_all));
	log_info("numa: %u nodes", nr_nodes);
}
