/* SPDX-License-Identifier: MIT
 *
 * Where an address of a sample lies: file, symbol, offset, in the words of perf.
 *
 * Ownership: strings live as long as the struct places. Locks: none.
 */
#ifndef REPORT_PLACE_H
#define REPORT_PLACE_H

#include "perfdata/image.h"
#include "perfdata/ksyms.h"
#include "perfdata/maps.h"
#include "perfdata/perfdata.h"

struct place_file { /* one a path, and one a process for code without a file */
	struct place_file *next;
	const char *path; /* interned, of the mapping */
	s32 pid;          /* 0 for files */
	char long_name[256], short_name[128];
};

struct places {
	struct ksyms ksyms;
	bool tried_ksyms;
	const char *kallsyms; /* NULL: the running kernel's */
	struct pd_spaces spaces;
	struct images images;
	struct place_file *files;
	struct place_file *kernel, *unknown;
	struct plain_name {
		struct plain_name *next;
		const char *mangled;
		char *text; /* NULL: it is no C++ name */
	} * plain[256];
};

struct place {
	const struct place_file *file;
	const char *symbol; /* NULL if none is known */
	u64 offset;         /* in the symbol */
	u64 addr;           /* in the file; as sampled for the kernel and where nothing is mapped */
	char level;         /* 'k' kernel, '.' program, as report marks them */
};

int places_init(struct places *p);
void places_free(struct places *p);
void place_find(struct places *p, s32 pid, bool in_kernel, u64 ip, struct place *out);

#endif
