/* SPDX-License-Identifier: MIT
 *
 * An object file that clang made for BPF, taken apart: its programs with subprograms appended and relocations applied,
 * its maps created, its source lines. Every offset in the file is checked before use.
 */
#ifndef BPFCHECK_OBJECT_H
#define BPFCHECK_OBJECT_H

#include <bpf/btf.h>
#include <bpf/map.h>
#include <lib/types.h>

#define MAX_MAPS     256
#define MAX_SECTIONS 1024
#define MAX_FUNCS    256

struct section {
	const char *name;
	const u8 *data;
	u64 bytes;
	bool code;
	u32 relocs;   /* section with its relocations, 0 without */
	s32 data_map; /* map made of a data section, -1 */
};

struct symbol {
	const char *name;
	u32 section;
	u64 value, bytes;
	u8 type;
	bool hidden;
};

struct object {
	const char *path;
	int fd;
	void *elf;
	struct section sections[MAX_SECTIONS];
	u32 nsections, maps_section, symtab;
	struct symbol *symbols;
	u32 nsymbols;
	struct bpf_btf *btf;
	const u8 *ext; /* .BTF.ext */
	u32 ext_bytes;
	struct bpf_map *maps[MAX_MAPS];
	u64 map_offsets[MAX_MAPS]; /* of those in .maps */
	u32 nmaps;
	char license[64];
};

/* One program ready to load. */
struct program {
	struct bpf_insn *insns;
	u32 len;
	struct bpf_line_info *lines;
	u32 nlines;
	struct {
		u32 section, first, count, at; /* instructions there, and where they are here */
		u32 type;                      /* in BTF, 0: not told */
	} funcs[MAX_FUNCS];
	u32 nfuncs;
};

/* 0, or -errno with a message in why (256 bytes). */
int object_open(const char *path, struct object *o, char *why);
void object_close(struct object *o);
int object_program(struct object *o, const struct symbol *entry, struct program *p, char *why);
/* Records for the verifier; room for MAX_FUNCS. How many; 0: the object does not tell all. */
u32 program_functions(const struct program *p, struct bpf_func_info *out);
void program_free(struct program *p);

#endif
