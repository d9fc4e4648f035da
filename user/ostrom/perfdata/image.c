/* SPDX-License-Identifier: MIT
 *
 * Problem: names, source lines and instructions are in program files, which a report must open late, once, and without
 * trusting them.
 *
 * Idea: map the file; libelf reads its program headers and symbol tables, libdw its debug information when first asked.
 * Debug information that a distribution ships apart is found by build id under /usr/lib/debug.
 * offset = addr - map.start + map.pgoff; link address = offset - load.offset + load.vaddr.
 *
 * Contract: image.h. Locks: none.
 */
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "image.h"

static void read_loads(struct image *im)
{
	size_t n = 0;

	elf_getphdrnum(im->elf, &n);
	for (size_t i = 0; i < n && im->nr_loads < ARRAY_SIZE(im->loads); i++) {
		GElf_Phdr ph;

		if (!gelf_getphdr(im->elf, i, &ph) || ph.p_type != PT_LOAD)
			continue;
		im->loads[im->nr_loads].offset = ph.p_offset;
		im->loads[im->nr_loads].vaddr = ph.p_vaddr;
		im->loads[im->nr_loads++].bytes = ph.p_memsz;
	}
}

static void open_debug_file(struct image *im)
{
	char path[128];
	const u8 *id;
	ssize_t n = dwelf_elf_gnu_build_id(im->elf, (const void **)&id);
	int at;

	if (n < 2 || n > 32)
		return;
	at = snprintf(path, sizeof(path), "/usr/lib/debug/.build-id/%02x/", id[0]);
	for (ssize_t i = 1; i < n; i++)
		at += snprintf(path + at, sizeof(path) - at, "%02x", id[i]);
	snprintf(path + at, sizeof(path) - at, ".debug");
	im->debug_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (im->debug_fd >= 0)
		im->debug_elf = elf_begin(im->debug_fd, ELF_C_READ_MMAP, NULL);
}

static void add_symbols(struct image *im, Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = sh->sh_entsize ? sh->sh_size / sh->sh_entsize : 0;
	struct image_sym *grown = realloc(im->syms, (im->nr_syms + n + 1) * sizeof(*grown));

	if (!grown)
		return;
	im->syms = grown;
	for (size_t i = 0; data && i < n; i++) {
		GElf_Sym s;
		unsigned type;
		const char *name;

		if (!gelf_getsym(data, i, &s) || s.st_shndx == SHN_UNDEF || !s.st_value)
			continue;
		type = GELF_ST_TYPE(s.st_info);
		name = elf_strptr(elf, sh->sh_link, s.st_name);
		if ((type == STT_FUNC || type == STT_OBJECT || type == STT_GNU_IFUNC) && name)
			im->syms[im->nr_syms++] =
				(struct image_sym){ s.st_value, s.st_value + s.st_size, name, type == STT_OBJECT };
	}
}

static int by_start(const void *a, const void *b)
{
	const struct image_sym *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

static void read_table(struct image *im, Elf *elf, unsigned kind)
{
	Elf_Scn *scn = NULL;

	while (elf && (scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;

		if (gelf_getshdr(scn, &sh) && sh.sh_type == kind)
			add_symbols(im, elf, scn, &sh);
	}
}

/* The best table there is: the file's own, the debug file's, the dynamic one. */
static void read_symbols(struct image *im)
{
	read_table(im, im->elf, SHT_SYMTAB);
	if (!im->nr_syms) {
		open_debug_file(im);
		read_table(im, im->debug_elf, SHT_SYMTAB);
	}
	if (!im->nr_syms)
		read_table(im, im->elf, SHT_DYNSYM);
	if (im->nr_syms)
		qsort(im->syms, im->nr_syms, sizeof(*im->syms), by_start);
}

static void load(struct image *im)
{
	struct stat st;
	void *p;
	int fd = open(im->path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
		p = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		if (p != MAP_FAILED) {
			im->bytes = p;
			im->nr_bytes = st.st_size;
			elf_version(EV_CURRENT);
			im->elf = elf_memory((char *)p, st.st_size);
		}
	}
	close(fd);
	if (im->elf && elf_kind(im->elf) == ELF_K_ELF) {
		read_loads(im);
		read_symbols(im);
	}
}

struct image *image_get(struct images *s, const char *path)
{
	struct image *im;

	for (im = s->list; im; im = im->next)
		if (im->path == path)
			return im;
	im = calloc(1, sizeof(*im));
	if (!im)
		return NULL;
	im->path = path;
	im->debug_fd = -1;
	im->next = s->list;
	s->list = im;
	if (*path == '/' && path[1] != '/')
		load(im);
	return im;
}

void images_free(struct images *s)
{
	while (s->list) {
		struct image *im = s->list;

		s->list = im->next;
		if (im->dwarf)
			dwarf_end(im->dwarf);
		if (im->debug_elf)
			elf_end(im->debug_elf);
		if (im->debug_fd >= 0)
			close(im->debug_fd);
		if (im->elf)
			elf_end(im->elf);
		if (im->bytes)
			munmap((void *)im->bytes, im->nr_bytes);
		free(im->syms);
		free(im);
	}
}

u64 image_vaddr_at(const struct image *im, u64 offset)
{
	for (u32 i = 0; i < im->nr_loads; i++) {
		u64 from = ALIGN_DOWN(im->loads[i].offset, PAGE_SIZE);

		if (offset >= from && offset < im->loads[i].offset + im->loads[i].bytes)
			return offset - im->loads[i].offset + im->loads[i].vaddr;
	}
	return offset;
}

u64 image_vaddr(const struct image *im, const struct pd_map *m, u64 addr)
{
	return image_vaddr_at(im, addr - m->start + m->pgoff);
}

const struct image_sym *image_symbol(const struct image *im, u64 vaddr, bool is_object)
{
	u32 lo = 0, hi = im->nr_syms;

	while (lo < hi) {
		u32 mid = (lo + hi) / 2;

		if (im->syms[mid].start <= vaddr)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (u32 back = 0; lo-- > 0 && back < 64; back++) {
		const struct image_sym *s = &im->syms[lo];

		if (s->is_object == is_object && vaddr < s->end)
			return s;
	}
	return NULL;
}

const u8 *image_code(const struct image *im, const struct pd_map *m, u64 addr, u64 *start, bool *exact, u64 *bytes)
{
	u64 offset = addr - m->start + m->pgoff, back = min(addr - m->start, (u64)256), vaddr;
	const struct image_sym *s;

	if (!im->bytes || offset >= im->nr_bytes)
		return NULL;
	vaddr = image_vaddr(im, m, addr);
	s = image_symbol(im, vaddr, false);
	*exact = s && vaddr - s->start <= addr - m->start && vaddr - s->start <= offset;
	if (*exact)
		back = vaddr - s->start;
	*start = addr - back;
	*bytes = min(im->nr_bytes - (offset - back), m->end - *start);
	return im->bytes + offset - back;
}

Dwarf *image_dwarf(struct image *im)
{
	if (!im->tried_dwarf && im->elf) {
		im->tried_dwarf = true;
		im->dwarf = dwarf_begin_elf(im->elf, DWARF_C_READ, NULL);
		if (!im->dwarf && !im->debug_elf)
			open_debug_file(im);
		if (!im->dwarf && im->debug_elf)
			im->dwarf = dwarf_begin_elf(im->debug_elf, DWARF_C_READ, NULL);
	}
	return im->dwarf;
}
