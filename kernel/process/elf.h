/* SPDX-License-Identifier: MIT
 *
 * ELF executables as exec needs them: what to map where. Source: System V ABI, "Program Loading"; elf(5). Pure: bytes
 * in, a checked description out; nothing in it needs checking again.
 */
#ifndef PROCESS_ELF_H
#define PROCESS_ELF_H

#include <lib/types.h>

#define ELF_HEADER_BYTES 64
#define ELF_PHDR_BYTES   56
#define ELF_MAX_PHDRS    128
#define ELF_MAX_SEGMENTS 64

struct elf_header {
	bool is_pie; /* ET_DYN */
	u64 entry;
	u64 ph_offset;
	unsigned ph_count;
};

struct elf_segment {
	u64 vaddr, offset, file_bytes, mem_bytes;
	unsigned prot; /* PROT_* */
};

struct elf_image {
	struct elf_header header;
	struct elf_segment segments[ELF_MAX_SEGMENTS]; /* ascending, at least one */
	unsigned nr;
	u64 low, high;                   /* page aligned bounds of all segments */
	u64 align;                       /* largest alignment of a segment, at least a page */
	u64 phdr_vaddr;                  /* where the program headers are in memory, 0: not mapped */
	u64 interp_offset, interp_bytes; /* bytes 0: none; the terminator is included */
	bool exec_stack;
};

/* -ENOEXEC: not a program for this machine. */
int __must_check elf_parse_header(const void *bytes, size_t n, struct elf_header *out);
/* ph: out->header.ph_count program headers. -ENOEXEC; -EINVAL for a damaged one. */
int __must_check elf_parse_segments(const void *ph, struct elf_image *out);

#endif
