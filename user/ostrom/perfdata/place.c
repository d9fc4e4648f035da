/* SPDX-License-Identifier: MIT
 *
 * Problem: a sampled address is a number; people read "malloc+0x12 (libc.so.6)".
 *
 * Idea: kernel addresses by the names of the kernel that was recorded (kernel.c); a program's by its mappings at that
 * moment and the symbols of the mapped file. Code without a file is named after the map file that just-in-time
 * compilers write (/tmp/perf-PID.map), as perf does.
 *
 * Contract: place.h. Locks: none.
 */
#include <errno.h>
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

/* ---- the kernel ---- */

/* The build id of the kernel in the BUILD_ID section: records of {header, pid, 20 bytes of id, their number, name}. */
static void find_kernel_id(struct places *p, const u8 *ids, size_t bytes)
{
	char *out = p->kernel_source.build_id;

	for (size_t at = 0, size; at + 36 < bytes; at += size) {
		u16 misc = pd_u16(ids + at + 4);
		u32 n = misc & (1 << 15) ? ids[at + 32] : KERNEL_ID_BYTES;

		size = pd_u16(ids + at + 6);
		if (size < 37 || size > bytes - at)
			return;
		if ((misc & PERF_RECORD_MISC_CPUMODE_MASK) != PERF_RECORD_MISC_KERNEL ||
		    strncmp((const char *)ids + at + 36, "[kernel.kallsyms]", size - 36))
			continue;
		for (u32 i = 0; i < min(n, (u32)KERNEL_ID_BYTES); i++)
			snprintf(out + 2 * i, 3, "%02x", ids[at + 12 + i]);
		return;
	}
}

void places_begin(struct places *p, const struct pd_file *f)
{
	size_t bytes = 0;
	const u8 *ids = pd_feature(f, PD_FEAT_BUILD_ID, &bytes);

	pd_feature_str(f, PD_FEAT_OSRELEASE, p->kernel_source.release, sizeof(p->kernel_source.release));
	if (ids)
		find_kernel_id(p, ids, bytes);
}

/* The kernel's own mapping names one symbol and says where it is. */
static void learn_reference(struct places *p, const struct pd_sample *s)
{
	static const char prefix[] = "[kernel.kallsyms]";
	const char *name = (const char *)s->rec + 40;
	size_t n = sizeof(prefix) - 1;

	if (s->size <= 40 + n || (s->misc & PERF_RECORD_MISC_CPUMODE_MASK) != PERF_RECORD_MISC_KERNEL ||
	    strncmp(name, prefix, n))
		return;
	snprintf(p->kernel_source.ref_name, sizeof(p->kernel_source.ref_name), "%.*s",
		 (int)strnlen(name + n, s->size - 40 - n), name + n);
	p->kernel_source.ref_addr = pd_u64(s->rec + 32);
}

int places_follow(struct places *p, const struct pd_sample *s)
{
	if (s->type == PERF_RECORD_MMAP)
		learn_reference(p, s);
	return pd_spaces_record(&p->spaces, s);
}

static void say_no_names(const struct kernel_source *src, int err)
{
	if (src->kallsyms || src->vmlinux)
		say_error("%s: no kernel symbols: %s", src->kallsyms ? src->kallsyms : src->vmlinux, strerror(-err));
	else if (err == -EPERM || err == -EACCES)
		say_error("no kernel symbols: /proc/kallsyms hides them; be root, set kernel.kptr_restrict to 0, or "
			  "name a "
			  "copy with --kallsyms");
	else
		say_error("no kernel symbols: the recording is of another kernel (%s, build id %s); name its vmlinux "
			  "with -k, "
			  "or a copy of its /proc/kallsyms with --kallsyms",
			  src->release, *src->build_id ? src->build_id : "unknown");
}

const struct ksyms *places_kernel(struct places *p)
{
	int err;

	if (!p->tried_ksyms) {
		err = kernel_load(&p->ksyms, &p->kernel_source);
		if (err)
			say_no_names(&p->kernel_source, err);
	}
	p->tried_ksyms = true;
	return &p->ksyms;
}

bool places_option(struct places *p, int option, const char *value)
{
	switch (option) {
	case PLACE_OPT_KALLSYMS: p->kernel_source.kallsyms = value; return true;
	case PLACE_OPT_VMLINUX:
	case 'k': p->kernel_source.vmlinux = value; return true;
	case PLACE_OPT_SYMFS: p->kernel_source.root = p->images.root = value; return true;
	default: return false;
	}
}

/* ---- looking up ---- */

static void find_in_kernel(struct places *p, u64 ip, struct place *out)
{
	const struct ksyms *names = places_kernel(p);
	const struct ksym *k = ksyms_find(names, ip);

	out->file = p->kernel;
	out->symbol = k ? names->names + k->name : NULL;
	out->offset = k ? ip - k->addr : 0;
}

void place_in_file(struct places *p, const char *path, u64 offset, struct place *out)
{
	struct image *im = image_get(&p->images, path);
	u64 vaddr = im ? image_vaddr_at(im, offset) : 0;
	struct image_sym *sym = im ? image_symbol(im, vaddr, false) : NULL;

	*out = (struct place){ .file = p->unknown, .addr = offset, .level = '.' };
	if (!sym)
		return;
	out->symbol = image_symbol_name(sym);
	out->offset = vaddr - sym->start;
}

void place_find(struct places *p, s32 pid, bool in_kernel, u64 ip, struct place *out)
{
	const struct pd_map *m = in_kernel ? NULL : pd_space_find(&p->spaces, pid, ip);
	const struct place_file *file;

	*out = (struct place){ .file = p->unknown, .addr = ip, .level = in_kernel ? 'k' : '.' };
	if (in_kernel)
		find_in_kernel(p, ip, out);
	if (!m)
		return;
	file = file_of(p, m, pid);
	if (m->is_file || !strcmp(m->path, "[vdso]"))
		place_in_file(p, m->path, ip - m->start + m->pgoff, out);
	out->file = file;
}
