/* SPDX-License-Identifier: MIT
 *
 * The NUMA nodes of the recorded machine, and how reports show them.
 */
#ifndef C2C_NODES_H
#define C2C_NODES_H

#include "perfdata/out.h"
#include "perfdata/perfdata.h"

#define C2C_CPUS  1024
#define C2C_NODES 64

struct c2c_nodes {
	struct c2c_node {
		u64 cpus[C2C_CPUS / 64];
	} node[C2C_NODES];
	u32 nr; /* at least one */
};

enum node_detail { /* -N, -NN */
		   NODE_NUMBERS,
		   NODE_SHARES,
		   NODE_CPUS,
};

struct node_shares {
	u32 hitms, stores;
};

void nodes_read(struct c2c_nodes *nodes, const struct pd_file *f);
int nodes_of(const struct c2c_nodes *nodes, u32 cpu); /* its node, -1: none */
/* The nodes of a set of CPUs. shares: of NODE_SHARES only, one a node and one for all behind them. */
void nodes_print(struct out *o, const struct c2c_nodes *nodes, const u64 *cpus, const struct node_shares *shares,
		 enum node_detail detail);

#endif
