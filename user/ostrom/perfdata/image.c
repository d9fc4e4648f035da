/* SPDX-License-Identifier: MIT
 *
 * Problem: names, source lines and instructions are in program files, which a report must open late, once, and without
 * trusting them.
 *
 * Idea: map the file; libelf reads its program headers and symbol tables, libdw its debug information when first asked.
 * Debug information that a distribution ships apart is found by build id under /usr/lib/debug.
 * Of several functions at one address the one that perf would show is kept; entries of the procedure linkage table are
 * named after what they call.
 * offset = addr - map.start + map.pgoff; link address = offset - load.offset + load.vaddr.
 *
 * Contract: image.h. Locks: none.
 */
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <libiberty/demangle.h>
#undef ARRAY_SIZE /* libiberty has one, too */
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
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

void image_build_id(const struct image *im, char *out, size_t size)
{
	const u8 *id;
	ssize_t n = im->elf ? dwelf_elf_gnu_build_id(im->elf, (const void **)&id) : 0;
	size_t at = 0;

	*out = 0;
	for (ssize_t i = 0; i < n && at + 3 <= size; i++)
		at += snprintf(out + at, size - at, "%02x", id[i]);
}

static void open_debug_file(struct image *im)
{
	char path[128], id[65];

	image_build_id(im, id, sizeof(id));
	if (strlen(id) < 4)
		return;
	snprintf(path, sizeof(path), "/usr/lib/debug/.build-id/%.2s/%s.debug", id, id + 2);
	im->debug_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (im->debug_fd >= 0)
		im->debug_elf = elf_begin(im->debug_fd, ELF_C_READ_MMAP, NULL);
}

static bool room_for(struct image *im, size_t n)
{
	struct image_sym *grown = realloc(im->syms, (im->nr_syms + n + 1) * sizeof(*grown));

	if (grown)
		im->syms = grown;
	return grown;
}

/* A name in a text section without a type: assembler's labels. */
static bool is_label(Elf *elf, const GElf_Sym *s, const char *name)
{
	Elf_Scn *scn;
	GElf_Shdr sh;
	const char *section;
	size_t names;

	if (GELF_ST_TYPE(s->st_info) != STT_NOTYPE || !*name || s->st_shndx == SHN_ABS ||
	    GELF_ST_VISIBILITY(s->st_other) == STV_HIDDEN || GELF_ST_VISIBILITY(s->st_other) == STV_INTERNAL)
		return false;
	scn = elf_getscn(elf, s->st_shndx);
	if (!scn || !gelf_getshdr(scn, &sh) || elf_getshdrstrndx(elf, &names))
		return false;
	section = elf_strptr(elf, names, sh.sh_name);
	return section && strstr(section, "text");
}

static void add_symbols(struct image *im, Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && sh->sh_entsize ? data->d_size / sh->sh_entsize : 0; /* what is there, not what is claimed */

	if (!room_for(im, n))
		return;
	for (size_t i = 0; i < n; i++) {
		GElf_Sym s;
		unsigned type, bind;
		const char *name;

		if (!gelf_getsym(data, i, &s) || s.st_shndx == SHN_UNDEF || !s.st_value)
			continue;
		type = GELF_ST_TYPE(s.st_info);
		bind = GELF_ST_BIND(s.st_info);
		name = elf_strptr(elf, sh->sh_link, s.st_name);
		if (!name ||
		    (type != STT_FUNC && type != STT_OBJECT && type != STT_GNU_IFUNC && !is_label(elf, &s, name)))
			continue;
		im->syms[im->nr_syms++] = (struct image_sym){ .start = s.st_value,
							      .end = s.st_value + s.st_size,
							      .name = name,
							      .order = i,
							      .is_object = type == STT_OBJECT,
							      .is_weak = bind == STB_WEAK,
							      .is_global = bind == STB_GLOBAL };
	}
}

static int by_start(const void *a, const void *b)
{
	const struct image_sym *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
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

static Elf_Scn *find_section(Elf *elf, const char *name, GElf_Shdr *sh)
{
	Elf_Scn *scn = NULL;
	size_t names;

	if (elf_getshdrstrndx(elf, &names))
		return NULL;
	while ((scn = elf_nextscn(elf, scn))) {
		const char *n = gelf_getshdr(scn, sh) ? elf_strptr(elf, names, sh->sh_name) : NULL;

		if (n && !strcmp(n, name))
			return scn;
	}
	return NULL;
}

#define PLT_NAME 128

/* The n-th relocation of .rela.plt belongs to the n-th entry of .plt after its head. */
static void add_plt(struct image *im)
{
	GElf_Shdr plt, rela, dyn;
	Elf_Scn *rela_scn = find_section(im->elf, ".rela.plt", &rela);
	Elf_Scn *dyn_scn = find_section(im->elf, ".dynsym", &dyn);
	Elf_Data *relocs = rela_scn ? elf_getdata(rela_scn, NULL) : NULL;
	Elf_Data *syms = dyn_scn ? elf_getdata(dyn_scn, NULL) : NULL;
	size_t n;
	char *names;

	if (!relocs || !syms || !find_section(im->elf, ".plt", &plt) || !rela.sh_entsize || !plt.sh_entsize)
		return;
	n = min(rela.sh_size / rela.sh_entsize, plt.sh_size / plt.sh_entsize);
	n = min(n, (size_t)im->nr_bytes / 16); /* sizes may lie, the file's does not */
	names = im->plt_names = malloc(n * PLT_NAME + 1);
	if (!names || !room_for(im, n))
		return;
	for (size_t i = 0; i < n; i++, names += PLT_NAME) {
		u64 at = plt.sh_addr + plt.sh_entsize * (i + 1);
		const char *name;
		GElf_Rela r;
		GElf_Sym s;

		if (!gelf_getrela(relocs, i, &r) || !gelf_getsym(syms, GELF_R_SYM(r.r_info), &s))
			continue;
		name = elf_strptr(im->elf, dyn.sh_link, s.st_name);
		snprintf(names, PLT_NAME, "%s@plt", name ? name : "");
		im->syms[im->nr_syms++] = (struct image_sym){
			.start = at, .end = at + plt.sh_entsize, .name = names, .order = UINT32_MAX, .is_global = true
		};
	}
}

/* perf's choice: with a size, not weak, global, fewer leading underscores, longer; else the first. */
static bool is_better(const struct image_sym *a, const struct image_sym *b)
{
	size_t ua = strspn(a->name, "_"), ub = strspn(b->name, "_");

	if ((a->end == a->start) != (b->end == b->start))
		return a->end > a->start;
	if (a->is_weak != b->is_weak)
		return b->is_weak;
	if (a->is_global != b->is_global)
		return a->is_global;
	if (ua != ub)
		return ua < ub;
	return strlen(a->name) > strlen(b->name);
}

/* Functions without a size reach to the next one. */
static void end_functions(struct image *im)
{
	struct image_sym *last = NULL;

	for (u32 i = 0; i < im->nr_syms; i++) {
		if (im->syms[i].is_object)
			continue;
		if (last && last->end == last->start)
			last->end = im->syms[i].start;
		last = &im->syms[i];
	}
	if (last && last->end == last->start)
		last->end = ALIGN_UP(last->start, PAGE_SIZE) + PAGE_SIZE;
}

/* Of functions at one address one is kept. */
static void drop_aliases(struct image *im)
{
	struct image_sym *s = im->syms, *last = NULL;
	u32 n = 0;

	for (u32 i = 0; i < im->nr_syms; i++) {
		if (last && !s[i].is_object && last->start == s[i].start) {
			if (is_better(&s[i], last))
				*last = s[i];
			continue;
		}
		s[n] = s[i];
		if (!s[n].is_object)
			last = &s[n];
		n++;
	}
	im->nr_syms = n;
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
	add_plt(im);
	if (im->nr_syms)
		qsort(im->syms, im->nr_syms, sizeof(*im->syms), by_start);
	end_functions(im);
	drop_aliases(im);
}

static void load(struct image *im, const char *root)
{
	char path[4096];
	struct stat st;
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s%s", root ? root : "", im->path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
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

/* The kernel's page of system calls: this program has the same. */
static void load_vdso(struct image *im)
{
	const u8 *p = (const u8 *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *h = (const Elf64_Ehdr *)p;
	void *copy;

	if (!p)
		return;
	im->nr_bytes = h->e_shoff + (u64)h->e_shnum * h->e_shentsize;
	copy = mmap(NULL, im->nr_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (copy == MAP_FAILED)
		return;
	im->bytes = memcpy(copy, p, im->nr_bytes);
	elf_version(EV_CURRENT);
	im->elf = elf_memory(copy, im->nr_bytes);
	if (im->elf) {
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
		load(im, s->root);
	else if (!strcmp(path, "[vdso]"))
		load_vdso(im);
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
		for (u32 i = 0; i < im->nr_syms; i++)
			free(im->syms[i].plain);
		free(im->syms);
		free(im->plt_names);
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

struct image_sym *image_symbol(const struct image *im, u64 vaddr, bool is_object)
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
		struct image_sym *s = &im->syms[lo];

		if (s->is_object == is_object && vaddr < s->end)
			return s;
	}
	return NULL;
}

/* The demangler stops without a word at what follows the name, so the mark of a linkage table's entry is put back. */
static char *demangle(const char *mangled)
{
	char *plain = cplus_demangle(mangled, DMGL_NO_OPTS), *marked;
	const char *mark = strstr(mangled, "@plt");

	if (!plain || !mark || asprintf(&marked, "%s%s", plain, mark) < 0)
		return plain;
	free(plain);
	return marked;
}

const char *image_symbol_name(struct image_sym *s)
{
	if (!s->is_plain_known && s->name[0] == '_' && (s->name[1] == 'Z' || s->name[1] == 'R'))
		s->plain = demangle(s->name);
	s->is_plain_known = true;
	return s->plain ? s->plain : s->name;
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

bool image_unit(struct image *im, u64 vaddr, Dwarf_Die *unit)
{
	Dwarf *dw = image_dwarf(im);
	Dwarf_CU *at = NULL;
	Dwarf_Half version;
	u8 kind;

	while (dw && !dwarf_get_units(dw, at, &at, &version, &kind, unit, NULL))
		if (dwarf_haspc(unit, vaddr) > 0)
			return true;
	return false;
}

bool image_source(struct image *im, u64 vaddr, char *out, size_t n)
{
	Dwarf_Die unit;
	Dwarf_Line *line = image_unit(im, vaddr, &unit) ? dwarf_getsrc_die(&unit, vaddr) : NULL;
	const char *file = line ? dwarf_linesrc(line, NULL, NULL) : NULL;
	int no = 0;

	if (!file)
		return false;
	dwarf_lineno(line, &no);
	snprintf(out, n, "%s:%d", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, no);
	return true;
}
