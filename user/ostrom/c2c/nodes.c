/* SPDX-License-Identifier: MIT
 *
 * Problem: a line that two nodes fight over costs several times what it costs within one: reports tell the nodes of the
 * CPUs that touched it.
 *
 * Idea: the recording says which CPUs each node has (NUMA_TOPOLOGY: count, then {node, two sizes, text "0-3,8"}). Nodes
 * are numbered as they come, as perf does.
 *
 * Contract: nodes.h. What is damaged gives the nodes before it. Locks: none.
 */
#include <stdio.h>
#include <stdlib.h>
#include "nodes.h"

static void add_range(struct c2c_node *n, u64 first, u64 last)
{
	for (u64 cpu = first; cpu <= last && cpu < C2C_CPUS; cpu++)
		n->cpus[cpu / 64] |= 1ull << (cpu % 64);
}

static void parse_cpus(struct c2c_node *n, const char *text)
{
	while (*text >= '0' && *text <= '9') {
		char *end;
		u64 first = strtoull(text, &end, 10), last = first;

		if (*end == '-')
			last = strtoull(end + 1, &end, 10);
		add_range(n, first, last);
		text = *end == ',' ? end + 1 : end;
	}
}

void nodes_read(struct c2c_nodes *nodes, const struct pd_file *f)
{
	size_t bytes = 0, at = 4;
	const u8 *p = pd_feature(f, PD_FEAT_NUMA_TOPOLOGY, &bytes);
	u32 nr = p && bytes >= 4 ? pd_u32(p) : 0;

	memset(nodes, 0, sizeof(*nodes));
	for (u32 i = 0; i < nr && nodes->nr < C2C_NODES && at + 24 <= bytes; i++) {
		u32 len = pd_u32(p + at + 20);
		char text[512];

		at += 24;
		if (len > bytes - at)
			break;
		snprintf(text, sizeof(text), "%.*s", (int)min(len, (u32)sizeof(text) - 1), (const char *)p + at);
		parse_cpus(&nodes->node[nodes->nr++], text);
		at += len;
	}
	if (nodes->nr)
		return;
	nodes->nr = 1; /* nothing is said: one node of everything */
	memset(nodes->node[0].cpus, 0xff, sizeof(nodes->node[0].cpus));
}

int nodes_of(const struct c2c_nodes *nodes, u32 cpu)
{
	for (u32 i = 0; i < nodes->nr && cpu < C2C_CPUS; i++)
		if (nodes->node[i].cpus[cpu / 64] >> (cpu % 64) & 1)
			return (int)i;
	return -1;
}

static void put_list(struct out *o, const u64 *cpus)
{
	bool is_first = true;

	for (u32 i = 0; i < C2C_CPUS; i++) {
		u32 first = i;

		if (!(cpus[i / 64] >> (i % 64) & 1))
			continue;
		while (i + 1 < C2C_CPUS && cpus[(i + 1) / 64] >> ((i + 1) % 64) & 1)
			i++;
		out_printf(o, i > first ? "%s%u-%u" : "%s%u", is_first ? "" : ",", first, i);
		is_first = false;
	}
}

static void put_share(struct out *o, u32 part, u32 whole, char end)
{
	if (whole)
		out_printf(o, "%5.1f%%%c", 100. * part / whole, end);
	else
		out_printf(o, "%6s%c", "n/a", end);
}

void nodes_print(struct out *o, const struct c2c_nodes *nodes, const u64 *cpus, const struct node_shares *shares,
		 enum node_detail detail)
{
	bool is_first = true;

	for (u32 i = 0; i < nodes->nr; i++) {
		u64 set[C2C_CPUS / 64];
		u32 n = 0;

		for (u32 w = 0; w < ARRAY_SIZE(set); w++) {
			set[w] = cpus[w] & nodes->node[i].cpus[w];
			n += (u32)__builtin_popcountll(set[w]);
		}
		if (!n && detail == NODE_SHARES)
			out_fill(o, ' ', 21);
		if (!n)
			continue;
		out_printf(o, is_first ? "%2u" : " %2u", i);
		is_first = false;
		if (detail == NODE_SHARES) {
			out_printf(o, "{%2u ", n);
			put_share(o, shares[i].hitms, shares[nodes->nr].hitms, ' ');
			put_share(o, shares[i].stores, shares[nodes->nr].stores, '}');
		} else if (detail == NODE_CPUS) {
			out_char(o, '{');
			put_list(o, set);
			out_char(o, '}');
		}
	}
}
