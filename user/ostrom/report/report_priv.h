/* SPDX-License-Identifier: MIT
 *
 * What the files of `report` share: its entries, and the columns that make and show them.
 */
#ifndef REPORT_REPORT_PRIV_H
#define REPORT_REPORT_PRIV_H

#include "chain.h"
#include "perfdata/out.h"
#include "perfdata/threads.h"

enum column { COL_COMM, COL_DSO, COL_SYM, COL_PID, COL_CPU, COL_SRCLINE, COL_SAMPLES, COL_PERIOD, NR_COLUMNS };

struct entry { /* what is no key is 0 */
	struct entry *next;
	u32 event;
	char comm[48];
	struct place place; /* of the first sample */
	s32 tid, cpu;
	const char *source; /* interned */
	u64 period, samples;
	u64 total;                   /* of it and of what it called */
	const struct pd_thread *who; /* of the first sample */
	u32 depth;                   /* frames of the longest chain */
	struct chain_node chains;
};

struct columns {
	enum column list[NR_COLUMNS]; /* in the order shown */
	u32 nr;
	struct source_text { /* of an address, found once */
		struct source_text *next;
		const struct place_file *file;
		u64 addr;
		const char *text; /* interned: the pointer is the identity */
	} * sources[1024];
	struct source_name {
		struct source_name *next;
		char text[];
	} * names[256];
};

/* "comm,dso", "overhead,comm": false, and said why, if a word is none or comes twice. */
bool columns_parse(struct columns *c, const char *words);
void columns_free(struct columns *c);
bool columns_have(const struct columns *c, enum column column);
/* Keeps of an entry (all of a sample's are filled in) what is a key. 0 or -ENOMEM. */
int columns_make_key(struct columns *c, struct places *p, struct entry *e);
/* The order of equal periods. */
int columns_compare(const struct columns *c, const struct entry *a, const struct entry *b);
int columns_text(const struct entry *e, enum column column, char *text, size_t n);
const char *columns_title(enum column column);
int columns_width(const struct columns *c, struct entry *const *list, u32 nr, enum column column);
bool columns_right(enum column column);            /* numbers stand at the right */
bool columns_open(const struct columns *c, u32 i); /* the last column, if it is text of any length */

#endif
