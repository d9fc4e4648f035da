/* SPDX-License-Identifier: MIT
 *
 * Kernel addresses to names, from a kallsyms text. Of several names at one address the one that perf shows is kept.
 * Threading: read-only after ksyms_load.
 */
#ifndef PERFDATA_KSYMS_H
#define PERFDATA_KSYMS_H

#include <lib/types.h>

struct ksym {
	u64 addr;
	u32 name;        /* offset in names */
	bool is_ignored; /* the scheduler's own */
};

struct ksyms {
	struct ksym *syms; /* sorted by address, one an address */
	u32 nr;
	char *names;
};

/* NULL path is /proc/kallsyms. 0 or -errno; -EPERM if addresses are hidden (kernel.kptr_restrict). */
int ksyms_load(struct ksyms *k, const char *path);
void ksyms_free(struct ksyms *k);
/* NULL if no symbol covers addr. */
struct ksym *ksyms_find(const struct ksyms *k, u64 addr);

#endif
