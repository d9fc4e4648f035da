/* SPDX-License-Identifier: MIT
 *
 * Problem: clang leaves programs in pieces: a section an attach point, shared functions in .text, maps described by
 * BTF types, references by relocation.
 *
 * Idea: read sections and symbols once; a program is its function followed by every function that it calls, each
 * once; relocations become indices of maps (which the verifier asks for) and relative calls. Maps are created from
 * the types of the variables in .maps (each property is a pointer to an array whose length is the value); data
 * sections become one-element arrays.
 *
 * Contract: object.h. Formats: ELF by libelf; BPF relocations R_BPF_64_64 = 1 and R_BPF_64_32 = 10 (LLVM's BPF
 * documentation); BTF.ext as in Documentation/bpf/btf.rst. Hostile files give a message.
 *
 * Locks: none.
 */
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "object.h"

#define R_IMM64     1
#define R_CALL      10
#define MACHINE_BPF 247
#define WHY         256
#define MAX_PROGRAM 1000000U
#define EXT_FUNCS   8 /* in the head of .BTF.ext: offset and length of records */
#define EXT_LINES   16

static int bad(char *why, const char *fmt, ...) __printf(2, 3);
static int bad(char *why, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, WHY, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- sections and symbols ------------------------------------------------------------------------------------ */

static int read_section(struct object *o, Elf_Scn *scn, size_t strings, char *why)
{
	struct section *s = &o->sections[elf_ndxscn(scn)];
	Elf_Data *d = elf_getdata(scn, NULL);
	GElf_Shdr h;

	if (!gelf_getshdr(scn, &h))
		return bad(why, "section %zu has no header", elf_ndxscn(scn));
	s->name = elf_strptr(o->elf, strings, h.sh_name);
	if (!s->name)
		s->name = "";
	s->bytes = h.sh_size;
	s->data = d && h.sh_type != SHT_NOBITS ? d->d_buf : NULL;
	if (s->data && d->d_size != h.sh_size)
		return bad(why, "section %s is cut off", s->name);
	s->code = h.sh_type == SHT_PROGBITS && h.sh_flags & SHF_EXECINSTR && s->bytes && s->bytes % 8 == 0 && s->data;
	s->data_map = -1;
	if (h.sh_type == SHT_SYMTAB)
		o->symtab = (u32)elf_ndxscn(scn);
	if (h.sh_type == SHT_REL && h.sh_info < MAX_SECTIONS)
		o->sections[h.sh_info].relocs = (u32)elf_ndxscn(scn);
	if (!strcmp(s->name, ".maps"))
		o->maps_section = (u32)elf_ndxscn(scn);
	if (!strcmp(s->name, "license") && s->data)
		snprintf(o->license, sizeof(o->license), "%.*s", (int)(s->bytes < 60 ? s->bytes : 60),
			 (const char *)s->data);
	if (!strcmp(s->name, ".BTF.ext") && s->data) {
		o->ext = s->data;
		o->ext_bytes = (u32)s->bytes;
	}
	return 0;
}

static int read_symbols(struct object *o, char *why)
{
	Elf_Scn *scn = elf_getscn(o->elf, o->symtab);
	Elf_Data *d = o->symtab ? elf_getdata(scn, NULL) : NULL;
	GElf_Shdr h;
	u32 n;

	if (!d || !gelf_getshdr(scn, &h) || !h.sh_entsize)
		return bad(why, "no symbols");
	n = (u32)(h.sh_size / h.sh_entsize);
	o->symbols = calloc(n + 1, sizeof(*o->symbols));
	if (!o->symbols)
		return -ENOMEM;
	for (u32 i = 0; i < n; i++) {
		GElf_Sym sym;

		if (!gelf_getsym(d, (int)i, &sym))
			return bad(why, "symbol %u is cut off", i);
		o->symbols[i] = (struct symbol){ .section = sym.st_shndx,
						 .value = sym.st_value,
						 .bytes = sym.st_size,
						 .type = GELF_ST_TYPE(sym.st_info),
						 .hidden = sym.st_other & 3 };
		o->symbols[i].name = elf_strptr(o->elf, h.sh_link, sym.st_name);
		if (!o->symbols[i].name)
			o->symbols[i].name = "";
	}
	o->nsymbols = n;
	return 0;
}

/* As libbpf loads it: a hidden function is a static one to the verifier. The types are this object's alone. */
static void hide_functions(struct object *o)
{
	for (u32 id = 1; id < bpf_btf_types(o->btf); id++) {
		struct btf_type *t = (struct btf_type *)bpf_btf_type(o->btf, id);

		if (BTF_INFO_KIND(t->info) != BTF_KIND_FUNC || BTF_INFO_VLEN(t->info) != BTF_FUNC_GLOBAL)
			continue;
		for (u32 i = 0; i < o->nsymbols; i++)
			if (o->symbols[i].type == STT_FUNC && o->symbols[i].hidden &&
			    !strcmp(o->symbols[i].name, bpf_btf_string(o->btf, t->name_off)))
				t->info = (u32)BTF_KIND_FUNC << 24 | BTF_FUNC_STATIC;
	}
}

/* ---- maps ---------------------------------------------------------------------------------------------------- */

static bool array_length(const struct bpf_btf *b, u32 id, u32 *out)
{
	const struct btf_type *t = bpf_btf_plain(b, id);

	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_PTR)
		return false;
	t = bpf_btf_plain(b, t->type);
	if (!t || BTF_INFO_KIND(t->info) != BTF_KIND_ARRAY)
		return false;
	*out = ((const struct btf_array *)(t + 1))->nelems;
	return true;
}

static int add_map(struct object *o, union bpf_attr *attr, u64 offset, u32 value_id, char *why)
{
	u32 type = attr->map_type;
	bool nested = type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
	union bpf_attr shape = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1 };
	struct bpf_map *map, *inner = NULL;
	s32 lock;
	int err;

	if (o->nmaps == MAX_MAPS)
		return bad(why, "more than %d maps", MAX_MAPS);
	if (nested && bpf_map_new(&shape, NULL, &inner))
		return -ENOMEM;
	if ((bpf_map_holds_fds(type) || type == BPF_MAP_TYPE_PERF_EVENT_ARRAY) && !attr->max_entries)
		attr->max_entries = 1; /* the loader fills in the number of CPUs */
	attr->max_entries = attr->max_entries > 4096 && type != BPF_MAP_TYPE_RINGBUF ? 4096 : attr->max_entries;
	err = bpf_map_new(attr, inner, &map);
	bpf_map_put(inner);
	if (err)
		return bad(why, "map '%s' (type %u, key %u, value %u, entries %u) cannot be created: %s",
			   attr->map_name, type, attr->key_size, attr->value_size, attr->max_entries, strerror(-err));
	lock = o->btf && value_id ? bpf_btf_find_member(o->btf, value_id, "bpf_spin_lock", 4, 4) : -1;
	map->spin_lock_off = lock >= 0 ? lock : -1;
	if (o->btf && value_id) {
		bpf_btf_get(o->btf);
		map->btf = o->btf;
	}
	o->map_offsets[o->nmaps] = offset;
	o->maps[o->nmaps++] = map;
	return 0;
}

static int map_of_type(struct object *o, const struct btf_type *t, const char *name, u64 offset, char *why)
{
	const struct btf_member *m = (const void *)(t + 1);
	union bpf_attr attr = { 0 };
	u32 value_id = 0;

	snprintf(attr.map_name, sizeof(attr.map_name), "%s", name);
	for (u32 i = 0; i < BTF_INFO_VLEN(t->info); i++) {
		const char *prop = bpf_btf_string(o->btf, m[i].name_off);
		const struct btf_type *ptr = bpf_btf_plain(o->btf, m[i].type);
		u32 n = 0;
		bool number = array_length(o->btf, m[i].type, &n);

		if (!strcmp(prop, "type") && number)
			attr.map_type = n;
		else if (!strcmp(prop, "max_entries") && number)
			attr.max_entries = n;
		else if (!strcmp(prop, "map_flags") && number)
			attr.map_flags = n;
		else if (!strcmp(prop, "key_size") && number)
			attr.key_size = n;
		else if (!strcmp(prop, "value_size") && number)
			attr.value_size = n;
		else if (!strcmp(prop, "key") && ptr && BTF_INFO_KIND(ptr->info) == BTF_KIND_PTR)
			attr.key_size = (u32)bpf_btf_size(o->btf, ptr->type);
		else if (!strcmp(prop, "value") && ptr && BTF_INFO_KIND(ptr->info) == BTF_KIND_PTR) {
			attr.value_size = (u32)bpf_btf_size(o->btf, ptr->type);
			value_id = ptr->type;
		} else if (!strcmp(prop, "values") && !attr.value_size)
			attr.value_size = 4;
	}
	if (bpf_map_holds_fds(attr.map_type) && !attr.value_size)
		attr.key_size = attr.value_size = 4;
	return add_map(o, &attr, offset, value_id, why);
}

static int read_maps(struct object *o, char *why)
{
	for (u32 id = 1; o->maps_section && o->btf && id < bpf_btf_types(o->btf); id++) {
		const struct btf_type *sec = bpf_btf_type(o->btf, id);
		const struct btf_var_secinfo *v = (const void *)(sec + 1);

		if (BTF_INFO_KIND(sec->info) != BTF_KIND_DATASEC ||
		    strcmp(bpf_btf_string(o->btf, sec->name_off), ".maps"))
			continue;
		for (u32 i = 0; i < BTF_INFO_VLEN(sec->info); i++) {
			const struct btf_type *var = bpf_btf_type(o->btf, v[i].type),
					      *t = var ? bpf_btf_plain(o->btf, var->type) : NULL;
			u64 offset = v[i].offset;
			int err;

			if (!t || BTF_INFO_KIND(var->info) != BTF_KIND_VAR || BTF_INFO_KIND(t->info) != BTF_KIND_STRUCT)
				return bad(why, "a map is not described by a structure");
			for (u32 s = 0; s < o->nsymbols; s++) /* older clang leaves offsets to the symbols */
				if (o->symbols[s].section == o->maps_section &&
				    !strcmp(o->symbols[s].name, bpf_btf_string(o->btf, var->name_off)))
					offset = o->symbols[s].value;
			err = map_of_type(o, t, bpf_btf_string(o->btf, var->name_off), offset, why);
			if (err)
				return err;
		}
	}
	return 0;
}

static int data_maps(struct object *o, char *why)
{
	for (u32 i = 1; i < o->nsections; i++) {
		struct section *s = &o->sections[i];
		bool constant = !strncmp(s->name, ".rodata", 7);
		union bpf_attr attr = {
			.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = (u32)s->bytes, .max_entries = 1
		};
		u64 addr;
		int err;

		if (!s->bytes || s->bytes > 1 << 24 ||
		    (strncmp(s->name, ".data", 5) && strncmp(s->name, ".bss", 4) && !constant))
			continue;
		attr.map_flags = constant ? BPF_F_RDONLY_PROG : 0;
		snprintf(attr.map_name, sizeof(attr.map_name), "%s", s->name);
		err = add_map(o, &attr, UINT64_MAX, 0, why);
		if (err)
			return err;
		s->data_map = (s32)o->nmaps - 1;
		o->maps[s->data_map]->frozen = constant;
		if (s->data && !o->maps[s->data_map]->ops->value_addr(o->maps[s->data_map], 0, &addr))
			memcpy((void *)addr, s->data, s->bytes);
	}
	return 0;
}

static int read_all(struct object *o, char *why)
{
	size_t strings;
	GElf_Ehdr eh;
	int err = 0;

	if (!gelf_getehdr(o->elf, &eh) || eh.e_machine != MACHINE_BPF || eh.e_ident[EI_DATA] != ELFDATA2LSB)
		return bad(why, "not a little-endian BPF object");
	if (elf_getshdrstrndx(o->elf, &strings))
		return bad(why, "no section names");
	for (Elf_Scn *s = elf_nextscn(o->elf, NULL); s && !err; s = elf_nextscn(o->elf, s)) {
		if (elf_ndxscn(s) >= MAX_SECTIONS)
			return bad(why, "more than %d sections", MAX_SECTIONS);
		o->nsections = (u32)elf_ndxscn(s) + 1;
		err = read_section(o, s, strings, why);
	}
	err = err ? err : read_symbols(o, why);
	for (u32 i = 1; !err && i < o->nsections; i++)
		if (!strcmp(o->sections[i].name, ".BTF") && o->sections[i].data)
			err = bpf_btf_new(o->sections[i].data, (u32)o->sections[i].bytes, &o->btf, why, WHY);
	if (!err && o->btf)
		hide_functions(o);
	err = err ? err : read_maps(o, why);
	return err ? err : data_maps(o, why);
}

int object_open(const char *path, struct object *o, char *why)
{
	int err;

	memset(o, 0, sizeof(*o));
	o->path = path;
	snprintf(why, WHY, "out of memory");
	elf_version(EV_CURRENT);
	o->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (o->fd < 0) {
		err = -errno;
		bad(why, "%s", strerror(errno));
		return err;
	}
	o->elf = elf_begin(o->fd, ELF_C_READ, NULL);
	err = o->elf && elf_kind(o->elf) == ELF_K_ELF ? read_all(o, why) : bad(why, "not an ELF file");
	if (err)
		object_close(o);
	return err;
}

void object_close(struct object *o)
{
	for (u32 i = 0; i < o->nmaps; i++)
		bpf_map_put(o->maps[i]);
	bpf_btf_put(o->btf);
	free(o->symbols);
	elf_end(o->elf);
	close(o->fd);
}

/* ---- programs -------------------------------------------------------------------------------------------------- */

static const struct symbol *function_at(const struct object *o, u32 section, u64 off)
{
	for (u32 i = 0; i < o->nsymbols; i++) {
		const struct symbol *s = &o->symbols[i];

		if (s->type == STT_FUNC && s->section == section && s->bytes && off >= s->value &&
		    off - s->value < s->bytes)
			return s;
	}
	return NULL;
}

/* Index of the function in the program, appended if it is new; -errno. */
static int add_function(struct object *o, struct program *p, u32 section, u64 off, char *why)
{
	const struct symbol *f = function_at(o, section, off);
	const struct section *s = section < o->nsections ? &o->sections[section] : NULL;
	struct bpf_insn *more;
	u32 count;

	if (!f || !s || !s->code || f->value != off || f->value % 8 || f->bytes % 8 || f->value > s->bytes ||
	    f->bytes > s->bytes - f->value)
		return bad(why, "a call or reference does not lead to a function");
	count = (u32)(f->bytes / 8);
	for (u32 i = 0; i < p->nfuncs; i++)
		if (p->funcs[i].section == section && p->funcs[i].first == f->value / 8)
			return (int)i;
	if (p->nfuncs == MAX_FUNCS || p->len + count > MAX_PROGRAM)
		return bad(why, "too many functions or instructions");
	more = realloc(p->insns, (p->len + count) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	p->insns = more;
	memcpy(more + p->len, s->data + f->value, f->bytes);
	p->funcs[p->nfuncs].section = section;
	p->funcs[p->nfuncs].first = (u32)(f->value / 8);
	p->funcs[p->nfuncs].count = count;
	p->funcs[p->nfuncs].at = p->len;
	p->len += count;
	return (int)p->nfuncs++;
}

static int relocate_imm64(struct object *o, struct program *p, u32 i, const struct symbol *sym, char *why)
{
	struct bpf_insn *insn = &p->insns[i];
	const struct section *s = sym->section < o->nsections ? &o->sections[sym->section] : NULL;
	int f;

	if (i + 1 >= p->len || insn->code != (BPF_LD | BPF_IMM | BPF_DW))
		return bad(why, "relocation of '%s' is not on a 64-bit load", sym->name);
	if (s && s->code) {
		f = add_function(o, p, sym->section, sym->value + (sym->type == STT_SECTION ? (u32)insn->imm : 0), why);
		if (f < 0)
			return f;
		insn = &p->insns[i];
		insn->src_reg = BPF_PSEUDO_FUNC;
		insn->imm = (s32)p->funcs[f].at - (s32)i - 1;
		insn[1].imm = 0;
		return 0;
	}
	if (s && s->data_map >= 0) {
		u32 off = (u32)insn->imm + (sym->type == STT_SECTION ? 0 : (u32)sym->value);

		insn->src_reg = BPF_PSEUDO_MAP_VALUE;
		insn[1].imm = (s32)off;
		insn->imm = s->data_map;
		return 0;
	}
	for (u32 m = 0; s && sym->section == o->maps_section && m < o->nmaps; m++)
		if (o->map_offsets[m] == sym->value + (sym->type == STT_SECTION ? (u32)insn->imm : 0)) {
			insn->src_reg = BPF_PSEUDO_MAP_FD;
			insn->imm = (s32)m;
			insn[1].imm = 0;
			return 0;
		}
	return bad(why, "'%s' is neither a map nor data of this object", sym->name);
}

static int relocate_call(struct object *o, struct program *p, u32 i, const struct symbol *sym, char *why)
{
	s64 off = (s64)sym->value + (sym->type == STT_SECTION ? ((s64)p->insns[i].imm + 1) * 8 : 0);
	int f;

	if (p->insns[i].code != (BPF_JMP | BPF_CALL))
		return bad(why, "relocation of '%s' is not on a call", sym->name);
	if (!sym->section)
		return bad(why, "function '%s' is not in this object", sym->name);
	f = add_function(o, p, sym->section, (u64)off, why);
	if (f < 0)
		return f;
	p->insns[i].src_reg = BPF_PSEUDO_CALL;
	p->insns[i].imm = (s32)p->funcs[f].at - (s32)i - 1;
	return 0;
}

/* Applies the relocations of one function; marks which of its calls are done. */
static int relocate(struct object *o, struct program *p, u32 f, u8 *done, char *why)
{
	const struct section *s = &o->sections[p->funcs[f].section];
	Elf_Data *d = s->relocs ? elf_getdata(elf_getscn(o->elf, s->relocs), NULL) : NULL;
	size_t n = d ? d->d_size / sizeof(Elf64_Rel) : 0;

	for (size_t r = 0; r < n; r++) {
		u32 first = p->funcs[f].first, count = p->funcs[f].count, i;
		GElf_Rel rel;
		int err = 0;

		if (!gelf_getrel(d, (int)r, &rel) || GELF_R_SYM(rel.r_info) >= o->nsymbols)
			return bad(why, "a relocation of section %s is broken", s->name);
		if (rel.r_offset % 8 || rel.r_offset / 8 < first || rel.r_offset / 8 >= (u64)first + count)
			continue;
		i = (u32)(rel.r_offset / 8) - first + p->funcs[f].at;
		if (GELF_R_TYPE(rel.r_info) == R_IMM64)
			err = relocate_imm64(o, p, i, &o->symbols[GELF_R_SYM(rel.r_info)], why);
		else if (GELF_R_TYPE(rel.r_info) == R_CALL)
			err = relocate_call(o, p, i, &o->symbols[GELF_R_SYM(rel.r_info)], why);
		if (err)
			return err;
		done[i - p->funcs[f].at] = 1;
	}
	return 0;
}

/* Calls inside a section come without relocation. */
static int resolve_calls(struct object *o, struct program *p, u32 f, const u8 *done, char *why)
{
	for (u32 k = 0; k < p->funcs[f].count; k++) {
		u32 i = p->funcs[f].at + k;
		s64 target;
		int g;

		if (done[k] || p->insns[i].code != (BPF_JMP | BPF_CALL) || p->insns[i].src_reg != BPF_PSEUDO_CALL)
			continue;
		target = (s64)p->funcs[f].first + k + 1 + p->insns[i].imm;
		g = target < 0 ? bad(why, "a call leads outside its section")
			       : add_function(o, p, p->funcs[f].section, (u64)target * 8, why);
		if (g < 0)
			return g;
		p->insns[i].imm = (s32)p->funcs[g].at - (s32)i - 1;
	}
	return 0;
}

static u32 word(const u8 *p)
{
	u32 v;

	memcpy(&v, p, 4);
	return v;
}

/* A record of .BTF.ext about the section of function f. */
typedef void (*take_record)(struct object *o, struct program *p, u32 f, const u8 *record);

static void take_line(struct object *o, struct program *p, u32 f, const u8 *record)
{
	u32 insn = word(record) / 8;
	struct bpf_line_info *more;

	if (insn < p->funcs[f].first || insn - p->funcs[f].first >= p->funcs[f].count ||
	    !bpf_btf_string(o->btf, word(record + 4)) || !bpf_btf_string(o->btf, word(record + 8)))
		return;
	more = realloc(p->lines, (p->nlines + 1) * sizeof(*more));
	if (!more)
		return;
	p->lines = more;
	more[p->nlines++] = (struct bpf_line_info){ insn - p->funcs[f].first + p->funcs[f].at, word(record + 4),
						    word(record + 8), word(record + 12) };
}

static void take_type(struct object *o, struct program *p, u32 f, const u8 *record)
{
	if (word(record) / 8 == p->funcs[f].first)
		p->funcs[f].type = word(record + 4);
}

/* Each record about the section of f. at: where .BTF.ext's head tells of the kind, least: bytes of a record. */
static void read_records(struct object *o, struct program *p, u32 f, u32 at, u32 least, take_record take)
{
	u32 head = o->ext_bytes >= 24 ? word(o->ext + 4) : 0, size;
	u64 from = o->ext_bytes >= 24 ? (u64)head + word(o->ext + at) : 0,
	    end = from + (o->ext_bytes >= 24 ? word(o->ext + at + 4) : 0);

	if (!o->btf || o->ext_bytes < 24 || end > o->ext_bytes || end - from < 4)
		return;
	size = word(o->ext + from);
	from += 4;
	while (size >= least && from + 8 <= end) {
		const char *name = bpf_btf_string(o->btf, word(o->ext + from));
		u32 n = word(o->ext + from + 4);
		bool ours = name && !strcmp(name, o->sections[p->funcs[f].section].name);

		from += 8;
		for (; n && from + size <= end; n--, from += size)
			if (ours)
				take(o, p, f, o->ext + from);
		if (n)
			return;
	}
}

int object_program(struct object *o, const struct symbol *entry, struct program *p, char *why)
{
	int err;

	memset(p, 0, sizeof(*p));
	err = add_function(o, p, entry->section, entry->value, why);
	for (u32 f = 0; err >= 0 && f < p->nfuncs; f++) {
		u8 *done = calloc(p->funcs[f].count, 1);

		err = done ? relocate(o, p, f, done, why) : -ENOMEM;
		err = err ? err : resolve_calls(o, p, f, done, why);
		free(done);
		read_records(o, p, f, EXT_LINES, 16, take_line);
		read_records(o, p, f, EXT_FUNCS, 8, take_type);
	}
	if (err < 0)
		program_free(p);
	return err < 0 ? err : 0;
}

u32 program_functions(const struct program *p, struct bpf_func_info *out)
{
	for (u32 i = 0; i < p->nfuncs; i++) {
		if (!p->funcs[i].type)
			return 0;
		out[i] = (struct bpf_func_info){ p->funcs[i].at, p->funcs[i].type };
	}
	return p->nfuncs;
}

void program_free(struct program *p)
{
	free(p->insns);
	free(p->lines);
	memset(p, 0, sizeof(*p));
}
