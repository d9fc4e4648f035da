/* SPDX-License-Identifier: MIT
 *
 * Which node of the machine that a perf.data file comes from has which physical memory.
 * Source: MEM_TOPOLOGY of tools/perf/Documentation/perf.data-file-format.txt.
 */
#ifndef PERFDATA_MEMORY_H
#define PERFDATA_MEMORY_H

#include "perfdata.h"

#define PD_NODES 64

struct pd_memory {
	u64 block_bytes;            /* 0: the file does not say */
	const u8 *blocks[PD_NODES]; /* bits of memory blocks, in the file */
	u64 nr_blocks[PD_NODES];
};

void pd_memory_read(const struct pd_file *f, struct pd_memory *m); /* what is broken is left out */
int pd_node_of(const struct pd_memory *m, u64 phys_addr);          /* -1: unknown */

#endif
