/* SPDX-License-Identifier: MIT
 *
 * Problem: a sampled address is a number; people read "malloc+0x12 (libc.so.6)".
 *
 * Idea: kernel addresses by kallsyms; a program's by its mappings at that moment and the symbols of the mapped file.
 * Code without a file is named after the map file that just-in-time compilers write (/tmp/perf-PID.map), as perf does.
 *
 * Contract: place.h. Locks: none.
 */
#include <errno.h>
#include <libiberty/demangle.h>
#undef ARRAY_SIZE /* libiberty has one, too */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "ostrom.h"
#include "place.h"

static struct place_file *add_file(struct places *p, const char *path, s32 pid, const char *name)
{
	struct place_file *f = calloc(1, sizeof(*f));
	const char *slash = strrchr(name, '/');

	if (!f)
		return NULL;
	f->path = path;
	f->pid = pid;
	snprintf(f->long_name, sizeof(f->long_name), "%s", name);
	if (pid)
		snprintf(f->short_name, sizeof(f->short_name), "[JIT] tid %d", pid);
	else
		snprintf(f->short_name, sizeof(f->short_name), "%s", slash ? slash + 1 : name);
	f->next = p->files;
	p->files = f;
	return f;
}

int places_init(struct places *p)
{
	memset(p, 0, sizeof(*p));
	p->kernel = add_file(p, NULL, 0, "[kernel.kallsyms]");
	p->unknown = add_file(p, NULL, 0, "[unknown]");
	return p->kernel && p->unknown ? 0 : -ENOMEM;
}

void places_free(struct places *p)
{
	while (p->files) {
		struct place_file *f = p->files;

		p->files = f->next;
		free(f);
	}
	for (u32 i = 0; i < ARRAY_SIZE(p->plain); i++)
		while (p->plain[i]) {
			struct plain_name *n = p->plain[i];

			p->plain[i] = n->next;
			free(n->text);
			free(n);
		}
	ksyms_free(&p->ksyms);
	images_free(&p->images);
	pd_spaces_free(&p->spaces);
}

static const struct place_file *file_of(struct places *p, const struct pd_map *m, s32 pid)
{
	s32 owner = !m->is_file && *m->path != '[' && (m->prot & PROT_EXEC) ? pid : 0;
	struct place_file *f = p->files;
	char jit[32];

	while (f && (f->path != m->path || f->pid != owner))
		f = f->next;
	if (f)
		return f;
	snprintf(jit, sizeof(jit), "/tmp/perf-%d.map", pid);
	f = add_file(p, m->path, owner, owner ? jit : m->path);
	return f ? f : p->unknown;
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

/* C++'s names as they were written, without parameters; kept by the address of the mangled one. */
static const char *plain_name(struct places *p, const char *mangled)
{
	struct plain_name *n = p->plain[(uintptr_t)mangled / 16 % ARRAY_SIZE(p->plain)];

	if (mangled[0] != '_' || (mangled[1] != 'Z' && mangled[1] != 'R'))
		return mangled;
	while (n && n->mangled != mangled)
		n = n->next;
	if (n)
		return n->text ? n->text : mangled;
	n = calloc(1, sizeof(*n));
	if (!n)
		return mangled;
	n->mangled = mangled;
	n->text = demangle(mangled);
	n->next = p->plain[(uintptr_t)mangled / 16 % ARRAY_SIZE(p->plain)];
	p->plain[(uintptr_t)mangled / 16 % ARRAY_SIZE(p->plain)] = n;
	return n->text ? n->text : mangled;
}

static void find_in_kernel(struct places *p, u64 ip, struct place *out)
{
	const struct ksym *k;

	if (!p->tried_ksyms && ksyms_load(&p->ksyms, p->kallsyms))
		say_error("no kernel symbols: be root, or name a copy of /proc/kallsyms with --kallsyms");
	p->tried_ksyms = true;
	k = ksyms_find(&p->ksyms, ip);
	out->file = p->kernel;
	out->symbol = k ? p->ksyms.names + k->name : NULL;
	out->offset = k ? ip - k->addr : 0;
}

void place_find(struct places *p, s32 pid, bool in_kernel, u64 ip, struct place *out)
{
	const struct pd_map *m = in_kernel ? NULL : pd_space_find(&p->spaces, pid, ip);
	const struct image_sym *sym;
	struct image *im;
	u64 vaddr;

	*out = (struct place){ .file = p->unknown, .addr = ip, .level = in_kernel ? 'k' : '.' };
	if (in_kernel)
		find_in_kernel(p, ip, out);
	if (!m)
		return;
	out->file = file_of(p, m, pid);
	if (!m->is_file && strcmp(m->path, "[vdso]"))
		return;
	out->addr = ip - m->start + m->pgoff;
	im = image_get(&p->images, m->path);
	vaddr = im ? image_vaddr_at(im, out->addr) : 0;
	sym = im ? image_symbol(im, vaddr, false) : NULL;
	if (!sym)
		return;
	out->symbol = plain_name(p, sym->name);
	out->offset = vaddr - sym->start;
}
