/* SPDX-License-Identifier: MIT
 *
 * Problem: kernel addresses of a recording mean what they meant in the kernel that was recorded: another version, or
 * the same at another place (the kernel is loaded somewhere else at each boot).
 *
 * Idea: the recording carries the build id and the release of its kernel, and the address of one symbol (the mapping
 * record "[kernel.kallsyms]_text"). Names come from, in this order: what the user named (--kallsyms, --vmlinux); the
 * running kernel if it is the one; perf's cache (~/.debug); a vmlinux with that build id where distributions put it,
 * below
 * --symfs if given. The distance of the one symbol says how far all of them moved.
 *
 *   address in the recording = address in the source + (reference as recorded - reference in the source)
 *
 * Contract: ksyms.h. Symbols of modules move on their own, so that they are dropped where the kernel has moved.
 *
 * Locks: none.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "image.h"
#include "ksyms.h"

/* ---- the running kernel ---- */

/* Notes are {name bytes, text bytes, type}, name, text, each filled up to four bytes (gABI, "Note Section"). */
u32 kernel_running_id(u8 id[KERNEL_ID_BYTES])
{
	int fd = open("/sys/kernel/notes", O_RDONLY | O_CLOEXEC);
	char notes[4096];
	ssize_t n = fd < 0 ? 0 : read(fd, notes, sizeof(notes));
	u32 bytes = 0;

	for (size_t at = 0; n > 0 && at + sizeof(Elf64_Nhdr) <= (size_t)n;) {
		Elf64_Nhdr h;
		size_t text;

		memcpy(&h, notes + at, sizeof(h));
		text = at + sizeof(h) + ALIGN_UP(h.n_namesz, 4u);
		if (text > (size_t)n || h.n_descsz > (size_t)n - text)
			break;
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && h.n_descsz <= KERNEL_ID_BYTES) {
			bytes = h.n_descsz;
			memcpy(id, notes + text, bytes);
			break;
		}
		at = text + ALIGN_UP(h.n_descsz, 4u);
	}
	if (fd >= 0)
		close(fd);
	return bytes;
}

static bool is_running(const struct kernel_source *src)
{
	u8 id[KERNEL_ID_BYTES];
	u32 n = kernel_running_id(id);
	char text[2 * KERNEL_ID_BYTES + 1] = "";

	for (u32 i = 0; i < n; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
	return !*src->build_id || !n || !strcmp(text, src->build_id);
}

/* ---- a vmlinux ---- */

static int from_image(struct ksyms *k, const struct image *im)
{
	size_t bytes = 1, at = 0;

	for (u32 i = 0; i < im->nr_syms; i++)
		bytes += strlen(im->syms[i].name) + 1;
	k->names = malloc(bytes);
	k->syms = calloc(max(im->nr_syms, 1u), sizeof(*k->syms));
	if (!k->names || !k->syms)
		return ksyms_free(k), -ENOMEM;
	for (u32 i = 0; i < im->nr_syms; i++) {
		size_t n = strlen(im->syms[i].name) + 1;

		if (im->syms[i].start < 1ULL << 63)
			continue;
		memcpy(k->names + at, im->syms[i].name, n);
		k->syms[k->nr++] = (struct ksym){ .addr = im->syms[i].start, .name = at };
		at += n;
	}
	if (!k->nr)
		return ksyms_free(k), -ENOEXEC;
	ksyms_finish(k);
	return 0;
}

/* The symbols of an ELF file; -ESTALE if it is of another kernel (id "": any will do). */
static int from_vmlinux(struct ksyms *k, const char *root, const char *path, const char *id)
{
	struct images images = { .root = root };
	struct image *im = image_get(&images, path);
	char found[65];
	int err;

	memset(k, 0, sizeof(*k));
	if (!im || !im->elf) {
		images_free(&images);
		return -ENOENT;
	}
	image_build_id(im, found, sizeof(found));
	err = *id && strcmp(found, id) ? -ESTALE : from_image(k, im);
	images_free(&images);
	return err;
}

/* Where perf and distributions keep kernels by their build id or release. */
static int from_archives(struct ksyms *k, const struct kernel_source *src)
{
	const char *home = getenv("HOME"), *id = src->build_id, *r = src->release;
	const struct {
		const char *format, *a, *b, *c;
		bool is_text, in_root;
	} places[] = {
		{ "%s/.debug/[kernel.kallsyms]/%s%s/kallsyms", home, id, "", true, false },
		{ "%s/.debug/.build-id/%.2s/%s/elf", home, id, id + 2, false, false },
		{ "%s/usr/lib/debug/.build-id/%.2s/%s.debug", "", id, id + 2, false, true },
		{ "%s/usr/lib/debug/boot/vmlinux-%s%s", "", r, "", false, true },
		{ "%s/usr/lib/debug/lib/modules/%s/vmlinux%s", "", r, "", false, true },
		{ "%s/boot/vmlinux-%s%s", "", r, "", false, true },
		{ "%s/lib/modules/%s/build/vmlinux%s", "", r, "", false, true },
	};
	char path[1024];

	for (u32 i = 0; strlen(id) > 2 && i < ARRAY_SIZE(places); i++) {
		if ((i < 2 && !home) || (i > 2 && !*r))
			continue;
		snprintf(path, sizeof(path), places[i].format, places[i].a, places[i].b, places[i].c);
		if (!(places[i].is_text ? ksyms_load(k, path)
					: from_vmlinux(k, places[i].in_root ? src->root : NULL, path, id)))
			return 0;
	}
	return -ENOENT;
}

/* ---- where it lay ---- */

static void move(struct ksyms *k, const struct kernel_source *src)
{
	const struct ksym *ref = ksyms_named(k, src->ref_name), *end = ksyms_named(k, "_end");
	u64 first = ref ? ref->addr : 0, last = end ? end->addr : UINT64_MAX;
	u32 n = 0;

	if (!ref || !src->ref_addr || first == src->ref_addr)
		return;
	for (u32 i = 0; i < k->nr; i++)
		if (k->syms[i].addr >= first && k->syms[i].addr <= last) {
			k->syms[n] = k->syms[i];
			k->syms[n++].addr += src->ref_addr - first;
		}
	k->nr = n;
}

int kernel_load(struct ksyms *k, const struct kernel_source *src)
{
	int err;

	if (src->kallsyms)
		err = ksyms_load(k, src->kallsyms);
	else if (src->vmlinux)
		err = from_vmlinux(k, src->root, src->vmlinux, "");
	else if (is_running(src))
		err = ksyms_load(k, NULL);
	else
		err = from_archives(k, src);
	if (!err)
		move(k, src);
	return err;
}
