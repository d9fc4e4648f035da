/* SPDX-License-Identifier: MIT
 *
 * Program files behind mappings: their bytes, their function and object symbols, and addresses between the file's
 * offsets and its link addresses. Images are kept once a path. A file that cannot be read gives an image without bytes.
 *
 * Threading: one thread.
 */
#ifndef PERFDATA_IMAGE_H
#define PERFDATA_IMAGE_H

#include <elfutils/libdw.h>
#include "maps.h"

struct image_sym {
	u64 start, end;   /* link addresses */
	const char *name; /* as the file has it */
	char *plain;      /* C++'s name as it was written, by image_symbol_name; NULL: the same */
	u32 order;        /* in its table */
	bool is_object, is_weak, is_global, is_plain_known;
};

struct image {
	struct image *next;
	const char *path; /* the interned path of its mappings */
	const u8 *bytes;
	u64 nr_bytes;
	Elf *elf;
	Elf *debug_elf; /* the file of separate debug information, NULL if none is installed */
	int debug_fd;
	Dwarf *dwarf; /* NULL without debug information */
	bool tried_dwarf;
	struct image_sym *syms; /* sorted by start */
	u32 nr_syms;
	char *plt_names;
	struct {
		u64 offset, vaddr, bytes;
	} loads[16];
	u32 nr_loads;
};

struct images {
	struct image *list;
	const char *root; /* where the files of the recorded machine lie here (perf's --symfs); NULL: / */
};

struct image *image_get(struct images *s, const char *path);
void images_free(struct images *s);
/* The link address of an address in a mapping of the image. */
u64 image_vaddr(const struct image *im, const struct pd_map *m, u64 addr);
/* The same of an offset in the file. */
u64 image_vaddr_at(const struct image *im, u64 offset);
/* Bytes of code at a mapped address: from *start (a function's start if *exact) to the end of what is mapped, or NULL.
 */
const u8 *image_code(const struct image *im, const struct pd_map *m, u64 addr, u64 *start, bool *exact, u64 *bytes);
struct image_sym *image_symbol(const struct image *im, u64 vaddr, bool is_object);
/* What people read: C++'s names without parameters, others as they are. */
const char *image_symbol_name(struct image_sym *s);
/* The build id, lower case; "" if the file has none. */
void image_build_id(const struct image *im, char *out, size_t n);
Dwarf *image_dwarf(struct image *im);
/* The compilation unit of an address, and "file.c:12"; false without debug information of it. */
bool image_unit(struct image *im, u64 vaddr, Dwarf_Die *unit);
bool image_source(struct image *im, u64 vaddr, char *out, size_t n);

#endif
