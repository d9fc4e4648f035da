/* SPDX-License-Identifier: MIT
 *
 * perf c2c's tables: counters of each cache line and of each (offset, code address) in it, by perf's rules.
 */
#ifndef C2C_TABLE_H
#define C2C_TABLE_H

#include "c2c.h"
#include "nodes.h"
#include "perfdata/memory.h"
#include "perfdata/out.h"

enum c2c_display { DISPLAY_LCL, DISPLAY_RMT, DISPLAY_TOT };

struct c2c_stats {
	u32 records, locks, store, st_uncache, st_noadrs, st_l1hit, st_l1miss, st_na;
	u32 load, ld_excl, ld_shared, ld_uncache, ld_io, ld_miss, ld_noadrs, ld_fbhit, ld_l1hit, ld_l2hit, ld_llchit;
	u32 lcl_hitm, rmt_hitm, tot_hitm, lcl_peer, rmt_peer, tot_peer, rmt_hit, lcl_dram, rmt_dram, blk_data, blk_addr;
	u32 nomap, noparse;
};

struct c2c_mean {
	double n, mean;
};

struct c2c_memory { /* physical memory behind a line or a part of it */
	u64 nodes;  /* bit n: node n */
	u64 last;
	u32 changes; /* of the physical address, from sample to sample */
};

struct c2c_name { /* of a code address */
	struct c2c_name *next;
	const char *path; /* interned: the pointer is the identity */
	u64 offset;       /* in the file */
	char symbol[256], object[128], source[300];
	bool has_symbol;
};

struct c2c_entry { /* one (offset, code address, process if asked) in a line */
	struct c2c_entry *next, *next_in_line;
	struct c2c_line *line;
	u64 offset, iaddr, ip, code_key;
	s32 pid;
	const char *path; /* of the code, NULL if nothing was mapped there */
	u64 file_offset;
	struct c2c_stats stats;
	struct c2c_memory memory;
	struct c2c_mean rmt, lcl, load; /* weights */
	u64 cpus[C2C_CPUS / 64];
	struct node_shares *shares;  /* one a node, if asked for (-N) */
	const struct c2c_name *name; /* by table_sort, of shown lines */
};

struct c2c_line {
	u64 dso[3], key, addr; /* identity: file, and address in it; addr as first seen */
	s32 pid;
	struct c2c_stats stats; /* by table_sort: of all entries */
	struct c2c_memory memory;
	struct c2c_entry *first;
	struct c2c_entry **entries; /* nr; by table_sort, of shown lines */
	u32 nr;
	u32 order; /* of equal lines */
	struct c2c_line *next;
};

#define TABLE_NAMES 1024

struct c2c_table {
	struct c2c_line *buckets[4096];
	struct c2c_entry **entries; /* hash, nr_slots */
	u32 nr_slots, nr_entries;
	struct c2c_line **sorted; /* by table_sort */
	u32 nr;
	struct c2c_stats total, shared;
	u32 shared_lines;
	enum c2c_display display;
	struct pd_memory memory; /* before the first record */
	struct c2c_nodes nodes;
	enum node_detail node_detail;
	bool by_pid, no_source, full_symbols, show_all;
	struct c2c_name *names[TABLE_NAMES];
	struct c2c_class { /* what the last kind of access counts: kinds are few */
		u64 data_src;
		bool has_addr, has_maps, is_known;
		struct c2c_stats stats;
	} classes[64];
	struct places places;
	struct pd_threads threads;
};

/* Decodes one sample's data source and adds it to st; false if perf counts it no further. */
bool stats_decode(struct c2c_stats *st, u64 data_src, u64 addr, bool has_maps);
int table_record(struct c2c_table *t, const struct pd_sample *s);
int table_sort(struct c2c_table *t);
void table_free(struct c2c_table *t);
/* The counter that the display mode sorts by. */
u32 table_hitm(const struct c2c_table *t, const struct c2c_stats *st);
bool table_shows(const struct c2c_table *t, const struct c2c_line *l);

/* stdio.c */
void stdio_print(struct out *o, struct c2c_table *t, struct pd_file *f, const char *grouping, bool stats_only);

#endif
