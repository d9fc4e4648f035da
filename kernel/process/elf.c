/* SPDX-License-Identifier: MIT
 *
 * Problem: an executable is foreign input that decides what is mapped where; any of its numbers may
 * be wrong or hostile.
 *
 * Idea: parse into a description whose every number has been checked: segments in order, within user
 * addresses, offsets congruent to addresses, no sums that wrap. The loader then only maps.
 *
 * Contract: elf.h. Pure; fuzzed by tests/fuzz/fuzz_elf.c.
 *
 * Locks: none.
 */
#include "elf.h"
#include <arch/mmu.h>
#include <core/log.h>
#include <lib/err.h>
#include <lib/string.h>
#include <linux/elf.h>

#define PROT_R 1
#define PROT_W 2
#define PROT_X 4

int elf_parse_header(const void *bytes, size_t n, struct elf_header *out)
{
	Elf64_Ehdr h;

	if (n < sizeof(h))
		return -ENOEXEC;
	memcpy(&h, bytes, sizeof(h));
	if (memcmp(h.e_ident, ELFMAG, SELFMAG) || h.e_ident[EI_CLASS] != ELFCLASS64 ||
	    h.e_ident[EI_DATA] != ELFDATA2LSB || h.e_machine != EM_X86_64)
		return -ENOEXEC;
	if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
		return -ENOEXEC;
	if (h.e_phentsize != sizeof(Elf64_Phdr) || !h.e_phnum || h.e_phnum > ELF_MAX_PHDRS)
		return fail(ENOEXEC, "elf: %u program headers of %u bytes", h.e_phnum, h.e_phentsize);
	if (h.e_phoff > (1ULL << 40))
		return fail(ENOEXEC, "elf: program headers beyond the file");
	*out = (struct elf_header){
		.is_pie = h.e_type == ET_DYN, .entry = h.e_entry, .ph_offset = h.e_phoff, .ph_count = h.e_phnum
	};
	return 0;
}

static unsigned prot_of(u32 flags)
{
	return (flags & PF_R ? PROT_R : 0) | (flags & PF_W ? PROT_W : 0) | (flags & PF_X ? PROT_X : 0);
}

static int add_segment(struct elf_image *out, const Elf64_Phdr *p)
{
	u64 low = p->p_vaddr & PAGE_MASK, high;

	if (!p->p_memsz)
		return 0;
	if (out->nr == ELF_MAX_SEGMENTS)
		return fail(ENOEXEC, "elf: more than %u segments", ELF_MAX_SEGMENTS);
	if (p->p_filesz > p->p_memsz || p->p_vaddr >= USER_END || p->p_memsz > USER_END - p->p_vaddr ||
	    p->p_offset > (1ULL << 62) || p->p_filesz > (1ULL << 62) - p->p_offset)
		return fail(EINVAL, "elf: segment at %#llx does not fit", (unsigned long long)p->p_vaddr);
	if (p->p_filesz && ((p->p_vaddr ^ p->p_offset) & (PAGE_SIZE - 1)))
		return fail(EINVAL, "elf: segment at %#llx is not congruent to its offset",
			    (unsigned long long)p->p_vaddr);
	if (out->nr && p->p_vaddr < out->segments[out->nr - 1].vaddr + out->segments[out->nr - 1].mem_bytes)
		return fail(EINVAL, "elf: segments overlap or are not in order");
	high = ALIGN_UP(p->p_vaddr + p->p_memsz, PAGE_SIZE);
	if (!out->nr)
		out->low = low;
	out->high = high;
	if (p->p_align > out->align && !(p->p_align & (p->p_align - 1)) && p->p_align <= (1ULL << 30))
		out->align = p->p_align;
	out->segments[out->nr++] =
		(struct elf_segment){ p->p_vaddr, p->p_offset, p->p_filesz, p->p_memsz, prot_of(p->p_flags) };
	return 0;
}

static void find_phdrs(struct elf_image *out)
{
	u64 at = out->header.ph_offset, bytes = out->header.ph_count * ELF_PHDR_BYTES;

	for (unsigned i = 0; i < out->nr; i++) {
		const struct elf_segment *s = &out->segments[i];

		if (at >= s->offset && at + bytes <= s->offset + s->file_bytes) {
			out->phdr_vaddr = at - s->offset + s->vaddr;
			return;
		}
	}
}

int elf_parse_segments(const void *ph, struct elf_image *out)
{
	out->nr = 0;
	out->low = out->high = out->phdr_vaddr = out->interp_offset = out->interp_bytes = 0;
	out->align = PAGE_SIZE;
	out->exec_stack = false;
	for (unsigned i = 0; i < out->header.ph_count; i++) {
		Elf64_Phdr p;
		int err = 0;

		memcpy(&p, (const char *)ph + i * sizeof(p), sizeof(p));
		if (p.p_type == PT_LOAD) {
			err = add_segment(out, &p);
		} else if (p.p_type == PT_INTERP && !out->interp_bytes) {
			if (p.p_filesz < 2 || p.p_filesz > 4096 || p.p_offset > (1ULL << 62))
				return fail(ENOEXEC, "elf: interpreter name of %llu bytes",
					    (unsigned long long)p.p_filesz);
			out->interp_offset = p.p_offset;
			out->interp_bytes = p.p_filesz;
		} else if (p.p_type == PT_GNU_STACK) {
			out->exec_stack = p.p_flags & PF_X;
		}
		if (err)
			return err;
	}
	if (!out->nr)
		return fail(ENOEXEC, "elf: nothing to load");
	find_phdrs(out);
	return 0;
}
