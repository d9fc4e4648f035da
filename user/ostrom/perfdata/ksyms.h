/* SPDX-License-Identifier: MIT
 *
 * Kernel addresses to names, from a kallsyms text or a vmlinux. Of several names at one address the one that perf shows
 * is kept. Threading: read-only after loading.
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
const struct ksym *ksyms_named(const struct ksyms *k, const char *name); /* a walk through all */
void ksyms_finish(struct ksyms *k); /* for those who fill syms and names: puts them in order */

/* kernel.c: the names of the kernel that was recorded. */
struct kernel_source {
	const char *kallsyms, *vmlinux, *root; /* what the user named, or NULL; root: --symfs */
	char build_id[65], release[65];        /* of the recording, "" if it does not say */
	char ref_name[64];                     /* one symbol ... */
	u64 ref_addr;                          /* ... and where it lay; 0: not known */
};

#define KERNEL_ID_BYTES 20
u32 kernel_running_id(u8 id[KERNEL_ID_BYTES]); /* bytes of the running kernel's build id; 0: not known */
/* 0; -EPERM as above; -ENOENT: it is not the running kernel, and no symbols of it are on this machine. */
int kernel_load(struct ksyms *k, const struct kernel_source *src);

#endif
