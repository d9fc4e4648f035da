/* SPDX-License-Identifier: MIT
 *
 * Where an address of a sample lies: file, symbol, offset, in the words of perf. The one resolver of all tools: it
 * follows the mappings of the recording, opens what is mapped, and knows the kernel that was recorded.
 *
 * Ownership: strings live as long as the struct places. Locks: none.
 */
#ifndef PERFDATA_PLACE_H
#define PERFDATA_PLACE_H

#include "image.h"
#include "ksyms.h"
#include "maps.h"
#include "perfdata.h"

struct place_file { /* one a path, and one a process for code without a file */
	struct place_file *next;
	const char *path; /* interned, of the mapping */
	s32 pid;          /* 0 for files */
	char long_name[256], short_name[128];
};

struct places {
	struct kernel_source kernel_source; /* places_option fills what the user says, places_begin the rest */
	struct ksyms ksyms;                 /* by places_kernel */
	bool tried_ksyms;
	struct pd_spaces spaces;
	struct images images;
	struct place_file *files;
	struct place_file *kernel, *unknown;
};

struct place {
	const struct place_file *file;
	const char *symbol; /* NULL if none is known */
	u64 offset;         /* in the symbol */
	u64 addr;           /* in the file; as sampled for the kernel and where nothing is mapped */
	char level;         /* 'k' kernel, '.' program, as report marks them */
};

int places_init(struct places *p);
/* What a recording says about its kernel. */
void places_begin(struct places *p, const struct pd_file *f);
void places_free(struct places *p);
/* Follows the records that say what is mapped where. 0 or -ENOMEM. */
int places_follow(struct places *p, const struct pd_sample *s);
void place_find(struct places *p, s32 pid, bool in_kernel, u64 ip, struct place *out);
/* The same for an offset in a mapped file (path: interned, of a pd_map). */
void place_in_file(struct places *p, const char *path, u64 offset, struct place *out);
/* The kernel's names; empty if there are none, which has been said with what to do about it. */
const struct ksyms *places_kernel(struct places *p);

/* The options that say where names come from, for getopt_long's tables; PLACE_OPTIONS_HELP is their part of the usage.
 */
enum { PLACE_OPT_KALLSYMS = 0x700, PLACE_OPT_SYMFS, PLACE_OPT_VMLINUX };
#define PLACE_LONG_OPTIONS                                                                                             \
	{ "kallsyms", required_argument, NULL, PLACE_OPT_KALLSYMS },                                                   \
		{ "symfs", required_argument, NULL, PLACE_OPT_SYMFS },                                                 \
	{                                                                                                              \
		"vmlinux", required_argument, NULL, PLACE_OPT_VMLINUX                                                  \
	}
#define PLACE_OPTIONS_HELP                                                                                             \
	"  -k, --vmlinux FILE   the recorded kernel's vmlinux      --kallsyms FILE  or a copy of its /proc/kallsyms\n" \
	"      --symfs DIR      where the recorded machine's files lie\n"
/* False: it is none of these. 'k' is one, too. */
bool places_option(struct places *p, int option, const char *value);

#endif
