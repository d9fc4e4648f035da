/* SPDX-License-Identifier: MIT
 *
 * Problem: a report names the node of a physical address, on a machine that is not the one that was recorded.
 *
 * Idea: MEM_TOPOLOGY lists each node with the memory blocks that it has, as a bit map over addresses.
 *
 *      u64 version 1, u64 bytes of a block, u64 nr; each: u64 node, u64 nr of bits, the same again, the bits
 *
 * Contract: memory.h. The section is input: every length is checked.
 *
 * Locks: none.
 */
#include "memory.h"
#include <string.h>

struct cursor {
	const u8 *at;
	size_t left;
};

static const u8 *take(struct cursor *c, size_t n)
{
	const u8 *p = c->at;

	if (n > c->left)
		return NULL;
	c->at += n;
	c->left -= n;
	return p;
}

static bool take_u64(struct cursor *c, u64 *v)
{
	const u8 *p = take(c, sizeof(*v));

	*v = p ? pd_u64(p) : 0;
	return p;
}

void pd_memory_read(const struct pd_file *f, struct pd_memory *n)
{
	struct cursor c = { .left = 0 };
	u64 version, bytes, nr, node, bits;

	memset(n, 0, sizeof(*n));
	c.at = pd_feature(f, PD_FEAT_MEM_TOPOLOGY, &c.left);
	if (!c.at || !take_u64(&c, &version) || version != 1 || !take_u64(&c, &bytes) || !bytes || !take_u64(&c, &nr))
		return;
	for (u64 i = 0; i < nr; i++) {
		const u8 *map;

		if (!take_u64(&c, &node) || !take_u64(&c, &bits) || !take_u64(&c, &bits) || bits / 8 > c.left)
			return;
		map = take(&c, (bits + 63) / 64 * 8);
		if (!map)
			return;
		if (node >= PD_NODES)
			continue;
		n->blocks[node] = map;
		n->nr_blocks[node] = bits;
		n->block_bytes = bytes;
	}
}

int pd_node_of(const struct pd_memory *n, u64 phys_addr)
{
	u64 block = n->block_bytes ? phys_addr / n->block_bytes : 0;

	for (int node = 0; n->block_bytes && node < PD_NODES; node++)
		if (block < n->nr_blocks[node] && n->blocks[node][block / 8] >> block % 8 & 1)
			return node;
	return -1;
}
